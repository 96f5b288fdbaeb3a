"""Adapters of other libraries' quantizers beyond the common contract."""

from importlib.util import find_spec

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lobes_adapters import LOBES
from round_trips import with_plain_projections

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import DataError
from speechbrain_acom.quantizers.adapters import (
    AdaptedBSQ,
    AdaptedDAC,
    AdaptedFSQ,
    AdaptedResidualVQ,
    AdaptedSimVQ,
)

CHANNELS = 6
needs_library = pytest.mark.skipif(
    find_spec("vector_quantize_pytorch") is None,
    reason="the optional package vector_quantize_pytorch is not installed",
)
every_adapter = pytest.mark.parametrize("name", LOBES)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _frames(number=1000):
    mixed = torch.randn(number, CHANNELS) @ torch.randn(CHANNELS, CHANNELS)
    return 2 + mixed


def _started(name, frames):
    quantizer = LOBES[name](channels=CHANNELS)
    quantizer.initialize(frames)
    return quantizer.eval()


def _distortion(quantizer, frames):
    result = quantizer.eval()(frames.unsqueeze(0))
    return float(result.statistics["distortion"])


def _library_codes(quantizer, frames):
    """What the foreign module itself gives in evaluation mode."""
    module = quantizer.module.eval()
    with torch.no_grad():
        if isinstance(quantizer, AdaptedDAC):
            return module(frames.T.unsqueeze(0))[1][0].T
        values = quantizer.input_projection(frames).unsqueeze(0)
        codes = module(values)[1][0].long()
    return codes.reshape(len(frames), -1)


def _library_features(quantizer, codes):
    """What the foreign module itself decodes."""
    module = quantizer.module
    if isinstance(quantizer, AdaptedDAC):
        return module.from_codes(codes.T.unsqueeze(0))[0][0].T
    if isinstance(quantizer, AdaptedFSQ):
        values = module.indices_to_codes(codes.T)[0]
    elif isinstance(quantizer, AdaptedBSQ):
        signs = module.bits_to_codes((codes & module.mask > 0).float())
        values = signs / signs.shape[1] ** 0.5
    else:
        values = module.get_output_from_indices(codes.unsqueeze(0))[0]
    return quantizer.output_projection(values)


@every_adapter
def test_codes_are_the_library_s(name):
    frames = _frames(4000)
    quantizer = _started(name, frames)
    codes = quantizer.encode(frames.unsqueeze(0))[0]
    agreeing = (codes == _library_codes(quantizer, frames)).all(-1)
    # The library computes in single precision.
    assert agreeing.float().mean() >= 0.999


@every_adapter
def test_decoded_features_are_the_library_s(name):
    frames = _frames()
    quantizer = _started(name, frames)
    codes = quantizer.encode(frames.unsqueeze(0))
    expected = _library_features(quantizer, codes[0])
    decoded = quantizer.decode(codes)[0]
    assert torch.allclose(decoded, expected, atol=1e-4)


@every_adapter
def test_starting_from_data_lowers_the_distortion(name):
    frames = _frames()
    quantizer = LOBES[name](channels=CHANNELS)
    random = _distortion(quantizer, frames)
    quantizer.initialize(frames)
    started = _distortion(quantizer, frames)
    assert started < 0.5 * random
    energy = frames.square().sum()
    mean_only = (frames - frames.mean(0)).square().sum() / energy
    assert started < 0.7 * float(mean_only)


@every_adapter
def test_more_codebooks_lower_the_distortion(name):
    frames = _frames()
    quantizer = _started(name, frames)
    codes = quantizer.encode(frames.unsqueeze(0))
    errors = [
        (quantizer.decode(codes[..., :kept])[0] - frames).square().mean()
        for kept in range(1, codes.shape[-1] + 1)
    ]
    assert sorted(errors, reverse=True) == errors


@every_adapter
def test_training_lowers_the_distortion(name):
    frames = _frames(300)
    quantizer = LOBES[name](channels=CHANNELS).train()
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.02)
    before = _distortion(quantizer, frames)
    quantizer.train()
    for _ in range(60):
        optimizer.zero_grad()
        result = quantizer(frames.unsqueeze(0))
        error = (result.features[0] - frames).square().mean()
        (error + result.loss).backward()
        optimizer.step()
    assert _distortion(quantizer, frames) < 0.7 * before


@every_adapter
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_values_that_are_nothing_but_rounding_do_not_decide(name, data):
    # Both channels of a pair are equal and their weights are opposite: the
    # sum is zero, but for rounding that depends on its order.
    torch.manual_seed(data.draw(st.integers(0, 100)))
    quantizer = LOBES[name](channels=96).eval()
    with torch.no_grad():
        if isinstance(quantizer, AdaptedDAC):
            into = quantizer.module.quantizers[0].in_proj
            half = torch.randn(4, 48, 1)
            into.weight = torch.cat([half, -half], dim=1)
        else:
            into = quantizer.input_projection
            half = torch.randn(len(into.weight), 48)
            into.weight.copy_(torch.cat([half, -half], dim=1))
        into.bias.zero_()
    frames = torch.randn(40, 48).repeat(1, 2)
    codes = quantizer.encode(frames.unsqueeze(0), num_codebooks=1)[0]
    number = data.draw(st.integers(1, 40))
    first = quantizer.encode(frames[None, :number], num_codebooks=1)[0]
    assert torch.equal(first, codes[:number])
    assert len(codes.unique()) == 1


@every_adapter
def test_starting_from_silence_and_from_one_frame(name):
    for frames in (torch.zeros(50, CHANNELS), torch.randn(1, CHANNELS)):
        quantizer = _started(name, frames)
        result = quantizer(frames.unsqueeze(0))
        assert torch.allclose(result.features[0], frames, atol=1e-4)


@every_adapter
def test_starting_from_no_frame_is_an_error(name):
    with pytest.raises(DataError, match="found 0, expected at least 1"):
        LOBES[name](channels=CHANNELS).initialize(torch.zeros(0, CHANNELS))


@pytest.mark.parametrize("name", [n for n in LOBES if "residual" in n])
def test_dropout_uses_fewer_codebooks_now_and_then(name):
    quantizer = LOBES[name](channels=CHANNELS).train()
    widths = [
        quantizer(torch.randn(1, 4, CHANNELS)).codes.shape[-1]
        for _ in range(60)
    ]
    assert set(widths) == {1, 2, 3}
    # Half of the steps use all, and a third of the others.
    assert 25 <= widths.count(3) <= 55
    assert quantizer.eval()(torch.randn(1, 4, CHANNELS)).codes.shape[-1] == 3


@every_adapter
def test_codes_of_every_entry_are_told_apart(name):
    quantizer = _started(name, _frames())
    codes = torch.arange(quantizer.cardinalities[0]).unsqueeze(-1)
    features = quantizer.decode(codes.unsqueeze(0))[0]
    nearest = torch.cdist(features, features).fill_diagonal_(torch.inf)
    assert (nearest.amin(1) > 1e-4).all()


@needs_library
@pytest.mark.parametrize("adapter", [AdaptedResidualVQ, AdaptedSimVQ])
def test_losses_are_means_over_frames_dimensions_and_codebooks(adapter):
    quantizer = adapter(2, 2, codebook_size=1, codebook_dim=2)
    with torch.no_grad():
        for layer, entry in zip(quantizer.module.layers, (1, 2), strict=True):
            if adapter is AdaptedSimVQ:
                layer.frozen_codebook.fill_(entry)
                torch.nn.init.eye_(layer.code_transform.weight)
            else:
                layer.codebook.fill_(entry)
    with_plain_projections(quantizer.train())
    losses = quantizer(torch.full((3, 4, 2), 5.0)).losses
    # Residuals 5 and 4: errors 4 and 2. SimVQ adds a quarter for the features.
    weight = 1.25 if adapter is AdaptedSimVQ else 1.0
    expected = weight * (16 + 4) / 2
    assert losses["commitment"].item() == pytest.approx(expected)


def test_losses_of_dac_are_means_over_codebooks():
    quantizer = AdaptedDAC(2, 2, codebook_size=1, codebook_dim=2)
    with torch.no_grad():
        for stage, entry in zip(
            quantizer.module.quantizers, (1.0, 2.0), strict=True
        ):
            stage.codebook.weight.fill_(entry)
            for convolution in (stage.in_proj, stage.out_proj):
                convolution.weight = torch.eye(2).unsqueeze(-1)
                convolution.bias.zero_()
    losses = quantizer.train()(torch.full((3, 4, 2), 5.0)).losses
    assert losses["codebook"].item() == pytest.approx((16 + 4) / 2)
    assert losses["commitment"].item() == pytest.approx(0.25 * (16 + 4) / 2)


@pytest.mark.parametrize("name", [n for n in LOBES if "lfq" in n or "bsq" in n])
def test_entropies_of_one_frame_cancel(name):
    quantizer = LOBES[name](channels=CHANNELS)
    if hasattr(quantizer.module, "layers"):
        for layer in quantizer.module.layers:
            layer.commitment_loss_weight = 0.0
    loss = quantizer.train()(torch.randn(1, 1, CHANNELS)).losses["auxiliary"]
    assert loss.item() == pytest.approx(0.0, abs=1e-5)


@needs_library
@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_the_gradient_of_the_library_reaches_the_features(gradient):
    quantizer = AdaptedResidualVQ(
        2, 3, codebook_size=4, codebook_dim=2, gradient=gradient
    )
    features = torch.randn(1, 5, 2, requires_grad=True)
    with_plain_projections(quantizer.train())
    quantizer(features).features.sum().backward()
    straight = torch.full((1, 5, 2), 3.0)
    assert torch.allclose(features.grad, straight) == (
        gradient == "straight_through"
    )


@needs_library
def test_moving_averages_of_the_library_follow_the_data():
    frames = _frames()
    quantizer = _started("adapted_rvq_ema", frames)
    before = _distortion(quantizer, frames + 1.0)
    for _ in range(20):
        quantizer.train()((frames + 1.0).unsqueeze(0))
    assert not any("module" in n for n, _ in quantizer.named_parameters())
    assert _distortion(quantizer, frames + 1.0) < 0.9 * before


@needs_library
@pytest.mark.parametrize(
    ("name", "plain", "keywords"),
    [
        ("adapted_vq", "VectorQuantize", {"dim": 4, "codebook_size": 16}),
        ("adapted_simvq", "SimVQ", {"dim": 4, "codebook_size": 16}),
        ("adapted_lfq", "LFQ", {"dim": 4, "codebook_size": 16}),
    ],
)
def test_one_codebook_is_the_library_s_plain_quantizer(name, plain, keywords):
    import vector_quantize_pytorch as library

    frames = _frames()
    quantizer = _started(name, frames)
    module = getattr(library, plain)(**keywords).eval()
    module.load_state_dict(quantizer.module.layers[0].state_dict())
    with torch.no_grad():
        values = quantizer.input_projection(frames).unsqueeze(0)
        codes = module(values)[1][0]
    agreeing = codes == quantizer.encode(frames.unsqueeze(0))[0, :, 0]
    assert agreeing.float().mean() >= 0.999


def test_modules_of_one_half():
    def bottleneck(quantizer):
        return Bottleneck(channels=8, quantizer=quantizer)

    projected = bottleneck(AdaptedBSQ)
    assert projected.device_only_modules() == ["quantizer.input_projection"]
    assert projected.cloud_only_modules() == ["quantizer.output_projection"]
    # The way out of a codebook is needed for what is left over.
    dac = bottleneck(AdaptedDAC)
    assert dac.device_only_modules() == [
        "quantizer.module.quantizers.0.in_proj"
    ]
    assert dac.cloud_only_modules() == []
    codes = dac.encode(torch.randn(1, 5, 8))
    expected = dac.decode(codes, 5)
    dac.quantizer.module.quantizers[0].in_proj = None
    assert torch.equal(dac.decode(codes, 5), expected)
