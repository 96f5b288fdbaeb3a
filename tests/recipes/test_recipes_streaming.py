"""A recipe that trains a model for streams, which then runs as one."""

import pytest
from recipe_runs import ASR, TINY_ASR, TINY_RVQ, finished, is_finite, run

from speechbrain_acom.audio import load_audio
from speechbrain_acom.inference import (
    AcomStreamDecoder,
    AcomStreamEncoder,
    load_interface,
)


@pytest.fixture(scope="module")
def trained(speech, sounds, tmp_path_factory):
    return finished(
        run(
            ASR,
            "mini_streaming_rvq",
            tmp_path_factory.mktemp("streaming") / "run",
            data_folder=speech,
            pretrained_path="",
            number_of_epochs=1,
            noise=f"!include:../../../../hparams/noise.yaml {{noises: {sounds}, "
            "snrs: [0]}",
            **TINY_ASR,
            **TINY_RVQ,
        )
    )


def test_results_say_how_late_the_bytes_come(trained):
    for row in trained.results["rows"]:
        assert is_finite(row)
        # 16 frames of 40 ms, and what the filters look ahead.
        assert row["algorithmic_latency_s"] == pytest.approx(0.6425, abs=1e-4)


def test_test_sets_are_tested_with_noise_too(trained):
    clean, noisy = trained.results["rows"]
    assert clean["test_set"] == "test-synthetic"
    assert noisy["test_set"] == "test-synthetic_0dB"
    assert clean["messages"] == noisy["messages"]
    # Other codes: the bytes have heard the noise.
    assert clean["payload_bps"] != noisy["payload_bps"]


def test_a_trained_model_hears_as_it_goes_what_it_hears_at_once(
    trained, speech
):
    model = load_interface(trained.folder / "export")
    path = sorted(speech.rglob("test-synthetic/**/*.flac"))[0]
    signal = load_audio(path, 16000)
    encoder, decoder = AcomStreamEncoder(model), AcomStreamDecoder(model)
    for part in signal.split(1000):
        decoder.push(encoder.push(part))
    decoder.push(encoder.finish())
    assert decoder.finish() == model.transcribe_file(path)
