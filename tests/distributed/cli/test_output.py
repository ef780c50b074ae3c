"""Test where results are written: files, the standard output, devices, pipes, links, and compressed files."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import threading
from pathlib import Path

import mergesketch
import numpy as np
import pytest
from mergesketch import CountMinSketch
from mergesketch.distributed.__main__ import main
from mergesketch.distributed.cli import dedup as cli_dedup
from mergesketch.distributed.cli.output import write_lines
from mergesketch.errors import DocumentError
from ranks import mpiexec, needs_mpi

#: Two copies and another document, and the line that is their only group.
TEXT = "one two three four five six seven"
GROUP = {
    "group": 0,
    "size": 2,
    "documents": [
        {"path": "in/a.txt", "line": None, "keep": True, "similarity": 1.0},
        {"path": "in/b.txt", "line": None, "keep": False, "similarity": 1.0},
    ],
}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("in")
    Path("in/a.txt").write_text(TEXT)
    Path("in/b.txt").write_text(TEXT.upper())
    Path("in/c.txt").write_text("other words stand in this short text")


def shell(line, **options):
    """Run a line of the shell, in which COMMAND stands for the command line's beginning."""
    line = line.replace("COMMAND", f"{sys.executable} -m mergesketch.distributed")
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=100, check=False, **options
    )


def groups(text) -> list:
    """Return the records of JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def fails(capsys, *arguments) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.removeprefix("mergesketch: error: ").rstrip()


# -- streams --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_the_standard_output(name):
    """Only the records are on the standard output, and the text for people is on stderr."""
    os.symlink("/dev/stdout", "link")
    done = shell(f"COMMAND dedup in -o {name}")
    assert done.returncode == 0
    assert groups(done.stdout) == [GROUP]
    assert "duplicates       1 document" in done.stderr
    shown = "the standard output" if name == "-" else name
    assert f"written          {shown}\n" in done.stderr
    assert sorted(os.listdir()) == ["in", "link"] and os.path.islink("link")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/proc/self/fd/1"])
def test_a_log_that_the_standard_output_is_added_to(name):
    """A file behind the standard output is neither replaced nor overwritten at its beginning."""
    Path("log.txt").write_text("before\n" * 100)
    inode = os.stat("log.txt").st_ino
    done = shell(f"COMMAND dedup in -o {name} >> log.txt; echo after >> log.txt")
    assert done.returncode == 0
    lines = Path("log.txt").read_text().splitlines()
    assert lines[:100] == ["before"] * 100 and lines[-1] == "after"
    assert groups("\n".join(lines[100:-1])) == [GROUP]
    assert os.stat("log.txt").st_ino == inode
    done = shell(f"(echo first; COMMAND dedup in -o {name}; echo last) > log.txt")
    lines = Path("log.txt").read_text().splitlines()
    assert (lines[0], groups(lines[1]), lines[2:]) == ("first", [GROUP], ["last"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_a_standard_output_that_is_closed(name):
    """Results are not lost in silence, and none gets into a file that has the descriptor now."""
    run = shell(f"COMMAND dedup in -o {name} >&-")
    shown = "the standard output" if name == "-" else name
    assert run.returncode == 2
    assert run.stderr.endswith(f"error: cannot write {shown}: it is closed\n")


def test_a_file_is_written_where_the_standard_output_is_closed():
    assert shell("COMMAND dedup in -o groups.jsonl >&-").returncode == 0
    assert groups(Path("groups.jsonl").read_text()) == [GROUP]


@pytest.mark.slow
def test_other_descriptors(capsys):
    done = shell("COMMAND dedup in -o /dev/fd/3 3> three; COMMAND dedup in -o >(cat > four); wait; sleep 0.2")
    assert done.returncode == 0 and "duplicates       1 document" in done.stdout
    assert groups(Path("three").read_text()) == groups(Path("four").read_text()) == [GROUP]
    done = shell("COMMAND dedup in -o /dev/stderr")
    assert groups(done.stderr) == [GROUP] and "written          /dev/stderr" in done.stdout
    assert "Bad file descriptor" in fails(capsys, "dedup", "in", "-o", "/dev/fd/999")
    with open("in/a.txt") as read_only:
        name = f"/dev/fd/{read_only.fileno()}"
        assert fails(capsys, "dedup", "in", "-o", name) == f"cannot write {name}: it is open for reading only"


def test_the_descriptor_of_another_process():
    """Its file is written to at the end, and is not replaced."""
    Path("log.txt").write_text("before\n")
    with open("log.txt", "a") as log:
        keeper = subprocess.Popen(["sleep", "100"], stdout=log)
        try:
            assert main(["dedup", "in", "-o", f"/proc/{keeper.pid}/fd/1"]) == 0
        finally:
            keeper.kill()
            keeper.wait()
    first, second = Path("log.txt").read_text().splitlines()
    assert first == "before" and json.loads(second) == GROUP


def test_devices(capsys):
    before = os.stat("/dev/null")
    assert main(["dedup", "in", "-o", "/dev/null"]) == 0
    after = os.stat("/dev/null")
    assert (before.st_ino, before.st_mode, before.st_rdev) == (after.st_ino, after.st_mode, after.st_rdev)
    capsys.readouterr()
    message = "cannot write /dev/full: No space left on device"
    assert fails(capsys, "dedup", "in", "-o", "/dev/full") == message
    os.symlink("/dev/null", "link")
    assert main(["dedup", "in", "-o", "link"]) == 0
    assert os.path.islink("link")


@pytest.mark.parametrize("name", ["pipe", "link"])
def test_a_named_pipe_gets_the_records(name):
    os.mkfifo("pipe")
    os.symlink("pipe", "link")
    found = []
    reader = threading.Thread(target=lambda: found.append(Path("pipe").read_text()))
    reader.start()
    assert main(["dedup", "in", "-o", name]) == 0
    reader.join(20)
    assert groups(found[0]) == [GROUP]
    assert Path("pipe").is_fifo() and os.path.islink("link")


def test_what_is_neither_file_nor_stream(capsys):
    assert fails(capsys, "dedup", "in", "-o", "in") == "cannot write in: it exists and is not a file"


def test_a_reader_that_has_seen_enough():
    """The process ends without a message when nobody reads its output any more."""
    lines = "".join(json.dumps({"text": f"{TEXT} {i // 2}"}) + "\n" for i in range(40_000))
    Path("many.jsonl").write_text(lines)
    for name in ("-", "/dev/stdout"):
        done = shell(f"COMMAND dedup many.jsonl --threshold 1 -o {name} 2> messages | head -n 1")
        assert json.loads(done.stdout)["group"] == 0
        assert Path("messages").read_text() == "" == done.stderr


@needs_mpi
@pytest.mark.slow
def test_streams_over_ranks():
    expected = shell("COMMAND dedup in -o -").stdout
    for n_ranks in (2, 3):
        done = shell(f"{mpiexec()} -n {n_ranks} COMMAND dedup in -o -")
        assert (done.returncode, done.stdout) == (0, expected)
        assert "error" not in done.stderr and f"({n_ranks} ranks)" in done.stderr
    assert groups(expected) == [GROUP]


def test_a_standard_output_of_text():
    """In a notebook the standard output takes text and no bytes."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        write_lines("-", [{"a": 1}, {"b": "é"}])
    assert out.getvalue() == '{"a": 1}\n{"b": "\\u00e9"}\n'


# -- outputs among the inputs ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["in/groups.jsonl", "in/groups.jsonl.gz", "in/groups.txt"])
def test_an_output_in_an_input_folder_is_replaced_by_the_next_run(name, capsys):
    assert main(["dedup", "in", "-o", name]) == 0
    first = Path(name).read_bytes()
    assert main(["dedup", "in", "-o", name, "--strict"]) == 0
    assert Path(name).read_bytes() == first
    assert capsys.readouterr().out.count("documents        3, ") == 2
    message = f"cannot write {name}: it is one of the files to read"
    assert fails(capsys, "dedup", "in/a.txt", name, "-o", name) == message


def test_a_file_of_the_corpus_is_no_output(capsys):
    assert fails(capsys, "dedup", "in", "-o", "in/a.txt").endswith("it is one of the files to read")
    Path("in/empty.txt").touch()
    assert main(["dedup", "in", "-o", "in/empty.txt"]) == 0
    assert groups(Path("in/empty.txt").read_text()) == [GROUP]


def test_the_standard_output_in_an_input_folder():
    for line in ("COMMAND dedup in -o - > in/z.jsonl", "COMMAND dedup in -o /dev/fd/3 3> in/z.jsonl"):
        done = shell(line)
        assert groups(Path("in/z.jsonl").read_text()) == [GROUP]
        assert "documents        3, " in done.stderr + done.stdout
        os.remove("in/z.jsonl")
    Path("in/log.txt").write_text(f"{TEXT}\n")
    assert shell("COMMAND dedup in >> in/log.txt 2>> in/errors.txt").returncode == 0
    assert "documents        3, " in Path("in/log.txt").read_text()


# -- files ----------------------------------------------------------------------------------------


def test_a_link_to_a_file_elsewhere_keeps_its_place():
    """The file that the link leads to is replaced, and the link stays."""
    os.mkdir("elsewhere")
    Path("elsewhere/groups.jsonl").write_text("old")
    os.symlink("elsewhere/groups.jsonl", "link")
    os.symlink("elsewhere/new.jsonl", "dangling")
    for name in ("link", "dangling"):
        assert main(["dedup", "in", "-o", name]) == 0
        assert os.path.islink(name) and groups(Path(name).read_text()) == [GROUP]
    assert sorted(os.listdir("elsewhere")) == ["groups.jsonl", "new.jsonl"]


def test_shared_memory_has_ordinary_files():
    name = f"/dev/shm/mergesketch-test-{os.getpid()}.jsonl"
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm")
    try:
        Path(name).write_text("old " * 1000)
        assert main(["dedup", "in", "-o", name]) == 0
        assert groups(Path(name).read_text()) == [GROUP]
    finally:
        os.remove(name)


@pytest.mark.parametrize(
    ("ending", "expand"),
    [(".gz", gzip.decompress), (".GZ", gzip.decompress), (".bz2", bz2.decompress), (".xz", lzma.decompress)],
)
def test_compressed_output(ending, expand):
    assert main(["dedup", "in", "-o", f"groups.jsonl{ending}"]) == 0
    content = Path(f"groups.jsonl{ending}").read_bytes()
    assert groups(expand(content).decode()) == [GROUP]
    assert main(["dedup", "in", "-o", f"groups.jsonl{ending}"]) == 0
    assert Path(f"groups.jsonl{ending}").read_bytes() == content, "equal results differ in their bytes"


def test_output_compressed_by_zstandard(monkeypatch):
    zstandard = pytest.importorskip("zstandard")
    write_lines("x.zst", [{"a": 1}])
    with zstandard.open("x.zst") as file:
        assert file.read() == b'{"a": 1}\n'


def test_output_that_needs_a_missing_package(capsys, monkeypatch):
    """It is refused before the work starts."""
    monkeypatch.setattr(cli_dedup, "deduplicate", lambda *a, **k: pytest.fail("the work has started"))
    for name in ("zstandard", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert fails(capsys, "dedup", "in", "-o", "x.zst").startswith(
        "writing x.zst needs zstandard: pip install"
    )
    with pytest.raises(DocumentError, match=r"writing x\.ZST needs zstandard"):
        write_lines("x.ZST", [])
    assert os.listdir() == ["in"]


# -- other commands -------------------------------------------------------------------------------


def test_a_sketch_on_the_standard_output():
    """The bytes are those of the file, and the text for people is on stderr."""
    Path("keys.txt").write_text("a\nb\na\n")
    done = shell("COMMAND count keys.txt --ask a -o - > sketch && COMMAND count keys.txt -o same")
    assert done.returncode == 0
    assert Path("sketch").read_bytes() == Path("same").read_bytes()
    assert "in the standard output" in done.stderr
    assert mergesketch.load("sketch").query("a") == 2
    done = shell("COMMAND merge sketch same -o /dev/stdout > both")
    assert mergesketch.load("both").query("a") == 4
    assert "2 files merged into /dev/stdout: <CountMinSketch" in done.stderr


@pytest.mark.slow
def test_index_commands(tmp_path):
    rows = np.random.default_rng(0).standard_normal((20, 4))
    np.save("rows.npy", rows)
    assert shell("COMMAND index build rows.npy -o - > a.index").returncode == 0
    assert main(["index", "build", "rows.npy", "-o", "b.index"]) == 0
    assert Path("a.index").read_bytes() == Path("b.index").read_bytes()
    plain = shell("COMMAND index query a.index rows.npy -k 2").stdout
    assert [line["query"] for line in groups(plain)] == list(range(20))
    assert shell("COMMAND index query a.index rows.npy -k 2 -o -").stdout == plain
    assert main(["index", "query", "a.index", "rows.npy", "-k", "2", "-o", "answers.gz"]) == 0
    assert gzip.decompress(Path("answers.gz").read_bytes()).decode() == plain


def test_a_sketch_for_a_device():
    CountMinSketch(n_rows=2, n_buckets=10).save("a")
    assert main(["merge", "a", "-o", "/dev/null"]) == 0
