"""Check the arrays of a graph of near neighbours, which files may have changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.threads import cut_range
from .graph_nodes import MOST_ROWS, NUMBERS, number_distinct

__all__ = ["check_nodes"]

#: How far the lengths of unit rows may be from 1, as they are rounded to float32.
_ROUNDING = 1e-5


def check_nodes(arrays: Mapping[str, NDArray[Any]], widths: Mapping[str, int], metric: str) -> None:
    """Raise ValueError if arrays cannot be the `Nodes` of a graph.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        The fields of `Nodes`, right in dtype and number of dimensions.
    widths : mapping of str to int
        The number of columns of each matrix.
    metric : str
        The distance by which rows are compared.
    """
    rows, nodes = arrays["rows"], arrays["nodes"]
    m, n = len(rows), len(nodes)
    for name, width in widths.items():
        if arrays[name].shape != (m, width):
            raise ValueError(f"{name} must have shape ({m}, {width})")
    _check_rows(rows, metric)
    if n > MOST_ROWS or (n == 0) != (m == 0):
        raise ValueError(f"there must be up to {MOST_ROWS:,} rows, and nodes if there are rows")
    if n:
        first = np.unique(nodes, return_index=True)
        if first[0].size != m or first[0][0] != 0 or first[0][-1] != m - 1 or (np.diff(first[1]) < 0).any():
            raise ValueError(f"nodes must be the numbers from 0 to {m - 1}, in the order of first rows")
    for name in ("neighbours", "long_links"):
        links = arrays[name]
        if links.size and (int(links.min()) < -1 or int(links.max()) >= m):
            raise ValueError(f"{name} must be nodes from 0 to {m - 1}, or -1")
        if (links == np.arange(m)[:, None]).any():
            raise ValueError(f"{name} must be other nodes")
        if ((links[:, :-1] < 0) & (links[:, 1:] >= 0)).any():
            raise ValueError(f"{name} must have -1 only at the end")
    if _has_repeated_entries(arrays["neighbours"]):
        raise ValueError("neighbours must be distinct")


def _check_rows(rows: NDArray[np.float32], metric: str) -> None:
    most = 1.0 + 1e-6 if metric == "angle" else 4e18
    if not (np.abs(rows) <= most).all():
        raise ValueError(f"rows must be finite, and at most {most:g}")
    if not _are_distinct(rows):
        raise ValueError("rows must be distinct, and have no negative zeros")
    if metric == "angle" and not _have_unit_length(rows):
        raise ValueError("rows must have length 1, or be zeros, where angles are compared")


def _are_distinct(rows: NDArray[np.float32]) -> bool:
    """Return True if no two rows are equal, and there are no negative zeros, as nodes have their rows."""
    groups = int(number_distinct(rows).max(initial=-1)) + 1
    return groups == len(rows) and not np.signbit(rows[rows == 0.0]).any()


def _have_unit_length(rows: NDArray[np.float32]) -> bool:
    """Return True if all rows have length 1, but for rounding, or are zeros."""
    for first, last in cut_range(0, len(rows), max(1, NUMBERS // max(1, rows.shape[1]))):
        lengths = np.sqrt((rows[first:last].astype(np.float64) ** 2).sum(axis=1))
        if not ((lengths == 0.0) | (np.abs(lengths - 1.0) <= _ROUNDING)).all():
            return False
    return True


def _has_repeated_entries(lists: NDArray[np.int32]) -> bool:
    """Return True if a list has a node twice."""
    for first, last in cut_range(0, len(lists), max(1, NUMBERS // max(1, lists.shape[1]))):
        ordered = np.sort(lists[first:last], axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            return True
    return False
