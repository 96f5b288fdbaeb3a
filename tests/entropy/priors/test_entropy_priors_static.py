"""Integer tables: fitting, ideal bits, files."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.entropy.priors import (
    StaticPrior,
    load_prior,
    prior_digest,
    save_prior,
)
from speechbrain_acom.entropy.priors.static import TABLE_TOTAL
from speechbrain_acom.errors import (
    AcomError,
    BitstreamError,
    ConfigurationError,
    DataError,
)


def small_prior() -> StaticPrior:
    codes = np.array([[0, 2, 0], [0, 1, 0], [1, 2, 0]])
    return StaticPrior.fit([codes], (2, 3, 1))


@settings(deadline=None, max_examples=50)
@given(
    counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=300),
)
def test_tables_are_valid_and_close_to_the_smoothed_shares(counts):
    entries = len(counts)
    scaled = np.array(counts) // max(1, sum(counts) // 20000)
    codes = np.repeat(np.arange(entries), scaled)[:, None]
    codes = np.concatenate([codes, [[0]]])
    (table,) = StaticPrior.fit([codes], (entries,)).tables
    assert table.sum() == TABLE_TOTAL
    assert table.min() >= 1
    weights = np.bincount(codes[:, 0], minlength=entries) + 0.5
    exact = weights / weights.sum() * TABLE_TOTAL
    # What rare entries take beyond their share, the others give in proportion.
    taken = np.maximum(1 - exact, 0).sum()
    expected = np.maximum(exact * (1 - taken / TABLE_TOTAL), 1)
    assert np.abs(table - expected).max() < 1 + 0.01 * taken


def test_frequencies_follow_the_counts():
    codes = np.array([0] * 7 + [1] * 3 + [2])[:, None]
    (table,) = StaticPrior.fit([codes], (4,)).tables
    # (7.5, 3.5, 1.5, 0.5) / 13 of 65536, rounded by largest remainder.
    assert table.tolist() == [37809, 17644, 7562, 2521]


def test_utterances_pool_their_counts():
    random = np.random.default_rng(0)
    codes = random.integers(0, 9, (50, 4))
    whole = StaticPrior.fit([codes], (9,) * 4)
    parts = StaticPrior.fit(
        iter([codes[:20], codes[20:20], codes[20:]]), (9,) * 4
    )
    assert prior_digest(whole) == prior_digest(parts)


def test_rare_entries_do_not_flatten_a_large_codebook():
    codes = np.zeros((10**6, 1), dtype=np.int64)
    prior = StaticPrior.fit([codes], (8192,))
    assert prior.tables[0][0] == TABLE_TOTAL - 8191
    assert prior.tables[0][1:].tolist() == [1] * 8191


def test_largest_codebook_is_uniform_and_costs_16_bits():
    codes = np.array([[0], [0], [65535]])
    prior = StaticPrior.fit([codes], (65536,))
    assert prior.tables[0].tolist() == [1] * 65536
    assert prior.bits(codes) == 48


def test_codebook_of_one_entry_costs_nothing():
    codes = np.zeros((5, 2), dtype=np.int64)
    prior = StaticPrior.fit([codes], (1, 1))
    assert prior.bits(codes) == 0
    assert prior.tables[0].tolist() == [TABLE_TOTAL]


def test_bits_are_the_sum_of_log_probabilities():
    prior = StaticPrior([np.array([49152, 16384]), np.array([32768, 32768])])
    codes = np.array([[0, 0], [1, 1], [1, 0]])
    expected = -np.log2(0.75) + 2 + 2 + 3
    assert prior.bits(codes) == pytest.approx(expected)
    assert prior.bits(codes[:0]) == 0


@pytest.mark.parametrize("entries", [65537, 0, -1])
def test_codebook_that_does_not_fit_the_coder_is_refused(entries):
    with pytest.raises(ConfigurationError, match="codebook_size") as caught:
        StaticPrior.fit([np.zeros((1, 1), int)], (entries,))
    assert str(entries) in str(caught.value)
    assert "65536" in str(caught.value)


def test_no_codebook_is_refused():
    with pytest.raises(ConfigurationError, match="num_codebooks"):
        StaticPrior([])


@pytest.mark.parametrize(
    "table",
    [
        np.array([65536, 0]),
        np.array([65537, -1]),
        np.array([32768, 32767]),
        np.array([0.5, 0.5]),
        np.array([[32768, 32768]]),
    ],
)
def test_bad_tables_are_refused(table):
    with pytest.raises(ConfigurationError, match="prior table"):
        StaticPrior([table])


def test_tables_cannot_be_changed():
    table = np.array([32768, 32768])
    prior = StaticPrior([table])
    table[0] = 1
    assert prior.tables[0].tolist() == [32768, 32768]
    with pytest.raises(ValueError, match="read-only"):
        prior.tables[0][0] = 1


def test_fit_on_no_frames_is_refused():
    for codes in ([], [np.zeros((0, 2), int)]):
        with pytest.raises(DataError, match="0 frames"):
            StaticPrior.fit(codes, (4, 4))


@pytest.mark.parametrize(
    ("codes", "error", "text"),
    [
        (np.zeros((3, 2), int), ConfigurationError, "num_codebooks: found 2"),
        (np.zeros(3, int), ConfigurationError, "integers of shape"),
        (np.zeros((3, 3)), ConfigurationError, "float64"),
        (np.array([[0, 3, 0]]), BitstreamError, "found 3 in frame 0, codebook"),
        (np.array([[0, 0, 0], [-1, 0, 0]]), BitstreamError, "-1 in frame 1"),
        (np.array([[2**64 - 1, 0, 0]], np.uint64), BitstreamError, "found -1"),
    ],
)
def test_codes_of_another_quantizer_are_named(codes, error, text):
    prior = small_prior()
    for use in (prior.bits, lambda c: StaticPrior.fit([c], (2, 3, 1))):
        with pytest.raises(error, match=text) as caught:
            use(codes)
        assert "\n" not in str(caught.value)


def test_file_round_trip(tmp_path):
    prior = small_prior()
    save_prior(prior, tmp_path / "a.prior")
    loaded = load_prior(str(tmp_path / "a.prior"))
    assert loaded.cardinalities == (2, 3, 1)
    assert prior_digest(loaded) == prior_digest(prior)
    for ours, theirs in zip(loaded.tables, prior.tables, strict=True):
        assert ours.tolist() == theirs.tolist()


def test_many_codebooks_round_trip(tmp_path):
    codes = np.random.default_rng(1).integers(0, 256, (20, 576))
    prior = StaticPrior.fit([codes], (256,) * 576)
    save_prior(prior, tmp_path / "bypass.prior")
    assert prior_digest(load_prior(tmp_path / "bypass.prior")) == (
        prior_digest(prior)
    )


def test_digest_tells_priors_apart():
    one = StaticPrior([np.array([32768, 32768])])
    other = StaticPrior([np.array([32767, 32769])])
    two = StaticPrior([np.array([32768, 32768])] * 2)
    assert len({prior_digest(p) for p in (one, other, two)}) == 3
    assert len(prior_digest(one)) == 32


def test_every_truncation_is_named(tmp_path):
    path = tmp_path / "cut.prior"
    save_prior(small_prior(), path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BitstreamError, match="cut.prior") as caught:
            load_prior(path)
        assert "\n" not in str(caught.value)


def test_every_changed_byte_is_found(tmp_path):
    path = tmp_path / "changed.prior"
    save_prior(small_prior(), path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x41
        path.write_bytes(changed)
        with pytest.raises(BitstreamError, match="changed.prior"):
            load_prior(path)


def test_other_files_are_named(tmp_path):
    path = tmp_path / "wrong.prior"
    path.write_bytes(b"PK\x03\x04 a pickle, perhaps")
    with pytest.raises(BitstreamError, match="wrong.prior: found 504b0304"):
        load_prior(path)
    path.write_bytes(b"ACMP\x07" + bytes(60))
    with pytest.raises(BitstreamError, match="version 7.*versions 1 and 2"):
        load_prior(path)
    with pytest.raises(BitstreamError, match="absent.prior: cannot be read"):
        load_prior(tmp_path / "absent.prior")


@pytest.mark.parametrize(
    "content",
    [
        "41434d5001",
        "41434d5001" + "00000000",
        "41434d5001" + "ffffffff",
        "41434d5001" + "00000001" + "00000002" + "7fff",
        "41434d5001" + "00000001" + "00000002" + "7fff7fff7fff",
        "41434d5001" + "00000001" + "00000002" + "7fff7ffe",
        "41434d5001" + "00000001" + "00000000",
        "41434d5001" + "00000001" + "00000002" + "7fff7fff7f",
    ],
)
def test_inconsistent_file_with_right_digest_is_refused(tmp_path, content):
    content = bytes.fromhex(content)
    path = tmp_path / "forged.prior"
    path.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(AcomError, match="forged.prior: not a usable prior"):
        load_prior(path)


def test_entropy_room_does_not_import_torch():
    program = (
        "import sys\n"
        "import speechbrain_acom.entropy.bitstream\n"
        "import speechbrain_acom.entropy.coder\n"
        "import speechbrain_acom.entropy.priors\n"
        "import speechbrain_acom.metrics.rate\n"
        "assert 'speechbrain_acom.entropy.coder' in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'speechbrain' not in sys.modules\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
