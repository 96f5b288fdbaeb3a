"""What the tests of the preparation scripts share."""

import importlib.util
import logging
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
RATE = 16000


def script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_noise(path, seconds=0.1, rate=RATE, seed=0):
    generator = np.random.default_rng(seed)
    samples = generator.uniform(-0.5, 0.5, int(seconds * rate))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return path


def warnings_of(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING
    ]
