"""Where a Conformer encoder can be cut, and its two halves."""

from collections.abc import Callable

import torch
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.utils.dynamic_chunk_training import (
    DynChunkTrainConfig,
    DynChunkTrainConfigRandomSampler,
)
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.splits.chunks import ChunkChoice
from speechbrain_acom.splits.conformer_layers import EncoderLayers
from speechbrain_acom.splits.contract import (
    CloudHalf,
    CutFrames,
    DeviceHalf,
    SplitResult,
)
from speechbrain_acom.splits.layers import LayeredSplit, check_split_layer
from speechbrain_acom.splits.second_encoder import SecondEncoder
from speechbrain_acom.splits.streams import CloudStream, DeviceStream

# Attention that only knows how far frames are apart, wherever they stand.
CHUNKED_ATTENTION = ("RelPosMHAXL", "RoPEMHA")


class ConformerDeviceHalf(DeviceHalf):
    """Front end, input projection and layers 1..M.

    Arguments
    ---------
    front_end : torch.nn.Module
        (batch, time, channel) to (batch, frame, ...).
    transformer : TransformerASR
        The unsplit model.
    split_layer : int
        M.
    chunks : ChunkChoice
        Which later frames a frame sees.
    recomputed : bool
        As for :class:`EncoderLayers`.
    """

    def __init__(
        self,
        front_end: torch.nn.Module,
        transformer: TransformerASR,
        split_layer: int,
        chunks: ChunkChoice,
        recomputed: bool,
    ) -> None:
        super().__init__()
        # The one attention type whose input has the positions added to it.
        absolute = transformer.attention_type == "regularMHA"
        self.front_end = front_end
        self.input_projection = transformer.custom_src_module
        self.positions = transformer.positional_encoding if absolute else None
        self.layers = EncoderLayers(
            transformer, 0, split_layer, chunks, recomputed
        )
        self.channels = _channels(transformer)

    def forward(self, features: Tensor, lengths: Tensor) -> CutFrames:
        """Features (batch, time, channel) to the frames at the cut."""
        values = self.front(features)
        if self.positions:
            values = values + self.positions(values)
        return CutFrames(self.layers(values, lengths), lengths)

    def front(self, features: Tensor) -> Tensor:
        """Features (batch, time, channel) to (batch, frame, channel)."""
        # The front end gives (batch, frame, frequency, map).
        return self.input_projection(self.front_end(features).flatten(2))

    def stream(self) -> DeviceStream:
        """See :meth:`ConformerSplit.device_stream`."""
        measured = getattr(self.front_end, "get_filter_properties", None)
        if measured is None:
            raise ConfigurationError(
                "front_end",
                type(self.front_end).__name__,
                "one with get_filter_properties for a stream",
            )
        chunk_frames = self.layers.chunks.streamed().chunk_size
        return DeviceStream(
            chunk_frames, self.front, measured(), self.layers.stream()
        )


class ConformerCloudHalf(CloudHalf):
    """Layers M+1..L, the encoder's last norm and the head.

    Arguments
    ---------
    transformer : TransformerASR
        The unsplit model.
    head : torch.nn.Module
        (batch, frame, channel) to (batch, frame, token).
    split_layer : int
        M.
    chunks : ChunkChoice
        Which later frames a frame sees.
    recomputed : bool
        As for :class:`EncoderLayers`.
    """

    def __init__(
        self,
        transformer: TransformerASR,
        head: torch.nn.Module,
        split_layer: int,
        chunks: ChunkChoice,
        recomputed: bool,
    ) -> None:
        super().__init__()
        num_layers = len(transformer.encoder.layers)
        self.layers = EncoderLayers(
            transformer, split_layer, num_layers, chunks, recomputed
        )
        self.head = head
        self.hidden_channels = _channels(transformer)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Decoded frames (batch, frame, channel) to the head's output."""
        return self.with_hidden(values, lengths)[0]

    def hidden(self, values: Tensor, lengths: Tensor) -> CutFrames:
        """Output of the last encoder layer and its norm."""
        return CutFrames(self.layers(values, lengths), lengths)

    def with_hidden(
        self, values: Tensor, lengths: Tensor
    ) -> tuple[Tensor, CutFrames]:
        """The head's output and what it reads."""
        hidden = self.hidden(values, lengths)
        return self.head(hidden.values), hidden

    def stream(self) -> CloudStream:
        """See :meth:`ConformerSplit.cloud_stream`."""
        layers = self.layers.stream()
        return CloudStream(
            self.layers.chunks.streamed().chunk_size,
            lambda values: self.head(layers(values)),
        )


class ConformerSplit(LayeredSplit):
    """A Conformer encoder with a head, cut after encoder layer M.

    M = 0 codes what the first encoder layer reads, after the front end and
    the input projection; M = L codes what the head reads, after the encoder's
    last norm. A decoder of the transformer is not used. With the bypass
    quantizer the output equals ``head(transformer.encode(front_end(x), l))``.

    Arguments
    ---------
    front_end : torch.nn.Module
        SpeechBrain's ``ConvolutionFrontEnd``, or any module that turns
        (batch, time, channel) into (batch, frame, ...).
    transformer : TransformerASR
        With ``encoder_module: conformer`` and any attention type.
    head : torch.nn.Module
        (batch, frame, channel) to (batch, frame, token); a Linear for CTC.
    split_layer : int
        M, from 0 to the number L of encoder layers.
    bottleneck : Callable[..., Bottleneck]
        Called with ``channels=``, the model's dimension.
    second_encoder : SecondEncoder | None
        Stands beside layers 1..M on the device; its features cross the cut
        after theirs.
    chunks : DynChunkTrainConfigRandomSampler | None
        No frame sees a later chunk than its own, in either half, so that both
        can run as the frames come. None: every frame sees all others.
    recomputed : bool
        Whether what happens inside an encoder layer is computed again in the
        backward pass, instead of kept: less memory, a third more work.

    Raises
    ------
    ConfigurationError
        If M is out of range, the encoder is not a Conformer, layers are
        dropped at random, the attention needs positions and has none, or it
        has no chunks.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain_acom.quantizers import Bypass
    >>> transformer = TransformerASR(
    ...     tgt_vocab=5,
    ...     input_size=8,
    ...     d_model=16,
    ...     nhead=2,
    ...     num_encoder_layers=3,
    ...     num_decoder_layers=0,
    ...     d_ffn=32,
    ...     encoder_module="conformer",
    ...     attention_type="RelPosMHAXL",
    ...     normalize_before=True,
    ...     causal=False,
    ... )
    >>> split = ConformerSplit(
    ...     front_end=torch.nn.Identity(),
    ...     transformer=transformer,
    ...     head=torch.nn.Linear(16, 5),
    ...     split_layer=2,
    ...     bottleneck=partial(Bottleneck, quantizer=Bypass),
    ... )
    >>> split(torch.randn(2, 10, 8), torch.ones(2)).output.shape
    torch.Size([2, 10, 5])
    """

    def __init__(
        self,
        front_end: torch.nn.Module,
        transformer: TransformerASR,
        head: torch.nn.Module,
        split_layer: int,
        bottleneck: Callable[..., Bottleneck],
        second_encoder: SecondEncoder | None = None,
        chunks: DynChunkTrainConfigRandomSampler | None = None,
        recomputed: bool = False,
    ) -> None:
        _check_transformer(transformer)
        if chunks is not None:
            _check_chunks(transformer)
        choice = ChunkChoice(chunks)
        num_layers = len(transformer.encoder.layers)
        check_split_layer(split_layer, num_layers)
        layers = (f"encoder layer {n}" for n in range(1, num_layers + 1))
        super().__init__(
            ConformerDeviceHalf(
                front_end, transformer, split_layer, choice, recomputed
            ),
            ConformerCloudHalf(
                transformer, head, split_layer, choice, recomputed
            ),
            bottleneck,
            split_layer,
            ("front end", *layers),
            second_encoder,
        )
        self.chunks = choice

    def forward(
        self,
        features: Tensor | CutFrames,
        lengths: Tensor,
        target: CutFrames | None = None,
        with_hidden: bool = False,
    ) -> SplitResult:
        """As :meth:`Split.forward`, with other chunks at every training step."""
        if self.training:
            self.chunks.draw()
        return super().forward(features, lengths, target, with_hidden)

    def evaluation_chunks(self) -> DynChunkTrainConfig | None:
        """See :meth:`Split.evaluation_chunks`."""
        return self.chunks.now(training=False)

    def device_stream(self) -> DeviceStream:
        """See :meth:`Split.device_stream`."""
        if not isinstance(self.device_half, ConformerDeviceHalf):
            raise ConfigurationError(
                "second_encoder", "one", "none for a stream"
            )
        return self.device_half.stream()

    def cloud_stream(self) -> CloudStream:
        """See :meth:`Split.cloud_stream`."""
        if not isinstance(self.cloud_half, ConformerCloudHalf):
            raise ConfigurationError(
                "second_encoder", "one", "none for a stream"
            )
        return self.cloud_half.stream()


def _channels(transformer: TransformerASR) -> int:
    """Size of a frame between the layers."""
    return transformer.encoder.norm.norm.normalized_shape[-1]


def _check_transformer(transformer: TransformerASR) -> None:
    """Complain about encoders that cannot be cut."""
    encoder = transformer.encoder
    if not isinstance(encoder, ConformerEncoder):
        name = type(encoder).__name__
        raise ConfigurationError(
            "encoder_module", name, "conformer, the only encoder that is cut"
        )
    if encoder.layerdrop_prob:
        raise ConfigurationError(
            "layerdrop_prob",
            encoder.layerdrop_prob,
            "0: a dropped layer may be the one before the cut",
        )
    absolute = transformer.attention_type == "regularMHA"
    if absolute and transformer.positional_encoding_type is None:
        raise ConfigurationError(
            "positional_encoding", None, "fixed_abs_sine for regularMHA"
        )


def _check_chunks(transformer: TransformerASR) -> None:
    """Complain about encoders that cannot run in chunks."""
    if transformer.attention_type not in CHUNKED_ATTENTION:
        raise ConfigurationError(
            "attention_type",
            transformer.attention_type,
            f"{' or '.join(CHUNKED_ATTENTION)} with chunks",
        )
    if transformer.causal:
        raise ConfigurationError("causal", True, "False with chunks")
