"""Containers of layers, cut after any of them."""

from functools import partial

import pytest
import torch
from speechbrain.lobes.models.CRDNN import CRDNN
from speechbrain.nnet.containers import LengthsCapableSequential, Sequential
from speechbrain.nnet.RNN import LSTM

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import Bypass, FiniteScalarQuantizer
from speechbrain_acom.quantizers.semantic import TaughtResidualVectorQuantizer
from speechbrain_acom.splits import (
    FilterBankEncoder,
    SequentialSplit,
    check_no_leak,
)
from speechbrain_acom.training.teacher import Teacher

BYPASS = partial(Bottleneck, quantizer=Bypass)
CODED = partial(Bottleneck, quantizer=FiniteScalarQuantizer)
FEATURES = torch.randn(2, 31, 40, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([1.0, 0.6])


def crdnn(**changes):
    options = {
        "cnn_channels": [4, 8],
        "time_pooling": True,
        "rnn_layers": 1,
        "rnn_neurons": 6,
        "dnn_neurons": 12,
    }
    return CRDNN(input_size=40, **(options | changes))


def lengths_capable():
    torch.manual_seed(0)
    return LengthsCapableSequential(
        first=torch.nn.Linear(40, 8),
        recurrent=LSTM(hidden_size=6, input_size=8, bidirectional=True),
        last=torch.nn.Linear(12, 5),
        input_shape=[None, None, 40],
    )


def shared_activation():
    activation = torch.nn.ReLU()
    return torch.nn.Sequential(
        torch.nn.Linear(40, 8), activation, torch.nn.Linear(8, 6), activation
    )


@pytest.mark.parametrize("split_layer", range(5))
def test_bypassed_crdnn_is_the_model(split_layer):
    model = crdnn().eval()
    split = SequentialSplit(model, split_layer, BYPASS).eval()
    assert torch.equal(split(FEATURES, LENGTHS).output, model(FEATURES))


@pytest.mark.parametrize("split_layer", range(4))
def test_layers_get_the_lengths_that_the_model_gives_them(split_layer):
    model = lengths_capable().eval()
    split = SequentialSplit(model, split_layer, BYPASS).eval()
    output = split(FEATURES, LENGTHS).output
    assert torch.equal(output, model(FEATURES, LENGTHS))
    assert not torch.equal(output, model(FEATURES, torch.ones(2)))


@pytest.mark.parametrize("split_layer", range(5))
def test_layer_that_stands_twice_runs_twice(split_layer):
    model = shared_activation()
    split = SequentialSplit(model, split_layer, BYPASS, input_size=40).eval()
    assert torch.equal(split(FEATURES, LENGTHS).output, model(FEATURES))


@pytest.mark.parametrize("split_layer", range(5))
def test_nothing_goes_round_the_cut(split_layer):
    check_no_leak(
        SequentialSplit(crdnn(), split_layer, CODED), FEATURES, LENGTHS
    )


def test_weights_are_the_models_and_in_one_half():
    model = crdnn()
    split = SequentialSplit(model, 2, CODED)
    for half, names in (("device", ["CNN"]), ("cloud", ["RNN", "DNN"])):
        state = split.half_state_dict(half)
        prefix = f"{half}_half.layers."
        held = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        wanted = {
            name: value
            for name, value in model.state_dict().items()
            if name.split(".")[0] in names
        }
        assert held.keys() == wanted.keys()
        for name, value in held.items():
            assert value.data_ptr() == wanted[name].data_ptr()


def test_looking_for_the_shape_changes_nothing():
    model = crdnn().train()
    before = {name: v.clone() for name, v in model.state_dict().items()}
    SequentialSplit(model, 4, BYPASS)
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_quantizer_can_learn_from_the_output():
    taught = partial(Bottleneck, quantizer=TaughtResidualVectorQuantizer)
    split = SequentialSplit(crdnn(dnn_neurons=10), 2, taught)
    teacher = Teacher(split)
    target = teacher(FEATURES, LENGTHS).hidden
    result = split(FEATURES, LENGTHS, target)
    untaught = split(FEATURES, LENGTHS)
    added = result.bottleneck.losses.keys() - untaught.bottleneck.losses.keys()
    assert target.values.shape == (2, 15, 10)
    assert added
    result.bottleneck.loss.backward()
    first = split.device_half.layers["CNN"].block_0.conv_1.conv.weight
    assert first.grad.abs().sum() > 0


def test_second_encoder_stands_beside_the_layers():
    second = FilterBankEncoder(torch.nn.Linear(40, 6), channels=6)
    split = SequentialSplit(crdnn(), 2, CODED, second_encoder=second)
    cut = split.device(FEATURES, LENGTHS)
    assert cut.values.shape == (2, 15, 10 * 8 + 6)
    check_no_leak(split, FEATURES, LENGTHS)


class Residual(Sequential):
    """Adds its input to what its layers give."""

    def forward(self, x):
        return x + super().forward(x)


@pytest.mark.parametrize(
    ("model", "split_layer", "message"),
    [
        (torch.nn.Linear(40, 3), 0, "model: found .Linear"),
        (Residual(torch.nn.Linear(40, 40)), 1, "model: found .Residual"),
        (shared_activation(), 5, "split_layer: found 5, .* from 0 to 4"),
        (shared_activation(), 1, "input_size: found None"),
    ],
)
def test_impossible_settings_name_their_key(model, split_layer, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        SequentialSplit(model, split_layer, BYPASS)
    assert "\n" not in str(error.value)


def test_layer_without_frames_is_no_place_to_cut():
    pooled = torch.nn.Sequential(
        torch.nn.Linear(40, 4), torch.nn.Flatten(), torch.nn.LazyLinear(3)
    )
    with pytest.raises(ConfigurationError, match="gives frames: 1 does not"):
        SequentialSplit(pooled, 2, BYPASS, input_size=40)
