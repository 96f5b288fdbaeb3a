"""What every quantizer promises, asked of each of them."""

import pytest
import torch
from every_lobe import (
    CHANNELS,
    EXCEPTIONS,
    LOBES,
    ROUND_TRIPS,
    built,
    every_quantizer,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from lobes_scalar import RESPELLED
from round_trips import every_code

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.lengths import frame_mask, relative_lengths
from speechbrain_acom.quantizers.settings import LARGEST_CODEBOOK


def _batch(counts=(5, 9, 1), frames=9, seed=1):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(counts), frames, CHANNELS, generator=generator)
    return values, relative_lengths(torch.tensor(counts), frames)


def _state(quantizer):
    return {name: t.clone() for name, t in quantizer.state_dict().items()}


def _same_state(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


def _step(quantizer, values, lengths=None, num_codebooks=None):
    """One training step, random numbers the same at every call."""
    torch.manual_seed(0)
    return quantizer.train()(values, lengths, num_codebooks)


def test_exceptions_are_of_lobes_and_tests_that_exist():
    assert EXCEPTIONS.keys() <= LOBES.keys()
    for tests in EXCEPTIONS.values():
        assert all(callable(globals()[test]) for test in tests)


@every_quantizer
@pytest.mark.parametrize("pieces", [[9], [1, 0, 5, 3], [4, 4, 1]])
def test_a_stream_gives_the_codes_of_the_whole(name, pieces):
    quantizer = built(name)
    values, _ = _batch([9])
    for books in {None, 1 if quantizer.truncatable else None}:
        stream = quantizer.stream(books)
        codes = [stream(piece) for piece in values.split(pieces, dim=1)]
        assert torch.equal(
            torch.cat(codes, dim=1), quantizer.encode(values, None, books)
        )


@every_quantizer
def test_shapes_and_types(name):
    quantizer = built(name)
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
def test_codebooks_are_small_enough_for_the_coder(name):
    cardinalities = built(name).cardinalities
    assert all(1 <= size <= LARGEST_CODEBOOK for size in cardinalities)


@every_quantizer
def test_every_code_comes_back(name):
    torch.manual_seed(0)
    quantizer = ROUND_TRIPS[name]().eval()
    codes = every_code(quantizer)
    features = quantizer.decode(codes)
    assert features.shape == (*codes.shape[:2], quantizer.channels)
    assert features.dtype == torch.float32
    expected = quantizer.canonical(codes) if name in RESPELLED else codes
    assert torch.equal(quantizer.encode(features), expected)


@every_quantizer
def test_decoded_codes_equal_forward_in_evaluation(name):
    quantizer = built(name)
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
    quantizer = built(name)
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
    clean, dirty = built(name), built(name)
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
    assert _same_state(clean.state_dict(), dirty.state_dict())


@every_quantizer
def test_longer_padding_changes_no_loss_and_no_state(name):
    short, long = built(name), built(name)
    values, lengths = _batch()
    padded = torch.nn.functional.pad(values, (0, 0, 0, 20))
    first = _step(short, values, lengths)
    second = _step(long, padded, lengths * 9 / 29)
    assert first.losses == second.losses
    assert _same_state(short.state_dict(), long.state_dict())


@every_quantizer
def test_a_batch_twice_gives_the_same_losses_and_averages(name):
    once, twice = built(name), built(name)
    values, lengths = _batch()
    first = _step(once, values, lengths)
    second = _step(twice, values.repeat(2, 1, 1), lengths.repeat(2))
    for loss in first.losses:
        assert torch.isclose(first.losses[loss], second.losses[loss])
    before, after = once.state_dict(), twice.state_dict()
    assert all(torch.allclose(before[key], after[key]) for key in before)


@every_quantizer
def test_gradient_passes_straight_through_to_real_frames(name):
    quantizer = built(name).train()
    values, lengths = _batch()
    values.requires_grad_()
    real = frame_mask(lengths, values)
    result = quantizer(values, lengths)
    result.features[real].square().sum().backward()
    assert (values.grad[real].abs().sum(-1) > 0).all()
    assert not values.grad[~real].any()


@every_quantizer
def test_training_and_evaluation_give_the_same_features(name):
    quantizer = built(name)
    values, lengths = _batch()
    evaluated = quantizer(values, lengths).features
    books = len(quantizer.cardinalities)
    trained = _step(quantizer, values, lengths, books).features
    assert torch.allclose(evaluated, trained, atol=1e-6)


@every_quantizer
def test_evaluation_and_encoding_change_no_state(name):
    quantizer = built(name)
    values, lengths = _batch()
    before = _state(quantizer)
    quantizer(values, lengths)
    quantizer.train().encode(values, lengths)
    assert _same_state(before, quantizer.state_dict())


@every_quantizer
def test_weights_survive_being_saved(name):
    saved, loaded = built(name), built(name, started=False)
    loaded.load_state_dict(saved.state_dict())
    values, lengths = _batch()
    assert torch.equal(
        saved(values, lengths).features, loaded(values, lengths).features
    )


@every_quantizer
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("frames", [0, 1, 7])
@pytest.mark.parametrize("training", [False, True])
def test_silence_one_frame_and_no_frame(name, training, frames, dtype):
    quantizer = built(name).train(training)
    shape = (2, frames, CHANNELS)
    values = torch.zeros(shape, dtype=dtype, requires_grad=True)
    result = quantizer(values)
    assert result.features.shape == values.shape
    assert result.loss.isfinite()
    assert all(value.isfinite() for value in result.statistics.values())
    if training:
        (result.loss + result.features.sum()).backward()
        assert values.grad.isfinite().all()
    assert all(t.isfinite().all() for t in quantizer.state_dict().values())


@every_quantizer
def test_a_batch_of_padding_only(name):
    quantizer = built(name).train()
    before = _state(quantizer)
    result = quantizer(torch.randn(2, 4, CHANNELS), torch.zeros(2))
    assert result.loss == 0
    assert _same_state(before, quantizer.state_dict())


@every_quantizer
def test_half_precision_gives_the_codes_of_its_values(name):
    quantizer = built(name)
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
    quantizer = built(name)
    assert not set(quantizer.device_only) & set(quantizer.cloud_only)
    values, _ = _batch()
    codes = quantizer.encode(values)
    decoded = quantizer.decode(codes)
    device, cloud = built(name), built(name)
    for foreign in quantizer.cloud_only:
        setattr(device, foreign, None)
    for foreign in quantizer.device_only:
        setattr(cloud, foreign, None)
    assert torch.equal(device.encode(values), codes)
    assert torch.equal(cloud.decode(codes), decoded)


@every_quantizer
def test_the_first_codes_alone_if_it_can_be_truncated(name):
    quantizer = built(name)
    values, lengths = _batch()
    codes = quantizer.encode(values, lengths)
    real = frame_mask(lengths, values)
    books = len(quantizer.cardinalities)
    for kept in range(1, books + 1 if quantizer.truncatable else 1):
        first = quantizer.encode(values, lengths, kept)
        assert torch.equal(first, codes[..., :kept])
        result = quantizer.eval()(values, lengths, kept)
        assert torch.equal(result.codes, first)
        decoded = quantizer.decode(first)
        assert torch.equal(decoded[real], result.features[real])
        trained = _step(quantizer, values, lengths, kept)
        assert trained.codes.shape == first.shape
        assert trained.loss.isfinite()
        quantizer = built(name)


@every_quantizer
def test_codebooks_that_do_not_exist_are_an_error(name):
    quantizer = built(name)
    values, lengths = _batch()
    books = len(quantizer.cardinalities)
    impossible = [0, books + 1]
    if not quantizer.truncatable and books > 1:
        impossible.append(books - 1)
    for number in impossible:
        for use in (quantizer, quantizer.encode):
            with pytest.raises(ConfigurationError, match="^num_codebooks: "):
                use(values, lengths, number)


class _Encoder(torch.nn.Module):
    """What a device needs, for torch.export."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, values):
        return self.quantizer.encode(values)


@every_quantizer
def test_exported_encoding_gives_the_same_codes_at_any_length(name):
    quantizer = built(name)
    exported = torch.export.export(
        _Encoder(quantizer),
        (_batch()[0],),
        dynamic_shapes={"values": {1: torch.export.Dim("time", min=2)}},
    ).module()
    for frames in (4, 60):
        values, _ = _batch((frames,) * 3, frames, seed=frames)
        assert torch.equal(exported(values), quantizer.encode(values))
