"""Tensors, operations, layers and training on "cuda" against the same on the CPU."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backends import on_device
from PIL import Image

import pyconv
from pyconv import EarlyStopping, Trainer, functional, io, models, nn, optim, training
from pyconv import functional as F  # noqa: N812
from pyconv.autograd import Tensor, cat, grad, maximum, minimum, no_grad, stack, where
from pyconv.cli import main
from pyconv.data import DataLoader
from pyconv.data import transforms as T  # noqa: N812

pytestmark = on_device

EPS = float(np.finfo(np.float32).eps)
# Both backends are within some eps of the sum of the absolute values of what is added; the tests
# have at most a few hundred terms of size 1, and the largest result stands for that sum.
TOLERANCE = 64 * EPS


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def assert_near(actual: Any, expected: np.ndarray, factor: float = 1) -> None:
    """An array on the device, and what the CPU found; NaNs and infinities in the same places."""
    assert type(actual).__module__.startswith("cupy"), type(actual)
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    if expected.size:
        scale = np.abs(np.nan_to_num(expected.astype(np.float64), posinf=0, neginf=0)).max()
        np.testing.assert_allclose(
            actual.get(), expected, rtol=0, atol=factor * TOLERANCE * max(scale, 1e-3)
        )


def both(operation: Callable[..., Any], *arrays: np.ndarray, gradients: bool = True) -> None:
    """Results and gradients of an operation on both devices."""
    found: list[list[Any]] = []
    for device in ("cpu", "cuda"):
        pyconv.manual_seed(5)
        inputs = [
            Tensor(a.copy(), requires_grad=gradients and a.dtype.kind == "f").to(device)
            for a in arrays
        ]
        inputs = [t.detach().requires_grad_(gradients and t.dtype.kind == "f") for t in inputs]
        y = operation(*inputs)
        results = [y.data]
        if gradients:
            direction = Tensor(values(*y.shape, seed=1)).to(device)
            leaves = [t for t in inputs if t.requires_grad]
            results += [g.data for g in grad(y, leaves, direction)]
        found.append(results)
    for expected, actual in zip(*found, strict=True):
        assert_near(actual, expected)


# -- operations of Tensors --------------------------------------

X, Y = values(2, 3, 4), values(3, 1, seed=1) + 2
TENSORS: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    "arithmetic": (lambda a, b: 2 - (a * b + a / b - 3.0) * -a, [X, Y]),
    "power": (lambda a, b: b**2 + b**0.5 + b**a + 2**a, [X, Y]),
    "exp log sqrt abs": (lambda a, b: a.exp() + b.log() * b.sqrt() + abs(a), [X, Y]),
    "clamp": (lambda a: a.clamp(-0.5, 0.5) + a.clamp(min=0.0), [X]),
    "choices": (
        lambda a, b: maximum(a, b - 2) * minimum(a, 0.1) + where(a.data > 0, a, b), [X, Y]),
    "reductions": (
        lambda a: a.sum((0, 2)) + a.mean(1).sum() + a.var((0, 2)) * a.std() + a.max() + a.min(),
        [X]),
    "extremes": (lambda a: a.max(1)[0] * a.min(1)[0], [X]),
    "shapes": (
        lambda a: a.reshape(6, 4).T.flatten().unsqueeze(0).expand(2, 24).permute(1, 0)[3:9], [X]),
    "rows, some twice": (lambda a: a[:, [0, 2, 2]] * 2.0, [X]),
    "unions": (lambda a, b: cat([stack([a, a * 2]).flatten(0, 2), b.T.expand(12, 3).T[:, :4]]),
               [X, Y]),
    "matmul": (lambda a, b: (a @ b) @ b.transpose(0, 1), [values(5, 7), values(7, 3)]),
    "matmul of many": (lambda a, b: a @ b, [values(2, 1, 3, 5), values(4, 5, 2)]),
    "copies": (lambda a: a.clone().float() + a.detach(), [X]),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name: str) -> None:
    operation, arrays = TENSORS[name]
    both(operation, *arrays)


def test_indices_and_comparisons() -> None:
    x = Tensor(X).cuda()
    np.testing.assert_array_equal(x.argmax(1).numpy(), X.argmax(1))
    np.testing.assert_array_equal((x > 0).get(), X > 0)
    np.testing.assert_array_equal(x[x > 0].numpy(), X[X > 0])
    assert x.device == "cuda:0" and Tensor(X).device == "cpu"
    assert "device=cuda:0" in repr(x) and float(x.sum()) == pytest.approx(X.sum(), abs=1e-4)
    assert len(x) == 2 and x.tolist() == X.tolist() and x[0, 0, 0].item() == X[0, 0, 0]


def test_gradients_flow_from_device_to_device() -> None:
    x = Tensor(X.copy(), requires_grad=True)
    (x.cuda() * 3).cpu().sum().backward()
    assert x.grad is not None and x.grad.device == "cpu"
    np.testing.assert_array_equal(x.grad.data, np.full_like(X, 3))


def test_in_place() -> None:
    x = Tensor(X.copy()).cuda()
    x += 1
    x *= 2
    x[0] = 0
    x.copy_(x + Tensor(X).cuda())
    expected = (X + 1) * 2
    expected[0] = 0
    np.testing.assert_allclose(x.numpy(), expected + X, rtol=1e-6)
    x.copy_(X)  # from the other device
    np.testing.assert_array_equal(x.numpy(), X)
    y = Tensor(np.zeros_like(X))
    y.copy_(x)
    np.testing.assert_array_equal(y.data, X)


@pytest.mark.parametrize(
    "operation",
    [
        lambda a, b: a + b,
        lambda a, b: cat([a, b]),
        lambda a, b: maximum(a, b),
        F.mse_loss,
        lambda a, b: F.linear(a, b),
    ],
)
def test_two_devices_in_one_operation_are_refused(operation: Any) -> None:
    a = Tensor(np.ones((3, 3), np.float32))
    for x, y in ((a, a.cuda()), (a.cuda(), a)):
        with pytest.raises(TypeError, match=r"cuda:0|CuPy"):
            operation(x, y)


def test_classes_on_the_other_device_are_refused() -> None:
    logits, classes = Tensor(np.ones((3, 3), np.float32)), Tensor(np.zeros(3, int))
    for x, y in ((logits, classes.cuda()), (logits.cuda(), classes)):
        for loss in (F.cross_entropy, F.nll_loss):
            with pytest.raises(TypeError, match=f"{loss.__name__}: .*CuPy"):
                loss(x, y)


# -- functional -------------------------------------------------

IMAGE = values(2, 6, 7, 5)
FEATURES = values(6, 5)
CHANNELS = values(6, seed=2) + 1.5
CLASSES = np.array([0, 4, 2, 1, 1, 3])
FUNCTIONS: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    **{
        name: (getattr(F, name), [IMAGE])
        for name in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu")
    },
    "softmax": (lambda x: F.softmax(x, 1), [IMAGE]),
    "log_softmax": (lambda x: F.log_softmax(x, -1), [IMAGE]),
    "linear": (lambda x, w, b: F.linear(x, w, b, activation="relu"),
               [FEATURES, values(4, 5), values(4)]),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1, stride=2, activation="sigmoid"),
               [IMAGE, values(4, 6, 3, 3), values(4)]),
    "conv2d, residual": (
        lambda x, w, r: F.conv2d(x, w, padding=1, activation="relu", residual=r),
        [IMAGE, values(6, 6, 3, 3), values(2, 6, 7, 5, seed=3)]),
    "conv2d, depthwise": (lambda x, w: F.conv2d(x, w, padding="same", groups=6),
                          [IMAGE, values(6, 1, 3, 3)]),
    "conv2d, silu": (lambda x, w: F.conv2d(x, w, activation="silu"), [IMAGE, values(4, 6, 1, 1)]),
    "conv1d": (lambda x, w: F.conv1d(x, w, dilation=2), [IMAGE[..., 0], values(4, 6, 3)]),
    "conv_transpose2d": (lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, output_padding=1),
                         [IMAGE, values(6, 4, 3, 3), values(4)]),
    "depthwise_separable": (
        lambda x, d, p: F.depthwise_separable_conv2d(x, d, p, padding=1),
        [IMAGE, values(6, 1, 3, 3), values(4, 6, 1, 1)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), [IMAGE]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), [IMAGE]),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (3, 1)), [IMAGE]),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, activation="relu"),
        [IMAGE, CHANNELS, values(6)]),
    "batch_norm, residual": (
        lambda x, w, b, r: F.batch_norm(
            x, None, None, w, b, training=True, activation="relu", residual=r),
        [IMAGE, CHANNELS, values(6), values(2, 6, 7, 5, seed=3)]),
    "batch_norm of given statistics": (
        lambda x, w, b, m, v: F.batch_norm(x, m.detach(), v.detach(), w, b) + 0 * m.sum() * v.sum(),
        [IMAGE, CHANNELS, values(6), values(6, seed=4), CHANNELS]),
    "instance_norm": (lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
                      [IMAGE, CHANNELS, values(6)]),
    "dropout": (lambda x: F.dropout(x, 0.3), [IMAGE]),
    "upsample, nearest": (lambda x: F.interpolate(x, scale_factor=2), [IMAGE]),
    "upsample, bilinear": (
        lambda x: F.interpolate(x, size=(9, 11), mode="bilinear", align_corners=False), [IMAGE]),
    "pad, zeros": (lambda x: F.pad(x, (1, 2, 0, 1)), [IMAGE]),
    "pad, reflect": (lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"), [IMAGE]),
    "cross_entropy": (F.cross_entropy, [FEATURES, CLASSES]),
    "cross_entropy, smoothed": (
        lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1, ignore_index=1),
        [FEATURES, CLASSES]),
    "cross_entropy of pixels": (F.cross_entropy, [IMAGE, np.arange(70).reshape(2, 7, 5) % 6]),
    "nll_loss": (lambda x, t: F.nll_loss(F.log_softmax(x, 1), t), [FEATURES, CLASSES]),
    "mse_loss": (F.mse_loss, [FEATURES, values(6, 5, seed=1)]),
    "l1_loss": (F.l1_loss, [FEATURES, values(6, 5, seed=1)]),
    "binary_cross_entropy": (
        lambda x, t: F.binary_cross_entropy(F.sigmoid(x), F.sigmoid(t)),
        [FEATURES, values(6, 5, seed=1)]),
    "binary_cross_entropy_with_logits": (
        lambda x, t: F.binary_cross_entropy_with_logits(x, t), [FEATURES, abs(FEATURES)]),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    operation, arrays = FUNCTIONS[name]
    both(operation, *arrays)


SECOND = ["relu", "gelu", "softmax", "conv2d", "batch_norm", "max_pool2d", "cross_entropy"]


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name: str) -> None:
    operation, arrays = FUNCTIONS[name]

    def slope(*inputs: Any) -> Any:
        inputs = [t if t.dtype.kind != "f" else t.requires_grad_() for t in inputs]
        leaves = [t for t in inputs if t.requires_grad]
        y = operation(*inputs)
        first = grad((y * y).sum(), leaves, create_graph=True)
        return sum(((g * g).sum() for g in first[1:]), (first[0] * first[0]).sum())

    both(slope, *arrays)


def test_a_class_out_of_range_is_named() -> None:
    x = Tensor(FEATURES).cuda()
    target = Tensor(np.array([0, 1, 2, 3, 4, 5])).cuda()
    with pytest.raises(ValueError, match="cross_entropy: target must be from 0 to 4"):
        F.cross_entropy(x, target)


# -- layers and networks ----------------------------------------


def pairs(make: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module]:
    """The same model on the CPU and on the device."""
    pyconv.manual_seed(3)
    model = make()
    return model, copy.deepcopy(model).to("cuda")


def test_running_statistics() -> None:
    for layer in (
        lambda: nn.BatchNorm2d(6),
        lambda: nn.BatchNorm2d(6, momentum=None),
        lambda: nn.InstanceNorm2d(6, track_running_stats=True),
    ):
        here, there = pairs(layer)
        for seed in range(3):
            x = values(2, 6, 7, 5, seed=seed)
            here(x)
            there(Tensor(x).cuda())
        for name, expected in here.state_dict().items():
            assert_near(there.state_dict()[name], expected)
        here.eval()
        there.eval()
        with no_grad():
            assert_near(there(Tensor(IMAGE).cuda()).data, here(IMAGE).data)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "cifar_resnet": (lambda: models.cifar_resnet(8, 4), (4, 3, 8, 8)),
    "lenet5": (lambda: models.lenet5(10), (2, 1, 28, 28)),
    "small_resnet": (lambda: models.small_resnet(3, 3, width=4), (2, 3, 16, 16)),
    "unet": (lambda: models.unet(2, in_channels=3, width=2, depth=2), (1, 3, 16, 16)),
    "autoencoder": (lambda: models.autoencoder(in_channels=1), (2, 1, 28, 28)),
    "transformer_net": (lambda: models.transformer_net(None, 3, 4, 1), (2, 3, 13, 16)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_dict_gives_the_same_answers(name: str) -> None:
    make, shape = NETWORKS[name]
    here, there = pairs(make)
    x = values(*shape)
    for mode in (True, False):
        here.train(mode)
        there.train(mode)
        pyconv.manual_seed(1)
        expected = here(x).data
        pyconv.manual_seed(1)
        assert_near(there(Tensor(x).cuda()).data, expected, 8)  # through many layers


OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "Adam": lambda p: optim.Adam(p, 0.01, weight_decay=1e-3),
    "AdamW": lambda p: optim.AdamW(p, 0.01),
    "RMSprop": lambda p: optim.RMSprop(p, 0.001, momentum=0.5, centered=True, eps=1e-3),
}


def steps(model: nn.Module, optimizer: optim.Optimizer, device: str) -> Iterator[float]:
    for seed in range(3):
        x = Tensor(values(4, 3, 8, 8, seed=seed)).to(device)
        y = Tensor(np.arange(4) % 3).to(device)

        def closure(x: Any = x, y: Any = y) -> Any:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            return loss

        yield optimizer.step(closure).item()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_of_the_residual_network(name: str) -> None:
    make = OPTIMIZERS[name]
    here, there = pairs(lambda: models.cifar_resnet(8, 4, num_classes=3))
    optimizers = [make(m.parameters()) for m in (here, there)]
    losses = [
        list(steps(m, o, d))
        for m, o, d in zip((here, there), optimizers, ("cpu", "cuda"), strict=True)
    ]  # noqa: E501
    # An error of one step grows in the next.
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    for (key, expected), actual in zip(
        here.state_dict().items(), there.state_dict().values(), strict=True
    ):
        assert type(actual).__module__.startswith("cupy"), key
        np.testing.assert_allclose(actual.get(), expected, rtol=1e-3, atol=2e-4, err_msg=key)
    # The state moves to the other device, and gives the same next step.
    optimizers[0].load_state_dict(optimizers[1].state_dict())
    here.load_state_dict(there.state_dict())
    following = [
        next(steps(m, o, d))
        for m, o, d in zip((here, there), optimizers, ("cpu", "cuda"), strict=True)  # noqa: E501
    ]
    assert following[1] == pytest.approx(following[0], rel=1e-4)


def test_line_search() -> None:
    x, y = values(20, 4), values(20, 1, seed=1)
    found = []
    for device in ("cpu", "cuda"):
        pyconv.manual_seed(2)
        model = nn.Linear(4, 1).to(device)
        optimizer = optim.LBFGS(model.parameters(), max_iter=20, line_search_fn="strong_wolfe")
        inputs, targets = Tensor(x).to(device), Tensor(y).to(device)

        def closure(model: Any = model, optimizer: Any = optimizer,
                    inputs: Any = inputs, targets: Any = targets) -> Any:  # fmt: skip
            optimizer.zero_grad()
            loss = F.mse_loss(model(inputs), targets)
            loss.backward()
            return loss

        optimizer.step(closure)
        found.append(model.weight.numpy().ravel())
    exact = np.linalg.lstsq(np.c_[x, np.ones(20)], y, rcond=None)[0].ravel()[:4]
    for weight in found:  # the loss is flat to within its rounding
        np.testing.assert_allclose(weight, exact, atol=4 * math.sqrt(EPS))


def test_clipping() -> None:
    p = nn.Parameter(np.zeros(2, np.float32)).to("cuda").detach().requires_grad_()
    for scale, expected in ((1.0, [0.6, 0.8]), (0.1, [0.3, 0.4])):
        p.grad = Tensor(np.array([3.0, 4.0], np.float32) * np.float32(scale)).cuda()
        norm = nn.utils.clip_grad_norm_([p], 1.0)
        assert float(norm) == pytest.approx(5 * scale, rel=1e-6)
        np.testing.assert_allclose(p.grad.numpy(), expected, rtol=1e-5)
    nn.utils.clip_grad_value_([p], 0.35)
    np.testing.assert_allclose(p.grad.numpy(), [0.3, 0.35], rtol=1e-6)


# -- Trainer ----------------------------------------------------


def pictures(count: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A bright bar that stands or lies, in noise."""
    rng = np.random.default_rng(7)
    x = rng.integers(0, 90, (count, 1, 8, 8)).astype(np.uint8)
    y = np.arange(count) % 2
    x[y == 0, :, 2] += 150
    x[y == 1, :, :, 2] += 150
    return x, y


def loader() -> DataLoader:
    return DataLoader(pictures(), 16, True, seed=3, transform=T.ToFloat())


def norm_model() -> nn.Module:
    pyconv.manual_seed(11)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(108, 2),
    )  # fmt: skip


def trainer_on(device: str) -> Trainer:
    model = norm_model().to(device)
    return Trainer(
        model,
        optim.Adam(model.parameters(), lr=0.01),
        callbacks=[EarlyStopping(5)],
        clip_grad_norm=1.0,
        l1=1e-4,
        average=optim.ExponentialMovingAverage(model, 0.9),
        device=device,
        progress=False,
    )


def numbers(history: list[dict[str, Any]]) -> list[list[float]]:
    return [[record["loss"], record["validation_loss"]] for record in history]


def test_trainer_learns_as_on_the_cpu_and_checkpoints_move(tmp_path: Path) -> None:
    histories = {}
    for device in ("cpu", "cuda"):
        trainer = trainer_on(device)
        trainer.fit(loader(), loader(), 3, checkpoint=tmp_path / device)
        histories[device] = trainer.history
        assert all(math.isfinite(v) for row in numbers(trainer.history) for v in row)
    np.testing.assert_allclose(numbers(histories["cuda"]), numbers(histories["cpu"]), rtol=1e-3)
    for first, second in (("cuda", "cpu"), ("cpu", "cuda")):
        trainer = trainer_on(second)
        trainer.fit(loader(), loader(), 4, resume=tmp_path / first)
        histories[first] = trainer.history
    np.testing.assert_allclose(numbers(histories["cuda"]), numbers(histories["cpu"]), rtol=1e-3)
    model = norm_model()
    state, _ = io.load_state(tmp_path / "cuda")
    model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model.")})


def test_predict_and_evaluate() -> None:
    here, there = pairs(norm_model)
    x, y = pictures(10)
    data = DataLoader((x, y), 4, transform=T.ToFloat())
    expected = training.predict(here, data)
    found = training.predict(there, data, "cuda")
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * abs(expected).max())
    trainers = [
        Trainer(m, optim.SGD(m.parameters()), device=d, progress=False)
        for m, d in ((here, "cpu"), (there, "cuda"))
    ]
    scores = [t.evaluate(data) for t in trainers]
    assert scores[0]["accuracy"] == scores[1]["accuracy"]
    assert scores[1]["loss"] == pytest.approx(scores[0]["loss"], rel=1e-5)


def test_the_command_trains_as_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = pictures(60)
    for i, picture in enumerate(x[:, 0]):
        path = tmp_path / "pictures" / f"kind{y[i]}" / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    histories, scores = [], []
    for device in ("cpu", "cuda"):
        arguments = ["train", "--data", "pictures", "--device", device, "--model-option", "width=4",
                     "--epochs", "2", "--batch-size", "16", "--quiet", "--json",
                     "-o", device, "--checkpoint", f"{device}.checkpoint"]  # fmt: skip
        assert main(arguments) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found["device"] == device
        scores.append(found["test_loss"])
        checkpoint = io.load_state(f"{device}.checkpoint")[1]["checkpoint"]
        histories.append(numbers(checkpoint["history"]))
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-3)
    assert scores[1] == pytest.approx(scores[0], rel=1e-3)
    for command in ("evaluate", "predict"):
        files = ["pictures/kind0/00.png"] if command == "predict" else []
        texts = []
        for device in ("cpu", "cuda"):
            assert main([command, "cuda", *files, "--device", device]) == 0
            texts.append(capsys.readouterr().out)
        assert texts[0].split()[:4] == texts[1].split()[:4]


def test_training_gives_its_memory_back() -> None:
    import cupy

    def train() -> None:
        model = norm_model().to("cuda")
        optimizer = optim.Adam(model.parameters())
        for x, y in loader():
            optimizer.zero_grad()
            functional.cross_entropy(model(Tensor(x).cuda()), Tensor(y).cuda()).backward()
            optimizer.step()

    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        for _ in range(4):  # until the pool has pieces of all sizes
            train()
            assert pool.used_bytes() == 0
        held = pool.total_bytes()
        for _ in range(4):
            train()
        assert pool.used_bytes() == 0 and pool.total_bytes() == held
        pool.free_all_blocks()
