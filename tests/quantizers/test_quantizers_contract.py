"""What every quantizer promises, asked of each of them."""

import importlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.lengths import frame_mask, relative_lengths

CHANNELS = 6
# Every lobes_*.py beside this file has lobes by name, each called with
# channels=6.
QUANTIZERS = {
    name: lobe
    for path in sorted(Path(__file__).parent.glob("lobes_*.py"))
    for name, lobe in importlib.import_module(path.stem).LOBES.items()
}
every_quantizer = pytest.mark.parametrize("name", QUANTIZERS)


def _quantizer(name, started=True):
    torch.manual_seed(0)
    quantizer = QUANTIZERS[name](channels=CHANNELS)
    if started:
        quantizer.initialize(torch.randn(200, CHANNELS))
    return quantizer.eval()


def _batch(counts=(5, 9, 1), frames=9, seed=1):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(counts), frames, CHANNELS, generator=generator)
    return values, relative_lengths(torch.tensor(counts), frames)


def _state(quantizer):
    return {name: t.clone() for name, t in quantizer.state_dict().items()}


@every_quantizer
def test_shapes_and_types(name):
    quantizer = _quantizer(name)
    values, lengths = _batch()
    result = quantizer(values, lengths)
    books = len(quantizer.cardinalities)
    assert result.features.shape == values.shape
    assert result.codes.shape == (3, 9, books)
    assert result.codes.dtype == torch.int64
    assert (result.codes >= 0).all()
    limits = torch.tensor(quantizer.cardinalities)
    assert (result.codes < limits).all()
    assert not result.codes[~frame_mask(lengths, values)].any()


@every_quantizer
def test_decoded_codes_equal_forward_in_evaluation(name):
    quantizer = _quantizer(name)
    values, lengths = _batch()
    result = quantizer(values, lengths)
    codes = quantizer.encode(values, lengths)
    real = frame_mask(lengths, values)
    assert torch.equal(codes, result.codes)
    assert torch.equal(quantizer.decode(codes)[real], result.features[real])


@every_quantizer
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_codes_are_the_same_alone_and_in_any_batch(name, data):
    quantizer = _quantizer(name)
    counts = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=6))
    extra = data.draw(st.integers(0, 40))
    values, lengths = _batch(
        counts, max(counts) + extra, data.draw(st.integers(0, 1000))
    )
    # Ties: frames that repeat, and silence.
    values[:, ::3] = data.draw(st.sampled_from([0.0, 1.0]))
    result = quantizer(values, lengths)
    for row, count in enumerate(counts):
        alone = quantizer(values[row : row + 1, :count])
        assert torch.equal(alone.codes[0], result.codes[row, :count])
        assert torch.equal(alone.features[0], result.features[row, :count])


@every_quantizer
@pytest.mark.parametrize("training", [False, True])
def test_padding_takes_part_in_nothing(name, training):
    clean, dirty = _quantizer(name), _quantizer(name)
    values, lengths = _batch()
    noise = values.clone()
    noise[~frame_mask(lengths, values)] = float("nan")
    torch.manual_seed(0)
    first = clean.train(training)(values, lengths)
    torch.manual_seed(0)
    second = dirty.train(training)(noise, lengths)
    assert first.losses == second.losses
    assert first.statistics == second.statistics
    assert torch.equal(first.codes, second.codes)
    before, after = clean.state_dict(), dirty.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@every_quantizer
def test_longer_padding_changes_no_loss_and_no_state(name):
    short, long = _quantizer(name).train(), _quantizer(name).train()
    values, lengths = _batch()
    padded = torch.nn.functional.pad(values, (0, 0, 0, 20))
    first = short(values, lengths)
    second = long(padded, lengths * 9 / 29)
    assert first.losses == second.losses
    before, after = short.state_dict(), long.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@every_quantizer
def test_a_batch_twice_gives_the_same_losses_and_averages(name):
    once, twice = _quantizer(name).train(), _quantizer(name).train()
    values, lengths = _batch()
    first = once(values, lengths)
    second = twice(values.repeat(2, 1, 1), lengths.repeat(2))
    for loss in first.losses:
        assert torch.isclose(first.losses[loss], second.losses[loss])
    before, after = once.state_dict(), twice.state_dict()
    assert all(torch.allclose(before[key], after[key]) for key in before)


@every_quantizer
def test_gradient_passes_straight_through_to_real_frames(name):
    quantizer = _quantizer(name).train()
    values, lengths = _batch()
    values.requires_grad_()
    real = frame_mask(lengths, values)
    result = quantizer(values, lengths)
    result.features[real].square().sum().backward()
    assert (values.grad[real].abs().sum(-1) > 0).all()
    assert not values.grad[~real].any()


@every_quantizer
def test_training_and_evaluation_give_the_same_features(name):
    quantizer = _quantizer(name)
    values, lengths = _batch()
    evaluated = quantizer(values, lengths).features
    trained = quantizer.train()(values, lengths).features
    assert torch.allclose(evaluated, trained, atol=1e-6)


@every_quantizer
def test_evaluation_and_encoding_change_no_state(name):
    quantizer = _quantizer(name)
    values, lengths = _batch()
    before = _state(quantizer)
    quantizer(values, lengths)
    quantizer.train().encode(values, lengths)
    after = quantizer.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@every_quantizer
def test_weights_survive_being_saved(name):
    saved, loaded = _quantizer(name), _quantizer(name, started=False)
    loaded.load_state_dict(saved.state_dict())
    values, lengths = _batch()
    assert torch.equal(
        saved(values, lengths).features, loaded(values, lengths).features
    )


@every_quantizer
@pytest.mark.parametrize("frames", [0, 1, 7])
@pytest.mark.parametrize("training", [False, True])
def test_silence_one_frame_and_no_frame(name, frames, training):
    quantizer = _quantizer(name).train(training)
    values = torch.zeros(2, frames, CHANNELS, requires_grad=True)
    result = quantizer(values)
    assert result.features.shape == values.shape
    assert result.loss.isfinite()
    assert all(value.isfinite() for value in result.statistics.values())
    if training:
        (result.loss + result.features.sum()).backward()
    assert all(t.isfinite().all() for t in quantizer.state_dict().values())


@every_quantizer
def test_a_batch_of_padding_only(name):
    quantizer = _quantizer(name).train()
    before = _state(quantizer)
    result = quantizer(torch.randn(2, 4, CHANNELS), torch.zeros(2))
    assert result.loss == 0
    after = quantizer.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@every_quantizer
def test_half_precision_gives_the_codes_of_its_values(name):
    quantizer = _quantizer(name)
    values, lengths = _batch()
    half = values.bfloat16()
    expected = quantizer(half.float(), lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = quantizer(half, lengths)
    assert torch.equal(result.codes, expected.codes)
    assert torch.equal(result.features.float(), expected.features)
    assert result.loss.dtype == torch.float32
    assert result.loss.isfinite()


@every_quantizer
def test_modules_of_one_half_exist_and_are_not_shared(name):
    quantizer = _quantizer(name)
    assert not set(quantizer.device_only) & set(quantizer.cloud_only)
    values, _ = _batch()
    codes = quantizer.encode(values)
    decoded = quantizer.decode(codes)
    device, cloud = _quantizer(name), _quantizer(name)
    for foreign in quantizer.cloud_only:
        setattr(device, foreign, None)
    for foreign in quantizer.device_only:
        setattr(cloud, foreign, None)
    assert torch.equal(device.encode(values), codes)
    assert torch.equal(cloud.decode(codes), decoded)
