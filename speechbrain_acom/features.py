"""Filter banks with the features of a frozen encoder beside them.

An encoder that reads the waveform, a self-supervised model for instance, runs
where the filter banks are made, since nothing after them has the waveform.
Its features travel as further channels of the same frames.

Self-attention, and norms over time, let the padding of a batch change every
frame of such an encoder, with an attention mask as well. It reads every
utterance on its own, so that none is coded otherwise for the batch it is in.
"""

from collections.abc import Callable
from typing import Any

import torch
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization
from torch import Tensor

from speechbrain_acom.errors import AudioError, ConfigurationError
from speechbrain_acom.lengths import (
    frame_counts,
    frame_mask,
    relative_lengths,
)


def features_of(
    compute_features: Callable[..., Tensor], signals: Tensor, lengths: Tensor
) -> Tensor:
    """Features of a padded batch; what needs its lengths is given them.

    Arguments
    ---------
    compute_features : Callable[..., Tensor]
        An :class:`EncodedFeatures`, or anything that is called with the audio
        alone, such as ``Fbank``.
    signals : Tensor
        Audio, shape (batch, sample).
    lengths : Tensor
        Relative lengths in [0, 1], shape (batch,).

    Returns
    -------
    Tensor
        Shape (batch, time, channel).

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> lengths = torch.tensor([1.0, 0.5])
    >>> features_of(Fbank(n_mels=40), torch.randn(2, 16000), lengths).shape
    torch.Size([2, 101, 40])
    """
    if isinstance(compute_features, EncodedFeatures):
        return compute_features(signals, lengths)
    return compute_features(signals)


class UnclippedFbank(Fbank):
    """``Fbank`` whose frames do not depend on the loudest one.

    SpeechBrain's lifts everything that is 80 dB below the loudest band of a
    recording up to there; a stream does not know what is to come. Here only
    1e-10 of full scale, -100 dB, is a floor.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.lobes.features.Fbank``.

    Example
    -------
    >>> silence = torch.zeros(1, 1600)
    >>> UnclippedFbank(n_mels=2)(silence)[0, 0].tolist()
    [-100.0, -100.0]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.compute_fbanks.top_db = float("inf")


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
    AudioError
        When called with lengths, if an utterance is too short for a frame.

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
    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode a batch.

        Arguments
        ---------
        inputs : Tensor
            Shape (batch, time, ...).
        lengths : Tensor | None
            Relative lengths in [0, 1], shape (batch,): every utterance is
            encoded on its own, without its padding. None: the batch is
            encoded as it is, in one go.

        Returns
        -------
        Tensor
            Shape (batch, frame, channel). After an utterance's last frame
            that frame is repeated.
        """
        if lengths is None:
            return self._encoded(inputs)
        counts = frame_counts(lengths, inputs).tolist()
        rows = [
            self._frames_of(row[:count])
            for row, count in zip(inputs, counts, strict=True)
        ]
        longest = max(map(len, rows))
        return torch.stack([_prolonged(row, longest) for row in rows])

    def _frames_of(self, utterance: Tensor) -> Tensor:
        """One utterance (time, ...) to (frame, channel)."""
        frames = self._encoded(utterance.unsqueeze(0))[0]
        if not len(frames):
            raise AudioError(
                f"signal: found {len(utterance)} steps, expected enough for a "
                f"frame of {type(self.encoder).__name__}"
            )
        return frames

    def _encoded(self, inputs: Tensor) -> Tensor:
        values = self.encoder(inputs).flatten(2)
        if values.shape[-1] != self.channels:
            raise ConfigurationError(
                "channels",
                self.channels,
                f"{values.shape[-1]}, which {type(self.encoder).__name__} "
                "gives",
            )
        return values


def _prolonged(row: Tensor, frames: int) -> Tensor:
    """Frames (frame, channel), the last one repeated."""
    return torch.cat([row, row[-1:].expand(frames - len(row), -1)])


class EncodedFeatures(torch.nn.Module):
    """Filter banks, and after them the features of a waveform encoder.

    Every frame of the encoder is repeated to the rate of the filter banks,
    from the first one on. An utterance is encoded on its own, so that with
    its length given its features do not depend on the padding of the batch;
    this takes longer than the batch in one go would.

    Arguments
    ---------
    compute_features : Callable[[Tensor], Tensor]
        Audio (batch, sample) to (batch, time, band); ``Fbank``.
    encoder : FrozenEncoder
        Audio (batch, sample) to (batch, frame, channel).
    frames_per_step : int
        Frames of the filter banks for one of the encoder: 2 for one that
        gives 50 a second beside 100.
    shortest : int
        Samples that the encoder needs for a frame; it reads silence after a
        shorter signal. 400 for wav2vec 2.0, HuBERT and WavLM.

    Raises
    ------
    ConfigurationError
        When called, if the rates are not that far apart.
    AudioError
        When called, if ``shortest`` samples are too few for a frame.

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
        shortest: int = 400,
    ) -> None:
        super().__init__()
        self.compute_features = compute_features
        self.encoder = encoder
        self.frames_per_step = frames_per_step
        self.shortest = shortest

    def forward(self, signals: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Filter banks and the encoder's features of a batch.

        Arguments
        ---------
        signals : Tensor
            Audio, shape (batch, sample).
        lengths : Tensor | None
            Relative lengths in [0, 1], shape (batch,). None means no padding:
            zeros at the end are audio then, and change the features.

        Returns
        -------
        Tensor
            Shape (batch, time, band + channel).
        """
        features = self.compute_features(signals)
        semantics = self.encoder(*self._long_enough(signals, lengths))
        semantics = semantics.to(features.dtype)
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

    def _long_enough(
        self, signals: Tensor, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Signals of ``shortest`` samples or more, and relative lengths."""
        counts = frame_counts(lengths, signals).clamp(min=self.shortest)
        silent = signals.masked_fill(~frame_mask(lengths, signals), 0.0)
        missing = max(self.shortest - signals.shape[1], 0)
        padded = torch.nn.functional.pad(silent, (0, missing))
        return padded, relative_lengths(counts, padded.shape[1])


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
