"""What the splits of all model families share: M, L and names of layers."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.splits.contract import (
    CloudHalf,
    CutFrames,
    DeviceHalf,
    Split,
    SplitResult,
)
from speechbrain_acom.splits.second_encoder import (
    FirstChannelsCloudHalf,
    SecondEncoder,
    TwoEncoderDeviceHalf,
    check_semantic_channels,
)


def check_split_layer(split_layer: int, num_layers: int) -> None:
    """Complain unless M is an integer from 0 to L.

    Arguments
    ---------
    split_layer : int
        M, the number of layers on the device.
    num_layers : int
        L, the number of layers of the model.

    Raises
    ------
    ConfigurationError
        If M is not an integer or not in 0..L.

    Example
    -------
    >>> check_split_layer(3, num_layers=3)
    >>> check_split_layer(4, num_layers=3)
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: split_layer: found 4, expected an integer from 0 to 3
    """
    whole = isinstance(split_layer, int) and not isinstance(split_layer, bool)
    if not whole or not 0 <= split_layer <= num_layers:
        raise ConfigurationError(
            "split_layer", split_layer, f"an integer from 0 to {num_layers}"
        )


class LayeredSplit(Split):
    """A split that knows which of the model's layers it was cut after.

    Arguments
    ---------
    device_half : DeviceHalf
        Layers 1..M.
    cloud_half : CloudHalf
        Layers M+1..L and the head.
    bottleneck : Callable[..., Bottleneck]
        Called with ``channels=``, the size of what crosses the cut.
    split_layer : int
        M.
    layer_names : tuple[str, ...]
        What a cut after M = 0, 1, ..., L codes; L + 1 names, for tables.
    second_encoder : SecondEncoder | None
        Stands beside layers 1..M; its features cross the cut after theirs.

    Raises
    ------
    ConfigurationError
        If the quantizer expects another second encoder.
    """

    def __init__(
        self,
        device_half: DeviceHalf,
        cloud_half: CloudHalf,
        bottleneck: Callable[..., Bottleneck],
        split_layer: int,
        layer_names: tuple[str, ...],
        second_encoder: SecondEncoder | None = None,
    ) -> None:
        if second_encoder is not None:
            cloud_half = FirstChannelsCloudHalf(
                cloud_half, device_half.channels
            )
            device_half = TwoEncoderDeviceHalf(device_half, second_encoder)
        super().__init__(device_half, cloud_half, bottleneck)
        check_semantic_channels(self.bottleneck.quantizer, second_encoder)
        self.split_layer = split_layer
        self.layer_names = layer_names

    @property
    def num_layers(self) -> int:
        """L, the number of layers of the unsplit model."""
        return len(self.layer_names) - 1


class ClassifierSplit(LayeredSplit):
    """A split whose head gives one frame of scores for a whole clip."""

    def forward(
        self,
        features: Tensor | CutFrames,
        lengths: Tensor,
        target: CutFrames | None = None,
        with_hidden: bool = False,
    ) -> SplitResult:
        """Walk the whole line; the output's only frame is always real.

        Arguments
        ---------
        features : Tensor | CutFrames
            Shape (batch, time, channel), normalised filter banks; or what the
            device half has given already.
        lengths : Tensor
            Relative lengths in [0, 1], shape (batch,).
        target : CutFrames | None
            A teacher's features, from which the quantizer learns.
        with_hidden : bool
            Whether the result has the ``hidden`` features of the cloud half.

        Returns
        -------
        SplitResult
            Scores, shape (batch, 1, class), with lengths of one.
        """
        result = super().forward(features, lengths, target, with_hidden)
        return replace(result, lengths=torch.ones_like(result.lengths))
