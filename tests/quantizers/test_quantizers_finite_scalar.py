"""Finite scalar quantization: codes, training with dither, start from data."""

import inspect
import math
from pathlib import Path

import pytest
import torch
from finite_scalar_helpers import correlated_frames
from hyperpyyaml import load_hyperpyyaml
from round_trips import every_code, with_plain_projections

from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.quantizers import (
    FiniteScalarQuantizer,
    ResidualFiniteScalarQuantizer,
)
from speechbrain_acom.quantizers.mixed_radix import MixedRadix
from speechbrain_acom.quantizers.starts import principal_axes

FRAGMENTS = Path(__file__).parents[2] / "hparams" / "quantizers"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _plain(levels, gain=1.0, **options):
    quantizer = FiniteScalarQuantizer(len(levels), levels, **options)
    return with_plain_projections(quantizer, gain)


# Codes.


def test_the_first_dimension_is_the_fastest():
    quantizer = _plain([4, 3])
    decoded = quantizer.decode(torch.arange(12).reshape(1, 12, 1))[0]
    assert torch.allclose(decoded[:4, 0], torch.linspace(-1, 1, 4))
    assert (decoded[:4, 1] == -1).all()
    assert torch.equal(decoded[::4, 1], torch.tensor([-1.0, 0.0, 1.0]))
    # 3 + 4 * 2
    assert quantizer.encode(torch.full((1, 1, 2), 9.0)).item() == 11


def test_dimensions_are_split_into_codes():
    quantizer = FiniteScalarQuantizer(8, [17] * 5, dimensions_per_code=3)
    assert quantizer.cardinalities == (17**3, 17**2)
    assert not quantizer.truncatable
    codes = quantizer.encode(torch.randn(2, 3, 8))
    assert codes.shape == (2, 3, 2)


def test_long_groups_need_and_get_int64():
    layout = MixedRadix([[65536, 65536, 2], [3]])
    digits = torch.tensor([[65535, 65535, 1, 2], [1, 0, 0, 0], [0, 0, 1, 1]])
    codes = layout.pack(digits)
    assert codes.dtype == torch.int64
    assert codes.tolist() == [[2**33 - 1, 2], [1, 0], [2**32, 1]]
    assert torch.equal(layout.unpack(codes), digits)
    assert torch.equal(layout.unpack(codes[:, :1]), digits[:, :3])


def test_enormous_features_have_codes():
    quantizer = _plain([5, 4])
    features = torch.tensor([[[1e38, -1e38]]])
    assert quantizer.encode(features).item() == 4 + 5 * 0
    assert quantizer(features).statistics["saturated_share"] == 1


def test_half_precision_weights_leave_the_grid_alone():
    quantizer = _plain([17, 5])
    codes = every_code(quantizer)
    expected = quantizer.grid.sums(quantizer.layout.unpack(codes))
    quantizer.half()
    sums = quantizer.grid.sums(quantizer.layout.unpack(codes))
    assert torch.equal(sums, expected)


# Training.


def _treatments(quantizer, features, lengths=None):
    """Noise, (batch, time, channel), and which utterances are rounded."""
    result = quantizer.train()(features, lengths)
    noise = (result.features - features.tanh()).detach()
    values = torch.tensor([float(v) for v in quantizer.grid.values[0]])
    distances = (result.features.unsqueeze(-1) - values).abs().amin(-1)
    return noise, distances.detach() < 1e-6


def test_utterances_are_dithered_left_alone_or_rounded():
    quantizer = _plain([5, 5], dither=True)
    features = torch.randn(4000, 3, 2)
    noise, on_grid = _treatments(quantizer, features)
    left = (noise == 0).flatten(1)
    rounded = on_grid.flatten(1)
    # Utterances are treated as a whole.
    assert torch.equal(left.all(1), left.any(1))
    assert torch.equal(rounded.all(1), rounded.any(1))
    left, rounded = left.all(1), rounded.all(1)
    assert left.float().mean() == pytest.approx(0.25, abs=0.03)
    assert rounded.float().mean() == pytest.approx(0.25, abs=0.03)
    dithered = noise[~left & ~rounded]
    assert len(dithered) / 4000 == pytest.approx(0.5, abs=0.03)
    # Uniform over one step of the grid, 0.5, value by value.
    assert dithered.abs().max() <= 0.25 + 1e-6
    assert dithered.abs().max() > 0.249
    assert dithered.mean().item() == pytest.approx(0, abs=0.01)
    assert dithered.var().item() == pytest.approx(0.5**2 / 12, rel=0.05)
    correlation = torch.corrcoef(dithered.flatten(1).T) - torch.eye(6)
    assert correlation.abs().max() < 0.1


def test_noise_is_one_step_of_the_finest_grid():
    quantizer = ResidualFiniteScalarQuantizer(1, [[5], [5]], [1, 0.25])
    with_plain_projections(quantizer, 1.0)
    noise, on_grid = _treatments(quantizer, torch.randn(3000, 2, 1))
    widest = noise[~on_grid].abs().max()
    assert 0.99 / 16 < widest <= 1 / 16 + 1e-6


def test_padding_draws_no_noise_and_changes_none():
    quantizer = _plain([5, 5], dither=True)
    features = torch.randn(50, 4, 2)
    lengths = torch.linspace(0, 1, 50)
    torch.manual_seed(1)
    short = quantizer.train()(features, lengths).features
    longer = torch.nn.functional.pad(features, (0, 0, 0, 4))
    torch.manual_seed(1)
    long = quantizer(longer, lengths / 2).features
    assert torch.equal(long[:, :4], short)
    assert not long[:, 4:].any()


def test_codes_in_training_are_those_of_rounding():
    quantizer = _plain([5, 5], dither=True)
    features = torch.randn(50, 4, 2)
    codes = quantizer.train()(features).codes
    assert torch.equal(codes, quantizer.encode(features))


@pytest.mark.parametrize("settings", [{}, {"dither": True}])
def test_evaluation_and_asked_for_codebooks_are_rounded(settings):
    quantizer = _plain([5, 5], **settings)
    features = torch.randn(50, 4, 2)
    expected = quantizer.decode(quantizer.encode(features))
    assert torch.equal(quantizer.eval()(features).features, expected)
    trained = quantizer.train()(features, num_codebooks=1).features
    assert torch.allclose(trained, expected)


def test_without_dither_training_rounds():
    quantizer = _plain([5, 5]).train()
    features = torch.randn(50, 4, 2)
    expected = quantizer.decode(quantizer.encode(features))
    assert torch.allclose(quantizer(features).features, expected)


@pytest.mark.parametrize("dither", [False, True])
def test_the_gradient_is_that_of_tanh(dither):
    quantizer = _plain([3, 3], gain=0.5, dither=dither).train()
    features = torch.randn(40, 3, 2, requires_grad=True)
    quantizer(features).features.sum().backward()
    expected = 0.5 * (1 - torch.tanh(0.5 * features).square())
    assert torch.allclose(features.grad, expected.detach(), atol=1e-6)


def test_training_repairs_a_bad_start():
    frames = correlated_frames(500)
    frames = (frames - frames.mean(0)) / frames.std()
    quantizer = FiniteScalarQuantizer(8, [5] * 4, dither=True)
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.02)
    before = quantizer.eval()(frames.unsqueeze(1)).statistics["distortion"]
    quantizer.train()
    for _ in range(100):
        features = quantizer(frames.unsqueeze(1)).features.squeeze(1)
        optimizer.zero_grad()
        (features - frames).square().mean().backward()
        optimizer.step()
    after = quantizer.eval()(frames.unsqueeze(1)).statistics["distortion"]
    assert after < 0.3 * before


# The start from data.


# Errors of the best line through rounded values of tanh, integrated over a
# normal component.
@pytest.mark.parametrize(
    ("levels", "error"),
    [(2, 0.363), (3, 0.207), (5, 0.106), (8, 0.074), (17, 0.060)],
)
def test_the_start_uses_levels_evenly_and_saturates_little(levels, error):
    frames = correlated_frames()
    quantizer = FiniteScalarQuantizer(
        8, [levels] * 3, dimensions_per_code=1
    ).eval()
    quantizer.initialize(frames)
    result = quantizer(frames.unsqueeze(0))
    axes = principal_axes(frames, 3)
    found = (result.features[0] - axes.mean) @ axes.vectors
    expected = (frames - axes.mean) @ axes.vectors
    errors = (found - expected).square().mean(0) / axes.deviations.square()
    assert torch.allclose(errors, torch.full_like(errors, error), rtol=0.05)
    for codes in result.codes[0].unbind(-1):
        shares = torch.bincount(codes, minlength=levels) / len(frames)
        entropy = torch.special.entr(shares).sum() / math.log(2)
        assert entropy > 0.98 * math.log2(levels)
    assert result.statistics["saturated_share"] < 0.2 / levels


def test_the_start_keeps_what_varies_most():
    # Two large directions hidden among eight channels, and little noise.
    basis = torch.linalg.qr(torch.randn(8, 2)).Q
    frames = torch.randn(5000, 2) * torch.tensor([30.0, 20.0]) @ basis.T
    frames = 7 + frames + 0.01 * torch.randn(5000, 8)
    quantizer = FiniteScalarQuantizer(8, [33, 33]).eval()
    quantizer.initialize(frames)
    features = quantizer(frames.unsqueeze(0)).features[0]
    error = (features - frames).square().sum()
    assert error < 0.07 * (frames - frames.mean(0)).square().sum()


@pytest.mark.parametrize("number", [1, 2, 5])
def test_starting_from_fewcorrelated_frames(number):
    frames = torch.randn(number, 8)
    quantizer = FiniteScalarQuantizer(8, [5] * 4).eval()
    quantizer.initialize(frames)
    result = quantizer(frames.unsqueeze(0))
    assert result.features.isfinite().all()
    assert all(t.isfinite().all() for t in quantizer.state_dict().values())
    assert quantizer.input_projection.weight.abs().max() < 1e3


def test_starting_from_silence_decodes_to_silence():
    quantizer = FiniteScalarQuantizer(8, [4, 3])
    quantizer.initialize(torch.zeros(100, 8))
    decoded = quantizer.eval()(torch.zeros(1, 4, 8)).features
    assert not decoded.any()


def test_starting_from_no_frame_is_an_error():
    with pytest.raises(DataError, match="found 0, expected at least 1"):
        FiniteScalarQuantizer(8).initialize(torch.zeros(0, 8))


# Settings.


def test_checkpoints_hold_the_projections_only():
    assert set(FiniteScalarQuantizer(8).state_dict()) == {
        "input_projection.weight",
        "input_projection.bias",
        "output_projection.weight",
        "output_projection.bias",
    }


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("levels", {"levels": [5, 1]}),
        ("levels", {"levels": [5, 0]}),
        ("levels", {"levels": [5.0, 5]}),
        ("levels", {"levels": [True, 5]}),
        ("levels", {"levels": [65537]}),
        ("levels", {"levels": []}),
        ("levels", {"levels": 5}),
        ("levels", {"levels": "55"}),
        ("levels", {"levels": [2] * 9}),
        ("dimensions_per_code", {"dimensions_per_code": 0}),
        ("dimensions_per_code", {"dimensions_per_code": 1.5}),
    ],
)
def test_settings_out_of_range_name_their_key(key, settings):
    with pytest.raises(ConfigurationError, match=f"^{key}: found") as error:
        FiniteScalarQuantizer(8, **settings)
    assert "\n" not in str(error.value)


def test_a_code_that_is_too_large_says_what_to_do():
    expected = (
        "dimensions_per_code: found 6, expected at most 3: "
        "a code of 24137569 entries is larger than 65536"
    )
    with pytest.raises(ConfigurationError) as error:
        FiniteScalarQuantizer(8, levels=[17] * 6)
    assert str(error.value) == expected


def _fragment(tmp_path, name):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"quantizer: !include:{FRAGMENTS / name}.yaml\n")
    with recipe.open() as stream:
        return load_hyperpyyaml(stream)["quantizer"]


def _as_tuples(value):
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("name", "quantizer"),
    [
        ("fsq", FiniteScalarQuantizer),
        ("residual_fsq", ResidualFiniteScalarQuantizer),
    ],
)
def test_fragments_hold_the_defaults_of_the_class(tmp_path, name, quantizer):
    fragment = _fragment(tmp_path, name)
    parameters = inspect.signature(quantizer).parameters
    defaults = {key: value.default for key, value in parameters.items()}
    del defaults["channels"]
    assert fragment.func is quantizer
    assert {
        key: _as_tuples(value) for key, value in fragment.keywords.items()
    } == defaults


def test_the_fragment_of_the_paper(tmp_path):
    quantizer = _fragment(tmp_path, "fsq_taae")(channels=16)
    assert quantizer.dither
    assert math.prod(quantizer.cardinalities) == 17**6
    bits = 25 * sum(math.log2(size) for size in quantizer.cardinalities)
    assert bits == pytest.approx(613, abs=0.5)
