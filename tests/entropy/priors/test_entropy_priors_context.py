"""Context tables: what they predict, what fitting chooses, their files."""

import tracemalloc
from fractions import Fraction
from pathlib import Path

import every_prior
import numpy as np
import pytest
from every_prior import chained_codes
from hyperpyyaml import load_hyperpyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.entropy.priors import (
    TOTAL_FREQUENCY,
    ContextPrior,
    StaticPrior,
)
from speechbrain_acom.entropy.priors.backoff import (
    BackoffTable,
    Counts,
    Smoothing,
)
from speechbrain_acom.entropy.priors.neighbours import Neighbour
from speechbrain_acom.entropy.priors.varints import read_varints, write_varints
from speechbrain_acom.errors import ConfigurationError

HPARAMS = Path(__file__).parents[3] / "hparams" / "priors"
BEFORE, TWO_BEFORE = Neighbour(1, 0), Neighbour(2, 0)
COARSER = Neighbour(0, 1)

events = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 4)),
    min_size=1,
    max_size=40,
)
smoothings = st.builds(Smoothing, st.integers(0, 15), st.integers(0, 40))
few = settings(deadline=None, max_examples=50)


def share(seen, smoothings, context, code, size):
    """The formula of BackoffTable, in fractions, straight from the events."""
    if not smoothings:
        return Fraction(1, size)
    *shorter_smoothings, smoothing = smoothings
    shorter = share(seen, shorter_smoothings, context[:-1], code, size)
    # All times in the longest contexts, kinds of longer contexts in others.
    length = len(context)
    longest = len(seen[0]) - 1
    if length < longest:
        counted = {(*event[: length + 1], event[-1]) for event in seen}
    else:
        counted = seen
    codes = [event[-1] for event in counted if event[:length] == context]
    total = len(codes) + smoothing.strength
    if not codes:
        return shorter
    discount = Fraction(smoothing.discount, 16)
    kept = max(codes.count(code) - discount, 0)
    given_away = smoothing.strength + discount * len(set(codes))
    return kept / total + given_away / total * shorter


@few
@given(
    seen=events,
    smoothings=st.tuples(smoothings, smoothings, smoothings),
    context=st.tuples(st.integers(0, 3), st.integers(0, 2)),
)
def test_frequencies_follow_the_formula(seen, smoothings, context):
    counts = Counts.of(np.array(seen), (4, 3, 5))
    table = BackoffTable(counts, (4, 3, 5), smoothings, cached_rows=4)
    frequencies = table.frequencies(context)
    for code, frequency in enumerate(frequencies.tolist()):
        exact = share(seen, smoothings, context, code, 5)
        assert frequency / TOTAL_FREQUENCY == pytest.approx(
            float(exact), abs=10 / TOTAL_FREQUENCY
        )


def test_never_seen_context_is_as_good_as_its_seen_part():
    counts = Counts.of(np.array([[0, 0, 1], [0, 1, 2], [1, 0, 0]]), (3, 3, 3))
    table = BackoffTable(counts, (3, 3, 3), [Smoothing(8, 1)] * 3, 100)
    known = table.frequencies((0, 1)).tolist()
    assert known != table.frequencies((0, 2)).tolist()
    # Neither (2, 0) nor (2,) was seen: what is left is no context at all.
    nothing = table.frequencies((2, 0)).tolist()
    assert nothing == table.frequencies((2, 1)).tolist()
    assert nothing != table.frequencies((0, 2)).tolist()


def test_most_frames_there_may_be_are_counted_without_overflow():
    counts = Counts((), np.array([0, 5]), np.array([(1 << 27) - 1, 1]))
    table = BackoffTable(counts, (65536,), [Smoothing(0, 1 << 27)], 4)
    frequencies = table.frequencies(())
    assert frequencies.sum() == TOTAL_FREQUENCY
    assert frequencies[0] == pytest.approx(TOTAL_FREQUENCY / 2, rel=0.01)
    assert frequencies.min() >= 1


def test_fit_finds_the_neighbours_that_tell():
    random = np.random.default_rng(0)
    codes = random.integers(0, 8, (4000, 3))
    # Codebook 0 follows its code two frames ago, 1 the coarser code, 2 nothing.
    for frame in range(2, 4000):
        codes[frame, 0] = (codes[frame - 2, 0] + random.integers(2)) % 8
        codes[frame, 1] = (codes[frame, 0] * 3 + random.integers(2)) % 8
    prior = ContextPrior.fit([codes], (8, 8, 8))
    assert prior.neighbours == ((TWO_BEFORE,), (COARSER,), ())
    per_code = prior.bits(codes) / 4000
    assert per_code == pytest.approx(1 + 1 + 3, abs=0.1)


def test_contexts_of_two_codes_pay_where_both_tell():
    random = np.random.default_rng(1)
    codes = random.integers(0, 8, (8000, 2))
    for frame in range(1, 8000):
        either = codes[frame, 0], codes[frame - 1, 1] ^ 1
        codes[frame, 1] = either[random.integers(2)]
    either, both = (
        ContextPrior.fit([codes], (8, 8), order=1, coarser=coarser)
        for coarser in (0, 1)
    )
    assert either.neighbours == ((), (BEFORE,))
    assert set(both.neighbours[1]) == {COARSER, BEFORE}
    assert both.bits(codes) < either.bits(codes) - 8000


def test_unrelated_codes_get_no_context():
    codes = np.random.default_rng(2).integers(0, 50, (3000, 2))
    prior = ContextPrior.fit([codes], (50, 50), order=3)
    assert prior.neighbours == ((), ())
    table = prior.predictor().constant_frequencies(1)
    assert table.tolist() == prior.predictor().frequencies(1).tolist()


def test_context_halves_the_bits_of_new_codes():
    train = [chained_codes(seed, 200) for seed in range(20)]
    new = chained_codes(1000, 2000)
    static = StaticPrior.fit(train, every_prior.CARDINALITIES)
    context = ContextPrior.fit(train, every_prior.CARDINALITIES)
    assert context.bits(new) < 0.6 * static.bits(new)
    assert context.predictor().constant_frequencies(1) is None


def test_order_and_coarser_bound_the_neighbours():
    train = [chained_codes(seed, 200) for seed in range(20)]
    for order, coarser in ((0, 1), (1, 0), (0, 0)):
        prior = ContextPrior.fit(
            train, every_prior.CARDINALITIES, order=order, coarser=coarser
        )
        for nearest in prior.neighbours:
            for near in nearest:
                assert near.earlier <= order
                assert near.coarser <= coarser


@pytest.mark.parametrize("key", ["order", "coarser"])
@pytest.mark.parametrize("reach", [-1, 17])
def test_reach_out_of_range_is_refused(key, reach):
    with pytest.raises(ConfigurationError, match=f"{key}: found {reach}"):
        ContextPrior.fit([np.zeros((9, 1), int)], (2,), **{key: reach})


def test_a_single_frame_makes_a_prior():
    prior = ContextPrior.fit([np.array([[1, 0]])], (3, 1))
    assert prior.neighbours == ((), ())
    first, certain = (prior.predictor().frequencies(k).tolist() for k in (0, 1))
    assert first[1] > first[0] > 1
    assert certain == [TOTAL_FREQUENCY]


def test_utterances_do_not_follow_each_other():
    codes = [np.array([[0], [1], [2]])] * 40
    prior = ContextPrior.fit(codes, (3,), order=1)
    predictor = prior.predictor()
    # Every utterance starts with 0, but no 0 follows a 2.
    assert predictor.frequencies(0).argmax() == 0
    for entry in (0, 1, 2):
        predictor.update(0, entry)
    assert predictor.frequencies(0)[0] < TOTAL_FREQUENCY / 2


def test_large_codebook_takes_memory_for_what_was_seen():
    codes = np.cumsum(np.ones((300, 2), dtype=np.int64) * 200, axis=0)
    prior = ContextPrior.fit([codes, codes], (65536, 65536), order=1)
    assert len(prior.content()) < 5000
    assert prior.bits(codes) < 0.5 * 300 * 32


@few
@given(numbers=st.lists(st.integers(0, 2**42 - 1), max_size=50))
def test_varints_round_trip(numbers):
    stored = write_varints(np.array(numbers, dtype=np.int64))
    assert read_varints(stored).tolist() == numbers


@pytest.mark.parametrize("number", [128, 2**42 - 1])
def test_varint_cut_short_is_refused(number):
    with pytest.raises(ValueError, match="cut short"):
        read_varints(write_varints(np.array([1, number]))[:-1])


# K = 1, V = 3; no neighbours; discount 8, strength 4; entries 0 and 2; counts.
GOOD = [1, 3, 0, 8, 4, 2, 0, 1, 5, 6]


def forged(changes: dict[int, int], extra: tuple[int, ...] = ()) -> bytes:
    numbers = [changes.get(place, number) for place, number in enumerate(GOOD)]
    return write_varints(np.array([*numbers, *extra]))


def test_content_is_as_described():
    prior = ContextPrior.from_content(forged({}))
    assert prior.cardinalities == (3,)
    assert prior.content() == forged({})
    frequencies = prior.predictor().frequencies(0)
    # (6, 0, 7) of 13 less half, and 4 + 1 shared by all three.
    expected = np.array([5.5 + 5 / 3, 5 / 3, 6.5 + 5 / 3]) / 17
    assert np.allclose(frequencies / TOTAL_FREQUENCY, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "too early"),
        (forged({0: 1 << 41}), "too early"),
        (forged({0: 0}), "num_codebooks"),
        (forged({1: 65537}), "codebook_size"),
        (forged({2: 33}), "context of 33 codes"),
        (forged({3: 16}), "no smoothing"),
        (forged({4: 1 << 28}), "no smoothing"),
        (forged({5: 1 << 41}), "too early"),
        (forged({5: 0}), "disagree"),
        (forged({7: 2}), "disagree"),
        (forged({6: 1 << 41, 7: 1 << 41}), "disagree"),
        (forged({9: 1 << 27}), "counts more than"),
        (forged({}, (0,)), "stored as"),
        (forged({})[:-1], "too early"),
        (forged({})[:-1] + b"\x86\x00", "stored as"),
        (forged({})[:-1] + b"\x86", "cut short"),
        (forged({}) + b"\x80" * 7 + b"\x01", "more than 6 bytes"),
        (write_varints(np.array([1, 3, 1, 0, 0])), "no neighbour"),
        (write_varints(np.array([1, 3, 1, 1, 1])), "no neighbour"),
        (write_varints(np.array([1, 3, 1, 0, 1])), "out of reach"),
        (write_varints(np.array([1, 3, 1, 17, 0])), "out of reach"),
    ],
)
def test_forged_content_is_refused(content, reason):
    with pytest.raises(ValueError, match=reason):
        ContextPrior.from_content(content)


def test_forged_sizes_allocate_nothing_to_speak_of():
    # Two hundred codebooks of 65536 entries, each with one code seen.
    sizes = [200] + [65536] * 200
    content = write_varints(np.array(sizes + [0, 8, 4, 1, 9, 0] * 200))
    tracemalloc.start()
    prior = ContextPrior.from_content(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert prior.cardinalities == (65536,) * 200
    assert peak < 2 << 20


def test_fragment_fits():
    prior = load_hyperpyyaml(
        "prior: " + (f"!include:{HPARAMS / 'context.yaml'}\n    order: 1\n")
    )["prior"]
    fitted = prior([chained_codes(0, 100)], every_prior.CARDINALITIES)
    assert isinstance(fitted, ContextPrior)
    assert max(near.earlier for near in sum(fitted.neighbours, ())) == 1
