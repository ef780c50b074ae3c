"""Test ACE: scores, their exact mean, and thresholds from the sample against all rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import AceSketch, Race
from mergesketch.lsh import InnerProduct, PStable, SignedRandomProjection
from toy_family import ToyFamily


def rows(seed: int, n: int, n_features: int = 5) -> np.ndarray:
    """Return rows of which some are far more frequent than others."""
    rng = np.random.default_rng(seed)
    return np.minimum(rng.geometric(0.5, (n, n_features)) - 1, 3)


def without_itself(scores: np.ndarray) -> np.ndarray:
    """Return the scores of all rows seen without their own counts, for families without chance collisions."""
    return scores - 1.0 / len(scores)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(2, 12), st.integers(0, 2**32))
def test_the_sample_is_the_distinct_rows_of_least_key(n: int, size: int, seed: int) -> None:
    family = ToyFamily(5, 4, seed=seed)
    X = rows(seed, n)
    detector = AceSketch(family, sample_size=size, seed=seed)
    for part in np.array_split(X, 3):
        detector.update(part)
    everything = AceSketch(family, sample_size=1 << 16, seed=seed).update(X)
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
        detector = AceSketch(family).update(X)
        scores = detector.score_samples(X)
        np.testing.assert_allclose(scores, Race(family).update(X).density(X), rtol=1e-12)
        assert detector.mean_score == pytest.approx(scores.mean(), rel=1e-12)


def test_thresholds_are_those_of_all_rows_while_the_sample_holds_them() -> None:
    family = ToyFamily(5, 60, seed=1)
    X = rows(4, 3000)
    scores = AceSketch(family).update(X).score_samples(X)
    quantile = AceSketch(family, contamination=0.05, sample_size=1 << 14).update(X)
    called = quantile.predict(X) == -1
    assert called.mean() <= 0.05
    among = without_itself(scores)
    assert (among < quantile.threshold).mean() <= 0.05
    assert (among <= among[among >= quantile.threshold].min()).mean() > 0.05
    spread = AceSketch(family, alpha=2.0, sample_size=1 << 14).update(X)
    assert spread.threshold == pytest.approx(among.mean() - 2.0 * among.std(), rel=1e-9)
    np.testing.assert_array_equal(spread.predict(X) == -1, scores < spread.threshold)


def test_a_small_sample_knows_the_quantile_to_its_standard_error() -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((20_000, 6)) * 0.5 + 1.0
    misses = []
    for seed in range(8):
        family = SignedRandomProjection(6, 50, power=8, seed=seed)
        detector = AceSketch(family, contamination=0.1, sample_size=400, seed=seed).update(X)
        misses.append((detector.predict(X) == -1).mean() - 0.1)
    assert np.abs(misses).max() < 6 * np.sqrt(0.1 * 0.9 / 400)


def test_it_finds_planted_anomalies_better_than_chance() -> None:
    rng = np.random.default_rng(6)
    normal, odd = rng.standard_normal((5000, 10)) * 0.4 + 1.0, rng.standard_normal((50, 10)) * 0.4 - 1.0
    family = SignedRandomProjection(10, 50, power=10, seed=1)
    detector = AceSketch(family, contamination=0.02).update(np.vstack([normal, odd]))
    assert (detector.predict(odd) == -1).all()
    assert (detector.decision_function(odd) < 0).all()


@pytest.mark.parametrize(
    "how", [{"contamination": 0.1}, {"contamination": 0.4}, {"alpha": 2.0}, {"alpha": 1e-9}]
)
@pytest.mark.parametrize("n_buckets", [7, 256])
def test_rows_of_equal_scores_are_not_below_each_other(how: dict[str, float], n_buckets: int) -> None:
    for seed in range(8):
        family = PStable(2, 50, width=2.8, power=2, n_buckets=n_buckets, seed=seed)
        for n in (33, 50, 77):
            X = np.repeat([[0.0, 0.0], [100.0, 0.0]], n, axis=0)
            detector = AceSketch(family, **how).update(X)
            assert len(set(detector.score_samples(X))) == 1
            assert (detector.predict(X) == 1).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(30, 400), st.sampled_from([0.05, 0.07, 0.1, 0.25, 0.3, 0.5]), st.integers(0, 2**32))
def test_no_more_than_the_share_asked_of_the_rows_seen(n: int, share: float, seed: int) -> None:
    """No more rows than the share lie below, and with one more row more would; repeats are expanded."""
    X = rows(seed, n)
    detector = AceSketch(ToyFamily(5, 9, seed=seed), contamination=share).update(X)
    scores = np.sort(detector.score_samples(X))
    called = (detector.predict(X) == -1).sum()
    assert called <= share * n * (1 + 1e-12)
    assert called == (scores < detector.threshold).sum()
    place = min(share * (n + 1), np.floor(share * n * (1 + 1e-12)) + 1)
    wanted = np.interp(place, np.arange(1, n + 1), without_itself(scores))
    assert detector.threshold == pytest.approx(wanted, rel=1e-11, abs=1e-12)


def test_that_share_of_new_rows_is_called_anomalous() -> None:
    """A few per mille need a place between two scores of the sample."""
    share, n_seeds, called = 0.002, 60, []
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        family = SignedRandomProjection(3, 40, power=3, seed=seed)
        X, new = rng.standard_normal((2, 4000, 3)) + 1.0
        detector = AceSketch(family, contamination=share, sample_size=600, seed=seed).update(X)
        called.append((detector.predict(new) == -1).mean())
    assert abs(np.mean(called) - share) < 6 * np.std(called) / np.sqrt(n_seeds)


@pytest.mark.filterwarnings("ignore:AceSketch. no rows collide")
@pytest.mark.parametrize("width", [1.0, 2.0, 8.0])
@pytest.mark.parametrize("n_buckets", [64, 4096])
def test_that_share_of_new_rows_where_rows_resemble_few_others(width: float, n_buckets: int) -> None:
    """Once every row was its own neighbour, so all new rows, which have none, were called anomalous."""
    share, n_seeds, called, spread = 0.1, 20, [], []
    for seed in range(n_seeds):
        X, new = np.random.default_rng(seed).standard_normal((2, 400, 20))
        family = PStable(20, 40, width=width, power=4, n_buckets=n_buckets, seed=seed)
        detector = AceSketch(family, contamination=share, seed=seed).update(X)
        called.append((detector.predict(new) == -1).mean())
        assert (detector.predict(X) == -1).mean() <= share
        spread.append((AceSketch(family, seed=seed).update(X).predict(new) == -1).mean())
    # No score is below an equal one, so where few rows collide, fewer rows than the share are below.
    assert np.mean(called) < share + 6 * np.sqrt(2 * share * (1 - share) / 400 / n_seeds)
    if n_buckets == 64 or width == 8.0:
        assert np.mean(called) > share - 6 * np.sqrt(2 * share * (1 - share) / 400 / n_seeds)
    assert np.mean(spread) < 0.02


def test_repeated_rows_make_the_sample_smaller_as_its_notes_say() -> None:
    """Sixty of 2,000 rows are repeated 33 times, half of all; the sample keeps 200 different ones."""
    share, off, told = 0.3, [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((2000, 2))
        weights = np.ones(len(X), int)
        weights[rng.choice(len(X), 60, replace=False)] = 33
        family = PStable(2, 40, width=3.0, n_buckets=64, seed=seed)
        detector = AceSketch(family, contamination=share, sample_size=200, seed=seed)
        detector.update(np.repeat(X, weights, axis=0))
        held = detector.state["sample_weights"].array
        off.append(weights[detector.predict(X) == -1].sum() / weights.sum() - share)
        told.append(share * (1 - share) * (held**2).sum() / held.sum() ** 2)
    assert 0.7 < np.sqrt(np.mean(np.square(off)) / np.mean(told)) < 1.2
    assert np.sqrt(np.mean(told)) > 2 * np.sqrt(share * (1 - share) / 200)


def test_a_late_refusal_changes_nothing() -> None:
    detector = AceSketch(ToyFamily(5, 600)).update(rows(7, 100))
    before = detector.copy()
    X = rows(8, 6000)
    X[5999, 0] = 99
    with pytest.raises(ValueError, match=r"X must lie in \[0, 4\)"):
        detector.update(X)
    assert detector == before


def test_bad_arguments() -> None:
    family = ToyFamily(5, 10)
    # No sample can measure a share below 6e-8; the sample size would be too large to count.
    for bad in (0.0, 0.6, 5e-324, 1e-300, 1e-17, 1 / (2**24 + 2)):
        with pytest.raises(ValueError, match="contamination must be a number in"):
            AceSketch(family, contamination=bad)
    with pytest.raises(ValueError, match="alpha must be a number in"):
        AceSketch(family, alpha=0.0)
    with pytest.raises(ValueError, match="sample_size must be an integer from 2"):
        AceSketch(family, sample_size=1)
    for share, size in ((1e-5, 99_999), (0.001, 999), (0.07, 14)):
        with pytest.raises(
            ValueError, match=f"sample_size must be at least {size} to tell a contamination of"
        ):
            AceSketch(family, contamination=share, sample_size=size - 1)
        AceSketch(family, contamination=share, sample_size=size)
    with pytest.raises(ValueError, match=f"sample_size must be at least {2**24} to tell"):
        AceSketch(family, contamination=1 / (2**24 + 1))
    few = AceSketch(family, contamination=0.1).update(rows(0, 8))
    with pytest.raises(ValueError, match=r"has seen 8 rows, and a contamination of 0\.1 takes at least 9"):
        few.predict(rows(0, 3))
    assert few.update(rows(1, 1)).predict(rows(0, 3)).shape == (3,)
    with pytest.raises(
        ValueError, match="family must hash rows and queries alike, which InnerProduct does not"
    ):
        AceSketch(InnerProduct(5, 10, max_norm=6.0))
    detector = AceSketch(family)
    for ask in (detector.score_samples, detector.predict, detector.decision_function):
        with pytest.raises(ValueError, match="AceSketch has seen no row; call update first"):
            ask(rows(0, 3))
    with pytest.raises(ValueError, match="AceSketch has seen no row"):
        _ = detector.threshold
    with pytest.raises(ValueError, match="X must have 5 columns"):
        detector.update(rows(0, 3)).score_samples(np.zeros((2, 4), int))
