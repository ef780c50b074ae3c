"""Hashing by inner products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import ROWS, Case, D
from entries import Family
from mergesketch.lsh import HashFamily, InnerProduct
from row_data import dense_rows, unit
from stored_data import SMALL_ROWS


def inner_product_pairs(
    rng: np.random.Generator, product: float, n: int, query_norm: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows no longer than 10 and queries with that inner product, of random lengths.

    Queries are no longer than `query_norm`. With None they have any length, and the product is that with the
    query at length 1.
    """
    direction, other = unit(rng.standard_normal((n, 12))), rng.standard_normal((n, 12))
    across = unit(other - (other * direction).sum(axis=1, keepdims=True) * direction)
    lengths = rng.uniform(0.01, 100, (n, 1))
    along = np.full((n, 1), product)
    if query_norm is not None:
        lengths = rng.uniform(abs(product) / 10, query_norm, (n, 1))
        along = product / lengths
    side = rng.uniform(0, 1, (n, 1)) * np.sqrt(np.maximum(100 - along**2, 0))
    return along * direction + side * across, lengths * direction


FAMILIES: dict[str, Family] = {
    "InnerProduct": Family(
        lambda n_hashes, seed: InnerProduct(12, n_hashes, max_norm=10.0, power=2, seed=seed),
        dense_rows,
        (-8.0, 0.0, 5.0, 9.0, 9.9),
        lambda rng, product, n: inner_product_pairs(rng, product, n, None),
    ),
    "InnerProduct, bounded queries": Family(
        lambda n_hashes, seed: InnerProduct(
            12, n_hashes, max_norm=10.0, query_norm=20.0, power=5, n_buckets=30, seed=seed
        ),
        dense_rows,
        (-120.0, 0.0, 100.0, 180.0, 198.0),
        lambda rng, product, n: inner_product_pairs(rng, product, n, 20.0),
    ),
    "InnerProduct, hadamard": Family(
        lambda n_hashes, seed: InnerProduct(
            12, n_hashes, max_norm=10.0, query_norm=20.0, projection="hadamard", seed=seed
        ),
        dense_rows,
        (-120.0, 0.0, 100.0, 180.0, 198.0),
        lambda rng, product, n: inner_product_pairs(rng, product, n, 20.0),
        bias=1e-3,
    ),
    "InnerProduct, sparse": Family(
        lambda n_hashes, seed: InnerProduct(12, n_hashes, max_norm=10.0, projection="sparse", seed=seed),
        dense_rows,
        (-8.0, 0.0, 5.0, 9.0, 9.9),
        lambda rng, product, n: inner_product_pairs(rng, product, n, None),
    ),
}


GPU_ROW_FAMILIES: dict[str, HashFamily] = {
    "inner product": InnerProduct(12, n_hashes=20, power=3, max_norm=9.0, seed=1),
    "inner product, Hadamard": InnerProduct(
        12, n_hashes=20, power=3, max_norm=2.0, oversize="clip", projection="hadamard", seed=1
    ),
    "inner product, sparse": InnerProduct(None, 20, power=3, max_norm=9.0, projection="sparse", seed=1),
}


ROW_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "inner products": (InnerProduct(D, 8, max_norm=60.0), ROWS),
}


SMALL_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "inner product": (InnerProduct(4, 3, max_norm=9.0, power=2, seed=1), SMALL_ROWS),
}


def argument_cases() -> Iterator[Case]:
    family = InnerProduct(D, 4, max_norm=20.0)
    yield Case("InnerProduct.oversized", family.oversized, {"X": ROWS}, "X", ("X",))
