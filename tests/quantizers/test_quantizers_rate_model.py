"""The model of the bits that codes will cost."""

import pytest
import torch

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.rate_model import RateModel


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def model_of(**settings):
    """A model that is sure of something."""
    defaults = {"num_codebooks": 2, "codebook_size": 5, "context_frames": 2}
    model = RateModel(**{**defaults, **settings})
    for output in model.outputs:
        torch.nn.init.normal_(output.weight)
    return model


def bits_of(model, codes):
    """Bits of every codebook's entries, (batch, time, K, V)."""
    books = range(codes.shape[-1])
    parts = [model(model.contexts(codes, k), k) for k in books]
    return torch.stack(parts, dim=2)


def test_contexts_are_the_last_frames_and_the_coarser_codes():
    codes = torch.tensor([[[0, 1], [2, 3], [4, 0]]])
    model = model_of()
    assert model.contexts(codes, 0).tolist() == [[[5, 5], [0, 5], [2, 0]]]
    assert model.contexts(codes, 1).tolist() == [
        [[5, 5, 0], [1, 5, 2], [3, 1, 4]]
    ]


def test_the_history_before_the_first_frame_is_that_of_contexts():
    model = model_of(context_frames=3)
    history = model.first_history(4, torch.device("cpu"))
    assert history.shape == (4, 3, 2)
    codes = torch.zeros((4, 1, 2), dtype=torch.int64)
    assert torch.equal(model.contexts(codes, 0)[:, 0], history[..., 0])


def test_probabilities_sum_to_one():
    bits = bits_of(model_of(), torch.randint(5, (3, 7, 2)))
    assert torch.allclose((2.0**-bits).sum(-1), torch.ones(3, 7, 2))


@pytest.mark.parametrize("codebook", [0, 1])
@pytest.mark.parametrize("frame", [0, 3, 6])
def test_no_code_depends_on_itself_or_on_what_comes_after(codebook, frame):
    model, codes = model_of(), torch.randint(5, (1, 8, 2))
    before = bits_of(model, codes)
    changed = codes.clone()
    changed[0, frame, codebook] = (codes[0, frame, codebook] + 1) % 5
    moved = (bits_of(model, changed) != before).any(-1)[0]
    expected = torch.zeros(8, 2, dtype=torch.bool)
    expected[frame + 1 : frame + 3, codebook] = True
    if codebook == 0:
        expected[frame, 1] = True
    assert torch.equal(moved, expected)


def test_all_entries_are_equally_likely_at_first():
    model = RateModel(num_codebooks=1, codebook_size=8, context_frames=1)
    assert (bits_of(model, torch.randint(8, (2, 4, 1))) == 3.0).all()


def test_it_learns_what_follows_what():
    codes = (torch.arange(200) % 5).reshape(1, -1, 1).expand(-1, -1, 2)
    model = RateModel(2, 5, context_frames=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        chosen = bits_of(model, codes).gather(-1, codes.unsqueeze(-1))
        optimizer.zero_grad()
        chosen.mean().backward()
        optimizer.step()
    assert chosen.mean() < 0.1


def test_double_precision_is_a_copy():
    model = model_of()
    precise = model.in_double_precision()
    contexts = model.contexts(torch.randint(5, (2, 6, 2)), 1)
    assert precise(contexts, 1).dtype == torch.float64
    assert model(contexts, 1).dtype == torch.float32
    assert torch.allclose(precise(contexts, 1).float(), model(contexts, 1))


@pytest.mark.parametrize(
    "key", ["context_frames", "embedding_size", "hidden_size"]
)
def test_sizes_out_of_range_are_named(key):
    with pytest.raises(ConfigurationError, match=f"^{key}: found 0"):
        model_of(**{key: 0})
