"""Residual vector quantization beyond the common contract."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.quantizers import ResidualVectorQuantizer

UPDATES = ["gradient", "ema"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _clusters(number=64, channels=8, frames=2000):
    centres = 3 * torch.randn(number, channels)
    drawn = centres[torch.randint(number, (frames,))]
    return 5 + drawn + 0.3 * torch.randn(frames, channels)


def _quantizer(**settings):
    defaults = {"channels": 8, "codebook_size": 32, "codebook_dim": 6}
    return ResidualVectorQuantizer(**{**defaults, **settings})


def _distortion(quantizer, frames):
    with torch.no_grad():
        decoded = quantizer.eval()(frames.unsqueeze(0)).features[0]
    return float((decoded - frames).square().sum() / frames.square().sum())


@pytest.mark.parametrize("codebook_dim", [None, 6, 8])
def test_starting_from_data_lowers_distortion(codebook_dim):
    frames = _clusters()
    quantizer = _quantizer(codebook_dim=codebook_dim)
    random = _distortion(quantizer, frames)
    quantizer.initialize(frames)
    assert _distortion(quantizer, frames) < 0.2 * random


def test_k_means_start_is_better_than_random_frames():
    frames = _clusters()
    unrefined = _quantizer(kmeans_iterations=0)
    refined = _quantizer(kmeans_iterations=10)
    for quantizer in (unrefined, refined):
        torch.manual_seed(0)
        quantizer.initialize(frames)
    assert _distortion(refined, frames) < 0.9 * _distortion(unrefined, frames)


def test_projections_start_as_principal_components():
    basis = torch.linalg.qr(torch.randn(8, 3)).Q
    frames = torch.randn(500, 3) @ basis.T + 4
    quantizer = _quantizer(codebook_dim=3)
    quantizer.initialize(frames)
    restored = quantizer.output_projection(quantizer.input_projection(frames))
    assert torch.allclose(restored, frames, atol=1e-4)


def test_more_codebooks_lower_the_distortion():
    frames = _clusters()
    distortions = []
    for number in (1, 2, 4):
        quantizer = _quantizer(num_codebooks=number, codebook_dim=None)
        quantizer.initialize(frames)
        distortions.append(_distortion(quantizer, frames))
    assert distortions[0] > distortions[1] > distortions[2]


def test_the_first_codes_decode_to_a_coarser_version():
    frames = _clusters().unsqueeze(0)
    quantizer = _quantizer(num_codebooks=3)
    quantizer.initialize(frames[0])
    assert quantizer.truncatable
    codes = quantizer.encode(frames)
    errors = [
        (quantizer.decode(codes[..., :kept]) - frames).square().mean()
        for kept in (1, 2, 3)
    ]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("update", UPDATES)
def test_dead_entries_become_frames_of_the_batch(update):
    frames = _clusters()
    quantizer = _quantizer(
        codebook_dim=None, codebook_update=update, dead_threshold=0.5, decay=0.5
    )
    quantizer.initialize(frames)
    codebook = quantizer.codebooks[0]
    with torch.no_grad():
        codebook.entries[7] = 1e6
    replaced = 0
    for _ in range(3):
        quantizer.train()(frames.unsqueeze(0))
        replaced += 1
        if codebook.entries[7].max() < 1e3:
            break
    assert 1 < replaced, "an entry is not dead after one batch at decay 0.5"
    distances = (frames - codebook.entries[7].detach()).square().sum(1)
    assert distances.min() < 1e-6
    assert codebook.shares[7] == pytest.approx(1 / 32)


@pytest.mark.parametrize("update", UPDATES)
def test_replaced_entries_are_counted(update):
    quantizer = _quantizer(
        num_codebooks=2, codebook_update=update, dead_threshold=0.9, decay=0.0
    )
    quantizer.initialize(_clusters())
    # One frame uses one entry of each codebook; all the others die at once.
    result = quantizer.train()(torch.randn(1, 1, 8))
    assert result.statistics["replaced_entries"] == 2 * 31


def test_a_threshold_of_zero_replaces_nothing():
    quantizer = _quantizer(dead_threshold=0.0, decay=0.0)
    before = quantizer.codebooks[0].entries.detach().clone()
    result = quantizer.train()(torch.randn(1, 1, 8))
    assert result.statistics["replaced_entries"] == 0
    assert torch.equal(quantizer.codebooks[0].entries, before)


@pytest.mark.parametrize("copies", [1, 50])
def test_death_does_not_depend_on_the_size_of_the_batch(copies):
    quantizer = _quantizer(codebook_size=4, codebook_dim=None, decay=0.9)
    corners = torch.eye(8)[:4]
    with torch.no_grad():
        quantizer.codebooks[0].entries.copy_(corners)
    batch = corners[:3].repeat(copies, 1).unsqueeze(0)
    steps = 0
    while not quantizer.train()(batch).statistics["replaced_entries"]:
        steps += 1
    # 0.9 ** 28 > 0.05 > 0.9 ** 29
    assert steps == 28


def test_moving_averages_follow_the_data():
    frames = _clusters()
    quantizer = _quantizer(codebook_update="ema", decay=0.8)
    quantizer.initialize(frames)
    moved = frames + 1.0
    before = _distortion(quantizer, moved)
    for _ in range(30):
        quantizer.train()(moved.unsqueeze(0))
    assert _distortion(quantizer, moved) < 0.8 * before


def test_a_moving_average_is_the_mean_weighted_by_decay():
    quantizer = _quantizer(
        channels=1, codebook_size=1, codebook_dim=None, codebook_update="ema"
    )
    quantizer.codebooks[0].entries.fill_(1.0)
    quantizer.train()(torch.tensor([[[2.0], [4.0]]]))
    entry = quantizer.codebooks[0].entries.item()
    assert entry == pytest.approx(0.99 * 1.0 + 0.01 * 3.0)


def test_moving_averages_are_in_place_and_leave_the_gradient_alone():
    quantizer = _quantizer(codebook_update="ema", decay=0.5).train()
    features = torch.randn(2, 9, 8, requires_grad=True)
    first = quantizer(features)
    second = quantizer(features)
    (first.loss + second.loss + first.features.sum()).backward()
    assert features.grad.isfinite().all()


def test_gradient_moves_codebooks_towards_the_data():
    frames = _clusters()
    quantizer = _quantizer(dead_threshold=0.0).train()
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.05)
    before = _distortion(quantizer, frames)
    quantizer.train()
    for _ in range(60):
        optimizer.zero_grad()
        result = quantizer(frames.unsqueeze(0))
        task = (result.features - frames).square().mean()
        (task + result.loss).backward()
        optimizer.step()
    assert _distortion(quantizer, frames) < 0.5 * before


@pytest.mark.parametrize("update", UPDATES)
def test_losses_and_parameters_depend_on_the_update(update):
    quantizer = _quantizer(codebook_update=update)
    losses = quantizer(torch.randn(2, 5, 8)).losses
    entries = quantizer.codebooks[0].entries
    learned = update == "gradient"
    assert ("codebook" in losses) == learned
    assert isinstance(entries, torch.nn.Parameter) == learned
    assert "codebooks.0.entries" in quantizer.state_dict()


def test_losses_are_means_over_frames_dimensions_and_codebooks():
    quantizer = _quantizer(
        num_codebooks=2, codebook_size=1, codebook_dim=None
    ).eval()
    with torch.no_grad():
        quantizer.codebooks[0].entries.fill_(1.0)
        quantizer.codebooks[1].entries.fill_(2.0)
    with torch.no_grad():
        losses = quantizer(torch.full((3, 4, 8), 5.0)).losses
    # Residuals 5 and 4: errors 4 and 2.
    assert losses["codebook"] == pytest.approx((16 + 4) / 2)
    assert losses["commitment"] == pytest.approx(0.25 * (16 + 4) / 2)


def test_the_task_reaches_the_projections_but_not_the_codebooks():
    quantizer = _quantizer().train()
    quantizer(torch.randn(2, 5, 8)).features.square().sum().backward()
    assert quantizer.input_projection.weight.grad.abs().sum() > 0
    assert quantizer.output_projection.weight.grad.abs().sum() > 0
    assert quantizer.codebooks[0].entries.grad is None


def test_counters_of_operations_see_projection_and_search():
    quantizer = _quantizer(num_codebooks=3)
    counter = FlopCounterMode(display=False)
    with counter:
        quantizer.encode(torch.randn(2, 50, 8))
    # Two operations a multiply-add; C * D + K * V * D of them a frame.
    assert counter.get_total_flops() == 2 * 100 * (8 * 6 + 3 * 32 * 6)


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("update", UPDATES)
def test_starting_from_fewer_frames_than_entries(number, update):
    quantizer = _quantizer(num_codebooks=2, codebook_update=update)
    quantizer.initialize(torch.randn(number, 8))
    result = quantizer.train()(torch.randn(2, 5, 8))
    assert result.loss.isfinite()


def test_starting_from_silence():
    quantizer = _quantizer(num_codebooks=2)
    quantizer.initialize(torch.zeros(100, 8))
    assert not quantizer.eval()(torch.zeros(1, 4, 8)).features.any()


def test_starting_from_no_frame_is_an_error():
    with pytest.raises(DataError, match="found 0, expected at least 1"):
        _quantizer().initialize(torch.zeros(0, 8))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_codebooks", 0),
        ("num_codebooks", 1.5),
        ("codebook_size", 0),
        ("codebook_size", 65537),
        ("codebook_dim", 0),
        ("codebook_dim", 9),
        ("codebook_update", "adam"),
        ("distance", "manhattan"),
        ("gradient", "none"),
        ("commitment_weight", -1.0),
        ("rate_weight", float("nan")),
        ("quantizer_dropout", 1.5),
        ("decay", 1.0),
        ("dead_threshold", -0.1),
        ("kmeans_iterations", -1),
    ],
)
def test_settings_out_of_range_name_their_key(key, value):
    with pytest.raises(ConfigurationError, match=f"^{key}: found"):
        _quantizer(**{key: value})
