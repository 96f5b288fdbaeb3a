"""Residual vector quantization: each codebook codes what the last one left."""

from dataclasses import dataclass

import torch
from torch import Tensor

from speechbrain_acom.precision import (
    precise_linear,
    single_precision_is_full,
)
from speechbrain_acom.processes import copy_module_from_first_process
from speechbrain_acom.quantizers.codebook import (
    DISTANCES,
    UPDATES,
    Codebook,
    CodebookSettings,
)
from speechbrain_acom.quantizers.distortion import relative_error
from speechbrain_acom.quantizers.dropout import used_num_codebooks
from speechbrain_acom.quantizers.encoding import fast_codes
from speechbrain_acom.quantizers.frames import FrameQuantizer, QuantizedFrames
from speechbrain_acom.quantizers.gradients import rotation, straight_through
from speechbrain_acom.quantizers.projection import narrow_linear
from speechbrain_acom.quantizers.settings import (
    LARGEST_CODEBOOK,
    check_choice,
    check_integer,
    check_num_codebooks,
    check_probability,
    check_share,
    check_weight,
)
from speechbrain_acom.quantizers.starts import initial_frames, principal_axes

GRADIENTS = {"straight_through": straight_through, "rotation": rotation}


@dataclass
class Stage:
    """One codebook's part of a walk.

    Arguments
    ---------
    residual : Tensor
        What it read, shape (frame, D).
    codes : Tensor
        Its codes, shape (frame,).
    entries : Tensor
        Their entries, with the codebook's gradient, shape (frame, D).
    remainder : Tensor
        What they leave over, shape (frame, D).
    """

    residual: Tensor
    codes: Tensor
    entries: Tensor
    remainder: Tensor


class ResidualVectorQuantizer(FrameQuantizer):
    """K codebooks of V entries with D dimensions, coarse to fine.

    A linear layer projects the features to D dimensions, each codebook codes
    what the ones before it left over (Zeghidour et al., "SoundStream", 2021,
    section III-C), and another linear layer projects the sum of the entries
    back.

    With ``distance="cosine"`` frames and entries are compared on the unit
    sphere (Kumar et al., "High-Fidelity Audio Compression with Improved
    RVQGAN", 2023, section 3.2). Entries keep their lengths, so that decoding
    is the same sum of entries with either distance.

    Losses, each a mean over codebooks, real frames and dimensions:
    "commitment", ``commitment_weight`` times the squared distance that pulls
    the features to their entries, and, with ``codebook_update="gradient"``
    only, "codebook", the squared distance that pulls entries to features.
    Statistics: "distortion", squared error in the D dimensions relative to
    the energy there, and "replaced_entries", over all codebooks in this
    batch.

    Features come out as float32 and are zero at padded frames. Training is
    done in single precision; what decides codes in evaluation and in
    :meth:`encode` in double precision, see :mod:`speechbrain_acom.precision`.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    num_codebooks : int
        K, from 1 to 65536. The nominal bits of a frame are K * log2(V).
    codebook_size : int
        V, from 1 to 65536.
    codebook_dim : int | None
        D, from 1 to ``channels``. None: no projections, D = channels.
    distance : str
        "euclidean" or "cosine".
    codebook_update : str
        "gradient" (codebooks are parameters that the codebook loss moves) or
        "ema" (codebooks follow the mean of their frames).
    gradient : str
        Gradient from the sum of the entries to the projected features:
        "straight_through" or "rotation", see
        :mod:`speechbrain_acom.quantizers.gradients`.
    commitment_weight : float
        Weight of the commitment loss relative to the codebook loss.
    rate_weight : float
        λ: squared distance that one bit is worth. An entry is chosen by
        distance + λ * -log2(its running share of the frames). 0: by distance.
    quantizer_dropout : float
        Probability that a training step uses only the first k codebooks, k
        drawn evenly from 1 to K, so that one model serves every k.
    decay : float
        Weight of the past in running shares and averages, in [0, 1).
    dead_threshold : float
        In [0, 1): an entry is replaced by a random frame of the batch when
        its running share of the frames falls below ``dead_threshold / V``.
        0 replaces none.
    kmeans_iterations : int
        Passes of the k-means start of each codebook.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.

    Example
    -------
    >>> quantizer = ResidualVectorQuantizer(channels=8, codebook_dim=4)
    >>> quantizer.initialize(torch.randn(1000, 8))
    >>> result = quantizer(torch.randn(2, 5, 8), torch.tensor([1.0, 0.4]))
    >>> result.features.shape, result.codes.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 5, 1]))
    >>> sorted(result.losses)
    ['codebook', 'commitment']
    """

    device_only = ("input_projection",)
    cloud_only = ("output_projection",)

    def __init__(
        self,
        channels: int,
        num_codebooks: int = 1,
        codebook_size: int = 256,
        codebook_dim: int | None = 16,
        distance: str = "euclidean",
        codebook_update: str = "gradient",
        gradient: str = "straight_through",
        commitment_weight: float = 0.25,
        rate_weight: float = 0.0,
        quantizer_dropout: float = 0.0,
        decay: float = 0.99,
        dead_threshold: float = 0.05,
        kmeans_iterations: int = 20,
    ) -> None:
        super().__init__(channels)
        check_num_codebooks(num_codebooks)
        check_integer("codebook_size", codebook_size, 1, LARGEST_CODEBOOK)
        if codebook_dim is not None:
            check_integer("codebook_dim", codebook_dim, 1, channels)
        check_choice("distance", distance, DISTANCES)
        check_choice("codebook_update", codebook_update, UPDATES)
        check_choice("gradient", gradient, GRADIENTS)
        check_weight("commitment_weight", commitment_weight)
        check_weight("rate_weight", rate_weight)
        check_probability("quantizer_dropout", quantizer_dropout)
        check_share("decay", decay)
        check_share("dead_threshold", dead_threshold)
        check_integer("kmeans_iterations", kmeans_iterations, 0)
        self.codebook_size = codebook_size
        self.codebook_dim = codebook_dim
        self.gradient = gradient
        self.commitment_weight = commitment_weight
        self.quantizer_dropout = quantizer_dropout
        self.kmeans_iterations = kmeans_iterations
        self.learned_by_gradient = codebook_update == "gradient"
        self.by_angle = distance == "cosine"
        dimension = codebook_dim or channels
        if codebook_dim is not None:
            self.input_projection = torch.nn.Linear(channels, dimension)
            self.output_projection = torch.nn.Linear(dimension, channels)
        settings = CodebookSettings(
            distance, codebook_update, decay, dead_threshold, rate_weight
        )
        self.codebooks = torch.nn.ModuleList(
            Codebook(codebook_size, dimension, settings)
            for _ in range(num_codebooks)
        )

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook: (V,) * K."""
        return (self.codebook_size,) * len(self.codebooks)

    @property
    def truncatable(self) -> bool:
        """True: the first k codes decode to a coarser version."""
        return True

    def quantize_frames(
        self, frames: Tensor, num_codebooks: int | None
    ) -> QuantizedFrames:
        """Quantize frames (frame, channel); in training mode also adapt."""
        projected = self._projected(frames, precise=not self.training)
        stages = self._stages(
            projected, used_num_codebooks(self, num_codebooks)
        )
        return self._quantized(frames, projected, stages)

    def _quantized(
        self, frames: Tensor, projected: Tensor, stages: list[Stage]
    ) -> QuantizedFrames:
        """The result of a walk; in training mode also adapt to it."""
        losses = self._losses(stages)
        quantized = sum(stage.entries.detach() for stage in stages)
        features = frames
        replaced = torch.zeros((), device=frames.device)
        if self.training:
            estimator = GRADIENTS[self.gradient]
            features = self._restored(estimator(projected, quantized))
            replaced += self._adapt(stages)
        statistics = {
            "distortion": relative_error(projected, quantized),
            "replaced_entries": replaced,
        }
        return QuantizedFrames(
            features, stage_codes(stages), losses, statistics
        )

    def encode_frames(self, frames: Tensor, num_codebooks: int) -> Tensor:
        """The first codes, int64, (frame, num_codebooks), of every frame."""
        fast = not torch.compiler.is_exporting() and single_precision_is_full(
            frames.device
        )
        if fast and self.codebook_dim is not None:
            return fast_codes(
                frames, self.input_projection, self.codebooks[:num_codebooks]
            )
        projected = self._projected(frames, precise=True)
        return stage_codes(self._stages(projected, num_codebooks))

    def decode(self, codes: Tensor) -> Tensor:
        """Features of codes, or of the first k < K codes of every frame.

        Arguments
        ---------
        codes : Tensor
            Shape (batch, time, k), 1 <= k <= K.

        Returns
        -------
        Tensor
            float32, shape (batch, time, channel).
        """
        # Added in the order of the stages: another order rounds differently.
        entries = [
            codebook(stage_codes).double()
            for codebook, stage_codes in zip(
                self.codebooks, codes.unbind(-1), strict=False
            )
        ]
        return self._restored(sum(entries[1:], entries[0]))

    @torch.no_grad()
    def initialize(self, frames: Tensor) -> None:
        """Start from principal components and k-means centres.

        The projections become the D principal components of the frames, each
        codebook the k-means centres of what the ones before it left over. In
        a distributed training every process must call this; all then start
        from what the first one found.

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
        if self.codebook_dim is not None:
            self._project_on_principal_components(frames)
        residual = self._projected(frames, precise=True)
        for codebook in self.codebooks:
            codebook.initialize(residual, self.kmeans_iterations)
            residual = residual - codebook(codebook.search(residual))
        copy_module_from_first_process(self)

    def _projected(self, frames: Tensor, precise: bool) -> Tensor:
        """Frames (frame, C) in the space of the codebooks."""
        if self.codebook_dim is None:
            return frames.double() if precise else frames.float()
        if precise:
            return precise_linear(self.input_projection, frames)
        return narrow_linear(self.input_projection, frames.float())

    def _restored(self, quantized: Tensor) -> Tensor:
        """Sums of entries (..., D) in the space of the features, float32."""
        if self.codebook_dim is None:
            return quantized.float()
        if quantized.dtype == torch.float64:
            return precise_linear(self.output_projection, quantized).float()
        return narrow_linear(self.output_projection, quantized)

    def _stages(
        self,
        projected: Tensor,
        num_codebooks: int,
        known: Tensor | None = None,
    ) -> list[Stage]:
        """Walk through the codebooks, coarse to fine.

        Codes that are known, (frame, num_codebooks), are not searched for.
        """
        stages = []
        residual = projected
        for number, codebook in enumerate(self.codebooks[:num_codebooks]):
            if known is None:
                codes = codebook.search(residual)
            else:
                codes = known[:, number]
            entries = codebook(codes)
            remainder = residual - entries.detach()
            stages.append(Stage(residual, codes, entries, remainder))
            residual = remainder
        return stages

    def _losses(self, stages: list[Stage]) -> dict[str, Tensor]:
        commitment = _mean_square([stage.remainder for stage in stages])
        losses = {"commitment": self.commitment_weight * commitment}
        if self.learned_by_gradient:
            losses["codebook"] = _mean_square(
                [stage.entries - stage.residual.detach() for stage in stages]
            )
            if self.training:
                losses["codebook"] += self._nothing_of_the_unused(len(stages))
        return losses

    def _nothing_of_the_unused(self, used: int) -> Tensor:
        """0 with a gradient of 0: a distributed training waits for all."""
        unused = [book.entries.sum() for book in self.codebooks[used:]]
        return 0.0 * sum(unused)

    def _adapt(self, stages: list[Stage]) -> Tensor:
        """Let every used codebook follow its stage; number of replacements."""
        replaced = [
            codebook.adapt(stage.residual.detach(), stage.codes)
            for codebook, stage in zip(self.codebooks, stages, strict=False)
        ]
        return sum(replaced)

    def _project_on_principal_components(self, frames: Tensor) -> None:
        axes = principal_axes(frames, self.codebook_dim)
        components = axes.vectors
        self.input_projection.weight.copy_(components.T)
        self.input_projection.bias.copy_(-axes.mean @ components)
        self.output_projection.weight.copy_(components)
        self.output_projection.bias.copy_(axes.mean)


def stage_codes(stages: list[Stage]) -> Tensor:
    """Codes of all stages, shape (frame, k)."""
    return torch.stack([stage.codes for stage in stages], dim=-1)


def _mean_square(differences: list[Tensor]) -> Tensor:
    """Mean over codebooks, frames and dimensions; 0 of no frames."""
    total = sum(difference.square().sum() for difference in differences)
    numbers = len(differences) * differences[0].numel()
    return (total / max(numbers, 1)).float()
