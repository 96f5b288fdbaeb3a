"""How fast priors code, whatever they were fitted on.

``python benchmarks/prior_speed.py`` fits the static and the neural prior of
``hparams/priors`` to made codes, for a moment, and has other processes of one
thread code more of them: what a prior takes for a code does not depend on what it
has learned. Rows go to ``results/prior_speed.json``; run it with nothing beside it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from code_coders import PriorCoder
from code_sets import CodeSet
from entropy import speeds
from entropy_worker import measured_coding
from tqdm import tqdm

from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.entropy.priors import StaticPrior
from speechbrain_acom.inference import load_fitter
from speechbrain_acom.studies.results import Row, write_results

ROOT = Path(__file__).parents[1]
SIZES = ((256,), (1024,), (1024, 1024))
FRAMES_PER_SECOND = 25
# Utterances of 3.5 s, as the digits are.
UTTERANCES, FRAMES = 40, 88
SEED = 0


def made_codes(sizes: tuple[int, ...], seed: int) -> CodeSet:
    """Codes of which some are likelier than others, in random order."""
    generator = np.random.default_rng(seed)
    shape = (2, UTTERANCES, FRAMES, len(sizes))
    codes = generator.integers(0, sizes, shape).min(axis=0)
    names = [str(number) for number in range(UTTERANCES)]
    return CodeSet(
        name="made",
        utterances=list(codes),
        cardinalities=sizes,
        seconds=np.full(UTTERANCES, FRAMES / FRAMES_PER_SECOND),
        num_frames=np.full(UTTERANCES, FRAMES),
        framing=Framing(),
        recordings=names,
        targets=names,
    )


def rows(seconds: float) -> list[Row]:
    """A row for every size of the codebooks and prior."""
    neural = load_fitter(ROOT / "hparams" / "priors" / "neural.yaml")
    found = []
    for sizes in tqdm(SIZES, desc="priors"):
        train, test = (made_codes(sizes, SEED + part) for part in range(2))
        priors = {
            "static": StaticPrior.fit(train.utterances, sizes),
            "neural": neural(train.utterances, sizes, epochs=1),
        }
        for name, prior in priors.items():
            coding = measured_coding(PriorCoder(prior), test, seconds)
            found.append(
                {
                    "coder": name,
                    "num_codebooks": len(sizes),
                    "codebook_size": max(sizes),
                    **speeds(name, coding, test),
                }
            )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--seconds", type=float, default=20.0, help="time a coder and way")
    add("--output", default=ROOT / "results" / "prior_speed.json", type=Path)
    options = parser.parse_args(arguments)
    data = f"{UTTERANCES} made utterances of {FRAMES} frames"
    print(write_results(options.output, rows(options.seconds), data, SEED))


if __name__ == "__main__":
    main()
