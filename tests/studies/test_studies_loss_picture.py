"""The picture of lost packets."""

import json

import pytest

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies.loss_picture import draw_losses


def row(loss, concealment, value, metric="wer_percent", **changes):
    return {
        "data_set": "digits",
        "split": "test",
        "impairment": "packets",
        "packet_frames": 1,
        "loss_percent": loss,
        "concealment": concealment,
        "message_bps": 200.0,
        metric: value,
        f"least_{metric}": value - 1,
        f"most_{metric}": value + 1,
    } | changes


ROWS = [
    row(0, "none", 20.0),
    row(10, "none", 30.0),
    row(10, "repeat", 22.0),
]


def picture(folder, rows, name="a.png"):
    path = folder / "results.json"
    path.write_text(json.dumps({"rows": rows}))
    return draw_losses(path, folder / name).read_bytes()


def size(content):
    """Width and height, from the header of a PNG."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return tuple(int.from_bytes(content[k : k + 4]) for k in (16, 20))


def test_a_panel_a_test_set_and_size_of_packets(tmp_path):
    larger = [{**point, "packet_frames": 10} for point in ROWS]
    sounds = [
        row(loss, "none", 50.0, "accuracy_percent", data_set="sounds")
        for loss in (0, 10)
    ]
    assert size(picture(tmp_path, ROWS)) == (600, 432)
    assert size(picture(tmp_path, ROWS + larger)) == (1200, 432)
    assert size(picture(tmp_path, ROWS + sounds)) == (600, 864)


@pytest.mark.parametrize("number", range(len(ROWS)))
@pytest.mark.parametrize(
    "column", ["wer_percent", "least_wer_percent", "most_wer_percent"]
)
def test_every_point_and_its_bars_are_drawn(number, column, tmp_path):
    changed = [dict(point) for point in ROWS]
    # Within the others, so that no axis changes.
    changed[number][column] += 0.5 * (-1 if "most" in column else 1)
    assert picture(tmp_path, ROWS) != picture(tmp_path, changed, "b.png")


def test_bit_errors_are_not_drawn(tmp_path):
    flipped = row(10, "none", 90.0, impairment="bit_errors")
    assert picture(tmp_path, ROWS) == picture(tmp_path, [*ROWS, flipped])


def test_nothing_to_draw_is_told_in_one_line(tmp_path, capsys):
    with pytest.raises(DataError, match="found no row of lost packets"):
        picture(tmp_path, [row(0, "none", 1.0, impairment="bit_errors")])
    paths = [str(tmp_path / name) for name in ("results.json", "a.png")]
    assert draw_losses.main(paths) == 1
    error = capsys.readouterr().err
    assert error.startswith("loss_picture: ") and error.count("\n") == 1
