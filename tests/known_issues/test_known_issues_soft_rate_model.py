"""λ undid itself in training for few bits.

The rate model got a gradient of the soft rate, and learned the soft shares of
the entries instead of the codes: with λ its bits a code rose above those of a
table. And entries that λ had left unused were replaced by random frames as
soon as their running use was low enough, after some epochs, and used again.
"""

from pathlib import Path

import torch

from speechbrain_acom.hparams import read_tree
from speechbrain_acom.quantizers import RateAwareVectorQuantizer

SHIPPED = Path(__file__).parents[2] / "hparams" / "quantizers/rvq_rate.yaml"


def on_a_line(entries, **settings):
    """One codebook of numbers for features that are numbers."""
    quantizer = RateAwareVectorQuantizer(
        channels=1, codebook_dim=None, codebook_size=len(entries), **settings
    )
    [codebook] = quantizer.codebooks
    codebook.entries.data.copy_(torch.tensor(entries).unsqueeze(1))
    return quantizer.train()


def test_rate_model_learns_codes_and_not_soft_shares():
    torch.manual_seed(0)
    quantizer = on_a_line([0.0, 1.0], temperature=2.0)
    model = quantizer.rate_model
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        # Always entry 0, and softly more than a third of entry 1.
        result = quantizer(torch.full((2, 20, 1), 0.4))
        optimizer.zero_grad()
        (result.losses["rate_model"] + 10.0 * result.rate).backward()
        optimizer.step()
    assert not result.codes.any()
    assert result.statistics["hard_rate"] < 0.05


def test_entries_that_cost_too_much_stay_unused():
    torch.manual_seed(0)
    quantizer = on_a_line([0.0, 1.0, 8.0, 9.0], decay=0.5)
    for _ in range(50):
        result = quantizer(torch.rand(2, 30, 1))
        assert result.statistics["replaced_entries"] == 0
    assert result.codes.max() == 1


def test_fragment_replaces_no_entries():
    assert read_tree(SHIPPED)["dead_threshold"] == 0
