"""Test DensitySketch: cells and counts against naive ones, densities and samples against theory."""

from __future__ import annotations

import functools
import operator
import re
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import DensitySketch
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.density.grid_width import cross_validation
from mergesketch.sketches.kernels import code_counters
from mergesketch.sketches.kernels import grid as grid_kernels
from naive.density import grid_counts, triangular_density
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_moons
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def exact(n_features: int, width: Any, n_repetitions: int, **parameters: Any) -> DensitySketch:
    """Return a sketch whose table is too large to err."""
    return DensitySketch(n_features, width, n_repetitions=n_repetitions, n_buckets=1 << 18, **parameters)


def naive_grids(sketch: DensitySketch, X: np.ndarray, weights: np.ndarray) -> list[dict]:
    frames = list(sketch._grids.rotations) or [np.eye(sketch.n_features)] * sketch.n_repetitions
    return grid_counts(X, weights, frames, sketch._grids.shifts, sketch._grids.widths)


# -- against naive counts -------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    n_features=st.integers(1, 4),
    n=st.integers(1, 60),
    rotate=st.booleans(),
    width=st.sampled_from([0.3, 1.0, 7.0]),
    max_bins=st.sampled_from([1, 1 << 16]),
    seed=st.integers(0, 2**32),
)
def test_densities_are_those_of_counted_cells(
    n_features: int, n: int, rotate: bool, width: float, max_bins: int, seed: int
) -> None:
    """Cells are counted by the table, where one is kept by name only, and by name."""
    rng = np.random.default_rng(seed)
    X, weights = rng.normal(size=(n, n_features)) * 3, rng.integers(0, 4, n)
    weights[0] = 1
    sketch = exact(n_features, width, 5, rotate=rotate, seed=seed, max_bins=max_bins).update(X, weights)
    grids = naive_grids(sketch, X, weights)
    Q = np.concatenate([X, rng.normal(size=(5, n_features))])
    frames = list(sketch._grids.rotations) or [np.eye(n_features)] * 5
    expected = np.zeros(len(Q))
    for frame, shift, counts in zip(frames, sketch._grids.shifts, grids, strict=True):
        for i, q in enumerate(Q):
            expected[i] += counts.get(tuple(np.floor(frame @ q / width + shift).astype(int).tolist()), 0)
    expected /= 5 * weights.sum() * width**n_features
    np.testing.assert_allclose(sketch.density(Q), expected, rtol=1e-12)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(sketch.log_density(Q), np.log(expected), rtol=1e-9, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(max_bins=st.integers(1, 120), n_parts=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_the_cells_to_draw_from_are_all_heavy_ones_however_the_data_was_split(
    max_bins: int, n_parts: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    X, weights = rng.normal(size=(200, 2)) * rng.choice([0.2, 3.0], (200, 1)), rng.integers(0, 3, 200)
    empty = exact(2, 1.0, 3, max_bins=max_bins, seed=seed)
    parts = np.array_split(rng.permutation(200), n_parts)
    built = [empty.empty_like().update(X[part], weights[part]) for part in parts]
    merged = functools.reduce(operator.or_, built)
    threshold = 2 * 3 * int(weights.sum()) // max_bins
    expected = {
        (r, *cell): count
        for r, counts in enumerate(naive_grids(empty, X, weights))
        for cell, count in counts.items()
        if count > threshold
    }
    repetitions, cells, counts = merged._heavy()
    found = {
        (r, *cell): count
        for r, cell, count in zip(repetitions.tolist(), cells.tolist(), counts.tolist(), strict=True)
    }
    assert found == expected
    assert merged.n_bins == len(expected)
    assert merged.coverage == pytest.approx(sum(expected.values()) / (3 * weights.sum()))


# -- against theory -------------------------------------------------------------------------------


def test_densities_are_unbiased_for_the_triangular_kernel() -> None:
    rng = np.random.default_rng(5)
    X, widths = rng.normal(size=(300, 2)) * [1.0, 10.0], np.array([0.8, 12.0])
    sketch = exact(2, widths, 3000, seed=5, max_bins=1).update(X)
    Q = X[:20] + rng.normal(size=(20, 2)) * 0.1
    density = triangular_density(Q, X, widths)
    # A grid's density lies between 0 and 1 / volume, so its variance is at most density / volume.
    error = np.sqrt(density / widths.prod() / 3000)
    assert (np.abs(sketch.density(Q) - density) < 6 * error).all()


@pytest.mark.slow
def test_densities_in_rotated_frames_integrate_to_one_and_know_no_axis() -> None:
    X = np.zeros((1, 2))
    sketch = exact(2, 1.0, 4000, rotate=True, seed=2).update(X)
    side = np.linspace(-1.6, 1.6, 65)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    # No point lies farther away than a diagonal; the trapezoid rule on this grid errs by far less.
    assert sketch.density(grid).sum() * (side[1] - side[0]) ** 2 == pytest.approx(1.0, abs=0.02)
    # The kernel at distance 1, averaged over directions; along the axes of one grid it would be 0, and
    # 0.086 between them.
    angles = np.linspace(0.0, np.pi, 7)
    turns = np.linspace(0.0, 2 * np.pi, 100_000, endpoint=False)
    expected = ((1 - np.abs(np.cos(turns))) * (1 - np.abs(np.sin(turns)))).mean()
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    assert (np.abs(sketch.density(ring) - expected) < 6 * np.sqrt(expected / 4000)).all()


@pytest.mark.filterwarnings("ignore:the table errs")
def test_a_small_table_errs_within_the_bound_of_the_count_sketch() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(5000, 2))
    one = {"n_repetitions": 1, "seed": 3, "max_bins": 1}
    small = DensitySketch(2, 0.3, n_rows=5, n_buckets=512, **one).update(X)
    counts = naive_grids(small, X, np.ones(5000, int))[0]
    norm = np.sqrt(sum(c**2 for c in counts.values()))
    large = exact(2, 0.3, 1, seed=3, max_bins=1).update(X)
    errors = np.abs(small.density(X) - large.density(X)) * 5000 * 0.09
    # Of five rows three would have to err by more than 4 norm / sqrt(512): 10 (1/16)**3 of cells at most.
    assert (errors > 4 * norm / np.sqrt(512)).mean() < 10 / 16**3


@pytest.mark.parametrize("rotate", [False, True])
def test_samples_are_uniform_in_cells_drawn_by_their_counts(rotate: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) * 1.5
    sketch = exact(2, 1.0, 1, rotate=rotate, seed=8).update(X)
    assert sketch.coverage == 1.0
    S = sketch.sample(40_000, random_state=1)
    (counts,) = naive_grids(sketch, X, np.ones(400, int))
    (drawn,) = naive_grids(sketch, S, np.ones(40_000, int))
    assert set(drawn) <= set(counts)
    for cell, count in counts.items():
        p = count / 400
        assert abs(drawn.get(cell, 0) - 40_000 * p) < 6 * np.sqrt(40_000 * p * (1 - p))
    # Where in its cell a point lies: uniform, mean 1/2 and variance 1/12.
    frame = sketch._grids.rotations[0] if rotate else np.eye(2)
    place = (S @ frame.T + sketch._grids.shifts[0]) % 1.0
    assert (np.abs(place.mean(axis=0) - 0.5) < 6 * np.sqrt(1 / 12 / 40_000)).all()
    assert (np.abs(place.var(axis=0) - 1 / 12) < 6 * np.sqrt(1 / 180 / 40_000)).all()


def test_samples_have_the_mean_of_the_data_and_the_spread_of_the_kernel_density() -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(3000, 3)) * [1.0, 2.0, 0.5] + [5.0, 0.0, -1.0]
    sketch = exact(3, [0.5, 1.0, 0.25], 32, seed=4, max_bins=1 << 18).update(X)
    assert sketch.coverage == pytest.approx(1.0)
    S = sketch.sample(50_000, random_state=0)
    # A point uniform in a random cell around a row has a triangular error of variance width**2 / 6, of
    # which that of the cell's middle is shared by all in the cell: 32 grids average it.
    expected = X.var(axis=0) + np.array([0.25, 1.0, 0.0625]) / 6
    assert (np.abs(S.var(axis=0) / expected - 1.0) < 0.04).all()
    spread = np.sqrt(expected / 50_000 + np.array([0.25, 1.0, 0.0625]) / 12 / 32)
    assert (np.abs(S.mean(axis=0) - X.mean(axis=0)) < 6 * spread).all()


def test_sampling_is_reproducible_and_independent_of_merging_order() -> None:
    X = np.random.default_rng(0).normal(size=(600, 2))
    empty = DensitySketch(2, 0.5, seed=1)
    a, b = empty.empty_like().update(X[:250]), empty.empty_like().update(X[250:])
    for first, second in ((a | b, b | a), (a | b, empty.empty_like().update(X[::-1]))):
        np.testing.assert_array_equal(first.sample(50, random_state=3), second.sample(50, random_state=3))
    generator = np.random.default_rng(3)
    np.testing.assert_array_equal(
        (a | b).sample(50, random_state=generator), first.sample(50, random_state=3)
    )
    assert a.sample(0).shape == (0, 2)


# -- no part of the data is left out, and no noise is taken for rows --------------------------------


@settings(max_examples=30, deadline=None)
@given(max_bins=st.integers(1, 60), n_parts=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_the_sample_has_the_cells_of_least_keys_with_their_exact_counts(
    max_bins: int, n_parts: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    X, weights = rng.normal(size=(90, 2)) * rng.choice([0.2, 3.0], (90, 1)), rng.integers(0, 3, 90)
    # The table is too small to be of use, but the sample does not use it.
    empty = DensitySketch(2, 1.0, n_repetitions=3, n_rows=1, n_buckets=2, max_bins=max_bins, seed=seed)
    built = [
        empty.empty_like().update(X[part], weights[part])
        for part in np.array_split(rng.permutation(90), n_parts)
    ]
    merged = functools.reduce(operator.or_, built)
    counted = [
        (r + 1, cell, count)
        for r, counts in enumerate(naive_grids(empty, X, weights))
        for cell, count in counts.items()
        if count
    ]
    keys = np.empty(len(counted), np.uint64)
    cells = np.array([cell for _, cell, _ in counted], np.int32).reshape(-1, 2)
    grids = np.array([r - 1 for r, _, _ in counted], np.int32)
    grid_kernels.grid_keys(cells, empty._grids.words, grids, 0, len(counted), keys)
    expected = [(int(keys[i]), *counted[i]) for i in np.argsort(keys)[:max_bins]]
    state = {
        name: merged.state[f"sample_{name}"].array for name in ("keys", "repetitions", "cells", "counts")
    }
    found = [
        (int(key), int(r), tuple(cell.tolist()), int(count))
        for key, r, cell, count in zip(*state.values(), strict=True)
        if count
    ]
    assert found == expected
    if len(counted) < max_bins:
        assert merged.n_cells == len(counted)
        assert merged.table_error == merged.integral_error == 0.0


@settings(max_examples=60, deadline=None)
@given(
    rising=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 60), unique=True, max_size=80),
    others=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 60), max_size=20),
)
def test_keys_are_found_wherever_they_lie(rising: list[int], others: list[int]) -> None:
    rising.sort()
    asked = np.array(rising + others, np.uint64)
    places = np.full(asked.size, 7)
    code_counters.find_keys(asked, np.array(rising, np.uint64), 0, asked.size, places)
    known = {key: place for place, key in enumerate(rising)}
    assert places.tolist() == [known.get(int(key), -1) for key in asked]


def test_a_full_sample_tells_how_many_cells_there_are() -> None:
    X = np.random.default_rng(3).normal(size=(4000, 3))
    for seed in range(5):
        whole = DensitySketch(3, 0.4, seed=seed).update(X)
        part = DensitySketch(3, 0.4, max_bins=900, seed=seed).update(X)
        # The relative standard error of the estimate by the k least keys is 1 / sqrt(k - 2).
        assert abs(part.n_cells / whole.n_cells - 1) < 6 / np.sqrt(898)


def skewed(n: int) -> np.ndarray:
    return np.exp(np.random.default_rng(0).standard_normal((n, 3)))


def structured_sets() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "skewed": skewed(1500),
        "heavy tails": rng.standard_t(2.5, (1500, 3)),
        "grid": rng.integers(0, 8, (1500, 3)) / 7.0,
        "few entries": (rng.random((1500, 4)) < 0.2) * rng.exponential(size=(1500, 4)),
        "repeated rows": rng.normal(size=(9, 3))[rng.choice(9, 1500, p=np.arange(1, 10) / 45)],
        "wine": load_wine().data[:, [0, 6, 9, 12]],
        "breast cancer": load_breast_cancer().data[:, [0, 1, 3, 12]],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", structured_sets())
def test_densities_integrate_to_one_and_samples_keep_the_spread(name: str) -> None:
    X = structured_sets()[name]
    for sizes in ({}, {"n_buckets": 1024, "max_bins": 1024}):
        some = X[np.random.default_rng(3).choice(len(X), min(len(X), 250), replace=False)]
        sketch = DensitySketch.for_sample(some, n_expected=len(X), seed=1, **sizes).update(X)
        widths = np.asarray(sketch.width)
        # Uniform within a width of a random row, where the kernels are: unbiased for their integral if each
        # point's weight is one over the density that it was drawn with.
        rng = np.random.default_rng(2)
        Q = X[rng.integers(0, len(X), 2000)] + rng.uniform(-1.0, 1.0, (2000, X.shape[1])) * widths
        drawn = np.array([(np.abs(X - q) < widths).all(axis=1).mean() for q in Q])
        drawn /= (2.0 * widths).prod()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ratios = sketch.density(Q) / drawn
        # The grids of one sketch are the same for all points: their cells' counts add to 1, exactly.
        tolerance = 0.05 if sketch.table_error == 0 else 0.05 + 6 * sketch.integral_error
        assert abs(ratios.mean() - 1.0) < tolerance + 6 * ratios.std() / np.sqrt(len(Q))
        S = sketch.sample(20_000, random_state=0)
        # Each coordinate is a row's and an error of variance width**2 / 6, on the average of grids.
        expected = np.sqrt(X.var(axis=0) + widths**2 / 6)
        fourth = ((X - X.mean(axis=0)) ** 4).mean(axis=0) / X.var(axis=0) ** 2
        n_cells = min(20_000, sketch.n_cells, sketch.max_bins)
        assert (np.abs(S.std(axis=0) / expected - 1.0) < 0.05 + 3 * np.sqrt(fourth / n_cells)).all(), name


def test_cells_without_rows_are_not_taken_for_rows() -> None:
    """The table's errors have mean 0 where no row is; cut off below 0, their mean was half their spread."""
    X = np.random.default_rng(1).normal(size=(3000, 3))
    far = np.random.default_rng(2).uniform(20, 400, (20_000, 3))
    for n_buckets in (256, 4096):
        sketch = DensitySketch(3, 0.5, n_buckets=n_buckets, max_bins=256, seed=4).update(X)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            density, finite = sketch.density(far), sketch.log_density(far)
        noise = sketch.table_error
        assert abs(density.mean()) < 6 * noise / np.sqrt(len(far))
        assert 0.9 < density.std() / noise < 1.1
        np.testing.assert_array_equal(finite == -np.inf, density <= 0)


def test_the_error_of_the_integral_is_what_it_is() -> None:
    X = np.random.default_rng(5).normal(size=(2000, 2))
    errors, told = [], []
    for seed in range(40):
        sketch = DensitySketch(2, 0.25, n_buckets=128, max_bins=512, seed=seed).update(X)
        cells = sketch.state["sample_cells"].array
        low, high = cells.min(axis=0), cells.max(axis=0)
        total = 0.0
        for r in range(sketch.n_repetitions):
            sides = [np.arange(a, b + 1, dtype=np.int32) for a, b in zip(low, high, strict=True)]
            box = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
            keys = np.empty(len(box), np.uint64)
            grids = np.full(len(box), r, np.int32)
            grid_kernels.grid_keys(box, sketch._grids.words, grids, 0, len(box), keys)
            total += sketch._estimate(keys).sum()
        errors.append(total / (sketch.n_repetitions * 2000) - 1.0)
        told.append(sketch.integral_error)
    # The spread of 40 errors is known within 6 / sqrt(80) of it.
    assert abs(np.sqrt(np.mean(np.square(errors))) / np.mean(told) - 1.0) < 6 / np.sqrt(80)
    assert abs(np.mean(errors)) < 6 * np.mean(told) / np.sqrt(40)


def test_a_table_that_tells_nothing_says_so_with_the_size_it_needs() -> None:
    X = np.random.default_rng(0).normal(size=(5000, 6))
    sketch = DensitySketch(6, 0.5, n_buckets=256, max_bins=256, seed=1).update(X)
    with pytest.warns(UserWarning, match="max_bins=[0-9]+ keeps all by name"):
        sketch.density(X[:5])
    with pytest.warns(UserWarning, match="max_bins=[0-9]+ keeps all by name") as seen:
        sketch.log_density(X[:5])
    text = str(seen[0].message)
    needed = {name: int(re.search(f"{name}=([0-9]+)", text)[1]) for name in ("max_bins", "n_buckets")}
    for name, size in needed.items():
        sizes = {"n_buckets": 256, "max_bins": 256, name: size}
        enough = DensitySketch(6, 0.5, seed=1, **sizes).update(X)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            enough.log_density(X[:5])


# -- synthetic data -------------------------------------------------------------------------------


def data_sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    digits, kinds = load_digits(return_X_y=True)
    cancer, benign = load_breast_cancer(return_X_y=True)
    return {
        "digits": (PCA(16, random_state=0).fit_transform(digits), kinds),
        "breast cancer": (StandardScaler().fit_transform(cancer), benign),
        "moons": make_moons(2000, noise=0.15, random_state=0),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "breast cancer", "moons"])
def test_classifiers_learn_from_synthetic_rows(name: str) -> None:
    X, y = data_sets()[name]
    train, test, labels, truth = train_test_split(X, y, random_state=0, stratify=y)
    rows, kinds = [], []
    for kind in np.unique(y):
        own = train[labels == kind]
        sketch = DensitySketch.for_sample(own, seed=1).update(own)
        rows.append(sketch.sample(len(own), random_state=0))
        kinds += [kind] * len(own)
    for model in (SVC(), KNeighborsClassifier(), LogisticRegression(max_iter=2000)):
        real = model.fit(train, labels).score(test, truth)
        synthetic = model.fit(np.concatenate(rows), kinds).score(test, truth)
        assert synthetic >= 0.9 * real


# -- widths ---------------------------------------------------------------------------------------


def test_cross_validation_estimates_the_integrated_squared_error() -> None:
    X = np.random.default_rng(0).normal(size=(40, 1))
    widths = np.array([0.3, 1.0, 2.5])
    grid = np.linspace(-8, 8, 40_001)[:, None]
    for width, score in zip(widths, cross_validation(X, widths), strict=True):
        square = (triangular_density(grid, X, np.array([width])) ** 2).sum() * (16 / 40_000)
        others = [
            triangular_density(X[i : i + 1], np.delete(X, i, axis=0), np.array([width]))[0] for i in range(40)
        ]
        assert score == pytest.approx(square - 2 * np.mean(others), abs=1e-5)


@pytest.mark.slow
def test_widths_follow_the_data() -> None:
    X = np.random.default_rng(1).normal(size=(600, 2))
    width = np.array(DensitySketch.for_sample(X).width)
    np.testing.assert_allclose(DensitySketch.for_sample(X * [1, 50]).width, width * [1, 50])
    narrower = np.array(DensitySketch.for_sample(X, n_expected=600 * 64).width)
    np.testing.assert_allclose(narrower, width / 2)  # 64**(1 / 6)
    assert isinstance(DensitySketch.for_sample(X, rotate=True).width, float)
    # Two narrow heaps lie far apart, so the spread of all rows does not suit either.
    heaps = X * 0.05 + np.repeat([[-3.0, 0.0], [3.0, 0.0]], 300, axis=0)
    assert DensitySketch.for_sample(heaps).width[0] < 0.5 * width[0] * heaps[:, 0].std()


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features": 0}, "n_features must be an integer"),
        ({"width": 0.0}, "width must be a number"),
        ({"width": [1.0]}, r"width must be a number or of shape \(2,\)"),
        ({"width": [1.0, -1.0]}, r"width\[1\] must be a number"),
        ({"width": "a"}, "width must be a number"),
        ({"width": np.nan}, "width must be a number"),
        ({"n_repetitions": 0}, "n_repetitions must be an integer"),
        ({"max_bins": 0}, "max_bins must be an integer"),
        ({"n_buckets": 0}, "n_buckets must be an integer"),
        ({"rotate": 1}, "rotate must be True or False"),
        ({"rotate": True, "width": [1.0, 2.0]}, "width must be one number with rotate=True"),
        ({"rotate": True, "n_features": 60_000}, "rotations of n_repetitions"),
        ({"seed": -1}, "seed must be an integer"),
    ],
)
def test_bad_parameters_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        DensitySketch(**{"n_features": 2, "width": 1.0, **arguments})


def test_bad_input_is_named() -> None:
    sketch = DensitySketch(2, 0.001)
    with pytest.raises(ValueError, match=r"X must lie within 1.07374e.09 widths of 0, got 1e.10 in column 1"):
        sketch.update([[0.0, 1e7]])
    for bad, message in (([[1.0]], "X must have 2 columns"), ([[1.0, np.inf]], "X must be finite")):
        for method in (sketch.update, sketch.empty_like().update([[0.0, 0.0]]).density):
            with pytest.raises(ValueError, match=message):
                method(bad)
    with pytest.raises(ValueError, match="weights must be at least 0, got -1"):
        sketch.update([[0.0, 0.0]], [-1])
    assert sketch == sketch.empty_like()
    for method in (sketch.density, sketch.log_density):
        with pytest.raises(ValueError, match="density needs a sketch of total weight above 0"):
            method([[0.0, 0.0]])
    with pytest.raises(ValueError, match="sample needs a sketch of total weight above 0"):
        sketch.sample(3)
    assert np.isnan(sketch.coverage)
    sketch.update([[0.0, 0.0]])
    with pytest.raises(ValueError, match="n must be an integer from 0 to 281474976710656, got -1"):
        sketch.sample(-1)
    assert sketch.density([[1e300, 0.0]]).tolist() == [0.0]
    assert sketch.log_density([[1e300, 0.0]]).tolist() == [-np.inf]
    for rows, message in (
        (np.zeros((3, 2)), "X must have at least 8 rows"),
        (np.eye(9)[:, :1] * [[1.0, 0.0]], "constant column 1"),
        (np.empty((9, 0)), "at least 1 column"),
    ):
        with pytest.raises(ValueError, match=message):
            DensitySketch.for_sample(rows)


@pytest.mark.parametrize(
    ("name", "forge", "message"),
    [
        ("bin_repetitions", lambda a: np.where(a > 0, 9, 0).astype(np.int32), "bin_repetitions must be"),
        ("bin_repetitions", lambda a: np.where(a > 0, -1, 0).astype(np.int32), "bin_repetitions must be"),
        ("bin_repetitions", lambda a: a[::-1].copy(), "bin_repetitions must be"),
        ("bin_cells", lambda a: a + np.int32(1), "bin_keys must be the keys"),
        ("bin_keys", lambda a: a + np.uint64(1), "bin_keys must be the keys"),
        ("total", lambda a: -a, "total must be"),
        (
            "sample_repetitions",
            lambda a: np.where(a > 0, 9, 0).astype(np.int32),
            "sample_repetitions must be",
        ),
        ("sample_cells", lambda a: a + np.int32(1), "sample_keys must be the keys"),
        ("sample_keys", lambda a: a + np.uint64(1), "sample_keys must be the keys"),
        ("sample_counts", lambda a: a[::-1].copy(), "sample_counts must be from 1"),
        ("sample_counts", lambda a: -a, "sample_counts must be from 1"),
        ("sample_counts", lambda a: np.where(a > 0, 27, 0), "sample_counts must have a sum"),
    ],
)
def test_forged_states_are_refused(name: str, forge: Any, message: str) -> None:
    X = np.random.default_rng(0).normal(size=(9, 2))
    sketch = DensitySketch(2, 0.5, n_repetitions=3, max_bins=100).update(X)
    twin = sketch.copy()
    twin._set_arrays({**twin._arrays, name: forge(twin._arrays[name])})
    with pytest.raises(SketchFormatError, match=message):
        DensitySketch.from_bytes(twin.to_bytes())


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("exponent", [-1000, 600])
def test_widths_are_in_the_unit_of_the_data(exponent: int, rotate: bool) -> None:
    X = np.random.default_rng(9).standard_normal((200, 2)) + 5.0
    near = DensitySketch.for_sample(X, rotate=rotate).width
    far = DensitySketch.for_sample(np.ldexp(X, exponent), rotate=rotate).width
    np.testing.assert_array_equal(np.ldexp(far, -exponent), near)
