"""Two processes train one quantizer and agree on it."""

import os
from datetime import timedelta

import pytest
import torch
from every_lobe import CHANNELS, EXCEPTIONS, LOBES, every_quantizer

from speechbrain_acom.metrics.codebook_use import CodebookUse
from speechbrain_acom.quantizers import ResidualVectorQuantizer

PROCESSES = 2
# Settings of the quantizer, and whether it starts from data.
CASES = {
    "gradient": ({"codebook_update": "gradient", "dead_threshold": 0.9}, True),
    "ema": ({"codebook_update": "ema", "dead_threshold": 0.9}, True),
    "averages": ({"codebook_update": "ema", "dead_threshold": 0.0}, False),
}

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="torch without gloo"
)


def _frames(rank):
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(1, 40, 4, generator=generator) + rank


def _quantizer(settings):
    torch.manual_seed(0)
    return ResidualVectorQuantizer(
        channels=4,
        num_codebooks=2,
        codebook_size=8,
        codebook_dim=None,
        decay=0.5,
        kmeans_iterations=2,
        **settings,
    ).train()


def _train(rank, settings, start):
    quantizer = _quantizer(settings)
    # Random numbers differ between the processes from here on.
    torch.manual_seed(rank)
    if start:
        quantizer.initialize(_frames(rank)[0])
    use = CodebookUse(quantizer.cardinalities)
    # The second batch of the second process holds padding only.
    for lengths in (None, torch.tensor([1.0 - rank]), None):
        result = quantizer(_frames(rank), lengths)
        use.update(result.codes, lengths)
    return quantizer.state_dict(), use.rows()


def _lobes_to_train():
    """All but those that say that they do not agree: they might wait."""
    test = test_processes_agree_after_ten_steps_with_different_data.__name__
    return [name for name in LOBES if test not in EXCEPTIONS.get(name, {})]


def _train_lobe(name, rank):
    """State after ten steps as SpeechBrain takes them, data as per rank."""
    torch.manual_seed(0)
    quantizer = LOBES[name](channels=CHANNELS)
    torch.manual_seed(rank)
    quantizer.initialize(torch.randn(50, CHANNELS) + rank)
    trained = quantizer.train()
    if any(weights.requires_grad for weights in quantizer.parameters()):
        trained = torch.nn.parallel.DistributedDataParallel(trained)
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    for step in range(10):
        values = torch.randn(2, 9, CHANNELS) + rank
        # The third batch of the second process holds padding only.
        lengths = torch.tensor([1.0, 0.5]) * (step != 2 or rank != 1)
        result = trained(values, lengths)
        if trained is not quantizer:
            (result.features.square().mean() + result.loss).backward()
            optimizer.step()
            optimizer.zero_grad()
    return quantizer.state_dict()


def _process(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=PROCESSES,
        # Processes that disagree wait for each other: fail instead.
        timeout=timedelta(seconds=120),
    )
    results = {name: _train(rank, *case) for name, case in CASES.items()}
    results["lobes"] = {}
    for name in _lobes_to_train():
        try:
            results["lobes"][name] = _train_lobe(name, rank)
        except Exception as error:
            # One lobe's error must not hide the others.
            results["lobes"][name] = str(error)
    torch.save(results, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    # All is said: threads of gloo now and then abort when they are ended.
    os._exit(0)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(_process, (str(folder),), nprocs=PROCESSES)
    return [
        torch.load(folder / f"{rank}.pt", weights_only=False)
        for rank in range(PROCESSES)
    ]


@pytest.mark.parametrize("case", CASES)
def test_processes_agree_on_starts_averages_and_replacements(processes, case):
    (first, _), (second, _) = (results[case] for results in processes)
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert torch.equal(values, second[name]), name


def test_codebook_use_is_counted_over_both_processes(processes):
    (_, first), (_, second) = (results["averages"] for results in processes)
    assert first == second
    alone, use = _quantizer(CASES["averages"][0]), CodebookUse((8, 8))
    both = torch.cat([_frames(0), _frames(1)])
    for lengths in (None, torch.tensor([1.0, 0.0]), None):
        use.update(alone(both, lengths).codes, lengths)
    expected = [row.perplexity for row in use.rows()]
    assert [row.perplexity for row in first] == pytest.approx(expected)


def test_two_processes_equal_one_with_both_batches(processes):
    shared, _ = processes[0]["averages"]
    alone = _quantizer(CASES["averages"][0])
    both = torch.cat([_frames(0), _frames(1)])
    for lengths in (None, torch.tensor([1.0, 0.0]), None):
        alone(both, lengths)
    for name, values in alone.state_dict().items():
        assert torch.allclose(values, shared[name], atol=1e-6), name


@every_quantizer
def test_processes_agree_after_ten_steps_with_different_data(processes, name):
    first, second = (results["lobes"][name] for results in processes)
    assert not isinstance(first, str), first
    assert not isinstance(second, str), second
    assert first.keys() == second.keys()
    for key, values in first.items():
        assert values.isfinite().all()
        assert torch.equal(values, second[key]), key
