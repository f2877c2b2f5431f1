"""Random numbers for initialisation and dropout: a seed and a counter.

Every draw takes its own stream of the counter-based generator Philox (Salmon et al., 2011), keyed
by the seed and numbered by the counter: the state is two integers, however much was drawn.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

_lock = threading.Lock()
_seed = 0
_draws = 0


def manual_seed(seed: int) -> None:
    """Start the random numbers of initialisation and dropout anew.

    Parameters
    ----------
    seed : int
        From 0 to 2^64 - 1. At import it is 0.

    Raises
    ------
    TypeError, ValueError
        `seed` is no int, or out of range.

    Examples
    --------
    >>> import pyconv
    >>> pyconv.manual_seed(1)
    """
    global _seed, _draws
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"manual_seed: seed must be an int, got {type(seed).__name__}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"manual_seed: seed must be from 0 to 2^64 - 1, got {seed}")
    with _lock:
        _seed, _draws = int(seed), 0


def get_rng_state() -> np.ndarray:
    """The state of the random numbers, for `set_rng_state`: two uint64, seed and counter.

    Examples
    --------
    >>> import pyconv
    >>> pyconv.manual_seed(7)
    >>> pyconv.get_rng_state()
    array([7, 0], dtype=uint64)
    """
    with _lock:
        return np.array([_seed, _draws], np.uint64)


def set_rng_state(state: Any) -> None:
    """Go on from a state that `get_rng_state` returned.

    Raises
    ------
    TypeError, ValueError
        `state` is no such array.
    """
    global _seed, _draws
    if not isinstance(state, np.ndarray) or state.dtype != np.uint64:
        raise TypeError("set_rng_state: state must be an array of uint64 from get_rng_state")
    if state.shape != (2,):
        raise ValueError(f"set_rng_state: state must have shape (2,), got {state.shape}")
    with _lock:
        _seed, _draws = int(state[0]), int(state[1])


def next_generator() -> np.random.Generator:
    """NumPy's interface to the next stream."""
    global _draws
    with _lock:
        seed, number = _seed, _draws
        _draws += 1
    # The counter has 256 bits; a stream has the lower 128 of them to itself.
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, number, 0]))


def next_seed() -> int:
    """A seed for an operation that counts its own random numbers, such as dropout."""
    return int(next_generator().integers(2**63))
