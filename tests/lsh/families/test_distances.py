"""Test the way from probabilities and counts of collisions back to distances, for every family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from entries import Family
from mergesketch import LSHIndex
from mergesketch.lsh import MinHash, PStable, SignedRandomProjection
from registry import FAMILIES
from toy_family import ToyFamily

#: Families whose collisions have probabilities. `test_family_laws` checks that the others refuse them.
WITH_THEORY = {name: family for name, family in FAMILIES.items() if not family.no_theory}
every_family = pytest.mark.parametrize("family", WITH_THEORY.values(), ids=WITH_THEORY.keys())


@pytest.mark.slow
@every_family
def test_distances_invert_probabilities(family: Family) -> None:
    made = family.make(n_hashes=1, seed=0)
    probabilities = made.collision_probability(np.array(family.distances, dtype=np.float64))
    distances = made.distance(probabilities)
    assert distances.dtype == np.float64
    np.testing.assert_allclose(made.collision_probability(distances), probabilities, atol=1e-9)
    # Here the probability falls steeply enough to distinguish distances.
    inside = (probabilities > 1e-6) & (probabilities < 1 - 1e-6)
    np.testing.assert_allclose(distances[inside], np.array(family.distances)[inside], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@every_family
def test_any_probability_has_a_distance(family: Family) -> None:
    made = family.make(n_hashes=1, seed=0)
    grid = np.linspace(0.0, 1.0, 101)
    distances = made.distance(grid)
    steps = np.diff(distances)
    assert not np.isnan(distances).any()
    assert (steps >= 0).all() if made.metric == "inner_product" else (steps <= 0).all()
    made.collision_probability(distances)  # none lies outside its range
    for probability in (grid.reshape(-1, 1), grid[:0], grid[3]):
        result = made.distance(probability)
        assert result.shape == probability.shape
    np.testing.assert_array_equal(made.distance(grid[::-1]), distances[::-1])
    for bad in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\]"):
            made.distance([0.5, bad])
    with pytest.raises(TypeError, match="probability must hold real numbers"):
        made.distance("often")


def test_distances_have_their_closed_forms() -> None:
    p = np.array([0.0, 1e-9, 0.1, 0.5, 0.9, 1 - 1e-12, 1.0])
    srp, minhash = SignedRandomProjection(3, 1, power=5), MinHash(1, power=3)
    np.testing.assert_allclose(srp.distance(p), math.pi * (1 - p**0.2), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(minhash.distance(p), 1 - p ** (1 / 3), rtol=1e-12, atol=1e-15)
    assert PStable(3, 1).distance([0.0, 1.0]).tolist() == [np.inf, 0.0]
    np.testing.assert_allclose(ToyFamily(6, 1).distance([0.0, 0.5, 1.0]), [6.0, 3.0, 0.0], rtol=1e-12)


def test_distances_of_all_magnitudes() -> None:
    """Probabilities must tell distances apart; those of 0 and 1e-16 widths are both 1."""
    for width in (1e-200, 1.0, 1e200):
        family = PStable(3, 1, width=width)
        for distance in (1e-9, 1e-3, 1.0, 1e3, 1e9):
            found = float(family.distance(family.collision_probability(distance * width)))
            assert math.isclose(found, distance * width, rel_tol=1e-6)


class NeverBelowAQuarter(ToyFamily):
    """A family whose hashes collide with probability 1/4 or more at any distance."""

    def collision_probability(self, distance: Any) -> np.ndarray:
        return 0.25 + 0.75 * super().collision_probability(distance)


def test_probabilities_that_no_distance_has() -> None:
    family = NeverBelowAQuarter(6, 1)
    found = family.distance([0.0, 0.2, 0.25 - 1e-15, 0.625, 1.0])
    np.testing.assert_allclose(found, [6.0, 6.0, 6.0, 3.0, 0.0], rtol=1e-12)
    assert found.max() == 6.0


@pytest.mark.parametrize("p", [1, 2])
def test_tiny_distances_collide(p: int) -> None:
    family = PStable(3, 1, p=p)
    assert (family.collision_probability([0.0, 5e-324, 1e-300, 1e-160, 1e-101, 1e-99]) == 1.0).all()


def test_an_index_tells_distances_from_counts() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(8)
    L, angles = 4000, np.array([0.0, 0.3, 1.0, 2.0])
    across = rng.standard_normal(8)
    across -= across @ x / (x @ x) * x
    across *= np.linalg.norm(x) / np.linalg.norm(across)
    X = np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * across
    # Fewer buckets than codes, so that some collisions are chance ones.
    family = SignedRandomProjection(8, L, power=6, n_buckets=16, seed=1)
    ids, counts = LSHIndex(family).add(X).query([x], 4)
    index = LSHIndex(family)
    estimates = index.distance_estimate(counts)
    assert estimates.shape == (1, 4)
    p = family.collision_probability(angles)
    chance = family.chance_collision
    share = p + (1 - p) * chance
    error = 6 * np.sqrt(share * (1 - share) / L) / (1 - chance)
    low, high = (family.distance(np.clip(p + side * error, 0, 1)) for side in (1, -1))
    found = np.empty(4)
    found[ids[0]] = estimates[0]
    assert ((found >= low) & (found <= high)).all()
    assert found[0] == 0.0
    assert (high - low)[1] < 0.1
    # Fewer collisions than by chance mean the largest distance; all collisions mean the smallest.
    assert index.distance_estimate([0, L]).tolist() == [math.pi, 0.0]
