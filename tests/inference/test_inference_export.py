"""What an exported folder holds, and what copying a half of it does."""

import copy
import re

import exported_models
import pytest
import ruamel.yaml
import torch
from speechbrain.processing.features import InputNormalization

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.inference import AcomASR, copy_half
from speechbrain_acom.inference.export import export_continuous, hash_model
from speechbrain_acom.storage import file_checksum

YAML_FILES = ("hyperparams.yaml", "device.yaml", "cloud.yaml")
DEVICE = {"device.yaml", "device.ckpt", "normalize.ckpt", "prior.ckpt"}
CLOUD = {"cloud.yaml", "cloud.ckpt", "prior.ckpt"}


def names(folder):
    return {path.name for path in folder.iterdir()}


def read_yaml(path):
    return ruamel.yaml.YAML().load(path.read_text())


def test_folder_holds_both_halves_and_nothing_else(recogniser, classifier):
    both = DEVICE | CLOUD | {"hyperparams.yaml"}
    assert names(recogniser.folder) == both | {"tokenizer.ckpt"}
    assert names(classifier.folder) == both | {"label_encoder.ckpt"}


def test_weights_of_each_half_are_its_own(recogniser):
    device = torch.load(recogniser.folder / "device.ckpt", weights_only=True)
    cloud = torch.load(recogniser.folder / "cloud.ckpt", weights_only=True)
    assert not any(name.startswith("cloud_half") for name in device)
    assert not any(name.startswith("device_half") for name in cloud)
    assert set(device) | set(cloud) == set(recogniser.split.state_dict())


@pytest.mark.parametrize("yaml", YAML_FILES)
def test_yaml_names_no_folder_of_this_machine(recogniser, classifier, yaml):
    for model in (recogniser, classifier):
        text = (model.folder / yaml).read_text()
        assert str(model.folder.parent) not in text
        assert not re.search(r"""(^|[\s"'=\[])[/~]\w""", text)
        assert not re.search(r"data_folder|output_folder|save", text)
        assert "#" not in text


def test_device_knows_nothing_of_the_answers(recogniser, classifier):
    for model in (recogniser, classifier):
        text = (model.folder / "device.yaml").read_text()
        assert model.interface.VOCABULARY not in text


@pytest.mark.parametrize("yaml", YAML_FILES)
def test_yaml_has_the_checksum_of_every_file_it_loads(recogniser, yaml):
    content = read_yaml(recogniser.folder / yaml)
    loaded = {f"{name}.ckpt" for name in content["pretrainer"]["loadables"]}
    assert set(content["checksums"]) == loaded
    for name, checksum in content["checksums"].items():
        assert file_checksum(recogniser.folder / name) == checksum


def test_missing_key_of_the_training_yaml_is_named(classifier, tmp_path):
    yaml = tmp_path / "hyperparams.yaml"
    text = classifier.hyperparams_file.read_text()
    yaml.write_text(text.replace("score_scale:", "scale:"))
    with pytest.raises(ConfigurationError, match="no key score_scale"):
        classifier.export(tmp_path / "export", hyperparams_file=yaml)


def test_export_replaces_an_earlier_one_and_leaves_other_files(
    recogniser, tmp_path
):
    (tmp_path / "README.md").write_text("a model card")
    (tmp_path / "label_encoder.ckpt").write_text("of an earlier export")
    recogniser.export(tmp_path)
    assert names(tmp_path) == names(recogniser.folder) | {"README.md"}


def test_same_model_gives_the_same_hash(recogniser):
    first = hash_model(recogniser.split, recogniser.prior)
    again = hash_model(copy.deepcopy(recogniser.split), recogniser.prior)
    assert first == again and len(first) == 2
    for yaml in YAML_FILES:
        model_hash = read_yaml(recogniser.folder / yaml)["model_hash"]
        assert bytes.fromhex(model_hash) == first


@pytest.mark.parametrize("part", ["device_half", "bottleneck", "cloud_half"])
def test_one_other_weight_gives_another_hash(recogniser, part):
    other = copy.deepcopy(recogniser.split)
    with torch.no_grad():
        next(other.get_submodule(part).parameters()).view(-1)[0] += 0.5
    assert hash_model(other, recogniser.prior) != hash_model(
        recogniser.split, recogniser.prior
    )


def test_weights_that_serve_in_training_only_do_not_count(recogniser):
    split = copy.deepcopy(recogniser.split)
    before = hash_model(split, recogniser.prior)
    quantizer = split.bottleneck.quantizer
    quantizer.teacher_head = torch.nn.Linear(2, 3)
    assert hash_model(split, recogniser.prior) != before
    quantizer.training_only = ("teacher_head",)
    assert hash_model(split, recogniser.prior) == before


def test_another_prior_gives_another_hash(recogniser):
    other = exported_models.random_prior(seed=1)
    assert hash_model(recogniser.split, other) != hash_model(
        recogniser.split, recogniser.prior
    )


def test_half_is_copied_with_what_it_needs_only(recogniser, tmp_path):
    device = copy_half(recogniser.folder, "device", tmp_path / "device")
    cloud = copy_half(recogniser.folder, "cloud", tmp_path / "cloud")
    assert names(device) == DEVICE
    assert names(cloud) == CLOUD | {"tokenizer.ckpt"}


def test_copying_over_the_other_half_leaves_nothing_of_it(recogniser, tmp_path):
    copy_half(recogniser.folder, "device", tmp_path)
    copy_half(recogniser.folder, "cloud", tmp_path)
    assert names(tmp_path) == CLOUD | {"tokenizer.ckpt"}


def test_half_can_be_copied_from_a_half(recogniser, tmp_path):
    first = copy_half(recogniser.folder, "cloud", tmp_path / "first")
    second = copy_half(first, "cloud", tmp_path / "second")
    assert names(second) == names(first)
    with pytest.raises(ConfigurationError, match="which holds device.yaml"):
        copy_half(first, "device", tmp_path / "third")


def test_copying_a_model_onto_itself_is_refused(recogniser, tmp_path):
    folder = recogniser.export(tmp_path)
    with pytest.raises(ConfigurationError, match="another one than the source"):
        copy_half(folder, "device", f"{folder}/.")
    assert names(folder) == names(recogniser.folder)


def test_unknown_half_is_refused(recogniser, tmp_path):
    with pytest.raises(ConfigurationError, match="found 'edge', expected both"):
        copy_half(recogniser.folder, "edge", tmp_path / "edge")


def test_continuous_model_is_exported_for_speechbrain(recogniser, tmp_path):
    model = torch.nn.ModuleList([torch.nn.Linear(2, 3)])
    folder = export_continuous(
        tmp_path,
        model,
        recogniser.normalize,
        recogniser.vocabulary,
        AcomASR,
    )
    assert names(folder) == {"model.ckpt", "normalize.ckpt", "tokenizer.ckpt"}
    again = torch.nn.ModuleList([torch.nn.Linear(2, 3)])
    again.load_state_dict(torch.load(folder / "model.ckpt", weights_only=True))
    assert torch.equal(again[0].weight, model[0].weight)
    normalize = InputNormalization(norm_type="global")
    normalize._load(folder / "normalize.ckpt")
    assert torch.equal(normalize.glob_mean, recogniser.normalize.glob_mean)
