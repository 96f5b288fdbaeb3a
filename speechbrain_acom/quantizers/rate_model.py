"""How likely each entry of a codebook is next: a small causal network."""

import copy
import math

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.settings import check_integer


class RateModel(torch.nn.Module):
    """Probabilities of codes, given codes that the decoder knows by then.

    The context of codebook k is its own codes of the last R frames and the
    codes of the coarser codebooks in the same frame; nothing depends on finer
    codebooks. The codes of the context are embedded, and a layer of rectified
    units reads the embeddings side by side (the network of Bengio et al., "A
    Neural Probabilistic Language Model", 2003). It begins with all entries
    equally likely.

    It only guides training and the choice of entries. What the coder uses is
    a prior of :mod:`speechbrain_acom.entropy.priors`, fitted afterwards.

    Arguments
    ---------
    num_codebooks : int
        K.
    codebook_size : int
        V.
    context_frames : int
        R, at least 1. Before the first frame there is a code of its own.
    embedding_size : int
        Numbers that describe a code of the context.
    hidden_size : int
        Units between the context and the probabilities.
    joint : bool
        Whether it learns as long as the codes do; otherwise only until λ
        rises above 0. Whoever trains looks at this.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.

    Example
    -------
    >>> model = RateModel(num_codebooks=2, codebook_size=8, context_frames=3)
    >>> contexts = model.contexts(torch.randint(8, (4, 10, 2)), codebook=1)
    >>> contexts.shape
    torch.Size([4, 10, 4])
    >>> bits = model(contexts, codebook=1)
    >>> bits.shape, bits.unique().tolist()
    (torch.Size([4, 10, 8]), [3.0])
    """

    def __init__(
        self,
        num_codebooks: int,
        codebook_size: int,
        context_frames: int,
        embedding_size: int = 16,
        hidden_size: int = 64,
        joint: bool = True,
    ) -> None:
        super().__init__()
        check_integer("context_frames", context_frames, 1)
        check_integer("embedding_size", embedding_size, 1)
        check_integer("hidden_size", hidden_size, 1)
        if not isinstance(joint, bool):
            raise ConfigurationError("joint", joint, "true or false")
        self.joint = joint
        self.codebook_size = codebook_size
        self.context_frames = context_frames
        # One more code than there are entries: "no frame yet".
        self.embeddings = torch.nn.ModuleList(
            torch.nn.Embedding(codebook_size + 1, embedding_size)
            for _ in range(num_codebooks)
        )
        self.hidden = torch.nn.ModuleList(
            torch.nn.Linear((context_frames + k) * embedding_size, hidden_size)
            for k in range(num_codebooks)
        )
        self.outputs = torch.nn.ModuleList(
            torch.nn.Linear(hidden_size, codebook_size)
            for _ in range(num_codebooks)
        )
        for output in self.outputs:
            torch.nn.init.zeros_(output.weight)
            torch.nn.init.zeros_(output.bias)

    def first_history(self, batch: int, device: torch.device) -> Tensor:
        """Codes before the first frame, shape (batch, R, K)."""
        shape = (batch, self.context_frames, len(self.embeddings))
        return torch.full(shape, self.codebook_size, device=device)

    def contexts(self, codes: Tensor, codebook: int) -> Tensor:
        """What the codes of one codebook are predicted from.

        Arguments
        ---------
        codes : Tensor
            Shape (batch, time, k), k > codebook.
        codebook : int
            Which one, from 0.

        Returns
        -------
        Tensor
            int64, shape (batch, time, R + codebook): the codebook's codes of
            the last R frames, the latest first, then the coarser codes.
        """
        time = codes.shape[1]
        padded = torch.nn.functional.pad(
            codes[..., codebook],
            (self.context_frames, 0),
            value=self.codebook_size,
        )
        starts = range(self.context_frames - 1, -1, -1)
        past = [padded[:, start : start + time] for start in starts]
        return torch.cat(
            [torch.stack(past, dim=-1), codes[..., :codebook]], dim=-1
        )

    def forward(self, contexts: Tensor, codebook: int) -> Tensor:
        """Bits of every entry.

        Arguments
        ---------
        contexts : Tensor
            Shape (..., R + codebook), as of :meth:`contexts`.
        codebook : int
            Which one, from 0.

        Returns
        -------
        Tensor
            -log2 of the probabilities, shape (..., V).
        """
        own = self.embeddings[codebook](contexts[..., : self.context_frames])
        embedded = [own.flatten(-2)]
        for coarser in range(codebook):
            code = contexts[..., self.context_frames + coarser]
            embedded.append(self.embeddings[coarser](code))
        hidden = self.hidden[codebook](torch.cat(embedded, dim=-1)).relu()
        scores = self.outputs[codebook](hidden)
        return -scores.log_softmax(dim=-1) / math.log(2.0)

    def in_double_precision(self) -> "RateModel":
        """A copy whose answers hardly depend on the shape of the batch."""
        return copy.deepcopy(self).double()
