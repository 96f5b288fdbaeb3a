"""The cloud half answers with frames of codes missing."""

from functools import partial

import pytest
import torch

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.inference import load_interface
from speechbrain_acom.inference.concealment import (
    RepeatConcealment,
    VectorConcealment,
    concealed_answer,
    mean_vector,
)
from speechbrain_acom.quantizers import ResidualVectorQuantizer

QUANTIZER = partial(
    ResidualVectorQuantizer,
    codebook_dim=None,
)
CHANNELS, MERGE, FRAMES = 6, 2, 9
LOST = torch.tensor([True, False, False, True, True])


def zeros():
    return VectorConcealment(torch.zeros(CHANNELS))


@pytest.fixture(params=["average", "projection"])
def bottleneck(request):
    torch.manual_seed(0)
    made = Bottleneck(
        CHANNELS, QUANTIZER, merge=MERGE, merge_mode=request.param
    )
    return made.eval()


@pytest.fixture
def codes():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (len(LOST), 1), generator=generator)


@pytest.fixture
def whole(bottleneck, codes):
    return bottleneck.decode(codes.unsqueeze(0), FRAMES)


def test_a_vector_stands_where_frames_were_lost(bottleneck, codes, whole):
    vector = torch.arange(CHANNELS, dtype=torch.float32)
    found = VectorConcealment(vector).features(bottleneck, codes, LOST, FRAMES)
    assert found.shape == whole.shape
    # Each frame of codes covers two frames, the last one a single one.
    arrived, missing = slice(2, 6), [0, 1, 6, 7, 8]
    assert torch.equal(found[:, arrived], whole[:, arrived])
    assert torch.equal(found[0, missing], vector.expand(5, -1))


def test_codes_are_repeated_and_the_first_ones_fill_the_start(
    bottleneck, codes
):
    found = RepeatConcealment().features(bottleneck, codes, LOST, FRAMES)
    repeated = codes[[1, 1, 2, 2, 2]]
    wanted = bottleneck.decode(repeated.unsqueeze(0), FRAMES)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("concealment", [RepeatConcealment(), zeros()])
def test_what_stands_at_lost_places_does_not_matter(
    bottleneck, codes, concealment
):
    found = concealment.features(bottleneck, codes, LOST, FRAMES)
    nonsense = codes.masked_fill(LOST.unsqueeze(-1), 10**6)
    again = concealment.features(bottleneck, nonsense, LOST, FRAMES)
    assert torch.equal(found, again)


@pytest.mark.parametrize("concealment", [RepeatConcealment(), zeros()])
def test_no_loss_changes_nothing_and_all_lost_is_nothing(
    bottleneck, codes, whole, concealment
):
    none = torch.zeros_like(LOST)
    assert torch.equal(
        concealment.features(bottleneck, codes, none, FRAMES), whole
    )
    found = concealment.features(bottleneck, codes, ~none, FRAMES)
    assert torch.equal(found, torch.zeros_like(whole))


def test_the_mean_is_that_of_all_frames(bottleneck, codes):
    other = codes.flip(0)[:3]
    pairs = [(codes, FRAMES), (other, 6)]
    features = [
        bottleneck.decode(each.unsqueeze(0), frames)[0]
        for each, frames in pairs
    ]
    wanted = torch.cat(features).mean(0)
    assert torch.allclose(mean_vector(bottleneck, pairs), wanted, atol=1e-6)
    with pytest.raises(DataError, match="found 0 frames"):
        mean_vector(bottleneck, [])


@pytest.mark.parametrize("lost", [LOST[:3], LOST.long(), LOST.unsqueeze(-1)])
def test_a_mask_of_another_kind_is_refused(bottleneck, codes, lost):
    with pytest.raises(ConfigurationError, match="lost: found"):
        zeros().features(bottleneck, codes, lost, FRAMES)


def test_run_lengths_cannot_be_concealed():
    runs = Bottleneck(CHANNELS, QUANTIZER, merge=2, merge_mode="similar")
    codes = torch.zeros(5, 2, dtype=torch.int64)
    with pytest.raises(ConfigurationError, match="merge_mode"):
        zeros().features(runs, codes, LOST, 5)


@pytest.mark.parametrize("model", ["recogniser", "classifier"])
def test_the_cloud_half_alone_answers(model, request):
    folder = request.getfixturevalue(model).folder
    signal = torch.randn(8000, generator=torch.Generator().manual_seed(2))
    device = load_interface(folder, "device")
    cloud = load_interface(folder, "cloud")
    codes, num_frames = device.signal_codes(signal)
    lost = torch.zeros(len(codes), dtype=torch.bool)
    whole = concealed_answer(
        cloud, codes, lost, num_frames, RepeatConcealment()
    )
    assert whole == cloud.decode(device.encode(signal))
    lost[::2] = True
    given = concealed_answer(
        cloud, codes, lost, num_frames, RepeatConcealment()
    )
    assert type(given) is type(whole)
    with pytest.raises(ConfigurationError, match="half"):
        concealed_answer(device, codes, lost, num_frames, RepeatConcealment())
