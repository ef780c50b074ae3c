"""Test attention over few tokens: the naive twins, structured scores, parts that merge, what is refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from mergesketch import get_num_threads, set_num_threads, sparse_attention, top_tokens
from naive import sparse_attention as naive


@given(st.data())
def test_selection_is_its_naive_twin(data: st.DataObject) -> None:
    n_queries, n = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 12))
    k = data.draw(st.integers(1, 14))
    sinks = data.draw(st.integers(0, k))
    window = data.draw(st.integers(0, k - sinks))
    # Few different scores, so that many are equal; infinite ones, too.
    some = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, np.inf])
    scores = np.array([data.draw(st.lists(some, min_size=n, max_size=n)) for _ in range(n_queries)])
    scores = scores.reshape(n_queries, n)
    positions = [data.draw(st.integers(-1, n - 1)) for _ in range(n_queries)]
    found = top_tokens(scores, k, sinks=sinks, window=window, positions=np.array(positions, np.int64))
    expected = naive.top_tokens(scores, k, sinks, window, positions)
    assert found.shape == (n_queries, k)
    for row, tokens in zip(found.tolist(), expected, strict=True):
        assert row == tokens + [-1] * (k - len(tokens))
    last = naive.top_tokens(scores, k, sinks, window, [n - 1] * n_queries)
    found = top_tokens(scores, k, sinks=sinks, window=window)
    assert [[t for t in row if t >= 0] for row in found.tolist()] == last


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 7), st.integers(0, 5))
def test_attention_is_its_naive_twin(seed: int, n: int, d: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    Q, K = rng.integers(-9, 10, (3, 1 + d)) / 4.0, rng.integers(-9, 10, (n, 1 + d)) / 4.0
    V, tokens = rng.standard_normal((n, 2)), rng.integers(-1, n, (3, k))
    scale = float(rng.choice([0.5, -1.0, 40.0]))
    expected = naive.attention(Q, K, V, [[t for t in row if t >= 0] for row in tokens.tolist()], scale)
    for found, right in zip(sparse_attention(Q, K, V, tokens, scale=scale), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-12)


def test_all_tokens_are_dense_attention() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((n, 16)).astype(np.float32) for n in (5, 300, 300))
    logits = Q.astype(float) @ K.astype(float).T / 4.0
    weights = np.exp(logits)
    outputs, log_masses = sparse_attention(Q, K, V)
    np.testing.assert_allclose(outputs, weights @ V / weights.sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(log_masses, np.log(weights.sum(axis=1)), rtol=1e-6)
    kept = sparse_attention(Q, K, V, top_tokens(logits, 30)).log_masses
    best = np.sort(weights, axis=1)[:, -30:].sum(axis=1) / weights.sum(axis=1)
    np.testing.assert_allclose(np.exp(kept - log_masses), best, rtol=1e-6)


def test_parts_merge() -> None:
    rng = np.random.default_rng(1)
    Q, K, V = rng.standard_normal((4, 8)), 3.0 * rng.standard_normal((50, 8)), rng.standard_normal((50, 2))
    whole = sparse_attention(Q, K, V)
    parts = [sparse_attention(Q, K[a:b], V[a:b]) for a, b in ((0, 20), (20, 50))]
    masses = np.array([part.log_masses for part in parts])
    shares = np.exp(masses - np.logaddexp.reduce(masses, axis=0))
    merged = sum(share[:, None] * part.outputs for share, part in zip(shares, parts, strict=True))
    np.testing.assert_allclose(merged, whole.outputs, rtol=1e-10)
    np.testing.assert_allclose(np.logaddexp.reduce(masses, axis=0), whole.log_masses, rtol=1e-12)


def test_parts_without_tokens_are_left_out() -> None:
    rng = np.random.default_rng(1)
    Q, K, V = rng.standard_normal((4, 8)), rng.standard_normal((50, 8)), rng.standard_normal((50, 2))
    tokens = np.where(np.arange(4)[:, None] == 2, -1, np.arange(20))  # the third query has none
    parts = [sparse_attention(Q, K[20:], V[20:]), sparse_attention(Q, K, V, tokens)]
    masses = np.array([part.log_masses for part in parts])
    shares = np.exp(masses - np.logaddexp.reduce(masses, axis=0))[:, :, None]
    merged = sum(
        np.where(share > 0.0, share * part.outputs, 0.0) for share, part in zip(shares, parts, strict=True)
    )
    whole = sparse_attention(Q, K, V).outputs
    whole[2] = parts[0].outputs[2]
    np.testing.assert_allclose(merged, whole, rtol=1e-10)


def test_masked_tokens_are_not_selected() -> None:
    masked = [[0.3, -np.inf, -np.inf, -np.inf], [-np.inf, 1.0, 2.0, -np.inf]]
    assert top_tokens(masked, 2).tolist() == [[0, -1], [1, 2]]
    assert top_tokens(masked, 3, sinks=1, window=1).tolist() == [[0, -1, -1], [1, 2, -1]]
    assert top_tokens(masked, 9, sinks=1, positions=[3, 1]).tolist() == [[0, *[-1] * 8], [1, *[-1] * 8]]
    assert top_tokens(np.full((1, 3), -np.inf), 2, window=1).tolist() == [[-1, -1]]


def test_long_doubles_beyond_float64_give_no_warning() -> None:
    K = (
        np.array([["1", "1e4000"]], np.longdouble).T
        if np.finfo(np.longdouble).max > 1e308
        else np.ones((2, 1))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sparse_attention([[1.0]], K, [[1.0], [2.0]], [[0]]).outputs.tolist() == [[1.0]]


def test_containers_and_threads_change_nothing() -> None:
    rng = np.random.default_rng(2)
    Q, K, V = (rng.integers(-9, 10, (n, 6)).astype(np.float64) for n in (70, 90, 90))
    tokens = top_tokens(Q @ K.T, 12, sinks=2, window=3)
    expected = sparse_attention(Q, K, V, tokens)
    forms: list[Any] = [np.asfortranarray, np.ndarray.tolist, scipy.sparse.csr_matrix]
    forms += [lambda X, dtype=dtype: X.astype(dtype) for dtype in (">f8", "f4", "i1", "f2")]
    before = [X.copy() for X in (Q, K, V)]
    for form in forms:
        found = sparse_attention(form(Q), form(K), form(V), tokens.tolist())
        np.testing.assert_array_equal(found.outputs, expected.outputs)
    for given_, kept in zip((Q, K, V), before, strict=True):
        np.testing.assert_array_equal(given_, kept)
    threads = get_num_threads()
    try:
        for n_threads in (1, 3):
            set_num_threads(n_threads)
            np.testing.assert_array_equal(sparse_attention(Q, K, V, tokens).outputs, expected.outputs)
            np.testing.assert_array_equal(top_tokens(Q @ K.T, 12, sinks=2, window=3), tokens)
    finally:
        set_num_threads(threads)


def test_empty_and_structured() -> None:
    assert sparse_attention(np.empty((0, 3)), np.ones((2, 3)), np.ones((2, 1))).outputs.shape == (0, 1)
    nothing = sparse_attention(np.ones((2, 3)), np.empty((0, 3)), np.empty((0, 1)))
    assert np.isnan(nothing.outputs).all() and (nothing.log_masses == -np.inf).all()
    # Logits whose exponentials overflow, and equal keys.
    K = np.tile([[1e18, 0.0]], (5, 1))
    outputs, _ = sparse_attention(K[:1], K, np.arange(5.0)[:, None], scale=1.0)
    assert outputs.tolist() == [[2.0]]
    # Sums of large values, and rows of NaN that no query selects.
    large = sparse_attention([[1.0]], [[1.0], [1.0]], [[1.5e308], [1.5e308]])
    assert large.outputs.tolist() == [[1.5e308]]
    K = np.array([[1.0], [np.nan]])
    assert sparse_attention([[1.0]], K, K, [[0, -1]]).outputs.tolist() == [[1.0]]
    assert top_tokens(np.zeros((1, 9)), 3).tolist() == [[0, 1, 2]]
    assert top_tokens(np.zeros((2, 0)), 3).tolist() == [[-1] * 3] * 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: top_tokens([[np.nan]], 1), "scores must not be NaN"),
        (lambda: top_tokens([1.0], 1), r"scores must have shape \(n_queries, n\)"),
        (lambda: top_tokens([[1.0]], 3, sinks=2, window=2), r"sinks \+ window must be at most k = 3"),
        (lambda: top_tokens([[1.0]], 1, positions=[1]), "positions must be from -1 to 0"),
        (lambda: top_tokens([[1.0]], 0), "k must be an integer from 1"),
        (lambda: top_tokens([[1.0]], 1, positions=[True]), "positions must be integers, got bool"),
        (lambda: sparse_attention([[1.0]], [[1.0]], [[1.0]], [[1]]), "tokens must be from -1 to 0"),
        (lambda: sparse_attention([[1.0]], [[1.0]], [[1.0]], [[0.0]]), "tokens must be integers"),
        (lambda: sparse_attention([[1.0]], [[1.0]], [[1.0]], [[0], [0]]), "tokens must have shape"),
        (lambda: sparse_attention([[1.0, 2.0]], [[1.0]], [[1.0]]), "Q must have 1 columns, as K has"),
        (lambda: sparse_attention([[1.0]], [[1.0]], [[1.0], [2.0]]), "V must have 1 rows"),
        (lambda: sparse_attention([[np.inf]], [[1.0]], [[1.0]]), "Q, K and scale must be finite"),
        (lambda: sparse_attention([[1.0]], [[np.nan], [1.0]], [[1.0]] * 2), "got others for query 0"),
        (lambda: sparse_attention([[1e200]], [[1e200], [-1e200]], [[1.0]] * 2), "and so their products"),
        # No product is finite, or above minus infinity.
        (lambda: sparse_attention([[np.nan]], [[1.0], [2.0]], [[1.0]] * 2), "Q, K and scale must be finite"),
        (lambda: sparse_attention([[1.0], [np.nan]], [[1.0]], [[1.0]]), "got others for query 1"),
        (lambda: sparse_attention([[1.0]], [[np.nan]], [[1.0]]), "got others for query 0"),
        (lambda: sparse_attention([[1.0]], [[-np.inf]], [[1.0]]), "got others for query 0"),
        (lambda: sparse_attention([[-1e200]], [[1e200]] * 2, [[1.0]] * 2), "and so their products"),
        (lambda: sparse_attention([[1.0]], [[1.0]], [[1.0]], scale=1e308 * 10), "scale must be a number"),
        (lambda: sparse_attention([[2.0]], [[1.0]], [[1.0]], scale=1e308), "and so their products"),
        (lambda: sparse_attention([[1.0]], [[1.0]], [[np.nan]]), "V must be finite"),
        (lambda: sparse_attention(np.ones((2, 0)), np.ones((3, 0)), np.ones((3, 1))), "at least one column"),
        (lambda: sparse_attention([1.0], [[1.0]], [[1.0]]), "Q must be a matrix"),
        (lambda: sparse_attention([["a"]], [[1.0]], [[1.0]]), "Q must hold real numbers"),
        (lambda: sparse_attention([[1.0]], [[1.0]], [[1.0]], scale=np.nan), "scale must be a number"),
    ],
)
def test_bad_arguments_are_refused(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
