"""The tutorial does what it says, on a small recipe with upstream's lines."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.checkpoints import Checkpointer
from tiny_recipe import TRAIN_PY, TRAIN_YAML

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.quantizers import Bypass
from speechbrain_acom.splits import (
    LeakError,
    SequentialSplit,
    SplitResult,
    check_no_leak,
)

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
MOST_CHANGED_LINES = 15


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL, flags=re.DOTALL)


def file_diffs():
    """Hunks of the diff by file name."""
    (diff,) = blocks("diff")
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


TRAIN_YAML_AFTER = patched(TRAIN_YAML, file_diffs()["train.yaml"])
TRAIN_PY_AFTER = patched(TRAIN_PY, file_diffs()["train.py"])
QUANTIZER_LINE = re.search(r" +quantizer: .*\n", TRAIN_YAML_AFTER)[0]
OTHER_QUANTIZERS = [
    block for block in blocks("yaml") if block.lstrip().startswith("quantizer:")
]


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


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    # The recipe writes its checkpoints into the current folder.
    monkeypatch.chdir(tmp_path)


def test_diff_is_short():
    changed = [
        line
        for hunks in file_diffs().values()
        for hunk in hunks
        for line in hunk.splitlines()
        if line[0] in "+-"
    ]
    assert len(changed) <= MOST_CHANGED_LINES


def test_line_counts_of_the_hunks_are_right():
    (diff,) = blocks("diff")
    counts = re.findall(r"^@@ -\d+,(\d+) \+\d+,(\d+) @@", diff, re.MULTILINE)
    hunks = [hunk for hunks in file_diffs().values() for hunk in hunks]
    for (before, after), hunk in zip(counts, hunks, strict=True):
        assert len(side(hunk, "-").splitlines()) == int(before)
        assert len(side(hunk, "+").splitlines()) == int(after)


def test_recipe_trains_before_and_after_the_diff():
    trained(loaded(TRAIN_YAML), TRAIN_PY)
    hparams = loaded(TRAIN_YAML_AFTER.replace("save\n", "other\n", 1))
    weights = [p.clone() for p in hparams["split"].parameters()]
    brain = trained(hparams)
    assert brain.optimizer_step == 2
    # Both halves and the bottleneck between them learn.
    for old, new in zip(weights, hparams["split"].parameters(), strict=True):
        assert not torch.equal(old, new)


def test_split_with_the_bypass_is_the_model():
    (bypass,) = (block for block in OTHER_QUANTIZERS if "Bypass" in block)
    hparams = loaded(TRAIN_YAML_AFTER.replace(QUANTIZER_LINE, bypass))
    features = torch.randn(2, 50, 40)
    split, model = hparams["split"].eval(), hparams["model"].eval()
    output = split(features, torch.tensor([1.0, 0.6])).output
    assert torch.equal(output, model(features))


def test_checkpoint_has_the_model_and_the_bottleneck_once():
    hparams = loaded()
    brain = trained(hparams)
    (checkpoint,) = brain.checkpointer.list_checkpoints()
    assert {"model", "bottleneck"} <= checkpoint.paramfiles.keys()
    before = hparams["split"].state_dict()
    again = loaded(seed=1)
    again["checkpointer"].recover_if_possible()
    after = again["split"].state_dict()
    for name in before:
        assert torch.equal(before[name], after[name])


def test_resumed_training_keeps_its_codebooks():
    first = loaded()
    trained(first)
    second = loaded(seed=1)
    trained(second)  # one epoch, which is over
    for name, value in first["split"].state_dict().items():
        assert torch.equal(value, second["split"].state_dict()[name])


def test_every_other_quantizer_is_one_line():
    assert len(OTHER_QUANTIZERS) >= 3
    for block in OTHER_QUANTIZERS:
        assert len(block.splitlines()) == 1


@pytest.mark.parametrize("line", OTHER_QUANTIZERS, ids=str.strip)
def test_other_quantizers_train_and_do_not_leak(line):
    hparams = loaded(TRAIN_YAML_AFTER.replace(QUANTIZER_LINE, line))
    brain = trained(hparams)
    assert brain.optimizer_step == 2
    features, lengths = torch.randn(2, 60, 40), torch.tensor([1.0, 0.5])
    check_no_leak(hparams["split"], features, lengths)


def test_chained_modules_replace_the_split():
    (chained,) = (block for block in blocks("yaml") if "Sequential\n" in block)
    start = TRAIN_YAML_AFTER.index("split: !new:")
    end = TRAIN_YAML_AFTER.index("    bottleneck: !name:")
    hparams = loaded(
        TRAIN_YAML_AFTER[:start] + chained + TRAIN_YAML_AFTER[end:]
    )
    split = hparams["split"]
    features, lengths = torch.randn(2, 60, 40), torch.tensor([1.0, 0.5])
    assert split(features, lengths).output.shape == (2, 30, 5)
    check_no_leak(split, features, lengths)


def test_table_of_cuts_is_right():
    rows = re.findall(
        r"^\| (\d) \| (?:after )?(?:the )?`?(\w+)`? \| (\d+) \| (\d+) \|",
        TUTORIAL,
        re.MULTILINE,
    )
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 4]
    yaml = TRAIN_YAML.replace("(4, 4)", "(128, 256)")
    for size in ("rnn_neurons: 8", "dnn_neurons: 16", "input_size: 16"):
        yaml = yaml.replace(size, size.split()[0] + " 512")
    model = loaded(yaml)["model"]
    bypass = partial(Bottleneck, quantizer=Bypass)
    for layer, name, rate, channels in rows:
        split = SequentialSplit(model, int(layer), bypass)
        cut = split.device(torch.randn(1, 100, 40), torch.ones(1))
        assert split.layer_names[int(layer)] == name
        assert cut.values.shape[1:] == (int(rate), int(channels))


def test_code_of_the_page_runs(capsys):
    continuous = loaded(TRAIN_YAML, seed=2)
    folder = "results/augment_noise_CRDNN/1986/save"
    names = {"model": "model", "output": "output", "normalizer": "normalize"}
    parts = {name: continuous[key] for name, key in names.items()}
    Checkpointer(folder, parts).save_checkpoint(meta={"PER": 20.0})
    hparams = loaded()
    page = {
        "hparams": hparams,
        "asr_brain": trained(hparams),
        "train_data": dataset(),
    }
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"tutorial.md, block {number}", "exec"), page)
        if "Checkpointer" in block:
            loaded_state = hparams["model"].state_dict()
            for name, value in continuous["model"].state_dict().items():
                assert torch.equal(value, loaded_state[name])
    assert re.search(
        r"gradient round the bottleneck: .* expected 0.*\n[\d.]+ bit/s\n",
        capsys.readouterr().out,
    )
    # The bytes give the answer that the whole line gives.
    brain, wav = page["asr_brain"], page["wav"]
    features = hparams["normalize"](hparams["compute_features"](wav))
    whole = hparams["split"](features, torch.ones(1)).output
    pout = hparams["log_softmax"](hparams["output"](whole))
    assert torch.equal(page["decode"](page["encode"](wav)), pout)
    assert not brain.modules.training


@pytest.mark.parametrize("detached", [False, True])
def test_skip_round_the_cut_is_found(detached):
    split = loaded()["split"]
    features, lengths = torch.randn(2, 60, 40), torch.tensor([1.0, 0.5])
    check_no_leak(split, features, lengths)

    class Skipping(SequentialSplit):
        def forward(self, features, lengths):
            cut = self.device(features, lengths)
            coded = self.bottleneck(cut.values, cut.lengths)
            skipped = cut.values.detach() if detached else cut.values
            output = self.cloud(coded.features + skipped, lengths)
            return SplitResult(output, lengths, coded)

    split.__class__ = Skipping
    with pytest.raises(LeakError):
        check_no_leak(split, features, lengths)
