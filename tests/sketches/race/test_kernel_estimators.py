"""Test RaceDensity and NadarayaWatsonRegressor: scikit-learn's checks, accuracy, weights and merging."""

from __future__ import annotations

import pickle
import warnings

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from mergesketch import AceDetector, NadarayaWatsonRegressor, NadarayaWatsonSketch, Race, RaceDensity
from mergesketch.errors import IncompatibleSketchError
from mergesketch.lsh import MinHash, PStable
from mergesketch.sketches.race.kernel_choice import choose_family, choose_regression_family, distinct_rows
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_friedman2
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

SCALES = np.array([1.0, 1e4, 1e-5])


@pytest.mark.slow
@parametrize_with_checks([RaceDensity(), NadarayaWatsonRegressor()])
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


def clusters(seed: int, n: int = 3000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 2, (n, 1)) * 4.0 + rng.standard_normal((n, 3))) * SCALES


# -- RaceDensity ------------------------------------------------------------------------------------


def test_log_densities_are_those_of_the_sketch_and_of_the_exact_kernel() -> None:
    X = clusters(0)
    model = RaceDensity().fit(X)
    Z = (X - model.scaling_["center"]) / model.scaling_["scale"]
    density, error = model.sketch_.density(Z[:200], return_std=True)
    np.testing.assert_allclose(model.score_samples(X[:200]), np.log(density))
    exact = model.sketch_.family.kernel(Z[:200], Z).mean(axis=1)
    assert (abs(density - exact) < 6 * error).all()
    assert model.score(X[:200]) == pytest.approx(np.log(density).sum(), rel=1e-12)


def test_rows_are_ordered_as_by_scikit_learns_densities() -> None:
    X = clusters(1)
    asked = clusters(2, 500)
    ours = RaceDensity().fit(X).score_samples(asked)
    theirs = KernelDensity(bandwidth=0.5).fit(X / SCALES).score_samples(asked / SCALES)
    assert spearmanr(ours, theirs).statistic > 0.9


def test_far_rows_have_the_density_of_a_single_collision() -> None:
    X = clusters(3, 1000)
    model = RaceDensity(n_hashes=64).fit(X)
    scores = model.score_samples(np.random.default_rng(0).uniform(1e9, 1e10, (50, 3)))
    assert np.isfinite(scores).all()
    assert scores.min() == pytest.approx(-np.log(64 * 1000))
    assert scores.max() < model.score_samples(X).min()


def test_densities_classify() -> None:
    """Densities of one family are comparable, so the class of the highest density is the likeliest."""
    X, y = load_digits(return_X_y=True)
    train = np.arange(len(X)) % 4 > 0
    begun = RaceDensity().fit(X[train])
    start = RaceDensity(begun.sketch_.family, scaling=begun.scaling_)
    models = [clone(start).fit(X[train & (y == digit)]) for digit in range(10)]
    scores = np.column_stack([model.score_samples(X[~train]) for model in models])
    assert (scores.argmax(axis=1) == y[~train]).mean() > 0.9


@pytest.mark.parametrize("sparse", [False, True])
def test_weights_count_rows(sparse: bool) -> None:
    rng = np.random.default_rng(4)
    X, weights = rng.integers(0, 3, (200, 3)) * SCALES, rng.integers(0, 4, 200)
    repeated = np.repeat(X, weights, axis=0)
    if sparse:
        X, repeated = scipy.sparse.csr_array(X), scipy.sparse.csr_array(repeated)
    weighted, plain = RaceDensity().fit(X, sample_weight=weights), RaceDensity().fit(repeated)
    assert weighted.sketch_.family == plain.sketch_.family
    np.testing.assert_array_equal(weighted.score_samples(X), plain.score_samples(X))
    halves = RaceDensity().fit(X, sample_weight=weights / 2)
    np.testing.assert_allclose(
        np.exp(halves.score_samples(X[:50])), np.exp(plain.score_samples(X[:50])), rtol=1e-12
    )


# -- NadarayaWatsonRegressor ------------------------------------------------------------------------


def test_it_predicts_where_columns_are_not_scaled() -> None:
    """Without scaling the column of largest numbers would decide alone which rows are similar."""
    X, y = make_friedman2(3000, random_state=0)
    model = NadarayaWatsonRegressor().fit(X[:2000], y[:2000])
    assert model.score(X[2000:], y[2000:]) > 0.85
    X, y = load_diabetes(return_X_y=True)
    assert NadarayaWatsonRegressor().fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.3


@pytest.mark.parametrize("seed", range(3))
def test_targets_of_categories_are_their_means(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, noise = np.eye(6)[rng.integers(0, 6, 3000)], rng.standard_normal(3000)
    y = X @ np.arange(6.0) + noise
    model = NadarayaWatsonRegressor().fit(X, y)
    means = np.array([y[X[:, j] == 1].mean() for j in range(6)])
    np.testing.assert_allclose(model.predict(np.eye(6)), means, atol=0.15)


@pytest.mark.slow
def test_rows_like_none_that_was_seen_get_the_mean() -> None:
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((500, 3)), rng.normal([7.0, -3.0], 1.0, (500, 2))
    weights = rng.uniform(0.5, 2.0, 500)
    model = NadarayaWatsonRegressor().fit(X, y, sample_weight=weights)
    far = model.predict(np.full((4, 3), 1e6))
    np.testing.assert_allclose(far, np.tile(np.average(y, axis=0, weights=weights), (4, 1)))
    alone = NadarayaWatsonRegressor().fit(X, y[:, 0], sample_weight=weights)
    np.testing.assert_allclose(alone.predict(np.full((4, 3), 1e6)), far[:, 0])
    with pytest.raises(ValueError, match="confidence must be a number in"):
        NadarayaWatsonRegressor(confidence=2.0).fit(X, y).predict(X)


@pytest.mark.slow
def test_the_width_is_that_of_the_least_error() -> None:
    """A fast wave takes narrow steps, a slow one wide steps; the choice ignores order and repeats."""
    rng = np.random.default_rng(6)
    x = rng.uniform(0, 1, 400)
    widths = []
    for waves in (1, 8):
        y = np.sin(2 * np.pi * waves * x)
        found = distinct_rows(x[:, None], None, y)
        widths.append(choose_regression_family(found, 64, 0).width)
        order = np.repeat(rng.permutation(400), 2)
        twice = distinct_rows(x[order, None], None, y[order])
        weighted = distinct_rows(x[:, None], np.full(400, 2), y)
        family = choose_regression_family(twice, 64, 0)
        assert family == choose_regression_family(weighted, 64, 0)
        np.testing.assert_allclose(twice.targets, found.targets)
    assert widths[1] <= widths[0] / 2


# -- both -------------------------------------------------------------------------------------------


def fitted(estimator, X: np.ndarray, part: slice = np.s_[:]):
    return estimator.fit(X[part], np.sin(X[part, 0]))


@pytest.mark.parametrize("make", [RaceDensity, NadarayaWatsonRegressor])
def test_shards_that_begin_alike_merge_into_the_whole(make) -> None:
    X = clusters(7)
    begun = fitted(make(), X, np.s_[:300])
    start = make(begun.sketch_.family, scaling=begun.scaling_)
    whole, here, there = (fitted(clone(start), X, s) for s in (np.s_[:], np.s_[:1000], np.s_[1000:]))
    both = here | there
    answer = "predict" if make is NadarayaWatsonRegressor else "score_samples"
    np.testing.assert_allclose(getattr(both, answer)(X), getattr(whole, answer)(X), rtol=1e-9, atol=1e-9)
    batches = clone(start)
    for rows in np.array_split(np.arange(len(X)), 4):
        batches.partial_fit(X[rows], np.sin(X[rows, 0]))
    np.testing.assert_allclose(getattr(batches, answer)(X), getattr(whole, answer)(X), rtol=1e-9, atol=1e-9)
    with pytest.raises(IncompatibleSketchError, match=r"pass family=fitted\.sketch_\.family"):
        here.merge(fitted(make(), X, np.s_[2000:]))


@pytest.mark.parametrize(
    ("make", "sketch"), [(RaceDensity, Race), (NadarayaWatsonRegressor, NadarayaWatsonSketch)]
)
def test_a_sketch_goes_on_in_the_estimator(make, sketch, tmp_path) -> None:
    X = clusters(8)
    model = fitted(make(), X)
    model.sketch_.save(tmp_path / "sketch")
    again = make.from_sketch(mergesketch.load(tmp_path / "sketch"), scaling=model.scaling_)
    answer = "predict" if make is NadarayaWatsonRegressor else "score_samples"
    np.testing.assert_array_equal(getattr(again, answer)(X), getattr(model, answer)(X))
    np.testing.assert_array_equal(
        getattr(pickle.loads(pickle.dumps(model)), answer)(X), getattr(model, answer)(X)
    )
    assert again.n_features_in_ == 3
    with pytest.raises(TypeError, match=f"sketch must be of {sketch.__name__}"):
        make.from_sketch(3)


def test_sketches_that_estimators_do_not_take() -> None:
    family = PStable(3, 10, width=2.0)
    X = clusters(9, 50) / SCALES
    with pytest.raises(ValueError, match="sketch must have no n_outputs, got 2"):
        RaceDensity.from_sketch(Race(family, n_outputs=2).update(X, np.ones((50, 2), int)))
    decaying = NadarayaWatsonSketch(family, half_life=2.0).update(X, X[:, 0], time=np.zeros(50))
    with pytest.raises(ValueError, match="sketch must have no half_life, got 2"):
        NadarayaWatsonRegressor.from_sketch(decaying)
    sets = Race(MinHash(10, n_buckets=64)).update([[1, 2], [3]])
    with pytest.raises(ValueError, match="scaling must be None, for rows of MinHash have no columns"):
        RaceDensity.from_sketch(sets, scaling={"center": 0, "scale": 1})


@pytest.mark.parametrize("make", [RaceDensity, NadarayaWatsonRegressor])
def test_no_rows_collide_and_all_do(make) -> None:
    X = clusters(10) / SCALES
    for width, message in ((1e-7, "no rows collide"), (1e7, "all rows collide")):
        with pytest.warns(UserWarning, match=f"{make.__name__}: {message}"):
            fitted(make(PStable(3, 50, width=width)), X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in (X, np.ones((100, 3)), np.eye(3)[np.arange(90) % 3], X[:1]):
            fitted(make(), rows)


@pytest.mark.parametrize("make", [RaceDensity, NadarayaWatsonRegressor])
def test_a_refused_batch_changes_nothing(make) -> None:
    X = clusters(11)
    model = fitted(make(), X)
    before = model.sketch_.copy()
    for call in (model.fit, model.partial_fit):
        for bad, weights in ((np.full((3, 3), np.nan), None), (X[:3], -np.ones(3)), (X[:3], np.ones(2))):
            with pytest.raises(ValueError):  # noqa: PT011
                call(bad, np.zeros(3), sample_weight=weights)
            assert model.sketch_ == before


def test_pipelines_and_searches() -> None:
    X = clusters(12)
    y = np.sin(X[:, 0])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), NadarayaWatsonRegressor()),
        {"nadarayawatsonregressor__n_hashes": [8, 64]},
        cv=3,
    ).fit(X, y)
    assert search.best_params_ == {"nadarayawatsonregressor__n_hashes": 64}
    assert make_pipeline(StandardScaler(), RaceDensity()).fit(X).score_samples(X[:5]).shape == (5,)


def test_the_family_of_equal_rows() -> None:
    found = distinct_rows(np.ones((50, 3)), None)
    assert choose_family(found, 10, 0).width > 0
    assert len(found.rows) == 1
    assert found.weights.tolist() == [50.0]


@pytest.mark.parametrize("make", [AceDetector, RaceDensity, NadarayaWatsonRegressor])
def test_a_first_batch_of_few_rows_does_not_decide(make) -> None:
    """Rows one by one would all be scaled by the first one, whose columns have no spread."""
    X = clusters(13, 200)
    targets = {"y": X[:, 0]} if make is NadarayaWatsonRegressor else {"y": None}

    def take(model, rows: slice):
        return model.partial_fit(X[rows], **{k: v if v is None else v[rows] for k, v in targets.items()})

    model = make()
    with pytest.raises(
        ValueError, match=r"X must have at least 10 rows in the first batch, .* got 9; or pass"
    ):
        take(model, np.s_[:9])
    assert not hasattr(model, "sketch_")
    begun = make().fit(X, **targets)
    apart = make(begun.sketch_.family, scaling=begun.scaling_)
    for row in range(200):
        take(apart, np.s_[row : row + 1])
    if make is AceDetector:
        assert apart.sketch_ == begun.sketch_
    else:
        np.testing.assert_allclose(apart.sketch_.query(X[:9]), begun.sketch_.query(X[:9]), rtol=1e-9)


@pytest.mark.parametrize("exponent", [-1000, 480])
def test_the_unit_of_the_targets_changes_no_choice(exponent: int) -> None:
    """Squares of such targets vanish, or nearly overflow."""
    rng = np.random.default_rng(8)
    X = rng.standard_normal((400, 2))
    y = np.sin(3 * X[:, 0]) + X[:, 1]
    model = NadarayaWatsonRegressor().fit(X, y)
    far = NadarayaWatsonRegressor().fit(X, np.ldexp(y, exponent))
    assert far.sketch_.family == model.sketch_.family
    np.testing.assert_allclose(np.ldexp(far.predict(X), -exponent), model.predict(X), rtol=1e-9)
