"""`fold_batch_norm`: the same outputs, with fewer layers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from tolerances import EPS

import pyconv
from pyconv import models, nn
from pyconv.autograd import Tensor

# float32 rounds the folded weight and the statistics once each; sums have some dozens of terms.
TOLERANCE = 4 * EPS[np.dtype(np.float32)] * 64


def with_statistics(model: nn.Module, seed: int = 1) -> nn.Module:
    rng = np.random.default_rng(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            module.running_mean.copy_(rng.uniform(-0.2, 0.2, n).astype(np.float32))
            module.running_var.copy_(rng.uniform(0.5, 1.5, n).astype(np.float32))
            if module.affine:
                module.weight.data[...] = rng.uniform(0.5, 1.5, n)
                module.bias.data[...] = rng.uniform(-0.2, 0.2, n)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def check(model: nn.Module, shape: tuple[int, ...], left: int = 0) -> nn.Module:
    rng = np.random.default_rng(0)
    before = copy.deepcopy(model.state_dict())
    folded = pyconv.fold_batch_norm(model)
    x = rng.uniform(-1, 1, shape).astype(np.float32)
    expected = model(Tensor(x, requires_grad=True)).numpy()  # the modules one by one
    for y in (folded(x), folded(Tensor(x, requires_grad=True))):
        assert y.dtype == expected.dtype
        assert np.abs(y.numpy() - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert norms(folded) == left and not folded.training
    for name, array in model.state_dict().items():
        assert np.array_equal(array, before[name]), name
    assert not any(name.endswith("running_mean") for name in folded.state_dict()) or left
    return folded


LAYERS = {
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d, (2, 4, 5, 6)),
    "Conv2d without bias": (lambda: nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d, (2, 4, 5, 6)),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), nn.BatchNorm1d, (2, 4, 7)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, 2), nn.BatchNorm2d, (2, 4, 5, 6)),
    "ConvTranspose2d grouped": (
        lambda: nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d, (2, 4, 5, 6)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, 2), nn.BatchNorm1d, (2, 4, 7)),
    "Linear": (lambda: nn.Linear(4, 6), nn.BatchNorm1d, (3, 4)),
    "DepthwiseSeparableConv2d": (
        lambda: nn.DepthwiseSeparableConv2d(4, 6, 3), nn.BatchNorm2d, (2, 4, 5, 6)),
}  # fmt: skip


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, affine: bool) -> None:
    make, norm, shape = LAYERS[name]
    model = nn.Sequential(make(), norm(6, affine=affine), nn.ReLU())
    folded = check(with_statistics(model), shape)
    assert isinstance(folded[1], nn.Identity) and norms(model) == 1


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("small_resnet", {"width": 4}, (2, 1, 13, 14)),
        ("cifar_resnet", {"depth": 8, "width": 4}, (2, 3, 16, 16)),
        ("autoencoder", {"width": 4}, (2, 1, 8, 8)),
        ("unet", {"width": 4, "depth": 2}, (2, 3, 8, 12)),
        ("resnet18", {}, (1, 3, 64, 64)),
        ("resnet50", {"stem": "cifar"}, (1, 3, 16, 16)),
        ("mobilenet_v2", {}, (1, 3, 64, 64)),
    ],
)
def test_models(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    folded = check(with_statistics(models.build(name, **options)), shape)
    assert not hasattr(folded, "architecture")


def test_folded_layers_are_fused_with_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Identity in between doesn't keep the ReLU and the sum out of the convolution."""
    model = nn.Sequential(
        nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))), nn.ReLU()
    )
    folded = pyconv.fold_batch_norm(with_statistics(model))
    seen = []
    forward = nn.Conv2d.forward

    def watched(self: Any, x: Any, activation: Any = None, residual: Any = None) -> Any:
        seen.append((activation, residual is not None))
        return forward(self, x, activation, residual)

    watched.fuses = forward.fuses
    monkeypatch.setattr(nn.Conv2d, "forward", watched)
    folded(np.ones((1, 4, 3, 3), np.float32))
    plain = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    pyconv.fold_batch_norm(with_statistics(plain))(np.ones((1, 4, 3, 3), np.float32))
    assert seen == [("relu", True), ("relu", False)]


def test_what_is_left_as_it_is() -> None:
    conv = nn.Conv2d(4, 4, 1)
    shared = nn.Sequential(
        nn.Sequential(conv, nn.BatchNorm2d(4)), nn.Sequential(conv, nn.BatchNorm2d(4))
    )
    check(with_statistics(shared), (2, 4, 3, 3), left=2)
    listened = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    with_statistics(listened)[0].register_forward_hook(lambda m, i, o: None)
    check(listened, (2, 4, 3, 3), left=1)
    plain = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    assert norms(pyconv.fold_batch_norm(plain)) == 1
    apart = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    check(with_statistics(apart), (2, 4, 3, 3), left=1)


def test_an_unknown_order_is_refused() -> None:
    class Before(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)
            self.norm = nn.BatchNorm2d(4)

        def forward(self, x: Any) -> Any:
            return self.conv(self.norm(x))

    with pytest.raises(ValueError, match=r"Before has a forward of its own.*\(norm\)"):
        pyconv.fold_batch_norm(nn.Sequential(Before()))
    with pytest.raises(TypeError, match="fold_batch_norm: model must be a Module, got int"):
        pyconv.fold_batch_norm(3)


def test_onnx_graphs(tmp_path: Any) -> None:
    pytest.importorskip("onnx", reason='needs onnx: pip install "pyconv[onnx]"')
    pyconv.save_onnx(with_statistics(models.small_resnet(width=4)), tmp_path / "a", (1, 8, 8))
    net = pyconv.load_onnx(tmp_path / "a")
    assert norms(net) == 7
    folded = check(net, (2, 1, 8, 8))
    pyconv.save_onnx(folded, tmp_path / "b", (1, 8, 8))
    assert norms(pyconv.load_onnx(tmp_path / "b")) == 0
