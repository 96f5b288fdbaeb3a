"""A second encoder on the device, and frames of other rates."""

import copy
from functools import partial

import exported_models
import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.features import (
    EncodedFeatures,
    FirstChannelsNormalization,
    FrozenEncoder,
)
from speechbrain_acom.hparams import load_hparams, save_hparams
from speechbrain_acom.inference import AcomClassifier
from speechbrain_acom.inference.export import export_coded
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
MEL_BINS, SECOND = 40, 6
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


class Convolution(torch.nn.Module):
    """Stands in for any encoder that gives fewer frames than it reads."""

    def __init__(self, inputs=MEL_BINS, outputs=SECOND, stride=2, kernel=3):
        super().__init__()
        self.layer = torch.nn.Conv1d(inputs, outputs, kernel, stride)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, values):
        return self.dropout(self.layer(values.transpose(1, 2)).transpose(1, 2))


class WaveformEncoder(Convolution):
    """Stands in for a self-supervised model: 50 frames of 25 ms a second."""

    def __init__(self):
        super().__init__(inputs=1, stride=320, kernel=400)

    def forward(self, signals):
        return super().forward(signals.unsqueeze(-1))


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


def waveform_features():
    torch.manual_seed(0)
    return EncodedFeatures(
        Fbank(n_mels=MEL_BINS),
        FrozenEncoder(WaveformEncoder(), SECOND),
        frames_per_step=2,
    )


def test_waveform_encoder_beside_the_filter_banks():
    compute_features = waveform_features().train()
    signals = torch.randn(2, 16000)
    features = compute_features(signals)
    encoded = compute_features.encoder(signals)
    assert features.shape == (2, 101, MEL_BINS + SECOND)
    banks = Fbank(n_mels=MEL_BINS)(signals)
    assert torch.equal(features[..., :MEL_BINS], banks)
    assert encoded.shape == (2, 49, SECOND)
    for frame, step in ((0, 0), (1, 0), (2, 1), (97, 48), (100, 48)):
        assert torch.equal(features[:, frame, MEL_BINS:], encoded[:, step])


def test_padding_moves_no_frame_of_the_waveform_encoder():
    compute_features = waveform_features()
    signals = torch.randn(1, 16000)
    alone = compute_features(signals)
    longer = torch.nn.functional.pad(signals, (0, 7777))
    # The last frames' windows reach beyond the signal.
    batch = compute_features(longer)[:, :96, MEL_BINS:]
    assert torch.allclose(batch, alone[:, :96, MEL_BINS:], atol=1e-6)


def test_whole_line_with_a_waveform_encoder(build, coded_bottleneck):
    compute_features = waveform_features()
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


def test_normalizer_loads_statistics_of_the_filter_banks(tmp_path):
    banks = torch.randn(2, 10, MEL_BINS) * 3 + 1
    trained = InputNormalization().train()
    expected = trained(banks, LENGTHS)
    trained._save(tmp_path / "normalize.ckpt")
    first = FirstChannelsNormalization(MEL_BINS).eval()
    first._load(tmp_path / "normalize.ckpt")
    second = torch.randn(2, 10, SECOND)
    normalized = first(torch.cat([banks, second], -1), LENGTHS)
    assert torch.equal(normalized[..., :MEL_BINS], expected)
    assert torch.equal(normalized[..., MEL_BINS:], second)


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


def test_wrong_frame_rate_is_named():
    frozen = FrozenEncoder(WaveformEncoder(), SECOND)
    compute_features = EncodedFeatures(Fbank(), frozen, frames_per_step=1)
    with pytest.raises(
        ConfigurationError,
        match="^frames_per_step: found 1, expected about 2.06: 101 frames",
    ):
        compute_features(torch.randn(1, 16000))


# Exported ------------------------------------------------------------------

ON_FILTER_BANKS = """
second_encoder: !new:speechbrain_acom.splits.FilterBankEncoder
    encoder: !new:torch.nn.Linear
        in_features: !ref <n_mels>
        out_features: 6
    channels: 6
"""
ON_THE_WAVEFORM = """
second_encoder: !new:speechbrain_acom.splits.LastChannels
    channels: 6
compute_features: !new:speechbrain_acom.features.EncodedFeatures
    compute_features: !new:speechbrain.lobes.features.Fbank
        n_mels: !ref <n_mels>
    encoder: !new:speechbrain_acom.features.FrozenEncoder
        encoder: !new:test_splits_second_encoder.WaveformEncoder
        channels: 6
    frames_per_step: 2
normalize: !new:speechbrain_acom.features.FirstChannelsNormalization
    channels: !ref <n_mels>
"""


def yaml_with(folder, text):
    recipe = exported_models.RECIPES / "UrbanSound8k/SoundClassification"
    fragments = exported_models.RECIPES.parent / "hparams/quantizers"
    path = folder / "second.yaml"
    path.write_text(
        f"!include:{recipe}/hparams/mini_ecapa_rvq.yaml\n{text}\n"
        f"quantizer: !include:{fragments}/semantic_encoder.yaml\n"
        "    semantic_channels: 6\n"
        "    codebook_size: !ref <codebook_size>\n"
        "    num_codebooks: !ref <num_codebooks>\n"
        "    codebook_dim: !ref <codebook_dim>\n"
        "split: !new:speechbrain_acom.splits.EcapaSplit\n"
        "    embedding_model: !ref <embedding_model>\n"
        "    classifier: !ref <classifier>\n"
        "    split_layer: !ref <split_layer>\n"
        "    bottleneck: !ref <bottleneck>\n"
        "    second_encoder: !ref <second_encoder>\n"
    )
    return path


def exported_with(folder, text):
    overrides = {
        **exported_models.CUT,
        "data_folder": "corpus",
        "pretrained_path": "export",
        "channels": 16,
        "aggregation_channels": 24,
        "attention_channels": 8,
        "embedding_size": 8,
        "num_classes": len(exported_models.LABELS),
    }
    yaml = yaml_with(folder, text)
    hparams = load_hparams(yaml, overrides)
    save_hparams(yaml, overrides, folder)
    hparams["label_encoder"].update_from_iterable(exported_models.LABELS)
    normalize = hparams["normalize"].train()
    features = hparams["compute_features"](torch.randn(2, 16000))
    split = hparams["split"].eval()
    with torch.no_grad():
        cut = split.device(normalize(features), torch.ones(2))
        split.bottleneck.initialize(cut.values.flatten(0, 1))
    return export_coded(
        folder / "export",
        folder / "hyperparams.yaml",
        split,
        normalize,
        exported_models.random_prior(),
        hparams["label_encoder"],
        AcomClassifier,
    )


@pytest.mark.parametrize("text", [ON_FILTER_BANKS, ON_THE_WAVEFORM])
def test_exported_halves_give_what_the_whole_gives(tmp_path, text):
    folder = exported_with(tmp_path, text)
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
