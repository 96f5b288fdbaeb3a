"""Errors that name what was given, what was expected and what to do.

Every message is one line, so that a log or a terminal shows all of it.
"""


class AcomError(ValueError):
    """Base of every error that this package raises on bad input."""


class ConfigurationError(AcomError):
    """A hyperparameter is out of its range or contradicts another one.

    Arguments
    ---------
    key : str
        Name of the hyperparameter as it stands in the YAML.
    found : object
        The value that was given.
    expected : str
        What would have been accepted.

    Example
    -------
    >>> raise ConfigurationError("split_layer", 9, "an integer from 0 to 4")
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: split_layer: found 9, expected an integer from 0 to 4
    """

    def __init__(self, key: str, found: object, expected: str) -> None:
        super().__init__(f"{key}: found {found!r}, expected {expected}")
        self.key = key


class AudioError(AcomError):
    """An audio file cannot be used: missing, empty, damaged or not audio."""


class DataError(AcomError):
    """A data set's folder or metadata is missing or not as expected."""


class BitstreamError(AcomError):
    """A message is damaged, of another model or of another version.

    Arguments
    ---------
    reason : str
        What was found, what was expected and what to do, in one line.
    offset : int | None
        The byte of the message, from 0, that shows it. None, where no byte
        does. The line that is shown names it.

    Example
    -------
    >>> raise BitstreamError("message: starts with 52, expected a9", offset=0)
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.BitstreamError: byte 0: message: starts with 52, expected a9
    """

    def __init__(self, reason: str, offset: int | None = None) -> None:
        place = "" if offset is None else f"byte {offset}: "
        super().__init__(place + reason)
        self.reason = reason
        self.offset = offset
