"""The benchmark of quantizers runs and says what it promises."""

import importlib.util
from pathlib import Path

import pytest
import torch

from speechbrain_acom.studies.results import read_rows

pytest.importorskip("vector_quantize_pytorch", reason="a peer of the benchmark")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "quantizers.py"


@pytest.fixture(scope="module")
def script():
    specification = importlib.util.spec_from_file_location("quantizers", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(script, tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "quantizers.json"
    script.main(["--quick", "--output", str(path)])
    return read_rows(path)


def test_a_row_has_the_setting_its_ratios_and_what_they_are_of(rows):
    (row,) = rows
    assert row["peer"] in ("vector-quantize-pytorch", "speechbrain-dac")
    assert (row["num_codebooks"], row["codebook_size"]) == (2, 32)
    for figure, ratio in (
        ("step_ms", "time_ratio"),
        ("encode_ms", "encode_time_ratio"),
        ("step_mib", "memory_ratio"),
    ):
        peers = [
            row[f"{peer}_{figure}"]
            for peer in ("vector_quantize_pytorch", "speechbrain_dac")
        ]
        expected = row[f"ours_{figure}"] / min(peers)
        assert row[ratio] == pytest.approx(expected, rel=1e-3)


def test_the_codes_are_those_of_an_exact_search(rows):
    assert rows[0]["exact_percent"] == 100.0


def test_settings_are_all_that_were_asked_for(script):
    assert len(script.CELLS) == 18


def test_memory_is_the_most_that_was_held_at_once(script):
    def action():
        first = torch.zeros(2**18)
        second = first + 1
        del first
        return second + 1

    assert script.peak_mib(action) == pytest.approx(2.0, abs=0.01)
