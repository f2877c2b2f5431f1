"""Winograd's convolutions on CUDA: what tests/test_winograd.py with --backend cuda leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from backends import on_cuda, on_device, to_device, to_host
from test_convolution import Problem, arguments, passes
from test_winograd import magnitudes, terms
from tolerances import (
    FACTOR,
    assert_close_sum,
    assert_same_bits,
    channels_last,
    layouts,
    random_signs,
)

import pyconv
from pyconv import reference
from pyconv.kernels import convolution

NAMES = ("winograd2", "winograd4")
PASSES = ("conv2d", "conv2d_backward_input", "conv2d_backward_weight")


def runs(x: tuple[int, ...], weight: tuple[int, ...], name: str = "conv2d", **options: Any) -> str:
    said = convolution.explain(name, x, weight, padding=1, device="cuda", **options)
    return said.algorithm


def test_auto_takes_it_where_it_pays() -> None:
    # Many images of a layer of ResNet: four products in the place of nine.
    for name in PASSES:
        assert runs((32, 64, 56, 56), (64, 64, 3, 3), name) == "winograd4"
        assert runs((32, 512, 7, 7), (512, 512, 3, 3), name) == "winograd4"
        # One small image: the launches and the planes of the weight take longer.
        assert runs((1, 64, 14, 14), (64, 64, 3, 3), name) == "direct"
        assert runs((1, 512, 7, 7), (512, 512, 3, 3), name) == "direct"
        # Few channels: the planes of the image do.
        assert runs((32, 16, 56, 56), (16, 16, 3, 3), name) == "direct"
    # Images of two rows: half of every tile of 4 would be empty.
    assert runs((4096, 256, 2, 2), (256, 256, 3, 3)) == "winograd2"
    for dtype in ("float16", "bfloat16"):
        assert runs((32, 64, 56, 56), (64, 64, 3, 3), dtype=dtype) == "direct"
    for mode in ("strict", "tf32"):
        with pyconv.float32_precision(mode):
            assert runs((32, 64, 56, 56), (64, 64, 3, 3)) == "direct"


def test_refusals_say_why() -> None:
    def refusal(weight: tuple[int, ...], **options: Any) -> str:
        options.setdefault("padding", 1)
        said = convolution.explain("conv2d", (1, 16, 8, 8), weight, device="cuda", **options)
        assert said.refusals["winograd2"] == said.refusals["winograd4"]
        return said.refusals["winograd4"]

    assert refusal((16, 16, 3, 3), stride=2) == "the stride is not 1"
    assert refusal((16, 8, 3, 3), groups=2) == "groups is 2, not 1"
    assert refusal((16, 16, 3, 2)) == "the kernel is 3x2, not 3x3"
    assert refusal((16, 16, 5, 5)) == "the kernel is 5x5, not 3x3"
    assert refusal((16, 16, 3, 3), dtype="float16") == "the arrays are not float32"
    with pyconv.float32_precision("strict"):
        assert refusal((16, 16, 3, 3)) == "the float32 precision is strict"


@on_device
def test_what_explain_says_is_what_runs(device, rng) -> None:
    """The least problem for which it pays."""
    p = Problem((24, 64, 16, 16), (64, 64, 3, 3), 1, 1)
    assert runs(p.x, p.weight) == "winograd4"
    a = arrays(p, rng)
    y = device.conv2d(a["x"], a["weight"], **p.geometry)
    assert_same_bits(y, device.conv2d(a["x"], a["weight"], algorithm="winograd4", **p.geometry))


def arrays(p: Problem, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {k: channels_last(v) for k, v in arguments(p, np.float32, rng, random_signs).items()}


@pytest.fixture
def device() -> SimpleNamespace:
    """The passes on the device, of arrays that are brought there as they lie."""
    return SimpleNamespace(**{name: on_cuda(getattr(convolution, name)) for name in PASSES})


@on_device
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "problem",
    [Problem((2, 12, 7, 6), (8, 12, 3, 3), 1, 1), Problem((1, 5, 6, 9), (7, 5, 3, 3), 1, (2, 0))],
    ids=str,
)
def test_layouts_and_alignments_change_no_bit(problem, name: str, device, rng) -> None:
    a = arrays(problem, rng)
    for function, run in passes(problem, a, device):
        wanted = run(algorithm=name)
        assert_same_bits(run(algorithm=name), wanted)
        for key in a:
            for _, value in layouts(a[key]):
                changed = dict(passes(problem, {**a, key: value}, device))[function]
                assert_same_bits(changed(algorithm=name), wanted)


@on_device
@pytest.mark.parametrize("channels", [(12, 8), (5, 7)])
def test_bias_and_residual_at_any_address(channels: tuple[int, int], device, rng) -> None:
    i, o = channels
    p = Problem((1, i, 6, 5), (o, i, 3, 3), 1, 1)
    a = arrays(p, rng)
    bias = random_signs((2 * o,), np.float32, rng)
    residual = random_signs((1, o, 6, 5), np.float32, rng)
    found = []
    for _, value in layouts(residual):
        for first in (0, 1):
            b = np.concatenate([bias[:first], bias[:o]])[first:]
            y = device.conv2d(
                a["x"], a["weight"], b, residual=value, algorithm="winograd4", activation="silu",
                **p.geometry,
            )  # fmt: skip
            assert_same_bits(y, (found or [y])[0])
            found.append(y)
    wide = [v.astype(np.float64) for v in (a["x"], a["weight"], bias[:o], residual)]
    expected = reference.conv2d(
        *wide[:3], residual=wide[3], activation="silu", **p.geometry
    )  # fmt: skip
    # silu changes by no more than 1.1 times what its argument does.
    assert_close_sum(found[0], expected, 1.1 * (9.0 * i + 2), 9 * i + 2, FACTOR["winograd4"])


def check(
    p: Problem, name: str, device: SimpleNamespace, rng: np.random.Generator, least: int = 0
) -> None:
    """The passes within the bounds of tests/test_winograd.py; those with sums of `least` terms."""
    a = arrays(p, rng)
    a64 = {k: v.astype(np.float64) for k, v in a.items()}
    expected, sizes = dict(passes(p, a64, reference)), magnitudes(p, a64)
    for function, run in passes(p, a, device):
        n = terms(function, p)
        if n < least:
            continue
        assert_close_sum(
            run(algorithm=name), expected[function](), sizes[function], n, FACTOR[name]
        )


@on_device
@pytest.mark.parametrize(
    "problem",
    [
        Problem((1, 264, 5, 4), (8, 264, 3, 3), 1, 1),  # forward
        Problem((1, 8, 4, 5), (264, 8, 3, 3), 1, 1),  # backward data
        Problem((1, 8, 34, 33), (8, 8, 3, 3), 1, 1),  # backward weight
    ],
    ids=str,
)
def test_cut_sums(problem: Problem, device, rng) -> None:
    check(problem, "winograd2", device, rng)


@pytest.fixture
def small_parts() -> Iterator[None]:
    """The least tiles at a time, 128."""
    from pyconv import _cuda

    _cuda.choose_winograd_bytes(0)
    yield
    _cuda.choose_winograd_bytes(32 << 20)


@on_device
@pytest.mark.parametrize("name", NAMES)
def test_parts_of_the_tiles(name: str, small_parts: None, device, rng) -> None:
    """Parts with images in several of them, the last one shorter; the gradient adds them."""
    side = {"winograd2": 18, "winograd4": 36}[name]
    check(Problem((2, 8, side, side - 1), (12, 8, 3, 3), 1, 1), name, device, rng)


@on_device
def test_parts_with_cut_sums(small_parts: None, device, rng) -> None:
    check(Problem((1, 264, 39, 40), (8, 264, 3, 3), 1, 1), "winograd2", device, rng, 9 * 264)


@on_device
def test_strict_precision_refuses_it(device, rng) -> None:
    p = Problem((1, 16, 6, 6), (16, 16, 3, 3), 1, 1)
    a = arrays(p, rng)
    with pyconv.float32_precision("strict"):
        message = "conv2d: .*'winograd4' can't take .*: the float32 precision is strict"
        with pytest.raises(ValueError, match=message):
            device.conv2d(a["x"], a["weight"], algorithm="winograd4")
    half = [a[key].astype(np.float16) for key in ("x", "weight")]
    with pytest.raises(ValueError, match="'winograd4' can't take .*: the arrays are not float32"):
        device.conv2d(*half, algorithm="winograd4")


@on_device
def test_tf32_is_not_for_its_sums(device, rng) -> None:
    """By name it is what it is; "auto" takes the tensor cores."""
    p = Problem((1, 16, 6, 6), (16, 16, 3, 3), 1, 1)
    a = arrays(p, rng)
    exact = device.conv2d(a["x"], a["weight"], algorithm="winograd2", **p.geometry)
    with pyconv.float32_precision("tf32"):
        y = device.conv2d(a["x"], a["weight"], algorithm="winograd2", **p.geometry)
    assert_same_bits(y, exact)


@on_device
def test_it_is_captured_in_a_graph(rng) -> None:
    import cupy

    a = arrays(Problem((1, 8, 9, 7), (12, 8, 3, 3), 1, 1), rng)
    x, weight = to_device(a["x"]), to_device(a["weight"])
    wanted = to_host(convolution.conv2d(x, weight, padding=1, algorithm="winograd4"))
    out = to_device(channels_last(np.zeros_like(wanted)))
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        convolution.conv2d(x, weight, padding=1, algorithm="winograd4", out=out)
        graph = stream.end_capture()
    assert not to_host(out).any()  # recorded, not run
    graph.launch(stream)
    stream.synchronize()
    assert_same_bits(to_host(out), wanted)


@on_device
@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_rows(name: str, device, rng) -> None:
    p = Problem((1, 8, 0, 5), (8, 8, 3, 3), 1, 2)
    for function, run in passes(p, arrays(p, rng), device):
        shape = {"conv2d": (1, 8, 2, 7), "conv2d_backward_input": p.x}.get(function, p.weight)
        assert_same_bits(run(algorithm=name), np.zeros(shape, np.float32))
