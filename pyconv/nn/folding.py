"""Batch normalisation folded into the layers before it, for good."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

from pyconv.nn.activation import Identity
from pyconv.nn.containers import ModuleList, Sequential
from pyconv.nn.convolution import DepthwiseSeparableConv2d, _Convolution
from pyconv.nn.dense import Linear
from pyconv.nn.inference import as_scale_and_shift
from pyconv.nn.module import Module
from pyconv.nn.normalization import BatchNorm2d
from pyconv.nn.parameter import Parameter

M = TypeVar("M", bound=Module)


def fold_batch_norm(model: M) -> M:
    """A copy of a model for inference, in which convolutions and dense layers have taken over the
    batch normalisation behind them.

    In ``eval()`` a model does so by itself while no gradient is recorded; this is for files of
    other programs, and for gradients with respect to the input.

    Parameters
    ----------
    model : Module
        Not changed. Sequences of modules are known from `Sequential`, from the models of
        `pyconv.models`, and from graphs of `load_onnx`. What is shared, is listened to by a hook,
        or has no running statistics stays as it is.

    Returns
    -------
    Module
        In inference mode, with an `Identity` in the place of each normalisation that was folded.
        Weights are computed in float64 and rounded once. It is not to be trained further.

    Raises
    ------
    TypeError
        No Module.
    ValueError
        A module with a forward of its own has a normalisation right behind a layer: in which order
        it runs them can't be known. Put the two into a `Sequential`.

    Examples
    --------
    >>> import numpy as np
    >>> import pyconv
    >>> from pyconv import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> folded = pyconv.fold_batch_norm(model)
    >>> folded[1]
    Identity()
    >>> x = np.ones((1, 3, 5, 5), np.float32)
    >>> bool(np.allclose(folded(x).numpy(), model(x).numpy(), atol=1e-6))
    True
    """
    if not isinstance(model, Module):
        raise TypeError(f"fold_batch_norm: model must be a Module, got {type(model).__name__}")
    folded = copy.deepcopy(model).eval()
    places: dict[int, int] = {}
    for parent in folded.modules():
        for child in parent.children():
            places[id(child)] = places.get(id(child), 0) + 1
    for owner, name, layer, norm in list(_pairs(folded)):
        alone = places[id(layer)] == places[id(norm)] == 1
        if alone and not layer._forward_hooks and not norm._forward_hooks:
            if _fold(layer, norm):
                owner.register_module(name, Identity())
    # Its function would build it with the normalisation.
    folded.__dict__.pop("architecture", None)
    return folded


def _pairs(model: Module) -> Iterator[tuple[Module, str, Module, BatchNorm2d]]:
    """Owner and name of each normalisation, the layer right before it, and itself."""
    for parent in list(model.modules()):
        if type(parent) is Module:  # holds nodes of a graph
            continue
        sequences = getattr(parent, "sequences", None)
        if sequences is not None:  # of a graph: names of nodes that only the next one uses
            groups = [[_find(parent, name) for name in names] for names in sequences()]
        else:
            groups = [[(parent, name, child) for name, child in parent.named_children()]]
        for group in groups:
            for (_, _, layer), (owner, name, norm) in zip(group, group[1:], strict=False):
                if not isinstance(norm, BatchNorm2d) or not _fits(layer, norm):
                    continue
                if sequences is None and not _in_order(parent):
                    raise ValueError(
                        f"fold_batch_norm: {type(parent).__name__} has a forward of its own, and a "
                        f"normalisation ({name}) right behind a layer; put them into a Sequential"
                    )
                yield owner, name, layer, norm


def _find(root: Module, title: str) -> tuple[Module, str, Module]:
    way, _, name = title.rpartition(".")
    owner = root.get_submodule(way)
    return owner, name, owner.get_submodule(name)


def _in_order(parent: Module) -> bool:
    """Whether neighbours among the children run one after the other, and nothing in between."""
    return (
        isinstance(parent, Sequential)
        and type(parent).forward is Sequential.forward
        or type(parent).__module__.startswith("pyconv.models.")
    )


def _fits(layer: Module, norm: BatchNorm2d) -> bool:
    if isinstance(layer, Linear):
        return layer.out_features == norm.num_features and 2 in norm.ranks
    if isinstance(layer, DepthwiseSeparableConv2d):
        layer = layer.pointwise
    if isinstance(layer, ModuleList) or not isinstance(layer, _Convolution):
        return False
    return layer.out_channels == norm.num_features and layer.rank + 2 in norm.ranks


def _fold(layer: Any, norm: BatchNorm2d) -> bool:
    """Change the layer's weight and bias; False where the normalisation has no statistics."""
    if norm.running_mean is None:
        return False
    if isinstance(layer, DepthwiseSeparableConv2d):
        layer = layer.pointwise
    tensors = (layer.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    arrays: list[Any] = [None if t is None else t.numpy() for t in tensors]
    scale, shift = as_scale_and_shift(*arrays, eps=norm.eps)
    weight = layer.weight.numpy()
    if getattr(layer, "transposed", False):  # In×(Out/groups)×...: a row belongs to one group
        groups = layer.groups
        rows = np.repeat(scale.reshape(groups, -1), weight.shape[0] // groups, 0)
        factors = rows.reshape(*weight.shape[:2], *(1,) * (weight.ndim - 2))
    else:
        factors = scale.reshape(-1, *(1,) * (weight.ndim - 1))
    device, trained = layer.weight.device, layer.weight.requires_grad
    for name, array in (("weight", weight * factors), ("bias", shift)):
        plain = array.astype(weight.dtype, order="K")
        setattr(layer, name, Parameter(plain, trained))
        getattr(layer, name).data = getattr(layer, name).to(device).data
    return True
