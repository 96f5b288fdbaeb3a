"""What recipes of speech recognition read: words, tokens, batches."""

import os
from typing import Any

import speechbrain as sb
import torch
from sentencepiece import SentencePieceProcessor
from speechbrain.dataio.sampler import DynamicBatchSampler
from speechbrain.tokenizers.SentencePiece import SentencePiece

from speechbrain_acom.dataio import AudioDataset, manifest_dataset
from speechbrain_acom.errors import ConfigurationError

# What a batch has beside the audio.
OUTPUT_KEYS = ["id", "sig", "words", "tokens", "tokens_bos", "tokens_eos"]


def train_tokenizer(hparams: dict) -> None:
    """Learn the tokens from the training transcripts and load them.

    Arguments
    ---------
    hparams : dict
        The recipe's: ``save_folder`` with ``train.csv`` in it, ``tokenizer``,
        ``output_neurons``, ``token_type``, ``bos_index`` and ``eos_index``.

    Raises
    ------
    ConfigurationError
        If the transcripts do not have so many tokens.
    """
    try:
        trained = SentencePiece(
            model_dir=hparams["save_folder"],
            vocab_size=hparams["output_neurons"],
            annotation_train=os.path.join(hparams["save_folder"], "train.csv"),
            annotation_read="wrd",
            model_type=hparams["token_type"],
            bos_id=hparams["bos_index"],
            eos_id=hparams["eos_index"],
        )
    except RuntimeError as error:
        # SentencePiece's own words, behind the place in its source.
        reason = str(error).rpartition("] ")[2].split("\n")[0]
        raise ConfigurationError(
            "output_neurons",
            hparams["output_neurons"],
            f"as many tokens as the transcripts give ({reason})",
        ) from error
    hparams["tokenizer"].load(f"{trained.prefix_model_file}.model")


def check_tokens(tokenizer: SentencePieceProcessor, outputs: int) -> None:
    """Raise unless every token has a place in the head's output.

    Arguments
    ---------
    tokenizer : SentencePieceProcessor
        The tokens.
    outputs : int
        Outputs of the head; there may be some to spare.

    Raises
    ------
    ConfigurationError
        If there are more tokens than outputs.

    Example
    -------
    >>> class Letters:
    ...     get_piece_size = staticmethod(lambda: 40)
    >>> check_tokens(Letters(), outputs=31)
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: output_neurons: found 31, expected 40 or more: the tokenizer has so many tokens
    """
    tokens = tokenizer.get_piece_size()
    if tokens > outputs:
        raise ConfigurationError(
            "output_neurons",
            outputs,
            f"{tokens} or more: the tokenizer has so many tokens",
        )


def speech_dataset(hparams: dict, name: str) -> AudioDataset:
    """Open a manifest with its signals, words and tokens.

    Arguments
    ---------
    hparams : dict
        The recipe's: ``save_folder``, ``data_folder``, ``sample_rate``,
        ``tokenizer``, ``bos_index`` and ``eos_index``.
    name : str
        Of the manifest in ``save_folder``, without its suffix.

    Returns
    -------
    AudioDataset
        With ``words``, and as int64 ``tokens``, the same behind the start
        symbol and the same before the end symbol.
    """
    dataset = manifest_dataset(
        os.path.join(hparams["save_folder"], f"{name}.csv"),
        hparams["data_folder"],
        hparams["sample_rate"],
    )

    @sb.utils.data_pipeline.takes("wrd")
    @sb.utils.data_pipeline.provides(*OUTPUT_KEYS[2:])
    def text_pipeline(words):
        yield words
        tokens = hparams["tokenizer"].encode_as_ids(words)
        yield torch.LongTensor(tokens)
        yield torch.LongTensor([hparams["bos_index"], *tokens])
        yield torch.LongTensor([*tokens, hparams["eos_index"]])

    dataset.add_dynamic_item(text_pipeline)
    dataset.set_output_keys(OUTPUT_KEYS)
    return dataset


def batches_of_like_length(
    hparams: dict, dataset: AudioDataset
) -> dict[str, Any]:
    """Keyword arguments of a training loader that pads little.

    Arguments
    ---------
    hparams : dict
        The recipe's: ``train_loader_kwargs``, ``batch_seconds``,
        ``batch_size``, ``num_buckets`` and ``seed``.
    dataset : AudioDataset
        The training set; its manifest has a ``duration``, in seconds.

    Returns
    -------
    dict[str, Any]
        For ``make_dataloader``.
    """
    durations = [float(row["duration"]) for row in dataset.data.values()]
    sampler = DynamicBatchSampler(
        dataset,
        hparams["batch_seconds"],
        num_buckets=hparams["num_buckets"],
        lengths_list=durations,
        shuffle=True,
        batch_ordering="random",
        max_batch_ex=hparams["batch_size"],
        seed=hparams["seed"],
    )
    return {**hparams["train_loader_kwargs"], "batch_sampler": sampler}
