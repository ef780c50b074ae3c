"""Test sketches in file objects: in memory, compressed, in archives, through pipes, one after the other."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import socket
import tempfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import mergesketch
import numpy as np
import pytest
from forged_files import forged
from mergesketch import BloomFilter, CountMinSketch, HeavyHitters
from mergesketch.errors import SketchFormatError
from registry import STORED_EXAMPLES


@pytest.fixture
def sketch() -> CountMinSketch:
    return CountMinSketch(n_rows=3, n_buckets=5000, seed=1).update(np.arange(2000) % 77)


class Trickle(io.RawIOBase):
    """Bytes that a caller gets a few at a time, from a file that cannot be rewound."""

    def __init__(self, data: bytes = b"", step: int = 7) -> None:
        self.data, self.place, self.step = bytearray(data), 0, step

    def readable(self) -> bool:
        return True

    writable = readable

    def read(self, size: int = -1) -> bytes:
        assert size > 0, "the rest of a pipe must not be asked for"
        part = bytes(self.data[self.place : self.place + min(size, self.step)])
        self.place += len(part)
        return part

    def write(self, data: Any) -> int:
        part = bytes(data[: self.step])
        self.data += part
        return len(part)


@pytest.mark.slow
@pytest.mark.parametrize("structure", STORED_EXAMPLES)
def test_every_class_is_read_from_the_middle_of_a_stream(structure: str) -> None:
    for stored in STORED_EXAMPLES[structure].values():
        data = stored.to_bytes()
        assert mergesketch.from_bytes(data) == stored
        assert type(mergesketch.from_bytes(data)) is type(stored)
        file = io.BytesIO()
        file.write(b"before")
        stored.save(file)
        stored.save(file)
        file.write(b"after")
        assert file.getvalue() == b"before" + data + data + b"after"
        file.seek(6)
        assert mergesketch.inspect(file)["intact"]
        assert file.tell() == 6 + len(data)
        again = type(stored).load(file)
        assert again == stored
        assert again.to_bytes() == data
        assert file.read() == b"after"


def test_arrays_that_were_read_can_be_updated(sketch: CountMinSketch) -> None:
    file = io.BytesIO(sketch.to_bytes())
    again = CountMinSketch.load(file)
    assert again.update([5]) == sketch.copy().update([5])
    assert file.getvalue() == sketch.to_bytes()


def test_short_reads_and_short_writes(sketch: CountMinSketch) -> None:
    file = Trickle()
    sketch.save(file)
    assert bytes(file.data) == sketch.to_bytes()
    assert mergesketch.load(file) == sketch
    assert mergesketch.inspect(Trickle(sketch.to_bytes()))["bytes"] == len(sketch.to_bytes())


@pytest.mark.parametrize("opener", [gzip.open, bz2.open, lzma.open])
def test_compressed_files(opener: Callable[..., Any], sketch: CountMinSketch, tmp_path: Path) -> None:
    with opener(tmp_path / "a", "wb") as file:
        sketch.save(file)
        sketch.save(file)
    with opener(tmp_path / "a", "rb") as file:
        assert mergesketch.load(file) == mergesketch.load(file) == sketch
        with pytest.raises(SketchFormatError, match="0 bytes"):
            mergesketch.load(file)
    with opener(tmp_path / "a", "rb") as file, pytest.raises(TypeError, match="mmap=True, got"):
        mergesketch.load(file, mmap=True)


def test_members_of_zip_files(sketch: CountMinSketch, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("one", "w") as file:
            sketch.save(file)
        sketch.save(zipfile.Path(archive, "two"))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        with archive.open("one") as file:
            assert mergesketch.load(file) == sketch
        assert mergesketch.load(zipfile.Path(archive, "two")) == sketch
        assert mergesketch.inspect(zipfile.Path(archive, "two"))["n_updates"] == 2000
        with pytest.raises(TypeError, match="mmap=True, got ZipExtFile"):
            mergesketch.load(zipfile.Path(archive, "two"), mmap=True)


@pytest.mark.parametrize("pipe", ["pipe", "socket", "raw socket"])
def test_pipes_and_sockets(pipe: str, sketch: CountMinSketch) -> None:
    sketches = [sketch, BloomFilter(capacity=200_000).update(np.arange(1000)), sketch]
    if pipe == "pipe":
        out, into = os.pipe()
        reader, writer = os.fdopen(out, "rb"), os.fdopen(into, "wb")
    else:
        ours, theirs = socket.socketpair()
        buffering = {"buffering": 0} if pipe == "raw socket" else {}
        reader, writer = ours.makefile("rb", **buffering), theirs.makefile("wb", **buffering)
        ours.close()
        theirs.close()

    def send() -> None:
        with writer:
            for one in sketches:
                one.save(writer)

    thread = threading.Thread(target=send)
    thread.start()
    with reader:
        assert [mergesketch.load(reader) for _ in sketches] == sketches
        assert reader.read() == b""
    thread.join()


def test_a_file_that_does_not_wait(sketch: CountMinSketch) -> None:
    out, into = os.pipe()
    for descriptor in (out, into):
        os.set_blocking(descriptor, False)
    with open(out, "rb", buffering=0) as reader, open(into, "wb", buffering=0) as writer:
        with pytest.raises(BlockingIOError, match="path must be a file that waits"):
            mergesketch.load(reader)
        large = BloomFilter(capacity=1_000_000)
        with pytest.raises(BlockingIOError, match=r"path must be a file that waits.*FileIO"):
            large.save(writer)


@pytest.mark.parametrize(
    "make", [tempfile.TemporaryFile, tempfile.NamedTemporaryFile, tempfile.SpooledTemporaryFile]
)
def test_temporary_files(make: Callable[..., Any], sketch: CountMinSketch) -> None:
    with make() as file:
        file.write(b"1234567")
        sketch.save(file)
        sketch.save(file)
        file.seek(7)
        assert mergesketch.load(file) == sketch
        if make is tempfile.SpooledTemporaryFile:
            with pytest.raises(TypeError, match="mmap=True, got SpooledTemporaryFile"):
                mergesketch.load(file, mmap=True)
            return
        file.write(sketch.to_bytes())
        file.seek(7)
        mapped = [mergesketch.load(file, mmap=True) for _ in range(2)]
        assert mapped == [sketch] * 2
        assert file.tell() == 7 + 2 * len(sketch.to_bytes())
        # The file never changes, and the arrays of the file can be changed.
        mapped[0].update([1])
        file.seek(7)
        assert mergesketch.load(file) == sketch != mapped[0]


def test_mapping_from_a_file_object_reads_only_what_is_touched(tmp_path: Path) -> None:
    large = BloomFilter(capacity=10_000_000)
    large.update([1]).save(tmp_path / "large")
    with open(tmp_path / "large", "rb") as file:
        tracemalloc.start()
        assert 1 in mergesketch.load(file, mmap=True)
        assert tracemalloc.get_traced_memory()[1] < large.nbytes / 10
        tracemalloc.stop()
        file.seek(0)
        (tmp_path / "short").write_bytes(file.read()[:-1])
    with (
        open(tmp_path / "short", "rb") as file,
        pytest.raises(SketchFormatError, match="short: expected a whole sketch file"),
    ):
        mergesketch.load(file, mmap=True)


def test_files_of_fsspec(sketch: CountMinSketch) -> None:
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://sketches/a.sketch", "wb") as file:
        sketch.save(file)
    with fsspec.open("memory://sketches/a.sketch", "rb") as file:
        assert mergesketch.load(file) == sketch
    with fsspec.open("memory://sketches/a.gz", "wb", compression="gzip") as file:
        sketch.save(file)
    with fsspec.open("memory://sketches/a.gz", "rb", compression="gzip") as file:
        assert mergesketch.inspect(file)["intact"]
    with pytest.raises(TypeError, match="got OpenFile, which has to be opened first"):
        mergesketch.load(fsspec.open("memory://sketches/a.sketch", "rb"))


def test_objects_that_open_like_paths(sketch: CountMinSketch) -> None:
    class Remote:
        """As `importlib.resources` and `upath` have them."""

        kept: ClassVar[dict[str, bytes]] = {}

        def open(self, mode: str = "r") -> io.BytesIO:
            kept = self.kept

            class File(io.BytesIO):
                def close(self) -> None:
                    kept[mode] = self.getvalue()

            return File(kept["wb"] if mode == "rb" else b"")

    sketch.save(Remote())
    assert Remote.kept["wb"] == sketch.to_bytes()
    assert mergesketch.load(Remote()) == sketch
    assert "rb" in Remote.kept, "the file was not closed"


def test_what_is_no_binary_file_is_refused(sketch: CountMinSketch, tmp_path: Path) -> None:
    before = sketch.to_bytes()
    for use in (sketch.save, mergesketch.load, CountMinSketch.load, mergesketch.inspect):
        for place in (None, 3, 1.5, ["a"], socket.socket):
            with pytest.raises(TypeError, match="path must be a path or a binary file object, got"):
                use(place)
        with pytest.raises(TypeError, match="path must be a file in binary mode, got"):
            use(io.StringIO())
        with (
            open(tmp_path / "text", "w+") as file,
            pytest.raises(TypeError, match="path must be a file in binary mode, got"),
        ):
            use(file)
        with tempfile.SpooledTemporaryFile(mode="w+") as file, pytest.raises(TypeError, match="binary mode"):
            use(file)
        assert (tmp_path / "text").read_bytes() == b""
    with (
        open(tmp_path / "a", "wb") as file,
        pytest.raises(OSError, match="read"),
    ):
        mergesketch.load(file)
    with (
        open(tmp_path / "a", "rb") as file,
        pytest.raises(OSError, match="write"),
    ):
        sketch.save(file)
    with pytest.raises(ValueError, match="closed file"):
        mergesketch.load(file)
    assert sketch.to_bytes() == before


def test_a_file_that_gives_more_than_asked_for_is_refused(sketch: CountMinSketch) -> None:
    class Generous(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(-1)

    with pytest.raises(ValueError, match="path must be a file that reads 8 bytes if asked"):
        mergesketch.load(Generous(sketch.to_bytes()))


def test_every_truncation_of_a_stream_is_found() -> None:
    data = HeavyHitters(0.2, max_key_bytes=8).update(["a", "b"]).to_bytes()
    for length in [*range(20), *range(20, len(data), 97), len(data) - 1]:
        for read in (mergesketch.load, mergesketch.inspect):
            with pytest.raises(SketchFormatError, match=r"expected a (whole )?sketch file"):
                read(io.BytesIO(data[:length]))


def test_the_file_of_an_error_is_named(sketch: CountMinSketch, tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(sketch.to_bytes()[:-9])
    with (
        open(tmp_path / "damaged", "rb") as file,
        pytest.raises(SketchFormatError, match="damaged: expected a whole sketch file"),
    ):
        mergesketch.load(file)
    with pytest.raises(SketchFormatError, match=r"^expected a sketch file"):
        mergesketch.load(io.BytesIO(b"something else"))
    with pytest.raises(SketchFormatError, match="expected a BloomFilter, got a CountMinSketch"):
        BloomFilter.load(io.BytesIO(sketch.to_bytes()))


def test_a_size_that_lies_takes_no_memory() -> None:
    # Three gibibytes of counters, of which the file has none: the configuration is valid.
    def lie(header: dict[str, Any]) -> None:
        metadata = header["__metadata__"]
        config = json.loads(metadata["config"])
        config["n_buckets"] = 1 << 28
        metadata["config"] = json.dumps(config)
        place = 0
        header["counts"] |= {"shape": [3, 1 << 28], "data_offsets": [0, 3 * 4 << 28]}
        for name in [*sorted(header.keys() - {"__metadata__", "counts"}), "counts"]:
            begin, end = header[name]["data_offsets"]
            header[name]["data_offsets"] = [place, place + end - begin]
            place += end - begin

    data = forged(CountMinSketch(n_rows=3, n_buckets=64, seed=1), lie)
    for read in (mergesketch.load, mergesketch.inspect):
        tracemalloc.start()
        with pytest.raises(SketchFormatError, match="ends within its arrays"):
            read(io.BytesIO(data))
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
        tracemalloc.stop()
    # A header that claims more than any header has is not read.
    with pytest.raises(SketchFormatError, match="claims"):
        mergesketch.load(Trickle((1 << 40).to_bytes(8, "little") + b" " * 100))


def test_from_bytes_refuses_what_is_no_sketch() -> None:
    with pytest.raises(SketchFormatError, match="got only 0 bytes"):
        mergesketch.from_bytes(b"")
    with pytest.raises(TypeError, match="buffer must be contiguous and bytes-like, got str"):
        mergesketch.from_bytes("text")  # type: ignore[arg-type]
    data = CountMinSketch(n_rows=3, n_buckets=64).to_bytes()
    with pytest.raises(SketchFormatError, match="truncated"):
        mergesketch.from_bytes(data + b"0")
    assert mergesketch.from_bytes(memoryview(bytearray(data))) == CountMinSketch(n_rows=3, n_buckets=64)
