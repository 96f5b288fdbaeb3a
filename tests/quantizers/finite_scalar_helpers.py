"""Frames for finite scalar quantizers."""

import torch


def correlated_frames(number=20_000, channels=8):
    """Correlated channels, far from zero and of very different size."""
    mixing = torch.randn(channels, channels) * torch.logspace(-3, 1, channels)
    return 100 + torch.randn(number, channels) @ mixing.T
