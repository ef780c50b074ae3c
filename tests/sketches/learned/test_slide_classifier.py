"""Test SlideClassifier: scikit-learn's checks, forms of labels, rankings, and bad input."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from mergesketch import SlideClassifier, get_num_threads, set_num_threads
from mergesketch.sketches.learned.slide_reading import read_rows
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_matrix, csc_array, csr_matrix
from scipy.special import softmax
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

FAST = {"n_hidden": 32, "n_epochs": 25, "learning_rate": 0.04, "batch_size": 16}


@pytest.mark.slow
@parametrize_with_checks([SlideClassifier(**FAST), SlideClassifier(sparsity=0.5, **FAST)])
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


def labelled(n: int = 600, n_labels: int = 700, seed: int = 0) -> tuple[csr_matrix, csr_matrix, list]:
    """Return rows that have features of their labels, an indicator of these, and lists of them."""
    rng = np.random.default_rng(seed)
    own = np.random.default_rng(1).integers(0, 300, (n_labels, 6))
    lists = [sorted(set((rng.integers(0, n_labels, 3) ** 2 // n_labels).tolist())) for _ in range(n)]
    X = np.zeros((n, 300), np.float32)
    for row, labels in zip(X, lists, strict=True):
        row[own[labels].ravel()] = 1.0
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    rows = np.repeat(np.arange(n), [len(labels) for labels in lists])
    columns = np.concatenate(lists)
    Y = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n_labels))
    return csr_matrix(X), Y, lists


@pytest.fixture(scope="module")
def fitted() -> SlideClassifier:
    X, Y, _ = labelled()
    return SlideClassifier(32, sparsity=0.1, n_epochs=30, learning_rate=0.01, batch_size=32).fit(X, Y)


def scores_of(model: SlideClassifier, X: csr_matrix) -> np.ndarray:
    """Compute all scores in float64."""
    hidden, (part,) = model.network_.hidden.weights, model.network_.ranges
    inputs = np.column_stack([X.toarray(), np.ones(X.shape[0])])
    activations = np.maximum(inputs @ hidden.rows(0, hidden.n_rows).astype(float), 0)
    return activations @ part.layer.weights.rows(0, 10**6).T.astype(float) + part.layer.biases[:, 0]


# -- training -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"weights": "bfloat16"}, {"family": "winner_take_all"}])
@pytest.mark.parametrize("negatives", ["lsh", "uniform", "frequency"])
def test_labels_are_learnt(negatives: str, options: dict) -> None:
    X, Y, _ = labelled(1000)
    model = SlideClassifier(
        32, sparsity=0.1, negatives=negatives, n_epochs=15, learning_rate=0.02, batch_size=32, **options
    ).fit(X, Y)
    assert model.loss_curve_[-1] < 0.6 * model.loss_curve_[0] and len(model.loss_curve_) == 15
    # The labels of a random guess, drawn as labels are, agree in less than 1 of 100 rows.
    assert model.score(X, Y) > 0.7
    assert model.precision_at_k(*labelled(200, seed=5)[:2]) > 0.2


def test_digits_are_learnt_with_the_full_softmax() -> None:
    X, y = load_digits(return_X_y=True)
    names = np.array([f"digit {k}" for k in range(10)])[y]
    model = SlideClassifier(64, n_epochs=15, learning_rate=0.005).fit(X[:1200] / 16, names[:1200])
    assert model.network_.settings.is_full
    # scikit-learn's MLPClassifier reaches 0.93 here.
    assert model.score(X[1200:] / 16, names[1200:]) > 0.9
    assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


def test_forms_of_labels_are_equal(fitted: SlideClassifier) -> None:
    X, Y, lists = labelled(60)
    n_labels, wanted = Y.shape[1], None
    repeated = [[*labels, *labels[::-1]] for labels in lists]
    objects = np.empty(60, object)
    objects[:] = lists
    forms = [Y, Y.tocsc(), coo_matrix(Y), csc_array(Y), Y.toarray(), Y.toarray().astype(bool)]
    forms += [pd.DataFrame(Y.toarray()), np.asfortranarray(Y.toarray()), lists, repeated, objects]
    forms += [[set(labels) for labels in lists], [np.array(labels, np.uint16) for labels in lists]]
    for form in forms:
        model = SlideClassifier(8, sparsity=0.1, n_epochs=1, batch_size=16)
        model.fit(X, form, n_labels=n_labels)
        found = model.network_.ranges[0].layer.weights.floats
        wanted = found if wanted is None else wanted
        assert_array_equal(found, wanted)
        assert model.is_multilabel_
        assert_array_equal(model.classes_, np.arange(n_labels))
        assert fitted.precision_at_k(X, form, 2) == fitted.precision_at_k(X, Y, 2)


def test_forms_of_rows_are_equal() -> None:
    X, Y, _ = labelled(60)
    dense = X.toarray()
    unsorted = X.copy()
    for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        unsorted.indices[a:b], unsorted.data[a:b] = X.indices[a:b][::-1], X.data[a:b][::-1]
    unsorted.has_sorted_indices = False
    before = unsorted.copy()
    found = []
    for form in (X, dense, np.asfortranarray(dense), dense.tolist(), csc_array(X), dense.astype(">f8")):
        found.append(SlideClassifier(8, sparsity=0.1, n_epochs=1, batch_size=16).fit(form, Y))
    for model in found[1:]:
        assert_array_equal(model.decision_function(X), found[0].decision_function(X))
    model = SlideClassifier(8, sparsity=0.1, n_epochs=1, batch_size=16).fit(unsorted, Y)
    assert_array_equal(model.decision_function(unsorted), found[0].decision_function(X))
    assert_array_equal(unsorted.indices, before.indices)
    assert_array_equal(unsorted.data, before.data)


def test_threads_change_nothing() -> None:
    X, Y, _ = labelled(400)
    before, found = get_num_threads(), []
    try:
        for n in (1, 3):
            set_num_threads(n)
            model = SlideClassifier(16, sparsity=0.1, n_epochs=2, batch_size=128).fit(X, Y)
            found.append((model.decision_function(X), *model.top_k_proba(X, 3)))
            found[-1] += model.top_k_proba(X, 3, search="tables")
    finally:
        set_num_threads(before)
    for one, three in zip(*found, strict=True):
        assert_array_equal(one, three)


def test_partial_fit_continues_and_pickles() -> None:
    X, Y, lists = labelled(300)
    model = SlideClassifier(16, sparsity=0.1, batch_size=32, rebuild_interval=3)
    with pytest.raises(ValueError, match="n_labels must be given"):
        model.partial_fit(X, lists)
    model.partial_fit(X[:150], lists[:150], n_labels=Y.shape[1])
    other = pickle.loads(pickle.dumps(model))
    for each in (model, other):
        each.partial_fit(X[150:], Y[150:])
        assert len(each.loss_curve_) == 2
        assert each.mean_labels_ == pytest.approx(Y.sum() / 300)
    assert_array_equal(model.decision_function(X), other.decision_function(X))
    first = model.decision_function(X)
    model.partial_fit(X[0], Y[0])
    assert not np.array_equal(model.decision_function(X), first)
    classes = SlideClassifier(8)
    with pytest.raises(ValueError, match="classes must be given"):
        classes.partial_fit(X, np.arange(300) % 3)
    classes.partial_fit(X[:1], ["b"], classes=["a", "b", "c"]).partial_fit(X[:2], ["c", "a"])
    assert classes.classes_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"y must hold labels of classes .*, got 'd'"):
        classes.partial_fit(X[:2], ["a", "d"])


def test_rows_without_labels_teach_nothing() -> None:
    X, Y, lists = labelled(60)
    more = [labels for pair in zip(lists, [[]] * 60, strict=True) for labels in pair]
    rows = np.repeat(np.arange(60), 2)
    options = {"sparsity": 1.0, "learning_rate": 0.01, "n_hidden": 8}
    one = SlideClassifier(batch_size=20, **options).partial_fit(X, Y)
    two = SlideClassifier(batch_size=40, **options).partial_fit(X[rows], more, n_labels=Y.shape[1])
    assert_allclose(one.decision_function(X), two.decision_function(X), atol=1e-4)
    assert_allclose(one.loss_curve_, two.loss_curve_, rtol=1e-5)
    none = SlideClassifier(n_hidden=8).partial_fit(X[:3], [[], [], []], n_labels=20)
    assert none.loss_curve_ == [0.0]


@pytest.mark.parametrize("negatives", ["lsh", "frequency"])
def test_ranges_learn_and_rank_together(negatives: str) -> None:
    X, Y, _ = labelled(600)
    model = SlideClassifier(
        16, sparsity=0.1, negatives=negatives, n_ranges=5, n_epochs=15, learning_rate=0.02, batch_size=32
    ).fit(X, Y)
    assert [part.stop - part.first for part in model.network_.ranges] == [140] * 5
    own = model.decision_function(X)
    assert_array_equal(model.top_k(X, 4), np.argsort(-own, axis=1, kind="stable")[:, :4])
    assert model.score(X, Y) > 0.5
    if negatives == "lsh":
        best = model.top_k(X[:50], 1, search="tables")[:, 0]
        assert (own[np.arange(50), best] <= own[:50].max(axis=1) + 1e-4).all()
        step, tables = model._search_tables
        assert step == model.network_.step and len(tables) == 5
        assert pickle.loads(pickle.dumps(model))._search_tables == (-1, [])
    few = SlideClassifier(8, sparsity=0.004, negatives=negatives, n_ranges=50, n_epochs=1).fit(X, Y)
    assert np.isfinite(few.loss_curve_).all() and np.isfinite(few.decision_function(X)).all()


# -- predictions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 700])
def test_the_exact_ranking_is_that_of_all_scores(fitted: SlideClassifier, k: int) -> None:
    X, _, _ = labelled(130, seed=3)
    scores = scores_of(fitted, X)
    assert_allclose(fitted.decision_function(X), scores, rtol=1e-4, atol=1e-4)
    best, chances = fitted.top_k_proba(X, k)
    assert_array_equal(best, fitted.top_k(X, k))
    own = fitted.decision_function(X)
    assert_array_equal(best, np.argsort(-own, axis=1, kind="stable")[:, :k])
    wanted = softmax(scores, axis=1)
    assert_allclose(chances, np.take_along_axis(wanted, best, axis=1), rtol=1e-3)
    assert_allclose(fitted.predict_proba(X), wanted, rtol=1e-3, atol=1e-9)
    for rows in (slice(0, 1), slice(7, 100)):
        assert_array_equal(fitted.decision_function(X[rows]), own[rows])


def test_tables_rank_what_is_in_the_buckets(fitted: SlideClassifier) -> None:
    X, _, _ = labelled(130, seed=3)
    own = fitted.decision_function(X)
    best, chances = fitted.top_k_proba(X, 3, search="tables")
    (part,) = fitted.network_.ranges
    weights = part.layer.weights.rows(0, 700)
    rows = read_rows(fitted, X, reset=False)
    family, hidden = part.tables.family, fitted.network_.hidden.activate(rows)
    mean = weights.sum(axis=0, dtype=np.float64) / 700
    codes = family.hash(weights - mean.astype(np.float32))
    n_few = 0
    for i, row in enumerate(family.hash(np.ascontiguousarray(hidden[:, :32]))):
        found = np.flatnonzero((codes == row).any(axis=1))
        if len(found) < 3:
            found, n_few = np.arange(700), n_few + 1
        order = found[np.argsort(-own[i, found], kind="stable")]
        assert_allclose(own[i, best[i]], own[i, order[:3]], rtol=1e-4, atol=1e-4)
        assert_allclose(chances[i], softmax(own[i, order].astype(float))[:3], rtol=1e-3)
    assert n_few < 130
    assert_array_equal(fitted.top_k(X[40:70], 3, search="tables"), best[40:70])


def test_predictions_are_a_matrix_of_k_labels(fitted: SlideClassifier) -> None:
    X, Y, _ = labelled(130, seed=3)
    found = fitted.predict(X)
    assert isinstance(found, csr_matrix) and found.shape == Y.shape
    assert set(found.data) == {1} and fitted.mean_labels_ > 2.5
    assert_array_equal(np.diff(found.indptr), 3)
    one = fitted.predict(X, k=1)
    assert_array_equal(one.indices, fitted.top_k(X, 1)[:, 0])
    hits = [one[i].multiply(Y[i]).sum() for i in range(130)]
    assert fitted.score(X, Y) == pytest.approx(np.mean(hits)) == fitted.precision_at_k(X, Y)


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_hidden": 0}, "n_hidden must be"),
        ({"n_hidden": True}, "n_hidden must be"),
        ({"sparsity": 0.0}, "sparsity must be"),
        ({"sparsity": 1.5}, "sparsity must be"),
        ({"sparsity": "all"}, "sparsity must be"),
        ({"negatives": "hard"}, "negatives must be one of"),
        ({"family": "minhash"}, "family must be one of"),
        ({"table_share": 1.5}, "table_share must be"),
        ({"table_share": "half"}, "table_share must be"),
        ({"n_hashes": 0}, "n_hashes must be"),
        ({"power": 21}, "power must be"),
        ({"family": "winner_take_all", "n_hidden": 4}, "n_hidden must be at least 8"),
        ({"learning_rate": 0}, "learning_rate must be"),
        ({"learning_rate": float("nan")}, "learning_rate must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"n_epochs": 1.5}, "n_epochs must be"),
        ({"weights": "float16"}, "weights must be one of"),
        ({"rounding": "up"}, "rounding must be one of"),
        ({"rebuild_interval": 0}, "rebuild_interval must be"),
        ({"n_ranges": 0}, "n_ranges must be"),
        ({"random_state": -1}, "random_state|seed|between 0"),
    ],
)
def test_bad_parameters(changes: dict, message: str) -> None:
    X, Y, _ = labelled(20)
    with pytest.raises((TypeError, ValueError), match=message):
        SlideClassifier(**{"n_hidden": 8, "n_epochs": 1, **changes}).fit(X, Y)


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        (None, "requires y"),
        ([[0, -1]] * 20, r"Y\[0\] must hold label ids from 0"),
        ([[0, 900]] * 20, r"Y\[0\] must hold label ids from 0 to 699, got 900"),
        ([[0.5]] * 20, r"Y\[0\] must hold label ids"),
        ([[True]] * 20, r"Y\[0\] must hold label ids"),
        ([["a"]] * 20, r"Y\[0\] must hold label ids"),
        ([[0]] * 19, "Y must have 20 rows"),
        (np.full((20, 700), 2), "Y must hold zeros and ones, got"),
        (np.full((20, 700), np.nan), "Y must hold zeros and ones, got"),
        (np.zeros((20, 5)), "Y must have 700 columns"),
        (np.ma.masked_array(np.zeros((20, 700)), mask=True), "Y must not"),
        (csr_matrix(np.full((20, 700), -1)), "Y must hold zeros and ones, got"),
        (np.zeros(20), "Y must have labels of which a row may have several"),
    ],
)
def test_bad_labels_change_nothing(fitted: SlideClassifier, Y: object, message: str) -> None:
    X, _, _ = labelled(20)
    before = {name: id(value) for name, value in vars(fitted).items()}
    step = fitted.network_.step
    with pytest.raises((TypeError, ValueError), match=message):
        fitted.partial_fit(X, Y)
    assert {name: id(value) for name, value in vars(fitted).items()} == before
    assert fitted.network_.step == step


def test_bad_rows_and_arguments(fitted: SlideClassifier) -> None:
    X, Y, _ = labelled(20)
    step = fitted.network_.step
    for bad in (np.full((20, 300), np.nan), np.full((20, 300), np.inf), np.zeros((20, 5)), np.zeros(300)):
        with pytest.raises(ValueError, match=r"NaN|infinity|features|2D|dimension"):
            fitted.partial_fit(bad, Y)
        with pytest.raises(ValueError, match=r"NaN|infinity|features|2D|dimension"):
            fitted.predict(bad)
    broken = X.copy()
    broken.indices = broken.indices + 1000
    for call in (fitted.predict, lambda rows: fitted.partial_fit(rows, Y)):
        with pytest.raises(ValueError, match=r"X\.?\w* "):
            call(broken)
    with pytest.raises(ValueError, match="X must not be masked"):
        fitted.predict(np.ma.masked_array(X.toarray(), mask=True))
    for k in (0, 701, 1.5, True):
        with pytest.raises((TypeError, ValueError), match="k must be"):
            fitted.top_k(X, k)
    with pytest.raises(ValueError, match="search must be one of"):
        fitted.top_k(X, 1, search="graph")
    with pytest.raises(ValueError, match="sample_weight must be None"):
        fitted.score(X, Y, sample_weight=np.ones(20))
    with pytest.raises(ValueError, match="classes must be None"):
        fitted.partial_fit(X, Y, classes=[1, 2])
    with pytest.raises(ValueError, match="n_labels must be 700"):
        fitted.partial_fit(X, Y, n_labels=5)
    assert fitted.network_.step == step
    with pytest.raises(NotFittedError):
        clone(fitted).top_k(X, 1)
    one = SlideClassifier(8, n_epochs=1).fit(X, np.arange(20) % 2)
    with pytest.raises(ValueError, match="k must be None"):
        one.predict(X, k=2)
    with pytest.raises(ValueError, match='search must be "exact"'):
        one.top_k(X, 1, search="tables")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="X must be scaled, and learning_rate be low: with row 0"):
            SlideClassifier(8, n_epochs=3).fit(np.full((20, 3000), 3e38), np.arange(20) % 2)
    with pytest.raises(ValueError, match="Y must have a label of at least one row, got none"):
        fitted.fit(X, [[]] * 20, n_labels=700)
    assert fitted.network_.step == step


def arrays_of(model: SlideClassifier) -> list[np.ndarray]:
    """Return copies of all that a model has learnt."""
    network = model.network_
    weights = [network.hidden.weights, *(part.layer.weights for part in network.ranges)]
    found = [a for w in weights for a in (w.floats, w.halves, w.first, w.second, w.steps)]
    return [array.copy() for array in [*found, *(part.layer.biases for part in network.ranges)]]


@pytest.mark.parametrize(
    "options", [{}, {"negatives": "frequency"}, {"weights": "bfloat16", "rounding": "nearest"}]
)
def test_rows_of_any_size_are_refused_or_learnt(options: dict) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 30, 100)
    X = rng.standard_normal((30, 12))[y].astype(np.float32)
    settings = {"n_hidden": 16, "sparsity": 0.5, "learning_rate": 0.5, "batch_size": 25, **options}
    trained = SlideClassifier(n_epochs=2, **settings).fit(X, y)
    kept, answers = arrays_of(trained), trained.predict_proba(X)
    n_refused = {"partial_fit": 0, "predict_proba": 0, "first": 0}
    for power in range(39):
        scaled = np.clip(X.astype(float) * 10.0**power, -3e38, 3e38)
        model = pickle.loads(pickle.dumps(trained))
        try:
            # The rows of the last batch are large: the others must not be learnt, either.
            model.partial_fit(np.vstack([X[:75], scaled[75:]]), y)
        except ValueError as error:
            assert str(error).startswith("X must be scaled")
            n_refused["partial_fit"] += 1
            assert model.loss_curve_ == trained.loss_curve_
            assert model.network_.step == trained.network_.step
            for before, after in zip(kept, arrays_of(model), strict=True):
                assert_array_equal(before, after)
            assert_array_equal(model.predict_proba(X), answers)
        else:
            # 12 steps at most, each of at most 16 times the learning rate.
            hidden = model.network_.hidden.weights
            assert np.abs(hidden.rows(0, hidden.n_rows)).max() <= 1 + 12 * 16 * 0.5
        for array in arrays_of(model.partial_fit(X, y)):
            assert array.dtype == np.uint16 or np.isfinite(array).all()
        for rows in (lambda m: m.predict_proba(scaled), lambda m: m.top_k_proba(scaled, 3)[1]):  # noqa: B023
            try:
                found = rows(trained)
            except ValueError as error:
                assert str(error).startswith("X must be scaled:")
                n_refused["predict_proba"] += 1
            else:
                assert np.isfinite(found).all()
        new = SlideClassifier(**settings)
        try:
            new.partial_fit(scaled, y, classes=np.arange(30))
        except ValueError:
            n_refused["first"] += 1
            assert "network_" not in vars(new)
    # Rows of up to 1e12 are learnt, and of up to 1e30 are ranked: with less, users would be refused.
    assert 15 <= n_refused["partial_fit"] <= 25
    assert 15 <= n_refused["first"] <= 25
    assert 4 <= n_refused["predict_proba"] <= 16


def test_a_step_of_adam_is_at_most_the_bound_that_rows_are_checked_with() -> None:
    """Gradients that grow by beta_2 / beta_1 in each step move a weight the farthest, 7.3 learning rates."""
    first = second = 0.0
    most = 0.0
    for t in range(1, 300):
        gradient = (0.999 / 0.9) ** t
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        most = max(most, first / (1 - 0.9**t) / np.sqrt(second / (1 - 0.999**t)))
    one = 0.1 / np.sqrt(0.001 * (1 - 0.9**2 / 0.999))
    assert 0.3 * one < most <= one <= 16 / 2


def test_lists_in_columns_of_other_libraries(fitted: SlideClassifier) -> None:
    pa, pl = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    X, _, lists = labelled(30)
    answer = SlideClassifier(8, n_epochs=1).fit(X, lists, n_labels=700).decision_function(X)
    columns = [
        pd.Series(lists),
        pd.Series(lists, dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        pl.Series(lists),
        pa.array(lists),
        pa.chunked_array([lists[:10], lists[10:]]),
    ]
    for Y in columns:
        model = SlideClassifier(8, n_epochs=1).fit(X, Y, n_labels=700)
        assert_array_equal(model.decision_function(X), answer)
        with pytest.raises(ValueError, match="n_labels must be given"):
            SlideClassifier(8).partial_fit(X, Y)
    pairs = pl.Series([[0, 1]] * 30, dtype=pl.Array(pl.Int64, 2))
    assert SlideClassifier(8, n_epochs=1).fit(X, pairs).classes_.tolist() == [0, 1]
    with pytest.raises(TypeError, match=r"Y\[29\] must hold label ids"):
        fitted.partial_fit(X, pl.Series([*lists[:29], None]))


def test_sparse_tensors_are_refused_by_name(fitted: SlideClassifier) -> None:
    torch = pytest.importorskip("torch")
    X, Y, _ = labelled(3)
    with pytest.raises(TypeError, match="X must be dense or a sparse matrix of SciPy"):
        fitted.predict(torch.tensor(X.toarray()).to_sparse())
    with pytest.raises(TypeError, match="Y must be dense or a sparse matrix of SciPy"):
        fitted.partial_fit(X, torch.tensor(Y.toarray()).to_sparse())


def test_probabilities_are_right_with_all_labels_only() -> None:
    """All rows are equal, so that the right probability of a label is its share of the rows."""
    rng = np.random.default_rng(0)
    p = 1.0 / np.arange(1, 301)
    labels = rng.choice(300, 1000, p=p / p.sum())
    X, Y = np.ones((1000, 1)), [[label] for label in labels.tolist()]
    shares = np.bincount(labels, minlength=300) / 1000

    def probabilities(**options: object) -> np.ndarray:
        model = SlideClassifier(8, n_epochs=20, learning_rate=0.02, **options)
        return model.fit(X, Y, n_labels=len(shares)).predict_proba(X[:1])[0]

    full = probabilities(sparsity=1.0)
    assert abs(full - shares).sum() / 2 < 0.06 and abs(full[0] - shares[0]) < 0.02
    by_frequency = probabilities(sparsity=0.1, negatives="frequency")
    assert abs(by_frequency[0] - shares[0]) < 0.04
    # As the page says, these are not right: too high for the most frequent label, and for rare ones.
    assert probabilities(sparsity=0.1, negatives="uniform")[0] > 1.5 * shares[0]
    assert 0.06 < abs(by_frequency - shares).sum() / 2 < 0.25
