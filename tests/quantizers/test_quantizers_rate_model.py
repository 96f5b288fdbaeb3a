"""The model of the bits that codes will cost."""

import pytest
import torch
from random_rates import make_sure

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.rate_model import RateModel

SIZES = (5, 7)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def model_of(**settings):
    """A model that is sure of something, and sees four frames back."""
    defaults = {"cardinalities": SIZES, "recent_frames": 2, "pooled_groups": 1}
    model = RateModel(**{**defaults, **settings})
    make_sure(model)
    return model


def random_codes(batch, frames):
    return torch.stack(
        [torch.randint(size, (batch, frames)) for size in SIZES], dim=-1
    )


@pytest.mark.parametrize("pooled_groups", [0, 2])
@pytest.mark.parametrize(("frames", "room"), [(1, 1), (9, 9), (9, 2), (9, 0)])
def test_a_walk_says_what_whole_utterances_say(pooled_groups, frames, room):
    model = model_of(pooled_groups=pooled_groups).in_double_precision()
    codes = random_codes(3, frames)
    whole = model.bits(codes)
    walk = model.walk(3, room)
    for frame in range(frames):
        for codebook in range(2):
            bits = walk.bits()
            torch.testing.assert_close(bits, whole[codebook][:, frame])
            walk.append(codes[:, frame, codebook])
        walk.end_frame()


def test_a_walk_may_leave_finer_codebooks_out():
    model = model_of().in_double_precision()
    codes = random_codes(2, 6)
    [whole] = model.bits(codes[..., :1])
    assert torch.equal(whole, model.bits(codes)[0])
    walk = model.walk(2, 6)
    for frame in range(6):
        torch.testing.assert_close(walk.bits(), whole[:, frame])
        walk.append(codes[:, frame, 0])
        walk.end_frame()


def test_probabilities_sum_to_one():
    for bits in model_of().bits(random_codes(3, 7)):
        assert torch.allclose((2.0**-bits).sum(-1), torch.ones(3, 7))


@pytest.mark.parametrize("codebook", [0, 1])
@pytest.mark.parametrize("frame", [0, 3, 6])
def test_no_code_depends_on_itself_or_on_what_comes_after(codebook, frame):
    model, codes = model_of().in_double_precision(), random_codes(1, 9)
    changed = codes.clone()
    changed[0, frame, codebook] = (codes[0, frame, codebook] + 1) % 5
    both = zip(model.bits(changed), model.bits(codes), strict=True)
    # Sums over the whole past leave something in the last bits.
    moved = [((one - two).abs() > 1e-9).any(-1)[0] for one, two in both]
    expected = torch.zeros(2, 9, dtype=torch.bool)
    # Finer codebooks do not tell of coarser ones.
    expected[codebook:, frame + 1 : frame + 5] = True
    if codebook == 0:
        expected[1, frame] = True
    assert torch.equal(torch.stack(moved), expected)


def test_all_entries_are_equally_likely_at_first():
    model = RateModel(cardinalities=(8,))
    [bits] = model.bits(torch.randint(8, (2, 4, 1)))
    assert (bits == 3.0).all()


def test_it_learns_what_follows_what():
    codes = (torch.arange(200) % 5).reshape(1, -1, 1).expand(-1, -1, 2)
    model = RateModel((5, 5), recent_frames=1, pooled_groups=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        bits = torch.stack(model.bits(codes), dim=2)
        chosen = bits.gather(-1, codes.unsqueeze(-1))
        optimizer.zero_grad()
        chosen.mean().backward()
        optimizer.step()
    assert chosen.mean() < 0.1


def test_double_precision_is_a_copy():
    model = model_of()
    precise, codes = model.in_double_precision(), random_codes(2, 6)
    for one, two in zip(precise.bits(codes), model.bits(codes), strict=True):
        assert (one.dtype, two.dtype) == (torch.float64, torch.float32)
        assert torch.allclose(one.float(), two, atol=1e-4)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recent_frames", 0),
        ("pooled_groups", -1),
        ("embedding_dim", 0),
        ("hidden_dim", 0),
        ("hidden_layers", -1),
        ("joint", 0),
    ],
)
def test_settings_out_of_range_are_named(key, value):
    with pytest.raises(ConfigurationError, match=f"^{key}: found {value}"):
        model_of(**{key: value})
