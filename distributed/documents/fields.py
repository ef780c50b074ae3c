"""Find fields in records: nested ones by their path, scores as numbers, and ids as strings or integers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LongInteger", "as_id", "as_scores", "field_names", "find_field"]


class LongInteger(int):
    """An integer with more digits than Python converts, whose value is not known."""


def find_field(record: Mapping[str, Any], field: str) -> Any:
    """Return the value under `field`. A field that has this name itself comes before a nested one.

    Raises
    ------
    KeyError
        If there is neither.

    Examples
    --------
    >>> from mergesketch.distributed.documents.fields import find_field
    >>> find_field({"a": {"b": 1}}, "a.b"), find_field({"a": {"b": 1}, "a.b": 2}, "a.b")
    (1, 2)
    """
    if field in record:
        return record[field]
    dot = field.find(".")
    while dot >= 0:
        inner = record.get(field[:dot])
        if isinstance(inner, dict):
            try:
                return find_field(inner, field[dot + 1 :])
            except KeyError:
                pass
        dot = field.find(".", dot + 1)
    raise KeyError(field)


def field_names(record: Mapping[str, Any], field: str) -> list[str]:
    """Return the names of the fields of a record for a message; with nested ones if `field` has a dot."""
    names: list[str] = []
    for name, value in record.items():
        nested = isinstance(value, dict) and "." in field
        names += [f"{name}.{inner}" for inner in value] if nested else [name]
    return names


def as_scores(values: Iterable[Any], *, texts: bool) -> NDArray[np.float64]:
    """Return values as numbers, and NaN for what is no number; with `texts`, a text may be one."""
    return np.array([_as_score(value, texts) for value in values], dtype=np.float64)


def _as_score(value: Any, texts: bool) -> float:
    is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, (bool, LongInteger))
    if not is_number and not (texts and isinstance(value, str)):
        return math.nan
    try:
        return float(value)
    except ValueError:
        return math.nan
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_id(value: Any) -> str | int | None:
    """Return a value as an id: a string or an integer, or None for what is neither.

    A whole number in floating point is an integer, because pandas stores integers so where some are missing.
    """
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, (bool, LongInteger)):
        return None
    if isinstance(value, (float, Decimal)):
        return int(value) if math.isfinite(value) and value == int(value) else None
    return value if isinstance(value, (str, int)) else None
