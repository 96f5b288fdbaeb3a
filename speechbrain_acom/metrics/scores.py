"""How right the answers of a model are."""

from collections.abc import Sequence

from speechbrain.utils.metric_stats import ErrorRateStats


def word_errors(
    targets: Sequence[str], answers: Sequence[str]
) -> dict[str, float]:
    """Word and character error rate, pooled over all utterances.

    Arguments
    ---------
    targets : Sequence[str]
        The right transcripts.
    answers : Sequence[str]
        The recognised ones, in the same order.

    Returns
    -------
    dict[str, float]
        ``wer_percent`` and ``cer_percent``, as columns of a results row.

    Example
    -------
    >>> word_errors(["ONE TWO", "SIX"], ["ONE TO", "SIX"])["cer_percent"]
    10.0
    """
    words, characters = ErrorRateStats(), ErrorRateStats(split_tokens=True)
    names = [str(number) for number in range(len(targets))]
    predicted = [answer.split() for answer in answers]
    wanted = [target.split() for target in targets]
    for stats in (words, characters):
        stats.append(names, predicted, wanted)
    return {
        "wer_percent": float(words.summarize("error_rate")),
        "cer_percent": float(characters.summarize("error_rate")),
    }


def class_accuracy(
    targets: Sequence[str], answers: Sequence[str]
) -> dict[str, float]:
    """Share of clips that are given the right label.

    Arguments
    ---------
    targets : Sequence[str]
        The right labels.
    answers : Sequence[str]
        The recognised ones, in the same order.

    Returns
    -------
    dict[str, float]
        ``accuracy_percent``, as a column of a results row.

    Example
    -------
    >>> class_accuracy(["dog", "siren"], ["dog", "drill"])
    {'accuracy_percent': 50.0}
    """
    right = sum(map(str.__eq__, targets, answers))
    return {"accuracy_percent": 100.0 * right / max(len(targets), 1)}
