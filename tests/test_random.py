"""`pyconv.random`: a seed and a counter decide everything."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import pyconv
from pyconv import functional as F  # noqa: N812
from pyconv import nn
from pyconv.random import next_generator, next_seed


@pytest.fixture(autouse=True)
def _state_as_before():
    before = pyconv.get_rng_state()
    yield
    pyconv.set_rng_state(before)


def draws():
    """Everything that takes random numbers, as one array."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 2), nn.Linear(5, 6))
    w = np.empty((7, 5))
    arrays = [p.data for p in model.parameters()]
    for name in ("uniform_", "normal_", "trunc_normal_", "orthogonal_", "kaiming_normal_"):
        arrays.append(getattr(nn.init, name)(w).copy())
    arrays.append(F.dropout(np.ones((2, 3, 40, 40)), 0.5).data)
    arrays.append(nn.Dropout(0.3)(np.ones(100)).data)
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays])


def test_the_same_seed_gives_the_same():
    pyconv.manual_seed(11)
    a = draws()
    b = draws()
    pyconv.manual_seed(11)
    c = draws()
    pyconv.manual_seed(12)
    d = draws()
    np.testing.assert_array_equal(a, c)
    assert (a != b).mean() > 0.5
    assert (a != d).mean() > 0.5


def test_the_number_of_threads_does_not_matter(threads):
    pyconv.manual_seed(5)
    found = draws(), F.dropout(np.ones((8, 16, 32, 32), np.float32), 0.5).data.sum()
    pyconv.set_num_threads(1)
    pyconv.manual_seed(5)
    np.testing.assert_array_equal(found[0], draws())
    assert F.dropout(np.ones((8, 16, 32, 32), np.float32), 0.5).data.sum() == found[1]


def test_the_layout_does_not_matter():
    x = np.ones((2, 3, 4, 5))
    for other in (x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), np.asfortranarray(x)):
        pyconv.manual_seed(1)
        a = F.dropout(x, 0.5).data
        pyconv.manual_seed(1)
        np.testing.assert_array_equal(F.dropout(other, 0.5).data, a)


def test_the_global_numpy_state_has_no_part():
    pyconv.manual_seed(3)
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    a = draws()
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(1)
    pyconv.manual_seed(3)
    np.testing.assert_array_equal(draws(), a)


def test_states():
    pyconv.manual_seed(2**64 - 1)
    draws()
    state = pyconv.get_rng_state()
    assert state.dtype == np.uint64
    assert state[0] == 2**64 - 1
    held = state.copy()
    a = draws()
    np.testing.assert_array_equal(state, held)  # a copy, not a view
    for saved in (state, copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        pyconv.set_rng_state(saved)
        np.testing.assert_array_equal(draws(), a)
    pyconv.manual_seed(np.uint32(4))
    assert pyconv.get_rng_state().tolist() == [4, 0]


def test_every_draw_has_a_stream_of_its_own():
    pyconv.manual_seed(0)
    first = [next_generator().random(4).tolist() for _ in range(50)]
    assert len(np.unique(first)) == 200
    pyconv.set_rng_state(np.array([0, 7], np.uint64))  # the seventh, without the six before
    assert next_generator().random(4).tolist() == first[7]
    # A long draw does not run into the next one.
    pyconv.manual_seed(0)
    long = next_generator().random(100_000)
    assert not np.isin(first[1], long).any()
    pyconv.manual_seed(0)
    seeds = [next_seed() for _ in range(1000)]
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_concurrent_draws_take_different_streams():
    pyconv.manual_seed(0)
    found, lock = [], threading.Lock()

    def work():
        mine = [next_seed() for _ in range(50)]
        with lock:
            found.extend(mine)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    pyconv.manual_seed(0)
    assert sorted(found) == sorted(next_seed() for _ in range(200))


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (1.0, TypeError, "manual_seed: seed must be an int, got float"),
        (True, TypeError, "manual_seed: seed must be an int, got bool"),
        ("1", TypeError, "manual_seed: seed must be an int, got str"),
        (None, TypeError, "manual_seed: seed must be an int, got NoneType"),
        (-1, ValueError, "manual_seed: seed must be from 0 to 2.64 - 1, got -1"),
        (2**64, ValueError, "manual_seed: seed must be from 0"),
    ],
)
def test_bad_seeds(seed, error, message):
    pyconv.manual_seed(9)
    with pytest.raises(error, match=f"^{message}"):
        pyconv.manual_seed(seed)
    assert pyconv.get_rng_state().tolist() == [9, 0]


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ([1, 2], TypeError, "state must be an array of uint64 from get_rng_state"),
        (np.array([1, 2]), TypeError, "uint64"),
        (np.zeros(3, np.uint64), ValueError, r"state must have shape \(2,\), got \(3,\)"),
        (np.zeros((2, 1), np.uint64), ValueError, "shape"),
    ],
)
def test_bad_states(state, error, message):
    pyconv.manual_seed(9)
    with pytest.raises(error, match=f"^set_rng_state: .*{message}"):
        pyconv.set_rng_state(state)
    assert pyconv.get_rng_state().tolist() == [9, 0]
