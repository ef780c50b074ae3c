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


#: Types that are not accepted as integers, although they derive from int or np.integer.
NO_INTEGERS = (bool, np.timedelta64)


def check_int(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as a Python int within [minimum, maximum]; booleans and floats are refused."""
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
    """Return `value` as a float in the open interval from low to high, or with `closed` in the closed one."""
    wanted = f"a number in {'[' if closed else '('}{low:g}, {high:g}{']' if closed else ')'}"
    if isinstance(value, NO_INTEGERS) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    try:
        result = float(value)
    except OverflowError:
        result = math.nan  # larger than every float, so it lies in no interval
    inside = low <= result <= high if closed else low < result < high
    if not inside:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return result


def check_choice(name: str, value: Any, choices: Collection[Any]) -> Any:
    """Return `value`; ValueError unless it is one of `choices`."""
    # True equals 1.
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool; other truthy or falsy values, such as "no", are refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_generator(name: str, value: Any) -> np.random.Generator:
    """Return a generator made from None or an integer of at least 0. A generator is returned as it is."""
    if value is None or isinstance(value, np.random.Generator):
        return np.random.default_rng(value)
    if isinstance(value, NO_INTEGERS) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, a numpy.random.Generator or None, got {value!r}")
    return np.random.default_rng(check_int(name, value, 0))


@contextmanager
def renamed(inner: str, outer: str) -> Iterator[None]:
    """Replace the name `inner` in messages by `outer`, the caller's name of the same argument."""
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error)
        if type(error) not in (TypeError, ValueError) or not re.match(rf"{inner}\b", text):
            raise
        # Parts of the argument may be named again: "X.row must have the shape of X.data".
        rest = re.sub(rf"\b{inner}\.", f"{outer}.", text[len(inner) :])
        raise type(error)(outer + rest) from error.__cause__
