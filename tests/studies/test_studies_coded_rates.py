"""A test set coded with fewer codebooks, and in runs of like frames."""

import exported_models
import numpy as np
import pytest
import soundfile

from speechbrain_acom.entropy.bitstream import read_header, read_message
from speechbrain_acom.entropy.framing import ONE_TO_ONE
from speechbrain_acom.entropy.priors import ContextPrior, StaticPrior
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.inference import load_interface
from speechbrain_acom.studies import coded_test
from speechbrain_acom.studies.coded_test import (
    VARIANTS,
    TestItem,
    run_coded_test,
)

RATE = exported_models.RATE
NAMES = ("a", "b")


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    generator = np.random.default_rng(0)
    made = []
    for name in NAMES:
        path = folder / f"{name}.wav"
        samples = 0.1 * generator.standard_normal(2 * RATE)
        samples[: RATE // 2] = 0.0
        soundfile.write(path, samples, RATE)
        made.append(TestItem(name, str(path), "target"))
    return made


@pytest.fixture(scope="module", params=[1, None])
def books(request):
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory, books):
    return tmp_path_factory.mktemp("coded")


@pytest.fixture(scope="module")
def device(variable_recogniser):
    return load_interface(variable_recogniser.folder, "device")


@pytest.fixture(scope="module")
def outcome(device, variable_recogniser, items, folder, books):
    return run_coded_test(
        device, variable_recogniser.folder, items, folder, 5, books
    )


def codes_of(device, folder, variant):
    framing = device.bottleneck.framing
    paths = [folder / "messages" / variant / f"{name}.acom" for name in NAMES]
    return [
        read_message(
            path.read_bytes(), device.prior, device.model_hash, framing
        )
        for path in paths
    ]


def test_every_message_has_its_codebooks_and_an_answer(outcome, folder, books):
    for variant in VARIANTS:
        assert all(
            isinstance(answer, str) for answer in getattr(outcome, variant)
        )
        for path in (folder / "messages" / variant).iterdir():
            assert read_header(path.read_bytes()).num_codebooks == books


def test_runs_of_the_controls_cover_the_frames(outcome, device, folder):
    real, random, constant = (
        codes_of(device, folder, variant) for variant in VARIANTS
    )
    likeliest = [table.argmax() for table in device.prior.tables]
    for one, drawn, repeated in zip(real, random, constant, strict=True):
        assert one.num_frames == drawn.num_frames == repeated.num_frames
        for control in (drawn, repeated):
            assert (control.codes[:, 0] + 1).sum() == one.num_frames
        columns = repeated.codes.shape[1]
        assert (repeated.codes[:-1] == likeliest[:columns]).all()
        assert len(np.unique(drawn.codes[:, 0])) > 1


def test_rates_count_the_run_lengths_and_what_was_sent(
    outcome, device, folder, books
):
    real = codes_of(device, folder, "real")
    prior = device.prior.first(1 + (books or 2))
    seconds = 2.0 * len(NAMES)
    frames = sum(len(one.codes) for one in real)
    bits = np.log2(12) + 4 * (books or 2)
    assert outcome.rate.nominal_bps == pytest.approx(frames * bits / seconds)
    ideal = sum(prior.bits(one.codes) for one in real)
    assert outcome.rate.cross_entropy_bps == pytest.approx(ideal / seconds)
    assert outcome.mean_run == pytest.approx(
        sum(one.num_frames for one in real) / frames
    )


def test_run_lengths_are_no_codebook(outcome, books):
    numbers = [use.codebook for use in outcome.codebook_use]
    assert numbers == list(range(books or 2))
    assert all(use.entries == 16 for use in outcome.codebook_use)


@pytest.mark.parametrize("fit", [StaticPrior.fit, ContextPrior.fit])
def test_constant_control_is_the_likeliest_first_frame(fit):
    # Utterances start with 2 1 and go on with 0 0.
    utterance = np.zeros((50, 2), dtype=np.int64)
    utterance[0] = 2, 1
    prior = fit([utterance] * 100, (3, 2))
    controls = coded_test._Controls(prior, ONE_TO_ONE, np.random.default_rng(0))
    expected = [0, 0] if isinstance(prior, StaticPrior) else [2, 1]
    constant = controls.codes(7)["constant"]
    assert constant.tolist() == [expected] * 7


def test_codebooks_that_are_not_there(device, items, tmp_path):
    with pytest.raises(ConfigurationError, match="^num_codebooks: found 3"):
        run_coded_test(device, tmp_path, items, tmp_path, num_codebooks=3)
