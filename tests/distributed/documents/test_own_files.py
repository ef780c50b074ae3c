"""Test that results of this package in a folder are recognised, and not read as documents."""

import gzip
import json
import os
from pathlib import Path

import pytest
from mergesketch import CountMinSketch
from mergesketch.distributed import DocumentSource
from mergesketch.distributed.__main__ import main
from mergesketch.distributed.documents.own_files import own_output
from mergesketch.errors import DocumentError
from night import NUMBERS_OF_RANKS
from ranks import Ranks, needs_mpi

GROUPS = "groups that mergesketch dedup has written"
REMOVED = "removed documents that mergesketch dedup has written"
SKETCH = "a file of a sketch"
#: Two texts and a copy of each.
TEXTS = ["one two three four five six seven", "other words stand in this short text"] * 2


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("d")
    for i, text in enumerate(TEXTS):
        Path(f"d/{i}.txt").write_text(text)


def names(**options):
    source = DocumentSource("d", **options)
    for _ in source.batches():
        pass
    summary = source.finish()
    return source.files, summary


@pytest.mark.parametrize("name", ["groups.jsonl", "old", "x.json", "x.txt", "groups.jsonl.gz", "x.txt.xz"])
def test_groups_of_an_earlier_run_by_any_name(name, capsys):
    assert main(["dedup", "d", "-o", f"d/{name}"]) == 0
    files, summary = names()
    assert files == [f"d/{i}.txt" for i in range(4)]
    assert summary.skipped == [(f"d/{name}", GROUPS)] and summary.n_documents == 4
    # A later run with another output gives the same, and names what it has left out.
    first = Path(f"d/{name}").read_bytes()
    capsys.readouterr()
    assert main(["dedup", "d", "-o", "new.jsonl", "--strict"]) == 0
    assert f"    d/{name}: {GROUPS}\n" in capsys.readouterr().out
    assert main(["dedup", "d", "-o", f"d/{name}"]) == 0
    assert Path(f"d/{name}").read_bytes() == first


def test_many_members_in_the_first_group():
    """The first line may be longer than what is looked at."""
    for i in range(1500):
        Path(f"d/a file with a long name and the number {i}.txt").write_text(TEXTS[0])
    assert main(["dedup", "d", "-o", "d/groups.txt"]) == 0
    assert Path("d/groups.txt").stat().st_size > 1 << 16
    files, summary = names()
    assert len(files) == 1504 and summary.skipped == [("d/groups.txt", GROUPS)]


def test_removed_documents_and_sketches():
    kept = {"path": "d/0.txt", "line": None}
    record = {"path": "d/2.txt", "line": None, "kept": kept, "similarity": 1.0, "reason": "copy"}
    Path("d/removed.jsonl").write_text(json.dumps(record) + "\n")
    CountMinSketch(n_rows=2, n_buckets=10).save("d/corpus.state")
    files, summary = names(strict=True)
    assert files == [f"d/{i}.txt" for i in range(4)]
    assert summary.skipped == [("d/corpus.state", SKETCH), ("d/removed.jsonl", REMOVED)]


@pytest.mark.parametrize(
    "record",
    [
        {"text": "a", "group": 0, "size": 2, "documents": []},
        {"group": 0, "size": 2, "text": "a"},
        {"group": "0", "size": 2, "documents": [{"path": "a"}], "text": "a"},
        {"path": "a", "reason": "copy", "text": "a"},
        {"text": '{"group": 0, "size": 2, "documents": [{"path": "a"}]}'},
    ],
)
def test_what_only_looks_like_a_result_is_read(record):
    line = json.dumps(record)
    assert own_output(line.encode()) == ""
    Path("d/a.jsonl").write_text(line + "\n")
    _, summary = names()
    assert (summary.n_documents, summary.n_skipped) == (5, 0)


def test_a_format_that_is_said_is_believed():
    assert main(["dedup", "d", "-o", "d/groups.txt"]) == 0
    files, summary = names(format="text")
    assert "d/groups.txt" in files and summary.n_skipped == 0


def test_a_folder_of_results_alone(capsys):
    assert main(["dedup", "d", "-o", "groups.jsonl"]) == 0
    for i in range(4):
        os.remove(f"d/{i}.txt")
    os.rename("groups.jsonl", "d/groups.jsonl")
    capsys.readouterr()
    assert main(["dedup", "d"]) == 2
    message = f"mergesketch: error: no document could be read (1 skipped; d/groups.jsonl: {GROUPS})\n"
    assert capsys.readouterr().err == message


def test_an_archive_with_results():
    import tarfile

    assert main(["dedup", "d", "-o", "d/groups.jsonl"]) == 0
    with tarfile.open("a.tar", "w") as archive:
        archive.add("d")
    source = DocumentSource("a.tar")
    assert sum(len(batch.ids) for batch in source.batches()) == 4
    assert source.finish().skipped == [("a.tar!d/groups.jsonl", GROUPS)]


def test_a_compressed_result_that_is_cut_off_is_damaged():
    content = gzip.compress(b"x" * 10)
    Path("d/a.gz").write_bytes(content[:12])
    with pytest.raises(DocumentError, match=r"d/a.gz: damaged"):
        names(strict=True)


RANKS = """
import os, sys
from mergesketch.distributed import DocumentSource, communicator, deduplicate

os.chdir(sys.argv[1])
comm = communicator()
source = DocumentSource("d", comm=comm, leave_out=["d/3.txt"])
result = deduplicate(source, comm=comm)
summary = source.finish()
if comm.rank == 0:
    print(source.name_of(result.members), summary)
"""


@needs_mpi
def test_results_over_ranks(ranks: Ranks, tmp_path):
    assert main(["dedup", "d", "-o", "d/a.jsonl"]) == 0
    os.link("d/2.txt", "d/hard")
    told = set()
    for n_ranks in NUMBERS_OF_RANKS:
        ran = ranks.run(n_ranks, RANKS, str(tmp_path))
        assert ran.returncode == 0, ran.stderr
        told.add(ran.stdout[0])
    (line,) = told
    assert line.startswith("[('d/0.txt', None), ('d/2.txt', None)] ")
    assert f"n_documents=3, n_skipped=1, skipped=[('d/a.jsonl', '{GROUPS}')]" in line


def test_lists_and_reports_of_a_cleaning_are_recognised():
    """All that one run writes into the input folder is left out by the next run, which replaces it."""
    outputs = ["-o", "d/a.jsonl", "--removed", "d/b.txt", "--report", "d/c.html"]
    for _ in range(2):
        assert main(["dedup", "d", *outputs, "--strict"]) == 0
    files, summary = names(strict=True)
    assert files == [f"d/{i}.txt" for i in range(4)]
    reasons = [GROUPS, REMOVED, "a report that mergesketch dedup has written"]
    assert summary.skipped == list(zip(["d/a.jsonl", "d/b.txt", "d/c.html"], reasons, strict=True))


def test_a_cleaned_corpus_beside_damaged_files_and_results():
    """Results are not copied, and a file that could not be read is named."""
    assert main(["dedup", "d", "-o", "d/groups.jsonl"]) == 0
    Path("d/bad.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    Path("d/other.jsonl").write_text('{"title": "x"}\n')
    assert main(["dedup", "d", "--clean", "clean"]) == 0
    assert {"0.txt", "1.txt"} <= set(os.listdir("clean"))
    assert not {"2.txt", "3.txt", "groups.jsonl"} & set(os.listdir("clean"))
