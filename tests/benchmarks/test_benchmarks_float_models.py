"""The float models that our priors are compared with."""

import frame_transformer
import numpy as np
import pytest
import torch
import transformer_training
from code_coders import PriorCoder
from float_network import FloatNetworkCoder, FloatNetworkPrior
from frame_transformer import FrameTransformer
from transformer_prior import TransformerCoder, TransformerPrior
from transformer_training import fit_transformer

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors import StaticPrior
from speechbrain_acom.entropy.priors.attention import AttentionShape
from speechbrain_acom.training import neural_prior
from speechbrain_acom.training.context_network import ContextNetwork


def drawn(count, frames, sizes, seed=0):
    generator = np.random.default_rng(seed)
    shape = (2, frames, len(sizes))
    return [generator.integers(0, sizes, shape).min(0) for _ in range(count)]


def shaken(model, deviation=0.5):
    """The model in evaluation mode, with weights that all matter."""
    torch.manual_seed(0)
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=deviation)
    return model.eval()


def test_the_transformer_learns_a_sequence_by_heart(monkeypatch):
    monkeypatch.setattr(frame_transformer, "DROPOUT", 0.0)
    monkeypatch.setattr(transformer_training, "LEARNING_RATE", 2e-2)
    beat = np.array([[0, 3], [1, 1], [2, 5], [1, 0], [4, 2]])
    codes = np.tile(beat, (6, 1))
    fitted = fit_transformer([codes] * 3, (5, 6), 6000, 60, patience=60)
    coder = TransformerCoder(TransformerPrior(fitted.model))
    assert coder.bits(codes) < 0.2 * codes.size
    payload = coder.encode(codes)
    assert np.array_equal(coder.decode(payload, len(codes)), codes)
    assert 8 * len(payload) < coder.bits(codes) + 9


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_sees_the_coarser_codes_of_its_own_frame(tied):
    model = shaken(FrameTransformer((7, 3, 5), width=8, hidden=8, tied=tied))
    state = torch.randn(8)
    tables = {
        coarser: model.logits(state, torch.tensor(coarser))
        for coarser in ((2, 0), (3, 0), (2, 1))
    }
    for other in ((3, 0), (2, 1)):
        assert not torch.allclose(tables[2, 0], tables[other], atol=1e-3)


@pytest.mark.parametrize("tied", [True, False])
def test_the_transformer_frame_by_frame_is_the_one_of_training(
    tied, monkeypatch
):
    monkeypatch.setattr(frame_transformer, "CONTEXT", 4)
    model = shaken(FrameTransformer((7, 3), width=8, hidden=8, tied=tied))
    codes = torch.from_numpy(drawn(1, 12, (7, 3))[0])
    first, second = (each[0] for each in model(codes.unsqueeze(0)))
    frame, past = torch.tensor([frame_transformer.NO_FRAME] * 2), None
    for time, following in enumerate(codes):
        states, past = model.states(frame.view(1, 1, -1), past)
        found = model.logits(states[0, 0], following[:0])
        assert torch.allclose(found, first[time], atol=1e-4)
        found = model.logits(states[0, 0], following[:1])
        assert torch.allclose(found, second[time], atol=1e-4)
        frame = following
    assert past[0][0].shape[2] == 3
    # The first frame follows on none, not on entries 0.
    follows_zeros, _ = model.states(torch.zeros(1, 1, 2, dtype=torch.int64))
    found = model.logits(follows_zeros[0, 0], codes[0][:0])
    assert not torch.allclose(found, first[0], atol=1e-2)


def test_pieces_are_the_utterance_each_behind_its_past(monkeypatch):
    monkeypatch.setattr(transformer_training, "CONTEXT", 10)
    (codes,) = drawn(1, 25, (7, 3))
    pieces = transformer_training.pieces_of(codes, 6)
    assert [len(piece.read) for piece in pieces] == [6, 10, 10, 10, 5]
    wanted = torch.cat(
        [piece.wanted[piece.wanted[:, 0] >= 0] for piece in pieces]
    )
    assert torch.equal(wanted, torch.from_numpy(codes))
    third = pieces[2]
    assert np.array_equal(third.read, codes[7:17])
    assert (third.wanted[:4] == -1).all()
    assert np.array_equal(third.wanted[4:], codes[12:18])
    (whole,) = transformer_training.pieces_of(codes, 25)
    assert (whole.read[0] == frame_transformer.NO_FRAME).all()
    assert np.array_equal(whole.read[1:], codes[:-1])
    assert transformer_training.pieces_of(codes[:0]) == []


def test_pieces_cost_what_the_utterance_costs():
    model = shaken(FrameTransformer((7, 3), width=8, hidden=8))
    (codes,) = drawn(1, 80, (7, 3))
    # One layer's past is all in reach, so nothing is missing.
    pieces = transformer_training.pieces_of(codes, 50)
    found = transformer_training.mean_bits(model, pieces)
    coder = TransformerCoder(TransformerPrior(model))
    assert found == pytest.approx(coder.bits(codes) / codes.size, rel=1e-3)


def test_the_transformer_starts_as_the_static_prior():
    codes = drawn(12, 20, (9, 4))
    for tied in (True, False):
        model = FrameTransformer((9, 4), width=8, hidden=8, tied=tied)
        transformer_training._start_as_static(model, codes)
        logits = model(torch.from_numpy(codes[0]).unsqueeze(0))
        for book, size in enumerate((9, 4)):
            column = np.concatenate(codes)[:, book]
            counts = np.bincount(column, minlength=size) + 0.5
            expected = torch.from_numpy(counts / counts.sum()).float()
            found = logits[book].softmax(-1)[0]
            assert torch.allclose(found, expected.expand(20, -1))


def test_what_learns_nothing_stays_as_it_was_and_stops_early():
    generator = np.random.default_rng(0)
    codes = list(generator.integers(0, 16, (10, 20, 1)))
    fitted = fit_transformer(codes, (16,), 3000, epochs=30, patience=2)
    assert fitted.epochs < 30
    coder = TransformerCoder(TransformerPrior(fitted.model))
    unseen = generator.integers(0, 16, (400, 1))
    assert coder.bits(unseen) < 1.1 * 4 * 400


@pytest.mark.parametrize("target", [20_000, 100_000])
@pytest.mark.parametrize("sizes", [(256,), (256, 256), (16, 16, 16)])
@pytest.mark.parametrize("tied", [True, False])
def test_the_transformer_has_the_size_that_was_asked_for(target, sizes, tied):
    model = FrameTransformer.of_size(sizes, target, tied)
    size = sum(weights.numel() for weights in model.parameters())
    assert model.parameter_count == size == pytest.approx(target, rel=0.01)


@pytest.mark.parametrize(
    "attention",
    [None, AttentionShape(heads=2, head_dim=3, key_frames=1, reach=7)],
    ids=["near", "attentive"],
)
def test_the_float_network_predicts_as_it_was_trained(attention, tmp_path):
    sizes = (5, 1, 30)
    (codes,) = drawn(1, 30, sizes)
    network = shaken(
        ContextNetwork(
            StaticPrior.fit([codes], sizes),
            Context(recent_frames=2, pooled_groups=1),
            attention,
            embedding_dim=4,
            hidden_dim=6,
            hidden_layers=1,
            dropout=0.5,
            embedding_dropout=0.5,
        ),
        # Codes rarer than tables can say would cost less than they should.
        deviation=0.3,
    )
    coder = FloatNetworkCoder(FloatNetworkPrior(network))
    pieces = neural_prior.stacked(
        neural_prior.pieces_of([codes], sizes, network.context), network
    )
    with torch.no_grad():
        expected = network.bits(pieces).item()
    assert coder.bits(codes) == pytest.approx(expected, rel=1e-3)
    coder.save(tmp_path / "coder")
    loaded = FloatNetworkCoder.load(tmp_path / "coder")
    payload = coder.encode(codes)
    assert np.array_equal(loaded.decode(payload, 30), codes)
    assert 8 * len(payload) < coder.bits(codes) + 9
    # Finer codebooks are left out, and nothing else changes.
    first = coder.prior.first(1)
    assert first.cardinalities == sizes[:1]
    kept = PriorCoder(first).bits(codes[:, :1])
    seen = pieces.clone()
    seen[..., 1:] = torch.tensor(sizes[1:])
    with torch.no_grad():
        tables = network(seen)[0].log_softmax(-1)[0, :30]
    chosen = tables[range(30), codes[:, 0]]
    assert kept == pytest.approx(-float(chosen.sum()) / np.log(2), rel=1e-3)
