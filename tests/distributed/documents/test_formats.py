"""Test kinds of content: how they are found, their documents and numbers, nested fields, scores and ids."""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import os
import pickle
import re
import sqlite3
import sys
import tarfile
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from document_files import ThreadRank, documents, read, write
from mergesketch import get_num_threads, set_num_threads
from mergesketch.distributed import deduplicate
from mergesketch.distributed.documents import formats as formats_module
from mergesketch.distributed.documents import json_array as json_array_module
from mergesketch.distributed.documents.contents import raw_records
from mergesketch.distributed.documents.source import DocumentSource
from mergesketch.errors import DistributedError, DocumentError
from mergesketch.lsh.support.install import how_to_install

RECORDS = [
    {"text": "first", "id": 7, "score": 0.5, "meta": {"body": "eins", "key": "a/1", "rank": 3}},
    {"text": "", "id": "x", "score": None, "meta": {"body": "zwei", "key": "a/2", "rank": 1}},
    {"text": 'café "quoted"\nand more, with a tab\t', "id": None, "score": 3, "meta": {"body": "drei"}},
]
TEXTS = [record["text"].encode() for record in RECORDS]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def as_lines(records=RECORDS) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def as_table(delimiter=",") -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(["id", "text", "score"])
    writer.writerows([record["id"], record["text"], record["score"]] for record in RECORDS)
    return file.getvalue().encode()


def arrow_table():
    pa = pytest.importorskip("pyarrow")
    columns = {name: [record[name] for record in RECORDS] for name in ("text", "score", "meta")}
    return pa.table({**columns, "id": ["7", "x", None]})


def as_parquet() -> bytes:
    table = arrow_table()
    import pyarrow.parquet as pq

    pq.write_table(table, file := io.BytesIO(), row_group_size=2)
    return file.getvalue()


def as_arrow(kind="file", **options) -> bytes:
    table = arrow_table()
    import pyarrow as pa

    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(file := io.BytesIO(), table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=2)
    return file.getvalue()


#: Contents by kind: the name, a function that makes the content, and the number of the first record.
KINDS = {
    "jsonl": ("a.jsonl", as_lines, 1),
    "lines in json": ("a.json", as_lines, 1),
    "array": ("a.json", lambda: json.dumps(RECORDS).encode(), 1),
    "indented array": (
        "a.json",
        lambda: b"\xef\xbb\xbf \n" + json.dumps(RECORDS, indent=2).encode() + b"\n",
        1,
    ),
    "csv": ("a.csv", as_table, 2),
    "tsv": ("a.tsv", lambda: b"\xef\xbb\xbf" + as_table("\t"), 2),
    "parquet": ("a.parquet", as_parquet, 1),
    "parquet by content": ("a.txt", as_parquet, 1),
    "arrow": ("a.arrow", as_arrow, 1),
    "arrow by content": ("part-0", as_arrow, 1),
    "feather": ("a.feather", lambda: as_arrow(compression="zstd"), 1),
    "arrow stream": ("a", lambda: as_arrow("stream"), 1),
}
COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_compressed_or_not(kind, suffix):
    name, make, first = KINDS[kind]
    name = write(name + suffix, COMPRESS[suffix](make()))
    found, summary = read(name)
    assert found == [((name, first + i), text) for i, text in enumerate(TEXTS)]
    assert summary.n_skipped == 0 and summary.bytes_read > 0


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archives(mode):
    for number, (name, make, _) in enumerate(KINDS.values()):
        write(f"in/{number}/{name}", make())
    write("in/text.gz", gzip.compress(b"prose"))
    write("in/x.pdf", b"%PDF-1.7 ...")
    write("in/.hidden", "no")
    write("in/.git/config", "no")
    os.symlink("text.gz", "in/link")
    os.mkfifo("in/pipe")
    with tarfile.open("all.tar", mode) as archive:
        archive.add("in", ".")
        archive.add("in/text.gz", "../up/" + "deep/" * 60 + "text")
    expected = [
        ((f"all.tar!./{number}/{name}", first + i), text)
        for number, (name, _, first) in sorted(enumerate(KINDS.values()), key=lambda kind: str(kind[0]))
        for i, text in enumerate(TEXTS)
    ]
    expected += [(("all.tar!./text.gz", None), b"prose")]
    expected += [(("all.tar!../up/" + "deep/" * 60 + "text", None), b"prose")]
    source = DocumentSource("all.tar", batch_bytes=100)
    found = documents(source)
    summary = source.finish()
    names = source.name_of(list(found))
    assert list(zip(names, found.values(), strict=True)) == expected
    assert summary.skipped == [("all.tar!./x.pdf", "a PDF file is not read")]
    assert summary.bytes_read >= os.stat("all.tar").st_size
    assert not Path("all").exists() and documents(source) == found


def test_damaged_archives():
    """Members before the damage are read. A damaged header is no end of the archive."""
    for i in range(4):
        write(f"in/{i}", f"text {i}" * 200)
    with tarfile.open("a.tar", "w") as archive:
        archive.add("in")
    whole = Path("a.tar").read_bytes()
    place = whole.index(b"in/2\0")
    write("b.tar", whole[: place + 700])
    write("c.tar", whole[:place] + b"x" + whole[place + 1 :])
    write("d.tar", gzip.compress(whole)[:-200])
    write("e.tar", b"")
    write("f.tar", "no archive")
    write("g.tar", whole[:place])  # No mark of the end is needed.
    found, summary = read(["a.tar", "b.tar", "c.tar", "d.tar", "e.tar", "f.tar", "g.tar"])
    names = [name for (name, _), _ in found]
    assert names[:4] == [f"a.tar!in/{i}" for i in range(4)]
    assert names[4:8] == ["b.tar!in/0", "b.tar!in/1", "c.tar!in/0", "c.tar!in/1"]
    assert names[-2:] == ["g.tar!in/0", "g.tar!in/1"]
    reasons = dict(summary.skipped)
    assert set(reasons) >= {"b.tar!in/2", "c.tar", "d.tar", "e.tar", "f.tar"}
    assert all(reason.startswith("damaged: ") for reason in reasons.values())
    assert "damaged header" in reasons["c.tar"]


def test_an_archive_in_an_archive_is_named():
    write("in.txt", "x")
    with tarfile.open("in.tar", "w") as archive:
        archive.add("in.txt")
    with tarfile.open("out.tar", "w") as archive:
        archive.add("in.tar")
        archive.add("in.txt")
    found, summary = read("out.tar")
    assert found == [(("out.tar!in.txt", None), b"x")]
    assert summary.skipped == [("out.tar!in.tar", "an archive in an archive is not read")]


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "binary", "string_view"])
def test_columns_of_arrow(kind):
    pa = pytest.importorskip("pyarrow")
    column = pa.array(["one", None, "", "caf\u00e9"] * 3)
    column = column.dictionary_encode() if kind == "dictionary" else column.cast(getattr(pa, kind)())
    table = pa.table({"n": range(12), "text": column, "s": [1.5] * 12})
    with pa.ipc.new_file("a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    found, summary = read("a.arrow", batch_bytes=8, score_field="s")
    assert [text.decode() for _, text in found] == ["one", "", "caf\u00e9"] * 3
    assert summary.skipped == [(f"a.arrow:{i}", "null") for i in (2, 6, 10)]


def test_wrong_columns_of_arrow():
    pa = pytest.importorskip("pyarrow")
    table = pa.table([pa.array([1]), pa.array(["x"]), pa.array(["y"])], names=["n", "text", "text"])
    for name, new in (("a.arrow", pa.ipc.new_file), ("b.arrow", pa.ipc.new_stream)):
        with new(name, table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(DocumentError, match=rf"{name} has 2 columns 'text'"):
            DocumentSource(name)
        with pytest.raises(DocumentError, match=rf"the column 'n' of {name} holds int64, not text"):
            DocumentSource(name, text_field="n")
        with pytest.raises(DocumentError, match=rf"{name} has no column 'other'; it has 'n', 'text', 'text'"):
            DocumentSource(name, text_field="other")
        write(name, Path(name).read_bytes()[:50])
        with pytest.raises(DocumentError, match=rf"cannot read the Arrow file {name}"):
            DocumentSource(name)


def test_arrow_without_pyarrow(monkeypatch):
    write("a", as_arrow())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        DocumentError, match=re.escape(f"the Arrow file a needs pyarrow: {how_to_install('arrow')}")
    ):
        DocumentSource("a")


def test_a_compressed_table_without_the_column_is_skipped():
    """It is not read before its turn, because that would decompress it twice."""
    pytest.importorskip("pyarrow")
    write("d/a.parquet.gz", gzip.compress(as_parquet()))
    write("d/b.txt", "prose")
    found, summary = read("d", text_field="other")
    assert found == [(("d/b.txt", None), b"prose")]
    assert summary.skipped == [("d/a.parquet.gz", "no column 'other'; it has 'text', 'score', 'meta', 'id'")]


def test_a_member_without_the_field_is_skipped():
    write("a.csv", "x,y\n1,2\n")
    write("b.csv", "x,text\n1,two\n")
    with tarfile.open("a.tar", "w") as archive:
        archive.add("a.csv")
        archive.add("b.csv")
    found, summary = read("a.tar")
    assert found == [(("a.tar!b.csv", 2), b"two")]
    assert summary.skipped == [
        ("a.tar!a.csv", "no column 'text'; it has 'x', 'y'"),
    ]


def unread_files() -> dict[str, bytes]:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("a.txt", "text")
    np.save(array := io.BytesIO(), np.arange(3))
    base = sqlite3.connect("base")
    base.execute("create table t (x)")
    base.close()
    return {
        "a zip archive": file.getvalue(),
        "a PDF file": b"%PDF-1.4\nx",
        "a PNG picture": b"\x89PNG\r\n\x1a\n\0\0",
        "a GIF picture": b"GIF89a\0\1",
        "an SQLite database": Path("base").read_bytes() or b"SQLite format 3\0",
        "an ELF program": Path(sys.executable).resolve().read_bytes()[:5000],
        "a NumPy array": array.getvalue(),
        "a WARC archive": b"WARC/1.0\r\nWARC-Type: conversion\r\n\r\ntext\r\n",
        "a pickle of Python": pickle.dumps(["x"]),
    }


def test_other_formats_are_named_and_not_taken_for_prose():
    contents = unread_files()
    os.remove("base")
    for i, content in enumerate(contents.values()):
        for name in ("x", "x.txt", "x.jsonl", "x.csv"):
            write(f"d/{i}/{name}", content)
    write("d/z1", "text\0" * 10)
    write("d/z2", "x" * 65_000 + "\0")
    write("d/z3", "x" * (1 << 16) + "\0")
    write("d/z4", "GIF89a is a format of pictures, as FEA1 is not.")
    write("d/z5", "text\xe9".encode("utf-16"))
    write("d/z6", gzip.compress(b"%PDF-1.4"))
    found, summary = read("d")
    binary = "binary data is not read: it has null bytes"
    assert summary.skipped == [
        *(
            (f"d/{i}/{name}", f"{what} is not read")
            for i, what in enumerate(contents)
            for name in ("x", "x.csv", "x.jsonl", "x.txt")
        ),
        ("d/z1", binary),
        ("d/z2", binary),
        ("d/z6", "a PDF file is not read"),
    ]
    assert [name for (name, _), _ in found] == ["d/z3", "d/z4", "d/z5"]
    assert found[2][1] == "text\xe9".encode()
    with pytest.raises(DocumentError, match=r"d/0/x: a zip archive is not read .strict"):
        documents(DocumentSource("d", strict=True))
    # Whoever says the format gets it.
    assert read("d/z1", format="text")[0] == [(("d/z1", None), b"text\0" * 10)]


def test_the_summary_of_a_data_set_is_no_document():
    """The row groups of a file ``_metadata`` lie in other files."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    parts: list = []
    table = pa.table({"text": ["one", "two"], "k": [1, 2]})
    pq.write_to_dataset(table, "d", partition_cols=["k"], metadata_collector=parts)
    pq.write_metadata(table.schema.remove(1), "d/_metadata", metadata_collector=parts)
    pq.write_metadata(table.schema, "d/_common_metadata")
    assert pq.read_metadata("d/_metadata").num_row_groups == 2
    found, summary = read("d")
    assert sorted(text for _, text in found) == [b"one", b"two"]
    assert summary.skipped == [("d/_metadata", "the summary of a Parquet data set is not read")]
    write("e/_metadata", "a text")
    assert read("e")[0] == [(("e/_metadata", None), b"a text")]


@pytest.mark.parametrize(
    "content",
    [
        b'{"text": "one"}',
        b'{"text": "one"}\n',
        b'{\n "text": "one",\n "x": {"text": "two"}\n}\n',
        b"[1, 2]",
        b'["text"]',
        b"[]",
        b"",
        b'{"text": "one"}\nand then prose',
        b"[not json",
        b'{"text": "one"}\n{\n"text": "two"}\n',
        b'{"text": "one"}\n{"text": ',
        b'"text"\n"text"\n',
    ],
)
def test_other_json_is_one_text(content):
    write("a.json", content)
    assert read("a.json")[0] == [(("a.json", None), content)]


def test_long_first_lines_are_still_json_lines(monkeypatch):
    monkeypatch.setattr(formats_module, "LONG_HEAD", 1 << 20)
    record = {"text": "x" * 300_000, "n": 10**4200}
    long = f'{{"text": "{record["text"]}", "n": {"1" * 5000}}}\n'.encode()
    write("a.json", long + b'\n {"text": "y"}')
    assert [(line, len(text)) for (_, line), text in read("a.json")[0]] == [(1, 300_000), (3, 1)]
    write("b.json", b'{"text": "' + b"x" * (2 << 20) + b'"}\n{"text": "y"}\n')
    assert [line for (_, line), _ in read("b.json")[0]] == [None]


def test_format_says_it_for_all_files():
    write("d/a.txt", as_lines())
    write("d/b", gzip.compress(as_lines()))
    with tarfile.open("d/c.tar", "w") as archive:
        archive.add("d/a.txt")
    found, _ = read("d", format="jsonl")
    assert [text for _, text in found] == TEXTS * 3
    assert [name for name, _ in found][6] == ("d/c.tar!d/a.txt", 1)
    write("t.dat", as_table())
    assert [text for _, text in read("t.dat", format="csv")[0]] == TEXTS
    write("p.csv", as_table())
    assert [name for name, _ in read("p.csv", format="text")[0]] == [("p.csv", None)]
    write("j.jsonl", json.dumps(RECORDS))
    assert [text for _, text in read("j.jsonl", format="json")[0]] == TEXTS
    write("k.json", as_lines())
    found, summary = read("k.json", format="json")
    assert found == [] and summary.skipped == [("k.json", "damaged: not a JSON array")]
    write("p", as_parquet())
    assert [text for _, text in read("p", format="parquet")[0]] == TEXTS
    write("q", as_arrow("stream"))
    assert [text for _, text in read("q", format="arrow")[0]] == TEXTS
    with pytest.raises(ValueError, match=r"format must be .*got 'xml'"):
        DocumentSource("p", format="xml")


# -- JSON arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (b"", "the JSON array ends before its last bracket"),
        (b", ", "the JSON array ends before its last bracket"),
        (b', {"text": "x', "not JSON, or cut off"),
        (b', {"text" "x"}' + b" " * 100 + b"]", "not JSON, or cut off"),
        (b' {"text": "x"}]', "not JSON"),
        (b"] x", "other text follows the JSON array"),
        (b", " + b"[" * 200_000, "the JSON array is nested too deeply"),
        (b",]", "not JSON, or cut off"),
    ],
)
def test_damaged_arrays(end, reason):
    """Elements before the damage are documents."""
    write("a.json", b'[{"text": "one"}, 5, {"text": "caf\xe9"}, {"text": "\\ud800"}, {"text": "two"}' + end)
    found, summary = read("a.json")
    assert found == [
        (("a.json", 1), b"one"),
        (("a.json", 3), b"caf\xe9"),
        (("a.json", 4), b"\xed\xa0\x80"),
        (("a.json", 5), b"two"),
    ]
    assert summary.skipped == [("a.json:2", "not a JSON object"), ("a.json:6", f"damaged: {reason}")]


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        (b'{"text": "caf\xe9"}', "not UTF-8"),
        (b'{"text": "a", "x": "caf\xe9"}', "not UTF-8"),
        (b'{"text": "\\ud800"}', "not Unicode: the text has half a surrogate pair"),
    ],
)
def test_bad_bytes_in_arrays_are_errors_if_strict(element, reason):
    write("a.json", b'[{"text": "one"}, ' + element + b"]")
    assert read("a.json")[1].n_skipped == 0
    with pytest.raises(DocumentError, match=rf"a.json:2: {reason} \(strict\)"):
        documents(DocumentSource("a.json", strict=True))


def test_an_array_takes_bounded_memory(monkeypatch):
    """The window moves on: no more than some blocks are asked for before the first elements are given."""
    n_read = 0

    class Endless:
        def read(self, n):
            nonlocal n_read
            n_read += n
            return b'[{"text": "x"}' + b', {"text": "x"}' * (n // 15)

    elements = json_array_module.array_elements(Endless())
    for _ in range(10):
        next(elements)
    assert n_read <= 4 << 20
    monkeypatch.setattr(json_array_module, "MAX_DOCUMENT", 3 << 20)
    write("a.json", b'[{"text": "a"}, {"text": "' + b"x" * (20 << 20) + b'"}]')
    found, summary = read("a.json")
    assert [text for _, text in found] == [b"a"]
    assert summary.skipped[0][0] == "a.json:2" and "is longer than" in summary.skipped[0][1]


# -- tables ---------------------------------------------------------------------------------------


def test_records_of_tables_that_have_no_text():
    write("a.csv", 'n,text,m\r\n1,one,x\r\n\r\n2\r\n3,"th\nree",y,more\r4,\xe9\n'.encode("latin-1"))
    found, summary = read("a.csv")
    assert found == [
        (("a.csv", 2), b"one"),
        (("a.csv", 5), b"th\nree"),
        (("a.csv", 6), b"\xe9"),
    ]
    assert summary.skipped == [("a.csv:4", "no column 'text'")]
    assert list(raw_records(DocumentSource("a.csv")._plan.files[0])) == [
        b"n,text,m\r\n",
        b"1,one,x\r\n",
        b"\r\n",
        b"2\r\n",
        b'3,"th\nree",y,more\r',
        b"4,\xe9\n",
    ]


def test_headers_of_tables():
    write("a.csv", "x,y\n1,2\n")
    with pytest.raises(DocumentError, match=r"a.csv has no column 'text'; it has 'x', 'y'"):
        DocumentSource("a.csv")
    write("b.csv", "text,text\n1,2\n")
    with pytest.raises(DocumentError, match=r"b.csv has 2 columns 'text'"):
        DocumentSource("b.csv")
    write("c.csv", "")
    assert read("c.csv") == ([], read("c.csv")[1])
    assert [text for _, text in read("a.csv", text_field="y")[0]] == [b"2"]


def test_long_fields_and_quotes_that_nothing_closes(monkeypatch):
    write("a.csv", 'text\n"' + "x" * 500_000 + '"\nshort\n')
    assert [len(text) for _, text in read("a.csv")[0]] == [500_000, 5]
    monkeypatch.setattr("mergesketch.distributed.documents.tables.MAX_RECORD", 400_000)
    write("b.csv", "text\none\n" + '"not closed\n' + "x\n" * 300_000)
    write("c.csv", "text\none\n" + "x" * 500_000)
    found, summary = read(["b.csv", "c.csv"])
    assert [text for _, text in found] == [b"one", b"one"]
    reason = "damaged: a record is longer than 400000 characters: is a quote not closed?"
    assert summary.skipped == [("b.csv:3", reason), ("c.csv:3", reason)]


# -- nested fields, scores and ids ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jsonl", "array", "parquet", "arrow", "arrow stream"])
def test_nested_fields(kind):
    name, make, _ = KINDS[kind]
    write(name, make())
    found, summary = read(name, text_field="meta.body")
    assert [text for _, text in found] == [b"eins", b"zwei", b"drei"] and summary.n_skipped == 0
    with pytest.raises(DocumentError, match=r"has no .* 'meta.none'"):
        DocumentSource(name, text_field="meta.none")


def test_a_field_of_the_name_itself_comes_first():
    records = [
        {"a.b": "itself", "a": {"b": "nested"}},
        {"a": {"b": "nested", "c": {"d": "deep"}}},
        {"a.b": None, "a": {"b": "nested"}},
        {"a": "no object"},
        {"a.c": {"d": "half"}},
    ]
    write("a.jsonl", as_lines(records))
    found, summary = read("a.jsonl", text_field="a.b")
    assert found == [(("a.jsonl", 1), b"itself"), (("a.jsonl", 2), b"nested")]
    assert summary.skipped == [
        ("a.jsonl:3", "the field 'a.b' is null, not a string"),
        ("a.jsonl:4", "no field 'a.b'"),
        ("a.jsonl:5", "no field 'a.b'"),
    ]
    assert [text for _, text in read("a.jsonl", text_field="a.c.d")[0]] == [b"deep", b"half"]
    with pytest.raises(DocumentError, match=r"no field 'a.x' .*they have 'a.b', 'a.c', 'a', 'a.c.d'"):
        read("a.jsonl", text_field="a.x")


def test_nested_columns_of_structs():
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    inner = pa.array([{"b": "x", "c": {"d": "deep"}}, None, {"b": None, "c": None}])
    table = pa.table({"a": inner, "a.c": pa.array([{"e": "beside"}] * 3), "t": ["p", "q", "r"]})
    pq.write_table(table, "a.parquet")
    nulls = [("a.parquet:2", "null"), ("a.parquet:3", "null")]
    for field, texts in [("a.b", [b"x"]), ("a.c.d", [b"deep"]), ("a.c.e", [b"beside"] * 3)]:
        found, summary = read("a.parquet", text_field=field)
        assert [text for _, text in found] == texts
        assert summary.skipped == (nulls if len(texts) == 1 else [])
    # The score lies in the same struct or beside it.
    source = DocumentSource("a.parquet", text_field="t", id_field="a.c.d")
    (batch,) = source.batches()
    assert source.fields_of(batch.ids) == ["deep", None, None]
    with pytest.raises(DocumentError, match=r"a.parquet has no column 'a.x'"):
        DocumentSource("a.parquet", text_field="a.x")
    with pytest.raises(DocumentError, match=r"the column 'a.c' of a.parquet holds struct"):
        DocumentSource("a.parquet", text_field="a.c")


@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_ids(kind):
    name, make, _ = KINDS[kind]
    write("d/" + name, make())
    write("d/z.txt", "prose")
    source = DocumentSource("d", score_field="score", id_field="id", batch_bytes=10)
    batches = list(source.batches())
    assert len(batches) > 1
    scores = np.concatenate([batch.scores for batch in batches])
    ids = np.concatenate([batch.ids for batch in batches])
    np.testing.assert_array_equal(scores, [0.5, np.nan, 3, np.nan])
    assert scores.dtype == np.float64 and len(ids) == 4
    first = "7" if kind in ("csv", "tsv") or "parquet" in kind or "arrow" in kind or kind == "feather" else 7
    missing = "" if kind in ("csv", "tsv") else None
    assert source.fields_of(ids) == [first, "x", missing, "d/z.txt"]
    assert source.fields_of(ids[[3, 0, 0]]) == ["d/z.txt", first, first] and source.fields_of([]) == []
    some = batches[0].take(np.array([0]))
    assert some.scores.tolist() == [0.5] and some.ids.tolist() == [ids[0]]
    assert DocumentSource("d").batches().__next__().scores is None


def test_the_best_document_is_kept():
    rows = [("first", 1), ("best", 9), ("none", ""), ("last", 3)]
    text = " ".join(f"word{i}" for i in range(20))
    write("a.csv", "id,text,stars\n" + "".join(f"{name},{text},{stars}\n" for name, stars in rows))
    source = DocumentSource("a.csv", id_field="id", score_field="stars")
    result = deduplicate(source, keep="best")
    assert source.fields_of(result.ids[result.keep]) == ["best"]
    assert source.fields_of(result.duplicate_of) == ["best"] * 4
    with pytest.raises(ValueError, match="needs a source whose batches have scores"):
        deduplicate(DocumentSource("a.csv"), keep="best")


def test_scores_are_numbers_only():
    values = ["1.5", True, None, [1], 1e400, -3, 10**400, "x"]
    lines = "".join(json.dumps({"text": "t", "m": {"s": value}}) + "\n" for value in values)
    write("a.jsonl", lines.replace("Infinity", "1e999") + '{"text": "u"}\n')
    (batch,) = DocumentSource("a.jsonl", score_field="m.s").batches()
    nan, inf = np.nan, np.inf
    np.testing.assert_array_equal(batch.scores, [nan, nan, nan, nan, inf, -3, inf, nan, nan])
    write("b.csv", "text,s\na,1.5\nb,x\nc,\nd\ne,-1e3\n")
    (batch,) = DocumentSource("b.csv", score_field="s").batches()
    np.testing.assert_array_equal(batch.scores, [1.5, nan, nan, nan, -1000])


def test_scores_that_are_dates_times_or_decimals():
    """Later is larger, whatever the unit of a column is, and also without pandas."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    seconds = [86_400, None, 2 * 86_400]
    columns = {
        "days": pa.array([1, None, 2], pa.int32()).cast(pa.date32()),
        **{
            f"{kind}-{unit}": pa.array([s and s * per for s in seconds], pa.int64()).cast(make(unit))
            for unit, per in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9))
            for kind, make in (
                ("timestamp", lambda unit: pa.timestamp(unit, "UTC")),
                ("duration", pa.duration),
            )
        },
        "milliseconds": pa.array([s and s * 1000 for s in seconds], pa.int64()).cast(pa.date64()),
        "decimal": pa.array([s and Decimal(s) for s in seconds]),
        "wide": pa.array([s and Decimal(s) for s in seconds], pa.decimal256(60, 20)),
    }
    table = pa.table({"text": ["a", "b", "c"], **columns})
    pq.write_table(table, "a.parquet")
    with pa.ipc.new_file("b.arrow", table.schema) as writer:
        writer.write_table(table)
    for name, field in itertools.product(("a.parquet", "b.arrow"), columns):
        (batch,) = DocumentSource(name, score_field=field).batches()
        np.testing.assert_array_equal(batch.scores, [np.nan if s is None else s for s in seconds], field)
    fine = pa.array([1, 1_500_000_001], pa.timestamp("ns"))
    pq.write_table(pa.table({"text": ["a", "b"], "at": fine, "n": [Decimal(7), None]}), "c.parquet")
    source = DocumentSource("c.parquet", score_field="at", id_field="n")
    (batch,) = source.batches()
    np.testing.assert_allclose(batch.scores, [1e-9, 1.500000001], rtol=1e-15)
    assert source.fields_of(batch.ids) == [7, None]


@pytest.mark.parametrize("value", ["high", None, True, [1]])
def test_the_best_of_documents_without_numbers_is_refused(value):
    write("a.jsonl", as_lines([{"text": "one two", "s": value}] * 3))
    message = r"""keep "best" needs documents with a number in the field 's', and no document has one"""
    with pytest.raises(ValueError, match=message):
        deduplicate(DocumentSource("a.jsonl", score_field="s"), keep="best")
    write("a.jsonl", as_lines([{"text": "one two", "s": value}] * 3 + [{"text": "", "s": 3}]))
    with pytest.raises(ValueError, match=message):
        deduplicate(DocumentSource("a.jsonl", score_field="s"), keep="best")
    write("a.jsonl", as_lines([{"text": "one two", "s": value}] * 3 + [{"text": "three", "s": 3}]))
    assert deduplicate(DocumentSource("a.jsonl", score_field="s"), keep="best").n_duplicates == 2
    write("a.jsonl", as_lines([{"text": "", "s": value}] * 3))
    assert deduplicate(DocumentSource("a.jsonl", score_field="s"), keep="best").n_empty == 3


def test_ids_are_strings_or_integers():
    values = ["", 2**70, 1.0, 1.5, True, None, {"x": 1}]
    write("a.jsonl", as_lines([{"text": "t", "id": value} for value in values] + [{"text": "t"}]))
    source = DocumentSource("a.jsonl", id_field="id")
    (batch,) = source.batches()
    assert source.fields_of(batch.ids) == ["", 2**70, 1, None, None, None, None, None]
    with pytest.raises(ValueError, match="ids must be ids of this source"):
        source.fields_of([1 << 60])
    with pytest.raises(ValueError, match="fields_of needs a source with an id_field"):
        DocumentSource("a.jsonl").fields_of(batch.ids)
    os.remove("a.jsonl")
    with pytest.raises(DocumentError, match=r"cannot read a.jsonl again"):
        source.fields_of(batch.ids)


def test_wrong_names_of_further_fields():
    write("d/a.jsonl", as_lines())
    write("d/b.csv", as_table())
    write("d/c.txt", "prose")
    for argument in ("score_field", "id_field"):
        with pytest.raises(
            DocumentError, match=rf"no file has the {argument} 'other': d/a.jsonl has no field"
        ):
            DocumentSource("d", **{argument: "other"})
        with pytest.raises(TypeError, match=rf"{argument} must be a string or None, got 3"):
            DocumentSource("d", **{argument: 3})
    # One file that has it is enough, and texts have none.
    DocumentSource("d", score_field="meta.rank")
    DocumentSource("d/c.txt", id_field="other")


# -- ranks and threads ----------------------------------------------------------------------------


@pytest.fixture
def corpus():
    """Write every kind, compressed and in an archive."""
    for number, (name, make, _) in enumerate(KINDS.values()):
        write(f"d/{number:02}/{name}", make())
        write(f"d/{number:02}/x{name}.gz", gzip.compress(make()))
    with tarfile.open("d/all.tar.gz", "w:gz") as archive:
        archive.add("d/00")
        archive.add("d/04")
    write("d/lines.jsonl", as_lines(RECORDS * 40))
    write("d/x.pdf", "%PDF-1.7")
    return "d"


def test_any_number_of_ranks_reads_the_same(corpus):
    pytest.importorskip("mpi4py.MPI")
    options = {"chunk_bytes": 500, "score_field": "score", "id_field": "id"}
    alone = DocumentSource(corpus, **options)
    expected = documents(alone)
    summary = alone.finish()
    names, own = alone.name_of(list(expected)), alone.fields_of(list(expected))
    assert len(expected) == 3 * (2 * len(KINDS) + 4 + 40) and summary.n_skipped == 1
    for n_ranks in (2, 3):

        def one(comm):
            source = DocumentSource(corpus, comm=comm, **options)
            found = documents(source)
            told = source.finish()
            ids = list(expected)[comm.rank :: 2]
            return found, told, source.name_of(list(expected)), source.fields_of(ids) == own[comm.rank :: 2]

        merged = {}
        for found, told, named, same in ThreadRank(n_ranks).run(one):
            assert told == summary and named == names and same
            merged |= found
        assert merged == expected


def test_an_unknown_format_reaches_every_rank(corpus):
    pytest.importorskip("mpi4py.MPI")

    def different(comm):
        DocumentSource(corpus, format=["auto", "text"][comm.rank], comm=comm)

    for error in ThreadRank(2).run(different):
        assert isinstance(error, DistributedError) and "the documents to read" in str(error)


@pytest.mark.parametrize("threads", [1, 2])
def test_groups_of_copies_in_all_formats(corpus, threads):
    before = get_num_threads()
    set_num_threads(threads)
    try:
        source = DocumentSource(corpus, text_field="text")
        result = deduplicate(source, unit="character", size=3)
    finally:
        set_num_threads(before)
    source.finish()
    sizes = np.diff(result.offsets).tolist()
    n = 2 * len(KINDS) + 4 + 40
    assert sizes == [n, n] and result.n_empty == n
