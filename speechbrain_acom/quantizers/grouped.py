"""Product quantization: groups of channels, each with its own quantizer."""

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.processes import copy_from_first_process
from speechbrain_acom.quantizers.contract import Quantizer
from speechbrain_acom.quantizers.distortion import relative_error
from speechbrain_acom.quantizers.frames import (
    FrameQuantizer,
    QuantizedFrames,
    RealFrames,
)
from speechbrain_acom.quantizers.residual import ResidualVectorQuantizer
from speechbrain_acom.quantizers.settings import (
    check_integer,
    check_num_codebooks,
)
from speechbrain_acom.quantizers.starts import (
    LEAST_DEVIATION,
    initial_frames,
    principal_axes,
)


class GroupedQuantizer(FrameQuantizer):
    """Splits the channels into G groups and quantizes each on its own.

    With one codebook a group this is product quantization (Jégou et al.,
    "Product Quantization for Nearest Neighbor Search", 2011), with several it
    is grouped residual quantization (Yang et al., "HiFi-Codec", 2023). G
    searches of V entries choose among V**G.

    Channels depend on each other and some vary far more than others, so the
    frames are centred and rotated before they are split: :meth:`initialize`
    spreads their principal axes over the groups so that the product of the
    variances is about the same in each (Ge et al., "Optimized Product
    Quantization", 2013, parametric solution by eigenvalue allocation). Both
    halves know the rotation; it costs C² multiply-adds a frame.

    Codes come coarse to fine across the groups: the first codebook of every
    group, then the second of every group, and so on. The first k of them can
    be decoded for every k if the groups can: then the first groups have one
    code more than the others, and a group without any is taken to be average.

    Losses and statistics are means over the groups, but "distortion", where
    the groups report it, is that of whole frames. Where the groups draw how
    many codebooks they learn from, codes in training mode are only those
    that all groups have.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features, a multiple of G.
    num_groups : int
        G, from 1 to ``channels``.
    quantizer : Callable[..., Quantizer]
        Called with ``channels=channels // num_groups`` for every group.

    Raises
    ------
    ConfigurationError
        If ``num_groups`` does not divide ``channels``, the codes of a group
        depend on earlier frames, or all groups together have more codebooks
        than a message can hold.

    Example
    -------
    >>> quantizer = GroupedQuantizer(channels=64, num_groups=4)
    >>> quantizer.initialize(torch.randn(1000, 64))
    >>> quantizer(torch.randn(2, 5, 64)).codes.shape
    torch.Size([2, 5, 4])
    """

    def __init__(
        self,
        channels: int,
        num_groups: int = 4,
        quantizer: Callable[..., Quantizer] = ResidualVectorQuantizer,
    ) -> None:
        super().__init__(channels)
        check_integer("num_groups", num_groups, 1)
        if channels % num_groups:
            raise ConfigurationError(
                "num_groups", num_groups, f"a divisor of {channels} channels"
            )
        self.groups = torch.nn.ModuleList(
            quantizer(channels=channels // num_groups)
            for _ in range(num_groups)
        )
        if self.groups[0].rated:
            raise ConfigurationError(
                "quantizer",
                type(self.groups[0]).__name__,
                "one that codes every frame on its own, such as "
                "ResidualVectorQuantizer",
            )
        # Of all groups together: what a message holds.
        check_num_codebooks(len(self.cardinalities))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("rotation", torch.eye(channels))

    @property
    def device_only(self) -> tuple[str, ...]:
        """What only the device half needs of every group."""
        return self._in_groups(self.groups[0].device_only)

    @property
    def cloud_only(self) -> tuple[str, ...]:
        """What only the cloud half needs of every group."""
        return self._in_groups(self.groups[0].cloud_only)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook, the first one of every group first."""
        books = zip(
            *(group.cardinalities for group in self.groups), strict=True
        )
        return tuple(size for sizes in books for size in sizes)

    @property
    def truncatable(self) -> bool:
        """Whether groups can be; one codebook a group always."""
        first = self.groups[0]
        return first.truncatable or len(first.cardinalities) == 1

    def quantize_frames(
        self, frames: Tensor, num_codebooks: int | None
    ) -> QuantizedFrames:
        """Quantize frames (frame, channel) of one utterance."""
        real = RealFrames.of(frames.unsqueeze(0), None)
        return self.quantize_real(real, num_codebooks)

    def quantize_real(
        self, real: RealFrames, num_codebooks: int | None
    ) -> QuantizedFrames:
        """Quantize frames, each group its part; in training mode also adapt."""
        frames = real.values
        parts = self._parts(frames, precise=not self.training)
        results = [
            _through(group, part, real, count)
            for group, part, count in self._shared(parts, num_codebooks)
        ]
        features = self._restored(
            [result.features for result in results],
            precise=not self.training,
        )
        if self.training:
            features = features + self._nothing_of_the_unused(len(results))
        codes = [result.codes for result in results]
        if num_codebooks is None:
            least = min(group_codes.shape[1] for group_codes in codes)
            codes = [group_codes[:, :least] for group_codes in codes]
        statistics = _means([result.statistics for result in results])
        if "distortion" in statistics:
            statistics["distortion"] = relative_error(frames, features)
        return QuantizedFrames(
            features,
            _interleaved(codes),
            _means([result.losses for result in results]),
            statistics,
        )

    def encode_frames(self, frames: Tensor, num_codebooks: int) -> Tensor:
        """The first codes, int64, (frame, num_codebooks), of every frame."""
        parts = self._parts(frames, precise=True)
        codes = [
            group.encode(part, num_codebooks=count)[0]
            for group, part, count in self._shared(parts, num_codebooks)
        ]
        return _interleaved(codes)

    def decode(self, codes: Tensor) -> Tensor:
        """Features of codes, or of the first k < K codes of every frame.

        Arguments
        ---------
        codes : Tensor
            Shape (batch, time, k).

        Returns
        -------
        Tensor
            float32, shape (batch, time, channel).
        """
        number = len(self.groups)
        parts = [
            group.decode(codes[..., index::number])
            for index, group in enumerate(self.groups[: codes.shape[-1]])
        ]
        return self._restored(parts, precise=True)

    @torch.no_grad()
    def initialize(self, frames: Tensor) -> None:
        """Start from data: mean, rotation, then every group.

        Arguments
        ---------
        frames : Tensor
            Real frames, shape (frame, channel); 100 000 random ones of them
            are used where there are more.

        Raises
        ------
        DataError
            If there is no frame.
        """
        frames = initial_frames(frames)
        axes = principal_axes(frames, self.channels)
        order = _balanced(axes.deviations.tolist(), len(self.groups))
        self.mean.copy_(axes.mean)
        self.rotation.copy_(axes.vectors[:, order])
        copy_from_first_process(self.mean)
        copy_from_first_process(self.rotation)
        parts = self._parts(frames, precise=True)
        for group, part in zip(self.groups, parts, strict=True):
            group.initialize(part[0])

    def _parts(self, frames: Tensor, precise: bool) -> tuple[Tensor, ...]:
        """Rotated frames of each group, (1, frame, C / G)."""
        kind = torch.float64 if precise else torch.float32
        centred = frames.to(kind) - self.mean.to(kind)
        rotated = (centred @ self.rotation.to(kind)).unsqueeze(0)
        return rotated.chunk(len(self.groups), dim=-1)

    def _restored(self, parts: list[Tensor], precise: bool) -> Tensor:
        """Features, float32, (..., C), of the first groups' (..., C / G)."""
        kind = torch.float64 if precise else torch.float32
        values = torch.cat(parts, dim=-1).to(kind)
        rotation = self.rotation[:, : values.shape[-1]].to(kind)
        return (values @ rotation.T + self.mean.to(kind)).float()

    def _shared(
        self, parts: tuple[Tensor, ...], num_codebooks: int | None
    ) -> Iterator[tuple[Quantizer, Tensor, int | None]]:
        """Groups that have some of the first k codes, and how many."""
        number = len(self.groups)
        for index, (group, part) in enumerate(
            zip(self.groups, parts, strict=True)
        ):
            if num_codebooks is None:
                yield group, part, None
            elif index < num_codebooks:
                yield group, part, -((index - num_codebooks) // number)

    def _nothing_of_the_unused(self, used: int) -> Tensor:
        """0 with a gradient of 0: a distributed training waits for all."""
        weights = self.groups[used:].parameters()
        return 0.0 * sum(each.sum() for each in weights)

    def _in_groups(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Paths of a group's submodules in all groups."""
        indices = range(len(self.groups))
        return tuple(f"groups.{i}.{name}" for i in indices for name in names)


def _through(
    group: Quantizer, part: Tensor, real: RealFrames, count: int | None
) -> QuantizedFrames:
    """One group's result for its part (1, frame, channel) of real frames."""
    if group.training and isinstance(group, FrameQuantizer):
        # Some draw noise for every utterance.
        own = RealFrames(part[0], real.shape, real.mask)
        return group.quantize_real(own, count)
    result = group(part, num_codebooks=count)
    return QuantizedFrames(
        result.features[0], result.codes[0], result.losses, result.statistics
    )


def _interleaved(codes: list[Tensor]) -> Tensor:
    """Codes (frame, k) of groups, the first of every group first.

    A group may have one code less than those before it.
    """
    total = sum(group_codes.shape[1] for group_codes in codes)
    together = codes[0].new_empty((codes[0].shape[0], total))
    for index, group_codes in enumerate(codes):
        together[:, index :: len(codes)] = group_codes
    return together


def _means(scalars: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Means by name over the groups."""
    return {
        name: torch.stack([group[name] for group in scalars]).mean()
        for name in scalars[0]
    }


def _balanced(deviations: list[float], groups: int) -> list[int]:
    """Order of axes that balances the groups' products of deviations.

    Each axis, the one of most deviation first, goes to the group with the
    least product so far that has room. Products are of deviations relative to
    the least one: a factor below 1 would make a group look emptier.
    """
    least = max(deviations[-1], LEAST_DEVIATION * deviations[0])
    room = len(deviations) // groups
    members: list[list[int]] = [[] for _ in range(groups)]
    products = [0.0] * groups
    for axis, deviation in enumerate(deviations):
        open_groups = [g for g in range(groups) if len(members[g]) < room]
        group = min(open_groups, key=products.__getitem__)
        members[group].append(axis)
        if deviation > least:
            products[group] += math.log(deviation / least)
    return [axis for axes in members for axis in axes]
