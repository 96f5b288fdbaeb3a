"""Running a recipe as a user would."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from speechbrain_acom.errors import DataError


def run_recipe(
    recipe: str | Path,
    hparams: str | Path,
    output: str | Path,
    overrides: Mapping[str, object],
    logged: bool = True,
) -> Path:
    """Run ``train.py`` of a recipe and wait for its results.

    A run that was interrupted goes on from its last checkpoint.

    Arguments
    ---------
    recipe : str | Path
        The recipe's folder, which holds ``train.py`` and which it runs in.
    hparams : str | Path
        The YAML file, anywhere.
    output : str | Path
        The run's output folder.
    overrides : Mapping[str, object]
        Further ``--key=value``; paths have to be absolute.
    logged : bool
        What the recipe prints is added to a file beside the folder, of its
        name with the suffix ``.log``. False: it is shown.

    Returns
    -------
    Path
        ``results.json`` of the run.

    Raises
    ------
    DataError
        If the recipe fails; with a log the message has the last line of it.
    """
    output = Path(output).resolve()
    log = Path(f"{output}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "train.py", str(Path(hparams).resolve())]
    for key, value in {"output_folder": output, **overrides}.items():
        command.append(f"--{key}={value}")
    if logged:
        with log.open("a", encoding="utf-8") as file:
            done = subprocess.run(command, cwd=recipe, stdout=file, stderr=file)
    else:
        done = subprocess.run(command, cwd=recipe)
    if done.returncode != 0:
        where, why = Path(recipe, "train.py"), "its error stands above"
        if logged:
            printed = log.read_text(encoding="utf-8", errors="replace").strip()
            where = log
            why = (printed.splitlines() or ["nothing was printed"])[-1]
        raise DataError(
            f"{where}: found exit status {done.returncode}, expected 0: {why}"
        )
    return output / "results.json"
