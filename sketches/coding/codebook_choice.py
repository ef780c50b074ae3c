"""The choice of the values that get words of their own: the codebook and all words take the fewest bytes."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.prefix_code import common_divisor
from . import elias_fano
from .prefix_code import sorted_code_lengths

__all__ = ["Header", "Others", "choose", "common_step"]

#: Bits that a ribbon takes for each bit of a word.
_OVERHEAD = 1.02

_U = np.uint64


class Header(NamedTuple):
    """The numbers of a codebook, in their order.

    Values with words of their own are ``base + step * q`` with q from 0 to `largest`; escaped values are
    ``raw_base + step * raw``.

    Attributes
    ----------
    n_keys : int
        The sum of the counts that the codebook was built for.
    base, step, largest : int
    has_escape : int
        1 if there is an escape, else 0.
    escape_length : int
        The length of the escape's word.
    raw_base : int
    raw_bits : int
        The number of raw bits that follow an escape.
    """

    n_keys: int
    base: int
    step: int
    largest: int
    has_escape: int
    escape_length: int
    raw_base: int
    raw_bits: int


class Others(NamedTuple):
    """Rare values beyond those that are counted one by one; a code has to escape them.

    Attributes
    ----------
    n : int
        Number of keys that have these values.
    low, high : int
        The lowest and the highest of the values.
    step : int
        A common divisor of the distances between the values; 0 for a single value.
    """

    n: int
    low: int
    high: int
    step: int

    def merged(self, other: Others) -> Others:
        """Return both together."""
        return Others(
            self.n + other.n,
            min(self.low, other.low),
            max(self.high, other.high),
            math.gcd(self.step, other.step, self.low - other.low),
        )


def choose(
    values: NDArray[np.uint64],
    counts: NDArray[np.int64],
    limit: int,
    *,
    escapes: bool,
    others: Others | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the arrays of the smallest codebook for ascending values.

    Several numbers of escaped values are tried, each with an optimal code, in the order of a lower bound of
    their cost, which follows from the entropy. The search ends when no bound is below the best cost. Time
    O(D log D) for the sort and about O(D) for a code.
    """
    if values.size == 0:
        assert others is None
        return _arrays(values, np.zeros(0, dtype=np.uint8), 0, 1, None)
    order = np.argsort(counts, kind="stable")
    ascending = counts[order]
    step = common_step(values)
    if others is not None:
        step = math.gcd(step, others.step, others.low - int(values[0]))
    step = max(step, 1)
    plans = _plans(values[order], ascending, step, limit, escapes, others)
    best, best_cost, code = None, float("inf"), (np.zeros(0, dtype=np.uint8), 0)
    for plan in sorted(plans, key=lambda plan: (plan.least_cost, plan.n_escaped)):
        if plan.least_cost >= best_cost:
            break
        lengths, escape_length = plan.lengths(ascending, limit)
        bits = float(ascending[plan.n_escaped :] @ lengths.astype(np.int64))
        bits += plan.weight * (escape_length + plan.raw_bits)
        kept = values[order[plan.n_escaped :]]
        cost = _OVERHEAD * bits / 8 + _packed_bytes(kept, lengths, escape_length, step)
        if cost < best_cost:
            best, best_cost, code = plan, cost, (lengths, escape_length)
    if best is None:
        raise ValueError(f"values must be at most 2**limit = {2**limit} for limit={limit}, got {values.size}")
    lengths, escape_length = code
    by_value = np.zeros(values.size, dtype=np.uint8)
    by_value[order[best.n_escaped :]] = lengths
    kept = np.sort(order[best.n_escaped :])
    escape = (escape_length, best.raw_base, best.raw_bits) if best.weight else None
    n_keys = int(counts.sum()) + (others.n if others else 0)
    return _arrays(values[kept], by_value[kept], n_keys, step, escape)


class _Plan(NamedTuple):
    """One choice of the values to escape: the `n_escaped` values of the lowest counts, and the others.

    Attributes
    ----------
    n_escaped : int
    weight : int
        The sum of the counts of all escaped values.
    raw_base, raw_bits : int
        As in the `Header`.
    least_cost : float
        A lower bound of all bytes.
    """

    n_escaped: int
    weight: int
    raw_base: int
    raw_bits: int
    least_cost: float

    def lengths(self, ascending: NDArray[np.int64], limit: int) -> tuple[NDArray[np.uint8], int]:
        """Return the lengths of the words by ascending counts, and the length of the escape's word."""
        kept = ascending[self.n_escaped :]
        if not self.weight:
            return sorted_code_lengths(kept, limit), 0
        at = int(np.searchsorted(kept, self.weight))
        lengths = sorted_code_lengths(np.insert(kept, at, self.weight), limit)
        return np.delete(lengths, at), int(lengths[at])


def _plans(
    values: NDArray[np.uint64],
    ascending: NDArray[np.int64],
    step: int,
    limit: int,
    escapes: bool,
    others: Others | None,
) -> list[_Plan]:
    """Return the choices to escape no value, values of counts up to 1, 2, 3, 7, 15 ..., and all values."""
    low, high, weight = (others.low, others.high, others.n) if others else (2**64, 0, 0)
    total, n = int(ascending.sum()) + weight, ascending.size
    bounds = [0, 1, 2, *((1 << k) - 1 for k in range(2, int(ascending[-1]).bit_length()))] if escapes else [0]
    choices = sorted({*np.searchsorted(ascending, bounds, side="right").tolist(), *([n] if escapes else [])})
    # The information in bits of the keys between one choice and the next.
    parts = []
    for start, stop in itertools.pairwise([*choices, n]):
        part = ascending[start:stop]
        parts.append(float(part @ np.log2(total / part)))
    plans = []
    for i, n_escaped in enumerate(choices):
        if i:
            more = slice(choices[i - 1], n_escaped)
            low, high = min(low, int(values[more].min())), max(high, int(values[more].max()))
            weight += int(ascending[more].sum())
        if n - n_escaped + (weight > 0) > 2**limit or (weight and low == high and not others):
            # There are too many words; or there is a single value, which may as well have a word of its own.
            continue
        raw_bits = max(1, ((high - low) // step).bit_length()) if weight else 0
        bits = sum(parts[i:]) + (weight * (np.log2(total / weight) + raw_bits) if weight else 0.0)
        # Classes take at least a bit a value. The bound is a little lower, because sums are rounded.
        least = (_OVERHEAD * bits + n - n_escaped) / 8 * (1 - 1e-9)
        plans.append(_Plan(n_escaped, weight, low if weight else 0, raw_bits, least))
    return plans


def _packed_bytes(kept: NDArray[np.uint64], lengths: NDArray[np.uint8], escape_length: int, step: int) -> int:
    """Return the bytes of the codebook in which these values have words of these lengths."""
    longest = escape_length
    total = 8 * len(Header._fields)
    if kept.size:
        longest = max(longest, int(lengths.max()))
        largest = (int(kept.max()) - int(kept.min())) // step
        for n in np.bincount(lengths).tolist():
            if n:
                total += 8 * elias_fano.layout(n, largest - (n - 1)).n_words
    return total + 4 * (longest + 1)


def _arrays(
    values: NDArray[np.uint64],
    lengths: NDArray[np.uint8],
    n_keys: int,
    step: int,
    escape: tuple[int, int, int] | None,
) -> dict[str, NDArray[Any]]:
    """Return the arrays of the code of ascending values; `escape` is its length, raw base and raw bits."""
    escape_length, raw_base, raw_bits = escape or (0, 0, 0)
    base = int(values[0]) if values.size else 0
    largest = (int(values[-1]) - base) // step if values.size else 0
    sizes = np.bincount(lengths, minlength=escape_length + 1)
    parts = []
    for length, n in enumerate(sizes.tolist()):
        if n:
            q = (values[lengths == length] - _U(base)) // _U(step)
            parts.append(elias_fano.encode(q - np.arange(n, dtype=np.uint64), largest - (n - 1)))
    if escape:
        sizes[escape_length] += 1
    header = Header(n_keys, base, step, largest, escape is not None, escape_length, raw_base, raw_bits)
    return {
        "header": np.array(header, dtype=np.uint64),
        "class_sizes": sizes.astype(np.uint32),
        "classes": np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64),
    }


def common_step(values: NDArray[np.uint64]) -> int:
    """Return the greatest common divisor of the distances of ascending values; 0 for fewer than two."""
    return int(common_divisor(values))
