"""Averages of a model's weights along its training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pyconv._frozen import thaw
from pyconv.autograd import Tensor, no_grad
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.nn.normalization import BatchNorm2d

Average = Callable[[Any, Any, int], Any]


class AveragedModel(Module):
    """A copy of a model whose parameters are the mean of those seen by `update_parameters`.

    Parameters
    ----------
    model : Module
    device : "cpu" or "cuda", optional
        Where the copy lives.
    avg_fn : callable, optional
        ``avg_fn(average, value, count)`` returns the next average of a parameter's arrays after
        `count` earlier ones; the plain mean by default.
    use_buffers : bool
        Average floating-point buffers, too; otherwise they are copied.

    Attributes
    ----------
    module : Module
        The copy; calling the AveragedModel calls it.
    n_averaged : Tensor
        How many were averaged. The first update copies.

    Notes
    -----
    Izmailov et al., Averaging weights leads to wider optima (2018). Batch norm statistics of the
    average are computed anew by `update_bn`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn, optim
    >>> model = nn.Linear(1, 1, bias=False)
    >>> average = optim.AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     model.weight.data[...] = value
    ...     average.update_parameters(model)
    >>> average.module.weight.item()
    3.0
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(model, Module):
            raise TypeError(
                f"{type(self).__name__}: model must be a Module, got {type(model).__name__}"
            )
        if avg_fn is not None and not callable(avg_fn):
            raise TypeError(
                f"{type(self).__name__}: avg_fn must be callable, got {type(avg_fn).__name__}"
            )
        self.use_buffers = check.boolean(type(self).__name__, "use_buffers", use_buffers)
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", np.zeros((), np.int64))
        self.avg_fn = avg_fn

    def forward(self, *inputs: Any) -> Any:
        return self.module(*inputs)

    def update_parameters(self, model: Module) -> None:
        """Take the present parameters of the model into the average."""
        if not isinstance(model, Module):
            raise TypeError(
                f"update_parameters: model must be a Module, got {type(model).__name__}"
            )
        count = self.n_averaged.item()
        average = self.avg_fn or self._average
        own_state, state = self.module._state(), model._state()
        if len(own_state) != len(state):
            raise ValueError(
                f"update_parameters: the model has {len(state)} parameters and buffers, "
                f"the average {len(own_state)}"
            )
        pairs = list(zip(own_state.items(), state.items(), strict=True))
        for (name, own), (other_name, other) in pairs:
            if name != other_name or own.shape != other.shape:
                raise ValueError(
                    f"update_parameters: the model has {other_name} of shape {other.shape} where "
                    f"the average has {name} of shape {own.shape}"
                )
        parameters = {id(p) for p in self.module.parameters()}
        done = set()
        for (_, own), (_, other) in pairs:
            if id(own) in done:
                continue
            done.add(id(own))
            value = other.to(own.device).data if other.device != own.device else other.data
            averaged = id(own) in parameters or (self.use_buffers and own.dtype.kind == "f")
            thaw(own.data)[...] = average(own.data, value, count) if averaged and count else value
        self.n_averaged.data += 1

    def _average(self, average: Any, value: Any, count: int) -> Any:
        return average + (value - average) / (count + 1)


class ExponentialMovingAverage(AveragedModel):
    """An `AveragedModel` by the rule ``average = decay average + (1 - decay) value``.

    Parameters
    ----------
    model : Module
    decay : float
        From 0 to 1.
    device, use_buffers
        See `AveragedModel`.

    Notes
    -----
    Polyak and Juditsky, Acceleration of stochastic approximation by averaging (1992).
    """

    def __init__(
        self, model: Module, decay: float = 0.999, device: Any = None, use_buffers: bool = False
    ) -> None:
        check.number(type(self).__name__, "decay", decay, 0.0, 1.0)
        super().__init__(model, device, None, use_buffers)
        self.decay = float(decay)

    def _average(self, average: Any, value: Any, count: int) -> Any:
        return self.decay * average + (1 - self.decay) * value


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of all batch norms anew: the mean over the batches. What is
    frozen (`nn.utils.freeze`) keeps its own.

    Parameters
    ----------
    loader : iterable
        Of batches, or of tuples that begin with one.
    model : Module
        Its mode (training or not) is kept.
    device : "cpu" or "cuda", optional
        Where to bring the batches.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn, optim
    >>> model = nn.Sequential(nn.BatchNorm1d(1))
    >>> optim.update_bn([np.array([[1.0], [3.0]], np.float32)], model)
    >>> model[0].running_mean
    Tensor([2.], dtype=float32)
    """
    if not isinstance(model, Module):
        raise TypeError(f"update_bn: model must be a Module, got {type(model).__name__}")
    norms = [
        m
        for m in model.modules()
        if isinstance(m, BatchNorm2d) and m.running_mean is not None and not m.frozen
    ]
    if not norms:
        return
    modes = [(m, m.training) for m in model.modules()]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    try:
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, (tuple, list)) else batch
                model(x if device is None else Tensor(x).to(device))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes:
            module.training = mode
