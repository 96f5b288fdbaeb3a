"""The ``acom`` command: a thin face of the inference interfaces.

Answers go to stdout, everything else (errors, progress, log lines) to stderr.
"""

import argparse
import json
import logging
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from speechbrain_acom.cli_parser import MODEL_VARIABLE, make_parser
from speechbrain_acom.entropy.container import STREAM, first_byte
from speechbrain_acom.entropy.limits import check_max_frames
from speechbrain_acom.errors import (
    AcomError,
    AudioError,
    ConfigurationError,
    DataError,
)
from speechbrain_acom.suffixes import AUDIO_SUFFIXES, files_below

if TYPE_CHECKING:
    from speechbrain_acom.inference import AcomInterface

MESSAGE_SUFFIX = ".acom"
# How a figure of complexity is named.
GMAC = "_gmac_per_s"


@dataclass
class Encoded:
    """What became of one audio file, an entry of the JSON output.

    Arguments
    ---------
    audio : str
        Path of the audio file.
    message : str | None
        Path of its message; None if there is none.
    bytes : int | None
        Size of the message.
    error : str | None
        Why the file cannot be coded.
    """

    audio: str
    message: str | None = None
    bytes: int | None = None
    error: str | None = None


@dataclass
class Answer:
    """What the cloud half said to one message, an entry of the JSON output.

    Arguments
    ---------
    message : str
        Path of the message.
    answer : str | None
        The text or the label; None if the message cannot be decoded.
    score : float | None
        Of a label, in [0, 1].
    num_codebooks : int | None
        Codebooks that came.
    sent_codebooks : int | None
        Codebooks that were sent: more, if the message was cut.
    error : str | None
        Why the message cannot be decoded.
    """

    message: str
    answer: str | None = None
    score: float | None = None
    num_codebooks: int | None = None
    sent_codebooks: int | None = None
    error: str | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors of input are one line and exit status 1.

    Arguments
    ---------
    arguments : Sequence[str] | None
        The command line; None: that of the process.

    Returns
    -------
    int
        Exit status: 0, or 1 if something could not be coded. A command line
        that cannot be understood exits with 2.
    """
    parser = make_parser()
    options, overrides = parser.parse_known_args(arguments)
    if "overrides" in options:
        options.overrides = overrides
    elif overrides:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    try:
        if "model" in options and not options.model:
            raise DataError(
                f"model: found none, expected --model or {MODEL_VARIABLE}"
            )
        with _log_lines():
            return COMMANDS[options.command](options)
    # ImportError: torch, torchaudio and SpeechBrain that do not fit.
    except (AcomError, OSError, ImportError) as error:
        _complain(str(error))
        return 1


def _encode(options: argparse.Namespace) -> int:
    targets = _targets(options.inputs, options.output)
    if options.stream and options.scalable:
        raise ConfigurationError(
            "--scalable", "--stream beside it", "one of them"
        )
    # Here, so that --help and mistakes in the command answer at once.
    from speechbrain_acom.inference import load_interface
    from speechbrain_acom.inference.streaming import stream_file

    interface = load_interface(options.model, "device")
    done = []
    for audio, target in _progress(targets.items(), "encoding"):
        try:
            if options.stream:
                message = stream_file(interface, audio, options.num_codebooks)
            else:
                message = interface.encode_file(
                    audio,
                    options.num_codebooks,
                    checksum=options.checksum,
                    scalable=options.scalable,
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(message)
        # Not of any other kind: those are not about this file alone.
        except (AudioError, OSError) as error:
            done.append(Encoded(str(audio), error=str(error)))
        else:
            done.append(Encoded(str(audio), str(target), len(message)))
    if options.json:
        print(_json(done), end="")
    else:
        for one in done:
            if one.error is None:
                print(f"{one.message}: {one.bytes} bytes")
    return _complain_of([one.error for one in done])


def _decode(options: argparse.Namespace) -> int:
    check_max_frames(options.max_frames)
    paths = [path for path, _ in _found(options.inputs, [MESSAGE_SUFFIX])]
    from speechbrain_acom.inference import load_interface

    interface = load_interface(options.model, "cloud")
    answers = []
    for path in _progress(paths, "decoding"):
        try:
            answers.append(_answer(interface, path, options))
        except (AcomError, OSError) as error:
            answers.append(Answer(str(path), error=str(error)))
    text = _json(answers) if options.json else _lines(answers)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    for one in answers:
        if one.num_codebooks != one.sent_codebooks:
            _complain(
                f"{one.message}: cut, answered from the first "
                f"{one.num_codebooks} of {one.sent_codebooks} codebooks"
            )
    failed = [one for one in answers if one.error]
    return _complain_of([f"{one.message}: {one.error}" for one in failed])


def _answer(
    interface: "AcomInterface", path: Path, options: argparse.Namespace
) -> Answer:
    """What the cloud half says to a file, a message or a stream."""
    from speechbrain_acom.inference import AcomStreamDecoder, Label

    content = path.read_bytes()
    if content[:1] == first_byte(STREAM):
        decoder = AcomStreamDecoder(
            interface, options.num_codebooks, options.max_frames
        )
        decoder.push(content)
        return Answer(str(path), decoder.finish())
    read = interface.read(content, options.max_frames)
    said = interface.answer(interface.output(read))
    label = isinstance(said, Label)
    answer = (said.name, said.score) if label else (said, None)
    return Answer(str(path), *answer, read.num_codebooks, read.sent_codebooks)


def _fit_prior(options: argparse.Namespace) -> int:
    paths = [path for path, _ in _found(options.inputs, AUDIO_SUFFIXES)]
    output = options.output
    if not output:
        model = Path(options.model).absolute()
        output = model.with_name(f"{model.name}_{options.prior.stem}")
    from speechbrain_acom.inference import load_fitter, refit_prior

    fitter = load_fitter(options.prior)
    paths = _progress(paths, "coding")
    done = refit_prior(options.model, fitter, paths, output)
    if options.json:
        print(_json(done), end="")
    else:
        print(
            f"{done.model}: {done.prior} of {done.prior_bytes} bytes, fitted "
            f"on {done.code_frames} code frames of {done.audio_files} file(s); "
            f"model hash {done.model_hash}"
        )
    return _complain_of(done.skipped)


def _complexity(options: argparse.Namespace) -> int:
    import speechbrain

    from speechbrain_acom.metrics.complexity import recipe_complexity

    command = [str(options.hparams), *options.overrides]
    _, _, overrides = speechbrain.parse_arguments(command)
    cost = recipe_complexity(options.hparams, overrides, options.seconds)
    if options.json:
        print(_json(cost), end="")
        return 0
    for name, value in asdict(cost).items():
        if name.endswith(GMAC):
            print(f"{name.removesuffix(GMAC)}\t{value:.4g} GMAC/s")
        else:
            print(f"{name.replace('_', ' ')}\t{value}")
    return 0


COMMANDS = {
    "encode": _encode,
    "decode": _decode,
    "fit-prior": _fit_prior,
    "complexity": _complexity,
}


def _found(
    inputs: Sequence[Path], suffixes: Sequence[str]
) -> list[tuple[Path, Path]]:
    """Files, and those of folders; each with its path below what was given."""
    found = []
    for given in inputs:
        if given.is_dir():
            inside = files_below(given, suffixes)
            if not inside:
                raise DataError(
                    f"{given}: found no file to code in this folder, "
                    f"expected {', '.join(suffixes)}"
                )
            found += [(path, path.relative_to(given)) for path in inside]
        elif given.exists():
            found.append((given, Path(given.name)))
        else:
            raise DataError(f"{given}: found nothing, expected a file")
    return found


def _targets(inputs: Sequence[Path], output: Path | None) -> dict[Path, Path]:
    """Message file of each audio file."""
    found = _found(inputs, AUDIO_SUFFIXES)
    single = len(inputs) == 1 and inputs[0].is_file()
    if single and output and not output.is_dir():
        return {inputs[0]: output}
    targets: dict[Path, Path] = {}
    for audio, below in found:
        target = output / below if output else audio
        target = target.with_suffix(MESSAGE_SUFFIX)
        if target in targets.values():
            raise DataError(
                f"{target}: found two audio files for this message, expected "
                "one: encode them into different folders"
            )
        targets[audio] = target
    return targets


def _progress(items: Collection, description: str) -> Iterator:
    """The items; a bar on stderr from the first one on, if there are more."""
    yield from tqdm(items, desc=description, disable=len(items) == 1)


def _json(records: object) -> str:
    """Dataclasses, alone or in a list, as JSON."""
    return json.dumps(records, indent=1, default=asdict) + "\n"


def _lines(answers: Sequence[Answer]) -> str:
    """A line an answer, its message named where there are several."""
    lines = ""
    for one in answers:
        if one.error is None:
            fields = [one.message] if len(answers) > 1 else []
            fields.append(one.answer)
            fields += [] if one.score is None else [f"{one.score:.3f}"]
            lines += "\t".join(fields) + "\n"
    return lines


def _complain_of(errors: Sequence[str | None]) -> int:
    errors = [error for error in errors if error]
    for error in errors:
        _complain(error)
    return int(bool(errors))


def _complain(error: str) -> None:
    print(f"acom: {error}", file=sys.stderr)


class _LogLines(logging.Handler):
    """Shows log lines above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(f"acom: {record.getMessage()}", file=sys.stderr)


@contextmanager
def _log_lines() -> Iterator[None]:
    """Show what this package logs while a command runs."""
    logger = logging.getLogger("speechbrain_acom")
    handler, level = _LogLines(), logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


if __name__ == "__main__":
    sys.exit(main())
