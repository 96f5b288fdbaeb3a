"""What training a cut model has in common, whatever the task.

The loss is the task's own loss + β · the quantizer's losses (ACoM, section
2.2): no waveform is ever rebuilt. The quantizer starts from the features of
the training set, and its use is logged at the end of every epoch.
"""

from collections.abc import Iterator
from typing import Any

import speechbrain as sb
import torch
from speechbrain.nnet.schedulers import LinearWarmupScheduler
from speechbrain.utils.logger import get_logger
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.dataio import ReadableBatch, SkipRecord
from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.lengths import frame_counts
from speechbrain_acom.metrics.codebook_use import CodebookUse
from speechbrain_acom.processes import sum_over_processes
from speechbrain_acom.splits import Split, SplitResult
from speechbrain_acom.training.checkpoints import same_model
from speechbrain_acom.training.cuts import cuts, merged_frames
from speechbrain_acom.training.stage import RunningMeans
from speechbrain_acom.training.teacher import Teacher

logger = get_logger(__name__)

# Frames that k-means starts from: more cost time and change little.
INITIALIZATION_FRAMES = 50_000


class AcomBrain(sb.Brain):
    """Trains, validates and tests a :class:`Split` with its task's loss.

    Subclasses say what the task is: :meth:`task_loss`,
    :meth:`update_metrics`, :meth:`metric_name`, :meth:`metric_value` and
    :meth:`scores`.

    The hyperparameters need ``modules`` with ``normalize`` and ``split``, and
    ``compute_features``, ``augmentation`` (a callable or None), ``beta``,
    ``epoch_counter``, ``lr_scheduler``, ``train_logger`` and
    ``avg_checkpoints``; also ``pretrained_path`` where the quantizer learns
    from a teacher.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.core.Brain``.
    """

    # Utterances that a training step needs.
    SMALLEST_BATCH = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # DDP wraps what stands in `modules`; this stays the bare module.
        self.split: Split = self.modules.split
        # Not a module of the brain: nothing trains, saves or wraps it.
        self.teacher: Teacher | None = None
        if isinstance(self.hparams.compute_features, torch.nn.Module):
            self.hparams.compute_features.to(self.device)
        self.skipped = SkipRecord()

    @property
    def bottleneck(self) -> Bottleneck:
        """The module that stands in the cut."""
        return self.split.bottleneck

    # What a task defines -------------------------------------------------

    def task_loss(self, result: SplitResult, batch: ReadableBatch) -> Tensor:
        """The model's own loss, a scalar, as if nothing were cut."""
        raise NotImplementedError

    def reset_metrics(self) -> None:
        """Forget what was counted in the stage before."""
        raise NotImplementedError

    def update_metrics(self, result: SplitResult, batch: ReadableBatch) -> None:
        """Count a batch of validation or test data."""
        raise NotImplementedError

    def metric_name(self) -> str:
        """Name of the metric, with its unit; smaller is better."""
        raise NotImplementedError

    def metric_value(self) -> float:
        """The metric over everything counted since the last reset."""
        raise NotImplementedError

    def scores(self) -> dict[str, float]:
        """Everything a results row says of how right the answers were."""
        raise NotImplementedError

    # The line ------------------------------------------------------------

    def features(
        self, batch: ReadableBatch, epoch: int | None
    ) -> tuple[Tensor, Tensor]:
        """Normalised features (batch, time, channel) and their lengths."""
        signals, lengths = batch.to(self.device).sig
        features = self.hparams.compute_features(signals)
        return self.modules.normalize(features, lengths, epoch=epoch), lengths

    def compute_forward(
        self, batch: ReadableBatch, stage: sb.Stage
    ) -> SplitResult:
        """Walk the whole line on one batch."""
        epoch = self.hparams.epoch_counter.current
        features, lengths = self.features(batch, epoch)
        if stage == sb.Stage.TRAIN and self.hparams.augmentation is not None:
            features, lengths = self.hparams.augmentation(features, lengths)
        if self.teacher is None or stage == sb.Stage.TEST:
            return self.modules.split(features, lengths)
        target = self.teacher(features, lengths)
        return self.modules.split(features, lengths, target)

    def compute_objectives(
        self, result: SplitResult, batch: ReadableBatch, stage: sb.Stage
    ) -> Tensor:
        """Task loss + β · quantizer losses, a scalar."""
        task = self.task_loss(result, batch)
        coded = result.bottleneck
        self.means.update("task_loss", task)
        for name, value in {**coded.losses, **coded.statistics}.items():
            self.means.update(name, value)
        if not self.bottleneck.quantizer.lossless:
            # Run lengths are no codebook: one that is seldom used is no fault.
            codes = coded.codes[..., self.bottleneck.framing.run_columns :]
            self.codebook_use.update(codes, coded.code_lengths)
        if stage != sb.Stage.TRAIN:
            self.update_metrics(result, batch)
        return task + self.hparams.beta * coded.loss

    # Batches with unreadable files ---------------------------------------

    def fit_batch(self, batch: ReadableBatch) -> Tensor:
        """Fit one batch; files that cannot be read are left out."""
        too_few = self._is_empty(batch) or len(batch) < self.SMALLEST_BATCH
        # Processes exchange gradients at every step: all take it, or none.
        if sum_over_processes(torch.tensor(float(too_few))) > 0:
            return torch.tensor(torch.nan)  # no part of the mean loss
        return super().fit_batch(batch)

    def evaluate_batch(self, batch: ReadableBatch, stage: sb.Stage) -> Tensor:
        """Evaluate one batch; files that cannot be read are left out."""
        if self._is_empty(batch):
            return torch.tensor(torch.nan)
        return super().evaluate_batch(batch, stage)

    def update_average(self, loss: Tensor, avg_loss: float) -> float:
        """Mean loss over the batches of a stage that had one."""
        # SpeechBrain divides by the number of all batches.
        if torch.isfinite(loss):
            self.means.update("loss", loss)
        return self.means.values().get("loss", avg_loss)

    def _is_empty(self, batch: ReadableBatch) -> bool:
        self.skipped.add(batch)
        return len(batch) == 0

    # Stages --------------------------------------------------------------

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start counting anew."""
        self.means = RunningMeans()
        self.codebook_use = CodebookUse(self.bottleneck.quantizer.cardinalities)
        self.reset_metrics()

    def on_stage_end(
        self, stage: sb.Stage, stage_loss: float, epoch: int | None = None
    ) -> None:
        """Log, warn of collapsed codebooks and keep the best checkpoint."""
        means = self.means.values()
        # Without files left out there is nothing wrong: a training that was
        # killed at the end of an epoch goes on with the last of it.
        if not means and len(self.skipped):
            raise DataError(
                f"{stage.name.lower()} data: found no batch with enough "
                f"readable files, {len(self.skipped)} were left out"
            )
        stats = {"loss": stage_loss, **means}
        stats |= self._codebook_stats(stage)
        if stage == sb.Stage.TRAIN:
            self.train_stats = stats
            self._calibrate_merge()
            return
        stats[self.metric_name()] = self.metric_value()
        if stage == sb.Stage.TEST:
            self.test_stats = stats
            self.hparams.train_logger.log_stats(
                stats_meta={"Epoch loaded": self.hparams.epoch_counter.current},
                test_stats=stats,
            )
        else:
            self._end_epoch(stats, epoch)
        if len(self.skipped):
            logger.warning(f"{len(self.skipped)} unreadable files left out")

    def _end_epoch(self, stats: dict[str, Any], epoch: int | None) -> None:
        learning_rate = self.optimizer.param_groups[0]["lr"]
        self.hparams.train_logger.log_stats(
            stats_meta={"epoch": epoch, "lr": learning_rate},
            train_stats=self.train_stats,
            valid_stats=stats,
        )
        # Plain floats only: a checkpoint's metadata is read by a safe loader.
        self.checkpointer.save_and_keep_only(
            meta={self.metric_name(): float(self.metric_value())},
            min_keys=[self.metric_name()],
            num_to_keep=self.hparams.avg_checkpoints,
        )

    def _codebook_stats(self, stage: sb.Stage) -> dict[str, str]:
        if self.bottleneck.quantizer.lossless:
            return {}
        rows = self.codebook_use.rows()
        for number, row in enumerate(rows):
            if stage == sb.Stage.VALID and row.perplexity < row.entries / 10:
                logger.warning(
                    f"codebook {number} is collapsing: perplexity "
                    f"{row.perplexity:.1f} of {row.entries} entries"
                )
        return {
            "perplexity": "/".join(f"{row.perplexity:.1f}" for row in rows),
            "used_percent": "/".join(f"{row.used_percent:.0f}" for row in rows),
        }

    # Fitting -------------------------------------------------------------

    def fit(
        self,
        epoch_counter: Any,
        train_set: Any,
        valid_set: Any = None,
        progressbar: bool | None = None,
        train_loader_kwargs: dict | None = None,
        valid_loader_kwargs: dict | None = None,
    ) -> None:
        """Start the quantizer from data, then fit as SpeechBrain does.

        Arguments
        ---------
        epoch_counter, train_set, valid_set, progressbar
            As for ``speechbrain.core.Brain.fit``.
        train_loader_kwargs : dict | None
            Passed to ``make_dataloader`` for the training set.
        valid_loader_kwargs : dict | None
            The same for the validation set.
        """
        fresh = not self.checkpointer.find_checkpoints(max_num_checkpoints=1)
        if self.test_only:
            if fresh:
                raise ConfigurationError(
                    "--test_only",
                    "no checkpoint",
                    f"one in {self.checkpointer.checkpoints_dir}: train first",
                )
            return
        train_kwargs = dict(train_loader_kwargs or {})
        loader = self.make_dataloader(train_set, sb.Stage.TRAIN, **train_kwargs)
        self._check_batches(loader)
        if self.bottleneck.quantizer.taught and self.teacher is None:
            self.teacher = self._make_teacher()
        self._train_data = (train_set, train_kwargs)
        if fresh:
            self._calibrate_merge()
            self._initialize()
        # Only the data says how many steps there are to the end.
        steps_per_epoch = len(loader) // self.grad_accumulation_factor
        self.training_steps = steps_per_epoch * epoch_counter.limit
        super().fit(
            epoch_counter,
            loader,
            valid_set,
            progressbar,
            valid_loader_kwargs=dict(valid_loader_kwargs or {}),
        )

    def _make_teacher(self) -> Teacher:
        """The continuous model, before a checkpoint replaces its weights."""
        if not self.hparams.pretrained_path:
            logger.warning(
                "pretrained_path: empty, so that the quantizer's teacher is "
                "the untrained model; start from a continuous run instead"
            )
        return Teacher(self.split)

    def _check_batches(self, loader: Any) -> None:
        size = loader.batch_size
        if size and size < self.SMALLEST_BATCH:
            raise ConfigurationError(
                "batch_size", size, f"{self.SMALLEST_BATCH} or more"
            )
        if len(loader) == 0:
            raise ConfigurationError(
                "batch_size",
                size,
                f"at most the {len(loader.dataset)} training examples",
            )

    def on_fit_start(self) -> None:
        """Resume from a checkpoint, if there is one."""
        with same_model(self.checkpointer.checkpoints_dir):
            super().on_fit_start()
        scheduler = self.hparams.lr_scheduler
        if isinstance(scheduler, LinearWarmupScheduler):
            # After resuming: the checkpoint may be of a shorter training.
            scheduler.num_training_steps = self.training_steps

    def _calibrate_merge(self) -> None:
        """Let the mean run have as many frames as was asked for.

        Once more after every epoch, for the features at the cut have changed,
        and the rate of the validation should be that of the YAML.
        """
        if self.bottleneck.framing.run_lengths:
            batches = cuts(self, *self._train_data, "calibrating the merge")
            self.bottleneck.calibrate(
                (cut.values, cut.lengths) for cut in batches
            )

    def _initialize(self) -> None:
        """Give the quantizer frames of the training set to start from."""
        if self.bottleneck.quantizer.lossless:
            return
        frames = merged_frames(
            self, *self._train_data, most=INITIALIZATION_FRAMES
        )
        self.bottleneck.initialize(frames)

    @torch.no_grad()
    def training_codes(self, dataset: Any, kwargs: dict) -> Iterator[Tensor]:
        """Codes of a data set, an utterance at a time, for fitting a prior.

        Arguments
        ---------
        dataset : DynamicItemDataset
            The training set.
        kwargs : dict
            Passed to ``make_dataloader``.

        Returns
        -------
        Iterator[Tensor]
            int64 codes, shape (frame, K), of one utterance each.
        """
        for cut in cuts(self, dataset, kwargs, "coding the training set"):
            result = self.bottleneck(cut.values, cut.lengths)
            counts = frame_counts(result.code_lengths, result.codes)
            for codes, count in zip(result.codes, counts, strict=True):
                yield codes[:count].cpu()

    def on_fit_batch_start(
        self, batch: ReadableBatch, should_step: bool
    ) -> None:
        """Move the learning rate along its schedule."""
        # Before the step: the optimizer was made with the peak rate.
        if should_step:
            self.hparams.lr_scheduler(self.optimizer)

    def on_evaluate_start(
        self, max_key: str | None = None, min_key: str | None = None
    ) -> None:
        """Load the best checkpoint, or the mean of the best few."""
        with same_model(self.checkpointer.checkpoints_dir):
            super().on_evaluate_start(max_key=max_key, min_key=min_key)
        checkpoints = self.checkpointer.find_checkpoints(
            max_key=max_key,
            min_key=min_key,
            max_num_checkpoints=self.hparams.avg_checkpoints,
        )
        if len(checkpoints) > 1:
            state = sb.utils.checkpoints.average_checkpoints(
                checkpoints, recoverable_name="split"
            )
            self.split.load_state_dict(state, strict=True)

    def _wrap_distributed(self) -> None:
        """Wrap the split; on a CPU without synchronised batch norm.

        torch has synchronised batch norm for accelerators only, and
        SpeechBrain converts to it always.
        """
        if self.distributed_launch and str(self.device) == "cpu":
            self.modules["split"] = DistributedDataParallel(
                self.split,
                find_unused_parameters=self.find_unused_parameters,
            )
        else:
            super()._wrap_distributed()
