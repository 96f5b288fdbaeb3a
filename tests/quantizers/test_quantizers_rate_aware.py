"""Rate-aware quantization beyond the common contract."""

from functools import partial

import pytest
import torch
from random_rates import make_sure
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.lengths import relative_lengths
from speechbrain_acom.quantizers import (
    GroupedQuantizer,
    RateAwareVectorQuantizer,
    ResidualVectorQuantizer,
)

SMALL = {"num_codebooks": 2, "codebook_size": 16, "codebook_dim": 4}
LENGTHS = relative_lengths(torch.tensor([12, 7, 1]), 12)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def on_a_line(entries, shares=None, **settings):
    """One codebook of numbers for features that are numbers."""
    quantizer = RateAwareVectorQuantizer(
        channels=1, codebook_dim=None, codebook_size=len(entries), **settings
    )
    [codebook] = quantizer.codebooks
    codebook.entries.data.copy_(torch.tensor(entries).unsqueeze(1))
    if shares:
        codebook.shares.copy_(torch.tensor(shares))
    return quantizer.eval()


def opinionated(**settings):
    """A quantizer whose rate model is sure of something."""
    quantizer = RateAwareVectorQuantizer(channels=6, **{**SMALL, **settings})
    make_sure(quantizer.rate_model)
    quantizer.initialize(torch.randn(300, 6))
    return quantizer.eval()


def test_without_weights_it_is_a_residual_vector_quantizer():
    aware = opinionated(recent_frames=2)
    plain = ResidualVectorQuantizer(channels=6, **SMALL).eval()
    plain.load_state_dict(aware.state_dict(), strict=False)
    features = torch.randn(3, 12, 6)
    for training in (False, True):
        first = aware.train(training)(features, LENGTHS)
        second = plain.train(training)(features, LENGTHS)
        assert torch.equal(first.codes, second.codes)
        assert torch.equal(first.features, second.features)
        for name, loss in second.losses.items():
            assert torch.equal(first.losses[name], loss)
    assert second.rate is None


def test_building_the_model_draws_no_random_numbers():
    drawn = []
    for recent_frames in (0, 2):
        torch.manual_seed(3)
        settings = {**SMALL, "recent_frames": recent_frames}
        quantizer = RateAwareVectorQuantizer(channels=6, **settings)
        drawn.append((quantizer.codebooks[0].entries, torch.rand(4)))
    for first, second in zip(*drawn, strict=True):
        assert torch.equal(first, second)
    # Its own are not the same every time.
    embeddings = [opinionated().rate_model.embeddings[0] for _ in range(2)]
    assert not torch.equal(*embeddings)


def test_soft_rate_and_its_gradients_by_hand():
    quantizer = on_a_line(
        [0.0, 1.0], [0.75, 0.25], recent_frames=0, temperature=2.0
    )
    value = torch.tensor([[[0.3]]], requires_grad=True)
    result = quantizer(value)
    # The nearest entry is 0, at a squared distance of 0.09.
    scale, bits = 2.0 * 0.09, torch.tensor([0.75, 0.25]).log2().neg()
    share = torch.sigmoid(torch.tensor((0.09 - 0.49) / scale))
    surplus = bits[1] - bits[0]
    torch.testing.assert_close(result.rate, bits[0] + share * surplus)
    assert torch.equal(result.statistics["hard_rate"], bits[0])
    result.rate.backward()
    slope = share * (1 - share) / scale * surplus
    torch.testing.assert_close(value.grad.squeeze(), 2 * slope)
    expected = torch.stack([-0.6 * slope, 2 * (0.3 - 1.0) * slope])
    entries = quantizer.codebooks[0].entries.grad.squeeze(1)
    torch.testing.assert_close(entries, expected)


def test_rate_is_a_mean_over_real_frames_and_a_sum_over_codebooks():
    quantizer = RateAwareVectorQuantizer(channels=6, **SMALL).eval()
    result = quantizer(torch.randn(3, 12, 6), LENGTHS)
    torch.testing.assert_close(result.rate, torch.tensor(8.0))
    first = quantizer(torch.randn(3, 12, 6), LENGTHS, num_codebooks=1)
    torch.testing.assert_close(first.rate, torch.tensor(4.0))
    nothing = quantizer(torch.randn(3, 12, 6), torch.zeros(3))
    assert nothing.rate == 0


def test_rate_moves_features_and_entries_and_not_the_model():
    quantizer = opinionated().train()
    features = torch.randn(3, 12, 6, requires_grad=True)
    quantizer(features, LENGTHS).rate.backward()
    assert features.grad[0].abs().sum() > 0
    assert not features.grad[1, 7:].any()
    for name, weight in quantizer.named_parameters():
        if name.startswith("rate_model"):
            # It is to know the codes as they are, not as soft shares.
            assert weight.grad is None, name
        elif not name.startswith("output_projection"):
            assert weight.grad.abs().sum() > 0, name


def test_loss_of_the_model_moves_nothing_but_the_model():
    quantizer = opinionated().train()
    features = torch.randn(3, 12, 6, requires_grad=True)
    quantizer(features).losses["rate_model"].backward()
    moved = {
        name
        for name, weight in quantizer.named_parameters()
        if weight.grad is not None and weight.grad.any()
    }
    assert moved and all(name.startswith("rate_model.") for name in moved)
    assert features.grad is None


def trained(weight, recent_frames):
    """Bits a frame after training on a random walk, λ = weight."""
    torch.manual_seed(0)
    walk = torch.randn(4, 40, 6).cumsum(1) / 4
    quantizer = RateAwareVectorQuantizer(
        channels=6, **SMALL, recent_frames=recent_frames, temperature=0.5
    )
    quantizer.initialize(walk.flatten(0, 1))
    quantizer.train()
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.02)
    for _ in range(40):
        result = quantizer(walk)
        error = (result.features - walk).square().mean()
        optimizer.zero_grad()
        (error + result.loss + weight * result.rate).backward()
        optimizer.step()
    return quantizer.eval()(walk).statistics["hard_rate"]


@pytest.mark.parametrize("recent_frames", [0, 2])
def test_training_with_the_rate_lowers_it(recent_frames):
    without, with_rate = (trained(w, recent_frames) for w in (0.0, 0.5))
    assert with_rate < 0.8 * without


def test_context_lowers_the_rate_of_what_can_be_foreseen():
    assert trained(0.0, 2) < 0.8 * trained(0.0, 0)


@pytest.mark.parametrize(("weight", "code"), [(0.0, 1), (0.05, 1), (0.1, 0)])
def test_cheap_entries_are_preferred_by_running_shares(weight, code):
    # 0.36 + 0.15 w against 0.16 + 3.32 w: equal at w = 0.063.
    quantizer = on_a_line(
        [0.0, 1.0], [0.9, 0.1], recent_frames=0, assignment_weight=weight
    )
    assert quantizer.encode(torch.tensor([[[0.6]]])).item() == code


@pytest.mark.parametrize(("weight", "code"), [(0.05, 1), (0.1, 0)])
def test_cheap_entries_are_preferred_by_the_model(weight, code):
    # Entry 0 takes 2 nats, 2.89 bits, less: 0.36 against 0.16 + 2.89 w.
    quantizer = on_a_line([0.0, 1.0], assignment_weight=weight)
    layers = quantizer.rate_model.codebooks[0]
    layers.bias.data.copy_(torch.tensor([2.0, 0.0]))
    values = torch.full((1, 3, 1), 0.6)
    assert quantizer.encode(values).flatten().tolist() == [code] * 3


def test_context_of_a_choice_is_what_was_chosen_before():
    quantizer = opinionated(recent_frames=2, assignment_weight=0.2)
    features = torch.randn(2, 30, 6)
    codes = quantizer.encode(features)
    plain = ResidualVectorQuantizer(channels=6, **SMALL)
    plain.load_state_dict(quantizer.state_dict(), strict=False)
    assert (codes != plain.encode(features)).any()
    residual = quantizer.input_projection(features)
    known = quantizer.rate_model.bits(codes)
    for number, codebook in enumerate(quantizer.codebooks):
        bits = known[number]
        distances = (residual.unsqueeze(2) - codebook.entries).square().sum(-1)
        cheapest = (distances + quantizer.bit_price.value * bits).argmin(-1)
        assert torch.equal(cheapest, codes[..., number])
        residual = residual - codebook(codes[..., number])


@pytest.mark.parametrize("recent_frames", [0, 2])
def test_a_bit_is_worth_the_same_part_of_features_of_any_size(recent_frames):
    codes = []
    features = torch.randn(2, 300, 6)
    for scale in (1.0, 16.0):
        torch.manual_seed(1)
        quantizer = RateAwareVectorQuantizer(
            channels=6,
            **SMALL,
            recent_frames=recent_frames,
            assignment_weight=0.1,
        )
        quantizer.initialize(scale * features.flatten(0, 1))
        for codebook in quantizer.codebooks:
            codebook.shares.copy_(torch.linspace(1, 16, 16) / 136)
        if quantizer.rate_model is not None:
            make_sure(quantizer.rate_model)
        codes.append(quantizer.eval().encode(scale * features))
    assert torch.equal(*codes)
    plain = ResidualVectorQuantizer(channels=6, **SMALL)
    plain.load_state_dict(quantizer.state_dict(), strict=False)
    assert (plain.encode(16.0 * features) != codes[0]).any()


def test_the_price_follows_the_features_in_training_only():
    quantizer = RateAwareVectorQuantizer(
        channels=6, **SMALL, recent_frames=0, assignment_weight=0.1, decay=0.5
    )
    quantizer.initialize(torch.randn(300, 6))
    before = quantizer.bit_price.value
    features = 10.0 * torch.randn(3, 400, 6)
    quantizer.eval()(features)
    assert quantizer.bit_price.value == before
    for _ in range(20):
        quantizer.train()(features)
    followed = quantizer.bit_price.value
    assert 50 * before < followed < 200 * before
    quantizer(features, torch.zeros(3))
    assert quantizer.bit_price.value == followed


def test_a_bit_is_worth_its_weight_where_angles_count():
    quantizer = RateAwareVectorQuantizer(
        channels=6, **SMALL, distance="cosine", assignment_weight=0.1
    )
    quantizer.initialize(10.0 * torch.randn(300, 6))
    assert quantizer.bit_price.value == 0.1


def test_a_model_that_is_only_run_may_lack_what_training_needs():
    quantizer = opinionated()
    features = torch.randn(2, 9, 6)
    whole = quantizer(features)
    for name in quantizer.training_only:
        setattr(quantizer, name, None)
    alone = quantizer(features)
    assert torch.equal(alone.features, whole.features)
    assert alone.rate is None and whole.rate > 0


def test_training_may_go_on_with_another_weight():
    before = opinionated()
    after = RateAwareVectorQuantizer(channels=6, **SMALL, assignment_weight=0.1)
    after.load_state_dict(before.state_dict())
    spread = before.bit_price.moments.spread
    assert after.bit_price.value == 0.1 * spread > 0


@pytest.mark.parametrize(
    ("settings", "device", "training"),
    [
        ({}, (), ("bit_price", "rate_model")),
        ({"assignment_weight": 0.1}, ("bit_price", "rate_model"), ()),
        ({"assignment_weight": 0.1, "recent_frames": 0}, ("bit_price",), ()),
    ],
)
def test_only_a_device_that_chooses_holds_the_model(settings, device, training):
    bottleneck = Bottleneck(
        channels=6,
        quantizer=partial(RateAwareVectorQuantizer, **SMALL, **settings),
    )
    assert bottleneck.device_only_modules() == [
        f"quantizer.{name}" for name in ("input_projection", *device)
    ]
    assert bottleneck.training_only_modules() == [
        f"quantizer.{name}" for name in training
    ]
    alone = bottleneck.quantizer
    features = torch.randn(1, 5, 6)
    codes = alone.encode(features)
    for name in training:
        setattr(alone, name, None)
    assert torch.equal(alone.encode(features), codes)


def test_multiply_adds_of_the_model_are_counted_on_the_device():
    def counted(**settings):
        quantizer = RateAwareVectorQuantizer(
            channels=6,
            **SMALL,
            recent_frames=3,
            pooled_groups=2,
            embedding_dim=3,
            hidden_dim=5,
            **settings,
        )
        with FlopCounterMode(display=False) as counter:
            quantizer.eval().encode(torch.randn(1, 10, 6))
        return counter.get_total_flops() / 2

    # Five sums over twelve past frames; three frames and two groups, and one
    # coarser code for the second codebook; a layer as wide; all 16 entries.
    sums, inputs = 2 * 5 * 12 * 3, (5 + 6) * 3 * 5
    model = sums + inputs + 2 * (5 * 5 + 5 * 3 + 3 * 16)
    assert counted(assignment_weight=0.1) - counted() == 10 * model


def test_bottleneck_passes_the_rate_on():
    quantizer = partial(RateAwareVectorQuantizer, **SMALL)
    features = torch.randn(2, 8, 6)
    result = Bottleneck(channels=6, quantizer=quantizer, merge=2)(features)
    assert result.rate.requires_grad
    torch.testing.assert_close(result.rate.detach(), torch.tensor(8.0))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recent_frames", -1),
        ("temperature", 0.0),
        ("assignment_weight", -0.1),
        ("hidden_dim", 0),
        ("joint", 1),
    ],
)
def test_settings_out_of_range_are_named(key, value):
    with pytest.raises(ConfigurationError, match=f"^{key}: found {value}"):
        RateAwareVectorQuantizer(channels=6, **SMALL, **{key: value})


def test_running_shares_cannot_be_learned_first():
    with pytest.raises(ConfigurationError, match="^joint: found False"):
        RateAwareVectorQuantizer(channels=6, recent_frames=0, joint=False)


def test_the_weight_of_running_shares_has_another_name():
    with pytest.raises(ConfigurationError, match="assignment_weight"):
        RateAwareVectorQuantizer(channels=6, **SMALL, rate_weight=0.1)


def test_groups_cannot_depend_on_earlier_frames():
    group = partial(RateAwareVectorQuantizer, codebook_dim=None)
    with pytest.raises(ConfigurationError, match="codes every frame on its"):
        GroupedQuantizer(channels=8, num_groups=2, quantizer=group)
