"""Models of an index's tables for a metric: collision probabilities of near rows, and loads of buckets."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from ...lsh.families.minhash import MinHash
from ...lsh.families.pstable import PStable
from ...lsh.families.srp import SignedRandomProjection
from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_dense
from ...lsh.inputs.sets import read_sets
from ...lsh.inputs.sparse_structure import csr_parts
from ...lsh.kernels.probing_odds import probed_odds
from ...lsh.metric import METRICS, Metric
from ...lsh.support.random import uniform

__all__ = [
    "MODELS",
    "MOST_POWER",
    "Crowd",
    "TableModel",
    "crowd_at",
    "crowd_of",
    "near_powers",
    "shared",
    "some_rows",
]

MOST_POWER = 32
#: Largest numbers of rows of the sample, of tables that they are hashed to, and of random parameters.
_SAMPLE_ROWS, _SAMPLE_TABLES, _SAMPLE_VALUES = 2048, 32, 1 << 24
#: Width above which fewer rows of the sample are used, and their number.
_WIDE, _WIDE_ROWS = 1 << 15, 512
#: Number of buckets of an elementary hash of the sample, by `TableModel.code_is_bits`.
_SAMPLE_BUCKETS = {True: 2, False: 2**32}
#: Least number of triples that determine a variance, and of rows in a sample.
_LEAST_TRIPLES, _FEWEST_ROWS = 300, 16
#: Number of distances, and of states of a hash function, in means.
_FAR, _STATES = 256, 1024
#: Means over states of a query have at most and at least this number of states, and this number of buckets.
_PROBED_STATES, _FEWEST_STATES, _PROBED_BUCKETS = 1024, 128, 1 << 14


class TableModel(NamedTuple):
    """The properties of an index's tables for a metric that `suggest` needs."""

    metric: Metric
    #: ``make(n_features, n_hashes, power, width, n_buckets, **options)`` returns the family.
    make: Callable[..., HashFamily]
    #: Widths to try, in multiples of `near`; (0,) for families without a width.
    widths: tuple[float, ...]
    #: Nanoseconds of an elementary hash: a constant, and the time for each feature.
    ns_value: tuple[float, float]
    #: ``given(width, far)`` returns the probability that a row at distance `far` collides with another row,
    #: given the state of the hash function for that other row, shape (states, far). The states are equally
    #: likely, so their mean is the collision probability. The model assumes that rows differ in many features
    #: and are otherwise independent.
    given: Callable[[float, NDArray[np.float64]], NDArray[np.float64]]
    #: ``probed(width, near, states)`` takes independent states of a value, shape (states, powers). It returns
    #: the probability that the value of a row at `near` is the same, and for each change that probing tries
    #: its score and its odds against no change, shape (states, powers, changes). None for families without
    #: multi-probe queries.
    probed: Callable[[float, float, NDArray[np.float64]], tuple[Any, Any, Any]] | None = None
    #: True if 2**power buckets are the codes themselves, without chance collisions.
    code_is_bits: bool = False
    #: ``typical(steps)`` returns the median length of differences between rows. None if widths are not
    #: distances.
    typical: Callable[[Any], float] | None = None


def _angle(n_features: Any, n_hashes: int, power: int, width: Any, n_buckets: int, **more: Any) -> HashFamily:
    return SignedRandomProjection(n_features, n_hashes, power=power, n_buckets=n_buckets, **more)


def _sets(n_features: Any, n_hashes: int, power: int, width: Any, n_buckets: int, **more: Any) -> HashFamily:
    size = {"expected_set_size": n_features, **more}
    return MinHash(n_hashes, power=power, n_buckets=n_buckets, **size)


def _states(n: int) -> NDArray[np.float64]:
    """Return n equally spaced quantiles in a column."""
    return ((np.arange(n) + 0.5) / n)[:, None]


def _given_margin(width: float, far: NDArray[np.float64]) -> Any:
    # A row's product with the vector is |z|. That of a row at an angle to it is |z| cos + N(0, 1) sin.
    with np.errstate(divide="ignore"):
        return scipy.special.ndtr(scipy.special.ndtri(0.5 + _states(_STATES) / 2) / np.tan(far))


def _given_least(width: float, far: NDArray[np.float64]) -> Any:
    # The least of n hashed tokens is an exponential x / n. Another set of n tokens collides if it has that
    # token (the share s is common) and no smaller hash among its other (1 - s) n tokens.
    common = 2 * (1 - far) / (2 - far)
    return common * np.exp(np.log1p(-_states(_STATES)) * (1 - common))


def _probed_signs(width: float, near: float, states: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    z = scipy.special.ndtri(0.5 + states / 2)
    flip = np.minimum(scipy.special.ndtr(-z / np.tan(near)), 1 - 1e-12)
    return 1 - flip, (z * z)[..., None], (flip / (1 - flip))[..., None]


class _Steps(NamedTuple):
    """The model of steps of p-stable products: normal ones for p = 2, and Cauchy ones for p = 1."""

    p: int

    def make(
        self, n_features: Any, n_hashes: int, power: int, width: float, n_buckets: int, **more: Any
    ) -> PStable:
        return PStable(n_features, n_hashes, p=self.p, width=width, power=power, n_buckets=n_buckets, **more)

    def given(self, width: float, far: NDArray[np.float64]) -> Any:
        # A row's position within its step is uniform, and the other row is a normal distance away. Its scale
        # is `far` for p = 2. For p = 1 it is far / |z|, and the normal z belongs to the random vector,
        # because its few largest entries decide.
        side = math.isqrt(_STATES)
        z = np.repeat(scipy.special.ndtri(0.5 + _states(side) / 2), side, axis=0) if self.p == 1 else 1.0
        place = np.tile(_states(side), (side, 1)) if self.p == 1 else _states(_STATES)
        with np.errstate(divide="ignore"):
            steps = z * width / far
        return scipy.special.ndtr((1 - place) * steps) - scipy.special.ndtr(-place * steps)

    def _below(self, x: NDArray[np.float64]) -> Any:
        return scipy.special.ndtr(x) if self.p == 2 else 0.5 + np.arctan(x) / math.pi

    def probed(self, width: float, near: float, states: NDArray[np.float64]) -> tuple[Any, Any, Any]:
        borders = [self._below((edge - states) * width / near) for edge in (-1, 0, 1, 2)]
        down, stay, up = (right - left for left, right in pairwise(borders))
        odds = np.stack([down, up], axis=2) / np.maximum(stay, 1e-300)[..., None]
        return stay, np.stack([states**2, (1 - states) ** 2], axis=2), odds

    def typical(self, steps: Any) -> float:
        powers = steps if self.p == 1 else steps * steps
        median = float(np.median(np.asarray(powers.sum(axis=1))))
        return median if self.p == 1 else math.sqrt(median)

    def model(self, name: str) -> TableModel:
        widths = tuple(2.0 ** (j / 2) for j in range(-2, 11))
        cost = (0.5, 0.015)
        return TableModel(
            METRICS[name], self.make, widths, cost, self.given, self.probed, typical=self.typical
        )


#: The models by the names of their metrics.
MODELS = {
    "angle": TableModel(
        METRICS["angle"], _angle, (0.0,), (0.5, 0.01), _given_margin, _probed_signs, code_is_bits=True
    ),
    "euclidean": _Steps(2).model("euclidean"),
    "cityblock": _Steps(1).model("cityblock"),
    "jaccard": TableModel(METRICS["jaccard"], _sets, (0.0,), (0.5, 0.05), _given_least),
}


class Crowd(NamedTuple):
    """The share of all rows in the bucket of a row, as a log-normal variable for each power and width."""

    #: Mean share, shape (powers, widths).
    mass: NDArray[np.float64]
    #: Variance of its logarithm.
    spread: NDArray[np.float64]


def near_powers(
    model: TableModel, widths: NDArray[np.float64], near: float, n_probes: int
) -> NDArray[np.float64]:
    """Return the probability that a row at `near` lies in a probed bucket, shape (powers, widths)."""
    families = [model.make(1, 1, 1, width, 2) for width in widths.tolist()]
    one = np.array([float(family.collision_probability(near)) for family in families])
    powers = np.arange(1, MOST_POWER + 1)
    own: NDArray[np.float64] = one ** powers[:, None].astype(np.float64)
    if n_probes == 1 or near == 0.0:
        return own
    assert model.probed is not None
    n_states = min(_PROBED_STATES, max(_FEWEST_STATES, _PROBED_BUCKETS // n_probes))
    states = uniform(0, "states of probed values", n_states * MOST_POWER).reshape(-1, MOST_POWER)
    gain, odds_sum = np.ones_like(own), np.empty(n_states)
    for j, width in enumerate(widths.tolist()):
        stay, scores, odds = model.probed(width, near, states)
        for i, power in enumerate(powers.tolist()):
            probed_odds(scores, odds, power, n_probes, odds_sum)
            # The ratio to the known probability of the query's own bucket has less noise.
            weights = stay[:, :power].prod(axis=1)
            gain[i, j] = (weights * odds_sum).sum() / max(float(weights.sum()), 1e-300)
    return np.asarray(np.minimum(own * gain, 1.0))


def crowd_at(model: TableModel, widths: NDArray[np.float64], far: NDArray[np.float64]) -> Crowd:
    """Return the crowd of independent rows at the distances `far` of each other."""
    far = np.sort(far)
    if far.size > _FAR:
        far = far[np.linspace(0, far.size - 1, _FAR).astype(np.int64)]
    powers = range(1, MOST_POWER + 1)
    mass = np.empty((MOST_POWER, widths.size))
    spread = np.zeros_like(mass)
    for j, width in enumerate(widths.tolist()):
        one = model.make(1, 1, 1, width, 2).collision_probability(far)
        given = model.given(width, far)
        # The probability that rows at far[a] and far[b] both collide with a row.
        both, meet = given.T @ given / _STATES, given.mean(axis=0)
        for i, power in enumerate(powers):
            mass[i, j] = (one**power).mean()
            mean = float((meet**power).mean())
            if mean > 1e-100:  # otherwise there is no collision whose number could vary
                spread[i, j] = math.log(max(1.0, float((both**power).mean()) / mean**2))
    return Crowd(mass, spread)


def crowd_of(model: TableModel, widths: NDArray[np.float64], sample: Any) -> Crowd:
    """Return the crowd that rows of a sample make in tables of the sample alone."""
    n_features = 1 if model.metric.compares == "sets" else int(sample.shape[1])
    n_tables = min(_SAMPLE_TABLES, max(1, _SAMPLE_VALUES // (MOST_POWER * n_features)))
    mass = np.empty((MOST_POWER, widths.size))
    spread = np.empty_like(mass)
    for j, width in enumerate(widths.tolist()):
        family = model.make(n_features, n_tables * MOST_POWER, 1, width, _SAMPLE_BUCKETS[model.code_is_bits])
        mass[:, j], spread[:, j] = shared(family.hash(sample), n_tables)
    return Crowd(mass, spread)


def shared(codes: NDArray[np.uint32], n_tables: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean share of rows in a row's bucket and its log-variance, for 1, 2, ... concatenated codes.

    The numbers of pairs and triples of rows that share a bucket estimate the first two moments of the share
    without bias, however few rows a bucket has.
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
    # A sample without pairs does not rule out three, so three are the least number.
    mass = np.maximum(pairs, 3.0) / n_pairs
    powers = np.arange(1, len(elementary) + 1)
    spread = np.log(np.maximum(triples, 1.0) / n_triples / mass**2)
    # The share is a product of one factor for each concatenated code, so its log-variance is proportional to
    # their number. That gives the log-variance where the sample has too few triples.
    seen = max(1, int((triples >= _LEAST_TRIPLES).sum()))
    spread[seen:] = spread[seen - 1] * powers[seen:] / seen
    return mass, np.maximum(spread, 0.0)


def some_rows(model: TableModel, sample: Any) -> tuple[Any, int | None]:
    """Return rows evenly spaced over the sample, and the width of the sample's rows, None for sets."""
    if model.metric.compares == "sets":
        tokens, offsets = read_sets(sample, "sample").words()
        return [tokens[offsets[i] : offsets[i + 1]] for i in _spread(offsets.size - 1, _SAMPLE_ROWS)], None
    if not hasattr(sample, "tocsr"):
        dense = check_dense(sample, name="sample")
        return dense[_spread(len(dense), _SAMPLE_ROWS)], dense.shape[1]
    n, width = sample.shape
    rows = csr_parts(sample, "sample").matrix[_spread(n, _SAMPLE_ROWS if width <= _WIDE else _WIDE_ROWS)]
    if width > _WIDE:
        # Columns that no row uses would need random vectors and have no effect.
        rows = rows[:, np.unique(np.append(rows.indices, 0))]
    return rows, int(width)


def _spread(n: int, most: int) -> NDArray[np.int64]:
    if n < _FEWEST_ROWS:
        raise ValueError(f"sample must have at least {_FEWEST_ROWS} rows, got {n}")
    return np.unique(np.linspace(0, n - 1, min(most, n)).astype(np.int64))
