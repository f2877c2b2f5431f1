"""The functions that build models, by name; how a model remembers which one built it."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from pyconv.kernels import _checks as check
from pyconv.nn.module import Module

B = TypeVar("B", bound=Callable[..., Module])

BUILDERS: dict[str, Callable[..., Module]] = {}


def builder(function: B) -> B:
    """Enter a function that builds a model. The model's ``architecture`` names the function and
    all its arguments, which files then carry."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def build_and_note(*arguments: Any, **options: Any) -> Module:
        bound = signature.bind(*arguments, **options)
        bound.apply_defaults()
        model = function(*arguments, **options)
        # Without the weights, which a file that names the architecture has itself.
        noted = {k: v for k, v in bound.arguments.items() if k != "pretrained"}
        # Not through Module.__setattr__: it is neither parameter nor submodule.
        model.__dict__["architecture"] = {"name": function.__name__, "arguments": noted}
        return model

    BUILDERS[function.__name__] = build_and_note
    return build_and_note  # type: ignore[return-value]


def build(name: str, **arguments: Any) -> Module:
    """A model by the name of the function that builds it.

    Parameters
    ----------
    name : str
        One of `names`.
    **arguments
        Of that function; lists are taken for tuples, so that what went through JSON will do.

    Raises
    ------
    TypeError, ValueError
        There is no such model, or it takes other arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> models.build("mlp", num_classes=3, in_features=4)(np.zeros((2, 4), np.float32)).shape
    (2, 3)
    """
    if not isinstance(name, str):
        raise TypeError(f"build: name must be a str, got {type(name).__name__}")
    if name not in BUILDERS:
        close = difflib.get_close_matches(name, BUILDERS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names())}"
        raise ValueError(f"build: there is no model {name!r}; {hint}")
    taken = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    known = inspect.signature(BUILDERS[name]).parameters
    unknown = [k for k in taken if k not in known]
    if unknown:
        raise TypeError(f"build: {name} has no argument {unknown[0]!r}; it has {', '.join(known)}")
    return BUILDERS[name](**taken)


def names() -> list[str]:
    """The names of all models, sorted.

    Examples
    --------
    >>> from pyconv import models
    >>> "resnet18" in models.names()
    True
    """
    return sorted(BUILDERS)


def pretrained_names() -> list[str]:
    """The names of the models that come with weights, too.

    Examples
    --------
    >>> from pyconv import models
    >>> models.pretrained_names()
    ['efficientnet_lite0', 'squeezenet1_1']
    """
    return [name for name in names() if "pretrained" in arguments_of(name)]


def arguments_of(name: str) -> list[str]:
    """The names of the arguments that a model's function takes."""
    return list(inspect.signature(BUILDERS[name]).parameters)


def count(function: str, argument: str, value: Any) -> int:
    """A whole number from 1 on."""
    return check.integer(function, argument, value, 1)
