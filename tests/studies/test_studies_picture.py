"""The rate-accuracy picture."""

import json
import struct
import subprocess
import sys

import pytest

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies.picture import draw


def row(**changes):
    return {
        "model": "conformer",
        "metric": "wer_percent",
        "tuning": "none",
        "continuous": 8.0,
        "coded": 9,
        "nominal_bps": 200.0,
        "cross_entropy_bps": 190.0,
        "payload_bps": 191.0,
        "message_bps": 210.0,
    } | changes


def sound(**changes):
    return row(**{"model": "ECAPA", "metric": "accuracy_percent"} | changes)


def results(folder, rows):
    path = folder / "results.json"
    path.write_text(json.dumps({"rows": rows}))
    return path


def size(path):
    """Width and height, from the header of a PNG."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


def test_one_metric_is_one_panel(tmp_path):
    rows = [row(), row(tuning="task + quantizer losses", coded=8.5)]
    picture = draw(results(tmp_path, rows), tmp_path / "new" / "a.png")
    assert picture == tmp_path / "new" / "a.png"
    assert size(picture) == (660, 504)


def test_two_metrics_are_two_panels(tmp_path):
    rows = [row(), sound(), sound(model="CNN14", coded=50.0)]
    picture = draw(results(tmp_path, rows), tmp_path / "a.png")
    assert size(picture) == (1320, 504)


def test_what_is_drawn_depends_on_the_figures(tmp_path):
    pictures = set()
    for coded in (8.5, 9.5):
        path = results(tmp_path, [row(coded=coded)])
        pictures.add(draw(path, tmp_path / "a.png").read_bytes())
    assert len(pictures) == 2


@pytest.mark.parametrize("key", ["metric", "coded", "message_bps", "tuning"])
def test_row_without_a_figure_is_named(tmp_path, key):
    path = results(tmp_path, [row(), row(**{key: None})])
    with pytest.raises(DataError, match=f"found no {key} in row 1"):
        draw(path, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_no_rows_are_named(tmp_path):
    with pytest.raises(DataError, match="found no rows"):
        draw(results(tmp_path, []), tmp_path / "a.png")


def test_command_draws_and_fails_in_one_line(tmp_path, capsys):
    path = results(tmp_path, [row()])
    assert draw.main([str(path), str(tmp_path / "a.png")]) == 0
    assert size(tmp_path / "a.png") == (660, 504)
    assert draw.main([str(tmp_path / "absent"), str(tmp_path / "b.png")]) == 1
    assert draw.main([str(path), f"{path}/b.png"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"picture: {tmp_path / 'absent'}: found nothing")
    with pytest.raises(SystemExit):
        draw.main([str(path)])


def test_import_leaves_the_choice_of_a_display_alone():
    code = (
        "import sys, speechbrain_acom.studies.picture;"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
