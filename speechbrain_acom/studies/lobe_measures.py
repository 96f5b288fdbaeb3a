"""What the study of the quantizers measures on the runs of the recipes."""

import math
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.dataio import ReadableBatch, manifest_dataset
from speechbrain_acom.features import features_of
from speechbrain_acom.hparams import load_hparams
from speechbrain_acom.lengths import frame_counts
from speechbrain_acom.quantizers import Bypass
from speechbrain_acom.splits import Split
from speechbrain_acom.training.teacher import Teacher

REPETITIONS = 15


@dataclass
class TrainedRun:
    """A quantized model as a recipe trained it, and a batch of its data.

    Arguments
    ---------
    split : Split
        With its trained weights.
    features : Tensor
        Shape (batch, time, channel), normalised filter banks.
    lengths : Tensor
        Relative lengths in [0, 1], shape (batch,).
    seconds : float
        Audio in the batch, without padding.
    """

    split: Split
    features: Tensor
    lengths: Tensor
    seconds: float

    @classmethod
    def load(cls, folder: str | Path) -> "TrainedRun":
        """Load a run.

        Arguments
        ---------
        folder : str | Path
            Output folder of the recipe. The batch is the first ``batch_size``
            recordings of its training manifest.

        Returns
        -------
        TrainedRun
            The run.
        """
        hparams = load_hparams(Path(folder) / "hyperparams.yaml")
        hparams["checkpointer"].recover_if_possible()
        rate = hparams["sample_rate"]
        manifest = Path(hparams["save_folder"], "train.csv")
        dataset = manifest_dataset(manifest, hparams["data_folder"], rate)
        dataset.set_output_keys(["sig"])
        size = min(hparams["batch_size"], len(dataset))
        batch = ReadableBatch([dataset[number] for number in range(size)])
        signals, lengths = batch.sig
        features = features_of(hparams["compute_features"], signals, lengths)
        seconds = float(lengths.sum()) * signals.shape[1] / rate
        return cls(
            hparams["split"],
            hparams["normalize"].eval()(features, lengths),
            lengths,
            seconds,
        )


@torch.no_grad()
def nominal_bps(run: TrainedRun) -> float:
    """Code frames a second times the bits that name an entry, in bit/s.

    Of quantizers that are not coded into bytes, such as a bypass.

    Arguments
    ---------
    run : TrainedRun
        The run; all frames of its batch count.

    Returns
    -------
    float
        The nominal rate.
    """
    split = run.split.eval()
    cut = split.device(run.features, run.lengths)
    coded = split.bottleneck(cut.values, cut.lengths)
    frames = int(frame_counts(coded.code_lengths, coded.codes).sum())
    bits = sum(math.log2(size) for size in split.bottleneck.cardinalities)
    return frames * bits / run.seconds


def step_time_ratio(run: TrainedRun, repetitions: int = REPETITIONS) -> float:
    """Time of a training step over that of the continuous model.

    A step is forward and backward through the whole split, the quantizer's
    losses, its rate and its teacher included where it has them. The continuous model has
    the same layers with a :class:`Bypass` in the cut and no merging. Both
    take turns on the same batch, so that what else runs on the machine slows
    both; the ratio is that of the medians.

    Arguments
    ---------
    run : TrainedRun
        The run. Its codebooks adapt to the batch, as in training.
    repetitions : int
        Steps of each that are timed, after one that is not.

    Returns
    -------
    float
        1.0: the quantizer takes no time.

    Example
    -------
    >>> from speechbrain_acom.splits import Cnn14Split, SlimCnn14
    >>> split = Cnn14Split(
    ...     embedding_model=SlimCnn14(mel_bins=40, emb_dim=8, width=0.0625),
    ...     classifier=torch.nn.Linear(8, 3),
    ...     split_layer=4,
    ...     bottleneck=partial(Bottleneck, quantizer=Bypass),
    ... )
    >>> batch = torch.randn(2, 100, 40), torch.ones(2)
    >>> run = TrainedRun(split, *batch, seconds=2.0)
    >>> step_time_ratio(run, repetitions=1) > 0
    True
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    split = run.split.to(device)
    teacher = Teacher(split) if split.bottleneck.quantizer.taught else None
    bypass = partial(Bottleneck, quantizer=Bypass)
    # The same layers, not copies of them.
    continuous = Split(split.device_half, split.cloud_half, bypass)
    batch = run.features.to(device), run.lengths.to(device)
    coded, bypassed = [], []
    for _ in range(1 + repetitions):
        coded.append(_step_seconds(split, *batch, teacher))
        bypassed.append(_step_seconds(continuous, *batch, None))
    return statistics.median(coded[1:]) / statistics.median(bypassed[1:])


def _step_seconds(
    split: Split, features: Tensor, lengths: Tensor, teacher: Teacher | None
) -> float:
    split.train().zero_grad()
    start = _now(features.device)
    target = teacher(features, lengths).hidden if teacher else None
    result = split(features, lengths, target)
    # Any loss of the output will do: the time is that of the layers.
    loss = result.output.float().square().mean() + result.bottleneck.loss
    if result.bottleneck.rate is not None:
        loss = loss + result.bottleneck.rate
    loss.backward()
    return _now(features.device) - start


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
