"""A trained network taken apart: its head, and what runs before and after a layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv import nn
from pyconv.autograd import Tensor, no_grad
from pyconv.nn.features import _Enough, features
from pyconv.nn.fusion import run
from pyconv.nn.module import Module
from pyconv.nn.normalization import _Normalization

_MOMENTUM = 0.1  # of new statistics, at least


class Anatomy:
    """Which layers of a network run in which order, and which one is the head.

    Attributes
    ----------
    order : list of str
        The names of all layers that run, each when it has finished; a layer that is made of others
        comes behind them.
    head : str
        The layer whose outputs are the classes.
    """

    def __init__(self, function: str, model: Module, x: Any, head: str | None) -> None:
        self.function, self.model, self.x = function, model, x
        self.layers = dict(model.named_modules())
        self.order = self._run_order()
        self.head = self._find_head() if head is None else self._named_head(head)

    def _run_order(self) -> list[str]:
        order: dict[str, None] = {}

        def listener(name: str) -> Any:
            return lambda module, inputs, output: order.setdefault(name)

        handles = [m.register_forward_hook(listener(n)) for n, m in self.layers.items() if n]
        try:
            self.run()
        finally:
            for handle in handles:
                handle.remove()
        return list(order)

    def run(self) -> Tensor:
        """The output for a few pictures, in inference mode."""
        try:
            with no_grad():
                y = self.model.eval()(self.x)
        except (TypeError, ValueError) as error:
            shape = "×".join(map(str, self.x.shape[1:]))
            raise ValueError(
                f"{self.function}: model can't take pictures of {shape}: {error}"
            ) from None
        if not isinstance(y, Tensor):
            raise TypeError(
                f"{self.function}: model must return one Tensor, got {type(y).__name__}"
            )
        return y

    def _find_head(self) -> str:
        """The last layer that learns, if it is a dense one or a 1×1 convolution."""
        learned = [name for name in self.order if holds_state(self.layers[name])]
        last = learned[-1] if learned else None
        layer = self.layers[last] if last is not None else None
        if last is not None and _is_dense(layer):
            return last
        what = "no layer that learns" if last is None else f"{last!r}, {type(layer).__name__}"
        raise ValueError(
            f"{self.function}: model ends with {what}, where a dense layer or a 1×1 convolution "
            "was expected; head= names the layer to replace"
        )

    def _named_head(self, name: Any) -> str:
        if name not in self.layers or not name:
            raise ValueError(
                f"{self.function}: head must be the name of a layer, got {name!r}; the last are "
                f"{', '.join(map(repr, self.order[-5:]))}"
            )
        if not isinstance(self.layers[name], (nn.Linear, nn.Conv2d)) or name not in self.order:
            raise ValueError(
                f"{self.function}: head must be a dense layer or a convolution that runs, got "
                f"{name!r}, {type(self.layers[name]).__name__}"
            )
        after = self.order[self.order.index(name) + 1 :]
        later = [n for n in after if holds_state(self.layers[n])]
        if later:
            raise ValueError(
                f"{self.function}: head must be the last layer that learns, got {name!r}, and "
                f"{later[0]!r} comes after it"
            )
        return name

    # -- changes --------------------------------------------------------------------------------

    def replace_head(self, classes: int) -> Module:
        """A new head for so many classes, drawn anew; probabilities behind it become logits."""
        old: Any = self.layers[self.head]
        bias = old.bias is not None
        if isinstance(old, nn.Linear):
            new: Module = nn.Linear(old.in_features, classes, bias)
        else:
            new = nn.Conv2d(
                old.in_channels, classes, old.kernel_size, old.stride, old.padding, old.dilation,
                bias=bias,
            )  # fmt: skip
        device = next((p.device for p in old.parameters()), "cpu")
        self._put(self.head, new.to(device))
        for name in self.order[self.order.index(self.head) + 1 :]:
            if isinstance(self.layers[name], nn.Softmax):  # LogSoftmax, too
                self._put(name, nn.Identity())
        y = self.run()
        if y.shape != (len(self.x), classes):
            raise ValueError(
                f"{self.function}: model must give one number a class for each picture, "
                f"{(len(self.x), classes)}, got shape {y.shape} with the new head {self.head!r}"
            )
        return new

    def _put(self, name: str, module: Module) -> None:
        way, _, last = name.rpartition(".")
        self.model.get_submodule(way).register_module(last, module)
        self.layers[name] = module

    def freeze(self, until: str) -> int:
        """Freeze all that has run when the layer `until` has; its place in the order."""
        if until not in self.order:
            known = "did not run" if until in self.layers else "is not in the model"
            raise ValueError(
                f"{self.function}: freeze_until names a layer that {known}: {until!r}; there are "
                f"{', '.join(map(repr, self.order))}"
            )
        place = self.order.index(until)
        if place >= self.order.index(self.head):
            raise ValueError(
                f"{self.function}: freeze_until must be a layer before the new head {self.head!r}, "
                f"got {until!r}"
            )
        for name in self.order[: place + 1]:
            nn.utils.freeze(self.layers[name])
        # Parameters that belong to no such layer: those of a loaded graph's sums, for example.
        y = features(self.model, self.x, [until])[until]
        if y.requires_grad:
            y.sum().backward()
            for p in self.model.parameters():
                if p.grad is not None:
                    p.grad = None
                    p.requires_grad_(False)
        return place

    def last_before_head(self) -> str | None:
        """The last layer before the head that learns or keeps statistics."""
        before = self.order[: self.order.index(self.head)]
        return next((n for n in reversed(before) if holds_state(self.layers[n])), None)

    def chain(self) -> list[str]:
        """Layers to cut at: of all layers that are made of others, the parts of the one with the
        most parts that learn; those that run last of each, before the head."""
        best: list[str] = []
        before = self.order[: self.order.index(self.head)]
        for owner, module in self.layers.items():
            names = [f"{owner}.{n}" if owner else n for n, _ in module.named_children()]
            found = [
                n for n in before if n in names and any(map(holds_state, self.layers[n].modules()))
            ]
            if len(found) > len(best):
                best = found
        # The normalisation behind a convolution belongs to it.
        norms = [isinstance(self.layers[n], _Normalization) for n in best]
        return [n for n, norm in zip(best, [*norms[1:], False], strict=True) if not norm]

    def after(self, place: int) -> list[Module]:
        """The layers that finish after a place in the order, without the head."""
        return [self.layers[name] for name in self.order[place + 1 :] if name != self.head]


def holds_state(module: Module) -> bool:
    """Whether it has parameters or buffers of its own."""
    kinds = (module._parameters, module._buffers)
    return any(value is not None for own in kinds for value in own.values())


def keep_statistics(modules: list[Module]) -> None:
    """Normalisations that go on using the statistics they have."""
    for module in modules:
        if isinstance(module, _Normalization) and module.running_mean is not None:
            module.frozen = True


def draw_anew(modules: list[Module]) -> None:
    """Fresh weights and statistics: those of He et al., Delving deep into rectifiers (2015), for
    convolutions. New statistics must follow quickly: a network that was trained for days may have a
    momentum with which they would hardly leave 0 and 1 here."""
    for module in modules:
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
        if isinstance(module, _Normalization) and module.momentum is not None:
            module.momentum = max(module.momentum, _MOMENTUM)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _is_dense(layer: Any) -> bool:
    if isinstance(layer, nn.Linear):
        return True
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1


class Tail(Module):
    """The end of a network, which shares its layers."""

    def __init__(self, layers: list[Module], flat: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.flat = flat

    def forward(self, x: Any) -> Tensor:
        y = run(list(self.layers), x)
        return y.flatten(1) if self.flat else y


def tail_of(anatomy: Anatomy) -> Tail | None:
    """The layers from the first one on that learns or draws random numbers, where all before them
    gives the same for a picture, always; None where that can't be told.

    It is tried whether the tail gives what the network gives.
    """
    model, head = anatomy.model, anatomy.layers[anatomy.head]
    owner = model.get_submodule(anatomy.head.rpartition(".")[0])
    layers = list(owner) if type(owner) is nn.Sequential else [head]
    layers = layers[next(i for i, layer in enumerate(layers) if not _is_fixed(layer)) :]
    inside = {id(part) for layer in layers for part in layer.modules()}
    if not all(id(part) in inside or _is_fixed_alone(part) for part in model.modules()):
        return None
    x = entering(model, layers[0], anatomy.x)
    for flat in (False, True) if x is not None else ():
        tail = Tail(layers, flat).eval()
        if all([_agree(tail, x, anatomy), _agree(tail, x, anatomy, -1)]):
            return tail
    return None


def _agree(tail: Tail, x: Any, anatomy: Anatomy, sign: int = 1) -> bool:
    """Whether tail and network give the same, also where the sign of the head is another: what
    comes behind the head might let only one through."""
    weights: list[Any] = list(anatomy.layers[anatomy.head].parameters())
    with no_grad():
        for p in weights:
            p *= sign
        try:
            y, z = anatomy.run().numpy(), tail(x).numpy()
        except (TypeError, ValueError):
            return False
        finally:
            for p in weights:
                p *= sign
    return y.shape == z.shape and bool(np.allclose(y, z, 1e-4, 1e-4 * float(np.abs(y).max())))


def _is_fixed(module: Module) -> bool:
    return all(_is_fixed_alone(part) for part in module.modules())


def _is_fixed_alone(module: Module) -> bool:
    """Whether what it does by itself is always the same: it learns nothing, counts nothing, draws
    nothing at random."""
    if any(p is not None and p.requires_grad for p in module._parameters.values()):
        return False
    if module.frozen:
        return True
    if isinstance(module, (nn.Dropout, _Normalization)):
        return False
    return type(module).__module__.startswith("pyconv.")  # of others it isn't known


def entering(model: Module, layer: Module, x: Any) -> Tensor | None:
    """What a layer of the network gets; nothing is computed behind it. None unless it is one
    Tensor, and not the pictures themselves."""
    found: list[Any] = []

    def listen(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        found.extend(inputs)
        raise _Enough

    handle = layer.register_forward_hook(listen)
    try:
        with no_grad():
            model(x)
    except _Enough:
        pass
    finally:
        handle.remove()
    return found[0] if len(found) == 1 and isinstance(found[0], Tensor) else None
