"""Test layers of which few units are computed: the naive twins, exact predictors, structured rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import (
    ActiveUnits,
    SecondMoments,
    VectorCodes,
    get_num_threads,
    load,
    set_num_threads,
    sparse_layer,
)
from naive import active_units as naive

ACTIVATIONS = ("relu", "gelu", "silu")
RNG = np.random.default_rng(0)
#: Rows as layers see them: normal, one-hot, of few entries, repeated, constant, and zero.
INPUTS = np.concatenate(
    [
        RNG.standard_normal((40, 24)),
        np.eye(24)[:8],
        RNG.integers(0, 2, (8, 24)) * (RNG.random((8, 24)) < 0.2),
        np.tile(RNG.standard_normal(24), (4, 1)),
        np.ones((2, 24)),
        np.zeros((2, 24)),
    ]
)
#: Units, of which some repeat, are one-hot, or zero.
WEIGHTS = np.concatenate(
    [
        RNG.standard_normal((40, 24)),
        np.eye(24)[:5],
        np.tile(RNG.standard_normal(24), (4, 1)),
        np.zeros((3, 24)),
    ]
)
BIAS = RNG.standard_normal(len(WEIGHTS))
OUT = RNG.standard_normal((len(WEIGHTS), 7))
FACTORS = 0.125 * (WEIGHTS[::-1] + RNG.standard_normal(WEIGHTS.shape).round(1))
MOMENTS = SecondMoments(24).update(INPUTS)
EXACT = INPUTS @ WEIGHTS.T + BIAS


@given(
    st.integers(0, 2**32),
    st.integers(1, 12),
    st.integers(0, 20),
    st.integers(0, 9),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=30)
def test_layer_is_its_naive_twin(
    seed: int, n_units: int, d: int, k: int, with_bias: bool, is_gated: bool
) -> None:
    rng = np.random.default_rng(seed)
    X, W = rng.integers(-9, 10, (3, 1 + d)) / 8.0, rng.integers(-9, 10, (n_units, 1 + d)) / 8.0
    V, units = rng.standard_normal((n_units, 3)), rng.integers(-1, n_units, (3, k))
    bias = rng.integers(-9, 10, n_units) / 8.0 if with_bias else np.zeros(n_units)
    output_bias = rng.standard_normal(3) if with_bias else np.zeros(3)
    up = rng.integers(-9, 10, W.shape) / 8.0 if is_gated else None
    given_ = {"bias": bias, "output_bias": output_bias} if with_bias else {}
    for activation in ACTIVATIONS:
        chosen = [[u for u in row if u >= 0] for row in units.tolist()]
        expected = naive.layer(X, W, V, chosen, bias, output_bias, activation, up)
        found = sparse_layer(X, W, V, units, up=up, activation=activation, **given_)  # type: ignore[arg-type]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("up", [None, FACTORS], ids=["plain", "gated"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_all_units_are_the_dense_layer(activation: str, up: Any) -> None:
    everything = [list(range(len(WEIGHTS)))] * len(INPUTS)
    expected = naive.layer(INPUTS, WEIGHTS, OUT, everything, BIAS, np.zeros(7), activation, up)
    options: Any = {"bias": BIAS, "up": up, "activation": activation}
    for units in (None, np.arange(len(WEIGHTS))[::-1]):
        found = sparse_layer(INPUTS, WEIGHTS, OUT, units, **options)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    if activation == "relu":
        active = np.where(EXACT > 0.0, np.arange(len(WEIGHTS)), -1)
        fewer = sparse_layer(INPUTS, WEIGHTS, OUT, active, **options)
        np.testing.assert_allclose(fewer, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_gated_layer_with_factors_of_one_is_the_layer_without(activation: str) -> None:
    # The last feature is 1 in all inputs, and the only one that factors read.
    X = np.concatenate([INPUTS, np.ones((len(INPUTS), 1))], axis=1)
    W = np.concatenate([WEIGHTS, BIAS[:, None]], axis=1)
    units = np.arange(len(WEIGHTS))[::3]
    found = sparse_layer(X, W, OUT, units, up=np.eye(25)[np.full(len(W), 24)], activation=activation)
    np.testing.assert_array_equal(found, sparse_layer(X, W, OUT, units, activation=activation))


def test_units_of_a_gated_layer_are_predicted_from_its_gate() -> None:
    """Selecting by the gate alone finds all units of a ReLU layer that count, whatever their factors are."""
    made = ActiveUnits(WEIGHTS, BIAS, MOMENTS, rank=24)
    n_active = int((EXACT > 0.0).sum(axis=1).max())
    units = made.select(INPUTS, n_active)
    sparse, dense = (
        sparse_layer(INPUTS, WEIGHTS, OUT, chosen, up=FACTORS, bias=BIAS) for chosen in (units, None)
    )
    np.testing.assert_allclose(sparse, dense, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("method", ["low_rank", "codes"])
def test_an_exact_predictor_selects_the_strongest(method: str, activation: str) -> None:
    options: dict[str, Any] = {"rank": 24, "calibration": MOMENTS} if method == "low_rank" else {"bits": 8}
    made = ActiveUnits(WEIGHTS, BIAS, method=method, activation=activation, **options)
    scores = made.scores(INPUTS)
    if method == "low_rank":
        np.testing.assert_allclose(scores, EXACT, atol=2e-5)
    else:
        codes = VectorCodes(24, 8).update(WEIGHTS)
        estimates, std = codes.scores(INPUTS, return_std=True)
        np.testing.assert_allclose(scores, estimates + BIAS, rtol=1e-5, atol=1e-5)
        assert (np.abs(scores - EXACT) <= 6.0 * std + 1e-5).all()
    strength = EXACT if activation == "relu" else np.vectorize(naive.activate)(EXACT, activation)
    error = 2.0 * np.abs(scores - EXACT).max()
    for k in (1, 5, len(WEIGHTS)):
        units = made.select(INPUTS, k)
        if activation == "relu":
            assert units.tolist() == naive.strongest(scores.astype(np.float64), k, activation)
            found = np.sort(np.take_along_axis(strength, units, axis=1), axis=1)
        else:
            found = np.sort(np.abs(np.take_along_axis(strength, units, axis=1)), axis=1)
        best = np.sort(strength if activation == "relu" else np.abs(strength), axis=1)[:, -k:]
        # The derivative of each activation is at most 1.13.
        assert (found >= best - 1.2 * error - 1e-6).all()
        assert (np.diff(units, axis=1) > 0).all()


@given(st.integers(0, 2**32), st.integers(1, 9))
@settings(max_examples=20)
def test_equal_strengths_take_earlier_units(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    # Powers of two, whose products are exact, so that many strengths are equal.
    W = np.eye(4)[rng.integers(0, 4, 9)] * rng.choice([-1.0, 0.0, 1.0], (9, 1))
    made = ActiveUnits(W, rng.integers(-1, 2, 9), method="codes", bits=1, activation="silu")
    X = np.concatenate([np.zeros((1, 4)), rng.integers(-1, 2, (2, 4))])
    scores = made.scores(X).astype(np.float64)
    keys = np.vectorize(naive.activate)(scores, "silu").astype(np.float32)
    found = made.select(X, k)
    assert found.tolist() == naive.strongest(np.abs(keys).astype(np.float64), k, "relu")


@pytest.mark.parametrize("rank", [1, 4, 12, 23])
def test_the_rank_has_the_least_error(rank: int) -> None:
    made = ActiveUnits(WEIGHTS, calibration=MOMENTS, rank=rank)
    error = ((made.scores(INPUTS) - INPUTS @ WEIGHTS.T) ** 2).sum()
    best = naive.best_output_error(WEIGHTS, INPUTS, rank)
    assert best * (1.0 - 1e-4) <= error <= best * (1.0 + 1e-3) + 1e-6
    assert made.nbytes == 16 + 4 * rank * (24 + len(WEIGHTS))


@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e5])
def test_the_error_is_the_least_for_columns_of_unequal_sizes(ratio: float) -> None:
    rng = np.random.default_rng(0)
    # Eight directions, and a column like a year, which weights or the bias take back.
    X = rng.standard_normal((3000, 8)) @ rng.standard_normal((8, 24))
    X[:, 0] = 20.0 * ratio
    W, moments = rng.standard_normal((64, 24)), SecondMoments(24).update(X)
    small = W * np.where(np.arange(24) == 0, 1.0 / ratio, 1.0)
    for weights, bias in ((small, np.zeros(64)), (W, -20.0 * ratio * W[:, 0])):
        made = ActiveUnits(weights, bias, moments, rank=9)
        exact = X @ weights.T + bias
        error = np.square(made.scores(X) - exact).sum() / np.square(exact).sum()
        # Rounding to float32, of numbers that are larger by the ratio where the bias takes them back.
        assert error < (1e-6 * max(1.0, 20.0 * ratio * np.abs(W[:, 0]).max() / exact.std())) ** 2


def test_few_inputs_and_zero_weights() -> None:
    # Directions that no input has are still predicted with the full rank.
    one = SecondMoments(24).update(np.eye(24)[:1])
    full = ActiveUnits(WEIGHTS, calibration=one, rank=24)
    np.testing.assert_allclose(full.scores(INPUTS), INPUTS @ WEIGHTS.T, atol=1e-4)
    nothing = SecondMoments(24).update(np.zeros((3, 24)))
    np.testing.assert_allclose(
        ActiveUnits(WEIGHTS, calibration=nothing, rank=24).scores(INPUTS), INPUTS @ WEIGHTS.T, atol=1e-4
    )
    # Small weights keep their order, also where their squares do not fit float32.
    tiny = 1e-29 * WEIGHTS
    for method, calibration in (("low_rank", MOMENTS), ("codes", None)):
        small = ActiveUnits(tiny, None, calibration, method=method)
        usual = ActiveUnits(WEIGHTS, None, calibration, method=method)
        np.testing.assert_allclose(1e29 * small.scores(INPUTS), usual.scores(INPUTS), atol=1e-4)
    assert not ActiveUnits(0.0 * WEIGHTS, method="codes").scores(INPUTS).any()
    zero = ActiveUnits(0.0 * WEIGHTS, BIAS, MOMENTS)
    np.testing.assert_array_equal(zero.scores(INPUTS), np.tile(np.float32(BIAS), (len(INPUTS), 1)))
    assert zero.rank == 3
    assert ActiveUnits(1e25 * WEIGHTS, calibration=MOMENTS, rank=24).scores(INPUTS[:1] / 1e25).shape == (
        1,
        52,
    )
    assert zero.select(np.empty((0, 24)), 2).shape == (0, 2)


def test_containers_and_threads_change_nothing() -> None:
    made = ActiveUnits(WEIGHTS, BIAS, method="codes")
    X = np.resize(INPUTS, (200, 24)).round(1)
    units, before = made.select(X, 9), [array.copy() for array in (X, WEIGHTS, OUT, FACTORS)]
    options: Any = {"bias": BIAS, "up": FACTORS}
    expected = sparse_layer(X, WEIGHTS, OUT, units, **options)
    for form in (np.asfortranarray, np.ndarray.tolist, scipy.sparse.csr_matrix):
        np.testing.assert_array_equal(made.select(form(X), 9), units)
        found = sparse_layer(form(X), form(WEIGHTS), form(OUT), units.tolist(), bias=BIAS, up=form(FACTORS))
        np.testing.assert_array_equal(found, expected)
    threads = get_num_threads()
    try:
        for n_threads in (1, 3):
            set_num_threads(n_threads)
            np.testing.assert_array_equal(made.select(X, 9), units)
            np.testing.assert_array_equal(sparse_layer(X, WEIGHTS, OUT, units, **options), expected)
    finally:
        set_num_threads(threads)
    for array, kept in zip((X, WEIGHTS, OUT, FACTORS), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_only_selected_rows_are_read() -> None:
    W, V = WEIGHTS.copy(), OUT.copy()
    W[3], V[4] = np.nan, np.inf
    units = [[0, 1, 2, -1, 5]]
    np.testing.assert_array_equal(
        sparse_layer(INPUTS[:1], W, V, units), sparse_layer(INPUTS[:1], WEIGHTS, OUT, units)
    )
    assert (
        sparse_layer(INPUTS[:2], W, V, [[-1], [-1]], output_bias=np.arange(7)).tolist() == [[*range(7)]] * 2
    )
    assert sparse_layer(np.empty((0, 24)), W, V).shape == (0, 7)
    # Of a unit that is not active, the factor is not read.
    up = np.where(EXACT[0] > 0.0, 1.0, np.nan)[:, None] * FACTORS
    np.testing.assert_array_equal(
        sparse_layer(INPUTS[:1], WEIGHTS, OUT, bias=BIAS, up=up),
        sparse_layer(INPUTS[:1], WEIGHTS, OUT, bias=BIAS, up=FACTORS),
    )


@pytest.mark.parametrize("method", ["low_rank", "codes"])
def test_files_and_repr(method: str, tmp_path: Any) -> None:
    calibration = MOMENTS if method == "low_rank" else None
    made = ActiveUnits(WEIGHTS, BIAS, calibration, method=method, activation="gelu")
    made.save(tmp_path / "units")
    loaded = load(tmp_path / "units")
    assert isinstance(loaded, ActiveUnits) and loaded == made and loaded.shape == (52, 24)
    np.testing.assert_array_equal(loaded.select(INPUTS, 6), made.select(INPUTS, 6))
    how = "rank 3" if method == "low_rank" else "codes of 4 bits"
    assert repr(made) == f"<ActiveUnits: 52 units of 24 features, {how}, {made.nbytes:,} bytes>"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ActiveUnits(WEIGHTS), "calibration must be SecondMoments"),
        (lambda: ActiveUnits(WEIGHTS, calibration=MOMENTS, method="codes"), "calibration must be None"),
        (lambda: ActiveUnits(WEIGHTS, calibration=SecondMoments(24)), "calibration must have rows"),
        (lambda: ActiveUnits(WEIGHTS[:, 1:], calibration=MOMENTS), "W must have 24"),
        (lambda: ActiveUnits(WEIGHTS, calibration=MOMENTS, rank=25), "rank must be at most 24"),
        (lambda: ActiveUnits(WEIGHTS, method="codes", rank=2), "rank must be given for the method"),
        (lambda: ActiveUnits(WEIGHTS, method="lsh"), "method must be"),
        (lambda: ActiveUnits(WEIGHTS, method="codes", bits=9), "bits must be an integer"),
        (lambda: ActiveUnits(WEIGHTS, method="codes", activation="tanh"), "activation must be"),
        (lambda: ActiveUnits(WEIGHTS * 1e31, method="codes"), r"W must lie within 1e\+30"),
        (lambda: ActiveUnits(WEIGHTS * 1e-37, method="codes"), "W must have a number of magnitude 1e-30"),
        (lambda: ActiveUnits(np.empty((0, 3)), method="codes"), "W must have at least one row"),
        (lambda: ActiveUnits(WEIGHTS * np.nan, method="codes"), "W must"),
        (lambda: ActiveUnits(WEIGHTS, BIAS[1:], method="codes"), r"bias must have shape \(52,\)"),
        (lambda: ActiveUnits(WEIGHTS, BIAS * np.inf, method="codes"), "bias must be finite"),
        (
            lambda: ActiveUnits(WEIGHTS, method="codes").select(INPUTS, 53),
            "k must be an integer from 1 to 52",
        ),
        (lambda: ActiveUnits(WEIGHTS, method="codes").select(INPUTS[:, 1:], 3), "X must have 24"),
        (lambda: ActiveUnits(WEIGHTS, calibration=MOMENTS).scores(INPUTS * 1e39), "X must have scores"),
        (lambda: sparse_layer(INPUTS[:, 1:], WEIGHTS, OUT), "X must have 24 columns"),
        (lambda: sparse_layer(INPUTS, WEIGHTS, OUT[1:]), "V must have 52 rows"),
        (
            lambda: sparse_layer(INPUTS, WEIGHTS, OUT, up=FACTORS[1:]),
            r"up must have shape \(52, 24\), as W has",
        ),
        (lambda: sparse_layer(INPUTS, WEIGHTS, OUT, up=FACTORS[0]), "up must be a matrix"),
        (lambda: sparse_layer([[1.0]], [[1.0]], [[1.0]], up=[[np.nan]]), "X, W, up, V and biases must be"),
        (lambda: sparse_layer([[1e30]], [[1.0]], [[0.0]], up=[[1.0]]), "X, W, up, V and biases must be"),
        (lambda: sparse_layer(INPUTS, WEIGHTS, OUT, [[52]] * len(INPUTS)), "units must be from -1 to 51"),
        (lambda: sparse_layer(INPUTS, WEIGHTS, OUT, [[1.0]] * len(INPUTS)), "units must be integers"),
        (lambda: sparse_layer(INPUTS, WEIGHTS, OUT, [[1]]), "units must have shape"),
        (lambda: sparse_layer(INPUTS, WEIGHTS, OUT, bias=BIAS[1:]), "bias must have shape"),
        (lambda: sparse_layer(INPUTS, WEIGHTS, OUT, output_bias=[1e39] * 7), "output_bias must be finite"),
        (lambda: sparse_layer(INPUTS, WEIGHTS, OUT, activation="tanh"), "activation must be"),
        (lambda: sparse_layer([[np.inf]], [[1.0]], [[1.0]]), "must be finite in float32"),
        (lambda: sparse_layer([[1.0]], [[np.nan]], [[1.0]]), "got others for the input at index 0"),
        (lambda: sparse_layer([[1.0], [1e30]], [[1e30]], [[1.0]]), "got others for the input at index 1"),
        (lambda: sparse_layer([[1.0]], [[1.0]], [[np.inf]]), "must be finite in float32"),
        (lambda: sparse_layer([1.0], [[1.0]], [[1.0]]), "X must be a matrix"),
        # The sum is 0, but not its parts.
        (
            lambda: sparse_layer([[1.0, 1.0]], [[3e38, 0.0]] * 2 + [[0.0, 3e38]] * 2, [[1], [1], [-1], [-1]]),
            "and the sums of some of these",
        ),
    ],
)
def test_bad_arguments_are_refused(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
