"""Speech from the voices of espeak-ng.

The library and its voices come with the package ``espeakng_loader``. They
are GPL, hence an optional extra that nothing else of this package imports.
"""

import json
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from speechbrain_acom.errors import ConfigurationError

WORKER = Path(__file__).with_name("espeak_worker.py")
INSTALL = 'pip install "speechbrain_acom[corpus]"'


@dataclass(frozen=True)
class Voice:
    """How a speaker sounds.

    Arguments
    ---------
    name : str
        Accent and variant as espeak-ng names them, such as "en-us+f3".
    rate : int
        Words per minute, 80 to 450.
    pitch : int
        Base pitch, 0 to 99 with 50 as the variant's own.
    range : int
        Range of the pitch, 0 (monotone) to 99.
    volume : int
        0 to 200; some accents clip at espeak-ng's own default of 100.
    """

    name: str
    rate: int = 175
    pitch: int = 50
    range: int = 50
    volume: int = 60


def espeak_paths() -> tuple[str, str]:
    """Find the espeak-ng library and its folder of voices.

    Returns
    -------
    tuple[str, str]
        Path of the shared library, path of its data folder.

    Raises
    ------
    ImportError
        If the optional package is not installed; the message holds the
        command that installs it.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise ImportError(
            "espeakng_loader: not found, expected for the machine-made "
            f"speech corpus; install it with {INSTALL}"
        ) from error
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()


class EspeakProcess:
    """One voice of espeak-ng in a process of its own.

    The same sequence of texts gives the same samples in every fresh process,
    which the library does not promise within one process. Use it as a
    context manager.

    Arguments
    ---------
    voice : Voice
        The voice of everything that this process says.

    Raises
    ------
    ImportError
        If espeak-ng is not installed.

    Example
    -------
    >>> try:
    ...     with EspeakProcess(Voice("en-us+f3")) as espeak:
    ...         samples = espeak.say("seven")
    ... except ImportError:  # the extra "corpus" is not installed
    ...     samples = np.zeros(9999)
    >>> len(samples) > 5000
    True
    """

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self._errors = tempfile.TemporaryFile()
        # -I keeps the environment and the working folder out of the process.
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(WORKER), *espeak_paths()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self.sample_rate = self._number()

    def __enter__(self) -> "EspeakProcess":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        # What was not taken by a process that ended is lost anyway.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._errors.close()

    def say(self, text: str) -> np.ndarray:
        """Speak a text.

        Arguments
        ---------
        text : str
            What to say, one line.

        Returns
        -------
        np.ndarray
            Samples in [-1, 1] at ``sample_rate``, shape (samples,).

        Raises
        ------
        ConfigurationError
            If espeak-ng does not know the voice.
        RuntimeError
            If the espeak-ng process ended.
        """
        request = asdict(self.voice)
        request.update(voice=request.pop("name"), text=text)
        # If the process ended, reading its answer tells why.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        count = self._number()
        if count < 0:
            raise ConfigurationError(
                "voice", self.voice.name, "a voice of the espeak-ng library"
            )
        samples = np.frombuffer(self._process.stdout.read(2 * count), "<i2")
        return samples / 32768

    def _number(self) -> int:
        """Read a 4-byte integer of the process's answer."""
        answer = self._process.stdout.read(4)
        if len(answer) < 4:
            code = self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").split("\n")
            said = [line for line in lines if line.strip()][-1:]
            raise RuntimeError(
                f"espeak-ng: the process ended with code {code} "
                f"({'; '.join(said) or 'no message'}), expected speech; "
                f"reinstall it with {INSTALL}"
            )
        return struct.unpack("<i", answer)[0]
