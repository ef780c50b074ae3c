"""What an index's tables look like for a metric: how often near rows meet, how full buckets get."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..lsh.family import HashFamily
from ..lsh.minhash import MinHash
from ..lsh.pstable import PStable
from ..lsh.srp import SignedRandomProjection
from ..lsh.validation import check_dense, check_sets

__all__ = ["METRICS", "MOST_POWER", "Crowd", "Metric", "crowd_at", "crowd_of", "near_powers", "some_rows"]

MOST_POWER = 32
#: Rows of the sample that are hashed, to so many tables; fewer for wide rows, to bound the parameters.
_SAMPLE_ROWS, _SAMPLE_TABLES, _SAMPLE_VALUES = 2048, 32, 1 << 26
#: By whether the code is its bits: the sample's codes are elementary ones.
_SAMPLE_BUCKETS = {True: 2, False: 2**32}
_LEAST_TRIPLES, _FEWEST_ROWS = 300, 16


class Metric(NamedTuple):
    """What `suggest` knows of a metric."""

    #: make(n_features, n_hashes, power, width, n_buckets, **options)
    make: Callable[..., HashFamily]
    largest: float
    #: Widths to try, in multiples of `near`; (0,) where there is none.
    widths: tuple[float, ...]
    #: Nanoseconds of an elementary hash: a constant, and for each feature.
    ns_value: tuple[float, float]
    #: Whether 2**power buckets are the codes themselves, with no chance collisions.
    code_is_bits: bool = False


def _angle(n_features: Any, n_hashes: int, power: int, width: Any, n_buckets: int, **more: Any) -> HashFamily:
    return SignedRandomProjection(n_features, n_hashes, power=power, n_buckets=n_buckets, **more)


def _steps(p: int) -> Callable[..., HashFamily]:
    def make(
        n_features: Any, n_hashes: int, power: int, width: float, n_buckets: int, **more: Any
    ) -> PStable:
        return PStable(n_features, n_hashes, p=p, width=width, power=power, n_buckets=n_buckets, **more)

    return make


def _sets(n_features: Any, n_hashes: int, power: int, width: Any, n_buckets: int, **more: Any) -> HashFamily:
    size = {"expected_set_size": n_features, **more}
    return MinHash(n_hashes, power=power, n_buckets=n_buckets, **size)


_WIDTHS = tuple(2.0 ** (j / 2) for j in range(-2, 11))
METRICS = {
    "angle": Metric(_angle, math.pi, (0.0,), (0.5, 0.01), code_is_bits=True),
    "euclidean": Metric(_steps(2), math.inf, _WIDTHS, (0.5, 0.015)),
    "cityblock": Metric(_steps(1), math.inf, _WIDTHS, (0.5, 0.015)),
    "jaccard": Metric(_sets, 1.0, (0.0,), (0.5, 0.05)),
}


class Crowd(NamedTuple):
    """How full the bucket of a row is, for each power and width: a log-normal share of all rows."""

    #: Mean share, shape (powers, widths).
    mass: NDArray[np.float64]
    #: Variance of its logarithm.
    spread: NDArray[np.float64]


def near_powers(about: Metric, widths: NDArray[np.float64], near: float) -> NDArray[np.float64]:
    families = [about.make(1, 1, 1, width, 2) for width in widths.tolist()]
    one = np.array([float(family.collision_probability(near)) for family in families])
    return one ** np.arange(1, MOST_POWER + 1)[:, None]


def crowd_at(about: Metric, widths: NDArray[np.float64], far: NDArray[np.float64]) -> Crowd:
    families = [about.make(1, 1, 1, width, 2) for width in widths.tolist()]
    one = np.stack([family.collision_probability(far) for family in families])
    mass = np.stack([(one**power).mean(axis=1) for power in range(1, MOST_POWER + 1)])
    return Crowd(mass, np.zeros_like(mass))


def crowd_of(about: Metric, widths: NDArray[np.float64], sample: Any) -> Crowd:
    """Measured: rows of the sample that share a row's bucket, in tables over the sample alone."""
    n_features = 1 if about.make is _sets else int(sample.shape[1])
    n_tables = min(_SAMPLE_TABLES, max(1, _SAMPLE_VALUES // (MOST_POWER * n_features)))
    mass = np.empty((MOST_POWER, widths.size))
    spread = np.empty_like(mass)
    for j, width in enumerate(widths.tolist()):
        family = about.make(n_features, n_tables * MOST_POWER, 1, width, _SAMPLE_BUCKETS[about.code_is_bits])
        mass[:, j], spread[:, j] = _shared(family.hash(sample), n_tables)
    return Crowd(mass, spread)


def _shared(codes: NDArray[np.uint32], n_tables: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean share of rows in a row's bucket and its log-variance, for 1, 2, ... concatenated codes.

    Pairs and triples of rows that share a bucket estimate the share's first two moments without bias,
    however few rows a bucket has.
    """
    n = len(codes)
    elementary = codes.reshape(n, n_tables, -1).astype(np.uint64).transpose(2, 1, 0)
    words = np.zeros((n_tables, n), dtype=np.uint64)
    pairs, triples = np.empty(len(elementary)), np.empty(len(elementary))
    for i, code in enumerate(elementary):
        words = (words ^ (code + np.uint64(1))) * np.uint64(0x9E3779B97F4A7C15)
        words ^= words >> np.uint64(29)
        ordered = np.sort(words, axis=1)
        first = np.ones(ordered.shape, dtype=bool)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        counts = np.diff(np.append(np.flatnonzero(first), ordered.size)).astype(np.float64)
        pairs[i] = (counts * (counts - 1)).sum()
        triples[i] = (counts * (counts - 1) * (counts - 2)).sum()
    n_pairs, n_triples = n_tables * n * (n - 1.0), n_tables * n * (n - 1.0) * (n - 2.0)
    # No fewer than the three that a sample without any does not rule out.
    mass = np.maximum(pairs, 3.0) / n_pairs
    powers = np.arange(1, len(elementary) + 1)
    spread = np.log(np.maximum(triples, 1.0) / n_triples / mass**2)
    # The share is a product of one factor a power, so its log-variance grows with it; which tells what
    # it is where the sample has too few triples to see it.
    seen = max(1, int((triples >= _LEAST_TRIPLES).sum()))
    spread[seen:] = spread[seen - 1] * powers[seen:] / seen
    return mass, np.maximum(spread, 0.0)


def some_rows(metric: str, sample: Any) -> Any:
    """At most `_SAMPLE_ROWS` rows, evenly spread over the sample."""
    sets: Any = None
    if metric == "jaccard":
        sets = check_sets(sample, "sample")
        n = sets[1].size - 1
    else:
        sample = sample.tocsr() if hasattr(sample, "tocsr") else check_dense(sample, name="sample")
        n = sample.shape[0]
    if n < _FEWEST_ROWS:
        raise ValueError(f"sample must have at least {_FEWEST_ROWS} rows, got {n}")
    picked = np.unique(np.linspace(0, n - 1, min(_SAMPLE_ROWS, n)).astype(np.int64))
    if sets is None:
        return sample[picked]
    tokens, offsets = sets
    return [tokens[offsets[i] : offsets[i + 1]] for i in picked]
