"""Test decompression: every codec by content, members, truncated and damaged files, and missing packages."""

import bz2
import gzip
import io
import lzma
import os
import sys
from functools import partial
from pathlib import Path

import pytest
from document_files import read, write
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed.documents import compression
from mergesketch.distributed.documents.compression import (
    CODECS,
    DamagedError,
    Decompressed,
    TrailingBytesError,
    check_end,
    codec_of,
)
from mergesketch.distributed.documents.source import DocumentSource
from mergesketch.errors import DocumentError
from mergesketch.lsh.support.install import how_to_install


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def compress_zstd(data: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


COMPRESS = {
    "gzip": gzip.compress,
    "zstd": compress_zstd,
    "bzip2": partial(bz2.compress, compresslevel=1),
    "xz": partial(lzma.compress, preset=0),
}
NAMES = [codec.name for codec in CODECS]


@pytest.fixture(params=["isal", "zlib"])
def gzip_library(request, monkeypatch):
    """Use one of the libraries for gzip."""
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setattr(compression, "_fastest_zlib", lambda: compression.zlib)


def decompress(data: bytes, name: str, n: int = 1 << 20) -> tuple[bytes, str]:
    """Return all bytes before the end or an error, and the error."""
    stream = Decompressed(io.BytesIO(data), name)
    parts = []
    try:
        while part := stream.read(n):
            assert len(part) <= n
            parts.append(part)
    except DamagedError as error:
        with pytest.raises(DamagedError) as again:
            stream.read(n)
        assert again.value is error
        return b"".join(parts), str(error)
    assert stream.read(n) == b""
    return b"".join(parts), ""


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(
    members=st.lists(st.binary(max_size=60) | st.integers(1, 300_000).map(bytes), min_size=1, max_size=4),
    padding=st.integers(0, 3),
    n=st.integers(1, 1 << 20),
)
def test_members_follow_one_another(name, members, padding, n):
    """Zeros may stand between and behind members. An empty member gives nothing."""
    n = max(n, sum(map(len, members)) // 1000)
    stored = b"".join(COMPRESS[name](member) + bytes(4 * padding) for member in members)
    assert codec_of(stored) == name
    assert decompress(stored, name, n) == (b"".join(members), "")


@pytest.mark.parametrize("name", NAMES)
def test_the_two_libraries_of_gzip_and_all_codecs_give_what_comes_before_the_damage(name, gzip_library):
    content = os.urandom(400_000) + b"abc" * 100_000
    stored = COMPRESS[name](content)
    found = []
    for cut in (len(stored) // 2, len(stored) - 9, len(stored) - 1):
        text, error = decompress(stored[:cut], name)
        assert error == f"the {name} data ends before its end mark" and content.startswith(text)
        found.append(len(text))
    assert found == sorted(found)
    if name in ("gzip", "zstd"):
        assert found[0] > 10_000
    # All of the content is there before the end mark, which other bytes follow.
    stream = Decompressed(io.BytesIO(stored + b"junk"), name)
    assert stream.readall() == content
    with pytest.raises(TrailingBytesError, match=f"other bytes follow the end of the {name} data"):
        check_end(stream)
    stream = Decompressed(io.BytesIO(stored + bytes(40)), name)
    assert stream.readall() == content
    check_end(stream)
    damaged = bytearray(stored)
    damaged[-6:] = bytes(6)
    text, error = decompress(bytes(damaged), name)
    assert error and content.startswith(text)
    assert decompress(b"no such data at all", name) == (b"", f"no {name} data")
    assert decompress(stored[:2], name) == (b"", f"no {name} data")


def test_only_whole_marks_are_recognised():
    for codec in CODECS:
        for magic in codec.magics:
            assert codec_of(magic + b"more") == codec.name
            assert codec_of(magic[:-1]) is None
    assert codec_of(b"BZh9 is how bzip2 begins") is None and codec_of(b"") is None


@pytest.mark.slow
def test_memory_is_bounded():
    """Small files of endless text are given out in small pieces."""
    for name in NAMES:
        if name == "zstd":
            pytest.importorskip("zstandard")
        stored = COMPRESS[name](bytes(64 << 20))
        stream = Decompressed(io.BytesIO(stored), name)
        assert len(stream.read(1 << 30)) <= 32 << 20
        assert sum(len(part) for part in iter(lambda s=stream: s.read(1 << 30), b"")) <= 64 << 20


@pytest.mark.parametrize("name", NAMES)
def test_files_by_content_whatever_their_name_says(name):
    lines = b'{"text": "one"}\n{"text": "two"}\n'
    suffix = next(codec.suffix for codec in CODECS if codec.name == name)
    for path, content in [
        (f"d/a.jsonl{suffix}", lines),
        ("d/b.jsonl", lines),
        (f"d/c.json{suffix.upper()}", lines),
        ("d/d.txt.gz", b"prose"),
        ("d/e", b"\xef\xbb\xbfprose"),
    ]:
        write(path, COMPRESS[name](content))
    found, summary = read("d")
    assert summary.n_skipped == 0
    assert [(*place, text) for place, text in found] == [
        (f"d/a.jsonl{suffix}", 1, b"one"),
        (f"d/a.jsonl{suffix}", 2, b"two"),
        ("d/b.jsonl", 1, b"one"),
        ("d/b.jsonl", 2, b"two"),
        (f"d/c.json{suffix.upper()}", 1, b"one"),
        (f"d/c.json{suffix.upper()}", 2, b"two"),
        ("d/d.txt.gz", None, b"prose"),
        ("d/e", None, b"prose"),
    ]
    assert summary.bytes_read == sum(path.stat().st_size for path in Path("d").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_file_is_named_and_its_lines_before_are_read(name, gzip_library):
    lines = b"".join(b'{"text": "%s"}\n' % os.urandom(200).hex().encode() for _ in range(1500))
    stored = COMPRESS[name](lines)
    suffix = next(codec.suffix for codec in CODECS if codec.name == name)
    path = write(f"a.jsonl{suffix}", stored[: len(stored) // 2])
    found, summary = read(path)
    assert 400 < len(found) < 1000 and summary.n_skipped == 1
    ((skipped, reason),) = summary.skipped
    assert reason == f"damaged: the {name} data ends before its end mark"
    assert skipped == f"{path}:{len(found) + 1}"
    assert [line for (_, line), _ in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("suffix", [".zst", ""])
def test_zstandard_without_its_package(suffix, monkeypatch):
    write(f"a{suffix}", compress_zstd(b"text"))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(DocumentError) as failed:
        DocumentSource(f"a{suffix}")
    assert str(failed.value) == (
        f"cannot read a{suffix}: Zstandard needs the package zstandard: {how_to_install('zstd')}"
    )
