"""Test sums of random Fourier features against kernels, and their standard errors on structured rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import FourierSketch
from mergesketch.sketches.kernels.fourier import ONE
from naive import fourier as naive
from scipy import sparse
from structured_rows import MAKERS

KINDS: dict[str, dict[str, Any]] = {
    "gaussian": {"kernel": "gaussian"},
    "orthogonal": {"kernel": "gaussian", "projection": "orthogonal"},
    "hadamard": {"kernel": "gaussian", "projection": "hadamard"},
    "laplacian": {"kernel": "laplacian"},
}


def matrix_of(sketch: FourierSketch) -> np.ndarray:
    """Return the frequencies in turns a width, shape (d, m)."""
    frequencies: Any = sketch._frequencies
    if sketch.projection == "hadamard":
        return naive.hadamard_frequencies(frequencies.signs, frequencies.scales, sketch.n_features)
    return frequencies.matrix


def sketch_of_turns(*turns: float) -> FourierSketch:
    """Return a sketch of one feature whose components have these frequencies."""
    sketch = FourierSketch(1, len(turns))
    sketch._frequencies.matrix = np.array([turns])
    return sketch


def kernel_sums(sketch: FourierSketch, Q: np.ndarray, X: np.ndarray) -> np.ndarray:
    return naive.kernel(Q, X, sketch.width, sketch.kernel).sum(axis=1)


# -- features -------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    st.integers(1, 6),
    st.integers(2, 140),
    st.integers(0, 20),
    st.sampled_from([1e-300, 0.1, 1.0, 1e300]),
    st.sampled_from(list(KINDS)),
    st.integers(0, 2**32),
)
def test_sums_are_those_of_the_naive_twin(d: int, m: int, n: int, width: float, kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, weights = rng.standard_normal((n, d)) * width, rng.integers(-5, 6, n)
    X[rng.random((n, d)) < 0.3] = 0.0
    sketch = FourierSketch(d, m, width, **KINDS[kind], seed=seed).update(X, weights)
    expected = np.array(naive.feature_sums(X, weights, matrix_of(sketch), width)).T
    found = sketch.state["sums"].array / ONE
    # Rounding to multiples of 1 / ONE errs by a half of one; products of Cauchy numbers may be large.
    turns = np.abs(X / width) @ np.abs(matrix_of(sketch))
    bound = np.abs(weights) @ (0.5 / ONE + 1e-10 + 2.0**-44 * turns)
    assert (np.abs(found - expected) <= bound + 1e-12).all()
    assert sketch.total == weights.sum()


@pytest.mark.slow
def test_sparse_rows_and_dtypes_have_the_same_sums() -> None:
    rng = np.random.default_rng(3)
    X = np.round(rng.standard_normal((70, 9)) * (rng.random((70, 9)) < 0.4), 1).astype(np.float32)
    expected = FourierSketch(9, 300, 0.7).update(X)
    for rows in (sparse.csr_array(X), sparse.csc_matrix(X), X.astype(np.float64), X[:, ::-1][:, ::-1]):
        assert FourierSketch(9, 300, 0.7).update(rows) == expected
        np.testing.assert_array_equal(expected.query(rows), expected.query(X))


@pytest.mark.parametrize("n", [1, 3, 4, 15, 16, 17, 35])
@pytest.mark.parametrize("m", [2, 127, 128, 129, 300])
def test_blocks_of_any_size_have_the_same_sums(n: int, m: int) -> None:
    X = np.random.default_rng(n).standard_normal((n, 3))
    whole, single = FourierSketch(3, m).update(X), FourierSketch(3, m)
    for row in X:
        single.update(row[None])
    assert single == whole
    np.testing.assert_array_equal(np.concatenate([whole.query(row[None]) for row in X]), whole.query(X))


def test_borders_of_quarters_of_a_turn() -> None:
    for turns in np.arange(-24, 25) / 8.0:
        found = sketch_of_turns(1.0, -1.0).update([[turns]]).state["sums"].array / ONE
        angle = 2.0 * np.pi * turns
        expected = [[np.cos(angle)] * 2, [np.sin(angle), -np.sin(angle)]]
        np.testing.assert_allclose(found, expected, atol=0.5 / ONE + 1e-10)


def test_orthogonal_frequencies_are_orthogonal_and_as_long_as_normal_ones() -> None:
    d, m = 20, 5000
    frequencies = 2.0 * np.pi * FourierSketch(d, m, projection="orthogonal", seed=1)._frequencies.matrix.T
    block = frequencies[:d] / np.linalg.norm(frequencies[:d], axis=1, keepdims=True)
    np.testing.assert_allclose(block @ block.T, np.eye(d), atol=1e-6)
    # Squared lengths are chi-squared of d degrees: mean d, variance 2 d.
    squares = (frequencies**2).sum(axis=1)
    assert abs(squares.mean() - d) < 6 * np.sqrt(2 * d / m)
    # Every direction is as likely.
    assert (np.abs(frequencies.mean(axis=0)) < 6 / np.sqrt(m)).all()


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 255, 256, 257, 700])
def test_hadamard_transforms_are_products_with_the_matrices(d: int) -> None:
    """Sizes are even and odd powers of two, and the last block is cut."""
    X = np.random.default_rng(d).standard_normal((3, d))
    sketch = FourierSketch(d, 1100, 2.0 * d**0.5, **KINDS["hadamard"], seed=d)
    expected = np.array(naive.feature_sums(X, np.ones(3), matrix_of(sketch), sketch.width)).T
    found = sketch.update(X).state["sums"].array / ONE
    np.testing.assert_allclose(found, expected, atol=3 * (0.5 / ONE + 1e-10))
    from_sparse = sketch.empty_like().update(sparse.csr_array(X.astype(np.float32)))
    assert from_sparse == sketch.empty_like().update(X.astype(np.float32))


def test_hadamard_frequencies_are_normal_and_their_directions_orthogonal() -> None:
    sketches = [FourierSketch(256, 256, **KINDS["hadamard"], seed=seed) for seed in range(20)]
    matrices = [2.0 * np.pi * matrix_of(sketch).T for sketch in sketches]
    for w in matrices:
        directions = w / np.linalg.norm(w, axis=1, keepdims=True)
        np.testing.assert_allclose(directions @ directions.T, np.eye(256), atol=1e-9)
    w = np.array(matrices).ravel()
    # 2, 96 and 10,080 are the variances of the second, fourth and sixth power of a normal number, over n,
    # and entries of one matrix depend on each other less than twice as much.
    for power, moment, variance in ((2, 1.0, 2.0), (4, 3.0, 96.0), (6, 15.0, 10_170.0)):
        assert abs((w**power).mean() - moment) < 6 * np.sqrt(2 * variance / w.size)


# -- queries --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_kernel_sums_are_unbiased(kind: str) -> None:
    rng = np.random.default_rng(5)
    X, Q = rng.standard_normal((30, 4)), rng.standard_normal((6, 4))
    found = np.array(
        [FourierSketch(4, 8, 1.5, **KINDS[kind], seed=seed).update(X).query(Q) for seed in range(400)]
    )
    exact = kernel_sums(FourierSketch(4, 8, 1.5, **KINDS[kind]), Q, X)
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - exact) < 6 * error + 30 / ONE).all()
    # The standard error is at most N / sqrt(2 m) for independent frequencies.
    if kind not in ("orthogonal", "hadamard"):
        assert (found.std(axis=0) < 30 / np.sqrt(16) * (1 + 6 / np.sqrt(800))).all()


@pytest.mark.parametrize("rows", MAKERS)
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_the_kernel_sum(kind: str, rows: str) -> None:
    X, held = MAKERS[rows](120, 128, 1), []
    width = 3.0 if kind != "laplacian" else 20.0
    for seed in range(20):
        sketch = FourierSketch(128, 60, width, **KINDS[kind], seed=seed).update(X)
        sums, std = sketch.query(X[:10], return_std=True)
        held.append(np.abs(sums - kernel_sums(sketch, X[:10], X)) <= 1.96 * std)
    assert np.mean(held) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", [0.0, 1e-3, 0.03, 0.3, 3.0])
def test_intervals_hold_for_equal_rows_at_any_distance(kind: str, distance: float) -> None:
    """Rare large frequencies of the Laplacian kernel move terms of near queries; most sketches have none."""
    X, Q, held = np.ones((50, 3)), np.array([[1.0 + distance, 1.0, 1.0]]), []
    for seed in range(200):
        sketch = FourierSketch(3, 100, 1.0, **KINDS[kind], seed=seed).update(X)
        sums, std = sketch.query(Q, return_std=True)
        held.append(abs(sums[0] - kernel_sums(sketch, Q, X)[0]) <= 1.96 * std[0])
    assert np.mean(held) >= 0.9


def test_standard_errors_shrink_with_the_components() -> None:
    X = np.random.default_rng(0).standard_normal((200, 5))
    few, many = (FourierSketch(5, m).update(X).query(X, return_std=True)[1] for m in (100, 10_000))
    assert np.median(few / many) == pytest.approx(10.0, rel=0.2)


@pytest.mark.parametrize(("kind", "m"), [("orthogonal", 16), ("hadamard", 256)])
def test_orthogonal_frequencies_err_less_where_the_kernel_is_wide(kind: str, m: int) -> None:
    rng = np.random.default_rng(1)
    X, Q = rng.standard_normal((40, 16)), rng.standard_normal((10, 16))
    errors = []
    for name in ("gaussian", kind):
        sketches = [FourierSketch(16, m, 12.0, **KINDS[name], seed=s) for s in range(60)]
        errors.append([s.update(X).query(Q) - kernel_sums(s, Q, X) for s in sketches])
    independent, orthogonal = (np.square(e).mean() for e in errors)
    assert orthogonal < independent / 2


def test_density_is_the_sum_over_the_total() -> None:
    X = np.random.default_rng(2).standard_normal((20, 3))
    weights = np.arange(20)
    sketch = FourierSketch(3, 50).update(X, weights)
    np.testing.assert_array_equal(sketch.density(X), sketch.query(X) / weights.sum())
    found = sketch.density(X, return_std=True)
    np.testing.assert_array_equal(found[1], sketch.query(X, return_std=True)[1] / weights.sum())


def test_density_needs_rows() -> None:
    sketch = FourierSketch(3, 50)
    assert not sketch.query(np.ones((2, 3))).any()
    with pytest.raises(ValueError, match="total weight above 0, got 0"):
        sketch.density(np.ones((2, 3)))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_far_from_zero_have_the_kernel_sums_of_near_ones(kind: str) -> None:
    """Kernels depend on differences, and so do estimates; rows are multiples of 1/16, so shifts are exact."""
    X = np.random.default_rng(7).integers(-32, 32, (20, 300)) / 16.0
    for width, shift, dtype in ((20.0, 2.0**18, np.float32), (20.0, 2.0**33, np.float64)):
        sketch = FourierSketch(300, 40, width, **KINDS[kind])
        near, far = ((X + by).astype(dtype) for by in (0.0, shift))
        expected = sketch.empty_like().update(near).query(near[:5], return_std=True)
        found = sketch.empty_like().update(far).query(far[:5], return_std=True)
        # Phases of at most 2**29 * 300 turns are exact to 2**-14, those of Cauchy frequencies less.
        loose = 1e-2 if kind == "laplacian" else 1e-3
        np.testing.assert_allclose(found, expected, atol=20 * loose)


# -- several widths -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gaussian", "hadamard", "laplacian"])
@pytest.mark.parametrize("rows", MAKERS)
def test_intervals_hold_the_kernel_sums_of_all_widths(kind: str, rows: str) -> None:
    X, held = MAKERS[rows](120, 128, 1), []
    widths = (2.0, 3.0, 6.0) if kind != "laplacian" else (15.0, 20.0, 40.0)
    for seed in range(12):
        sketch = FourierSketch(128, 180, widths, **KINDS[kind], seed=seed).update(X)
        for width in widths:
            sums, std = sketch.query(X[:10], width=width, return_std=True)
            exact = naive.kernel(X[:10], X, width, sketch.kernel).sum(axis=1)
            held.append(np.abs(sums - exact) <= 1.96 * std)
    assert np.mean(held) >= 0.9


@pytest.mark.parametrize("kind", ["gaussian", "orthogonal", "laplacian"])
def test_components_serve_each_width_as_well_as_those_of_its_own(kind: str) -> None:
    rng = np.random.default_rng(8)
    X, Q, widths = rng.standard_normal((60, 2)), rng.standard_normal((8, 2)), (1.0, 1.5, 3.0)
    for width in widths:
        exact = naive.kernel(Q, X, width, KINDS[kind]["kernel"]).sum(axis=1)
        shared, own = (
            np.square(
                [
                    FourierSketch(2, m, of, **KINDS[kind], seed=seed).update(X).query(Q, width=width) - exact
                    for seed in range(60)
                ]
            ).mean()
            for m, of in ((90, widths), (30, width))
        )
        assert shared < 1.5 * own


def test_a_query_at_equal_rows_is_exact_for_each_width() -> None:
    sketch = FourierSketch(3, 90, [4.0, 1.0, 2.0]).update(np.ones((7, 3)))
    assert sketch.width == (1.0, 2.0, 4.0)
    for width in sketch.width:
        sums, std = sketch.query(np.ones((1, 3)), width=width, return_std=True)
        assert sums[0] == pytest.approx(7.0, abs=1e-4) and std[0] < 1e-4
    assert FourierSketch.from_bytes(sketch.to_bytes()) == sketch
    assert FourierSketch(3, 90, np.array([2.0, 1.0, 4.0])).update(np.ones((7, 3))) == sketch


def test_widths_are_refused_by_name() -> None:
    for wrong, message in (
        ([], "width must be a number, or up to 64 different ones"),
        ([1.0, 1.0], "width must be a number, or up to 64 different ones"),
        ([1.0, 2.0, 3.0], "two components for each of them, got .* and 4 components"),
        ([1.0, -2.0], "width must be a number in"),
        ([1.0, 1e9], "width must hold numbers whose ratio is at most"),
        ([1e-300, 1e300], "width must hold numbers whose ratio is at most"),
    ):
        with pytest.raises(ValueError, match=message):
            FourierSketch(2, 4, wrong)
    with pytest.raises(TypeError, match="width must be a number"):
        FourierSketch(2, 4, ["1", "2"])
    several = FourierSketch(2, 4, (1.0, 2.0)).update([[1.0, 2.0]])
    for width in (None, 1.5):
        with pytest.raises(ValueError, match=r"width must be one of those of the sketch, 1.0, 2.0, got"):
            several.query([[0.0, 0.0]], width=width)
    with pytest.raises(ValueError, match=r"width must be that of the sketch, 3, got 2.0"):
        FourierSketch(2, 4, 3.0).density([[0.0, 0.0]], width=2.0)
    with pytest.raises(ValueError, match="width must be one number for a bound"):
        FourierSketch.for_error(2, 0.1, width=(1.0, 2.0))


# -- merging and removing -------------------------------------------------------------------------


def test_rows_are_removed_exactly() -> None:
    rng = np.random.default_rng(4)
    X, Y = rng.standard_normal((50, 6)), rng.standard_normal((20, 6))
    expected = FourierSketch(6, 80).update(X)
    both = FourierSketch(6, 80).update(X).update(Y)
    for left in (
        both.copy().update(Y, np.full(20, -1)),
        both.copy().subtract(FourierSketch(6, 80).update(Y)),
    ):
        np.testing.assert_array_equal(left.state["sums"].array, expected.state["sums"].array)
        assert left.total == 50
        np.testing.assert_array_equal(left.query(X), expected.query(X))


def test_weights_count_as_repeated_rows() -> None:
    X = np.random.default_rng(6).standard_normal((5, 2))
    weights = np.array([3, 1, 0, 2, 7])
    repeated = FourierSketch(2, 90).update(np.repeat(X, weights, axis=0))
    weighted = FourierSketch(2, 90).update(X, weights)
    np.testing.assert_array_equal(repeated.state["sums"].array, weighted.state["sums"].array)


# -- sizes and arguments --------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
@pytest.mark.parametrize("error", [0.05, 0.2, 0.9])
def test_densities_err_by_no_more_than_allowed(kernel: str, error: float) -> None:
    confidence, n_seeds, beyond = 0.9, 60, []
    for X, q in ((np.zeros((3, 2)), 9.0), (np.array([[5.0, 0.0], [-5.0, 0.0]]), 0.0)):
        for seed in range(n_seeds):
            sketch = FourierSketch.for_error(2, error, confidence, kernel=kernel, seed=seed).update(X)
            Q = np.full((1, 2), q)
            beyond.append(abs(sketch.density(Q) - kernel_sums(sketch, Q, X) / len(X))[0] > error)
    assert np.mean(beyond) <= 1 - confidence


def test_for_error_follows_the_inequalities() -> None:
    assert FourierSketch.for_error(10, 0.02).n_components == 9470
    # Hoeffding's inequality is the better one for large errors.
    assert FourierSketch.for_error(1, 0.9).n_components == pytest.approx(2 * np.log(40) / 0.81, abs=1)
    assert "error=0.02" in repr(FourierSketch.for_error(10, 0.02))


@pytest.mark.parametrize("error", [0.0, 1.0, -1.0, np.nan, 1e-9, 1e-300])
def test_for_error_refuses_errors_by_name(error: float) -> None:
    with pytest.raises(ValueError, match=r"^error must"):
        FourierSketch.for_error(3, error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features": 0}, "n_features must be an integer of at least 1, got 0"),
        ({"n_components": 1}, "n_components must be an integer from 2"),
        ({"n_components": 2.0}, "n_components must be an integer"),
        ({"width": 0.0}, r"width must be a number in \(0, inf\), got 0.0"),
        ({"width": np.inf}, "width must be a number"),
        ({"kernel": "cosine"}, "kernel must be one of 'gaussian', 'laplacian', got 'cosine'"),
        ({"projection": "sparse"}, "projection must be one of"),
        ({"projection": "orthogonal", "kernel": "laplacian"}, "projection must be .* laplacian kernel"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        FourierSketch(**{"n_features": 3, **arguments})
    with pytest.raises(ValueError, match="projection must"):
        FourierSketch.for_error(3, 0.1, projection="orthogonal")


@pytest.mark.parametrize("far", [1.1e9, -1e12, 1e308])
def test_rows_beyond_reach_are_refused(far: float) -> None:
    sketch = FourierSketch(2, 4).update([[1.0, 2.0]])
    before = sketch.copy()
    with pytest.raises(ValueError, match=r"^X must lie within 1.07374e\+09 widths of 0, got a number"):
        sketch.update([[0.0, far]])
    with pytest.raises(ValueError, match=r"^Q must lie within"):
        sketch.query([[0.0, far]])
    assert sketch == before
    assert FourierSketch(2, 4, 1e300).update([[0.0, far]]).total == 1


def test_sums_never_wrap() -> None:
    sketch = FourierSketch(1, 2).update([[0.0]], [2**42])
    before = sketch.copy()
    with pytest.raises(OverflowError, match=r"FourierSketch\.sums cannot count beyond"):
        sketch.update([[0.0]], [2**42])
    assert sketch == before


def test_sketches_of_other_kernels_do_not_merge() -> None:
    for other in ({"width": 2.0}, {"kernel": "laplacian"}, {"projection": "orthogonal"}, {"seed": 1}):
        with pytest.raises(ValueError, match="FourierSketch sketches differ in"):
            FourierSketch(2, 4).merge(FourierSketch(2, 4, **other))
