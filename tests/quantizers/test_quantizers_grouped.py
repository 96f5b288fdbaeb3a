"""Product and grouped quantization beyond the common contract."""

import inspect
import itertools
from functools import partial
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.quantizers import (
    Bypass,
    FiniteScalarQuantizer,
    GroupedQuantizer,
    ResidualVectorQuantizer,
)

FRAGMENTS = Path(__file__).parents[2] / "hparams" / "quantizers"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _group(**settings):
    defaults = {"codebook_size": 8, "codebook_dim": None}
    return partial(ResidualVectorQuantizer, **{**defaults, **settings})


def _correlated(frames=2000, channels=8):
    """Most variance in few directions, which all channels share."""
    basis = torch.linalg.qr(torch.randn(channels, channels)).Q
    deviations = 2.0 ** -torch.arange(channels)
    return 3 + torch.randn(frames, channels) * deviations @ basis


def _distortion(quantizer, frames):
    result = quantizer.eval()((frames - frames.mean(0)).unsqueeze(0))
    return float(result.statistics["distortion"])


def _by_hand():
    """Two groups of two channels, two codebooks of two entries each."""
    quantizer = GroupedQuantizer(
        4, 2, _group(num_codebooks=2, codebook_size=2)
    ).eval()
    coarse = torch.tensor([[4.0, 4.0], [-4.0, -4.0]])
    fine = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    with torch.no_grad():
        for group in quantizer.groups:
            group.codebooks[0].entries.copy_(coarse)
            group.codebooks[1].entries.copy_(fine)
    return quantizer


def test_codes_are_the_first_of_every_group_before_the_second_of_any():
    frame = torch.tensor([[[5.0, 4.0, -4.0, -3.0]]])
    assert _by_hand().encode(frame).tolist() == [[[0, 1, 0, 1]]]
    assert _by_hand().cardinalities == (2, 2, 2, 2)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (1, [4.0, 4.0, 0.0, 0.0]),
        (2, [4.0, 4.0, -4.0, -4.0]),
        (3, [5.0, 4.0, -4.0, -4.0]),
        (4, [5.0, 4.0, -4.0, -3.0]),
    ],
)
def test_the_first_codes_are_shared_out_in_turn(kept, expected):
    quantizer = _by_hand()
    frame = torch.tensor([[[5.0, 4.0, -4.0, -3.0]]])
    codes = quantizer.encode(frame, num_codebooks=kept)
    assert codes.tolist() == [[[0, 1, 0, 1][:kept]]]
    assert quantizer.decode(codes).tolist() == [[expected]]


def test_a_group_without_a_code_is_average():
    frames = _correlated()
    quantizer = GroupedQuantizer(8, 4, _group())
    quantizer.initialize(frames)
    codes = quantizer.encode(frames.unsqueeze(0))
    errors = [
        (quantizer.decode(codes[..., :kept])[0] - frames).square().mean()
        for kept in range(1, 5)
    ]
    assert errors[0] < (frames - frames.mean(0)).square().mean()
    assert sorted(errors, reverse=True) == errors


def test_axes_are_shared_out_so_that_products_of_deviations_are_equal():
    # Products 8 * 1 and 4 * 2, whatever the rotation of the data.
    basis = torch.linalg.qr(torch.randn(4, 4).double()).Q
    deviations = torch.tensor([1.0, 8.0, 2.0, 4.0]).double()
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4)))
    quantizer = GroupedQuantizer(4, 2, _group())
    quantizer.initialize((signs * deviations) @ basis.T)
    expected = basis[:, [1, 0, 3, 2]].float()
    aligned = (quantizer.rotation * expected).sum(0).abs()
    assert torch.allclose(aligned, torch.ones(4), atol=1e-5)


def test_the_rotation_makes_groups_of_correlated_channels_better():
    frames = _correlated()
    frames -= frames.mean(0)
    plain = GroupedQuantizer(8, 2, _group(codebook_size=32))
    for group, part in zip(plain.groups, frames.chunk(2, 1), strict=True):
        group.initialize(part)
    rotated = GroupedQuantizer(8, 2, _group(codebook_size=32))
    rotated.initialize(frames)
    assert _distortion(rotated, frames) < 0.8 * _distortion(plain, frames)


def test_more_groups_lower_the_distortion():
    frames = torch.randn(2000, 8)
    distortions = []
    for number in (1, 2, 4):
        quantizer = GroupedQuantizer(8, number, _group())
        quantizer.initialize(frames)
        distortions.append(_distortion(quantizer, frames))
    assert distortions[0] > distortions[1] > distortions[2]


def test_one_group_is_the_quantizer_behind_a_rotation():
    frames = _correlated()
    quantizer = GroupedQuantizer(8, 1, _group(num_codebooks=2))
    quantizer.initialize(frames)
    turned = (frames - quantizer.mean) @ quantizer.rotation
    alone = quantizer.groups[0].encode(turned.unsqueeze(0))
    assert torch.equal(quantizer.encode(frames.unsqueeze(0)), alone)


def test_the_rotation_keeps_lengths():
    quantizer = GroupedQuantizer(8, 4, _group())
    quantizer.initialize(_correlated())
    unity = quantizer.rotation.T @ quantizer.rotation
    assert torch.allclose(unity, torch.eye(8), atol=1e-5)


def test_losses_are_means_over_groups():
    quantizer = _by_hand()
    with torch.no_grad():
        result = quantizer(torch.tensor([[[5.0, 4.0, 0.0, 0.0]]]))
        parts = [
            group(part)
            for group, part in zip(
                quantizer.groups,
                torch.tensor([[[5.0, 4.0]], [[0.0, 0.0]]]).unsqueeze(1),
                strict=True,
            )
        ]
    for name, loss in result.losses.items():
        expected = (parts[0].losses[name] + parts[1].losses[name]) / 2
        assert loss == pytest.approx(float(expected))
    # Errors of the whole: 5, 4, 0, 0 becomes 5, 4, 5, 4.
    assert result.statistics["distortion"] == pytest.approx(41 / 41)


def test_groups_that_learn_from_different_numbers_give_what_all_have():
    quantizer = GroupedQuantizer(
        8, 4, _group(num_codebooks=3, quantizer_dropout=1.0)
    ).train()
    widths = set()
    for _ in range(30):
        result = quantizer(torch.randn(2, 5, 8))
        widths.add(result.codes.shape[-1])
    assert widths <= {4, 8, 12}
    assert len(widths) > 1


@pytest.mark.parametrize(
    ("group", "cardinalities", "truncatable"),
    [
        (partial(FiniteScalarQuantizer, levels=[5, 3]), (15, 15), True),
        (Bypass, (256,) * 32, False),
    ],
)
def test_groups_may_be_of_any_kind(group, cardinalities, truncatable):
    quantizer = GroupedQuantizer(8, 2, group).eval()
    quantizer.initialize(_correlated())
    assert quantizer.cardinalities == cardinalities
    assert quantizer.truncatable == truncatable
    frames = _correlated().unsqueeze(0)
    codes = quantizer.encode(frames)
    assert torch.equal(quantizer.decode(codes), quantizer(frames).features)


def test_modules_of_one_half_are_those_of_the_groups():
    quantizer = partial(
        GroupedQuantizer, num_groups=2, quantizer=_group(codebook_dim=2)
    )
    bottleneck = Bottleneck(channels=8, quantizer=quantizer)
    assert bottleneck.device_only_modules() == [
        "quantizer.groups.0.input_projection",
        "quantizer.groups.1.input_projection",
    ]
    assert bottleneck.cloud_only_modules() == [
        "quantizer.groups.0.output_projection",
        "quantizer.groups.1.output_projection",
    ]


def test_starting_from_silence_and_from_one_frame():
    for frames in (torch.zeros(50, 8), torch.randn(1, 8)):
        quantizer = GroupedQuantizer(8, 4, _group())
        quantizer.initialize(frames)
        result = quantizer.eval()(frames.unsqueeze(0))
        assert torch.allclose(result.features[0], frames, atol=1e-5)


def test_starting_from_no_frame_is_an_error():
    with pytest.raises(DataError, match="found 0, expected at least 1"):
        GroupedQuantizer(8, 4, _group()).initialize(torch.zeros(0, 8))


@pytest.mark.parametrize("number", [0, 3, 16, 2.0])
def test_a_number_of_groups_that_does_not_divide_the_channels(number):
    with pytest.raises(ConfigurationError, match="^num_groups: found"):
        GroupedQuantizer(8, number, _group())


def test_settings_of_the_groups_are_checked():
    with pytest.raises(ConfigurationError, match="^codebook_dim: found 16"):
        GroupedQuantizer(8, 2)


def test_the_fragment_holds_the_defaults_of_the_class(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"quantizer: !include:{FRAGMENTS / 'product.yaml'}\n")
    with path.open() as stream:
        keywords = load_hyperpyyaml(stream)["quantizer"].keywords
    parameters = inspect.signature(GroupedQuantizer).parameters
    assert keywords["num_groups"] == parameters["num_groups"].default
    built = keywords["quantizer"](channels=32)
    assert built.cardinalities == ResidualVectorQuantizer(32).cardinalities
