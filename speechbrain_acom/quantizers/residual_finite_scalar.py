"""Residual finite scalar quantization: sums of levels per dimension."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.precision import precise_linear
from speechbrain_acom.processes import copy_module_from_first_process
from speechbrain_acom.quantizers.distortion import relative_error
from speechbrain_acom.quantizers.dropout import used_num_codebooks
from speechbrain_acom.quantizers.frames import (
    FrameQuantizer,
    QuantizedFrames,
    RealFrames,
)
from speechbrain_acom.quantizers.gradients import straight_through
from speechbrain_acom.quantizers.mixed_radix import MixedRadix
from speechbrain_acom.quantizers.scalar_grid import LEAST_SCALE, ScalarGrid
from speechbrain_acom.quantizers.settings import (
    LARGEST_CODEBOOK,
    check_integer,
    check_probability,
)
from speechbrain_acom.quantizers.starts import (
    LEAST_DEVIATION,
    initial_frames,
    least_squares,
    principal_axes,
)

# Shares of the utterances in training with dither; the rest is rounded.
DITHERED = 0.5
UNQUANTIZED = 0.25
# tanh(0.851 * x) is 2 * Phi(x) - 1, with the normal distribution function, to
# within 0.02.
NORMAL_SLOPE = 0.851
# Beyond this tanh has lost 99 % of its slope, and the gradient with it.
SATURATED = 0.995


class ResidualFiniteScalarQuantizer(FrameQuantizer):
    """A few bounded dimensions, each rounded to a sum of levels.

    A linear layer projects the features to d dimensions, tanh bounds them,
    each is rounded to the nearest sum of one level of every stage, and another
    linear layer projects back (Parker et al., "Scaling Transformers for
    Low-Bitrate High-Quality Speech Coding", 2024, sections on the discrete
    bottleneck and its residual form). Stage s has ``levels[s][j]`` levels in
    dimension j, from -``scales[s]`` to ``scales[s]``. Where several choices of
    levels have one sum, only the canonical one is ever encoded, see
    :class:`~speechbrain_acom.quantizers.scalar_grid.ScalarGrid`, so that an
    entropy coder can learn that the others do not happen. A value halfway
    between two sums is rounded up.

    The codes of a frame are those of stage 1, then of stage 2, and so on; in
    a code the first dimension is the fastest. The first k codes decode to a
    coarser version: what is missing counts as 0.

    With ``dither``, training draws per utterance: half of them get uniform
    noise, one step of the finest grid wide, instead of rounding, a quarter is
    not quantized at all, and a quarter is rounded, the gradient passing
    straight through to tanh. Codes are always those of rounding. A step that
    uses fewer codes, by ``quantizer_dropout``, and one that was asked for
    ``num_codebooks`` are rounded throughout.

    What decides codes in evaluation and in :meth:`encode` is computed in
    double precision, training in single. There are no losses. Statistics:
    "distortion", squared error of the features relative to their energy,
    noise included, and "saturated_share" of values beyond 0.995, where tanh
    lets a hundredth of the gradient through: projections that grow until they
    saturate stop learning.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    levels : Sequence[Sequence[int]]
        Number of levels, from 2, per stage and dimension.
    scales : Sequence[float]
        Largest level of every stage, from 0.0001 to 1. A stage of L levels
        and scale a leaves up to a / (L - 1) on both sides: the scale for the
        next one.
    dimensions_per_code : int | None
        Dimensions of a stage that share a code; the product of their levels
        may be at most 65536. None: all.
    dither : bool
        Whether to train with noise. False: everything is rounded.
    quantizer_dropout : float
        Probability that a training step uses only the first k codes, k drawn
        evenly from 1 to K, so that one model serves every k.

    Raises
    ------
    ConfigurationError
        If a setting is out of its range or the settings do not fit together.

    Example
    -------
    >>> quantizer = ResidualFiniteScalarQuantizer(
    ...     channels=8, levels=[[5, 5], [5, 5]], scales=[1, 0.25]
    ... )
    >>> quantizer.cardinalities, quantizer.grid.counts
    ((25, 25), (17, 17))
    >>> result = quantizer(torch.randn(2, 5, 8), torch.tensor([1.0, 0.4]))
    >>> result.features.shape, result.codes.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 5, 2]))
    """

    device_only = ("input_projection",)
    cloud_only = ("output_projection",)

    def __init__(
        self,
        channels: int,
        levels: Sequence[Sequence[int]] = ((5,) * 6, (5,) * 6),
        scales: Sequence[float] = (1.0, 0.25),
        dimensions_per_code: int | None = None,
        dither: bool = True,
        quantizer_dropout: float = 0.0,
    ) -> None:
        super().__init__(channels)
        _check_stages(channels, levels, scales)
        dimensions = len(levels[0])
        if dimensions_per_code is None:
            dimensions_per_code = dimensions
        check_integer("dimensions_per_code", dimensions_per_code, 1)
        _check_codes(levels, dimensions_per_code)
        check_probability("quantizer_dropout", quantizer_dropout)
        self.dither = dither
        self.quantizer_dropout = quantizer_dropout
        self.dimensions_per_code = dimensions_per_code
        self.stages = len(levels)
        self.grid = ScalarGrid(levels, scales)
        self.layout = MixedRadix(_groups(levels, dimensions_per_code))
        self.input_projection = torch.nn.Linear(channels, dimensions)
        self.output_projection = torch.nn.Linear(dimensions, channels)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per code, stage by stage."""
        return self.layout.cardinalities

    @property
    def truncatable(self) -> bool:
        """Whether there are finer stages that can be left out."""
        return self.stages > 1

    def quantize_real(
        self, real: RealFrames, num_codebooks: int | None
    ) -> QuantizedFrames:
        """Round frames, straight-through; dither draws for every utterance."""
        books = len(self.cardinalities)
        free = self.training and num_codebooks is None
        num_codebooks = used_num_codebooks(self, num_codebooks)
        if not (free and self.dither and num_codebooks == books):
            return self._quantized(real.values, num_codebooks)
        batch, time = real.shape
        draws = torch.rand(batch, 1, 1, device=real.values.device)
        draws = real.taken(draws.expand(batch, time, 1))
        return self._quantized(real.values, None, draws)

    def quantize_frames(
        self, frames: Tensor, num_codebooks: int | None
    ) -> QuantizedFrames:
        """Round frames (frame, channel) of one utterance, straight-through."""
        real = RealFrames.of(frames.unsqueeze(0), None)
        return self.quantize_real(real, num_codebooks)

    def encode_frames(self, frames: Tensor, num_codebooks: int) -> Tensor:
        """The first codes, int64, (frame, num_codebooks), of every frame."""
        return self._codes(self._bounded(frames))[:, :num_codebooks]

    def decode(self, codes: Tensor) -> Tensor:
        """Features of codes, or of the first k < K codes of every frame.

        Arguments
        ---------
        codes : Tensor
            Shape (batch, time, k), 1 <= k <= K; canonical or not.

        Returns
        -------
        Tensor
            float32, shape (batch, time, channel).
        """
        values = self._sums(codes)
        return precise_linear(self.output_projection, values).float()

    def canonical(self, codes: Tensor) -> Tensor:
        """The one spelling that :meth:`encode` gives to what codes stand for.

        Arguments
        ---------
        codes : Tensor
            Any codes of the right size, shape (batch, time, K).

        Returns
        -------
        Tensor
            Codes of the same features, int64, shape (batch, time, K).
        """
        digits = self.layout.unpack(codes.flatten(0, -2))
        canonical = self.layout.pack(self.grid.canonical(digits))
        return canonical.unflatten(0, codes.shape[:-1])

    @torch.no_grad()
    def initialize(self, frames: Tensor) -> None:
        """Start from principal components that use their values evenly.

        The dimensions become the first d principal components of the frames,
        the first dimension that of the largest variance. Before tanh each is
        scaled to deviate by 0.851 * n / (n - 1), n being the number of values
        of its grid: tanh turns a normal variable that deviates by 0.851 into
        one spread evenly over (-1, 1), and n / (n - 1) makes up for the
        outermost values, whose cells are half as wide. So all values take
        about an n-th of the frames, the first stage says as much as it can,
        and few values are saturated. The price is some error that a flatter
        slope would save: the projection back is linear, tanh is not.

        The projection back is the least-squares one from the rounded values
        to the frames. In a distributed training every process must call this;
        all then start from what the first one found.

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
        self._project_on_components(frames)
        values = self._sums(self._codes(self._bounded(frames)))
        weight, bias = least_squares(values, frames)
        self.output_projection.weight.copy_(weight)
        self.output_projection.bias.copy_(bias)
        copy_module_from_first_process(self)

    def _project_on_components(self, frames: Tensor) -> None:
        counts = torch.tensor(self.grid.counts, device=frames.device)
        axes = principal_axes(frames, len(counts))
        # What varies by rounding errors only must not be blown up to noise.
        least = LEAST_DEVIATION * axes.deviations[0]
        deviations = axes.deviations.where(axes.deviations > least, 1.0)
        slopes = NORMAL_SLOPE * counts / (counts - 1)
        scaled = axes.vectors * (slopes / deviations)
        self.input_projection.weight.copy_(scaled.T)
        self.input_projection.bias.copy_(-axes.mean @ scaled)

    def _quantized(
        self,
        frames: Tensor,
        num_codebooks: int | None,
        draws: Tensor | None = None,
    ) -> QuantizedFrames:
        """Quantize; ``draws`` in [0, 1), (frame, 1), choose the treatment."""
        bounded = self._bounded(frames, precise=not self.training)
        codes = self._codes(bounded)[:, :num_codebooks]
        bounded = bounded.float()
        values = straight_through(bounded, self._sums(codes).float())
        if draws is not None:
            rounded = draws >= DITHERED + UNQUANTIZED
            values = torch.where(rounded, values, bounded)
            noise = torch.rand_like(bounded) - 0.5
            noise = noise * noise.new_tensor(self.grid.cells)
            values = values + noise * (draws < DITHERED)
        features = self.output_projection(values)
        statistics = {
            "distortion": relative_error(frames, features),
            "saturated_share": _saturated_share(bounded),
        }
        return QuantizedFrames(features, codes, {}, statistics)

    def _bounded(self, frames: Tensor, precise: bool = True) -> Tensor:
        """Frames (frame, C) in the space of the grid, (frame, d)."""
        if precise:
            return precise_linear(self.input_projection, frames).tanh()
        return self.input_projection(frames.float()).tanh()

    def _codes(self, bounded: Tensor) -> Tensor:
        """All codes, (frame, K), of bounded values (frame, d)."""
        return self.layout.pack(self.grid.nearest(bounded.detach()))

    def _sums(self, codes: Tensor) -> Tensor:
        """Sums of levels, float64, (..., d), of codes (..., k)."""
        return self.grid.sums(self.layout.unpack(codes))


def _check_stages(
    channels: int, levels: Sequence[Sequence[int]], scales: Sequence[float]
) -> None:
    """Raise ConfigurationError unless there is a grid of that shape."""
    for stage in levels:
        if not isinstance(stage, Sequence):
            raise ConfigurationError("levels", levels, "a list for each stage")
        for size in stage:
            check_integer("levels", size, 2, LARGEST_CODEBOOK)
    shapes = sorted({len(stage) for stage in levels})
    if len(shapes) != 1 or not 1 <= shapes[0] <= channels:
        raise ConfigurationError(
            "levels",
            [list(stage) for stage in levels],
            f"1 to {channels} dimensions, one a channel at most, as many in "
            "every stage",
        )
    if len(scales) != len(levels):
        raise ConfigurationError(
            "scales", list(scales), f"{len(levels)} of them, one a stage"
        )
    for scale in scales:
        if not LEAST_SCALE <= scale <= 1:
            raise ConfigurationError(
                "scales", scale, f"a number from {LEAST_SCALE} to 1"
            )


def _groups(
    levels: Sequence[Sequence[int]], dimensions_per_code: int
) -> list[Sequence[int]]:
    """Levels of the dimensions of every code, stage by stage."""
    return [
        stage[start : start + dimensions_per_code]
        for stage in levels
        for start in range(0, len(stage), dimensions_per_code)
    ]


def _check_codes(
    levels: Sequence[Sequence[int]], dimensions_per_code: int
) -> None:
    """Raise ConfigurationError if a code has too many entries."""

    def largest(count: int) -> int:
        return max(math.prod(group) for group in _groups(levels, count))

    if largest(dimensions_per_code) <= LARGEST_CODEBOOK:
        return
    fitting = next(
        count
        for count in range(dimensions_per_code - 1, 0, -1)
        if largest(count) <= LARGEST_CODEBOOK
    )
    raise ConfigurationError(
        "dimensions_per_code",
        dimensions_per_code,
        f"at most {fitting}: a code of {largest(dimensions_per_code)} entries "
        f"is larger than {LARGEST_CODEBOOK}",
    )


@torch.no_grad()
def _saturated_share(bounded: Tensor) -> Tensor:
    """Share of values at which tanh is nearly flat; 0 of none."""
    saturated = (bounded.abs() > SATURATED).sum()
    return saturated.float() / max(bounded.numel(), 1)
