"""A quantizer that quantizes nothing: the first debugging tool."""

import torch
from torch import Tensor

from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.quantizers.contract import Quantizer, QuantizerResult

BYTES_PER_CHANNEL = 4


class Bypass(Quantizer):
    """Passes features through unchanged; the codes are their raw bytes.

    A model that is split with it equals the unsplit one, padding included.
    The codes are the bytes of little-endian float32 numbers, four codebooks
    of 256 entries a channel, so that even this quantizer goes through the
    coder and comes back bit for bit.

    In training mode ``forward`` gives no codes, shape (batch, time, 0): they
    are eight times larger than the features and nothing reads them.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.

    Example
    -------
    >>> bypass = Bypass(channels=2)
    >>> bypass.encode(torch.tensor([[[1.0, 0.0]]])).tolist()
    [[[0, 0, 128, 63, 0, 0, 0, 0]]]
    >>> features = torch.randn(1, 3, 2)
    >>> torch.equal(bypass.decode(bypass.encode(features)), features)
    True
    """

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """256 entries for each byte: (256,) * 4 * channels."""
        return (256,) * (BYTES_PER_CHANNEL * self.channels)

    @property
    def lossless(self) -> bool:
        """True: the codes are the features."""
        return True

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        num_codebooks: int | None = None,
    ) -> QuantizerResult:
        """Give the features back; shapes as in the contract."""
        self.checked_num_codebooks(num_codebooks)
        if self.training:
            empty = features.new_empty((*features.shape[:2], 0))
            return QuantizerResult(features, empty.long())
        return QuantizerResult(features, self.encode(features, lengths))

    @torch.no_grad()
    def encode(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        num_codebooks: int | None = None,
    ) -> Tensor:
        """Bytes of the features, int64, shape (batch, time, 4 * channel)."""
        self.checked_num_codebooks(num_codebooks)
        numbers = features.float().contiguous()
        codes = numbers.view(torch.uint8).long()
        padding = ~frame_mask(lengths, features)
        return codes.masked_fill(padding.unsqueeze(-1), 0)

    def decode(self, codes: Tensor) -> Tensor:
        """Features (batch, time, channel), float32, of their bytes."""
        return codes.to(torch.uint8).contiguous().view(torch.float32)
