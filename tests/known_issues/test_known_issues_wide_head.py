"""A head wider than the vocabulary ended validation with an IndexError.

How many different characters there are is only known from the transcripts,
so a head may have places that the vocabulary does not. SentencePiece refuses
their numbers, which an untrained head gives now and then. They are now left
out of the text.
"""

from types import SimpleNamespace

import pytest
import torch
from training_helpers import brain_in

from speechbrain_acom.training import CTCBrain


def test_outputs_that_the_vocabulary_does_not_have_are_left_out(
    tmp_path, recogniser
):
    vocabulary = recogniser.vocabulary
    surplus = vocabulary.get_piece_size()
    with pytest.raises(IndexError):
        vocabulary.decode_ids([surplus])
    brain = brain_in(
        tmp_path,
        kind=CTCBrain,
        tokenizer=vocabulary,
        blank_index=0,
        valid_metric="wer_percent",
    )
    first, *others = vocabulary.encode_as_ids("YES NO")
    said = torch.tensor([[surplus, first, surplus + 1, *others]])
    output = torch.nn.functional.one_hot(said, surplus + 2).float()
    result = SimpleNamespace(output=output, lengths=torch.ones(1))
    brain.reset_metrics()
    brain.update_metrics(result, SimpleNamespace(id=["a"], words=["YES NO"]))
    assert brain.scores() == {"wer_percent": 0.0, "cer_percent": 0.0}
