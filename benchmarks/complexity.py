"""What the paper's recogniser takes on the device, and a codec's encoder.

``python benchmarks/complexity.py`` counts multiply-adds of the untrained models
of the LibriSpeech recipe at the paper's cuts and codebooks, of its layers alone
on as many frames as the paper's script feeds them, and of the encoder of the
Descript Audio Codec for 16 kHz (``pip install transformers``). Rows go to
``results/complexity.json``. See ``benchmarks/README.md``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from speechbrain_acom.hparams import load_keys
from speechbrain_acom.metrics.complexity import GIGA, recipe_complexity
from speechbrain_acom.studies.results import Row, write_results

ROOT = Path(__file__).parents[1]
HPARAMS = (
    ROOT
    / "recipes/LibriSpeech/ASR/transformer/hparams/conformer_large_rvq.yaml"
)
SECONDS = 4.0
SPLIT_LAYERS = (4, 8)
# K codebooks of V entries (Yang et al., "Task-Specific Audio Coding for
# Machines", 2025, and their code).
CODEBOOKS = ((1, 128), (1, 256), (1, 1024), (1, 8192), (2, 1024), (8, 1024))
CODEBOOKS += ((12, 1024),)
# What the authors' script calls a second of audio, at 25 frames a second.
PAPER_FRAMES = 101
CODEC_RATE = 16000
CODEC_STRIDES = [2, 4, 5, 8]


def cut_rows() -> list[Row]:
    """A row for every cut and codebook."""
    points = [(layer, *size) for layer in SPLIT_LAYERS for size in CODEBOOKS]
    rows = []
    for layer, books, entries in tqdm(points, desc="cuts"):
        overrides = {
            "split_layer": layer,
            "num_codebooks": books,
            "codebook_size": entries,
        }
        cost = recipe_complexity(HPARAMS, overrides, SECONDS)
        rows.append(
            {"model": HPARAMS.stem, "seconds": SECONDS, **overrides}
            | asdict(cost)
        )
    return rows


def layer_rows() -> list[Row]:
    """Encoder layers alone, on the frames of the authors' script."""
    rows = []
    for count in SPLIT_LAYERS:
        keys = load_keys(HPARAMS, ["split"], {"split_layer": count})
        layers = keys["split"].device_half.layers.eval()
        channels = keys["split"].device_half.channels
        frames = torch.zeros(1, PAPER_FRAMES, channels)
        gmac = counted(layers, frames, torch.ones(1))
        rows.append(
            {
                "model": f"{count} layers",
                "split_layer": count,
                "frames": PAPER_FRAMES,
                "gmac": gmac,
            }
        )
    return rows


def codec_row() -> Row:
    """The encoder of a waveform codec for a second of audio."""
    from transformers import DacConfig, DacModel

    config = DacConfig(
        downsampling_ratios=CODEC_STRIDES,
        upsampling_ratios=CODEC_STRIDES[::-1],
        n_codebooks=12,
        sampling_rate=CODEC_RATE,
    )
    encoder = DacModel(config).encoder.eval()
    audio = torch.zeros(1, 1, CODEC_RATE)
    parameters = sum(weight.numel() for weight in encoder.parameters())
    return {
        "model": "DAC encoder, 16 kHz",
        "seconds": 1.0,
        "device_gmac_per_s": counted(encoder, audio),
        "device_parameters": parameters,
    }


def counted(module: torch.nn.Module, *inputs: torch.Tensor) -> float:
    """Multiply-adds of a call, in 10^9."""
    # Fused attention is a single operation that the counter does not know.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter:
            module(*inputs)
    return counter.get_total_flops() / 2 / GIGA


def main(arguments: Sequence[str] | None = None) -> None:
    """Count, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=ROOT / "results" / "complexity.json"
    )
    options = parser.parse_args(arguments)
    rows = [*cut_rows(), *layer_rows(), codec_row()]
    print(write_results(options.output, rows, "untrained models", seed=0))


if __name__ == "__main__":
    main()
