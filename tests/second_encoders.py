"""Second encoders, and small exported models that code their features."""

import exported_models
import torch
from speechbrain.lobes.features import Fbank

from speechbrain_acom.features import EncodedFeatures, FrozenEncoder
from speechbrain_acom.hparams import load_hparams, save_hparams
from speechbrain_acom.inference import AcomClassifier
from speechbrain_acom.inference.export import export_coded

MEL_BINS, SECOND = 40, 6
ON_THE_WAVEFORM = """
second_encoder: !new:speechbrain_acom.splits.LastChannels
    channels: {channels}
compute_features: !new:speechbrain_acom.features.EncodedFeatures
    compute_features: !new:speechbrain.lobes.features.Fbank
        n_mels: !ref <n_mels>
    encoder: !new:speechbrain_acom.features.FrozenEncoder
        encoder: !new:{encoder}
        channels: {channels}
    frames_per_step: 2
normalize: !new:speechbrain_acom.features.FirstChannelsNormalization
    channels: !ref <n_mels>
"""


class Convolution(torch.nn.Module):
    """Stands in for any encoder that gives fewer frames than it reads."""

    def __init__(self, inputs=MEL_BINS, outputs=SECOND, stride=2, kernel=3):
        super().__init__()
        self.layer = torch.nn.Conv1d(inputs, outputs, kernel, stride)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, values):
        return self.dropout(self.layer(values.transpose(1, 2)).transpose(1, 2))


class WaveformEncoder(Convolution):
    """Stands in for a self-supervised model: 50 frames of 25 ms a second."""

    def __init__(self):
        super().__init__(inputs=1, stride=320, kernel=400)

    def forward(self, signals):
        return super().forward(signals.unsqueeze(-1))


class CentredEncoder(WaveformEncoder):
    """Every frame depends on the whole signal, as with self-attention."""

    def forward(self, signals):
        frames = super().forward(signals)
        return frames - frames.mean(1, keepdim=True)


def waveform_features(encoder=WaveformEncoder, channels=SECOND, **options):
    """Filter banks and, beside them, an encoder with random weights."""
    torch.manual_seed(0)
    return EncodedFeatures(
        Fbank(n_mels=MEL_BINS),
        FrozenEncoder(encoder(), channels),
        **{"frames_per_step": 2, **options},
    )


def saved_hparams(folder, text, channels=SECOND):
    """A small ECAPA that codes a second encoder too; a run's file and it."""
    overrides = {
        **exported_models.CUT,
        "data_folder": "corpus",
        "pretrained_path": "export",
        "channels": 16,
        "aggregation_channels": 24,
        "attention_channels": 8,
        "embedding_size": 8,
        "num_classes": len(exported_models.LABELS),
    }
    yaml = _yaml_with(folder, text, channels)
    hparams = load_hparams(yaml, overrides)
    save_hparams(yaml, overrides, folder)
    return folder / "hyperparams.yaml", hparams


def exported_with(folder, text, channels=SECOND):
    """The same, untrained, as a recipe exports it; gives the folder."""
    hyperparams_file, hparams = saved_hparams(folder, text, channels)
    hparams["label_encoder"].update_from_iterable(exported_models.LABELS)
    normalize = hparams["normalize"].train()
    features = hparams["compute_features"](torch.randn(2, 16000))
    split = hparams["split"].eval()
    with torch.no_grad():
        cut = split.device(normalize(features), torch.ones(2))
        split.bottleneck.initialize(cut.values.flatten(0, 1))
    return export_coded(
        folder / "export",
        hyperparams_file,
        split,
        normalize,
        exported_models.random_prior(),
        hparams["label_encoder"],
        AcomClassifier,
    )


def _yaml_with(folder, text, channels):
    recipe = exported_models.RECIPES / "UrbanSound8k/SoundClassification"
    fragments = exported_models.RECIPES.parent / "hparams/quantizers"
    path = folder / "second.yaml"
    path.write_text(
        f"!include:{recipe}/hparams/mini_ecapa_rvq.yaml\n{text}\n"
        f"quantizer: !include:{fragments}/semantic_encoder.yaml\n"
        f"    semantic_channels: {channels}\n"
        "    codebook_size: !ref <codebook_size>\n"
        "    num_codebooks: !ref <num_codebooks>\n"
        "    codebook_dim: !ref <codebook_dim>\n"
        "split: !new:speechbrain_acom.splits.EcapaSplit\n"
        "    embedding_model: !ref <embedding_model>\n"
        "    classifier: !ref <classifier>\n"
        "    split_layer: !ref <split_layer>\n"
        "    bottleneck: !ref <bottleneck>\n"
        "    second_encoder: !ref <second_encoder>\n"
    )
    return path
