"""Convolutions in `eval()`: with packed weights, and a batch normalisation behind them folded in.

What is made here lives in the convolution. It is good as long as the arrays that it was made of
are the module's and still frozen (see `pyconv._frozen`): `train()`, `load_state_dict`, an
optimizer's step and an assignment to a parameter all end that, and the next call makes it anew.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from pyconv import _cpu, kernels
from pyconv._frozen import freeze, is_frozen, last_thaw, thaw
from pyconv._runtime import get_float32_precision
from pyconv.autograd import Tensor, is_grad_enabled
from pyconv.functional._common import array_of, records
from pyconv.kernels.convolution import PreparedConvolution

Arrays = tuple[Any, ...]

_lock = threading.Lock()  # for making, not for using


class Ready:
    """The weight and the bias that a convolution runs with, and what they hold for; never changed.

    Attributes
    ----------
    sources : tuple of array or None
        What they were made of: weight, bias; scale, shift, mean and variance of a normalisation.
    settings : tuple
        See `_settings`.
    links : tuple
        The sources as (dict of the module, name, Tensor, array), to see quickly that they are the
        module's; what is None stands as (dict, name, None, None).
    thaw : int
        `last_thaw` at the time when all sources were known to be frozen.
    call : tuple
        Shape of the input, precision and instruction set of the last call: the algorithm, and with
        it the packed form, may depend on them.
    """

    __slots__ = (
        "algorithm", "bias", "call", "links", "norm", "plain", "run", "settings", "sources", "thaw",
        "weight",
    )  # fmt: skip

    def __init__(
        self, sources: Arrays, settings: Any, links: Arrays, plain: np.ndarray, bias: Any
    ) -> None:
        self.sources = sources
        self.settings = settings
        self.links = links
        self.norm: Any = None
        self.thaw = -1
        self.plain = plain
        self.bias = bias
        self.weight: kernels.PackedWeight | None = None
        self.run: PreparedConvolution | None = None
        self.algorithm = ""
        self.call: Any = None

    def holds(self, sources: Arrays, settings: Any) -> bool:
        """Nothing has changed since it was made."""
        return self.settings == settings and all(
            mine is own and (own is None or is_frozen(own))
            for mine, own in zip(self.sources, sources, strict=True)
        )

    def runs(self, conv: Any, norm: Any, image: Any, call: Any, recording: bool) -> bool:
        """The same as `holds`, quickly, and it is packed for this call."""
        if (
            self.norm is not norm
            or self.call != call
            or self.thaw != last_thaw()
            or image.dtype is not self.plain.dtype
            or self.settings != _settings(conv, norm)
        ):
            return False
        for own, name, tensor, array in self.links:
            if own.get(name) is not tensor:
                return False
            if tensor is not None and (
                tensor.data is not array
                or array.flags.writeable
                or (recording and tensor._requires_grad)
            ):
                return False
        return True

    def packed_for(self, call: Any, geometry: dict[str, Any]) -> Ready:
        """The same with the weight packed for a call; packed anew where another algorithm runs."""
        algorithm = kernels.algorithms(
            "conv2d", call[0], self.plain.shape, **geometry, dtype=self.plain.dtype
        )[0]
        ready = Ready(self.sources, self.settings, self.links, self.plain, self.bias)
        ready.call, ready.algorithm, ready.weight = call, algorithm, self.weight
        if ready.weight is None or algorithm != self.algorithm or self.call[2] != call[2]:
            ready.weight = kernels.pack_weight(self.plain, call[0], **geometry, algorithm=algorithm)
            ready.weight.weight = self.plain  # no second copy
        ready.run = PreparedConvolution(ready.weight, self.bias, call[0], **geometry)
        return ready


def release(module: Any) -> None:
    """Forget what was packed; the module's arrays can be written again."""
    ready = module.__dict__.pop("_ready", None)
    for array in ready.sources if ready is not None else ():
        thaw(array)
    for own in (module._parameters, module._buffers):
        for tensor in own.values():
            if tensor is not None:
                thaw(tensor.data)


def convolve(conv: Any, norm: Any, x: Any, activation: Any, residual: Any) -> Tensor | None:
    """``activation(norm(conv(x)) + residual)`` in one call of a kernel; `norm` may be None.

    Returns None where a gradient is recorded, a module is in training, or the arguments are not
    such as the kernel takes: then the modules compute it, or raise the error.
    """
    recording = is_grad_enabled()
    image, added = x, residual
    if isinstance(x, Tensor):
        image = x.data
        if recording and x._requires_grad:
            return None
    if isinstance(residual, Tensor):
        added = residual.data
        if recording and residual._requires_grad:
            return None
    if type(image) is not np.ndarray:
        return None
    call = (image.shape, get_float32_precision(), _cpu.current_isa())
    ready = conv.__dict__.get("_ready")
    if ready is None or not ready.runs(conv, norm, image, call, recording):
        ready = _ready_for(conv, norm, image, call)
    if ready is None:
        return None
    return Tensor._wrap(ready.run(image, activation, added))


def _settings(conv: Any, norm: Any) -> tuple[Any, ...]:
    """Everything but arrays that the result depends on."""
    own = (conv.training, conv.padding_mode, conv.stride, conv.padding, conv.dilation, conv.groups)
    return own if norm is None else (*own, norm.training, norm.eps)


def _ready_for(conv: Any, norm: Any, image: np.ndarray, call: Any) -> Ready | None:
    """What is ready for a call, made where it isn't there; None where that can't be."""
    names = [(conv._parameters, "weight"), (conv._parameters, "bias")]
    if norm is not None:
        names += [(norm._parameters, "weight"), (norm._parameters, "bias")]
        names += [(norm._buffers, "running_mean"), (norm._buffers, "running_var")]
        if norm.training or norm.running_mean is None or 4 not in norm.ranks:
            return None
    tensors = [own.get(name) for own, name in names]
    sources: Arrays = tuple(array_of(t) for t in tensors)
    if (
        conv.training
        or conv.padding_mode != "zeros"
        or sources[0] is None
        or records(*tensors)
        or image.ndim != 4
        or image.shape[1] != conv.in_channels
        or any(array is not None and array.dtype != image.dtype for array in sources)
        or (norm is not None and norm.num_features != conv.out_channels)
    ):
        return None
    links = tuple((*where, t, array_of(t)) for where, t in zip(names, tensors, strict=True))
    settings = _settings(conv, norm)
    geometry = dict(
        stride=conv.stride, padding=conv.padding, dilation=conv.dilation, groups=conv.groups
    )
    with _lock:
        ready = conv.__dict__.get("_ready")
        thaw_before = last_thaw()
        if ready is None or not ready.holds(sources, settings):
            for array in ready.sources if ready is not None else ():
                if not any(array is source for source in sources):
                    thaw(array)
            if not all(array is None or freeze(array) for array in sources):
                release(conv)
                for array in sources:
                    thaw(array)
                return None
            eps = None if norm is None else norm.eps
            ready = Ready(sources, settings, links, *_folded(*sources, eps=eps))
        try:
            ready = ready.packed_for(call, geometry)
        except ValueError:  # the plain call says what is wrong
            return None
        ready.links, ready.norm, ready.thaw = links, norm, thaw_before
        conv.__dict__["_ready"] = ready
        return ready


def _folded(
    weight: np.ndarray, bias: Any, *norm: Any, eps: float | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Weight and bias of the convolution and normalisation as one, rounded once."""
    if not norm:
        return weight, bias
    with np.errstate(all="ignore"):
        scale, shift = as_scale_and_shift(bias, *norm, eps=eps)
        folded = weight * scale[:, None, None, None]
        return folded.astype(weight.dtype), shift.astype(weight.dtype)


def as_scale_and_shift(
    bias: Any, gamma: Any, beta: Any, mean: np.ndarray, var: np.ndarray, *, eps: Any
) -> tuple[np.ndarray, np.ndarray]:
    """What a normalisation makes of the sums of a layer with this bias, in float64."""
    wide = np.float64
    scale = 1 / np.sqrt(var.astype(wide) + eps)
    if gamma is not None:
        scale *= gamma
    shift: Any = (0 if bias is None else bias.astype(wide)) - mean.astype(wide)
    return scale, shift * scale + (0 if beta is None else beta)
