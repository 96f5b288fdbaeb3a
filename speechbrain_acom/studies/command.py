"""What all programs of the studies do with what goes wrong."""

import sys
from collections.abc import Callable

from speechbrain_acom.errors import AcomError


def exit_status(program: str, run: Callable[[], object]) -> int:
    """Run a program; what is wrong with its input is one line.

    Arguments
    ---------
    program : str
        What stands before the line, on stderr.
    run : Callable[[], object]
        The program.

    Returns
    -------
    int
        0, or 1 after an AcomError or an OSError; other errors pass.

    Example
    -------
    >>> exit_status("nothing", lambda: None)
    0
    """
    try:
        run()
    except (AcomError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0
