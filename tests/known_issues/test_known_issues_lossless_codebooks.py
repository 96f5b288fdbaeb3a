"""The codebooks of a bypass were logged, and called collapsing.

A bypass has four "codebooks" a channel, the bytes of its numbers: hundreds of
figures of their use filled every line of the log, and there was a warning
for each. A quantizer that loses nothing has no codebooks to watch now.
"""

import logging

from training_helpers import brain_in, dataset_of, evaluate_on, fit

from speechbrain_acom.quantizers import Bypass
from speechbrain_acom.training import brain as brain_module


def test_use_of_a_bypass_is_not_logged(tmp_path, caplog):
    brain = brain_in(tmp_path, quantizer=Bypass)
    with caplog.at_level(logging.WARNING, logger=brain_module.__name__):
        fit(brain, dataset_of([9, 5, 7]))
        evaluate_on(brain, dataset_of([9]))
    [(_, train, valid)] = brain.hparams.train_logger.epochs
    [test] = brain.hparams.train_logger.tests
    for stats in (train, valid, test):
        assert not {"perplexity", "used_percent"} & stats.keys()
    assert "collapsing" not in caplog.text
