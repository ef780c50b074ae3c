"""The tables of queries for a ProductQuantizer: an entry for each group and centroid, exact or rounded."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...lsh.support.backend import backend_of, sum_rows

__all__ = ["exact_tables", "plain_tables", "rounded_tables"]

#: The largest entry of a table of bytes.
_LARGEST_BYTE = 255


def exact_tables(queries: Any, centroids: Any, metric: str) -> Any:
    """Return the part of each group and centroid in the scores, of shape (queries, groups, centroids)."""
    n_groups, width, n_codes = centroids.shape
    xp = backend_of(queries).xp
    tables = xp.zeros((len(queries), n_groups, n_codes), np.float64)
    for j in range(width):
        column = queries[:, j::width, None]
        if metric == "inner_product":
            tables += column * centroids[:, j]
        else:
            tables += (column - centroids[:, j]) ** 2
    return tables


def plain_tables(tables: Any) -> tuple[Any, Any, Any]:
    """Return tables, and for each query the constants 0 and 1 that `rounded_tables` has others for."""
    xp = backend_of(tables).xp
    return tables, xp.zeros(len(tables), np.float64), xp.ones(len(tables), np.float64)


def rounded_tables(tables: Any) -> tuple[Any, Any, Any]:
    """Return tables of bytes, and the constant and the step of each query.

    An exact score is about the constant plus the step times the sum of the rounded entries.
    """
    xp = backend_of(tables).xp
    lows, highs = tables.min(axis=2), tables.max(axis=2)
    steps = (highs - lows).max(axis=1) / _LARGEST_BYTE
    divisors = xp.where(steps > 0.0, steps, 1.0)[:, None, None]
    # The step of tiny tables may be so inexact that a quotient exceeds the largest byte.
    entries = xp.minimum((tables - lows[:, :, None]) / divisors, _LARGEST_BYTE)
    return (entries + 0.5).astype(np.uint8), sum_rows(lows.T), steps
