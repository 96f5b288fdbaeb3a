"""The tutorial does what it says, on a small recipe with upstream's lines."""

import re
from functools import partial

import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer
from tiny_recipe import TRAIN_PY, TRAIN_YAML
from tutorial_page import (
    DIFFS,
    OTHER_QUANTIZERS,
    QUANTIZER_LINE,
    TRAIN_YAML_AFTER,
    TUTORIAL,
    blocks,
    dataset,
    file_diffs,
    loaded,
    side,
    trained,
)

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer
from speechbrain_acom.splits import (
    LeakError,
    SequentialSplit,
    SplitResult,
    check_no_leak,
)

MOST_CHANGED_LINES = 15


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    # The recipe writes its checkpoints into the current folder.
    monkeypatch.chdir(tmp_path)


def test_diff_is_short():
    changed = [
        line
        for hunks in file_diffs(DIFFS[0]).values()
        for hunk in hunks
        for line in hunk.splitlines()
        if line[0] in "+-"
    ]
    assert len(changed) <= MOST_CHANGED_LINES


def headed_hunks(diff):
    """File, hunk and the four numbers in its head, of every hunk."""
    hunks = [
        (name, hunk)
        for name, hunks in file_diffs(diff).items()
        for hunk in hunks
    ]
    heads = re.findall(r"^@@ -(\d+),(\d+) \+(\d+),(\d+) @@", diff, re.MULTILINE)
    for (name, hunk), head in zip(hunks, heads, strict=True):
        yield name, hunk, tuple(map(int, head))


def numbered_lines(diff, sign):
    """Lines before ("-") or after ("+") a diff by file and number."""
    return {
        (name, number): line
        for name, hunk, (before, _, after, _) in headed_hunks(diff)
        for number, line in enumerate(
            side(hunk, sign).splitlines(), before if sign == "-" else after
        )
    }


@pytest.mark.parametrize("diff", DIFFS, ids=["cut", "taught", "rate"])
def test_line_numbers_of_the_hunks_are_right(diff):
    shifts = dict.fromkeys(file_diffs(diff), 0)
    for name, hunk, (before, old, after, new) in headed_hunks(diff):
        assert len(side(hunk, "-").splitlines()) == old
        assert len(side(hunk, "+").splitlines()) == new
        assert after - before == shifts[name]
        shifts[name] += new - old


@pytest.mark.parametrize("diff", DIFFS[1:], ids=["taught", "rate"])
def test_later_diffs_change_lines_of_the_first(diff):
    before = numbered_lines(diff, "-")
    assert before.items() <= numbered_lines(DIFFS[0], "+").items()


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


@pytest.fixture(scope="module")
def upstream_model():
    """The CRDNN in upstream's size."""
    yaml = TRAIN_YAML
    for small, large in {
        "cnn_channels: (4, 4)": "cnn_channels: (128, 256)",
        "rnn_layers: 1": "rnn_layers: 4",
        "rnn_neurons: 8": "rnn_neurons: 512",
        "dnn_blocks: 1": "dnn_blocks: 2",
        "dnn_neurons: 16": "dnn_neurons: 512",
    }.items():
        assert yaml.count(small) == 1
        yaml = yaml.replace(small, large)
    return loaded(yaml)["model"].eval()


def test_table_of_cuts_is_right(upstream_model):
    rows = re.findall(
        r"^\| (\d) \| (?:after )?(?:the )?`?(\w+)`? \| (\d+) \| (\d+) \|",
        TUTORIAL,
        re.MULTILINE,
    )
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 4]
    bypass = partial(Bottleneck, quantizer=Bypass)
    for layer, name, rate, channels in rows:
        split = SequentialSplit(upstream_model, int(layer), bypass)
        cut = split.device(torch.randn(1, 100, 40), torch.ones(1))
        assert split.layer_names[int(layer)] == name
        assert cut.values.shape[1:] == (int(rate), int(channels))


@pytest.mark.parametrize("layer", [2, 3])
def test_upstream_model_is_the_same_when_split(upstream_model, layer):
    bypass = partial(Bottleneck, quantizer=Bypass)
    split = SequentialSplit(upstream_model, layer, bypass).eval()
    features, lengths = torch.randn(2, 16, 40), torch.tensor([1.0, 0.5])
    with torch.no_grad():
        output = split(features, lengths).output
        assert torch.equal(output, upstream_model(features))


@pytest.mark.parametrize("layer", [2, 3])
@pytest.mark.parametrize("quantizer", [Bypass, ResidualVectorQuantizer])
def test_upstream_model_does_not_leak(upstream_model, layer, quantizer):
    bottleneck = partial(Bottleneck, quantizer=quantizer)
    split = SequentialSplit(upstream_model, layer, bottleneck)
    features, lengths = torch.randn(2, 16, 40), torch.tensor([1.0, 0.5])
    check_no_leak(split, features, lengths)


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
