"""Layers and models; names, arguments and the names in their state are PyTorch's."""

from pyconv.nn import init, utils
from pyconv.nn.activation import (
    GELU,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from pyconv.nn.containers import ModuleList, Residual, Sequential
from pyconv.nn.convolution import (
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    DepthwiseSeparableConv2d,
)
from pyconv.nn.dense import Flatten, Linear, Unflatten
from pyconv.nn.dropout import Dropout
from pyconv.nn.features import Ensemble, features
from pyconv.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
)
from pyconv.nn.module import Module
from pyconv.nn.normalization import BatchNorm1d, BatchNorm2d, InstanceNorm2d
from pyconv.nn.parameter import Parameter
from pyconv.nn.pooling import AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d
from pyconv.nn.resample import ReflectionPad2d, Upsample, ZeroPad2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "DepthwiseSeparableConv2d",
    "Dropout",
    "Ensemble",
    "Flatten",
    "GELU",
    "Identity",
    "InstanceNorm2d",
    "L1Loss",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "ReLU6",
    "ReflectionPad2d",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Unflatten",
    "Upsample",
    "ZeroPad2d",
    "features",
    "init",
    "utils",
]
