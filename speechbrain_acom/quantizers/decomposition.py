"""A trained finite scalar quantizer as residual stages, without retraining."""

from collections.abc import Sequence
from types import MappingProxyType

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.finite_scalar import FiniteScalarQuantizer
from speechbrain_acom.quantizers.residual_finite_scalar import (
    ResidualFiniteScalarQuantizer,
)

# Levels per dimension and scale, stage by stage.
Stages = Sequence[tuple[Sequence[int], float]]

PRESETS: MappingProxyType[str, Stages] = MappingProxyType(
    {
        "1x46656": (((6,) * 6, 1.0),),
        "2x15625": (((5,) * 6, 1.0), ((5,) * 6, 0.25)),
        "4x729": tuple(((3,) * 6, 0.5**stage) for stage in range(4)),
    }
)


def decompose(
    quantizer: FiniteScalarQuantizer,
    stages: str | Stages,
    dimensions_per_code: int | None = None,
) -> ResidualFiniteScalarQuantizer:
    """Read a trained quantizer's values as sums of a few coarser levels.

    Parker et al., "Scaling Transformers for Low-Bitrate High-Quality Speech
    Coding", 2024, do this to a quantizer of six dimensions of 17 levels, at
    25 frames/s, with these presets:

    - "2x15625": 2 codes of 5**6 entries, scales 1 and 1/4; 697 bit/s.
    - "4x729": 4 codes of 3**6 entries, scales 1, 1/2, 1/4, 1/8; 951 bit/s.
    - "1x46656": 1 code of 6**6 entries, 388 bit/s. Six levels are not among
      the seventeen: this one quantizes anew, and coarser.

    The first two have the same 17 values per dimension: features and rounding
    stay as they were, bit for bit, and the first codes can be decoded alone.
    In general features stay where ``grid.values`` of both are equal.

    Fixed-length codes waste bits: per dimension 5 * 5 and 3 * 3 * 3 * 3
    spellings stand for 17 values, so that 12 % and 36 % of the bits say
    nothing. Only one spelling of each value is ever encoded, so an entropy
    coder that knows the earlier codes of the frame gets all of it back. One
    that codes each code on its own is left with 4 % and 25 % (of evenly used
    values), the price of first codes that are the nearest coarse values.

    The levels have no weights: a checkpoint of the finite scalar quantizer
    can also be loaded into a residual one with the stages in its YAML.

    Arguments
    ---------
    quantizer : FiniteScalarQuantizer
        A trained one.
    stages : str | Stages
        Name of a preset, or levels per dimension and scale of every stage.
    dimensions_per_code : int | None
        Dimensions of a stage that share a code. None: all six in a preset,
        otherwise as many as in the quantizer.

    Returns
    -------
    ResidualFiniteScalarQuantizer
        With copies of the weights.

    Raises
    ------
    ConfigurationError
        If there is no such preset, the stages have another number of
        dimensions than the quantizer, or a code would be too large.

    Example
    -------
    >>> quantizer = FiniteScalarQuantizer(channels=8, levels=[9, 9])
    >>> stages = decompose(quantizer, [([3, 3], 1), ([5, 5], 0.5)])
    >>> stages.cardinalities
    (9, 25)
    >>> stages.grid.values == quantizer.grid.values
    True
    """
    if isinstance(stages, str):
        if stages not in PRESETS:
            raise ConfigurationError("stages", stages, " or ".join(PRESETS))
        stages = PRESETS[stages]
    elif dimensions_per_code is None:
        dimensions_per_code = quantizer.dimensions_per_code
    levels = [list(stage_levels) for stage_levels, _ in stages]
    dimensions = len(quantizer.grid.counts)
    if {len(stage_levels) for stage_levels in levels} != {dimensions}:
        raise ConfigurationError(
            "stages", levels, f"levels of {dimensions} dimensions in each"
        )
    decomposed = ResidualFiniteScalarQuantizer(
        quantizer.channels,
        levels,
        [scale for _, scale in stages],
        dimensions_per_code,
        dither=quantizer.dither,
    )
    decomposed.to(quantizer.input_projection.weight)
    decomposed.load_state_dict(quantizer.state_dict())
    return decomposed.train(quantizer.training)
