"""Test the choice of scales and families beside plain functions over repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.lsh import PStable
from mergesketch.sketches.race.kernel_choice import (
    DistinctRows,
    choose_scaling,
    distinct_rows,
    leave_one_out_error,
    typical_distance,
)
from naive import kernel_choice as naive
from scipy.spatial.distance import pdist


def table(seed: int, n: int, kind: str) -> np.ndarray:
    """Return n rows of three columns, of which many may repeat."""
    rng = np.random.default_rng(seed)
    if kind == "integers":
        return rng.integers(0, 3, (n, 3)) * [1.0, 1e6, 1e-6]
    if kind == "one-hot":
        return np.eye(3)[rng.integers(0, 3, n)]
    return rng.standard_cauchy((n, 3))


KINDS = st.sampled_from(["integers", "one-hot", "real"])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), KINDS, st.integers(0, 2**32))
def test_distinct_rows_and_scales_are_those_of_the_repeated_rows(n: int, kind: str, seed: int) -> None:
    X = table(seed, n, kind)
    rng = np.random.default_rng(seed)
    weights, y = rng.integers(0, 4, n), rng.standard_normal(n)
    weights[0] = 1
    found = distinct_rows(X, weights, y)
    rows, which = np.unique(X[weights > 0], axis=0, return_inverse=True)
    order = np.lexsort(found.rows.T[::-1])
    np.testing.assert_array_equal(found.rows[order], rows)
    totals = np.bincount(which.ravel(), weights[weights > 0])
    np.testing.assert_array_equal(found.weights[order], totals)
    means = np.bincount(which.ravel(), (weights * y)[weights > 0]) / totals
    np.testing.assert_allclose(found.targets[order, 0], means, rtol=1e-9, atol=1e-12)
    centers, scales = naive.scaling(np.repeat(X, weights, axis=0))
    scaling = choose_scaling(found, centred=True)
    np.testing.assert_array_equal(scaling["center"], centers)
    np.testing.assert_allclose(scaling["scale"], scales, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 25), KINDS, st.sampled_from([0.5, 4.0, 50.0]), st.integers(0, 2**32))
def test_the_error_is_that_of_rows_left_out_one_by_one(n: int, kind: str, width: float, seed: int) -> None:
    X = table(seed, n, kind)
    rows, weights = np.unique(X, axis=0, return_counts=True)
    y = np.random.default_rng(seed).standard_normal(len(rows))
    y -= weights @ y / weights.sum()
    family = PStable(3, 12, width=width, n_buckets=64, seed=seed)
    found = leave_one_out_error(family, rows, weights.astype(float), y[:, None])
    wanted = naive.leave_one_out_error(family, np.repeat(rows, weights, axis=0), np.repeat(y, weights))
    assert found == pytest.approx(wanted, rel=1e-8, abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), KINDS, st.integers(0, 2**32))
def test_the_typical_distance_is_the_median_of_rows_that_differ(n: int, kind: str, seed: int) -> None:
    X = table(seed, n, kind)
    distances = pdist(X, "cityblock")
    rows, weights = np.unique(X, axis=0, return_counts=True)
    found = typical_distance(DistinctRows(rows, weights.astype(float), np.empty((len(rows), 0))))
    if len(rows) == 1:
        assert found == 1.0
        return
    between = np.sort(distances[distances > 0])
    # The distances of a pair of places may differ in the last bits.
    wanted = between[(between.size + 1) // 2 - 1]
    assert found == pytest.approx(wanted, rel=1e-12)
