"""Sessions of two halves: audio to bare payloads, payloads to answers."""

import numpy as np
import pytest
import soundfile
from exported_models import RATE, sound

from speechbrain_acom.entropy.endings import CodedLength, EndSymbol
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.errors import (
    AudioError,
    BitstreamError,
    ConfigurationError,
)
from speechbrain_acom.inference import AcomSession, load_interface


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_codebooks": 1},
        {"checksum": True},
        {"ending": EndSymbol(25), "checksum": True},
        {"ending": CodedLength(), "num_codebooks": 1},
    ],
    ids=["usual", "coarse", "checksum", "end symbol", "coded length"],
)
def test_session_answers_as_messages_do(halves, settings):
    device, cloud = [AcomSession(half, **settings) for half in halves]
    cloud.check(device.handshake())
    device.check(cloud.handshake())
    books = settings.get("num_codebooks")
    for seed in range(3):
        signal = sound(0.4 + 0.3 * seed, seed)
        whole = halves[0].encode(signal, books)
        message = device.encode(signal)
        assert len(message) < len(whole)
        assert cloud.decode(message) == halves[1].decode(whole)


def test_bare_message_saves_the_container(halves):
    device = AcomSession(halves[0])
    bare = len(halves[0].encode(sound(), checksum=False))
    # First byte, hash and frames; a length said by the bytes costs up to one.
    assert bare - 4 <= len(device.encode(sound())) <= bare - 3


def test_encoding_a_file_is_encoding_its_signal(halves, tmp_path):
    device = AcomSession(halves[0])
    soundfile.write(tmp_path / "a.wav", sound().numpy(), RATE, "FLOAT")
    assert device.encode_file(tmp_path / "a.wav") == device.encode(sound())
    with pytest.raises(AudioError, match="no such file"):
        device.encode_file(tmp_path / "b.wav")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"num_codebooks": 1}, "prior"),
        ({"checksum": True}, "settings"),
        ({"ending": EndSymbol(25)}, "settings"),
    ],
)
def test_other_settings_are_named(halves, settings, what):
    device = AcomSession(halves[0], **settings)
    with pytest.raises(BitstreamError, match=f"session of other {what}"):
        AcomSession(halves[1]).check(device.handshake())


def test_other_model_is_named(recogniser, classifier):
    one, other = (
        AcomSession(load_interface(model.folder))
        for model in (recogniser, classifier)
    )
    with pytest.raises(BitstreamError, match="session of model"):
        one.check(other.handshake())


def test_missing_half_is_named(halves):
    device, cloud = [AcomSession(half) for half in halves]
    message = device.encode(sound())
    with pytest.raises(ConfigurationError, match="device or both"):
        cloud.encode(sound())
    with pytest.raises(ConfigurationError, match="cloud or both"):
        device.decode(message)


def test_damaged_message_is_refused(halves):
    device, cloud = [AcomSession(half, checksum=True) for half in halves]
    message = device.encode(sound())
    for place in range(len(message)):
        damaged = bytearray(message)
        damaged[place] ^= 4
        with pytest.raises(BitstreamError) as caught:
            cloud.decode(bytes(damaged))
        assert "\n" not in str(caught.value)


def test_codebooks_that_are_not_there_are_refused(halves):
    with pytest.raises(ConfigurationError, match="^num_codebooks: found 3"):
        AcomSession(halves[0], num_codebooks=3)


def test_message_of_no_frames_is_refused(halves):
    device, cloud = halves
    framing, ending = device.bottleneck.framing, EndSymbol(25)
    session = Session(device.prior, device.model_hash, framing, ending)
    codes = np.zeros((0, len(device.prior.cardinalities)), dtype=int)
    message = session.write(codes, 0)
    with pytest.raises(BitstreamError, match="found 0 frames") as caught:
        AcomSession(cloud, ending=ending).decode(message)
    assert caught.value.offset == 0


def test_more_frames_than_the_cloud_half_takes_are_refused(halves):
    message = AcomSession(halves[0]).encode(sound())
    with pytest.raises(BitstreamError, match="expected at most 2: forged"):
        AcomSession(halves[1], max_frames=2).decode(message)
    with pytest.raises(BitstreamError, match="expected at most 2: forged"):
        halves[1].read(halves[0].encode(sound()), max_frames=2)
