"""What it costs a session to say where a message ends, in three ways.

``python benchmarks/session_endings.py`` codes made utterances of one codebook
of 256 entries, of which one takes most, and, if ``--runs`` or ``--codes`` name
some, the codes of trained models. Another process reads every message. A row a
rate or test set goes to ``results/session_endings.json``. See
``benchmarks/README.md`` and ``docs/bitstream.md``.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from code_sets import CodeSet
from contestants import BASE, FRAGMENTS, SHIPPED
from data_sets import DataSet, add_data_arguments, data_sets
from message_worker import FILE, Job, check_read, read_elsewhere
from tqdm import tqdm

from speechbrain_acom.entropy.bitstream import write_message
from speechbrain_acom.entropy.endings import (
    ByteLength,
    CodedLength,
    Ending,
    EndSymbol,
)
from speechbrain_acom.entropy.framing import ONE_TO_ONE
from speechbrain_acom.entropy.priors import Prior, StaticPrior
from speechbrain_acom.entropy.priors.static import TABLE_TOTAL
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.inference import load_fitter
from speechbrain_acom.studies.results import Row, write_results

SEED = 0
MODEL = b"\xca\xfe"
CODEBOOK_SIZE, FAVOURITE = 256, 77
# Utterances of one to six seconds, at 25 frames/s.
FEWEST_FRAMES, MOST_FRAMES, FRAMES_PER_S = 25, 150, 25
# The favourite's share of the table, of 2^16: from all equal to all but sure.
SHARES = (256, 32768, 52429, 60293, 64225, 65200)


def prior_of(share: int) -> StaticPrior:
    """One entry with a share of 2^16, the others with what is left."""
    table = np.full(CODEBOOK_SIZE, (TABLE_TOTAL - share) // (CODEBOOK_SIZE - 1))
    table[FAVOURITE] += TABLE_TOTAL - table.sum()
    return StaticPrior([table])


def made_codes(prior: StaticPrior, count: int) -> tuple[np.ndarray, CodeSet]:
    """Utterances with the probabilities of a prior of one codebook.

    Arguments
    ---------
    prior : StaticPrior
        The prior.
    count : int
        Utterances.

    Returns
    -------
    tuple[np.ndarray, CodeSet]
        Lengths of as many others, in frames, and the utterances.
    """
    random = np.random.default_rng(SEED)
    lengths = random.integers(FEWEST_FRAMES, MOST_FRAMES + 1, 2 * count)
    train, test = np.split(lengths, 2)
    probabilities = prior.tables[0] / TABLE_TOTAL
    utterances = [
        random.choice(CODEBOOK_SIZE, (length, 1), p=probabilities)
        for length in test
    ]
    names = [str(number) for number in range(count)]
    return train, CodeSet(
        name="test",
        utterances=utterances,
        cardinalities=prior.cardinalities,
        seconds=test / FRAMES_PER_S,
        num_frames=test,
        framing=ONE_TO_ONE,
        recordings=names,
        targets=[""] * count,
    )


def measured(prior: Prior, lengths: np.ndarray, test: CodeSet) -> Row:
    """Sizes of the messages of a set, once another process has read them.

    Arguments
    ---------
    prior : Prior
        Codes all of them.
    lengths : np.ndarray
        Of training utterances, in frames of codes, shape (utterance,): what
        endings are fitted to.
    test : CodeSet
        The utterances.

    Returns
    -------
    Row
        "payload_bytes" is that of a file, which says the length elsewhere;
        the others are of whole messages of a session. All are means.

    Raises
    ------
    DataError
        If other codes or another length came back.
    """
    endings: dict[str, Ending] = {
        "byte_length": ByteLength(),
        "end_symbol": EndSymbol(round(float(lengths.mean()))),
        "coded_length": CodedLength.fit(lengths),
        "universal_length": CodedLength(),
    }
    frames = test.num_frames.tolist()
    pairs = list(zip(test.utterances, frames, strict=True))
    agreed = Session(prior, MODEL, test.framing)
    files = [
        write_message(codes, length, prior, MODEL, test.framing)
        for codes, length in pairs
    ]
    jobs = [Job(agreed, files, FILE)]
    for ending in endings.values():
        session = replace(agreed, ending=ending)
        jobs.append(Job(session, [session.write(*pair) for pair in pairs]))
    read_jobs = read_elsewhere(jobs)
    for reads in read_jobs:
        check_read(reads, test.utterances, frames)
    ideal = sum(map(prior.bits, test.utterances))
    row: Row = {
        "num_codebooks": len(test.cardinalities),
        "messages": len(pairs),
        "bits_per_frame": ideal / test.frames,
        "ideal_bytes": ideal / 8 / len(pairs),
        "payload_bytes": _mean([read.payload_bytes for read in read_jobs[0]]),
    }
    for name, job in zip(endings, jobs[1:], strict=True):
        row[f"{name}_bytes"] = _mean(list(map(len, job.messages)))
    return row


def _mean(sizes: Sequence[int]) -> float:
    return float(np.mean(sizes))


def priors_of(
    data: DataSet, names: Sequence[str]
) -> Iterator[tuple[str, Prior]]:
    """Priors that are fitted on a data set, and the one of its model.

    Arguments
    ---------
    data : DataSet
        The codes.
    names : Sequence[str]
        Fragments of priors.

    Yields
    ------
    tuple[str, Prior]
        Names and priors; that of the model last, where it is not static.
    """
    for name in names:
        fitter = load_fitter(FRAGMENTS / f"{name}.yaml")
        yield name, fitter(data.train.utterances, data.train.cardinalities)
    if data.shipped is not None:
        yield SHIPPED, data.shipped


def rates_of(row: Row, test: CodeSet) -> Row:
    """Bits a second of what :func:`measured` found, by its columns."""
    seconds = float(test.seconds.mean())
    return {
        key.replace("_bytes", "_bps"): 8 * size / seconds
        for key, size in row.items()
        if key.endswith("_bytes")
    }


def made_rows(count: int) -> Iterator[Row]:
    """A row a rate of made utterances, so many of each; none of none."""
    for share in tqdm(SHARES if count else (), unit="rate", disable=None):
        prior = prior_of(share)
        start: Row = {"data_set": "made", "split": "test", "prior": BASE}
        yield start | measured(prior, *made_codes(prior, count))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every rate and data set and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_data_arguments(parser)
    add = parser.add_argument
    add("--priors", nargs="+", default=[BASE, "context"], help="of real codes")
    add("--utterances", type=int, default=500, help="made, of each rate")
    add("--output", default="results/session_endings.json")
    options = parser.parse_args(arguments)
    rows = list(made_rows(options.utterances))
    described = [
        f"{options.utterances} made utterances of {FEWEST_FRAMES} to "
        f"{MOST_FRAMES} frames, one codebook of {CODEBOOK_SIZE} entries"
    ]
    for data in data_sets(options):
        lengths = np.array([len(codes) for codes in data.train.utterances])
        for name, prior in priors_of(data, options.priors):
            for test in data.tests:
                start: Row = {"data_set": data.name, "split": test.name}
                start["prior"] = name
                row = measured(prior, lengths, test)
                rows.append(start | row | rates_of(row, test))
        described.append(data.described())
    write_results(options.output, rows, "; ".join(described), SEED)


if __name__ == "__main__":
    main()
