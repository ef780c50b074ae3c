"""A learned partition, from its definition: a network, the choice of buckets, and queries."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def probabilities(x: Numbers, W: Numbers, b: Numbers, V: Numbers, d: Numbers) -> Numbers:
    """Return the probabilities of buckets for one row."""
    hidden = np.maximum(x @ W + b, 0.0)
    odds = np.exp(hidden @ V + d - (hidden @ V + d).max())
    return odds / odds.sum()


def loss(X: Numbers, shares: Numbers, W: Numbers, b: Numbers, V: Numbers, d: Numbers) -> float:
    """Return the sum of the cross-entropies of rows whose right items have these shares of the buckets."""
    found = [probabilities(x, W, b, V, d) for x in X]
    return -sum(float(share @ np.log(p)) for share, p in zip(shares, found, strict=True))


def shares_of_buckets(right: list[list[int]], places: list[int], n_buckets: int) -> Numbers:
    """Return the share of each row's right items that lies in each bucket."""
    shares = np.zeros((len(right), n_buckets))
    for i, items in enumerate(right):
        for item in items:
            shares[i, places[item]] += 1.0 / len(items)
    return shares


def best_buckets(scores: list[float], k: int) -> list[int]:
    """Return the k buckets with the largest scores, and at equal scores the lowest."""
    return sorted(range(len(scores)), key=lambda bucket: (-scores[bucket], bucket))[:k]


def assign(scores: list[list[float]], order: list[int], n_choices: int, loads: list[int]) -> dict[int, int]:
    """Return the bucket of each item, where items go one by one to the least loaded of their best buckets."""
    loads, places = list(loads), {}
    for item in order:
        choices = best_buckets(scores[item], n_choices)
        places[item] = min(choices, key=lambda bucket: (loads[bucket], choices.index(bucket)))
        loads[places[item]] += 1
    return places


def candidates(
    scores: list[list[float]], buckets: list[list[int]], n_probes: int, min_count: int
) -> dict[int, tuple[int, float]]:
    """Return the counts and scores of candidates.

    Parameters
    ----------
    scores : the scores of buckets in each repetition
    buckets : the buckets of each item in each repetition
    """
    found = {}
    probed = [best_buckets(row, n_probes) for row in scores]
    for item, own in enumerate(buckets):
        there = [r for r, bucket in enumerate(own) if bucket in probed[r]]
        if len(there) >= min_count:
            found[item] = len(there), math.fsum(scores[r][own[r]] for r in there)
    return found


def query(
    scores: list[list[float]], buckets: list[list[int]], k: int, n_probes: int, min_count: int
) -> list[int]:
    """Return the k candidates with the largest scores, and at equal scores the lowest."""
    found = candidates(scores, buckets, n_probes, min_count)
    return sorted(found, key=lambda item: (-found[item][1], item))[:k]
