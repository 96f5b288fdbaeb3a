"""Two processes that each hold one half give what the whole gives."""

import io

import pytest
import torch

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.splits import Split

LENGTHS = torch.ones(1)


def saved(state: dict) -> dict:
    """The weights as another process would read them."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.fixture
def make_split(build, coded_bottleneck, cut_point):
    """Splits at the same cut with other weights at every call."""
    name, split_layer = cut_point

    def make() -> Split:
        return build(name).cut(split_layer, coded_bottleneck).eval()

    return make


def only(make_split, half: str, weights: dict) -> Split:
    """What a process with one half holds."""
    split = make_split()
    split.keep_half(half)
    split.load_half_state_dict(half, weights)
    return split


def test_halves_cover_everything_and_share_only_codebooks(make_split):
    split = make_split()
    device = set(split.half_state_dict("device"))
    cloud = set(split.half_state_dict("cloud"))
    assert device | cloud == set(split.state_dict())
    shared = device & cloud
    assert shared
    assert all(name.startswith("bottleneck.quantizer.") for name in shared)
    assert not any("projection" in name for name in shared)
    assert not any(name.startswith("device_half") for name in cloud)
    assert not any(name.startswith("cloud_half") for name in device)


@torch.no_grad()
def test_cloud_alone_gives_what_the_whole_gives(make_split, features):
    whole = make_split()
    device = only(make_split, "device", saved(whole.half_state_dict("device")))
    cloud = only(make_split, "cloud", saved(whole.half_state_dict("cloud")))
    assert device.cloud_half is None
    assert cloud.device_half is None

    cut = device.device(features[:1], LENGTHS)
    codes = device.bottleneck.encode(cut.values, cut.lengths)
    values = cloud.bottleneck.decode(codes, cut.values.shape[1])
    output = cloud.cloud(values, cut.lengths)
    assert torch.equal(output, whole(features[:1], LENGTHS).output)


def test_half_state_of_a_kept_half_is_unchanged(make_split):
    split = make_split()
    before = split.half_state_dict("cloud")
    split.keep_half("cloud")
    assert set(split.half_state_dict("cloud")) == set(before)
    assert set(split.state_dict()) == set(before)


@pytest.mark.parametrize("wrong", ["missing", "unknown"])
def test_names_that_do_not_match_are_named(build, coded_bottleneck, wrong):
    split = build("ecapa").cut(2, coded_bottleneck)
    state = split.half_state_dict("cloud")
    name = next(iter(state))
    if wrong == "missing":
        del state[name]
    else:
        name = "cloud_half.stranger"
        state[name] = torch.zeros(1)
    with pytest.raises(ConfigurationError, match=name):
        split.load_half_state_dict("cloud", state)


def test_an_unknown_half_is_named(build, coded_bottleneck):
    split = build("ecapa").cut(2, coded_bottleneck)
    with pytest.raises(ConfigurationError, match="one of device, cloud"):
        split.half_state_dict("server")
