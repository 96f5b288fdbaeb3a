"""Residual finite scalar quantization: grids, spellings and stages."""

import itertools

import pytest
import torch
from finite_scalar_helpers import correlated_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from round_trips import every_code, with_plain_projections

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import ResidualFiniteScalarQuantizer
from speechbrain_acom.quantizers.scalar_grid import ScalarGrid


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 8, 17, 256])
def test_levels_are_those_of_the_paper(levels):
    # Parker et al., 2024, the scalar quantizer function, z being tanh(x).
    z = 2 * torch.rand(5000, 1, dtype=torch.float64) - 1
    index = torch.floor((levels - 1) * (z + 1) / 2 + 0.5)
    grid = ScalarGrid([[levels]], [1.0])
    assert torch.equal(grid.nearest(z), index.long())
    values = 2 / (levels - 1) * index - 1
    assert torch.allclose(grid.sums(grid.nearest(z)), values)
    assert grid.counts == (levels,)
    assert grid.cells == (pytest.approx(2 / (levels - 1)),)


def test_values_in_the_middle_go_up_however_they_were_rounded():
    grid = ScalarGrid([[3, 2]], [1.0])
    middles = torch.tensor([[0.5, 0.0], [-0.5, 0.0]], dtype=torch.float64)
    for error in (0.0, 1e-12, -1e-12):
        digits = grid.nearest(middles + error)
        assert digits.tolist() == [[2, 1], [1, 1]]


@pytest.mark.parametrize(
    ("levels", "scales"),
    [
        ([5, 5], [1, 1 / 4]),
        ([3, 3, 3, 3], [1, 1 / 2, 1 / 4, 1 / 8]),
        ([3, 5], [1, 1 / 2]),
    ],
)
def test_stages_code_what_the_ones_before_left(levels, scales):
    z = 2 * torch.rand(5000, 1, dtype=torch.float64) - 1
    rest = z
    for size, scale in zip(levels, scales, strict=True):
        index = torch.floor((size - 1) * (rest / scale + 1) / 2 + 0.5)
        index = index.clamp(0, size - 1)
        rest = rest - scale * (2 / (size - 1) * index - 1)
    grid = ScalarGrid([[size] for size in levels], scales)
    assert torch.allclose(grid.sums(grid.nearest(z)), z - rest)


def test_canonical_digits_of_two_stages_by_hand():
    # Units of 1/8: levels -8, -4, 0, 4, 8 and -2 ... 2. -6 is halfway between
    # -8 and -4, and 2 between 0 and 4: the higher one, then -2.
    grid = ScalarGrid([[5], [5]], [1, 0.25])
    digits = grid.nearest(torch.tensor([[-6.0], [2.0], [3.0], [8.0]]) / 8)
    assert digits.tolist() == [[1, 0], [3, 0], [3, 1], [4, 2]]
    other = torch.tensor([[0, 4], [2, 4], [3, 1], [4, 2]])
    assert torch.equal(grid.sums(other), grid.sums(digits))
    assert torch.equal(grid.canonical(other), digits)


stage_lists = st.lists(
    st.tuples(
        st.integers(2, 6), st.sampled_from([1, 0.75, 0.5, 0.3, 0.25, 0.1])
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(stage_lists)
def test_every_value_has_one_canonical_spelling(stages):
    sizes = [size for size, _ in stages]
    grid = ScalarGrid(
        [[size] for size in sizes], [scale for _, scale in stages]
    )
    digits = torch.tensor(list(itertools.product(*map(range, sizes))))
    canonical = grid.canonical(digits)
    sums = grid.sums(digits)
    assert torch.equal(grid.sums(canonical), sums)
    assert torch.equal(grid.canonical(canonical), canonical)
    assert len(canonical.unique(dim=0)) == len(sums.unique())
    # What is encoded is canonical, and values that can be reached stay.
    values = torch.linspace(-1, 1, 301).unsqueeze(1)
    encoded = grid.nearest(values)
    assert torch.equal(grid.canonical(encoded), encoded)
    reached = [[float(v)] for v in grid.values[0] if abs(v) <= 1]
    inside = torch.tensor(reached, dtype=torch.float64)
    assert torch.equal(grid.sums(grid.nearest(inside)), inside)
    assert encoded.unique(dim=0).shape[0] <= grid.counts[0]


@settings(max_examples=60, deadline=None)
@given(stage_lists)
def test_the_nearest_value_is_chosen(stages):
    grid = ScalarGrid(
        [[size] for size, _ in stages], [scale for _, scale in stages]
    )
    values = torch.linspace(-1, 1, 301, dtype=torch.float64).unsqueeze(1)
    reached = torch.tensor([float(value) for value in grid.values[0]])
    nearest = (values - reached.double()).abs().amin(1)
    chosen = (values - grid.sums(grid.nearest(values))).abs().squeeze(1)
    assert torch.allclose(chosen, nearest, atol=1e-7)


@pytest.mark.parametrize("dimensions_per_code", [None, 1])
def test_encoding_what_was_decoded_is_canonical(dimensions_per_code):
    quantizer = ResidualFiniteScalarQuantizer(
        2, [[3, 3], [5, 3]], [1, 0.5], dimensions_per_code
    )
    # tanh(1.4 * v) is nearest to v for nine values.
    with_plain_projections(quantizer, 1.4)
    codes = every_code(quantizer)
    decoded = quantizer.decode(codes)
    inside = (decoded.abs() <= 1).all(-1)
    canonical = quantizer.canonical(codes)
    assert torch.equal(quantizer.decode(canonical), decoded)
    encoded = quantizer.encode(decoded)
    assert torch.equal(encoded[inside], canonical[inside])
    assert torch.equal(quantizer.canonical(encoded), encoded)
    # 9 values of the first and 5 of the second dimension.
    assert len(encoded[0].unique(dim=0)) == 45


def test_stages_with_other_levels_and_scales_and_missing_codes():
    quantizer = ResidualFiniteScalarQuantizer(
        3, [[4, 3, 2], [3, 3, 5]], [1, 0.5], dimensions_per_code=2
    )
    with_plain_projections(quantizer, 1.0)
    assert quantizer.cardinalities == (12, 2, 9, 5)
    codes = torch.tensor([[[1 + 4 * 2, 1, 0 + 3 * 1, 4]]])
    # -1/3, 1, 1 and -1/2, 0, 1/2 on top of them.
    expected = [
        [-1 / 3, 1.0, 0.0],
        [-1 / 3, 1.0, 1.0],
        [-1 / 3 - 1 / 2, 1.0, 1.0],
        [-1 / 3 - 1 / 2, 1.0, 1.5],
    ]
    for kept, features in enumerate(expected, start=1):
        decoded = quantizer.decode(codes[..., :kept]).flatten()
        assert decoded.tolist() == pytest.approx(features)


def test_more_stages_lower_the_distortion():
    frames = correlated_frames().unsqueeze(0)
    quantizer = ResidualFiniteScalarQuantizer(
        8, [[3] * 6] * 4, [1, 0.5, 0.25, 0.125]
    ).eval()
    quantizer.initialize(frames[0])
    assert quantizer.truncatable
    centred = (frames - frames.mean(1)).square().mean()
    errors = [
        (quantizer(frames, num_codebooks=kept).features - frames)
        .square()
        .mean()
        / centred
        for kept in (1, 2, 3, 4)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 0.3 * errors[0]


def test_dropout_trains_every_number_of_codes_and_rounds():
    quantizer = ResidualFiniteScalarQuantizer(
        1, [[5], [5]], [1, 0.25], quantizer_dropout=1.0
    ).train()
    with_plain_projections(quantizer, 1.0)
    features = torch.randn(20, 3, 1)
    kept = set()
    for _ in range(20):
        result = quantizer(features)
        kept.add(result.codes.shape[-1])
        if result.codes.shape[-1] == 1:
            decoded = quantizer.decode(result.codes)
            assert torch.allclose(result.features, decoded)
    assert kept == {1, 2}


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("levels", {"levels": [5, 5]}),
        ("levels", {"levels": []}),
        ("levels", {"levels": [[5, 5], [5]]}),
        ("levels", {"levels": [[5] * 9, [5] * 9]}),
        ("levels", {"levels": [[17, 17]] * 5, "scales": [1] * 5}),
        ("scales", {"scales": [1.0]}),
        ("scales", {"scales": [1.0, 0.0]}),
        ("scales", {"scales": [1.0, 1.5]}),
        (
            "scales",
            {"levels": [[101]] * 2, "scales": [9999 / 10000, 9997 / 9998]},
        ),
        ("dimensions_per_code", {"levels": [[17] * 6, [2] * 6]}),
        ("quantizer_dropout", {"quantizer_dropout": 1.5}),
    ],
)
def test_stages_that_do_not_fit_name_their_key(key, settings):
    with pytest.raises(ConfigurationError, match=f"^{key}: found"):
        ResidualFiniteScalarQuantizer(8, **settings)
