"""Every function of `pyconv.kernels` in plain NumPy: the definition of what is right.

Same names, same signatures, for any float type of NumPy; one file for each family, to be read
beside its formula. Nothing here is shared with the kernels, and nothing here is fast. Arguments
are trusted: the kernels check theirs. `algorithm` is accepted and ignored. What is about how a
kernel runs is not here: ``pack_weight``, ``algorithms`` and ``explain``. In return there is
`conv2d_matrix`, the convolution as a dense matrix, and `conv2d_matrix_backward`.

Examples
--------
>>> import numpy as np
>>> from pyconv import reference
>>> reference.conv2d(np.ones((1, 3, 8, 8)), np.ones((16, 3, 3, 3)), padding="same").shape
(1, 16, 8, 8)
"""

from .activation import (
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    relu,
    relu6,
    relu6_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from .convolution import (
    conv2d,
    conv2d_backward_bias,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv_transpose2d,
    conv_transpose2d_backward_input,
    conv_transpose2d_backward_weight,
    depthwise_separable_conv2d,
    depthwise_separable_conv2d_backward,
)
from .convolution_matrix import (
    conv2d_matrix,
    conv2d_matrix_backward,
)
from .dense import (
    gemm,
    linear,
    linear_backward,
)
from .dropout import (
    dropout,
    dropout_backward,
)
from .loss import (
    cross_entropy,
    cross_entropy_backward,
)
from .normalization import (
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_training,
    instance_norm,
    instance_norm_backward,
)
from .one_dimensional import (
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_backward,
    avg_pool1d,
    avg_pool1d_backward,
    conv1d,
    conv1d_backward_bias,
    conv1d_backward_input,
    conv1d_backward_weight,
    conv_transpose1d,
    conv_transpose1d_backward_input,
    conv_transpose1d_backward_weight,
    max_pool1d,
    max_pool1d_backward,
)
from .optimizer import (
    adam_step,
    grad_norm,
    sgd_step,
)
from .pooling import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from .resample import (
    pad2d,
    pad2d_backward,
    upsample2d,
    upsample2d_backward,
)

__all__ = [
    "adam_step",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm_backward",
    "batch_norm_inference",
    "batch_norm_training",
    "conv1d",
    "conv1d_backward_bias",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_matrix",
    "conv2d_matrix_backward",
    "conv_transpose1d",
    "conv_transpose1d_backward_input",
    "conv_transpose1d_backward_weight",
    "conv_transpose2d",
    "conv_transpose2d_backward_input",
    "conv_transpose2d_backward_weight",
    "cross_entropy",
    "cross_entropy_backward",
    "depthwise_separable_conv2d",
    "depthwise_separable_conv2d_backward",
    "dropout",
    "dropout_backward",
    "gelu",
    "gelu_backward",
    "gemm",
    "grad_norm",
    "instance_norm",
    "instance_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "pad2d",
    "pad2d_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "sgd_step",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
    "upsample2d",
    "upsample2d_backward",
]
