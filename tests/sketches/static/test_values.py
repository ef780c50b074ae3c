"""Test values of static functions that are missing, dates, times, durations or decimal numbers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import StaticFunction, StaticFunctionBuilder, StaticTable

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

TIMES = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))
KINDS = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "uint": st.integers(2**63, 2**64 - 1),
    "bool": st.booleans(),
    "float": st.floats(allow_nan=False),
    "str": st.text(max_size=4),
    "bytes": st.binary(max_size=4),
    "date": st.dates(),
    "datetime": TIMES,
    "timedelta": st.timedeltas(dt.timedelta(days=-106_751_991), dt.timedelta(days=106_751_991)),
    "decimal": st.decimals(-(10**8), 10**8, places=6),
}


def container(values: Any) -> str:
    """Return the name of a container, for the names of tests."""
    return f"{type(values).__module__.partition('.')[0]} {type(values).__name__}"


@settings(max_examples=60)
@given(st.data())
def test_functions_answer_as_a_dict_does(data: st.DataObject) -> None:
    values = data.draw(
        st.one_of([st.lists(st.none() | kind, min_size=1, max_size=30) for kind in KINDS.values()])
    )
    pairs: dict[int, Any] = dict(enumerate(values))
    words = {repr(value) for value in values if value is not None}
    if {repr(2**64 - 1), "0"} <= words or {repr(2**63 - 1), repr(-(2**63))} <= words:
        return
    function = StaticFunction(pairs, key_check_bits=40)
    for reopened in (function, StaticFunction.from_bytes(function.to_bytes())):
        looked_up = reopened.lookup(list(pairs))
        for key, value in pairs.items():
            for found in (reopened.lookup(key), reopened.get(key, "absent")):
                assert found == value and (found is None) == (value is None)
            assert key in reopened
            item = looked_up[key]
            assert (item is None or bool(np.ma.is_masked(item)) or item != item) == (value is None)
        assert reopened.get(10**9, "absent") == "absent" and reopened.lookup(10**9) is None
    table = StaticTable({key: (value, value) for key, value in pairs.items()}, key_check_bits=40)
    for key, value in pairs.items():
        row = table[key].tolist()
        assert row == [value, value] or isinstance(value, dt.datetime)
    assert table.lookup(10**9) is None


def test_none_keeps_integers_integers_and_is_not_an_absent_key() -> None:
    function = StaticFunction(["a", "b"], [2**60 + 1, None], key_check_bits=32)
    assert function["a"] == 2**60 + 1 and function["b"] is None
    assert function.lookup("b") is function.lookup("c") is None
    assert "b" in function and "c" not in function
    assert function.get("b", 0) is None and function.get("c", 0) == 0
    found = function.lookup(["a", "b", "c"], missing=5)
    assert found.dtype == np.int64 and found.tolist() == [2**60 + 1, None, 5]
    assert function.lookup(["b", "c", "a"]).mask.tolist() == [True, True, False]
    with pytest.raises(KeyError, match="c"):
        function["c"]
    plain = StaticFunction({"a": 1})
    with pytest.raises(ValueError, match="get needs key_check_bits, which were 0"):
        plain.get("a")


@pytest.mark.parametrize(
    "values",
    [
        [1, None, 3],
        np.ma.array([1, 9, 3], mask=[False, True, False]),
        np.array([1, None, 3], dtype=object),
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1, None, 3], dtype="int8[pyarrow]"),
        pd.Series([1, None, 3], dtype=object),
        pd.array([1, None, 3], dtype="Int16"),
        pl.Series([1, None, 3]),
        pa.array([1, None, 3]),
        pa.chunked_array([[1], [None, 3]]),
    ],
    ids=container,
)
def test_missing_values_of_any_container(values: Any) -> None:
    function = StaticFunction([10, 11, 12], values)
    found = function.lookup([12, 11, 10])
    assert found.tolist() == [3, None, 1] and found.dtype.kind == "i"


@pytest.mark.parametrize(
    "values",
    [
        ["x", None, "z"],
        np.array(["x", np.nan, "z"], dtype=object),
        pd.Series(["x", None, "z"]),
        pd.Series(["x", np.nan, "z"], dtype=object),
        pd.Series(["x", None, "z"], dtype="category"),
        pl.Series(["x", None, "z"], dtype=pl.Categorical),
        pa.array(["x", None, "z"]).dictionary_encode(),
    ],
    ids=container,
)
def test_missing_texts_of_any_container(values: Any) -> None:
    assert StaticFunction([10, 11, 12], values).lookup([12, 11, 10]).tolist() == ["z", None, "x"]


def test_all_values_may_be_missing() -> None:
    for values in ([None, None], pa.nulls(2, pa.int64()), np.ma.masked_all(2, float)):
        assert StaticFunction([1, 2], values).lookup([2, 1]).tolist() == [None, None]
    assert StaticFunction([1, 2], np.array(["NaT"] * 2, "M8[s]")).lookup(1) is None


def test_a_rare_none_costs_no_wider_words() -> None:
    keys = np.arange(20_000)
    plain = StaticFunction(keys, keys)
    for place in (0, 777, 19_999):
        values = keys.tolist()
        values[place] = None
        assert StaticFunction(keys, values).nbytes < 1.03 * plain.nbytes
    words = [0, 2**64 - 1, None]
    with pytest.raises(ValueError, match="values must leave one of the 2\\*\\*64 words to None"):
        StaticFunction([1, 2, 3], words)
    assert StaticFunction([1, 2, 3], [1, 2**64 - 1, None]).lookup([3, 2, 1]).tolist() == [None, 2**64 - 1, 1]


DAYS = ["2024-02-29", "1970-01-01"]


@pytest.mark.parametrize("unit", ["D", "s", "ms", "us", "ns"])
def test_times_keep_their_unit(unit: str) -> None:
    days = np.array(DAYS, f"M8[{unit}]")
    swapped = days.astype(days.dtype.newbyteorder(">"))
    for values in (days, swapped, list(days), pa.array(days)):
        found = StaticFunction([1, 2], values).lookup([2, 1])
        assert found.dtype == days.dtype and (found == days[::-1]).all()
    if unit != "D":
        for values in (pd.Series(days), pd.Index(days)):
            assert StaticFunction([1, 2], values).lookup([2, 1]).dtype == days.dtype
    with_nat = np.append(days, np.datetime64("NaT"))
    function = StaticFunction([1, 2, 3], with_nat)
    assert np.isnat(function.lookup([3, 1])).tolist() == [True, False] and function[3] is None
    durations = days - days[1]
    assert (StaticFunction([1, 2], durations).lookup([1, 2]) == durations).all()


def test_python_times_come_back_as_they_were() -> None:
    for values in (
        [dt.date(2024, 2, 29), dt.date(1, 1, 1)],
        [dt.datetime(2024, 2, 29, 1, 2, 3, 4), dt.datetime(1, 1, 1)],
        [dt.timedelta(days=3, microseconds=1), dt.timedelta(-5)],
    ):
        function = StaticFunction(["a", "b"], values)
        assert [function.lookup("a"), function.lookup("b")] == values
        assert type(function.lookup("a")) is type(values[0])
    mixed = [np.datetime64("2024-01-01"), np.datetime64("NaT"), np.datetime64(5, "ns")]
    assert np.isnat(StaticFunction([1, 2, 3], mixed).lookup([1, 2, 3])).tolist() == [False, True, False]
    stamp = pd.Timestamp("2024-02-29T00:00:00.000000001")
    assert StaticFunction(["a"], [stamp]).lookup("a") == stamp.to_numpy()


def test_what_is_no_time_is_refused() -> None:
    utc = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    for values in ([utc], pd.Series([utc]), pa.array([utc]), pl.Series([utc])):
        with pytest.raises(TypeError, match=r"values must be timestamps without a time zone, got .*UTC"):
            StaticFunction([1], values)
    with pytest.raises(
        ValueError, match=r"values must be durations that fit 64 bits in microseconds, got 106751992"
    ):
        StaticFunction([1], [dt.timedelta(days=-106_751_992)])
    with pytest.raises(
        ValueError, match=r"values must be timestamps that fit 64 bits in the unit datetime64\[ns\], got 9999"
    ):
        StaticFunction([1, 2], [np.datetime64("9999-01-01"), np.datetime64(5, "ns")])
    with pytest.raises(TypeError, match=r"values must be all .* got date, datetime"):
        StaticFunction([1, 2], [dt.date(2024, 1, 1), dt.datetime(2024, 1, 1)])


def test_decimal_numbers_are_exact() -> None:
    values = [Decimal("0.10"), Decimal("-123456789.123456789"), Decimal("1E+3"), Decimal(0)]
    for given_ in (values, pa.array(values[:2]), pl.Series(values[:2])):
        n = len(given_)
        function = StaticFunction(list(range(n)), given_)
        assert [function[i] for i in range(n)] == values[:n]
        assert isinstance(function[0], Decimal)
    for bad, error in (
        ([Decimal("NaN")], "values must be finite decimal numbers, got NaN"),
        ([Decimal("Infinity")], "values must be finite decimal numbers"),
        ([Decimal("1E-19")], "values must have at most 18 digits behind the point, got 19"),
        ([Decimal("1E+999999999")], "values must be decimal numbers that fit 64 bits"),
        ([Decimal("1E+18"), Decimal("0.01")], "values must be decimal numbers that fit 64 bits"),
    ):
        with pytest.raises(ValueError, match=error):
            StaticFunction(list(range(len(bad))), bad)


def test_builders_refuse_missing_values_and_take_times() -> None:
    with pytest.raises(ValueError, match=r"values must be present for every key .* got None at 1"):
        StaticFunctionBuilder().update([1, 2], [5, None])
    days = np.array(DAYS, "M8[D]")
    function = StaticFunctionBuilder().update([1], days[:1]).update([2], days[1:]).build()
    assert function == StaticFunction([1, 2], days)


def test_a_dict_has_keys_and_values() -> None:
    assert StaticFunction({"a": 1, "b": 2}) == StaticFunction(["a", "b"], [1, 2])
    with pytest.raises(TypeError, match="values must not be given if keys is a dict"):
        StaticFunction({"a": 1}, [1])
    with pytest.raises(TypeError, match="values must be given unless keys is a dict"):
        StaticFunction(["a"])
    assert StaticTable({"a": [1, 2], "b": [3, 4]}) == StaticTable(["a", "b"], [[1, 2], [3, 4]])


def test_conflicting_values_are_named_with_none() -> None:
    with pytest.raises(ValueError, match=r"got 'a' with 1 \(at 0\) and None \(at 1\)"):
        StaticFunction(["a", "a"], [1, None])


def test_missing_values_and_times_do_not_go_to_a_gpu() -> None:
    for values in ([1, None], np.array(DAYS, "M8[D]"), [Decimal(1), Decimal(2)]):
        with pytest.raises(NotImplementedError, match="have no place on a GPU"):
            StaticFunction([1, 2], values).to("gpu")


def test_old_files_have_no_new_fields() -> None:
    config = StaticFunction([1], [2]).config()
    assert config["values"] == {"kind": "int", "dtype": "int64", "precision": 0.0}
    assert "null" in StaticFunction([1, 2], [2, None]).config()["values"]
    assert mergesketch.StaticFunction([1], [2]).to_bytes() == StaticFunction([1], [2]).to_bytes()


FORMS = {
    "a column with NaN": lambda: (pd.Series([1.5, np.nan, 2.0]), [1.5, np.nan, 2.0]),
    "a column of float32 with NaN": lambda: (pd.Series([1.5, np.nan], dtype="f4"), [1.5, np.nan]),
    "an index with NaN": lambda: (pd.Index([1.5, np.nan]), [1.5, np.nan]),
    "a sparse column": lambda: (pd.Series(pd.arrays.SparseArray([0.0, np.nan, 3.0])), [0.0, np.nan, 3.0]),
    "views of strings": lambda: (pa.array(["x", None, "y" * 30], pa.string_view()), ["x", None, "y" * 30]),
    "views of bytes": lambda: (pa.array([b"x", None], pa.binary_view()), [b"x", None]),
    "runs": lambda: (pa.RunEndEncodedArray.from_arrays([2, 3], pa.array(["a", None])), ["a", "a", None]),
    "a null in a dictionary": lambda: (
        pa.DictionaryArray.from_arrays([0, 1, 0], pa.array(["a", None])),
        ["a", None, "a"],
    ),
    "NaN of NumPy beside None": lambda: ([np.float32("nan"), None, np.float32(1)], [np.nan, None, 1.0]),
    "NaN of NumPy beside strings": lambda: ([np.float32("nan"), "a"], [None, "a"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_nan_is_a_number_and_every_column_may_have_nulls(form: str) -> None:
    """Arrow would take NaN in a column of pandas for a null, and encodings hide nulls."""
    values, wanted = FORMS[form]()
    keys = list(range(len(wanted)))
    looked_up = [StaticFunction(keys, values).lookup(keys)]
    looked_up.append(StaticTable(keys, {"x": values}).lookup(keys)["x"])
    for found in looked_up:
        items = [None if np.ma.is_masked(item) else item for item in found]
        for item, value in zip(items, wanted, strict=True):
            assert item == value or (item != item and value != value and value is not None)


def test_a_time_zone_is_named_also_beside_nulls() -> None:
    column = pd.Series(pd.to_datetime(["2020-01-01", None])).dt.tz_localize("UTC")
    with pytest.raises(TypeError, match="values must be timestamps without a time zone, got UTC"):
        StaticFunction([1, 2], column)
