"""The networks of `bench train`, alike in pyconv and PyTorch, and in the peers' formats."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pyconv.bench import Convolution

RATE = 1e-4  # small, so that the numbers stay tame however often a step is repeated

# Channels and side of the pictures, and how many classes.
SHAPES = {
    "resnet18_cifar": (3, 32, 10),
    "lenet": (1, 28, 10),
    "mobilenet_v2_96": (3, 96, 1000),
    "resnet50": (3, 224, 1000),
    "resnet18": (3, 224, 1000),
    "vgg16": (3, 224, 1000),
    "mobilenet_v2": (3, 224, 1000),
}
STEPS = {"resnet18_cifar": 64, "lenet": 64, "mobilenet_v2_96": 16}
INFERENCE = ("resnet50", "resnet18", "vgg16", "mobilenet_v2")


def data(name: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and classes, the same in every process."""
    channels, side, classes = SHAPES[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, channels, side, side), np.float32)
    return x, rng.integers(0, classes, batch)


def save_state(name: str, folder: str) -> None:
    """Initial weights for all peers, by He et al.; statistics of batch norms as after some
    training, so that folding them is not trivial."""
    rng = np.random.default_rng(0)
    state = {}
    for key, value in build(name).state_dict().items():
        shape = np.shape(value)
        if key.endswith("running_mean"):
            value = rng.normal(0, 0.1, shape).astype(np.float32)
        elif key.endswith("running_var"):
            value = rng.uniform(0.7, 1.3, shape).astype(np.float32)
        elif len(shape) > 1:
            scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
            value = rng.standard_normal(shape, np.float32) * scale
        elif len(shape) == 1:
            value = np.full(shape, key.endswith("weight"), np.float32)
        state[key] = value
    np.savez(Path(folder) / f"{name}.npz", **state)


@contextlib.contextmanager
def _empty_weights() -> Iterator[None]:
    """Weights are drawn for nothing where a state is loaded."""
    from pyconv.nn import init

    fill = init._fill
    init._fill = lambda function, tensor, values: tensor
    try:
        yield
    finally:
        init._fill = fill


def build(name: str) -> Any:
    """The model in pyconv, its weights unset."""
    with _empty_weights():
        return _build(name)


def _build(name: str) -> Any:
    from pyconv import models, nn

    _, _, classes = SHAPES[name]
    if name == "lenet":
        return lenet(nn)
    if name == "resnet18_cifar":
        return models.resnet18(classes, stem="cifar")
    if name.startswith("mobilenet_v2"):  # no dropout: both must compute the same
        return models.mobilenet_v2(classes, dropout=0.0)
    return models.build(name, num_classes=classes)


def lenet(nn: Any) -> Any:
    """LeNet-5's layers (6, 16, 120, 84) with ReLU and max pooling, by either package's `nn`."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(),
        nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10),
    )  # fmt: skip


def ours(name: str, folder: str) -> Any:
    """pyconv's model, with the saved state."""
    model = build(name)
    with np.load(Path(folder) / f"{name}.npz") as state:
        model.load_state_dict(dict(state))
    return model


def theirs(name: str, folder: str) -> Any:
    """PyTorch's model, with the saved state."""
    import torch

    from bench.torch_models import build_torch

    with torch.device("meta"):
        model = build_torch(name, SHAPES[name][2])
    with np.load(Path(folder) / f"{name}.npz") as saved:
        state = {key: torch.from_numpy(saved[key]) for key in saved.files}
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(True)


def export(name: str, folder: str, batch: int) -> None:
    """Write the network as ONNX, by PyTorch's exporter, and as ncnn's two files."""
    import warnings

    import torch

    model = theirs(name, folder).eval()
    x = torch.from_numpy(data(name, batch)[0])
    with warnings.catch_warnings():
        # The exporter that needs nothing but onnx is called legacy.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (x,), f"{folder}/{name}.onnx", dynamo=False, opset_version=17,
            input_names=["x"], output_names=["y"],
        )  # fmt: skip
    lines, weights = _ncnn_network(model)
    Path(folder, f"{name}.param").write_text(lines)
    Path(folder, f"{name}.bin").write_bytes(weights)


# -- ncnn's format --------------------------------------------------------------------------------


def ncnn_convolution(
    p: Convolution, weight: np.ndarray, bias: np.ndarray | None, activation: str = ""
) -> tuple[tuple[str, str], bytes]:
    """The kind and the numbers of a layer, and its part of the weights."""
    kind = "Deconvolution" if p.transposed else "Convolution"
    kind += "DepthWise" * (p.groups > 1)
    if p.transposed:
        # Cin×(Cout/groups) as Cout×(Cin/groups), group by group.
        g = weight.reshape(p.groups, p.channels // p.groups, -1, *p.kernel)
        weight = g.transpose(0, 2, 1, 3, 4)
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = p.kernel, p.stride, p.padding, p.dilation
    values = (
        f"0={p.out_channels} 1={kw} 11={kh} 2={dw} 12={dh} 3={sw} 13={sh} 4={pw} 14={ph} "
        f"5={int(bias is not None)} 6={weight.size}"
    )
    if p.groups > 1:
        values += f" 7={p.groups}"
    if p.output_padding:
        values += f" 18={p.output_padding} 19={p.output_padding}"
    return (kind, f"{values}{activation}"), _blob(weight, bias)


def _blob(weight: np.ndarray, bias: np.ndarray | None) -> bytes:
    """Weights are told to be float32 by four zeros; a bias follows as it is."""
    found = bytes(4) + np.ascontiguousarray(weight, np.float32).tobytes()
    return found if bias is None else found + np.ascontiguousarray(bias, np.float32).tobytes()


_ACTIVATIONS = {"ReLU": " 9=1", "ReLU6": " 9=3 -23310=2,0.0,6.0"}


def _ncnn_network(model: Any) -> tuple[str, bytes]:
    """The graph of a PyTorch model, batch norms folded, ReLUs fused."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    traced = torch.fx.symbolic_trace(model)
    modules = dict(traced.named_modules())
    nodes = list(traced.graph.nodes)
    name_of: dict[Any, str] = {}
    layers: list[tuple[str, list[str], str, str]] = []  # kind, inputs, output, numbers
    weights = b""
    done: set[Any] = set()

    def module(node: Any) -> Any:
        return modules[node.target] if node.op == "call_module" else None

    def only_user(node: Any) -> Any:
        return next(iter(node.users)) if len(node.users) == 1 else None

    def activation_after(node: Any) -> tuple[str, Any]:
        user = only_user(node)
        text = _ACTIVATIONS.get(type(module(user)).__name__, "") if user is not None else ""
        return (text, user) if text else ("", node)

    for node in nodes:
        if node in done:
            continue
        layer, inputs = module(node), [name_of[a] for a in node.all_input_nodes if a in name_of]
        kind, numbers, last = type(layer).__name__, "", node
        if node.op == "placeholder":
            name_of[node] = "x"
            layers.append(("Input", [], "x", ""))
            continue
        if node.op == "output":
            name_of[node] = inputs[0]
            continue
        if kind == "Conv2d":
            user = only_user(node)
            if user is not None and type(module(user)).__name__ == "BatchNorm2d":
                layer, last = fuse_conv_bn_eval(layer, module(user)), user
                done.add(user)
            text, last = activation_after(last)
            bias = None if layer.bias is None else layer.bias.detach().numpy()
            out, per_group, *kernel = layer.weight.shape
            problem = Convolution(
                per_group * layer.groups, 2**14, 2**14, out, tuple(kernel), layer.stride,
                layer.padding, layer.dilation, layer.groups,
            )  # fmt: skip
            (kind, numbers), blob = ncnn_convolution(
                problem, layer.weight.detach().numpy(), bias, text
            )
            weights += blob
        elif kind == "Linear":
            text, last = activation_after(node)
            kind, w = "InnerProduct", layer.weight.detach().numpy()
            numbers = f"0={w.shape[0]} 1=1 2={w.size}{text}"
            weights += _blob(w, layer.bias.detach().numpy())
        elif kind == "MaxPool2d":
            kind = "Pooling"
            pads = f"3={layer.padding} 5=1"
            numbers = f"0=0 1={layer.kernel_size} 2={layer.stride} {pads}"
        elif kind == "AdaptiveAvgPool2d" and layer.output_size == 1 or node.target == "mean":
            kind, numbers = "Pooling", "0=1 4=1"
        elif kind == "ReLU":
            kind, numbers = "ReLU", ""
        elif node.target == "flatten" or kind == "Flatten":
            kind = "Flatten"
        elif getattr(node.target, "__name__", "") in ("add", "iadd"):
            kind, numbers = "BinaryOp", "0=0"
        elif kind in ("Dropout", "Identity", "AdaptiveAvgPool2d"):  # nothing to do at this size
            name_of[node] = inputs[0]
            continue
        else:
            raise ValueError(f"ncnn: no layer for {node.target} ({kind})")
        done.add(last)
        name_of[node] = name_of[last] = f"b{len(layers)}"
        layers.append((kind, inputs, name_of[node], numbers))
    return _param(layers, name_of[nodes[-1]]), weights


def _param(layers: list[tuple[str, list[str], str, str]], last: str) -> str:
    """ncnn's text: a blob that several layers read is split."""
    readers: dict[str, int] = {}
    for _, inputs, _, _ in layers:
        for name in inputs:
            readers[name] = readers.get(name, 0) + 1
    lines, blobs = [], 0
    used: dict[str, int] = {}

    def read(name: str) -> str:
        if readers[name] == 1:
            return name
        used[name] = used.get(name, 0) + 1
        return f"{name}_{used[name]}"

    for i, (kind, inputs, output, numbers) in enumerate(layers):
        shown = "y" if output == last else output
        line = [kind, f"l{i}", str(len(inputs)), "1", *map(read, inputs), shown, numbers]
        lines.append(" ".join(line))
        blobs += 1
        count = readers.get(output, 0)
        if count > 1:
            copies = " ".join(f"{output}_{k + 1}" for k in range(count))
            lines.append(f"Split s{i} 1 {count} {output} {copies}")
            blobs += count
    return f"7767517\n{len(lines)} {blobs}\n" + "\n".join(lines) + "\n"
