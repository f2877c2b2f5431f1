"""Mixed precision: which types run where, and the scaling of losses."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from backends import on_device

import pyconv
from pyconv import functional as F  # noqa: N812
from pyconv import models, nn, optim
from pyconv.autograd import Tensor, cat

FLOAT32 = np.float32


def ones(*shape: int) -> Tensor:
    return Tensor(np.ones(shape, FLOAT32))


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(np.array(values, FLOAT32))


# -- autocast --------------------------------------------------------------------------------------


def test_arrays_on_the_cpu_are_left_alone() -> None:
    with pyconv.autocast("cuda"):
        y = F.relu(F.linear(ones(2, 3), ones(4, 3)) @ ones(4, 2)).sum()
    assert y.dtype == FLOAT32


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(device_type="cpu"), ValueError, 'device_type must be "cuda"'),
        (dict(device_type=0), TypeError, "device_type must be a str, got int 0"),
        (dict(dtype=np.float32), ValueError, "dtype must be float16 or bfloat16, got float32"),
        (dict(dtype="no type"), TypeError, "dtype must be a dtype, got str"),
        (dict(enabled=1), TypeError, "enabled must be a bool, got int 1"),
    ],
)
def test_autocast_refuses(arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=f"autocast: {message}"):
        pyconv.autocast(**arguments)


@pytest.fixture(params=["float16", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> Any:
    if request.param == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(request.param)


@on_device
def test_products_run_in_16_bits_and_losses_in_float32(dtype: Any) -> None:
    x, w = ones(2, 8, 5, 5).cuda(), ones(8, 8, 3, 3).cuda()
    rows, matrix = ones(4, 8).cuda(), ones(8, 8).cuda()
    with pyconv.autocast("cuda", dtype):
        y = F.conv2d(x, w, ones(8).cuda(), padding=1)
        assert y.dtype == dtype
        assert F.linear(rows, matrix).dtype == dtype and (rows @ matrix).dtype == dtype
        assert F.conv_transpose2d(x, w).dtype == dtype
        assert F.relu(y).dtype == dtype and F.max_pool2d(y, 2).dtype == dtype
        assert (y * 2).dtype == dtype and (y + y).dtype == dtype
        assert (y + x).dtype == FLOAT32 and (x + y).dtype == FLOAT32
        assert cat([x, y], 1).dtype == FLOAT32 and cat([y, y], 1).dtype == dtype
        for z in (y.sum(), y.mean(), y.var(), y.exp(), y**2, F.softmax(y, 1)):
            assert z.dtype == FLOAT32
        logits = F.linear(rows, matrix)
        assert F.cross_entropy(logits, Tensor(np.arange(4)).cuda()).dtype == FLOAT32
        assert F.mse_loss(logits, rows).dtype == FLOAT32
        with pyconv.autocast("cuda", enabled=False):
            assert F.linear(rows, matrix).dtype == FLOAT32
        assert F.linear(rows, matrix).dtype == dtype
    assert F.linear(rows, matrix).dtype == FLOAT32


@on_device
def test_autocast_holds_for_the_calling_thread() -> None:
    rows, matrix = ones(4, 8).cuda(), ones(8, 8).cuda()
    seen = []

    @pyconv.autocast("cuda")
    def inside() -> Any:
        other = threading.Thread(target=lambda: seen.append(F.linear(rows, matrix).dtype))
        other.start()
        other.join()
        return F.linear(rows, matrix).dtype

    assert inside() == np.float16 and seen == [FLOAT32]


@on_device
def test_training_in_16_bits_follows_training_in_float32(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (8, 3, 8, 8)).astype(FLOAT32)
    y = np.arange(8) % 3
    losses = {}
    for enabled in (False, True):
        pyconv.manual_seed(4)
        model = models.cifar_resnet(8, 8, num_classes=3).to("cuda")
        optimizer = optim.SGD(model.parameters(), 0.05, momentum=0.9)
        scaler = pyconv.GradScaler(init_scale=256.0, enabled=enabled)
        losses[enabled] = []
        for _ in range(4):
            optimizer.zero_grad()
            with pyconv.autocast("cuda", dtype, enabled):
                loss = F.cross_entropy(model(Tensor(x).cuda()), Tensor(y).cuda())
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            losses[enabled].append(loss.item())
        for p in model.parameters():
            assert p.dtype == FLOAT32 and p.grad.dtype == FLOAT32
    # Images are rounded to 2^-11 or 2^-8 of themselves, some dozen times on the way.
    rounding = 2.0**-11 if dtype == np.float16 else 2.0**-8
    np.testing.assert_allclose(losses[True], losses[False], rtol=32 * rounding)
    assert losses[True][-1] < losses[True][0]


# -- GradScaler ------------------------------------------------------------------------------------

DEVICES = ["cpu", pytest.param("cuda", marks=on_device)]


@pytest.mark.parametrize("device", DEVICES)
def test_steps_are_taken_or_skipped(device: str) -> None:
    p = parameter(1.0, 2.0).to(device).detach().requires_grad_()
    optimizer = optim.SGD([p], lr=0.5)
    scaler = pyconv.GradScaler(1024.0, growth_interval=2)
    for factor, expected, scale in (
        (1.0, [0.5, 1.5], 1024), (np.inf, [0.5, 1.5], 512), (np.nan, [0.5, 1.5], 256),
        (2.0, [-0.5, 0.5], 256), (1.0, [-1.0, 0.0], 512),
    ):  # fmt: skip
        optimizer.zero_grad()
        loss = (p * float(factor)).sum()
        assert scaler.scale(loss).data == loss.data * scaler.get_scale() or factor != factor
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        np.testing.assert_array_equal(p.numpy(), expected)
        assert scaler.get_scale() == scale


def test_gradients_are_unscaled_once() -> None:
    p = parameter(1.0)
    optimizer, scaler = optim.SGD([p], lr=1.0), pyconv.GradScaler(64.0)
    scaler.scale((p * 4).sum()).backward()
    scaler.unscale_(optimizer)
    assert p.grad.item() == 4
    with pytest.raises(RuntimeError, match="unscale_: was called since the last update"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert p.item() == -3
    with pytest.raises(RuntimeError, match="step: was called since the last update"):
        scaler.step(optimizer)
    scaler.update(8.0)
    assert scaler.get_scale() == 8
    with pytest.raises(RuntimeError, match="update: there was no step"):
        scaler.update()


def test_one_bad_optimizer_shrinks_the_scale_of_all() -> None:
    p, q = parameter(1.0), parameter(1.0)
    optimizers = [optim.SGD([p], lr=0.5), optim.SGD([q], lr=0.5)]
    scaler = pyconv.GradScaler(4.0)
    for loss in scaler.scale([p.sum(), (q * float("inf")).sum()]):
        loss.backward()
    for optimizer in optimizers:
        scaler.step(optimizer)
    scaler.update()
    assert (p.item(), q.item(), scaler.get_scale()) == (0.5, 1.0, 2.0)


def test_disabled_scaler_passes_through() -> None:
    p = parameter(1.0)
    optimizer, scaler = optim.SGD([p], lr=0.5), pyconv.GradScaler(enabled=False)
    loss = p.sum()
    assert scaler.scale(loss) is loss and scaler.get_scale() == 1 and not scaler.is_enabled()
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.item() == 0.5 and scaler.state_dict() == {}


def test_state_dict_as_in_pytorch() -> None:
    scaler = pyconv.GradScaler(32.0, 3.0, 0.25, 7)
    state = scaler.state_dict()
    assert state == {
        "scale": 32.0, "growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 7,
        "_growth_tracker": 0,
    }  # fmt: skip
    other = pyconv.GradScaler()
    other.load_state_dict(state)
    assert other.state_dict() == state and "scale=32.0" in repr(other)
    with pytest.raises(ValueError, match="load_state_dict: state_dict must have scale"):
        other.load_state_dict({"scale": 1.0})


def test_pytorch_agrees() -> None:
    torch = pytest.importorskip("torch")
    ours = pyconv.GradScaler(16.0, 3.0, 0.25, 2)
    theirs = torch.amp.GradScaler("cpu", 16.0, 3.0, 0.25, 2)
    p, q = parameter(1.0), torch.ones(1, requires_grad=True)
    optimizers = optim.SGD([p], lr=0.5), torch.optim.SGD([q], lr=0.5)
    for factor in (1.0, float("inf"), 1.0, 2.0, 3.0, float("nan"), 1.0):
        for scaler, optimizer, t in zip((ours, theirs), optimizers, (p, q), strict=True):
            optimizer.zero_grad()
            scaler.scale((t * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        assert ours.get_scale() == theirs.get_scale() and p.item() == q.item()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(init_scale=0.0), ValueError, "init_scale must be positive, got 0.0"),
        (dict(init_scale="1"), TypeError, "init_scale must be a number"),
        (dict(growth_factor=1.0), ValueError, "growth_factor must be above 1, got 1.0"),
        (dict(backoff_factor=1.0), ValueError, "backoff_factor must be between 0 and 1, got 1.0"),
        (dict(growth_interval=0), ValueError, "growth_interval must be at least 1, got 0"),
        (dict(enabled=None), TypeError, "enabled must be a bool"),
    ],
)
def test_scaler_refuses(arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=f"GradScaler: {message}"):
        pyconv.GradScaler(**arguments)


def test_scaler_refuses_what_is_no_tensor_or_optimizer() -> None:
    scaler = pyconv.GradScaler()
    with pytest.raises(TypeError, match=r"GradScaler.scale: outputs must be Tensors, got float"):
        scaler.scale(1.0)
    for method in ("step", "unscale_"):
        with pytest.raises(TypeError, match=f"GradScaler.{method}: optimizer must be an Optimizer"):
            getattr(scaler, method)(None)
    with pytest.raises(ValueError, match=r"GradScaler.update: new_scale must be positive, got -1"):
        scaler.update(-1.0)
