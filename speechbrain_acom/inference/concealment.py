"""Answering although frames of codes got lost on the way.

A transport that numbers its packets knows which frames of codes are missing.
Something has to stand in their place, since the cloud half wants as many
frames as there were. Where runs of like frames are merged, a lost frame of
codes takes its run length with it, and nobody knows what is missing where.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.inference.tasks import AcomASR, AcomClassifier, Label


class Concealment(ABC):
    """Puts something in the place of lost frames of codes."""

    def features(
        self,
        bottleneck: Bottleneck,
        codes: Tensor,
        lost: Tensor,
        num_frames: int,
    ) -> Tensor:
        """What the cloud half reads of one utterance.

        Arguments
        ---------
        bottleneck : Bottleneck
            That of the cloud half.
        codes : Tensor
            int64, shape (code frame, K), or fewer columns where only the
            first codebooks were sent; anything where a frame was lost.
        lost : Tensor
            bool, shape (code frame,): which frames of codes did not arrive.
        num_frames : int
            Frames at the cut, before merging.

        Returns
        -------
        Tensor
            Shape (1, num_frames, channel). Without a loss, what the
            bottleneck decodes; otherwise the same at frames that arrived.

        Raises
        ------
        ConfigurationError
            If runs of like frames are merged, or ``lost`` is not one bool a
            frame of codes.
        """
        if bottleneck.framing.run_lengths:
            raise ConfigurationError(
                "merge_mode",
                "similar",
                "average, projection or causal: a lost run has lost its length, too",
            )
        if lost.dtype != torch.bool or lost.shape != codes.shape[:1]:
            raise ConfigurationError(
                "lost",
                f"{lost.dtype} of shape {tuple(lost.shape)}",
                f"torch.bool of shape {tuple(codes.shape[:1])}",
            )
        filled = codes.masked_fill(lost.unsqueeze(-1), 0)
        if not lost.any():
            return bottleneck.decode(filled.unsqueeze(0), num_frames)
        return self._concealed(bottleneck, filled, lost, num_frames)

    @abstractmethod
    def _concealed(
        self,
        bottleneck: Bottleneck,
        codes: Tensor,
        lost: Tensor,
        num_frames: int,
    ) -> Tensor:
        """The same with a loss; lost codes are 0."""


class VectorConcealment(Concealment):
    """The same features wherever a frame got lost.

    Arguments
    ---------
    vector : Tensor
        Shape (channel,): zeros, or what :func:`mean_vector` gives.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain_acom.quantizers import ResidualVectorQuantizer
    >>> quantizer = partial(ResidualVectorQuantizer, codebook_dim=None)
    >>> bottleneck = Bottleneck(2, quantizer).eval()
    >>> codes = torch.zeros(3, 1, dtype=torch.int64)
    >>> lost = torch.tensor([False, True, False])
    >>> concealment = VectorConcealment(torch.tensor([5.0, 7.0]))
    >>> concealment.features(bottleneck, codes, lost, 3)[0, 1].tolist()
    [5.0, 7.0]
    """

    def __init__(self, vector: Tensor) -> None:
        self.vector = vector

    def _concealed(
        self,
        bottleneck: Bottleneck,
        codes: Tensor,
        lost: Tensor,
        num_frames: int,
    ) -> Tensor:
        features = bottleneck.decode(codes.unsqueeze(0), num_frames)
        frames = lost.repeat_interleave(bottleneck.framing.merge)[:num_frames]
        vector = self.vector.to(features)
        return torch.where(frames.unsqueeze(-1), vector, features)


class RepeatConcealment(Concealment):
    """The last codes that arrived, once more.

    Before the first that arrived, those; if none did, features are zeros.
    """

    def _concealed(
        self,
        bottleneck: Bottleneck,
        codes: Tensor,
        lost: Tensor,
        num_frames: int,
    ) -> Tensor:
        if lost.all():
            features = bottleneck.decode(codes.unsqueeze(0), num_frames)
            return torch.zeros_like(features)
        places = torch.arange(len(lost), device=lost.device)
        last = torch.where(lost, -1, places).cummax(0).values
        first = int(places[~lost][0])
        return bottleneck.decode(
            codes[last.clamp(min=first)].unsqueeze(0), num_frames
        )


@torch.no_grad()
def mean_vector(
    bottleneck: Bottleneck, utterances: Iterable[tuple[Tensor, int]]
) -> Tensor:
    """Mean of the features at the cut, as the cloud half reads them.

    Arguments
    ---------
    bottleneck : Bottleneck
        That of the cloud half.
    utterances : Iterable[tuple[Tensor, int]]
        Codes of each training utterance, int64, shape (code frame, K), and
        its frames at the cut.

    Returns
    -------
    Tensor
        float32, shape (channel,).

    Raises
    ------
    DataError
        If there is not a single frame.
    """
    total, frames = torch.zeros((), dtype=torch.float64), 0
    for codes, num_frames in utterances:
        features = bottleneck.decode(codes.unsqueeze(0), num_frames)[0]
        total = total + features.double().sum(0).cpu()
        frames += num_frames
    if frames == 0:
        raise DataError(
            "mean vector: found 0 frames, expected at least 1: give the codes "
            "of the training set"
        )
    return (total / frames).float()


@torch.no_grad()
def concealed_answer(
    interface: AcomASR | AcomClassifier,
    codes: Tensor,
    lost: Tensor,
    num_frames: int,
    concealment: Concealment,
) -> str | Label:
    """The cloud half's answer to an utterance with frames missing.

    Arguments
    ---------
    interface : AcomASR | AcomClassifier
        Holds the cloud half, at least.
    codes, lost, num_frames
        As for :meth:`Concealment.features`.
    concealment : Concealment
        What stands in the place of lost frames.

    Returns
    -------
    str | Label
        As ``interface.decode`` gives it. Without a loss, the same.

    Raises
    ------
    ConfigurationError
        As for :meth:`Concealment.features`, or if only the device half is
        loaded.
    BitstreamError
        If the cloud half cannot be run on so many frames.
    """
    interface.need_half("cloud")
    values = concealment.features(
        interface.bottleneck,
        codes.to(interface.device),
        lost.to(interface.device),
        num_frames,
    )
    return interface.answer(interface.cloud_output(values))
