"""Checks of arrays. Every message names the argument, what was expected and what was given."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import checks
from ..support.backend import Backend, as_array, backend_of, read_only
from ..support.wording import counted
from .columns import refuse_masked
from .frames import column_labels, open_rows

__all__ = [
    "check_array",
    "check_dense",
    "check_finite",
    "check_magnitude",
    "check_numbers",
    "check_range",
    "float_dtype",
    "how_to_convert",
    "read_matrix",
    "refuse_flags",
]

#: Numbers that are converted at a time to be checked.
_NUMBERS = {"cpu": 1 << 20, "gpu": 1 << 26}


def how_to_convert(name: str, dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype that is refused where numbers belong, with advice for Python objects."""
    return f"object; np.asarray({name}, float) converts Python numbers" if dtype.kind == "O" else str(dtype)


def check_array(name: str, value: Any) -> NDArray[Any]:
    """Return `value` as an array where it lies; masked values and rows of unequal lengths are refused.

    So are tensors of PyTorch that NumPy cannot read, as those of bfloat16 or with gradients.
    """
    refuse_masked(value, name)
    value = open_rows(value, name)
    try:
        return as_array(value, name)
    except ValueError as error:
        raise ValueError(f"{name} must be an array or a list of equal rows: {error}") from None


def check_numbers(name: str, value: Any) -> NDArray[np.float64]:
    """Return real numbers of any shape as float64 in C order. NaN and infinity are allowed."""
    array = check_array(name, value)
    if array.size and array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {how_to_convert(name, array.dtype)}")
    # C order matters: NumPy's functions round differently where numbers do not lie side by side.
    with np.errstate(over="ignore"):  # A long double beyond float64 becomes infinity.
        return backend_of(array).xp.asarray(array, dtype=np.float64, order="C")


def refuse_flags(name: str, value: Any) -> None:
    """Refuse booleans in lists of integers; NumPy would convert them to 0 and 1."""
    if not isinstance(value, (list, tuple)):
        return
    types = set(map(type, value))
    if types & {bool, np.bool_}:
        raise TypeError(f"{name} must be integers, got bool among them")
    if any(issubclass(t, (list, tuple)) for t in types):
        for item in value:
            refuse_flags(name, item)


def check_range(name: str, value: Any, largest: float) -> NDArray[np.float64]:
    """Return numbers as float64; ValueError unless each lies from 0 to `largest`, which may be infinite."""
    values = check_numbers(name, value)
    if not bool(np.all((values >= 0) & (values <= largest))):
        raise ValueError(f"{name} must lie in [0, {largest:g}], got {values.min()} to {values.max()}")
    return values


def read_matrix(
    X: Any, n_features: int | None = None, name: str = "X"
) -> tuple[NDArray[Any], np.dtype[Any], Backend]:
    """Read a matrix of finite numbers of shape (n, n_features); nothing is copied.

    Parameters
    ----------
    X : array_like
    n_features : int, optional
        Width that the matrix must have.
    name : str
        Name of the argument in messages.

    Returns
    -------
    array : ndarray
        The matrix in the dtype and memory order that it has.
    dtype : dtype
        float32 or float64, to which kernels need it converted, in C order.
    backend : Backend

    Raises
    ------
    TypeError, ValueError
        If `X` holds no real numbers, NaN or infinity, has another width or is no matrix.
    """
    if hasattr(X, "tocsr"):
        raise TypeError(f"{name} must be a dense array, got a sparse one; pass {name}.toarray()")
    array = check_array(name, X)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {how_to_convert(name, array.dtype)}")
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be a matrix of shape (n, features), got {array.ndim}-D shape {array.shape}"
        )
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(f"{name} must have {counted(n_features, 'column')}, got {array.shape[1]}")
    backend = backend_of(array)
    check_finite(name, array, backend, column_labels(X))
    return array, float_dtype(array.dtype), backend


def float_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return float32 for dtypes all of whose values it holds exactly, and float64 for others."""
    if dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        return dtype
    return np.dtype(np.float32 if dtype.kind == "b" or dtype.itemsize <= 2 else np.float64)


def check_finite(name: str, array: NDArray[Any], backend: Backend, labels: list[Any] | None = None) -> None:
    """Refuse NaN and infinity in an array of real numbers; the message uses the `labels` of columns.

    Arrays of other dtypes than float32 and float64, or with strides, are converted some rows at a time.
    """
    if array.dtype.kind != "f" or array.size == 0:
        return
    dtype, row_size = float_dtype(array.dtype), array.size // len(array)
    is_ready, xp = array.dtype == dtype, backend.xp
    if is_ready and array.flags.f_contiguous and not _any_nonfinite(array.T.reshape(-1), backend):
        return  # Columns of data frames often lie one after the other.
    is_ready = is_ready and array.flags.c_contiguous
    step = len(array) if is_ready else max(1, _NUMBERS[backend.device] // row_size)
    for start in range(0, len(array), step):
        with np.errstate(over="ignore"):  # A long double beyond float64 becomes infinity.
            part = xp.ascontiguousarray(array[start : start + step], dtype=dtype).reshape(-1)
        if _any_nonfinite(part, backend):
            first = int(xp.flatnonzero(~xp.isfinite(part))[0])
            place = tuple(int(i) for i in np.unravel_index(start * row_size + first, array.shape))
            if labels is not None:
                name = f"{name}[{labels[place[1]]!r}]"
            where = f"at index {place}" if labels is None else f"in row {place[0]}"
            raise ValueError(f"{name} must be finite, got {float(part[first])} {where}")


def _any_nonfinite(numbers: NDArray[Any], backend: Backend) -> bool:
    """Tell whether NaN or infinity is among float32 or float64 numbers that lie side by side."""
    kernels = backend.kernels(checks)
    if numbers.dtype == np.float32:
        bits, kernel = read_only(numbers.view(np.uint32)), kernels.any_nonfinite_32
    else:
        bits, kernel = read_only(numbers.view(np.uint64)), kernels.any_nonfinite_64
    return any(backend.map_blocks(partial(kernel, bits), bits.size, 1 << 20))


def check_magnitude(name: str, numbers: NDArray[Any], most: float) -> float:
    """Return the largest magnitude of finite numbers, 0 for none; ValueError if it is above `most`."""
    if numbers.size == 0:
        return 0.0
    largest = max(float(numbers.max()), -float(numbers.min()))
    if largest > most:
        raise ValueError(f"{name} must lie within {most:g} of 0, got a number of magnitude {largest:g}")
    return largest


def check_dense(X: Any, n_features: int | None = None, name: str = "X") -> NDArray[Any]:
    """Return `X` as a finite, C-contiguous float32 or float64 matrix of shape (n, n_features).

    float32 and float64 are kept. Other real dtypes (integers, booleans, float16) become float32 where that is
    exact for their range, and float64 otherwise. A matrix that needs no conversion is not copied.
    """
    array, dtype, backend = read_matrix(X, n_features, name)
    return backend.xp.ascontiguousarray(array, dtype=dtype)
