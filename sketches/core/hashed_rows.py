"""Rows that are hashed block by block, and checks of families and their codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.rows import Rows

__all__ = [
    "check_codes",
    "check_family",
    "check_symmetric_family",
    "hash_block",
    "row_blocks",
]

#: Number of codes of a block, which keeps them in the processor's caches.
_BLOCK_CODES = 1 << 20
#: Number of codes of a block on a GPU: half a gibibyte, and enough rows to fill any GPU.
_GPU_CODES = 1 << 27
#: Largest number of buckets of a hash, each of which has a counter.
_MAX_BUCKETS = 1 << 28


def check_family(family: Any) -> HashFamily:
    """Return `family`; refuse other objects, and families with too many buckets for counters."""
    if not isinstance(family, HashFamily):
        raise TypeError(f"family must be a HashFamily, got {type(family).__name__}")
    if family.n_buckets > _MAX_BUCKETS:
        raise ValueError(
            f"family must have at most {_MAX_BUCKETS} buckets, for each has a counter, got "
            f"{family.n_buckets}; pass n_buckets to the family"
        )
    return family


def check_symmetric_family(family: Any) -> HashFamily:
    """Return `family` after `check_family`; refuse families that hash queries differently from rows."""
    checked = check_family(family)
    if type(checked).hash_query is not HashFamily.hash_query:
        raise ValueError(f"family must hash rows and queries alike, which {type(family).__name__} does not")
    return checked


def row_blocks(n: int, n_hashes: int, device: str = "cpu") -> Iterator[tuple[int, int]]:
    """Return ranges of n rows whose codes fit the caches, or a small part of a GPU; one range for no rows."""
    block = _GPU_CODES // n_hashes if device == "gpu" else min(8192, _BLOCK_CODES // n_hashes)
    block = max(256, block)
    return ((start, min(n, start + block)) for start in range(0, max(n, 1), block))


def hash_block(
    family: HashFamily, function: Callable[[Any], NDArray[np.uint32]], rows: Rows, start: int, stop: int
) -> NDArray[np.uint32]:
    """Return codes of the rows [start, stop) by `function`, the family's `hash` or `hash_query`."""
    return check_codes(family, function(rows.cut(start, stop)), stop - start)


def check_codes(family: HashFamily, codes: NDArray[np.uint32], n: int) -> NDArray[np.uint32]:
    """Return codes; refuse those that n rows of the family cannot have.

    Kernels use codes as places in tables without a check, and a user's family may return any.
    """
    # Two dense rows in a tuple may be taken for sets, and sets for dense rows.
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
