"""The picture of training for few bits."""

import json
import struct

import pytest

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies import rate_picture
from speechbrain_acom.studies.rate_picture import draw_curves


def row(lobe, bps, wer, **changes):
    return {
        "data": "digits",
        "task": "conformer",
        "lobe": lobe,
        "metric": "wer_percent",
        "continuous": 20.0,
        "epochs": 12,
        "coded": wer,
        "message_bps": bps,
    } | changes


ROWS = [
    row("rvq", 200.0, 22.0),
    row("rate_0", 120.0, 22.5),
    row("rate_1", 40.0, 21.0, rate_weight_reached=1.0),
    row("rate_0_3", 60.0, 21.5, rate_weight_reached=0.3),
    row("rate_1_nearest", 70.0, 21.0, rate_weight_reached=1.0),
]


def results(folder, rows):
    path = folder / "results.json"
    path.write_text(json.dumps({"rows": rows}))
    return path


def size(path):
    """Width and height, from the header of a PNG."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


def test_a_panel_a_task(tmp_path):
    one = draw_curves(results(tmp_path, ROWS), tmp_path / "new" / "a.png")
    other = [{**point, "task": "ecapa"} for point in ROWS]
    two = draw_curves(results(tmp_path, [*ROWS, *other]), tmp_path / "b.png")
    assert size(one) == (660, 504) and size(two) == (1320, 504)


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_every_point_is_drawn(number, tmp_path):
    pictures = set()
    for wer in (21.2, 23.0):
        rows = list(ROWS)
        rows[number] = {**rows[number], "coded": wer}
        picture = draw_curves(results(tmp_path, rows), tmp_path / "a.png")
        pictures.add(picture.read_bytes())
    assert len(pictures) == 2


def drawn_with(tmp_path, rows):
    path = results(tmp_path, rows)
    return draw_curves(path, tmp_path / "a.png").read_bytes()


def test_the_line_goes_by_the_weight_that_was_reached(tmp_path):
    # Whatever the order of the rows.
    assert drawn_with(tmp_path, ROWS) == drawn_with(tmp_path, ROWS[::-1])
    lower = [*ROWS[:2], {**ROWS[2], "rate_weight_reached": 0.1}, *ROWS[3:]]
    assert drawn_with(tmp_path, ROWS) != drawn_with(tmp_path, lower)


def test_points_beside_the_curve_are_not_on_its_line(tmp_path):
    on_curve = [*ROWS[:4], {**ROWS[4], "lobe": "rate_1_0"}]
    assert drawn_with(tmp_path, ROWS) != drawn_with(tmp_path, on_curve)
    names = {row["lobe"] for row in ROWS if rate_picture._on_curve(row)}
    assert names == {"rate_1", "rate_0_3"}


def test_answers_after_another_time_are_left_out(tmp_path):
    short = row("rvq_1024", 240.0, 30.0, epochs=3)
    assert drawn_with(tmp_path, ROWS) == drawn_with(tmp_path, [*ROWS, short])


def test_rows_of_other_files_are_not_drawn(tmp_path, capsys):
    path = results(tmp_path, [{"model": "conformer", "message_bps": 210.0}])
    with pytest.raises(DataError, match="found no row with data, task"):
        draw_curves(path, tmp_path / "a.png")
    assert draw_curves.main([str(path), str(tmp_path / "a.png")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("rate_picture: ") and error.count("\n") == 1
    assert not (tmp_path / "a.png").exists()
