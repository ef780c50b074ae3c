"""Checks of arguments; every message names the argument, what was expected and what came."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import checks
from ..support.backend import as_array, backend_of, refuse_gpu
from .columns import open_table, refuse_masked

__all__ = [
    "check_array",
    "check_dense",
    "check_distances",
    "check_numbers",
    "check_probabilities",
    "refuse_flags",
]


def check_array(name: str, value: Any) -> NDArray[Any]:
    """`value` as an array where it lives; no masked values, nor rows of unlike lengths."""
    refuse_masked(value, name)
    value = open_table(value, name)
    try:
        return as_array(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array or a list of equal rows: {error}") from None


def check_numbers(name: str, value: Any) -> NDArray[np.float64]:
    """Real numbers of any shape as float64 in C order, NaN and infinity among them."""
    array = check_array(name, value)
    if array.size and array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    # In C order: NumPy's functions round otherwise where numbers do not lie side by side.
    numbers: NDArray[np.float64] = backend_of(array).xp.asarray(array, dtype=np.float64, order="C")
    return numbers


def refuse_flags(name: str, value: Any) -> None:
    """Refuse booleans in lists of integers, for which NumPy takes them."""
    if not isinstance(value, (list, tuple)):
        return
    types = set(map(type, value))
    if types & {bool, np.bool_}:
        raise TypeError(f"{name} must be integers, got bool among them")
    if any(issubclass(t, (list, tuple)) for t in types):
        for item in value:
            refuse_flags(name, item)


def check_distances(distance: Any, largest: float) -> NDArray[np.float64]:
    """`distance` as float64 values, each from 0 to `largest`; infinity only where that is the largest."""
    refuse_gpu("collision_probability", distance)
    values = check_numbers("distance", distance)
    if not bool(np.all((values >= 0) & (values <= largest))):
        raise ValueError(f"distance must lie in [0, {largest:g}], got {values.min()} to {values.max()}")
    return values


def check_probabilities(probability: Any, name: str = "probability") -> NDArray[np.float64]:
    """`probability` as float64 values, each from 0 to 1."""
    refuse_gpu("distance", probability)
    values = check_numbers(name, probability)
    if not bool(np.all((values >= 0) & (values <= 1))):
        raise ValueError(f"{name} must lie in [0, 1], got {values.min()} to {values.max()}")
    return values


def check_finite(name: str, array: NDArray[Any]) -> None:
    """Refuse NaN and infinity in a C-contiguous float32 or float64 array."""
    flat = array.reshape(-1)
    backend = backend_of(array)
    kernels = backend.kernels(checks)
    if array.dtype == np.float32:
        bits, kernel = flat.view(np.uint32), kernels.any_nonfinite_32
    else:
        bits, kernel = flat.view(np.uint64), kernels.any_nonfinite_64
    if any(backend.map_blocks(lambda start, stop: kernel(bits, start, stop), bits.size, 1 << 20)):
        _report_nonfinite(name, array.shape, flat, backend.xp)


def _report_nonfinite(name: str, shape: tuple[int, ...], flat: Any, xp: Any) -> None:
    first = int(xp.flatnonzero(~xp.isfinite(flat))[0])
    place = tuple(int(i) for i in np.unravel_index(first, shape))
    raise ValueError(f"{name} must be finite, got {float(flat[first])} at index {place}")


def check_dense(X: Any, n_features: int | None = None, name: str = "X") -> NDArray[Any]:
    """`X` as a finite, C-contiguous float32 or float64 matrix of shape (n, n_features).

    float32 and float64 are kept; other real dtypes (integers, booleans, float16) become float32 when
    that is exact for their range, and float64 otherwise. Nothing is copied that need not be.
    """
    if hasattr(X, "tocsr"):
        raise TypeError(f"{name} must be a dense array, got a sparse one; pass {name}.toarray()")
    array = check_array(name, X)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be a matrix of shape (n, features), got {array.ndim}-D shape {array.shape}"
        )
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(f"{name} must have {n_features} columns, got {array.shape[1]}")
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        small = array.dtype.kind == "b" or array.dtype.itemsize <= 2
        array = array.astype(np.float32 if small else np.float64)
    array = backend_of(array).xp.ascontiguousarray(array)
    check_finite(name, array)
    return array
