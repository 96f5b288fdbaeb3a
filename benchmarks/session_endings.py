"""What it costs a session to say where a message ends, in three ways.

``python benchmarks/session_endings.py`` codes made utterances of one codebook
of 256 entries, of which one takes most, and writes a row a rate to
``results/session_endings.json``. See ``docs/bitstream.md``.
"""

import argparse
from collections.abc import Iterable, Sequence

import numpy as np
from tqdm import tqdm

from speechbrain_acom.entropy.coder import encode
from speechbrain_acom.entropy.endings import (
    ByteLength,
    CodedLength,
    Ending,
    EndSymbol,
)
from speechbrain_acom.entropy.priors import StaticPrior
from speechbrain_acom.entropy.priors.static import TABLE_TOTAL
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.studies.results import Row, write_results

SEED = 0
MODEL = b"\xca\xfe"
CODEBOOK_SIZE, FAVOURITE = 256, 77
# Utterances of one to six seconds, at 25 frames/s.
FEWEST_FRAMES, MOST_FRAMES = 25, 150
# The favourite's share of the table, of 2^16: from all equal to all but sure.
SHARES = (256, 32768, 52429, 60293, 64225, 65200)


def prior_of(share: int) -> StaticPrior:
    """One entry with a share of 2^16, the others with what is left."""
    table = np.full(CODEBOOK_SIZE, (TABLE_TOTAL - share) // (CODEBOOK_SIZE - 1))
    table[FAVOURITE] += TABLE_TOTAL - table.sum()
    return StaticPrior([table])


def measured(prior: StaticPrior, count: int) -> Row:
    """The row of one prior.

    Arguments
    ---------
    prior : StaticPrior
        It is of one codebook; the utterances have its probabilities.
    count : int
        Utterances.

    Returns
    -------
    Row
        "payload_bytes" is that of a file, which says the length elsewhere;
        the others are of whole messages of a session. All are means.
    """
    random = np.random.default_rng(SEED)
    lengths = random.integers(FEWEST_FRAMES, MOST_FRAMES + 1, 2 * count)
    train, test = np.split(lengths, 2)
    endings: dict[str, Ending] = {
        "byte_length": ByteLength(),
        "end_symbol": EndSymbol(round(float(train.mean()))),
        "coded_length": CodedLength.fit(train),
        "universal_length": CodedLength(),
    }
    probabilities = prior.tables[0] / TABLE_TOTAL
    utterances = [
        random.choice(CODEBOOK_SIZE, (length, 1), p=probabilities)
        for length in test
    ]
    ideal = sum(map(prior.bits, utterances))
    row: Row = {
        "bits_per_frame": ideal / int(test.sum()),
        "ideal_bytes": ideal / 8 / count,
        "payload_bytes": _mean(encode(codes, prior) for codes in utterances),
    }
    for name, ending in endings.items():
        session = Session(prior, MODEL, ending=ending)
        row[f"{name}_bytes"] = _mean(
            session.write(codes, len(codes)) for codes in utterances
        )
    return row


def _mean(messages: Iterable[bytes]) -> float:
    return float(np.mean([len(message) for message in messages]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every rate and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default="results/session_endings.json")
    parser.add_argument(
        "--utterances", type=int, default=500, help="of each rate"
    )
    options = parser.parse_args(arguments)
    rows = [
        measured(prior_of(share), options.utterances)
        for share in tqdm(SHARES, unit="rate", disable=None)
    ]
    write_results(
        options.output,
        rows,
        f"{options.utterances} made utterances of {FEWEST_FRAMES} to "
        f"{MOST_FRAMES} frames, one codebook of {CODEBOOK_SIZE} entries",
        SEED,
    )


if __name__ == "__main__":
    main()
