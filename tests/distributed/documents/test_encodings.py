"""Test texts in other encodings: decoded to UTF-8 in every kind of file, whole or in pieces."""

import csv
import gzip
import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mergesketch.distributed import DocumentSource, deduplicate
from mergesketch.distributed.documents import encodings
from mergesketch.distributed.documents.contents import raw_records
from mergesketch.distributed.documents.copying import copy_without
from mergesketch.distributed.documents.encodings import Encoded, Transcoded, check_encoding, text_encoding
from mergesketch.distributed.documents.formats import detect
from mergesketch.distributed.documents.listing import list_files
from mergesketch.errors import DocumentError

TEXTS = ["Größe und Übung", "naïve café", "ça va où", "fin"]
MARKED = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(path: str, **options) -> tuple[list[tuple[str | None, int | None, bytes]], DocumentSource]:
    """Return the name, the line and the text of every document, after reading them twice."""
    source = DocumentSource(path, **options)
    passes = []
    for _ in range(2):
        texts = {}
        for batch in source.batches():
            for i, document in enumerate(batch.ids.tolist()):
                texts[document] = batch.data[batch.offsets[i] : batch.offsets[i + 1]].tobytes()
        passes.append(texts)
    assert passes[0] == passes[1]
    assert source.finish().n_skipped == 0
    names = source.name_of(np.array(list(passes[0]), dtype=np.uint64))
    return [(*name, text) for name, text in zip(names, passes[0].values(), strict=True)], source


def contents_of(kind: str) -> str:
    if kind == "jsonl":
        return "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in TEXTS)
    if kind == "json":
        return json.dumps([{"text": text} for text in TEXTS], ensure_ascii=False)
    table = io.StringIO(newline="")
    writer = csv.writer(table, delimiter="," if kind == "csv" else "\t")
    writer.writerows([["id", "text"], *([i, text] for i, text in enumerate(TEXTS))])
    return table.getvalue()


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8", *MARKED])
def test_records(kind: str, encoding: str, compressed: bool) -> None:
    """The line ends of UTF-16 are two bytes, and U+0A0D has the byte of one."""
    mark = "\ufeff" if encoding in MARKED else ""
    data = (mark + contents_of(kind)).encode(encoding)
    name = f"a.{kind}" + ".gz" * compressed
    Path(name).write_bytes(gzip.compress(data) if compressed else data)
    given = "auto" if mark else encoding
    found, source = read(name, encoding=given, chunk_bytes=20)
    first = 2 if kind in ("csv", "tsv") else 1
    assert found == [(name, i, text.encode()) for i, text in enumerate(TEXTS, start=first)]
    assert source.encoding == ("auto" if mark else check_encoding(encoding))
    assert found == read(name, encoding=given, strict=True)[0]


@pytest.mark.parametrize("encoding", MARKED)
def test_marks_decide(encoding: str) -> None:
    """A text with a mark is decoded without a word from the caller, also in an archive."""
    text = "Größe 漢字 🎉\n\u0a0d\u0d0a ends"
    data = ("\ufeff" + text).encode(encoding)
    Path("a.txt").write_bytes(data)
    Path("b.txt.gz").write_bytes(gzip.compress(data))
    Path("c.txt").write_text(text, encoding="utf-8-sig")
    Path("d.txt").write_text(text, encoding="utf-8")
    with tarfile.open("e.tar", "w") as archive:
        for name in ("a.txt", "b.txt.gz"):
            archive.add(name)
    found, _ = read(".")
    assert [name for name, _, _ in found] == ["./" + n for n in ("a.txt", "b.txt.gz", "c.txt", "d.txt")] + [
        "./e.tar!a.txt",
        "./e.tar!b.txt.gz",
    ]
    assert {read_text for _, _, read_text in found} == {text.encode()}


def test_an_encoding_for_all_files_and_members_of_archives() -> None:
    Path("d").mkdir()
    Path("d/a.txt").write_bytes("мороз и солнце".encode("koi8-r"))
    Path("d/b.jsonl").write_bytes('{"text": "день чудесный"}\n{"text": "и"}'.encode("koi8-r"))
    with tarfile.open("d/c.tar", "w") as archive:
        for name in ("a.txt", "b.jsonl"):
            archive.add(f"d/{name}", name)
    found, _ = read("d", encoding="KOI8-R")
    texts = ["мороз и солнце", "день чудесный", "и"]
    assert [text.decode() for _, _, text in found] == texts * 2
    assert [line for _, line, _ in found] == [None, 1, 2] * 2


@pytest.mark.parametrize("encoding", ["shift_jis", "euc-jp", "gb18030", "big5", "iso2022_jp"])
def test_encodings_of_several_bytes(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters cross the borders of the blocks that are decoded."""
    monkeypatch.setattr(encodings, "_BLOCK", 7)
    text = "漢字と漢字 a\n" * 9
    if encoding == "big5":
        text = "漢字 a\n" * 9
    Path("a.txt").write_bytes(text.encode(encoding))
    assert read("a.txt", encoding=encoding)[0] == [("a.txt", None, text.encode())]


def test_bad_bytes_are_counted_and_separate_words() -> None:
    """A byte that the encoding lacks is treated like a bad byte of UTF-8; with strict it is an error."""
    good = " ".join(f"mot{i} é" for i in range(40))
    Path("a.txt").write_bytes(good.encode("cp1252"))
    Path("b.txt").write_bytes(good.encode("cp1252").replace(b" mot20 ", b" mot20\x81"))
    Path("c.txt").write_bytes(("\ufeff" + good).encode("utf-16-le") + b"\x00\xd8 \x00o\x00k\x00x")
    result = deduplicate(DocumentSource(["a.txt", "b.txt"], encoding="cp1252"))
    assert (result.n_groups, result.n_duplicates, result.n_invalid) == (1, 1, 1)
    (((_, _, text),), source) = read("c.txt")
    assert text == good.encode() + b"\xff ok\xff"
    assert deduplicate(source).n_invalid == 1
    for name, encoding, wanted in (("b.txt", "cp1252", "cp1252"), ("c.txt", "auto", "utf-16-le")):
        with pytest.raises(DocumentError, match=rf"{name}: not {wanted} \(strict\)"):
            deduplicate(DocumentSource(name, encoding=encoding, strict=True))
    Path("d.jsonl").write_bytes(b'{"text": "good"}\n{"text": "\x81"}')
    with pytest.raises(DocumentError, match=r"d.jsonl:2: not cp1252 \(strict\)"):
        list(DocumentSource("d.jsonl", encoding="cp1252", strict=True).batches())


def test_texts_of_two_encodings_are_near_duplicates() -> None:
    text = " ".join(f"größe{i}" for i in range(30))
    Path("a.txt").write_bytes(("\ufeff" + text).encode("utf-16-be"))
    Path("b.txt").write_text(text, encoding="utf-8")
    assert deduplicate(DocumentSource(["a.txt", "b.txt"])).n_groups == 1


def test_json_in_utf16_by_content() -> None:
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    for content, numbers in ((lines, [1, 2, 3, 4]), (contents_of("json"), [1, 2, 3, 4]), ("{}", [None])):
        Path("a.json").write_bytes(("\ufeff" + content).encode("utf-16-le"))
        assert [line for _, line, _ in read("a.json")[0]] == numbers


def test_null_bytes_are_text_only_where_the_encoding_has_them() -> None:
    Path("a.txt").write_bytes("no mark".encode("utf-16-le"))
    for encoding, skipped in (("auto", 1), ("latin-1", 1), ("utf-16", 0), ("utf-16-le", 0)):
        source = DocumentSource("a.txt", encoding=encoding)
        list(source.batches())
        assert source.finish().n_skipped == skipped


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16-be"])
def test_raw_records_can_be_written_in_the_encoding_of_the_file(kind: str, encoding: str) -> None:
    mark = "\ufeff" if encoding != "latin-1" else ""
    data = (mark + contents_of(kind)).encode(encoding)
    Path(f"a.{kind}").write_bytes(data)
    (listed,) = list_files([f"a.{kind}"], [], []).files
    file = detect(listed, encoding="auto" if mark else "iso8859-1")
    records = list(raw_records(file))
    if kind == "json":
        assert records == [json.dumps({"text": text}, ensure_ascii=False).encode() for text in TEXTS]
        return
    written = io.BytesIO()
    target = Encoded(written, file.encoding)
    for record in records:
        target.write(record)
    target.finish()
    assert written.getvalue() == data
    lost = io.BytesIO()
    Encoded(lost, "ascii").write("é".encode() + b"\xffx")
    assert lost.getvalue() == b"??x"


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tar"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
@pytest.mark.parametrize("compressed", [False, True])
def test_cleaned_files_keep_their_encoding(kind: str, encoding: str, compressed: bool) -> None:
    """The copy without a record is what would have been written without it."""

    def content(texts: list[str]) -> bytes:
        records = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
        if kind == "json":
            written = "[\n" + ",\n".join(records) + "\n]\n"
        elif kind == "csv":
            written = "\n".join(["text", *texts, ""])
        else:
            written = "\n".join([*records, ""])
        mark = "\ufeff" if encoding == "utf-16-le" else ""
        return (mark + written).encode(encoding)

    suffix = ".gz" * compressed
    open_it = gzip.open if compressed else open
    name = f"a.{kind}{suffix}"
    if kind == "tar":
        Path("b.jsonl").write_bytes(content(TEXTS))
        with tarfile.open(name, "w:gz" if compressed else "w") as archive:
            archive.add("b.jsonl")
    else:
        with open_it(name, "wb") as file:
            file.write(content(TEXTS))
    source = DocumentSource(name, encoding=encoding)
    list(source.batches())
    source.finish()
    (file,) = source._plan.files
    assert copy_without(
        file, [3 if kind == "csv" else 2], Path("copy"), members=source.members_of(0) if kind == "tar" else ()
    )
    wanted = content([*TEXTS[:2], TEXTS[3]])
    if kind == "tar":
        with tarfile.open("copy") as archive:
            assert archive.extractfile("b.jsonl").read() == wanted
    else:
        with open_it("copy", "rb") as file:
            assert file.read() == wanted


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(["utf-16-le", "utf-32-be", "gb18030", "utf-7"]),
    st.integers(1, 9),
    st.integers(1, 9),
)
@example("🎉", "utf-16-le", 1, 1)
@settings(max_examples=150, deadline=None)
def test_pieces(text: str, encoding: str, block: int, piece: int) -> None:
    """Neither the blocks that are decoded nor the pieces that are read change the text."""
    data = text.encode(encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "_BLOCK", block)
        opened = Transcoded(io.BytesIO(data), encoding)
        parts = list(iter(lambda: opened.read(piece), b""))
    assert all(len(part) <= piece for part in parts)
    assert b"".join(parts) == text.encode()
    written = io.BytesIO()
    target = Encoded(written, encoding)
    for part in parts:
        assert target.write(memoryview(part)) == len(part)
    target.finish()
    assert written.getvalue().decode(encoding) == text
    # UTF-7 has several ways to write a text.
    assert encoding == "utf-7" or written.getvalue() == data


@given(st.binary(max_size=30), st.sampled_from(["cp1252", "utf-16-le", "shift_jis", "ascii", "utf-32-be"]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_decoded(data: bytes, encoding: str) -> None:
    """Good characters are those of Python's decoder, and every error is one byte that is not UTF-8."""
    ours = Transcoded(io.BytesIO(data), encoding).readall().replace(b"\xff", b"\xef\xbf\xbd")
    assert ours == data.decode(encoding, "replace").encode()


def test_names_of_encodings() -> None:
    assert check_encoding("auto") == "auto"
    assert check_encoding("Latin-1") == check_encoding("iso8859_1") == "iso8859-1"
    assert text_encoding(b"abc", "utf-8") == text_encoding(b"\xff\xfe", "utf-8") == ""
    assert text_encoding(b"\xff\xfe\0\0", "auto") == "utf-32-le"
    assert text_encoding(b"\xfe\xffab", "utf-16") == "utf-16-be"
    assert text_encoding(b"a\0b\0", "utf-16") == "utf-16-le"
    for name in ("no-such", "hex", "rot13", "zip", "undefined", "", "a\0b", "../x"):
        wanted = (
            "encoding must be 'auto' or the name of an encoding of text in Python, such as 'cp1252', got "
        )
        with pytest.raises(ValueError, match=re.escape(wanted + repr(name))):
            DocumentSource(".", encoding=name)
    with pytest.raises(TypeError, match="encoding must be a string, got None"):
        DocumentSource(".", encoding=None)
