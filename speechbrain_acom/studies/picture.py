"""The rate–accuracy picture of a results file."""

import sys

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies.drawing import Drawing, panels
from speechbrain_acom.studies.results import Row
from speechbrain_acom.studies.tables import heading

# The audio itself as 16-bit samples at 16 kHz: what a continuous model needs
# to be sent where there is no cut.
PCM_BPS = 256_000.0

NEEDED = (
    "model",
    "metric",
    "tuning",
    "continuous",
    "coded",
    "nominal_bps",
    "cross_entropy_bps",
    "message_bps",
)


def _drawn_figure(rows: list[Row], results: str) -> Figure:
    """Task metric over rate, a panel a metric."""
    _check(rows, results)
    metrics = list(dict.fromkeys(str(row["metric"]) for row in rows))
    figure, [line] = panels(1, len(metrics))
    for axes, metric in zip(line, metrics, strict=True):
        _panel(axes, [row for row in rows if row["metric"] == metric], metric)
    return figure


def _check(rows: list[Row], results: str) -> None:
    """Complain about rows that cannot be drawn."""
    if not rows:
        raise DataError(f"{results}: found no rows, expected at least one")
    for number, row in enumerate(rows):
        missing = [key for key in NEEDED if row.get(key) is None]
        if missing:
            raise DataError(
                f"{results}: found no {missing[0]} in row {number}, expected "
                "a row that has it, as those of the demonstration do"
            )


def _panel(axes: Axes, rows: list[Row], metric: str) -> None:
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    for number, model in enumerate(models):
        color = f"C{number}"
        points = [row for row in rows if row["model"] == model]
        continuous = float(points[0]["continuous"])
        axes.axhline(continuous, color=color, linestyle=":", linewidth=1)
        axes.plot(PCM_BPS, continuous, "s", color=color, fillstyle="none")
        for row in points:
            _point(axes, row, color)
    axes.set_xscale("log")
    axes.set_xlabel("bit/s (dot: whole messages; bar: ideal to nominal)")
    axes.set_ylabel(heading(metric))
    axes.margins(y=0.15)
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    square = axes.plot([], [], "s", color="gray", fillstyle="none")[0]
    axes.legend(
        [*handles, square],
        [*labels, "continuous, from 16-bit audio"],
        fontsize=8,
    )


def _point(axes: Axes, row: Row, color: str) -> None:
    coded = float(row["coded"])
    low = min(float(row["cross_entropy_bps"]), float(row["nominal_bps"]))
    high = max(float(row["cross_entropy_bps"]), float(row["nominal_bps"]))
    axes.plot([low, high], [coded, coded], color=color, linewidth=3, alpha=0.4)
    tuned = row["tuning"] != "none"
    axes.plot(
        float(row["message_bps"]),
        coded,
        "o" if tuned else "x",
        color=color,
        label=f"{row['model']}, {'tuned' if tuned else 'not tuned'}",
    )


# Of results of the demonstration or of a recipe.
draw = Drawing(_drawn_figure, "picture")


if __name__ == "__main__":
    sys.exit(draw.main())
