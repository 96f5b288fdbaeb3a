"""Where a Conformer encoder can be cut, and its two halves."""

from collections.abc import Callable

import torch
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.lobes.models.transformer.TransformerASR import (
    TransformerASR,
    make_transformer_src_tgt_masks,
)
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.splits.contract import CloudHalf, CutFrames, DeviceHalf
from speechbrain_acom.splits.layers import LayeredSplit, check_split_layer
from speechbrain_acom.splits.second_encoder import SecondEncoder


class EncoderLayers(torch.nn.Module):
    """Some consecutive layers of a Conformer encoder.

    Masks come from shape and lengths, relative positions from the shape, so
    that this runs on either side of the cut. The norm after the last layer
    belongs to whichever side runs that layer.

    Arguments
    ---------
    transformer : TransformerASR
        The unsplit model; its modules are shared, not copied.
    first : int
        Number of layers before these.
    last : int
        Number of layers up to and with these.
    """

    def __init__(
        self, transformer: TransformerASR, first: int, last: int
    ) -> None:
        super().__init__()
        encoder = transformer.encoder
        ends = first < last == len(encoder.layers)
        relative = transformer.attention_type == "RelPosMHAXL" and first < last
        self.causal = transformer.causal
        self.layers = torch.nn.ModuleList(encoder.layers[first:last])
        self.norm = encoder.norm if ends else None
        self.positions = transformer.positional_encoding if relative else None

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Run the layers.

        Arguments
        ---------
        values : Tensor
            Shape (batch, frame, channel).
        lengths : Tensor
            Relative lengths in [0, 1], shape (batch,).

        Returns
        -------
        Tensor
            Shape (batch, frame, channel).
        """
        padding_mask, _, attention_mask, _ = make_transformer_src_tgt_masks(
            values, None, lengths, causal=self.causal
        )
        positions = self.positions(values) if self.positions else None
        for layer in self.layers:
            values, _ = layer(
                values,
                src_mask=attention_mask,
                src_key_padding_mask=padding_mask,
                pos_embs=positions,
            )
        return self.norm(values) if self.norm else values


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
    """

    def __init__(
        self,
        front_end: torch.nn.Module,
        transformer: TransformerASR,
        split_layer: int,
    ) -> None:
        super().__init__()
        # The one attention type whose input has the positions added to it.
        absolute = transformer.attention_type == "regularMHA"
        self.front_end = front_end
        self.input_projection = transformer.custom_src_module
        self.positions = transformer.positional_encoding if absolute else None
        self.layers = EncoderLayers(transformer, 0, split_layer)
        self.channels = _channels(transformer)

    def forward(self, features: Tensor, lengths: Tensor) -> CutFrames:
        """Features (batch, time, channel) to the frames at the cut."""
        # The front end gives (batch, frame, frequency, map).
        values = self.input_projection(self.front_end(features).flatten(2))
        if self.positions:
            values = values + self.positions(values)
        return CutFrames(self.layers(values, lengths), lengths)


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
    """

    def __init__(
        self,
        transformer: TransformerASR,
        head: torch.nn.Module,
        split_layer: int,
    ) -> None:
        super().__init__()
        num_layers = len(transformer.encoder.layers)
        self.layers = EncoderLayers(transformer, split_layer, num_layers)
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

    Raises
    ------
    ConfigurationError
        If M is out of range, the encoder is not a Conformer, layers are
        dropped at random, or the attention needs positions and has none.

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
    ) -> None:
        _check_transformer(transformer)
        num_layers = len(transformer.encoder.layers)
        check_split_layer(split_layer, num_layers)
        layers = (f"encoder layer {n}" for n in range(1, num_layers + 1))
        super().__init__(
            ConformerDeviceHalf(front_end, transformer, split_layer),
            ConformerCloudHalf(transformer, head, split_layer),
            bottleneck,
            split_layer,
            ("front end", *layers),
            second_encoder,
        )


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
