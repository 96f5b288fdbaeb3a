"""Make a synthetic corpus: ``python -m speechbrain_acom.corpora --help``."""

import argparse
import sys

from speechbrain_acom.corpora import make_sound_corpus, make_speech_corpus
from speechbrain_acom.errors import AcomError


def main(arguments: list[str] | None = None) -> int:
    """Make the corpus that the command line asks for.

    Arguments
    ---------
    arguments : list[str] | None
        The command line after the program's name; None reads the process's.

    Returns
    -------
    int
        0, or 1 with one line on the error stream.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     main(["sounds", folder + "/new", "--clips", "10"])
    made 10 machine-made clips (... minutes) in .../new
    0
    """
    options = _parser().parse_args(arguments)
    try:
        if options.kind == "speech":
            made = make_speech_corpus(
                options.folder, options.seed, options.minutes, progress=True
            )
        else:
            made = make_sound_corpus(
                options.folder, options.seed, options.clips, progress=True
            )
    except (AcomError, ImportError, OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    verb = "made" if made.newly_made else "nothing to do, found"
    print(
        f"{verb} {made.clips} machine-made clips "
        f"({made.seconds / 60:.1f} minutes) in {made.folder}"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m speechbrain_acom.corpora",
        description="Make a synthetic corpus in the layout of a real one.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    speech = kinds.add_parser("speech", help="in the layout of LibriSpeech")
    sounds = kinds.add_parser("sounds", help="in the layout of UrbanSound8K")
    for kind in (speech, sounds):
        kind.add_argument("folder", help="empty, absent, or holding it already")
        kind.add_argument("--seed", type=int, default=0)
    speech.add_argument(
        "--minutes", type=float, default=60.0, help="of audio to train on"
    )
    sounds.add_argument(
        "--clips", type=int, default=1500, help="in all folds together"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
