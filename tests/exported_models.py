"""Tiny untrained models, exported as a recipe exports a trained one."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
import torch

from speechbrain_acom.entropy.priors import StaticPrior
from speechbrain_acom.hparams import load_hparams, save_hparams
from speechbrain_acom.inference import AcomASR, AcomClassifier, AcomInterface
from speechbrain_acom.inference.export import export_coded
from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.splits import Split

RECIPES = Path(__file__).parents[1] / "recipes"
RATE = 16000
WORDS = ["YES NO", "TURN ON THE LIGHT", "SET THE ALARM AT FOUR"]
LABELS = ["dog_bark", "drilling", "siren"]
CUT = {
    "num_codebooks": 2,
    "codebook_size": 16,
    "codebook_dim": 4,
    "merge": 2,
    "n_mels": 16,
}


def sound(seconds=1.0, seed=0):
    """Noise, shape (time,), at the models' sample rate."""
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * RATE), generator=generator)


@dataclass
class Exported:
    """An exported model and what it was made from."""

    folder: Path
    interface: type[AcomInterface]
    split: Split
    normalize: torch.nn.Module
    prior: StaticPrior
    vocabulary: object
    hyperparams_file: Path

    def export(self, folder, **changes):
        """Export it once more, with some parts exchanged."""
        parts = {
            "hyperparams_file": self.hyperparams_file,
            "split": self.split,
            "normalize": self.normalize,
            "prior": self.prior,
            "vocabulary": self.vocabulary,
            "interface": self.interface,
        }
        return export_coded(folder, **(parts | changes))


def random_prior(seed=0, cardinalities=(16, 16)):
    """Fitted on random codes, some likelier than others."""
    generator = np.random.default_rng(seed)
    shape = (2, 300, len(cardinalities))
    codes = generator.integers(0, cardinalities, shape).min(axis=0)
    return StaticPrior.fit([codes], cardinalities)


def character_tokenizer():
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(WORDS),
        model_writer=trained,
        model_type="char",
        vocab_size=31,
        hard_vocab_limit=False,
        bos_id=1,
        eos_id=2,
        minloglevel=2,
    )
    tokenizer = sentencepiece.SentencePieceProcessor()
    tokenizer.load_from_serialized_proto(trained.getvalue())
    return tokenizer


def tiny_recogniser(folder, yaml="mini_rvq", **cut):
    """AcomASR of a YAML of the LibriSpeech recipe, 32 channels."""
    model = {
        "d_model": 32,
        "d_ffn": 32,
        "nhead": 2,
        "num_encoder_layers": 2,
        "split_layer": 1,
        "front_end_channels": 4,
        **cut,
    }
    tokenizer = character_tokenizer()
    model["output_neurons"] = tokenizer.get_piece_size()
    yaml = RECIPES / f"LibriSpeech/ASR/CTC/hparams/{yaml}.yaml"
    return _built(folder, yaml, model, AcomASR, tokenizer)


def tiny_classifier(folder):
    """AcomClassifier of the UrbanSound8K recipe's YAML, 16 channels."""
    model = {
        "channels": 16,
        "aggregation_channels": 24,
        "attention_channels": 8,
        "embedding_size": 8,
    }
    return _classifier(folder, "mini_ecapa_rvq", model)


def tiny_cnn14(folder, **cut):
    """AcomClassifier of the same recipe's YAML for a CNN14, 8 maps."""
    model = {
        "n_mels": 32,
        "width": 0.125,
        "embedding_size": 8,
        **cut,
    }
    return _classifier(folder, "mini_cnn14_rvq", model)


def _classifier(folder, name, model):
    yaml = RECIPES / "UrbanSound8k/SoundClassification/hparams" / f"{name}.yaml"
    model = {"num_classes": len(LABELS), **model}
    return _built(folder, yaml, model, AcomClassifier, None)


def _built(folder, yaml, model, interface, vocabulary):
    run = folder / "run"
    run.mkdir(parents=True)
    overrides = {
        "data_folder": str(folder / "corpus"),
        "pretrained_path": str(folder / "pretrained"),
        "output_folder": str(run),
        **CUT,
        **model,
    }
    hparams = load_hparams(yaml, overrides)
    save_hparams(yaml, overrides, run)
    if vocabulary is None:
        vocabulary = hparams[interface.VOCABULARY]
        vocabulary.update_from_iterable(LABELS)
    split = hparams["split"].eval()
    _start_from_noise(split, hparams)
    exported = Exported(
        folder / "export",
        interface,
        split,
        hparams["normalize"],
        random_prior(cardinalities=split.bottleneck.cardinalities),
        vocabulary,
        run / "hyperparams.yaml",
    )
    exported.export(exported.folder)
    return exported


@torch.no_grad()
def _start_from_noise(split, hparams):
    """Give an untrained model codes and answers that differ."""
    generator = torch.Generator().manual_seed(0)
    loudness = torch.logspace(-3, 0, 8).unsqueeze(1)
    signals = torch.randn(8, RATE, generator=generator) * loudness
    lengths = torch.ones(8)
    features = hparams["compute_features"](signals)
    features = hparams["normalize"].train()(features, lengths, epoch=0)
    hparams["normalize"].eval()
    cut = split.device(features, lengths)
    split.bottleneck.calibrate([(cut.values, cut.lengths)])
    merged, counted = split.bottleneck.merged(cut.values, cut.lengths)
    split.bottleneck.initialize(merged[frame_mask(counted, merged)])
    # Without its mean an untrained head gives more than one answer.
    last = hparams["split"].cloud_half
    if "ctc_lin" in hparams:
        outputs = split(features, lengths).output
        last.head.w.bias.sub_(outputs.mean((0, 1)))
    elif hasattr(last.pooling, "fc"):
        embeddings = hparams["embedding_model"](features, lengths)
        last.pooling.fc.conv.bias.sub_(embeddings.mean((0, 1)))
