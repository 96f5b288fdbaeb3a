"""The layers of the neural prior."""

from dataclasses import dataclass

import numpy as np

from speechbrain_acom.entropy.priors.fixed_point import (
    LARGEST_ACTIVATION,
    FixedLayer,
)


@dataclass(frozen=True)
class CodebookNetwork:
    """The layers that predict one codebook.

    h = relu(input(x)); for each hidden layer h = h + relu(hidden(h)); the
    logarithm of entry v's probability is then e_v . projection(h) + bias_v,
    where e_v is its embedding.

    Arguments
    ---------
    input : FixedLayer
        From E values for each span of the context, near to far, then E for
        the coarser codebooks of the same frame, where there are any.
    hidden : tuple[FixedLayer, ...]
        From H to H values.
    projection : FixedLayer
        From H to E values.
    bias : np.ndarray
        Shape (V,), float64 that holds 32-bit integers of 10 fraction bits.
    """

    input: FixedLayer
    hidden: tuple[FixedLayer, ...]
    projection: FixedLayer
    bias: np.ndarray

    @property
    def layers(self) -> tuple[FixedLayer, ...]:
        """All layers, first to last."""
        return (self.input, *self.hidden, self.projection)

    @property
    def size(self) -> int:
        """Weights and biases of all layers and of the output."""
        layers = sum(
            layer.weights.size + layer.bias.size for layer in self.layers
        )
        return layers + self.bias.size

    def projected(self, inputs: np.ndarray) -> np.ndarray:
        """What is compared with embeddings, shape (frame, E)."""
        state = self.input.activations(inputs, least=0)
        for layer in self.hidden:
            state += layer.activations(state, least=0)
            np.minimum(state, LARGEST_ACTIVATION, out=state)
        return self.projection.activations(state)
