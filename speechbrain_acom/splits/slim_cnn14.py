"""A CNN14 whose six blocks are as narrow as one likes."""

import torch
from speechbrain.lobes.models.Cnn14 import Cnn14, ConvBlock, init_bn

from speechbrain_acom.errors import ConfigurationError

WIDTHS = (64, 128, 256, 512, 1024)


class SlimCnn14(Cnn14):
    """SpeechBrain's CNN14 with its widths multiplied by a factor.

    The same six blocks under the same names. At ``width=1`` parameters and
    output are those of ``Cnn14`` (75.6 million at 2048 dimensions); a quarter
    of the width takes about a sixteenth of the multiply-adds.

    Source: Kong et al., "PANNs", arXiv 1912.10211, Table I (CNN14).

    Arguments
    ---------
    mel_bins : int
        Number of mel bands of the features.
    emb_dim : int
        Size of the embedding; the factor leaves it alone.
    width : float
        Factor on the 64, 128, 256, 512 and 1024 maps of blocks 1 to 5.
    norm_type : str
        "bn", "in" or "ln".

    Raises
    ------
    ConfigurationError
        If ``width`` leaves a block without maps, or ``norm_type`` is unknown.

    Example
    -------
    >>> model = SlimCnn14(mel_bins=80, emb_dim=32, width=0.0625)
    >>> model(torch.rand(3, 100, 80)).shape
    torch.Size([3, 1, 32])
    """

    def __init__(
        self,
        mel_bins: int,
        emb_dim: int,
        width: float = 0.125,
        norm_type: str = "bn",
    ) -> None:
        # Cnn14's own constructor would first make all 75 million weights.
        torch.nn.Module.__init__(self)
        self.norm_type = norm_type
        self.return_reps = False
        self.l2i = False
        self.norm0 = _input_norm(norm_type, mel_bins)
        init_bn(self.norm0)
        sizes = (1, *_block_widths(width), emb_dim)
        for number in range(1, 7):
            block = ConvBlock(sizes[number - 1], sizes[number], norm_type)
            self.add_module(f"conv_block{number}", block)


def _block_widths(width: float) -> list[int]:
    """Maps of blocks 1 to 5."""
    widths = [round(maps * width) for maps in WIDTHS]
    if widths[0] < 1:
        raise ConfigurationError(
            "width", width, f"at least {1 / WIDTHS[0]}, for one map in block 1"
        )
    return widths


def _input_norm(norm_type: str, mel_bins: int) -> torch.nn.Module:
    """The norm of the features, one weight a mel band."""
    if norm_type == "bn":
        return torch.nn.BatchNorm2d(mel_bins)
    if norm_type == "in":
        return torch.nn.InstanceNorm2d(
            mel_bins, affine=True, track_running_stats=True
        )
    if norm_type == "ln":
        return torch.nn.GroupNorm(1, mel_bins)
    raise ConfigurationError("norm_type", norm_type, "one of bn, in, ln")
