"""Optimizer steps and norms against the reference in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tolerances import EPS, assert_exact, assert_same_bits, assert_within, channels_last, layouts

from pyconv import kernels, reference

DTYPES = (np.float32, np.float64)
SHAPES = [(), (1,), (7,), (16, 3), (3, 17), (5, 3, 3, 3), (65,), (0, 4), (33, 8, 1, 1)]

SGD = [
    dict(lr=0.1),
    dict(lr=0.1, weight_decay=0.01),
    dict(lr=0.1, momentum=0.9),
    dict(lr=0.1, momentum=0.9, weight_decay=0.01),
    dict(lr=0.1, momentum=0.9, dampening=0.3),
    dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
]
ADAM = [
    dict(step=1, lr=0.1),
    dict(step=1000, lr=0.01, betas=(0.8, 0.99), eps=1e-3),
    dict(step=3, lr=0.1, weight_decay=0.1),
    dict(step=3, lr=0.1, weight_decay=0.1, decoupled=True),
]


def lists(
    count: int, dtypes: Any, rng: np.random.Generator, shapes: Any = SHAPES
) -> list[list[np.ndarray]]:
    """`count` lists of arrays of those shapes, in each type; the last has no negative numbers."""
    result = []
    for k in range(count):
        arrays = [rng.standard_normal(shape).astype(dtype) for dtype in dtypes for shape in shapes]
        result.append([np.asarray(np.abs(a)) for a in arrays] if k == 3 else arrays)
    return result


def copies(arrays: list[np.ndarray], dtype: Any = None) -> list[np.ndarray]:
    return [a.astype(dtype or a.dtype, order="K") for a in arrays]


def run_sgd(module: Any, p: Any, g: Any, v: Any, settings: dict[str, Any]) -> list[Any]:
    module.sgd_step(p, g, v, **settings)
    return [*p, *v]


def run_adam(module: Any, p: Any, g: Any, m: Any, v: Any, settings: dict[str, Any]) -> list[Any]:
    module.adam_step(p, g, m, v, **settings)
    return [*p, *m, *v]


def check(run: Callable[..., list[Any]], arrays: list[list[np.ndarray]], settings: Any) -> None:
    """Within 8 eps of the terms of each result; their sizes come from the step of absolute values,
    where nothing cancels."""
    actual = run(kernels, *(copies(a) for a in arrays), settings)
    expected = run(reference, *(copies(a, np.float64) for a in arrays), settings)
    absolute = [[np.asarray(np.abs(a)) for a in copies(group, np.float64)] for group in arrays]
    starts = [a.copy() for i, group in enumerate(absolute) if i != 1 for a in group]
    ends = run(reference, *absolute, settings)
    for y, e, start, end in zip(actual, expected, starts, ends, strict=True):
        scale = start + np.abs(end - start)
        assert_within(y, np.asarray(e), 8 * EPS[y.dtype] * scale)


@pytest.mark.parametrize("settings", SGD)
def test_sgd(settings: dict[str, Any], isa: str, rng: np.random.Generator) -> None:
    check(run_sgd, lists(3, DTYPES, rng), settings)


@pytest.mark.parametrize("settings", ADAM)
def test_adam(settings: dict[str, Any], isa: str, rng: np.random.Generator) -> None:
    check(run_adam, lists(4, DTYPES, rng), settings)


def test_sgd_is_exact_where_it_can_be(isa: str, rng: np.random.Generator) -> None:
    for dtype in DTYPES:
        p, g, v = (rng.integers(-8, 8, 37).astype(dtype) for _ in range(3))
        expected_v = 0.5 * v + g + 0.25 * p
        expected = p - 0.5 * (g + 0.25 * p + 0.5 * expected_v)
        settings = dict(lr=0.5, momentum=0.5, weight_decay=0.25, nesterov=True)
        kernels.sgd_step([p], [g], [v], **settings)
        assert_exact(p, expected)
        assert_exact(v, expected_v)


def writable(x: np.ndarray) -> list[np.ndarray]:
    return [a for _, a in layouts(x.copy()) if a.flags.writeable]


def test_layouts(isa: str, rng: np.random.Generator) -> None:
    (p,), (g,), (m,), (v,) = lists(4, [np.float32], rng, [(4, 17, 3, 3)])
    sgd = run_sgd(kernels, *copies_of(p, g, v), dict(lr=0.1, momentum=0.9))
    adam = run_adam(kernels, *copies_of(p, g, m, v), dict(step=2, lr=0.1))
    for other in writable(p):
        for _, gradient in layouts(g):
            results = run_sgd(kernels, [other.copy(order="K")], [gradient], *copies_of(v), SGD[2])
            for actual, expected in zip(results, sgd, strict=True):
                assert_same_bits(actual, expected)
        for gradient, second in zip(writable(g), writable(v), strict=True):
            results = run_adam(
                kernels, [in_layout_of(other, p)], [gradient], *copies_of(m),
                [in_layout_of(second, v)], dict(step=2, lr=0.1),
            )  # fmt: skip
            for actual, expected in zip(results, adam, strict=True):
                assert_same_bits(actual, expected)


def copies_of(*arrays: np.ndarray) -> list[list[np.ndarray]]:
    return [[a.copy()] for a in arrays]


def in_layout_of(like: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`like`'s own memory, filled with the values."""
    like[...] = values
    return like


def test_parameters_in_their_own_order(isa: str, rng: np.random.Generator) -> None:
    # KH, KW, Cin, Cout in memory, as convolutions keep their weights; a gradient like it, and one
    # in C order.
    def stored(x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)

    (p,), (g,), (m,), (v,) = lists(4, [np.float32], rng, [(20, 6, 3, 3)])
    expected = run_adam(kernels, *copies_of(p, g, m, v), dict(step=2, lr=0.1))
    for gradient in (stored(g), g, channels_last(g)):
        arrays = [[stored(p)], [gradient], [stored(m)], [stored(v)]]
        for actual, e in zip(
            run_adam(kernels, *arrays, dict(step=2, lr=0.1)), expected, strict=True
        ):
            assert_same_bits(actual, e)
            assert actual.strides == stored(p).strides


def test_memory_between_elements_is_left_alone() -> None:
    wide = np.arange(20, dtype=np.float32)
    kernels.sgd_step([wide[::2]], [np.ones(10, np.float32)], None, lr=1.0)
    assert_exact(wide, np.arange(20) - (np.arange(20) % 2 == 0))


def test_nothing_to_do() -> None:
    kernels.sgd_step([], [], None, lr=0.1)
    kernels.adam_step([], [], [], [], 1, lr=0.1)
    assert kernels.grad_norm([]) == 0.0
    assert kernels.grad_norm([np.zeros((0, 3), np.float32)], math.inf) == 0.0


def test_momenta_are_not_looked_at_without_momentum(rng: np.random.Generator) -> None:
    p, g = np.ones(3, np.float32), np.ones(3, np.float32)
    kernels.sgd_step([p], [g], None, lr=0.25)
    kernels.sgd_step([p], [g], [np.full(3, np.nan)], lr=0.25)
    assert_exact(p, np.full(3, 0.5))


def test_not_a_number_spreads(isa: str) -> None:
    for place in (0, 5, 16):
        p, v = np.zeros(17, np.float32), np.zeros(17, np.float32)
        g = np.ones(17, np.float32)
        g[place] = np.nan
        m = v.copy()
        kernels.sgd_step([p], [g], [v], lr=0.1, momentum=0.9)
        assert (np.isnan(p) == np.isnan(g)).all() and (np.isnan(v) == np.isnan(g)).all()
        p[...] = v[...] = 0
        kernels.adam_step([p], [g], [m], [v], 1, lr=0.1)
        for a in (p, m, v):
            assert (np.isnan(a) == np.isnan(g)).all()


@pytest.mark.parametrize("order", [1, 2, math.inf, 0.5, 3, 2.5])
def test_grad_norm(order: float, isa: str, rng: np.random.Generator) -> None:
    for dtypes in (*((dtype,) for dtype in DTYPES), DTYPES):
        (arrays,) = lists(1, dtypes, rng)
        expected = reference.grad_norm(arrays, order)
        assert abs(kernels.grad_norm(arrays, order) - expected) <= 2.0**-46 * expected
        for bad in (np.nan, np.inf):
            for place in (0, 8, 16, 64):
                arrays[6][place] = bad
                actual = kernels.grad_norm(arrays, order)
                assert np.isnan(actual) if np.isnan(bad) else actual == np.inf
                arrays[6][place] = 1
    for _, other in layouts(rng.integers(-4, 4, (3, 17, 3, 2)).astype(np.float32)):
        wide = np.abs(other.astype(np.float64))
        e = wide.max() if math.isinf(order) else (wide**order).sum() ** (1 / order)
        assert abs(kernels.grad_norm([other], order) - e) <= 2.0**-46 * e


def test_norm_is_summed_in_float64() -> None:
    big = np.full(4, 1e30, np.float32)
    assert kernels.grad_norm([big]) == pytest.approx(2 * float(big[0]), rel=1e-15)


@pytest.mark.cpu("float64 runs on the CPU alone")
def test_norm_of_large_numbers() -> None:
    assert kernels.grad_norm([np.full(3, 1e300)], 0.5) == pytest.approx(9e300)
    assert kernels.grad_norm([np.full(10**5, 1e300)], 0.5) == np.inf


_single: list[np.ndarray] = []


def test_any_number_of_threads_gives_the_same_bits(threads: int) -> None:
    rng = np.random.default_rng(5)
    shapes = [(200000,), (3,), (64, 64, 3, 3), (0,), (10, 7), (100000,)]
    p, g, m, v = lists(4, DTYPES, rng, shapes)
    norms = [np.array(kernels.grad_norm(g, order)) for order in (1, 2, 3, math.inf)]
    results = [
        *norms,
        *run_sgd(kernels, copies(p), g, copies(m), SGD[-1]),
        *run_adam(kernels, copies(p), g, copies(m), copies(v), ADAM[-1]),
    ]
    _single.extend(results[len(_single) :])
    for actual, expected in zip(results, _single, strict=True):
        assert_same_bits(actual, expected)


# -- errors ---------------------------------------------------------------------------------------


def _adam(p: Any, g: Any, m: Any, v: Any, step: Any = 1, **settings: Any) -> None:
    kernels.adam_step(p, g, m, v, step, **{"lr": 0.1, **settings})


def _sgd(p: Any, g: Any, v: Any, **settings: Any) -> None:
    kernels.sgd_step(p, g, v, **{"lr": 0.1, "momentum": 0.9, **settings})


@pytest.mark.parametrize(
    ("call", "name", "arguments"),
    [
        (_sgd, "sgd_step", ["parameters", "gradients", "momenta"]),
        (_adam, "adam_step", ["parameters", "gradients", "m", "v"]),
    ],
)
def test_bad_lists(call: Any, name: str, arguments: list[str], words: Any) -> None:
    x = np.zeros((2, 3), np.float32)
    for i, argument in enumerate(arguments):

        def with_(value: Any, i: int = i) -> None:
            arrays: list[Any] = [[x.copy(), x.copy()] for _ in arguments]
            arrays[i] = value
            call(*arrays)

        with pytest.raises(
            TypeError, match=f"{name}: {argument} must be a list of arrays, got 2-D"
        ):
            with_(x)
        with pytest.raises(TypeError, match=f"{name}: {argument}\\[1\\] must be a NumPy array"):
            with_([x, 1.0])
        wrong = words(name, f"{name}: {argument}\\[1\\] must be float32 or float64")
        with pytest.raises(TypeError, match=wrong):
            with_([x, x.astype(int)])
        with pytest.raises(ValueError, match=f"{name}: {argument}\\[0\\] must have at most 4"):
            with_([np.zeros((1,) * 5, np.float32), x])
        with pytest.raises(ValueError, match=f"{name}: .* must have . arrays, as parameters has"):
            with_([x])
        with pytest.raises(ValueError, match=f"{name}: .*\\[1\\] must have shape"):
            with_([x, x.T])
        other = words(name, f"{name}: .*\\[1\\] must have the dtype of param")
        with pytest.raises(TypeError, match=other):
            with_([x, x.astype(np.float64)])
        if argument != "gradients":
            fixed = words(name, f"{name}: {argument}\\[1\\] must be writable")
            with pytest.raises(ValueError, match=fixed):
                with_([x, np.broadcast_to(x[:1], x.shape)])


def test_bad_numbers(words: Any) -> None:
    x = [np.zeros(3, np.float32)]
    for setting in ("lr", "momentum", "dampening", "weight_decay"):
        with pytest.raises(TypeError, match=f"sgd_step: {setting} must be a number, got str"):
            _sgd(x, x, x, **{setting: "1"})
    with pytest.raises(TypeError, match="sgd_step: nesterov must be a bool, got int"):
        _sgd(x, x, x, nesterov=1)
    with pytest.raises(ValueError, match="sgd_step: momenta must be arrays where momentum"):
        _sgd(x, x, None)
    for setting in ("lr", "eps", "weight_decay"):
        with pytest.raises(TypeError, match=f"adam_step: {setting} must be a number, got str"):
            _adam(x, x, x, x, **{setting: "1"})
    with pytest.raises(TypeError, match="adam_step: decoupled must be a bool"):
        _adam(x, x, x, x, decoupled=None)
    with pytest.raises(TypeError, match="adam_step: step must be an int"):
        _adam(x, x, x, x, 1.0)
    with pytest.raises(ValueError, match="adam_step: step must be at least 1, got 0"):
        _adam(x, x, x, x, 0)
    for betas in (0.9, (0.9,), None):
        with pytest.raises(TypeError, match="adam_step: betas must be two numbers"):
            _adam(x, x, x, x, betas=betas)
    for i, betas in enumerate([(1.0, 0.9), (0.9, -0.1)]):
        with pytest.raises(ValueError, match=f"adam_step: betas\\[{i}\\] must be from 0 to below"):
            _adam(x, x, x, x, betas=betas)
    with pytest.raises(TypeError, match="grad_norm: arrays must be a list of arrays"):
        kernels.grad_norm(x[0])
    wrong = words("grad_norm", "grad_norm: arrays\\[0\\] must be float32 or float64")
    with pytest.raises(TypeError, match=wrong):
        kernels.grad_norm([np.zeros(3, int)])
    for order in (0, -1, math.nan):
        with pytest.raises(ValueError, match="grad_norm: order must be positive"):
            kernels.grad_norm(x, order)
    with pytest.raises(TypeError, match="grad_norm: order must be a number"):
        kernels.grad_norm(x, "2")
