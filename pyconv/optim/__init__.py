"""Optimizers, schedules of the learning rate, averages of weights; PyTorch's names."""

from pyconv.optim import lr_scheduler
from pyconv.optim.averaging import AveragedModel, ExponentialMovingAverage, update_bn
from pyconv.optim.gradient_descent import SGD, Adam, AdamW, RMSprop
from pyconv.optim.lbfgs import LBFGS
from pyconv.optim.optimizer import Optimizer

__all__ = [
    "Adam",
    "AdamW",
    "AveragedModel",
    "ExponentialMovingAverage",
    "LBFGS",
    "Optimizer",
    "RMSprop",
    "SGD",
    "lr_scheduler",
    "update_bn",
]
