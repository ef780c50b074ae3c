"""Test that STORM's estimators learn the same from batches of any size, and merge at any time."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import StormClassifier, StormRegressor
from mergesketch.errors import IncompatibleSketchError
from sklearn.exceptions import NotFittedError

SIZES = {StormRegressor: {}, StormClassifier: {"classes": [0, 1, 2]}}
BOTH = pytest.mark.parametrize("kind", SIZES)


def data(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.8, 0.17, 0.03])
    y[:3] = [0, 1, 2]
    return rng.standard_normal((n, 4)) * [1, 10, 0.1, 1] + 2.0 * np.eye(4)[y] + [0, 100, 0, -5], y


def assert_same(a: Any, b: Any) -> None:
    assert a.sketch_ == b.sketch_
    for name in ("_coefficients", "_intercepts", "class_count_", "_class_sums"):
        if hasattr(a, name):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.scaling_.keys() == b.scaling_.keys()
    for name, value in a.scaling_.items():
        np.testing.assert_array_equal(value, b.scaling_[name])


def learn(model: Any, X: np.ndarray, y: np.ndarray, cuts: list[int]) -> Any:
    for rows in np.split(np.arange(len(X)), sorted(cuts)):
        if rows.size:
            model.partial_fit(X[rows], y[rows], **SIZES[type(model)])
    return model


@pytest.mark.filterwarnings("ignore:the counters err")
@settings(max_examples=15, deadline=None)
@given(st.sampled_from(list(SIZES)), st.integers(3, 400), st.data())
def test_the_first_rows_in_any_batches_are_one_fit(kind: Any, n: int, drawn: st.DataObject) -> None:
    X, y = data(n)
    model = learn(kind(n_bytes=4096), X, y, drawn.draw(st.lists(st.integers(0, n), max_size=6)))
    assert_same(model, kind(n_bytes=4096).fit(X, y))


@pytest.mark.slow
@BOTH
def test_row_by_row_is_one_fit(kind: Any) -> None:
    """The scaling was once learnt from one row alone, and the model was of no use."""
    X, y = data(999)
    model = learn(kind(), X, y, list(range(999)))
    whole = kind().fit(X, y)
    assert_same(model, whole)
    assert model.score(X, y) == whole.score(X, y) > 0.2


@BOTH
def test_after_the_first_rows_batches_are_a_fit_with_their_scaling(kind: Any) -> None:
    X, y = data(3000)
    for cuts, n_first in (
        (list(range(0, 3000, 7)), 1001),
        ([400, 1700], 1700),
        ([999, 1000], 1000),
        ([], 3000),
    ):
        model = learn(kind(n_bytes=16_384), X, y, cuts)
        scaling = kind(n_bytes=16_384).fit(X[:n_first], y[:n_first]).scaling_
        assert_same(model, kind(n_bytes=16_384, scaling=scaling).fit(X, y))


@BOTH
def test_first_rows_are_learnt_while_they_wait(kind: Any) -> None:
    X, y = data(300)
    model = kind().partial_fit(X[:100], y[:100], **SIZES[kind])
    first = model.predict(X)
    np.testing.assert_array_equal(first, kind().fit(X[:100], y[:100]).predict(X))
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(X * np.nan, y)
    np.testing.assert_array_equal(model.predict(X), first)
    again = pickle.loads(pickle.dumps(model)), copy.deepcopy(model)
    model.partial_fit(X[100:], y[100:])
    whole = kind().fit(X, y)
    assert_same(model, whole)
    for each in again:
        assert_same(each.partial_fit(X[100:], y[100:]), whole)
    assert_same(model.fit(X[:50], y[:50]), kind().fit(X[:50], y[:50]))


@BOTH
def test_a_first_call_that_is_refused_changes_nothing(kind: Any) -> None:
    X, y = data(50)
    fitted = kind().fit(X, y)
    for arguments, message in (
        ({"n_bytes": 0}, "n_bytes must be an integer"),
        ({"scaling": {}}, "scaling must be a dict"),
        ({"random_state": "one"}, "cannot be used to seed"),
    ):
        model = kind(**arguments)
        before = vars(model).copy()
        with pytest.raises(ValueError, match=message):
            model.partial_fit(X, y, **SIZES[kind])
        with pytest.raises(ValueError, match=message):
            model.fit(X, y)
        assert vars(model) == before
        # A fit that fails leaves the model of the fit before.
        again = copy.deepcopy(fitted).set_params(**arguments)
        with pytest.raises(ValueError, match=message):
            again.fit(X, y)
        assert_same(again, fitted)
    with pytest.raises(ValueError, match="NaN"):
        fitted.fit(np.full_like(X, np.nan), y)
    assert_same(fitted, kind().fit(X, y))


@BOTH
def test_rows_that_wait_are_copies(kind: Any) -> None:
    X, y = data(200)
    rows, labels = X.copy(), y.copy()
    model = kind().partial_fit(rows, labels, **SIZES[kind])
    rows[:], labels[:] = 0, 0
    assert_same(model, kind().fit(X, y))


def test_threads_read_one_estimator_whose_rows_wait() -> None:
    X, y = data(900)
    expected = StormClassifier(n_bytes=4096).fit(X, y).predict_proba(X)
    for _ in range(5):
        model = StormClassifier(n_bytes=4096).partial_fit(X, y, classes=[0, 1, 2])
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda _, model=model: model.predict_proba(X), range(16)):
                np.testing.assert_array_equal(found, expected)


@BOTH
def test_parts_merge_before_they_have_a_scaling(kind: Any) -> None:
    X, y = data(900)
    parts = [
        kind().partial_fit(X[rows], y[rows], **SIZES[kind]) for rows in np.array_split(np.arange(900), 9)
    ]
    whole = kind().fit(X, y)
    both = parts[0] | parts[1]
    assert_same(both, kind().fit(X[:200], y[:200]))
    assert_same(parts[0], kind().fit(X[:100], y[:100]))
    merged = parts[0].merge(parts[1:])
    assert_same(merged, whole)
    assert_same(parts[1], kind().fit(X[100:200], y[100:200]))
    # Those of more than a thousand rows together have a scaling, as after a batch of these rows.
    X, y = data(1500, seed=1)
    a, b = (kind().partial_fit(X[part], y[part], **SIZES[kind]) for part in (np.s_[:750], np.s_[750:]))
    assert_same(a.merge(b), kind().fit(X, y))
    assert not a._first_rows
    assert b._first_rows


@BOTH
def test_rows_that_wait_take_over_a_scaling(kind: Any) -> None:
    X, y = data(3000)
    known = kind().fit(X[:2000], y[:2000])
    waiting = kind().partial_fit(X[2000:2500], y[2000:2500], **SIZES[kind])
    other = kind().partial_fit(X[2500:], y[2500:], **SIZES[kind])
    whole = kind(scaling=known.scaling_).fit(X, y)
    assert_same(known | waiting | other, whole)
    assert_same(waiting | known | other, whole)
    assert_same(copy.deepcopy(waiting).merge(other, known), whole)
    assert waiting._first_rows
    assert known.sketch_.n_updates == 2000


@BOTH
def test_merges_that_are_refused_change_nothing(kind: Any) -> None:
    X, y = data(400)
    model = kind().partial_fit(X[:200], y[:200], **SIZES[kind])
    full = kind().fit(X, y)
    for other, message in (
        (kind(n_bytes=9999).partial_fit(X, y, **SIZES[kind]), "differ in n_frames"),
        (kind(random_state=5).partial_fit(X, y, **SIZES[kind]), "differ in seed"),
        (kind(random_state=5).fit(X, y), "differ in seed"),
        (kind().partial_fit(X[:, :3], y, **SIZES[kind]), "differ in n_features_in_"),
    ):
        for ours in (model, full):
            before = copy.deepcopy(ours)
            with pytest.raises(IncompatibleSketchError, match=message):
                ours.merge(full if ours is model else model, other)
            assert_same(ours, before)
            assert len(ours._first_rows) == len(before._first_rows)
    with pytest.raises(NotFittedError):
        model.merge(kind())
    with pytest.raises(IncompatibleSketchError, match=r"differ in scaling_\['center'\]"):
        model.merge(full, kind().fit(X[:300], y[:300]))
    stranger = (StormClassifier if kind is StormRegressor else StormRegressor)().fit(X, y)
    with pytest.raises(IncompatibleSketchError, match=f"expected a {kind.__name__} to merge"):
        model.merge(stranger)
    if kind is StormClassifier:
        with pytest.raises(IncompatibleSketchError, match="differ in classes_"):
            model.merge(StormClassifier().partial_fit(X, y, classes=[0, 1, 2, 3]))
    assert_same(model, kind().fit(X[:200], y[:200]))
