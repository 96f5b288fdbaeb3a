"""Tokens that a recogniser's head gives, turned into text."""

from collections.abc import Sequence

from sentencepiece import SentencePieceProcessor


def tokens_to_text(
    tokenizer: SentencePieceProcessor, tokens: Sequence[int]
) -> str:
    """Text of tokens, whatever the head says.

    A head may be wider than the vocabulary: how many different characters
    there are is only known from the transcripts. What stands in its surplus
    places was never trained and is left out.

    Arguments
    ---------
    tokenizer : SentencePieceProcessor
        The vocabulary.
    tokens : Sequence[int]
        Numbers of tokens, blanks and repetitions taken out.

    Returns
    -------
    str
        The text.

    Example
    -------
    >>> class Letters:
    ...     get_piece_size = staticmethod(lambda: 2)
    ...     decode_ids = staticmethod(lambda ids: "".join("AB"[i] for i in ids))
    >>> tokens_to_text(Letters(), [1, 2, 0])
    'BA'
    """
    known = tokenizer.get_piece_size()
    return tokenizer.decode_ids([token for token in tokens if token < known])
