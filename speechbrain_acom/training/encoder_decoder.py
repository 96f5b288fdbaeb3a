"""Speech recognition with CTC and an attention decoder together."""

from typing import Any

import speechbrain as sb
import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.settings import (
    check_integer,
    check_probability,
)
from speechbrain_acom.splits import SplitResult
from speechbrain_acom.training.ctc import CTCBrain, ctc_cost


class EncoderDecoderBrain(CTCBrain):
    """Trains a cut encoder and the decoder behind it with both their losses.

    ``ctc_weight`` times the loss of :class:`CTCBrain` and the rest of one
    times the divergence from the right next token, label smoothing included,
    as SpeechBrain's recipes have it; both are sums over an utterance and means
    over a batch. Errors are those of ``valid_search`` in validation and of
    ``test_search`` in the test.

    Beside what :class:`CTCBrain` needs, the hyperparameters need these three,
    ``test_beam_size``, ``label_smoothing`` and ``pad_index``; a batch has
    ``tokens_bos`` and ``tokens_eos``.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.core.Brain``.

    Raises
    ------
    ConfigurationError
        If ``ctc_weight`` is not in [0, 1], ``test_beam_size`` below 1, or if
        the continuous model's answers are to be learned: its states can be.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_probability("ctc_weight", self.hparams.ctc_weight)
        check_integer("test_beam_size", self.hparams.test_beam_size, 1)
        if self.distillation.logits_weight > 0:
            raise ConfigurationError(
                "distillation_weight",
                self.distillation.logits_weight,
                "0 with an attention decoder: distillation_features_weight "
                "teaches the encoder's states",
            )

    def task_loss(self, result: SplitResult, batch: Any) -> Tensor:
        """CTC and attention, weighted."""
        decoder, weight = self.split.text_decoder, self.hparams.ctc_weight
        right, lengths = batch.tokens_eos
        by_ctc = ctc_cost(
            decoder.ctc_head(result.output),
            result.lengths,
            *batch.tokens,
            self.hparams.blank_index,
        )
        said = decoder(
            result.output,
            result.lengths,
            batch.tokens_bos[0],
            self.hparams.pad_index,
        )
        by_attention = sb.nnet.losses.kldiv_loss(
            said.float().log_softmax(dim=-1),
            right,
            length=lengths,
            label_smoothing=self.hparams.label_smoothing,
            pad_idx=self.hparams.pad_index,
            reduction="batchmean",
        )
        return weight * by_ctc + (1.0 - weight) * by_attention

    @torch.no_grad()
    def recognized(self, result: SplitResult) -> list[list[int]]:
        """Tokens of every utterance of a batch, as the stage searches."""
        hypotheses, *_ = self.search(result.output, result.lengths)
        return hypotheses

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start counting anew, with the stage's search."""
        super().on_stage_start(stage, epoch)
        test = stage == sb.Stage.TEST
        self.search = (
            self.hparams.test_search if test else self.hparams.valid_search
        )
