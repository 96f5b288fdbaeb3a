"""The quantizer that quantizes nothing."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer

numbers = st.floats(width=32, allow_nan=False)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_every_number_comes_back_bit_for_bit(frames):
    features = torch.tensor([frames], dtype=torch.float32)
    bypass = Bypass(channels=2)
    decoded = bypass.decode(bypass.encode(features))
    # As integers: 0.0 == -0.0 as numbers.
    assert torch.equal(decoded.view(torch.int32), features.view(torch.int32))


def test_features_pass_unchanged_with_their_padding():
    features = torch.randn(2, 5, 3)
    result = Bypass(channels=3).eval()(features, torch.tensor([0.2, 1.0]))
    assert result.features is features


def test_no_codes_in_training():
    result = Bypass(channels=3).train()(torch.randn(2, 5, 3))
    assert result.codes.shape == (2, 5, 0)


def test_bytes_are_little_endian():
    codes = Bypass(channels=1).encode(torch.tensor([[[-2.0]]]))
    assert codes.flatten().tolist() == [0, 0, 0, 0xC0]


def test_slices_that_are_not_contiguous_are_encoded():
    bypass = Bypass(channels=3)
    features = torch.randn(2, 3, 5).transpose(1, 2)
    assert torch.equal(bypass.decode(bypass.encode(features)), features)


def test_only_the_bypass_is_lossless():
    assert Bypass(channels=2).lossless
    assert not ResidualVectorQuantizer(channels=2, codebook_dim=2).lossless
