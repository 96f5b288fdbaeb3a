"""Does anything go round the cut?

The tests run the split's own ``forward`` and replace what its bottleneck
gives, so that they see whatever path a split takes from its input to its
output. They look at any :class:`~speechbrain_acom.splits.Split`, a user's own
included, in evaluation mode, and leave it as it was.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature

import torch
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck, BottleneckResult
from speechbrain_acom.errors import AcomError
from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.splits.contract import Split
from speechbrain_acom.splits.modes import evaluation_mode

# Equal codes go through the same layers twice: only rounding may differ.
TOLERANCE = 1e-5

Replacement = Callable[[BottleneckResult, Tensor | None], Tensor]


class LeakError(AcomError):
    """The cloud half of a split knows something that the codes do not say."""


def gradient_leak(split: Split, features: Tensor, lengths: Tensor) -> float:
    """How much gradient reaches the input although the cut is closed.

    The decoded features are detached, which closes the straight-through path;
    what is left of the gradient went round the bottleneck. Only detached
    paths escape this test, and :func:`code_leak` finds those.

    Arguments
    ---------
    split : Split
        The model; its parameters get no gradient.
    features : Tensor
        Shape (batch, time, channel).
    lengths : Tensor
        Relative lengths in [0, 1], shape (batch,).

    Returns
    -------
    float
        Largest absolute derivative, with respect to the input, of a random
        projection of the output; 0 for a sound split.

    Raises
    ------
    LeakError
        If ``split.forward`` does not call ``split.bottleneck``.
    """

    def detach(result: BottleneckResult, _: Tensor | None) -> Tensor:
        return result.features.detach()

    features = features.detach().clone().requires_grad_()
    with torch.enable_grad(), evaluation_mode(split), _replacing(split, detach):
        output = split(features, lengths).output
    if not output.requires_grad:
        return 0.0
    # A plain sum could cancel: probabilities, for instance, sum to one.
    projected = (output * _noise_like(output)).sum()
    (gradient,) = torch.autograd.grad(projected, features, allow_unused=True)
    return 0.0 if gradient is None else gradient.abs().max().item()


def code_leak(
    split: Split, features_a: Tensor, features_b: Tensor, lengths: Tensor
) -> float:
    """How much the output differs between two inputs with equal codes.

    The first input takes its ordinary way. The second one gets the first
    one's codes: the cloud half reads what the bottleneck decodes from them.
    The outputs can only differ if something besides codes and lengths reaches
    the cloud half.

    Arguments
    ---------
    split : Split
        The model.
    features_a : Tensor
        Shape (batch, time, channel).
    features_b : Tensor
        Other features of the same shape.
    lengths : Tensor
        Relative lengths of both, in [0, 1], shape (batch,).

    Returns
    -------
    float
        Largest absolute difference; 0, up to rounding, for a sound split.

    Raises
    ------
    LeakError
        If ``split.forward`` does not call ``split.bottleneck``.
    """
    with torch.no_grad(), evaluation_mode(split):
        first = split(features_a, lengths)
        decoded = split.bottleneck.decode(
            first.bottleneck.codes, first.bottleneck.features.shape[1]
        )

        def force(_: BottleneckResult, cut_lengths: Tensor | None) -> Tensor:
            # Padding has no codes: it stays as it was for the first input.
            real = frame_mask(cut_lengths, decoded).unsqueeze(-1)
            return torch.where(real, decoded, first.bottleneck.features)

        with _replacing(split, force):
            second = split(features_b, lengths)
    return (first.output - second.output).abs().max().item()


def check_no_leak(split: Split, features: Tensor, lengths: Tensor) -> None:
    """Complain if anything goes round the cut.

    Arguments
    ---------
    split : Split
        The model; random weights do as well as trained ones.
    features : Tensor
        Any features that the model can read, shape (batch, time, channel).
    lengths : Tensor
        Relative lengths in [0, 1], shape (batch,).

    Raises
    ------
    LeakError
        If gradient goes round the bottleneck, or equal codes do not give
        equal outputs.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain_acom.quantizers import Bypass
    >>> from speechbrain_acom.splits import Cnn14Split, SlimCnn14
    >>> split = Cnn14Split(
    ...     embedding_model=SlimCnn14(mel_bins=40, emb_dim=8, width=0.0625),
    ...     classifier=torch.nn.Linear(8, 3),
    ...     split_layer=4,
    ...     bottleneck=partial(Bottleneck, quantizer=Bypass),
    ... )
    >>> check_no_leak(split, torch.randn(2, 100, 40), torch.ones(2))
    """
    gradient = gradient_leak(split, features, lengths)
    if gradient != 0.0:
        raise LeakError(
            f"gradient round the bottleneck: found {gradient:.3g}, expected 0: "
            "let the cloud half read nothing but decoded features and lengths"
        )
    other = features + _noise_like(features)
    difference = code_leak(split, features, other, lengths)
    # Written so that a difference that is not a number is an error as well.
    if not difference <= TOLERANCE:
        raise LeakError(
            f"outputs of equal codes: found a difference of {difference:.3g}, "
            f"expected at most {TOLERANCE:.0e}: let the cloud half read "
            "nothing but decoded features and lengths"
        )


@contextmanager
def _replacing(split: Split, replacement: Replacement) -> Iterator[None]:
    """Replace the features that the split's bottleneck gives.

    The replacement gets the bottleneck's result and the lengths at the cut.
    """
    calls = []

    def hook(
        module: Bottleneck, inputs: tuple, named: dict, result: BottleneckResult
    ) -> BottleneckResult:
        calls.append(module)
        given = signature(module.forward).bind(*inputs, **named).arguments
        forced = replacement(result, given.get("lengths"))
        return replace(result, features=forced)

    handle = split.bottleneck.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
    if not calls:
        raise LeakError(
            f"{type(split).__name__}.forward: found no call of its bottleneck, "
            "expected self.bottleneck(values, lengths) between the halves"
        )


def _noise_like(values: Tensor) -> Tensor:
    """Reproducible noise that leaves the global generator alone."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(values.shape, generator=generator)
    return noise.to(values.device, values.dtype)
