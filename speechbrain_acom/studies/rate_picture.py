"""The picture of training for few bits: the curve over λ, and what is beside it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechbrain_acom.errors import AcomError, DataError
from speechbrain_acom.studies.results import Row, read_rows
from speechbrain_acom.studies.tables import heading

NEEDED = ("data", "task", "lobe", "metric", "continuous", "message_bps")
# The paper's method with static tables, and the start of the curve over λ.
REFERENCE, START, CURVE = "rvq", "rate_0", "rate_"


def draw_curves(results: str | Path, picture: str | Path) -> Path:
    """Draw task metric over message rate, a panel a task, and write a PNG.

    Arguments
    ---------
    results : str | Path
        What ``make rate_training`` wrote.
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
    rows = [row for row in read_rows(results) if _drawn(row)]
    if not rows:
        raise DataError(
            f"{results}: found no row with {', '.join(NEEDED)}, expected those "
            "of make rate_training"
        )
    picture = Path(picture)
    picture.parent.mkdir(parents=True, exist_ok=True)
    tasks = list(dict.fromkeys((row["data"], row["task"]) for row in rows))
    # Without pyplot, whose choice of a display is the caller's.
    figure = Figure(figsize=(5.5 * len(tasks), 4.2), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)
    for axes, task in zip(panels[0], tasks, strict=True):
        _panel(axes, [r for r in rows if (r["data"], r["task"]) == task])
        axes.set_title(", ".join(map(str, task)), fontsize=10)
    figure.savefig(picture, dpi=120)
    return picture


def _drawn(row: Row) -> bool:
    return all(row.get(key) is not None for key in NEEDED)


def _on_curve(row: Row) -> bool:
    """Whether it differs from the curve's others by λ alone."""
    name = str(row["lobe"])
    return (
        name.startswith(CURVE) and name[len(CURVE) :].replace("_", "").isdigit()
    )


def _panel(axes: Axes, rows: list[Row]) -> None:
    metric = str(rows[0]["metric"])
    continuous = float(rows[0][f"continuous_{metric}"])
    axes.axhline(continuous, color="gray", linestyle=":", label="continuous")
    curve = [row for row in rows if _on_curve(row)]
    curve.sort(key=lambda row: float(row.get("rate_weight") or 0.0))
    axes.plot(
        [row["message_bps"] for row in curve],
        [row[metric] for row in curve],
        "o-",
        label="over λ",
    )
    for row in curve:
        _name(axes, row, f"λ = {row.get('rate_weight') or 0:g}")
    for row in rows:
        if row in curve:
            continue
        marker = "s" if row["lobe"] == REFERENCE else "x"
        axes.plot(row["message_bps"], row[metric], marker, color="C1")
        _name(axes, row, str(row["lobe"]))
    axes.set_xscale("log")
    axes.set_xlabel("whole messages (bit/s)")
    axes.set_ylabel(heading(metric))
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _name(axes: Axes, row: Row, text: str) -> None:
    point = (row["message_bps"], row[str(row["metric"])])
    axes.annotate(
        text, point, xytext=(4, 4), textcoords="offset points", fontsize=7
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the results of training for few bits into a PNG.

    Arguments
    ---------
    arguments : Sequence[str] | None
        Paths of both files; None: those of the process.

    Returns
    -------
    int
        Exit status: 0, or 1 if it cannot be drawn.
    """
    parser = argparse.ArgumentParser(description=main.__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(arguments)
    try:
        draw_curves(options.results, options.picture)
    except (AcomError, OSError) as error:
        print(f"rate_picture: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
