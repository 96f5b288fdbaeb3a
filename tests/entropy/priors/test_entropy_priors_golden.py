"""Priors of the past: a golden file of every kind, and a message of each.

A later release has to read the files and to give the same tables, or old
messages are lost. A change that cannot needs a new kind: then add files. These
were written with

    ACOM_REGENERATE_GOLDEN=1 pytest tests/entropy/priors/test_entropy_priors_golden.py
"""

import os
from pathlib import Path

import numpy as np
import pytest
from every_prior import FITS

from speechbrain_acom.entropy.bitstream import read_message, write_message
from speechbrain_acom.entropy.priors import (
    AdaptivePrior,
    load_prior,
    save_prior,
)
from speechbrain_acom.entropy.priors.kinds import BASE_KINDS

GOLDEN = Path(__file__).parents[1] / "golden"
MODEL = b"\xca\xfe"
SIZES = (7, 4)


def golden_codes(num_frames: int, offset: int = 0) -> np.ndarray:
    """Codes made by arithmetic, so that no random generator matters."""
    step = np.arange(offset, offset + num_frames)
    first = step * step % 101 // 9 % SIZES[0]
    return np.stack([first, (first + step // 3) % SIZES[1]], axis=1)


def regenerate_golden() -> None:
    train = [golden_codes(90, offset) for offset in (0, 200, 400)]
    for name, fit in FITS.items():
        prior = fit(train, SIZES)
        save_prior(prior, GOLDEN / f"kind_{name}.prior")
        message = write_message(golden_codes(120, 77), 120, prior, MODEL)
        (GOLDEN / f"version_3_kind_{name}.acom").write_bytes(message)


if os.environ.get("ACOM_REGENERATE_GOLDEN"):
    regenerate_golden()


@pytest.mark.parametrize("name", FITS)
def test_prior_of_the_past_codes_as_it_did(name, tmp_path):
    path = GOLDEN / f"kind_{name}.prior"
    prior = load_prior(path)
    stored = (GOLDEN / f"version_3_kind_{name}.acom").read_bytes()
    codes = golden_codes(120, 77)
    assert write_message(codes, 120, prior, MODEL) == stored
    assert np.array_equal(read_message(stored, prior, MODEL).codes, codes)
    save_prior(prior, tmp_path / "again.prior")
    assert (tmp_path / "again.prior").read_bytes() == path.read_bytes()


def test_every_kind_has_a_golden_file():
    kinds = {type(load_prior(path)) for path in GOLDEN.glob("kind_*.prior")}
    assert kinds == {*BASE_KINDS.values(), AdaptivePrior}
