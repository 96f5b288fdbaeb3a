"""Recordings that are coded as they come: the codes and text of the whole."""

import pytest
import torch
from exported_models import RATE, sound, tiny_recogniser

from speechbrain_acom.entropy.streaming import StreamDecoder
from speechbrain_acom.errors import (
    AudioError,
    BitstreamError,
    ConfigurationError,
)
from speechbrain_acom.inference import (
    AcomStreamDecoder,
    AcomStreamEncoder,
    copy_half,
    load_interface,
)


@pytest.fixture(
    scope="module",
    params=[
        {"merge": 1},
        {"merge": 4},
        {"merge": 2, "merge_mode": "projection"},
        {"merge": 3, "merge_mode": "causal"},
    ],
    ids=lambda cut: "-".join(map(str, cut.values())),
)
def streaming(request, tmp_path_factory):
    """Device and cloud of a tiny model with chunks, each half on its own."""
    folder = tmp_path_factory.mktemp("streaming")
    model = tiny_recogniser(folder, yaml="mini_streaming_rvq", **request.param)
    return [
        load_interface(copy_half(model.folder, half, folder / half), half)
        for half in ("device", "cloud")
    ]


def packets_of(device, signal, piece, num_codebooks=None):
    """The bytes of each push, and of the end."""
    encoder = AcomStreamEncoder(device, num_codebooks)
    packets = [encoder.push(part) for part in signal.split(piece)]
    return [*packets, encoder.finish()]


@pytest.mark.parametrize("piece", [160, 7001, 10**6])
@pytest.mark.parametrize("seconds", [0.02, 0.64, 2.7])
def test_streamed_codes_are_those_of_the_whole(streaming, piece, seconds):
    device, _ = streaming
    signal = sound(seconds)
    codes, _ = device.signal_codes(signal)
    decoder = StreamDecoder(device.prior, device.model_hash)
    packets = packets_of(device, signal, piece)
    found = [torch.tensor(decoder.push(packet)) for packet in packets]
    assert torch.equal(torch.cat(found), codes)


def test_streamed_text_is_that_of_the_message(streaming):
    device, cloud = streaming
    for seed in range(3):
        signal = sound(2.0, seed)
        decoder = AcomStreamDecoder(cloud)
        texts = [
            decoder.push(packet) for packet in packets_of(device, signal, 4000)
        ]
        texts.append(decoder.finish())
        lengths = [len(text) for text in texts]
        assert lengths == sorted(lengths)
        assert len(set(lengths)) > 2
        expected = cloud.decode(device.encode(signal))
        # All chunks but the last: of merged frames, its last group is whole.
        assert expected.startswith(texts[-2])
        if device.bottleneck.merge.factor == 1:
            assert texts[-1] == expected


def test_a_chunk_is_sent_when_its_last_sample_has_come(streaming):
    device, _ = streaming
    encoder = AcomStreamEncoder(device)
    # Chunks of 16 frames of 640 samples; a window of 400, rounded up to odd.
    assert encoder.latency == (15 * 640 + 3 * 160 + 200) / RATE
    sent = [
        number
        for number, part in enumerate(sound(2.0).split(40))
        if encoder.push(part)
    ]
    come = [40 * (number + 1) for number in sent]
    # The last frame of a chunk stands 640 samples before its end.
    assert come == [chunks * 16 * 640 + 80 for chunks in (1, 2, 3)]


def test_every_packet_decodes_on_its_own_arrival(streaming):
    device, _ = streaming
    decoder = StreamDecoder(device.prior, device.model_hash)
    factor = device.bottleneck.merge.factor
    for packet in packets_of(device, sound(2.0), 4000):
        frames = len(decoder.push(packet))
        assert (frames > 0) == (len(packet) > 0)
        # The last one may have a whole chunk, and what is after it.
        assert frames * factor < 32 + factor


def test_fewer_codebooks_can_be_sent(streaming):
    device, cloud = streaming
    signal = sound(1.5)
    packets = packets_of(device, signal, 4000, num_codebooks=1)
    assert sum(map(len, packets)) < sum(
        map(len, packets_of(device, signal, 4000))
    )
    decoder = AcomStreamDecoder(cloud, num_codebooks=1)
    text = [decoder.push(packet) for packet in packets]
    assert decoder.finish().startswith(text[-1])
    with pytest.raises(ConfigurationError, match="^num_codebooks: found 3"):
        AcomStreamEncoder(device, 3)
    with pytest.raises(ConfigurationError, match="^num_codebooks: found 3"):
        AcomStreamDecoder(cloud, 3)


def test_two_recordings_at_once_do_not_mix(streaming):
    device, _ = streaming
    signals = [sound(1.5, seed) for seed in (1, 2)]
    alone = [packets_of(device, signal, 4000) for signal in signals]
    encoders = [AcomStreamEncoder(device) for _ in signals]
    parts = zip(*(signal.split(4000) for signal in signals), strict=True)
    together = [
        [
            encoder.push(part)
            for encoder, part in zip(encoders, both, strict=True)
        ]
        for both in parts
    ]
    together.append([encoder.finish() for encoder in encoders])
    assert [list(packets) for packets in zip(*together, strict=True)] == alone


def test_halves_and_empty_recordings_are_named(streaming):
    device, cloud = streaming
    with pytest.raises(ConfigurationError, match="device or both"):
        AcomStreamEncoder(cloud)
    with pytest.raises(ConfigurationError, match="cloud or both"):
        AcomStreamDecoder(device)
    encoder = AcomStreamEncoder(device)
    with pytest.raises(AudioError, match="found no sample"):
        encoder.finish()
    with pytest.raises(AudioError, match="^signal: found"):
        encoder.push(torch.zeros(2, 100))


def test_damaged_and_foreign_bytes_are_refused(streaming):
    device, cloud = streaming
    packets = packets_of(device, sound(1.0), 4000)
    foreign = bytearray(b"".join(packets))
    foreign[1] ^= 1
    with pytest.raises(BitstreamError, match="model"):
        AcomStreamDecoder(cloud).push(bytes(foreign))
    with pytest.raises(BitstreamError):
        AcomStreamDecoder(cloud, max_frames=1).push(b"".join(packets))


def test_a_cut_stream_loses_only_what_was_cut(streaming):
    device, cloud = streaming
    packets = packets_of(device, sound(3.0), 4000)
    whole = AcomStreamDecoder(cloud)
    texts = [whole.push(packet) for packet in packets]
    last = max(number for number, packet in enumerate(packets) if packet)
    part = AcomStreamDecoder(cloud)
    for packet in packets[:last]:
        part.push(packet)
    part.push(packets[last][: len(packets[last]) // 2])
    heard = part.finish()
    assert heard.startswith(texts[last - 1])
    assert len(texts[last - 1]) > 0


def test_a_recording_that_has_ended_takes_no_more(streaming):
    device, _ = streaming
    encoder = AcomStreamEncoder(device)
    encoder.push(sound(0.5))
    encoder.finish()
    for more in (encoder.finish, lambda: encoder.push(sound(0.5))):
        with pytest.raises(AudioError, match="has ended"):
            more()


def test_models_that_were_not_made_for_streams_are_named(
    recogniser, variable_recogniser, classifier, tmp_path
):
    for model in (recogniser, variable_recogniser):
        with pytest.raises(ConfigurationError, match="^chunks.test_config"):
            AcomStreamEncoder(load_interface(model.folder))
    with pytest.raises(ConfigurationError, match="^split: found 'EcapaSplit"):
        AcomStreamEncoder(load_interface(classifier.folder))
    with pytest.raises(ConfigurationError, match="^interface: found"):
        AcomStreamDecoder(load_interface(classifier.folder))


@pytest.mark.parametrize(
    ("cut", "key"),
    [
        ({"merge": 3}, "merge"),
        ({"merge": 2, "merge_mode": "similar"}, "merge_mode"),
    ],
)
def test_merges_that_wait_are_named(tmp_path, cut, key):
    model = tiny_recogniser(tmp_path, yaml="mini_streaming_rvq", **cut)
    with pytest.raises(ConfigurationError, match=f"^{key}: found"):
        AcomStreamEncoder(load_interface(model.folder))


def test_features_and_norms_that_see_the_whole_are_named(tmp_path):
    model = tiny_recogniser(tmp_path, yaml="mini_streaming_rvq")
    interface = load_interface(model.folder)
    interface.mods.normalize.norm_type = "sentence"
    with pytest.raises(ConfigurationError, match="^normalize.norm_type"):
        AcomStreamEncoder(interface)
    interface.mods.compute_features.deltas = True
    with pytest.raises(ConfigurationError, match="^compute_features: found"):
        AcomStreamEncoder(interface)
