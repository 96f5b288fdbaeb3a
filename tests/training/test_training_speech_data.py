"""Tokens that do not fit: said in one line, before the training."""

import pytest
import sentencepiece

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.manifests import write_manifest
from speechbrain_acom.training.speech_data import check_tokens, train_tokenizer


def hparams_of(folder, outputs, token_type):
    rows = [
        {"ID": str(number), "wav": "a.wav", "wrd": words}
        for number, words in enumerate(["YES NO", "TURN ON THE LIGHT"] * 5)
    ]
    write_manifest(folder / "train.csv", rows)
    return {
        "save_folder": str(folder),
        "output_neurons": outputs,
        "token_type": token_type,
        "bos_index": 1,
        "eos_index": 2,
        "tokenizer": sentencepiece.SentencePieceProcessor(),
    }


def test_tokens_are_learned_from_the_transcripts(tmp_path):
    hparams = hparams_of(tmp_path, 31, "char")
    train_tokenizer(hparams)
    tokenizer = hparams["tokenizer"]
    check_tokens(tokenizer, 31)
    assert (
        tokenizer.decode_ids(tokenizer.encode_as_ids("NO LIGHT")) == "NO LIGHT"
    )


def test_more_tokens_than_the_transcripts_give_are_named(tmp_path):
    with pytest.raises(ConfigurationError) as error:
        train_tokenizer(hparams_of(tmp_path, 5000, "unigram"))
    assert error.value.key == "output_neurons"
    assert "Vocabulary size too high" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tokenizer_of_another_model_is_named(tmp_path):
    hparams = hparams_of(tmp_path, 31, "char")
    train_tokenizer(hparams)
    tokens = hparams["tokenizer"].get_piece_size()
    with pytest.raises(ConfigurationError, match=f"expected {tokens} or more"):
        check_tokens(hparams["tokenizer"], tokens - 1)
