"""Quantizers that keep what a second encoder knows."""

import inspect
import os
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import (
    ResidualVectorQuantizer,
    SemanticResidualVectorQuantizer,
    TaughtResidualVectorQuantizer,
)

FRAGMENTS = Path(__file__).parents[2] / "hparams" / "quantizers"
SMALL = {"codebook_size": 16, "codebook_dim": 4, "kmeans_iterations": 5}
LENGTHS = torch.tensor([1.0, 0.4])


def semantic(channels=6, semantic_channels=2, frames=None, **options):
    torch.manual_seed(0)
    quantizer = SemanticResidualVectorQuantizer(
        channels, semantic_channels, **{**SMALL, **options}
    )
    if frames is not None:
        torch.manual_seed(0)
        quantizer.initialize(frames)
    return quantizer


def taught(target_channels=3, **options):
    torch.manual_seed(0)
    quantizer = TaughtResidualVectorQuantizer(6, **{**SMALL, **options})
    quantizer.learn_from(target_channels)
    return quantizer


def noise(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Coded together ------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
def test_reconstructing_the_mean_costs_the_weight(training):
    """One entry, the mean: an error of one standard deviation is left."""
    frames = torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    quantizer = semantic(
        2, 1, frames, codebook_size=1, codebook_dim=None, semantic_weight=7.0
    ).train(training)
    result = quantizer(frames.unsqueeze(0))
    assert result.features.flatten().tolist() == [0.0, 2.0, 0.0, 2.0]
    assert result.losses["semantic"] == 7.0


def test_scale_of_the_second_encoder_changes_neither_codes_nor_losses():
    frames = noise(200, 6)
    louder = frames.clone()
    louder[:, 4:] = 1000 * frames[:, 4:] + 5
    first = semantic(frames=frames)(frames.unsqueeze(0))
    second = semantic(frames=louder)(louder.unsqueeze(0))
    assert torch.equal(first.codes, second.codes)
    assert torch.isclose(first.loss, second.loss, rtol=1e-4)
    restored = (second.features[..., 4:] - 5) / 1000
    assert torch.allclose(restored, first.features[..., 4:], atol=1e-4)


def test_second_encoder_varies_as_much_as_the_features():
    frames = noise(500, 6) * 30
    quantizer = semantic(frames=frames)
    balanced = quantizer._balanced(frames)
    own, second = balanced[:, :4].var(0).sum(), balanced[:, 4:].var(0).sum()
    assert torch.isclose(own, second, rtol=1e-4)


def test_semantic_loss_reaches_the_features():
    """Through the projections, which mix both."""
    features = noise(1, 50, 6).requires_grad_()
    quantizer = semantic(frames=noise(200, 6)).train()
    quantizer(features).losses["semantic"].backward()
    assert (features.grad[..., :4].abs().sum(-1) > 0).all()
    assert quantizer.quantizer.input_projection.weight.grad.abs().sum() > 0


def test_constant_second_encoder_is_harmless():
    frames = noise(200, 6)
    frames[:, 4:] = 0.1
    quantizer = semantic(frames=frames).train()
    result = quantizer(frames.unsqueeze(0))
    assert result.loss.isfinite()
    assert torch.allclose(result.features[..., 4:], torch.tensor(0.1))


def test_all_arguments_of_the_residual_quantizer_are_passed_on():
    quantizer = semantic(num_codebooks=3, codebook_update="ema")
    assert quantizer.cardinalities == (16,) * 3
    assert quantizer.truncatable
    codes = quantizer.encode(noise(1, 5, 6), num_codebooks=2)
    assert codes.shape == (1, 5, 2)
    assert quantizer.decode(codes).shape == (1, 5, 6)
    assert not quantizer.quantizer.learned_by_gradient


def test_projections_are_of_one_half_each():
    bottleneck = Bottleneck(
        6,
        partial(SemanticResidualVectorQuantizer, semantic_channels=2, **SMALL),
    )
    inside = "quantizer.quantizer"
    assert bottleneck.device_only_modules() == [f"{inside}.input_projection"]
    assert bottleneck.cloud_only_modules() == [f"{inside}.output_projection"]
    assert bottleneck.training_only_modules() == []


# Taught --------------------------------------------------------------------


@torch.no_grad()
def test_predicting_nothing_costs_the_weight():
    quantizer = taught(semantic_weight=7.0).train()
    quantizer.semantic_head.weight.zero_()
    quantizer.semantic_head.bias.zero_()
    target = noise(2, 10, 3) * torch.tensor([1.0, 100.0, 0.01]) + 4
    losses = quantizer.target_losses(noise(2, 10, 6), target, LENGTHS)
    assert losses["semantic"] == pytest.approx(7.0, rel=1e-5)


def test_padding_takes_no_part_in_the_statistics():
    quantizer = taught().train()
    features, target = noise(2, 10, 6), noise(2, 10, 3)
    clean = quantizer.target_losses(features, target, LENGTHS)
    features[1, 4:], target[1, 4:] = float("nan"), float("nan")
    other = taught().train()
    dirty = other.target_losses(features, target, LENGTHS)
    assert clean == dirty
    real = torch.cat([target[0], target[1, :4]]).double()
    statistics = other.target_statistics
    assert statistics.frames == 14
    assert torch.allclose(statistics.mean, real.mean(0))
    assert torch.allclose(statistics.deviation, real.std(0, correction=0))


def test_statistics_are_those_of_all_batches():
    quantizer, together = taught().train(), taught().train()
    target = noise(2, 10, 3)
    for row in target:
        quantizer.target_losses(noise(1, 10, 6), row.unsqueeze(0), None)
    together.target_losses(noise(2, 10, 6), target, None)
    for name, value in together.target_statistics.state_dict().items():
        other = quantizer.target_statistics.state_dict()[name]
        assert torch.allclose(value, other), name


def test_evaluation_leaves_the_statistics_alone():
    quantizer = taught().eval()
    quantizer.target_losses(noise(2, 10, 6), noise(2, 10, 3), LENGTHS)
    assert quantizer.target_statistics.frames == 0


def test_constant_target_costs_nothing_to_predict():
    quantizer = taught().train()
    torch.nn.init.zeros_(quantizer.semantic_head.weight)
    torch.nn.init.zeros_(quantizer.semantic_head.bias)
    target = torch.full((1, 10, 3), 0.1)
    assert quantizer.target_losses(noise(1, 10, 6), target, None) == {
        "semantic": 0.0
    }


def test_no_frames_cost_nothing():
    quantizer = taught().train()
    losses = quantizer.target_losses(
        noise(2, 10, 6), noise(2, 10, 3), torch.zeros(2)
    )
    assert losses == {"semantic": 0.0}


def test_prediction_reaches_the_features_and_not_the_target():
    quantizer = taught().train()
    features = noise(2, 10, 6).requires_grad_()
    target = noise(2, 10, 3).requires_grad_()
    decoded = quantizer(features, LENGTHS).features
    losses = quantizer.target_losses(decoded, target, LENGTHS)
    losses["semantic"].backward()
    assert (features.grad[1, :4].abs().sum(-1) > 0).all()
    assert not features.grad[1, 4:].any()
    assert target.grad is None
    assert quantizer.semantic_head.weight.grad.abs().sum() > 0


def test_codes_are_those_of_the_residual_quantizer():
    quantizer = taught().eval()
    plain = ResidualVectorQuantizer(6, **SMALL).eval()
    plain.load_state_dict(quantizer.state_dict(), strict=False)
    features = noise(2, 10, 6)
    assert torch.equal(quantizer.encode(features), plain.encode(features))


def test_only_the_taught_one_needs_a_teacher():
    assert taught().taught
    assert not semantic().taught
    assert not ResidualVectorQuantizer(6, **SMALL).taught


# Settings ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: semantic(semantic_channels=0),
            "semantic_channels: found 0, expected an integer from 1 to 5",
        ),
        (
            lambda: semantic(semantic_channels=6),
            "semantic_channels: found 6, expected an integer from 1 to 5",
        ),
        (
            lambda: semantic(semantic_weight=-1.0),
            "semantic_weight: found -1.0, expected a number from 0 on",
        ),
        (
            lambda: taught(semantic_weight=float("nan")),
            "semantic_weight: found nan, expected a number from 0 on",
        ),
        (
            lambda: taught(codebook_dim=7),
            "codebook_dim: found 7, expected an integer from 1 to 6",
        ),
        (
            lambda: taught(target_channels=0),
            "quantizer: found 'TaughtResidualVectorQuantizer', expected a "
            "quantizer without teacher: this model's cloud half has no "
            "`hidden` features to learn from",
        ),
    ],
)
def test_impossible_settings_are_named(make, message):
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "kind", "chosen"),
    [
        (
            "semantic_encoder",
            SemanticResidualVectorQuantizer,
            {"semantic_channels": 64},
        ),
        ("semantic_taught", TaughtResidualVectorQuantizer, {}),
    ],
)
def test_fragments_hold_the_defaults(name, kind, chosen):
    path = FRAGMENTS / f"{name}.yaml"
    fragment = load_hyperpyyaml(f"quantizer: !include:{path}\n")["quantizer"]
    assert fragment.func is kind
    defaults = {
        parameter.name: parameter.default
        for owner in (ResidualVectorQuantizer, kind)
        for parameter in inspect.signature(owner).parameters.values()
    }
    assert fragment.keywords.keys() <= defaults.keys()
    assert fragment.keywords == {
        **{key: defaults[key] for key in fragment.keywords},
        **chosen,
    }


# Two processes -------------------------------------------------------------


def _process(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    learner = taught().train()
    together = semantic(frames=noise(100, 6, seed=rank))
    for step in range(3):
        seed = 2 * step + rank
        # The second batch of the second process holds padding only.
        lengths = torch.tensor([1.0 - rank]) if step == 1 else None
        target = noise(1, 10, 3, seed=seed)
        learner.target_losses(noise(1, 10, 6), target, lengths)
    states = {
        "taught": learner.target_statistics.state_dict(),
        "semantic": together.state_dict(),
    }
    torch.save(states, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    # All is said: threads of gloo now and then abort when they are ended.
    os._exit(0)


@pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="torch without gloo"
)
def test_processes_agree_on_the_statistics(tmp_path):
    torch.multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for kind, state in first.items():
        for name, value in state.items():
            assert torch.equal(value, second[kind][name]), name
    assert first["taught"]["frames"] == 50
