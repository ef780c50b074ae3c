"""Cases of rows that are extended to one length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_twins import Case, case, csr_rows, dense_rows, on_device, to_read


def row_cases(rng: np.random.Generator, sparse: bool) -> Iterator[tuple[Any, ...]]:
    """Yield rows and a bound: shorter, longer, empty, and too long for a double's square."""
    for n, d, dtype in ((1, 1, "float64"), (20, 40, "float32"), (33, 33, "float64")):
        for bound in (0.7, 1e30, 1e-200):
            if not sparse:
                yield to_read(dense_rows(rng, n, d, dtype)), bound
                X = np.full((2, d), 1e200 if dtype == "float64" else 1e30, dtype)
                yield to_read(X), bound
                continue
            for index in ("int32", "int64"):
                yield *csr_rows(rng, n, d, dtype, index), bound


@case("relative_norms_dense")
def dense_norms(rng: np.random.Generator) -> Iterator[Case]:
    for X, bound in row_cases(rng, False):
        n = len(X.array)
        yield X, bound, 0, n, on_device(np.zeros(n))


@case("relative_norms_csr")
def sparse_norms(rng: np.random.Generator) -> Iterator[Case]:
    for *csr, bound in row_cases(rng, True):
        n = csr[0].array.size - 1
        yield *csr, bound, 0, n, on_device(np.zeros(n))


@case("extend_rows_dense")
def dense_extensions(rng: np.random.Generator) -> Iterator[Case]:
    for X, bound in row_cases(rng, False):
        n, d = X.array.shape
        for limit in (bound, 0.0):
            out = on_device(np.full((n - n // 3, d + 3), 7.0))
            yield X, limit, d + 1, n // 3, n, out, on_device(np.zeros(n))


@case("extend_rows_csr")
def sparse_extensions(rng: np.random.Generator) -> Iterator[Case]:
    for indptr, indices, data, bound in row_cases(rng, True):
        n = indptr.array.size - 1
        start = n // 3
        size = int(indptr.array[-1] - indptr.array[start]) + n - start
        for limit in (bound, 0.0):
            out = on_device(np.zeros(n - start + 1, np.int64)), on_device(np.zeros(size, indices.array.dtype))
            out = (*out, on_device(np.zeros(size)))
            yield indptr, indices, data, limit, 50, start, n, out, on_device(np.zeros(n))
