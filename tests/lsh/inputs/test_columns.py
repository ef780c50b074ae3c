"""Test columns of pandas, polars and Arrow: they equal the plain list, or are refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import time
from typing import Any

import numpy as np
import pytest
from mergesketch import BloomFilter, HeavyHitters, MinHashSketch, RibbonFilter, StaticFunction, StaticTable
from mergesketch.distributed import deduplicate
from mergesketch.lsh import SignedRandomProjection, hash_keys, shingle
from mergesketch.lsh.inputs.columns import decoded

TEXTS = ["tea", "", "naïve text of more than sixteen bytes", "tea", "日本"]
RAW = [text.encode() for text in TEXTS]
SIGNED = [-1, 5, -(2**63), 5, 2**63 - 1]
LARGE = [2**63, 2**64 - 1, 5, 0, 5]
#: Binary keys of one length, with NUL bytes at the end and within.
FIXED = [b"ab\0c", b"abcd", b"\0\0\0\0", b"abc\0", b"\xff\xfe\0\0"]


@pytest.fixture
def without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    yield


def pandas_columns() -> dict[str, tuple[Any, list[Any]]]:
    pd = pytest.importorskip("pandas")
    columns: dict[str, tuple[Any, list[Any]]] = {
        dtype: (pd.Series(TEXTS, dtype=dtype), TEXTS)
        for dtype in ("object", "str", "string[python]", "string[pyarrow]", "category")
    }
    columns["bytes"] = (pd.Series(RAW, dtype=object), RAW)
    for dtype in ("int64", "Int64", "object"):
        columns[f"signed {dtype}"] = (pd.Series(SIGNED, dtype=dtype), SIGNED)
    for dtype in ("uint64", "UInt64", "object"):
        columns[f"large {dtype}"] = (pd.Series(LARGE, dtype=dtype), LARGE)
    columns["both ends"] = (pd.Series([-1, 2**64 - 1], dtype=object), [-1, 2**64 - 1])
    columns["category of int"] = (pd.Series(SIGNED, dtype="category"), SIGNED)
    columns["index"] = (pd.Index(TEXTS), TEXTS)
    columns["rows not in order"] = (
        pd.Series(TEXTS, index=[3, 1, 0, 2, 9])[[0, 9, 3]],
        [TEXTS[i] for i in (2, 4, 0)],
    )
    return columns


def polars_columns() -> dict[str, tuple[Any, list[Any]]]:
    pl = pytest.importorskip("polars")
    categories = pl.Series(TEXTS, dtype=pl.Categorical)
    return {
        "String": (pl.Series(TEXTS), TEXTS),
        "Categorical": (categories, TEXTS),
        "Categorical, two chunks": (
            pl.concat([categories, categories[:2]], rechunk=False),
            TEXTS + TEXTS[:2],
        ),
        "Enum": (pl.Series(TEXTS, dtype=pl.Enum(sorted(set(TEXTS)))), TEXTS),
        "Object": (pl.Series(TEXTS, dtype=pl.Object), TEXTS),
        "Binary": (pl.Series(RAW), RAW),
        "UInt64": (pl.Series(LARGE, dtype=pl.UInt64), LARGE),
        "Int64": (pl.Series(SIGNED, dtype=pl.Int64)[1:4], SIGNED[1:4]),
    }


def arrow_columns() -> dict[str, tuple[Any, list[Any]]]:
    pa = pytest.importorskip("pyarrow")
    columns: dict[str, tuple[Any, list[Any]]] = {}
    kinds = {
        **dict.fromkeys(("string", "large_string", "string_view"), TEXTS),
        **dict.fromkeys(("binary", "large_binary", "binary_view"), RAW),
    }
    arrays = {name: pa.array(values, getattr(pa, name)()) for name, values in kinds.items()}
    arrays["fixed_size_binary"], kinds["fixed_size_binary"] = pa.array(FIXED, pa.binary(4)), FIXED
    arrays["uuid"], kinds["uuid"] = pa.array([b"x" * 15 + b"\0"] * 3, pa.uuid()), [b"x" * 15 + b"\0"] * 3
    for name, array in arrays.items():
        values = kinds[name]
        columns[name] = (array, values)
        columns[f"{name}, sliced"] = (array[1:], values[1:])
        # An empty chunk between others once ended in an IndexError.
        columns[f"{name}, chunked"] = (pa.chunked_array([array[:2], array[2:2], array[2:]]), values)
        if name != "uuid":
            indices = pa.array([2, 0, 0, 1], pa.int8())
            dictionary = pa.DictionaryArray.from_arrays(indices, array)
            columns[f"dictionary of {name}"] = (dictionary, [values[i] for i in (2, 0, 0, 1)])
            columns[f"dictionary of {name}, sliced"] = (dictionary[1:3], [values[0]] * 2)
    columns["dictionary of int64"] = (pa.array(SIGNED).dictionary_encode(), SIGNED)
    columns["no rows of no type"] = (pa.nulls(0), [])
    return columns


def numpy_columns() -> dict[str, tuple[Any, list[Any]]]:
    columns: dict[str, tuple[Any, list[Any]]] = {
        "S": (np.array(RAW), RAW),
        "S, all of one length": (np.array([b"\xff\0\1", b"abc"]), [b"\xff\0\1", b"abc"]),
        "object": (np.array(TEXTS, dtype=object), TEXTS),
        "StringDType": (np.array(TEXTS, dtype=np.dtypes.StringDType()), TEXTS),
        "V": (np.array(FIXED, dtype="V4"), FIXED),
        "V, every other": (np.array(FIXED, dtype="V4")[::2], FIXED[::2]),
    }
    for order in "<>":
        columns[f"{order}U"] = (np.array(TEXTS, dtype=f"{order}U40"), TEXTS)
        columns[f"{order}i8"] = (np.array(SIGNED, dtype=f"{order}i8"), SIGNED)
        columns[f"{order}u8"] = (np.array(LARGE, dtype=f"{order}u8"), LARGE)
    return columns


def same_as_the_list(column: Any, plain: list[Any]) -> None:
    np.testing.assert_array_equal(hash_keys(column, 3), hash_keys(plain, 3), strict=True)
    assert BloomFilter(50, 0.001).update(column) == BloomFilter(50, 0.001).update(plain)
    assert BloomFilter(50, 0.001).update(plain).contains(column).all()
    assert MinHashSketch(1, 16).update(column) == MinHashSketch(1, 16).update(plain)
    assert HeavyHitters(0.01).update(column).top() == HeavyHitters(0.01).update(plain).top()
    numbers = np.zeros(len(plain), dtype=np.int64)
    assert StaticFunction(column, numbers).to_bytes() == StaticFunction(plain, numbers).to_bytes()
    assert RibbonFilter(column).to_bytes() == RibbonFilter(plain).to_bytes()
    if plain and isinstance(plain[0], (str, bytes)):
        for ours, theirs in zip(shingle(column, size=1), shingle(plain, size=1), strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("library", [pandas_columns, polars_columns, arrow_columns, numpy_columns])
def test_columns_are_as_their_list(library: Callable[[], dict[str, tuple[Any, list[Any]]]]) -> None:
    for column, plain in library().values():
        same_as_the_list(column, plain)


def test_columns_of_values() -> None:
    for library in (pandas_columns, polars_columns, arrow_columns, numpy_columns):
        for name, (column, plain) in library().items():
            if name != "both ends" and name[0] != "V" and plain:
                found = StaticFunction(range(len(plain)), column).lookup(range(len(plain)))
                assert found.tolist() == plain, name


def test_documents_in_columns() -> None:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    texts = [
        "one two three four five six",
        "one two three four five six",
        "seven eight nine ten eleven twelve",
    ]
    for column in (
        pd.Series(texts, dtype="category"),
        pl.Series(texts, dtype=pl.Categorical),
        pd.Series(texts),
    ):
        assert deduplicate(column, threshold=0.5).members.tolist() == [0, 1]


def test_columns_of_pandas_need_no_pyarrow(without_pyarrow: None) -> None:
    pd = pytest.importorskip("pandas")
    for column, plain in pandas_columns_without_pyarrow(pd).values():
        same_as_the_list(column, plain)
    for dtype in ("object", "str", "string[python]", "category"):
        with pytest.raises(ValueError, match="keys must have no nulls, got 2, the first at 1; drop them"):
            hash_keys(pd.Series(["a", None, "b", None], dtype=dtype))
    with pytest.raises(ValueError, match="keys must have no nulls, got 1, the first at 1"):
        hash_keys(pd.Series([1, None], dtype="Int64"))
    for wrong, told in (
        (pd.Series([True, False]), "bool"),
        (pd.Series([1.5]), "float64"),
        (pd.Series(pd.to_timedelta([1])), "timedelta64"),
    ):
        with pytest.raises(
            TypeError, match=f"a pandas Series of integers, strings or bytes, got one of {told}"
        ):
            hash_keys(wrong)


def test_columns_of_polars_need_no_pyarrow(without_pyarrow: None) -> None:
    pl = pytest.importorskip("polars")
    for column, plain in polars_columns().values():
        same_as_the_list(column, plain)
    with pytest.raises(ValueError, match="keys must have no nulls, got 1, the first at 1"):
        hash_keys(pl.Series([1, None]))
    with pytest.raises(TypeError, match="a polars Series of integers, strings or bytes, got one of bool"):
        hash_keys(pl.Series([True]))


def pandas_columns_without_pyarrow(pd: Any) -> dict[str, tuple[Any, list[Any]]]:
    columns = {
        dtype: (pd.Series(TEXTS, dtype=dtype), TEXTS)
        for dtype in ("object", "str", "string[python]", "category")
    }
    columns["Int64"] = (pd.Series(SIGNED, dtype="Int64"), SIGNED)
    columns["UInt64"] = (pd.Series(LARGE, dtype="UInt64"), LARGE)
    columns["object of int"] = (pd.Series(LARGE, dtype=object), LARGE)
    return columns


def test_what_is_no_column_of_keys_is_told_by_its_own_name() -> None:
    pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    for column, library, kind in (
        (pd.Series([True]), "a pandas Series", "bool"),
        (pd.Series([1.5]), "a pandas Series", "double"),
        (pd.Series(pd.to_timedelta([1])), "a pandas Series", "duration"),
        (pl.Series([True]), "a polars Series", "bool"),
        (pl.Series([time(1)]), "a polars Series", "time64"),
        (pl.Series([["a"]]), "a polars Series", "large_list"),
        (pa.array([1.5]), "an Arrow array", "double"),
        (pa.chunked_array([[True]]), "an Arrow array", "bool"),
        # Stored as integers.
        (pd.Series(pd.period_range("2020", periods=2, freq="M")), "a pandas Series", "extension<pandas"),
    ):
        for ask, wanted in (
            (hash_keys, "keys must be {} of integers, strings"),
            (shingle, "documents must be {} of"),
        ):
            with pytest.raises(TypeError, match=wanted.format(library) + f".* got one of {kind}"):
                ask(column)
    with pytest.raises(
        TypeError, match=r"values must be a polars Series of numbers, booleans, .* got one of time64"
    ):
        StaticFunction([1], pl.Series([time(1)]))
    for table in (pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]}), pa.table({"a": [1]})):
        with pytest.raises(TypeError, match=r"keys must be one column, got a.*: pass one of its columns"):
            hash_keys(table)


@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype", ["object", "str", "string[python]", "string[pyarrow]", "category", "Int64", "boolean"]
)
def test_nulls_of_pandas(dtype: str) -> None:
    pd = pytest.importorskip("pandas")
    values: list[Any] = {"Int64": [1, None, 2, None], "boolean": [True, None, False, None]}.get(
        dtype, ["a", None, "b", None]
    )
    with pytest.raises(
        ValueError, match="keys must have no nulls, got 2, the first at 1; drop them or fill them"
    ):
        hash_keys(pd.Series(values, dtype=dtype))


def test_digests_in_an_array_are_never_cut_in_silence() -> None:
    """NumPy's S arrays drop NUL bytes at the end, so a filter would not find digests that were added."""
    digests = np.random.default_rng(0).integers(0, 256, (20_000, 16), dtype=np.uint8)
    plain, fields = [row.tobytes() for row in digests], digests.view("S16")[:, 0]
    assert sum(digest[-1] == 0 for digest in plain) > 50
    with pytest.raises(
        ValueError, match=r'keys must be text .*S array.*pass keys.view\("V16"\) if each has 16'
    ):
        BloomFilter(20_000, 0.01).update(fields)
    assert BloomFilter(20_000, 0.01).update(fields.view("V16")).contains(plain).all()
    assert BloomFilter(20_000, 0.01).update(fields.tolist()) == BloomFilter(20_000, 0.01).update(
        [digest.rstrip(b"\0") for digest in plain]
    )
    for text in (["tea", "schwarzer Kaffee", "日本"], ["a\tb", "c\n"], ["", ""]):
        array = np.array([word.encode() for word in text])
        np.testing.assert_array_equal(hash_keys(array), hash_keys(text))
    for binary in ([b"\0a", b"abc"], [b"a\x01", b"abc"], [b"\xc3", b"abc"], [b"abc", b"a\x7f"]):
        with pytest.raises(ValueError, match="keys must be text"):
            hash_keys(np.array(binary))


def test_tables_of_rows() -> None:
    """Columns may hold numbers and booleans; any other column is named in the message."""
    pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    family = SignedRandomProjection(2, n_hashes=8, power=2, seed=1)
    plain = np.array([[0.5, 1.0], [-2.0, 0.0]])
    flags = pd.array([True, False], dtype="boolean")
    for second in ([True, False], flags, pd.array([1, 0], dtype="Int64"), np.array([1, 0], np.int8)):
        frame = pd.DataFrame({"a": [0.5, -2.0], "b": second})
        np.testing.assert_array_equal(family.hash(frame), family.hash(plain))
    for frame in (
        pl.DataFrame({"a": [0.5, -2.0], "b": [True, False]}),
        pa.table({"a": [0.5, -2.0], "b": [True, False]}),
    ):
        np.testing.assert_array_equal(family.hash(frame), family.hash(plain))
    for second, error, told in (
        (
            pd.array([True, None], dtype="boolean"),
            ValueError,
            r"^X\['b'\] must have no nulls, got 1, the first in row 1",
        ),
        (pd.array([None, 2], dtype="Int64"), ValueError, r"^X\['b'\] .* got 1, the first in row 0"),
        (["x", "y"], TypeError, r"^X\['b'\] must hold numbers, got str"),
        (pd.to_datetime(["2020-01-01"] * 2), TypeError, r"^X\['b'\] must hold numbers, got datetime64"),
        (pd.Series([1, "a"], dtype=object), TypeError, r"^X\['b'\] must hold numbers, got object"),
    ):
        with pytest.raises(error, match=told):
            family.hash(pd.DataFrame({"a": [0.5, -2.0], "b": second, "c": [True, False]}))
    for frame in (pl.DataFrame({"a": [0.5], "b": ["x"]}), pa.table({"a": [0.5], "b": ["x"]})):
        with pytest.raises(TypeError, match=r"^X\['b'\] must hold numbers, got (String|string)"):
            family.hash(frame)
    with pytest.raises(TypeError, match="values must be an array or lists, got a pandas DataFrame: pass"):
        StaticFunction([1], pd.DataFrame({"a": [1], "b": [0.5]}))
    table = StaticTable([1], pd.DataFrame({"a": [1], "b": [0.5]}))
    assert table.lookup([1]).to_dict("list") == {"a": [1], "b": [0.5]}


def test_repeated_texts_may_pass_two_gigabytes() -> None:
    """Arrow refuses to take them from values with offsets of 32 bits."""
    pa = pytest.importorskip("pyarrow")
    for text, large in ((pa.string(), pa.large_string()), (pa.binary(), pa.large_binary())):
        values = pa.array(["ab", "c"], text)
        repeated = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1]), values)
        runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3]), values)
        for column, plain in ((repeated, ["c", "ab", "c"]), (runs, ["ab", "ab", "c"])):
            assert decoded(column).equals(pa.array(plain, large))


def test_texts_of_extension_types_are_texts() -> None:
    pa = pytest.importorskip("pyarrow")
    if not hasattr(pa, "uuid"):
        pytest.skip("needs pyarrow with extension types")
    same_as_the_list(pa.array([b"0" * 16, b"1" * 16], pa.uuid()), [b"0" * 16, b"1" * 16])
    same_as_the_list(pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}", "1"])), ["{}", "1"])


def lying_arrow_arrays() -> Iterator[tuple[str, Any]]:
    """Yield arrays whose parts fitted together when they were made, and no longer do."""
    pa = pytest.importorskip("pyarrow")
    for kind, places in (("beyond", (1, 2**30)), ("falling", (1, -5))):
        for text in (pa.string(), pa.binary()):
            for wrap in ("dictionary", "runs"):
                offsets = np.array([0, 1, 2], np.int32)
                values = pa.Array.from_buffers(text, 2, [None, pa.py_buffer(offsets), pa.py_buffer(b"ab")])
                if wrap == "dictionary":
                    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), values)
                else:
                    column = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3]), values)
                offsets[places[0]] = places[1]
                yield f"{wrap} of {text}, {kind}", column
    places = np.array([0, 1, 0], np.int32)
    indices = pa.Array.from_buffers(pa.int32(), 3, [None, pa.py_buffer(places)])
    column = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b"]))
    places[1] = 2**30
    yield "indices", column
    # A view has the length, the first bytes, the number of a buffer and a place in that buffer.
    for text in (pa.string_view(), pa.binary_view()):
        views = np.array([[20, 0, 0, 0]] * 2, np.int32)
        column = pa.Array.from_buffers(text, 2, [None, pa.py_buffer(views), pa.py_buffer(bytes(64))])
        views[1, 2:] = 999_999, 2**30
        yield str(text), column


def test_arrow_arrays_that_lie_are_refused_by_name() -> None:
    for _, column in lying_arrow_arrays():
        for name, call in (
            ("keys", lambda column=column: hash_keys(column)),
            ("documents", lambda column=column: shingle(column)),
            ("values", lambda column=column: StaticFunction(range(len(column)), column)),
        ):
            with pytest.raises(ValueError, match=f"^{name} must be an Arrow array whose parts fit"):
                call()


def test_offsets_of_arrow_arrays_that_lie_are_refused_by_name() -> None:
    pa = pytest.importorskip("pyarrow")
    for text, width in ((pa.string(), np.int32), (pa.large_string(), np.int64), (pa.binary(), np.int32)):
        offsets = np.array([0, 1, 2], width)
        column = pa.Array.from_buffers(text, 2, [None, pa.py_buffer(offsets), pa.py_buffer(b"ab")])
        offsets[2] = 2**30
        for name, call in (
            ("keys", lambda column=column: hash_keys(column)),
            ("documents", lambda column=column: shingle(column)),
            ("values", lambda column=column: StaticFunction([1, 2], column)),
        ):
            with pytest.raises(ValueError, match=f"^{name} must have offsets that do not fall"):
                call()
