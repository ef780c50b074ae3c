"""ACE: scores, their exact mean, and thresholds from the sample against all rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import AceDetector, Race
from mergesketch.lsh import SignedRandomProjection
from registry import ToyFamily


def rows(seed: int, n: int, n_features: int = 5) -> np.ndarray:
    """Rows of which some are far more frequent than others."""
    rng = np.random.default_rng(seed)
    return np.minimum(rng.geometric(0.5, (n, n_features)) - 1, 3)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(2, 12), st.integers(0, 2**32))
def test_the_sample_is_the_distinct_rows_of_least_key(n: int, size: int, seed: int) -> None:
    family = ToyFamily(5, 4, seed=seed)
    X = rows(seed, n)
    detector = AceDetector(family, sample_size=size, seed=seed)
    for part in np.array_split(X, 3):
        detector.update(part)
    everything = AceDetector(family, sample_size=1 << 16, seed=seed).update(X)
    seen = Counter(map(tuple, family.hash(X).tolist()))
    state = {name: s.array for name, s in everything.state.items()}
    held = np.count_nonzero(state["sample_weights"])
    assert held == len(seen)
    assert (
        Counter(
            dict(
                zip(
                    map(tuple, state["sample_codes"][:held].tolist()),
                    state["sample_weights"].tolist(),
                    strict=False,
                )
            )
        )
        == seen
    )
    for name, s in detector.state.items():
        if name.startswith("sample"):
            assert (s.array[: min(size, held)] == state[name][: min(size, held)]).all()
            assert not s.array[held:].any()


def test_scores_are_densities_and_their_mean_is_exact() -> None:
    for family in (ToyFamily(5, 60, seed=1), SignedRandomProjection(5, 60, power=9, n_buckets=40, seed=2)):
        X = rows(3, 2000).astype(float) + 0.25
        X = X.astype(int) if isinstance(family, ToyFamily) else X
        detector = AceDetector(family).update(X)
        scores = detector.score_samples(X)
        np.testing.assert_allclose(scores, Race(family).update(X).density(X), rtol=1e-12)
        assert detector.mean_score == pytest.approx(scores.mean(), rel=1e-12)


def test_thresholds_are_those_of_all_rows_while_the_sample_holds_them() -> None:
    family = ToyFamily(5, 60, seed=1)
    X = rows(4, 3000)
    scores = AceDetector(family).update(X).score_samples(X)
    quantile = AceDetector(family, contamination=0.05, sample_size=1 << 14).update(X)
    called = quantile.predict(X) == -1
    assert called.mean() <= 0.05
    assert (scores <= quantile.threshold).mean() > 0.05
    spread = AceDetector(family, alpha=2.0, sample_size=1 << 14).update(X)
    assert spread.threshold == pytest.approx(scores.mean() - 2.0 * scores.std(), rel=1e-9)
    np.testing.assert_array_equal(spread.predict(X) == -1, scores < spread.threshold)


def test_a_small_sample_knows_the_quantile_to_its_standard_error() -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((20_000, 6)) * 0.5 + 1.0
    misses = []
    for seed in range(8):
        family = SignedRandomProjection(6, 50, power=8, seed=seed)
        detector = AceDetector(family, contamination=0.1, sample_size=400, seed=seed).update(X)
        misses.append((detector.predict(X) == -1).mean() - 0.1)
    assert np.abs(misses).max() < 6 * np.sqrt(0.1 * 0.9 / 400)


def test_it_finds_planted_anomalies_better_than_chance() -> None:
    rng = np.random.default_rng(6)
    normal, odd = rng.standard_normal((5000, 10)) * 0.4 + 1.0, rng.standard_normal((50, 10)) * 0.4 - 1.0
    family = SignedRandomProjection(10, 50, power=10, seed=1)
    detector = AceDetector(family, contamination=0.02).partial_fit(np.vstack([normal, odd]))
    assert (detector.predict(odd) == -1).all()
    assert (detector.decision_function(odd) < 0).all()


def test_a_late_refusal_changes_nothing() -> None:
    detector = AceDetector(ToyFamily(5, 600)).update(rows(7, 100))
    before = detector.copy()
    X = rows(8, 6000)
    X[5999, 0] = 99
    with pytest.raises(ValueError, match=r"X must lie in \[0, 4\)"):
        detector.update(X)
    assert detector == before


def test_bad_arguments() -> None:
    family = ToyFamily(5, 10)
    for bad in (0.0, 0.6):
        with pytest.raises(ValueError, match="contamination must be a number in"):
            AceDetector(family, contamination=bad)
    with pytest.raises(ValueError, match="alpha must be a number in"):
        AceDetector(family, alpha=0.0)
    with pytest.raises(ValueError, match="sample_size must be an integer from 2"):
        AceDetector(family, sample_size=1)
    detector = AceDetector(family)
    for ask in (detector.score_samples, detector.predict, detector.decision_function):
        with pytest.raises(ValueError, match="AceDetector has seen no row; call partial_fit first"):
            ask(rows(0, 3))
    with pytest.raises(ValueError, match="AceDetector has seen no row"):
        _ = detector.threshold
    with pytest.raises(ValueError, match="X must have 5 columns"):
        detector.update(rows(0, 3)).score_samples(np.zeros((2, 4), int))
