"""The benchmark of complexity counts what the paper counted."""

import complexity
import pytest
import torch

from speechbrain_acom.studies.results import read_rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    pytest.importorskip("transformers", reason="the codec's encoder is its")
    path = tmp_path_factory.mktemp("results") / "complexity.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(complexity, "CODEBOOKS", ((1, 128), (2, 1024)))
        complexity.main(["--output", str(path)])
    return read_rows(path)


def test_a_product_of_matrices_counts_once():
    layer = torch.nn.Linear(10, 30)
    assert complexity.counted(layer, torch.zeros(5, 10)) == 1500 / 1e9


def test_layers_of_a_second_take_a_quarter_of_the_papers_figure(rows):
    cuts = {
        (row["split_layer"], row["num_codebooks"]): row
        for row in rows
        if "num_codebooks" in row
    }
    per_layer = [
        (
            cuts[8, books]["device_gmac_per_s"]
            - cuts[4, books]["device_gmac_per_s"]
        )
        / 4
        for books in (1, 2)
    ]
    assert per_layer == pytest.approx([2.85 / 4 / 4.04] * 2, rel=0.05)


def test_layers_of_the_authors_frames_are_near_the_papers_figures(rows):
    found = [row["gmac"] for row in rows if "gmac" in row]
    assert found == pytest.approx([2.85, 5.69], rel=0.05)


def test_the_codecs_encoder_takes_what_the_paper_says(rows):
    [codec] = [row for row in rows if row["model"].startswith("DAC")]
    assert codec["device_gmac_per_s"] == pytest.approx(12.30, rel=0.005)
