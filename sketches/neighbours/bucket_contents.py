"""All ids of the buckets of queries, and their probabilities over hash functions and priorities."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ...lsh.family import HashFamily, refuse_given_functions
from ...lsh.inputs.raw_rows import RawRows
from ...lsh.inputs.rows import DenseRows, Rows, SparseRows
from ...lsh.inputs.sets import SetRows
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.wording import counted
from ..core.reading import reading
from .id_rows import NO_ID
from .index import LSHIndex

__all__ = ["bucket_contents"]


@reading
def bucket_contents(index: LSHIndex, Q: Any, rows: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the ids in each query's buckets, padded with -1, and their probabilities, padded with 1.

    See `LSHSampler.retrieve`.
    """
    family = index.family
    refuse_given_functions(family, "probabilities over hash functions")
    if family.design_effect != 1.0:
        raise ValueError(
            f"the family must have independent tables for probabilities over hash functions, and those of "
            f"{family!r} copy hashes"
        )
    refuse_gpu("LSHSampler.retrieve", Q, rows)
    queries, all_rows = family.read_rows(Q, "Q"), family.read_rows(rows, "rows")
    codes = family.hash_query(queries.cut(0, queries.n))
    kept = _kept_shares(index, codes)
    found = [_ids_found(index, codes[i]) for i in range(queries.n)]
    largest = max((int(ids.max()) for ids in found if ids.size), default=-1)
    if largest >= all_rows.n:
        raise ValueError(
            f"rows must have a row for each id found, got {counted(all_rows.n, 'row')} and id {largest}"
        )
    width = max((ids.size for ids in found), default=0)
    out_ids, probabilities = np.full((queries.n, width), NO_ID, np.int64), np.ones((queries.n, width))
    for i, ids in enumerate(found):
        if ids.size:
            chosen = _taken(all_rows, ids)
            together = _together(family, queries.cut(i, i + 1), chosen)
            out_ids[i, : ids.size] = ids
            probabilities[i, : ids.size] = together * _kept(family, codes[i], kept[i], chosen)
    return out_ids, probabilities


def _ids_found(index: LSHIndex, codes: NDArray[np.uint32]) -> NDArray[np.int64]:
    slots = index.buckets()[0][np.arange(len(codes)), codes].reshape(-1)
    ids, counts = np.unique(slots[slots > 0].astype(np.int64) - 1, return_counts=True)
    return ids[np.lexsort((ids, -counts))]


def _together(family: HashFamily, query: Any, rows: Any) -> NDArray[np.float64]:
    """Return the probability that a query has a bucket in common with each of some rows."""
    kernel = np.asarray(family.kernel(query, rows)[0], np.float64)
    one = np.clip(kernel + (1.0 - kernel) * family.chance_collision, 0.0, 1.0)
    with np.errstate(divide="ignore"):
        return -np.expm1(family.n_hashes * np.log1p(-one))


def _kept_shares(index: LSHIndex, codes: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return the share of the ids of each query's buckets that the buckets have kept: shape (n, L)."""
    (slots, seen), tables = index.buckets(), np.arange(codes.shape[1])
    dropped = np.maximum(seen[tables, codes].astype(np.int64) - index.capacity, 0)
    shares = np.ones(codes.shape)
    for i, t in zip(*np.nonzero(dropped), strict=True):
        filled = np.count_nonzero(slots[t, codes[i, t]])
        shares[i, t] = filled / (filled + dropped[i, t])
    return shares


def _kept(
    family: HashFamily, codes: NDArray[np.uint32], shares: NDArray[np.float64], rows: Any
) -> NDArray[np.float64] | float:
    """Return the probability that each row is kept in one of the query's buckets that it is hashed to."""
    if (shares == 1.0).all():
        return 1.0
    is_lost = np.where(family.hash(rows) == codes, 1.0 - shares, 1.0)
    return np.asarray(1.0 - is_lost.prod(axis=1))


def _taken(rows: Rows, numbers: NDArray[np.int64]) -> Any:
    """Return some rows of those that a family has read, in a form that it reads."""
    if isinstance(rows, DenseRows):
        return np.asarray(rows.values[numbers], rows.dtype)
    if isinstance(rows, SparseRows):
        indptr, indices, data = rows.arrays
        return scipy.sparse.csr_array((data, indices, indptr), shape=(rows.n, rows.width))[numbers]
    if isinstance(rows, SetRows):
        tokens, offsets = rows.words()
        return [tokens[offsets[i] : offsets[i + 1]] for i in numbers.tolist()]
    assert isinstance(rows, RawRows)
    if isinstance(rows.given, (list, tuple)):
        return [rows.given[i] for i in numbers.tolist()]
    if isinstance(rows.given, SetRows):
        return _taken(rows.given, numbers)
    return rows.given[numbers]
