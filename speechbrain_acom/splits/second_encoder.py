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
from speechbrain_acom.quantizers.contract import Quantizer
from speechbrain_acom.splits.alignment import align
from speechbrain_acom.splits.contract import CloudHalf, CutFrames, DeviceHalf


class SecondEncoder(torch.nn.Module):
    """Base of what can stand beside layers 1..M.

    Subclasses implement ``forward(features)``, which gives the features that
    layers 1..M read and those of the second encoder, each (batch, time,
    channel); their numbers of frames may differ.

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

    Arguments
    ---------
    encoder : torch.nn.Module
        Any module, called with normalised filter banks (batch, time, band);
        gives (batch, frame, ...). It is frozen.
    channels : int
        S, size of a frame that it gives.

    Example
    -------
    >>> second = FilterBankEncoder(torch.nn.Linear(40, 8), channels=8)
    >>> features, semantics = second(torch.randn(2, 100, 40))
    >>> features.shape, semantics.shape
    (torch.Size([2, 100, 40]), torch.Size([2, 100, 8]))
    """

    def __init__(self, encoder: torch.nn.Module, channels: int) -> None:
        super().__init__(channels)
        self.encoder = FrozenEncoder(encoder, channels)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The features themselves, and what the encoder makes of them."""
        return features, self.encoder(features)


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
    >>> features, semantics = LastChannels(768)(torch.randn(2, 100, 848))
    >>> features.shape, semantics.shape
    (torch.Size([2, 100, 80]), torch.Size([2, 100, 768]))
    """

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
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
        features, semantics = self.second_encoder(features)
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
