"""How much is carried over: accuracy against the number of pictures, and the layer of the cut."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv.data import Split
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes._labelled import Prepare, few, labelled
from pyconv.recipes._network import Network
from pyconv.recipes._result import Result, figure_type
from pyconv.recipes._steps import steps_with_bar
from pyconv.recipes.transfer import _surgery
from pyconv.recipes.transfer._fit import fit, judged, metadata_of, picture_shape, predict

WAYS: dict[str, dict[str, Any]] = {
    "from scratch": {"freeze_until": None, "fresh": True},
    "transferred": {"freeze_until": "head"},
    "fine-tuned": {"freeze_until": None},
}
CUT_WAYS: dict[str, dict[str, Any]] = {
    "the rest anew": {"fresh": True},
    "the rest fine-tuned": {},
}
NOTHING, EVERYTHING = "(nothing)", "(all old layers)"


@dataclasses.dataclass
class Study(Result):
    """What `study` returns.

    Attributes
    ----------
    history : list of dict
        One entry a training: ``way``, ``per_class``, ``layer`` (the cut; None where the training is
        not about it), ``repeat``, ``accuracy`` on the test pictures.
    layers : list of str
        The cuts, in the order in which the layers run.
    """

    layers: list[str] = dataclasses.field(default_factory=list)

    def accuracies(self, way: str, layer: str | None = None) -> dict[Any, list[float]]:
        """Of a way: by the number of pictures a class, or (for a way of cutting) by the layer."""
        found: dict[Any, list[float]] = {}
        for row in self.history:
            if row["way"] == way:
                key = row["per_class"] if row["layer"] is None else row["layer"]
                found.setdefault(key, []).append(row["accuracy"])
        return found

    def table(self) -> str:
        """The means over the repeats, in two tables."""
        parts = []
        for title, ways in (("pictures a class", WAYS), ("frozen up to", CUT_WAYS)):
            means = {way: self.accuracies(way) for way in ways}
            keys = list(dict.fromkeys(key for found in means.values() for key in found))
            if not keys:
                continue
            width = max(len(str(key)) for key in (title, *keys))
            lines = [f"{title:<{width}}" + "".join(f"  {way:>{_wide(way)}}" for way in ways)]
            for key in keys:
                line = f"{key!s:<{width}}"
                for way in ways:
                    values = means[way].get(key)
                    text = f"{np.mean(values):.1%}" if values else "-"
                    line += f"  {text:>{_wide(way)}}"
                lines.append(line)
            parts.append("\n".join(lines))
        return "\n\n".join(parts)

    def figure(self, across: int | None = None) -> Any:
        """Accuracy against the pictures a class, and against the layer of the cut; a band from the
        worst to the best of the repeats.

        Parameters
        ----------
        across : int, optional
            1 puts the second below the first.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            matplotlib is not there.
        """
        cut = any(row["layer"] is not None for row in self.history)
        down, beside = (2, 1) if cut and across == 1 else (1, 1 + cut)
        figure = figure_type()(figsize=(5.5 * beside, 4.5 * down), layout="constrained")
        axes = figure.subplots(down, beside, squeeze=False, sharey=True).ravel()
        for way in WAYS:
            found = self.accuracies(way)
            _band(axes[0], list(found), list(found.values()), way)
        axes[0].set(xscale="log", xlabel="training pictures a class", ylabel="accuracy on the test")
        counts = sorted({row["per_class"] for row in self.history})
        axes[0].set_xticks(counts, [str(n) for n in counts])
        axes[0].minorticks_off()
        if cut:
            for way in CUT_WAYS:
                found = self.accuracies(way)
                places = [self.layers.index(layer) for layer in found]
                _band(axes[1], places, list(found.values()), way)
            axes[1].set_xticks(
                range(len(self.layers)), self.layers, rotation=30, ha="right", fontsize=8
            )
            per_class = next(r["per_class"] for r in self.history if r["layer"] is not None)
            axes[1].set(xlabel=f"frozen up to ({per_class} pictures a class)")
        for ax in axes:
            ax.grid(alpha=0.3)
            ax.legend()
        return figure


def study(
    model: Module,
    train: Any,
    test: Any,
    *,
    per_class: Sequence[int] = (5, 10, 20, 50, 100, 200),
    cuts: Any = 5,
    cut_per_class: int | None = None,
    repeats: int = 1,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> Study:
    """See what a network's layers are worth for other pictures.

    The network is trained from scratch, transferred (a new head on frozen layers) and fine-tuned,
    on few pictures and on more; and it is cut: the layers up to one are frozen, those behind it
    drawn anew, or fine-tuned. Where a cut with the rest anew is better than from scratch, the
    layers before it carry over (the experiment of Yosinski et al., How transferable are features in
    deep neural networks?, 2014).

    Parameters
    ----------
    model : Module
    train, test : Dataset, Split, or (x, y)
        As `fit` takes them.
    per_class : sequence of int
        Numbers of training pictures a class.
    cuts : int or sequence of str
        How many layers to cut at, spread over the network, besides none and all; or their names.
    cut_per_class : int, optional
        Pictures a class for the cuts; by default the middle one of `per_class`.
    repeats : int
        Trainings of each kind, with other pictures and other new weights.
    seed : int
    progress : bool
    **options
        Of `fit`: size, lr, epochs, ...

    Returns
    -------
    Study

    Raises
    ------
    TypeError, ValueError
        As `fit`.

    Examples
    --------
    >>> from pyconv import models
    >>> from pyconv.data import load_dataset
    >>> from pyconv.recipes import transfer
    >>> data = load_dataset("fashion-mnist")
    >>> found = transfer.study(
    ...     models.lenet5(), data.train[:60], data.test[:10], per_class=[1], cuts=["3"], epochs=1,
    ...     progress=False,
    ... )
    >>> [row["way"] for row in found.history[:3]], found.layers
    (['from scratch', 'transferred', 'fine-tuned'], ['(nothing)', '3', '(all old layers)'])
    """
    name = "study"
    samples, judged_on = labelled(name, "train", train), labelled(name, "test", test)
    classes = int(max(samples.y.max(), judged_on.y.max())) + 1
    counts = [check.integer(name, "per_class", n, 1) for n in per_class]
    if not counts:
        raise ValueError(f"{name}: per_class must have a number")
    least = np.bincount(samples.y, minlength=classes).min()
    if max(counts) > least:
        raise ValueError(f"{name}: per_class must be at most {least}, got {max(counts)}")
    cut_count = sorted(counts)[(len(counts) - 1) // 2] if cut_per_class is None else cut_per_class
    check.integer(name, "cut_per_class", cut_count, 1)
    check.integer(name, "repeats", repeats, 1)
    check.integer(name, "seed", seed, 0)
    layers = _cuts(model, samples, cuts, options) if cuts else []

    plan: list[dict[str, Any]] = []
    for repeat in range(repeats):
        for n in counts:
            plan += [{"way": w, "per_class": n, "layer": None, "repeat": repeat} for w in WAYS]
        plan += [
            {"way": way, "per_class": cut_count, "layer": layer, "repeat": repeat}
            for layer in layers
            for way in CUT_WAYS
        ]
    history, known = [], {}
    with steps_with_bar(len(plan), "trainings", progress) as bar:
        for i in bar:
            row = plan[i]
            split = few(samples, row["per_class"], classes, seed + row["repeat"])
            chosen = _options(row)
            key = (row["per_class"], row["repeat"], *sorted(chosen.items(), key=str))
            if key not in known:  # the ends of the cuts may have been trained already
                found = fit(
                    model, split, **chosen, **options, seed=seed + row["repeat"], progress=False
                )
                says = predict(found.model, judged_on.x).argmax(1)
                known[key] = float((says == judged_on.y).mean())
            history.append({**row, "accuracy": known[key]})
            bar.set_postfix_str(f"{row['way']}: {known[key]:.1%}")
    images, titles = judged(found.model, judged_on)
    return Study(images, history, titles, layers)


def _options(row: dict[str, Any]) -> dict[str, Any]:
    """What `fit` is told for a training."""
    if row["layer"] is None:
        return WAYS[row["way"]]
    if row["layer"] == EVERYTHING:
        return WAYS["transferred"]
    until = None if row["layer"] == NOTHING else row["layer"]
    return {"freeze_until": until, **CUT_WAYS[row["way"]]}


def _cuts(model: Module, samples: Split, cuts: Any, options: dict[str, Any]) -> list[str]:
    name = "study"
    if not isinstance(model, Module):
        raise TypeError(f"{name}: model must be a Module, got {type(model).__name__}")
    shape = picture_shape(model, samples.x, options.get("size"), name)
    x = Prepare(shape, metadata_of(model).get("normalization"))(samples.x[:2])
    anatomy = _surgery.Anatomy(
        name, copy.deepcopy(model), Network(name, model).place(x), options.get("head")
    )
    if isinstance(cuts, int):
        chain = anatomy.chain()
        places = np.linspace(0, len(chain) - 1, min(cuts, len(chain))).round().astype(int)
        cuts = [chain[i] for i in places]
    unknown = [layer for layer in cuts if layer not in anatomy.order]
    if unknown:
        raise ValueError(
            f"{name}: cuts names a layer that is not there: {unknown[0]!r}; there are "
            f"{', '.join(map(repr, anatomy.order))}"
        )
    return [NOTHING, *sorted(cuts, key=anatomy.order.index), EVERYTHING]


def _band(ax: Any, at: list[Any], values: list[list[float]], label: str) -> None:
    if not at:
        return
    (line,) = ax.plot(at, [np.mean(v) for v in values], marker="o", label=label)
    low, high = [min(v) for v in values], [max(v) for v in values]
    ax.fill_between(at, low, high, alpha=0.15, color=line.get_color())


def _wide(way: str) -> int:
    return max(len(way), 6)
