"""Range coder: exact, short and the same everywhere."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_prior import Stepped, ToyPrior

from speechbrain_acom.entropy.coder import decode, encode
from speechbrain_acom.entropy.interval import RangeEncoder
from speechbrain_acom.entropy.priors import (
    StaticPrior,
    prior_digest,
)
from speechbrain_acom.entropy.priors.static import TABLE_TOTAL
from speechbrain_acom.entropy.symbols import code_edges
from speechbrain_acom.errors import BitstreamError, ConfigurationError


def random_prior(random, cardinalities, concentration) -> StaticPrior:
    tables = []
    for entries in cardinalities:
        shares = random.dirichlet(np.full(entries, concentration))
        free = TABLE_TOTAL - entries
        tables.append(1 + random.multinomial(free, shares))
    return StaticPrior(tables)


def draw_codes(random, prior, num_frames) -> np.ndarray:
    columns = [
        random.choice(len(table), num_frames, p=table / TABLE_TOTAL)
        for table in prior.tables
    ]
    return np.stack(columns, axis=1)


def decodes_to(payload, codes, prior) -> bool:
    try:
        return np.array_equal(decode(payload, len(codes), prior), codes)
    except BitstreamError:
        return False


def shortest_by_search(payload, codes, prior) -> int:
    """Length of the shortest prefix, or prefix plus one, that decodes."""
    # Shorter ones are the reader's to refuse: see Interval.shortest.
    encoder = RangeEncoder()
    for left, right in code_edges(codes, prior).reshape(-1, 2).tolist():
        encoder.encode(left, right)
    for length in range(4 * encoder.interval.words, len(payload)):
        low = payload[:length]
        high = int.from_bytes(low, "big") + 1
        if decodes_to(low, codes, prior):
            return length
        if high < 256**length and decodes_to(
            high.to_bytes(length, "big"), codes, prior
        ):
            return length
    return len(payload)


@settings(deadline=None, max_examples=100)
@given(
    cardinalities=st.lists(st.integers(1, 70), min_size=1, max_size=6),
    num_frames=st.integers(0, 80),
    concentration=st.sampled_from([0.01, 0.1, 1.0, 100.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_codes_of_the_prior_come_back_at_their_ideal_size(
    cardinalities, num_frames, concentration, seed
):
    random = np.random.default_rng(seed)
    prior = random_prior(random, cardinalities, concentration)
    codes = draw_codes(random, prior, num_frames)
    payload = encode(codes, prior)
    decoded = decode(payload, num_frames, prior)
    assert decoded.dtype == np.int64
    assert decoded.shape == (num_frames, len(cardinalities))
    assert np.array_equal(decoded, codes)
    # Never more than a byte over; under it only by zeros that are not sent.
    assert 8 * len(payload) <= prior.bits(codes) * 1.001 + 8.1


@settings(deadline=None, max_examples=100)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_any_codes_come_back_however_unlikely(data, seed):
    random = np.random.default_rng(seed)
    cardinalities = data.draw(
        st.lists(st.sampled_from([1, 2, 3, 300, 5000]), min_size=1, max_size=4)
    )
    num_frames = data.draw(st.integers(1, 30))
    prior = random_prior(random, cardinalities, 0.001)
    codes = np.array(
        data.draw(
            st.lists(
                st.tuples(*(st.integers(0, v - 1) for v in cardinalities)),
                min_size=num_frames,
                max_size=num_frames,
            )
        )
    )
    payload = encode(codes, prior)
    assert np.array_equal(decode(payload, num_frames, prior), codes)
    assert 8 * len(payload) <= prior.bits(codes) * 1.001 + 8.1


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_frames=st.integers(0, 12),
    kind=st.sampled_from(["drawn", "first", "last", "uniform"]),
)
def test_no_shorter_payload_decodes(seed, num_frames, kind):
    random = np.random.default_rng(seed)
    cardinalities = random.integers(2, 9, random.integers(1, 4))
    prior = random_prior(random, cardinalities, 0.1)
    codes = {
        "drawn": draw_codes(random, prior, num_frames),
        "first": np.zeros((num_frames, len(cardinalities)), int),
        "last": np.tile(cardinalities - 1, (num_frames, 1)),
        "uniform": random.integers(
            0, cardinalities, (num_frames, len(cardinalities))
        ),
    }[kind]
    payload = encode(codes, prior)
    assert shortest_by_search(payload, codes, prior) == len(payload)
    assert 8 * len(payload) <= prior.bits(codes) * 1.001 + 8.1


def test_every_length_of_a_long_message_comes_back():
    # Small steps often leave the last interval across a word boundary, where
    # the encoder holds words back because a carry may still change them.
    prior = StaticPrior([np.array([16384, 49152])])
    random = np.random.default_rng(2)
    codes = draw_codes(random, prior, 400)
    for length in range(len(codes)):
        payload = encode(codes[:length], prior)
        assert decodes_to(payload, codes[:length], prior)
        bits = prior.bits(codes[:length])
        assert 8 * len(payload) <= bits + 8.1


def test_codes_never_seen_in_training_are_codable():
    prior = StaticPrior.fit([np.zeros((10**5, 1), int)], (1000,))
    codes = np.arange(1000)[::-1, None]
    payload = encode(codes, prior)
    assert np.array_equal(decode(payload, 1000, prior), codes)


def test_largest_codebook_costs_two_bytes_a_code():
    codes = np.random.default_rng(3).integers(0, 65536, (200, 1))
    prior = StaticPrior.fit([codes[:1]], (65536,))
    payload = encode(codes, prior)
    assert np.array_equal(decode(payload, 200, prior), codes)
    assert abs(len(payload) - 400) <= 1


def test_codebooks_of_one_entry_cost_no_byte():
    prior = StaticPrior.fit([np.zeros((1, 2), int)], (1, 1))
    assert encode(np.zeros((500, 2), int), prior) == b""
    assert decode(b"", 500, prior).tolist() == [[0, 0]] * 500


def test_codebook_of_one_entry_between_others_changes_nothing():
    random = np.random.default_rng(5)
    prior = random_prior(random, (7, 1, 5), 1.0)
    codes = draw_codes(random, prior, 60)
    without = StaticPrior([prior.tables[0], prior.tables[2]])
    payload = encode(codes, prior)
    assert payload == encode(codes[:, [0, 2]], without)
    assert np.array_equal(decode(payload, 60, prior), codes)


def test_no_frame_gives_no_byte():
    prior = StaticPrior.fit([np.zeros((1, 2), int)], (4, 4))
    assert encode(np.zeros((0, 2), int), prior) == b""
    assert decode(b"", 0, prior).shape == (0, 2)


def test_planes_go_one_after_the_other():
    random = np.random.default_rng(7)
    prior = random_prior(random, (16, 8), 0.5)
    codes = draw_codes(random, prior, 50)
    tables = [prior.tables[0]] * 50 + [prior.tables[1]] * 50
    one_frame = codes.T.reshape(1, -1)
    assert encode(codes, prior) == encode(one_frame, StaticPrior(tables))


@settings(deadline=None, max_examples=60)
@given(
    cardinalities=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    num_frames=st.integers(0, 40),
    share_bits=st.integers(6, 24),
    drawn=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_codes_of_a_context_prior_come_back(
    cardinalities, num_frames, share_bits, drawn, seed
):
    random = np.random.default_rng(seed)
    prior = ToyPrior(cardinalities, 1 << share_bits)
    shape = (num_frames, len(cardinalities))
    if drawn:
        codes = prior.drawn(random, num_frames)
    else:
        codes = random.integers(0, cardinalities, shape)
    payload = encode(codes, prior)
    assert np.array_equal(decode(payload, num_frames, prior), codes)
    assert 8 * len(payload) <= prior.bits(codes) * 1.001 + 8.1


@settings(deadline=None, max_examples=40)
@given(
    cardinalities=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    num_frames=st.integers(0, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_both_ways_of_coding_give_the_same(cardinalities, num_frames, seed):
    random = np.random.default_rng(seed)
    static = random_prior(random, cardinalities, 0.1)
    stepped = Stepped(static)
    shape = (num_frames, len(cardinalities))
    codes = random.integers(0, cardinalities, shape)
    for complete in (False, True):
        payload = encode(codes, static, complete)
        assert encode(codes, stepped, complete) == payload
    payload = encode(codes, static)
    assert np.array_equal(decode(payload, num_frames, stepped), codes)
    # And of damage they see the same.
    damaged = bytes(random.permutation(list(payload)).astype(np.uint8))
    results = []
    for prior in (static, stepped):
        try:
            results.append(decode(damaged, num_frames, prior).tolist())
        except BitstreamError:
            results.append(None)
    assert results[0] == results[1]


def test_forged_count_ends_with_the_payload():
    static = random_prior(np.random.default_rng(0), (64,), 1.0)
    stepped = Stepped(static)
    for prior in (static, stepped):
        with pytest.raises(BitstreamError, match="too few for their") as caught:
            decode(bytes(range(1, 30)), 1 << 16, prior)
        assert caught.value.offset == 29
    # A byte is worth one or two of these codes.
    assert 20 < stepped.asked < 200


def test_many_codebooks_round_trip():
    random = np.random.default_rng(8)
    prior = random_prior(random, (256,) * 576, 0.3)
    codes = draw_codes(random, prior, 20)
    payload = encode(codes, prior)
    assert np.array_equal(decode(payload, 20, prior), codes)
    assert 8 * len(payload) == pytest.approx(prior.bits(codes), rel=1e-3)


def test_memory_layout_of_codes_does_not_matter():
    random = np.random.default_rng(9)
    prior = random_prior(random, (16, 8, 4), 0.5)
    codes = draw_codes(random, prior, 50)
    payload = encode(codes, prior)
    assert encode(np.asfortranarray(codes), prior) == payload
    assert encode(codes.astype(np.int16), prior) == payload
    wide = np.repeat(codes, 2, axis=1)
    assert encode(wide[:, ::2], prior) == payload


def test_codes_out_of_range_are_refused():
    prior = StaticPrior.fit([np.zeros((1, 2), int)], (4, 4))
    with pytest.raises(BitstreamError, match="expected 0 to 3"):
        encode(np.array([[0, 4]]), prior)
    with pytest.raises(ConfigurationError, match="num_codebooks"):
        encode(np.zeros((3, 1), int), prior)


def test_payload_that_no_codes_give_is_refused_in_one_line():
    prior = StaticPrior([np.array([21845, 21845, 21846])])
    with pytest.raises(BitstreamError, match="payload: found 16 by") as caught:
        decode(b"\xff" * 16, 60, prior)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=200)
@given(payload=st.binary(max_size=40), num_frames=st.integers(0, 60))
def test_garbage_gives_codes_or_a_bitstream_error(payload, num_frames):
    prior = random_prior(np.random.default_rng(0), (3, 1, 250), 0.05)
    try:
        codes = decode(payload, num_frames, prior)
    except BitstreamError:
        return
    assert codes.shape == (num_frames, 3)
    assert np.array_equal(prior.checked(codes), codes)


def test_a_fresh_process_gives_the_same_payload():
    program = (
        "import numpy as np\n"
        "from speechbrain_acom.entropy.coder import encode\n"
        "from speechbrain_acom.entropy.priors import StaticPrior, prior_digest\n"
        "codes = (np.arange(3000) ** 2 % 1009 % 37).reshape(-1, 3)\n"
        "prior = StaticPrior.fit([codes[:500]], (37, 37, 40))\n"
        "print(prior_digest(prior).hex(), encode(codes, prior).hex())\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    codes = (np.arange(3000) ** 2 % 1009 % 37).reshape(-1, 3)
    prior = StaticPrior.fit([codes[:500]], (37, 37, 40))
    expected = [prior_digest(prior).hex(), encode(codes, prior).hex()]
    assert finished.stdout.split() == expected, finished.stderr
