"""The network of the neural prior: what it sees, and its layers."""

from dataclasses import dataclass

import numpy as np

from speechbrain_acom.entropy.priors.fixed_point import (
    LARGEST_ACTIVATION,
    FixedLayer,
    limited,
)
from speechbrain_acom.errors import ConfigurationError

# Nearly three minutes at 25 frames/s; it bounds what a forged file asks for.
LARGEST_WINDOW = 1 << 12


@dataclass(frozen=True)
class Context:
    """Which past frames the network of a prior looks at.

    The last frames one by one, and before them groups of frames, of which it
    sees the sums: each group reaches twice as far back as what is nearer.

    Arguments
    ---------
    recent_frames : int
        Frames seen one by one.
    pooled_groups : int
        Groups before them.

    Example
    -------
    >>> Context(recent_frames=2, pooled_groups=2).spans
    ((1, 1), (2, 2), (3, 4), (5, 8))
    """

    recent_frames: int
    pooled_groups: int

    def __post_init__(self) -> None:
        if self.recent_frames < 1 or self.pooled_groups < 0:
            raise ConfigurationError(
                "recent_frames, pooled_groups",
                (self.recent_frames, self.pooled_groups),
                "at least one frame and no negative number of groups",
            )
        if (
            self.pooled_groups > LARGEST_WINDOW.bit_length()
            or self.window > LARGEST_WINDOW
        ):
            raise ConfigurationError(
                "recent_frames, pooled_groups",
                (self.recent_frames, self.pooled_groups),
                f"recent_frames * 2^pooled_groups of at most {LARGEST_WINDOW}",
            )

    @property
    def window(self) -> int:
        """The farthest frame seen, counted from the one to predict."""
        return self.recent_frames << self.pooled_groups

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Nearest and farthest frame of each input, near to far."""
        singles = [(lag, lag) for lag in range(1, self.recent_frames + 1)]
        reaches = [
            self.recent_frames << group for group in range(self.pooled_groups)
        ]
        return (*singles, *((reach + 1, 2 * reach) for reach in reaches))

    @property
    def widths(self) -> tuple[int, ...]:
        """Frames of each input, near to far."""
        return tuple(far - near + 1 for near, far in self.spans)


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
        state = limited(self.input(inputs), 0)
        for layer in self.hidden:
            step = np.maximum(layer(state), 0)
            state = np.minimum(state + step, LARGEST_ACTIVATION)
        return limited(self.projection(state))
