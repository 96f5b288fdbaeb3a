"""Multiply-adds a second of audio on either side of a cut, and parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_acom.errors import AcomError, ConfigurationError
from speechbrain_acom.hparams import load_keys
from speechbrain_acom.splits.contract import HALVES, Split
from speechbrain_acom.splits.modes import evaluation_mode

GIGA = 1e9
# What a recipe's YAML has for :func:`complexity`, in the order of its arguments.
KEYS = ("split", "compute_features", "sample_rate")
# Shorter clips leave nothing behind some front ends; what attention holds at
# once grows with the square of a clip.
LEAST_SECONDS, MOST_SECONDS = 0.1, 300.0


@dataclass
class Complexity:
    """What a split model costs, in 10^9 multiply-adds a second of audio.

    Arguments
    ---------
    device_gmac_per_s : float
        Features, device half, merge and the quantizer's encoder.
    quantizer_gmac_per_s : float
        The part of ``device_gmac_per_s`` that the quantizer's encoder takes,
        its search through the codebooks included.
    cloud_gmac_per_s : float
        The quantizer's decoder, expansion and cloud half.
    total_gmac_per_s : float
        Both sides together.
    device_parameters : int
        Parameters that the device needs, those of the features included;
        buffers are not parameters.
    cloud_parameters : int
        Parameters that the cloud needs; some may be on both sides.
    """

    device_gmac_per_s: float
    quantizer_gmac_per_s: float
    cloud_gmac_per_s: float
    total_gmac_per_s: float
    device_parameters: int
    cloud_parameters: int


def complexity(
    split: Split,
    compute_features: Callable[[Tensor], Tensor],
    sample_rate: int,
    seconds: float = 4.0,
) -> Complexity:
    """Count the multiply-adds that a model takes for a second of audio.

    Counted are the products of matrices and the convolutions that really run
    on a clip of noise, in evaluation mode, attention included. Not counted
    are the Fourier transform of the features and everything that works on
    single numbers: activations, norms, softmax, poolings, the search for the
    smallest of the distances once they are there. The counter does not know
    ``torch.cdist``: a quantizer of your own should multiply matrices instead.
    The comparison of neighbouring frames by ``merge_mode: similar`` is added;
    the noise then has as many frames of codes as it has runs.

    Attention grows with the square of the clip, so that a second of a longer
    clip costs more; state ``seconds`` with a figure.

    Arguments
    ---------
    split : Split
        The model; it is left as it was.
    compute_features : Callable[[Tensor], Tensor]
        Audio (batch, sample) to features (batch, time, channel); ``Fbank``.
    sample_rate : int
        Samples a second.
    seconds : float
        Length of the clip.

    Returns
    -------
    Complexity
        Multiply-adds on either side, and parameters.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain.lobes.features import Fbank
    >>> from speechbrain_acom.bottleneck import Bottleneck
    >>> from speechbrain_acom.quantizers import Bypass
    >>> from speechbrain_acom.splits import Cnn14Split, SlimCnn14
    >>> split = Cnn14Split(
    ...     embedding_model=SlimCnn14(mel_bins=40, emb_dim=8, width=0.0625),
    ...     classifier=torch.nn.Linear(8, 3),
    ...     split_layer=4,
    ...     bottleneck=partial(Bottleneck, quantizer=Bypass),
    ... )
    >>> cost = complexity(split, Fbank(n_mels=40), sample_rate=16000)
    >>> round(cost.device_gmac_per_s, 3), cost.quantizer_gmac_per_s
    (0.004, 0.0)
    """
    audio = _noise(split, round(seconds * sample_rate))
    # Fused attention is a single operation that the counter does not know.
    unfused = sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), evaluation_mode(split), unfused:
        device, quantizer, cloud = _walk(split, compute_features, audio)
    clip = GIGA * seconds
    parameters = {half: _num_parameters(split, half) for half in HALVES}
    if isinstance(compute_features, torch.nn.Module):
        on_features = [item.numel() for item in compute_features.parameters()]
        parameters["device"] += sum(on_features)
    return Complexity(
        device_gmac_per_s=device / clip,
        quantizer_gmac_per_s=quantizer / clip,
        cloud_gmac_per_s=cloud / clip,
        total_gmac_per_s=(device + cloud) / clip,
        device_parameters=parameters["device"],
        cloud_parameters=parameters["cloud"],
    )


def recipe_complexity(
    path: str | Path, overrides: str | dict = "", seconds: float = 4.0
) -> Complexity:
    """Count what the model of a recipe's YAML takes, untrained.

    Arguments
    ---------
    path : str | Path
        The YAML; it needs ``split``, ``compute_features`` and
        ``sample_rate``.
    overrides : str | dict
        Top-level keys to replace, as ``speechbrain.parse_arguments`` gives.
    seconds : float
        Length of the clip.

    Returns
    -------
    Complexity
        As :func:`complexity`.

    Raises
    ------
    ConfigurationError
        If the model cannot be built and run, or the clip is shorter than
        0.1 s or longer than 300 s.
    """
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise ConfigurationError(
            "seconds", seconds, f"from {LEAST_SECONDS} to {MOST_SECONDS}"
        )
    try:
        # The same weights every time: how much of a search is done again in
        # double precision depends on them.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found = load_keys(path, KEYS, overrides)
        return complexity(*(found[key] for key in KEYS), seconds)
    except AcomError:
        raise
    except Exception as error:
        # Layers say in many ways that they cannot be so large.
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigurationError(
            str(path),
            f"{type(error).__name__} ({reason})",
            "settings of which a model can be built and run",
        ) from error


def _walk(
    split: Split, compute_features: Callable[[Tensor], Tensor], audio: Tensor
) -> tuple[float, float, float]:
    """Multiply-adds of device, quantizer and cloud for one clip."""
    bottleneck, lengths = split.bottleneck, audio.new_ones(1)
    features, on_features = _counted(compute_features, audio)
    cut, on_layers = _counted(split.device, features, lengths)
    num_frames = cut.values.shape[1]
    merged = bottleneck.merged(cut.values, cut.lengths)
    _, on_search = _counted(bottleneck.quantizer.encode, *merged)
    codes, on_codes = _counted(bottleneck.encode, cut.values, cut.lengths)
    on_merge = bottleneck.merge.multiply_adds(num_frames)
    decoded, on_decoder = _counted(bottleneck.decode, codes, num_frames)
    _, on_cloud = _counted(split.cloud, decoded, cut.lengths)
    device = on_features + on_layers + on_merge + on_codes
    return device, on_search, on_decoder + on_cloud


def _counted(function: Callable, *arguments: Any) -> tuple[Any, float]:
    """What a function gives and the multiply-adds that it took."""
    with FlopCounterMode(display=False) as counter:
        result = function(*arguments)
    return result, counter.get_total_flops() / 2


def _noise(split: Split, samples: int) -> Tensor:
    """One clip of noise where the model's weights are."""
    generator = torch.Generator().manual_seed(0)
    clip = torch.randn(1, samples, generator=generator)
    return clip.to(next(split.parameters()).device)


def _num_parameters(split: Split, half: str) -> int:
    """Parameters that one half needs, one with two names counted once."""
    needed = split.half_state_dict(half)
    named = split.named_parameters(remove_duplicate=False)
    parameters = {item for name, item in named if name in needed}
    return sum(parameter.numel() for parameter in parameters)
