"""A kernel of exact discrete Laplace noise from random words that the caller supplies.

Only integers are computed with, so the noise has its distribution exactly; noise from floating-point
numbers has gaps that reveal the number it was added to (Mironov 2012).
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["LARGEST_SCALE", "discrete_laplace"]

#: Largest `numerator` and `denominator`: products with the number of trials of a coin stay below 2**63,
#: unless a coin takes more than 127 trials, which has a probability of exp(-127).
LARGEST_SCALE = 1 << 56
#: Place of the next word where there is none.
OUT_OF_WORDS = -1
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@helper(inline="always")
def _uniform(words, at, n):
    """Draw a number in [0, n), all equally likely; return it and the next word's place, or OUT_OF_WORDS."""
    n = np.uint64(n)
    # Words above the last multiple of n are skipped.
    limit = _ALL - (_ALL % n + np.uint64(1)) % n
    while at < words.size:
        word = words[at]
        at += 1
        if word <= limit:
            return np.int64(word % n), at
    return np.int64(0), OUT_OF_WORDS


@helper(inline="always")
def _exp_coin(words, at, a, b):
    """Return True with probability ``exp(-a / b)``, 0 <= a <= b (von Neumann; Canonne et al., alg. 1)."""
    k = np.int64(1)
    while True:
        value, at = _uniform(words, at, b * k)
        if at == OUT_OF_WORDS or value >= a:
            return (k & 1) == 1, at
        k += 1


@kernel
def discrete_laplace(words, numerator, denominator, start, stop, out):
    """Fill ``out[start:stop]`` with noise: k is as likely as ``exp(-|k| denominator / numerator)``.

    Parameters
    ----------
    words : ndarray of uint64
        Random words, of which about ten are used for each number.
    numerator, denominator : int
        From 1 to LARGEST_SCALE.
    out : ndarray of int64

    Returns
    -------
    next : int
        The first number that is not drawn yet: `stop`, or less if the words have run out.
    first : int
        Where the words of that number begin. It must be drawn from ``words[first:]`` and new words after
        them: large numbers take more words than small ones, and from new words alone they would be too rare.

    Notes
    -----
    Canonne, Kamath and Steinke 2020, "The discrete Gaussian for differential privacy", algorithm 2.
    """
    first = at = 0
    i = start
    while i < stop:
        offset, at = _uniform(words, at, numerator)
        if at == OUT_OF_WORDS:
            return i, first
        accepted, at = _exp_coin(words, at, offset, numerator)
        if at == OUT_OF_WORDS:
            return i, first
        if not accepted:
            continue
        turns = np.int64(0)
        more = True
        while more:
            more, at = _exp_coin(words, at, np.int64(1), np.int64(1))
            if at == OUT_OF_WORDS:
                return i, first
            turns += more
        size = (offset + turns * numerator) // denominator
        negative, at = _uniform(words, at, np.int64(2))
        if at == OUT_OF_WORDS:
            return i, first
        if negative and size == 0:
            continue
        out[i] = -size if negative else size
        i += 1
        first = at
    return i, first
