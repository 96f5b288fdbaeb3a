"""Bits and speed of our priors on given codes, against other coders.

``python benchmarks/entropy.py --runs digits=FOLDER ...`` takes the codes of
exported models, ``--codes NAME=TRAIN.npz,TEST.npz`` takes them from files. A
row a coder goes to ``results/entropy.json``, where rows of other data sets
stay.
See ``benchmarks/README.md``.
"""

import argparse
from collections.abc import Sequence

import torch
from code_sets import CodeSet
from contestants import (
    AT_ONCE,
    BASE,
    NEURAL,
    NEURAL_FLOAT,
    TRANSFORMER,
    Contestant,
    Fitting,
    known_coders,
)
from data_sets import DataSet, add_data_arguments, data_sets
from entropy_worker import SECONDS, Coding, measured_coding
from tqdm import tqdm

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.metrics.bootstrap import ratio_interval
from speechbrain_acom.studies.results import Row, update_results

SEED = 0
# Payloads are to keep within this of the cross-entropy, and a byte a message.
BOUND = 1.005
# Million symbols a second. Of the neural prior: 100 times real time at 25
# frames/s of two codebooks, whatever the data set has.
SPEED_TARGETS = {BASE: 2.0, NEURAL: 100 * 25 * 2 / 1e6}


def rows_of(
    data: DataSet,
    names: Sequence[str],
    seed: int,
    seconds: float,
    epochs: int | None = None,
) -> list[Row]:
    """Fit and measure all coders on a data set.

    Arguments
    ---------
    data : DataSet
        The codes.
    names : Sequence[str]
        Which coders, the static prior among them.
    seed : int
        Of the transformer and of the draws.
    seconds : float
        Time of the processor after which no new pass is timed.
    epochs : int | None
        Of the networks, at most; None: those of the neural prior's YAML.

    Returns
    -------
    list[Row]
        One a test set and coder.
    """
    fitting = Fitting(data.train, seed, data.shipped, epochs)
    fitted = [one for name in names for one in fitting.fit(name)]
    rows = []
    for test in data.tests:
        codings = {
            one.name: measured_coding(
                one.coder, test.joined() if one.at_once else test, seconds
            )
            for one in tqdm(fitted, desc=test.name, disable=None)
        }
        for one in fitted:
            coding = codings[one.name]
            rows.append(
                {
                    "data_set": data.name,
                    "split": test.name,
                    "coder": one.name,
                    "hours": test.hours,
                    "train_hours": data.train.hours,
                    "num_codebooks": len(test.cardinalities),
                    "codebook_size": max(test.cardinalities),
                    "messages": len(coding.payload_bytes),
                    **rates(coding, codings[BASE], test, one.at_once),
                    **ratios(one, codings, test, seed),
                    **bound(coding),
                    **one.columns,
                    "file_bytes": coding.file_bytes,
                    **speeds(one.name, coding, test),
                }
            )
    return rows


def rates(coding: Coding, base: Coding, test: CodeSet, at_once: bool) -> Row:
    """Bits of a coder, per frame and per second.

    Arguments
    ---------
    coding : Coding
        Of the coder.
    base : Coding
        Of our static prior: others get containers of the same size.
    test : CodeSet
        What was coded.
    at_once : bool
        Whether it is one payload, which has no messages.

    Returns
    -------
    Row
        Columns; None where there is no such thing.
    """
    seconds = float(test.seconds.sum())
    payload = 8 * int(coding.payload_bytes.sum())
    message, ideal = None, None
    if at_once:
        pass
    elif coding.message_bytes is not None:
        message = 8 * int(coding.message_bytes.sum()) / seconds
    else:
        container = (base.message_bytes - base.payload_bytes).sum()
        message = (payload + 8 * int(container)) / seconds
    if coding.bits is not None:
        ideal = float(coding.bits.sum()) / seconds
    return {
        "bits_per_frame": payload / test.frames,
        "cross_entropy_bps": ideal,
        "payload_bps": payload / seconds,
        "message_bps": message,
    }


def ratios(
    one: Contestant, codings: dict[str, Coding], test: CodeSet, seed: int
) -> Row:
    """Payload over that of the static prior, and over those of float models.

    Arguments
    ---------
    one : Contestant
        The coder.
    codings : dict[str, Coding]
        Of all coders.
    test : CodeSet
        What was coded.
    seed : int
        Of the draws.

    Returns
    -------
    Row
        Each ratio with its 95 % interval, over utterances drawn in pairs. One
        payload of all utterances is compared with such a one, which leaves
        nothing to draw.
    """
    row: Row = {}
    mine = codings[one.name].payload_bytes
    for other in (BASE, NEURAL_FLOAT, TRANSFORMER):
        theirs = f"{other}{AT_ONCE if one.at_once else ''}"
        if theirs not in codings or theirs == one.name:
            continue
        sizes = codings[theirs].payload_bytes
        if one.at_once:
            row[f"{other}_ratio"] = float(mine.sum() / sizes.sum())
            continue
        interval = ratio_interval(mine, sizes, test.recordings, seed)
        row[f"{other}_ratio"] = interval.value
        row[f"{other}_ratio_low"] = interval.low
        row[f"{other}_ratio_high"] = interval.high
    return row


def bound(coding: Coding) -> Row:
    """Whether payloads are as short as they should be.

    Arguments
    ---------
    coding : Coding
        Of the coder.

    Returns
    -------
    Row
        ``within_bound``: 1.005 times the cross-entropy and a byte a message.
    """
    if coding.bits is None:
        return {"within_bound": None}
    payload, messages = coding.payload_bytes.sum(), len(coding.bits)
    limit = BOUND * coding.bits.sum() / 8 + messages
    return {"within_bound": "yes" if payload <= limit else "no"}


def speeds(name: str, coding: Coding, test: CodeSet) -> Row:
    """Codes a second and times real time of one core, each way.

    Arguments
    ---------
    name : str
        The coder.
    coding : Coding
        Of it.
    test : CodeSet
        What was coded.

    Returns
    -------
    Row
        Columns, and whether a target is met where there is one.
    """
    row: Row = {}
    for way in ("encode", "decode"):
        seconds = getattr(coding, f"{way}_seconds")
        millions = test.symbols / 1e6 / seconds
        row[f"{way}_million_symbols_per_second"] = millions
        row[f"{way}_times_real_time"] = float(test.seconds.sum()) / seconds
    target = SPEED_TARGETS.get(name)
    row["speed_target"], row["speed_target_met"] = None, None
    if target is not None:
        column = "million_symbols_per_second"
        slower = min(row[f"{way}_{column}"] for way in ("encode", "decode"))
        row["speed_target"] = f"{target:g} million symbols per second"
        row["speed_target_met"] = "yes" if slower >= target else "no"
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every coder on every data set and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add_data_arguments(parser)
    add("--coders", nargs="+", default=known_coders())
    add("--seconds", type=float, default=SECONDS, help="time a coder and way")
    add("--seed", type=int, default=SEED)
    add("--epochs", type=int, help="of networks; where there are many hours")
    add("--output", default="results/entropy.json")
    options = parser.parse_args(arguments)
    names = [name for name in known_coders() if name in options.coders]
    if BASE not in names or len(names) < len(set(options.coders)):
        known = ", ".join(known_coders())
        raise ConfigurationError(
            "coders", options.coders, f"{BASE} and any of {known}"
        )
    torch.set_num_threads(1)
    for data in data_sets(options):
        limits = options.seconds, options.epochs
        rows = rows_of(data, names, options.seed, *limits)
        news = [{**row, "recordings": data.described()} for row in rows]
        # After each data set: the next one may take hours.
        update_results(options.output, news, ["data_set"], options.seed)


if __name__ == "__main__":
    main()
