"""Records of the tokens of a cache: positions, keys, values and importances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ..core.state import Arrays

__all__ = ["best_tokens", "count_tokens", "union", "used_rows"]


def count_tokens(positions: NDArray[np.int64]) -> int:
    """Return the number of tokens that are kept, which come first."""
    return int(np.count_nonzero(positions >= 0))


def used_rows(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return the parts of the arrays that are used: the records of the tokens that are kept."""
    n = count_tokens(arrays["positions"])
    return {name: array[:n] for name, array in arrays.items() if name != "n_updates"}


def union(parts: list[Arrays]) -> Arrays:
    """Return the records of parts in the order of positions, each position once, with its largest importance.

    IncompatibleSketchError if two different tokens have one position.
    """
    records = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((-records["importances"], records["positions"]))
    records = {name: array[order] for name, array in records.items()}
    positions = records["positions"]
    again = 1 + np.flatnonzero(np.diff(positions) == 0)
    if not again.size:
        return records
    for array in records.values():
        if array.ndim == 1:
            continue
        differs = (array[again] != array[again - 1]).any(axis=1)
        if differs.any():
            raise IncompatibleSketchError(
                f"positions must be those of different tokens, got {positions[again[differs][0]]} for two "
                "tokens"
            )
    return {name: np.delete(array, again, axis=0) for name, array in records.items()}


def best_tokens(records: Mapping[str, NDArray[Any]], size: int, sinks: int, window: int) -> NDArray[np.int64]:
    """Return the rows, rising, of the `size` best of some records, or of all if there are no more.

    These are the first `sinks`, the latest `window`, and the most important others. At equal importance later
    tokens are better.
    """
    n = len(records["positions"])
    if n <= size:
        return np.arange(n)
    others = np.arange(sinks, n - window)
    order = np.lexsort((-others, -records["importances"][others]))
    best = np.sort(others[order[: size - sinks - window]])
    return np.concatenate([np.arange(sinks), best, np.arange(n - window, n)])
