"""How the floats of a chunk are coded: which of their top bits are symbols, by the size that follows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.float_codes import LONGEST
from ..kernels.float_encoding import count_tops, varying_bits
from .float_formats import FloatFormat
from .prefix_code import code_lengths

__all__ = ["CODINGS", "Coding", "Survey", "bound", "choose", "code_of", "constant_bits", "survey", "total"]

#: What a caller may ask for.
CODINGS = ("auto", "exponent", "joint", "raw")
#: Bits of the numbers that are counted, and the most mantissa bits in a symbol.
_COUNTED, _MANTISSA = 13, 4
#: Bits a value that a coding of shorter symbols, which decodes faster, may take more than the smallest.
_WORTH = 0.0005


class Coding(NamedTuple):
    """Which bits of a value are its symbol: `bits` of them below the `lead` top ones.

    With `rotated`, values are rotated by one bit to the left before, so that the sign is their lowest bit.
    """

    bits: int
    rotated: bool = False
    lead: int = 0


class Survey(NamedTuple):
    """Counts of the top bits of values, below `lead` bits that all have in common, and which bits vary."""

    n: int
    counts: NDArray[np.int64]
    varying: int
    lead: int


def survey(values: NDArray[Any], form: FloatFormat) -> Survey:
    """Count the top bits of at least one value."""
    varying = int(varying_bits(values))
    # Integers may all be small.
    lead = 0 if form.exponent else min(form.width - varying.bit_length(), form.width - 1)
    counted = min(_COUNTED, form.width - lead)
    counts = np.zeros((2, 1 << counted), np.int64)
    count_tops(values, form.width - lead - counted, counts)
    return Survey(values.size, counts.sum(axis=0), varying, lead)


def total(parts: list[Survey]) -> Survey:
    """Return the counts of all values of some surveys, of those with the most varying bits if they differ."""
    lead = min(part.lead for part in parts)
    alike = [part for part in parts if part.lead == lead]
    varying = 0
    for part in alike:
        varying |= part.varying
    return Survey(
        sum(part.n for part in alike), np.sum([part.counts for part in alike], axis=0), varying, lead
    )


def constant_bits(found: Survey, form: FloatFormat, coding: Coding) -> int:
    """Return the number of lowest bits, after the rotation, that are the same in all values."""
    varying, below = found.varying, form.width - coding.lead - coding.bits
    if coding.rotated:
        varying = (varying << 1 | varying >> (form.width - 1)) & ((1 << form.width) - 1)
    return below if varying == 0 else min(below, (varying & -varying).bit_length() - 1)


def _symbol_counts(found: Survey, coding: Coding) -> NDArray[np.int64]:
    """Return the count of each symbol."""
    counts = found.counts
    if coding.rotated:
        counts = counts.reshape(2, -1).sum(axis=0)
    return counts.reshape(1 << coding.bits, -1).sum(axis=1)


def _codings(form: FloatFormat, lead: int, coding: str) -> list[Coding]:
    """Return the codings to choose from, those that decode fastest first."""
    if form.exponent == 0:
        # Integers of few bits are one symbol each.
        return [Coding(bits, False, lead) for bits in range(1, min(_COUNTED, form.width - lead) + 1)]
    alone = Coding(form.exponent, True)
    if coding == "exponent":
        return [alone]
    found = []
    for bits in range(form.exponent, min(_COUNTED, form.width) + 1):
        if bits < min(_COUNTED, form.width) and bits <= form.exponent + _MANTISSA:
            found.append(Coding(bits, True))
        if form.exponent < bits <= form.exponent + 1 + _MANTISSA:
            found.append(Coding(bits))
    return [each for each in found if coding == "auto" or each != alone]


def code_of(found: Survey, coding: Coding) -> tuple[int, NDArray[np.uint8], int] | None:
    """Return the first symbol, the lengths of the words from it on, and the bits of all words.

    Return None if there are too many symbols for words of at most `LONGEST` bits.
    """
    counts = _symbol_counts(found, coding)
    present = np.flatnonzero(counts)
    if present.size > 1 << LONGEST:
        return None
    lengths = np.zeros(int(present[-1] - present[0]) + 1, np.uint8)
    own = code_lengths(counts[present], LONGEST)
    lengths[present - present[0]] = own
    return int(present[0]), lengths, int((counts[present] * own).sum())


def choose(found: Survey, form: FloatFormat, coding: str) -> Coding | None:
    """Return the coding of the fewest bits, or the fastest of those that are nearly as small.

    Return None if values are to be stored as they are.
    """
    sizes = {}
    for each in _codings(form, found.lead, coding) if coding != "raw" else ():
        code = code_of(found, each)
        if code is not None:
            raw = form.width - each.lead - each.bits - constant_bits(found, form, each)
            sizes[each] = code[2] / found.n + raw
    if not sizes:
        return None
    limit = min(sizes.values()) + _WORTH * form.width
    return next(each for each, size in sizes.items() if size <= limit)


def bound(found: Survey, form: FloatFormat) -> float:
    """Return the fewest bits a value that any code of the symbols can take, over all codings."""
    best = float(form.width)
    for coding in _codings(form, found.lead, "auto"):
        share = _symbol_counts(found, coding) / found.n
        share = share[share > 0]
        raw = form.width - coding.lead - coding.bits - constant_bits(found, form, coding)
        best = min(best, raw - float((share * np.log2(share)).sum()))
    return max(best, 0.0)
