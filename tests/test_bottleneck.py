"""Merge, quantizer and expansion together."""

from functools import partial

import pytest
import torch

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.lengths import frame_mask, relative_lengths
from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer

CHANNELS = 6
SMALL = partial(
    ResidualVectorQuantizer,
    num_codebooks=2,
    codebook_size=8,
    codebook_dim=4,
    kmeans_iterations=3,
)
SETTINGS = [
    (quantizer, merge, mode)
    for quantizer in (Bypass, SMALL)
    for merge, mode in (
        *((1, "average"), (3, "average"), (3, "projection")),
        *((1, "similar"), (2, "similar")),
    )
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def features():
    return torch.randn(3, 11, CHANNELS)


@pytest.fixture
def lengths():
    return relative_lengths(torch.tensor([4, 11, 7]), 11)


def _bottleneck(quantizer, merge, mode):
    bottleneck = Bottleneck(CHANNELS, quantizer, merge, mode).eval()
    generator = torch.Generator().manual_seed(1)
    bottleneck.calibrate([(torch.randn(3, 50, 6, generator=generator), None)])
    return bottleneck


@pytest.mark.parametrize(("quantizer", "merge", "mode"), SETTINGS)
def test_decoded_codes_equal_forward(quantizer, merge, mode, features, lengths):
    bottleneck = _bottleneck(quantizer, merge, mode)
    result = bottleneck(features, lengths)
    codes = bottleneck.encode(features, lengths)
    assert torch.equal(codes, result.codes)
    decoded = bottleneck.decode(codes, 11)
    real = frame_mask(lengths, features)
    assert decoded.shape == features.shape
    assert torch.equal(decoded[real], result.features[real])


@pytest.mark.parametrize(("quantizer", "merge", "mode"), SETTINGS)
def test_one_utterance_alone_as_in_a_batch(
    quantizer, merge, mode, features, lengths
):
    bottleneck = _bottleneck(quantizer, merge, mode)
    result = bottleneck(features, lengths)
    alone = bottleneck.encode(features[:1, :4])
    bottleneck.framing.check(alone[0].numpy(), 4)
    assert torch.equal(alone[0], result.codes[0, : alone.shape[1]])
    assert torch.equal(bottleneck.decode(alone, 4), result.features[:1, :4])


@pytest.mark.parametrize(("quantizer", "merge", "mode"), SETTINGS)
def test_padded_frames_are_zero_but_for_a_plain_bypass(
    quantizer, merge, mode, features, lengths
):
    result = _bottleneck(quantizer, merge, mode)(features, lengths)
    padding = result.features[~frame_mask(lengths, features)]
    if quantizer is Bypass and merge == 1:
        assert torch.equal(result.features, features)
    else:
        assert not padding.any()


@pytest.mark.parametrize("merge", [1, 2, 3, 4])
def test_code_lengths_count_the_code_frames(merge, features, lengths):
    result = _bottleneck(SMALL, merge, "average")(features, lengths)
    counts = (result.code_lengths * result.codes.shape[1]).round().int()
    assert counts.tolist() == [-(-frames // merge) for frames in (4, 11, 7)]


@pytest.mark.parametrize(("quantizer", "merge", "mode"), SETTINGS)
def test_gradients_reach_the_input_in_training(
    quantizer, merge, mode, features, lengths
):
    bottleneck = _bottleneck(quantizer, merge, mode).train()
    features.requires_grad_()
    bottleneck(features, lengths).features.sum().backward()
    real = frame_mask(lengths, features)
    assert features.grad[real].abs().sum() > 0


def test_loss_is_the_sum_of_the_quantizers_losses(features, lengths):
    result = _bottleneck(SMALL, 2, "average")(features, lengths)
    assert set(result.losses) == {"codebook", "commitment"}
    assert torch.isclose(result.loss, sum(result.losses.values()))
    assert result.loss > 0
    assert _bottleneck(Bypass, 1, "average")(features, lengths).loss == 0


def test_initialize_takes_what_merged_gives(features, lengths):
    bottleneck = _bottleneck(SMALL, 2, "average")
    before = bottleneck(features, lengths).statistics["distortion"]
    merged, merged_lengths = bottleneck.merged(features, lengths)
    bottleneck.initialize(merged[frame_mask(merged_lengths, merged)])
    after = bottleneck(features, lengths).statistics["distortion"]
    assert after < before


def test_run_lengths_are_the_first_column_of_the_codes(features, lengths):
    bottleneck = _bottleneck(SMALL, 2, "similar")
    assert bottleneck.cardinalities == (8, 8, 8)
    assert bottleneck.quantizer.cardinalities == (8, 8)
    assert bottleneck.framing == Framing(run_lengths=True)
    result = bottleneck(features, lengths)
    counts = (result.code_lengths * result.codes.shape[1]).round().int()
    for codes, frames, count in zip(
        result.codes, (4, 11, 7), counts, strict=True
    ):
        assert (codes[:count, 0] + 1).sum() == frames
        assert not codes[count:].any()
    assert result.statistics["mean_run"] == 22 / counts.sum()
    assert "distortion" in result.statistics


@pytest.mark.parametrize("merge", [1, 3])
@pytest.mark.parametrize("mode", ["average", "projection", "similar"])
def test_first_codebooks_alone(merge, mode, features, lengths):
    bottleneck = _bottleneck(SMALL, merge, mode)
    runs = bottleneck.framing.run_columns
    whole = bottleneck.encode(features, lengths)
    codes = bottleneck.encode(features, lengths, num_codebooks=1)
    assert torch.equal(codes, whole[..., : runs + 1])
    result = bottleneck(features, lengths, num_codebooks=1)
    assert torch.equal(result.codes, codes)
    real = frame_mask(lengths, features)
    decoded = bottleneck.decode(codes, 11)
    assert torch.equal(decoded[real], result.features[real])
    assert not torch.equal(decoded, bottleneck.decode(whole, 11))
    assert torch.equal(bottleneck.encode(features, lengths, 2), whole)


@pytest.mark.parametrize("wrong", [0, 3])
def test_number_of_codebooks_that_is_not_there(features, wrong):
    bottleneck = _bottleneck(SMALL, 2, "similar")
    for call in (bottleneck, bottleneck.encode):
        with pytest.raises(ConfigurationError, match="^num_codebooks: found"):
            call(features, num_codebooks=wrong)


def test_halves_name_only_modules_with_weights():
    learned = _bottleneck(SMALL, 2, "projection")
    assert learned.device_only_modules() == [
        "merge.projection",
        "quantizer.input_projection",
    ]
    assert learned.cloud_only_modules() == [
        "merge.expansion",
        "quantizer.output_projection",
    ]
    runs = _bottleneck(Bypass, 2, "similar")
    assert runs.device_only_modules() == ["merge.partition"]
    assert runs.cloud_only_modules() == []
    for quantizer in (Bypass, partial(SMALL, codebook_dim=None)):
        plain = _bottleneck(quantizer, 2, "average")
        assert plain.device_only_modules() == []
        assert plain.cloud_only_modules() == []


@pytest.mark.parametrize(
    ("merge", "mode"), [(1, "projection"), (2, "projection"), (2, "similar")]
)
def test_each_half_works_without_the_modules_of_the_other(
    merge, mode, features
):
    whole = _bottleneck(SMALL, merge, mode)
    codes = whole.encode(features)
    decoded = whole.decode(codes, 11)
    state = whole.state_dict()
    device, cloud = (Bottleneck(6, SMALL, merge, mode).eval() for _ in "ab")
    for half, foreign in (
        (device, device.cloud_only_modules()),
        (cloud, cloud.device_only_modules()),
    ):
        half.load_state_dict(state)
        for name in foreign:
            parent, _, child = name.rpartition(".")
            setattr(half.get_submodule(parent), child, None)
    assert torch.equal(device.encode(features), codes)
    assert torch.equal(cloud.decode(codes, 11), decoded)
    assert device.cloud_only_modules() == []


def test_cardinalities_are_the_quantizers():
    for mode in ("average", "similar"):
        assert _bottleneck(SMALL, 1, mode).cardinalities == (8, 8)
