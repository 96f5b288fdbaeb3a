"""Finite scalar quantizers whose features are easy to reckon by hand."""

import itertools

import torch


def with_plain_projections(quantizer, gain):
    """Channels are dimensions: bounded by tanh(gain * x), restored as is."""
    with torch.no_grad():
        for projection, slope in (
            (quantizer.input_projection, gain),
            (quantizer.output_projection, 1.0),
        ):
            projection.weight.copy_(slope * torch.eye(quantizer.channels))
            projection.bias.zero_()
    return quantizer


def every_code(quantizer):
    codes = itertools.product(*map(range, quantizer.cardinalities))
    return torch.tensor(list(codes)).unsqueeze(0)


def correlated_frames(number=20_000, channels=8):
    """Correlated channels, far from zero and of very different size."""
    mixing = torch.randn(channels, channels) * torch.logspace(-3, 1, channels)
    return 100 + torch.randn(number, channels) @ mixing.T
