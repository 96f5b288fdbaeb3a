"""Convolutions that reflect their input failed on clips of a few ms.

PyTorch refuses to reflect more frames than there are: ECAPA-TDNN needed five
frames of 10 ms, the Conformer's front end two. One such clip in a test set
ended the evaluation. Signals are now at least 0.1 s long, in training and in
inference alike.
"""

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_acom.audio import pad_short
from speechbrain_acom.dataio import manifest_dataset
from speechbrain_acom.inference import load_interface


@pytest.mark.parametrize("model", ["recogniser", "classifier"])
@pytest.mark.parametrize("samples", [1, 2, 160, 320, 639, 1599])
def test_clip_of_a_few_samples_is_coded(model, samples, request):
    interface = load_interface(request.getfixturevalue(model).folder)
    message = interface.encode(torch.full((samples,), 0.1))
    assert interface.decode(message) is not None


def test_training_and_inference_see_the_same_signal(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(3, 0.5), 16000, "FLOAT")
    (tmp_path / "test.csv").write_text("ID,wav\na,$data_root/a.wav\n")
    dataset = manifest_dataset(tmp_path / "test.csv", tmp_path, 16000)
    dataset.set_output_keys(["sig"])
    expected = pad_short(torch.full((3,), 0.5), 16000)
    assert torch.equal(dataset[0]["sig"], expected)


def test_long_signal_is_left_alone():
    signal = torch.ones(1600)
    assert pad_short(signal, 16000) is signal
