"""Several frames merged into one before the quantizer, and back after it."""

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.merges.causal import CausalMerge
from speechbrain_acom.merges.contract import FrameMerge, MergedFrames
from speechbrain_acom.merges.fixed import FixedMerge
from speechbrain_acom.merges.similar import SimilarMerge
from speechbrain_acom.merges.streams import MergeStream

__all__ = [
    "MODES",
    "CausalMerge",
    "FixedMerge",
    "FrameMerge",
    "MergeStream",
    "MergedFrames",
    "SimilarMerge",
    "frame_merge",
]

MODES = ("average", "projection", "causal", "similar")


def frame_merge(
    channels: int,
    factor: int,
    mode: str = "average",
    longest_run: int | None = None,
) -> FrameMerge:
    """The way of merging that a YAML asks for.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    factor : int
        Frames that become one; with 1 nothing is merged, whatever the mode.
    mode : str
        "average" (the mean of equal groups), "projection" (a learned one),
        "causal" (the mean of a frame and those before it) or "similar" (the
        mean of as many frames as are alike).
    longest_run : int | None
        For "similar" only, see :class:`SimilarMerge`.

    Returns
    -------
    FrameMerge
        The merge.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.

    Example
    -------
    >>> frame_merge(channels=8, factor=4, mode="similar").cardinalities
    (16,)
    """
    if not isinstance(factor, int) or factor < 1:
        raise ConfigurationError("merge", factor, "an integer >= 1")
    if mode not in MODES:
        raise ConfigurationError("merge_mode", mode, " or ".join(MODES))
    if mode != "similar" and longest_run is not None:
        raise ConfigurationError(
            "longest_run", longest_run, f"null with merge_mode: {mode}"
        )
    if mode == "similar" and factor > 1:
        return SimilarMerge(channels, factor, longest_run)
    if mode == "causal":
        return CausalMerge(channels, factor)
    return FixedMerge(channels, factor, learned=mode == "projection")
