"""What a network sees: pictures that excite a unit, pictures that a layer can't tell apart, filters
and activations as sheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv import nn
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.optim import Adam
from pyconv.recipes import _ascent
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import as_pictures, one_picture
from pyconv.recipes._result import Result
from pyconv.recipes._steps import steps_with_bar
from pyconv.recipes._units import activation, checked_unit, name_of

__all__ = ["activations", "ascent", "filters", "invert"]


def ascent(
    model: Module,
    layer: str,
    unit: Any = None,
    *,
    shape: Sequence[int] | None = None,
    steps: int = 256,
    until: float | None = None,
    rate: float = 0.05,
    parametrization: str = "fourier",
    jitter: int = 8,
    blur: float = 0.0,
    total_variation: float = 0.0,
    l2: float = 0.0,
    seed: int = 0,
    progress: bool = True,
) -> Result:
    """Pictures that excite a unit, by gradient ascent from noise: x ← x + η ∂a(x)/∂x.

    Parameters
    ----------
    model : Module
    layer : str
        A name of `Module.named_modules`; ``pyconv layers MODEL`` lists them.
    unit : int, tuple of int, or a sequence of such
        A channel (its mean over all positions), or a class where the layer is dense; a neuron as
        (channel, row, column). Several give one picture each; by default the first 16 channels.
    shape : (C, H, W), optional
        Of the picture; by default what the model was trained on.
    steps : int
        At the most.
    until : float, optional
        Stop when each activation has reached this.
    rate : float
        The step's length, of `Adam`.
    parametrization : {"fourier", "pixels"}
        What is optimised: the waves that the picture is a sum of, or its pixels.
    jitter : int
        The picture is shifted by up to so many pixels before every step.
    blur : float
        Standard deviation, in pixels, of a Gaussian that blurs the pixels after every step.
    total_variation, l2 : float
        Weights of penalties: differences between neighbours, distance from grey.
    seed : int
    progress : bool

    Returns
    -------
    Result
        One picture a unit. The history has the mean ``activation``, and the ``activations``.

    Raises
    ------
    TypeError, ValueError
        No such layer or unit; arguments out of range.

    Notes
    -----
    Erhan et al., Visualizing higher-layer features of a deep network (2009); Olah, Mordvintsev and
    Schubert, Feature visualization (2017).

    Examples
    --------
    >>> from pyconv import models
    >>> from pyconv.recipes import visualize
    >>> net = models.lenet5()
    >>> found = visualize.ascent(net, "0", 2, shape=(1, 28, 28), steps=5, progress=False)
    >>> found.image.shape, found.history[-1]["activation"] > found.history[0]["activation"]
    ((1, 1, 28, 28), True)
    """
    name = "ascent"
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    check.integer(name, "steps", steps, 1)
    check.integer(name, "jitter", jitter, 0)
    for argument, value in (
        ("rate", rate), ("blur", blur), ("total_variation", total_variation), ("l2", l2),
    ):  # fmt: skip
        check.number(name, argument, value, 0.0)
    if until is not None:
        check.number(name, "until", until)
    check.one_of(name, "parametrization", parametrization, tuple(_ascent.PARAMETRIZATIONS))
    if blur and parametrization != "pixels":
        raise ValueError(f"{name}: blur is for parametrization='pixels'; waves are damped as it is")
    with looked_at(name, model):
        network = Network(name, model)
        size = network.picture_shape(shape)
        probe = network.features(_ascent.noise((1, *size), rng), [layer])[layer].shape
        listed = unit if isinstance(unit, (list, range, np.ndarray)) else [unit]
        if unit is None:
            listed = range(min(16, probe[1]))
        units = [checked_unit(name, u, probe, layer) for u in listed]
        if not units:
            raise ValueError(f"{name}: unit is an empty sequence")
        picture = _ascent.PARAMETRIZATIONS[parametrization]((len(units), *size), rng, network.place)
        most = min(jitter, (min(size[1:]) - 1) // 2)
        optimizer = Adam([picture.values], lr=rate)
        history = []
        with steps_with_bar(steps, "ascent", progress) as bar:
            for step in bar:
                x = picture.image()
                y = network.features(_ascent.jittered(x, most, rng), [layer])[layer]
                excited = [activation(y, i, u) for i, u in enumerate(units)]
                values = [float(a) for a in excited]
                mean = float(np.mean(values))
                history.append({"step": step, "activation": mean, "activations": values})
                bar.set_postfix(activation=f"{mean:.3g}", refresh=False)
                if until is not None and min(values) >= until:
                    break
                loss = -sum(excited[1:], excited[0])
                if total_variation:
                    loss = loss + total_variation * _ascent.total_variation(x)
                if l2:
                    loss = loss + l2 * _ascent.away_from_grey(x)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                picture.settle()
                if blur:
                    picture.blur(blur)
        images = np.ascontiguousarray(picture.image().numpy(), np.float32)
    return Result(images, history, [f"{layer} {name_of(u)}" for u in units])


def invert(
    model: Module,
    picture: Any,
    layer: str | Sequence[str],
    *,
    steps: int = 256,
    rate: float = 0.05,
    weight: float = 1e-2,
    parametrization: str = "fourier",
    seed: int = 0,
    progress: bool = True,
) -> Result:
    """What a layer keeps of a picture: arg min over x of l(Θ(x), Θ(x̂)) + λ R(x), from noise.

    l is the squared distance, divided by the square of Θ(x̂); R the total variation.

    Parameters
    ----------
    model : Module
    picture : ndarray, C×H×W or 1×C×H×W
        x̂, in 0..1.
    layer : str, or a sequence of them
        Several give one picture each.
    steps : int
    rate : float
        The step's length, of `Adam`.
    weight : float
        λ.
    parametrization : {"fourier", "pixels"}
    seed : int
    progress : bool

    Returns
    -------
    Result
        The picture, and what each layer kept of it. The history has the ``distance`` of each step,
        layer after layer.

    Raises
    ------
    TypeError, ValueError
        No such layer; a picture out of 0..1; arguments out of range.

    Notes
    -----
    Mahendran and Vedaldi, Understanding deep image representations by inverting them (2015).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import visualize
    >>> net, x = models.lenet5(), np.random.default_rng(0).random((1, 28, 28), np.float32)
    >>> found = visualize.invert(net, x, "0", steps=20, progress=False)
    >>> found.history[-1]["distance"] < found.history[0]["distance"]
    True
    """
    name = "invert"
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    check.integer(name, "steps", steps, 1)
    check.number(name, "rate", rate, 0.0)
    check.number(name, "weight", weight, 0.0)
    check.one_of(name, "parametrization", parametrization, tuple(_ascent.PARAMETRIZATIONS))
    wanted = one_picture(name, "picture", picture)
    layers = [layer] if isinstance(layer, str) else list(layer)
    images, history = [wanted], []
    with looked_at(name, model):
        network = Network(name, model)
        targets = {k: t.detach() for k, t in network.features(wanted, layers).items()}
        for one in layers:
            target = targets[one]
            scale = float((target * target).sum())
            if scale == 0:
                raise ValueError(f"{name}: layer {one!r} is zero for this picture")
            found = _ascent.PARAMETRIZATIONS[parametrization](wanted.shape, rng, network.place)
            optimizer = Adam([found.values], lr=rate)
            with steps_with_bar(steps, f"invert {one}", progress) as bar:
                for step in bar:
                    x = found.image()
                    away = network.features(x, [one])[one] - target
                    distance = (away * away).sum() / scale
                    history.append({"step": step, "layer": one, "distance": float(distance)})
                    bar.set_postfix(distance=f"{float(distance):.3g}", refresh=False)
                    optimizer.zero_grad()
                    (distance + weight * _ascent.total_variation(x)).backward()
                    optimizer.step()
                    found.settle()
            images.append(np.ascontiguousarray(found.image().numpy(), np.float32))
    return Result(np.concatenate(images), history, ["picture", *layers])


def filters(model: Module, layer: str | None = None) -> Result:
    """The weights of a convolution as pictures, each scaled to 0..1 around grey for zero.

    Parameters
    ----------
    model : Module
    layer : str, optional
        A convolution; by default the first one.

    Returns
    -------
    Result
        One picture a kernel: in colour where it has three input channels, else one grey picture
        for each of the kernel's first input channels.

    Raises
    ------
    TypeError, ValueError
        There is no such layer, or it is no 2-D convolution.

    Examples
    --------
    >>> from pyconv import models
    >>> from pyconv.recipes import visualize
    >>> visualize.filters(models.resnet18()).images.shape
    (64, 3, 7, 7)
    """
    if not isinstance(model, Module):
        raise TypeError(f"filters: model must be a Module, got {type(model).__name__}")
    convolutions = {k: m for k, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    if layer is None:
        if not convolutions:
            raise ValueError("filters: the model has no 2-D convolution")
        layer = next(iter(convolutions))
    if layer not in convolutions:
        raise ValueError(
            f"filters: {layer!r} is no 2-D convolution of the model; those are "
            f"{', '.join(map(repr, convolutions))}"
        )
    weight = convolutions[layer].weight.numpy()
    if weight.shape[1] != 3:
        weight = weight[:, :1]
    most = np.abs(weight).max((1, 2, 3), keepdims=True)
    images = 0.5 + 0.5 * weight / np.maximum(most, np.finfo(np.float32).tiny)
    return Result(
        np.ascontiguousarray(images, np.float32), [], [f"{layer} {i}" for i in range(len(images))]
    )


def activations(
    model: Module, picture: Any, layers: str | Sequence[str], *, channels: int = 16
) -> Result:
    """What the first channels of layers make of a picture, each scaled to 0..1.

    Parameters
    ----------
    model : Module
    picture : ndarray, C×H×W or 1×C×H×W
        In 0..1.
    layers : str, or a sequence of them
        With outputs N×C×H×W.
    channels : int
        Of each layer, at the most.

    Returns
    -------
    Result
        Grey pictures, all in the size of the largest.

    Raises
    ------
    TypeError, ValueError
        No such layer, or its output is no image; a picture out of 0..1.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import visualize
    >>> x = np.random.default_rng(0).random((1, 28, 28), np.float32)
    >>> visualize.activations(models.lenet5(), x, "0", channels=4).images.shape
    (4, 1, 28, 28)
    """
    name = "activations"
    x = as_pictures(name, "picture", picture)[:1]
    check.integer(name, "channels", channels, 1)
    names = [layers] if isinstance(layers, str) else list(layers)
    with looked_at(name, model):
        found = Network(name, model).features(x, names)
    rows, titles = [], []
    for layer, y in found.items():
        if y.ndim != 4:
            raise ValueError(f"{name}: the output of {layer!r} is no image, its shape is {y.shape}")
        for i, channel in enumerate(y.numpy()[0, :channels]):
            low, high = channel.min(), channel.max()
            rows.append((channel - low) / max(high - low, np.finfo(np.float32).tiny))
            titles.append(f"{layer} {i}")
    height, width = (max(r.shape[i] for r in rows) for i in (0, 1))
    images = np.stack([_enlarged(r, height, width) for r in rows])[:, None]
    return Result(images, [], titles)


def _enlarged(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """By repeated pixels."""
    down = np.arange(height) * image.shape[0] // height
    across = np.arange(width) * image.shape[1] // width
    return image[down[:, None], across].astype(np.float32)
