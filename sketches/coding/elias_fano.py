"""Elias-Fano sequences: sorted integers that are stored in few bits and read in place.

A value takes about two bits beside the logarithm of the mean distance. The `low_bits` lowest bits of each of
n values up to `largest` are stored side by side. The high parts, the other bits, are stored in unary: the
i-th value sets bit ``high part + i``. Select samples, the places of every 128th of these bits, lead to the
i-th value without a scan from the front. The layout is a function of (n, largest) and is not stored::

    | low bits: n * low_bits | high parts: n + (largest >> low_bits) | samples: 32 bits per 128 values |

References: P. Elias, "Efficient storage and retrieval by content and address of static files", JACM 21
(1974); R. Fano, "On the number of bits required to implement an associative memory", MIT (1971).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_int
from ..kernels.elias_fano import (
    OUT_OF_RANGE,
    SAMPLE,
    TOO_LARGE,
    VALID,
    WRONG_NUMBER,
    WRONG_SAMPLE,
    address_of,
    elias_fano_check,
    elias_fano_encode,
    elias_fano_take,
)

__all__ = ["Layout", "check", "encode", "layout", "take"]

#: The largest number of values: a sample has 32 bits.
LARGEST_N = 2**30


class Layout(NamedTuple):
    """The number of low bits, and the places of the parts of a sequence in words from its first."""

    low_bits: int
    high_at: int
    samples_at: int
    n_words: int


def layout(n: int, largest: int) -> Layout:
    """Return the layout of n values up to `largest`, with the number of low bits of the shortest sequence."""
    n, largest = check_int("n", n, 0, LARGEST_N), check_int("largest", largest, 0, 2**64 - 1)
    if n == 0:
        return Layout(0, 0, 0, 0)
    low_bits = min(range(64), key=lambda bits: n * bits + (largest >> bits))
    high_at = -(-n * low_bits // 64)
    samples_at = high_at - (-(n + (largest >> low_bits)) // 64)
    n_samples = (n - 1) // SAMPLE
    return Layout(low_bits, high_at, samples_at, samples_at + (n_samples + 1) // 2)


_FAULTS = {
    WRONG_NUMBER: "the high parts do not hold one bit a value",
    OUT_OF_RANGE: "a high part is over the largest allowed",
    WRONG_SAMPLE: "a select sample is wrong",
    TOO_LARGE: "a value is over the largest allowed",
}


def encode(values: NDArray[np.uint64], largest: int | None = None) -> NDArray[np.uint64]:
    """Return the words of a non-decreasing sequence, in time O(n).

    Parameters
    ----------
    values : (n,) uint64 array, non-decreasing
    largest : int, default the last value
        An upper bound of the values, which is needed again to read the words.

    Returns
    -------
    (layout(n, largest).n_words,) uint64 array

    Raises
    ------
    ValueError
        If the values decrease, or a value is over `largest`.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.sketches.coding.elias_fano import encode, take
    >>> words = encode(np.array([3, 3, 8, 1000], dtype=np.uint64))
    >>> take(words, 4, 1000, np.array([0, 2, 3])).tolist()
    [3, 8, 1000]
    """
    values = np.ascontiguousarray(values, dtype=np.uint64)
    if values.ndim != 1:
        raise ValueError(f"values must be one-dimensional, got {values.ndim} dimensions")
    last = int(values[-1]) if values.size else 0
    plan = layout(values.size, last if largest is None else largest)
    if largest is not None and last > largest:
        raise ValueError(f"values must be at most largest={largest}, got {last}")
    words = np.zeros(plan.n_words, dtype=np.uint64)
    # If no value exceeds the last one, none is written out of bounds, even if the sequence decreases.
    if values.size and int(values.max()) > last:
        at = int(np.flatnonzero(values[1:] < values[:-1])[0]) + 1
        raise ValueError(f"values must not decrease, but values[{at}] < values[{at - 1}]")
    at = elias_fano_encode(
        values, np.uint64(plan.low_bits), np.uint64(plan.high_at), np.uint64(plan.samples_at), words
    )
    if at < values.size:
        raise ValueError(f"values must not decrease, but values[{at}] < values[{at - 1}]")
    return words


def check(words: NDArray[np.uint64], n: int, largest: int) -> None:
    """Refuse words in which a select would leave their bounds or find a value over `largest`.

    The check reads the high parts and the samples (about two bits a value), but not the low bits: values with
    equal high parts may decrease.

    Raises
    ------
    ValueError
        If a select could do so; the message says why.
    """
    plan = layout(n, largest)
    if words.dtype != np.uint64 or words.shape != (plan.n_words,):
        raise ValueError(
            f"words must be uint64 of shape ({plan.n_words},) for n={n} and largest={largest}, "
            f"got {words.dtype} of shape {words.shape}"
        )
    if n == 0:
        return
    places = [np.uint64(place) for place in plan[:3]]
    words = read_only(np.ascontiguousarray(words))
    fault = elias_fano_check(
        words, address_of(words), np.uint64(n), np.uint64(largest), places[0], places[1], places[2]
    )
    if fault != VALID:
        raise ValueError(f"words are damaged: {_FAULTS[fault]}")


def take(
    words: NDArray[np.uint64], n: int, largest: int, indices: NDArray[np.integer[Any]]
) -> NDArray[np.uint64]:
    """Return the values at `indices` of words that `encode` made or `check` accepted; about 15 ns each."""
    plan = layout(n, largest)
    if words.dtype != np.uint64 or words.shape != (plan.n_words,) or not words.flags.c_contiguous:
        raise ValueError(f"words must be those of n={n} and largest={largest}, got {words!r}")
    where = np.ascontiguousarray(indices, dtype=np.int64)
    if where.size and (int(where.min()) < 0 or int(where.max()) >= n):
        raise ValueError(f"indices must be from 0 to {n - 1}, got {where.min()} to {where.max()}")
    out = np.empty(where.size, dtype=np.uint64)
    places = [np.uint64(place) for place in plan[:3]]
    elias_fano_take(address_of(words), places[0], places[1], places[2], where.ravel(), out)
    return out.reshape(where.shape)
