"""Test `LSHIndex.search` on a GPU: it returns the CPU's ids for every metric, and refuses the same."""

from __future__ import annotations

from typing import Any

import fake_cupy
import mergesketch
import numpy as np
import pytest
from mergesketch.lsh import (
    BitSampling,
    CrossPolytope,
    InnerProduct,
    MinHash,
    PStable,
    SignedRandomProjection,
    WeightedMinHash,
    WinnerTakeAll,
)
from scipy import sparse

cupy = fake_cupy.install()

from cupyx.scipy.sparse import csr_matrix  # noqa: E402 - once there is a CuPy

pytestmark = pytest.mark.gpu

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((200, 20)).astype(np.float32)
ROWS[7] = 0.0
ROWS[50:60] = ROWS[40:50]  # rows that are equally near
QUERIES = (ROWS[35:65] + 0.1 * RNG.standard_normal((30, 20))).astype(np.float32)
QUERIES[0] = 0.0

FAMILIES = {
    "angle": SignedRandomProjection(20, n_hashes=8, power=5, seed=1),
    "angle, cross-polytope": CrossPolytope(20, n_hashes=8, n_buckets=30, seed=1),
    "euclidean": PStable(20, n_hashes=8, width=4.0, power=2, n_buckets=30, seed=1),
    "cityblock": PStable(20, n_hashes=8, p=1, width=30.0, n_buckets=30, seed=1),
    "inner product": InnerProduct(20, 8, power=5, max_norm=20.0, seed=1),
    "hamming": BitSampling(20, 8, power=5, seed=1),
    "jaccard": MinHash(8, n_buckets=30, seed=1),
    "weighted jaccard": WeightedMinHash(8, n_buckets=30, seed=1),
}


def data(name: str, device: str) -> tuple[Any, Any]:
    """Return queries and rows of a metric."""
    if name == "hamming":
        pair = QUERIES > 0, np.packbits(ROWS > 0, axis=1)
    elif name == "jaccard":
        rng = np.random.default_rng(1)
        offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 12, 200))])
        tokens = rng.integers(0, 15, offsets[-1])  # unsorted, and some occur twice
        cut = offsets[35], offsets[65]
        pairs = (tokens[cut[0] : cut[1]], offsets[35:66] - cut[0]), (tokens, offsets)
        return tuple(tuple(map(cupy.asarray, p)) if device == "gpu" else p for p in pairs)
    elif name == "weighted jaccard":
        pair = np.maximum(QUERIES, 0), sparse.csr_matrix(np.maximum(ROWS, 0))
        if device == "gpu":
            return cupy.asarray(pair[0]), csr_matrix(pair[1])
    else:
        pair = QUERIES, ROWS.astype(np.float64) if name == "euclidean" else ROWS
    return tuple(map(cupy.asarray, pair)) if device == "gpu" else pair


@pytest.mark.parametrize(
    "how", [{}, {"n_candidates": 9}, {"k": 3, "n_candidates": 40, "n_probes": 3}, {"k": 300}]
)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_nearest_are_those_of_the_cpu(name: str, how: dict[str, int]) -> None:
    if "jaccard" in name:
        how = {key: value for key, value in how.items() if key != "n_probes"}
    queries, rows = data(name, "cpu")
    index = mergesketch.LSHIndex(FAMILIES[name], capacity=50).add(rows)
    expected = index.search(queries, rows, **how)
    found = index.to("gpu").search(*data(name, "gpu"), **how)
    np.testing.assert_array_equal(found.ids.get(), expected.ids, strict=True)
    np.testing.assert_allclose(found.distances.get(), expected.distances, rtol=1e-14, atol=1e-14)
    assert (expected.ids >= 0).any()


def test_a_sparse_query_is_made_dense() -> None:
    X = np.where(np.abs(QUERIES) > 1, QUERIES, 0)
    index = mergesketch.LSHIndex(FAMILIES["angle"]).add(cupy.asarray(ROWS))
    found = index.search(csr_matrix(sparse.csr_matrix(X)), cupy.asarray(ROWS), 3)
    expected = index.to("cpu").search(X, ROWS, 3)
    np.testing.assert_array_equal(found.ids.get(), expected.ids)


def test_lengths_beyond_a_double_square() -> None:
    rows = np.array([[1e200, 0.0], [1e-200, 1e-200], [3e-200, 0.0], [0.0, 2e200]])
    for family in (SignedRandomProjection(2, 4, seed=1), PStable(2, 4, width=1e300, seed=1)):
        index = mergesketch.LSHIndex(family).add(rows)
        expected = index.search(rows * 1.5, rows, 4)
        found = index.to("gpu").search(cupy.asarray(rows * 1.5), cupy.asarray(rows), 4)
        np.testing.assert_array_equal(found.ids.get(), expected.ids)
        np.testing.assert_allclose(found.distances.get(), expected.distances, rtol=1e-14)


def test_bad_rows_are_refused() -> None:
    index = mergesketch.LSHIndex(FAMILIES["angle"]).add(cupy.asarray(ROWS))
    bad = ROWS.copy()
    bad[40] = np.nan
    queries = cupy.asarray(QUERIES)
    for rows, error, message in (
        (cupy.asarray(ROWS[:10]), ValueError, "rows must have a row for each id found, got 10 rows and id"),
        (cupy.asarray(bad), ValueError, "rows must be finite, got NaN or infinity in row 40"),
        (cupy.asarray(ROWS[:, :5]), ValueError, r"rows must have shape \(n, 20\)"),
        (ROWS, TypeError, "rows lies in main memory, but the LSHIndex on the GPU"),
        (mergesketch.VectorCodes(20), TypeError, "rows lies in main memory, but the LSHIndex on the GPU"),
    ):
        with pytest.raises(error, match=message):
            index.search(queries, rows)
    other = mergesketch.LSHIndex(WinnerTakeAll(20, 8)).add(cupy.asarray(ROWS))
    with pytest.raises(TypeError, match="WinnerTakeAll has no distance to rank rows by"):
        other.search(queries, cupy.asarray(ROWS))


def test_an_index_on_a_gpu_takes_the_width_and_warns_as_on_the_cpu() -> None:
    """Both count the entries that full buckets drop, and say so once."""

    def fill(index: mergesketch.LSHIndex, X: Any) -> None:
        for start in range(0, 200, 20):
            index.add(X[start : start + 20])

    said = []
    for X in (ROWS, cupy.asarray(ROWS)):
        index = mergesketch.LSHIndex(SignedRandomProjection(n_hashes=8, power=5, seed=1), capacity=8)
        with pytest.warns(mergesketch.errors.FullBucketsWarning) as told:
            fill(index, X)
        assert len(told) == 1
        assert index.family == FAMILIES["angle"]
        said.append(str(told[0].message))
    assert said[0] == said[1]
