"""Cases of Fourier features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_twins import Case, case, on_device, to_read
from mergesketch.lsh.support.backend import read_only
from scipy import sparse

NO_WEIGHTS = read_only(np.empty(0, np.int64))


def _rows(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield rows, a width, frequencies and the other numbers of rows."""
    for d, m in ((1, 1), (3, 5), (40, 150)):
        for dtype in (np.float32, np.float64):
            X = (rng.standard_normal((150, d)) * (rng.random((150, d)) < 0.7)).astype(dtype)
            X[:5] *= 1e6
            X[5:9] = np.round(X[5:9])
            # Whole quarters of a turn are the borders of the polynomials.
            frequencies = rng.standard_normal((d, m))
            frequencies[:, : m // 2] = np.round(8.0 * frequencies[:, : m // 2]) / 8.0
            yield X, float(rng.choice([0.3, 1.0])), frequencies


def _csr(X: np.ndarray, dtype: Any) -> tuple[Any, ...]:
    matrix = sparse.csr_array(X)
    indices = matrix.indices.astype(dtype)
    return to_read(matrix.indptr.astype(np.int64)), to_read(indices), to_read(matrix.data)


@case("add_features_dense")
def rows_to_add(rng: np.random.Generator) -> Iterator[Case]:
    for X, width, frequencies in _rows(rng):
        sums = on_device(rng.integers(-9, 9, (2, frequencies.shape[1])))
        yield to_read(X), width, frequencies, NO_WEIGHTS, 3, 140, sums
        yield to_read(X), width, frequencies, to_read(rng.integers(-9, 9, 150)), 0, 150, sums


@case("add_features_csr")
def sparse_rows_to_add(rng: np.random.Generator) -> Iterator[Case]:
    for X, width, frequencies in _rows(rng):
        sums = on_device(rng.integers(-9, 9, (2, frequencies.shape[1])))
        for dtype in (np.int32, np.int64):
            weights = to_read(rng.integers(-9, 9, 150))
            yield *_csr(X, dtype), width, frequencies, weights, 3, 140, sums
        yield *_csr(X, np.int32), width, frequencies, NO_WEIGHTS, 0, 150, sums


@case("fourier_terms_dense")
def rows_to_ask(rng: np.random.Generator) -> Iterator[Case]:
    for X, width, frequencies in _rows(rng):
        m = frequencies.shape[1]
        sums, terms = on_device(rng.standard_normal((2, m))), on_device(np.zeros((150, m)))
        yield to_read(X), width, frequencies, sums, 3, 140, terms


@case("fourier_terms_csr")
def sparse_rows_to_ask(rng: np.random.Generator) -> Iterator[Case]:
    for X, width, frequencies in _rows(rng):
        m = frequencies.shape[1]
        sums, terms = on_device(rng.standard_normal((2, m))), on_device(np.zeros((150, m)))
        for dtype in (np.int32, np.int64):
            yield *_csr(X, dtype), width, frequencies, sums, 3, 140, terms
