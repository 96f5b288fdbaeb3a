"""Running the two halves of a split on what has come so far."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from speechbrain.utils.filter_analysis import FilterProperties
from torch import Tensor


@dataclass
class DeviceStream:
    """The device half on its way through one recording.

    Arguments
    ---------
    chunk_frames : int
        Frames of a chunk; only the last one may have fewer.
    front : Callable[[Tensor], Tensor]
        What stands before the layers: normalised features (1, time, channel)
        to (1, frame, channel). It keeps nothing.
    front_filter : FilterProperties
        Which features ``front`` reads for a frame.
    layers : Callable[[Tensor], Tensor]
        Layers 1..M: the next chunk (1, chunk_frames, channel) to the same
        frames at the cut. It remembers the chunks before.
    """

    chunk_frames: int
    front: Callable[[Tensor], Tensor]
    front_filter: FilterProperties
    layers: Callable[[Tensor], Tensor]


@dataclass
class CloudStream:
    """The cloud half on its way through one recording.

    Arguments
    ---------
    chunk_frames : int
        Frames of a chunk; only the last one may have fewer.
    layers : Callable[[Tensor], Tensor]
        Layers M+1..L and the head: the next chunk of decoded frames
        (1, chunk_frames, channel) to (1, chunk_frames, token). It remembers
        the chunks before.
    """

    chunk_frames: int
    layers: Callable[[Tensor], Tensor]


class FilterStream:
    """A filter with padding, run on a signal that comes bit by bit.

    All that it gives, in turn, is what the filter gives for the whole, up to
    rounding: only outputs whose inputs have all come are taken, and of those
    that an end of a piece could reach, only at the ends of the signal.

    Arguments
    ---------
    filter : Callable[[Tensor], Tensor]
        (1, step, ...) to (1, frame, ...); frame n stands at step n * stride.
    properties : FilterProperties
        Its window and stride.
    group : int
        Frames are given in groups of so many, but for the last ones. Larger:
        less work, since a few frames are filtered again every time.

    Example
    -------
    >>> import torch
    >>> mean = torch.nn.AvgPool1d(3, stride=2, padding=1)
    >>> stream = FilterStream(mean, FilterProperties(window_size=3, stride=2))
    >>> signal = torch.arange(6.0).unsqueeze(0)
    >>> stream.push(signal[:, :4]), stream.finish(signal[:, 4:])
    (tensor([[0.3333, 2.0000]]), tensor([[4.]]))
    >>> mean(signal)
    tensor([[0.3333, 2.0000, 4.0000]])
    """

    def __init__(
        self,
        filter: Callable[[Tensor], Tensor],
        properties: FilterProperties,
        group: int = 1,
    ) -> None:
        self._filter = filter
        self._group = group
        self._stride = properties.stride
        size = properties.get_effective_size()
        # Steps after its own that a frame reads; of an even window, there is
        # one less than before.
        self.look_ahead = (size - 1) // 2
        # Frames at the start of a piece that its start could reach.
        self._reached = -(-(size // 2) // self._stride)
        self._held: Tensor | None = None
        self._first = 0  # Step of the whole that the held ones start at.
        self._next = 0  # Frame of the whole that comes next.

    def push(self, steps: Tensor) -> Tensor | None:
        """Take steps of the signal, give the frames that are certain by now.

        Arguments
        ---------
        steps : Tensor
            Shape (1, step, ...).

        Returns
        -------
        Tensor | None
            Shape (1, frame, ...); None: no frame.
        """
        self._take(steps)
        come = self._first + self._held.shape[1]
        certain = (come - 1 - self.look_ahead) // self._stride + 1
        certain -= certain % self._group
        if certain <= self._next:
            return None
        frames = self._frames()[:, : certain - self._next]
        self._next = certain
        self._forget()
        return frames

    def finish(self, steps: Tensor) -> Tensor:
        """As :meth:`push`, of the last steps: all frames that are left."""
        self._take(steps)
        return self._frames()

    def _take(self, steps: Tensor) -> None:
        if self._held is not None:
            steps = torch.cat([self._held, steps], dim=1)
        self._held = steps

    def _frames(self) -> Tensor:
        """The next frames, from the held steps; the last may be uncertain."""
        skipped = self._next - self._first // self._stride
        return self._filter(self._held)[:, skipped:]

    def _forget(self) -> None:
        """Let go of steps that no later frame reads."""
        first = max(self._next - self._reached, 0) * self._stride
        self._held = self._held[:, first - self._first :]
        self._first = first


class ChunkStream:
    """Gathers frames into chunks, and runs layers on whole ones.

    Arguments
    ---------
    layers : Callable[[Tensor], Tensor]
        The next chunk (1, frame, channel) to (1, frame, ...).
    chunk_frames : int
        Frames of every chunk but the last.

    Example
    -------
    >>> stream = ChunkStream(torch.neg, chunk_frames=2)
    >>> stream.push(torch.ones(1, 3, 1)).shape
    torch.Size([1, 2, 1])
    >>> stream.finish().shape
    torch.Size([1, 1, 1])
    """

    def __init__(
        self, layers: Callable[[Tensor], Tensor], chunk_frames: int
    ) -> None:
        self._layers = layers
        self._chunk_frames = chunk_frames
        self._held: Tensor | None = None

    def push(self, frames: Tensor) -> Tensor | None:
        """Take frames, give those of chunks that are whole by now.

        Arguments
        ---------
        frames : Tensor
            Shape (1, frame, channel).

        Returns
        -------
        Tensor | None
            Shape (1, frame, ...); None: no chunk is whole.
        """
        if self._held is not None:
            frames = torch.cat([self._held, frames], dim=1)
        whole = frames.shape[1] // self._chunk_frames * self._chunk_frames
        self._held = frames[:, whole:]
        if not whole:
            return None
        chunks = frames[:, :whole].split(self._chunk_frames, dim=1)
        return torch.cat([self._layers(chunk) for chunk in chunks], dim=1)

    def finish(self) -> Tensor | None:
        """Give the frames of the last chunk; None: there are none."""
        held, self._held = self._held, None
        if held is None or not held.shape[1]:
            return None
        return self._layers(held)
