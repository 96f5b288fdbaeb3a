"""Mistakes end a recipe with one line that says what to do."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from recipe_runs import ASR, SOUND, TINY_ASR, TINY_ECAPA, run

from speechbrain_acom.hparams import load_hparams

# Recipe, hparams file, flags, overrides, and how the last line starts and
# what else it says. {speech} and the like are replaced by folders.
SPEECH = {**TINY_ASR, "data_folder": "{speech}"}
SOUNDS = {**TINY_ECAPA, "data_folder": "{sounds}"}
MISTAKES = {
    "missing speech": (
        (ASR, "mini", [], {**TINY_ASR, "data_folder": "/no/where"}),
        "DataError: /no/where: found no such folder",
    ),
    "cut out of range": (
        (ASR, "mini", [], {**SPEECH, "split_layer": 9}),
        "ConfigurationError: split_layer: found 9, expected an integer from 0 "
        "to 2",
    ),
    "codebook too large": (
        (
            SOUND,
            "mini_ecapa_rvq",
            [],
            {**SOUNDS, "codebook_size": 70000, "pretrained_path": "none"},
        ),
        "ConfigurationError: codebook_size: found 70000, expected an integer "
        "from 1 to 65536",
    ),
    "unknown key of a fragment": (
        (
            SOUND,
            "mini_ecapa",
            [],
            {
                **SOUNDS,
                "quantizer": "!name:speechbrain_acom.quantizers."
                "FiniteScalarQuantizer {{levls: [8]}}",
            },
        ),
        "ConfigurationError: FiniteScalarQuantizer: found 'levls', expected "
        "one of its own keys",
    ),
    "codebooks that are not there": (
        (
            SOUND,
            "mini_ecapa",
            [],
            {**SOUNDS, "test_num_codebooks": "[99999]"},
        ),
        "ConfigurationError: test_num_codebooks: found [99999], expected null, "
        "or a list of what can be sent",
    ),
    "prior that is none": (
        (SOUND, "mini_ecapa", [], {**SOUNDS, "prior": "context"}),
        "ConfigurationError: prior: found 'context', expected a fragment like "
        "hparams/priors/static.yaml",
    ),
    "unknown key of a prior": (
        (
            SOUND,
            "mini_ecapa",
            [],
            {
                **SOUNDS,
                "prior": "!name:speechbrain_acom.entropy.priors."
                "StaticPrior.fit {{size: 8}}",
            },
        ),
        "ConfigurationError: prior: found 'StaticPrior.fit', expected a "
        "fragment like hparams/priors/static.yaml, with its own keys (got an "
        "unexpected keyword argument 'size')",
    ),
    "unknown key": (
        (ASR, "mini", [], {**SPEECH, "codebook_sise": 16}),
        "ConfigurationError: --codebook_sise: found 16, expected one of: seed",
    ),
    "no such model": (
        (ASR, "mini_rvq", [], {**SPEECH, "pretrained_path": "results/none"}),
        "ConfigurationError: pretrained_path: found 'results/none', expected "
        "the folder export of a continuous run",
    ),
    "model with a renamed weight": (
        (ASR, "mini_rvq", [], {**SPEECH, "pretrained_path": "{renamed}"}),
        "ConfigurationError: pretrained_path: found '{renamed}/model.ckpt', "
        "expected a weight 2.w.bias in it",
    ),
    "nothing to test": (
        (SOUND, "mini_ecapa", ["--test_only"], SOUNDS),
        "ConfigurationError: --test_only: found 'no checkpoint', expected one "
        "of a whole epoch in ",
    ),
    "too few classes": (
        (SOUND, "mini_ecapa", [], {**SOUNDS, "num_classes": 9}),
        "ConfigurationError: num_classes: found 9, expected 10 or more",
    ),
}


@pytest.fixture(scope="session")
def renamed(tmp_path_factory, speech):
    """A continuous export in which one weight has another name."""
    folder = tmp_path_factory.mktemp("renamed")
    overrides = {
        **TINY_ASR,
        "data_folder": str(speech),
        "output_folder": str(folder / "run"),
    }
    parts = load_hparams(ASR / "hparams" / "mini.yaml", overrides)
    state = parts["model"].state_dict()
    state["2.w.offset"] = state.pop("2.w.bias")
    torch.save(state, folder / "model.ckpt")
    for name in ("normalize", "tokenizer"):
        (folder / f"{name}.ckpt").touch()
    return folder


@pytest.fixture(scope="session")
def ended(tmp_path_factory, speech, sounds, renamed):
    """All of them, two at a time: most of it is starting Python."""
    folders = {"speech": speech, "sounds": sounds, "renamed": renamed}
    output = tmp_path_factory.mktemp("mistakes")

    def make(mistake):
        (recipe, hparams, flags, overrides), _ = MISTAKES[mistake]
        overrides = {
            key: str(value).format(**folders)
            for key, value in overrides.items()
        }
        return run(recipe, hparams, output / mistake, *flags, **overrides)

    with ThreadPoolExecutor(2) as executor:
        done = dict(zip(MISTAKES, executor.map(make, MISTAKES), strict=True))
    return done, folders


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_explained_in_the_last_line(ended, mistake):
    done, folders = ended
    expected = MISTAKES[mistake][1].format(**folders)
    assert done[mistake].last_line.startswith(expected)
    assert done[mistake].status == 1
    said = done[mistake].output + done[mistake].errors
    assert "Traceback" not in said
