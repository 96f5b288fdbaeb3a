import re
import shutil
import subprocess
import time

import pytest
import torch
from recipe_runs import (
    ASR,
    SOUND,
    TINY_ASR,
    TINY_CNN14,
    TINY_ECAPA,
    TINY_RVQ,
    command,
    finished,
    is_finite,
    run,
    run_with_two_processes,
)

from speechbrain_acom.inference import AcomASR, AcomClassifier

MODEL = {
    *("hparams", "test_set", "epochs", "quantizer"),
    *("split_layer", "merge", "merge_mode", "beta"),
    *("num_codebooks", "codebook_size", "skipped_files"),
    *("device_gmac_per_s", "quantizer_gmac_per_s", "cloud_gmac_per_s"),
    *("total_gmac_per_s", "device_parameters", "cloud_parameters"),
}
RATES = {"nominal_bps", "cross_entropy_bps", "payload_bps", "message_bps"}
VARIANTS = ("", "in_process_", "random_codes_", "constant_codes_")
WORDS = ("wer_percent", "cer_percent")


def columns(*metrics, coded=False):
    chosen = {
        "valid_wer_percent" if metrics == WORDS else "valid_error_percent"
    }
    ends = {f"{key}_{end}" for key in metrics for end in ("low", "high")}
    if not coded:
        return MODEL | chosen | set(metrics) | ends
    scores = {prefix + key for prefix in VARIANTS for key in metrics} | ends
    use = {
        f"codebook_{number}_{key}"
        for number in range(TINY_RVQ["num_codebooks"])
        for key in ("perplexity", "used_percent")
    }
    counts = {"prior", "mean_run_frames", "messages", "audio_s"}
    return MODEL | chosen | RATES | scores | use | counts


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def killed(runs, speech):
    """A training that was killed once its first checkpoint was there."""
    arguments, options = command(
        ASR,
        "mini",
        runs / "asr",
        data_folder=speech,
        number_of_epochs=6,
        **TINY_ASR,
    )
    with open(runs / "killed.txt", "w") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, **options)
        deadline = time.monotonic() + 60
        while not list(runs.glob("asr/save/CKPT*/CKPT.yaml")):
            assert process.poll() is None and time.monotonic() < deadline, (
                runs / "killed.txt"
            ).read_text()[-3000:]
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert not (runs / "asr" / "results.json").exists()


@pytest.fixture(scope="session")
def asr(runs, speech, killed):
    """The continuous recogniser, from a training that was killed once."""
    return finished(
        run(
            ASR,
            "mini",
            runs / "asr",
            data_folder=speech,
            number_of_epochs=6,
            **TINY_ASR,
        )
    )


@pytest.fixture(scope="session")
def quantized_asr(runs, speech, asr):
    return finished(
        run(
            ASR,
            "mini_rvq",
            runs / "asr_rvq",
            data_folder=speech,
            pretrained_path=asr.folder / "export",
            number_of_epochs=1,
            **TINY_ASR,
            **TINY_RVQ,
        )
    )


@pytest.fixture(scope="session")
def ecapa(runs, sounds):
    """Trained by two processes, in some batches of which files are bad."""
    return finished(
        run_with_two_processes(
            SOUND,
            "mini_ecapa",
            runs / "ecapa",
            data_folder=sounds,
            number_of_epochs=1,
            **{**TINY_ECAPA, "batch_size": 2},
        )
    )


@pytest.fixture(scope="session")
def cnn14(runs, sounds):
    return finished(
        run(
            SOUND,
            "mini_cnn14",
            runs / "cnn14",
            data_folder=sounds,
            number_of_epochs=1,
            **TINY_CNN14,
        )
    )


def quantized(continuous, sounds, overrides, epochs=1):
    name = continuous.folder.name
    return finished(
        run(
            SOUND,
            f"mini_{name}_rvq",
            continuous.folder.parent / f"{name}_rvq",
            data_folder=sounds,
            pretrained_path=continuous.folder / "export",
            number_of_epochs=epochs,
            **overrides,
            **TINY_RVQ,
        )
    )


@pytest.fixture(scope="session")
def quantized_ecapa(ecapa, sounds):
    return quantized(ecapa, sounds, TINY_ECAPA)


@pytest.fixture(scope="session")
def quantized_cnn14(cnn14, sounds):
    """Not tuned: its codebooks are what they started as."""
    return quantized(cnn14, sounds, TINY_CNN14, epochs=0)


def epochs_begun(done):
    return [
        int(epoch) for epoch in re.findall(r"into epoch (\d+)", done.output)
    ]


def test_killed_training_goes_on_where_it_was(asr):
    first, *_, last = epochs_begun(asr)
    assert 2 <= first <= 6 and last == 6
    assert "starting codebooks" not in asr.errors
    assert asr.row["epochs"] == 6


def test_continuous_recogniser_has_its_results_and_weights(asr):
    assert set(asr.row) == columns(*WORDS)
    assert is_finite(asr.row)
    assert asr.row["quantizer"] == "Bypass" and asr.row["num_codebooks"] == 0
    exported = {path.name for path in (asr.folder / "export").iterdir()}
    assert exported == {"model.ckpt", "normalize.ckpt", "tokenizer.ckpt"}


def test_bad_files_are_named_and_counted_wherever_they_are(asr, speech):
    for split in ("train", "test"):
        files = sorted(speech.glob(f"{split}-synthetic/*/*/*.flac"))
        for name in (path.stem for path in files[1:3]):
            assert re.search(
                rf"Skipped {name}: .*{name}.flac: found", asr.output
            )
        # An empty file has no header: the preparation leaves it out.
        assert re.search(rf"skipped .*{files[3].name}", asr.output)
    assert asr.row["skipped_files"] == 2
    assert "4 unreadable files left out" in asr.output


def test_quantized_recogniser_has_every_figure(quantized_asr, asr):
    row = quantized_asr.row
    assert set(row) == columns(*WORDS, coded=True)
    assert is_finite(row)
    assert row["quantizer"] == "ResidualVectorQuantizer"
    assert row["prior"] == "StaticPrior"
    # Three files are bad; the header of one of them says so.
    assert row["messages"] == 6 - 3 and row["skipped_files"] == 2
    # 25 frames/s of 2 codes of 4 bits, rounded up to whole frames.
    assert 200 <= row["nominal_bps"] < 210
    assert row["payload_bps"] < row["message_bps"]
    for key in WORDS:
        assert row[key] == row[f"in_process_{key}"]


def test_scalable_recogniser_of_runs_has_a_row_for_every_rate(
    runs, speech, asr
):
    done = finished(
        run(
            ASR,
            "mini_rvq",
            runs / "asr_scalable",
            data_folder=speech,
            pretrained_path=asr.folder / "export",
            number_of_epochs=1,
            merge=2,
            merge_mode="similar",
            test_num_codebooks="[1, 2]",
            prior="!include:../../../../hparams/priors/context.yaml",
            **TINY_ASR,
            **TINY_RVQ,
        )
    )
    first, whole = done.results["rows"]
    assert set(whole) == columns(*WORDS, coded=True)
    missing = {f"in_process_{key}" for key in WORDS}
    missing |= {"codebook_1_perplexity", "codebook_1_used_percent"}
    assert set(first) == set(whole) - missing
    assert is_finite(first) and is_finite(whole)
    assert (first["num_codebooks"], whole["num_codebooks"]) == (1, 2)
    for key in WORDS:
        assert whole[key] == whole[f"in_process_{key}"]
    for key in RATES:
        assert first[key] < whole[key]
    assert first["mean_run_frames"] == whole["mean_run_frames"] > 1
    assert first["prior"] == whole["prior"] == "ContextPrior"
    for name in ("test-synthetic", "test-synthetic_first_1"):
        assert (done.folder / "coded" / name / "answers.json").exists()


def test_quantizer_starts_from_the_pretrained_model(quantized_asr, asr):
    before = torch.load(asr.folder / "export" / "normalize.ckpt")
    after = torch.load(quantized_asr.folder / "export" / "normalize.ckpt")
    assert torch.equal(before["glob_mean"], after["glob_mean"])
    assert before["count"] == after["count"]
    assert "starting codebooks" in quantized_asr.errors


def test_exported_halves_say_what_the_whole_says(quantized_asr, speech):
    export = quantized_asr.folder / "export"
    whole, device, cloud = (
        AcomASR.from_hparams(export, half=half)
        for half in ("both", "device", "cloud")
    )
    path = sorted(speech.glob("test-synthetic/*/*/*.flac"))[0]
    assert cloud.decode(device.encode_file(path)) == whole.transcribe_file(path)


def test_tested_only_it_is_not_trained_and_says_the_same(
    quantized_asr, asr, speech
):
    before = quantized_asr.row
    again = finished(
        run(
            ASR,
            "mini_rvq",
            quantized_asr.folder,
            "--test_only",
            data_folder=speech,
            pretrained_path=asr.folder / "export",
            number_of_epochs=1,
            **TINY_ASR,
            **TINY_RVQ,
        )
    )
    assert epochs_begun(again) == []
    assert again.row == before


def test_two_processes_train_a_quantized_recogniser(runs, speech, asr):
    save = runs / "asr_two" / "save"
    save.mkdir(parents=True)
    for name in ("train", "dev-synthetic", "test-synthetic"):
        shutil.copy(asr.folder / "save" / f"{name}.csv", save)
        with open(save / f"{name}.csv", "a") as rows:
            rows.write(f"{name}-gone,1.0,$data_root/gone.flac,1,ONE\n")
    done = finished(
        run_with_two_processes(
            ASR,
            "mini_rvq",
            runs / "asr_two",
            data_folder=speech,
            skip_prep=True,
            pretrained_path=asr.folder / "export",
            number_of_epochs=2,
            **TINY_ASR,
            **TINY_RVQ,
        )
    )
    assert set(done.row) == columns(*WORDS, coded=True)
    assert is_finite(done.row)
    assert done.row["skipped_files"] == 2 + 1
    for key in WORDS:
        assert done.row[key] == done.row[f"in_process_{key}"]
    # The first process alone codes, decodes and writes.
    assert done.output.count("results.json") == 1
    # A slow bar may say so twice, but ends once.
    assert len(re.findall(r"coding the test set: 100%.*\n", done.errors)) == 1


def test_two_processes_train_a_classifier(ecapa):
    assert set(ecapa.row) == columns("accuracy_percent")
    assert is_finite(ecapa.row)
    assert ecapa.output.count("results.json") == 1
    assert ecapa.row["skipped_files"] == 1


@pytest.mark.parametrize("kind", ["ecapa", "cnn14"])
def test_quantized_classifier_has_every_figure(kind, request, sounds):
    done = request.getfixturevalue(f"quantized_{kind}")
    row = done.row
    expected = columns("accuracy_percent", coded=True)
    if row["epochs"] == 0:
        expected.remove("valid_error_percent")
    assert set(row) == expected
    assert is_finite(row)
    # Three files are bad; the headers of two of them say so.
    assert row["messages"] == 20 - 3 and row["skipped_files"] == 1
    assert row["accuracy_percent"] == row["in_process_accuracy_percent"]
    model = AcomClassifier.from_hparams(done.folder / "export")
    assert len(model.hparams.label_encoder) == 10


def test_continuous_cnn14_has_its_results_and_weights(cnn14):
    assert set(cnn14.row) == columns("accuracy_percent")
    assert is_finite(cnn14.row)
    exported = {path.name for path in (cnn14.folder / "export").iterdir()}
    assert exported == {"model.ckpt", "normalize.ckpt", "label_encoder.ckpt"}
