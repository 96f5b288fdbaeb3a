"""A model cut in two: a device half, a bottleneck and a cloud half."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck, BottleneckResult
from speechbrain_acom.errors import ConfigurationError

HALVES = ("device", "cloud")


@dataclass
class CutFrames:
    """What the device half gives: the features at the cut.

    Arguments
    ---------
    values : Tensor
        Shape (batch, frame, channel).
    lengths : Tensor
        Relative lengths in [0, 1], shape (batch,).
    """

    values: Tensor
    lengths: Tensor


@dataclass
class SplitResult:
    """What the whole line gives.

    Arguments
    ---------
    output : Tensor
        What the model's head gives: (batch, frame, token) for CTC,
        (batch, 1, class) for classification.
    lengths : Tensor
        Relative lengths of the output, shape (batch,).
    bottleneck : BottleneckResult
        Codes, losses and statistics of the cut.
    """

    output: Tensor
    lengths: Tensor
    bottleneck: BottleneckResult


class DeviceHalf(torch.nn.Module):
    """Layers 1..M: features (batch, time, channel) to :class:`CutFrames`.

    Subclasses set ``channels``, the size of the features at the cut, and
    implement ``forward(features, lengths) -> CutFrames``.
    """

    channels: int


class CloudHalf(torch.nn.Module):
    """Layers M+1..L and the head.

    Subclasses implement ``forward(values, lengths) -> Tensor`` where values
    are the decoded features at the cut, (batch, frame, channel), and lengths
    are relative, (batch,). Nothing else may reach this half.
    """


class Split(torch.nn.Module):
    """A model cut after layer M with a bottleneck in the cut.

    One line, walked left to right. The modules are those of the unsplit
    model, shared by reference and not renamed, so that a checkpoint of the
    unsplit model loads by name into the parts it was built from.

    Arguments
    ---------
    device_half : DeviceHalf
        Layers 1..M.
    cloud_half : CloudHalf
        Layers M+1..L and the head.
    bottleneck : Callable[..., Bottleneck]
        Called with ``channels=device_half.channels``; a
        ``!name:speechbrain_acom.bottleneck.Bottleneck`` in YAML.
    """

    def __init__(
        self,
        device_half: DeviceHalf,
        cloud_half: CloudHalf,
        bottleneck: Callable[..., Bottleneck],
    ) -> None:
        super().__init__()
        self.device_half = device_half
        self.bottleneck = bottleneck(channels=device_half.channels)
        self.cloud_half = cloud_half

    def forward(self, features: Tensor, lengths: Tensor) -> SplitResult:
        """Walk the whole line in one process, without the coder.

        Arguments
        ---------
        features : Tensor
            Shape (batch, time, channel), normalised filter banks.
        lengths : Tensor
            Relative lengths in [0, 1], shape (batch,).

        Returns
        -------
        SplitResult
            The head's output and what happened in the cut.
        """
        cut = self.device_half(features, lengths)
        coded = self.bottleneck(cut.values, cut.lengths)
        output = self.cloud_half(coded.features, cut.lengths)
        return SplitResult(output, cut.lengths, coded)

    def device(self, features: Tensor, lengths: Tensor) -> CutFrames:
        """Run layers 1..M only; shapes as in :meth:`forward`."""
        return self.device_half(features, lengths)

    def cloud(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Run layers M+1..L and the head on features at the cut."""
        return self.cloud_half(values, lengths)

    def half_state_dict(self, half: str) -> dict[str, Tensor]:
        """Weights that one half needs, and no others.

        Arguments
        ---------
        half : str
            "device" or "cloud".

        Returns
        -------
        dict[str, Tensor]
            Part of ``state_dict()``; the codebooks are in both halves.

        Raises
        ------
        ConfigurationError
            If ``half`` is neither.
        """
        foreign = self._foreign_prefixes(half)
        return {
            name: value
            for name, value in self.state_dict().items()
            if not name.startswith(foreign)
        }

    def load_half_state_dict(self, half: str, state: dict) -> None:
        """Load what :meth:`half_state_dict` gave; every name must match.

        Raises
        ------
        ConfigurationError
            If a name is missing or unknown; the message has the first one.
        """
        wanted, given = set(self.half_state_dict(half)), set(state)
        for name in sorted(wanted ^ given):
            kind = "is missing" if name in wanted else "is not known"
            raise ConfigurationError(
                f"{half} weights", name, f"other names: this one {kind}"
            )
        self.load_state_dict(state, strict=False)

    def keep_half(self, half: str) -> None:
        """Drop every module that only the other half needs.

        Arguments
        ---------
        half : str
            "device" or "cloud": the half to keep.
        """
        for name in self._foreign_modules(half):
            parent, _, child = name.rpartition(".")
            setattr(self.get_submodule(parent), child, None)

    def _foreign_modules(self, half: str) -> list[str]:
        """Paths of the modules that only the other half needs."""
        if half not in HALVES:
            raise ConfigurationError("half", half, "one of device, cloud")
        if half == "device":
            inside = self.bottleneck.cloud_only_modules()
            return ["cloud_half", *(f"bottleneck.{name}" for name in inside)]
        inside = self.bottleneck.device_only_modules()
        return ["device_half", *(f"bottleneck.{name}" for name in inside)]

    def _foreign_prefixes(self, half: str) -> tuple[str, ...]:
        return tuple(f"{name}." for name in self._foreign_modules(half))
