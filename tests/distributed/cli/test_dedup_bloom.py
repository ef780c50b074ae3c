"""Test `mergesketch dedup --memory bloom`: one pass, saved states, and refusals."""

import json
import os
from pathlib import Path

import mergesketch
import pytest
from mergesketch import StreamingDeduplicator
from mergesketch.distributed.__main__ import main
from ranks import needs_mpi

WORDS = [f"word{i}" for i in range(3000)]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Run the command in this process; return its exit code and what it printed."""

    def run(*arguments):
        try:
            code = main(["dedup", *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def fails(run):
    def fails(*arguments):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "") and err.count("\n") == 1, err
        return err.removeprefix("mergesketch: error: ").rstrip()

    return fails


def text(i, changed=None):
    words = WORDS[100 * i : 100 * (i + 1)]
    return " ".join(words if changed is None else [*words[:changed], "changed", *words[changed + 1 :]])


@pytest.fixture
def days():
    """Write the files of two days."""
    os.makedirs("monday/sub")
    Path("monday/a.txt").write_text(text(0))
    rows = [text(1), text(2), text(1, 5), "", text(0, 90)]
    Path("monday/b.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    Path("monday/sub/c.txt").write_text(text(3))
    Path("monday/sub/latin1.txt").write_bytes("caf\u00e9 au lait".encode("latin-1"))
    os.mkdir("tuesday")
    Path("tuesday/d.txt").write_text(text(2, 50))
    Path("tuesday/e.txt").write_text(text(4))
    Path("tuesday/f.txt").write_text(text(4, 1))


def duplicates(path):
    return [tuple(json.loads(line).values()) for line in Path(path).read_text().splitlines()]


def test_later_documents_are_duplicates(run, days):
    code, out, err = run("monday", "--memory", "bloom", "-o", "seen.jsonl", "--top", 1)
    assert (code, err) == (0, "")
    assert duplicates("seen.jsonl") == [("monday/b.jsonl", 3), ("monday/b.jsonl", 5)]
    assert out.startswith("First of 2 duplicates:\n    monday/b.jsonl:3\n\ndocuments        8, ")
    assert "duplicates       2 documents that resemble an earlier document, unverified\n" in out
    assert "empty            1 document without a word or symbol, no duplicates\n" in out
    assert "bad bytes        1 document with bytes that are not UTF-8, which separate words\n" in out
    assert "filters          80.6 MB, false positive rate " in out
    assert "skipped          0\n" in out


def test_duplicates_as_parquet(run, days):
    pq = pytest.importorskip("pyarrow.parquet")
    os.rename("monday/b.jsonl", os.fsdecode(b"monday/b\xff.jsonl"))
    Path("monday/z.txt").write_text(text(0))
    assert run("monday", "--memory", "bloom", "-o", "seen.parquet")[0] == 0
    table = pq.read_table("seen.parquet")
    assert table.schema.names == ["path", "line"] and str(table.schema.field("line").type) == "int64"
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("monday/b\\xff.jsonl", 3),
        ("monday/b\\xff.jsonl", 5),
        ("monday/z.txt", None),
    ]


def test_no_output_is_written_over_another(run, fails, days):
    settings = ("monday", "--memory", "bloom", "--capacity", 1000)
    wrong = "cannot write x: it is the file of a state"
    assert fails(*settings, "-o", "x", "--save-state", "./x") == wrong
    assert run(*settings, "--save-state", "day.sketch")[0] == 0
    state = Path("day.sketch").read_bytes()
    os.symlink("day.sketch", "link")
    wrong = "cannot write link: it is the file of a state"
    assert fails(*settings, "--against", "day.sketch", "-o", "link") == wrong
    assert Path("day.sketch").read_bytes() == state and not Path("x").exists()


def test_days_against_each_other(run, days):
    settings = ("--memory", "bloom", "--capacity", 1000, "--seed", 3)
    assert run("monday", *settings, "--save-state", "day.sketch")[0] == 0
    code, out, _ = run("tuesday", *settings, "--against", "day.sketch", "-o", "seen.jsonl")
    assert code == 0 and duplicates("seen.jsonl") == [("tuesday/d.txt", None), ("tuesday/f.txt", None)]
    assert "seen before      8 documents, from day.sketch\n" in out
    assert mergesketch.load("day.sketch").n_updates == 8
    # The state may replace the one that was read, and is that of all documents.
    assert run("tuesday", *settings, "--against", "day.sketch", "--save-state", "day.sketch")[0] == 0
    assert run("monday", "tuesday", *settings, "--save-state", "both.sketch", "-o", "both.jsonl")[0] == 0
    assert Path("day.sketch").read_bytes() == Path("both.sketch").read_bytes()
    assert duplicates("both.jsonl")[2:] == duplicates("seen.jsonl")


def test_full_filters_are_named(run):
    Path("a.jsonl").write_text("".join(json.dumps({"text": f"word{i}"}) + "\n" for i in range(300)))
    code, out, err = run("a.jsonl", "--memory", "bloom", "--capacity", 30, "--error-rate", 0.01)
    assert (code, err) == (0, "")
    assert "above the stated 0.01: 300 documents were seen, and the capacity is 30\n" in out


def test_states_of_other_settings_are_refused(fails, days):
    StreamingDeduplicator(0.7, 1000, seed=3, size=4).save("day.sketch")
    mergesketch.BloomFilter(10).save("bloom.sketch")
    against = ("tuesday", "--memory", "bloom", "--against")
    assert fails(*against, "day.sketch") == "the options and day.sketch differ in size: 5 here, 4 there"
    same = ("--shingle-size", 4, "--seed", 3)
    assert "differ in seed: 0 here, 3 there" in fails(*against, "day.sketch", *same[:2])
    assert "differ in capacity: 9 here, 1000 there" in fails(*against, "day.sketch", *same, "--capacity", 9)
    assert "expected a StreamingDeduplicator, got a BloomFilter" in fails(*against, "bloom.sketch")
    assert "cannot read missing.sketch" in fails(*against, "missing.sketch")
    Path("day.sketch").write_bytes(Path("day.sketch").read_bytes()[:-8])
    assert "day.sketch" in fails(*against, "day.sketch", *same)


def test_options_that_do_not_go_together(fails, days):
    for option, value in (("capacity", 5), ("error-rate", 0.1)):
        assert fails("monday", f"--{option}", value) == f"--{option} needs --memory bloom"
    bloom = ("monday", "--memory", "bloom")
    assert "--verify is not possible with --memory bloom" in fails(*bloom, "--verify", "exact")
    assert "it is one of the files to read" in fails(*bloom, "--save-state", "monday/a.txt")
    assert "there is no folder" in fails(*bloom, "--save-state", "nowhere/a.sketch")
    assert sorted(os.listdir()) == ["monday", "tuesday"]


@needs_mpi
@pytest.mark.slow
def test_ranks_write_the_same_bytes(run, days, ranks):
    options = ["--memory", "bloom", "--capacity", "1000", "-o", "seen.jsonl"]
    states = ["--against", "day.sketch", "--save-state", "both.sketch"]
    assert run("monday", "--memory", "bloom", "--capacity", 1000, "--save-state", "day.sketch")[0] == 0
    assert run("tuesday", "monday", *options, *states)[0] == 0
    expected = Path("seen.jsonl").read_bytes(), Path("both.sketch").read_bytes()
    for n_ranks in (2, 3):
        done = ranks.command(n_ranks, "dedup", "tuesday", "monday", *options, *states)
        assert (done.returncode, done.stderr) == (0, "")
        assert (Path("seen.jsonl").read_bytes(), Path("both.sketch").read_bytes()) == expected
        assert f"({n_ranks} ranks)" in done.stdout[0]
