"""One file format for all sketches: safetensors, with what rebuilds and checks the sketch as metadata.

The arrays lie little-endian and aligned in the file, so that they can be memory-mapped. The metadata
holds

``format``           ``"mergesketch"``
``format_version``   ``"1"``
``class``            the name of the sketch class
``config``           the configuration as JSON
``data_xxh3``        XXH3-64 (hexadecimal) of the arrays' bytes, in the order of their names
``header_xxh3``      XXH3-64 of everything above and of the arrays' names, dtypes and shapes

Reading executes nothing and allocates no more than the file is long: a configuration that asks for
other arrays than the file has, or for more random parameters than any file may, is refused before anything
is allocated.

Files are written here and not by the safetensors library, for the same sketch must give the same
bytes (the library writes metadata in random order) and take no copy of its arrays to write.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from ..errors import SketchFormatError
from .atomic import atomic_write
from .stored import Stored, stored_classes

__all__ = [
    "FORMAT_VERSION",
    "atomic_write",
    "from_bytes",
    "inspect",
    "load",
    "never_wait",
    "save",
    "to_bytes",
]

FORMAT_VERSION = "1"
_SAFETENSORS_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "F32": "float32", "F64": "float64",
}  # fmt: skip
_SAFETENSORS_NAMES = {name: code for code, name in _SAFETENSORS_DTYPES.items()}
#: A header is a few hundred bytes; parsing a stranger's takes memory in proportion to its length.
_MAX_HEADER = 1 << 20

#: Random parameters, drawn from the seed and not stored, that a file may ask for: a gibibyte in float32.
_MOST_DRAWN, _MOST_DRAWN_SET = 1 << 28, "MERGESKETCH_MAX_DRAWN"

S = TypeVar("S", bound=Stored)


class _Header(NamedTuple):
    """The checked header of a file: where each array lies, counted from the start of the file."""

    metadata: dict[str, str]
    arrays: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]


def _raw(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _data_checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = xxhash.xxh3_64()
    for name in sorted(arrays):
        if arrays[name].size:
            digest.update(_raw(arrays[name]))
    return digest.hexdigest()


def _header_checksum(
    metadata: Mapping[str, str], shapes: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
) -> str:
    told = {key: value for key, value in metadata.items() if key != "header_xxh3"}
    listed = {name: [dtype.name, list(shape)] for name, (dtype, shape) in shapes.items()}
    return xxhash.xxh3_64_hexdigest(json.dumps([told, listed], sort_keys=True).encode())


# -- writing --------------------------------------------------------------------------------------


def _pieces(sketch: Stored) -> list[bytes | memoryview]:
    """The file's bytes in order, the arrays' own memory among them."""
    sketch = sketch._on_cpu()
    sketch._canonicalise()
    arrays = {
        name: np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<")) for name, a in sketch._arrays.items()
    }
    metadata = {
        "format": "mergesketch",
        "format_version": FORMAT_VERSION,
        "class": type(sketch).__name__,
        "config": json.dumps(sketch.config(), sort_keys=True, allow_nan=False),
        "data_xxh3": _data_checksum(arrays),
    }
    metadata["header_xxh3"] = _header_checksum(metadata, {n: (a.dtype, a.shape) for n, a in arrays.items()})
    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    # Wide items first, as safetensors asks for: then every array is aligned to its items.
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    for name in order:
        array = arrays[name]
        header[name] = {
            "dtype": _SAFETENSORS_NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ValueError(f"the configuration must fit into a header of {_MAX_HEADER} bytes, got {len(text)}")
    full = [_raw(arrays[name]) for name in order if arrays[name].size]
    return [len(text).to_bytes(8, "little"), text, *full]


def to_bytes(sketch: Stored) -> bytes:
    """See `Stored.to_bytes`."""
    with sketch._lock:
        return b"".join(_pieces(sketch))


def save(sketch: Stored, path: str | PathLike[str]) -> None:
    """See `Stored.save`."""
    # The pieces are the arrays' own memory.
    with sketch._lock:
        pieces = _pieces(sketch)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)


# -- reading --------------------------------------------------------------------------------------


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    # 1e999 is JSON, but what Python makes of it could not be written again.
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond all floats")
    return number


def _parse_json(text: str) -> Any:
    """JSON proper, without NaN and infinity in any spelling; ValueError for all that is not."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _parse_size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"expected a size, got {value!r}")
    return value


def _header_length(first: bytes | memoryview, size: int) -> int:
    if size < 8 or len(first) < 8:
        raise SketchFormatError(f"expected a sketch file, got only {size} bytes")
    length = int.from_bytes(first[:8], "little")
    if length > min(size - 8, _MAX_HEADER):
        raise SketchFormatError(
            f"expected a sketch file: its header claims {length} bytes, the file has {size}"
        )
    return length


def _parse_header(text: bytes, size: int) -> _Header:
    """The header of a file of `size` bytes, whose arrays must tile what follows it exactly."""
    try:
        header = _parse_json(text.decode())
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
    return _Header(metadata, arrays)


def _check_drawn(sketch: Stored) -> None:
    """Refuse a configuration of more random parameters than a file may ask for."""
    told, most = sketch._n_drawn, int(os.environ.get(_MOST_DRAWN_SET, _MOST_DRAWN))
    if told > most:
        whose = getattr(sketch, "family", sketch)
        numbers = {name: getattr(whose, name) for name in whose._parameters if name != "seed"}
        named = ", ".join(f"{name}={number}" for name, number in numbers.items() if type(number) is int)
        raise SketchFormatError(
            f"a {type(whose).__name__} of {named} takes {told:,} random parameters, more than the {most:,} "
            f"that a file may ask for; if you trust it, set {_MOST_DRAWN_SET}={told}"
        )


def _empty_sketch(header: _Header, expected: type[S]) -> S:
    """The sketch that `header` tells of, still without arrays; they fit it if nothing is raised."""
    name = header.metadata.get("class", "")
    cls = stored_classes().get(name)
    if cls is None:
        raise SketchFormatError(f"expected a sketch class of this version, got {name!r}")
    if not issubclass(cls, expected):
        raise SketchFormatError(f"expected a {expected.__name__}, got a {name}")
    try:
        config = _parse_json(header.metadata.get("config", ""))
        if not isinstance(config, dict):
            raise ValueError(f"expected an object, got {type(config).__name__}")
        sketch = cls._from_config(config)
        specs = sketch._specs()
    except Exception as error:
        # Whatever a constructor makes of a stranger's values, it is the file that is wrong.
        raise SketchFormatError(f"the configuration of this {name} is not valid: {error}") from error
    absent = {key for key in specs if key not in header.arrays and sketch._absent_array(key) is not None}
    if set(specs) - absent != set(header.arrays):
        raise SketchFormatError(
            f"expected the arrays {sorted(specs)}, got {sorted(header.arrays)}: this is no {name} as this "
            "version of mergesketch keeps it; if another version wrote the file, open it with that one, or "
            "build it anew"
        )
    for key, (dtype, shape, _) in header.arrays.items():
        spec = specs[key]
        if not spec.accepts(shape, dtype):
            raise SketchFormatError(f"expected {key} as {spec}, got {dtype.name}{list(shape)}")
    _check_drawn(sketch)
    return sketch


def _fill(
    sketch: S,
    header: _Header,
    fetch: Callable[[np.dtype[Any], tuple[int, ...], int], NDArray[Any]],
    verify: bool,
) -> S:
    """Give `sketch` its arrays, checked; `fetch` has one from (dtype, shape, place in the file)."""
    arrays = {name: fetch(*entry) for name, entry in header.arrays.items()}
    if verify and header.metadata.get("data_xxh3") != _data_checksum(arrays):
        raise SketchFormatError("the arrays' checksum does not match: the file is damaged")
    native = {
        name: np.require(a.astype(a.dtype.newbyteorder("="), copy=False), requirements="A")
        for name, a in arrays.items()
    }
    for name in sketch._specs():
        if name not in native:
            stands_for = sketch._absent_array(name)
            assert stands_for is not None
            native[name] = stands_for
    try:
        sketch._check_state(native)
    except ValueError as error:
        raise SketchFormatError(f"the arrays are no state of a {type(sketch).__name__}: {error}") from error
    sketch._adopt(native)
    return sketch


def from_bytes(buffer: bytes | bytearray | memoryview, expected: type[S]) -> S:
    """See `Stored.from_bytes`."""
    try:
        view = memoryview(buffer).cast("B")
    except TypeError as error:
        raise TypeError(f"buffer must be contiguous and bytes-like, got {type(buffer).__name__}") from error
    length = _header_length(view, len(view))
    header = _parse_header(bytes(view[8 : 8 + length]), len(view))

    def fetch(dtype: np.dtype[Any], shape: tuple[int, ...], place: int) -> NDArray[Any]:
        count = int(np.prod(shape, dtype=np.int64))
        return (
            np.frombuffer(view, dtype, count, place).reshape(shape).copy()
            if count
            else np.empty(shape, dtype)
        )

    return _fill(_empty_sketch(header, expected), header, fetch, verify=True)


@contextmanager
def _name_file(path: str | PathLike[str]) -> Iterator[None]:
    """Put the file's name in front of what was wrong with it."""
    try:
        yield
    except SketchFormatError as error:
        raise SketchFormatError(f"{os.fspath(path)}: {error}") from error


def never_wait(path: str, flags: int) -> int:
    """Opens a file at once also if it is a pipe that nobody writes to."""
    return os.open(path, flags | os.O_NONBLOCK)


def _file_header(file: Any) -> _Header:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise SketchFormatError("expected a sketch file: it is not a regular file")
    size = status.st_size
    length = _header_length(file.read(8), size)
    return _parse_header(file.read(length), size)


def _map_arrays(file: Any) -> Callable[[np.dtype[Any], tuple[int, ...], int], NDArray[Any]]:
    # Copy-on-write: a mapped sketch can be updated, and the file never changes.
    mapped = np.memmap(file, dtype=np.uint8, mode="c")

    def fetch(dtype: np.dtype[Any], shape: tuple[int, ...], place: int) -> NDArray[Any]:
        count = int(np.prod(shape, dtype=np.int64))
        return np.ndarray(shape, dtype, mapped, place) if count else np.empty(shape, dtype)

    return fetch


def load(path: str | PathLike[str], *, mmap: bool = False, expected: type[Stored] | None = None) -> Stored:
    """Open any saved sketch, whatever its class.

    Parameters
    ----------
    path : path
    mmap : bool
        Map the file instead of reading it; see `MergeableSketch.load`.
    expected : sketch class, optional
        Refuse other classes.

    Returns
    -------
    The sketch, or static structure, of whatever class it is.

    Raises
    ------
    SketchFormatError
        If the file is not a whole, undamaged sketch of a known version and class.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, os, mergesketch
    >>> sketch = mergesketch.CountMinSketch(n_rows=4, n_buckets=256).update([1, 2, 2])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sketch.save(os.path.join(folder, "counts.sketch"))
    ...     mergesketch.load(os.path.join(folder, "counts.sketch")) == sketch
    True
    """
    with _name_file(path), open(os.fspath(path), "rb", opener=never_wait) as file:
        header = _file_header(file)
        sketch = _empty_sketch(header, expected or Stored)
        if mmap:
            return _fill(sketch, header, _map_arrays(file), verify=False)

        def fetch(dtype: np.dtype[Any], shape: tuple[int, ...], place: int) -> NDArray[Any]:
            count = int(np.prod(shape, dtype=np.int64))
            file.seek(place)
            array = np.fromfile(file, dtype, count)
            if array.size != count:
                raise SketchFormatError("expected a whole sketch file: it became shorter while it was read")
            return array.reshape(shape)

        return _fill(sketch, header, fetch, verify=True)


def inspect(path: str | PathLike[str]) -> dict[str, Any]:
    """What a saved sketch is, without building it: class, configuration, arrays, size, checksum.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict
        "class", "config", "n_updates", "arrays", "bytes", "format_version", "intact".

    Raises
    ------
    SketchFormatError
        If the file has no whole header of a known version.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, os, mergesketch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "a.sketch")
    ...     mergesketch.CountMinSketch(n_rows=4, n_buckets=256).update([1, 2, 2]).save(path)
    ...     mergesketch.inspect(path)["n_updates"]
    3
    """
    with _name_file(path), open(os.fspath(path), "rb", opener=never_wait) as file:
        header = _file_header(file)
        size = os.fstat(file.fileno()).st_size
        fetch = _map_arrays(file)
        arrays = {name: fetch(*entry) for name, entry in header.arrays.items()}
        metadata = header.metadata
        try:
            config = _parse_json(metadata.get("config", ""))
        except ValueError as error:
            raise SketchFormatError(f"its configuration is not JSON: {error}") from error
        if not isinstance(config, dict):
            raise SketchFormatError(f"its configuration must be an object, got a {type(config).__name__}")
    counted = arrays.get("n_updates")
    if counted is not None and (counted.size != 1 or counted.dtype.kind != "i"):
        counted = None
    return {
        "class": metadata.get("class", ""),
        "config": config,
        "n_updates": None if counted is None else int(counted.flat[0]),
        "arrays": {name: f"{a.dtype.name}{list(a.shape)}" for name, a in arrays.items()},
        "bytes": size,
        "format_version": metadata["format_version"],
        "intact": metadata.get("data_xxh3") == _data_checksum(arrays),
    }
