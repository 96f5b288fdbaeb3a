"""Checks of a quantizer's settings: one line that names the YAML's key."""

from collections.abc import Collection

from speechbrain_acom.entropy.container import MAX_CODEBOOKS
from speechbrain_acom.errors import ConfigurationError

# The coder's tables sum to 2**16 and every entry needs at least one part.
LARGEST_CODEBOOK = 2**16


def check_integer(
    key: str, value: int, lowest: int, highest: int | None = None
) -> None:
    """Raise ConfigurationError unless value is an integer in the range.

    Arguments
    ---------
    key : str
        Key of the YAML.
    value : int
        What was found.
    lowest : int
        The least it may be.
    highest : int | None
        The most it may be. None: anything.

    Example
    -------
    >>> check_integer("codebook_size", 0, 1, 65536)
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: codebook_size: found 0, expected an integer from 1 to 65536
    """
    number = isinstance(value, int) and not isinstance(value, bool)
    if number and value >= lowest and (highest is None or value <= highest):
        return
    upper = "on" if highest is None else f"to {highest}"
    raise ConfigurationError(key, value, f"an integer from {lowest} {upper}")


def check_num_codebooks(value: int) -> None:
    """Raise ConfigurationError unless a message can hold so many codebooks.

    Arguments
    ---------
    value : int
        K, what was found.

    Example
    -------
    >>> check_num_codebooks(100_000)
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: num_codebooks: found 100000, expected an integer from 1 to 65536
    """
    check_integer("num_codebooks", value, 1, MAX_CODEBOOKS)


def check_share(key: str, value: float) -> None:
    """Raise ConfigurationError unless value is in [0, 1).

    Arguments
    ---------
    key : str
        Key of the YAML.
    value : float
        What was found.
    """
    if not (_is_number(value) and 0.0 <= value < 1.0):
        raise ConfigurationError(key, value, "a number in [0, 1)")


def check_probability(key: str, value: float) -> None:
    """Raise ConfigurationError unless value is in [0, 1].

    Arguments
    ---------
    key : str
        Key of the YAML.
    value : float
        What was found.
    """
    if not (_is_number(value) and 0.0 <= value <= 1.0):
        raise ConfigurationError(key, value, "a number in [0, 1]")


def check_weight(key: str, value: float) -> None:
    """Raise ConfigurationError unless value is a number from 0 on.

    Arguments
    ---------
    key : str
        Key of the YAML.
    value : float
        What was found.
    """
    if not (_is_number(value) and 0.0 <= value < float("inf")):
        raise ConfigurationError(key, value, "a number from 0 on")


def check_choice(key: str, value: str, choices: Collection[str]) -> None:
    """Raise ConfigurationError unless value is one of the choices.

    Arguments
    ---------
    key : str
        Key of the YAML.
    value : str
        What was found.
    choices : Collection[str]
        What there is.
    """
    if value not in choices:
        raise ConfigurationError(key, value, " or ".join(choices))


def _is_number(value: object) -> bool:
    """Whether it is one; YAML takes 1e-3 for text, and yes for true."""
    return isinstance(value, int | float) and not isinstance(value, bool)
