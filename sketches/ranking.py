"""Exact re-ranking: how the rows that candidates stand for are checked and compared, for each metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..lsh.backend import backend_of
from ..lsh.family import HashFamily
from ..lsh.rank_kernels import ANGLE, CITYBLOCK, EUCLIDEAN, INNER_PRODUCT
from ..lsh.validation import check_dense

__all__ = ["Ranker", "ranker"]

_VECTORS = {
    "angle": ANGLE,
    "euclidean": EUCLIDEAN,
    "cityblock": CITYBLOCK,
    "inner_product": INNER_PRODUCT,
}


class Ranker(NamedTuple):
    """What is ready to rank candidates of some queries."""

    #: Rows there are: ids lie below.
    n_rows: int
    #: rank(candidates, offsets, sizes, k, first, ids, distances): see `rank_vectors`.
    rank: Callable[..., int]


def ranker(family: HashFamily, Q: Any, rows: Any) -> Ranker:
    """Check queries and rows, which are looked at only where they are compared.

    Raises
    ------
    TypeError, ValueError
        If they are not of the form that the family's metric takes.
    """
    metric = getattr(family, "metric", None)
    if metric in _VECTORS:
        return _of_vectors(_VECTORS[metric], Q, rows)
    raise TypeError(
        f"{type(family).__name__} has no distance to rank rows by (metric {metric!r}); use query, which counts"
    )


def _dense_rows(rows: Any, width: int) -> NDArray[Any]:
    """`rows` as a C-contiguous matrix, not to be written to; whether they are finite is not looked at."""
    if hasattr(rows, "tocsr"):
        raise TypeError("rows must be a dense array, got a sparse one; pass rows.toarray()")
    array = np.asarray(rows)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"rows must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"rows must have shape (n, {width}), as wide as the queries, got {array.shape}")
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        small = array.dtype.kind == "b" or array.dtype.itemsize <= 2
        array = array.astype(np.float32 if small else np.float64)
    return _read_only(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to: kernels are compiled for one kind of array, mapped or not."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def _of_vectors(metric: int, Q: Any, rows: Any) -> Ranker:
    queries = check_dense(Q.toarray() if hasattr(Q, "toarray") else Q, name="Q").astype(np.float64)
    array = _dense_rows(rows, queries.shape[1])
    largest = np.abs(queries).max(axis=1, initial=0.0, keepdims=True)
    scaled = queries / np.where(largest > 0, largest, 1.0)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = scaled / np.where(norms > 0, norms, 1.0)
    exact = unit if metric == ANGLE else queries
    with np.errstate(over="ignore"):
        fast = (unit if metric in (ANGLE, INNER_PRODUCT) else queries).astype(array.dtype)
        error = np.abs(queries - fast)
        slack = error.sum(axis=1) if metric == CITYBLOCK else np.linalg.norm(error, axis=1)
        lengths = (norms * largest)[:, 0]
    kernel = backend_of(array).rank_vectors

    def rank(*candidates: Any) -> int:
        found: int = kernel(metric, exact, fast, slack, lengths, array, *candidates)
        return found

    return Ranker(len(array), rank)
