"""Graphs of near neighbours: the naive twin, exact small graphs, merging, equal rows, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch import NeighbourGraph
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from mergesketch.lsh import InnerProduct, MinHash, PStable, SignedRandomProjection
from mergesketch.lsh.support.backend import read_only
from mergesketch.sketches.kernels import graph_links, neighbour_graph
from mergesketch.sketches.neighbours import graph_building as building
from naive import neighbour_graph as naive
from structured_rows import MAKERS, one_hot

METRICS = ("angle", "euclidean", "cityblock")


def family(metric: str, d: int, n_hashes: int = 6, power: int = 5) -> Any:
    if metric == "angle":
        return SignedRandomProjection(d, n_hashes, power=power, seed=1)
    p = 2 if metric == "euclidean" else 1
    return PStable(d, n_hashes, p=p, width=2.0, power=2, n_buckets=64, seed=1)


def graph(metric: str = "angle", d: int = 6, k: int = 5, **settings: Any) -> NeighbourGraph:
    return NeighbourGraph(family(metric, d), k, seed=2, **settings)


def rows_of(n: int, d: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def distances(metric: str, Q: np.ndarray, X: np.ndarray) -> np.ndarray:
    Q, X = Q.astype(np.float64), X.astype(np.float64)
    if metric == "angle":
        ours, theirs = (Y / np.maximum(np.linalg.norm(Y, axis=1, keepdims=True), 1e-300) for Y in (Q, X))
        away = 2.0 * np.arcsin(np.minimum(1.0, np.linalg.norm(ours[:, None] - theirs, axis=2) / 2.0))
        is_zero = ~(Q.any(axis=1)[:, None] & X.any(axis=1))
        return np.where(is_zero, math.pi / 2, away)
    return np.linalg.norm(Q[:, None] - X[None], ord=2 if metric == "euclidean" else 1, axis=2)


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    pairs = zip(found.tolist(), truth.tolist(), strict=True)
    return float(np.mean([len({*ours} & {*theirs}) / len(theirs) for ours, theirs in pairs]))


# -- the naive twin -------------------------------------------------------------------------------

#: Small integers give many equal distances, other numbers give sums that depend on the order of additions.
NUMBERS = st.integers(-2, 2).map(float) | st.floats(-4, 4, width=32)


@st.composite
def graphs(draw: Any) -> tuple[np.ndarray, list[list[int]], str]:
    n, d = draw(st.integers(2, 14)), draw(st.sampled_from([1, 3, 7, 37]))
    rows = draw(hnp.arrays(np.float32, (n, d), elements=NUMBERS))
    nodes = st.lists(st.integers(0, n - 1), unique=True, max_size=4)
    lists = [[other for other in draw(nodes) if other != node] for node in range(n)]
    return rows, lists, draw(st.sampled_from(METRICS))


def padded(lists: list[list[int]], width: int) -> np.ndarray:
    array = np.full((len(lists), width), -1, np.int32)
    for row, listed in zip(array, lists, strict=True):
        row[: len(listed)] = listed
    return array


@given(graphs(), st.integers(1, 6), st.integers(0, 2**32))
@settings(max_examples=settings.default.max_examples // 3)
def test_searches_visit_what_the_naive_twin_visits(case: Any, ef: int, seed: int) -> None:
    rows, lists, metric = case
    rng = np.random.default_rng(seed)
    queries = np.concatenate([rows[:1], rng.integers(-2, 3, (2, rows.shape[1])).astype(np.float32)])
    entries = rng.integers(0, len(rows), (3, 2)).astype(np.int32)
    # Some links are in the other array, which searches follow, too.
    far = [listed[2:] for listed in lists]
    links = building.Links(
        read_only(rows),
        read_only(padded([listed[:2] for listed in lists], 4)),
        read_only(padded(far, 2)),
        building.METRICS[metric],
    )
    found = building.search_links(queries, links, entries, ef, ef)
    for i, q in enumerate(queries):
        pool, expanded, looked_at = naive.search(q, rows, metric, lists, entries[i].tolist(), ef)
        assert [node for node in found.nodes[i].tolist() if node >= 0] == pool
        assert (found.hops[i], found.evaluations[i]) == (len(expanded), len(looked_at))


@given(graphs(), st.integers(1, 4))
@settings(max_examples=settings.default.max_examples // 5)
def test_lists_and_links_equal_the_naive_twin(case: Any, k: int) -> None:
    rows, offers, metric = case
    number, n = building.METRICS[metric], len(rows)
    lists = np.empty((n, k), np.int32)
    neighbour_graph.list_nearest(read_only(rows), number, 0, n, lists)
    everything = list(range(n))
    nearest = [naive.nearest(rows, metric, node, everything, k) for node in range(n)]
    assert lists.tolist() == padded(nearest, k).tolist()
    for diversify in (True, False):
        for most in (1, 3):
            links = building.link_nodes(rows, lists, number, most, diversify)
            expected = naive.links(rows, metric, nearest, most, diversify)
            assert [{*row.tolist()} - {-1} for row in links] == expected
    # Lists of other nodes, into which the nearest of what is offered is taken.
    lists = padded([listed[:k] for listed in offers[::-1]], k)
    before = lists.tolist()
    building._offer(
        rows,
        lists,
        np.repeat(np.arange(n), [len(listed) for listed in offers]).astype(np.int32),
        np.array([node for listed in offers for node in listed], np.int32),
        number,
    )
    for node, listed in enumerate(offers):
        expected_list = padded([naive.nearest(rows, metric, node, before[node] + listed, k)], k)[0].tolist()
        assert lists[node].tolist() == (expected_list if listed else before[node])


@pytest.mark.slow
@given(graphs(), st.integers(0, 2**64 - 1), st.integers(0, 2**32))
@settings(max_examples=settings.default.max_examples // 10)
def test_long_links_equal_the_naive_twin(case: Any, word: int, seed: int) -> None:
    rows, _, metric = case
    n, rng = len(rows), np.random.default_rng(seed)
    origins = rng.integers(0, 3, n).astype(np.int32)
    links = rng.integers(-1, n, (n, 3)).astype(np.int32)
    links[links == np.arange(n)[:, None]] = -1
    before, words = links.tolist(), np.full(n, word, np.uint64)
    number = building.METRICS[metric]
    graph_links.draw_long_links(read_only(rows), words, origins, number, 4, 0, n, links)
    for node in range(n):
        expected = naive.long_links(rows, metric, node, word, 4, before[node], origins.tolist())
        assert links[node].tolist() == expected


def test_ranks_of_long_links_have_probabilities_like_one_over_the_rank() -> None:
    n, count = 1024, 8
    rows = np.linspace(0.0, 1.0, n, dtype=np.float32)[:, None]
    links, words = np.full((n, count), -1, np.int32), building.random_words(5, np.arange(n))
    origins = np.zeros(n, np.int32)
    building.draw_long_links(rows, words, origins, building.METRICS["euclidean"], links)
    steps = np.abs(links - np.arange(n)[:, None])
    assert steps.min() >= 1
    # The nearest of 2**j nodes at random has a rank of about n / 2**j, and so a step of half of that. Each
    # of 11 values of j has the same share, so each factor of two has about a tenth of the links; six standard
    # errors of such a share are 0.02.
    shares = [np.mean((steps >= 2**j) & (steps < 2 ** (j + 1))) for j in range(2, 8)]
    assert all(abs(share - 1 / 11) < 0.03 for share in shares), shares


def test_long_links_of_old_rows_lead_to_new_rows_as_often_as_if_drawn_at_once() -> None:
    # Ten blocks of rows that are alike. From 1,024 rows on, the numbers of nodes that are drawn for links of
    # an id are always the same, so that shares do not depend on how rows arrive.
    X, ids, count = rows_of(2600, 4), np.arange(2600), 8

    def part(first: int, last: int) -> NeighbourGraph:
        return graph("euclidean", 4, n_long_links=count).update(X[first:last], ids[first:last])

    grown = part(0, 1300)
    for a in range(1300, 2600, 260):
        grown.update(X[a : a + 260], ids[a : a + 260])
    for kept in (grown, part(0, 1560).merge(part(1560, 2600)), part(0, 2600)):
        blocks = kept._arrays["long_links"] // 260
        assert (blocks >= 0).all()
        # Six standard errors of a tenth of 8,320 links are 0.02.
        for sources in (blocks[:1300], blocks[1560:], blocks):
            shares = np.bincount(sources.reshape(-1), minlength=10) / sources.size
            assert (np.abs(shares - 0.1) < 0.02).all(), shares


def groups(d: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows in 40 groups far from each other, group by group, queries near to them, and the truth."""
    rng = np.random.default_rng(5)
    centres = 8.0 * rng.standard_normal((40, d))
    X = (np.repeat(centres, 50, axis=0) + rng.standard_normal((2000, d))).astype(np.float32)
    Q = X[::20] + 0.1 * rng.standard_normal((100, d)).astype(np.float32)
    return X, Q, np.argsort(distances("euclidean", Q, X), axis=1, kind="stable")[:, :10]


@pytest.mark.parametrize(("entry", "n_long"), [("fixed", 8), ("spread", 0), ("hash", 0)])
def test_groups_far_from_each_other_are_found_if_they_came_one_after_the_other(
    entry: str, n_long: int
) -> None:
    X, Q, truth = groups()
    grown = graph("euclidean", 16, 16, n_long_links=n_long, entry=entry)
    for a in range(0, 2000, 250):
        grown.update(X[a : a + 250])
    once = graph("euclidean", 16, 16, n_long_links=n_long, entry=entry).update(X)
    for kept in (grown, once):
        assert recall(kept.search(Q).ids, truth) > 0.97


def test_searches_from_one_row_find_what_is_linked_with_it_only() -> None:
    X, Q, truth = groups()
    alone = graph("euclidean", 16, 16, entry="fixed").update(X)
    assert recall(alone.search(Q).ids, truth) < 0.1


def test_nodes_that_are_spread_are_the_farthest_from_those_before() -> None:
    rows = rows_of(60, 3)
    rows[40:] = rows[7]
    some = np.random.default_rng(1).permutation(60).astype(np.int32)
    for metric in METRICS:
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True) if metric == "angle" else rows
        far = building.spread_nodes(unit.astype(np.float32), some, building.METRICS[metric], 70)
        assert sorted(far.tolist()) == list(range(60))
        away, steps = distances(metric, unit, unit), []
        for i in range(1, 60):
            nearest = away[:, far[:i]].min(axis=1)
            nearest[far[:i]] = 0.0
            steps.append(nearest[far[i]])
            assert steps[-1] >= nearest.max() - 1e-3
        assert steps[0] > 0.1
        assert building.spread_nodes(unit.astype(np.float32), some, 1, 5).size == 5


@pytest.mark.slow
def test_few_nodes_are_searched_at_a_time_where_lists_are_long(monkeypatch: Any) -> None:
    X = rows_of(1500, 8)
    sizes: list[int] = []
    search = building.search_links

    def counted(Q: Any, *rest: Any) -> Any:
        sizes.append(len(Q))
        return search(Q, *rest)

    monkeypatch.setattr(building, "search_links", counted)
    monkeypatch.setattr(building, "_PAIRS", 16 * 400)
    kept = graph(d=8, k=16).update(X)
    # Memory is bounded by the neighbours of the nodes that are searched at a time.
    assert max(sizes) <= 400
    assert sum(sizes) == 2 * 1500
    truth = distances("angle", X, X)
    np.fill_diagonal(truth, np.inf)
    assert recall(kept.neighbors(10).ids, np.argsort(truth, axis=1)[:, :10]) > 0.95


# -- small graphs are exact -------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", [*MAKERS, "normal"])
def test_neighbours_of_few_rows_are_exact(metric: str, kind: str) -> None:
    X = (rows_of(200) if kind == "normal" else MAKERS[kind](200, 6, 1)).astype(np.float32)
    found = graph(metric).update(X).neighbors()
    truth = distances(metric, X, X)
    np.fill_diagonal(truth, np.inf)
    np.testing.assert_allclose(found.distances, np.sort(truth, axis=1)[:, :5], rtol=1e-6, atol=2e-7)
    near = np.take_along_axis(truth, found.ids, axis=1)
    np.testing.assert_allclose(found.distances, near, rtol=1e-6, atol=2e-7)
    assert all(len({*ids}) == 5 for ids in found.ids.tolist())


@given(st.integers(0, 2**32), st.integers(1, 4), st.booleans())
@settings(max_examples=10)
def test_small_graphs_do_not_depend_on_how_rows_arrive(seed: int, n_parts: int, with_equal: bool) -> None:
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 3 if with_equal else 90, (60, 4)).astype(np.float32)
    ids = rng.choice(1000, 60, replace=False)
    whole = graph("euclidean", 4).update(X, ids)
    cuts = np.array_split(rng.permutation(60), n_parts)
    parts = [graph("euclidean", 4).update(X[cut], ids[cut]) for cut in cuts]
    merged = graph("euclidean", 4).merge(parts)
    grown = graph("euclidean", 4)
    for cut in cuts:
        grown.update(X[cut], ids[cut])
    one_by_one = parts[-1].copy()
    for part in parts[:-1]:
        one_by_one |= part
    assert merged == whole
    assert grown == whole
    assert one_by_one == whole
    gone = rng.choice(ids, 20, replace=False)
    left = ~np.isin(ids, gone)
    assert whole.remove(gone) == graph("euclidean", 4).update(X[left], ids[left])


def test_small_graphs_are_searched_exactly_where_ef_is_the_number_of_rows() -> None:
    X, Q = rows_of(300), rows_of(20, seed=1)
    for metric in METRICS:
        found = graph(metric, entry="fixed").update(X).search(Q, 300, ef=300)
        truth = distances(metric, Q, X)
        np.testing.assert_allclose(found.distances, np.sort(truth, axis=1), rtol=1e-6)
        assert (np.sort(found.ids, axis=1) == np.arange(300)).all()


def test_matrices_have_the_neighbours_and_their_distances() -> None:
    X = np.concatenate([rows_of(30), rows_of(2)])
    kept = graph("euclidean").update(X, np.arange(100, 132))
    matrix, found = kept.to_csr(3), kept.neighbors(3)
    assert matrix.shape == (32, 32)
    assert (matrix.indices.reshape(32, 3) + 100 == found.ids).all()
    assert (matrix.data.reshape(32, 3) == found.distances).all()
    assert (kept.to_csr(mode="connectivity").data == 1.0).all()
    # Entries of equal rows are there, too, with the distance 0.
    assert matrix.nnz == 96
    assert (matrix.indices[0], matrix.data[0]) == (30, 0.0)
    few = graph().update(X[:3])
    assert few.to_csr().nnz == 6
    assert few.neighbors().ids[0].tolist()[2:] == [-1, -1, -1]


# -- larger graphs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, Q = rows_of(3000, 8), rows_of(200, 8, seed=1)
    return X, Q, np.argsort(distances("angle", Q, X), axis=1, kind="stable")[:, :10]


def test_graphs_that_grow_or_merge_find_nearly_as_much_as_one_built_at_once(large: Any) -> None:
    X, Q, truth = large
    ids = np.random.default_rng(3).permutation(3000)
    place = np.argsort(ids)

    def empty() -> NeighbourGraph:
        return graph(d=8, k=16)

    def found(kept: NeighbourGraph) -> float:
        assert len(kept) == 3000
        return recall(place[kept.search(Q).ids], truth)

    once = found(empty().update(X, ids))
    first, second = empty().update(X[:1800], ids[:1800]), empty().update(X[1800:], ids[1800:])
    merged, turned = first | second, second | first
    assert merged == turned
    grown = empty()
    for a in range(0, 3000, 500):
        grown.update(X[a : a + 500], ids[a : a + 500])
    shrunk = empty().update(np.concatenate([X, X + 1.0]), np.concatenate([ids, ids + 3000]))
    shrunk.remove(ids + 3000)
    # The law of merging here: the recall is within 0.02 of a graph that was built at once, beside six
    # standard errors of the difference of two means of 2,000 neighbours.
    margin = 0.02 + 6 * math.sqrt(2 * max(once * (1 - once), 0.01) / 2000)
    for kept in (merged, grown, shrunk):
        assert found(kept) >= once - margin
    assert once >= 0.9


def test_results_do_not_depend_on_threads_or_batches_of_queries(large: Any) -> None:
    X, Q, _ = large
    before, results = mergesketch.get_num_threads(), []
    try:
        for n_threads in (1, 3):
            mergesketch.set_num_threads(n_threads)
            kept = graph(d=8, n_long_links=2).update(X[:1500]).update(X[1500:2000])
            results.append((kept.to_bytes(), kept.search(Q).ids.tobytes(), kept.visits(Q).hops.tobytes()))
    finally:
        mergesketch.set_num_threads(before)
    assert results[0] == results[1]
    alone = [kept.search(q[None], 3).ids[0].tolist() for q in Q[:5]]
    assert alone == kept.search(Q, 3).ids[:5].tolist()


def test_files_give_the_same_answers(large: Any) -> None:
    X, Q, _ = large
    kept = graph(d=8, n_long_links=1).update(X[:1500])
    again = NeighbourGraph.from_bytes(kept.to_bytes())
    assert again == kept
    for ours, theirs in zip(kept.search(Q), again.search(Q), strict=True):
        assert (ours == theirs).all()
    assert again.update(X[1500:1600]) == kept.update(X[1500:1600])


def test_more_is_found_with_a_larger_ef_at_the_price_of_more_distances(large: Any) -> None:
    X, Q, truth = large
    kept = graph(d=8, k=12).update(X)
    found = [recall(kept.search(Q, ef=ef).ids, truth) for ef in (10, 40, 160)]
    cost = [kept.visits(Q, ef=ef).distances.mean() for ef in (10, 40, 160)]
    assert found == sorted(found)
    assert cost == sorted(cost)
    assert found[-1] > 0.95


def test_greedy_search_on_a_circle_takes_as_many_hops_as_there_are_steps_and_fewer_with_long_links() -> None:
    n, k = 1000, 8
    angles = np.arange(n) * (2 * np.pi / n)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    plain = graph("euclidean", 2, k, diversify=False, entry="fixed").update(circle)
    first = int(plain._fixed_entries[0])
    steps = (np.arange(n) - first) % n
    steps = np.minimum(steps, n - steps)
    # A hop goes to a neighbour up to k / 2 steps away, and the last one finds that none is nearer.
    assert (plain.visits(circle, ef=1).hops == -(-steps // (k // 2)) + 1).all()
    far = graph("euclidean", 2, k, diversify=False, entry="fixed", n_long_links=2).update(circle)
    # Prokhorenkova and Shekhovtsov: about log(n)**2 = 48 hops at most with such links, against n / (2 k) = 62
    # on average without.
    assert far.visits(circle, ef=1).hops.mean() < plain.visits(circle, ef=1).hops.mean() / 2
    assert (far.search(circle, 1, ef=1).ids[:, 0] == np.arange(n)).all()


# -- rows that are equal, zero, or equally far ------------------------------------------------------


def test_thousands_of_equal_rows_hide_no_others() -> None:
    X = np.concatenate([np.repeat(rows_of(3), 2000, axis=0), np.zeros((50, 6), np.float32), rows_of(1500)])
    X[-1500:-1497] = X[[0, 2000, 4000]]
    kept = graph(k=8).update(X)
    # The three rows are there once more, at the end.
    found = kept.search(X[[0, 2000, 4000]], 2003, ef=10)
    for i in range(3):
        equal = [*range(2000 * i, 2000 * (i + 1)), 6050 + i]
        assert found.ids[i, :2001].tolist() == equal
        assert (found.distances[i, :2001] < 1e-6).all()
        assert (found.distances[i, 2001:] > 1e-3).all()
        assert (found.ids[i] >= 0).all()
    others = np.arange(6053, 7550)
    assert np.mean(kept.search(X[others], 1, ef=40).ids[:, 0] == others) > 0.98
    assert kept.neighbors(2).ids[[0, 1, 2, 6050]].tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_each_of_many_rows_at_equal_distances_is_found_by_its_hash() -> None:
    # One-hot rows are all equally far from each other, so that no link leads nearer to a query.
    X = one_hot(2000, 64, 0)[np.newaxis].reshape(2000, 64) + 0.0
    distinct = np.eye(1100, dtype=np.float32)
    kept = NeighbourGraph(SignedRandomProjection(1100, 12, power=9, seed=1), 8).update(distinct)
    assert np.mean(kept.search(distinct[:200], 1).ids[:, 0] == np.arange(200)) > 0.98
    few = NeighbourGraph(SignedRandomProjection(64, 8, power=4, seed=1), 8).update(X)
    found = few.search(X[:50], 1)
    assert (found.distances < 1e-6).all()


@pytest.mark.parametrize("metric", METRICS)
def test_rows_of_zeros_have_neighbours(metric: str) -> None:
    X = np.concatenate([np.zeros((30, 6), np.float32), rows_of(40)])
    kept = graph(metric).update(X)
    found = kept.search(np.zeros((1, 6)), 70, ef=100)
    np.testing.assert_allclose(
        found.distances[0], np.sort(distances(metric, np.zeros((1, 6)), X)[0]), rtol=1e-6
    )
    assert {*found.ids[0].tolist()} == {*range(70)}


# -- edges and what is refused ----------------------------------------------------------------------


def test_no_rows_and_one_row() -> None:
    kept = graph()
    assert kept.search(rows_of(2), 3).ids.tolist() == [[-1] * 3] * 2
    assert kept.visits(rows_of(2)).hops.tolist() == [0, 0]
    assert kept.to_csr().shape == (0, 0)
    assert kept.neighbors().ids.shape == (0, 5)
    kept.update(rows_of(0)).merge(graph())
    assert len(kept) == 0
    kept.update(rows_of(1))
    assert kept.search(rows_of(1), 2).ids.tolist() == [[0, -1]]
    assert kept.search(np.zeros((0, 6)), 2).ids.shape == (0, 2)
    assert kept.neighbors(1).ids.tolist() == [[-1]]
    assert kept.remove([0]) == graph()


def test_rows_of_any_length_have_angles() -> None:
    X = rows_of(100).astype(np.float64)
    kept = graph().update(X)
    scaled = graph().update(X * np.logspace(-250, 250, 100)[:, None])
    assert (kept.neighbors().ids == scaled.neighbors().ids).all()
    with pytest.raises(ValueError, match=r"X must have rows of lengths up to 4e\+18.*in row 1"):
        graph("euclidean").update(np.array([[0.0] * 6, [1e30] * 6]))
    with pytest.raises(ValueError, match="Q must have rows of lengths up to"):
        graph("cityblock").update(X).search([[1e19] * 6])


def test_bad_arguments_are_refused_and_change_nothing() -> None:
    kept = graph().update(rows_of(30), np.arange(30))
    before = kept.to_bytes()
    bad = np.full((1, 6), np.nan)
    for call, message in (
        (lambda: kept.update(rows_of(2, 5), [50, 51]), "6"),
        (lambda: kept.update(bad, [50]), "finite"),
        (lambda: kept.update(rows_of(2), [50, 50]), "distinct"),
        (lambda: kept.update(rows_of(1), [7]), "distinct"),
        (lambda: kept.update(rows_of(1)), "ids must be given for all rows or for none"),
        (lambda: kept.update(rows_of(1), [True]), "ids must be 1 integer"),
        (lambda: kept.remove([30]), "ids must be those of rows"),
        (lambda: kept.remove(-1), r"ids must be 1 integer in one dimension, got int64 of shape \(\)"),
        (lambda: kept.search(rows_of(1), 0), "k must be"),
        (lambda: kept.search(rows_of(1), ef=0), "ef must be"),
        (lambda: kept.visits(rows_of(1), ef=True), "ef must be"),
        (lambda: kept.neighbors(6), "k must be"),
        (lambda: kept.to_csr(mode="weights"), "mode must be"),
        (lambda: kept.merge(graph().update(rows_of(2))), "cannot merge: ids must be given"),
        (
            lambda: kept.merge(graph().update(rows_of(2), [3, 77])),
            "cannot merge: ids must be distinct, got 3",
        ),
        (lambda: kept.merge(graph(k=4)), "differ in n_neighbors"),
    ):
        with pytest.raises((TypeError, ValueError, IncompatibleSketchError), match=message):
            call()
    assert kept.to_bytes() == before
    with pytest.raises(NotImplementedError, match="no GPU kernels"):
        kept.to("gpu")


def test_parameters_are_checked() -> None:
    signs = family("angle", 6)
    for call, message in (
        (lambda: NeighbourGraph(MinHash(4)), "family must be one for a distance of vectors"),
        (
            lambda: NeighbourGraph(InnerProduct(6, 4, power=3, max_norm=1.0)),
            "family must be one for a distance",
        ),
        (lambda: NeighbourGraph("angle"), "family must be a HashFamily"),
        (lambda: NeighbourGraph(SignedRandomProjection(6, 2000, power=16)), "one gibibyte"),
        (lambda: NeighbourGraph(signs, 0), "n_neighbors must be"),
        (lambda: NeighbourGraph(signs, n_links=0), "n_links must be"),
        (lambda: NeighbourGraph(signs, diversify=1), "diversify must be"),
        (lambda: NeighbourGraph(signs, entry="medoid"), "entry must be"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()
    with pytest.raises(AttributeError):
        graph().n_links = 3


def test_graphs_do_not_depend_on_how_many_nodes_are_searched_at_a_time(monkeypatch: Any) -> None:
    X = rows_of(1500, seed=8)
    whole = graph(n_rounds=1).update(X)
    monkeypatch.setattr(building, "_PAIRS", 5 * 400)
    assert graph(n_rounds=1).update(X) == whole


def test_files_with_wrong_nodes_are_refused() -> None:
    kept = graph(n_long_links=1).update(rows_of(30))
    arrays = dict(kept._arrays)
    for name, change in (
        ("neighbours", lambda array: array.__setitem__((0, 0), 30)),
        ("neighbours", lambda array: array.__setitem__((3, 0), 3)),
        ("neighbours", lambda array: array.__setitem__((0, 0), -2)),
        ("neighbours", lambda array: array.__setitem__((0, 0), -1)),
        ("long_links", lambda array: array.__setitem__((0, 0), 1 << 30)),
        ("nodes", lambda array: array.__setitem__(0, 29)),
        ("nodes", lambda array: array.__setitem__(slice(2), [1, 0])),
        ("nodes", lambda array: array.__setitem__(0, -1)),
        ("rows", lambda array: array.__setitem__((0, 0), np.nan)),
        ("rows", lambda array: array.__setitem__((0, 0), 1.1)),
        ("rows", lambda array: array.__setitem__(0, 1e-3 * array[0])),
        ("rows", lambda array: array.__setitem__(0, array[1])),
        ("rows", lambda array: array.__setitem__(0, -0.0)),
        ("neighbours", lambda array: array.__setitem__((0, 1), array[0, 0])),
        ("neighbours", lambda array: array.__setitem__((slice(None), slice(1, None)), array[:, :1])),
        ("rows", lambda array: array.__setitem__(0, 0.001)),
        ("rows", lambda array: array.__setitem__(0, array[7])),
        ("neighbours", lambda array: array.__setitem__((3, 1), array[3, 0])),
        ("neighbours", lambda array: array.__setitem__((3, 4), array[3, 1])),
    ):
        changed = arrays[name].copy()
        change(changed)
        twin = graph(n_long_links=1)
        twin._set_arrays({**arrays, name: changed})
        with pytest.raises(SketchFormatError, match=name):
            NeighbourGraph.from_bytes(twin.to_bytes())
