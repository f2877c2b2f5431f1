"""`pyconv.nn`: layers are their functions; names and shapes as PyTorch; state, hooks, fusion."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import pyconv
from pyconv import functional as F  # noqa: N812
from pyconv import nn
from pyconv.autograd import Tensor, cat, no_grad


def values(*shape, low=-1.0, high=1.0, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def same(a, b, tolerance=1e-6):
    a, b = (t.data if isinstance(t, Tensor) else t for t in (a, b))
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# -- layers and their functions -------------------------------------------------------------------

IMAGE, SEQUENCE, ROWS = (2, 4, 6, 5), (2, 4, 7), (3, 4)

# layer, shape of the input, function of (layer, x), parameters and buffers
LAYERS = {
    "Conv2d": (
        lambda: nn.Conv2d(4, 6, (3, 2), 2, (1, 0), groups=2),
        IMAGE,
        lambda m, x: F.conv2d(x, m.weight, m.bias, 2, (1, 0), 1, 2),
        {"weight": (6, 2, 3, 2), "bias": (6,)},
    ),
    "Conv2d without bias": (
        lambda: nn.Conv2d(4, 3, 3, dilation=2, padding="same", bias=False),
        IMAGE,
        lambda m, x: F.conv2d(x, m.weight, None, 1, "same", 2),
        {"weight": (3, 4, 3, 3)},
    ),
    "Conv2d reflect": (
        lambda: nn.Conv2d(4, 3, 3, padding=(2, 1), padding_mode="reflect"),
        IMAGE,
        lambda m, x: F.conv2d(F.pad(x, (1, 1, 2, 2), "reflect"), m.weight, m.bias),
        {"weight": (3, 4, 3, 3), "bias": (3,)},
    ),
    "Conv2d circular": (
        lambda: nn.Conv2d(4, 3, 3, padding=((0, 1), (2, 1)), padding_mode="circular"),
        IMAGE,
        lambda m, x: F.conv2d(F.pad(x, (2, 1, 0, 1), "circular"), m.weight, m.bias),
        {"weight": (3, 4, 3, 3), "bias": (3,)},
    ),
    "Conv1d": (
        lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2),
        SEQUENCE,
        lambda m, x: F.conv1d(x, m.weight, m.bias, 2, 1, 2, 2),
        {"weight": (6, 2, 3), "bias": (6,)},
    ),
    "Conv1d replicate": (
        lambda: nn.Conv1d(4, 3, 3, padding=2, padding_mode="replicate"),
        SEQUENCE,
        lambda m, x: F.conv1d(F.pad(x, (2, 2), "replicate"), m.weight, m.bias),
        {"weight": (3, 4, 3), "bias": (3,)},
    ),
    "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2),
        IMAGE,
        lambda m, x: F.conv_transpose2d(x, m.weight, m.bias, 2, 1, 1, 2),
        {"weight": (4, 3, 3, 3), "bias": (6,)},
    ),
    "ConvTranspose1d": (
        lambda: nn.ConvTranspose1d(4, 3, 3, 2, bias=False, dilation=2),
        SEQUENCE,
        lambda m, x: F.conv_transpose1d(x, m.weight, None, 2, dilation=2),
        {"weight": (4, 3, 3)},
    ),
    "DepthwiseSeparableConv2d": (
        lambda: nn.DepthwiseSeparableConv2d(4, 6, 3, 2, 1),
        IMAGE,
        lambda m, x: F.conv2d(
            F.conv2d(x, m.depthwise.weight, None, 2, 1, 1, 4), m.pointwise.weight, m.pointwise.bias
        ),
        {
            "depthwise.weight": (4, 1, 3, 3),
            "pointwise.weight": (6, 4, 1, 1),
            "pointwise.bias": (6,),
        },
    ),
    "Linear": (
        lambda: nn.Linear(4, 3),
        ROWS,
        lambda m, x: F.linear(x, m.weight, m.bias),
        {"weight": (3, 4), "bias": (3,)},
    ),
    "BatchNorm2d": (
        lambda: nn.BatchNorm2d(4, eps=1e-3),
        IMAGE,
        lambda m, x: F.batch_norm(x, None, None, m.weight, m.bias, True, eps=1e-3),
        {
            "weight": (4,),
            "bias": (4,),
            "running_mean": (4,),
            "running_var": (4,),
            "num_batches_tracked": (),
        },
    ),
    "BatchNorm1d": (
        lambda: nn.BatchNorm1d(4, affine=False, track_running_stats=False),
        SEQUENCE,
        lambda m, x: F.batch_norm(x, None, None, training=True),
        {},
    ),
    "InstanceNorm2d": (
        lambda: nn.InstanceNorm2d(4),
        IMAGE,
        lambda m, x: F.instance_norm(x),
        {},
    ),
    "InstanceNorm2d affine": (
        lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        IMAGE,
        lambda m, x: F.instance_norm(x, weight=m.weight, bias=m.bias),
        {
            "weight": (4,),
            "bias": (4,),
            "running_mean": (4,),
            "running_var": (4,),
            "num_batches_tracked": (),
        },
    ),
    "MaxPool2d": (
        lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        IMAGE,
        lambda m, x: F.max_pool2d(x, 3, 2, 1, 1, True),
        {},
    ),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), SEQUENCE, lambda m, x: F.max_pool1d(x, 2), {}),
    "AvgPool2d": (
        lambda: nn.AvgPool2d(3, 2, 1, False, False, 2),
        IMAGE,
        lambda m, x: F.avg_pool2d(x, 3, 2, 1, divisor_override=2),
        {},
    ),
    "AvgPool1d": (
        lambda: nn.AvgPool1d(3, 2, 1, True, False),
        SEQUENCE,
        lambda m, x: F.avg_pool1d(x, 3, 2, 1, True, False),
        {},
    ),
    "AdaptiveAvgPool2d": (
        lambda: nn.AdaptiveAvgPool2d((None, 2)),
        IMAGE,
        lambda m, x: F.adaptive_avg_pool2d(x, (None, 2)),
        {},
    ),
    "Flatten": (lambda: nn.Flatten(), IMAGE, lambda m, x: x.reshape(2, -1), {}),
    "Unflatten": (
        lambda: nn.Unflatten(1, (2, 2)),
        IMAGE,
        lambda m, x: x.reshape(2, 2, 2, 6, 5),
        {},
    ),
    "Flatten some": (lambda: nn.Flatten(0, 2), IMAGE, lambda m, x: x.reshape(-1, 5), {}),
    "Upsample": (
        lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        IMAGE,
        lambda m, x: F.interpolate(x, None, 2, "bilinear", True),
        {},
    ),
    "Upsample to a size": (
        lambda: nn.Upsample((3, 9)),
        IMAGE,
        lambda m, x: F.interpolate(x, (3, 9)),
        {},
    ),
    "ReflectionPad2d": (
        lambda: nn.ReflectionPad2d((1, 2, 3, 0)),
        IMAGE,
        lambda m, x: F.pad(x, (1, 2, 3, 0), "reflect"),
        {},
    ),
    "ZeroPad2d": (lambda: nn.ZeroPad2d(2), IMAGE, lambda m, x: F.pad(x, (2, 2, 2, 2)), {}),
    "ReLU": (lambda: nn.ReLU(inplace=True), IMAGE, lambda m, x: F.relu(x), {}),
    "ReLU6": (lambda: nn.ReLU6(), IMAGE, lambda m, x: F.relu6(x), {}),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.2), IMAGE, lambda m, x: F.leaky_relu(x, 0.2), {}),
    "Sigmoid": (lambda: nn.Sigmoid(), IMAGE, lambda m, x: F.sigmoid(x), {}),
    "Tanh": (lambda: nn.Tanh(), IMAGE, lambda m, x: F.tanh(x), {}),
    "SiLU": (lambda: nn.SiLU(), IMAGE, lambda m, x: F.silu(x), {}),
    "GELU": (lambda: nn.GELU(), IMAGE, lambda m, x: F.gelu(x), {}),
    "Softmax": (lambda: nn.Softmax(dim=1), IMAGE, lambda m, x: F.softmax(x, 1), {}),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), IMAGE, lambda m, x: F.log_softmax(x, 1), {}),
    "Identity": (lambda: nn.Identity(54, unused=True), IMAGE, lambda m, x: x, {}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_their_functions(name):
    make, shape, function, state = LAYERS[name]
    layer = make()
    assert {k: v.shape for k, v in layer.state_dict().items()} == state
    assert list(layer.state_dict()) == list(state)  # PyTorch's order, too
    for dtype in (np.float32, np.float64):
        layer.to(dtype)
        x = Tensor(values(*shape, dtype=dtype), requires_grad=True)
        y, wanted = layer(x), function(layer, x)
        assert y.dtype == dtype
        same(y, wanted, 1e-5)
        same(layer(x.data), wanted, 1e-5)  # an array does as well
    assert repr(layer).startswith(type(layer).__name__ + "(")
    assert all(p.requires_grad for p in layer.parameters())


def test_every_layer_is_tested():
    tested = {name.split()[0] for name in LAYERS}
    tested |= {"Module", "ModuleList", "Parameter", "Sequential", "Residual", "Ensemble"}
    tested |= {"Dropout", "features", "init", "utils"}
    tested |= {n for n in nn.__all__ if n.endswith("Loss")}
    assert tested == set(nn.__all__)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_are_their_functions(dtype):
    x, t = values(4, 3, dtype=dtype), values(4, 3, low=0, seed=1, dtype=dtype)
    target, w = np.array([0, 2, -1, 1]), values(3, low=0.5, seed=2, dtype=dtype)
    p = 1 / (1 + np.exp(-x))
    cases = [
        (nn.CrossEntropyLoss(w, -1, "sum", 0.1), (x, target),
         F.cross_entropy(x, target, w, -1, "sum", 0.1)),
        (nn.NLLLoss(w, -1, "none"), (x, target), F.nll_loss(x, target, w, -1, "none")),
        (nn.MSELoss("sum"), (x, t), F.mse_loss(x, t, "sum")),
        (nn.L1Loss(), (x, t), F.l1_loss(x, t)),
        (nn.BCELoss(w, "none"), (p, t), F.binary_cross_entropy(p, t, w, "none")),
        (nn.BCEWithLogitsLoss(w, "sum", 2 * w), (x, t),
         F.binary_cross_entropy_with_logits(x, t, w, "sum", 2 * w)),
    ]  # fmt: skip
    for loss, arguments, wanted in cases:
        np.testing.assert_array_equal(loss(*arguments).data, wanted.data)
        assert not list(loss.parameters())
    assert nn.CrossEntropyLoss().state_dict() == {}
    assert list(nn.CrossEntropyLoss(w).state_dict()) == ["weight"]


def test_dropout_follows_mode_and_seed():
    layer, x = nn.Dropout(0.4), np.ones((3, 50))
    pyconv.manual_seed(1)
    a = layer(x)
    pyconv.manual_seed(1)
    same(a, F.dropout(x, 0.4))
    assert set(np.unique(a.data.round(6))) == {0, round(1 / 0.6, 6)}
    layer.eval()
    same(layer(x), x)


def test_max_pool_with_indices():
    x = values(1, 2, 4, 4)
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    same(np.take_along_axis(x.reshape(1, 2, -1), indices.reshape(1, 2, -1), 2).ravel(),
         y.data.ravel())  # fmt: skip


# -- normalisation in two modes ---------------------------------------------------------------


def test_batch_norm_learns_its_statistics():
    layer = nn.BatchNorm2d(3, momentum=0.2)
    mean, var = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = values(4, 3, 5, 5, seed=seed) * 2 + 1
        layer(x)
        mean = 0.8 * mean + 0.2 * x.mean((0, 2, 3))
        var = 0.8 * var + 0.2 * x.var((0, 2, 3), ddof=1)
    same(layer.running_mean, mean, 1e-5)
    same(layer.running_var, var, 1e-5)
    assert layer.num_batches_tracked.item() == 3
    assert layer.num_batches_tracked.dtype == np.int64
    layer.eval()
    held = layer.running_mean.data.copy()
    y = layer(x)
    same(y, (x - mean.reshape(3, 1, 1)) / np.sqrt(var.reshape(3, 1, 1) + 1e-5), 1e-4)
    np.testing.assert_array_equal(layer.running_mean.data, held)
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert not layer.running_mean.data.any()
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_with_the_mean_over_all_batches():
    layer = nn.BatchNorm1d(2, momentum=None)
    batches = [values(5, 2, seed=seed) for seed in range(4)]
    for x in batches:
        layer(x)
    same(layer.running_mean, np.mean([x.mean(0) for x in batches], 0), 1e-5)
    same(layer.running_var, np.mean([x.var(0, ddof=1) for x in batches], 0), 1e-5)


def test_norms_without_statistics_use_the_batch_always():
    x = values(4, 3, 5, 5)
    for layer in (nn.BatchNorm2d(3, track_running_stats=False), nn.InstanceNorm2d(3)):
        trained = layer(x)
        same(layer.eval()(x), trained)
    layer = nn.InstanceNorm2d(3, track_running_stats=True, momentum=1.0)
    layer(x)
    layer.eval()
    mean, var = x.mean((0, 2, 3)), x.var((2, 3), ddof=1).mean(0)
    same(layer(x), (x - mean.reshape(3, 1, 1)) / np.sqrt(var.reshape(3, 1, 1) + 1e-5), 1e-4)


# -- state --------------------------------------------------------------------------------------


def small_net():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))),
        nn.LeakyReLU(0.1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


NAMES = [
    "0.weight",
    *(f"1.{n}" for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
    "4.body.0.weight",
    "4.body.0.bias",
    *(f"4.body.1.{n}" for n in
      ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
    "8.weight",
    "8.bias",
]  # fmt: skip


def test_state_moves_from_model_to_model():
    a, b = small_net(), small_net()
    a(values(4, 2, 8, 8))
    state = a.state_dict()
    assert list(state) == NAMES
    assert all(isinstance(v, np.ndarray) for v in state.values())
    assert state["0.weight"] is a[0].weight.data  # not a copy
    held = {k: v.copy() for k, v in b.state_dict().items()}
    result = b.load_state_dict(state)
    assert result == ([], [])
    assert b[1].num_batches_tracked.item() == 1
    x = values(3, 2, 8, 8, seed=1)
    np.testing.assert_array_equal(a.eval()(x).data, b.eval()(x).data)
    assert any((held[k] != v).any() for k, v in b.state_dict().items())


def in_memory(array):
    """The axes from the widest stride to the narrowest."""
    return tuple(np.argsort([-s for s in array.strides], kind="stable"))


@pytest.mark.parametrize(
    ("layer", "order"),
    [
        (lambda: nn.Conv2d(3, 4, (2, 5)), (2, 3, 1, 0)),
        (lambda: nn.Conv1d(3, 4, 5), (2, 1, 0)),
        (lambda: nn.ConvTranspose2d(3, 4, (2, 5)), (2, 3, 0, 1)),
        (lambda: nn.ConvTranspose1d(3, 4, 5), (2, 0, 1)),
    ],
)
def test_weights_keep_their_memory_order(layer, order):
    layer = layer()
    assert in_memory(layer.weight.data) == order
    before = layer.weight.data
    wanted = values(*layer.weight.shape)
    layer.load_state_dict({"weight": wanted, "bias": values(4)})
    assert layer.weight.data is before
    np.testing.assert_array_equal(layer.weight.data, wanted)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.double()):
        assert in_memory(other.weight.data) == order
        same(other.weight, wanted)


def test_load_state_dict_says_what_does_not_fit():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {k: v.copy() for k, v in net.state_dict().items()}
    before = net[0].weight.data.copy()
    changed = {**state, "0.weight": state["0.weight"] + 1}

    without = {k: v for k, v in changed.items() if k != "1.running_mean"}
    with pytest.raises(ValueError, match=r"^load_state_dict: Sequential: missing: 1.running_mean$"):
        net.load_state_dict(without)
    more = {**changed, "2.weight": np.zeros(1), "extra": np.zeros(1)}
    with pytest.raises(ValueError, match="unexpected: 2.weight, extra"):
        net.load_state_dict(more)
    wrong = {**changed, "1.bias": np.zeros(4, np.float32)}
    with pytest.raises(ValueError, match=r"1.bias must have shape \(3,\), got \(4,\)"):
        net.load_state_dict(wrong)
    with pytest.raises(ValueError, match="1.bias"):
        net.load_state_dict(wrong, strict=False)  # a shape is never let pass
    with pytest.raises(TypeError, match="1.bias must be an array, got list"):
        net.load_state_dict({**changed, "1.bias": [1.0, 2, 3]})
    with pytest.raises(TypeError, match="1.bias must be an array of numbers"):
        net.load_state_dict({**changed, "1.bias": np.array(["a", "b", "c"])})
    with pytest.raises(TypeError, match="state_dict must be a mapping, got list"):
        net.load_state_dict([state])
    with pytest.raises(TypeError, match="strict must be a bool"):
        net.load_state_dict(state, strict=1)
    np.testing.assert_array_equal(net[0].weight.data, before)  # nothing was changed

    result = net.load_state_dict({**without, "extra": np.zeros(1)}, strict=False)
    assert result.missing_keys == ["1.running_mean"]
    assert result.unexpected_keys == ["extra"]
    np.testing.assert_array_equal(net[0].weight.data, before + 1)
    net.load_state_dict({k: v.astype(np.float64) for k, v in state.items()})
    assert net[0].weight.dtype == np.float32


def test_load_state_dict_takes_tensors():
    layer = nn.Linear(2, 3)
    layer.load_state_dict({"weight": Tensor(np.ones((3, 2)), True), "bias": Tensor(np.ones(3))})
    assert (layer.weight.data == 1).all()


def test_copies_are_apart():
    net = small_net()
    other = copy.deepcopy(net)
    other[0].weight.data[...] = 0
    other[1].running_mean.fill_(5)
    other.eval()
    assert net[0].weight.data.any()
    assert not net[1].running_mean.data.any()
    assert net.training
    back = pickle.loads(pickle.dumps(net))
    assert isinstance(back[0].weight, nn.Parameter)
    x = values(2, 2, 8, 8)
    np.testing.assert_array_equal(back.eval()(x).data, net.eval()(x).data)
    assert [n for n, _ in back.named_parameters()] == [n for n, _ in net.named_parameters()]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = nn.Linear(3, 3)
        self.b.weight = self.a.weight


def test_shared_parameters():
    net = Tied()
    assert [n for n, _ in net.named_parameters()] == ["a.weight", "a.bias", "b.bias"]
    assert list(net.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias"]
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net.double()):
        assert other.a.weight is other.b.weight
        assert other.a.weight is not None
    assert net.b.weight.dtype == np.float64


# -- modules in modules ---------------------------------------------------------------------------


def test_modes_and_freezing():
    net = small_net()
    assert all(m.training for m in net.modules())
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net[4].train()
    assert net[4].body[1].training
    assert not net[1].training
    net.train(False)
    assert not net[4].body[1].training
    assert net.requires_grad_(False) is net
    assert not any(p.requires_grad for p in net.parameters())
    assert not net(values(1, 2, 8, 8)).requires_grad
    net[8].requires_grad_(True)
    net(values(1, 2, 8, 8)).sum().backward()
    assert net[0].weight.grad is None
    assert net[8].weight.grad.shape == (3, 4)
    net.zero_grad(set_to_none=False)
    assert not net[8].weight.grad.data.any()
    net.zero_grad()
    assert net[8].weight.grad is None


def test_names():
    net = small_net()
    named = dict(net.named_modules())
    assert list(named) == [
        "", "0", "1", "2", "3", "4", "4.body", "4.body.0", "4.body.1", "5", "6", "7", "8",
    ]  # fmt: skip
    assert named[""] is net
    assert named["4.body.1"] is net.get_submodule("4.body.1") is net[4].body[1]
    assert net.get_submodule("") is net
    assert [n for n, _ in net.named_children()] == list("012345678")
    assert list(net.children()) == list(net)
    assert len(list(net.parameters())) == 9
    assert [n for n, _ in net.named_buffers()] == [n for n in NAMES if "running" in n or "num" in n]
    with pytest.raises(AttributeError, match="no submodule '9'"):
        net.get_submodule("4.body.9")
    order = []
    net.apply(lambda m: order.append(type(m).__name__))
    assert order[-1] == "Sequential"
    assert order.index("BatchNorm2d") < order.index("Residual")


def test_sequential():
    a, b, c = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)
    net = nn.Sequential(a, b, c)
    assert len(net) == 3
    assert net[0] is a
    assert net[-1] is c
    assert list(net) == [a, b, c]
    part = net[1:]
    assert isinstance(part, nn.Sequential)
    assert list(part.state_dict()) == ["2.weight", "2.bias"]  # the names stay
    assert part.append(nn.Tanh()) is part
    assert [type(m).__name__ for m in part] == ["ReLU", "Linear", "Tanh"]  # nothing is replaced
    named = nn.Sequential({"first": a, "then": b})
    assert list(named.state_dict()) == ["first.weight", "first.bias"]
    assert named.first is a
    x = values(4, 2)
    same(net(x), c(b(a(x))))
    twice = nn.Sequential(b, a, b)  # the same module in two places
    same(twice(x), F.relu(a(F.relu(x))))
    assert nn.Sequential()(x) is x
    with pytest.raises(IndexError):
        net[3]


def test_module_list():
    layers = nn.ModuleList([nn.Linear(2, 2)])
    layers.append(nn.Linear(2, 1))
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert layers[-1] is list(layers)[1]
    assert len(layers) == 2


def test_attributes():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(np.ones(2))
            self.layer = nn.Linear(1, 1)
            self.register_buffer("offset", np.zeros(2))
            self.number = 3

    net = Net()
    assert list(net.state_dict()) == ["scale", "offset", "layer.weight", "layer.bias"]
    net.offset = np.ones(2)
    assert isinstance(net.offset, Tensor)
    assert net.state_dict()["offset"].all()
    with pytest.raises(TypeError, match="scale is a parameter"):
        net.scale = np.ones(2)
    net.scale = nn.Parameter(np.zeros(3))
    assert net.state_dict()["scale"].shape == (3,)
    net.scale = None
    assert "scale" not in net.state_dict()
    with pytest.raises(TypeError, match="layer is a module; assign a Module or None, not int"):
        net.layer = 3
    net.layer = None
    assert list(net.parameters()) == []
    del net.layer
    with pytest.raises(AttributeError, match="Net has no attribute 'layer'"):
        net.layer  # noqa: B018
    with pytest.raises(ValueError, match="'number' already"):
        net.register_buffer("number", np.ones(1))
    for register, value in (
        (net.register_buffer, np.ones(1)),
        (net.register_module, nn.ReLU()),
    ):
        with pytest.raises(ValueError, match="Net has an attribute 'scale' already"):
            register("scale", value)
    with pytest.raises(ValueError, match="without dots"):
        net.register_module("a.b", nn.ReLU())
    with pytest.raises(TypeError, match="must be a Parameter"):
        net.register_parameter("p", np.ones(1))
    with pytest.raises(TypeError, match="must be a Module"):
        net.register_module("m", 3)
    with pytest.raises(TypeError, match="mode must be a bool"):
        net.train(1)

    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Early()
    with pytest.raises(NotImplementedError, match="Net has no forward"):
        net(1)


def test_repr():
    assert repr(nn.Conv2d(3, 8, 3, 2, 1, bias=False)) == (
        "Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=1, bias=False)"
    )
    assert repr(nn.ConvTranspose2d(3, 8, 2, 2, output_padding=1)) == (
        "ConvTranspose2d(3, 8, kernel_size=(2, 2), stride=(2, 2), output_padding=(1, 1))"
    )
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))) == (
        "Sequential(\n  (0): Linear(2, 3)\n  (1): Sequential(\n    (0): ReLU()\n  )\n)"
    )
    assert repr(nn.Residual(nn.ReLU(), mode="concat")) == (
        "Residual(\n  mode='concat'\n  (body): ReLU()\n)"
    )
    assert repr(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")) == (
        "Conv2d(3, 3, kernel_size=(3, 3), padding=1, padding_mode='reflect')"
    )


def test_devices_and_types():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert net.double() is net
    assert net[0].weight.dtype == net[1].running_mean.dtype == np.float64
    assert net[1].num_batches_tracked.dtype == np.int64
    assert net.float()[0].weight.dtype == np.float32
    assert net.cpu() is net
    try:
        import cupy  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="needs CuPy"):
            net.to("cuda")
        with pytest.raises(ImportError, match="needs CuPy"):
            net.cuda()
        assert net[0].weight.device == "cpu"
    with pytest.raises(TypeError, match="dtype"):
        net.to("moon")


# -- hooks, fusion, features ----------------------------------------------------------------------


def test_hooks():
    layer, seen = nn.Linear(2, 2), []
    first = layer.register_forward_hook(lambda m, x, y: seen.append((m, x, y)))
    second = layer.register_forward_hook(lambda m, x, y: y * 2)
    x = values(3, 2)
    y = layer(x)
    assert seen[0][0] is layer
    assert seen[0][1] == (x,)
    same(y, seen[0][2] * 2)
    second.remove()
    second.remove()
    same(layer(x), seen[0][2])
    first.remove()
    layer(x)
    assert len(seen) == 2
    with pytest.raises(TypeError, match="hook must be callable"):
        layer.register_forward_hook(3)


FOLLOWERS = [nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.GELU, nn.LeakyReLU]
FOLLOWERS += [lambda: nn.LeakyReLU(0.3), lambda: nn.LeakyReLU(0.0), lambda: nn.LeakyReLU(-1.0)]
FIRST = {
    "Conv2d": lambda: nn.Conv2d(4, 4, 3, padding=1),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(4, 4, 3, padding=1),
    "DepthwiseSeparableConv2d": lambda: nn.DepthwiseSeparableConv2d(4, 4, 3, padding=1),
    "BatchNorm2d": lambda: nn.BatchNorm2d(4),
    "Residual": lambda: nn.Residual(nn.Conv2d(4, 4, 3, padding=1)),
    "Residual of norm": lambda: nn.Residual(
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)), nn.Conv2d(4, 4, 1)
    ),
    "Residual ending in an activation": lambda: nn.Residual(
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh())
    ),
    "Residual, concatenated": lambda: nn.Residual(nn.Conv2d(4, 4, 1), mode="concat"),
    "MaxPool2d": lambda: nn.MaxPool2d(2),
}


def gradients_of(net, x, y):
    net.zero_grad()
    t = Tensor(x, requires_grad=True)
    out = y(t)
    (out * values(*out.shape, seed=5, dtype=out.dtype)).sum().backward()
    return [out.data, t.grad.data, *(p.grad.data for p in net.parameters())]


@pytest.mark.parametrize("follower", range(len(FOLLOWERS)))
@pytest.mark.parametrize("name", FIRST)
def test_fused_is_unfused(name, follower):
    net = nn.Sequential(FIRST[name](), FOLLOWERS[follower]()).double()
    x = values(2, 4, 4, 4, dtype=np.float64)

    def apart(x):
        if not isinstance(net[0], nn.Residual):
            return net[1](net[0](x))
        block = net[0]
        other = x if block.shortcut is None else block.shortcut(x)
        y = x
        for layer in block.body if isinstance(block.body, nn.Sequential) else [block.body]:
            y = layer(y)
        return net[1](cat([other, y], dim=1) if block.mode == "concat" else y + other)

    for one, other in zip(gradients_of(net, x, net), gradients_of(net, x, apart), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    with no_grad():
        net.eval()
        np.testing.assert_allclose(net(x).data, apart(Tensor(x)).data, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("window", [(2,), (3, 2, 1)])
def test_relu_behind_max_pooling_is_relu_before(window, norm):
    layers = [nn.Conv2d(2, 3, 3), *([nn.BatchNorm2d(3)] if norm else []), nn.ReLU()]
    net = nn.Sequential(*layers, nn.MaxPool2d(*window), nn.Conv2d(3, 2, 1)).double()
    x = values(2, 2, 9, 8, dtype=np.float64)

    def apart(x):
        for layer in net:
            x = layer(x)
        return x

    for one, other in zip(gradients_of(net, x, net), gradients_of(net, x, apart), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    with no_grad():
        net.eval()
        np.testing.assert_allclose(net(x).data, apart(Tensor(x)).data, rtol=1e-9, atol=1e-11)
    seen = []
    net[-3].register_forward_hook(lambda module, inputs, output: seen.append(output.data))
    net(x)
    assert (seen[0] >= 0).all()
    # Indices say where the largest lies, whatever its sign.
    pool = nn.MaxPool2d(*window, return_indices=True)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), pool)
    with no_grad():
        net[0].bias.fill_(-100)
    assert (net(x.astype(np.float32))[1] >= 0).all()


def test_what_is_listened_to_is_not_fused():
    conv, relu = nn.Conv2d(1, 2, 3), nn.ReLU()
    net, seen = nn.Sequential(conv, relu), {}

    def listen(layer, name):
        def hook(module, inputs, output):
            seen[name] = output.data

        return layer.register_forward_hook(hook)

    x = values(2, 1, 5, 5)
    plain = net(x)
    for layer in (conv, relu):
        handle = listen(layer, type(layer).__name__)
        same(net(x), plain)
        handle.remove()
    assert (seen["Conv2d"] < 0).any()
    assert (seen["ReLU"] >= 0).all()

    block = nn.Residual(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))
    seen.clear()
    listen(block.body[1], "norm")
    listen(block.body, "body")
    y = block(x)
    same(seen["norm"], seen["body"])
    same(y, seen["body"] + x)

    pair = nn.DepthwiseSeparableConv2d(1, 2, 3)
    plain = pair(x)
    listen(pair.depthwise, "depthwise")
    same(pair(x), plain, 1e-5)
    same(seen["depthwise"], F.conv2d(x, pair.depthwise.weight))


def test_a_forward_of_ones_own_is_not_fused():
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2

    net = nn.Sequential(Doubled(1, 1, 1), nn.ReLU())
    x = values(1, 1, 3, 3)
    same(net(x), F.relu(net[0](x)))
    block = nn.Residual(Doubled(1, 1, 1))
    same(block(x), block.body(x) + x)

    class Half(nn.ReLU):
        def forward(self, x):
            return super().forward(x) / 2

    net = nn.Sequential(nn.Conv2d(1, 1, 1), Half())
    same(net(x), F.relu(net[0](x)) / 2)


def test_residual():
    body, shortcut = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)
    x = values(1, 2, 4, 4)
    same(nn.Residual(body, shortcut)(x), body(x) + shortcut(x))
    y = nn.Residual(body, mode="concat")(x)
    assert y.shape == (1, 5, 4, 4)
    same(y[:, :2], x)
    same(y[:, 2:], body(x))
    assert list(nn.Residual(body, shortcut).state_dict()) == [
        "body.weight", "body.bias", "shortcut.weight", "shortcut.bias",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="residual"):
        nn.Residual(body)(x)  # 2 channels do not add to 3


def test_features():
    net, ran = small_net(), []
    net.eval()
    net[8].register_forward_hook(lambda m, x, y: ran.append("last"))
    x = Tensor(values(1, 2, 8, 8), requires_grad=True)
    found = nn.features(net, x, ["4", "1", "4.body.0"])
    assert list(found) == ["4", "1", "4.body.0"]
    assert ran == []  # nothing after the last of them
    same(found["1"], net[1](net[0](x)))
    same(found["4"], net[:5](x))
    found["4"].sum().backward()
    assert x.grad.data.any()
    assert not net[4]._forward_hooks  # nothing is left behind
    same(nn.features(net, x, [""])[""], net(x))
    assert nn.features(net, x, []) == {}
    for call, error, message in [
        (lambda: nn.features(3, x, ["1"]), TypeError, "model must be a Module"),
        (lambda: nn.features(net, x, "1"), TypeError, "layers must be a sequence"),
        (lambda: nn.features(net, x, [1]), TypeError, "layers must be a sequence"),
        (lambda: nn.features(net, x, 1), TypeError, "layers must be a sequence"),
        (lambda: nn.features(net, x, ["9"]), ValueError, "no layer '9'; it has '0', '1'"),
    ]:
        with pytest.raises(error, match=f"^features: .*{message}"):
            call()

    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.used(x)

    with pytest.raises(ValueError, match="'unused' did not run"):
        nn.features(Lazy(), x, ["used", "unused"])


def test_ensemble():
    a, b = nn.Linear(3, 2), nn.Linear(3, 2)
    both = nn.Ensemble([a, b])
    x = values(4, 3)
    same(both(x), (a(x).data + b(x).data) / 2)
    assert list(both.state_dict())[0] == "models.0.weight"
    both.eval()
    assert not a.training
    for models, error in (([], ValueError), ([a, 3], TypeError), (3, TypeError), (a, TypeError)):
        with pytest.raises(error, match="^Ensemble: models must"):
            nn.Ensemble(models)


# -- gradients through a net ----------------------------------------------------------------------


def test_gradients_through_a_net():
    pyconv.manual_seed(3)
    net = small_net().double()
    x, target = values(3, 2, 6, 6, dtype=np.float64), np.array([0, 2, 1])

    def loss():
        return F.cross_entropy(net(x), target)

    loss().backward()
    step = 1e-5
    for name, p in net.named_parameters():
        for index in list(np.ndindex(p.shape))[:: max(1, p.numel() // 6)]:
            held, slope = p.data[index], 0.0
            for sign in (1, -1):
                p.data[index] = held + sign * step
                with no_grad():
                    slope += sign * loss().item()
            p.data[index] = held
            assert p.grad.data[index] == pytest.approx(slope / (2 * step), abs=1e-7), name


# -- initial values -------------------------------------------------------------------------------


def check_uniform(array, bound):
    """Within the bound, near it, and with its variance (six standard errors)."""
    n = array.size
    assert abs(array).max() <= bound
    assert abs(array).max() > bound * (1 - 12 / n)
    assert abs(array.mean()) < 6 * bound / math.sqrt(3 * n)
    variance = bound**2 / 3
    assert abs(array.var() - variance) < 6 * variance * math.sqrt(0.8 / n)


def check_normal(array, std, mean=0.0):
    n = array.size
    assert abs(array.mean() - mean) < 6 * std / math.sqrt(n)
    assert abs(array.var() - std**2) < 6 * std**2 * math.sqrt(2 / n)
    assert abs(array - mean).max() > 2.5 * std
    inside = (abs(array - mean) < std).mean()
    assert abs(inside - 0.6827) < 6 * math.sqrt(0.68 * 0.32 / n)


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (lambda: nn.Conv2d(16, 64, 3), 16 * 9),
        (lambda: nn.Conv2d(16, 64, 3, groups=4), 4 * 9),
        (lambda: nn.Conv1d(16, 64, 5), 16 * 5),
        (lambda: nn.Linear(100, 80), 100),
        # PyTorch takes the second axis of the weight, which is the output's here.
        (lambda: nn.ConvTranspose2d(64, 32, 3), 32 * 9),
    ],
)
def test_layers_start_as_in_pytorch(layer, fan_in):
    layer = layer()
    check_uniform(layer.weight.data, 1 / math.sqrt(fan_in))
    check_uniform(layer.bias.data, 1 / math.sqrt(fan_in))
    before = layer.weight.data.copy()
    layer.reset_parameters()
    assert (layer.weight.data != before).any()


def test_norms_start_with_ones_and_zeros():
    layer = nn.BatchNorm2d(3)
    assert (layer.weight.data == 1).all()
    assert (layer.running_var.data == 1).all()
    assert not layer.bias.data.any()
    assert not layer.running_mean.data.any()
    layer.weight.data[...] = 5
    layer.running_var.fill_(3)
    layer.reset_parameters()
    assert (layer.weight.data == 1).all()
    assert (layer.running_var.data == 1).all()


def test_init():
    shape = (64, 32, 3, 3)
    fan_in, fan_out = 32 * 9, 64 * 9

    def filled(f, *arguments, **options):
        t = Tensor(np.full(shape, np.nan, np.float32), requires_grad=True)
        assert f(t, *arguments, **options) is t
        assert t.requires_grad
        return t.data.astype(float)

    init = nn.init
    check_uniform(filled(init.uniform_, -2, 2), 2)
    assert 0 <= filled(init.uniform_).min() < filled(init.uniform_).max() <= 1
    check_normal(filled(init.normal_), 1)
    check_normal(filled(init.normal_, 3.0, 0.5), 0.5, 3.0)
    check_uniform(filled(init.xavier_uniform_), math.sqrt(6 / (fan_in + fan_out)))
    check_uniform(filled(init.xavier_uniform_, 2.0), 2 * math.sqrt(6 / (fan_in + fan_out)))
    check_normal(filled(init.xavier_normal_, gain=3.0), 3 * math.sqrt(2 / (fan_in + fan_out)))
    check_uniform(filled(init.kaiming_uniform_), math.sqrt(6 / fan_in))
    check_uniform(filled(init.kaiming_uniform_, a=1.0), math.sqrt(3 / fan_in))
    check_normal(filled(init.kaiming_normal_), math.sqrt(2 / fan_in))
    check_normal(
        filled(init.kaiming_normal_, mode="fan_out", nonlinearity="relu"), math.sqrt(2 / fan_out)
    )
    check_normal(filled(init.kaiming_normal_, nonlinearity="tanh"), 5 / 3 / math.sqrt(fan_in))
    cut = filled(init.trunc_normal_, 1.0, 2.0, -1.0, 2.0)
    assert cut.min() >= -1
    assert cut.max() <= 2
    # mean of the normal distribution between -1 and 1/2 standard deviations
    phi = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (-1.0, 0.5)]
    mass = (math.erf(0.5 / math.sqrt(2)) - math.erf(-1 / math.sqrt(2))) / 2
    mean = 1 + 2 * (phi[0] - phi[1]) / mass
    assert abs(cut.mean() - mean) < 6 * 0.85 / math.sqrt(cut.size)
    far = filled(init.trunc_normal_, 0.0, 1.0, 6.0, 7.0)  # a tail that is hardly ever drawn
    assert 6 <= far.min() < far.max() <= 7
    assert abs(far.mean() - 6.158) < 0.01
    narrow = filled(init.trunc_normal_, 0.0, 1.0, -1e-4, 1e-4)
    check_uniform(narrow, 1e-4)
    assert (filled(init.constant_, 3) == 3).all()
    assert (filled(init.ones_) == 1).all()
    assert (filled(init.zeros_) == 0).all()
    matrix = np.empty((3, 5))
    assert (init.eye_(matrix) == np.eye(3, 5)).all()


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (4, 3, 3), (6, 6)], ids=str)
def test_orthogonal(shape):
    w = nn.init.orthogonal_(np.empty(shape), gain=2.0).reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_passes_channels_on(groups):
    w = nn.init.dirac_(np.empty((4, 4 // groups, 3, 3)), groups)
    x = values(1, 4, 5, 5, dtype=np.float64)
    same(F.conv2d(x, w, padding=1, groups=groups), x)
    w = nn.init.dirac_(np.empty((3, 3, 5)))
    same(F.conv1d(x[:, :3, 0], w, padding=2), x[:, :3, 0])


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        (("linear",), 1), (("conv2d",), 1), (("sigmoid",), 1), (("tanh",), 5 / 3),
        (("relu",), math.sqrt(2)), (("leaky_relu",), math.sqrt(2 / 1.0001)),
        (("leaky_relu", 2), math.sqrt(0.4)), (("selu",), 0.75),
    ],
)  # fmt: skip
def test_gains(name, gain):
    assert nn.init.calculate_gain(*name) == pytest.approx(gain)


def test_values_do_not_depend_on_the_order_in_memory():
    for f in (nn.init.uniform_, nn.init.normal_, nn.init.orthogonal_, nn.init.trunc_normal_):
        pyconv.manual_seed(5)
        a = f(np.empty((4, 3, 2)))
        pyconv.manual_seed(5)
        b = f(np.empty((2, 3, 4)).T)
        np.testing.assert_array_equal(a, b)


# -- utilities ------------------------------------------------------------------------------------


def with_gradients(*arrays):
    parameters = [nn.Parameter(np.zeros_like(a)) for a in arrays]
    for p, a in zip(parameters, arrays, strict=True):
        p.grad = Tensor(a.copy())
    return parameters


@pytest.mark.parametrize("order", [2, 1, 3.5, math.inf])
def test_clip_grad_norm(order):
    arrays = [values(3, 4), values(5, seed=1)]
    flat = np.concatenate([a.ravel() for a in arrays]).astype(float)
    norm = abs(flat).max() if order == math.inf else (abs(flat) ** order).sum() ** (1 / order)
    parameters = [*with_gradients(*arrays), nn.Parameter(np.zeros(2))]
    assert nn.utils.clip_grad_norm_(parameters, 0.5, order) == pytest.approx(norm, rel=1e-6)
    for p, a in zip(parameters[:2], arrays, strict=True):
        same(p.grad, a * 0.5 / norm, 1e-5)
    loose = with_gradients(*arrays)
    nn.utils.clip_grad_norm_(iter(loose), 1e3, norm_type=order)
    np.testing.assert_array_equal(loose[0].grad.data, arrays[0])
    assert nn.utils.clip_grad_norm_(nn.Parameter(np.zeros(2)), 1.0) == 0
    (single,) = with_gradients(values(3))
    nn.utils.clip_grad_norm_(single, 0.0)
    assert not single.grad.data.any()


def test_clip_grad_value_and_vectors():
    (p,) = with_gradients(np.array([-3.0, 0.5, 2.0]))
    nn.utils.clip_grad_value_([p], 1.0)
    assert p.grad.data.tolist() == [-1, 0.5, 1]
    layer = nn.Conv2d(2, 3, 2)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    same(vector, np.concatenate([layer.weight.data.reshape(-1), layer.bias.data]))


def test_what_is_frozen_stays_as_it_is_while_the_rest_is_trained(rng):
    from pyconv import Trainer, functional, optim

    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.9))
    model = nn.Sequential(body, nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    assert nn.utils.freeze(body) is body
    before = {k: v.copy() for k, v in model.state_dict().items()}
    x = rng.standard_normal((8, 1, 4, 4)).astype(np.float32)
    kept = body(x).numpy()
    data = [(x, np.arange(8) % 2)]
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    Trainer(model, optimizer, functional.cross_entropy, progress=False).fit(data, epochs=3)
    for key, value in model.state_dict().items():
        assert np.array_equal(value, before[key]) == key.startswith("0."), key
    model.train()
    assert [m.training for m in model] == [False, True, True, True]
    np.testing.assert_array_equal(body(x).numpy(), kept)
    nn.utils.unfreeze(body)
    assert not body.training
    assert all(m.training for m in model.train().modules())
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(TypeError, match="freeze: module must be a Module, got ndarray"):
        nn.utils.freeze(x)


# -- bad input ------------------------------------------------------------------------------------

G = [nn.Parameter(np.zeros(2))]
A = np.zeros((2, 2))
BAD = [
    *[
        case
        for c in ("Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d")
        for case in [
            (c, ("3", 4, 3), {}, TypeError, "in_channels"),
            (c, (0, 4, 3), {}, ValueError, "in_channels"),
            (c, (3, 4.0, 3), {}, TypeError, "out_channels"),
            (c, (3, 4, 0), {}, ValueError, "kernel_size"),
            (c, (3, 4, [3, 3]), {}, TypeError, "kernel_size"),
            (c, (3, 4, (3, 3, 3)), {}, ValueError, "kernel_size"),
            (c, (3, 4, 3, 0), {}, ValueError, "stride"),
            (c, (3, 4, 3, 1, -1), {}, ValueError, "padding"),
            (c, (3, 4, 3), dict(padding="all"), ValueError, "padding"),
            (c, (3, 4, 3), dict(dilation=0), ValueError, "dilation"),
            (c, (3, 4, 3), dict(groups=2), ValueError, "groups"),
            (c, (3, 4, 3), dict(groups=0), ValueError, "groups"),
            (c, (3, 4, 3), dict(bias=None), TypeError, "bias"),
        ]
    ],
    ("Conv2d", (3, 4, 3), dict(padding_mode="mirror"), ValueError, "padding_mode"),
    ("Conv2d", (3, 4, 3), dict(padding_mode="reflect", padding="same"), ValueError, "same"),
    ("ConvTranspose2d", (3, 4, 3), dict(padding="same"), ValueError, "padding"),
    ("ConvTranspose2d", (3, 4, 3), dict(output_padding=-1), ValueError, "output_padding"),
    ("DepthwiseSeparableConv2d", (3, 0, 3), {}, ValueError, "out_channels"),
    ("DepthwiseSeparableConv2d", (3, 4, 3), dict(stride="a"), TypeError, "stride"),
    ("Linear", (0, 1), {}, ValueError, "in_features"),
    ("Linear", (1, 1.5), {}, TypeError, "out_features"),
    ("Linear", (1, 1, 1), {}, TypeError, "bias"),
    *[
        case
        for c in ("BatchNorm1d", "BatchNorm2d", "InstanceNorm2d")
        for case in [
            (c, (0,), {}, ValueError, "num_features"),
            (c, (3, -1.0), {}, ValueError, "eps"),
            (c, (3,), dict(momentum="a"), TypeError, "momentum"),
            (c, (3,), dict(affine=1), TypeError, "affine"),
            (c, (3,), dict(track_running_stats=0), TypeError, "track_running_stats"),
        ]
    ],
    ("Dropout", (1.5,), {}, ValueError, "p"),
    ("Dropout", ("a",), {}, TypeError, "p"),
    ("LeakyReLU", ("a",), {}, TypeError, "negative_slope"),
    ("ReflectionPad2d", ((1, 2),), {}, ValueError, "padding"),
    ("ReflectionPad2d", (-1,), {}, ValueError, "padding"),
    ("ZeroPad2d", (1.0,), {}, TypeError, "padding"),
    ("Residual", (3,), {}, TypeError, "Module"),
    ("Residual", (nn.ReLU(), F.relu), {}, TypeError, "Module"),
    ("Residual", (nn.ReLU(),), dict(mode="mul"), ValueError, "mode"),
    ("Sequential", (nn.ReLU(), F.relu), {}, TypeError, "Module"),
    ("Sequential", ({"a": 3},), {}, TypeError, "Module"),
    ("Sequential", ([nn.ReLU()],), {}, TypeError, "Module"),
    ("ModuleList", ([3],), {}, TypeError, "Module"),
    ("ModuleList", (3,), {}, TypeError, "Module"),
    ("utils.clip_grad_norm_", (G, -1.0), {}, ValueError, "max_norm"),
    ("utils.clip_grad_norm_", (G, "a"), {}, TypeError, "max_norm"),
    ("utils.clip_grad_norm_", (G, 1.0, 0), {}, ValueError, "norm_type"),
    ("utils.clip_grad_norm_", ([A], 1.0), {}, TypeError, "parameters"),
    ("utils.clip_grad_norm_", (3, 1.0), {}, TypeError, "parameters"),
    ("utils.clip_grad_value_", (G, -1.0), {}, ValueError, "clip_value"),
    ("utils.clip_grad_value_", (G, None), {}, TypeError, "clip_value"),
    ("utils.parameters_to_vector", ([3],), {}, TypeError, "parameters"),
    *[
        case
        for f in ("uniform_", "normal_", "trunc_normal_", "ones_", "zeros_", "eye_", "dirac_",
                  "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_",
                  "orthogonal_")
        for case in [
            (f"init.{f}", ([1.0],), {}, TypeError, "tensor"),
            (f"init.{f}", (np.zeros((2, 2), int),), {}, TypeError, "tensor"),
        ]
    ],
    *[
        (f"init.{f}", (np.zeros(3),), {}, ValueError, "tensor")
        for f in ("eye_", "dirac_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_",
                  "kaiming_normal_", "orthogonal_")
    ],
    ("init.uniform_", (A, "a"), {}, TypeError, "a"),
    ("init.uniform_", (A, 0.0, None), {}, TypeError, "b"),
    ("init.uniform_", (A, 2.0, 1.0), {}, ValueError, "a"),
    ("init.normal_", (A, None), {}, TypeError, "mean"),
    ("init.normal_", (A, 0.0, -1.0), {}, ValueError, "std"),
    ("init.trunc_normal_", (A, 0.0, 0.0), {}, ValueError, "std"),
    ("init.trunc_normal_", (A, 0.0, 1.0, 1.0, 1.0), {}, ValueError, "a"),
    ("init.trunc_normal_", (A, 0.0, 1.0, 1.0, np.nan), {}, ValueError, "a"),
    ("init.constant_", (A, "a"), {}, TypeError, "val"),
    ("init.constant_", ([1], 1), {}, TypeError, "tensor"),
    ("init.dirac_", (np.zeros((3, 3, 3)), 2), {}, ValueError, "groups"),
    ("init.xavier_uniform_", (A, None), {}, TypeError, "gain"),
    ("init.xavier_normal_", (A, "a"), {}, TypeError, "gain"),
    ("init.orthogonal_", (A, "a"), {}, TypeError, "gain"),
    ("init.kaiming_normal_", (A, 0, "fan"), {}, ValueError, "mode"),
    ("init.kaiming_uniform_", (A, 0, "fan_in", "swish"), {}, ValueError, "swish"),
    ("init.kaiming_uniform_", (A, "a"), {}, TypeError, "a"),
    ("init.calculate_gain", ("swish",), {}, ValueError, "swish"),
    ("init.calculate_gain", ("leaky_relu", "a"), {}, TypeError, "param"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_arguments(case):
    name, arguments, options, error, argument = BAD[case]
    target = nn
    for part in name.split("."):
        target = getattr(target, part)
    with pytest.raises(error, match=rf"^{name.split('.')[-1]}: .*{argument}"):
        target(*arguments, **options)


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (lambda: nn.BatchNorm2d(3), np.zeros((2, 3)), ValueError, "BatchNorm2d: x must be 4-D"),
        (lambda: nn.BatchNorm1d(3), np.zeros((2, 3, 1, 1)), ValueError, "BatchNorm1d: x must be"),
        (lambda: nn.BatchNorm1d(3), np.zeros((2, 4)), ValueError, "BatchNorm1d: x must have 3"),
        (lambda: nn.InstanceNorm2d(3), [1], TypeError, "InstanceNorm2d: x must be a Tensor"),
        (lambda: nn.Conv2d(3, 4, 3), np.zeros((2, 3, 5, 5)), TypeError, "conv2d: weight"),
        (lambda: nn.Linear(3, 4), np.zeros((2, 5), np.float32), ValueError, "linear: "),
        (lambda: nn.Flatten(), 3, TypeError, "Flatten: x"),
        (lambda: nn.Unflatten(1, (2, 2)), 3, TypeError, "Unflatten: x"),
        (lambda: nn.Residual(nn.ReLU()), 3, TypeError, "Residual: x"),
    ],
)
def test_bad_input(layer, x, error, message):
    with pytest.raises(error, match=f"^{message}"):
        layer()(x)
