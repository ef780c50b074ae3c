"""Test StormClassifier: rare classes and probabilities, beside linear discriminant analysis."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import StormClassifier, StormRegressor
from mergesketch.sketches.regression.storm_classifier import _discriminants, _whitening
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis


def blobs(
    share: float, seed: int = 0, n: int = 20_000, distance: float = 4.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return two normal classes with one covariance, that many deviations apart."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    mixing = rng.standard_normal((6, 6)) / np.sqrt(6) + np.eye(6)
    apart = rng.standard_normal(6)
    apart *= distance / np.sqrt(apart @ np.linalg.solve(mixing.T @ mixing, apart))
    return rng.standard_normal((n, 6)) @ mixing + y[:, None] * apart, y


def made(share: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return make_classification(
        20_000,
        n_features=10,
        n_informative=5,
        weights=[1 - share],
        class_sep=1.5,
        flip_y=0,
        random_state=seed,
    )


def correlated(share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return classes that differ only in the difference of two columns, which is small beside each."""
    rng = np.random.default_rng(11)
    y = (rng.random(20_000) < share).astype(int)
    X = rng.standard_normal((20_000, 4))
    X[:, 1] = X[:, 0] + 0.02 * (rng.standard_normal(20_000) + 4 * y)
    return X, y


def cancer(share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the benign cases, and as many of the malignant ones as have this share."""
    X, y = load_breast_cancer(return_X_y=True)
    benign, other = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    rows = np.concatenate([benign, other[: round(share / (1 - share) * len(benign))]])
    return X[rows], 1 - y[rows]


def digit(which: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X, (y == which).astype(int)


SETS = {
    **{f"blobs, {share:.1%}": (blobs, share) for share in (0.5, 0.1, 0.05, 0.02, 0.01, 0.005)},
    **{f"made, {share:.1%}": (made, share) for share in (0.5, 0.1, 0.02, 0.01)},
    **{f"correlated, {share:.1%}": (correlated, share) for share in (0.5, 0.02, 0.005)},
    **{f"breast cancer, {share:.0%}": (cancer, share) for share in (0.35, 0.1, 0.05)},
    **{f"digit {which}": (digit, which) for which in (0, 3, 8)},
}


def halves(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    rows = np.random.default_rng(3).permutation(len(X))
    return (*(X[half] for half in np.array_split(rows, 2)), *(y[half] for half in np.array_split(rows, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
@pytest.mark.filterwarnings("ignore:the counters err")
def test_recall_and_log_loss_are_those_of_the_discriminant(name: str) -> None:
    make, argument = SETS[name]
    train, test, labels, truth = halves(*make(argument))
    exact = LinearDiscriminantAnalysis().fit(train, labels)
    rare = truth == 1
    recall = (exact.predict(test[rare]) == 1).mean()
    losses = -np.log(exact.predict_proba(test)[np.arange(len(test)), truth] + 1e-12)
    # Six standard errors of the recall and of the mean log loss over the test rows.
    least = recall - 6 * np.sqrt(max(recall * (1 - recall), 1 / rare.sum()) / rare.sum())
    most = losses.mean() + 6 * losses.std() / np.sqrt(len(test))
    for seed in range(3):
        model = StormClassifier(n_bytes=1 << 17, random_state=seed).fit(train, labels)
        assert (model.predict(test[rare]) == 1).mean() >= least
        assert -np.log(model.predict_proba(test)[np.arange(len(test)), truth] + 1e-12).mean() <= most


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_probabilities_agree_with_predictions_and_values(n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    names = np.array([f"class {k}" for k in range(n_classes)])
    y = rng.integers(0, n_classes, 3000)
    X = rng.standard_normal((3000, 5)) + rng.standard_normal((n_classes, 5))[y] * 2
    model = StormClassifier().fit(X, names[y])
    rows = np.concatenate([X, 1e6 * X[:100]])
    found, values = model.predict_proba(rows), model.decision_function(rows)
    assert found.shape == (3100, n_classes)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    best = found.argmax(axis=1)
    np.testing.assert_array_equal(names[best][:3000], model.predict(X))
    if n_classes == 2:
        np.testing.assert_allclose(found[:, 1], expit(values), rtol=1e-9, atol=1e-300)
    else:
        np.testing.assert_array_equal(best, values.argmax(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.0, 0.7, 1.4])
def test_probabilities_are_the_shares_of_classes_among_rows_like_these(factor: float) -> None:
    """Normal classes with one covariance: as many rows belong to a class as its probabilities say.

    Log odds that are wrong by a third do not pass.
    """
    X, y = blobs(0.2, seed=5, n=80_000, distance=2.0)
    model = StormClassifier(n_bytes=1 << 18).fit(X[:40_000], y[:40_000])
    found = model.predict_proba(X[40_000:])[:, 1]
    found = expit(factor * (np.log(found) - np.log1p(-found)))
    fits = True
    for low, high in pairwise([0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0]):
        some = (found >= low) & (found < high)
        error = 6 * np.sqrt((found[some] * (1 - found[some])).sum())
        fits &= bool(abs(y[40_000:][some].sum() - found[some].sum()) < error)
    assert fits == (factor == 1.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(2, 6), st.integers(0, 2**32))
def test_without_noise_the_discriminants_are_exact(d: int, n_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((d, d)) + 3 * np.eye(d)
    means = rng.standard_normal((n_classes, d))
    means -= rng.dirichlet(np.ones(n_classes)) @ means
    within = mixing @ mixing.T + np.eye(d)
    np.testing.assert_allclose(
        _discriminants(within, means, 0.0), np.linalg.solve(within, means.T), rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("n", [3, 40, 3000])
def test_scaled_rows_are_almost_uncorrelated(n: int) -> None:
    rng = np.random.default_rng(n)
    X = rng.standard_normal((n, 4)) @ rng.standard_normal((4, 4))
    X = np.column_stack([X, np.full(n, 3.0), X[:, 0]])
    rows = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
    found = np.linalg.eigvalsh(np.cov((rows @ _whitening(rows, 1e-9)).T, bias=True))
    # A constant column and one of two equal columns add two directions of variance 0.
    np.testing.assert_allclose(found[:2], 0.0, atol=1e-9)
    correlations = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[2:]
    np.testing.assert_allclose(found[2:], correlations / (correlations + 36 / n**2 + 1e-9), atol=1e-6)
    assert n < 3000 or (found[2:] > 0.99).all()


def test_classes_are_counted_and_summed_exactly_in_any_order() -> None:
    X, y = blobs(0.01, n=3000)
    scaling = StormRegressor().fit(X[:100], y[:100]).scaling_
    whole = StormClassifier(n_bytes=2048, scaling=scaling).fit(X, y)
    assert whole.class_count_.tolist() == np.bincount(y).tolist()
    step = 2.0**-20 * whole.scaling_["max_norm"]
    scaled = (X - whole.scaling_["center"]) / whole.scaling_["scale"] @ whole.scaling_["whitening"]
    for label in (0, 1):
        expected = sum(np.rint(row / step) for row in scaled[y == label])
        np.testing.assert_array_equal(whole._class_sums[label], expected)
    order = np.random.default_rng(1).permutation(3000)
    parts = [
        StormClassifier(n_bytes=2048, scaling=scaling).partial_fit(X[part], y[part], classes=[0, 1])
        for part in np.array_split(order, 7)
    ]
    for merged in (parts[0] | parts[1], parts[1] | parts[0]):
        np.testing.assert_array_equal(merged._class_sums, parts[0]._class_sums + parts[1]._class_sums)
    merged = parts[3].merge(parts[:3], parts[4:])
    np.testing.assert_array_equal(merged._class_sums, whole._class_sums)
    np.testing.assert_array_equal(merged.predict_proba(X), whole.predict_proba(X))


@pytest.mark.filterwarnings("ignore:the counters err")
def test_structured_rows() -> None:
    rng = np.random.default_rng(2)
    y = rng.choice(3, 3000, p=[0.7, 0.28, 0.02])
    kinds = {
        "one-hot": np.eye(5)[np.where(rng.random(3000) < 0.9, y, 3 + y % 2)],
        "repeated": np.array([[0.0, 1], [2, 2], [5, -1]])[y],
        "a constant column": np.column_stack([np.full(3000, 7.0), y + 0.1 * rng.standard_normal(3000)]),
        "far away": 1e9 + rng.standard_normal((3000, 2)) + 6 * np.eye(3)[y][:, :2],
        "heavy tails": rng.standard_t(2.5, (3000, 3)) + 8 * np.eye(3)[y],
    }
    for name, X in kinds.items():
        model = StormClassifier().fit(X, y)
        # Discriminant analysis needs rows that vary within classes.
        exact = 1.0 if name == "repeated" else LinearDiscriminantAnalysis().fit(X, y).score(X, y)
        assert model.score(X, y) > exact - 6 * np.sqrt(0.05 * 0.95 / 3000), name
        assert np.isfinite(model.predict_proba(X)).all()
    # Rows without any information have the shares of the classes as probabilities.
    found = StormClassifier().fit(np.ones((3000, 2)), y).predict_proba(np.ones((1, 2)))
    np.testing.assert_allclose(found[0], np.bincount(y) / 3000, rtol=1e-9)


def test_pickles_of_earlier_versions_predict_and_learn_no_more() -> None:
    X, y = blobs(0.1, n=500)
    model = StormClassifier().fit(X, y)
    found = model.predict(X)
    for name in ("class_count_", "_class_sums", "_first_rows", "_n_scaled", "_seed"):
        vars(model).pop(name, None)
    del model.scaling_["whitening"]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), found)
    assert again.predict_proba(X).shape == (500, 2)
    with pytest.raises(ValueError, match=r"got one that version 0\.2 or an earlier one has pickled"):
        again.partial_fit(X, y)
    assert again.fit(X, y).class_count_.sum() == 500


def test_the_scaling_of_a_regressor_will_do() -> None:
    X, y = blobs(0.1, n=2000)
    scaling = StormRegressor().fit(X, y).scaling_
    model = StormClassifier(scaling=scaling).fit(X, y)
    assert set(model.scaling_) == {"center", "scale", "whitening", "max_norm"}
    np.testing.assert_array_equal(model.scaling_["whitening"], np.eye(6))
    with pytest.raises(ValueError, match=r"keys center, scale, whitening, max_norm, got \['center'"):
        StormClassifier(scaling={**scaling, "more": 1.0}).fit(X, y)
