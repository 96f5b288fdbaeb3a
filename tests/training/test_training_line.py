"""The line that a batch walks: what changes it in training, and only then."""

from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from training_helpers import brain_in, dataset_of, fit

from speechbrain_acom.errors import ConfigurationError

FRAGMENTS = Path(__file__).parents[2] / "hparams" / "augmentations"
TRAIN, VALID = dataset_of([6] * 4), dataset_of([5, 3])


def counted(seen):
    def augment(values, lengths):
        seen.append(values.shape)
        return values, lengths

    return augment


@pytest.mark.parametrize("key", ["signal_augmentation", "augmentation"])
def test_augmentation_is_for_training_only(tmp_path, key):
    seen = []
    fit(brain_in(tmp_path, **{key: counted(seen)}, epochs=2), TRAIN, VALID)
    # Two batches of two utterances in each of two epochs.
    shape = (2, 24) if key == "signal_augmentation" else (2, 6, 4)
    assert seen == [shape] * 4


def test_audio_is_changed_before_its_features(tmp_path):
    def louder(signals, lengths):
        return 100.0 * signals, lengths

    means = []
    for augment in (None, louder):
        brain = brain_in(tmp_path / str(augment is None), epochs=1)
        brain.hparams.signal_augmentation = augment
        fit(brain, TRAIN, VALID)
        means.append(float(brain.modules.normalize.glob_std.mean()))
    assert means[1] > 50 * means[0]


@pytest.mark.parametrize("key", ["signal_augmentation", "augmentation"])
def test_augmentation_that_adds_utterances_is_named(tmp_path, key):
    def doubled(values, lengths):
        return torch.cat([values] * 2), torch.cat([lengths] * 2)

    with pytest.raises(ConfigurationError) as error:
        fit(brain_in(tmp_path, **{key: doubled}), TRAIN, VALID)
    assert error.value.key == key
    assert "found '4 utterances of 2'" in str(error.value)


@pytest.mark.parametrize("name", ["specaugment", "voices"])
def test_fragments_for_features_keep_their_shape(name):
    yaml = f"augmentation: !include:{FRAGMENTS / name}.yaml"
    augment = load_hyperpyyaml(yaml)["augmentation"]
    features, lengths = torch.randn(3, 120, 40), torch.tensor([1.0, 0.5, 0.8])
    changed, same = augment(features, lengths)
    assert changed.shape == features.shape and torch.equal(same, lengths)
    assert not torch.equal(changed, features)


def test_the_fragment_of_speeds_changes_lengths_not_numbers():
    torch.manual_seed(0)
    yaml = f"speed: !include:{FRAGMENTS / 'speed.yaml'}"
    speed = load_hyperpyyaml(yaml)["speed"]
    signals, lengths = torch.randn(3, 16000), torch.tensor([1.0, 0.5, 0.8])
    sizes = set()
    for _ in range(30):
        changed, same = speed(signals, lengths)
        assert len(changed) == 3 and torch.equal(same, lengths)
        sizes.add(changed.shape[1])
    assert len(sizes) == 5
    assert min(sizes) < 15000 and max(sizes) > 17500


@pytest.mark.parametrize("key", ["signal_augmentation", "augmentation"])
def test_augmentation_that_is_none_is_named_before_the_training(tmp_path, key):
    with pytest.raises(ConfigurationError, match=f"^{key}: found 'fast'"):
        brain_in(tmp_path, **{key: "fast"})
