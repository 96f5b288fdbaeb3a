"""Merging frames that come bit by bit, and merging that waits for none."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.merges import frame_merge

MODES = ["average", "projection", "causal"]
CHANNELS = 3


def frames_of(count):
    generator = torch.Generator().manual_seed(count)
    return torch.randn(1, count, CHANNELS, generator=generator)


@pytest.mark.parametrize("mode", MODES)
@given(
    factor=st.integers(1, 5),
    pieces=st.lists(st.integers(0, 7), min_size=1, max_size=8),
)
def test_what_a_stream_gives_is_what_the_whole_gives(mode, factor, pieces):
    merge = frame_merge(CHANNELS, factor, mode)
    frames = frames_of(sum(pieces))
    *first, last = frames.split(pieces, dim=1)
    stream = merge.stream()
    merged = [stream.push(piece) for piece in first]
    merged.append(stream.finish(last))
    assert torch.equal(torch.cat(merged, 1), merge.merge(frames).values)


@pytest.mark.parametrize(
    ("mode", "counts"),
    [
        ("average", [0, 0, 1, 0]),
        ("projection", [0, 0, 1, 0]),
        ("causal", [1, 0, 0, 1]),
    ],
)
def test_how_long_a_frame_is_waited_for(mode, counts):
    stream = frame_merge(CHANNELS, 3, mode).stream()
    given_out = [stream.push(frames_of(1)).shape[1] for _ in range(4)]
    assert given_out == counts


def test_causal_groups_end_with_every_rth_frame():
    frames = frames_of(7)
    merged = frame_merge(CHANNELS, 3, "causal").merge(frames).values
    expected = [frames[:, :1], frames[:, 1:4], frames[:, 4:7]]
    expected = torch.stack([group.mean(1) for group in expected], dim=1)
    torch.testing.assert_close(merged, expected)


def test_no_later_frame_changes_a_causal_one():
    frames, merge = frames_of(8), frame_merge(CHANNELS, 3, "causal")
    merged = merge.merge(frames)
    expanded = merge.expand(merged.values, merged.codes, 8)
    for last in range(8):
        changed = frames.clone()
        changed[:, last + 1 :] = 9.0
        again = merge.merge(changed)
        seen = merge.expand(again.values, again.codes, 8)[:, : last + 1]
        assert torch.equal(seen, expanded[:, : last + 1])


def test_runs_of_like_frames_are_no_stream():
    with pytest.raises(ConfigurationError, match="^merge_mode: found"):
        frame_merge(CHANNELS, 2, "similar").stream()
