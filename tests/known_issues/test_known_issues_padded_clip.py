"""A clip so short that the device half pads it could not be coded.

CNN14 pads clips to 32 frames of filter banks. Those that only pad were counted
as frames at the cut; runs of like frames cover the real ones alone, so that a
message of both did not fit together. Other merges sent codes of padding.
"""

import exported_models
import pytest
import torch

from speechbrain_acom.inference import load_interface


@pytest.mark.parametrize("merge_mode", ["average", "similar"])
def test_what_is_padding_is_not_coded(tmp_path, merge_mode):
    model = exported_models.tiny_cnn14(
        tmp_path, merge_mode=merge_mode, merge=2, split_layer=2
    )
    interface = load_interface(model.folder)
    for seconds, frames in ((0.1, 2), (0.2, 5), (1.0, 25)):
        signal = exported_models.sound(seconds)
        codes, found = interface.signal_codes(signal)
        assert found == frames
        message = interface.encode(signal)
        read = interface.read(message)
        assert torch.equal(torch.from_numpy(read.codes), codes)
        assert interface.decode(message) == interface.answer(
            unsplit_output(interface, signal)
        )


def unsplit_output(interface, signal):
    """What the model gives in one process, padding and all."""
    lengths = torch.ones(1)
    with torch.no_grad():
        features = interface.mods.compute_features(signal.unsqueeze(0))
        features = interface.mods.normalize(features, lengths)
        return interface.mods.split(features, lengths).output
