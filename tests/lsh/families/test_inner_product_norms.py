"""Test InnerProduct: norms in one order of addition, and rows longer than their bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from mergesketch.lsh import InnerProduct
from mergesketch.lsh.kernels import inner_product

PROJECTIONS = ("gaussian", "hadamard", "sparse")
every_projection = pytest.mark.parametrize("projection", PROJECTIONS)


def rows(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Return dense rows of all lengths with zeros among them, and one row of zeros."""
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.5) * rng.uniform(0.01, 1, (n, 1))
    X[n // 2] = 0.0
    return X.astype(np.float32)


# -- norms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 31, 32, 33, 400])
def test_norms_do_not_depend_on_how_rows_come(d: int) -> None:
    """Dense and sparse rows, in float32 and float64, give the same number, right to its last digits."""
    X = rows(np.random.default_rng(d), 60, d)
    X[3] *= np.float32(1e18)
    X[4] *= np.float32(1e-22)
    bound = 0.37
    norms = np.empty((4, 60))
    inner_product.relative_norms_dense(X, bound, 0, 60, norms[0])
    inner_product.relative_norms_dense(X.astype(np.float64), bound, 0, 60, norms[1])
    for out, values in ((norms[2], X), (norms[3], X.astype(np.float64))):
        matrix = scipy.sparse.csr_array(values)
        indptr = matrix.indptr.astype(np.int64)
        inner_product.relative_norms_csr(indptr, matrix.indices, matrix.data, bound, 0, 60, out)
    assert (norms == norms[0]).all()
    exact = [math.sqrt(math.fsum(x * x for x in row)) / bound for row in X.astype(np.float64).tolist()]
    np.testing.assert_allclose(norms[0], exact, rtol=1e-14)


def test_norms_neither_over_nor_underflow() -> None:
    tiny = np.finfo(np.float64).smallest_subnormal
    X = np.array([[3e300, 4e300], [3e-300, 4e-300], [3.0, 4.0], [0.0, 0.0], [tiny, 0.0]])
    norms = np.empty(5)
    for bound, expected in (
        (5.0, [1e300, 1e-300, 1.0, 0.0, 0.0]),
        (5e300, [1.0, 0.0, 1e-300, 0.0, 0.0]),
        (5e-300, [np.inf, 1.0, 1e300, 0.0, tiny / 5e-300]),
        (tiny, [np.inf, 5e-300 / tiny, np.inf, 0.0, 1.0]),
    ):
        inner_product.relative_norms_dense(X, bound, 0, 5, norms)
        np.testing.assert_allclose(norms, expected, rtol=1e-12, atol=1e-154)


@every_projection
def test_scale(projection: str) -> None:
    """Units do not matter within the range of float64."""
    X = rows(np.random.default_rng(3), 50, 20).astype(np.float64)
    how: dict[str, Any] = {"power": 2, "projection": projection}
    codes = InnerProduct(20, 30, max_norm=8.0, query_norm=9.0, **how)
    for power in (-900, -130, 130, 900):
        bounds = {"max_norm": math.ldexp(8.0, power), "query_norm": math.ldexp(9.0, power)}
        family = InnerProduct(20, 30, **bounds, **how)
        np.testing.assert_array_equal(family.hash(np.ldexp(X, power)), codes.hash(X))
        np.testing.assert_array_equal(family.hash_query(np.ldexp(X, power)), codes.hash_query(X))


def test_a_long_query_is_its_direction() -> None:
    X = rows(np.random.default_rng(4), 40, 9)
    family = InnerProduct(9, 64, max_norm=0.001)
    np.testing.assert_array_equal(family.hash_query(X), family.hash_query(4096 * X))
    np.testing.assert_allclose(family.kernel(X, 0 * X), 0.5)


# -- rows longer than the bound -------------------------------------------------------------------


def test_rows_beyond_the_bound_are_refused_by_name() -> None:
    X = np.zeros((30_000, 4), dtype=np.float32)
    X[:, 0] = 1.0
    X[[12_345, 12_346, 29_000]] = [[3.0, 4.0, 0, 0], [9.0, 0, 0, 0], [0, 0, 0, 8.0]]
    family = InnerProduct(4, 3, max_norm=2.0, query_norm=3.0)
    for form in (X, X.astype(np.float64), scipy.sparse.csr_array(X)):
        with pytest.raises(
            ValueError, match="X must have rows of norm at most max_norm = 2, got norm 5 in row 12345; with"
        ):
            family.hash(form)
        with pytest.raises(
            ValueError, match="Q must have rows of norm at most query_norm = 3, got norm 5 in row 12345"
        ):
            family.hash_query(form)
        assert np.flatnonzero(family.oversized(form)).tolist() == [12_345, 12_346, 29_000]
    with pytest.raises(
        ValueError, match="Y must have rows of norm at most max_norm = 2, got norm 5 in row 1"
    ):
        family.kernel(X[:2], X[12_344:12_347])
    with pytest.raises(ValueError, match="X must have rows of norm at most query_norm = 3"):
        family.kernel(X[12_344:12_347], X[:2])
    with pytest.raises(ValueError, match="got norm inf in row 0"):
        family.hash([[1.7e308] * 4])
    assert family.oversized(X[:0]).shape == (0,)
    free = InnerProduct(4, 3, max_norm=2.0)
    assert free.hash_query(X).shape == (30_000, 3)


@every_projection
def test_rows_beyond_the_bound_are_shortened_to_it(projection: str) -> None:
    X = rows(np.random.default_rng(5), 60, 10).astype(np.float64)
    norms = np.linalg.norm(X, axis=1)
    bound = float(np.median(norms))
    family = InnerProduct(
        10, 80, max_norm=bound, query_norm=bound, oversize="clip", projection=projection, seed=1
    )
    shortened = X * np.minimum(1.0, bound / np.maximum(norms, 1e-9))[:, None]
    assert family.oversized(X).sum() == (norms > bound * (1 + 1e-6)).sum() > 20
    assert not family.oversized(shortened).any()
    np.testing.assert_array_equal(family.hash(X), family.hash(shortened))
    np.testing.assert_array_equal(family.hash_query(X), family.hash_query(shortened))
    np.testing.assert_allclose(family.kernel(X, X), family.kernel(shortened, shortened), atol=1e-7)
    # The row is so long that its square, or its norm over the bound, overflows.
    huge = InnerProduct(10, 80, max_norm=1e-200, oversize="clip", projection=projection, seed=1)
    long = np.ldexp(X[:3], 900)
    assert huge.oversized(long).all()
    np.testing.assert_array_equal(huge.hash(long), family.hash(1e3 * X[:3]))


def test_a_norm_may_exceed_its_bound_by_rounding() -> None:
    X = rows(np.random.default_rng(6), 500, 300)
    bound = float(np.linalg.norm(X, axis=1).max())  # of float32, so in error
    assert InnerProduct(300, 2, max_norm=bound).hash(X).shape == (500, 2)
    family = InnerProduct(1, 1, max_norm=3.0)
    assert family.oversized([[3.0 * (1 + 9e-7)], [3.0 * (1 + 1.1e-6)]]).tolist() == [False, True]
