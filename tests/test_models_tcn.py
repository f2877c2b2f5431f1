"""`models.tcn`: it sees the past alone, and as much of it as its dilations say."""

from __future__ import annotations

import numpy as np
import pytest

import pyconv
from pyconv import models, nn, reference

SHAPES = [(1, 2, 2), (3, 2, 2), (4, 3, 2), (2, 5, 3), (5, 2, 1), (3, 1, 2)]  # depth, kernel, base


def field(depth: int, kernel: int, base: int) -> int:
    return 1 + 2 * (kernel - 1) * sum(base**level for level in range(depth))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("depth", "kernel", "base"), SHAPES)
def test_the_past_doesnt_depend_on_the_future(depth, kernel, base, training, rng) -> None:
    model = models.tcn(2, 3, 5, depth, kernel, base).train(training)
    x = rng.standard_normal((2, 3, 71)).astype(np.float32)
    y = model(x).numpy()
    for t in (0, 1, 30, 70):
        other = x.copy()
        other[:, :, t:] = rng.standard_normal(other[:, :, t:].shape)
        found = model(other).numpy()
        assert np.array_equal(found[:, :, :t], y[:, :, :t])  # the same bits
        assert (found[:, :, t] != y[:, :, t]).any()
        # Nor on how many steps there are.
        assert np.array_equal(model(x[:, :, : t + 1]).numpy(), y[:, :, : t + 1])


@pytest.mark.parametrize(("depth", "kernel", "base"), SHAPES)
def test_the_gradient_reaches_as_far_as_the_receptive_field(depth, kernel, base, rng) -> None:
    model = models.tcn(1, 2, 4, depth, kernel, base).double()
    for parameter in model.parameters():  # so that no ReLU closes a way
        parameter.data[...] = rng.random(parameter.shape) + 0.1
    size = field(depth, kernel, base)
    x = pyconv.Tensor(rng.random((1, 2, size + 20)), requires_grad=True)
    model(x)[0, 0, size + 9].sum().backward()
    reached = np.flatnonzero(np.abs(x.grad.numpy()[0]).sum(0))
    # With two cells or more a kernel no step within is skipped: the first block has dilation 1.
    assert reached.tolist() == list(range(10, size + 10))
    assert pyconv.summary(model, (1, 2, size + 20)).layers[-1].receptive_field == (size,)


def test_it_is_what_the_paper_draws(rng) -> None:
    """In plain calls: two causal convolutions with ReLUs, the input added, a ReLU."""
    model = models.tcn(2, 3, 4, depth=3, kernel_size=2).double().eval()
    for parameter in model.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape) / 2
    x = rng.standard_normal((2, 3, 20))

    def causal(x, layer, dilation):
        padded = np.pad(x, ((0, 0), (0, 0), (dilation, 0)))
        weight, bias = layer.weight.numpy(), layer.bias.numpy()
        return np.maximum(reference.conv1d(padded, weight, bias, dilation=dilation), 0)

    y = x
    for level in range(3):
        block = model[2 * level]
        inner = causal(causal(y, block.body[0], 2**level), block.body[2], 2**level)
        if level == 0:
            y = reference.conv1d(y, block.shortcut.weight.numpy(), block.shortcut.bias.numpy())
        else:
            assert block.shortcut is None
        y = np.maximum(inner + y, 0)
    y = reference.conv1d(y, model[-1].weight.numpy(), model[-1].bias.numpy())
    np.testing.assert_allclose(model(x).numpy(), y, rtol=1e-12, atol=1e-12)


def test_parameters_grow_with_the_logarithm_of_the_field() -> None:
    """A block has the same number, whatever its dilation."""

    def count(depth: int) -> int:
        return sum(p.data.size for p in models.tcn(1, 1, 8, depth, 3).parameters())

    counts = [count(depth) for depth in range(2, 7)]
    assert set(np.diff(counts)) == {2 * (3 * 8 * 8 + 8)}
    fields = [field(depth, 3, 2) for depth in range(2, 7)]
    assert all(2 * a < b + 4 for a, b in zip(fields, fields[1:], strict=False))


def test_dropout_is_after_each_dilated_convolution(rng) -> None:
    model = models.tcn(1, 1, 4, depth=2, dropout=0.5)
    kinds = [type(m) for m in model[0].body]
    assert kinds == 2 * [nn.Conv1d, nn.ReLU, nn.Dropout]
    x = rng.standard_normal((1, 1, 30)).astype(np.float32)
    assert (model(x).numpy() != model(x).numpy()).any()
    model.eval()
    assert np.array_equal(model(x).numpy(), model(x).numpy())


def test_it_learns_to_remember(rng) -> None:
    """The input of seven steps ago: a field of 13 steps has it, one of 5 doesn't."""
    x = rng.standard_normal((16, 1, 64)).astype(np.float32)
    wanted = np.zeros_like(x)
    wanted[:, :, 7:] = x[:, :, :-7]
    losses = []
    for depth in (1, 2):
        pyconv.manual_seed(0)
        model = models.tcn(depth=depth, width=8)
        optimizer = pyconv.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(150):
            optimizer.zero_grad()
            loss = pyconv.functional.mse_loss(model(x), wanted)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5 > 0.1 > losses[1]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"num_classes": 0}, ValueError, "tcn: num_classes must be at least 1, got 0"),
        ({"in_channels": 1.0}, TypeError, "in_channels must be an int"),
        ({"width": 0}, ValueError, "width must be at least 1"),
        ({"depth": 0}, ValueError, "depth must be at least 1"),
        ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1"),
        ({"dilation_base": True}, TypeError, "dilation_base must be an int"),
        ({"dropout": 2}, ValueError, "dropout must be from 0.0 to 1.0"),
        ({"depth": 70}, ValueError, r"dilation_base\^\(depth - 1\) must be at most"),
    ],
)
def test_it_refuses(options, error, match) -> None:
    with pytest.raises(error, match=match):
        models.tcn(**options)
