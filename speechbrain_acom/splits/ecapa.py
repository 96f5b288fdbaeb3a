"""Where an ECAPA-TDNN can be cut, and its two halves.

The layers are the blocks 1..B (B = 4 in the original), the aggregation that
reads all of them but the first (B + 1), and the pooling to an embedding
(B + 2). What crosses a cut between blocks is everything that the aggregation
reads from before it, so that nothing needs to go round the quantizer.

Source: Desplanques et al., "ECAPA-TDNN", arXiv 2005.07143, Fig. 2.
"""

from collections.abc import Callable, Iterable

import torch
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN, TDNNBlock
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.splits.contract import CloudHalf, CutFrames, DeviceHalf
from speechbrain_acom.splits.layers import ClassifierSplit, check_split_layer
from speechbrain_acom.splits.second_encoder import SecondEncoder


class EmbeddingPooling(torch.nn.Module):
    """Attentive statistics and the last linear layer: frames to embedding.

    Arguments
    ---------
    embedding_model : ECAPA_TDNN
        The unsplit model; its modules are shared, not copied.
    """

    def __init__(self, embedding_model: ECAPA_TDNN) -> None:
        super().__init__()
        self.asp = embedding_model.asp
        self.asp_bn = embedding_model.asp_bn
        self.fc = embedding_model.fc

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Pool (batch, channel, frame) to (batch, embedding, 1)."""
        return self.fc(self.asp_bn(self.asp(values, lengths=lengths)))


class EcapaDeviceHalf(DeviceHalf):
    """Layers 1..M of an ECAPA-TDNN.

    Arguments
    ---------
    embedding_model : ECAPA_TDNN
        The unsplit model.
    split_layer : int
        M.
    """

    def __init__(self, embedding_model: ECAPA_TDNN, split_layer: int) -> None:
        super().__init__()
        model, num_blocks = embedding_model, len(embedding_model.blocks)
        aggregates = split_layer > num_blocks
        pools = split_layer > num_blocks + 1
        self.blocks = torch.nn.ModuleList(model.blocks[:split_layer])
        self.mfa = model.mfa if aggregates else None
        self.pooling = EmbeddingPooling(model) if pools else None
        self.channels = _channels(model, split_layer)

    def forward(self, features: Tensor, lengths: Tensor) -> CutFrames:
        """Features (batch, time, channel) to the frames at the cut."""
        values = features.transpose(1, 2)
        if self.blocks:
            outputs = _run_blocks(self.blocks, values, lengths)
            # The aggregation does not read the first block.
            values = torch.cat(outputs[1:] or outputs, dim=1)
        if self.mfa:
            values = self.mfa(values)
        if self.pooling:
            values = self.pooling(values, lengths)
            lengths = torch.ones_like(lengths)
        return CutFrames(values.transpose(1, 2), lengths)


class EcapaCloudHalf(CloudHalf):
    """Layers M+1..L of an ECAPA-TDNN and the classifier.

    Arguments
    ---------
    embedding_model : ECAPA_TDNN
        The unsplit model.
    classifier : torch.nn.Module
        (batch, 1, embedding) to (batch, 1, class).
    split_layer : int
        M.
    """

    def __init__(
        self,
        embedding_model: ECAPA_TDNN,
        classifier: torch.nn.Module,
        split_layer: int,
    ) -> None:
        super().__init__()
        model, num_blocks = embedding_model, len(embedding_model.blocks)
        aggregates = split_layer <= num_blocks
        pools = split_layer <= num_blocks + 1
        self.split_layer = split_layer
        self.crossing_sizes = list(model.channels[1:split_layer])
        self.blocks = torch.nn.ModuleList(model.blocks[split_layer:])
        self.mfa = model.mfa if aggregates else None
        self.pooling = EmbeddingPooling(model) if pools else None
        self.classifier = classifier
        last = max(split_layer, num_blocks + 1)
        self.hidden_channels = _channels(model, last)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Decoded frames (batch, frame, channel) to (batch, 1, class)."""
        return self.with_hidden(values, lengths)[0]

    def hidden(self, values: Tensor, lengths: Tensor) -> CutFrames:
        """Output of the aggregation; of the cut, where that is later."""
        if self.mfa:
            values = self._aggregated(values.transpose(1, 2), lengths)
            values = self.mfa(values).transpose(1, 2)
        return CutFrames(values, lengths)

    def with_hidden(
        self, values: Tensor, lengths: Tensor
    ) -> tuple[Tensor, CutFrames]:
        """Scores of the classes and output of the aggregation."""
        hidden = self.hidden(values, lengths)
        values = hidden.values
        if self.pooling:
            values = values.transpose(1, 2)
            values = self.pooling(values, lengths).transpose(1, 2)
        return self.classifier(values), hidden

    def _aggregated(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Outputs of blocks 2..B, (batch, channel, frame), as mfa reads."""
        crossed = []
        if self.split_layer > 1:
            crossed = list(values.split(self.crossing_sizes, dim=1))
            values = crossed[-1]
        outputs = _run_blocks(self.blocks, values, lengths)
        if self.split_layer == 0:
            outputs = outputs[1:]
        return torch.cat(crossed + outputs, dim=1)


class EcapaSplit(ClassifierSplit):
    """An ECAPA-TDNN with a classifier, cut after layer M.

    M = 0 codes the features, 1..B a block, B + 1 the aggregation, L = B + 2
    the embedding: one frame a clip. A cut after block M >= 2 codes blocks
    2..M side by side, since the aggregation reads them all. With the bypass
    quantizer the output equals ``classifier(embedding_model(x, lengths))``.

    Arguments
    ---------
    embedding_model : ECAPA_TDNN
        SpeechBrain's.
    classifier : torch.nn.Module
        (batch, 1, embedding) to (batch, 1, class).
    split_layer : int
        M, from 0 to L = B + 2.
    bottleneck : Callable[..., Bottleneck]
        Called with ``channels=``, the size of what crosses the cut.
    second_encoder : SecondEncoder | None
        Stands beside layers 1..M on the device; its features cross the cut
        after theirs.

    Raises
    ------
    ConfigurationError
        If M is out of range.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain.lobes.models.ECAPA_TDNN import Classifier
    >>> from speechbrain_acom.quantizers import Bypass
    >>> split = EcapaSplit(
    ...     embedding_model=ECAPA_TDNN(8, channels=[16] * 5, lin_neurons=4),
    ...     classifier=Classifier(4, lin_neurons=4, out_neurons=3),
    ...     split_layer=3,
    ...     bottleneck=partial(Bottleneck, quantizer=Bypass),
    ... )
    >>> split.bottleneck.quantizer.channels  # blocks 2 and 3
    32
    >>> split(torch.randn(2, 30, 8), torch.ones(2)).output.shape
    torch.Size([2, 1, 3])
    """

    def __init__(
        self,
        embedding_model: ECAPA_TDNN,
        classifier: torch.nn.Module,
        split_layer: int,
        bottleneck: Callable[..., Bottleneck],
        second_encoder: SecondEncoder | None = None,
    ) -> None:
        num_blocks = len(embedding_model.blocks)
        check_split_layer(split_layer, num_blocks + 2)
        blocks = (f"block {n}" for n in range(1, num_blocks + 1))
        super().__init__(
            EcapaDeviceHalf(embedding_model, split_layer),
            EcapaCloudHalf(embedding_model, classifier, split_layer),
            bottleneck,
            split_layer,
            ("features", *blocks, "aggregation", "embedding"),
            second_encoder,
        )


def _run_blocks(
    blocks: Iterable[torch.nn.Module], values: Tensor, lengths: Tensor
) -> list[Tensor]:
    """Outputs of all blocks, each (batch, channel, frame)."""
    outputs = []
    for block in blocks:
        if isinstance(block, TDNNBlock):
            values = block(values)
        else:
            values = block(values, lengths=lengths)
        outputs.append(values)
    return outputs


def _channels(model: ECAPA_TDNN, split_layer: int) -> int:
    """Size of what crosses the cut after layer M."""
    num_blocks = len(model.blocks)
    if split_layer == 0:
        return model.blocks[0].conv.conv.in_channels
    if split_layer == 1:
        return model.channels[0]
    if split_layer <= num_blocks:
        return sum(model.channels[1:split_layer])
    if split_layer == num_blocks + 1:
        return model.channels[-1]
    return model.fc.conv.out_channels
