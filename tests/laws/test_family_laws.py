"""Test the laws of hash families, for every public one.

Rows collide with the probability that the family states, whatever its seed. A row's codes depend on its
numbers alone, and not on their layout, dtype or sparsity, on other rows, on threads or on storage.
"""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from entries import Family
from mergesketch import lsh
from mergesketch.lsh import HashFamily, family_from_config
from registry import FAMILIES

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
WITH_THEORY = {name: family for name, family in FAMILIES.items() if not family.no_theory}
every_family_with_theory = pytest.mark.parametrize("family", WITH_THEORY.values(), ids=WITH_THEORY.keys())
METRICS = {
    "angle",
    "euclidean",
    "cityblock",
    "jaccard",
    "weighted_jaccard",
    "hamming",
    "rank",
    "inner_product",
}
#: Numbers of seeds, hash functions for each seed, and pairs of rows, by which rates are measured.
SEEDS, HASHES, PAIRS = 100, 48, 40


def dense(X: Any) -> bool:
    return isinstance(X, np.ndarray)


def as_list(X: Any) -> list[np.ndarray]:
    """Return sets given as (tokens, offsets) as a list."""
    return np.split(X[0], X[1][1:-1])


def take(X: Any, index: np.ndarray) -> Any:
    """Return some rows of a matrix or of (tokens, offsets)."""
    if dense(X):
        return X[index]
    sets = as_list(X)
    sets = [sets[i] for i in index]
    offsets = np.concatenate([[0], np.cumsum([s.size for s in sets], dtype=np.int64)])
    return np.concatenate([X[0][:0], *sets]), offsets.astype(np.int64)


def both_codes(made: HashFamily, X: Any) -> np.ndarray:
    """Return the codes of rows, and of the same rows as queries."""
    codes = made.hash(X), made.hash_query(X)
    for array in codes:
        assert array.dtype == np.uint32
        assert array.flags.c_contiguous
        assert array.shape[1:] == (made.n_hashes,)
        assert (array < made.n_buckets).all()
    return np.stack(codes)


def expected_rate(made: HashFamily, distance: float) -> float:
    k = float(made.collision_probability(distance))
    return k + (1.0 - k) * made.chance_collision


def csr_arrays(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    matrix = scipy.sparse.csr_array(X)
    return matrix.indptr, matrix.indices, matrix.data


# -- the registry ---------------------------------------------------------------------------------


def public_families() -> set[str]:
    return {
        name
        for name in lsh.__all__
        if inspect.isclass(cls := getattr(lsh, name))
        and issubclass(cls, HashFamily)
        and not inspect.isabstract(cls)
    }


def test_every_family_is_public_and_in_the_registry() -> None:
    ours = {
        name
        for name, cls in HashFamily._registry.items()
        if cls.__module__.partition(".")[0] == "mergesketch" and not inspect.isabstract(cls)
    }
    assert public_families() == ours
    assert ours <= {family.name for family in FAMILIES.values()}


@every_family
def test_every_entry_tells_what_to_test(family: Family) -> None:
    made = family.make(n_hashes=1, seed=0)
    assert made.metric in METRICS
    if not family.no_theory:
        assert family.pairs is not None
        assert len(family.distances) >= 3
        return
    # There is no number that would be right.
    for method in (made.collision_probability, made.distance):
        with pytest.raises(TypeError, match="no collision probability"):
            method(0.5)


# -- collisions against theory --------------------------------------------------------------------


def measured(family: Family, distance: float, index: int) -> np.ndarray:
    """Return the share of pairs that collide, of shape (SEEDS, HASHES); each seed has its own pairs."""
    assert family.pairs is not None
    shares = np.empty((SEEDS, HASHES))
    for seed in range(SEEDS):
        made = family.make(n_hashes=HASHES, seed=1000 * index + seed)
        X, Q = family.pairs(np.random.default_rng([seed, index]), distance, PAIRS)
        shares[seed] = (made.hash(X) == made.hash_query(Q)).mean(axis=0)
    return shares


@pytest.mark.slow
@every_family_with_theory
def test_pairs_collide_as_often_as_theory_says(family: Family) -> None:
    """Rates lie within 6 standard errors. Seeds are independent, even where columns of a family are not."""
    for index, distance in enumerate(family.distances):
        expected = expected_rate(family.make(n_hashes=HASHES, seed=0), distance)
        shares = measured(family, distance, index)
        binomial = expected * (1.0 - expected) / PAIRS
        # The spread over seeds, or that of independent trials where too few collisions show it.
        spread = math.sqrt(max(shares.mean(axis=1).var(ddof=1), binomial / HASHES) / SEEDS)
        rate = shares.mean()
        assert abs(rate - expected) <= 6 * spread + family.bias, (distance, rate, expected)
        # Each hash function is tested, not only their mean.
        each = np.sqrt(np.maximum(shares.var(axis=0, ddof=1), binomial) / SEEDS)
        # A rare collision is not normal: allow it one of SEEDS * PAIRS more.
        slack = 6 * each + family.bias + 1.0 / (SEEDS * PAIRS)
        assert (np.abs(shares.mean(axis=0) - expected) <= slack).all(), distance


@pytest.mark.slow
@every_family_with_theory
def test_the_grid_of_distances_tells_families_apart(family: Family) -> None:
    """Rates fall from nearly 1 to small ones in one direction; otherwise the test above would see little."""
    rates = family.make(n_hashes=1, seed=0).collision_probability(np.array(family.distances))
    assert rates.shape == (len(family.distances),)
    assert rates.max() > 0.5
    assert rates.min() < 0.35
    steps = np.diff(rates[np.argsort(family.distances)])
    assert (steps <= 0).all() or (steps >= 0).all()


@pytest.mark.slow
@every_family_with_theory
def test_the_kernel_of_a_pair_is_the_probability_at_its_distance(family: Family) -> None:
    assert family.pairs is not None
    made = family.make(n_hashes=1, seed=0)
    for distance in family.distances:
        X, Q = family.pairs(np.random.default_rng(7), distance, 9)
        kernel = made.kernel(Q, X)
        assert kernel.shape == (9, 9)
        np.testing.assert_allclose(
            np.diagonal(kernel), made.collision_probability(distance), rtol=1e-6, atol=1e-6
        )
        assert (kernel >= -1e-12).all()
        assert (kernel <= 1 + 1e-12).all()


@pytest.mark.slow
@every_family_with_theory
def test_probabilities_keep_the_shape_of_distances(family: Family) -> None:
    made = family.make(n_hashes=1, seed=0)
    grid = np.array(family.distances, dtype=np.float64)
    for distances in (grid, grid.reshape(-1, 1), grid[:0], grid[0]):
        probabilities = made.collision_probability(distances)
        assert probabilities.shape == distances.shape
        assert probabilities.dtype == np.float64
    with pytest.raises(ValueError, match="distance must"):
        made.collision_probability(np.nan)
    with pytest.raises(TypeError, match="distance must"):
        made.collision_probability("near")


# -- a row's codes depend on its numbers alone ----------------------------------------------------


def layouts(X: Any) -> Iterator[tuple[str, Any]]:
    """Yield the same rows in other forms."""
    if not dense(X):
        tokens, offsets = X
        yield "a list", as_list(X)
        yield "int64 tokens", (tokens.view(np.int64), offsets)
        yield "a strided view", (np.repeat(tokens, 2)[::2], offsets)
        yield "a reversed view", (np.ascontiguousarray(tokens[::-1])[::-1], np.flip(np.flip(offsets).copy()))
        yield "int32 offsets", (tokens, offsets.astype(np.int32))
        return
    yield "Fortran order", np.asfortranarray(X)
    wide = np.zeros((2 * len(X), 3 * X.shape[1]), dtype=X.dtype)
    wide[::2, 1::3] = X
    yield "a strided view", wide[::2, 1::3]
    yield "a reversed view", np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]
    yield "byte-swapped", X.astype(X.dtype.newbyteorder("S"))
    if X.dtype == np.float32:
        yield "float64", X.astype(np.float64)
    read_only = X.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only


@every_family
def test_layout_and_dtype_do_not_matter(family: Family) -> None:
    made = family.make(n_hashes=21, seed=2)
    X = family.rows(np.random.default_rng(0), 700)
    codes = both_codes(made, X)
    for name, other in layouts(X):
        np.testing.assert_array_equal(both_codes(made, other), codes, err_msg=name)


def sparse_forms(X: np.ndarray) -> Iterator[tuple[str, Any]]:
    indptr, indices, data = csr_arrays(X)
    yield "CSR", scipy.sparse.csr_array(X)
    yield "CSC", scipy.sparse.csc_matrix(X)
    wide = (data, indices.astype(np.int64), indptr.astype(np.int64))
    yield "64-bit indices", scipy.sparse.csr_array(wide, shape=X.shape)
    for array in (indptr, indices, data):
        array.flags.writeable = False
    yield "read-only", scipy.sparse.csr_array((data, indices, indptr), shape=X.shape)
    # Every entry is split into two that add up to it, and each row is written backwards.
    halves = (data / 2, data / 2) if data.dtype.kind == "f" else (data, np.zeros_like(data))
    order = np.concatenate([np.arange(b - 1, a - 1, -1) for a, b in pairwise(indptr)])
    messy = np.stack(halves, axis=1)[order].reshape(-1), np.repeat(indices[order], 2), 2 * indptr
    yield "unsorted and repeated entries", scipy.sparse.csr_array(messy, shape=X.shape)


def thin(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return rows in which half of the numbers, and all numbers of every fifth row, are zeros."""
    X = X * (rng.random(X.shape) < 0.5).astype(X.dtype)
    X[::5] = 0
    return X


@every_family
def test_sparse_rows_have_the_codes_of_dense_ones(family: Family) -> None:
    made = family.make(n_hashes=21, seed=3)
    rng = np.random.default_rng(1)
    X = family.rows(rng, 200)
    if not dense(X):
        tokens, offsets = X
        columns = (tokens % np.uint64(1000)).astype(np.int64)
        codes = both_codes(made, (columns, offsets))
        matrix = np.zeros((200, 1000), dtype=np.float32)
        matrix[np.repeat(np.arange(200), np.diff(offsets)), columns] = 1.0
        forms = sparse_forms(matrix)
    elif family.no_csr:
        with pytest.raises((TypeError, ValueError)):
            made.hash(scipy.sparse.csr_array(X))
        return
    else:
        X = thin(X, rng)
        codes, forms = both_codes(made, X), sparse_forms(X)
    for name, sparse in forms:
        before = [array.copy() for array in (sparse.indptr, sparse.indices, sparse.data)]
        np.testing.assert_array_equal(both_codes(made, sparse), codes, err_msg=name)
        for array, copied in zip((sparse.indptr, sparse.indices, sparse.data), before, strict=True):
            np.testing.assert_array_equal(array, copied, err_msg=f"{name} was changed")


@every_family
def test_a_row_has_its_code_whatever_the_batch_and_threads(family: Family) -> None:
    made = family.make(n_hashes=3, seed=1)
    rng = np.random.default_rng(2)
    X = family.rows(rng, 20_000)
    before = mergesketch.get_num_threads()
    try:
        mergesketch.set_num_threads(1)
        codes = both_codes(made, X)
        mergesketch.set_num_threads(4)
        np.testing.assert_array_equal(both_codes(made, X), codes)
        order = rng.permutation(20_000)[:3000]
        np.testing.assert_array_equal(both_codes(made, take(X, order)), codes[:, order])
    finally:
        mergesketch.set_num_threads(before)
    for index in ([], [0], [7], [19_999], range(100, 133), [5, 5, 5]):
        rows = np.array(index, dtype=np.int64)
        np.testing.assert_array_equal(both_codes(made, take(X, rows)), codes[:, rows])


@every_family
def test_rows_of_zeros_have_one_code(family: Family) -> None:
    """The kernel calls them similar. They may be dense or sparse, and lie among any other rows."""
    made = family.make(n_hashes=9, seed=5)
    X = family.rows(np.random.default_rng(3), 6)
    zeros = np.zeros_like(X) if dense(X) else (X[0][:0], np.zeros(7, dtype=np.int64))
    codes = both_codes(made, zeros)
    assert (codes == codes[:, :1]).all()
    np.testing.assert_array_equal(both_codes(made, take(zeros, np.array([0]))), codes[:, :1])
    assert np.isfinite(made.kernel(zeros, X)).all()


@pytest.mark.slow
@every_family
def test_a_million_features(family: Family) -> None:
    """Memory is what one row and the parameters of the family explain."""
    rng, width = np.random.default_rng(4), 1_000_000
    small = family.make(n_hashes=2, seed=6)
    X = family.rows(rng, 5)
    if family.not_wide:
        assert {"n_features", "n_bits", "vectors"} & set(small.config())
        return
    if not dense(X):
        X = np.array([3, 2**31, 2**63, 2**64 - 1], dtype=np.uint64), np.array([0, 3, 4])
        assert both_codes(small, X).shape == (2, 2, 2)
        return
    small.hash(X)
    small.hash(scipy.sparse.csr_array(X))
    config = small.config()
    made = family_from_config({**config, "n_features": width} if "n_features" in config else config)
    columns = np.sort(rng.choice(width, X.size, replace=False).reshape(X.shape), axis=1)
    columns.flat[-1] = width - 1
    indptr = np.arange(len(X) + 1) * X.shape[1]
    wide = scipy.sparse.csr_array((X.reshape(-1), columns.reshape(-1), indptr), shape=(len(X), width))
    tracemalloc.start()
    try:
        codes = both_codes(made, wide)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 600e6, f"{peak / 1e6:.0f} MB"
    one = np.zeros((1, width), dtype=X.dtype)
    one[0, columns[2]] = X[2]
    np.testing.assert_array_equal(both_codes(made, one), codes[:, 2:3])


# -- configuration --------------------------------------------------------------------------------


@every_family
def test_families_rebuild_from_their_configuration(family: Family) -> None:
    made = family.make(n_hashes=5, seed=3)
    X = family.rows(np.random.default_rng(0), 40)
    codes = both_codes(made, X)
    for twin in (family_from_config(made.config()), pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert type(twin) is type(made)
        assert twin == made
        assert hash(twin) == hash(made)
        assert twin.chance_collision == made.chance_collision
        assert twin.metric == made.metric
        np.testing.assert_array_equal(both_codes(twin, X), codes)
    other = family.make(n_hashes=5, seed=4)
    assert other != made
    assert (other.hash(X) != codes[0]).any()
    assert repr(made).startswith(f"{family.name}(")
