"""The picture of lost packets: the task metric over the share that is lost."""

import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies.drawing import run_drawing
from speechbrain_acom.studies.results import Row, read_rows
from speechbrain_acom.studies.tables import heading

# Of transcripts and of labels.
METRICS = ("wer_percent", "accuracy_percent")


def draw_losses(results: str | Path, picture: str | Path) -> Path:
    """Draw the task metric over lost packets, a line a concealment.

    A row of panels for every model and test set, a column for every size of
    packets; bars go from the least to the most of the seeds.

    Arguments
    ---------
    results : str | Path
        What ``benchmarks/packet_loss.py`` wrote.
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

    Example
    -------
    >>> import json
    >>> folder = getfixture("tmp_path")
    >>> row = {"data_set": "digits", "split": "test", "impairment": "packets"}
    >>> row |= {"packet_frames": 1, "loss_percent": 0, "concealment": "none"}
    >>> row |= {"wer_percent": 9.0, "message_bps": 200.0}
    >>> row |= {"least_wer_percent": 9.0, "most_wer_percent": 9.0}
    >>> path = folder / "results.json"
    >>> _ = path.write_text(json.dumps({"rows": [row]}))
    >>> draw_losses(path, folder / "losses.png").name
    'losses.png'
    """
    rows = [r for r in read_rows(results) if r.get("impairment") == "packets"]
    if not rows:
        raise DataError(
            f"{results}: found no row of lost packets, expected those of "
            "benchmarks/packet_loss.py"
        )
    picture = Path(picture)
    picture.parent.mkdir(parents=True, exist_ok=True)
    tests = list(dict.fromkeys((r["data_set"], r["split"]) for r in rows))
    sizes = sorted({int(row["packet_frames"]) for row in rows})
    # Without pyplot, whose choice of a display is the caller's.
    figure = Figure(
        figsize=(5.0 * len(sizes), 3.6 * len(tests)), layout="constrained"
    )
    panels = figure.subplots(
        len(tests), len(sizes), squeeze=False, sharex=True, sharey="row"
    )
    for test, line in zip(tests, panels, strict=True):
        for size, axes in zip(sizes, line, strict=True):
            _panel(
                axes,
                [
                    row
                    for row in rows
                    if (row["data_set"], row["split"]) == test
                    and row["packet_frames"] == size
                ],
            )
            axes.set_title(
                f"{test[0]}, packets of {size} frame{'s' * (size > 1)}",
                fontsize=10,
            )
    figure.savefig(picture, dpi=120)
    return picture


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw from the command line: see :func:`run_drawing`."""
    return run_drawing(draw_losses, "loss_picture", arguments)


if __name__ == "__main__":
    sys.exit(main())
