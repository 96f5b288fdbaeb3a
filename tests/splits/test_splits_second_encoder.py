"""A second encoder on the device, and frames of other rates."""

import copy
from functools import partial

import pytest
import second_encoders
import torch
from second_encoders import MEL_BINS, SECOND, Convolution
from speechbrain.lobes.features import Fbank

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.features import FirstChannelsNormalization
from speechbrain_acom.inference import AcomClassifier
from speechbrain_acom.metrics.complexity import complexity
from speechbrain_acom.quantizers import (
    SemanticResidualVectorQuantizer,
    TaughtResidualVectorQuantizer,
)
from speechbrain_acom.splits import (
    FilterBankEncoder,
    LastChannels,
    check_no_leak,
)
from speechbrain_acom.splits.alignment import align
from speechbrain_acom.training.teacher import Teacher

LENGTHS = torch.tensor([1.0, 0.6])
SMALL = {"codebook_size": 16, "codebook_dim": 4}
# With fewer frames than the features, as many, and one.
CUTS = [
    *(("conformer", 0), ("conformer", 2), ("ecapa", 0), ("ecapa", 3)),
    *(("ecapa", 6), ("cnn14", 3), ("cnn14", 7)),
]
every_cut = pytest.mark.parametrize(("family", "split_layer"), CUTS)


def semantic(channels=SECOND):
    quantizer = partial(
        SemanticResidualVectorQuantizer, semantic_channels=channels, **SMALL
    )
    return partial(Bottleneck, quantizer=quantizer)


def beside(family, split_layer, bottleneck=None, encoder=None):
    second = FilterBankEncoder(encoder or Convolution(), SECOND)
    return family.cut(
        split_layer, bottleneck or semantic(), second_encoder=second
    )


# Frames of other rates -----------------------------------------------------


def frames(*values):
    return torch.tensor(values).reshape(1, -1, 1)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([1.0, 3.0, 6.0], [3.333333]),
        # 3 frames over 2: each touches the middle one.
        ([1.0, 3.0, 6.0], [2.0, 4.5]),
        ([1.0, 3.0], [1.0, 2.0, 3.0]),
        ([5.0], [5.0, 5.0, 5.0]),
    ],
)
def test_frames_are_averaged_or_repeated(given, wanted):
    aligned = align(frames(*given), torch.ones(1), len(wanted), torch.ones(1))
    assert aligned.flatten().tolist() == pytest.approx(wanted)


def test_padding_changes_no_aligned_frame():
    values = torch.randn(1, 7, 3)
    alone = align(values, torch.ones(1), 4, torch.ones(1))
    padded = torch.nn.functional.pad(values, (0, 0, 0, 5), value=float("nan"))
    batch = align(padded, torch.tensor([7 / 12]), 9, torch.tensor([4 / 9]))
    assert torch.equal(batch[:, :4], alone)
    assert not batch[:, 4:].any()


@pytest.mark.parametrize(("given", "wanted"), [(0.0, 1.0), (1.0, 0.0)])
def test_no_frame_gives_no_frame(given, wanted):
    aligned = align(
        torch.ones(1, 4, 2), torch.tensor([given]), 3, torch.tensor([wanted])
    )
    assert not aligned.any()


def test_every_utterance_is_encoded_on_its_own():
    """With norms over time and fewer frames, as in no batch of others."""
    torch.manual_seed(0)
    encoder = Convolution()
    encoder.layer = torch.nn.Sequential(
        encoder.layer, torch.nn.InstanceNorm1d(SECOND)
    )
    second = FilterBankEncoder(encoder, SECOND, shortest=5)
    features, counts = torch.randn(4, 90, 40), [90, 31, 6, 1]
    lengths = torch.tensor(counts) / 90
    same, together = second(features, lengths)
    assert same is features and together.shape == (4, 90, SECOND)
    for row, beside_it, count in zip(features, together, counts, strict=True):
        alone = second(row[None, :count], torch.ones(1))[1][0]
        assert torch.equal(beside_it[:count], alone)


def test_frames_of_an_encoder_last_as_long_as_the_features():
    second = FilterBankEncoder(torch.nn.AvgPool2d((3, 1), (3, 1)), channels=1)
    features = torch.arange(7.0).reshape(1, 7, 1)
    _, beside_it = second(features, torch.ones(1))
    assert beside_it.flatten().tolist() == [1, 1, 1, 1, 4, 4, 4]


def test_second_encoder_of_nothing_gives_something_finite():
    second = FilterBankEncoder(torch.nn.Linear(40, 6), channels=6)
    _, beside_it = second(torch.randn(2, 5, 40), torch.tensor([0.0, 1.0]))
    assert beside_it.isfinite().all()


# The later layer that teaches ----------------------------------------------


def test_hidden_features_of_every_cut_are_the_same(
    build, bypass_bottleneck, features
):
    """Wherever the cut is, up to the layer that teaches."""
    for name, last in (("conformer", 3), ("ecapa", 5), ("cnn14", 6)):
        family = build(name)
        hidden = []
        for split_layer in range(last + 1):
            split = family.cut(split_layer, bypass_bottleneck)
            target = Teacher(split)(features, torch.ones(2)).hidden
            assert target.values.shape[-1] == split.cloud_half.hidden_channels
            hidden.append(target.values)
        for values in hidden[1:]:
            assert torch.allclose(values, hidden[0], atol=1e-4), name


def test_hidden_features_are_what_the_head_reads(
    build, bypass_bottleneck, features
):
    split = build("conformer").cut(1, bypass_bottleneck).eval()
    target = Teacher(split)(features, LENGTHS).hidden
    output = split(features, LENGTHS).output
    read = split.cloud_half.head(target.values)
    assert torch.allclose(read, output, atol=1e-5)


def test_teacher_of_every_cut(build, features, cut_point):
    name, split_layer = cut_point
    quantizer = partial(
        TaughtResidualVectorQuantizer, codebook_size=4, codebook_dim=2
    )
    bottleneck = partial(Bottleneck, quantizer=quantizer, merge=2)
    split = build(name).cut(split_layer, bottleneck).train()
    teacher = Teacher(split)
    result = split(features, LENGTHS, teacher(features, LENGTHS).hidden)
    loss = result.bottleneck.losses["semantic"]
    loss.backward()
    assert loss > 0
    assert split.bottleneck.quantizer.input_projection.weight.grad.any()
    before = complexity(split, Fbank(n_mels=MEL_BINS), 16000, 1.0)
    del teacher
    assert complexity(split, Fbank(n_mels=MEL_BINS), 16000, 1.0) == before


def test_taught_splits_do_not_leak(build, features):
    quantizer = partial(TaughtResidualVectorQuantizer, **SMALL)
    split = build("ecapa").cut(3, partial(Bottleneck, quantizer=quantizer))
    check_no_leak(split, features, LENGTHS)


def test_teaching_costs_neither_half_anything(build, coded_bottleneck):
    family = build("ecapa")
    quantizer = partial(TaughtResidualVectorQuantizer, num_codebooks=2, **SMALL)
    taught = family.cut(3, partial(Bottleneck, quantizer=quantizer))
    plain = family.cut(3, coded_bottleneck)
    costs = [
        complexity(split, Fbank(n_mels=MEL_BINS), 16000)
        for split in (taught, plain)
    ]
    assert costs[0] == costs[1]
    for half in ("device", "cloud"):
        names = set(taught.half_state_dict(half))
        assert names == set(plain.half_state_dict(half))


# On the device -------------------------------------------------------------


@every_cut
def test_second_encoder_is_coded_and_does_not_leak(
    build, features, bypass_bottleneck, family, split_layer
):
    split = beside(build(family), split_layer)
    alone = build(family).cut(split_layer, bypass_bottleneck)
    channels = alone.device_half.channels
    assert split.bottleneck.channels == channels + SECOND
    check_no_leak(split, features, LENGTHS)
    result = split.train()(features, LENGTHS)
    result.bottleneck.losses["semantic"].backward()
    assert result.bottleneck.losses["semantic"] > 0


@every_cut
@torch.no_grad()
def test_with_a_bypass_the_model_is_the_unsplit_one(
    build, features, bypass_bottleneck, family, split_layer
):
    family = build(family)
    split = beside(family, split_layer, bypass_bottleneck).eval()
    output = split(features, torch.ones(2)).output
    expected = family.unsplit(features, torch.ones(2))
    assert torch.allclose(output, expected, atol=1e-5)


@torch.no_grad()
def test_cloud_reads_the_features_only(build, features):
    split = beside(build("ecapa"), 3).eval()
    cut = split.device(features, LENGTHS)
    other = cut.values.clone()
    other[..., -SECOND:] = 100.0
    assert torch.equal(
        split.cloud(cut.values, cut.lengths), split.cloud(other, cut.lengths)
    )


def test_second_encoder_is_frozen(build, features):
    split = beside(build("ecapa"), 3).train()
    encoder = split.device_half.second_encoder.encoder
    assert not any(part.training for part in encoder.modules())
    before = copy.deepcopy(encoder.state_dict())
    optimizer = torch.optim.AdamW(split.parameters(), lr=0.1)
    result = split(features, LENGTHS)
    (result.output.square().sum() + result.bottleneck.loss).backward()
    optimizer.step()
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_second_encoder_is_of_the_device_alone(build, features):
    split = beside(build("ecapa"), 3).eval()
    device = split.half_state_dict("device")
    cloud = split.half_state_dict("cloud")
    name = "device_half.second_encoder.encoder.encoder.layer.weight"
    assert name in device
    assert not any("second_encoder" in name for name in cloud)
    with torch.no_grad():
        expected = split(features[:1], torch.ones(1)).output
        halves = {}
        for half, weights in (("device", device), ("cloud", cloud)):
            halves[half] = beside(build("ecapa"), 3).eval()
            halves[half].keep_half(half)
            halves[half].load_half_state_dict(half, weights)
        cut = halves["device"].device(features[:1], torch.ones(1))
        codes = halves["device"].bottleneck.encode(cut.values, cut.lengths)
        values = halves["cloud"].bottleneck.decode(codes, cut.values.shape[1])
        output = halves["cloud"].cloud(values, cut.lengths)
    assert torch.equal(output, expected)


def test_second_encoder_counts_on_the_device(build):
    family = build("ecapa")
    fbank = Fbank(n_mels=MEL_BINS)
    with_it = complexity(beside(family, 3), fbank, 16000, 4.0)
    idle = beside(family, 3, encoder=Selection())
    without = complexity(idle, fbank, 16000, 4.0)
    # 401 frames of filter banks make 200 of the convolution.
    encoder = 200 * 3 * MEL_BINS * SECOND / 4 / 1e9
    assert with_it.device_gmac_per_s - without.device_gmac_per_s == (
        pytest.approx(encoder)
    )
    assert with_it.cloud_gmac_per_s == without.cloud_gmac_per_s
    weights = 3 * MEL_BINS * SECOND + SECOND
    assert with_it.device_parameters - without.device_parameters == weights
    assert with_it.cloud_parameters == without.cloud_parameters


class Selection(torch.nn.Module):
    """Computes nothing."""

    def forward(self, values):
        return values[..., :SECOND]


# Where the filter banks are made --------------------------------------------


def test_whole_line_with_a_waveform_encoder(build, coded_bottleneck):
    compute_features = second_encoders.waveform_features()
    split = build("conformer").cut(
        1, semantic(), second_encoder=LastChannels(SECOND)
    )
    features = compute_features(torch.randn(2, 16000))
    normalize = FirstChannelsNormalization(MEL_BINS).train()
    check_no_leak(split, normalize(features, LENGTHS), LENGTHS)
    cost = complexity(split, compute_features, 16000, 4.0)
    plain = complexity(
        build("conformer").cut(1, coded_bottleneck),
        Fbank(n_mels=MEL_BINS),
        16000,
        4.0,
    )
    # 199 frames, 400 samples each.
    encoder = 199 * 400 * SECOND / 4 / 1e9
    banks_and_layers = plain.device_gmac_per_s - plain.quantizer_gmac_per_s
    counted = cost.device_gmac_per_s - cost.quantizer_gmac_per_s
    assert counted - banks_and_layers == pytest.approx(encoder)
    weights = (400 + 1) * SECOND + SECOND * SMALL["codebook_dim"]
    one_codebook_less = 16 * SMALL["codebook_dim"]
    assert cost.device_parameters - plain.device_parameters == (
        weights - one_codebook_less
    )


# Settings ------------------------------------------------------------------


def split_with(family, bottleneck, second_encoder=None):
    family.cut(3, bottleneck, second_encoder=second_encoder)


def test_numbers_of_channels_that_differ_are_both_named(build, features):
    family = build("ecapa")
    with pytest.raises(
        ConfigurationError, match="^semantic_channels: found 4, expected 6,"
    ):
        split_with(family, semantic(4), FilterBankEncoder(Convolution(), 6))
    with pytest.raises(
        ConfigurationError, match="^semantic_channels: found 6, expected a sec"
    ):
        split_with(family, semantic(6))
    split = family.cut(
        3, semantic(5), second_encoder=FilterBankEncoder(Convolution(), 5)
    )
    with pytest.raises(
        ConfigurationError,
        match="^channels: found 5, expected 6, which Convolution gives",
    ):
        split(features, LENGTHS)


# Exported ------------------------------------------------------------------

ON_FILTER_BANKS = """
second_encoder: !new:speechbrain_acom.splits.FilterBankEncoder
    encoder: !new:torch.nn.Linear
        in_features: !ref <n_mels>
        out_features: 6
    channels: 6
"""
ON_THE_WAVEFORM = second_encoders.ON_THE_WAVEFORM.format(
    channels=SECOND, encoder="second_encoders.WaveformEncoder"
)


@pytest.mark.parametrize("text", [ON_FILTER_BANKS, ON_THE_WAVEFORM])
def test_exported_halves_give_what_the_whole_gives(tmp_path, text):
    folder = second_encoders.exported_with(tmp_path, text)
    assert "EncodedFeatures" not in (folder / "cloud.yaml").read_text()
    device, cloud, both = (
        AcomClassifier.from_hparams(folder, half=half)
        for half in ("device", "cloud", "both")
    )
    signal = torch.randn(8000) * 0.1
    message = both.encode(signal)
    if text == ON_FILTER_BANKS:
        # The other encoder has random weights that no file holds.
        assert device.encode(signal) == message
    assert torch.equal(
        cloud.decode_output(message), both.decode_output(message)
    )
    assert not hasattr(cloud.mods, "compute_features")
