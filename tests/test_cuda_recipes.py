"""Recipes on "cuda" against the same on the CPU: a step or two of each."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from backends import on_device
from test_recipes import NAMES, calls

import pyconv
from pyconv import manual_seed, models, nn
from pyconv.recipes import adversarial, autoencoding, dream, style, transfer, visualize

pytestmark = on_device

# The networks have sums of at most 8 * 9 terms, and some of them in a row; a picture moves by at
# most rate * steps, in proportion to gradients that were divided by their own size.
TOLERANCE = 1e-4


@pytest.fixture
def net() -> nn.Module:
    """Smooth, so that rounding makes no other choice."""
    manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 5),
    ).eval()  # fmt: skip


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    return 0.1 + 0.8 * rng.random((3, 20, 16), np.float32)


def same(found: Any, expected: Any) -> None:
    """Pictures and history."""
    assert type(found) is type(expected) and found.titles == expected.titles
    np.testing.assert_allclose(found.images, expected.images, rtol=0, atol=TOLERANCE)
    for row, wanted in zip(found.history, expected.history, strict=True):
        assert row.keys() == wanted.keys()
        for key, value in wanted.items():
            if isinstance(value, (int, float)) and key != "seconds":
                assert row[key] == pytest.approx(value, rel=1e-3, abs=1e-5), key


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_gives_the_same_picture(name, net, picture):
    on_gpu = copy.deepcopy(net).to("cuda")
    found = calls(on_gpu, picture)[name](progress=False)
    assert isinstance(found.images, np.ndarray)
    assert {p.device for p in on_gpu.parameters()} == {"cuda:0"}
    same(found, calls(net, picture)[name](progress=False))


def test_filters_and_activations(net, picture):
    on_gpu = copy.deepcopy(net).to("cuda")
    same(visualize.filters(on_gpu), visualize.filters(net))
    found = [visualize.activations(m, picture, ["0", "4"], channels=3) for m in (on_gpu, net)]
    same(*found)


def test_mean_and_scale(net, picture):
    net.__dict__["metadata"] = {"normalization": {"mean": [0.2, 0.4, 0.6], "std": [0.5, 0.2, 2.0]}}
    on_gpu = copy.deepcopy(net).to("cuda")
    same(*(adversarial.pgd(m, picture, steps=1, progress=False) for m in (on_gpu, net)))


def test_a_network_of_onnx(net, picture, tmp_path):
    pytest.importorskip("onnx", reason='needs onnx: pip install "pyconv[onnx]"')
    pyconv.save_onnx(net, tmp_path / "net.onnx", picture.shape)
    loaded = pyconv.load_onnx(tmp_path / "net.onnx")
    layer = next(name for name, m in loaded.named_modules() if isinstance(m, nn.Conv2d))
    options: dict[str, Any] = dict(shape=picture.shape, steps=2, progress=False)
    on_gpu = copy.deepcopy(loaded).to("cuda")
    same(*(visualize.ascent(m, layer, 1, **options) for m in (on_gpu, loaded)))


def test_adversarial_training(net, rng):
    x, y = rng.random((6, 3, 8, 8), np.float32), np.arange(6) % 5
    options: dict[str, Any] = dict(epochs=1, steps=1, batch_size=6, progress=False)
    on_gpu = copy.deepcopy(net).to("cuda")
    found = [adversarial.train(m, (x, y), (x, y), **options) for m in (on_gpu, net)]
    same(*found)
    assert found[0].after == found[1].after


def test_a_style_network_learns_and_paints(net, picture):
    options: dict[str, Any] = dict(steps=2, every=1, batch_size=1, size=16, progress=False)
    layers: dict[str, Any] = dict(content_layer="4", style_layers=["0", "4"])
    found = []
    for device in ("cuda", "cpu"):
        manual_seed(0)
        network = models.transformer_net(width=2, blocks=1).to(device)
        loss_network = copy.deepcopy(net).to(device)
        painter = style.train(
            [picture], picture[:, ::-1], model=loss_network, network=network, **layers, **options
        )
        assert {p.device[:4] for p in painter.parameters()} == {device}
        found.append((painter.metadata["history"], style.apply(painter, picture).images))
    for row, wanted in zip(found[0][0], found[1][0], strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-3)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-2)  # Adam's first steps are signs


def test_a_head_is_learned_on_a_frozen_network(net, rng):
    x, y = rng.random((12, 3, 16, 16), np.float32), np.arange(12) % 3
    found = []
    for device in ("cuda", "cpu"):
        start = copy.deepcopy(net).to(device)
        fitted = transfer.fit(
            start, (x, y), (x, y), epochs=2, batch_size=6, classes=list("abc"), progress=False
        )
        assert {p.device[:4] for p in fitted.model.parameters()} == {device}
        found.append(fitted)
    for row, wanted in zip(found[0].history, found[1].history, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-3)
        assert row["validation_loss"] == pytest.approx(wanted["validation_loss"], rel=1e-3)
    assert found[0].titles == found[1].titles


def test_autoencoders(rng):
    x = rng.random((24, 1, 8, 8), np.float32)
    for noise in (0.0, 0.1):
        found = []
        for device in ("cuda", "cpu"):
            options: dict[str, Any] = dict(latent=2, epochs=1, batch_size=8, noise=noise)
            manual_seed(0)
            model = (
                models.autoencoder(width=4, depth=1, residual=True)
                if noise
                else models.autoencoder(width=4, latent=2, image_size=8, squash=True)
            )
            fitted = autoencoding.fit(x, model=model, device=device, progress=False, **options)
            assert {p.device[:4] for p in fitted.model.parameters()} == {device}
            scores = autoencoding.anomaly(fitted.model, x, progress=False).scores
            found.append((fitted.history[-1]["loss"], scores, fitted.images))
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-3)
        np.testing.assert_allclose(found[0][1], found[1][1], rtol=2e-2)
        np.testing.assert_allclose(found[0][2], found[1][2], atol=2e-2)
    clean = rng.random((2, 1, 8, 8), np.float32)
    pairs = [
        autoencoding.denoise(copy.deepcopy(fitted.model).to(device), clean, noise=0.1, clean=None,
                             progress=False)
        for device in ("cuda", "cpu")
    ]  # fmt: skip
    np.testing.assert_allclose(pairs[0].images, pairs[1].images, atol=TOLERANCE)


def test_the_strip_of_a_dream(net, picture):
    options: dict[str, Any] = dict(steps=1, octaves=1, jitter=2, seed=1, progress=False)
    same(*(dream.strip(m, picture, "4", **options) for m in (copy.deepcopy(net).to("cuda"), net)))


def test_the_manifold(rng):
    """Of an autoencoder as it begins: decoded points, distances of changed pictures."""
    x = 0.1 + 0.8 * rng.random((6, 1, 8, 8), np.float32)
    manual_seed(0)
    model = models.autoencoder(width=4, latent=2, image_size=8, squash=True).eval()
    classifier = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Sigmoid(), nn.Flatten(), nn.Linear(4 * 64, 3)
    ).eval()
    found = []
    for device in ("cuda", "cpu"):
        where = [copy.deepcopy(m).to(device) for m in (model, classifier)]
        found.append(
            autoencoding.manifold(
                where[0], x, np.arange(6) % 3, classifier=where[1], grid=3, walk_steps=2,
                dream_steps=1, progress=False,
            )
        )  # fmt: skip
    assert found[0].titles == found[1].titles
    np.testing.assert_allclose(found[0].images, found[1].images, atol=TOLERANCE)
    for row, wanted in zip(found[0].history, found[1].history, strict=True):
        assert row["kind"] == wanted["kind"]
        assert row["distance"] == pytest.approx(wanted["distance"], rel=1e-3)
        assert row.get("auc") == pytest.approx(wanted.get("auc"), abs=0.1)  # none of natural ones


def test_a_temporal_network(rng):
    """Causal convolutions, forward and backward."""
    manual_seed(0)
    net = models.tcn(num_classes=2, in_channels=3, width=4, depth=2)
    x = rng.standard_normal((2, 3, 17), np.float32)
    found = []
    for device in ("cuda", "cpu"):
        m = copy.deepcopy(net).to(device).eval()
        y = m(pyconv.Tensor(x).to(device))
        y.sum().backward()
        found.append([y.numpy(), *(p.grad.numpy() for p in m.parameters())])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_command_with_device_cuda(tmp_path, monkeypatch):
    from pyconv.cli import main
    from pyconv.data import read_picture

    monkeypatch.chdir(tmp_path)
    pyconv.save(models.lenet5(), "net.safetensors", {"input_shape": [1, 28, 28]})
    for device in ("cpu", "cuda"):
        argv = ["attack", "colosseum", "--method", "fgsm", "--model", "net.safetensors", "--quiet"]
        assert main([*argv, "--device", device, "--out", f"{device}.png"]) == 0
    cpu, cuda = (read_picture(f"{device}.png").astype(int) for device in ("cpu", "cuda"))
    # A gradient of about nothing may have another sign: some pixels of 28 * 28.
    assert (abs(cpu - cuda) > 1).mean() < 0.02
