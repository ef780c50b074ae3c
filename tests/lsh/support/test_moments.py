"""Test means and standard deviations of columns of any magnitude."""

from __future__ import annotations

import numpy as np
import pytest
from mergesketch.lsh.support.moments import means_and_deviations

COLUMNS = np.random.default_rng(5).normal(3.0, 2.0, (50, 4)) * [1.0, 1e-30, 1e30, 0.0]


def test_they_are_those_of_numpy_to_the_bit() -> None:
    means, deviations = means_and_deviations(COLUMNS)
    np.testing.assert_array_equal(means, COLUMNS.mean(axis=0))
    np.testing.assert_array_equal(deviations, COLUMNS.std(axis=0))


@pytest.mark.parametrize("exponent", [-1040, -1000, -600, 600, 900])
def test_a_power_of_two_changes_them_by_that_power(exponent: int) -> None:
    rows = np.random.default_rng(6).integers(-1000, 1000, (40, 2)).astype(np.float64)
    means, deviations = means_and_deviations(np.ldexp(rows, exponent))
    np.testing.assert_array_equal(means, np.ldexp(rows.mean(axis=0), exponent))
    np.testing.assert_array_equal(deviations, np.ldexp(rows.std(axis=0), exponent))


def test_sums_beyond_the_largest_number_do_not_matter() -> None:
    means, deviations = means_and_deviations(np.array([[1.5e308], [1.0e308], [1.2e308]]))
    assert means[0] == pytest.approx(3.7 / 3 * 1e308) and np.isfinite(deviations).all()
    means, deviations = means_and_deviations(np.full((9, 1), 5e-324))
    assert (means[0], deviations[0]) == (5e-324, 0.0)
