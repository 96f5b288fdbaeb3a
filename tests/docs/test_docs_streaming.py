"""What docs/streaming.md says to type works, as it says."""

import re
import shutil
from pathlib import Path

import torch
from exported_models import tiny_recogniser

from speechbrain_acom.inference import load_interface
from speechbrain_acom.splits.conformer import CHUNKED_ATTENTION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "streaming.md").read_text(encoding="utf-8")


def test_both_sides_answer_as_messages_do(tmp_path, monkeypatch, capsys):
    model = tiny_recogniser(tmp_path / "a", yaml="mini_streaming_rvq", merge=1)
    shutil.copytree(model.folder, tmp_path / "export")
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    torch.manual_seed(0)
    page = {}
    exec(compile(code, "streaming.md", "exec"), page)
    whole = load_interface("export")
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == whole.decode(whole.encode(page["signal"]))
    assert len(said) == 4
    assert page["encoder"].latency == 0.6425


def test_names_of_the_page_are_those_of_the_package():
    for attention in CHUNKED_ATTENTION:
        assert f"`{attention}`" in PAGE
    for name in re.findall(r"hparams/streaming/\w+\.yaml", PAGE):
        assert (ROOT / name).is_file()
