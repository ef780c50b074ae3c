"""Test static tables with named columns of different types, from frames of every library."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from mergesketch import StaticFunction, StaticTable

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

KEYS = ["PE", "FR", "KE"]
DATA: dict[str, list[Any]] = {
    "name": ["Lima", "Paris", "Nairobi"],
    "population": [10_100_000, 2_100_000, None],
    "height": [154.0, 35.5, 1795.0],
    "coast": [True, False, None],
    "since": [dt.datetime(1535, 1, 18), None, dt.datetime(1899, 5, 1)],
    "price": [Decimal("1.50"), Decimal("2.25"), None],
    "motto": ["x", None, "z"],
}


def frames() -> dict[str, Any]:
    return {
        "dict": DATA,
        "pandas": pd.DataFrame(DATA).astype({"population": "Int64", "coast": "boolean"}),
        "polars": pl.DataFrame(DATA),
        "pyarrow": pa.table(DATA),
        "batch": pa.RecordBatch.from_pydict(DATA),
    }


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a frame as dicts, with None for what is missing."""
    if isinstance(frame, dict):
        frame = {name: np.asarray(column.astype(object)).tolist() if not np.ma.isMA(column) else
                 column.tolist() for name, column in frame.items()}  # fmt: skip
    else:
        frame = {name: list(frame[name]) for name in DATA}
    rows = [dict(zip(frame, row, strict=True)) for row in zip(*frame.values(), strict=True)]
    return [{name: plain(value) for name, value in row.items()} for row in rows]


def plain(value: Any) -> Any:
    """Return a value as Python's own object."""
    if hasattr(value, "as_py"):
        return value.as_py()
    if isinstance(value, float) and value != value:  # a missing string in pandas 3
        return None
    if value is None or value is pd.NA or value is pd.NaT or value is np.ma.masked:
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return value.item() if isinstance(value, np.generic) else value


EXPECTED = [{name: column[row] for name, column in DATA.items()} for row in range(3)]


@pytest.mark.parametrize("library", frames())
def test_a_frame_comes_back_as_a_frame(library: str) -> None:
    frame = frames()[library]
    made = StaticTable(KEYS, frame, key_check_bits=32)
    for table in (made, StaticTable.from_bytes(made.to_bytes())):
        assert table == made and table.names == list(DATA) and table.n_columns == len(DATA)
        found = table.lookup(["KE", "PE", "FR"])
        kinds = {"batch": pa.Table, "pyarrow": pa.Table, "pandas": pd.DataFrame, "polars": pl.DataFrame}
        assert type(found) is kinds.get(library, dict)
        assert rows_of(found) == [EXPECTED[2], EXPECTED[0], EXPECTED[1]]
        assert rows_of(table.lookup(["absent", "PE"])) == [dict.fromkeys(DATA), EXPECTED[0]]
        assert rows_of(table.lookup(["absent"], missing=EXPECTED[0])) == [EXPECTED[0]]
        for key, row in zip(KEYS, EXPECTED, strict=True):
            for one in (table[key], table.lookup(key), table.get(key)):
                assert {name: plain(value) for name, value in one.items()} == row
        assert table.lookup("absent") is None and table.get("absent", 5) == 5
        assert rows_of(table.lookup([])) == []
        assert "name (str)" in repr(table)


def test_the_frame_of_a_table_does_not_matter_for_its_contents() -> None:
    tables = {library: StaticTable(KEYS, frame) for library, frame in frames().items()}
    assert tables["batch"] == tables["pyarrow"]
    sizes = {table.nbytes for table in tables.values()}
    assert len(sizes) == 1


def test_texts_may_be_in_any_column() -> None:
    for text in (["x", None, "zz"], [b"x", None, b"zz"]):
        table = StaticTable(KEYS, {"n": [1, 2, 3], "s": text, "t": text[::-1]})
        found = table.lookup(KEYS)
        assert found["s"].tolist() == text and found["t"].tolist() == text[::-1]


def test_a_pandas_frame_has_the_index_of_the_keys() -> None:
    table = StaticTable(pd.Series(KEYS), pd.DataFrame({"n": [1, 2, 3], "s": ["a", "b", "c"]}))
    users = pd.DataFrame({"country": ["FR", "PE", "FR"]}, index=[10, 20, 30])
    joined = users.join(table.lookup(users["country"]))
    assert joined["n"].tolist() == [2, 1, 2] and joined.index.tolist() == [10, 20, 30]
    assert joined["n"].dtype == np.int64
    assert table.lookup(KEYS).index.tolist() == [0, 1, 2]


def test_a_series_of_keys_has_its_values_in_a_series() -> None:
    function = StaticFunction(["a", "b", "c"], [1, None, 3], key_check_bits=32)
    keys = pd.Series(["c", "b", "?"], index=[7, 8, 9], name="key")
    found = function.lookup(keys)
    assert found.index.tolist() == [7, 8, 9] and found.name == "key" and str(found.dtype) == "Int64"
    assert found.isna().tolist() == [False, True, True] and found[7] == 3
    assert function.contains(keys).to_dict() == {7: True, 8: True, 9: False}
    assert function.lookup(keys, missing=0).isna().tolist() == [False, True, False]
    column = function.lookup(pl.Series("k", ["c", "b", "?"]))
    assert column.to_list() == [3, None, None] and column.name == "k" and column.dtype == pl.Int64
    plain = StaticFunction(["a", "b"], ["x", "y"])
    assert plain.lookup(pd.Series(["b"], index=["i"])).to_dict() == {"i": "y"}


def test_records_of_a_dict() -> None:
    table = StaticTable({"a": {"n": 1, "s": "x"}, "b": {"s": None, "n": 2}}, key_check_bits=32)
    assert table["b"] == {"n": 2, "s": None} and table.get("c") is None
    with pytest.raises(ValueError, match=r"rows must be records with the fields \['n'\], got .*'m'.* at 1"):
        StaticTable({"a": {"n": 1}, "b": {"m": 2}})


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (
            {"a": [1, 2]},
            ValueError,
            r"rows\['a'\] must have one value for each of the 3 keys, got shape",
        ),
        ({"a": [1, 2, object()]}, TypeError, r"rows\['a'\] must be all int"),
        ({1: [1, 2, 3]}, TypeError, "rows must have columns whose names are strings, got 1"),
        (
            {"a": ["x"] * 3, "b": [b"x"] * 3},
            TypeError,
            "rows must have strings or bytes, got",
        ),
        (pl.LazyFrame({"a": [1, 2, 3]}), TypeError, r"got a LazyFrame: call collect\(\) first"),
        (
            pd.DataFrame([[1, 2]] * 3, columns=["a", "a"]),
            TypeError,
            "rows must have columns of different names, got 'a' twice",
        ),
        (
            pd.DataFrame({"t": pd.to_datetime(["2024-01-01"] * 3, utc=True)}),
            TypeError,
            r"rows\['t'\] must be timestamps without a time zone, got UTC",
        ),
    ],
    ids=range(7),
)
def test_what_is_no_frame_of_columns_is_refused(rows: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        StaticTable(KEYS, rows)


def test_arguments_that_do_not_fit_named_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="permute must be 'none' for rows with named columns"):
        StaticTable(KEYS, {"a": [1, 2, 3], "b": [1, 2, 3]}, permute="global")
    table = StaticTable(KEYS, {"a": [1, 2, 3], "b": ["x", "y", "z"]}, key_check_bits=16)
    for missing in (5, {"a": 1}, {"a": "x", "b": "y"}):
        with pytest.raises(TypeError, match="missing must be"):
            table.lookup(["?"], missing=missing)
    with pytest.raises(NotImplementedError, match="no place on a GPU"):
        StaticTable(KEYS, {"a": [1, 2, 3]}).to("gpu")


def test_frames_of_no_rows_and_no_columns() -> None:
    empty = StaticTable([], pd.DataFrame({"a": np.empty(0, np.int64)}))
    assert empty.n_keys == 0 and list(empty.lookup(["x"]).columns) == ["a"]
    bare = StaticTable([1, 2], {})
    assert StaticTable.from_bytes(bare.to_bytes()).lookup([1, 2]) == {} and repr(bare)


def test_a_shared_codebook_and_a_precision_of_columns() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 5, 3000)
    rows = {"a": numbers, "b": numbers[::-1], "f": rng.normal(size=3000)}
    table = StaticTable(np.arange(3000), rows, codebook="shared", precision=0.01)
    found = table.lookup(np.arange(3000))
    assert (found["a"] == numbers).all() and (found["b"] == numbers[::-1]).all()
    assert np.abs(found["f"] - rows["f"]).max() <= 0.005 + 1e-12


def test_what_the_caller_passed_does_not_change() -> None:
    frame = frames()["pandas"]
    before = frame.copy(deep=True)
    StaticTable(KEYS, frame).lookup(KEYS)
    pd.testing.assert_frame_equal(frame, before)


def test_a_library_that_is_absent_is_named() -> None:
    data = StaticTable(KEYS, frames()["polars"]).to_bytes()
    code = (
        "import sys; sys.modules['polars'] = None; import mergesketch\n"
        "table = mergesketch.StaticTable.from_bytes(sys.stdin.buffer.read())\n"
        "print(table['PE']['name'])\n"
        "try: table.lookup(['PE'])\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=300)
    assert done.stdout.decode().splitlines() == [
        "Lima",
        "the table is a frame of polars, which is not installed: pip install polars",
    ], done.stderr
