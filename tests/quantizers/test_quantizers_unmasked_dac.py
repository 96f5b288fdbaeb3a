"""The authors' way of training, kept to be compared with: its mistakes stay."""

import pytest
import torch

from speechbrain_acom.quantizers.adapters import AdaptedDAC, UnmaskedDAC

SETTINGS = {"num_codebooks": 2, "codebook_size": 16, "codebook_dim": 4}


def values(batch=2, frames=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, frames, 8, generator=generator)


@pytest.fixture
def quantizer():
    torch.manual_seed(0)
    return UnmaskedDAC(channels=8, **SETTINGS)


def test_padding_counts_in_the_losses(quantizer):
    features, lengths = values(), torch.tensor([1.0, 0.5])
    first = quantizer(features, lengths)
    features[1, 3:] = 9.0
    second = quantizer(features, lengths)
    assert float(second.loss) > 1.5 * float(first.loss)


def test_losses_are_summed_over_the_batch(quantizer):
    one = quantizer(values(batch=1)).loss
    four = quantizer(values(batch=1).repeat(4, 1, 1)).loss
    torch.testing.assert_close(four, 4 * one)


def test_both_losses_weigh_the_same_and_sum_over_codebooks(quantizer):
    losses = quantizer(values()).losses
    torch.testing.assert_close(losses["codebook"], losses["commitment"])
    module = quantizer.module(values().flatten(0, 1).T.unsqueeze(0))
    torch.testing.assert_close(losses["codebook"], 2 * module[-1])


def test_codebooks_start_at_random(quantizer):
    before = {name: w.clone() for name, w in quantizer.state_dict().items()}
    quantizer.initialize(values().flatten(0, 1))
    for name, weight in quantizer.state_dict().items():
        assert torch.equal(weight, before[name])


def test_features_teach_the_encoder_through_the_codes(quantizer):
    features = values().requires_grad_()
    quantizer(features).features.sum().backward()
    assert features.grad.abs().sum() > 0


def test_codes_and_messages_are_those_of_the_adapted_one(quantizer):
    other = AdaptedDAC(channels=8, **SETTINGS)
    other.load_state_dict(quantizer.state_dict())
    lengths = torch.tensor([1.0, 0.5])
    one, two = quantizer.eval(), other.eval()
    assert torch.equal(
        one.encode(values(), lengths), two.encode(values(), lengths)
    )
    found, expected = one(values(), lengths), two(values(), lengths)
    assert torch.equal(found.features, expected.features)
    assert torch.equal(found.codes, expected.codes)
    assert found.loss == 0
