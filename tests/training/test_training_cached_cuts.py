"""Training on what a frozen device half gave once."""

import pytest
import torch
from training_helpers import brain_in, dataset_of, fit, frames_of

from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.training.cached_cuts import fingerprint

COUNTS = [5, 4, 6, 5]


def data(counts=COUNTS, unreadable=()):
    return dataset_of(counts, unreadable, wav=[f"{n}.wav" for n in counts])


def brain(folder, cut_cache="", **settings):
    """A brain whose normalisation has learned from other data."""
    made = brain_in(
        folder,
        **{
            "tuned": "lobe_and_cloud",
            "epochs": 3,
            "cut_cache": str(cut_cache),
            **settings,
        },
    )
    normalize = made.modules.normalize
    normalize.update_until_epoch = 1
    signals = torch.randn(4, 80, generator=torch.Generator().manual_seed(9))
    normalize.train()(frames_of(signals), torch.ones(4), epoch=0)
    return made


def state_of(brain):
    return {name: w.clone() for name, w in brain.split.state_dict().items()}


def test_the_training_is_the_same_and_the_device_half_runs_once(tmp_path):
    plain = fit(brain(tmp_path / "plain"), data(), data([5, 3]))
    cached = brain(tmp_path / "cached", tmp_path / "cache")
    runs = []
    cached.split.device_half.register_forward_hook(lambda *_: runs.append(1))
    fit(cached, data(), data([5, 3]))
    # Once for every utterance, on its own.
    assert len(runs) == len(COUNTS) + 2
    for name, weight in state_of(plain).items():
        torch.testing.assert_close(cached.split.state_dict()[name], weight)
    [*_, (_, _, valid)] = cached.hparams.train_logger.epochs
    [*_, (_, _, expected)] = plain.hparams.train_logger.epochs
    assert valid["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_audio_is_not_read_again(tmp_path):
    fit(brain(tmp_path / "a", tmp_path / "cache"), data(), data([5, 3]))
    again = brain(tmp_path / "b", tmp_path / "cache")
    fit(again, data(unreadable="abcd"), data([5, 3], unreadable="ab"))
    assert not len(again.skipped)


def test_afterwards_the_data_gives_audio_again(tmp_path):
    made, dataset = brain(tmp_path / "a", tmp_path / "cache"), data()
    fit(made, dataset, data([5, 3]))
    assert set(dataset[0]) == {"id", "sig", "wav"}
    assert not made.at_cut
    fit(made, dataset, data([5, 3]))


@pytest.mark.parametrize("what", ["device half", "audio", "normalisation"])
def test_other_features_are_computed_anew(tmp_path, what):
    fit(brain(tmp_path / "a", tmp_path / "cache"), data(), data([5, 3]))
    other = brain(tmp_path / "b", tmp_path / "cache")
    dataset = data([5, 4, 6, 4]) if what == "audio" else data()
    if what == "device half":
        torch.nn.init.ones_(other.split.device_half.layer.weight)
    if what == "normalisation":
        other.modules.normalize.glob_mean += 1.0
    runs = []
    other.split.device_half.register_forward_hook(lambda *_: runs.append(1))
    fit(other, dataset, data([5, 3]))
    assert len(runs) >= len(COUNTS)


def test_nothing_is_computed_where_nothing_changed(tmp_path):
    fit(brain(tmp_path / "a", tmp_path / "cache"), data(), data([5, 3]))
    again = brain(tmp_path / "b", tmp_path / "cache", beta=0.1)
    runs = []
    again.split.device_half.register_forward_hook(lambda *_: runs.append(1))
    fit(again, data(), data([5, 3]))
    assert not runs


def test_bad_files_are_left_out_and_counted(tmp_path):
    made = brain(tmp_path / "a", tmp_path / "cache")
    fit(made, data(unreadable="b"), data([5, 3]))
    assert set(made.skipped.reasons) == {"b"}
    plain = fit(brain(tmp_path / "b"), data(unreadable="b"), data([5, 3]))
    for name, weight in state_of(plain).items():
        torch.testing.assert_close(made.split.state_dict()[name], weight)


def test_damage_is_said_and_not_mended(tmp_path):
    fit(brain(tmp_path / "a", tmp_path / "cache"), data(), data([5, 3]))
    path = tmp_path / "cache" / "train" / "frames_0000.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DataError, match="found damage"):
        fit(brain(tmp_path / "b", tmp_path / "cache"), data(), data([5, 3]))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"tuned": "all"}, "tuned"),
        ({"augmentation": lambda *given: given}, "augmentation"),
    ],
)
def test_what_changes_features_is_named(tmp_path, settings, key):
    made = brain(tmp_path / "a", tmp_path / "cache", **settings)
    with pytest.raises(ConfigurationError) as error:
        fit(made, data(), data([5, 3]))
    assert error.value.key == key


def test_a_normalisation_that_learns_is_named(tmp_path):
    made = brain(tmp_path / "a", tmp_path / "cache")
    made.modules.normalize.update_until_epoch = 4
    with pytest.raises(ConfigurationError, match="^normalize.update_until"):
        fit(made, data(), data([5, 3]))
    fresh = brain_in(
        tmp_path / "b", tuned="lobe", cut_cache=str(tmp_path / "cache")
    )
    fresh.modules.normalize.update_until_epoch = 1
    with pytest.raises(ConfigurationError, match="^pretrained_path: found"):
        fit(fresh, data(), data([5, 3]))


def test_a_fingerprint_knows_settings_of_the_features(tmp_path):
    made, dataset = brain(tmp_path / "a"), data()
    first = fingerprint(made, dataset)
    assert first == fingerprint(made, dataset)
    made.hparams.compute_features = torch.nn.Unflatten(1, (-1, 4))
    second = fingerprint(made, dataset)
    made.hparams.compute_features = torch.nn.Flatten(1)
    assert len({first, second, fingerprint(made, dataset)}) == 3


def test_a_fingerprint_knows_the_chunks_outside_training(tmp_path):
    made, dataset = brain(tmp_path / "a"), data()
    first = fingerprint(made, dataset)
    made.split.evaluation_chunks = lambda: "chunks of 16"
    second = fingerprint(made, dataset)
    made.split.evaluation_chunks = lambda: "chunks of 8"
    assert len({first, second, fingerprint(made, dataset)}) == 3
