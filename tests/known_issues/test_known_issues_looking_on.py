"""A rate model that only looked on changed what it looked at.

With λ = 0 a training was not the paper's: SpeechBrain clips gradients by the
norm of all of them, the rate model's included, and building the model drew the
random numbers that the rest of the training would have had. It is now clipped
apart and leaves the random numbers as they were.
"""

from functools import partial

import torch
from training_helpers import LOADER, EnergyBrain, brain_in, dataset_of, fit

from speechbrain_acom.quantizers import (
    RateAwareVectorQuantizer,
    ResidualVectorQuantizer,
)

# Many entries are replaced, by random frames.
SETTINGS = {
    "num_codebooks": 2,
    "codebook_size": 8,
    "codebook_dim": 2,
    "decay": 0.2,
    "dead_threshold": 0.5,
}
LARGEST_NORM = 0.01
DATA = dataset_of([20] * 8)


class NormBrain(EnergyBrain):
    """Notes the norms of the gradients of everything but the rate model."""

    def optimizers_step(self):
        total = sum(
            float(weight.grad.square().sum())
            for name, weight in self.split.named_parameters()
            if "rate_model" not in name
        )
        self.norms.append(total**0.5)
        super().optimizers_step()


def trained(folder, quantizer):
    brain = brain_in(
        folder,
        kind=NormBrain,
        quantizer=partial(quantizer, **SETTINGS),
        epochs=2,
        run_opts={"max_grad_norm": LARGEST_NORM},
    )
    brain.norms = []
    return fit(brain, DATA, shuffle=True)


def test_without_weight_a_training_is_the_papers_bit_for_bit(tmp_path):
    paper = trained(tmp_path / "paper", ResidualVectorQuantizer)
    rated = trained(tmp_path / "rated", RateAwareVectorQuantizer)
    found = rated.split.state_dict()
    for name, value in paper.split.state_dict().items():
        assert torch.equal(found.pop(name), value), name
    alone = ("rate_model", "bit_price")
    assert found and all(any(part in name for part in alone) for name in found)
    codes = [
        [codes.tolist() for codes in brain.training_codes(DATA, LOADER)]
        for brain in (paper, rated)
    ]
    assert codes[0] == codes[1]
    # What made a difference: gradients were clipped, random frames drawn.
    assert max(paper.norms) > LARGEST_NORM
    logged = paper.hparams.train_logger.epochs
    assert sum(train["replaced_entries"] for _, train, _ in logged) > 0
