"""Halves that run as the frames come: what they give is that of the whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.utils.dynamic_chunk_training import (
    DynChunkTrainConfig,
    DynChunkTrainConfigRandomSampler,
)

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.features import UnclippedFbank
from speechbrain_acom.splits.chunks import ChunkChoice
from speechbrain_acom.splits.streams import ChunkStream, FilterStream

TOLERANCE = {"atol": 2e-5, "rtol": 0}
LENGTHS = torch.tensor([1.0, 0.6])


def sampler(test=(4, 2), valid=None, **changes):
    """Draws chunks of 2 to 8 frames, in every step."""
    test, valid = [
        None if sizes is None else DynChunkTrainConfig(*sizes)
        for sizes in (test, valid or test)
    ]
    drawn = {
        "chunkwise_prob": 1.0,
        "chunk_size_min": 2,
        "chunk_size_max": 8,
        "limited_left_context_prob": 0.5,
        "left_context_chunks_min": 1,
        "left_context_chunks_max": 3,
        "test_config": test,
        "valid_config": valid,
    }
    return DynChunkTrainConfigRandomSampler(**(drawn | changes))


def pieces_of(values, sizes):
    """A tensor (1, step, ...) in pieces of these sizes, and the rest."""
    sizes = [*sizes, max(values.shape[1] - sum(sizes), 0)]
    return values[:, : sum(sizes)].split(sizes, dim=1)


def streamed(stream, pieces):
    """All that a filter's stream gives, in turn."""
    *first, last = pieces
    found = [stream.push(piece) for piece in first] + [stream.finish(last)]
    return torch.cat([piece for piece in found if piece is not None], dim=1)


@pytest.fixture(scope="module")
def front_end():
    torch.manual_seed(0)
    return ConvolutionFrontEnd(
        input_shape=(None, None, 8),
        num_blocks=2,
        num_layers_per_block=1,
        out_channels=(4, 2),
        kernel_sizes=(3, 3),
        strides=(2, 2),
        residuals=(False, False),
    ).eval()


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), max_size=6),
    group=st.integers(1, 5),
    # Fewer are too few for the padding of the whole, too.
    steps=st.integers(5, 70),
)
def test_a_front_end_in_pieces_gives_what_it_gives_at_once(
    front_end, sizes, group, steps
):
    while sum(sizes) > steps:
        sizes.pop()
    features = torch.randn(
        1, steps, 8, generator=torch.Generator().manual_seed(steps)
    )
    stream = FilterStream(front_end, front_end.get_filter_properties(), group)
    with torch.no_grad():
        found = streamed(stream, pieces_of(features, sizes))
        torch.testing.assert_close(found, front_end(features), **TOLERANCE)


@pytest.mark.parametrize("piece", [37, 160, 1000, 5000])
@pytest.mark.parametrize("samples", [1600, 5000, 5040])
def test_filter_banks_in_pieces_are_those_of_the_whole(piece, samples):
    fbank = UnclippedFbank(n_mels=8)
    signal = torch.randn(1, samples, generator=torch.Generator().manual_seed(1))
    # Digital silence is what a floor below the loudest frame would change.
    signal[:, 700:1200] = 0.0
    stream = FilterStream(fbank, fbank.get_filter_properties())
    found = streamed(stream, signal.split(piece, dim=1))
    torch.testing.assert_close(found, fbank(signal), atol=1e-3, rtol=0)


def test_a_filter_stream_gives_frames_as_soon_as_they_are_certain(front_end):
    # Frame n reads features 4 n - 3 to 4 n + 3.
    stream = FilterStream(front_end, front_end.get_filter_properties())
    given_out = [stream.push(torch.zeros(1, 1, 8)) for _ in range(12)]
    ready = [
        step for step, frames in enumerate(given_out) if frames is not None
    ]
    assert ready == [3, 7, 11]


def test_groups_of_frames_come_when_their_last_frame_is_certain(front_end):
    # Pieces of 5 features do not end where groups of 2 frames are certain.
    stream = FilterStream(front_end, front_end.get_filter_properties(), 2)
    counts = [stream.push(torch.zeros(1, 5, 8)) for _ in range(6)]
    counts = [0 if frames is None else frames.shape[1] for frames in counts]
    # After 5, 10, ... features 1, 2, 3, 5, 6, 7 frames are certain.
    assert counts == [0, 2, 0, 2, 2, 0]


@pytest.mark.parametrize("count", [2000, 4000])
def test_a_filter_stream_forgets(front_end, count):
    stream = FilterStream(front_end, front_end.get_filter_properties())
    for piece in torch.zeros(1, count, 8).split(10, dim=1):
        stream.push(piece)
    assert stream._held.shape[1] < 20


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8))
def test_chunks_are_whole_but_the_last(sizes):
    seen = []

    def layers(chunk):
        seen.append(chunk.shape[1])
        return chunk

    stream, frames = ChunkStream(layers, 4), torch.rand(1, sum(sizes), 2)
    found = [stream.push(piece) for piece in frames.split(sizes, dim=1)]
    found.append(stream.finish())
    found = [piece for piece in found if piece is not None]
    expected = [4] * (sum(sizes) // 4) + [sum(sizes) % 4] * (sum(sizes) % 4 > 0)
    assert seen == expected
    if found:
        assert torch.equal(torch.cat(found, dim=1), frames)


@pytest.mark.parametrize("family", ["conformer", "encoder_decoder"])
@pytest.mark.parametrize("attention", ["RelPosMHAXL", "RoPEMHA"])
def test_chunks_are_those_of_speechbrain(
    build, bypass_bottleneck, features, family, attention
):
    made = build(family, attention_type=attention)
    front_end, transformer, *heads = made.parts
    split = made.cut(1, bypass_bottleneck, chunks=sampler()).eval()
    expected = transformer.encode(
        front_end(features),
        LENGTHS,
        dynchunktrain_config=DynChunkTrainConfig(4, 2),
    )
    if family == "conformer":
        expected = heads[0](expected)
    found = split(features, LENGTHS).output
    torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.parametrize("attention", ["RelPosMHAXL", "RoPEMHA"])
@pytest.mark.parametrize("chunks", [(4, 2), (4, 0), (3, 1), (1, 5), (40, 1)])
@pytest.mark.parametrize("split_layer", [0, 1, 3])
@torch.no_grad()
def test_streamed_halves_give_what_the_whole_gives(
    build, bypass_bottleneck, features, attention, chunks, split_layer
):
    made = build("conformer", attention_type=attention)
    split = made.cut(
        split_layer, bypass_bottleneck, chunks=sampler(chunks)
    ).eval()
    features, lengths = features[:1], torch.ones(1)
    device, cloud = split.device_stream(), split.cloud_stream()
    front = FilterStream(device.front, device.front_filter)
    frames = streamed(front, features.split(7, dim=1))
    layers = ChunkStream(device.layers, device.chunk_frames)
    cut = [layers.push(frames), layers.finish()]
    cut = torch.cat([piece for piece in cut if piece is not None], dim=1)
    whole = split.device(features, lengths).values
    torch.testing.assert_close(cut, whole, **TOLERANCE)
    layers = ChunkStream(cloud.layers, cloud.chunk_frames)
    output = [layers.push(cut), layers.finish()]
    output = torch.cat([piece for piece in output if piece is not None], dim=1)
    torch.testing.assert_close(output, split.cloud(whole, lengths), **TOLERANCE)


def test_no_frame_sees_a_later_chunk(build, bypass_bottleneck, features):
    split = build("conformer").cut(2, bypass_bottleneck, chunks=sampler())
    split.eval()
    cut = split.device(features, LENGTHS).values
    # The front end of frame 11, the last of its chunk, reads up to feature 47.
    later = features.clone()
    later[:, 48:] += 1.0
    again = split.device(later, LENGTHS).values
    assert torch.equal(again[:, :12], cut[:, :12])
    assert not torch.allclose(again[:, 12:], cut[:, 12:])


def test_training_draws_chunks_and_evaluation_does_not(
    build, bypass_bottleneck, features
):
    split = build("conformer").cut(1, bypass_bottleneck, chunks=sampler())
    drawn = []
    for _ in range(20):
        split.train()(features, LENGTHS)
        drawn.append(split.chunks.now(training=True).chunk_size)
        assert split.chunks.now(training=False) == DynChunkTrainConfig(4, 2)
    assert len(set(drawn)) > 3
    assert min(drawn) >= 2 and max(drawn) <= 8


def test_both_halves_of_a_step_have_the_same_chunks(build, coded_bottleneck):
    split = build("conformer").cut(1, coded_bottleneck, chunks=sampler())
    assert split.device_half.layers.chunks is split.cloud_half.layers.chunks


def test_without_chunks_everything_is_seen(build, bypass_bottleneck, features):
    made = build("conformer")
    split = made.cut(1, bypass_bottleneck).eval()
    expected = made.unsplit(features, LENGTHS)
    found = split(features, LENGTHS).output
    torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"attention_type": "regularMHA"}, "attention_type"),
        ({"attention_type": "hypermixing"}, "attention_type"),
        ({"causal": True}, "causal"),
    ],
)
def test_encoders_that_cannot_have_chunks_are_named(
    build, bypass_bottleneck, changes, key
):
    with pytest.raises(ConfigurationError) as error:
        build("conformer", **changes).cut(
            1, bypass_bottleneck, chunks=sampler()
        )
    assert error.value.key == key


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"valid": (8, 2)}, "chunks.valid_config"),
        ({"test": (0, 2)}, "chunks"),
        ({"chunk_size_min": 0}, "chunks"),
    ],
)
def test_wrong_chunks_name_their_key(wrong, key):
    with pytest.raises(ConfigurationError) as error:
        ChunkChoice(sampler(**wrong))
    assert error.value.key == key
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [16, "chunks", DynChunkTrainConfig(4, 2)])
def test_chunks_of_another_kind_are_named(wrong):
    with pytest.raises(ConfigurationError, match="^chunks: found"):
        ChunkChoice(wrong)


@pytest.mark.parametrize("chunks", [None, sampler(None), sampler((4, None))])
def test_a_stream_needs_chunks_and_an_end_of_the_past(
    build, bypass_bottleneck, chunks
):
    split = build("conformer").cut(1, bypass_bottleneck, chunks=chunks)
    for stream in (split.device_stream, split.cloud_stream):
        with pytest.raises(ConfigurationError, match="^chunks.test_config"):
            stream()


@pytest.mark.parametrize("family", ["ecapa", "cnn14"])
def test_other_families_are_no_stream(build, bypass_bottleneck, family):
    split = build(family).cut(1, bypass_bottleneck)
    for stream in (split.device_stream, split.cloud_stream):
        with pytest.raises(ConfigurationError, match="^split: found"):
            stream()


def test_a_front_end_that_nobody_measured_is_no_stream(
    build, bypass_bottleneck
):
    split = build("conformer").cut(1, bypass_bottleneck, chunks=sampler())
    split.device_half.front_end = torch.nn.Identity()
    with pytest.raises(ConfigurationError, match="^front_end: found 'Identity"):
        split.device_stream()
