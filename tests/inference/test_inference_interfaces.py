"""Audio to bytes to answers, whole and in halves, and all that goes wrong."""

import gc

import exported_models
import numpy as np
import pytest
import soundfile
import torch

from speechbrain_acom.audio import load_audio
from speechbrain_acom.entropy.bitstream import read_header, write_message
from speechbrain_acom.errors import (
    AudioError,
    BitstreamError,
    ConfigurationError,
)
from speechbrain_acom.inference import (
    AcomASR,
    AcomClassifier,
    Label,
    copy_half,
    interfaces,
    load_interface,
)

RATE = exported_models.RATE


@pytest.fixture
def whole(model):
    return load_interface(model.folder)


@pytest.fixture
def device(model, tmp_path):
    return load_interface(
        copy_half(model.folder, "device", tmp_path / "device"), "device"
    )


@pytest.fixture
def cloud(model, tmp_path):
    return load_interface(
        copy_half(model.folder, "cloud", tmp_path / "cloud"), "cloud"
    )


def noise(seconds=1.0, seed=0, loudness=0.1, channels=1, rate=RATE):
    generator = np.random.default_rng(seed)
    size = (round(seconds * rate), channels)
    return loudness * generator.standard_normal(size).astype(np.float32)


def signal(seconds=1.0, seed=0, loudness=0.1):
    return torch.from_numpy(noise(seconds, seed, loudness)[:, 0])


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The line ------------------------------------------------------------------


def test_two_machines_give_what_one_gives(whole, device, cloud):
    answers = set()
    for seed, loudness in enumerate((1.0, 0.1, 0.01, 0.001)):
        audio = signal(0.8 + 0.3 * seed, seed, loudness)
        message = device.encode(audio)
        assert message == whole.encode(audio)
        assert cloud.decode(message) == whole.decode(message)
        scores = cloud.decode_output(message)
        assert torch.equal(scores, whole.decode_output(message))
        answers.add(cloud.decode(message))
    assert len(answers) > 1, "the answer does not depend on the message"


def test_bytes_carry_all_that_crosses_the_cut(model, device, cloud):
    audio = signal()
    codes, num_frames = device.signal_codes(audio)
    message = device.message(codes, num_frames)
    features = model.split.bottleneck.decode(codes.unsqueeze(0), num_frames)
    direct = model.split.cloud(features, torch.ones(1))
    assert torch.allclose(cloud.decode_output(message), direct, atol=1e-5)


def test_encoding_a_file_is_encoding_its_signal(device, tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, noise(channels=2, rate=44100), 44100)
    loaded = load_audio(path, RATE)
    assert device.encode_file(path) == device.encode(loaded)
    assert device.encode_file(str(path)) == device.encode(loaded.double())


def test_transcribing_a_file_goes_through_the_bytes(recogniser, tmp_path):
    asr = AcomASR.from_hparams(recogniser.folder)
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    text = asr.transcribe_file(tmp_path / "a.wav")
    assert text == asr.decode(asr.encode_file(tmp_path / "a.wav"))
    assert set(text) <= set("".join(exported_models.WORDS))


def test_classifying_a_file_goes_through_the_bytes(classifier, tmp_path):
    interface = AcomClassifier.from_hparams(classifier.folder)
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    label = interface.classify_file(tmp_path / "a.wav")
    assert label == interface.decode(interface.encode_file(tmp_path / "a.wav"))
    assert label.name in exported_models.LABELS
    scores = interface.decode_output(interface.encode(signal()))
    probabilities = (30 * scores[0, 0]).softmax(-1)
    assert label.score == pytest.approx(float(probabilities.max()), abs=1e-6)


def test_interface_follows_the_task(recogniser, classifier):
    assert type(load_interface(recogniser.folder)) is AcomASR
    assert type(load_interface(classifier.folder, "cloud")) is AcomClassifier


def test_module_method_half_is_not_hidden(model):
    interface = load_interface(model.folder, "device")
    assert interface.loaded_half == "device"
    assert callable(interface.half)


# One half has nothing of the other -----------------------------------------


def live_weights():
    gc.collect()
    objects = gc.get_objects()
    # By the type: a proxy of what is gone can be asked for nothing else.
    tensors = [one for one in objects if issubclass(type(one), torch.Tensor)]
    return [one for one in tensors if isinstance(one, torch.nn.Parameter)]


@pytest.mark.parametrize("half", ["device", "cloud"])
def test_half_keeps_no_weight_of_the_other_in_memory(model, half):
    before = live_weights()
    interface = load_interface(model.folder, half)
    known = {id(value) for value in before}
    new = [value for value in live_weights() if id(value) not in known]
    kept = sum(value.numel() for value in new)
    owned = sum(value.numel() for value in interface.parameters())
    whole = sum(value.numel() for value in model.split.parameters())
    assert kept == owned < whole
    foreign = {"device": "cloud_half", "cloud": "device_half"}[half]
    assert not any(foreign in name for name, _ in interface.named_parameters())


def test_call_of_the_missing_half_is_refused(device, cloud, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    message = device.encode(signal())
    calls = [
        (cloud.encode, signal()),
        (cloud.encode_file, tmp_path / "a.wav"),
        (cloud.signal_codes, signal()),
        (device.decode, message),
        (device.decode_output, message),
    ]
    for call, argument in calls:
        with pytest.raises(ConfigurationError, match="or both for this call"):
            call(argument)


# Audio of every kind -------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "rate", "subtype"),
    [
        (noise(1 / RATE), RATE, "PCM_16"),
        (noise(0.01), RATE, "PCM_16"),
        (noise(0.05), RATE, "PCM_16"),
        (np.zeros((RATE, 1)), RATE, "PCM_16"),
        (noise(1.0, channels=2, rate=8000), 8000, "PCM_16"),
        (noise(1.0, rate=48000), 48000, "PCM_24"),
        (noise(0.001, rate=96000, channels=6), 96000, "FLOAT"),
    ],
    ids=["sample", "10ms", "50ms", "silence", "8k", "48k", "96k"],
)
def test_any_audio_becomes_a_message_and_an_answer(
    whole, tmp_path, samples, rate, subtype
):
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype)
    message = whole.encode_file(tmp_path / "a.wav")
    assert read_header(message, whole.model_hash).num_frames > 0
    assert isinstance(whole.decode(message), str | Label)
    assert torch.isfinite(whole.decode_output(message)).all()


def test_sample_rates_of_one_sound_give_about_as_many_frames(device, tmp_path):
    frames = []
    for rate in (8000, 16000, 48000):
        soundfile.write(tmp_path / "a.wav", noise(rate=rate), rate)
        message = device.encode_file(tmp_path / "a.wav")
        frames.append(read_header(message).num_frames)
    assert max(frames) - min(frames) <= 1


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file"),
        (b"", "an empty file"),
        (b"no audio at all", "no readable audio"),
    ],
)
def test_file_that_is_no_audio_is_named(device, tmp_path, content, found):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=found) as caught:
        device.encode_file(path)
    assert one_line(caught).startswith(f"{path}: found ")


def test_nan_in_a_file_is_refused(device, tmp_path):
    samples = noise()
    samples[5] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, "FLOAT")
    with pytest.raises(AudioError, match="1 of 16000 samples NaN"):
        device.encode_file(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (torch.tensor([0.0, float("nan")]), "1 of 2 samples NaN or infinite"),
        (torch.tensor([0.0, float("inf")]), "1 of 2 samples NaN or infinite"),
        (torch.zeros(0), r"torch.float32 of shape \(0,\)"),
        (torch.zeros(1, 800), r"shape \(1, 800\)"),
        (torch.zeros(800, dtype=torch.int16), "torch.int16 of shape"),
    ],
)
def test_signal_that_cannot_be_coded_is_refused(device, bad, found):
    with pytest.raises(AudioError, match=found) as caught:
        device.encode(bad)
    one_line(caught)


def test_recording_too_long_for_a_message_is_named(
    device, tmp_path, monkeypatch
):
    monkeypatch.setattr(interfaces, "MAX_FRAMES", 20)
    soundfile.write(tmp_path / "long.wav", noise(1.0), RATE)
    soundfile.write(tmp_path / "short.wav", noise(0.05), RATE)
    with pytest.raises(AudioError, match="expected at most 20") as caught:
        device.encode_file(tmp_path / "long.wav")
    assert "long.wav" in one_line(caught)
    assert device.encode_file(tmp_path / "short.wav")


# Messages that are not right -----------------------------------------------


def test_message_with_a_corrupted_byte_is_refused(device, cloud):
    message = device.encode(signal())
    for place in range(len(message)):
        content = bytearray(message)
        content[place] ^= 4
        with pytest.raises(BitstreamError) as caught:
            cloud.decode(bytes(content))
        one_line(caught)


def test_message_that_is_cut_short_is_refused(device, cloud):
    message = device.encode(signal())
    missed = 0
    for length in range(len(message)):
        try:
            cloud.decode(message[:length])
        except BitstreamError as error:
            assert "\n" not in str(error)
        else:
            missed += 1
    # The checksum has eight bits: one cut of 256 goes unseen.
    assert missed <= 2 + len(message) // 64


def test_message_of_another_version_is_refused(device, cloud):
    message = device.encode(signal())
    other = bytes([message[0] & 0xF0]) + message[1:]
    with pytest.raises(BitstreamError, match="of an unknown version"):
        cloud.decode(other)


def test_message_of_another_model_is_refused(model, device, tmp_path):
    prior = exported_models.random_prior(seed=1)
    other = load_interface(model.export(tmp_path / "other", prior=prior))
    message = device.encode(signal())
    with pytest.raises(BitstreamError) as caught:
        other.decode(message)
    found, expected = device.model_hash.hex(), other.model_hash.hex()
    assert f"message of model {found}, this is model {expected}" in one_line(
        caught
    )


def test_message_of_no_frames_is_refused(cloud):
    codes = np.zeros((0, 2), dtype=int)
    message = write_message(codes, 0, cloud.prior, cloud.model_hash)
    with pytest.raises(BitstreamError, match="found 0 frames") as caught:
        cloud.decode(message)
    assert caught.value.offset == 0


def test_forged_message_of_fewer_frames_than_any_audio_gives(classifier):
    cloud = load_interface(classifier.folder, "cloud")
    codes = np.zeros((1, 2), dtype=int)
    message = write_message(codes, 1, cloud.prior, cloud.model_hash)
    with pytest.raises(BitstreamError, match="the cloud half fails") as caught:
        cloud.decode(message)
    one_line(caught)
    assert caught.value.offset == 0
