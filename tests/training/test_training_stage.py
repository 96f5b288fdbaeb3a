import logging

import pytest
import torch

from speechbrain_acom.metrics.codebook_use import CodebookUse, CodebookUseRow
from speechbrain_acom.training.stage import RunningMeans, warn_of_collapsing


def test_mean_is_over_the_values_that_came_and_order_is_kept():
    means = RunningMeans()
    for value in (1.0, 2.0, 6.0):
        means.update("loss", torch.tensor(value))
    means.update("distortion", torch.tensor(0.5))
    assert means.values() == {"loss": 3.0, "distortion": 0.5}
    assert list(means.values()) == ["loss", "distortion"]


def test_nothing_counted_gives_nothing():
    assert RunningMeans().values() == {}


def test_values_are_detached():
    weight = torch.ones((), requires_grad=True)
    means = RunningMeans()
    means.update("loss", weight * 2)
    assert means.values() == {"loss": 2.0}
    assert weight.grad is None


@pytest.mark.parametrize(
    ("perplexity", "frames", "said"),
    [
        (9.9, 100, ["codebook 1 is collapsing: perplexity 9.9 of 100 entries"]),
        (10.0, 100, []),
        (9.9, 99, []),
        (1.0, 99, []),
        (0.0, 0, []),
    ],
)
def test_collapse_is_low_perplexity_of_a_frame_an_entry(
    perplexity, frames, said, caplog
):
    rows = [
        CodebookUseRow(0, 100, 50.0, 90.0, 1000),
        CodebookUseRow(1, 100, perplexity, 10.0, frames),
    ]
    with caplog.at_level(logging.WARNING):
        warn_of_collapsing(rows)
    assert [record.getMessage() for record in caplog.records] == said


@pytest.mark.parametrize("frames", [1, 5, 30, 256, 5000])
def test_evenly_used_entries_are_no_collapse_however_few_frames(frames, caplog):
    use = CodebookUse((256,))
    generator = torch.Generator().manual_seed(0)
    use.update(torch.randint(256, (1, frames, 1), generator=generator))
    [row] = use.rows()
    with caplog.at_level(logging.WARNING):
        warn_of_collapsing([row])
    assert not caplog.records
    assert row.frames == frames
    if frames == 256:
        assert row.perplexity == pytest.approx(128, rel=0.2)
