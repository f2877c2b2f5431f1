"""The Tensor: an array that knows what it was computed from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from pyconv import _tensor_arithmetic as arithmetic
from pyconv import _tensor_reduction as reduction
from pyconv import _tensor_shape as shaping
from pyconv import autograd
from pyconv._frozen import thaw


def array_module(array: Any) -> Any:
    """numpy, or cupy for an array on the GPU."""
    return np if isinstance(array, np.ndarray) else sys.modules["cupy"]


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (
        "cupy" in sys.modules and isinstance(value, sys.modules["cupy"].ndarray)
    )


class Tensor:
    """An array with a gradient.

    Arithmetic broadcasts as NumPy does. Python numbers take the dtype of the tensor they meet,
    arrays count as constants; float32 and float64 don't mix. Comparisons give arrays of bool.

    Parameters
    ----------
    data : array, Tensor or number
        Not copied. A float becomes float32, an int int64.
    requires_grad : bool
        Record what is computed from this tensor, so that `backward` finds its gradient. For
        floating-point types only.

    Attributes
    ----------
    data : ndarray (or CuPy array)
    grad : Tensor or None
        The sum of the gradients that `backward` found.
    requires_grad : bool

    Raises
    ------
    TypeError
        `data` is no array or number, its dtype is no number, or integers should require a gradient.

    Examples
    --------
    >>> import numpy as np
    >>> import pyconv
    >>> x = pyconv.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4.])
    """

    __slots__ = ("__weakref__", "_node", "_requires_grad", "data", "grad")
    __array_ufunc__ = None  # NumPy's operators leave a Tensor on their right to the Tensor
    _node: autograd.Node | None
    data: Any
    grad: Tensor | None

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            data = data.data
        elif isinstance(data, np.generic):
            data = np.asarray(data)
        elif isinstance(data, (bool, int, float)):
            data = np.asarray(data, np.float32 if isinstance(data, float) else None)
        if not _is_array(data):
            raise TypeError(
                f"Tensor: data must be an array or a number, got {type(data).__name__}"
                + ("; convert it with numpy.asarray" if isinstance(data, (list, tuple)) else "")
            )
        if data.dtype.kind not in "biufV" or data.dtype.names:
            raise TypeError(f"Tensor: data must be an array of numbers, got dtype {data.dtype}")
        self.data = data
        self.grad = None
        self._node = None
        self._requires_grad = False
        self.requires_grad = requires_grad

    @staticmethod
    def _wrap(array: Any) -> Tensor:
        """A Tensor around what an operation computed, without the checks."""
        self = object.__new__(Tensor)
        known = type(array) is np.ndarray or _is_array(array)
        self.data = array if known else np.asarray(array)
        self.grad = None
        self._node = None
        self._requires_grad = False
        return self

    # -- what it is ---------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"requires_grad must be a bool, got {type(value).__name__}")
        if value and self.data.dtype.kind not in "fV":
            raise TypeError(f"only floating-point tensors have gradients, this one is {self.dtype}")
        if not value and self._node is not None:
            raise RuntimeError("requires_grad can be changed on leaves only; use detach()")
        self._requires_grad = value

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad`; returns the tensor itself."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user, not by a recorded operation."""
        return self._node is None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def device(self) -> str:
        """``"cpu"``, or ``"cuda:0"``."""
        return "cpu" if isinstance(self.data, np.ndarray) else f"cuda:{self.data.device.id}"

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one entry of it."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    def numel(self) -> int:
        """The number of elements."""
        return int(self.data.size)

    # -- gradients ----------------------------------------------------------------------------

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add the gradient of this tensor to the ``.grad`` of every leaf it was computed from.

        Parameters
        ----------
        gradient : Tensor or array, optional
            The gradient to start from, of this tensor's shape and dtype. A tensor with one element
            starts from 1.
        retain_graph : bool, optional
            Keep what was saved for another pass. The default is `create_graph`.
        create_graph : bool
            Record the computation of the gradients, so that they can be differentiated.

        Raises
        ------
        ValueError
            The gradient is missing where there are several elements, or its shape is wrong.
        RuntimeError
            Nothing was recorded, or the graph was freed by an earlier pass.
        """
        autograd.backward(self, gradient, retain_graph, create_graph)

    def retain_grad(self) -> None:
        """Let `backward` set ``.grad`` although this is no leaf."""
        if self._node is not None:
            import weakref

            self._node.retained = weakref.ref(self)

    def detach(self) -> Tensor:
        """The same array without history."""
        return Tensor._wrap(self.data)

    def clone(self) -> Tensor:
        """A copy; gradients flow through it."""
        return autograd.linear_map("clone", self, _copy, lambda g: g)

    # -- conversion ---------------------------------------------------------------------------

    def numpy(self) -> np.ndarray:
        """The array, on the CPU; it shares memory where it already lies there."""
        return self.data if isinstance(self.data, np.ndarray) else self.data.get()

    def item(self) -> Any:
        """The only element as a Python number."""
        if self.data.size != 1:
            raise ValueError(f"item: a tensor of shape {self.shape} has no single element")
        return self.data.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self.data.tolist()

    def to(self, target: Any) -> Tensor:
        """On another device or in another dtype; gradients flow back.

        Parameters
        ----------
        target : "cpu", "cuda", "cuda:N" or a dtype
        """
        move, back = mover(target), mover(self.device)
        if isinstance(target, str) and target.split(":")[0] in ("cpu", "cuda"):
            return autograd.linear_map("to", self, move, back)
        before = self.dtype
        return autograd.linear_map("to", self, move, lambda g: g.astype(before))

    def float(self) -> Tensor:
        """In float32."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """In float64."""
        return self.to(np.float64)

    def cpu(self) -> Tensor:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self) -> Tensor:
        """On the GPU."""
        return self.to("cuda")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is None:
            return np.asarray(self.numpy(), dtype)
        return np.array(self.numpy(), dtype, copy=copy)

    def __dlpack__(self, **arguments: Any) -> Any:
        return self.data.__dlpack__(**arguments)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("only leaves can be copied with their history; use detach()")
        copy = object.__new__(type(self))
        memo[id(self)] = copy
        copy.data, copy._node, copy.grad = _copy(self.data), None, None
        copy._requires_grad = self._requires_grad
        if self.grad is not None:
            copy.grad = self.grad.detach().clone()
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._node is not None:
            raise RuntimeError("only leaves can be pickled; use detach()")
        axes = _memory_order(self.data)  # pickle by itself would forget it
        return _restored, (type(self), self.data.transpose(axes), axes, self._requires_grad)

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=200)
        if self.dtype not in (np.float64, np.int64, np.bool_):
            text += f", dtype={self.dtype}"
        if self.device != "cpu":
            text += f", device={self.device}"
        return f"Tensor({text}{', requires_grad=True' if self.requires_grad else ''})"

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a tensor without axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> Any:
        return self.item() * 1.0

    def __int__(self) -> int:
        return int(self.item())

    __hash__ = object.__hash__

    # -- in place -----------------------------------------------------------------------------

    def _in_place(self, name: str, *others: Any) -> Any:
        """The array to write into, where no gradient would come out wrong."""
        involved = [self, *(o for o in others if isinstance(o, Tensor))]
        if autograd.is_grad_enabled() and any(t.requires_grad for t in involved):
            raise RuntimeError(
                f"{name}: a tensor whose gradient is recorded can't be changed in place; "
                "write it in a `with no_grad():` block, or make a new one"
            )
        return thaw(self.data)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._in_place("[...] =", value)[shaping.plain_index(index)] = _plain(value)

    def copy_(self, value: Any) -> Tensor:
        """Take over the values of an array or Tensor."""
        assign(self._in_place("copy_", value), _plain(value))
        return self

    def fill_(self, value: Any) -> Tensor:
        """Set every element to one value."""
        return self.copy_(value)

    def zero_(self) -> Tensor:
        """Set every element to 0."""
        return self.copy_(0)

    def __iadd__(self, other: Any) -> Tensor:  # type: ignore[misc]
        if autograd.is_grad_enabled() and self._node is not None:
            return self + other
        data = self._in_place("+=", other)
        data += arithmetic.operand("+=", self, other).data
        return self

    def __isub__(self, other: Any) -> Tensor:  # type: ignore[misc]
        if autograd.is_grad_enabled() and self._node is not None:
            return self - other
        data = self._in_place("-=", other)
        data -= arithmetic.operand("-=", self, other).data
        return self

    def __imul__(self, other: Any) -> Tensor:  # type: ignore[misc]
        if autograd.is_grad_enabled() and self._node is not None:
            return self * other
        data = self._in_place("*=", other)
        data *= arithmetic.operand("*=", self, other).data
        return self

    def __itruediv__(self, other: Any) -> Tensor:  # type: ignore[misc]
        if autograd.is_grad_enabled() and self._node is not None:
            return self / other
        data = self._in_place("/=", other)
        data /= arithmetic.operand("/=", self, other).data
        return self

    # -- operations, one file for each kind ------------------------------------------------------

    __add__ = __radd__ = add = arithmetic.add
    __sub__ = sub = arithmetic.subtract
    __rsub__ = arithmetic.subtract_from
    __mul__ = __rmul__ = mul = arithmetic.multiply
    __truediv__ = div = arithmetic.divide
    __rtruediv__ = arithmetic.divide_into
    __pow__ = pow = arithmetic.power
    __rpow__ = arithmetic.power_of
    __neg__ = neg = arithmetic.negative
    __matmul__ = matmul = arithmetic.matmul
    __rmatmul__ = arithmetic.matmul_from
    __lt__ = arithmetic.less
    __le__ = arithmetic.less_equal
    __gt__ = arithmetic.greater
    __ge__ = arithmetic.greater_equal
    __eq__ = arithmetic.equal
    __ne__ = arithmetic.not_equal
    __abs__ = abs = arithmetic.absolute
    exp = arithmetic.exp
    log = arithmetic.log
    sqrt = arithmetic.sqrt
    clamp = arithmetic.clamp
    maximum = arithmetic.maximum
    minimum = arithmetic.minimum
    relu = arithmetic.relu
    sigmoid = arithmetic.sigmoid
    tanh = arithmetic.tanh

    sum = reduction.sum
    mean = reduction.mean
    var = reduction.var
    std = reduction.std
    max = reduction.max
    min = reduction.min
    argmax = reduction.argmax
    argmin = reduction.argmin

    __getitem__ = shaping.getitem
    reshape = view = shaping.reshape
    flatten = shaping.flatten
    transpose = shaping.transpose
    permute = shaping.permute
    squeeze = shaping.squeeze
    unsqueeze = shaping.unsqueeze
    expand = shaping.expand

    @property
    def T(self) -> Tensor:
        """With its axes in reverse order."""
        return shaping.permute(self, *reversed(range(self.ndim)))


def _copy(array: Any) -> Any:
    return array.copy(order="K")


def _restored(kind: Any, array: Any, axes: tuple[int, ...], requires_grad: bool) -> Tensor:
    """The Tensor whose pickled array has its axes in the order of its memory."""
    return kind(array.transpose(sorted(range(array.ndim), key=axes.__getitem__)), requires_grad)


def _plain(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def assign(array: Any, value: Any) -> None:
    """``array[...] = value``, for an array that may lie on another device than `array`."""
    if isinstance(array, np.ndarray):
        array[...] = value.get() if hasattr(value, "__cuda_array_interface__") else value
    elif isinstance(value, np.ndarray):
        array[...] = array_module(array).asarray(value)
    else:
        array[...] = value


def mover(target: Any) -> Any:
    """A function that brings an array to a device or into a dtype, keeping its memory order."""
    if isinstance(target, str) and target == "cpu":
        return lambda a: a if isinstance(a, np.ndarray) else _to_numpy(a)
    if isinstance(target, str) and target.split(":")[0] == "cuda":
        number = target.partition(":")[2] or "0"
        if not number.isdecimal():
            raise ValueError(f'to: a device is "cpu", "cuda" or "cuda:N", got {target!r}')
        return _cuda_mover(int(number))
    try:
        dtype = np.dtype(target)
    except TypeError:
        raise TypeError(f'to: expected "cpu", "cuda" or a dtype, got {target!r}') from None
    return lambda a: a.astype(dtype, order="K", copy=False)


def _cuda_mover(number: int) -> Any:
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            'to: "cuda" needs CuPy: pip install "pyconv[cuda13]", or "pyconv[cuda12]"'
        ) from error
    try:
        from pyconv import _cuda  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'to: "cuda" needs pyconv installed from source with '
            f"-C cmake.define.PYCONV_CUDA=ON ({error})"
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f'to: "cuda" needs a GPU and NVIDIA\'s driver ({error})') from None
    if number >= count:
        raise RuntimeError(f'to: there is no "cuda:{number}", but {count} GPUs, counted from 0')

    def move(array: Any) -> Any:
        with cupy.cuda.Device(number):
            axes = _memory_order(array)
            back = np.argsort(axes)
            return cupy.asarray(array.transpose(axes)).transpose(*map(int, back))

    return move


def _to_numpy(array: Any) -> np.ndarray:
    axes = _memory_order(array)
    return array.transpose(axes).get().transpose(np.argsort(axes))


def _memory_order(array: Any) -> tuple[int, ...]:
    """The axes from the widest stride to the narrowest."""
    return tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))
