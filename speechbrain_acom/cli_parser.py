"""What can be typed behind ``acom``."""

import argparse
import os
from pathlib import Path

from speechbrain_acom.version import __version__

MODEL_VARIABLE = "ACOM_MODEL"


def make_parser() -> argparse.ArgumentParser:
    """The command line: its options have ``command``, the command's name.

    Returns
    -------
    argparse.ArgumentParser
        Of ``acom``.
    """
    parser = argparse.ArgumentParser(
        prog="acom", description="Audio coding for machines."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    encode = commands.add_parser("encode", help="audio to messages")
    encode.add_argument(
        "inputs", type=Path, nargs="+", metavar="audio", help="files, folders"
    )
    encode.add_argument(
        "--num-codebooks",
        type=int,
        metavar="k",
        help="send the first k codebooks only (default: all of them)",
    )
    encode.add_argument(
        "--scalable",
        action="store_true",
        help="messages that may be cut after any byte",
    )
    encode.add_argument(
        "--no-checksum",
        dest="checksum",
        action="store_false",
        help="a byte less a message, which damage may then go through",
    )
    encode.add_argument(
        "--stream",
        action="store_true",
        help="code as a device does while the audio comes, for models with "
        "chunks; a stream has no checksum",
    )
    encode.set_defaults(command="encode")
    decode = commands.add_parser("decode", help="messages to text or labels")
    decode.add_argument(
        "inputs", type=Path, nargs="+", metavar="message", help="files, folders"
    )
    decode.add_argument(
        "--max-frames",
        type=int,
        metavar="n",
        help="refuse messages of more frames at the cut (default: of more "
        "than their bytes make likely, a defence against forged ones)",
    )
    decode.add_argument(
        "--num-codebooks",
        type=int,
        metavar="k",
        help="codebooks of streams, which do not say it (default: all)",
    )
    decode.set_defaults(command="decode")
    fit = commands.add_parser(
        "fit-prior",
        help="a copy of a model with a prior of your audio",
        description="Copy a model with a prior that is fitted anew. The copy "
        "has another hash: it and the model do not read each other's messages.",
    )
    fit.add_argument(
        "inputs", type=Path, nargs="+", metavar="audio", help="files, folders"
    )
    fit.add_argument(
        "--prior",
        type=Path,
        required=True,
        metavar="yaml",
        help="fragment such as hparams/priors/context.yaml",
    )
    fit.set_defaults(command="fit-prior")
    for command, halves, output in (
        (encode, "device half", "the message; a folder if there are several"),
        (decode, "cloud half", "file for the answers (default: stdout)"),
        (fit, "halves", "new folder (default: <model>_<prior> beside it)"),
    ):
        command.add_argument(
            "--model",
            default=os.environ.get(MODEL_VARIABLE),
            help=f"folder with an exported model's {halves} "
            f"(default: {MODEL_VARIABLE})",
        )
        command.add_argument("-o", "--output", type=Path, help=output)
    cost = commands.add_parser(
        "complexity",
        help="what a recipe's model takes on either side of the cut",
        usage="acom complexity hparams [--key=value ...] [--seconds s] [--json]",
        description="Multiply-adds a second of audio and parameters of the "
        "untrained model of a YAML, with keys of it replaced.",
        allow_abbrev=False,
    )
    cost.add_argument("hparams", type=Path, help="a recipe's YAML")
    cost.add_argument(
        "--seconds",
        type=float,
        default=4.0,
        help="length of the clip (default: 4); attention takes more a second "
        "in a longer one",
    )
    cost.set_defaults(command="complexity", overrides=[])
    for command in (encode, decode, fit, cost):
        command.add_argument(
            "--json", action="store_true", help="for machines to read"
        )
    return parser
