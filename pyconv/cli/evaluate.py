"""``pyconv evaluate MODEL``."""

from __future__ import annotations

import argparse
import time

from pyconv.cli.common import (
    MODEL_HELP,
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
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
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
    from pyconv.recipes._labelled import Prepare, check_channels

    start(arguments)
    model, metadata = load_model(arguments.model)
    name = arguments.data or metadata.get("data") or "fashion-mnist"
    fixed = metadata.get("size") or metadata.get("resize")
    size = arguments.size or (tuple(metadata["input_shape"][1:]) if fixed else None)
    data = load_data(name, size)
    part = getattr(data, arguments.part)
    transform = transform_of(metadata)
    if metadata.get("scaled"):  # by pyconv transfer, which takes pictures of any size
        transform = Prepare(metadata["input_shape"], metadata.get("normalization"))
        check_channels("evaluate", "data", part.x, metadata["input_shape"][0])
    else:
        check_pictures(part.x, metadata)
    classes = tuple(metadata.get("classes") or data.classes)
    columns = None
    if len(classes) != len(data.classes):
        columns = _columns(classes, data.classes, name)
        classes = data.classes
    if arguments.device != "cpu":
        model.to(arguments.device)
    begin = time.perf_counter()
    loader = DataLoader(part, arguments.batch_size, transform=transform, workers=1)
    scores = training.predict(model, loader, arguments.device)
    seconds = time.perf_counter() - begin
    if columns is not None:
        scores = scores[:, columns]
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


def _columns(known: tuple[str, ...], wanted: tuple[str, ...], data: str) -> list[int]:
    """Where the model has the classes of a folder, by one of their names; the others don't count
    then."""
    found: dict[str, int] = {}
    for i, names in enumerate(known):
        for name in (names, *names.split(", ")):
            found.setdefault(name.lower(), i)
    missing = [name for name in wanted if name.lower() not in found]
    if missing:
        raise ValueError(
            f"the model knows {len(known)} classes, {data} has {len(wanted)}, of which it doesn't "
            f"know {missing[0]!r}"
        )
    return [found[name.lower()] for name in wanted]
