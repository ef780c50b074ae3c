"""A sample of cells that depends on no order: those of least key, with their exact counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import Backend, add_at
from ..core.base import StateSpec
from ..counts.key_table import KEYS_BLOCK
from ..kernels import code_counters

__all__ = [
    "SAMPLE",
    "add_cells",
    "count_held",
    "count_held_cells",
    "estimate_n_cells",
    "find_keys",
    "sample_layout",
]

#: Places are filled from the left, in rising order of keys; a count of 0 is an empty one.
SAMPLE = ("sample_keys", "sample_repetitions", "sample_cells", "sample_counts")


def sample_layout(size: int, n_features: int) -> dict[str, StateSpec]:
    """The arrays of a sample of `size` cells."""
    return {
        "sample_keys": StateSpec((size,), "uint64", "cell sample"),
        "sample_repetitions": StateSpec((size,), "int32", "cell sample"),
        "sample_cells": StateSpec((size, n_features), "int32", "cell sample"),
        "sample_counts": StateSpec((size,), "int64", "cell sample"),
    }


def count_held(sample: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of places that are taken."""
    return int((sample["sample_counts"] != 0).sum())


def add_cells(
    backend: Backend,
    sample: Mapping[str, NDArray[Any]],
    keys: NDArray[np.uint64],
    repetitions: NDArray[np.int32],
    cells: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """Return the arrays that change as counts of cells are added to a sample, which stays as it is.

    A cell that belongs to the sample of all has belonged to it from its first row on, and in every part
    where it has rows: for the least keys of all are among the least of any part. So counts are exact.

    Parameters
    ----------
    keys, repetitions, cells : of n cells, in any order and as often as they come
    counts : of shape (n,), or (0,) for 1 each; cells of count 0 are left out
    """
    xp, size, held = backend.xp, len(sample["sample_keys"]), count_held(sample)
    wanted = keys <= sample["sample_keys"][-1] if held == size else xp.ones(keys.size, np.bool_)
    if counts.size:
        wanted &= counts > 0
    places = xp.flatnonzero(wanted)
    found = find_keys(backend, sample["sample_keys"][:held], keys[places])
    known = found >= 0
    totals = sample["sample_counts"].copy()
    if counts.size:
        add_at(totals, found[known], counts[places[known]])
    elif held:
        totals[:held] += xp.bincount(found[known], minlength=held)
    places = places[~known]
    if not places.size:
        return {"sample_counts": totals}
    places = places[xp.argsort(keys[places])]
    rising = keys[places]
    first = xp.flatnonzero(xp.append(xp.ones(1, np.bool_), rising[1:] != rising[:-1]))
    ends = xp.append(first[1:], xp.full(1, rising.size, first.dtype))
    new = (ends - first).astype(np.int64)
    if counts.size:
        sums = xp.cumsum(counts[places])
        new = sums[ends - 1]
        new[1:] -= sums[ends[:-1] - 1]
    places, rising = places[first], rising[first]
    order = xp.argsort(xp.concatenate([sample["sample_keys"][:held], rising]))[:size]
    out = {}
    for name, array, values in (
        ("sample_keys", sample["sample_keys"], rising),
        ("sample_repetitions", sample["sample_repetitions"], repetitions[places]),
        ("sample_cells", sample["sample_cells"], cells[places]),
        ("sample_counts", totals, new),
    ):
        out[name] = xp.zeros_like(array)
        out[name][: order.size] = xp.concatenate([array[:held], values])[order]
    return out


def find_keys(backend: Backend, rising: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return where `keys` are among `rising` ones, -1 for those that are not there."""
    places: NDArray[np.int64] = backend.xp.empty(keys.size, np.int64)
    backend.map_blocks(
        lambda a, b: backend.kernels(code_counters).find_keys(keys, rising, a, b, places),
        keys.size,
        KEYS_BLOCK,
    )
    return places


def count_held_cells(
    backend: Backend, sample: Mapping[str, NDArray[Any]], keys: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Return the counts, shape (n,), that a sample has for the cells of `keys`, 0 for others."""
    held, xp = count_held(sample), backend.xp
    counts: NDArray[np.float64] = xp.zeros(keys.size)
    found = find_keys(backend, sample["sample_keys"][:held], keys)
    known = found >= 0
    counts[known] = sample["sample_counts"][found[known]]
    return counts


def estimate_n_cells(sample: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of different cells that a sample was taken of: exact until it is full.

    Then from the largest of the least keys, which are uniform (Beyer and others 2007).
    """
    held, size = count_held(sample), len(sample["sample_keys"])
    if held < size:
        return held
    return math.ceil(max(1, held - 1) * 2.0**64 / (float(sample["sample_keys"][-1]) + 1.0))
