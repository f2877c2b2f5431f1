"""What CUDA alone has: CuPy's arrays, devices, streams and memory. That the results are right is
shown by the modules of the families: ``pytest --backend cuda tests/test_dense.py ...``.
"""

from __future__ import annotations

import importlib
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from backends import on_device
from programs import run_python
from tolerances import (
    assert_exact,
    assert_same_bits,
    assert_within,
    random_signs,
    small_integers,
    sum_bound,
)

import pyconv
from pyconv import reference
from pyconv.kernels import (
    activation,
    convolution,
    dense,
    dropout,
    loss,
    normalization,
    optimizer,
    pooling,
    resample,
)

FLOAT32 = np.float32


@pytest.fixture
def cupy() -> Any:
    return importlib.import_module("cupy")


def upload(*arrays: np.ndarray) -> list[Any]:
    return [sys.modules["cupy"].asarray(a) for a in arrays]


# -- loading ---------------------------------------------------------------------------------------


def test_import_touches_neither_cupy_nor_the_extension():
    program = (
        "import sys, numpy, pyconv, pyconv.nn, pyconv.optim, pyconv.models\n"
        "pyconv.kernels.gemm(*[numpy.ones((2, 2), numpy.float32)] * 2)\n"
        "found = {'cupy', 'pyconv._cuda'} & set(sys.modules)\n"
        "assert not found, found"
    )
    done = run_python("-c", program)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An array of a CuPy that is not installed, where no extension was built."""

    class Ndarray:
        ndim, shape, dtype = 2, (2, 2), np.dtype(FLOAT32)

    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(ndarray=Ndarray))  # type: ignore
    monkeypatch.setitem(sys.modules, "pyconv._cuda", None)  # type: ignore[arg-type]
    monkeypatch.delattr(pyconv, "_cuda", raising=False)
    return Ndarray()


@pytest.mark.parametrize("run", [lambda x: dense.gemm(x, x), activation.relu])
def test_without_the_extension_the_message_says_what_to_install(run, pretended):
    with pytest.raises(TypeError, match=r"is a CuPy array, but .* install .*PYCONV_CUDA=ON"):
        run(pretended)


class NoDriverError(RuntimeError):
    """What CuPy raises."""


def without_driver() -> int:
    raise NoDriverError("no driver")


def cupy_with(count: Callable[[], int]) -> Any:
    """A CuPy on a machine with so many GPUs."""
    runtime = types.SimpleNamespace(getDeviceCount=count, CUDARuntimeError=NoDriverError)
    return types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime), ndarray=int)


@pytest.mark.parametrize(
    ("modules", "error", "message"),
    [
        (dict(cupy=None), ImportError, r'needs CuPy: pip install "pyconv\[cuda13\]"'),
        ({"cupy": cupy_with(lambda: 1), "pyconv._cuda": None}, ImportError,
         "needs pyconv installed from source with -C cmake.define.PYCONV_CUDA=ON"),
        ({"cupy": cupy_with(without_driver)}, RuntimeError, "needs a GPU and NVIDIA's driver"),
        ({"cupy": cupy_with(lambda: 2)}, RuntimeError, 'there is no "cuda:2", but 2 GPUs'),
    ],
)  # fmt: skip
def test_moving_says_what_is_missing(modules, error, message, monkeypatch):
    monkeypatch.setattr(pyconv, "_cuda", types.ModuleType("pyconv._cuda"), raising=False)
    monkeypatch.setitem(sys.modules, "pyconv._cuda", pyconv._cuda)
    if modules.get("pyconv._cuda", 1) is None:
        monkeypatch.delattr(pyconv, "_cuda")
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    for move in (pyconv.Tensor(np.ones(1)).to, pyconv.nn.Linear(1, 1).to):
        with pytest.raises(error, match=f"to: .*{message}|to: {message}"):
            move("cuda:2")


def test_explain_knows_the_types_of_cuda():
    shapes = (1, 4, 5, 5), (4, 4, 3, 3)
    for dtype in ("float32", "float16", "bfloat16", np.float16):
        said = convolution.explain("conv2d", *shapes, dtype=dtype, device="cuda")
        assert said.algorithm == "direct" and "on cuda" in str(said)
    for dtype, device in (("float64", "cuda"), ("float16", "cpu"), ("bfloat16", "cpu")):
        with pytest.raises(TypeError, match=f"dtype must be .* on {device}, got {dtype}"):
            convolution.explain("conv2d", *shapes, dtype=dtype, device=device)


# -- which arrays ----------------------------------------------------------------------------------

MATRIX, IMAGE = np.ones((4, 4), FLOAT32), np.ones((1, 4, 4, 4), FLOAT32)
LINE, CHANNEL, DEPTHWISE = IMAGE[:, :, 0], np.ones(4, FLOAT32), np.ones((4, 1, 1, 1), FLOAT32)
PLANE = np.ones((4, 4, 1, 1), FLOAT32)
CALLS: list[tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = [
    (dense.gemm, dict(a=MATRIX, b=MATRIX, c=MATRIX, bias=CHANNEL, out=MATRIX), dict(beta=1.0)),
    (dense.linear, dict(x=MATRIX, weight=MATRIX, bias=CHANNEL, out=MATRIX), {}),
    (dense.linear_backward, dict(dy=MATRIX, x=MATRIX, weight=MATRIX), {}),
    (convolution.conv2d,
     dict(x=IMAGE, weight=PLANE, bias=CHANNEL, residual=IMAGE, out=IMAGE), {}),
    (convolution.conv2d_backward_input, dict(dy=IMAGE, weight=PLANE, out=IMAGE),
     dict(input_shape=IMAGE.shape)),
    (convolution.conv2d_backward_weight, dict(dy=IMAGE, x=IMAGE, out=PLANE),
     dict(weight_shape=PLANE.shape)),
    (convolution.conv2d_backward_bias, dict(dy=IMAGE, out=CHANNEL), {}),
    (convolution.conv_transpose2d, dict(x=IMAGE, weight=PLANE, bias=CHANNEL, out=IMAGE), {}),
    (convolution.conv_transpose2d_backward_input, dict(dy=IMAGE, weight=PLANE, out=IMAGE),
     dict(input_shape=IMAGE.shape)),
    (convolution.conv_transpose2d_backward_weight, dict(dy=IMAGE, x=IMAGE, out=PLANE),
     dict(weight_shape=PLANE.shape)),
    (convolution.depthwise_separable_conv2d,
     dict(x=IMAGE, depthwise_weight=DEPTHWISE, pointwise_weight=PLANE, bias=CHANNEL, out=IMAGE),
     {}),
    (convolution.depthwise_separable_conv2d_backward,
     dict(dy=IMAGE, x=IMAGE, depthwise_weight=DEPTHWISE, pointwise_weight=PLANE), {}),
    (convolution.conv1d, dict(x=LINE, weight=PLANE[..., 0], bias=CHANNEL, out=LINE), {}),
    (convolution.conv1d_backward_bias, dict(dy=LINE, out=CHANNEL), {}),
    (activation.relu, dict(x=IMAGE, out=IMAGE), {}),
    (activation.gelu_backward, dict(dy=IMAGE, x=IMAGE, out=IMAGE), {}),
    (activation.softmax, dict(x=IMAGE, out=IMAGE), {}),
    (activation.log_softmax_backward, dict(dy=IMAGE, y=IMAGE, out=IMAGE), {}),
    (normalization.batch_norm_training,
     dict(x=IMAGE, gamma=CHANNEL, beta=CHANNEL, residual=IMAGE), {}),
    (normalization.batch_norm_inference,
     dict(x=IMAGE, gamma=CHANNEL, beta=CHANNEL, mean=CHANNEL, var=CHANNEL, residual=IMAGE,
          out=IMAGE), {}),
    (normalization.batch_norm_backward,
     dict(x=IMAGE, dy=IMAGE, gamma=CHANNEL, mean=CHANNEL, var=CHANNEL), {}),
    (normalization.instance_norm, dict(x=IMAGE, gamma=CHANNEL, beta=CHANNEL, out=IMAGE), {}),
    (normalization.instance_norm_backward, dict(x=IMAGE, dy=IMAGE, gamma=CHANNEL), {}),
    (pooling.avg_pool2d, dict(x=IMAGE, out=IMAGE), dict(kernel_size=1)),
    (pooling.adaptive_avg_pool2d, dict(x=IMAGE, out=IMAGE), dict(output_size=4)),
    (resample.upsample2d, dict(x=IMAGE, out=IMAGE), dict(scale=1)),
    (resample.pad2d, dict(x=IMAGE, out=IMAGE), dict(padding=0)),
    (dropout, dict(x=IMAGE), dict(p=0.5, seed=1)),
]  # fmt: skip
CALL_NAMES = [call[0].__name__ for call in CALLS]


@on_device
@pytest.mark.parametrize(("function", "arrays", "others"), CALLS, ids=CALL_NAMES)
def test_numpy_and_cupy_in_one_call_are_refused(function, arrays, others, cupy):
    first = next(iter(arrays))
    for name in list(arrays)[1:]:
        for here, there in ((np.array, cupy.array), (cupy.array, np.array)):
            given = {k: (there if k == name else here)(v) for k, v in arrays.items()}
            kinds = ("a NumPy array", "a CuPy array")[:: 1 if here is np.array else -1]
            message = f"{function.__name__}: {first} is {kinds[0]}, but {name} is {kinds[1]}"
            with pytest.raises(TypeError, match=message):
                function(**given, **others)


@on_device
@pytest.mark.parametrize(("function", "arrays", "others"), CALLS, ids=CALL_NAMES)
def test_float64_is_refused(function, arrays, others, cupy):
    given = {k: cupy.asarray(v.astype(np.float64)) for k, v in arrays.items()}
    message = rf"{function.__name__}: \w+ must be float32, float16 or bfloat16 on CUDA, got float64"
    with pytest.raises(TypeError, match=message):
        function(**given, **others)


@on_device
def test_two_devices_in_one_call_are_refused(cupy):
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two GPUs")
    with cupy.cuda.Device(0):
        a = cupy.ones((2, 2), FLOAT32)
    with cupy.cuda.Device(1):
        b = cupy.ones((2, 2), FLOAT32)
    with pytest.raises(TypeError, match="gemm: a lies on device 0, but b on device 1"):
        dense.gemm(a, b)
    with cupy.cuda.Device(0):  # computes where the arrays are
        assert dense.gemm(b, b).device.id == 1
        assert cupy.cuda.runtime.getDevice() == 0


@on_device
def test_a_function_of_the_cpu_alone_says_so(cupy):
    message = "pack_weight: weight is a CuPy array, but pack_weight takes NumPy's alone"
    with pytest.raises(TypeError, match=message):
        convolution.pack_weight(cupy.asarray(MATRIX))


@on_device
def test_a_packed_weight_is_for_the_cpu(cupy):
    packed = convolution.pack_weight(MATRIX)
    with pytest.raises(TypeError, match="linear: x is a CuPy array, but weight is a NumPy array"):
        dense.linear(cupy.asarray(MATRIX), packed)
    packed = convolution.pack_weight(PLANE)
    with pytest.raises(TypeError, match="conv2d: x is a CuPy array, but weight is a NumPy array"):
        convolution.conv2d(cupy.asarray(IMAGE), packed)


# -- results ---------------------------------------------------------------------------------------


@on_device
def test_out_is_written_and_given_back(cupy, rng):
    a, b = small_integers((9, 8), FLOAT32, rng), small_integers((8, 20), FLOAT32, rng)
    for out in (cupy.zeros((9, 20), FLOAT32), cupy.zeros((9, 41), FLOAT32)[:, 1::2]):
        assert dense.gemm(*upload(a, b), out=out) is out
        assert_exact(out.get(), a.astype(np.float64) @ b)
    x, weight = (
        small_integers((2, 4, 5, 6), FLOAT32, rng),
        small_integers((8, 4, 3, 3), FLOAT32, rng),
    )
    wide = [a.astype(np.float64) for a in (x, weight)]
    for out in (
        cupy.zeros((2, 5, 6, 8), FLOAT32).transpose(0, 3, 1, 2),
        cupy.zeros((2, 8, 5, 6), FLOAT32),
    ):
        assert convolution.conv2d(*upload(x, weight), padding=1, out=out) is out
        assert_exact(out.get(), reference.conv2d(*wide, padding=1))


@on_device
def test_out_may_not_overlap_an_input(cupy):
    both = cupy.ones((8, 4), FLOAT32)
    with pytest.raises(ValueError, match="gemm: out must not overlap an input"):
        dense.gemm(both[:4], both[4:], out=both[2:6])
    assert (dense.gemm(both[:4], both[:4], out=both[4:]).get() == 4).all()


@on_device
def test_results_lie_channels_last_and_gradients_as_parameters(cupy):
    x, weight = cupy.ones((2, 5, 6, 7), FLOAT32), cupy.ones((8, 5, 3, 3), FLOAT32)
    y = convolution.conv2d(x, weight)
    dx = convolution.conv2d_backward_input(y, weight, x.shape)
    dw = convolution.conv2d_backward_weight(y, x, weight.shape)
    for image in (y, dx):
        assert image.transpose(0, 2, 3, 1).flags.c_contiguous
    assert dw.transpose(2, 3, 1, 0).flags.c_contiguous


# What adds: every family once, of an image whose sums are cut, of weights and of rows.
SUMS: dict[str, Callable[..., Any]] = {
    "conv2d": lambda x, w, rows: convolution.conv2d(x, w, padding=1),
    "conv2d_backward_input": lambda x, w, rows: convolution.conv2d_backward_input(
        x, w, x.shape, padding=1
    ),
    "conv2d_backward_weight": lambda x, w, rows: convolution.conv2d_backward_weight(
        x, x, w.shape, padding=1
    ),
    "conv2d, depthwise": lambda x, w, rows: convolution.conv2d_backward_weight(
        x, x, (x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1]
    ),
    "conv2d_backward_bias": lambda x, w, rows: convolution.conv2d_backward_bias(x),
    "gemm": lambda x, w, rows: dense.gemm(rows, rows, transpose_b=True),
    "batch_norm_training": lambda x, w, rows: normalization.batch_norm_training(x, *_ones(x, 2)),
    "batch_norm_backward": lambda x, w, rows: normalization.batch_norm_backward(x, x, *_ones(x, 3)),
    "instance_norm": lambda x, w, rows: normalization.instance_norm(x),
    "avg_pool2d": lambda x, w, rows: pooling.avg_pool2d(x, 3, 1, 1),
    "adaptive_avg_pool2d": lambda x, w, rows: pooling.adaptive_avg_pool2d(x, 1),
    "upsample2d_backward": lambda x, w, rows: resample.upsample2d_backward(
        x, (*x.shape[:2], 6, 6), 2, mode="bilinear"
    ),
    "softmax": lambda x, w, rows: activation.softmax(rows),
    "softmax of channels": lambda x, w, rows: activation.softmax(x, 1),
    "log_softmax_backward": lambda x, w, rows: activation.log_softmax_backward(rows, rows),
    "cross_entropy": lambda x, w, rows: loss.cross_entropy(
        rows, sys.modules["cupy"].arange(len(rows))
    ),
    "grad_norm": lambda x, w, rows: optimizer.grad_norm(
        [a.astype(FLOAT32) if a.dtype != FLOAT32 else a for a in (x, w, rows)]
    ),
}


def _ones(x: Any, count: int) -> list[Any]:
    return [sys.modules["cupy"].ones(x.shape[1], FLOAT32)] * count


def one_element_on(a: Any) -> Any:
    """The array as it lies, but an element behind a place that is aligned to 16 bytes."""
    cupy = sys.modules["cupy"]
    memory = cupy.cuda.alloc(a.nbytes + a.itemsize) + a.itemsize
    moved = cupy.ndarray(a.shape, a.dtype, memory, a.strides)
    moved[...] = a
    return moved


@on_device
@pytest.mark.parametrize("mode", ["float32", "tf32", "float16"])
@pytest.mark.parametrize("name", SUMS)
def test_alignment_changes_no_bit(name, mode, cupy, rng):
    dtype = "float16" if mode == "float16" else "float32"
    x = cupy.asarray(random_signs((2, 12, 12, 32), FLOAT32, rng)).transpose(0, 3, 1, 2)
    w = cupy.asarray(random_signs((3, 3, 32, 32), FLOAT32, rng)).transpose(3, 2, 0, 1)
    rows = cupy.asarray(random_signs((30, 96), FLOAT32, rng))
    given = [a.astype(dtype) for a in (x, w, rows)]
    with pyconv.float32_precision("tf32" if mode == "tf32" else "float32"):
        wanted, found = (
            y if isinstance(y, tuple) else (y,)
            for y in (SUMS[name](*given), SUMS[name](*map(one_element_on, given)))
        )
    for y, again in zip(wanted, found, strict=True):
        assert_same_bits(again.get(), y.get())


@on_device
def test_an_out_of_any_alignment(cupy, rng):
    x = cupy.asarray(random_signs((2, 6, 6, 8), FLOAT32, rng)).transpose(0, 3, 1, 2)
    for run in (
        lambda out: activation.gelu(x, out=out),
        lambda out: pooling.avg_pool2d(x, 1, out=out),
        lambda out: convolution.conv2d(x, x[:1].transpose(1, 0, 2, 3)[:, :1, :1, :1] + 0, groups=8,
                                       out=out),
    ):  # fmt: skip
        out = one_element_on(cupy.zeros_like(x))
        assert run(out) is out and out.data.ptr % 16
        assert_same_bits(out.get(), run(None).get())


@on_device
def test_an_empty_batch(cupy):
    y = dense.linear(cupy.ones((0, 3), FLOAT32), cupy.ones((4, 3), FLOAT32))
    assert y.shape == (0, 4)
    dx, dw, db = dense.linear_backward(y, y[:, :3], cupy.ones((4, 3), FLOAT32))
    assert dx.shape == (0, 3) and not dw.any() and not db.any()
    weight = cupy.ones((6, 4, 3, 3), FLOAT32)
    y = convolution.conv2d(cupy.ones((0, 4, 5, 5), FLOAT32), weight)
    assert y.shape == (0, 6, 3, 3)
    assert not convolution.conv2d_backward_weight(y, y[:, :4], weight.shape, padding=1).any()
    assert not convolution.conv2d_backward_bias(y).any()


def all_results(x: Any, weight: Any, dy: Any) -> Iterator[Any]:
    yield convolution.conv2d(x, weight, padding=1, activation="relu")
    yield convolution.conv2d_backward_input(dy, weight, x.shape, padding=1)
    yield convolution.conv2d_backward_weight(dy, x, weight.shape, padding=1)
    yield convolution.conv2d_backward_bias(dy)
    yield dense.gemm(x.reshape(len(x), -1), x.reshape(len(x), -1), transpose_b=True)


@pytest.fixture
def images(rng: np.random.Generator) -> list[np.ndarray]:
    """x, weight and dy of a convolution whose sums are long enough to be cut."""
    shapes = ((2, 24, 12, 12), (20, 24, 3, 3), (2, 20, 12, 12))
    return [random_signs(shape, FLOAT32, rng) for shape in shapes]


@on_device
def test_two_runs_give_the_same_bits(cupy, images):
    first = [y.get() for y in all_results(*upload(*images))]
    for y, again in zip(first, all_results(*upload(*images)), strict=True):
        assert_same_bits(again.get(), y)


ACTIVATIONS = [
    "relu", "relu6", "leaky_relu", ("leaky_relu", -0.5), "sigmoid", "tanh", "silu", "gelu",
]  # fmt: skip


@on_device
@pytest.mark.parametrize("depth", [3, 600])  # a sum in one part, and one that is cut
@pytest.mark.parametrize("name", ACTIVATIONS, ids=str)
def test_every_activation(name, depth, cupy, rng):
    a, b = random_signs((5, depth), FLOAT32, rng), random_signs((depth, 7), FLOAT32, rng)
    c, bias = random_signs((5, 7), FLOAT32, rng), random_signs((7,), FLOAT32, rng)
    a[3:] *= 1 if depth == 3 else 0.05
    c[0, :3] = np.inf, -np.inf, np.nan
    a64, b64, c64, bias64 = (v.astype(np.float64) for v in (a, b, c, bias))
    options = dict(alpha=2.0, beta=3.0, activation=name)
    wanted = reference.gemm(a64, b64, c=c64, bias=bias64, **options)
    given = upload(a, b, c, bias)
    y = dense.gemm(*given[:2], c=given[2], bias=given[3], **options).get()
    magnitude = 2 * abs(a64) @ abs(b64) + 3 * abs(np.nan_to_num(c64, posinf=0, neginf=0)) + 1
    assert_within(y, wanted, 2 * sum_bound(FLOAT32, magnitude, depth + 2))


# -- streams, threads, memory, errors --------------------------------------------------------------


@on_device
def test_work_goes_to_the_current_stream_and_can_be_captured(cupy, rng):
    a, b = small_integers((20, 12), FLOAT32, rng), small_integers((12, 36), FLOAT32, rng)
    x, weight = (
        small_integers((1, 3, 6, 6), FLOAT32, rng),
        small_integers((8, 3, 3, 3), FLOAT32, rng),
    )
    device_a, device_b, device_x, device_w = upload(a, b, x, weight)
    device_x = cupy.asarray(device_x.transpose(0, 2, 3, 1), order="C").transpose(0, 3, 1, 2)
    device_w = cupy.asarray(device_w.transpose(2, 3, 1, 0), order="C").transpose(3, 2, 0, 1)
    product = cupy.zeros((20, 36), FLOAT32)
    image = cupy.zeros((1, 4, 4, 8), FLOAT32).transpose(0, 3, 1, 2)
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        dense.gemm(device_a, device_b, out=product)
        convolution.conv2d(device_x, device_w, out=image)
        graph = stream.end_capture()
    assert not product.any() and not image.any()  # recorded, not run
    graph.launch(stream)
    stream.synchronize()
    assert_exact(product.get(), a.astype(np.float64) @ b)
    assert_exact(image.get(), reference.conv2d(x.astype(np.float64), weight.astype(np.float64)))


@on_device
def test_several_host_threads_with_a_stream_each(cupy, images):
    expected = [y.get() for y in all_results(*upload(*images))]
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with cupy.cuda.Stream(non_blocking=True) as stream:
                given = upload(*images)
                for _ in range(3):
                    found = list(all_results(*given))
                    stream.synchronize()
                    for y, wanted in zip(found, expected, strict=True):
                        assert_same_bits(y.get(), wanted)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


@on_device
def test_memory_comes_from_cupy_and_goes_back(cupy, images):
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        given = upload(*images)
        before = pool.used_bytes()
        y = convolution.conv2d(given[0], given[1], padding=1)
        assert pool.used_bytes() >= before + y.nbytes  # the result is in the pool
        del y
        list(all_results(*given))
        kept = pool.total_bytes()
        for _ in range(20):
            list(all_results(*given))
        assert pool.used_bytes() == before
        assert pool.total_bytes() == kept  # nor does the pool grow
        del given
        assert pool.used_bytes() == 0
        pool.free_all_blocks()


@on_device
def test_references_are_given_back(cupy, images):
    given = upload(*images)
    before = [sys.getrefcount(a) for a in given]
    for _ in range(5):
        list(all_results(*given))
        with pytest.raises(ValueError, match="algorithm"):
            convolution.conv2d(given[0], given[1], algorithm="none")
    assert [sys.getrefcount(a) for a in given] == before


@on_device
def test_an_error_of_a_launch_names_kernel_and_problem(cupy):
    groups = 70_000  # more than a grid has room for
    x = cupy.ones((1, 2 * groups, 1, 1), FLOAT32)
    weight = cupy.ones((2 * groups, 2, 1, 1), FLOAT32)
    with pytest.raises(RuntimeError, match="CUDA kernel convolution .*groups 70000.*invalid"):
        convolution.conv2d(x, weight, groups=groups)
    few = convolution.conv2d(x[:, :4], weight[:4], groups=2)  # and the next call works
    assert (few.get() == 2).all()
