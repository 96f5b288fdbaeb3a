"""Where a CNN14 can be cut, and its two halves.

The layers are the six convolution blocks and the pooling to an embedding (7).
Blocks 1 to 5 halve time and frequency each, so that a cut after block M has
100 / 2**M frames a second.

Source: Kong et al., "PANNs", arXiv 1912.10211, Table I (CNN14).
"""

from collections.abc import Callable

import torch
from speechbrain.lobes.models.Cnn14 import Cnn14
from torch import Tensor
from torch.nn import functional

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.lengths import (
    frame_counts,
    frame_mask,
    relative_lengths,
)
from speechbrain_acom.splits.contract import CloudHalf, CutFrames, DeviceHalf
from speechbrain_acom.splits.layers import ClassifierSplit, check_split_layer
from speechbrain_acom.splits.second_encoder import SecondEncoder

NUM_BLOCKS = 6
NUM_POOLINGS = 5
NUM_LAYERS = NUM_BLOCKS + 1
DROPOUT = 0.2


class ConvolutionBlocks(torch.nn.Module):
    """Some consecutive blocks of a CNN14, the features' norm with the first.

    The dropout after a block runs before the next one, on the side of the
    next one, so that the quantizer sees the same kind of features in training
    as in evaluation.

    Arguments
    ---------
    embedding_model : Cnn14
        The unsplit model; its modules are shared, not copied.
    first : int
        Number of blocks before these.
    last : int
        Number of blocks up to and with these.
    """

    def __init__(self, embedding_model: Cnn14, first: int, last: int) -> None:
        super().__init__()
        starts = first == 0 < last
        self.first = first
        self.norm0 = embedding_model.norm0 if starts else None
        self.blocks = torch.nn.ModuleList(
            getattr(embedding_model, f"conv_block{number}")
            for number in range(first + 1, last + 1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Run the blocks on maps, (batch, map, frame, frequency)."""
        if self.norm0:
            maps = self.norm0(maps.transpose(1, 3)).transpose(1, 3)
        for number, block in enumerate(self.blocks, self.first + 1):
            if number > 1:
                maps = functional.dropout(maps, DROPOUT, self.training)
            maps = block(maps, pool_size=2 if number <= NUM_POOLINGS else 1)
        return maps


class ClipPooling(torch.nn.Module):
    """Mean over frequency, then maximum plus mean over real frames."""

    def forward(self, maps: Tensor, lengths: Tensor) -> Tensor:
        """Pool (batch, map, frame, frequency) to (batch, 1, map)."""
        maps = functional.dropout(maps, DROPOUT, self.training)
        frames = maps.mean(dim=3).transpose(1, 2)
        mask = frame_mask(lengths, frames).unsqueeze(2)
        largest = frames.masked_fill(~mask, float("-inf")).amax(dim=1)
        mean = (frames * mask).sum(dim=1) / mask.sum(dim=1)
        return (largest + mean).unsqueeze(1)


class Cnn14DeviceHalf(DeviceHalf):
    """Layers 1..M of a CNN14.

    Clips shorter than 32 frames would vanish in the five poolings: the time
    axis is padded with zeros to at least 32 frames, whatever M is.

    Arguments
    ---------
    embedding_model : Cnn14
        The unsplit model.
    split_layer : int
        M.
    """

    def __init__(self, embedding_model: Cnn14, split_layer: int) -> None:
        super().__init__()
        last = min(split_layer, NUM_BLOCKS)
        self.poolings = min(split_layer, NUM_POOLINGS)
        self.blocks = ConvolutionBlocks(embedding_model, 0, last)
        self.pooling = ClipPooling() if split_layer == NUM_LAYERS else None
        self.channels = _channels(embedding_model, split_layer)

    def forward(self, features: Tensor, lengths: Tensor) -> CutFrames:
        """Features (batch, time, mel band) to the frames at the cut."""
        counts = frame_counts(lengths, features)
        features = _pad_frames(features, 2**NUM_POOLINGS)
        maps = self.blocks(features.unsqueeze(1))
        lengths = _pooled_lengths(counts, self.poolings, maps.shape[2])
        if self.pooling:
            embedding = self.pooling(maps, lengths)
            return CutFrames(embedding, torch.ones_like(lengths))
        # Fold (batch, map, frame, frequency): the frame is what is coded.
        return CutFrames(maps.transpose(1, 2).flatten(2), lengths)


class Cnn14CloudHalf(CloudHalf):
    """Layers M+1..L of a CNN14 and the classifier.

    What was decoded beyond the end of a clip is set to zero first, so that a
    clip that was padded to 32 frames gives the same scores when only its real
    frames were sent.

    Arguments
    ---------
    embedding_model : Cnn14
        The unsplit model.
    classifier : torch.nn.Module
        (batch, 1, embedding) to (batch, 1, class).
    split_layer : int
        M.
    """

    def __init__(
        self,
        embedding_model: Cnn14,
        classifier: torch.nn.Module,
        split_layer: int,
    ) -> None:
        super().__init__()
        self.poolings = NUM_POOLINGS - min(split_layer, NUM_POOLINGS)
        self.frequencies = _frequencies(embedding_model, split_layer)
        self.blocks = ConvolutionBlocks(
            embedding_model, split_layer, NUM_BLOCKS
        )
        self.pooling = ClipPooling() if split_layer < NUM_LAYERS else None
        self.classifier = classifier
        self.hidden_channels = _channels(embedding_model, NUM_LAYERS)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Decoded frames (batch, frame, channel) to (batch, 1, class)."""
        if self.pooling:
            values = self.pooling(*self._maps(values, lengths))
        return self.classifier(values)

    def with_hidden(
        self, values: Tensor, lengths: Tensor
    ) -> tuple[Tensor, CutFrames]:
        """Scores of the classes and what :meth:`hidden` gives."""
        if not self.pooling:
            return self.classifier(values), CutFrames(values, lengths)
        maps, lengths = self._maps(values, lengths)
        output = self.classifier(self.pooling(maps, lengths))
        return output, _averaged(maps, lengths)

    def hidden(self, values: Tensor, lengths: Tensor) -> CutFrames:
        """Maps of the last block, averaged over frequency as in the pooling.

        Of a cut after the pooling: what crosses it.
        """
        if self.pooling:
            return _averaged(*self._maps(values, lengths))
        return CutFrames(values, lengths)

    def _maps(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Unfold the maps and run the blocks that are left; with lengths."""
        counts = frame_counts(lengths, values)
        padding = ~frame_mask(lengths, values).unsqueeze(2)
        values = values.masked_fill(padding, 0.0)
        values = _pad_frames(values, 2**self.poolings)
        maps = values.unflatten(2, (-1, self.frequencies)).transpose(1, 2)
        # Contiguous, so that dropout draws the same mask as without a cut.
        maps = self.blocks(maps.contiguous())
        return maps, _pooled_lengths(counts, self.poolings, maps.shape[2])


def _averaged(maps: Tensor, lengths: Tensor) -> CutFrames:
    """Maps (batch, map, frame, frequency), averaged over frequency."""
    return CutFrames(maps.mean(dim=3).transpose(1, 2), lengths)


class Cnn14Split(ClassifierSplit):
    """A CNN14 with a classifier, cut after layer M.

    M = 0 codes the features, 1..6 a block, L = 7 the embedding: one frame a
    clip. The maps of a block, (batch, map, frame, frequency), cross the cut
    as frames of map x frequency channels. With the bypass quantizer and
    lengths of one the output equals ``classifier(embedding_model(x))``; the
    pooling to the embedding leaves out padding, which SpeechBrain's does not.

    Arguments
    ---------
    embedding_model : Cnn14
        SpeechBrain's or :class:`~speechbrain_acom.splits.SlimCnn14`.
    classifier : torch.nn.Module
        (batch, 1, embedding) to (batch, 1, class).
    split_layer : int
        M, from 0 to L = 7.
    bottleneck : Callable[..., Bottleneck]
        Called with ``channels=``, the size of what crosses the cut.
    second_encoder : SecondEncoder | None
        Stands beside layers 1..M on the device; its features cross the cut
        after theirs.

    Raises
    ------
    ConfigurationError
        If M is out of range or there are fewer than 32 mel bands.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain_acom.quantizers import Bypass
    >>> from speechbrain_acom.splits.slim_cnn14 import SlimCnn14
    >>> split = Cnn14Split(
    ...     embedding_model=SlimCnn14(mel_bins=40, emb_dim=8, width=0.0625),
    ...     classifier=torch.nn.Linear(8, 3),
    ...     split_layer=4,
    ...     bottleneck=partial(Bottleneck, quantizer=Bypass),
    ... )
    >>> split.device(torch.randn(2, 100, 40), torch.ones(2)).values.shape
    torch.Size([2, 6, 64])
    """

    def __init__(
        self,
        embedding_model: Cnn14,
        classifier: torch.nn.Module,
        split_layer: int,
        bottleneck: Callable[..., Bottleneck],
        second_encoder: SecondEncoder | None = None,
    ) -> None:
        check_split_layer(split_layer, NUM_LAYERS)
        _check_mel_bins(embedding_model)
        blocks = (f"block {n}" for n in range(1, NUM_BLOCKS + 1))
        super().__init__(
            Cnn14DeviceHalf(embedding_model, split_layer),
            Cnn14CloudHalf(embedding_model, classifier, split_layer),
            bottleneck,
            split_layer,
            ("features", *blocks, "embedding"),
            second_encoder,
        )


def _pad_frames(values: Tensor, frames: int) -> Tensor:
    """Put zeros after (batch, frame, channel) up to a number of frames."""
    return functional.pad(values, (0, 0, 0, max(0, frames - values.shape[1])))


def _pooled_lengths(counts: Tensor, poolings: int, frames: int) -> Tensor:
    """Relative lengths after poolings that drop an odd last frame.

    A clip keeps at least one frame, and two halves that pool a and b times
    agree with one that pools a + b times.
    """
    return relative_lengths((counts // 2**poolings).clamp(min=1), frames)


def _mel_bins(model: Cnn14) -> int:
    """Mel bands of the features: the norm has one weight for each."""
    return model.norm0.weight.shape[0]


def _check_mel_bins(model: Cnn14) -> None:
    """Complain about features that vanish in the five poolings."""
    if _mel_bins(model) < 2**NUM_POOLINGS:
        raise ConfigurationError(
            "mel_bins", _mel_bins(model), f"at least {2**NUM_POOLINGS}"
        )


def _frequencies(model: Cnn14, split_layer: int) -> int:
    """Size of the frequency axis after block M."""
    return _mel_bins(model) // 2 ** min(split_layer, NUM_POOLINGS)


def _channels(model: Cnn14, split_layer: int) -> int:
    """Size of a frame after layer M."""
    if split_layer == 0:
        return _mel_bins(model)
    number = min(split_layer, NUM_BLOCKS)
    maps = getattr(model, f"conv_block{number}").conv2.out_channels
    if split_layer == NUM_LAYERS:
        return maps
    return maps * _frequencies(model, split_layer)
