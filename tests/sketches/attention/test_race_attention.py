"""Test attention from counters: the naive twin, the limit, causal parts, structured tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import RaceAttention
from naive import race_attention as naive
from numpy.typing import NDArray

D, M = 6, 3


def vectors_of(context: RaceAttention) -> NDArray[np.float64]:
    """Return the random vectors by table and bit."""
    stacked = context.family.vectors.astype(np.float64)
    return stacked.reshape(context.power, context.n_hashes, -1).transpose(1, 0, 2)


def structured(name: str, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if name == "one-hot":
        return np.eye(D)[rng.integers(0, D, n)]
    if name == "grid":
        return rng.integers(-1, 2, (n, D)).astype(np.float64)
    if name == "repeats":
        return rng.standard_normal((3, D))[rng.integers(0, 3, n)]
    if name == "few entries":
        return rng.standard_normal((n, D)) * (rng.random((n, D)) < 0.3)
    return rng.standard_normal((n, D))


ROWS = ("normal", "one-hot", "grid", "repeats", "few entries")


@pytest.mark.parametrize("beta", [None, 0.3, 5.0])
@settings(max_examples=settings.default.max_examples // 4)
@given(st.data())
def test_it_is_its_naive_twin(beta: float | None, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, power = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4))
    rows = structured(data.draw(st.sampled_from(ROWS)), 3 * n, rng)
    Q, K, V = rows[:n], rows[n : 2 * n], rng.standard_normal((n, M))
    context = RaceAttention(D, M, 3, power=power, beta=beta, seed=data.draw(st.integers(0, 99)))
    if beta is None:
        # The sign of a product that is 0 up to rounding is the family's own; its tests tell which it is.
        products = np.abs(rows @ context.family.vectors.T.astype(np.float64))
        exact = (rows == 0.0).all(axis=1)[:, None]
        if ((products < 1e-12) & ~exact).any():
            return
    vectors = vectors_of(context)
    # Weights are rounded to 2**-24, of which a query of 1e-7 of the mass could have seen nothing.
    tolerance: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}
    causal = context.copy().causal(Q, K, V)
    np.testing.assert_allclose(causal, naive.attention(Q, K, V, vectors, beta, True), **tolerance)
    context.update(K, V)
    np.testing.assert_allclose(context.query(Q), naive.attention(Q, K, V, vectors, beta, False), **tolerance)


@pytest.mark.parametrize("name", ROWS)
def test_hard_codes_converge_to_the_angular_kernel(name: str) -> None:
    rng, n, n_tables = np.random.default_rng(0), 60, 4000
    K, V, Q = structured(name, n, rng), rng.standard_normal((n, M)), structured(name, 5, rng)
    context = RaceAttention(D, M, n_tables, power=3, seed=2).update(K, V)
    kernel = context.family.kernel(Q, K)
    # A table adds up n numbers, 1 with probability k: at most n times the sum of the variances k (1 - k).
    error = np.sqrt(n * (kernel * (1.0 - kernel)).sum(axis=1) / n_tables)
    assert (np.abs(context.kernel_sum(Q) - kernel.sum(axis=1)) <= 6.0 * error + 1e-9).all()
    numerator = kernel @ V
    # The same holds for the kernel times the distance of a value from the mean.
    means = numerator / kernel.sum(axis=1, keepdims=True)
    spread = ((V[None] - means[:, None]) ** 2 * (kernel * (1.0 - kernel))[:, :, None]).sum(axis=1)
    error = np.sqrt(n * spread / n_tables) / kernel.sum(axis=1, keepdims=True)
    assert (np.abs(context.query(Q) - means) <= 7.0 * error + 1e-9).all()


def test_sharp_soft_codes_are_hard_codes() -> None:
    rng = np.random.default_rng(1)
    K, V, Q = rng.standard_normal((50, D)), rng.standard_normal((50, M)), rng.standard_normal((9, D))
    hard = RaceAttention(D, M, 20, power=4, seed=1).update(K, V)
    # Some products are near 0, where even a sharp softmax decides softly.
    soft = RaceAttention(D, M, 20, power=4, beta=1e9, seed=1).update(K, V)
    np.testing.assert_allclose(soft.query(Q), hard.query(Q), atol=1e-6)
    assert RaceAttention(D, M, beta=np.inf) == RaceAttention(D, M)


@pytest.mark.parametrize("beta", [None, 1.5])
def test_parts_of_a_sequence_are_the_whole(beta: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    Q, K = rng.standard_normal((2, 70, D))
    V = rng.integers(-99, 99, (70, M)).astype(np.float64)
    whole = RaceAttention(D, M, 8, power=3, beta=beta, seed=1)
    expected = whole.causal(Q, K, V)
    parts = whole.empty_like()
    found = [parts.causal(Q[a:b], K[a:b], V[a:b]) for a, b in ((0, 0), (0, 1), (1, 40), (40, 70))]
    np.testing.assert_array_equal(np.vstack(found), expected)
    assert parts == whole == whole.empty_like().update(K, V)
    monkeypatch.setattr("mergesketch.sketches.attention.race_attention._ENTRIES", 8 * 8 * 7)
    np.testing.assert_array_equal(whole.empty_like().causal(Q, K, V), expected)
    np.testing.assert_array_equal(whole.query(Q)[-1], expected[-1])


@pytest.mark.parametrize("beta", [None, 1.5])
def test_a_window_is_what_is_left_after_subtraction(beta: float | None) -> None:
    rng = np.random.default_rng(4)
    K, V, Q = rng.standard_normal((90, D)), rng.integers(-9, 9, (90, M)), rng.standard_normal((5, D))
    empty = RaceAttention(D, M, 8, power=3, beta=beta, seed=1)
    window = empty.copy().update(K, V).subtract(empty.copy().update(K[:60], V[:60]))
    last = empty.copy().update(K[60:], V[60:])
    assert window == last
    np.testing.assert_array_equal(window.query(Q), last.query(Q))


def test_queries_of_empty_buckets_get_the_fill() -> None:
    context = RaceAttention(2, 1, 3, power=8, seed=1)
    assert np.isnan(context.query([[1.0, 0.0]])).all()
    context.update([[1.0, 0.0]], [[5.0]])
    assert context.query([[1.0, 0.0]]).tolist() == [[5.0]]
    assert context.query([[-1.0, 0.0]], fill=7).tolist() == [[7.0]]
    assert np.isnan(context.causal([[-1.0, 0.0]], [[1.0, 0.0]], [[1.0]])).all()
    assert context.query(np.empty((0, 2))).shape == (0, 1)


def test_long_rows_do_not_overflow() -> None:
    for beta in (None, 2.0):
        context = RaceAttention(2, 1, 30, power=2, beta=beta, seed=1)
        K = np.array([[1e300, 1e300], [-1e300, 1e-300], [0.0, 0.0], [5e-324, 0.0]])
        output = context.update(K, [[1.0], [2.0], [3.0], [4.0]]).query(K)
        assert np.isfinite(output).all() and (output >= 1.0).all() and (output <= 4.0).all()


def test_what_it_refuses_leaves_nothing_behind() -> None:
    context = RaceAttention(D, M, 4, power=2, seed=1)
    K, V = np.ones((5, D)), np.ones((5, M))
    with pytest.raises(ValueError, match="Q must have 5 rows, one for each row of K, got 4"):
        context.causal(K[:4], K, V)
    with pytest.raises(ValueError, match=r"V must have shape \(5, 3\)"):
        context.causal(K, K, V[:, :2])
    with pytest.raises(TypeError, match="fill must be a number"):
        context.query(K, fill=np.zeros(2))
    with pytest.raises(ValueError, match="beta must be a number in"):
        RaceAttention(D, M, beta=0.0)
    with pytest.raises(ValueError, match=r"n_hashes \* 2\*\*power \* \(1 \+ n_values\) must be at most"):
        RaceAttention(D, 1 << 20, power=12)
    assert context == RaceAttention(D, M, 4, power=2, seed=1) and context.n_updates == 0
