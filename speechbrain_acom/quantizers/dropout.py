"""Training steps that use fewer codebooks than there are."""

import torch

from speechbrain_acom.processes import copy_from_first_process
from speechbrain_acom.quantizers.contract import Quantizer


def drawn_num_codebooks(books: int, probability: float) -> int:
    """How many codebooks a training step uses, the same in all processes.

    So one model learns to serve every number of codebooks (Zeghidour et al.,
    "SoundStream", 2021, section III-C, "quantizer dropout").

    Arguments
    ---------
    books : int
        K, from 1 on.
    probability : float
        Probability that the number is drawn evenly from 1 to K instead of
        being K, in [0, 1].

    Returns
    -------
    int
        From 1 to K.

    Example
    -------
    >>> drawn_num_codebooks(8, probability=0.0)
    8
    """
    if books == 1 or probability == 0.0:
        return books
    drawn = torch.randint(1, books + 1, ())
    drawn = torch.where(torch.rand(()) < probability, drawn, books)
    copy_from_first_process(drawn)
    return int(drawn)


def used_num_codebooks(quantizer: Quantizer, given: int | None) -> int:
    """How many codebooks a quantizer with dropout uses.

    Arguments
    ---------
    quantizer : Quantizer
        It has the attribute ``quantizer_dropout``.
    given : int | None
        What its caller asked for. None: all, or in training mode as drawn.

    Returns
    -------
    int
        From 1 to K.
    """
    if given is not None:
        return given
    books = len(quantizer.cardinalities)
    if not quantizer.training:
        return books
    return drawn_num_codebooks(books, quantizer.quantizer_dropout)
