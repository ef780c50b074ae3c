"""DDSketch: the naive twin, the guarantee for every quantile, and what is refused."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mergesketch import DDSketch, KLLSketch
from mergesketch.errors import SaturationWarning, SketchFormatError
from mergesketch.sketches.core.file_format import pieces_of_file
from mergesketch.sketches.counts.log_bins import bins_per_octave, log_bins
from naive import ddsketch as naive

ERRORS = st.sampled_from([0.001, 0.01, 0.05, 0.3, 0.9])
MAGNITUDES = st.floats(1e-9, 1e18) | st.sampled_from([1.0, 2.0, 4.0, 0.5, 1e-9, 1e18, 3.0])
NUMBERS = st.lists(MAGNITUDES | MAGNITUDES.map(lambda x: -x) | st.just(0.0), min_size=1, max_size=40)
SHARES = [0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0]


def lowest_and_highest(sketch: DDSketch) -> tuple[int, int]:
    return math.frexp(sketch.smallest)[1] - 1, math.frexp(sketch.largest)[1] - 1


# -- bins -----------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 4)), max_size=30),
    ERRORS,
    st.sampled_from([(1e-9, 1e15), (2.0**-1022, 1.7e308), (0.7, 0.8), (1.0, 2.0)]),
)
def test_counts_equal_those_of_the_naive_twin(
    pairs: list[tuple[float, int]], relative_error: float, ends: tuple[float, float]
) -> None:
    values, weights = [value for value, _ in pairs], [weight for _, weight in pairs]
    sketch = DDSketch(relative_error, smallest=ends[0], largest=ends[1]).update(values, weights)
    m = naive.bins_per_octave(relative_error)
    assert m == bins_per_octave(relative_error)
    expected = naive.counts(values, weights, m, *lowest_and_highest(sketch))
    assert sketch.state["counts"].array.tolist() == expected
    assert sketch.total == sum(weights) and sketch.n_updates == len(values)


@pytest.mark.slow
@pytest.mark.parametrize("relative_error", [1e-5, 1e-4, 0.003, 0.01, 0.02, 1 / 3, 0.34, 0.999999])
def test_floats_on_both_sides_of_an_edge_have_their_exact_bins(relative_error: float) -> None:
    m = bins_per_octave(relative_error)
    sketch = DDSketch(relative_error, smallest=1.0, largest=3.0)
    edges = sketch._bins.edges[sketch._bins.n_bins // 2 + 1 : -1]
    # The naive twin takes exact powers, which are slow for many bins.
    some = np.unique(np.linspace(0, m, min(m, 8)).astype(int))
    values = np.unique(np.concatenate([edges[some], np.nextafter(edges[some], 0.0)]))
    for value in values.tolist():
        counts = sketch.empty_like().update(value).state["counts"].array
        assert np.flatnonzero(counts) - counts.size // 2 == naive.place(value, m, 0, 1)


@pytest.mark.parametrize("m", [1, 2, 3, 7, 35, 347, 3466, 34_658])
def test_no_cell_of_the_table_has_two_edges_inside(m: int) -> None:
    bins = log_bins(m, 0, 0)
    starts = np.round((bins.edges[bins.n_bins // 2 + 1 : -2] - 1.0) * 2.0**52).astype(np.int64)
    assert starts.size == m and starts[0] == 0
    inside = np.unique(starts[starts % (1 << bins.shift) != 0] >> bins.shift, return_counts=True)[1]
    assert (inside == 1).all()
    # Half of the cells would be too few for some numbers of bins, so the table is not too large either.
    assert bins.firsts.size < 8 * m + 8


@pytest.mark.parametrize("relative_error", [1e-5, 1e-4, 0.01, 0.1, 1 / 3, 0.9])
def test_the_middle_of_a_bin_is_within_the_error_of_its_first_and_last_float(relative_error: float) -> None:
    bins = log_bins(bins_per_octave(relative_error), -1, 0)
    error = Fraction(relative_error)
    places = np.linspace(bins.n_bins // 2 + 1, bins.n_bins - 2, 50).astype(int)
    for place in places.tolist():
        middle = Fraction(float(bins.middles[place]))
        for end in (float(bins.edges[place]), float(np.nextafter(bins.edges[place + 1], 0.0))):
            assert abs(middle - Fraction(end)) <= error * Fraction(end)


def test_one_bin_fewer_an_octave_would_be_too_few() -> None:
    for relative_error in (1e-4, 0.01, 0.02, 0.05, 0.3):
        m = bins_per_octave(relative_error) - 1
        growth = 2.0 ** (1.0 / m)
        assert (growth - 1) / (growth + 1) > relative_error


# -- the guarantee --------------------------------------------------------------------------------


@settings(max_examples=300)
@given(NUMBERS, ERRORS, st.floats(0.0, 1.0))
def test_every_quantile_is_within_the_relative_error(
    values: list[float], relative_error: float, q: float
) -> None:
    sketch = DDSketch(relative_error).update(values)
    for share in (q, *SHARES):
        exact, found = naive.quantile(values, share), sketch.quantile(share)
        assert abs(Fraction(found) - Fraction(exact)) <= Fraction(relative_error) * abs(Fraction(exact))
        low, high = sketch.bounds(share)
        assert low <= exact <= high and low <= found <= high
    assert (sketch.min, sketch.max) == (min(values), max(values))
    assert sketch.quantile([0.0, 1.0]).tolist() == [min(values), max(values)]


@settings(max_examples=200)
@given(NUMBERS, ERRORS, MAGNITUDES | MAGNITUDES.map(lambda x: -x) | st.just(0.0))
def test_shares_lie_between_their_bounds(values: list[float], relative_error: float, x: float) -> None:
    sketch = DDSketch(relative_error).update(values)
    for asked in (x, *values[:5]):
        truth = naive.rank(values, asked)
        low, high = sketch.cdf_bounds(asked)
        assert low * len(values) <= truth * (1 + 1e-12) and truth <= high * len(values) * (1 + 1e-12)
        assert low <= sketch.cdf(asked) <= high
        assert sketch.rank(asked) == pytest.approx(sketch.cdf(asked) * len(values))
    order = np.sort(np.array([*values, x, -1e19, 1e19]))
    assert (np.diff(sketch.cdf(order)) >= 0).all()
    assert sketch.cdf(order[[0, -1]]).tolist() == [0.0, 1.0]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.floats(0, 1))
def test_bounds_hold_for_all_floats(values: list[float], q: float) -> None:
    # Values beyond the range of the bins, and below it, included.
    sketch = DDSketch(0.05, smallest=1e-3, largest=1e3).update(values)
    exact = naive.quantile(values, q)
    low, high = sketch.bounds(q)
    assert low <= exact <= high
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        found = sketch.quantile(q)
    assert low <= found <= high
    if abs(exact) < 1e-3:
        assert abs(found - exact) <= 1e-3
    elif abs(exact) <= 1e3:
        assert abs(found - exact) <= 0.05 * abs(exact)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.lognormal(3.0, 2.0, 20_000),
        lambda rng: rng.integers(0, 200, 20_000),
        lambda rng: np.full(20_000, 7.0),
        lambda rng: (rng.random(20_000) < 0.01) * 200.0,  # one-hot
        lambda rng: np.repeat([1.0, 100.0], 10_000),
    ],
)
def test_quantiles_of_arrays_of_every_dtype(draw: Any, dtype: Any) -> None:
    with np.errstate(invalid="ignore"):
        values = np.clip(draw(np.random.default_rng(0)), 0, 255 if dtype == np.uint8 else 1e6).astype(dtype)
    sketch = DDSketch(0.01).update(values)
    q = np.linspace(0, 1, 101)
    exact = np.quantile(values.astype(np.float64), q, method="lower")
    np.testing.assert_allclose(sketch.quantile(q), exact, rtol=0.01, atol=0)


def test_weights_count_as_repetitions_and_zero_weights_as_nothing() -> None:
    weighted = DDSketch(0.01).update([5.0, 7.0, 1e9], [3, 1, 0])
    plain = DDSketch(0.01).update([5.0, 5.0, 5.0, 7.0])
    assert weighted.total == plain.total == 4 and weighted.n_updates == 3
    assert (weighted.min, weighted.max) == (5.0, 7.0)
    assert weighted.state["counts"].array.tolist() == plain.state["counts"].array.tolist()
    nothing = DDSketch(0.01).update([5.0], [0])
    assert nothing.total == 0 and math.isnan(nothing.min) and math.isnan(nothing.quantile(0.5))
    huge = DDSketch(0.01).update([1.0, 2.0], [2**62, 2**62 - 1])
    assert huge.quantile([0.0, 0.4, 0.6, 1.0]).round(1).tolist() == [1.0, 1.0, 2.0, 2.0]
    with pytest.raises(OverflowError, match="cannot count beyond"):
        huge.update([1.0])
    assert huge.total == 2**63 - 1


# -- small inputs ---------------------------------------------------------------------------------


def test_an_empty_sketch_answers_nan() -> None:
    empty = DDSketch(0.01)
    assert math.isnan(empty.quantile(0.5)) and math.isnan(empty.min) and math.isnan(empty.max)
    assert np.isnan(empty.quantile([0.1, 0.2])).tolist() == [True, True]
    assert all(map(math.isnan, empty.bounds(0.5)))
    assert math.isnan(empty.cdf(3.0)) and empty.rank(3.0) == 0.0
    assert type(empty.rank(3.0)) is float and empty.rank([3.0]).dtype == np.float64
    assert all(np.isnan(found).all() for found in empty.cdf_bounds([1.0, 2.0]))
    assert not empty._state.is_allocated or empty == DDSketch(0.01)


def test_one_value_is_known_exactly() -> None:
    for value in (3.7, -3.7, 0.0, 1e-12, -1e300, 5e-324, 2**63):
        sketch = DDSketch(0.01).update(value)
        assert sketch.quantile(0.3) == sketch.min == sketch.max == value
        assert sketch.bounds(0.3) == (value, value)
        assert sketch.cdf(value) == 1.0 and sketch.cdf([value]).tolist() == [1.0]
    for beyond in (2**70, [2**70, 1]):
        with pytest.raises(TypeError, match="values must be real numbers, got dtype object"):
            DDSketch(0.01).update(beyond)
    assert type(sketch.quantile(0.3)) is float and type(sketch.cdf(3)) is float


def test_zeros_are_counted_apart() -> None:
    sketch = DDSketch(0.01).update([0.0] * 8 + [-0.0, 1e-12, 5.0, -5.0])
    assert sketch.quantile(0.5) == 0.0
    assert sketch.cdf(0.0) == 11 / 12 and sketch.cdf(-1e-12) == 1 / 12
    assert sketch.cdf_bounds(0.0) == (1 / 12, 11 / 12)


def test_quantiles_beyond_the_largest_magnitude_warn_and_are_bounded() -> None:
    sketch = DDSketch(0.01, largest=1000.0).update([1.0, 1500.0, 5000.0, 9000.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sketch.quantile([0.0, 0.1, 1.0]).tolist() == [1.0, 1.0, 9000.0]
    with pytest.warns(SaturationWarning, match=r"lies between 1024 and 9000; choose a higher `largest`"):
        found = sketch.quantile(0.5)
    assert sketch.bounds(0.5) == (1024.0, 9000.0) and 1024.0 < found < 9000.0
    mirrored = DDSketch(0.01, largest=1000.0).update([-1.0, -1500.0, -5000.0, -9000.0])
    with pytest.warns(SaturationWarning, match="between -1024 and -9000"):
        assert mirrored.quantile(0.5) == -found


def test_a_range_to_the_ends_of_float64_warns_never() -> None:
    values = [1.7e308, -1.7e308, 2.0**-1022, 5e-324, 1.0, 1e300]
    sketch = DDSketch(0.01, smallest=2.0**-1022, largest=1.7e308).update(values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sketch.quantile(np.arange(6) / 5)
    np.testing.assert_allclose(found, sorted(values), rtol=0.01, atol=2.0**-1022)


def test_shares_beyond_the_largest_magnitude_warn() -> None:
    sketch = DDSketch(0.01, largest=1000.0).update([1.0, 1500.0, 5000.0, 9000.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sketch.cdf([0.5, 1.0, 1000.0, 9000.0, 1e9]).tolist() == [0.0, 0.25, 0.25, 1.0, 1.0]
    for ask in (sketch.cdf, sketch.rank):
        with pytest.warns(SaturationWarning, match="a number is beyond the largest magnitude 1000 of this"):
            ask([1.0, 2000.0])
    low, high = sketch.cdf_bounds(2000.0)
    assert (low, high) == (0.25, 1.0)


def test_shares_of_integers_count_the_integer_itself() -> None:
    # A power of two is the edge of a bin, and spreading the values over the bin would leave all of them out.
    die = DDSketch(0.01).update([1, 2, 3, 4, 5, 6], [10, 20, 30, 40, 50, 60])
    assert die.rank([0, 1, 2, 3, 3.5, 4, 5, 6, 7]).tolist() == [0, 10, 30, 60, 60, 100, 150, 210, 210]
    assert DDSketch(0.01).update([-8, 0, 8, 16], [1, 2, 3, 4]).rank([-9, -8, 0, 8, 16]).tolist() == [
        0,
        1,
        3,
        6,
        10,
    ]


def test_quantiles_have_the_shape_of_q() -> None:
    sketch = DDSketch(0.01).update(range(1, 101))
    assert sketch.quantile(np.full((2, 3), 0.5)).shape == (2, 3)
    assert sketch.quantile([]).shape == (0,)
    assert sketch.query(0.5) == sketch.quantile(0.5)
    assert sketch.quantile([0, 1]).tolist() == [1.0, 100.0]


def test_merged_extremes_are_those_of_all() -> None:
    parts = [DDSketch(0.1).update(values) for values in ([3.0, 4.0], [-2.0], [9.5, 1.0], [])]
    for merged in (parts[0] | parts[1] | parts[2] | parts[3], sum(parts[::-1])):
        assert (merged.min, merged.max, merged.total) == (-2.0, 9.5, 5)
        assert DDSketch.from_bytes(merged.to_bytes()).max == 9.5


def test_threads_add_partial_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).lognormal(0, 3, 500_000)
    before = mergesketch.get_num_threads()
    try:
        mergesketch.set_num_threads(3)
        threaded = DDSketch(0.05).update(values).update(values[:10])
        mergesketch.set_num_threads(1)
        assert DDSketch(0.05).update(values).update(values[:10]) == threaded
    finally:
        mergesketch.set_num_threads(before)
    assert threaded.state["counts"].array.sum() == 500_010


# -- nulls and columns ----------------------------------------------------------------------------


def test_nulls_are_refused_or_skipped_with_their_counts() -> None:
    pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    expected = DDSketch(0.01).update([1.5, 4.0], [2, 5])
    counts = [2, 3, 5]
    forms = [
        [1.5, None, 4.0],
        [1.5, math.nan, 4.0],
        np.array([1.5, math.nan, 4.0]),
        np.array([1.5, math.nan, 4.0], np.float32),
        np.ma.array([1.5, 9.0, 4.0], mask=[False, True, False]),
        pd.Series([1.5, None, 4.0]),
        pd.Series([1.5, None, 4.0], dtype="Float64"),
        pl.Series([1.5, None, 4.0]),
        pa.array([1.5, None, 4.0]),
        pa.chunked_array([[1.5, None], [4.0]]),
    ]
    for values in forms:
        assert DDSketch(0.01).update(values, counts, nulls="skip") == expected, type(values)
        sketch = DDSketch(0.01)
        with pytest.raises(ValueError, match=r"^values must"):
            sketch.update(values, counts)
        assert not sketch._state.is_allocated
    assert DDSketch(0.01).update([None, None], nulls="skip").total == 0
    for null in (None, math.nan, pd.NA, pd.NaT):
        assert DDSketch(0.01).update(null, nulls="skip").total == 0
        with pytest.raises(
            ValueError, match=r'values must .*, got .*; nulls="skip" leaves them out|which nulls'
        ):
            DDSketch(0.01).update(null)
        # A query has no such argument, so that its message does not advise one.
        with pytest.raises(
            ValueError, match=r"^values must be finite, got nan at index 0$|no nulls, got \S+$"
        ):
            expected.cdf(null)
    assert DDSketch(0.01).update([], nulls="skip") == DDSketch(0.01).update([]) == DDSketch(0.01)
    with pytest.raises(ValueError, match="nulls must be one of"):
        DDSketch(0.01).update([1.0], nulls="drop")
    with pytest.raises(ValueError, match="finite, got inf at index 2"):
        DDSketch(0.01).update([1.0, None, math.inf], nulls="skip")


def test_columns_of_numbers_are_read_and_other_columns_refused() -> None:
    pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    expected = DDSketch(0.01).update([1.0, 2.0, 2.0])
    for column in (
        pd.Series([1, 2, 2]),
        pd.Series([1, 2, 2], dtype="Int64"),
        pd.Series([1, 2, 2], dtype="category"),
        pl.Series([1, 2, 2]),
        pa.array([1, 2, 2], pa.int16()),
        pa.array([1.0, 2.0, 2.0]).dictionary_encode(),
        pd.Index([1, 2, 2]),
    ):
        assert DDSketch(0.01).update(column) == expected, type(column)
    for column in (
        pd.Series(["a"]),
        pd.Series(pd.to_datetime(["2024-01-01"])),
        pl.Series(["a"]),
        pa.array(["a"]),
        pd.DataFrame({"a": [1.0], "b": [2.0]}),
        pa.table({"a": [1.0]}),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^values"):
            DDSketch(0.01).update(column)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"relative_error": 0.0}, r"relative_error must be a number in \[1e-05, 1\], got 0.0"),
        ({"relative_error": 1.0}, "relative_error must be"),
        ({"relative_error": math.nan}, "relative_error must be"),
        ({"smallest": 0.0}, "smallest must be"),
        ({"smallest": 1e-320}, "smallest must be"),
        ({"largest": math.inf}, "largest must be"),
        ({"smallest": 5.0, "largest": 5.0}, "largest must be above smallest = 5.0, got 5.0"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DDSketch(**arguments)
    with pytest.raises(TypeError, match="relative_error must be"):
        DDSketch("0.01")


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan, [0.5, 2.0], "0.5", None])
def test_bad_shares_are_refused(q: Any) -> None:
    sketch = DDSketch(0.01).update([1.0])
    for ask in (sketch.quantile, sketch.bounds):
        with pytest.raises((TypeError, ValueError), match=r"^q must"):
            ask(q)


@given(st.data())
def test_files_that_contradict_themselves_are_refused(data: st.DataObject) -> None:
    sketch = DDSketch(0.2, smallest=1e-3, largest=1e3).update([-3.5, 0.0, 0.25, 2.0])
    arrays = {name: array.copy() for name, array in sketch._arrays.items()}
    name = data.draw(st.sampled_from(["counts", "total", "min", "max"]))
    place = data.draw(st.integers(0, arrays[name].size - 1))
    value = data.draw(st.sampled_from([-7, 0, 1, 2**31 - 1] if name in ("counts", "total") else [-9.0, 9.0]))
    assume(arrays[name][place] != value)
    arrays[name][place] = value
    forged = b"".join(pieces_of_file("DDSketch", sketch.config(), arrays))
    with pytest.raises(SketchFormatError, match="no state of a DDSketch"):
        DDSketch.from_bytes(forged)


def test_the_sign_of_zero_leaves_no_trace_in_the_extremes() -> None:
    for make in (DDSketch, KLLSketch):
        for signs in ([0.0, -0.0], [-0.0, 0.0], [-0.0, -0.0]):
            sketch = make().update(signs)
            assert not np.signbit([sketch.min, sketch.max]).any()
            merged = make().update(signs[:1]) | make().update(signs[1:])
            assert not np.signbit([merged.min, merged.max]).any()
