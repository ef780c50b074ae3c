"""Ranking of candidates: how rows and queries are checked and compared, for each metric."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.families.bit_sampling import packed_rows
from ...lsh.families.weighted_minhash import read_weights
from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_array, float_dtype
from ...lsh.inputs.rows import DenseRows, read_rows
from ...lsh.inputs.sets import SetRows, read_sets
from ...lsh.metric import METRICS
from ...lsh.support.backend import backend_of, read_only
from ...lsh.support.wording import counted
from ..kernels import rank as rank_kernels
from ..kernels.rank_sets import UNORDERED
from ..kernels.rank_vectors import ANGLE, CITYBLOCK, EUCLIDEAN, INNER_PRODUCT
from .code_ranking import code_ranker
from .vector_rows import VectorRows

__all__ = ["ALL_RANKED", "Ranker", "ranker", "vector_ranker"]

#: What a kernel returns that has ranked all candidates. Otherwise it returns the row that it refuses.
ALL_RANKED = -1

#: The metrics of vectors as the kernel numbers them.
_VECTORS = {
    "angle": ANGLE,
    "euclidean": EUCLIDEAN,
    "cityblock": CITYBLOCK,
    "inner_product": INNER_PRODUCT,
}


class Ranker(NamedTuple):
    """Ranks candidates of queries that have been checked."""

    #: ``rank(candidates, offsets, sizes, k, first, ids, keys)``: see `rank_vectors`. Keys are distances, or
    #: similarities below 0.
    rank: Callable[..., int]
    #: Turns an array of keys into distances in the units of the family's metric.
    in_units: Callable[[Any], Any]
    #: Returns the message for a candidate that `rank` has refused.
    refusal: Callable[[int], str]


def ranker(family: HashFamily, Q: Any, rows: Any) -> Ranker:
    """Return a ranker of rows by their distance to queries. Rows are read only where they are compared.

    Parameters
    ----------
    family : HashFamily
    Q : n rows
        The queries, which may have been read by the family.
    rows : array_like, sets, sparse matrix or VectorCodes
        All rows that candidates stand for, or their codes.

    Raises
    ------
    TypeError, ValueError
        If they are not of the form that the family's metric compares.
    """
    name = getattr(family, "metric", None)
    metric = METRICS.get(name) if isinstance(name, str) else None
    make = _RANKERS.get(metric.compares) if metric else None
    if metric is None or make is None:
        raise TypeError(
            f"{type(family).__name__} has no distance to rank rows by, of metric {name!r}; "
            "use query, which counts"
        )
    if isinstance(rows, VectorRows):
        return Ranker(*code_ranker(family, Q, rows))
    return _finished(*make(family, Q, rows), is_similarity=metric.is_similarity)


def vector_ranker(metric: str, Q: Any, rows: Any) -> Ranker:
    """Return a ranker of the rows of a matrix by a metric of vectors.

    Parameters
    ----------
    metric : {"angle", "euclidean", "cityblock", "inner_product"}
    Q : n rows
        The queries, which may have been read.
    rows : array_like
        All rows that candidates stand for.

    Returns
    -------
    Ranker

    Raises
    ------
    TypeError, ValueError
        If they are no matrices of one width.
    """
    return _finished(*_rank_by(metric, Q, rows), is_similarity=METRICS[metric].is_similarity)


def _finished(n_rows: int, rank: Callable[..., int], *, is_similarity: bool) -> Ranker:
    def refusal(row: int) -> str:
        if row >= n_rows:
            return f"rows must have a row for each id found, got {counted(n_rows, 'row')} and id {row}"
        return f"rows must be finite, got NaN or infinity in row {row}"

    return Ranker(rank, _negative if is_similarity else _same, refusal)


def _same(keys: Any) -> Any:
    return keys


def _negative(keys: Any) -> Any:
    return -keys


#: The number of rows, and what ranks candidates among them.
_Ranking = tuple[int, Callable[..., int]]


def _unchecked_matrix(rows: Any, width: int) -> NDArray[Any]:
    """Return rows as a C-contiguous matrix; the ranker checks its numbers where it compares them."""
    if hasattr(rows, "tocsr"):
        raise TypeError("rows must be a dense array, got a sparse one; pass rows.toarray()")
    array = check_array("rows", rows)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"rows must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"rows must have shape (n, {width}), as wide as the queries, got {array.shape}")
    return read_only(backend_of(array).xp.ascontiguousarray(array, dtype=float_dtype(array.dtype)))


def _rank_vectors(family: HashFamily, Q: Any, rows: Any) -> _Ranking:
    return _rank_by(family.metric, Q, rows)


def _rank_by(metric: str, Q: Any, rows: Any) -> _Ranking:
    queries, number = read_rows(Q, name="Q").dense.astype(np.float64), _VECTORS[metric]
    array, backend = _unchecked_matrix(rows, queries.shape[1]), backend_of(queries)
    xp, fast, slack = backend.xp, None, None
    largest = xp.max(xp.abs(queries), axis=1, keepdims=True) if queries.size else xp.zeros((len(queries), 1))
    scaled = queries / xp.where(largest > 0, largest, 1.0)
    norms = xp.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    unit = scaled / xp.where(norms > 0, norms, 1.0)
    exact = unit if number == ANGLE else queries
    with np.errstate(over="ignore"):
        lengths = (norms * largest)[:, 0].copy()
        if backend.device == "cpu":
            fast = (unit if number in (ANGLE, INNER_PRODUCT) else queries).astype(array.dtype)
            error = np.abs(queries - fast)
            slack = error.sum(axis=1) if number == CITYBLOCK else np.linalg.norm(error, axis=1)
    kernel = backend.kernels(rank_kernels).rank_vectors

    def rank(candidates: Any, offsets: Any, sizes: Any, *rest: Any) -> int:
        return kernel(exact, fast, slack, lengths, array, candidates, offsets, sizes, number, *rest)

    return len(array), rank


def _packed(X: Any, n_bits: int, name: str) -> NDArray[np.uint8]:
    array = X.values if isinstance(X, DenseRows) else check_array(name, X)
    width = -(-n_bits // 8)
    if (array.dtype, *array.shape[1:]) not in ((np.bool_, n_bits), (np.uint8, width)):
        raise ValueError(
            f"{name} must be packed bits, uint8 of shape (n, {width}), or booleans of shape (n, {n_bits}), "
            f"got {array.dtype} of {array.shape}"
        )
    return read_only(packed_rows(array, backend_of(array)))


def _rank_bits(family: Any, Q: Any, rows: Any) -> _Ranking:
    queries, array = _packed(Q, family.n_bits, "Q"), _packed(rows, family.n_bits, "rows")
    # Bits that pad the last byte do not count.
    last_mask = np.uint8(0xFF00 >> (family.n_bits - 1) % 8 + 1 & 0xFF)
    kernel = backend_of(array).kernels(rank_kernels).rank_bits

    def rank(candidates: Any, offsets: Any, sizes: Any, *rest: Any) -> int:
        return kernel(queries, array, candidates, offsets, sizes, last_mask, *rest)

    return len(array), rank


def _ordered(sets: SetRows) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Return a copy of sets whose tokens rise, where the sets begin, and where they end."""
    tokens, offsets = sets.words()
    tokens, ends = tokens.copy(), offsets[1:].copy()
    order = sets.backend.kernels(rank_kernels).order_sets
    sets.backend.map_blocks(lambda a, b: order(offsets[:-1], a, b, tokens, ends), ends.size, 1024)
    return read_only(tokens), offsets[:-1], read_only(ends)


def _rank_sets(family: HashFamily, Q: Any, rows: Any) -> _Ranking:
    queries, given = _ordered(read_sets(Q, "Q")), read_sets(rows, "rows")
    tokens, offsets = given.words()
    # Most rows are in order; whether they are is only looked at where they are compared.
    sets = [(tokens, offsets[:-1], offsets[1:])]
    kernel, lock = given.backend.kernels(rank_kernels).rank_sets, threading.Lock()

    def rank(*candidates: Any) -> int:
        found: int = kernel(*queries, *sets[-1], *candidates)
        if found == UNORDERED:
            with lock:
                if len(sets) == 1:
                    sets.append(_ordered(given))
            found = kernel(*queries, *sets[-1], *candidates)
        return found

    return given.n, rank


def _weights(X: Any, name: str) -> tuple[int, tuple[Any, tuple[NDArray[Any], NDArray[np.float64]]]]:
    """Return the width of rows of weights, and their offsets, features and weights."""
    rows = read_weights(X, name)
    offsets, features, weights = rows.csr
    features, weights = features.astype(np.int64, copy=False), weights.astype(np.float64, copy=False)
    return rows.width, (offsets, (read_only(features), read_only(weights)))


def _rank_weights(family: HashFamily, Q: Any, rows: Any) -> _Ranking:
    (width, queries), (own_width, ours) = _weights(Q, "Q"), _weights(rows, "rows")
    if own_width != width:
        raise ValueError(f"rows must have {width} columns, as the queries, got {own_width}")
    kernel = backend_of(ours[0]).kernels(rank_kernels).rank_weights
    return ours[0].size - 1, partial(kernel, *queries, *ours)


#: What ranks rows, by what the metric compares.
_RANKERS: dict[str, Callable[[Any, Any, Any], _Ranking]] = {
    "vectors": _rank_vectors,
    "bits": _rank_bits,
    "sets": _rank_sets,
    "weights": _rank_weights,
}
