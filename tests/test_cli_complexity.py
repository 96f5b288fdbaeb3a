"""``acom complexity``: what a recipe's model takes, from its YAML alone."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from speechbrain_acom.cli import main
from speechbrain_acom.hparams import load_hparams
from speechbrain_acom.metrics.complexity import complexity

RECIPES = Path(__file__).parents[1] / "recipes"
CODED = RECIPES / "LibriSpeech/ASR/CTC/hparams/mini_rvq.yaml"


def counted(capsys, *more):
    assert main(["complexity", "--json", *map(str, more)]) == 0
    return json.loads(capsys.readouterr().out)


def test_figures_are_those_of_the_model_that_is_trained(capsys, tmp_path):
    found = counted(capsys, CODED, "--split_layer=1")
    overrides = {
        "split_layer": 1,
        "data_folder": "none",
        "pretrained_path": "none",
        "output_folder": str(tmp_path),
    }
    hparams = load_hparams(CODED, overrides)
    expected = complexity(
        hparams["split"], hparams["compute_features"], hparams["sample_rate"]
    )
    # A search depends a little on the weights, of which there are others.
    assert found == pytest.approx(asdict(expected), rel=0.05)
    del found["quantizer_gmac_per_s"]
    assert found == pytest.approx(
        {key: asdict(expected)[key] for key in found}, rel=0.002
    )


def test_figures_are_the_same_every_time(capsys):
    torch.manual_seed(5)
    first = counted(capsys, CODED)
    torch.manual_seed(6)
    assert counted(capsys, CODED) == first


def test_search_grows_with_codebooks_and_device_with_layers(capsys):
    small = counted(capsys, CODED)
    large = counted(capsys, CODED, "--num_codebooks=4", "--split_layer=3")
    # Beside the projection, which they share.
    assert large["quantizer_gmac_per_s"] > 2 * small["quantizer_gmac_per_s"] > 0
    device = large["device_gmac_per_s"] - large["quantizer_gmac_per_s"]
    assert device > small["device_gmac_per_s"]


def test_longer_clips_take_more_a_second(capsys):
    short = counted(capsys, "--seconds", 1, CODED)
    long = counted(capsys, "--seconds", 30, CODED)
    assert long["total_gmac_per_s"] > short["total_gmac_per_s"]


def test_without_json_a_line_a_figure(capsys):
    assert main(["complexity", str(CODED)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        "device",
        "quantizer",
        "cloud",
        "total",
        "device parameters",
        "cloud parameters",
    ]
    assert lines[0].endswith(" GMAC/s")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([CODED, "--split_layer=99", "--json"], "split_layer: found 99"),
        (["no.yaml"], "hparams file: found 'no.yaml', expected a YAML file"),
        ([CODED, "--no_key=1"], "--no_key: found 1, expected one of: seed"),
        (
            ["--seconds", "0", CODED],
            "seconds: found 0.0, expected from 0.1 to",
        ),
        (["--seconds", "nan", CODED], "seconds: found nan"),
        ([CODED, "--split_layer=99"], "split_layer: found 99"),
    ],
)
def test_mistakes_are_one_line(capsys, command, said):
    assert main(["complexity", *map(str, command)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"acom: {said}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "found 'NoneType'"),
        (b"a: [1\n", "found 'no YAML in line 2'"),
        (b"a: \xff\n", "found 'no text'"),
    ],
)
def test_file_that_is_no_yaml_is_named(capsys, tmp_path, content, said):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    assert main(["complexity", str(path)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"acom: {path}: {said}")


def test_keys_and_options_come_in_any_order(capsys):
    first = counted(capsys, "--split_layer=1", CODED, "--seconds=2")
    last = counted(capsys, CODED, "--seconds", 2, "--split_layer=1", "--json")
    assert first == last


def test_other_commands_take_no_keys(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["encode", "a.wav", "--split_layer=1"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --split_layer=1" in capsys.readouterr().err


def test_yaml_without_a_split_is_named(capsys, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text("sample_rate: 16000\n")
    assert main(["complexity", str(path)]) == 1
    assert "no key split" in capsys.readouterr().err
