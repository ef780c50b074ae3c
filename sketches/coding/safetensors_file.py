"""Read the headers of safetensors files, strictly, as files of strangers need it.

A file is 8 bytes with the length of the header, the header in JSON, and the data, in which the header names
a range of bytes for each tensor. The library safetensors is not needed for that: see
`docs/developers/decisions/safetensors.md`.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...errors import SketchFormatError
from ...lsh.support.wording import counted
from ..core.file_format import never_wait

__all__ = [
    "BLOCK",
    "FLOATS",
    "MAX_HEADER",
    "NUMPY_TYPES",
    "Tensor",
    "is_safetensors",
    "open_file",
    "parse_tensors",
    "read_blocks",
    "read_exactly",
    "read_tensors",
    "segments",
]

#: The formats of `CompressedFloats` by their names in safetensors files.
FLOATS = {
    "BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
#: The other types of which NumPy has arrays.
NUMPY_TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "C64": "complex64",
}  # fmt: skip
#: Bits of a value. The size of a tensor of any other type is not checked.
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64, "C64": 64,
    "BF16": 16, "F16": 16, "F32": 32, "F64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
#: Bytes that are read at once.
BLOCK = 1 << 24
#: The longest header in bytes, which is that of the library safetensors.
MAX_HEADER = 100_000_000
#: NumPy's arrays of all versions have at most so many dimensions.
_MAX_DIMENSIONS = 32
#: A header longer than this has at most one list or object for each so many bytes, because an empty list
#: takes 20 times the memory of its text. The entry of a tensor has three in at least 50 bytes.
_UNCHECKED, _SPARSE = 1 << 20, 12


class Tensor(NamedTuple):
    """A tensor of a safetensors file, whose bytes are those from `start` to `stop` of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@contextmanager
def open_file(path: str) -> Iterator[tuple[int, int]]:
    """Yield the descriptor and the size of a regular file, opened for reading without waiting for anybody.

    Raises
    ------
    OSError
        If it cannot be opened.
    SketchFormatError
        If it is a pipe or a device.
    """
    descriptor = never_wait(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SketchFormatError("it is not a regular file")
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


def is_safetensors(name: str) -> bool:
    """Tell whether a file is one of tensors, by its name."""
    return name.lower().endswith(".safetensors")


def read_exactly(
    descriptor: int, start: int, stop: int, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Return the bytes from `start` to `stop` of a file, in `out` if it is given.

    Raises
    ------
    SketchFormatError
        If the file ends before.
    """
    out = np.empty(stop - start, np.uint8) if out is None else out
    done = 0
    while done < out.size:
        read = os.preadv(descriptor, [out.data[done : done + (1 << 30)]], start + done)
        if not read:
            raise SketchFormatError("the file became shorter while it was read")
        done += read
    return out


def read_blocks(descriptor: int, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the bytes from `start` to `stop` of a file in blocks, which share their memory."""
    block = np.empty(min(BLOCK, stop - start), np.uint8)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        yield read_exactly(descriptor, first, last, block[: last - first])


def read_tensors(descriptor: int, size: int) -> tuple[bytes, list[Tensor]]:
    """Return the JSON of an open safetensors file of `size` bytes, and its tensors; see `parse_tensors`."""
    start = read_exactly(descriptor, 0, min(8, size)).tobytes()
    if start.startswith(b"version "):
        raise SketchFormatError(
            "expected a safetensors file, got a pointer of Git LFS: fetch the file itself with `git lfs pull`"
        )
    if len(start) < 8:
        raise SketchFormatError(f"expected a safetensors file, got only {counted(len(start), 'byte')}")
    length = int.from_bytes(start, "little")
    if length > min(size - 8, MAX_HEADER):
        raise SketchFormatError(
            f"expected a safetensors file: its header claims {length:,} bytes, and the file has {size:,}"
        )
    header = read_exactly(descriptor, 8, 8 + length).tobytes()
    return header, parse_tensors(header, size)


def parse_tensors(header: bytes, size: int) -> list[Tensor]:
    """Return the tensors of a file of `size` bytes in the order of their bytes.

    Parameters
    ----------
    header : bytes
        The JSON alone, without the 8 bytes of its length.
    size : int

    Raises
    ------
    SketchFormatError
        If the header is not one of safetensors, a name occurs twice, a tensor lies outside of the file, has
        another size than its shape, or shares bytes with another one.
    """
    if len(header) > _UNCHECKED and header.count(b"[") + header.count(b"{") > len(header) // _SPARSE:
        raise SketchFormatError("expected a header of safetensors, got too many lists for its length")
    try:
        if not header.startswith(b"{"):
            raise ValueError("it does not begin with a brace")
        entries = json.loads(
            header.decode(), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant
        )
        entries.pop("__metadata__", None)
    except RecursionError as error:
        raise SketchFormatError("expected a header of safetensors, got one nested too deeply") from error
    except ValueError as error:
        raise SketchFormatError(f"expected a header of safetensors: {error}") from error
    start = 8 + len(header)
    tensors = sorted(
        (_parse_entry(name, entry, start, size) for name, entry in entries.items()),
        key=lambda tensor: (tensor.start, tensor.stop),
    )
    end, last = start, ""
    for tensor in tensors:
        if tensor.start == tensor.stop:
            continue
        if tensor.start < end:
            raise SketchFormatError(f"the tensors {last!r} and {tensor.name!r} share bytes")
        end, last = tensor.stop, tensor.name
    return tensors


def segments(tensors: list[Tensor], start: int, size: int) -> list[tuple[int, int, Tensor | None]]:
    """Return the ranges of bytes that cover a file from `start` to `size`, with the tensors that fill them.

    A range of no tensor lies between two of them, or behind the last one. Tensors without bytes have none.
    """
    found: list[tuple[int, int, Tensor | None]] = []
    for tensor in tensors:
        if tensor.start == tensor.stop:
            continue
        if tensor.start > start:
            found.append((start, tensor.start, None))
        found.append((tensor.start, tensor.stop, tensor))
        start = tensor.stop
    if start < size:
        found.append((start, size, None))
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for name, value in pairs:
        if name in entries:
            raise ValueError(f"the name {name[:100]!r} occurs twice")
        entries[name] = value
    return entries


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _parse_entry(name: str, entry: Any, start: int, size: int) -> Tensor:
    def refuse(reason: str) -> NoReturn:
        raise SketchFormatError(f"the entry of the tensor {name[:100]!r} is damaged: {reason}")

    if not isinstance(entry, dict):
        refuse("it is no object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str):
        refuse("it has no dtype")
    if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS or not all(map(_is_size, shape)):
        refuse("its shape is no list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        refuse("its data_offsets are no pair of places")
    begin, end = offsets
    if not begin <= end <= size - start:
        refuse(f"its bytes {begin:,} to {end:,} lie outside of the {size - start:,} of the file")
    # NumPy refuses shapes whose other extents overflow even where one extent is 0.
    if math.prod(max(1, extent) for extent in shape) >= 1 << 60:
        refuse("its shape is too large")
    bits = _BITS.get(dtype)
    if bits is not None and bits * math.prod(shape) != 8 * (end - begin):
        refuse(f"it has {end - begin:,} bytes, and its shape {shape} another number")
    return Tensor(name, dtype, tuple(shape), start + begin, start + end)
