"""Test rows in tables of other libraries: they equal the matrix, or are refused by the name of a column."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from mergesketch.lsh import BitSampling, SignedRandomProjection
from mergesketch.lsh.inputs.arrays import check_array, check_numbers
from mergesketch.lsh.inputs.frames import column_names
from mergesketch.lsh.inputs.rows import read_rows

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

A, B = [1, 0, 1], [0.5, -3.0, 2.0]
PLAIN = np.column_stack([A, B])
FLAGS = [True, False, True]
DATE = datetime.date(2020, 1, 1)


def exported(table: Any, protocol: str) -> Any:
    """Return a table of a library that is known by one protocol only."""
    return type("Exported", (), {protocol: lambda self, *a, **k: getattr(table, protocol)(*a, **k)})()


def pandas_frames() -> dict[str, Any]:
    decimals = pd.array([Decimal(a) for a in A], dtype=pd.ArrowDtype(pa.decimal128(5, 2)))
    first = {
        "int64": A,
        "int8": np.int8(A),
        "bool": FLAGS,
        "Int64": pd.array(A, "Int64"),
        "boolean": pd.array(FLAGS, "boolean"),
        "int8[pyarrow]": pd.array(A, "int8[pyarrow]"),
        "bool[pyarrow]": pd.array(FLAGS, "bool[pyarrow]"),
        "decimal[pyarrow]": decimals,
        "categories of numbers": pd.Categorical(A),
        "sparse": pd.arrays.SparseArray(A),
        "float16": np.float16(A),
    }
    frames = {kind: pd.DataFrame({"a": a, "b": B}) for kind, a in first.items()}
    whole = pd.DataFrame({"a": A, "b": B})
    return frames | {
        "Float64": whole.astype("Float64"),
        "float64[pyarrow]": whole.astype("float64[pyarrow]"),
        "one block": pd.DataFrame(PLAIN, columns=["a", "b"]),
        "levels": pd.DataFrame(PLAIN, columns=pd.MultiIndex.from_tuples([("u", 1), ("u", 2)])),
        "one label twice": pd.concat([pd.Series(FLAGS), pd.Series(B)], axis=1, keys=["a", "a"]),
        "no names": pd.DataFrame(PLAIN),
        "other index": pd.DataFrame(PLAIN, index=[9, 3, 3]),
    }


def polars_frames() -> dict[str, Any]:
    first = {
        "Int64": A,
        "UInt8": pl.Series(A, dtype=pl.UInt8),
        "Boolean": FLAGS,
        "Decimal": [Decimal(a) for a in A],
        "Int128": pl.Series(A, dtype=pl.Int128),
        "Float32": pl.Series(A, dtype=pl.Float32),
    }
    frames = {kind: pl.DataFrame({"a": a, "b": B}) for kind, a in first.items()}
    chunks = pl.concat([frames["Int64"][:1], frames["Int64"][1:]], rechunk=False)
    vectors = pl.Series(PLAIN.tolist(), dtype=pl.Array(pl.Float64, 2))
    return frames | {
        "one block": pl.DataFrame(PLAIN),
        "chunks": chunks,
        "vectors": vectors,
        "lists": pl.Series(PLAIN.tolist()),
    }


def arrow_tables() -> dict[str, Any]:
    first = {
        "int64": A,
        "bool": FLAGS,
        "decimal": [Decimal(a) for a in A],
        "half float": pa.array(np.float16(A)),
        "dictionary": pa.array(A).dictionary_encode(),
        "runs": pa.RunEndEncodedArray.from_arrays([1, 2, 3], A),
    }
    tables = {kind: pa.table({"a": a, "b": B}) for kind, a in first.items()}
    table = tables["int64"]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([7.0, 7.0, *PLAIN.ravel(), 7.0, 7.0]), 2)[1:-1]
    return tables | {
        "batch": table.to_batches()[0],
        "chunks": pa.concat_tables([table[:2], table[2:]]),
        "slice": pa.concat_tables([table, table])[3:],
        "one label twice": pa.table([A, B], names=["a", "a"]),
        "vectors": vectors,
        "chunks of vectors": pa.chunked_array([vectors[:1], vectors[1:]]),
        "lists": pa.array(PLAIN.tolist()),
        "large lists": pa.array(PLAIN.tolist(), pa.large_list(pa.float32())),
        "tensors": pa.FixedShapeTensorArray.from_numpy_ndarray(PLAIN),
        "pandas Series of lists": pd.Series(PLAIN.tolist(), dtype=pd.ArrowDtype(pa.list_(pa.float64()))),
        "stream": exported(table, "__arrow_c_stream__"),
        "stream of vectors": exported(pa.chunked_array([vectors]), "__arrow_c_stream__"),
        "older protocol": exported(table, "__dataframe__"),
    }


ALIKE = {**pandas_frames(), **{f"polars {k}": v for k, v in polars_frames().items()}}
ALIKE |= {f"Arrow {k}": v for k, v in arrow_tables().items()}


@pytest.mark.parametrize("kind", ALIKE)
def test_tables_equal_their_matrix(kind: str) -> None:
    rows = read_rows(ALIKE[kind])
    assert (rows.n, rows.width) == (3, 2)
    np.testing.assert_array_equal(rows.dense, PLAIN)


def pandas_refused() -> dict[str, tuple[Any, str]]:
    codes = r"pass X\['a'\].cat.codes, or one-hot columns"
    first = {
        "category": (pd.Categorical(list("xyz")), f"got category: {codes}"),
        "object": (pd.Series([1, "x", 2], dtype=object), "got object: convert it to numbers"),
        "str": (list("123"), "got str: convert"),
        "datetime": (pd.to_datetime([DATE] * 3), "got datetime64"),
        "timedelta": (pd.to_timedelta([1, 2, 3]), "got timedelta64"),
        "period": (pd.period_range("2020", periods=3, freq="D"), r"got period\[D\]"),
        "complex": (np.array(A, complex), "got complex128"),
        "string[pyarrow]": (pd.array(list("xyz"), "string[pyarrow]"), "got string"),
    }
    return {kind: (pd.DataFrame({"a": a, "b": B}), told) for kind, (a, told) in first.items()}


def polars_refused() -> dict[str, tuple[Any, str]]:
    codes = r"pass X\['a'\].to_physical\(\), or one-hot columns"
    texts = pl.Series(list("xyz"))
    many = pl.Enum([f"category {i}" for i in range(1000)])
    first = {
        "Categorical": (texts.cast(pl.Categorical), f"got Categorical: {codes}"),
        "Enum": (texts.cast(pl.Enum(list("xyz"))), f"got Enum.*: {codes}"),
        "long Enum": (pl.Series(["category 1"] * 3).cast(many), r"got Enum.{,60}\.\.\.: pass"),
        "String": (texts, "got String: convert"),
        "Date": ([DATE] * 3, "got Date: convert"),
        "List": ([[1], [2], [3]], r"got List\(Int64\): pass X\['a'\] alone if its vectors are the rows"),
        "Object": (pl.Series([object()] * 3, dtype=pl.Object), "got Object"),
    }
    return {kind: (pl.DataFrame({"a": a, "b": B}), told) for kind, (a, told) in first.items()}


def arrow_refused() -> dict[str, tuple[Any, str]]:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(PLAIN.ravel()), 2)
    first = {
        "dictionary": (pa.array(list("xyz")).dictionary_encode(), "got dictionary.*: pass its codes"),
        "string": (list("xyz"), "got string: convert"),
        "date": ([DATE] * 3, "got date32"),
        "vectors": (vectors, r"got fixed_size_list.*: pass X\['a'\] alone"),
    }
    return {kind: (pa.table({"a": a, "b": B}), told) for kind, (a, told) in first.items()}


REFUSED = {**pandas_refused(), **polars_refused()} | {f"Arrow {k}": v for k, v in arrow_refused().items()}


@pytest.mark.parametrize("kind", REFUSED)
def test_columns_without_numbers_are_refused_by_name(kind: str) -> None:
    frame, told = REFUSED[kind]
    with pytest.raises(TypeError, match=rf"^X\['a'\] must hold numbers, {told}"):
        read_rows(frame)
    with pytest.raises(TypeError, match=r"^Q\['a'\] must hold numbers"):
        SignedRandomProjection(2, n_hashes=2).hash_query(frame)


NULLS: dict[str, Callable[[], Any]] = {
    "Int64": lambda: pd.DataFrame({"a": pd.array([1, None, None], "Int64"), "b": B}),
    "Float64": lambda: pd.DataFrame({"a": pd.array([1, None, None], "Float64"), "b": pd.array(B, "Float64")}),
    "boolean": lambda: pd.DataFrame({"a": pd.array([True, None, None], "boolean"), "b": B}),
    "int8[pyarrow]": lambda: pd.DataFrame({"a": pd.array([1, None, None], "int8[pyarrow]"), "b": B}),
    "category": lambda: pd.DataFrame({"a": pd.Categorical([1, None, None]), "b": B}),
    "polars": lambda: pl.DataFrame({"a": [1, None, None], "b": B}),
    "polars, one type": lambda: pl.DataFrame({"a": [1.0, None, None], "b": B}),
    "polars Boolean": lambda: pl.DataFrame({"a": [True, None, None], "b": B}),
    "Arrow": lambda: pa.table({"a": [1, None, None], "b": B}),
    "Arrow bool": lambda: pa.table({"a": [True, None, None], "b": B}),
    "Arrow dictionary": lambda: pa.table({"a": pa.array([1, None, None]).dictionary_encode(), "b": B}),
}


@pytest.mark.parametrize("kind", NULLS)
def test_nulls_are_refused_by_column_and_row(kind: str) -> None:
    with pytest.raises(ValueError, match=r"^X\['a'\] must have no nulls, got 2, the first in row 1; drop or"):
        read_rows(NULLS[kind]())


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, None, None], dtype="Int64"),
        pd.Series([True, None, None], dtype="boolean"),
        pd.Series([1.5, None, None], dtype="float64[pyarrow]"),
        pd.Series([1, None, None], dtype="category"),
        pd.Index([1, None, None], dtype="Int64"),
        pd.array([1, None, None], dtype="Int64"),
        pl.Series([1, None, None]),
        pl.Series([True, None, None]),
        pa.array([1.5, None, None]),
        pa.array([1, None, None]).dictionary_encode(),
        pa.chunked_array([[1], [None, None]]),
    ],
    ids=lambda column: f"{type(column).__name__} {getattr(column, 'dtype', getattr(column, 'type', ''))}",
)
def test_nulls_of_a_column_alone_are_refused_by_row(column: Any) -> None:
    for check in (check_array, check_numbers):
        with pytest.raises(
            ValueError, match=r"^bounds must have no nulls, got 2, the first in row 1; drop or"
        ):
            check("bounds", column)


@pytest.mark.parametrize("make", [pd.Series, pl.Series, pa.array])
def test_nan_in_a_column_alone_is_a_number(make: Any) -> None:
    found = check_numbers("bounds", make(np.array([1.5, np.nan])))
    np.testing.assert_array_equal(found, [1.5, np.nan])


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_by_column_and_row(make: Any, number: float) -> None:
    frame = make({"a": A, "b": [0.5, 1.5, number]})
    with pytest.raises(ValueError, match=rf"^X\['b'\] must be finite, got {number} in row 2$"):
        read_rows(frame)
    # Arrays have places only.
    with pytest.raises(ValueError, match=rf"^X must be finite, got {number} at index \(2, 1\)$"):
        read_rows(np.column_stack([A, [0.5, 1.5, number]]))


def test_frames_without_rows_or_columns() -> None:
    for frame in (
        pd.DataFrame(columns=["a", "b"]),
        pd.DataFrame({"a": [], "b": []}),
        pl.DataFrame({"a": [], "b": []}),
        pl.DataFrame({"a": [], "b": []}, schema={"a": pl.Int64, "b": pl.Float32}),
        pa.table({"a": pa.nulls(0), "b": pa.array([], pa.float64())}),
        pa.schema({"a": pa.int8(), "b": pa.bool_()}).empty_table(),
    ):
        assert SignedRandomProjection(2, n_hashes=4).hash(frame).shape == (0, 4)
    for frame in (pd.DataFrame(index=range(3)), pl.DataFrame(), pa.table({})):
        with pytest.raises(ValueError, match=r"^X must have 2 columns, got 0"):
            read_rows(frame, 2)
    assert read_rows(pd.DataFrame(index=range(3))).n == 3


def test_vectors_of_unequal_lengths_nulls_and_other_values_are_refused() -> None:
    for lists in (pa.array([[1, 2], [3]]), pl.Series([[1, 2], [3]]), pa.chunked_array([[[1, 2]], [[3]]])):
        with pytest.raises(
            ValueError, match=r"^X must hold vectors of one length, got 2 numbers in row 0 and 1"
        ):
            read_rows(lists)
    for lists in (pa.array([[1, 2], None]), pl.Series([[1, 2], None])):
        with pytest.raises(ValueError, match=r"^X must have no nulls, got 1, the first in row 1"):
            read_rows(lists)
    for lists in (pa.array([[1, 2], [3, None]]), pl.Series([[1, 2], [3, None]])):
        with pytest.raises(ValueError, match=r"^X must have no nulls, got 1, the first in row 1"):
            read_rows(lists)
    for lists in (pa.array([["a"], ["b"]]), pl.Series([["a"], ["b"]]), pa.array([[[1]], [[2]]])):
        with pytest.raises(TypeError, match=r"^X must hold vectors of numbers, got "):
            read_rows(lists)


def test_tables_that_must_be_computed_or_unpacked_say_how() -> None:
    table = pa.table({"a": A, "b": B})
    for value, told in (
        (pl.DataFrame({"a": A}).lazy(), r"a polars LazyFrame: call collect\(\) first"),
        (table.to_reader(), r"an Arrow RecordBatchReader: call read_all\(\) first"),
        (table.to_struct_array(), r"of structs: pass pyarrow.Table.from_struct_array\(X\)"),
        (pl.DataFrame({"a": A}).to_struct("s"), r"a polars Series of structs: pass X.struct.unnest\(\)"),
    ):
        with pytest.raises(TypeError, match=rf"^X must be rows, got .*{told}"):
            read_rows(value)
    broken = type("Broken", (), {"__arrow_c_stream__": lambda self, schema=None: 5})()
    with pytest.raises(TypeError, match=r"^X must be rows that Arrow can read, got a Broken: "):
        read_rows(broken)


def test_flags_stay_flags() -> None:
    family = BitSampling(2, 4)
    flags = np.array([[True, False], [False, True]])
    plain = family.hash(flags)
    columns = {"a": flags[:, 0], "b": flags[:, 1]}
    for frame in (
        pd.DataFrame(columns),
        pd.DataFrame(columns).astype("boolean"),
        pd.DataFrame(columns).astype("bool[pyarrow]"),
        pl.DataFrame(columns),
        pa.table(columns),
    ):
        np.testing.assert_array_equal(family.hash(frame), plain)


def test_one_block_of_numbers_is_not_copied() -> None:
    X = np.arange(12.0).reshape(4, 3)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 3)
    assert np.shares_memory(check_array("X", pd.DataFrame(X, copy=False)), X)
    assert np.shares_memory(check_array("X", vectors), vectors.flatten().to_numpy())
    fortran = pl.DataFrame(np.asfortranarray(X))
    assert np.shares_memory(check_array("X", fortran), fortran["column_0"].to_numpy())


def test_names_of_columns() -> None:
    columns = {"a": A, "b": B}
    for frame in (pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns), pa.record_batch(columns)):
        assert column_names(frame) == ("a", "b")
    for other in (
        PLAIN,
        PLAIN.tolist(),
        pd.DataFrame(PLAIN),
        pd.DataFrame(PLAIN, columns=["a", 1]),
        pd.DataFrame(PLAIN, columns=pd.MultiIndex.from_tuples([("u", "a"), ("u", "b")])),
        pd.DataFrame(index=range(3)),
        pd.Series(A),
        pd.Series(["ab", "cd"], index=["columns", "x"]),
        pl.Series(A),
        pa.array(A),
        pl.DataFrame(columns).lazy(),
    ):
        assert column_names(other) is None


def test_queries_of_duckdb() -> None:
    duckdb = pytest.importorskip("duckdb")
    query = duckdb.sql("select * from (values (1, 0.5), (0, -3.0), (1, 2.0)) as t(a, b)")
    assert column_names(query) == ("a", "b")
    np.testing.assert_array_equal(read_rows(query).dense, PLAIN)
    with pytest.raises(ValueError, match=r"^X\['a'\] must have no nulls, got 1, the first in row 0"):
        read_rows(duckdb.sql("select null::int as a, 1 as b"))
    with pytest.raises(TypeError, match=r"^X\['a'\] must hold numbers, got string"):
        read_rows(duckdb.sql("select 'x' as a, 1 as b"))


def test_frames_of_pandas_and_polars_need_no_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    alike = [pd.DataFrame({"a": A, "b": B}), pl.DataFrame({"a": A, "b": B})]
    alike += [pd.DataFrame({"a": pd.array(A, "Int64"), "b": B}), pl.Series(PLAIN.tolist())]
    other = exported(pa.table({"a": A}), "__arrow_c_stream__")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for frame in alike:
        np.testing.assert_array_equal(read_rows(frame).dense, PLAIN)
    with pytest.raises(TypeError, match=r"^X\['a'\] must hold numbers, got category"):
        read_rows(pd.DataFrame({"a": pd.Categorical(list("xyz")), "b": B}))
    with pytest.raises(TypeError, match=r"^X is an Exported, which needs pyarrow to read: pip install"):
        read_rows(other)
