"""Packed weights and folded normalisations: the same values, never stale, nothing in the way."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tolerances import FACTOR, assert_same_bits, assert_within, sum_bound

import pyconv
from pyconv import kernels, nn, no_grad, optim, reference
from pyconv.functional import batch_norm
from pyconv.nn import init


def pair(rng: np.random.Generator, dtype: str = "float32", **how: Any) -> nn.Sequential:
    """A convolution and a normalisation whose numbers are no special ones, in `eval()`."""
    how = {"kernel_size": 3, "padding": 1, "bias": False, **how}
    net = nn.Sequential(nn.Conv2d(8, 16, **how), nn.BatchNorm2d(16), nn.ReLU()).to(dtype).eval()
    for t in (net[1].weight, net[1].bias, net[1].running_mean):
        t.data[...] = rng.standard_normal(16)
    net[1].running_var.data[...] = rng.random(16) + 0.5
    return net


def image(rng: np.random.Generator, dtype: str = "float32", size: int = 6) -> np.ndarray:
    return rng.standard_normal((2, 8, size, size)).astype(dtype)


def run(net: nn.Module, x: np.ndarray) -> np.ndarray:
    with no_grad():
        return net(x).data


def expected(net: nn.Sequential, x: np.ndarray) -> np.ndarray:
    """By the definition, in float64, from what the parameters are now; without the ReLU."""
    conv, norm = net[0], net[1]
    how = dict(stride=conv.stride, padding=conv.padding, groups=conv.groups)
    bias = None if conv.bias is None else conv.bias.data.astype("float64")
    y = reference.conv2d(x.astype("float64"), conv.weight.data.astype("float64"), bias, **how)
    vectors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    vectors = (t.data.astype("float64") for t in vectors)
    return reference.batch_norm_inference(y, *vectors, eps=norm.eps)


def assert_up_to_date(net: nn.Sequential, x: np.ndarray) -> None:
    """Within the bound of one sum, whose weights are off by half a rounding more."""
    conv, norm = net[0], net[1]
    scale = np.abs(norm.weight.data) / np.sqrt(norm.running_var.data + norm.eps)
    how = dict(stride=conv.stride, padding=conv.padding, groups=conv.groups)
    weight = np.abs(conv.weight.data) * scale[:, None, None, None]
    vectors = np.abs(norm.bias.data) + scale * np.abs(norm.running_mean.data)
    if conv.bias is not None:
        vectors = vectors + scale * np.abs(conv.bias.data)
    magnitude = reference.conv2d(np.abs(x), weight, **how) + vectors[:, None, None]
    algorithm = kernels.explain("conv2d", x.shape, conv.weight.shape, **how).algorithm
    n = int(np.prod(conv.weight.shape[1:]))
    wide = 1 if x.dtype == np.float32 else 2
    bound = sum_bound(x.dtype, magnitude, n, wide * (FACTOR.get(algorithm, 4.0) + 1))
    assert_within(run(net, x), np.maximum(expected(net, x), 0), bound)


def folded(net: nn.Sequential) -> bool:
    return "_ready" in net[0].__dict__ and len(net[0]._ready.sources) == 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "how", [{}, {"bias": True}, {"stride": 2}, {"groups": 8}, {"kernel_size": 1, "padding": 0}]
)
def test_folded_is_the_same(how: Any, dtype: str, isa: str, rng: np.random.Generator) -> None:
    net, x = pair(rng, dtype, **how), image(rng, dtype)
    assert_up_to_date(net, x)
    assert folded(net)


def test_packed_is_the_same(isa: str, rng: np.random.Generator) -> None:
    layer, x = nn.Conv2d(8, 16, 3, padding=1).eval(), image(rng)
    plain = layer(x).data
    assert "_ready" not in layer.__dict__  # a gradient is recorded
    ready = run(layer, x)
    assert "_ready" in layer.__dict__
    assert_same_bits(ready, plain)


def test_residual_and_activation_are_fused(rng: np.random.Generator) -> None:
    net, x = pair(rng, "float64"), image(rng, "float64")
    other = rng.standard_normal((2, 16, 6, 6))
    y = expected(net, x) + other
    block = nn.Sequential(
        nn.Residual(net[:2], nn.Identity()), nn.ReLU6()
    )  # fmt: skip
    block[0].shortcut.register_forward_hook(lambda m, i, o: pyconv.Tensor(other))
    with no_grad():
        actual = block(x).data
    assert folded(net)
    np.testing.assert_allclose(actual, np.clip(y, 0, 6), atol=1e-12)


def test_bad_residuals_are_refused_also_by_a_layer_that_is_ready(rng: np.random.Generator) -> None:
    layer, x = nn.Conv2d(8, 16, 3).eval(), image(rng)
    y = run(layer, x)
    assert "_ready" in layer.__dict__
    with no_grad():
        twice = layer(x, residual=y)
        np.testing.assert_array_equal(twice.data, y + y)
        with pytest.raises(ValueError, match=r"conv2d: residual must have shape \(2, 16, 4, 4\)"):
            layer(x, residual=y[:, :8])
        with pytest.raises(TypeError, match="residual must have the dtype of x"):
            layer(x, residual=y.astype("float64"))
        with pytest.raises(TypeError, match="conv2d: residual must be a NumPy array"):
            layer(x, residual=1.0)
        with pytest.raises(ValueError, match="conv2d: activation must be"):
            layer(x, activation="swish")


def set_weight(net: nn.Sequential) -> None:
    net[0].weight.data = net[0].weight.data * 2


def replace_weight(net: nn.Sequential) -> None:
    net[0].weight = nn.Parameter(net[0].weight.data * 2)


def load(net: nn.Sequential) -> None:
    net.load_state_dict({name: array + 1 for name, array in net.state_dict().items()})


def load_mean(net: nn.Sequential) -> None:
    net[1].load_state_dict({"running_mean": np.ones(16)}, strict=False)


def step(net: nn.Sequential, kind: Any = optim.SGD) -> None:
    optimizer = kind(net.parameters(), lr=0.5)
    net(np.ones((2, 8, 6, 6), net[0].weight.dtype)).sum().backward()
    optimizer.step()


def search(net: nn.Sequential) -> None:
    optimizer = optim.LBFGS(net.parameters(), lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (net(np.ones((2, 8, 6, 6), "float32")) ** 2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)


def move(net: nn.Sequential) -> None:
    """The running statistics, by a normalisation that is set to training by itself."""
    net[1].training = True
    run(net, np.full((2, 8, 6, 6), 3, "float32"))
    net[1].training = False


def move_by_function(net: nn.Sequential) -> None:
    norm = net[1]
    x = np.arange(96, dtype="float32").reshape(2, 16, 3)
    batch_norm(x, norm.running_mean, norm.running_var, training=True)


def train(net: nn.Sequential) -> None:
    net.train()
    net[0].weight.data[...] *= 2
    net[1].running_var.data[...] += 1
    net.eval()


def train_the_norm(net: nn.Sequential) -> None:
    net[1].train()
    net[1].weight.data[...] = 3
    net[1].eval()


def draw(net: nn.Sequential) -> None:
    init.normal_(net[0].weight)
    net[1].reset_parameters()


def fill(net: nn.Sequential) -> None:
    with no_grad():
        net[0].weight *= 3
        net[1].bias.fill_(2)
        net[1].running_mean.zero_()


def by_hand(net: nn.Sequential) -> None:
    net[0].weight.data.flags.writeable = True
    net[0].weight.data *= 2


def set_eps(net: nn.Sequential) -> None:
    net[1].eps = 0.5


def set_stride(net: nn.Sequential) -> None:
    net[0].stride = (2, 1)


@pytest.mark.parametrize(
    "change",
    [
        set_weight, replace_weight, load, load_mean, step, search, move, move_by_function, train,
        train_the_norm, draw, fill, by_hand, set_eps, set_stride,
        lambda net: step(net, optim.AdamW), lambda net: step(net, optim.RMSprop),
    ],
)  # fmt: skip
def test_never_stale(change: Callable[[nn.Sequential], None], rng: np.random.Generator) -> None:
    net, x = pair(rng), image(rng)
    before = run(net, x)
    assert folded(net)
    change(net)
    assert run(net, x).shape != before.shape or np.abs(run(net, x) - before).max() > 0.01
    assert_up_to_date(net, x)
    assert folded(net)


def test_an_average_moves_on(rng: np.random.Generator) -> None:
    net, x = pair(rng), image(rng)
    average = optim.AveragedModel(net).eval()
    average.update_parameters(net)
    run(average, x)
    assert folded(average.module)
    set_weight(net)
    average.update_parameters(net)
    np.testing.assert_allclose(average.module[0].weight.data, 0.75 * net[0].weight.data, rtol=1e-6)
    assert_up_to_date(average.module, x)


def test_read_only_meanwhile(rng: np.random.Generator) -> None:
    net, x = pair(rng), image(rng)
    run(net, x)
    held = [net[0].weight, *net[1].parameters(), net[1].running_mean, net[1].running_var]
    for t in held:
        with pytest.raises(ValueError, match="read-only"):
            t.data[...] = 0
    net.eval()
    assert not net[0].weight.data.flags.writeable
    net.train()
    for t in held:
        t.data[...] = 1
    assert "_ready" not in net[0].__dict__


def test_old_arrays_are_given_back(rng: np.random.Generator) -> None:
    net, x = pair(rng), image(rng)
    run(net, x)
    old = net[0].weight.data
    set_weight(net)
    run(net, x)
    assert old.flags.writeable and not net[0].weight.data.flags.writeable


def test_an_array_that_is_read_only_for_others(rng: np.random.Generator) -> None:
    """Who made it so may write it again: nothing is kept."""
    net, x = pair(rng), image(rng)
    net[0].weight.data.flags.writeable = False
    assert_up_to_date(net, x)
    assert "_ready" not in net[0].__dict__
    assert net[1].weight.data.flags.writeable
    net.train()
    assert not net[0].weight.data.flags.writeable


def test_thawed_and_read_only_again(rng: np.random.Generator) -> None:
    net, x = pair(rng), image(rng)
    run(net, x)
    init.normal_(net[0].weight)
    net[0].weight.data.flags.writeable = False
    assert_up_to_date(net, x)
    assert "_ready" not in net[0].__dict__


def test_one_convolution_before_two_norms(rng: np.random.Generator) -> None:
    first, second, x = pair(rng), pair(rng), image(rng)
    second.register_module("0", first[0])
    for _ in range(2):
        assert_up_to_date(first, x)
        assert_up_to_date(second, x)
        run(first[:1], x)


def test_tied_weights(rng: np.random.Generator) -> None:
    nets, x = [pair(rng), pair(rng)], image(rng)
    nets[1][0].weight = nets[0][0].weight
    for net in nets:
        run(net, x)
    nets[0].train()
    nets[0][0].weight.data[...] *= 2
    assert_up_to_date(nets[1], x)


def test_gradients_go_the_plain_way(rng: np.random.Generator) -> None:
    net, x = pair(rng, "float64"), image(rng, "float64")
    run(net, x)
    net.requires_grad_(False)
    t = pyconv.Tensor(x, requires_grad=True)
    net(t).sum().backward()
    z = expected(net, x)
    slope = net[1].weight.data / np.sqrt(net[1].running_var.data + net[1].eps)
    dz = (z > 0) * slope[:, None, None]
    dx = reference.conv2d_backward_input(dz, net[0].weight.data, x.shape, padding=1)
    np.testing.assert_allclose(t.grad.data, dx, atol=1e-12)
    net(x)  # nothing asks for a gradient
    assert folded(net)


def test_who_listens_sees_what_is_not_folded(rng: np.random.Generator) -> None:
    net, x = pair(rng, "float64"), image(rng, "float64")
    run(net, x)
    with no_grad():
        found = pyconv.features(net, x, ["0", "1"])
    y = kernels.conv2d(x, net[0].weight.data, padding=1)
    np.testing.assert_allclose(found["0"].data, y, atol=1e-12)
    np.testing.assert_allclose(found["1"].data, expected(net, x), atol=1e-12)
    assert not folded(net)


class Doubled(nn.BatchNorm2d):
    def forward(self, x: Any) -> Any:
        return super().forward(x) * 2


def test_a_forward_of_ones_own_is_called(rng: np.random.Generator) -> None:
    net, x = pair(rng, "float64"), image(rng, "float64")
    other = Doubled(16).double().eval()
    other.load_state_dict(net[1].state_dict())
    own = nn.Sequential(net[0], other).eval()
    np.testing.assert_allclose(run(own, x), 2 * expected(net, x), atol=1e-12)


def test_copies_and_pickles_leave_it_behind(rng: np.random.Generator) -> None:
    net, x = pair(rng), image(rng)
    y = run(net, x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert "_ready" not in other[0].__dict__
        assert other[0].weight.data.flags.writeable
        assert_same_bits(run(other, x), y)
        other.double()
        assert_up_to_date(other, x.astype("float64"))
    assert folded(net)
    assert sorted(net.state_dict()) == sorted(copy.deepcopy(net).state_dict())


def test_other_sizes(rng: np.random.Generator) -> None:
    """One packed form, whatever sizes come."""
    net = pair(rng)
    for size in (6, 33, 1, 6):
        assert_up_to_date(net, image(rng, size=size))


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (np.zeros((2, 7, 6, 6), "float32"), ValueError),
        (np.zeros((2, 8, 6, 6), "float64"), TypeError),
        (np.zeros((2, 8, 6), "float32"), ValueError),
        (np.zeros((2, 8, 0, 6), "float32"), ValueError),
    ],
)
def test_errors_are_those_of_the_layers(
    x: np.ndarray, error: type[Exception], rng: np.random.Generator
) -> None:
    net = pair(rng, padding=0)
    with pytest.raises(error) as plain:
        net(x)
    with pytest.raises(error) as ready, no_grad():
        net(x)
    assert str(plain.value) == str(ready.value)


def test_several_threads(rng: np.random.Generator) -> None:
    net = pair(rng)
    images = [image(rng, size=size) for size in (6, 9)] * 4
    wanted = [run(net, x) for x in images]
    found: list[Any] = [None] * len(images)
    net.train().eval()

    def work(i: int) -> None:
        for _ in range(20):
            found[i] = run(net, images[i])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for a, b in zip(found, wanted, strict=True):
        assert_same_bits(a, b)


def test_the_same_bits_with_any_threads(threads: int, rng: np.random.Generator) -> None:
    net, x = pair(rng), image(rng, size=20)
    y = run(net, x)
    pyconv.set_num_threads(1)
    assert_same_bits(run(net, x), y)
