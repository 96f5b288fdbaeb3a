"""What caching the features at the cut saves of an epoch.

``python benchmarks/cut_cache.py --data_folder=... --pretrained=...`` tunes the
quantized mini recogniser on a folder of LibriSpeech's layout, with a device half
that stays as it is, with ``cut_cache`` and without, one after the other. Rows go
to ``results/cut_cache.json``. See ``benchmarks/README.md``.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies.results import Row, write_results

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "LibriSpeech" / "ASR" / "CTC"
TUNED = ("lobe_and_cloud", "lobe")
EPOCHS = 4
_TIME = re.compile(r"^(\S+ \S+) - ")
_EPOCH = "Going into epoch"
_CACHING = "caching the features"


def row(options: argparse.Namespace, tuned: str, folder: Path) -> Row:
    """Seconds of an epoch with the cache and without it."""
    plain = trained(options, tuned, "", folder / "plain")
    cache = folder / "cache"
    cached = trained(options, tuned, str(cache), folder / "cached")
    size = sum(path.stat().st_size for path in cache.rglob("*.npy"))
    first, second = epoch_seconds(plain), epoch_seconds(cached)
    return {
        "tuned": tuned,
        "split_layer": options.split_layer,
        "epoch_s": first,
        "cached_epoch_s": second,
        "epoch_ratio": second / first,
        "caching_s": caching_seconds(cached),
        "cache_mb": size / 1e6,
    }


def trained(
    options: argparse.Namespace, tuned: str, cache: str, folder: Path
) -> list[str]:
    """Lines of the log of a training."""
    keys = {
        "data_folder": Path(options.data_folder).resolve(),
        "pretrained_path": Path(options.pretrained).resolve(),
        "train_splits": f"[{options.train}]",
        "dev_splits": f"[{options.dev}]",
        "test_splits": "[]",
        "output_folder": folder,
        "split_layer": options.split_layer,
        "number_of_epochs": EPOCHS,
        "tuned": tuned,
        "cut_cache": cache,
    }
    done = subprocess.run(
        [
            *(sys.executable, "train.py", f"hparams/{options.hparams}.yaml"),
            *(f"--{key}={value}" for key, value in keys.items()),
        ],
        cwd=RECIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise DataError(f"train.py: {done.stderr.strip().splitlines()[-1]}")
    return (folder / "log.txt").read_text().splitlines()


def epoch_seconds(log: Sequence[str]) -> float:
    """The fastest epoch but the first: others share the machine."""
    starts = [_seconds(line) for line in log if _EPOCH in line]
    lengths = [
        later - earlier
        for earlier, later in zip(starts[1:], starts[2:], strict=False)
    ]
    return min(lengths)


def caching_seconds(log: Sequence[str]) -> float:
    """From the first line about caching to the first epoch."""
    first = next(line for line in log if _CACHING in line)
    last = next(line for line in log if _EPOCH in line)
    return _seconds(last) - _seconds(first)


def _seconds(line: str) -> float:
    stamp = _TIME.match(line).group(1)
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train four times, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data_folder", required=True, help="of LibriSpeech's layout")
    add("--pretrained", required=True, help="export of a continuous model")
    add("--train", default="train-mini", help="split to train on")
    add("--dev", default="dev-mini", help="split to validate on")
    add("--hparams", default="mini_librispeech_rvq", help="the recipe's YAML")
    add("--split_layer", type=int, default=2)
    add("--output", type=Path, default=ROOT / "results" / "cut_cache.json")
    options = parser.parse_args(arguments)
    rows = []
    for tuned in TUNED:
        with TemporaryDirectory() as folder:
            rows.append(row(options, tuned, Path(folder)))
        print(rows[-1], flush=True)
    data = f"{Path(options.data_folder).name}, {options.train}"
    print(write_results(options.output, rows, data, seed=1986))


if __name__ == "__main__":
    main()
