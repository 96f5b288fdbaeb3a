"""What only the Conformer has: kinds of attention, refused encoders."""

import pytest
import torch

from speechbrain_acom.errors import ConfigurationError

LENGTHS = torch.tensor([1.0, 0.6])
ATTENTIONS = ["RelPosMHAXL", "regularMHA", "RoPEMHA", "hypermixing"]


@pytest.mark.parametrize("split_layer", [0, 2, 3])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("causal", [False, True])
def test_every_attention_equals_unsplit(
    build, bypass_bottleneck, features, attention, split_layer, causal
):
    family = build("conformer", attention_type=attention, causal=causal)
    split = family.cut(split_layer, bypass_bottleneck).eval()
    expected = family.unsplit(features, LENGTHS)
    torch.testing.assert_close(
        split(features, LENGTHS).output, expected, atol=1e-5, rtol=0
    )


def test_hidden_states_do_not_change_the_output(
    build, bypass_bottleneck, features
):
    family = build("conformer", output_hidden_states=True)
    front_end, transformer, head = family.parts
    encoded, _ = transformer.encode(front_end(features), LENGTHS)
    split = family.cut(1, bypass_bottleneck).eval()
    torch.testing.assert_close(
        split(features, LENGTHS).output, head(encoded), atol=1e-5, rtol=0
    )


def test_output_lengths_are_those_of_the_input(
    build, bypass_bottleneck, features
):
    split = build("conformer").cut(1, bypass_bottleneck).eval()
    result = split(features, LENGTHS)
    assert result.lengths.tolist() == LENGTHS.tolist()
    assert result.output.shape == (2, 25, 5)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"layerdrop_prob": 0.1}, "layerdrop_prob"),
        ({"encoder_module": "transformer"}, "encoder_module"),
        (
            {"attention_type": "regularMHA", "positional_encoding": None},
            "positional_encoding",
        ),
    ],
)
def test_refused_transformers_are_named(build, bypass_bottleneck, changes, key):
    family = build("conformer", **changes)
    with pytest.raises(ConfigurationError) as error:
        family.cut(1, bypass_bottleneck)
    assert error.value.key == key
    assert "\n" not in str(error.value)


def test_recomputed_layers_learn_the_same_with_less_memory(
    build, coded_bottleneck, features
):
    def gradients(**settings):
        torch.manual_seed(0)
        family = build("conformer", dropout=0.1)
        split = family.cut(2, coded_bottleneck, **settings).train()
        torch.manual_seed(1)
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.append(tensor.numel()) or tensor,
            lambda tensor: tensor,
        ):
            loss = split(features, LENGTHS).output.square().mean()
        loss.backward()
        found = [weight.grad for weight in split.parameters()]
        return [grad for grad in found if grad is not None], sum(kept)

    whole, kept_by_whole = gradients()
    again, kept_by_again = gradients(recomputed=True)
    assert len(again) == len(whole) > 10
    for one, other in zip(again, whole, strict=True):
        torch.testing.assert_close(one, other)
    assert kept_by_again < kept_by_whole / 2
