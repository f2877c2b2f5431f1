"""What a model computes on the way; several models as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pyconv.autograd import Tensor, stack
from pyconv.nn.containers import ModuleList
from pyconv.nn.module import Module


class _Enough(Exception):  # noqa: N818
    """Ends a forward pass when all that was asked for is there."""


def features(model: Module, x: Any, layers: Sequence[str]) -> dict[str, Tensor]:
    """The activations of named layers, differentiable.

    Nothing is computed after the last of them. Where a layer runs several times, its first output
    counts.

    Parameters
    ----------
    model : Module
    x : Tensor or array, or a tuple of them
        The input (inputs) of the model.
    layers : sequence of str
        Names as `Module.named_modules` has them.

    Returns
    -------
    dict of str to Tensor
        In the order of `layers`.

    Raises
    ------
    TypeError, ValueError
        `layers` is no sequence of names, the model has no such layer, or the layer did not run.

    Examples
    --------
    >>> import numpy as np
    >>> import pyconv
    >>> from pyconv import nn
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> found = pyconv.features(net, np.ones((1, 3), np.float32), ["0", "1"])
    >>> [y.shape for y in found.values()]
    [(1, 4), (1, 4)]
    """
    if not isinstance(model, Module):
        raise TypeError(f"features: model must be a Module, got {type(model).__name__}")
    if not isinstance(layers, (list, tuple)) or not all(isinstance(s, str) for s in layers):
        raise TypeError(f"features: layers must be a sequence of names, got {layers!r}")
    named = dict(model.named_modules())
    unknown = [name for name in layers if name not in named]
    if unknown:
        raise ValueError(
            f"features: the model has no layer {unknown[0]!r}; it has "
            f"{', '.join(repr(name) for name in named if name)}"
        )
    found: dict[str, Tensor] = {}
    wanted = set(layers)

    def listen(name: str) -> Any:
        def hook(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            found.setdefault(name, output)
            if len(found) == len(wanted):
                raise _Enough

        return hook

    handles = [named[name].register_forward_hook(listen(name)) for name in wanted]
    try:
        if wanted:
            model(*x) if isinstance(x, tuple) else model(x)
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()
    missing = [name for name in layers if name not in found]
    if missing:
        raise ValueError(f"features: layer {missing[0]!r} did not run for this input")
    return {name: found[name] for name in layers}


class Ensemble(Module):
    """The mean of what several models predict.

    Parameters
    ----------
    models : sequence of Module
        With outputs of one shape.

    Notes
    -----
    Breiman, Bagging predictors (1996).

    Examples
    --------
    >>> import numpy as np
    >>> import pyconv
    >>> from pyconv import nn
    >>> model = pyconv.Ensemble([nn.Linear(3, 2), nn.Linear(3, 2)])
    >>> model(np.ones((1, 3), np.float32)).shape
    (1, 2)
    """

    def __init__(self, models: Sequence[Module]) -> None:
        super().__init__()
        if isinstance(models, Module) or not isinstance(models, Iterable):
            raise TypeError(
                f"Ensemble: models must be a sequence of Modules, got {type(models).__name__}"
            )
        models = list(models)
        if not models:
            raise ValueError("Ensemble: models must not be empty")
        for model in models:
            if not isinstance(model, Module):
                raise TypeError(f"Ensemble: models must be Modules, got {type(model).__name__}")
        self.models = ModuleList(models)

    def forward(self, *inputs: Any) -> Any:
        return stack([model(*inputs) for model in self.models]).mean(0)
