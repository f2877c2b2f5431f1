"""Autoencoders: what they promise of small pictures, and that the commands work from nothing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyconv
from pyconv import get_rng_state, models, nn
from pyconv.cli import main
from pyconv.data import DataLoader, load_dataset
from pyconv.recipes import autoencoding
from pyconv.recipes.autoencoding import _reconstruct
from pyconv.recipes.autoencoding._noise import Pairs

NEEDS_MATPLOTLIB = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)


@pytest.fixture(scope="module")
def clothes() -> Any:
    return load_dataset("fashion-mnist")


@pytest.fixture(scope="module")
def test_x(clothes: Any) -> np.ndarray:
    return clothes.test.x / np.float32(255)


@pytest.fixture(scope="module")
def denoiser(clothes: Any) -> autoencoding.Fitted:
    """Some seconds of training."""
    return autoencoding.fit(
        clothes.train.x[:1200], noise=(0.05, 0.2), epochs=2, rate=1e-2, progress=False
    )


@pytest.fixture(scope="module")
def shoes(clothes: Any) -> autoencoding.Fitted:
    """All it knows are sneakers and boots."""
    x = clothes.train.x[np.isin(clothes.train.y, (7, 9))]
    return autoencoding.fit(x, latent=4, epochs=4, progress=False)


@pytest.fixture(scope="module")
def plane(clothes: Any) -> autoencoding.Fitted:
    """Trousers, bags and boots, on a plane."""
    x = clothes.train.x[np.isin(clothes.train.y, (1, 8, 9))][:900]
    return autoencoding.fit(x, latent=2, epochs=4, progress=False)


def identity() -> nn.Module:
    """A network that leaves pictures as they are: nothing is added to them."""
    return models.autoencoder(residual=True).eval()


# -- how near, how well told apart ----------------------------------------------------------------


def direct_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al.'s formula, window by window, with its 11×11 Gaussian."""
    away = np.arange(11) - 5
    w = np.exp(-(away[:, None] ** 2 + away**2) / (2 * 1.5**2))
    w /= w.sum()
    found = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (w * a).sum(), (w * b).sum()
            va, vb = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum()
            cov = (w * (a - ma) * (b - mb)).sum()
            c1, c2 = 1e-4, 9e-4
            found.append(
                (2 * ma * mb + c1) / (ma**2 + mb**2 + c1) * (2 * cov + c2) / (va + vb + c2)
            )
    return float(np.mean(found))


def two_pictures(rng: np.random.Generator, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.random(shape)
    return x, np.clip(0.3 * rng.random(shape) + 0.7 * x**2, 0, 1)


def test_ssim_is_its_formula(rng: np.random.Generator) -> None:
    x, y = two_pictures(rng, 2, 3, 17, 14)
    expected = [
        np.mean([direct_ssim(a, b) for a, b in zip(p, q, strict=True)])
        for p, q in zip(x.astype(np.float32), y.astype(np.float32), strict=True)
    ]
    # E[x²] - E[x]², in float64.
    np.testing.assert_allclose(autoencoding.ssim(x, y), expected, rtol=1e-10)


def test_psnr_and_ssim_are_scikit_images(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip(
        "skimage.metrics", reason="needs scikit-image: pip install scikit-image"
    )
    x, y = (a.astype(np.float32).astype(float) for a in two_pictures(rng, 1, 3, 40, 33))
    np.testing.assert_allclose(
        autoencoding.psnr(x, y), metrics.peak_signal_noise_ratio(y[0], x[0], data_range=1.0)
    )
    theirs = metrics.structural_similarity(
        y[0], x[0], data_range=1.0, channel_axis=0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    np.testing.assert_allclose(autoencoding.ssim(x, y), theirs, rtol=1e-10)


def test_measures_of_equal_and_of_small_pictures(rng: np.random.Generator) -> None:
    x = rng.random((2, 1, 4, 5))
    assert np.isposinf(autoencoding.psnr(x, x)).all()
    np.testing.assert_allclose(autoencoding.ssim(x, x), 1)
    assert (autoencoding.ssim(x, 1 - x) < 0.5).all()
    half = np.full((1, 1, 8, 8), 0.5)
    np.testing.assert_allclose(autoencoding.psnr(half, 0 * half), 10 * np.log10(4))


def test_roc_auc_counts_pairs(rng: np.random.Generator) -> None:
    scores, positive = rng.integers(0, 8, 60).astype(float), rng.random(60) < 0.3
    pairs = [np.sign(a - b) for a in scores[positive] for b in scores[~positive]]
    np.testing.assert_allclose(autoencoding.roc_auc(scores, positive), np.mean(pairs) / 2 + 0.5)


def test_roc_auc_is_scikit_learns(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for decimals in (1, 6):
        scores, positive = rng.normal(size=200).round(decimals), rng.random(200) < 0.4
        theirs = metrics.roc_auc_score(positive, scores)
        np.testing.assert_allclose(autoencoding.roc_auc(scores, positive), theirs)


# -- training -------------------------------------------------------------------------------------


def test_fit_learns_and_says_what_it_did(shoes: autoencoding.Fitted) -> None:
    losses = [row["validation_loss"] for row in shoes.history]
    assert len(losses) == 4 and losses[-1] < 0.6 * losses[0]
    known = shoes.model.metadata["autoencoding"]
    assert known["noise"] == [0.0, 0.0] and len(known["errors"]) == 101
    np.testing.assert_allclose(np.mean(known["errors"]), losses[-1], rtol=0.2)
    assert shoes.model.metadata["input_shape"] == [1, 28, 28]
    assert not shoes.model.training and shoes.images.shape == shoes.originals.shape
    blank = np.mean((shoes.originals - shoes.originals.mean(0)) ** 2)
    assert np.mean((shoes.images - shoes.originals) ** 2) < 0.7 * blank


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_same_seed_gives_the_same_model(noise: float, rng: np.random.Generator) -> None:
    x = rng.random((40, 1, 8, 8), np.float32)

    def states(seed: int) -> dict[str, np.ndarray]:
        found = autoencoding.fit(
            x, noise=noise, latent=2, epochs=2, flip=True, seed=seed, progress=False
        )
        return {k: v.copy() for k, v in found.model.state_dict().items()}

    before = get_rng_state()
    one, other = states(1), states(2)
    np.testing.assert_array_equal(get_rng_state(), before)
    pyconv.manual_seed(int(before[0]) + 1)  # what others have drawn makes no difference
    two = states(1)
    pyconv.set_rng_state(before)
    for key, value in one.items():
        np.testing.assert_array_equal(value, two[key])
    assert any(not np.array_equal(value, other[key]) for key, value in one.items())


def test_noise_is_another_in_each_epoch(rng: np.random.Generator) -> None:
    x = rng.uniform(0.3, 0.7, (200, 1, 8, 8)).astype(np.float32)

    def pairs() -> Pairs:
        return Pairs(DataLoader((x, np.arange(200)), 50), (0.01, 0.1), 3)

    some = pairs()
    first, second = (np.concatenate([a - b for a, b in some]) for _ in range(2))
    assert np.abs(first - second).mean() > 0.01
    again = pairs()
    again.load_state_dict({"seed": 3, "epoch": 1})
    # Differences of rounded sums.
    np.testing.assert_allclose(np.concatenate([a - b for a, b in again]), second, atol=1e-7)
    levels = first.std((1, 2, 3))
    assert levels.min() < 0.02 and levels.max() > 0.09 and 0.045 < levels.mean() < 0.065


def test_a_training_goes_on_from_its_checkpoint(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.random((40, 1, 8, 8), np.float32)
    whole = autoencoding.fit(x, noise=0.1, epochs=3, progress=False)

    class Stop(Exception):  # noqa: N818
        pass

    pyconv.manual_seed(0)
    model = models.autoencoder(width=48, depth=1, blocks=4, residual=True)
    calls = []

    def stop(module: nn.Module, inputs: Any, output: Any) -> None:
        calls.append(1)
        if module.training and len(calls) > 8:
            raise Stop

    model.register_forward_hook(stop)
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stop):
        autoencoding.fit(x, model=model, noise=0.1, epochs=3, checkpoint=path, progress=False)
    again = autoencoding.fit(x, noise=0.1, epochs=3, resume=path, progress=False)
    assert again.history == whole.history
    for key, value in whole.model.state_dict().items():
        np.testing.assert_array_equal(again.model.state_dict()[key], value)


@pytest.mark.parametrize("shape", [(1, 13, 10), (3, 9, 16)])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_sides_and_channels_of_all_kinds(
    shape: tuple[int, ...], noise: float, rng: np.random.Generator
) -> None:
    x = rng.random((30, *shape), np.float32)
    found = autoencoding.fit(x, noise=noise, latent=2, epochs=1, progress=False)
    assert found.images.shape == (3, *shape)
    assert autoencoding.anomaly(found.model, x, progress=False).scores.shape == (30,)


# -- pictures of any size -------------------------------------------------------------------------


def test_tiles_give_what_the_whole_does(
    denoiser: autoencoding.Fitted, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = rng.random((1, 1, 101, 150), np.float32)
    whole = autoencoding.denoise(denoiser.model, x).images
    monkeypatch.setattr(_reconstruct, "_TILE", 50)
    parts = autoencoding.denoise(denoiser.model, x).images
    assert parts.shape == x.shape
    # The same sums, perhaps by other kernels for other sizes.
    np.testing.assert_allclose(parts, whole, atol=1e-4)
    monkeypatch.setattr(_reconstruct, "_MARGIN", 0)
    seams = autoencoding.denoise(denoiser.model, x).images
    assert np.abs(seams - whole).max() > 1e-2


def test_a_grey_model_takes_the_channels_one_by_one(
    denoiser: autoencoding.Fitted, rng: np.random.Generator
) -> None:
    x = rng.random((2, 3, 12, 15), np.float32)
    found = autoencoding.denoise(denoiser.model, x).images
    for c in range(3):
        one = autoencoding.denoise(denoiser.model, x[:, c : c + 1]).images
        np.testing.assert_allclose(found[:, c : c + 1], one, atol=1e-5)


def test_a_model_of_colour_takes_grey_pictures(rng: np.random.Generator) -> None:
    x = rng.random((2, 1, 12, 16), np.float32)
    model = models.autoencoder(in_channels=3, residual=True)
    np.testing.assert_allclose(autoencoding.denoise(model, x).images, x, atol=1e-6)


def test_patches_are_cut_out_of_the_pictures(rng: np.random.Generator) -> None:
    photos = [rng.random((3, 40, 50), np.float32), np.zeros((3, 16, 16), np.float32)]
    found = autoencoding.patches(photos, 9, size=16)
    assert found.shape == (9, 3, 16, 16) and (found[1::2] == 0).all() and (found[::2] > 0).all()
    windows = np.lib.stride_tricks.sliding_window_view(photos[0], (16, 16), (1, 2))
    same = (windows == found[0][:, None, None]).all((0, 3, 4))
    assert same.sum() == 1
    np.testing.assert_array_equal(found, autoencoding.patches(photos, 9, size=16))


# -- noise ----------------------------------------------------------------------------------------


def test_noise_is_taken_away(denoiser: autoencoding.Fitted, test_x: np.ndarray) -> None:
    """By decibels, at levels that were trained on and at others."""
    levels = [0.1, 0.2, 0.3]
    found = autoencoding.denoise(denoiser.model, test_x[::20], noise=levels, progress=False)
    assert [row["noise"] for row in found.history] == levels
    gains = [row["psnr_after"] - row["psnr_before"] for row in found.history]
    assert gains[0] > 2.5 and gains[1] > 3 and gains[2] > 3
    assert all(row["ssim_after"] > row["ssim_before"] + 0.05 for row in found.history)
    before = np.stack(np.split(found.given, 3)) - test_x[::20]
    inside = (test_x[::20] > 0.4) & (test_x[::20] < 0.6)  # where nothing is cut off
    np.testing.assert_allclose(before[:2, inside].std(1), levels[:2], rtol=0.1)


def test_noisy_pictures_as_they_are(denoiser: autoencoding.Fitted, test_x: np.ndarray) -> None:
    measured = autoencoding.denoise(denoiser.model, test_x[:5], noise=0.1)
    plain = autoencoding.denoise(denoiser.model, measured.given)
    known = autoencoding.denoise(denoiser.model, measured.given, clean=test_x[:5])
    np.testing.assert_array_equal(plain.images, measured.images)
    assert plain.history == [{"step": 0}] and len(plain.originals) == 0
    assert known.history[0]["psnr_after"] == measured.history[0]["psnr_after"]
    assert plain.comparison().shape == (10, 1, 28, 28)
    assert known.comparison().shape == (15, 1, 28, 28)
    other = autoencoding.denoise(denoiser.model, test_x[:5], noise=0.1, seed=1)
    assert not np.array_equal(other.given, measured.given)


# -- anomalies ------------------------------------------------------------------------------------


def test_what_is_unlike_the_training_is_found(
    shoes: autoencoding.Fitted, clothes: Any, test_x: np.ndarray
) -> None:
    other = np.isin(clothes.test.y, (0, 1, 8))
    chosen = other | np.isin(clothes.test.y, (7, 9))
    found = autoencoding.anomaly(shoes.model, test_x[chosen], other[chosen], progress=False)
    assert found.auc > 0.95
    assert found.anomalous[other[chosen]].mean() > 0.8
    assert found.anomalous[~other[chosen]].mean() < 0.1
    assert (found.scores > found.threshold).tolist() == found.anomalous.tolist()
    lower = autoencoding.anomaly(shoes.model, test_x[chosen], quantile=0.5, progress=False)
    assert lower.threshold < found.threshold and lower.anomalous.sum() > found.anomalous.sum()


def test_the_threshold_is_a_quantile_of_the_errors(shoes: autoencoding.Fitted) -> None:
    errors = shoes.model.metadata["autoencoding"]["errors"]
    x = shoes.originals
    for share, expected in ((0.5, errors[50]), (1.0, errors[-1]), (0.995, np.mean(errors[-2:]))):
        found = autoencoding.anomaly(shoes.model, x, quantile=share, progress=False)
        np.testing.assert_allclose(found.threshold, expected)
    assert autoencoding.anomaly(shoes.model, x, threshold=0.0, progress=False).anomalous.all()


def test_the_heat_map_shows_where(shoes: autoencoding.Fitted, test_x: np.ndarray) -> None:
    x = shoes.originals[:1].copy()
    x[:, :, 2:7, 2:7] = 1  # there is nothing else up there
    found = autoencoding.anomaly(shoes.model, x, progress=False)
    red = found.images[0, 0]
    assert red[3:6, 3:6].min() > 0.9 and red[3:6, 20:26].max() < 0.5
    np.testing.assert_array_equal(found.comparison()[2], found.images[0])


# -- the plane ------------------------------------------------------------------------------------


def test_the_plane_keeps_classes_apart_and_decodes(
    plane: autoencoding.Fitted, clothes: Any, test_x: np.ndarray
) -> None:
    chosen = np.isin(clothes.test.y, (1, 8, 9))
    x, y = test_x[chosen], clothes.test.y[chosen]
    found = autoencoding.manifold(
        plane.model, x, y, classes=clothes.classes, grid=5, walk=(0, 7), walk_steps=4, count=20,
        progress=False,
    )  # fmt: skip
    assert found.points.shape == (300, 2) and found.images.shape == (25, 1, 28, 28)
    middles = np.stack([found.points[y == k].mean(0) for k in (1, 8, 9)])
    nearest = ((found.points[:, None] - middles) ** 2).sum(2).argmin(1)
    assert (np.array([1, 8, 9])[nearest] == y).mean() > 0.8
    np.testing.assert_array_equal(found.walk[0], x[0])
    np.testing.assert_array_equal(found.walk[-1], x[7])
    made = autoencoding.anomaly(plane.model, x, progress=False).reconstructions
    np.testing.assert_allclose(found.walk[1], made[0], atol=1e-5)
    np.testing.assert_allclose(found.walk[-2], made[7], atol=1e-5)
    np.testing.assert_allclose(found.blend[2], (2 * x[0] + x[7]) / 3, atol=1e-6)
    # The upper left corner of the sheet is the upper left one of the plane.
    corner = np.array([[found.extent[0], found.extent[3]]])
    decoder = dict(plane.model.named_modules())["decoder"]
    np.testing.assert_allclose(found.images[0], decoder(np.float32(corner)).numpy()[0], atol=1e-5)
    assert list(found.distances) == ["natural", "noisy"]
    assert found.history[1]["distance"] > found.history[0]["distance"]
    assert found.history[1]["auc"] > 0.52


class Brightness(nn.Module):
    """Dark or bright: a classifier that can be understood, with a convolution to dream of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.conv.weight.data[...] = 1
        self.conv.bias.data[...] = -0.3

    def forward(self, x: Any) -> Any:
        bright = self.conv(x).mean((2, 3))
        return pyconv.cat([-9 * bright, 9 * bright], dim=1)


def test_a_classifier_on_the_plane(
    plane: autoencoding.Fitted, clothes: Any, test_x: np.ndarray
) -> None:
    x = test_x[np.isin(clothes.test.y, (1, 8, 9))][::10]
    judge = identity()
    found = autoencoding.manifold(
        plane.model, x, classifier=Brightness(), judge=judge, grid=64, count=8, dream_steps=3,
        epsilon=0.1, progress=False,
    )  # fmt: skip
    assert found.regions is not None and found.confidence is not None
    rows, columns = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    # The grid's points are on the edges of the plane, the regions' in the middle of cells.
    bright = found.images.mean((1, 2, 3)).reshape(64, 64)[::-1] > 0.3
    assert (found.regions == bright).mean() > 0.95 and 0 < found.regions.mean() < 1
    assert ((found.confidence >= 0.5) & (found.confidence <= 1)).all()
    assert list(found.distances) == ["natural", "noisy", "adversarial", "dreamt"]
    assert all((d == 0).all() for d in found.distances.values())  # the judge changes nothing
    changed = {row["kind"]: row["perturbation"] for row in found.history}
    assert changed["natural"] == 0 and all(changed[k] > 0.01 for k in ("noisy", "dreamt"))
    assert 0.02 < changed["adversarial"] <= 0.1 + 1e-6


# -- figures and files ----------------------------------------------------------------------------


@NEEDS_MATPLOTLIB
def test_figures_are_drawn(
    denoiser: autoencoding.Fitted,
    shoes: autoencoding.Fitted,
    plane: autoencoding.Fitted,
    clothes: Any,
    test_x: np.ndarray,
) -> None:
    x, y = test_x[:60], clothes.test.y[:60]
    found = {
        "fit": denoiser,
        "levels": autoencoding.denoise(denoiser.model, x[:6], noise=[0.1, 0.3], progress=False),
        "one": autoencoding.denoise(denoiser.model, x[:1]),
        "anomaly": autoencoding.anomaly(shoes.model, x, y == 9),
        "manifold": autoencoding.manifold(
            plane.model, x, y, classes=clothes.classes, classifier=Brightness(), grid=3, count=3,
            dream_steps=1, progress=False,
        ),
    }  # fmt: skip
    pictures = {"fit": 24, "levels": 24, "one": 2, "anomaly": 24, "manifold": 8}
    for name, result in found.items():
        figure = result.figure()
        figure.canvas.draw()
        shown = [ax for ax in figure.axes if ax.images]
        assert len(shown) == pictures[name], name
        assert all(np.ptp(ax.images[0].get_array()) > 0.1 for ax in shown), name


def test_files_say_all_that_is_needed(
    shoes: autoencoding.Fitted, test_x: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    pyconv.save(shoes.model, path)
    again = autoencoding.anomaly(pyconv.load(path), test_x[:9], progress=False)
    once = autoencoding.anomaly(shoes.model, test_x[:9], progress=False)
    np.testing.assert_array_equal(again.scores, once.scores)
    assert again.threshold == once.threshold
    np.testing.assert_array_equal(again.images, once.images)


# -- what is refused ------------------------------------------------------------------------------

X = np.full((20, 1, 8, 8), 0.5, np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: autoencoding.fit(X + 1), "fit: pictures must lie in 0..1"),
        (lambda: autoencoding.fit(X[:5]), "fit: at least 8 pictures are needed to learn from"),
        (lambda: autoencoding.fit(X, noise=(0.2, 0.1)), "fit: noise must go from a lower"),
        (lambda: autoencoding.fit(X, noise=(0.2, 0.1, 0.3)), "fit: noise must be one level or two"),
        (lambda: autoencoding.fit(X, noise=-1), "fit: noise must be at least 0"),
        (lambda: autoencoding.fit(X, model=3), "fit: model must be a Module, got int"),
        (lambda: autoencoding.fit(X, model=models.lenet5()), "fit: the model is no autoencoder"),
        (
            lambda: autoencoding.denoise(identity(), X, noise=0.1, clean=X),
            "denoise: noise is put into clean pictures; give noise or clean, not both",
        ),
        (lambda: autoencoding.denoise(identity(), X, noise=[]), "denoise: noise is an empty"),
        (lambda: autoencoding.denoise(identity(), X, clean=X[:2]), "clean must have the shape of"),
        (
            lambda: autoencoding.denoise(models.autoencoder(in_channels=2), X.repeat(3, 1)),
            "denoise: the model takes pictures of 2 channels, got 3",
        ),
        (lambda: autoencoding.anomaly(identity(), X), "anomaly: the model doesn't know its errors"),
        (
            lambda: autoencoding.anomaly(identity(), X, np.ones(3, bool), threshold=0.1),
            r"anomaly: labels must be 20 bools, got shape \(3,\)",
        ),
        (lambda: autoencoding.anomaly(3, X, threshold=0.1), "anomaly: model must be a Module"),
        (lambda: autoencoding.manifold(models.autoencoder(), X), "must give two numbers a picture"),
        (lambda: autoencoding.manifold(models.lenet5(), X), "must have an encoder and a decoder"),
        (lambda: autoencoding.psnr(X, X[:1]), "psnr: pictures and reference must have one shape"),
        (lambda: autoencoding.ssim(X, X, sigma=0), "ssim: sigma must be above 0"),
        (lambda: autoencoding.roc_auc([1.0], [True]), "both kinds are needed, got 1 positive of 1"),
        (lambda: autoencoding.roc_auc([1.0, np.nan], [True, False]), "scores has NaN"),
        (lambda: autoencoding.roc_auc([1.0, 2.0], [1, 0]), "must be N numbers and N bools"),
        (lambda: autoencoding.patches([], 3), "patches: there are no pictures"),
        (lambda: autoencoding.patches([X[0]], 3), "must be at least 32×32, got 8×8"),
    ],
)  # fmt: skip
def test_refused(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_pictures_of_another_size_are_refused(shoes: autoencoding.Fitted) -> None:
    with pytest.raises(ValueError, match="anomaly: the model takes pictures of 28×28, got 8×8"):
        autoencoding.anomaly(shoes.model, X)


# -- commands -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, dict[str, Any]]:
    """What a command prints, and its JSON."""
    code = main([*arguments, "--json", "--quiet"])
    out, error = capsys.readouterr()
    assert code == 0, error
    return out, json.loads(out.splitlines()[-1])


def small(folder: Path, clothes: Any, classes: tuple[int, ...], each: int) -> str:
    """A folder of pictures, one sub-folder a class."""
    from PIL import Image

    for k in classes:
        (folder / "data" / clothes.classes[k].replace(" ", "_")).mkdir(parents=True)
        chosen = clothes.train.x[clothes.train.y == k][:each, 0]
        for i, x in enumerate(chosen):
            place = folder / "data" / clothes.classes[k].replace(" ", "_")
            Image.fromarray(x).save(place / f"{i:03}.png")
    return "data"


def test_command_denoise(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    common = ("--patches", "640", "--epochs", "2")
    out, found = said(capsys, "denoise", "great_wall", "--size", "90", "--noise", "0.1", *common)
    assert found["network"] == "denoise-samples.safetensors" and "PSNR" in out
    assert found["last"]["psnr_after"] > found["last"]["psnr_before"]
    with Image.open("denoised.png") as file:
        assert file.size == (3 * 90 + 4, 67) and file.mode == "RGB"
    first = (folder / "denoised.png").read_bytes()
    again = said(capsys, "denoise", "great_wall", "--size", "90", "--noise", "0.1")[1]
    assert again["last"] == found["last"] and (folder / "denoised.png").read_bytes() == first
    said(capsys, "denoise", "denoise-samples.safetensors", "denoised.png", "--out", "b.png")
    with Image.open("b.png") as file:
        assert file.size == (3 * 90 + 4, 67)


def test_command_denoise_measures(folder: Path, clothes: Any, capsys: Any) -> None:
    from PIL import Image

    for i in range(10):
        Image.fromarray(clothes.train.x[i, 0]).resize((60, 50 + i)).save(f"{i}.png")
    common = ("--patches", "64", "--epochs", "1", "--out", "page.webp")
    out, found = said(capsys, "denoise", "--train", ".", "-o", "a.safetensors", *common)
    assert [row["noise"] for row in found["levels"]] == [0.05, 0.1, 0.2, 0.3]
    assert out.count("not trained on") == 1 and (folder / "page.webp").exists()
    assert pyconv.load("a.safetensors").metadata["input_shape"] == [1, 32, 32]


def test_command_anomaly(folder: Path, clothes: Any, capsys: Any) -> None:
    data = small(folder, clothes, (1, 9), 30)
    out, found = said(
        capsys, "anomaly", "--train", data, "--without", "Trouser", "--epochs", "60",
        "--latent", "2",
    )  # fmt: skip
    assert "Trouser, left out of the training" in out and found["auc"] > 0.9
    net = "anomaly-data.safetensors"
    out, found = said(capsys, "anomaly", net, "data/Ankle_boot", "data/Trouser/000.png")
    scores = {name: score for name, score, _ in found["pictures"]}
    assert len(scores) == 31
    assert scores["data/Trouser/000.png"] > 2 * np.median(list(scores.values()))
    assert (folder / "anomaly.png").exists()


def test_command_manifold(
    folder: Path, plane: autoencoding.Fitted, clothes: Any, capsys: Any
) -> None:
    plane.model.metadata["data"] = "fashion-mnist"
    pyconv.save(plane.model, "plane.safetensors")
    classifier = models.small_resnet(width=2)
    pyconv.save(
        classifier,
        "model.safetensors",
        {"classes": list(clothes.classes), "input_shape": [1, 28, 28]},
    )
    out, found = said(
        capsys, "manifold", "--model", "plane.safetensors", "--judge", "plane.safetensors",
        "--count", "4", "--grid", "3", "--steps", "1",
    )  # fmt: skip
    assert [row["kind"] for row in found["distances"]] == [
        "natural", "noisy", "adversarial", "dreamt",
    ]  # fmt: skip
    assert "distance" in out and (folder / "manifold.png").exists()
    assert main(["manifold", "--classifier", "plane.safetensors", "--quiet",
                 "--model", "plane.safetensors", "--judge", "plane.safetensors"]) == 1  # fmt: skip
    assert "plane.safetensors is no classifier of such pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("denoise a.png b.png", "one picture is expected, got a.png b.png"),
        ("denoise a.safetensors b.safetensors", "one network is expected"),
        ("denoise a.png", "a.png"),
        ("denoise --train nowhere", "must be one of fashion-mnist, paintings, digits or a folder"),
        ("denoise a.safetensors --train digits", "--train makes a network"),
        ("denoise -o nowhere/a.safetensors", "nowhere: no such folder"),
        ("denoise --noise x", "expected numbers"),
        ("anomaly net.safetensors --without Bag", "--train and --without make a network"),
        ("anomaly a.png", "a.png: no such file"),
        ("anomaly --without Hat", "Hat"),
        ("manifold --data nowhere", "must be one of"),
        ("manifold --model nowhere.safetensors", "nowhere.safetensors: No such file"),
    ],
)
def test_commands_refuse_in_one_line(
    arguments: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments.split()]) in (1, 2)
    out, error = capsys.readouterr()
    assert message in error and error.count("\n") == 1
    assert not list(folder.iterdir())
