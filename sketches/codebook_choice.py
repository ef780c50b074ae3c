"""Which values get words of their own: the choice that takes the fewest bytes in all."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..lsh import elias_fano
from ..lsh.prefix_code import sorted_code_lengths

__all__ = ["FIELDS", "choose"]

#: The numbers of a codebook's header.
FIELDS = ("n_keys", "base", "step", "largest", "has_escape", "escape_length", "raw_base", "raw_bits")
#: What the structure that holds the bits costs beside them.
_OVERHEAD = 1.02

_U = np.uint64


def choose(
    values: NDArray[np.uint64], counts: NDArray[np.int64], limit: int, *, escapes: bool
) -> dict[str, NDArray[Any]]:
    """The arrays of the codebook for ascending values, with rare ones escaped where that takes less.

    One number of escaped values after another is tried: an optimal code each, and the codebook's bytes
    from its layout alone. Time O(D log D), most of it the sort.
    """
    if values.size == 0:
        return _arrays(values, np.zeros(0, dtype=np.uint8), 0, 1, None)
    order = np.argsort(counts, kind="stable")
    ascending = counts[order]
    step = int(_common_step(values))
    best, best_cost = None, float("inf")
    low, high, seen = 2**64, -1, 0
    for n_escaped in _escape_choices(ascending, escapes):
        if n_escaped > seen:
            more = values[order[seen:n_escaped]]
            low, high, seen = min(low, int(more.min())), max(high, int(more.max())), n_escaped
        if values.size - n_escaped + (n_escaped > 0) > 2**limit:
            continue
        if n_escaped and high == low:
            # A single value: it may as well have the word itself.
            continue
        plan = _Plan(n_escaped, low, (high - low) // step if n_escaped else 0)
        lengths, escape_length = plan.lengths(ascending, limit)
        weight = int(ascending[:n_escaped].sum())
        bits = float(ascending[n_escaped:] @ lengths.astype(np.int64))
        bits += weight * (escape_length + plan.raw_bits)
        kept = order[n_escaped:]
        cost = _OVERHEAD * bits / 8 + _packed_bytes(values, kept, lengths, escape_length, n_escaped, step)
        if cost < best_cost:
            best, best_cost = plan, cost
    if best is None:
        raise ValueError(f"values must be at most 2**limit = {2**limit} for limit={limit}, got {values.size}")
    lengths, escape_length = best.lengths(ascending, limit)
    by_value = np.zeros(values.size, dtype=np.uint8)
    by_value[order[best.n_escaped :]] = lengths
    kept = np.sort(order[best.n_escaped :])
    escape = (escape_length, best.raw_base, best.raw_bits) if best.n_escaped else None
    return _arrays(values[kept], by_value[kept], int(counts.sum()), step, escape)


class _Plan(NamedTuple):
    """One choice of what to escape: the `n_escaped` values of the lowest counts."""

    n_escaped: int
    raw_base: int
    raw_largest: int

    @property
    def raw_bits(self) -> int:
        return self.raw_largest.bit_length()

    def lengths(self, ascending: NDArray[np.int64], limit: int) -> tuple[NDArray[np.uint8], int]:
        """Lengths of the words of the others, in ascending order of their counts, and of the escape's."""
        kept = ascending[self.n_escaped :]
        if not self.n_escaped:
            return sorted_code_lengths(kept, limit), 0
        weight = ascending[: self.n_escaped].sum()
        at = int(np.searchsorted(kept, weight))
        lengths = sorted_code_lengths(np.insert(kept, at, weight), limit)
        return np.delete(lengths, at), int(lengths[at])


def _escape_choices(ascending: NDArray[np.int64], allowed: bool) -> list[int]:
    """How many of the rarest values to escape: those of counts up to 0, 1, 2, 3, 7, 15 ..., or all."""
    if not allowed:
        return [0]
    bounds = [0, 1, 2, *((1 << k) - 1 for k in range(2, int(ascending[-1]).bit_length()))]
    choices = set(np.searchsorted(ascending, bounds, side="right").tolist())
    return sorted(choices | {ascending.size})


def _packed_bytes(
    values: NDArray[np.uint64],
    kept: NDArray[np.int64],
    lengths: NDArray[np.uint8],
    escape_length: int,
    n_escaped: int,
    step: int,
) -> int:
    """Bytes of the arrays of the codebook in which these values have words of these lengths."""
    longest = escape_length
    total = 8 * len(FIELDS)
    if kept.size:
        longest = max(longest, int(lengths.max()))
        some = values[kept]
        largest = (int(some.max()) - int(some.min())) // step
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
    """The arrays of the code of ascending values; `escape` is its length, base and raw bits."""
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
    header = [n_keys, base, step, largest, escape is not None, escape_length, raw_base, raw_bits]
    return {
        "header": np.array(header, dtype=np.uint64),
        "class_sizes": sizes.astype(np.uint32),
        "classes": np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64),
    }


@njit(cache=True, nogil=True)
def _common_step(values):  # type: ignore[no-untyped-def]
    """Greatest common divisor of the distances of ascending values; 1 for fewer than two."""
    step = _U(0)
    for i in range(1, values.size):
        a, b = values[i] - values[i - 1], step
        while b > _U(0):
            a, b = b, a % b
        step = a
        if step == _U(1):
            return step
    return max(step, _U(1))
