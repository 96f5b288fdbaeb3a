"""Time and memory of our residual vector quantizer and of its peers.

``python benchmarks/quantizers.py`` measures K codebooks of V entries with D
dimensions against the ResidualVQ of vector-quantize-pytorch and the
ResidualVectorQuantize of SpeechBrain's DAC, and writes a row a setting and
peer to ``results/quantizers.json``. See ``benchmarks/README.md``.
"""

import argparse
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter

# The profiler's own messages would stand between the progress bar's.
os.environ.setdefault("KINETO_LOG_LEVEL", "5")

import torch
from torch import Tensor
from tqdm import tqdm

from speechbrain_acom.quantizers import ResidualVectorQuantizer
from speechbrain_acom.studies.results import Row, write_results

OURS = "ours"
SEED = 0
BATCH, FRAMES, CHANNELS = 16, 250, 512
CELLS = tuple(itertools.product((1, 2, 8), (256, 1024, 8192), (8, 64)))
QUICK_CELLS = ((2, 32, 8),)
FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Cell:
    """One setting of the quantizers.

    Arguments
    ---------
    num_codebooks : int
        K.
    codebook_size : int
        V.
    codebook_dim : int
        D.
    """

    num_codebooks: int
    codebook_size: int
    codebook_dim: int


@dataclass(frozen=True)
class Contestant:
    """A quantizer as the benchmark drives it.

    Arguments
    ---------
    module : torch.nn.Module
        The quantizer.
    features : Tensor
        Its input, in the layout that it likes best.
    train : Callable[[Tensor], tuple[Tensor, Tensor]]
        Quantized features and loss of an input.
    encode : Callable[[Tensor], Tensor]
        Codes of an input.
    """

    module: torch.nn.Module
    features: Tensor
    train: Callable[[Tensor], tuple[Tensor, Tensor]]
    encode: Callable[[Tensor], Tensor]

    def step(self, gradient: Tensor) -> None:
        """Forward and backward, as inside of a model that is trained."""
        self.module.train()
        self.module.zero_grad(set_to_none=True)
        leaf = self.features.detach().requires_grad_()
        quantized, loss = self.train(leaf)
        torch.autograd.backward([quantized, loss], [gradient, None])

    @torch.no_grad()
    def encoding(self) -> None:
        """Codes in evaluation mode."""
        self.module.eval()
        self.encode(self.features)


@dataclass(frozen=True)
class Figures:
    """What was measured of one contestant.

    Arguments
    ---------
    step_ms : float
        Forward and backward, the fastest of the rounds.
    encode_ms : float
        Codes in evaluation mode, the fastest of the rounds.
    step_mib : float
        Most bytes that a step has allocated at once, beside input and
        weights.
    """

    step_ms: float
    encode_ms: float
    step_mib: float


def ours(cell: Cell, features: Tensor) -> Contestant:
    """Our quantizer with random codebooks, as wide as what they code."""
    quantizer = ResidualVectorQuantizer(
        CHANNELS,
        cell.num_codebooks,
        cell.codebook_size,
        cell.codebook_dim,
    )
    with torch.no_grad():
        residual = quantizer.input_projection(features.flatten(0, 1))
        for codebook in quantizer.codebooks:
            codebook.entries.mul_(residual.std())
            residual = residual - codebook(codebook.search(residual))

    def train(values: Tensor) -> tuple[Tensor, Tensor]:
        result = quantizer(values)
        return result.features, result.loss

    return Contestant(quantizer, features, train, quantizer.encode)


def vector_quantize_pytorch(cell: Cell, features: Tensor) -> Contestant:
    """ResidualVQ with its own defaults: moving averages, one projection."""
    from vector_quantize_pytorch import ResidualVQ

    quantizer = ResidualVQ(
        dim=CHANNELS,
        num_quantizers=cell.num_codebooks,
        codebook_size=cell.codebook_size,
        codebook_dim=cell.codebook_dim,
    )

    def train(values: Tensor) -> tuple[Tensor, Tensor]:
        quantized, _, losses = quantizer(values)
        return quantized, losses.sum()

    return Contestant(
        quantizer, features, train, lambda values: quantizer(values)[1]
    )


def speechbrain_dac(cell: Cell, features: Tensor) -> Contestant:
    """ResidualVectorQuantize, which projects for each codebook anew."""
    from speechbrain.lobes.models.discrete.dac import ResidualVectorQuantize

    quantizer = ResidualVectorQuantize(
        CHANNELS, cell.num_codebooks, cell.codebook_size, cell.codebook_dim
    )

    def train(values: Tensor) -> tuple[Tensor, Tensor]:
        quantized, _, _, commitment, codebook = quantizer(values)
        return quantized, commitment + codebook

    return Contestant(
        quantizer,
        features.transpose(1, 2).contiguous(),
        train,
        lambda values: quantizer(values)[1],
    )


CONTESTANTS = {
    OURS: ours,
    "vector-quantize-pytorch": vector_quantize_pytorch,
    "speechbrain-dac": speechbrain_dac,
}


def measured(cell: Cell, seconds: float) -> Row:
    """The row of one setting.

    Arguments
    ---------
    cell : Cell
        The setting.
    seconds : float
        Start no new round after so long, once there are three. The
        contestants take turns in each round.

    Returns
    -------
    Row
        "peer" is the faster one in training. A ratio is ours over the best
        peer's in that figure. "exact_percent" is the share of our codes that
        an exact search in double precision finds too.
    """
    torch.manual_seed(SEED)
    features = torch.randn(BATCH, FRAMES, CHANNELS)
    contestants = {
        name: build(cell, features) for name, build in CONTESTANTS.items()
    }
    figures = compared(contestants, seconds)
    peers = {name: figures[name] for name in figures if name != OURS}
    row = {
        "peer": min(peers, key=lambda name: peers[name].step_ms),
        **asdict(cell),
        "time_ratio": _ratio(figures, "step_ms"),
        "encode_time_ratio": _ratio(figures, "encode_ms"),
        "memory_ratio": _ratio(figures, "step_mib"),
        "exact_percent": exact_percent(contestants[OURS].module, features),
    }
    for name, figure in figures.items():
        for key, value in asdict(figure).items():
            row[f"{name.replace('-', '_')}_{key}"] = value
    return row


def _ratio(figures: dict[str, Figures], key: str) -> float:
    """Ours over the best peer's."""
    values = {name: getattr(figures[name], key) for name in figures}
    return values.pop(OURS) / min(values.values())


def compared(
    contestants: dict[str, Contestant], seconds: float
) -> dict[str, Figures]:
    """Figures of contestants that take turns, so that all meet one machine.

    Arguments
    ---------
    contestants : dict[str, Contestant]
        Who takes part.
    seconds : float
        As for :func:`measured`.

    Returns
    -------
    dict[str, Figures]
        Of each contestant.
    """
    steps = {
        name: partial(contestant.step, torch.randn_like(contestant.features))
        for name, contestant in contestants.items()
    }
    # What is watched serves to warm up too.
    peaks = {name: peak_mib(step) for name, step in steps.items()}
    step_times = {name: [] for name in contestants}
    encode_times = {name: [] for name in contestants}
    end = perf_counter() + seconds
    rounds = 0
    while rounds < FEWEST_ROUNDS or perf_counter() < end:
        rounds += 1
        for name, contestant in contestants.items():
            step_times[name].append(_milliseconds(steps[name]))
            encode_times[name].append(_milliseconds(contestant.encoding))
    return {
        name: Figures(
            min(step_times[name]), min(encode_times[name]), peaks[name]
        )
        for name in contestants
    }


def peak_mib(action: Callable[[], None]) -> float:
    """Most MiB that an action has allocated at once.

    Arguments
    ---------
    action : Callable[[], None]
        What to watch.

    Returns
    -------
    float
        The peak over what was allocated before, from the allocator's own
        record of every allocation.

    Example
    -------
    >>> peak_mib(lambda: torch.zeros(2**20)) >= 4.0
    True
    """
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        action()
    events = profile.profiler.kineto_results.events()
    sizes = [event.nbytes() for event in events if event.name() == "[memory]"]
    return max(itertools.accumulate(sizes), default=0) / 2**20


@torch.no_grad()
def exact_percent(
    quantizer: ResidualVectorQuantizer, features: Tensor
) -> float:
    """Share of codes that a plain search in double precision finds too.

    Arguments
    ---------
    quantizer : ResidualVectorQuantizer
        Ours.
    features : Tensor
        Shape (batch, time, channel).

    Returns
    -------
    float
        In percent, over all codebooks.
    """
    codes = quantizer.encode(features).flatten(0, 1)
    projection = quantizer.input_projection
    residual = torch.nn.functional.linear(
        features.flatten(0, 1).double(),
        projection.weight.double(),
        projection.bias.double(),
    )
    equal = 0
    for codebook, found in zip(quantizer.codebooks, codes.T, strict=True):
        entries = codebook.entries.double()
        nearest = torch.cat(
            [
                torch.cdist(chunk, entries).argmin(1)
                for chunk in residual.split(500)
            ]
        )
        equal += int((nearest == found).sum())
        residual = residual - entries[nearest]
    return 100.0 * equal / codes.numel()


def _milliseconds(action: Callable[[], None]) -> float:
    start = perf_counter()
    action()
    return 1e3 * (perf_counter() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every setting and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default="results/quantizers.json")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="time a setting"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one small setting, three rounds"
    )
    options = parser.parse_args(arguments)
    cells = QUICK_CELLS if options.quick else CELLS
    seconds = 0.0 if options.quick else options.seconds
    rows = [
        measured(Cell(*cell), seconds)
        for cell in tqdm(cells, unit="setting", disable=None)
    ]
    write_results(
        options.output,
        rows,
        f"random features: {BATCH} utterances of {FRAMES} frames, "
        f"{CHANNELS} channels",
        SEED,
    )


if __name__ == "__main__":
    main()
