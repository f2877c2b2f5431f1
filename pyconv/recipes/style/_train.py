"""The perceptual-loss way: a network learns to paint in one style."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyconv import nn, random
from pyconv.autograd import Tensor
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.optim import Adam
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import one_picture
from pyconv.recipes._steps import steps_with_bar
from pyconv.recipes.style._crops import Crops
from pyconv.recipes.style._loss import Loss, default_model, distance, make_loss, same_channels
from pyconv.training import Callback, Trainer


def train(
    pictures: Sequence[Any],
    style: Any = None,
    *,
    content: Sequence[Any] | None = None,
    model: Module | None = None,
    network: Module | None = None,
    content_layer: str | None = None,
    style_layers: Sequence[str] | None = None,
    layer_weights: Sequence[float] | None = None,
    alpha: float = 1.0,
    beta: float = 10.0,
    smooth: float = 1.0,
    pixels: float = 0.0,
    size: int = 128,
    batch_size: int = 2,
    steps: int = 2000,
    rate: float = 1e-3,
    checkpoint: Any = None,
    resume: Any = None,
    every: int = 50,
    seed: int = 0,
    progress: bool = True,
) -> Module:
    """An image transformation network, trained so that what it makes of a picture x has the
    content of y_c, by default x itself, and the style of y_s.

    The loss is that of `transfer`, of a fixed network; what is learned is not one picture, but the
    network that makes it, from squares of many pictures.

    Parameters
    ----------
    pictures : sequence of ndarray, C×H×W
        x, in 0..1, of any sizes. Any sequence that reads its pictures when they are asked for
        will do.
    style : ndarray, C×H×W, optional
        y_s; None for a task without a style.
    content : sequence of ndarray, optional
        y_c, one for each of `pictures` and of the same size.
    model : Module, optional
        The fixed network whose layers are compared; by default the pretrained SqueezeNet of the
        extra "models".
    network : Module, optional
        What is trained; by default ``models.transformer_net(width=16, blocks=3)`` with the
        pictures' channels.
    content_layer, style_layers, layer_weights, alpha, beta, smooth
        As in `transfer`; but by default without the deepest of the layers, whose style a network
        learns late and by stripes that only the loss network takes for it.
    pixels : float
        Weight of the squared distance of the pixels from those of y_c, relative to these.
    size : int
        Side of the squares.
    batch_size : int
    steps : int
        Batches, in all: those of a resumed training count.
    rate : float
        The step's length, of Adam.
    checkpoint : str or path, optional
        A file that is written after every round, always as a whole.
    resume : str or path, optional
        A checkpoint to go on from; the result has the same bits as that of an uninterrupted
        training.
    every : int
        Steps in a round: between checkpoints, and between entries of the history.
    seed : int
    progress : bool
        A bar with the remaining time.

    Returns
    -------
    Module
        The network, in inference mode. Its ``metadata`` has the ``history``, an entry for each
        round with means of ``loss``, ``content``, ``style`` (and ``pixels``), and under ``style``
        what it was trained for.

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1, or of other channels than the style; no such layer; arguments out of
        range; a checkpoint of another training.
    ImportError
        There is no model, and the pretrained one is not installed.
    OSError
        A checkpoint can't be read or written.

    Notes
    -----
    Johnson, Alahi and Fei-Fei, Perceptual losses for real-time style transfer and
    super-resolution (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import style
    >>> x, y = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    >>> net = style.train([x], y, model=models.lenet5(), steps=2, size=28, batch_size=1,
    ...                   network=models.transformer_net(None, 1, 2, 1), progress=False)
    >>> style.apply(net, x).image.shape, net.metadata["history"][-1]["step"]
    ((1, 1, 28, 28), 2)
    """
    name = "train"
    for argument, whole in (
        ("size", size), ("batch_size", batch_size), ("steps", steps), ("every", every),
    ):  # fmt: skip
        check.integer(name, argument, whole, 1)
    check.integer(name, "seed", seed, 0)
    check.number(name, "rate", rate, 0.0)
    if not len(pictures):
        raise ValueError(f"{name}: pictures is empty")
    if content is not None and len(content) != len(pictures):
        raise ValueError(
            f"{name}: content must have a picture for each of {len(pictures)} pictures, got "
            f"{len(content)}"
        )
    first = one_picture(name, "pictures[0]", pictures[0])
    channels = first.shape[1]
    painting = None
    if style is not None:
        painting = one_picture(name, "style", style)
        same_channels(name, pictures=first, style=painting)
    aims: dict[str, Any] = {
        "content_layer": content_layer, "style_layers": style_layers,
        "layer_weights": layer_weights, "alpha": alpha, "beta": beta if style is not None else 0.0,
        "smooth": smooth, "pixels": pixels,
    }  # fmt: skip
    if model is None:
        model = default_model() if alpha or aims["beta"] else nn.Identity()
    network = network if network is not None else _new(channels, seed)
    if not isinstance(network, Module):
        raise TypeError(f"{name}: network must be a Module, got {type(network).__name__}")
    with looked_at(name, model):
        judge = Network(name, model)
        loss = make_loss(name, judge, (1, channels, size, size), painting, shallow=True, **aims)
        notes = {
            "content_layer": loss.layer, "style_layers": [*loss.style],
            "layer_weights": [w for w, _ in loss.style.values()], "alpha": alpha, "beta": loss.beta,
            "smooth": smooth, "pixels": pixels, "size": size, "batch_size": batch_size,
            "rate": rate, "every": every, "seed": seed, "pictures": len(pictures),
            "painting": 0 if painting is None else zlib.crc32(painting.tobytes()),
        }  # fmt: skip
        crops = Crops(
            name, pictures, content, size=size, batch_size=batch_size, steps=steps, every=every,
            seed=seed,
        )  # fmt: skip
        with steps_with_bar(steps, "train", progress) as bar:
            log = _Log(_Goal(loss, pixels), bar)
            trainer = Trainer(
                network, Adam(network.parameters(), lr=rate), log.goal, callbacks=[log],
                device=judge.device, progress=False,
            )  # fmt: skip
            trainer.metadata = {"style": notes}
            if resume is not None:
                _check_same(resume, notes)
                trainer.load_checkpoint(resume, crops)
            bar.update(crops.step)
            rounds = -(-(steps - crops.step) // every)
            trainer.fit(crops, epochs=trainer.epoch + max(rounds, 0), checkpoint=checkpoint)
    network.__dict__["metadata"] = {"style": notes, "history": log.history}
    return network


class _Goal:
    """The loss of a batch, and the parts that were seen last."""

    def __init__(self, loss: Loss, pixels: float) -> None:
        self.loss, self.pixels = loss, pixels
        self.parts: dict[str, float] = {}

    def __call__(self, output: Any, target: Any) -> Tensor:
        total, self.parts = self.loss(output, self.loss.represent(target))
        if self.pixels:
            away = distance(output, target)
            total = total + self.pixels * away
            self.parts = {**self.parts, "loss": float(total), "pixels": float(away)}
        return total


class _Log(Callback):
    """Means of the loss and its parts in each round; moves the bar."""

    def __init__(self, goal: _Goal, bar: Any) -> None:
        self.goal, self.bar = goal, bar
        self.history: list[dict[str, float]] = []
        self._seen: list[dict[str, float]] = []

    def on_batch_end(self, trainer: Trainer) -> None:
        self._seen.append(self.goal.parts)
        self.bar.set_postfix({k: f"{v:.3g}" for k, v in self.goal.parts.items()}, refresh=False)
        self.bar.update()

    def on_epoch_end(self, trainer: Trainer) -> None:
        step = len(self._seen) + (self.history[-1]["step"] if self.history else 0)
        means = {k: float(np.mean([row[k] for row in self._seen])) for k in self._seen[0]}
        self.history.append({"step": step, **means})
        self._seen = []

    def state_dict(self) -> dict[str, Any]:
        """The history."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.history = list(state_dict["history"])


def _new(channels: int, seed: int) -> Module:
    """The default network; the random state is left as it was."""
    from pyconv.models import transformer_net

    before = random.get_rng_state()
    random.manual_seed(seed)
    try:
        return transformer_net(in_channels=channels, width=16, blocks=3)
    finally:
        random.set_rng_state(before)


def _check_same(path: Any, notes: dict[str, Any]) -> None:
    """The checkpoint is of this training."""
    from pyconv.io import load_state

    found = load_state(path)[1].get("style")
    if not isinstance(found, dict):
        raise ValueError(f"train: {path} is no checkpoint of a style")
    for key, value in notes.items():
        if found.get(key) != value:
            raise ValueError(
                f"train: {path} was trained with {key}={found.get(key)!r}, this training has "
                f"{value!r}"
            )
