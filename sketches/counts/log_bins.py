"""Bins whose widths grow with the numbers in them, as tables that are equal on every machine."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LogBins", "bins_per_octave", "log_bins"]

#: Bits of the fixed-point numbers from which the edges are rounded.
_BITS = 160
_ONE = 1 << _BITS
_FRACTION = 1 << 52
#: What makes bins a little finer than required, so that the rounding of their middles is within the error.
_ROUNDING = 1e-6


class LogBins(NamedTuple):
    """The bins of all floats, in the order of the numbers: negative ones, those near zero, positive ones.

    Attributes
    ----------
    per_octave : int
        Bins between a power of two and the next one.
    lowest, highest : int
        Exponents of the first and last power of two that has bins.
    firsts : ndarray of int32
    cell_edges : ndarray of int64
    shift : int
        What the kernels find a bin by; see `sketches.kernels.ddsketch`.
    edges : ndarray of shape (n_bins + 1,), float64
        Bin i has the numbers from edges[i] to edges[i + 1].
    middles : ndarray of shape (n_bins,), float64
        The number nearest to all numbers of a bin, by the largest relative error. 0 for the bin around zero,
        and NaN for the first and the last bin, which have no end.
    """

    per_octave: int
    lowest: int
    highest: int
    firsts: NDArray[np.int32]
    cell_edges: NDArray[np.int64]
    shift: int
    edges: NDArray[np.float64]
    middles: NDArray[np.float64]

    @property
    def relative_error(self) -> float:
        """The largest relative distance of a number from the middle of its bin."""
        growth = 2.0 ** (1.0 / self.per_octave)
        return (growth - 1.0) / (growth + 1.0)

    @property
    def n_bins(self) -> int:
        """The number of bins, with those near zero and those without an end."""
        return self.middles.size


def bins_per_octave(relative_error: float) -> int:
    """Return the fewest bins of an octave whose numbers lie within `relative_error` of their middle."""
    return math.ceil(math.log(2.0) / (2.0 * math.atanh(relative_error)) + _ROUNDING)


@lru_cache(maxsize=8)
def log_bins(per_octave: int, lowest: int, highest: int) -> LogBins:
    """Return the bins of an octave count, from 2**lowest to 2**(highest + 1).

    The edges are rounded from integers: the functions of floats differ between machines in their last bit.
    """
    context = Context(prec=80)
    growth = int(context.multiply(_root_of_two(per_octave, context), Decimal(_ONE)))
    powers = [_ONE]
    for _ in range(per_octave - 1):
        powers.append(powers[-1] * growth >> _BITS)
    # An edge belongs to the bin above it.
    fractions = [-(-power * _FRACTION // _ONE) - _FRACTION for power in powers]
    # 2 l u / (l + u) for a bin from l to u = growth l. The division of integers is rounded correctly.
    middles = [2 * power * growth / (_ONE * (_ONE + growth)) for power in powers]
    cell_bits = max(1, math.ceil(math.log2(1.5 * per_octave)))
    shift = 52 - cell_bits
    starts = np.array(fractions, np.int64)
    cells = np.arange(1 << cell_bits, dtype=np.int64) << shift
    firsts = np.searchsorted(starts, cells, side="right") - 1
    cell_edges = np.append(starts, _FRACTION)[firsts + 1]
    octaves = np.arange(lowest, highest + 1, dtype=np.int32)[:, None]
    largest = np.finfo(np.float64).max
    ends = np.ldexp(1.0 + starts / _FRACTION, octaves).ravel()
    ends = np.append(ends, min(math.ldexp(0.5, highest + 2) if highest < 1023 else largest, largest))
    centres = np.ldexp(np.array(middles), octaves).ravel()
    outer, zero = np.array([np.nan]), np.zeros(1)
    found = LogBins(
        per_octave,
        lowest,
        highest,
        firsts.astype(np.int32),
        cell_edges,
        shift,
        np.concatenate([[-largest], -ends[::-1], ends, [largest]]),
        np.concatenate([outer, -centres[::-1], zero, centres, outer]),
    )
    for array in (found.firsts, found.cell_edges, found.edges, found.middles):
        array.flags.writeable = False
    return found


def _root_of_two(n: int, context: Context) -> Decimal:
    """Return the n-th root of two. Logarithms and exponentials of decimals are rounded correctly."""
    return context.exp(context.divide(context.ln(Decimal(2)), Decimal(n)))
