"""Test WeightedMinHash: codes against plain sampling, similarities, logarithms and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.lsh import WeightedMinHash
from mergesketch.lsh.families import weighted_minhash
from mergesketch.lsh.kernels.weighted_minhash import log_weight
from naive import weighted_minhash as naive

WEIGHTS = st.floats(1e-3, 1e3) | st.sampled_from([1.0, 2.0, 1e-300, 5e-324, 1e300, 1.7976931348623157e308])
ROWS = st.lists(st.dictionaries(st.integers(0, 2**40), WEIGHTS, max_size=6), min_size=1, max_size=4)


def sparse(rows: list[dict[int, float]]) -> scipy.sparse.csr_array:
    indptr = np.cumsum([0, *(len(row) for row in rows)])
    entries = [entry for row in rows for entry in sorted(row.items())]
    indices, data = np.array([f for f, _ in entries], np.int64), np.array([w for _, w in entries])
    return scipy.sparse.csr_array((data, indices, indptr), shape=(len(rows), 2**40 + 1))


@settings(max_examples=50, deadline=None)
@given(ROWS, st.integers(1, 20) | st.sampled_from([31, 32, 33, 70]), st.integers(0, 2**64 - 1))
def test_codes_are_those_of_plain_sampling(rows: list[dict], n_hashes: int, seed: int) -> None:
    family = WeightedMinHash(n_hashes, seed=seed)
    key, keys = int(family._key), family._keys.tolist()
    expected = [naive.weighted_minhash(key, keys, dict(sorted(row.items()))) for row in rows]
    assert family.hash(sparse(rows)).tolist() == expected


def test_blocks_of_rows_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(12)
    X = rng.exponential(size=(60, 30)) * (rng.random((60, 30)) < 0.5)
    family = WeightedMinHash(40, power=2, n_buckets=1000, seed=7)
    codes = family.hash(X)
    for entries, n_rows, values in (
        (1, 1000, 1 << 21),
        (50, 1000, 1 << 21),
        (1 << 19, 7, 1 << 21),
        (1 << 19, 1000, 1),
    ):
        monkeypatch.setattr(weighted_minhash, "_BLOCK_ENTRIES", entries)
        monkeypatch.setattr(weighted_minhash, "_BLOCK_ROWS", n_rows)
        monkeypatch.setattr(weighted_minhash, "_BLOCK_VALUES", {"cpu": values})
        np.testing.assert_array_equal(family.hash(X), codes)
        np.testing.assert_array_equal(family.hash(scipy.sparse.csr_array(X)), codes)


@pytest.mark.parametrize("scale", [5e-322, 1e-310, 1e-300, 1e-40, 1e40, 1e300, 1e307])
def test_weights_of_any_size_collide_as_their_similarity_says(scale: float) -> None:
    """Weights are 1 to 10 times the scale; subnormal numbers, which are rounded, are included."""
    rng = np.random.default_rng(13)
    x, y = rng.uniform(1, 10, (2, 1, 20)) * scale * (rng.random((2, 1, 20)) < 0.8)
    family = WeightedMinHash(20_000, seed=8)
    J = float(naive.weighted_jaccard(*({f: w for f, w in enumerate(row[0].tolist()) if w} for row in (x, y))))
    assert 0.2 < J < 0.8
    assert family.kernel(x, y)[0, 0] == pytest.approx(J, rel=1e-12)
    share = (family.hash(x) == family.hash(y)).mean()
    assert abs(share - J) <= 6 * math.sqrt(J * (1 - J) / 20_000)


def test_codes_are_uniform() -> None:
    """Codes of few buckets are made of the high bits of values, whatever feature was sampled."""
    X = np.random.default_rng(14).exponential(size=(1, 50))
    for power, n_buckets in ((1, 64), (1, 2**32), (2, 64)):
        codes = WeightedMinHash(64_000, power=power, n_buckets=n_buckets, seed=9).hash(X)[0]
        counts = np.bincount(codes >> np.uint32(n_buckets.bit_length() - 7), minlength=64)
        assert counts.size == 64
        assert np.abs(counts - 1000).max() <= 6 * math.sqrt(1000)


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS, st.integers(1, 3))
def test_the_kernel_is_the_weighted_similarity(left: list[dict], right: list[dict], power: int) -> None:
    kernel = WeightedMinHash(3, power=power).kernel(sparse(left), sparse(right))
    expected = [[float(naive.weighted_jaccard(x, y)) ** power for y in right] for x in left]
    np.testing.assert_allclose(kernel, expected, rtol=1e-12, atol=1e-300)


def test_logarithms() -> None:
    rng = np.random.default_rng(0)
    some = np.concatenate(
        [
            np.exp(rng.uniform(-700, 700, 2000)),
            1 + rng.uniform(-1e-6, 1e-6, 500),
            [1.0, 2.0, 0.5, 0.5**0.5, 2**0.5, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308],
        ]
    )
    for x in some.tolist():
        assert abs(log_weight(x) - math.log(x)) <= 4e-16 * max(
            abs(math.log(x)), abs(x - 1.0) if 0.5 < x < 2 else 1
        )


@pytest.mark.parametrize("scale", [1.0, 2.0, 0.3])
def test_lengths_matter(scale: float) -> None:
    """J(x, s x) is the ratio of the lengths; unlike families of angles, this one sees the scale."""
    x = np.random.default_rng(1).exponential(size=(1, 40))
    family = WeightedMinHash(20_000, seed=2)
    J = min(scale, 1 / scale)
    assert family.kernel(x, scale * x)[0, 0] == pytest.approx(J)
    share = (family.hash(x) == family.hash(scale * x)).mean()
    assert abs(share - J) <= 6 * math.sqrt(J * (1 - J) / 20_000)


def test_weights_of_zero_and_one_are_sets() -> None:
    rng = np.random.default_rng(3)
    X = (rng.random((30, 25)) < 0.5).astype(float)
    family = WeightedMinHash(4000, seed=4)
    from mergesketch.lsh import MinHash

    exact = MinHash(1).kernel(scipy.sparse.csr_array(X), scipy.sparse.csr_array(X))
    np.testing.assert_allclose(family.kernel(X, X), exact)
    codes = family.hash(X)
    shares = (codes[:, None] == codes[None]).mean(axis=2)
    assert (np.abs(shares - exact) <= 6 * np.sqrt(exact * (1 - exact) / 4000) + 1e-12).all()


def test_rows_without_weights_are_alike_and_unlike_others() -> None:
    X = scipy.sparse.csr_array(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]))
    explicit = scipy.sparse.csr_array((np.zeros(1), [1], [0, 1, 1]), shape=(2, 2))
    for family in (WeightedMinHash(500), WeightedMinHash(500, power=2, n_buckets=1 << 20)):
        codes = family.hash(X)
        np.testing.assert_array_equal(codes[0], codes[2])
        np.testing.assert_array_equal(family.hash(explicit)[0], codes[0])
        assert (codes[0] != codes[1]).mean() > 0.99
        np.testing.assert_array_equal(family.kernel(X, X)[0], [1, 0, 1])


def test_bad_input() -> None:
    family = WeightedMinHash(4)
    for bad in (np.array([[1.0, -1.0]]), scipy.sparse.csr_array(np.array([[0.0, 2.0], [1.0, -1.0]]))):
        row = bad.shape[0] - 1
        with pytest.raises(ValueError, match=rf"X must hold weights of at least 0, got -1.0 in row {row}"):
            family.hash(bad)
        with pytest.raises(ValueError, match="Y must hold weights of at least 0"):
            family.kernel(abs(bad), bad)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="must be finite"):
            family.hash(np.array([[1.0, bad]]))
    with pytest.raises(TypeError, match="must hold real numbers"):
        family.hash([["a"]])
    with pytest.raises(ValueError, match="X must be a matrix"):
        family.hash(np.ones(3))
    with pytest.raises(ValueError, match=r"n_hashes \* power must be at most"):
        WeightedMinHash(1 << 20, power=2)
    with pytest.raises(ValueError, match="n_buckets must be an integer from 2"):
        WeightedMinHash(4, n_buckets=1)
    with pytest.raises(ValueError, match=r"distance must lie in \[0, 1\]"):
        family.collision_probability(1.5)
