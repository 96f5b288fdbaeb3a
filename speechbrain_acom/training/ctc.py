"""Speech recognition with connectionist temporal classification (CTC)."""

from typing import Any

import speechbrain as sb
from torch import Tensor

from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.metrics.scores import Counted, counted_errors
from speechbrain_acom.quantizers.settings import check_choice
from speechbrain_acom.splits import SplitResult
from speechbrain_acom.training.brain import AcomBrain
from speechbrain_acom.vocabulary import tokens_to_text

# What checkpoints may be chosen by.
METRICS = ("wer_percent", "cer_percent")


def ctc_cost(
    output: Tensor,
    lengths: Tensor,
    tokens: Tensor,
    token_lengths: Tensor,
    blank_index: int,
) -> Tensor:
    """CTC loss per utterance, in nats, mean over the batch.

    Arguments
    ---------
    output : Tensor
        What the head gives, shape (batch, frame, token).
    lengths : Tensor
        Relative lengths of the output, shape (batch,).
    tokens : Tensor
        The right answers, int64, shape (batch, token), padded.
    token_lengths : Tensor
        Their relative lengths, shape (batch,).
    blank_index : int
        Number of the blank.

    Returns
    -------
    Tensor
        A scalar.

    Example
    -------
    >>> import torch
    >>> output, whole = torch.zeros(1, 2, 4), torch.ones(1)
    >>> # Three of sixteen paths through two frames give the token.
    >>> ctc_cost(output, whole, torch.tensor([[3]]), whole, 0).exp()
    tensor(5.3333)
    """
    return sb.nnet.losses.ctc_loss(
        output.float().log_softmax(dim=-1),
        tokens,
        lengths,
        token_lengths,
        blank_index,
        reduction="batchmean",
    )


class CTCBrain(AcomBrain):
    """Trains a cut recogniser with CTC and reports word and character errors.

    Beside what :class:`AcomBrain` needs, the hyperparameters need
    ``tokenizer`` (a SentencePiece processor), ``blank_index`` and
    ``valid_metric``, which is "wer_percent" or "cer_percent"; a batch has
    ``tokens`` and ``words``.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.core.Brain``.

    Raises
    ------
    ConfigurationError
        If ``valid_metric`` is neither.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_choice("valid_metric", self.metric_name(), METRICS)

    def task_loss(self, result: SplitResult, batch: Any) -> Tensor:
        """As :func:`ctc_cost`."""
        return ctc_cost(
            result.output,
            result.lengths,
            *batch.tokens,
            self.hparams.blank_index,
        )

    def log_probabilities(self, output: Tensor, lengths: Tensor) -> Tensor:
        """Those of the tokens, in every real frame."""
        real = output[frame_mask(lengths, output)]
        return real.float().log_softmax(dim=-1)

    def reset_metrics(self) -> None:
        """Forget the errors counted so far."""
        self.words = sb.utils.metric_stats.ErrorRateStats()
        self.characters = sb.utils.metric_stats.ErrorRateStats(
            split_tokens=True
        )

    def recognized(self, result: SplitResult) -> list[list[int]]:
        """Tokens of every utterance of a batch, decoded greedily."""
        return sb.decoders.ctc_greedy_decode(
            result.output, result.lengths, self.hparams.blank_index
        )

    def update_metrics(self, result: SplitResult, batch: Any) -> None:
        """Count the errors of a batch."""
        predicted = [
            tokens_to_text(self.hparams.tokenizer, sequence).split()
            for sequence in self.recognized(result)
        ]
        target = [words.split() for words in batch.words]
        self.words.append(batch.id, predicted, target)
        self.characters.append(batch.id, predicted, target)

    def metric_name(self) -> str:
        """Word or character error rate, as the recipe says."""
        return self.hparams.valid_metric

    def metric_value(self) -> float:
        """That error rate in percent, pooled over the stage."""
        return self.scores()[self.metric_name()]

    def counted(self) -> dict[str, Counted]:
        """Wrong words and characters of every utterance of the stage."""
        return {
            "wer_percent": counted_errors(self.words),
            "cer_percent": counted_errors(self.characters),
        }

    def counted_names(self) -> list[str]:
        """IDs of these utterances."""
        return list(self.words.ids)

    def scores(self) -> dict[str, float]:
        """Word and character error rates in percent."""
        return {
            "wer_percent": float(self.words.summarize("error_rate")),
            "cer_percent": float(self.characters.summarize("error_rate")),
        }
