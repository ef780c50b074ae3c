"""Read and write the file format of all sketches: safetensors, with metadata that rebuilds and checks them.

`docs/api/file_format.md` describes the format and what a reader promises, and
`docs/developers/decisions/safetensors.md` explains why the safetensors library is not used.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...errors import SketchFormatError
from ...lsh.support.wording import counted

__all__ = [
    "FORMAT_VERSION",
    "Fetch",
    "Header",
    "data_checksum",
    "fetch_from_buffer",
    "fetch_from_file",
    "header_bytes",
    "header_of_buffer",
    "header_of_file",
    "header_of_start",
    "map_arrays",
    "name_file",
    "never_wait",
    "parse_json",
    "pieces_of_file",
]

FORMAT_VERSION = "1"
_SAFETENSORS_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "F32": "float32", "F64": "float64",
}  # fmt: skip
_SAFETENSORS_NAMES = {name: code for code, name in _SAFETENSORS_DTYPES.items()}
#: A header is a few hundred bytes; parsing a stranger's takes memory in proportion to its length.
_MAX_HEADER = 1 << 20

#: Gives an array of a file from its dtype, its shape and its place in the file.
Fetch = Callable[[np.dtype[Any], tuple[int, ...], int], NDArray[Any]]


class Header(NamedTuple):
    """The checked header of a file: where each array lies, counted from the start of the file."""

    metadata: dict[str, str]
    arrays: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]
    #: The place where the first array begins.
    start: int
    #: The length of the file.
    size: int


def _raw(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def data_checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the XXH3-64 of the bytes of arrays, in the order of their names, in hexadecimal."""
    digest = xxhash.xxh3_64()
    for name in sorted(arrays):
        if arrays[name].size:
            digest.update(_raw(arrays[name]))
    return digest.hexdigest()


def _header_checksum(
    metadata: Mapping[str, str], shapes: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
) -> str:
    signed = {key: value for key, value in metadata.items() if key != "header_xxh3"}
    listed = {name: [dtype.name, list(shape)] for name, (dtype, shape) in shapes.items()}
    return xxhash.xxh3_64_hexdigest(json.dumps([signed, listed], sort_keys=True).encode())


# -- writing --------------------------------------------------------------------------------------


def pieces_of_file(
    class_name: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    notes: Mapping[str, str] | None = None,
) -> list[bytes | memoryview]:
    """Return the file's bytes in order, the arrays' own memory among them."""
    arrays = {name: np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<")) for name, a in arrays.items()}
    shapes = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    header, places = header_bytes(class_name, config, shapes, data_checksum(arrays), notes)
    return [header, *(_raw(arrays[name]) for name in places if arrays[name].size)]


def header_bytes(
    class_name: str,
    config: Mapping[str, Any],
    shapes: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
    data_xxh3: str,
    notes: Mapping[str, str] | None = None,
) -> tuple[bytes, dict[str, int]]:
    """Return the beginning of a file, and the place of each array, counted from the start of the file.

    The `notes` are further metadata, which readers may ignore. The length does not depend on the checksum
    `data_xxh3`, and the places are in rising order.
    """
    metadata = {
        **(notes or {}),
        "format": "mergesketch",
        "format_version": FORMAT_VERSION,
        "class": class_name,
        "config": json.dumps(config, sort_keys=True, allow_nan=False),
        "data_xxh3": data_xxh3,
    }
    metadata["header_xxh3"] = _header_checksum(metadata, shapes)
    header: dict[str, Any] = {"__metadata__": metadata}
    offset, places = 0, {}
    # Wide items first, as safetensors asks for: then every array is aligned to its items.
    for name in sorted(shapes, key=lambda name: (-shapes[name][0].itemsize, name)):
        dtype, shape = shapes[name]
        places[name] = offset
        offset += dtype.itemsize * math.prod(shape)
        header[name] = {
            "dtype": _SAFETENSORS_NAMES[dtype.name],
            "shape": list(shape),
            "data_offsets": [places[name], offset],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ValueError(f"the configuration must fit into a header of {_MAX_HEADER} bytes, got {len(text)}")
    start = 8 + len(text)
    return len(text).to_bytes(8, "little") + text, {name: start + place for name, place in places.items()}


# -- reading --------------------------------------------------------------------------------------


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    # 1e999 is JSON, but what Python makes of it could not be written again.
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond all floats")
    return number


def parse_json(text: str) -> Any:
    """JSON proper, without NaN and infinity in any spelling; ValueError for all that is not."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _parse_size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"expected a size, got {value!r}")
    return value


def _header_length(first: bytes | memoryview, size: int | None) -> int:
    if len(first) < 8:
        raise SketchFormatError(f"expected a sketch file, got only {counted(len(first), 'byte')}")
    length = int.from_bytes(first[:8], "little")
    if length > (_MAX_HEADER if size is None else min(size - 8, _MAX_HEADER)):
        has = "" if size is None else f", the file has {size}"
        raise SketchFormatError(f"expected a sketch file: its header claims {length} bytes{has}")
    return length


def _parse_header(text: bytes, size: int | None) -> Header:
    """Return the header of a file of `size` bytes, or of any size.

    The arrays must fill the rest of the file exactly, or lie there without a gap.
    """
    try:
        header = parse_json(text.decode())
        metadata = header.pop("__metadata__")
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("metadata must be strings")
        format_name, version = metadata["format"], metadata["format_version"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SketchFormatError("expected a sketch file: its header is damaged or foreign") from error
    if format_name != "mergesketch":
        raise SketchFormatError(f"expected a mergesketch file, got format {format_name!r}")
    if version != FORMAT_VERSION:
        raise SketchFormatError(
            f"expected format version {FORMAT_VERSION}, got {version!r}; a newer mergesketch wrote it"
        )
    start = 8 + len(text)
    arrays, spans = {}, []
    try:
        for name, entry in header.items():
            dtype = np.dtype(_SAFETENSORS_DTYPES[entry["dtype"]]).newbyteorder("<")
            shape = tuple(_parse_size(extent) for extent in entry["shape"])
            begin, end = (_parse_size(offset) for offset in entry["data_offsets"])
            # NumPy refuses shapes whose other extents overflow even where one extent is 0.
            _parse_size(dtype.itemsize * math.prod(max(1, extent) for extent in shape))
            if len(shape) > 32 or end - begin != dtype.itemsize * math.prod(shape):
                raise ValueError(name)
            spans.append((begin, end))
            arrays[name] = (dtype, shape, start + begin)
        if size is None:
            size = start + max((end for _, end in spans), default=0)
        edges = [0, *(edge for span in sorted(spans) for edge in span), size - start]
        if edges[::2] != edges[1::2]:
            raise ValueError("gaps")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SketchFormatError(
            "expected a whole sketch file: its arrays do not fit its length (truncated or damaged)"
        ) from error
    shapes = {name: (dtype, shape) for name, (dtype, shape, _) in arrays.items()}
    if metadata.get("header_xxh3") != _header_checksum(metadata, shapes):
        raise SketchFormatError("the header's checksum does not match: the file is damaged")
    return Header(metadata, arrays, start, size)


def header_of_start(read: Callable[[int], bytes]) -> Header:
    """Return the checked header of a file whose length is not known.

    `read` returns the next bytes of the file, as many as it is asked for, or fewer where the file ends.
    """
    length = _header_length(read(8), None)
    text = read(length)
    if len(text) < length:
        raise SketchFormatError(
            f"expected a sketch file: its header claims {length} bytes, the file has {8 + len(text)}"
        )
    return _parse_header(text, None)


def header_of_buffer(view: memoryview) -> Header:
    """Return the checked header of the bytes of a file."""
    length = _header_length(view, len(view))
    return _parse_header(bytes(view[8 : 8 + length]), len(view))


def fetch_from_buffer(view: memoryview) -> Fetch:
    """Return what copies an array out of the bytes of a file."""

    def fetch(dtype: np.dtype[Any], shape: tuple[int, ...], place: int) -> NDArray[Any]:
        count = int(np.prod(shape, dtype=np.int64))
        return (
            np.frombuffer(view, dtype, count, place).reshape(shape).copy()
            if count
            else np.empty(shape, dtype)
        )

    return fetch


def fetch_from_file(file: Any) -> Fetch:
    """Return what reads an array of an open file."""

    def fetch(dtype: np.dtype[Any], shape: tuple[int, ...], place: int) -> NDArray[Any]:
        count = int(np.prod(shape, dtype=np.int64))
        file.seek(place)
        array = np.fromfile(file, dtype, count)
        if array.size != count:
            raise SketchFormatError("expected a whole sketch file: it became shorter while it was read")
        return array.reshape(shape)

    return fetch


@contextmanager
def name_file(name: object) -> Iterator[None]:
    """Put the file's name, if it is one, in front of what was wrong with it."""
    try:
        yield
    except SketchFormatError as error:
        if not isinstance(name, str):
            raise
        raise SketchFormatError(f"{name}: {error}") from error


def never_wait(path: str, flags: int) -> int:
    """Open a file without waiting, even if it is a pipe that nobody writes to."""
    return os.open(path, flags | os.O_NONBLOCK)


def header_of_file(file: Any) -> Header:
    """Return the checked header of an open file."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise SketchFormatError("expected a sketch file: it is not a regular file")
    size = status.st_size
    length = _header_length(file.read(8), size)
    return _parse_header(file.read(length), size)


def map_arrays(file: Any) -> Fetch:
    """Return what maps an array of an open file, or of bytes that are mapped already."""
    # Copy-on-write: a mapped sketch can be updated, and the file never changes.
    mapped = file if isinstance(file, np.memmap) else np.memmap(file, dtype=np.uint8, mode="c")

    def fetch(dtype: np.dtype[Any], shape: tuple[int, ...], place: int) -> NDArray[Any]:
        count = int(np.prod(shape, dtype=np.int64))
        return np.ndarray(shape, dtype, mapped, place) if count else np.empty(shape, dtype)

    return fetch
