"""Adapter of SpeechBrain's residual vector quantizer, that of DAC."""

import torch
from speechbrain.lobes.models.discrete.dac import ResidualVectorQuantize
from torch import Tensor
from torch.nn.functional import embedding, linear

from speechbrain_acom.processes import copy_module_from_first_process
from speechbrain_acom.quantizers.adapters.base import (
    AdaptedQuantizer,
    LearntFrames,
    first_stages,
)
from speechbrain_acom.quantizers.adapters.sphere import (
    directions,
    spherical_kmeans,
)
from speechbrain_acom.quantizers.nearest import nearest_entries
from speechbrain_acom.quantizers.settings import (
    LARGEST_CODEBOOK,
    check_integer,
    check_num_codebooks,
    check_weight,
)
from speechbrain_acom.quantizers.starts import (
    initial_frames,
    least_squares,
    principal_axes,
)

# Shortest entry that a start gives: no frame may make it vanish.
SHORTEST_ENTRY = 1e-6


class AdaptedDAC(AdaptedQuantizer):
    """SpeechBrain's ``ResidualVectorQuantize``, that of DAC.

    Every codebook has linear layers of its own to D dimensions and back;
    what is left over is left over in C dimensions, and entries are compared
    on the unit sphere (Kumar et al., "High-Fidelity Audio Compression with
    Improved RVQGAN", 2023, section 3.2).

    Losses: "codebook" and "commitment", as in
    :class:`~speechbrain_acom.quantizers.ResidualVectorQuantizer`.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features, C.
    num_codebooks : int
        K, from 1 to 65536.
    codebook_size : int
        V, from 1 to 65536.
    codebook_dim : int
        D, from 1 to ``channels``.
    commitment_weight : float
        Weight of the commitment loss relative to the codebook loss.
    quantizer_dropout : float
        See :class:`~speechbrain_acom.quantizers.adapters.AdaptedQuantizer`.
    kmeans_iterations : int
        Passes of the k-means start of each codebook.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.

    Example
    -------
    >>> quantizer = AdaptedDAC(channels=16, num_codebooks=2)
    >>> result = quantizer(torch.randn(2, 5, 16), torch.tensor([1.0, 0.4]))
    >>> result.codes.shape, sorted(result.losses)
    (torch.Size([2, 5, 2]), ['codebook', 'commitment'])
    """

    loss_names = ("codebook", "commitment")

    def __init__(
        self,
        channels: int,
        num_codebooks: int = 1,
        codebook_size: int = 256,
        codebook_dim: int = 8,
        commitment_weight: float = 0.25,
        quantizer_dropout: float = 0.0,
        kmeans_iterations: int = 20,
    ) -> None:
        check_num_codebooks(num_codebooks)
        check_integer("codebook_size", codebook_size, 1, LARGEST_CODEBOOK)
        check_integer("codebook_dim", codebook_dim, 1, channels)
        check_weight("commitment_weight", commitment_weight)
        check_integer("kmeans_iterations", kmeans_iterations, 0)
        module = ResidualVectorQuantize(
            input_dim=channels,
            n_codebooks=num_codebooks,
            codebook_size=codebook_size,
            codebook_dim=codebook_dim,
        )
        super().__init__(channels, module, quantizer_dropout)
        self.commitment_weight = commitment_weight
        self.kmeans_iterations = kmeans_iterations

    @property
    def device_only(self) -> tuple[str, ...]:
        """The way into the codebooks; the way out gives what is left over."""
        indices = range(len(self.module.quantizers))
        return tuple(f"module.quantizers.{i}.in_proj" for i in indices)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook: (V,) * K."""
        return (self.module.codebook_size,) * self.module.n_codebooks

    def learnt_frames(self, frames: Tensor, num_codebooks: int) -> LearntFrames:
        """Run the module in training mode on frames (frame, channel)."""
        with first_stages(self.module, "quantizers", num_codebooks):
            quantized, codes, _, commitment, codebook = self.module(
                frames.T.unsqueeze(0)
            )
        # The module adds up its codebooks' means.
        losses = {
            "codebook": codebook / num_codebooks,
            "commitment": self.commitment_weight * commitment / num_codebooks,
        }
        return LearntFrames(quantized[0].T, codes[0].T, losses)

    @torch.no_grad()
    def encode_frames(self, frames: Tensor, num_codebooks: int) -> Tensor:
        """The first codes, int64, (frame, num_codebooks), of every frame."""
        residual = frames.double()
        codes = []
        for stage in self.module.quantizers[:num_codebooks]:
            found = nearest_entries(
                directions(_precise(stage.in_proj, residual)),
                directions(stage.codebook.weight),
            )
            codes.append(found)
            residual = residual - _decoded(stage, found)
        return torch.stack(codes, dim=-1)

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
        parts = [
            _decoded(stage, stage_codes)
            for stage, stage_codes in zip(
                self.module.quantizers, codes.unbind(-1), strict=False
            )
        ]
        return sum(parts[1:], parts[0]).float()

    @torch.no_grad()
    def initialize(self, frames: Tensor) -> None:
        """Start from data; in distributed training every process calls this.

        Of what is left over for each codebook, its layers become the
        principal axes and the least-squares way back, its entries the means
        of clusters on the unit sphere.

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
        residual = initial_frames(frames)
        for stage in self.module.quantizers:
            axes = principal_axes(residual, stage.codebook_dim)
            bias = -axes.mean @ axes.vectors
            _set_convolution(stage.in_proj, axes.vectors.T, bias)
            latent = _precise(stage.in_proj, residual)
            codes = self._start_entries(stage.codebook.weight, latent)
            entries = stage.codebook.weight[codes].double()
            _set_convolution(stage.out_proj, *least_squares(entries, residual))
            residual = residual - _decoded(stage, codes)
        copy_module_from_first_process(self)

    def _start_entries(self, entries: Tensor, latent: Tensor) -> Tensor:
        """Make entries (V, D) the means of clusters; codes of latent."""
        centres = spherical_kmeans(latent, len(entries), self.kmeans_iterations)
        codes = nearest_entries(directions(latent), centres)
        lengths = (latent * centres[codes]).sum(1)
        counts = torch.bincount(codes, minlength=len(entries))
        sums = lengths.new_zeros(len(entries)).index_add_(0, codes, lengths)
        means = sums / counts.clamp(min=1)
        scales = torch.where(
            means > 0, means, lengths.mean().clamp(min=SHORTEST_ENTRY)
        )
        entries.copy_(centres * scales.unsqueeze(1))
        return codes


def _precise(convolution: torch.nn.Conv1d, values: Tensor) -> Tensor:
    """Apply a convolution of width 1 to (..., channel), float64."""
    return linear(
        values.double(),
        convolution.weight.squeeze(-1).double(),
        convolution.bias.double(),
    )


def _decoded(stage: torch.nn.Module, codes: Tensor) -> Tensor:
    """What a stage of DAC adds to the features, float64."""
    return _precise(stage.out_proj, embedding(codes, stage.codebook.weight))


def _set_convolution(
    convolution: torch.nn.Conv1d, weight: Tensor, bias: Tensor
) -> None:
    """Set a weight-normalized convolution of width 1."""
    lengths = weight.norm(dim=1)
    # A row of zeros has no direction: any will do at length zero.
    turned = torch.where(lengths.unsqueeze(1) > 0, weight, 1.0)
    parts = convolution.parametrizations.weight
    parts.original0.copy_(lengths.view_as(parts.original0))
    parts.original1.copy_(turned.view_as(parts.original1))
    convolution.bias.copy_(bias)
