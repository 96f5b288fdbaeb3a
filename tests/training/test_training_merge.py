"""Training with runs of like frames merged."""

import logging
from functools import partial

import pytest
import torch
from training_helpers import (
    CHANNELS,
    LOADER,
    RVQ,
    brain_in,
    dataset_of,
    evaluate_on,
    fit,
)

from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.errors import DataError
from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer
from speechbrain_acom.training import brain as brain_module

COUNTS = [40, 31, 25, 40]
CUT = {"merge": 3, "merge_mode": "similar"}


def brain_of(folder, **options):
    return brain_in(folder, cut=CUT, **options)


class Starting(ResidualVectorQuantizer):
    """Notes the frames that it starts from."""

    def initialize(self, frames):
        self.started = frames
        super().initialize(frames)


def test_merge_is_calibrated_before_the_quantizer_starts(tmp_path):
    quantizer = partial(Starting, codebook_size=8, codebook_dim=2)
    brain = fit(
        brain_of(tmp_path, quantizer=quantizer, epochs=0), dataset_of(COUNTS)
    )
    frames, channels = brain.bottleneck.quantizer.started.shape
    assert channels == CHANNELS
    # Nearly: the normalizer was still learning while the merge was calibrated.
    assert sum(COUNTS) / frames == pytest.approx(3, rel=0.15)
    assert float(brain.bottleneck.merge.partition.penalty) != 1.0


def test_merge_is_calibrated_again_after_every_epoch(tmp_path):
    brain = brain_of(tmp_path, epochs=2)
    penalty = brain.bottleneck.merge.partition.penalty
    before = []
    calibrate = brain.bottleneck.calibrate

    def noted(batches):
        # As if training had changed the features a lot.
        penalty.mul_(100.0)
        before.append(float(penalty))
        calibrate(batches)

    brain.bottleneck.calibrate = noted
    fit(brain, dataset_of(COUNTS), dataset_of(COUNTS))
    assert len(before) == 1 + 2
    for _, _, valid in brain.hparams.train_logger.epochs:
        # The same data as was calibrated on.
        assert valid["mean_run"] == pytest.approx(3, rel=0.1)
    saved = brain.checkpointer.find_checkpoint()
    state = torch.load(saved.paramfiles["split"])
    assert state["bottleneck.merge.partition.penalty"] == penalty


def test_equal_groups_are_not_calibrated(tmp_path, monkeypatch):
    brain = brain_in(tmp_path, cut={"merge": 3})
    calls = []
    monkeypatch.setattr(brain.bottleneck, "calibrate", calls.append)
    fit(brain, dataset_of(COUNTS))
    assert calls == []


def test_bypass_merges_runs_of_the_mean_that_was_asked_for(tmp_path):
    brain = brain_of(tmp_path, quantizer=Bypass)
    fit(brain, dataset_of(COUNTS), dataset_of(COUNTS))
    [(_, _, valid)] = brain.hparams.train_logger.epochs
    assert valid["mean_run"] == pytest.approx(3, rel=0.1)


def test_run_lengths_are_no_codebook_in_the_log(tmp_path, caplog):
    quantizer = partial(RVQ, num_codebooks=2)
    brain = brain_of(tmp_path, quantizer=quantizer)
    with caplog.at_level(logging.WARNING, logger=brain_module.__name__):
        fit(brain, dataset_of(COUNTS), dataset_of(COUNTS))
        evaluate_on(brain, dataset_of([1, 1]))
    assert "collapsing" not in caplog.text
    [(_, train, valid)] = brain.hparams.train_logger.epochs
    [test] = brain.hparams.train_logger.tests
    for stats in (train, valid, test):
        assert len(stats["perplexity"].split("/")) == 2
        assert len(stats["used_percent"].split("/")) == 2
        assert 1 <= stats["mean_run"] <= 12


def test_training_codes_cover_every_utterance(tmp_path):
    brain = fit(brain_of(tmp_path), dataset_of(COUNTS))
    counts = [9, 4, 33, 1]
    codes = list(brain.training_codes(dataset_of(counts), LOADER))
    for utterance, count in zip(codes, counts, strict=True):
        Framing(run_lengths=True).check(utterance, count)


def test_no_readable_file_to_calibrate_with_is_an_error(tmp_path):
    with pytest.raises(DataError, match="recordings can be read"):
        fit(brain_of(tmp_path), dataset_of([5, 3], unreadable="ab"))
