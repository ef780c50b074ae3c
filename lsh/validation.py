"""Checks of arguments; every message names the argument, what was expected and what came."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .backend import as_array, backend_of, device_of, refuse_gpu, to_host
from .columns import open_table, refuse_masked
from .sparse_structure import check_offsets, csr_parts
from .strings import NO_INTEGERS
from .threads import map_blocks

__all__ = [
    "check_array",
    "check_choice",
    "check_csr",
    "check_dense",
    "check_distances",
    "check_flag",
    "check_generator",
    "check_int",
    "check_numbers",
    "check_probabilities",
    "check_real",
    "check_real_weights",
    "check_sets",
    "check_weights",
    "refuse_flags",
    "renamed",
]


def check_int(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """`value` as a Python int within [minimum, maximum]; booleans and floats are refused."""
    wanted = f"an integer of at least {minimum}"
    if maximum is not None:
        wanted = f"an integer from {minimum} to {maximum}"
    if isinstance(value, NO_INTEGERS) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    result = int(value)
    if result < minimum or (maximum is not None and result > maximum):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return result


def check_real(name: str, value: Any, low: float, high: float, *, closed: bool = False) -> float:
    """`value` as a float in the open (or, with `closed`, closed) interval from low to high."""
    wanted = f"a number in {'[' if closed else '('}{low:g}, {high:g}{']' if closed else ')'}"
    if isinstance(value, NO_INTEGERS) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    try:
        result = float(value)
    except OverflowError:
        result = math.nan  # beyond all floats, and so in no interval
    inside = low <= result <= high if closed else low < result < high
    if not inside:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return result


def check_choice(name: str, value: Any, choices: Collection[Any]) -> Any:
    """`value`, which must be one of `choices`."""
    # True equals 1.
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_flag(name: str, value: Any) -> bool:
    """`value` as a bool; what is merely truthy, as "no" is, is refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_generator(name: str, value: Any) -> np.random.Generator:
    """A generator from None, an integer of at least 0 or a generator, which comes back as it is."""
    if value is None or isinstance(value, np.random.Generator):
        return np.random.default_rng(value)
    if isinstance(value, NO_INTEGERS) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, a numpy.random.Generator or None, got {value!r}")
    return np.random.default_rng(check_int(name, value, 0))


@contextmanager
def renamed(inner: str, outer: str) -> Iterator[None]:
    """Have messages about `inner` name `outer`: the caller's name for what is handed on under another."""
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error)
        if type(error) not in (TypeError, ValueError) or not re.match(rf"{inner}\b", text):
            raise
        # Its parts may be named once more: "X.row must have the shape of X.data".
        rest = re.sub(rf"\b{inner}\.", f"{outer}.", text[len(inner) :])
        raise type(error)(outer + rest) from error.__cause__


def check_array(name: str, value: Any) -> Any:
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
    return backend_of(array).xp.asarray(array, dtype=np.float64, order="C")


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


def check_weights(
    name: str, weights: Any, n: int, minimum: int | None = None, n_outputs: int | None = None
) -> tuple[NDArray[np.int64], int]:
    """Integer weights of `n` rows as ``(weights, magnitude)``, the magnitude being the sum of ``|w|``.

    None means 1 for every row and comes back as an empty array, which is what the kernels take it
    for. With `minimum`, smaller weights are refused. With `n_outputs` a row has so many weights, and the
    magnitude is that of the heaviest output.
    """
    if weights is None:
        return np.empty(0, dtype=np.int64), n
    array = _check_weights_shape(name, weights, n, n_outputs)
    xp = backend_of(array).xp
    if array.size == 0:
        return xp.empty(array.shape, dtype=np.int64), 0
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    refuse_flags(name, weights)
    low, high = int(array.min()), int(array.max())
    if minimum is not None and low < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {low}")
    largest = max(high, -low)
    if largest > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must lie within 63 bits and a sign, got {low if -low > high else high}")
    array = xp.ascontiguousarray(array, dtype=np.int64)
    if largest * n <= np.iinfo(np.int64).max:
        return array, int(xp.abs(array).sum(axis=0).max())
    # Beyond 63 bits Python's own integers add up.
    return array, int(np.max(np.abs(to_host(array).astype(object)).sum(axis=0)))


def check_real_weights(name: str, weights: Any, n: int, n_outputs: int | None = None) -> NDArray[np.float64]:
    """Finite weights of `n` rows as float64; None means 1 for every row and comes back empty.

    Magnitudes are at most 2**512: then no sum of 2**63 of them and of merged sketches overflows.
    """
    if weights is None:
        return np.empty(0)
    array = _check_weights_shape(name, weights, n, n_outputs)
    if array.size and array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    xp = backend_of(array).xp
    array = xp.ascontiguousarray(array, dtype=np.float64)
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


@njit(cache=True, nogil=True)
def _any_nonfinite_32(bits, start, stop):  # type: ignore[no-untyped-def]
    # On bit patterns and a slice: neither float comparisons nor indices from `start` on vectorise.
    largest = np.uint32(0)
    part = bits[start:stop]
    for i in range(part.size):
        largest = max(largest, np.uint32(part[i] & np.uint32(0x7FFFFFFF)))
    return largest >= np.uint32(0x7F800000)


@njit(cache=True, nogil=True)
def _any_nonfinite_64(bits, start, stop):  # type: ignore[no-untyped-def]
    largest = np.uint64(0)
    part = bits[start:stop]
    for i in range(part.size):
        largest = max(largest, part[i] & np.uint64(0x7FFFFFFFFFFFFFFF))
    return largest >= np.uint64(0x7FF0000000000000)


def check_finite(name: str, array: NDArray[Any]) -> None:
    """Refuse NaN and infinity in a C-contiguous float32 or float64 array."""
    flat = array.reshape(-1)
    if device_of(array) == "gpu":
        kernels = backend_of(array)
        if kernels.any_nonfinite(flat):
            _report_nonfinite(name, array.shape, flat, kernels.xp)
        return
    if array.dtype == np.float32:
        bits, kernel = flat.view(np.uint32), _any_nonfinite_32
    else:
        bits, kernel = flat.view(np.uint64), _any_nonfinite_64
    if any(map_blocks(lambda a, b: kernel(bits, a, b), bits.size, 1 << 20)):
        _report_nonfinite(name, array.shape, flat, np)


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


def check_csr(
    X: Any, n_features: int | None = None, name: str = "X"
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """``(indptr, indices, data)`` of a SciPy sparse matrix, rows sorted and free of duplicates.

    Unsorted rows and duplicate entries (which add up, as in SciPy) are put right on a copy.
    `indptr` comes back as int64, `indices` as int32 or int64, `data` as float32 or float64.
    """
    matrix, indptr, falls = csr_parts(X, name)
    if n_features is not None and matrix.shape[1] != n_features:
        raise ValueError(f"{name} must have {n_features} columns, got {matrix.shape[1]}")
    xp = backend_of(matrix.data).xp
    if falls:
        matrix = matrix.copy()
        matrix.sum_duplicates()
        indptr = xp.ascontiguousarray(matrix.indptr, dtype=np.int64)
    indices, data = matrix.indices, matrix.data
    if data.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        data = data.astype(np.float32 if data.dtype.itemsize <= 2 else np.float64)
    data = xp.ascontiguousarray(data)
    check_finite(f"{name}.data", data)
    return indptr, xp.ascontiguousarray(indices), data


def _without_zeros(matrix: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Columns and offsets of a CSR matrix less the zeros that it stores."""
    if device_of(matrix.data) == "cpu":
        matrix = matrix.copy()
        matrix.eliminate_zeros()
        return matrix.indices, matrix.indptr
    # CuPy drops zeros by a function of cuSPARSE, which does not take booleans.
    kept, xp = matrix.data != 0, backend_of(matrix.data).xp
    before = xp.zeros(kept.size + 1, np.int64)
    before[1:] = xp.cumsum(kept)
    return matrix.indices[kept], before[matrix.indptr]


def _token_row(name: str, row: Any) -> NDArray[Any]:
    """One set as an array; lists with integers beyond int64, of which NumPy makes floats, modulo 2**64."""
    array = check_array(name, row)
    if isinstance(row, (list, tuple)) and array.dtype.kind in "fO":
        types = set(map(type, row))
        is_integer = all(issubclass(t, (int, np.integer)) and not issubclass(t, NO_INTEGERS) for t in types)
        if is_integer and all(-(1 << 63) <= int(token) < 1 << 64 for token in row):
            return np.array([int(token) % (1 << 64) for token in row], dtype=np.uint64)
    return array


def check_sets(
    X: Any, name: str = "X", *, keep_int32: bool = False
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Sets as ``(tokens, offsets)``: row i is ``tokens[offsets[i]:offsets[i + 1]]``.

    Accepts a SciPy sparse matrix (the columns of its non-zero entries), a pair
    ``(tokens, offsets)``, or a list of integer arrays. Tokens are any 64-bit integers; negative ones
    are taken modulo 2**64. Order and repetition within a row do not matter to a set, so neither is
    checked.

    Tokens come back as uint64; with `keep_int32`, for kernels that widen tokens themselves, those of
    int32 (the columns of most sparse matrices) stay as they are and are not copied.
    """
    if hasattr(X, "tocsr"):
        matrix, _, falls = csr_parts(X, name)
        if falls and bool((matrix.data < 0).any()):  # entries of one place may add up to 0
            matrix = matrix.copy()
            matrix.sum_duplicates()
        blocks = backend_of(matrix.data).map_blocks
        if not all(blocks(lambda a, b: bool((matrix.data[a:b] != 0).all()), matrix.data.size, 1 << 20)):
            tokens, offsets = _without_zeros(matrix)
        else:
            tokens, offsets = matrix.indices, matrix.indptr
    elif isinstance(X, tuple) and len(X) == 2:
        tokens, offsets = check_array(f"{name} tokens", X[0]), check_array(f"{name} offsets", X[1])
        if device_of(tokens) != device_of(offsets):
            raise TypeError(f"{name} must be tokens and offsets of one device, got one of each")
        if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
            raise TypeError(
                f"{name} must hold a 1-D array of integer tokens, got dtype {tokens.dtype} and shape "
                f"{tokens.shape}"
            )
        if offsets.dtype.kind not in "iu":
            raise TypeError(f"{name} must have integer offsets, got dtype {offsets.dtype}")
        check_offsets(offsets, tokens.size, f"{name} offsets")
    elif isinstance(X, (list, tuple)):
        if any(device_of(row) == "gpu" for row in X):
            raise TypeError(f"{name} must be a pair (tokens, offsets) on a GPU, got a {type(X).__name__}")
        rows = [_token_row(f"{name}[{i}]", row) for i, row in enumerate(X)]
        for i, row in enumerate(rows):
            if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
                raise TypeError(
                    f"{name}[{i}] must be a 1-D array of integers, got dtype {row.dtype} and shape "
                    f"{row.shape}"
                )
            refuse_flags(f"{name}[{i}]", X[i])
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([row.size for row in rows], out=offsets[1:])
        full = [row.astype(np.uint64, copy=False) for row in rows if row.size]
        tokens = np.concatenate(full) if full else np.empty(0, dtype=np.uint64)
    else:
        raise TypeError(
            f"{name} must be a SciPy sparse matrix, a pair (tokens, offsets) or a list of integer "
            f"arrays, got {type(X).__name__}"
        )
    xp = backend_of(tokens).xp
    offsets = xp.ascontiguousarray(offsets, dtype=np.int64)
    if not (keep_int32 and tokens.dtype == np.int32):
        tokens = tokens.astype(np.uint64, copy=False)
    return xp.ascontiguousarray(tokens), offsets
