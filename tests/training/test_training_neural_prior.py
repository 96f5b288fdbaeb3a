"""Fitting the neural prior: what it learns, and freezing."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors import StaticPrior, prior_digest
from speechbrain_acom.entropy.priors.attention import AttentionShape
from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.training.context_network import ContextNetwork, freeze
from speechbrain_acom.training.neural_prior import (
    fit_neural_prior,
    mean_bits,
    pieces_of,
    stacked,
)

FRAGMENT = Path(__file__).parents[2] / "hparams" / "priors" / "neural.yaml"
SIZES = (8, 6)
CONTEXT = Context(recent_frames=2, pooled_groups=1)
ATTENTION = AttentionShape(heads=2, head_dim=3, key_frames=2, reach=9)
small = partial(
    fit_neural_prior,
    recent_frames=2,
    pooled_groups=1,
    attention_heads=2,
    head_dim=4,
    key_frames=1,
    embedding_dim=8,
    hidden_dim=16,
    batch_pieces=4,
    learning_rate=0.003,
    weight_decay=0.0,
)
looking = pytest.mark.parametrize(
    "attention", [None, ATTENTION], ids=["near", "attentive"]
)


def walks(count: int, seed: int = 0) -> list[np.ndarray]:
    """Column 0 counts up or stays; column 1 says which of both it did."""
    random = np.random.default_rng(seed)
    utterances = []
    for _ in range(count):
        steps = random.integers(0, 2, int(random.integers(30, 100)))
        first = np.cumsum(steps) % SIZES[0]
        utterances.append(np.stack([first, steps * 3], axis=1))
    return utterances


def random_network(attention=None) -> ContextNetwork:
    torch.manual_seed(0)
    network = ContextNetwork(
        StaticPrior.fit(walks(3), SIZES),
        CONTEXT,
        attention,
        embedding_dim=5,
        hidden_dim=12,
        hidden_layers=2,
        dropout=0.5,
        embedding_dropout=0.5,
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.eval()


def batch_of(utterances, network) -> torch.Tensor:
    return stacked(pieces_of(utterances, SIZES, CONTEXT), network)


def frames_of(utterances) -> int:
    return sum(map(len, utterances))


def test_it_learns_what_neighbours_say():
    prior = small(walks(30), SIZES, epochs=14, learning_rate=0.02)
    test = walks(10, seed=1)
    bits = sum(map(prior.bits, test)) / frames_of(test)
    static = StaticPrior.fit(walks(30), SIZES)
    assert sum(map(static.bits, test)) / frames_of(test) > 3.8
    # One bit tells the step, and then the second column is known.
    assert 0.95 < bits < 1.25


@looking
def test_frozen_network_says_what_the_float_one_does(attention):
    network = random_network(attention)
    prior = freeze(network)
    test = walks(5, seed=2)
    pieces = pieces_of(test, SIZES, CONTEXT)
    expected = mean_bits(network, pieces)
    bits = sum(map(prior.bits, test)) / frames_of(test)
    assert bits == pytest.approx(expected, rel=0.002)
    static = StaticPrior.fit(walks(3), SIZES)
    assert abs(sum(map(static.bits, test)) / frames_of(test) - bits) > 0.1


@looking
def test_frozen_tables_are_the_float_probabilities(attention):
    network = random_network(attention)
    codes = walks(1, seed=3)[0][:40]
    with torch.no_grad():
        logits = network(batch_of([codes], network))
    predictor = freeze(network).predictor()
    for codebook, expected in enumerate(logits):
        tables = predictor.observe(codebook, codes[:, codebook]) / 2**24
        exact = expected[0, : len(codes)].double().softmax(dim=-1).numpy()
        assert np.abs(tables - exact).max() < 0.002


@looking
def test_finer_and_later_codes_do_not_matter_to_the_float_network(attention):
    network = random_network(attention)
    pieces = batch_of([walks(1)[0][:30]], network)
    other = pieces.clone()
    place = CONTEXT.window + 10
    other[:, place:, 0] = 1
    other[:, place - 1 :, 1] = 1
    with torch.no_grad():
        ours, theirs = network(pieces), network(other)
    assert torch.equal(ours[0][:, :11], theirs[0][:, :11])
    assert torch.equal(ours[1][:, :10], theirs[1][:, :10])
    assert not torch.equal(ours[0][:, 11:], theirs[0][:, 11:])


@pytest.mark.parametrize("reach", [1, 9])
def test_attention_reaches_as_far_as_it_says(reach):
    shape = AttentionShape(heads=2, head_dim=3, key_frames=1, reach=reach)
    network = random_network(shape)
    pieces = batch_of([walks(1)[0][:30]], network)
    seen = []
    for back in range(1, 15):
        other = pieces.clone()
        place = CONTEXT.window + 20 - back
        other[:, place, 0] = (other[:, place, 0] + 1) % SIZES[0]
        with torch.no_grad():
            ours, theirs = network(pieces)[0], network(other)[0]
        # Sums of a longer past round otherwise.
        if not torch.allclose(ours[:, 20], theirs[:, 20], atol=1e-4):
            seen.append(back)
    # The window, or as far as attention reaches and a key describes there.
    farthest = max(CONTEXT.window, reach + 1)
    assert seen == list(range(1, farthest + 1))


def test_pieces_hold_every_frame_once_behind_its_past():
    utterances = [
        np.arange(1, 401)[:, np.newaxis],
        np.zeros((0, 1), int),
        np.arange(500, 756)[:, np.newaxis],
    ]
    pieces = [one[:, 0] for one in pieces_of(utterances, (900,), CONTEXT)]
    # As few pieces as can be, all of an utterance about as long.
    assert [len(piece) for piece in pieces] == [4 + 200, 4 + 200, 4 + 256]
    targets = torch.cat([piece[4:] for piece in pieces])
    assert targets.tolist() == [*range(1, 401), *range(500, 756)]
    assert pieces[0][:5].tolist() == [900] * 4 + [1]
    assert pieces[1][:5].tolist() == [197, 198, 199, 200, 201]
    assert pieces[2][:5].tolist() == [900] * 4 + [500]


@looking
def test_padding_of_a_batch_costs_no_bits(attention):
    network = random_network(attention)
    codes = [
        one[:length] for one, length in zip(walks(2), (9, 25), strict=True)
    ]
    with torch.no_grad():
        together = network.bits(batch_of(codes, network))
        alone = sum(network.bits(batch_of([one], network)) for one in codes)
    assert torch.allclose(together, alone)
    assert int(network.count_frames(batch_of(codes, network))) == 34


def test_the_same_seed_gives_the_same_prior():
    digests = {
        prior_digest(small(iter(walks(6)), SIZES, epochs=2, seed=seed))
        for seed in (0, 0, 1)
    }
    assert len(digests) == 2


def test_random_state_of_the_caller_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    small(walks(3), SIZES, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_training_that_helps_nothing_leaves_the_static_prior():
    random = np.random.default_rng(0)
    codes = [random.integers(0, 8, (30, 1)) for _ in range(20)]
    # Steps so large that every epoch is worse than none.
    prior = small(codes, (8,), epochs=3, learning_rate=100.0)
    static = StaticPrior.fit(codes, (8,))
    (table,) = prior.predictor().observe(0, np.array([3]))
    shares = static.tables[0] / 2**16
    assert np.abs(table / 2**24 - shares).max() < 0.001


def test_training_ends_early():
    # The rate has hardly risen when nothing was gained for one epoch.
    codes = [np.random.default_rng(0).integers(0, 8, (64, 1))] * 3
    fits = [
        small(codes, (8,), epochs=epochs, patience=1, learning_rate=100.0)
        for epochs in (2, 200)
    ]
    assert prior_digest(fits[0]) == prior_digest(fits[1])


@pytest.mark.parametrize("codes", [[[[1, 2]]], [[[1, 2]], [[0, 0]]]])
def test_a_frame_or_two_are_enough(codes):
    prior = small([np.array(one) for one in codes], SIZES, epochs=1)
    assert prior.cardinalities == SIZES
    assert prior.bits(np.array([[7, 5]])) < 48


def test_no_frames_are_refused():
    for codes in ([], [np.zeros((0, 2), int)]):
        with pytest.raises(DataError, match="0 frames"):
            small(codes, SIZES)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recent_frames", 0),
        ("recent_frames", 2.5),
        ("pooled_groups", -1),
        ("head_dim", 1.5),
        ("learning_rate", -0.1),
        ("weight_decay", -1.0),
        ("embedding_dim", 0),
        ("hidden_dim", 1.5),
        ("hidden_layers", -1),
        ("attention_heads", -1),
        ("key_frames", 3),
        ("attention_frames", 1001),
        ("epochs", 0),
        ("dropout", 1.0),
        ("embedding_dropout", -0.1),
    ],
)
def test_settings_out_of_range_are_named(key, value):
    with pytest.raises(ConfigurationError, match=key):
        small(walks(2), SIZES, **{key: value})


def test_fragment_names_every_setting():
    with FRAGMENT.open() as stream:
        text = stream.read()
    fit = load_hyperpyyaml(f"prior: !include:{FRAGMENT}\n")["prior"]
    assert fit.func is fit_neural_prior
    defaults = fit_neural_prior.__defaults__
    assert tuple(fit.keywords.values()) == defaults
    assert text.startswith("#")
    prior = fit(walks(2), SIZES, epochs=1, hidden_dim=4)
    assert prior.cardinalities == SIZES


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_trains_on_a_cuda_device():
    prior = small(walks(20), SIZES, epochs=4, learning_rate=0.02)
    test = walks(5, seed=1)
    assert sum(map(prior.bits, test)) / frames_of(test) < 2.5
