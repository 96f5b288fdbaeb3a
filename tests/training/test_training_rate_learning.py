"""The rate model learns beside the rest, which it does not disturb."""

from functools import partial

import pytest
import torch
from training_helpers import CHANNELS, EnergyBrain, brain_in, dataset_of, fit

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.metrics.codebook_use import CodebookUseRow
from speechbrain_acom.quantizers import RateAwareVectorQuantizer
from speechbrain_acom.training.collapse import undo_collapse
from speechbrain_acom.training.rate import RateSchedule
from speechbrain_acom.training.rate_learning import STEP_FACTOR, set_apart

SMALL = {"num_codebooks": 2, "codebook_size": 8, "codebook_dim": 2}
# No entry may move but by its gradient.
RATED = partial(RateAwareVectorQuantizer, **SMALL, dead_threshold=0.0)
ALONE = partial(RATED, joint=False)
# Less than any gradient of these trainings.
NORM = 1e-4
DATA = dataset_of([20] * 8)


class StepBrain(EnergyBrain):
    """Notes how far every step moves which weights, and λ at that time."""

    def on_fit_start(self):
        super().on_fit_start()
        self.steps = []

    def optimizers_step(self):
        before = {
            name: weight.detach().clone()
            for name, weight in self.split.named_parameters()
        }
        super().optimizers_step()
        moved = {True: 0.0, False: 0.0}
        for name, weight in self.split.named_parameters():
            distance = (weight.detach() - before[name]).square().sum()
            moved["rate_model" in name] += float(distance)
        self.steps.append(
            (
                self.rate_schedule.current,
                moved[True] ** 0.5,
                moved[False] ** 0.5,
            )
        )


def trained(folder, quantizer, epochs=1, **options):
    brain = brain_in(
        folder,
        kind=StepBrain,
        quantizer=quantizer,
        epochs=epochs,
        run_opts={"max_grad_norm": NORM},
        **options,
    )
    return fit(brain, DATA)


def test_the_rate_model_and_the_rest_are_clipped_each_by_its_own_norm(
    tmp_path,
):
    brain = trained(tmp_path, RATED, rate_weight=0.5)
    # The first of two steps of warming up to 0.1.
    _, rate_model, rest = brain.steps[0]
    assert rate_model == pytest.approx(STEP_FACTOR * 0.05 * NORM, rel=0.02)
    assert rest == pytest.approx(0.05 * NORM, rel=0.02)


def test_groups_that_were_there_keep_their_settings():
    weights = [torch.nn.Parameter(torch.tensor(float(n))) for n in range(4)]
    optimizer = torch.optim.AdamW(
        [
            {"params": weights[:2], "weight_decay": 0.5},
            {"params": weights[2:], "weight_decay": 0.0},
        ]
    )
    set_apart(optimizer, [weights[0], weights[3]])
    found = [
        ([one.item() for one in group["params"]], group["weight_decay"])
        for group in optimizer.param_groups
    ]
    assert found == [([1], 0.5), ([2], 0.0), ([0], 0.5), ([3], 0.0)]


@pytest.mark.parametrize(
    ("epoch", "batch", "weight", "frozen"),
    [
        (1, 0, 0.0, False),
        (2, 9, 0.0, False),
        (3, 0, 0.0, False),
        (3, 5, 0.1, True),
        (4, 0, 0.2, True),
        (5, 0, 0.4, True),
        (9, 3, 0.4, True),
    ],
)
def test_a_model_alone_learns_in_the_first_half_of_the_ramp(
    epoch, batch, weight, frozen
):
    schedule = RateSchedule(0.4, ramp_epochs=4.0)
    schedule.begin(ALONE(channels=CHANNELS), batches_per_epoch=10, epochs=9)
    schedule.advance(epoch, batch)
    assert schedule.current == pytest.approx(weight)
    assert schedule.frozen == frozen
    schedule.begin(RATED(channels=CHANNELS), batches_per_epoch=10, epochs=9)
    assert not schedule.frozen


def test_a_frozen_model_stays_as_it_is_while_the_rest_moves(tmp_path):
    for quantizer in (RATED, ALONE):
        folder = tmp_path / str(quantizer.keywords.get("joint"))
        ramp = {"rate_weight": 0.1, "rate_ramp_epochs": 2.0}
        brain = brain_in(
            folder, kind=StepBrain, quantizer=quantizer, epochs=3, **ramp
        )
        # Weights that decay move without a gradient, too.
        brain.opt_class = partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5)
        fit(brain, DATA)
        # The learning rate of the last step is 0.
        *steps, last = brain.steps
        assert len(steps) == 11 and last[1:] == (0.0, 0.0)
        for step, (weight, rate_model, rest) in enumerate(steps):
            assert rest > 0
            # Of four steps an epoch the first four are half of the ramp.
            early = quantizer is ALONE and step < 4
            assert (weight == 0) == early
            assert (rate_model > 0) == (early or quantizer is RATED)


def test_a_frozen_model_is_not_undone_with_a_collapse(tmp_path):
    ramp = {"rate_weight": 0.1, "rate_ramp_epochs": 1.0}
    brain = trained(tmp_path, ALONE, **ramp)
    assert brain.rate_schedule.frozen
    weights = dict(brain.split.named_parameters())
    for weight in weights.values():
        weight.data.fill_(7.0)
    undo_collapse(
        brain.rate_schedule,
        brain.checkpointer,
        [CodebookUseRow(0, 8, 1.0, 50.0)],
        {"clips": 2.0},
    )
    assert brain.rate_schedule.current == 0.05
    for name, weight in weights.items():
        assert bool((weight == 7.0).all()) == ("rate_model" in name), name


def test_a_model_alone_needs_a_ramp_to_learn_in(tmp_path):
    with pytest.raises(ConfigurationError, match="^rate_ramp_epochs: found 0"):
        trained(tmp_path / "with", ALONE, rate_weight=0.1)
    brain = trained(tmp_path / "without", ALONE, rate_weight=0.0)
    assert all(rate_model > 0 for _, rate_model, _ in brain.steps[:-1])
