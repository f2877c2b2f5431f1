"""Philox4x32-10, random numbers by counting (Salmon, Moraes, Dror and Shaw, 2011).

Four 32-bit words come out of a counter of four words and a key of two: any of them can be had
without those before it, so that the numbers depend on nothing but the seed and the position.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt 3 - 1, added to the key every round


def philox4x32_10(counter: Sequence[np.ndarray], key: tuple[int, int]) -> list[np.ndarray]:
    """Four arrays of words from four arrays of counter words, all uint64 below 2^32."""
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    for turn in range(10):
        k0, k1 = (np.uint64((k + turn * w) & 0xFFFFFFFF) for k, w in zip(key, _WEYL, strict=True))
        product0, product1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> _SHIFT) ^ c1 ^ k0,
            product1 & _LOW,
            (product0 >> _SHIFT) ^ c3 ^ k1,
            product0 & _LOW,
        )
    return [c0, c1, c2, c3]


def random_words(count: int, seed: int) -> np.ndarray:
    """Element i takes word i % 4 of the counter (low32(i // 4), high32(i // 4), 0, 0).

    The key is (low32(seed), high32(seed)).
    """
    block = np.arange(-(-count // 4), dtype=np.uint64)
    zero = np.zeros_like(block)
    words = philox4x32_10(
        (block & _LOW, block >> _SHIFT, zero, zero), (seed & 0xFFFFFFFF, seed >> 32)
    )
    return np.stack(words, axis=-1).ravel()[:count]
