"""Convolutions of images and sequences, transposed ones, depthwise separable ones.

A convolution is linear in the image and in the weight. The adjoints of the two maps are operations
of their own, and the gradients of each of the three are made of the other two; so derivatives of
any order exist. The same holds for a transposed convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyconv import kernels
from pyconv._autocast import lowered
from pyconv.autograd import Tensor, array_module, is_grad_enabled, linear_map, record
from pyconv.functional._common import array_of, as_tensor, optional_tensor
from pyconv.functional.activation import activate, gradient_through, split

Geometry = dict[str, Any]  # stride, padding, dilation, groups; output_padding too if transposed


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: Any = None,
    residual: Any = None,
) -> Tensor:
    """Convolution of images (cross-correlation), ``activation(conv(x, weight) + bias + residual)``.

    Parameters
    ----------
    x : Tensor or array, N×Cin×H×W
        float32 or float64.
    weight : Tensor or array, Cout×(Cin/groups)×KH×KW
    bias : Tensor or array of Cout entries, optional
    stride, dilation : int or (int, int)
    padding : int, (ph, pw), ((top, bottom), (left, right)), "valid" or "same"
    groups : int
        Groups of channels that don't mix.
    activation : None, str or ("leaky_relu", slope)
        Fused where the derivative follows from the output: "relu", "relu6", "leaky_relu",
        "sigmoid", "tanh"; while a gradient is recorded "silu" and "gelu" run on their own.
    residual : Tensor or array of the output's shape, optional
        Added before the activation.

    Returns
    -------
    Tensor, N×Cout×OH×OW
        Channels-last in memory.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or geometry.

    Notes
    -----
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.conv2d(np.ones((1, 3, 8, 8)), np.ones((16, 3, 3, 3)), padding="same").shape
    (1, 16, 8, 8)
    """
    geometry = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    return _convolution("conv2d", x, weight, bias, geometry, activation, residual)


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: Any = None,
    residual: Any = None,
) -> Tensor:
    """`conv2d` of sequences: `x` N×Cin×L, `weight` Cout×(Cin/groups)×K."""
    geometry = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    return _convolution("conv1d", x, weight, bias, geometry, activation, residual)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    activation: Any = None,
) -> Tensor:
    """Transposed convolution: the adjoint of `conv2d`, applied to x.

    Parameters
    ----------
    x : Tensor or array, N×Cin×H×W
    weight : Tensor or array, Cin×(Cout/groups)×KH×KW
        That of the convolution from Cout to Cin channels.
    bias : Tensor or array of Cout entries, optional
    stride, padding, dilation, groups
        Those of that convolution; no "same".
    output_padding : int or (int, int)
        Rows and columns more at the end, to choose among the sizes that the convolution maps to
        x's.
    activation
        See `conv2d`.

    Returns
    -------
    Tensor, N×Cout×OH×OW
        OH = (H - 1) stride - padding + dilation (KH - 1) + 1 + output_padding.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.conv_transpose2d(np.ones((1, 3, 4, 4)), np.ones((3, 8, 2, 2)), stride=2).shape
    (1, 8, 8, 8)
    """
    geometry = dict(
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        output_padding=output_padding,
    )
    return _convolution("conv_transpose2d", x, weight, bias, geometry, activation, None)


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    activation: Any = None,
) -> Tensor:
    """`conv_transpose2d` of sequences: `x` N×Cin×L, `weight` Cin×(Cout/groups)×K."""
    geometry = dict(
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        output_padding=output_padding,
    )
    return _convolution("conv_transpose1d", x, weight, bias, geometry, activation, None)


def _convolution(
    name: str, x: Any, weight: Any, bias: Any, geometry: Geometry, activation: Any, residual: Any
) -> Tensor:
    x, weight = as_tensor(name, "x", x), as_tensor(name, "weight", weight)
    bias = optional_tensor(name, "bias", bias)
    residual = optional_tensor(name, "residual", residual)
    x, weight, bias, residual = lowered(x, weight, bias, residual)
    fused, alone = split(name, activation, x, weight, bias, residual)
    more = {} if residual is None else {"residual": residual.data}
    y = getattr(kernels, name)(
        x.data, weight.data, array_of(bias), **geometry, activation=fused, **more
    )

    def backward(dy: Tensor, needs: tuple[bool, ...], y: Tensor | None = None) -> Sequence[Any]:
        dz = gradient_through(dy, y, fused)
        if not is_grad_enabled():
            return _plain_gradients(name, dz, x.data, weight.data, geometry, needs)
        return (
            _backward_input(name, dz, weight, x.shape, geometry) if needs[0] else None,
            _backward_weight(name, dz, x, weight.shape, geometry) if needs[1] else None,
            _backward_bias(dz) if needs[2] else None,
            dz if needs[3] else None,
        )

    # A gradient that is passed on as it is may not be called new.
    fresh = residual is None or fused is not None
    result = record(
        name, y, (x, weight, bias, residual), backward, keep_output=fused is not None, fresh=fresh
    )
    return activate(result, alone)


def _plain_gradients(
    name: str, dy: Tensor, x: Any, weight: Any, geometry: Geometry, needs: tuple[bool, ...]
) -> Sequence[Any]:
    """Those of x, weight, bias and residual where nothing is recorded."""
    if "output_padding" in geometry:
        geometry = _plain(geometry)
    gradients: list[Any] = [None, None, None, dy if needs[3] else None]
    if needs[0]:
        backward = getattr(kernels, f"{name}_backward_input")
        gradients[0] = Tensor._wrap(backward(dy.data, weight, x.shape, **geometry))
    if needs[1]:
        backward = getattr(kernels, f"{name}_backward_weight")
        gradients[1] = Tensor._wrap(backward(dy.data, x, weight.shape, **geometry))
    if needs[2]:
        backward = kernels.conv2d_backward_bias if dy.ndim == 4 else kernels.conv1d_backward_bias
        gradients[2] = Tensor._wrap(backward(dy.data))
    return gradients


def _plain(geometry: Geometry) -> Geometry:
    """Without what only the forward of a transposed convolution takes."""
    return {key: value for key, value in geometry.items() if key != "output_padding"}


def _backward_input(
    name: str, dy: Tensor, weight: Tensor, input_shape: tuple[int, ...], geometry: Geometry
) -> Tensor:
    """The adjoint in the image, as an operation."""

    def backward(g: Tensor, needs: tuple[bool, ...]) -> Sequence[Any]:
        return (
            _convolution(name, g, weight, None, geometry, None, None) if needs[0] else None,
            _backward_weight(name, dy, g, weight.shape, geometry) if needs[1] else None,
        )

    kernel = getattr(kernels, f"{name}_backward_input")
    dx = kernel(dy.data, weight.data, input_shape, **_plain(geometry))
    return record(f"{name}_backward_input", dx, (dy, weight), backward, fresh=True)


def _backward_weight(
    name: str, dy: Tensor, x: Tensor, weight_shape: tuple[int, ...], geometry: Geometry
) -> Tensor:
    """The adjoint in the weight, as an operation."""

    def backward(g: Tensor, needs: tuple[bool, ...]) -> Sequence[Any]:
        return (
            _convolution(name, x, g, None, geometry, None, None) if needs[0] else None,
            _backward_input(name, dy, g, x.shape, geometry) if needs[1] else None,
        )

    kernel = getattr(kernels, f"{name}_backward_weight")
    dw = kernel(dy.data, x.data, weight_shape, **_plain(geometry))
    return record(f"{name}_backward_weight", dw, (dy, x), backward, fresh=True)


def _backward_bias(dy: Tensor) -> Tensor:
    """The sum over images and positions."""
    rank = dy.ndim - 2
    kernel = kernels.conv2d_backward_bias if rank == 2 else kernels.conv1d_backward_bias
    shape, xp = dy.shape, array_module(dy.data)
    return linear_map(
        f"conv{rank}d_backward_bias",
        dy,
        kernel,
        lambda g: xp.broadcast_to(g.reshape(1, -1, *(1,) * rank), shape),
    )


def depthwise_separable_conv2d(
    x: Any,
    depthwise_weight: Any,
    pointwise_weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    activation: Any = None,
) -> Tensor:
    """A kernel for each channel, then a 1×1 convolution across channels, as one operation.

    Parameters
    ----------
    x : Tensor or array, N×Cin×H×W
    depthwise_weight : Tensor or array, (Cin·m)×1×KH×KW
    pointwise_weight : Tensor or array, Cout×(Cin·m)×1×1
    bias : Tensor or array of Cout entries, optional
        The pointwise one's.
    stride, padding, dilation
        The depthwise one's.
    activation
        See `conv2d`.

    Returns
    -------
    Tensor, N×Cout×OH×OW

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or geometry.

    Notes
    -----
    Chollet, Xception: deep learning with depthwise separable convolutions (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> x = np.ones((1, 2, 3, 3))
    >>> F.depthwise_separable_conv2d(x, np.ones((2, 1, 3, 3)), np.ones((1, 2, 1, 1)))
    Tensor([[[[18.]]]])
    """
    name = "depthwise_separable_conv2d"
    x = as_tensor(name, "x", x)
    depthwise = as_tensor(name, "depthwise_weight", depthwise_weight)
    pointwise = as_tensor(name, "pointwise_weight", pointwise_weight)
    bias = optional_tensor(name, "bias", bias)
    x, depthwise, pointwise, bias = lowered(x, depthwise, pointwise, bias)
    fused, alone = split(name, activation, x, depthwise, pointwise, bias)
    geometry = dict(stride=stride, padding=padding, dilation=dilation)
    y = kernels.depthwise_separable_conv2d(
        x.data, depthwise.data, pointwise.data, array_of(bias), **geometry, activation=fused
    )

    def backward(dy: Tensor, needs: tuple[bool, ...], y: Tensor | None = None) -> Sequence[Any]:
        dz = gradient_through(dy, y, fused)
        if not is_grad_enabled():
            gradients = kernels.depthwise_separable_conv2d_backward(
                dz.data, x.data, depthwise.data, pointwise.data, **geometry
            )
            return [Tensor._wrap(g) for g in gradients]
        first = {**geometry, "groups": x.shape[1]}
        second = dict(stride=1, padding=0, dilation=1, groups=1)
        middle = _convolution("conv2d", x, depthwise, None, first, None, None)
        d_middle = _backward_input("conv2d", dz, pointwise, middle.shape, second)
        return (
            _backward_input("conv2d", d_middle, depthwise, x.shape, first),
            _backward_weight("conv2d", d_middle, x, depthwise.shape, first),
            _backward_weight("conv2d", dz, middle, pointwise.shape, second),
            _backward_bias(dz),
        )

    inputs = (x, depthwise, pointwise, bias)
    result = record(name, y, inputs, backward, keep_output=fused is not None, fresh=True)
    return activate(result, alone)
