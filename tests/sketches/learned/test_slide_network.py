"""Test the training steps of SlideClassifier against dense NumPy, over threads and over ranges."""

from __future__ import annotations

from itertools import pairwise

import naive.slide as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import set_num_threads
from mergesketch.lsh.support.threads import get_num_threads
from mergesketch.sketches.kernels import slide_sampling
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


@pytest.mark.slow
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


# -- choosing labels ------------------------------------------------------------------------------


def choose(tables: tuple, codes: np.ndarray, targets: list, shared: list, budget: int, most: int, seed: int):
    labels, bounds = flat(targets)
    n = len(targets)
    room = max(map(len, targets)) + len(shared) + budget + 1
    active, n_found, counts = np.empty((n, room), np.int32), np.empty(n, np.int64), np.empty(n, np.int64)
    slide_sampling.choose_labels(
        labels, bounds, np.array(shared, np.int32), codes, *tables, budget, most, np.uint64(seed), 0, n,
        active, n_found, counts,
    )  # fmt: skip
    return [row[:count].tolist() for row, count in zip(active, counts, strict=True)], n_found.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 5), st.integers(1, 4))
def test_active_labels_are_those_in_the_buckets(seed: int, n: int, n_tables: int, n_buckets: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n_buckets, (n, n_tables)).astype(np.uint32)
    starts = np.zeros((n_tables, n_buckets + 1), np.int32)
    labels = np.zeros((n_tables, n), np.int32)
    slide_sampling.build_tables(codes, 0, n_tables, starts, labels)
    tables = [
        {c: np.flatnonzero(codes[:, t] == c).tolist() for c in range(n_buckets)} for t in range(n_tables)
    ]
    for t in range(n_tables):
        for c in range(n_buckets):
            assert labels[t, starts[t, c] : starts[t, c + 1]].tolist() == tables[t][c]
    rows = rng.integers(0, n_buckets, (6, n_tables)).astype(np.uint32)
    targets = [rng.permutation(n)[: rng.integers(0, min(n, 3) + 1)].tolist() for _ in rows]
    shared = rng.permutation(n)[:3].tolist()
    for budget, most in ((n, n), (2, n), (n, 1), (0, 1)):
        chosen, n_found = choose((starts, labels), rows, targets, shared, budget, most, seed)
        for row, own, all_of_row, found in zip(rows, targets, chosen, n_found, strict=True):
            hashed = naive.found_labels(tables, row.tolist()) - set(own)
            assert len(set(all_of_row)) == len(all_of_row)
            assert all_of_row[: len(own)] == own
            hits = set(all_of_row[len(own) : found])
            assert hits <= hashed
            assert len(hits) == min(budget, len(hashed)) or most == 1
            assert all_of_row[found:] == [label for label in shared if label not in {*own, *hits}]


def test_labels_of_a_large_bucket_are_equally_likely() -> None:
    n, budget, rounds = 50, 10, 4000
    starts, labels = np.array([[0, n]], np.int32), np.arange(n, dtype=np.int32)[None]
    codes, hits = np.zeros((rounds, 1), np.uint32), np.zeros(n)
    for row in choose((starts, labels), codes, [[]] * rounds, [], budget, budget, 9)[0]:
        assert len(row) == budget
        hits[row] += 1
    share = budget / n
    assert np.abs(hits / rounds - share).max() < 6 * np.sqrt(share * (1 - share) / rounds)


@pytest.mark.parametrize("negatives", ["uniform", "frequency"])
def test_random_labels_stand_for_all_others(negatives: str) -> None:
    """The sum over active labels estimates the sum of the exponentials over all labels without bias."""
    settings_ = make_settings(negatives=negatives, n_active=60)
    network, batch = SlideNetwork(settings_), make_batches(1, size=4)[0]
    (part,) = network.ranges
    part.layer.biases[:, 0] = np.linspace(-2, 2, 200)
    if negatives == "frequency":
        part.set_frequencies(np.arange(200) ** 2)
    hidden = network.hidden.activate(batch.rows)
    sums = []
    for step in range(600):
        scored = part.score(hidden, batch, step)
        sums.append(part.layer.sums(scored, np.zeros(4, np.float32)))
    weights = part.layer.weights.rows(0, 200)
    wanted = np.exp(hidden[:, :20] @ weights.T + part.layer.biases[:, 0]).sum(axis=1)
    error = np.std(sums, axis=0) / np.sqrt(len(sums))
    assert (np.abs(np.mean(sums, axis=0) - wanted) < 6 * error).all()
    assert (error < 0.02 * wanted).all()


# -- bfloat16 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_bfloat16_weights_are_next_to_those_in_float32(rounding: str) -> None:
    batch = make_batches(1, size=8)[0]
    one = SlideNetwork(make_settings(n_active=200, weights="bfloat16", rounding=rounding))
    two = SlideNetwork(make_settings(n_active=200))
    for ours, theirs in ((one.hidden, two.hidden), (one.ranges[0].layer, two.ranges[0].layer)):
        theirs.weights.set_rows(0, ours.weights.rows(0, 10**6))
    one.train(batch)
    two.train(batch)
    found, exact = one.ranges[0].layer.weights.rows(0, 200), two.ranges[0].layer.weights.rows(0, 200)
    n_far, errors, steps = 0, [], []
    for value, rounded in zip(exact.ravel().tolist(), found.ravel().tolist(), strict=True):
        low, high = naive.bfloat16_neighbours(value)
        assert rounded in (low, high)
        nearer = low if abs(value - low) <= abs(value - high) else high
        n_far += rounded != nearer
        errors.append(rounded - value)
        steps.append(high - low)
    if rounding == "nearest":
        assert n_far == 0
    else:
        # Half of a step is the largest deviation of a number that is rounded to one of its neighbours.
        assert abs(np.sum(errors)) < 6 * np.sqrt(np.sum(np.square(steps)) / 4)
        assert n_far > 100


@pytest.mark.parametrize("negatives", ["lsh", "uniform", "frequency"])
def test_with_all_labels_active_training_is_that_of_the_full_softmax(negatives: str) -> None:
    network = SlideNetwork(make_settings(n_labels=20, n_active=20, negatives=negatives))
    (part,) = network.ranges
    if negatives == "frequency":
        part.set_frequencies(np.arange(20))
    inner = naive.Parameters(network.hidden.weights.rows(0, 31).astype(float))
    outer = naive.Parameters(part.layer.weights.rows(0, 20).astype(float))
    biases, every = naive.Parameters(np.zeros((20, 1))), list(range(20))
    for batch in make_batches(6, size=12, n_labels=20):
        rows = csr_matrix((batch.rows.values, batch.rows.columns, batch.rows.bounds), shape=(12, 31))
        targets = [set(batch.targets[a:b].tolist()) for a, b in pairwise(batch.bounds)]
        loss = network.train(batch)
        X = rows.toarray().astype(float)
        expected = naive.train_step(X, targets, [every] * 12, inner, outer, biases, RATE)
        assert loss == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(part.layer.weights.first[:, :20], outer.first, rtol=0.01, atol=1e-5)
    np.testing.assert_array_equal(part.layer.weights.steps, np.full(20, 6))
