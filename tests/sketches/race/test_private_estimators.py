"""Test private estimators and budgets: scikit-learn's checks, leaks, spending, merging and bad input."""

from __future__ import annotations

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from mergesketch import (
    PrivacyBudget,
    PrivateClassifier,
    PrivateRegressor,
    Race,
    ReleasedClassifier,
    ReleasedRegressor,
    private_classifier,
    private_regressor,
)
from mergesketch.errors import IncompatibleSketchError, PrivacyBudgetError, PrivacyLeakWarning
from mergesketch.lsh import PStable
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

FAMILY = PStable(4, 16, width=1.0, power=2, n_buckets=64, seed=1)
CLASSES = {"low": -4.0, "high": 7.0, "classes": [0, 1, 2]}
TARGETS = {"low": -4.0, "high": 7.0, "target_low": 0.0, "target_high": 2.0}


def blobs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.standard_normal((n, 4)) + 3.0 * np.eye(3, 4)[y], y


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mergesketch.errors.PrivacyLeakWarning")
@parametrize_with_checks([PrivateClassifier(epsilon=1e6), PrivateRegressor(epsilon=1e6)])
def test_scikit_learns_checks(estimator, check) -> None:
    """Some checks compare two fits, so the budget is so large that there is no noise."""
    check(estimator)


# -- estimators -----------------------------------------------------------------------------------


def test_estimators_release_what_the_functions_release() -> None:
    """A budget of a million has no noise."""
    X, y = blobs(500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = PrivateClassifier(1e6, **CLASSES).fit(X, y)
        line = PrivateRegressor(1e6, **TARGETS, random_state=3).fit(X, y)
    theirs = private_classifier(X, y, epsilon=1e6, **CLASSES)
    assert type(ours.sketch_) is ReleasedClassifier and type(line.sketch_) is ReleasedRegressor
    assert ours.sketch_.config() == theirs.config()
    np.testing.assert_array_equal(ours.sketch_.counts, theirs.counts)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    np.testing.assert_array_equal(ours.decision_function(X), theirs.decision_function(X))
    there = private_regressor(X, y, epsilon=1e6, **TARGETS, seed=3)
    np.testing.assert_array_equal(line.predict(X), there.predict(X))
    assert vars(line).keys() - line.get_params().keys() == {"sketch_", "n_features_in_"}
    assert vars(ours).keys() - ours.get_params().keys() == {"sketch_", "n_features_in_", "classes_"}


@pytest.mark.parametrize(
    "names",
    [["b", "c", "a"], [2, 0, 1], [5.0, -1.0, 3.0], np.array(["b", "c", "a"], dtype=object), [7, 9, 11]],
)
def test_classes_of_all_types_in_any_order(names) -> None:
    X, y = blobs(3000)
    labels = np.asarray(names)[y]
    model = PrivateClassifier(5.0, low=-4.0, high=7.0, classes=names).fit(X, labels)
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    assert model.score(X, labels) > 0.85
    best = model.classes_[model.predict_proba(X).argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(X), best)
    two = PrivateClassifier(5.0, low=-4.0, high=7.0, classes=names[:2]).fit(X[y < 2], labels[y < 2])
    values = two.decision_function(X)
    assert values.shape == (3000,)
    np.testing.assert_array_equal(two.predict(X), two.classes_[(values > 0).astype(int)])


def test_noise_differs_between_fits_and_the_family_does_not() -> None:
    X, y = blobs(100)
    a, b = (PrivateClassifier(1.0, **CLASSES).fit(X, y).sketch_ for _ in range(2))
    assert a.config() == b.config() and (a.counts != b.counts).any()


@pytest.mark.parametrize("left_out", ["low", "high", "classes", "target_low", "target_high"])
def test_what_is_taken_from_the_data_is_told(left_out: str) -> None:
    X, y = blobs(100)
    kind, given = (PrivateClassifier, CLASSES) if left_out in CLASSES else (PrivateRegressor, TARGETS)
    model = kind(1.0, **{name: value for name, value in given.items() if name != left_out})
    with pytest.warns(PrivacyLeakWarning, match=f"^{left_out} were not given to {kind.__name__}") as told:
        model.fit(X, y)
    assert len(told) == 1 and told[0].filename == __file__
    box = {"low": X.min(axis=0), "high": X.max(axis=0)}
    taken = {**box, "classes": (0, 1, 2), "target_low": 0, "target_high": 2}
    np.testing.assert_array_equal(getattr(model.sketch_, left_out), taken[left_out])


@pytest.mark.parametrize("kind", [PrivateClassifier, PrivateRegressor])
def test_estimators_merge_and_their_budgets_add_up(kind: type) -> None:
    X, y = blobs(900)
    given = CLASSES if kind is PrivateClassifier else TARGETS
    parts = [
        kind(epsilon, family=FAMILY, **given).fit(X[rows], y[rows])
        for epsilon, rows in ((0.5, slice(400)), (0.25, slice(400, None)))
    ]
    both = parts[0] | parts[1]
    assert (both.sketch_.epsilon, both.sketch_.epsilon_if_disjoint) == (0.75, 0.5)
    np.testing.assert_array_equal(both.sketch_.counts, parts[0].sketch_.counts + parts[1].sketch_.counts)
    assert parts[0].sketch_.epsilon == 0.5
    other = kind(1.0, family=FAMILY, **{**given, "low": -5.0}).fit(X, y)
    with pytest.raises(IncompatibleSketchError, match="low"):
        both.merge(other)
    with pytest.raises(IncompatibleSketchError):
        both.merge(kind(9.0, **given).fit(X, y))


def test_pickles_of_version_0_2_are_released_models() -> None:
    X, y = blobs(50)
    model = private_classifier(X, y, epsilon=1.0, **CLASSES)
    line = private_regressor(X, y, epsilon=1.0, **TARGETS)
    for released, name in ((model, b"PrivateClassifier"), (line, b"PrivateRegressor")):
        now = pickle.dumps(released, protocol=0)
        former = now.replace(type(released).__name__.encode(), name)
        assert former != now
        assert pickle.loads(former) == released
    for fitted in (PrivateClassifier(**CLASSES).fit(X, y), PrivateRegressor(**TARGETS).fit(X, y)):
        same = pickle.loads(pickle.dumps(fitted))
        assert type(same) is type(fitted) and same.sketch_ == fitted.sketch_


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epsilon": 0.0}, ValueError, "epsilon must be a number in"),
        ({"epsilon": None}, TypeError, "epsilon must be a number in"),
        ({"low": 8.0}, ValueError, "low must be below high"),
        ({"classes": [0, 1]}, ValueError, r"y must hold labels of classes \[0 1\], got .* others"),
        ({"classes": [0]}, ValueError, "classes must be at least 2"),
        ({"family": "srp"}, TypeError, 'family must be "auto" or a HashFamily'),
        ({"family": PStable(3, 4, width=1.0)}, ValueError, "X must have 3 columns, got 4"),
        ({"rows_per_record": 0}, ValueError, "rows_per_record must be"),
        ({"budget": 1.0}, TypeError, "budget must be a PrivacyBudget or None, got float"),
        ({"random_state": -1}, ValueError, "0 and|negative|seed"),
    ],
)  # fmt: skip
def test_a_fit_that_is_refused_changes_nothing(change: dict, error: type, message: str) -> None:
    X, y = blobs(60)
    budget = PrivacyBudget(5.0)
    model = PrivateClassifier(budget=budget, **CLASSES).fit(X, y)
    before = model.sketch_
    with pytest.raises(error, match=message):
        model.set_params(**change).fit(X, y)
    assert model.sketch_ is before and budget.spent == 1.0
    with pytest.raises((TypeError, ValueError)):
        model.fit(X[:, :2], y)
    assert model.n_features_in_ == 4


# -- budgets --------------------------------------------------------------------------------------


def test_all_releases_spend_one_budget() -> None:
    X, y = blobs(60)
    budget = PrivacyBudget(3.0, spent=0.5)
    race = Race(FAMILY).update(X)
    assert race.release(0.25, budget=budget).epsilon == 0.25
    race.copy().release(0.25, budget=budget)
    private_classifier(X, y, epsilon=0.25, budget=budget, **CLASSES)
    private_regressor(X, y, epsilon=0.25, budget=budget, **TARGETS)
    PrivateClassifier(0.25, budget=budget, **CLASSES).fit(X, y)
    PrivateRegressor(0.25, budget=budget, **TARGETS).fit(X, y)
    budget.spend(0.5)
    assert (budget.epsilon, budget.spent, budget.remaining) == (3.0, 2.5, 0.5)
    assert repr(budget) == "<PrivacyBudget: epsilon 3, 2.5 spent>"
    for release in (
        lambda: race.release(0.75, budget=budget),
        lambda: private_classifier(X, y, epsilon=0.75, budget=budget, **CLASSES),
        lambda: private_regressor(X, y, epsilon=0.75, budget=budget, **TARGETS),
        lambda: PrivateRegressor(0.75, budget=budget, **TARGETS).fit(X, y),
        lambda: budget.spend(0.75),
    ):
        with pytest.raises(PrivacyBudgetError, match=r"epsilon must be at most 0\.5, the rest .*, got 0\.75"):
            release()
    assert budget.spent == 2.5
    race.release(0.5, budget=budget)
    assert budget.remaining == 0.0


def test_a_release_that_fails_spends_nothing() -> None:
    budget = PrivacyBudget(1.0)
    race = Race(FAMILY).update(blobs(5)[0], weights=[5] * 5)
    with pytest.raises(ValueError, match="record_weight must be at least"):
        race.release(0.5, budget=budget)
    with pytest.raises(TypeError, match="budget must be a PrivacyBudget or None, got float"):
        race.release(0.5, record_weight=5, budget=1.0)
    with pytest.raises(ValueError, match="integer counters"):
        Race(FAMILY, dtype="float").release(0.5, budget=budget)
    assert budget.spent == 0.0


def test_ten_tenths_are_one_and_not_more() -> None:
    budget = PrivacyBudget(1.0)
    for _ in range(10):
        budget.spend(0.1)
    with pytest.raises(PrivacyBudgetError):
        budget.spend(0.1)
    assert 0 <= budget.remaining < 10 * 2.0**-24
    assert PrivacyBudget(1.0, spent=0.1).spent >= 0.1
    assert PrivacyBudget(1.0, spent=budget.spent).remaining == budget.remaining


@pytest.mark.slow
@pytest.mark.parametrize(("epsilon", "most"), [(1e-5, 1000), (1.1e-7, 90909), (1e-3 / 3, 30)])
def test_small_parts_do_not_add_up_to_more_than_the_total(epsilon: float, most: int) -> None:
    """The part counts in full: the mechanism is the caller's, whose noise the library does not round."""
    budget = PrivacyBudget(0.01)
    for _ in range(most):
        budget.spend(epsilon)
    with pytest.raises(PrivacyBudgetError):
        budget.spend(epsilon)


def test_a_release_spends_what_its_noise_was_made_for() -> None:
    budget = PrivacyBudget(1.0)
    release = Race(FAMILY).update(blobs(5)[0]).release(0.1, budget=budget)
    assert budget.spent == release.epsilon <= 0.1


def test_copies_and_clones_share_the_budget_and_pickles_are_refused() -> None:
    budget = PrivacyBudget(2.0)
    assert copy.copy(budget) is budget and copy.deepcopy([budget])[0] is budget
    model = PrivateClassifier(0.5, budget=budget, **CLASSES)
    assert clone(model).budget is budget
    X, y = blobs(90)
    cross_val_score(model, X, y, cv=3)
    assert budget.spent == 1.5
    with pytest.raises(PrivacyBudgetError):
        cross_val_score(model, X, y, cv=3, error_score="raise")
    for thing in (budget, model):
        with pytest.raises(TypeError, match="cannot be pickled, because two processes would spend it twice"):
            pickle.dumps(thing)


def test_threads_spend_no_more_than_there_is() -> None:
    budget = PrivacyBudget(1.0)

    def spend(_: int) -> int:
        try:
            budget.spend(2.0**-10)
        except PrivacyBudgetError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(3000))) == 1024
    assert budget.remaining == 0.0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epsilon": 0.0}, ValueError, "epsilon must be a number in"),
        ({"epsilon": np.inf}, ValueError, "epsilon must be a number in"),
        ({"epsilon": "1"}, TypeError, "epsilon must be a number in"),
        ({"epsilon": 1.0, "spent": -1.0}, ValueError, "spent must be a number in"),
        ({"epsilon": 1.0, "spent": 1.5}, ValueError, "spent must be a number in"),
        ({"epsilon": 1.0, "spent": np.nan}, ValueError, "spent must be a number in"),
    ],
)
def test_bad_budgets(arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        PrivacyBudget(**arguments)
    budget = PrivacyBudget(1.0)
    for epsilon in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="epsilon must be a number in"):
            budget.spend(epsilon)
    assert budget.spent == 0.0


def test_targets_have_a_finite_range() -> None:
    X, y = blobs(20)
    with pytest.raises(ValueError, match="target_low must be below target_high, by a finite range, got -1e"):
        private_regressor(X, y, epsilon=1.0, low=-9.0, high=9.0, target_low=-1e308, target_high=1e308)
