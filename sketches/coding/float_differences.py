"""Arrays of floats as small integers beside a base: bits that differ, or steps from float to float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .float_coding import choose, code_of, stored_bits, survey
from .float_formats import FloatFormat

__all__ = ["METHODS", "Rule", "best_rule", "difference", "put_back", "restore", "split"]

#: How a value is related to that of the base.
METHODS = ("difference", "xor")
#: Values that decide on the rule.
_SAMPLE = 1 << 15


class Rule(NamedTuple):
    """The method, and the bits of the integers that are coded; larger integers are kept apart."""

    method: str
    bits: int


def _ordered(bits: NDArray[Any]) -> NDArray[Any]:
    """Return integers that rise as the floats do, as two's complements; the function is its own inverse."""
    top = bits.dtype.type(8 * bits.itemsize - 1)
    one = bits.dtype.type(1)
    return bits ^ ((~(bits >> top) + one) >> one)


def difference(bits: NDArray[Any], base: NDArray[Any], method: str) -> NDArray[Any]:
    """Return unsigned integers that are small where floats are near those of the base."""
    if method == "xor":
        return bits ^ base
    top, one = bits.dtype.type(8 * bits.itemsize - 1), bits.dtype.type(1)
    steps = _ordered(bits) - _ordered(base)
    # 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
    return (steps << one) ^ (~(steps >> top) + one)


def restore(integers: NDArray[Any], base: NDArray[Any], method: str) -> NDArray[Any]:
    """Return the bits whose `difference` from the base are these integers."""
    if method == "xor":
        return integers ^ base
    one = integers.dtype.type(1)
    steps = (integers >> one) ^ (~(integers & one) + one)
    return _ordered(_ordered(base) + steps)


def split(integers: NDArray[Any], bits: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the integers with those of more bits replaced by the largest of `bits` bits, and those alone."""
    if bits == 8 * integers.itemsize:
        return integers, integers[:0]
    mark = integers.dtype.type((1 << bits) - 1)
    return np.minimum(integers, mark), integers[integers >= mark]


def put_back(integers: NDArray[Any], apart: NDArray[Any], bits: int) -> int:
    """Put integers that were kept apart in their places; return their number, ValueError if some lack."""
    if bits == 8 * integers.itemsize:
        return 0
    places = np.flatnonzero(integers == integers.dtype.type((1 << bits) - 1))
    if places.size > apart.size:
        raise ValueError(f"the delta is damaged: of {places.size} values that are kept apart, some lack")
    integers[places] = apart[: places.size]
    return int(places.size)


def best_rule(
    n: int, part: Callable[[int, int], tuple[NDArray[Any], NDArray[Any]]], form: FloatFormat
) -> Rule:
    """Return the rule of the smallest size, from a sample of the n bits and bases that `part` returns."""
    count = min(n, _SAMPLE)
    # Eight runs that are spread evenly.
    starts = [n * k // 8 for k in range(8)] if n > count else [0]
    pieces = [part(start, min(start + -(-count // len(starts)), n)) for start in starts]
    bits, base = (np.concatenate([piece[i] for piece in pieces]) for i in range(2))
    best, least = Rule("xor", form.width), np.inf
    for method in METHODS:
        integers = difference(bits, base, method)
        for width in range(1, form.width + 1):
            size = _size(*split(integers, width), form)
            if size < least:
                best, least = Rule(method, width), size
    return best


def _size(integers: NDArray[Any], apart: NDArray[Any], form: FloatFormat) -> float:
    """Return about how many bits integers take, and those that are kept apart."""
    found = survey(integers, form)
    coding = choose(found, form, "auto")
    kept = 0.0 if apart.size == 0 else apart.size * form.width
    if coding is None:
        return kept + integers.size * form.width
    code = code_of(found, form, coding)
    assert code is not None
    return kept + code[2] + integers.size * stored_bits(found, form, coding) + 4 * code[1].size
