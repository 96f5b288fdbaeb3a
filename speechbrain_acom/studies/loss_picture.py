"""The picture of lost packets: the task metric over the share that is lost."""

import sys

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies.drawing import Drawing, panels
from speechbrain_acom.studies.results import Row
from speechbrain_acom.studies.tables import heading

# Of transcripts and of labels.
METRICS = ("wer_percent", "accuracy_percent")


def _drawn_figure(rows: list[Row], results: str) -> Figure:
    """Task metric over lost packets, a line a concealment.

    A row of panels for every model and test set, a column for every size of
    packets; bars go from the least to the most of the seeds.
    """
    rows = [row for row in rows if row.get("impairment") == "packets"]
    if not rows:
        raise DataError(
            f"{results}: found no row of lost packets, expected those of "
            "benchmarks/packet_loss.py"
        )
    tests = list(dict.fromkeys((r["data_set"], r["split"]) for r in rows))
    sizes = sorted({int(row["packet_frames"]) for row in rows})
    figure, lines = panels(
        len(tests), len(sizes), (5.0, 3.6), sharex=True, sharey="row"
    )
    for (data_set, split), line in zip(tests, lines, strict=True):
        for size, axes in zip(sizes, line, strict=True):
            _panel(
                axes,
                [
                    row
                    for row in rows
                    if (row["data_set"], row["split"]) == (data_set, split)
                    and row["packet_frames"] == size
                ],
            )
            frames = "frame" if size == 1 else "frames"
            axes.set_title(
                f"{data_set}, packets of {size} {frames}", fontsize=10
            )
    return figure


def _panel(axes: Axes, rows: list[Row]) -> None:
    metric = next(name for name in METRICS if name in rows[0])
    whole = [row for row in rows if row["loss_percent"] == 0]
    # Where nothing is lost nothing is concealed: one row begins all lines.
    lossy = [row for row in rows if row["loss_percent"] > 0]
    names = dict.fromkeys(row["concealment"] for row in lossy or whole)
    for name in names:
        line = whole + [row for row in lossy if row["concealment"] == name]
        line.sort(key=lambda row: row["loss_percent"])
        below = [row[metric] - row[f"least_{metric}"] for row in line]
        above = [row[f"most_{metric}"] - row[metric] for row in line]
        axes.errorbar(
            [row["loss_percent"] for row in line],
            [row[metric] for row in line],
            [below, above],
            marker="o",
            capsize=2,
            label=name,
        )
    axes.set_xlabel("lost packets (%)")
    axes.set_ylabel(heading(metric))
    axes.grid(alpha=0.3)
    axes.legend(title=f"{rows[0]['message_bps']:.0f} bit/s", fontsize=8)


# Of what ``benchmarks/packet_loss.py`` wrote.
draw_losses = Drawing(_drawn_figure, "loss_picture")


if __name__ == "__main__":
    sys.exit(draw_losses.main())
