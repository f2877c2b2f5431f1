"""Mixed precision on CUDA: `autocast` and `GradScaler`, by PyTorch's names.

Convolutions, dense layers and matrix products run in 16-bit types with sums in float32; losses,
softmax and reductions in float32; parameters stay float32, and so do their gradients.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyconv._autocast import mode
from pyconv.autograd import Tensor
from pyconv.kernels import _checks as check
from pyconv.kernels import grad_norm
from pyconv.kernels.optimizer import scale as scale_arrays
from pyconv.optim.optimizer import Optimizer

__all__ = ["GradScaler", "autocast"]


class autocast(contextlib.ContextDecorator):  # noqa: N801
    """Convolutions, dense layers and matrix products of CuPy arrays in a 16-bit type.

    Until the block ends, in the calling thread; also a decorator. The forward pass belongs into the
    block, the loss too; the backward pass runs in the types of the forward pass anyway. Arrays on
    the CPU are left alone.

    Parameters
    ----------
    device_type : "cuda"
    dtype : dtype, optional
        float16 (the default; use a `GradScaler` then), or ``ml_dtypes.bfloat16``.
    enabled : bool
        False switches it off, inside another block too.

    Raises
    ------
    TypeError, ValueError
        Another device, or another dtype.

    Notes
    -----
    In the 16-bit type: `conv1d`, `conv2d` and their transposed forms,
    `depthwise_separable_conv2d`, `linear`, ``@``. In float32: losses, softmax, log_softmax, exp,
    log, powers, sums, means, variances. All others run in the type of what they get, and two
    types in one operation become the wider one. Micikevicius et al., Mixed precision training
    (2018).

    Examples
    --------
    >>> import numpy as np
    >>> import pyconv
    >>> with pyconv.autocast("cuda"):  # has no effect on arrays on the CPU
    ...     y = pyconv.Tensor(np.ones((1, 2), np.float32)) @ np.ones((2, 1), np.float32)
    >>> y.dtype
    dtype('float32')
    """

    def __init__(
        self, device_type: str = "cuda", dtype: Any = np.float16, enabled: bool = True
    ) -> None:
        if not isinstance(device_type, str):
            raise TypeError(f"autocast: device_type must be a str, got {check.kind(device_type)}")
        if device_type != "cuda":
            raise ValueError(
                'autocast: device_type must be "cuda" (where 16-bit types run), '
                f"got {device_type!r}"
            )
        try:
            dtype = np.dtype(dtype)
        except TypeError:
            raise TypeError(f"autocast: dtype must be a dtype, got {check.kind(dtype)}") from None
        if dtype.name not in ("float16", "bfloat16"):
            raise ValueError(f"autocast: dtype must be float16 or bfloat16, got {dtype}")
        self.dtype = dtype
        self.enabled = check.boolean("autocast", "enabled", enabled)
        self._before: list[Any] = []

    def __enter__(self) -> autocast:
        self._before.append(mode.dtype)
        mode.dtype = self.dtype if self.enabled else None
        return self

    def __exit__(self, *error: Any) -> None:
        mode.dtype = self._before.pop()


class GradScaler:
    """Scales the loss up, so that small gradients don't vanish in float16, and the gradients down.

    A step whose gradients have an infinity or a NaN is skipped, and the scale shrunk; after
    `growth_interval` good steps in a row it grows.

    Parameters
    ----------
    init_scale : float
    growth_factor : float
        Above 1.
    backoff_factor : float
        Between 0 and 1.
    growth_interval : int
    enabled : bool
        Without, everything passes through.

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import pyconv
    >>> from pyconv import nn, optim
    >>> p = nn.Parameter(np.ones(2, np.float32))
    >>> optimizer, scaler = optim.SGD([p], lr=0.5), pyconv.GradScaler(init_scale=1024.0)
    >>> scaler.scale((p * 2).sum()).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> p.data
    array([0., 0.], dtype=float32)
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        name = "GradScaler"
        self._scale = check.number(name, "init_scale", init_scale)
        self._growth = check.number(name, "growth_factor", growth_factor)
        self._backoff = check.number(name, "backoff_factor", backoff_factor)
        self._interval = check.integer(name, "growth_interval", growth_interval, 1)
        self._enabled = check.boolean(name, "enabled", enabled)
        if not 0 < self._scale < math.inf:
            raise ValueError(f"{name}: init_scale must be positive, got {init_scale}")
        if not self._growth > 1:
            raise ValueError(f"{name}: growth_factor must be above 1, got {growth_factor}")
        if not 0 < self._backoff < 1:
            raise ValueError(
                f"{name}: backoff_factor must be between 0 and 1, got {backoff_factor}"
            )
        self._good_steps = 0
        # The optimizers whose gradients are unscaled, and whether all of those were finite.
        self._finite: dict[int, bool] = {}
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """A loss, or a list or tuple of losses, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(self.scale(item) for item in outputs)
        if not isinstance(outputs, Tensor):
            raise TypeError(f"GradScaler.scale: outputs must be Tensors, got {check.kind(outputs)}")
        return outputs * self._scale

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, in place: before they
        are clipped. `step` does it where it wasn't done.

        Raises
        ------
        RuntimeError
            It was done since the last `update`.
        """
        _check_optimizer("unscale_", optimizer)
        if not self._enabled:
            return
        if id(optimizer) in self._finite:
            raise RuntimeError("GradScaler.unscale_: was called since the last update()")
        gradients = [
            p.grad.data
            for group in optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        finite = True
        if gradients:
            largest = grad_norm(gradients, math.inf)
            finite = math.isfinite(float(largest))  # a device is waited for
            if finite:
                scale_arrays(gradients, 1 / self._scale)
        self._finite[id(optimizer)] = finite

    def step(self, optimizer: Optimizer) -> Any:
        """``optimizer.step()``, unless a gradient is not finite.

        Raises
        ------
        RuntimeError
            It was called for this optimizer since the last `update`.
        """
        _check_optimizer("step", optimizer)
        if not self._enabled:
            return optimizer.step()
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.step: was called since the last update()")
        if id(optimizer) not in self._finite:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        return optimizer.step() if self._finite[id(optimizer)] else None

    def update(self, new_scale: float | None = None) -> None:
        """After the steps of an iteration: shrink the scale if one was skipped, let it grow if
        `growth_interval` were not; or set it.

        Raises
        ------
        RuntimeError
            There was no step since the last `update`.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            new_scale = check.number("GradScaler.update", "new_scale", new_scale)
            if not 0 < new_scale < math.inf:
                raise ValueError(f"GradScaler.update: new_scale must be positive, got {new_scale}")
            self._scale = new_scale
        elif not self._finite:
            raise RuntimeError("GradScaler.update: there was no step since the last update()")
        elif not all(self._finite.values()):
            self._scale *= self._backoff
            self._good_steps = 0
        else:
            self._good_steps += 1
            if self._good_steps == self._interval:
                grown = self._scale * self._growth
                self._scale = grown if grown < float(np.finfo(np.float32).max) else self._scale
                self._good_steps = 0
        self._finite.clear()
        self._stepped.clear()

    def get_scale(self) -> float:
        """The scale; 1 if not enabled."""
        return self._scale if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether it scales."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Scale, factors and count of good steps; empty if not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth,
            "backoff_factor": self._backoff,
            "growth_interval": self._interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, PyTorch's too.

        Raises
        ------
        TypeError, ValueError
            No such dict.
        """
        if not self._enabled:
            return
        wanted = self.state_dict()
        if not isinstance(state_dict, Mapping) or not wanted.keys() <= state_dict.keys():
            raise ValueError(
                f"GradScaler.load_state_dict: state_dict must have {', '.join(wanted)}"
            )
        self._scale = float(state_dict["scale"])
        self._growth = float(state_dict["growth_factor"])
        self._backoff = float(state_dict["backoff_factor"])
        self._interval = int(state_dict["growth_interval"])
        self._good_steps = int(state_dict["_growth_tracker"])

    def __repr__(self) -> str:
        return f"GradScaler(scale={self.get_scale()}, enabled={self._enabled})"


def _check_optimizer(method: str, optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"GradScaler.{method}: optimizer must be an Optimizer, got {check.kind(optimizer)}"
        )
