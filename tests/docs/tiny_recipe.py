"""A small recipe with the lines that the tutorial's diff touches.

Those lines are the ones of SpeechBrain's recipes/TIMIT/ASR/CTC; everything
else is only as much as makes them run.
"""

TRAIN_YAML = """\
sample_rate: 16000
n_mels: 40
epochs: 1
save_folder: save
train_dataloader_opts:
    batch_size: 2

compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
normalize: !new:speechbrain.processing.features.InputNormalization
    norm_type: global
model: !new:speechbrain.lobes.models.CRDNN.CRDNN
    input_size: !ref <n_mels>
    dropout: 0.0
    cnn_channels: (4, 4)
    time_pooling: True
    rnn_layers: 1
    rnn_neurons: 8
    dnn_blocks: 1
    dnn_neurons: 16
output: !new:speechbrain.nnet.linear.Linear
    input_size: 16
    n_neurons: 5
log_softmax: !new:speechbrain.nnet.activations.Softmax
    apply_log: True
compute_cost: !name:speechbrain.nnet.losses.ctc_loss
    blank_index: 0
ctc_stats: !name:speechbrain.utils.metric_stats.MetricStats
    metric: !name:speechbrain.nnet.losses.ctc_loss
        blank_index: 0
        reduction: batch
opt_class: !name:torch.optim.Adam
    lr: 0.001
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
    limit: !ref <epochs>

modules:
    model: !ref <model>
    output: !ref <output>
    normalize: !ref <normalize>

checkpointer: !new:speechbrain.utils.checkpoints.Checkpointer
    checkpoints_dir: !ref <save_folder>
    recoverables:
        model: !ref <model>
        output: !ref <output>
        normalizer: !ref <normalize>
        counter: !ref <epoch_counter>
"""

TRAIN_PY = """\
import speechbrain as sb
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)


class ASR_Brain(sb.Brain):
    def compute_forward(self, batch, stage):
        wavs, wav_lens = batch.to(self.device).sig
        feats = self.hparams.compute_features(wavs)
        feats = self.modules.normalize(feats, wav_lens)
        out = self.modules.model(feats)
        out = self.modules.output(out)
        pout = self.hparams.log_softmax(out)
        return pout, wav_lens

    def compute_objectives(self, predictions, batch, stage):
        pout, pout_lens = predictions
        phns, phn_lens = batch.phn_encoded
        loss = self.hparams.compute_cost(pout, phns, pout_lens, phn_lens)
        self.ctc_metrics.append(batch.id, pout, phns, pout_lens, phn_lens)
        return loss

    def on_stage_start(self, stage, epoch):
        self.ctc_metrics = self.hparams.ctc_stats()

    def on_stage_end(self, stage, stage_loss, epoch):
        if stage == sb.Stage.VALID:
            self.checkpointer.save_checkpoint(meta={"PER": stage_loss})


def train(hparams, train_data, label_encoder=None):
    asr_brain = ASR_Brain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts={"device": "cpu", "noprogressbar": True},
        checkpointer=hparams["checkpointer"],
    )
    asr_brain.label_encoder = label_encoder

    asr_brain.fit(
        asr_brain.hparams.epoch_counter,
        train_data,
        train_data,
        train_loader_kwargs=hparams["train_dataloader_opts"],
        valid_loader_kwargs=hparams["train_dataloader_opts"],
    )
    return asr_brain
"""
