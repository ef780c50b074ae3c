"""Test classification by hashed labels: scikit-learn's checks, kinds of labels, and averages of clients."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy
from joblib import parallel_config
from mergesketch import LabelHash
from mergesketch.errors import IncompatibleSketchError
from naive import label_hash as naive
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
N_LABELS = 40
CENTRES = 5.0 * RNG.standard_normal((N_LABELS, 12))
y = np.repeat(np.arange(N_LABELS), 8)
X = CENTRES[y] + 0.5 * RNG.standard_normal((y.size, 12))
#: Two labels a row: the row is the sum of both centres.
PAIRS = np.stack([y, np.roll(y, 96)], axis=1)
XX = CENTRES[PAIRS[:, 0]] + CENTRES[PAIRS[:, 1]] + 0.2 * RNG.standard_normal((y.size, 12))
YY = np.zeros((y.size, N_LABELS), np.int64)
np.put_along_axis(YY, PAIRS, 1, axis=1)


def sgd(**options: Any) -> SGDClassifier:
    return SGDClassifier(**{"loss": "log_loss", "max_iter": 20, "tol": None, **options})


def model(estimator: Any = None, **options: Any) -> LabelHash:
    return LabelHash(
        sgd() if estimator is None else estimator, **{"n_repetitions": 3, "n_buckets": 16, **options}
    )


@parametrize_with_checks(
    [LabelHash(), LabelHash(SGDClassifier(loss="log_loss", random_state=0)), LabelHash(targets="indicator")]
)
def test_scikit_learns_checks(estimator, check) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        check(estimator)


# -- every kind of classifier ---------------------------------------------------------------------

ONE_LABEL = {
    "logistic": LogisticRegression(),
    "liblinear": LogisticRegression(solver="liblinear"),
    "sgd": sgd(),
    "hinge": sgd(loss="hinge"),
    "svc": LinearSVC(),
    "ridge": RidgeClassifier(),
    "network": MLPClassifier((32,), max_iter=60, learning_rate_init=0.02),
    "bayes": GaussianNB(),
    "trees": RandomForestClassifier(10),
    "neighbours": KNeighborsClassifier(3),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
}


@pytest.mark.parametrize("name", ONE_LABEL)
def test_classifiers_learn_one_label_a_row(name: str) -> None:
    fitted = model(ONE_LABEL[name]).fit(X, y)
    assert fitted.score(X, y) > 0.8  # chance has 1 / 40
    proba = fitted.predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1.0)
    assert_array_equal(fitted.predict(X), proba.argmax(axis=1))
    assert_array_equal(fitted.decision_function(X).argmax(axis=1), fitted.predict(X))
    top = fitted.top_k(X, 3)
    assert_array_equal(top.labels[:, 0], fitted.predict(X))
    assert fitted.precision(X, y) == fitted.score(X, y)
    assert (fitted.full_nbytes is None) == (name in ("bayes", "trees", "neighbours", "pipeline"))
    assert_array_equal(clone(fitted).fit(X, y).predict_proba(X), proba)


SEVERAL_LABELS = {
    "logistic": LogisticRegression(),
    "sgd": sgd(),
    "svc": LinearSVC(),
    "network": MLPClassifier((32,), max_iter=60, learning_rate_init=0.02),
    "trees": RandomForestClassifier(10),
    "neighbours": KNeighborsClassifier(3),
}


@pytest.mark.parametrize("name", SEVERAL_LABELS)
def test_classifiers_learn_several_labels_a_row(name: str) -> None:
    fitted = model(SEVERAL_LABELS[name]).fit(XX, YY)
    assert fitted.readout_ == "min"
    assert fitted.precision(XX, YY, 2) > 0.4  # chance has 2 / 40
    proba = fitted.predict_proba(XX)
    assert proba.shape == YY.shape and (proba > 0.0).all() and (proba < 1.0).all()
    assert_array_equal(fitted.predict(XX), proba > 0.5)


@pytest.mark.parametrize("targets", ["single", "indicator"])
def test_probabilities_of_buckets_are_those_of_the_classifiers(targets: str) -> None:
    """The read-out of the classifiers, one by one, is the naive one."""
    fitted = model(LogisticRegression(), targets=targets).fit(X[:80], y[:80])
    probabilities = np.zeros((5, 3, 16))
    for r, inner in enumerate(fitted.models_):
        if targets == "single":
            direct = LogisticRegression(random_state=inner.estimator.random_state)
            buckets = fitted.buckets_[r, fitted.classes_.searchsorted(y[:80])]
            direct.fit(X[:80], buckets)
            probabilities[:, r, direct.classes_] = direct.predict_proba(X[:5])
        else:
            for b in range(16):
                has = np.isin(y[:80], fitted.classes_[fitted.buckets_[r] == b])
                if has.any():
                    direct = LogisticRegression().fit(X[:80], has)
                    probabilities[:, r, b] = direct.predict_proba(X[:5])[:, 1]
    assert fitted.readout_ == ("mean" if targets == "single" else "min")
    fitted.readout_ = "mean"
    found = fitted.decision_function(X[:5])
    for i in range(5):
        wanted = [naive.estimate(probabilities[i], places.tolist()) for places in fitted.buckets_.T]
        assert_allclose(found[i], wanted, atol=1e-11)  # probabilities are rounded to 2**-40


def test_single_targets_of_several_labels_are_shares() -> None:
    """A row of m labels counts m times, with weight 1 / m."""
    fitted = model(LogisticRegression(), targets="single").fit(XX, YY)
    r = 1
    direct = LogisticRegression(random_state=fitted.models_[r].estimator.random_state)
    owners, columns = np.nonzero(YY)
    direct.fit(XX[owners], fitted.buckets_[r, columns], np.full(owners.size, 0.5))
    assert_array_equal(fitted.models_[r].estimator.coef_, direct.coef_)
    assert fitted.precision(XX, YY, 2) > 0.6


# -- every form of labels -------------------------------------------------------------------------


def test_forms_of_several_labels_agree() -> None:
    fitted = model(n_repetitions=1).fit(XX, YY)
    wanted = fitted.decision_function(XX)
    sets = [{int(a), int(b)} for a, b in PAIRS]
    forms = {
        "csr": scipy.sparse.csr_array(YY),
        "csc": scipy.sparse.csc_matrix(YY),
        "coo": scipy.sparse.coo_array(YY),
        "bool": YY.astype(bool),
        "float": YY.astype(float),
        "fortran": np.asfortranarray(YY),
        "frame": pd.DataFrame(YY),
        "lists": YY.tolist(),
        "sets": sets,
        "frozen": tuple(map(frozenset, sets)),
        "series": pd.Series(sets),
    }
    for name, form in forms.items():
        again = model(n_repetitions=1).fit(XX, form)
        assert_array_equal(again.decision_function(XX), wanted, err_msg=name)
        assert again.precision(XX, form, 2) == fitted.precision(XX, YY, 2), name
        predicted = again.predict(XX)
        sparse = name in ("csr", "csc", "coo", "sets", "frozen", "series")
        assert scipy.sparse.issparse(predicted) == sparse, name
        assert_array_equal(predicted.toarray() if sparse else predicted, fitted.predict(XX), err_msg=name)
    # A stored 0 is no label, and the matrix stays as it is.
    places = np.tile(np.arange(N_LABELS), y.size), np.arange(0, YY.size + 1, N_LABELS)
    stored = scipy.sparse.csr_array((YY.ravel().astype(float), *places), shape=YY.shape)
    assert_array_equal(model(n_repetitions=1).fit(XX, stored).decision_function(XX), wanted)
    assert_array_equal(stored.data, YY.ravel())


def test_labels_are_integers_or_strings() -> None:
    wanted = model().fit(X, y)
    names = np.array([f"package-{i:02}" for i in y])
    for labels in (names, names.astype(object), names.tolist(), pd.Series(names)):
        fitted = model().fit(X, labels)
        assert fitted.classes_.tolist() == sorted(set(names.tolist()))
        assert fitted.score(X, labels) > 0.8 and isinstance(fitted.predict(X)[0], str)
    for labels in (y.tolist(), y.astype(np.int8), y.astype(">i8"), pd.Series(y), y.astype(float)):
        assert_array_equal(model().fit(X, labels).decision_function(X), wanted.decision_function(X))
    big = y.astype(np.int64) * 2**40 - 7
    assert model().fit(X, big).predict(X).dtype == np.int64
    text_sets = [{f"a{a}", f"a{b}"} for a, b in PAIRS]
    fitted = model().fit(XX, text_sets)
    assert fitted.classes_[0] == "a0" and fitted.precision(XX, text_sets, 2) > 0.4
    assert fitted.precision(XX, [{"unknown"}] * y.size, 2) == 0.0


def test_sparse_rows_are_dense_rows() -> None:
    sparse, dense = (model(LogisticRegression()).fit(rows, y) for rows in (scipy.sparse.csr_array(X), X))
    for rows in (scipy.sparse.csc_array(X), scipy.sparse.coo_matrix(X)):
        assert_allclose(sparse.decision_function(rows), dense.decision_function(X), atol=1e-6)


def test_rows_without_labels_and_labels_without_rows() -> None:
    some = YY.copy()
    some[:40] = 0
    some[:, 5] = 0
    for targets in ("single", "indicator"):
        fitted = model(targets=targets).fit(XX, some)
        assert fitted.classes_.size == N_LABELS and fitted.n_rows_ == y.size
        assert fitted.precision(XX[40:], some[40:], 2) > 0.4
    empty = model().fit(XX, YY)
    assert empty.top_k(XX[:1], 2).labels.shape == (1, 2)
    with pytest.raises(ValueError, match="y must have at least one label"):
        model().fit(XX, np.zeros_like(YY))


def test_few_labels_have_few_buckets() -> None:
    one = model().fit(X, np.full(y.size, "only"))
    assert one.n_confused == 0 and model(n_repetitions=1, n_buckets=2).fit(X, y).n_confused == N_LABELS
    assert set(one.predict(X)) == {"only"} and one.predict_proba(X).tolist() == [[1.0]] * y.size
    two = LabelHash(n_repetitions=1, n_buckets=2)
    for names in (["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"]):
        labels = np.array(names)[y % 2]
        fitted = clone(two).fit(X, labels)  # both may share the bucket, and nothing can be learnt
        assert fitted.predict_proba(X).shape == (y.size, 2)
        if fitted.buckets_[0, 0] == fitted.buckets_[0, 1]:
            assert (fitted.predict_proba(X) == 0.5).all()


def test_top_k_of_many_labels_is_exact_and_few_buckets_find_most() -> None:
    many = np.arange(3000)
    rows = np.random.default_rng(1).standard_normal((3000, 12))
    fitted = LabelHash(GaussianNB(), n_repetitions=3, n_buckets=30).fit(np.vstack([X, rows]), np.r_[y, many])
    every = fitted.decision_function(rows[:50])
    top = fitted.top_k(rows[:50], 5)
    order = np.argsort(-every, axis=1, kind="stable")[:, :5]
    assert_array_equal(top.labels, order)
    assert_array_equal(top.estimates, np.take_along_axis(every, order, axis=1))
    assert_array_equal(fitted.top_k(rows[:50], 5, n_probes=30).labels, order)
    few = fitted.top_k(rows[:50], 1, n_probes=2)
    assert (few.estimates <= top.estimates[:, :1]).all()


# -- learning batch by batch, and averages --------------------------------------------------------


def test_new_labels_fit_into_the_buckets() -> None:
    first, second = y < 20, y >= 20
    grown = model().partial_fit(X[first], y[first])
    assert grown.classes_.size == 20
    table = grown.buckets_.copy()
    grown.top_k(X, 2, n_probes=3)
    for _ in range(20):
        grown.partial_fit(X[second], y[second]).partial_fit(X[first], y[first])
    assert_array_equal(grown.buckets_[:, :20], table)
    assert grown.score(X, y) > 0.8 and grown.n_rows_ == 160 * 41
    assert set(grown.top_k(X, 2, n_probes=3).labels.ravel()) > set(range(20, 40))
    known = model().partial_fit(X[first], y[first], classes=np.arange(N_LABELS))
    assert_array_equal(known.classes_, np.arange(N_LABELS))
    sets = model().partial_fit(XX, [{"a"}] * y.size).partial_fit(XX, [{"b", "c"}] * y.size, classes=["d"])
    assert sets.classes_.tolist() == ["a", "b", "c", "d"]


def test_batches_do_not_depend_on_what_is_known_of_labels() -> None:
    wanted, grown = (model(random_state=3) for _ in range(2))
    for part in np.array_split(np.arange(y.size), 4):
        wanted.partial_fit(X[part], y[part], classes=np.arange(N_LABELS))
        grown.partial_fit(X[part], y[part])
    assert_array_equal(wanted.decision_function(X), grown.decision_function(X))


def clients(estimator: Any, n: int = 3, **options: Any) -> list[LabelHash]:
    """Return models of parts of the rows, each with labels of its own."""
    return [
        model(estimator, **options).partial_fit(X[part], y[part])
        for part in np.split(np.arange(y.size), [70, 180][: n - 1])
    ]


def parameters(estimator: Any) -> list[np.ndarray]:
    if isinstance(estimator, MLPClassifier):
        return [*estimator.coefs_, *estimator.intercepts_]
    return [estimator.coef_, estimator.intercept_]


@pytest.mark.parametrize(
    "estimator",
    [sgd(), Perceptron(), MLPClassifier((8,), random_state=0)],
    ids=["sgd", "perceptron", "network"],
)
def test_parameters_are_averaged_by_rows(estimator: Any) -> None:
    parts = clients(estimator)
    before = [pickle.dumps(part) for part in parts]
    merged = LabelHash.average(parts)
    assert_array_equal(merged.classes_, np.arange(N_LABELS))
    assert merged.n_rows_ == y.size
    for r, inner in enumerate(merged.models_):
        given = [parameters(part.models_[r].estimator) for part in parts]
        for found, *arrays in zip(parameters(inner.estimator), *given, strict=True):
            assert_allclose(found, naive.mean_parameters(arrays, [70, 110, 140]), atol=1e-9)
    assert [pickle.dumps(part) for part in parts] == before
    again = pickle.loads(before[0]).merge(parts[1:])
    assert_array_equal(again.decision_function(X), merged.decision_function(X))
    assert_allclose(
        (parts[0] | parts[1] | parts[2]).decision_function(X), merged.decision_function(X), atol=1e-6
    )
    merged.partial_fit(X, y)  # a further round
    weighted = LabelHash.average(parts, weights=[0.5, 0.25, 0.25])
    assert not np.array_equal(weighted.decision_function(X), merged.decision_function(X))


@pytest.mark.parametrize("estimator", [sgd(), MLPClassifier((8,))], ids=["sgd", "network"])
def test_one_client_is_central_training(estimator: Any) -> None:
    central = model(estimator)
    server = model(estimator).partial_fit(X[:100], y[:100])
    central.partial_fit(X[:100], y[:100])
    for part in (slice(100, 200), slice(200, 320)):
        client = LabelHash.average([server])
        client.partial_fit(X[part], y[part])
        server = LabelHash.average([client], weights=[7])
        central.partial_fit(X[part], y[part])
    assert_array_equal(server.decision_function(X), central.decision_function(X))


def test_equal_clients_have_the_mean_of_one() -> None:
    part = clients(sgd())[0]
    twice = LabelHash.average([part, part])
    assert_array_equal(twice.decision_function(X), part.decision_function(X))
    several = model().partial_fit(XX, YY)
    sparse = model().partial_fit(XX, scipy.sparse.csr_array(YY))
    assert_array_equal((several | sparse).decision_function(XX), several.decision_function(XX))
    assert_array_equal((several | several).decision_function(XX), several.decision_function(XX))


@pytest.mark.slow
def test_rounds_of_clients_with_labels_of_their_own_learn_all_labels() -> None:
    halves = [np.flatnonzero(y < 20), np.flatnonzero(y >= 20)]
    server = None
    for _ in range(30):
        trained = []
        for part in halves:
            client = model() if server is None else LabelHash.average([server])
            trained.append(client.partial_fit(X[part], y[part]))
        server = LabelHash.average(trained, weights=[part.size for part in halves])
    assert server is not None and server.score(X, y) > 0.8


def test_models_that_differ_are_not_averaged() -> None:
    first = clients(sgd())[0]
    state = pickle.dumps(first)
    fitted = X[:70], y[:70]
    for other, message in (
        (model(n_buckets=17).partial_fit(*fitted), "differ in n_buckets: 16 here, 17 there"),
        (model(n_repetitions=2).partial_fit(*fitted), "differ in n_repetitions"),
        (model(random_state=1).partial_fit(*fitted), "differ in seed"),
        (model(targets="indicator").partial_fit(*fitted), "differ in targets"),
        (model(readout="min").partial_fit(*fitted), "differ in readout"),
        (model(Perceptron()).partial_fit(*fitted), "differ in their classifiers"),
        (model().partial_fit(X[:70, :3], y[:70]), "differ in n_features_in"),
        (model().partial_fit(pd.DataFrame(X[:70]).rename(columns=str), y[:70]), "names of their features"),
        (model().fit(*fitted), "train with partial_fit"),
        (model().partial_fit(X[:70], y[:70].astype(str)), "differ in the type of their labels"),
        (sgd(), "expected a LabelHash"),
    ):
        with pytest.raises(IncompatibleSketchError, match=message):
            first.merge(other)
        with pytest.raises(IncompatibleSketchError, match=message):
            LabelHash.average([first, other])
    for estimator in (GaussianNB(), KNeighborsClassifier(), RandomForestClassifier(3)):
        parts = [model(estimator).fit(X, y) for _ in range(2)]
        with pytest.raises(TypeError, match=f"got {type(estimator).__name__}"):
            parts[0].merge(parts[1])
    averaged = clients(sgd(average=True), 2)
    with pytest.raises(TypeError, match="average=False"):
        averaged[0].merge(averaged[1])
    with pytest.raises(NotFittedError):
        first.merge(model())
    with pytest.raises(NotFittedError):
        model().merge()
    with pytest.raises(ValueError, match="at least one LabelHash"):
        LabelHash.average([])
    for weights in ([1.0], [1.0, 0.0], [1.0, np.nan], ["a", "b"], [[1, 2]]):
        with pytest.raises(ValueError, match="weights must be 2 positive numbers"):
            LabelHash.average([first, first], weights=weights)
    assert pickle.dumps(first) == state
    with pytest.raises(TypeError):
        first | 3


# -- memory, sizes, bad input ---------------------------------------------------------------------


def test_bytes_are_those_of_the_parameters() -> None:
    fitted = model().fit(X, y)
    table = 3 * N_LABELS * 2
    outputs = sum(inner.estimator.coef_.shape[0] for inner in fitted.models_)
    assert fitted.nbytes == outputs * 13 * 8 + table
    assert (
        fitted.full_nbytes
        == N_LABELS * 13 * 8
        == sum(array.nbytes for array in (lambda m: (m.coef_, m.intercept_))(sgd().fit(X, y)))
    )
    several = model().partial_fit(XX, YY)
    assert several.nbytes == 3 * 16 * 13 * 8 + table and several.full_nbytes == N_LABELS * 13 * 8
    network = model(MLPClassifier((16,))).partial_fit(XX, YY)  # as many hidden units as buckets
    assert network.nbytes == 3 * 8 * (12 * 16 + 16 + 16 * 16 + 16) + table
    assert network.full_nbytes == 8 * (12 * 16 + 16 + 16 * N_LABELS + N_LABELS)
    assert model(GaussianNB()).fit(X, y).nbytes > table


def test_automatic_sizes() -> None:
    fitted = LabelHash(GaussianNB()).fit(X, y)
    assert (fitted.n_repetitions_, fitted.n_buckets_) == (4, 17)
    assert LabelHash(GaussianNB(), n_buckets=500).fit(X, y).n_repetitions_ == 2
    assert LabelHash(GaussianNB(), n_repetitions=5).fit(X, y).n_buckets_ == 16
    made = LabelHash.for_labels(7000, sgd(), standard_error=0.05, targets="indicator")
    assert (made.n_repetitions, made.n_buckets, made.targets) == (5, 81, "indicator")


def test_results_depend_on_the_seed_alone() -> None:
    wanted = model(MLPClassifier((8,)), random_state=5).partial_fit(X, y)
    for options in ({"n_jobs": 2}, {}):
        with parallel_config(backend="threading"):
            again = model(MLPClassifier((8,)), random_state=5, **options).partial_fit(X, y)
        assert_array_equal(again.decision_function(X), wanted.decision_function(X))
    saved = pickle.dumps(wanted)
    wanted.top_k(X, 2, n_probes=2)  # makes lists of labels, which a pickle leaves out
    assert len(pickle.dumps(wanted)) == len(saved)
    loaded = pickle.loads(saved)
    assert_array_equal(loaded.decision_function(X), wanted.decision_function(X))
    other = model(MLPClassifier((8,)), random_state=6).partial_fit(X, y)
    assert not np.array_equal(other.buckets_, wanted.buckets_)
    drawn = model(random_state=np.random.RandomState(0)).fit(X, y)
    assert drawn.score(X, y) > 0.8


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_buckets": 1}, ValueError, "n_buckets must be an integer from 2"),
        ({"n_buckets": 65537}, ValueError, "n_buckets"),
        ({"n_buckets": 8.0}, TypeError, "n_buckets"),
        ({"n_buckets": True}, TypeError, "n_buckets"),
        ({"n_repetitions": 0}, ValueError, "n_repetitions"),
        ({"n_repetitions": "few"}, TypeError, "n_repetitions"),
        ({"targets": "both"}, ValueError, "targets must be one of"),
        ({"readout": "median"}, ValueError, "readout must be one of"),
        ({"estimator": 3}, TypeError, "estimator must be a classifier"),
        ({"estimator": SGDClassifier}, TypeError, "estimator must be a classifier"),
        ({"estimator": StandardScaler()}, TypeError, "estimator must"),
        ({"random_state": -1}, ValueError, "Seed must be between"),
    ],
)
def test_bad_parameters_are_refused(options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        LabelHash(**{"estimator": sgd(), **options}).fit(X, y)


def test_bad_labels_are_refused_and_nothing_changes() -> None:
    fitted = model().partial_fit(X, y)
    state = pickle.dumps(fitted)
    several = model().partial_fit(XX, YY)
    for call, error, message in (
        (lambda: fitted.fit(X, y + 0.5), ValueError, "Unknown label type"),
        (lambda: fitted.fit(X, y[:5]), ValueError, "inconsistent numbers of samples"),
        (lambda: fitted.fit(X, [{1}] * 5), ValueError, "inconsistent numbers of samples"),
        (lambda: fitted.fit(X, YY * 2), ValueError, "zeros and ones"),
        (lambda: fitted.fit(X, scipy.sparse.csr_array(YY) * 2), ValueError, "zeros and ones"),
        (lambda: fitted.fit(X, [{1, "a"}] * y.size), TypeError, "one type"),
        (lambda: fitted.fit(X, ["a", *[1] * (y.size - 1)]), TypeError, "one type"),
        (lambda: fitted.fit(X, np.array(["a", *[1] * (y.size - 1)], object)), TypeError, "one type"),
        (lambda: fitted.fit(X, np.array(["a", *[None] * (y.size - 1)], object)), TypeError, "one type"),
        (lambda: fitted.fit(X, np.full(y.size, "2026-01-01", "M8[D]")), ValueError, "Unknown label type"),
        (lambda: fitted.fit(X, [{True}] * y.size), TypeError, "integers or strings"),
        (lambda: fitted.fit(X, [{1.5}] * y.size), TypeError, "integers or strings"),
        (lambda: fitted.fit(X, [{(1, 2)}] * y.size), TypeError, "integers or strings"),
        (lambda: fitted.fit(X, None), ValueError, "requires y to be passed"),
        (lambda: fitted.fit(X * np.nan, y), ValueError, "NaN"),
        (lambda: fitted.fit(np.ma.masked_array(X, X > 0), y), ValueError, "mask"),
        (lambda: fitted.partial_fit(X, y.astype(str)), ValueError, "one type"),
        (lambda: fitted.partial_fit(XX, YY), ValueError, "form of the labels before"),
        (lambda: fitted.partial_fit(XX, [{1}] * y.size), ValueError, "form of the labels before"),
        (lambda: fitted.partial_fit(X[:, :4], y), ValueError, "4 features"),
        (lambda: several.partial_fit(XX, YY[:, :9]), ValueError, "y must have 40 columns"),
        (lambda: several.partial_fit(XX, YY, classes=[1, 2]), ValueError, "classes must be 0 to 39"),
        (lambda: several.partial_fit(XX, y), ValueError, "form of the labels before"),
        (lambda: model().fit(X[:20], y[:20]).partial_fit(X, y), ValueError, "begin with partial_fit"),
        (lambda: model(targets="indicator").fit(X[:20], y[:20]).partial_fit(X, y), ValueError, "begin with"),
        (lambda: fitted.top_k(X, 0), ValueError, "k must be"),
        (lambda: fitted.top_k(X, 41), ValueError, "k must be"),
        (lambda: fitted.top_k(X, True), TypeError, "k must be"),
        (lambda: fitted.top_k(X, 2, n_probes=17), ValueError, "n_probes must be"),
        (lambda: fitted.top_k(X[:, :3]), ValueError, "3 features"),
        (lambda: LabelHash.for_labels(0), ValueError, "n_labels"),
        (lambda: LabelHash.for_labels(10, standard_error=0), ValueError, "standard_error"),
        (lambda: LabelHash.for_labels(10, confidence=1), ValueError, "confidence"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert pickle.dumps(fitted) == state
    for name in ("top_k", "predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(model(), name)(X)
    assert not hasattr(LabelHash(LogisticRegression()), "partial_fit")
