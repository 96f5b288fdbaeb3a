"""Tiny models of every family, unsplit and split."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN, Classifier
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from torch import Tensor

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer
from speechbrain_acom.splits import (
    Cnn14Split,
    ConformerSplit,
    EcapaSplit,
    EncoderDecoderSplit,
    SlimCnn14,
    Split,
)

MEL_BINS = 40
NUM_LAYERS = {"conformer": 3, "encoder_decoder": 3, "ecapa": 6, "cnn14": 7}
CUT_POINTS = [
    (family, split_layer)
    for family, num_layers in NUM_LAYERS.items()
    for split_layer in range(num_layers + 1)
]

bypass = partial(Bottleneck, quantizer=Bypass)
coded = partial(
    Bottleneck,
    quantizer=partial(
        ResidualVectorQuantizer,
        num_codebooks=2,
        codebook_size=16,
        codebook_dim=4,
    ),
)


@dataclass
class Family:
    """An unsplit model as its recipe would hold it, and how to cut it."""

    parts: torch.nn.ModuleList
    unsplit: Callable[[Tensor, Tensor], Tensor]
    cut: Callable[..., Split]


def conformer_parts(**changes) -> torch.nn.ModuleList:
    """Front end, transformer and a head; changes are the transformer's."""
    options = {
        "attention_type": "RelPosMHAXL",
        "encoder_module": "conformer",
        "causal": False,
        "dropout": 0.0,
        "kernel_size": 7,
        "num_decoder_layers": 0,
    }
    front_end = ConvolutionFrontEnd(
        input_shape=(None, None, MEL_BINS),
        num_blocks=2,
        num_layers_per_block=1,
        out_channels=(8, 4),
        kernel_sizes=(3, 3),
        strides=(2, 2),
        residuals=(False, False),
        dropout=0.0,
    )
    transformer = TransformerASR(
        tgt_vocab=5,
        input_size=MEL_BINS,
        d_model=32,
        nhead=4,
        num_encoder_layers=3,
        d_ffn=48,
        normalize_before=True,
        **(options | changes),
    )
    head = torch.nn.Linear(32, 5)
    return torch.nn.ModuleList([front_end, transformer, head])


def conformer(**changes) -> Family:
    parts = conformer_parts(**changes)
    front_end, transformer, head = parts

    def unsplit(features: Tensor, lengths: Tensor) -> Tensor:
        return head(transformer.encode(front_end(features), lengths))

    return Family(parts, unsplit, partial(ConformerSplit, *parts))


def encoder_decoder(**changes) -> Family:
    """With an attention decoder; the encoder's states are its output."""
    parts = conformer_parts(**({"num_decoder_layers": 2} | changes))
    parts.append(torch.nn.Linear(32, 5))
    front_end, transformer, *_ = parts

    def unsplit(features: Tensor, lengths: Tensor) -> Tensor:
        return transformer.encode(front_end(features), lengths)

    return Family(parts, unsplit, partial(EncoderDecoderSplit, *parts))


def ecapa(blocks: int = 4) -> Family:
    model = ECAPA_TDNN(
        MEL_BINS,
        channels=[12] + [16] * (blocks - 1) + [24],
        kernel_sizes=[5] + [3] * (blocks - 1) + [1],
        dilations=[1] + [2] * (blocks - 1) + [1],
        groups=[1] * (blocks + 1),
        attention_channels=8,
        res2net_scale=4,
        se_channels=8,
        lin_neurons=6,
    )
    classifier = Classifier(6, lin_neurons=6, out_neurons=3)

    def unsplit(features: Tensor, lengths: Tensor) -> Tensor:
        return classifier(model(features, lengths))

    parts = torch.nn.ModuleList([model, classifier])
    return Family(parts, unsplit, partial(EcapaSplit, *parts))


def cnn14(**changes) -> Family:
    model = SlimCnn14(
        **({"emb_dim": 8, "width": 0.0625} | changes), mel_bins=MEL_BINS
    )
    classifier = Classifier(8, lin_neurons=8, out_neurons=3)

    def unsplit(features: Tensor, _: Tensor) -> Tensor:
        return classifier(model(features))

    parts = torch.nn.ModuleList([model, classifier])
    return Family(parts, unsplit, partial(Cnn14Split, *parts))


BUILDERS = {
    "conformer": conformer,
    "encoder_decoder": encoder_decoder,
    "ecapa": ecapa,
    "cnn14": cnn14,
}


@pytest.fixture
def build():
    """Builds a family by name; every call gives other weights."""
    torch.manual_seed(0)

    def build_family(name: str, **changes) -> Family:
        family = BUILDERS[name](**changes)
        family.parts.eval()
        # Fresh norms have a mean of zero, which hides a norm left out.
        for part in family.parts.modules():
            if isinstance(part, torch.nn.modules.batchnorm._NormBase):
                part.running_mean.normal_(std=0.2)
                part.running_var.uniform_(0.5, 1.5)
        return family

    return build_family


@pytest.fixture(params=CUT_POINTS, ids=lambda point: f"{point[0]}-{point[1]}")
def cut_point(request) -> tuple[str, int]:
    """Every cut of every family: (name, M)."""
    return request.param


@pytest.fixture
def bypass_bottleneck():
    """A bottleneck that changes nothing."""
    return bypass


@pytest.fixture
def coded_bottleneck():
    """A bottleneck with two codebooks of 16 entries."""
    return coded


@pytest.fixture
def features() -> Tensor:
    """Two clips, (batch, time, mel band)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 100, MEL_BINS, generator=generator)
