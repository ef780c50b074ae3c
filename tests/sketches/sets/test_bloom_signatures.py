"""Test Bloom signatures against exact neighbourhoods."""

from __future__ import annotations

import math
import warnings

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import BloomSignatures
from mergesketch.errors import SaturationWarning
from naive import bloom_signatures as naive
from paths import SHARED
from scipy import sparse

CORA = SHARED / "cora.npz"


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 14))
    nodes = st.integers(0, n - 1)
    return n, draw(st.lists(st.tuples(nodes, nodes), max_size=40))


def bits_of(signatures: BloomSignatures) -> list[set[int]]:
    """Return the set bits of every row."""
    rows = np.unpackbits(signatures.state["signatures"].array.view(np.uint8), axis=1, bitorder="little")
    return [set(np.flatnonzero(row).tolist()) for row in rows]


@settings(deadline=None)
@given(graphs(), st.booleans(), st.integers(1, 3), st.integers(0, 2**64 - 1))
def test_rows_are_the_bits_of_the_neighbourhoods(graph, directed, n_hops, seed):
    n, edges = graph
    signatures = BloomSignatures(n, 128, directed=directed, seed=seed).update(edges)
    bit = signatures._node_bits
    for _ in range(n_hops - 1):
        signatures = signatures.propagate(edges)
    assert signatures.n_hops == n_hops
    exact = naive.neighbourhoods(n, edges, n_hops, directed)
    assert bits_of(signatures) == [{int(bit[v]) for v in near} for near in exact]


@settings(deadline=None)
@given(graphs(), st.booleans(), st.integers(0, 60))
def test_parts_of_a_graph_merge(graph, directed, cut):
    n, edges = graph
    empty = BloomSignatures(n, 64, directed=directed)
    whole = empty.copy().update(edges)
    here, there = empty.copy().update(edges[:cut]), empty.copy().update(edges[cut:])
    assert here | there == whole
    assert whole.propagate(edges[:cut]) | whole.propagate(edges[cut:]) == whole.propagate(edges)
    # The other direction, repeated edges and loops add nothing to an undirected graph.
    if not directed:
        again = [(v, u) for u, v in edges] + [(u, u) for u in range(n)] + list(edges)
        np.testing.assert_array_equal(
            empty.copy().update(again).state["signatures"].array, whole.state["signatures"].array
        )


@settings(deadline=None)
@given(graphs(), st.booleans())
def test_estimates_are_exact_up_to_their_curve_where_no_bits_collide(graph, directed):
    n, edges = graph
    n_bits = 1 << 16
    one = BloomSignatures(n, n_bits, directed=directed, seed=3)
    if len(set(one._node_bits.tolist())) < n:
        return
    one.update(edges)
    exact = naive.neighbourhoods(n, edges, 1, directed)
    far = naive.neighbourhoods(n, edges, 2, directed)
    pairs = np.array([(u, v) for u in range(n) for v in range(n)])
    u, v = pairs.T
    # Linear counting says -m log(1 - x / m) where x bits are set: x within x**2 / m.
    tolerance = 3 * n * n / n_bits
    np.testing.assert_allclose(one.cardinality(), [len(s) for s in exact], atol=tolerance)
    shared = np.array([len(exact[a] & exact[b]) for a, b in pairs])
    union = np.array([len(exact[a] | exact[b]) for a, b in pairs])
    np.testing.assert_allclose(one.common_neighbors(u, v), shared, atol=tolerance)
    np.testing.assert_allclose(one.jaccard(u, v), shared / np.maximum(union, 1), atol=tolerance)
    degree = np.array([len(s) for s in exact])
    for method, weight in (
        (one.adamic_adar, 1 / np.log(np.maximum(degree, 2))),
        (one.resource_allocation, 1 / np.maximum(degree, 1)),
    ):
        # A node without an edge of its own (in a directed graph) has no weight: see `_bit_weights`.
        known = [sum(weight[w] for w in exact[a] & exact[b] if degree[w]) for a, b in pairs]
        if all(degree[w] for a, b in pairs for w in exact[a] & exact[b]):
            np.testing.assert_allclose(method(u, v), known, atol=4 * tolerance)
    two = one.propagate(edges)
    features = one.link_features(pairs, wider=two)
    names = [*one.feature_names, *one.wider_feature_names]
    assert features.shape == (len(pairs), len(names)) and features.dtype == np.float32
    column = dict(zip(names, features.T, strict=True))
    low, high = np.minimum(u, v), np.maximum(u, v)
    expected = {
        "common": shared,
        "union": union,
        "smaller_size": np.minimum(degree[u], degree[v]),
        "larger_size": np.maximum(degree[u], degree[v]),
        "cosine": shared / np.sqrt(np.maximum(degree[u] * degree[v], 1)),
        "containment": shared / np.maximum(np.minimum(degree[u], degree[v]), 1),
        "near_far": [len(exact[a] & far[b]) for a, b in zip(low, high, strict=True)],
        "far_near": [len(far[a] & exact[b]) for a, b in zip(low, high, strict=True)],
        "far_far": [len(far[a] & far[b]) for a, b in pairs],
        "far_jaccard": [len(far[a] & far[b]) / max(1, len(far[a] | far[b])) for a, b in pairs],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(column[name], values, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("load", [0.1, 0.5, 1.5])
def test_cardinality_has_the_error_of_linear_counting(load):
    """Mean and variance over 2,000 nodes with different neighbours: Whang et al., equations 5 and 7."""
    n_bits, n_nodes = 512, 2000
    size = int(load * n_bits)
    rng = np.random.default_rng(5)
    targets = np.concatenate([rng.choice(10**6, size, replace=False) for _ in range(n_nodes)])
    edges = np.stack([np.repeat(np.arange(n_nodes), size), targets], axis=1)
    signatures = BloomSignatures(10**6, n_bits, directed=True, seed=6).update(edges)
    found = signatures.cardinality(np.arange(n_nodes))
    t = size / n_bits
    variance = n_bits * (math.exp(t) - t - 1)
    bias = (math.exp(t) - t - 1) / 2
    error = math.sqrt(variance / n_nodes)
    assert abs(found.mean() - size - bias) <= 6 * error + 0.02 * bias
    # A sample variance has relative error sqrt(2 / n); the formula's next term is of order 1 / n_bits.
    assert found.var() <= variance * (1 + 6 * math.sqrt(2 / n_nodes) + 10 / n_bits)


def test_threads_and_sparse_matrices_give_the_same_rows():
    rng = np.random.default_rng(7)
    edges = rng.integers(0, 3000, (300_000, 2))
    one = BloomSignatures(3000, 256, seed=1).update(edges)
    matrix = sparse.coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(3000, 3000))
    before = mergesketch.get_num_threads()
    try:
        for threads in (1, 3):
            mergesketch.set_num_threads(threads)
            other = BloomSignatures(3000, 256, seed=1).update(matrix.tocsr())
            np.testing.assert_array_equal(other.state["signatures"].array, one.state["signatures"].array)
            wide = one.propagate(matrix)
            np.testing.assert_array_equal(
                wide.state["signatures"].array, one.propagate(edges[::-1]).state["signatures"].array
            )
    finally:
        mergesketch.set_num_threads(before)


def test_full_signatures_say_that_they_tell_nothing():
    star = np.stack([np.zeros(5000, dtype=np.int64), np.arange(1, 5001)], axis=1)
    signatures = BloomSignatures(5001, 64).update(star)
    with pytest.warns(SaturationWarning, match="1 of 5,001 nodes .* too large for 64 bits: all bits are set"):
        assert np.isfinite(signatures.cardinality()).all()
    with pytest.warns(SaturationWarning):
        assert signatures.cardinality([0])[0] == pytest.approx(64 * math.log(64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signatures.cardinality([1, 2])
        signatures.common_neighbors([1], [2])
    for method in ("common_neighbors", "jaccard", "adamic_adar", "resource_allocation"):
        with pytest.warns(SaturationWarning, match="2 of 3 pairs have neighbourhoods too large for 64 bits"):
            found = getattr(signatures, method)([0, 1, 3], [1, 2, 0])
        assert np.isnan(found).tolist() == [True, False, True]
    with pytest.warns(SaturationWarning, match="1 of 2 pairs"):
        features = dict(
            zip(signatures.feature_names, signatures.link_features([[0, 1], [1, 2]]).T, strict=True)
        )
    for name, column in features.items():
        # The hub is larger than its neighbour, whatever its size is.
        assert np.isnan(column).tolist() == [name != "smaller_size", False], name
    assert features["smaller_size"][0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("n_bits", [64, 512])
def test_overlaps_err_as_stated_until_they_are_nan(n_bits):
    """Pairs of disjoint, half equal and equal sets have from a tenth of the bits to 6 times as many nodes."""
    rng, checked = np.random.default_rng(3), 0
    for load in (0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 6.0):
        size = int(load * n_bits)
        for shared in (0, size // 2, size):
            nodes = 2 + np.arange(2 * size)
            ends = np.concatenate([nodes[:size], nodes[size - shared : 2 * size - shared]])
            edges = np.stack([np.repeat([0, 1], size), ends], axis=1)
            for seed in rng.integers(0, 2**32, 100):
                signatures = BloomSignatures(nodes[-1] + 1, n_bits, directed=True, seed=seed).update(edges)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SaturationWarning)
                    found = signatures.common_neighbors([0], [1])[0]
                    assert np.isnan(found) == np.isnan(signatures.jaccard([0], [1])[0])
                t = np.array([size, size, 2 * size - shared]) / n_bits
                if np.isnan(found):
                    assert t[2] > 1.5
                    continue
                error = np.sqrt(n_bits * (np.exp(t) - t - 1)).sum()
                assert abs(found - shared) < 6 * error
                checked += 1
                assert t[2] < 4.5 + math.log(n_bits / 64)
    assert checked > 1000


def structured_graph() -> tuple[np.ndarray, int, np.ndarray]:
    """Return a grid, twins, a clique, two hubs that share a third, and pairs of all kinds."""
    side = np.arange(400).reshape(20, 20)
    edges = [np.stack([side[:, 1:].ravel(), side[:, :-1].ravel()], axis=1)]
    edges.append(np.stack([side[1:].ravel(), side[:-1].ravel()], axis=1))
    rng = np.random.default_rng(0)
    for group in range(30):  # 30 times 4 twins with 8 neighbours each
        ends = 520 + rng.choice(180, 8, replace=False)
        edges += [np.stack([np.full(8, 400 + 4 * group + twin), ends], axis=1) for twin in range(4)]
    edges.append(np.array([(i, j) for i in range(700, 712) for j in range(i) if j >= 700]))
    edges += [
        np.stack([np.full(30, hub), start + np.arange(30)], axis=1) for hub, start in ((712, 0), (713, 20))
    ]
    grid, twins = rng.integers(0, 400, (60, 2)), 400 + rng.integers(0, 120, (30, 2))
    near = np.array([[i, i + 2] for i in range(0, 360, 6)] + [[i, i + 1] for i in range(400, 520, 4)])
    others = np.array([[700, 711], [712, 713], [0, 712], [713, 420], [3, 401], [705, 712]])
    pairs = np.concatenate([grid, twins, near, others])
    return np.concatenate(edges), 714, pairs[pairs[:, 0] != pairs[:, 1]]


@pytest.mark.parametrize("n_bits", [64, 256])
def test_overlaps_are_right_on_average_over_seeds(n_bits):
    """Each pair over 300 seeds; linear counting adds (e**t - t - 1) / 2 to a set of t n_bits nodes."""
    edges, n, pairs = structured_graph()
    near = naive.neighbourhoods(n, edges.tolist(), 1, False)
    exact = np.array([len(near[u] & near[v]) for u, v in pairs])
    t = np.array([(len(near[u]), len(near[v]), len(near[u] | near[v])) for u, v in pairs]) / n_bits
    added = (np.exp(t) - t - 1) / 2 @ np.array([1, 1, -1])
    found = np.array(
        [BloomSignatures(n, n_bits, seed=s).update(edges).common_neighbors(*pairs.T) for s in range(300)]
    )
    # Pairs whose bits never collided do not vary; they are exact up to the curve of linear counting.
    error = found.std(axis=0) / math.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - exact - added) < 6 * error + 0.1 * np.abs(added) + 0.5 / n_bits).all()
    # Cut at 0, estimates are too large on average over pairs that share no neighbour.
    nobody = exact == 0
    mean, spread = found[:, nobody].mean(axis=1), np.maximum(found[:, nobody], 0.0).mean(axis=1)
    assert spread.mean() - mean.mean() > 6 * spread.std() / math.sqrt(len(found))


def test_weights_of_shared_nodes_are_right_on_average_where_degrees_are_alike():
    """On a torus every node has degree 4, so a weight is a constant whatever bits collide."""
    side = np.arange(256).reshape(16, 16)
    edges = np.concatenate(
        [np.stack([side.ravel(), np.roll(side, 1, axis).ravel()], axis=1) for axis in (0, 1)]
    )
    pairs = np.concatenate([np.stack([side.ravel(), np.roll(side, s, (0, 1)).ravel()], 1) for s in (1, 5)])
    near = naive.neighbourhoods(256, edges.tolist(), 1, False)
    exact = np.array([len(near[u] & near[v]) for u, v in pairs])
    errors = []
    for seed in range(200):
        signatures = BloomSignatures(256, 128, seed=seed).update(edges)
        errors.append(
            [
                (signatures.adamic_adar(*pairs.T) - exact / math.log(4)).mean(),
                (signatures.resource_allocation(*pairs.T) - exact / 4).mean(),
            ]
        )
    mean, error = np.mean(errors, axis=0), np.std(errors, axis=0) / math.sqrt(len(errors))
    # Degrees are estimated: by 1 / 256 of 4 nodes too large at most, and with a variance of 4**2 / 256,
    # which moves the mean of a convex weight by less than a hundredth.
    assert (np.abs(mean) < 6 * error + 0.01 * exact.mean()).all()


@pytest.mark.skipif(not CORA.exists(), reason="the Cora graph is not here")
def test_overlaps_on_a_citation_graph_are_as_good_as_linear_counting_can_be():
    """The error of x + y - (x or y) is at most the sum of the three standard deviations."""
    data = np.load(CORA)
    edges, n = data["edges"], int(data["n_nodes"])
    rng = np.random.default_rng(0)
    train = edges[rng.permutation(len(edges))[: int(0.85 * len(edges))]]
    pairs = rng.integers(0, n, (4000, 2))
    near = naive.neighbourhoods(n, train.tolist(), 1, False)
    exact = np.array([len(near[u] & near[v]) for u, v in pairs])
    sizes = np.array([(len(near[u]), len(near[v]), len(near[u] | near[v])) for u, v in pairs])
    for n_bits in (512, 2048):
        found = BloomSignatures(n, n_bits, seed=2).update(train).common_neighbors(*pairs.T)
        t = sizes / n_bits
        deviation = np.sqrt(n_bits * (np.exp(t) - t - 1)).sum(axis=1)
        assert np.mean((found - exact) ** 2) <= np.mean(deviation**2)


@pytest.mark.skipif(not CORA.exists(), reason="the Cora graph is not here")
def test_sums_over_a_citation_graph_are_right_on_average():
    """64 bits, edges and strangers: within 6 standard errors over seeds, and 10 % too large if cut."""
    data = np.load(CORA)
    edges, n = data["edges"], int(data["n_nodes"])
    pairs = np.concatenate([edges[::2], np.random.default_rng(0).integers(0, n, (len(edges) // 2, 2))])
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    near = naive.neighbourhoods(n, edges.tolist(), 1, False)
    t = np.array([(len(near[u]), len(near[v]), len(near[u] | near[v])) for u, v in pairs]) / 64
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # unions with the largest hubs are full
        found = [BloomSignatures(n, 64, seed=s).update(edges).common_neighbors(*pairs.T) for s in range(40)]
    small = t[:, 2] < 1  # where the first term of the bias is most of it
    means = np.array([part[small].mean() for part in found])
    exact = np.mean([len(near[u] & near[v]) for u, v in pairs[small]])
    added = ((np.exp(t[small]) - t[small] - 1) / 2 @ np.array([1, 1, -1])).mean()
    assert abs(means.mean() - exact - added) < 6 * means.std() / math.sqrt(len(means)) + 0.1 * abs(added)
    assert np.mean([np.maximum(part[small], 0.0).mean() for part in found]) > 1.1 * exact


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "n_nodes must be", lambda s: BloomSignatures(0)),
        (ValueError, "n_bits must be", lambda s: BloomSignatures(5, 0)),
        (ValueError, "n_bits must be a multiple of 64", lambda s: BloomSignatures(5, 100)),
        (TypeError, "directed must be True or False", lambda s: BloomSignatures(5, directed=1)),
        (ValueError, "edges must have shape", lambda s: s.update(sparse.csr_array((4, 4)))),
        (ValueError, r"edges must lie in \[0, 5\), got 5", lambda s: s.update([[0, 5]])),
        (ValueError, r"edges must lie in \[0, 5\), got -1", lambda s: s.propagate([[-1, 0]])),
        (ValueError, "n_hops must be 1 to add edges, got 2", lambda s: s.propagate([]).update([[0, 1]])),
        (ValueError, "u and v must have the same length", lambda s: s.common_neighbors([0], [1, 2])),
        (ValueError, r"v must lie in \[0, 5\)", lambda s: s.jaccard([0], [7])),
        (TypeError, "u must be integers", lambda s: s.cardinality([0.5])),
        (ValueError, r"pairs must have shape \(n, 2\)", lambda s: s.link_features([0, 1])),
        (ValueError, "wider must be made by propagate", lambda s: s.link_features([[0, 1]], wider=s)),
        (ValueError, "wider must be made by propagate", lambda s: s.link_features([[0, 1]], wider=3)),
    ],
)
def test_bad_input_is_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call(BloomSignatures(5, 64).update([[0, 1]]))


def test_no_pairs():
    signatures = BloomSignatures(5, 64).update([[0, 1]])
    assert signatures.common_neighbors([], []).shape == (0,)
    assert signatures.link_features(np.empty((0, 2), dtype=int)).shape == (0, 9)
