"""Sums of past frames: each span, however frames come."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors.span_sums import BLOCK_FRAMES, SpanSums

OUTSIDE = np.array([100.0, -3.0])


def one_by_one(context: Context, frames: np.ndarray) -> list[list[float]]:
    """What each frame sees, added up frame by frame."""
    before = np.tile(OUTSIDE, (context.window, 1))
    padded = np.concatenate([before, frames])
    return [
        [
            number
            for near, far in context.spans
            for number in padded[place - far : place - near + 1].sum(axis=0)
        ]
        for place in range(context.window, len(padded))
    ]


@settings(deadline=None, max_examples=30)
@given(
    recent=st.integers(1, 9),
    groups=st.integers(0, 5),
    parts=st.lists(st.integers(0, BLOCK_FRAMES), max_size=8),
    seed=st.integers(0, 2**32 - 1),
)
def test_sums_are_those_of_their_frames(recent, groups, parts, seed):
    context = Context(recent, groups)
    random = np.random.default_rng(seed)
    frames = random.integers(-30000, 30001, (sum(parts), 2)).astype(float)
    expected = one_by_one(context, frames)
    sums, done = SpanSums(context, OUTSIDE), 0
    for part in parts:
        news = frames[done : done + part]
        if part:
            assert sums.now().tolist() == [expected[done]]
        assert sums.ahead(news).tolist() == expected[done : done + part]
        sums.append(news)
        done += part


def test_spans_cover_the_window_once():
    for recent in range(1, 10):
        for groups in range(6):
            context = Context(recent, groups)
            lags = [
                lag
                for near, far in context.spans
                for lag in range(near, far + 1)
            ]
            assert lags == list(range(1, context.window + 1))
