"""Ten synthetic sounds, in pairs that differ only in how they go in time.

Both sounds of a pair share the ranges of carrier, timbre and (but for the
tremolos) pace, so that spectra averaged over time tell at most the pairs
apart, and not even these well: their ranges of carriers overlap.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import fftconvolve

EDGE_SECONDS = 0.01
# Highest over lowest fundamental frequency of the sources of one class.
CARRIER_RANGE = 2.5


@dataclass(frozen=True)
class Source:
    """What all clips of one synthetic source share.

    Arguments
    ---------
    carrier : float
        Where in the class's range of fundamental frequencies, 0 to 1.
    partials : tuple[float, ...]
        Amplitudes of the carrier's harmonics, from the first on.
    noisy : bool
        Whether the carrier is a band of noise where the class allows one.
    pace : float
        Where in the class's range of repetitions per second, 0 to 1.
    width : float
        Where in the class's range of extents (octaves of a sweep, decay of
        a click or a burst), 0 to 1.
    """

    carrier: float
    partials: tuple[float, ...]
    noisy: bool
    pace: float
    width: float


def random_source(rng: np.random.Generator) -> Source:
    """Draw a source; the draw does not depend on the class.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all randomness.

    Returns
    -------
    Source
        Parameters for any of the ten classes.

    Example
    -------
    >>> 0 <= random_source(np.random.default_rng(0)).carrier <= 1
    True
    """
    return Source(
        carrier=float(rng.random()),
        partials=tuple(rng.uniform(0.1, 1.0, 4).tolist()),
        noisy=bool(rng.random() < 0.5),
        pace=float(rng.random()),
        width=float(rng.random()),
    )


@dataclass(frozen=True)
class Scene:
    """One clip to be filled with the sound of a source.

    Arguments
    ---------
    source : Source
        What is heard.
    lowest_carrier : float
        Lowest fundamental frequency of the class in Hz; the highest is
        CARRIER_RANGE times as high.
    samples : int
        Length of the clip.
    sample_rate : int
        Samples per second.
    rng : np.random.Generator
        Source of all randomness of this clip.
    """

    source: Source
    lowest_carrier: float
    samples: int
    sample_rate: int
    rng: np.random.Generator

    @property
    def carrier(self) -> float:
        """Fundamental frequency of the source in Hz."""
        return self.lowest_carrier * CARRIER_RANGE**self.source.carrier

    def pace(self, slowest: float, fastest: float) -> float:
        """Repetitions per second, 4 % away from the source's own at most."""
        own = slowest * (fastest / slowest) ** self.source.pace
        return own * float(self.rng.uniform(0.96, 1.04))

    def width(self, narrowest: float, widest: float) -> float:
        """The source's extent within a range."""
        return narrowest + (widest - narrowest) * self.source.width

    def cycles(self, pace: float) -> np.ndarray:
        """Repetitions since a random start, shape (samples,)."""
        times = np.arange(self.samples) / self.sample_rate
        return times * pace + self.rng.random()

    def tone(self, frequency: np.ndarray) -> np.ndarray:
        """Harmonics of a fundamental that moves, shape (samples,)."""
        phase = 2 * np.pi * np.cumsum(frequency) / self.sample_rate
        return sum(
            amplitude * np.sin((number + 1) * phase)
            for number, amplitude in enumerate(self.source.partials)
        )

    def steady(self) -> np.ndarray:
        """The unmoving carrier, a tone or a band of noise."""
        if self.source.noisy:
            return self.noise_band()
        return self.tone(np.full(self.samples, self.carrier))

    def noise_band(self) -> np.ndarray:
        """Noise around the carrier, falling off by the octave."""
        length = next_fast_len(self.samples, real=True)
        frequencies = rfftfreq(length, 1 / self.sample_rate)
        octaves = np.log2(np.maximum(frequencies, 1.0) / self.carrier)
        gains = np.exp(-0.5 * ((octaves - 1.0) / 0.8) ** 2)
        noise = self.rng.standard_normal(length)
        return irfft(rfft(noise) * gains, length)[: self.samples] * 3.0


def _fade(cycle: np.ndarray, share: float, pace: float) -> np.ndarray:
    """1 in the first share of every cycle, 0 after it, with short edges."""
    edge = EDGE_SECONDS * pace
    return np.clip(np.minimum(cycle, share - cycle) / edge, 0.0, 1.0)


def _sweep(scene: Scene, direction: int) -> np.ndarray:
    """Tones that sweep in one direction and begin again after a gap."""
    pace, share = scene.pace(1.5, 3.0), 0.75
    cycle = scene.cycles(pace) % 1.0
    octaves = scene.width(0.8, 1.5) * direction * (cycle / share - 0.5)
    tone = scene.tone(scene.carrier * 2.0**octaves)
    return tone * _fade(cycle, share, pace)


def _rising_sweep(scene: Scene) -> np.ndarray:
    return _sweep(scene, 1)


def _falling_sweep(scene: Scene) -> np.ndarray:
    return _sweep(scene, -1)


def _gliding_tone(scene: Scene) -> np.ndarray:
    """A siren: the frequency swings as a sine."""
    swing = np.sin(2 * np.pi * scene.cycles(scene.pace(0.8, 2.0)))
    octaves = 0.5 * scene.width(0.8, 1.5) * swing
    return scene.tone(scene.carrier * 2.0**octaves)


def _stepping_tone(scene: Scene) -> np.ndarray:
    """Two tones in turn: the frequency jumps."""
    high = scene.cycles(scene.pace(0.8, 2.0)) % 1.0 < 0.5
    octaves = 0.5 * scene.width(0.6, 1.2) * np.where(high, 1.0, -1.0)
    return scene.tone(scene.carrier * 2.0**octaves)


def _clicks(scene: Scene, gaps: np.ndarray) -> np.ndarray:
    """Short decaying resonances after the given gaps, in seconds."""
    starts = ((np.cumsum(gaps) - gaps[0]) * scene.sample_rate).astype(int)
    starts = starts[starts < scene.samples]
    impulses = np.zeros(scene.samples)
    impulses[starts] = 10 ** (scene.rng.uniform(-3, 3, len(starts)) / 20)
    decay = scene.width(0.006, 0.015) * scene.sample_rate
    length = min(int(5 * decay), scene.samples)
    shape = np.exp(-np.arange(length) / decay) * scene.steady()[:length]
    return fftconvolve(impulses, shape)[: scene.samples]


def _click_gaps(scene: Scene) -> tuple[float, int]:
    """Mean gap in seconds and a number of clicks that fills the clip."""
    pace = scene.pace(3.0, 7.0)
    seconds = scene.samples / scene.sample_rate
    return 1 / pace, int(3 * pace * seconds) + 20


def _regular_clicks(scene: Scene) -> np.ndarray:
    gap, count = _click_gaps(scene)
    return _clicks(scene, np.full(count, gap))


def _scattered_clicks(scene: Scene) -> np.ndarray:
    """The gaps are exponential, so that the clicks have no rhythm."""
    gap, count = _click_gaps(scene)
    return _clicks(scene, scene.rng.exponential(gap, count))


def _tremolo(scene: Scene, pace: float) -> np.ndarray:
    """A carrier whose loudness swings."""
    swing = np.cos(2 * np.pi * scene.cycles(pace))
    return scene.steady() * (0.5 + 0.5 * swing) ** 1.5


def _slow_tremolo(scene: Scene) -> np.ndarray:
    return _tremolo(scene, scene.pace(1.0, 2.0))


def _fast_tremolo(scene: Scene) -> np.ndarray:
    return _tremolo(scene, scene.pace(6.0, 12.0))


def _bursts(scene: Scene, direction: int) -> np.ndarray:
    """Bursts that swell to a sudden end, or begin suddenly and fade."""
    pace, share = scene.pace(1.2, 2.4), 0.9
    cycle = scene.cycles(pace) % 1.0
    distance = cycle if direction < 0 else share - cycle
    envelope = np.exp(-distance / scene.width(0.15, 0.25))
    return scene.steady() * envelope * _fade(cycle, share, pace)


def _swelling_bursts(scene: Scene) -> np.ndarray:
    return _bursts(scene, 1)


def _fading_bursts(scene: Scene) -> np.ndarray:
    return _bursts(scene, -1)


@dataclass(frozen=True)
class SoundClass:
    """One of the ten classes.

    Arguments
    ---------
    name : str
        The label.
    lowest_carrier : float
        Lowest fundamental frequency of its sources in Hz.
    sound : Callable[[Scene], np.ndarray]
        Fills a clip; the level of the result is arbitrary.
    """

    name: str
    lowest_carrier: float
    sound: Callable[[Scene], np.ndarray]


# The position in this tuple is the class's number.
SOUND_CLASSES = (
    SoundClass("rising_sweep", 250.0, _rising_sweep),
    SoundClass("falling_sweep", 250.0, _falling_sweep),
    SoundClass("regular_clicks", 1000.0, _regular_clicks),
    SoundClass("scattered_clicks", 1000.0, _scattered_clicks),
    SoundClass("slow_tremolo", 450.0, _slow_tremolo),
    SoundClass("fast_tremolo", 450.0, _fast_tremolo),
    SoundClass("gliding_tone", 150.0, _gliding_tone),
    SoundClass("stepping_tone", 150.0, _stepping_tone),
    SoundClass("swelling_bursts", 700.0, _swelling_bursts),
    SoundClass("fading_bursts", 700.0, _fading_bursts),
)


def render(
    sound_class: SoundClass,
    source: Source,
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Fill a clip with the sound of a source.

    Arguments
    ---------
    sound_class : SoundClass
        An entry of ``SOUND_CLASSES``.
    source : Source
        What all clips of the source share.
    samples : int
        Length of the clip.
    sample_rate : int
        Samples per second.
    rng : np.random.Generator
        Source of all randomness of this clip.

    Returns
    -------
    np.ndarray
        The sound without background, unit power, shape (samples,).

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> sound = render(
    ...     SOUND_CLASSES[0], random_source(rng), 16000, 16000, rng
    ... )
    >>> sound.shape, round(float(np.mean(sound**2)), 3)
    ((16000,), 1.0)
    """
    scene = Scene(source, sound_class.lowest_carrier, samples, sample_rate, rng)
    sound = sound_class.sound(scene)
    return sound / max(np.sqrt(np.mean(sound**2)), 1e-6)
