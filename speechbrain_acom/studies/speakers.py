"""Which speakers train, choose and test, when each is left out once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_acom.errors import ConfigurationError, DataError


@dataclass(frozen=True)
class Unit:
    """One speaker left out, with one seed.

    Arguments
    ---------
    test : str
        The speaker that is tested.
    dev : str
        The speaker that chooses checkpoints.
    train : tuple[str, ...]
        The others.
    seed : int
        Of every training.
    """

    test: str
    dev: str
    train: tuple[str, ...]
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.test}_{self.seed}"


def units(speakers: Sequence[str], seeds: Sequence[int]) -> list[Unit]:
    """All that are run: with the first seed every speaker, then the next seed.

    Arguments
    ---------
    speakers : Sequence[str]
        At least three.
    seeds : Sequence[int]
        At least one.

    Returns
    -------
    list[Unit]
        One for each speaker and seed.

    Raises
    ------
    ConfigurationError
        If there are too few speakers, or one twice.

    Example
    -------
    >>> [(unit.test, unit.dev, unit.train) for unit in units("abc", [0])]
    [('a', 'b', ('c',)), ('b', 'c', ('a',)), ('c', 'a', ('b',))]
    """
    if len(set(speakers)) < 3 or len(set(speakers)) < len(speakers):
        raise ConfigurationError(
            "speakers", list(speakers), "three or more, each once"
        )
    found = []
    for seed in seeds:
        for number, test in enumerate(speakers):
            dev = speakers[(number + 1) % len(speakers)]
            train = tuple(one for one in speakers if one not in (test, dev))
            found.append(Unit(test, dev, train, seed))
    return found


def link_speakers(corpus: Path, folder: Path) -> list[str]:
    """Lay a corpus out with a split for every speaker, of links.

    Arguments
    ---------
    corpus : Path
        Of LibriSpeech's layout, <split>/<speaker>/<chapter>/.
    folder : Path
        Gets <speaker>/<speaker>, a link to where the speaker is.

    Returns
    -------
    list[str]
        The speakers.

    Raises
    ------
    DataError
        If there is no speaker, one is in two splits, or the links are of
        another corpus.
    """
    found = sorted(
        (path for path in corpus.glob("*/*") if path.is_dir()),
        key=lambda path: path.name,
    )
    names = [path.name for path in found]
    if not found or len(set(names)) < len(names):
        raise DataError(
            f"{corpus}: found {len(names)} speakers, {len(set(names))} of "
            "them different, expected <split>/<speaker>/, each speaker once"
        )
    for path in found:
        link = folder / path.name / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink() and link.resolve() != path.resolve():
            raise DataError(
                f"{link}: found a link to {link.resolve()}, expected one to "
                f"{path.resolve()}: take another folder for another corpus"
            )
        if not link.is_symlink():
            link.symlink_to(path.resolve(), target_is_directory=True)
    return names
