"""Audit privacy: compute lower bounds of what samples of a release prove to have leaked."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["proves_more_than", "worst_ratio"]


def worst_ratio(with_record: np.ndarray, without: np.ndarray) -> float:
    """Return a lower bound of the largest likelihood ratio of the events {x >= t} and {x <= t}.

    Both ratios count, because the guarantee holds both ways. Shares are moved six standard errors towards
    each other, so that noise of the right scale is not accused: one of 4,000 thresholds exceeds that by
    chance at most once in some 10^5 runs.
    """
    worst = 0.0
    for sign in (1, -1):
        a, b = np.sort(sign * with_record), np.sort(sign * without)
        thresholds = np.unique(np.concatenate([a, b]))
        shares = [1.0 - np.searchsorted(sample, thresholds) / len(sample) for sample in (a, b)]
        for p, q in (shares, shares[::-1]):
            low = p - 6 * np.sqrt(p * (1 - p) / len(a)) - 6 / len(a)
            high = q + 6 * np.sqrt(q * (1 - q) / len(b)) + 6 / len(b)
            worst = max(worst, float((low / high).max()))
    return worst


def proves_more_than(epsilon: float, with_record: np.ndarray, without: np.ndarray) -> bool:
    """Check if the samples prove that more than `epsilon` was spent."""
    return worst_ratio(with_record, without) > math.exp(epsilon)
