"""Other voices and other microphones, made of the features of a recording.

Both stand in an ``Augmenter`` of SpeechBrain's: they change normalised log filter
banks (batch, time, band), an utterance at a time, and only in training.
"""

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError

# Above it vocal tracts tell little; the paper's value, in Hz.
FORMANTS_END = 4800.0


class VocalTractWarp(torch.nn.Module):
    """Stretches the frequencies of an utterance, as another throat would.

    Vocal tract length perturbation (Jaitly and Hinton, "Vocal Tract Length
    Perturbation (VTLP) improves speech recognition", 2013, section 3), on
    mel bands: up to the formants' end frequencies are multiplied by a factor,
    above it they are squeezed or stretched so that the highest stays.

    Arguments
    ---------
    sample_rate : int
        In Hz; bands are those of SpeechBrain's ``Fbank`` from 0 Hz to half of
        it, however many.
    lowest, highest : float
        The factor is drawn evenly between them for every utterance. Further
        apart: more kinds of voices, and less natural ones.

    Raises
    ------
    ConfigurationError
        If they are not 0 < lowest <= highest.

    Example
    -------
    >>> warp = VocalTractWarp(sample_rate=16000, lowest=0.8, highest=1.2)
    >>> warp(torch.randn(2, 7, 40)).shape
    torch.Size([2, 7, 40])
    """

    def __init__(
        self,
        sample_rate: int,
        lowest: float = 0.8,
        highest: float = 1.25,
    ) -> None:
        super().__init__()
        if not 0 < lowest <= highest:
            raise ConfigurationError(
                "lowest", lowest, f"above 0 and at most highest, {highest}"
            )
        self.lowest, self.highest = lowest, highest
        self.nyquist = sample_rate / 2

    def forward(self, features: Tensor) -> Tensor:
        """Warp every utterance of a batch (batch, time, band)."""
        drawn = torch.rand(len(features), device=features.device)
        factors = self.lowest + drawn * (self.highest - self.lowest)
        return self.warped(features, factors)

    def warped(self, features: Tensor, factors: Tensor) -> Tensor:
        """Warp with given factors.

        Arguments
        ---------
        features : Tensor
            Shape (batch, time, band).
        factors : Tensor
            Shape (batch,): 1 changes nothing.

        Returns
        -------
        Tensor
            Shape (batch, time, band): at every band what stood at the
            frequency that its own is moved to, between two bands in
            proportion.
        """
        bands = features.shape[2]
        centres = self.centres(bands).to(features.device)
        sources = self._sources(centres, factors.to(centres).unsqueeze(1))
        # Bands are even in mel, so that a frequency has a place among them.
        places = (_mel(sources) / _mel(centres[0]) - 1).clamp(0, bands - 1)
        below = places.floor().long().clamp(max=max(bands - 2, 0))
        share = (places - below).to(features).unsqueeze(1)
        above = (below + 1).clamp(max=bands - 1)
        shape = (-1, features.shape[1], -1)
        lower = features.gather(2, below.unsqueeze(1).expand(shape))
        upper = features.gather(2, above.unsqueeze(1).expand(shape))
        return lower + share * (upper - lower)

    def centres(self, bands: int) -> Tensor:
        """Frequencies in the middle of each band, in Hz, shape (band,)."""
        top = float(_mel(torch.tensor(self.nyquist)))
        return _hertz(torch.linspace(0.0, top, bands + 2)[1:-1])

    def _sources(self, centres: Tensor, factors: Tensor) -> Tensor:
        """Frequencies (batch, band) that bands are taken from, in Hz."""
        end = FORMANTS_END * factors.clamp(max=1.0)
        bend = end / factors
        slope = (self.nyquist - end) / (self.nyquist - bend)
        above = self.nyquist - slope * (self.nyquist - centres)
        return torch.where(centres <= bend, centres * factors, above)


class MicrophoneCurve(torch.nn.Module):
    """Adds a smooth curve over frequency, as another microphone would.

    Arguments
    ---------
    spread : float
        Of the curve, in units of the features. Larger: more kinds of
        microphones.
    waves : int
        Half waves over all bands, at most. Larger: curves less smooth.

    Raises
    ------
    ConfigurationError
        If ``waves`` is less than 1.

    Example
    -------
    >>> MicrophoneCurve(spread=0.0)(torch.ones(1, 2, 40)).mean()
    tensor(1.)
    """

    def __init__(self, spread: float = 0.3, waves: int = 4) -> None:
        super().__init__()
        if waves < 1:
            raise ConfigurationError("waves", waves, "at least 1")
        self.spread = spread
        self.waves = waves

    def forward(self, features: Tensor) -> Tensor:
        """Add a curve to every utterance of a batch (batch, time, band)."""
        batch, _, bands = features.shape
        places = (torch.arange(bands, device=features.device) + 0.5) / bands
        numbers = torch.arange(1, self.waves + 1, device=features.device)
        curves = torch.cos(torch.pi * numbers.unsqueeze(1) * places)
        weights = torch.randn((batch, self.waves), device=features.device)
        # Each curve has a mean square of 1 / 2.
        weights *= self.spread * (2.0 / self.waves) ** 0.5
        return features + (weights @ curves).unsqueeze(1).to(features)


def _mel(hertz: Tensor) -> Tensor:
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


def _hertz(mel: Tensor) -> Tensor:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
