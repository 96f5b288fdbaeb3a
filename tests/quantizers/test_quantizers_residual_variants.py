"""Residual vector quantizers: directions, bits and numbers of codebooks."""

import pytest
import torch

from speechbrain_acom.quantizers import ResidualVectorQuantizer
from speechbrain_acom.quantizers.codebook import Codebook, CodebookSettings


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _quantizer(**settings):
    defaults = {
        "channels": 8,
        "codebook_size": 32,
        "codebook_dim": 6,
        "kmeans_iterations": 5,
    }
    return ResidualVectorQuantizer(**{**defaults, **settings})


def _codebook(entries, **settings):
    codebook = Codebook(*entries.shape, CodebookSettings(**settings))
    codebook.entries.detach().copy_(entries)
    return codebook


def test_cosine_takes_the_entry_of_the_most_similar_direction():
    entries = torch.tensor([[1.0, 1.0], [100.0, 0.0], [0.0, 0.01]])
    frames = torch.tensor([[2.0, 0.1], [1e-9, 9e-10], [0.0, 50.0]])
    codebook = _codebook(entries, distance="cosine")
    assert codebook.search(frames).tolist() == [1, 0, 2]
    # By distance the long entry is never near.
    assert _codebook(entries).search(frames).tolist() == [0, 2, 0]


def test_cosine_agrees_with_the_largest_cosine():
    entries, frames = torch.randn(64, 5), torch.randn(500, 5)
    found = _codebook(entries, distance="cosine").search(frames)
    cosines = torch.nn.functional.cosine_similarity(
        frames.double().unsqueeze(1), entries.double(), dim=2
    )
    assert torch.equal(found, cosines.argmax(1))


def test_cosine_does_not_depend_on_the_loudness():
    quantizer = _quantizer(codebook_dim=None, distance="cosine")
    frames = torch.randn(1, 50, 8)
    codes = quantizer.encode(frames)
    for scale in (2.0**-60, 2.0**60):
        assert torch.equal(quantizer.encode(scale * frames), codes)


def test_cosine_decodes_to_entries_with_their_lengths():
    quantizer = _quantizer(codebook_dim=None, distance="cosine")
    with torch.no_grad():
        quantizer.codebooks[0].entries.mul_(7.0)
    codes = torch.arange(32).reshape(1, 32, 1)
    decoded = quantizer.decode(codes)
    assert torch.equal(decoded[0], quantizer.codebooks[0].entries)
    assert torch.equal(quantizer.encode(decoded), codes)


def test_cosine_starts_from_means_of_similar_directions():
    directions = torch.eye(8)[:2]
    loudness = 1.0 + torch.rand(100, 1)
    frames = torch.cat([loudness * row for row in directions])
    quantizer = _quantizer(
        codebook_size=2, codebook_dim=None, distance="cosine"
    )
    quantizer.initialize(frames)
    found = quantizer.codebooks[0].entries.detach()
    expected = loudness.mean() * directions
    assert torch.allclose(found.sort(0).values, expected.sort(0).values)


def test_a_frequent_entry_wins_where_its_bits_are_worth_it():
    # Shares 1/2 and 1/8 cost 1 and 3 bits: a difference of 2 bits.
    codebook = _codebook(torch.tensor([[0.0], [1.0]]), rate_weight=0.1)
    codebook.shares.copy_(torch.tensor([4.0, 1.0]) / 8)
    # (x - 1)² + 0.2 < x² from x = 0.6 on.
    frames = torch.tensor([[0.5], [0.59], [0.61], [1.0]])
    assert codebook.search(frames).tolist() == [0, 0, 1, 1]


def test_an_entry_that_was_never_used_costs_what_the_coder_would_ask():
    codebook = _codebook(torch.tensor([[0.0], [5.0]]), rate_weight=1.0)
    codebook.shares.copy_(torch.tensor([1.0, 0.0]))
    # 16 bits: (x - 5)² + 16 < x² from x = 4.1 on.
    frames = torch.tensor([[4.05], [4.15]])
    assert codebook.search(frames).tolist() == [0, 1]


def test_a_larger_rate_weight_lowers_the_entropy():
    frames = torch.randn(3000, 8)
    entropies = []
    for weight in (0.0, 1.0, 3.0):
        torch.manual_seed(0)
        quantizer = _quantizer(
            rate_weight=weight, decay=0.5, dead_threshold=0.0
        )
        quantizer.initialize(frames)
        for _ in range(20):
            quantizer.train()(frames.unsqueeze(0))
        codes = quantizer.encode(frames.unsqueeze(0)).flatten()
        shares = codes.bincount(minlength=32) / len(codes)
        entropies.append(-(shares * shares.clamp(min=1e-9).log2()).sum())
    assert entropies[0] > entropies[1] + 0.1
    assert entropies[1] > entropies[2] + 0.1


def test_shares_that_weigh_are_saved_with_the_model():
    quantizer = _quantizer(rate_weight=1.0)
    quantizer.codebooks[0].shares.copy_(torch.rand(32))
    loaded = _quantizer(rate_weight=1.0)
    loaded.load_state_dict(quantizer.state_dict())
    frames = torch.randn(1, 200, 8)
    assert torch.equal(loaded.encode(frames), quantizer.encode(frames))


def _drawn(quantizer, steps):
    frames = torch.randn(1, 3, 8)
    return [quantizer.train()(frames).codes.shape[-1] for _ in range(steps)]


def test_dropout_uses_every_number_of_codebooks_now_and_then():
    assert set(_drawn(_quantizer(num_codebooks=4), 5)) == {4}
    always = _drawn(_quantizer(num_codebooks=4, quantizer_dropout=1.0), 400)
    assert [always.count(number) for number in (1, 2, 3, 4)] == pytest.approx(
        [100] * 4, abs=30
    )
    half = _drawn(_quantizer(num_codebooks=4, quantizer_dropout=0.5), 400)
    assert half.count(4) == pytest.approx(250, abs=40)


def test_a_number_that_is_asked_for_is_not_dropped():
    quantizer = _quantizer(num_codebooks=4, quantizer_dropout=1.0).train()
    for number in (4, 2):
        result = quantizer(torch.randn(1, 3, 8), num_codebooks=number)
        assert result.codes.shape[-1] == number


def test_evaluation_drops_nothing():
    quantizer = _quantizer(num_codebooks=4, quantizer_dropout=1.0).eval()
    for _ in range(10):
        assert quantizer(torch.randn(1, 3, 8)).codes.shape[-1] == 4


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_codebooks_that_a_step_does_not_use_stay_as_they_are(update):
    quantizer = _quantizer(num_codebooks=3, codebook_update=update, decay=0.5)
    before = [book.entries.clone() for book in quantizer.codebooks]
    shares = quantizer.codebooks[2].shares.clone()
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=1.0)
    for _ in range(10):
        result = quantizer.train()(torch.randn(2, 9, 8), num_codebooks=2)
        result.loss.backward()
        optimizer.step()
    after = [book.entries for book in quantizer.codebooks]
    assert not torch.equal(after[1], before[1])
    assert torch.equal(after[2], before[2])
    assert torch.equal(quantizer.codebooks[2].shares, shares)


def test_codebooks_that_a_step_does_not_use_get_a_gradient_of_zero():
    # A distributed training waits for the gradients of all parameters.
    quantizer = _quantizer(num_codebooks=3)
    quantizer.train()(torch.randn(2, 9, 8), num_codebooks=1).loss.backward()
    assert quantizer.codebooks[0].entries.grad.any()
    for unused in quantizer.codebooks[1:]:
        assert not unused.entries.grad.any()


def test_training_with_dropout_serves_few_codebooks_better():
    frames = torch.randn(500, 8)
    errors = {}
    for dropout in (0.0, 1.0):
        torch.manual_seed(0)
        quantizer = _quantizer(
            num_codebooks=4, codebook_size=8, quantizer_dropout=dropout
        )
        optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.02)
        for _ in range(150):
            result = quantizer.train()(frames.unsqueeze(0))
            task = (result.features - frames).square().mean()
            optimizer.zero_grad()
            (task + result.loss).backward()
            optimizer.step()
        first = quantizer.eval()(frames.unsqueeze(0), num_codebooks=1)
        errors[dropout] = (first.features - frames).square().mean().item()
    assert errors[1.0] < errors[0.0]


def test_the_gradient_is_that_of_the_setting():
    features = torch.randn(1, 9, 8)
    gradients = []
    for gradient in ("straight_through", "rotation"):
        torch.manual_seed(0)
        quantizer = _quantizer(codebook_dim=None, gradient=gradient).train()
        leaf = features.clone().requires_grad_()
        result = quantizer(leaf)
        result.features.sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(gradients[0], torch.ones_like(features))
    # The rotated gradient keeps its product with what it is rotated from.
    expected = result.features.sum(-1)
    assert torch.allclose((gradients[1] * features).sum(-1), expected)
