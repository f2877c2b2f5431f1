"""ONNX: operators against two other programs, networks there and back, what is refused."""

from __future__ import annotations

import contextlib
import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradients import check_gradients
from large import LARGE, with_large
from tolerances import EPS

import pyconv
from pyconv import functional as F  # noqa: N812
from pyconv import models, nn, optim
from pyconv.autograd import Tensor

onnx = pytest.importorskip("onnx", reason='needs onnx: pip install "pyconv[onnx]"')
helper, numpy_helper = onnx.helper, onnx.numpy_helper
from onnx.reference import ReferenceEvaluator  # noqa: E402

# Sums of some dozens of numbers around 1, in float32, in another order: c eps n with n <= 64.
TOLERANCE = 4 * EPS[np.dtype(np.float32)] * 64


def graph(
    nodes: list[Any], inputs: dict[str, tuple], constants: dict[str, np.ndarray] | None = None,
    opset: int = 18, outputs: tuple[str, ...] = ("y",), dtype: Any = np.float32,
) -> Any:  # fmt: skip
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_model(
        helper.make_graph(
            nodes, "test",
            [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, kind, None) for name in outputs],
            [numpy_helper.from_array(a, name) for name, a in (constants or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )  # fmt: skip


def one(
    operator: str, shape: tuple, constants: tuple = (), opset: int = 18, outputs: int = 1,
    name: str = "node", **attributes: Any,
) -> Any:  # fmt: skip
    """A graph of one node, with constants behind its input; None leaves one out."""
    named = {f"c{i}": a for i, a in enumerate(constants) if a is not None}
    inputs = ["x"] + [f"c{i}" if a is not None else "" for i, a in enumerate(constants)]
    made = ["y", *(f"y{i}" for i in range(1, outputs))]
    node = helper.make_node(operator, inputs, made, name, **attributes)
    return graph([node], {"x": shape}, named, opset, tuple(made))


def runtime(model: Any) -> Any:
    """A session of onnxruntime; skips without it."""
    ort = pytest.importorskip(
        "onnxruntime", reason='needs onnxruntime: pip install "pyconv[bench]"'
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    content = model if isinstance(model, (str, bytes)) else model.SerializeToString()
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def same(found: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    found = np.asarray(found)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, tolerance, tolerance)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def some(*shape: int) -> np.ndarray:
    """Weights: the same for the same shape."""
    return np.random.default_rng(list(shape)).uniform(-1, 1, shape).astype(np.float32)


IMAGE, SEQUENCE, ROWS = (2, 4, 6, 5), (2, 4, 7), (3, 4)
POSITIVE = ("Log", "Sqrt", "Pow")

CASES: dict[str, Any] = {
    "Conv": one("Conv", IMAGE, (some(6, 4, 3, 2), some(6)), pads=[1, 0, 2, 1], strides=[2, 1]),
    "Conv without attributes": one("Conv", IMAGE, (some(6, 4, 3, 3),)),
    "Conv grouped": one("Conv", IMAGE, (some(6, 2, 3, 3),), group=2, dilations=[1, 2]),
    "Conv depthwise": one("Conv", IMAGE, (some(4, 1, 3, 3), some(4)), group=4, pads=[1] * 4),
    "Conv 1-D": one("Conv", SEQUENCE, (some(6, 4, 3), some(6)), pads=[2, 1], strides=[2]),
    "Conv same": one("Conv", IMAGE, (some(6, 4, 3, 2),), auto_pad="SAME_UPPER", strides=[2, 2]),
    "Conv same lower": one("Conv", IMAGE, (some(6, 4, 4, 3),), auto_pad="SAME_LOWER"),
    "Conv valid": one("Conv", IMAGE, (some(6, 4, 3, 2),), auto_pad="VALID", kernel_shape=[3, 2]),
    "Conv, opset 9": one("Conv", IMAGE, (some(6, 4, 3, 2),), 9, pads=[1, 1, 1, 1]),
    "ConvTranspose": one("ConvTranspose", IMAGE, (some(4, 3, 3, 2), some(3)), strides=[2, 2],
                         pads=[1, 0, 0, 1], output_padding=[1, 0]),
    "ConvTranspose grouped": one("ConvTranspose", IMAGE, (some(4, 3, 2, 2),), group=2,
                                 dilations=[2, 1]),
    "ConvTranspose 1-D": one("ConvTranspose", SEQUENCE, (some(4, 3, 3),), strides=[3]),
    "Gemm": one("Gemm", ROWS, (some(4, 5), some(5))),
    "Gemm turned": one("Gemm", ROWS, (some(5, 4), some(5)), transB=1),
    "Gemm without C": one("Gemm", ROWS, (some(5, 4),), transB=1),
    "Gemm scaled": one("Gemm", (4, 3), (some(5, 4), some(3, 5)), transA=1, transB=1, alpha=0.5,
                       beta=2.0),
    "Gemm with one number": one("Gemm", ROWS, (some(4, 5), some(1))),
    "MatMul": one("MatMul", (2, 3, 4), (some(4, 5),)),
    "MatMul of stacks": one("MatMul", (2, 3, 4), (some(2, 4, 5),)),
    "BatchNormalization": one("BatchNormalization", IMAGE,
                              (some(4), some(4), some(4), abs(some(4)) + 0.1), epsilon=1e-3),
    "BatchNormalization of rows": one("BatchNormalization", ROWS,
                                      (some(4), some(4), some(4), abs(some(4)) + 0.1), 9),
    "BatchNormalization of sequences": one("BatchNormalization", SEQUENCE,
                                           (some(4), some(4), some(4), abs(some(4)) + 0.1)),
    "InstanceNormalization": one("InstanceNormalization", IMAGE, (some(4), some(4)), epsilon=1e-2),
    "LayerNormalization": one("LayerNormalization", IMAGE, (some(5), some(5)), epsilon=1e-3),
    "LayerNormalization of several": one("LayerNormalization", IMAGE, (some(4, 6, 5),), axis=1),
    "LRN": one("LRN", IMAGE, size=3, alpha=0.5, beta=0.6, bias=1.5),
    "MaxPool": one("MaxPool", IMAGE, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    "MaxPool without strides": one("MaxPool", IMAGE, kernel_shape=[2, 2]),
    "MaxPool ceil": one("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "MaxPool dilated": one("MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 2]),
    "MaxPool 1-D": one("MaxPool", SEQUENCE, kernel_shape=[3], strides=[2]),
    "MaxPool same": one("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2],
                        auto_pad="SAME_UPPER"),
    "AveragePool": one("AveragePool", IMAGE, kernel_shape=[3, 2], pads=[1, 0, 1, 1]),
    "AveragePool counted": one("AveragePool", IMAGE, kernel_shape=[3, 2], pads=[1, 0, 1, 1],
                               count_include_pad=1, strides=[2, 2]),
    "AveragePool ceil": one("AveragePool", IMAGE, kernel_shape=[2, 2], strides=[2, 2],
                            ceil_mode=1),
    "AveragePool 1-D": one("AveragePool", SEQUENCE, kernel_shape=[2], strides=[2]),
    "GlobalAveragePool": one("GlobalAveragePool", IMAGE),
    "GlobalAveragePool 1-D": one("GlobalAveragePool", SEQUENCE),
    "GlobalMaxPool": one("GlobalMaxPool", IMAGE),
    "LeakyRelu": one("LeakyRelu", ROWS, alpha=0.2),
    "PRelu": one("PRelu", IMAGE, (some(4, 1, 1),)),
    "Elu": one("Elu", ROWS, alpha=0.7),
    "Selu": one("Selu", ROWS),
    "Gelu": one("Gelu", ROWS, opset=20),
    "Gelu tanh": one("Gelu", ROWS, opset=20, approximate="tanh"),
    "HardSigmoid": one("HardSigmoid", ROWS, alpha=0.3),
    "Softmax": one("Softmax", IMAGE, axis=1),
    "Softmax, opset 11": one("Softmax", (2, 3, 4), opset=11),
    "LogSoftmax": one("LogSoftmax", ROWS),
    "Clip": one("Clip", ROWS, (floats(-0.3).reshape(()), floats(0.4).reshape(()))),
    "Clip below": one("Clip", ROWS, (None, floats(0.4).reshape(()))),
    "Clip to 6": one("Clip", ROWS, (floats(0).reshape(()), floats(6).reshape(()))),
    "Clip, opset 9": one("Clip", ROWS, opset=9, min=-0.2, max=0.3),
    "Add": one("Add", IMAGE, (some(4, 1, 1),)),
    "Sub": one("Sub", IMAGE, (some(5),)),
    "Mul": one("Mul", IMAGE, (some(1, 4, 1, 1),)),
    "Div": one("Div", ROWS, (floats(2.5).reshape(()),)),
    "Pow": one("Pow", ROWS, (floats(1.5).reshape(()),)),
    "Pow of each": one("Pow", ROWS, (abs(some(4)),)),
    "Max": one("Max", ROWS, (some(4), some(3, 1))),
    "Min": one("Min", ROWS, (some(4),)),
    "Sum": one("Sum", ROWS, (some(3, 4), some(4))),
    "Mean": one("Mean", ROWS, (some(3, 4),)),
    "Where": graph([helper.make_node("Where", ["c", "x", "d"], ["y"])], {"x": ROWS},
                   {"c": some(3, 4) > 0, "d": some(4)}),
    "Concat": graph([helper.make_node("Concat", ["x", "c", "x"], ["y"], axis=-1)], {"x": ROWS},
                    {"c": some(3, 2)}),
    "Split": one("Split", IMAGE, (ints(1, 3),), axis=1, outputs=2),
    "Split, opset 11": one("Split", IMAGE, opset=11, axis=1, split=[3, 1], outputs=2),
    "Split evenly": one("Split", IMAGE, axis=3, num_outputs=2, outputs=2),
    "Pad": one("Pad", IMAGE, (ints(0, 1, 2, 0, 0, 0, 1, 3), floats(1.5).reshape(()))),
    "Pad reflect": one("Pad", IMAGE, (ints(0, 0, 2, 1, 0, 0, 1, 3),), mode="reflect"),
    "Pad edge": one("Pad", IMAGE, (ints(0, 0, 2, 1, 0, 0, 1, 3),), mode="edge"),
    "Pad of axes": one("Pad", IMAGE, (ints(1, 2), None, ints(-1))),
    "Pad, opset 9": one("Pad", IMAGE, opset=9, pads=[0, 0, 2, 1, 0, 0, 1, 3], value=0.5),
    "Pad cuts off": one("Pad", IMAGE, (ints(0, 0, -1, 1, 0, 0, 1, -2),)),
    "Resize": one("Resize", IMAGE, (None, floats(1, 1, 2, 3)), mode="nearest"),
    "Resize to sizes": one("Resize", IMAGE, (None, None, ints(2, 4, 9, 7)), mode="linear"),
    "Resize of axes": one("Resize", IMAGE, (None, floats(1.5, 2)), mode="linear", axes=[2, 3]),
    "Resize corners": one("Resize", IMAGE, (None, None, ints(2, 4, 9, 7)), mode="linear",
                          coordinate_transformation_mode="align_corners"),
    "Resize down": one("Resize", IMAGE, (None, floats(1, 1, 0.5, 0.6)), mode="linear"),
    "Resize, opset 11": one("Resize", IMAGE, (floats(), floats(1, 1, 2, 2)), 11, mode="linear"),
    "Resize, opset 10": one("Resize", IMAGE, (floats(1, 1, 2.5, 2),), 10, mode="nearest"),
    "Upsample, opset 9": one("Upsample", IMAGE, (floats(1, 1, 2, 3),), 9, mode="nearest"),
    "Flatten": one("Flatten", IMAGE), "Flatten 2": one("Flatten", IMAGE, axis=2),
    "Flatten 0": one("Flatten", IMAGE, axis=0),
    "Flatten from the end": one("Flatten", IMAGE, axis=-1),
    "Reshape": one("Reshape", IMAGE, (ints(0, -1, 5),)),
    "Transpose": one("Transpose", IMAGE, perm=[0, 2, 3, 1]),
    "Transpose all": one("Transpose", ROWS),
    "Squeeze": one("Squeeze", (2, 1, 3, 1), (ints(1, -1),)),
    "Squeeze all": one("Squeeze", (2, 1, 3, 1)),
    "Squeeze, opset 11": one("Squeeze", (2, 1, 3, 1), opset=11, axes=[3]),
    "Unsqueeze": one("Unsqueeze", ROWS, (ints(0, -1),)),
    "Unsqueeze, opset 11": one("Unsqueeze", ROWS, opset=11, axes=[1, 3]),
    "Slice": one("Slice", IMAGE, (ints(1, -1), ints(100, -5), ints(1, 2), ints(2, -1))),
    "Slice, opset 9": one("Slice", IMAGE, opset=9, starts=[0, 1], ends=[2, -1], axes=[1, 3]),
    "Gather": one("Gather", IMAGE, (np.array([[2, -1], [0, 0]]),), axis=1),
    "Gather one": one("Gather", IMAGE, (np.array(2),), axis=3),
    "Expand": one("Expand", (3, 1), (ints(2, 1, 4),)),
    "Cast": one("Cast", ROWS, to=1),
    "DepthToSpace": one("DepthToSpace", IMAGE, blocksize=2),
    "DepthToSpace CRD": one("DepthToSpace", IMAGE, blocksize=2, mode="CRD"),
    "ReduceMean": one("ReduceMean", IMAGE, (ints(2, 3),)),
    "ReduceMean, opset 13": one("ReduceMean", IMAGE, opset=13, axes=[-1, 1], keepdims=0),
    "ReduceSum": one("ReduceSum", IMAGE, (ints(1),), keepdims=0),
    "ReduceSum of nothing": one("ReduceSum", ROWS, noop_with_empty_axes=1),
    "ReduceSum of all": one("ReduceSum", ROWS, keepdims=0),
    "ReduceMax": one("ReduceMax", IMAGE, (ints(2, 3),)),
    "ReduceMin": one("ReduceMin", IMAGE, opset=13, axes=[1], keepdims=0),
    "Dropout": one("Dropout", ROWS, (floats(0.3).reshape(()),)),
    "Dropout, opset 9": one("Dropout", ROWS, opset=9, ratio=0.3),
    **{name: one(name, IMAGE) for name in
       ("Relu", "Sigmoid", "Tanh", "Identity", "Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal",
        "Erf", "Floor", "Ceil", "Round", "HardSwish", "Softplus", "Softsign", "Mish")},
}  # fmt: skip
for _coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
    for _rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        CASES[f"Resize {_coordinates} {_rounding}"] = one(
            "Resize", IMAGE, (None, None, ints(2, 4, 9, 3)), mode="nearest",
            coordinate_transformation_mode=_coordinates, nearest_mode=_rounding,
        )  # fmt: skip
        CASES[f"Resize halfway {_rounding}"] = one(
            "Resize", IMAGE, (None, floats(1, 1, 2, 2)), mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode=_rounding,
        )  # fmt: skip

# What the evaluator that comes with onnx gets wrong, or doesn't know; onnxruntime judges.
NOT_BY_REFERENCE = {
    "Conv same", "MaxPool ceil", "MaxPool same", "Softmax, opset 11", "Resize, opset 10",
    "Upsample, opset 9", "Clip, opset 9", "Slice, opset 9", "Pad, opset 9", "LRN", "Pad cuts off",
    "ConvTranspose grouped", "BatchNormalization of rows",
}  # fmt: skip


def values_for(model: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
    low = 0.1 if model.graph.node[0].op_type in POSITIVE else -1.0
    found = {}
    for value in model.graph.input:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        found[value.name] = rng.uniform(low, 1, shape).astype(np.float32)
    return found


def outputs_of(net: Any, values: dict[str, np.ndarray]) -> list[np.ndarray]:
    y = net(*values.values())
    return [np.asarray(t) for t in (y if isinstance(y, tuple) else (y,))]


@pytest.mark.parametrize("case", sorted(set(CASES) - NOT_BY_REFERENCE))
def test_operators_by_the_reference(case: str, rng: np.random.Generator) -> None:
    model = CASES[case]
    values = values_for(model, rng)
    expected = ReferenceEvaluator(model).run(None, values)
    found = outputs_of(pyconv.load_onnx(model.SerializeToString()), values)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        same(a, np.asarray(b))


@pytest.mark.parametrize("case", sorted(CASES))
def test_operators_by_onnxruntime(case: str, rng: np.random.Generator) -> None:
    model = CASES[case]
    values = values_for(model, rng)
    expected = runtime(model).run(None, values)
    found = outputs_of(pyconv.load_onnx(model.SerializeToString()), values)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        same(a, b)


# -- graphs ---------------------------------------------------------------------------------------


def small(dtype: Any = np.float32, opset: int = 18) -> Any:
    """Two branches, a residual, and a shape that is computed from the input's."""
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["1"], "a", pads=[1] * 4),
        helper.make_node(
            "BatchNormalization", ["1", "scale", "shift", "mean", "var"], ["2"], "b.norm"
        ),
        helper.make_node("Relu", ["2"], ["3"], "b.relu"),
        helper.make_node("MaxPool", ["3"], ["4"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["4"], ["5"]),
        helper.make_node("Mul", ["4", "factors"], ["6"], "scaled"),
        helper.make_node("Add", ["6", "5"], ["7"], "sum"),
        helper.make_node("Shape", ["7"], ["8"]),
        helper.make_node("Constant", [], ["9"], value=numpy_helper.from_array(np.array(0))),
        helper.make_node("Gather", ["8", "9"], ["10"], axis=0),
        helper.make_node("Constant", [], ["11"], value=numpy_helper.from_array(ints(0))),
        helper.make_node("Unsqueeze", ["10", "11"], ["12"]),
        helper.make_node("Constant", [], ["13"], value_ints=[-1]),
        helper.make_node("Concat", ["12", "13"], ["14"], axis=0),
        helper.make_node("Reshape", ["7", "14"], ["15"]),
        helper.make_node("Gemm", ["15", "fc.weight", "fc.bias"], ["y"], "fc", transB=1),
    ]
    constants = {
        "a.weight": some(4, 3, 3, 3), "a.bias": some(4), "scale": some(4) + 2, "shift": some(4),
        "mean": some(4) / 2, "var": abs(some(4)) + 0.5, "factors": some(1, 4, 1, 1),
        "fc.weight": some(5, 16), "fc.bias": some(5),
    }  # fmt: skip
    constants = {name: a.astype(dtype) for name, a in constants.items()}
    return graph(nodes, {"x": ("N", 3, 4, 4)}, constants, opset, dtype=dtype)


def test_a_graph_runs(rng: np.random.Generator) -> None:
    model = small()
    net = pyconv.load_onnx(model.SerializeToString())
    assert not net.training and net.input_names == ("x",) and net.output_names == ("y",)
    for n in (1, 3):
        x = rng.uniform(-1, 1, (n, 3, 4, 4)).astype(np.float32)
        expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
        same(net(x), expected)
        same(net(Tensor(x, requires_grad=True)).detach(), expected)  # nothing is folded there
        same(copy.deepcopy(net)(x), expected)
    assert net(np.zeros((0, 3, 4, 4), np.float32)).shape == (0, 5)


def test_paths_and_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    content = small().SerializeToString()
    (tmp_path / "a.onnx").write_bytes(content)
    x = rng.uniform(-1, 1, (1, 3, 4, 4)).astype(np.float32)
    y = pyconv.load_onnx(content)(x).numpy()
    assert np.array_equal(pyconv.load_onnx(tmp_path / "a.onnx")(x).numpy(), y)
    assert np.array_equal(pyconv.load_onnx(str(tmp_path / "a.onnx"))(x).numpy(), y)


def test_names_of_parameters_and_layers(rng: np.random.Generator) -> None:
    net = pyconv.load_onnx(small().SerializeToString())
    assert {name: p.shape for name, p in net.named_parameters()} == {
        "factors": (1, 4, 1, 1), "a.weight": (4, 3, 3, 3), "a.bias": (4,), "b.norm.weight": (4,),
        "b.norm.bias": (4,), "fc.weight": (5, 16), "fc.bias": (5,),
    }  # fmt: skip
    assert np.array_equal(net.state_dict()["b.norm.running_mean"], some(4) / 2)
    x = rng.uniform(-1, 1, (2, 3, 4, 4)).astype(np.float32)
    found = pyconv.features(net, x, ["b.relu", "sum", "a"])
    assert [y.shape for y in found.values()] == [(2, 4, 4, 4), (2, 4, 2, 2), (2, 4, 4, 4)]
    convolved = F.conv2d(x, some(4, 3, 3, 3), some(4), padding=1)
    assert np.allclose(found["a"].numpy(), convolved.numpy(), atol=1e-6)
    assert (found["b.relu"].numpy() >= 0).all()


def test_gradients_reach_the_input_and_the_parameters() -> None:
    net = pyconv.load_onnx(small(np.float64).SerializeToString())
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4, 4))
    check_gradients(lambda t: F.tanh(net(t)), x, second=False)
    net(x).sum().backward()
    assert all(p.grad is not None and p.grad.data.any() for p in net.parameters())


def test_a_graph_trains_further(rng: np.random.Generator) -> None:
    net = pyconv.load_onnx(small().SerializeToString()).train()
    before = {name: a.copy() for name, a in net.state_dict().items()}
    x = rng.uniform(-1, 1, (16, 3, 4, 4)).astype(np.float32)
    target = rng.integers(0, 5, 16)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert all(not np.array_equal(a, before[name]) for name, a in net.state_dict().items())


def test_momentum_is_the_share_of_the_old_statistics(tmp_path: Path) -> None:
    numbers = (np.ones(4, np.float32),) * 4
    net = pyconv.load_onnx(
        one("BatchNormalization", ROWS, numbers, momentum=0.75).SerializeToString()
    )
    x = np.full((3, 4), 5, np.float32)
    net.train()(x)
    assert net.state_dict()["node.running_mean"].tolist() == [0.75 * 1 + 0.25 * 5] * 4
    pyconv.save_onnx(net, tmp_path / "a", x)
    assert next(m for m in pyconv.load_onnx(tmp_path / "a").modules()
                if isinstance(m, nn.BatchNorm2d)).momentum == 0.25  # fmt: skip


def test_a_summary_of_a_graph() -> None:
    table = pyconv.summary(pyconv.load_onnx(small().SerializeToString()), (1, 3, 4, 4))
    assert [row.kind for row in table.layers][-3:] == ["Add", "Reshape", "Linear"]
    assert table.parameters == 4 * 27 + 4 + 2 * 4 + 4 + 5 * 16 + 5
    assert table.multiply_adds == 4 * 27 * 16 + 5 * 16


def test_dropout_drops_in_training() -> None:
    net = pyconv.load_onnx(one("Dropout", (8, 100)).SerializeToString())
    x = np.ones((8, 100), np.float32)
    assert (net(x).numpy() == 1).all() and (net.train()(x).numpy() == 0).any()


def test_several_inputs_and_outputs(rng: np.random.Generator) -> None:
    nodes = [
        helper.make_node("Sub", ["a", "b"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
        helper.make_node("Neg", ["d"], ["z"]),
    ]
    model = graph(nodes, {"a": (2, 3), "b": (2, 3)}, outputs=("y", "z", "d"))
    net = pyconv.load_onnx(model.SerializeToString())
    a, b = rng.standard_normal((2, 2, 3)).astype(np.float32)
    expected = ReferenceEvaluator(model).run(None, {"a": a, "b": b})
    for found, wanted in zip(net(a, b), expected, strict=True):
        assert np.array_equal(found.numpy(), wanted)
    with pytest.raises(ValueError, match=r"Graph: expected 2 inputs \(a, b\), got 1"):
        net(a)
    with pytest.raises(ValueError, match="Graph: b must have shape 2×3, got .3, 2."):
        net(a, b.T)


def test_names_that_modules_have_already() -> None:
    """Names of nodes with dots, as other programs write them, and names that a Module uses."""
    titles = ["/f/f.0/Relu", "/f/f.0/Relu.1", "forward", "training", "x..y", ".", "a", "a.b", "",
              "a", "input_names", "a.b.c"]  # fmt: skip
    nodes, last = [], "x"
    for i, title in enumerate(titles):
        value = "y" if i + 1 == len(titles) else f"v{i}"
        nodes.append(helper.make_node("Relu", [last], [value], title))
        last = value
    net = pyconv.load_onnx(graph(nodes, {"x": (2, 3)}).SerializeToString())
    x = np.array([[1, -1, 0], [2, -2, 3]], np.float32)
    assert np.array_equal(net(x).numpy(), np.maximum(x, 0))
    names = [name for name, m in net.named_modules() if isinstance(m, nn.ReLU)]
    assert len(set(names)) == len(titles) and "/f/f.0/Relu" in names
    assert not any(list(net.get_submodule(name).children()) for name in names)
    assert list(pyconv.features(net, x, ["/f/f.0/Relu"])) == ["/f/f.0/Relu"]


def test_equal_initializers_that_are_written_once(rng: np.random.Generator) -> None:
    nodes = [
        helper.make_node("Identity", ["b"], ["c"], "same"),
        helper.make_node("Conv", ["x", "w", "b"], ["1"], "first"),
        helper.make_node("Conv", ["1", "w", "c"], ["2"], "second"),
        helper.make_node("Add", ["2", "c"], ["y"], "sum"),
    ]
    model = graph(nodes, {"x": (2, 4, 3, 3)}, {"w": some(4, 4, 1, 1), "b": some(4)})
    model.graph.node[3].input[1] = "d"
    model.graph.initializer.append(numpy_helper.from_array(some(4, 1, 1), "e"))
    model.graph.node.insert(0, helper.make_node("Identity", ["e"], ["d"]))
    net = pyconv.load_onnx(model.SerializeToString())
    x = rng.standard_normal((2, 4, 3, 3)).astype(np.float32)
    same(net(x), ReferenceEvaluator(model).run(None, {"x": x})[0])
    assert {name for name, _ in net.named_parameters()} == {
        "d", "first.weight", "first.bias", "second.weight", "second.bias",
    }  # fmt: skip


def test_a_node_and_its_initializer_of_one_name() -> None:
    node = helper.make_node("Add", ["x", "b"], ["y"], "b")
    net = pyconv.load_onnx(graph([node], {"x": ROWS}, {"b": some(4)}).SerializeToString())
    assert [name for name, _ in net.named_parameters()] == ["b_"]
    assert list(pyconv.features(net, some(*ROWS), ["b"])) == ["b"]


# -- what is refused ------------------------------------------------------------------------------


def broken(change: Any) -> bytes:
    model = small()
    change(model.graph)
    return model.SerializeToString()


def weight_of(g: Any, name: str) -> Any:
    return next(t for t in g.initializer if t.name == name)


def replace(g: Any, name: str, array: np.ndarray) -> None:
    weight_of(g, name).CopyFrom(numpy_helper.from_array(array, name))


REFUSED: list[tuple[Any, str]] = [
    (lambda g: weight_of(g, "a.weight").dims.__setitem__(0, 2**40),
     r"initializer 'a.weight' of shape .* is damaged"),
    (lambda g: weight_of(g, "a.weight").ClearField("raw_data"), "of shape .* is damaged"),
    (lambda g: replace(g, "a.weight", some(4, 3, 3, 3) * np.float32(np.nan)),
     r"node 'a' \(Conv\): initializer 'a.weight' has 108 values that are not finite"),
    (lambda g: replace(g, "factors", some(1, 4, 1, 1) * np.float32(np.inf)), "has 4 values"),
    (lambda g: replace(g, "a.bias", some(5)), r"node 'a' \(Conv\): bias must have shape \(4,\)"),
    (lambda g: replace(g, "a.weight", some(4, 3)), "input 1 must have 3 or 4 axes, got shape"),
    (lambda g: replace(g, "a.weight", some(4, 3, 3, 3).astype(np.float16)), "has type float16"),
    (lambda g: replace(g, "a.weight", ints(3)), "input 1 must be float32 or float64, got int64"),
    (lambda g: g.initializer.remove(weight_of(g, "a.bias")),
     "its input 'a.bias' is neither an initializer nor computed before"),
    (lambda g: g.node[0].input.__setitem__(0, "4"), "its input '4' is neither"),
    (lambda g: g.node[2].output.__setitem__(0, "x"), "its output 'x' exists already"),
    (lambda g: setattr(g.node[2], "op_type", "NonZero"),
     "node 'b.relu': operator NonZero is not supported"),
    (lambda g: setattr(g.node[2], "domain", "com.example"), "operator com.example.Relu is not"),
    (lambda g: g.node[2].attribute.append(helper.make_attribute("speed", 3)),
     r"node 'b.relu' \(Relu\): attribute 'speed' is not supported"),
    (lambda g: g.node[0].attribute.append(helper.make_attribute("auto_pad", "MOST")),
     r"auto_pad 'MOST' is not supported"),
    (lambda g: g.node[0].attribute.append(helper.make_attribute("group", 3)),
     "groups must divide in_channels and out_channels"),
    (lambda g: g.node[0].attribute[0].ints.append(3), "pads must have 4 entries"),
    (lambda g: g.node[3].attribute[0].ints.append(3), "only 1-D and 2-D windows are supported"),
    (lambda g: g.node[3].attribute.pop(0), "attribute 'kernel_shape' is mis"),
    (lambda g: g.node[3].attribute[0].__setattr__("type", 1), "attribute 'kernel_shape' has a wr"),
    (lambda g: g.node[2].input.pop(), r"node 'b.relu' \(Relu\): expected 1 to 1 inputs, got 0"),
    (lambda g: g.node[2].input.__setitem__(0, ""), "one of its first 1 inputs is left out"),
    (lambda g: g.node[2].output.append("more"), "expected 1 to 1 outputs, got 2"),
    (lambda g: setattr(g.node[2], "op_type", "Gelu"), "there is no such operator in opset 18"),
    (lambda g: g.output[0].__setattr__("name", ""), "no node computes the output ''"),
    (lambda g: g.output[0].__setattr__("name", "z"), "no node computes the output 'z'"),
    (lambda g: g.ClearField("output"), "it has no graph"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "match"), REFUSED)
def test_broken_graphs_are_refused(change: Any, match: str) -> None:
    with pytest.raises(ValueError, match=f"load_onnx: .*{match}"):
        pyconv.load_onnx(broken(change))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (one("Conv", (1, 1, 3, 3, 3), (some(1, 1, 2, 2, 2),)), "must have 3 or 4 axes"),
        (one("Conv", IMAGE, (some(6, 4, 3, 2),), auto_pad="SAME_LOWER", strides=[2, 2]),
         "auto_pad SAME_LOWER is supported for strides of 1 only"),
        (one("ConvTranspose", IMAGE, (some(4, 3, 3, 2),), output_shape=[12, 10]),
         "attribute 'output_shape' is not supported"),
        (one("MaxPool", IMAGE, kernel_shape=[3, 3], outputs=2), "its output 'y1' is not supported"),
        (one("AveragePool", IMAGE, opset=19, kernel_shape=[2, 2], dilations=[2, 2]), "dilations"),
        (one("BatchNormalization", IMAGE, (some(4),) * 4, training_mode=1), "training mode"),
        (one("Dropout", ROWS, (floats(0.5).reshape(()), np.array(True))), "training mode"),
        (one("Resize", IMAGE, (None, floats(1, 1, 2, 2)), mode="cubic"), "mode 'cubic'"),
        (one("Resize", IMAGE, (None, floats(1, 1, 2, 2)), mode="linear", antialias=1), "antialias"),
        (one("Resize", IMAGE, (None, floats(1, 1, 2, 2)), mode="linear",
             coordinate_transformation_mode="asymmetric"), "coordinates 'asymmetric'"),
        (one("Upsample", IMAGE, (floats(1, 1, 2, 2),), 9, mode="linear"), "'asymmetric'"),
        (one("Resize", IMAGE, (None, floats(1, 1, 2, 2)),
             coordinate_transformation_mode="tf_crop_and_resize"), "'tf_crop_and_resize'"),
        (one("Pad", IMAGE, (ints(0, 0),), mode="odd"), "mode 'odd' is not supported"),
        (one("Cast", ROWS, to=10), "casts to float16 are not supported"),
        (one("Relu", ROWS, opset=8), "opset must be 9 or later, got 8"),
        (one("If", ROWS, then_branch=helper.make_graph([], "a", [], [])), "operator If is not"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(model: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        pyconv.load_onnx(model.SerializeToString())


def test_outputs_that_nobody_uses_are_left_out() -> None:
    node = helper.make_node("Dropout", ["x"], ["y", "mask"])
    net = pyconv.load_onnx(graph([node], {"x": ROWS}).SerializeToString())
    assert net(some(*ROWS)).shape == ROWS


def test_data_in_other_files_are_refused(tmp_path: Path) -> None:
    def change(g: Any) -> None:
        t = weight_of(g, "a.weight")
        t.data_location = onnx.TensorProto.EXTERNAL
        t.external_data.add(key="location", value="../secret")

    (tmp_path / "a.onnx").write_bytes(broken(change))
    with pytest.raises(ValueError, match="'a.weight' lies in another file, which is not supported"):
        pyconv.load_onnx(tmp_path / "a.onnx")


def test_what_would_be_too_large_is_refused() -> None:
    shape = helper.make_node("Constant", [], ["s"], value_ints=[2**20, 2**20])
    for operator, inputs in (("ConstantOfShape", ["s"]), ("Expand", ["x", "s"])):
        model = graph([shape, helper.make_node(operator, inputs, ["y"])], {"x": (1, 1)})
        with pytest.raises(ValueError, match="too large"):
            pyconv.load_onnx(model.SerializeToString())(np.ones((1, 1), np.float32))


def test_cut_and_changed_files(rng: np.random.Generator) -> None:
    content = small().SerializeToString()
    x = np.zeros((1, 3, 4, 4), np.float32)
    for i in range(0, len(content), 7):
        changed = bytearray(content)
        changed[i] ^= 1 << rng.integers(8)
        for damaged in (content[:i], bytes(changed)):
            with contextlib.suppress(ValueError):  # or it is harmless; no other error
                pyconv.load_onnx(damaged)(x)


def test_other_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="path_or_bytes must be a path or bytes, got int"):
        pyconv.load_onnx(3)
    with pytest.raises(FileNotFoundError):
        pyconv.load_onnx(tmp_path / "nowhere")
    for content in (b"", b"text", b"\xff" * 100):
        with pytest.raises(ValueError, match="is no readable ONNX file"):
            pyconv.load_onnx(content)


# -- written --------------------------------------------------------------------------------------

NETS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "mlp": ({"in_features": 12, "hidden": (8,), "activation": "gelu", "dropout": 0.5}, (12,)),
    "lenet5": ({}, (1, 28, 28)),
    "small_resnet": ({"width": 4}, (1, 13, 14)),
    "cifar_resnet": ({"depth": 8, "width": 4, "shortcut": "concat"}, (3, 15, 16)),
    "autoencoder": ({"width": 4}, (1, 8, 12)),
    "unet": ({"width": 4, "depth": 2}, (3, 8, 12)),
    "transformer_net": ({"width": 4, "blocks": 1}, (3, 10, 15)),
    "tcn": ({"in_channels": 2, "width": 4, "depth": 3, "dropout": 0.1}, (2, 40)),
    "resnet18": ({}, (3, 64, 64)),
    "resnet34": ({"stem": "cifar"}, (3, 16, 16)),
    "resnet50": ({}, (3, 64, 64)),
    "mobilenet_v2": ({}, (3, 64, 64)),
    "squeezenet1_1": ({}, (3, 64, 64)),
    "efficientnet_lite0": ({}, (3, 65, 64)),
    **dict.fromkeys(LARGE, ({}, (3, 64, 64))),
}

# Small enough for the evaluator that comes with onnx, where onnxruntime is missing.
BY_REFERENCE = ("mlp", "lenet5", "small_resnet", "autoencoder", "unet", "transformer_net", "tcn")


def with_statistics(model: nn.Module) -> nn.Module:
    """Running statistics as after some training, so that they make a difference."""
    rng = np.random.default_rng(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            module.running_mean.copy_(rng.uniform(-0.2, 0.2, n).astype(np.float32))
            module.running_var.copy_(rng.uniform(0.5, 1.5, n).astype(np.float32))
            module.weight.data[...] = rng.uniform(0.5, 1.5, n)
            module.bias.data[...] = rng.uniform(-0.2, 0.2, n)
    return model.eval()


def test_every_network_is_tested() -> None:
    assert set(NETS) == set(models.names())


@pytest.mark.parametrize("name", with_large(NETS))
def test_networks_there_and_back(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """pyconv, ONNX, onnxruntime and pyconv again: the weights exactly, outputs within rounding."""
    options, shape = NETS[name]
    model = with_statistics(models.build(name, **options))
    path = tmp_path / "net.onnx"
    pyconv.save_onnx(model, path, shape)
    again = pyconv.load_onnx(path)
    state, loaded = model.state_dict(), again.state_dict()
    for key, array in state.items():
        assert np.array_equal(loaded[key], array), key
    x = rng.standard_normal((3, *shape)).astype(np.float32)
    y = model(x).numpy()
    scale = np.abs(y).max()
    # Rounding errors of layers add up as random numbers do; each is some eps of its scale.
    tolerance = 4 * EPS[np.dtype(np.float32)] * 64 * scale
    assert np.abs(again(x).numpy() - y).max() <= tolerance
    if name in BY_REFERENCE:
        expected = ReferenceEvaluator(str(path)).run(None, {"input": x})[0]
        assert np.abs(expected - y).max() <= tolerance
    assert np.abs(runtime(str(path)).run(None, {"input": x})[0] - y).max() <= tolerance


@pytest.mark.parametrize(
    "options",
    [{"latent": 2, "image_size": (8, 12), "squash": True}, {"blocks": 1, "residual": True}],
)
def test_autoencoders_of_all_kinds(
    options: dict[str, Any], tmp_path: Path, rng: np.random.Generator
) -> None:
    model = with_statistics(models.autoencoder(width=4, **options))
    for p in model.parameters():  # the last layer of a residual begins with zeros
        p.data[...] = rng.standard_normal(p.shape) * 0.3
    pyconv.save_onnx(model, tmp_path / "net.onnx", (1, 8, 12))
    again = pyconv.load_onnx(tmp_path / "net.onnx")
    x = rng.standard_normal((3, 1, 8, 12)).astype(np.float32)
    y = model(x).numpy()
    tolerance = 4 * EPS[np.dtype(np.float32)] * 64 * np.abs(y).max()
    assert np.abs(again(x).numpy() - y).max() <= tolerance
    expected = ReferenceEvaluator(str(tmp_path / "net.onnx")).run(None, {"input": x})[0]
    assert np.abs(expected - y).max() <= tolerance


class Various(nn.Module):
    """What modules don't have: arithmetic, indices, shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(some(4, 1, 1))
        self.conv = nn.Conv2d(4, 4, 3, padding=((0, 1), (1, 2)), padding_mode="reflect")
        self.separable = nn.DepthwiseSeparableConv2d(4, 6, 3, padding="same", stride=2)
        self.norm = nn.InstanceNorm2d(6, affine=True)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, x: Any) -> Any:
        x = x if isinstance(x, Tensor) else Tensor(x)
        y = F.silu(x * self.weight - 0.5) / (1.5 + abs(x)) + (x**2).sqrt().exp().clamp(None, 2.0)
        y = F.pad(y, (0, 0, 1, 0), value=0.5)[:, :, :-1]
        y = pyconv.maximum(y, x) + pyconv.minimum(x, -y) + F.pad(y, (1, -1, 0, 0))
        y = F.conv2d(y, self.conv.weight, None, padding=1, activation="relu6", residual=x)
        y = F.max_pool2d(self.conv(y) - 0.2, 2, 1, activation="relu")
        y = self.up(F.leaky_relu(self.norm(self.separable(y)), 0.3))
        y = F.interpolate(F.avg_pool2d(y, 3, 2, 1, True, False), (7, 5))
        y = F.interpolate(y, (5, 9), mode="bilinear", align_corners=True)
        z = F.adaptive_avg_pool2d(y, (3, 4))
        rows = y[:, 1:5:2, ..., 2].flatten(1) + y[:, [0, 3]].mean((1, 2, 3), keepdim=True).reshape(
            -1, 1
        )
        return F.log_softmax(pyconv.cat([rows, z.flatten(1)], 1))


def test_operations_there_and_back(tmp_path: Path, rng: np.random.Generator) -> None:
    model = Various().eval()
    path = tmp_path / "net.onnx"
    pyconv.save_onnx(model, path, (1, 4, 10, 9))
    for n in (1, 3):
        x = rng.uniform(0.1, 1, (n, 4, 10, 9)).astype(np.float32)
        y = model(x).numpy()
        same(pyconv.load_onnx(path)(x), y)
        same(runtime(str(path)).run(None, {"input": x})[0], y)


class Turned(nn.Module):
    """The images lie along another axis for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.models = pyconv.Ensemble([nn.Linear(6, 4), nn.Linear(6, 4)])

    def forward(self, x: Any) -> Any:
        x = x[::-1][:-1] if len(x) > 9 else pyconv.cat([x[-1:], x[:-1]])
        y = self.models(x).permute(1, 0).reshape(2, 2, -1)  # 2, 2, N
        y = y.unsqueeze(1) + F.pad(y, (0, 0, 1, 0), value=1.0)[:, :2].unsqueeze(1)
        return y.reshape(4, -1).T.expand(3, -1, 4) * 2


def test_the_number_of_images_stays_open(tmp_path: Path, rng: np.random.Generator) -> None:
    model = Turned()
    pyconv.save_onnx(model, tmp_path / "a", (6,))
    proto = onnx.load(tmp_path / "a")
    sides = proto.graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in sides] == [3, "N1", 4]
    for n in (1, 2, 5):
        x = rng.standard_normal((n, 6)).astype(np.float32)
        same(pyconv.load_onnx(tmp_path / "a")(x), model(x).numpy())
        same(ReferenceEvaluator(proto).run(None, {"input": x})[0], model(x).numpy())


def test_the_first_images(tmp_path: Path) -> None:
    """As many as the first traced pass has: not all of them."""

    class First(nn.Module):
        def forward(self, x: Any) -> Any:
            return x[:2]

    pyconv.save_onnx(First(), tmp_path / "a", (3,))
    x = some(5, 3)
    assert np.array_equal(pyconv.load_onnx(tmp_path / "a")(x).numpy(), x[:2])


def test_a_fixed_number_of_images(tmp_path: Path) -> None:
    net = pyconv.load_onnx(one("Flatten", (3, 2, 4)).SerializeToString())
    pyconv.save_onnx(net, tmp_path / "a", np.zeros((3, 2, 4), np.float32))
    assert onnx.load(tmp_path / "a").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    assert pyconv.load_onnx(tmp_path / "a")(some(3, 2, 4)).shape == (3, 8)


def test_a_written_file_passes_the_checker(tmp_path: Path) -> None:
    pyconv.save_onnx(models.small_resnet(width=2), tmp_path / "a.onnx", (1, 8, 8))
    proto = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(proto, full_check=True)
    titles = [node.name for node in proto.graph.node]
    assert {"0", "7.body.0", "13"} <= set(titles)
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    pyconv.save_onnx(models.lenet5(), tmp_path / "b.onnx", np.zeros((1, 1, 28, 28), np.float32))
    assert pyconv.load_onnx(tmp_path / "b.onnx")(some(4, 1, 28, 28)).shape == (4, 10)


def test_a_loaded_graph_can_be_written(tmp_path: Path, rng: np.random.Generator) -> None:
    net = pyconv.load_onnx(small().SerializeToString())
    pyconv.save_onnx(net, tmp_path / "a.onnx", (3, 4, 4))
    x = rng.standard_normal((3, 3, 4, 4)).astype(np.float32)
    same(pyconv.load_onnx(tmp_path / "a.onnx")(x), net(x).numpy())


def test_writing_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    model = models.small_resnet(width=2).train()
    model[0].eval()
    modes = [m.training for m in model.modules()]
    before = copy.deepcopy(model.state_dict())
    pyconv.save_onnx(model, tmp_path / "a", (1, 8, 8))
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_hooks for m in model.modules())
    for name, array in model.state_dict().items():
        assert np.array_equal(array, before[name])


def test_save_onnx_refuses(tmp_path: Path) -> None:
    class Lost(nn.Module):
        def forward(self, x: Any) -> Any:
            return Tensor(x.data * 2)

    class Odd(nn.Module):
        def forward(self, x: Any) -> Any:
            return F.mse_loss(x, x.data)

    class Counting(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * np.arange(len(x), dtype=np.float32)[:, None]

    class Mean(nn.Module):
        def forward(self, x: Any) -> Any:
            return x - x.mean(0)

    class Last(nn.Module):
        def forward(self, x: Any) -> Any:
            return x - x[len(x) - 1]

    class Half(nn.Module):
        def forward(self, x: Any) -> Any:
            return x[1 : len(x)]

    class Squared(nn.Module):
        def forward(self, x: Any) -> Any:
            return (x @ x.T).reshape(len(x), 1, len(x))

    path = tmp_path / "a"
    for arguments, error, match in (
        ((Counting(), path, (1, 2)), ValueError, "constant depends on the number of images"),
        ((Last(), path, (1, 2)), ValueError, "getitem: an index depends on the number of images"),
        ((Half(), path, (1, 2)), ValueError, "getitem: an index depends on the number of images"),
        ((Mean(), path, (1, 2)), ValueError, "divide: a constant depends on the number of im"),
        ((Squared(), path, (1, 2)), ValueError, "reshape: several axes of the result depend on"),
        ((3, path, (1, 2)), TypeError, "model must be a Module, got int"),
        ((nn.ReLU(), 3, (1, 2)), TypeError, "path must be a str or a path"),
        ((nn.ReLU(), path, "x"), TypeError, "input_shape must be a tuple of ints or arrays"),
        ((nn.ReLU(), path, (1, 0)), ValueError, "sizes from 1 on"),
        ((Lost(), path, (1, 2)), ValueError, "an output of the model doesn't depend on its input"),
        ((nn.BatchNorm2d(2, track_running_stats=False), path, (2, 2, 3, 3)), ValueError,
         "normalisation by the batch"),
        ((nn.AvgPool2d(2, divisor_override=3), path, (2, 2, 4, 4)), ValueError, "divisor_override"),
    ):  # fmt: skip
        with pytest.raises(error, match=match):
            pyconv.save_onnx(*arguments)
    assert os.listdir(tmp_path) == []


def test_the_shape_of_the_pictures_is_known_where_it_is_fixed(tmp_path):
    path = tmp_path / "net.onnx"
    pyconv.save_onnx(models.lenet5(), path, (1, 28, 28))
    assert pyconv.load_onnx(path).metadata == {"input_shape": [1, 28, 28]}
    pyconv.save_onnx(models.mlp(in_features=4), path, (4,))
    assert pyconv.load_onnx(path).metadata == {}
