"""``pyconv attack``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pyconv.cli.common import UsageError, at_least, between, class_index, load_data
from pyconv.cli.recipe import (
    EPILOG,
    PICTURE_HELP,
    add_common,
    add_model,
    begin,
    finish,
    open_network,
    read,
)

if TYPE_CHECKING:
    import numpy as np

    from pyconv.recipes import Result
    from pyconv.recipes.adversarial import Attack

_METHODS = {
    "gradient": "down the loss towards --target, until it is believed",
    "fgsm": "one step along the gradient's sign",
    "pgd": "steps, each projected onto the ball around the picture",
    "evolution": "a population of perturbations; sees nothing but answers",
    "pixels": "a few pixels, by differential evolution; sees nothing but answers",
    "fool": "from noise, until the network is sure of --target",
}
_SHOWN = 8  # pictures of a data set that are drawn
_SIDE = 224  # of pictures for a network that doesn't say what it takes
_EXAMPLES = """examples:
  pyconv attack colosseum --method gradient --target volcano
  pyconv attack --data fashion-mnist --count 200 --epsilon 0.1
  pyconv attack --data fashion-mnist --train robust.safetensors --epsilon 0.1
  pyconv attack --method fool --target lion

What is drawn: the picture, ten times what was added (grey is nothing), and the result.

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv attack``."""
    parser.epilog = _EXAMPLES + EPILOG
    parser.add_argument(
        "pictures",
        metavar="PICTURE",
        nargs="*",
        help=f"{PICTURE_HELP} (default: colosseum for a network that takes colour, otherwise the "
        "test pictures that --data names)",
    )
    parser.add_argument(
        "--method",
        choices=tuple(_METHODS),
        default="pgd",
        help="; ".join(f"{name}: {text}" for name, text in _METHODS.items())
        + " (default: %(default)s)",
    )
    add_model(parser)
    parser.add_argument(
        "--target",
        metavar="CLASS",
        help="the wanted class, by name or number (default: any but the right one; for gradient "
        "the least likely, for fool the first)",
    )
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="attack test pictures: fashion-mnist, paintings, digits, a folder of IDX "
        "files, or of pictures with one sub-folder a class",
    )
    parser.add_argument(
        "--count",
        type=at_least(1),
        default=100,
        metavar="N",
        help="test pictures of a data set (default: %(default)s)",
    )
    parser.add_argument(
        "--train",
        metavar="FILE",
        help="train the network on attacked pictures of the data set, write it, and tell its "
        "accuracy before and after",
    )
    tuned = parser.add_argument_group("the attack")
    tuned.add_argument(
        "--epsilon",
        type=between(0.0),
        metavar="E",
        help="of fgsm, pgd and evolution: the greatest change of a pixel, in 0..1 (default: 0.03, "
        "of evolution 0.1)",
    )
    tuned.add_argument(
        "--norm",
        choices=("inf", "2"),
        default="inf",
        help="of pgd: what --epsilon bounds, each pixel or the root of the sum of squares "
        "(default: %(default)s)",
    )
    tuned.add_argument(
        "--pixels", type=at_least(1), default=5, metavar="N", help="default: %(default)s"
    )
    tuned.add_argument(
        "--population", type=at_least(4), metavar="N", help="default: 24, of pixels 40"
    )
    tuned.add_argument(
        "--epochs", type=at_least(1), default=3, metavar="N", help="of --train (default: 3)"
    )
    add_common(parser, out="attack.png", size_help=None)
    parser.add_argument(
        "--steps",
        type=at_least(1),
        metavar="N",
        help="steps or generations, at the most (default: 20 of pgd, 100 of gradient and pixels, "
        "200 of evolution and fool)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Attack, or train; write."""
    import numpy as np

    begin(arguments)
    model, metadata = open_network(arguments)
    classes = metadata.get("classes")
    target = None if arguments.target is None else class_index(arguments.target, classes)
    wanted = tuple(metadata.get("input_shape") or (3, _SIDE, _SIDE))
    if len(wanted) != 3 or wanted[0] not in (1, 3):
        raise UsageError(f"{arguments.model} takes no pictures: its input has the shape {wanted}")
    by_data = arguments.data is not None or arguments.train is not None
    if by_data and arguments.pictures:
        raise UsageError("PICTURE and --data or --train exclude each other")
    if not arguments.pictures and wanted[0] == 1:
        by_data = by_data or arguments.method != "fool"
    if arguments.train is not None:
        _train(arguments, model, metadata, wanted)
        return
    labels = None
    if arguments.method == "fool":
        if by_data:
            raise UsageError("--method fool begins with noise: it takes no pictures")
        x = np.zeros((1, *wanted), np.float32)
    elif by_data:
        x, labels = _data(arguments, metadata, wanted, "test", arguments.count)
    else:
        names = arguments.pictures or ["colosseum"]
        resize = metadata.get("resize")
        found = [read(n, wanted[0], wanted[1:], resize) for n in names]
        x = np.stack(found).astype(np.float32) / np.float32(255)
    result = _attack(arguments, model, x, labels, target)
    names = classes or [str(i) for i in range(10**4)]
    result.titles = [
        f"{names[a].split(',')[0]} → {names[b].split(',')[0]} {sure:.0%}"
        for a, b, sure in zip(result.before, result.after, result.confidence, strict=True)
    ]
    _tell(result, labels, arguments)
    finish(
        _shown(result),
        arguments,
        3 if len(result.images) < 3 else 6,
        success=float(result.success.mean()),
        queries=result.queries,
        before=result.before.tolist(),
        after=result.after.tolist(),
        size=float(np.abs(result.perturbation).max()),
    )


def _data(
    arguments: argparse.Namespace, metadata: Any, wanted: tuple[int, ...], part: str, count: int
) -> tuple[Any, Any]:
    """Pictures in 0..1 and their labels, spread over a part of a data set."""
    import numpy as np

    name = arguments.data or metadata.get("data") or "fashion-mnist"
    data = load_data(name, wanted[1:] if metadata.get("size") else None)
    split = getattr(data, part)
    if split.x.shape[1:] != wanted:
        raise ValueError(
            f"{arguments.model} takes pictures of {wanted}, those of {name} have the shape "
            f"{split.x.shape[1:]}"
        )
    chosen = np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int)
    return split.x[chosen].astype(np.float32) / np.float32(255), split.y[chosen]


def _attack(
    arguments: argparse.Namespace, model: Any, x: np.ndarray, labels: Any, target: int | None
) -> Attack:
    """By the method that was asked for."""
    from tqdm import tqdm

    from pyconv.recipes import adversarial

    method = arguments.method
    options: dict[str, Any] = {"seed": arguments.seed, "progress": not arguments.quiet}
    if arguments.steps is not None:
        steps = "generations" if method in ("evolution", "pixels") else "steps"
        if method != "fgsm":
            options[steps] = arguments.steps
    if arguments.epsilon is not None and method in ("fgsm", "pgd", "evolution"):
        options["epsilon"] = arguments.epsilon
    predict = adversarial.probabilities(model)
    if method == "fool":
        return adversarial.fool(model, target or 0, shape=x.shape[1:], **options)
    if method == "gradient":
        if target is None:
            target = int(predict(x).sum(0).argmin())
        return adversarial.gradient(model, x, target, **options)
    if method == "fgsm":
        return adversarial.fgsm(model, x, labels, target=target, **options)
    if method == "pgd":
        return adversarial.pgd(model, x, labels, target=target, norm=arguments.norm, **options)
    if arguments.population is not None:
        options["population"] = arguments.population
    if len(x) > 1:  # one bar over the pictures
        options["progress"] = False
    found = []
    for one in tqdm(x, desc=method, disable=arguments.quiet or len(x) == 1):
        if method == "evolution":
            found.append(adversarial.evolution(predict, one, target, **options))
        else:
            found.append(adversarial.pixels(predict, one, arguments.pixels, target, **options))
    return found[0] if len(found) == 1 else adversarial.joined(found)


def _tell(result: Attack, labels: Any, arguments: argparse.Namespace) -> None:
    """What became of the pictures."""
    import numpy as np

    n = len(result.images)
    if n <= _SHOWN:
        for title in result.titles:
            print(title)
    if arguments.method == "fool":
        return
    away = result.perturbation.astype(np.float64)
    sizes = (
        f"greatest change of a pixel {abs(away).max((1, 2, 3)).mean():.3f}, root mean square "
        f"{np.sqrt((away**2).mean((1, 2, 3))).mean():.4f}"
    )
    words = f"{int(result.success.sum())} of {n} deceived ({result.success.mean():.0%})"
    if labels is not None:
        words += (
            f"; right before: {(result.before == labels).mean():.1%}, after: "
            f"{(result.after == labels).mean():.1%}"
        )
    print(f"{words}; {sizes}; {result.queries / n:.0f} queries for each picture")


def _shown(result: Attack) -> Result:
    """Original, ten times the perturbation, result, of the first pictures."""
    from pyconv.recipes import Result

    n = min(len(result.images), _SHOWN)
    titles = [t for title in result.titles[:n] for t in ("original", "change, ten times", title)]
    return Result(result.comparison()[: 3 * n], result.history, titles)


def _train(
    arguments: argparse.Namespace, model: Any, metadata: Any, wanted: tuple[int, ...]
) -> None:
    """Adversarial training."""
    import pyconv
    from pyconv.recipes import adversarial

    everything = 10**9
    train = _data(arguments, metadata, wanted, "train", everything)
    test = _data(arguments, metadata, wanted, "test", everything)
    epsilon = 0.03 if arguments.epsilon is None else arguments.epsilon
    result = adversarial.train(
        model,
        train,
        test,
        epsilon=epsilon,
        epochs=arguments.epochs,
        seed=arguments.seed,
        progress=not arguments.quiet,
    )
    pyconv.save(model, arguments.train, {k: v for k, v in metadata.items() if k != "checkpoint"})
    print(f"right of {len(test[1])} test pictures, changes up to {epsilon:g}:  before   after")
    for name in result.before:
        print(f"  {name:<6} {result.before[name]:8.1%} {result.after[name]:8.1%}")
    print(f"{arguments.train} written")
    finish(result, arguments, before=result.before, after=result.after)
