"""Adapters of modules that work in a space of their own dimension."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from speechbrain_acom.precision import precise_linear
from speechbrain_acom.processes import copy_module_from_first_process
from speechbrain_acom.quantizers.adapters.base import (
    AdaptedQuantizer,
    LearntFrames,
)
from speechbrain_acom.quantizers.nearest import nearest_entries
from speechbrain_acom.quantizers.starts import (
    LEAST_DEVIATION,
    initial_frames,
    least_squares,
    principal_axes,
)


@dataclass
class LearntValues:
    """What a foreign module gave for values of a training batch.

    Arguments
    ---------
    values : Tensor
        Quantized values, shape (frame, D), with the module's gradient.
    codes : Tensor
        Integers, shape (frame, k).
    losses : Mapping[str, Tensor]
        Scalars by name.
    """

    values: Tensor
    codes: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)


class ProjectedQuantizer(AdaptedQuantizer):
    """A foreign module between linear layers from C to D dimensions and back.

    Every stage of the module has a codebook, a table of its entries; features
    are decoded from their sum. Each stage codes what those before it left
    over.

    :meth:`initialize` makes the input layer the D principal axes of the
    frames, starts the module, and makes the output layer the one that
    restores the frames best from what the module makes of them.

    Arguments
    ---------
    channels : int
        C.
    dimension : int
        D, from 1 to C.
    module : torch.nn.Module
        The foreign module.
    quantizer_dropout : float
        See :class:`AdaptedQuantizer`.
    """

    device_only = ("input_projection",)
    cloud_only = ("output_projection",)
    # Whether values start with variance 1 in each dimension, as thresholds
    # that do not depend on the data want them.
    unit_variance = False

    def __init__(
        self,
        channels: int,
        dimension: int,
        module: torch.nn.Module,
        quantizer_dropout: float = 0.0,
    ) -> None:
        super().__init__(channels, module, quantizer_dropout)
        self.input_projection = torch.nn.Linear(channels, dimension)
        self.output_projection = torch.nn.Linear(dimension, channels)

    @abstractmethod
    def learnt_values(self, values: Tensor, num_codebooks: int) -> LearntValues:
        """Run the module in training mode on values (frame, D), float32."""

    @abstractmethod
    def codebooks(self) -> list[Tensor]:
        """Entries of every stage, shapes (V, D), constants."""

    def start_module(self, values: Tensor) -> None:
        """Start the module from values (frame, D), float64.

        By default it stays as it is.
        """

    def bounded(self, values: Tensor) -> Tensor:
        """What the module makes of values (frame, D) before its stages."""
        return values

    def stage_codes(
        self, stage: int, residual: Tensor, entries: Tensor
    ) -> Tensor:
        """Codes, (frame,), of what a stage reads (frame, D), float64.

        By default those of the nearest entries.
        """
        return nearest_entries(residual, entries)

    def learnt_frames(self, frames: Tensor, num_codebooks: int) -> LearntFrames:
        """Run the module in training mode on frames (frame, channel)."""
        values = self.input_projection(frames)
        learnt = self.learnt_values(values, num_codebooks)
        features = self.output_projection(learnt.values)
        return LearntFrames(features, learnt.codes.long(), learnt.losses)

    @torch.no_grad()
    def encode_frames(self, frames: Tensor, num_codebooks: int) -> Tensor:
        """The first codes, int64, (frame, num_codebooks), of every frame."""
        values = precise_linear(self.input_projection, frames)
        return self._codes(values, num_codebooks)

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
        return precise_linear(
            self.output_projection, self._values(codes)
        ).float()

    @torch.no_grad()
    def initialize(self, frames: Tensor) -> None:
        """Start from data; in distributed training every process calls this.

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
        dimension = self.input_projection.out_features
        axes = principal_axes(frames, dimension)
        directions = axes.vectors
        if self.unit_variance:
            directions = directions / _divisors(axes.deviations)
        _set_linear(
            self.input_projection, directions.T, -axes.mean @ directions
        )
        values = precise_linear(self.input_projection, frames)
        self.start_module(values)
        codes = self._codes(values, len(self.cardinalities))
        _set_linear(
            self.output_projection, *least_squares(self._values(codes), frames)
        )
        copy_module_from_first_process(self)

    def _codes(self, values: Tensor, num_codebooks: int) -> Tensor:
        """Codes, (frame, num_codebooks), of values (frame, D)."""
        residual = self.bounded(values)
        codes = []
        for stage, entries in enumerate(self.codebooks()[:num_codebooks]):
            codes.append(self.stage_codes(stage, residual, entries).long())
            residual = residual - entries[codes[-1]].double()
        return torch.stack(codes, dim=-1)

    def _values(self, codes: Tensor) -> Tensor:
        """Sums of entries, float64, (..., D), of codes (..., k)."""
        # Added in the order of the stages: another order rounds differently.
        entries = [
            entries[stage_codes].double()
            for entries, stage_codes in zip(
                self.codebooks(), codes.unbind(-1), strict=False
            )
        ]
        return sum(entries[1:], entries[0])


def _divisors(deviations: Tensor) -> Tensor:
    """Deviations, largest first, but 1 where there is nothing but rounding."""
    varies = deviations > LEAST_DEVIATION * deviations[0]
    return torch.where(varies, deviations, 1.0)


def _set_linear(linear: torch.nn.Linear, weight: Tensor, bias: Tensor) -> None:
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
