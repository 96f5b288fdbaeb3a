"""What every recipe does after training: test, export, test the bytes.

A continuous model (bypass in the cut) is tested in this process and exported
unsplit. A quantized one is tested in this process too, then gets its prior,
is exported in two halves, and its test sets are coded into messages that a
second process decodes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.distributed import (
    if_main_process,
    is_distributed_initialized,
)
from speechbrain.utils.logger import get_logger

from speechbrain_acom.dataio import AudioDataset
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.inference import AcomInterface, AcomStreamEncoder
from speechbrain_acom.inference.export import (
    Vocabulary,
    cloud_modules,
    export_coded,
    export_continuous,
)
from speechbrain_acom.inference.prior_fitting import fit_prior
from speechbrain_acom.metrics.complexity import complexity
from speechbrain_acom.metrics.scores import Counted, percents
from speechbrain_acom.quantizers import Quantizer
from speechbrain_acom.storage import writing_into
from speechbrain_acom.studies.coded_test import (
    CodedTest,
    TestItem,
    run_coded_test,
)
from speechbrain_acom.studies.results import Row, write_results
from speechbrain_acom.studies.utterances import Utterances
from speechbrain_acom.training import AcomBrain

logger = get_logger(__name__)

Count = Callable[[Sequence[str], Sequence[str]], dict[str, Counted]]


@dataclass
class Task:
    """What tells one task's tests from another's.

    Arguments
    ---------
    interface : type[AcomInterface]
        Turns bytes into answers.
    vocabulary : SentencePieceProcessor | CategoricalEncoder
        Turns the head's output into text or a label.
    target : str
        Column of the manifest that holds the right answer.
    count : Callable
        Called with right and given answers; gives what is counted of every
        utterance, by metric.
    """

    interface: type[AcomInterface]
    vocabulary: Vocabulary
    target: str
    count: Count


def finish(
    brain: AcomBrain,
    hparams_file: str,
    hparams: dict,
    task: Task,
    train_data: AudioDataset,
    test_data: Mapping[str, AudioDataset],
) -> None:
    """Test, export and write the figures into ``results_file``.

    Arguments
    ---------
    brain : AcomBrain
        After ``fit``.
    hparams_file : str
        The YAML that the run was started with; its name goes into the rows.
    hparams : dict
        The recipe's hyperparameters.
    task : Task
        The recipe's task.
    train_data : AudioDataset
        The training set, whose codes the prior is fitted on.
    test_data : Mapping[str, AudioDataset]
        Test sets by name.

    Raises
    ------
    ConfigurationError
        If ``test_num_codebooks`` asks for what the quantizer does not have.
    """
    books = codebooks_to_test(brain.bottleneck.quantizer, hparams)
    rows = []
    for name, dataset in test_data.items():
        brain.evaluate(
            dataset,
            min_key=brain.choice_key(),
            test_loader_kwargs=dict(hparams["test_loader_kwargs"]),
        )
        row = {"hparams": Path(hparams_file).stem, "test_set": name}
        row |= _model_columns(brain, hparams) | _chosen_columns(brain)
        left_out = dataset.data.keys() & brain.skipped.reasons.keys()
        row |= {"skipped_files": len(left_out), **brain.scores()}
        utterances = Utterances.of(
            brain.counted_names(), brain.counted(), dataset
        )
        if if_main_process():
            with writing_into(hparams["output_folder"]):
                utterances.save(
                    Path(hparams["output_folder"], "utterances", name)
                )
        rows.append({**row, **utterances.interval_columns()})
    if not _alone():
        return
    with writing_into(hparams["output_folder"]):
        _export(brain, hparams, task, train_data)
    if not brain.bottleneck.quantizer.lossless:
        tested = zip(rows, test_data.items(), strict=True)
        rows = [
            _coded_row(row, hparams, task, name, dataset, num_codebooks)
            for row, (name, dataset) in tested
            for num_codebooks in books
        ]
    data = _data(hparams, train_data, test_data)
    path = write_results(hparams["results_file"], rows, data, hparams["seed"])
    logger.info("results: %s", path)
    for row in rows:
        logger.info(", ".join(f"{key} {value}" for key, value in row.items()))


def _alone() -> bool:
    """End a distributed run: only the first process goes on, alone."""
    first = if_main_process()  # without a group every process is its first
    if is_distributed_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    return first


def _export(
    brain: AcomBrain, hparams: dict, task: Task, train_data: AudioDataset
) -> None:
    folder = Path(hparams["output_folder"])
    if brain.bottleneck.quantizer.lossless:
        export_continuous(
            folder / "export",
            hparams["model"],
            hparams["normalize"],
            task.vocabulary,
            task.interface,
        )
        return
    codes = brain.training_codes(
        train_data, dict(hparams["valid_loader_kwargs"])
    )
    prior = fit_prior(
        hparams["prior"],
        codes,
        brain.bottleneck.cardinalities,
        brain.bottleneck.quantizer,
    )
    export_coded(
        folder / "export",
        folder / "hyperparams.yaml",
        brain.split,
        hparams["normalize"],
        prior,
        task.vocabulary,
        task.interface,
        cloud_modules(hparams, task.interface),
    )


def codebooks_to_test(quantizer: Quantizer, hparams: dict) -> list[int]:
    """Every number of codebooks that the messages of a test set hold.

    Call it before training, too: a mistake is better found then.

    Arguments
    ---------
    quantizer : Quantizer
        What stands in the cut.
    hparams : dict
        The recipe's hyperparameters; ``test_num_codebooks`` counts.

    Returns
    -------
    list[int]
        K, or what the recipe asks for.

    Raises
    ------
    ConfigurationError
        If ``test_num_codebooks`` asks for what the quantizer does not have.
    """
    wanted = hparams["test_num_codebooks"]
    if not wanted:
        return [len(quantizer.cardinalities)]
    try:
        return [quantizer.checked_num_codebooks(books) for books in wanted]
    except (ConfigurationError, TypeError) as error:
        raise ConfigurationError(
            "test_num_codebooks",
            wanted,
            f"null, or a list of what can be sent ({error})",
        ) from None


def _coded_row(
    row: Row,
    hparams: dict,
    task: Task,
    name: str,
    dataset: AudioDataset,
    num_codebooks: int,
) -> Row:
    """A row with the figures of the bytes of so many codebooks."""
    folder = Path(hparams["output_folder"])
    items = [
        TestItem(key, example["wav"], example[task.target])
        for key, example in dataset.data.items()
    ]
    device = task.interface.from_hparams(folder / "export", half="device")
    place, total = folder / "coded" / name, row["num_codebooks"]
    if num_codebooks != total:
        place = folder / "coded" / f"{name}_first_{num_codebooks}"
    tested = run_coded_test(
        device,
        folder / "export",
        items,
        place,
        hparams["seed"],
        num_codebooks,
    )
    counted = task.count(tested.targets, tested.real)
    real = percents(counted)
    row = {**row, "num_codebooks": num_codebooks}
    for key in real:
        # What this process says has a name of its own, and all codebooks.
        value = row.pop(key)
        row.pop(f"{key}_low"), row.pop(f"{key}_high")
        if num_codebooks == total:
            row[f"in_process_{key}"] = value
    utterances = Utterances.of(
        tested.names, counted, dataset, tested.message_bytes
    )
    with writing_into(folder):
        utterances.save(place / "utterances")
    real |= utterances.interval_columns()
    row["prior"] = type(device.prior).__name__
    row |= _latency_columns(device)
    return {**row, **real, **_coded_columns(tested, task)}


def _latency_columns(device: AcomInterface) -> Row:
    """How late the bytes come, where the device half can run on a stream."""
    try:
        return {"algorithmic_latency_s": AcomStreamEncoder(device).latency}
    except ConfigurationError:
        return {}


def _model_columns(brain: AcomBrain, hparams: dict) -> Row:
    cardinalities = brain.bottleneck.quantizer.cardinalities
    coded = not brain.bottleneck.quantizer.lossless
    counted = complexity(
        brain.split, hparams["compute_features"], hparams["sample_rate"]
    )
    return {
        "epochs": hparams["number_of_epochs"],
        "quantizer": type(brain.bottleneck.quantizer).__name__,
        "split_layer": hparams["split_layer"],
        "merge": hparams["merge"],
        "merge_mode": hparams["merge_mode"],
        "num_codebooks": len(cardinalities) if coded else 0,
        "codebook_size": max(cardinalities) if coded else 0,
        "beta": hparams["beta"],
        **_rate_columns(brain, hparams),
        **asdict(counted),
    }


def _chosen_columns(brain: AcomBrain) -> Row:
    """The validation's metric of the best checkpoint, if there is one.

    Settings are compared by it, not by the test's.
    """
    best = brain.checkpointer.find_checkpoint(min_key=brain.choice_key())
    name = brain.metric_name()
    if best is None or name not in best.meta:
        return {}  # nothing was trained, or nothing that was trained is left
    return {f"valid_{name}": best.meta[name]}


def _rate_columns(brain: AcomBrain, hparams: dict) -> Row:
    """λ and what goes with it, where it is not the paper's method."""
    keys = ("distillation_weight", "distillation_features_weight")
    row: Row = {key: hparams[key] for key in keys if hparams[key]}
    if brain.rate_schedule.weight > 0:
        row["rate_weight"] = brain.rate_schedule.weight
        # Less than that after a collapse.
        row["rate_weight_reached"] = brain.rate_schedule.last
    quantizer = brain.bottleneck.quantizer
    if quantizer.rated:
        row["assignment_weight"] = quantizer.assignment_weight
        if quantizer.bit_price.share < 1:
            # Less than that after a collapse.
            reached = quantizer.bit_price.reached
            row["assignment_weight_reached"] = reached
        row["recent_frames"] = quantizer.recent_frames
        if quantizer.rate_model is not None:
            row["joint"] = int(quantizer.rate_model.joint)
    return row


def _coded_columns(tested: CodedTest, task: Task) -> Row:
    """Figures of the bytes, beside those of the right answers."""
    columns: dict[str, Any] = asdict(tested.rate)
    for name in ("random", "constant"):
        answers = getattr(tested, name)
        scores = percents(task.count(tested.targets, answers))
        for key, value in scores.items():
            columns[f"{name}_codes_{key}"] = value
    for use in tested.codebook_use:
        prefix = f"codebook_{use.codebook}"
        columns[f"{prefix}_perplexity"] = use.perplexity
        columns[f"{prefix}_used_percent"] = use.used_percent
    columns["mean_run_frames"] = tested.mean_run
    columns["messages"] = len(tested.real)
    columns["audio_s"] = tested.seconds
    return columns


def _data(
    hparams: dict,
    train_data: AudioDataset,
    test_data: Mapping[str, AudioDataset],
) -> str:
    parts = [f"train {_hours(train_data)}"]
    parts += [
        f"{name} {_hours(dataset)}" for name, dataset in test_data.items()
    ]
    return f"{hparams['data_name']}: {', '.join(parts)}"


def _hours(dataset: AudioDataset) -> str:
    seconds = sum(float(row["duration"]) for row in dataset.data.values())
    return f"{seconds / 3600:.2f} h"
