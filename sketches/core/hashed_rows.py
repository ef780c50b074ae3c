"""Rows of any kind, cut into blocks and hashed: what sketches that count codes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_array
from ...lsh.inputs.sets import check_sets
from ...lsh.inputs.sparse_structure import check_sparse
from ...lsh.support.backend import as_array, device_of

__all__ = [
    "check_codes",
    "check_family",
    "check_symmetric_family",
    "count_rows",
    "cut_rows",
    "hash_block",
    "row_blocks",
]

#: Codes that are worked on at a time: as many rows as keep them in the processor's caches.
_BLOCK_CODES = 1 << 20
#: Half a gibibyte of codes, and enough rows to fill any GPU.
_GPU_CODES = 1 << 27
_MAX_BUCKETS = 1 << 28


def check_family(family: Any) -> HashFamily:
    """`family`, which must be a HashFamily of so few buckets that each can have a counter."""
    if not isinstance(family, HashFamily):
        raise TypeError(f"family must be a HashFamily, got {type(family).__name__}")
    if family.n_buckets > _MAX_BUCKETS:
        raise ValueError(
            f"family must have at most {_MAX_BUCKETS} buckets, for each has a counter, got "
            f"{family.n_buckets}; pass n_buckets to the family"
        )
    return family


def check_symmetric_family(family: Any) -> HashFamily:
    """`check_family`, and that queries are hashed as rows are: what looks rows up by their codes needs it."""
    checked = check_family(family)
    if type(checked).hash_query is not HashFamily.hash_query:
        raise ValueError(f"family must hash rows and queries alike, which {type(family).__name__} does not")
    return checked


def _is_pair(X: Any) -> bool:
    if not isinstance(X, tuple) or len(X) != 2:
        return False
    return (X[1].ndim if device_of(X[1]) == "gpu" else np.ndim(X[1])) == 1


def count_rows(X: Any, name: str) -> tuple[Any, int]:
    """`X` in a form whose rows can be cut out, and how many it has; the family checks the rest."""
    if device_of(X) == "gpu" and not hasattr(X, "tocsr") and not isinstance(X, tuple):
        X = as_array(X)
        return X, _count(X, name)
    if hasattr(X, "tocsr"):
        return check_sparse(X, name), X.shape[0]
    if _is_pair(X):
        tokens, offsets = check_sets(X, name)
        return (tokens, offsets), offsets.size - 1
    if hasattr(X, "__array__"):
        X = check_array(name, X)
        return X, _count(X, name)
    if not isinstance(X, (list, tuple)):
        raise TypeError(f"{name} must be rows: a matrix, dense or sparse, or sets; got {type(X).__name__}")
    return X, len(X)


def _count(X: Any, name: str) -> int:
    if X.ndim == 0:
        raise ValueError(f"{name} must be rows: a matrix, dense or sparse, or sets; got a single value")
    return int(X.shape[0])


def cut_rows(X: Any, start: int, stop: int) -> Any:
    """The rows [start, stop) of what `count_rows` gave."""
    if _is_pair(X):
        offsets = X[1][start : stop + 1]
        return X[0][offsets[0] : offsets[-1]], offsets - offsets[0]
    return X[start:stop]


def row_blocks(n: int, n_hashes: int, device: str = "cpu") -> Iterator[tuple[int, int]]:
    """Ranges of n rows whose codes stay in cache, or in little of a GPU; one empty range for none."""
    block = _GPU_CODES // n_hashes if device == "gpu" else min(8192, _BLOCK_CODES // n_hashes)
    block = max(256, block)
    return ((start, min(n, start + block)) for start in range(0, max(n, 1), block))


def hash_block(
    family: HashFamily, function: Callable[[Any], NDArray[np.uint32]], X: Any, start: int, stop: int
) -> NDArray[np.uint32]:
    """Codes of the rows [start, stop) by `function`, the family's `hash` or `hash_query`."""
    return check_codes(family, function(cut_rows(X, start, stop)), stop - start)


def check_codes(family: HashFamily, codes: NDArray[np.uint32], n: int) -> NDArray[np.uint32]:
    """`codes` as n rows of a family must have, for kernels take them for places in tables unseen.

    A user's family may have given them.
    """
    # A pair of two dense rows may be taken for sets, or the other way round.
    if codes.shape != (n, family.n_hashes):
        raise ValueError(
            f"expected rows for {type(family).__name__}, got {n} that it takes for "
            f"{codes.shape[0]}; pass dense rows as an array"
        )
    if codes.dtype != np.uint32:
        raise TypeError(f"{type(family).__name__} must hash to codes of dtype uint32, got {codes.dtype}")
    if codes.size and int(codes.max()) >= family.n_buckets:
        raise ValueError(
            f"{type(family).__name__} must hash to codes below its n_buckets = {family.n_buckets}, "
            f"got {codes.max()}"
        )
    return codes
