"""Test Nadaraya-Watson: estimates against exact kernel-weighted means, confidence, decay, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import NadarayaWatsonSketch, Race
from mergesketch.lsh import PStable, SignedRandomProjection
from toy_family import ToyFamily


def slow_ratio(family: ToyFamily, X: np.ndarray, columns: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Return ratios of debiased means over repetitions, from counters in dictionaries, row by row."""
    tables: list[dict] = [{} for _ in range(family.n_hashes)]
    for codes, row in zip(family.hash(X).tolist(), columns, strict=True):
        for table, code in zip(tables, codes, strict=True):
            table[code] = table.get(code, 0.0) + row
    zero, chance, total = np.zeros(columns.shape[1]), family.chance_collision, columns.sum(axis=0)
    out = []
    for codes in family.hash_query(Q).tolist():
        mean = np.mean([table.get(c, zero) for table, c in zip(tables, codes, strict=True)], axis=0)
        debiased = (mean - chance * total) / (1 - chance)
        out.append(debiased[1:] / debiased[0] if debiased[0] > 0 else np.full(len(zero) - 1, np.nan))
    return np.array(out).reshape(len(Q), -1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(1, 9), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_predictions_are_the_slow_ones(n: int, n_hashes: int, seed: int, decay: bool, single: bool) -> None:
    rng = np.random.default_rng(seed)
    family = ToyFamily(4, n_hashes, seed=seed)
    X, Q = rng.integers(0, 3, (n, 4)), rng.integers(0, 3, (12, 4))
    y, weights, time = rng.standard_normal((n, 1 if single else 2)), rng.random(n), rng.random(n) * 9 - 4
    sketch = NadarayaWatsonSketch(family, n_outputs=None if single else 2, half_life=1.5 if decay else None)
    for part in np.array_split(np.arange(n), 3):
        sketch.update(
            X[part], y[part, 0] if single else y[part], weights[part], time[part] if decay else None
        )
    aged = weights * 2.0 ** (time / 1.5) if decay else weights
    expected = slow_ratio(family, X, np.column_stack([aged, aged[:, None] * y]), Q)
    got = sketch.predict(Q, confidence=0.5)
    np.testing.assert_allclose(got.reshape(12, -1), expected, rtol=1e-9, atol=1e-9)


def test_errors_are_what_the_standard_error_says() -> None:
    rng = np.random.default_rng(0)
    X, Q = rng.standard_normal((2000, 4)), rng.standard_normal((60, 4))
    y = np.column_stack([np.sin(X[:, 0]), X[:, 1] + 3.0])
    for family in (
        SignedRandomProjection(4, 1500, power=4, seed=1),
        PStable(4, 1500, width=3.0, power=1, n_buckets=32, seed=2),
    ):
        kernel = family.kernel(Q, X)
        exact = kernel @ y / kernel.sum(axis=1, keepdims=True)
        sketch = NadarayaWatsonSketch(family, n_outputs=2).update(X, y)
        predicted, std = sketch.predict(Q, return_std=True)
        assert predicted.shape == std.shape == (60, 2)
        scores = (predicted - exact) / std
        assert (np.abs(scores) < 6).all()
        assert np.abs(scores).mean() > 0.3, "standard errors far above the errors seen"
        sums, sums_std = sketch.kernel_sum(Q, return_std=True)
        expected, expected_std = Race(family).update(X).query(Q, return_std=True)
        np.testing.assert_allclose(sums, expected, rtol=1e-9)
        np.testing.assert_allclose(sums_std, expected_std, rtol=1e-9)


def test_nothing_is_predicted_where_nothing_was_seen() -> None:
    """No more queries without a neighbour get a prediction than the confidence allows."""
    rng = np.random.default_rng(1)
    family = PStable(3, 200, width=1.0, n_buckets=16, seed=3)
    sketch = NadarayaWatsonSketch(family).update(rng.standard_normal((500, 3)), np.ones(500))
    far = 1000.0 + 50.0 * rng.standard_normal((2000, 3))
    for confidence, fill in ((0.9, -7.0), (0.99, np.nan)):
        predicted, std = sketch.predict(far, confidence=confidence, fill=fill, return_std=True)
        made = ~np.isnan(std)
        # Queries share tables, so their number is not binomial; twice the share is the limit.
        assert made.mean() < 2 * (1 - confidence)
        np.testing.assert_array_equal(predicted[~made], fill)
    near = sketch.predict(rng.standard_normal((50, 3)))
    assert not np.isnan(near).any()
    assert np.isnan(NadarayaWatsonSketch(family).predict(far[:3])).all()


def test_old_rows_count_less() -> None:
    family = ToyFamily(2, 5)
    X = np.array([[1, 1]])
    sketch = NadarayaWatsonSketch(family, half_life=10.0)
    sketch.update(X, [0.0], time=0.0).update(X, [1.0], time=10.0)
    assert sketch.predict(X)[0] == pytest.approx(2 / 3)
    # Times are so far apart that old rows vanish, and old rows that arrive late too.
    sketch.update(X, [5.0], time=1e9).update(X, [99.0], time=3.0)
    assert sketch.predict(X)[0] == 5.0
    assert sketch.kernel_sum(X)[0] == 1.0
    early = NadarayaWatsonSketch(family, half_life=10.0).update(X, [0.0], time=0.0)
    assert (early | sketch).predict(X)[0] == 5.0


def test_missing_targets() -> None:
    family = ToyFamily(2, 5)
    X = np.array([[1, 1], [1, 1], [2, 2]])
    y = np.array([[1.0, 2.0], [np.nan, 8.0], [np.nan, np.nan]])
    sketch = NadarayaWatsonSketch(family, n_outputs=2, nan_policy="omit").update(X, y)
    assert (sketch.n_omitted, sketch.n_updates) == (2, 3)
    np.testing.assert_array_equal(sketch.predict(X[:1]), [[1.0, 2.0]])
    sketch.update(X[2:], y[2:])
    assert sketch.n_omitted == 3
    assert np.isnan(sketch.predict(X[2:])).all()
    strict = NadarayaWatsonSketch(family, n_outputs=2)
    with pytest.raises(ValueError, match='y must not be NaN, got NaN; nan_policy="omit"'):
        strict.update(X, y)
    assert strict.n_updates == 0


def test_bad_arguments() -> None:
    family = ToyFamily(2, 5)
    with pytest.raises(ValueError, match="nan_policy must be one of"):
        NadarayaWatsonSketch(family, nan_policy="skip")
    with pytest.raises(ValueError, match="half_life must be a number in"):
        NadarayaWatsonSketch(family, half_life=0.0)
    sketch, X = NadarayaWatsonSketch(family), [[1, 1]]
    with pytest.raises(ValueError, match="time must be given only with half_life"):
        sketch.update(X, [1.0], time=3.0)
    with pytest.raises(ValueError, match=r"y must have shape \(1,\)"):
        sketch.update(X, [[1.0, 2.0]])
    with pytest.raises(ValueError, match="y times weights must be at most"):
        sketch.update(X, [2.0**500], [2.0**500])
    with pytest.raises(ValueError, match="confidence must be a number in"):
        sketch.predict(X, confidence=1.0)
    with pytest.raises(TypeError, match="fill must be a number, got None"):
        sketch.predict(X, fill=None)
    decaying = NadarayaWatsonSketch(family, half_life=1.0)
    with pytest.raises(ValueError, match="time must be given, for this sketch has a half_life"):
        decaying.update(X, [1.0])
    with pytest.raises(ValueError, match=r"time must be a number or of shape \(1,\)"):
        decaying.update(X, [1.0], time=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"time must be finite and within 2\*\*52 half-lives"):
        decaying.update(X, [1.0], time=1e300)
    assert sketch.n_updates == decaying.n_updates == 0


@pytest.mark.filterwarnings("error")
def test_products_of_targets_and_weights_beyond_all_floats_are_refused_without_a_warning() -> None:
    sketch = NadarayaWatsonSketch(ToyFamily(1, 2))
    with pytest.raises(ValueError, match=r"^y times weights must be at most 2\*\*512 in magnitude, got -inf"):
        sketch.update([[0]], [-(2.0**512)], [2.0**512])
    assert sketch.n_updates == 0
