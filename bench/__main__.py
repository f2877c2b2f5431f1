"""``python -m bench COMMAND``; see bench/README.md."""

from __future__ import annotations

import argparse
import importlib
import sys

from bench import pinning

COMMANDS = {
    "layers": "convolutions against all peers, layer by layer",
    "train": "training steps, inference and memory of whole networks",
    "memory": "pooling, norms, elementwise operations, optimizers against PyTorch",
    "gemm": "matrix products against NumPy and PyTorch",
    "cuda": "the kernels for CuPy arrays: errors, times against PyTorch, or counts",
}


def main() -> int:
    pinning.pin()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text}.")
        command.set_defaults(run=None)
        if name in sys.argv:
            module = importlib.import_module(f"bench.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    arguments = parser.parse_args()
    return int(arguments.run(arguments) or 0)


if __name__ == "__main__":
    sys.exit(main())
