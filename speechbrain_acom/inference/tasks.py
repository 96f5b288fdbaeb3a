"""The interface of each task: bytes to text, bytes to a label."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from torch import Tensor

from speechbrain_acom.entropy.limits import MAX_FRAMES
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.inference.folder import interface_name
from speechbrain_acom.inference.interfaces import AcomInterface
from speechbrain_acom.vocabulary import tokens_to_text


@dataclass(frozen=True)
class Label:
    """What a classifier says of a clip.

    Arguments
    ---------
    name : str
        The class.
    score : float
        Its probability, in [0, 1].
    """

    name: str
    score: float


class AcomASR(AcomInterface):
    """Speech to bytes, bytes to text.

    Arguments, attributes, errors: as :class:`AcomInterface`.

    Example
    -------
    >>> asr = AcomASR.from_hparams("folder")  # doctest: +SKIP
    >>> message = asr.encode_file("speech.wav")  # doctest: +SKIP
    >>> asr.decode(message)  # doctest: +SKIP
    'TURN ON THE LIGHT'
    """

    VOCABULARY = "tokenizer"
    TASK_KEYS = ("blank_index",)

    def decode(self, message: bytes, max_frames: int | None = None) -> str:
        """Turn a message into text.

        Arguments, errors: as :meth:`decode_output`.

        Returns
        -------
        str
            The greedy transcript; empty where no word was heard.
        """
        return self.answer(self.decode_output(message, max_frames))

    def answer(self, output: Tensor) -> str:
        """Greedy transcript of what the head gave, (1, frame, token)."""
        tokens = sb.decoders.ctc_greedy_decode(
            output, torch.ones(1), self.hparams.blank_index
        )
        return tokens_to_text(self.hparams.tokenizer, tokens[0])

    def transcribe_file(
        self, path: str | Path, num_codebooks: int | None = None
    ) -> str:
        """Text of an audio file, through the bytes.

        Arguments, errors: as :meth:`encode_file`; both halves are needed.

        Returns
        -------
        str
            As :meth:`decode`.
        """
        message = self.encode_file(path, num_codebooks)
        return self.decode(message, MAX_FRAMES)


class AcomEncoderDecoderASR(AcomASR):
    """Speech to bytes, bytes to text by a search with an attention decoder.

    Arguments, attributes, errors: as :class:`AcomInterface`.

    Example
    -------
    >>> from_hparams = AcomEncoderDecoderASR.from_hparams
    >>> cloud = from_hparams("folder", half="cloud")  # doctest: +SKIP
    >>> cloud.decode(message)  # doctest: +SKIP
    'TURN ON THE LIGHT'
    """

    TASK_KEYS = ("test_search",)
    CLOUD_MODULES = ("lm_model",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.loaded_half != "device":
            # A search only decodes: encoder layers stand in the halves.
            self.hparams.test_search.model.encoder = None

    def answer(self, output: Tensor) -> str:
        """Text of the encoder's states, (1, frame, channel)."""
        lengths = torch.ones(1, device=output.device)
        with torch.no_grad():
            tokens, *_ = self.hparams.test_search(output, lengths)
        return tokens_to_text(self.hparams.tokenizer, tokens[0])


class AcomClassifier(AcomInterface):
    """Sound to bytes, bytes to a label with its score.

    Arguments, attributes, errors: as :class:`AcomInterface`.

    Example
    -------
    >>> classifier = AcomClassifier.from_hparams("folder")  # doctest: +SKIP
    >>> message = classifier.encode_file("dog.wav")  # doctest: +SKIP
    >>> classifier.decode(message)  # doctest: +SKIP
    Label(name='dog_bark', score=0.93)
    """

    VOCABULARY = "label_encoder"
    TASK_KEYS = ("score_scale",)

    def decode(self, message: bytes, max_frames: int | None = None) -> Label:
        """Turn a message into a label.

        Arguments, errors: as :meth:`decode_output`.

        Returns
        -------
        Label
            The likeliest class and its probability.
        """
        return self.answer(self.decode_output(message, max_frames))

    def answer(self, output: Tensor) -> Label:
        """Likeliest class of what the head gave, (1, 1, class)."""
        scores = output[0, 0] * self.hparams.score_scale
        score, index = scores.softmax(dim=-1).max(dim=-1)
        name = self.hparams.label_encoder.ind2lab[int(index)]
        return Label(name, float(score))

    def classify_file(
        self, path: str | Path, num_codebooks: int | None = None
    ) -> Label:
        """Label of an audio file, through the bytes.

        Arguments, errors: as :meth:`encode_file`; both halves are needed.

        Returns
        -------
        Label
            As :meth:`decode`.
        """
        message = self.encode_file(path, num_codebooks)
        return self.decode(message, MAX_FRAMES)


INTERFACES = {
    kind.__name__: kind
    for kind in (AcomASR, AcomEncoderDecoderASR, AcomClassifier)
}


def load_interface(source: str | Path, half: str = "both") -> AcomInterface:
    """Load a model with the interface of the task that it was trained for.

    Arguments
    ---------
    source : str | Path
        Folder of an exported model.
    half : str
        "both", "device" or "cloud".

    Returns
    -------
    AcomInterface
        One of this module's classes.

    Raises
    ------
    ConfigurationError
        If the folder holds no such model, as for
        :meth:`AcomInterface.from_hparams`.
    """
    name = interface_name(source, half)
    if name not in INTERFACES:
        raise ConfigurationError("interface", name, ", ".join(INTERFACES))
    return INTERFACES[name].from_hparams(source, half=half)
