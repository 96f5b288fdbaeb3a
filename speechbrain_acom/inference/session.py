"""Audio to bytes between two machines that agreed on the model beforehand."""

from pathlib import Path

from torch import Tensor

from speechbrain_acom.entropy.endings import ByteLength, Ending
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.inference.tasks import AcomASR, AcomClassifier, Label

# Nothing is agreed on: the transport tells how long a message is.
BYTE_LENGTH = ByteLength()


class AcomSession:
    """Encodes and decodes messages that name neither model nor length.

    Both sides make one, with the same settings, of their half of the model.
    If they want to be sure of it, each gives the other's :meth:`handshake`
    to :meth:`check`.

    Arguments
    ---------
    interface : AcomASR | AcomClassifier
        Holds the device half, to encode, or the cloud half, to decode.
    num_codebooks : int | None
        k, from 1 to K: every message has the first k codebooks only, where
        the quantizer is truncatable. None: all K.
    ending : Ending
        How the cloud half learns which frame is the last one; by default from
        the length of the message.
    checksum : bool
        Whether a byte of every message is spent on finding damage. Without
        it nearly every string of bytes has some answer.
    max_frames : int | None
        Frames at the cut that the cloud half reads at most of one message;
        None: as for ``Session``.

    Raises
    ------
    ConfigurationError
        If the quantizer has no such k, or ``max_frames`` is less than 1.

    Example
    -------
    >>> asr = AcomASR.from_hparams("folder")  # doctest: +SKIP
    >>> session = AcomSession(asr)  # doctest: +SKIP
    >>> message = session.encode_file("speech.wav")  # doctest: +SKIP
    >>> session.decode(message)  # doctest: +SKIP
    'TURN ON THE LIGHT'
    """

    def __init__(
        self,
        interface: AcomASR | AcomClassifier,
        num_codebooks: int | None = None,
        ending: Ending = BYTE_LENGTH,
        checksum: bool = False,
        max_frames: int | None = None,
    ) -> None:
        bottleneck = interface.bottleneck
        books = bottleneck.quantizer.checked_num_codebooks(num_codebooks)
        columns = bottleneck.framing.run_columns + books
        self._interface = interface
        self._num_codebooks = books
        self._session = Session(
            interface.prior.first(columns),
            interface.model_hash,
            bottleneck.framing,
            ending,
            checksum,
            max_frames,
        )

    def handshake(self) -> bytes:
        """Seven bytes that name the model, its prior and the settings."""
        return self._session.handshake()

    def check(self, handshake: bytes) -> None:
        """Make sure that the other side has the same model and settings.

        Arguments
        ---------
        handshake : bytes
            What :meth:`handshake` gave there.

        Raises
        ------
        BitstreamError
            If they differ; one line that says in what.
        """
        self._session.check(handshake)

    def encode_file(self, path: str | Path) -> bytes:
        """Turn an audio file into one message.

        Arguments, errors: as :meth:`AcomInterface.encode_file`.

        Returns
        -------
        bytes
            The message, which only a session can decode.
        """
        return self._message(
            *self._interface.file_codes(path, self._num_codebooks)
        )

    def encode(self, signal: Tensor) -> bytes:
        """Turn a signal into one message.

        Arguments, errors: as :meth:`AcomInterface.encode`.

        Returns
        -------
        bytes
            As :meth:`encode_file`.
        """
        return self._message(
            *self._interface.signal_codes(signal, self._num_codebooks)
        )

    def decode(self, message: bytes) -> str | Label:
        """Turn a message into the answer.

        Arguments
        ---------
        message : bytes
            What a session on the other side encoded.

        Returns
        -------
        str | Label
            Text or a label, as ``decode`` of the interface gives it.

        Raises
        ------
        BitstreamError
            If no encoder gives this message.
        ConfigurationError
            If only the device half is loaded.
        """
        read = self._session.read(message)
        return self._interface.answer(self._interface.output(read))

    def _message(self, codes: Tensor, num_frames: int) -> bytes:
        return self._session.write(codes.numpy(), num_frames)
