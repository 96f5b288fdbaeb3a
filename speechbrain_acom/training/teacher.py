"""The continuous model as the teacher of the quantized one."""

import copy
from dataclasses import dataclass

import torch
from speechbrain.utils.logger import get_logger
from torch import Tensor

from speechbrain_acom.splits import CutFrames, Split

logger = get_logger(__name__)


@dataclass
class Lesson:
    """What the continuous model says of a batch, without gradients.

    Arguments
    ---------
    output : Tensor
        What its head gives, as in the split's result.
    lengths : Tensor
        Relative lengths of the output, shape (batch,).
    hidden : CutFrames | None
        Output of the last layer before the head; None where the model has no
        such frames.
    """

    output: Tensor
    lengths: Tensor
    hidden: CutFrames | None


class Teacher:
    """The continuous model as it is now, frozen.

    It reads the same features as the split that is tuned, nothing in it is
    quantized, and it gives its answer and the output of the last layer before
    the head. The whole model is copied, not only the part after the cut: targets then stay
    the same however the layers before the cut are tuned.

    It is no module and stands in none: no checkpoint, optimizer or export
    holds it. Make it before a checkpoint is loaded, so that a training that
    is resumed has the teacher that it began with. A training step takes
    longer by one forward pass of the continuous model.

    Arguments
    ---------
    split : Split
        With the weights of the continuous model; copied.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain_acom.bottleneck import Bottleneck
    >>> from speechbrain_acom.quantizers import Bypass
    >>> from speechbrain_acom.splits import Cnn14Split, SlimCnn14
    >>> split = Cnn14Split(
    ...     embedding_model=SlimCnn14(mel_bins=40, emb_dim=8, width=0.0625),
    ...     classifier=torch.nn.Linear(8, 3),
    ...     split_layer=4,
    ...     bottleneck=partial(Bottleneck, quantizer=Bypass),
    ... )
    >>> lesson = Teacher(split)(torch.randn(2, 100, 40), torch.ones(2))
    >>> lesson.output.shape, lesson.hidden.values.shape
    (torch.Size([2, 1, 3]), torch.Size([2, 3, 8]))
    """

    def __init__(self, split: Split) -> None:
        # In one copy, since the halves may share modules.
        halves = torch.nn.ModuleList([split.device_half, split.cloud_half])
        self.halves = copy.deepcopy(halves).requires_grad_(False).eval()

    @torch.no_grad()
    def __call__(self, features: Tensor, lengths: Tensor) -> Lesson:
        """Answer to features.

        Arguments
        ---------
        features : Tensor
            Shape (batch, time, channel), normalised filter banks.
        lengths : Tensor
            Relative lengths in [0, 1], shape (batch,).

        Returns
        -------
        Lesson
            Answer and hidden features.
        """
        device_half, cloud_half = self.halves
        cut = device_half(features, lengths)
        if not cloud_half.hidden_channels:
            output = cloud_half(cut.values, cut.lengths)
            return Lesson(output, cut.lengths, None)
        output, hidden = cloud_half.with_hidden(cut.values, cut.lengths)
        return Lesson(output, cut.lengths, hidden)


def make_teacher(split: Split, pretrained_path: str) -> Teacher:
    """The continuous model, before a checkpoint replaces its weights.

    Arguments
    ---------
    split : Split
        As it was built, with the pretrained weights if there are any.
    pretrained_path : str
        Where these came from; empty, which is warned of: nowhere.

    Returns
    -------
    Teacher
        A copy.
    """
    if not pretrained_path:
        logger.warning(
            "pretrained_path: empty, so that the teacher is the untrained "
            "model; start from a continuous run instead"
        )
    return Teacher(split)
