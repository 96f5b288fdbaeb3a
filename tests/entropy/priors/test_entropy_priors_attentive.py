"""Attention of the neural prior: exact integers, what it sees, its file."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_layers import random_layer

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors.attention import (
    NAT,
    AttentionMemory,
    AttentionShape,
    CodebookAttention,
)
from speechbrain_acom.entropy.priors.attentive import AttentiveNeuralPrior
from speechbrain_acom.entropy.priors.context_network import (
    CodebookNetwork,
)
from speechbrain_acom.entropy.priors.fixed_point import (
    LARGEST_ACTIVATION,
    powers_of_two,
)
from speechbrain_acom.errors import ConfigurationError

few = settings(deadline=None, max_examples=20)
CONTEXT = Context(recent_frames=2, pooled_groups=1)
SHAPE = AttentionShape(heads=2, head_dim=3, key_frames=2, reach=6)
EMBEDDING, HIDDEN = 3, 4


def random_prior(
    cardinalities=(5, 7), shape=SHAPE, context=CONTEXT
) -> AttentiveNeuralPrior:
    random = np.random.default_rng(0)
    attentions, networks = [], []
    for book, entries in enumerate(cardinalities):
        near = EMBEDDING * (shape.key_frames + (book > 0))
        inputs = EMBEDDING * (len(context.spans) + (book > 0)) + shape.width
        attentions.append(
            CodebookAttention(
                shape,
                random_layer(random, 2 * shape.width, near),
                random_layer(random, shape.width, EMBEDDING),
            )
        )
        networks.append(
            CodebookNetwork(
                random_layer(random, HIDDEN, inputs),
                (random_layer(random, HIDDEN, HIDDEN),),
                random_layer(random, EMBEDDING, HIDDEN),
                random.integers(-9000, 1, entries).astype(float),
            )
        )
    tables = [
        random.integers(-2000, 2001, (entries + 1, EMBEDDING)).astype(float)
        for entries in cardinalities
    ]
    return AttentiveNeuralPrior(attentions, context, 11, tables, networks)


def random_codes(frames: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, (5, 7), (frames, 2))


def mean_in_integers(query, past, head: int) -> list[int]:
    """One head's mean in Python's integers; ``past``: nearest frame first."""
    part = slice(head * SHAPE.head_dim, (head + 1) * SHAPE.head_dim)
    scores, values = [0], [[0] * SHAPE.head_dim]
    for back, (key, value) in enumerate(past[: SHAPE.reach], start=1):
        product = sum(
            int(q) * int(k) for q, k in zip(query[part], key[part], strict=True)
        )
        # 24 fraction bits to 10, halves up; then what distance takes.
        score = (product + (1 << 13) >> 14) - ((back - 1) * NAT >> head + 1)
        scores.append(score)
        values.append([int(number) for number in value[part]])
    weights = powers_of_two(np.array(scores, dtype=float)).tolist()
    total = sum(weights)
    sums = [
        sum(w * row[place] for w, row in zip(weights, values, strict=True))
        for place in range(SHAPE.head_dim)
    ]
    return [(2 * each + total) // (2 * total) for each in sums]


@few
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 12))
def test_means_are_those_of_python_integers(seed, frames):
    random = np.random.default_rng(seed)
    # Up to what saturates: all scores alike, or one far above the others.
    largest = int(random.choice([300, 20_000, LARGEST_ACTIVATION]))
    queries, keys, values = random.integers(
        -largest, largest + 1, (3, frames, SHAPE.width)
    ).astype(float)
    found = AttentionMemory(SHAPE).followed(queries, keys, values)
    for frame, query in enumerate(queries):
        past = list(zip(keys[:frame], values[:frame], strict=True))[::-1]
        expected = [
            number
            for head in range(SHAPE.heads)
            for number in mean_in_integers(query, past, head)
        ]
        assert found[frame].tolist() == expected


@few
@given(seed=st.integers(0, 2**32 - 1))
def test_frames_may_come_in_parts_of_any_size(seed):
    random = np.random.default_rng(seed)
    rows = random.integers(-9000, 9001, (3, 40, SHAPE.width)).astype(float)
    expected = AttentionMemory(SHAPE).followed(*rows)
    memory = AttentionMemory(SHAPE)
    cuts = sorted({0, 40, *random.integers(0, 41, 6).tolist()})
    for start, stop in pairwise(cuts):
        if random.random() < 0.5:
            found = memory.followed(*rows[:, start:stop])
            assert np.array_equal(found, expected[start:stop])
            continue
        for place in range(start, stop):
            row = slice(place, place + 1)
            for _ in range(2):
                found = memory.looked_back(rows[0, row])
                assert np.array_equal(found, expected[row])
            memory.append(*rows[1:, row])


def test_memory_is_that_of_the_frames_in_reach():
    memory = AttentionMemory(SHAPE)
    random = np.random.default_rng(0)
    rows = random.integers(-9000, 9001, (3, 500, SHAPE.width)).astype(float)
    expected = [
        AttentionMemory(SHAPE).followed(*rows[:, start : start + 64])
        for start in range(0, 500, 64)
    ]
    size = memory._keys.nbytes
    for part, start in zip(expected, range(0, 500, 64), strict=True):
        found = memory.followed(*rows[:, start : start + 64])
        # Frames that do not reach back to the part before.
        assert np.array_equal(found[SHAPE.reach :], part[SHAPE.reach :])
        assert (start == 0) == np.array_equal(found, part)
    assert memory._keys.nbytes == size == 4 * 70 * SHAPE.width


@pytest.mark.parametrize("book", [0, 1])
def test_tables_depend_on_as_many_frames_as_it_reaches(book):
    prior, codes = random_prior(), random_codes(30)

    def table(changed):
        other = codes.copy()
        other[changed, 0] = (other[changed, 0] + 1) % 5
        predictor = prior.predictor()
        if book:
            predictor.observe(0, other[:, 0])
        return predictor.observe(book, other[:, book])[-1].tolist()

    unchanged = table([])
    seen = [back for back in range(1, 20) if table([29 - back]) != unchanged]
    # The key of the farthest frame describes the frames before it.
    assert seen == list(range(1, SHAPE.reach + SHAPE.key_frames + 1))
    assert (table([29]) != unchanged) == bool(book)


@few
@given(seed=st.integers(0, 2**32 - 1), most=st.integers(1, 90))
def test_any_order_of_calls_gives_the_same_tables(seed, most):
    prior, frames = random_prior(), 150
    random = np.random.default_rng(seed)
    codes = random_codes(frames, seed)
    expected, whole = [], prior.predictor()
    for book in range(2):
        expected.append(whole.observe(book, codes[:, book]))
    predictor, done = prior.predictor(), [0, 0]
    while done[1] < frames:
        # The first codebook goes ahead by some frames, the second follows.
        ahead = min(done[0] + int(random.integers(most + 1)), frames)
        behind = int(random.integers(done[1], ahead + 1))
        for book, stop in enumerate((ahead, behind)):
            rows = slice(done[book], stop)
            part = codes[rows, book]
            way = random.integers(3)
            if way == 0:
                found = predictor.observe(book, part)
                assert np.array_equal(found, expected[book][rows])
            for frame, entry in enumerate(part.tolist() if way else []):
                if way == 1:
                    found = predictor.frequencies(book)
                    place = done[book] + frame
                    assert np.array_equal(found, expected[book][place])
                predictor.update(book, entry)
            done[book] = stop


def test_the_first_codebooks_have_the_same_tables_alone():
    prior, codes = random_prior(), random_codes(20)
    alone = prior.first(1)
    assert alone.cardinalities == (5,) and prior.first(2) is prior
    found = alone.predictor().observe(0, codes[:, 0])
    assert np.array_equal(found, prior.predictor().observe(0, codes[:, 0]))


def test_content_is_documented_byte_by_byte():
    shape = AttentionShape(heads=1, head_dim=1, key_frames=1, reach=9)
    prior = random_prior((2,), shape, Context(1, 0))
    content = prior.content()
    sizes = "00000001 00000001 00000001 00000009 00000003 00000001"
    assert content[:24] == bytes.fromhex(sizes)
    match = prior.attentions[0].match
    assert content[24] == match.shift
    weights = np.frombuffer(content, ">i2", 6, 25)
    assert weights.tolist() == match.weights.ravel().tolist()
    # A query and a key of three numbers, then a value of three.
    layers = (1 + 6 * 2 + 2 * 4) + (1 + 3 * 2 + 4)
    assert content[24 + layers :].startswith(bytes.fromhex("00000001 00000002"))
    assert AttentiveNeuralPrior.from_content(content).content() == content
    # The rest is that of a network with one input more for each of its four.
    plain = 3 * 3 + 4 * (3 + 1) + 4 + 4 * 4 + 4 + 3 * 4 + 3 + 2
    assert prior.parameters == plain + (6 + 2) + (3 + 1)


@pytest.mark.parametrize("extra", [b"\0", b""])
def test_content_of_another_length_is_refused(extra):
    content = random_prior().content()
    wrong = content + extra if extra else content[:-1]
    with pytest.raises(ValueError):
        AttentiveNeuralPrior.from_content(wrong)


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("forged", ["ffffffff", "00000000", "00000fff"])
def test_forged_sizes_allocate_nothing(place, forged):
    content = bytearray(random_prior().content())
    content[4 * place : 4 * place + 4] = bytes.fromhex(forged)
    with pytest.raises(ValueError):
        AttentiveNeuralPrior.from_content(bytes(content))


@pytest.mark.parametrize(
    "sizes", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 1, 1001), (64, 65, 1, 1)]
)
def test_shapes_out_of_range_are_refused(sizes):
    with pytest.raises(ConfigurationError, match="attention_heads, head_dim"):
        AttentionShape(*sizes)


def test_layers_that_do_not_fit_are_refused():
    prior = random_prior()
    parts = prior.context, 11, prior.embeddings, prior.networks
    with pytest.raises(ConfigurationError, match="weights of shape"):
        AttentiveNeuralPrior(prior.attentions[::-1], *parts)
    with pytest.raises(ConfigurationError, match="attention of 1 codebooks"):
        AttentiveNeuralPrior(prior.attentions[:1], *parts)
    wide = AttentionShape(heads=2, head_dim=3, key_frames=3, reach=6)
    with pytest.raises(ConfigurationError, match="key_frames: found 3"):
        random_prior(shape=wide)
