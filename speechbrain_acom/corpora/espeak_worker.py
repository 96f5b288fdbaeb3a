"""The process in which the espeak-ng library speaks, one voice a process.

Two runs of the library inside one process do not give the same samples: its
state survives a new start. A fresh process does, and an abort inside the
library then ends only that process. It is run as a script, imports nothing
but the standard library, and talks through pipes: a line of JSON in, the
number of samples (4 bytes) and 16-bit samples out, all little-endian. A
negative number is an error of the library.
"""

import ctypes
import json
import os
import struct
import sys

# Names and values as in espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DO_NOT_EXIT = 0x8000
CHARACTERS_UTF8 = 1
NOISE_SEED = 1
PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
SYNTHESIS_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)


def main(library_path: str, data_path: str) -> None:
    """Answer requests until the input ends.

    Arguments
    ---------
    library_path : str
        The shared library of espeak-ng.
    data_path : str
        Its folder of voices.
    """
    library = ctypes.CDLL(library_path)
    sample_rate = library.espeak_Initialize(
        AUDIO_OUTPUT_SYNCHRONOUS,
        0,
        os.fsencode(data_path),
        INITIALIZE_DO_NOT_EXIT,
    )
    if sample_rate <= 0:
        sys.exit(f"no voices found in {data_path}")
    # The start seeds the noise of breathy voices from the clock.
    library.espeak_ng_SetRandSeed(ctypes.c_long(NOISE_SEED))
    chunks = []

    def collect(samples: int | None, count: int, _events: int) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    # Kept in a variable: the library holds no reference of its own.
    callback = SYNTHESIS_CALLBACK(collect)
    library.espeak_SetSynthCallback(callback)
    answer(struct.pack("<i", sample_rate))
    for line in sys.stdin:
        chunks.clear()
        error = speak(library, json.loads(line))
        speech = b"".join(chunks)
        count = -error if error else len(speech) // 2
        answer(struct.pack("<i", count) + (b"" if error else speech))


def speak(library: ctypes.CDLL, request: dict) -> int:
    """Speak one request.

    Arguments
    ---------
    library : ctypes.CDLL
        The library, initialized.
    request : dict
        "voice", "text" and a value for every entry of PARAMETERS.

    Returns
    -------
    int
        The library's error code, 0 if it has spoken.
    """
    error = library.espeak_SetVoiceByName(request["voice"].encode())
    if error:
        return error
    for name, number in PARAMETERS.items():
        library.espeak_SetParameter(number, request[name], 0)
    text = request["text"].encode()
    return library.espeak_Synth(
        text, len(text) + 1, 0, 0, 0, CHARACTERS_UTF8, None, None
    )


def answer(message: bytes) -> None:
    """Send bytes to the process that asked."""
    sys.stdout.buffer.write(message)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
