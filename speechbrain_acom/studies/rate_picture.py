"""The picture of training for few bits: the curve over λ, and points beside."""

import re
import sys

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies.drawing import Drawing, panels
from speechbrain_acom.studies.results import Row
from speechbrain_acom.studies.tables import heading

NEEDED = ("data", "task", "lobe", "epochs", "metric", "continuous", "coded")
# The paper's method with static tables, and names of the points over λ.
REFERENCE, OVER_RATE_WEIGHT = "rvq", re.compile(r"rate_[0-9_]+")


def _drawn_figure(rows: list[Row], results: str) -> Figure:
    """Task metric over message rate, a panel a task."""
    rows = [row for row in rows if _drawn(row)]
    if not rows:
        raise DataError(
            f"{results}: found no row with {', '.join(NEEDED)} and "
            "message_bps, expected those of make rate_training"
        )
    tasks = list(dict.fromkeys((row["data"], row["task"]) for row in rows))
    figure, [line] = panels(1, len(tasks))
    for axes, task in zip(line, tasks, strict=True):
        _panel(axes, [r for r in rows if (r["data"], r["task"]) == task])
        axes.set_title(", ".join(map(str, task)), fontsize=10)
    return figure


def _drawn(row: Row) -> bool:
    keys = (*NEEDED, "message_bps")
    return all(row.get(key) is not None for key in keys)


def _rate_weight(row: Row) -> float:
    """λ in the end: collapses may have left less than was asked for."""
    return float(row.get("rate_weight_reached") or 0.0)


def _on_curve(row: Row) -> bool:
    """Whether λ, and the price of bits with it, is all that sets it apart.

    λ = 0 has a prior of its own, and stands beside the curve.
    """
    named = OVER_RATE_WEIGHT.fullmatch(str(row["lobe"]))
    return named is not None and _rate_weight(row) > 0


def _panel(axes: Axes, rows: list[Row]) -> None:
    axes.axhline(
        float(rows[0]["continuous"]),
        color="gray",
        linestyle=":",
        label="continuous",
    )
    # Answers of what was trained for another time are compared with nothing.
    most = max(int(row["epochs"]) for row in rows)
    rows = [row for row in rows if row["epochs"] == most]
    curve = sorted(filter(_on_curve, rows), key=_rate_weight)
    axes.plot(
        [row["message_bps"] for row in curve],
        [row["coded"] for row in curve],
        "o-",
        label="over λ",
    )
    for row in curve:
        _name(axes, row, f"λ = {_rate_weight(row):g}")
    for row in rows:
        if row in curve:
            continue
        marker = "s" if row["lobe"] == REFERENCE else "x"
        axes.plot(row["message_bps"], row["coded"], marker, color="C1")
        _name(axes, row, str(row["lobe"]))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("whole messages (bit/s)")
    axes.set_ylabel(heading(str(rows[0]["metric"])))
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _name(axes: Axes, row: Row, text: str) -> None:
    axes.annotate(
        text,
        (row["message_bps"], row["coded"]),
        xytext=(4, 4),
        textcoords="offset points",
        fontsize=7,
    )


# Of what ``make rate_training`` wrote.
draw_curves = Drawing(_drawn_figure, "rate_picture")


if __name__ == "__main__":
    sys.exit(draw_curves.main())
