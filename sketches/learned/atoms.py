"""Reading atoms and directions, and the inner product as searches compute it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_dense, check_numbers
from ...lsh.support.backend import read_only, refuse_gpu
from ..kernels import max_inner_product as kernels

__all__ = ["ProductOverflowError", "inner_product", "read_atoms", "read_square", "read_vector"]

#: The negative eigenvalues of a positive semidefinite matrix that rounding to float32 explains, relative to
#: its largest entry.
_ROUNDING = 1e-6


class ProductOverflowError(ValueError):
    """Say that a product is too large. Callers whose users gave no direction name their own argument."""


def inner_product(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the inner product of two vectors, with the rounding that it has in searches."""
    return float(kernels.inner_product(read_only(x), read_only(y)))


def read_atoms(atoms: Any, name: str = "atoms") -> NDArray[Any]:
    """Return atoms as a finite float32 or float64 matrix in C order that has a row and a column."""
    refuse_gpu(name, atoms)
    array = check_dense(atoms, name=name)
    if not array.size:
        raise ValueError(f"{name} must have at least one row and one column, got shape {array.shape}")
    return read_only(array)


def read_square(matrix: Any, width: int) -> NDArray[np.float64]:
    """Return a symmetric, positive semidefinite matrix as an own float64 array that cannot be written to."""
    refuse_gpu("matrix", matrix)
    array = check_dense(matrix, width, "matrix").astype(np.float64)
    if array.shape != (width, width):
        raise ValueError(f"matrix must have shape {(width, width)}, got {array.shape}")
    if not np.allclose(array, array.T, rtol=1e-6, atol=1e-12 * float(np.abs(array).max())):
        raise ValueError("matrix must be symmetric, got one that differs from its transpose")
    if largest := float(np.abs(array).max()):
        try:
            np.linalg.cholesky(array / largest + _ROUNDING * np.eye(width))
        except np.linalg.LinAlgError:
            raise ValueError(
                "matrix must be positive semidefinite, got one with a negative eigenvalue"
            ) from None
    return read_only(array)


def read_vector(name: str, vector: Any, width: int) -> NDArray[np.float64]:
    """Return `width` finite numbers as a float64 array of one's own, which cannot be written to."""
    refuse_gpu(name, vector)
    array = check_numbers(name, vector)
    if array.shape != (width,):
        raise ValueError(f"{name} must have shape ({width},), as wide as atoms, got {array.shape}")
    if not bool(np.isfinite(array).all()):
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return read_only(array.copy())
