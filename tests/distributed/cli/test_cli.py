"""Test the command line: its output and files, alone and over ranks, and how it ends on bad input."""

import gzip
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import mergesketch
import numpy as np
import pytest
from forged_files import header_of, with_header
from mergesketch import CountMinSketch
from mergesketch.distributed import band_parameters
from mergesketch.distributed.__main__ import main
from mergesketch.distributed.cli import dedup as cli_dedup
from mergesketch.distributed.cli import dedup_lists
from mergesketch.distributed.cli.command import parser
from mergesketch.errors import readable
from mergesketch.lsh import MinHash, shingle
from paths import ROOT
from ranks import mpiexec, needs_mpi

MPIEXEC = mpiexec() or "mpiexec"

WORDS = [f"word{i}" for i in range(2000)]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "mergesketch.distributed", *map(str, arguments)]


def mpiexec(n_ranks, *arguments, **options):
    return subprocess.run(
        [MPIEXEC, "-n", str(n_ranks), *command(*arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        **options,
    )


def write(name, content) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def fingerprint(folder) -> dict[str, tuple]:
    """Return the contents and times of all files below a folder."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture
def corpus():
    """Write families of near-duplicates in every kind of file, other documents, and bad ones."""
    rng = np.random.default_rng(3)

    def fresh(n=120):
        return list(rng.choice(WORDS, size=n))

    def near(words):
        changed = list(words)
        changed[int(rng.integers(len(words)))] = "changed"
        return changed

    first, second, third = fresh(), fresh(), fresh()
    write("in/a.txt", " ".join(first))
    write("in/sub/b.txt", " ".join(near(first)))
    write("in/sub/alone.txt", " ".join(fresh()))
    rows = [second, fresh(), near(second), near(first), fresh(30), third]
    write("in/c.jsonl", "".join(json.dumps({"text": " ".join(row)}) + "\n" for row in rows))
    write("in/d.jsonl.gz", gzip.compress(json.dumps({"text": " ".join(near(third))}).encode()))
    write("in/e.txt.gz", gzip.compress(" ".join(second).upper().encode()))
    write("in/latin1.txt", "caf\u00e9 au lait".encode("latin-1"))
    write("in/empty1.txt", "")
    write("in/empty2.txt", "  \n")
    os.symlink("nowhere", "in/dangling")
    return [
        [("in/a.txt", None), ("in/c.jsonl", 4), ("in/sub/b.txt", None)],
        [("in/c.jsonl", 1), ("in/c.jsonl", 3), ("in/e.txt.gz", None)],
        [("in/c.jsonl", 6), ("in/d.jsonl.gz", 1)],
    ]


def read_groups(path) -> list[list[tuple]]:
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert [line["group"] for line in lines] == list(range(len(lines)))
    assert all(line["size"] == len(line["documents"]) for line in lines)
    return [[(document["path"], document["line"]) for document in line["documents"]] for line in lines]


# -- dedup ----------------------------------------------------------------------------------------


def test_dedup(run, corpus):
    before = fingerprint("in")
    code, out, err = run("dedup", "in", "--output", "groups.jsonl", "--top", 2)
    assert (code, err) == (0, "")
    assert read_groups("groups.jsonl") == corpus
    assert fingerprint("in") == before, "an input was touched"
    assert "Largest of 3 groups (in in/):" in out
    assert out.count("3 documents") == 2
    assert "    a.txt\n    c.jsonl:4\n    sub/b.txt\n" in out
    summary = {line[:17].strip(): line[17:] for line in out.splitlines() if line[:1] not in (" ", "")}
    assert summary["documents"].startswith("14, ")
    assert summary["groups"] == "3, linked by pairs of similarity 0.7 or more"
    assert summary["duplicates"].startswith("5 ")
    assert summary["empty"] == "2 documents without a word or symbol, in no group"
    assert summary["bad bytes"] == "1 document with bytes that are not UTF-8, which separate words"
    assert summary["skipped"] == "1"
    assert "    in/dangling: No such file or directory\n" in out
    assert "listing" in summary["seconds"] and "writing" in summary["seconds"]
    assert re.fullmatch(r"[\d.]+ [MG]B \(1 rank\)", summary["peak memory"])
    assert sorted(os.listdir()) == ["groups.jsonl", "in"], "something was left behind"


@pytest.mark.parametrize("verify", ["signature", "none"])
def test_dedup_options(run, corpus, verify):
    arguments = ["--verify", verify, "--seed", 5, "--hashes", 256, "--unit", "character", "--shingle-size", 8]
    code, *_ = run("dedup", "in", "-o", "groups.jsonl", "--threshold", 0.6, "--threads", 2, *arguments)
    assert code == 0 and read_groups("groups.jsonl") == corpus


def test_json_lines_in_a_file_named_json(run):
    template = [f"word{i}" for i in range(300)]
    lines = "".join(json.dumps({"text": " ".join([*template, f"end{i}"])}) + "\n" for i in range(80))
    write("in/a.jsonl", lines)
    write("in/b.json", lines)
    code, out, _ = run("dedup", "in")
    assert code == 0
    assert "documents        160," in out and "skipped          0" in out


def test_equal_documents_only(run):
    write("in/a.txt", "one two three four five six")
    write("in/b.txt", "One two, three four five six")
    write("in/c.txt", "one two three four five six seven")
    assert run("dedup", "in", "-o", "groups.jsonl", "--threshold", 1)[0] == 0
    assert read_groups("groups.jsonl") == [[("in/a.txt", None), ("in/b.txt", None)]]


@pytest.mark.parametrize(
    ("option", "largest", "library"),
    [
        ("--hashes", 2**16, lambda n: band_parameters(1.0, n) if n > 2**16 else MinHash(n_hashes=n)),
        ("--shingle-size", 2**31 - 1, lambda n: shingle(["a b"], size=n)),
        ("--seed", 2**64 - 1, lambda n: MinHash(n_hashes=1, seed=n)),
    ],
)
def test_bounds_are_the_library_s(run, option, largest, library):
    """The command refuses what the library refuses, under the option's name."""
    library(largest)
    with pytest.raises(ValueError, match=f" to {largest}, got {largest + 1}"):
        library(largest + 1)
    code, _, err = run("dedup", "x", option, largest + 1)
    assert code == 2 and f"argument {option}: must be from" in err
    assert "cannot read x" in run("dedup", "x", option, largest)[2]


def test_dedup_of_chosen_files(run, corpus):
    code, out, _ = run("dedup", "in", "-o", "groups.jsonl", "--include", "*.txt", "--exclude", "sub")
    assert code == 0
    assert read_groups("groups.jsonl") == []
    assert "Largest" not in out and "groups           0" in out


def test_dedup_of_a_field(run):
    text = " ".join(WORDS[:50])
    write("a.jsonl", json.dumps({"body": text, "text": 1}) + "\n\n" + json.dumps({"body": text}) + "\n")
    code, *_ = run("dedup", "a.jsonl", "-o", "groups.jsonl", "--text-field", "body")
    assert code == 0
    assert read_groups("groups.jsonl") == [[("a.jsonl", 1), ("a.jsonl", 3)]]


def test_dedup_of_parquet(run):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    text = " ".join(WORDS[:50])
    pq.write_table(
        pa.table({"text": [text, None, "other words than those", text]}), "a.parquet", row_group_size=3
    )
    code, out, _ = run("dedup", "a.parquet", "-o", "groups.jsonl")
    assert code == 0
    assert read_groups("groups.jsonl") == [[("a.parquet", 1), ("a.parquet", 4)]]
    assert "a.parquet:2: null" in out


def test_dedup_prints_without_an_output_file(run, corpus):
    code, out, _ = run("dedup", "in")
    assert code == 0 and "Largest of 3 groups" in out and os.listdir() == ["in"]


def test_an_old_output_is_replaced(run, corpus):
    write("groups.jsonl", "old")
    os.symlink("groups.jsonl", "link")
    assert run("dedup", "in", "-o", "link")[0] == 0
    assert Path("link").is_symlink() and read_groups("groups.jsonl") == corpus


def test_names_that_cannot_be_printed(run):
    text = " ".join(WORDS[:50])
    names = [b"in/\xff\xfe.txt", b"in/new\nline.txt", b"in/\x1b[31m.txt"]
    os.mkdir("in")
    for name in names:
        with open(name, "w") as file:
            file.write(text)
    code, out, _ = run("dedup", "in", "-o", "groups.jsonl")
    assert code == 0
    assert [os.fsencode(path) for path, _ in read_groups("groups.jsonl")[0]] == sorted(names)
    assert "    \\x1b[31m.txt\n    new\\nline.txt\n    \\udcff\\udcfe.txt\n" in out


def test_readable():
    assert readable("caf\u00e9 \U0001f600") == "caf\u00e9 \U0001f600"
    assert readable("a\u202eb\r\x00") == "a\\u202eb\\r\\x00"


@needs_mpi
@pytest.mark.slow
def test_dedup_over_ranks(run, corpus, ranks):
    """Every number of ranks writes the same bytes."""
    for i in range(40):
        write(f"in/more/{i}.txt", " ".join(WORDS[i * 3 : i * 3 + 100]))
    code, alone, _ = run("dedup", "in", "-o", "groups1.jsonl", "--threads", 3)
    assert code == 0
    expected = Path("groups1.jsonl").read_bytes()
    assert len(expected) > 1000
    for n_ranks in (2, 3, 4):
        arguments = ["dedup", "in", "-o", f"groups{n_ranks}.jsonl"]
        if n_ranks == 2:
            done = mpiexec(n_ranks, *arguments)
            out = done.stdout
        else:
            done = ranks.command(n_ranks, *arguments)
            out, *others = done.stdout
            assert not any(others)
        assert (done.returncode, done.stderr) == (0, "")
        assert Path(f"groups{n_ranks}.jsonl").read_bytes() == expected
        assert f"({n_ranks} ranks)" in out
        same = [part.partition("seconds ")[0] for part in (alone, out)]
        assert same[0] == same[1]


# -- bad input ------------------------------------------------------------------------------------


def test_dedup_refuses_what_is_not_there(fails):
    os.mkdir("empty")
    assert fails("dedup", "missing") == "cannot read missing: No such file or directory"
    assert fails("dedup", "empty") == "the folder empty holds no file of documents"


def test_dedup_of_texts_in_other_encodings_and_forms(run, fails):
    text = " ".join(f"größe{i}" for i in range(40))
    write("a.txt", text.encode("cp1252"))
    write("b.txt", unicodedata.normalize("NFD", text).encode("utf-16"))
    write("c.txt", text.replace("g", "\uff47"))
    paths = ["a.txt", "b.txt", "c.txt"]
    for options, wanted in (
        ([], []),
        (["--normalize", "nfkc"], [["b.txt", "c.txt"]]),
        (["--normalize", "none"], []),
    ):
        code, out, _ = run("dedup", *paths, "--output", "groups.jsonl", *options)
        assert code == 0 and "bad bytes        1 document with bytes that are not UTF-8" in out
        assert [[path for path, _ in group] for group in read_groups("groups.jsonl")] == wanted
    assert run("dedup", "a.txt", "--encoding", "cp1252", "--output", "groups.jsonl")[0] == 0
    message = (
        "encoding must be 'auto' or the name of an encoding of text in Python, such as 'cp1252', got 'no'"
    )
    assert fails("dedup", "a.txt", "--encoding", "no") == message
    assert fails("dedup", "a.txt", "--encoding", "ascii", "--strict") == "a.txt: not ascii (strict)"


def test_dedup_of_source_code(run):
    write("a.py", "if a == b: return c")
    write("b.py", "if a  ==  b :\n    return c")
    write("c.py", "if a != b: return c")
    for unit, n in (("word", 3), ("symbol", 2)):
        assert run("dedup", "a.py", "b.py", "c.py", "--unit", unit, "--shingle-size", 2, "-o", "g")[0] == 0
        ((*group,),) = read_groups("g")
        assert len(group) == n


def test_dedup_refuses_a_wrong_field(fails):
    write("a.jsonl", '{"title": "x"}\n')
    assert "a.jsonl has no field 'text'" in fails("dedup", "a.jsonl")
    assert "they have 'title'" in fails("dedup", "a.jsonl")


def test_dedup_refuses_damaged_parquet(fails):
    pytest.importorskip("pyarrow")
    write("a.parquet", b"PAR1" + bytes(100) + b"PAR1")
    assert "cannot read the Parquet file a.parquet" in fails("dedup", "a.parquet")


def test_dedup_without_a_readable_document(fails):
    write("a/x.jsonl", "{")
    assert fails("dedup", "a") == "no document could be read (1 skipped; a/x.jsonl:1: not JSON)"


def test_strict(fails, corpus):
    assert fails("dedup", "in", "--strict") == "in/dangling: No such file or directory (strict)"
    os.remove("in/dangling")
    assert fails("dedup", "in", "--strict", "-o", "groups.jsonl") == "in/latin1.txt: not UTF-8 (strict)"
    assert os.listdir() == ["in"]


def test_dedup_refuses_an_output_before_it_works(fails, corpus, monkeypatch):
    monkeypatch.setattr(cli_dedup, "deduplicate", lambda *a, **k: pytest.fail("the work has started"))
    before = fingerprint("in")
    assert "there is no folder" in fails("dedup", "in", "-o", "nowhere/groups.jsonl")
    assert "it exists and is not a file" in fails("dedup", "in", "-o", "in")
    os.mkdir("folder")
    os.symlink("folder", "to_folder")
    assert "it exists and is not a file" in fails("dedup", "in", "-o", "to_folder")
    os.link("in/a.txt", "hard")
    os.symlink("in/a.txt", "soft")
    for same in ("in/a.txt", "./in/sub/../a.txt", "hard", "soft"):
        assert fails("dedup", "in", "-o", same) == f"cannot write {same}: it is one of the files to read"
    assert fingerprint("in") == before


def full_disk(function):
    """Run `function` while no file may exceed 50 bytes: the kernel refuses the write, as on a full disk."""

    def limited(*arguments):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
        try:
            return function(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


def test_a_full_disk(fails, corpus, monkeypatch):
    write("groups.jsonl", "old")
    monkeypatch.setattr(dedup_lists, "write_lines", full_disk(dedup_lists.write_lines))
    assert fails("dedup", "in", "-o", "groups.jsonl") == "cannot write groups.jsonl: File too large"
    assert Path("groups.jsonl").read_text() == "old"
    assert sorted(os.listdir()) == ["groups.jsonl", "in"]


def test_an_interrupt_while_writing(run, corpus, monkeypatch):
    write("groups.jsonl", "old")

    def interrupted(self):
        yield {"group": 0}
        raise KeyboardInterrupt

    monkeypatch.setattr(dedup_lists.Lists, "groups", interrupted)
    code, _, err = run("dedup", "in", "-o", "groups.jsonl")
    assert (code, err) == (130, "mergesketch: interrupted\n")
    assert Path("groups.jsonl").read_text() == "old"
    assert sorted(os.listdir()) == ["groups.jsonl", "in"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(number):
    """A process that is interrupted while it reads ends at once, without a traceback."""
    write("waits.py", WAITING)
    process = subprocess.Popen(
        [sys.executable, "waits.py", "dedup", "waits.py", "-o", "groups.jsonl"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "reading\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, "mergesketch: interrupted\n")
    assert os.listdir() == ["waits.py"]


#: The command, with a source that stops while it is read.
WAITING = """
import sys, time
from mergesketch.distributed.documents.source import DocumentSource
from mergesketch.distributed.__main__ import main

def batches(self):
    print("reading", flush=True)
    time.sleep(100)

DocumentSource.batches = batches
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["dedup"], "required: PATH"),
        (["dedup", "x", "--threshold", "0"], "must be above 0 and at most 1, got 0"),
        (["dedup", "x", "--threshold", "nan"], "must be above 0 and at most 1, got nan"),
        (["dedup", "x", "--threshold", "high"], "invalid number value: 'high'"),
        (["dedup", "x", "--hashes", "0"], "argument --hashes: must be from 1 to 65536, got 0"),
        (
            ["dedup", "x", "--shingle-size", str(2**31)],
            "argument --shingle-size: must be from 1 to 2147483647",
        ),
        (["dedup", "x", "--top", "-1"], "argument --top: must be at least 0, got -1"),
        (["dedup", ""], "argument PATH: must name a file or folder, got an empty name"),
        (["merge", "x", "-o", ""], "argument --output/-o: must name a file or folder"),
        (["index", "build", "x", "-o", "y", "--buckets", "1"], "argument --buckets: must be from 2 to"),
        (["dedup", "x", "--seed", "-1"], "must be from 0 to 18446744073709551615, got -1"),
        (["dedup", "x", "--unit", "byte"], "invalid choice: 'byte'"),
        (["merge", "x"], "required: --output"),
        (["index", "query", "x"], "required: QUERIES"),
    ],
)
def test_wrong_usage(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1
    assert re.match(r"mergesketch( \w+)*: error: ", err) and err.endswith("--help)\n")


def test_every_command_has_help(run):
    commands = [
        [],
        ["count"],
        ["distinct"],
        ["top"],
        ["filter"],
        ["query"],
        ["dedup"],
        ["index"],
        ["index", "build"],
        ["index", "query"],
        ["inspect"],
        ["merge"],
    ]
    for words in commands:
        code, out, err = run(*words, "--help")
        assert (code, err) == (0, "") and out.startswith("usage: mergesketch")
    for words, told in [
        (["index", "query"], '{"query": 0, "rows": [17, 4], "counts": [9, 2]}'),
        (["inspect"], "exit code is 2"),
        (["merge"], "one class and configuration"),
    ]:
        assert told in run(*words, "--help")[1]
    assert run("--version")[1] == f"mergesketch {mergesketch.__version__}\n"


def test_help_imports_little():
    code = (
        "import sys\nfrom mergesketch.distributed.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*[m for m in ('mpi4py', 'pyarrow', 'tqdm', 'cupy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == ""


# -- bad input over ranks -------------------------------------------------------------------------


@needs_mpi
@pytest.mark.slow
def test_errors_over_ranks(corpus, ranks):
    """One message and exit code 2 come out, whether rank 0 or every rank finds the error."""
    write("bad/x.jsonl", "{")
    unread = "mergesketch: error: no document could be read (1 skipped; bad/x.jsonl:1: not JSON)\n"
    for arguments, message in [
        (["dedup", "bad"], unread),
        (["dedup", "missing"], "mergesketch: error: cannot read missing: No such file or directory\n"),
        (["merge", "a"], "required: --output"),
    ]:
        for done in [ranks.command(3, *arguments)] + [mpiexec(2, *arguments)] * (message == unread):
            assert done.returncode == 2
            assert done.stderr.count("error:") == 1 and message in done.stderr
            assert "Traceback" not in done.stderr


@needs_mpi
@pytest.mark.slow
def test_an_error_on_one_rank_only():
    """Only the rank that reads a damaged Parquet file can see the damage."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    texts = [" ".join(WORDS[i : i + 50]) + os.urandom(200).hex() for i in range(400)]
    pq.write_table(pa.table({"text": texts}), "a.parquet", row_group_size=100, use_dictionary=False)
    content = bytearray(Path("a.parquet").read_bytes())
    content[1000:20_000] = bytes(19_000)
    write("a.parquet", bytes(content))
    done = mpiexec(3, "dedup", "a.parquet", "-o", "groups.jsonl", "--strict")
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1 and "a.parquet: damaged: " in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir() == ["a.parquet"]


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_over_ranks(number):
    """A signal to mpiexec, as Ctrl-C or a scheduler sends, gives one line of ours and ends every rank."""
    write("waits.py", WAITING)
    process = subprocess.Popen(
        [MPIEXEC, "-n", "3", sys.executable, "waits.py", "dedup", "waits.py", "-o", "groups.jsonl"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    out = ""
    while out.count("reading") < 3:  # lines of ranks may come interleaved
        read = process.stdout.read(1)
        assert read, process.communicate()
        out += read
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert err.count("mergesketch: interrupted") == 1 and "Traceback" not in err
    assert os.listdir() == ["waits.py"]


@pytest.mark.slow
@needs_mpi
def test_ranks_with_different_arguments(corpus):
    one, two = command("dedup", "in", "--seed", "1"), command("dedup", "in", "--seed", "2")
    done = subprocess.run(
        [MPIEXEC, "-n", "1", *one, ":", "-n", "1", *two], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 2
    assert done.stderr.startswith("mergesketch: error: ranks must agree on the command line")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@needs_mpi
def test_a_killed_rank_ends_the_others(corpus):
    write("killed.py", KILLED)
    done = subprocess.run(
        [MPIEXEC, "-n", "3", sys.executable, "killed.py", "dedup", "in", "-o", "groups.jsonl"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode != 0
    assert sorted(os.listdir()) == ["in", "killed.py"]


KILLED = """
import os, signal, sys
from mergesketch.distributed.documents.source import DocumentSource
from mergesketch.distributed.__main__ import main

batches = DocumentSource.batches

def killed(self):
    if self._comm.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    yield from batches(self)

DocumentSource.batches = killed
sys.exit(main())
"""


# -- inspect and merge ----------------------------------------------------------------------------


@pytest.fixture
def sketches():
    """Write seven sketch files; return the sketch of all their data."""
    whole = CountMinSketch(n_rows=3, n_buckets=500, seed=1)
    for i in range(7):
        keys = np.arange(20 * i, 30 * i)
        CountMinSketch(n_rows=3, n_buckets=500, seed=1).update(keys).save(f"{i}.sketch")
        whole.update(keys)
    return whole


FILES = [f"{i}.sketch" for i in range(7)]


def test_merge(run, sketches):
    before = fingerprint(".")
    for n_files in range(1, 8):
        code, out, err = run("merge", *FILES[:n_files], "-o", "all.sketch")
        assert (code, err) == (0, "")
        noun = "file" if n_files == 1 else "files"
        assert out.startswith(f"{n_files} {noun} merged into all.sketch")
    assert mergesketch.load("all.sketch") == sketches
    os.remove("all.sketch")
    assert fingerprint(".") == before


@needs_mpi
@pytest.mark.slow
def test_merge_over_ranks(run, sketches, ranks):
    run("merge", *FILES, "-o", "all1")
    for n_ranks in (2, 3, 4):
        done = ranks.command(n_ranks, "merge", *FILES, "-o", f"all{n_ranks}")
        assert (done.returncode, done.stderr) == (0, "")
        assert Path(f"all{n_ranks}").read_bytes() == Path("all1").read_bytes()
    done = ranks.command(4, "merge", "0.sketch", "-o", "one")
    assert done.returncode == 0 and Path("one").read_bytes() == Path("0.sketch").read_bytes()


def test_merge_refuses(fails, sketches):
    CountMinSketch(n_rows=3, n_buckets=500, seed=2).save("other.sketch")
    write("damaged", Path("3.sketch").read_bytes()[:-100])
    assert "0.sketch and other.sketch differ in seed" in fails("merge", "0.sketch", "other.sketch", "-o", "x")
    assert "damaged" in fails("merge", "0.sketch", "damaged", "-o", "x")
    assert fails("merge", "0.sketch", "gone", "-o", "x") == "cannot read gone: No such file or directory"
    message = "cannot write 0.sketch: it is one of the files to read"
    assert fails("merge", "0.sketch", "1.sketch", "-o", "0.sketch") == message
    assert not Path("x").exists()


def forge(path, **metadata):
    """Write a sketch file with other metadata, an array of another name, and right checksums."""
    sketch = CountMinSketch(n_rows=3, n_buckets=500, seed=1)
    header = header_of(sketch.to_bytes())
    header["__metadata__"].update(metadata)
    header["x\x1b[2Jy\u202e"] = header.pop("counts")
    Path(path).write_bytes(with_header(sketch.to_bytes(), header))


def test_a_file_cannot_forge_its_report(run, fails, sketches):
    """Print what a terminal takes for commands as escapes, in reports and in messages."""
    wild = "\x1b]0;gone\x07\r\n  its checksum matches\u2028"
    forge("wild", **{"class": wild, "config": json.dumps({"a\x1b[1A": wild})})
    code, out, err = run("inspect", "wild")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 9
    assert all(line.isprintable() for line in out.splitlines())
    assert all(
        text in out for text in ("\\x1b]0;gone\\x07\\r\\n", "a\\x1b[1A = ", "array x\\x1b[2Jy\\u202e: ")
    )
    _, out, _ = run("inspect", "--json", "wild")
    assert out.strip().isprintable()
    for message in (fails("merge", "0.sketch", "wild", "-o", "x"), fails("merge", "wild", "-o", "x")):
        assert message.isprintable() and "gone" in message


@pytest.mark.parametrize("config", ["[1]", "3", "null", '"n_rows"', "{", "1e999", '{"a": 1e999}'])
def test_a_configuration_that_is_no_object(fails, sketches, config):
    forge("odd", config=config)
    for message in (fails("inspect", "odd"), fails("merge", "0.sketch", "odd", "-o", "x")):
        assert message.startswith("odd: its configuration")


def test_merge_onto_a_full_disk(fails, sketches, monkeypatch):
    monkeypatch.setattr(CountMinSketch, "save", full_disk(CountMinSketch.save))
    assert fails("merge", *FILES, "-o", "x").startswith("cannot write x: ")
    assert not Path("x").exists() and sorted(os.listdir()) == FILES


def test_inspect(run, fails, sketches):
    code, out, _ = run("inspect", "1.sketch", "2.sketch")
    assert code == 0
    assert out.startswith("1.sketch\n  CountMinSketch, 10 updates, ") and "2.sketch\n" in out
    assert "  seed = 1\n" in out and "its checksum matches" in out
    _, out, _ = run("inspect", "--json", *FILES)
    assert [json.loads(line)["n_updates"] for line in out.splitlines()] == [10 * i for i in range(7)]
    content = bytearray(Path("1.sketch").read_bytes())
    content[-1] ^= 1
    write("flipped", bytes(content))
    code, out, _ = run("inspect", "flipped", "2.sketch")
    assert code == 2 and "DAMAGED" in out and "2.sketch\n" in out
    os.mkfifo("pipe")
    assert fails("inspect", "pipe") == "pipe: expected a sketch file: it is not a regular file"
    write("foreign", "x" * 1000)
    assert fails("inspect", "foreign").startswith("foreign: expected a sketch file")


@pytest.mark.slow
def test_a_reader_that_has_seen_enough(sketches):
    """The reader stops early, as in ``mergesketch inspect FILE... | head``."""
    done = subprocess.run(
        f"{' '.join(command('inspect', *FILES * 500))} | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("0.sketch\n", "")


def test_the_command_is_installed_under_its_name():
    """The entry point that pyproject.toml names exists; ``make run`` calls it."""
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        target = tomllib.load(file)["project"]["scripts"]["mergesketch"]
    assert target == f"{main.__module__}:{main.__name__}"
    assert parser().prog == "mergesketch"
    assert shutil.which(sys.executable)
