"""Read and write sketches where a caller says: at a path, at something with `open`, or in an open file.

A file object may be a part of something larger: a member of an archive, a pipe, or a file with several
sketches. So a sketch is read from the position of the file object, and only its own bytes are read. The
length of the rest is not asked for, because pipes and compressed files cannot tell it quickly.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ...errors import SketchFormatError
from ...lsh.support.wording import counted
from .atomic import atomic_write
from .file_format import (
    Fetch,
    Header,
    fetch_from_file,
    header_of_file,
    header_of_start,
    map_arrays,
    name_file,
    never_wait,
)

__all__ = ["BinaryReader", "BinaryWriter", "Source", "Target", "opened", "write_pieces"]

#: Bytes that are asked for at once. A size that lies cannot take more memory than this.
_CHUNK = 1 << 20
_PLACES = "path must be a path or a binary file object"


class BinaryReader(Protocol):
    """A file object that bytes are read from."""

    def read(self, size: int, /) -> bytes | None: ...


class BinaryWriter(Protocol):
    """A file object that bytes are written to."""

    def write(self, data: Any, /) -> Any: ...


class _Openable(Protocol):
    """An object that opens like a `pathlib.Path`: a member of a zip file, a resource, a remote path."""

    def open(self, mode: str, /) -> Any: ...


Source: TypeAlias = str | PathLike[str] | BinaryReader | _Openable
Target: TypeAlias = str | PathLike[str] | BinaryWriter | _Openable


# Wrappers, such as those of `tempfile`, find the methods of their files only when these are asked for. From
# Python 3.12 on, `isinstance` of a protocol does not ask.


def _can_read(place: Any) -> TypeGuard[BinaryReader]:
    return hasattr(place, "read")


def _can_write(place: Any) -> TypeGuard[BinaryWriter]:
    return hasattr(place, "write")


def _can_open(place: Any) -> TypeGuard[_Openable]:
    return hasattr(place, "open")


def _path_of(place: Any) -> str | None:
    """Return the path that `place` is, or None if it is something else."""
    return os.fsdecode(place) if isinstance(place, (str, bytes, PathLike)) else None


def _opened(place: _Openable, mode: str) -> Any:
    """Open what opens like a path."""
    try:
        return place.open(mode)
    except TypeError as error:
        # The files of fsspec have a mode already, and are file objects after ``with file as opened``.
        raise TypeError(f"{_PLACES}, got {type(place).__name__}, which has to be opened first") from error


# -- reading --------------------------------------------------------------------------------------


@contextmanager
def opened(place: Source, *, mmap: bool) -> Iterator[tuple[Header, Callable[[], Fetch]]]:
    """Yield the checked header of a saved sketch, and what begins to read its arrays.

    Parameters
    ----------
    place : path, binary file object, or an object with `open`
        A file object is read from its position. After `Fetch` was made, its position is the sketch's end.
    mmap : bool
        Map the arrays instead of reading them.
    """
    path = None if _can_read(place) else _path_of(place)
    if path is not None:
        with name_file(path), open(path, "rb", opener=never_wait) as file:
            yield header_of_file(file), lambda: map_arrays(file) if mmap else fetch_from_file(file)
    elif _can_read(place):
        with name_file(getattr(place, "name", None)):
            if mmap:
                _check_mappable(place)
            header = _header_of_stream(place)
            yield header, lambda: (_map_stream if mmap else _fetch_from_stream)(place, header)
    elif _can_open(place):
        with _opened(place, "rb") as file, opened(file, mmap=mmap) as found:
            yield found
    else:
        raise TypeError(f"{_PLACES}, got {type(place).__name__}")


def _read_chunk(file: BinaryReader, size: int) -> bytes:
    """Return at most `size` bytes, and none at the end of the file."""
    chunk = file.read(size)
    if chunk is None:
        raise BlockingIOError("path must be a file that waits for its data, got one that does not block")
    if not isinstance(chunk, (bytes, bytearray, memoryview)):
        raise TypeError(f"path must be a file in binary mode, got one that reads {type(chunk).__name__}")
    if len(chunk) > size:
        raise ValueError(f"path must be a file that reads {size} bytes if asked for them, got {len(chunk)}")
    return bytes(chunk)


def _read_bytes(file: BinaryReader, size: int) -> bytearray:
    """Return `size` bytes, or fewer where the file ends; memory grows as the bytes arrive."""
    data = bytearray()
    while len(data) < size:
        chunk = _read_chunk(file, min(size - len(data), _CHUNK))
        if not chunk:
            break
        data += chunk
    return data


def _header_of_stream(file: BinaryReader) -> Header:
    """Return the checked header of a sketch that begins at the position of a file."""
    return header_of_start(lambda size: bytes(_read_bytes(file, size)))


def _fetch_from_stream(file: BinaryReader, header: Header) -> Fetch:
    """Read all arrays in the order in which they lie, and return what gives them."""
    arrays: dict[int, NDArray[Any]] = {}
    # An empty array has the place of the next one.
    entries = [entry for entry in header.arrays.values() if 0 not in entry[1]]
    for dtype, shape, place in sorted(entries, key=lambda entry: entry[2]):
        size = dtype.itemsize * math.prod(shape)
        data = _read_bytes(file, size)
        if len(data) < size:
            raise SketchFormatError(
                f"expected a whole sketch file of {header.size} bytes: it ends within its arrays (truncated)"
            )
        arrays[place] = np.frombuffer(data, dtype).reshape(shape)

    def fetch(dtype: np.dtype[Any], shape: tuple[int, ...], place: int) -> NDArray[Any]:
        return arrays[place] if 0 not in shape else np.empty(shape, dtype)

    return fetch


def _check_mappable(file: Any) -> None:
    raw = getattr(_unwrapped(file), "raw", _unwrapped(file))
    if not isinstance(raw, io.FileIO):
        raise TypeError(f"path must be a file on a disk with mmap=True, got {type(file).__name__}")


def _unwrapped(file: Any) -> Any:
    """Return the file itself; those of `tempfile` wrap it."""
    return getattr(file, "file", file)


def _map_stream(file: Any, header: Header) -> Fetch:
    """Return what maps an array of an open file, whose position is the end of the header."""
    file = _unwrapped(file)
    start = file.tell() - header.start
    if file.writable():
        file.flush()
    if os.fstat(file.fileno()).st_size < start + header.size:
        raise SketchFormatError("expected a whole sketch file: it ends within its arrays (truncated)")
    mapped = np.memmap(file, dtype=np.uint8, mode="c", offset=start, shape=(header.size,))
    file.seek(start + header.size)
    return map_arrays(mapped)


# -- writing --------------------------------------------------------------------------------------


def write_pieces(place: Target, pieces: Sequence[bytes | memoryview]) -> None:
    """Write the bytes of a sketch: atomically to a path, or at the position of a file object.

    Parameters
    ----------
    place : path, binary file object, or an object with `open`
    pieces : sequence of bytes-like
    """
    path = None if _can_write(place) else _path_of(place)
    if path is not None:
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)
    elif _can_write(place):
        _write_stream(place, pieces)
    elif _can_open(place):
        with _opened(place, "wb") as file:
            _write_stream(file, pieces)
    else:
        raise TypeError(f"{_PLACES}, got {type(place).__name__}")


def _write_stream(file: BinaryWriter, pieces: Sequence[bytes | memoryview]) -> None:
    try:
        file.write(b"")
    except TypeError as error:
        raise TypeError(f"path must be a file in binary mode, got {type(file).__name__} of text") from error
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            written = file.write(rest)
            if written is None and not isinstance(file, io.RawIOBase):
                # Many objects with `write` return nothing, and have written all.
                break
            if not written:
                raise BlockingIOError(
                    f"path must be a file that waits until it can write, got {type(file).__name__}, which "
                    f"has {counted(len(rest), 'byte')} left"
                )
            rest = rest[written:]
