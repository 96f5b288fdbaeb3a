import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.parameter_transfer import Pretrainer

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.training import pretrained
from speechbrain_acom.training.pretrained import load_pretrained


def model():
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))


def pretrainer():
    return Pretrainer(
        loadables={
            "model": model(),
            "normalize": InputNormalization(),
            "label_encoder": CategoricalEncoder(),
        }
    )


@pytest.fixture
def export(tmp_path):
    """What a continuous run exports; gives the folder and the weights."""
    folder = tmp_path / "export"
    folder.mkdir()
    state = model().state_dict()
    torch.save(state, folder / "model.ckpt")
    normalize = InputNormalization().train()
    normalize(torch.randn(2, 5, 3))
    normalize._save(folder / "normalize.ckpt")
    labels = CategoricalEncoder()
    labels.update_from_iterable(["dog", "siren"])
    labels.save(folder / "label_encoder.ckpt")
    return folder, state


def error_of(folder):
    with pytest.raises(ConfigurationError) as caught:
        load_pretrained(pretrainer(), str(folder))
    message = str(caught.value)
    assert message.startswith("pretrained_path: ") and "\n" not in message
    return message


def test_everything_is_loaded(export):
    folder, state = export
    loading = pretrainer()
    load_pretrained(loading, str(folder))
    for name, value in loading.loadables["model"].state_dict().items():
        assert torch.equal(value, state[name])
    assert loading.loadables["normalize"].count == 10
    assert len(loading.loadables["label_encoder"]) == 2


def renamed(state):
    state["1.scale"] = state.pop("1.weight")


def transposed(state):
    state["0.weight"] = state["0.weight"].T


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("1.bias"), "a weight 1.bias in it"),
        (lambda state: state.update(x=torch.ones(1)), "no weight x in it"),
        (renamed, "no weight 1.scale in it"),
        (transposed, "0.weight of shape (2, 3), not (3, 2)"),
    ],
)
def test_weight_that_does_not_fit_is_named(export, change, said):
    folder, state = export
    change(state)
    torch.save(state, folder / "model.ckpt")
    message = error_of(folder)
    assert said in message and str(folder / "model.ckpt") in message


@pytest.mark.parametrize("name", ["model", "normalize", "label_encoder"])
def test_missing_or_damaged_file_is_named(export, name):
    folder, _ = export
    path = folder / f"{name}.ckpt"
    path.write_bytes(path.read_bytes()[:30])
    if name != "label_encoder":  # any text is a list of labels
        assert str(path) in error_of(folder)
    path.unlink()
    assert f"no {name}.ckpt" in error_of(folder)


@pytest.mark.parametrize("name", ["nowhere", "results/nowhere", "a/b/c"])
def test_missing_folder_is_named_and_not_looked_for_elsewhere(tmp_path, name):
    assert str(tmp_path / name) in error_of(tmp_path / name)
    assert f"'{name}'" in error_of(name)


def as_on_the_hub(folder):
    """Give the files the names that SpeechBrain's own models have."""
    (folder / "model.ckpt").rename(folder / "asr.ckpt")
    (folder / "normalize.ckpt").rename(folder / "normalizer.ckpt")


def test_names_of_models_on_the_hub_will_do(export):
    folder, state = export
    as_on_the_hub(folder)
    loading = pretrainer()
    load_pretrained(loading, str(folder))
    loaded = loading.loadables["model"].state_dict()
    assert torch.equal(loaded["0.weight"], state["0.weight"])
    assert loading.loadables["normalize"].count == 10


def test_what_is_no_folder_is_fetched_from_the_hub(export, monkeypatch):
    folder, state = export
    as_on_the_hub(folder)
    asked = []

    def fetched(file, source):
        asked.append((source, file))
        if not (folder / file).is_file():
            raise EntryNotFoundError("404")
        return folder / file

    monkeypatch.setattr(pretrained, "fetch", fetched)
    loading = pretrainer()
    load_pretrained(loading, "owner/name")
    loaded = loading.loadables["model"].state_dict()
    assert torch.equal(loaded["0.weight"], state["0.weight"])
    assert ("owner/name", "asr.ckpt") in asked
    (folder / "asr.ckpt").unlink()
    assert "has no model.ckpt or asr.ckpt" in error_of("owner/name")


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    def unreachable(file, source):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(pretrained, "fetch", unreachable)
    assert "(no route to host)" in error_of("owner/name")


def test_recipe_without_a_language_model_takes_none():
    with pytest.raises(ConfigurationError, match="lm_path: found 'folder'"):
        pretrained.load_language_model(None, "folder")
