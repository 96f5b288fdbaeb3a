"""Layers of neural priors as bytes, all numbers big-endian."""

import numpy as np

from speechbrain_acom.entropy.priors.fixed_point import FixedLayer


def layer_content(layer: FixedLayer) -> bytes:
    """A layer as files hold it.

    Arguments
    ---------
    layer : FixedLayer
        The layer.

    Returns
    -------
    bytes
        The shift in one byte, the weights row by row in two bytes each, the
        bias in four each.
    """
    return b"".join(
        part.tobytes()
        for part in (
            np.uint8(layer.shift),
            layer.weights.astype(">i2"),
            layer.bias.astype(">i4"),
        )
    )


class LayerReader:
    """Takes numbers and layers from bytes, one after the other.

    Every method raises ValueError if there are too few bytes left, before
    anything is allocated.

    Arguments
    ---------
    content : bytes
        All of them.

    Example
    -------
    >>> layer = FixedLayer(np.ones((2, 1)), 3, np.zeros(2))
    >>> LayerReader(layer_content(layer)).layer(2, 1).shift
    3
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def byte(self) -> int:
        """The next byte."""
        return int(self.numbers(">u1", 1)[0])

    def sizes(self, count: int) -> list[int]:
        """So many numbers of four bytes, none of them negative."""
        return self.numbers(">u4", count).astype(np.int64).tolist()

    def layer(self, outputs: int, inputs: int) -> FixedLayer:
        """What :func:`layer_content` gave for a layer of this shape."""
        shift = self.byte()
        weights = self.numbers(">i2", outputs, inputs)
        return FixedLayer(weights, shift, self.numbers(">i4", outputs))

    def numbers(self, dtype: str, *shape: int) -> np.ndarray:
        """An array of numbers, as float64."""
        count = int(np.prod(shape, dtype=object))
        # It raises ValueError if there are fewer, before it allocates.
        stored = np.frombuffer(self._content, dtype, count, self._position)
        self._position += stored.nbytes
        return stored.reshape(shape).astype(np.float64)

    def check_end(self) -> None:
        """Raise ValueError if anything is left."""
        if self._position != len(self._content):
            raise ValueError("bytes behind its last layer")
