"""Filter banks with the features of a frozen encoder beside them.

An encoder that reads the waveform, a self-supervised model for instance, runs
where the filter banks are made, since nothing after them has the waveform.
Its features travel as further channels of the same frames.
"""

from collections.abc import Callable
from typing import Any

import torch
from speechbrain.processing.features import InputNormalization
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError


class FrozenEncoder(torch.nn.Module):
    """An encoder that nothing trains: no gradient, always evaluation mode.

    Arguments
    ---------
    encoder : torch.nn.Module
        Any module that gives (batch, frame, ...).
    channels : int
        Size of a frame that it gives.

    Raises
    ------
    ConfigurationError
        When called, if a frame has another size.

    Example
    -------
    >>> frozen = FrozenEncoder(torch.nn.Dropout(), channels=4).train()
    >>> frozen(torch.ones(1, 1, 4)).tolist()
    [[[1.0, 1.0, 1.0, 1.0]]]
    """

    def __init__(self, encoder: torch.nn.Module, channels: int) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.channels = channels
        self.eval()

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Features, shape (batch, frame, channel)."""
        values = self.encoder(inputs).flatten(2)
        if values.shape[-1] != self.channels:
            raise ConfigurationError(
                "channels",
                self.channels,
                f"{values.shape[-1]}, which {type(self.encoder).__name__} "
                "gives",
            )
        return values


class EncodedFeatures(torch.nn.Module):
    """Filter banks, and after them the features of a waveform encoder.

    Every frame of the encoder is repeated to the rate of the filter banks,
    from the first one on, so that a frame's features do not depend on the
    padding of the batch.

    Arguments
    ---------
    compute_features : Callable[[Tensor], Tensor]
        Audio (batch, sample) to (batch, time, band); ``Fbank``.
    encoder : FrozenEncoder
        Audio (batch, sample) to (batch, frame, channel).
    frames_per_step : int
        Frames of the filter banks for one of the encoder: 2 for one that
        gives 50 a second beside 100.

    Raises
    ------
    ConfigurationError
        When called, if the rates are not that far apart.

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> class Loudness(torch.nn.Module):
    ...     def forward(self, signals):
    ...         return signals.unfold(1, 320, 320).std(-1, keepdim=True)
    >>> features = EncodedFeatures(
    ...     Fbank(n_mels=40), FrozenEncoder(Loudness(), 1), frames_per_step=2
    ... )
    >>> features(torch.randn(2, 16000)).shape
    torch.Size([2, 101, 41])
    """

    # Frames at the ends that an encoder without padding may lack.
    SLACK = 6

    def __init__(
        self,
        compute_features: Callable[[Tensor], Tensor],
        encoder: FrozenEncoder,
        frames_per_step: int,
    ) -> None:
        super().__init__()
        self.compute_features = compute_features
        self.encoder = encoder
        self.frames_per_step = frames_per_step

    def forward(self, signals: Tensor) -> Tensor:
        """Audio (batch, sample) to (batch, time, band + channel)."""
        features = self.compute_features(signals)
        semantics = self.encoder(signals).to(features.dtype)
        frames, steps = features.shape[1], semantics.shape[1]
        if abs(steps * self.frames_per_step - frames) > self.SLACK:
            raise ConfigurationError(
                "frames_per_step",
                self.frames_per_step,
                f"about {frames / max(steps, 1):.3g}: {frames} frames of "
                f"filter banks, {steps} of the encoder",
            )
        beside = torch.arange(frames, device=features.device)
        beside = (beside // self.frames_per_step).clamp(max=steps - 1)
        return torch.cat([features, semantics[:, beside]], dim=-1)


class FirstChannelsNormalization(InputNormalization):
    """Normalises the first channels and leaves the others as they are.

    It loads the statistics of a run that had these channels only.

    Arguments
    ---------
    channels : int
        How many channels it normalises.
    **kwargs
        As for SpeechBrain's ``InputNormalization``.

    Example
    -------
    >>> normalize = FirstChannelsNormalization(channels=1)
    >>> values = torch.tensor([[[1.0, 5.0], [3.0, 5.0]]])
    >>> normalize(values)[..., 1].tolist()
    [[5.0, 5.0]]
    >>> normalize.glob_mean.tolist()
    [2.0]
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, epoch: int | None = None
    ) -> Tensor:
        """Normalise features (batch, time, channel)."""
        first = super().forward(x[..., : self.channels], lengths, epoch)
        return torch.cat([first, x[..., self.channels :]], dim=-1)
