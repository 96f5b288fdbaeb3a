"""What every kind of prior promises."""

import hashlib

import every_prior
import numpy as np
import pytest
from every_prior import CARDINALITIES, frame_by_frame, plane_by_plane
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.entropy.priors import (
    TOTAL_FREQUENCY,
    load_prior,
    prior_digest,
    save_prior,
)
from speechbrain_acom.errors import (
    BitstreamError,
    ConfigurationError,
    DataError,
)

every_kind = pytest.mark.parametrize("kind", every_prior.FITS)
# Any codes whatever: most were never seen next to each other.
any_codes = st.lists(
    st.tuples(*(st.integers(0, size - 1) for size in CARDINALITIES)),
    min_size=1,
    max_size=12,
).map(np.array)
few = settings(deadline=None, max_examples=20)


def assert_same_tables(ours, theirs):
    for our_plane, their_plane in zip(ours, theirs, strict=True):
        assert np.array_equal(our_plane, their_plane)


@every_kind
@few
@given(codes=any_codes)
def test_tables_are_frequencies_in_any_context(kind, codes):
    planes = frame_by_frame(every_prior.fitted(kind), codes)
    for size, tables in zip(CARDINALITIES, planes, strict=True):
        for table in tables:
            assert table.dtype == np.int64
            assert table.shape == (size,)
            assert table.min() >= 1
            assert table.sum() == TOTAL_FREQUENCY


@every_kind
@few
@given(codes=any_codes)
def test_planes_and_frames_give_the_same_tables(kind, codes):
    prior = every_prior.fitted(kind)
    assert_same_tables(
        frame_by_frame(prior, codes), plane_by_plane(prior, codes)
    )


@every_kind
@few
@given(codes=any_codes, cut=st.integers(0, 12))
def test_codes_may_be_observed_in_pieces(kind, codes, cut):
    prior = every_prior.fitted(kind)
    pieces = prior.predictor()
    for codebook, whole in enumerate(plane_by_plane(prior, codes)):
        tables = [
            *pieces.observe(codebook, codes[:cut, codebook]),
            *pieces.observe(codebook, codes[cut:, codebook]),
        ]
        assert np.array_equal(tables, whole)


@every_kind
def test_tables_that_were_given_stay_what_they_were(kind):
    prior = every_prior.fitted(kind)
    codes = every_prior.chained_codes(7, 30)
    predictor = prior.predictor()
    given_out = []
    for entry in codes[:, 0].tolist():
        table = predictor.frequencies(0)
        given_out.append((table, table.copy()))
        predictor.update(0, entry)
    for table, copied in given_out:
        assert np.array_equal(table, copied)


@every_kind
def test_asking_twice_or_not_at_all_changes_nothing(kind):
    prior = every_prior.fitted(kind)
    codes = every_prior.chained_codes(5, 20)
    asked, silent = prior.predictor(), prior.predictor()
    for frame in codes.tolist():
        for codebook, entry in enumerate(frame):
            first = asked.frequencies(codebook)
            assert np.array_equal(first, asked.frequencies(codebook))
            asked.update(codebook, entry)
            silent.update(codebook, entry)
    assert np.array_equal(asked.frequencies(0), silent.frequencies(0))


@every_kind
def test_messages_do_not_teach_each_other(kind):
    prior = every_prior.fitted(kind)
    codes = every_prior.chained_codes(3, 40)
    before = plane_by_plane(prior, codes)
    plane_by_plane(prior, codes[::-1])
    assert_same_tables(before, plane_by_plane(prior, codes))


@every_kind
@few
@given(codes=any_codes, count=st.integers(1, 3))
def test_first_codebooks_keep_their_tables(kind, codes, count):
    prior = every_prior.fitted(kind)
    first = prior.first(count)
    assert first.cardinalities == CARDINALITIES[:count]
    assert_same_tables(
        plane_by_plane(first, codes[:, :count]),
        plane_by_plane(prior, codes)[:count],
    )


@every_kind
def test_all_codebooks_are_the_prior_itself(kind):
    prior = every_prior.fitted(kind)
    assert prior.first(3) is prior
    for count in (0, 4):
        with pytest.raises(ConfigurationError, match="num_codebooks"):
            prior.first(count)


@every_kind
@few
@given(codes=any_codes)
def test_finer_codes_do_not_matter(kind, codes):
    prior = every_prior.fitted(kind)
    other = codes.copy()
    other[:, 2] = (other[:, 2] + 1) % CARDINALITIES[2]
    assert_same_tables(
        frame_by_frame(prior, codes)[:2], frame_by_frame(prior, other)[:2]
    )


@every_kind
def test_constant_tables_are_those_of_every_frame(kind):
    prior = every_prior.fitted(kind)
    planes = plane_by_plane(prior, every_prior.chained_codes(1, 20))
    predictor = prior.predictor()
    for codebook, tables in enumerate(planes):
        constant = predictor.constant_frequencies(codebook)
        if constant is not None:
            assert all(np.array_equal(constant, table) for table in tables)


@every_kind
@few
@given(codes=any_codes)
def test_bits_are_the_sum_of_log_probabilities(kind, codes):
    prior = every_prior.fitted(kind)
    planes = plane_by_plane(prior, codes)
    chosen = [
        planes[codebook][frame][entry]
        for (frame, codebook), entry in np.ndenumerate(codes)
    ]
    expected = np.sum(24 - np.log2(np.array(chosen, dtype=float)))
    assert prior.bits(codes) == pytest.approx(expected)
    assert prior.bits(codes[:0]) == 0


@every_kind
def test_codes_of_another_quantizer_are_refused(kind):
    prior = every_prior.fitted(kind)
    with pytest.raises(ConfigurationError, match="num_codebooks: found 2"):
        prior.bits(np.zeros((3, 2), int))
    with pytest.raises(BitstreamError, match="found 9 in frame 0, codebook 1"):
        prior.bits(np.array([[0, 9, 0]]))


@every_kind
def test_fit_refuses_what_makes_no_prior(kind):
    fit = every_prior.FITS[kind]
    with pytest.raises(DataError, match="0 frames"):
        fit([np.zeros((0, 2), int)], (4, 4))
    with pytest.raises(ConfigurationError, match="codebook_size"):
        fit([np.zeros((1, 1), int)], (65537,))
    with pytest.raises(BitstreamError, match="found 4 in frame 0"):
        fit([np.array([[4]])], (4,))


@every_kind
def test_file_round_trip(kind, tmp_path):
    prior = every_prior.fitted(kind)
    save_prior(prior, tmp_path / "a.prior")
    loaded = load_prior(tmp_path / "a.prior")
    assert type(loaded) is type(prior)
    assert loaded.cardinalities == CARDINALITIES
    assert prior_digest(loaded) == prior_digest(prior)
    codes = every_prior.chained_codes(2, 50)
    assert_same_tables(
        plane_by_plane(loaded, codes), plane_by_plane(prior, codes)
    )


@every_kind
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_damaged_file_is_refused(kind, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / f"{kind}.prior"
    save_prior(every_prior.fitted(kind), path)
    stored = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del stored[data.draw(st.integers(0, len(stored) - 1)) :]
    else:
        place = data.draw(st.integers(0, len(stored) - 1))
        stored[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(stored)
    with pytest.raises(BitstreamError, match=path.name) as caught:
        load_prior(path)
    assert "\n" not in str(caught.value)


@every_kind
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_forged_file_is_refused_or_codes(kind, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / f"forged_{kind}.prior"
    save_prior(every_prior.fitted(kind), path)
    stored = bytearray(path.read_bytes()[:-32])
    if data.draw(st.booleans()):
        del stored[data.draw(st.integers(5, len(stored) - 1)) :]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(4, len(stored) - 1))
        stored[place] = data.draw(st.integers(0, 255))
    path.write_bytes(stored + hashlib.sha256(stored).digest())
    try:
        prior = load_prior(path)
    except BitstreamError as error:
        assert "\n" not in str(error)
        return
    for tables in plane_by_plane(
        prior, np.zeros((2, len(prior.cardinalities)), int)
    ):
        for table in tables:
            assert table.min() >= 1
            assert table.sum() == TOTAL_FREQUENCY
