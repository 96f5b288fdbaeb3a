"""The commands of docs/lobes.md that make stages of a trained quantizer."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recipe_runs import TINY_ECAPA

from speechbrain_acom.inference import load_interface

ROOT = Path(__file__).parents[2]
TINY = {
    **TINY_ECAPA,
    "number_of_epochs": 1,
    "train_folds": "[2]",
    "test_folds": "[10]",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sounds):
    """What the commands wrote, on a tiny model."""
    folder = tmp_path_factory.mktemp("results")
    page = (ROOT / "docs" / "lobes.md").read_text(encoding="utf-8")
    [script] = re.findall(r"```\n([^`]*--test_only\n)```", page)
    flags = "".join(f" --{key}={value}" for key, value in TINY.items())
    for written, here in {
        # Nothing to start from.
        "=results/mini_ecapa/1986/export": "=",
        "/path/to/UrbanSound8K": str(sounds),
        " results/": f" {folder}/",
        "=results/": f"={folder}/",
        "python train.py": f"{sys.executable} train.py",
        "rvq.yaml --": f"rvq.yaml{flags} --",
    }.items():
        assert written in script
        script = script.replace(written, here)
    done = subprocess.run(
        ["bash", "-ec", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_nothing_was_trained_again(folder):
    trained, staged = (
        json.loads((folder / name / "results.json").read_text())["rows"]
        for name in ("taae", "stages")
    )
    [before] = trained
    assert [row["num_codebooks"] for row in staged] == [1, 2]
    assert {row["quantizer"] for row in staged} == {
        "ResidualFiniteScalarQuantizer"
    }
    key = "accuracy_percent"
    assert staged[1][key] == staged[1][f"in_process_{key}"] == before[key]
    checkpoints = [
        sorted(path.name for path in (folder / name / "save").glob("CKPT*"))
        for name in ("taae", "stages")
    ]
    assert checkpoints[0] == checkpoints[1] != []


def test_export_in_stages_answers_as_before(folder, sounds):
    trained, staged = (
        load_interface(folder / name / "export") for name in ("taae", "stages")
    )
    assert trained.prior.cardinalities == (4913, 4913)
    assert staged.prior.cardinalities == (15625, 15625)
    for path in sorted(sounds.glob("audio/fold10/*.wav"))[:3]:
        message = staged.encode_file(path)
        output = trained.decode_output(trained.encode_file(path))
        assert torch.equal(staged.decode_output(message), output)
        assert len(staged.encode_file(path, 1)) < len(message)
