"""Settings that all quantizers have in common."""

import inspect

import pytest

from speechbrain_acom import quantizers
from speechbrain_acom.entropy.container import MAX_CODEBOOKS
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import adapters
from speechbrain_acom.quantizers.settings import (
    check_probability,
    check_share,
    check_weight,
)


def _with_codebooks():
    """Every class that is told its number of codebooks."""
    for module in (quantizers, adapters):
        for name in module.__all__:
            keys = inspect.signature(getattr(module, name)).parameters.keys()
            # What takes **residual gives it to one that is told.
            if isinstance(getattr(module, name), type) and keys & {
                "num_codebooks",
                "residual",
            }:
                yield getattr(module, name)


CLASSES = list(_with_codebooks())


def test_lobes_and_adapters_are_asked():
    assert {
        quantizers.ResidualVectorQuantizer,
        quantizers.RateAwareVectorQuantizer,
        adapters.AdaptedDAC,
        adapters.AdaptedResidualFSQ,
    } < set(CLASSES)


@pytest.mark.parametrize("number", [0, MAX_CODEBOOKS + 1, 10**9, True])
@pytest.mark.parametrize("kind", CLASSES)
def test_codebooks_that_no_message_holds_name_their_key(kind, number):
    needed = {"channels": 64, "semantic_channels": 32}
    keys = inspect.signature(kind).parameters.keys()
    with pytest.raises(ConfigurationError) as error:
        kind(
            **{key: needed[key] for key in needed.keys() & keys},
            num_codebooks=number,
        )
    assert str(error.value) == (
        f"num_codebooks: found {number}, expected an integer from 1 to "
        f"{MAX_CODEBOOKS}"
    )


@pytest.mark.parametrize(
    "check", [check_share, check_probability, check_weight]
)
@pytest.mark.parametrize(
    "value", ["1e-3", "abc", None, True, [], -0.1, float("nan"), float("inf")]
)
def test_what_is_no_such_number_names_its_key(check, value):
    with pytest.raises(ConfigurationError) as error:
        check("beta", value)
    assert error.value.key == "beta"


@pytest.mark.parametrize(
    "check", [check_share, check_probability, check_weight]
)
@pytest.mark.parametrize("value", [0, 0.0, 0.5])
def test_numbers_in_range_are_taken(check, value):
    check("beta", value)
