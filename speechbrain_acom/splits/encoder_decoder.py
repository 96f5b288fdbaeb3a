"""A Conformer encoder that is cut, and an attention decoder behind it."""

from collections.abc import Callable

import torch
from speechbrain.lobes.models.transformer.TransformerASR import (
    TransformerASR,
    make_transformer_src_tgt_masks,
)
from speechbrain.utils.dynamic_chunk_training import (
    DynChunkTrainConfigRandomSampler,
)
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.splits.conformer import ConformerSplit
from speechbrain_acom.splits.second_encoder import SecondEncoder

# Kinds of attention whose decoder has positions of its own.
OWN_POSITIONS = ("RelPosMHAXL", "RoPEMHA")


class TextDecoder(torch.nn.Module):
    """What turns the encoder's states into tokens: two heads, in the cloud.

    The modules are those of the unsplit model, shared by reference.

    Arguments
    ---------
    transformer : TransformerASR
        The unsplit model; its decoder and what that reads are used.
    ctc_head : torch.nn.Module
        (batch, frame, channel) to (batch, frame, token).
    sequence_head : torch.nn.Module
        (batch, token, channel) to (batch, token, token).

    Raises
    ------
    ConfigurationError
        If the transformer has no decoder.
    """

    def __init__(
        self,
        transformer: TransformerASR,
        ctc_head: torch.nn.Module,
        sequence_head: torch.nn.Module,
    ) -> None:
        super().__init__()
        if not hasattr(transformer, "custom_tgt_module"):
            raise ConfigurationError(
                "num_decoder_layers", 0, "1 or more, or a recipe with CTC alone"
            )
        own = transformer.attention_type in OWN_POSITIONS
        self.causal = transformer.causal
        self.embedding = transformer.custom_tgt_module
        self.positions = (
            transformer.positional_encoding_decoder
            if own
            else transformer.positional_encoding
        )
        self.decoder = transformer.decoder
        self.ctc_head = ctc_head
        self.sequence_head = sequence_head

    def forward(
        self, states: Tensor, lengths: Tensor, tokens: Tensor, pad_index: int
    ) -> Tensor:
        """What may follow each of the tokens, by attention to the states.

        Arguments
        ---------
        states : Tensor
            The encoder's, shape (batch, frame, channel).
        lengths : Tensor
            Their relative lengths in [0, 1], shape (batch,).
        tokens : Tensor
            int64, shape (batch, token), from the start symbol on.
        pad_index : int
            The token that pads.

        Returns
        -------
        Tensor
            Shape (batch, token, vocabulary), before the softmax.
        """
        masks = make_transformer_src_tgt_masks(
            states, tokens, lengths, causal=self.causal, pad_idx=pad_index
        )
        states_padding, tokens_padding, _, later_tokens = masks
        embedded = self.embedding(tokens)
        decoded, _, _ = self.decoder(
            tgt=embedded + self.positions(embedded),
            memory=states,
            tgt_mask=later_tokens,
            tgt_key_padding_mask=tokens_padding,
            memory_key_padding_mask=states_padding,
        )
        return self.sequence_head(decoded)


class EncoderDecoderSplit(ConformerSplit):
    """A Conformer encoder cut after layer M, with two heads in the cloud.

    The line ends with the encoder's states, which are the output. The
    ``text_decoder`` reads them, and a searcher of SpeechBrain's that is made
    of the same modules.

    Arguments
    ---------
    front_end, split_layer, bottleneck, second_encoder, chunks, recomputed
        As for :class:`ConformerSplit`.
    transformer : TransformerASR
        With ``encoder_module: conformer``, any attention type and a decoder.
    ctc_head, sequence_head : torch.nn.Module
        As for :class:`TextDecoder`.

    Raises
    ------
    ConfigurationError
        As :class:`ConformerSplit` and :class:`TextDecoder`.

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
    ...     num_decoder_layers=1,
    ...     d_ffn=32,
    ...     encoder_module="conformer",
    ...     attention_type="RelPosMHAXL",
    ...     normalize_before=True,
    ...     causal=False,
    ... )
    >>> split = EncoderDecoderSplit(
    ...     front_end=torch.nn.Identity(),
    ...     transformer=transformer,
    ...     ctc_head=torch.nn.Linear(16, 5),
    ...     sequence_head=torch.nn.Linear(16, 5),
    ...     split_layer=2,
    ...     bottleneck=partial(Bottleneck, quantizer=Bypass),
    ... )
    >>> result = split(torch.randn(2, 10, 8), torch.ones(2))
    >>> tokens = torch.tensor([[1, 3, 4], [1, 3, 0]])
    >>> split.text_decoder(result.output, result.lengths, tokens, 0).shape
    torch.Size([2, 3, 5])
    """

    def __init__(
        self,
        front_end: torch.nn.Module,
        transformer: TransformerASR,
        ctc_head: torch.nn.Module,
        sequence_head: torch.nn.Module,
        split_layer: int,
        bottleneck: Callable[..., Bottleneck],
        second_encoder: SecondEncoder | None = None,
        chunks: DynChunkTrainConfigRandomSampler | None = None,
        recomputed: bool = False,
    ) -> None:
        super().__init__(
            front_end,
            transformer,
            torch.nn.Identity(),
            split_layer,
            bottleneck,
            second_encoder,
            chunks,
            recomputed,
        )
        self.text_decoder = TextDecoder(transformer, ctc_head, sequence_head)

    def _foreign_modules(self, half: str) -> list[str]:
        """Paths of the modules that this half does not need."""
        foreign = super()._foreign_modules(half)
        return [*foreign, "text_decoder"] if half == "device" else foreign
