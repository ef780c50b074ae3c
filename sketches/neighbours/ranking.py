"""Exact re-ranking: how the rows that candidates stand for are checked and compared, for each metric."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.families.bit_sampling import packed_rows
from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_array, check_dense
from ...lsh.inputs.rows import read_rows
from ...lsh.inputs.sets import check_sets
from ...lsh.inputs.sparse_structure import check_sparse
from ...lsh.support.backend import backend_of, device_of, read_only
from ..kernels import rank as rank_kernels
from ..kernels.rank_sets import UNORDERED
from ..kernels.rank_vectors import ANGLE, CITYBLOCK, EUCLIDEAN, INNER_PRODUCT

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
    if metric == "hamming":
        return _of_bits(family, Q, rows)
    if metric == "jaccard":
        return _of_sets(Q, rows)
    if metric == "weighted_jaccard":
        return _of_weights(Q, rows)
    raise TypeError(
        f"{type(family).__name__} has no distance to rank rows by, of metric {metric!r}; "
        "use query, which counts"
    )


def _dense_rows(rows: Any, width: int) -> NDArray[Any]:
    """`rows` as a C-contiguous matrix, not to be written to; whether they are finite is not looked at."""
    if hasattr(rows, "tocsr"):
        raise TypeError("rows must be a dense array, got a sparse one; pass rows.toarray()")
    array = check_array("rows", rows)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"rows must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"rows must have shape (n, {width}), as wide as the queries, got {array.shape}")
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        small = array.dtype.kind == "b" or array.dtype.itemsize <= 2
        array = array.astype(np.float32 if small else np.float64)
    xp = backend_of(array).xp
    return read_only(xp.ascontiguousarray(array))


def _of_vectors(metric: int, Q: Any, rows: Any) -> Ranker:
    dense = check_sparse(Q, "Q").toarray() if hasattr(Q, "tocsr") else Q
    queries = check_dense(dense, name="Q").astype(np.float64)
    array = _dense_rows(rows, queries.shape[1])
    backend, fast, slack = backend_of(array), None, None
    xp = backend.xp
    largest = xp.max(xp.abs(queries), axis=1, keepdims=True) if queries.size else xp.zeros((len(queries), 1))
    scaled = queries / xp.where(largest > 0, largest, 1.0)
    norms = xp.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    unit = scaled / xp.where(norms > 0, norms, 1.0)
    exact = unit if metric == ANGLE else queries
    with np.errstate(over="ignore"):
        lengths = (norms * largest)[:, 0].copy()
        if device_of(array) == "cpu":
            fast = (unit if metric in (ANGLE, INNER_PRODUCT) else queries).astype(array.dtype)
            error = np.abs(queries - fast)
            slack = error.sum(axis=1) if metric == CITYBLOCK else np.linalg.norm(error, axis=1)
    kernel = backend.kernels(rank_kernels).rank_vectors

    def rank(*candidates: Any) -> int:
        found: int = kernel(metric, exact, fast, slack, lengths, array, *candidates)
        return found

    return Ranker(len(array), rank)


def _packed(X: Any, n_bits: int, name: str) -> NDArray[np.uint8]:
    array = check_array(name, X)
    width = -(-n_bits // 8)
    if (array.dtype, *array.shape[1:]) not in ((np.bool_, n_bits), (np.uint8, width)):
        raise ValueError(
            f"{name} must be packed bits, uint8 of shape (n, {width}), or booleans of shape (n, {n_bits}), "
            f"got {array.dtype} of {array.shape}"
        )
    return read_only(packed_rows(array, backend_of(array)))


def _of_bits(family: Any, Q: Any, rows: Any) -> Ranker:
    queries, array = _packed(Q, family.n_bits, "Q"), _packed(rows, family.n_bits, "rows")
    # Bits that pad the last byte do not count.
    last_mask = np.uint8(0xFF00 >> (family.n_bits - 1) % 8 + 1 & 0xFF)
    kernel = backend_of(array).kernels(rank_kernels).rank_bits

    def rank(*candidates: Any) -> int:
        found: int = kernel(queries, array, last_mask, *candidates)
        return found

    return Ranker(len(array), rank)


def _ordered(
    tokens: NDArray[Any], offsets: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """A copy of sets whose tokens rise, where they begin, and where they end."""
    backend, tokens, ends = backend_of(tokens), tokens.copy(), offsets[1:].copy()
    order = backend.kernels(rank_kernels).order_sets
    backend.map_blocks(lambda a, b: order(tokens, offsets[:-1], ends, a, b), ends.size, 1024)
    return read_only(tokens), offsets[:-1], ends


def _of_sets(Q: Any, rows: Any) -> Ranker:
    queries = _ordered(*check_sets(Q, "Q"))
    tokens, offsets = check_sets(rows, "rows")
    # Most rows come in order; whether they do is only looked at where they are compared.
    sets = [(read_only(tokens), offsets[:-1], offsets[1:])]
    kernel, lock = backend_of(tokens).kernels(rank_kernels).rank_sets, threading.Lock()

    def rank(*candidates: Any) -> int:
        found: int = kernel(*queries, *sets[-1], *candidates)
        if found == UNORDERED:
            with lock:
                if len(sets) == 1:
                    sets.append(_ordered(tokens, offsets))
            found = kernel(*queries, *sets[-1], *candidates)
        return found

    return Ranker(offsets.size - 1, rank)


def _weights(X: Any, name: str) -> tuple[int, tuple[Any, tuple[NDArray[Any], NDArray[np.float64]]]]:
    """Columns of rows of weights, and their offsets, features and weights."""
    checked = read_rows(X, name=name)
    offsets, features, weights = checked.csr()
    if weights.size and float(weights.min()) < 0:
        raise ValueError(f"{name} must hold weights of at least 0, got {float(weights.min())}")
    return checked.width, (
        offsets,
        (
            read_only(features.astype(np.int64, copy=False)),
            read_only(weights.astype(np.float64, copy=False)),
        ),
    )


def _of_weights(Q: Any, rows: Any) -> Ranker:
    (width, queries), (own_width, ours) = _weights(Q, "Q"), _weights(rows, "rows")
    if own_width != width:
        raise ValueError(f"rows must have {width} columns, as the queries, got {own_width}")
    kernel = backend_of(ours[0]).kernels(rank_kernels).rank_weights

    def rank(*candidates: Any) -> int:
        found: int = kernel(*queries, *ours, *candidates)
        return found

    return Ranker(ours[0].size - 1, rank)
