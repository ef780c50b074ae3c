"""Weights in few bits: grids and rounding against the naive twin, hard layers, and files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch import LossAwareGrid, SecondMoments
from mergesketch.sketches.coding.grid_fitting import pack_codes
from mergesketch.sketches.kernels import grid_fitting as kernels
from naive import loss_aware_grid as naive

RNG = np.random.default_rng(0)
D = 24
#: Inputs with correlations, columns of several scales, and one column that is always 0.
INPUTS = RNG.standard_normal((300, D)) @ RNG.standard_normal((D, D)) * np.geomspace(0.1, 10.0, D)
INPUTS[:, 5] = 0.0
MOMENTS = SecondMoments(D).update(INPUTS)
WEIGHTS = RNG.standard_normal((10, D))
quickly = settings(max_examples=25, deadline=None)

#: Values that repeat, lie on grids, or are far apart.
values = hnp.arrays(
    np.float64,
    st.integers(1, 12),
    elements=st.integers(-3, 3).map(float) | st.floats(-1, 1, width=16) | st.sampled_from([1e4, -1e4]),
)


def damped(moments: SecondMoments) -> np.ndarray:
    means = moments.mean_products()
    return means + 0.01 * np.trace(means) / len(means) * np.eye(len(means))


@quickly
@given(values, st.integers(1, 3), st.integers(0, 2**32 - 1))
@example(np.full(6, 0.1), 2, 0)
@example(np.arange(4.0), 2, 0)
def test_free_grids_have_the_least_error(row: np.ndarray, bits: int, seed: int) -> None:
    importances = 10.0 ** np.random.default_rng(seed).uniform(-3, 0, row.size)
    row = np.sort(row)
    grids = np.zeros((1, 1 << bits), np.float32)
    kernels.place_free_grids(row[None], importances[None], 0, 1, grids)
    least = naive.least_error(row, importances, 1 << bits)
    # Grid points are rounded to float32, and sums of squares to float64.
    rounding = importances.sum() * (np.abs(row).max() * 2.0**-24) ** 2 + 1e-13 * np.square(np.ptp(row)) * 12
    assert least <= naive.grid_error(row, importances, grids[0].astype(float)) * (1 + 1e-9) + rounding
    assert naive.grid_error(row, importances, grids[0].astype(float)) <= least * (1 + 1e-6) + 4 * rounding
    assert (np.diff(grids[0]) >= 0).all()


@pytest.mark.slow
def test_long_rows_have_the_least_error() -> None:
    row, importances = np.sort(RNG.standard_normal(150)), RNG.random(150) + 0.01
    grids = np.zeros((1, 8), np.float32)
    kernels.place_free_grids(row[None], importances[None], 0, 1, grids)
    least = naive.least_error(row, importances, 8)
    assert naive.grid_error(row, importances, grids[0].astype(float)) == pytest.approx(least, rel=1e-6)


@quickly
@given(values, st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_affine_grids_are_no_worse_than_those_of_the_range(row: np.ndarray, bits: int, seed: int) -> None:
    importances = 10.0 ** np.random.default_rng(seed).uniform(-3, 0, row.size)
    grids = np.zeros((1, 2), np.float32)
    kernels.place_affine_grids(row[None], importances, 1 << bits, 0, 1, grids)
    first, step = grids[0].astype(float)
    found = naive.grid_error(row, importances, first + step * np.arange(1 << bits))
    whole = naive.grid_error(row, importances, np.linspace(row.min(), row.max(), 1 << bits))
    rounding = 12 * np.abs(row).max() * 2.0**-22
    assert step >= 0.0
    assert np.sqrt(found) <= np.sqrt(whole) + rounding


def test_affine_grids_leave_outliers_out() -> None:
    row = np.append(np.linspace(-1, 1, 99), 3.0)
    grids, importances = np.zeros((1, 2), np.float32), np.ones(100)
    kernels.place_affine_grids(row[None], importances, 8, 0, 1, grids)
    first, step = grids[0].astype(float)
    whole = naive.grid_error(row, importances, np.linspace(-1, 3, 8))
    assert naive.grid_error(row, importances, first + step * np.arange(8)) < 0.8 * whole


@pytest.mark.parametrize("grid", ["free", "affine"])
@pytest.mark.parametrize("bits", [1, 3])
def test_rounding_equals_its_naive_twin(bits: int, grid: str) -> None:
    layer = LossAwareGrid(WEIGHTS, MOMENTS, bits, grid=grid)
    points = layer.grid_points().astype(float)
    expected = [
        naive.quantized(row, damped(MOMENTS), table) for row, table in zip(WEIGHTS, points, strict=True)
    ]
    np.testing.assert_array_equal(layer.decode(), np.array(expected, np.float32))


@quickly
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 20))), st.integers(1, 8))
def test_codes_are_packed(codes: np.ndarray, bits: int) -> None:
    codes &= (1 << bits) - 1
    packed = pack_codes(codes, bits)
    assert packed.shape == (len(codes), -(-codes.shape[1] // 8) * bits)
    for row, found in zip(codes, packed, strict=True):
        assert naive.unpacked(found.tobytes(), bits, len(row)) == row.tolist()


def test_the_loop_and_the_importances_lower_the_error() -> None:
    for bits in (2, 3, 4):
        rounded = np.zeros_like(WEIGHTS)
        for row, out in zip(WEIGHTS, rounded, strict=True):
            points = np.linspace(row.min(), row.max(), 1 << bits)
            out[:] = points[np.abs(row[:, None] - points).argmin(axis=1)]
        ours = LossAwareGrid(WEIGHTS, MOMENTS, bits)
        assert MOMENTS.relative_error(WEIGHTS, ours.decode()) < 0.5 * MOMENTS.relative_error(WEIGHTS, rounded)


def test_products_and_forms_of_weights() -> None:
    W = WEIGHTS.astype(np.float16).astype(np.float64)
    before = W.copy()
    layer = LossAwareGrid(W, MOMENTS, 3)
    assert (before == W).all()
    for form in (
        W.astype(np.float16),
        W.astype(">f4"),
        np.asfortranarray(W),
        np.repeat(W, 2, axis=1)[:, ::2],
    ):
        assert LossAwareGrid(form, MOMENTS, 3) == layer
    X = INPUTS[:9]
    np.testing.assert_allclose(layer.matmul(X), X @ layer.decode().astype(float).T, rtol=1e-12, atol=1e-10)
    single = layer.matmul(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, layer.matmul(X), rtol=0, atol=1e-5 * np.abs(X).sum(axis=1).max())
    assert layer.matmul(X[:0]).shape == (0, 10)
    assert layer.nbytes == 16 + 10 * 3 * 3 + 10 * 8 * 4


def test_merged_calibration() -> None:
    parts = [SecondMoments(D).update(np.round(part)) for part in np.split(INPUTS, 3)]
    whole = SecondMoments(D).update(np.round(INPUTS))
    assert LossAwareGrid(WEIGHTS, parts[0] | parts[1] | parts[2], 2) == LossAwareGrid(WEIGHTS, whole, 2)


@pytest.mark.parametrize("grid", ["free", "affine"])
def test_hard_layers(grid: str) -> None:
    # One column; constant rows; fewer values than grid points; huge and tiny numbers.
    one = SecondMoments(1).update([[2.0], [3.0]])
    np.testing.assert_array_equal(
        LossAwareGrid([[0.1], [-7.0]], one, 4, grid=grid).decode(), np.float32([[0.1], [-7]])
    )
    constant = np.full((2, D), 0.1)
    np.testing.assert_array_equal(
        LossAwareGrid(constant, MOMENTS, 2, grid=grid).decode(), np.float32(constant)
    )
    steps = np.tile([0.0, 0.25, 0.5, 0.75], (3, D // 4))
    np.testing.assert_allclose(LossAwareGrid(steps, MOMENTS, 2, grid=grid).decode(), steps, atol=1e-6)
    assert (LossAwareGrid(0 * WEIGHTS, MOMENTS, 8, grid=grid).decode() == 0).all()
    normal = LossAwareGrid(WEIGHTS, MOMENTS, 3, grid=grid).decode()
    for scale in (2.0**100, 2.0**-100):
        np.testing.assert_array_equal(
            LossAwareGrid(WEIGHTS * scale, MOMENTS, 3, grid=grid).decode(), normal * scale
        )
        scaled = SecondMoments(D).update(INPUTS * scale)
        np.testing.assert_allclose(LossAwareGrid(WEIGHTS, scaled, 3, grid=grid).decode(), normal, atol=1e-5)


def test_inputs_that_are_all_zero_make_plain_k_means() -> None:
    zero = SecondMoments(D).update(np.zeros((3, D)))
    found = LossAwareGrid(WEIGHTS, zero, 2).decode().astype(float)
    for row, out in zip(WEIGHTS, found, strict=True):
        assert np.square(row - out).sum() == pytest.approx(naive.least_error(row, np.ones(D), 4), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((WEIGHTS[:, 1:], MOMENTS), ValueError, "W must have 24 columns, got 23"),
        ((np.full((1, D), np.nan), MOMENTS), ValueError, "W must be finite"),
        ((np.full((1, D), 1.8e38), MOMENTS), ValueError, "W must lie within 1.70141e"),
        ((WEIGHTS[:0], MOMENTS), ValueError, "W must have at least one row"),
        ((WEIGHTS, INPUTS), TypeError, "calibration must be SecondMoments, got ndarray"),
        ((WEIGHTS, SecondMoments(D)), ValueError, "calibration must have rows"),
        ((WEIGHTS, MOMENTS, 9), ValueError, "bits must be an integer from 1 to 8"),
    ],
)
def test_refuses(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        LossAwareGrid(*arguments)


def test_refuses_other_parameters() -> None:
    with pytest.raises(ValueError, match="p must be"):
        LossAwareGrid(WEIGHTS, MOMENTS, p=-1.0)
    with pytest.raises(ValueError, match="grid must be"):
        LossAwareGrid(WEIGHTS, MOMENTS, grid="round")
    less = SecondMoments(D).update(INPUTS).subtract(SecondMoments(D).update(INPUTS[1:] * 2))
    assert less.n_updates == 1
    with pytest.raises(ValueError, match="more was subtracted"):
        LossAwareGrid(WEIGHTS, less)
    with pytest.raises(ValueError, match="X must be finite"):
        LossAwareGrid(WEIGHTS, MOMENTS).matmul(np.full((1, D), np.inf))


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("grid", ["free", "affine"])
def test_largest_weights_have_finite_grids(grid, bits) -> None:
    # The two points of a grid of one bit are further apart than any weight is from 0.
    W = np.where(np.arange(2 * D).reshape(2, D) % 2, 1.7e38, -1.7e38)
    layer = LossAwareGrid(W, MOMENTS, bits, grid=grid)
    np.testing.assert_allclose(layer.decode(), W, rtol=1e-6)
    assert LossAwareGrid.from_bytes(layer.to_bytes()) == layer
