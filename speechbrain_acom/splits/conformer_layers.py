"""Layers of a Conformer encoder, on a whole utterance or chunk by chunk."""

from collections.abc import Callable
from functools import partial

import torch
from speechbrain.lobes.models.transformer.TransformerASR import (
    TransformerASR,
    make_transformer_src_tgt_masks,
)
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from speechbrain_acom.splits.chunks import ChunkChoice


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
    chunks : ChunkChoice
        Which later frames a frame sees.
    recomputed : bool
        Whether what happens inside a layer is computed again where gradients
        need it, instead of kept.
    """

    def __init__(
        self,
        transformer: TransformerASR,
        first: int,
        last: int,
        chunks: ChunkChoice,
        recomputed: bool = False,
    ) -> None:
        super().__init__()
        encoder = transformer.encoder
        ends = first < last == len(encoder.layers)
        relative = transformer.attention_type == "RelPosMHAXL" and first < last
        self.causal = transformer.causal
        self.chunks = chunks
        self.recomputed = recomputed
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
        chunks = self.chunks.now(self.training)
        padding_mask, _, attention_mask, _ = make_transformer_src_tgt_masks(
            values,
            None,
            lengths,
            causal=self.causal,
            dynchunktrain_config=chunks,
        )
        positions = self.positions(values) if self.positions else None
        for layer in self.layers:
            run = layer
            if self.recomputed and torch.is_grad_enabled():
                run = partial(checkpoint, layer, use_reentrant=False)
            values, _ = run(
                values,
                src_mask=attention_mask,
                src_key_padding_mask=padding_mask,
                pos_embs=positions,
                dynchunktrain_config=chunks,
            )
        return self.norm(values) if self.norm else values

    def stream(self) -> Callable[[Tensor], Tensor]:
        """Run the layers chunk by chunk.

        Returns
        -------
        Callable[[Tensor], Tensor]
            Called with the next chunk (1, frame, channel), it gives what
            :meth:`forward` gives for these frames of the whole.

        Raises
        ------
        ConfigurationError
            If there are no chunks.
        """
        past = self.chunks.streamed().left_context_size_frames()
        contexts = [layer.make_streaming_context(past) for layer in self.layers]
        seen = 0

        def run(values: Tensor) -> Tensor:
            nonlocal seen
            positions = None
            if self.positions:
                # One for every frame that attention looks at.
                reach = seen + values.shape[1]
                shape = (1, reach, values.shape[2])
                positions = self.positions(values.new_empty(shape))
            seen = min(seen + values.shape[1], past)
            for layer, context in zip(self.layers, contexts, strict=True):
                values, _ = layer.forward_streaming(values, context, positions)
            return self.norm(values) if self.norm else values

        return run
