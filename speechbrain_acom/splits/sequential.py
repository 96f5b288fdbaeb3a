"""Any model whose layers run one after the other, cut after one of them."""

from collections.abc import Callable, Mapping
from math import prod

import torch
from speechbrain.nnet.containers import LengthsCapableSequential, Sequential
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.splits.contract import CloudHalf, CutFrames, DeviceHalf
from speechbrain_acom.splits.layers import LayeredSplit, check_split_layer
from speechbrain_acom.splits.modes import evaluation_mode
from speechbrain_acom.splits.second_encoder import SecondEncoder

# A container with a forward of its own may do more than run its layers.
CONTAINERS = (torch.nn.Sequential, Sequential, LengthsCapableSequential)
FORWARDS = {container.forward for container in CONTAINERS}
# Features that tell the shape at the cut: long enough for a few poolings.
PROBE_FRAMES = 64


class SequentialDeviceHalf(DeviceHalf):
    """Layers 1..M of a sequential model.

    Arguments
    ---------
    layers : torch.nn.Module
        Layers 1..M as one module.
    channels : int
        Size of a frame at the cut, all axes after the second one folded.
    """

    def __init__(self, layers: torch.nn.Module, channels: int) -> None:
        super().__init__()
        self.layers = layers
        self.channels = channels

    def forward(self, features: Tensor, lengths: Tensor) -> CutFrames:
        """Features (batch, time, channel) to the frames at the cut."""
        values = _run(self.layers, features, lengths)
        return CutFrames(values.flatten(2), lengths)


class SequentialCloudHalf(CloudHalf):
    """Layers M+1..L of a sequential model.

    Arguments
    ---------
    layers : torch.nn.Module
        Layers M+1..L as one module.
    sizes : tuple[int, ...]
        Axes of a frame at the cut, as layer M+1 reads them.
    hidden_channels : int
        Size of the last axis of the output; 0 where it has no frames.
    """

    def __init__(
        self,
        layers: torch.nn.Module,
        sizes: tuple[int, ...],
        hidden_channels: int,
    ) -> None:
        super().__init__()
        self.layers = layers
        self.sizes = sizes
        self.hidden_channels = hidden_channels

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Decoded frames (batch, frame, channel) to the model's output."""
        return _run(self.layers, values.unflatten(2, self.sizes), lengths)

    def hidden(self, values: Tensor, lengths: Tensor) -> CutFrames:
        """The output itself: the model has no head of its own."""
        return CutFrames(self(values, lengths), lengths)

    def with_hidden(
        self, values: Tensor, lengths: Tensor
    ) -> tuple[Tensor, CutFrames]:
        """The output, twice."""
        output = self(values, lengths)
        return output, CutFrames(output, lengths)


class SequentialSplit(LayeredSplit):
    """A model of layers that run one after the other, cut after layer M.

    The way into a recipe that this package does not know. The model is a
    ``torch.nn.Sequential`` or one of SpeechBrain's, such as its CRDNN; its
    layers are the container's direct children. M = 0 codes the features.
    Whatever reads the output of the model, a linear layer for instance, stays
    as it is and where it is.

    Axes before the cut are (batch, time, ...); what follows the second one is
    folded into the channels that cross it. With the bypass quantizer the
    output equals ``model(features)``.

    Arguments
    ---------
    model : torch.nn.Module
        The unsplit model; its layers are shared, not copied.
    split_layer : int
        M, from 0 to L, the number of children.
    bottleneck : Callable[..., Bottleneck]
        Called with ``channels=``, the size of what crosses the cut.
    input_size : int | None
        Channels of the features; None: SpeechBrain's containers know.
    second_encoder : SecondEncoder | None
        Stands beside layers 1..M on the device; its features cross the cut
        after theirs.

    Raises
    ------
    ConfigurationError
        If the model is no such container, M is out of range, layer M gives no
        frames, or ``input_size`` is missing.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain.lobes.models.CRDNN import CRDNN
    >>> from speechbrain_acom.quantizers import Bypass
    >>> split = SequentialSplit(
    ...     model=CRDNN(input_size=40, cnn_channels=[4, 8], time_pooling=True,
    ...                 rnn_layers=1, rnn_neurons=16, dnn_neurons=12),
    ...     split_layer=2,
    ...     bottleneck=partial(Bottleneck, quantizer=Bypass),
    ... )
    >>> split.layer_names
    ('features', 'CNN', 'time_pooling', 'RNN', 'DNN')
    >>> split.device(torch.randn(2, 30, 40), torch.ones(2)).values.shape
    torch.Size([2, 15, 80])
    >>> split(torch.randn(2, 30, 40), torch.ones(2)).output.shape
    torch.Size([2, 15, 12])
    """

    def __init__(
        self,
        model: torch.nn.Module,
        split_layer: int,
        bottleneck: Callable[..., Bottleneck],
        input_size: int | None = None,
        second_encoder: SecondEncoder | None = None,
    ) -> None:
        layers = _named_layers(model)
        check_split_layer(split_layer, len(layers))
        names = ("features", *layers)
        device = _chain(model, names[1 : split_layer + 1])
        cloud = _chain(model, names[split_layer + 1 :])
        at_cut, at_end = _shapes(model, device, cloud, input_size)
        if len(at_cut) < 3:
            raise ConfigurationError(
                "split_layer",
                split_layer,
                f"a layer that gives frames: {names[split_layer]} does not",
            )
        super().__init__(
            SequentialDeviceHalf(device, prod(at_cut[2:])),
            SequentialCloudHalf(
                cloud, tuple(at_cut[2:]), at_end[2] if len(at_end) == 3 else 0
            ),
            bottleneck,
            split_layer,
            names,
            second_encoder,
        )


def _named_layers(model: torch.nn.Module) -> Mapping[str, torch.nn.Module]:
    """Layers by name, in the order in which they run."""
    if type(model).forward not in FORWARDS:
        raise ConfigurationError(
            "model",
            type(model).__name__,
            "a Sequential of torch or SpeechBrain with no forward of its own",
        )
    if isinstance(model, torch.nn.ModuleDict):
        return dict(model.items())
    return {str(number): layer for number, layer in enumerate(model)}


def _chain(model: torch.nn.Module, names: tuple[str, ...]) -> torch.nn.Module:
    """Some of the layers, run as the model runs them."""
    if not names:
        return torch.nn.Identity()
    layers = _named_layers(model)
    takes_lengths = isinstance(model, LengthsCapableSequential)
    container = LengthsCapableSequential if takes_lengths else Sequential
    return container(**{name: layers[name] for name in names})


def _run(layers: torch.nn.Module, values: Tensor, lengths: Tensor) -> Tensor:
    if isinstance(layers, LengthsCapableSequential):
        return layers(values, lengths)
    return layers(values)


@torch.no_grad()
def _shapes(
    model: torch.nn.Module,
    device: torch.nn.Module,
    cloud: torch.nn.Module,
    input_size: int | None,
) -> tuple[torch.Size, torch.Size]:
    """Shapes at the cut and at the end, of features that are all zero."""
    if input_size is None:
        input_shape = getattr(model, "input_shape", None)
        if not input_shape:
            raise ConfigurationError(
                "input_size", None, "the channels of the features"
            )
        input_size = input_shape[-1]
    like = next(model.parameters(), torch.empty(0))
    features = like.new_zeros(1, PROBE_FRAMES, input_size)
    lengths = like.new_ones(1)
    with evaluation_mode(model):
        at_cut = _run(device, features, lengths)
        at_end = _run(cloud, at_cut, lengths)
    return at_cut.shape, at_end.shape
