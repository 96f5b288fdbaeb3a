"""Losses that draw a quantized model to the continuous one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.quantizers.settings import check_weight
from speechbrain_acom.splits import CutFrames, SplitResult
from speechbrain_acom.splits.contract import CloudHalf
from speechbrain_acom.training.teacher import Lesson


@dataclass(frozen=True)
class Distillation:
    """What of the teacher's answers the model is to give too, and how much.

    Arguments
    ---------
    logits_weight : float
        Nats of task loss that one nat of divergence an answer is worth.
    features_weight : float
        Nats of task loss that losing the hidden features entirely is worth.

    Raises
    ------
    ConfigurationError
        If one of these is not a number from 0 on.
    """

    logits_weight: float = 0.0
    features_weight: float = 0.0

    def __post_init__(self) -> None:
        check_weight("distillation_weight", self.logits_weight)
        check_weight("distillation_features_weight", self.features_weight)

    @property
    def active(self) -> bool:
        """Whether a teacher is needed."""
        return self.logits_weight > 0 or self.features_weight > 0

    def check(self, cloud_half: CloudHalf) -> None:
        """Raise ConfigurationError if there are no features to compare."""
        if self.features_weight > 0 and not cloud_half.hidden_channels:
            raise ConfigurationError(
                "distillation_features_weight",
                self.features_weight,
                "0: this model's cloud half has no `hidden` features",
            )

    def losses(
        self,
        result: SplitResult,
        lesson: Lesson,
        log_probabilities: Callable[[Tensor, Tensor], Tensor],
    ) -> dict[str, Tensor]:
        """Losses that have a weight, without it.

        Arguments
        ---------
        result : SplitResult
            What the quantized model gave, with hidden features if they count.
        lesson : Lesson
            What the continuous model gave for the same batch.
        log_probabilities : Callable
            Output and its lengths to those of real frames, (frame, answer).

        Returns
        -------
        dict[str, Tensor]
            Scalars by name.
        """
        losses = {}
        if self.logits_weight > 0:
            losses["distillation_logits"] = divergence(
                log_probabilities(result.output, result.lengths),
                log_probabilities(lesson.output, lesson.lengths),
            )
        if self.features_weight > 0:
            losses["distillation_features"] = relative_difference(
                result.hidden, lesson.hidden
            )
        return losses

    def weighted(self, losses: Mapping[str, Tensor]) -> Tensor | float:
        """Sum of what :meth:`losses` gave, each times its weight."""
        weights = {
            "distillation_logits": self.logits_weight,
            "distillation_features": self.features_weight,
        }
        return sum(weights[name] * loss for name, loss in losses.items())


def divergence(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Kullback-Leibler divergence of targets to answers, in nats.

    Arguments
    ---------
    log_probabilities : Tensor
        The model's, shape (frame, answer).
    targets : Tensor
        The teacher's, log-probabilities of the same shape.

    Returns
    -------
    Tensor
        Mean over frames, a scalar; 0 of no frames.

    Example
    -------
    >>> sure, unsure = torch.tensor([[0.0, -1e9]]), torch.tensor([[0.5, 0.5]])
    >>> divergence(unsure.log(), sure)
    tensor(0.6931)
    """
    surplus = targets.exp() * (targets - log_probabilities)
    return surplus.sum() / max(len(targets), 1)


def relative_difference(hidden: CutFrames, targets: CutFrames) -> Tensor:
    """Squared error of features, relative to the energy of the targets.

    Arguments
    ---------
    hidden : CutFrames
        The model's, (batch, frame, channel).
    targets : CutFrames
        The teacher's, of the same shape.

    Returns
    -------
    Tensor
        Over real frames, a scalar: 0 for equal features, 1 for none at all.

    Example
    -------
    >>> ones = torch.ones(1, 4, 2)
    >>> targets = CutFrames(ones, torch.tensor([0.5]))
    >>> relative_difference(CutFrames(0.5 * ones, torch.tensor([0.5])), targets)
    tensor(0.2500)
    """
    mask = frame_mask(targets.lengths, targets.values)
    wanted = targets.values[mask].float()
    error = (hidden.values[mask].float() - wanted).square().sum()
    energy = wanted.square().sum()
    return error / torch.where(energy > 0, energy, 1.0)
