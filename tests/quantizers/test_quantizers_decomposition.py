"""A trained finite scalar quantizer read as residual stages."""

import itertools
import math

import pytest
import torch

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import (
    FiniteScalarQuantizer,
    ResidualFiniteScalarQuantizer,
    decompose,
)
from speechbrain_acom.quantizers.decomposition import PRESETS

EXACT = ["2x15625", "4x729"]
CHANNELS = 7


@pytest.fixture(scope="module")
def paper():
    """Six dimensions of 17 levels, as Parker et al., 2024."""
    torch.manual_seed(0)
    quantizer = FiniteScalarQuantizer(
        CHANNELS, [17] * 6, dimensions_per_code=3, dither=True
    )
    quantizer.initialize(torch.randn(2000, CHANNELS))
    return quantizer.eval()


def _values(quantizer, codes):
    """Values of the dimensions, before the projection back."""
    return quantizer.grid.sums(quantizer.layout.unpack(codes))


def _recoded(quantizer, values):
    """Codes of values of the dimensions, after the projection."""
    return quantizer.layout.pack(quantizer.grid.nearest(values))


def _check_equal(quantizer, decomposed, codes):
    """Codes (frame, K) say the same in stages, canonically, to the bit."""
    values = _values(quantizer, codes)
    stages = _recoded(decomposed, values)
    assert stages.dtype == torch.int64
    assert torch.equal(_values(decomposed, stages), values)
    assert torch.equal(_recoded(quantizer, values), codes)
    assert torch.equal(decomposed.canonical(stages), stages)
    decoded = quantizer.decode(codes.unsqueeze(0))
    assert torch.equal(decomposed.decode(stages.unsqueeze(0)), decoded)
    return stages


@pytest.mark.parametrize(
    ("levels", "stages"),
    [
        ([17, 17], [([5, 5], 1), ([5, 5], 0.25)]),
        ([17, 17], [([3, 3], 0.5**stage) for stage in range(4)]),
        ([9, 5, 3], [([3, 3, 3], 1), ([5, 3, 3], 0.5)]),
        ([10, 10], [([4, 4], 1), ([3, 3], 2 / 9)]),
    ],
)
def test_every_code_of_a_small_quantizer_keeps_its_value(levels, stages):
    torch.manual_seed(0)
    quantizer = FiniteScalarQuantizer(CHANNELS, levels)
    # The third case is finer than its quantizer: it keeps every value, too.
    decomposed = decompose(quantizer, stages)
    codes = torch.arange(math.prod(levels)).unsqueeze(1)
    recoded = _check_equal(quantizer, decomposed, codes)
    assert len(recoded.unique(dim=0)) == len(codes)


@pytest.mark.parametrize("preset", EXACT)
def test_a_million_random_codes_of_the_paper_keep_their_values(paper, preset):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(17**3, (1_000_000, 2), generator=generator)
    decomposed = decompose(paper, preset)
    for part in codes.split(20_000):
        stages = _check_equal(paper, decomposed, part)
        assert stages.max() < decomposed.cardinalities[0]


@pytest.mark.parametrize("preset", EXACT)
def test_features_are_quantized_as_before(paper, preset):
    decomposed = decompose(paper, preset)
    features = torch.randn(3, 400, CHANNELS)
    features[:, ::5] = 0.0
    expected = paper(features).features
    assert torch.equal(decomposed(features).features, expected)
    decoded = decomposed.decode(decomposed.encode(features))
    assert torch.equal(decoded, expected)
    assert decomposed.grid.values == paper.grid.values


@pytest.mark.parametrize("preset", EXACT)
def test_each_of_the_17_values_has_exactly_one_spelling(preset):
    stages = [(levels[:1], scale) for levels, scale in PRESETS[preset]]
    decomposed = decompose(FiniteScalarQuantizer(1, [17]), stages)
    spellings = itertools.product(*map(range, decomposed.cardinalities))
    codes = torch.tensor(list(spellings))
    assert len(codes) == {"2x15625": 25, "4x729": 81}[preset]
    values = _values(decomposed, codes).squeeze(1)
    canonical = (decomposed.canonical(codes) == codes).all(1)
    inside = values.abs() <= 1
    assert len(values[inside]) > 17
    expected = torch.linspace(-1, 1, 17, dtype=torch.float64)
    assert torch.equal(values[canonical & inside].sort().values, expected)
    used = _recoded(decomposed, torch.linspace(-1, 1, 9999).unsqueeze(1))
    assert torch.equal(
        used.unique(dim=0), codes[canonical & inside].unique(dim=0)
    )


def test_canonical_spellings_of_four_stages_by_hand():
    # In units of 1/8, levels of 8, 4, 2 and 1: nearest first, halves up.
    stages = [([3], 0.5**stage) for stage in range(4)]
    decomposed = decompose(FiniteScalarQuantizer(1, [17]), stages)
    values = torch.tensor([[-8.0], [-4.0], [-1.0], [0], [1], [3], [4], [7]])
    assert _recoded(decomposed, values / 8).tolist() == [
        [0, 1, 1, 1],  # -8
        [1, 0, 1, 1],  # 0 - 4: -4 is halfway between -8 and 0
        [1, 1, 1, 0],  # -1 is halfway between -2 and 0
        [1, 1, 1, 1],
        [1, 1, 2, 0],  # 2 - 1: 1 is halfway between 0 and 2
        [1, 2, 1, 0],  # 4 - 1: 3 is nearest to 0 and to 4, then halfway
        [2, 0, 1, 1],  # 8 - 4
        [2, 1, 1, 0],  # 8 - 1
    ]


def test_any_spelling_decodes_to_the_value_of_the_canonical_one(paper):
    decomposed = decompose(paper, "4x729")
    codes = torch.randint(729, (5, 200, 4))
    canonical = decomposed.canonical(codes)
    assert not torch.equal(canonical, codes)
    assert torch.equal(decomposed.decode(canonical), decomposed.decode(codes))


def test_the_first_codes_are_a_coarser_version(paper):
    decomposed = decompose(paper, "4x729")
    features = torch.randn(1, 2000, CHANNELS)
    errors = [
        float(decomposed(features, num_codebooks=kept).statistics["distortion"])
        for kept in (1, 2, 3, 4)
    ]
    assert errors == sorted(errors, reverse=True)


def test_rates_and_wasted_bits_of_the_presets():
    # Parker et al., 2024, round to 400, 700 and 1000 bit/s at 25 frames/s.
    needed = 6 * math.log2(17)
    figures = {}
    for preset in PRESETS:
        quantizer = FiniteScalarQuantizer(6, [17] * 6, dimensions_per_code=3)
        sizes = decompose(quantizer, preset).cardinalities
        bits = sum(math.log2(size) for size in sizes)
        figures[preset] = (sizes, round(25 * bits), round(1 - needed / bits, 2))
    assert figures["2x15625"] == ((15625,) * 2, 697, 0.12)
    assert figures["4x729"] == ((729,) * 4, 951, 0.36)
    sizes, rate, _ = figures["1x46656"]
    assert (sizes, rate) == ((46656,), 388)


@pytest.mark.parametrize(
    ("preset", "wasted"), [("2x15625", 0.04), ("4x729", 0.25)]
)
def test_what_coding_each_code_alone_still_wastes(preset, wasted):
    stages = [(levels[:1], scale) for levels, scale in PRESETS[preset]]
    decomposed = decompose(FiniteScalarQuantizer(1, [17]), stages)
    codes = _recoded(decomposed, torch.linspace(-1, 1, 17).unsqueeze(1))
    # Given the codes before it, the entropy of each adds up to that of all.
    assert len(codes.unique(dim=0)) == 17
    shares = [torch.bincount(code) / 17 for code in codes.unbind(1)]
    bits = sum(torch.special.entr(share).sum() for share in shares)
    assert 1 - math.log(17) / bits == pytest.approx(wasted, abs=0.005)


def test_six_levels_quantize_anew(paper):
    decomposed = decompose(paper, "1x46656")
    assert decomposed.grid.values != paper.grid.values
    values = torch.tensor([[0.0] * 6, [-1.0] * 6, [0.5] * 6])
    sums = _values(decomposed, _recoded(decomposed, values))
    # Levels -1, -0.6, -0.2, 0.2, 0.6, 1; halves go up.
    assert sums[:, 0].tolist() == [0.2, -1.0, 0.6]


def test_weights_mode_and_training_rule_are_taken_over(paper):
    for preset in PRESETS:
        decomposed = decompose(paper, preset)
        assert not decomposed.training
        assert decomposed.dither
        for name, weights in paper.state_dict().items():
            copied = decomposed.state_dict()[name]
            assert torch.equal(copied, weights)
            assert copied.data_ptr() != weights.data_ptr()


def test_a_checkpoint_can_be_loaded_into_the_stages(paper):
    stages = ResidualFiniteScalarQuantizer(CHANNELS).eval()
    stages.load_state_dict(paper.state_dict())
    features = torch.randn(2, 50, CHANNELS)
    assert torch.equal(stages(features).features, paper(features).features)


@pytest.mark.parametrize(
    ("stages", "dimensions_per_code", "cardinalities"),
    [
        # Explicit stages: as in the quantizer, whose codes hold three.
        ([([5] * 6, 1), ([5] * 6, 0.25)], None, (125,) * 4),
        ([([5] * 6, 1), ([5] * 6, 0.25)], 6, (15625,) * 2),
        ([([5] * 6, 1), ([5] * 6, 0.25)], 2, (25,) * 6),
        # A preset is what its name says, unless somebody asks.
        ("2x15625", None, (15625,) * 2),
        ("2x15625", 3, (125,) * 4),
    ],
)
def test_dimensions_share_codes_as_asked(
    paper, stages, dimensions_per_code, cardinalities
):
    decomposed = decompose(paper, stages, dimensions_per_code)
    assert decomposed.cardinalities == cardinalities
    features = torch.randn(1, 50, CHANNELS)
    expected = paper(features).features
    assert torch.equal(decomposed(features).features, expected)


def test_a_code_that_would_be_too_large_is_an_error(paper):
    with pytest.raises(ConfigurationError, match="^dimensions_per_code: found"):
        decompose(paper, [([17] * 6, 1)], 6)


@pytest.mark.parametrize(
    "stages", ["3x100", [([5, 5], 1)], [([5] * 6, 1), ([5] * 5, 0.25)], []]
)
def test_impossible_stages_are_an_error(paper, stages):
    with pytest.raises(ConfigurationError, match="^stages: found"):
        decompose(paper, stages)
