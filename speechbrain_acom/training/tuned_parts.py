"""Which parts of a cut model a training may change."""

import torch

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.settings import check_choice
from speechbrain_acom.splits import Split

# What stays as it is, by what is tuned.
FROZEN = {
    "all": (),
    "lobe_and_cloud": ("device_half",),
    "lobe": ("device_half", "cloud_half", "text_decoder"),
}


def freeze(split: Split, tuned: str) -> list[torch.nn.Module]:
    """Freeze what is not to be tuned.

    Arguments
    ---------
    split : Split
        The model. No weight of a frozen part gets a gradient.
    tuned : str
        "all", "lobe_and_cloud" (the device half is frozen, so that what it
        gives never changes) or "lobe" (only what stands in the cut changes).

    Returns
    -------
    list[Module]
        The frozen parts. Whoever trains keeps them in evaluation mode, in
        which running statistics stay as they are, too, and nothing is
        dropped.

    Raises
    ------
    ConfigurationError
        If it is none of these, or nothing is left to be trained.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain_acom.bottleneck import Bottleneck
    >>> from speechbrain_acom.quantizers import ResidualVectorQuantizer
    >>> from speechbrain_acom.splits import Cnn14Split, SlimCnn14
    >>> split = Cnn14Split(
    ...     embedding_model=SlimCnn14(mel_bins=40, emb_dim=8, width=0.0625),
    ...     classifier=torch.nn.Linear(8, 3),
    ...     split_layer=4,
    ...     bottleneck=partial(Bottleneck, quantizer=ResidualVectorQuantizer),
    ... )
    >>> frozen = freeze(split, "lobe")
    >>> {
    ...     name.split(".")[0]
    ...     for name, weight in split.named_parameters()
    ...     if weight.requires_grad
    ... }
    {'bottleneck'}
    """
    check_choice("tuned", tuned, FROZEN)
    parts = [getattr(split, name, None) for name in FROZEN[tuned]]
    frozen = [part.requires_grad_(False) for part in parts if part is not None]
    # The halves may share modules; entries that follow a moving average are no
    # parameters, but the projections round them are.
    if not any(weight.requires_grad for weight in split.parameters()):
        raise ConfigurationError(
            "tuned", tuned, "all: nothing in the cut has a weight to train"
        )
    return frozen
