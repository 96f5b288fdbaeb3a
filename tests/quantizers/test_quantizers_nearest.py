"""The fast search gives what a plain one in double precision gives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_acom.quantizers import nearest
from speechbrain_acom.quantizers.nearest import nearest_entries


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _plain(frames, entries, penalties=None):
    """First of all entries at the least distance, with no product."""
    frames, entries = frames.double(), entries.double()
    differences = frames.unsqueeze(1) - entries
    distances = differences.square().sum(2)
    scale = frames.square().sum(1) + entries.square().sum(1).max()
    if penalties is not None:
        distances = distances + penalties
        scale = scale + penalties.max()
    least = distances.amin(1) + 1e-14 * scale
    return (distances <= least.unsqueeze(1)).int().argmax(1)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 7, 64, 513, 4095, 4096, 4100]),
    st.sampled_from([1, 3, 64]),
    st.sampled_from([0.0, 1e-30, 1e-6, 1.0, 1e6, 1e15, 1e18, 1e30]),
    st.sampled_from([1e-30, 1e-6, 1.0, 1e6, 1e18]),
    st.booleans(),
)
def test_the_search_is_exact(seed, size, dimension, loud, large, doubled):
    generator = torch.Generator().manual_seed(seed)
    entries = large * torch.randn(size, dimension, generator=generator)
    frames = loud * torch.randn(60, dimension, generator=generator)
    # Silence, entries themselves, halfway between two of them, and nearly so.
    pick = torch.randint(size, (2, 20), generator=generator)
    frames[:5] = 0.0
    frames[5:25] = entries[pick[0]]
    frames[25:45] = (entries[pick[0]] + entries[pick[1]]) / 2
    # Entries twice, and almost twice.
    entries = entries[torch.arange(size) % max(1, size - size // 3)]
    entries[: size // 4] *= 1 + 2.0**-23
    frames = frames.double() if doubled else frames
    found = nearest_entries(frames, entries)
    assert torch.equal(
        found,
        nearest._exact_in_chunks(
            frames, entries, entries.double().square().sum(1)
        ),
    )
    distances = (
        (frames.double().unsqueeze(1) - entries.double()).square().sum(2)
    )
    scale = (
        frames.double().square().sum(1) + entries.double().square().sum(1).max()
    )
    least = distances.amin(1)
    reached = distances.gather(1, found.unsqueeze(1)).squeeze(1)
    assert (reached <= least + 1e-13 * scale).all()


@pytest.mark.parametrize("size", [5, 600, 5000])
@pytest.mark.parametrize("dimension", [2, 40])
def test_random_frames_agree_with_all_distances(size, dimension):
    frames, entries = torch.randn(300, dimension), torch.randn(size, dimension)
    penalties = torch.rand(size).double()
    assert torch.equal(
        nearest_entries(frames, entries), _plain(frames, entries)
    )
    assert torch.equal(
        nearest_entries(frames, entries, penalties),
        _plain(frames, entries, penalties),
    )


@pytest.mark.parametrize("size", [100, 4800])
def test_of_equal_entries_the_first_is_found(size):
    entries = torch.randn(size // 4, 6).repeat(4, 1)
    frames = torch.randn(500, 6)
    assert (nearest_entries(frames, entries) < size // 4).all()


@pytest.mark.parametrize("size", [64, 1024, 4000, 8192])
@pytest.mark.parametrize("mean", [0.0, 10.0])
def test_the_search_in_double_precision_is_the_exception(size, mean):
    frames, entries = torch.randn(2000, 8) + mean, torch.randn(size, 8) + mean
    with FlopCounterMode(display=False) as counter:
        nearest_entries(frames, entries)
    assert counter.get_total_flops() < 2 * 2000 * size * 8 * 1.02


@pytest.mark.parametrize("chunk", [1, 700, 5000])
def test_search_in_chunks_agrees_with_search_at_once(monkeypatch, chunk):
    frames, entries = torch.randn(101, 5), torch.randn(64, 5)
    expected = nearest_entries(frames, entries)
    monkeypatch.setattr(nearest, "MOST_DISTANCES_ON_CPU", chunk)
    assert torch.equal(nearest_entries(frames, entries), expected)


@pytest.mark.parametrize("size", [3, 1000])
def test_search_of_no_frames(size):
    found = nearest_entries(torch.zeros(0, 5), torch.zeros(size, 5))
    assert found.shape == (0,)


def test_coarser_products_are_not_trusted():
    # bfloat16 has 8 bits: a frame between two entries would be misjudged.
    entries = torch.tensor([[1.0], [1.001]]).repeat(1, 64)
    frames = torch.full((64, 64), 1.0008)
    try:
        torch.set_float32_matmul_precision("medium")
        found = nearest_entries(frames, entries)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert (found == 1).all()


def test_products_of_gpus_do_not_matter_on_a_cpu():
    allowed = torch.backends.cuda.matmul.allow_tf32
    frames, entries = torch.randn(2000, 8), torch.randn(64, 8)
    try:
        # As SpeechBrain does when it is imported.
        torch.backends.cuda.matmul.allow_tf32 = True
        with FlopCounterMode(display=False) as counter:
            nearest_entries(frames, entries)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    assert counter.get_total_flops() < 2 * 2000 * 64 * 8 * 1.02


def test_a_single_entry_needs_no_double_precision():
    frames, entries = torch.randn(50, 8), torch.randn(1, 8)
    with FlopCounterMode(display=False) as counter:
        assert not nearest_entries(frames, entries).any()
    assert counter.get_total_flops() == 2 * 50 * 8


def test_what_makes_groups_equally_large_is_never_found():
    entries = 1e14 * torch.rand(4159, 2)
    found = nearest_entries(torch.full((3, 2), -1e24), entries)
    assert (found < len(entries)).all()


@pytest.mark.parametrize("size", [1, 3, 200, 5000])
@pytest.mark.parametrize("dimension", [4, 40])
def test_what_is_not_a_number_gets_an_entry(size, dimension):
    frames = torch.randn(4, dimension)
    frames[0], frames[1], frames[2] = torch.nan, torch.inf, -torch.inf
    found = nearest_entries(frames, torch.randn(size, dimension))
    assert ((found >= 0) & (found < size)).all()
