"""The lists of hashes that sketches of few keys keep instead of registers.

A token is what a hash says about the registers of any precision: its first 26 bits, and 1 and the number of
zeros at the end of the other 38 bits, from 1 to 39. Two hashes have one token with probability
``2**-26 / 3``. A token is the integer ``first << 6 | value``, so that 0 is none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ENDS",
    "capacity",
    "check_tokens",
    "count_of_tokens",
    "hashes_of",
    "joined",
    "most_hidden",
    "shared_variance",
]

#: The bits of a hash that a token keeps, and the others.
_KEPT, _OTHERS = 26, 38
#: The pairs of keys of which one pair has one token, on average: sum(4**-k) is 1/3.
_PAIRS = 3.0 * 2.0**_KEPT
#: The other bits of a hash of each value: a one and the zeros behind it, or zeros only.
ENDS: NDArray[np.uint64] = np.array(
    [1 << (value - 1) if 1 <= value <= _OTHERS else 0 for value in range(64)], np.uint64
)
#: Longer lists would make small updates slow: each update passes over the list.
_MOST = 1 << 14


def capacity(n_bytes: int) -> int:
    """Return the tokens of the longest list of a sketch whose registers take `n_bytes`."""
    return min(n_bytes // 4, _MOST)


def hashes_of(tokens: NDArray[np.uint32], ends: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return for each token a hash that has it, and so the register of all hashes that have it.

    `ends` is `ENDS`, where the tokens lie.
    """
    return ((tokens >> 6).astype(np.uint64) << np.uint64(_OTHERS)) | ends[tokens & 63]


def joined(rising: NDArray[np.uint32], tokens: NDArray[np.uint32], xp: Any) -> NDArray[np.uint32]:
    """Return the different tokens of a list of rising ones and of others in any order, as a list."""
    # A stable sort merges two rising parts in one pass. `unique` of NumPy 2.4 takes five times as long.
    found = xp.sort(xp.concatenate([rising, _different(xp.sort(tokens), xp)]), kind="stable")
    return _different(found, xp)


def _different(rising: NDArray[np.uint32], xp: Any) -> NDArray[np.uint32]:
    is_new = xp.ones(rising.size, np.bool_)
    is_new[1:] = rising[1:] != rising[:-1]
    return rising[is_new]


def count_of_tokens(n: int) -> float:
    """Return the estimated number of keys of n tokens: n, and the pairs of keys that have one token."""
    return n + n * (n - 1) / 2.0 / _PAIRS


def most_hidden(n: int, confidence: float) -> int:
    """Return a number of keys that n tokens hide at most, with some probability.

    A key is hidden if a key before it has its token. There are less than one on average, about as many as a
    Poisson variable.
    """
    mean = n * n / 2.0 / _PAIRS
    hidden, chance = 0, math.exp(-mean)
    rest = 1.0 - chance
    while rest > 1.0 - confidence and chance > 0.0:
        hidden += 1
        chance *= mean / hidden
        rest -= chance
    return hidden


def shared_variance(left: float, shared: float, right: float) -> float:
    """Return the variance of the number of shared tokens, as an estimate of the number of shared keys.

    `left` and `right` are the keys of only one of two sets. Two shared keys of one token count as one, and a
    key of each set counts as a shared one if they have one token. Other pairs change nothing.
    """
    return (0.5 * shared * max(shared - 1.0, 0.0) + left * right) / _PAIRS


def check_tokens(tokens: NDArray[np.uint32], n_updates: int) -> None:
    """Raise ValueError if a list, with zeros behind its end, is not one of that many keys."""
    used = int(np.count_nonzero(tokens))
    values, kept = tokens[:used] & 63, tokens[:used]
    if tokens[used:].any() or (kept[1:] <= kept[:-1]).any() or ((values < 1) | (values > _OTHERS + 1)).any():
        raise ValueError("registers must have the rising tokens of hashes, as long as they are not dense")
    if used > n_updates:
        raise ValueError(f"registers must have tokens of at most n_updates, {n_updates}, keys, got {used}")
