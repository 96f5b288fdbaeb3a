"""How right answers are, utterance by utterance, and how sure that is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_acom.errors import DataError
from speechbrain_acom.metrics.scores import (
    Counted,
    class_accuracy,
    interval_columns,
    label_counts,
    percents,
    transcript_counts,
    word_errors,
)


def test_words_and_characters_of_every_utterance_are_counted():
    counted = transcript_counts(
        ["ONE TWO", "SIX", "TEN"], ["ONE", "SIX", "TEN TEN"]
    )
    words, characters = counted["wer_percent"], counted["cer_percent"]
    assert words.counts.tolist() == [1, 0, 1]
    assert words.units.tolist() == [2, 1, 1]
    assert characters.units.tolist() == [7, 3, 3]


def test_pooled_figures_are_those_of_all_utterances():
    targets, answers = ["ONE TWO", "SIX"], ["ONE TO", "NINE"]
    counted = transcript_counts(targets, answers)
    assert percents(counted) == word_errors(targets, answers)
    assert counted["wer_percent"].percent == pytest.approx(200 / 3)
    labels = label_counts(["dog", "cat"], ["dog", "dog"])
    assert percents(labels) == class_accuracy(["dog", "cat"], ["dog", "dog"])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1))
def test_an_interval_holds_the_figure(pairs):
    counts, units = np.array(pairs, float).T
    interval = Counted(counts, units).interval()
    assert interval.low <= interval.value + 1e-9
    assert interval.value <= interval.high + 1e-9
    assert interval.value == pytest.approx(Counted(counts, units).percent)


def test_groups_that_belong_together_are_less_evidence():
    right = np.array([1.0, 0.0] * 20)
    counted = {"accuracy_percent": Counted(right, np.ones(40))}
    alone = interval_columns(counted)
    groups = [str(number % 2 + number // 20 * 2) for number in range(40)]
    together = interval_columns(counted, groups)
    assert together["accuracy_percent_low"] < alone["accuracy_percent_low"]
    assert together["accuracy_percent_high"] > alone["accuracy_percent_high"]


def test_nothing_to_get_right_has_no_interval():
    empty = Counted(np.zeros(0), np.zeros(0))
    assert empty.percent == 0.0
    with pytest.raises(DataError):
        empty.interval()
