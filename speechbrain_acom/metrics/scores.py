"""How right the answers of a model are, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from speechbrain.utils.metric_stats import ErrorRateStats

from speechbrain_acom.metrics.bootstrap import Interval, ratio_interval


@dataclass(frozen=True)
class Counted:
    """What one metric counts of every utterance of a test set.

    Arguments
    ---------
    counts : np.ndarray
        Wrong words or characters, or 1 for a right label, shape (utterance,).
    units : np.ndarray
        Words or characters that there are, or 1, shape (utterance,).
    """

    counts: np.ndarray
    units: np.ndarray

    @property
    def percent(self) -> float:
        """The metric, pooled over all utterances."""
        return float(100.0 * self.counts.sum() / max(self.units.sum(), 1))

    def interval(self, groups: Sequence[str] | None = None) -> Interval:
        """The metric in percent, and its 95 % bootstrap interval.

        Arguments
        ---------
        groups : Sequence[str] | None
            As for :func:`~speechbrain_acom.metrics.bootstrap.ratio_interval`.

        Returns
        -------
        Interval
            In percent.

        Raises
        ------
        DataError
            If there are no utterances, or nothing to get right.
        """
        return ratio_interval(100.0 * self.counts, self.units, groups)


def transcript_counts(
    targets: Sequence[str], answers: Sequence[str]
) -> dict[str, Counted]:
    """Wrong words and characters of every utterance.

    Arguments
    ---------
    targets : Sequence[str]
        The right transcripts.
    answers : Sequence[str]
        The recognised ones, in the same order.

    Returns
    -------
    dict[str, Counted]
        ``wer_percent`` and ``cer_percent``.

    Example
    -------
    >>> counted = transcript_counts(["ONE TWO", "SIX"], ["ONE TO", "SIX"])
    >>> counted["wer_percent"].counts.tolist()
    [1.0, 0.0]
    """
    words, characters = ErrorRateStats(), ErrorRateStats(split_tokens=True)
    names = [str(number) for number in range(len(targets))]
    predicted = [answer.split() for answer in answers]
    wanted = [target.split() for target in targets]
    for stats in (words, characters):
        stats.append(names, predicted, wanted)
    return {
        "wer_percent": counted_errors(words),
        "cer_percent": counted_errors(characters),
    }


def counted_errors(stats: ErrorRateStats) -> Counted:
    """What SpeechBrain's statistics have counted, in the order it came."""
    return Counted(
        np.array([score["num_edits"] for score in stats.scores], float),
        np.array([score["num_ref_tokens"] for score in stats.scores], float),
    )


def label_counts(
    targets: Sequence[str], answers: Sequence[str]
) -> dict[str, Counted]:
    """Which clips are given the right label.

    Arguments
    ---------
    targets : Sequence[str]
        The right labels.
    answers : Sequence[str]
        The recognised ones, in the same order.

    Returns
    -------
    dict[str, Counted]
        ``accuracy_percent``.
    """
    right = np.array(list(map(str.__eq__, targets, answers)), float)
    return {"accuracy_percent": Counted(right, np.ones_like(right))}


def percents(counted: Mapping[str, Counted]) -> dict[str, float]:
    """Every metric, pooled, as columns of a results row."""
    return {name: one.percent for name, one in counted.items()}


def interval_columns(
    counted: Mapping[str, Counted], groups: Sequence[str] | None = None
) -> dict[str, float]:
    """Ends of the 95 % intervals, as columns of a results row.

    Arguments
    ---------
    counted : Mapping[str, Counted]
        By metric.
    groups : Sequence[str] | None
        As for :meth:`Counted.interval`.

    Returns
    -------
    dict[str, float]
        ``<metric>_low`` and ``<metric>_high``.

    Example
    -------
    >>> interval_columns(label_counts(["dog"] * 9, ["dog"] * 9))
    {'accuracy_percent_low': 100.0, 'accuracy_percent_high': 100.0}
    """
    columns = {}
    for name, one in counted.items():
        interval = one.interval(groups)
        columns[f"{name}_low"] = interval.low
        columns[f"{name}_high"] = interval.high
    return columns


def word_errors(
    targets: Sequence[str], answers: Sequence[str]
) -> dict[str, float]:
    """Word and character error rate, pooled over all utterances.

    Arguments
    ---------
    targets, answers : Sequence[str]
        As for :func:`transcript_counts`.

    Returns
    -------
    dict[str, float]
        ``wer_percent`` and ``cer_percent``, as columns of a results row.

    Example
    -------
    >>> word_errors(["ONE TWO", "SIX"], ["ONE TO", "SIX"])["cer_percent"]
    10.0
    """
    return percents(transcript_counts(targets, answers))


def class_accuracy(
    targets: Sequence[str], answers: Sequence[str]
) -> dict[str, float]:
    """Share of clips that are given the right label.

    Arguments
    ---------
    targets, answers : Sequence[str]
        As for :func:`label_counts`.

    Returns
    -------
    dict[str, float]
        ``accuracy_percent``, as a column of a results row.

    Example
    -------
    >>> class_accuracy(["dog", "siren"], ["dog", "drill"])
    {'accuracy_percent': 50.0}
    """
    return percents(label_counts(targets, answers))
