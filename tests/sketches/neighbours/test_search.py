"""Test LSHIndex.search: exact re-ranking for every metric against a slow one, probes, and refusals."""

from __future__ import annotations

from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from coded_family import Coded
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LSHIndex
from mergesketch.lsh import CrossPolytope, HashFamily, MinHash, PStable, SignedRandomProjection
from naive import index as naive
from toy_family import ToyFamily


def angles(Q: np.ndarray, X: np.ndarray) -> np.ndarray:
    Q, X = (A / np.maximum(np.linalg.norm(A, axis=1, keepdims=True), 1e-300) for A in (Q, X))
    return np.arccos(np.clip(Q @ X.T, -1, 1))


def jaccard(Q: Any, X: Any) -> np.ndarray:
    sets = [[set(row) for row in rows] for rows in (Q, X)]
    return np.array([[1 - len(a & b) / len(a | b) if a | b else 0.0 for b in sets[1]] for a in sets[0]])


def weighted(Q: Any, X: Any) -> np.ndarray:
    Q, X = Q.toarray()[:, None], X.toarray()[None]
    greater = np.maximum(Q, X).sum(axis=2)
    return 1 - np.minimum(Q, X).sum(axis=2) / np.where(greater > 0, greater, 1) - (greater == 0)


def whole(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    """Return small integers: their distances are exact and often equal, and a few rows are zeros."""
    return rng.integers(-3, 4, (n, width)) * (rng.random((n, 1)) < 0.9)


def some_sets(rng: np.random.Generator, n: int, width: int) -> list[np.ndarray]:
    return [rng.integers(-5, 15, rng.integers(0, width + 1)) for _ in range(n)]


def some_weights(rng: np.random.Generator, n: int, width: int) -> Any:
    return scipy.sparse.csr_array(rng.integers(0, 4, (n, width)) * (rng.random((n, width)) < 0.5) * 1.0)


METRICS: dict[str, tuple[Any, Any]] = {
    "angle": (whole, angles),
    "euclidean": (whole, lambda Q, X: np.sqrt(((Q[:, None] - X[None]) ** 2).sum(axis=2))),
    "cityblock": (whole, lambda Q, X: np.abs(Q[:, None] - X[None]).sum(axis=2)),
    "inner_product": (whole, lambda Q, X: -(Q @ X.T)),
    "hamming": (
        lambda rng, n, width: rng.random((n, width)) < 0.5,
        lambda Q, X: (Q[:, None] != X[None]).sum(axis=2),
    ),
    "jaccard": (some_sets, jaccard),
    "weighted_jaccard": (some_weights, weighted),
}


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 60),
    width=st.integers(1, 70),
    n_hashes=st.integers(1, 5),
    n_probes=st.integers(1, 4),
    capacity=st.integers(1, 30),
    n_candidates=st.none() | st.integers(1, 40),
    k=st.integers(1, 8) | st.just(100),
    seed=st.integers(0, 2**32),
)
def test_search_equals_the_slow_one(
    metric: str,
    n: int,
    width: int,
    n_hashes: int,
    n_probes: int,
    capacity: int,
    n_candidates: int | None,
    k: int,
    seed: int,
) -> None:
    make, distance = METRICS[metric]
    rng = np.random.default_rng(seed)
    rows, Q = make(rng, n, width), make(rng, 3, width)
    index = LSHIndex(Coded(n_hashes, 4, metric, width), capacity=capacity, seed=seed)
    index.add(rows)
    expected = naive.kept_by(index, index.family.hash(rows), list(range(n)))
    slow = distance(Q, rows) if n else np.zeros((3, 0))
    ids, distances = index.search(Q, rows, k, n_candidates=n_candidates, n_probes=n_probes)
    assert ids.dtype == np.int64
    assert distances.dtype == np.float64
    assert ids.shape == distances.shape == (3, k)
    if metric == "inner_product":
        distances = -distances
    for i, codes in enumerate(index.family.probe(Q, n_probes).tolist()):
        # Equal angles come out of `arccos` a little apart, so they are compared as sets of distances.
        want_ids, want = naive.index_search(expected, codes, n_candidates, slow[i].tolist(), k)
        np.testing.assert_allclose(distances[i], want, atol=3e-8 if metric == "angle" else 1e-14)
        assert (ids[i] >= 0).sum() == sum(number >= 0 for number in want_ids)
        if metric != "angle":
            assert ids[i].tolist() == want_ids
    counts = index.query_codes(index.family.probe(Q, n_probes), k)
    for i, codes in enumerate(index.family.probe(Q, n_probes).tolist()):
        often = naive.index_search(expected, codes, None, [0.0] * n, n)[0]
        found = {number for number in often if number >= 0}
        assert set(counts.ids[i].tolist()) - {-1} <= found
        assert (counts.ids[i] >= 0).sum() == min(k, len(found))
        assert counts.counts[i].max() <= n_hashes


FAMILIES: list[tuple[HashFamily, Any]] = [
    (SignedRandomProjection(40, 30, power=5, seed=2), angles),
    (CrossPolytope(40, 30, dimension=16, seed=2), angles),
    (PStable(40, 30, p=2, width=9.0, power=2, n_buckets=64, seed=2), METRICS["euclidean"][1]),
    (PStable(40, 30, p=1, width=60.0, n_buckets=64, seed=2), METRICS["cityblock"][1]),
]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("family", "distance"), FAMILIES, ids=lambda f: getattr(f, "metric", ""))
def test_all_that_is_found_is_ranked_exactly(family: HashFamily, distance: Any, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    rows, Q = rng.standard_normal((800, 40)).astype(dtype), rng.standard_normal((50, 40))
    # The rows are near copies, which float32 products could not distinguish.
    rows[:50] = (Q + 1e-4 * rng.standard_normal((50, 40))).astype(dtype)
    rows[50:100] = (Q + 2e-4 * rng.standard_normal((50, 40))).astype(dtype)
    index = LSHIndex(family, capacity=800).add(rows)
    for n_probes in (1, 3):
        codes = family.probe(Q, n_probes)
        shares = (codes[:, None] == family.hash(rows)[None, :, :, None]).any(axis=3).sum(axis=2)
        ids, counts = index.query(Q, 800, n_probes=n_probes)
        np.testing.assert_array_equal(counts, -np.sort(-shares, axis=1))
        slow = np.where(shares > 0, distance(Q, rows.astype(np.float64)), np.inf)
        for k in (1, 10, 800):
            ids, distances = index.search(Q, rows, k, n_probes=n_probes)
            order = np.argsort(slow, axis=1, kind="stable")[:, :k]
            want = np.take_along_axis(slow, order, axis=1)
            np.testing.assert_allclose(distances, want, rtol=1e-9, atol=1e-7)
            beside = np.where(np.isfinite(want), want, 1e9 + np.arange(k))
            close = np.isclose(np.diff(beside, axis=1, append=np.inf), 0, atol=1e-6)
            ties = close | np.roll(close, 1, axis=1)
            np.testing.assert_array_equal(ids[~ties], np.where(np.isfinite(want), order, -1)[~ties])


def test_small_angles_are_sharp() -> None:
    family = SignedRandomProjection(32, 20, power=1)
    x = np.random.default_rng(0).standard_normal(32)
    y = np.zeros(32)
    y[:2] = -x[1], x[0]
    tiny = np.array([3e-9, 1e-9, 0.0, 2e-9])
    rows = x + np.tan(tiny)[:, None] * y / np.linalg.norm(y) * np.linalg.norm(x)
    ids, distances = LSHIndex(family).add(rows).search(x[None], rows, 4)
    assert ids.tolist() == [[2, 1, 3, 0]]
    np.testing.assert_allclose(distances[0], np.sort(tiny), atol=3e-16)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
@pytest.mark.parametrize("metric", ["angle", "euclidean", "cityblock", "inner_product"])
def test_tiny_and_huge_numbers_rank_the_same(metric: str, scale: float) -> None:
    rng = np.random.default_rng(3)
    rows, Q = rng.standard_normal((60, 9)), rng.standard_normal((8, 9))
    index = LSHIndex(Coded(3, 1, metric), capacity=60).add(rows)
    plain = index.search(Q, rows, 5)
    # A product of numbers of 1e-200 is zero, so one side stays.
    other = 1.0 if metric == "inner_product" else scale
    scaled = index.search(Q * other, rows * scale, 5)
    np.testing.assert_array_equal(scaled.ids, plain.ids)
    by = {"angle": 1.0, "inner_product": scale}.get(metric, scale)
    np.testing.assert_allclose(scaled.distances, plain.distances * by, rtol=1e-12)
    if scale in (1e-30, 1e30):
        near = index.search((Q * other), (rows * scale).astype(np.float32), 5)
        np.testing.assert_array_equal(near.ids, plain.ids)
        np.testing.assert_allclose(near.distances, plain.distances * by, rtol=1e-4)


def test_threads_and_order_of_insertion_change_nothing() -> None:
    rng = np.random.default_rng(5)
    rows, Q = rng.standard_normal((5_000, 24)).astype(np.float32), rng.standard_normal((900, 24))
    family = SignedRandomProjection(24, 12, power=7, seed=3)
    index = LSHIndex(family, capacity=48).add(rows)
    turned = LSHIndex(family, capacity=48).add(rows[::-1], np.arange(5_000)[::-1])
    before = mergesketch.get_num_threads()
    try:
        mergesketch.set_num_threads(1)
        one = index.search(Q, rows, 7, n_candidates=60, n_probes=4)
        mergesketch.set_num_threads(4)
        four = index.search(Q, rows, 7, n_candidates=60, n_probes=4)
    finally:
        mergesketch.set_num_threads(before)
    single = [turned.search(q[None], rows, 7, n_candidates=60, n_probes=4) for q in Q[:20]]
    for other in (four, turned.search(Q, rows, 7, n_candidates=60, n_probes=4)):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.distances, other.distances)
    np.testing.assert_array_equal(one.ids[:20], np.concatenate([found.ids for found in single]))
    np.testing.assert_array_equal(one.distances[:20], np.concatenate([found.distances for found in single]))


def test_large_ids_are_counted_as_small_ones() -> None:
    """A separate table counts ids beyond the counters, and those of few queries."""
    rng = np.random.default_rng(6)
    X, Q = rng.integers(0, 4, (3_000, 5)), rng.integers(0, 4, (400, 5))
    small = LSHIndex(ToyFamily(5, 30), capacity=900).add(X)
    large = LSHIndex(ToyFamily(5, 30), capacity=900).add(X, np.arange(3_000) + 2**31)
    mixed = LSHIndex(ToyFamily(5, 30), capacity=900).add(X, np.arange(3_000) * 60)
    want = small.query(Q, 20)
    for index, back in ((large, lambda i: i - 2**31), (mixed, lambda i: i // 60)):
        found = index.query(Q, 20)
        np.testing.assert_array_equal(back(found.ids), want.ids)
        np.testing.assert_array_equal(found.counts, want.counts)
    few = [small.query(q[None], 20) for q in Q[:10]]
    np.testing.assert_array_equal(np.concatenate([found.ids for found in few]), want.ids[:10])


def test_unordered_and_repeated_tokens_are_sets_all_the_same() -> None:
    rng = np.random.default_rng(7)
    sets = [np.unique(rng.integers(0, 60, 20)) for _ in range(200)]
    shuffled = [rng.permutation(np.concatenate([row, row[:5]])) for row in sets]
    index = LSHIndex(MinHash(20, power=1, n_buckets=64), capacity=200).add(sets)
    plain, other = index.search(sets, sets, 6), index.search(shuffled, shuffled, 6)
    np.testing.assert_array_equal(plain.ids, other.ids)
    np.testing.assert_array_equal(plain.distances, other.distances)
    np.testing.assert_allclose(plain.distances, np.sort(jaccard(sets, sets), axis=1)[:, :6], atol=1e-15)


def test_rows_may_be_mapped_and_strided(tmp_path: Any) -> None:
    rng = np.random.default_rng(8)
    rows, Q = rng.standard_normal((300, 10)).astype(np.float32), rng.standard_normal((20, 10))
    index = LSHIndex(SignedRandomProjection(10, 9, power=3), capacity=300).add(rows)
    rows.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=(300, 10))
    want = index.search(Q, rows, 4)
    sparse = scipy.sparse.csr_array(Q)
    for queries, other in (
        (Q, mapped),
        (Q, np.asfortranarray(rows)),
        (sparse, np.repeat(rows, 2, 1)[:, ::2]),
    ):
        found = index.search(queries, other, 4)
        np.testing.assert_array_equal(found.ids, want.ids)
        np.testing.assert_array_equal(found.distances, want.distances)
    index.save(tmp_path / "index.sketch")
    loaded = LSHIndex.load(tmp_path / "index.sketch", mmap=True)
    np.testing.assert_array_equal(loaded.search(Q, mapped, 4).ids, want.ids)


def test_missing_neighbours_are_marked() -> None:
    index = LSHIndex(Coded(2, 1, "euclidean"), capacity=2).add(np.zeros((2, 3)))
    ids, distances = index.search([[1.0, 0.0, 0.0]], np.zeros((2, 3)), 4)
    assert ids.tolist() == [[0, 1, -1, -1]]
    assert distances.tolist() == [[1.0, 1.0, np.inf, np.inf]]
    product = LSHIndex(Coded(2, 1, "inner_product")).add(np.ones((1, 3)))
    assert product.search([[1.0, 2.0, 0.0]], np.ones((1, 3)), 2).distances.tolist() == [[3.0, -np.inf]]
    assert index.search(np.zeros((0, 3)), np.zeros((2, 3)), 4).ids.shape == (0, 4)
    empty = LSHIndex(Coded(2, 1, "euclidean")).search(np.zeros((1, 3)), np.zeros((0, 3)), 1)
    assert empty.ids.tolist() == [[-1]]


def _index(metric: str, n_bits: int = 12) -> LSHIndex:
    return LSHIndex(Coded(2, 1, metric, n_bits)).add(np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("metric", "rows", "error", "message"),
    [
        ("euclidean", np.zeros((2, 4)), ValueError, "rows must have a row for each id found, got 2 rows"),
        ("euclidean", np.zeros((3, 5)), ValueError, r"rows must have shape \(n, 4\)"),
        ("euclidean", np.zeros(4), ValueError, r"rows must have shape \(n, 4\)"),
        ("angle", np.full((3, 4), "a"), TypeError, "rows must hold real numbers"),
        ("angle", scipy.sparse.csr_array(np.zeros((3, 4))), TypeError, "rows must be a dense array"),
        ("rank", np.zeros((3, 4)), TypeError, "has no distance to rank rows by"),
        ("jaccard", np.zeros((3, 4)), TypeError, "Q must be a SciPy sparse matrix"),
        ("hamming", np.zeros((3, 2), np.uint8), ValueError, "Q must be packed bits"),
    ]
    + [
        (
            metric,
            np.where(np.arange(4) == 2, bad, np.zeros((3, 4))),
            ValueError,
            "rows must be finite.* row 0",
        )
        for metric in ("angle", "euclidean", "cityblock", "inner_product")
        for bad in (np.nan, np.inf)
    ],
)
def test_rows_are_refused(metric: str, rows: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _index(metric).search(np.ones((1, 4)), rows)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["angle", "euclidean", "cityblock", "inner_product"])
def test_a_row_of_nan_is_refused_wherever_it_stands(metric: str, dtype: Any) -> None:
    rows = np.random.default_rng(0).standard_normal((50, 40)).astype(dtype)
    index = LSHIndex(Coded(1, 1, metric)).add(rows)
    for place in (0, 25, 49):
        broken = rows.copy()
        broken[place, 33] = np.nan
        with pytest.raises(ValueError, match=f"rows must be finite, got NaN or infinity in row {place}"):
            index.search(rows[:1], broken, 2)


def test_queries_of_another_form_are_refused() -> None:
    weights = scipy.sparse.csr_array(np.eye(3, 4))
    index = LSHIndex(Coded(2, 1, "weighted_jaccard")).add(weights)
    with pytest.raises(ValueError, match="rows must have 4 columns, as the queries, got 5"):
        index.search(weights, scipy.sparse.csr_array(np.eye(3, 5)))
    with pytest.raises(ValueError, match="rows must hold weights of at least 0"):
        index.search(weights, -weights)
    bits = LSHIndex(Coded(2, 1, "hamming", 12)).add(np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match=r"rows must be packed bits, uint8 of shape \(n, 2\)"):
        bits.search(np.zeros((1, 2), np.uint8), np.zeros((3, 3), np.uint8))
    # The four bits that pad the last byte are never looked at.
    assert bits.search(np.array([[0, 15]], np.uint8), np.zeros((3, 2), np.uint8), 1).distances == 0


@pytest.mark.parametrize("name", ["k", "n_candidates", "n_probes"])
@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), ("1", TypeError)]
)
def test_counts_are_refused(name: str, value: Any, error: type[Exception]) -> None:
    index, rows = _index("euclidean"), np.zeros((3, 4))
    with pytest.raises(error, match=f"{name} must"):
        index.search(rows, rows, **{name: value})
    if name == "n_probes":
        with pytest.raises(error, match="n_probes must"):
            index.query(rows, n_probes=value)


def test_probes_are_refused_by_a_family_without_them() -> None:
    index = LSHIndex(ToyFamily(4, 3)).add(np.zeros((3, 4), int))
    with pytest.raises(TypeError, match="n_probes must be 1"):
        index.query(np.zeros((1, 4), int), n_probes=2)
    with pytest.raises(ValueError, match=r"codes must be uint32 of shape \(n, 3\) or \(n, 3, n_probes\)"):
        index.query_codes(np.zeros((1, 2, 2), np.uint32), 1)
    with pytest.raises(ValueError, match="codes must be below 4"):
        index.query_codes(np.full((1, 3, 2), 4, np.uint32), 1)
