"""ProductQuantizer: its naive twin, the fit, its weights, and the bounds of scores."""

from __future__ import annotations

import itertools
import math
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import ProductQuantizer
from mergesketch.errors import SaturationWarning
from mergesketch.sketches.kernels import product_fit
from naive import product_quantizer as naive
from structured_rows import MAKERS

RNG = np.random.default_rng(0)


def naive_book(quantizer: ProductQuantizer) -> naive.Codebook:
    return quantizer.centroids.tolist()


def error(quantizer: ProductQuantizer, X: Any) -> float:
    return float(((quantizer.decode(quantizer.encode(X)) - X) ** 2).sum())


def coupled_rows(n: int, n_features: int, seed: int) -> Any:
    """Return rows whose channels depend on each other."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, n_features)) @ rng.standard_normal((n_features, n_features))


@pytest.mark.slow
@settings(max_examples=25)
@given(
    st.integers(1, 3), st.integers(1, 3), st.sampled_from([2, 8, 256]), st.integers(1, 9), st.integers(0, 99)
)
def test_equals_its_naive_twin(n_groups: int, width: int, n_codes: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.integers(-2, 3, (n, n_groups * width)).astype(float)
    weights = rng.integers(0, 3, n_groups * width).astype(float)
    weights[0] = 1.0
    quantizer = ProductQuantizer(n_groups * width, n_groups, n_codes, n_iterations=2, n_restarts=1)
    quantizer.fit(X, feature_weights=weights)
    other = rng.integers(-2, 3, (n, n_groups * width)).astype(float)
    book, bits = naive_book(quantizer), n_codes.bit_length() - 1
    codes = [naive.encode(row, book, weights.tolist()) for row in other.tolist()]
    packed = quantizer.encode(other)
    assert packed.tolist() == [naive.pack(row, bits) for row in codes]
    assert quantizer.decode(packed).tolist() == [naive.decode(row, book) for row in codes]
    for metric, score in (("inner_product", naive.inner_product), ("sqeuclidean", naive.squared_distance)):
        expected = [[score(q, row, book) for row in codes] for q in X.tolist()]
        exact = quantizer.scores(X, packed, metric=metric, tables="floats")
        np.testing.assert_allclose(exact, expected, rtol=1e-12, atol=1e-12)
        found, bounds = quantizer.scores(X, packed, metric=metric, return_bound=True)
        assert (np.abs(found - exact) <= bounds * (1 + 1e-9) + 1e-12).all()


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([2, 8]), st.integers(1, 9), st.integers(0, 99))
def test_sums_are_those_of_a_step_of_lloyd(
    n_groups: int, width: int, n_codes: int, n: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    X = rng.integers(-2, 3, (n, n_groups * width)) / 2.0
    centroids = rng.integers(-2, 3, (n_groups, width, n_codes)) / 2.0
    row_weights, channels = rng.integers(0, 3, (n, 1)) / 2.0, rng.integers(0, 3, n_groups * width) / 2.0
    masses = np.zeros((n_groups, n_codes), np.int64)
    sums, errors = np.zeros(centroids.shape, np.int64), np.zeros(n_groups, np.int64)
    units = np.array([2.0**50, 2.0**50, 2.0**48])
    product_fit.add_lloyd_sums(X, row_weights, channels, centroids, units, 0, n_groups, masses, sums, errors)
    book = centroids.transpose(0, 2, 1).tolist()
    given = X.tolist(), row_weights[:, 0].tolist(), book, channels.tolist()
    means = np.where(masses[:, None] > 0, sums / np.maximum(masses, 1)[:, None], centroids)
    np.testing.assert_allclose(means.transpose(0, 2, 1), naive.lloyd_step(*given), rtol=1e-9, atol=1e-12)
    assert errors.sum() / units[2] == naive.error(*given)


@pytest.mark.parametrize("make", [*MAKERS.values(), coupled_rows])
def test_more_coupling_never_loses(make: Any) -> None:
    X = make(300, 12, 1)
    for chain in ([(1, 1), (2, 2), (4, 4)], [(1, 2), (2, 4)], [(1, 1), (3, 3), (6, 6)]):
        errors = [error(ProductQuantizer(12, 12 // c, 2**b, seed=3).fit(X), X) for c, b in chain]
        for more, less in itertools.pairwise(errors):
            assert less <= more * (1 + 1e-9) + 1e-9, chain


@pytest.mark.parametrize("n_codes", [2, 16, 256])
def test_as_many_different_rows_as_codes_have_no_error(n_codes: int) -> None:
    points = np.random.default_rng(n_codes).standard_normal((n_codes, 2, 3))
    # Each group's rows lie at n_codes points, in different orders.
    X = np.concatenate([np.resize(points[:, 0], (500, 3)), np.resize(points[::-1, 1], (500, 3))], axis=1)
    assert error(ProductQuantizer(6, 2, n_codes, seed=1).fit(X), X) < 1e-18


def test_one_channel_of_normal_numbers_has_the_error_of_lloyd_and_max() -> None:
    X = np.random.default_rng(5).standard_normal((40_000, 2))
    for bits, expected in ((1, 1 - 2 / math.pi), (2, 0.117482)):
        quantizer = ProductQuantizer(2, 2, 2**bits).fit(X)
        residual = (quantizer.decode(quantizer.encode(X)) - X) ** 2
        # The optimal quantizer of the sample is at most as bad as that of the distribution, and Lloyd's steps
        # end a part of 1e-3 above it at most.
        assert abs(residual.mean() - expected) < 6 * residual.std() / math.sqrt(X.size) + 1e-3 * expected


def test_weights_of_groups_choose_their_rows() -> None:
    rng = np.random.default_rng(2)
    X = np.concatenate([rng.integers(0, 2, (60, 4)), rng.integers(5, 900, (60, 4))]).astype(float)
    weights = np.ones((120, 2))
    # The first group has four different rows of weight, the second one has others.
    weights[60:, 0] = weights[:60, 1] = 0.0
    quantizer = ProductQuantizer(4, 2, 4, seed=1).fit(X, weights)
    decoded = quantizer.decode(quantizer.encode(X))
    np.testing.assert_allclose(decoded[:60, :2], X[:60, :2], atol=1e-9)
    plain = ProductQuantizer(4, 2, 4, seed=1).fit(X)
    left = [((q.decode(q.encode(X))[60:, 2:] - X[60:, 2:]) ** 2).sum() for q in (quantizer, plain)]
    assert left[0] < left[1]


def test_weights_of_rows_lower_the_error_of_heavy_rows() -> None:
    X = coupled_rows(400, 4, 3)
    X[100:] *= 10.0
    weights = np.where(np.arange(400) < 100, 1.0, 1e-6)
    given = (weights, weights * 2.0**300, None)
    heavy, scaled, plain = (ProductQuantizer(4, 2, 8).fit(X, some) for some in given)
    assert heavy == scaled
    assert error(heavy, X[:100]) < 0.3 * error(plain, X[:100])


def test_channels_without_weight_do_not_count() -> None:
    X = coupled_rows(200, 6, 4)
    quantizer = ProductQuantizer(6, 2, 8).fit(X, feature_weights=[1, 1, 0, 1, 1, 0])
    noisy = X.copy()
    noisy[:, [2, 5]] = 1e6
    np.testing.assert_array_equal(quantizer.encode(noisy), quantizer.encode(X))


def test_threads_and_scales_change_nothing() -> None:
    X = coupled_rows(500, 8, 5)
    threads = mergesketch.get_num_threads()
    try:
        mergesketch.set_num_threads(1)
        one = ProductQuantizer(8, 4, 16).fit(X)
        mergesketch.set_num_threads(3)
        three = ProductQuantizer(8, 4, 16).fit(X)
        assert one == three
        np.testing.assert_array_equal(one.encode(np.tile(X, (3, 1))), np.tile(three.encode(X), (3, 1)))
    finally:
        mergesketch.set_num_threads(threads)
    for scale in (2.0**400, 2.0**-400):
        scaled = ProductQuantizer(8, 4, 16).fit(X * scale)
        np.testing.assert_array_equal(scaled.centroids, one.centroids * scale)


def test_codes_of_parts_concatenate() -> None:
    X = coupled_rows(700, 6, 6)
    quantizer = ProductQuantizer(6, 3, 8).fit(X[:50])
    parts = [quantizer.encode(part) for part in (X[:1], X[1:1], X[1:300], X[300:])]
    np.testing.assert_array_equal(np.concatenate(parts), quantizer.encode(X))
    assert quantizer.code_size == 2


@pytest.mark.parametrize("make", MAKERS.values())
@pytest.mark.parametrize("metric", ["inner_product", "sqeuclidean"])
def test_bounds_of_scores_hold(make: Any, metric: str) -> None:
    X = make(500, 8, 7)
    quantizer = ProductQuantizer(8, 4, 16).fit(X)
    Q = np.concatenate([X[:20], np.zeros((1, 8)), 1e100 * X[:5], -X[:5]])
    codes = quantizer.encode(X)
    found, bounds = quantizer.scores(Q, codes, metric=metric, return_bound=True)
    exact, nothing = quantizer.scores(Q, codes, metric=metric, tables="floats", return_bound=True)
    assert (np.abs(found - exact) <= bounds + 1e-12 * np.abs(exact).max(axis=1, keepdims=True)).all()
    assert bounds.shape == nothing.shape == (len(Q), 1)
    assert not nothing.any()


def test_entropy_of_independent_and_of_equal_channels() -> None:
    every = np.array(list(itertools.product(range(4), repeat=3)) * 100, dtype=float)
    joint, marginal = ProductQuantizer(3, 1).entropy(every, n_levels=4)
    # The corrections of Miller and Madow are 63 and 9 cells over twice the rows.
    np.testing.assert_allclose(joint, [6 + 63 / (2 * 6400 * math.log(2))])
    np.testing.assert_allclose(marginal, [6 + 9 / (2 * 6400 * math.log(2))])
    joint, marginal = ProductQuantizer(2, 1).entropy(np.repeat(every[:, :1], 2, axis=1), n_levels=4)
    np.testing.assert_allclose(2 * joint, marginal)
    wide = np.repeat(every[:, :1], 40, axis=1)
    np.testing.assert_allclose(ProductQuantizer(40, 1).entropy(wide).joint, joint)


def test_entropy_of_too_few_rows_is_not_told() -> None:
    X = RNG.standard_normal((100, 4))
    with pytest.warns(SaturationWarning, match="100 rows are too few for the joint entropy of 1 group"):
        joint, marginal = ProductQuantizer(4, 1).entropy(X)
    assert np.isnan(joint).all()
    assert np.isfinite(marginal).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ProductQuantizer(6, 4), "n_groups must divide n_features, 6, got 4"),
        (lambda: ProductQuantizer(6, 3, 3), "n_codes must be one of 2, 4, 8"),
        (lambda: ProductQuantizer(2, 1).encode([[1, 2]]), "no centroids yet: call fit"),
        (lambda: ProductQuantizer(2, 1).fit(np.zeros((0, 2))), "X must have at least one row"),
        (lambda: ProductQuantizer(2, 1).fit([[1, np.nan]]), r"X must be finite, got nan at index \(0, 1\)"),
        (
            lambda: ProductQuantizer(2, 1).fit([[1, 1e200]]),
            r"X must lie within 1e\+150 of 0, got a number of magnitude 1e\+200",
        ),
        (lambda: ProductQuantizer(2, 1).fit([[1, 2]], [0]), "weights must not all be 0"),
        (
            lambda: ProductQuantizer(2, 1).fit([[1, 2]], [-1]),
            r"weights must be numbers in \[0, 1e\+150\], got -1",
        ),
        (lambda: ProductQuantizer(2, 1).fit([[1, 2]], [1, 2]), r"weights must have shape \(1,\) or \(1, 1\)"),
        (
            lambda: ProductQuantizer(2, 1).fit([[1, 2]], feature_weights=[0, 0]),
            "feature_weights must not all be 0",
        ),
        (
            lambda: ProductQuantizer(2, 1).fit([[1, 2]], feature_weights=[1]),
            "feature_weights must have shape",
        ),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_codes_that_are_none_are_refused() -> None:
    quantizer = ProductQuantizer(2, 2, 16).fit([[1, 2], [3, 4]])
    assert quantizer.decode([[255]]).tolist() == quantizer.decode(np.array([[255]], np.uint8)).tolist()
    with pytest.raises(TypeError, match="codes must be bytes, as encode returns them, got dtype float64"):
        quantizer.decode(np.zeros((1, 1)))
    for wrong in (-1, 256):
        with pytest.raises(ValueError, match=f"codes must be from 0 to 255, got {wrong} to {wrong}"):
            quantizer.decode([[wrong]])
    with pytest.raises(ValueError, match=r"codes must have shape \(n, 1\), got \(1, 2\)"):
        quantizer.scores([[1, 2]], np.zeros((1, 2), np.uint8))
    before = quantizer.to_bytes()
    with pytest.raises(ValueError, match="finite"):
        quantizer.fit([[np.inf, 0]])
    assert quantizer.to_bytes() == before
