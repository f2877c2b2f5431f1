"""The table of a model against numbers worked out by hand or known from the papers."""

from __future__ import annotations

import numpy as np
import pytest

import pyconv
from pyconv import models, nn
from pyconv.nn import init


def test_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2),  # 32 -> 16
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),  # -> 8
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    found = pyconv.summary(net, (2, 3, 32, 32))
    assert [layer.name for layer in found.layers] == list("0123456")
    assert [layer.output_shape for layer in found.layers] == [
        *[(2, 8, 16, 16)] * 3, *[(2, 8, 8, 8)] * 2, (2, 512), (2, 10),
    ]  # fmt: skip
    assert [layer.parameters for layer in found.layers] == [608, 16, 0, 0, 144, 0, 5130]
    assert [layer.multiply_adds for layer in found.layers] == [
        2 * 8 * 16 * 16 * 3 * 25, 0, 0, 0, 2 * 8 * 8 * 8 * 2 * 9, 0, 2 * 512 * 10,
    ]  # fmt: skip
    # 5; then + 2 steps of 2; then + 2 * 2 steps of 4; then + 7 steps of 4: all of the plane.
    fields = [layer.receptive_field for layer in found.layers]
    assert fields == [(5, 5)] * 3 + [(9, 9)] + [(25, 25)] * 2 + [(53, 53)]
    assert found.layers[0].memory == 4 * 2 * 8 * 16 * 16
    assert found.parameters == 608 + 16 + 144 + 5130 == found.trainable
    assert found.multiply_adds == sum(layer.multiply_adds for layer in found.layers)
    assert found.parameter_memory == 4 * found.parameters


@pytest.mark.parametrize(
    ("name", "shape", "multiply_adds", "field"),
    [
        ("resnet18", (3, 224, 224), 1_814_073_344, 435),
        ("mobilenet_v2", (3, 224, 224), 300_774_272, 491),
        ("squeezenet1_1", (3, 224, 224), 349_151_936, None),
        ("lenet5", (1, 28, 28), 416_520, 32),
    ],
)
def test_known_networks(name, shape, multiply_adds, field, monkeypatch) -> None:
    monkeypatch.setattr(init, "_fill", lambda function, tensor, values: tensor)
    model = models.build(name)
    for p in model.parameters():
        p.data[...] = 0
    found = pyconv.summary(model, shape)
    assert found.multiply_adds == multiply_adds
    if field is not None:
        before = [layer for layer in found.layers if layer.kind not in ("Linear", "Dropout")]
        before = [layer for layer in before if layer.kind != "AdaptiveAvgPool2d"]
        last = found.layers[-1] if name == "lenet5" else before[-1]
        assert last.receptive_field == (field, field)


def test_branches_and_functions_between_modules() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(1, 2, 5, padding=2)
            self.narrow = nn.Conv2d(1, 2, 3, padding=1)
            self.last = nn.Conv2d(4, 1, 3)

        def forward(self, x):
            joined = pyconv.cat([self.narrow(x), self.wide(x) * 2], dim=1)
            return self.last(joined)

    fields = {
        layer.name: layer.receptive_field for layer in pyconv.summary(Net(), (1, 8, 8)).layers
    }
    assert fields == {"narrow": (3, 3), "wide": (5, 5), "last": (7, 7)}


def test_upwards() -> None:
    net = nn.Sequential(
        nn.MaxPool2d(4),  # 4 cells, steps of 4
        nn.ConvTranspose2d(1, 2, 4, stride=2, padding=1),  # two cells meet: 8, steps of 2
        nn.Upsample(scale_factor=2),  # steps of 1
        nn.Conv2d(2, 1, 3, padding=1),
    )
    found = pyconv.summary(net, (1, 16, 16))
    assert [layer.receptive_field for layer in found.layers] == [(4, 4), (8, 8), (8, 8), (10, 10)]
    assert found.layers[1].multiply_adds == 4 * 4 * 2 * 16


@pytest.mark.parametrize(
    ("model", "shape", "full"),
    [
        (nn.Conv2d(3, 2, 1), (3, 4, 5), (1, 3, 4, 5)),
        (nn.Conv2d(3, 2, 1), (7, 3, 4, 5), (7, 3, 4, 5)),
        (nn.Conv1d(3, 2, 1), (3, 5), (1, 3, 5)),
        (nn.Linear(3, 2), (3,), (1, 3)),
        (nn.Linear(3, 2), [2, 3], (2, 3)),
        (models.mlp(2, 8), (2, 2, 2), (1, 2, 2, 2)),
        (models.mlp(2, 8), (8,), (1, 8)),
    ],
)
def test_the_batch_axis_may_be_left_out(model, shape, full) -> None:
    assert pyconv.summary(model, shape).input_shape == full


def test_shared_layers_count_once_and_modes_stay() -> None:
    shared = nn.Linear(4, 4)
    net = nn.Sequential(shared, nn.Dropout(), nn.Sequential(shared)).train()
    net[1].eval()
    found = pyconv.summary(net, (4,))
    assert found.parameters == 20 and sum(layer.parameters for layer in found.layers) == 20
    assert net.training and not net[1].training and not shared._forward_hooks


def test_frozen_parameters() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    net[0].requires_grad_(False)
    found = pyconv.summary(net, (4,))
    assert (found.parameters, found.trainable) == (23, 8)


def test_str_is_a_table() -> None:
    text = str(pyconv.summary(models.small_resnet(width=2), (1, 28, 28)))
    lines = text.splitlines()
    assert lines[0] == "small_resnet, input 1×1×28×28"
    assert "multiply-adds" in lines[2] and "receptive" not in lines[0]
    assert any("Conv2d" in line and "1×2×28×28" in line and "3×3" in line for line in lines)
    assert any(line.startswith("parameters: ") for line in lines)


def test_refuses() -> None:
    with pytest.raises(TypeError, match="model must be a Module, got int"):
        pyconv.summary(3, (1, 2))  # type: ignore[arg-type]
    net = nn.Conv2d(1, 1, 3)
    for shape, error, match in (
        (5, TypeError, "input_shape must be a tuple of ints, got int 5"),
        ((), ValueError, "input_shape must not be empty"),
        ((1, 0, 3), ValueError, "input_shape must be at least 1"),
        ((1, 2.0, 3), TypeError, "input_shape must be an int"),
        ((2, 5, 5), ValueError, "channels"),
    ):
        with pytest.raises(error, match=match):
            pyconv.summary(net, shape)
    assert not net._forward_hooks


def test_summary_stays_a_function() -> None:
    import pyconv._summary  # noqa: F401

    assert callable(pyconv.summary)
    assert np.isclose(pyconv.summary(nn.Linear(1, 1), (1,)).multiply_adds, 1)
