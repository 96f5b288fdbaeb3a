"""The recipe with an attention decoder, from models laid out as on the hub."""

import os
import shutil

import pytest
import torch
from exported_models import character_tokenizer
from recipe_runs import (
    ENCODER_DECODER,
    TINY_ASR,
    TINY_RVQ,
    finished,
    is_finite,
    run,
)
from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM

from speechbrain_acom.inference import AcomEncoderDecoderASR, copy_half

TINY = {
    **TINY_ASR,
    "num_decoder_layers": 1,
    "number_of_epochs": 1,
    "test_beam_size": 2,
}
LANGUAGE_MODEL = {
    "vocab": 31,
    "d_model": 8,
    "nhead": 2,
    "num_encoder_layers": 1,
    "num_decoder_layers": 0,
    "d_ffn": 8,
}
# What the full-size YAML has, with a small language model.
WITH_LANGUAGE_MODEL = """!include:{base}
lm_model: !new:speechbrain.lobes.models.transformer.TransformerLM.TransformerLM
    vocab: 31
    d_model: 8
    nhead: 2
    num_encoder_layers: 1
    num_decoder_layers: 0
    d_ffn: 8
lm_pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        lm: !ref <lm_model>
        tokenizer: !ref <tokenizer>
transformerlm_scorer: !new:speechbrain.decoders.scorer.TransformerLMScorer
    language_model: !ref <lm_model>
scorer: !new:speechbrain.decoders.scorer.ScorerBuilder
    full_scorers: [!ref <transformerlm_scorer>, !ref <ctc_scorer>]
    weights:
        ctc: !ref <ctc_weight_decode>
        transformerlm: 0.1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("encoder_decoder")


@pytest.fixture(scope="module")
def continuous(folder, speech):
    return finished(
        run(
            ENCODER_DECODER,
            "mini",
            folder / "continuous",
            data_folder=speech,
            **TINY,
        )
    )


@pytest.fixture(scope="module")
def hub(folder, continuous):
    """Model and language model, named as SpeechBrain's own are."""
    hub = folder / "hub"
    hub.mkdir()
    export = continuous.folder / "export"
    for ours, theirs in (
        ("model", "asr"),
        ("normalize", "normalizer"),
        ("tokenizer", "tokenizer"),
    ):
        shutil.copy(export / f"{ours}.ckpt", hub / f"{theirs}.ckpt")
    torch.manual_seed(0)
    weights = TransformerLM(**LANGUAGE_MODEL).state_dict()
    torch.save(weights, hub / "lm.ckpt")
    return hub


def quantized_run(folder, speech, hub, **changes):
    """The quantized recipe with a language model."""
    base = ENCODER_DECODER / "hparams" / "mini_rvq.yaml"
    variant = folder / "with_lm.yaml"
    relative = os.path.relpath(base, folder)
    variant.write_text(WITH_LANGUAGE_MODEL.format(base=relative))
    settings = {"pretrained_path": hub, "lm_path": hub, **TINY, **TINY_RVQ}
    return run(
        ENCODER_DECODER,
        variant.with_suffix(""),
        folder / "quantized",
        data_folder=speech,
        **(settings | changes),
    )


@pytest.fixture(scope="module")
def quantized(folder, speech, hub):
    return finished(quantized_run(folder, speech, hub))


def test_continuous_model_is_tested_by_its_search(continuous):
    row = continuous.row
    assert is_finite(row) and row["quantizer"] == "Bypass"
    assert {"wer_percent", "cer_percent"} <= row.keys()


def test_bytes_give_the_answers_of_the_features(quantized):
    row = quantized.row
    assert is_finite(row)
    for key in ("wer_percent", "cer_percent"):
        assert row[key] == row[f"in_process_{key}"]
    assert 0 < row["payload_bps"] < row["message_bps"]


def test_only_the_cloud_has_decoder_and_language_model(quantized, tmp_path):
    export = quantized.folder / "export"
    device = copy_half(export, "device", tmp_path / "device")
    cloud = copy_half(export, "cloud", tmp_path / "cloud")
    assert not (device / "lm_model.ckpt").exists()
    assert (cloud / "lm_model.ckpt").is_file()
    weights = torch.load(device / "device.ckpt", weights_only=True)
    assert not any("decoder" in name for name in weights)
    sender = AcomEncoderDecoderASR.from_hparams(device, half="device")
    receiver = AcomEncoderDecoderASR.from_hparams(cloud, half="cloud")
    message = sender.encode(torch.randn(16000))
    assert isinstance(receiver.decode(message), str)
    assert receiver.hparams.test_search.model.encoder is None


@pytest.mark.parametrize("file", ["asr", "lm"])
def test_weight_that_is_not_there_is_named(tmp_path, folder, speech, hub, file):
    broken = shutil.copytree(hub, tmp_path / "hub")
    weights = torch.load(broken / f"{file}.ckpt", weights_only=True)
    name = next(reversed(weights))
    weights[f"{name}_renamed"] = weights.pop(name)
    torch.save(weights, broken / f"{file}.ckpt")
    done = quantized_run(tmp_path, speech, broken)
    assert done.status == 1
    key = {"asr": "pretrained_path", "lm": "lm_path"}[file]
    assert f"{key}: found" in done.last_line and name in done.last_line
    assert not (done.folder / "export").exists()


def test_language_model_of_other_tokens_is_named(tmp_path, speech, hub):
    other = shutil.copytree(hub, tmp_path / "other")
    tokens = character_tokenizer().serialized_model_proto()
    (other / "tokenizer.ckpt").write_bytes(tokens)
    done = quantized_run(tmp_path, speech, hub, lm_path=other)
    assert done.status == 1
    assert "lm_path: found" in done.last_line
    assert "the same tokens" in done.last_line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"ctc_weight": 1.5},
            "ctc_weight: found 1.5, expected a number in [0, 1]",
        ),
        ({"distillation_weight": 1}, "distillation_weight: found 1"),
        ({"lm_path": "no/such/folder"}, "lm_path: found 'no/such/folder'"),
    ],
)
def test_mistakes_are_one_line(tmp_path, speech, hub, change, said):
    done = quantized_run(tmp_path, speech, hub, **change)
    assert done.status == 1 and said in done.last_line
