"""Merging of as many neighbouring frames as are alike."""

from collections.abc import Iterable

import torch
from torch import Tensor

from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.errors import AcomError, ConfigurationError
from speechbrain_acom.lengths import frame_counts, relative_lengths
from speechbrain_acom.merges.contract import FrameMerge, MergedFrames
from speechbrain_acom.merges.partition import OptimalPartition

# Runs this many times the mean, unless the YAML says otherwise.
LONGEST_RUN_FACTOR = 4
# What a table of the coder can hold.
LONGEST_RUN = 1 << 16


class SimilarMerge(FrameMerge):
    """Merges runs of like frames: few codes for silence, many for transients.

    A run becomes its mean and is expanded by repetition. The lengths of runs
    are codes like those of a codebook: one column, the length less one. The
    runs are those of ``OptimalPartition``, whose penalty :meth:`calibrate`
    chooses so that the mean run has r frames: there are as many frames of
    codes as with merging by equal groups, and the run lengths come on top.

    The gradient goes through the means, not through the choice of runs. The
    statistic "mean_run" is the mean length of the runs of a batch.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    factor : int
        r, the mean number of frames that become one, 2 or more.
    longest_run : int | None
        R, the frames of a run at most, from r to 65536; None: 4 * r.

    Raises
    ------
    ConfigurationError
        If ``longest_run`` is out of its range.

    Example
    -------
    >>> merge = SimilarMerge(channels=1, factor=2)
    >>> frames = torch.tensor([[[1.0], [1.0], [1.0], [5.0], [7.0]]])
    >>> merged = merge.merge(frames)
    >>> merged.values.flatten().tolist(), merged.codes.flatten().tolist()
    ([1.0, 5.0, 7.0], [2, 0, 0])
    >>> merge.expand(merged.values, merged.codes, 5).flatten().tolist()
    [1.0, 1.0, 1.0, 5.0, 7.0]
    """

    # The cloud half is told the runs.
    device_only = ("partition",)

    def __init__(
        self, channels: int, factor: int, longest_run: int | None = None
    ) -> None:
        super().__init__(channels, factor)
        if longest_run is None:
            longest_run = LONGEST_RUN_FACTOR * factor
        if not factor <= longest_run <= LONGEST_RUN:
            raise ConfigurationError(
                "longest_run", longest_run, f"{factor} (merge) to {LONGEST_RUN}"
            )
        self.longest_run = longest_run
        self.partition = OptimalPartition(longest_run)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Of the one column, the run lengths: (R,)."""
        return (self.longest_run,)

    @property
    def framing(self) -> Framing:
        """Every frame of codes says how many frames it covers."""
        return Framing(run_lengths=True)

    def merge(
        self, values: Tensor, lengths: Tensor | None = None
    ) -> MergedFrames:
        """Merge runs of like frames; see the contract."""
        counts = frame_counts(lengths, values)
        runs = self.partition(values, counts)
        real = runs > 0
        merged_counts = real.sum(1)
        mean_run = counts.sum() / merged_counts.sum().clamp(min=1)
        return MergedFrames(
            _means(values, runs),
            relative_lengths(merged_counts, runs.shape[1]),
            (runs - 1).clamp(min=0).unsqueeze(-1),
            {"mean_run": mean_run},
        )

    def expand(self, values: Tensor, codes: Tensor, num_frames: int) -> Tensor:
        """Repeat every merged frame; frames after the last run are padding."""
        batch, code_frames, channels = values.shape
        if code_frames == 0 and num_frames > 0:
            raise AcomError(
                f"frames to expand: found 0, expected 1 to {num_frames}"
            )
        ends = (codes[..., 0] + 1).cumsum(1)
        steps = torch.arange(num_frames, device=values.device)
        steps = steps.expand(batch, -1).contiguous()
        index = torch.searchsorted(ends, steps, right=True)
        index = index.clamp(max=max(code_frames - 1, 0)).unsqueeze(-1)
        return values.gather(1, index.expand(-1, -1, channels))

    def calibrate(
        self, batches: Iterable[tuple[Tensor, Tensor | None]]
    ) -> None:
        """Make the mean run r frames long; see the contract."""
        counted = (
            (values, frame_counts(lengths, values))
            for values, lengths in batches
        )
        self.partition.calibrate(counted, mean_run=self.factor)

    def multiply_adds(self, num_frames: int) -> int:
        """Squared distances of each frame to the R - 1 before it."""
        return num_frames * (self.longest_run - 1) * self.channels


def _means(values: Tensor, runs: Tensor) -> Tensor:
    """Mean of the frames of every run, float32, (batch, run, channel)."""
    starts = runs.cumsum(1) - runs
    batch, _, channels = values.shape
    sums = values.new_zeros((*runs.shape, channels), dtype=torch.float64)
    # One after another: sums over time would round by where a run stands.
    for offset in range(int(runs.max()) if runs.numel() else 0):
        inside = (offset < runs).unsqueeze(-1)
        index = torch.where(offset < runs, starts + offset, 0).unsqueeze(-1)
        part = values.gather(1, index.expand(-1, -1, channels)).double()
        sums = sums + part.masked_fill(~inside, 0.0)
    return (sums / runs.clamp(min=1).unsqueeze(-1)).float()
