#!/usr/bin/env python3
"""Recipe for a conformer-CTC recogniser that is cut and coded.

The continuous model and every quantized one are trained by this script; the
YAML says which. To run it, do the following:
> python train.py hparams/conformer_small.yaml --data_folder=/path/to/LibriSpeech
> python train.py hparams/conformer_small_rvq.yaml \
      --data_folder=/path/to/LibriSpeech \
      --pretrained_path=results/conformer_small/1986/export

After training, the test sets are evaluated in this process and, if there is a
quantizer, coded into bytes that a second process decodes. Figures go to
`results.json` in the output folder, the model to its folder `export`.
"""

import os
import sys

import speechbrain as sb
import torch
from speechbrain.dataio.sampler import DynamicBatchSampler
from speechbrain.tokenizers.SentencePiece import SentencePiece
from speechbrain.utils.distributed import run_on_main

from speechbrain_acom.dataio import manifest_dataset
from speechbrain_acom.errors import AcomError
from speechbrain_acom.hparams import load_hparams, save_hparams
from speechbrain_acom.inference import AcomASR
from speechbrain_acom.inference.prior_fitting import check_fitter
from speechbrain_acom.metrics.scores import word_errors
from speechbrain_acom.studies.recipe import Task, codebooks_to_test, finish
from speechbrain_acom.training import CTCBrain
from speechbrain_acom.training.pretrained import load_pretrained


def train_tokenizer(hparams):
    """Learn the tokens from the training transcripts and load them."""
    trained = SentencePiece(
        model_dir=hparams["save_folder"],
        vocab_size=hparams["output_neurons"],
        annotation_train=os.path.join(hparams["save_folder"], "train.csv"),
        annotation_read="wrd",
        model_type=hparams["token_type"],
        bos_id=hparams["bos_index"],
        eos_id=hparams["eos_index"],
    )
    hparams["tokenizer"].load(f"{trained.prefix_model_file}.model")


def dataio_prepare(hparams, name):
    """Open the manifest `name` with its signals, words and tokens."""
    dataset = manifest_dataset(
        os.path.join(hparams["save_folder"], f"{name}.csv"),
        hparams["data_folder"],
        hparams["sample_rate"],
    )

    @sb.utils.data_pipeline.takes("wrd")
    @sb.utils.data_pipeline.provides("words", "tokens")
    def text_pipeline(words):
        yield words
        yield torch.LongTensor(hparams["tokenizer"].encode_as_ids(words))

    dataset.add_dynamic_item(text_pipeline)
    dataset.set_output_keys(["id", "sig", "words", "tokens"])
    return dataset


def train_batches(hparams, train_data):
    """Keyword arguments of the training loader: batches of like lengths."""
    durations = [float(row["duration"]) for row in train_data.data.values()]
    sampler = DynamicBatchSampler(
        train_data,
        hparams["batch_seconds"],
        num_buckets=hparams["num_buckets"],
        lengths_list=durations,
        shuffle=True,
        batch_ordering="random",
        max_batch_ex=hparams["batch_size"],
        seed=hparams["seed"],
    )
    return {**hparams["train_loader_kwargs"], "batch_sampler": sampler}


def main():
    """Prepare, train, test."""
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    sb.utils.distributed.ddp_init_group(run_opts)
    hparams = load_hparams(hparams_file, overrides)
    sb.create_experiment_directory(hparams["output_folder"])
    save_hparams(hparams_file, overrides, hparams["output_folder"])

    from librispeech_prepare import prepare_librispeech  # noqa

    run_on_main(
        prepare_librispeech,
        kwargs={
            "data_folder": hparams["data_folder"],
            "save_folder": hparams["save_folder"],
            "train_splits": hparams["train_splits"],
            "dev_splits": hparams["dev_splits"],
            "test_splits": hparams["test_splits"],
            "skip_prep": hparams["skip_prep"],
        },
    )
    if hparams["pretrained_path"]:
        load_pretrained(hparams["pretrainer"], hparams["pretrained_path"])
    else:
        train_tokenizer(hparams)

    brain = CTCBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    codebooks_to_test(brain.bottleneck.quantizer, hparams)
    check_fitter(hparams["prior"], hparams["split"].bottleneck)
    train_data = dataio_prepare(hparams, "train")
    brain.fit(
        hparams["epoch_counter"],
        train_data,
        dataio_prepare(hparams, hparams["dev_splits"][0]),
        train_loader_kwargs=train_batches(hparams, train_data),
        valid_loader_kwargs=hparams["valid_loader_kwargs"],
    )
    test_data = {
        name: dataio_prepare(hparams, name) for name in hparams["test_splits"]
    }
    task = Task(AcomASR, hparams["tokenizer"], "wrd", word_errors)
    finish(brain, hparams_file, hparams, task, train_data, test_data)


if __name__ == "__main__":
    try:
        main()
    except (AcomError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
