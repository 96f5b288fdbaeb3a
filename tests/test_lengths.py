"""Relative lengths and numbers of frames."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.lengths import (
    frame_counts,
    frame_mask,
    relative_lengths,
)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 200_000), st.data())
def test_counts_survive_the_way_through_relative_lengths(frames, data):
    count = data.draw(st.integers(0, frames))
    lengths = relative_lengths(torch.tensor([count]), frames)
    # Shape only: no memory for the frames of an hour.
    values = torch.zeros(1).expand(1, frames)
    assert frame_counts(lengths, values).tolist() == [count]


def test_no_lengths_mean_no_padding():
    values = torch.zeros(2, 3, 4)
    assert frame_counts(None, values).tolist() == [3, 3]
    assert frame_mask(None, values).all()


def test_mask_is_true_for_the_first_frames_only():
    mask = frame_mask(torch.tensor([0.25, 0.0, 1.0]), torch.zeros(3, 4))
    assert mask.int().tolist() == [[1, 0, 0, 0], [0] * 4, [1] * 4]


def test_a_batch_without_frames_has_no_real_frames():
    values = torch.zeros(2, 0, 4)
    lengths = relative_lengths(torch.tensor([0, 0]), 0)
    assert lengths.tolist() == [0.0, 0.0]
    assert frame_mask(lengths, values).shape == (2, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_counts_do_not_depend_on_the_type_of_the_values(dtype):
    values = torch.zeros(1, 1001, 1, dtype=dtype)
    lengths = torch.tensor([997 / 1001])
    assert frame_counts(lengths, values).tolist() == [997]
