"""Adapter of ResidualSimVQ of vector-quantize-pytorch."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from speechbrain_acom.quantizers.adapters.base import first_stages
from speechbrain_acom.quantizers.adapters.library import (
    vector_quantize_pytorch,
)
from speechbrain_acom.quantizers.adapters.projected import (
    LearntValues,
    ProjectedQuantizer,
)
from speechbrain_acom.quantizers.kmeans import kmeans
from speechbrain_acom.quantizers.nearest import nearest_entries
from speechbrain_acom.quantizers.residual import GRADIENTS
from speechbrain_acom.quantizers.settings import (
    LARGEST_CODEBOOK,
    check_choice,
    check_integer,
    check_num_codebooks,
    check_weight,
)


class AdaptedSimVQ(ProjectedQuantizer):
    """``ResidualSimVQ`` of vector-quantize-pytorch; ``SimVQ`` at K = 1.

    A codebook is a linear map, which is learned, of entries that never
    change, so that all of them move together (Zhu et al., "Addressing
    Representation Collapse in Vector Quantized Models with One Linear Layer",
    2024). Linear layers of this package project to D dimensions and back.
    :meth:`initialize` makes the fixed entries k-means centres and the map the
    identity.

    Losses: "commitment", the squared distance that pulls entries to what the
    codebook read plus ``commitment_weight`` times that which pulls the other
    way. The gradient of K codebooks reaches the features K times.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    num_codebooks : int
        K, from 1 to 65536.
    codebook_size : int
        V, from 1 to 65536.
    codebook_dim : int
        D, from 1 to ``channels``.
    gradient : str
        "straight_through" or "rotation".
    commitment_weight : float
        Pull of the features to the entries relative to the other pull.
    quantizer_dropout : float
        See :class:`~speechbrain_acom.quantizers.adapters.AdaptedQuantizer`.
    kmeans_iterations : int
        Passes of the k-means start of each codebook.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.
    ImportError
        If the library is not installed.

    Example
    -------
    >>> quantizer = AdaptedSimVQ(channels=32, num_codebooks=2)
    >>> result = quantizer(torch.randn(2, 5, 32), torch.tensor([1.0, 0.4]))
    >>> result.codes.shape, sorted(result.losses)
    (torch.Size([2, 5, 2]), ['commitment'])
    """

    loss_names = ("commitment",)

    def __init__(
        self,
        channels: int,
        num_codebooks: int = 1,
        codebook_size: int = 256,
        codebook_dim: int = 16,
        gradient: str = "rotation",
        commitment_weight: float = 0.25,
        quantizer_dropout: float = 0.0,
        kmeans_iterations: int = 20,
    ) -> None:
        check_num_codebooks(num_codebooks)
        check_integer("codebook_size", codebook_size, 1, LARGEST_CODEBOOK)
        check_integer("codebook_dim", codebook_dim, 1, channels)
        check_choice("gradient", gradient, GRADIENTS)
        check_weight("commitment_weight", commitment_weight)
        check_integer("kmeans_iterations", kmeans_iterations, 0)
        module = vector_quantize_pytorch().ResidualSimVQ(
            dim=codebook_dim,
            num_quantizers=num_codebooks,
            codebook_size=codebook_size,
            rotation_trick=gradient == "rotation",
            input_to_quantize_commit_loss_weight=commitment_weight,
        )
        super().__init__(channels, codebook_dim, module, quantizer_dropout)
        self.kmeans_iterations = kmeans_iterations

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook: (V,) * K."""
        return (self.module.codebook_size,) * self.module.num_quantizers

    def codebooks(self) -> list[Tensor]:
        """The maps of the fixed entries, float64."""
        return [
            linear(
                layer.frozen_codebook.double(),
                layer.code_transform.weight.double(),
            )
            for layer in self.module.layers
        ]

    def start_module(self, values: Tensor) -> None:
        """Start every codebook from k-means centres of what it reads."""
        residual = values
        for layer in self.module.layers:
            centres = kmeans(
                residual, layer.codebook_size, self.kmeans_iterations
            )
            layer.frozen_codebook.copy_(centres)
            torch.nn.init.eye_(layer.code_transform.weight)
            residual = residual - centres[nearest_entries(residual, centres)]

    def learnt_values(self, values: Tensor, num_codebooks: int) -> LearntValues:
        """Run the module in training mode on values (frame, D)."""
        with first_stages(self.module, "layers", num_codebooks):
            quantized, codes, losses = self.module(values.unsqueeze(0))
        return LearntValues(
            quantized[0], codes[0], {"commitment": losses.mean()}
        )
