"""Test that files are copied without some records, and that all other records keep their bytes."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import tarfile
from pathlib import Path

import mergesketch.distributed.documents.arrow_copy as arrow_module
import mergesketch.distributed.documents.parquet_copy as parquet_module
import mergesketch.distributed.documents.record_copy as record_module
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed.documents.copying import copy_without
from mergesketch.distributed.documents.formats import detect
from mergesketch.distributed.documents.listing import list_files
from mergesketch.distributed.documents.names import Member
from mergesketch.distributed.documents.source import DocumentSource
from mergesketch.errors import DocumentError


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def found(paths):
    """Return the files at some paths, with their kinds."""
    return [detect(file) for file in list_files(paths).files]


def copied(name, records) -> bytes:
    """Return the bytes of the copy of a file, which must be complete."""
    (file,) = found([name])
    assert copy_without(file, records, Path("copy")) is True
    return Path("copy").read_bytes()


def naive_copy(content: bytes, removed) -> bytes:
    """Return lines with their ends, without those whose numbers are in `removed`."""
    lines = content.split(b"\n")
    ended = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    mark = b"\xef\xbb\xbf" if content.startswith(b"\xef\xbb\xbf") and 0 in removed else b""
    return mark + b"".join(line for number, line in enumerate(ended) if number not in removed)


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"x")), max_size=12),
    st.booleans(),
    st.sets(st.integers(0, 11)),
    st.integers(1, 9),
)
def test_lines_that_stay_keep_their_bytes(tmp_path_factory, lines, ends, removed, block):
    """In blocks of any size, whether or not the last line has an end, and with any bytes in the lines."""
    content = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    n_lines = content.count(b"\n") + (not content.endswith(b"\n") and bool(content))
    removed = sorted(number for number in removed if number < n_lines)
    folder = tmp_path_factory.mktemp("lines")
    for name, stored in (("a.jsonl", content), ("a.jsonl.gz", gzip.compress(content))):
        (folder / name).write_bytes(stored)
        (file,) = (file._replace(kind="jsonl") for file in found([str(folder / name)]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(record_module, "BLOCK", block)
            assert copy_without(file, removed, folder / "copy")
        copy = (folder / "copy").read_bytes()
        if name.endswith(".gz") and removed:
            copy = gzip.decompress(copy)
        assert copy == (naive_copy(content, set(removed)) if removed else stored)


def test_what_is_not_understood_is_kept():
    content = b'\xef\xbb\xbf{"text": "a"}\r\nnot JSON \xff\n\n{"text": 3}\n{"text": "b"}'
    Path("a.jsonl").write_bytes(content)
    assert copied("a.jsonl", [4]) == content[: content.rindex(b"\n") + 1]
    assert copied("a.jsonl", [0]) == content[:3] + content[content.index(b"\n") + 1 :], "the mark stays"
    assert copied("a.jsonl", [0, 1, 2, 3, 4]) == content[:3]


def test_a_file_that_loses_nothing_is_copied_as_a_whole():
    stored = gzip.compress(b'{"text": "a"}\n', 9) + b"rubbish behind the end"
    Path("a.jsonl.gz").write_bytes(stored)
    assert copied("a.jsonl.gz", []) == stored


def test_a_compressed_copy_is_the_same_whenever_it_is_written():
    Path("a.jsonl.gz").write_bytes(gzip.compress(b"a\nb\n"))
    copy = copied("a.jsonl.gz", [0])
    assert gzip.decompress(copy) == b"b\n"
    assert copy[4:8] == bytes(4), "there is no time in it"
    assert not copy[3] & 8, "there is no name in it"


def test_the_records_before_the_damage_of_a_compressed_file_are_written():
    lines = b"".join(f"{i * i * 7919}\n".encode() for i in range(20_000))
    Path("a.jsonl.gz").write_bytes(gzip.compress(lines)[:-30_000])
    (file,) = found(["a.jsonl.gz"])
    assert copy_without(file, [0, 2], Path("copy")) is False
    rest = gzip.decompress(Path("copy").read_bytes())
    assert len(rest) > 10_000 and naive_copy(lines, {0, 2}).startswith(rest)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_file_that_has_lost_the_record(name):
    Path(name).write_bytes(b"a\nb\n" if name == "a.jsonl" else gzip.compress(b"a\nb\n"))
    (file,) = found([name])
    with pytest.raises(DocumentError, match=rf"{name} has no record 3 any more: it has changed"):
        copy_without(file, [0, 2, 5], Path("copy"))


def test_a_file_that_is_gone():
    Path("a.jsonl").write_bytes(b"a\n")
    (file,) = found(["a.jsonl"])
    Path("a.jsonl").unlink()
    for records in ([], [0]):
        with pytest.raises(DocumentError, match=r"cannot read a\.jsonl: No such file"):
            copy_without(file, records, Path("copy"))


# -- Parquet --------------------------------------------------------------------------------------


@pytest.fixture
def pq():
    return pytest.importorskip("pyarrow.parquet")


def parquet_copy(pq, records, n_rows):
    """Copy p.parquet, and check the rows, the schema and the storage of the copy."""
    import pyarrow as pa

    before = pq.ParquetFile("p.parquet")
    (file,) = found(["p.parquet"])
    assert copy_without(file, records, Path("copy.parquet"))
    after = pq.ParquetFile("copy.parquet")
    kept = [row for row in range(n_rows) if row not in set(records)]
    assert after.read().equals(before.read().take(pa.array(kept, pa.int64())))
    assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True)
    assert after.schema.equals(before.schema)
    assert after.metadata.format_version == before.metadata.format_version
    if kept:
        stored = [
            [(column.path_in_schema, column.compression, column.has_dictionary_page) for column in columns]
            for columns in (
                [m.row_group(0).column(i) for i in range(m.num_columns)]
                for m in (before.metadata, after.metadata)
            )
        ]
        assert stored[0] == stored[1]
    return after


def table(n_rows):
    import pyarrow as pa

    rows = range(n_rows)
    columns = {
        "text": pa.array([None if i % 7 == 3 else f"text {i}" for i in rows], pa.large_string()),
        "kind": pa.array([f"kind {i % 3}" for i in rows]).dictionary_encode(),
        "list": pa.array([[i, None] if i % 2 else None for i in rows], pa.list_(pa.int32())),
        "of": pa.array([{"a": i, "b": {"c": str(i)}} for i in rows]),
        "a.b": pa.array([i / 3 for i in rows], pa.float32()),
        "time": pa.array([i * 10**9 for i in rows], pa.timestamp("ns", "UTC")),
    }
    schema = pa.schema(
        [pa.field(name, column.type, metadata={"about": name}) for name, column in columns.items()],
        metadata={"owner": "tests", "huggingface": '{"info": {}}'},
    )
    return pa.table(columns, schema=schema)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "none", "brotli"])
def test_rows_of_parquet(pq, compression):
    pq.write_table(table(100), "p.parquet", row_group_size=30, compression=compression)
    after = parquet_copy(pq, [0, 29, 30, 31, 99], 100)
    groups = [after.metadata.row_group(i).num_rows for i in range(after.metadata.num_row_groups)]
    assert groups == [28, 28, 30, 9], "row groups stay as they are"


def test_all_rows_of_a_row_group_and_of_the_file(pq):
    pq.write_table(table(20), "p.parquet", row_group_size=10)
    after = parquet_copy(pq, list(range(10)), 20)
    assert after.metadata.num_row_groups == 1
    assert parquet_copy(pq, list(range(20)), 20).metadata.num_rows == 0


def test_storage_of_columns_of_parquet(pq):
    compression = dict.fromkeys(("text", "kind", "a.b", "time", "of.a", "of.b.c"), "zstd")
    pq.write_table(
        table(50),
        "p.parquet",
        compression={**compression, "list.list.element": "gzip", "time": "none"},
        use_dictionary=["kind"],
        write_statistics=False,
        version="2.4",
    )
    after = parquet_copy(pq, [3], 50)
    assert not after.metadata.row_group(0).column(0).is_stats_set


def test_old_kinds_of_parquet(pq):
    """Times of 96 bits, lists whose elements are named item, no Arrow schema, columns that are required."""
    import pyarrow as pa

    inner = pa.struct({"a": pa.int64(), "b": pa.struct({"c": pa.string()})})
    plain = (
        table(10)
        .drop(["kind"])
        .cast(
            pa.schema(
                [
                    pa.field("text", pa.string()),
                    pa.field("list", pa.list_(pa.int32())),
                    pa.field("of", inner, nullable=False),
                    pa.field("a.b", pa.float32(), nullable=False),
                    pa.field("time", pa.timestamp("ns")),
                ]
            )
        )
    )
    pq.write_table(
        plain,
        "p.parquet",
        store_schema=False,
        use_deprecated_int96_timestamps=True,
        use_compliant_nested_type=False,
        version="1.0",
    )
    (file,) = found(["p.parquet"])
    assert copy_without(file, [1, 2], Path("copy.parquet"))
    before, after = pq.ParquetFile("p.parquet"), pq.ParquetFile("copy.parquet")
    assert after.schema.equals(before.schema)
    assert after.read().to_pylist() == before.read().take([0, *range(3, 10)]).to_pylist()


def test_a_large_row_group_is_cut(pq, monkeypatch):
    pq.write_table(table(1000), "p.parquet")
    monkeypatch.setattr(parquet_module, "MAX_GROUP", 4000)
    after = parquet_copy(pq, [0, 500, 999], 1000)
    sizes = [after.metadata.row_group(i).num_rows for i in range(after.metadata.num_row_groups)]
    assert len(sizes) > 3 and sum(sizes) == 997
    assert all(size <= max(sizes[0], sizes[1]) for size, _ in itertools.pairwise(sizes))


def views():
    """Return a table of types that pyarrow cannot filter, beside others; polars writes such strings."""
    import pyarrow as pa

    texts = [f"text {i}, which is longer than twelve bytes" if i % 3 else None for i in range(40)]
    return pa.table(
        {
            "text": pa.array(texts, pa.string_view()),
            "bytes": pa.array([b"\xff"] * 40, pa.binary_view()),
            "list": pa.array([[text] for text in texts], pa.list_(pa.string_view())),
            "kind": pa.array([f"kind {i % 3}" for i in range(40)]).dictionary_encode(),
            "number": pa.array(range(40)),
        }
    )


REMOVED_OF_40 = ([0], [39], [5, 6, 20], list(range(10)), list(range(9, 40)), list(range(40)))


@pytest.mark.parametrize("removed", REMOVED_OF_40, ids=len)
def test_columns_of_views(pq, removed):
    """The types that pyarrow cannot filter keep their rows and their types."""
    import pyarrow as pa

    kept = [row for number, row in enumerate(views().to_pylist()) if number not in removed]
    pq.write_table(views(), "p.parquet", row_group_size=15)
    (file,) = found(["p.parquet"])
    assert copy_without(file, removed, Path("copy.parquet"))
    after = pq.ParquetFile("copy.parquet")
    assert after.read().to_pylist() == kept
    assert after.schema_arrow == views().schema
    sizes = [sum(row not in removed for row in range(a, min(a + 15, 40))) for a in (0, 15, 30)]
    groups = [after.metadata.row_group(i).num_rows for i in range(after.metadata.num_row_groups)]
    assert groups == [size for size in sizes if size]
    runs = pa.array(["a"] * 20 + ["b"] * 20)
    table = views().append_column("runs", pa.compute.run_end_encode(runs))
    for kind in (pa.ipc.new_file, pa.ipc.new_stream):
        with kind("a.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=15)
        (file,) = found(["a.arrow"])
        assert copy_without(file, removed, Path("copy.arrow"))
        read = pa.ipc.open_file if kind is pa.ipc.new_file else pa.ipc.open_stream
        after = read(Path("copy.arrow").read_bytes()).read_all()
        assert after.schema == table.schema
        rows = [row for number, row in enumerate(table.to_pylist()) if number not in removed]
        assert after.to_pylist() == rows
        assert [len(batch) for batch in after.to_batches()] == [size for size in sizes if size]


@pytest.mark.parametrize("stores", [True, False])
def test_the_schema_of_arrow_is_stored_if_it_was(pq, stores):
    pq.write_table(views(), "p.parquet", store_schema=stores)
    (file,) = found(["p.parquet"])
    assert copy_without(file, [3], Path("copy.parquet"))
    assert (b"ARROW:schema" in (pq.read_metadata("copy.parquet").metadata or {})) is stores


def test_parquet_that_has_changed(pq):
    pq.write_table(table(10), "p.parquet")
    (file,) = found(["p.parquet"])
    with pytest.raises(DocumentError, match=r"p\.parquet has no row 12 any more: it has changed"):
        copy_without(file, [3, 11], Path("copy"))
    Path("p.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(DocumentError, match=r"cannot read the Parquet file p\.parquet"):
        copy_without(file, [3], Path("copy"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "latin-1", "shift_jis"])
@pytest.mark.parametrize("removed", [[0], [1], [0, 2]])
def test_texts_in_other_encodings(encoding, removed):
    """The copy is in the same encoding, and is recognised like the file."""
    texts = (
        ["caf\u00e9", "\u010a\u0a00 \u0d0a", "end"]
        if encoding.startswith("utf")
        else ["caf\u00e9", "two", "end"]
    )
    texts = ["\u30c6\u30b9\u30c8", "two", "end"] if encoding == "shift_jis" else texts
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    given = "auto" if encoding.startswith("utf") else encoding
    kept = [text for number, text in enumerate(texts) if number not in removed]
    for name in ("a.jsonl", "a.json", "a.csv"):
        records = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
        content = {
            "a.jsonl": "".join(record + "\n" for record in records),
            "a.json": "[" + ", ".join(records) + "]",
            "a.csv": "text\n" + "".join(f'"{text}"\n' for text in texts),
        }[name]
        Path(name).write_bytes((mark + content).encode(encoding))
        (file,) = (detect(file, encoding=given) for file in list_files([name]).files)
        gone = [number + 1 for number in removed] if name == "a.csv" else removed
        assert copy_without(file, gone, Path("copy"))
        os.replace("copy", name)
        source = DocumentSource(name, encoding=given)
        found = [
            batch.data[a:b].tobytes().decode()
            for batch in source.batches()
            for a, b in itertools.pairwise(batch.offsets.tolist())
        ]
        assert found == kept
        assert Path(name).read_bytes().decode(encoding).removeprefix("\ufeff")[-1:] == "\n"


# -- tables, arrays and archives ------------------------------------------------------------------


def test_records_of_a_table_that_span_lines():
    rows = [
        b"\xef\xbb\xbfid,text\r\n",
        b'1,"one\r\nline, ""two"""\r\n',
        b"\n",
        b"2,two\n",
        b"3\n",
        b'4,"four"',
    ]
    Path("a.csv").write_bytes(b"".join(rows))
    assert copied("a.csv", [1]) == b"".join([rows[0], *rows[2:]])
    assert copied("a.csv", [3, 5]) == b"".join([rows[0], rows[1], rows[2], rows[4]])
    Path("a.tsv.gz").write_bytes(gzip.compress(b"text\tid\none\t1\ntwo\t2\n"))
    assert gzip.decompress(copied("a.tsv.gz", [1])) == b"text\tid\ntwo\t2\n"


def test_elements_of_an_array():
    elements = [b'{"text": "a",\n "n": 1.50}', b'{ "text":"b" }', b'{"text": "\xff"}', b"3"]
    Path("a.json").write_bytes(b"\n [" + b" , ".join(elements) + b"]\n")
    copy = copied("a.json", [1])
    assert copy == b"[\n" + b",\n".join([elements[0], *elements[2:]]) + b"\n]\n"
    assert json.loads(copied("a.json", [0, 1, 2, 3])) == []
    assert json.loads(copied("a.json", [2])) == [{"text": "a", "n": 1.5}, {"text": "b"}, 3]


def test_an_array_that_is_damaged():
    Path("a.json").write_bytes(b'[{"text": "a"}, {"text": "b"}, {"text": "c"}, ruin')
    (file,) = found(["a.json"])
    assert copy_without(file, [1], Path("copy")) is False
    assert json.loads(Path("copy").read_bytes()) == [{"text": "a"}, {"text": "c"}]


def test_a_table_or_array_that_has_lost_the_record():
    Path("a.csv").write_bytes(b"text\na\n")
    Path("a.json").write_bytes(b'[{"text": "a"}]')
    for name, record in (("a.csv", 2), ("a.json", 1)):
        (file,) = found([name])
        with pytest.raises(DocumentError, match=rf"{name} has no record {record + 1} any more"):
            copy_without(file, [record], Path("copy"))


CODECS = {".gz": gzip, ".bz2": bz2, ".xz": lzma}


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_every_compression(suffix):
    lines = b"".join(b'{"text": "%d"}\n' % i for i in range(10_000))
    if suffix == ".zst":
        zstandard = pytest.importorskip("zstandard")
        compress = zstandard.ZstdCompressor().compress
        decompress = zstandard.ZstdDecompressor().decompressobj().decompress
    else:
        compress, decompress = CODECS[suffix].compress, CODECS[suffix].decompress
    Path(f"a.jsonl{suffix}").write_bytes(compress(lines))
    copy = copied(f"a.jsonl{suffix}", [5, 9_999])
    assert decompress(copy) == naive_copy(lines, {5, 9_999})
    assert copied(f"a.jsonl{suffix}", [5, 9_999]) == copy, "the bytes do not depend on the time"
    # The name does not decide.
    Path("b.jsonl").write_bytes(compress(lines))
    assert copied("b.jsonl", [5, 9_999]) == copy


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
@pytest.mark.parametrize("kind", ["file", "stream"])
def test_rows_of_arrow(codec, kind):
    pa = pytest.importorskip("pyarrow")
    new = {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}[kind]
    with new("a.arrow", table(30).schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table(30), max_chunksize=10)
    (file,) = found(["a.arrow"])
    removed = [0, *range(10, 20), 29]
    assert copy_without(file, removed, Path("copy.arrow"))
    open_ipc = {"file": pa.ipc.open_file, "stream": pa.ipc.open_stream}[kind]
    after = open_ipc(Path("copy.arrow").read_bytes()).read_all()
    kept = [row for row in range(30) if row not in removed]
    assert after.to_pylist() == table(30).take(kept).to_pylist()
    assert after.schema.equals(table(30).schema, check_metadata=True)
    assert [len(batch) for batch in after.to_batches()] == [9, 9]
    with Path("copy.arrow").open("rb") as copy:
        assert arrow_module._compression(copy, kind == "file") == codec
    with pytest.raises(DocumentError, match=r"a\.arrow has no row 31 any more"):
        copy_without(file, [30], Path("copy.arrow"))


def test_dictionaries_of_arrow_that_grow():
    pa = pytest.importorskip("pyarrow")
    schema = pa.schema({"text": pa.dictionary(pa.int8(), pa.string())})
    values = [pa.array(list(text)).dictionary_encode().cast(schema[0].type) for text in ("ab", "abc", "abcd")]
    batches = [pa.record_batch([column], schema) for column in values]
    for new, read in ((pa.ipc.new_file, pa.ipc.open_file), (pa.ipc.new_stream, pa.ipc.open_stream)):
        with new("a.arrow", schema, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as writer:
            for batch in batches:
                writer.write_batch(batch)
        (file,) = found(["a.arrow"])
        assert copy_without(file, [0, 8], Path("copy.arrow"))
        assert read(Path("copy.arrow").read_bytes()).read_all()["text"].to_pylist() == list("babcabc")


def test_a_compressed_file_of_parquet(pq):
    pq.write_table(table(10), "p.parquet")
    Path("p.parquet.gz").write_bytes(gzip.compress(Path("p.parquet").read_bytes()))
    copy = gzip.decompress(copied("p.parquet.gz", [3]))
    texts = pq.read_table("p.parquet")["text"].to_pylist()
    assert pq.read_table(io.BytesIO(copy))["text"].to_pylist() == texts[:3] + texts[4:]


def archive(name, mode="w", **options) -> list[tarfile.TarInfo]:
    """Write an archive of many kinds of entries, and return their headers."""
    entries = [
        ("folder", tarfile.DIRTYPE, None),
        ("folder/a.txt", tarfile.REGTYPE, b"one"),
        ("folder/b.jsonl", tarfile.REGTYPE, b'{"text": "two"}\nruin\n{"text": "three"}\n'),
        (".hidden.txt", tarfile.REGTYPE, b"hidden"),
        ("hard", tarfile.LNKTYPE, b"folder/a.txt"),
        ("soft", tarfile.SYMTYPE, b"folder/a.txt"),
        ("c.jsonl.gz", tarfile.REGTYPE, gzip.compress(b'{"text": "four"}\n{"text": "five"}\n')),
        ("d" * 150 + "\u00e9.txt", tarfile.REGTYPE, b"six"),
        ("e.bin", tarfile.REGTYPE, bytes(range(256))),
    ]
    infos = []
    with tarfile.open(name, mode, **options) as file:
        for number, (path, kind, content) in enumerate(entries):
            info = tarfile.TarInfo(path)
            info.type, info.mtime, info.mode, info.uname = kind, 1e9 + number, 0o600 + number, "owner"
            if kind in (tarfile.LNKTYPE, tarfile.SYMTYPE):
                info.linkname = content.decode()
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            file.addfile(info, io.BytesIO(content) if kind == tarfile.REGTYPE else None)
            infos.append(info)
    return infos


#: The places of the files in the archive, and the numbers of their first records.
MEMBERS = [("folder/a.txt", 0, True), ("folder/b.jsonl", 1, False), ("c.jsonl.gz", 4, False)]
MEMBERS += [("d" * 150 + "\u00e9.txt", 6, True), ("e.bin", 7, False)]


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tar.xz", "w:xz")])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_of_an_archive(name, mode, form):
    infos = archive(name, mode, format=form)
    members = [Member(first, f"{name}!{path}", is_text) for path, first, is_text in MEMBERS]
    (file,) = found([name])
    assert copy_without(file, [0, 1, 5], Path("copy"), members=members)
    with tarfile.open("copy", mode.replace("w", "r")) as copy:
        after = copy.getmembers()
        assert [info.name for info in after] == [
            info.name for info in infos if info.name not in ("folder/a.txt", "hard")
        ]
        for info in after:
            (before,) = (other for other in infos if other.name == info.name)
            for attribute in ("type", "mtime", "mode", "uname", "linkname"):
                assert getattr(info, attribute) == getattr(before, attribute)
        read = {info.name: copy.extractfile(info).read() for info in after if info.isreg()}
    assert read.pop("folder/b.jsonl") == b'ruin\n{"text": "three"}\n'
    assert gzip.decompress(read.pop("c.jsonl.gz")) == b'{"text": "four"}\n'
    assert list(read.values()) == [b"hidden", b"six", bytes(range(256))]


def test_files_with_holes_in_an_archive():
    """They are copied with zeros in place of holes, in the two ways of GNU tar to store them."""
    data = b"a text behind a hole"
    content = bytes(1024) + data
    with tarfile.open("a.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(info := tarfile.TarInfo("first.txt"), io.BytesIO())
        about = {"major": "1", "minor": "0", "name": "new.bin", "realsize": str(len(content))}
        info = tarfile.TarInfo("GNUSparseFile.0/new.bin")
        info.pax_headers = {f"GNU.sparse.{name}": value for name, value in about.items()}
        stored = f"1\n1024\n{len(data)}\n".encode().ljust(512, b"\0") + data
        info.size = len(stored)
        file.addfile(info, io.BytesIO(stored))
        info = tarfile.TarInfo("old.bin")
        info.size, info.type = len(data), tarfile.GNUTYPE_SPARSE
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        for place, number in ((386, 1024), (398, len(data)), (483, len(content))):
            header[place : place + 12] = b"%011o\0" % number
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        file.fileobj.write(header + data.ljust(512, b"\0"))
        file.offset += 1024
    (file,) = found(["a.tar"])
    members = DocumentSource("a.tar")
    list(members.batches())
    assert copy_without(file, [0], Path("copy.tar"), members=members.members_of(0))
    for name, names in (("a.tar", ["first.txt", "new.bin", "old.bin"]), ("copy.tar", ["new.bin", "old.bin"])):
        with tarfile.open(name) as opened:
            assert opened.getnames() == names
            assert [opened.extractfile(info).read() for info in opened.getmembers()[-2:]] == [content] * 2
    with tarfile.open("copy.tar") as opened:
        assert not any(info.issparse() for info in opened)


def test_an_archive_that_has_changed():
    archive("a.tar")
    (file,) = found(["a.tar"])
    members = [Member(first, f"a.tar!{path}", is_text) for path, first, is_text in MEMBERS]
    for others in (members[1:], members[:2], [*members, Member(9, "a.tar!new", True)]):
        with pytest.raises(DocumentError, match=r"a\.tar has .* it has changed"):
            copy_without(file, [others[0].first, others[-1].first], Path("copy"), members=others)


def test_an_archive_that_is_damaged():
    archive("a.tar")
    content = Path("a.tar").read_bytes()
    # The end of the archive is missing, from the middle of a compressed member on.
    Path("a.tar").write_bytes(content[: content.index(b"\x1f\x8b\x08") + 20])
    (file,) = found(["a.tar"])
    members = [Member(first, f"a.tar!{path}", is_text) for path, first, is_text in MEMBERS[:3]]
    assert copy_without(file, [1], Path("copy"), members=members) is False
    with tarfile.open("copy") as copy:
        assert copy.getnames() == ["folder", "folder/a.txt", "folder/b.jsonl", ".hidden.txt", "hard", "soft"]
        assert copy.extractfile("folder/b.jsonl").read() == b'ruin\n{"text": "three"}\n'
