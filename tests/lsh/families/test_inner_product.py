"""Test InnerProduct: codes against plain references, rows in any form, and search for large products."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch import LSHIndex, Race
from mergesketch.lsh import InnerProduct, SignedRandomProjection
from naive import inner_product as naive
from naive.projection import sign_codes

PROJECTIONS = ("gaussian", "hadamard", "sparse")
every_projection = pytest.mark.parametrize("projection", PROJECTIONS)


def rows(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Return dense rows of all lengths with zeros among them, and one row of zeros."""
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.5) * rng.uniform(0.01, 1, (n, 1))
    X[n // 2] = 0.0
    return X.astype(np.float32)


# -- references -----------------------------------------------------------------------------------

finite = st.floats(-1e3, 1e3, width=32)
matrices = hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.just(7)), elements=finite)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    X=matrices,
    n_hashes=st.integers(1, 40),
    power=st.integers(1, 3),
    max_norm=st.sampled_from([0.5, 100.0, 1e4]),
    query_norm=st.sampled_from([None, 30.0, 3e3]),
    seed=st.integers(0, 5),
)
def test_codes_are_the_signs_of_exact_products_of_extended_rows(
    X: np.ndarray, n_hashes: int, power: int, max_norm: float, query_norm: float | None, seed: int
) -> None:
    family = InnerProduct(
        7, n_hashes, max_norm=max_norm, query_norm=query_norm, power=power, oversize="clip", seed=seed
    )
    vectors = family._srp._sign_projection.vectors.matrix.tolist()
    for query, bound, hashed in ((False, max_norm, family.hash(X)), (True, query_norm, family.hash_query(X))):
        extended = [naive.on_sphere(row, bound, query=query) for row in X.tolist()]
        assert hashed.tolist() == sign_codes(vectors, extended, n_hashes, power)


@every_projection
@pytest.mark.parametrize("query_norm", [None, 25.0])
def test_codes_are_those_of_extended_rows(projection: str, query_norm: float | None) -> None:
    X = rows(np.random.default_rng(0), 300, 40)
    how: dict[str, Any] = {"power": 3, "projection": projection, "seed": 3}
    family = InnerProduct(40, 50, max_norm=9.0, query_norm=query_norm, **how)
    for query, bound, hashed in ((False, 9.0, family.hash(X)), (True, query_norm, family.hash_query(X))):
        extended = np.array([naive.on_sphere(row, bound, query=query) for row in X.tolist()])
        if projection == "sparse":
            # The new columns are the last of the 2**63 - 1 that there may be.
            matrix = scipy.sparse.csr_array(extended)
            columns = matrix.indices.astype(np.int64)
            columns[columns >= 40] += 2**63 - 1 - 42
            extended = scipy.sparse.csr_array((matrix.data, columns, matrix.indptr), shape=(300, 2**63 - 1))
        srp = SignedRandomProjection(None if projection == "sparse" else 42, 50, **how)
        np.testing.assert_array_equal(hashed, srp.hash(extended))


@pytest.mark.parametrize("query_norm", [None, 2.5])
def test_kernel_is_that_of_extended_rows(query_norm: float | None) -> None:
    rng = np.random.default_rng(1)
    X, Q = rows(rng, 20, 6), rows(rng, 7, 6)
    for oversize, max_norm in (("raise", 4.0), ("clip", 0.7)):
        family = InnerProduct(6, 1, max_norm=max_norm, query_norm=query_norm, power=2, oversize=oversize)
        data = [naive.on_sphere(row, max_norm, query=False) for row in X.tolist()]
        queries = [naive.on_sphere(row, query_norm, query=True) for row in Q.tolist()]
        expected = [[(1 - naive.angle_between(q, x) / math.pi) ** 2 for x in data] for q in queries]
        np.testing.assert_allclose(family.kernel(Q, X), expected, atol=1e-9)
        sparse = family.kernel(scipy.sparse.csr_array(Q), scipy.sparse.csr_array(X))
        np.testing.assert_allclose(sparse, expected, atol=1e-9)
        np.testing.assert_allclose(family.kernel(Q, scipy.sparse.csr_array(X)), expected, atol=1e-9)


def test_probability_is_that_of_the_inner_product_as_it_is_given() -> None:
    rng = np.random.default_rng(2)
    X, Q = rows(rng, 30, 8), rows(rng, 5, 8)
    lengths = np.linalg.norm(Q.astype(np.float64), axis=1)
    products = Q.astype(np.float64) @ X.T.astype(np.float64)
    bounded = InnerProduct(8, 1, max_norm=5.0, query_norm=7.0, power=3)
    np.testing.assert_allclose(bounded.kernel(Q, X), bounded.collision_probability(products), atol=1e-9)
    free = InnerProduct(8, 1, max_norm=5.0, power=3)
    with np.errstate(invalid="ignore"):
        products = np.nan_to_num(products / lengths[:, None])
    np.testing.assert_allclose(free.kernel(Q, X), free.collision_probability(products), atol=1e-9)
    assert free.collision_probability([5.0, 0.0, -5.0]).tolist() == [1.0, 0.125, 0.0]
    assert bounded.collision_probability(35.0) == 1.0
    for family, value in ((free, 5.1), (bounded, -36.0), (free, np.nan), (free, np.inf)):
        with pytest.raises(ValueError, match="distance must be an inner product of magnitude at most"):
            family.collision_probability([0.0, value])
    with pytest.raises(TypeError, match="distance must hold real numbers"):
        free.collision_probability("much")


# -- forms of rows --------------------------------------------------------------------------------


@every_projection
def test_wide_rows_in_any_form_have_one_code(projection: str) -> None:
    """Rows have more features than the sums have lanes; blocks have one row and many."""
    for n, d in ((700, 37), (5, 300)):
        X = rows(np.random.default_rng(d), n, d)
        family = InnerProduct(d, 24, max_norm=20.0, query_norm=30.0, power=2, projection=projection)
        for function in (family.hash, family.hash_query):
            codes = function(X)
            for other in (X.astype(np.float64), scipy.sparse.csr_array(X), np.asfortranarray(X)):
                np.testing.assert_array_equal(function(other), codes)
            np.testing.assert_array_equal(function(X[n - 1 :]), codes[n - 1 :])
            assert function(X[:0]).shape == (0, 24)


def test_unbounded_features() -> None:
    """Ids up to 2**40 are hashed; the width changes nothing, up to the last two columns there can be."""
    indices, indptr = np.array([3, 2**40, 5, 2**40]), np.array([0, 2, 4])
    data = np.array([1.0, -2.0, 0.5, 1.0])
    family = InnerProduct(None, 50, max_norm=3.0, query_norm=4.0, power=2, projection="sparse", seed=1)
    narrow, wide = (
        scipy.sparse.csr_array((data, indices, indptr), shape=(2, width)) for width in (2**40 + 1, 2**63 - 3)
    )
    np.testing.assert_array_equal(family.hash(narrow), family.hash(wide))
    np.testing.assert_array_equal(family.hash_query(narrow), family.hash_query(wide))
    with pytest.raises(ValueError, match=r"X must have at most 2\*\*63 - 3 columns"):
        family.hash(scipy.sparse.csr_array((1, 2**63 - 2)))
    few = scipy.sparse.csr_array(np.array([[0.0, 2.0, -1.0]]))
    known = InnerProduct(3, 50, max_norm=3.0, query_norm=4.0, power=2, projection="sparse", seed=1)
    np.testing.assert_array_equal(family.hash(few), known.hash(few))
    assert family.hash(np.empty((3, 0))).shape == (3, 50)


@pytest.mark.slow
def test_rows_are_extended_block_by_block() -> None:
    """The memory of hashing does not grow with the number of rows."""
    X = np.ones((20_000, 500), dtype=np.float32)
    family = InnerProduct(500, 8, max_norm=30.0)
    for form in (X, scipy.sparse.csr_array(X)):
        family.hash(form[:300])
        tracemalloc.start()
        try:
            family.hash(form)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # Each thread has a block of 192 rows, and half as much again within the projection.
        assert peak < 10e6 + mergesketch.get_num_threads() * 192 * 502 * 24


def test_bad_rows_are_refused_by_name() -> None:
    family = InnerProduct(4, 3, max_norm=10.0)
    good = np.ones((2, 4))
    for name, function in (("X", family.hash), ("Q", family.hash_query), ("X", family.oversized)):
        for value in (np.nan, np.inf):
            bad = good.copy()
            bad[1, 2] = value
            with pytest.raises(ValueError, match=rf"{name} must be finite, got"):
                function(bad)
            with pytest.raises(ValueError, match=rf"{name}.data must be finite"):
                function(scipy.sparse.csr_array(bad))
        with pytest.raises(ValueError, match=f"{name} must have 4 columns, got 5"):
            function(np.ones((2, 5)))
        with pytest.raises(ValueError, match=f"{name} must have 4 columns, got 5"):
            function(scipy.sparse.csr_array(np.ones((2, 5))))
        with pytest.raises(ValueError, match=f"{name} must be a matrix"):
            function(np.ones(4))
        with pytest.raises(TypeError, match=f"{name} must hold real numbers"):
            function(np.ones((2, 4), dtype=complex))
    messy = scipy.sparse.csr_array(
        (np.array([1.0, 2.0, -0.5]), np.array([3, 1, 3]), np.array([0, 3])), (1, 4)
    )
    np.testing.assert_array_equal(family.hash(messy), family.hash([[0.0, 2.0, 0.0, 0.5]]))
    np.testing.assert_array_equal(messy.indices, [3, 1, 3])
    np.testing.assert_array_equal(family.hash(np.ones((2, 4), dtype=np.int8)), family.hash(good))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_features": "3"}, TypeError, "n_features must be an integer of at least 1, got '3'"),
        ({"n_features": 0}, ValueError, "n_features must be an integer of at least 1, got 0"),
        ({"n_hashes": 1.5}, TypeError, "n_hashes must be an integer"),
        ({"max_norm": 0.0}, ValueError, r"max_norm must be a number in \(0, inf\), got 0.0"),
        ({"max_norm": math.inf}, ValueError, "max_norm must be a number in"),
        ({"max_norm": math.nan}, ValueError, "max_norm must be a number in"),
        ({"max_norm": None}, TypeError, "max_norm must be a number in"),
        ({"max_norm": True}, TypeError, "max_norm must be a number in"),
        ({"query_norm": -1.0}, ValueError, "query_norm must be a number in"),
        ({"query_norm": "1"}, TypeError, "query_norm must be a number in"),
        ({"oversize": "drop"}, ValueError, "oversize must be one of 'raise', 'clip', got 'drop'"),
        ({"power": 33}, ValueError, "power must be an integer from 1 to 32, got 33"),
        ({"projection": "cosine"}, ValueError, "projection must be one of"),
        ({"n_buckets": 1}, ValueError, "n_buckets must be"),
        ({"seed": -1}, ValueError, "seed must be"),
    ],
)
def test_bad_arguments(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        InnerProduct(**{"n_features": 3, "n_hashes": 2, "max_norm": 1.0, **arguments})


# -- sketches over the family ---------------------------------------------------------------------


def test_race_sums_the_kernel_of_data_and_queries() -> None:
    rng = np.random.default_rng(7)
    X, Q = rows(rng, 800, 16), 3 * rows(rng, 30, 16)
    for query_norm in (None, 20.0):
        family = InnerProduct(16, 2000, max_norm=6.0, query_norm=query_norm, power=3, seed=2)
        race = Race(family).update(X[:300]) | Race(family).update(X[300:])
        sums, std = race.query(Q, return_std=True)
        assert (np.abs(sums - family.kernel(Q, X).sum(axis=1)) < 6 * std + 1e-9).all()
    before = race.copy()
    with pytest.raises(
        ValueError, match="X must have rows of norm at most max_norm = 6, got norm 7 in row 1"
    ):
        race.update([[0.0] * 16, [7.0] + [0.0] * 15])
    assert race == before


@pytest.mark.slow
def test_an_index_finds_large_inner_products() -> None:
    """Handwritten digits get lengths over a wide range; counts and the products they imply are tested."""
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    rng = np.random.default_rng(8)
    digits = sklearn_datasets.load_digits().data
    digits -= digits.mean(axis=0)
    X = (digits[200:] * rng.lognormal(0.0, 0.4, (len(digits) - 200, 1))).astype(np.float32)
    Q = digits[:200].astype(np.float32)
    L, k = 2500, 10
    bound = float(np.linalg.norm(X, axis=1).max())
    family = InnerProduct(64, L, max_norm=bound, power=3, seed=4)
    index = LSHIndex(family, capacity=len(X)).add(X)
    ids, counts = index.query(Q, k)
    assert index.overflow == 0.0
    kernel, products = family.kernel(Q, X), Q.astype(np.float64) @ X.T.astype(np.float64)
    # The largest products are the most probable collisions.
    best = np.argsort(-products, axis=1)[:, :k]
    np.testing.assert_array_equal(best, np.argsort(-kernel, axis=1)[:, :k])
    # By Hoeffding's inequality every count over L is this near its expectation, except with chance 1e-9.
    error = math.sqrt(math.log(2 * kernel.size / 1e-9) / (2 * L))
    found = np.take_along_axis(kernel, ids, axis=1)
    tenth = np.take_along_axis(kernel, best, axis=1)[:, -1:]
    assert (np.abs(index.kernel_estimate(counts) - found) < error).all()
    assert (found > tenth - 2 * error).all()
    # Independent binomial counts of the same kernel would find no more: rows that
    # are similar share hash functions, which err alike.
    drawn = np.argsort(-rng.binomial(L, kernel), axis=1, kind="stable")[:, :k]

    def recalls(some: np.ndarray) -> np.ndarray:
        return np.array([np.isin(a, b).mean() for a, b in zip(some, best, strict=True)])

    spread = 6 * math.hypot(recalls(ids).std(), recalls(drawn).std()) / math.sqrt(len(Q))
    assert recalls(ids).mean() > recalls(drawn).mean() - spread
    assert recalls(drawn).mean() > 0.5
    # Products in the users' units follow from the counts: their errors over the slope of the probability.
    lengths = np.linalg.norm(Q, axis=1, keepdims=True)
    estimates = index.distance_estimate(counts) * lengths
    truth = np.take_along_axis(products, ids, axis=1)
    low, high = (family.distance(np.clip(found + side * error, 0, 1)) * lengths for side in (-1, 1))
    assert ((estimates >= low - 1e-9) & (estimates <= high + 1e-9)).all()
    assert np.corrcoef(estimates.reshape(-1), truth.reshape(-1))[0, 1] > 0.9


@every_projection
@pytest.mark.parametrize("query_norm", [None, 25.0])
def test_probes_are_those_of_extended_queries(projection: str, query_norm: float | None) -> None:
    Q = rows(np.random.default_rng(9), 250, 12)
    how: dict[str, Any] = {"power": 4, "projection": projection, "seed": 3}
    family = InnerProduct(12, 6, max_norm=9.0, query_norm=query_norm, **how)
    np.testing.assert_array_equal(family.probe(Q, 1)[:, :, 0], family.hash_query(Q))
    probes = family.probe(Q, 5)
    assert probes.shape == (250, 6, 5)
    np.testing.assert_array_equal(probes[:, :, 0], family.hash_query(Q))
    np.testing.assert_array_equal(family.probe(scipy.sparse.csr_array(Q), 5), probes)
    np.testing.assert_array_equal(family.probe(Q[7:8], 5), probes[7:8])
    assert (np.diff(np.sort(probes, axis=2).astype(np.int64), axis=2) > 0).all()
    assert family.probe(Q[:0], 5).shape == (0, 6, 5)
    if projection != "sparse":
        extended = np.array([naive.on_sphere(row, query_norm, query=True) for row in Q.tolist()])
        srp = SignedRandomProjection(14, 6, **how)
        np.testing.assert_array_equal(probes, srp.probe(extended, 5))
    for n_probes in (0, 17):
        with pytest.raises(ValueError, match="n_probes must be"):
            family.probe(Q[:0], n_probes)
