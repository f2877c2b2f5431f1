"""Convolutions: forward, backward, transposed, depthwise separable; 2-D and 1-D.

CuPy arrays are float32, float16 or bfloat16, all of a call the same; only a bias may be float32
beside 16-bit ones. Sums are float32, on tensor cores for 16-bit arrays, and for float32 where
`pyconv.set_float32_precision` says "tf32"; 16-bit results are rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv import _cpu, _runtime
from pyconv.kernels import _checks as check

__all__ = [
    "Explanation",
    "PackedWeight",
    "algorithms",
    "conv1d",
    "conv1d_backward_bias",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv_transpose1d",
    "conv_transpose1d_backward_input",
    "conv_transpose1d_backward_weight",
    "conv_transpose2d",
    "conv_transpose2d_backward_input",
    "conv_transpose2d_backward_weight",
    "depthwise_separable_conv2d",
    "depthwise_separable_conv2d_backward",
    "explain",
    "pack_weight",
]

_DIRECTIONS = {
    "conv2d": "forward",
    "conv2d_backward_input": "backward_input",
    "conv2d_backward_weight": "backward_weight",
    "conv_transpose2d": "backward_input",
    "conv_transpose2d_backward_input": "forward",
    "conv_transpose2d_backward_weight": "backward_weight",
}


class _Geometry:
    """Stride, padding, dilation and groups of one call, checked; `code` is what _cpu takes."""

    __slots__ = ("code", "function", "kernel", "size", "transposed")

    def __init__(
        self,
        function: str,
        size: Sequence[int],
        kernel: Sequence[int],
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: Any,
        rank: int,
        transposed: bool = False,
    ) -> None:
        self.function = function
        self.size = size
        self.kernel = kernel
        stride = check.pair(function, "stride", stride, 1, rank)
        pads = check.pads(function, "padding", padding, rank)
        dilation = check.pair(function, "dilation", dilation, 1, rank)
        groups = check.integer(function, "groups", groups, 1)
        if isinstance(pads, str):
            if transposed:
                raise ValueError(f'{function}: padding "same" has no meaning for a transposed one')
            sides: list[int] = []
            for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
                sides += _cpu.same_padding(n, k, s, d)
            pads = tuple(sides)
        if rank == 1:
            stride, pads, dilation = (1, *stride), (0, 0, *pads), (1, *dilation)
        self.code = (*stride, *pads, *dilation, groups)

    @property
    def groups(self) -> int:
        return self.code[8]

    def output_size(self) -> tuple[int, int]:
        """Height and width of the convolution's result; an empty one is an error."""
        sh, sw, top, bottom, left, right, dh, dw, _ = self.code
        (h, w), (kh, kw) = self.size[-2:], self.kernel[-2:]
        oh = _cpu.convolution_output_size(h, top, bottom, kh, sh, dh)
        ow = _cpu.convolution_output_size(w, left, right, kw, sw, dw)
        if oh < 1 or ow < 1:
            raise ValueError(
                f"{self.function}: the output would be empty: kernel {tuple(self.kernel)} with "
                f"dilation ({dh}, {dw}) does not fit the input of {tuple(self.size)} with padding "
                f"({top}, {bottom}), ({left}, {right})"
            )
        return oh, ow


def _check_images(function: str, x: Any, weight: Any, rank: int, names: tuple[str, str]) -> None:
    check.storage_array(function, names[0], x, rank + 2)
    check.storage_array(function, names[1], weight, rank + 2)


def _check_channels(function: str, channels: int, weight_shape: Sequence[int], groups: int) -> None:
    out, per_group = weight_shape[:2]
    if min(weight_shape[2:]) < 1 or out < 1 or per_group < 1:
        raise ValueError(f"{function}: weight must not be empty, got shape {tuple(weight_shape)}")
    if channels != per_group * groups:
        raise ValueError(
            f"{function}: weight must have {channels} / groups channels in axis 1 (x has "
            f"{channels} channels, groups is {groups}), got shape {tuple(weight_shape)}"
        )
    if out % groups:
        raise ValueError(
            f"{function}: groups must divide the {out} output channels of weight, got {groups}"
        )


def _check_bias(function: str, bias: Any, channels: int) -> None:
    if bias is not None:
        check.storage_array(function, "bias", bias, 1)
        check.shape_of(function, "bias", bias, (channels,), "one entry an output channel")


@check.remembered
def _forward(
    shapes: tuple[Any, Any], name: str, stride: Any, padding: Any, dilation: Any, groups: Any,
    rank: int,
) -> tuple[tuple[int, ...], tuple[int, ...]]:  # fmt: skip
    """The geometry's code and the output's shape, by the shapes of image and weight."""
    x, weight = shapes
    geometry = _Geometry(name, x[2:], weight[2:], stride, padding, dilation, groups, rank)
    _check_channels(name, x[1], weight, geometry.groups)
    if rank == 1:
        geometry.size, geometry.kernel = (1, *geometry.size), (1, *geometry.kernel)
    shape = (x[0], weight[0], *geometry.output_size()[2 - rank :])
    check.check_count(name, "the output's shape", shape)
    return geometry.code, shape


@check.remembered
def _backward(
    shapes: tuple[Any, Any], name: str, argument: str, wanted: Any, stride: Any, padding: Any,
    dilation: Any, groups: Any, rank: int,
) -> tuple[tuple[int, ...], tuple[int, ...]]:  # fmt: skip
    """The geometry's code and the result's shape, which `argument` gave as `wanted`; by the shapes
    of dy and of weight or image."""
    dy, other = shapes
    shape = check.shape_argument(name, argument, wanted, rank + 2)
    x, weight = (shape, other) if argument == "input_shape" else (other, shape)
    geometry = _Geometry(name, x[2:], weight[2:], stride, padding, dilation, groups, rank)
    _check_channels(name, x[1], weight, geometry.groups)
    if rank == 1:
        geometry.size, geometry.kernel = (1, *geometry.size), (1, *geometry.kernel)
    output = (x[0], weight[0], *geometry.output_size()[2 - rank :])
    if dy != output:
        raise ValueError(
            f"{name}: dy must have shape {output} (that of the forward's output), got {dy}"
        )
    return geometry.code, shape


def _run(function: str, call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except ValueError as error:  # an algorithm that can't take the problem says why
        raise ValueError(f"{function}: {error}") from None


def _algorithm(function: str, algorithm: Any) -> str:
    if not isinstance(algorithm, str):
        raise TypeError(f"{function}: algorithm must be a str, got {check.kind(algorithm)}")
    return algorithm


def _lift(x: Any) -> Any:
    """N×C×L as N×C×1×L."""
    return None if x is None else x[:, :, None, :]


class PackedWeight:
    """A weight in the form that the kernels read, made by `pack_weight`.

    It takes the place of a weight in `conv2d` (with the geometry that it was packed for) and
    `linear`. It holds for the instruction set that it was packed on; on another one the plain
    weight is used.

    Attributes
    ----------
    weight : ndarray
        A copy of the weight.
    algorithm : str
        The one that it was packed for.
    """

    def __init__(
        self,
        weight: np.ndarray,
        input_shape: Sequence[int],
        geometry: tuple[Any, ...],
        algorithm: str,
    ) -> None:
        self.weight = weight.copy()
        self.weight.flags.writeable = False
        self._code = _packing_code(geometry)
        self._met = geometry  # known to have this code
        self._isa = _cpu.current_isa()
        image = self.weight if weight.ndim == 4 else self.weight[:, :, None, None]
        self._packed, self.algorithm = _run(
            "pack_weight", _cpu.pack_convolution_weight, image, input_shape, geometry, algorithm
        )
        self._winograd = self.algorithm.startswith("winograd")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight."""
        return self.weight.shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the weight."""
        return self.weight.dtype

    def _usable(self, geometry: tuple[Any, ...], algorithm: str) -> np.ndarray | None:
        if geometry is not self._met:
            if _packing_code(geometry) != self._code:
                return None
            self._met = geometry
        same = (
            algorithm in ("auto", self.algorithm)
            and _cpu.current_isa() == self._isa
            and not (self._winograd and _cpu.strict_float32())
        )
        return self._packed if same else None

    def _linear(self, x: np.ndarray, bias: Any, activation: Any, out: Any) -> np.ndarray:
        if self.weight.ndim != 2:
            raise ValueError(f"linear: weight was packed for a convolution, shape {self.shape}")
        check.backend("linear", x=x, weight=self.weight, bias=bias, out=out)
        if out is not None:
            check.out_array("linear", out, (x.shape[0], self.shape[0]), x.dtype, x, bias)
            out = out[:, :, None, None]
        if self.shape[1] != x.shape[1]:
            raise ValueError(
                f"linear: weight must have {x.shape[1]} columns (the features of x), "
                f"got shape {self.shape}"
            )
        _check_bias("linear", bias, self.shape[0])
        check.same_dtype("linear", x=x, weight=self.weight, bias=bias)
        code, slope = check.activation("linear", activation)
        geometry = (1, 1, 0, 0, 0, 0, 1, 1, 1)
        y = _cpu.conv2d(
            x[:, :, None, None], self.weight[:, :, None, None], self._usable(geometry, "auto"),
            bias, None, geometry, code, slope, "direct", out,
        )  # fmt: skip
        return y[:, :, 0, 0]


class PreparedConvolution:
    """`conv2d` with a packed weight and a bias, checked beforehand for images of one shape; a call
    brings an image of that shape and of the weight's dtype, which nobody checks again.

    Not public: `pyconv.nn.inference` runs layers with it.
    """

    __slots__ = ("_activation", "_call", "_rest", "_shape", "dtype")

    def __init__(
        self,
        packed: PackedWeight,
        bias: np.ndarray | None,
        input_shape: tuple[int, ...],
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: Any,
    ) -> None:
        name, weight = "conv2d", packed.weight
        shapes = (input_shape, weight.shape)
        geometry, self._shape = _forward(
            shapes, name, stride, padding, dilation, groups, weight.ndim - 2
        )
        _check_bias(name, bias, weight.shape[0])
        check.same_dtype(name, weight=weight, bias=bias)
        ready = packed._usable(geometry, packed.algorithm)
        self.dtype = weight.dtype
        self._call = (weight, ready, bias)
        self._rest = (geometry, packed.algorithm)
        self._activation: tuple[Any, int, float] = (None, 0, 0.0)

    def __call__(self, x: np.ndarray, activation: Any, residual: np.ndarray | None) -> np.ndarray:
        known, code, slope = self._activation
        if activation is not known:
            code, slope = check.activation("conv2d", activation)
            self._activation = (activation, code, slope)
        if residual is not None:
            check.float_array("conv2d", "residual", residual, 4)
            check.shape_of("conv2d", "residual", residual, self._shape, "that of the output")
            if residual.dtype is not self.dtype:
                check.same_dtype("conv2d", x=x, residual=residual)
        weight, ready, bias = self._call
        geometry, algorithm = self._rest
        return _cpu.conv2d(
            x, weight, ready, bias, residual, geometry, code, slope, algorithm, None
        )  # fmt: skip


def _packing_code(geometry: tuple[Any, ...]) -> tuple[int, ...]:
    # Padding doesn't matter to the packed form.
    return (*geometry[:2], 0, 0, 0, 0, *geometry[6:])


def pack_weight(
    weight: np.ndarray,
    input_shape: Sequence[int] | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> PackedWeight:
    """Bring a weight into the form that the kernels read, once for many calls.

    Parameters
    ----------
    weight : ndarray, Cout×(Cin/groups)×KH×KW, or Out×In for `linear`
    input_shape : tuple of int, optional
        The input that it will meet, N×C×H×W; checked against the weight. The best algorithm
        depends on it: without it the weight is packed for one that suits any.
    stride, padding, dilation, groups, algorithm
        As they will be given to `conv2d`.

    Returns
    -------
    PackedWeight
        Taken by `conv2d` and `linear` in the place of a weight.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank or shape.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> weight = np.ones((2, 1, 3, 3), np.float32)
    >>> packed = kernels.pack_weight(weight)
    >>> kernels.conv2d(np.ones((1, 1, 3, 3), np.float32), packed).ravel()
    array([9., 9.], dtype=float32)
    """
    name = "pack_weight"
    check.float_array(name, "weight", weight, (2, 4))
    algorithm = _algorithm(name, algorithm)
    if weight.ndim == 2:
        shape = (1, weight.shape[1], 1, 1)
        return PackedWeight(weight, shape, (1, 1, 0, 0, 0, 0, 1, 1, 1), "direct")
    groups = check.integer(name, "groups", groups, 1)
    if input_shape is None:  # one so small that no algorithm is chosen for its size
        span = check.pair(name, "dilation", dilation, 1)
        size = [k * d for k, d in zip(weight.shape[2:], span, strict=True)]
        image: tuple[int, ...] = (1, weight.shape[1] * groups, *size)
    else:
        image = check.shape_argument(name, "input_shape", input_shape, 4)
    _check_channels(name, image[1], weight.shape, groups)
    geometry = _Geometry(name, image[2:], weight.shape[2:], stride, padding, dilation, groups, 2)
    geometry.output_size()
    return PackedWeight(weight, image, geometry.code, algorithm)


def _convolve(
    name: str, rank: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any,
    dilation: Any, groups: Any, activation: Any, residual: Any, algorithm: Any, out: Any,
) -> np.ndarray:  # fmt: skip
    ready = None
    packed = weight if isinstance(weight, PackedWeight) else None
    if packed is not None:
        weight = packed.weight
        if weight.ndim != rank + 2:
            raise ValueError(f"{name}: weight was packed for another rank, shape {weight.shape}")
    check.storage_array(name, "x", x, rank + 2)
    check.storage_array(name, "weight", weight, rank + 2)
    geometry, shape = _forward(
        (x.shape, weight.shape), name, stride, padding, dilation, groups, rank
    )
    if bias is not None:
        _check_bias(name, bias, weight.shape[0])
    code, slope = check.activation(name, activation)
    algorithm = _algorithm(name, algorithm)
    if residual is not None:
        check.storage_array(name, "residual", residual, rank + 2)
        check.shape_of(name, "residual", residual, shape, "that of the output")
    if weight.dtype is not x.dtype or bias is not None or residual is not None:
        check.same_dtype(
            name, x=x, weight=weight, bias=check.bias_to_match(bias, x), residual=residual
        )
    run = check.backend(name, x=x, weight=weight, bias=bias, residual=residual, out=out)
    if out is not None:
        check.out_array(name, out, shape, x.dtype, x, weight, bias, residual)
    if packed is not None:
        ready = packed._usable(geometry, algorithm)
        if ready is not None:
            algorithm = packed.algorithm
    if rank == 1:
        x, weight, residual, out = _lift(x), _lift(weight), _lift(residual), _lift(out)
    y = _run(
        name, run.conv2d, x, weight, ready, bias, residual, geometry, code, slope, algorithm, out
    )  # fmt: skip
    return y if rank == 2 else y[:, :, 0, :]


def conv2d(
    x: np.ndarray,
    weight: np.ndarray | PackedWeight,
    bias: np.ndarray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: Any = None,
    residual: np.ndarray | None = None,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Convolution of images: ``activation(conv(x, weight) + bias + residual)``.

    ``y[n, o, p, q] = sum over i, r, s of x[n, i, p*stride + r*dilation - padding,
    q*stride + s*dilation - padding] * weight[o, i, r, s]``, zero outside the image.

    Parameters
    ----------
    x : ndarray, N×Cin×H×W
        float32 or float64, in any strides.
    weight : ndarray, Cout×(Cin/groups)×KH×KW, or PackedWeight
    bias : ndarray of Cout entries, optional
    stride, dilation : int or (int, int)
    padding : int, (ph, pw), ((top, bottom), (left, right)), "valid" or "same"
        ``"same"`` pads by the least that keeps ceil(size / stride); an odd one has its extra row
        or column at the end.
    groups : int
        Groups of channels that don't mix; Cin of them is a depthwise convolution.
    activation : None, str or ("leaky_relu", slope)
        "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu" or "gelu".
    residual : ndarray of the output's shape, optional
        Added before the activation.
    algorithm : str
        "auto", or the name of one; see `algorithms` and `explain`. "auto" takes Winograd's where
        it pays, with the larger errors of docs/design.md, unless `set_float32_precision` says
        "strict".
    out : ndarray of the output's shape, optional
        Takes the result.

    Returns
    -------
    ndarray, N×Cout×OH×OW
        Channels-last in memory; OH = floor((H + top + bottom - dilation*(KH-1) - 1) / stride) + 1.

    Raises
    ------
    TypeError
        Wrong type or dtype, or dtypes that differ.
    ValueError
        Wrong rank, shape or number, an empty output, an algorithm that can't take the problem.

    Notes
    -----
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016). As usual in
    the field the kernel is not turned: this is the cross-correlation.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> kernels.conv2d(x, np.ones((1, 1, 3, 3), np.float32))[0, 0]
    array([[45., 54.],
           [81., 90.]], dtype=float32)
    """
    return _convolve(
        "conv2d", 2, x, weight, bias, stride, padding, dilation, groups, activation, residual,
        algorithm, out,
    )  # fmt: skip


def conv1d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: Any = None,
    residual: np.ndarray | None = None,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Convolution of sequences, N×Cin×L with a weight of Cout×(Cin/groups)×K; see `conv2d`.

    `padding` is an int, ``(p,)``, ``((left, right),)``, "valid" or "same".

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x = np.arange(5, dtype=np.float32).reshape(1, 1, 5)
    >>> kernels.conv1d(x, np.ones((1, 1, 2), np.float32), padding=((1, 0),))
    array([[[0., 1., 3., 5., 7.]]], dtype=float32)
    """
    return _convolve(
        "conv1d", 1, x, weight, bias, stride, padding, dilation, groups, activation, residual,
        algorithm, out,
    )  # fmt: skip


def _backward_input(
    name: str, rank: int, dy: Any, weight: Any, input_shape: Any, stride: Any, padding: Any,
    dilation: Any, groups: Any, algorithm: Any, out: Any,
) -> np.ndarray:  # fmt: skip
    check.storage_array(name, "dy", dy, rank + 2)
    check.storage_array(name, "weight", weight, rank + 2)
    geometry, shape = _backward(
        (dy.shape, weight.shape), name, "input_shape", input_shape, stride, padding, dilation,
        groups, rank,
    )  # fmt: skip
    check.same_dtype(name, dy=dy, weight=weight)
    algorithm = _algorithm(name, algorithm)
    run = check.backend(name, dy=dy, weight=weight, out=out)
    if out is not None:
        check.out_array(name, out, shape, dy.dtype, dy, weight)
    if rank == 1:
        dy, weight, out, shape = _lift(dy), _lift(weight), _lift(out), (*shape[:2], 1, shape[2])
    dx = _run(
        name, run.conv2d_backward_input, dy, weight, None, shape, geometry, 0, 0.0, algorithm, out
    )
    return dx if rank == 2 else dx[:, :, 0, :]


def conv2d_backward_input(
    dy: np.ndarray,
    weight: np.ndarray,
    input_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv2d` with respect to its input.

    Parameters
    ----------
    dy : ndarray, N×Cout×OH×OW
        Gradient of the result.
    weight : ndarray, Cout×(Cin/groups)×KH×KW
    input_shape : tuple of int
        N, Cin, H, W of the input.
    stride, padding, dilation, groups, algorithm, out
        As in `conv2d`; `out` has `input_shape`.

    Returns
    -------
    ndarray, N×Cin×H×W
        Channels-last in memory.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`, and where `dy` has not the shape of the forward's output.

    Notes
    -----
    The convolution of `dy` with the turned kernel; for a stride, one such convolution for each
    phase, so that no zeros are inserted.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> dy, weight = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 2, 2), np.float32)
    >>> kernels.conv2d_backward_input(dy, weight, (1, 1, 3, 3))[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]], dtype=float32)
    """
    return _backward_input(
        "conv2d_backward_input", 2, dy, weight, input_shape, stride, padding, dilation, groups,
        algorithm, out,
    )  # fmt: skip


def conv1d_backward_input(
    dy: np.ndarray,
    weight: np.ndarray,
    input_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv1d` with respect to its input; see `conv2d_backward_input`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> dy, weight = np.ones((1, 1, 2), np.float32), np.ones((1, 1, 2), np.float32)
    >>> kernels.conv1d_backward_input(dy, weight, (1, 1, 3))
    array([[[1., 2., 1.]]], dtype=float32)
    """
    return _backward_input(
        "conv1d_backward_input", 1, dy, weight, input_shape, stride, padding, dilation, groups,
        algorithm, out,
    )  # fmt: skip


def _backward_weight(
    name: str, rank: int, dy: Any, x: Any, weight_shape: Any, stride: Any, padding: Any,
    dilation: Any, groups: Any, algorithm: Any, out: Any,
) -> np.ndarray:  # fmt: skip
    check.storage_array(name, "dy", dy, rank + 2)
    check.storage_array(name, "x", x, rank + 2)
    geometry, shape = _backward(
        (dy.shape, x.shape), name, "weight_shape", weight_shape, stride, padding, dilation, groups,
        rank,
    )  # fmt: skip
    check.same_dtype(name, dy=dy, x=x)
    algorithm = _algorithm(name, algorithm)
    run = check.backend(name, dy=dy, x=x, out=out)
    if out is not None:
        check.out_array(name, out, shape, dy.dtype, dy, x)
    if rank == 1:
        dy, x, out, shape = _lift(dy), _lift(x), _lift(out), (*shape[:2], 1, shape[2])
    if out is not None:
        out = out.transpose(2, 3, 1, 0)
    dw = _run(name, run.conv2d_backward_weight, dy, x, shape, geometry, algorithm, out).transpose(
        3, 2, 0, 1
    )
    return dw if rank == 2 else dw[:, :, 0, :]


def conv2d_backward_weight(
    dy: np.ndarray,
    x: np.ndarray,
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv2d` with respect to its weight.

    Parameters
    ----------
    dy : ndarray, N×Cout×OH×OW
        Gradient of the result.
    x : ndarray, N×Cin×H×W
    weight_shape : tuple of int
        Cout, Cin/groups, KH, KW.
    stride, padding, dilation, groups, algorithm, out
        As in `conv2d`; `out` has `weight_shape`.

    Returns
    -------
    ndarray, Cout×(Cin/groups)×KH×KW
        KH, KW, Cin/groups, Cout in memory, as parameters lie.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`, and where `dy` has not the shape of the forward's output.

    Notes
    -----
    For every tap the sum over all positions that share the weight: products of the input pixels
    that it met and the gradients of their outputs, in a fixed order of summation.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    >>> kernels.conv2d_backward_weight(np.ones((1, 1, 2, 2), np.float32), x, (1, 1, 2, 2))[0, 0]
    array([[ 8., 12.],
           [20., 24.]], dtype=float32)
    """
    return _backward_weight(
        "conv2d_backward_weight", 2, dy, x, weight_shape, stride, padding, dilation, groups,
        algorithm, out,
    )  # fmt: skip


def conv1d_backward_weight(
    dy: np.ndarray,
    x: np.ndarray,
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv1d` with respect to its weight; see `conv2d_backward_weight`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x = np.arange(3, dtype=np.float32).reshape(1, 1, 3)
    >>> kernels.conv1d_backward_weight(np.ones((1, 1, 2), np.float32), x, (1, 1, 2))
    array([[[1., 3.]]], dtype=float32)
    """
    return _backward_weight(
        "conv1d_backward_weight", 1, dy, x, weight_shape, stride, padding, dilation, groups,
        algorithm, out,
    )  # fmt: skip


def conv2d_backward_bias(dy: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `conv2d` with respect to its bias: the sum of `dy` over batch and pixels.

    Parameters
    ----------
    dy : ndarray, N×Cout×OH×OW
    out : ndarray of Cout entries, optional
        Takes the result.

    Returns
    -------
    ndarray of Cout entries

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype or rank.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.conv2d_backward_bias(np.ones((2, 3, 4, 4), np.float32))
    array([32., 32., 32.], dtype=float32)
    """
    check.storage_array("conv2d_backward_bias", "dy", dy, 4)
    run = check.backend("conv2d_backward_bias", dy=dy, out=out)
    check.out_array("conv2d_backward_bias", out, dy.shape[1:2], dy.dtype, dy)
    return run.conv2d_backward_bias(dy, out)


def conv1d_backward_bias(dy: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `conv1d` with respect to its bias; see `conv2d_backward_bias`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.conv1d_backward_bias(np.ones((2, 3, 4), np.float32))
    array([8., 8., 8.], dtype=float32)
    """
    check.storage_array("conv1d_backward_bias", "dy", dy, 3)
    run = check.backend("conv1d_backward_bias", dy=dy, out=out)
    check.out_array("conv1d_backward_bias", out, dy.shape[1:2], dy.dtype, dy)
    return run.conv2d_backward_bias(_lift(dy), out)


def _transposed_geometry(
    name: str, size: Sequence[int], weight_shape: Sequence[int], stride: Any, padding: Any,
    output_padding: Any, dilation: Any, groups: Any, rank: int,
) -> tuple[_Geometry, tuple[int, ...]]:  # fmt: skip
    geometry = _Geometry(
        name, size, weight_shape[2:], stride, padding, dilation, groups, rank, transposed=True
    )
    extra = check.pair(name, "output_padding", output_padding, 0, rank)
    sh, sw, top, bottom, left, right, dh, dw, _ = geometry.code
    strides, dilations = (sh, sw)[2 - rank :], (dh, dw)[2 - rank :]
    for e, s, d in zip(extra, strides, dilations, strict=True):
        if e >= max(s, d):
            raise ValueError(
                f"{name}: output_padding must be smaller than stride or dilation, got "
                f"{output_padding} with stride {stride} and dilation {dilation}"
            )
    sides = ((top, bottom), (left, right))[2 - rank :]
    sizes = tuple(
        _cpu.transposed_output_size(n, before, after, k, s, d, e)
        for n, (before, after), k, s, d, e in zip(
            size, sides, weight_shape[2:], strides, dilations, extra, strict=True
        )
    )
    if min(sizes) < 1 or min(size) < 1:
        raise ValueError(
            f"{name}: the output would be empty: input {tuple(size)}, kernel "
            f"{tuple(weight_shape[2:])}, padding {padding}"
        )
    return geometry, sizes


def _check_transposed(name: str, channels: int, shape: Sequence[int], groups: int) -> None:
    if min(shape) < 1:
        raise ValueError(f"{name}: weight must not be empty, got shape {tuple(shape)}")
    if shape[0] != channels:
        raise ValueError(
            f"{name}: weight must have {channels} channels in axis 0, those of x, got shape "
            f"{tuple(shape)}"
        )
    if channels % groups:
        raise ValueError(f"{name}: groups must divide the {channels} channels of x, got {groups}")


def _transpose_convolve(
    name: str, rank: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any,
    output_padding: Any, dilation: Any, groups: Any, activation: Any, algorithm: Any, out: Any,
) -> np.ndarray:  # fmt: skip
    _check_images(name, x, weight, rank, ("x", "weight"))
    geometry, sizes = _transposed_geometry(
        name, x.shape[2:], weight.shape, stride, padding, output_padding, dilation, groups, rank
    )
    _check_transposed(name, x.shape[1], weight.shape, geometry.groups)
    channels = weight.shape[1] * geometry.groups
    _check_bias(name, bias, channels)
    check.same_dtype(name, x=x, weight=weight, bias=check.bias_to_match(bias, x))
    code, slope = check.activation(name, activation)
    algorithm = _algorithm(name, algorithm)
    shape = (x.shape[0], channels, *sizes)
    check.check_count(name, "the output's shape", shape)
    run = check.backend(name, x=x, weight=weight, bias=bias, out=out)
    if out is not None:
        check.out_array(name, out, shape, x.dtype, x, weight, bias)
    if rank == 1:
        x, weight, out, shape = _lift(x), _lift(weight), _lift(out), (*shape[:2], 1, shape[2])
    y = _run(
        name, run.conv2d_backward_input, x, weight, bias, shape, geometry.code, code, slope,
        algorithm, out,
    )  # fmt: skip
    return y if rank == 2 else y[:, :, 0, :]


def conv_transpose2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: Any = None,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Transposed convolution: every input pixel adds its multiple of the kernel to the output.

    Parameters
    ----------
    x : ndarray, N×Cin×H×W
        float32 or float64.
    weight : ndarray, Cin×(Cout/groups)×KH×KW
    bias : ndarray of Cout entries, optional
    stride, dilation : int or (int, int)
    padding : int, (ph, pw), ((top, bottom), (left, right)) or "valid"
        Rows and columns taken away from the output.
    output_padding : int or (int, int)
        Extra rows and columns at the end, less than the stride or the dilation.
    groups, activation, algorithm, out
        As in `conv2d`.

    Returns
    -------
    ndarray, N×Cout×OH×OW
        OH = (H - 1)*stride - top - bottom + dilation*(KH - 1) + output_padding + 1.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`; "same" is a ValueError.

    Notes
    -----
    The gradient of a convolution with respect to its input, as a layer (Zeiler et al., 2010;
    Dumoulin and Visin, 2016, chapter 4).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x = np.array([[[[1, 2]]]], np.float32)
    >>> kernels.conv_transpose2d(x, np.ones((1, 1, 2, 2), np.float32), stride=2)[0, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]], dtype=float32)
    """
    return _transpose_convolve(
        "conv_transpose2d", 2, x, weight, bias, stride, padding, output_padding, dilation, groups,
        activation, algorithm, out,
    )  # fmt: skip


def conv_transpose1d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: Any = None,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Transposed convolution of sequences, N×Cin×L; see `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x = np.array([[[1, 2]]], np.float32)
    >>> kernels.conv_transpose1d(x, np.ones((1, 1, 2), np.float32))
    array([[[1., 3., 2.]]], dtype=float32)
    """
    return _transpose_convolve(
        "conv_transpose1d", 1, x, weight, bias, stride, padding, output_padding, dilation, groups,
        activation, algorithm, out,
    )  # fmt: skip


def _check_transposed_gradient(
    name: str, dy: np.ndarray, shape: Sequence[int], weight_shape: Sequence[int],
    stride: Any, padding: Any, dilation: Any, groups: Any, rank: int,
) -> _Geometry:  # fmt: skip
    """dy's sizes may be those of any output_padding."""
    geometry, sizes = _transposed_geometry(
        name, shape[2:], weight_shape, stride, padding, 0, dilation, groups, rank
    )
    _check_transposed(name, shape[1], weight_shape, geometry.groups)
    strides = geometry.code[2 - rank : 2]
    dilations = geometry.code[8 - rank : 8]
    wanted = (shape[0], weight_shape[1] * geometry.groups)
    fits = dy.shape[:2] == wanted and all(
        least <= given < least + max(s, d)
        for given, least, s, d in zip(dy.shape[2:], sizes, strides, dilations, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name}: dy must have shape {(*wanted, *sizes)} (that of the forward's output, plus "
            f"an output_padding), got {dy.shape}"
        )
    return geometry


def _transposed_backward_input(
    name: str, rank: int, dy: Any, weight: Any, input_shape: Any, stride: Any, padding: Any,
    dilation: Any, groups: Any, algorithm: Any, out: Any,
) -> np.ndarray:  # fmt: skip
    _check_images(name, dy, weight, rank, ("dy", "weight"))
    shape = check.shape_argument(name, "input_shape", input_shape, rank + 2)
    geometry = _check_transposed_gradient(
        name, dy, shape, weight.shape, stride, padding, dilation, groups, rank
    )
    check.same_dtype(name, dy=dy, weight=weight)
    algorithm = _algorithm(name, algorithm)
    run = check.backend(name, dy=dy, weight=weight, out=out)
    if out is not None:
        check.out_array(name, out, shape, dy.dtype, dy, weight)
    dy, code = _seen(dy, shape, weight.shape, geometry, rank)
    if rank == 1:
        dy, weight, out = _lift(dy), _lift(weight), _lift(out)
    dx = _run(name, run.conv2d, dy, weight, None, None, None, code, 0, 0.0, algorithm, out)
    return dx if rank == 2 else dx[:, :, 0, :]


def _seen(
    dy: np.ndarray, shape: Sequence[int], weight_shape: Sequence[int], geometry: _Geometry,
    rank: int,
) -> tuple[np.ndarray, tuple[int, ...]]:  # fmt: skip
    """The part of `dy` that the convolution back to `shape` sees, and the geometry, with the
    padding at the ends that this takes: with output_padding it is not that of the start."""
    sh, sw, top, bottom, left, right, dh, dw, groups = geometry.code
    strides, dilations, before = (sh, sw), (dh, dw), (top, left)
    after, window = [0, 0], [slice(None), slice(None)]
    for axis in range(2 - rank, 2):
        i = axis - 2 + rank
        reach = (shape[2 + i] - 1) * strides[axis] + dilations[axis] * (weight_shape[2 + i] - 1)
        seen = reach + 1 - before[axis]
        after[axis] = max(0, seen - dy.shape[2 + i])
        window.append(slice(0, max(0, seen)))
    return dy[tuple(window)], (sh, sw, top, after[0], left, after[1], dh, dw, groups)


def conv_transpose2d_backward_input(
    dy: np.ndarray,
    weight: np.ndarray,
    input_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv_transpose2d` with respect to its input: the plain convolution of `dy`.

    Parameters
    ----------
    dy : ndarray, N×Cout×OH×OW
    weight : ndarray, Cin×(Cout/groups)×KH×KW
    input_shape : tuple of int
        N, Cin, H, W.
    stride, padding, dilation, groups, algorithm, out
        As in `conv_transpose2d`.

    Returns
    -------
    ndarray, N×Cin×H×W

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose2d`, and where `dy` has not the shape of its output.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> dy, weight = np.ones((1, 1, 2, 4), np.float32), np.ones((1, 1, 2, 2), np.float32)
    >>> kernels.conv_transpose2d_backward_input(dy, weight, (1, 1, 1, 2), stride=2)
    array([[[[4., 4.]]]], dtype=float32)
    """
    return _transposed_backward_input(
        "conv_transpose2d_backward_input", 2, dy, weight, input_shape, stride, padding, dilation,
        groups, algorithm, out,
    )  # fmt: skip


def conv_transpose1d_backward_input(
    dy: np.ndarray,
    weight: np.ndarray,
    input_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv_transpose1d` with respect to its input.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> dy, weight = np.ones((1, 1, 3), np.float32), np.ones((1, 1, 2), np.float32)
    >>> kernels.conv_transpose1d_backward_input(dy, weight, (1, 1, 2))
    array([[[2., 2.]]], dtype=float32)
    """
    return _transposed_backward_input(
        "conv_transpose1d_backward_input", 1, dy, weight, input_shape, stride, padding, dilation,
        groups, algorithm, out,
    )  # fmt: skip


def _transposed_backward_weight(
    name: str, rank: int, dy: Any, x: Any, weight_shape: Any, stride: Any, padding: Any,
    dilation: Any, groups: Any, algorithm: Any, out: Any,
) -> np.ndarray:  # fmt: skip
    _check_images(name, dy, x, rank, ("dy", "x"))
    shape = check.shape_argument(name, "weight_shape", weight_shape, rank + 2)
    geometry = _check_transposed_gradient(
        name, dy, x.shape, shape, stride, padding, dilation, groups, rank
    )
    check.same_dtype(name, dy=dy, x=x)
    algorithm = _algorithm(name, algorithm)
    run = check.backend(name, dy=dy, x=x, out=out)
    if out is not None:
        check.out_array(name, out, shape, dy.dtype, dy, x)
    if rank == 1:
        dy, x, out, shape = _lift(dy), _lift(x), _lift(out), (*shape[:2], 1, shape[2])
    if out is not None:
        out = out.transpose(2, 3, 1, 0)
    # x plays the part of the convolution's output gradient, dy that of its input.
    dw = _run(
        name, run.conv2d_backward_weight, x, dy, shape, geometry.code, algorithm, out
    ).transpose(3, 2, 0, 1)
    return dw if rank == 2 else dw[:, :, 0, :]


def conv_transpose2d_backward_weight(
    dy: np.ndarray,
    x: np.ndarray,
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv_transpose2d` with respect to its weight.

    Parameters
    ----------
    dy : ndarray, N×Cout×OH×OW
    x : ndarray, N×Cin×H×W
    weight_shape : tuple of int
        Cin, Cout/groups, KH, KW.
    stride, padding, dilation, groups, algorithm, out
        As in `conv_transpose2d`.

    Returns
    -------
    ndarray, Cin×(Cout/groups)×KH×KW

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose2d`, and where `dy` has not the shape of its output.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> dy, x = np.ones((1, 1, 2, 4), np.float32), np.array([[[[1, 2]]]], np.float32)
    >>> kernels.conv_transpose2d_backward_weight(dy, x, (1, 1, 2, 2), stride=2)[0, 0]
    array([[3., 3.],
           [3., 3.]], dtype=float32)
    """
    return _transposed_backward_weight(
        "conv_transpose2d_backward_weight", 2, dy, x, weight_shape, stride, padding, dilation,
        groups, algorithm, out,
    )  # fmt: skip


def conv_transpose1d_backward_weight(
    dy: np.ndarray,
    x: np.ndarray,
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv_transpose1d` with respect to its weight.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> dy, x = np.ones((1, 1, 3), np.float32), np.array([[[1, 2]]], np.float32)
    >>> kernels.conv_transpose1d_backward_weight(dy, x, (1, 1, 2))
    array([[[3., 3.]]], dtype=float32)
    """
    return _transposed_backward_weight(
        "conv_transpose1d_backward_weight", 1, dy, x, weight_shape, stride, padding, dilation,
        groups, algorithm, out,
    )  # fmt: skip


def _check_separable(
    name: str, x: np.ndarray, depthwise: np.ndarray, pointwise: np.ndarray, stride: Any,
    padding: Any, dilation: Any,
) -> tuple[_Geometry, tuple[int, ...]]:  # fmt: skip
    check.storage_array(name, "x", x, 4)
    check.storage_array(name, "depthwise_weight", depthwise, 4)
    check.storage_array(name, "pointwise_weight", pointwise, 4)
    channels = x.shape[1]
    if channels < 1:
        raise ValueError(f"{name}: x must have channels, got shape {x.shape}")
    if depthwise.shape[1] != 1 or depthwise.shape[0] % channels or 0 in depthwise.shape:
        raise ValueError(
            f"{name}: depthwise_weight must have shape (a multiple of {channels}, 1, KH, KW), "
            f"got {depthwise.shape}"
        )
    if pointwise.shape[1:] != (depthwise.shape[0], 1, 1) or pointwise.shape[0] < 1:
        raise ValueError(
            f"{name}: pointwise_weight must have shape (Cout, {depthwise.shape[0]}, 1, 1), "
            f"got {pointwise.shape}"
        )
    geometry = _Geometry(
        name, x.shape[2:], depthwise.shape[2:], stride, padding, dilation, channels, 2
    )
    return geometry, (x.shape[0], pointwise.shape[0], *geometry.output_size())


def depthwise_separable_conv2d(
    x: np.ndarray,
    depthwise_weight: np.ndarray,
    pointwise_weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    activation: Any = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Depthwise separable convolution: a depthwise and a 1x1 convolution as one operation.

    Parameters
    ----------
    x : ndarray, N×Cin×H×W
        float32 or float64.
    depthwise_weight : ndarray, (Cin*multiplier)×1×KH×KW
    pointwise_weight : ndarray, Cout×(Cin*multiplier)×1×1
    bias : ndarray of Cout entries, optional
        The pointwise convolution's.
    stride, padding, dilation
        The depthwise convolution's, as in `conv2d`.
    activation, out
        As in `conv2d`.

    Returns
    -------
    ndarray, N×Cout×OH×OW

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Notes
    -----
    Chollet, "Xception: deep learning with depthwise separable convolutions" (2017). KH*KW*Cin +
    Cin*Cout parameters in the place of KH*KW*Cin*Cout. The image between the two is made a strip
    of rows at a time and never leaves the cache.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x = np.ones((1, 2, 3, 3), np.float32)
    >>> depthwise = np.ones((2, 1, 3, 3), np.float32)
    >>> pointwise = np.ones((1, 2, 1, 1), np.float32)
    >>> kernels.depthwise_separable_conv2d(x, depthwise, pointwise)
    array([[[[18.]]]], dtype=float32)
    """
    name = "depthwise_separable_conv2d"
    geometry, shape = _check_separable(
        name, x, depthwise_weight, pointwise_weight, stride, padding, dilation
    )
    _check_bias(name, bias, shape[1])
    check.same_dtype(
        name, x=x, depthwise_weight=depthwise_weight, pointwise_weight=pointwise_weight,
        bias=check.bias_to_match(bias, x),
    )  # fmt: skip
    code, slope = check.activation(name, activation)
    run = check.backend(
        name, x=x, depthwise_weight=depthwise_weight, pointwise_weight=pointwise_weight, bias=bias,
        out=out,
    )  # fmt: skip
    check.out_array(name, out, shape, x.dtype, x, depthwise_weight, pointwise_weight, bias)
    return run.depthwise_separable_conv2d(
        x, depthwise_weight, pointwise_weight, bias, geometry.code, code, slope, out
    )


def depthwise_separable_conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    depthwise_weight: np.ndarray,
    pointwise_weight: np.ndarray,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of `depthwise_separable_conv2d` (without an activation), as one operation.

    Parameters
    ----------
    dy : ndarray, N×Cout×OH×OW
    x, depthwise_weight, pointwise_weight, stride, padding, dilation
        As the forward's.

    Returns
    -------
    dx, d_depthwise, d_pointwise, dbias : ndarray
        In the shapes of the arguments; dbias has Cout entries.

    Raises
    ------
    TypeError, ValueError
        As the forward's, and where `dy` has not the shape of its output.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x, d = np.ones((1, 2, 3, 3), np.float32), np.ones((2, 1, 3, 3), np.float32)
    >>> p, dy = np.ones((1, 2, 1, 1), np.float32), np.ones((1, 1, 1, 1), np.float32)
    >>> dx, dd, dp, db = kernels.depthwise_separable_conv2d_backward(dy, x, d, p)
    >>> dp.ravel(), db
    (array([9., 9.], dtype=float32), array([1.], dtype=float32))
    """
    name = "depthwise_separable_conv2d_backward"
    geometry, shape = _check_separable(
        name, x, depthwise_weight, pointwise_weight, stride, padding, dilation
    )
    check.storage_array(name, "dy", dy, 4)
    check.shape_of(name, "dy", dy, shape, "that of the forward's output")
    check.same_dtype(
        name, dy=dy, x=x, depthwise_weight=depthwise_weight, pointwise_weight=pointwise_weight
    )
    run = check.backend(
        name, dy=dy, x=x, depthwise_weight=depthwise_weight, pointwise_weight=pointwise_weight
    )
    dx, dd, dp, db = run.depthwise_separable_conv2d_backward(
        dy, x, depthwise_weight, pointwise_weight, geometry.code
    )
    return dx, dd.transpose(3, 2, 0, 1), dp.transpose(3, 2, 0, 1), db


class Explanation:
    """Which algorithm runs for a problem, and why the others refused; `str` says it.

    Attributes
    ----------
    algorithm : str
        The one that "auto" picks.
    refusals : dict
        Why others can't take the problem.
    passed : dict
        Why "auto" passes others over that could.
    """

    def __init__(self, problem: str, verdicts: list[tuple[str, str, str]], isa: str) -> None:
        self.problem = problem
        self.isa = isa
        self.algorithm = next(name for name, *reasons in verdicts if not any(reasons))
        self.refusals = {name: refusal for name, refusal, _ in verdicts if refusal}
        self.passed = {name: reason for name, _, reason in verdicts if reason}
        self._names = [name for name, *_ in verdicts]

    def __str__(self) -> str:
        lines = [f"{self.problem} on {self.isa}:"]
        for name in self._names:
            if name == self.algorithm:
                lines.append(f"  {name}: runs")
            elif name in self.refusals:
                lines.append(f"  {name}: refused, {self.refusals[name]}")
            elif name in self.passed:
                lines.append(f"  {name}: passed over, {self.passed[name]}")
            else:
                lines.append(f"  {name}: would do, comes after {self.algorithm}")
        return "\n".join(lines)

    __repr__ = __str__


def _name_of(dtype: Any) -> str:
    """NumPy knows bfloat16 only after ml_dtypes was imported."""
    return "bfloat16" if isinstance(dtype, str) and dtype == "bfloat16" else np.dtype(dtype).name


def _verdicts(
    function: str, name: Any, input_shape: Any, weight_shape: Any, stride: Any, padding: Any,
    output_padding: Any, dilation: Any, groups: Any, dtype: Any, device: Any,
) -> list[tuple[str, str, str]]:  # fmt: skip
    if not isinstance(name, str):
        raise TypeError(f"{function}: name must be a str, got {check.kind(name)}")
    rank = 1 if "1d" in name else 2
    base = name.replace("1d", "2d")
    if base not in _DIRECTIONS:
        raise ValueError(
            f"{function}: name must be one of {', '.join(_DIRECTIONS)} (or their 1d forms), "
            f"got {name!r}"
        )
    if device not in ("cpu", "cuda"):
        raise ValueError(f"{function}: device must be 'cpu' or 'cuda', got {device!r}")
    kinds = ("float32", "float64") if device == "cpu" else ("float32", "float16", "bfloat16")
    kind = _name_of(dtype)
    if kind not in kinds:
        wanted = f"{', '.join(kinds[:-1])} or {kinds[-1]}"
        raise TypeError(f"{function}: dtype must be {wanted} on {device}, got {dtype}")
    size = check.shape_argument(function, "input_shape", input_shape, rank + 2)
    weight = check.shape_argument(function, "weight_shape", weight_shape, rank + 2)
    if base.startswith("conv_transpose2d"):
        geometry, sizes = _transposed_geometry(
            function, size[2:], weight, stride, padding, output_padding, dilation, groups, rank
        )
        _check_transposed(function, size[1], weight, geometry.groups)
        size = (size[0], weight[1] * geometry.groups, *sizes)
    else:
        geometry = _Geometry(
            function, size[2:], weight[2:], stride, padding, dilation, groups, rank
        )
        _check_channels(function, size[1], weight, geometry.groups)
    if rank == 1:
        size, weight = (*size[:2], 1, size[2]), (*weight[:2], 1, weight[2])
    if device == "cuda":
        return _cpu.cuda_convolution_algorithms(
            _DIRECTIONS[base], size, weight, geometry.code, kind == "float32",
            _runtime.get_float32_precision(),
        )  # fmt: skip
    return _cpu.convolution_algorithms(
        _DIRECTIONS[base], size, weight, geometry.code, kind == "float64"
    )


def algorithms(
    name: str,
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    dtype: Any = "float32",
    device: str = "cpu",
) -> list[str]:
    """The names of the algorithms that accept a problem, the one that "auto" picks first.

    Parameters
    ----------
    name : str
        "conv2d", "conv2d_backward_input", "conv2d_backward_weight", "conv_transpose2d", its
        backward functions, or a 1-D form.
    input_shape, weight_shape : tuple of int
        Of the forward's input and weight.
    stride, padding, output_padding, dilation, groups
        As in the function.
    dtype : str or dtype
    device : {"cpu", "cuda"}

    Returns
    -------
    list of str

    Raises
    ------
    TypeError, ValueError
        As the function that is asked about.

    Examples
    --------
    >>> from pyconv import kernels
    >>> kernels.algorithms("conv2d", (1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
    ['few_channels', 'direct']
    """
    verdicts = _verdicts(
        "algorithms", name, input_shape, weight_shape, stride, padding, output_padding, dilation,
        groups, dtype, device,
    )  # fmt: skip
    able = [(bool(passed), name) for name, refusal, passed in verdicts if not refusal]
    return [name for _, name in sorted(able, key=lambda item: item[0])]


def explain(
    name: str,
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    dtype: Any = "float32",
    device: str = "cpu",
) -> Explanation:
    """Say which algorithm runs for a problem, and why the others refused.

    Parameters
    ----------
    name, input_shape, weight_shape
    stride, padding, output_padding, dilation, groups, dtype, device
        As in `algorithms`.

    Returns
    -------
    Explanation
        Its ``str`` says it; ``.algorithm`` and ``.refusals`` hold it.

    Raises
    ------
    TypeError, ValueError
        As the function that is asked about.

    Examples
    --------
    >>> from pyconv import kernels
    >>> kernels.explain("conv2d", (1, 8, 9, 9), (8, 1, 3, 3), groups=8).algorithm
    'depthwise'
    """
    verdicts = _verdicts(
        "explain", name, input_shape, weight_shape, stride, padding, output_padding, dilation,
        groups, dtype, device,
    )  # fmt: skip
    problem = (
        f"{name} of {tuple(input_shape)} with {tuple(weight_shape)}, stride {stride}, "
        f"padding {padding}, dilation {dilation}, groups {groups}, {_name_of(dtype)}"
    )
    return Explanation(problem, verdicts, _cpu.current_isa() if device == "cpu" else device)
