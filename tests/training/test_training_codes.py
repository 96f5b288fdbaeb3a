import logging
from functools import partial

import numpy as np
import pytest
import torch
from training_helpers import LOADER, RVQ, brain_in, dataset_of, fit

from speechbrain_acom.quantizers import ResidualVectorQuantizer
from speechbrain_acom.training import brain as brain_module


def trained(folder, **options):
    return fit(brain_in(folder, **options), dataset_of([9, 5, 7]))


@pytest.mark.parametrize("merge", [1, 3])
def test_codes_of_an_utterance_are_those_of_encoding_it_alone(tmp_path, merge):
    quantizer = partial(RVQ, num_codebooks=2)
    brain = trained(tmp_path, quantizer=quantizer, cut={"merge": merge})
    counts = [9, 4, 5, 7]
    data = dataset_of(counts)
    codes = list(brain.training_codes(data, LOADER))
    assert [len(utterance) for utterance in codes] == [
        -(-count // merge) for count in counts
    ]
    brain.modules.eval()
    for index, utterance in enumerate(codes):
        signal = data[index]["sig"].unsqueeze(0)
        lengths = torch.ones(1)
        features = brain.hparams.compute_features(signal)
        features = brain.modules.normalize(features, lengths)
        cut = brain.split.device(features, lengths)
        alone = brain.bottleneck.encode(cut.values, cut.lengths)
        assert np.array_equal(utterance, alone[0].numpy())


def test_codes_leave_unreadable_files_out(tmp_path):
    brain = trained(tmp_path)
    data = dataset_of([9, 4, 5, 7, 3], unreadable="acd")
    codes = list(brain.training_codes(data, LOADER))
    assert [len(utterance) for utterance in codes] == [4, 3]
    assert set(brain.skipped.reasons) == {"a", "c", "d"}


def test_codes_do_not_change_the_model(tmp_path):
    ema = partial(
        ResidualVectorQuantizer,
        codebook_size=8,
        codebook_dim=2,
        codebook_update="ema",
    )
    brain = trained(tmp_path, quantizer=ema)
    before = {k: v.clone() for k, v in brain.split.state_dict().items()}
    count = brain.modules.normalize.count
    list(brain.training_codes(dataset_of([9, 5]), LOADER))
    assert brain.modules.normalize.count == count
    for name, value in brain.split.state_dict().items():
        assert torch.equal(before[name], value), name


def test_use_of_the_codebooks_is_logged_in_every_stage(tmp_path):
    brain = trained(tmp_path, quantizer=partial(RVQ, num_codebooks=2))
    brain.evaluate(dataset_of([9]), test_loader_kwargs=dict(LOADER))
    [(_, train, valid)] = brain.hparams.train_logger.epochs
    [test] = brain.hparams.train_logger.tests
    for stats in (train, valid, test):
        for key, most in (("perplexity", 8), ("used_percent", 100)):
            values = [float(value) for value in stats[key].split("/")]
            assert len(values) == 2
            assert all(0 < value <= most for value in values)


def collapse(folder, caplog, collapsed):
    """Train on with the second codebook's entries far from everything."""
    quantizer = partial(
        ResidualVectorQuantizer,
        num_codebooks=2,
        codebook_size=24,
        codebook_dim=2,
        dead_threshold=0.0,
    )
    brain = brain_in(folder, quantizer=quantizer)

    def start(frames):
        ResidualVectorQuantizer.initialize(brain.bottleneck.quantizer, frames)
        if collapsed:
            entries = brain.bottleneck.quantizer.codebooks[1].entries
            entries.data[1:] += 1000.0

    brain.bottleneck.quantizer.initialize = start
    with caplog.at_level(logging.WARNING, logger=brain_module.__name__):
        fit(brain, dataset_of([40, 40]), dataset_of([40, 40]))
    return [
        record.getMessage()
        for record in caplog.records
        if "collapsing" in record.getMessage()
    ]


def test_collapsing_codebook_is_named(tmp_path, caplog):
    [message] = collapse(tmp_path, caplog, collapsed=True)
    assert message.startswith("codebook 1 is collapsing: perplexity 1.0 of 24")


def test_codebooks_in_use_give_no_warning(tmp_path, caplog):
    assert collapse(tmp_path, caplog, collapsed=False) == []
