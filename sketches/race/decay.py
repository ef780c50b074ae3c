"""Sums whose weights decay: they are kept for a period of time, and scaled down where a later one comes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of

__all__ = ["NEVER", "merge_decaying", "scale_by_age"]

#: Number of terms of the series of exp. The next term is below 2**-60 for numbers up to log(2).
_TERMS = 17
#: The period of sums without rows.
NEVER = -(1 << 62)


def scale_by_age(columns: NDArray[np.float64], periods: NDArray[np.float64] | None) -> int | None:
    """Multiply weights by their decay up to the newest period of the batch, and return that period."""
    if periods is None:
        return None
    xp = backend_of(periods).xp
    whole = xp.floor(periods)
    newest = int(whole.max()) if whole.size else NEVER
    ages = xp.maximum(whole - newest, -5000.0).astype(np.int32)
    columns *= xp.ldexp(_exp2(periods - whole), ages)[:, None]
    return newest


def merge_decaying(ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]) -> None:
    """Add the sums of another sketch to ours, at the later of both periods."""
    mine, other = int(ours["period"][0]), int(theirs["period"][0])
    newest = max(mine, other)
    for name in ("sums", "totals"):
        if mine < newest and mine != NEVER:
            np.ldexp(ours[name], max(mine - newest, -5000), out=ours[name])
        if other != NEVER:
            ours[name] += (
                np.ldexp(theirs[name], max(other - newest, -5000)) if other < newest else theirs[name]
            )
    ours["period"][0] = newest


def _exp2(fraction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``2**fraction`` for fractions in [0, 1), to two units in the last place.

    The result is the same on every device, so that a sketch is equal wherever it was built: additions and
    multiplications are rounded alike everywhere, while functions of NumPy differ between processors and from
    those of CUDA.
    """
    x = fraction * math.log(2.0)
    power = x * (1.0 / math.factorial(_TERMS))
    for n in range(_TERMS - 1, 0, -1):
        power += 1.0 / math.factorial(n)
        power *= x
    return power + 1.0
