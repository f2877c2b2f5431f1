"""The command line: ``pyconv COMMAND``.

Each command is a module with ``add_arguments(parser)`` and ``run(arguments)``. What a command needs
is imported when it runs, so that ``pyconv --help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from pyconv._version import __version__
from pyconv.cli.common import UsageError

__all__ = ["main"]

# Exit codes, as the shell's own commands have them.
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_COMMANDS = {
    "train": "train a network on pictures",
    "transfer": "give a trained network other classes, from few pictures",
    "evaluate": "how right a trained network is on a data set",
    "predict": "which class a picture belongs to",
    "summary": "the layers of a network: shapes, parameters, multiply-adds, receptive fields",
    "layers": "the names of a network's layers, as --layer takes them",
    "visualize": "what a network sees: pictures that excite a unit, what a layer keeps, filters",
    "dream": "a picture, changed until a network sees more of what it sees in it",
    "attack": "pictures that deceive a network, and training against them",
    "style": "the content of one picture in the manner of another",
    "denoise": "take noise out of pictures, with an autoencoder",
    "anomaly": "find pictures that are unlike those that an autoencoder knows",
    "manifold": "the plane on which an autoencoder lays pictures out",
    "bench": "how fast convolutions are, and how exact",
    "info": "what runs: version, processor, instruction set, threads",
}


class _Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str) -> NoReturn:
        _complain(self.prog, f"{message}; see {self.prog} --help")
        sys.exit(USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Without the program's name; by default what the shell gave.

    Returns
    -------
    int
        0; 1 after an error, 2 for wrong usage, 130 after Ctrl-C. Errors are one line on standard
        error.

    Examples
    --------
    >>> from pyconv.cli import main
    >>> main(["info", "--json"])  # doctest: +SKIP
    """
    parser = _parser(sys.argv[1:] if argv is None else argv)
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:  # --help, --version, wrong usage
        return int(end.code or 0)
    program = f"pyconv {arguments.command}"
    try:
        _module(arguments.command).run(arguments)
        sys.stdout.flush()
    except UsageError as error:
        _complain(program, error)
        return USAGE
    except KeyboardInterrupt as interruption:
        _complain(program, f"interrupted{interruption}")
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough: head, less
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        named = error.strerror and error.filename is not None
        _complain(program, f"{error.filename}: {error.strerror}" if named else error)
        return FAILED
    except (ValueError, TypeError, ImportError, MemoryError, RuntimeError) as error:
        _complain(program, str(error) or type(error).__name__)
        return FAILED
    return DONE


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pyconv",
        description="Convolutional networks on NumPy arrays, with hand-written kernels.",
        epilog="pyconv COMMAND --help tells more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"pyconv {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    for name, text in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in argv:
            _module(name).add_arguments(command)
    return parser


def _module(name: str) -> Any:
    return importlib.import_module(f"pyconv.cli.{name}")


def _complain(program: str, message: Any) -> None:
    print(f"{program}: error: {' '.join(str(message).split())}", file=sys.stderr)
