"""Other quantizers than the tutorial's first, as its page swaps them."""

import re
from importlib.util import find_spec

import pytest
import speechbrain as sb
import torch
from tutorial_page import (
    OTHER_QUANTIZERS,
    QUANTIZER_LINE,
    ROOT,
    TRAIN_YAML_AFTER,
    TUTORIAL,
    after_the_diff_with,
    dataset,
    loaded,
    trained,
)

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.splits import check_no_leak

FRAGMENTS = sorted((ROOT / "hparams" / "quantizers").glob("*.yaml"))
(INCLUDING_LINE,) = (line for line in OTHER_QUANTIZERS if "!include" in line)
FEATURES_SEED = 5
LENGTHS = torch.tensor([1.0, 0.5])
# So large that what the rest of the loss rounds away is nothing beside it, and a
# power of two, which changes no rounding of its own.
LARGE_WEIGHT = 4096.0
TAUGHT = after_the_diff_with("semantic_taught.yaml")
RATED = after_the_diff_with("rvq_rate.yaml")
SECOND_ENCODER = """\
    second_encoder: !new:speechbrain_acom.splits.FilterBankEncoder
        encoder: !new:torch.nn.Linear
            in_features: !ref <n_mels>
            out_features: 6
        channels: 6
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    # The recipe writes its checkpoints into the current folder.
    monkeypatch.chdir(tmp_path)


def features():
    generator = torch.Generator().manual_seed(FEATURES_SEED)
    return torch.randn(2, 60, 40, generator=generator)


def line_with(fragment):
    """The line of the page that includes a fragment, with another one."""
    return re.sub(r"\w+\.yaml", fragment.name, INCLUDING_LINE)


def yaml_with(fragment):
    """The recipe with that line, and what the fragment needs beside it."""
    line = line_with(fragment)
    if fragment.stem == "semantic_encoder":
        line += "            semantic_channels: 6\n" + SECOND_ENCODER
    # Four groups of channels have to hold 16 dimensions each.
    wide = TRAIN_YAML_AFTER.replace("channels: (4, 4)", "channels: (4, 8)")
    return wide.replace(QUANTIZER_LINE, line)


def usable(fragment):
    """Whether the optional package is there, if the fragment names it."""
    needed = "speechbrain_acom[vector-quantize]" in fragment.read_text("utf-8")
    return not needed or find_spec("vector_quantize_pytorch") is not None


def needs_more(quantizer):
    return quantizer.taught or quantizer.rated or quantizer.semantic_channels


def before_the_cut(split):
    """Weights that are trained; a second encoder's are not."""
    return [w for w in split.device_half.parameters() if w.requires_grad]


def total(gradients):
    return sum(one.abs().sum() for one in gradients)


def training_step(brain):
    """A batch and what the recipe predicts of it in training."""
    brain.modules.train()
    loader = brain.make_dataloader(dataset(), sb.Stage.TRAIN, batch_size=2)
    batch = next(iter(loader))
    return batch, brain.compute_forward(batch, sb.Stage.TRAIN)


def check_weight_moves_the_device_half(brain, step, key, part):
    """A key of the YAML weighs a part of the loss, which reaches the input."""
    batch, predictions = step
    weights = before_the_cut(brain.modules.split)
    gradients = []
    for weight in (0.0, LARGE_WEIGHT):
        setattr(brain.hparams, key, weight)
        loss = brain.compute_objectives(predictions, batch, sb.Stage.TRAIN)
        gradients.append(torch.autograd.grad(loss, weights, retain_graph=True))
    alone = torch.autograd.grad(part, weights)
    assert total(alone) > 0
    for without, weighed, own in zip(*gradients, alone, strict=True):
        moved = (weighed - without) / LARGE_WEIGHT
        assert torch.allclose(moved, own, rtol=1e-3, atol=1e-5)


def test_every_other_quantizer_is_one_line():
    assert len(OTHER_QUANTIZERS) >= 3
    for block in OTHER_QUANTIZERS:
        assert len(block.splitlines()) == 1


@pytest.mark.parametrize("line", OTHER_QUANTIZERS, ids=str.strip)
def test_other_quantizers_train_and_do_not_leak(line):
    hparams = loaded(TRAIN_YAML_AFTER.replace(QUANTIZER_LINE, line))
    brain = trained(hparams)
    assert brain.optimizer_step == 2
    check_no_leak(hparams["split"], features(), LENGTHS)


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.stem)
def test_every_fragment_stands_in_the_cut_by_one_line(fragment):
    if not usable(fragment):
        pytest.skip("the optional package vector_quantize_pytorch is missing")
    split = loaded(yaml_with(fragment))["split"].train()
    cut = split.device(features(), LENGTHS)
    split.bottleneck.initialize(cut.values.detach().flatten(0, 1))
    result = split(features(), LENGTHS)
    assert torch.isfinite(result.bottleneck.loss)
    rated = fragment.stem == "rvq_rate"
    assert (result.bottleneck.rate is not None) == rated
    task, weights = result.output.square().mean(), before_the_cut(split)
    assert total(torch.autograd.grad(task, weights, retain_graph=True)) > 0
    (task + result.bottleneck.loss).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in weights)
    check_no_leak(split, features(), LENGTHS)


@pytest.mark.parametrize("name", ["semantic_taught", "rvq_rate"])
def test_line_alone_trains_like_plain_vectors(name):
    gradients, state = [], {}
    for fragment in (f for f in FRAGMENTS if f.stem in ("rvq", name)):
        split = loaded(yaml_with(fragment))["split"].train()
        split.load_state_dict(state or split.state_dict(), strict=False)
        state = {k: v.clone() for k, v in split.state_dict().items()}
        result = split(features(), LENGTHS)
        loss = result.output.square().mean() + result.bottleneck.loss
        gradients.append(torch.autograd.grad(loss, before_the_cut(split)))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_page_names_the_fragments_that_need_more_than_the_line():
    start = TUTORIAL.index("need more than the line")
    paragraph = TUTORIAL[start : TUTORIAL.index("\n\n", start)]
    named = set(re.findall(r"`(\w+)\.yaml`", paragraph))
    needy = {
        fragment.stem
        for fragment in filter(usable, FRAGMENTS)
        if needs_more(loaded(line_with(fragment))["quantizer"](channels=80))
    }
    assert named == needy | {"rvq"}


def test_second_encoder_that_is_missing_is_missed():
    yaml = yaml_with(ROOT / "hparams" / "quantizers" / "semantic_encoder.yaml")
    with pytest.raises(ConfigurationError, match="a second_encoder of as many"):
        loaded(yaml.replace(SECOND_ENCODER, ""))


def test_teacher_is_the_model_as_it_was():
    yaml, code = TAUGHT
    hparams = loaded(yaml)
    split = hparams["split"]
    start = {k: v.clone() for k, v in split.state_dict().items()}
    brain = trained(hparams, code)
    for name, weight in split.named_parameters():
        assert not torch.equal(weight, start[name])
    taught = brain.teacher.halves.state_dict()
    for place, half in enumerate(("device_half", "cloud_half")):
        for name, _ in getattr(split, half).named_parameters():
            assert torch.equal(
                taught[f"{place}.{name}"], start[f"{half}.{name}"]
            )


def test_lesson_moves_what_is_before_the_cut():
    yaml, code = TAUGHT
    brain = trained(loaded(yaml), code)
    step = training_step(brain)
    coded = brain.coded.bottleneck
    weights = before_the_cut(brain.modules.split)
    lesson = torch.autograd.grad(
        coded.losses["semantic"], weights, retain_graph=True
    )
    assert total(lesson) > 0
    check_weight_moves_the_device_half(brain, step, "beta", coded.loss)


def test_validation_needs_no_teacher():
    yaml, code = TAUGHT
    brain = trained(loaded(yaml), code)
    assert "semantic" not in brain.coded.bottleneck.losses
    batch, _ = training_step(brain)
    brain.modules.eval()
    taught, _ = brain.compute_forward(batch, sb.Stage.TRAIN)
    assert "semantic" in brain.coded.bottleneck.losses
    codes, brain.teacher = brain.coded.bottleneck.codes, None
    untaught, _ = brain.compute_forward(batch, sb.Stage.VALID)
    assert torch.equal(brain.coded.bottleneck.codes, codes)
    assert torch.equal(taught, untaught)


def test_rate_moves_what_is_before_the_cut():
    yaml, code = RATED
    brain = trained(loaded(yaml), code)
    step = training_step(brain)
    rate = brain.coded.bottleneck.rate
    check_weight_moves_the_device_half(brain, step, "rate_weight", rate)
