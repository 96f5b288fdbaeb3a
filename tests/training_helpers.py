"""Brains with tiny modules and data in memory."""

from functools import partial

import speechbrain as sb
import torch
from speechbrain.nnet.schedulers import LinearWarmupScheduler
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.epoch_loop import EpochCounter

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.dataio import AudioDataset, ReadableBatch
from speechbrain_acom.errors import AudioError
from speechbrain_acom.quantizers import ResidualVectorQuantizer
from speechbrain_acom.splits.contract import (
    CloudHalf,
    CutFrames,
    DeviceHalf,
    Split,
)
from speechbrain_acom.training import AcomBrain
from speechbrain_acom.training.checkpoints import WholeCheckpointer
from speechbrain_acom.training.rate import RateSchedule

CHANNELS = 4
RVQ = partial(ResidualVectorQuantizer, codebook_size=8, codebook_dim=2)
LOADER = {"batch_size": 2, "collate_fn": ReadableBatch}


class TinyDevice(DeviceHalf):
    def __init__(self):
        super().__init__()
        self.channels = CHANNELS
        self.layer = torch.nn.Linear(CHANNELS, CHANNELS)

    def forward(self, features, lengths):
        return CutFrames(self.layer(features), lengths)


class FramewiseCloud(CloudHalf):
    """Scores of every frame."""

    def __init__(self, outputs):
        super().__init__()
        self.head = torch.nn.Linear(CHANNELS, outputs)

    def forward(self, values, lengths):
        return self.head(values)


class PoolingCloud(FramewiseCloud):
    """Scores of the whole clip, shape (batch, 1, class)."""

    def forward(self, values, lengths):
        return self.head(values.mean(dim=1, keepdim=True))


class EnergyBrain(AcomBrain):
    """Its task is to give small numbers; padding counts, for simplicity."""

    def task_loss(self, result, batch):
        return result.output.square().mean()

    def reset_metrics(self):
        self.clips = 0

    def update_metrics(self, result, batch):
        self.clips += len(batch)

    def metric_name(self):
        return "clips"

    def metric_value(self):
        return self.clips

    def scores(self):
        return {"clips": self.clips}


class Log:
    """Keeps what a train logger would write."""

    def __init__(self):
        self.epochs, self.tests = [], []

    def log_stats(self, stats_meta, train_stats=None, valid_stats=None, **test):
        if test:
            self.tests.append(test["test_stats"])
        else:
            self.epochs.append((stats_meta, train_stats, valid_stats))


def frames_of(signals):
    """Four samples make one frame of four channels."""
    return signals.unflatten(1, (-1, CHANNELS))


def dataset_of(counts, unreadable=(), **columns):
    """Clips of so many frames; those named in unreadable raise when read."""

    def read(id):
        if id in unreadable:
            raise AudioError(f"{id}.wav: found NaN, expected audio")
        generator = torch.Generator().manual_seed(ord(id))
        count = counts[ord(id) - ord("a")] * CHANNELS
        return torch.randn(count, generator=generator)

    names = [chr(ord("a") + number) for number in range(len(counts))]
    rows = {name: {} for name in names}
    for column, values in columns.items():
        for row, value in zip(rows.values(), values, strict=True):
            row[column] = value
    dataset = AudioDataset(rows)
    dataset.add_dynamic_item(read, takes="id", provides="sig")
    dataset.set_output_keys(["id", "sig", *columns])
    return dataset


def brain_in(
    folder,
    kind=EnergyBrain,
    quantizer=RVQ,
    cloud=FramewiseCloud,
    outputs=3,
    epochs=1,
    run_opts=None,
    rate_weight=0.0,
    rate_ramp_epochs=0.0,
    **hparams,
):
    """A brain whose checkpoints lie in a folder; equal weights every time."""
    sb.utils.seed_everything(0)
    split = Split(
        TinyDevice(),
        cloud(outputs),
        partial(Bottleneck, quantizer=quantizer, **hparams.pop("cut", {})),
    )
    modules = {
        "normalize": InputNormalization(update_until_epoch=2),
        "split": split,
    }
    scheduler = LinearWarmupScheduler(0.1, 2, 1000)
    counter = EpochCounter(epochs)
    rate_schedule = RateSchedule(rate_weight, rate_ramp_epochs)
    checkpointer = WholeCheckpointer(
        folder,
        {
            **modules,
            "scheduler": scheduler,
            "rate_schedule": rate_schedule,
            "counter": counter,
        },
    )
    return kind(
        modules=modules,
        opt_class=partial(torch.optim.SGD, lr=0.1),
        hparams={
            "compute_features": frames_of,
            "signal_augmentation": None,
            "augmentation": None,
            "beta": 0.5,
            "rate_schedule": rate_schedule,
            "distillation_weight": 0.0,
            "distillation_features_weight": 0.0,
            "epoch_counter": counter,
            "lr_scheduler": scheduler,
            "train_logger": Log(),
            "avg_checkpoints": 1,
            "tuned": "all",
            "cut_cache": "",
            **hparams,
        },
        run_opts={"noprogressbar": True, "device": "cpu", **(run_opts or {})},
        checkpointer=checkpointer,
    )


def fit(brain, train, valid=None, **loader):
    brain.fit(
        brain.hparams.epoch_counter,
        train,
        valid or dataset_of([5, 3]),
        train_loader_kwargs={**LOADER, **loader},
        valid_loader_kwargs=LOADER,
    )
    return brain


def batch_of(dataset):
    return ReadableBatch([dataset[index] for index in range(len(dataset))])


def evaluate_on(brain, data):
    return brain.evaluate(
        data, min_key=brain.choice_key(), test_loader_kwargs=dict(LOADER)
    )


class RateBrain(EnergyBrain):
    """Notes the learning rate of every step."""

    def optimizers_step(self):
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        super().optimizers_step()


def rates(folder, epochs, **run_opts):
    """Learning rates of the steps of a training with 4 batches an epoch."""
    brain = brain_in(folder, kind=RateBrain, epochs=epochs, run_opts=run_opts)
    brain.rates = []
    fit(brain, dataset_of([5] * 8))
    return brain.rates


class WorseAndWorse(EnergyBrain):
    """Its metric is the number of the epoch."""

    def metric_value(self):
        return self.hparams.epoch_counter.current


def head_of(checkpoint):
    """Weights of the head that a checkpoint holds."""
    return torch.load(checkpoint.paramfiles["split"])["cloud_half.head.weight"]
