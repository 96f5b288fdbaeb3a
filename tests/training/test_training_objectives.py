import pytest
import speechbrain as sb
import torch
from training_helpers import (
    RVQ,
    PoolingCloud,
    batch_of,
    brain_in,
    dataset_of,
)

from speechbrain_acom.dataio import ReadableBatch
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import Bypass
from speechbrain_acom.training import ClassificationBrain, CTCBrain

TRAIN, VALID = sb.Stage.TRAIN, sb.Stage.VALID
BLANK = 0


class Letters:
    """Tokens 1, 2, 3 are A, space and B; 0 is the blank."""

    def get_piece_size(self):
        return 4

    def decode_ids(self, tokens):
        return "".join("?A B"[token] for token in tokens)


def objectives(brain, dataset, stage):
    return objectives_of(brain, batch_of(dataset), stage)


def objectives_of(brain, batch, stage):
    brain.on_stage_start(stage)
    brain.modules.train(stage == TRAIN)
    result = brain.compute_forward(batch, stage)
    loss = brain.compute_objectives(result, batch, stage)
    return loss, brain.task_loss(result, batch), result.bottleneck


def test_loss_is_task_plus_beta_times_every_quantizer_loss(tmp_path):
    brain = brain_in(tmp_path, beta=0.3)
    loss, task, coded = objectives(brain, dataset_of([5, 3]), TRAIN)
    assert set(coded.losses) == {"codebook", "commitment"}
    quantizer = sum(coded.losses.values())
    assert quantizer > 1e-3
    torch.testing.assert_close(loss, task + 0.3 * quantizer)


def test_without_beta_the_task_loss_is_left(tmp_path):
    brain = brain_in(tmp_path, beta=0.0)
    loss, task, coded = objectives(brain, dataset_of([5, 3]), TRAIN)
    assert coded.loss > 0
    assert loss == task


def test_bypass_has_no_loss_of_its_own(tmp_path):
    brain = brain_in(tmp_path, quantizer=Bypass, beta=100.0)
    loss, task, coded = objectives(brain, dataset_of([5, 3]), TRAIN)
    assert not coded.losses
    assert loss == task


def test_every_part_of_the_loss_is_logged(tmp_path):
    brain = brain_in(tmp_path)
    _, task, coded = objectives(brain, dataset_of([5, 3]), TRAIN)
    means = brain.means.values()
    assert set(means) == {"task_loss", *coded.losses, *coded.statistics}
    torch.testing.assert_close(means["task_loss"], task.item())


def test_codebooks_and_both_halves_are_moved_by_the_loss(tmp_path):
    brain = brain_in(tmp_path)
    loss, _, _ = objectives(brain, dataset_of([5, 3]), TRAIN)
    loss.backward()
    for name, parameter in brain.split.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_augmentation_is_for_training_only(tmp_path):
    def silence(features, lengths):
        return features * 0, lengths

    brain = brain_in(tmp_path, augmentation=silence)
    trained = objectives(brain, dataset_of([5, 5]), TRAIN)[2]
    tested = objectives(brain, dataset_of([5, 5]), VALID)[2]
    assert len(trained.codes.unique()) == 1
    assert len(tested.codes.unique()) > 1


def ctc_brain(folder, valid_metric="wer_percent", **options):
    return brain_in(
        folder,
        kind=CTCBrain,
        tokenizer=Letters(),
        blank_index=BLANK,
        valid_metric=valid_metric,
        **options,
    )


def ctc_data(counts):
    return dataset_of(
        counts,
        tokens=[torch.tensor([1, 2, 3])] * len(counts),
        words=["A B"] * len(counts),
    )


def test_ctc_loss_of_a_batch_is_the_mean_over_its_utterances(tmp_path):
    brain = ctc_brain(tmp_path, outputs=4, quantizer=Bypass)
    data = ctc_data([9, 5])
    objectives(brain, data, TRAIN)  # the normalizer's statistics
    _, together, _ = objectives(brain, data, VALID)
    alone = [
        objectives_of(brain, ReadableBatch([data[index]]), VALID)[1]
        for index in (0, 1)
    ]
    torch.testing.assert_close(together, sum(alone) / 2)


class Saying:
    """A split's result that spells tokens, a frame each."""

    def __init__(self, tokens, outputs):
        places = torch.tensor(tokens)
        self.output = torch.nn.functional.one_hot(places, outputs).float()
        self.lengths = torch.ones(len(tokens))


def counted(brain, tokens, words, outputs=4):
    brain.reset_metrics()
    names = [str(number) for number in range(len(words))]
    batch = type("Batch", (), {"id": names, "words": words})
    brain.update_metrics(Saying(tokens, outputs), batch)
    return brain.scores()


def test_word_and_character_errors_are_pooled_in_percent(tmp_path):
    brain = ctc_brain(tmp_path)
    tokens = [[1, 2, 3, 0], [1, 1, 0, 1]]
    scores = counted(brain, tokens, ["A B", "AB"])
    assert scores["wer_percent"] == brain.metric_value() == 100 / 3
    assert scores["cer_percent"] == 20.0
    assert brain.metric_name() == "wer_percent"


def test_characters_may_choose(tmp_path):
    brain = ctc_brain(tmp_path, valid_metric="cer_percent")
    scores = counted(brain, [[1, 2, 3, 0], [1, 1, 0, 1]], ["A B", "AB"])
    assert brain.metric_name() == "cer_percent"
    assert brain.metric_value() == scores["cer_percent"] == 20.0


def test_another_metric_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="valid_metric: found 'wer'"):
        ctc_brain(tmp_path, valid_metric="wer")


def test_saying_nothing_is_a_deletion_of_every_word(tmp_path):
    scores = counted(ctc_brain(tmp_path), [[0, 0, 0]], ["A B"])
    assert scores == {"wer_percent": 100.0, "cer_percent": 100.0}


def sound_brain(folder):
    cost = sb.nnet.losses.LogSoftmaxWrapper(
        sb.nnet.losses.AdditiveAngularMargin(margin=0.0, scale=1.0)
    )
    return brain_in(
        folder,
        kind=ClassificationBrain,
        cloud=PoolingCloud,
        compute_cost=cost,
        quantizer=RVQ,
    )


def test_classification_is_trained_with_the_cost_given(tmp_path):
    brain = sound_brain(tmp_path)
    data = dataset_of([4, 4], label_encoded=[torch.tensor([0])] * 2)
    _, task, _ = objectives(brain, data, TRAIN)
    brain.on_stage_start(TRAIN)
    result = brain.compute_forward(batch_of(data), TRAIN)
    expected = -result.output[:, 0].log_softmax(dim=-1)[:, 0].mean()
    torch.testing.assert_close(task, expected, atol=1e-3, rtol=1e-3)


def test_errors_of_a_classifier_are_counted_over_batches(tmp_path):
    brain = sound_brain(tmp_path)
    brain.reset_metrics()
    for predicted, wanted in (([0, 1], [0, 2]), ([2, 2], [2, 2])):
        result = Saying([[index] for index in predicted], 3)
        labels = torch.tensor(wanted).unsqueeze(1)
        padded = type("Padded", (), {"data": labels})
        batch = {"label_encoded": padded, "id": [str(n) for n in wanted]}
        brain.update_metrics(result, type("Batch", (), batch))
    assert brain.metric_name() == "error_percent"
    assert brain.metric_value() == 25.0
    assert brain.scores() == {"accuracy_percent": 75.0}
    assert brain.counted_names() == ["0", "2", "2", "2"]
    [counted] = brain.counted().values()
    assert counted.counts.tolist() == [1, 0, 1, 1]
    assert counted.percent == 75.0
