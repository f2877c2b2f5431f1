"""The base of all layers and models."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from pyconv._frozen import thaw
from pyconv.autograd import Tensor, assign, mover, set_grad_enabled
from pyconv.nn.inference import release
from pyconv.nn.parameter import Parameter

Hook = Callable[["Module", tuple[Any, ...], Any], Any]
M = TypeVar("M", bound="Module")


class Handle:
    """Takes a hook away again."""

    _numbers = itertools.count()

    def __init__(self, hooks: dict[int, Any]) -> None:
        self._hooks = hooks
        self.number = next(Handle._numbers)

    def remove(self) -> None:
        """Take the hook away; twice does no harm."""
        self._hooks.pop(self.number, None)


class KeysMatched(NamedTuple):
    """What `Module.load_state_dict` returns."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A layer, or a model made of layers.

    A subclass creates parameters and submodules as attributes in ``__init__`` (after
    ``super().__init__()``) and computes in ``forward``.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> from pyconv import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.dense = nn.Linear(3, 2)
    ...     def forward(self, x):
    ...         return F.relu(self.dense(x))
    >>> Net()(np.ones((5, 3), np.float32)).shape
    (5, 2)
    """

    training: bool
    frozen: bool = False

    def __init__(self) -> None:
        own = self.__dict__
        own["training"] = True
        own["_parameters"] = {}
        own["_buffers"] = {}
        own["_modules"] = {}
        own["_forward_hooks"] = {}

    def forward(self, *inputs: Any) -> Any:
        """Compute the output; every subclass has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        output = self.forward(*inputs, **options)
        if self._forward_hooks:
            for hook in list(self._forward_hooks.values()):
                replaced = hook(self, inputs, output)
                if replaced is not None:
                    output = replaced
        return output

    # -- attributes -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (Parameter, Module)) and "_modules" not in self.__dict__:
            raise AttributeError(f"call super().__init__() before assigning {name}")
        if isinstance(value, Parameter):
            self._replace("_parameters", name, value)
        elif isinstance(value, Module):
            self._replace("_modules", name, value)
        elif name in self.__dict__.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"{name} is a parameter; assign a Parameter or None, not {type(value).__name__}"
                )
            self._parameters[name] = None
        elif name in self.__dict__.get("_buffers", ()):
            self._buffers[name] = None if value is None else Tensor(value)
        elif name in self.__dict__.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"{name} is a module; assign a Module or None, not {type(value).__name__}"
                )
            self._modules[name] = None
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for kind in ("_parameters", "_buffers", "_modules"):
            found = own.get(kind)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if not self._remove(name):
            object.__delattr__(self, name)

    def _replace(self, kind: str, name: str, value: Any) -> None:
        if name not in self.__dict__[kind]:
            self._remove(name)
        self.__dict__[kind][name] = value  # which keeps its place in the order

    def _remove(self, name: str) -> bool:
        """Forget what has that name."""
        found = False
        for kind in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__[kind].pop(name, self) is not self or found
        if name in self.__dict__:
            del self.__dict__[name]
            found = True
        return found

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """A parameter under a name; None keeps the name without one."""
        self._check_name(name, "_parameters")
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter: {name} must be a Parameter or None")
        self._parameters[name] = parameter

    def register_buffer(self, name: str, value: Any) -> None:
        """An array that belongs to the state but is not learned; it becomes a Tensor."""
        self._check_name(name, "_buffers")
        self._buffers[name] = None if value is None else Tensor(value)

    def register_module(self, name: str, module: Module | None) -> None:
        """A submodule under a name."""
        self._check_name(name, "_modules")
        if module is not None and not isinstance(module, Module):
            raise TypeError(
                f"register_module: {name} must be a Module, got {type(module).__name__}"
            )
        self._modules[name] = module

    add_module = register_module

    def _check_name(self, name: Any, kind: str) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"a name must be a str without dots, got {name!r}")
        if hasattr(self, name) and name not in self.__dict__[kind]:
            raise ValueError(f"{type(self).__name__} has an attribute {name!r} already")

    def register_forward_hook(self, hook: Hook) -> Handle:
        """Call ``hook(module, inputs, output)`` after every forward.

        What it returns replaces the output, unless that is None. A module with hooks is run by
        itself, never fused with its neighbours.

        Returns
        -------
        Handle
            Its ``remove()`` takes the hook away.

        Examples
        --------
        >>> import numpy as np
        >>> from pyconv import nn
        >>> layer, shapes = nn.ReLU(), []
        >>> handle = layer.register_forward_hook(lambda m, x, y: shapes.append(y.shape))
        >>> _ = layer(np.ones(3))
        >>> handle.remove()
        >>> shapes
        [(3,)]
        """
        if not callable(hook):
            raise TypeError("register_forward_hook: hook must be callable")
        handle = Handle(self._forward_hooks)
        self._forward_hooks[handle.number] = hook
        return handle

    # -- what is inside -------------------------------------------------------------------------

    def children(self) -> Iterator[Module]:
        """The direct submodules."""
        return (module for _, module in self.named_children())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules and their names."""
        return ((name, m) for name, m in self._modules.items() if m is not None)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = ""
    ) -> Iterator[tuple[str, Module]]:
        """This module (its name is empty) and all below it with their dotted names, each once."""
        memo = set() if memo is None else memo
        if self not in memo:
            memo.add(self)
            yield prefix, self
            for name, child in self.named_children():
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name)

    def _members(self, kind: str, duplicates: bool = False) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in module.__dict__[kind].items():
                if value is not None and (duplicates or id(value) not in seen):
                    seen.add(id(value))
                    yield f"{prefix}.{name}" if prefix else name, value

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (p for _, p in self.named_parameters())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names, each once."""
        return self._members("_parameters")

    def buffers(self) -> Iterator[Tensor]:
        """All buffers, each once."""
        return (b for _, b in self.named_buffers())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted names, each once."""
        return self._members("_buffers")

    def get_submodule(self, target: str) -> Module:
        """The module with a dotted name.

        Raises
        ------
        AttributeError
            There is none.
        """
        module = self
        for name in target.split(".") if target else ():
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(f"{type(module).__name__} has no submodule {name!r}")
            module = found
        return module

    # -- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Name to array for all parameters and buffers: the arrays themselves, not copies.

        Examples
        --------
        >>> from pyconv import nn
        >>> {name: array.shape for name, array in nn.Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        return {name: t.data for name, t in self._state().items()}

    def _state(self, prefix: str = "") -> dict[str, Tensor]:
        """Every name in the state, shared Tensors under each of theirs."""
        state: dict[str, Tensor] = {}
        for own in (self._parameters, self._buffers):
            state.update({prefix + name: t for name, t in own.items() if t is not None})
        for name, child in self.named_children():
            state.update(child._state(f"{prefix}{name}."))
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> KeysMatched:
        """Copy values into the parameters and buffers, which keep their memory and dtype.

        Parameters
        ----------
        state_dict : mapping of str to array
            As `state_dict` returns, PyTorch's too (its tensors on the CPU are taken as they are).
        strict : bool
            Names must be the same on both sides.

        Returns
        -------
        KeysMatched
            ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        TypeError
            No mapping, or a value that is no array.
        ValueError
            A missing or unexpected name (if strict), or a wrong shape; nothing is changed then.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: state_dict must be a mapping, got {type(state_dict).__name__}"
            )
        if not isinstance(strict, bool):
            raise TypeError(f"load_state_dict: strict must be a bool, got {type(strict).__name__}")
        state = self._state()
        missing = [name for name in state if name not in state_dict]
        unexpected = [name for name in state_dict if name not in state]
        faults = []
        if strict and missing:
            faults.append(f"missing: {', '.join(missing)}")
        if strict and unexpected:
            faults.append(f"unexpected: {', '.join(map(str, unexpected))}")
        values = {}
        for name in state:
            if name in state_dict:
                values[name] = _state_array(name, state_dict[name])
                if values[name].shape != state[name].shape:
                    faults.append(
                        f"{name} must have shape {state[name].shape}, got {values[name].shape}"
                    )
        if faults:
            raise ValueError(f"load_state_dict: {type(self).__name__}: {'; '.join(faults)}")
        for name, value in values.items():
            assign(thaw(state[name].data), value)
        return KeysMatched(missing, unexpected)

    # -- modes and places -----------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Training mode (or not) for this module and all below it.

        Outside of training a convolution keeps its weight packed where no gradient is recorded,
        and containers fold a batch normalisation into the convolution before it. What these were
        made of is read-only until `train()`, `load_state_dict` or a step of an optimizer.

        What `utils.freeze` has frozen stays in inference mode.
        """
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be a bool, got {type(mode).__name__}")
        for module in self.modules():
            module.training = mode and not module.frozen
            if module.training:
                release(module)
        return self

    def eval(self: M) -> M:
        """Inference mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Learn the parameters, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        clear_gradients(self.parameters(), set_to_none)

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call a function on every module below this one, then on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self: M, target: Any) -> M:
        """Move parameters and buffers to a device, or convert the floating-point ones.

        Parameters
        ----------
        target : "cpu", "cuda", "cuda:N" or a dtype

        Raises
        ------
        ImportError
            "cuda" without CuPy.
        """
        move = mover(target)
        device = isinstance(target, str) and target.split(":")[0] in ("cpu", "cuda")
        for tensors in (self.parameters(), self.buffers()):
            for t in tensors:
                if device or t.dtype.kind in "fV":
                    t.data = move(t.data)
                    if t.grad is not None:
                        t.grad.data = move(t.grad.data)
        return self

    def float(self: M) -> M:
        """In float32."""
        return self.to(np.float32)

    def double(self: M) -> M:
        """In float64."""
        return self.to(np.float64)

    def cpu(self: M) -> M:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self: M) -> M:
        """On the GPU."""
        return self.to("cuda")

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without what inference has packed, which is made anew."""
        return {name: value for name, value in self.__dict__.items() if name != "_ready"}

    # -- text -----------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets of the layer's line."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self.named_children()
        ]
        name, extra = type(self).__name__, self.extra_repr()
        if not lines:
            return f"{name}({extra})"
        return f"{name}(" + "".join(f"\n  {line}" for line in [extra, *lines] if line) + "\n)"


def clear_gradients(parameters: Any, set_to_none: bool) -> None:
    """`zero_grad` of modules and optimizers."""
    for p in parameters:
        if set_to_none or p.grad is None:
            p.grad = None
        else:
            with set_grad_enabled(False):
                p.grad = p.grad.detach().zero_()


def _state_array(name: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.data
    if hasattr(value, "get") and hasattr(value, "__cuda_array_interface__"):
        value = value.get()
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind not in "biufV" or array.dtype.names:
            raise TypeError(
                f"load_state_dict: {name} must be an array of numbers, got {array.dtype}"
            )
        return array
    raise TypeError(f"load_state_dict: {name} must be an array, got {type(value).__name__}")
