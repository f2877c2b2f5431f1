"""The tape and the arithmetic of Tensors."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
from gradients import check_gradients

from pyconv.autograd import (
    Tensor,
    cat,
    enable_grad,
    grad,
    is_grad_enabled,
    maximum,
    minimum,
    no_grad,
    stack,
    where,
)


def values(*shape, low=-1.0, high=1.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape)


def leaf(*data, dtype=np.float64):
    return Tensor(np.array(data, dtype), requires_grad=True)


BINARY = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b,
    "maximum": maximum,
    "minimum": minimum,
    "where": lambda a, b: where(np.array([True, False, True]), a, b),
}
SHAPES = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (4, 1, 3)), ((3,), ())]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_binary_operations_with_broadcasting(name, shapes):
    # Away from 0, where a quotient or power has no derivative, and from each other.
    a = values(*shapes[0], low=0.6, high=1.4)
    b = values(*shapes[1], low=0.6, high=1.4, seed=1)
    check_gradients(BINARY[name], a, b)


UNARY = {
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "sqrt": lambda x: x.sqrt(),
    "negative": lambda x: -x,
    "abs": lambda x: abs(x),
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "inverse": lambda x: x**-1,
    "root": lambda x: x**0.5,
    "one": lambda x: x**0,
    "exponent": lambda x: 2.0**x,
    "constants": lambda x: 3 - 2 / x + np.full(3, 2.0) * x,
    "clamp": lambda x: x.clamp(0.8, 1.2),
    "clamp from below": lambda x: x.clamp(min=1.0),
    "relu": lambda x: (x - 1).relu(),
    "sigmoid": lambda x: x.sigmoid(),
    "tanh": lambda x: x.tanh(),
    "sum": lambda x: x.sum(),
    "sum over an axis": lambda x: x.sum(1),
    "sum over two": lambda x: x.sum((0, -1), keepdim=True),
    "mean": lambda x: x.mean(0),
    "var": lambda x: x.var(1),
    "biased var": lambda x: x.var(unbiased=False),
    "std": lambda x: x.std((0, 1)),
    "max": lambda x: x.max(),
    "max along an axis": lambda x: x.max(1).values,
    "min along an axis": lambda x: x.min(0, keepdim=True).values,
    "reshape": lambda x: x.reshape(3, -1),
    "view of a tuple": lambda x: x.view((6,)),
    "flatten": lambda x: x.reshape(1, 2, 3).flatten(1),
    "transpose": lambda x: x.transpose(0, 1),
    "T": lambda x: x.T,
    "permute": lambda x: x.reshape(1, 2, 3).permute(2, 0, 1),
    "squeeze": lambda x: x.reshape(1, 2, 1, 3).squeeze(),
    "squeeze one": lambda x: x.reshape(1, 2, 1, 3).squeeze(2),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "expand": lambda x: x.reshape(2, 1, 3).expand(2, 4, -1),
    "row": lambda x: x[1],
    "slices": lambda x: x[:, ::-2],
    "new axis": lambda x: x[..., None, 1:],
    "repeated rows": lambda x: x[np.array([0, 1, 0, 0])],
    "points": lambda x: x[np.array([0, 1, 1]), np.array([2, 0, 0])],
    "list": lambda x: x[[1, 1]],
    "mask": lambda x: x[np.array([[True, False, True], [False, True, True]])],
    "index of Tensors": lambda x: x[Tensor(np.array([1, 1]))],
    "iteration": lambda x: sum(row * i for i, row in enumerate(x, 1)),
    "cat with itself": lambda x: cat([x, x * x], dim=1),
    "cat of images": lambda x: cat([x.reshape(1, 2, 1, 3), x.reshape(1, 2, 1, 3)], 1),
    "stack": lambda x: stack([x, 2 * x], dim=1),
    "clone": lambda x: x.clone() * x,
    "to": lambda x: x.to("cpu") * x,
}


@pytest.mark.parametrize("name", UNARY)
def test_unary_operations(name):
    # Elements at least 0.06 apart from each other and from the kinks at 0.8, 1 and 1.2.
    x = np.array([[0.63, 0.91, 1.33], [1.09, 0.70, 1.27]])
    check_gradients(UNARY[name], x)


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3), (3, 4)),
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((5, 2, 3), (3, 4)),
        ((5, 2, 3), (5, 3, 2)),
        ((2, 3), (5, 3, 2)),
        ((4, 1, 2, 3), (5, 3, 2)),
        ((5, 2, 3), (3,)),
    ],
    ids=str,
)
def test_matmul(shapes):
    check_gradients(lambda a, b: a @ b, values(*shapes[0]), values(*shapes[1], seed=1))


def test_values_are_numpys():
    a, b = values(2, 3), values(2, 3, seed=1)
    x = Tensor(a)
    np.testing.assert_array_equal((x + b).data, a + b)
    np.testing.assert_array_equal((b - x).data, b - a)
    np.testing.assert_array_equal((x / Tensor(b)).data, a / b)
    np.testing.assert_allclose((x @ b.T).data, a @ b.T, rtol=1e-14)
    np.testing.assert_array_equal((b @ x.T).data.shape, (2, 2))
    np.testing.assert_allclose(x.var(1).data, a.var(1, ddof=1), rtol=1e-14)
    assert x.max(1).indices.tolist() == a.argmax(1).tolist()
    assert x.argmax().item() == a.argmax()
    assert ((x > 0) == (a > 0)).all()
    assert isinstance(x > 0, np.ndarray)
    assert (x == a).all()
    assert not (x != Tensor(a)).any()


def test_infinities_and_nans_come_without_warnings():
    x = Tensor(np.array([0.0, -1.0, np.inf]))
    assert np.isneginf(x.log().data[0])
    assert np.isnan(x.log().data[1])
    assert np.isinf((1 / x).data[0])
    assert np.isnan((x - x).data[2])


def test_scalars_keep_the_dtype():
    x = Tensor(np.ones(2, np.float32))
    for y in (x * 2, 2.5 * x, x + np.float64(1), x / 3, x**2, x**0.5, 1 - x, x.mean(), x.var()):
        assert y.dtype == np.float32
    assert (Tensor(np.ones(2, np.int64)) * 2).dtype == np.int64
    assert (Tensor(np.arange(2)) + x).dtype == np.float32
    assert (x + np.arange(2)).dtype == np.float32
    assert Tensor(1.5).dtype == np.float32
    assert Tensor(np.float64(1.5)).dtype == np.float64
    assert Tensor(3).dtype == np.int64


def test_float_types_do_not_mix():
    x, y = Tensor(np.ones(2, np.float32)), Tensor(np.ones(2))
    for operation in (lambda: x + y, lambda: x * np.ones(2), lambda: x @ y, lambda: cat([x, y])):
        with pytest.raises(TypeError, match="float"):
            operation()


def test_backward_adds_up():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.data.tolist() == [5, 7]


def test_in_place_accumulation_keeps_the_gradients_array():
    x = leaf(1.0)
    (x * 2).sum().backward()
    array = x.grad.data
    (x * 2).sum().backward()
    assert x.grad.data is array
    assert array[0] == 4


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_never_share_memory(create_graph):
    x, y, g = leaf(1.0, 2.0), leaf(3.0, 4.0), Tensor(np.ones(2))
    (x + y).backward(g, create_graph=create_graph)
    x.grad.data += 10
    assert y.grad.data.tolist() == [1, 1]
    assert g.data.tolist() == [1, 1]
    z = leaf(1.0, 2.0)
    z.reshape(2, 1).backward(np.ones((2, 1)), create_graph=create_graph)
    (first,) = grad(z + 0, z, g)
    first.data += 1
    assert g.data.tolist() == [1, 1]
    (z + 0).sum().backward()
    assert z.grad.data.tolist() == [2, 2]


def test_gradient_of_a_broadcast_is_writable():
    x = leaf(1.0, 2.0)
    x.sum().backward()
    x.grad.data += 1
    assert x.grad.data.tolist() == [2, 2]


def test_diamonds_are_walked_once():
    x, calls = leaf(2.0), []
    y = x * x
    for _ in range(20):  # 2^20 paths
        y = y + y
    y.backward()
    assert x.grad.item() == 2**20 * 4
    assert not calls


def test_long_chains():
    x = leaf(1.0)
    y = x
    for _ in range(20000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1
    del y
    gc.collect()


def test_backward_of_several_elements_needs_a_gradient():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match="gradient"):
        (x * 2).backward()
    with pytest.raises(ValueError, match="shape"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(TypeError, match="float32"):
        (x * 2).backward(np.ones(2, np.float32))
    (x * 2).backward(np.array([1.0, 10.0]))
    assert x.grad.data.tolist() == [2, 20]


def test_backward_needs_a_graph():
    with pytest.raises(RuntimeError, match="does not require"):
        Tensor(np.ones(())).backward()


def test_graphs_are_freed():
    x = leaf(1.0, 2.0)
    y = (x * x).exp().sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()
    z = (x * x).sum()
    z.backward(retain_graph=True)
    z.backward()


def test_saved_arrays_are_let_go():
    x = leaf(1.0, 2.0)
    y = x.exp()
    saved = weakref.ref(y.data)
    z = y.sum()
    del y
    gc.disable()
    try:
        assert saved() is not None
        z.backward()
        assert saved() is None
    finally:
        gc.enable()


def test_results_do_not_hold_themselves():
    x = leaf(1.0, 2.0)
    gc.disable()
    try:
        y = x.exp().sqrt()
        watched = weakref.ref(y)
        del y
        assert watched() is None
    finally:
        gc.enable()


def test_grad_returns_and_touches_nothing():
    x, y = leaf(2.0), leaf(3.0)
    dx, dy = grad(x * y * y, (x, y))
    assert (dx.item(), dy.item()) == (9, 12)
    assert x.grad is None
    assert y.grad is None


def test_grad_of_results_on_the_way():
    x = leaf(2.0)
    y = x * x
    z = y * y
    dy, dx = grad(z, [y, x])
    assert (dy.item(), dx.item()) == (8, 32)


def test_grad_of_several_outputs():
    x = leaf(2.0)
    (dx,) = grad([x * 2, x * 3], x, [np.array([1.0]), np.array([10.0])])
    assert dx.item() == 32


def test_grad_walks_only_what_it_needs():
    x, w = leaf(2.0), leaf(3.0)
    from pyconv.autograd import record

    def backward(dy, needs):
        assert needs == (True, False)
        return dy * w, None

    y = record("product", x.data * w.data, (x, w), backward)
    assert grad(y, x)[0].item() == 3


def test_unused_inputs():
    x, y = leaf(1.0), leaf(2.0)
    with pytest.raises(RuntimeError, match=r"inputs\[1\]"):
        grad(x * 2, (x, y))
    assert grad(x * 2, (x, y), allow_unused=True)[1] is None
    with pytest.raises(RuntimeError, match="require"):
        grad(x * 2, Tensor(np.ones(1)))
    with pytest.raises(TypeError, match="Tensor"):
        grad(x * 2, "x")


def test_third_derivatives():
    x = leaf(2.0)
    y = x**4
    for expected in (32, 48, 48, 24):
        (y,) = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(expected)


def test_create_graph_in_backward():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    first = x.grad
    assert first.requires_grad
    assert grad(first, x)[0].item() == 18


def test_retain_grad():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    (y * y).backward()
    assert y.grad.item() == 12


def test_no_grad_and_enable_grad():
    x = leaf(1.0)
    with no_grad():
        assert not is_grad_enabled()
        assert not (x * 2).requires_grad
        with enable_grad():
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad

    @no_grad()
    def double(t):
        return t * 2

    assert not double(x).requires_grad
    assert not double(x).requires_grad
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled()


def test_no_grad_is_for_its_thread():
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_detach_shares_the_array():
    x = leaf(1.0)
    y = (x * 2).detach()
    assert not y.requires_grad
    assert x.detach().data is x.data


def test_requires_grad_is_for_floats():
    with pytest.raises(TypeError, match="floating"):
        Tensor(np.arange(3), requires_grad=True)
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="leaves"):
        (x * 2).requires_grad = False
    with pytest.raises(TypeError, match="bool"):
        x.requires_grad_(1)
    assert not x.requires_grad_(False).requires_grad


def test_in_place_operations():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="in place"):
        x += 1
    with pytest.raises(RuntimeError, match="in place"):
        x[0] = 1
    array = x.data
    with no_grad():
        x -= 0.5 * x
        x[1] = 7
    assert x.data is array
    assert array.tolist() == [0.5, 7]
    assert x.requires_grad
    y = Tensor(np.zeros(2))
    y += 1
    y *= np.array([2.0, 3.0])
    y /= 2
    assert y.data.tolist() == [1, 1.5]
    assert y.zero_().data.tolist() == [0, 0]
    z = x * 2
    z += x  # a recorded result becomes a new one
    z.sum().backward()
    assert x.grad.data.tolist() == [3, 3]


def test_conversions():
    x = Tensor(np.arange(6.0).reshape(2, 3))
    assert np.asarray(x) is x.data
    assert np.asarray(x, np.float32).dtype == np.float32
    assert np.from_dlpack(x).tolist() == x.tolist()
    assert x.numpy() is x.data
    assert x.shape == x.size() == (2, 3)
    assert (x.ndim, x.numel(), len(x), x.size(1), x.device) == (2, 6, 2, 3, "cpu")
    assert x[1, 2].item() == 5
    assert float(x[0, 1]) == 1
    assert int(x[0, 2]) == 2
    assert bool(x[0, 1])
    assert x.to(np.float32).dtype == x.float().dtype == np.float32
    with pytest.raises(ValueError, match="single"):
        x.item()
    with pytest.raises(TypeError, match="length"):
        len(x.sum())
    with pytest.raises(TypeError, match="dtype"):
        x.to("somewhere")
    assert hash(x) != hash(Tensor(x.data))
    assert repr(Tensor(np.float32([1, 2]), True)) == (
        "Tensor([1., 2.], dtype=float32, requires_grad=True)"
    )


def test_copies():
    x = Tensor(np.ones((2, 3)).T, requires_grad=True)
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    y.data[0] = 5
    y.grad.data[0] = 5
    assert x.data[0, 0] == 1
    assert x.grad.data[0, 0] == 2
    assert y.requires_grad
    assert y.data.strides == x.data.strides
    assert pickle.loads(pickle.dumps(x)).requires_grad
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(x * 2)
    with pytest.raises(RuntimeError, match="detach"):
        pickle.dumps(x * 2)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: Tensor([1.0, 2.0]), TypeError),
        (lambda x: Tensor("one"), TypeError),
        (lambda x: Tensor(np.array(["one"])), TypeError),
        (lambda x: x + "one", TypeError),
        (lambda x: x + [1, 2, 3], TypeError),
        (lambda x: x @ np.ones((4, 2)), ValueError),
        (lambda x: x @ 2.0, ValueError),
        (lambda x: x.sum(2), ValueError),
        (lambda x: x.sum((0, 0)), ValueError),
        (lambda x: x.sum(1.5), TypeError),
        (lambda x: x.permute(0, 0), ValueError),
        (lambda x: x.reshape(4, 4), ValueError),
        (lambda x: x.flatten(1, 0), ValueError),
        (lambda x: x.unsqueeze(4), ValueError),
        (lambda x: x.clamp(), ValueError),
        (lambda x: where([True], x, x), TypeError),
        (lambda x: cat([]), TypeError),
        (lambda x: cat(x), TypeError),
        (lambda x: cat([x, x.T]), ValueError),
        (lambda x: Tensor(np.zeros((0, 2))).max(), ValueError),
        (lambda x: Tensor(np.arange(3)).exp(), TypeError),
        (lambda x: Tensor(np.arange(3)).mean(), TypeError),
    ],
)
def test_bad_arguments(call, error):
    with pytest.raises(error):
        call(Tensor(np.ones((2, 3))))


def test_ties_share_the_gradient():
    x = leaf(1.0, 3.0, 3.0)
    x.max().backward()
    assert x.grad.data.tolist() == [0, 0.5, 0.5]
    a, b = leaf(1.0), leaf(1.0)
    maximum(a, b).backward()
    assert (a.grad.item(), b.grad.item()) == (0.5, 0.5)
