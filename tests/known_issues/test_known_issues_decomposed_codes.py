"""A finite scalar quantizer could not be decomposed into what it is.

Six dimensions of 17 levels fit into codes of three dimensions each. One stage
of these levels is the quantizer itself, but `decompose` forgot that its codes
are of three dimensions, and said that one code of all six would be too large.
"""

import torch

from speechbrain_acom.quantizers import FiniteScalarQuantizer, decompose


def test_one_stage_of_its_own_levels_is_the_quantizer():
    torch.manual_seed(0)
    quantizer = FiniteScalarQuantizer(8, [17] * 6, dimensions_per_code=3)
    quantizer.initialize(torch.randn(1000, 8))
    same = decompose(quantizer.eval(), [([17] * 6, 1)])
    assert same.cardinalities == quantizer.cardinalities == (4913, 4913)
    features = torch.randn(2, 50, 8)
    codes = quantizer.encode(features)
    assert torch.equal(same.encode(features), codes)
    assert torch.equal(same.decode(codes), quantizer.decode(codes))
