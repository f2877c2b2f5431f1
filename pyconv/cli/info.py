"""``pyconv info``."""

from __future__ import annotations

import argparse

from pyconv.cli.common import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv info``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Print what runs."""
    import pyconv

    found = pyconv.info()
    if arguments.json:
        print_json(found)
        return
    for key, value in found.items():
        if isinstance(value, (list, tuple)):
            value = ", ".join(map(str, value))
        elif isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        print(f"{key.replace('_', ' ') + ':':<20}{value}")
