"""Adapter of ResidualVQ of vector-quantize-pytorch."""

from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.adapters.base import first_stages
from speechbrain_acom.quantizers.adapters.library import (
    vector_quantize_pytorch,
)
from speechbrain_acom.quantizers.adapters.projected import (
    LearntValues,
    ProjectedQuantizer,
)
from speechbrain_acom.quantizers.adapters.sphere import (
    directions,
    spherical_kmeans,
)
from speechbrain_acom.quantizers.codebook import DISTANCES, UPDATES
from speechbrain_acom.quantizers.kmeans import kmeans
from speechbrain_acom.quantizers.nearest import nearest_entries
from speechbrain_acom.quantizers.residual import GRADIENTS
from speechbrain_acom.quantizers.settings import (
    LARGEST_CODEBOOK,
    check_choice,
    check_integer,
    check_num_codebooks,
    check_share,
    check_weight,
)


class AdaptedResidualVQ(ProjectedQuantizer):
    """``ResidualVQ`` of vector-quantize-pytorch; ``VectorQuantize`` at K = 1.

    Linear layers of this package project to D dimensions and back. Losses:
    "commitment", the squared distance of what each codebook read to its
    entries; with ``codebook_update="gradient"`` it moves both of them.

    With ``codebook_update="ema"`` the library averages counts of frames, so
    that codebooks follow large batches more than small ones, and the
    replacement of entries depends on the size of the batch. The processes of
    a distributed training exchange these counts if they were joined before
    the quantizer was made, as SpeechBrain does it. The gradient of K
    codebooks reaches the features K times.

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
    distance : str
        "euclidean", or "cosine" if ``codebook_update`` is "ema": then all
        entries have length one.
    codebook_update : str
        "gradient" or "ema".
    gradient : str
        "straight_through" or "rotation".
    commitment_weight : float
        Weight of the loss.
    quantizer_dropout : float
        See :class:`~speechbrain_acom.quantizers.adapters.AdaptedQuantizer`.
    decay : float
        Weight of the past in the library's moving averages, in [0, 1).
    dead_count : float
        An entry is replaced by a random frame of the batch when its average
        number of frames in a batch falls below this. 0 replaces none.
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
    >>> import torch
    >>> quantizer = AdaptedResidualVQ(channels=32, num_codebooks=2)
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
        distance: str = "euclidean",
        codebook_update: str = "gradient",
        gradient: str = "straight_through",
        commitment_weight: float = 1.0,
        quantizer_dropout: float = 0.0,
        decay: float = 0.8,
        dead_count: float = 0.0,
        kmeans_iterations: int = 20,
    ) -> None:
        check_num_codebooks(num_codebooks)
        check_integer("codebook_size", codebook_size, 1, LARGEST_CODEBOOK)
        check_integer("codebook_dim", codebook_dim, 1, channels)
        check_choice("codebook_update", codebook_update, UPDATES)
        check_choice("distance", distance, DISTANCES)
        if distance == "cosine" and codebook_update == "gradient":
            raise ConfigurationError(
                "distance", distance, "euclidean, or codebook_update: ema"
            )
        check_choice("gradient", gradient, GRADIENTS)
        check_weight("commitment_weight", commitment_weight)
        check_share("decay", decay)
        check_weight("dead_count", dead_count)
        check_integer("kmeans_iterations", kmeans_iterations, 0)
        module = vector_quantize_pytorch().ResidualVQ(
            dim=codebook_dim,
            num_quantizers=num_codebooks,
            codebook_size=codebook_size,
            use_cosine_sim=distance == "cosine",
            ema_update=codebook_update == "ema",
            learnable_codebook=codebook_update == "gradient",
            rotation_trick=gradient == "rotation",
            commitment_weight=commitment_weight,
            decay=decay,
            threshold_ema_dead_code=dead_count,
        )
        super().__init__(channels, codebook_dim, module, quantizer_dropout)
        self.on_sphere = distance == "cosine"
        self.kmeans_iterations = kmeans_iterations

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook: (V,) * K."""
        return (self.module.codebook_size,) * self.module.num_quantizers

    def codebooks(self) -> list[Tensor]:
        """The library's codebooks."""
        return [layer.codebook for layer in self.module.layers]

    def stage_codes(
        self, stage: int, residual: Tensor, entries: Tensor
    ) -> Tensor:
        """Codes of the entries that are nearest, by the distance chosen."""
        if self.on_sphere:
            residual = directions(residual)
        return nearest_entries(residual, entries)

    def start_module(self, values: Tensor) -> None:
        """Start every codebook from k-means centres of what it reads."""
        residual = values
        for stage, layer in enumerate(self.module.layers):
            centres = self._centres(residual)
            layer.codebook.copy_(centres)
            # As if every entry had stood for one frame so far.
            layer._codebook.embed_avg.copy_(layer._codebook.embed)
            layer._codebook.cluster_size.fill_(1.0)
            codes = self.stage_codes(stage, residual, centres)
            residual = residual - centres[codes]

    def learnt_values(self, values: Tensor, num_codebooks: int) -> LearntValues:
        """Run the module in training mode on values (frame, D)."""
        with first_stages(self.module, "layers", num_codebooks):
            quantized, codes, losses = self.module(values.unsqueeze(0))
        return LearntValues(
            quantized[0], codes[0], {"commitment": losses.mean()}
        )

    def _centres(self, residual: Tensor) -> Tensor:
        """k-means centres, on the unit sphere if that is where entries are."""
        start = spherical_kmeans if self.on_sphere else kmeans
        size = self.module.codebook_size
        return start(residual, size, self.kmeans_iterations)
