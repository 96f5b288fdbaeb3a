"""What pictures of results files share: panels, the PNG and the command."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speechbrain_acom.studies.command import exit_status
from speechbrain_acom.studies.results import Row, read_rows


class Drawing:
    """A picture that is drawn from the rows of a results file.

    Arguments
    ---------
    draw_rows : Callable[[list[Row], str], Figure]
        Draws all rows of a file; the second argument is its path, for errors.
        Its docstring begins with what it draws.
    program : str
        What errors of the command start with.

    Example
    -------
    >>> def plain(rows, path):
    ...     return panels(1, 1)[0]
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.json").write_text('{"rows": []}')
    >>> draw = Drawing(plain, "plain")
    >>> draw(folder / "a.json", folder / "new" / "a.png").name
    'a.png'
    >>> draw.main([str(folder / "a.json"), str(folder / "b.png")])
    0
    """

    def __init__(
        self, draw_rows: Callable[[list[Row], str], Figure], program: str
    ) -> None:
        self._draw_rows = draw_rows
        self._program = program

    def __call__(self, results: str | Path, picture: str | Path) -> Path:
        """Draw a results file into a PNG.

        Arguments
        ---------
        results : str | Path
            The results file.
        picture : str | Path
            The PNG to write; its folder is made.

        Returns
        -------
        Path
            The picture.

        Raises
        ------
        DataError
            If the results file is missing, not one, or has no rows to draw.
        """
        figure = self._draw_rows(read_rows(results), str(results))
        picture = Path(picture)
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture, dpi=120)
        return picture

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Draw from the command line.

        Arguments
        ---------
        arguments : Sequence[str] | None
            Paths of both files; None: those of the process.

        Returns
        -------
        int
            Exit status: 0, or 1 if it cannot be drawn.
        """
        first_line = (self._draw_rows.__doc__ or "").split("\n")[0]
        parser = argparse.ArgumentParser(description=first_line)
        parser.add_argument("results", type=Path)
        parser.add_argument("picture", type=Path)
        options = parser.parse_args(arguments)
        draw = partial(self, options.results, options.picture)
        return exit_status(self._program, draw)


def panels(
    rows: int,
    columns: int,
    size: tuple[float, float] = (5.5, 4.2),
    **shared: bool | str,
) -> tuple[Figure, np.ndarray]:
    """An empty figure of panels.

    Arguments
    ---------
    rows, columns : int
        Panels below and beside each other.
    size : tuple[float, float]
        Width and height of a panel, in inches.
    **shared : bool | str
        ``sharex`` and ``sharey`` of ``Figure.subplots``.

    Returns
    -------
    tuple[Figure, np.ndarray]
        The figure and its axes, shape (rows, columns).

    Example
    -------
    >>> panels(2, 3)[1].shape
    (2, 3)
    """
    width, height = size
    # Without pyplot, whose choice of a display is the caller's.
    figure = Figure(
        figsize=(width * columns, height * rows), layout="constrained"
    )
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)
