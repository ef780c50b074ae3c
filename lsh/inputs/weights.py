"""Weights of rows and keys: integers whose sums are bounded, and finite real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support.backend import backend_of, read_only, to_host
from .arrays import check_array, refuse_flags

__all__ = ["check_real_weights", "check_weights"]


def check_weights(
    name: str, weights: Any, n: int, minimum: int | None = None, n_outputs: int | None = None
) -> tuple[NDArray[np.int64], int]:
    """Return integer weights of `n` rows, and their magnitude, the sum of ``|w|``.

    None means 1 for every row and gives an empty array, which has that meaning for the kernels. With
    `minimum`, smaller weights are refused. With `n_outputs`, each row has that number of weights, and the
    magnitude is that of the heaviest output. The array cannot be written to.
    """
    if weights is None:
        return read_only(np.empty(0, dtype=np.int64)), n
    array = _check_weights_shape(name, weights, n, n_outputs)
    xp = backend_of(array).xp
    if array.size == 0:
        return read_only(xp.empty(array.shape, dtype=np.int64)), 0
    if array.dtype.kind not in "iu":
        _refuse_wide(name, array.tolist() if array.dtype.kind == "O" else weights)
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    refuse_flags(name, weights)
    low, high = int(array.min()), int(array.max())
    if minimum is not None and low < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {low}")
    largest = max(high, -low)
    if largest > np.iinfo(np.int64).max:
        _refuse_wide(name, [low, high])
    array = read_only(xp.ascontiguousarray(array, dtype=np.int64))
    if largest * n <= np.iinfo(np.int64).max:
        return array, int(xp.abs(array).sum(axis=0).max())
    # Sums beyond 63 bits need Python's integers.
    return array, int(np.max(np.abs(to_host(array).astype(object)).sum(axis=0)))


def _refuse_wide(name: str, weights: Any) -> None:
    """Refuse integers of more than 63 bits, some of which NumPy makes floats or objects."""
    for weight in weights if isinstance(weights, (list, tuple)) else [weights]:
        if isinstance(weight, int) and abs(weight) > np.iinfo(np.int64).max:
            raise ValueError(f"{name} must lie within 63 bits and a sign, got {weight}")


def check_real_weights(name: str, weights: Any, n: int, n_outputs: int | None = None) -> NDArray[np.float64]:
    """Return finite weights of `n` rows as float64. None means 1 for every row and gives an empty array.

    The array cannot be written to. Magnitudes are at most 2**512, so that no sum of 2**63 of them, or of
    merged sketches, overflows.
    """
    if weights is None:
        return read_only(np.empty(0))
    array = _check_weights_shape(name, weights, n, n_outputs)
    if array.size and array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    xp = backend_of(array).xp
    with np.errstate(over="ignore"):  # A long double beyond float64 becomes infinity.
        array = read_only(xp.ascontiguousarray(array, dtype=np.float64))
    wild = array[~(xp.abs(array) <= 2.0**512)]
    if wild.size:
        raise ValueError(f"{name} must be finite and at most 2**512 in magnitude, got {wild[0]}")
    return array


def _check_weights_shape(name: str, weights: Any, n: int, n_outputs: int | None) -> NDArray[Any]:
    array = check_array(name, weights)
    shape, meaning = (
        ((n,), "one weight a row") if n_outputs is None else ((n, n_outputs), "one weight a row and output")
    )
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, {meaning}, got shape {array.shape}")
    return array
