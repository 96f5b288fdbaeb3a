"""Interfaces that turn audio into bytes and bytes into text or labels.

They are SpeechBrain ``Pretrained`` classes: ``from_hparams(source)`` takes a
folder or a hub name. ``half="device"`` or ``half="cloud"`` loads one half.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ruamel.yaml
import speechbrain as sb
import torch
from speechbrain.inference.interfaces import Pretrained
from torch import Tensor

from speechbrain_acom.audio import load_audio
from speechbrain_acom.entropy.bitstream import read_message, write_message
from speechbrain_acom.errors import ConfigurationError

HPARAMS_FILES = {
    "both": "hyperparams.yaml",
    "device": "device.yaml",
    "cloud": "cloud.yaml",
}


@dataclass
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


class AcomInterface(Pretrained):
    """What both tasks have in common: audio to bytes, bytes to scores.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.inference.interfaces.Pretrained``.
    """

    HPARAMS_NEEDED = ["sample_rate", "half", "model_hash", "prior"]
    MODULES_NEEDED = ["compute_features", "normalize", "split"]
    # Key of what turns the head's output into an answer, and other keys that
    # the task needs; the export copies them from the training YAML.
    VOCABULARY = ""
    TASK_KEYS: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.half: str = self.hparams.half
        self.prior = self.hparams.prior.prior
        self.model_hash = bytes.fromhex(self.hparams.model_hash)
        if self.half != "both":
            self.mods.split.keep_half(self.half)

    @classmethod
    def from_hparams(
        cls, source: str | Path, half: str = "both", **kwargs: Any
    ) -> "AcomInterface":
        """Load a coded model, or one half of it.

        Arguments
        ---------
        source : str | Path
            Folder of an exported model, or its name on the hub.
        half : str
            "both", "device" (can only encode) or "cloud" (can only decode).
        **kwargs
            As for ``Pretrained.from_hparams``.

        Returns
        -------
        AcomInterface
            An instance of the class that the method was called on.

        Raises
        ------
        ConfigurationError
            If ``half`` is none of these, or a local folder has no such half.
        """
        if half not in HPARAMS_FILES:
            raise ConfigurationError("half", half, "both, device or cloud")
        hparams_file = HPARAMS_FILES[half]
        folder = Path(source)
        if folder.is_dir() and not (folder / hparams_file).is_file():
            raise ConfigurationError(
                "source", str(source), f"a folder that holds {hparams_file}"
            )
        return super().from_hparams(
            str(source), hparams_file=hparams_file, **kwargs
        )

    def encode_file(self, path: str | Path) -> bytes:
        """Turn an audio file into one message.

        Arguments
        ---------
        path : str | Path
            Audio of any sample rate and number of channels.

        Returns
        -------
        bytes
            The message.

        Raises
        ------
        AudioError
            If the file is missing, empty, damaged or not audio.
        ConfigurationError
            If only the cloud half is loaded.
        """
        return self.encode(load_audio(path, self.hparams.sample_rate))

    def encode(self, signal: Tensor) -> bytes:
        """Turn one mono signal, shape (time,), into one message."""
        codes, num_frames = self.signal_codes(signal)
        return self.message(codes, num_frames)

    @torch.no_grad()
    def signal_codes(self, signal: Tensor) -> tuple[Tensor, int]:
        """Codes (frame, K) of a mono signal (time,), and frames at the cut."""
        self._need("device")
        lengths = torch.ones(1, device=self.device)
        signal = signal.to(self.device).unsqueeze(0)
        features = self.mods.compute_features(signal)
        features = self.mods.normalize(features, lengths)
        cut = self.mods.split.device(features, lengths)
        codes = self.mods.split.bottleneck.encode(cut.values, cut.lengths)
        return codes[0].cpu(), cut.values.shape[1]

    def message(self, codes: Tensor, num_frames: int) -> bytes:
        """Code (frame, K) integers of ``num_frames`` frames at the cut."""
        return write_message(
            codes.numpy(), num_frames, self.prior, self.model_hash
        )

    @torch.no_grad()
    def decode_output(self, message: bytes) -> Tensor:
        """Turn one message into what the model's head gives.

        Arguments
        ---------
        message : bytes
            What :meth:`encode` gave, here or on another machine.

        Returns
        -------
        Tensor
            Shape (1, frame, token) or (1, 1, class).

        Raises
        ------
        BitstreamError
            If the message is damaged, or of another model or version.
        ConfigurationError
            If only the device half is loaded.
        """
        self._need("cloud")
        bottleneck = self.mods.split.bottleneck
        read = read_message(
            message, self.prior, self.model_hash, bottleneck.code_frames
        )
        codes = torch.from_numpy(read.codes).to(self.device).unsqueeze(0)
        values = bottleneck.decode(codes, read.num_frames)
        return self.mods.split.cloud(values, torch.ones(1, device=self.device))

    def _need(self, half: str) -> None:
        if self.half not in ("both", half):
            raise ConfigurationError(
                "half", self.half, f"{half} or both for this call"
            )


class AcomASR(AcomInterface):
    """Speech to bytes, bytes to text.

    Example
    -------
    >>> asr = AcomASR.from_hparams("folder")  # doctest: +SKIP
    >>> message = asr.encode_file("speech.wav")  # doctest: +SKIP
    >>> asr.decode(message)  # doctest: +SKIP
    'TURN ON THE LIGHT'
    """

    VOCABULARY = "tokenizer"
    TASK_KEYS = ("blank_index",)

    def decode(self, message: bytes) -> str:
        """Turn a message into text; errors as :meth:`decode_output`."""
        output = self.decode_output(message)
        tokens = sb.decoders.ctc_greedy_decode(
            output, torch.ones(1), self.hparams.blank_index
        )
        return self.hparams.tokenizer.decode_ids(tokens[0])

    def transcribe_file(self, path: str | Path) -> str:
        """Text of an audio file, through the bytes; errors as above."""
        return self.decode(self.encode_file(path))


class AcomClassifier(AcomInterface):
    """Sound to bytes, bytes to a label with its score.

    Example
    -------
    >>> classifier = AcomClassifier.from_hparams("folder")  # doctest: +SKIP
    >>> message = classifier.encode_file("dog.wav")  # doctest: +SKIP
    >>> classifier.decode(message)  # doctest: +SKIP
    Label(name='dog_bark', score=0.93)
    """

    VOCABULARY = "label_encoder"
    TASK_KEYS = ("score_scale",)

    def decode(self, message: bytes) -> Label:
        """Turn a message into a label; errors as :meth:`decode_output`."""
        scores = self.decode_output(message)[0, 0] * self.hparams.score_scale
        score, index = scores.softmax(dim=-1).max(dim=-1)
        name = self.hparams.label_encoder.decode_ndim(int(index))
        return Label(name, float(score))

    def classify_file(self, path: str | Path) -> Label:
        """Label of an audio file, through the bytes; errors as above."""
        return self.decode(self.encode_file(path))


INTERFACES = {kind.__name__: kind for kind in (AcomASR, AcomClassifier)}


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
        An :class:`AcomASR` or :class:`AcomClassifier`.

    Raises
    ------
    ConfigurationError
        If the folder holds no such model.
    """
    path = Path(source) / HPARAMS_FILES.get(half, "")
    if not path.is_file():
        raise ConfigurationError(
            "model", str(source), f"a folder of an exported model ({half})"
        )
    # Only the name: building the model is from_hparams' work.
    name = ruamel.yaml.YAML().load(path.read_text(encoding="utf-8"))[
        "interface"
    ]
    if name not in INTERFACES:
        raise ConfigurationError("interface", name, ", ".join(INTERFACES))
    return INTERFACES[name].from_hparams(source, half=half)
