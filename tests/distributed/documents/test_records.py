"""Compare the records of JSON arrays and of tables with those of Python's modules json and csv."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from document_files import documents, read, write
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mergesketch.distributed.documents import json_array, jsonl
from mergesketch.distributed.documents.compression import DamagedError
from mergesketch.distributed.documents.contents import raw_records
from mergesketch.distributed.documents.json_array import array_elements
from mergesketch.distributed.documents.source import DocumentSource
from mergesketch.distributed.documents.tables import table_rows

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ARRAYS = st.lists(VALUES, max_size=6)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Drops:
    """An opened file that gives few bytes at a time."""

    def __init__(self, content, n):
        self._file, self._n = io.BytesIO(content), n

    def read(self, n):
        return self._file.read(min(n, self._n))


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(
    ARRAYS,
    st.sampled_from([None, 0, 1, "\t"]),
    st.booleans(),
    st.sampled_from([(",", ":"), (" , ", " : "), (",\r\n", ":\t")]),
    st.integers(1, 7),
)
def test_elements_are_those_of_the_module_json(array, indent, ascii_only, separators, n):
    text = json.dumps(array, indent=indent, ensure_ascii=ascii_only, separators=separators)
    content = f" \n{text}\t\n".encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "BLOCK", 3)
        found = list(array_elements(Drops(content, n)))
    assert [value for _, value in found] == json.loads(content.decode("utf-8", "surrogatepass"))
    # The texts are pieces of the content, in order.
    place = 0
    for text, value in found:
        raw = text.encode("utf-8", "surrogateescape")
        place = content.index(raw, place) + len(raw)
        assert json.loads(raw.decode("utf-8", "surrogatepass")) == value


@pytest.mark.slow
@settings(max_examples=settings.default.max_examples, deadline=None)
@given(ARRAYS.filter(len), st.data())
def test_a_cut_array_gives_the_elements_before_the_cut(array, data):
    content = json.dumps(array, separators=(",", ":")).encode()
    cut = data.draw(st.integers(0, len(content) - 1))
    found = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DamagedError):
        patch.setattr(json_array, "BLOCK", 5)
        for element in array_elements(Drops(content[:cut], 4)):
            found.append(element)
    values = [value for _, value in found]
    # A number that is cut is a shorter number.
    whole = values[:-1] if values and values[-1] != array[len(values) - 1] else values
    assert whole == array[: len(whole)]


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(st.binary(max_size=40).map(lambda tail: b'[{"a":1},' + tail))
@example(b'[{"a":1},"\\')
@example(b"[" * 5)
def test_any_bytes_are_an_array_or_damaged(content):
    try:
        expected = json.loads(content.decode())
    except (ValueError, RecursionError):
        expected = None
    try:
        found = [value for _, value in array_elements(io.BytesIO(content))]
    except DamagedError:
        assert expected is None
    else:
        # Bytes that are not UTF-8 are allowed in strings, and the module json refuses them.
        assert found == expected or not _is_utf8(content)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


FIELDS = st.text(st.sampled_from('ab",;\t \r\n\x00é'), max_size=6)


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(
    st.binary(max_size=60) | st.text(st.sampled_from('ab",\t\r\né'), max_size=60).map(str.encode),
    st.sampled_from([",", "\t"]),
)
def test_rows_are_those_of_the_module_csv(content, delimiter):
    """The bytes of the records are those of the file, and cutting them does not change a record."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    expected = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    rows = list(table_rows(io.BytesIO(content), delimiter))
    assert [fields for _, fields in rows] == expected
    assert b"".join(raw for raw, _ in rows) == content
    for raw, fields in rows[1:]:
        alone = io.StringIO(raw.decode("utf-8", "surrogateescape"), newline="")
        assert list(csv.reader(alone, delimiter=delimiter)) == [fields]


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS), max_size=6),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    batch_bytes=st.integers(1, 50),
)
def test_texts_of_tables(rows, end, batch_bytes):
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("other", "text"), *rows])
    Path("a.csv").write_bytes(file.getvalue().encode())
    source = DocumentSource("a.csv", batch_bytes=batch_bytes, format="csv")
    found = documents(source)
    assert [text.decode() for text in found.values()] == [text for _, text in rows]
    assert source.name_of(list(found)) == [("a.csv", i + 2) for i in range(len(rows))]


# -- the bytes of records -------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 5, 1 << 20])
@pytest.mark.parametrize("content", [b"", b"\n", b"a\n\nb", b"\xef\xbb\xbfa\r\nbb\n", b"\n\n", b"x" * 9])
def test_bytes_of_lines(content, block, monkeypatch):
    monkeypatch.setattr("mergesketch.distributed.documents.contents.BLOCK", block)
    write("a.jsonl", content)
    (file,) = DocumentSource("a.jsonl")._plan.files
    found = list(raw_records(file))
    assert b"".join(found) == content
    assert found == content.splitlines(keepends=True)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_numbers_of_records_agree_with_names(name, compress):
    records = [{"n": i, "text": f"{i}\n" * (i % 3)} for i in range(3000)]
    delimiter = "\t" if name == "a.tsv" else ","
    if name == "a.jsonl":
        content = b"\n".join(json.dumps(record).encode() + b"\r" * (record["n"] % 2) for record in records)
        content = content.replace(b"\n", b"\n\n", 5)
    elif name == "a.json":
        content = json.dumps(records, indent=1).encode()
    else:
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["n", "text"])
        writer.writerows(record.values() for record in records)
        content = file.getvalue().encode()
    write(name, compress(content))
    source = DocumentSource(name, chunk_bytes=1000)
    found = documents(source)
    source.finish()
    raw = list(raw_records(source._plan.files[0]))
    assert len(found) == 3000
    for (_, number), text in zip(source.name_of(list(found)), found.values(), strict=True):
        record = raw[number - 1].decode()
        if name in ("a.jsonl", "a.json"):
            assert json.loads(record)["text"].encode() == text
        else:
            (fields,) = csv.reader(io.StringIO(record, newline=""), delimiter=delimiter)
            assert fields[1].encode() == text


def test_bytes_of_other_kinds_and_of_long_lines(monkeypatch):
    write("a.txt", "prose")
    with pytest.raises(ValueError, match=r"file must be JSON lines, .*got the kind 'text'"):
        next(raw_records(DocumentSource("a.txt")._plan.files[0]))
    monkeypatch.setattr("mergesketch.distributed.documents.contents.MAX_DOCUMENT", 100)
    monkeypatch.setattr("mergesketch.distributed.documents.contents.BLOCK", 10)
    monkeypatch.setattr(jsonl, "MAX_DOCUMENT", 100)
    monkeypatch.setattr(jsonl, "BLOCK", 10)
    write("a.jsonl", '{"text": "a"}\n{"text": "' + "x" * 200 + '"}\n{"text": "b"}\n')
    found, summary = read("a.jsonl")
    assert [text for _, text in found] == [b"a", b"b"] and summary.n_skipped == 1
    records = raw_records(DocumentSource("a.jsonl")._plan.files[0])
    assert next(records) == b'{"text": "a"}\n'
    with pytest.raises(DamagedError, match="a line is longer than"):
        next(records)
