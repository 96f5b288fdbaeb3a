"""Layers of random integers, for tests of neural priors."""

import numpy as np

from speechbrain_acom.entropy.priors.fixed_point import FixedLayer


def random_layer(
    random: np.random.Generator, outputs: int, inputs: int
) -> FixedLayer:
    return FixedLayer(
        random.integers(-3000, 3001, (outputs, inputs)).astype(float),
        12,
        random.integers(-2000, 2001, outputs).astype(float),
    )
