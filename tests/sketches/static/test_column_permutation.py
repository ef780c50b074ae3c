"""Test rows that are multisets: they are reordered, never changed, and never to higher entropies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mergesketch.sketches.kernels.permutation import cover_column
from mergesketch.sketches.static.column_permutation import permute_columns
from naive import column_permutation as naive

ROWS = arrays.arrays(
    np.uint64,
    st.tuples(st.integers(1, 40), st.integers(1, 5)),
    elements=st.sampled_from([0, 1, 2, 3, 2**40, 2**64 - 1]),
)


@given(ROWS, st.sampled_from(["none", "global", "entropy"]))
def test_rows_stay_the_multisets_they_were(rows, method):
    before = rows.copy()
    permuted = permute_columns(rows, method)
    np.testing.assert_array_equal(rows, before)
    np.testing.assert_array_equal(np.sort(permuted, axis=1), np.sort(rows, axis=1))
    np.testing.assert_array_equal(permuted, permute_columns(rows, method))


@given(ROWS)
def test_entropies_never_rise(rows):
    permuted = permute_columns(rows, "entropy")
    assert naive.column_entropies(permuted) <= naive.column_entropies(rows) + 1e-9


@given(ROWS)
def test_global_order_is_by_frequency(rows):
    assert permute_columns(rows, "global").tolist() == naive.by_frequency(rows.tolist())


@given(arrays.arrays(np.int64, st.tuples(st.integers(1, 25), st.integers(1, 4)), elements=st.integers(0, 5)))
def test_covering_takes_the_value_of_most_rows(rows):
    covered = rows.copy()
    for column in range(rows.shape[1]):
        cover_column(column, 6, covered)
    assert covered.tolist() == naive.cover_columns(rows.tolist())


def test_hidden_columns_are_found():
    """Rows have one value from each of eight groups, shuffled; the groups are found as columns."""
    rng = np.random.default_rng(5)
    groups = rng.integers(0, 4, (5000, 8)) + 10 * np.arange(8)
    permuted = permute_columns(rng.permuted(groups, axis=1), "entropy")
    assert naive.column_entropies(permuted) == pytest.approx(naive.column_entropies(groups), rel=1e-9)


def test_no_rows_and_one_column():
    for shape in ((0, 3), (3, 0), (4, 1)):
        rows = np.zeros(shape, dtype=np.uint64)
        for method in ("none", "global", "entropy"):
            assert permute_columns(rows, method).shape == shape
