"""Classification of sounds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.encoder import CategoricalEncoder
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.metrics.scores import Counted
from speechbrain_acom.splits import SplitResult
from speechbrain_acom.training.brain import AcomBrain


def check_labels(
    label_encoder: CategoricalEncoder,
    num_classes: int,
    datasets: Mapping[str, DynamicItemDataset],
) -> None:
    """Raise unless every clip's class has a place in the head's output.

    Arguments
    ---------
    label_encoder : CategoricalEncoder
        The classes that are known.
    num_classes : int
        Outputs of the classifier's head.
    datasets : Mapping[str, DynamicItemDataset]
        Data sets by name, whose column ``class_name`` is checked.

    Raises
    ------
    ConfigurationError
        If more classes are known than the head has outputs.
    DataError
        If a clip is of a class that is not known.

    Example
    -------
    >>> encoder = CategoricalEncoder()
    >>> encoder.update_from_iterable(["dog", "siren"])
    >>> check_labels(encoder, 1, {})
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: num_classes: found 1, expected 2 or more: dog, siren
    """
    known = label_encoder.lab2ind
    if len(known) > num_classes:
        raise ConfigurationError(
            "num_classes",
            num_classes,
            f"{len(known)} or more: {_listed(known)}",
        )
    for name, dataset in datasets.items():
        for key, clip in dataset.data.items():
            if clip["class_name"] not in known:
                raise DataError(
                    f"{name} data, {key}: found class {clip['class_name']}, "
                    f"expected one of {_listed(known)}"
                )
    # A head may have outputs to spare.
    label_encoder.ignore_len()


def _listed(labels: Mapping[str, int]) -> str:
    return ", ".join(map(str, labels))


class ClassificationBrain(AcomBrain):
    """Trains a cut classifier and reports its error rate.

    Beside what :class:`AcomBrain` needs, the hyperparameters need
    ``compute_cost``, called with scores (batch, 1, class) and labels
    (batch, 1), and for distillation ``score_scale``; a batch has
    ``label_encoded``.

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

    def log_probabilities(self, output: Tensor, lengths: Tensor) -> Tensor:
        """Those of the classes, one frame a clip whatever its length."""
        scores = self.hparams.score_scale * output.float()
        return scores.flatten(0, 1).log_softmax(dim=-1)

    def reset_metrics(self) -> None:
        """Forget the errors counted so far."""
        self.clips: list[str] = []
        self.wrong: list[bool] = []

    def update_metrics(self, result: SplitResult, batch: Any) -> None:
        """Count the clips of a batch whose best class is not theirs."""
        predicted = result.output.squeeze(1).argmax(dim=-1)
        labels = batch.label_encoded.data.squeeze(1)
        self.wrong += (predicted != labels).tolist()
        self.clips += batch.id

    def metric_name(self) -> str:
        """Share of clips that are given a wrong class."""
        return "error_percent"

    def metric_value(self) -> float:
        """Errors in percent of the clips of the stage."""
        return 100.0 * sum(self.wrong) / max(len(self.clips), 1)

    def counted(self) -> dict[str, Counted]:
        """Which clips of the stage are given their class."""
        right = 1.0 - np.array(self.wrong, float)
        return {"accuracy_percent": Counted(right, np.ones_like(right))}

    def counted_names(self) -> list[str]:
        """IDs of these clips."""
        return list(self.clips)

    def scores(self) -> dict[str, float]:
        """Accuracy in percent."""
        return {"accuracy_percent": 100.0 - self.metric_value()}
