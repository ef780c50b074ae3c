"""Read and write the frame of a float archive: parts, a table of them, and an index at the end.

An archive holds one safetensors file. The file's header is kept as it is, so the tensors are found as in the
file itself. The rest of the file is cut into segments, which are tensors or what lies between them, and each
has a row of the table: how it is kept, the place and the length of its part, and the checksum of its bytes.
The index comes last, so that an archive is written from front to back.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import xxhash

from ...errors import SketchFormatError
from ..core.file_format import parse_json
from .safetensors_file import FLOATS, MAX_HEADER, Tensor, parse_tensors, read_exactly, segments

__all__ = [
    "CODED",
    "DIFFERENCE",
    "KINDS",
    "MAGIC",
    "RAW",
    "SAME",
    "ArchiveIndex",
    "PartWriter",
    "Segment",
    "is_archive",
    "read_index",
]

#: The first and the last bytes of an archive; no text and no safetensors file begins with them.
MAGIC = b"\x93MSFLTS\n"
_VERSION = 1
#: How a segment is kept: its own bytes, `CompressedFloats`, an earlier segment, or differences from a base.
RAW, CODED, SAME, DIFFERENCE = range(4)
#: Their names for people.
KINDS = ("raw", "coded", "same", "difference")
#: Parts begin at multiples of this, so that mapped arrays are aligned and no two parts share a cache line.
_ALIGNMENT = 64
#: The end of an archive: the length of the index, its checksum, and the magic bytes.
_FOOTER = 24
_MAX_INDEX = 1 << 16
#: Headers are compressed by at most this factor, so that a short file cannot make a reader take much memory.
_MAX_RATIO = 50


class Segment(NamedTuple):
    """A range of bytes of the original file, and the part of the archive that keeps it."""

    start: int
    stop: int
    tensor: Tensor | None
    kind: int
    #: The place of the part, or the number of an earlier segment that has the same bytes.
    place: int
    length: int
    #: XXH3-64 of the segment's bytes.
    checksum: int


class ArchiveIndex(NamedTuple):
    """State what an archive holds."""

    #: Size in bytes of the original file, and its XXH3-128 in hexadecimal.
    size: int
    checksum: str
    #: The name of the base that segments are differences from, or None without a base.
    base: str | None
    #: The JSON of the original file.
    header: bytes
    tensors: list[Tensor]
    segments: list[Segment]


class PartWriter:
    """Write the parts of an archive to a file or a pipe, and at last its index."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rows: list[tuple[int, int, int, int]] = []
        self.place = 0
        self.write(MAGIC)

    def write(self, data: Any) -> None:
        """Write bytes that belong to the part begun last."""
        self._file.write(data)
        self.place += memoryview(data).nbytes

    def begin(self) -> int:
        """Begin a part, and return its place."""
        self.write(b"\0" * (-self.place % _ALIGNMENT))
        return self.place

    def add(self, kind: int, place: int, length: int, checksum: int) -> None:
        """Add the row of a segment, whose part has been written."""
        self._rows.append((kind, place, length, checksum))

    def finish(self, header: bytes, size: int, checksum: str, base: str | None) -> None:
        """Write the header of the original file, the table, and the index."""
        packed = zlib.compress(header, 6)
        if len(header) > _MAX_RATIO * len(packed):
            packed = zlib.compress(header, 0)
        table = np.array(self._rows, "<u8").reshape(-1, 4).tobytes()
        header_place = self.begin()
        self.write(packed)
        table_place = self.begin()
        self.write(table)
        index = json.dumps(
            {
                "version": _VERSION,
                "size": size,
                "xxh3": checksum,
                "base": base,
                "header": [header_place, len(packed), len(header)],
                "table": [table_place, len(self._rows)],
                "index_xxh3": xxhash.xxh3_64_hexdigest(header + table),
            }
        ).encode()
        self.write(index)
        self.write(len(index).to_bytes(8, "little") + xxhash.xxh3_64_digest(index) + MAGIC)


def is_archive(descriptor: int) -> bool:
    """Tell whether a file begins as archives do."""
    return os.pread(descriptor, len(MAGIC), 0) == MAGIC


def read_index(descriptor: int, size: int) -> ArchiveIndex:
    """Return the checked index of an archive of `size` bytes.

    Raises
    ------
    SketchFormatError
        If the file is no archive, or cut short, or damaged there. The parts themselves are not read.
    """
    if not is_archive(descriptor):
        raise SketchFormatError("expected a float archive, which `mergesketch floats pack` writes")
    try:
        index, place = _read_end(descriptor, size)
        return _parse_index(descriptor, index, place)
    except (ValueError, KeyError, TypeError, OverflowError, zlib.error) as error:
        raise SketchFormatError(f"expected a whole float archive: {error}") from error


def _read_end(descriptor: int, size: int) -> tuple[dict[str, Any], int]:
    footer = bytes(read_exactly(descriptor, max(0, size - _FOOTER), size))
    length = int.from_bytes(footer[:8], "little")
    if footer[16:] != MAGIC or length > min(_MAX_INDEX, size - _FOOTER - len(MAGIC)):
        raise ValueError("its end is missing")
    place = size - _FOOTER - length
    text = bytes(read_exactly(descriptor, place, place + length))
    if xxhash.xxh3_64_digest(text) != footer[8:16]:
        raise ValueError("the checksum of its index does not match")
    index = parse_json(text.decode())
    if index["version"] != _VERSION:
        raise ValueError(f"it has version {index['version']!r}, which a newer mergesketch wrote")
    return index, place


def _sizes(values: Any, n: int) -> list[int]:
    if not isinstance(values, list) or len(values) != n:
        raise ValueError(f"its index has no {n} sizes")
    for value in values:
        if type(value) is not int or not 0 <= value < 1 << 62:
            raise ValueError(f"{value!r} is no size")
    return values


def _parse_index(descriptor: int, index: dict[str, Any], end: int) -> ArchiveIndex:
    (size,) = _sizes([index["size"]], 1)
    place, length, raw_length = _sizes(index["header"], 3)
    table_place, n = _sizes(index["table"], 2)
    if place + length > end or table_place + 32 * n > end:
        raise ValueError("its parts lie outside of it")
    if raw_length > min(MAX_HEADER, size - 8, _MAX_RATIO * length):
        raise ValueError("its header is too long")
    packed = zlib.decompressobj()
    header = packed.decompress(bytes(read_exactly(descriptor, place, place + length)), raw_length + 1)
    if len(header) != raw_length:
        raise ValueError("its header has another length")
    raw = read_exactly(descriptor, table_place, table_place + 32 * n)
    digest = xxhash.xxh3_64(header)
    digest.update(raw.data)
    if digest.hexdigest() != index["index_xxh3"]:
        raise ValueError("the checksum of its table does not match")
    checksum, base = index["xxh3"], index["base"]
    if not isinstance(checksum, str) or not (base is None or isinstance(base, str)):
        raise ValueError("its index is damaged")
    tensors = parse_tensors(header, size)
    ranges = segments(tensors, 8 + raw_length, size)
    if len(ranges) != n:
        raise ValueError(f"it has {n} parts for {len(ranges)} ranges of bytes")
    rows = raw.view("<u8").reshape(n, 4).tolist()
    found: list[Segment] = []
    for (start, stop, tensor), row in zip(ranges, rows, strict=True):
        segment = Segment(start, stop, tensor, *row)
        _check_segment(segment, found, end)
        found.append(segment)
    return ArchiveIndex(size, checksum, base, header, tensors, found)


def _check_segment(segment: Segment, earlier: list[Segment], end: int) -> None:
    size = segment.stop - segment.start
    tensor = segment.tensor
    if segment.kind == SAME:
        original = earlier[segment.place] if segment.place < len(earlier) else None
        its = original.tensor if original is not None and original.kind != SAME else None
        if tensor is None or its is None or tensor[1:3] != its[1:3]:
            raise ValueError("a tensor refers to none before it")
        return
    if segment.place + segment.length > end:
        raise ValueError("its parts lie outside of it")
    if segment.kind == RAW and segment.length == size:
        return
    if segment.kind in (CODED, DIFFERENCE) and tensor is not None and tensor.dtype in FLOATS:
        return
    raise ValueError("the part of a tensor is of no known kind")
