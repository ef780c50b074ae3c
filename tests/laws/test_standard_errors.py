"""Test standard errors: 95 % intervals cover the truth for every family, on structured rows too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mergesketch.lsh
import numpy as np
import pytest
from mergesketch import NadarayaWatsonSketch, Race, RaceWindow
from mergesketch.lsh import (
    BBitMinHash,
    BitSampling,
    CrossPolytope,
    HashFamily,
    InnerProduct,
    LearnedProjection,
    MinHash,
    PStable,
    SignedRandomProjection,
    WeightedMinHash,
    WinnerTakeAll,
)
from mergesketch.sketches.race import kernel_sums
from structured_rows import MAKERS, as_bits, as_sets

D, N, N_QUERIES, N_SEEDS = 128, 120, 10, 20

#: Families by a seed, and the form of rows that they take.
FAMILIES: dict[str, tuple[Callable[[int], HashFamily], Callable[[Any], Any]]] = {
    "gaussian": (lambda s: SignedRandomProjection(D, 50, power=4, seed=s), np.asarray),
    "hadamard": (lambda s: SignedRandomProjection(D, 50, power=4, projection="hadamard", seed=s), np.asarray),
    "sparse": (lambda s: SignedRandomProjection(None, 50, power=2, projection="sparse", seed=s), np.asarray),
    "euclidean": (lambda s: PStable(D, 50, width=2.0, power=2, n_buckets=256, seed=s), np.asarray),
    "cityblock": (lambda s: PStable(D, 50, p=1, width=20.0, power=2, n_buckets=256, seed=s), np.asarray),
    "polytope": (lambda s: CrossPolytope(D, 50, dimension=16, seed=s), np.asarray),
    "polytope of two": (
        lambda s: CrossPolytope(D, 50, power=2, dimension=8, n_buckets=64, seed=s),
        np.asarray,
    ),
    "inner product": (lambda s: InnerProduct(D, 50, max_norm=12.0, power=3, seed=s), np.asarray),
    "permutations": (lambda s: MinHash(50, n_buckets=256, scheme="permutations", seed=s), as_sets),
    "one permutation": (lambda s: MinHash(50, n_buckets=256, scheme="one-permutation", seed=s), as_sets),
    "fast similarity": (lambda s: MinHash(50, n_buckets=256, scheme="fast-similarity", seed=s), as_sets),
    "pairs of values": (
        lambda s: MinHash(50, power=2, n_buckets=256, scheme="one-permutation", seed=s),
        as_sets,
    ),
    "two bits": (lambda s: BBitMinHash(50, 2, seed=s), as_sets),
    "weighted": (lambda s: WeightedMinHash(50, n_buckets=256, seed=s), np.asarray),
    "bits": (lambda s: BitSampling(D, 50, power=2, seed=s), as_bits),
    "winners": (lambda s: WinnerTakeAll(D, 50, group_size=8, seed=s), np.asarray),
    "mixed winners": (lambda s: WinnerTakeAll(D, 50, group_size=4, n_buckets=256, seed=s), np.asarray),
}


def test_every_family_is_here() -> None:
    public = {getattr(mergesketch.lsh, name) for name in mergesketch.lsh.__all__}
    families = {cls for cls in public if isinstance(cls, type) and issubclass(cls, HashFamily)}
    drawn = {cls for cls in families if cls.is_drawn}
    assert families - drawn == {LearnedProjection}
    assert {type(make(0)) for make, _ in FAMILIES.values()} == drawn - {HashFamily}


def test_given_hash_functions_have_no_standard_errors() -> None:
    X = np.random.default_rng(0).standard_normal((60, 6))
    family = LearnedProjection(X[:40], power=4)
    race = Race(family).update(X)
    # Without them the sums are exact.
    np.testing.assert_allclose(race.query(X[:9]), family.kernel(X[:9], X).sum(axis=1), rtol=1e-12)
    sketch, y = NadarayaWatsonSketch(family), X[:, 0]
    sketch.update(X, y)
    kernel = family.kernel(X[:9], X)
    np.testing.assert_allclose(sketch.predict(X[:9]), kernel @ y / kernel.sum(axis=1), rtol=1e-9)
    for call in (race.query, race.density, sketch.predict, sketch.kernel_sum):
        with pytest.raises(TypeError, match="family must draw its hash functions at random for standard er"):
            call(X[:2], return_std=True)
    with pytest.raises(TypeError, match="family must draw its hash functions at random for errors"):
        Race.for_error(family, relative_error=0.5, density=0.1)


def test_few_collisions_over_given_hash_functions_are_exact() -> None:
    # The query shares the bucket of one table of 20 with one row, and 0.05 is the exact kernel sum.
    row, query = np.ones((1, 20)), -np.ones((1, 20))
    query[0, 3] = 1.0
    sketch = NadarayaWatsonSketch(LearnedProjection(np.eye(20))).update(row, [7.0])
    np.testing.assert_allclose(sketch.kernel_sum(query), [0.05], rtol=1e-12)
    np.testing.assert_allclose(sketch.predict(query), [7.0], rtol=1e-12)
    assert np.isnan(sketch.predict(-row)).all()


@pytest.mark.parametrize("rows", MAKERS)
@pytest.mark.parametrize("name", FAMILIES)
def test_intervals_hold_the_kernel_sum(name: str, rows: str) -> None:
    make, form = FAMILIES[name]
    X = form(MAKERS[rows](N, D, 1))
    exact = make(0).kernel(X[:N_QUERIES], X).sum(axis=1)
    held = []
    for seed in range(N_SEEDS):
        sums, std = Race(make(seed)).update(X).query(X[:N_QUERIES], return_std=True)
        held.append(np.abs(sums - exact) <= 1.96 * std)
    assert np.mean(held) >= 0.9


@pytest.mark.parametrize("rows", MAKERS)
@pytest.mark.parametrize("groups", [8, 25])
def test_intervals_hold_the_kernel_sum_by_the_median_of_means(rows: str, groups: int) -> None:
    X, held = MAKERS[rows](N, D, 1), []
    for seed in range(N_SEEDS):
        family = PStable(D, 50, width=2.0, power=2, n_buckets=256, seed=seed)
        exact = family.kernel(X[:N_QUERIES], X).sum(axis=1)
        sums, std = RaceWindow(family, 2).update(X).query(X[:N_QUERIES], groups=groups, return_std=True)
        held.append(np.abs(sums - exact) <= 1.96 * std)
    assert np.mean(held) >= 0.9


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_intervals_hold_by_the_median_of_few_groups(groups: int) -> None:
    X, held = np.random.default_rng(3).integers(0, 6, (200, 3)).astype(float), []
    for seed in range(60):
        family = PStable(3, 200, p=1, width=5.0, n_buckets=4, seed=seed)
        sums, std = Race(family).update(X).query(X[:20], groups=groups, return_std=True)
        held.append(np.abs(sums - family.kernel(X[:20], X).sum(axis=1)) <= 1.96 * std)
    assert np.mean(held) >= 0.93


@pytest.mark.parametrize("rows", MAKERS)
@pytest.mark.parametrize("name", ["gaussian", "euclidean", "weighted", "bits", "winners", "one permutation"])
def test_intervals_hold_the_kernel_weighted_mean(name: str, rows: str) -> None:
    make, form = FAMILIES[name]
    X = form(MAKERS[rows](N, D, 1))
    y = np.random.default_rng(2).exponential(size=N)
    kernel = make(0).kernel(X[:N_QUERIES], X)
    exact = kernel @ y / kernel.sum(axis=1)
    held, known = [], []
    for seed in range(N_SEEDS):
        sketch = NadarayaWatsonSketch(make(seed)).update(X, y)
        predicted, std = sketch.predict(X[:N_QUERIES], confidence=0.5, return_std=True)
        known.append(~np.isnan(std))
        # Equal rows leave no error but that of rounding.
        held.append((np.abs(predicted - exact) <= 1.96 * std + 1e-12)[known[-1]])
    assert np.mean(np.concatenate(held)) >= 0.9
    assert np.mean(known) > 0.5


def test_repetitions_that_agree_do_not_know_everything() -> None:
    """Most sketches of 100 hashes miss a thousand equal rows with a kernel of 0.002."""
    X, Q = np.tile([[1.0, 0.0]], (1000, 1)), np.array([[np.cos(2.0), np.sin(2.0)]])
    agreed, held = [], []
    for seed in range(60):
        family = SignedRandomProjection(2, 100, power=6, seed=seed)
        sums, std = Race(family).update(X).query(Q, return_std=True)
        exact = family.kernel(Q, X).sum()
        agreed.append(sums[0] == 0.0)
        held.append(abs(sums[0] - exact) <= 1.96 * std[0])
        if agreed[-1]:
            assert std[0] == pytest.approx(-np.log(0.05) / 1.96 * 1000 / 100)
    assert np.mean(agreed) > 0.5
    assert np.mean(held) >= 0.9
    assert not np.any(Race(family).query(Q, return_std=True))
    # Equal targets leave no doubt. Others do, even if the query collided with equal ones only.
    sketch = NadarayaWatsonSketch(family).update(X[:5], np.full(5, 7.0))
    predicted, std = sketch.predict(X[:1], return_std=True)
    np.testing.assert_allclose([predicted[0], std[0]], [7.0, 0.0], atol=1e-12)
    predicted, std = sketch.update(-X[:5], np.zeros(5)).predict(X[:1], return_std=True)
    assert predicted[0] == 7.0
    assert std[0] == pytest.approx(-np.log(0.05) / 1.96 * 7.0 / 100)


def test_the_median_of_means_is_too_low_by_what_its_notes_say() -> None:
    n_hashes, counts = 200, np.tile([[5.0], [100.0]], (200, 1, 1))
    codes = (np.random.default_rng(0).random((4000, n_hashes)) < 0.05).astype(np.uint32)
    for groups, missing in ((8, 0.05), (24, 0.42)):
        sums, std = np.empty((4000, 1)), np.empty((4000, 1))
        kernel_sums.fill_means(counts, codes, groups, sums, std)
        assert abs(sums.mean() / 9.75 - 1.0 + missing) < 0.02


def test_winners_that_are_copied_do_not_collide_together() -> None:
    """One-hot rows fill one bin of 125, and all others copy it; once they had one place in all of them."""
    X = np.eye(1000)[::5]
    family = WinnerTakeAll(1000, 128, group_size=8)
    exact = family.kernel(X[:20], X).sum(axis=1)
    scores = []
    for seed in range(12):
        family = WinnerTakeAll(1000, 128, group_size=8, seed=seed)
        sums, std = Race(family).update(X).query(X[:20], return_std=True)
        assert np.abs(sums - exact).max() < 2.5
        scores.append((sums - exact) / std)
    assert np.mean(np.abs(scores) < 1.96) >= 0.9


def test_the_design_effect_of_copied_bins() -> None:
    """Sets {a} and {a, b} share a bin with probability 1 / m; then all values agree, and otherwise none."""
    n_seeds, m = 3000, 16
    pairs = [([1], [1, 2]), ([1, 2], [1, 3]), ([1, 2, 3], [1, 2, 4]), ([1], [1, 2, 3, 4])]
    left, right = ([np.array(pair[side]) for pair in pairs] for side in (0, 1))
    similarity = np.array([1 / 2, 1 / 3, 2 / 4, 1 / 4])
    estimates = np.empty((n_seeds, len(pairs)))
    for seed in range(n_seeds):
        family = MinHash(m, scheme="one-permutation", seed=seed)
        estimates[seed] = family.estimate_jaccard(family.signatures(left), family.signatures(right))
    squares = (estimates - similarity) ** 2 * m / (similarity * (1 - similarity))
    error = 6 * squares.std(axis=0) / np.sqrt(n_seeds)
    assert (squares.mean(axis=0) < family.design_effect + error).all()
    assert squares.mean(axis=0)[0] > 1.5
