"""Classification of sounds."""

from typing import Any

from torch import Tensor

from speechbrain_acom.splits import SplitResult
from speechbrain_acom.training.brain import AcomBrain


class ClassificationBrain(AcomBrain):
    """Trains a cut classifier and reports its error rate.

    Beside what :class:`AcomBrain` needs, the hyperparameters need
    ``compute_cost``, called with scores (batch, 1, class) and labels
    (batch, 1); a batch has ``label_encoded``.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.core.Brain``.
    """

    # Batch normalisation of one value a clip needs two clips.
    SMALLEST_BATCH = 2

    def task_loss(self, result: SplitResult, batch: Any) -> Tensor:
        """The classifier's own cost, mean over the batch."""
        return self.hparams.compute_cost(
            result.output.float(), batch.label_encoded.data
        )

    def reset_metrics(self) -> None:
        """Forget the errors counted so far."""
        self.errors, self.clips = 0, 0

    def update_metrics(self, result: SplitResult, batch: Any) -> None:
        """Count the clips of a batch whose best class is not theirs."""
        predicted = result.output.squeeze(1).argmax(dim=-1)
        labels = batch.label_encoded.data.squeeze(1)
        self.errors += int((predicted != labels).sum())
        self.clips += len(labels)

    def metric_name(self) -> str:
        """Share of clips that are given a wrong class."""
        return "error_percent"

    def metric_value(self) -> float:
        """Errors in percent of the clips of the stage."""
        return 100.0 * self.errors / max(self.clips, 1)

    def scores(self) -> dict[str, float]:
        """Accuracy in percent."""
        return {"accuracy_percent": 100.0 - self.metric_value()}
