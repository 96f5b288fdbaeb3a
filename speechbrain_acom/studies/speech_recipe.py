"""What recipes of speech recognition share beside their Brain classes."""

from collections.abc import Callable
from pathlib import Path

from speechbrain.utils.distributed import run_on_main

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.inference import AcomASR
from speechbrain_acom.metrics.scores import transcript_counts
from speechbrain_acom.noise import NoisyTests, noisy_name, write_noisy
from speechbrain_acom.studies.experiment import Experiment
from speechbrain_acom.studies.recipe import Task, finish
from speechbrain_acom.training import CTCBrain
from speechbrain_acom.training.speech_data import (
    batches_of_like_length,
    check_tokens,
    speech_dataset,
)


def prepare_speech(prepare: Callable[..., None], hparams: dict) -> None:
    """Write a corpus's manifests, in the first process alone.

    Arguments
    ---------
    prepare : Callable
        The corpus's, such as ``prepare_librispeech``.
    hparams : dict
        The recipe's: ``data_folder``, ``save_folder``, ``train_splits``,
        ``dev_splits``, ``test_splits`` and ``skip_prep``.
    """
    run_on_main(
        prepare,
        kwargs={
            "data_folder": hparams["data_folder"],
            "save_folder": hparams["save_folder"],
            "train_splits": hparams["train_splits"],
            "dev_splits": hparams["dev_splits"],
            "test_splits": hparams["test_splits"],
            "skip_prep": hparams["skip_prep"],
        },
    )


def train_and_test(
    brain: CTCBrain, experiment: Experiment, interface: type[AcomASR]
) -> None:
    """Train on the corpus, choose by the first dev split, test and export.

    Arguments
    ---------
    brain : CTCBrain
        Before ``fit``, its tokens loaded.
    experiment : Experiment
        The run.
    interface : type[AcomASR]
        Turns messages into text.

    Raises
    ------
    ConfigurationError
        If the tokenizer has more tokens than the head has outputs, or
        ``noise`` is of another kind.
    DataError
        If there is no readable audio.
    """
    hparams = experiment.hparams
    check_tokens(hparams["tokenizer"], hparams["output_neurons"])
    noise = hparams["noise"]
    if noise and not isinstance(noise, NoisyTests):
        raise ConfigurationError("noise", noise, "null or hparams/noise.yaml")
    train_data = speech_dataset(hparams, "train")
    brain.fit(
        hparams["epoch_counter"],
        train_data,
        speech_dataset(hparams, hparams["dev_splits"][0]),
        train_loader_kwargs=batches_of_like_length(hparams, train_data),
        valid_loader_kwargs=hparams["valid_loader_kwargs"],
    )
    names = list(hparams["test_splits"])
    if noise:
        run_on_main(_write_noisy_tests, kwargs={"hparams": hparams})
        names += [
            noisy_name(split, test)
            for split in hparams["test_splits"]
            for test in noise.names
        ]
    test_data = {name: speech_dataset(hparams, name) for name in names}
    task = Task(interface, hparams["tokenizer"], "wrd", transcript_counts)
    finish(brain, experiment.hparams_file, hparams, task, train_data, test_data)


def _write_noisy_tests(hparams: dict) -> None:
    """Write the test sets with noise beside the manifests."""
    for split in hparams["test_splits"]:
        write_noisy(
            hparams["noise"],
            Path(hparams["save_folder"], f"{split}.csv"),
            hparams["data_folder"],
            Path(hparams["output_folder"], "noisy"),
            hparams["sample_rate"],
        )
