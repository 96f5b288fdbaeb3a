"""What every quantizer that stands in a cut takes, gives and promises."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError


@dataclass
class QuantizerResult:
    """What a quantizer gives in training and evaluation.

    Arguments
    ---------
    features : Tensor
        Quantized features, shape (batch, time, channel). In training their
        gradient passes straight through to the input.
    codes : Tensor
        Indices, int64, shape (batch, time, K); 0 where a frame is padding.
    losses : Mapping[str, Tensor]
        Scalar losses by name; each is a mean over real frames, so that β
        means the same at any batch size.
    statistics : Mapping[str, Tensor]
        Detached scalars worth logging, by name.
    rate : Tensor | None
        Expected bits a frame, a scalar with a gradient; λ weighs it. None
        where the quantizer has none.
    """

    features: Tensor
    codes: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    rate: Tensor | None = None

    @property
    def loss(self) -> Tensor:
        """Sum of the losses, a scalar; it is what β weighs."""
        total = torch.zeros((), device=self.features.device)
        return sum(self.losses.values(), total)


class Quantizer(torch.nn.Module, ABC):
    """Turns features into codes and codes into features.

    Padding takes part in nothing: no loss, no running statistic, no usage
    count. The same utterance gives the same codes alone and in any batch.
    ``decode(encode(x))`` equals the features of ``forward(x)`` in evaluation
    mode, bit for bit, on real frames.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    """

    # Names of submodules that only one half needs. Whatever is not named here
    # is needed by both halves (the codebooks, usually).
    device_only: tuple[str, ...] = ()
    cloud_only: tuple[str, ...] = ()
    # Names of submodules that neither half needs, only training does.
    training_only: tuple[str, ...] = ()
    # How many of the channels, the last ones, it expects to be a second
    # encoder's; 0: it makes no difference between channels.
    semantic_channels: int = 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    @property
    @abstractmethod
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook, coarse to fine: (V_1, ..., V_K)."""

    @property
    def truncatable(self) -> bool:
        """Whether the first k < K codes of a frame can be decoded alone."""
        return False

    @property
    def lossless(self) -> bool:
        """Whether codes are only another spelling of the features.

        Then the model is the continuous one, and how evenly its "codebooks"
        are used says nothing.
        """
        return False

    @property
    def rated(self) -> bool:
        """Whether results have a rate that training can lower."""
        return False

    @property
    def taught(self) -> bool:
        """Whether training needs a teacher, see :meth:`learn_from`."""
        return False

    @abstractmethod
    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        num_codebooks: int | None = None,
    ) -> QuantizerResult:
        """Quantize a padded batch.

        Arguments
        ---------
        features : Tensor
            Shape (batch, time, channel).
        lengths : Tensor | None
            Relative lengths in [0, 1], shape (batch,). None: no padding.
        num_codebooks : int | None
            k, from 1 to K: use only the first k codebooks, where the
            quantizer is truncatable. None: all K in evaluation mode, as many
            as the quantizer wants to learn from in training mode.

        Returns
        -------
        QuantizerResult
            Features of the input's shape, codes (batch, time, k), losses.

        Raises
        ------
        ConfigurationError
            If the quantizer has no such k.
        """

    @abstractmethod
    def encode(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        num_codebooks: int | None = None,
    ) -> Tensor:
        """Codes of features as in :meth:`forward`, in either mode.

        Arguments
        ---------
        features : Tensor
            Shape (batch, time, channel).
        lengths : Tensor | None
            Relative lengths in [0, 1], shape (batch,). None: no padding.
        num_codebooks : int | None
            k, from 1 to K: only the first k codes of every frame, where the
            quantizer is truncatable. None: all K.

        Returns
        -------
        Tensor
            Codes, int64, shape (batch, time, k); 0 where a frame is padding.

        Raises
        ------
        ConfigurationError
            If the quantizer has no such k.
        """

    def stream(
        self, num_codebooks: int | None = None
    ) -> Callable[[Tensor], Tensor]:
        """Code the frames of one utterance as they come.

        Arguments
        ---------
        num_codebooks : int | None
            As for :meth:`encode`.

        Returns
        -------
        Callable[[Tensor], Tensor]
            Called with features (1, time, channel), piece after piece, it
            gives their codes (1, time, k): all in turn are those of the
            whole.

        Raises
        ------
        ConfigurationError
            If the quantizer has no such k.
        """
        count = self.checked_num_codebooks(num_codebooks)
        # Frames are coded one by one, unless a subclass says otherwise.
        return partial(self.encode, num_codebooks=count)

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Features of codes.

        Arguments
        ---------
        codes : Tensor
            Shape (batch, time, k), where k = K, or 1 <= k <= K where the
            quantizer is truncatable.

        Returns
        -------
        Tensor
            float32, shape (batch, time, channel).
        """

    def checked_num_codebooks(self, num_codebooks: int | None) -> int:
        """K, or the k that was asked for where there is one.

        Raises
        ------
        ConfigurationError
            If k is out of range, or the quantizer is not truncatable.
        """
        books = len(self.cardinalities)
        if num_codebooks is None or num_codebooks == books:
            return books
        if not self.truncatable:
            raise ConfigurationError(
                "num_codebooks",
                num_codebooks,
                f"{books}: {type(self).__name__} cannot be truncated",
            )
        integer = isinstance(num_codebooks, int)
        if not (integer and 1 <= num_codebooks <= books):
            raise ConfigurationError(
                "num_codebooks", num_codebooks, f"an integer from 1 to {books}"
            )
        return num_codebooks

    def learn_from(self, target_channels: int) -> None:
        """Get ready for a teacher; a split calls this where one is needed.

        Arguments
        ---------
        target_channels : int
            Size of the last axis of the teacher's features; 0: the split has
            no teacher.
        """

    def target_losses(
        self, features: Tensor, target: Tensor, lengths: Tensor | None
    ) -> Mapping[str, Tensor]:
        """Losses of decoded features against a teacher's, by name.

        Arguments
        ---------
        features : Tensor
            What the cloud half reads, shape (batch, frame, channel).
        target : Tensor
            The teacher's, shape (batch, frame, target channel).
        lengths : Tensor | None
            Relative lengths of both, shape (batch,). None: no padding.

        Returns
        -------
        Mapping[str, Tensor]
            Scalars, each a mean over real frames.
        """
        return {}

    def initialize(self, frames: Tensor) -> None:
        """Start from data; called once before training.

        Arguments
        ---------
        frames : Tensor
            Real frames of the training set, shape (frame, channel).
        """
