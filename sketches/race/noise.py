"""Noise for private releases: exact samples from the operating system's randomness."""

from __future__ import annotations

import os
from math import gcd

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of
from ...lsh.support.threads import map_blocks
from ..kernels import noise
from ..kernels.noise import LARGEST_SCALE

__all__ = ["EPSILON_UNIT", "LARGEST_SCALE", "discrete_laplace", "laplace_variance", "round_epsilon"]

#: Budgets are multiples of this unit, for the scale of exact noise must be a ratio of integers.
EPSILON_UNIT = 2.0**-24
_NUMBERS_BLOCK = 1 << 13
#: Number of random words that are fetched for a number, on average, and for a block in addition.
_WORDS_A_NUMBER, _SPARE_WORDS = 11, 64


def round_epsilon(epsilon: float) -> int:
    """Return `epsilon` in units of EPSILON_UNIT, rounded down, so that the budget is not exceeded."""
    units = int(epsilon / EPSILON_UNIT)
    if not 1 <= units <= LARGEST_SCALE:
        raise ValueError(
            f"epsilon must lie from {EPSILON_UNIT} to {LARGEST_SCALE * EPSILON_UNIT:g}, got {epsilon}"
        )
    return units


def discrete_laplace(shape: tuple[int, ...], sensitivity: int, epsilon_units: int) -> NDArray[np.int64]:
    """Draw independent integers k with probabilities proportional to ``exp(-|k| epsilon / sensitivity)``.

    Parameters
    ----------
    shape : tuple of int
    sensitivity : int
        At least 1.
    epsilon_units : int
        Epsilon in units of EPSILON_UNIT.

    Returns
    -------
    ndarray of `shape`, int64

    Notes
    -----
    Exact sampling by rejection from integers (Canonne, Kamath and Steinke 2020, algorithm 2). A number takes
    about ten random words of the operating system, and more if it needs them: no draw is cut off or
    restarted. A seeded generator is never used: whoever knew the seed would know the noise.
    """
    numerator, denominator = sensitivity * round(1.0 / EPSILON_UNIT), epsilon_units
    shared = gcd(numerator, denominator)
    numerator, denominator = numerator // shared, denominator // shared
    if numerator > LARGEST_SCALE:
        raise ValueError(
            f"sensitivity / epsilon, the scale of the noise, is too large: {sensitivity} / "
            f"{epsilon_units * EPSILON_UNIT:g}"
        )
    out = np.empty(shape, np.int64)
    flat, kernel = out.reshape(-1), backend_of(out).kernels(noise).discrete_laplace

    def fill(start: int, stop: int) -> None:
        words = np.empty(0, np.uint64)
        while start < stop:
            n_words = _WORDS_A_NUMBER * (stop - start) + _SPARE_WORDS
            words = np.append(words, np.frombuffer(os.urandom(8 * n_words), np.uint64))
            start, first = kernel(words, numerator, denominator, start, stop, flat)
            words = words[first:]

    map_blocks(fill, flat.size, _NUMBERS_BLOCK)
    return out


def laplace_variance(sensitivity: int, epsilon: float) -> float:
    """Return the variance of one number of `discrete_laplace`."""
    share = np.exp(-epsilon / sensitivity)
    return float(2.0 * share / np.expm1(-epsilon / sensitivity) ** 2)
