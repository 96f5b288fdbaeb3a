"""CTC and attention in one loss, and a search a stage."""

from types import SimpleNamespace

import pytest
import speechbrain as sb
import torch
from training_helpers import CHANNELS, brain_in

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.training import EncoderDecoderBrain
from speechbrain_acom.training.ctc import ctc_cost

VOCABULARY = 6
TOKENS = torch.tensor([[3, 4, 5], [5, 3, 0]])
SHARES = torch.tensor([1.0, 2 / 3])
BOS = torch.tensor([[1, 3, 4, 5], [1, 5, 3, 0]])
EOS = torch.tensor([[3, 4, 5, 2], [5, 3, 2, 0]])
WITH_END = torch.tensor([1.0, 3 / 4])


class TinyDecoder(torch.nn.Module):
    """Says the next token by the mean of the states and the token before."""

    def __init__(self):
        super().__init__()
        self.ctc_head = torch.nn.Linear(CHANNELS, VOCABULARY)
        self.embedding = torch.nn.Embedding(VOCABULARY, CHANNELS)
        self.sequence_head = torch.nn.Linear(CHANNELS, VOCABULARY)

    def forward(self, states, lengths, tokens, pad_index):
        mean = states.mean(dim=1, keepdim=True)
        return self.sequence_head(self.embedding(tokens) + mean)


def brain_of(folder, **changes):
    settings = {
        "ctc_weight": 0.3,
        "label_smoothing": 0.1,
        "blank_index": 0,
        "pad_index": 0,
        "valid_metric": "wer_percent",
        "test_beam_size": 4,
        "valid_search": lambda states, lengths: ([[3]] * len(states), 0),
        "test_search": lambda states, lengths: ([[4]] * len(states), 0),
    }
    brain = brain_in(folder, EncoderDecoderBrain, **(settings | changes))
    torch.manual_seed(0)
    brain.split.text_decoder = TinyDecoder()
    return brain


@pytest.fixture
def result():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 9, CHANNELS, generator=generator)
    return SimpleNamespace(output=states, lengths=torch.tensor([1.0, 0.7]))


BATCH = SimpleNamespace(
    tokens=(TOKENS, SHARES),
    tokens_bos=(BOS, WITH_END),
    tokens_eos=(EOS, WITH_END),
)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_loss_is_ctc_and_divergence_weighted(tmp_path, result, weight):
    brain = brain_of(tmp_path, ctc_weight=weight)
    decoder = brain.split.text_decoder
    ctc = ctc_cost(
        decoder.ctc_head(result.output), result.lengths, TOKENS, SHARES, 0
    )
    said = decoder(result.output, None, BOS, 0).log_softmax(-1)
    # Of what is right 0.9, of all else the rest; padding says nothing.
    wanted = torch.full_like(said, 0.1 / (VOCABULARY - 1))
    wanted.scatter_(2, EOS.unsqueeze(2), 0.9)
    parts = (wanted * (wanted.log() - said)).sum(-1) * (EOS != 0)
    expected = weight * ctc + (1 - weight) * parts.sum() / 2
    torch.testing.assert_close(brain.task_loss(result, BATCH), expected)


def test_every_weight_gets_a_gradient(tmp_path, result):
    brain = brain_of(tmp_path)
    brain.task_loss(result, BATCH).backward()
    for weight in brain.split.text_decoder.parameters():
        assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("stage", "token"), [(sb.Stage.VALID, 3), (sb.Stage.TEST, 4)]
)
def test_each_stage_has_its_search(tmp_path, result, stage, token):
    brain = brain_of(tmp_path)
    brain.on_stage_start(stage)
    assert brain.recognized(result) == [[token], [token]]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ctc_weight", -0.1),
        ("ctc_weight", 1.1),
        ("ctc_weight", "abc"),
        ("test_beam_size", 0),
        ("distillation_weight", 1.0),
    ],
)
def test_settings_out_of_range_are_named(tmp_path, key, value):
    with pytest.raises(ConfigurationError) as caught:
        brain_of(tmp_path, **{key: value})
    assert caught.value.key == key
