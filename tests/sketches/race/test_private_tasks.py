"""Test classifiers, regressors and modes of private releases: what they learn, spend and refuse."""

from __future__ import annotations

import math
import pickle

import mergesketch
import numpy as np
import pytest
from audit import proves_more_than
from mergesketch import PrivateRace, Race, ReleasedClassifier, ReleasedRegressor
from mergesketch import private_classifier as classify
from mergesketch import private_regressor as regress
from mergesketch.lsh import InnerProduct, MinHash, PStable, SignedRandomProjection
from mergesketch.sketches.core.file_format import pieces_of_file
from mergesketch.sketches.race.noise import laplace_variance
from naive import private_tasks as naive
from toy_family import ToyFamily

TOY = ToyFamily(3, 7, n_buckets=4, seed=1)


def blobs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.standard_normal((n, 4)) + 3.0 * np.eye(3, 4)[y], y


def exact(model: PrivateRace, race: Race) -> PrivateRace:
    """Return a copy of `model` with the counters of `race` and nearly no noise."""
    arrays = {name: state.array.copy() for name, state in model.state.items()}
    arrays["counts"], arrays["variance"] = race.state["counts"].array.astype(np.int64), np.zeros(1)
    return model.empty_like()._set_arrays(arrays)


# -- classification -------------------------------------------------------------------------------


def test_classifier_scores_are_those_of_naive_bayes_over_noisy_counters() -> None:
    X, y = blobs(600)
    model = classify(X, y, epsilon=2.0, classes=[0, 1, 2], low=-4.0, high=7.0)
    scaled = (np.clip(X[:50], -4.0, 7.0) - 1.5) / 5.5
    codes = model.family.hash(scaled)
    expected = naive.private_class_scores(codes, model.counts, model.noise_std)
    np.testing.assert_allclose(model.decision_function(X[:50]), expected, rtol=1e-12)
    shares = np.exp(expected - expected.max(axis=1, keepdims=True))
    np.testing.assert_allclose(model.predict_proba(X[:50]), shares / shares.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(model.predict(X[:50]), expected.argmax(axis=1))


def test_classifier_learns_classes_apart_and_nothing_where_the_budget_is_nothing() -> None:
    X, y = blobs(6000)
    Q, wanted = blobs(2000, seed=1)
    names = np.array(["ash", "birch", "cedar"])
    model = classify(X, names[y], epsilon=1.0, classes=["birch", "ash", "cedar"], low=-4.0, high=7.0)
    # The best rule possible is right on 0.97 of these rows; six standard errors of a share are 0.04.
    assert (model.predict(Q) == names[wanted]).mean() > 0.85
    assert model.predict_proba(Q).shape == (2000, 3)
    np.testing.assert_allclose(model.predict_proba(Q).sum(axis=1), 1.0)
    accuracies = [
        (classify(X, y, epsilon=1e-5, classes=range(3), low=-4, high=7).predict(Q) == wanted).mean()
        for _ in range(5)
    ]
    assert min(accuracies) < 0.7


def test_a_record_moves_one_counter_of_each_repetition_by_one() -> None:
    """The sensitivity is R for any number of classes; `release` sets its noise by it."""
    family = ToyFamily(3, 9, n_buckets=4, seed=2)
    X = np.random.default_rng(3).integers(0, 3, (41, 3)).astype(float)
    y = np.arange(41) % 5
    kept = []

    def held(self, race, epsilon, record_weight, budget):
        kept.append(race.state["counts"].array.astype(np.int64))
        return self

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PrivateRace, "_take_release", held)
        patch.setattr(ToyFamily, "hash", lambda self, X: np.rint(X + 1).astype(np.uint32)[:, [0] * 9])
        for n in (40, 41):
            classify(X[:n], y[:n], epsilon=1.0, classes=range(5), low=-1, high=4, family=family)
            regress(X[:n], y[:n], epsilon=1.0, low=-1, high=4, target_low=0, target_high=4, family=family)
    for before, after, weight in ((kept[0], kept[2], 1), (kept[1], kept[3], 1024)):
        moved = np.abs(after - before)
        assert moved.sum() == 9 * weight
        assert (moved.sum(axis=(1, 2)) == weight).all()


@pytest.mark.slow
@pytest.mark.parametrize("n_hashes", [1, 4])
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_audit(kind: str, n_hashes: int) -> None:
    """Fits with and without one record keep to the budget; the samples suffice to see one overspent."""
    X, y = np.random.default_rng(8).integers(-1, 2, (20, 2)).astype(float), np.arange(20) % 2

    class FirstFeature(ToyFamily):
        def hash(self, X: np.ndarray) -> np.ndarray:
            return np.repeat(np.rint(X[:, :1] + 1).astype(np.uint32), self.n_hashes, axis=1)

    ask = {"low": -1, "high": 1, "family": FirstFeature(2, n_hashes, n_buckets=4), "epsilon": 1.0}
    codes = ask["family"].hash(X[-1:])[0]

    def sample(copies: int) -> np.ndarray:
        rows = np.append(np.arange(19), np.full(copies, 19))
        sums = []
        for _ in range(3000):
            if kind == "classifier":
                model = classify(X[rows], y[rows], classes=[0, 1], **ask)
            else:
                model = regress(X[rows], y[rows], target_low=0, target_high=1, **ask)
            # The record is of class 1, and its target the upper end.
            sums.append(model.counts[np.arange(n_hashes), codes, 1].sum())
        return np.array(sums)

    without = sample(0)
    assert not proves_more_than(1.0, sample(1), without)
    assert proves_more_than(1.0, sample(8), without)  # eight records may leak eight budgets


def test_noise_is_that_of_the_record_weight() -> None:
    X, y = blobs(50)
    family = PStable(4, 11, n_buckets=8)
    box = {"low": -4.0, "high": 7.0, "family": family, "epsilon": 0.5}
    one = classify(X, y, classes=range(3), **box)
    assert one.noise_std == pytest.approx(math.sqrt(laplace_variance(11, 0.5)))
    three = classify(X, y, classes=range(3), rows_per_record=3, **box)
    assert three.noise_std == pytest.approx(math.sqrt(laplace_variance(33, 0.5)))
    ends = regress(X, y, target_low=0, target_high=2, rows_per_record=3, **box)
    assert ends.noise_std == pytest.approx(math.sqrt(laplace_variance(33 * 1024, 0.5)))


# -- regression -----------------------------------------------------------------------------------


def test_regressor_is_nadaraya_watson_where_noise_is_small() -> None:
    rng = np.random.default_rng(4)
    X = rng.uniform(-1, 1, (3000, 2))
    y = X[:, 0] + 10.0
    family = PStable(2, 400, width=1.0, n_buckets=256)
    model = regress(X, y, epsilon=2.0**20, low=-1, high=1, target_low=9, target_high=11, family=family)
    Q = rng.uniform(-1, 1, (40, 2))
    kernel = family.kernel(Q, X)
    weights, mass = kernel @ y, kernel.sum(axis=1)
    # The estimate is a ratio of sums of 400 repetitions; each counter's deviation is below its mean.
    spread = np.sqrt((kernel * (y - (weights / mass)[:, None]) ** 2).sum(axis=1) * mass) / mass
    assert (np.abs(model.predict(Q) - weights / mass) < 6 * spread / math.sqrt(400) + 0.01).all()


def test_regressor_predicts_the_mean_where_there_are_no_rows() -> None:
    X = np.random.default_rng(5).uniform(0.4, 0.6, (20_000, 2))
    family = PStable(2, 20, width=0.1, power=3, n_buckets=1 << 14)
    model = regress(
        X, np.full(20_000, 3.0), epsilon=1.0, low=0, high=1, target_low=0, target_high=10, family=family
    )
    assert abs(model.predict(np.array([[0.5, 0.5]]))[0] - 3.0) < 0.5
    total = model.total.sum()
    assert (model.predict(np.array([[0.0, 0.0], [1.0, 0.0]])) <= 10.0).all()
    mean = 10 * model.total[1] / total
    # Only noise is there; six of its deviations move the share by at most 1/8.
    assert np.abs(model.predict(np.array([[0.0, 0.0], [1.0, 0.0]])) - mean).max() < 10 * 6 / 8


def test_regressor_beats_the_mean() -> None:
    rng = np.random.default_rng(6)
    X = rng.uniform(-1, 1, (20_000, 2))
    y = np.sin(3 * X[:, 0])
    model = regress(X, y, epsilon=1.0, low=-1, high=1, target_low=-1, target_high=1)
    assert np.mean((model.predict(X) - y) ** 2) < 0.4 * y.var()
    assert np.abs(model.predict(X)).max() <= 1.0


# -- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_parts_merge_save_and_tell_what_they_spent(kind: str, tmp_path) -> None:
    X, y = blobs(900)
    family = SignedRandomProjection(4, 6, power=3, seed=2)

    def fit(rows: slice, epsilon: float):
        box = {"epsilon": epsilon, "low": -4.0, "high": 7.0, "family": family}
        if kind == "classifier":
            return classify(X[rows], y[rows], classes=range(3), **box)
        return regress(X[rows], y[rows], target_low=0, target_high=2, **box)

    a, b = fit(slice(400), 0.5), fit(slice(400, None), 0.25)
    both = a | b
    assert type(both) in (ReleasedClassifier, ReleasedRegressor)
    assert (both.epsilon, both.epsilon_if_disjoint, both.n_updates) == (0.75, 0.5, 2)
    np.testing.assert_array_equal(both.counts, a.counts + b.counts)
    for text in ("epsilon 0.75 (0.5 if disjoint)", "2 updates", f"noise of {both.noise_std:.4g} a counter"):
        assert text in repr(both)
    assert "disjoint" not in repr(a)
    both.save(tmp_path / "model")
    loaded = mergesketch.load(tmp_path / "model")
    assert loaded == both == pickle.loads(pickle.dumps(both))
    np.testing.assert_array_equal(loaded.predict(X), both.predict(X))
    with pytest.raises(TypeError, match="takes no rows"):
        both.update(X)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_files_of_version_0_2_have_the_former_names(kind: str, tmp_path) -> None:
    X, y = blobs(100)
    box = {"epsilon": 1.0, "low": -4.0, "high": 7.0}
    if kind == "classifier":
        model, former = classify(X, y, classes=range(3), **box), "PrivateClassifier"
    else:
        model, former = regress(X, y, target_low=0, target_high=2, **box), "PrivateRegressor"
    arrays = {name: state.array for name, state in model.state.items()}
    (tmp_path / "old").write_bytes(b"".join(pieces_of_file(former, model.config(), arrays)))
    loaded = mergesketch.load(tmp_path / "old")
    assert type(loaded) is type(model) and loaded == model
    assert type(model).load(tmp_path / "old") == model
    loaded.save(tmp_path / "new")
    assert mergesketch.inspect(tmp_path / "new")["class"] == former.replace("Private", "Released")


def test_models_of_other_bounds_do_not_merge() -> None:
    X, y = blobs(50)
    a = classify(X, y, epsilon=1.0, classes=range(3), low=-4.0, high=7.0)
    for other in ({"low": -5.0}, {"classes": [0, 2, 1]}, {"epsilon": 4.0}):
        arguments = {"epsilon": 1.0, "classes": range(3), "low": -4.0, "high": 7.0, **other}
        with pytest.raises(mergesketch.errors.IncompatibleSketchError):
            a.merge(classify(X, y, **arguments))


def test_clipping_is_that_of_the_bounds() -> None:
    X, y = blobs(300)
    model = classify(X, y, epsilon=1.0, classes=range(3), low=0.0, high=[1.0, 1.0, 1.0, 0.5])
    far = np.array([[9.0, -9.0, 0.5, 7.0]])
    near = np.array([[1.0, 0.0, 0.5, 0.5]])
    np.testing.assert_array_equal(model.decision_function(far), model.decision_function(near))
    np.testing.assert_array_equal(model.query(far), model.query(near))


def test_nothing_exact_is_left_of_the_fit() -> None:
    """The object has its configuration and noisy state alone; rows of no budget leave no trace."""
    n = 12_347
    model = classify(
        np.zeros((n, 3)), np.zeros(n, int), epsilon=2.0**-20, classes=[0, 1], low=-1, high=1,
        family=PStable(3, 3, n_buckets=4),
    )  # fmt: skip
    for stored in (model.to_bytes(), pickle.dumps(model), repr(model).encode(), str(model.__dict__).encode()):
        assert n.to_bytes(4, "little") not in stored
        assert str(n).encode() not in stored
    assert set(model.state) == {"counts", "spent", "spent_if_disjoint", "variance", "n_updates"}


# -- modes ----------------------------------------------------------------------------------------


def two_humps() -> PrivateRace:
    rng = np.random.default_rng(7)
    X = np.vstack([rng.normal([2.0, 1.0], 0.3, (8000, 2)), rng.normal([-2.0, 0.0], 0.3, (4000, 2))])
    return Race(PStable(2, 40, width=1.0, power=2, n_buckets=512, seed=3)).update(X).release(1.0)


def test_modes_are_found_by_ascent_and_among_candidates() -> None:
    release = two_humps()
    modes, sums = release.modes(2, low=-4.0, high=4.0, separation=0.1)
    np.testing.assert_allclose(modes, [[2.0, 1.0], [-2.0, 0.0]], atol=0.6)
    assert sums[0] > sums[1]
    np.testing.assert_allclose(release.query(modes), sums)
    grid = np.stack(np.meshgrid(np.arange(-4, 5.0), np.arange(-4, 5.0)), axis=-1).reshape(-1, 2)
    chosen, _ = release.modes(2, candidates=grid, separation=0.1)
    np.testing.assert_allclose(chosen, [[2.0, 1.0], [-2.0, 0.0]], atol=1.0)
    np.testing.assert_array_equal(release.modes(2, low=-4.0, high=4.0, separation=0.1)[0], modes)


def test_modes_lie_apart_and_above_zero() -> None:
    release = two_humps()
    modes, sums = release.modes(50, low=-4.0, high=4.0, separation=0.2, n_steps=0)
    kernel = release.family.kernel(modes, modes)
    assert (kernel[~np.eye(len(modes), dtype=bool)] <= 0.2).all()
    assert (sums > 0).all()
    assert (np.diff(sums) <= 0).all()


def test_bad_arguments_of_modes() -> None:
    release = two_humps()
    for arguments in ({}, {"low": 0.0}, {"candidates": [[0.0, 0.0]], "low": 0.0, "high": 1.0}):
        with pytest.raises(ValueError, match="modes needs either candidates, or low and high"):
            release.modes(**arguments)
    with pytest.raises(ValueError, match="k must be"):
        release.modes(0, low=0.0, high=1.0)
    with pytest.raises(ValueError, match="separation must be"):
        release.modes(low=0.0, high=1.0, separation=2.0)
    with pytest.raises(ValueError, match="low must be below high"):
        release.modes(low=1.0, high=0.0)
    with pytest.raises(ValueError, match="candidates must have 2 columns"):
        release.modes(candidates=[[0.0]])
    with pytest.raises(TypeError, match="needs a family of rows of known width"):
        Race(MinHash(n_hashes=4, n_buckets=8)).release(1.0).modes(low=0.0, high=1.0)
    with pytest.raises(TypeError, match="modes needs a release of one output"):
        Race(TOY, n_outputs=2).release(1.0).modes(low=0.0, high=1.0)


# -- bad input ------------------------------------------------------------------------------------

GOOD = {"epsilon": 1.0, "classes": [0, 1, 2], "low": -4.0, "high": 7.0}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epsilon": 0.0}, ValueError, "epsilon must be a number in"),
        ({"epsilon": -1.0}, ValueError, "epsilon must be a number in"),
        ({"epsilon": math.nan}, ValueError, "epsilon must be a number in"),
        ({"epsilon": "1"}, TypeError, "epsilon must be a number in"),
        ({"classes": [0, 1]}, ValueError, r"y must hold classes alone, \(0, 1\); .* of 60 labels are none"),
        ({"classes": [0]}, ValueError, "classes must be two or more"),
        ({"classes": [0, 1, 1]}, ValueError, "classes must be two or more"),
        ({"classes": [0, 1.5]}, TypeError, "classes must be two or more"),
        ({"classes": "ab"}, TypeError, "classes must be two or more"),
        ({"classes": ["a", "b"]}, TypeError, "y must hold labels like classes"),
        ({"low": 7.0}, ValueError, "low must be below high, .* got 7 and 7 in feature 0"),
        ({"low": [0.0, 0.0]}, ValueError, r"low must be a number or 4 numbers, .* got shape \(2,\)"),
        ({"high": math.inf}, ValueError, "high must be finite"),
        ({"high": "7"}, TypeError, "high must be a number or 4"),
        ({"low": 0.0, "clip": False}, ValueError, "of 60 rows lie beyond the bounds low and high"),
        ({"clip": 1}, TypeError, "clip must be True or False"),
        ({"rows_per_record": 0}, ValueError, "rows_per_record must be"),
        ({"family": PStable(3, 4)}, ValueError, "X must have 3 columns, got 4"),
        ({"family": MinHash(n_hashes=4, n_buckets=8)}, TypeError, "family must be of dense rows"),
        ({"family": "srp"}, TypeError, "family must be a HashFamily"),
        (
            {"family": InnerProduct(4, 4, max_norm=2.0)},
            ValueError,
            "family must hash rows and queries alike, which InnerProduct does not",
        ),
    ],
)  # fmt: skip
def test_bad_arguments_of_the_classifier(change: dict, error: type, message: str) -> None:
    X, y = blobs(60)
    with pytest.raises(error, match=message):
        classify(X, y, **{**GOOD, **change})


def test_public_arguments_are_required() -> None:
    X, y = blobs(60)
    for missing in GOOD:
        with pytest.raises(TypeError, match=missing):
            classify(X, y, **{name: value for name, value in GOOD.items() if name != missing})


def test_bad_rows_labels_and_targets() -> None:
    X, y = blobs(60)
    with pytest.raises(ValueError, match=r"y must have shape \(60,\), one label a row, got \(59,\)"):
        classify(X, y[1:], **GOOD)
    with pytest.raises(ValueError, match="X"):
        classify(np.where(X[3] == X, np.nan, X), y, **GOOD)
    ends = {"epsilon": 1.0, "low": -4.0, "high": 7.0, "target_low": 0.0, "target_high": 2.0}
    for change, error, message in (
        ({"target_high": 0.0}, ValueError, "target_high must be a number in"),
        ({"target_low": math.nan}, ValueError, "target_low must be a number in"),
        ({"low": -99.0, "high": 99.0, "target_high": 1.0, "clip": False}, ValueError, "rows lie beyond"),
        ({"epsilon": 0}, ValueError, "epsilon must be"),
    ):
        with pytest.raises(error, match=message):
            regress(X, y, **{**ends, **change})
    with pytest.raises(ValueError, match=r"y must have shape \(60,\), one target"):
        regress(X, y[1:], **ends)
    with pytest.raises(TypeError, match="y must hold real numbers"):
        regress(X, y.astype(str), **ends)
    with pytest.raises(ValueError, match="y"):
        regress(X, np.where(y == 1, np.nan, y), **ends)
