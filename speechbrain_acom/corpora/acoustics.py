"""Coloured noise, a small synthetic room, and mixing at a given SNR."""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfftfreq
from scipy.signal import fftconvolve

# Direct sound against the rest of a room's response, in decibels.
DIRECT_TO_REVERBERANT_DB = (3.0, 12.0)
# Time in which a room's response falls by 60 dB, in seconds.
REVERBERATION_SECONDS = (0.1, 0.35)


def power(signal: np.ndarray) -> float:
    """Mean square of a signal.

    Arguments
    ---------
    signal : np.ndarray
        Samples, any shape.

    Returns
    -------
    float
        The mean square; never zero, so that it can divide.

    Example
    -------
    >>> power(np.array([3.0, -3.0]))
    9.0
    """
    return max(float(np.mean(np.square(signal))), 1e-12)


def coloured_noise(
    rng: np.random.Generator, samples: int, sample_rate: int
) -> np.ndarray:
    """Gaussian noise with a random spectral slope and one random hump.

    The power falls as 1 / f ** slope with a slope from 0 (white) to 2
    (brown), and a hump of up to 15 dB, one octave wide, sits between 200 Hz
    and 6 kHz.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all randomness.
    samples : int
        Length.
    sample_rate : int
        Samples per second.

    Returns
    -------
    np.ndarray
        Noise of unit power, shape (samples,).

    Example
    -------
    >>> noise = coloured_noise(np.random.default_rng(0), 16000, 16000)
    >>> noise.shape, round(float(np.mean(noise**2)), 3)
    ((16000,), 1.0)
    """
    length = next_fast_len(samples, real=True)
    frequencies = np.maximum(rfftfreq(length, 1 / sample_rate), 50.0)
    octaves = np.log2(frequencies)
    slope_db = -3.0 * rng.uniform(0.0, 2.0) * octaves
    centre = rng.uniform(np.log2(200.0), np.log2(6000.0))
    hump_db = rng.uniform(0.0, 15.0) * np.exp(-0.5 * (octaves - centre) ** 2)
    gains = 10 ** ((slope_db + hump_db) / 20)
    bins = rng.standard_normal((2, len(gains)))
    noise = irfft((bins[0] + 1j * bins[1]) * gains, length)[:samples]
    return noise / np.sqrt(power(noise))


def add_noise(
    signal: np.ndarray, noise: np.ndarray, snr_db: float
) -> np.ndarray:
    """Add noise so that signal and noise stand in a given ratio.

    Arguments
    ---------
    signal : np.ndarray
        Samples, shape (samples,).
    noise : np.ndarray
        Samples, the same shape.
    snr_db : float
        Power of the signal over the power of the noise, in decibels, both
        over the whole clip.

    Returns
    -------
    np.ndarray
        The sum, the same shape.

    Example
    -------
    >>> mixed = add_noise(np.ones(4), np.array([1.0, -1.0, 1.0, -1.0]), 20.0)
    >>> mixed.round(2).tolist()
    [1.1, 0.9, 1.1, 0.9]
    """
    ratio = power(signal) / power(noise) / 10 ** (snr_db / 10)
    return signal + np.sqrt(ratio) * noise


def in_room(
    rng: np.random.Generator, signal: np.ndarray, sample_rate: int
) -> np.ndarray:
    """Put a signal into a random small room.

    The response is one direct impulse followed by noise that decays
    exponentially.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all randomness.
    signal : np.ndarray
        Samples, shape (samples,).
    sample_rate : int
        Samples per second.

    Returns
    -------
    np.ndarray
        The signal as heard in the room, cut to the same length.

    Example
    -------
    >>> click = np.zeros(1600)
    >>> click[0] = 1.0
    >>> heard = in_room(np.random.default_rng(0), click, 16000)
    >>> heard.shape, round(float(heard[0]), 6)
    ((1600,), 1.0)
    """
    decay = rng.uniform(*REVERBERATION_SECONDS)
    times = np.arange(1, int(decay * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(times)) * 10 ** (-3.0 * times / decay)
    ratio_db = rng.uniform(*DIRECT_TO_REVERBERANT_DB)
    tail *= np.sqrt(10 ** (-ratio_db / 10) / np.sum(tail**2))
    response = np.concatenate([[1.0], tail])
    return fftconvolve(signal, response)[: len(signal)]


def at_peak(
    rng: np.random.Generator, signal: np.ndarray, range_db: tuple[float, float]
) -> np.ndarray:
    """Scale a signal to a random peak level.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all randomness.
    signal : np.ndarray
        Samples, any shape.
    range_db : tuple[float, float]
        Lowest and highest peak in decibels below full scale.

    Returns
    -------
    np.ndarray
        The scaled signal, the same shape.

    Example
    -------
    >>> at_peak(np.random.default_rng(0), np.array([2.0, -4.0]), (0.0, 0.0))
    array([ 0.5, -1. ])
    """
    peak = max(float(np.max(np.abs(signal))), 1e-9)
    return signal * (10 ** (rng.uniform(*range_db) / 20) / peak)
