"""Cutting a sequence of frames into runs of like ones."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from speechbrain_acom.errors import DataError
from speechbrain_acom.processes import copy_from_first_process

# Costs are whole numbers of this part of a penalty, so that their sums are
# exact and partitions of equal cost stay so, whatever the batch.
UNITS_PER_PENALTY = 1 << 30
# More than any path through 65536 frames costs, and far from overflow.
FORBIDDEN = 1 << 60

# Enough for a mean run within a few percent; a few minutes of audio.
CALIBRATION_FRAMES = 20_000
# The penalty is sought between the largest error and this part of it.
SMALLEST_SHARE = 2.0**-60
BISECTIONS = 20


class OptimalPartition(torch.nn.Module):
    """Finds the runs that cost least: squared error plus a penalty a run.

    The error of a run is the sum of the squared distances of its frames to
    their mean. All partitions of an utterance into runs of at most R frames
    compete, and dynamic programming over time finds the best (Jackson et al.,
    "An algorithm for optimal partitioning of data on an interval", 2005). Of
    partitions of equal cost the one whose last run is the shortest is taken,
    so that long runs come first.

    The penalty is a buffer; it is 1 until :meth:`calibrate` was called.

    Arguments
    ---------
    longest_run : int
        R, the frames of a run at most.

    Example
    -------
    >>> partition = OptimalPartition(longest_run=4)
    >>> frames = torch.tensor([[[0.0], [0.0], [0.0], [9.0], [9.1]]])
    >>> partition(frames, torch.tensor([5])).tolist()
    [[3, 2]]
    """

    def __init__(self, longest_run: int) -> None:
        super().__init__()
        self.longest_run = longest_run
        self.register_buffer("penalty", torch.ones((), dtype=torch.float64))

    @torch.no_grad()
    def forward(self, values: Tensor, counts: Tensor) -> Tensor:
        """Cut the frames of a padded batch into runs.

        Arguments
        ---------
        values : Tensor
            Shape (batch, frame, channel); what stands in padded frames does
            not matter.
        counts : Tensor
            Number of real frames, integers, shape (batch,).

        Returns
        -------
        Tensor
            Frames of every run, int64, shape (batch, run); 0 behind the last
            run of an utterance.
        """
        errors = run_errors(values, self.longest_run)
        runs = _best_runs(errors, counts, float(self.penalty))
        return torch.from_numpy(runs).to(values.device)

    @torch.no_grad()
    def calibrate(
        self, batches: Iterable[tuple[Tensor, Tensor]], mean_run: float
    ) -> None:
        """Choose the penalty that gives runs of a wanted mean length.

        In a distributed training every process must call this; all then have
        the penalty that the first one found.

        Arguments
        ---------
        batches : Iterable[tuple[Tensor, Tensor]]
            Values and counts as for :meth:`forward`; they are taken until
            there are enough frames.
        mean_run : float
            Frames per run, from 1 to R. Where frames are so alike, or
            utterances so short, that it cannot be had, the nearest is taken.

        Raises
        ------
        DataError
            If there is no frame.
        """
        data, frames = [], 0
        for values, counts in batches:
            # Errors do not depend on the penalty and are smaller than frames.
            errors = run_errors(values, self.longest_run)
            steps = torch.arange(values.shape[1], device=values.device)
            padding = steps >= counts.unsqueeze(1)
            errors = errors.masked_fill(padding.unsqueeze(2), 0.0)
            data.append((errors, counts))
            frames += int(counts.sum())
            if frames >= CALIBRATION_FRAMES:
                break
        if frames == 0:
            raise DataError(
                "frames to calibrate the merge with: found 0, expected at "
                "least 1; check that the training recordings can be read"
            )
        self.penalty.fill_(_penalty_for(data, frames / mean_run))
        copy_from_first_process(self.penalty)


def run_errors(values: Tensor, longest_run: int) -> Tensor:
    """Squared error of every run that could be.

    Arguments
    ---------
    values : Tensor
        Shape (batch, frame, channel).
    longest_run : int
        R, the frames of a run at most.

    Returns
    -------
    Tensor
        float64, shape (batch, frame, R'), where R' is R or the number of
        frames: at (b, t, n) the summed squared distance of the n + 1 frames
        that end with frame t to their mean; of no meaning where they would
        start before the first frame.

    Example
    -------
    >>> run_errors(torch.tensor([[[1.0], [3.0]]]), longest_run=2).tolist()
    [[[0.0, 0.0], [0.0, 2.0]]]
    """
    batch, frames, _ = values.shape
    values = values.double()
    # The error is the sum over all pairs of squared distances, divided by n:
    # unlike differences of sums of squares this is exactly 0 of equal frames.
    pairs = values.new_zeros((batch, frames))
    to_last = torch.zeros_like(pairs)
    longest_run = min(longest_run, frames)
    errors = values.new_zeros((batch, frames, longest_run))
    for gap in range(1, longest_run):
        apart = values[:, gap:] - values[:, :-gap]
        to_last[:, gap:] += apart.square().sum(2)
        pairs = torch.nn.functional.pad(pairs[:, :-1], (1, 0)) + to_last
        errors[:, :, gap] = pairs / (gap + 1)
    return errors


def _best_runs(errors: Tensor, counts: Tensor, penalty: float) -> np.ndarray:
    """Runs (batch, run) of least cost; see :class:`OptimalPartition`."""
    longest = errors.shape[2]
    # A run that costs more than its frames one by one is never the best:
    # clipping there changes nothing and keeps infinities and NaN out.
    most = float(longest + 1)
    shares = (
        (errors / penalty).nan_to_num(nan=most, posinf=most).clamp(max=most)
    )
    costs = ((1.0 + shares) * UNITS_PER_PENALTY).round().long().cpu().numpy()
    return _runs_back_from(_last_runs(costs), counts.cpu().numpy())


def _last_runs(costs: np.ndarray) -> np.ndarray:
    """Last run of the best partition of the first t frames.

    Arguments
    ---------
    costs : np.ndarray
        int64, shape (batch, frame, R), as in :func:`run_errors`.

    Returns
    -------
    np.ndarray
        int64, shape (batch, frame + 1); 0 of no frame.
    """
    batch, frames, longest = costs.shape
    # Cost of the first t frames at R + t; nothing starts before the first.
    best = np.full((batch, longest + frames + 1), FORBIDDEN, dtype=np.int64)
    best[:, longest] = 0
    last = np.zeros((batch, frames + 1), dtype=np.int64)
    for end in range(1, frames + 1):
        before = best[:, end : end + longest][:, ::-1]
        totals = before + costs[:, end - 1]
        last[:, end] = totals.argmin(axis=1) + 1
        best[:, longest + end] = totals.min(axis=1)
    return last


def _runs_back_from(last: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Runs (batch, run) of the partitions whose last runs are known."""
    utterances = np.arange(len(counts))
    ends, backwards = counts.copy(), []
    while ends.any():
        backwards.append(last[utterances, ends])
        ends -= backwards[-1]
    runs = np.zeros((len(counts), len(backwards)), dtype=np.int64)
    for utterance, found in enumerate(np.transpose(backwards)):
        found = found[found > 0]
        runs[utterance, : len(found)] = found[::-1]
    return runs


def _penalty_for(
    data: list[tuple[Tensor, Tensor]], wanted_runs: float
) -> float:
    """Smallest penalty that gives so many runs at most."""
    # From here on a longer run always pays.
    high = max(
        float(errors.nan_to_num(nan=0.0, posinf=0.0).max())
        for errors, _ in data
        if errors.numel()
    )
    if high == 0.0:
        return 1.0
    low = high * SMALLEST_SHARE
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        runs = sum(
            int((_best_runs(errors, counts, middle) > 0).sum())
            for errors, counts in data
        )
        if runs > wanted_runs:
            low = middle
        else:
            high = middle
    return high
