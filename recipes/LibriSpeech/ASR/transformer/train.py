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

from speechbrain_acom.errors import AcomError
from speechbrain_acom.inference import AcomEncoderDecoderASR
from speechbrain_acom.studies.experiment import begin, made_brain
from speechbrain_acom.studies.speech_recipe import (
    prepare_speech,
    train_and_test,
)
from speechbrain_acom.training import EncoderDecoderBrain
from speechbrain_acom.training.pretrained import (
    load_language_model,
    load_pretrained,
)
from speechbrain_acom.training.speech_data import train_tokenizer


def main():
    """Prepare, train, test."""
    experiment = begin(sys.argv[1:])
    hparams = experiment.hparams

    from librispeech_prepare import prepare_librispeech  # noqa

    prepare_speech(prepare_librispeech, hparams)
    pretrained = bool(hparams["pretrained_path"])
    if pretrained:
        load_pretrained(hparams["pretrainer"], hparams["pretrained_path"])
    if hparams["lm_path"]:
        load_language_model(
            hparams["lm_pretrainer"], hparams["lm_path"], pretrained
        )
    elif not pretrained:
        train_tokenizer(hparams)
    brain = made_brain(EncoderDecoderBrain, experiment)
    train_and_test(brain, experiment, AcomEncoderDecoderASR)


if __name__ == "__main__":
    try:
        main()
    except (AcomError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
