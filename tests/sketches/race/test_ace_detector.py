"""Test AceDetector: scikit-learn's checks, data that are not scaled, weights, merging and warnings."""

from __future__ import annotations

import pickle
import warnings

import hypothesis
import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import strategies as st
from mergesketch import AceDetector, AceSketch
from mergesketch.errors import IncompatibleSketchError
from mergesketch.lsh import BitSampling, MinHash, PStable
from mergesketch.sketches.core.file_format import pieces_of_file
from mergesketch.sketches.race.ace_detector import weighted_quantile
from mergesketch.sketches.race.kernel_choice import choose_scaling, distinct_rows
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks


@parametrize_with_checks([AceDetector(), AceDetector(contamination=0.1)])
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


def normal(seed: int, n: int = 2000, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def rare(data: tuple[np.ndarray, np.ndarray], which: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of which n are of one class, and True for these."""
    X, y = data
    odd = np.random.default_rng(seed).choice(np.flatnonzero(y == which), n, replace=False)
    return np.vstack([X[y != which], X[odd]]), np.arange((y != which).sum() + n) >= (y != which).sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "which", "n", "least"), [(load_wine, 2, 8, 0.9), (load_breast_cancer, 0, 20, 0.9)]
)
def test_columns_that_are_not_scaled(load, which: int, n: int, least: float) -> None:
    """Without scaling, the first column of wine decides everything, and the AUC was 0.55."""
    ours, forest = [], []
    for seed in range(5):
        X, odd = rare(load(return_X_y=True), which, n, seed)
        scores = AceDetector(random_state=seed).fit(X).score_samples(X)
        ours.append(roc_auc_score(odd, -scores))
        forest.append(roc_auc_score(odd, -IsolationForest(random_state=seed).fit(X).score_samples(X)))
    assert np.mean(ours) >= least
    assert np.mean(ours) >= np.mean(forest) - 0.02


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_fit_calls_that_share_of_the_rows_outliers(share: float) -> None:
    X = normal(0, 1000)
    detector = AceDetector(contamination=share).fit(X)
    assert (detector.predict(X) == -1).sum() == share * 1000
    np.testing.assert_array_equal(detector.fit_predict(X), detector.predict(X))
    assert detector.offset_ == np.percentile(detector.score_samples(X), 100 * share)
    np.testing.assert_allclose(detector.decision_function(X), detector.score_samples(X) - detector.offset_)


def test_later_batches_and_merges_use_the_threshold_of_the_sketch() -> None:
    X = normal(1)
    detector = AceDetector(contamination=0.1).fit(X[:1000]).partial_fit(X[1000:])
    assert detector.offset_ == detector.sketch_.threshold
    fitted = AceDetector(detector.sketch_.family, contamination=0.1).fit(X)
    assert fitted.offset_ > fitted.sketch_.threshold  # the rows of fit count themselves
    assert (fitted | fitted).offset_ == (fitted | fitted).sketch_.threshold


def test_by_default_few_rows_are_outliers_and_far_ones_are() -> None:
    X = normal(2)
    detector = AceDetector().fit(X)
    assert 0 < (detector.predict(X) == -1).mean() < 0.03
    assert (detector.predict(np.full((3, 4), 8.0)) == -1).all()
    assert (detector.predict(np.zeros((3, 4))) == 1).all()


def test_by_default_outliers_among_the_rows_of_fit_are_found() -> None:
    """They count themselves, so the threshold for them is higher by the density of one row."""
    X = normal(18, 600)
    X[:12] *= 6
    detector = AceDetector().fit(X)
    assert (detector.predict(X)[:12] == -1).mean() > 0.5
    assert (detector.predict(X)[12:] == -1).mean() < 0.02
    own = 1 / 600 / (1 - detector.sketch_.family.chance_collision)
    assert detector.offset_ == pytest.approx(detector.sketch_.threshold + own, rel=1e-12)


def test_the_threshold_by_logarithms_is_that_of_all_rows_while_the_sample_holds_them() -> None:
    X = normal(3, 800)
    sketch = AceSketch(PStable(4, 50, width=4.0, seed=1), contamination="auto", alpha=2.0).update(X)
    logs = np.log(np.maximum(sketch.score_samples(X), 1 / 800))
    chance = sketch.family.chance_collision
    wanted = np.exp(logs.mean() - 2.0 * logs.std()) - 1 / 800 / (1 - chance)
    assert sketch.threshold == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("sparse", [False, True])
def test_weights_are_repeats(sparse: bool) -> None:
    rng = np.random.default_rng(4)
    X, weights = rng.integers(0, 4, (300, 3)) * [1.0, 1e-5, 1e5], rng.integers(0, 4, 300)
    order = rng.permutation(weights.sum())
    repeated = np.repeat(X, weights, axis=0)[order]
    if sparse:
        X, repeated = scipy.sparse.csr_array(X), scipy.sparse.csr_array(repeated)
    for share in ("auto", 0.1):
        weighted = AceDetector(contamination=share).fit(X, sample_weight=weights.astype(float))
        plain = AceDetector(contamination=share).fit(repeated)
        assert weighted.sketch_ == plain.sketch_
        assert weighted.offset_ == plain.offset_
        for name in ("center", "scale"):
            np.testing.assert_array_equal(weighted.scaling_[name], plain.scaling_[name])
    with pytest.raises(ValueError, match=r"sample_weight must have a sum of at most 2\*\*53, got 3e\+302"):
        AceDetector().fit(X, sample_weight=np.full(300, 1e300))
    with pytest.raises(ValueError, match=r"sample_weight must be whole numbers.* got 0\.5; multiply"):
        AceDetector().fit(X, sample_weight=np.full(300, 0.5))
    with pytest.raises(ValueError, match="at least one non-zero number"):
        AceDetector().fit(X, sample_weight=np.zeros(300))
    with pytest.raises(ValueError, match="Negative values"):
        AceDetector().fit(X, sample_weight=-np.ones(300))


@pytest.mark.parametrize(("n", "repeats"), [(3000, 1), (6000, 1), (800, 20)])
def test_sparse_rows_and_dense_ones_have_the_same_keys_and_scales(n: int, repeats: int) -> None:
    """Sort only the rows of small keys among many rows, unless these repeat too often."""
    rng = np.random.default_rng(5)
    X = rng.integers(0, 2, (n, 6)) * rng.standard_normal((n, 6)).round(1)
    X = np.repeat(X, repeats, axis=0)
    dense, sparse = distinct_rows(X, None), distinct_rows(scipy.sparse.csr_array(X), None)
    for ours, theirs in zip(dense, sparse, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(dense.rows) == 512 == len(np.unique(dense.rows, axis=0))
    assert not choose_scaling(sparse, centred=False)["center"].any()
    rows, totals = np.unique(X + 0.0, axis=0, return_counts=True)
    found = {tuple(row): total for row, total in zip(rows.tolist(), totals, strict=True)}
    assert [found[tuple(row)] for row in dense.rows.tolist()] == dense.weights.tolist()


@pytest.mark.parametrize("part", [slice(0, 700), slice(700, 2000)])
def test_shards_that_begin_alike_merge_into_the_whole(part: slice) -> None:
    X = normal(6) * [1, 100, 1e-4, 1] + [0, 0, 0, 1e6]
    begun = AceDetector(contamination=0.05).fit(X[:200])
    start = AceDetector(begun.sketch_.family, scaling=begun.scaling_, contamination=0.05)
    whole = clone(start).partial_fit(X)
    rest = np.delete(X, np.arange(2000)[part], axis=0)
    shards = clone(start).fit(X[part]), clone(start).fit(rest)
    both = shards[0] | shards[1]
    assert both.sketch_ == whole.sketch_
    assert both.offset_ == whole.offset_
    np.testing.assert_array_equal(both.predict(X), whole.predict(X))
    assert shards[0].merge(shards[1]) is shards[0]
    assert shards[0].sketch_ == whole.sketch_


def test_shards_that_chose_for_themselves_do_not_merge() -> None:
    X = normal(7)
    here, there = AceDetector().fit(X[:500]), AceDetector().fit(X[500:] * 2)
    before = here.sketch_.copy()
    with pytest.raises(IncompatibleSketchError, match=r"differ in scaling_.*pass family=fitted\.sk"):
        here.merge(there)
    with pytest.raises(IncompatibleSketchError, match=r"differ in .*width.*pass family=fitted\.sk"):
        AceDetector(scaling=None).fit(X[:500]).merge(AceDetector(scaling=None).fit(X * 9))
    assert here.sketch_ == before


def test_a_family_of_the_users_own_hashes_rows_as_they_are() -> None:
    X = normal(8)
    family = PStable(4, 60, width=4.0, power=2, seed=3)
    detector = AceDetector(family, contamination=0.01).partial_fit(X)
    assert detector.scaling_ is None
    sketch = AceSketch(family, contamination=0.01).update(X)
    assert detector.sketch_ == sketch
    np.testing.assert_array_equal(detector.predict(X), sketch.predict(X))
    np.testing.assert_array_equal(detector.score_samples(X), sketch.score_samples(X))
    bits = np.random.default_rng(0).integers(0, 256, (500, 5)).astype(np.uint8)
    assert AceDetector(BitSampling(40, 50, power=4)).fit(bits).predict(bits).shape == (500,)


@pytest.mark.parametrize("unit", [1e-250, 1e-9, 1e9, 1e250])
def test_units_make_no_difference(unit: float) -> None:
    X = normal(15, 500)
    ours, theirs = (AceDetector(n_hashes=400).fit(A).score_samples(A) for A in (X, X * unit))
    # Other rounding errors lead to another sample and width.
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95


def test_sets_and_searches_over_families() -> None:
    rng = np.random.default_rng(16)
    sets = scipy.sparse.csr_array((rng.random((400, 30)) < 0.2).astype(float))
    detector = AceDetector(MinHash(60, n_buckets=256), contamination=0.05).fit(sets)
    assert (detector.predict(sets) == -1).mean() <= 0.05
    assert detector.sketch_ == AceSketch(MinHash(60, n_buckets=256), contamination=0.05).update(sets)
    X, odd = normal(17, 600), rng.permutation(600) < 30
    X[odd] *= 5
    families = [PStable(4, 50, width=1e-9), PStable(4, 50, width=4.0)]
    search = GridSearchCV(AceDetector(), {"family": families}, scoring="roc_auc", cv=2)
    with pytest.warns(UserWarning, match="no rows collide"):
        search.fit(X, np.where(odd, -1, 1))
    assert search.best_params_["family"].width == 4.0


def test_a_sketch_that_was_loaded_goes_on_in_the_estimator(tmp_path) -> None:
    X = normal(9) * [1, 1e3, 1, 1]
    detector = AceDetector(contamination=0.05).partial_fit(X[:1000])
    detector.sketch_.save(tmp_path / "ace.sketch")
    loaded = mergesketch.load(tmp_path / "ace.sketch")
    again = AceDetector.from_sketch(loaded, scaling=detector.scaling_)
    np.testing.assert_array_equal(again.decision_function(X), detector.decision_function(X))
    assert again.partial_fit(X[1000:]).sketch_ == detector.partial_fit(X[1000:]).sketch_
    assert loaded.n_updates == 1000
    with pytest.raises(TypeError, match="sketch must be of AceSketch, got AceDetector"):
        AceDetector.from_sketch(detector)
    with pytest.raises(ValueError, match="sketch must have seen rows"):
        AceDetector.from_sketch(loaded.empty_like())
    with pytest.raises(ValueError, match=r"scaling\['scale'\] must be finite and above 0"):
        AceDetector.from_sketch(loaded, scaling={"center": 0, "scale": 0})


def test_files_and_pickles_of_the_sketchs_former_name_load() -> None:
    sketch = AceSketch(PStable(4, 10, width=4.0), contamination=0.1).update(normal(10))
    old = b"".join(
        pieces_of_file("AceDetector", sketch.config(), {k: s.array for k, s in sketch.state.items()})
    )
    assert mergesketch.load is not None
    assert AceSketch.from_bytes(old) == sketch
    assert AceDetector._rebuilt(*sketch.__reduce__()[1]) == sketch


def test_pipelines_searches_frames_and_pickles() -> None:
    pandas = pytest.importorskip("pandas")
    X = normal(11)
    odd = np.arange(2000) < 20
    X[odd] *= 6
    piped = make_pipeline(StandardScaler(), AceDetector(contamination=0.01)).fit(X)
    assert (piped.predict(X[odd]) == -1).mean() > 0.5
    frame = pandas.DataFrame(X, columns=list("abcd"))
    detector = AceDetector().fit(frame)
    assert list(detector.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(frame[list("badc")])
    search = GridSearchCV(AceDetector(), {"n_hashes": [10, 60], "alpha": [2.0, 3.0]}, scoring="roc_auc", cv=2)
    order = np.random.default_rng(0).permutation(len(X))
    assert search.fit(X[order], np.where(odd, -1, 1)[order]).best_score_ > 0.9
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.decision_function(frame), detector.decision_function(frame))


def test_no_rows_collide_and_all_do() -> None:
    X = normal(12)
    for family, message in (
        (PStable(4, 50, width=1e-4), "no rows collide: a row shares a bucket with .* of the other 1999 rows"),
        (PStable(4, 50, width=1e6), "all rows collide: the mean score is .*Centre|all rows collide"),
    ):
        with pytest.warns(UserWarning, match=f"AceDetector: {message}"):
            detector = AceDetector(family).partial_fit(X)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            detector.partial_fit(X)  # it warns once
        sketch = AceSketch(family).update(X)
        with pytest.warns(UserWarning, match=f"AceSketch: {message}"):
            sketch.predict(X)
    with pytest.warns(UserWarning, match="all rows collide"):
        AceDetector(PStable(4, 50, width=1.0)).fit(X * 1e-7)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "kind",
    ["normal", "one-hot", "constant", "repeats", "few rows", "mostly zero", "scales", "one row", "integers"],
)
def test_structured_rows_do_not_warn(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = {
        "normal": rng.standard_normal((500, 5)),
        "one-hot": np.eye(12)[rng.integers(0, 12, 500)],
        "constant": np.full((500, 3), 7.25),
        "repeats": np.repeat(rng.standard_normal((5, 4)), 100, axis=0),
        "few rows": rng.standard_normal((20, 4)),
        "mostly zero": np.where(rng.random((500, 30)) < 0.99, 0.0, rng.exponential(size=(500, 30))),
        "scales": rng.standard_normal((500, 8)) * 10.0 ** rng.uniform(-6, 6, 8),
        "one row": rng.standard_normal((1, 4)),
        "integers": rng.poisson([1, 5, 20, 100], (500, 4)),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = AceDetector(random_state=seed).fit(X)
        assert np.isfinite(detector.decision_function(X)).all()
        detector = AceDetector(random_state=seed, contamination=0.1).fit(X)
        assert (detector.predict(X) == -1).mean() <= 0.1
        batches = AceDetector(random_state=seed)
        for start in range(0, len(X) - 9, 100):
            batches.partial_fit(X[start : start + 100])
    if kind == "constant":
        assert (detector.predict(X) == 1).all()


def test_a_refused_batch_changes_nothing() -> None:
    X = normal(13)
    detector = AceDetector(contamination=0.05).fit(X)
    offset, sketch = detector.offset_, detector.sketch_.copy()
    for call in (detector.fit, detector.partial_fit):
        for bad, weights in (
            (np.full((3, 4), np.nan), None),
            (np.zeros((3, 5)), None) if call == detector.partial_fit else (np.zeros((0, 4)), None),
            (X, np.full(2000, 0.5)),
            (X, np.ones(3)),
        ):
            with pytest.raises(ValueError):  # noqa: PT011
                call(bad, sample_weight=weights)
            assert detector.offset_ == offset
            assert detector.sketch_ == sketch
            assert detector.n_features_in_ == 4


def test_bad_arguments() -> None:
    X = normal(14, 50)
    for given, message in (
        ({"family": "pstable"}, 'family must be "auto" or a hash family'),
        ({"contamination": "most"}, 'contamination must be "auto", None or a number'),
        ({"contamination": 0.7}, "contamination must be a number in"),
        ({"alpha": -1.0}, "alpha must be a number in"),
        ({"n_hashes": 1}, "n_hashes must be an integer from 2"),
        ({"scaling": "std"}, 'scaling must be "auto", None or a dict'),
        ({"scaling": {"center": 0.0}}, "scaling must be"),
        (
            {"scaling": {"center": [0, 0], "scale": 1}},
            r"scaling\['center'\] must be a number or of shape \(4,\)",
        ),
        ({"scaling": {"center": 0.0, "scale": -1}}, r"scaling\['scale'\] must be finite and above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            AceDetector(**given).fit(X)
    with pytest.raises(NotFittedError):
        AceDetector().merge(AceDetector())
    dense = AceDetector().fit(X + 5)
    with pytest.raises(ValueError, match="X must be dense, because the centres in scaling_ are not 0"):
        dense.predict(scipy.sparse.csr_array(X))


def test_large_weights_take_no_memory() -> None:
    """The quantile of a trillion repeated scores is found without repeating them."""
    X = np.random.default_rng(4).standard_normal((60, 2))
    weights = np.full(60, 2.0**34)
    detector = AceDetector(contamination=0.25).fit(X, sample_weight=weights)
    scores = detector.score_samples(X)
    assert np.sort(scores)[14] <= detector.offset_ <= np.sort(scores)[15]


@hypothesis.given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 5)), min_size=1, max_size=20).filter(
        lambda pairs: sum(n for _, n in pairs) > 0
    ),
    st.floats(0.001, 0.5),
)
def test_the_quantile_is_that_of_numpy(pairs: list[tuple[float, int]], share: float) -> None:
    values, repeats = (np.array(column) for column in zip(*pairs, strict=True))
    wanted = float(np.percentile(np.repeat(values, repeats), 100.0 * share))
    assert weighted_quantile(values.astype(float), repeats.astype(np.int64), share) == wanted
