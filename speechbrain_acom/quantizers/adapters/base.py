"""What all adapters of other libraries' quantizers have in common."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from speechbrain_acom.processes import sum_over_processes
from speechbrain_acom.quantizers.distortion import relative_error
from speechbrain_acom.quantizers.dropout import used_num_codebooks
from speechbrain_acom.quantizers.frames import FrameQuantizer, QuantizedFrames
from speechbrain_acom.quantizers.gradients import straight_through
from speechbrain_acom.quantizers.settings import check_probability


@dataclass
class LearntFrames:
    """What a foreign module gave for a training batch.

    Arguments
    ---------
    features : Tensor
        Quantized frames, shape (frame, channel), with the module's gradient.
    codes : Tensor
        Indices, int64, shape (frame, k).
    losses : Mapping[str, Tensor]
        Scalars by name, those of ``loss_names``; means over frames and
        codebooks.
    """

    features: Tensor
    codes: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)


class AdaptedQuantizer(FrameQuantizer):
    """Another library's quantizer under the contract of this package.

    ``module`` is the foreign module. In training mode it sees real frames
    only, at least one of them, in single precision; features, gradient and
    losses are what it makes of them.

    In evaluation mode and in :meth:`encode` the search is done by the adapter
    in double precision, with the module's weights: single precision rounds
    differently for one utterance and for a batch of them, and a library's
    code would pass that on. So the codes of a frame are the same alone and in
    any batch, unless it lies within a rounding error of double precision
    (about 1e-15 of its size) of where the code changes; of equally near
    entries the first is taken. They are the codes that the library itself
    gives, but for frames that its single precision cannot tell apart.

    In a distributed training a batch of which some process has no real frame
    is quantized by all processes but teaches the module nothing: libraries
    exchange their statistics in the middle of ``forward`` and would wait for
    that process forever.

    Statistics: "distortion", squared error of the features relative to their
    energy. Losses belong to training, they are 0 in evaluation mode.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    module : torch.nn.Module
        The foreign module.
    quantizer_dropout : float
        Probability that a training step uses only the first k codebooks, k
        drawn evenly from 1 to K.

    Raises
    ------
    ConfigurationError
        If ``quantizer_dropout`` is not a probability.
    """

    # Names of the losses, the same in every batch.
    loss_names: tuple[str, ...] = ()

    def __init__(
        self, channels: int, module: torch.nn.Module, quantizer_dropout: float
    ) -> None:
        super().__init__(channels)
        check_probability("quantizer_dropout", quantizer_dropout)
        self.module = module
        self.quantizer_dropout = quantizer_dropout

    @abstractmethod
    def learnt_frames(self, frames: Tensor, num_codebooks: int) -> LearntFrames:
        """Run the module in training mode on frames (frame, channel).

        There is at least one frame in every process.
        """

    @property
    def truncatable(self) -> bool:
        """True: the first k codes decode to a coarser version."""
        return True

    def quantize_frames(
        self, frames: Tensor, num_codebooks: int | None
    ) -> QuantizedFrames:
        """Quantize frames (frame, channel); in training mode also adapt."""
        count = used_num_codebooks(self, num_codebooks)
        if self.training and _every_process_has(frames):
            learnt = self.learnt_frames(frames.float(), count)
        else:
            learnt = self._unlearnt_frames(frames, count)
        features = learnt.features
        if self.training:
            features = features + self._nothing_of_the_unused()
        statistics = {"distortion": relative_error(frames, features)}
        return QuantizedFrames(
            features, learnt.codes, learnt.losses, statistics
        )

    def _unlearnt_frames(self, frames: Tensor, count: int) -> LearntFrames:
        """Quantize frames (frame, channel) without the module's forward."""
        codes = self.encode_frames(frames, count)
        features = straight_through(frames, self.decode(codes))
        zeros = dict.fromkeys(self.loss_names, features.new_zeros(()))
        return LearntFrames(features, codes, zeros)

    def _nothing_of_the_unused(self) -> Tensor:
        """0 with a gradient of 0: a distributed training waits for all."""
        return 0.0 * sum(weights.sum() for weights in self.parameters())


@contextmanager
def first_stages(
    module: torch.nn.Module, name: str, number: int
) -> Iterator[None]:
    """Let a residual quantizer have only its first stages for a while.

    Arguments
    ---------
    module : torch.nn.Module
        The residual quantizer.
    name : str
        Name of the list of its stages.
    number : int
        Stages to keep.

    Example
    -------
    >>> module = torch.nn.Module()
    >>> module.layers = torch.nn.ModuleList([torch.nn.Identity()] * 3)
    >>> with first_stages(module, "layers", 2):
    ...     len(module.layers)
    2
    >>> len(module.layers)
    3
    """
    stages = getattr(module, name)
    setattr(module, name, stages[:number])
    try:
        yield
    finally:
        setattr(module, name, stages)


def _every_process_has(frames: Tensor) -> bool:
    """Whether no process of a distributed training has zero frames."""
    lacks = torch.tensor(float(len(frames) == 0), device=frames.device)
    return not sum_over_processes(lacks)
