"""Models: torchvision's names, shapes and numbers of parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import pyconv
from pyconv import models, nn
from pyconv.nn import init


@pytest.fixture
def empty_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that nobody fills take no time and no memory."""
    monkeypatch.setattr(init, "_fill", lambda function, tensor, values: tensor)


def count(model: nn.Module) -> int:
    return sum(p.data.size for p in model.parameters())


@pytest.mark.usefixtures("empty_weights")
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("vgg11", 132_863_336),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
        ("mobilenet_v2", 3_504_872),
        ("squeezenet1_1", 1_235_496),
        ("efficientnet_lite0", 4_652_008),
        ("lenet5", 61_706),
        ("cifar_resnet", 272_474),
        ("unet", 31_037_698),
        ("transformer_net", 1_677_635),
    ],
)
def test_parameters(name: str, parameters: int) -> None:
    assert count(models.build(name)) == parameters


@pytest.mark.usefixtures("empty_weights")
@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "resnet18",
            {
                "conv1.weight": (64, 3, 7, 7),
                "bn1.num_batches_tracked": (),
                "layer1.0.conv1.weight": (64, 64, 3, 3),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1),
                "layer2.0.downsample.1.running_mean": (128,),
                "layer4.1.bn2.bias": (512,),
                "fc.weight": (1000, 512),
            },
        ),
        (
            "resnet50",
            {
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer3.5.conv3.weight": (1024, 256, 1, 1),
                "layer4.0.conv2.weight": (512, 512, 3, 3),
                "fc.bias": (1000,),
            },
        ),
        (
            "vgg11",
            {
                "features.0.weight": (64, 3, 3, 3),
                "features.18.bias": (512,),
                "classifier.0.weight": (4096, 25088),
                "classifier.6.weight": (1000, 4096),
            },
        ),
        ("vgg16", {"features.28.weight": (512, 512, 3, 3)}),
        ("vgg19", {"features.34.weight": (512, 512, 3, 3)}),
        (
            "mobilenet_v2",
            {
                "features.0.0.weight": (32, 3, 3, 3),
                "features.1.conv.0.0.weight": (32, 1, 3, 3),
                "features.1.conv.1.weight": (16, 32, 1, 1),
                "features.1.conv.2.running_var": (16,),
                "features.2.conv.1.0.weight": (96, 1, 3, 3),
                "features.17.conv.2.weight": (320, 960, 1, 1),
                "features.18.1.weight": (1280,),
                "classifier.1.weight": (1000, 1280),
            },
        ),
        (
            "squeezenet1_1",
            {
                "features.0.weight": (64, 3, 3, 3),
                "features.3.squeeze.weight": (16, 64, 1, 1),
                "features.12.expand3x3.bias": (256,),
                "classifier.1.weight": (1000, 512, 1, 1),
            },
        ),
    ],
)
def test_names_and_shapes(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    state = models.build(name).state_dict()
    assert {key: state[key].shape for key in shapes} == shapes


@pytest.mark.usefixtures("empty_weights")
@pytest.mark.parametrize(("name", "entries"), [("resnet18", 122), ("resnet34", 218),
    ("resnet50", 320), ("vgg16", 32), ("mobilenet_v2", 314), ("squeezenet1_1", 52)])  # fmt: skip
def test_number_of_entries(name: str, entries: int) -> None:
    assert len(models.build(name).state_dict()) == entries


SMALL = [
    (lambda: models.mlp(3, 12, (4,), "tanh", 0.5), (2, 3, 2, 2), (2, 3)),
    (lambda: models.lenet5(3, 2), (2, 2, 28, 28), (2, 3)),
    (lambda: models.lenet5(3, 1, image_size=32), (1, 1, 32, 32), (1, 3)),
    (lambda: models.small_resnet(3, 2, width=2), (2, 2, 7, 9), (2, 3)),
    (lambda: models.cifar_resnet(8, 2, num_classes=3), (2, 3, 8, 8), (2, 3)),
    (lambda: models.cifar_resnet(8, 2, 1, "concat", num_classes=3), (2, 1, 7, 9), (2, 3)),
    (lambda: models.cifar_resnet(8, 2, 1, None, num_classes=3), (2, 1, 7, 9), (2, 3)),
    (lambda: models.autoencoder(None, 3, 2, 3), (2, 3, 8, 16), (2, 3, 8, 16)),
    (lambda: models.autoencoder(5, 1, 2), (2, 1, 8, 8), (2, 5, 8, 8)),
    (lambda: models.autoencoder(3, 1, 2, blocks=2), (2, 1, 8, 12), (2, 3, 8, 12)),
    (lambda: models.autoencoder(None, 3, 2, blocks=1, residual=True), (2, 3, 8, 8), (2, 3, 8, 8)),
    (
        lambda: models.autoencoder(width=2, latent=3, image_size=(8, 12), squash=True),
        (2, 1, 8, 12),
        (2, 1, 8, 12),
    ),
    (lambda: models.unet(3, 1, 2, 2), (2, 1, 8, 12), (2, 3, 8, 12)),
    (lambda: models.transformer_net(2, 1, 2, 1), (2, 1, 5, 9), (2, 2, 5, 9)),
    (lambda: models.transformer_net(None, 3, 2, 0), (2, 3, 11, 8), (2, 3, 11, 8)),
    (lambda: models.mobilenet_v2(3), (1, 3, 32, 32), (1, 3)),
    (lambda: models.squeezenet1_1(3), (1, 3, 32, 32), (1, 3)),
    (lambda: models.resnet18(3, 1, "cifar"), (1, 1, 8, 8), (1, 3)),
    (lambda: models.resnet50(3), (1, 3, 32, 32), (1, 3)),
    (lambda: models.efficientnet_lite0(3), (1, 3, 33, 32), (1, 3)),
    (lambda: models.tcn(3, 2, 4, 2), (2, 2, 9), (2, 3, 9)),
]


@pytest.mark.parametrize(("make", "shape", "output"), SMALL)
def test_forward(make: Callable[[], nn.Module], shape, output, rng) -> None:
    model = make().eval()
    x = rng.standard_normal(shape).astype(np.float32)
    y = model(x)
    assert y.shape == output and y.dtype == np.float32 and np.isfinite(y.numpy()).all()


@pytest.mark.parametrize(("make", "shape", "output"), [SMALL[i] for i in (3, 5, 10, 12, 15)])
def test_hooks_see_what_fusion_hides(make, shape, output, rng) -> None:
    """With a listener at every module nothing is fused, and the output stays the same."""
    model = make().double().eval()
    x = rng.standard_normal(shape)
    fused = model(x).numpy()
    seen: list[str] = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda m, i, o, name=name: seen.append(name))
    assert np.allclose(model(x).numpy(), fused, rtol=1e-9, atol=1e-12)
    assert set(seen) == {name for name, _ in model.named_modules()} - {
        name for name, m in model.named_modules() if isinstance(m, nn.ModuleList)
    }


def test_inverted_residuals_add_their_input(rng: np.random.Generator) -> None:
    from pyconv.models.mobilenet import InvertedResidual

    block = InvertedResidual(4, 4, 1, 2).double().eval()
    x = rng.standard_normal((2, 4, 5, 5))
    assert np.allclose(block(x).numpy(), block.conv(x).numpy() + x)
    assert not InvertedResidual(4, 5, 1, 2).use_res_connect


def test_gradients_reach_every_parameter(rng: np.random.Generator) -> None:
    for make, shape, _ in (SMALL[3], SMALL[5], SMALL[11], SMALL[12], SMALL[15]):
        model = make()
        model(rng.standard_normal((2, *shape[1:])).astype(np.float32)).sum().backward()
        assert all(p.grad is not None for p in model.parameters())


def test_the_seed_gives_the_weights() -> None:
    def weights(seed: int) -> np.ndarray:
        pyconv.manual_seed(seed)
        return models.small_resnet(width=2).state_dict()["0.weight"]

    assert np.array_equal(weights(4), weights(4)) and not np.array_equal(weights(4), weights(5))


def test_models_know_how_they_were_built() -> None:
    model = models.mlp(3, in_features=4, hidden=(5, 6))
    assert model.architecture["name"] == "mlp"
    assert model.architecture["arguments"]["hidden"] == (5, 6)
    again = models.build(model.architecture["name"], **model.architecture["arguments"])
    assert count(again) == count(model)
    assert models.build("mlp", in_features=4, hidden=[5]).architecture["arguments"]["hidden"] == (
        5,
    )


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: models.mlp(0), ValueError, "mlp: num_classes must be at least 1, got 0"),
        (lambda: models.mlp(hidden=[3]), TypeError, "hidden must be a tuple of ints"),
        (lambda: models.mlp(activation="x"), ValueError, "activation must be one of 'relu'"),
        (lambda: models.mlp(dropout=2), ValueError, "dropout must be from 0.0 to 1.0"),
        (lambda: models.lenet5(image_size=30), ValueError, "image_size must be one of 28, 32"),
        (lambda: models.cifar_resnet(9), ValueError, "depth must be 6 n \\+ 2"),
        (lambda: models.cifar_resnet(shortcut="x"), ValueError, "shortcut must be one of 'add'"),
        (lambda: models.small_resnet(width=0), ValueError, "width must be at least 1"),
        (lambda: models.resnet18(stem="x"), ValueError, "stem must be one of 'imagenet', 'cifar'"),
        (lambda: models.resnet18(in_channels=1.0), TypeError, "in_channels must be an int"),
        (lambda: models.mobilenet_v2(dropout="x"), TypeError, "dropout must be a number"),
        (lambda: models.squeezenet1_1(True), TypeError, "num_classes must be an int"),
        (lambda: models.transformer_net(blocks=-1), ValueError, "blocks must be at least 0"),
        (lambda: models.unet(depth=0), ValueError, "depth must be at least 1"),
        (lambda: models.autoencoder(width=-1), ValueError, "width must be at least 1"),
        (lambda: models.autoencoder(latent=2), ValueError, "latent needs image_size"),
        (
            lambda: models.autoencoder(latent=2, image_size=30),
            ValueError,
            r"image_size must be multiples of 2\^depth = 4, got 30",
        ),
        (lambda: models.autoencoder(image_size=28), ValueError, "image_size is for a latent"),
        (
            lambda: models.autoencoder(latent=2, image_size=8, residual=True),
            ValueError,
            "residual needs an output like the input, and no latent",
        ),
        (
            lambda: models.autoencoder(residual=True, squash=True),
            ValueError,
            "squash and residual exclude one another",
        ),
        (lambda: models.autoencoder(blocks=-1), ValueError, "blocks must be at least 0"),
        (lambda: models.build("resnet81"), ValueError, "no model 'resnet81'; did you mean"),
        (
            lambda: models.build("mlp", x=1),
            TypeError,
            "mlp has no argument 'x'; it has num_classes",
        ),
        (lambda: models.build(3), TypeError, "name must be a str, got int"),
    ],
)
def test_models_refuse(make, error, match) -> None:
    with pytest.raises(error, match=match):
        make()


def test_a_transformer_net_is_the_papers(rng: np.random.Generator) -> None:
    """Layer after layer, in plain calls; the size is what the input's is."""
    net = models.transformer_net(None, 3, 4, 2).double().eval()
    for parameter in net.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape) / 4
    x = rng.random((2, 3, 11, 18))

    def stage(x, layers, stride=1):
        conv, norm = layers[0], layers[1]
        k = conv.weight.shape[2] // 2
        x = np.pad(np.asarray(x), ((0, 0), (0, 0), (k, k), (k, k)), mode="reflect")
        y = pyconv.reference.conv2d(x, conv.weight.numpy(), stride=stride)
        y = (y - y.mean((2, 3), keepdims=True)) / np.sqrt(y.var((2, 3), keepdims=True) + 1e-5)
        y = y * norm.weight.numpy()[:, None, None] + norm.bias.numpy()[:, None, None]
        return y if len(layers) == 2 else np.maximum(y, 0)

    y = stage(x, list(net.stem))
    sizes = []
    for down in net.down:
        sizes.append(y.shape[2:])
        y = stage(y, list(down), 2)
    assert y.shape == (2, 16, 3, 5)
    for block in net.blocks:
        y = y + stage(stage(y, list(block.body)[:3]), list(block.body)[3:])
    for up, (h, w) in zip(net.up, reversed(sizes), strict=True):
        rows, columns = np.arange(h) * y.shape[2] // h, np.arange(w) * y.shape[3] // w
        y = stage(y[:, :, rows][:, :, :, columns], list(up))
    y = np.pad(y, ((0, 0), (0, 0), (4, 4), (4, 4)), mode="reflect")
    y = pyconv.reference.conv2d(y, net.head.weight.numpy(), net.head.bias.numpy())
    np.testing.assert_allclose(net(x).numpy(), 1 / (1 + np.exp(-y)), rtol=1e-9, atol=1e-12)


def test_a_transformer_net_refuses_what_it_cant_mirror() -> None:
    net = models.transformer_net(None, 1, 2, 0)
    with pytest.raises(ValueError, match="sides of at least 5, got shape"):
        net(np.zeros((1, 1, 4, 8), np.float32))
    with pytest.raises(ValueError, match="must be N×C×H×W"):
        net(np.zeros((1, 8, 8), np.float32))


def test_unet_refuses_sides_that_it_cant_halve() -> None:
    with pytest.raises(ValueError, match="sides of x must be multiples of 4"):
        models.unet(2, 1, 2, 2)(np.zeros((1, 1, 6, 8), np.float32))


def test_a_residual_autoencoder_begins_as_the_identity(rng) -> None:
    for blocks in (0, 2):
        model = models.autoencoder(in_channels=3, blocks=blocks, residual=True)
        x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
        np.testing.assert_array_equal(model(x).numpy(), x)
        model(x).sum().backward()
        last = model.body.decoder[-1].weight.grad
        assert last is not None and np.abs(last.numpy()).max() > 0


def test_an_autoencoder_with_a_latent_sees_all_through_few_numbers(rng) -> None:
    model = models.autoencoder(width=4, latent=2, image_size=8, squash=True).eval()
    x = rng.standard_normal((5, 1, 8, 8)).astype(np.float32)
    points = model.encoder(x)
    assert points.shape == (5, 2) and np.ptp(points.numpy(), axis=0).min() > 0
    y = model(x).numpy()
    np.testing.assert_array_equal(model.decoder(points).numpy(), y)
    assert (y > 0).all() and (y < 1).all()
    found = pyconv.summary(model, (1, 1, 8, 8))
    assert found.layers[-1].output_shape == (1, 1, 8, 8)
    assert [f for f in found.layers if f.kind == "Unflatten"][0].output_shape == (1, 8, 2, 2)
