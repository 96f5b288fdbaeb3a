"""What only the classifiers have: what crosses, padding, short clips."""

import pytest
import torch
from speechbrain.lobes.models.Cnn14 import Cnn14

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.splits import Cnn14Split, SlimCnn14

ONES = torch.ones(2)


@pytest.mark.parametrize("blocks", [2, 3, 5])
def test_ecapa_with_any_number_of_blocks(
    build, bypass_bottleneck, features, blocks
):
    family = build("ecapa", blocks=blocks)
    lengths = torch.tensor([0.5, 1.0])
    expected = family.unsplit(features, lengths)
    for split_layer in range(blocks + 3):
        split = family.cut(split_layer, bypass_bottleneck).eval()
        torch.testing.assert_close(
            split(features, lengths).output, expected, atol=1e-5, rtol=0
        )
    assert split.num_layers == blocks + 2


def test_ecapa_codes_all_that_the_aggregation_reads(build, bypass_bottleneck):
    family = build("ecapa")
    channels = [
        family.cut(split_layer, bypass_bottleneck).device_half.channels
        for split_layer in range(7)
    ]
    assert channels == [40, 12, 16, 32, 48, 24, 6]


@pytest.mark.parametrize(("name", "last"), [("ecapa", 6), ("cnn14", 7)])
def test_last_cut_codes_one_frame_a_clip(
    build, bypass_bottleneck, features, name, last
):
    split = build(name).cut(last, bypass_bottleneck).eval()
    cut = split.device(features, torch.tensor([0.1, 0.7]))
    assert cut.values.shape[:2] == (2, 1)
    assert cut.lengths.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["ecapa", "cnn14"])
def test_output_of_a_classifier_is_one_real_frame(
    build, bypass_bottleneck, features, name
):
    split = build(name).cut(2, bypass_bottleneck).eval()
    result = split(features, torch.tensor([0.3, 1.0]))
    assert result.output.shape == (2, 1, 3)
    assert result.lengths.tolist() == [1.0, 1.0]


def test_cnn14_frames_at_the_cut(build, bypass_bottleneck, features):
    family = build("cnn14")
    lengths = torch.tensor([1.0, 0.5])
    shapes, counts = [], []
    for split_layer in range(8):
        split = family.cut(split_layer, bypass_bottleneck).eval()
        cut = split.device(features, lengths)
        shapes.append(tuple(cut.values.shape[1:]))
        counts.append(round(cut.lengths[1].item() * cut.values.shape[1]))
    assert shapes == [
        (100, 40),
        (50, 4 * 20),
        (25, 8 * 10),
        (12, 16 * 5),
        (6, 32 * 2),
        (3, 64 * 1),
        (3, 8 * 1),
        (1, 8),
    ]
    assert counts == [50, 25, 12, 6, 3, 1, 1, 1]


@pytest.mark.parametrize("split_layer", range(8))
def test_cnn14_does_not_pool_padding(build, bypass_bottleneck, split_layer):
    """What lies further than the blocks see behind a clip's end is ignored."""
    family = build("cnn14")
    split = family.cut(split_layer, bypass_bottleneck).eval()
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(1, 320, 40, generator=generator)
    other = features.clone()
    other[:, 256:] = 5.0
    lengths = torch.tensor([0.2])
    assert torch.equal(
        split(features, lengths).output, split(other, lengths).output
    )
    unsplit = family.unsplit
    assert not torch.allclose(
        unsplit(features, lengths), unsplit(other, lengths)
    )


@pytest.mark.parametrize("split_layer", range(8))
@pytest.mark.parametrize("frames", [1, 10, 33])
def test_cnn14_takes_short_clips(build, bypass_bottleneck, split_layer, frames):
    """And only the real frames of a short clip need to be sent."""
    split = build("cnn14").cut(split_layer, bypass_bottleneck).eval()
    features = torch.randn(1, frames, 40)
    output = split(features, torch.ones(1)).output
    cut = split.device(features, torch.ones(1))
    sent = cut.values[:, : round(cut.lengths.item() * cut.values.shape[1])]
    assert output.isfinite().all()
    torch.testing.assert_close(
        split.cloud(sent, torch.ones(1)), output, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("norm_type", ["bn", "in", "ln"])
def test_slim_cnn14_at_full_width_is_cnn14(norm_type):
    torch.manual_seed(0)
    original = Cnn14(mel_bins=32, emb_dim=4, norm_type=norm_type).eval()
    slim = SlimCnn14(32, 4, width=1, norm_type=norm_type).eval()
    state = original.state_dict()
    assert list(slim.state_dict()) == list(state)
    slim.load_state_dict(state)
    features = torch.randn(1, 40, 32)
    torch.testing.assert_close(slim(features), original(features))


def test_split_of_speechbrains_cnn14(bypass_bottleneck, features):
    torch.manual_seed(0)
    original = Cnn14(mel_bins=40, emb_dim=4).eval()
    head = torch.nn.Linear(4, 3)
    split = Cnn14Split(original, head, 2, bypass_bottleneck).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            split(features, ONES).output,
            head(original(features)),
            atol=1e-5,
            rtol=0,
        )


@pytest.mark.parametrize("norm_type", ["bn", "in", "ln"])
def test_cnn14_split_with_any_norm(
    build, bypass_bottleneck, features, norm_type
):
    family = build("cnn14", norm_type=norm_type)
    split = family.cut(3, bypass_bottleneck).eval()
    torch.testing.assert_close(
        split(features, ONES).output,
        family.unsplit(features, ONES),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"width": 0.001}, "width"), ({"norm_type": "batch"}, "norm_type")],
)
def test_slim_cnn14_names_a_bad_option(changes, key):
    with pytest.raises(ConfigurationError) as error:
        SlimCnn14(mel_bins=40, emb_dim=8, **changes)
    assert error.value.key == key


def test_cnn14_split_needs_32_mel_bins(bypass_bottleneck):
    model = SlimCnn14(mel_bins=31, emb_dim=8, width=0.0625)
    with pytest.raises(ConfigurationError, match="mel_bins: found 31"):
        Cnn14Split(model, torch.nn.Linear(8, 3), 2, bypass_bottleneck)
