"""Residual vector quantization: each codebook codes what the last one left."""

from dataclasses import dataclass

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.precision import precise_linear
from speechbrain_acom.processes import copy_from_first_process
from speechbrain_acom.quantizers.codebook import Codebook
from speechbrain_acom.quantizers.frames import FrameQuantizer, QuantizedFrames

UPDATES = ("gradient", "ema")
# The coder's tables sum to 2**16 and every entry needs at least one part.
LARGEST_CODEBOOK = 2**16
MOST_INITIAL_FRAMES = 100_000


@dataclass
class _Stage:
    """One codebook's part: what it read, its codes and their entries."""

    residual: Tensor
    codes: Tensor
    entries: Tensor


class ResidualVectorQuantizer(FrameQuantizer):
    """K codebooks of V entries with D dimensions, coarse to fine.

    A linear layer projects the features to D dimensions, each codebook codes
    what the ones before it left over (Zeghidour et al., "SoundStream", 2021,
    section III-C), and another linear layer projects the sum of the entries
    back. Entries are the nearest ones by Euclidean distance. The gradient
    passes straight through.

    Losses, each a mean over codebooks, real frames and dimensions:
    "commitment", ``commitment_weight`` times the squared distance that pulls
    the features to their entries, and, with ``codebook_update="gradient"``
    only, "codebook", the squared distance that pulls entries to features.
    Statistics: "distortion", squared error of the features relative to their
    energy, and "replaced_entries", over all codebooks in this batch.

    Features come out as float32 and are zero at padded frames; all arithmetic
    is done in double precision, see :mod:`speechbrain_acom.precision`.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    num_codebooks : int
        K. The nominal bits of a frame are K * log2(V).
    codebook_size : int
        V, from 1 to 65536.
    codebook_dim : int | None
        D, from 1 to ``channels``. None: no projections, D = channels.
    codebook_update : str
        "gradient" (codebooks are parameters that the codebook loss moves) or
        "ema" (codebooks follow the mean of their frames).
    commitment_weight : float
        Weight of the commitment loss relative to the codebook loss.
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
        codebook_update: str = "gradient",
        commitment_weight: float = 0.25,
        decay: float = 0.99,
        dead_threshold: float = 0.05,
        kmeans_iterations: int = 20,
    ) -> None:
        super().__init__(channels)
        _check_integer("num_codebooks", num_codebooks, 1)
        _check_integer("codebook_size", codebook_size, 1, LARGEST_CODEBOOK)
        if codebook_dim is not None:
            _check_integer("codebook_dim", codebook_dim, 1, channels)
        if codebook_update not in UPDATES:
            raise ConfigurationError(
                "codebook_update", codebook_update, " or ".join(UPDATES)
            )
        _check_integer("kmeans_iterations", kmeans_iterations, 0)
        _check_share("decay", decay)
        _check_share("dead_threshold", dead_threshold)
        self.codebook_size = codebook_size
        self.codebook_dim = codebook_dim
        self.commitment_weight = commitment_weight
        self.kmeans_iterations = kmeans_iterations
        self.learned_by_gradient = codebook_update == "gradient"
        dimension = codebook_dim or channels
        if codebook_dim is not None:
            self.input_projection = torch.nn.Linear(channels, dimension)
            self.output_projection = torch.nn.Linear(dimension, channels)
        self.codebooks = torch.nn.ModuleList(
            Codebook(
                codebook_size,
                dimension,
                not self.learned_by_gradient,
                decay,
                dead_threshold,
            )
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
        projected = self._projected(frames)
        stages = self._stages(projected, num_codebooks)
        features = self._straight_through(projected, stages)
        replaced = torch.zeros((), device=frames.device)
        if self.training:
            replaced += self._adapt(stages)
        statistics = {
            "distortion": _distortion(frames, features),
            "replaced_entries": replaced,
        }
        return QuantizedFrames(
            features, _stage_codes(stages), self._losses(stages), statistics
        )

    def encode_frames(self, frames: Tensor, num_codebooks: int) -> Tensor:
        """The first codes, int64, (frame, num_codebooks), of every frame."""
        stages = self._stages(self._projected(frames), num_codebooks)
        return _stage_codes(stages)

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
            codebook(stage_codes)
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
        if len(frames) == 0:
            raise DataError(
                "frames to start the quantizer from: found 0, expected at "
                "least 1; check that the training recordings are not empty"
            )
        order = torch.randperm(len(frames), device=frames.device)
        frames = frames[order[:MOST_INITIAL_FRAMES]].double()
        if self.codebook_dim is not None:
            self._project_on_principal_components(frames)
        residual = self._projected(frames)
        for codebook in self.codebooks:
            codebook.initialize(residual, self.kmeans_iterations)
            residual = residual - codebook(codebook.search(residual))
        for values in self.state_dict().values():
            copy_from_first_process(values)

    def _projected(self, frames: Tensor) -> Tensor:
        """Frames (frame, C) in the space of the codebooks, float64."""
        if self.codebook_dim is None:
            return frames.double()
        return precise_linear(self.input_projection, frames)

    def _restored(self, quantized: Tensor) -> Tensor:
        """Sums of entries (..., D) in the space of the features, float32."""
        if self.codebook_dim is None:
            return quantized.float()
        return precise_linear(self.output_projection, quantized).float()

    def _stages(
        self, projected: Tensor, num_codebooks: int | None = None
    ) -> list[_Stage]:
        """Walk through the codebooks, coarse to fine."""
        stages = []
        residual = projected
        for codebook in self.codebooks[:num_codebooks]:
            codes = codebook.search(residual)
            entries = codebook(codes)
            stages.append(_Stage(residual, codes, entries))
            residual = residual - entries.detach()
        return stages

    def _straight_through(
        self, projected: Tensor, stages: list[_Stage]
    ) -> Tensor:
        """Restored features whose gradient skips the codebooks."""
        quantized = sum(stage.entries.detach() for stage in stages)
        return self._restored(projected + (quantized - projected).detach())

    def _losses(self, stages: list[_Stage]) -> dict[str, Tensor]:
        commitment = _mean_square(
            [stage.residual - stage.entries.detach() for stage in stages]
        )
        losses = {"commitment": self.commitment_weight * commitment}
        if self.learned_by_gradient:
            losses["codebook"] = _mean_square(
                [stage.residual.detach() - stage.entries for stage in stages]
            )
        return losses

    def _adapt(self, stages: list[_Stage]) -> Tensor:
        """Let every codebook follow its stage; number of replaced entries."""
        replaced = [
            codebook.adapt(stage.residual.detach(), stage.codes)
            for codebook, stage in zip(self.codebooks, stages, strict=True)
        ]
        return sum(replaced)

    def _project_on_principal_components(self, frames: Tensor) -> None:
        mean = frames.mean(0)
        centred = frames - mean
        # Eigenvalues come in ascending order: the last vectors matter most.
        _, vectors = torch.linalg.eigh(centred.T @ centred / len(frames))
        components = vectors.flip(1)[:, : self.codebook_dim]
        self.input_projection.weight.copy_(components.T)
        self.input_projection.bias.copy_(-mean @ components)
        self.output_projection.weight.copy_(components)
        self.output_projection.bias.copy_(mean)


def _check_integer(
    key: str, value: int, lowest: int, highest: int | None = None
) -> None:
    inside = isinstance(value, int) and value >= lowest
    if inside and (highest is None or value <= highest):
        return
    upper = "on" if highest is None else f"to {highest}"
    raise ConfigurationError(key, value, f"an integer from {lowest} {upper}")


def _check_share(key: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise ConfigurationError(key, value, "a number in [0, 1)")


def _stage_codes(stages: list[_Stage]) -> Tensor:
    """Codes of all stages, shape (frame, K)."""
    return torch.stack([stage.codes for stage in stages], dim=-1)


def _mean_square(differences: list[Tensor]) -> Tensor:
    """Mean over codebooks, frames and dimensions; 0 of no frames."""
    squares = torch.stack(differences).square()
    return (squares.sum() / max(squares.numel(), 1)).float()


@torch.no_grad()
def _distortion(frames: Tensor, quantized: Tensor) -> Tensor:
    """Squared error relative to the energy of the frames; 0 of silence."""
    frames = frames.double()
    error = (quantized.double() - frames).square().sum()
    energy = frames.square().sum()
    ratio = error / torch.where(energy > 0, energy, 1.0)
    return torch.where(energy > 0, ratio, 0.0).float()
