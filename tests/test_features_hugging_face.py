"""A tiny HuBERT with random weights, through SpeechBrain's own wrapper."""

import pytest
import second_encoders
import torch
from second_encoders import MEL_BINS, waveform_features

from speechbrain_acom.features import features_of
from speechbrain_acom.inference import AcomClassifier
from speechbrain_acom.metrics.complexity import complexity

transformers = pytest.importorskip("transformers")
CHANNELS, LAYERS, INNER, CONVOLVED = 16, 2, 24, 8
POSITIONS, GROUPS = 16, 2
# (kernel, stride): those of HuBERT, 400 samples every 320.
CONVOLUTIONS = [(10, 5), *[(3, 2)] * 4, *[(2, 2)] * 2]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder as it would be downloaded."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hubert")
    config = transformers.HubertConfig(
        hidden_size=CHANNELS,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=INNER,
        conv_dim=(CONVOLVED,) * len(CONVOLUTIONS),
        conv_kernel=[kernel for kernel, _ in CONVOLUTIONS],
        conv_stride=[stride for _, stride in CONVOLUTIONS],
        num_conv_pos_embeddings=POSITIONS,
        num_conv_pos_embedding_groups=GROUPS,
    )
    transformers.HubertModel(config).save_pretrained(folder)
    # As HuBERT's: its input is normalised over time.
    reader = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    reader.save_pretrained(folder)
    return folder


@pytest.fixture
def hubert(source):
    """Makes the encoder."""
    from speechbrain.integrations.huggingface.hubert import HuBERT

    return lambda: HuBERT(str(source), str(source), freeze=True)


@pytest.fixture
def yaml(source):
    """What semantic_encoder.yaml says of an encoder of the waveform."""
    wrapper = "speechbrain.integrations.huggingface.hubert.HuBERT"
    made = [f"source: {source}", f"save_path: {source}", "freeze: True"]
    return second_encoders.ON_THE_WAVEFORM.format(
        channels=CHANNELS, encoder="\n            ".join([wrapper, *made])
    )


def features_with(encoder):
    return waveform_features(encoder, channels=CHANNELS)


@torch.no_grad()
def test_padding_moves_no_frame(hubert):
    compute_features = features_with(hubert)
    batch = torch.randn(2, 16000)
    batch[1, 9000:] = 0.0
    lengths = torch.tensor([1.0, 9000 / 16000])
    features = compute_features(batch, lengths)[..., MEL_BINS:]
    signals = (batch[:1], batch[1:, :9000])
    for row, signal in zip(features, signals, strict=True):
        alone = compute_features(signal)[0, :, MEL_BINS:]
        assert torch.equal(row[: len(alone)], alone)
    # Without it, it is another signal to this encoder, from its start.
    padded = compute_features(batch)[1, :40, MEL_BINS:]
    assert (padded - features[1, :40]).abs().max() > 0.1


@pytest.mark.parametrize("samples", [1, 200, 399, 400, 1600])
def test_short_signals_are_encoded(hubert, samples):
    features = features_with(hubert)(torch.randn(1, samples))
    assert features.shape == (1, samples // 160 + 1, MEL_BINS + CHANNELS)
    assert features[..., MEL_BINS:].isfinite().all()
    assert features[..., MEL_BINS:].any()


def test_silence_and_no_samples_at_all_are_encoded(hubert):
    lengths = torch.tensor([1.0, 0.0])
    features = features_with(hubert)(torch.zeros(2, 1600), lengths)
    assert features.isfinite().all()


def test_lobe_trains_a_step_with_it(tmp_path, yaml):
    _, hparams = second_encoders.saved_hparams(tmp_path, yaml, CHANNELS)
    compute_features, split = hparams["compute_features"], hparams["split"]
    lengths = torch.tensor([1.0, 0.5])
    features = features_of(compute_features, torch.randn(2, 16000), lengths)
    features = hparams["normalize"].train()(features, lengths)
    encoder = compute_features.encoder.encoder
    frozen = [parameter.clone() for parameter in encoder.parameters()]
    projection = split.bottleneck.quantizer.quantizer.input_projection.weight
    before = projection.detach().clone()
    optimizer = torch.optim.SGD(split.parameters(), lr=0.01)
    result = split.train()(features, lengths)
    assert result.bottleneck.losses["semantic"] > 0
    (result.output.square().mean() + result.bottleneck.loss).backward()
    optimizer.step()
    # What it reads of HuBERT moves, HuBERT does not.
    moved = (projection - before)[:, -CHANNELS:]
    assert moved.isfinite().all()
    assert moved.any(0).all()
    assert not any(part.training for part in encoder.modules())
    assert all(map(torch.equal, encoder.parameters(), frozen))


def test_device_half_loads_it_again(tmp_path, yaml):
    folder = second_encoders.exported_with(tmp_path, yaml, CHANNELS)
    device, cloud, both = (
        AcomClassifier.from_hparams(folder, half=half)
        for half in ("device", "cloud", "both")
    )
    signal = torch.randn(8000) * 0.1
    message = device.encode(signal)
    assert message == both.encode(signal)
    assert cloud.decode(message) == both.decode(message)
    assert not hasattr(cloud.mods, "compute_features")


def multiply_adds(samples):
    """Of one clip, by hand."""
    total, inputs, steps = 0, 1, samples
    for kernel, stride in CONVOLUTIONS:
        steps = (steps - kernel) // stride + 1
        total += steps * kernel * inputs * CONVOLVED
        inputs = CONVOLVED
    projection = steps * CONVOLVED * CHANNELS
    # An even kernel gives a frame too many, which is dropped.
    positions = (steps + 1) * POSITIONS * CHANNELS * CHANNELS // GROUPS
    linear = steps * (4 * CHANNELS**2 + 2 * CHANNELS * INNER)
    attention = 2 * steps**2 * CHANNELS
    return total + projection + positions + LAYERS * (linear + attention)


def test_it_counts_among_the_multiply_adds_of_the_device(
    tmp_path, yaml, hubert
):
    _, hparams = second_encoders.saved_hparams(tmp_path, yaml, CHANNELS)
    split, rate = hparams["split"], hparams["sample_rate"]
    with_it = complexity(split, hparams["compute_features"], rate, 2.0)
    plain = hparams["compute_features"].compute_features

    def idle(audio):
        banks = plain(audio)
        return torch.cat([banks, banks[..., :CHANNELS]], -1)

    without = complexity(split, idle, rate, 2.0)
    counted = with_it.device_gmac_per_s - without.device_gmac_per_s
    assert counted == pytest.approx(multiply_adds(2 * rate) / 2.0 / 1e9)
    assert with_it.cloud_gmac_per_s == without.cloud_gmac_per_s
    weights = sum(weight.numel() for weight in hubert().parameters())
    assert with_it.device_parameters - without.device_parameters == weights
