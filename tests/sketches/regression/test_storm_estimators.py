"""Test estimators over STORM: scikit-learn's checks, accuracy on real data, merging and bad input."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings

import mergesketch
import numpy as np
import pytest
from mergesketch import StormClassifier, StormRegressor
from mergesketch.errors import IncompatibleSketchError
from mergesketch.lsh.support.install import how_to_install
from paths import SHARED
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

AIRFOIL = SHARED / "airfoil.tsv"


@parametrize_with_checks([StormRegressor(), StormClassifier()])
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


def made(seed: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6)) * [1, 2, 0.5, 10, 1, 1] + [0, 5, -3, 100, 0, 0]
    return X, X @ [1.0, -0.5, 2.0, 0.1, 0.0, 0.0] + 7.0 + 0.3 * rng.standard_normal(n)


def errors(X: np.ndarray, y: np.ndarray, n_bytes: int, seed: int) -> tuple[float, float]:
    """Return the test RMSE of ours and of least squares on all training rows."""
    rows = np.random.default_rng(seed).permutation(len(X))
    train, test = rows[: len(X) * 4 // 5], rows[len(X) * 4 // 5 :]
    models = StormRegressor(n_bytes=n_bytes, random_state=seed), LinearRegression()
    return tuple(
        float(np.sqrt(np.mean((model.fit(X[train], y[train]).predict(X[test]) - y[test]) ** 2)))
        for model in models
    )


@pytest.mark.skipif(not AIRFOIL.exists(), reason="the airfoil data are not here")
@pytest.mark.parametrize(("n_bytes", "excess"), [(16_384, 0.10), (65_536, 0.03)])
def test_airfoil_within_the_promised_share_of_least_squares(n_bytes: int, excess: float) -> None:
    table = np.loadtxt(AIRFOIL, skiprows=1)
    found = np.array([errors(table[:, :-1], table[:, -1], n_bytes, seed) for seed in range(5)])
    assert (found[:, 0] / found[:, 1]).mean() < 1 + excess


def test_coefficients_in_the_units_of_the_data() -> None:
    X, y = made(0)
    model = StormRegressor(n_bytes=1 << 18).fit(X, y)
    exact = LinearRegression().fit(X, y)
    spread = X.std(axis=0) / y.std()
    assert np.abs((model.coef_ - exact.coef_) * spread).max() < 0.05
    np.testing.assert_allclose(model.predict(X), X @ model.coef_ + model.intercept_)
    assert model.sketch_.nbytes <= (1 << 18) + 64


def test_parts_merge_into_the_whole() -> None:
    X, y = made(1)
    scaling = StormRegressor().fit(X[:500], y[:500]).scaling_
    whole = StormRegressor(scaling=scaling).fit(X, y)
    parts = [StormRegressor(scaling=scaling).fit(X[half], y[half]) for half in (np.s_[:1500], np.s_[1500:])]
    both = parts[0].merge(parts[1])
    assert both.sketch_ == whole.sketch_
    np.testing.assert_array_equal(both.coef_, whole.coef_)
    batches = StormRegressor(scaling=scaling)
    for part in np.array_split(np.arange(len(X)), 7):
        batches.partial_fit(X[part], y[part])
    assert batches.sketch_ == whole.sketch_
    with pytest.raises(IncompatibleSketchError, match="estimators differ in scaling_"):
        whole.merge(StormRegressor().fit(X[:500] * 2, y[:500]))
    with pytest.raises(IncompatibleSketchError, match="differ in seed"):
        whole.merge(StormRegressor(scaling=scaling, random_state=3).fit(X, y))


def test_a_drifting_stream_keeps_its_intercept() -> None:
    """The first batch has another centre than the rest; the constant column corrects it."""
    X, y = made(2)
    order = np.argsort(X[:, 1])
    model = StormRegressor(n_bytes=1 << 18)
    for part in np.array_split(order, 10):
        model.partial_fit(X[part], y[part])
    assert np.corrcoef(model.predict(X), y)[0, 1] > 0.85


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_classes_are_told_apart_as_linear_discriminants_do(load) -> None:
    X, y = load(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))
    train, test = rows[len(X) // 4 :], rows[: len(X) // 4]
    exact = LinearDiscriminantAnalysis().fit(X[train], y[train]).score(X[test], y[test])
    ours = np.mean(
        [
            StormClassifier(n_bytes=1 << 18, random_state=seed)
            .fit(X[train], y[train])
            .score(X[test], y[test])
            for seed in range(3)
        ]
    )
    # Six standard errors of an accuracy on so many rows.
    assert ours > exact - 6 * np.sqrt(0.05 * 0.95 / len(test))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exponential noise", "log-normal targets", "one-hot", "heavy tails"])
def test_skewed_targets_are_not_shrunk(kind: str) -> None:
    """Long rows count in full; shortened ones of large targets once pulled the whole model down."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((4000, 4))
    mean = X @ [0.3, 0.2, 0.0, -0.1]
    if kind == "exponential noise":
        y = mean + rng.exponential(size=4000)
    elif kind == "log-normal targets":
        y = np.exp(mean + rng.standard_normal(4000))
    elif kind == "one-hot":
        X = np.eye(4)[rng.choice(4, 4000, p=[0.6, 0.3, 0.08, 0.02])]
        y = X @ [1.0, 2.0, 4.0, 30.0] + rng.exponential(size=4000)
    else:
        y = mean + rng.standard_t(2.5, 4000)
    exact = LinearRegression().fit(X, y).predict(X)
    means, slopes = [], []
    for seed in range(20):
        found = StormRegressor(random_state=seed).fit(X, y).predict(X)
        means.append(found.mean() - exact.mean())
        slopes.append(np.polyfit(exact, found, 1)[0])
    # There is no bias over the directions; the ridge of one standard error shrinks slopes by that share.
    assert abs(np.mean(means)) < 6 * np.std(means) / np.sqrt(20)
    assert abs(np.mean(slopes) - 1) < 6 * np.std(slopes) / np.sqrt(20) + 0.05


def test_more_rows_after_a_fit_of_few_are_refused() -> None:
    X, y = made(5, 500)
    for model, labels in ((StormRegressor(), y), (StormClassifier(), np.arange(500) % 2)):
        model.fit(X[:9], labels[:9])
        before = model.sketch_.copy()
        with pytest.raises(ValueError, match=r"a fit of at least 10 rows.*got one of 9; .*pass scaling"):
            model.partial_fit(X[9:], labels[9:])
        assert model.sketch_ == before
        # The argument that the message names works row by row, and gives the same model as all rows at once.
        given = type(model)(scaling=type(model)().fit(X[::5], labels[::5]).scaling_)
        given.fit(X[:1], labels[:1]) if isinstance(given, StormRegressor) else given.fit(X[:2], labels[:2])
        start = given.sketch_.n_updates
        for i in range(start, 500, 7):
            given.partial_fit(X[i : i + 7], labels[i : i + 7])
        whole = type(model)(scaling=given.scaling_).fit(X, labels)
        assert given.sketch_ == whole.sketch_
        np.testing.assert_array_equal(given.predict(X), whole.predict(X))


@pytest.mark.filterwarnings("ignore:the counters err")
def test_a_scaling_that_does_not_fit_is_told() -> None:
    X, y = made(6, 2000)
    model = StormRegressor(n_bytes=1 << 18).partial_fit(X[:1000], y[:1000])
    with pytest.warns(
        UserWarning, match=r"column 3 of X lies .* deviations from the centre .*Pass as scaling"
    ):
        model.partial_fit(X[1000:] + 500 * X.std(axis=0) * (np.arange(6) == 3), y[1000:])
    model = StormRegressor(n_bytes=1 << 18).partial_fit(X[:1000], y[:1000])
    with pytest.warns(UserWarning, match="the target lies .* deviations from the centre"):
        model.partial_fit(X[1000:], 100 * y[1000:])


def test_counters_too_few_to_tell_anything_say_so() -> None:
    X = np.random.default_rng(8).standard_normal((400, 60))
    y = X[:, 0]
    with pytest.warns(
        UserWarning, match="the counters err by .* n_bytes=[0-9]+ brings that to a half"
    ) as told:
        StormRegressor(n_bytes=8192).fit(X, y)
    enough = int(re.search("n_bytes=([0-9]+)", str(told[0].message))[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert StormRegressor(n_bytes=enough).fit(X, y).score(X, y) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.005])
def test_rare_classes_are_found(share: float) -> None:
    rng = np.random.default_rng(9)
    y = (rng.random(8000) < share).astype(int)
    y[:50] = np.arange(50) % 25 == 0
    X = rng.standard_normal((8000, 4)) + 4 * y[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = StormClassifier(n_bytes=1 << 18).fit(X, y)
        batches = StormClassifier(n_bytes=1 << 18)
        for part in np.array_split(np.arange(8000), 20):
            batches.partial_fit(X[part], y[part], classes=[0, 1])
    for model in (whole, batches):
        # The classes are eight deviations apart: a discriminant errs in some 1 of 1,000 rows at such shares.
        assert (model.predict(X[y == 1]) == 1).mean() > 0.9
        assert (model.predict(X[y == 0]) == 0).mean() > 0.99


@pytest.mark.slow
def test_classes_that_the_first_rows_lack_are_found_later() -> None:
    rng = np.random.default_rng(10)
    y = np.sort(rng.integers(0, 3, 6000))
    X = rng.standard_normal((6000, 3)) + 4 * np.eye(3)[y]
    model = StormClassifier(n_bytes=1 << 18)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.partial_fit(X[:1500], y[:1500], classes=[0, 1, 2])
        assert set(model.predict(X)) == {0}
        np.testing.assert_allclose(model.predict_proba(X[:50]), np.eye(3)[[0] * 50], atol=1e-99)
        model.partial_fit(X[1500:], y[1500:])
    assert model.score(X, y) > 0.9
    # Classes are counted exactly, also where no sketch could distinguish one row in 3,000 from none.
    few = np.where(np.arange(6000) == 5999, 1, 0)
    assert StormClassifier(n_bytes=4096).fit(X, few).class_count_.tolist() == [5999, 1]


def test_labels_that_were_never_seen() -> None:
    X = np.random.default_rng(3).standard_normal((20, 2))
    model = StormClassifier()
    with pytest.raises(ValueError, match="classes must be given with the first call"):
        model.partial_fit(X, np.arange(20) % 2)
    model.partial_fit(X, np.arange(20) % 2, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"y must hold labels of classes \[0 1 2\], got 7"):
        model.partial_fit(X, np.full(20, 7))
    assert model.class_count_.tolist() == [10, 10, 0]
    before = model.sketch_.copy()
    with pytest.raises(ValueError, match=r"y must hold labels of classes \[0 1 2\], got 7"):
        model.partial_fit(X, np.full(20, 7))
    assert model.sketch_ == before
    assert set(model.partial_fit(X, np.full(20, 2)).predict(X)) <= {0, 1, 2}


def test_bad_arguments() -> None:
    X, y = made(4, 50)
    with pytest.raises(ValueError, match="n_bytes must be an integer of at least 1"):
        StormRegressor(n_bytes=0).fit(X, y)
    with pytest.raises(ValueError, match="scaling must be a dict with the keys"):
        StormRegressor(scaling={"center": 0}).fit(X, y)
    good = StormRegressor().fit(X, y).scaling_
    with pytest.raises(ValueError, match=r"scaling\['max_norm'\] must be finite and above 0"):
        StormRegressor(scaling={**good, "max_norm": 0.0}).fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        StormRegressor().fit(X, np.where(y > 0, np.nan, y))


def test_without_a_package_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['torch'] = None; import mergesketch\n"
        "for name in ('StormRegressor', 'HashedEmbedding'):\n"
        "    try: getattr(mergesketch, name)\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == [
        f"mergesketch.StormRegressor needs scikit-learn: {how_to_install('sklearn')}",
        f"mergesketch.HashedEmbedding needs PyTorch: {how_to_install('torch')}",
    ], done.stderr
    assert "StormRegressor" in dir(mergesketch)
    with pytest.raises(AttributeError, match="has no attribute 'Storm'"):
        _ = mergesketch.Storm


@pytest.mark.parametrize("exponent", [-996, -600, 600, 996])
def test_squares_of_the_data_may_overflow_or_vanish(exponent: int) -> None:
    """The unit of the data is the caller's choice: another power of two changes predictions by it alone."""
    X, y = made(3, 1500)
    rows, targets, labels = np.ldexp(X, exponent), np.ldexp(y, exponent), y > np.median(y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far = StormRegressor().fit(rows, targets).predict(rows)
        np.testing.assert_allclose(np.ldexp(far, -exponent), StormRegressor().fit(X, y).predict(X), rtol=1e-9)
        far = StormClassifier().fit(rows, labels).predict_proba(rows)
    np.testing.assert_allclose(far, StormClassifier().fit(X, labels).predict_proba(X), rtol=1e-6)
