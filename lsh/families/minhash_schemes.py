"""The schemes by which MinHash makes signatures, their costs, and the choice between them."""

from __future__ import annotations

import math

__all__ = ["ROUNDS", "SCHEMES", "choose_scheme", "estimated_ns"]

SCHEMES = ("auto", "permutations", "one-permutation", "fast-similarity")
#: Number of rounds of throws of "fast-similarity" before each empty bin takes a minimum of its own. More
#: rounds bring neither speed nor accuracy (benchmarks/minhash.py). Saved signatures depend on the number.
ROUNDS = 3


def estimated_ns(scheme: str, set_size: float, n_values: int) -> float:
    """Return the time in nanoseconds for one set, fitted on one AVX-512 core; only ratios matter.

    Permutations cost a fixed time for every token and value, densification one for every bin that stays
    empty. Fast similarity costs one throw for every token and round, where a round is done only if a bin is
    still empty (m exp(-r n / m) bins are, after r rounds), and the time of permutations for the bins that are
    empty after all rounds.
    """
    n, m = set_size, n_values
    pair = 0.018
    if scheme == "permutations":
        return 25 + 0.65 * n + 0.06 * m + pair * n * m
    if scheme == "one-permutation":
        return 60 + 0.75 * n + 0.2 * m + 22 * m * math.exp(-n / m)
    ns = 120 + 0.35 * n + 0.2 * m
    for r in range(ROUNDS):
        ns += min(1.0, m * math.exp(-r * n / m)) * (0.55 * n + 0.08 * m)
    empty = m * math.exp(-ROUNDS * n / m)
    return ns + 2 * min(empty, m - empty) + pair * n * min(empty + 8, m) * min(1.0, empty)


def choose_scheme(expected_set_size: int, n_values: int) -> str:
    """Return the scheme of least time x variance, which reaches a given error in the least time.

    The variance of fast similarity, relative to that of independent permutations, is taken as
    ``1 - f**2 m / n``, where f = 1 - exp(-n / m) is the share of bins that the first round fills. Those bins
    have different tokens, a sample without replacement.
    """
    n, m = expected_set_size, n_values
    filled = -math.expm1(-n / m)
    variance = 1 - filled * filled * m / n
    fast = estimated_ns("fast-similarity", n, m) * variance
    return "permutations" if estimated_ns("permutations", n, m) <= fast else "fast-similarity"
