"""A Brain that leaves out what it cannot read."""

from typing import Any

import speechbrain as sb
import torch
from torch import Tensor

from speechbrain_acom.dataio import ReadableBatch, SkipRecord
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.processes import sum_over_processes


class ReadableBrain(sb.Brain):
    """Trains and evaluates on batches from which files may be missing.

    A step of which too few files are left is not taken; its loss is NaN, and
    no part of any mean. ``skipped`` records what was left out.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.core.Brain``.
    """

    # Utterances that a training step needs.
    SMALLEST_BATCH = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.skipped = SkipRecord()

    def fit_batch(self, batch: ReadableBatch) -> Tensor:
        """Fit one batch; files that cannot be read are left out."""
        too_few = self._is_empty(batch) or len(batch) < self.SMALLEST_BATCH
        # Processes exchange gradients at every step: all take it, or none.
        if sum_over_processes(torch.tensor(float(too_few))) > 0:
            return torch.tensor(torch.nan)
        return super().fit_batch(batch)

    def evaluate_batch(self, batch: ReadableBatch, stage: sb.Stage) -> Tensor:
        """Evaluate one batch; files that cannot be read are left out."""
        if self._is_empty(batch):
            return torch.tensor(torch.nan)
        return super().evaluate_batch(batch, stage)

    def check_batches(self, loader: Any) -> None:
        """Raise ConfigurationError unless a loader has batches large enough."""
        size = loader.batch_size
        if size and size < self.SMALLEST_BATCH:
            raise ConfigurationError(
                "batch_size", size, f"{self.SMALLEST_BATCH} or more"
            )
        if len(loader) == 0:
            raise ConfigurationError(
                "batch_size",
                size,
                f"at most the {len(loader.dataset)} training examples",
            )

    def _is_empty(self, batch: ReadableBatch) -> bool:
        self.skipped.add(batch)
        return len(batch) == 0
