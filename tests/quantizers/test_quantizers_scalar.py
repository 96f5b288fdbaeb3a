"""Every channel rounded on its own."""

import inspect
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.quantizers import ScalarQuantizer

FRAGMENT = Path(__file__).parents[2] / "hparams" / "quantizers" / "scalar.yaml"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_cells_and_centres_by_hand():
    quantizer = ScalarQuantizer(1, bits=2)
    quantizer.low.fill_(10.0)
    quantizer.high.fill_(18.0)
    values = [-1e30, 9.9, 10.0, 11.9, 12.0, 15.99, 16.0, 18.0, 1e30]
    codes = quantizer.encode(torch.tensor(values).reshape(1, -1, 1))
    assert codes.flatten().tolist() == [0, 0, 0, 0, 1, 2, 3, 3, 3]
    assert codes.dtype == torch.int64
    decoded = quantizer.decode(torch.arange(4).reshape(1, 4, 1))
    assert decoded.flatten().tolist() == [11.0, 13.0, 15.0, 17.0]


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(1, 16),
    offset=st.sampled_from([0.0, 1.0, -300.0, 1e5]),
    spread=st.sampled_from([0.0, 1e-4, 1.0, 1e4]),
)
def test_every_code_comes_back(bits, offset, spread):
    torch.manual_seed(0)
    quantizer = ScalarQuantizer(1, bits)
    quantizer.initialize(offset + spread * torch.randn(500, 1))
    codes = torch.arange(2**bits).reshape(1, -1, 1)
    assert torch.equal(quantizer.encode(quantizer.decode(codes)), codes)


def test_ranges_are_percentiles_of_each_channel():
    # 0 ... 1000 in some order: the 0.1st percentile is 1, the 99.9th 999.
    order = torch.randperm(1001).float()
    frames = torch.stack([order, -2 * order + 5], dim=1)
    quantizer = ScalarQuantizer(2)
    quantizer.initialize(frames)
    assert quantizer.low.tolist() == [1.0, 5.0 - 2 * 999]
    assert quantizer.high.tolist() == [999.0, 5.0 - 2]


def test_outliers_do_not_widen_the_range():
    frames = torch.randn(10_000, 3)
    frames[7] = 1e6
    quantizer = ScalarQuantizer(3)
    quantizer.initialize(frames)
    assert quantizer.high.max() < 5
    share = quantizer(frames.unsqueeze(0)).statistics["clipped_share"]
    assert share.item() == pytest.approx(0.002, abs=0.0005)


def test_a_bit_more_lowers_the_error_of_uniform_values_by_four():
    frames = 3 + torch.rand(20_000, 2)
    errors = []
    for bits in (1, 2, 3):
        quantizer = ScalarQuantizer(2, bits).eval()
        quantizer.initialize(frames)
        features = quantizer(frames.unsqueeze(0)).features[0]
        errors.append((features - frames).square().mean())
        # The variance of a uniform error.
        assert errors[-1] == pytest.approx(2.0 ** (-2 * bits) / 12, rel=0.05)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e4])
def test_a_channel_that_never_varies(value):
    quantizer = ScalarQuantizer(2, bits=16).eval()
    quantizer.initialize(torch.full((100, 2), value))
    features = quantizer(torch.full((1, 3, 2), value)).features
    error = abs(value) * 2.0**-22 + 1e-10
    assert features.flatten().tolist() == pytest.approx([value] * 6, abs=error)


def test_the_gradient_is_the_identity():
    quantizer = ScalarQuantizer(3).train()
    features = (10 * torch.randn(2, 5, 3)).requires_grad_()
    weights = torch.randn(2, 5, 3)
    (quantizer(features).features * weights).sum().backward()
    assert torch.equal(features.grad, weights)


def test_there_is_nothing_to_learn_and_the_range_is_saved():
    quantizer = ScalarQuantizer(3)
    assert not list(quantizer.parameters())
    assert set(quantizer.state_dict()) == {"low", "high"}
    assert not quantizer(torch.randn(1, 4, 3)).losses


def test_a_codebook_for_each_channel():
    quantizer = ScalarQuantizer(5, bits=3)
    assert quantizer.cardinalities == (8,) * 5
    assert not quantizer.truncatable


def test_starting_from_no_frame_is_an_error():
    with pytest.raises(DataError, match="found 0, expected at least 1"):
        ScalarQuantizer(3).initialize(torch.zeros(0, 3))


@pytest.mark.parametrize("bits", [0, 17, 1.5, True, "4"])
def test_impossible_bits_name_their_key(bits):
    with pytest.raises(ConfigurationError, match="^bits: found"):
        ScalarQuantizer(3, bits)


def test_the_fragment_holds_the_defaults_of_the_class(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"quantizer: !include:{FRAGMENT}\n")
    with recipe.open() as stream:
        fragment = load_hyperpyyaml(stream)["quantizer"]
    assert fragment.func is ScalarQuantizer
    default = inspect.signature(ScalarQuantizer).parameters["bits"].default
    assert fragment.keywords == {"bits": default}
