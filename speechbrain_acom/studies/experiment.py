"""What every recipe does before training: settings, folder, Brain."""

from collections.abc import Sequence
from dataclasses import dataclass

import speechbrain as sb

from speechbrain_acom.hparams import load_hparams, save_hparams
from speechbrain_acom.inference.prior_fitting import check_fitter
from speechbrain_acom.studies.recipe import codebooks_to_test
from speechbrain_acom.training import AcomBrain


@dataclass(frozen=True)
class Experiment:
    """A recipe's run.

    Arguments
    ---------
    hparams_file : str
        The YAML that it was started with.
    run_opts : dict
        SpeechBrain's own options of the command line.
    hparams : dict
        The hyperparameters, objects built.
    """

    hparams_file: str
    run_opts: dict
    hparams: dict


def begin(arguments: Sequence[str]) -> Experiment:
    """Understand the command line, and make the run's folder.

    Arguments
    ---------
    arguments : Sequence[str]
        Of a recipe: the YAML, options, and keys to replace.

    Returns
    -------
    Experiment
        The run; the resolved YAML is in its ``output_folder``.

    Raises
    ------
    ConfigurationError
        As :func:`~speechbrain_acom.hparams.load_hparams`.
    """
    hparams_file, run_opts, overrides = sb.parse_arguments(list(arguments))
    sb.utils.distributed.ddp_init_group(run_opts)
    hparams = load_hparams(hparams_file, overrides)
    sb.create_experiment_directory(hparams["output_folder"])
    save_hparams(hparams_file, overrides, hparams["output_folder"])
    return Experiment(hparams_file, run_opts, hparams)


def made_brain(kind: type[AcomBrain], experiment: Experiment) -> AcomBrain:
    """Build a run's Brain, and look for mistakes that show after training.

    Arguments
    ---------
    kind : type[AcomBrain]
        The task's.
    experiment : Experiment
        The run, with what it starts from loaded.

    Returns
    -------
    AcomBrain
        Before ``fit``.

    Raises
    ------
    ConfigurationError
        If the quantizer has no such codebooks as are to be tested, or the
        prior cannot be fitted to its codes.
    """
    hparams = experiment.hparams
    brain = kind(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=experiment.run_opts,
        checkpointer=hparams["checkpointer"],
    )
    codebooks_to_test(brain.bottleneck.quantizer, hparams)
    check_fitter(hparams["prior"], brain.bottleneck)
    return brain
