"""What the commands share that draw a results file into a PNG."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from speechbrain_acom.errors import AcomError


def run_drawing(
    draw: Callable[[Path, Path], Path],
    program: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Draw a results file into a PNG, from the command line.

    Arguments
    ---------
    draw : Callable[[Path, Path], Path]
        Draws the results of the first path into the second.
    program : str
        What errors start with.
    arguments : Sequence[str] | None
        Paths of both files; None: those of the process.

    Returns
    -------
    int
        Exit status: 0, or 1 if it cannot be drawn.

    Example
    -------
    >>> run_drawing(lambda results, picture: picture, "copy", ["a", "b"])
    0
    """
    first_line = str(draw.__doc__).split("\n")[0]
    parser = argparse.ArgumentParser(description=first_line)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(arguments)
    try:
        draw(options.results, options.picture)
    except (AcomError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0
