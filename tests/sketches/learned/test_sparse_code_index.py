"""Random sparse codes: naive twins of codes, queries and training, sets that merge, and what is refused."""

from __future__ import annotations

from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import SparseCodeIndex
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from mergesketch.lsh.support.backend import read_only
from mergesketch.lsh.support.random import random_uint64
from mergesketch.sketches.kernels import sparse_code_index as kernels
from mergesketch.sketches.learned.bucket_network import UNITS, draw_network
from naive import sparse_code_index as naive

EXAMPLES = settings(max_examples=max(10, settings.default.max_examples // 4))
IDS = st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 9), max_size=12)


def small(**others: Any) -> SparseCodeIndex:
    return SparseCodeIndex(
        **{"n_features": 6, "n_chunks": 3, "n_buckets": 5, "n_hidden": 8, "seed": 3} | others
    )


def examples(n: int = 90, n_items: int = 20, seed: int = 0) -> tuple[Any, Any, np.ndarray]:
    """Return rows around the centres of items, one item a row, and the items."""
    rng = np.random.default_rng(seed)
    centers, items = rng.standard_normal((n_items, 6)), rng.integers(0, n_items, n)
    X = centers[items] + 0.05 * rng.standard_normal((n, 6))
    return X, scipy.sparse.csr_array((np.ones(n), (np.arange(n), items)), shape=(n, n_items)), items


# -- codes and queries ------------------------------------------------------------------------------


@EXAMPLES
@given(IDS, st.integers(2, 5), st.integers(2, 70), st.integers(0, 2**64 - 1))
def test_codes_and_loads_are_those_of_the_naive_twin(
    ids: list[int], chunks: int, buckets: int, seed: int
) -> None:
    index = SparseCodeIndex(4, chunks, buckets, n_hidden=1, seed=seed).update(ids)
    keys = random_uint64(seed, "sparse code chunks", chunks).tolist()
    expected = naive.codes(sorted(set(ids)), keys, buckets)
    assert index.ids.tolist() == sorted(set(ids))
    assert index.codes(index.ids).tolist() == expected
    loads = [np.bincount([code[c] for code in expected], minlength=buckets).tolist() for c in range(chunks)]
    assert index.loads.tolist() == loads


@pytest.mark.parametrize("seed", range(3))
def test_codes_are_random_and_nearly_orthogonal(seed: int) -> None:
    """Ids are consecutive, so that a weak hash would show."""
    n, chunks, buckets = 4000, 8, 64
    index = SparseCodeIndex(4, chunks, buckets, n_hidden=1, seed=seed).update(np.arange(n))
    # A sum of (load - mean)**2 / mean has the mean buckets - 1, and about twice that as variance.
    mean = n / buckets
    squares = ((index.loads - mean) ** 2 / mean).sum(axis=1)
    assert (np.abs(squares - (buckets - 1)) < 6 * np.sqrt(2 * (buckets - 1))).all()
    codes = index.codes(np.arange(n))
    common = (codes[: n // 2] == codes[n // 2 :]).sum(axis=1)
    error = np.sqrt(chunks / buckets * (1 - 1 / buckets) / (n // 2))
    assert abs(common.mean() - chunks / buckets) < 6 * error


@EXAMPLES
@given(st.integers(0, 2**32), st.integers(0, 9), st.integers(1, 5), st.integers(1, 3), st.integers(1, 30))
def test_queries_are_those_of_the_naive_twin(seed: int, n: int, n_probes: int, least: int, k: int) -> None:
    """Few different scores make many ties."""
    rng = np.random.default_rng(seed)
    index = small().update(rng.choice(50, 25, replace=False))
    codes, lists = read_only(index.codes(index.ids)), index._lists
    scores = rng.integers(-4, 0, (n, 15)).astype(np.float32)
    buckets = np.empty((n, 3, n_probes), np.int64)
    kernels.best_buckets(scores, 5, 0, n, buckets)
    scratch = np.zeros(25, np.int32), np.empty(25, np.int32)
    sizes, asked = np.empty(n, np.int64), (buckets, lists.members, lists.places, least)
    kernels.count_candidates(*asked, 0, n, *scratch, sizes)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    found = np.empty(bounds[-1], np.int64)
    kernels.list_candidates(*asked, bounds, 0, n, *scratch, found)
    numbers, keys = np.empty((n, min(k, 25)), np.int64), np.empty((n, min(k, 25)))
    kernels.best_items(scores, *asked[:3], codes, 5, least, 0, n, *scratch, numbers, keys)
    for i in range(n):
        table = scores[i].reshape(3, 5)
        expected = naive.candidates(table, codes, n_probes, least)
        assert found[bounds[i] : bounds[i + 1]].tolist() == expected
        order = naive.ranked(table, codes, expected)[: numbers.shape[1]]
        assert numbers[i].tolist() == order + [-1] * (numbers.shape[1] - len(order))
        assert np.isinf(keys[i, len(order) :]).all()
    assert not scratch[0].any()


def test_a_query_ranks_candidates_by_the_network() -> None:
    X, Y, items = examples()
    index = small(n_buckets=9, n_hidden=64).fit(X, Y, n_epochs=40)
    weights = {name: index._arrays[name].astype(float) for name in UNITS}
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    logs = naive.log_probabilities(weights, unit, 9)
    codes = index.codes(index.ids)
    ids, scores = index.query(X, k=4, n_probes=2, min_chunks=2)
    found = index.candidates(X, n_probes=2, min_chunks=2)
    right = 0
    for i in range(len(X)):
        listed = found.ids[found.offsets[i] : found.offsets[i + 1]].tolist()
        assert listed == naive.candidates(logs[i], codes, 2, 2)
        expected = naive.ranked(logs[i], codes, listed)[:4]
        assert ids[i].tolist() == expected + [-1] * (4 - len(expected))
        sums = [logs[i, np.arange(3), codes[j]].sum() for j in expected]
        np.testing.assert_allclose(scores[i, : len(expected)], sums, atol=1e-4)
        assert np.isneginf(scores[i, len(expected) :]).all()
        right += ids[i, 0] == items[i]
    # Two items may have the same code, of 729.
    assert right / len(X) > 0.9
    # All buckets of one chunk: all items are candidates.
    everything = index.candidates(X[:2], n_probes=9, min_chunks=3)
    assert everything.ids.tolist() == [*range(20), *range(20)]


# -- training ---------------------------------------------------------------------------------------


def test_training_is_that_of_the_naive_twin() -> None:
    """Two epochs of two batches, of which one row has no item and one has two."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((6, 4))
    X[2] = 0
    X[:, 1] = [0, 3, 0, 0, 1, 0]
    Y = np.eye(6, 5)
    Y[4] = [1, 1, 0, 0, 0]
    index = SparseCodeIndex(4, 2, 3, n_hidden=3, seed=5)
    index.fit(X, Y, ids=[7, 8, 9, 20, 21], n_epochs=2, batch_size=3, learning_rate=0.1)
    assert index.n_trained == 5
    used = np.flatnonzero(Y.any(axis=1))
    unit = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-300)
    codes = index.codes([7, 8, 9, 20, 21])
    drawn = draw_network(4, 3, 6, 5)
    weights = {name: array.astype(float) for name, array in zip(UNITS, drawn, strict=True)}
    squares = {name: np.zeros_like(array) for name, array in weights.items()}
    for epoch in range(2):
        order = np.argsort(random_uint64(5, f"bucket network order {epoch}", 5))
        for batch in (order[:3], order[3:]):
            rows = used[batch]
            items = [np.flatnonzero(Y[i]).tolist() for i in rows]
            naive.adagrad_step(weights, squares, unit[rows], items, codes, 3, 0.1)
    for name in UNITS:
        np.testing.assert_allclose(index._arrays[name], weights[name], atol=2e-3, err_msg=name)
    assert len(index.losses) == 2


def test_training_depends_on_the_seed_alone() -> None:
    X, Y, _ = examples()
    before = mergesketch.get_num_threads()
    try:
        made = []
        for threads in (1, 3):
            mergesketch.set_num_threads(threads)
            made.append(small(n_hidden=70).fit(X, Y, batch_size=64))
    finally:
        mergesketch.set_num_threads(before)
    assert made[0] == made[1]
    assert made[0].losses == made[1].losses
    assert made[0].losses[-1] < made[0].losses[0]
    assert small(n_hidden=70, seed=4).fit(X, Y) != made[0]
    # Directions alone count, in any container.
    twice = small(n_hidden=70).fit(scipy.sparse.csc_matrix(4 * X), 3 * Y.toarray(), batch_size=64)
    assert twice == made[0]
    # A fit begins anew, and a further training does not.
    assert made[1].fit(X, Y, batch_size=64) == made[0]
    assert made[1].partial_fit(X, Y) != made[0]
    assert made[1].n_trained == 180


def test_new_items_are_learned_by_partial_fit() -> None:
    X, Y, items = examples(n=400)
    old, new = items < 15, items >= 15
    index = small(n_chunks=6, n_hidden=64).fit(X[old], Y[old][:, :15], n_epochs=30).update(np.arange(20))

    def found(rows: np.ndarray) -> float:
        return float((index.query(X[rows], k=1, n_probes=3).ids[:, 0] == items[rows]).mean())

    assert found(old) > 0.9
    assert found(new) < 0.5
    index.partial_fit(X, Y, n_epochs=30)
    assert found(old) > 0.9
    assert found(new) > 0.9


# -- sets that merge --------------------------------------------------------------------------------


@EXAMPLES
@given(IDS, IDS, IDS)
def test_merging_is_the_union_of_items(first: list[int], second: list[int], third: list[int]) -> None:
    a, b, c = (small().update(ids) for ids in (first, second, third))
    whole = small().update(first + second + third)
    assert a | b | c == a | (b | c) == c | a | b == whole
    assert a | a == a
    assert a | small() == a
    assert whole.copy().remove(third, missing="ignore") == small().update(
        sorted(set(first + second) - set(third))
    )
    assert mergesketch.from_bytes(whole.to_bytes()) == whole


def test_parts_of_one_network_merge_and_others_do_not() -> None:
    X, Y, _ = examples()
    index = small().fit(X, Y, n_epochs=2)
    empty = index.empty_like()
    assert (len(empty), empty.n_trained, len(index)) == (0, 90, 20)
    parts = [empty.copy().update(ids) for ids in ([3, 4], [4, 5, 100], [])]
    whole = empty.copy().update([3, 4, 5, 100])
    assert parts[0] | parts[1] | parts[2] == whole
    assert small().update([3, 4, 5]) | parts[1] == whole
    assert parts[1] | small().update([3, 4, 5]) == whole
    np.testing.assert_array_equal((parts[0] | parts[1]).query(X, k=2).ids, whole.query(X, k=2).ids)
    other = small().fit(X, Y, n_epochs=3)
    before = index.to_bytes()
    with pytest.raises(IncompatibleSketchError, match="different networks"):
        index.merge(other)
    with pytest.raises(IncompatibleSketchError, match="n_chunks: 3 here, 4 there"):
        index.merge(small(n_chunks=4))
    assert index.to_bytes() == before


def test_a_mean_is_weighted_by_rows() -> None:
    X, Y, _ = examples(n=300)
    parts = [small().fit(X[:200], Y[:200]), small().fit(X[200:], Y[200:]), small().update([77])]
    mean = SparseCodeIndex.average(parts)
    assert mean.n_trained == 300
    assert mean.ids.tolist() == [*range(20), 77]
    for name in UNITS:
        expected = (2 * parts[0]._arrays[name].astype(float) + parts[1]._arrays[name]) / 3
        np.testing.assert_allclose(mean._arrays[name], expected, rtol=1e-6)
    equal = SparseCodeIndex.average(parts, weights=[1, 1, 0])
    np.testing.assert_allclose(
        equal._arrays["output"], (parts[0]._arrays["output"] + parts[1]._arrays["output"]) / 2, rtol=1e-6
    )
    assert (
        SparseCodeIndex.average([parts[0], parts[0]]).query(X, 3).ids.tolist()
        == parts[0].query(X, 3).ids.tolist()
    )
    assert SparseCodeIndex.average(parts[2:]) == parts[2]
    assert parts[0].ids.tolist() == list(range(20))
    for wrong in ([1, 1], [1, -1, 0], [0, 0, 0], [1, 1, 1]):
        with pytest.raises(ValueError, match=r"^weights must"):
            SparseCodeIndex.average(parts, weights=wrong)
    with pytest.raises(TypeError, match="at least one SparseCodeIndex"):
        SparseCodeIndex.average([])
    with pytest.raises(IncompatibleSketchError, match="n_hidden"):
        SparseCodeIndex.average([parts[0], small(n_hidden=4)])


# -- refusals ---------------------------------------------------------------------------------------


def test_bad_arguments_are_refused_and_change_nothing() -> None:
    X, Y, _ = examples()
    index = small()
    with pytest.raises(ValueError, match="no network yet"):
        index.query(X)
    index.fit(X, Y, n_epochs=1)
    before = index.to_bytes()
    nan = np.where(np.arange(6) == 3, np.nan, X)
    for match, call in {
        "^X must have 6": lambda: index.fit(X[:, :5], Y),
        "^X must be finite": lambda: index.fit(nan, Y),
        "^Y must have 90 rows": lambda: index.partial_fit(X, Y[:9]),
        "^Y must have numbers of at least 0": lambda: index.fit(X, -Y),
        "^Y must have an item": lambda: index.fit(X, 0 * Y),
        "^Y must be an indicator matrix with a column for each item, got 1 column with": lambda: index.fit(
            X, np.arange(90)[:, None] % 5
        ),
        "^Y must be an indicator matrix with a column for each item, got 2 columns": lambda: (
            index.partial_fit(X, [[i % 5, i % 7] for i in range(90)])
        ),
        "^ids must be 20": lambda: index.fit(X, Y, ids=[1, 2]),
        "^ids must be distinct": lambda: index.fit(X, Y, ids=np.zeros(20, int)),
        "^n_epochs must": lambda: index.fit(X, Y, n_epochs=0),
        "^batch_size must": lambda: index.fit(X, Y, batch_size=0),
        "^learning_rate must": lambda: index.fit(X, Y, learning_rate=np.inf),
        "^ids must be from 0": lambda: index.update([-1]),
        "^ids must have one": lambda: index.update([[1]]),
        "^ids must be those of items": lambda: index.remove([3, 99]),
        "^missing must": lambda: index.remove([3], missing="skip"),
        "^n_probes must": lambda: index.query(X, n_probes=0),
        "^min_chunks must": lambda: index.candidates(X, min_chunks=4),
        "^k must": lambda: index.query(X, k=0),
        "^Q must have 6": lambda: index.query(X[:, :5]),
        "^Q must be finite": lambda: index.candidates(nan),
    }.items():
        with pytest.raises(ValueError, match=match):
            call()
    for wrong in ([1.5], [True], ["a"], None):
        with pytest.raises(TypeError, match=r"^ids must be integers"):
            index.update(wrong)
    assert index.to_bytes() == before
    for name, value in {
        "n_features": 0, "n_chunks": 1, "n_buckets": 1 << 17, "n_hidden": 0, "seed": -1,
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"^{name} must"):
            small(**{name: value})
    with pytest.raises(ValueError, match="must be at most"):
        SparseCodeIndex(1 << 28, n_hidden=1 << 10)


def test_batches_of_no_rows_one_row_and_no_items() -> None:
    X, Y, _ = examples()
    index = small().fit(X, Y, n_epochs=1)
    ids, scores = index.query(X[:0], k=3)
    assert ids.shape == scores.shape == (0, 3)
    assert index.candidates(X[:0]).offsets.tolist() == [0]
    many = index.query(np.repeat(X, 7, axis=0), k=3)
    one = index.query(X[3:4], k=3)
    assert many.ids[21].tolist() == one.ids[0].tolist()
    assert many.scores[21].tolist() == one.scores[0].tolist()
    empty = index.empty_like()
    assert empty.query(X[:2], k=2).ids.tolist() == [[-1, -1]] * 2
    assert empty.candidates(X[:2]).ids.size == 0
    assert index.query(X[:1], k=50).ids.shape == (1, 50)


def test_files_of_strangers_are_refused() -> None:
    X, Y, _ = examples()
    index = small().fit(X, Y, n_epochs=1)
    changes: dict[str, Any] = {
        "ids": np.array([3, 3]),
        "n_trained": np.array([0]),
        "hidden": np.full((6, 8), np.nan, np.float32),
        "output": np.zeros((14, 8), np.float32),
        "output_bias": np.full(15, 1e30, np.float32),
    }
    for name, array in changes.items():
        forged = index.copy()
        forged._set_arrays({**forged._arrays, name: array})
        with pytest.raises(SketchFormatError, match=f"{name}|hidden"):
            mergesketch.from_bytes(forged.to_bytes())
