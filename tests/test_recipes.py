"""Recipes on small networks: what they promise of any network."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from pyconv import Tensor, nn
from pyconv.data import Dataset, Split
from pyconv.recipes import _ascent, adversarial, dream, style, visualize
from pyconv.recipes._network import Network
from pyconv.recipes._pictures import sheet
from pyconv.recipes.style._loss import default_layers
from pyconv.recipes.style._transfer import lightness_of


@pytest.fixture
def net() -> nn.Module:
    """Two convolutions, batch norm, a dense layer; in training mode, as it was made."""
    from pyconv import manual_seed

    manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 5),
    )  # fmt: skip


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    return rng.random((3, 40, 36), np.float32)


def calls(net: nn.Module, x: np.ndarray) -> dict[str, Any]:
    """Every recipe that changes a picture, in few steps."""
    predict = adversarial.probabilities(copy.deepcopy(net))

    return {
        "ascent": lambda **o: visualize.ascent(net, "4", [1, 3], shape=x.shape, steps=3, **o),
        "pixels": lambda **o: visualize.ascent(
            net, "4", (2, 5, 5), shape=x.shape, steps=3, parametrization="pixels", blur=0.5, l2=1.0,
            total_variation=1.0, **o,
        ),
        "invert": lambda **o: visualize.invert(net, x, ["0", "4"], steps=3, **o),
        "dream": lambda **o: dream.dream(net, x, "4", octaves=2, steps=2, tile=16, **o),
        "transfer": lambda **o: style.transfer(
            x, x[:, ::-1], model=net, content_layer="4", style_layers=["0", "4"], steps=3, **o
        ),
        "adam": lambda **o: style.transfer(
            x, x[:, ::-1], model=net, content_layer="4", style_layers=["0"], steps=3,
            method="adam", start="content", keep_color=True, **o,
        ),
        "gradient": lambda **o: adversarial.gradient(net, x, 3, steps=3, **o),
        "pgd": lambda **o: adversarial.pgd(net, x, steps=3, **o),
        "evolution": lambda **o: adversarial.evolution(predict, x, 3, generations=3, **o),
        "few pixels": lambda **o: adversarial.pixels(predict, x, 3, 3, generations=3, **o),
        "fool": lambda **o: adversarial.fool(net, 2, shape=x.shape, steps=3, **o),
    }  # fmt: skip


NAMES = (
    "ascent", "pixels", "invert", "dream", "transfer", "adam", "gradient", "pgd", "evolution",
    "few pixels", "fool",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_results_are_pictures_and_the_model_is_as_it_was(name, net, picture):
    before = {k: v.copy() for k, v in net.state_dict().items()}
    kept = picture.copy()
    found = calls(net, picture)[name](progress=False)
    assert found.images.dtype == np.float32 and found.images.ndim == 4
    assert found.images.min() >= 0 and found.images.max() <= 1
    assert found.image.shape == (1, *picture.shape)
    assert [row["step"] for row in found.history]
    np.testing.assert_array_equal(picture, kept)
    assert net.training and all(m.training for m in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_picture(name, net, picture):
    run = calls(net.eval(), picture)[name]
    one, two = run(seed=3, progress=False), run(seed=3, progress=False)
    np.testing.assert_array_equal(one.images, two.images)
    assert one.history == two.history
    if name not in ("gradient", "dream", "adam"):
        assert not np.array_equal(run(seed=4, progress=False).images, one.images)


def test_a_model_is_as_it_was_after_an_error(net):
    with pytest.raises(ValueError, match="ascent: the model has no layer '99'"):
        visualize.ascent(net, "99", shape=(3, 16, 16), progress=False)
    assert net.training and all(p.requires_grad for p in net.parameters())


def test_ascent_ends_where_the_activation_is_reached(net):
    found = visualize.ascent(net, "4", 1, shape=(3, 24, 24), steps=200, progress=False)
    values = [row["activation"] for row in found.history]
    assert len(values) == 200 and values[-1] > values[0]
    goal = values[20]
    early = visualize.ascent(net, "4", 1, shape=(3, 24, 24), steps=200, until=goal, progress=False)
    reached = [row["activation"] for row in early.history]
    assert reached == values[: len(reached)] and reached[-1] >= goal > max(reached[:-1])


def test_the_mean_and_scale_of_the_model_are_applied(net, picture):
    """A network that normalises by itself, and one whose file says how."""
    mean, std = np.float32([0.2, 0.4, 0.6]), np.float32([0.5, 0.25, 2.0])
    told = adversarial.fgsm(net, picture, 1)
    net.__dict__["metadata"] = {"normalization": {"mean": mean, "std": std}}
    found = adversarial.fgsm(net, picture, 1)
    del net.__dict__["metadata"]
    first = nn.Conv2d(3, 3, 1)
    first.weight.data[...] = np.diag(1 / std).reshape(3, 3, 1, 1)
    first.bias.data[...] = -mean / std
    whole = nn.Sequential(first, *net)
    np.testing.assert_allclose(
        found.history[0]["loss"], adversarial.fgsm(whole, picture, 1).history[0]["loss"], rtol=1e-5
    )
    assert found.history[0]["loss"] != told.history[0]["loss"]


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_the_fourier_basis_is_orthonormal_and_sorted(size):
    basis = _ascent.fourier_basis(size)
    np.testing.assert_allclose(basis.T @ basis, np.eye(size), atol=1e-12)
    spectrum = np.abs(np.fft.rfft(basis, axis=0))
    np.testing.assert_array_equal(spectrum.argmax(0) / size, _ascent.frequencies(size))


def test_a_picture_goes_into_waves_and_back(picture):
    x = 0.1 + 0.8 * picture[None]
    waves = _ascent.Fourier(x.shape, np.random.default_rng(0))
    waves.set_image(x)
    # Sums of 40 + 36 + 3 terms of about 1, divided by frequencies and multiplied by them again.
    np.testing.assert_allclose(waves.image().numpy(), x, atol=1e-4)


def test_penalties_make_smoother_and_greyer_pictures(net, picture):
    def tv(found: Any) -> float:
        return float(_ascent.total_variation(Tensor(found.image)))

    options = dict(shape=(3, 24, 24), steps=30, progress=False)
    free = visualize.ascent(net, "4", 1, **options)
    assert tv(visualize.ascent(net, "4", 1, total_variation=50.0, **options)) < 0.5 * tv(free)
    grey = visualize.ascent(net, "4", 1, l2=50.0, **options)
    assert np.abs(grey.image - 0.5).mean() < 0.5 * np.abs(free.image - 0.5).mean()
    options = dict(steps=30, progress=False)
    free, smooth = (visualize.invert(net, picture, "0", weight=w, **options) for w in (0.0, 50.0))
    free.images, smooth.images = free.images[1:], smooth.images[1:]  # without x̂ itself
    assert tv(smooth) < 0.5 * tv(free)
    style_options = dict(model=net, content_layer="0", style_layers=["4"], steps=20, progress=False)
    assert tv(style.transfer(picture, picture, smooth=50.0, **style_options)) < 0.5 * tv(
        style.transfer(picture, picture, smooth=0.0, **style_options)
    )


def test_pixels_stay_in_their_range(net):
    found = visualize.ascent(
        net, "4", 1, shape=(3, 16, 16), steps=5, rate=1.0, parametrization="pixels", progress=False
    )
    assert found.images.min() == 0 and found.images.max() == 1


def test_jitter_is_a_window_of_the_mirrored_picture(picture, rng):
    x = picture[None]
    wide = np.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect")
    windows = {
        wide[:, :, i : i + 40, j : j + 36].tobytes(): (i, j) for i in range(7) for j in range(7)
    }
    found = {
        windows[np.ascontiguousarray(_ascent.jittered(Tensor(x), 3, rng).numpy()).tobytes()]
        for _ in range(300)
    }
    assert found == set(windows.values())


def test_total_variation_and_distance_from_grey(picture):
    x = picture[None]
    down, across = np.diff(x.astype(np.float64), axis=2), np.diff(x.astype(np.float64), axis=3)
    expected = ((down**2).sum() + (across**2).sum()) / (40 * 36)
    np.testing.assert_allclose(float(_ascent.total_variation(Tensor(x))), expected, rtol=1e-5)
    grey = ((x.astype(np.float64) - 0.5) ** 2).mean()
    np.testing.assert_allclose(float(_ascent.away_from_grey(Tensor(x))), grey, rtol=1e-5)


def test_blur_is_that_of_a_gaussian():
    x = np.zeros((1, 1, 31, 32), np.float32)
    x[0, 0, 15, 16] = 1
    y = _ascent.blurred(x, 2.0)
    at = np.arange(-6, 7)
    g = np.exp(-(at[:, None] ** 2 + at**2) / 8) / (8 * np.pi)
    np.testing.assert_allclose(y[0, 0, 9:22, 10:23], g, atol=1e-4)


def test_tiles_change_no_gradient_of_what_is_local(picture):
    """With a kernel of one pixel a tile sees all that matters."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1))
    options = dict(octaves=1, steps=2, jitter=0, blur=0.0, progress=False)
    whole = dream.dream(net, picture, "0", tile=64, **options)
    tiled = dream.dream(net, picture, "0", tile=16, **options)
    np.testing.assert_allclose(tiled.images, whole.images, atol=1e-6)
    np.testing.assert_allclose(
        [r["objective"] for r in tiled.history], [r["objective"] for r in whole.history], rtol=1e-5
    )


def test_a_shift_of_the_tiles_changes_no_gradient_of_what_is_local(picture):
    net = nn.Sequential(nn.Conv2d(3, 4, 1))
    options = dict(octaves=1, steps=3, tile=64, blur=0.0, progress=False)
    still = dream.dream(net, picture, "0", jitter=0, **options)
    shifted = dream.dream(net, picture, "0", jitter=9, **options)
    np.testing.assert_allclose(shifted.images, still.images, atol=1e-6)


def test_what_changed_in_a_small_octave_is_carried_to_the_next(net, rng, monkeypatch):
    """Changed is the smaller picture alone, everywhere by the same."""
    x = 0.2 + 0.5 * rng.random((3, 64, 64), np.float32)

    def gradient(objective: Any, part: np.ndarray, *others: Any) -> tuple[float, np.ndarray]:
        return 0.0, np.full_like(part, float(part.shape[2] < 64))

    monkeypatch.setattr(dream, "_gradient", gradient)
    options = dict(octaves=2, steps=3, rate=0.02, blur=0.0, progress=False)
    found = dream.dream(net, x, "4", **options)
    np.testing.assert_allclose(found.images[0], x + 0.06, atol=1e-5)


def test_dream_increases_what_it_is_asked_for(net, picture):
    def excitement(x: np.ndarray, unit: Any) -> float:
        y = nn.Sequential(*list(net)[:5]).eval()(x).numpy()
        return float(0.5 * (y * y).sum() if unit is None else y[(0, *unit)].sum())

    for unit in (None, (3,), (3, 4, 5)):
        asked = unit if unit is None or len(unit) > 1 else unit[0]
        found = dream.dream(net, picture, "4", asked, octaves=1, progress=False)
        assert excitement(found.image, unit) > excitement(picture[None], unit)


def test_gram_matrices_are_means_of_products(rng):
    f = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    rows = f.reshape(2, 3, 20).astype(np.float64)
    expected = np.einsum("nck,ndk->ncd", rows, rows) / 20
    np.testing.assert_allclose(style.gram(Tensor(f)).numpy(), expected, atol=1e-5)


def test_style_and_content_each_get_nearer(net, picture):
    y = picture[:, ::-1, ::-1] * 0.5
    options = dict(model=net, content_layer="4", style_layers=["0", "4"], progress=False)
    for alpha, beta, part in ((1.0, 0.0, "content"), (0.0, 1.0, "style")):
        for method in ("lbfgs", "adam"):
            found = style.transfer(
                picture, y, alpha=alpha, beta=beta, method=method, steps=30, **options
            )
            assert len(found.history) <= 30
            assert found.history[-1][part] < 0.7 * found.history[0][part], method


def test_style_begins_with_the_content_where_it_is_asked_to(net, picture):
    x = 0.1 + 0.8 * picture
    options = dict(model=net, content_layer="4", style_layers=["0"], steps=1, progress=False)
    found = style.transfer(x, picture, start="content", method="adam", rate=1e-6, **options)
    np.testing.assert_allclose(found.images[0], x, atol=1e-3)


def test_hues_are_kept(net, picture):
    found = lightness_of(picture[None] * 0.5 + 0.25, picture[None] * 0.2 + 0.4)
    before = picture[None] * 0.2 + 0.4
    np.testing.assert_allclose(  # differences of colours, where nothing was cut off
        (found[:, 0] - found[:, 1])[(found > 0).all(1) & (found < 1).all(1)],
        (before[:, 0] - before[:, 1])[(found > 0).all(1) & (found < 1).all(1)],
        atol=1e-6,
    )


def test_default_layers_are_the_last_of_each_size(net):
    network = Network("test", net.eval())
    assert default_layers(network, (1, 3, 16, 16), None, None) == ("5", ["2", "5"])
    assert default_layers(network, (1, 3, 16, 16), "0", None) == ("0", ["2", "5"])


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_attacks_stay_in_their_ball_and_raise_the_loss(norm, net, picture):
    batch = np.stack([picture, picture[:, ::-1]])
    epsilon = 0.05 if norm == "inf" else 2.0
    found = adversarial.pgd(net, batch, epsilon=epsilon, norm=norm, rate=epsilon, progress=False)
    size = np.abs(found.perturbation).max() if norm == "inf" else np.sqrt(
        (found.perturbation.astype(np.float64) ** 2).sum((1, 2, 3))
    ).max()  # fmt: skip
    assert size <= epsilon * (1 + 1e-5)
    assert found.history[-1]["loss"] > found.history[0]["loss"]
    assert found.queries == 2 * (20 + 2)


def test_targets_are_reached(picture):
    net = nn.Sequential(nn.Flatten(), nn.Linear(picture.size, 5))
    batch = np.stack([picture, picture[:, ::-1]])
    target = (adversarial.fgsm(net, batch).before[0] + 1) % 5
    for found in (
        adversarial.gradient(net, batch, int(target), probability=0.4, rate=0.02, progress=False),
        adversarial.pgd(net, batch, epsilon=0.3, target=int(target), progress=False),
    ):
        assert found.success.all() and (found.after == target).all()
        assert found.comparison().shape == (6, 3, 40, 36)


def test_a_picture_that_is_done_is_left_alone(picture):
    """In a batch each picture goes as far as by itself."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(picture.size, 5))
    batch = np.stack([picture, 0.02 * picture])
    options = dict(probability=0.6, rate=0.003, progress=False)
    target = int((adversarial.fgsm(net, batch).before[0] + 1) % 5)
    together = adversarial.gradient(net, batch, target, **options)
    alone = [adversarial.gradient(net, one, target, **options) for one in batch]
    assert len({len(found.history) for found in alone}) == 2
    np.testing.assert_allclose(
        together.images, np.concatenate([found.images for found in alone]), atol=1e-6
    )


def test_cells_mutate(picture):
    def predict(x: np.ndarray) -> np.ndarray:
        share = np.abs(x - picture).mean((1, 2, 3))
        return np.stack([1 - share, share], 1)

    options = dict(generations=5, progress=False)
    still = adversarial.evolution(predict, picture, 1, mutation=0.0, **options)
    assert not np.array_equal(
        adversarial.evolution(predict, picture, 1, mutation=0.5, **options).images, still.images
    )


def test_evolution_sees_answers_alone_and_counts_them(picture):
    asked = []

    def predict(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        bright = 1 / (1 + np.exp(-100 * (x.mean((1, 2, 3)) - 0.52)))
        return np.stack([1 - bright, bright], 1)

    for target in (None, 1):
        asked.clear()
        found = adversarial.evolution(predict, picture, target, progress=False)
        assert found.success.all() and found.queries == sum(asked)
        assert np.abs(found.perturbation).max() <= 0.1 + 1e-6
        fitness = [row["best"] for row in found.history]
        assert fitness == sorted(fitness)  # the fittest lives on


def test_few_pixels_are_few(picture):
    def predict(x: np.ndarray) -> np.ndarray:
        share = (x[:, 0] > 0.95).mean((1, 2)) * 8
        return np.stack([1 - share, share], 1)

    dark = picture * 0.9
    found = adversarial.pixels(predict, dark, 4, 1, generations=20, progress=False)
    changed = (found.perturbation != 0).any(1).sum()
    assert 1 <= changed <= 4
    fitness = [row["best"] for row in found.history]
    assert fitness == sorted(fitness) and fitness[-1] > fitness[0]


def test_filters_and_activations(net, picture):
    found = visualize.filters(net)
    weight = net[0].weight.numpy()
    np.testing.assert_allclose(
        (found.images - 0.5) * 2 * np.abs(weight).max((1, 2, 3), keepdims=True), weight, atol=1e-6
    )
    assert visualize.filters(net, "4").images.shape == (12, 1, 3, 3)
    shown = visualize.activations(net, picture, ["0", "4"], channels=3)
    assert shown.images.shape == (6, 1, 40, 36) and shown.titles[3] == "4 0"
    y = net.eval()[0](picture[None]).numpy()[0, 0]
    np.testing.assert_allclose(
        shown.images[0, 0], (y - y.min()) / (y.max() - y.min()), rtol=1e-5, atol=1e-6
    )


def test_sheets_have_every_picture_in_its_place():
    images = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1) / 5 + np.zeros((5, 1, 3, 4))
    page = sheet(images.astype(np.float32))
    assert page.shape == (1, 3 * 2 + 2, 4 * 3 + 2 * 2)
    for i in range(5):
        y, x = i // 3 * 5, i % 3 * 6
        np.testing.assert_array_equal(page[0, y : y + 3, x : x + 4], images[i, 0])
    assert (page[0, 3:5] == 1).all() and (page[0, 5:, 12:] == 1).all()


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_pictures_are_saved_whole(ending, net, picture, tmp_path):
    from PIL import Image

    found = visualize.ascent(net, "4", [0, 1], shape=picture.shape, steps=1, progress=False)
    found.save(tmp_path / f"a.{ending}")
    with Image.open(tmp_path / f"a.{ending}") as image:
        assert image.size == (36 * 2 + 2, 40)
        if ending == "png":
            pixels = np.asarray(image)[:, :36].transpose(2, 0, 1) / 255
            np.testing.assert_allclose(pixels, found.images[0], atol=0.5 / 255 + 1e-6)
    with pytest.raises(ValueError, match="save: Pillow writes no pictures with the ending '.xyz'"):
        found.save(tmp_path / "a.xyz")
    with pytest.raises(OSError):
        found.save(tmp_path / "missing" / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{ending}"]


def test_figures_have_pictures_and_curves(net, picture):
    pytest.importorskip("matplotlib", reason='needs matplotlib: pip install "pyconv[plot]"')
    figure = visualize.ascent(
        net, "4", range(3), shape=picture.shape, steps=2, progress=False
    ).figure()
    pictures, curves = figure.subfigs
    assert [ax.get_title() for ax in pictures.axes] == ["4 0", "4 1", "4 2"]
    assert [ax.get_ylabel() for ax in curves.axes] == ["activation"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n, x: visualize.ascent(n, "4", 12, shape=x.shape), ValueError, "unit 12 is out"),
        (lambda n, x: visualize.ascent(n, "4", (1, 2), shape=x.shape), ValueError, "unit must be"),
        (lambda n, x: visualize.ascent(n, "4", 1), ValueError, "give shape"),
        (lambda n, x: visualize.ascent("net", "4", 1), TypeError, "model must be a Module"),
        (lambda n, x: visualize.ascent(n, "4", 1, shape=x.shape, steps=0), ValueError, "steps"),
        (lambda n, x: visualize.ascent(n, "4", [], shape=x.shape), ValueError, "empty"),
        (lambda n, x: visualize.ascent(n, "4", 1, shape=x.shape, blur=1.0), ValueError, "blur is"),
        (lambda n, x: visualize.invert(n, x * 255, "4"), ValueError, "must lie in 0..1"),
        (lambda n, x: visualize.invert(n, (x * 255).astype(np.uint8), "4"), TypeError, "by 255"),
        (lambda n, x: visualize.invert(n, x[0], "4"), ValueError, "C×H×W"),
        (lambda n, x: visualize.invert(n, x.tolist(), "4"), TypeError, "must be a NumPy array"),
        (lambda n, x: visualize.invert(n, x * np.nan, "4"), ValueError, "must lie in 0..1"),
        (lambda n, x: visualize.filters(n, "1"), ValueError, "no 2-D convolution"),
        (lambda n, x: visualize.activations(n, x, "8"), ValueError, "no image"),
        (lambda n, x: dream.dream(n, x, "4", octave_scale=1.0), ValueError, "octave_scale"),
        (lambda n, x: style.transfer(x, x, model=n, start="x"), ValueError, "start must be"),
        (lambda n, x: style.transfer(x, x[:1], model=n), ValueError, "3 channels and style has 1"),
        (lambda n, x: style.transfer(x, x, model=n, alpha=0.0, beta=0.0), ValueError, "both 0"),
        (
            lambda n, x: style.transfer(x, x, model=n, layer_weights=[1.0, 2.0, 3.0]),
            ValueError, "layer_weights must have",
        ),
        (lambda n, x: adversarial.pgd(n, x, norm="1"), ValueError, "norm must be"),
        (lambda n, x: adversarial.pgd(n, x, 7), ValueError, "labels must be in 0..4"),
        (lambda n, x: adversarial.gradient(n, x, 5), ValueError, "target must be below 5"),
        (lambda n, x: adversarial.evolution(n, x), ValueError, "predict must give probabilities"),
        (lambda n, x: adversarial.evolution(None, x), TypeError, "predict must be a function"),
        (lambda n, x: adversarial.fool(n, 1, method="x", shape=x.shape), ValueError, "method must"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, message, net, picture):
    with pytest.raises(error, match=message):
        call(net, picture)


def test_training_against_attacks_makes_a_network_harder_to_deceive():
    """Fashion-MNIST, a part: trousers, dresses, sandals and bags."""
    from pyconv import Trainer, manual_seed, optim
    from pyconv.data import DataLoader, load_dataset

    data = load_dataset("fashion-mnist")

    def part(split: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.flatnonzero(np.isin(split.y, (1, 3, 5, 8)))[:n]
        return split.x[chosen].astype(np.float32) / 255, np.searchsorted(
            [1, 3, 5, 8], split.y[chosen]
        )

    train, test = part(data.train, 600), part(data.test, 200)
    manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * 49, 4),
    )  # fmt: skip
    loader = DataLoader(train, 32, shuffle=True)
    Trainer(model, optim.Adam(model.parameters(), lr=3e-3), progress=False).fit(loader, epochs=4)
    options = dict(epsilon=0.1, rate=3e-3, progress=False)
    found = adversarial.train(copy.deepcopy(model), train, test, **options)
    assert found.before["clean"] > 0.9 and found.before["pgd"] < 0.6
    assert found.after["pgd"] > found.before["pgd"] + 0.2 and found.after["clean"] > 0.85
    assert found.before["pgd"] < found.before["fgsm"] < found.before["clean"]
    assert found.after["pgd"] <= found.after["fgsm"] <= found.after["clean"]
    again = adversarial.train(copy.deepcopy(model), train, test, **options)
    assert again.after == found.after and np.array_equal(again.images, found.images)
    # Of pictures that are left alone it learns less about attacks.
    plain = adversarial.train(copy.deepcopy(model), train, test, share=0.0, **options)
    assert plain.after["pgd"] < found.after["pgd"] - 0.1


def test_training_against_attacks_takes_a_data_set(net):
    """Its training pictures, whole numbers of 0..255, to learn from; its test pictures to judge."""
    rng = np.random.default_rng(0)
    train, test = (
        Split(rng.integers(0, 256, (n, 3, 8, 8), np.uint8), rng.integers(0, 5, n)) for n in (12, 8)
    )
    data = Dataset(train=train, test=test, classes=tuple("abcde"), name="noise")
    found = adversarial.train(copy.deepcopy(net), data, data, epochs=1, progress=False)
    pairs = [(s.x / np.float32(255), s.y) for s in (train, test)]
    again = adversarial.train(copy.deepcopy(net), *pairs, epochs=1, progress=False)
    assert found.after == again.after and np.array_equal(found.images, again.images)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((), {}, TypeError, "train: pictures must be a Dataset, a Split or a pair of arrays"),
        ((0,), {}, ValueError, "a class for each picture, got 4 pictures and 1 classes"),
        ((1,), {"share": 2.0}, ValueError, "share"),
        ((1,), {"epochs": 0}, ValueError, "epochs"),
    ],
)
def test_training_against_attacks_refuses(net, arguments, options, error, match):
    x, y = np.zeros((4, 3, 8, 8), np.float32), np.zeros(4, np.int64)
    pairs = [(x, y[:1]), (x, y)]
    data = pairs[arguments[0]] if arguments else x
    with pytest.raises(error, match=match):
        adversarial.train(net, data, (x, y), progress=False, **options)


def test_the_strip_of_a_dream_has_the_dreams(net, picture):
    options = dict(steps=2, octaves=2, octave_scale=1.1, tile=32, seed=1, progress=False)
    found = dream.strip(net, picture, "4", jitter=4, blur=0.7, **options)
    assert found.titles == ["picture", "none", "blur", "jitter", "octaves", "all"]
    np.testing.assert_array_equal(found.images[0], picture)
    whole = dream.dream(net, picture, "4", jitter=4, blur=0.7, **options)
    np.testing.assert_array_equal(found.images[5], whole.images[0])
    none = dream.dream(net, picture, "4", octaves=1, steps=4, tile=32, jitter=0, blur=0.0, seed=1,
                       progress=False)  # fmt: skip
    np.testing.assert_array_equal(found.images[1], none.images[0])
    assert len({image.tobytes() for image in found.images}) == 6


def test_attacks_are_joined_and_the_model_is_asked(net, picture):
    pictures = np.stack([picture, picture[:, ::-1]])
    both = adversarial.pgd(net, pictures, steps=2, random_start=False, progress=False)
    each = [
        adversarial.pgd(net, one, steps=2, random_start=False, progress=False) for one in pictures
    ]
    found = adversarial.joined(each)
    np.testing.assert_allclose(found.images, both.images, atol=1e-6)
    assert found.after.tolist() == both.after.tolist() and found.queries == both.queries
    shares = adversarial.probabilities(net)(both.images)
    np.testing.assert_allclose(both.confidence, shares.max(1), rtol=1e-5)
    assert net.training
