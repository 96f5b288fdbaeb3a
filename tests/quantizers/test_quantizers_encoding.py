"""Fast encoding gives the codes of a walk in double precision."""

from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_acom.quantizers import ResidualVectorQuantizer
from speechbrain_acom.quantizers.projection import (
    bounded_linear,
    narrow_linear,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@contextmanager
def _double_precision_only():
    """Single precision is not used where a user makes it coarser."""
    try:
        torch.set_float32_matmul_precision("medium")
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


def _quantizer(**settings):
    defaults = {"num_codebooks": 4, "codebook_size": 64, "codebook_dim": 6}
    return ResidualVectorQuantizer(**{"channels": 300, **defaults, **settings})


def _frames(channels, loud, seed):
    generator = torch.Generator().manual_seed(seed)
    frames = loud * torch.randn(1, 80, channels, generator=generator)
    frames[:, ::7] = 0.0
    frames[:, 1::7] = loud
    frames[:, 2::7] = frames[:, 3:4]
    return frames


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1e-30, 1e-22, 1e-4, 1.0, 1e4, 1e18, 1e30]),
    st.sampled_from(["euclidean", "cosine"]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([7, 64, 600]),
    st.booleans(),
)
def test_codes_are_those_of_double_precision(
    seed, loud, distance, rate_weight, size, doubled
):
    torch.manual_seed(seed)
    quantizer = _quantizer(
        codebook_size=size, distance=distance, rate_weight=rate_weight
    )
    with torch.no_grad():
        for number, book in enumerate(quantizer.codebooks):
            book.entries.mul_(min(loud, 1e15) * 0.3**number)
            # Entries twice, and almost twice.
            book.entries[size // 2 :] = book.entries[0]
            book.entries[-1] *= 1 + 2.0**-23
            book.shares.copy_(torch.rand(size))
    frames = _frames(300, loud, seed)
    # Frames that are sums of entries, as far as they can be.
    restored = quantizer.decode(torch.randint(size, (1, 20, 4)))
    frames[:, 20:40] = restored.detach()
    frames = frames.double() if doubled else frames
    codes = quantizer.encode(frames)
    with _double_precision_only():
        assert torch.equal(codes, quantizer.encode(frames))


@pytest.mark.parametrize("dimension", [2, 6, 40])
def test_trained_codebooks_fine_enough_to_see_rounding(dimension):
    # Eight bits a codebook and dimension: later codebooks code what single
    # precision rounds away.
    frames = torch.randn(1, 500, 300)
    quantizer = _quantizer(
        num_codebooks=8,
        codebook_size=256,
        codebook_dim=dimension,
        kmeans_iterations=2,
    )
    quantizer.initialize(torch.randn(2000, 300))
    codes = quantizer.encode(frames)
    with _double_precision_only():
        assert torch.equal(codes, quantizer.encode(frames))


def test_double_precision_is_the_exception():
    quantizer = _quantizer(channels=512, codebook_size=256)
    frames = torch.randn(1, 2000, 512)
    with FlopCounterMode(display=False) as counter:
        quantizer.encode(frames)
    least = 2 * 2000 * (512 * 6 + 4 * 256 * 6)
    assert least <= counter.get_total_flops() < 1.15 * least


@pytest.mark.parametrize("shape", [(3, 300), (300, 3), (128, 128), (1, 1)])
def test_narrow_layers_are_linear_layers(shape):
    linear = torch.nn.Linear(*shape)
    values = torch.randn(50, shape[0], requires_grad=True)
    result = narrow_linear(linear, values)
    assert torch.allclose(result, linear(values), atol=1e-5)
    gradient = torch.randn_like(result)
    inputs = (values, linear.weight, linear.bias)
    found = torch.autograd.grad(result, inputs, gradient)
    expected = torch.autograd.grad(linear(values), inputs, gradient)
    for first, second in zip(found, expected, strict=True):
        assert torch.allclose(first, second, atol=1e-4)


def test_narrow_layers_take_values_without_gradient():
    linear = torch.nn.Linear(4, 2)
    narrow_linear(linear, torch.randn(5, 4)).sum().backward()
    assert linear.weight.grad.any()


@pytest.mark.parametrize("channels", [1, 100, 1000])
@pytest.mark.parametrize("loud", [1e-30, 1e-22, 1.0, 1e15])
def test_errors_of_single_precision_are_within_their_bound(channels, loud):
    linear = torch.nn.Linear(channels, 8)
    # Equal terms err the most: their rounding errors do not cancel.
    values = loud * torch.cat(
        [torch.randn(100, channels), torch.ones(1, channels)]
    )
    for weight in (
        linear.weight.detach().clone(),
        torch.full((8, channels), 0.1),
    ):
        linear.weight.data.copy_(weight)
        result, errors = bounded_linear(linear, values)
        exact = values.double() @ linear.weight.double().T
        exact = exact + linear.bias.double()
        distances = (result.double() - exact).norm(dim=1)
        assert (distances <= errors).all()
        assert (
            errors
            <= 1e-3 * values.double().norm(dim=1) * linear.weight.norm() + 1e-4
        ).all()
