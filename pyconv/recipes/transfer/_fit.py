"""A new head for a trained network, and what of the rest is trained along."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv import optim, random, training
from pyconv.data import DataLoader, Dataset, Split
from pyconv.functional import softmax
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.nn.utils import unfreeze
from pyconv.recipes._curves import curves
from pyconv.recipes._labelled import Prepare, check_channels, labelled, pictures
from pyconv.recipes._network import Network
from pyconv.recipes._result import Result, figure_type, show
from pyconv.recipes.transfer import _surgery

_STEPS, _EPOCHS = 300, (5, 60)  # by default so many steps, in so many epochs
_SHOWN = 18  # pictures on the sheet
_KEPT = 2**30  # bytes of features
_EVALUATION_BATCH = 100


@dataclasses.dataclass
class Transferred(Result):
    """What `fit` returns.

    Attributes
    ----------
    images : ndarray, N×C×H×W, float32
        Some of the pictures that were kept for validation (of training, where there are none).
    titles : list of str
        What the model says of them; what it is, too, where that is something else.
    history : list of dict
        One entry an epoch: ``epoch``, ``loss``, ``accuracy``, ``validation_loss``,
        ``validation_accuracy``, ``lr``, ``seconds``.
    model : Module
        The network with the new head, in inference mode, nothing frozen. `pyconv.save` writes it
        with the names of the classes and what is done to pictures, so that ``pyconv predict`` takes
        any.
    head : str
        The name of the new layer.
    trained : list of str
        The names of all parameters that were trained.
    """

    model: Any = None
    head: str = ""
    trained: list[str] = dataclasses.field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """On the pictures for validation, or without them on those of training, at the end."""
        last = self.history[-1]
        return last.get("validation_accuracy", last["accuracy"])

    def figure(self, across: int | None = None) -> Any:
        """Loss and accuracy against the epoch, and the pictures with what the model says; where it
        is wrong, in red.

        Parameters
        ----------
        across : int, optional
            Pictures in a row; by default somewhat more than there are rows.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            matplotlib is not there.
        """
        figure = figure_type()(figsize=(11, 5), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[4, 7])
        for ax, key in zip(left.subplots(2, 1), ("accuracy", "loss"), strict=True):
            curves(ax, self.history, key)
        across = across or max(math.ceil(math.sqrt(len(self.images) * 1.6)), 1)
        down = max(-(-len(self.images) // across), 1)
        for i, ax in enumerate(right.subplots(down, across, squeeze=False).flat):
            ax.axis("off")
            if i < len(self.images):
                show(ax, self.images[i])
                wrong = "\n" in self.titles[i]
                ax.set_title(self.titles[i], fontsize=8, color="firebrick" if wrong else "black")
        return figure


def fit(
    model: Module,
    train: Any,
    validation: Any = None,
    *,
    freeze_until: str | None = "head",
    head: str | None = None,
    classes: Sequence[str] | None = None,
    size: Any = None,
    fresh: bool = False,
    lr: float | None = None,
    old_rate: float = 0.03,
    weight_decay: float = 0.01,
    epochs: int | None = None,
    batch_size: int = 32,
    augment: Any = None,
    keep_statistics: bool | None = None,
    reuse: bool = True,
    seed: int = 0,
    progress: bool = True,
) -> Transferred:
    """Give a trained network a new head for other classes, and train that, or more.

    Parameters
    ----------
    model : Module
        Of `pyconv.models`, with weights of its own or those of others; loaded from a file; or any
        that ends with a dense layer or a 1×1 convolution. It is not changed.
    train, validation : Dataset, Split, or (x, y)
        Pictures, N×C×H×W, uint8 or floats in 0..1, and the numbers of their classes, from 0 on. Of
        a Dataset `train` takes the training pictures, `validation` the test pictures. Grey pictures
        become colour, or colour grey, and they are scaled, as a whole, to the size that the model
        takes; its mean and scale are applied.
    freeze_until : str or None
        What stays as it is. "head": all old layers, only the new head is trained (transfer
        learning). None: nothing, all layers are trained (fine-tuning). The name of a layer: that
        layer and all that runs before it; those behind it are trained. Frozen batch normalisations
        stay in inference mode: they keep their statistics.
    head : str, optional
        The name of the layer that is replaced; by default the last one that learns.
    classes : sequence of str, optional
        Their names; by default those of the Dataset, or their numbers.
    size : int or (int, int), optional
        Height and width to which pictures are scaled, where they should be others than the model
        was trained on (smaller ones are faster), or where it doesn't say.
    fresh : bool
        Draw the old layers that are trained anew, to see what the frozen ones are worth; with
        ``freeze_until=None`` this is training from scratch.
    lr : float, optional
        The rate of the new layers: the largest, it falls to 0 along half a cosine. By default 0.01
        for a head alone, 0.003 where more is trained.
    old_rate : float
        The rate of the old layers that are trained on, as a factor of `lr`. Networks of few layers
        take more, 0.1 to 1.
    weight_decay : float
        Of AdamW.
    epochs : int, optional
        By default as many as make about 300 steps, 5 at least and 60 at most.
    batch_size : int
    augment : transform, optional
        What training pictures go through first; see `pyconv.data.transforms`.
    keep_statistics : bool, optional
        Whether the batch normalisations of old layers that are trained keep their statistics; by
        default they do unless they are `fresh`. Few pictures make poor statistics.
    reuse : bool
        Compute what the frozen layers give once for each picture, not in every epoch, where there
        is no `augment`, and it fits into 1 GiB. The result is the same up to rounding.
    seed : int
        Of the new weights, the order of the pictures, dropout and `augment`.
    progress : bool

    Returns
    -------
    Transferred

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range; no head is found; a layer that is not there; pictures
        that the model can't take.

    Notes
    -----
    AdamW (Loshchilov and Hutter, Decoupled weight decay regularization, 2019). Probabilities behind
    the old head (a softmax in a loaded graph) are left out: the new one gives logits.

    Examples
    --------
    >>> from pyconv import models
    >>> from pyconv.data import load_dataset
    >>> from pyconv.recipes import transfer
    >>> data = load_dataset("fashion-mnist")
    >>> old = models.lenet5(num_classes=7)
    >>> found = transfer.fit(old, data.train[:20], epochs=2, progress=False)
    >>> found.trained
    ['11.weight', '11.bias']
    >>> found.model(data.train.x[:1].astype("float32")).shape
    (1, 10)
    """
    name = "fit"
    if not isinstance(model, Module):
        raise TypeError(f"{name}: model must be a Module, got {type(model).__name__}")
    samples = labelled(name, "train", train)
    kept = None if validation is None else labelled(name, "validation", validation)
    names = _names(classes, train, samples, kept)
    if freeze_until is not None and not isinstance(freeze_until, str):
        raise TypeError(
            f'{name}: freeze_until must be the name of a layer, "head" or None, got '
            f"{check.kind(freeze_until)}"
        )
    check.boolean(name, "fresh", fresh)
    if lr is None:
        lr = 0.01 if freeze_until == "head" else 0.003
    lr = check.number(name, "lr", lr, 0.0)
    old_rate = check.number(name, "old_rate", old_rate, 0.0)
    check.number(name, "weight_decay", weight_decay, 0.0)
    check.integer(name, "batch_size", batch_size, 1)
    check.boolean(name, "reuse", reuse)
    if keep_statistics is None:
        keep_statistics = not fresh
    check.boolean(name, "keep_statistics", keep_statistics)
    check.integer(name, "seed", seed, 0)
    batches = math.ceil(len(samples) / batch_size)
    if epochs is None:
        epochs = min(max(math.ceil(_STEPS / batches), _EPOCHS[0]), _EPOCHS[1])
    check.integer(name, "epochs", epochs, 1)
    check.boolean(name, "progress", progress)

    model = unfreeze(copy.deepcopy(model))
    shape = picture_shape(model, samples.x, size)
    for argument, split in (("train", samples), ("validation", kept)):
        if split is not None:
            check_channels(name, argument, split.x, shape[0])
    network = Network(name, model)
    normalization = metadata_of(model).get("normalization")
    plain = Prepare(shape, normalization)
    state = random.get_rng_state()
    random.manual_seed(seed)
    try:
        anatomy = _surgery.Anatomy(name, model, network.place(plain(samples.x[:2])), head)
        groups = _prepared(anatomy, freeze_until, len(names), fresh, keep_statistics, lr, old_rate)
        optimizer = optim.AdamW(groups, lr=lr, weight_decay=weight_decay)
        trained = {id(p) for group in groups for p in group["params"]}
        tail = _surgery.tail_of(anatomy) if reuse and augment is None else None
        parts: list[Any] = [samples, kept]
        if tail is not None:
            parts = _entering(anatomy, tail, parts, plain, progress)
        if tail is None or parts[0] is None:
            tail, parts = None, [samples, kept]
        transforms = [None, None] if tail else [Prepare(shape, normalization, augment), plain]
        trainer = training.Trainer(
            model if tail is None else tail,
            optimizer,
            scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches),
            scheduler_per="batch",
            device=None if network.device == "cpu" else network.device,
            progress="epochs" if progress and tail is not None else progress,
        )
        loader = DataLoader(
            parts[0], batch_size, True, seed=seed, transform=transforms[0], workers=1
        )
        others = None
        if parts[1] is not None:
            others = DataLoader(parts[1], _EVALUATION_BATCH, transform=transforms[1], workers=1)
        trainer.fit(loader, others, epochs)
    finally:
        random.set_rng_state(state)
    unfreeze(model).eval()
    _describe(model, shape, normalization, names)
    images, titles = judged(model, samples if kept is None else kept)
    return Transferred(
        images,
        trainer.history,
        titles,
        model,
        anatomy.head,
        [key for key, p in model.named_parameters() if id(p) in trained],
    )


def predict(model: Module, x: np.ndarray) -> np.ndarray:
    """What a network says of pictures: they are brought to the colours, the size and the scale
    that its metadata name, as ``pyconv predict`` does.

    Parameters
    ----------
    model : Module
    x : ndarray, N×C×H×W
        uint8, or floats in 0..1.

    Returns
    -------
    ndarray, N×classes, float32
        Probabilities.

    Raises
    ------
    TypeError, ValueError
        Wrong types; pictures that the model can't take.

    Examples
    --------
    >>> from pyconv import models
    >>> from pyconv.data import load_dataset
    >>> from pyconv.recipes import transfer
    >>> transfer.predict(models.lenet5(), load_dataset("fashion-mnist").test.x[:3]).shape
    (3, 10)
    """
    network = Network("predict", model)
    shape = picture_shape(model, pictures("predict", "x", x), None, "predict")
    check_channels("predict", "x", x, shape[0])
    prepare = Prepare(shape, metadata_of(model).get("normalization"))
    loader = DataLoader((x, np.zeros(len(x))), _EVALUATION_BATCH, transform=prepare, workers=1)
    scores = training.predict(model, loader, network.device)
    return softmax(scores, 1).numpy()


def judged(model: Module, split: Split, count: int = _SHOWN) -> tuple[np.ndarray, list[str]]:
    """Some pictures, as many of each class, and what a network says of them.

    Parameters
    ----------
    model : Module
        Its ``metadata`` has the names of the classes.
    split : Split
    count : int

    Returns
    -------
    images : ndarray, N×C×H×W, float32
    titles : list of str

    Examples
    --------
    >>> from pyconv import models
    >>> from pyconv.data import load_dataset
    >>> from pyconv.recipes import transfer
    >>> images, titles = transfer.judged(models.lenet5(), load_dataset("fashion-mnist").test, 4)
    >>> images.shape
    (4, 1, 28, 28)
    """
    # One of each class in turn.
    turn = np.zeros(len(split), np.int64)
    for label in np.unique(split.y):
        members = split.y == label
        turn[members] = np.arange(members.sum())
    some = split[np.argsort(turn, kind="stable")[:count]]
    names = metadata_of(model).get("classes")
    shares = predict(model, some.x)
    names = names or [str(i) for i in range(shares.shape[1])]
    titles = []
    for row, label in zip(shares, some.y, strict=True):
        says = int(row.argmax())
        title = f"{names[says]} {row[says]:.0%}"
        titles.append(title if says == label else f"{title}\nis {names[label]}")
    x = some.x if some.x.dtype != np.uint8 else some.x / np.float32(255)
    return x.astype(np.float32), titles


def metadata_of(model: Module) -> dict[str, Any]:
    return getattr(model, "metadata", None) or {}


def _names(classes: Any, train: Any, samples: Split, kept: Split | None) -> list[str]:
    if classes is None and isinstance(train, Dataset):
        classes = train.classes
    largest = max(int(s.y.max()) for s in (samples, kept) if s is not None)
    if classes is None:
        return [str(i) for i in range(largest + 1)]
    if isinstance(classes, str) or not all(isinstance(n, str) for n in classes):
        raise TypeError(f"fit: classes must be a sequence of names, got {classes!r}")
    if largest >= len(classes):
        raise ValueError(
            f"fit: classes must have a name for each class, got {len(classes)} names and the class "
            f"number {largest}"
        )
    return list(classes)


def picture_shape(model: Module, x: np.ndarray, size: Any, name: str = "fit") -> tuple[int, ...]:
    """C, H, W of what the model gets."""
    found = metadata_of(model).get("input_shape")
    shape = tuple(found) if found and len(found) == 3 else x.shape[1:]
    if not found:  # colour or grey is what the first convolution says
        first = next((m for m in model.modules() if hasattr(m, "in_channels")), None)
        shape = (shape[0] if first is None else first.in_channels, *shape[1:])
    if size is not None:
        pair = tuple(size) if isinstance(size, list) else size
        shape = (shape[0], *check.pair(name, "size", pair, 1))
    return tuple(int(n) for n in shape)


def _prepared(
    anatomy: _surgery.Anatomy,
    freeze_until: str | None,
    classes: int,
    fresh: bool,
    keep_statistics: bool,
    lr: float,
    old_rate: float,
) -> list[dict[str, Any]]:
    """The network with a new head, and frozen; what is trained, at which rate."""
    model = anatomy.model
    until = anatomy.last_before_head() if freeze_until == "head" else freeze_until
    new = anatomy.replace_head(classes)
    place = -1 if until is None else anatomy.freeze(until)
    rest = anatomy.after(place)
    if freeze_until == "head":
        for p in model.parameters():
            p.requires_grad_(False)
        new.requires_grad_(True)
    if fresh:
        _surgery.draw_anew(rest)
    if keep_statistics:
        _surgery.keep_statistics(rest)
    own = {id(p) for p in new.parameters()}
    old = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    groups = [{"params": list(new.parameters()), "lr": lr}]
    if old:
        groups.append({"params": old, "lr": lr * (1 if fresh else old_rate)})
    return groups


def _entering(
    anatomy: _surgery.Anatomy, tail: Any, parts: list[Any], prepare: Any, progress: bool
) -> list[Any]:
    """Splits of what the tail gets, in the place of pictures; None where that would be too much."""
    from tqdm import tqdm

    first = tail.layers[0]
    probe = _surgery.entering(anatomy.model, first, anatomy.x)
    total = sum(len(part) for part in parts if part is not None)
    if probe is None or total * probe.data[0].nbytes > _KEPT:
        return [None, None]
    found: list[Any] = []
    place = Network("fit", anatomy.model).place
    with tqdm(total=total, desc="frozen layers", unit="picture", disable=not progress) as bar:
        for part in parts:
            if part is None:
                found.append(None)
                continue
            batches = []
            for x, _ in DataLoader(part, _EVALUATION_BATCH, transform=prepare, workers=1):
                entered: Any = _surgery.entering(anatomy.model, first, place(x))
                batches.append(entered.numpy())
                bar.update(len(x))
            found.append(Split(np.concatenate(batches), part.y))
    return found


def _describe(model: Module, shape: Any, normalization: Any, names: list[str]) -> None:
    """What `pyconv.save` writes beside the weights."""
    known = {"input_shape": list(shape), "normalization": normalization, "classes": names}
    model.__dict__["metadata"] = {k: v for k, v in known.items() if v is not None}
    architecture = getattr(model, "architecture", None)
    if architecture:
        arguments = {**architecture["arguments"], "num_classes": len(names)}
        model.__dict__["architecture"] = {"name": architecture["name"], "arguments": arguments}
