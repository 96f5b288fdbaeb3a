"""A long quiet recording was refused by the very model that had coded it.

A reader that is not told otherwise takes as many frames as bytes make likely.
`transcribe_file` and `classify_file` asked no more of their own messages, and
neither `decode` nor `acom decode` could be told.
"""

import numpy as np
import pytest
import soundfile

from speechbrain_acom.cli import main
from speechbrain_acom.entropy import limits
from speechbrain_acom.errors import BitstreamError
from speechbrain_acom.inference import load_interface


@pytest.fixture
def no_frame_is_likely(monkeypatch):
    monkeypatch.setattr(limits, "FREE_FRAMES", 0)
    monkeypatch.setattr(limits, "FRAMES_PER_BYTE", 0)


@pytest.mark.usefixtures("no_frame_is_likely")
def test_own_messages_may_be_of_any_length(tmp_path, recogniser, capsys):
    interface = load_interface(recogniser.folder)
    noise = np.random.default_rng(0).standard_normal(9600)
    soundfile.write(tmp_path / "a.wav", 0.1 * noise, 16000)
    text = interface.transcribe_file(tmp_path / "a.wav")
    message = interface.encode_file(tmp_path / "a.wav")
    with pytest.raises(BitstreamError, match="set max_frames"):
        interface.decode(message)
    assert interface.decode(message, max_frames=1000) == text
    path = tmp_path / "quiet.acom"
    path.write_bytes(message)
    command = ["decode", str(path), "--model", str(recogniser.folder)]
    assert main(command) == 1
    assert "set max_frames" in capsys.readouterr().err
    assert main([*command, "--max-frames", "1000"]) == 0
    assert capsys.readouterr().out == f"{text}\n"
    assert main([*command, "--max-frames", "0"]) == 1
    assert "max_frames: found 0" in capsys.readouterr().err
