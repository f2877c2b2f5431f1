"""A convolution as an ONNX model of one node."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pyconv.bench import Convolution, operands


def model(problem: Convolution) -> tuple[bytes, np.ndarray]:
    """The serialised model, with the weight in it, and the input."""
    x, weight = operands(problem, "forward")
    attributes = {
        "kernel_shape": problem.kernel,
        "strides": problem.stride,
        "pads": problem.padding * 2,
        "dilations": problem.dilation,
        "group": problem.groups,
    }
    if problem.transposed:
        attributes["output_padding"] = (problem.output_padding,) * 2
    kind = "ConvTranspose" if problem.transposed else "Conv"
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "weight"], ["y"], **attributes)],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, problem.output_shape())],
        [numpy_helper.from_array(np.ascontiguousarray(weight), "weight")],
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    found.ir_version = 8
    return found.SerializeToString(), x
