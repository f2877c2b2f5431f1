"""``pyconv evaluate MODEL``."""

from __future__ import annotations

import argparse
import time

from pyconv.cli.common import (
    accuracy_table,
    add_running,
    at_least,
    check_pictures,
    confusion_matrix,
    confusion_table,
    load_data,
    load_model,
    print_json,
    shape,
    start,
    transform_of,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv evaluate``."""
    parser.add_argument("model", metavar="MODEL", help="a file that pyconv train has written")
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="fashion-mnist, digits, a folder of IDX files, or a folder of pictures with one "
        "sub-folder a class (default: what the model was trained on)",
    )
    parser.add_argument("--size", type=shape, metavar="HxW", help="scale the pictures of a folder")
    parser.add_argument(
        "--part", choices=("test", "train"), default="test", help="default: %(default)s"
    )
    parser.add_argument(
        "--batch-size", type=at_least(1), default=250, metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--confusion", action="store_true", help="print the confusion matrix")
    add_running(parser)


def run(arguments: argparse.Namespace) -> None:
    """Test a model and print how right it is."""
    from pyconv import functional, training
    from pyconv.data import DataLoader

    start(arguments)
    model, metadata = load_model(arguments.model)
    name = arguments.data or metadata.get("data") or "fashion-mnist"
    size = arguments.size or (tuple(metadata["input_shape"][1:]) if metadata.get("size") else None)
    data = load_data(name, size)
    part = getattr(data, arguments.part)
    check_pictures(part.x, metadata)
    classes = tuple(metadata.get("classes") or data.classes)
    if len(classes) != len(data.classes):
        raise ValueError(f"the model knows {len(classes)} classes, {name} has {len(data.classes)}")
    if arguments.device != "cpu":
        model.to(arguments.device)
    begin = time.perf_counter()
    loader = DataLoader(part, arguments.batch_size, transform=transform_of(metadata), workers=1)
    scores = training.predict(model, loader, arguments.device)
    seconds = time.perf_counter() - begin
    confusion = confusion_matrix(part.y, scores.argmax(1), len(classes))
    loss = functional.cross_entropy(scores, part.y).item()
    accuracy = float(confusion.trace() / max(confusion.sum(), 1))
    print(accuracy_table(confusion, classes))
    if arguments.confusion:
        print(f"\n{confusion_table(confusion, classes)}")
    print(f"\nloss {loss:.4f}, {len(part)} pictures in {seconds:.2f} s")
    if arguments.json:
        print_json(
            {
                "accuracy": accuracy,
                "loss": loss,
                "pictures": len(part),
                "seconds": seconds,
                "data": name,
                "part": arguments.part,
                "model_file": arguments.model,
                "confusion": confusion.tolist(),
                "classes": list(classes),
            }
        )
