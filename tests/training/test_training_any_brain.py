"""Helpers for Brain classes that know nothing of this package."""

from functools import partial

import pytest
import speechbrain as sb
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.processing.features import InputNormalization

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer
from speechbrain_acom.training import (
    start,
    start_from_data,
    training_codes,
)

RVQ = partial(ResidualVectorQuantizer, codebook_size=8, codebook_dim=2)
COUNTS = (9, 4, 7, 6, 5)
LOADER = {"batch_size": 2}


class ForeignBrain(sb.Brain):
    """Calls its bottleneck in its own way."""

    def compute_forward(self, batch, stage):
        assert stage == sb.Stage.VALID
        feats, lens = batch.to(self.device).feats
        feats = self.modules.normalize(feats, lens)
        coded = self.modules.bottleneck(self.modules.layer(feats), lengths=lens)
        return coded.features


def brain_of(quantizer=RVQ, **options):
    torch.manual_seed(0)
    modules = {
        "normalize": InputNormalization(norm_type="global"),
        "layer": torch.nn.Linear(3, 4),
        "bottleneck": Bottleneck(4, quantizer, **options),
    }
    return ForeignBrain(modules, run_opts={"noprogressbar": True})


def dataset_of(counts=COUNTS):
    generator = torch.Generator().manual_seed(0)
    clips = {
        f"{number}": {"feats": torch.randn(count, 3, generator=generator) + 5}
        for number, count in enumerate(counts)
    }
    return DynamicItemDataset(clips, output_keys=["id", "feats"])


@pytest.fixture
def received(monkeypatch):
    """What initialize was called with."""
    frames = []
    monkeypatch.setattr(
        Bottleneck, "initialize", lambda self, values: frames.append(values)
    )
    return frames


def test_quantizer_gets_every_real_frame_and_no_padding(received):
    brain = brain_of(merge=2)
    start_from_data(brain, dataset_of(), LOADER)
    assert [len(frames) for frames in received] == [5 + 2 + 4 + 3 + 3]
    assert torch.isfinite(received[0]).all()


def test_quantizer_gets_normalised_frames(received):
    brain = brain_of()
    start_from_data(brain, dataset_of([400] * 4), LOADER)
    bias = brain.modules.layer.bias
    # Without the normalizer the mean of the features, 5, would show.
    assert torch.allclose(received[0].mean(0), bias, atol=0.2)
    assert brain.modules.normalize.count == 4 * 400


def test_statistics_of_a_trained_normalizer_stay():
    brain = brain_of()
    start_from_data(brain, dataset_of(), LOADER)
    mean = brain.modules.normalize.glob_mean.clone()
    start_from_data(brain, dataset_of([3, 3]), LOADER)
    assert torch.equal(brain.modules.normalize.glob_mean, mean)


def test_few_frames_are_enough(received, monkeypatch):
    monkeypatch.setattr(start, "INITIALIZATION_FRAMES", 10)
    start_from_data(brain_of(), dataset_of([6] * 20), LOADER)
    assert len(received[0]) == 12


def test_sorted_data_are_shuffled(received, monkeypatch):
    monkeypatch.setattr(start, "INITIALIZATION_FRAMES", 1)
    kwargs = {"batch_size": 10, "shuffle": False}
    for _ in range(2):
        start_from_data(brain_of(), dataset_of(range(1, 101)), kwargs)
    shortest_ten = sum(range(1, 11))
    assert len(received[0]) > 2 * shortest_ten
    assert torch.equal(received[0], received[1])
    assert kwargs == {"batch_size": 10, "shuffle": False}


def test_sampler_of_the_recipe_is_kept(received):
    sampler = torch.utils.data.SubsetRandomSampler([0, 2])
    kwargs = {"batch_size": 1, "sampler": sampler}
    start_from_data(brain_of(), dataset_of(), kwargs)
    assert len(received[0]) == COUNTS[0] + COUNTS[2]


def test_modes_and_hooks_are_as_before():
    brain = brain_of()
    brain.modules.train()
    brain.modules.layer.eval()
    start_from_data(brain, dataset_of(), LOADER)
    assert brain.modules.bottleneck.training
    assert not brain.modules.layer.training
    assert not brain.modules.bottleneck._forward_hooks


def test_codebooks_start_from_the_data():
    brain = brain_of(partial(RVQ, codebook_dim=None))
    start_from_data(brain, dataset_of([200] * 4), LOADER)
    used = set()
    for codes in training_codes(brain, dataset_of([200] * 4), LOADER):
        used |= set(codes.ravel())
    assert used == set(range(8))


def test_runs_are_calibrated_to_the_data():
    brain = brain_of(merge=3, merge_mode="similar")
    data = dataset_of([60] * 4)
    start_from_data(brain, data, LOADER)
    runs = [len(codes) for codes in training_codes(brain, data, LOADER)]
    assert sum(runs) == pytest.approx(4 * 60 / 3, rel=0.15)


def test_bypass_needs_no_start(received):
    start_from_data(brain_of(Bypass), dataset_of(), LOADER)
    assert received == []


def test_codes_are_those_of_the_utterances_alone():
    brain = brain_of(merge=2)
    data = dataset_of()
    start_from_data(brain, data, LOADER)
    together = list(training_codes(brain, data, LOADER))
    alone = list(training_codes(brain, data, {"batch_size": 1}))
    assert [len(codes) for codes in together] == [5, 2, 4, 3, 3]
    for first, second in zip(together, alone, strict=True):
        assert first.dtype == "int64"
        assert (first == second).all()


def test_two_bottlenecks_are_one_too_many():
    brain = brain_of()
    brain.modules["second"] = Bottleneck(4, RVQ)
    with pytest.raises(ConfigurationError, match="in modules: found 2"):
        start_from_data(brain, dataset_of(), LOADER)


def test_no_frame_is_an_error():
    kwargs = {"batch_size": 10, "drop_last": True}
    with pytest.raises(DataError, match="found no frame at the bottleneck"):
        start_from_data(brain_of(), dataset_of(), kwargs)
