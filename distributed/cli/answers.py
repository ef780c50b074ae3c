"""Print what sketches of keys answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import readable
from ...lsh.hashing.keys import Keys
from ...sketches import HeavyHitters, MinHashSketch
from .messages import percent

__all__ = ["cardinality_error", "key_text", "print_counts", "print_distinct", "print_top", "typed_keys"]


def typed_keys(texts: Sequence[str]) -> Keys:
    """Return arguments of the command as keys; those that are not UTF-8 are the bytes that were typed."""
    keys = [text.encode(errors="surrogateescape") for text in texts]
    ends = np.cumsum([0, *map(len, keys)], dtype=np.int64)
    return Keys.of_text(np.frombuffer(b"".join(keys), dtype=np.uint8), ends)


def key_text(key: int | str | bytes) -> str:
    """Return a key as one line for any terminal."""
    if isinstance(key, bytes):
        key = key.decode(errors="backslashreplace")
    return readable(str(key))


def cardinality_error(sketch: MinHashSketch) -> float:
    """Return the standard error of the cardinality of a sketch of one set.

    The notes of `MinHashSketch` give its estimate n the variance ``n**2 / f``, where f is the number of full
    bins. That is for a number of keys which is random itself, by Poisson's law, with the variance n. A number
    of keys that is fixed has the difference of both, which is far less if most bins are empty.
    """
    minima = sketch.state.arrays["minima"]
    n, full = float(sketch.cardinality()[0]), int(np.count_nonzero(minima != np.iinfo(np.uint32).max))
    return math.sqrt(max(0.0, n * n / full - n)) if full else 0.0


def print_distinct(sketch: MinHashSketch) -> None:
    """Print the number of different keys of a sketch of one set, and its standard error."""
    n, error = float(sketch.cardinality()[0]), cardinality_error(sketch)
    share = f" ({percent(error / n)})" if n else ""
    shown = f"{error:,.0f}" if error >= 10 else f"{error:.1f}"
    print(f"different keys   about {n:,.0f}, with a standard error of {shown}{share}")


def print_counts(found: list[tuple[Any, int]], total: int) -> None:
    """Print the table of keys, their counts and their shares of the total."""
    if found:
        print(f"{'count':>12}  {'share':>8}  key")
    for key, count in found:
        print(f"{count:>12,}  {percent(count / total):>8}  {key_text(key)}")


def print_top(sketch: HeavyHitters, k: int, hint: str = "") -> None:
    """Print the table of the k most frequent keys, and the hint if there are fewer and other keys."""
    found, total = sketch.top(), sketch.total
    print_counts(found[:k], total)
    if len(found) > k:
        print(f"{'':>24}... and {len(found) - k:,} more")
    print(
        f"frequent keys    {len(found):,}: all that make up more than {percent(sketch.frequency)} of the keys"
    )
    if hint and len(found) < k and sum(count for _, count in found) < total:
        print(f"                 {hint}")
