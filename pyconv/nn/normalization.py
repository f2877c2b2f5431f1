"""Normalisation layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv import functional
from pyconv._frozen import thaw
from pyconv.functional._common import as_tensor
from pyconv.kernels import _checks as check
from pyconv.nn.fusion import foldable, fusable
from pyconv.nn.module import Module
from pyconv.nn.parameter import Parameter


class _Normalization(Module):
    """What batch and instance normalisation share: scales, shifts, running statistics."""

    ranks: tuple[int, ...] = (4,)

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = n = check.integer(name, "num_features", num_features, 1)
        self.eps = check.number(name, "eps", eps, 0.0)
        self.momentum = None if momentum is None else check.number(name, "momentum", momentum)
        self.affine = check.boolean(name, "affine", affine)
        self.track_running_stats = check.boolean(name, "track_running_stats", track_running_stats)
        ones, zeros = np.ones(n, np.float32), np.zeros(n, np.float32)
        self.register_parameter("weight", Parameter(ones) if affine else None)
        self.register_parameter("bias", Parameter(zeros) if affine else None)
        tracked = self.track_running_stats
        self.register_buffer("running_mean", zeros.copy() if tracked else None)
        self.register_buffer("running_var", ones.copy() if tracked else None)
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64) if tracked else None)

    def reset_running_stats(self) -> None:
        """Zero mean, unit variance, no batches."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Scales of 1, shifts of 0, fresh running statistics."""
        self.reset_running_stats()
        if self.affine:
            thaw(self.weight.data)[...] = 1
            thaw(self.bias.data)[...] = 0

    def _checked(self, x: Any) -> Any:
        name = type(self).__name__
        x = as_tensor(name, "x", x)
        if x.ndim not in self.ranks:
            wanted = " or ".join(f"{rank}-D" for rank in self.ranks)
            raise ValueError(f"{name}: x must be {wanted}, got shape {x.shape}")
        if x.shape[1] != self.num_features:
            raise ValueError(
                f"{name}: x must have {self.num_features} channels, got shape {x.shape}"
            )
        return x

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm2d(_Normalization):
    """Batch normalisation of images, N×C×H×W; see `functional.batch_norm`.

    Parameters
    ----------
    num_features : int
    eps : float
    momentum : float or None
        None averages over all batches seen, each with the same weight.
    affine : bool
        Learn scales and shifts.
    track_running_stats : bool
        Without, the batch's statistics are used in inference, too.

    Attributes
    ----------
    weight, bias : Parameter of C entries, or None
    running_mean, running_var, num_batches_tracked : Tensor, or None

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> norm = nn.BatchNorm2d(3)
    >>> norm(np.zeros((2, 3, 4, 4), np.float32)).shape, norm.num_batches_tracked.item()
    ((2, 3, 4, 4), 1)
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)

    @foldable
    @fusable("activation", "residual")
    def forward(self, x: Any, activation: Any = None, residual: Any = None) -> Any:
        x = self._checked(x)
        parameters, buffers = self._parameters, self._buffers  # without __getattr__: it is slow
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and buffers["running_mean"] is not None:
            count = buffers["num_batches_tracked"]
            count.data += 1
            if self.momentum is None:
                momentum = 1.0 / count.item()
        return functional.batch_norm(
            x,
            buffers["running_mean"],
            buffers["running_var"],
            parameters["weight"],
            parameters["bias"],
            self.training or buffers["running_mean"] is None,
            momentum,
            self.eps,
            activation=activation,
            residual=residual,
        )


class BatchNorm1d(BatchNorm2d):
    """Batch normalisation of features, N×C, or sequences, N×C×L; as `BatchNorm2d`."""

    ranks = (2, 3)


class InstanceNorm2d(_Normalization):
    """Normalisation of each plane of each image, N×C×H×W; see `functional.instance_norm`.

    Parameters
    ----------
    num_features : int
    eps, momentum : float
    affine : bool
        Learn scales and shifts.
    track_running_stats : bool
        Normalise by running statistics in inference.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)

    def forward(self, x: Any) -> Any:
        x = self._checked(x)
        own = self.training or not self.track_running_stats
        return functional.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            own,
            0.1 if self.momentum is None else self.momentum,
            self.eps,
        )
