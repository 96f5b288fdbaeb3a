"""A prior that is fitted anew: what the copy of the model is, and is not."""

import shutil

import exported_models
import numpy as np
import pytest
import ruamel.yaml
import soundfile
import torch

from speechbrain_acom.entropy.priors import (
    AdaptivePrior,
    ContextPrior,
    StaticPrior,
    load_prior,
    prior_digest,
)
from speechbrain_acom.errors import (
    BitstreamError,
    ConfigurationError,
    DataError,
)
from speechbrain_acom.inference import (
    copy_half,
    export,
    load_fitter,
    load_interface,
    refit_prior,
)
from speechbrain_acom.inference.export import hash_model, replace_prior
from speechbrain_acom.inference.folder import HPARAMS_FILES
from speechbrain_acom.inference.prior_fitting import check_fitter
from speechbrain_acom.storage import file_checksum

RATE = exported_models.RATE
FRAGMENTS = exported_models.RECIPES.parent / "hparams" / "priors"
STATIC = StaticPrior.fit


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    generator = np.random.default_rng(0)
    paths = [folder / f"{name}.wav" for name in "abc"]
    for path in paths:
        samples = 0.1 * generator.standard_normal(RATE)
        soundfile.write(path, samples, RATE)
    return paths


@pytest.fixture(params=["recogniser", "classifier", "variable_recogniser"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def refitted(model, sounds, tmp_path):
    return refit_prior(model.folder, STATIC, sounds, tmp_path / "refitted")


def read_yaml(folder, half):
    yaml = ruamel.yaml.YAML(typ="rt")
    return yaml.load((folder / HPARAMS_FILES[half]).read_text())


def names(folder):
    return {path.name for path in folder.iterdir()}


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The copy --------------------------------------------------------------------


def test_prior_is_that_of_the_codes(model, refitted, sounds, tmp_path):
    device = load_interface(model.folder, "device")
    codes = [device.file_codes(path)[0].numpy() for path in sounds]
    expected = StaticPrior.fit(codes, device.prior.cardinalities)
    prior = load_prior(tmp_path / "refitted" / "prior.ckpt")
    assert prior_digest(prior) == prior_digest(expected)
    assert refitted.prior_sha256 == prior_digest(expected).hex()
    assert refitted.prior == "StaticPrior"
    assert refitted.code_frames == sum(map(len, codes))
    assert (refitted.audio_files, refitted.skipped) == (len(sounds), [])


def test_all_but_the_prior_is_the_same(model, refitted, tmp_path):
    folder = tmp_path / "refitted"
    assert refitted.model == str(folder)
    assert names(folder) == names(model.folder)
    changed = {
        name
        for name in names(folder)
        if file_checksum(folder / name) != file_checksum(model.folder / name)
    }
    assert changed == {"prior.ckpt", *HPARAMS_FILES.values()}
    for half in HPARAMS_FILES:
        before, after = read_yaml(model.folder, half), read_yaml(folder, half)
        assert list(before) == list(after)
        checksums = dict(after["checksums"])
        assert checksums.pop("prior.ckpt") == file_checksum(
            folder / "prior.ckpt"
        )
        assert checksums.items() < dict(before["checksums"]).items()
        for key in set(before) - {"checksums", "model_hash"}:
            assert str(before[key]) == str(after[key])


def test_hash_in_every_file_is_that_of_weights_and_prior(
    model, refitted, tmp_path
):
    folder = tmp_path / "refitted"
    prior = load_prior(folder / "prior.ckpt")
    expected = hash_model(model.split, prior).hex()
    assert refitted.model_hash == expected
    assert expected != hash_model(model.split, model.prior).hex()
    for half in HPARAMS_FILES:
        assert str(read_yaml(folder, half)["model_hash"]) == expected
        assert load_interface(folder, half).model_hash.hex() == expected


@pytest.mark.parametrize("digits", ["0012", "12e4", "1_23", "0x12", "1234"])
def test_hash_that_looks_like_a_number_is_none(
    recogniser, tmp_path, monkeypatch, digits
):
    digits = digits.replace("_", "0").replace("x", "e")
    monkeypatch.setattr(export, "hash_model", lambda *_: bytes.fromhex(digits))
    folder = replace_prior(
        recogniser.folder, recogniser.split, recogniser.prior, tmp_path / "new"
    )
    for half in HPARAMS_FILES:
        assert load_interface(folder, half).model_hash.hex() == digits


def test_answers_are_the_same(model, refitted, sounds, tmp_path):
    halves = [
        copy_half(refitted.model, half, tmp_path / half)
        for half in ("device", "cloud")
    ]
    device = load_interface(halves[0], "device")
    cloud = load_interface(halves[1], "cloud")
    before = load_interface(model.folder)
    for path in sounds:
        message = device.encode_file(path)
        expected = before.decode_output(before.encode_file(path))
        assert torch.equal(cloud.decode_output(message), expected)


@pytest.mark.parametrize("kind", [ContextPrior, AdaptivePrior])
def test_any_prior_codes_what_the_device_sends(model, sounds, tmp_path, kind):
    done = refit_prior(model.folder, kind.fit, sounds, tmp_path / "new")
    assert done.prior == kind.__name__
    halves = [
        copy_half(done.model, half, tmp_path / half)
        for half in ("device", "cloud")
    ]
    device = load_interface(halves[0], "device")
    cloud = load_interface(halves[1], "cloud")
    assert prior_digest(cloud.prior).hex() == done.prior_sha256
    before = load_interface(model.folder)
    for path in sounds:
        for books in (1, None):
            message = device.encode_file(path, books)
            expected = before.decode_output(before.encode_file(path, books))
            assert torch.equal(cloud.decode_output(message), expected)


def test_messages_of_the_other_prior_are_refused_by_name(
    model, refitted, sounds
):
    before, after = (
        load_interface(folder) for folder in (model.folder, refitted.model)
    )
    for writer, reader in ((before, after), (after, before)):
        message = writer.encode_file(sounds[0])
        with pytest.raises(BitstreamError) as caught:
            reader.decode(message)
        assert (
            f"message of model {writer.model_hash.hex()}, this is model "
            f"{reader.model_hash.hex()}"
        ) in one_line(caught)


def test_same_prior_is_the_same_model(recogniser, tmp_path):
    folder = replace_prior(
        recogniser.folder, recogniser.split, recogniser.prior, tmp_path / "new"
    )
    for name in names(folder) - set(HPARAMS_FILES.values()):
        assert file_checksum(folder / name) == file_checksum(
            recogniser.folder / name
        )
    loaded, copied = map(load_interface, (recogniser.folder, folder))
    assert loaded.model_hash == copied.model_hash


def test_copy_can_be_fitted_again(recogniser, sounds, tmp_path):
    first, second = (tmp_path / name for name in ("first", "second"))
    once = refit_prior(recogniser.folder, STATIC, sounds[:1], first)
    twice = refit_prior(first, STATIC, sounds, second)
    straight = refit_prior(recogniser.folder, STATIC, sounds, tmp_path / "a")
    assert twice.model_hash == straight.model_hash != once.model_hash


# What is refused ---------------------------------------------------------------


def test_unreadable_files_are_left_out_and_listed(recogniser, sounds, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio at all")
    soundfile.write(tmp_path / "nan.wav", [np.nan] * RATE, RATE, "FLOAT")
    gone = tmp_path / "gone.wav"
    paths = [bad, *sounds, tmp_path / "nan.wav", gone]
    done = refit_prior(recogniser.folder, STATIC, paths, tmp_path / "a")
    alone = refit_prior(recogniser.folder, STATIC, sounds, tmp_path / "b")
    assert done.prior_sha256 == alone.prior_sha256
    assert done.audio_files == len(sounds)
    starts = [str(path) for path in (bad, tmp_path / "nan.wav", gone)]
    for reason, start in zip(done.skipped, starts, strict=True):
        assert reason.startswith(start) and "\n" not in reason


@pytest.mark.parametrize("files", [0, 2])
def test_no_readable_audio(recogniser, tmp_path, files):
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio at all")
    with pytest.raises(DataError) as caught:
        refit_prior(recogniser.folder, STATIC, [bad] * files, tmp_path / "new")
    assert f"no readable file of {files}" in one_line(caught)
    assert (str(bad) in one_line(caught)) == bool(files)
    assert names(tmp_path) == {"bad.wav"}


@pytest.mark.parametrize("half", ["device", "cloud"])
def test_one_half_is_not_enough(recogniser, sounds, tmp_path, half):
    copied = copy_half(recogniser.folder, half, tmp_path / half)
    with pytest.raises(ConfigurationError) as caught:
        refit_prior(copied, STATIC, sounds, tmp_path / "new")
    assert f"{half}.yaml" in one_line(caught)
    assert "expected the export with both halves" in one_line(caught)
    assert names(tmp_path) == {half}


def test_folder_that_is_no_model(sounds, tmp_path):
    with pytest.raises(ConfigurationError, match="which holds hyperparams"):
        refit_prior(tmp_path, STATIC, sounds, tmp_path / "new")


@pytest.mark.parametrize("name", ["cloud.ckpt", "tokenizer.ckpt", "cloud.yaml"])
def test_damaged_model_is_not_copied(recogniser, sounds, tmp_path, name):
    damaged = shutil.copytree(recogniser.folder, tmp_path / "damaged")
    (damaged / name).unlink()
    with pytest.raises(ConfigurationError, match=name):
        refit_prior(damaged, STATIC, sounds, tmp_path / "new")
    assert names(tmp_path) == {"damaged"}


def test_folder_that_exists_is_left_alone(recogniser, sounds, tmp_path):
    def never(codes, cardinalities):
        raise AssertionError("fitted before the folder was looked at")

    (tmp_path / "notes.txt").write_text("not of a model")
    for output in (tmp_path, tmp_path / "notes.txt", recogniser.folder):
        with pytest.raises(ConfigurationError, match="does not exist yet"):
            refit_prior(recogniser.folder, never, sounds, output)
    assert names(tmp_path) == {"notes.txt"}


def test_full_disk_is_one_line_and_leaves_nothing(
    recogniser, sounds, tmp_path, monkeypatch
):
    def full(prior, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "save_prior", full)
    with pytest.raises(DataError) as caught:
        refit_prior(recogniser.folder, STATIC, sounds, tmp_path / "x" / "new")
    assert "MB free" in one_line(caught) and "No space" in one_line(caught)
    assert names(tmp_path / "x") == set()


# Fragments -------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted(FRAGMENTS.glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_fragment_can_be_called_with_codes(path):
    check_fitter(load_fitter(path))


def test_fragment_in_a_folder_of_any_name(tmp_path):
    folder = tmp_path / "my priors #1, größer %20"
    folder.mkdir()
    shutil.copy(FRAGMENTS / "static.yaml", folder)
    prior = load_fitter(folder / "static.yaml")([np.array([[1]])], (2,))
    assert isinstance(prior, StaticPrior)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("!name:speechbrain_acom.entropy.priors.Static.fit", "Static"),
        ("!name:no_such_package.fit", "no_such_package"),
        ("!name:speechbrain_acom.entropy.priors.StaticPrior.fit {a: 1}", "'a'"),
        ("keys: [of, no, prior]", "callable"),
        ("a: [1", "expected ',' or ']'"),
        ("a: b: c", "mapping values are not allowed"),
        ("!new:speechbrain_acom.entropy.priors.StaticPrior", "'tables'"),
        ("", "callable"),
    ],
)
def test_fragment_with_a_mistake_is_named(tmp_path, text, reason):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_fitter(path)
    assert one_line(caught).startswith("prior: found ")
    assert reason in one_line(caught)


def test_fragment_that_includes_nothing_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("!include:gone.yaml\n")
    with pytest.raises(ConfigurationError) as caught:
        load_fitter(path)
    assert str(path) in one_line(caught)
    assert str(tmp_path / "gone.yaml") in one_line(caught)


@pytest.mark.parametrize("name", ["nothing.yaml", "."])
def test_fragment_that_is_no_file(tmp_path, name):
    with pytest.raises(ConfigurationError, match="found .*expected a fragment"):
        load_fitter(tmp_path / name)


def test_fragment_may_include_one_beside_it(tmp_path):
    shutil.copy(FRAGMENTS / "static.yaml", tmp_path)
    (tmp_path / "mine.yaml").write_text("!include:static.yaml\n")
    prior = load_fitter(tmp_path / "mine.yaml")([np.array([[1]])], (2,))
    assert isinstance(prior, StaticPrior)
