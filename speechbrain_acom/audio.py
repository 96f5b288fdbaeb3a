"""Read any audio file as mono float32 at one sample rate.

Files are read with libsndfile through soundfile, as SpeechBrain does. A file
that cannot be used raises an error that names it, what was found in it and
what was expected.
"""

import logging
import re
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

import numpy as np
import soundfile
import torch
from speechbrain.utils.logger import get_logger
from torch import Tensor
from torchaudio.functional import resample

from speechbrain_acom.errors import AudioError, ConfigurationError

logger = get_logger(__name__)

SAMPLE_RATES = range(1000, 768001)

# The resampler's filters number (new rate / gcd) with (old rate / gcd) taps
# each: gigabytes for two rates without a common divisor. The nearest ratio
# whose denominator is at most this is exact for every rate in common use.
LARGEST_DENOMINATOR = 1000

# Ten frames of 10 ms. Convolutions that reflect their input at the edges fail
# on fewer frames than they reflect: ECAPA-TDNN's need five.
SHORTEST_SECONDS = 0.1

# libsndfile shortens a file whose header promises more than there is without
# an error; only its log of the header tells: "data : 32000 (should be 19182)".
_CHUNK_SIZE = re.compile(
    r"\b(?:data|Data Size|SSND|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)"
)
_OGG_CUT_SHORT = (
    "Last page lacks an end-of-stream",
    "Junk after the last page",
)
# Programs that write into a pipe fill in a size near 2**31 or 2**32.
_UNKNOWN_CHUNK_SIZE = 0x7FFF0000
_UNKNOWN_FRAMES = 2**62

_conversions_logged: set[tuple[int, int, int]] = set()


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Arguments
    ---------
    seconds : float
        Duration.
    sample_rate : int
        Frames per second, in Hz.
    channels : int
        Number of channels.
    """

    seconds: float
    sample_rate: int
    channels: int


def probe_audio(path: str | PathLike) -> AudioInfo:
    """Read the header of an audio file, not its samples.

    Arguments
    ---------
    path : str | PathLike
        The audio file.

    Returns
    -------
    AudioInfo
        Duration in seconds, sample rate in Hz and number of channels.

    Raises
    ------
    AudioError
        If the file is missing, a folder, empty, not audio, shorter than its
        header says, or without a single sample.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> soundfile.write(folder / "a.wav", np.zeros((4000, 2)), 8000)
    >>> probe_audio(folder / "a.wav")
    AudioInfo(seconds=0.5, sample_rate=8000, channels=2)
    """
    path = Path(path)
    with _open(path) as file:
        return _checked_header(path, file)


def load_audio(path: str | PathLike, sample_rate: int) -> Tensor:
    """Read an audio file as mono at the given sample rate.

    Channels are averaged and other sample rates are resampled. The first file
    of each kind that needed it is logged as information, the rest for
    debugging.

    Arguments
    ---------
    path : str | PathLike
        The audio file, in any format and encoding that libsndfile reads.
    sample_rate : int
        Sample rate of the result, in Hz, from 1000 to 768000.

    Returns
    -------
    Tensor
        The signal, float32, shape (time,), full scale at -1 and 1.

    Raises
    ------
    AudioError
        If the file is missing, a folder, empty, not audio, damaged, cut
        short, without a single sample, or holds NaN or infinite samples.
    ConfigurationError
        If ``sample_rate`` is out of its range.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> soundfile.write(folder / "a.wav", np.zeros((4000, 2)), 8000)
    >>> load_audio(folder / "a.wav", sample_rate=16000).shape
    torch.Size([8000])
    """
    if sample_rate not in SAMPLE_RATES:
        raise ConfigurationError(
            "sample_rate", sample_rate, f"{_rates_in_words()} Hz"
        )
    path = Path(path)
    with _open(path) as file:
        info = _checked_header(path, file)
        samples = _read_all(path, file)
    # In numpy, which starts no threads: torch's would be fought over by the
    # loader's workers, for arrays too small to gain from them.
    with np.errstate(invalid="ignore", over="ignore"):
        mono = samples.mean(axis=1)
    _check_finite(path, mono)
    signal = torch.from_numpy(mono)
    if info.sample_rate != sample_rate:
        ratio = Fraction(sample_rate, info.sample_rate)
        ratio = ratio.limit_denominator(LARGEST_DENOMINATOR)
        signal = resample(signal, ratio.denominator, ratio.numerator)
    _log_conversion(path, info, sample_rate)
    return signal


def checked_signal(signal: Tensor) -> Tensor:
    """A signal as float32, if it is one.

    Arguments
    ---------
    signal : Tensor
        Mono, floating point, shape (time,).

    Returns
    -------
    Tensor
        float32, shape (time,).

    Raises
    ------
    AudioError
        If it is of another shape or type, empty, or holds NaN or infinite
        samples.

    Example
    -------
    >>> checked_signal(torch.zeros(2, dtype=torch.float64)).dtype
    torch.float32
    """
    if signal.dim() != 1 or len(signal) == 0 or not signal.is_floating_point():
        raise AudioError(
            f"signal: found {signal.dtype} of shape {tuple(signal.shape)}, "
            "expected floating-point samples of shape (time,)"
        )
    bad = len(signal) - int(torch.isfinite(signal).sum())
    if bad:
        raise AudioError(
            f"signal: found {bad} of {len(signal)} samples NaN or infinite, "
            "expected finite samples"
        )
    return signal.float()


def pad_short(signal: Tensor, sample_rate: int) -> Tensor:
    """Follow a signal of less than 0.1 s by silence, up to 0.1 s.

    Arguments
    ---------
    signal : Tensor
        Mono, shape (time,).
    sample_rate : int
        In Hz.

    Returns
    -------
    Tensor
        Shape (time,); the signal itself if it is long enough.

    Example
    -------
    >>> pad_short(torch.ones(1), 16000).shape
    torch.Size([1600])
    """
    missing = round(SHORTEST_SECONDS * sample_rate) - len(signal)
    if missing <= 0:
        return signal
    return torch.nn.functional.pad(signal, (0, missing))


def _error(path: Path, found: str, expected: str) -> AudioError:
    return AudioError(f"{path}: found {found}, expected {expected}")


def _rates_in_words() -> str:
    return f"from {SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]}"


def _open(path: Path) -> soundfile.SoundFile:
    expected = "an audio file"
    if path.is_dir():
        raise _error(path, "a folder", expected)
    if not path.exists():
        raise _error(path, "no such file", expected)
    if path.stat().st_size == 0:
        raise _error(path, "an empty file of 0 bytes", expected)
    try:
        return soundfile.SoundFile(path)
    # TypeError: headerless formats, for which soundfile wants a sample rate.
    except (OSError, RuntimeError, TypeError) as error:
        # libsndfile's own message starts with the path, which stands already.
        reason = str(error).split(": ")[-1].rstrip(".")
        raise _error(
            path, f"no readable audio ({reason})", "a format of libsndfile"
        ) from error


def _checked_header(path: Path, file: soundfile.SoundFile) -> AudioInfo:
    log = file.extra_info
    for declared, actual in _CHUNK_SIZE.findall(log):
        if int(actual) < int(declared) < _UNKNOWN_CHUNK_SIZE:
            raise _error(
                path,
                f"a file cut short at {actual} bytes of audio",
                f"the {declared} bytes that its header promises",
            )
    if any(sign in log for sign in _OGG_CUT_SHORT):
        raise _error(
            path, "a file cut short", "an Ogg stream up to its last page"
        )
    if file.frames >= _UNKNOWN_FRAMES:
        raise _error(
            path,
            "a header without a length",
            "a file that was not written into a pipe",
        )
    if file.frames == 0:
        raise _error(path, "0 samples", "at least one")
    if file.samplerate not in SAMPLE_RATES:
        raise _error(
            path,
            f"a sample rate of {file.samplerate} Hz",
            f"one {_rates_in_words()} Hz",
        )
    return AudioInfo(
        seconds=file.frames / file.samplerate,
        sample_rate=file.samplerate,
        channels=file.channels,
    )


def _read_all(path: Path, file: soundfile.SoundFile) -> np.ndarray:
    """Samples, float32, shape (time, channels)."""
    expected = f"{file.frames} samples, as its header says"
    try:
        samples = file.read(dtype="float32", always_2d=True)
    # MemoryError, ValueError: a damaged header with an absurd length.
    except (RuntimeError, MemoryError, ValueError) as error:
        reason = str(error).split(": ")[-1].rstrip(".")
        raise _error(path, f"damaged audio ({reason})", expected) from error
    if len(samples) < file.frames:
        raise _error(
            path, f"a file cut short at {len(samples)} samples", expected
        )
    return samples


def _check_finite(path: Path, mono: np.ndarray) -> None:
    bad = np.count_nonzero(~np.isfinite(mono))
    if bad:
        raise _error(
            path,
            f"{bad} of {len(mono)} samples NaN or infinite",
            "finite samples",
        )


def _log_conversion(path: Path, info: AudioInfo, sample_rate: int) -> None:
    if info.sample_rate == sample_rate and info.channels == 1:
        return
    conversion = (info.sample_rate, info.channels, sample_rate)
    first = conversion not in _conversions_logged
    _conversions_logged.add(conversion)
    logger.log(
        logging.INFO if first else logging.DEBUG,
        "%s: %d Hz with %d channel(s) turned into %d Hz mono",
        path,
        info.sample_rate,
        info.channels,
        sample_rate,
    )
