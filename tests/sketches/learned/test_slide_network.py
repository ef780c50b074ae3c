"""Test the training steps of SlideClassifier against dense NumPy, over threads and over ranges."""

from __future__ import annotations

import naive.slide as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import set_num_threads
from mergesketch.lsh.support.threads import get_num_threads
from mergesketch.sketches.learned.slide_batches import Batch, SparseRows
from mergesketch.sketches.learned.slide_layers import HiddenLayer, OutputLayer
from mergesketch.sketches.learned.slide_network import SlideNetwork
from mergesketch.sketches.learned.slide_settings import SlideSettings
from mergesketch.sketches.learned.slide_weights import Adam, Weights
from scipy.sparse import csr_matrix

RATE = 0.01


def rows_of(X: np.ndarray) -> SparseRows:
    matrix = csr_matrix(X.astype(np.float32))
    return SparseRows(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)


def flat(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    bounds = np.concatenate([[0], np.cumsum([len(some) for some in lists])]).astype(np.int64)
    return np.array([label for some in lists for label in some], np.int32), bounds


def make_settings(**changes: object) -> SlideSettings:
    given = {
        "n_features": 30,
        "n_labels": 200,
        "n_hidden": 20,
        "n_active": 40,
        "negatives": "lsh",
        "family": "signed_random_projection",
        "n_hashes": 10,
        "power": 4,
        "learning_rate": RATE,
        "weights": "float32",
        "rounding": "stochastic",
        "rebuild_interval": 2,
        "n_ranges": 1,
        "seed": 3,
    }
    return SlideSettings(**{**given, **changes})


def make_batches(n: int, size: int = 37, *, n_features: int = 30, n_labels: int = 200) -> list[Batch]:
    rng = np.random.default_rng(5)
    batches = []
    for _ in range(n):
        X = rng.standard_normal((size, n_features + 1)) * (rng.random((size, n_features + 1)) < 0.3)
        X[:, -1] = 1.0
        lists = [sorted(set(rng.integers(0, n_labels, rng.integers(0, 4)).tolist())) for _ in range(size)]
        batches.append(Batch(rows_of(X), *flat(lists)))
    return batches


def state(network: SlideNetwork) -> list[np.ndarray]:
    hidden = network.hidden.weights
    arrays = [hidden.floats, hidden.halves, hidden.first, hidden.second, hidden.steps]
    for part in network.ranges:
        weights = part.layer.weights
        arrays += [weights.floats, weights.halves, weights.first, weights.second, weights.steps]
        arrays.append(part.layer.biases)
    return [array.copy() for array in arrays]


@st.composite
def problems(draw: st.DrawFn) -> tuple:
    n_rows, n_features = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    n_labels, n_hidden = draw(st.integers(1, 7)), draw(st.integers(1, 33))
    seed = draw(st.integers(0, 2**32 - 1))
    steps = []
    for _ in range(draw(st.integers(1, 3))):
        shape = st.lists(st.integers(-3, 3), min_size=n_rows * n_features, max_size=n_rows * n_features)
        X = np.array(draw(shape), float).reshape(n_rows, n_features)
        targets = [draw(st.sets(st.integers(0, n_labels - 1), max_size=3)) for _ in range(n_rows)]
        others = [draw(st.sets(st.integers(0, n_labels - 1))) for _ in range(n_rows)]
        active = [sorted(own) + sorted(more - own) for own, more in zip(targets, others, strict=True)]
        steps.append((np.column_stack([X, np.ones(n_rows)]), targets, active))
    return n_features, n_labels, n_hidden, seed, steps


@settings(max_examples=60, deadline=None)
@given(problems())
def test_a_step_is_that_of_dense_matrices(problem: tuple) -> None:
    n_features, n_labels, n_hidden, seed, steps = problem
    hidden = HiddenLayer(Weights(0, n_features + 1, n_hidden, 0.5, "float32", seed, "hidden"))
    output = OutputLayer(Weights(0, n_labels, n_hidden, 0.5, "float32", seed, "output"))
    inner = naive.Parameters(hidden.weights.rows(0, n_features + 1).astype(float).T.T.copy())
    outer = naive.Parameters(output.weights.rows(0, n_labels).astype(float))
    biases = naive.Parameters(np.zeros((n_labels, 1)))
    adam = Adam.of(RATE)
    for X, targets, active in steps:
        n_targets = np.array([len(own) for own in targets], np.int32)
        n = np.count_nonzero(n_targets)
        rows = rows_of(X)
        activations = hidden.activate(rows)
        np.testing.assert_allclose(
            activations[:, :n_hidden], np.maximum(X @ inner.values, 0), rtol=1e-4, atol=1e-4
        )
        scored = output.score(activations, *flat(active), n_targets)
        maxima = output.maxima(scored)
        sums = output.sums(scored, maxima)
        losses = output.differentiate(scored, n_targets, maxima, sums, 1 / max(n, 1))
        gradients = output.update(activations, scored, adam, 0)
        hidden.update(rows, activations, gradients, adam, 0)
        # A gradient that is 0 but for rounding moves a weight by as much as any other.
        assert not gradients[:, n_hidden:].any()
        expected = naive.train_step(X, targets, active, inner, outer, biases, RATE)
        np.testing.assert_allclose(losses.sum() / max(n, 1), expected, rtol=1e-4, atol=1e-5)
        for ours, theirs in ((hidden.weights, inner), (output.weights, outer)):
            np.testing.assert_allclose(ours.first[:, :n_hidden], theirs.first, rtol=1e-3, atol=2e-6)
            np.testing.assert_allclose(ours.second[:, :n_hidden], theirs.second, rtol=1e-3, atol=1e-8)
            np.testing.assert_array_equal(ours.steps, theirs.steps)
            sure = np.abs(theirs.first) > 1e-4
            np.testing.assert_allclose(ours.floats[:, :n_hidden][sure], theirs.values[sure], atol=1e-3)
            ours.floats[:, :n_hidden] = theirs.values
        np.testing.assert_allclose(output.biases[:, 1], biases.first[:, 0], rtol=1e-3, atol=2e-6)
        output.biases[:, 0] = biases.values[:, 0]


@pytest.mark.parametrize("negatives", ["lsh", "uniform", "frequency"])
@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_threads_change_nothing(negatives: str, weights: str) -> None:
    batches, found, before = make_batches(5, size=150), [], get_num_threads()
    try:
        for n in (1, 2, 3):
            set_num_threads(n)
            network = SlideNetwork(make_settings(negatives=negatives, weights=weights, n_active=120))
            losses = [network.train(batch) for batch in batches]
            found.append([np.array(losses), *state(network)])
    finally:
        set_num_threads(before)
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_with_all_labels_active_ranges_change_roundings_only() -> None:
    batches, found = make_batches(4), []
    for n_ranges in (1, 3):
        network = SlideNetwork(make_settings(n_active=200, n_ranges=n_ranges))
        losses = [network.train(batch) for batch in batches]
        assert all((part.layer.weights.steps == 4).all() for part in network.ranges)
        rows = np.concatenate([part.layer.weights.rows(0, 10**6) for part in network.ranges])
        found.append((losses, rows))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    assert np.median(np.abs(found[0][1] - found[1][1])) < 1e-6
