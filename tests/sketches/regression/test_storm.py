"""Test StormSketch: counters against plain signs, and moments against exact ones."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import StormSketch
from naive import storm as naive


def rows(seed: int, n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((d, d)) / math.sqrt(d)
    return rng.standard_normal((n, d)) @ mixing / 3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 150), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32))
def test_counters_are_products_of_signs(n: int, d: int, n_frames: int, seed: int) -> None:
    sketch = StormSketch(d, n_frames, max_norm=0.8, seed=seed)
    Z = rows(seed, n, d)
    sketch.update(Z[: n // 2]).update(Z[n // 2 :])
    frames = sketch._frames.astype(np.float32).astype(np.float64)
    expected = naive.sign_products(Z / 0.8, frames)
    assert sketch.state["products"].array.tolist() == expected
    assert sketch.n_clipped == (np.linalg.norm(Z, axis=1) > 0.8).sum()
    assert StormSketch(d, n_frames, max_norm=0.8, seed=seed).update(scipy.sparse.csr_array(Z)) == sketch


def test_frames_are_orthonormal() -> None:
    for d in (1, 5, 31, 40):
        frames = StormSketch(d, 20, seed=1)._frames
        assert frames.shape == (20, min(d + 1, 32), d + 1)
        np.testing.assert_allclose(
            frames @ frames.transpose(0, 2, 1), np.eye(frames.shape[1])[None].repeat(20, 0), atol=1e-12
        )


@pytest.mark.filterwarnings("ignore:.*have been shortened")
@pytest.mark.parametrize(("d", "max_norm"), [(3, 1.0), (6, 2.5), (45, 1.5)])
def test_moments_are_unbiased_and_err_as_their_standard_error_says(d: int, max_norm: float) -> None:
    Z = rows(2, 500, d)
    lengths = np.linalg.norm(Z, axis=1, keepdims=True)
    clipped = Z * np.minimum(1, max_norm / lengths)
    exact = clipped.T @ clipped / len(Z)
    scores, estimates = [], []
    for seed in range(30):
        sketch = StormSketch(d, 40, max_norm=max_norm, seed=seed).update(Z)
        moments, std = sketch.second_moments(return_std=True)
        np.testing.assert_allclose(moments, moments.T, atol=1e-12)
        estimates.append(moments)
        scores.append((moments - exact) / std)
    spread = np.std(estimates, axis=0, ddof=1) / math.sqrt(30)
    # Six standard errors of Student's t with 29 degrees of freedom, for the d (d + 1) / 2 entries.
    assert (np.abs(np.mean(estimates, axis=0) - exact) < 7.5 * spread).all()
    assert 0.85 < np.sqrt(np.mean(np.square(scores))) < 1.2


def structured(seed: int, n: int) -> dict[str, np.ndarray]:
    """Return rows of five columns as data has them: one-hot, few entries, a grid, repeats, heavy tails."""
    rng = np.random.default_rng(seed)
    return {
        "one-hot": np.eye(5)[rng.integers(0, 5, n)] * 2,
        "few entries": (rng.random((n, 5)) < 0.2) * rng.exponential(size=(n, 5)),
        "grid": rng.integers(0, 4, (n, 5)) / 2.0,
        "repeated": rng.normal(size=(3, 5))[rng.choice(3, n, p=[0.9, 0.08, 0.02])],
        "skewed": np.exp(rng.standard_normal((n, 5))),
        "heavy tails": rng.standard_t(2.5, (n, 5)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", structured(0, 1))
def test_split_rows_keep_their_moments(name: str) -> None:
    """Rows of any length keep them; clipped rows had a fraction of the moments."""
    Z = structured(0, 300)[name]
    exact = Z.T @ Z / len(Z)
    for max_norm in (0.3, 1.5):
        estimates, scores = [], []
        for seed in range(30):
            sketch = StormSketch(5, 60, max_norm=max_norm, oversize="split", seed=seed).update(Z)
            moments, std = sketch.second_moments(return_std=True)
            estimates.append(moments)
            scores.append((moments - exact) / std)
        spread = np.std(estimates, axis=0, ddof=1) / math.sqrt(30)
        assert (np.abs(np.mean(estimates, axis=0) - exact) < 7.5 * spread).all()
        assert 0.8 < np.sqrt(np.mean(np.square(scores))) < 1.25
        squares = np.maximum(1.0, (Z**2).sum(axis=1) / max_norm**2)
        assert sketch.n_clipped == 0
        assert sketch.n_updates == 300
        assert squares.sum() * (1 - 1e-5) <= sketch.n_parts < squares.sum() + 300


def test_a_split_row_is_as_many_parts_of_equal_direction() -> None:
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((70, 4)) * rng.choice([0.1, 1.0, 30.0], (70, 1))
    parts = np.maximum(1, np.ceil((Z**2).sum(axis=1) / 4.0 * (1 - 2e-6))).astype(int)
    whole = StormSketch(4, 9, max_norm=2.0, oversize="split").update(Z)
    apart = StormSketch(4, 9, max_norm=2.0, oversize="raise").update(
        np.repeat(Z / np.sqrt(parts)[:, None], parts, axis=0)
    )
    np.testing.assert_array_equal(whole.state["products"].array, apart.state["products"].array)
    assert whole.n_parts == apart.n_parts == parts.sum()
    assert StormSketch(4, 9, max_norm=2.0, oversize="split").update(scipy.sparse.csr_array(Z)) == whole
    halves = StormSketch(4, 9, max_norm=2.0, oversize="split").update(Z[:33].astype(np.float32))
    assert halves.n_parts <= whole.n_parts
    assert whole.copy().subtract(whole).n_parts == 0
    with pytest.raises(ValueError, match=r"X must have rows of norm at most 1.04858e\+06 max_norm"):
        whole.update([[3e6, 0, 0, 0]])


def test_many_clipped_rows_are_told() -> None:
    Z = rows(5, 200, 3)
    sketch = StormSketch(3, 20, max_norm=0.1).update(Z)
    with pytest.warns(UserWarning, match=r'rows were longer than max_norm=0.1 .*oversize="split"'):
        sketch.second_moments()


@pytest.mark.parametrize(("n_long", "warned"), [(10, False), (11, True)])
def test_more_than_a_tenth_of_clipped_rows_is_told(n_long: int, warned: bool) -> None:
    Z = np.full((100, 3), 0.1)
    Z[:n_long] = 5.0
    sketch = StormSketch(3, 20, max_norm=1.0).update(Z)
    assert sketch.n_clipped == n_long
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        sketch.second_moments()
    assert [str(warning.message)[:30] for warning in told] == ["11 of 100 rows were longer tha"] * warned


def test_frames_err_less_than_independent_pairs_of_as_many_counters() -> None:
    """Orthonormal frames have less than half of the error, with 21 counters a frame."""
    Z = rows(3, 400, 6)
    Z = Z / np.maximum(np.linalg.norm(Z, axis=1), 1)[:, None]
    exact = Z.T @ Z / len(Z)
    full = np.column_stack([Z, np.sqrt(np.maximum(1 - (Z**2).sum(axis=1), 0))])
    ours, theirs = [], []
    for seed in range(10):
        ours.append(np.linalg.norm(StormSketch(6, 50, seed=seed).update(Z).second_moments() - exact))
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal((2, 50 * 21, 7))
        m = (np.sign(full @ a.T) * np.sign(full @ b.T)).mean(axis=0)
        estimate = math.pi / 2 * np.einsum("r,ri,rj->ij", m, a, b) / len(m)
        theirs.append(np.linalg.norm(((estimate + estimate.T) / 2)[:6, :6] - exact))
    assert np.mean(ours) < 0.6 * np.mean(theirs)


def test_what_was_merged_in_is_subtracted_again() -> None:
    Z = rows(4, 300, 4)
    a, b = StormSketch(4, 30).update(Z[:100]), StormSketch(4, 30).update(Z[100:])
    whole = StormSketch(4, 30).update(Z)
    assert a | b == whole
    assert whole.copy().subtract(b) == a


def test_bad_input() -> None:
    for name, arguments in (
        ("n_features", (0, 3)),
        ("n_frames", (3, 0)),
    ):
        with pytest.raises(ValueError, match=f"{name} must be an integer from 1"):
            StormSketch(*arguments)
    with pytest.raises(ValueError, match="max_norm must be a number in"):
        StormSketch(3, 3, max_norm=0.0)
    with pytest.raises(ValueError, match="oversize must be one of 'clip', 'split', 'raise'"):
        StormSketch(3, 3, oversize="drop")
    with pytest.raises(ValueError, match="second moments need rows, got a sketch of 0"):
        StormSketch(3, 3).second_moments()
    strict = StormSketch(3, 3, oversize="raise")
    with pytest.raises(
        ValueError, match="X must have rows of norm at most max_norm = 1, got norm 2 in row 1"
    ):
        strict.update([[0.1, 0, 0], [2.0, 0, 0]])
    assert strict.n_updates == 0
    for bad in ([[np.nan] * 3], [[1.0] * 2], [["a"] * 3]):
        with pytest.raises((ValueError, TypeError), match="X must"):
            strict.update(bad)


def test_a_warning_names_the_line_of_the_caller() -> None:
    sketch = StormSketch(3, 20, max_norm=0.5).update(np.ones((50, 3)))
    with pytest.warns(UserWarning, match="50 of 50 rows were longer") as caught:
        sketch.second_moments()
    assert [warning.filename for warning in caught] == [__file__]
