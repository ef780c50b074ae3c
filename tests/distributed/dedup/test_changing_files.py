"""Test files that change between the two readings: they are named, and never lead to a wrong group."""

import gzip
import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from mergesketch.distributed import DocumentSource, communicator, deduplicate
from mergesketch.distributed.__main__ import main
from mergesketch.distributed.documents.in_memory import DocumentsInMemory
from mergesketch.errors import DocumentError
from night import NUMBERS_OF_RANKS
from ranks import Ranks, needs_mpi

CHANGED = "changed while it was read"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("d")


def near(i, n=4) -> list[str]:
    """Return n different documents, each pair of which is near."""
    words = [f"w{i}x{k}" for k in range(100)]
    return [" ".join([*words, f"end{j}"]) for j in range(n)]


def lines(texts) -> str:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


class Changing(DocumentSource):
    """A source whose files are changed by `change` before they are read again."""

    change = staticmethod(lambda: None)

    def read_again(self, ids=None):
        self.change()
        yield from super().read_again(ids)


def groups(change, monkeypatch, how=None, **options):
    """Return the names of the documents in groups, and what was skipped."""
    monkeypatch.setattr(Changing, "change", staticmethod(change))
    source = Changing("d", **options)
    result = deduplicate(source, **(how or {}))
    summary = source.finish()
    names = source.name_of(result.members)
    bounds = result.offsets.tolist()
    found = [names[a:b] for a, b in pairwise(bounds)]
    assert len(result.pairs) == len(result.pair_similarity) and (result.pair_similarity >= 0.7).all()
    return found, summary


def write_four():
    """Write two pairs of near-duplicates, and an exact copy of the first of each pair."""
    for i in range(2):
        first, second = near(i, 2)
        Path(f"d/{i}a").write_text(first)
        Path(f"d/{i}b").write_text(second)
        Path(f"d/{i}c").write_text(first)


def test_nothing_changes(monkeypatch):
    write_four()
    found, summary = groups(lambda: None, monkeypatch)
    assert found == [[(f"d/{i}{k}", None) for k in "abc"] for i in range(2)]
    assert (summary.n_documents, summary.n_skipped, summary.skipped) == (6, 0, [])


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("shorter", lambda: Path("d/0b").write_text("few words")),
        ("of equal length", lambda: Path("d/0b").write_text(Path("d/0b").read_text().replace("w", "v"))),
        ("longer", lambda: Path("d/0b").write_text(Path("d/0b").read_text() * 2)),
        ("one word", lambda: Path("d/0b").write_text(Path("d/0b").read_text().replace("end1", "end9"))),
        ("empty", lambda: Path("d/0b").write_text("")),
        ("not UTF-8", lambda: Path("d/0b").write_bytes(b"\xff" * 100)),
        ("gone", lambda: os.remove("d/0b")),
        ("a copy of another", lambda: Path("d/0b").write_text(Path("d/1a").read_text())),
    ],
)
@pytest.mark.parametrize("batch_bytes", [1, 16 << 20])
def test_a_text_file_changes(what, change, batch_bytes, monkeypatch):
    """Its pairs are dropped; its exact copies at the first reading, and all other files, are grouped."""
    write_four()
    found, summary = groups(change, monkeypatch, batch_bytes=batch_bytes)
    assert found == [[("d/0a", None), ("d/0c", None)], [(f"d/1{k}", None) for k in "abc"]], what
    assert summary.skipped == [("d/0b", CHANGED)]
    assert (summary.n_documents, summary.n_skipped) == (6, 1)


def test_strict_stops(monkeypatch):
    write_four()
    with pytest.raises(DocumentError, match=r"d/0b: changed while it was read \(strict\)"):
        groups(lambda: Path("d/0b").write_text("few words"), monkeypatch, strict=True)
    write_four()
    with pytest.raises(DocumentError, match=r"d/0b: No such file or directory \(strict\)"):
        groups(lambda: os.remove("d/0b"), monkeypatch, strict=True)


def test_a_file_that_no_other_is_near_is_not_read_again(monkeypatch):
    write_four()
    Path("d/alone").write_text("a text that has nothing in common with any of the other texts")
    found, summary = groups(lambda: os.remove("d/alone"), monkeypatch, strict=True)
    assert [len(group) for group in found] == [3, 3]
    assert summary.n_documents == 7 and not summary.skipped


def test_files_that_were_written_again_with_the_same_contents(monkeypatch):
    def write_again():
        for path in Path("d").iterdir():
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)

    write_four()
    found, summary = groups(write_again, monkeypatch)
    assert [len(group) for group in found] == [3, 3] and summary.n_skipped == 0


@pytest.mark.parametrize("name", ["d/a.jsonl", "d/a.jsonl.gz"])
@pytest.mark.parametrize("chunk_bytes", [300, 16 << 20])
def test_a_log_that_grows_keeps_its_first_records(name, chunk_bytes, monkeypatch):
    texts = [text for i in range(3) for text in near(i, 2)]

    def write(content):
        Path(name).write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())

    write(lines(texts))
    found, summary = groups(lambda: write(lines(texts + near(9))), monkeypatch, chunk_bytes=chunk_bytes)
    assert found == [[(name, 2 * i + 1), (name, 2 * i + 2)] for i in range(3)]
    assert summary.skipped == []


@pytest.mark.parametrize("chunk_bytes", [300, 16 << 20])
def test_a_line_is_put_before_the_others(chunk_bytes, monkeypatch):
    """No record is compared under the number of another one, and the file is named once.

    In a file that is cut into ranges, records that still begin in their ranges are found as they were.
    """
    texts = [text for i in range(3) for text in near(i, 2)]
    Path("d/a.jsonl").write_text(lines(texts))
    Path("d/b.jsonl").write_text(lines(near(9, 2)))

    def change():
        Path("d/a.jsonl").write_text(lines(["a new line of text", *texts]))

    found, summary = groups(change, monkeypatch, chunk_bytes=chunk_bytes)
    kept = [1, 2] if chunk_bytes == 300 else []
    expected = [[("d/a.jsonl", 2 * i + 1), ("d/a.jsonl", 2 * i + 2)] for i in kept]
    assert found == [*expected, [("d/b.jsonl", 1), ("d/b.jsonl", 2)]]
    assert (summary.skipped, summary.n_skipped) == ([("d/a.jsonl", CHANGED)], 1)


@pytest.mark.parametrize("what", ["other rows", "fewer row groups", "other columns", "numbers", "no Parquet"])
def test_a_parquet_file_changes(what, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    def write(texts, name="text"):
        pq.write_table(pa.table({name: texts}), "d/a.parquet", row_group_size=2)

    def change():
        if what == "other rows":
            write(texts[:2] + texts[:1:-1])
        elif what == "fewer row groups":
            write(texts[:2])
        elif what == "other columns":
            write(texts, "body")
        elif what == "numbers":
            write(list(range(6)))
        else:
            Path("d/a.parquet").write_text("no Parquet")

    texts = [text for i in range(3) for text in near(i, 2)]
    write(texts)
    Path("d/b.jsonl").write_text(lines(near(9, 2)))
    found, summary = groups(change, monkeypatch)
    kept = {"other rows": [0], "fewer row groups": [0]}.get(what, [])
    # Rows that have changed places are other documents under their ids.
    expected = [[("d/a.parquet", 2 * i + 1), ("d/a.parquet", 2 * i + 2)] for i in kept]
    assert found == [*expected, [("d/b.jsonl", 1), ("d/b.jsonl", 2)]]
    assert summary.skipped == [("d/a.parquet", CHANGED)]


def test_the_command_names_the_file(monkeypatch, capsys):
    write_four()
    before = DocumentSource.read_again

    def changed(self, ids=None):
        Path("d/1b").write_text("few words")
        yield from before(self, ids)

    monkeypatch.setattr(DocumentSource, "read_again", changed)
    assert main(["dedup", "d", "-o", "groups.jsonl"]) == 0
    assert f"skipped          1\n    d/1b: {CHANGED}\n" in capsys.readouterr().out
    sizes = [json.loads(line)["size"] for line in Path("groups.jsonl").read_text().splitlines()]
    assert sizes == [3, 2]


def test_any_other_source_must_give_the_same():
    class Source:
        """A source of two near-duplicates, of which the second reading has only one."""

        n = 0

        def batches(self):
            self.n += 1
            texts = near(0, 2)[: 3 - self.n]
            return DocumentsInMemory(texts, communicator()).batches()

    with pytest.raises(RuntimeError, match="must give the same batches"):
        deduplicate(Source())


@pytest.mark.parametrize(
    "how", [{}, {"grouping": "star"}, {"pairs": "all"}, {"grouping": "star", "keep": "last"}]
)
def test_changes_in_a_large_bucket(how, monkeypatch):
    """Documents of a bucket that is compared as a whole are dropped too, also if several have changed."""
    for k, text in enumerate(near(0, 100)):
        Path(f"d/{k:02}").write_text(text)

    def change():
        for k in (0, 1, 50, 99):
            os.remove(f"d/{k:02}")

    found, summary = groups(change, monkeypatch, how)
    assert found == [[(f"d/{k:02}", None) for k in range(100) if k not in (0, 1, 50, 99)]]
    assert summary.skipped == [(f"d/{k:02}", CHANGED) for k in (0, 1, 50, 99)]


RANKS = """
import os, sys
from pathlib import Path
from mergesketch.distributed import Communicator, DocumentSource, communicator, deduplicate

class Changing(DocumentSource):
    def read_again(self, ids=None):
        if os.path.exists("d/0b"):
            try:
                os.remove("d/0b")
            except FileNotFoundError:
                pass
        Path("d/1b").write_text("few words")
        yield from super().read_again(ids)

os.chdir(sys.argv[1])
comm = communicator()
source = Changing("d", comm=comm, chunk_bytes=500)
result = deduplicate(source, comm=comm)
summary = source.finish()
if comm.rank == 0:
    print(source.name_of(result.members), result.offsets.tolist(), summary.skipped, summary.n_skipped)
"""


@needs_mpi
def test_changes_over_ranks(ranks: Ranks, tmp_path):
    told = set()
    for n_ranks in NUMBERS_OF_RANKS:
        write_four()
        Path("d/z.jsonl").write_text(lines(near(7, 8)))
        ran = ranks.run(n_ranks, RANKS, str(tmp_path))
        assert ran.returncode == 0, ran.stderr
        told.add(ran.stdout[0])
    assert len(told) == 1
    (line,) = told
    assert f"[('d/0b', '{CHANGED}'), ('d/1b', '{CHANGED}')] 2" in line
    assert "('d/0a', None), ('d/0c', None), ('d/1a', None), ('d/1c', None), ('d/z.jsonl', 1)" in line
    assert "[0, 2, 4, 12]" in line


def test_a_pair_with_one_changed_document_is_dropped_on_either_side(monkeypatch):
    """The smaller id or the larger one may be the changed one; the others of the group stay together."""
    for k, text in enumerate(near(0, 5)):
        Path(f"d/{k}").write_text(text)
    for k in range(5):
        content = Path(f"d/{k}").read_text()
        found, summary = groups(lambda k=k: os.remove(f"d/{k}"), monkeypatch)
        assert found == [[(f"d/{j}", None) for j in range(5) if j != k]]
        assert summary.skipped == [(f"d/{k}", CHANGED)]
        Path(f"d/{k}").write_text(content)
    assert np.array_equal(sorted(os.listdir("d")), list("01234"))
