"""The line that a batch walks in training: audio, features, split."""

from collections.abc import Callable
from typing import Any

import speechbrain as sb
import torch
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.dataio import ReadableBatch
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.features import features_of
from speechbrain_acom.splits import CutFrames, Split, SplitResult
from speechbrain_acom.training.distillation import Distillation
from speechbrain_acom.training.rate_learning import RateLearningBrain
from speechbrain_acom.training.teacher import Lesson, Teacher


class LineBrain(RateLearningBrain):
    """A Brain that walks a :class:`Split`, and a teacher where there is one.

    The hyperparameters need ``modules`` with ``normalize`` and ``split``,
    ``compute_features``, ``signal_augmentation`` and ``augmentation`` (of
    audio and of features; each a callable or None), ``distillation_weight``,
    ``distillation_features_weight``, and ``epoch_counter``.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.core.Brain``.

    Raises
    ------
    ConfigurationError
        If an augmentation cannot be called.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # DDP wraps what stands in `modules`; this stays the bare module.
        self.split: Split = self.modules.split
        # Not a module of the brain: nothing trains, saves or wraps it.
        self.teacher: Teacher | None = None
        self.lesson: Lesson | None = None
        self.distillation = Distillation(
            self.hparams.distillation_weight,
            self.hparams.distillation_features_weight,
        )
        for key in ("signal_augmentation", "augmentation"):
            augment = getattr(self.hparams, key)
            if augment is not None and not callable(augment):
                raise ConfigurationError(
                    key, augment, "null or a file of hparams/augmentations"
                )
        # Whether batches hold what the device half gave, instead of audio.
        self.at_cut = False
        if isinstance(self.hparams.compute_features, torch.nn.Module):
            self.hparams.compute_features.to(self.device)

    @property
    def bottleneck(self) -> Bottleneck:
        """The module that stands in the cut."""
        return self.split.bottleneck

    def features(
        self,
        batch: ReadableBatch,
        epoch: int | None,
        augment: Callable[..., tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Normalised features of a batch.

        Arguments
        ---------
        batch : ReadableBatch
            With ``sig``.
        epoch : int | None
            For the normalisation, which learns in the first ones.
        augment : Callable | None
            What changes the audio, (batch, sample), and its lengths.

        Returns
        -------
        tuple[Tensor, Tensor]
            Shape (batch, time, channel), and relative lengths (batch,).

        Raises
        ------
        ConfigurationError
            If ``augment`` gives more or fewer utterances than it was given.
        """
        signals, lengths = batch.to(self.device).sig
        if augment is not None:
            signals, lengths = augment(signals, lengths)
            _check_batch("signal_augmentation", len(signals), len(batch))
        features = features_of(self.hparams.compute_features, signals, lengths)
        return self.modules.normalize(features, lengths, epoch=epoch), lengths

    def cut_of(self, batch: ReadableBatch, epoch: int | None) -> CutFrames:
        """What the device half gives, or has given when it was cached."""
        if self.at_cut:
            return CutFrames(*batch.to(self.device).cut)
        return self.split.device(*self.features(batch, epoch))

    def compute_forward(
        self, batch: ReadableBatch, stage: sb.Stage
    ) -> SplitResult:
        """Walk the whole line on one batch."""
        epoch = self.hparams.epoch_counter.current
        self.lesson = None
        if self.at_cut:
            cut = self.cut_of(batch, epoch)
            return self.modules.split(cut, cut.lengths)
        if stage == sb.Stage.TRAIN:
            augment = self.hparams.signal_augmentation
            features, lengths = self.features(batch, epoch, augment)
            if self.hparams.augmentation is not None:
                features, lengths = self.hparams.augmentation(features, lengths)
                _check_batch("augmentation", len(features), len(batch))
        else:
            features, lengths = self.features(batch, epoch)
        if self.teacher is None or stage == sb.Stage.TEST:
            return self.modules.split(features, lengths)
        self.lesson = self.teacher(features, lengths)
        taught = self.bottleneck.quantizer.taught
        return self.modules.split(
            features,
            lengths,
            self.lesson.hidden if taught else None,
            with_hidden=self.distillation.features_weight > 0,
        )


def _check_batch(key: str, found: int, expected: int) -> None:
    """Raise if an augmentation changed the number of utterances."""
    if found != expected:
        raise ConfigurationError(
            key,
            f"{found} utterances of {expected}",
            "as many: concat_original and parallel_augment False, "
            "repeat_augment 1",
        )
