"""Values of labels: strings, or integers that are never rounded, whatever their types are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.columns import refuse_masked
from ...lsh.inputs.libraries import is_from
from ...lsh.support.checks import renamed

__all__ = [
    "check_one_type",
    "comparable",
    "joined_classes",
    "prepared",
    "read_classes",
    "read_set_labels",
    "read_values",
]

#: Labels from this one on do not fit into int64, and all must fit into uint64.
_SIGNED_END, _END = 1 << 63, 1 << 64
#: A float64 from here on may have been another integer before it was rounded.
_MOST_DIGITS = 53
#: Types of labels that are exact, and of all numbers.
_WHOLE = (int, np.integer, np.bool_)
_NUMBERS = (*_WHOLE, float, np.floating)
#: scikit-learn's checks of estimators look for these words.
_UNKNOWN = "Unknown label type: "


def check_one_type(labels: Iterable[Any]) -> None:
    """Refuse strings beside other labels, which NumPy would turn into strings, None, and bytes."""
    kinds = set(map(type, labels))
    if any(issubclass(kind, (bytes, bytearray)) for kind in kinds):
        raise TypeError("y must hold labels of one type, integers or strings, got bytes")
    texts = {issubclass(kind, str) for kind in kinds}
    if len(texts) > 1 or type(None) in kinds:
        raise TypeError("y must hold labels of one type, integers or strings, got several types or None")


def prepared(y: Any) -> Any:
    """Return labels in a form that scikit-learn's checks do not change; `y` itself if it is one already.

    NumPy drops NUL characters at the end of strings, and turns lists of several types of integers into
    floats. scikit-learn reads pandas' nullable integers as floats, and cannot read NumPy's strings of
    variable width.
    """
    if isinstance(y, (list, tuple)):
        check_one_type(y)
        if y and isinstance(y[0], str):
            return _texts(y)
        kinds = set(map(type, y))
        whole = [kind for kind in kinds if issubclass(kind, _WHOLE)]
        return _integers(list(y)) if whole and all(issubclass(kind, _NUMBERS) for kind in kinds) else y
    if is_from(y, "polars", "DataFrame") and y.width == 1:
        return prepared(y.to_series()).reshape(-1, 1)
    if is_from(y, "polars", "Series"):
        numeric = y.dtype.is_numeric() and y.null_count() == 0
        return y.to_numpy() if numeric else _objects(y.to_list())
    if getattr(y, "ndim", 0) == 2 and hasattr(y, "iloc") and y.shape[1] == 1:
        column = prepared(y.iloc[:, 0])
        return column.reshape(-1, 1) if isinstance(column, np.ndarray) else y
    if getattr(getattr(y, "dtype", None), "kind", "") == "T":
        return np.asarray(y).astype(object)
    dtype = getattr(getattr(y, "dtype", None), "numpy_dtype", None)
    if getattr(dtype, "kind", "") in "iu" and dtype is not None and not y.isna().any():
        return y.to_numpy(dtype=dtype)
    return y


def read_values(values: NDArray[Any]) -> NDArray[Any]:
    """Return the labels of a 1-D array as booleans, integers, floats that are integers, or strings.

    Raises
    ------
    TypeError
        If they are of several types.
    ValueError
        If they are of another type, fractions, or floats so large that other integers are rounded to them.
    """
    if values.dtype.kind in "OT":
        labels = values.tolist()
        check_one_type(labels)
        if labels and isinstance(labels[0], str):
            return values.astype(object)
        return _integers(labels)
    if values.dtype.kind == "f":
        if not np.array_equal(values, np.floor(values)):
            raise _unknown("fractions")
        if values.size and np.abs(values).max() >= _first_inexact(values.dtype):
            raise _inexact(values[np.argmax(np.abs(values))])
    elif values.dtype.kind not in "biuU":
        raise _unknown(f"dtype {values.dtype}")
    return values


def read_set_labels(labels: list[Any]) -> NDArray[Any]:
    """Return the labels of sets, integers or strings."""
    check_one_type(labels)
    if labels and isinstance(labels[0], str):
        return _texts(labels)
    for kind in set(map(type, labels)):
        if issubclass(kind, bool) or not issubclass(kind, (int, np.integer)):
            raise TypeError(f"y must hold sets of integers or strings, got a label of type {kind.__name__}")
    return _integers(labels)


def read_classes(classes: Any, *, booleans: bool) -> NDArray[Any]:
    """Return the labels of the argument `classes`, sorted; with `booleans` they may be such.

    Raises
    ------
    TypeError, ValueError
        If `classes` is masked, no list of labels, or has labels of another kind.
    """
    refuse_masked(classes, "classes")
    if isinstance(classes, (set, frozenset)):
        classes = list(classes)
    with renamed("y", "classes"):
        array = np.asarray(prepared(classes))
        if array.ndim != 1:
            raise ValueError(f"classes must be a list of labels, got {array.ndim} dimensions")
        listed = classes if isinstance(classes, (list, tuple)) else array[:1]
        if not booleans and any(isinstance(label, (bool, np.bool_)) for label in listed):
            raise TypeError("classes must hold integers or strings, got booleans")
        if array.size == 0:
            return np.empty(0, np.int64)
        try:
            return np.asarray(np.unique(read_values(array)))
        except ValueError as error:
            raise ValueError(str(error).removeprefix(_UNKNOWN)) from error


def comparable(first: NDArray[Any], second: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return two arrays of labels with dtypes that NumPy compares exactly.

    Raises
    ------
    ValueError
        If they are numbers here and strings there.
    """
    if not first.size or not second.size:
        dtype = first.dtype if first.size else second.dtype
        return first.astype(dtype), second.astype(dtype)
    kinds = first.dtype.kind + second.dtype.kind
    texts = {kind in "OU" for kind in kinds}
    if len(texts) > 1:
        raise ValueError("y must hold labels of one type, integers or strings, got both")
    if texts == {True}:
        return (first, second) if kinds == "UU" else (first.astype(object), second.astype(object))
    if kinds in ("bb", "ff"):
        return first, second
    first, second = (part.astype(np.int64) if part.dtype.kind in "bf" else part for part in (first, second))
    common: Any = np.result_type(first, second)
    if common.kind == "f":  # int64 and uint64
        most = max(int(first.max()), int(second.max()))
        least = min(int(first.min()), int(second.min()))
        common = np.int64 if most < _SIGNED_END else np.uint64 if least >= 0 else object
    return first.astype(common), second.astype(common)


def joined_classes(classes: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Return the labels of both, sorted.

    Raises
    ------
    ValueError
        If they are numbers here and strings there, or integers that have no common dtype.
    """
    first, second = comparable(classes, others)
    joined = np.asarray(np.union1d(first, second))
    if joined.dtype.kind == "O" and joined.size and not isinstance(joined[0], str):
        raise _too_far(joined[0], joined[-1])
    return joined


def _texts(labels: Iterable[str]) -> NDArray[Any]:
    """Return strings as an array, of objects where NumPy's own strings would lose NULs at the end."""
    labels = list(labels)
    dtype = object if any(label.endswith("\0") for label in labels) else np.str_
    return np.array(labels, dtype)


def _objects(labels: list[Any]) -> NDArray[Any]:
    """Return a 1-D array of any objects."""
    array = np.empty(len(labels), object)
    array[:] = labels
    return array


def _integers(labels: list[Any]) -> NDArray[Any]:
    """Return numbers of mixed types as integers without rounding; booleans stay where all labels are such."""
    if labels and all(isinstance(label, (bool, np.bool_)) for label in labels):
        return np.array(labels, bool)
    values = [_integer(label) for label in labels]
    if not values:
        return np.empty(0, np.int64)
    least, most = min(values), max(values)
    if least < -_SIGNED_END or most >= _END:
        wrong = least if least < -_SIGNED_END else most
        raise ValueError(f"y must hold integers from -2**63 to 2**64 - 1 as labels, got {wrong}")
    if least < 0 and most >= _SIGNED_END:
        raise _too_far(least, most)
    return np.array(values, np.int64 if most < _SIGNED_END else np.uint64)


def _integer(label: Any) -> int:
    if isinstance(label, (float, np.floating)):
        if label != np.floor(label):
            raise _unknown("fractions" if np.isfinite(label) else str(label))
        if abs(float(label)) >= _first_inexact(np.asarray(label).dtype):
            raise _inexact(label)
    elif not isinstance(label, _WHOLE):
        raise _unknown(f"a label of type {type(label).__name__}")
    return int(label)


def _first_inexact(dtype: Any) -> float:
    """Return the least integer to which a float type rounds another one."""
    return 2.0 ** min(_MOST_DIGITS, int(np.finfo(dtype).nmant) + 1)


def _unknown(what: str) -> ValueError:
    # scikit-learn's own check warns of many labels, which are what `LabelHash` is for.
    return ValueError(
        f"{_UNKNOWN}y must hold integers or strings, or be a matrix of zeros and ones, got {what}"
    )


def _inexact(label: Any) -> ValueError:
    return ValueError(
        f"y must hold labels as large as {label:.6g} as integers, not as floats, which round them"
    )


def _too_far(least: Any, most: Any) -> ValueError:
    return ValueError(f"y must hold labels that int64 or uint64 can hold, got {least} and {most}")
