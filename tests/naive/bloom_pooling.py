"""Group testing: exact posteriors and the decoders COMP and DD."""

from __future__ import annotations

import itertools
import math
from typing import Any


def pool_posterior(
    pools: Any, outcomes: Any, prevalence: Any, false_positive_rate: float, false_negative_rate: float
) -> list[float]:
    """Return each sample's exact probability of being positive, summed over all sets of positive samples."""
    n = len(prevalence)
    positive, every = [0.0] * n, 0.0
    for truth in itertools.product((False, True), repeat=n):
        weight = math.prod(q if x else 1 - q for x, q in zip(truth, prevalence, strict=True))
        for pool, outcome in zip(pools, outcomes, strict=True):
            chance = 1 - false_negative_rate if any(truth[i] for i in pool) else false_positive_rate
            weight *= chance if outcome else 1 - chance
        every += weight
        for i in range(n):
            positive[i] += weight * truth[i]
    return [p / every for p in positive]


def chance_of_errors(n_wrong: int, n_pools: int, rate: float) -> float:
    """Return the probability that at least `n_wrong` of `n_pools` tests err, each with one rate."""
    return sum(
        math.comb(n_pools, k) * rate**k * (1 - rate) ** (n_pools - k) for k in range(n_wrong, n_pools + 1)
    )


def comp(pools: Any, outcomes: Any, n: int) -> set[int]:
    """Return the samples of no negative pool."""
    cleared = {int(i) for pool, outcome in zip(pools, outcomes, strict=True) if not outcome for i in pool}
    return set(range(n)) - cleared


def definite(pools: Any, outcomes: Any, n: int) -> set[int]:
    """Return the samples that are the only candidate of some positive pool."""
    left = comp(pools, outcomes, n)
    lonely = (left & {int(i) for i in pool} for pool, outcome in zip(pools, outcomes, strict=True) if outcome)
    return {next(iter(candidates)) for candidates in lonely if len(candidates) == 1}
