"""The ``acom`` command: a thin face of the inference interfaces."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from speechbrain_acom.errors import AcomError, BitstreamError, DataError
from speechbrain_acom.version import __version__

MODEL_VARIABLE = "ACOM_MODEL"


@dataclass
class Answer:
    """What the cloud half said to one message, a line of the JSON output.

    Arguments
    ---------
    message : str
        Path of the message below the folder that was given.
    answer : str | None
        The text or the label; None if the message cannot be decoded.
    score : float | None
        Of a label, in [0, 1].
    error : str | None
        Why the message cannot be decoded.
    """

    message: str
    answer: str | None
    score: float | None = None
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
        Exit status: 0, or 1 if something could not be coded.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.model is None:
            raise DataError(
                f"model: found none, expected --model or {MODEL_VARIABLE}"
            )
        return options.run(options)
    except (AcomError, OSError) as error:
        print(f"acom: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="acom", description="Audio coding for machines."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    encode = commands.add_parser("encode", help="audio file to message")
    encode.add_argument("audio", type=Path, help="any audio file")
    encode.set_defaults(run=_encode)
    decode = commands.add_parser("decode", help="message to text or label")
    decode.add_argument("message", type=Path, help="a message or a folder")
    decode.set_defaults(run=_decode)
    for command, half in ((encode, "device"), (decode, "cloud")):
        command.add_argument(
            "--model",
            default=os.environ.get(MODEL_VARIABLE),
            help=f"folder with an exported model's {half} half "
            f"(default: {MODEL_VARIABLE})",
        )
        command.add_argument("-o", "--output", type=Path, help="file to write")
        command.add_argument(
            "--json", action="store_true", help="for machines to read"
        )
    return parser


def _encode(options: argparse.Namespace) -> int:
    # Here, so that --help and mistakes in the command answer at once.
    from speechbrain_acom.inference import load_interface

    message = load_interface(options.model, "device").encode_file(options.audio)
    output = options.output or options.audio.with_suffix(".acom")
    output.write_bytes(message)
    if options.json:
        print(json.dumps({"message": str(output), "bytes": len(message)}))
    else:
        print(f"{output}: {len(message)} bytes")
    return 0


def _decode(options: argparse.Namespace) -> int:
    from speechbrain_acom.inference import Label, load_interface

    paths = _messages(options.message)
    interface = load_interface(options.model, "cloud")
    answers = []
    for path in tqdm(paths, desc="decoding", disable=len(paths) == 1):
        name = path.name
        if options.message.is_dir():
            name = str(path.relative_to(options.message).with_suffix(""))
        try:
            said = interface.decode(path.read_bytes())
        except BitstreamError as error:
            answers.append(Answer(name, None, error=str(error)))
        else:
            if isinstance(said, Label):
                answers.append(Answer(name, said.name, said.score))
            else:
                answers.append(Answer(name, said))
    _print_answers(answers, options)
    return int(any(answer.error for answer in answers))


def _messages(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"{path}: found nothing, expected a message or folder")
    if not path.is_dir():
        return [path]
    paths = sorted(path.rglob("*.acom"))
    if not paths:
        raise DataError(f"{path}: found no *.acom file, expected messages")
    return paths


def _print_answers(answers: list[Answer], options: argparse.Namespace) -> None:
    if options.json:
        text = json.dumps([asdict(answer) for answer in answers], indent=1)
    else:
        text = "\n".join(_line(answer, len(answers) > 1) for answer in answers)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
        return
    print(text)


def _line(answer: Answer, named: bool) -> str:
    said = answer.error or str(answer.answer)
    if answer.score is not None:
        said += f"\t{answer.score:.3f}"
    return f"{answer.message}\t{said}" if named or answer.error else said


if __name__ == "__main__":
    sys.exit(main())
