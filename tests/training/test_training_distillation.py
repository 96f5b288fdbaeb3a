"""What the continuous model teaches the quantized one."""

from functools import partial

import pytest
import speechbrain as sb
import torch
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN, Classifier
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from training_helpers import (
    CHANNELS,
    RVQ,
    FramewiseCloud,
    PoolingCloud,
    batch_of,
    brain_in,
    dataset_of,
    evaluate_on,
    fit,
)

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import Bypass
from speechbrain_acom.splits import (
    Cnn14Split,
    ConformerSplit,
    CutFrames,
    EcapaSplit,
    SequentialSplit,
    SlimCnn14,
)
from speechbrain_acom.training import ClassificationBrain, CTCBrain
from speechbrain_acom.training.distillation import (
    Distillation,
    divergence,
    relative_difference,
)
from speechbrain_acom.training.teacher import Teacher

VALID = sb.Stage.VALID
LENGTHS = torch.tensor([1.0, 0.5])
BYPASS = partial(Bottleneck, quantizer=Bypass)
WEIGHTS = {"distillation_weight": 0.5, "distillation_features_weight": 2.0}


class HiddenCloud(FramewiseCloud):
    """A layer before the head."""

    hidden_channels = 5

    def __init__(self, outputs):
        super().__init__(outputs)
        self.layer = torch.nn.Linear(CHANNELS, self.hidden_channels)
        self.head = torch.nn.Linear(self.hidden_channels, outputs)

    def forward(self, values, lengths):
        return self.head(self.layer(values))

    def hidden(self, values, lengths):
        return CutFrames(self.layer(values), lengths)


class DistilledBrain(CTCBrain):
    """A recogniser whose task is easy."""

    def task_loss(self, result, batch):
        return result.output.square().mean()

    def reset_metrics(self):
        pass

    def update_metrics(self, result, batch):
        pass

    def metric_value(self):
        return 50.0


def distilled_brain(folder, **options):
    defaults = {
        "kind": DistilledBrain,
        "cloud": HiddenCloud,
        "pretrained_path": "export",
        "valid_metric": "wer_percent",
        **WEIGHTS,
    }
    return brain_in(folder, **{**defaults, **options})


def objectives(brain, stage=VALID, **columns):
    """Loss and means of one batch, the second clip of which is short."""
    brain.teacher = brain.teacher or Teacher(brain.split)
    brain.modules.eval()
    brain.modules.normalize.train()  # it has no statistics yet
    brain.on_stage_start(stage)
    batch = batch_of(dataset_of([6, 3], **columns))
    result = brain.compute_forward(batch, stage)
    return brain.compute_objectives(result, batch, stage), brain.means.values()


def test_equal_answers_have_no_divergence():
    answers = torch.randn(7, 5).log_softmax(-1)
    assert divergence(answers, answers) == 0
    assert divergence(torch.randn(7, 5).log_softmax(-1), answers) > 0
    assert divergence(answers[:0], answers[:0]) == 0


def test_divergence_is_that_of_torch():
    first, second = torch.randn(2, 7, 5).log_softmax(-1)
    expected = torch.nn.functional.kl_div(
        first, second, reduction="batchmean", log_target=True
    )
    torch.testing.assert_close(divergence(first, second), expected)


def test_difference_of_features_is_relative_and_of_real_frames():
    values = torch.randn(2, 4, 3)
    noise = values.clone()
    noise[1, 2:] = 1000.0
    targets = CutFrames(values, LENGTHS)
    assert relative_difference(CutFrames(noise, LENGTHS), targets) == 0
    silent = CutFrames(torch.zeros(2, 4, 3), LENGTHS)
    assert relative_difference(silent, targets) == 1
    half = relative_difference(CutFrames(values / 2, LENGTHS), targets)
    louder = relative_difference(
        CutFrames(values * 50, LENGTHS), CutFrames(values * 100, LENGTHS)
    )
    torch.testing.assert_close(half, torch.tensor(0.25))
    torch.testing.assert_close(louder, half)
    assert relative_difference(silent, silent) == 0


def test_the_continuous_model_has_nothing_to_learn_from_itself(tmp_path):
    _, means = objectives(distilled_brain(tmp_path, quantizer=Bypass))
    assert means["distillation_logits"] == pytest.approx(0.0, abs=1e-6)
    assert means["distillation_features"] == 0


def test_losses_are_added_with_their_weights(tmp_path):
    brain = distilled_brain(tmp_path, beta=0.0, quantizer=RVQ)
    loss, means = objectives(brain)
    logits, features = (
        means[f"distillation_{name}"] for name in ("logits", "features")
    )
    assert logits > 0 and features > 0
    expected = means["task_loss"] + 0.5 * logits + 2.0 * features
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_only_real_frames_of_a_transcript_count(tmp_path):
    brain = distilled_brain(tmp_path)
    output = torch.randn(2, 4, 3)
    real = brain.log_probabilities(output, LENGTHS)
    assert real.shape == (4 + 2, 3)
    torch.testing.assert_close(real[-1], output[1, 1].log_softmax(-1))


def test_answers_of_a_classifier_are_its_scaled_scores(tmp_path):
    brain = brain_in(
        tmp_path, kind=ClassificationBrain, cloud=PoolingCloud, score_scale=30
    )
    cosines = torch.tensor([[[0.1, 0.2, 0.3]], [[0.3, 0.0, 0.3]]])
    answers = brain.log_probabilities(cosines, LENGTHS)
    expected = (30 * cosines[:, 0]).log_softmax(-1)
    torch.testing.assert_close(answers, expected)


def test_a_classifier_is_distilled_too(tmp_path):
    brain = brain_in(
        tmp_path,
        kind=ClassificationBrain,
        cloud=PoolingCloud,
        score_scale=30,
        compute_cost=lambda scores, labels: scores.square().mean(),
        distillation_weight=1.0,
    )
    labels = [torch.tensor([0]), torch.tensor([1])]
    loss, means = objectives(brain, label_encoded=labels)
    assert means["distillation_logits"] > 0
    assert loss > means["task_loss"]


def test_training_goes_on_after_being_resumed_and_saves_no_teacher(tmp_path):
    data = dataset_of([5] * 6)
    first = fit(distilled_brain(tmp_path), data)
    start = {k: v.clone() for k, v in first.teacher.halves.state_dict().items()}
    second = fit(distilled_brain(tmp_path, epochs=2), data)
    for name, value in second.teacher.halves.state_dict().items():
        assert torch.equal(value, start[name]), name
    for brain in (first, second):
        for stats in brain.hparams.train_logger.epochs[0][1:]:
            assert stats["distillation_logits"] > 0
            assert stats["distillation_features"] > 0
    checkpoint = second.checkpointer.find_checkpoint()
    saved = torch.load(checkpoint.paramfiles["split"])
    assert saved.keys() == second.split.state_dict().keys()
    evaluate_on(second, dataset_of([5, 3]))
    [tested] = second.hparams.train_logger.tests
    assert "distillation_logits" not in tested


def test_without_weights_there_is_no_teacher(tmp_path):
    nothing = dict.fromkeys(WEIGHTS, 0.0)
    brain = fit(distilled_brain(tmp_path, **nothing), dataset_of([5] * 4))
    assert brain.teacher is None
    [(_, trained, _)] = brain.hparams.train_logger.epochs
    assert not any(name.startswith("distillation") for name in trained)


def test_one_weight_costs_one_loss(tmp_path):
    brain = distilled_brain(tmp_path, distillation_features_weight=0.0)
    _, means = objectives(brain)
    assert "distillation_logits" in means
    assert "distillation_features" not in means


@pytest.mark.parametrize("key", WEIGHTS)
def test_weights_below_zero_are_named(key):
    with pytest.raises(ConfigurationError, match=f"^{key}: found -1"):
        Distillation(*{**dict.fromkeys(WEIGHTS, 0.0), key: -1.0}.values())


def test_model_without_hidden_features_is_named(tmp_path):
    brain = distilled_brain(tmp_path, cloud=FramewiseCloud)
    with pytest.raises(
        ConfigurationError, match="^distillation_features_weight: found 2.0"
    ):
        fit(brain, dataset_of([5] * 4))


def conformer():
    transformer = TransformerASR(
        tgt_vocab=5,
        input_size=8,
        d_model=8,
        nhead=2,
        num_encoder_layers=2,
        num_decoder_layers=0,
        d_ffn=16,
        encoder_module="conformer",
        attention_type="RelPosMHAXL",
        normalize_before=True,
        causal=False,
    )
    head = torch.nn.Linear(8, 5)
    return ConformerSplit(torch.nn.Identity(), transformer, head, 1, BYPASS)


def ecapa(split_layer):
    model = ECAPA_TDNN(
        8,
        channels=[16, 16, 16, 16, 24],
        attention_channels=4,
        lin_neurons=6,
        res2net_scale=2,
        se_channels=4,
    )
    return EcapaSplit(model, Classifier(6, out_neurons=3), split_layer, BYPASS)


def cnn14(split_layer):
    model = SlimCnn14(mel_bins=40, emb_dim=8, width=0.0625)
    return Cnn14Split(model, torch.nn.Linear(8, 3), split_layer, BYPASS)


def sequential():
    layers = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Linear(6, 4))
    return SequentialSplit(layers, 1, BYPASS, input_size=8)


@pytest.mark.parametrize(
    ("build", "features"),
    [
        (conformer, 8),
        *((partial(ecapa, layer), 8) for layer in (0, 3, 5, 6)),
        *((partial(cnn14, layer), 40) for layer in (4, 7)),
        (sequential, 8),
    ],
)
def test_one_walk_gives_what_two_give(build, features):
    torch.manual_seed(0)
    split = build().eval()
    cut = split.device(torch.randn(2, 40, features), LENGTHS)
    with torch.no_grad():
        output, hidden = split.cloud_half.with_hidden(cut.values, cut.lengths)
        expected = split.cloud_half.hidden(cut.values, cut.lengths)
        assert torch.equal(output, split.cloud(cut.values, cut.lengths))
    assert torch.equal(hidden.values, expected.values)
    assert torch.equal(hidden.lengths, expected.lengths)
    assert hidden.values.shape[-1] == split.cloud_half.hidden_channels
