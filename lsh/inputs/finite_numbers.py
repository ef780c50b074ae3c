"""Numbers to be counted, one by one: arrays, lists and columns, with or without nulls."""

from __future__ import annotations

import sys
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..support.backend import backend_of
from ..support.checks import check_choice
from .arrays import check_array, how_to_convert
from .columns import import_arrow, is_null
from .number_columns import read_numbers

__all__ = ["FiniteNumbers", "read_finite_numbers"]


class FiniteNumbers(NamedTuple):
    """Finite numbers in one dimension.

    Attributes
    ----------
    values : ndarray of float64
        In C order. The memory may be the caller's.
    low, high : float
        The least and the largest of them; infinity and minus infinity if there are none.
    n_given : int
        How many were passed, with nulls.
    kept : ndarray of int64, or None
        The places of those that are no nulls; None if none was left out.
    is_single : bool
        True if one number was passed, and not an array of it.
    """

    values: NDArray[np.float64]
    low: float
    high: float
    n_given: int
    kept: NDArray[np.int64] | None
    is_single: bool


def read_finite_numbers(name: str, values: Any, nulls: Literal["raise", "skip"] | None) -> FiniteNumbers:
    """Return real numbers as float64; those of larger integers are rounded.

    Parameters
    ----------
    name : str
        Name of the argument in messages.
    values : array_like, column of pandas, polars or Arrow, or number
    nulls : {"raise", "skip"}, or None
        "skip" leaves out None, NaN, masked numbers and nulls of columns. None is for functions without that
        choice: messages do not advise it.

    Raises
    ------
    TypeError, ValueError
        If `values` are no real numbers, have several dimensions, or have nulls, NaN or infinity.
    """
    skip = nulls is not None and check_choice("nulls", nulls, ("raise", "skip")) == "skip"
    advice = "" if nulls is None else '; nulls="skip" leaves them out'
    array = _numbers(name, values, skip, advice)
    if array.ndim > 1:
        raise ValueError(f"{name} must have shape (n,), got shape {array.shape}")
    if array.size and array.dtype.kind not in "fiub":
        null = next(filter(is_null, values if isinstance(values, (list, tuple)) else [values]), array)
        if null is not array:
            raise ValueError(f"{name} must have no nulls, got {null}{advice}")
        raise TypeError(f"{name} must be real numbers, got dtype {how_to_convert(name, array.dtype)}")
    xp = backend_of(array).xp
    with np.errstate(over="ignore"):  # A long double beyond float64 becomes infinity.
        numbers = xp.ascontiguousarray(array, dtype=np.float64).reshape(-1)
    kept, n_given = None, numbers.size
    low, high = _range(numbers)
    # The least of some numbers is NaN if one of them is.
    if skip and low != low:
        kept = xp.flatnonzero(numbers == numbers)
        numbers = numbers[kept]
        low, high = _range(numbers)
    if numbers.size and not (np.isfinite(low) and np.isfinite(high)):
        place = int(xp.flatnonzero(~xp.isfinite(numbers))[0])
        found = float(numbers[place])
        advice = advice.replace("; ", ", which ").replace(" them", "") if found != found else ""
        where = place if kept is None else int(kept[place])
        raise ValueError(f"{name} must be finite, got {found} at index {where}{advice}")
    return FiniteNumbers(numbers, low, high, n_given, kept, array.ndim == 0)


def _range(numbers: NDArray[np.float64]) -> tuple[float, float]:
    return (float(numbers.min()), float(numbers.max())) if numbers.size else (np.inf, -np.inf)


def _numbers(name: str, values: Any, skip: bool, advice: str) -> NDArray[Any]:
    """Return what was passed as an array, in which nulls are NaN; ValueError for nulls without `skip`."""
    column = None if isinstance(values, np.ndarray) else read_numbers(import_arrow(values, name))
    if column is not None:
        if column.is_null is not None and not skip and column.is_null.any():
            raise ValueError(
                f"{name} must have no nulls, got {int(column.is_null.sum())}, the first at index "
                f"{int(column.is_null.argmax())}{advice}"
            )
        return check_array(name, column.values)
    if skip:
        masked = sys.modules.get("numpy.ma")
        if masked is not None and isinstance(values, masked.MaskedArray) and values.dtype.kind in "fiub":
            return np.asarray(values.astype(np.float64).filled(np.nan))
        if isinstance(values, (list, tuple)):
            values = [np.nan if is_null(value) else value for value in values]
        elif is_null(values):
            values = np.nan
    return check_array(name, values)
