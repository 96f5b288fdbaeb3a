"""A batch sampler gave the same batches in every epoch.

SpeechBrain tells a sampler which epoch it is where it made the sampler
itself; ``DynamicBatchSampler`` draws by seed and epoch, and was at epoch 0 for
ever. A training that was resumed in the middle of an epoch went on with other
batches than it had begun with.
"""

from speechbrain.dataio.sampler import DynamicBatchSampler
from training_helpers import LOADER, EnergyBrain, brain_in, dataset_of

COUNTS = [3, 4, 5, 6, 3, 4, 5, 6]


class OrderBrain(EnergyBrain):
    """Notes the batches of every epoch."""

    def on_fit_batch_start(self, batch, should_step):
        super().on_fit_batch_start(batch, should_step)
        epoch = self.hparams.epoch_counter.current
        self.order = getattr(self, "order", {})
        self.order.setdefault(epoch, []).append(tuple(batch.id))


def test_every_epoch_has_its_own_batches(tmp_path):
    data = dataset_of(COUNTS)
    sampler = DynamicBatchSampler(
        data,
        max_batch_length=12,
        num_buckets=2,
        lengths_list=COUNTS,
        shuffle=True,
        batch_ordering="random",
        seed=0,
    )
    brain = brain_in(tmp_path, kind=OrderBrain, epochs=3)
    brain.fit(
        brain.hparams.epoch_counter,
        data,
        dataset_of([5, 3]),
        train_loader_kwargs={
            "batch_sampler": sampler,
            "collate_fn": LOADER["collate_fn"],
        },
        valid_loader_kwargs=LOADER,
    )
    orders = list(brain.order.values())
    assert len(orders) == 3
    for order in orders:
        assert sorted(sum(order, ())) == list("abcdefgh")
    assert len({tuple(order) for order in orders}) == 3
