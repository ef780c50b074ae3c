"""Test the projection families: codes against plain references, collisions against theory, exactness."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch.lsh import PStable, SignedRandomProjection
from mergesketch.lsh.kernels.multiply import PANEL, longest_sum, make_panels, multiply_panels
from mergesketch.lsh.kernels.products import error_bounds
from mergesketch.sketches.kernels import code_counters
from naive import projection as naive
from naive.race import race_counts
from scipy.integrate import quad

FAMILIES = {
    "gaussian": lambda d, h, **k: SignedRandomProjection(d, h, **{"power": 3, **k}),
    "hadamard": lambda d, h, **k: SignedRandomProjection(d, h, projection="hadamard", **{"power": 3, **k}),
    "sparse": lambda d, h, **k: SignedRandomProjection(d, h, projection="sparse", **{"power": 3, **k}),
    "rehashed": lambda d, h, **k: SignedRandomProjection(d, h, n_buckets=11, **{"power": 5, **k}),
    "l2": lambda d, h, **k: PStable(d, h, **{"power": 2, "width": 2.0, **k}),
    "l1": lambda d, h, **k: PStable(d, h, p=1, **{"power": 2, "width": 8.0, **k}),
}
every_family = pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES.keys())


def rows(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Return dense float32 rows with zeros among them, and one row of zeros."""
    X = (rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.5)).astype(np.float32)
    X[n // 2] = 0.0
    return X


# -- references -----------------------------------------------------------------------------------

finite = st.floats(-1e3, 1e3, width=32)
matrices = hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.just(7)), elements=finite)


@settings(max_examples=30, deadline=None)
@given(X=matrices, n_hashes=st.integers(1, 70), power=st.integers(1, 4), seed=st.integers(0, 5))
def test_gaussian_codes_are_the_signs_of_exact_products(
    X: np.ndarray, n_hashes: int, power: int, seed: int
) -> None:
    family = SignedRandomProjection(7, n_hashes, power=power, seed=seed)
    expected = naive.sign_codes(family._sign_projection.vectors.matrix.tolist(), X.tolist(), n_hashes, power)
    assert family.hash(X).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(X=matrices, seed=st.integers(0, 5), p=st.sampled_from([1, 2]))
def test_p_stable_codes_are_the_mixed_steps_of_exact_products(X: np.ndarray, seed: int, p: int) -> None:
    family = PStable(7, 6, p=p, width=1.5, power=2, n_buckets=1000, seed=seed)
    expected = naive.step_codes(
        family._vectors.matrix.tolist(),
        family._offsets.tolist(),
        1.5,
        family._keys.tolist(),
        1000,
        X.tolist(),
        2,
    )
    assert family.hash(X).tolist() == expected


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(X=matrices, seed=st.integers(0, 5))
def test_hadamard_codes_are_the_signs_of_the_matrix(X: np.ndarray, seed: int) -> None:
    """The dense matrix H D3 H D2 H D1 gives the same signs where rounding leaves no doubt."""
    family = SignedRandomProjection(7, 6, power=4, projection="hadamard", seed=seed)
    products = naive.hadamard_products(family._sign_projection.masks, X)[:, :24]
    bits = (family.hash(X)[:, None, :] >> np.arange(4, dtype=np.uint32)[None, :, None]) & 1
    clear = np.abs(products) > 1e-3 * np.abs(X).max(initial=0.0)
    assert (bits.reshape(len(X), 24)[clear] == (products >= 0)[clear]).all()


@pytest.mark.parametrize("d", [1, 256, 257, 784, 1025, 4096, 5000, 20_000, 40_000, 70_000, 140_000])
@pytest.mark.parametrize(("n_hashes", "power"), [(1, 1), (7, 3), (16, 2), (300, 8)])
def test_hadamard_codes_of_every_size(d: int, n_hashes: int, power: int) -> None:
    """Rounding depends on the order of the levels alone, so dense and sparse rows agree to the bit."""
    rng = np.random.default_rng(d)
    X = (rng.standard_normal((2, d)) * (rng.random((2, d)) < 0.7)).astype(np.float32)
    family = SignedRandomProjection(d, n_hashes, power=power, projection="hadamard", seed=3)
    shift = np.frexp(np.abs(X).max(axis=1, keepdims=True))[1]
    expected = np.zeros((2, n_hashes), dtype=np.uint32)
    for code, row in zip(expected, np.ldexp(X, -shift), strict=True):
        products = naive.rounded_hadamard_products(family._sign_projection.masks, row)[: n_hashes * power]
        for k, plane in enumerate(products.reshape(power, n_hashes)):
            code |= (plane >= 0).astype(np.uint32) << np.uint32(k)
    np.testing.assert_array_equal(family.hash(X), expected)
    np.testing.assert_array_equal(family.hash(scipy.sparse.csr_array(X)), expected)


@settings(max_examples=30, deadline=None)
@given(X=matrices, seed=st.integers(0, 5))
def test_sparse_codes_are_the_signs_of_hashed_entries(X: np.ndarray, seed: int) -> None:
    family = SignedRandomProjection(None, 6, power=4, projection="sparse", seed=seed)
    from mergesketch.lsh.support.random import random_uint64

    key = int(random_uint64(seed, "srp hashed entries", 1)[0])
    products = naive.hashed_products(key, family._sign_projection.quantiles.tolist(), X.tolist(), 24)
    bits = (family.hash(X)[:, None, :] >> np.arange(4, dtype=np.uint32)[None, :, None]) & 1
    clear = np.abs(products) > 1e-3 * np.abs(X).max(initial=0.0)
    assert (bits.reshape(len(X), 24)[clear] == (products >= 0)[clear]).all()


# -- a row's code depends on the row alone --------------------------------------------------------


@pytest.mark.parametrize("d", [400, 1100])
def test_exact_where_float32_is_not(d: int) -> None:
    """Rows are orthogonal to the vectors: float32 products have random signs, and the codes do not."""
    family = SignedRandomProjection(d, 64, power=8, seed=1)
    W = family._sign_projection.vectors.matrix.astype(np.float64)
    rng = np.random.default_rng(2)
    X = rng.standard_normal((300, d))
    for i, w in enumerate(W[:300]):
        X[i] -= w * (X[i] @ w) / (w @ w)
        X[i] += 1e-9 * w
    place = np.arange(300)
    assert (X.astype(np.float32) @ family._sign_projection.vectors.matrix[:300].T)[place, place].min() < 0
    for rows in (X, scipy.sparse.csr_array(X)):
        codes = family.hash(rows)
        bits = codes[place, place % 64] >> (place // 64).astype(np.uint32) & 1
        assert (bits == 1).all()


@pytest.mark.parametrize("d", [1, 5, 513, 1100])
@pytest.mark.parametrize("n_vectors", [1, 64, 150])
def test_products_err_within_their_bound(d: int, n_vectors: int) -> None:
    """The bound holds for numbers of one sign too, whose rounding errors do not cancel."""
    rng = np.random.default_rng(d)
    for shift in (0.0, 5.0):
        X = np.zeros((18, d), dtype=np.float32)
        X[:13] = rng.standard_normal((13, d)) + shift
        W = (rng.standard_normal((n_vectors, d)) + shift).astype(np.float32)
        panels = make_panels(W)
        values = np.empty((18, PANEL * len(panels)), dtype=np.float32)
        multiply_panels(X, panels, 13, 0, len(panels), values)
        norms, bounds = np.linalg.norm(X[:13].astype(np.float64), axis=1), np.empty(13)
        error_bounds(norms, longest_sum(d), 13, bounds)
        exact = X[:13].astype(np.float64) @ W.T.astype(np.float64)
        limit = bounds[:, None] * np.linalg.norm(W.astype(np.float64), axis=1)
        assert (np.abs(values[:13, :n_vectors] - exact) <= limit).all()
        assert (values[:13, n_vectors:] == 0).all()


@pytest.mark.parametrize("p", [1, 2])
def test_huge_steps_keep_their_sign(p: int) -> None:
    """Steps that no integer can represent become the largest one of their sign."""
    family = PStable(1, 200, p=p, n_buckets=2**32)
    codes = family.hash([[1e30], [1e200], [-1e30], [-1e200]])
    np.testing.assert_array_equal(codes[0], codes[1])
    np.testing.assert_array_equal(codes[2], codes[3])
    assert (codes[0] != codes[2]).all()


@every_family
def test_scale(make) -> None:
    """Tiny and huge rows neither underflow nor overflow; angles do not depend on length."""
    X = rows(np.random.default_rng(3), 50, 20).astype(np.float64)
    family = make(20, 30)
    for power in (-900, -130, 130, 900):
        codes = family.hash(np.ldexp(X, power))
        if isinstance(family, SignedRandomProjection):
            np.testing.assert_array_equal(codes, family.hash(X))
        else:
            assert codes.shape == (50, 30)
    assert family.hash(np.full((1, 20), np.finfo(np.float64).max)).shape == (1, 30)


# -- collisions against theory --------------------------------------------------------------------


def test_sparse_rows_of_few_entries_collide_as_theory_says() -> None:
    """Random signs in place of normal entries would fail here, because their sums take few values."""
    family = SignedRandomProjection(None, 40_000, projection="sparse", seed=5)
    X = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    codes, expected = family.hash(X), family.kernel(X, X)
    measured = (codes[:, None] == codes[None]).mean(axis=2)
    error = np.sqrt(expected * (1 - expected) / 40_000)
    assert (np.abs(measured - expected) <= 6 * error + 1e-12).all()


@pytest.mark.parametrize("d", [2, 3, 8, 20])
def test_hadamard_rows_of_few_entries_collide_as_theory_says(d: int) -> None:
    """Rates are over many seeds; blocks as small as d would be wrong by a tenth here."""
    n_seeds, angles = 200, np.array([0.1, 0.5, 1.0, 2.0])
    x, Y = np.zeros((1, d)), np.zeros((4, d))
    x[0, 0], Y[:, 0], Y[:, 1] = 1.0, np.cos(angles), np.sin(angles)
    shares = np.empty((n_seeds, 4))
    for seed in range(n_seeds):
        family = SignedRandomProjection(d, 512, projection="hadamard", seed=seed)
        shares[seed] = (family.hash(x) == family.hash(Y)).mean(axis=1)
    # Six standard errors, and the bias that blocks of 256 have where they are worst.
    error = 6 * shares.std(axis=0) / math.sqrt(n_seeds) + 1e-3
    assert (np.abs(shares.mean(axis=0) - family.collision_probability(angles)) < error).all()


def test_hadamard_rows_with_ties_collide_within_what_the_notes_say() -> None:
    """Some products of equal entries are 0, so a multiple of such a row may have other bits."""
    n_seeds, entries = 40, np.array([1, 2, 3, 4, 8])
    for d in (8, 200):
        X = np.zeros((5, d))
        for row, n in zip(X, entries, strict=True):
            row[:n] = 1.0
        other = np.random.default_rng(1).standard_normal((1, d))
        shares = []
        for seed in range(n_seeds):
            family = SignedRandomProjection(d, 4096, projection="hadamard", seed=seed)
            codes = family.hash(X)
            shares.append([(codes == family.hash(scale * X)).mean(axis=1) for scale in (4.0, 3.3, -1.0)])
            assert (family.hash(other) != family.hash(3.3 * other)).mean() < 1e-3
            assert (family.hash(other) == family.hash(-other)).mean() < 1e-3
        same, multiple, opposite = np.mean(shares, axis=0)
        error = 6 * np.std(shares, axis=0)[1:].max() / math.sqrt(n_seeds)
        assert (same == 1.0).all()
        assert (1.0 - multiple < 0.008 + error).all()
        assert (opposite < 0.016 + error).all()
        assert error < 0.006


@pytest.mark.parametrize("p", [1, 2])
def test_p_stable_probability_is_its_integral(p: int) -> None:
    """Datar et al. 2004, section 3.2: the integral of f(t / c) / c (1 - t / width), f of |stable|."""
    density = {
        1: lambda t: 2 / (math.pi * (1 + t * t)),
        2: lambda t: math.sqrt(2 / math.pi) * math.exp(-t * t / 2),
    }[p]
    family = PStable(3, 1, p=p, width=2.5)
    for c in (0.01, 0.2, 1.0, 3.0, 40.0, 1e3):
        expected, _ = quad(
            lambda t, c=c: density(t / c) / c * (1 - t / 2.5),
            0,
            2.5,
            epsabs=1e-12,
            limit=200,
            points=[min(c, 2.4)],
        )
        assert math.isclose(float(family.collision_probability(c)), expected, rel_tol=1e-7)
    # Continuous where the series takes over from the closed form, and 1 at distance 0.
    near, far = family.collision_probability([2.5e4 * (1 - 1e-9), 2.5e4 * (1 + 1e-9)])
    assert math.isclose(near, far, rel_tol=1e-6)
    assert family.collision_probability(0.0) == 1.0
    assert family.collision_probability(np.inf) == 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny = family.collision_probability([1e-300, 1e-160, 1e-100])
    np.testing.assert_allclose(tiny, 1.0)


def test_kernels() -> None:
    family = SignedRandomProjection(2, 1, power=2)
    X = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [0.0, 0.0]])
    expected = np.array(
        [[1, 0.25, 0, 0.25], [0.25, 1, 0.25, 0.25], [0, 0.25, 1, 0.25], [0.25, 0.25, 0.25, 1]]
    )
    np.testing.assert_allclose(family.kernel(X, X), expected, atol=1e-12)
    np.testing.assert_allclose(family.kernel(scipy.sparse.csr_array(X), X), expected, atol=1e-12)
    np.testing.assert_allclose(family.kernel(1e300 * X, 1e-300 * X), expected, atol=1e-12)


def test_unbounded_features() -> None:
    """Ids up to 2**40 are hashed, and a wider matrix of the same entries gives the same codes."""
    family = SignedRandomProjection(None, 50, power=2, projection="sparse", seed=1)
    indices, indptr = np.array([3, 2**40, 5, 2**40]), np.array([0, 2, 4])
    data = np.array([1.0, -2.0, 0.5, 1.0])
    narrow = scipy.sparse.csr_array((data, indices, indptr), shape=(2, 2**40 + 1))
    wide = scipy.sparse.csr_array((data, indices, indptr), shape=(2, 2**62))
    np.testing.assert_array_equal(family.hash(narrow), family.hash(wide))


def test_entries_that_are_kept_are_those_that_are_hashed() -> None:
    """Entries are kept for later rows; a row on its own finds none that were kept."""
    rng = np.random.default_rng(4)
    dense = (rng.standard_normal((30, 3000)) * (rng.random((30, 3000)) < 0.5)).astype(np.float32)
    features = np.sort(rng.choice(2**12, (30, 40)), axis=1) * np.int64(2**30)
    indptr = np.arange(0, 30 * 40 + 1, 40)
    wide = scipy.sparse.csr_array(
        (np.ones(features.size), features.reshape(-1), indptr), shape=(30, 2**43), dtype=np.float32
    )
    family = SignedRandomProjection(None, 90, power=5, projection="sparse", seed=1)
    for X in (dense, wide):
        codes = family.hash(X)
        for i in range(30):
            np.testing.assert_array_equal(family.hash(X[i : i + 1]), codes[i : i + 1])


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["gaussian", "hadamard", "sparse"])
def test_a_million_features(projection: str) -> None:
    """Dense and sparse rows have the same codes, and collide at the rate of their angles."""
    d, rng = 1_000_000, np.random.default_rng(5)
    n_hashes = 2 if projection == "gaussian" else 2_000
    family = SignedRandomProjection(d, n_hashes, projection=projection, seed=6)
    X = scipy.sparse.random_array((3, d), density=1e-5, format="csr", dtype=np.float32, rng=rng)
    X = scipy.sparse.vstack([X, X[:1] + X[1:2], scipy.sparse.csr_array((1, d), dtype=np.float32)]).tocsr()
    codes = family.hash(X)
    np.testing.assert_array_equal(codes, family.hash(X.toarray()))
    if projection != "gaussian":
        expected = family.kernel(X, X)
        measured = (codes[:, None] == codes[None]).mean(axis=2)
        assert (np.abs(measured - expected) <= 6 * np.sqrt(expected * (1 - expected) / n_hashes) + 1e-9).all()


# -- counting codes -------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(0, 300),
    shape=st.tuples(st.integers(1, 11), st.integers(1, 6)),
    weighted=st.booleans(),
    data=st.data(),
)
def test_counters(n: int, shape: tuple[int, int], weighted: bool, data: st.DataObject) -> None:
    """Only the given range of a sketch's rows is added to; reading returns what was counted."""
    n_hashes, n_buckets = shape
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    start = data.draw(st.integers(0, n_hashes))
    stop = data.draw(st.integers(start, n_hashes))
    codes = rng.integers(0, n_buckets, (n, n_hashes)).astype(np.uint32)
    weights = rng.integers(-5, 6, n if weighted else 0)
    counts = np.zeros(shape, dtype=np.int32)
    code_counters.scatter_add(codes, weights, start, stop, counts)
    each = weights.tolist() if weighted else [1] * n
    expected = np.array(race_counts(codes.tolist(), each, n_hashes, n_buckets))
    expected[:start] = expected[stop:] = 0
    np.testing.assert_array_equal(counts, expected)
    edges, out = np.arange(n_hashes + 1), np.full((*codes.shape, 1), -1.0)
    code_counters.gather_groups(counts[..., None], codes, edges, n // 3, n, out)
    assert (out[: n // 3] == -1).all()
    np.testing.assert_array_equal(out[n // 3 :, :, 0], expected[np.arange(n_hashes), codes[n // 3 :]])


# -- bad input ------------------------------------------------------------------------------------


@every_family
def test_bad_rows_are_refused_by_name(make) -> None:
    family = make(4, 3)
    good = np.ones((2, 4))
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[1, 2] = value
        with pytest.raises(ValueError, match="X must be finite, got"):
            family.hash(bad)
        with pytest.raises(ValueError, match=r"X.data must be finite"):
            family.hash(scipy.sparse.csr_array(bad))
    with pytest.raises(ValueError, match=r"X must be a matrix of shape .*, got a 1-D sparse array"):
        family.hash(scipy.sparse.csr_array(good[0]))
    with pytest.raises(ValueError, match="X must have 4 columns, got 5"):
        family.hash(np.ones((2, 5)))
    with pytest.raises(ValueError, match="X must have 4 columns, got 5"):
        family.hash(scipy.sparse.csr_array(np.ones((2, 5))))
    with pytest.raises(ValueError, match="X must be a matrix"):
        family.hash(np.ones(4))
    with pytest.raises(TypeError, match="X must hold real numbers"):
        family.hash(np.ones((2, 4), dtype=complex))
    with pytest.raises(ValueError, match="distance must lie in"):
        family.collision_probability(-0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features": 0}, "n_features must be an integer of at least 1, got 0"),
        ({"n_hashes": 1.5}, "n_hashes must be an integer"),
        ({"power": 33}, "power must be an integer from 1 to 32, got 33"),
        (
            {"projection": "cosine"},
            "projection must be one of 'gaussian', 'hadamard', 'sparse', got 'cosine'",
        ),
        ({"n_buckets": 1}, "n_buckets must be"),
        ({"seed": -1}, "seed must be"),
        ({"n_hashes": 1 << 24, "power": 2}, "n_hashes \\* power must be at most"),
    ],
)
def test_bad_arguments_of_signed_projections(arguments: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        SignedRandomProjection(**{"n_features": 3, "n_hashes": 2, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 3}, "p must be one of 1, 2, got 3"),
        ({"width": 0.0}, "width must be a number in"),
        ({"width": math.inf}, "width must be a number in"),
        ({"power": 0}, "power must be an integer from 1 to 64, got 0"),
        ({"n_buckets": 2**32 + 1}, "n_buckets must be"),
    ],
)
def test_bad_arguments_of_p_stable(arguments: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        PStable(**{"n_features": 3, "n_hashes": 2, **arguments})


@pytest.mark.slow
def test_bits_of_one_hadamard_block_agree_less_often_together_as_is_stated() -> None:
    rng, n_seeds, rates = np.random.default_rng(1), 150, []
    for seed in range(n_seeds):
        X, Y = rng.standard_normal((2, 400, 256))
        Y -= (X * Y).sum(axis=1, keepdims=True) / (X * X).sum(axis=1, keepdims=True) * X
        family = SignedRandomProjection(256, 32, power=8, projection="hadamard", seed=seed)
        rates.append((family.hash(X) == family.hash(Y)).mean() * 2**8)
    error = np.std(rates) / np.sqrt(n_seeds)
    assert abs(np.mean(rates) - (1.0 - 8 * 7 / 512 * (2 / np.pi) ** 2)) < 4 * error
    assert np.mean(rates) < 1.0 - 3 * error


def test_vectors_of_gaussian_projections_decide_the_bits() -> None:
    X = np.random.default_rng(0).standard_normal((20, 6))
    family = SignedRandomProjection(6, 5, power=3, seed=1)
    bits = (X @ family.vectors.T >= 0).reshape(20, 3, 5)
    np.testing.assert_array_equal(family.hash(X), (bits << np.arange(3)[:, None]).sum(axis=1))
    assert family.vectors.dtype == np.float32 and not family.vectors.flags.writeable
    for other in (SignedRandomProjection(6, 5, projection="sparse"), SignedRandomProjection(None, 5)):
        with pytest.raises(ValueError, match=r"^(projection|n_features)"):
            other.vectors  # noqa: B018 - a property
