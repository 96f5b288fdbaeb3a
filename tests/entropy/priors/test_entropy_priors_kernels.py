"""Loops over one frame: to the bit what many frames get, cached or not."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.entropy.priors import TOTAL_FREQUENCY
from speechbrain_acom.entropy.priors.attention import (
    AttentionMemory,
    AttentionShape,
)
from speechbrain_acom.entropy.priors.fixed_point import (
    LARGEST_ACTIVATION,
    FixedLayer,
    falling_powers,
    powers_of_two,
)
from speechbrain_acom.entropy.priors.integers import scaled
from speechbrain_acom.entropy.priors.kernels import (
    ATTENDED,
    TABLE,
    attended,
    compiled,
    table,
)

few = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 1 << 32)


@few
@given(
    seed=seeds,
    outputs=st.integers(1, 40),
    inputs=st.integers(1, 400),
    shift=st.integers(0, 24),
    largest=st.sampled_from([1, 1 << 10, LARGEST_ACTIVATION]),
)
def test_layer_gives_one_frame_what_it_gives_many(
    seed, outputs, inputs, shift, largest
):
    random = np.random.default_rng(seed)
    layer = FixedLayer(
        random.integers(-32767, 32768, (outputs, inputs)).astype(float),
        shift,
        random.integers(-(1 << 31), 1 << 31, outputs).astype(float),
    )
    frames = random.integers(-largest, largest + 1, (3, inputs)).astype(float)
    for apply in (layer, layer.activations):
        alone = [apply(frame[np.newaxis])[0] for frame in frames]
        assert np.array_equal(apply(frames), alone)


@few
@given(
    logarithms=st.lists(st.integers(-(1 << 50), 1 << 50), min_size=1)
    | st.lists(st.integers(-30000, 0), min_size=1, max_size=3000)
)
def test_table_of_one_frame_is_that_of_many(logarithms):
    row = np.array(logarithms, dtype=float)
    found = compiled(table, TABLE)(row, falling_powers(), TOTAL_FREQUENCY)
    assert found.sum() == TOTAL_FREQUENCY
    assert np.array_equal(found, scaled(powers_of_two(row)))


@few
@given(
    seed=seeds,
    shape=st.builds(
        AttentionShape,
        heads=st.integers(1, 4),
        head_dim=st.integers(1, 9),
        key_frames=st.just(1),
        reach=st.integers(1, 20),
    ),
    largest=st.sampled_from([1, 1 << 14, LARGEST_ACTIVATION]),
)
def test_frame_alone_finds_what_it_finds_among_many(seed, shape, largest):
    random = np.random.default_rng(seed)
    queries, keys, values = random.integers(
        -largest, largest + 1, (3, 40, shape.width)
    ).astype(float)
    many, alone = AttentionMemory(shape), AttentionMemory(shape)
    found = []
    for frame in range(40):
        one = slice(frame, frame + 1)
        found.append(alone.looked_back(queries[one])[0])
        alone.append(keys[one], values[one])
    assert np.array_equal(many.followed(queries, keys, values), found)


@pytest.mark.parametrize("reason", [RuntimeError, OSError])
def test_machine_code_that_cannot_be_kept_is_used_all_the_same(
    monkeypatch, reason
):
    make = numba.njit

    def full_disk(*signature, cache=False, **options):
        if cache:
            raise reason("no space left on device")
        return make(*signature, **options)

    monkeypatch.setattr(numba, "njit", full_disk)
    kernel = compiled.__wrapped__(table, TABLE)
    row = np.array([0.0, -1024.0, -50000.0])
    found = kernel(row, falling_powers(), TOTAL_FREQUENCY)
    assert np.array_equal(found, scaled(powers_of_two(row)))


def test_loops_give_the_same_when_they_are_not_compiled():
    random = np.random.default_rng(0)
    query = random.integers(-99, 99, 6) * 2.0**-4
    keys, values = random.integers(-99, 99, (2, 2, 8, 3)).astype(np.float32)
    falls = -np.arange(18.0).reshape(2, 9) + 0.5
    given = (query, keys, values, falls, falling_powers(), 1, 7)
    machine_code = compiled(attended, ATTENDED)
    assert np.array_equal(attended(*given), machine_code(*given))
