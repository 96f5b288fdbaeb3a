"""A model cut in two: a device half, a bottleneck and a cloud half."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck, BottleneckResult
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.splits.alignment import align
from speechbrain_acom.splits.streams import CloudStream, DeviceStream

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
    hidden : CutFrames | None
        Output of the last layer before the head, if it was asked for.
    """

    output: Tensor
    lengths: Tensor
    bottleneck: BottleneckResult
    hidden: CutFrames | None = None


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

    A half whose continuous twin can teach also sets ``hidden_channels`` and
    implements :meth:`hidden`, and :meth:`with_hidden` to save time.
    """

    hidden_channels: int = 0

    def hidden(self, values: Tensor, lengths: Tensor) -> CutFrames:
        """Output of the last layer that still has frames, before the head.

        Arguments
        ---------
        values : Tensor
            Features at the cut, shape (batch, frame, channel).
        lengths : Tensor
            Relative lengths in [0, 1], shape (batch,).

        Returns
        -------
        CutFrames
            Shape (batch, hidden frame, hidden_channels); there may be fewer
            frames than at the cut.
        """
        raise NotImplementedError

    def with_hidden(
        self, values: Tensor, lengths: Tensor
    ) -> tuple[Tensor, CutFrames]:
        """What ``forward`` and :meth:`hidden` give; better in one walk."""
        return self(values, lengths), self.hidden(values, lengths)


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

    Raises
    ------
    ConfigurationError
        If the quantizer needs a teacher and the cloud half has no hidden
        features.
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
        quantizer = self.bottleneck.quantizer
        if quantizer.taught:
            quantizer.learn_from(cloud_half.hidden_channels)

    def forward(
        self,
        features: Tensor | CutFrames,
        lengths: Tensor,
        target: CutFrames | None = None,
        with_hidden: bool = False,
    ) -> SplitResult:
        """Walk the whole line in one process, without the coder.

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
            The head's output and what happened in the cut.
        """
        cut = features
        if not isinstance(features, CutFrames):
            cut = self.device_half(features, lengths)
        coded = self.bottleneck(cut.values, cut.lengths)
        if target is not None:
            coded = self._taught(coded, cut.lengths, target)
        if with_hidden:
            output, hidden = self.cloud_half.with_hidden(
                coded.features, cut.lengths
            )
            return SplitResult(output, cut.lengths, coded, hidden)
        output = self.cloud_half(coded.features, cut.lengths)
        return SplitResult(output, cut.lengths, coded)

    def _taught(
        self, coded: BottleneckResult, lengths: Tensor, target: CutFrames
    ) -> BottleneckResult:
        """The result with the losses that a target adds."""
        frames = coded.features.shape[1]
        wanted = align(target.values, target.lengths, frames, lengths)
        losses = self.bottleneck.quantizer.target_losses(
            coded.features, wanted, lengths
        )
        return replace(coded, losses={**coded.losses, **losses})

    def device(self, features: Tensor, lengths: Tensor) -> CutFrames:
        """Run layers 1..M only; shapes as in :meth:`forward`."""
        return self.device_half(features, lengths)

    def cloud(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Run layers M+1..L and the head on features at the cut."""
        return self.cloud_half(values, lengths)

    def device_stream(self) -> DeviceStream:
        """Run layers 1..M on a recording that comes bit by bit.

        Returns
        -------
        DeviceStream
            It stands before the recording.

        Raises
        ------
        ConfigurationError
            If these layers have to see the recording as a whole.
        """
        raise self._no_stream()

    def cloud_stream(self) -> CloudStream:
        """Run layers M+1..L and the head on frames that come bit by bit.

        Returns
        -------
        CloudStream
            It stands before the first frame.

        Raises
        ------
        ConfigurationError
            If these layers have to see the recording as a whole.
        """
        raise self._no_stream()

    def evaluation_chunks(self) -> object:
        """What later frames a frame sees outside training; None: all."""
        return None

    def _no_stream(self) -> ConfigurationError:
        kind = type(self).__name__
        return ConfigurationError(
            "split", kind, "a ConformerSplit with chunks for a stream"
        )

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
        """Drop every module that this half does not need.

        Arguments
        ---------
        half : str
            "device" or "cloud": the half to keep.
        """
        self._drop(self._foreign_modules(half))

    def drop_training_modules(self) -> None:
        """Drop every module that neither half needs.

        No export has their weights: what is built from one has them as they
        were before training.
        """
        inside = self.bottleneck.training_only_modules()
        self._drop([f"bottleneck.{name}" for name in inside])

    def _drop(self, names: Sequence[str]) -> None:
        for name in names:
            parent, _, child = name.rpartition(".")
            setattr(self.get_submodule(parent), child, None)

    def _foreign_modules(self, half: str) -> list[str]:
        """Paths of the modules that this half does not need."""
        if half not in HALVES:
            raise ConfigurationError("half", half, "one of device, cloud")
        inside = self.bottleneck.training_only_modules()
        if half == "device":
            other = "cloud_half"
            inside += self.bottleneck.cloud_only_modules()
        else:
            other = "device_half"
            inside += self.bottleneck.device_only_modules()
        return [other, *(f"bottleneck.{name}" for name in inside)]

    def _foreign_prefixes(self, half: str) -> tuple[str, ...]:
        return tuple(f"{name}." for name in self._foreign_modules(half))
