"""Residual vector quantization that knows what its codes will cost.

A coder spends -log2 p(code | context) bits on a code. Here training sees
these bits, and so may the choice of the entries, as in entropy-constrained
vector quantization (Chou, Lookabaugh and Gray, "Entropy-Constrained Vector
Quantization", 1989), with a context instead of one table.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.bit_price import BitPrice
from speechbrain_acom.quantizers.dropout import used_num_codebooks
from speechbrain_acom.quantizers.frames import QuantizedFrames, RealFrames
from speechbrain_acom.quantizers.rate_model import RateModel, RateWalk
from speechbrain_acom.quantizers.residual import (
    ResidualVectorQuantizer,
    Stage,
    stage_codes,
)
from speechbrain_acom.quantizers.settings import check_integer, check_weight

# Assignments are never softer than single precision can tell from hard ones.
LEAST_TEMPERATURE = 1e-12
# Frames of a stream between two times that its walk makes room.
_STREAM_FRAMES = 256


@dataclass
class _Bits:
    """Bits a frame of one codebook.

    ``expected`` is of soft assignments, with gradients to features and
    entries; ``hard`` of the codes, with a gradient to the rate model.
    """

    expected: Tensor
    hard: Tensor


class RateAwareVectorQuantizer(ResidualVectorQuantizer):
    """A residual vector quantizer whose results have a rate.

    **Soft rate.** Each codebook assigns its frames softly, q(v) ∝
    exp(-c(v) / τ) with the cost c below, and the rate is the mean over real
    frames of the sum over codebooks and entries of q(v) · -log2 p(v | context);
    the context holds the codes really chosen. τ is ``temperature`` times the
    mean squared distance of the batch's frames to their nearest entries, held
    constant, so that it follows the scale of the features. The rate's gradient
    reaches the features and the entries through q, but not the model of p,
    which would learn to expect the soft shares instead of the codes. Features
    are quantized as without it, with a straight-through gradient; whoever
    trains adds λ · rate to the loss.

    **Rate-aware assignment.** With ``assignment_weight`` > 0 the code is the
    entry with the least cost c(v) = d²(x, e_v) + ``assignment_weight`` · S ·
    -log2 p(v | context), one frame after the other, in training and on the
    device, which then needs the rate model too. S is the features' running
    mean squared distance from their mean: bits would cost ever less if features
    could get away from them by growing. With 0 it is the nearest entry.

    **Context.** p is a :class:`~speechbrain_acom.quantizers.rate_model.
    RateModel` of past frames and the coarser codebooks. With
    ``recent_frames`` = 0 it is the entries' running shares of the frames
    instead, which no frame influences. The model learns together with the
    rest or, with ``joint`` false, until λ rises above 0: then whoever trains
    freezes it.

    There are the losses and statistics of :class:`ResidualVectorQuantizer`,
    and with a rate model the loss "rate_model": its nats a code, which move
    nothing but the model, so that it knows the codes before λ rises. The
    statistic "hard_rate" is the bits a frame of the codes as they are.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    recent_frames : int
        Past frames that the rate model sees one by one. 0: no model.
    pooled_groups : int
        Of the rate model: groups of frames before these, of which it sees the
        sums; each doubles how far it sees.
    temperature : float
        Softness of the assignments relative to the error of quantization.
    assignment_weight : float
        Squared distance that one bit is worth, as a part of S; by the cosine
        S is 1.
    embedding_dim : int
        Of the rate model: values that describe a code.
    hidden_dim, hidden_layers : int
        Of the rate model: width of its layers, and how many of them are as
        wide before and behind.
    joint : bool
        Whether the rate model goes on learning when λ is above 0.
    dead_threshold : float
        As for :class:`ResidualVectorQuantizer`. Entries that are left unused
        for their bits would be replaced as well, and used again: so 0.
    **residual
        Arguments of :class:`ResidualVectorQuantizer`, except ``rate_weight``,
        whose place ``assignment_weight`` takes.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.

    Example
    -------
    >>> quantizer = RateAwareVectorQuantizer(
    ...     channels=8, codebook_dim=4, assignment_weight=0.1
    ... )
    >>> quantizer.initialize(torch.randn(1000, 8))
    >>> result = quantizer(torch.randn(2, 5, 8), torch.tensor([1.0, 0.4]))
    >>> sorted(result.losses)
    ['codebook', 'commitment', 'rate_model']
    >>> round(result.rate.item(), 3)  # all 256 entries are equally likely yet
    8.0
    """

    def __init__(
        self,
        channels: int,
        recent_frames: int = 5,
        pooled_groups: int = 3,
        temperature: float = 0.1,
        assignment_weight: float = 0.0,
        embedding_dim: int = 32,
        hidden_dim: int = 64,
        hidden_layers: int = 1,
        joint: bool = True,
        dead_threshold: float = 0.0,
        **residual: Any,
    ) -> None:
        if "rate_weight" in residual:
            raise ConfigurationError(
                "quantizer's rate_weight",
                residual["rate_weight"],
                "assignment_weight in its place",
            )
        check_integer("recent_frames", recent_frames, 0)
        check_weight("assignment_weight", assignment_weight)
        if not 0.0 < temperature < math.inf:
            raise ConfigurationError(
                "temperature", temperature, "a number above 0"
            )
        if not (joint or recent_frames):
            raise ConfigurationError(
                "joint", joint, "true: running shares always follow the codes"
            )
        super().__init__(channels, dead_threshold=dead_threshold, **residual)
        self.temperature = temperature
        self.assignment_weight = assignment_weight
        self.recent_frames = recent_frames
        self.bit_price = BitPrice(
            assignment_weight,
            self.codebook_dim or channels,
            self.codebooks[0].settings.decay,
            of_spread=not self.by_angle,
        )
        self.rate_model = None
        if recent_frames:
            # All that is made or drawn after it is as it were without it.
            with torch.random.fork_rng(devices=[]):
                self.rate_model = RateModel(
                    self.cardinalities,
                    recent_frames,
                    pooled_groups,
                    embedding_dim,
                    hidden_dim,
                    hidden_layers,
                    joint,
                )
        # Whether a code depends on the codes before it.
        self.sequential = bool(recent_frames and assignment_weight)

    @property
    def device_only(self) -> tuple[str, ...]:
        """The input projection, and what chooses by bits."""
        model = ("rate_model",) if self.sequential else ()
        price = ("bit_price",) if self.assignment_weight else ()
        return (*super().device_only, *price, *model)

    @property
    def training_only(self) -> tuple[str, ...]:
        """What does not choose."""
        price = () if self.assignment_weight else ("bit_price",)
        return price if self.sequential else (*price, "rate_model")

    @property
    def rated(self) -> bool:
        """True: results have a rate."""
        return True

    @torch.no_grad()
    def initialize(self, frames: Tensor) -> None:
        """Start as the quantizer without a rate, and get to know the spread.

        Arguments
        ---------
        frames : Tensor
            As for :meth:`ResidualVectorQuantizer.initialize`.

        Raises
        ------
        DataError
            If there is no frame.
        """
        super().initialize(frames)
        self.bit_price.start(self._projected(frames, precise=True))

    def quantize_real(
        self, real: RealFrames, num_codebooks: int | None
    ) -> QuantizedFrames:
        """Quantize the real frames; in training mode also adapt."""
        projected = self._projected(real.values, precise=not self.training)
        count = used_num_codebooks(self, num_codebooks)
        chosen = None
        if self.assignment_weight:
            chosen = self._chosen(real, projected, count)
        stages = self._stages(projected, count, chosen)
        if self.recent_frames and self.rate_model is None:
            # It was dropped from a model that is only run.
            return self._quantized(real.values, projected, stages)
        # Before the codebooks adapt: the rate is that of these entries.
        bits = self._bits(real, stages)
        result = self._quantized(real.values, projected, stages)
        if self.training:
            self.bit_price.follow(projected.detach())
        hard = _mean(sum(part.hard for part in bits))
        losses = dict(result.losses)
        if self.rate_model is not None:
            losses["rate_model"] = math.log(2.0) * hard / count
            if self.training:
                losses["rate_model"] += self._nothing_of_idle_parts(count)
        return replace(
            result,
            losses=losses,
            statistics={**result.statistics, "hard_rate": hard.detach()},
            rate=_mean(sum(part.expected for part in bits)),
        )

    def encode_real(self, real: RealFrames, num_codebooks: int) -> Tensor:
        """The first codes, int64, (frame, num_codebooks), of every frame."""
        if not self.assignment_weight:
            return self.encode_frames(real.values, num_codebooks)
        projected = self._projected(real.values, precise=True)
        return self._chosen(real, projected, num_codebooks)

    def stream(
        self, num_codebooks: int | None = None
    ) -> Callable[[Tensor], Tensor]:
        """See the contract: the codes so far count where codes depend on them."""
        count = self.checked_num_codebooks(num_codebooks)
        if not self.sequential:
            return super().stream(count)
        walk = self.rate_model.in_double_precision().walk(1, _STREAM_FRAMES)

        @torch.no_grad()
        def code(frames: Tensor) -> Tensor:
            real = RealFrames.of(frames, None)
            projected = self._projected(real.values, precise=True)
            return self._walked(real.padded(projected.double()), walk, count)

        return code

    @torch.no_grad()
    def _chosen(
        self, real: RealFrames, projected: Tensor, count: int
    ) -> Tensor:
        """Codes (frame, count) by distance and bits, frame after frame.

        All in double precision, so that the rest of the batch has no say;
        equally cheap entries are told apart as in the plain search.
        """
        if self.rate_model is None:
            return self._chosen_by_shares(projected.double(), count)
        batch = real.padded(projected.double())
        walk = self.rate_model.in_double_precision().walk(*batch.shape[:2])
        return real.taken(self._walked(batch, walk, count))

    def _walked(self, batch: Tensor, walk: RateWalk, count: int) -> Tensor:
        """Codes (batch, time, count) of projected frames on a walk."""
        codes = batch.new_zeros((*batch.shape[:2], count), dtype=torch.int64)
        price = self.bit_price.value
        for step, residual in enumerate(batch.unbind(1)):
            for number, codebook in enumerate(self.codebooks[:count]):
                found = codebook.search(residual, price * walk.bits())
                residual = residual - codebook(found)
                codes[:, step, number] = found
                walk.append(found)
            walk.end_frame()
        return codes

    def _chosen_by_shares(self, residual: Tensor, count: int) -> Tensor:
        """The same by running shares, which no frame changes."""
        codes = []
        for codebook in self.codebooks[:count]:
            found = codebook.search(
                residual, self.bit_price.value * codebook.bits()
            )
            residual = residual - codebook(found)
            codes.append(found)
        return torch.stack(codes, dim=-1)

    def _bits(self, real: RealFrames, stages: list[Stage]) -> list[_Bits]:
        """Bits of every codebook's frames."""
        found = []
        for number, bits in enumerate(self._entry_bits(real, stages)):
            codebook, stage = self.codebooks[number], stages[number]
            distances = codebook.distances(stage.residual)
            known = bits.detach()
            shares = _soft_assignments(
                distances, self.bit_price.value * known, self.temperature
            )
            hard = bits.gather(1, stage.codes.unsqueeze(1)).squeeze(1)
            found.append(_Bits((shares * known).sum(1), hard))
        return found

    def _entry_bits(
        self, real: RealFrames, stages: list[Stage]
    ) -> list[Tensor]:
        """Bits of all entries, (frame, V), of each codebook that is used."""
        if self.rate_model is None:
            used = zip(self.codebooks, stages, strict=False)
            return [
                codebook.bits().float().expand(len(stage.codes), -1)
                for codebook, stage in used
            ]
        codes = real.padded(stage_codes(stages))
        return [real.taken(bits) for bits in self.rate_model.bits(codes)]

    def _nothing_of_idle_parts(self, used: int) -> Tensor:
        """0 with a gradient of 0: a distributed training waits for all."""
        model = self.rate_model
        idle = [model.embeddings[used:], model.codebooks[used:]]
        weights = [
            weight.sum() for part in idle for weight in part.parameters()
        ]
        return 0.0 * sum(weights)


def _soft_assignments(
    distances: Tensor, prices: Tensor, temperature: float
) -> Tensor:
    """Shares of every entry in every frame, shape (frame, V).

    Arguments
    ---------
    distances : Tensor
        Squared, shape (frame, V).
    prices : Tensor
        What is added to them where entries are chosen, shape (frame, V).
    temperature : float
        Relative to the mean of the frames' least distances.
    """
    nearest = distances.detach().amin(1).sum() / max(len(distances), 1)
    scale = (temperature * nearest).clamp(min=LEAST_TEMPERATURE)
    return (-(distances + prices) / scale).softmax(dim=1)


def _mean(values: Tensor) -> Tensor:
    """Mean over frames, float32; 0 of no frames."""
    return (values.sum() / max(len(values), 1)).float()
