#!/usr/bin/env python3
"""Recipe for a recogniser with an attention decoder that is cut and coded.

The encoder is cut; the decoder, CTC and the language model read what crossed
the cut. The continuous model and every quantized one are trained by this
script; the YAML says which. To run it, do the following:
> python train.py hparams/conformer_small.yaml --data_folder=/path/to/LibriSpeech
> python train.py hparams/conformer_small_rvq.yaml \
      --data_folder=/path/to/LibriSpeech \
      --pretrained_path=results/conformer_small/1986/export

After training, the test sets are evaluated in this process and, if there is a
quantizer, coded into bytes that a second process decodes. Figures go to
`results.json` in the output folder, the model to its folder `export`.
"""

import sys

import speechbrain as sb
from speechbrain.utils.distributed import run_on_main

from speechbrain_acom.errors import AcomError
from speechbrain_acom.hparams import load_hparams, save_hparams
from speechbrain_acom.inference import AcomEncoderDecoderASR
from speechbrain_acom.inference.prior_fitting import check_fitter
from speechbrain_acom.metrics.scores import word_errors
from speechbrain_acom.studies.recipe import Task, codebooks_to_test, finish
from speechbrain_acom.training import EncoderDecoderBrain
from speechbrain_acom.training.pretrained import (
    load_language_model,
    load_pretrained,
)
from speechbrain_acom.training.speech_data import (
    batches_of_like_length,
    speech_dataset,
    train_tokenizer,
)


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
    if hparams["lm_path"]:
        load_language_model(hparams["lm_pretrainer"], hparams["lm_path"])
    if hparams["pretrained_path"]:
        load_pretrained(hparams["pretrainer"], hparams["pretrained_path"])
    elif not hparams["lm_path"]:
        train_tokenizer(hparams)

    brain = EncoderDecoderBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    codebooks_to_test(brain.bottleneck.quantizer, hparams)
    check_fitter(hparams["prior"], hparams["split"].bottleneck)
    train_data = speech_dataset(hparams, "train")
    brain.fit(
        hparams["epoch_counter"],
        train_data,
        speech_dataset(hparams, hparams["dev_splits"][0]),
        train_loader_kwargs=batches_of_like_length(hparams, train_data),
        valid_loader_kwargs=hparams["valid_loader_kwargs"],
    )
    test_data = {
        name: speech_dataset(hparams, name) for name in hparams["test_splits"]
    }
    task = Task(AcomEncoderDecoderASR, hparams["tokenizer"], "wrd", word_errors)
    finish(brain, hparams_file, hparams, task, train_data, test_data)


if __name__ == "__main__":
    try:
        main()
    except (AcomError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
