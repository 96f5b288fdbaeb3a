"""What training a cut model has in common, whatever the task.

The loss is the task's own loss + β · the quantizer's losses (ACoM, section
2.2): no waveform is ever rebuilt. λ · the rate of the codes and what the
continuous model teaches may be added. The quantizer starts from the features
of the training set, and its use is logged at the end of every epoch.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import speechbrain as sb
import torch
from speechbrain.nnet.schedulers import LinearWarmupScheduler
from speechbrain.utils.logger import get_logger
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from speechbrain_acom.dataio import ReadableBatch
from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.metrics.codebook_use import CodebookUse, CodebookUseRow
from speechbrain_acom.metrics.scores import Counted
from speechbrain_acom.splits import SplitResult
from speechbrain_acom.training.cached_cuts import cached_cuts
from speechbrain_acom.training.checkpoints import same_model
from speechbrain_acom.training.collapse import save_or_undo
from speechbrain_acom.training.cuts import cuts
from speechbrain_acom.training.line import LineBrain
from speechbrain_acom.training.rate import RateSchedule, choice_key, ramped
from speechbrain_acom.training.stage import (
    RunningMeans,
    codebook_stats,
    warn_of_collapsing,
)
from speechbrain_acom.training.start import (
    Arrival,
    calibrate_merge,
    start_bottleneck,
    utterance_codes,
)
from speechbrain_acom.training.teacher import make_teacher
from speechbrain_acom.training.tuned_parts import freeze

logger = get_logger(__name__)


class AcomBrain(LineBrain):
    """Trains, validates and tests a :class:`Split` with its task's loss.

    Subclasses say what the task is: :meth:`task_loss`,
    :meth:`update_metrics`, :meth:`metric_name`, :meth:`metric_value` and
    :meth:`scores`.

    Beside what :class:`LineBrain` needs, the hyperparameters need ``beta``,
    ``rate_schedule`` (the checkpointer's too), ``lr_scheduler``,
    ``train_logger``, ``avg_checkpoints``, ``tuned`` (see
    :mod:`~speechbrain_acom.training.tuned_parts`) and ``cut_cache`` (see
    :mod:`~speechbrain_acom.training.cached_cuts`); also ``pretrained_path``
    where there is a teacher.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.core.Brain``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rate_schedule: RateSchedule = self.hparams.rate_schedule
        self.frozen = freeze(self.split, self.hparams.tuned)

    # What a task defines -------------------------------------------------

    def task_loss(self, result: SplitResult, batch: ReadableBatch) -> Tensor:
        """The model's own loss, a scalar, as if nothing were cut."""
        raise NotImplementedError

    def log_probabilities(self, output: Tensor, lengths: Tensor) -> Tensor:
        """Those of the answers, real frames only, (frame, answer)."""
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

    def choice_key(self) -> str:
        """What checkpoints are chosen by; smaller is better."""
        return choice_key(self.rate_schedule, self.metric_name())

    def metric_value(self) -> float:
        """The metric over everything counted since the last reset."""
        raise NotImplementedError

    def scores(self) -> dict[str, float]:
        """Everything a results row says of how right the answers were."""
        raise NotImplementedError

    def counted(self) -> dict[str, Counted]:
        """What :meth:`scores` pools, of every utterance of the stage."""
        raise NotImplementedError

    def counted_names(self) -> list[str]:
        """IDs of the utterances of :meth:`counted`."""
        raise NotImplementedError

    def compute_objectives(
        self, result: SplitResult, batch: ReadableBatch, stage: sb.Stage
    ) -> Tensor:
        """Task loss + β · quantizer losses + λ · rate + distillation."""
        task = self.task_loss(result, batch)
        coded = result.bottleneck
        loss = task + self.hparams.beta * coded.loss
        parts = {"task_loss": task, **coded.losses, **coded.statistics}
        if coded.rate is not None:
            parts["rate"] = coded.rate
            loss = loss + self.rate_schedule.current * coded.rate
        if self.lesson is not None:
            taught = self.distillation.losses(
                result, self.lesson, self.log_probabilities
            )
            parts |= taught
            loss = loss + self.distillation.weighted(taught)
        for name, value in parts.items():
            self.means.update(name, value)
        if not self.bottleneck.quantizer.lossless:
            # Run lengths are no codebook: one that is seldom used is no fault.
            codes = coded.codes[..., self.bottleneck.framing.run_columns :]
            self.codebook_use.update(codes, coded.code_lengths)
        if stage != sb.Stage.TRAIN:
            self.update_metrics(result, batch)
        return loss

    def update_average(self, loss: Tensor, avg_loss: float) -> float:
        """Mean loss over the batches of a stage that had one."""
        # SpeechBrain divides by the number of all batches.
        if torch.isfinite(loss):
            self.means.update("loss", loss)
        return self.means.values().get("loss", avg_loss)

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
        if stage == sb.Stage.TRAIN:
            # A checkpoint after the last batch leaves none to go on with.
            self.go_on()
        means = self.means.values()
        # Without files left out there is nothing wrong: a training that was
        # killed at the end of an epoch goes on with the last of it.
        if not means and len(self.skipped):
            raise DataError(
                f"{stage.name.lower()} data: found no batch with enough "
                f"readable files, {len(self.skipped)} were left out"
            )
        stats = {"loss": stage_loss, **means}
        rows = self._codebook_rows()
        stats |= codebook_stats(rows)
        if stage == sb.Stage.TRAIN:
            self.train_stats = stats
            # Once more after every epoch, for the features at the cut have
            # changed, and the rate of the validation should be the YAML's.
            calibrate_merge(self.bottleneck, self._arrivals)
            return
        stats[self.metric_name()] = self.metric_value()
        if stage == sb.Stage.TEST:
            self.test_stats = stats
            self.hparams.train_logger.log_stats(
                stats_meta={"Epoch loaded": self.hparams.epoch_counter.current},
                test_stats=stats,
            )
        else:
            self._end_epoch(stats, rows, epoch)
        if len(self.skipped):
            logger.warning(f"{len(self.skipped)} unreadable files left out")

    def _end_epoch(
        self,
        stats: dict[str, Any],
        rows: list[CodebookUseRow],
        epoch: int | None,
    ) -> None:
        meta = {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]}
        if self.rate_schedule.weight > 0:
            meta["rate_weight"] = self.rate_schedule.current
        else:
            # With λ a few entries may well be all that is needed.
            warn_of_collapsing(rows)
        self.hparams.train_logger.log_stats(
            stats_meta=meta,
            train_stats=self.train_stats,
            valid_stats=stats,
        )
        # Plain floats only: a checkpoint's metadata is read by a safe loader.
        reached = {self.metric_name(): float(self.metric_value())}
        most = self.hparams.avg_checkpoints
        save_or_undo(self.rate_schedule, self.checkpointer, rows, reached, most)

    def _codebook_rows(self) -> list[CodebookUseRow]:
        if self.bottleneck.quantizer.lossless:
            return []
        return self.codebook_use.rows()

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
            best = self.checkpointer.find_checkpoint(min_key=self.choice_key())
            if best is None:
                raise ConfigurationError(
                    "--test_only",
                    "no checkpoint",
                    f"one of a whole epoch in "
                    f"{self.checkpointer.checkpoints_dir}: train first",
                )
            return
        train_kwargs = dict(train_loader_kwargs or {})
        valid_kwargs = dict(valid_loader_kwargs or {})
        data = {"train": train_set, "valid": valid_set}
        with cached_cuts(self, data, valid_kwargs):
            self._fit(
                fresh,
                epoch_counter,
                train_set,
                valid_set,
                progressbar,
                train_kwargs,
                valid_kwargs,
            )

    def _fit(
        self,
        fresh: bool,
        epoch_counter: Any,
        train_set: Any,
        valid_set: Any,
        progressbar: bool | None,
        train_kwargs: dict,
        valid_kwargs: dict,
    ) -> None:
        """Fit, whatever the data sets give."""
        loader = self.make_dataloader(train_set, sb.Stage.TRAIN, **train_kwargs)
        # SpeechBrain tells a sampler the epoch where it made the sampler, and
        # otherwise draws the same batches in every epoch.
        self.train_sampler = self.train_sampler or train_kwargs.get(
            "batch_sampler"
        )
        self.check_batches(loader)
        self.rate_schedule.begin(
            self.bottleneck.quantizer, len(loader), epoch_counter.limit
        )
        self.distillation.check(self.split.cloud_half)
        taught = self.bottleneck.quantizer.taught or self.distillation.active
        if taught and self.teacher is None:
            path = self.hparams.pretrained_path
            self.teacher = make_teacher(self.split, path)
        self._train_data = (train_set, train_kwargs)
        if fresh:
            start_bottleneck(self.bottleneck, self._arrivals)
        self._fresh = fresh
        # Only the data says how many steps there are to the end.
        steps_per_epoch = len(loader) // self.grad_accumulation_factor
        self.training_steps = steps_per_epoch * epoch_counter.limit
        super().fit(
            epoch_counter,
            loader,
            valid_set,
            progressbar,
            valid_loader_kwargs=valid_kwargs,
        )

    def on_fit_start(self) -> None:
        """Resume from a checkpoint, if there is one."""
        with same_model(self.checkpointer.checkpoints_dir):
            super().on_fit_start()
        scheduler = self.hparams.lr_scheduler
        if isinstance(scheduler, LinearWarmupScheduler):
            # After resuming: the checkpoint may be of a shorter training.
            scheduler.num_training_steps = self.training_steps
        schedule = self.rate_schedule
        if self._fresh and (schedule.weight > 0 or schedule.prices):
            # So that a collapse in the first epoch can be undone, too.
            self.checkpointer.save_checkpoint()

    def _arrivals(self, title: str) -> Iterator[Arrival]:
        """What the training set is at the cut, a batch at a time."""
        with closing(cuts(self, *self._train_data, title)) as batches:
            for cut in batches:
                yield cut.values, cut.lengths

    @torch.no_grad()
    def training_codes(
        self, dataset: Any, kwargs: dict
    ) -> Iterator[np.ndarray]:
        """Codes of a data set, an utterance at a time, for fitting a prior.

        Arguments
        ---------
        dataset : DynamicItemDataset
            The training set.
        kwargs : dict
            Passed to ``make_dataloader``.

        Returns
        -------
        Iterator[np.ndarray]
            int64 codes, shape (frame, K), of one utterance each.
        """
        for cut in cuts(self, dataset, kwargs, "coding the training set"):
            result = self.bottleneck(cut.values, cut.lengths)
            yield from utterance_codes(result)

    def on_fit_batch_start(
        self, batch: ReadableBatch, should_step: bool
    ) -> None:
        """Move the learning rate and λ along, and keep frozen what is."""
        super().on_fit_batch_start(batch, should_step)
        for part in self.frozen:
            part.eval()
        epoch = self.hparams.epoch_counter.current
        self.rate_schedule.advance(epoch, self.step)
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
            ckpt_predicate=lambda one: ramped(one, min_key),
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
