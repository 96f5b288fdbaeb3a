"""A folder such as a recipe leaves, with an untrained model."""

import shutil

import numpy as np
import soundfile
from exported_models import LABELS

from speechbrain_acom.inference import AcomASR
from speechbrain_acom.manifests import write_manifest

RATE = 16000


def run_folder(folder, exported, **splits):
    """The run's folder; audio and manifests of so many clips a split."""
    run = folder / "run"
    shutil.copytree(exported.folder, run / "export")
    shutil.copy(exported.hyperparams_file, run)
    text = (run / "hyperparams.yaml").read_text()
    generator = np.random.default_rng(0)
    speech = exported.interface is AcomASR
    target = {"wrd": "YES NO"} if speech else {"class_name": LABELS[0]}
    for split, count in splits.items():
        rows = []
        for number in range(count):
            path = folder / f"{split}-{number}.wav"
            soundfile.write(path, 0.1 * generator.normal(size=RATE // 2), RATE)
            rows.append(
                {
                    "ID": path.stem,
                    "duration": 0.5,
                    "wav": f"$data_root/{path.name}",
                    **target,
                }
            )
        name = "train" if split == "train" else f"{split}-made"
        write_manifest(run / "save" / f"{name}.csv", rows)
    lines = [
        f"data_folder: {folder}" if line.startswith("data_folder:") else line
        for line in text.splitlines()
    ]
    (run / "hyperparams.yaml").write_text("\n".join(lines) + "\n")
    return run
