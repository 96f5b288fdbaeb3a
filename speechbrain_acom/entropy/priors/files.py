"""Priors as files: versioned, with a hash of their content.

A file is the magic "ACMP", a version in one byte, from version 2 on the kind
of the prior in one byte, its content, and last the SHA-256 of all before it.
Version 1 holds static tables.
"""

import hashlib
from os import PathLike
from pathlib import Path

from speechbrain_acom.entropy.priors.adaptive import AdaptivePrior
from speechbrain_acom.entropy.priors.contract import Prior
from speechbrain_acom.entropy.priors.kinds import BASE_KINDS
from speechbrain_acom.entropy.priors.static import StaticPrior
from speechbrain_acom.errors import BitstreamError

FILE_MAGIC = b"ACMP"
STATIC_VERSION, ANY_VERSION = 1, 2
KINDS: dict[int, type[Prior]] = {
    **BASE_KINDS,
    AdaptivePrior.KIND: AdaptivePrior,
}

_DIGEST_BYTES = hashlib.sha256().digest_size


def prior_digest(prior: Prior) -> bytes:
    """SHA-256 of a prior: equal if and only if the priors are equal.

    Arguments
    ---------
    prior : Prior
        The prior.

    Returns
    -------
    bytes
        32 bytes, the last ones of its file.
    """
    return hashlib.sha256(_start(prior) + prior.content()).digest()


def save_prior(prior: Prior, path: str | PathLike) -> None:
    """Write a prior into one file.

    Arguments
    ---------
    prior : Prior
        The prior.
    path : str | PathLike
        File to write.
    """
    stored = _start(prior) + prior.content()
    Path(path).write_bytes(stored + hashlib.sha256(stored).digest())


def load_prior(path: str | PathLike) -> Prior:
    """Read what :func:`save_prior` wrote.

    Arguments
    ---------
    path : str | PathLike
        File to read.

    Returns
    -------
    Prior
        A prior of the same kind, with the same digest.

    Raises
    ------
    BitstreamError
        If the file cannot be read, is not a prior, is of another version, or
        is cut short or corrupted. The message names the file.
    """
    try:
        stored = Path(path).read_bytes()
    except OSError as error:
        raise BitstreamError(
            f"{path}: cannot be read ({error.strerror}), "
            "expected a file that save_prior wrote"
        ) from error
    version = _checked_version(path, stored)
    content = stored[len(FILE_MAGIC) + 1 : -_DIGEST_BYTES]
    try:
        if version == STATIC_VERSION:
            return StaticPrior.from_content(content)
        return KINDS[content[0]].from_content(content[1:])
    # Whatever a forged file with a right checksum may bring about.
    except (ValueError, LookupError, MemoryError, OverflowError) as error:
        raise BitstreamError(
            f"{path}: not a usable prior ({error}): fit it again"
        ) from error


def _start(prior: Prior) -> bytes:
    if prior.KIND == StaticPrior.KIND:
        return FILE_MAGIC + bytes([STATIC_VERSION])
    return FILE_MAGIC + bytes([ANY_VERSION, prior.KIND])


def _checked_version(path: str | PathLike, stored: bytes) -> int:
    """Version of a whole, undamaged file."""
    if not stored.startswith(FILE_MAGIC):
        raise BitstreamError(
            f"{path}: found {stored[:4].hex() or 'an empty file'}, expected a "
            f"prior, which starts with {FILE_MAGIC.hex()}"
        )
    version = stored[len(FILE_MAGIC) : len(FILE_MAGIC) + 1]
    known = (STATIC_VERSION, ANY_VERSION)
    if version and version[0] not in known:
        raise BitstreamError(
            f"{path}: prior of version {version[0]}, this reader knows "
            f"versions {STATIC_VERSION} and {ANY_VERSION}"
        )
    content, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise BitstreamError(
            f"{path}: cut short or corrupted ({len(stored)} bytes, the "
            "checksum differs): copy the prior again"
        )
    return version[0]
