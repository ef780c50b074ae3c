"""Test that a key has one hash whatever its container: dates, timestamps, UUIDs, tuples, and nulls."""

from __future__ import annotations

import datetime as dt
import decimal
import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import BloomFilter, StaticFunction
from mergesketch.lsh import hash_keys
from mergesketch.lsh.inputs.dates import moment_of
from naive.keys import bytes_of, hash_of

DATES = [dt.date(2020, 1, 31), dt.date(1965, 3, 1), dt.date(9999, 12, 31), dt.date(1, 1, 1)]
#: Whole milliseconds within the range of nanoseconds, before and after 1970.
TIMES = [
    dt.datetime(2020, 1, 31, 1, 2, 3, 4000),
    dt.datetime(1965, 3, 1, 5),
    dt.datetime(2200, 12, 31, 23, 59, 59, 999000),
]
UTC = [time.replace(tzinfo=dt.UTC) for time in TIMES]
BERLIN = [time.astimezone(ZoneInfo("Europe/Berlin")) for time in UTC]
IDS = [UUID(int=1), UUID(int=2**127 + 5 * 2**64), UUID(int=7 << 120)]
TUPLES = [("a", 1), ("é", -2), ("", 3), ("a", 2)]

times = st.datetimes(timezones=st.none() | st.just(dt.UTC) | st.just(ZoneInfo("America/New_York")))
atoms: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**63), 2**64 - 1),
    "str": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "bytes": st.binary(max_size=20),
    "date": st.dates(),
    "datetime": st.datetimes(),
    "timestamp": st.datetimes(timezones=st.sampled_from([dt.UTC, ZoneInfo("America/New_York")])),
    "uuid": st.uuids(),
}


@pytest.fixture(params=["with pyarrow", "without pyarrow"])
def pyarrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Give each test twice, with pyarrow and as if it were not installed."""
    if request.param == "without pyarrow":
        for module in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        find = "mergesketch.lsh.inputs.columns.find_spec"
        monkeypatch.setattr(find, lambda name: None)
        return False
    pytest.importorskip("pyarrow")
    return True


def expected(keys: list[Any], seed: int = 0) -> list[int]:
    return [hash_of(key, seed) for key in keys]


@pytest.mark.slow
@pytest.mark.parametrize("kind", atoms)
@settings(max_examples=50, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**64 - 1))
def test_lists_against_the_definition(kind: str, data: st.DataObject, seed: int) -> None:
    keys = data.draw(st.lists(atoms[kind], max_size=10))
    assert hash_keys(keys, seed).tolist() == expected(keys, seed)
    assert hash_keys(np.array([*keys, None], object)[:-1], seed).tolist() == expected(keys, seed)
    for key in keys[:2]:
        assert hash_keys(key, seed) == hash_of(key, seed)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**64 - 1))
def test_tuples_against_the_definition(data: st.DataObject, seed: int) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(atoms)), min_size=2, max_size=5))
    keys = data.draw(st.lists(st.tuples(*(atoms[kind] for kind in kinds)), max_size=6))
    assert hash_keys(keys, seed).tolist() == expected(keys, seed)


def test_where_a_part_ends_matters() -> None:
    keys = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc")]
    found = [int(hash_keys([key])[0]) for key in [*keys, ("a", "b", "c"), ("c", "b", "a")]]
    assert len({*found, hash_keys("abc")}) == 7


def date_columns(has_pyarrow: bool) -> Iterator[tuple[str, Any]]:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    yield "list", DATES
    yield "datetime64[D]", np.array(DATES, "M8[D]")
    yield "datetime64[D], big-endian, every other", np.repeat(np.array(DATES, ">M8[D]"), 2)[::2]
    yield "list of datetime64", [np.datetime64(date) for date in DATES]
    yield "list of both", [np.datetime64(DATES[0]), *DATES[1:]]
    yield "pandas", pd.Series(DATES)
    yield "pandas categories", pd.Series(DATES, dtype="category")
    yield "polars", pl.Series(DATES)
    if has_pyarrow:
        import pyarrow as pa

        for kind in (pa.date32(), pa.date64()):
            yield f"Arrow {kind}", pa.array(DATES, kind)
            yield f"Arrow {kind}, chunked", pa.chunked_array([DATES[:1], [], DATES[1:]], kind)
            yield f"Arrow {kind}, sliced", pa.array([DATES[1], *DATES], kind)[1:]
        yield "Arrow dictionary", pa.array(DATES).dictionary_encode()
        yield "pandas of Arrow", pd.Series(DATES, dtype="date32[pyarrow]")


def time_columns(has_pyarrow: bool) -> Iterator[tuple[str, Any]]:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    yield "list", TIMES
    for unit in ("ms", "us", "ns"):
        yield f"datetime64[{unit}]", np.array(TIMES, f"M8[{unit}]")
        yield f"pandas {unit}", pd.Series(np.array(TIMES, f"M8[{unit}]"))
        yield f"polars {unit}", pl.Series(TIMES).cast(pl.Datetime(unit))
        yield f"list of datetime64[{unit}]", list(np.array(TIMES, f"M8[{unit}]"))
    yield "datetime64[25us]", np.array(TIMES, "M8[25us]")
    yield "index", pd.DatetimeIndex(TIMES)
    yield "list of Timestamp", [pd.Timestamp(time) for time in TIMES]
    yield "list of all", [pd.Timestamp(TIMES[0]), TIMES[1], np.datetime64(TIMES[2])]
    yield "objects", np.array(TIMES, dtype=object)
    yield "categories", pd.Series(TIMES, dtype="category")
    if has_pyarrow:
        import pyarrow as pa

        for unit in ("ms", "us", "ns"):
            yield f"Arrow {unit}", pa.array(TIMES, pa.timestamp(unit))
        yield "Arrow dictionary", pa.array(TIMES).dictionary_encode()
        yield "pandas of Arrow", pd.Series(TIMES, dtype="timestamp[ms][pyarrow]")


def instant_columns(has_pyarrow: bool) -> Iterator[tuple[str, Any]]:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for zone, values in (("UTC", UTC), ("Berlin", BERLIN)):
        yield f"list, {zone}", values
        yield f"pandas, {zone}", pd.Series(values)
        yield f"pandas ns, {zone}", pd.Series(values).dt.as_unit("ns")
        yield f"index, {zone}", pd.DatetimeIndex(values)
        yield f"list of Timestamp, {zone}", [pd.Timestamp(value) for value in values]
        yield f"categories, {zone}", pd.Series(values, dtype="category")
    yield "polars", pl.Series(UTC)
    for unit in ("ms", "us", "ns"):
        column = pl.Series(UTC).dt.convert_time_zone("Europe/Berlin").cast(pl.Datetime(unit, "Europe/Berlin"))
        yield f"polars {unit}, Berlin", column
    if has_pyarrow:
        import pyarrow as pa

        yield "Arrow", pa.array(UTC, pa.timestamp("us", "UTC"))
        yield "Arrow, Berlin", pa.array(UTC, pa.timestamp("ms", "Europe/Berlin"))


def id_columns(has_pyarrow: bool) -> Iterator[tuple[str, Any]]:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    raw = [key.bytes for key in IDS]
    yield "list", IDS
    yield "list of bytes", raw
    yield "V16", np.array(raw, "V16")
    yield "pandas", pd.Series(IDS)
    yield "polars", pl.Series(raw)
    if has_pyarrow:
        import pyarrow as pa

        yield "Arrow binary(16)", pa.array(raw, pa.binary(16))
        if hasattr(pa, "uuid"):
            yield "Arrow uuid", pa.array(raw, pa.uuid())


def tuple_columns(has_pyarrow: bool) -> Iterator[tuple[str, Any]]:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    frame = pd.DataFrame(TUPLES, columns=["x", "y"])
    table = pl.DataFrame(TUPLES, schema=["x", "y"], orient="row")
    yield "list", TUPLES
    yield "tuple", tuple(TUPLES)
    yield "objects", pd.Series(TUPLES).to_numpy()
    yield "structures", np.array(TUPLES, [("a", "U4"), ("b", "i2")])
    yield "pandas", frame
    yield "pandas, columns of one name", pd.DataFrame(TUPLES, columns=["x", "x"])
    yield "pandas, other dtypes", frame.astype({"x": "category", "y": "Int8"})
    yield "MultiIndex", pd.MultiIndex.from_frame(frame)
    yield "Series of tuples", pd.Series(TUPLES)
    yield "polars", table
    yield "polars structs", table.to_struct()
    if has_pyarrow:
        import pyarrow as pa

        arrow = pa.table({"x": [x for x, _ in TUPLES], "y": [y for _, y in TUPLES]})
        yield "Arrow", arrow
        yield "Arrow, columns of one name", arrow.rename_columns(["x", "x"])
        yield "record batch", arrow.to_batches()[0]
        yield "structs", arrow.to_struct_array()
        yield "structs, sliced", pa.concat_tables([arrow[:1], arrow]).combine_chunks().to_struct_array()[1:]
        yield (
            "pandas of structs",
            pd.Series(TUPLES).pipe(
                lambda _: pd.Series(
                    arrow.combine_chunks().to_struct_array().chunk(0),
                    dtype=pd.ArrowDtype(pa.struct([("x", pa.string()), ("y", pa.int64())])),
                )
            ),
        )


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        (date_columns, DATES),
        (time_columns, TIMES),
        (instant_columns, UTC),
        (id_columns, IDS),
        (tuple_columns, TUPLES),
    ],
    ids=["dates", "times", "instants", "ids", "tuples"],
)
def test_every_container_gives_one_hash(
    columns: Callable[[bool], Iterator[tuple[str, Any]]], keys: list[Any], pyarrow: bool
) -> None:
    wanted = expected(keys, 5)
    for name, column in columns(pyarrow):
        assert hash_keys(column, 5).tolist() == wanted, name
        assert hash_keys(column, 5, nulls="skip").tolist() == wanted, name


def test_dates_and_both_kinds_of_timestamps_have_different_hashes() -> None:
    midnight = dt.datetime(2020, 1, 31)
    keys = [
        [midnight.date()],
        [midnight],
        [midnight.replace(tzinfo=dt.UTC)],
        [18292],
        ["2020-01-31"],
    ]
    assert len({int(hash_keys(key)[0]) for key in keys}) == len(keys)
    # Two clocks that show the same time in different zones are two instants, and so are these.
    assert hash_keys(BERLIN).tolist() == hash_keys(UTC).tolist()
    assert hash_keys([time.replace(tzinfo=ZoneInfo("Asia/Tokyo")) for time in TIMES])[0] != hash_keys(UTC)[0]


def test_units_beyond_the_range_of_nanoseconds() -> None:
    far = np.array(["9999-12-31T23:59:59", "-9999-01-01T00:00:00", "1970-01-01T00:00:00"], "M8[s]")
    assert np.array_equal(hash_keys(far), hash_keys(far.astype("M8[ms]")))
    assert np.array_equal(hash_keys(far), hash_keys(far.astype("M8[us]")))
    assert hash_keys(np.array([1], "M8[h]")) == hash_keys(np.array([60], "M8[m]"))
    assert hash_keys(np.array([3600], "M8[s]")) == hash_keys(np.array([1], "M8[h]"))
    assert hash_keys(np.array([-(2**62)], "M8[s]")).size == 1
    # As nanoseconds these would be the same in 64 bits.
    seconds = np.array([0, 2**64 // 10**9 + 1], "M8[s]")
    assert len(set(hash_keys(seconds).tolist())) == 2
    assert hash_keys(np.array([5 * 10**9], "M8[as]")) == hash_keys(np.array([5], "M8[ns]"))
    assert hash_keys(np.array([-1], "M8[ns]")) != hash_keys(np.array([-1], "M8[us]"))


@settings(max_examples=200, deadline=None)
@given(moment=st.dates() | times)
def test_moments_come_back(moment: Any) -> None:
    back = moment_of(bytes_of(moment))
    assert back == moment and type(back) is type(moment)


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from(["D", "s", "ms", "us", "ns"]))
def test_moments_that_python_cannot_hold_come_back(ticks: int, unit: str) -> None:
    moment = np.datetime64(ticks, unit)
    kind = {"D": "D"}.get(unit, "L")
    per_second = {"D": 1, "s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    raw = kind.encode() + (ticks // per_second).to_bytes(8, "little", signed=True)
    raw += b"" if unit == "D" else (ticks % per_second * (10**9 // per_second)).to_bytes(4, "little")
    back = moment_of(raw)
    assert back == moment or np.datetime64(back) == moment
    assert hash_keys([moment]).tolist() == hash_keys(np.array([moment])).tolist()


def null_columns(has_pyarrow: bool) -> Iterator[tuple[str, Any]]:
    """Yield columns of "a", null, "b"."""
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    plain = ["a", None, "b"]
    yield "list", plain
    yield "list of pandas", ["a", pd.NA, "b"]
    yield "list with NaN", ["a", float("nan"), "b"]
    yield "objects", np.array(plain, object)
    yield "masked", np.ma.masked_array(["a", "x", "b"], [False, True, False])
    yield "StringDType", np.array(plain, np.dtypes.StringDType(na_object=None))
    for dtype in ("object", "str", "string[python]", "category"):
        yield f"pandas {dtype}", pd.Series(plain, dtype=dtype)
    yield "index", pd.Index(plain)
    yield "polars", pl.Series(plain)
    yield "polars categories", pl.Series(plain, dtype=pl.Categorical)
    yield "polars Enum", pl.Series(plain, dtype=pl.Enum(["b", "a"]))
    if has_pyarrow:
        import pyarrow as pa

        for kind in (pa.string(), pa.large_string(), pa.string_view()):
            yield f"Arrow {kind}", pa.array(plain, kind)
            values = pa.array(["a", "b"], kind)
            yield (
                f"dictionary of {kind}",
                pa.DictionaryArray.from_arrays(pa.array([0, None, 1]), values),
            )
        yield "chunks", pa.chunked_array([["a", None], [], ["b"]])
        yield (
            "null among the values of a dictionary",
            pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(plain)),
        )


def other_null_columns(has_pyarrow: bool) -> Iterator[tuple[str, Any, list[Any]]]:
    """Yield columns whose second key is null, and the other keys."""
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    yield "integers", [1, None, 2], [1, 2]
    yield "pandas integers", pd.Series([1, None, 2**62 + 1], dtype="Int64"), [1, 2**62 + 1]
    yield "polars integers", pl.Series([1, None, 2**62 + 1]), [1, 2**62 + 1]
    dates = [DATES[0], None, DATES[1]]
    for name, column in (
        ("list of dates", dates),
        ("datetime64[D]", np.array(dates, "M8[D]")),
        ("polars dates", pl.Series(dates)),
    ):
        yield name, column, DATES[:2]
    moments = [TIMES[0], None, TIMES[1]]
    for name, column in (
        ("list of times", [TIMES[0], pd.NaT, TIMES[1]]),
        ("datetime64[us]", np.array(moments, "M8[us]")),
        ("pandas times", pd.Series(moments)),
        ("polars times", pl.Series(moments)),
    ):
        yield name, column, TIMES[:2]
    instants = [BERLIN[0], None, BERLIN[1]]
    for name, column in (("pandas", pd.Series(instants)), ("polars", pl.Series(instants))):
        yield f"{name} instants", column, UTC[:2]
    pairs = [("a", 1), ("b", None), ("c", 3)]
    frame = pd.DataFrame(pairs, columns=["x", "y"]).astype({"y": "Int64"})
    table = pl.DataFrame(pairs, schema=["x", "y"], orient="row")
    for name, column in (
        ("list of tuples", pairs),
        ("list of tuples and None", [("a", 1), None, ("c", 3)]),
        ("pandas frame", frame),
        ("polars frame", table),
        ("polars structs", table.to_struct()),
        ("null among polars structs", pl.Series([{"x": "a", "y": 1}, None, {"x": "c", "y": 3}])),
        ("MultiIndex", pd.MultiIndex.from_arrays([["a", None, "c"], [1, 2, 3]])),
    ):
        yield name, column, [("a", 1), ("c", 3)]
    if has_pyarrow:
        import pyarrow as pa

        rows = [{"x": "a", "y": 1}, None, {"x": "c", "y": 3}]
        yield "Arrow structs", pa.array(rows), [("a", 1), ("c", 3)]
        yield "Arrow table", pa.table({"x": ["a", None, "c"], "y": [1, 2, 3]}), [("a", 1), ("c", 3)]
        yield "Arrow dates", pa.array(dates), DATES[:2]


def test_nulls_are_refused_or_skipped(pyarrow: bool) -> None:
    cases = [(name, column, ["a", "b"]) for name, column in null_columns(pyarrow)]
    for name, column, rest in [*cases, *other_null_columns(pyarrow)]:
        assert hash_keys(column, 7, nulls="skip").tolist() == expected(rest, 7), name
        with pytest.raises((TypeError, ValueError), match=r"^keys .*(null|masked|NoneType|NA|NaT|float)"):
            hash_keys(column)
        filtered = BloomFilter(100).update(column, nulls="skip")
        assert filtered == BloomFilter(100).update(rest) and filtered.n_updates == len(rest), name
        with pytest.raises((TypeError, ValueError), match=r"^keys "):
            filtered.contains(column)
    with pytest.raises(ValueError, match=r"nulls must be one of 'raise', 'skip', got 'drop'"):
        hash_keys(["a"], nulls="drop")
    for nothing in ([None, None], np.array(["NaT"], "M8[s]"), []):
        assert hash_keys(nothing, nulls="skip").size == 0
    assert hash_keys("a", nulls="skip") == hash_keys("a")


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ([DATES[0], TIMES[0]], TypeError, "got dates and timestamps without a time zone"),
        ([TIMES[0], UTC[0]], TypeError, "got timestamps with a time zone and timestamps without a time zone"),
        ([DATES[0], "2020-01-31"], TypeError, "got date, str; convert"),
        ([IDS[0], IDS[0].bytes], TypeError, "got UUID, bytes"),
        ([decimal.Decimal(1)], TypeError, "got Decimal; convert booleans, floats and decimals"),
        ([dt.time(1)], TypeError, "got time"),
        ([dt.timedelta(1)], TypeError, "got timedelta"),
        (np.array(["2020", "NaT"], "M8[D]"), ValueError, "keys must have no nulls, got 1, the first at 1"),
        (np.array(["2020"], "M8[Y]"), TypeError, r'days or a finer unit, got .*astype\("datetime64\[D\]"\)'),
        (np.array([2**62], "M8[h]"), ValueError, r"within 2\*\*63 seconds"),
        (np.array([1], "M8[as]"), ValueError, "keys must be whole nanoseconds"),
        (
            [("a", 1), ("b",)],
            TypeError,
            "tuples of the same number of parts, at least 2, got 1 parts, 2 parts",
        ),
        ([("a",)], TypeError, "at least 2, got 1 parts"),
        ([("a", 1), "b"], TypeError, "got 2 parts, str"),
        ([("a", 1), ("b", "c")], TypeError, r"keys \(part 1\) must be all str.* got int, str"),
        ([("a", ("b", 1))], TypeError, r"keys \(part 1\) .* got tuple"),
        ([("a", 1.5)], TypeError, r"keys \(part 1\) .* got float"),
        (np.zeros(2, [("a", "i4"), ("b", "f8")]), TypeError, r"keys \(field 'b'\) .* got dtype float64"),
        (np.zeros((2, 2), [("a", "i4"), ("b", "i4")]), ValueError, r"keys must be 1-D, got shape \(2, 2\)"),
    ],
)
def test_refusals(keys: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        hash_keys(keys)


def test_static_functions_have_these_keys_too() -> None:
    for keys in (DATES, TIMES, UTC, IDS, TUPLES):
        function = StaticFunction(keys, np.arange(len(keys)))
        assert function.lookup(keys).tolist() == list(range(len(keys)))
        assert StaticFunction.from_bytes(function.to_bytes()) == function
        with pytest.raises(TypeError, match=r"keys must be .* as at construction, got integers"):
            function.lookup([1])
        with pytest.raises(ValueError, match="keys must have one value each"):
            StaticFunction([*keys, keys[0]], np.arange(len(keys) + 1))


def test_nulls_of_numpy_in_lists_are_nulls() -> None:
    day = np.datetime64("2020-01-01")
    for keys, left in (
        ([np.datetime64("NaT"), day], [day]),
        ([day, np.datetime64("NaT", "s")], [day]),
        ([np.datetime64("NaT")], []),
        ([np.float32("nan"), "a"], ["a"]),
    ):
        assert hash_keys(keys, nulls="skip").tolist() == hash_keys(left).tolist()
    with pytest.raises(ValueError, match="keys must have no nulls, got 1, the first at 1"):
        hash_keys([day, np.datetime64("NaT")])


@pytest.mark.parametrize("keys", [None, float("nan"), iter("ab")], ids=["None", "NaN", "iterator"])
def test_what_is_neither_a_key_nor_keys_is_refused_by_name(keys: object) -> None:
    with pytest.raises(TypeError, match="keys must be an array or a list of int, str or bytes"):
        hash_keys(keys, nulls="skip")  # type: ignore[call-overload]
