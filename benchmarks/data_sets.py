"""Which codes a benchmark takes: those of its command."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from code_sets import CodeSet, load_codes
from run_codes import named_path, run_codes

from speechbrain_acom.entropy.priors import Prior, StaticPrior, load_prior
from speechbrain_acom.errors import ConfigurationError


@dataclass(frozen=True)
class DataSet:
    """Codes of one model on one data set.

    Arguments
    ---------
    name : str
        What the rows call it.
    train : CodeSet
        What is learned from.
    tests : Sequence[CodeSet]
        What is coded.
    shipped : Prior | None
        The prior of the model that gave the codes. None: it is static, or
        there is no model.
    """

    name: str
    train: CodeSet
    tests: Sequence[CodeSet]
    shipped: Prior | None = None

    def described(self) -> str:
        """Its name, and the hours of its splits."""
        sets = (self.train, *self.tests)
        hours = [f"{codes.name} {codes.hours:.2f} h" for codes in sets]
        return f"{self.name}: {', '.join(hours)}"


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a command name codes.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        It gets what :func:`data_sets` reads.
    """
    add = parser.add_argument
    add("--runs", nargs="+", type=named_path, default=[], metavar="NAME=FOLDER")
    add("--codes", nargs="+", type=named_path, default=[], metavar="NAME=FILES")
    add("--data_folders", nargs="+", type=named_path, default=[])
    add("--cardinalities", nargs="+", type=int, help="of files without them")
    add("--frames_per_second", type=float, help="of files without seconds")
    add("--limit", type=int, help="utterances of each split, at most")


def data_sets(options: argparse.Namespace) -> Iterator[DataSet]:
    """Codes of all that a command names, cut to its limit.

    Arguments
    ---------
    options : argparse.Namespace
        Of :func:`add_data_arguments`.

    Yields
    ------
    DataSet
        First those of trained models, then those of files.

    Raises
    ------
    ConfigurationError
        If there are not two files, or they lack what is not given either.
    DataError
        If there are no codes.
    """
    for name, run in options.runs:
        root = dict(options.data_folders).get(name)
        train, *tests = run_codes(run, None, options.limit, root)
        prior = load_prior(Path(run, "export", "prior.ckpt"))
        static = isinstance(prior, StaticPrior)
        yield DataSet(name, train, tests, None if static else prior)
    read = partial(
        load_codes,
        cardinalities=options.cardinalities,
        frames_per_s=options.frames_per_second,
    )
    for name, paths in options.codes:
        files = paths.split(",")
        if len(files) < 2:
            raise ConfigurationError("codes", paths, "TRAIN.npz,TEST.npz")
        train, *tests = (read(file).limited(options.limit) for file in files)
        yield DataSet(name, train, tests)
