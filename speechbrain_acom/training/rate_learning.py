"""The rate model's own steps: longer, clipped apart, none once it is frozen.

SpeechBrain clips gradients by the norm of all of them together. The rate
model looks on, even where λ is 0, and must not shorten the steps of what it
looks at: with λ = 0 a training is then the paper's, bit for bit.
"""

from collections.abc import Iterable

import torch
from torch.nn.utils import clip_grad_norm_

from speechbrain_acom.training.rate import RateSchedule, rate_models
from speechbrain_acom.training.resume import ResumableBrain

# It starts from nothing and has to keep up with codes that move, while all else
# is only tuned.
STEP_FACTOR = 10.0


class RateLearningBrain(ResumableBrain):
    """A Brain in which a rate model learns beside the rest.

    Without a rate model it is a :class:`ResumableBrain`. The hyperparameters
    need ``rate_schedule``.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.core.Brain``.
    """

    def init_optimizers(self) -> None:
        """Make the optimizer, with the rate model in a group of its own."""
        super().init_optimizers()
        # SpeechBrain clips by the norm of the first group.
        for optimizer in (self.optimizers_dict or {}).values():
            set_apart(optimizer, self._rate_parameters())

    def optimizers_step(self) -> None:
        """Steps of the rate model are clipped apart, and ten times as long."""
        parameters = self._rate_parameters()
        schedule: RateSchedule = self.hparams.rate_schedule
        if schedule.frozen:
            for parameter in parameters:
                # A gradient of 0 would not do: weights decay all the same.
                parameter.grad = None
        for optimizer in (self.optimizers_dict or {}).values():
            lengthen_steps(optimizer, parameters)
        # With half precision they are still scaled.
        clip_grad_norm_(
            parameters, self.max_grad_norm * self.scaler.get_scale()
        )
        super().optimizers_step()

    def _rate_parameters(self) -> list[torch.nn.Parameter]:
        models = rate_models(self.modules)
        return [weight for model in models for weight in model.parameters()]


def set_apart(
    optimizer: torch.optim.Optimizer, parameters: Iterable[torch.nn.Parameter]
) -> None:
    """Move parameters out of an optimizer's groups into groups behind them.

    Arguments
    ---------
    optimizer : torch.optim.Optimizer
        It has not taken a step yet.
    parameters : Iterable[torch.nn.Parameter]
        What to move; each group's settings stay theirs.

    Example
    -------
    >>> first, second = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    >>> optimizer = torch.optim.SGD([first, second], lr=0.5)
    >>> set_apart(optimizer, [first])
    >>> [group["params"][0] is first for group in optimizer.param_groups]
    [False, True]
    """
    chosen = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        moved = [one for one in group["params"] if id(one) in chosen]
        if moved:
            kept = [one for one in group["params"] if id(one) not in chosen]
            group["params"] = kept
            optimizer.add_param_group({**group, "params": moved})


def lengthen_steps(
    optimizer: torch.optim.Optimizer, parameters: Iterable[torch.nn.Parameter]
) -> None:
    """Let parameters that were set apart learn ten times as fast as the first.

    To be called before every step: schedulers set all groups alike.

    Arguments
    ---------
    optimizer : torch.optim.Optimizer
        It has gone through :func:`set_apart`.
    parameters : Iterable[torch.nn.Parameter]
        What was set apart.

    Example
    -------
    >>> first, second = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    >>> optimizer = torch.optim.SGD([first, second], lr=0.5)
    >>> set_apart(optimizer, [first])
    >>> lengthen_steps(optimizer, [first])
    >>> [group["lr"] for group in optimizer.param_groups]
    [0.5, 5.0]
    """
    chosen = {id(parameter) for parameter in parameters}
    lead = optimizer.param_groups[0]["lr"]
    for group in optimizer.param_groups:
        if any(id(one) in chosen for one in group["params"]):
            group["lr"] = STEP_FACTOR * lead
