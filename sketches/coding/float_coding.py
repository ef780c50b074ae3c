"""Choose how the floats of a chunk are coded: which top bits are symbols, by the size that follows."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of, read_only, to_host
from ..kernels import float_encoding
from ..kernels.float_codes import LONGEST, MOST_SYMBOLS
from .float_formats import FloatFormat
from .prefix_code import sorted_code_lengths

__all__ = [
    "CODINGS",
    "SIGN_AFTER_EXPONENT",
    "TURNS",
    "Coding",
    "Survey",
    "bits_to_count",
    "bound",
    "choose",
    "code_of",
    "constant_bits",
]
__all__ += ["stored_bits", "survey", "survey_for", "total", "turned"]

#: What a caller may ask for.
CODINGS = ("auto", "exponent", "joint", "raw")
#: How bits are turned before the top ones are the symbol: not at all; the sign becomes the lowest bit; the
#: sign comes between exponent and mantissa.
TURNS = (AS_IS, SIGN_LAST, SIGN_AFTER_EXPONENT) = range(3)
#: Bits of the numbers that are counted, and the most mantissa bits in a symbol.
_COUNTED, _MANTISSA = 12, 3
#: The share of a float's bits that a coding may take more than the smallest one because it decodes faster; in
#: wide floats the share of 16 bits.
_WORTH, _WIDE = 0.005, 16
#: Bits beyond the exponent that such a coding may have, and in arrays of few values, where more gain hardly
#: anything.
_BEYOND, _BEYOND_FEW, _FEW = 2, 1, 1 << 13
#: Codes that are built to find the smallest, and bits by which they may differ from the least entropy.
_TRIED, _SPREAD = 5, 0.08


class Coding(NamedTuple):
    """The bits of a turned value that are its symbol: `bits` of them below the `lead` top ones."""

    bits: int
    turn: int = AS_IS
    lead: int = 0


class Survey(NamedTuple):
    """Counts of the top bits of values, below `lead` bits that all have in common, and which bits vary."""

    n: int
    counts: NDArray[np.int64]
    varying: int
    lead: int


def turned(bits: int, form: FloatFormat, turn: int) -> int:
    """Return the bits of a value as they are before the symbol is taken."""
    sign = bits >> (form.width - 1)
    rest = bits & ((1 << (form.width - 1)) - 1)
    if turn == SIGN_LAST:
        return rest << 1 | sign
    if turn == SIGN_AFTER_EXPONENT:
        mantissa = form.width - 1 - form.exponent
        return (rest >> mantissa) << (mantissa + 1) | sign << mantissa | rest & ((1 << mantissa) - 1)
    return bits


def survey(values: NDArray[Any], form: FloatFormat, counted: int = _COUNTED) -> Survey:
    """Count the `counted` top bits of at least one value, where the values lie."""
    backend, values = backend_of(values), read_only(values)
    kernels = backend.kernels(float_encoding)
    varying = int(kernels.varying_bits(values))
    # Integers may all be small.
    lead = 0 if form.exponent else min(form.width - varying.bit_length(), form.width - 1)
    counted = min(counted, form.width - lead)
    counts = backend.xp.zeros((4, 1 << counted), np.uint32)
    kernels.count_tops(values, form.width - lead - counted, counts)
    return Survey(values.size, to_host(counts.sum(axis=0, dtype=np.int64)), varying, lead)


def bits_to_count(form: FloatFormat, coding: str) -> int:
    """Return the number of top bits that `choose` needs to know."""
    return min(_COUNTED, 1 + form.exponent + _BEYOND) if coding == "auto" and form.exponent else _COUNTED


def survey_for(values: NDArray[Any], form: FloatFormat, coding: Coding) -> Survey:
    """Count no more bits than a coding needs; that of integers is chosen anew for each chunk."""
    needed = coding.bits + (coding.turn == SIGN_LAST)
    return survey(values, form, needed if form.exponent else _COUNTED)


def total(parts: list[Survey]) -> Survey:
    """Return the counts of all values of some surveys, of those with the most varying bits if they differ."""
    if len(parts) == 1:
        return parts[0]
    lead = min(part.lead for part in parts)
    alike = [part for part in parts if part.lead == lead]
    varying = 0
    for part in alike:
        varying |= part.varying
    return Survey(
        sum(part.n for part in alike), np.sum([part.counts for part in alike], axis=0), varying, lead
    )


def constant_bits(found: Survey, form: FloatFormat, coding: Coding) -> int:
    """Return the number of lowest bits, of turned values, that are the same in all of them."""
    varying, below = turned(found.varying, form, coding.turn), form.width - coding.lead - coding.bits
    return below if varying == 0 else min(below, (varying & -varying).bit_length() - 1)


def stored_bits(found: Survey, form: FloatFormat, coding: Coding) -> int:
    """Return the bits of each value that are stored as they are."""
    return form.width - coding.lead - coding.bits - constant_bits(found, form, coding)


def _symbol_counts(found: Survey, form: FloatFormat, coding: Coding) -> NDArray[np.int64]:
    """Return the count of each symbol."""
    counts = found.counts
    if coding.turn == SIGN_LAST:
        counts = counts[: counts.size // 2] + counts[counts.size // 2 :]
    elif coding.turn == SIGN_AFTER_EXPONENT:
        counts = counts.reshape(2, 1 << form.exponent, -1).transpose(1, 0, 2).reshape(-1)
    while counts.size > 1 << coding.bits:
        counts = counts[::2] + counts[1::2]
    return counts


@lru_cache(256)
def _codings(form: FloatFormat, lead: int, coding: str) -> tuple[Coding, ...]:
    """Return the codings to choose from, those that decode fastest first."""
    if form.exponent == 0:
        # Integers of few bits are one symbol each.
        return tuple(Coding(bits, AS_IS, lead) for bits in range(1, min(_COUNTED, form.width - lead) + 1))
    found = []
    # Where there are very many exponents, only their top bits have words.
    for bits in range(min(form.exponent, 8), min(_COUNTED, form.width, form.exponent + 1 + _MANTISSA) + 1):
        if bits < min(_COUNTED, form.width) and bits <= form.exponent + _MANTISSA:
            found.append(Coding(bits, SIGN_LAST))
        if bits > form.exponent:
            found.append(Coding(bits, SIGN_AFTER_EXPONENT))
    alone = [each for each in found if each.bits <= form.exponent]
    return tuple({"exponent": alone, "joint": found[len(alone) :], "raw": []}.get(coding, found))


def code_of(found: Survey, form: FloatFormat, coding: Coding) -> tuple[int, NDArray[np.uint8], int] | None:
    """Return the first symbol, the lengths of the words from it on, and the bits of all words.

    Return None if there are more symbols than bytes have values.
    """
    counts = _symbol_counts(found, form, coding)
    present = np.flatnonzero(counts)
    if present.size > MOST_SYMBOLS:
        return None
    lengths = np.zeros(int(present[-1] - present[0]) + 1, np.uint8)
    lengths[present - present[0]], n_bits = _word_lengths(counts[present])
    return int(present[0]), lengths, n_bits


def _word_lengths(counts: NDArray[np.int64]) -> tuple[NDArray[np.uint8], int]:
    """Return the lengths of the words of symbols that all occur, and the bits of all words."""
    order = np.argsort(counts, kind="stable")
    weights, lengths = counts[order], np.empty(counts.size, np.uint8)
    ascending = sorted_code_lengths(weights, LONGEST)
    lengths[order] = ascending
    return lengths, int(weights @ ascending)


def _entropy(counts: NDArray[np.int64]) -> float:
    """Return the entropy of a symbol in bits."""
    counts = counts[counts > 0]
    n = int(counts.sum())
    return float(np.log2(n) - (counts * np.log2(counts)).sum() / n)


def choose(found: Survey, form: FloatFormat, coding: str) -> Coding | None:
    """Return the coding that decodes fastest of those that are nearly as small as the smallest one.

    For "joint", and for integers, return the smallest one. Return None if values are to be stored as they
    are.
    """
    codings = _codings(form, found.lead, coding)
    is_fast = coding == "auto" and form.exponent > 0
    if is_fast:
        most = form.exponent + (_BEYOND_FEW if found.n < _FEW else _BEYOND)
        codings = tuple(each for each in codings if each.bits <= most)
    sizes = {}
    for each in codings:
        counts = _symbol_counts(found, form, each)
        if counts.size <= MOST_SYMBOLS or np.count_nonzero(counts) <= MOST_SYMBOLS:
            sizes[each] = _entropy(counts) + stored_bits(found, form, each)
    if not sizes:
        return None
    lowest = min(sizes.values())
    if is_fast:
        limit = lowest + _WORTH * min(form.width, _WIDE)
        return next(each for each, size in sizes.items() if size <= limit)
    # Codes take time to build, and differ by some hundredths of a bit in what they take beyond the entropy.
    built = {}
    for each in [each for each in sizes if sizes[each] <= lowest + _SPREAD][:_TRIED]:
        counts = _symbol_counts(found, form, each)
        _, n_bits = _word_lengths(counts[counts > 0])
        built[each] = n_bits / found.n + stored_bits(found, form, each)
    return min(built, key=lambda each: built[each])


def bound(found: Survey, form: FloatFormat) -> float:
    """Return the fewest bits a value that any code of the symbols can take, over all codings."""
    sizes = [
        _entropy(_symbol_counts(found, form, each)) + stored_bits(found, form, each)
        for each in _codings(form, found.lead, "auto")
    ]
    return max(min(*sizes, float(form.width)), 0.0)
