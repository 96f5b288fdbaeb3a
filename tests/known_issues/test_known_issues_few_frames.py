"""Every codebook was called collapsing after a short validation.

The warning compares the perplexity of the validation's codes with a tenth of
the entries. Nine frames have a perplexity of nine at most, so that a codebook
of 256 entries was named after every epoch, however evenly it was used. Fewer
frames than entries now say nothing.
"""

import logging
from functools import partial

from training_helpers import RVQ, brain_in, dataset_of, fit

from speechbrain_acom.training import brain as brain_module


def test_a_short_validation_calls_nothing_collapsing(tmp_path, caplog):
    quantizer = partial(RVQ, codebook_size=256)
    brain = brain_in(tmp_path, quantizer=quantizer)
    with caplog.at_level(logging.WARNING, logger=brain_module.__name__):
        fit(brain, dataset_of([40, 40]), dataset_of([9]))
    [row] = brain.codebook_use.rows()
    assert row.frames == 9
    assert "collapsing" not in caplog.text
