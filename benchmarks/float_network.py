"""Our neural prior before it is rounded: what freezing it costs.

**Its bytes are not portable**, as those of the transformer: see
``transformer_prior.py``.
"""

import io
from array import array
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from code_coders import PriorCoder
from transformer_prior import float_table

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors import Prior, StaticPrior
from speechbrain_acom.entropy.priors.attention import AttentionShape
from speechbrain_acom.entropy.priors.contract import Predictor, check_count
from speechbrain_acom.training import neural_prior
from speechbrain_acom.training.context_network import ContextNetwork


@dataclass(frozen=True)
class NeuralFit:
    """A neural prior, and what else its training gave.

    Arguments
    ---------
    prior : Prior
        The frozen network.
    network : ContextNetwork
        The float network that it was rounded from.
    epochs : int
        Passes over the training codes that were made.
    """

    prior: Prior
    network: ContextNetwork
    epochs: int


def fit_neural(
    fitter: Callable[..., Prior],
    codes: Sequence[np.ndarray],
    cardinalities: Sequence[int],
) -> NeuralFit:
    """Fit a neural prior, and keep what fitting throws away.

    Arguments
    ---------
    fitter : Callable
        ``fit_neural_prior`` with its settings.
    codes : Sequence[np.ndarray]
        Integers, each of shape (frame, K).
    cardinalities : Sequence[int]
        Entries per codebook.

    Returns
    -------
    NeuralFit
        Both networks, and the epochs.
    """
    with (
        patch.object(
            neural_prior, "freeze", wraps=neural_prior.freeze
        ) as freeze,
        patch.object(
            neural_prior, "mean_bits", wraps=neural_prior.mean_bits
        ) as mean_bits,
    ):
        prior = fitter(codes, cardinalities)
    network = freeze.call_args.args[0].cpu().eval()
    # It is looked at before the first epoch, and after each of them.
    return NeuralFit(prior, network, mean_bits.call_count - 1)


class FloatNetworkPrior(Prior):
    """A context network as a prior; see this file's warning.

    Arguments
    ---------
    network : ContextNetwork
        The trained network, in evaluation mode, on the CPU.
    count : int | None
        Codebooks to predict; None: all.
    """

    KIND = 254

    def __init__(
        self, network: ContextNetwork, count: int | None = None
    ) -> None:
        self.network = network
        self._cardinalities = _sizes(network)[:count]

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook, coarse to fine: (V_1, ..., V_K)."""
        return self._cardinalities

    def predictor(self) -> "FloatNetworkPredictor":
        """A predictor at the start of a message."""
        return FloatNetworkPredictor(self.network)

    def first(self, count: int) -> "FloatNetworkPrior":
        """The prior of the first codes of every frame."""
        check_count(count, len(self._cardinalities))
        return FloatNetworkPrior(self.network, count)

    def content(self) -> bytes:
        """Sizes and weights."""
        network = self.network
        layers, shape = network.codebooks[0], network.attention_shape
        stored = io.BytesIO()
        torch.save(
            {
                "cardinalities": _sizes(network),
                "context": (
                    network.context.recent_frames,
                    network.context.pooled_groups,
                ),
                "attention": shape and astuple(shape),
                "embedding_dim": layers.projection.out_features,
                "hidden_dim": layers.projection.in_features,
                "hidden_layers": len(layers.hidden),
                "weights": network.state_dict(),
            },
            stored,
        )
        return stored.getvalue()

    @classmethod
    def from_content(cls, content: bytes) -> "FloatNetworkPrior":
        """The prior of what :meth:`content` gave."""
        stored = torch.load(io.BytesIO(content), weights_only=True)
        weights = stored.pop("weights")
        sizes = stored.pop("cardinalities")
        # Its tables are among the weights.
        static = StaticPrior.fit([np.zeros((1, len(sizes)), int)], sizes)
        shape = stored.pop("attention")
        network = ContextNetwork(
            static,
            Context(*stored.pop("context")),
            shape and AttentionShape(*shape),
            dropout=0.0,
            embedding_dropout=0.0,
            **stored,
        )
        network.load_state_dict(weights)
        return cls(network.eval())


class FloatNetworkPredictor(Predictor):
    """Runs the network a code at a time, in coder and decoder alike.

    Known codes are not looked at together, though they might be: floats may
    round otherwise in a larger batch.

    Arguments
    ---------
    network : ContextNetwork
        In evaluation mode.
    """

    def __init__(self, network: ContextNetwork) -> None:
        self._network = network
        self._window = network.context.window
        shape = network.attention_shape
        self._reach = shape.reach if shape else 0
        # The row behind the last entry: a frame before the message.
        self._outside = _sizes(network)
        self._codes = [
            array("q", [size]) * self._window for size in self._outside
        ]

    @torch.inference_mode()
    def frequencies(self, codebook: int) -> np.ndarray:
        """Table of the next code of a codebook, int64, shape (V_k,)."""
        stop = len(self._codes[codebook]) + 1
        # The farthest frame that is looked back to has a window, too.
        start = max(0, stop - 1 - self._window - self._reach)
        piece = torch.tensor(self._outside).repeat(stop - start, 1)
        for column, kept in enumerate(self._codes[: codebook + 1]):
            seen = torch.tensor(kept[start:stop])
            piece[: len(seen), column] = seen
        logits = self._network(piece.unsqueeze(0))[codebook][0, -1]
        return float_table(logits, len(logits))

    def update(self, codebook: int, entry: int) -> None:
        """Take note of the next code of a codebook."""
        self._codes[codebook].append(entry)


class FloatNetworkCoder(PriorCoder):
    """Our range coder with the float network.

    Arguments
    ---------
    prior : FloatNetworkPrior
        The trained one.
    """

    def save(self, path: Path) -> None:
        """Write sizes and weights."""
        path.write_bytes(self.prior.content())

    @classmethod
    def load(cls, path: Path) -> "FloatNetworkCoder":
        """Read what :meth:`save` wrote."""
        return cls(FloatNetworkPrior.from_content(path.read_bytes()))


def _sizes(network: ContextNetwork) -> tuple[int, ...]:
    return tuple(len(layers.bias) for layers in network.codebooks)
