"""The continuous model as the teacher of its own quantizer."""

import copy

import torch
from torch import Tensor

from speechbrain_acom.splits import CutFrames, Split


class Teacher:
    """The continuous model as it is now, frozen.

    It reads the same features as the split that is tuned, nothing in it is
    quantized, and it gives the output of the last layer before the head. The
    whole model is copied, not only the part after the cut: targets then stay
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
    >>> target = Teacher(split)(torch.randn(2, 100, 40), torch.ones(2))
    >>> target.values.shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, split: Split) -> None:
        # In one copy, since the halves may share modules.
        halves = torch.nn.ModuleList([split.device_half, split.cloud_half])
        self.halves = copy.deepcopy(halves).requires_grad_(False).eval()

    @torch.no_grad()
    def __call__(self, features: Tensor, lengths: Tensor) -> CutFrames:
        """Targets of features.

        Arguments
        ---------
        features : Tensor
            Shape (batch, time, channel), normalised filter banks.
        lengths : Tensor
            Relative lengths in [0, 1], shape (batch,).

        Returns
        -------
        CutFrames
            What the cloud half's ``hidden`` gives, without a gradient.
        """
        device_half, cloud_half = self.halves
        cut = device_half(features, lengths)
        return cloud_half.hidden(cut.values, cut.lengths)
