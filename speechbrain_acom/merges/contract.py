"""What every way of merging frames takes, gives and promises."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.merges.streams import MergeStream


@dataclass
class MergedFrames:
    """Frames after merging: what the quantizer reads.

    Arguments
    ---------
    values : Tensor
        Shape (batch, code frame, channel), zero where a frame is padding.
    lengths : Tensor
        Relative lengths in [0, 1], shape (batch,).
    codes : Tensor
        What the cloud half needs to expand besides values, int64, shape
        (batch, code frame, run column), 0 where a frame is padding.
    statistics : Mapping[str, Tensor]
        Detached scalars worth logging, by name.
    """

    values: Tensor
    lengths: Tensor
    codes: Tensor
    statistics: Mapping[str, Tensor] = field(default_factory=dict)


class FrameMerge(torch.nn.Module, ABC):
    """Merges neighbouring frames into one, and expands one into several.

    Padding takes no part, and the same utterance is merged alone as in any
    batch.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    factor : int
        r, the number of frames that become one, exactly or on average.
    """

    # Names of submodules that only one half needs.
    device_only: tuple[str, ...] = ()
    cloud_only: tuple[str, ...] = ()

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.channels = channels
        self.factor = factor

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries of each column of the codes; none where nothing is coded."""
        return ()

    @property
    @abstractmethod
    def framing(self) -> Framing:
        """How a reader of codes finds their end."""

    @abstractmethod
    def merge(
        self, values: Tensor, lengths: Tensor | None = None
    ) -> MergedFrames:
        """Merge the frames of a padded batch.

        Arguments
        ---------
        values : Tensor
            Shape (batch, frame, channel).
        lengths : Tensor | None
            Relative lengths in [0, 1], shape (batch,). None: no padding.

        Returns
        -------
        MergedFrames
            Merged frames, float32 unless nothing is merged.
        """

    @abstractmethod
    def expand(self, values: Tensor, codes: Tensor, num_frames: int) -> Tensor:
        """Turn merged frames back into as many frames as there were.

        Arguments
        ---------
        values : Tensor
            Shape (batch, code frame, channel).
        codes : Tensor
            As in :class:`MergedFrames`.
        num_frames : int
            Frames before merging.

        Returns
        -------
        Tensor
            Shape (batch, num_frames, channel).

        Raises
        ------
        AcomError
            If these merged frames do not give that many frames.
        """

    def calibrate(
        self, batches: Iterable[tuple[Tensor, Tensor | None]]
    ) -> None:
        """Adapt to data; called before training and after every epoch of it.

        Arguments
        ---------
        batches : Iterable[tuple[Tensor, Tensor | None]]
            Values and lengths as for :meth:`merge`; only as many batches are
            taken as are needed.
        """

    def stream(self) -> MergeStream:
        """Merge the frames of one utterance, as they come.

        Returns
        -------
        MergeStream
            It stands before the first frame.

        Raises
        ------
        ConfigurationError
            If the merge has to see the utterance as a whole.
        """
        raise ConfigurationError(
            "merge_mode",
            type(self).__name__,
            "average, projection or causal for a stream",
        )

    def multiply_adds(self, num_frames: int) -> int:
        """Those of :meth:`merge` that are no product of matrices."""
        return 0
