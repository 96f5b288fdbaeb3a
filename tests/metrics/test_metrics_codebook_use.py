"""Perplexity and share of used entries."""

import pytest
import torch

from speechbrain_acom.metrics.codebook_use import CodebookUse


def test_even_use_has_the_perplexity_of_the_size():
    use = CodebookUse((8, 4))
    codes = torch.stack([torch.arange(8), torch.arange(8) % 2], -1)
    use.update(codes.unsqueeze(0))
    first, second = use.rows()
    assert first.perplexity == pytest.approx(8)
    assert first.used_percent == 100
    assert (second.codebook, second.entries) == (1, 4)
    assert second.perplexity == pytest.approx(2)
    assert second.used_percent == 50


def test_uneven_use_lies_below_the_share_of_used_entries():
    use = CodebookUse((2,))
    use.update(torch.tensor([[[0], [0], [0], [1]]]))
    entropy = 0.75 * torch.tensor(4 / 3).log2() + 0.25 * 2
    assert use.rows()[0].perplexity == pytest.approx(float(2**entropy))


def test_padding_is_not_counted():
    use = CodebookUse((4,))
    use.update(torch.tensor([[[1], [2]], [[3], [3]]]), torch.tensor([0.5, 0.0]))
    row = use.rows()[0]
    assert (row.perplexity, row.used_percent) == (1.0, 25.0)


def test_counts_are_pooled_over_batches():
    use = CodebookUse((4,))
    for entry in range(4):
        use.update(torch.full((2, 3, 1), entry))
    assert use.rows()[0].perplexity == pytest.approx(4)


def test_nothing_counted_gives_zero():
    use = CodebookUse((4, 4))
    use.update(torch.zeros(2, 0, 2, dtype=torch.long))
    # What a bypass gives in training.
    use.update(torch.zeros(2, 5, 0, dtype=torch.long))
    assert [row.perplexity for row in use.rows()] == [0.0, 0.0]


def test_truncated_codes_count_for_the_first_codebooks():
    use = CodebookUse((4, 4))
    use.update(torch.tensor([[[0], [1]]]))
    assert [row.used_percent for row in use.rows()] == [50.0, 0.0]
