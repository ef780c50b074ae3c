"""Test the standard input as a source of documents: read twice, over ranks, and when it cannot be stored."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from document_files import documents, read, write, write_lines
from mergesketch.distributed.documents.listing import list_files
from mergesketch.distributed.documents.source import DocumentSource
from mergesketch.errors import DocumentError
from ranks import mpiexec, needs_mpi

#: A hundred texts, each of them twice.
LINES = "".join(
    json.dumps({"text": " ".join(f"w{i // 2}x{j}" for j in range(15))}) + "\n" for i in range(200)
)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def given_input(monkeypatch):
    def give(content):
        content = content.encode() if isinstance(content, str) else content
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def test_its_documents_are_read_twice(given_input):
    given_input(LINES)
    source = DocumentSource("-", id_field="text")
    first = documents(source)
    summary = source.finish()
    assert source.input_bytes == summary.bytes_read == len(LINES)
    assert documents(source) == first and len(first) == 200
    assert source.name_of(list(first))[:2] == [("-", 1), ("-", 2)]
    assert source.fields_of(list(first)) == [text.decode() for text in first.values()]


@pytest.mark.parametrize(
    ("content", "form", "expected"),
    [
        ("prose", "auto", [(("-", None), b"prose")]),
        (gzip.compress(b"prose", mtime=0), "auto", [(("-", None), b"prose")]),
        ('[{"text": "a"},\n{"text": "b"}]', "auto", [(("-", 1), b"a"), (("-", 2), b"b")]),
        ("text\na\n", "csv", [(("-", 2), b"a")]),
        ('{"text": "a"}', "jsonl", [(("-", 1), b"a")]),
        ("", "auto", [(("-", None), b"")]),
    ],
)
def test_its_kind_is_found_by_the_content(content, form, expected, given_input):
    given_input(content)
    assert read("-", format=form)[0] == expected


def test_tables_and_archives(given_input):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"]}), file := io.BytesIO(), row_group_size=1)
    given_input(file.getvalue())
    assert read("-")[0] == [(("-", 1), b"a"), (("-", 2), b"b")]
    write("x.txt", "prose")
    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w") as archive:
        archive.add("x.txt")
    given_input(file.getvalue())
    assert read("-")[0] == [(("-!x.txt", None), b"prose")]


def test_it_has_its_place_in_the_list_and_counts_once(given_input):
    given_input(LINES)
    write("a.txt", "first")
    write_lines("d/b.jsonl", [{"text": "last"}])
    source = DocumentSource(["a.txt", "-", "d", "-"])
    assert source.files == ["a.txt", "-", "d/b.jsonl"]
    assert len(documents(source)) == 202
    given_input(LINES)
    Path("-").write_text("a file of this name")
    assert read("./-")[0] == [(("./-", None), b"a file of this name")]
    assert [file.path for file in list_files(["-"]).files] == ["-"]


def test_it_is_closed_or_cannot_be_stored(given_input, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DocumentError, match=r"cannot read - .the standard input.: it is closed"):
        DocumentSource("-")
    given_input(LINES)
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(
        DocumentError, match=r"cannot store - .the standard input. in /nowhere: No such file .*TMPDIR"
    ):
        DocumentSource("-")


def command(*arguments):
    return [sys.executable, "-m", "mergesketch.distributed", *arguments]


def test_a_pipe_of_the_shell():
    done = subprocess.run(
        command("dedup", "-", "-o", "groups.jsonl"), input=LINES, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert "standard input   " in done.stdout and "documents        200," in done.stdout
    groups = [json.loads(line) for line in Path("groups.jsonl").read_text().splitlines()]
    found = [(document["path"], document["line"]) for document in groups[3]["documents"]]
    assert found == [("-", 7), ("-", 8)]
    assert len(groups) == 100


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", [2, 3])
def test_rank_0_reads_it(n_ranks):
    """MPICH's mpiexec stops if more comes than a pipe takes before the processes have started."""
    write("in/a.jsonl", LINES)
    done = subprocess.run(
        [mpiexec() or "mpiexec", "-n", str(n_ranks), *command("dedup", "in", "-", "-o", "groups.jsonl")],
        input=LINES,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    groups = [json.loads(line) for line in Path("groups.jsonl").read_text().splitlines()]
    assert len(groups) == 100 and {group["size"] for group in groups} == {4}
    found = [(document["path"], document["line"]) for document in groups[0]["documents"]]
    assert found[2:4] == [("-", 1), ("-", 2)]
