"""Test the cleaned corpus: names, what is refused, what is resumed, and that ranks change nothing."""

import errno
import gzip
import json
import os
import re
from pathlib import Path

import mergesketch.distributed.dedup.cleaning as cleaning_module
import numpy as np
import pytest
from mergesketch.distributed import Communicator
from mergesketch.distributed.dedup.clean_manifest import MANIFEST
from mergesketch.distributed.dedup.clean_names import names_below
from mergesketch.distributed.dedup.cleaning import CleanedCorpus
from mergesketch.distributed.dedup.removals import Removals
from mergesketch.distributed.documents.source import DocumentSource
from mergesketch.errors import DocumentError
from ranks import needs_mpi


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, content) -> None:
    path = Path(os.fsdecode(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def lines(*texts) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def clean(paths, removed, folder="out", settings=None, **options):
    """Write a cleaned corpus without the documents of some names."""
    comm = Communicator(None)
    source = DocumentSource(paths, **options)
    corpus = CleanedCorpus(folder, source, settings=settings or {"threshold": 0.7}, comm=comm)
    ids = np.concatenate([batch.ids for batch in source.batches()])
    source.finish()
    names = source.name_of(ids)
    assert set(removed) <= set(names)
    gone = ids[[name in removed for name in names]]
    nothing = np.zeros(len(gone))
    return corpus.write(Removals(gone, gone, nothing.astype(np.float32), nothing.astype(bool)))


def contents(folder="out") -> dict[str, bytes]:
    """Return the contents of all files below a folder, without the manifest."""
    found = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    assert not [path for path in found if path.name.endswith(".tmp")], "something was left behind"
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.name != MANIFEST}


def corpus() -> None:
    write("in/a.jsonl", lines("one", "two", "three") + b"damaged\n")
    write("in/sub/b.jsonl.gz", gzip.compress(lines("four", "five")))
    write("in/sub/c.txt", "six")
    write("in/sub/d.txt", "seven")
    write("in/empty.txt", "")


CORPUS_REMOVED = [("in/a.jsonl", 2), ("in/sub/b.jsonl.gz", 1), ("in/sub/c.txt", None)]


def check_cleaned() -> None:
    found = contents()
    assert list(found) == ["a.jsonl", "empty.txt", "sub/b.jsonl.gz", "sub/d.txt"]
    assert found["a.jsonl"] == lines("one", "three") + b"damaged\n"
    assert gzip.decompress(found["sub/b.jsonl.gz"]) == lines("five")
    assert found["sub/d.txt"] == b"seven" and found["empty.txt"] == b""


def test_the_same_files_without_some_documents():
    corpus()
    before = contents("in")
    result = clean(["in"], CORPUS_REMOVED)
    check_cleaned()
    assert contents("in") == before
    n_bytes = sum(map(len, contents().values()))
    assert result == (4, 0, 1, n_bytes, [], [])


@needs_mpi
def test_ranks_change_nothing(ranks):
    corpus()
    for i in range(30):
        write(f"in/{i}.jsonl", lines(*(f"text {i} {j}" for j in range(i + 1))))
    removed = [*CORPUS_REMOVED, *((f"in/{i}.jsonl", i + 1) for i in range(0, 30, 2))]
    clean(["in"], removed)
    code = """
    import json, sys
    import numpy as np
    from mergesketch.distributed import communicator
    from mergesketch.distributed.dedup.cleaning import CleanedCorpus
    from mergesketch.distributed.dedup.removals import Removals
    from mergesketch.distributed.documents.source import DocumentSource
    comm = communicator()
    source = DocumentSource(["in"])
    corpus = CleanedCorpus(sys.argv[1], source, comm=comm)
    ids = np.concatenate([batch.ids for batch in source.batches()] or [np.empty(0, np.uint64)])
    source.finish()
    removed = set(map(tuple, json.loads(sys.argv[2])))
    ids = ids[np.array([name in removed for name in source.name_of(ids)], dtype=bool)]
    # Documents of any rank may be removed by any rank.
    (ids,) = comm.exchange((ids,), (ids % np.uint64(comm.size)).astype(np.int64))
    result = corpus.write(Removals(ids, ids, np.zeros(len(ids), np.float32), np.zeros(len(ids), bool)))
    print(*result)
    """
    for n in (2, 3):
        ran = ranks.run(n, code, f"out{n}", json.dumps(removed))
        assert ran.returncode == 0, ran.stderr
        assert contents(f"out{n}") == contents()
        assert len(set(ran.stdout)) == 1 and ran.stdout[0].startswith("34 0 1 ")


# -- names ----------------------------------------------------------------------------------------


NUMBERED = ["1.txt.gz", "1~2.txt.gz", "1~3.txt.gz"]


@pytest.mark.parametrize(
    ("paths", "files", "names"),
    [
        (["in"], ["in/a", "in/b/c.txt"], ["a", "b/c.txt"]),
        (["./in//"], ["./in//a"], ["a"]),
        (["."], ["./a", "./b/a"], ["a", "b/a"]),
        (["../x/y.gz", "/z/w"], ["../x/y.gz", "/z/w"], ["y.gz", "w"]),
        (
            ["a", "b", "c/1.txt.gz"],
            ["a/1.txt.gz", "b/1.txt.gz", "c/1.txt.gz"],
            ["1.txt.gz", "1~2.txt.gz", "1~3.txt.gz"],
        ),
        (["a", "b"], ["a/x/1", "b/x/1", "b/x/2"], ["x/1", "x/1~2", "x/2"]),
        (["1", "b"], ["1", "b/1/x.txt"], ["1", "1~2/x.txt"]),
        (["b", "1"], ["b/1/x.txt", "1"], ["1/x.txt", "1~2"]),
        (["a", "b"], ["a/1~2.txt", "a/1.txt", "b/1.txt"], ["1~2.txt", "1.txt", "1~3.txt"]),
        (["a"], ["a/removed.jsonl"], ["removed~2.jsonl"]),
        (["a/.hidden"], ["a/.hidden"], [".hidden"]),
        (["a", "a/b"], ["a/b/c"], ["b/c"]),
        (["a/b", "a"], ["a/b/c", "a/d"], ["c", "d"]),
        # A name has 255 bytes at most; an e with an accent has two.
        (
            ["a", "b", "c"],
            [folder + "/" + "\u00e9" * 124 + ".jsonl" for folder in "abc"],
            ["\u00e9" * 124 + ".jsonl", "\u00e9" * 123 + "~2.jsonl", "\u00e9" * 123 + "~3.jsonl"],
        ),
        (["a", "b"], ["a/" + "x" * 255, "b/" + "x" * 255], ["x" * 255, "x" * 253 + "~2"]),
    ],
)
def test_names(paths, files, names):
    assert names_below(paths, files, ["removed.jsonl"]) == names


def test_names_of_any_bytes():
    for name in (b"in/new\nline.jsonl", b"in/not \xff UTF-8.jsonl", b"in/a b~2.jsonl", b"in/x../y.jsonl"):
        write(name, lines("one", name.hex()))
    paths = [path for path in DocumentSource(["in"]).files if path.endswith("jsonl")]
    clean(["in"], [(path, 1) for path in paths[1:]])
    assert sorted(os.fsencode(name) for name in contents()) == sorted(os.fsencode(path)[3:] for path in paths)
    assert all(content.count(b"\n") == (2 if name in paths[0] else 1) for name, content in contents().items())
    assert clean(["in"], [(path, 1) for path in paths[1:]]).n_resumed == 4


def test_two_files_with_one_name():
    write("a/x.jsonl", lines("one"))
    write("b/x.jsonl", lines("two", "three"))
    clean(["a", "b/x.jsonl"], [("b/x.jsonl", 1)])
    assert contents() == {"x.jsonl": lines("one"), "x~2.jsonl": lines("three")}


def test_links_to_files_become_files():
    write("elsewhere/x.txt", "one")
    write("in/a.txt", "two")
    os.symlink("../elsewhere/x.txt", "in/link.txt")
    clean(["in"], [])
    assert contents() == {"a.txt": b"two", "link.txt": b"one"}
    assert not Path("out/link.txt").is_symlink()


# -- what is refused ------------------------------------------------------------------------------


def refused(message, paths=("in",), folder="out", settings=None):
    """Check that the folder is refused before anything is read, and that nothing changes."""
    before = contents(".")
    source = DocumentSource(list(paths))
    with pytest.raises((DocumentError, OSError), match=message):
        CleanedCorpus(folder, source, settings=settings or {"threshold": 0.7}, comm=Communicator(None))
    assert contents(".") == before


def test_a_folder_that_is_an_input():
    corpus()
    os.symlink("in", "link")
    os.symlink("in/sub", "sublink")
    for folder in (
        "in",
        "in/",
        "./in",
        "in/sub/..",
        "link",
        "in/new/out",
        "in/sub",
        "sublink",
        "link/sub/new",
    ):
        refused("it is or lies in in", folder=folder)
    write("big/in/a.txt", "x")
    refused("big/in lies in it", paths=["big/in"], folder="big")
    refused("big/in/a.txt lies in it", paths=["big/in/a.txt"], folder="big/in")
    os.symlink("../out/x.txt", "in/out-link.txt")
    write("out/x.txt", "x")
    refused("in/out-link.txt lies in it")


def test_a_folder_beside_a_file_that_is_named():
    write("a.jsonl", lines("one", "two"))
    clean(["a.jsonl"], [("a.jsonl", 1)], folder="clean/of/a")
    assert contents("clean/of/a") == {"a.jsonl": lines("two")}


def test_files_that_this_command_has_not_written():
    corpus()
    write("out/precious.txt", "x")
    refused("it is not empty, and this command has not written it")
    Path("out/precious.txt").unlink()
    clean(["in"], CORPUS_REMOVED)
    write("in/precious.txt", "y")
    write("out/precious.txt", "x")
    refused(r"out/precious\.txt: it exists, and this command has not written it")
    Path("in/precious.txt").unlink()
    clean(["in"], CORPUS_REMOVED)
    assert Path("out/precious.txt").read_text() == "x"
    write("out/sub/c.txt", "mine")
    refused(r"out/sub/c\.txt: it exists, and this command has not written it")
    Path("out/sub/c.txt").unlink()
    write("out/a.jsonl", "changed")
    refused(r"out/a\.jsonl: it was changed after this command had written it")


def test_a_file_in_place_of_the_folder():
    corpus()
    write("out", "x")
    refused("out: it is not a folder")
    refused("out/deep: it is not a folder", folder="out/deep")


def test_links_within_the_folder():
    """A link in the cleaned corpus could lead into the input, or anywhere."""
    corpus()
    clean(["in"], CORPUS_REMOVED)
    os.rename("out/sub", "moved")
    os.symlink("../in/sub", "out/sub")
    refused("a part of the path is a link to .*in/sub")
    os.unlink("out/sub")
    os.rename("moved", "out/sub")
    os.unlink("out/a.jsonl")
    os.symlink("../in/a.jsonl", "out/a.jsonl")
    refused(r"out/a\.jsonl: it exists, and this command has not written it")


def test_a_folder_that_cannot_be_written(monkeypatch):
    corpus()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refused("no permission to write into")
    refused("no permission to write into", folder="new/deep/out")


def test_other_settings():
    corpus()
    clean(["in"], CORPUS_REMOVED)
    refused(
        r"out was written with other settings: threshold was 0\.7, and is 0\.8 now",
        settings={"threshold": 0.8},
    )
    refused("keep was None, and is 'last' now", settings={"threshold": 0.7, "keep": "last"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"version": 2, "settings": {}, "files": {}}',
        "\xff",
        '{"version": 1, "files": {"a": 1}}',
    ],
)
def test_a_damaged_manifest(text):
    corpus()
    clean(["in"], CORPUS_REMOVED)
    write(f"out/{MANIFEST}", text.encode("latin-1"))
    refused(f"out/{re.escape(MANIFEST)} is damaged")


@pytest.mark.parametrize("name", ["../precious.txt", "/precious.txt", "sub/../../precious.txt"])
def test_a_manifest_that_lists_other_files(name):
    corpus()
    clean(["in"], CORPUS_REMOVED)
    write("precious.txt", "x")
    manifest = json.loads(Path(f"out/{MANIFEST}").read_text())
    manifest["files"][name] = ["in/a.jsonl", 1, 1, "", False, None]
    write(f"out/{MANIFEST}", json.dumps(manifest))
    refused(f"out/{re.escape(MANIFEST)} is damaged: it lists '{re.escape(name)}'")


# -- resuming -------------------------------------------------------------------------------------


class Killed(BaseException):
    """In place of a signal that cannot be caught."""


def killed_after(monkeypatch, n_files):
    """Stop the process in the middle of a file, after some others were written."""
    original, calls = cleaning_module.copy_without, []

    def copy(file, records, path, **options):
        calls.append(file)
        if len(calls) > n_files:
            path.write_bytes(b"half a f")
            raise Killed
        return original(file, records, path, **options)

    monkeypatch.setattr(cleaning_module, "copy_without", copy)


@pytest.mark.parametrize("n_files", range(4))
def test_an_interrupted_run_is_resumed(monkeypatch, n_files):
    corpus()
    with monkeypatch.context() as patch:
        killed_after(patch, n_files)
        with pytest.raises(Killed):
            clean(["in"], CORPUS_REMOVED)
    assert len(contents()) == n_files, "a half file was left"
    kept = {path: path.stat().st_ino for path in Path("out").rglob("*") if path.is_file()}
    result = clean(["in"], CORPUS_REMOVED)
    assert (result.n_written, result.n_resumed) == (4 - n_files, n_files)
    check_cleaned()
    assert all(path.stat().st_ino == inode for path, inode in kept.items() if path.name != MANIFEST)
    result = clean(["in"], CORPUS_REMOVED)
    assert (result.n_written, result.n_resumed, result.n_absent) == (0, 4, 1)


def test_only_what_has_changed_is_written_again():
    corpus()
    clean(["in"], CORPUS_REMOVED)
    write("in/a.jsonl", lines("one", "two", "new"))
    write("in/new.txt", "new")
    os.unlink("in/sub/d.txt")
    result = clean(["in"], [*CORPUS_REMOVED[:2], ("in/empty.txt", None)])
    # a.jsonl has changed, c.txt is not removed any more, new.txt is new; the file of d.txt goes.
    assert (result.n_written, result.n_resumed, result.n_absent) == (3, 1, 1)
    assert contents().pop("sub/b.jsonl.gz")
    assert {k: v for k, v in contents().items() if k != "sub/b.jsonl.gz"} == {
        "a.jsonl": lines("one", "new"),
        "new.txt": b"new",
        "sub/c.txt": b"six",
    }


def test_a_copy_that_a_crash_has_cut_short(monkeypatch):
    corpus()
    with monkeypatch.context() as patch:
        killed_after(patch, 3)
        with pytest.raises(Killed):
            clean(["in"], CORPUS_REMOVED)
    write("out/sub/d.txt", "") if Path("out/sub/d.txt").exists() else write("out/empty.txt", "")
    clean(["in"], CORPUS_REMOVED)
    check_cleaned()


def test_an_input_that_changes(monkeypatch):
    corpus()
    source = DocumentSource(["in"])
    folder = CleanedCorpus(Path("out"), source, comm=Communicator(None))
    ids = np.concatenate([batch.ids for batch in source.batches()])
    source.finish()
    write("in/a.jsonl", lines("one", "two", "three") + b"other\n")
    gone = ids[[name == ("in/a.jsonl", 2) for name in source.name_of(ids)]]
    removed = Removals(gone, gone, np.zeros(1, np.float32), np.zeros(1, bool))
    with pytest.raises(
        DocumentError, match=r"in/a\.jsonl has changed since it was read; run the command again"
    ):
        folder.write(removed)
    assert "a.jsonl" not in contents()


def test_wrong_arguments():
    corpus()
    source = DocumentSource("in")
    for arguments, message in (
        ((3, source), "folder must be a path, got int"),
        (("out", ["a text"]), "source must be a DocumentSource, got list"),
    ):
        with pytest.raises(TypeError, match=message):
            CleanedCorpus(*arguments)
    with pytest.raises(TypeError, match="result must be a Deduplication, got ndarray"):
        CleanedCorpus("out", source).write(np.ones(3, dtype=bool))
    assert not Path("out").exists()


def test_a_full_disk(monkeypatch):
    corpus()

    def full(file, records, path, **options):
        path.write_bytes(b"half a f")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(cleaning_module, "copy_without", full)
        with pytest.raises(OSError, match=r"cannot write out/.*: No space left on device"):
            clean(["in"], CORPUS_REMOVED)
    assert contents() == {}
    clean(["in"], CORPUS_REMOVED)
    check_cleaned()


def test_files_that_cannot_be_opened(monkeypatch):
    """They are named, and not copied."""
    corpus()
    original = cleaning_module.InputFile.open_stored

    def opened(self):
        if self.path.endswith("d.txt"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.path)
        return original(self)

    monkeypatch.setattr(cleaning_module.InputFile, "open_stored", opened)
    result = clean(["in"], CORPUS_REMOVED)
    assert result.missing == ["in/sub/d.txt"]
    assert list(contents()) == ["a.jsonl", "empty.txt", "sub/b.jsonl.gz"]


def test_formats_that_are_not_read():
    corpus()
    write("in/f.pdf", b"%PDF-1.4 \0\1")
    result = clean(["in"], CORPUS_REMOVED)
    assert result.missing == ["in/f.pdf"]
    check_cleaned()


def test_files_without_the_field_are_kept():
    corpus()
    write("in/f.jsonl", b'{"content": "a"}\n{"content": "a"}\n')
    write("in/g.csv", b"content\na\na\n")
    result = clean(["in"], CORPUS_REMOVED)
    assert result.missing == [] and result.n_written == 6
    assert contents()["f.jsonl"] == Path("in/f.jsonl").read_bytes()
    assert contents()["g.csv"] == Path("in/g.csv").read_bytes()


def test_damaged_and_strange_files_are_kept():
    """A text that is not UTF-8 and a compressed file without its end are not lost."""
    write("in/a.txt", b"caf\xe9")
    write("in/b.txt", "good")
    all_lines = lines(*(f"{i * i * 7919} text" for i in range(100_000)))
    stored = gzip.compress(all_lines)[:-2000]
    write("in/c.jsonl.gz", stored)
    result = clean(["in"], [])
    assert contents() == {"a.txt": b"caf\xe9", "b.txt": b"good", "c.jsonl.gz": stored}
    assert result.incomplete == []
    result = clean(["in"], [("in/c.jsonl.gz", 1)], folder="out2")
    found = gzip.decompress(contents("out2")["c.jsonl.gz"])
    rest = all_lines[all_lines.index(b"\n") + 1 :]
    assert rest.startswith(found) and len(found) > 0.9 * len(rest)
    assert result.incomplete == ["in/c.jsonl.gz"]
