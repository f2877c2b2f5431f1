"""The measuring tool: problems, suites, errors, tables, the command. Nothing depends on time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import run_python
from tolerances import assert_close_sum

import pyconv
from pyconv import bench, models, nn, reference
from pyconv.bench import results, timing
from pyconv.cli import main
from pyconv.nn import init

QUICK = ["--seconds", "0.001", "--threads", "1"]
SMALL = "n2 c4 k6 h7 w5 r3 p1"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    # The machine's peak is not what is tested.
    monkeypatch.setattr(bench, "peak_flops", lambda: 1e11)
    threads = pyconv.get_num_threads()
    yield
    pyconv.set_num_threads(threads)


# -- problems -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "letters, shapes",
    [
        ("n8 c64 k64 h56 r3 p1", "conv 64x56x56 64x3x3 p1 n8"),
        ("p1 r3 h56 k64 c64 n8", "conv 64x56x56 64x3x3 p1 n8"),
        ("c64 k128 h56 r3 u2 p1", "conv 64x56x56 128x3x3 s2 p1"),
        ("c192 k192 h17 r1 s7 p0 q3", "conv 192x17x17 192x1x7 p0x3"),
        ("c8 k8 h9 w7 r3 s2 u2 v1 d2 e1", "conv 8x9x7 8x3x2 s2x1 d2x1"),
        ("c8 k16 h9 r3 g8", "dw 8x9x9 16x3x3"),
        ("dw c8 h9 r3", "dw 8x9x9 8x3x3"),
        ("c8 k16 h9 r3 g4", "conv 8x9x9 16x3x3 g4"),
        ("transposed c8 k4 h5 r3 u2 p1 o1", "transposed 8x5x5 4x3x3 s2 p1 o1"),
        ("conv c3 k4 h5 r1", "conv 3x5x5 4x1x1"),
    ],
)
def test_both_forms_say_the_same(letters: str, shapes: str) -> None:
    problem = bench.parse(letters)
    assert problem == bench.parse(shapes)
    assert str(problem) == shapes


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is written like"),
        ("nonsense", "is written like"),
        ("c64 k64 h56", "r must be given"),
        ("c64 c64 k1 h5 r1", "c is given twice"),
        ("conv 64x56x56 128x3x3 s2 s2", "s is given twice"),
        ("c0 k1 h5 r1", "at least 1"),
        ("c6 k4 h5 r1 g4", "groups must divide"),
        ("c6 k4 h2 r3", "output would be empty"),
        ("c6 k4 h5 r3 u2 o1", "output padding is for transposed"),
        ("transposed c6 k4 h5 r3 u2 o2", "less than the stride"),
        ("conv 6x5x5 4x3x3 g1x2", "take one number"),
    ],
)
def test_bad_problems(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bench.parse(text)


def test_parse_takes_text_only() -> None:
    with pytest.raises(TypeError, match="text must be a str, got int"):
        bench.parse(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("direction", bench.DIRECTIONS)
@pytest.mark.parametrize(
    "text",
    [
        SMALL,
        "n2 c4 k6 h7 w5 r3 s2 u2 v1 p1 q0 d1 e2 g2",
        "transposed n2 c4 k6 h7 w5 r3 u2 p1 o1 g2",
        "n2 dw c4 h5 r3 p1".replace("n2 dw", "dw n2"),
    ],
)
def test_calls_and_errors_agree_with_the_reference(text: str, direction: str) -> None:
    problem = bench.parse(text)
    first, second = bench.operands(problem, direction)
    options: dict[str, Any] = dict(problem.geometry)
    arguments = [first.astype(float), second.astype(float)]
    name = problem.name
    if direction == "forward":
        options |= {"output_padding": problem.output_padding} if problem.transposed else {}
    else:
        name += f"_backward_{direction}"
        shape = problem.input_shape() if direction == "input" else problem.weight_shape
        arguments.append(shape)  # type: ignore[arg-type]
    expected = getattr(reference, name)(*arguments, **options)
    assert (
        expected.shape
        == {
            "forward": problem.output_shape(),
            "input": problem.input_shape(),
            "weight": problem.weight_shape,
        }[direction]
    )
    magnitude = getattr(reference, name)(*map(abs, arguments[:2]), *arguments[2:], **options)
    exact = bench.exact(problem, direction, first, second)
    assert_close_sum(exact, expected, magnitude, first.size)
    judge = bench.Judge(problem, direction, first, second)
    assert judge(expected).relative < 1e-14
    error = judge(bench.run(problem, direction, first, second))
    assert 0 < error.relative < 1e-6 and 0 < error.factor <= 4
    assert judge(expected * (1 + 1e-3)).relative == pytest.approx(1e-3, rel=1e-6)
    with pytest.raises(ValueError, match="y must have shape"):
        judge(expected[..., :-1])


def test_factor_is_that_of_the_worst_element() -> None:
    """One element of the result is moved by 8 times what eps of its terms makes."""
    problem = bench.parse("c2 k3 h4 r3")
    x, weight = bench.operands(problem, "forward")
    y = bench.exact(problem, "forward", x, weight)
    magnitude = bench.exact(problem, "forward", np.abs(x), np.abs(weight))
    judge = bench.Judge(problem, "forward", x, weight)
    y[0, 1, 0, 1] += 8 * 2.0**-23 * magnitude[0, 1, 0, 1]
    assert judge(y).factor == pytest.approx(8, rel=1e-6)


def test_flops_and_bytes() -> None:
    problem = bench.parse("n2 c4 k6 h8 r3 p1")
    assert problem.flops() == 2 * 2 * 64 * 9 * 4 * 6
    assert problem.flops(1) == problem.flops() / 2
    assert problem.bytes() == 4 * (2 * 4 * 64 + 2 * 6 * 64 + 6 * 4 * 9)
    turned = bench.parse("transposed n2 c4 k6 h8 r2 u2")
    assert turned.flops() == 2 * 2 * 64 * 4 * 4 * 6
    assert bench.parse("dw c4 h8 r3 p1").flops() == 2 * 64 * 9 * 4


def test_operands_are_the_same_everywhere() -> None:
    problem = bench.parse(SMALL)
    for direction in bench.DIRECTIONS:
        for a, b in zip(*(bench.operands(problem, direction) for _ in range(2)), strict=True):
            assert np.array_equal(a, b)
            assert a.ctypes.data % 64 == 0
    assert np.array_equal(
        bench.operands(problem, "forward")[0], bench.operands(problem, "weight")[1]
    )


# -- suites ---------------------------------------------------------------------------------------


def layers_of(model: nn.Module, side: int, channels: int = 3) -> set[bench.Convolution]:
    """The different convolutions that a model computes."""
    found = set()

    def note(module: Any, inputs: Any, output: Any) -> None:
        x, weight = inputs[0], module.weight
        transposed = isinstance(module, nn.ConvTranspose2d)
        groups = module.groups
        out = weight.shape[1] * groups if transposed else weight.shape[0]
        problem = bench.Convolution(
            *x.shape[1:], out, weight.shape[2:], _pair(module.stride), _pair(module.padding),
            _pair(module.dilation), groups, transposed,
        )  # fmt: skip
        assert problem.output_shape() == tuple(output.shape)
        found.add(problem)

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.register_forward_hook(note)
    with pyconv.no_grad():
        model.eval()(np.zeros((1, channels, side, side), np.float32))
    return found


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "vgg16"])
def test_a_suite_is_its_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "_fill", lambda function, tensor, values: tensor)
    model = models.build(name)
    problems = bench.suite(name)
    assert len(set(problems)) == len(problems)
    # VGG's dense layers don't matter here, and would take a while.
    assert set(problems) == layers_of(model.features if name == "vgg16" else model, 224)


def test_small_nets_are_in_their_suites() -> None:
    assert layers_of(models.resnet18(10, stem="cifar"), 32) - set(bench.suite("cifar")) == {
        p for p in layers_of(models.resnet18(10, stem="cifar"), 32) if p.kernel == (1, 1)
    }
    assert layers_of(models.lenet5(), 28, 1) <= set(bench.suite("mnist"))


@pytest.mark.parametrize("name", bench.suites())
def test_suites_are_written_as_they_are_read(name: str) -> None:
    text = Path(bench.problems.__file__).parent / "suites" / f"{name}.txt"
    lines = [line for line in text.read_text().splitlines() if line and line[0] not in "#["]
    assert lines == [str(problem) for problem in bench.suite(name)]
    assert len(set(lines)) == len(lines)


def test_table_has_the_rows_and_layers_of_the_issue() -> None:
    rows = bench.groups("table")
    assert list(rows) == [
        "first layer", "1x1", "1x1 stride 2", "3x3 stride 1", "3x3 stride 2", "depthwise 3x3 s1",
        "depthwise 3x3 s2", "MobileNet 1x1", "5x5", "dilated 3x3", "grouped", "transposed",
        "1x7, 7x1", "small", "odd sizes",
    ]  # fmt: skip
    table = {p.with_batch(1) for p in bench.suite("table")}
    for name in ("resnet50", "vgg16", "mobilenet_v2"):
        assert set(bench.suite(name)) <= table
    others = {p for name in bench.suites() if name != "table" for p in bench.suite(name)}
    assert table <= others


def test_unknown_suite() -> None:
    with pytest.raises(ValueError, match="suite: name must be one of .*resnet50.*got 'vgg'"):
        bench.suite("vgg")


# -- clocks ---------------------------------------------------------------------------------------


class Machine:
    """A burst whose speed is told beforehand."""

    def __init__(self, *slow: int) -> None:
        self.slow, self.calls = slow, 0

    def __call__(self) -> float:
        self.calls += 1
        return float(self.calls - 1 in self.slow)

    def at_full_rate(self, seconds: float) -> bool:
        return not seconds


def told(*seconds: float) -> Any:
    """A competitor whose rounds take these times; the first is the trial."""
    left = list(seconds)
    return lambda repeats: left.pop(0)


def test_rounds_beside_a_slow_burst_do_not_count() -> None:
    run = told(1.0, 5.0, 9.0, 9.0, 7.0, 6.0)
    found = bench.measure({"a": run}, 3.0, Machine(2), rounds=3)["a"]  # type: ignore[arg-type]
    assert found == bench.Timing(6.0, 5.0, 7.0, 3, True)


def test_without_quiet_rounds_it_is_the_lower_quartile() -> None:
    run = told(1.0, *range(1, 99))
    found = bench.measure({"a": run}, 3.0, Machine(*range(99)), rounds=3)["a"]  # type: ignore[arg-type]
    assert not found.quiet and found.rounds == 0
    assert found.median == found.low == 2


def test_competitors_take_turns() -> None:
    order: list[str] = []

    def competitor(name: str) -> Any:
        return lambda repeats: order.append(name) or 1.0

    bench.measure({"a": competitor("a"), "b": competitor("b")}, 3.0, rounds=3)
    assert order == ["a", "b"] * 4


def test_flush_runs_before_each_repeat() -> None:
    order: list[str] = []
    timing.seconds_of(lambda: order.append("call"), 2, lambda: order.append("flush"))
    assert order == ["flush", "call"] * 2
    order.clear()
    timing.seconds_of(lambda: order.append("call"), 2)
    assert order == ["call"] * 3  # one to warm up


# -- what is written ------------------------------------------------------------------------------


def test_results_of_all_algorithms() -> None:
    problem = bench.parse("dw n2 c8 h6 r3 p1")
    names = bench.algorithms(problem, "forward")
    found = bench.bench(problem, "forward", names, peak=1e11, seconds=0.001)
    assert [r.algorithm for r in found] == names and "direct" in names
    for result in found:
        assert result.low <= result.microseconds <= result.high
        assert result.gflops == pytest.approx(problem.flops() / result.microseconds / 1e3)
        assert result.gbytes == pytest.approx(problem.bytes() / result.microseconds / 1e3)
        assert result.peak == pytest.approx(result.gflops / 100)
        assert 0 < result.error < 1e-6 and result.factor <= 4
    assert "would run" in found[-1].why and "few_channels" in found[0].why


def test_algorithms_that_refuse_are_left_out() -> None:
    assert bench.bench(bench.parse(SMALL), "forward", ["depthwise"], peak=1e11) == []


def test_cold_and_packed_run() -> None:
    flush = bench.Flush(2**16)
    problem = bench.parse(SMALL)
    found = bench.bench(
        problem, peak=1e11, seconds=0.001, cold=True, packed=True, flush=flush
    )  # fmt: skip
    assert len(found) == 1


def test_tables() -> None:
    rows = [["one", "1"], ["three", "33"]]
    assert results.plain(["name", "n"], rows, [0]) == "name    n\none     1\nthree  33"
    assert bench.markdown(["a|b"], [["x|y"]]) == "| a|b |\n|---|\n| x\\|y |"


@pytest.mark.parametrize(
    "value, text",
    [(0, "0.000"), (0.01234, "0.0123"), (0.5, "0.500"), (9.876, "9.88"), (98765.4, "98765")],
)
def test_significant_digits(value: float, text: str) -> None:
    assert bench.significant(value) == text


def test_files_are_whole_or_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.md"
    bench.write_whole(path, "old")

    def fail(*paths: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no"):
        bench.write_whole(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


# -- against peers: python -m bench ---------------------------------------------------------------


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of the clone's folder bench."""
    root = Path(__file__).resolve().parents[1]
    monkeypatch.syspath_prepend(str(root))
    import bench.document
    import bench.layers
    import bench.train

    return bench


def layer_of(peers: Any, group: str, kind: str, text: str, **seconds: float) -> Any:
    """A measured layer; `pyconv_plain=2` for two seconds of that competitor."""
    found = peers.layers.Measured(group, kind, bench.parse(text))
    for key, value in seconds.items():
        name = key.replace("__", ", malloc raised/").replace("_", "/")
        found.times[name] = bench.Timing(value, value, value, 3, True)
        found.errors[name] = bench.Error(1e-7, 1.0)
    return found


def test_ratios_compare_plain_with_eager_and_packed_with_all(peers: Any) -> None:
    found = layer_of(
        peers, "1x1", "batch 1", "c4 k4 h4 r1", pyconv_plain=2, pyconv_packed=1, PyTorch_NCHW=8,
        PyTorch_NHWC=7, PyTorch__NHWC=6, PyTorch_packed=4, onnxruntime_default=3,
    )  # fmt: skip
    assert found.against_eager() == 3
    assert found.against_best() == 3
    assert found.peers() == {"PyTorch": 4, "onnxruntime": 3}
    assert found.share(1, found.problem.flops() * 2) == 50


def test_tables_of_layers(peers: Any) -> None:
    flops = bench.parse("c4 k4 h4 r1").flops()
    found = [
        layer_of(peers, "1x1", "batch 1", "c4 k4 h4 r1", pyconv_plain=4, pyconv_packed=2,
                 PyTorch_NCHW=4, ncnn_default=10),
        layer_of(peers, "small", "batch 1", "c4 k4 h4 r1", pyconv_plain=1, pyconv_packed=1,
                 PyTorch_NCHW=4),
        layer_of(peers, "1x1", "forward", "n2 c4 k4 h4 r1", pyconv_plain=2, PyTorch_NCHW=4),
    ]  # fmt: skip
    text = peers.layers.summarise(found, flops)
    assert "| 1x1 | 1 | 25 | 10 | 25 | 50 | 1e-07 | 1.00 | 2.00 | – |" in text
    assert "| all | 2 | 25 | 10 (1) | 50 | 71 | 1e-07 | 2.00 | 2.83 | – |" in text
    assert "| 1x1 | 1 | 50 | 100 | 2.00 | 2.00 | 1e-07 |" in text
    assert "least ratio to the best peer is 2.00" in text
    rows = peers.layers.all_rows(found, flops)
    assert "## Batch 1" in rows and "## Forward" in rows
    assert "| `conv 4x4x4 4x1x1` | 1x1 |  | 4000000 | 2000000 | 4000000 | 10000000 |" in rows
    assert "2.83" not in peers.layers.slow_rows(found, 1.5)
    assert "1.00" in peers.layers.slow_rows(found, 1.5)


def test_figures_get_shorter_where_time_is_short(peers: Any) -> None:
    assert peers.layers.affordable(0.1, 600, 10) == 0.1
    assert peers.layers.affordable(0.1, 10, 10) == pytest.approx(0.05)
    assert peers.layers.affordable(0.1, -1, 10) == 0.004


def test_tables_of_networks(peers: Any) -> None:
    step = peers.train.Network("lenet", 64, True)
    run = peers.train.Network("vgg16", 1, False)
    for network, ours in ((step, "pyconv/step"), (run, "pyconv/eval")):
        for key, value in ((ours, 0.002), ("PyTorch/NCHW", 0.006), ("ncnn/default", 0.001)):
            network.times[key] = bench.Timing(value, value, value, 3, True)
            network.errors[key] = 1e-6
    step.memory = {"pyconv/step": 2**20, "PyTorch/NCHW": 4 * 2**20, "PyTorch/NHWC": 2 * 2**20}
    assert step.memory_ratio() == 0.5
    text = peers.train.summarise([step, run])
    assert "| lenet | 64 | 6.00 | 2.00 | 3.00 | 1e-06 | 2 | 1 | 0.50 |" in text
    assert "| vgg16 | 2.00 | 6.00 | 1.00 | 3.00 | 0.50 | 1e-06 |" in text
    assert "| vgg16 | inference | 1 | ncnn default | 1.00 |" in peers.train.all_rows([step, run])


def test_tables_go_between_markers(peers: Any) -> None:
    text = "a\n<!-- begin: x -->\nold\n<!-- end: x -->\nb\n"
    new = peers.document.replace_between(text, "x", "new \\1")
    assert new == "a\n<!-- begin: x -->\n\nnew \\1\n\n<!-- end: x -->\nb\n"
    assert peers.document.replace_between(new, "x", "new \\1") == new
    with pytest.raises(ValueError, match="begin: y"):
        peers.document.replace_between(text, "y", "")
    notes = peers.document.NOTES.read_text("utf-8")
    for name in ("layers", "train", "memory", "gemm"):
        peers.document.replace_between(notes, name, "")


def test_a_layer_runs_in_a_process_of_its_own(peers: Any) -> None:
    """pyconv as its own peer; others are only there where they are installed."""
    worker = peers.conductor.Worker("pyconv", 1)
    try:
        problem = bench.parse(SMALL).with_batch(1)
        found = peers.layers.measure_layer(
            {"pyconv": worker}, "1x1", problem, "forward", ["batch 1", "batch 1, cold"], 1e-4, None
        )
        assert [set(m.times) for m in found] == [{"pyconv/plain", "pyconv/packed"}] * 2
        assert all(0 < e.relative < 1e-6 for m in found for e in m.errors.values())
        assert not found[0].failures
        json.dumps(found[0].as_dict())
        with pytest.raises(peers.conductor.PeerError, match="pyconv: ValueError in parse"):
            worker.ask("layer", "nonsense", "forward")
        assert worker.ask("version") == f"pyconv {pyconv.__version__}"  # it goes on
    finally:
        worker.close()
    with pytest.raises(peers.conductor.PeerError, match="its process ended"):
        worker.ask("version")


def test_a_peer_that_does_not_come_up_is_left_out(
    peers: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(peers.conductor.PEERS, "none", ("not_there", "sys", {}))
    assert peers.conductor.start(["none"], 1, None) == {}
    assert "No module named 'bench.peers.not_there'" in capsys.readouterr().err


def test_a_network_runs_and_its_memory_is_taken(peers: Any, tmp_path: Path) -> None:
    peers.networks.save_state("lenet", str(tmp_path))
    worker = peers.conductor.Worker("pyconv", 1)
    try:
        network = peers.train.Network("lenet", 2, True)
        peers.train.measure_network(network, {"pyconv": worker}, str(tmp_path), 1e-4, None)
        assert set(network.times) == {"pyconv/step"} and not network.failures
        assert worker.ask("memory", "lenet", str(tmp_path), 2, "step") > 0
    finally:
        worker.close()


# -- the command ----------------------------------------------------------------------------------


def test_command_prints_and_writes(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    files = ["--json", "a.json", "--markdown", "a.md", "--roofline", "a.png"]
    argv = ["bench", SMALL, "dw c4 h5 r3", "--dir", "forward,input,weight", "--isa", "generic"]
    assert main([*argv, *files, *QUICK]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "generic, 1 thread, warm; peak 100.0 GFLOP/s" in out[0]
    assert out[1].split()[:4] == ["problem", "direction", "algorithm", "µs"]
    assert len(out) == 2 + 6
    written = json.loads(Path("a.json").read_text())
    assert written["machine"]["isa"] == "generic" and written["machine"]["cache"] == "warm"
    kinds = [(r["problem"], r["direction"]) for r in written["results"]]
    assert kinds == [
        (problem, direction)
        for problem in ("conv 4x7x5 6x3x3 p1 n2", "dw 4x5x5 4x3x3")
        for direction in bench.DIRECTIONS
    ]
    table = Path("a.md").read_text().splitlines()
    assert table[2].startswith("| problem | direction |") and len(table) == 4 + 6
    assert Path("a.png").read_bytes()[:4] == b"\x89PNG"


def test_command_takes_suites_algorithms_and_batch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(bench, "Flush", lambda: lambda: done.append("flush"))
    pack = results.pack
    monkeypatch.setattr(results, "pack", lambda *a: done.append("pack") or pack(*a))
    argv = ["bench", "--suite", "mnist", "--algorithm", "all", "--batch", "2", "--cold", "--packed"]
    assert main([*argv, "--json", "a.json", *QUICK]) == 0
    found = json.loads(Path("a.json").read_text())["results"]
    problems = [p.with_batch(2) for p in bench.suite("mnist")]
    expected = [(str(p), name) for p in problems for name in bench.algorithms(p, "forward")]
    assert [(r["problem"], r["algorithm"]) for r in found] == expected
    assert "cold" in capsys.readouterr().out.splitlines()[0]
    assert done.count("pack") == len(expected) and done.count("flush") > len(expected)


@pytest.mark.parametrize(
    "argv, words",
    [
        ([], "a problem or --suite must be given"),
        (["conv"], "is written like"),
        ([SMALL, "--dir", "up"], "--dir must be of forward, input, weight, or all, got 'up'"),
        ([SMALL, "--algorithm", "magic"], "--algorithm must be of .*direct.*got 'magic'"),
        ([SMALL, "--isa", "z80"], "--isa must be one of .*generic.*got 'z80'"),
        ([SMALL, "--suite", "vgg"], "invalid choice: 'vgg'"),
        ([SMALL, "--seconds", "0"], "must be above 0"),
        ([SMALL, "--cold", "--warm"], "not allowed with"),
    ],
)
def test_wrong_usage(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    import re

    assert main(["bench", *argv]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and re.search(words, err)


def test_a_file_that_cannot_be_written_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", SMALL, "--json", "nowhere/a.json", *QUICK]) == 1
    assert "nowhere/a.json" in capsys.readouterr().err


def test_missing_matplotlib_is_said_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["bench", SMALL, "--roofline", "a.png"]) == 1
    out, err = capsys.readouterr()
    assert "pyconv[plot]" in err and not out


def test_torch_is_never_imported() -> None:
    code = "import sys, pyconv.bench, pyconv.cli.bench; sys.exit('torch' in sys.modules)"
    assert run_python("-c", code).returncode == 0
