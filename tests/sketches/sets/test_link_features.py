"""Test the transformer of link features: scikit-learn's checks, counts, pipelines, merging and bad input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mergesketch import BloomSignatures, LinkFeatures
from mergesketch.errors import IncompatibleSketchError
from paths import SHARED
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

EDGES = np.array([[0, 2], [0, 3], [1, 2], [1, 3], [1, 4], [4, 5]])
PAIRS = np.array([[0, 1], [0, 5], [3, 2], [5, 5]])


def random_edges(n: int, nodes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, nodes, (n, 2))


@parametrize_with_checks([LinkFeatures(), LinkFeatures(n_hops=2, n_bits=128)])
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


# -- features -------------------------------------------------------------------------------------


def test_features_are_those_of_signatures() -> None:
    edges, pairs = random_edges(300, 40), random_edges(60, 40, seed=1)
    signatures = BloomSignatures(40, 512, seed=7).update(edges)
    ours = LinkFeatures(n_nodes=40, n_bits=512, random_state=7).fit(edges)
    assert ours.sketch_ == signatures
    np.testing.assert_array_equal(ours.transform(pairs), signatures.link_features(pairs))
    np.testing.assert_array_equal(ours.fit_transform(edges), signatures.link_features(edges))
    assert ours.get_feature_names_out().tolist() == list(BloomSignatures.feature_names)
    wide = LinkFeatures(n_nodes=40, n_bits=512, n_hops=2, random_state=7).fit(edges)
    np.testing.assert_array_equal(
        wide.transform(pairs), signatures.link_features(pairs, signatures.propagate(edges))
    )
    assert len(wide.get_feature_names_out()) == wide.transform(pairs).shape[1] == 13
    one_way = LinkFeatures(n_nodes=40, n_bits=512, directed=True, random_state=7).fit(edges)
    assert one_way.sketch_ == BloomSignatures(40, 512, directed=True, seed=7).update(edges)


def test_counts_of_a_small_graph_are_exact_up_to_linear_counting() -> None:
    found = LinkFeatures(n_bits=8192).fit(EDGES).transform(PAIRS)
    # Sizes of both neighbourhoods, common neighbours and union, counted by hand.
    wanted = [[2, 3, 2, 3], [1, 2, 0, 3], [2, 2, 2, 2], [1, 1, 1, 1]]
    np.testing.assert_allclose(found[:, :4], wanted, atol=0.01)


def test_the_number_of_bits_follows_the_degrees() -> None:
    assert LinkFeatures().fit(EDGES).sketch_.n_bits == 256
    edges = random_edges(30_000, 100)
    assert LinkFeatures().fit(edges).sketch_.n_bits == pytest.approx(4 * 2 * 30_000 / 100, rel=0.2)
    # One hub does not count.
    star = np.column_stack([np.zeros(5000, int), np.arange(1, 5001)])
    assert LinkFeatures().fit(star).sketch_.n_bits == 256


def test_edges_are_the_pairs_or_those_given_or_those_with_a_label() -> None:
    given = LinkFeatures(edges=EDGES).fit(PAIRS, [0, 1, 0, 1])
    assert given.sketch_ == LinkFeatures().fit(EDGES).sketch_
    labelled = LinkFeatures(n_nodes=6).fit(np.vstack([EDGES, PAIRS]), [1] * 6 + [0] * 4)
    assert labelled.sketch_ == LinkFeatures(n_nodes=6).fit(EDGES).sketch_
    flags = LinkFeatures(n_nodes=6).fit(np.vstack([EDGES, PAIRS]), np.arange(10) < 6)
    assert flags.sketch_ == labelled.sketch_
    # The nodes of pairs are nodes of the graph, though they have no edges.
    assert LinkFeatures(edges=EDGES).fit([[0, 9]]).sketch_.n_nodes == 10


def test_tables_and_other_columns() -> None:
    table = pd.DataFrame({"from": EDGES[:, 0], "to": EDGES[:, 1], "when": ["monday"] * 6})
    expected = LinkFeatures().fit_transform(EDGES)
    features = LinkFeatures().set_output(transform="pandas")
    found = features.fit_transform(table)
    assert found.columns.tolist() == list(BloomSignatures.feature_names)
    np.testing.assert_array_equal(found.to_numpy(), expected)
    turned = LinkFeatures(columns=(2, 0)).fit_transform(table[["to", "when", "from"]])
    np.testing.assert_array_equal(turned, expected)
    chosen = make_column_transformer((LinkFeatures(), ["from", "to"])).fit_transform(table)
    np.testing.assert_array_equal(chosen, expected)
    np.testing.assert_array_equal(LinkFeatures().fit_transform(EDGES.tolist()), expected)
    np.testing.assert_array_equal(LinkFeatures().fit_transform(EDGES.astype(float)), expected)


def test_no_edges() -> None:
    empty = LinkFeatures(edges=np.empty((0, 2), int), n_nodes=5).fit(PAIRS[:1])
    assert (empty.transform([[0, 4]]) == 0).all()


@pytest.mark.skipif(not (SHARED / "cora.npz").exists(), reason="the Cora graph is not here")
def test_links_of_cora_are_predicted_in_a_pipeline() -> None:
    cora = np.load(SHARED / "cora.npz")
    edges, nodes = cora["edges"], int(cora["n_nodes"])
    rng = np.random.default_rng(0)
    edges = rng.permutation(np.unique(np.sort(edges, axis=1), axis=0))
    n = len(edges) // 5
    test, train, graph = edges[:n], edges[n : 2 * n], edges[2 * n :]
    X, Q = (np.vstack([part, rng.integers(0, nodes, part.shape)]) for part in (train, test))
    y = np.repeat([1, 0], n)
    model = make_pipeline(
        LinkFeatures(n_nodes=nodes, n_hops=2, edges=graph), StandardScaler(), LogisticRegression()
    )
    area = roc_auc_score(y, model.fit(X, y).predict_proba(Q)[:, 1])
    # Chance is 1/2, with a standard error of about sqrt(1 / (6 n)).
    assert area > 0.5 + 6 * np.sqrt(1 / (6 * n))


# -- merging --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_hops", [1, 2])
def test_parts_merge_into_the_whole(n_hops: int) -> None:
    edges, pairs = random_edges(400, 50), random_edges(80, 50, seed=1)
    made = LinkFeatures(n_nodes=50, n_bits=256, n_hops=n_hops)
    whole = LinkFeatures(**made.get_params()).fit(edges)
    parts = [LinkFeatures(**made.get_params()).fit(part) for part in np.array_split(edges, 3)]
    both = parts[0] | parts[1]
    merged = parts[0].merge(parts[1:])
    for model in (merged, both | parts[2]):
        assert model.sketch_ == whole.sketch_
        np.testing.assert_array_equal(model.transform(pairs), whole.transform(pairs))


def test_a_merge_that_is_refused_changes_nothing() -> None:
    model = LinkFeatures(n_nodes=9).fit(EDGES)
    before = model.sketch_.copy()
    for other, message in (
        (LinkFeatures(n_nodes=10).fit(EDGES), "n_nodes"),
        (LinkFeatures(n_nodes=9, random_state=1).fit(EDGES), "seed"),
        (LinkFeatures(n_nodes=9, n_hops=2).fit(EDGES), "differ in n_hops_: 1 here, 2 there"),
    ):
        with pytest.raises(IncompatibleSketchError, match=message):
            model.merge(other)
        assert model.sketch_ == before


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "X", "error", "message"),
    [
        ({}, [[0, 1.5]], ValueError, "X must hold integers, the numbers of nodes"),
        ({}, [[0, -1]], ValueError, "X must hold numbers of nodes from 0 on, got -1"),
        ({}, [["a", "b"]], TypeError, "X must hold integers, the numbers of nodes, got dtype"),
        ({}, [[0, 1e300]], ValueError, "X must hold integers"),
        ({"edges": [[0, 1, 2]]}, EDGES, ValueError, r"edges must have shape \(n, 2\), pairs of nodes"),
        ({"edges": [["a", "b"]]}, EDGES, TypeError, "edges must hold integers"),
        ({"n_nodes": 5}, EDGES, ValueError, "5"),
        ({"n_nodes": 0}, EDGES, ValueError, "n_nodes must be an integer from 1"),
        ({"n_bits": 100}, EDGES, ValueError, "n_bits must be a multiple of 64"),
        ({"n_bits": "many"}, EDGES, TypeError, "n_bits must be an integer"),
        ({"n_hops": 3}, EDGES, ValueError, "n_hops must be an integer from 1 to 2"),
        ({"directed": 1}, EDGES, TypeError, "directed must be True or False"),
        ({"columns": (0, 2)}, EDGES, ValueError, "columns must be an integer from 0 to 1|column"),
        ({"columns": 0}, EDGES, ValueError, "columns must be two numbers of columns of X, got 0"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments: dict, X, error: type, message: str) -> None:
    model = LinkFeatures().fit(EDGES)
    before = model.sketch_
    with pytest.raises(error, match=message):
        model.set_params(**arguments).fit(X)
    assert model.sketch_ is before


def test_bad_calls() -> None:
    model = LinkFeatures().fit(EDGES)
    with pytest.raises(ValueError, match="6"):
        model.transform([[0, 6]])
    with pytest.raises(ValueError, match="y must have 6 labels, one a pair, got 2"):
        model.fit(EDGES, [0, 1])
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        model.fit(EDGES[:, :1])
