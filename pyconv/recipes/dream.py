"""Deep dream: a picture, changed until a network sees more of what it sees in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.autograd import Tensor, no_grad
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes import _ascent
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import one_picture, resized
from pyconv.recipes._result import Result
from pyconv.recipes._steps import steps_with_bar
from pyconv.recipes._units import checked_unit

__all__ = ["dream", "strip"]


def dream(
    model: Module,
    picture: Any,
    layer: str,
    unit: Any = None,
    *,
    steps: int = 10,
    rate: float = 0.01,
    octaves: int = 4,
    octave_scale: float = 1.4,
    jitter: int = 16,
    blur: float = 0.5,
    tile: int = 256,
    seed: int = 0,
    progress: bool = True,
) -> Result:
    """Gradient ascent on a picture, coarse to fine.

    The picture is made small, and changed; what was changed is enlarged and added to the next
    larger copy, and so on to the full size (octaves). A step moves along the gradient, which is
    blurred and divided by its mean magnitude.

    Parameters
    ----------
    model : Module
    picture : ndarray, C×H×W or 1×C×H×W
        In 0..1.
    layer : str
        A name of `Module.named_modules`.
    unit : int or tuple of int, optional
        The channel, or the neuron, whose activation grows. By default the whole layer: the maximum
        of ½‖Θ(x)‖², which enhances whatever the layer detects.
    steps : int
        In each octave.
    rate : float
        The mean change of a pixel in a step.
    octaves : int
    octave_scale : float
        From one to the next, above 1.
    jitter : int
        The tiles are shifted by up to so many pixels before every step, so that their seams don't
        show.
    blur : float
        Standard deviation, in pixels, of the Gaussian that blurs the gradient; 0 for none.
    tile : int
        Side of the squares, in pixels, in which gradients are computed; so the memory of large
        pictures is that of one. A single neuron has no tiles.
    seed : int
    progress : bool

    Returns
    -------
    Result
        One picture; the history has the ``objective`` and the ``octave`` of each step.

    Raises
    ------
    TypeError, ValueError
        No such layer or unit; a picture out of 0..1; arguments out of range.

    Notes
    -----
    Mordvintsev, Olah and Tyka, Inceptionism: going deeper into neural networks (2015).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import dream
    >>> x = np.random.default_rng(0).random((1, 64, 64), np.float32)
    >>> found = dream.dream(models.lenet5(), x, "0", octaves=2, steps=3, progress=False)
    >>> found.image.shape, len(found.history)
    ((1, 1, 64, 64), 6)
    """
    name = "dream"
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    start = one_picture(name, "picture", picture)
    for argument, value, least in (
        ("steps", steps, 1), ("octaves", octaves, 1), ("jitter", jitter, 0), ("tile", tile, 16),
    ):  # fmt: skip
        check.integer(name, argument, value, least)
    check.number(name, "rate", rate, 0.0)
    check.number(name, "blur", blur, 0.0)
    if not check.number(name, "octave_scale", octave_scale, 1.0) > 1:
        raise ValueError(f"{name}: octave_scale must be above 1, got {octave_scale}")
    with looked_at(name, model):
        network = Network(name, model)
        whole = None
        if unit is not None:
            with no_grad():
                shape = network.features(start, [layer])[layer].shape
            whole = checked_unit(name, unit, shape, layer)

        index = (0, *(whole or ()))

        def objective(x: Tensor) -> Any:
            y = network.features(x, [layer])[layer]
            if whole is None:
                return 0.5 * (y * y).sum()
            return y[index].sum()  # over all positions of a channel

        single = whole is not None and len(whole) > 1
        history: list[dict[str, Any]] = []
        sizes = _sizes(start.shape[2:], octaves, octave_scale)
        changed = np.zeros_like(start)
        with steps_with_bar(len(sizes) * steps, "dream", progress) as bar:
            count = iter(bar)
            for octave, size in enumerate(sizes):
                base = resized(start, size)
                x = base + resized(changed, size)
                for _ in range(steps):
                    step = next(count)
                    side = max(size) if single else tile
                    score, gradient = _gradient(
                        objective, x, side, 0 if single else jitter, rng, network.place
                    )
                    history.append({"step": step, "octave": octave, "objective": score})
                    bar.set_postfix(objective=f"{score:.3g}", refresh=False)
                    if blur:
                        gradient = _ascent.blurred(gradient, blur)
                    magnitude = float(np.abs(gradient).mean())
                    if magnitude > 0:
                        x = np.clip(x + gradient * np.float32(rate / magnitude), 0, 1)
                changed = x - base
            for _ in count:
                pass
    return Result(np.ascontiguousarray(x, np.float32), history, [layer])


def strip(
    model: Module,
    picture: Any,
    layer: str,
    unit: Any = None,
    *,
    octaves: int = 4,
    jitter: int = 16,
    blur: float = 0.5,
    steps: int = 10,
    **options: Any,
) -> Result:
    """What the regularisers of `dream` do: without any, with each by itself, with all.

    Parameters
    ----------
    model, picture, layer, unit, octaves, jitter, blur, steps
        As `dream` has them. Without octaves there are as many steps, all in the full size.
    **options
        Of `dream`.

    Returns
    -------
    Result
        Six pictures: the original, "none", "blur", "jitter", "octaves", "all".

    Raises
    ------
    TypeError, ValueError
        As `dream`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import dream
    >>> x = np.random.default_rng(0).random((1, 64, 64), np.float32)
    >>> dream.strip(models.lenet5(), x, "0", octaves=2, steps=2, progress=False).titles
    ['picture', 'none', 'blur', 'jitter', 'octaves', 'all']
    """
    start = one_picture("strip", "picture", picture)
    check.integer("strip", "octaves", octaves, 1)
    check.integer("strip", "steps", steps, 1)
    several = len(_sizes(start.shape[2:], octaves, float(options.get("octave_scale", 1.4))))
    none = {"octaves": 1, "steps": steps * several, "jitter": 0, "blur": 0.0}
    every = {"octaves": octaves, "steps": steps, "jitter": jitter, "blur": blur}
    ways = {
        "none": none, "blur": {**none, "blur": blur}, "jitter": {**none, "jitter": jitter},
        "octaves": {**none, "octaves": octaves, "steps": steps}, "all": every,
    }  # fmt: skip
    images, history = [start], []
    for title, way in ways.items():
        found = dream(model, start, layer, unit, **way, **options)  # type: ignore[arg-type]
        images.append(found.image)
        history += [{**row, "regularisers": title} for row in found.history]
    return Result(np.concatenate(images), history, ["picture", *ways])


def _sizes(size: tuple[int, ...], octaves: int, scale: float) -> list[tuple[int, int]]:
    """Small to large; none below 32 pixels, but the last, which is the picture's own."""
    found = [tuple(round(n / scale**k) for n in size) for k in range(octaves)]
    return [s for k, s in reversed(list(enumerate(found))) if k == 0 or min(s) >= 32]  # type: ignore[misc]


def _gradient(
    objective: Any, x: np.ndarray, tile: int, jitter: int, rng: np.random.Generator, place: Any
) -> tuple[float, np.ndarray]:
    """Value and gradient, tile by tile on a grid that is shifted at random."""
    height, width = x.shape[2:]
    shift = [int(v) for v in rng.integers(-jitter, jitter + 1, 2)] if jitter else [0, 0]
    rolled = np.roll(x, shift, (2, 3))
    gradient = np.empty_like(rolled)
    value = 0.0
    for rows in _parts(height, tile):
        for columns in _parts(width, tile):
            part = place(np.ascontiguousarray(rolled[:, :, rows, columns]), requires_grad=True)
            found = objective(part)
            found.backward()
            value += float(found)
            assert part.grad is not None
            gradient[:, :, rows, columns] = part.grad.numpy()
    return value, np.roll(gradient, [-s for s in shift], (2, 3))


def _parts(size: int, tile: int) -> list[slice]:
    """Even parts of at most `tile`."""
    count = -(-size // tile)
    ends = [size * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
