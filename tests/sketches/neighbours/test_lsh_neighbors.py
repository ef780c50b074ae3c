"""Test the transformer of neighbours: scikit-learn's checks, recall, pipelines, merging and bad input."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from mergesketch import LSHIndex, LSHNeighbors
from mergesketch.errors import IncompatibleSketchError
from mergesketch.lsh import CrossPolytope, MinHash, PStable, SignedRandomProjection
from mergesketch.sketches.neighbours import row_search
from numpy.testing import assert_allclose, assert_array_equal
from paths import SHARED
from scipy.sparse import csc_array, csr_matrix
from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.datasets import load_digits, load_wine
from sklearn.manifold import TSNE, Isomap
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsTransformer,
    NearestNeighbors,
    RadiusNeighborsTransformer,
)
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

METRICS = ("euclidean", "manhattan", "cosine")
FAMILIES = {
    "euclidean": PStable(64, 20, width=40.0, power=6, n_buckets=4096, seed=1),
    "manhattan": PStable(64, 20, p=1, width=400.0, power=6, n_buckets=4096, seed=1),
    "cosine": SignedRandomProjection(64, 20, power=8, seed=1),
}


def clusters(n: int, d: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, n // 50), d))
    return centres[rng.integers(0, len(centres), n)] + 0.1 * rng.standard_normal((n, d))


@parametrize_with_checks(
    [LSHNeighbors(), LSHNeighbors(radius=1.0), *(LSHNeighbors(metric=m) for m in ("cosine", "jaccard"))]
)
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


# -- exact where all rows are compared ------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_rows_have_the_neighbours_of_scikit_learn(metric: str, dtype: type) -> None:
    X = load_wine().data.astype(dtype)
    ours, exact = LSHNeighbors(metric=metric).fit(X), NearestNeighbors(metric=metric).fit(X.astype(float))
    assert ours.n_probes_ == 0 and isinstance(ours.sketch_, LSHIndex) and ours.sketch_.n_updates == len(X)
    for Q in (None, X[:40] + 1):
        for (a, b), (c, d) in zip(
            (ours.kneighbors(Q), ours.kneighbors(Q, 1)),
            (exact.kneighbors(Q), exact.kneighbors(Q, 1)),
            strict=True,
        ):
            assert_allclose(a, c, atol=1e-6)
            assert np.mean(b == d) > 0.98  # rows at equal distances may have another order
    graph = LSHNeighbors(metric=metric).fit_transform(X)
    theirs = KNeighborsTransformer(metric=metric).fit_transform(X.astype(float))
    assert graph.shape == theirs.shape and (np.diff(graph.indptr) == 6).all()
    assert_allclose(graph.data, theirs.data, atol=1e-6)
    assert_array_equal(
        LSHNeighbors(metric=metric, mode="connectivity").fit_transform(X).data, np.ones(5 * len(X))
    )


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_a_radius_has_the_neighbours_of_scikit_learn(metric: str) -> None:
    X = load_digits().data[:600]
    radius = {"euclidean": 40.5, "manhattan": 250.5, "cosine": 0.35}[metric]
    ours, theirs = (
        LSHNeighbors(radius=radius, metric=metric),
        RadiusNeighborsTransformer(radius=radius, metric=metric),
    )
    graph, exact = ours.fit_transform(X), theirs.fit_transform(X)
    assert (graph != exact).nnz == 0 or abs(graph - exact).max() < 1e-6
    assert_array_equal(np.diff(graph.indptr), np.diff(exact.indptr))
    assert np.diff(graph.indptr).max() > 128  # more than two rounds of the search
    for Q in (None, X[:50] + 0.5):
        distances, ids = ours.radius_neighbors(Q)
        wanted, them = theirs.radius_neighbors(Q, sort_results=True)
        for a, b, c, d in zip(distances, ids, wanted, them, strict=True):
            assert_allclose(a, c, atol=1e-6)
            assert set(b) == set(d)
        assert_array_equal(
            [len(row) for row in ours.radius_neighbors(Q, return_distance=False)], [len(row) for row in them]
        )
    connected = ours.radius_neighbors_graph(mode="connectivity")
    assert set(connected.data) == {1.0} and connected.nnz == exact.nnz - len(X)


#: A few more rows than those that are always compared with all.
ROWS = {
    "equal": np.ones((4200, 3)),
    "zeros": np.zeros((4200, 3)),
    "one-hot": np.eye(8)[np.arange(4200) % 8],
    "repeats": np.repeat(np.random.default_rng(0).standard_normal((42, 5)), 100, axis=0),
    "one column": np.arange(4200.0)[:, None],
    "noise": np.random.default_rng(0).standard_normal((4200, 40)),
    "far from 0": clusters(4200, 4) + 1e7,
    "two far clusters": clusters(4200, 4) + np.where(np.arange(4200) % 2, 1e7, -1e7)[:, None],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "metric"),
    [(kind, "euclidean") for kind in ROWS]
    + [("zeros", "cosine"), ("one-hot", "cosine"), ("repeats", "cosine"), ("one-hot", "manhattan")],
)
def test_structured_rows_have_neighbours(kind: str, metric: str) -> None:
    """Compare all rows where no tables suit them: the mean distance is that of exact neighbours."""
    X = ROWS[kind]
    ours = LSHNeighbors(metric=metric).fit(X)
    distances, ids = ours.kneighbors(X[:64])
    if metric == "cosine":
        unit = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-300)
        every = np.maximum(1 - unit[:64] @ unit.T, 0)
    else:
        every = np.stack(
            [np.abs(X - q).sum(1) if metric == "manhattan" else np.linalg.norm(X - q, axis=1) for q in X[:64]]
        )
    wanted = np.sort(every, axis=1)[:, :5]
    assert_allclose(distances, np.take_along_axis(every, ids, axis=1), atol=1e-7)
    assert all(len(set(row)) == 5 for row in ids.tolist())
    found = (distances <= wanted[:, -1:] + 1e-9).mean()
    assert found >= 0.9 - 6 * np.sqrt(0.9 * 0.1 / distances.size)
    if ours.n_probes_ == 0:
        assert found == 1.0
    own = ours.kneighbors(return_distance=False)
    assert (own != np.arange(len(X))[:, None]).all()


@pytest.mark.parametrize("n", [1, 2, 6, 15])
def test_very_few_rows(n: int) -> None:
    X = np.arange(2.0 * n).reshape(n, 2)
    ours = LSHNeighbors(n_neighbors=n).fit(X)
    assert_array_equal(ours.kneighbors(X, return_distance=False)[0], np.arange(n))
    with pytest.raises(
        ValueError, match=f"n_neighbors must be at most {n - 1}, .*, got {n}; n_samples_fit = {n}"
    ):
        ours.kneighbors()
    if n > 1:
        assert ours.kneighbors(n_neighbors=n - 1)[1].shape == (n, n - 1)
    assert LSHNeighbors(radius=0.0).fit_transform(X).nnz == n


def sets(n: int, d: int = 300, seed: int = 0) -> np.ndarray:
    """Return rows of zeros and ones in groups of 25 that share most of their ones."""
    rng = np.random.default_rng(seed)
    centres = rng.random((max(1, n // 25), d)) < 0.1
    return (centres[rng.integers(0, len(centres), n)] ^ (rng.random((n, d)) < 0.005)).astype(float)


@pytest.mark.parametrize("make", [np.asarray, csr_matrix, csc_array, lambda X: (X * 7 - 2 * X).tolist()])
def test_sets_have_the_neighbours_of_scikit_learn(make) -> None:
    X = sets(300)
    X[:3] = 0.0
    exact = NearestNeighbors(metric="jaccard", algorithm="brute").fit(X > 0)
    rows = make(X)
    ours = LSHNeighbors(metric="jaccard").fit(rows)
    assert_allclose(ours.kneighbors()[0], exact.kneighbors()[0], atol=1e-12)
    assert_allclose(ours.kneighbors(make(X[:9]))[0], exact.kneighbors(X[:9] > 0)[0], atol=1e-12)
    within = LSHNeighbors(metric="jaccard", radius=0.3).fit(rows).radius_neighbors_graph()
    wanted = exact.radius_neighbors_graph(radius=0.3)
    assert (within != wanted).nnz == 0 and wanted.nnz > 300
    whole = LSHNeighbors(metric="jaccard").fit(make(X[:100])) | LSHNeighbors(metric="jaccard").fit(
        make(X[100:])
    )
    assert whole.sketch_ == ours.sketch_
    assert_array_equal(np.asarray(rows.todense() if hasattr(rows, "todense") else rows) > 0, X > 0)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        LSHNeighbors().fit(csr_matrix(X))


def test_stored_zeros_and_repeated_entries_are_read_as_numbers() -> None:
    X = csr_matrix(sets(50))
    odd = X.copy()
    odd.data[::2] = 0.0
    repeated = csr_matrix((np.repeat(odd.data, 2), np.repeat(odd.indices, 2), 2 * odd.indptr), shape=X.shape)
    before = repeated.copy()
    found = LSHNeighbors(metric="jaccard").fit(repeated).kneighbors(repeated)
    assert_array_equal(found, LSHNeighbors(metric="jaccard").fit(odd.toarray()).kneighbors(odd.toarray()))
    for name in ("data", "indices", "indptr"):
        assert_array_equal(getattr(repeated, name), getattr(before, name))


@pytest.mark.slow
def test_tables_for_sets_find_the_recall() -> None:
    X = csr_matrix(sets(5000))
    model = LSHNeighbors(metric="jaccard").fit(X)
    assert model.n_probes_ == 1
    chosen = np.random.default_rng(5).permutation(5000)[:300]
    common = (X[chosen] @ X.T).toarray()
    sizes = np.asarray(X.sum(axis=1)).ravel()
    every = 1.0 - common / np.maximum(sizes[chosen, None] + sizes - common, 1)
    limit = np.sort(every, axis=1)[:, 5:6]
    distances, ids = model.kneighbors(X[chosen], 6)
    assert_allclose(distances, np.take_along_axis(every, ids, axis=1), atol=1e-12)
    shares = ((distances <= limit + 1e-12) & (ids != chosen[:, None])).sum(axis=1).clip(max=5) / 5
    assert shares.mean() >= 0.9 - 6 * shares.std() / np.sqrt(300)
    given = LSHNeighbors(metric="jaccard", family=MinHash(30, power=3, n_buckets=4096, seed=1)).fit(X)
    assert given.n_probes_ in (0, 1)


# -- recall ---------------------------------------------------------------------------------------


def recall_of(model: LSHNeighbors, X: np.ndarray, k: int) -> tuple[float, float]:
    """Return the share of the k nearest that the model finds, and six of its standard errors."""
    chosen = np.random.default_rng(5).permutation(len(X))[:400]
    exact = NearestNeighbors(n_neighbors=k + 1, algorithm="brute", metric=model.metric).fit(X.astype(float))
    limit = exact.kneighbors(X[chosen].astype(float))[0][:, -1:]
    distances, ids = model.kneighbors(X[chosen], k + 1)
    shares = (distances[ids != chosen[:, None]].reshape(len(chosen), -1)[:, :k] <= limit + 1e-6).mean(axis=1)
    return float(shares.mean()), float(6 * shares.std() / np.sqrt(len(chosen)))


@pytest.mark.slow
@pytest.mark.parametrize("recall", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("metric", METRICS)
def test_a_family_that_is_given_finds_the_recall_among_digits(metric: str, recall: float) -> None:
    X = load_digits().data
    model = LSHNeighbors(metric=metric, family=FAMILIES[metric], recall=recall).fit(X)
    assert model.sketch_.family == FAMILIES[metric]
    found, error = recall_of(model, X, 5)
    assert found >= recall - error
    if recall < 0.95:
        assert model.n_probes_ > 0


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_tables_found_from_the_rows_find_the_recall(metric: str) -> None:
    X = clusters(8000)
    model = LSHNeighbors(metric=metric).fit(X)
    assert model.n_probes_ > 0
    found, error = recall_of(model, X, 5)
    assert found >= 0.9 - error
    radius = float(np.median(model.kneighbors(n_neighbors=3)[0][:, -1]))
    within = LSHNeighbors(metric=metric, radius=radius).fit(X)
    assert within.n_probes_ > 0
    exact = NearestNeighbors(radius=radius, algorithm="brute", metric=metric).fit(X)
    counts = np.diff(within.transform(X[:400]).indptr) - 1
    wanted = np.diff(exact.radius_neighbors_graph(X[:400]).indptr) - 1
    assert wanted.sum() > 400 and (counts <= wanted).all()
    # The standard error of a ratio of two sums.
    spread = np.std(counts - counts.sum() / wanted.sum() * wanted) / wanted.mean() / 20
    assert counts.sum() / wanted.sum() >= 0.9 - 6 * spread


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "mnist_t10k.npz").exists(), reason="the MNIST images are not here")
def test_recall_among_images(monkeypatch) -> None:
    X = np.load(SHARED / "mnist_t10k.npz")["images"].reshape(10_000, -1).astype(np.float32)
    monkeypatch.setattr(row_search, "_TOO_MANY_FOUND", 1.0)
    for metric in ("euclidean", "cosine"):
        model = LSHNeighbors(metric=metric).fit(X)
        assert model.n_probes_ > 0
        found, error = recall_of(model, X, 5)
        assert found >= 0.9 - error


@pytest.mark.slow
def test_queries_that_find_too_few_rows_are_compared_with_all() -> None:
    X = clusters(5000)
    model = LSHNeighbors().fit(X)
    assert model.n_probes_ > 0
    far = np.full((3, 16), 50.0) * [[1], [-1], [0]]
    assert (model.sketch_.search(far, X, 5, n_probes=model.n_probes_).ids[:2] < 0).any()
    distances, ids = model.kneighbors(far)
    for i, q in enumerate(far[:2]):
        every = np.linalg.norm(X - q, axis=1)
        assert_array_equal(ids[i], np.argsort(every, kind="stable")[:5])
        assert_allclose(distances[i], np.sort(every)[:5])
    # More neighbours than any bucket has.
    assert (model.kneighbors(X[:2], 4990)[1] >= 0).all()


def test_a_family_whose_buckets_hold_nobody_near_is_not_used() -> None:
    X = np.random.default_rng(1).standard_normal((500, 8))
    narrow = PStable(8, 2, width=1e-3, power=8, n_buckets=1 << 14, seed=1)
    model = LSHNeighbors(family=narrow, recall=0.99).fit(X)
    assert model.n_probes_ == 0 and model.sketch_.family == narrow
    exact = NearestNeighbors(n_neighbors=5).fit(X)
    assert_array_equal(model.kneighbors(return_distance=False), exact.kneighbors(return_distance=False))
    # One bit has two buckets, so there are no more probes.
    assert LSHNeighbors(family=SignedRandomProjection(8, 1, power=1), metric="cosine").fit(X).n_probes_ in (
        0,
        2,
    )


# -- pipelines ------------------------------------------------------------------------------------


@pytest.fixture(params=["all rows", "index"])
def family(request):
    return "auto" if request.param == "all rows" else FAMILIES["euclidean"]


@pytest.mark.slow
def test_dbscan_finds_the_clusters_of_dbscan(family) -> None:
    X = load_digits().data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = make_pipeline(
            LSHNeighbors(radius=22.0, recall=0.99, family=family), DBSCAN(eps=22.0, metric="precomputed")
        ).fit_predict(X)
    assert adjusted_rand_score(ours, DBSCAN(eps=22.0).fit_predict(X)) > 0.95


def test_classifiers_take_the_graph(family) -> None:
    X, y = load_digits(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make_pipeline(
            LSHNeighbors(n_neighbors=9, family=family),
            KNeighborsClassifier(n_neighbors=5, metric="precomputed"),
        ).fit(X[:1500], y[:1500])
    exact = KNeighborsClassifier(n_neighbors=5).fit(X[:1500], y[:1500]).score(X[1500:], y[1500:])
    # Six standard errors of an accuracy on 297 rows.
    assert model.score(X[1500:], y[1500:]) > exact - 6 * np.sqrt(0.05 * 0.95 / 297)


@pytest.mark.slow
def test_embeddings_take_the_graph() -> None:
    X, y = (part[:300] for part in load_digits(return_X_y=True))
    tsne = TSNE(metric="precomputed", init="random", perplexity=5, max_iter=250, random_state=0)
    family = FAMILIES["euclidean"]
    points = make_pipeline(LSHNeighbors(n_neighbors=20, family=family), tsne).fit_transform(X)
    assert KNeighborsClassifier(3).fit(points[:200], y[:200]).score(points[200:], y[200:]) > 0.6
    flat = make_pipeline(
        LSHNeighbors(n_neighbors=21, family=family), Isomap(n_neighbors=20, metric="precomputed")
    )
    assert flat.fit_transform(X).shape == (300, 2)


def test_umap_takes_the_neighbours() -> None:
    umap = pytest.importorskip("umap")
    X, y = load_digits(return_X_y=True)
    distances, ids = LSHNeighbors(family=FAMILIES["euclidean"]).fit(X).kneighbors(X, 15)
    points = umap.UMAP(
        n_neighbors=15, precomputed_knn=(ids, distances), random_state=0, n_epochs=50
    ).fit_transform(X)
    assert KNeighborsClassifier(3).fit(points[::2], y[::2]).score(points[1::2], y[1::2]) > 0.9


# -- merging, copies ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["auto", FAMILIES["euclidean"]], ids=["auto", "given"])
@pytest.mark.parametrize("arguments", [{}, {"radius": 20.0}])
def test_a_merge_is_a_fit_to_the_rows_of_both(family, arguments: dict) -> None:
    X = load_digits().data
    parts = [
        LSHNeighbors(family=family, **arguments).fit(X[a:b]) for a, b in ((0, 700), (700, 1200), (1200, 1797))
    ]
    whole = LSHNeighbors(family=family, **arguments).fit(X)
    both = parts[0] | parts[1]
    assert both.n_samples_fit_ == 1200 and parts[0].n_samples_fit_ == 700
    merged = parts[0].merge(parts[1:])
    assert merged is parts[0] and merged.sketch_ == whole.sketch_ and merged.n_probes_ == whole.n_probes_
    assert (merged.transform(X) != whole.transform(X)).nnz == 0
    for same in (pickle.loads(pickle.dumps(whole)), clone(whole).fit(X)):
        assert (same.transform(X[:99]) != whole.transform(X[:99])).nnz == 0


def test_a_merge_that_is_refused_changes_nothing() -> None:
    X = load_digits().data[:200]
    model = LSHNeighbors().fit(X)
    for other, message in (
        (LSHNeighbors(metric="cosine").fit(X), "differ in effective_metric_: euclidean here, cosine there"),
        (LSHNeighbors().fit(X[:, :3]), "differ in n_features_in_: 64 here, 3 there"),
        (X, "expected a LSHNeighbors to merge, got"),
    ):
        with pytest.raises(IncompatibleSketchError, match=message):
            model.merge([LSHNeighbors().fit(X), other])
        assert model.n_samples_fit_ == 200


def test_random_states_give_other_indexes_and_an_integer_the_same() -> None:
    X = clusters(100)
    a, b, c = (LSHNeighbors(random_state=state).fit(X).sketch_ for state in (1, 1, np.random.RandomState(1)))
    assert a == b and a != c and a.seed == 1


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_neighbors": 0}, ValueError, "n_neighbors must be an integer of at least 1, got 0"),
        ({"n_neighbors": 2.0}, TypeError, "n_neighbors must be an integer of at least 1, got 2.0"),
        ({"radius": -1.0}, ValueError, "radius must be a number in"),
        ({"radius": np.nan}, ValueError, "radius must be a number in"),
        ({"mode": "distances"}, ValueError, "mode must be one of 'distance', 'connectivity'"),
        ({"metric": "minkowski"}, ValueError, "metric must be one of 'euclidean', 'manhattan', 'cosine'"),
        ({"recall": 1.0}, ValueError, "recall must be a number in"),
        ({"recall": "high"}, TypeError, "recall must be a number in"),
        ({"family": "srp"}, TypeError, 'family must be "auto" or a HashFamily, got \'srp\''),
        ({"family": SignedRandomProjection(4, 2)}, ValueError, "family must have the metric 'euclidean' for"),
        ({"family": PStable(5, 2, width=1.0)}, ValueError, "must have 5 columns, got 4"),
        ({"random_state": -1}, ValueError, "random_state|seed|negative|0 and"),
        ({"random_state": "0"}, ValueError, "cannot be used to seed"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments: dict, error: type, message: str) -> None:
    X = np.random.default_rng(0).standard_normal((30, 4))
    model = LSHNeighbors().fit(X)
    before = model.kneighbors()
    with pytest.raises(error, match=message):
        model.set_params(**arguments).fit(np.hstack([X, X]) if "family" not in arguments else X * 2)
    assert_array_equal(model.set_params(**LSHNeighbors().get_params()).kneighbors(), before)


def test_a_fit_that_fails_late_changes_nothing() -> None:
    X = np.random.default_rng(0).standard_normal((30, 4))
    model = LSHNeighbors(family=PStable(4, 2, width=1.0, n_buckets=64)).fit(X)
    before = model.kneighbors()
    with pytest.raises(ValueError, match="must have 4 columns, got 3"):
        model.fit(X[:, :3])
    assert model.n_features_in_ == 4
    assert_array_equal(model.kneighbors(), before)


def test_rows_that_the_caller_changes_later(tmp_path) -> None:
    X = np.random.default_rng(0).standard_normal((40, 4))
    table = pd.DataFrame(X.copy())
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    models = [LSHNeighbors().fit(rows) for rows in (X, table, X.T.copy().T, mapped)]
    wanted = models[0].kneighbors()
    table.iloc[:, :] = 0.0
    X[...] = 0.0
    for model in models:
        assert_array_equal(model.kneighbors(), wanted)
    assert np.may_share_memory(models[3]._search.rows, mapped)


def test_bad_calls() -> None:
    X = np.random.default_rng(0).standard_normal((30, 4))
    model = LSHNeighbors(family=CrossPolytope(4, 5, n_buckets=64), metric="cosine").fit(X)
    with pytest.raises(ValueError, match="radius must be given to the estimator or to the call, got None"):
        model.radius_neighbors(X)
    with pytest.raises(ValueError, match="mode must be one of"):
        model.kneighbors_graph(X, mode="distances")
    with pytest.raises(ValueError, match="n_neighbors must be an integer of at least 1, got 0"):
        model.kneighbors(X, 0)
    with pytest.raises(ValueError, match="n_neighbors must be at most 30"):
        model.kneighbors(X, 31)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.kneighbors(np.where(X[0] == X, np.nan, X))
    assert_array_equal(model.get_feature_names_out()[:2], ["lshneighbors0", "lshneighbors1"])
