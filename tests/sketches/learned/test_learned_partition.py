"""Test learned partitions: the naive twins, the gradient, the laws, what is learned, and what is refused."""

from __future__ import annotations

import math
import threading
import warnings
from itertools import pairwise
from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LearnedPartition
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from mergesketch.lsh.support.backend import read_only
from mergesketch.sketches.kernels import bucket_model, learned_partition
from naive import learned_partition as naive

B = 16


def rows_of_clusters(n: int, d: int, n_clusters: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((n_clusters, d))
    return centres[np.arange(n) % n_clusters] + 0.2 * rng.standard_normal((n, d))


def small(d: int = 6, **others: Any) -> LearnedPartition:
    settings = {"n_repetitions": 2, "n_choices": 2, "n_hidden": 16, "n_rounds": 2, "n_epochs": 2, "seed": 1}
    return LearnedPartition(d, B, **(settings | others))


@pytest.fixture(scope="module")
def X() -> np.ndarray:
    return rows_of_clusters(300, 6, 20)


@pytest.fixture(scope="module")
def fitted(X: np.ndarray) -> LearnedPartition:
    return small().fit_neighbors(X)


# -- the naive twins ------------------------------------------------------------------------------


def model_of(index: LearnedPartition, repetition: int) -> list[np.ndarray]:
    names = ("hidden_weights", "hidden_bias", "bucket_weights", "bucket_bias")
    return [index._arrays[name][repetition].astype(np.float64) for name in names]


def test_probabilities_equal_the_naive_twin(fitted: LearnedPartition, X: np.ndarray) -> None:
    found = fitted.bucket_probabilities(X[:40])
    length = np.sqrt((X**2).sum(axis=1).mean())
    for r in range(2):
        expected = [naive.probabilities(x / length, *model_of(fitted, r)) for x in X[:40]]
        np.testing.assert_allclose(found[:, r], expected, rtol=1e-3, atol=1e-6)


scores_of_buckets = st.integers(1, 12).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1, width=32), min_size=n, max_size=n),
        min_size=1,
        max_size=20,
    )
)


@given(scores_of_buckets, st.data())
@settings(max_examples=60)
def test_items_go_to_the_buckets_of_the_naive_twin(scores: list[list[float]], data: st.DataObject) -> None:
    n_buckets = len(scores[0])
    n_choices = data.draw(st.integers(1, n_buckets))
    order = data.draw(st.permutations(range(len(scores))))
    start = data.draw(st.integers(0, len(scores)))
    loads = data.draw(st.lists(st.integers(0, 3), min_size=n_buckets, max_size=n_buckets))
    expected = naive.assign(scores, order[start:], n_choices, loads)
    places, grown = np.full(len(scores), -1, np.int32), np.array(loads)
    learned_partition.assign_items(
        np.array(scores, np.float32), np.array(order), n_choices, start, len(scores), grown, places
    )
    assert places.tolist() == [expected.get(item, -1) for item in range(len(scores))]
    assert grown.tolist() == (loads + np.bincount(places[places >= 0], minlength=n_buckets)).tolist()


@pytest.mark.parametrize("min_count", [1, 2])
@pytest.mark.parametrize("n_probes", [1, 3, B])
def test_candidates_and_queries_equal_the_naive_twin(
    fitted: LearnedPartition, X: np.ndarray, n_probes: int, min_count: int
) -> None:
    Q = rows_of_clusters(30, 6, 20, seed=5)
    scores, buckets = fitted.bucket_probabilities(Q).tolist(), fitted.buckets.tolist()
    offsets, ids, counts = fitted.candidates(Q, n_probes=n_probes, min_count=min_count)
    for k in (1, 7, 400):
        found = fitted.query(Q, k, n_probes=n_probes, min_count=min_count)
        for i in range(len(Q)):
            expected = naive.query(scores[i], buckets, k, n_probes, min_count)
            assert found.ids[i].tolist() == expected + [-1] * (k - len(expected))
    for i in range(len(Q)):
        expected = naive.candidates(scores[i], buckets, n_probes, min_count)
        here = slice(offsets[i], offsets[i + 1])
        assert ids[here].tolist() == sorted(expected)
        assert counts[here].tolist() == [expected[item][0] for item in sorted(expected)]
        kept = found.ids[i] >= 0
        np.testing.assert_allclose(found.scores[i, kept], [expected[j][1] for j in found.ids[i, kept]])
        assert np.isneginf(found.scores[i, ~kept]).all()


@pytest.mark.parametrize("metric", ["euclidean", "angle", "cityblock", "inner_product"])
def test_search_ranks_the_candidates_exactly(fitted: LearnedPartition, X: np.ndarray, metric: str) -> None:
    Q = rows_of_clusters(20, 6, 20, seed=6)
    found = fitted.search(Q, X, 5, metric=metric, n_probes=2)
    offsets, ids, _ = fitted.candidates(Q, n_probes=2)
    for i in range(len(Q)):
        own = ids[offsets[i] : offsets[i + 1]]
        products = X[own] @ Q[i]
        exact = {
            "euclidean": np.linalg.norm(X[own] - Q[i], axis=1),
            "angle": np.arccos(products / np.linalg.norm(X[own], axis=1) / np.linalg.norm(Q[i])),
            "cityblock": np.abs(X[own] - Q[i]).sum(axis=1),
            "inner_product": products,
        }[metric]
        order = np.argsort(-exact if metric == "inner_product" else exact, kind="stable")[:5]
        n = len(order)
        assert found.ids[i].tolist() == own[order].tolist() + [-1] * (5 - n)
        np.testing.assert_allclose(found.distances[i, :n], exact[order], rtol=1e-9)
    everything = fitted.search(X[:20], X, 1, n_probes=B)
    assert everything.ids[:, 0].tolist() == list(range(20))


# -- training -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_step_follows_the_gradient_of_the_loss() -> None:
    rng = np.random.default_rng(3)
    n, d, hidden, buckets, rate = 5, 4, 3, 6, 1e-3
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.8)
    model = [rng.standard_normal(shape) for shape in ((d, hidden), (hidden,), (hidden, buckets), (buckets,))]
    right, places = [[0, 1, 2], [3], [4, 4, 1], [2, 5], [0]], [0, 3, 3, 5, 1, 2]
    shares = naive.shares_of_buckets(right, places, buckets)

    def gradient(which: int) -> np.ndarray:
        slopes = np.empty(model[which].shape)
        for place in np.ndindex(slopes.shape):
            values = []
            for step in (1e-5, -1e-5):
                moved = [part.copy() for part in model]
                moved[which][place] += step
                values.append(naive.loss(X, shares, *moved))
            slopes[place] = (values[0] - values[1]) / 2e-5
        return slopes

    sparse = scipy.sparse.csr_array(X)
    after = [part.astype(np.float32) for part in model]
    squares = [np.zeros(d, np.float32), *(np.zeros_like(part) for part in after[1:])]
    offsets = np.cumsum([0, *map(len, right)])
    arrays = (
        sparse.indptr.astype(np.int64), sparse.indices.astype(np.int32), sparse.data.astype(np.float32),
        offsets, np.concatenate(right).astype(np.int32), np.array(places, np.int32), np.arange(n),
    )  # fmt: skip
    batch = [read_only(array) for array in arrays]
    bucket_model.train_rows(*batch, np.float32(rate), 0, n, *after, *squares)
    for which in (1, 2, 3):
        expected = gradient(which)
        # The first step of Adagrad has the length of the rate, in the direction of the gradient's signs.
        large = np.abs(expected) > 1e-3
        np.testing.assert_allclose(
            (after[which] - model[which])[large], -rate * np.sign(expected[large]), rtol=0.01
        )
        np.testing.assert_allclose(squares[which][large], expected[large] ** 2, rtol=0.01)
    # Rows of W take a step for each row of the batch, so the batch has one row here.
    alone = [part.astype(np.float32) for part in model]
    squares = [np.zeros(d, np.float32), *(np.zeros_like(part) for part in alone[1:])]
    X, shares = X[:1], shares[:1]
    bucket_model.train_rows(*batch[:-1], batch[-1][:1], np.float32(rate), 0, 1, *alone, *squares)
    expected = gradient(0)
    sums = (expected**2).mean(axis=1)
    np.testing.assert_allclose(squares[0], sums, rtol=0.01, atol=1e-7)
    steps = np.divide(expected, np.sqrt(sums)[:, None], out=np.zeros_like(expected), where=sums[:, None] > 0)
    np.testing.assert_allclose(alone[0] - model[0], -rate * steps, rtol=0.01, atol=1e-6)


def test_neighbours_of_a_sample_are_exact() -> None:
    from mergesketch.lsh.inputs.rows import read_rows
    from mergesketch.sketches.learned.partition_fit import nearest_of_sample

    X = np.random.default_rng(4).standard_normal((203, 7))
    X[5] = 0.0
    sample = np.array([0, 5, 17, 202])
    lengths = np.linalg.norm(X, axis=1)
    unit = X / np.where(lengths > 0, lengths, 1.0)[:, None]
    keys = {
        "sqeuclidean": ((X[sample][:, None] - X[None]) ** 2).sum(axis=2),
        "cosine": -unit[sample] @ unit.T,
        "inner_product": -X[sample] @ X.T,
    }
    for metric, expected in keys.items():
        found = nearest_of_sample(read_rows(X), metric, 9, sample)
        best = np.argsort(expected, axis=1, kind="stable")[:, :9]
        # All products with the row of zeros are equal, so the lowest numbers come first.
        assert found.tolist() == best.tolist(), metric


@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine", "inner_product"])
@pytest.mark.parametrize("offset", [10.0, 1000.0, -1e5])
def test_neighbours_are_exact_where_rows_have_a_common_offset(metric: str, offset: float) -> None:
    from mergesketch.lsh.inputs.rows import read_rows
    from mergesketch.sketches.learned.partition_fit import nearest_of_sample

    X = rows_of_clusters(203, 7, 40) + offset
    exact = X.astype(np.longdouble)
    if metric == "cosine":
        exact /= np.sqrt((exact**2).sum(axis=1))[:, None]
    products = exact @ exact.T
    own = np.diag(products) if metric == "sqeuclidean" else np.zeros(203)
    found = nearest_of_sample(read_rows(X), metric, 5, np.arange(203))
    keys = own / 2 - products
    best = np.sort(keys, axis=1)[:, :5]
    # Neighbours may only be others where these are as near in float32, beside the spread of all keys.
    spread = (keys.max(axis=1) - keys.min(axis=1))[:, None]
    assert (np.abs(np.take_along_axis(keys, found, axis=1) - best) <= 2e-6 * spread).all()
    if metric == "sqeuclidean":
        assert (found[:, 0] == np.arange(203)).all()


numbers_of_columns = st.lists(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, 1e3]) | st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3),
    min_size=1,
    max_size=9,
)


@given(numbers_of_columns)
def test_the_centre_has_the_means_of_columns_that_have_an_offset(numbers: list[list[float]]) -> None:
    from mergesketch.lsh.inputs.rows import read_rows
    from mergesketch.sketches.learned.partition_models import column_centre

    X = np.array(numbers)
    found = column_centre(read_rows(X))
    assert found.tolist() == column_centre(read_rows(scipy.sparse.csr_array(X))).tolist()
    exact = X.astype(np.longdouble)
    mean, variance = exact.mean(axis=0), exact.var(axis=0)
    for j in range(3):
        tiny = 1e-9 * float((exact[:, j] ** 2).mean())
        assert found[j] == 0.0 or abs(found[j] - mean[j]) <= 1e-12 * np.abs(X).max()
        if mean[j] ** 2 > variance[j] + tiny and abs(mean[j]) > 1e-9 * np.abs(X).max():
            assert found[j] != 0.0
        if mean[j] ** 2 < variance[j] - tiny:
            assert found[j] == 0.0
        if (X[:, j] == X[0, j]).all() and abs(X[0, j]) > 1e-100:
            assert found[j] == X[0, j]


@pytest.mark.parametrize("offset", [10.0, 1000.0, np.array([0, 0, 300.0, -20.0, 1e6, 0])])
def test_a_common_offset_of_rows_changes_nothing_but_rounding(X: np.ndarray, offset: Any) -> None:
    moved = small().fit_neighbors(X + offset)
    assert moved.load_deviation().largest.max() < 2.0
    near = ((X[:, None] - X[None]) ** 2).sum(axis=2).argsort(axis=1)[:, :10]
    recalls, sizes = [], []
    for index, rows in ((moved, X + offset), (small().fit_neighbors(X), X)):
        offsets, ids, _ = index.candidates(rows, n_probes=2)
        found = np.zeros((300, 300), bool)
        found[np.repeat(np.arange(300), np.diff(offsets)), ids] = True
        recalls.append(np.take_along_axis(found, near, axis=1).mean())
        sizes.append(found.mean())
    assert recalls[0] > recalls[1] - 0.05
    assert sizes[0] < sizes[1] + 0.03 < 0.4
    # The offset is kept with the networks, whatever container the rows came in.
    sparse = scipy.sparse.csr_array(X + offset)
    assert small().fit_neighbors(sparse) == moved
    np.testing.assert_array_equal(moved.bucket_probabilities(sparse), moved.bucket_probabilities(X + offset))
    assert moved.empty_like().insert(X[:9] + offset) == moved.empty_like().insert(sparse[:9])


def test_labels_are_learned_from_rows_with_a_common_offset() -> None:
    kinds = np.arange(600) % 12
    X = rows_of_clusters(600, 6, 12) + 1e4
    index = LearnedPartition(6, 12, n_repetitions=1, n_choices=1, n_hidden=32, seed=1).fit(
        X, np.eye(12)[kinds]
    )
    offsets, ids, _ = index.candidates(X)
    found = np.zeros((600, 12), bool)
    found[np.repeat(np.arange(600), np.diff(offsets)), ids] = True
    # Some labels share a bucket, so there is more than one candidate for a row.
    assert found[np.arange(600), kinds].mean() > 0.9
    assert found.mean() < 0.3


def test_a_fit_warns_where_nearly_all_items_are_in_the_same_buckets(X: np.ndarray) -> None:
    with pytest.warns(UserWarning, match="2 buckets of 16 in repetition . have .* of all items"):
        index = small(learning_rate=999.0, n_rounds=1).fit(X, np.eye(300))
    # The partition is taken over, and has the deviation of which the warning speaks.
    assert index.load_deviation().largest.max() >= 0.95 * B / 2
    with pytest.warns(UserWarning, match="2 buckets of 16"):
        small().fit_neighbors(np.ones((300, 6)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit_neighbors(X)
        small(n_choices=B).fit_neighbors(np.ones((300, 6)))
        small().fit_neighbors(X[-2:])


@pytest.mark.parametrize("factor", [1e2, 1e6, 1e9])
def test_a_far_row_does_not_keep_networks_from_learning(X: np.ndarray, factor: float) -> None:
    far = np.concatenate([X[:299], X[:1] * factor])
    for n_buckets in (7, B):
        index = LearnedPartition(6, n_buckets, n_repetitions=2, n_hidden=16, n_rounds=3, seed=1)
        assert index.fit_neighbors(far).load_deviation().largest.max() < 1.5


def test_numbers_of_items_are_refused_as_right_items(X: np.ndarray) -> None:
    for Y in ((np.arange(300) % 5)[:, None], [[i % 5, i % 7] for i in range(300)]):
        with pytest.raises(ValueError, match="Y must be an indicator matrix"):
            small().fit(X, Y)
    # Numbers of purchases are a matrix, if there are several items.
    counts = np.arange(900).reshape(300, 3) % 7
    assert small().fit(X, counts) == small().fit(X, counts > 0)


def test_remove_undoes_insert_with_ids(fitted: LearnedPartition, X: np.ndarray) -> None:
    with_ids = small().fit_neighbors(X, np.arange(300))
    assert with_ids.copy().insert(X[:3], ids=[300, 301, 302]).remove([300, 301, 302]) == with_ids
    removed = fitted.copy().remove([0])
    with pytest.raises(ValueError, match="ids must be given for all rows or for none"):
        removed.insert(X[:1])
    assert removed.insert(X[:1], ids=[0]).ids.tolist() == list(range(300))


def test_equal_rows_and_rows_that_differ_by_rounding_are_fitted() -> None:
    for X in (
        np.full((5, 3), 0.1),
        np.full((1, 3), 1e300),
        1e300 * (1 + 1e-15 * np.arange(15).reshape(5, 3)),
    ):
        index = LearnedPartition(3, 2, n_repetitions=1, n_hidden=4, n_rounds=1).fit_neighbors(X)
        found = index.bucket_probabilities(np.concatenate([X, 0.5 * X, 2.0 * X]))
        np.testing.assert_allclose(found.sum(axis=2), 1.0, rtol=1e-5)


def test_buckets_of_labels_are_found_and_those_of_random_ones_are_not() -> None:
    # 200 labels in 20 groups of 10: a row has two labels of a group, and the group's features.
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 20, 2000)
    X = rng.standard_normal((20, 30))[groups] + 0.3 * rng.standard_normal((2000, 30))
    Y = np.zeros((2000, 200))
    for _ in range(2):
        Y[np.arange(2000), 10 * groups + rng.integers(0, 10, 2000)] = 1.0
    index = LearnedPartition(30, 20, n_repetitions=1, n_choices=2, n_hidden=32, seed=1).fit(
        X[:1500], Y[:1500]
    )
    offsets, ids, _ = index.candidates(X[1500:])
    found = np.zeros((500, 200), bool)
    found[np.repeat(np.arange(500), np.diff(offsets)), ids] = True
    recall, share = found[Y[1500:] > 0].mean(), found.mean()
    # A random partition has as many of the right labels among the candidates as of all.
    assert share < 0.15
    assert recall > 4 * share
    assert index.load_deviation().largest[0] < 2.0


def test_more_choices_make_loads_more_equal(X: np.ndarray) -> None:
    deviations = [small(n_choices=k).fit_neighbors(X).load_deviation() for k in (1, 4, B)]
    assert (deviations[0].std > 3.0 * deviations[1].std).all()
    assert (deviations[1].std >= deviations[2].std).all()
    # With all buckets as choices, loads differ by at most one.
    mean = len(X) / B
    assert (deviations[-1].largest == math.ceil(mean) / mean).all()


# -- laws -----------------------------------------------------------------------------------------


def test_results_depend_on_the_seed_alone(fitted: LearnedPartition, X: np.ndarray) -> None:
    before = mergesketch.get_num_threads()
    try:
        for n in (1, 3):
            mergesketch.set_num_threads(n)
            again = small().fit_neighbors(X)
            assert again == fitted
            np.testing.assert_array_equal(again.query(X, 3).scores, fitted.query(X, 3).scores)
    finally:
        mergesketch.set_num_threads(before)
    assert small(seed=2).fit_neighbors(X) != fitted
    for same in (X.astype(np.float64, order="F"), scipy.sparse.csr_array(X), X.tolist()):
        assert small().fit_neighbors(same) == fitted
    # A factor that is a power of two changes nothing but the length that rows are divided by.
    larger = small().fit_neighbors(X * 2.0**40)
    assert (larger.buckets == fitted.buckets).all()
    assert (larger.query(X * 2.0**40, 5).ids == fitted.query(X, 5).ids).all()


def parts_of(fitted: LearnedPartition, Z: np.ndarray, cuts: list[int]) -> list[LearnedPartition]:
    bounds = [0, *cuts, len(Z)]
    return [fitted.empty_like().insert(Z[a:b], ids=np.arange(a, b)[::-1] + 1000) for a, b in pairwise(bounds)]


def test_parts_merge_in_any_order(fitted: LearnedPartition) -> None:
    Z = rows_of_clusters(60, 6, 20, seed=7)
    a, b, c = parts_of(fitted, Z, [20, 45])
    assert (a | b) | c == a | (b | c) == c | b | a
    assert a | fitted.empty_like() == a == fitted.empty_like() | a
    whole = a | b | c
    assert len(whole) == 60
    assert (whole.loads == a.loads + b.loads + c.loads).all()
    for options in ({}, {"n_probes": 3}, {"n_probes": 3, "min_count": 2}):
        found = whole.candidates(Z, **options)
        apart = [part.candidates(Z, **options) for part in (a, b, c)]
        for i in range(len(Z)):
            ids = np.concatenate([p.ids[p.offsets[i] : p.offsets[i + 1]] for p in apart])
            assert found.ids[found.offsets[i] : found.offsets[i + 1]].tolist() == sorted(ids)
    assert whole.copy().remove(b.ids).remove(c.ids) == a
    with pytest.raises(IncompatibleSketchError, match="ids must be distinct, got 1000 twice"):
        whole.merge(a)


def test_inserting_in_parts_is_inserting_at_once(fitted: LearnedPartition) -> None:
    Z = rows_of_clusters(60, 6, 20, seed=7)
    whole = fitted.empty_like().insert(Z)
    assert fitted.empty_like().insert(Z[:13]).insert(Z[13:13]).update(Z[13:]) == whole
    # Rows as queries of one right item each are the items themselves.
    assert fitted.empty_like().insert(Z, np.eye(60)) == whole
    # The order matters, because loads do.
    assert (whole.buckets != fitted.empty_like().insert(Z[::-1]).buckets[::-1]).any()


def test_parts_equal_the_whole_if_loads_do_not_matter(X: np.ndarray) -> None:
    one = small(n_choices=1).fit_neighbors(X)
    Z = rows_of_clusters(60, 6, 20, seed=7)
    whole = one.empty_like().insert(Z, ids=np.arange(60))
    parts = [one.empty_like().insert(Z[own], ids=own) for own in (np.arange(0, 60, 2), np.arange(1, 60, 2))]
    assert parts[0] | parts[1] == parts[1] | parts[0] == whole


def test_only_equal_networks_merge(fitted: LearnedPartition, X: np.ndarray) -> None:
    other = small().fit_neighbors(X[:250])
    with pytest.raises(IncompatibleSketchError, match="differ in hidden_weights: parts merge that"):
        fitted.empty_like().merge(other)
    with pytest.raises(IncompatibleSketchError, match="differ in"):
        small().merge(fitted)
    with pytest.raises(IncompatibleSketchError, match="seed"):
        fitted.copy().merge(small(seed=9).fit_neighbors(X))


def test_items_keep_their_ids(X: np.ndarray) -> None:
    ids = np.arange(300)[::-1] * 3 + 5
    index = small().fit_neighbors(X, ids)
    plain = small().fit_neighbors(X)
    assert index.ids.tolist() == sorted(ids)
    found, expected = index.candidates(X[:9]), plain.candidates(X[:9])
    assert [sorted(ids[expected.ids[expected.offsets[i] : expected.offsets[i + 1]]]) for i in range(9)] == [
        found.ids[found.offsets[i] : found.offsets[i + 1]].tolist() for i in range(9)
    ]
    with pytest.raises(ValueError, match="rows must have a row for each id found, got 300 rows and id"):
        index.search(X[:50], X, 3)
    placed = np.zeros((ids.max() + 1, 6))
    placed[ids] = X
    near = index.search(X[:50], placed, 1, n_probes=B)
    assert near.ids[:, 0].tolist() == ids[:50].tolist()


def test_items_that_no_query_asks_for_have_buckets() -> None:
    X = rows_of_clusters(40, 6, 4)
    Y = np.zeros((40, 100))
    Y[np.arange(40), np.arange(40) % 4] = 1.0
    index = small().fit(X, Y)
    # 96 labels draw two of 16 buckets each: the loads of so many stay below three times the mean.
    assert len(index) == 100
    assert index.load_deviation().largest.max() < 3.0
    assert len(np.unique(index.buckets[4:, 0])) > B // 2


def test_files_and_copies(fitted: LearnedPartition, X: np.ndarray) -> None:
    again = mergesketch.from_bytes(fitted.to_bytes())
    assert again == fitted
    np.testing.assert_array_equal(again.query(X, 2).ids, fitted.query(X, 2).ids)
    grown = fitted.copy().insert(X[:3])
    assert len(grown) == 303
    assert len(fitted) == 300


def test_files_whose_numbers_are_wrong_are_refused(fitted: LearnedPartition) -> None:
    for name, value in (
        ("buckets", B),
        ("buckets", -1),
        ("row_length", 0.0),
        ("row_centre", np.inf),
        ("hidden_bias", np.nan),
    ):
        forged = fitted.copy()
        forged._arrays[name].reshape(-1)[-1] = value
        with pytest.raises(SketchFormatError, match=name):
            LearnedPartition.from_bytes(forged.to_bytes())
    for name, array in (
        ("buckets", np.zeros((3, 1), np.int32)),
        ("bucket_weights", np.zeros((2, 16, B + 1), np.float32)),
        ("row_length", np.zeros(0)),
        ("ids", np.array([3, 3])),
    ):
        forged = fitted.copy()
        forged._arrays[name] = array
        with pytest.raises(SketchFormatError):
            LearnedPartition.from_bytes(forged.to_bytes())


def test_queries_run_beside_inserts(fitted: LearnedPartition, X: np.ndarray) -> None:
    index, failures, sizes = fitted.copy(), [], set()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                offsets, ids, _ = index.candidates(X[:2], n_probes=B)
                sizes.add(int(offsets[1]))
                assert ids[: offsets[1]].tolist() == list(range(offsets[1]))
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        index.insert(X[:7])
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert sizes <= {300 + 7 * i for i in range(11)}


# -- edges ----------------------------------------------------------------------------------------


def test_smallest_partitions() -> None:
    one = LearnedPartition(1, 1, n_repetitions=1, n_choices=1, n_hidden=1, n_rounds=1, n_epochs=1)
    assert one.fit_neighbors([[2.0]]).query([[5.0]], 3).ids.tolist() == [[0, -1, -1]]
    assert one.query(np.zeros((0, 1)), 2).ids.shape == (0, 2)
    assert one.candidates(np.zeros((0, 1))).offsets.tolist() == [0]
    assert one.search(np.zeros((0, 1)), [[2.0]], 2).ids.shape == (0, 2)
    assert one.remove([0]).query([[5.0]], 2).ids.tolist() == [[-1, -1]]
    assert np.isnan(one.load_deviation().std).all()
    zeros = small().fit_neighbors(np.zeros((50, 6)))
    assert np.isfinite(zeros.bucket_probabilities(np.ones((1, 6)))).all()
    assert small().fit(np.ones((3, 6)), np.zeros((3, 0))).loads.sum() == 0


def test_rows_of_every_scale_are_learned() -> None:
    X = rows_of_clusters(60, 6, 20)
    for scale in (1e-300, 1e-30, 1e30, 1e300):
        index = small(n_rounds=1).fit_neighbors(X * scale)
        assert np.isfinite(index.bucket_probabilities(X * scale)).all()
        assert np.isfinite(index.bucket_probabilities(X * scale * 1e7)).all()
    for scale in (1e-300, 1.0):
        index = small(n_rounds=1).fit_neighbors(X * scale)
        with pytest.raises(ValueError, match="Q must have numbers of at most 1e12 times"):
            index.query(X * scale * 1e14)


@pytest.mark.parametrize(
    ("arguments", "others", "message"),
    [
        ((0, 4), {}, "n_features must be an integer from 1"),
        ((4, 0), {}, "n_buckets must be an integer from 1"),
        ((4, True), {}, "n_buckets must be an integer"),
        ((4, 4), {"n_choices": 5}, "n_choices must be an integer from 1 to 4"),
        ((4, 4), {"n_repetitions": 0}, "n_repetitions must be"),
        ((4, 1 << 20), {"n_repetitions": 17}, "n_repetitions must be at most 16 for 1048576 buckets, got 17"),
        ((4, 4), {"n_hidden": 0}, "n_hidden must be"),
        ((4, 4), {"n_rounds": 0}, "n_rounds must be"),
        ((4, 4), {"n_epochs": 0}, "n_epochs must be"),
        ((4, 4), {"learning_rate": 0.0}, "learning_rate must be"),
        ((4, 4), {"learning_rate": math.nan}, "learning_rate must be"),
        ((4, 4), {"seed": -1}, "seed must be"),
    ],
)
def test_bad_parameters_are_refused(arguments: Any, others: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        LearnedPartition(*arguments, **others)


def test_bad_arguments_are_refused_and_change_nothing(fitted: LearnedPartition, X: np.ndarray) -> None:
    index = fitted.copy()
    nan = X.copy()
    nan[3, 2] = np.nan
    Y = np.eye(300)
    for call, message in (
        (lambda: index.fit(X[:0], Y[:0]), "X must have at least one row"),
        (lambda: index.fit(X[:, :5], Y), "X must have 6 columns"),
        (lambda: index.fit(nan, Y), "X must be finite"),
        (lambda: index.fit(X, Y[:9]), "Y must have a row for each of the 300 rows of X, got 9"),
        (lambda: index.fit(X, -Y), "Y must have numbers of at least 0"),
        (lambda: index.fit(X, Y, ids=[1, 2]), "ids must be 300 integers"),
        (lambda: index.fit(X, Y, ids=np.zeros(300, int)), "ids must be distinct"),
        (lambda: index.fit_neighbors(X[:0]), "X must have at least one row"),
        (lambda: index.fit_neighbors(X, metric="euclid"), "metric must be one of"),
        (lambda: index.fit_neighbors(X, n_neighbors=0), "n_neighbors must be"),
        (lambda: index.fit_neighbors(X, n_queries=0), "n_queries must be"),
        (lambda: index.insert(X, Y[:9]), "Y must have a row for each of the 300 rows of X, got 9"),
        (
            lambda: index.insert(X[:2], np.eye(2, 3)),
            "Y must have a right item in each column, got none in column 2",
        ),
        (lambda: index.insert(X[:2], ids=[5, 5]), "ids must"),
        (lambda: index.insert(nan), "X must be finite"),
        (lambda: index.remove([300]), "300"),
        (lambda: index.query(X, 0), "k must be"),
        (lambda: index.query(X, n_probes=0), "n_probes must be"),
        (lambda: index.query(X, min_count=3), "min_count must be an integer from 1 to 2"),
        (lambda: index.query(nan), "Q must be finite"),
        (lambda: index.search(X, X[:, :4]), "rows must have shape"),
        (lambda: index.search(X, X, metric="cosine"), "metric must be one of"),
        (lambda: index.search(X[:40], X[:5], n_probes=4), "rows must have a row for each id"),
        (lambda: small().query(X), "has learned nothing yet: call fit"),
        (lambda: small().insert(X), "has learned nothing yet: call fit"),
        (lambda: small().candidates(X), "has learned nothing yet: call fit"),
        (lambda: small().bucket_probabilities(X), "has learned nothing yet: call fit"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            pytest.fail(f"no error, but {message}: {call()}")
        assert index == fitted
