"""Models are loaded from folders, whole ones and others."""

import shutil
import socket

import exported_models
import pytest
from exported_models import sound

from speechbrain_acom.errors import (
    ConfigurationError,
)
from speechbrain_acom.inference import (
    AcomASR,
    AcomClassifier,
    copy_half,
    load_interface,
)


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def damaged(model, tmp_path):
    """A copy of an exported model, to be damaged."""
    return shutil.copytree(model.folder, tmp_path / "damaged")


def refused(model, folder, half="both"):
    with pytest.raises(ConfigurationError) as caught:
        model.interface.from_hparams(folder, half=half)
    return one_line(caught)


@pytest.mark.parametrize("name", ["device", "cloud", "normalize", "prior"])
def test_missing_file_is_named(model, damaged, name):
    (damaged / f"{name}.ckpt").unlink()
    message = refused(model, damaged)
    assert str(damaged) in message and f"holds {name}.ckpt" in message


def test_missing_vocabulary_is_needed_by_the_cloud_only(model, damaged):
    name = f"{model.interface.VOCABULARY}.ckpt"
    (damaged / name).unlink()
    assert name in refused(model, damaged, "cloud")
    assert load_interface(damaged, "device").encode(sound())


@pytest.mark.parametrize("half", ["both", "device", "cloud"])
def test_damaged_weights_are_named(model, damaged, half):
    name = "cloud.ckpt" if half == "cloud" else "device.ckpt"
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[:-100])
    message = refused(model, damaged, half)
    assert str(damaged / name) in message and "copy it again" in message


def test_file_of_another_model_is_named(model, damaged, tmp_path):
    prior = exported_models.random_prior(seed=1)
    other = model.export(tmp_path / "other", prior=prior)
    shutil.copy(other / "prior.ckpt", damaged)
    for half in ("both", "device", "cloud"):
        assert str(damaged / "prior.ckpt") in refused(model, damaged, half)


def test_missing_half_is_named(model, tmp_path):
    folder = copy_half(model.folder, "device", tmp_path / "device")
    assert "which holds cloud.yaml" in refused(model, folder, "cloud")
    assert "which holds hyperparams.yaml" in refused(model, folder)


def test_output_folder_of_a_run_is_told_from_an_export(model):
    assert "folder export of a run" in refused(
        model, model.hyperparams_file.parent
    )


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\xfd", b"5"])
def test_unreadable_yaml_is_named(model, damaged, content):
    (damaged / "cloud.yaml").write_bytes(content)
    assert "cloud.yaml" in refused(model, damaged, "cloud")


def test_unknown_half_is_refused(model):
    message = refused(model, model.folder, "edge")
    assert message == "half: found 'edge', expected both, device or cloud"


@pytest.mark.parametrize("source", ["/no/such/folder", "./here", "a/b/c"])
def test_mistyped_folder_is_not_looked_for_on_the_hub(model, source):
    message = refused(model, source)
    assert "expected an existing folder or a name on the hub" in message


def test_hub_name_goes_the_ordinary_way(model, monkeypatch):
    def fetched(**arguments):
        return arguments

    monkeypatch.setattr(
        "speechbrain.inference.interfaces.pretrained_from_hparams", fetched
    )
    for source in ("someone/model", "model", "https://example.org/a/b"):
        assert model.interface.from_hparams(
            source, half="cloud", savedir="here"
        ) == {
            "cls": model.interface,
            "source": source,
            "hparams_file": "cloud.yaml",
            "savedir": "here",
        }


def test_model_of_another_task_is_refused(recogniser, classifier):
    with pytest.raises(ConfigurationError) as caught:
        AcomASR.from_hparams(classifier.folder)
    assert "expected AcomClassifier for this model" in one_line(caught)
    with pytest.raises(ConfigurationError, match="expected AcomASR"):
        AcomClassifier.from_hparams(recogniser.folder, half="device")


def test_subclass_of_an_interface_loads_its_models(recogniser):
    class Shouting(AcomASR):
        def decode(self, message):
            return f"{super().decode(message)}!"

    asr = Shouting.from_hparams(recogniser.folder)
    assert asr.decode(asr.encode(sound())).endswith("!")


def test_interface_that_is_not_known_is_named(model, damaged):
    path = damaged / "device.yaml"
    name = model.interface.__name__
    path.write_text(path.read_text().replace(name, "AcomTranslator"))
    with pytest.raises(ConfigurationError, match="found 'AcomTranslator'"):
        load_interface(damaged, "device")


def test_loads_and_runs_without_a_network(model, monkeypatch):
    def refuse(*_):
        raise AssertionError("there is no network")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    interface = load_interface(model.folder)
    assert interface.decode(interface.encode(sound())) is not None


def test_copy_in_a_savedir_works_like_the_original(model, tmp_path):
    kept = model.interface.from_hparams(model.folder, savedir=tmp_path / "kept")
    direct = load_interface(model.folder)
    assert kept.encode(sound()) == direct.encode(sound())
