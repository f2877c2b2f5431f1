"""`pyconv.optim`: every rule by its formula, written out in NumPy once more; states; schedules."""

from __future__ import annotations

import copy
import inspect
import itertools
import math

import numpy as np
import pytest

from pyconv import nn, optim
from pyconv.autograd import Tensor
from pyconv.optim import lbfgs, lr_scheduler

SHAPES = [(3, 4), (5,), (2, 3, 2, 2)]
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def values(*shape, seed=0, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape)


def parameters(dtype=np.float64, seed=0):
    return [
        nn.Parameter(values(*shape, seed=seed + i).astype(dtype)) for i, shape in enumerate(SHAPES)
    ]


def set_gradients(params, step):
    for i, p in enumerate(params):
        p.grad = Tensor(values(*p.shape, seed=100 * step + i + 7).astype(p.dtype))


def leaf(*numbers):
    return nn.Parameter(np.array(numbers, np.float64))


# -- formulas -----------------------------------------------------------------------------------


def sgd(p, gradients, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    v = None
    for gradient in gradients:
        g = gradient + weight_decay * p
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        p = p - lr * g
    return p


def adam(p, gradients, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    m = v = np.zeros_like(p)
    for t, gradient in enumerate(gradients, 1):
        if decoupled:
            p = p * (1 - lr * weight_decay)
            g = gradient
        else:
            g = gradient + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def rmsprop(p, gradients, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    square = mean = buffer = np.zeros_like(p)
    for gradient in gradients:
        g = gradient + weight_decay * p
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        step = g / (np.sqrt(square - mean**2 if centered else square) + eps)
        buffer = momentum * buffer + step
        p = p - lr * buffer
    return p


RULES = [
    (optim.SGD, sgd, dict(lr=0.1)),
    (optim.SGD, sgd, dict(lr=0.1, weight_decay=0.03)),
    (optim.SGD, sgd, dict(lr=0.1, momentum=0.9)),
    (optim.SGD, sgd, dict(lr=0.1, momentum=0.8, dampening=0.3, weight_decay=0.1)),
    (optim.SGD, sgd, dict(lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.1)),
    (optim.Adam, adam, dict(lr=0.01)),
    (optim.Adam, adam, dict(lr=0.02, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1)),
    (
        optim.AdamW,
        lambda p, g, **s: adam(p, g, decoupled=True, **s),
        dict(lr=0.02, weight_decay=0.3),
    ),
    (optim.RMSprop, rmsprop, dict(lr=0.01)),
    (optim.RMSprop, rmsprop, dict(lr=0.01, alpha=0.8, weight_decay=0.1, momentum=0.7)),
    (optim.RMSprop, rmsprop, dict(lr=0.01, centered=True, eps=1e-3)),
    (optim.RMSprop, rmsprop, dict(lr=0.01, centered=True, momentum=0.5, eps=1e-3)),
]
IDS = [f"{kind.__name__} {settings}" for kind, _, settings in RULES]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_rules(rule, dtype):
    kind, formula, settings = rule
    params = parameters(dtype)
    start = [p.data.astype(float) for p in params]
    memory = [p.data for p in params]
    optimizer, seen = kind(params, **settings), []
    for step in range(6):
        set_gradients(params, step)
        seen.append([p.grad.data.astype(float) for p in params])
        assert optimizer.step() is None
    for i, p in enumerate(params):
        assert p.data is memory[i]  # in place
        assert p.dtype == dtype
        wanted = formula(start[i], [g[i] for g in seen], **settings)
        np.testing.assert_allclose(p.data, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


SIGNATURES = {
    "SGD": dict(lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False),
    "Adam": dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0),
    "AdamW": dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2),
    "RMSprop": dict(lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False),
    "LBFGS": dict(
        lr=1, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9,
        history_size=100, line_search_fn=None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_defaults(name):
    found = inspect.signature(getattr(optim, name)).parameters
    assert list(found) == ["params", *SIGNATURES[name]]
    assert {k: p.default for k, p in found.items() if k != "params"} == SIGNATURES[name]


# -- what holds for all ---------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_saved_and_loaded_it_goes_on_bit_for_bit(rule):
    kind, _, settings = rule
    params = parameters(np.float32)
    optimizer = kind(params, **settings)
    for step in range(3):
        set_gradients(params, step)
        optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    others = [nn.Parameter(p.data.copy()) for p in params]
    other = kind(others, lr=77.0)
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == settings["lr"]
    for step in range(3, 6):
        for group, opt in ((params, optimizer), (others, other)):
            set_gradients(group, step)
            opt.step()
    for p, q in zip(params, others, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    for numbers in (optimizer.state_dict(), other.state_dict()):
        assert numbers["param_groups"][0]["params"] == [0, 1, 2]
        assert set(numbers["state"]) <= {0, 1, 2}
    # What was loaded is a copy: the saved state stays as it was.
    again = kind([nn.Parameter(p.data.copy()) for p in params], lr=1.0)
    again.load_state_dict(saved)
    for one, two in zip(again.state.values(), saved["state"].values(), strict=True):
        for key, value in one.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, two[key])
                assert not np.shares_memory(value, two[key])


def test_state_lies_in_memory_as_the_parameter():
    conv = nn.Conv2d(3, 4, 3)
    for kind in (optim.Adam, optim.RMSprop, lambda p: optim.SGD(p, 0.1, momentum=0.9)):
        optimizer = kind([conv.weight])
        conv.weight.grad = Tensor(np.ones(conv.weight.shape, np.float32))
        optimizer.step()
        state = optimizer.state[conv.weight]
        arrays = [v for v in state.values() if isinstance(v, np.ndarray)]
        assert arrays
        assert all(a.strides == conv.weight.data.strides for a in arrays)


def test_groups():
    a, b, c = leaf(1.0), leaf(1.0), leaf(1.0)
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5, "name": "second"}], lr=0.1)
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5]
    assert optimizer.param_groups[1]["name"] == "second"
    optimizer.add_param_group({"params": [c], "lr": 2.0})
    for p in (a, b, c):
        p.grad = Tensor(np.ones(1))
    optimizer.step()
    assert [p.item() for p in (a, b, c)] == [0.9, 0.5, -1.0]
    optimizer.param_groups[0]["lr"] = 0.4  # between steps it may be changed
    optimizer.step()
    assert a.item() == pytest.approx(0.5)
    assert "group 1: 1 parameters, lr=0.5" in repr(optimizer)
    assert [g["params"] for g in optimizer.state_dict()["param_groups"]] == [[0], [1], [2]]
    with pytest.raises(ValueError, match=r"groups of \[1, 1, 1\] parameters, the state of \[1\]"):
        optimizer.load_state_dict(optim.SGD([leaf(1.0)]).state_dict())


def test_parameters_without_a_gradient_stay():
    for kind, _, settings in RULES:
        a, b = leaf(1.0), leaf(1.0)
        optimizer = kind([a, b], **settings)
        a.grad = Tensor(np.ones(1))
        optimizer.step()
        assert a.item() != 1
        assert b.item() == 1
        # The one that comes later starts its own count.
        b.grad = Tensor(np.ones(1))
        optimizer.step()
        fresh = leaf(1.0)
        other = kind([fresh], **settings)
        fresh.grad = Tensor(np.ones(1))
        other.step()
        assert b.item() == fresh.item()


def test_zero_grad_and_closures():
    p = leaf(3.0)
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9
    assert p.item() == 0
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0
    optimizer.zero_grad()
    assert p.grad is None


def test_momentum_may_be_set_later():
    for kind in (optim.SGD, optim.RMSprop):
        p = leaf(1.0)
        optimizer = kind([p], lr=0.1)
        for momentum in (0.0, 0.9, 0.9):
            optimizer.param_groups[0]["momentum"] = momentum
            p.grad = Tensor(np.ones(1))
            optimizer.step()
        assert np.isfinite(p.item())
        assert "momentum_buffer" in optimizer.state[p]


# -- L-BFGS -------------------------------------------------------------------------------------


def rosenbrock(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def minimise(optimizer, loss_of, steps):
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    for _ in range(steps):
        losses.append(float(optimizer.step(closure)))
    return losses


def test_lbfgs_finds_the_minimum_of_rosenbrock():
    p = leaf(-1.2, 1.0)
    optimizer = optim.LBFGS([p], tolerance_change=1e-15, line_search_fn="strong_wolfe")
    losses = minimise(optimizer, lambda: rosenbrock(p), 4)
    np.testing.assert_allclose(p.data, [1, 1], atol=1e-6)
    assert losses == sorted(losses, reverse=True)
    # About forty evaluations are what it takes; descent along the gradient takes thousands.
    assert optimizer.state[p]["func_evals"] < 80


def test_lbfgs_without_a_line_search():
    a = values(6, 6)
    a = a @ a.T + np.eye(6)
    target = values(6, seed=1)
    p, q = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros((2, 2)))  # six numbers in all

    def loss():
        x = nn.utils.parameters_to_vector([p, q])
        return 0.5 * (x @ Tensor(a) @ x) - (x * target).sum()

    optimizer = optim.LBFGS([p, q], lr=0.5, max_iter=60, tolerance_change=1e-15)
    minimise(optimizer, loss, 2)
    found = np.concatenate([p.data.ravel(), q.data.ravel()])
    np.testing.assert_allclose(found, np.linalg.solve(a, target), atol=1e-5)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_goes_on_bit_for_bit(search):
    settings = dict(lr=0.1 if search is None else 1.0, max_iter=4, line_search_fn=search)
    p = leaf(-1.2, 1.0)
    optimizer = optim.LBFGS([p], history_size=3, **settings)
    minimise(optimizer, lambda: rosenbrock(p), 2)
    saved = copy.deepcopy(optimizer.state_dict())
    q = nn.Parameter(p.data.copy())
    other = optim.LBFGS([q], **settings)
    other.load_state_dict(saved)
    one = minimise(optimizer, lambda: rosenbrock(p), 2)
    assert one == minimise(other, lambda: rosenbrock(q), 2)
    np.testing.assert_array_equal(p.data, q.data)
    assert len(optimizer.state[p]["old_dirs"]) <= 3


def test_lbfgs_stops():
    p = leaf(1.0)
    optimizer = optim.LBFGS([p], max_iter=5)
    minimise(optimizer, lambda: (p * 0).sum(), 1)
    assert optimizer.state[p]["func_evals"] == 1  # no gradient, nothing to do
    q = leaf(-1.2, 1.0)
    optimizer = optim.LBFGS([q], max_iter=100, max_eval=3, line_search_fn="strong_wolfe")
    minimise(optimizer, lambda: rosenbrock(q), 1)
    assert optimizer.state[q]["func_evals"] < 40


# A line from 0 on: the loss and its slope.
LINES = {
    "parabola": (lambda t: (t - 1) ** 2, lambda t: 2 * (t - 1)),
    "far": (lambda t: (t / 300 - 1) ** 2, lambda t: (t / 300 - 1) / 150),
    "near": (lambda t: (1e4 * t - 1) ** 2, lambda t: 2e4 * (1e4 * t - 1)),
    "quartic": (lambda t: (t - 2) ** 4, lambda t: 4 * (t - 2) ** 3),
    "valley": (lambda t: 1 - t * np.exp(-t), lambda t: (t - 1) * np.exp(-t)),
    "waves": (
        lambda t: 0.05 * t * t - t + np.sin(5 * t + 1) / 4,
        lambda t: 0.1 * t - 1 + 1.25 * np.cos(5 * t + 1),
    ),
    "wall": (
        lambda t: -t + (np.exp(8 * (t - 3)) if t < 20 else 1e60),
        lambda t: -1 + 8 * (np.exp(8 * (t - 3)) if t < 20 else 1e60),
    ),
}


@pytest.mark.parametrize("first", [1e-3, 0.3, 1.0, 5.0, 100.0])
@pytest.mark.parametrize("name", LINES)
def test_line_search_meets_the_wolfe_conditions(name, first):
    loss, slope = LINES[name]
    asked = []

    def along(t):
        asked.append(t)
        return lbfgs.Point(t, float(loss(t)), None, float(slope(t)))

    origin = along(0.0)
    end = lbfgs.strong_wolfe(along, first, origin, 1.0)
    assert end.t > 0
    assert end.loss <= origin.loss + 1e-4 * end.t * origin.slope
    assert abs(end.slope) <= 0.9 * abs(origin.slope)
    assert len(asked) <= 27


def test_line_search_gives_up():
    def falling(t):
        return lbfgs.Point(t, -t, None, -1.0)

    end = lbfgs.strong_wolfe(falling, 1.0, falling(0.0), 1.0, max_steps=4)
    assert end.t > 1  # the lowest it has seen

    def rising(t):  # against the slope that it claims
        return lbfgs.Point(t, t, None, -1.0)

    assert lbfgs.strong_wolfe(rising, 1.0, rising(0.0), 1.0).t == 0

    for far in (math.nan, math.inf):  # from 0.1 on there are no numbers

        def lost(t, far=far):
            inside = t < 0.1
            return lbfgs.Point(
                t, (t - 0.05) ** 2 if inside else far, None, 2 * (t - 0.05) if inside else far
            )

        assert abs(lbfgs.strong_wolfe(lost, 1.0, lost(0.0), 1.0).t - 0.05) < 0.045


def test_minimum_of_a_cubic():
    def point(t):
        return lbfgs.Point(t, t**3 - 3 * t, None, 3 * t * t - 3)  # smallest at 1

    for a, b in ((0.0, 3.0), (3.0, 0.0), (0.5, 1.25)):
        assert lbfgs.cubic_minimum(point(a), point(b)) == pytest.approx(1.0)
    assert lbfgs.cubic_minimum(point(1.5), point(3.0)) == 1.5  # the nearest within
    assert lbfgs.cubic_minimum(point(2.0), point(3.0), (0.0, 5.0)) == pytest.approx(1.0)
    assert lbfgs.cubic_minimum(point(2.0), point(2.0)) == 2.0
    a = lbfgs.Point(0.0, 0.0, None, -1.0)
    straight = lbfgs.Point(2.0, -2.0, None, -1.0)
    assert lbfgs.cubic_minimum(a, straight) == 1.0  # none: the middle


# -- schedules ------------------------------------------------------------------------------------


def optimizer_of(*rates, **options):
    return optim.SGD([{"params": [leaf(0.0)], "lr": lr} for lr in rates], **options)


def onecycle(step, total, peak, start=0.3, strategy="cos", three=False):
    low, end = peak / 25, peak / 25 / 1e4
    up = start * total - 1
    points = [(0, low), (up, peak), (total - 1, end)]
    if three:
        points = [(0, low), (up, peak), (2 * up, low), (total - 1, end)]
    for (a, x), (b, y) in itertools.pairwise(points):
        if step <= b or b == total - 1:
            share = (step - a) / (b - a)
            if strategy == "linear":
                return x + (y - x) * share
            return y + (x - y) * (1 + math.cos(math.pi * share)) / 2
    raise AssertionError


def cosine(t, base, half, low):
    return low + (base - low) * (1 + math.cos(math.pi * t / half)) / 2


SCHEDULES = {
    "StepLR": (
        lambda o: lr_scheduler.StepLR(o, 3, 0.5),
        lambda t, lr: lr * 0.5 ** (t // 3),
    ),
    "MultiStepLR": (
        lambda o: lr_scheduler.MultiStepLR(o, [2, 5, 5], 0.5),
        lambda t, lr: lr * 0.5 ** ((t >= 2) + 2 * (t >= 5)),
    ),
    "ExponentialLR": (lambda o: lr_scheduler.ExponentialLR(o, 0.9), lambda t, lr: lr * 0.9**t),
    "CosineAnnealingLR": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 4, 0.01),
        lambda t, lr: cosine(t, lr, 4, 0.01),
    ),
    "CosineAnnealingLR of one step": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 1),
        lambda t, lr: cosine(t, lr, 1, 0.0),
    ),
    "LinearWarmup": (
        lambda o: lr_scheduler.LinearWarmup(o, 4),
        lambda t, lr: lr * (0.1 + 0.9 * min(t, 4) / 4),
    ),
    "OneCycleLR": (
        lambda o: lr_scheduler.OneCycleLR(o, [1.0, 0.5], 14),
        lambda t, lr: onecycle(t, 14, 1.0 if lr == 0.8 else 0.5),
    ),
    "OneCycleLR linear": (
        lambda o: lr_scheduler.OneCycleLR(
            o, 2.0, epochs=7, steps_per_epoch=2, pct_start=0.4, anneal_strategy="linear"
        ),
        lambda t, lr: onecycle(t, 14, 2.0, 0.4, "linear"),
    ),
    "OneCycleLR in three": (
        lambda o: lr_scheduler.OneCycleLR(o, 2.0, 14, three_phase=True),
        lambda t, lr: onecycle(t, 14, 2.0, three=True),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    make, formula = SCHEDULES[name]
    optimizer = optimizer_of(0.8, 0.2)
    schedule = make(optimizer)
    for t in range(14):
        wanted = [formula(t, lr) for lr in (0.8, 0.2)]
        np.testing.assert_allclose(schedule.get_last_lr(), wanted, rtol=1e-10, atol=1e-15)
        assert [g["lr"] for g in optimizer.param_groups] == schedule.get_last_lr()
        assert schedule.last_epoch == t
        if t < 13:
            schedule.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_go_on(name):
    make, _ = SCHEDULES[name]
    optimizer = optimizer_of(0.8, 0.2, momentum=0.5)
    schedule = make(optimizer)
    for _ in range(5):
        schedule.step()
    saved = copy.deepcopy((schedule.state_dict(), optimizer.state_dict()))
    other_optimizer = optimizer_of(0.8, 0.2, momentum=0.5)
    other = make(other_optimizer)
    other_optimizer.load_state_dict(saved[1])
    other.load_state_dict(saved[0])
    for _ in range(8):
        schedule.step()
        other.step()
        assert schedule.get_last_lr() == other.get_last_lr()
        for a, b in zip(optimizer.param_groups, other_optimizer.param_groups, strict=True):
            assert a["lr"] == b["lr"]
            assert a["momentum"] == b["momentum"]


def test_one_cycle_moves_the_momentum():
    for optimizer in (optimizer_of(1.0), optim.Adam([leaf(0.0)])):
        schedule = lr_scheduler.OneCycleLR(optimizer, 1.0, 20, pct_start=0.5)
        found = []
        for t in range(20):
            group = optimizer.param_groups[0]
            found.append(group["betas"][0] if "betas" in group else group["momentum"])
            if t < 19:
                schedule.step()
        assert found[0] == pytest.approx(0.95)
        assert min(found) == found[9] == pytest.approx(0.85)
        assert found[-1] == pytest.approx(0.95)
        schedule.step()
        with pytest.raises(ValueError, match="the cycle is over"):
            schedule.step()
    optimizer = optimizer_of(1.0, momentum=0.3)
    lr_scheduler.OneCycleLR(optimizer, 1.0, 20, cycle_momentum=False)
    assert optimizer.param_groups[0]["momentum"] == 0.3


def test_chained_schedules_multiply():
    optimizer = optimizer_of(1.0)
    warm = lr_scheduler.LinearWarmup(optimizer, 4, 0.2)
    fall = lr_scheduler.ExponentialLR(optimizer, 0.9)
    step = lr_scheduler.StepLR(optimizer, 3, 0.5)
    for t in range(9):
        wanted = (0.2 + 0.8 * min(t, 4) / 4) * 0.9**t * 0.5 ** (t // 3)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(wanted, rel=1e-12)
        for schedule in (warm, fall, step):
            schedule.step()
    assert optimizer.param_groups[0]["initial_lr"] == 1.0
    # Half a cosine after the warm-up, by the same rule.
    optimizer = optimizer_of(1.0)
    warm = lr_scheduler.LinearWarmup(optimizer, 3)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, 8)
    for t in range(9):
        wanted = (0.1 + 0.9 * min(t, 3) / 3) * cosine(t, 1.0, 8, 0.0)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(wanted, abs=1e-12)
        warm.step()
        fall.step()


def test_schedule_from_a_later_step():
    optimizer = optimizer_of(1.0)
    with pytest.raises(ValueError, match="StepLR: last_epoch=4 needs 'initial_lr' in group 0"):
        lr_scheduler.StepLR(optimizer, 3, 0.5, last_epoch=4)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    optimizer.param_groups[0]["lr"] = 0.5
    schedule = lr_scheduler.StepLR(optimizer, 3, 0.5, last_epoch=4)
    assert schedule.last_epoch == 5
    schedule.step()
    assert schedule.get_last_lr() == [0.25]


def plateau(metrics, lr, mode, factor, patience, threshold, relative, cooldown, least):
    """The rates after each metric."""
    best, bad, wait, rates = None, 0, 0, []
    for m in metrics:
        if best is None:
            better = not math.isnan(m)
        elif mode == "min":
            better = m < (best * (1 - threshold) if relative else best - threshold)
        else:
            better = m > (best * (1 + threshold) if relative else best + threshold)
        best, bad = (m, 0) if better else (best, bad + 1)
        if wait:
            wait, bad = wait - 1, 0
        if bad > patience:
            lr, wait, bad = max(lr * factor, least), cooldown, 0
        rates.append(lr)
    return rates


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("cooldown", [0, 2])
def test_reduce_on_plateau(mode, relative, cooldown):
    metrics = [5.0, 4.0, 4.0, 3.99, 3.98, 4.5, 3.0, 3.0, 3.1, math.nan, 2.9, 2.9, 2.9, 2.9, 2.9]
    metrics = metrics if mode == "min" else [10 - m for m in metrics]
    arguments = (mode, 0.5, 1, 0.05)
    optimizer = optimizer_of(1.0)
    make = lr_scheduler.ReduceLROnPlateau
    how = dict(cooldown=cooldown, min_lr=0.2)
    schedule = make(optimizer, *arguments, "rel" if relative else "abs", **how)
    wanted = plateau(metrics, 1.0, *arguments, relative, cooldown, 0.2)
    for i, (metric, rate) in enumerate(zip(metrics, wanted, strict=True)):
        schedule.step(Tensor(np.array(metric)) if i % 2 else metric)
        assert schedule.get_last_lr() == [rate]
        assert optimizer.param_groups[0]["lr"] == rate
        if i == 6:  # another one goes on from here
            other_optimizer = optimizer_of(rate)
            other = make(other_optimizer)
            other.load_state_dict(copy.deepcopy(schedule.state_dict()))
            schedule, optimizer = other, other_optimizer
    assert wanted[-1] < 1


def test_plateau_of_several_groups():
    optimizer = optimizer_of(1.0, 0.1)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.5, 0.01])
    for _ in range(3):
        schedule.step(1.0)
    np.testing.assert_allclose(schedule.get_last_lr(), [0.5, 0.01])
    small = optimizer_of(1e-8)
    schedule = lr_scheduler.ReduceLROnPlateau(small, patience=0)
    for _ in range(3):
        schedule.step(1.0)
    assert schedule.get_last_lr() == [1e-8]  # a change below eps is not made


# -- averages -------------------------------------------------------------------------------------


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(self.layer(x))


def wander(model, seed):
    for i, p in enumerate(model.parameters()):
        p.data[...] = values(*p.shape, seed=10 * seed + i)
    model.norm.running_mean.fill_(float(seed))
    model.norm.num_batches_tracked.fill_(seed)


@pytest.mark.parametrize("use_buffers", [False, True])
def test_averaged_model(use_buffers):
    model = Model()
    average = optim.AveragedModel(model, use_buffers=use_buffers)
    seen = []
    for seed in range(1, 5):
        wander(model, seed)
        seen.append({k: v.copy() for k, v in model.state_dict().items()})
        average.update_parameters(model)
        if seed == 1:  # the first is a copy
            np.testing.assert_array_equal(average.module.layer.weight.data, model.layer.weight.data)
    assert average.n_averaged.item() == 4
    for name, found in average.module.state_dict().items():
        averaged = "running" not in name or use_buffers
        if name.endswith("tracked"):
            assert found == 4
        elif averaged:
            np.testing.assert_allclose(found, np.mean([s[name] for s in seen], 0), rtol=1e-5)
        else:
            np.testing.assert_array_equal(found, seen[-1][name])
    assert list(average.state_dict())[0] in ("n_averaged", "module.layer.weight")
    x = values(4, 2).astype(np.float32)
    np.testing.assert_array_equal(average.eval()(x).data, average.module(x).data)
    assert model.training  # it is a copy
    other = optim.AveragedModel(Model())
    other.load_state_dict(average.state_dict())
    wander(model, 9)
    for a in (average, other):
        a.update_parameters(model)
    np.testing.assert_array_equal(average.module.layer.weight.data, other.module.layer.weight.data)


def test_averages_by_other_rules():
    model = Model()
    moving = optim.ExponentialMovingAverage(model, 0.75)
    custom = optim.AveragedModel(model, avg_fn=lambda average, value, n: average + value * n)
    expected = total = None
    for seed in range(1, 5):
        wander(model, seed)
        moving.update_parameters(model)
        custom.update_parameters(model)
        w = model.layer.weight.data.astype(float)
        expected = w if expected is None else 0.75 * expected + 0.25 * w
        total = w if total is None else total + w * (seed - 1)
    np.testing.assert_allclose(moving.module.layer.weight.data, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(custom.module.layer.weight.data, total, rtol=1e-5, atol=1e-6)


def test_update_bn():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model.eval()
    model[2].train()
    batches = [values(5, 2, seed=i).astype(np.float32) for i in range(3)]
    model[1].running_mean.fill_(7)
    optim.update_bn([(b, None) for b in batches], model)
    inner = [b @ model[0].weight.data.T + model[0].bias.data for b in batches]
    np.testing.assert_allclose(
        model[1].running_mean.data, np.mean([y.mean(0) for y in inner], 0), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        model[1].running_var.data, np.mean([y.var(0, ddof=1) for y in inner], 0), rtol=1e-4
    )
    assert model[1].num_batches_tracked.item() == 3
    assert model[1].momentum == 0.1
    assert [m.training for m in model] == [False, False, True]
    assert model[0].weight.grad is None
    optim.update_bn(iter(batches), nn.Linear(2, 2))  # nothing to do
    model[1].running_mean.fill_(7)
    nn.utils.freeze(model[1])
    optim.update_bn(iter(batches), model)
    assert model[1].running_mean.tolist() == [7, 7, 7]


# -- bad input ------------------------------------------------------------------------------------

S = lr_scheduler
O = optimizer_of(1.0)  # noqa: E741
P = [leaf(1.0)]
BAD = [
    *[
        case
        for kind in ("SGD", "Adam", "AdamW", "RMSprop", "LBFGS")
        for case in [
            (kind, (P[0],), {}, TypeError, "params"),
            (kind, (3,), {}, TypeError, "params"),
            (kind, ([],), {}, ValueError, "params"),
            (kind, ([np.zeros(2)],), {}, TypeError, "params"),
            (kind, ([P[0] * 2],), {}, ValueError, "leaves"),
            (kind, ([P[0], P[0]],), {}, ValueError, "twice"),
            (kind, ([{"lr": 1.0}],), {}, TypeError, "params"),
            (kind, ([{"params": P}, P[0]],), {}, TypeError, "dict"),
            (kind, ([{"params": 3}],), {}, TypeError, "params"),
            (kind, (P,), dict(lr=-1.0), ValueError, "lr"),
            (kind, (P,), dict(lr="a"), TypeError, "lr"),
            (kind, (P,), dict(lr=math.nan), ValueError, "lr"),
        ]
    ],
    *[
        case
        for kind in ("SGD", "Adam", "AdamW", "RMSprop")
        for case in [
            (kind, (P,), dict(weight_decay=-1.0), ValueError, "weight_decay"),
            (kind, (P,), dict(weight_decay=None), TypeError, "weight_decay"),
            (kind, ([{"params": P, "weight_decay": "a"}],), {}, TypeError, "weight_decay"),
        ]
    ],
    ("SGD", (P,), dict(momentum=-1), ValueError, "momentum"),
    ("SGD", (P,), dict(dampening="a"), TypeError, "dampening"),
    ("SGD", (P,), dict(nesterov=1), TypeError, "nesterov"),
    ("SGD", (P,), dict(nesterov=True), ValueError, "nesterov"),
    ("SGD", (P,), dict(nesterov=True, momentum=0.9, dampening=0.1), ValueError, "nesterov"),
    ("Adam", (P,), dict(betas=0.9), ValueError, "betas"),
    ("Adam", (P,), dict(betas=(0.9, 1.0)), ValueError, r"betas\[1\]"),
    ("AdamW", (P,), dict(betas=(-0.1, 0.9)), ValueError, r"betas\[0\]"),
    ("Adam", (P,), dict(betas=(0.9, "a")), TypeError, r"betas\[1\]"),
    ("Adam", (P,), dict(eps=-1e-8), ValueError, "eps"),
    ("RMSprop", (P,), dict(alpha=-1), ValueError, "alpha"),
    ("RMSprop", (P,), dict(momentum="a"), TypeError, "momentum"),
    ("RMSprop", (P,), dict(centered=1), TypeError, "centered"),
    ("LBFGS", (P,), dict(max_iter=0), ValueError, "max_iter"),
    ("LBFGS", (P,), dict(max_iter=2.0), TypeError, "max_iter"),
    ("LBFGS", (P,), dict(max_eval=0), ValueError, "max_eval"),
    ("LBFGS", (P,), dict(history_size=0), ValueError, "history_size"),
    ("LBFGS", (P,), dict(tolerance_grad=-1.0), ValueError, "tolerance_grad"),
    ("LBFGS", (P,), dict(tolerance_change="a"), TypeError, "tolerance_change"),
    ("LBFGS", (P,), dict(line_search_fn="wolfe"), ValueError, "line_search_fn"),
    ("LBFGS", ([{"params": P}, {"params": [leaf(1.0)]}],), {}, ValueError, "one group"),
    *[
        (f"lr_scheduler.{name}", (3, *more), {}, TypeError, "optimizer")
        for name, more in {
            "StepLR": (1,),
            "MultiStepLR": ([1],),
            "ExponentialLR": (0.9,),
            "CosineAnnealingLR": (3,),
            "LinearWarmup": (3,),
            "OneCycleLR": (1.0, 10),
            "ReduceLROnPlateau": (),
        }.items()
    ],
    ("lr_scheduler.StepLR", (O, 0), {}, ValueError, "step_size"),
    ("lr_scheduler.StepLR", (O, 1.5), {}, TypeError, "step_size"),
    ("lr_scheduler.StepLR", (O, 1, "a"), {}, TypeError, "gamma"),
    ("lr_scheduler.StepLR", (O, 1, 0.1, 0.5), {}, TypeError, "last_epoch"),
    ("lr_scheduler.MultiStepLR", (O, [1.5]), {}, TypeError, "milestones"),
    ("lr_scheduler.MultiStepLR", (O, 3), {}, TypeError, "milestones"),
    ("lr_scheduler.MultiStepLR", (O, [3], None), {}, TypeError, "gamma"),
    ("lr_scheduler.ExponentialLR", (O, "a"), {}, TypeError, "gamma"),
    ("lr_scheduler.CosineAnnealingLR", (O, 0), {}, ValueError, "T_max"),
    ("lr_scheduler.CosineAnnealingLR", (O, 3, "a"), {}, TypeError, "eta_min"),
    ("lr_scheduler.LinearWarmup", (O, 0), {}, ValueError, "steps"),
    ("lr_scheduler.LinearWarmup", (O, 3, 0.0), {}, ValueError, "start_factor"),
    ("lr_scheduler.LinearWarmup", (O, 3, "a"), {}, TypeError, "start_factor"),
    ("lr_scheduler.OneCycleLR", (O, 1.0), {}, ValueError, "total_steps"),
    ("lr_scheduler.OneCycleLR", (O, 1.0, 0), {}, ValueError, "total_steps"),
    ("lr_scheduler.OneCycleLR", (O, 1.0, None, 2.0, 3), {}, TypeError, "epochs"),
    ("lr_scheduler.OneCycleLR", (O, [1.0, 2.0], 5), {}, ValueError, "max_lr"),
    ("lr_scheduler.OneCycleLR", (O, "a", 5), {}, TypeError, "max_lr"),
    ("lr_scheduler.OneCycleLR", (O, 1.0, 5), dict(pct_start=2), ValueError, "pct_start"),
    ("lr_scheduler.OneCycleLR", (O, 1.0, 5), dict(anneal_strategy="x"), ValueError,
     "anneal_strategy"),
    ("lr_scheduler.OneCycleLR", (O, 1.0, 5), dict(cycle_momentum=1), TypeError, "cycle_momentum"),
    ("lr_scheduler.OneCycleLR", (O, 1.0, 5), dict(base_momentum="a"), TypeError, "base_momentum"),
    ("lr_scheduler.OneCycleLR", (O, 1.0, 5), dict(max_momentum="a"), TypeError, "max_momentum"),
    ("lr_scheduler.OneCycleLR", (O, 1.0, 5), dict(div_factor=0), ValueError, "div_factor"),
    ("lr_scheduler.OneCycleLR", (O, 1.0, 5), dict(final_div_factor=None), TypeError,
     "final_div_factor"),
    ("lr_scheduler.OneCycleLR", (O, 1.0, 5), dict(three_phase=1), TypeError, "three_phase"),
    ("lr_scheduler.OneCycleLR", (optim.LBFGS([leaf(1.0)]), 1.0, 5), {}, ValueError, "momentum"),
    ("lr_scheduler.ReduceLROnPlateau", (O, "least"), {}, ValueError, "mode"),
    ("lr_scheduler.ReduceLROnPlateau", (O, "min", 1.0), {}, ValueError, "factor"),
    ("lr_scheduler.ReduceLROnPlateau", (O, "min", "a"), {}, TypeError, "factor"),
    ("lr_scheduler.ReduceLROnPlateau", (O, "min", 0.1, -1), {}, ValueError, "patience"),
    ("lr_scheduler.ReduceLROnPlateau", (O,), dict(threshold="a"), TypeError, "threshold"),
    ("lr_scheduler.ReduceLROnPlateau", (O,), dict(threshold_mode="x"), ValueError,
     "threshold_mode"),
    ("lr_scheduler.ReduceLROnPlateau", (O,), dict(cooldown=1.5), TypeError, "cooldown"),
    ("lr_scheduler.ReduceLROnPlateau", (O,), dict(min_lr=[0, 0]), ValueError, "min_lr"),
    ("lr_scheduler.ReduceLROnPlateau", (O,), dict(min_lr="a"), TypeError, "min_lr"),
    ("lr_scheduler.ReduceLROnPlateau", (O,), dict(eps="a"), TypeError, "eps"),
    ("AveragedModel", (3,), {}, TypeError, "model"),
    ("AveragedModel", (nn.ReLU(),), dict(avg_fn=3), TypeError, "avg_fn"),
    ("AveragedModel", (nn.ReLU(),), dict(use_buffers=1), TypeError, "use_buffers"),
    ("ExponentialMovingAverage", (nn.ReLU(), 1.5), {}, ValueError, "decay"),
    ("ExponentialMovingAverage", (nn.ReLU(), "a"), {}, TypeError, "decay"),
    ("ExponentialMovingAverage", (3,), {}, TypeError, "model"),
    ("update_bn", ([], 3), {}, TypeError, "model"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_arguments(case):
    name, arguments, options, error, argument = BAD[case]
    target = optim
    for part in name.split("."):
        target = getattr(target, part)
    with pytest.raises(error, match=rf"^{name.split('.')[-1]}: .*{argument}"):
        target(*arguments, **options)


def test_bad_states():
    optimizer = optim.Adam(P)
    for state in (3, {}, {"state": {}}):
        with pytest.raises(TypeError, match='^load_state_dict: expected a dict with "state"'):
            optimizer.load_state_dict(state)
        with pytest.raises(TypeError, match='^load_state_dict: expected a dict with "state"'):
            optim.LBFGS([leaf(1.0)]).load_state_dict(state)
    for state in ({"state": 3, "param_groups": []}, {"state": {}, "param_groups": [{}]}):
        with pytest.raises(TypeError, match='^load_state_dict: "state" must be a dict'):
            optimizer.load_state_dict(state)
    other = optim.Adam([leaf(1.0, 2.0)])
    set_gradients(other.param_groups[0]["params"], 0)
    other.step()
    with pytest.raises(ValueError, match=r"exp_avg must have shape \(1,\), got \(2,\)"):
        optimizer.load_state_dict(other.state_dict())
    assert not optimizer.state
    with pytest.raises(TypeError, match="^load_state_dict: state_dict must be a mapping"):
        lr_scheduler.StepLR(optimizer_of(1.0), 1).load_state_dict([1])
    with pytest.raises(TypeError, match="^LBFGS: step needs a closure"):
        optim.LBFGS([leaf(1.0)]).step()
    with pytest.raises(TypeError, match="^ReduceLROnPlateau: metrics must be a number"):
        lr_scheduler.ReduceLROnPlateau(optimizer_of(1.0)).step("a")
    average = optim.AveragedModel(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="^update_parameters: the model has weight of shape"):
        average.update_parameters(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="^update_parameters: the model has 1 .* the average 2"):
        average.update_parameters(nn.Linear(2, 2, bias=False))
    with pytest.raises(TypeError, match="^update_parameters: model must be a Module"):
        average.update_parameters(3)
