"""Checks of single values; every message names the argument, what was expected and what was given."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = [
    "NO_INTEGERS",
    "check_choice",
    "check_flag",
    "check_generator",
    "check_int",
    "check_real",
    "renamed",
]


#: Types that are no integers, though int and np.integer are among their bases.
NO_INTEGERS = (bool, np.timedelta64)


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
