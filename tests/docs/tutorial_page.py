"""Blocks of the tutorial, its diffs applied to a small recipe, and its run."""

import re
from pathlib import Path

import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio.dataset import DynamicItemDataset
from tiny_recipe import TRAIN_PY, TRAIN_YAML

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL, flags=re.DOTALL)


def file_diffs(diff):
    """Hunks of a diff by file name."""
    parts = re.split(r"^--- .*\n\+\+\+ .*/(.+)\n", diff, flags=re.MULTILINE)
    return {
        name: re.split(r"^@@ .* @@\n", hunks, flags=re.MULTILINE)[1:]
        for name, hunks in zip(parts[1::2], parts[2::2], strict=True)
    }


def side(hunk, sign):
    """What a hunk looks like before ("-") or after ("+") it is applied."""
    lines = hunk.splitlines(keepends=True)
    return "".join(line[1:] for line in lines if line[0] in f" {sign}")


def patched(text, hunks):
    for hunk in hunks:
        assert text.count(side(hunk, "-")) == 1
        text = text.replace(side(hunk, "-"), side(hunk, "+"))
    return text


# The first one cuts the recipe; each other one goes on from there.
DIFFS = blocks("diff")
TRAIN_YAML_AFTER = patched(TRAIN_YAML, file_diffs(DIFFS[0])["train.yaml"])
TRAIN_PY_AFTER = patched(TRAIN_PY, file_diffs(DIFFS[0])["train.py"])
QUANTIZER_LINE = re.search(r" +quantizer: .*\n", TRAIN_YAML_AFTER)[0]
OTHER_QUANTIZERS = [
    block for block in blocks("yaml") if block.lstrip().startswith("quantizer:")
]


def after_the_diff_with(word):
    """YAML and code after the first diff and the other one that has a word."""
    (diff,) = (diff for diff in DIFFS[1:] if word in diff)
    files = file_diffs(diff)
    return (
        patched(TRAIN_YAML_AFTER, files["train.yaml"]),
        patched(TRAIN_PY_AFTER, files["train.py"]),
    )


def loaded(yaml=TRAIN_YAML_AFTER, seed=0):
    torch.manual_seed(seed)
    return load_hyperpyyaml(
        yaml.replace("/path/to/speechbrain_acom", str(ROOT))
    )


def dataset():
    generator = torch.Generator().manual_seed(0)
    clips = {
        f"clip {seconds}": {
            "sig": torch.randn(int(16000 * seconds), generator=generator),
            "phn_encoded": torch.tensor([1, 4, 2]),
        }
        for seconds in (0.5, 0.6, 0.8, 1.0)
    }
    return DynamicItemDataset(clips, output_keys=["id", "sig", "phn_encoded"])


def trained(hparams, code=TRAIN_PY_AFTER):
    recipe = {"__name__": "recipe"}
    exec(compile(code, "train.py", "exec"), recipe)
    return recipe["train"](hparams, dataset())
