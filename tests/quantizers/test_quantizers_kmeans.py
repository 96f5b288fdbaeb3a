"""k-means, from which codebooks start."""

import pytest
import torch

from speechbrain_acom.quantizers.kmeans import kmeans
from speechbrain_acom.quantizers.nearest import nearest_entries


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _distortion(frames, centres):
    found = centres[nearest_entries(frames, centres)]
    return (frames - found).square().mean()


def test_separate_clusters_are_found():
    centres = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    frames = centres.repeat(100, 1) + torch.randn(300, 2)
    found = kmeans(frames, 3, iterations=20)
    order = nearest_entries(centres, found)
    assert sorted(order.tolist()) == [0, 1, 2]
    assert torch.allclose(found[order].float(), centres, atol=1.0)


def test_more_iterations_are_better():
    frames = torch.randn(2000, 4)
    distortions = []
    for iterations in (0, 1, 10):
        torch.manual_seed(0)
        centres = kmeans(frames, 16, iterations)
        distortions.append(_distortion(frames.double(), centres))
    assert distortions[0] > distortions[1] > distortions[2]


def test_centres_without_frames_restart():
    # Random starts fall on the many equal frames; the few must be found.
    frames = torch.cat([torch.zeros(1000, 2), 10 * torch.eye(2)])
    centres = kmeans(frames, 3, iterations=5)
    assert _distortion(frames.double(), centres) == 0


@pytest.mark.parametrize("number", [1, 3, 7])
def test_fewer_frames_than_centres(number):
    frames = torch.randn(number, 4)
    centres = kmeans(frames, 8, iterations=3)
    assert centres.shape == (8, 4)
    assert centres.isfinite().all()
    assert _distortion(frames.double(), centres) == 0


def test_the_same_seed_gives_the_same_centres():
    frames = torch.randn(100, 4)
    torch.manual_seed(3)
    first = kmeans(frames, 8, iterations=3)
    torch.manual_seed(3)
    assert torch.equal(first, kmeans(frames, 8, iterations=3))
