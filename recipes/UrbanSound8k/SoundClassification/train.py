#!/usr/bin/env python3
"""Recipe for a sound classifier that is cut and coded.

The continuous model and every quantized one are trained by this script; the
YAML says which. To run it, do the following:
> python train.py hparams/ecapa.yaml --data_folder=/path/to/UrbanSound8K
> python train.py hparams/ecapa_rvq.yaml \
      --data_folder=/path/to/UrbanSound8K \
      --pretrained_path=results/ecapa/1986/export

After training, the test folds are evaluated in this process and, if there is
a quantizer, coded into bytes that a second process decodes. Figures go to
`results.json` in the output folder, the model to its folder `export`.
"""

import os
import sys

import speechbrain as sb
import torch
from speechbrain.utils.distributed import run_on_main

from speechbrain_acom.dataio import manifest_dataset
from speechbrain_acom.errors import AcomError
from speechbrain_acom.inference import AcomClassifier
from speechbrain_acom.metrics.scores import label_counts
from speechbrain_acom.studies.experiment import begin, made_brain
from speechbrain_acom.studies.recipe import Task, finish
from speechbrain_acom.training import ClassificationBrain
from speechbrain_acom.training.classification import check_labels
from speechbrain_acom.training.pretrained import load_pretrained


def dataio_prepare(hparams, name):
    """Open the manifest `name` with its signals and labels."""
    dataset = manifest_dataset(
        os.path.join(hparams["save_folder"], f"{name}.csv"),
        hparams["data_folder"],
        hparams["sample_rate"],
    )

    @sb.utils.data_pipeline.takes("class_name")
    @sb.utils.data_pipeline.provides("label_encoded")
    def label_pipeline(class_name):
        label = hparams["label_encoder"].encode_label(class_name)
        return torch.LongTensor([label])

    dataset.add_dynamic_item(label_pipeline)
    dataset.set_output_keys(["id", "sig", "label_encoded"])
    return dataset


def main():
    """Prepare, train, test."""
    experiment = begin(sys.argv[1:])
    hparams = experiment.hparams

    from urbansound8k_prepare import prepare_urbansound8k  # noqa

    run_on_main(
        prepare_urbansound8k,
        kwargs={
            "data_folder": hparams["data_folder"],
            "save_folder": hparams["save_folder"],
            "train_folds": hparams["train_folds"],
            "valid_folds": hparams["valid_folds"],
            "test_folds": hparams["test_folds"],
            "skip_prep": hparams["skip_prep"],
        },
    )
    data = {
        name: dataio_prepare(hparams, name)
        for name in ("train", "valid", "test")
    }
    if hparams["pretrained_path"]:
        load_pretrained(hparams["pretrainer"], hparams["pretrained_path"])
    else:
        hparams["label_encoder"].update_from_iterable(
            sorted({row["class_name"] for row in data["train"].data.values()})
        )
    check_labels(hparams["label_encoder"], hparams["num_classes"], data)

    brain = made_brain(ClassificationBrain, experiment)
    brain.fit(
        hparams["epoch_counter"],
        data["train"],
        data["valid"],
        train_loader_kwargs=hparams["train_loader_kwargs"],
        valid_loader_kwargs=hparams["valid_loader_kwargs"],
    )
    task = Task(
        AcomClassifier, hparams["label_encoder"], "class_name", label_counts
    )
    folds = "_".join(map(str, hparams["test_folds"]))
    test_data = {f"fold_{folds}": data["test"]}
    finish(
        brain,
        experiment.hparams_file,
        hparams,
        task,
        data["train"],
        test_data,
    )


if __name__ == "__main__":
    try:
        main()
    except (AcomError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
