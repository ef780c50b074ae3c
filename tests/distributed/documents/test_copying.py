"""Test that files are copied without some records, and that all other records keep their bytes."""

import gzip
import itertools
from pathlib import Path

import mergesketch.distributed.documents.parquet_copy as parquet_module
import mergesketch.distributed.documents.record_copy as record_module
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed.documents.copying import copy_without
from mergesketch.distributed.documents.formats import detect
from mergesketch.distributed.documents.listing import list_files
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
    return b"".join(line for number, line in enumerate(ended) if number not in removed)


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
    assert copied("a.jsonl", [0]) == content[content.index(b"\n") + 1 :]
    assert copied("a.jsonl", [0, 1, 2, 3, 4]) == b""


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


def test_parquet_that_has_changed(pq):
    pq.write_table(table(10), "p.parquet")
    (file,) = found(["p.parquet"])
    with pytest.raises(DocumentError, match=r"p\.parquet has no row 12 any more: it has changed"):
        copy_without(file, [3, 11], Path("copy"))
    Path("p.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(DocumentError, match=r"cannot read the Parquet file p\.parquet"):
        copy_without(file, [3], Path("copy"))
