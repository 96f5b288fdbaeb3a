"""How likely each entry of a codebook is next, learned beside the codebooks."""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from speechbrain_acom.context import Context
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.code_network import CodeNetwork
from speechbrain_acom.quantizers.settings import check_integer


class RateModel(CodeNetwork):
    """Bits of codes, given codes that the decoder knows by then.

    It guides training and the choice of entries, and begins with all entries
    equally likely. Rounded to integers it is a ``NeuralPrior``: what the codes
    were chosen by may code them, too (``hparams/priors/rate_model.yaml``).

    Arguments
    ---------
    cardinalities : Sequence[int]
        Entries per codebook, coarse to fine: V_1..V_K.
    recent_frames : int
        Past frames that it sees one by one, at least 1.
    pooled_groups : int
        Groups of frames before these, of which it sees the sums.
    embedding_dim : int
        E, values that describe a code.
    hidden_dim, hidden_layers : int
        H, the width of a codebook's layers, and how many of them are from H
        to H.
    joint : bool
        Whether it learns as long as the codes do; otherwise only until λ
        rises above 0. Whoever trains looks at this.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.

    Example
    -------
    >>> model = RateModel(cardinalities=(8, 8))
    >>> first, second = model.bits(torch.randint(8, (4, 10, 2)))
    >>> second.shape, second.unique().tolist()
    (torch.Size([4, 10, 8]), [3.0])
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        recent_frames: int = 5,
        pooled_groups: int = 3,
        embedding_dim: int = 32,
        hidden_dim: int = 64,
        hidden_layers: int = 1,
        joint: bool = True,
    ) -> None:
        check_integer("recent_frames", recent_frames, 1)
        check_integer("pooled_groups", pooled_groups, 0)
        check_integer("embedding_dim", embedding_dim, 1)
        check_integer("hidden_dim", hidden_dim, 1)
        check_integer("hidden_layers", hidden_layers, 0)
        if not isinstance(joint, bool):
            raise ConfigurationError("joint", joint, "true or false")
        super().__init__(
            cardinalities,
            Context(recent_frames, pooled_groups),
            embedding_dim,
            hidden_dim,
            hidden_layers,
        )
        self.joint = joint

    def bits(self, codes: Tensor) -> list[Tensor]:
        """Bits of every entry in every frame of whole utterances.

        Arguments
        ---------
        codes : Tensor
            Shape (batch, time, k), of the first k codebooks.

        Returns
        -------
        list[Tensor]
            -log2 of the probabilities, k tensors of shape (batch, time, V_k).
        """
        outside = self.outside((len(codes), self.context.window))
        outside = outside[..., : codes.shape[-1]]
        pieces = torch.cat([outside, codes], dim=1)
        return [_bits(logits) for logits in self(pieces)]

    def walk(self, batch: int, frames: int) -> "RateWalk":
        """Start to predict utterances frame by frame.

        Arguments
        ---------
        batch : int
            How many utterances at once.
        frames : int
            Frames that there is room for before the walk makes room again,
            which takes no more than a step.

        Returns
        -------
        RateWalk
            It stands before their first frame.
        """
        return RateWalk(self, batch, frames)

    def in_double_precision(self) -> "RateModel":
        """A copy whose answers hardly depend on the shape of the batch."""
        return copy.deepcopy(self).double()


class RateWalk:
    """A rate model on its way through utterances, one code after the other.

    Arguments
    ---------
    model : RateModel
        The model.
    batch, frames : int
        As for :meth:`RateModel.walk`.

    Example
    -------
    >>> walk = RateModel(cardinalities=(8, 8)).walk(batch=4, frames=10)
    >>> walk.bits().shape  # of the first codebook in the first frame
    torch.Size([4, 8])
    >>> walk.append(torch.randint(8, (4,)))
    >>> walk.bits().shape  # of the second one
    torch.Size([4, 8])
    """

    def __init__(self, model: RateModel, batch: int, frames: int) -> None:
        self._model = model
        self._codebook, self._frame = 0, 0
        # Frames as codebook k sees them: (batch, K, window + frames, E).
        embeddings = torch.stack([table[-1] for table in model.embeddings])
        window, self._room = model.context.window, max(frames, 1)
        self._seen = embeddings.new_zeros(
            (batch, len(embeddings), window + self._room, embeddings.shape[1])
        )
        self._seen[:, :, :window] = embeddings.cumsum(0).unsqueeze(1)
        self._spans = _span_matrix(model.context).to(embeddings)

    def bits(self) -> Tensor:
        """Bits of every entry that may be next, shape (batch, V)."""
        window = self._model.context.window
        past = self._seen[:, self._codebook, self._frame :][:, :window]
        inputs = [(self._spans @ past).flatten(1)]
        if self._codebook:
            inputs.append(self._coarser())
        inputs = torch.cat(inputs, dim=1)
        return _bits(self._model.logits(self._codebook, inputs))

    def append(self, codes: Tensor) -> None:
        """Take note of the codes that were chosen, shape (batch,)."""
        own = self._model.embedded(codes, self._codebook)
        if self._codebook:
            own = own + self._coarser()
        now = self._frame + self._model.context.window
        self._seen[:, self._codebook, now] = own
        self._codebook += 1

    def end_frame(self) -> None:
        """Go on to the next frame, also if finer codebooks are not used."""
        self._codebook, self._frame = 0, self._frame + 1
        if self._frame == self._room:
            window = self._model.context.window
            kept = self._seen[:, :, self._frame :].clone()
            self._seen[:, :, :window] = kept
            self._frame = 0

    def _coarser(self) -> Tensor:
        """Sums of the embeddings of the frame's codes so far, (batch, E)."""
        now = self._frame + self._model.context.window
        return self._seen[:, self._codebook - 1, now]


def _span_matrix(context: Context) -> Tensor:
    """What makes the inputs of the last window's frames, (span, window)."""
    shape = (len(context.spans), context.window)
    rows = torch.zeros(shape, dtype=torch.float64)
    for row, (near, far) in zip(rows, context.spans, strict=True):
        row[context.window - far : context.window - near + 1] = 1.0 / math.sqrt(
            far - near + 1
        )
    return rows


def _bits(logits: Tensor) -> Tensor:
    return -logits.log_softmax(dim=-1) / math.log(2.0)
