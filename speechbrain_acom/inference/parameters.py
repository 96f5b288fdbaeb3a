"""What an exported model's ``pretrainer`` loads beside SpeechBrain's own."""

from pathlib import Path

import torch
from speechbrain.utils.checkpoints import (
    mark_as_transfer,
    register_checkpoint_hooks,
)

from speechbrain_acom.entropy.priors import Prior, load_prior
from speechbrain_acom.splits import Split


@register_checkpoint_hooks
class HalfWeights:
    """Loads the weights of one half into a split.

    Arguments
    ---------
    split : Split
        The split to load into.
    half : str
        "device" or "cloud".
    """

    def __init__(self, split: Split, half: str) -> None:
        self.split = split
        self.half = half

    @mark_as_transfer
    def load(self, path: str | Path) -> None:
        """Load a file of tensors that the export wrote.

        Arguments
        ---------
        path : str | Path
            The file.

        Raises
        ------
        ConfigurationError
            If a name in the file does not fit the half.
        """
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.split.load_half_state_dict(self.half, state)


@register_checkpoint_hooks
class PriorFile:
    """Loads the prior that both halves share.

    Attributes
    ----------
    prior : Prior | None
        The prior; None until it is loaded.
    """

    def __init__(self) -> None:
        self.prior: Prior | None = None

    @mark_as_transfer
    def load(self, path: str | Path) -> None:
        """Load a file that ``save_prior`` wrote.

        Arguments
        ---------
        path : str | Path
            The file.

        Raises
        ------
        BitstreamError
            If the file is damaged or of another version.
        """
        self.prior = load_prior(path)
