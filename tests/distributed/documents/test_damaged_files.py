"""Test that one damaged file, or one that lacks the field, is skipped and named while the others are read."""

import bz2
import gzip
import json
import lzma
import os
from itertools import pairwise
from pathlib import Path

import pytest
from mergesketch.distributed import DocumentSource, deduplicate
from mergesketch.distributed.__main__ import main
from mergesketch.errors import DistributedError, DocumentError
from night import NUMBERS_OF_RANKS
from ranks import Ranks, needs_mpi

TEXTS = [f"text number {i} of a few words" for i in range(3)]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("d")


def lines(records) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def good():
    """Write a file whose texts can be read, behind all others."""
    Path("d/z.jsonl").write_text(lines([{"text": text} for text in TEXTS]))


def read(paths="d", **options):
    """Return the texts with their names, and the skipped files with their reasons."""
    source = DocumentSource(paths, **options)
    found = []
    for batch in source.batches():
        bounds = batch.offsets.tolist()
        texts = [bytes(batch.data[a:b]) for a, b in pairwise(bounds)]
        found += zip(batch.ids.tolist(), texts, strict=True)
    summary = source.finish()
    assert summary.n_documents == len(found)
    names = source.name_of([document for document, _ in found])
    return dict(zip(names, (text.decode() for _, text in found), strict=True)), summary


GOOD = {("d/z.jsonl", i + 1): text for i, text in enumerate(TEXTS)}


def write_parquet(name, columns, **options):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), name, **options)


def wrong_field():
    Path("d/a.jsonl").write_text(lines([{"title": "x", "body": "y"}] * 3))


def wrong_field_compressed():
    Path("d/a.jsonl").write_bytes(gzip.compress(lines([{"title": "x"}]).encode()))
    os.rename("d/a.jsonl", "d/a.jsonl.gz")


def no_column():
    write_parquet("d/a.parquet", {"title": ["x"], "n": [1]})


def wrong_type():
    write_parquet("d/a.parquet", {"text": [1, 2, 3]})


def lists():
    write_parquet("d/a.parquet", {"text": [["x"], ["y"]]})


def no_parquet():
    Path("d/a.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")


def cut_parquet():
    write_parquet("d/a.parquet", {"text": TEXTS})
    content = Path("d/a.parquet").read_bytes()
    Path("d/a.parquet").write_bytes(content[: len(content) // 2])


REFUSED = [
    (wrong_field, "d/a.jsonl", "no field 'text' in its first records; they have 'title', 'body'"),
    (wrong_field_compressed, "d/a.jsonl.gz", "no field 'text' in its first records; they have 'title'"),
    (no_column, "d/a.parquet", "no column 'text'; it has 'title', 'n'"),
    (wrong_type, "d/a.parquet", "the column 'text' holds int64, not text"),
    (lists, "d/a.parquet", "the column 'text' holds list<element: string>, not text"),
    (no_parquet, "d/a.parquet", "damaged: "),
    (cut_parquet, "d/a.parquet", "damaged: "),
]


@pytest.mark.parametrize(("make", "name", "reason"), REFUSED)
def test_a_file_that_is_refused(make, name, reason):
    """It is skipped and named beside others, an error with `strict`, and an error if it is alone."""
    make()
    good()
    found, summary = read()
    assert found == GOOD
    ((skipped, why),) = summary.skipped
    assert skipped == name and why.startswith(reason) and summary.n_skipped == 1
    with pytest.raises(DocumentError, match=name):
        DocumentSource("d", strict=True)
    os.remove("d/z.jsonl")
    with pytest.raises(DocumentError, match=name) as alone:
        DocumentSource("d")
    assert reason.removeprefix("damaged: ").partition(" holds ")[2] in str(alone.value)


def test_the_ids_of_other_files_stay(monkeypatch):
    """A refused file has no documents, so the others are numbered as if it were not there."""
    good()
    before = read()[0]
    expected = deduplicate(DocumentSource("d"))
    wrong_field()
    wrong_type()
    assert read()[0] == before
    after = deduplicate(DocumentSource("d"))
    assert after.members.tolist() == expected.members.tolist()


def test_files_of_which_none_can_be_read():
    """The error names the first file and its reason."""
    wrong_field()
    Path("d/b.jsonl").write_text(lines([{"other": 1}]))
    with pytest.raises(DocumentError, match=r"^d/a.jsonl has no field 'text' in its first records"):
        DocumentSource("d")
    with pytest.raises(DocumentError, match=r"^d/b.jsonl has no field 'text' in its first records"):
        DocumentSource(["d/b.jsonl", "d/a.jsonl"])


def test_a_column_of_nulls_alone():
    pa = pytest.importorskip("pyarrow")
    write_parquet("d/a.parquet", {"text": pa.nulls(2)})
    write_parquet("d/b.parquet", {"text": pa.array([None, None], pa.string())})
    good()
    found, summary = read()
    assert found == GOOD
    assert summary.skipped == [(f"d/{name}.parquet:{row}", "null") for name in "ab" for row in (1, 2)]


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_row_group_that_is_damaged(damaged):
    """Its rows up to the damage may be read, its rest is named, and other row groups are read."""
    texts = [f"row {i} {os.urandom(30).hex()}" for i in range(300)]
    write_parquet(
        "d/a.parquet",
        {"text": texts},
        row_group_size=100,
        use_dictionary=False,
        compression="none",
        write_page_checksum=True,
    )
    import pyarrow.parquet as pq

    column = pq.ParquetFile("d/a.parquet").metadata.row_group(damaged).column(0)
    content = bytearray(Path("d/a.parquet").read_bytes())
    place = column.data_page_offset + column.total_compressed_size // 2
    content[place : place + 20] = bytes(20)
    Path("d/a.parquet").write_bytes(content)
    good()
    found, summary = read()
    whole = {("d/a.parquet", i + 1): text for i, text in enumerate(texts) if i // 100 != damaged}
    assert found == whole | GOOD
    ((name, reason),) = summary.skipped
    assert name == ("d/a.parquet" if damaged == 0 else f"d/a.parquet:{100 * damaged + 1}")
    assert reason.startswith("damaged: ")
    assert ("rest of the row group" in reason) == (damaged > 0)
    with pytest.raises(DocumentError, match=r"d/a.parquet.*: damaged: .* \(strict\)"):
        read(strict=True)


def test_rows_before_a_damaged_page_are_read(monkeypatch):
    """A row group is read in pieces, and only the rest from the damaged piece on is lost."""
    monkeypatch.setattr("mergesketch.distributed.documents.parquet.PIECE", 1 << 12)
    texts = [f"row {i} {os.urandom(30).hex()}" for i in range(2000)]
    write_parquet(
        "d/a.parquet",
        {"text": texts},
        use_dictionary=False,
        compression="none",
        data_page_size=4096,
        write_page_checksum=True,
    )
    content = bytearray(Path("d/a.parquet").read_bytes())
    place = content.index(texts[1500].encode())
    content[place : place + 8] = bytes(8)
    Path("d/a.parquet").write_bytes(content)
    found, summary = read()
    n = len(found)
    assert 1000 < n < 1500
    assert list(found.values()) == texts[:n]
    ((name, reason),) = summary.skipped
    assert name == f"d/a.parquet:{n + 1}" and reason.endswith("(the rest of the row group is skipped)")


def test_the_command_names_them(capsys):
    wrong_field()
    wrong_type()
    Path("d/z.jsonl").write_text(lines([{"text": TEXTS[0]}] * 2))
    assert main(["dedup", "d", "-o", "groups.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "skipped          2\n" in out
    assert "    d/a.jsonl: no field 'text' in its first records; they have 'title', 'body'\n" in out
    assert "    d/a.parquet: the column 'text' holds int64, not text\n" in out
    assert json.loads(Path("groups.jsonl").read_text())["size"] == 2
    assert main(["dedup", "d", "--strict"]) == 2
    # A damaged file is never overwritten as an output either.
    assert main(["dedup", "d", "-o", "d/a.jsonl"]) == 2
    assert capsys.readouterr().err.endswith("cannot write d/a.jsonl: it is one of the files to read\n")


# -- bytes behind the end of compressed data ------------------------------------------------------

COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
CODEC = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz"}


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("last", [b"", b"\n"])
@pytest.mark.parametrize(
    "behind", [b"", bytes(4), bytes(100_000), b"garbage", bytes(12) + b"garbage", b"PK\x03\x04" * 50_000]
)
def test_bytes_behind_the_end_lose_nothing(ending, last, behind):
    """All lines and texts are read, also the last line without an end; what is no padding is named once."""
    content = lines([{"text": text} for text in TEXTS]).encode().rstrip(b"\n") + last
    compress = COMPRESS[ending]
    Path(f"d/a.jsonl{ending}").write_bytes(compress(content[:50]) + compress(content[50:]) + behind)
    Path(f"d/b.txt{ending}").write_bytes(compress(b"a text") + behind)
    found, summary = read()
    expected: dict = {(f"d/a.jsonl{ending}", i + 1): text for i, text in enumerate(TEXTS)}
    assert found == expected | {(f"d/b.txt{ending}", None): "a text"}
    reason = f"other bytes follow the end of the {CODEC[ending]} data, and are left out"
    named = [(f"d/{name}{ending}", reason) for name in ("a.jsonl", "b.txt")]
    assert summary.skipped == (named if behind.strip(b"\0") else [])
    if behind.strip(b"\0"):
        with pytest.raises(DocumentError, match=rf"d/a.jsonl{ending}: other bytes follow .* \(strict\)"):
            read(strict=True)


def test_bytes_behind_a_compressed_parquet_file():
    write_parquet("a.parquet", {"text": TEXTS})
    Path("d/a.parquet.gz").write_bytes(gzip.compress(Path("a.parquet").read_bytes()) + b"garbage")
    found, summary = read()
    assert list(found.values()) == TEXTS
    reason = "other bytes follow the end of the gzip data, and are left out"
    assert summary.skipped == [("d/a.parquet.gz", reason)]


def test_a_member_that_is_cut_off():
    """Texts decoded before the damage are given out, and the rest is named as damaged."""
    whole = gzip.compress(lines([{"text": text} for text in TEXTS]).encode())
    Path("d/a.jsonl.gz").write_bytes(whole + whole[: len(whole) // 2])
    found, summary = read()
    assert list(found.values())[:3] == TEXTS
    ((name, reason),) = summary.skipped
    assert name == f"d/a.jsonl.gz:{len(found) + 1}" and reason.startswith("damaged: ")


def test_bytes_behind_the_end_of_keys(capsys):
    Path("keys.txt.gz").write_bytes(gzip.compress(b"a\nb\na") + b"garbage")
    assert main(["count", "keys.txt.gz", "--ask", "a"]) == 0
    out = capsys.readouterr().out
    assert "keys.txt.gz: other bytes follow the end of the gzip data, and are left out (1)" in out
    assert "keys             3, " in out
    assert main(["count", "keys.txt.gz", "--strict"]) == 2


# -- ranks ----------------------------------------------------------------------------------------

RANKS = """
import os, sys
from mergesketch.distributed import DocumentSource, communicator, deduplicate

os.chdir(sys.argv[1])
comm = communicator()
source = DocumentSource("d", comm=comm)
result = deduplicate(source, comm=comm)
summary = source.finish()
if comm.rank == 0:
    print(source.name_of(result.members), result.offsets.tolist(), summary)
os.remove("d/z.jsonl") if comm.rank == 0 else None
comm.barrier()
try:
    DocumentSource("d", comm=comm)
except Exception as error:
    print(type(error).__name__, error)
try:
    DocumentSource("d", comm=comm, batch_bytes=0 if comm.rank == 0 else 1)
except Exception as error:
    print(type(error).__name__, error)
"""


@needs_mpi
def test_damaged_files_over_ranks(ranks: Ranks, tmp_path):
    told = set()
    wrong_field()
    no_parquet()
    Path("d/b.jsonl").write_text(lines([{"other": 1}]))
    for n_ranks in NUMBERS_OF_RANKS:
        Path("d/z.jsonl").write_text(lines([{"text": text} for text in [*TEXTS, *TEXTS]]))
        ran = ranks.run(n_ranks, RANKS, str(tmp_path))
        assert ran.returncode == 0, ran.stderr
        first, *rest = ran.stdout[0].splitlines()
        told.add(first)
        kind = "FileError" if n_ranks == 1 else DistributedError.__name__
        assert rest[0].startswith(kind) and "d/a.jsonl has no field 'text'" in rest[0]
        assert rest[1].endswith("batch_bytes must be an integer of at least 1, got 0")
        assert all(out.splitlines() == rest for out in ran.stdout[1:])
    (line,) = told
    assert "[0, 2, 4, 6]" in line and "n_skipped=3" in line
