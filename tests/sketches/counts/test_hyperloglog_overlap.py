"""The number of keys that two sets share: its estimate, and its standard error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mergesketch import HyperLogLog
from mergesketch.sketches.counts import hyperloglog_theory as theory
from mergesketch.sketches.counts.hyperloglog_overlap import overlap_error, overlap_variance


def variance_over_pairs(ours: float, theirs: float, shared: float, m: int) -> float:
    """Return the variance of the estimate as a sum over all pairs of registers, from its definition."""
    precision = math.ceil(math.log2(m))
    places = (theory.JOINED + 256 * np.arange(256)[:, None]).reshape(-1)
    joined = [
        np.bincount(places, np.tile(theory.probabilities(n / m, precision), 256), 1 << 16).reshape(256, 256)
        for n in (ours - shared, theirs - shared)
    ]
    chances = np.einsum("s,sa,sb->ab", theory.probabilities(shared / m, precision), *joined)
    one, other, either = (
        theory.moments(n / m, precision).influence for n in (ours, theirs, ours + theirs - shared)
    )
    moved = one[:, None] + other - either[theory.JOINED]
    return m * float((chances * moved**2).sum()) - shared


@pytest.mark.parametrize(
    ("ours", "theirs", "shared", "m"),
    [
        (1e5, 10.0, 0.0, 4096),
        (3000.0, 4000.0, 60.0, 256),
        (100.0, 100.0, 100.0, 16),
        (6e4, 200.0, 150.0, 1500),
    ],
)
def test_the_variance_is_that_of_all_pairs_of_registers(
    ours: float, theirs: float, shared: float, m: int
) -> None:
    expected = variance_over_pairs(ours, theirs, shared, m)
    assert overlap_variance(ours, theirs, shared, m) == pytest.approx(expected, rel=1e-6)
    assert overlap_variance(theirs, ours, shared, m) == pytest.approx(expected, rel=1e-6)


def test_the_error_is_the_largest_near_the_estimate() -> None:
    for ours, theirs, shared in ((1e5, 10.0, 10.0), (1e5, 300.0, 290.0), (3000.0, 3000.0, -20.0)):
        numbers = np.linspace(0.0, min(ours, theirs), 80)
        errors = np.array([math.sqrt(overlap_variance(ours, theirs, n, 4096)) for n in numbers])
        near = abs(numbers - shared) <= np.maximum(errors, abs(np.clip(shared, 0.0, theirs) - shared))
        assert overlap_error(ours, theirs, shared, 4096) == pytest.approx(errors[near].max(), rel=0.12)


def shared_keys(
    left: int, shared: int, right: int, sketch: HyperLogLog, n_seeds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of the estimate and the stated standard errors, of some seeds."""
    found = []
    for seed in range(n_seeds):
        a = HyperLogLog(sketch.precision, n_registers=sketch.n_registers, seed=seed)
        b = a.empty_like().update(np.arange(left, left + shared + right))
        n, std = a.update(np.arange(left + shared)).intersection_cardinality(b, return_std=True)
        found.append((n - shared, std))
    errors, stds = np.array(found).T
    return errors, stds


@pytest.mark.parametrize(
    ("left", "shared", "right"),
    [(3000, 0, 3000), (0, 5000, 0), (4000, 1000, 20_000), (300, 150, 30), (3000, 30_000, 0)],
)
def test_intersections_are_unbiased_and_their_error_is_as_stated(left: int, shared: int, right: int) -> None:
    n_seeds, total = 60, left + shared + right
    errors, stds = shared_keys(left, shared, right, HyperLogLog(10), n_seeds)
    variance = float(np.mean(stds**2))
    assert abs(errors.mean()) < 6.0 * math.sqrt(variance / n_seeds) + 4.0 * total / 1024.0**2 + 3.0 / 1024.0
    # The variance of the mean of squares of about normal numbers; the stated variances vary, too.
    assert (errors**2).mean() == pytest.approx(variance, rel=6.0 * math.sqrt(3.0 / n_seeds))


@pytest.mark.slow
@pytest.mark.parametrize(
    "sketch", [HyperLogLog(4), HyperLogLog(8), HyperLogLog(12), HyperLogLog(11, n_registers=1500)], ids=repr
)
@pytest.mark.parametrize(
    ("left", "shared", "right"),
    [(100_000, 0, 10), (0, 100, 0), (1990, 10, 0), (59_800, 200, 0), (2970, 30, 2970), (10, 0, 10)],
)
def test_standard_errors_cover(left: int, shared: int, right: int, sketch: HyperLogLog) -> None:
    """Sets of unlike size, few keys, subsets, and an overlap of one percent.

    If a small set shares nothing with a large one, a Poisson number of its keys changes registers of the
    large one. If it is 0, the error is stated for a mean of 1, and covers a mean of 2. So two standard errors
    cover with probability ``1 - exp(-2)`` or more.
    """
    n_seeds, chance = 25, 1.0 - math.exp(-2.0)
    errors, stds = shared_keys(left, shared, right, sketch, n_seeds)
    covered = np.mean(abs(errors) <= 2.0 * stds)
    assert covered > chance - 6.0 * math.sqrt(chance * (1.0 - chance) / n_seeds)


def test_the_estimate_is_that_of_three_cardinalities() -> None:
    a, b = HyperLogLog(10).update(np.arange(3000)), HyperLogLog(10).update(np.arange(2000, 9000))
    n, either = a.intersection_cardinality(b), (a | b).cardinality()
    assert a.union_cardinality(b) == pytest.approx(either, rel=1e-12)
    assert n == pytest.approx(a.cardinality() + b.cardinality() - either)
    assert a.jaccard(b) == pytest.approx(n / either)


def test_a_sketch_of_a_set_and_itself() -> None:
    a = HyperLogLog(11).update(np.arange(5000))
    shared, std = a.intersection_cardinality(a, return_std=True)
    assert shared == pytest.approx(a.cardinality())
    assert a.jaccard(a) == pytest.approx(1.0)
    # The error of the count itself, and a few keys that may be in one set only.
    assert std / 5000 == pytest.approx(theory.relative_error(5000, 2048), rel=0.1)


def test_an_empty_set_shares_nothing_for_certain() -> None:
    a = HyperLogLog(4).update(np.arange(5000))
    assert a.intersection_cardinality(a.empty_like(), return_std=True) == (0.0, 0.0)
