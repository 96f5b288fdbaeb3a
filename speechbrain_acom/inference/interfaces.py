"""What the interfaces of all tasks share: audio to bytes, bytes to scores.

They are SpeechBrain ``Pretrained`` classes: ``from_hparams(source)`` takes a
folder or a hub name. ``half="device"`` or ``half="cloud"`` loads one half.
"""

from pathlib import Path
from typing import Any

import torch
from speechbrain.inference.interfaces import Pretrained
from torch import Tensor

from speechbrain_acom.audio import checked_signal, load_audio, pad_short
from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.entropy.bitstream import (
    MAX_FRAMES,
    Message,
    MessageOptions,
    read_message,
    write_message,
)
from speechbrain_acom.errors import (
    AudioError,
    BitstreamError,
    ConfigurationError,
)
from speechbrain_acom.inference.folder import check_source, hparams_file
from speechbrain_acom.lengths import frame_counts


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
    # Keys of modules beside the split that the cloud needs where the training
    # YAML has them, such as a language model.
    CLOUD_MODULES: tuple[str, ...] = ()

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
        if self.loaded_half == "both":
            self.mods.split.drop_training_modules()
        else:
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
        check_source(source, half)
        return super().from_hparams(
            str(source), hparams_file=hparams_file(half), **kwargs
        )

    @property
    def bottleneck(self) -> Bottleneck:
        """The module that stands in the cut."""
        return self.mods.split.bottleneck

    def encode_file(
        self,
        path: str | Path,
        num_codebooks: int | None = None,
        *,
        checksum: bool = True,
        scalable: bool = False,
    ) -> bytes:
        """Turn an audio file into one message.

        Arguments
        ---------
        path : str | Path
            Audio of any sample rate and number of channels.
        num_codebooks, checksum, scalable
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
        codes, num_frames = self.file_codes(path, num_codebooks)
        return self.message(
            codes, num_frames, checksum=checksum, scalable=scalable
        )

    def encode(
        self,
        signal: Tensor,
        num_codebooks: int | None = None,
        *,
        checksum: bool = True,
        scalable: bool = False,
    ) -> bytes:
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
        checksum : bool
            Whether a byte is spent on finding damage.
        scalable : bool
            Whether the message may be cut after any byte, where the quantizer
            is truncatable; it takes about two bytes more. The fewer of its
            bytes come, the fewer codebooks the decoder finds in it.

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
            If only the cloud half is loaded, the quantizer has no such k, or
            a scalable message is wanted and it is not truncatable.
        """
        codes, num_frames = self.signal_codes(signal, num_codebooks)
        return self.message(
            codes, num_frames, checksum=checksum, scalable=scalable
        )

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
        self.need_half("device")
        signal = checked_signal(signal).to(self.device)
        signal = pad_short(signal, self.hparams.sample_rate)
        lengths = torch.ones(1, device=self.device)
        features = self.mods.compute_features(signal.unsqueeze(0))
        features = self.mods.normalize(features, lengths)
        cut = self.mods.split.device(features, lengths)
        # Some device halves pad short clips: what is padding is not sent.
        num_frames = int(frame_counts(cut.lengths, cut.values)[0])
        values = cut.values[:, :num_frames]
        if num_frames > MAX_FRAMES:
            raise AudioError(
                f"signal: found {num_frames} frames at the cut, expected at "
                f"most {MAX_FRAMES}: code the recording in pieces"
            )
        codes = self.bottleneck.encode(values, lengths, num_codebooks)
        return codes[0].cpu(), num_frames

    def message(
        self,
        codes: Tensor,
        num_frames: int,
        *,
        checksum: bool = True,
        scalable: bool = False,
    ) -> bytes:
        """Turn codes into one message.

        Arguments
        ---------
        codes : Tensor
            What :meth:`signal_codes` gave.
        num_frames : int
            Frames at the cut, before merging.
        checksum, scalable
            As for :meth:`encode`.

        Returns
        -------
        bytes
            The message.

        Raises
        ------
        ConfigurationError
            If the codes do not cover that many frames, or as :meth:`encode`.
        BitstreamError
            If a code is not an entry of its codebook.
        """
        quantizer = self.bottleneck.quantizer
        if scalable and not quantizer.truncatable:
            raise ConfigurationError(
                "scalable",
                scalable,
                f"False: {type(quantizer).__name__} cannot be truncated",
            )
        return write_message(
            codes.numpy(),
            num_frames,
            self.prior,
            self.model_hash,
            self.bottleneck.framing,
            MessageOptions(checksum, scalable),
        )

    def read(self, message: bytes, max_frames: int | None = None) -> Message:
        """Turn one message back into codes.

        Arguments
        ---------
        message : bytes
            What :meth:`encode` gave, here or on another machine.
        max_frames : int | None
            Frames at the cut that are read at most: as many as the longest
            recording has that is to be expected. None: as
            :func:`~speechbrain_acom.entropy.bitstream.read_message`.

        Returns
        -------
        Message
            Codes, frames at the cut, and how many codebooks came.

        Raises
        ------
        BitstreamError
            If the message is damaged, of another model or version, or of more
            frames.
        """
        return read_message(
            message,
            self.prior,
            self.model_hash,
            self.bottleneck.framing,
            max_frames,
        )

    def decode_output(
        self, message: bytes, max_frames: int | None = None
    ) -> Tensor:
        """Turn one message into what the model's head gives.

        Arguments
        ---------
        message : bytes
            What :meth:`encode` gave, here or on another machine.
        max_frames : int | None
            As for :meth:`read`.

        Returns
        -------
        Tensor
            Shape (1, frame, token) or (1, 1, class).

        Raises
        ------
        BitstreamError
            If the message is damaged, of another model or version, or of more
            frames.
        ConfigurationError
            If only the device half is loaded.
        """
        return self.output(self.read(message, max_frames))

    @torch.no_grad()
    def output(self, read: Message) -> Tensor:
        """Run the cloud half on what a message held.

        Arguments
        ---------
        read : Message
            What :meth:`read` gave, or a session.

        Returns
        -------
        Tensor
            As :meth:`decode_output`.

        Raises
        ------
        BitstreamError
            If no encoder gives such codes.
        ConfigurationError
            If only the device half is loaded.
        """
        self.need_half("cloud")
        if read.num_frames == 0:
            raise BitstreamError(
                "message: found 0 frames, expected at least 1: forged, for "
                "no encoder writes this",
                0,
            )
        self._check_codebooks(read.num_codebooks)
        codes = torch.from_numpy(read.codes).to(self.device).unsqueeze(0)
        return self.cloud_output(self.bottleneck.decode(codes, read.num_frames))

    @torch.no_grad()
    def cloud_output(self, values: Tensor) -> Tensor:
        """Run the cloud half on decoded features.

        Arguments
        ---------
        values : Tensor
            What stands for the features at the cut, shape (1, frame, channel).

        Returns
        -------
        Tensor
            As :meth:`decode_output`.

        Raises
        ------
        BitstreamError
            If it cannot be run on so many frames.
        ConfigurationError
            If only the device half is loaded.
        """
        self.need_half("cloud")
        lengths = torch.ones(1, device=self.device)
        try:
            return self.mods.split.cloud(values, lengths)
        # Fewer frames than any audio gives, or more than memory holds.
        except RuntimeError as error:
            reason = str(error).split("\n")[0]
            raise BitstreamError(
                f"message of {values.shape[1]} frames: the cloud half fails "
                f"on it ({reason}), expected one that an encoder wrote",
                0,
            ) from error

    def _check_codebooks(self, num_codebooks: int) -> None:
        """Raise if the cloud half cannot decode so many codebooks."""
        try:
            self.bottleneck.quantizer.checked_num_codebooks(num_codebooks)
        except ConfigurationError as error:
            raise BitstreamError(
                f"message: {error}: forged, for no encoder writes this", 0
            ) from error

    def need_half(self, half: str) -> None:
        """Raise if a half is not loaded.

        Arguments
        ---------
        half : str
            "device" or "cloud".

        Raises
        ------
        ConfigurationError
            If only the other one is.
        """
        if self.loaded_half not in ("both", half):
            raise ConfigurationError(
                "half", self.loaded_half, f"{half} or both for this call"
            )
