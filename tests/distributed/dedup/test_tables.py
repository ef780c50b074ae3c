"""Test tables of pandas, polars, Arrow and datasets, and dicts of columns: all give what lists give."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from mergesketch.distributed import deduplicate
from mergesketch.distributed.documents import in_memory
from mergesketch.lsh.inputs.strings import byte_buffers
from mergesketch.lsh.inputs.tables import open_columns
from night import IS_NIGHT
from paths import environment
from ranks import Ranks, needs_mpi

#: Twelve different texts in one language after another, near-duplicates of them, nulls and empty texts.
_BASE = [" ".join(f"w{i}é{j}" for j in range(12 + i)) for i in range(12)]
TEXTS: list[str | None] = [None, *_BASE, *(text + " end" for text in _BASE[::2]), "", None, _BASE[3], " "]
N = len(TEXTS)
IDS = [f"https://example.org/page/{i:04}" for i in range(N)]
STARS: list[float | None] = [None if i % 5 == 4 else i * 7 % 11 + 0.5 for i in range(N)]
COLUMNS: dict[str, list[Any]] = {"url": IDS, "body": TEXTS, "stars": STARS, "row": list(range(N))}
#: The same texts as a list.
PLAIN = [text or "" for text in TEXTS]
SCORES = [math.nan if score is None else score for score in STARS]

Columns = dict[str, list[Any]]


def pandas_frame(columns: Columns, dtype: Any = "object") -> Any:
    pd = pytest.importorskip("pandas")
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    body = pd.Series(columns["body"], dtype=dtype)
    frame = pd.DataFrame({**columns, "body": body})
    frame.index = pd.Index([f"label {i}" for i in range(len(frame))], name="label")
    return frame


def polars_frame(columns: Columns, dtype: str = "String") -> Any:
    pl = pytest.importorskip("polars")
    schema = {"url": pl.String, "body": pl.String, "stars": pl.Float64, "row": pl.Int64}
    return pl.DataFrame(columns, schema=schema).with_columns(pl.col("body").cast(getattr(pl, dtype)))


def polars_chunks(columns: Columns) -> Any:
    pl = pytest.importorskip("polars")
    frame = polars_frame(columns)
    return pl.concat([frame[:3], frame[3:4], frame[4:]], rechunk=False) if len(frame) else frame


def arrow_table(columns: Columns, text: str = "string") -> Any:
    pa = pytest.importorskip("pyarrow")
    body = pa.array(columns["body"], pa.string())
    if text == "runs":
        body = pytest.importorskip("pyarrow.compute").run_end_encode(body)
    elif text == "dictionary":
        body = body.dictionary_encode()
    else:
        body = body.cast(getattr(pa, text)())
    schema = {"url": pa.string(), "stars": pa.float64(), "row": pa.int64()}
    arrays = {name: pa.array(columns[name], kind) for name, kind in schema.items()}
    return pa.table({"url": arrays["url"], "body": body, "stars": arrays["stars"], "row": arrays["row"]})


def arrow_chunks(columns: Columns) -> Any:
    pa = pytest.importorskip("pyarrow")
    table = arrow_table(columns)
    parts = [table.slice(i, 1) for i in range(len(table))]
    return pa.concat_tables([table.slice(0, 0), *parts, table.slice(0, 0)])


def arrow_slice(columns: Columns, text: str = "string") -> Any:
    """Return a slice with other rows before and after it in the same buffers."""
    more = {name: [*column[:2], *column, *column[:1]] for name, column in columns.items()}
    return arrow_table(more, text).slice(min(2, len(columns["row"])), len(columns["row"]))


def record_batch(columns: Columns, text: str = "string") -> Any:
    batches = arrow_slice(columns, text).combine_chunks().to_batches()
    pa = pytest.importorskip("pyarrow")
    return batches[0] if batches else pa.RecordBatch.from_pylist([], arrow_table(columns, text).schema)


class Stream:
    """A table of a library that nobody knows, which exports an Arrow stream."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


def dataset(columns: Columns) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset(arrow_table(columns))


def selected_dataset(columns: Columns) -> Any:
    """Return a dataset whose rows lie in another order in its table, beside other rows."""
    n = len(columns["row"])
    order = np.random.default_rng(3).permutation(n + 2)
    more = {name: [*column, *["w1 other"] * 2] for name, column in columns.items() if name in ("url", "body")}
    more |= {name: [*columns[name], 0, 0] for name in ("stars", "row")}
    shuffled = {name: [column[i] for i in order] for name, column in more.items()}
    return dataset(shuffled).select(np.argsort(order)[:n])


def numpy_columns(columns: Columns) -> Any:
    return {
        "url": np.array(columns["url"], dtype="U40"),
        "body": np.array(columns["body"], dtype=object),
        "stars": np.array([math.nan if x is None else x for x in columns["stars"]], dtype=np.float32),
        "row": tuple(columns["row"]),
    }


def mixed_columns(columns: Columns) -> Any:
    frame, table = pandas_frame(columns, "str"), arrow_table(columns)
    others = polars_frame(columns)
    return {
        "url": table.column("url"),
        "body": frame["body"],
        "stars": others["stars"],
        "row": frame["row"].array,
    }


KINDS: dict[str, Callable[[Columns], Any]] = {
    **{
        f"pandas {dtype}": lambda columns, dtype=dtype: pandas_frame(columns, dtype)
        for dtype in ("object", "str", "string[python]", "string[pyarrow]", "category")
    },
    "polars": polars_frame,
    "polars, categories": lambda columns: polars_frame(columns, "Categorical"),
    "polars, bytes": lambda columns: polars_frame(columns, "Binary"),
    "polars, chunks": polars_chunks,
    **{
        f"Arrow {text}": lambda columns, text=text: arrow_slice(columns, text)
        for text in ("string", "large_string", "string_view", "binary", "large_binary", "dictionary", "runs")
    },
    "Arrow, chunks": arrow_chunks,
    "Arrow batch": record_batch,
    "Arrow batch of views": lambda columns: record_batch(columns, "string_view"),
    "Arrow stream": lambda columns: Stream(arrow_chunks(columns)),
    "dataset": dataset,
    "dataset, selected": selected_dataset,
    "dict of lists": dict,
    "dict of arrays": numpy_columns,
    "dict of columns": mixed_columns,
}


def plain(table: Any) -> Columns:
    """Return a table as a dict of lists, with None in place of nulls and str in place of bytes."""
    if isinstance(table, Stream):
        table = table._table
    library = type(table).__module__.partition(".")[0]
    if library == "pandas":
        columns: dict[str, Any] = {name: table[name].tolist() for name in table.columns}
    elif library == "polars":
        columns = table.to_dict(as_series=False)
    elif library == "pyarrow":
        columns = table.to_pydict()
    elif library == "datasets":
        columns = {name: table[name][:] for name in table.column_names}
    else:
        columns = {
            name: getattr(column, "to_list", getattr(column, "tolist", getattr(column, "to_pylist", None)))()
            if not isinstance(column, (list, tuple))
            else list(column)
            for name, column in table.items()
        }

    def value(x: Any) -> Any:
        if isinstance(x, bytes):
            return x.decode()
        return None if (isinstance(x, float) and x != x) or type(x).__name__ == "NAType" else x

    return {name: [value(x) for x in column] for name, column in columns.items()}


def kind_of(table: Any) -> Any:
    """Return the type of a table and the types of its columns."""
    if isinstance(table, Stream):
        table = table._table
    if isinstance(table, dict):
        return {name: (type(c), getattr(c, "dtype", None)) for name, c in table.items()}
    if hasattr(table, "dtypes"):
        return type(table), list(map(str, table.dtypes)), getattr(getattr(table, "index", None), "name", None)
    return type(table), getattr(table, "features", getattr(table, "schema", None))


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Callable[[Columns], Any]:
    """Return what makes a table of each kind from a dict of lists."""
    return KINDS[request.param]


def check(table: Any, columns: Columns, result: Any, expected: Any) -> None:
    """Check the tables of a result against the result that a list has given."""
    keep, gone = expected.keep.tolist(), np.flatnonzero(~expected.keep)
    for name in ("keep", "duplicate_of", "ids", "is_copy", "similarity", "empty", "members", "kept"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))
    assert plain(result.cleaned) == {
        name: [x for x, stays in zip(column, keep, strict=True) if stays] for name, column in columns.items()
    }
    removed = plain(result.removed)
    assert list(removed) == ["id", "kept", "similarity", "is_copy"]
    assert removed["id"] == [columns["url"][i] for i in gone]
    assert removed["kept"] == [columns["url"][i] for i in expected.duplicate_of[gone].tolist()]
    np.testing.assert_array_equal(np.float32(removed["similarity"]), expected.similarity[gone])
    assert removed["is_copy"] == expected.is_copy[gone].tolist()
    assert kind_of(result.cleaned) == kind_of(table)
    if not isinstance(table, Stream):
        assert type(result.removed) is type(table)


def test_every_kind_gives_what_a_list_gives(make: Callable[[Columns], Any]) -> None:
    """Nulls are empty documents, which are kept; the table is not changed; scores may come from a column."""
    table = make(COLUMNS)
    before = plain(table)
    assert before == COLUMNS
    expected = deduplicate(PLAIN)
    assert expected.n_duplicates == 7 and len(expected.empty) == 4
    result = deduplicate(table, text="body", id="url")
    check(table, COLUMNS, result, expected)
    assert result.cleaned is result.cleaned
    best = deduplicate(table, text="body", id="url", keep="best", score="stars", grouping="star")
    check(table, COLUMNS, best, deduplicate(PLAIN, keep=SCORES, grouping="star"))
    assert best.duplicate_of.tolist() != expected.duplicate_of.tolist()
    assert plain(table) == before


def test_few_rows(make: Callable[[Columns], Any]) -> None:
    for rows in ([], [1], [0], [0, 0], [3, 3, 0], [1, 13]):
        columns = {name: [column[i] for i in rows] for name, column in COLUMNS.items()}
        table = make(columns)
        result = deduplicate(table, text="body", id="url", keep="best", score="row")
        check(table, columns, result, deduplicate([PLAIN[i] for i in rows], keep=rows))


def test_tables_without_rows_may_have_any_types() -> None:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    empty: dict[str, list[Any]] = {"t": [], "i": []}
    for table in (
        pd.DataFrame(empty),
        pd.DataFrame(empty, dtype=float),
        pl.DataFrame(empty),
        pa.table(empty),
    ):
        result = deduplicate(table, text="t", id="i")
        assert result.n_documents == 0 and result.cleaned.shape == (0, 2) and result.removed.shape == (0, 4)
        assert kind_of(result.cleaned) == kind_of(table)


def test_ids_are_running_numbers_by_default(make: Callable[[Columns], Any]) -> None:
    result = deduplicate(make(COLUMNS), text="body", keep="last")
    gone = ~result.keep
    removed = plain(result.removed)
    assert removed["id"] == result.ids[gone].tolist()
    assert removed["kept"] == result.duplicate_of[gone].tolist()
    numbered = deduplicate(make(COLUMNS), text="body", keep="last", id="row")
    assert plain(numbered.removed) == removed


def test_pandas_keeps_the_index_and_any_columns() -> None:
    """Labels and columns may repeat, and names may be numbers."""
    pd = pytest.importorskip("pandas")
    values = [["a b c d e f", "x", 1], ["another text", "y", 2], ["a b c d e f", "z", 3]]
    frame = pd.DataFrame(values, columns=[7, "same", "same"], index=["k", "l", "k"])
    result = deduplicate(frame, text=7)
    assert result.cleaned.equals(frame.iloc[:2])
    assert result.removed.index.tolist() == ["k"] and result.removed["kept"].tolist() == [0]
    assert result.removed.dtypes.map(str).tolist() == ["uint64", "uint64", "float32", "bool"]
    with pytest.raises(ValueError, match="id must be the name of one column, got 'same', which 2 have"):
        deduplicate(frame, text=7, id="same")
    assert result.cleaned.index.tolist() == ["k", "l"]
    # Later changes of the caller's frame do not reach the result.
    result = deduplicate(frame, text=7)
    frame["new"] = 0
    frame.index = [1, 2, 3]
    assert result.cleaned.columns.tolist() == [7, "same", "same"] and len(result.cleaned) == 2

    class Frame(pd.DataFrame):
        @property
        def _constructor(self) -> type:
            return Frame

    assert type(deduplicate(Frame(values), text=0).cleaned) is Frame


def test_ids_keep_their_types() -> None:
    pd = pytest.importorskip("pandas")
    texts = ["a b c d e f", "g h", "a b c d e f"]
    for ids in (
        pd.Series([2**63, 5, None], dtype="UInt64"),
        pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01", None])),
        pd.Series(["p", "q", "p"], dtype="category"),
        pd.Series([("a", 1), None, frozenset([3])], dtype=object),
    ):
        removed = deduplicate(pd.DataFrame({"t": texts, "i": ids}), text="t", id="i").removed
        assert removed["id"].dtype == removed["kept"].dtype == ids.dtype
        assert removed["kept"].tolist() == ids[:1].tolist()
        assert removed["id"].isna().tolist() == ids[2:].isna().tolist()
    pa = pytest.importorskip("pyarrow")
    for text in ("string_view", "dictionary", "runs", "large_binary"):
        table = arrow_table({**COLUMNS, "body": IDS}, text).append_column("t", pa.array(PLAIN))
        removed = deduplicate(table, text="t", id="body").removed
        gone = ~deduplicate(PLAIN).keep
        assert removed.schema.field("id").type == table.schema.field("body").type
        assert plain(removed)["id"] == [url for url, x in zip(IDS, gone, strict=True) if x]


@pytest.mark.parametrize("null", [None, math.nan])
def test_columns_of_nulls_alone_are_empty_documents(null: Any) -> None:
    pd = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    tables: list[Any] = [
        {"t": [null] * 3},
        {"t": np.array([null] * 3, dtype=object)},
        pd.DataFrame({"t": [null] * 3}),
    ]
    tables += [pa.table({"t": [None] * 3}), pl.DataFrame({"t": [None] * 3})]
    for table in tables:
        result = deduplicate(table, text="t")
        assert result.keep.all() and result.empty.tolist() == [0, 1, 2]
        assert len(plain(result.cleaned)["t"]) == 3
    result = deduplicate({"t": [b"a b c d e", null, b"a b c d e"]}, text="t")
    assert result.empty.tolist() == [1] and result.keep.tolist() == [True, True, False]
    # Outside of tables, nulls are refused as before.
    with pytest.raises(TypeError, match="must be all str, all bytes"):
        deduplicate(["text", null])


def test_bytes_under_a_null_are_not_read() -> None:
    pa = pytest.importorskip("pyarrow")
    texts = pa.array(["a b c d e", "hidden words of a null", "other text", "a b c d e"])
    _, offsets, data = texts.buffers()
    valid = pa.py_buffer(bytes([0b1101]))
    column = pa.StringArray.from_buffers(4, offsets, data, valid)
    for body in (column, column.cast(pa.large_string())):
        result = deduplicate(pa.table({"t": body}), text="t")
        assert result.empty.tolist() == [1]
        assert result.cleaned["t"].to_pylist() == ["a b c d e", None, "other text"]


def test_texts_are_not_copied() -> None:
    """The buffers of Arrow are read where they lie, nulls or not, in one chunk or many."""
    pa = pytest.importorskip("pyarrow")
    for column in (pa.array(TEXTS), pa.chunked_array([TEXTS, [], TEXTS[:5]], pa.large_string())):
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        (buffers,) = [list(open_columns(pa.table({"t": column})).texts("t"))]
        assert len(buffers) == len(chunks)
        for chunk, (data, _) in zip(chunks, buffers, strict=True):
            if len(chunk):
                assert data.ctypes.data == chunk.buffers()[2].address


def test_batches_join_small_chunks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the sizes of chunks and batches are, the documents are the same."""
    chunks = [["ab", "c"], [], ["def"], ["g" * 50], ["h"], ["i"], ["jk", "", "l"]]
    buffers = [byte_buffers(chunk)[0] for chunk in chunks]
    expected = [text.encode() for chunk in chunks for text in chunk]
    for documents, size, n_batches in ((100, 1000, 1), (100, 10, 3), (2, 1000, 5), (1, 0, 9)):
        monkeypatch.setattr(in_memory, "BATCH_DOCUMENTS", documents)
        monkeypatch.setattr(in_memory, "JOINED_BYTES", size)
        batches = list(in_memory.numbered_batches(buffers, 40, np.arange(9.0)))
        texts = [
            b.data[i:j].tobytes() for b in batches for i, j in zip(b.offsets, b.offsets[1:], strict=False)
        ]
        assert texts == expected
        assert np.concatenate([b.ids for b in batches]).tolist() == list(range(40, 49))
        assert np.concatenate([b.scores for b in batches]).tolist() == list(range(9))
        assert len(batches) == n_batches
    assert list(in_memory.numbered_batches([], 0)) == []


@pytest.mark.parametrize(
    ("documents", "arguments", "error", "message"),
    [
        (
            {"a": ["x"], "b": ["y"]},
            {},
            TypeError,
            "text must name the column of texts of a dict, one of 'a', 'b'; got",
        ),
        (
            {"a": ["x"], "b": ["y"]},
            {"text": "c"},
            ValueError,
            "text must be the name of a column, one of 'a', 'b', got 'c'",
        ),
        ({"a": ["x"]}, {"text": ["a"]}, ValueError, r"text must be the name of a column.*got \['a'\]"),
        ({}, {"text": "c"}, ValueError, "text must be the name of a column, of which there is none, got 'c'"),
        ({i: [] for i in range(30)}, {"text": "c"}, ValueError, "18, 19 and 10 more, got 'c'"),
        (
            {"a": ["x"]},
            {"text": "a", "id": "i"},
            ValueError,
            "id must be the name of a column, one of 'a', got 'i'",
        ),
        (
            {"a": ["x"]},
            {"text": "a", "score": "s", "keep": "best"},
            ValueError,
            "score must be the name of a column",
        ),
        (
            {"a": ["x"], "s": [1]},
            {"text": "a", "score": "s"},
            ValueError,
            'score needs keep="best", got score=',
        ),
        (
            {"a": ["x"]},
            {"text": "a", "keep": "best"},
            ValueError,
            'keep "best" needs score, the name of a column',
        ),
        (
            {"a": ["x"], "s": ["1"]},
            {"text": "a", "keep": "best", "score": "s"},
            TypeError,
            r"documents\['s'\] must hold real numbers",
        ),
        (
            {"a": ["x"], "s": [[1]]},
            {"text": "a", "keep": "best", "score": "s"},
            ValueError,
            r"documents\['s'\] must be 1-D",
        ),
        (
            {"a": ["x"]},
            {"text": "a", "keep": [1, 2]},
            ValueError,
            "keep must be a number for each of the 1 documents",
        ),
        ({"a": [1]}, {"text": "a"}, TypeError, r"documents\['a'\] must be strings, got integers"),
        ({"a": ["x", 3, None]}, {"text": "a"}, TypeError, r"documents\['a'\] must be all str"),
        (
            {"a": "x"},
            {"text": "a"},
            TypeError,
            r"documents\['a'\] must be a list, a NumPy array, or a column",
        ),
        (
            {"a": ["x"], "b": []},
            {"text": "a"},
            ValueError,
            "columns of one length, got 1 rows in column 'a' and 0 in column 'b'",
        ),
        (["x"], {"text": "a"}, TypeError, "documents must be a table .* if text names a column, got a list"),
        (np.array(["x"]), {"text": "a"}, TypeError, "documents must be a table .*, got a ndarray"),
        (["x"], {"id": "a"}, TypeError, "id names a column of a table, and text must name"),
        (
            ["x"],
            {"score": "a", "keep": "best"},
            TypeError,
            "score names a column of a table, and text must name",
        ),
        (["x"], {"keep": "best"}, ValueError, 'keep "best" needs a source'),
    ],
)
def test_wrong_arguments_are_named(
    documents: Any, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        deduplicate(documents, **arguments)


def test_other_tables_and_columns_are_refused_with_advice() -> None:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    levels = pd.DataFrame([["x", "y"]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    with pytest.raises(TypeError, match="plain names, got a MultiIndex of 2 levels"):
        deduplicate(levels, text=("a", "b"))
    for text in (None, "a"):
        with pytest.raises(TypeError, match=r"got a polars LazyFrame: call collect\(\) first"):
            deduplicate(pl.LazyFrame({"a": ["x"]}), text=text)
    for column in (pd.Series(["x"]), pl.Series(["x"]), pa.array(["x"]), pa.chunked_array([["x"]])):
        with pytest.raises(TypeError, match=r"documents must be a table .*got a"):
            deduplicate(column, text="a")
    for table in (pd.DataFrame({"a": ["x"]}), pl.DataFrame({"a": ["x"]}), pa.table({"a": ["x"]})):
        with pytest.raises(
            TypeError, match=r"text must name the column of texts of .*, one of 'a'; got none"
        ):
            deduplicate(table)
    for table in (pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]}), pa.table({"a": [1]})):
        with pytest.raises(TypeError, match=r"documents\['a'\] must be .*strings.*int64"):
            deduplicate(table, text="a")
    words = {"a": ["x"], "s": ["7"]}
    for table in (
        pd.DataFrame(words),
        pd.DataFrame(words, dtype=object),
        pl.DataFrame(words),
        pa.table(words),
    ):
        with pytest.raises(TypeError, match=r"documents\['s'\] must hold real numbers"):
            deduplicate(table, text="a", keep="best", score="s")


def test_datasets_in_parts_are_refused_with_advice() -> None:
    datasets = pytest.importorskip("datasets")
    part = datasets.Dataset.from_dict({"a": ["x"]})
    with pytest.raises(TypeError, match="got a DatasetDict: pass one of its splits 'train', 'test'"):
        deduplicate(datasets.DatasetDict(train=part, test=part), text="a")
    with pytest.raises(TypeError, match="got an IterableDataset: pass a Dataset"):
        deduplicate(part.to_iterable_dataset(), text="a")
    with pytest.raises(TypeError, match="text must name the column of texts of a Dataset, one of 'a'"):
        deduplicate(part)


@pytest.mark.parametrize("kind", ["Int64", "boolean", "decimal", "dictionary", "null"])
def test_scores_of_all_types_of_numbers(kind: str) -> None:
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    scores: Any = {
        "Int64": pd.Series([1, None, 2**60 + 1], dtype="Int64"),
        "boolean": pd.Series([False, None, True], dtype="boolean"),
        "decimal": pa.array([1, None, 2]).cast(pa.decimal128(22, 2)),
        "dictionary": pa.array([1, None, 2]).dictionary_encode(),
        "null": pa.nulls(3),
    }[kind]
    same = ["a b c d e"] * 3
    table = (
        pd.DataFrame({"t": same, "s": scores})
        if "dtype" in dir(scores)
        else pa.table({"t": same, "s": scores})
    )
    result = deduplicate(table, text="t", keep="best", score="s")
    assert result.keep.tolist() == ([True, False, False] if kind == "null" else [False, False, True])


@pytest.mark.slow
def test_without_pyarrow() -> None:
    """Tables of pandas and polars and dicts need no pyarrow, and no other package is imported."""
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    code = """
    import sys
    sys.modules["pyarrow"] = None
    from mergesketch.distributed import deduplicate
    texts = ["a b c d e", None, "a b c d e"]
    def check(table):
        result = deduplicate(table, text="t", id="i")
        assert result.empty.tolist() == [1] and len(result.cleaned["t"]) == 2
        assert list(result.removed["id"]) == ["z"] and list(result.removed["kept"]) == ["x"]
    columns = {"t": texts, "i": list("xyz")}
    check(columns)
    assert not {"pandas", "polars", "datasets"} & set(sys.modules)
    import polars
    check(polars.DataFrame(columns))
    assert "pandas" not in sys.modules
    import pandas
    for dtype in ("object", "str", "string[python]"):
        check(pandas.DataFrame({**columns, "t": pandas.Series(texts, dtype=dtype)}))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment(), check=True)


def test_results_without_a_table_have_no_tables() -> None:
    result = deduplicate(["a b c d e", "a b c d e"])
    for name in ("cleaned", "removed"):
        with pytest.raises(AttributeError, match=f"{name} needs documents in a table"):
            getattr(result, name)
    tables = pickle.loads(pickle.dumps(deduplicate({"t": ["a b", "a b"]}, text="t")))
    assert tables.cleaned == {"t": ["a b"]} and tables.removed["kept"].tolist() == [0]


RANKS = """
import pickle, sys
from mergesketch.distributed import communicator, deduplicate
comm = communicator()
parts = pickle.loads(bytes.fromhex(sys.argv[1]))
result = deduplicate(parts[comm.rank], text="body", id="url", keep="last")
found = comm.allgather((result.cleaned, result.removed))
if comm.rank == 0:
    print(pickle.dumps(found).hex())
"""


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize(
    "kind",
    [
        "pandas category",
        "pandas object",
        "polars",
        "Arrow, chunks",
        "Arrow string_view",
        "dict of lists",
        "dict of arrays",
    ],
)
def test_ids_come_from_other_ranks(kind: str, ranks: Ranks) -> None:
    """One rank has no rows. The id of the kept row is right wherever the row lies."""
    expected = deduplicate(PLAIN, keep="last")
    gone = np.flatnonzero(~expected.keep)
    # Where rows lie does not depend on the kind of the table, so most kinds have one case.
    others = [[0, 9, N], [0, 0, 20, N]] if IS_NIGHT or kind in ("pandas object", "Arrow, chunks") else []
    for bounds in ([0, 5, 5, N], *others):
        pairs = list(pairwise(bounds))
        parts = [KINDS[kind]({name: c[a:b] for name, c in COLUMNS.items()}) for a, b in pairs]
        ran = ranks.run(len(pairs), RANKS, pickle.dumps(parts).hex())
        assert ran.returncode == 0, ran.stderr
        cleaned: list[Any] = []
        removed: list[tuple[Any, ...]] = []
        for part, tables in zip(parts, pickle.loads(bytes.fromhex(ran.stdout[0])), strict=True):
            assert type(tables[0]) is type(tables[1]) is type(part)
            cleaned += plain(tables[0])["row"]
            removed += zip(*plain(tables[1]).values(), strict=True)
        assert cleaned == np.flatnonzero(expected.keep).tolist()
        wanted = zip(gone.tolist(), expected.duplicate_of[gone].tolist(), strict=True)
        assert [row[:2] for row in removed] == [(IDS[i], IDS[kept]) for i, kept in wanted]
        np.testing.assert_array_equal(np.float32([row[2] for row in removed]), expected.similarity[gone])


@needs_mpi
def test_a_rank_with_other_columns_stops_all(ranks: Ranks) -> None:
    code = """
    from mergesketch.distributed import communicator, deduplicate
    from mergesketch.errors import DistributedError
    comm = communicator()
    for documents, text in (
        ({"t" if comm.rank else "u": ["a"]}, "t"),
        ({"t": ["a"]} if comm.rank else ["a"], None),
        ({"t": ["a"], "u": ["a"]}, "tu"[comm.rank]),
        ({"t": ["a"] if comm.rank else [1]}, "t"),
    ):
        try:
            deduplicate(documents, text=text)
        except DistributedError as error:
            print(error)
    """
    ran = ranks.run(2, code)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout[0].splitlines()
    assert ran.stdout[1].splitlines() == lines
    assert "rank 0 failed: ValueError: text must be the name of a column, one of 'u', got 't'" in lines[0]
    assert "rank 1 failed: TypeError: text must name the column" in lines[1]
    assert "ranks must agree on the settings of deduplicate" in lines[2]
    assert "rank 0 failed: TypeError: documents['t'] must be strings, got integers" in lines[3]
