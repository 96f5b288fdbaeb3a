"""The attention decoder behind a cut: the unsplit model's, in the cloud."""

import pytest
import torch

from speechbrain_acom.errors import ConfigurationError

LENGTHS = torch.tensor([1.0, 0.6])
TOKENS = torch.tensor([[1, 3, 4, 3], [1, 4, 0, 0]])
ATTENTIONS = ["RelPosMHAXL", "regularMHA", "RoPEMHA", "hypermixing"]


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("causal", [False, True])
def test_answers_are_those_of_the_unsplit_model(
    build, bypass_bottleneck, features, attention, causal
):
    family = build("encoder_decoder", attention_type=attention, causal=causal)
    front_end, transformer, ctc_head, sequence_head = family.parts
    split = family.cut(1, bypass_bottleneck).eval()
    states, decoded = transformer(
        front_end(features), TOKENS, LENGTHS, pad_idx=0
    )
    result = split(features, LENGTHS)
    close = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(result.output, states, **close)
    answers = split.text_decoder(result.output, result.lengths, TOKENS, 0)
    torch.testing.assert_close(answers, sequence_head(decoded), **close)
    assert split.text_decoder.ctc_head is ctc_head


def test_a_token_is_said_by_those_before_it_alone(
    build, bypass_bottleneck, features
):
    split = build("encoder_decoder").cut(1, bypass_bottleneck).eval()
    result = split(features, LENGTHS)
    other = TOKENS.clone()
    other[0, 2] = 1
    said, again = (
        split.text_decoder(result.output, result.lengths, tokens, 0)[0]
        for tokens in (TOKENS, other)
    )
    torch.testing.assert_close(said[:2], again[:2])
    assert not torch.allclose(said[2], again[2])


def test_padded_frames_say_nothing(build, bypass_bottleneck, features):
    split = build("encoder_decoder").cut(1, bypass_bottleneck).eval()
    states = split(features, LENGTHS).output.detach()
    real = round(0.6 * states.shape[1])
    states[1, real:] = 99.0
    said = split.text_decoder(states, LENGTHS, TOKENS, 0)[1, :2]
    alone = split.text_decoder(
        states[1:, :real], torch.ones(1), TOKENS[1:, :2], 0
    )[0]
    torch.testing.assert_close(said, alone, atol=1e-5, rtol=0)


def test_the_device_has_nothing_of_the_decoder(build, coded_bottleneck):
    split = build("encoder_decoder").cut(2, coded_bottleneck)
    device, cloud = map(split.half_state_dict, ("device", "cloud"))
    assert not any(name.startswith("text_decoder.") for name in device)
    assert any(name.startswith("text_decoder.decoder.") for name in cloud)
    assert device.keys() | cloud.keys() == split.state_dict().keys()
    split.keep_half("device")
    assert split.text_decoder is None


def test_a_model_without_a_decoder_is_refused(build, bypass_bottleneck):
    family = build("encoder_decoder", num_decoder_layers=0)
    with pytest.raises(ConfigurationError, match="num_decoder_layers"):
        family.cut(1, bypass_bottleneck)
