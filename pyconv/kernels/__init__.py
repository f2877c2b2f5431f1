"""The compiled kernels: plain arrays in, plain arrays out, no gradients."""

import importlib as _importlib

from pyconv import reference as _reference

__all__: list[str] = []
for _family in (
    "activation", "convolution", "dense", "dropout", "loss", "normalization", "optimizer",
    "pooling", "resample",
):  # fmt: skip
    try:
        _module = _importlib.import_module(f"pyconv.kernels.{_family}")
    except ModuleNotFoundError:  # until every family is compiled
        continue
    __all__ += _module.__all__
    for _name in _module.__all__:
        globals()[_name] = getattr(_module, _name)


def __getattr__(name: str):
    return getattr(_reference, name)
