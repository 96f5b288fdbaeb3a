"""What the interfaces of all tasks share: audio to bytes, bytes to scores.

They are SpeechBrain ``Pretrained`` classes: ``from_hparams(source)`` takes a
folder or a hub name. ``half="device"`` or ``half="cloud"`` loads one half.
"""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import HFValidationError, validate_repo_id
from speechbrain.inference.interfaces import Pretrained
from torch import Tensor

from speechbrain_acom.audio import load_audio, pad_short
from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.entropy.bitstream import (
    MAX_FRAMES,
    read_message,
    write_message,
)
from speechbrain_acom.errors import (
    AudioError,
    BitstreamError,
    ConfigurationError,
)
from speechbrain_acom.inference.folder import (
    checked_files,
    hparams_file,
)


class AcomInterface(Pretrained):
    """Turns audio into bytes and bytes into what the model's head gives.

    Subclasses add ``decode``, which turns that into the task's answer.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.inference.interfaces.Pretrained``.

    Attributes
    ----------
    loaded_half : str
        "both", "device" (can only encode) or "cloud" (can only decode).
    prior : Prior
        What messages are coded with.
    model_hash : bytes
        Two bytes that every message of this model carries.

    Raises
    ------
    ConfigurationError
        If the model was exported for another interface.
    """

    HPARAMS_NEEDED = [
        "sample_rate",
        "half",
        "interface",
        "model_hash",
        "prior",
    ]
    MODULES_NEEDED = ["compute_features", "normalize", "split"]
    # Key of what turns the head's output into an answer, and other keys that
    # the task needs; the export copies them from the training YAML.
    VOCABULARY = ""
    TASK_KEYS: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        wanted = self.hparams.interface
        if wanted not in [kind.__name__ for kind in type(self).__mro__]:
            raise ConfigurationError(
                "interface", type(self).__name__, f"{wanted} for this model"
            )
        # Not `half`, which is a method of every torch module.
        self.loaded_half: str = self.hparams.half
        self.prior = self.hparams.prior.prior
        self.model_hash = bytes.fromhex(self.hparams.model_hash)
        if self.loaded_half != "both":
            self.mods.split.keep_half(self.loaded_half)

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
            If ``half`` is none of these, the source is neither a folder nor
            a possible hub name, a file in the folder is missing, damaged or
            of another model, or the model was exported for another interface.
        """
        source = str(source)
        if Path(source).is_dir():
            checked_files(source, half)
        else:
            _check_remote(source)
        return super().from_hparams(
            source, hparams_file=hparams_file(half), **kwargs
        )

    @property
    def bottleneck(self) -> Bottleneck:
        """The module that stands in the cut."""
        return self.mods.split.bottleneck

    def encode_file(
        self, path: str | Path, num_codebooks: int | None = None
    ) -> bytes:
        """Turn an audio file into one message.

        Arguments
        ---------
        path : str | Path
            Audio of any sample rate and number of channels.
        num_codebooks : int | None
            As for :meth:`encode`.

        Returns
        -------
        bytes
            The message.

        Raises
        ------
        AudioError
            If the file is missing, empty, damaged, not audio or too long.
        ConfigurationError
            As for :meth:`encode`.
        """
        return self.message(*self.file_codes(path, num_codebooks))

    def encode(self, signal: Tensor, num_codebooks: int | None = None) -> bytes:
        """Turn a signal into one message.

        Arguments
        ---------
        signal : Tensor
            Mono, floating point, shape (time,), at the model's sample rate.
            Less than 0.1 s is followed by silence.
        num_codebooks : int | None
            k, from 1 to K: send only the first k codebooks, where the
            quantizer is truncatable. Smaller: fewer bits, coarser features.
            None: all K. The decoder finds k in the message.

        Returns
        -------
        bytes
            The message.

        Raises
        ------
        AudioError
            If the signal is of another shape or type, empty, too long, or
            holds NaN or infinite samples.
        ConfigurationError
            If only the cloud half is loaded, or the quantizer has no such k.
        """
        codes, num_frames = self.signal_codes(signal, num_codebooks)
        return self.message(codes, num_frames)

    def file_codes(
        self, path: str | Path, num_codebooks: int | None = None
    ) -> tuple[Tensor, int]:
        """Run the device half on an audio file, up to the codes.

        Arguments, errors: as :meth:`encode_file`.

        Returns
        -------
        tuple[Tensor, int]
            As :meth:`signal_codes`.
        """
        signal = load_audio(path, self.hparams.sample_rate)
        try:
            return self.signal_codes(signal, num_codebooks)
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from None

    @torch.no_grad()
    def signal_codes(
        self, signal: Tensor, num_codebooks: int | None = None
    ) -> tuple[Tensor, int]:
        """Run the device half up to the codes.

        Arguments, errors: as :meth:`encode`.

        Returns
        -------
        codes : Tensor
            int64, shape (code frame, K), on the CPU; fewer columns where only
            the first codebooks are sent.
        num_frames : int
            Frames at the cut, before merging.
        """
        self._need("device")
        signal = _checked_signal(signal).to(self.device)
        signal = pad_short(signal, self.hparams.sample_rate)
        lengths = torch.ones(1, device=self.device)
        features = self.mods.compute_features(signal.unsqueeze(0))
        features = self.mods.normalize(features, lengths)
        cut = self.mods.split.device(features, lengths)
        num_frames = cut.values.shape[1]
        if num_frames > MAX_FRAMES:
            raise AudioError(
                f"signal: found {num_frames} frames at the cut, expected at "
                f"most {MAX_FRAMES}: code the recording in pieces"
            )
        codes = self.bottleneck.encode(cut.values, cut.lengths, num_codebooks)
        return codes[0].cpu(), num_frames

    def message(self, codes: Tensor, num_frames: int) -> bytes:
        """Turn codes into one message.

        Arguments
        ---------
        codes : Tensor
            What :meth:`signal_codes` gave.
        num_frames : int
            Frames at the cut, before merging.

        Returns
        -------
        bytes
            The message.

        Raises
        ------
        ConfigurationError
            If the codes do not cover that many frames.
        BitstreamError
            If a code is not an entry of its codebook.
        """
        framing = self.bottleneck.framing
        return write_message(
            codes.numpy(), num_frames, self.prior, self.model_hash, framing
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
        read = read_message(
            message, self.prior, self.model_hash, self.bottleneck.framing
        )
        if read.num_frames == 0:
            raise BitstreamError(
                "message: found 0 frames, expected at least 1: forged, for "
                "no encoder writes this"
            )
        self._check_codebooks(read.codes.shape[1])
        codes = torch.from_numpy(read.codes).to(self.device).unsqueeze(0)
        values = self.bottleneck.decode(codes, read.num_frames)
        lengths = torch.ones(1, device=self.device)
        try:
            return self.mods.split.cloud(values, lengths)
        # Fewer frames than any audio gives, or more than memory holds.
        except RuntimeError as error:
            reason = str(error).split("\n")[0]
            raise BitstreamError(
                f"message of {read.num_frames} frames: the cloud half fails "
                f"on it ({reason}), expected one that an encoder wrote"
            ) from error

    def _check_codebooks(self, columns: int) -> None:
        """Raise if the cloud half cannot decode so many columns of codes."""
        books = columns - self.bottleneck.framing.run_columns
        try:
            self.bottleneck.quantizer.checked_num_codebooks(books)
        except ConfigurationError as error:
            raise BitstreamError(
                f"message: {error}: forged, for no encoder writes this"
            ) from error

    def _need(self, half: str) -> None:
        if self.loaded_half not in ("both", half):
            raise ConfigurationError(
                "half", self.loaded_half, f"{half} or both for this call"
            )


def _check_remote(source: str) -> None:
    """Tell a mistyped folder from what SpeechBrain can fetch."""
    if source.startswith(("http:", "https:")):
        return
    try:
        validate_repo_id(source)
    except HFValidationError:
        raise ConfigurationError(
            "source", source, "an existing folder or a name on the hub"
        ) from None


def _checked_signal(signal: Tensor) -> Tensor:
    """The signal as float32, if it is one."""
    if signal.dim() != 1 or len(signal) == 0 or not signal.is_floating_point():
        raise AudioError(
            f"signal: found {signal.dtype} of shape {tuple(signal.shape)}, "
            "expected floating-point samples of shape (time,)"
        )
    bad = len(signal) - int(torch.isfinite(signal).sum())
    if bad:
        raise AudioError(
            f"signal: found {bad} of {len(signal)} samples NaN or infinite, "
            "expected finite samples"
        )
    return signal.float()
