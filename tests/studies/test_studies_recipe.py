"""Which numbers of codebooks a recipe tests."""

from functools import partial

import pytest

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer
from speechbrain_acom.studies.recipe import codebooks_to_test

SMALL = partial(
    ResidualVectorQuantizer, num_codebooks=4, codebook_size=8, codebook_dim=2
)


def numbers(wanted, quantizer=SMALL):
    hparams = {"test_num_codebooks": wanted}
    return codebooks_to_test(quantizer(channels=4), hparams)


def test_all_codebooks_unless_the_yaml_says_otherwise():
    assert numbers(None) == [4]
    assert numbers(None, Bypass) == [16]


def test_as_many_codebooks_as_the_yaml_says():
    assert numbers([1, 2, 4]) == [1, 2, 4]


@pytest.mark.parametrize("wanted", [[0], [5], [1, 9], 2, ["one"], [1.5]])
def test_codebooks_that_are_not_there_name_the_key(wanted):
    with pytest.raises(ConfigurationError) as caught:
        numbers(wanted)
    assert str(caught.value).startswith("test_num_codebooks: found")
    assert "\n" not in str(caught.value)


def test_quantizer_that_cannot_be_truncated_is_named():
    with pytest.raises(ConfigurationError, match="Bypass cannot be truncated"):
        numbers([1], Bypass)
