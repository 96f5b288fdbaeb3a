"""A second, frozen encoder on the device, beside layers 1..M.

Its features are coded together with those at the cut (X-Codec, arXiv
2408.17175, section 3). They cross the cut as further channels; the cloud half
reads the first ones only, and the quantizer's loss is what the others are
for. See :class:`~speechbrain_acom.quantizers.SemanticResidualVectorQuantizer`.
"""

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.features import FrozenEncoder
from speechbrain_acom.lengths import frame_counts
from speechbrain_acom.quantizers.contract import Quantizer
from speechbrain_acom.quantizers.settings import check_integer
from speechbrain_acom.splits.alignment import align
from speechbrain_acom.splits.contract import CloudHalf, CutFrames, DeviceHalf


class SecondEncoder(torch.nn.Module):
    """Base of what can stand beside layers 1..M.

    Subclasses implement ``forward(features, lengths)``, which gives the
    features that layers 1..M read and those of the second encoder, each
    (batch, time, channel); their numbers of frames may differ. Padding must
    not change either.

    Arguments
    ---------
    channels : int
        S, size of the second encoder's features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels


class FilterBankEncoder(SecondEncoder):
    """A second encoder that reads what the first layer reads.

    It reads every utterance on its own, without padding, and each of its
    frames is repeated to the rate of the filter banks.

    Arguments
    ---------
    encoder : torch.nn.Module
        Any module, called with normalised filter banks (batch, time, band);
        gives (batch, frame, ...). It is frozen.
    channels : int
        S, size of a frame that it gives.
    shortest : int
        Fewest frames of filter banks that it can read; what is shorter is
        followed by zeros.

    Example
    -------
    >>> second = FilterBankEncoder(torch.nn.Linear(40, 8), channels=8)
    >>> features, semantics = second(torch.randn(2, 100, 40), torch.ones(2))
    >>> features.shape, semantics.shape
    (torch.Size([2, 100, 40]), torch.Size([2, 100, 8]))
    """

    def __init__(
        self, encoder: torch.nn.Module, channels: int, shortest: int = 1
    ) -> None:
        super().__init__(channels)
        check_integer("shortest", shortest, 1)
        self.encoder = FrozenEncoder(encoder, channels)
        self.shortest = shortest

    def forward(
        self, features: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The features themselves, and what the encoder makes of them."""
        counts = frame_counts(lengths, features).tolist()
        rows = [
            self._beside(row, count)
            for row, count in zip(features, counts, strict=True)
        ]
        return features, torch.stack(rows)

    def _beside(self, row: Tensor, count: int) -> Tensor:
        """What is beside the frames of a padded utterance (time, band)."""
        utterance = row[:count]
        missing = max(self.shortest - count, 0)
        utterance = torch.nn.functional.pad(utterance, (0, 0, 0, missing))
        frames = self.encoder(utterance.unsqueeze(0))[0]
        steps = torch.arange(len(row), device=row.device)
        steps = steps * len(frames) // len(utterance)
        return frames[steps.clamp(max=len(frames) - 1)]


class LastChannels(SecondEncoder):
    """A second encoder that has run already: the last channels are its.

    For encoders that read the waveform, see
    :class:`~speechbrain_acom.features.EncodedFeatures`.

    Arguments
    ---------
    channels : int
        S, how many channels of the features are the second encoder's.

    Example
    -------
    >>> last = LastChannels(768)
    >>> features, semantics = last(torch.randn(2, 100, 848), torch.ones(2))
    >>> features.shape, semantics.shape
    (torch.Size([2, 100, 80]), torch.Size([2, 100, 768]))
    """

    def forward(
        self, features: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The features without the last channels, and those."""
        own = features.shape[-1] - self.channels
        return features[..., :own], features[..., own:]


class TwoEncoderDeviceHalf(DeviceHalf):
    """Layers 1..M and a second encoder, side by side.

    Arguments
    ---------
    layers : DeviceHalf
        Layers 1..M.
    second_encoder : SecondEncoder
        The other one; its frames are averaged or repeated to those at the
        cut.
    """

    def __init__(
        self, layers: DeviceHalf, second_encoder: SecondEncoder
    ) -> None:
        super().__init__()
        self.layers = layers
        self.second_encoder = second_encoder
        self.channels = layers.channels + second_encoder.channels

    def forward(self, features: Tensor, lengths: Tensor) -> CutFrames:
        """Features (batch, time, channel) to the frames at the cut."""
        features, semantics = self.second_encoder(features, lengths)
        cut = self.layers(features, lengths)
        semantics = align(
            semantics, lengths, cut.values.shape[1], cut.lengths
        ).to(cut.values.dtype)
        return CutFrames(torch.cat([cut.values, semantics], -1), cut.lengths)


class FirstChannelsCloudHalf(CloudHalf):
    """Layers M+1..L, without the second encoder's channels.

    Arguments
    ---------
    layers : CloudHalf
        Layers M+1..L and the head.
    channels : int
        Size of what they read.
    """

    def __init__(self, layers: CloudHalf, channels: int) -> None:
        super().__init__()
        self.layers = layers
        self.channels = channels
        self.hidden_channels = layers.hidden_channels

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Decoded frames (batch, frame, channel) to the head's output."""
        return self.layers(values[..., : self.channels], lengths)

    def hidden(self, values: Tensor, lengths: Tensor) -> CutFrames:
        """Output of the last layer before the head."""
        return self.layers.hidden(values[..., : self.channels], lengths)

    def with_hidden(
        self, values: Tensor, lengths: Tensor
    ) -> tuple[Tensor, CutFrames]:
        """The head's output and that of the last layer before it."""
        return self.layers.with_hidden(values[..., : self.channels], lengths)


def check_semantic_channels(
    quantizer: Quantizer, second_encoder: SecondEncoder | None
) -> None:
    """Complain about a quantizer that expects another second encoder.

    Arguments
    ---------
    quantizer : Quantizer
        Any; one that makes no difference between channels fits always.
    second_encoder : SecondEncoder | None
        The split's. None: it has none.

    Raises
    ------
    ConfigurationError
        If the numbers of channels differ.
    """
    expected = quantizer.semantic_channels
    given = second_encoder.channels if second_encoder else 0
    if expected not in (0, given):
        raise ConfigurationError(
            "semantic_channels",
            expected,
            f"{given}, the channels of the split's second encoder"
            if given
            else "a second_encoder of as many channels in the split",
        )
