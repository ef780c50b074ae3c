"""Sums of products of columns: against the definition, and the error of a layer's outputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mergesketch import SecondMoments
from scipy import sparse

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 7))


@pytest.mark.parametrize(
    "rows",
    [
        X,
        X.astype(np.float32),
        X.astype(np.float16),
        X.astype(">f8"),
        np.asfortranarray(X),
        X[::-2],
        sparse.csr_matrix(X),
    ],
    ids=["float64", "float32", "float16", "big-endian", "fortran", "strided", "sparse"],
)
def test_is_the_mean_of_products(rows) -> None:
    dense = (rows.toarray() if sparse.issparse(rows) else rows).astype(float)
    expected = sum(np.outer(row, row) for row in dense) / len(dense)
    found = SecondMoments(7).update(rows).mean_products()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.square(dense).sum())


def test_many_rows_are_added_in_blocks() -> None:
    ones = np.ones((10_000, 2), np.float16)
    assert (SecondMoments(2).update(ones).mean_products() == 1.0).all()


def test_error_of_outputs() -> None:
    W = RNG.standard_normal((3, 7))
    near = W + 0.1 * RNG.standard_normal((3, 7))
    moments = SecondMoments(7).update(X)
    expected = np.square(X @ (W - near).T).sum() / np.square(X @ W.T).sum()
    assert moments.relative_error(W, near) == pytest.approx(expected, rel=1e-12)
    assert moments.relative_error(W, W) == 0.0
    assert moments.relative_error(W, np.zeros_like(W)) == pytest.approx(1.0, rel=1e-12)
    assert moments.relative_error(0 * W, W) == math.inf
    assert moments.relative_error(0 * W, 0 * W) == 0.0


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
@pytest.mark.parametrize("of_rows", [1e-120, 1.0, 1e120])
def test_error_of_outputs_of_any_size(of_rows, size) -> None:
    W = RNG.standard_normal((3, 7))
    moments = SecondMoments(7).update(of_rows * X)
    expected = SecondMoments(7).update(X).relative_error(W, 0.9 * W)
    assert moments.relative_error(size * W, size * 0.9 * W) == pytest.approx(expected, rel=1e-9)
    assert moments.relative_error(size * W, 0 * W) == pytest.approx(1.0, rel=1e-9)


def test_refuses() -> None:
    moments = SecondMoments(2)
    with pytest.raises(ValueError, match="needs a sketch with rows"):
        moments.mean_products()
    with pytest.raises(ValueError, match="needs a sketch with rows"):
        moments.relative_error([[1, 2]], [[1, 2]])
    with pytest.raises(ValueError, match=r"X must lie within 1e\+140"):
        moments.update([[1e141, 0]])
    with pytest.raises(ValueError, match=r"approximation must have shape \(1, 2\), got \(2, 2\)"):
        moments.update([[1, 2]]).relative_error([[1, 2]], [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="n_features must be"):
        SecondMoments(0)
