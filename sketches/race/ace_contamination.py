"""The share of rows that are outliers, and the place of its threshold among ordered scores."""

from __future__ import annotations

import math
from typing import Any

from ...lsh.support.checks import check_real

__all__ = ["LARGEST_SAMPLE", "ROUNDING", "check_contamination", "least_sample", "place_of"]

#: Relative rounding error of sums of many floats.
ROUNDING = 1e-12
#: The most rows of a sample.
LARGEST_SAMPLE = 1 << 24


def check_contamination(contamination: Any) -> float | str | None:
    """Return a contamination: "auto", None or a share that a sample can determine."""
    if contamination is None or (isinstance(contamination, str) and contamination == "auto"):
        return contamination
    if isinstance(contamination, str):
        raise ValueError(f'contamination must be "auto", None or a number in (0, 0.5], got {contamination!r}')
    least = 1.0 / (LARGEST_SAMPLE + 2)
    return check_real("contamination", contamination, least, math.nextafter(0.5, 1.0))


def place_of(share: float, n: int) -> float:
    """Return the place in n ordered scores below which a share of new scores lies, but no more of the n."""
    return min(share * (n + 1), math.floor(share * n * (1.0 + ROUNDING)) + 1.0)


def least_sample(share: float) -> int:
    """Return the least number of scores for which `place_of` of a share is at least 1."""
    n = max(1, math.ceil(1.0 / share) - 2)
    while place_of(share, n) < 1.0:
        n += 1
    return n
