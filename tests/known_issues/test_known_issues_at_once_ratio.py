"""A long stream looked shorter than it was beside messages.

The rows of codes that are coded all at once were divided by the payloads of
the static prior message by message, each of which is filled up to whole bytes:
a stream of the static prior itself would have had a ratio below 1. They are
now divided by the same stream under the static prior.
"""

import entropy
import numpy as np
import pytest
from code_sets import CodeSet
from contestants import Contestant, _both
from entropy_worker import Coding

from speechbrain_acom.entropy.framing import ONE_TO_ONE


def test_a_stream_is_divided_by_a_stream():
    def coding(*sizes):
        return Coding(np.array(sizes), None, None, 0, 1.0, 1.0)

    codes, lengths = [np.zeros((1, 1), int)] * 3, np.ones(3, int)
    test = CodeSet(
        "made", codes, (2,), lengths, lengths, ONE_TO_ONE, list("abc"), [""] * 3
    )
    static, stream = _both("static", None)
    codings = {
        static.name: coding(2, 2, 2),
        stream.name: coding(4),
        "xz": coding(3, 3, 3),
        "xz_at_once": coding(3),
    }

    def ratio(one):
        return entropy.ratios(one, codings, test, 0).get("static_ratio")

    assert ratio(Contestant("xz", None)) == pytest.approx(1.5)
    assert ratio(Contestant("xz_at_once", None, at_once=True)) == 0.75
    assert ratio(static) is None and ratio(stream) is None
