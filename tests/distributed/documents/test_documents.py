"""Test documents from files: what a document is, its id, what is skipped, and that ranks change nothing."""

import gzip
import io
import json
import os
import re
import socket
import sys
from pathlib import Path

import mergesketch.distributed.documents.batches as batches_module
import mergesketch.distributed.documents.jsonl as jsonl_module
import mergesketch.lsh.support.progress as progress_module
import numpy as np
import pytest
from document_files import ThreadRank, documents, read, write, write_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed.documents.chunks import assign
from mergesketch.distributed.documents.jsonl import line_blocks, parse_block
from mergesketch.distributed.documents.listing import list_files
from mergesketch.distributed.documents.source import DocumentSource
from mergesketch.errors import DistributedError, DocumentError
from mergesketch.lsh.support.install import how_to_install


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# -- listing --------------------------------------------------------------------------------------


def listed(*paths, **options) -> list[str]:
    return [file.path for file in list_files(paths, **options).files]


def test_folders_are_walked_in_the_order_of_names():
    for name in ["d/b.txt", "d/a/z", "d/B", "d/a.txt", "d/é", "e"]:
        write(name, name)
    assert listed("d") == ["d/B", "d/a/z", "d/a.txt", "d/b.txt", "d/é"]
    assert listed("e", "d/b.txt", "d")[:3] == ["e", "d/b.txt", "d/B"]
    assert listed("./d/")[0] == "./d/B"


def test_hidden_names_are_left_out_of_folders_but_may_be_named():
    write("d/.git/x", "x")
    write("d/.hidden", "x")
    write("d/seen", "x")
    assert listed("d") == ["d/seen"]
    assert listed("d/.hidden", "d/.git") == ["d/.hidden", "d/.git/x"]


def test_patterns_choose_in_folders_only():
    for name in ["d/a.py", "d/a.txt", "d/site/b.py", "d/sub/site.py", "d/sub/c.py", "x.txt"]:
        write(name, "x")
    assert listed("d", "x.txt", include=["*.py"]) == [
        "d/a.py",
        "d/site/b.py",
        "d/sub/c.py",
        "d/sub/site.py",
        "x.txt",
    ]
    assert listed("d", include=["*.py"], exclude=["site"]) == ["d/a.py", "d/sub/c.py", "d/sub/site.py"]
    assert listed("d", exclude=["sub/c*", "*.txt", "site"]) == ["d/a.py", "d/sub/site.py"]
    assert listed("d", include=["sub/*.py"]) == ["d/sub/c.py", "d/sub/site.py"]
    assert listed("d", include=["?.txt", "[b-c].py"]) == ["d/a.txt", "d/site/b.py", "d/sub/c.py"]
    with pytest.raises(DocumentError, match=r"the folder d holds no file .* patterns leave"):
        listed("d", include=["*.md"])


def test_links_neither_loop_nor_count_twice():
    write("d/real.txt", "x")
    write("other/o.txt", "x")
    os.symlink("../d", "d/loop")
    os.symlink("real.txt", "d/zlink")
    os.symlink("../other/o.txt", "d/olink")
    os.symlink("nowhere", "d/dangling")
    found = list_files(["d", "d/real.txt", "d/zlink", "./d"])
    assert [file.path for file in found.files] == ["d/olink", "d/real.txt"]
    assert found.refused[0] == ("d/dangling", "No such file or directory")
    os.symlink("d", "to_d")
    assert listed("to_d") == ["to_d/olink", "to_d/real.txt"]


def test_hard_links_are_one_file():
    write("d/b.txt", "x")
    write("other/c.txt", "y")
    os.link("d/b.txt", "d/a.txt")
    os.link("d/b.txt", "other/b.txt")
    os.symlink("../d/b.txt", "other/link")
    assert listed("d", "other") == ["d/a.txt", "other/c.txt"]
    assert listed("other", "d") == ["other/b.txt", "other/c.txt"]
    assert listed("d/b.txt", "d") == ["d/b.txt"]
    found, _ = read(["other", "d"])
    assert found == [(("other/b.txt", None), b"x"), (("other/c.txt", None), b"y")]


def test_a_name_that_promises_a_format_goes_before_one_that_does_not():
    """A cache of Hugging Face has files that are named by a hash, and links to them."""
    content = b'{"text": "one"}\n{"text": "two"}\n'
    write("d/blobs/1", content)
    write("d/blobs/2", gzip.compress(content))
    write("d/blobs/3", "three")
    os.makedirs("d/snapshots/a")
    names = ["x.jsonl", "y.json.gz", "README.md"]
    for blob, name in enumerate(names, 1):
        os.symlink(f"../../blobs/{blob}", f"d/snapshots/a/{name}")
        os.symlink(f"../../blobs/{blob}", f"d/snapshots/a/z{name}")
    first, second, third = "d/snapshots/a/x.jsonl", "d/snapshots/a/y.json.gz", "d/blobs/3"
    assert listed("d") == [first, second, third], "in the order of the first names"
    found, _ = read(["d"])
    assert found == [
        *(((name, line), text) for name in (first, second) for line, text in ((1, b"one"), (2, b"two"))),
        ((third, None), b"three"),
    ]
    assert listed("d/snapshots", "d/blobs") == ["d/snapshots/a/README.md", first, second]


def test_files_that_are_left_out_of_folders():
    for name in ("d/a.txt", "d/sub/b.txt", "d/c.txt"):
        write(name, name)
    os.symlink("c.txt", "d/link")
    os.link("d/sub/b.txt", "d/hard")
    left_out = ["d/c.txt", "./d/hard", "missing", "a\0b"]
    assert listed("d", leave_out=left_out) == ["d/a.txt"]
    assert listed("d/c.txt", "d", leave_out=left_out) == ["d/c.txt", "d/a.txt"]
    assert DocumentSource("d", leave_out=[Path("d/a.txt"), "d/c.txt"]).files == ["d/hard"]
    with pytest.raises(DocumentError, match=r"the folder d/sub holds no file of documents"):
        listed("d/sub", leave_out=["d/hard"])


def test_special_files_are_never_opened():
    write("d/a.txt", "text")
    os.mkfifo("d/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("d/socket")
        found, summary = read("d")
    assert [name for name, _ in found] == [("d/a.txt", None)]
    assert summary.n_skipped == 2
    assert summary.skipped == [("d/pipe", "not a regular file"), ("d/socket", "not a regular file")]
    with pytest.raises(DocumentError, match=r"d/pipe: not a regular file"):
        DocumentSource("d", strict=True)
    with pytest.raises(DocumentError, match=r"d/pipe: it is neither a file nor a folder"):
        DocumentSource("d/pipe")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", "cannot read missing: No such file or directory"),
        ("empty", "the folder empty holds no file"),
        ("a\0b", "cannot read 'a.x00b'"),
        ("x" * 300, "File name too long"),
    ],
)
def test_wrong_paths(path, message):
    os.mkdir("empty")
    os.mkdir("empty/sub")
    write("empty/.hidden", "x")
    with pytest.raises(DocumentError, match=message):
        DocumentSource(path)


def test_wrong_arguments():
    for wrong in ([], [3], b"x", 3, None):
        with pytest.raises(ValueError, match=r"paths must be one or more strings or paths"):
            DocumentSource(wrong)
    write("a", "x")
    for name in ("include", "exclude", "leave_out"):
        with pytest.raises(ValueError, match=rf"{name} must be one or more strings or paths, got \[3\]"):
            DocumentSource("a", **{name: [3]})
    with pytest.raises(TypeError, match=r"text_field must be a string, got 3"):
        DocumentSource("a", text_field=3)
    with pytest.raises(ValueError, match=r"batch_bytes must be an integer of at least 1, got 0"):
        DocumentSource("a", batch_bytes=0)


def test_one_pattern_is_no_list_of_its_characters():
    for name in ("d/a.txt", "d/b.py", "d/c.md"):
        write(name, "x")
    assert DocumentSource("d", include="*.py").files == ["d/b.py"]
    assert DocumentSource("d", exclude="*.py").files == ["d/a.txt", "d/c.md"]
    assert DocumentSource("d", leave_out=Path("d/b.py")).files == ["d/a.txt", "d/c.md"]


def test_very_deep_folders():
    path = Path("d", *["x" * 200] * 30)
    descriptor = os.open(".", os.O_RDONLY)
    for part in path.parts:  # the whole path is longer than the system takes in one call
        os.mkdir(part, dir_fd=descriptor)
        below = os.open(part, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    write("d/a.txt", "x")
    found = list_files(["d"])
    assert [file.path for file in found.files] == ["d/a.txt"]
    assert [reason for _, reason in found.refused] == ["cannot be listed: File name too long"]


# -- text files -----------------------------------------------------------------------------------


def test_text_files():
    write("d/a", "one")
    write("d/b.json", "{}")
    write("d/c", b"")
    write("d/e", b"\xef\xbb\xbfmarked")
    write("d/f.gz", gzip.compress(b"zipped") + gzip.compress(b" twice"))
    write("d/g.txt.GZ", gzip.compress(b"\xef\xbb\xbfx"))
    found, summary = read("d")
    assert found == [
        (("d/a", None), b"one"),
        (("d/b.json", None), b"{}"),
        (("d/c", None), b""),
        (("d/e", None), b"marked"),
        (("d/f.gz", None), b"zipped twice"),
        (("d/g.txt.GZ", None), b"x"),
    ]
    assert summary.bytes_read == sum(path.stat().st_size for path in Path("d").iterdir())


def test_small_files_share_batches_and_a_large_one_has_its_own():
    for i in range(20):
        write(f"d/{i:02}", b"x" * 100)
    write("d/10x", b"y" * 5000)
    source = DocumentSource("d", batch_bytes=450)
    sizes = [(len(batch.ids), len(batch.data)) for batch in source.batches()]
    # One byte more than a file's size is needed to see that it has not grown.
    assert sizes == [(4, 400), (4, 400), (3, 300), (1, 5000), (4, 400), (4, 400), (1, 100)]


def test_batches_keep_their_contents_and_come_again():
    for i in range(5):
        write(f"d/{i}", str(i) * 10)
    write("d/z.gz", "no gzip")
    source = DocumentSource("d", batch_bytes=12)
    next(source.batches())  # a pass that is not completed counts for nothing
    kept = list(source.batches())
    assert [bytes(batch.data) for batch in kept] == [str(i).encode() * 10 for i in range(5)]
    source.report_skipped(kept[1].ids)
    summary = source.finish()
    assert (summary.n_documents, [name for name, _ in summary.skipped]) == (4, ["d/1", "d/z.gz"])
    for _ in range(2):
        assert list(documents(source).values()) == [bytes(batch.data) for batch in kept]
        assert source.finish() == summary, "a second reading counted again"
    os.remove("d/3")
    with pytest.raises(DocumentError, match="the files have changed since they were first read"):
        documents(source)
    assert source.finish() == summary


def test_many_empty_documents_are_bounded(monkeypatch):
    monkeypatch.setattr(batches_module.BatchBuilder, "MAX_DOCUMENTS", 3)
    for i in range(7):
        write(f"d/{i}", "")
    assert [len(batch.ids) for batch in DocumentSource("d").batches()] == [3, 3, 1]


def test_files_that_change_after_they_were_listed():
    for name in "abcde":
        write(f"d/{name}", name * 10)
    source = DocumentSource("d")
    os.remove("d/a")
    write("d/b", "bbb")
    write("d/c", "c" * 100)
    os.remove("d/d")
    os.mkfifo("d/d")  # nobody writes into it
    found = documents(source)
    summary = source.finish()
    assert next(iter(found.values())) == b"bbb" and b"eeeeeeeeee" in found.values()
    assert summary.skipped[:2] == [("d/a", "No such file or directory"), ("d/c", "grew while it was read")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.txt.gz", "a.txt", "a.parquet"])
def test_a_listed_file_that_becomes_a_pipe_is_not_waited_for(name):
    write("b.txt", "b")
    if name.endswith(".parquet"):
        write_parquet(name, {"text": ["one"]})
    else:
        write_lines(name, [{"text": "one"}])
    source = DocumentSource([name, "b.txt"])
    os.remove(name)
    os.mkfifo(name)  # nobody writes into it
    assert list(documents(source).values()) == [b"b"]
    assert source.finish().skipped == [(name, "not a regular file")]
    with pytest.raises(DocumentError, match=rf"cannot read {name}: it is neither a file nor a folder"):
        DocumentSource([name])


def test_json_lines_in_files_named_json():
    lines = [{"text": "one"}, {"text": "two"}]
    write_lines("d/lines.json", lines)
    write_lines("d/lines.JSON.gz".lower(), lines)
    write_lines("d/lines.jsonl", lines)
    write("d/one.json", json.dumps({"text": "one", "next": {"text": "two"}}, indent=1))
    write("d/short.json", "{}\n")
    write("d/numbers.json", "1\n2\n")
    write("d/noise.json.gz", b"noise")
    write_lines("d/lines.txt", lines)
    found, summary = read("d")
    assert [name for name, _ in found] == [
        ("d/lines.json", 1),
        ("d/lines.json", 2),
        ("d/lines.json.gz", 1),
        ("d/lines.json.gz", 2),
        ("d/lines.jsonl", 1),
        ("d/lines.jsonl", 2),
        ("d/lines.txt", None),
        ("d/numbers.json", None),
        ("d/one.json", None),
        ("d/short.json", None),
    ]
    assert [text for _, text in found[:6]] == [b"one", b"two"] * 3
    assert [name for name, _ in summary.skipped] == ["d/noise.json.gz"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission():
    write("d/a", "x")
    write("d/b", "x")
    os.chmod("d/a", 0)
    _, summary = read("d")
    assert summary.skipped == [("d/a", "Permission denied")]


def test_documents_that_are_too_long(monkeypatch):
    monkeypatch.setattr("mergesketch.distributed.documents.reading.MAX_DOCUMENT", 1000)
    monkeypatch.setattr(jsonl_module, "MAX_DOCUMENT", 1000)
    monkeypatch.setattr(jsonl_module, "BLOCK", 64)
    write("d/a", "x" * 1001)
    write("d/b", "x" * 1000)
    write("d/c.gz", gzip.compress(bytes(10_000)))
    write_lines("d/d.jsonl", [{"text": "one"}, {"text": "x" * 2000}, {"text": "two"}])
    write_lines("d/e.jsonl", [{"text": "one"}, {"text": "x" * 2000}])
    found, summary = read("d")
    assert [text for _, text in found] == [b"x" * 1000, b"one", b"two", b"one"]
    assert [name for name, _ in summary.skipped] == ["d/a", "d/c.gz", "d/d.jsonl:2", "d/e.jsonl:2"]
    assert found[2][0] == ("d/d.jsonl", 3)


# -- JSON lines -----------------------------------------------------------------------------------

LINE_TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12).map(
            str.encode
        ),
        st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(LINE_TEXTS, st.booleans(), st.integers(1, 30), st.integers(1, 9))
def test_ranges_own_every_line_once(lines, ended, range_bytes, read_bytes):
    """Every cut of a file into ranges, and every size of the pieces read, gives each line once."""
    content = b"\n".join(lines) + (b"\n" if ended else b"")
    expected = content.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    found = []
    for start in range(0, len(content), range_bytes):
        stop = min(start + range_bytes, len(content))
        position = max(0, start - 1)

        def reader(n, state=[position]):  # noqa: B006
            piece = content[state[0] : state[0] + min(n, read_bytes)]
            state[0] += len(piece)
            return piece

        for block in line_blocks(reader, start, stop):
            found += block.split(b"\n")
    assert found == expected


def test_a_range_without_a_line_is_not_read_on():
    reads = []

    def read_one(n):
        reads.append(n)
        assert len(reads) < 4
        return b"x" * 100

    assert list(line_blocks(read_one, 1000, 1200)) == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "t", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(JSON_VALUES.map(json.dumps) | st.text(max_size=8).map(lambda s: s.replace("\n", "")), max_size=6)
)
def test_lines_are_what_json_says(lines):
    expected, refused = {}, set()
    for i, line in enumerate(lines):
        try:
            value = json.loads(line)["text"]
            assert isinstance(value, str)
            expected[i] = value.encode()
        except (ValueError, TypeError, KeyError, AssertionError, IndexError):
            if line.strip(" \t\r"):
                refused.add(i)
    try:
        block = "\n".join(lines).encode()
    except UnicodeEncodeError:
        block = "\n".join(lines).encode(errors="replace")
        return
    got = parse_block(block, "text")
    assert dict(zip(got.records, got.texts, strict=True)) == expected
    assert {i for i, _ in got.problems} == refused
    assert got.n_lines == max(1, len(lines))


BAD_LINES = [
    (b"{", "not JSON"),
    (b'{"text": "a"} x', "not JSON"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a": ' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    (b'{"text": ' + b"7" * 5000 + b"}", "the field 'text' is int, not a string"),
    (b"[1]", "not a JSON object"),
    (b'"text"', "not a JSON object"),
    (b'{"other": 1}', "no field 'text'"),
    (b'{"text": null}', "the field 'text' is null, not a string"),
    (b'{"text": ["a"]}', "the field 'text' is list, not a string"),
]
# The lines, their texts with bad bytes, and why they are errors where no byte may be bad.
DAMAGED_LINES = [
    (b'{"text": "a\xffb"}', b"a\xffb", "not UTF-8"),
    (b'{"x": "\xff", "text": "caf\xc3\xa9"}', b"caf\xc3\xa9", "not UTF-8"),
    (b'{"text": "a\\ud800b"}', b"a\xed\xa0\x80b", "not Unicode: the text has half a surrogate pair"),
    (b'{"text": "\xff\\ud800"}', b"\xed\xb3\xbf\xed\xa0\x80", "not UTF-8"),
]


def test_lines_with_bad_bytes():
    write("a.jsonl", b"\n".join(line for line, _, _ in DAMAGED_LINES) + b'\n{"text": "good"}\n')
    found, summary = read("a.jsonl")
    assert [text for _, text in found] == [*(text for _, text, _ in DAMAGED_LINES), b"good"]
    assert [line for (_, line), _ in found] == [1, 2, 3, 4, 5] and summary.n_skipped == 0
    for line, _, reason in DAMAGED_LINES:
        write("b.jsonl", b'{"text": "good"}\n' + line)
        with pytest.raises(DocumentError, match=f"b.jsonl:2: {reason}"):
            read("b.jsonl", strict=True)
        # Keys, which are read in the same way, have no words that bad bytes could separate.
        assert parse_block(line, "text").problems == [(0, reason)]


def test_texts_with_bad_bytes_are_errors_if_strict():
    write("a.txt", b"a\xffb")
    for strict in (False, True):
        source = DocumentSource("a.txt", strict=strict)
        (batch,) = source.batches()
        source.report_bad_bytes([])
        if strict:
            with pytest.raises(DocumentError, match=r"a.txt: not UTF-8 \(strict\)"):
                source.report_bad_bytes(batch.ids)
        else:
            source.report_bad_bytes(batch.ids)
            summary = source.finish()
            assert (summary.n_documents, summary.n_skipped) == (1, 0)


def test_valid_json_that_python_does_not_take_at_once():
    """Integers may have more digits than Python converts; joined files have byte order marks inside."""
    long, mark = b"1" * 5000, b"\xef\xbb\xbf"
    lines = [
        mark + mark + b'{"text": "first"}',
        b'{"n": -' + long + b', "text": "long"}',
        mark + b' {"text": "joined"} ',
        mark,
        b'{"n": [' + long + b", 1.5e" + long + b'], "text": "nested"}',
    ]
    write("a.jsonl", b"\n".join(lines))
    found, summary = read("a.jsonl")
    assert [text for _, text in found] == [b"first", b"long", b"joined", b"nested"]
    assert [line for (_, line), _ in found] == [1, 2, 3, 5] and summary.n_skipped == 0
    # Where every line is so, the file still has the field.
    write("b.jsonl", b"\n".join(lines[:2] * 60))
    assert len(read("b.jsonl")[0]) == 120
    write("c.jsonl", b"\n".join([mark + mark + b'{"n": ' + long + b"}"] * 3))
    with pytest.raises(
        DocumentError, match=r"c.jsonl has no field 'text' in its first records; they have 'n'"
    ):
        read("c.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz"])
@pytest.mark.parametrize("chunk_bytes", [1 << 24, 40])
def test_bad_lines_are_skipped_and_named(name, chunk_bytes):
    good = [b'{"text": "first"}', b"", b"  \r", b'{"x": 1, "text": "caf\\u00e9 \xc3\xa9"}\r']
    content = b"\n".join([*good, *(line for line, _ in BAD_LINES), b'{"text": "last"}'])
    write(name, gzip.compress(content) if name.endswith("gz") else content)
    found, summary = read(name, chunk_bytes=chunk_bytes)
    last = len(good) + len(BAD_LINES) + 1
    assert found == [
        ((name, 1), b"first"),
        ((name, 4), "café é".encode()),
        ((name, last), b"last"),
    ]
    assert summary.skipped == [(f"{name}:{5 + i}", why) for i, (_, why) in enumerate(BAD_LINES)]
    with pytest.raises(DocumentError, match=r"not JSON .strict"):
        documents(DocumentSource(name, chunk_bytes=chunk_bytes, strict=True))


def test_a_mark_at_the_beginning_of_json_lines():
    write("a.jsonl", b'\xef\xbb\xbf{"text": "x"}\n{"text": "y"}\n')
    write("b.jsonl.gz", gzip.compress(b'\xef\xbb\xbf{"text": "z"}'))
    found, _ = read(["a.jsonl", "b.jsonl.gz"])
    assert [text for _, text in found] == [b"x", b"y", b"z"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_wrong_field_is_an_error_that_names_the_fields(name):
    write_lines(name, [{"title": "x", "body": "y"}, {"title": "x", "id": 1}])
    with pytest.raises(DocumentError, match=f"{name} has no field 'text'.*'title', 'body', 'id'"):
        DocumentSource(name)
    found, _ = read(name, text_field="title")
    assert [text for _, text in found] == [b"x", b"x"]


def test_a_field_that_only_some_records_lack_is_no_error():
    write_lines("a.jsonl", [{"title": "x"}] * 5 + [{"text": "y"}])
    found, summary = read("a.jsonl")
    assert [text for _, text in found] == [b"y"] and summary.n_skipped == 5


def test_an_empty_or_foreign_file_of_lines_is_no_wrong_field():
    write("d/a.jsonl", "")
    write("d/b.jsonl", "not json\n\n")
    write("d/c.jsonl.gz", b"not gzip")
    found, summary = read("d")
    assert found == []
    assert [name for name, _ in summary.skipped] == ["d/b.jsonl:1", "d/c.jsonl.gz"]


def test_ids_grow_with_files_and_lines():
    write("d/a.txt", "a")
    write_lines("d/b.jsonl", [{"text": str(i)} for i in range(100)])
    write("d/c.txt", "c")
    source = DocumentSource("d", chunk_bytes=300)
    found = documents(source)
    source.finish()
    assert list(found.values()) == [b"a", *(str(i).encode() for i in range(100)), b"c"]
    assert source.name_of(list(found)) == [
        ("d/a.txt", None),
        *(("d/b.jsonl", i + 1) for i in range(100)),
        ("d/c.txt", None),
    ]
    assert min(found) == 0 and max(found) >> 36 == len(source._plan) - 1
    with pytest.raises(ValueError, match=r"ids must be ids of this source"):
        source.name_of([1 << 60])


@pytest.mark.slow
def test_damaged_gzip():
    lines = b"".join(
        json.dumps({"text": f"{i} {os.urandom(30).hex()}"}).encode() + b"\n" for i in range(40_000)
    )
    whole = gzip.compress(lines)
    write("d/a.jsonl.gz", whole[: len(whole) // 2])
    write("d/b.gz", whole[: len(whole) // 2])
    write("d/c.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 100)
    write("d/d.gz", whole[:-8] + bytes(8))
    write("d/e.gz", "no gzip at all")
    found, summary = read("d")
    assert 5_000 < len(found) < 25_000
    assert all(path == "d/a.jsonl.gz" for (path, _), _ in found)
    assert summary.n_skipped == 5
    assert summary.skipped[0][0] == f"d/a.jsonl.gz:{len(found) + 1}"
    for name, (skipped, reason) in zip("bcde", summary.skipped[1:], strict=True):
        assert skipped == f"d/{name}.gz" and reason.startswith("damaged: ")


# -- Parquet --------------------------------------------------------------------------------------


def write_parquet(name, columns, **options):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    Path(name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), name, **options)
    return name


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "binary"])
def test_parquet(kind):
    pa = pytest.importorskip("pyarrow")
    texts = ["first", None, "", "caf\u00e9", *(f"row {i}" for i in range(20))]
    column = pa.array(texts)
    if kind == "dictionary":
        column = column.dictionary_encode()
    elif kind != "string":
        column = column.cast(getattr(pa, kind)())
    write_parquet("a.parquet", {"id": range(24), "text": column}, row_group_size=7)
    found, summary = read("a.parquet", batch_bytes=20)
    assert found == [
        (("a.parquet", i + 1), text.encode()) for i, text in enumerate(texts) if text is not None
    ]
    assert summary.skipped == [("a.parquet:2", "null")]


def test_a_parquet_file_of_nulls_alone():
    """Its column has no text type if the writer was given none; the files beside it are read."""
    pa = pytest.importorskip("pyarrow")
    write_parquet("a.parquet", {"text": pa.nulls(2)})
    write_parquet("b.parquet", {"text": ["one"]})
    found, summary = read(["a.parquet", "b.parquet"])
    assert found == [(("b.parquet", 1), b"one")]
    assert summary.skipped == [("a.parquet:1", "null"), ("a.parquet:2", "null")]


def test_a_column_whose_name_is_the_path_of_another():
    """A column `a.b` may lie beside a struct a with a field b. Two columns of one name are refused."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    struct = pa.array([{"b": "x", "text": "no"}] * 3)
    for order in (("a", "a.b", "text"), ("text", "a.b", "a")):
        columns = {"a": struct, "a.b": pa.array(["one", None, "three"]), "text": pa.array(["t", "u", "v"])}
        table = pa.table({name: columns[name] for name in order})
        pq.write_table(table, "a.parquet")
        found, summary = read("a.parquet", text_field="a.b")
        assert found == [(("a.parquet", 1), b"one"), (("a.parquet", 3), b"three")]
        assert summary.skipped == [("a.parquet:2", "null")]
        assert [text for _, text in read("a.parquet")[0]] == [b"t", b"u", b"v"]
    with pytest.raises(DocumentError, match=r"the column 'a' of a.parquet holds struct"):
        DocumentSource("a.parquet", text_field="a")
    pq.write_table(pa.table([pa.array(["x"]), pa.array(["y"])], names=["text", "text"]), "b.parquet")
    with pytest.raises(DocumentError, match=r"b.parquet has 2 columns 'text'"):
        DocumentSource("b.parquet")


@pytest.mark.parametrize("kind", ["string_view", "binary_view"])
def test_parquet_of_views(kind):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": pa.array(["cake", "tea", None], getattr(pa, kind)())}), "a.parquet")
    found, summary = read("a.parquet")
    assert [text for _, text in found] == [b"cake", b"tea"]
    assert summary.skipped == [("a.parquet:3", "null")]


def test_parquet_of_polars():
    pl = pytest.importorskip("polars")
    texts = ["tea", "", "naïve", "tea"]
    for dtype in (pl.String, pl.Categorical, pl.Enum(sorted(set(texts)))):
        pl.DataFrame({"text": pl.Series(texts, dtype=dtype)}).write_parquet("a.parquet")
        assert [text.decode() for _, text in read("a.parquet")[0]] == texts


def test_parquet_rows_of_very_different_length():
    """No batch is longer than it should be, although rows are counted by their average length."""
    texts = ["x"] * 5000 + ["y" * 5000] * 100
    write_parquet("a.parquet", {"text": texts})
    source = DocumentSource("a.parquet", batch_bytes=12_000)
    assert max(len(batch.data) for batch in source.batches()) <= 12_000
    assert source.n_documents == 5100


def test_wrong_parquet():
    write_parquet("a.parquet", {"id": [1], "words": [["x"]]})
    with pytest.raises(DocumentError, match=r"a.parquet has no column 'text'; it has 'id', 'words'"):
        DocumentSource("a.parquet")
    with pytest.raises(DocumentError, match=r"the column 'id' of a.parquet holds int64, not text"):
        DocumentSource("a.parquet", text_field="id")
    with pytest.raises(DocumentError, match=r"the column 'words' of a.parquet holds list"):
        DocumentSource("a.parquet", text_field="words")
    write("b.parquet", "no Parquet")
    with pytest.raises(DocumentError, match=r"cannot read the Parquet file b.parquet"):
        DocumentSource("b.parquet")


def test_parquet_damaged_inside():
    write_parquet("a.parquet", {"text": [os.urandom(50).hex() for _ in range(5000)]}, use_dictionary=False)
    content = bytearray(Path("a.parquet").read_bytes())
    content[1000:200_000] = bytes(199_000)
    write("a.parquet", bytes(content))
    found, summary = read("a.parquet")
    assert found == [] and summary.n_skipped == 1
    ((name, reason),) = summary.skipped
    assert name == "a.parquet" and reason.startswith("damaged: ")
    with pytest.raises(DocumentError, match=r"a.parquet: damaged: .* \(strict\)"):
        documents(DocumentSource("a.parquet", strict=True))


def test_parquet_without_pyarrow(monkeypatch):
    write("a.parquet", "x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DocumentError, match=re.escape(f"needs pyarrow: {how_to_install('arrow')}")):
        DocumentSource("a.parquet")


# -- what is skipped ------------------------------------------------------------------------------


def test_documents_that_turn_out_unusable():
    for name in "abc":
        write(f"d/{name}", name)
    source = DocumentSource("d")
    (batch,) = source.batches()
    source.report_skipped(batch.ids[[1]])
    summary = source.finish()
    assert (summary.n_documents, summary.skipped) == (2, [("d/b", "not UTF-8")])
    source = DocumentSource("d", strict=True)
    (batch,) = source.batches()
    with pytest.raises(DocumentError, match=r"d/b: not UTF-8"):
        source.report_skipped(batch.ids[[1]])


def test_all_skipped_are_counted_and_the_first_named():
    write("a.jsonl", "x\n" * 1000 + '{"text": "y"}\n')
    _, summary = read("a.jsonl", chunk_bytes=100)
    assert summary.n_skipped == 1000
    assert [name for name, _ in summary.skipped] == [f"a.jsonl:{i + 1}" for i in range(100)]


# -- progress -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_terminal", "progress"), [(True, True), (False, True), (True, False)])
def test_progress_is_shown_on_terminals_only(is_terminal, progress, monkeypatch):
    class Stream(io.StringIO):
        def isatty(self):
            return is_terminal

    monkeypatch.setattr(progress_module, "DELAY", 0)
    monkeypatch.setattr(sys, "stderr", Stream())
    for i in range(5):
        write(f"d/{i}", "x" * 1000)
    documents(DocumentSource("d", progress=progress))
    assert ("reading" in sys.stderr.getvalue()) == (is_terminal and progress)


# -- ranks ----------------------------------------------------------------------------------------


@pytest.fixture
def corpus():
    """Write every kind of file, good and bad."""
    rng = np.random.default_rng(5)
    for i in range(30):
        write(f"d/{i % 3}/{i}.txt", "text " * int(rng.integers(0, 300)))
    write_lines("d/a.jsonl", [{"text": "t" * int(rng.integers(0, 90))} for _ in range(300)])
    write("d/b.jsonl", b'{"text": "a"}\nbad\n\n' * 200)
    write_lines("d/c.jsonl.gz", [{"text": str(i)} for i in range(100)])
    write("d/e.gz", "no gzip")
    os.symlink("nowhere", "d/dangling")
    return ["d", "d/1"]


def test_any_number_of_ranks_reads_the_same(corpus):
    pytest.importorskip("mpi4py.MPI")
    alone = DocumentSource(corpus, chunk_bytes=500)
    expected = documents(alone)
    summary = alone.finish()
    names = alone.name_of(list(expected))
    assert summary.n_skipped == 202 and len(expected) == 30 + 300 + 200 + 100
    for n_ranks in (2, 3, 4):

        def one(comm):
            source = DocumentSource(corpus, chunk_bytes=500, comm=comm)
            found = documents(source)
            told = source.finish()
            return found, told, source.name_of(list(expected))

        results = ThreadRank(n_ranks).run(one)
        merged = {}
        for found, told, named in results:
            assert told == summary and named == names
            assert found, "a rank had nothing to do"
            assert not merged.keys() & found.keys()
            merged |= found
        assert merged == expected


def test_an_error_reaches_every_rank(corpus):
    def missing(comm):
        DocumentSource("missing", comm=comm)

    def different(comm):
        DocumentSource(corpus, text_field=str(comm.rank), comm=comm)

    for error in ThreadRank(3).run(missing):
        assert isinstance(error, DistributedError)
        assert "cannot read missing" in str(error)
    for error in ThreadRank(3).run(different):
        assert isinstance(error, DistributedError)
        assert "ranks must agree on the documents to read" in str(error)


@given(st.lists(st.integers(0, 1000), max_size=60), st.integers(1, 6))
def test_shares_are_even(costs, n_ranks):
    """No rank has more than the mean plus the largest chunk, which is the greedy rule's bound."""
    rank = assign(np.array(costs, dtype=np.int64), n_ranks)
    loads = np.bincount(rank, weights=costs, minlength=n_ranks) if costs else np.zeros(n_ranks)
    assert len(loads) == n_ranks and loads.sum() == sum(costs)
    assert loads.max() <= sum(costs) / n_ranks + max(costs, default=0)
