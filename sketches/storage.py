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
other arrays than the file has is refused before anything is allocated.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy
import xxhash
from numpy.typing import NDArray

from ..errors import SketchFormatError
from .base import MergeableSketch, sketch_classes

__all__ = ["FORMAT_VERSION", "atomic_write", "from_bytes", "inspect", "load", "save", "to_bytes"]

FORMAT_VERSION = "1"
_SAFETENSORS_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "F32": "float32", "F64": "float64",
}  # fmt: skip
_MAX_HEADER = 1 << 26

S = TypeVar("S", bound=MergeableSketch)


def _data_checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = xxhash.xxh3_64()
    for name in sorted(arrays):
        if arrays[name].size:
            digest.update(arrays[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _header_checksum(metadata: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> str:
    told = {key: value for key, value in metadata.items() if key != "header_xxh3"}
    shapes = {name: [a.dtype.name, list(a.shape)] for name, a in arrays.items()}
    return xxhash.xxh3_64_hexdigest(json.dumps([told, shapes], sort_keys=True).encode())


def _contents(sketch: MergeableSketch) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    sketch._canonicalise()
    arrays = {name: np.ascontiguousarray(a) for name, a in sketch._arrays.items()}
    metadata = {
        "format": "mergesketch",
        "format_version": FORMAT_VERSION,
        "class": type(sketch).__name__,
        "config": json.dumps(sketch.config(), sort_keys=True),
        "data_xxh3": _data_checksum(arrays),
    }
    metadata["header_xxh3"] = _header_checksum(metadata, arrays)
    return arrays, metadata


def to_bytes(sketch: MergeableSketch) -> bytes:
    """See `MergeableSketch.to_bytes`."""
    arrays, metadata = _contents(sketch)
    return safetensors.numpy.save(arrays, metadata=metadata)


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends well, and vanishes if not."""
    target = Path(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes a private file; give it the permissions that open() would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def save(sketch: MergeableSketch, path: str | PathLike[str]) -> None:
    """See `MergeableSketch.save`."""
    arrays, metadata = _contents(sketch)
    with atomic_write(path) as temporary:
        try:
            safetensors.numpy.save_file(arrays, temporary, metadata=metadata)
        except safetensors.SafetensorError as error:
            raise OSError(f"cannot write {os.fspath(path)}: {error}") from error


def _read_header(buffer: memoryview) -> tuple[dict[str, Any], dict[str, str], int]:
    """Tensor entries, metadata and where the data starts; every length is checked before use."""
    if len(buffer) < 8:
        raise SketchFormatError(f"expected a sketch file, got only {len(buffer)} bytes")
    length = int.from_bytes(buffer[:8], "little")
    if length > min(len(buffer) - 8, _MAX_HEADER):
        raise SketchFormatError(
            f"expected a sketch file: its header claims {length} bytes, the file has {len(buffer)}"
        )
    try:
        header = json.loads(bytes(buffer[8 : 8 + length]))
        metadata = header.pop("__metadata__")
        format_name, version = metadata["format"], metadata["format_version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SketchFormatError("expected a sketch file: its header is damaged or foreign") from error
    if format_name != "mergesketch":
        raise SketchFormatError(f"expected a mergesketch file, got format {format_name!r}")
    if version != FORMAT_VERSION:
        raise SketchFormatError(
            f"expected format version {FORMAT_VERSION}, got {version!r}; a newer mergesketch wrote it"
        )
    return header, metadata, 8 + length


def _read_arrays(buffer: memoryview, header: Mapping[str, Any], start: int) -> dict[str, NDArray[Any]]:
    """Arrays over the bytes of `buffer`, which they must tile exactly."""
    arrays, spans = {}, []
    try:
        for name, entry in header.items():
            dtype = np.dtype(_SAFETENSORS_DTYPES[entry["dtype"]]).newbyteorder("<")
            shape = tuple(int(extent) for extent in entry["shape"])
            begin, end = (int(offset) for offset in entry["data_offsets"])
            size = dtype.itemsize
            for extent in shape:
                size *= extent
            if min((begin, *shape)) < 0 or end - begin != size or start + end > len(buffer):
                raise ValueError(name)
            spans.append((begin, end))
            flat = np.frombuffer(buffer[start + begin : start + end], dtype=dtype)
            arrays[name] = flat.reshape(shape).astype(dtype.newbyteorder("="), copy=False)
        edges = [edge for span in sorted(spans) for edge in span]
        if edges[:1] != [0] or edges[1:-1:2] != edges[2::2] or start + edges[-1] != len(buffer):
            raise ValueError("gaps")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise SketchFormatError(
            "expected a whole sketch file: its arrays do not fit its length (truncated or damaged)"
        ) from error
    return arrays


def _open(buffer: memoryview, expected: type[S], verify_data: bool) -> tuple[S, dict[str, NDArray[Any]]]:
    header, metadata, start = _read_header(buffer)
    arrays = _read_arrays(buffer, header, start)
    if metadata.get("header_xxh3") != _header_checksum(metadata, arrays):
        raise SketchFormatError("the header's checksum does not match: the file is damaged")
    name = metadata.get("class", "")
    cls = sketch_classes().get(name)
    if cls is None:
        raise SketchFormatError(f"expected a sketch class of this version, got {name!r}")
    if not issubclass(cls, expected):
        raise SketchFormatError(f"expected a {expected.__name__}, got a {name}")
    try:
        sketch = cls._from_config(json.loads(metadata["config"]))
        specs = sketch._specs()
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError, RecursionError) as error:
        raise SketchFormatError(f"the configuration of this {name} is not valid: {error}") from error
    if set(specs) != set(arrays):
        raise SketchFormatError(f"expected the arrays {sorted(specs)}, got {sorted(arrays)}")
    for key, spec in specs.items():
        if not spec.accepts(arrays[key]):
            raise SketchFormatError(
                f"expected {key} as {spec.dtype}{list(spec.shape)}, got "
                f"{arrays[key].dtype.name}{list(arrays[key].shape)}"
            )
    try:
        sketch._check_state(arrays)
    except ValueError as error:
        raise SketchFormatError(f"the arrays are no state of a {name}: {error}") from error
    if verify_data and metadata.get("data_xxh3") != _data_checksum(arrays):
        raise SketchFormatError("the arrays' checksum does not match: the file is damaged")
    return sketch, arrays


def from_bytes(buffer: bytes | bytearray | memoryview, expected: type[S]) -> S:
    """See `MergeableSketch.from_bytes`."""
    try:
        view = memoryview(buffer).cast("B")
    except TypeError as error:
        raise TypeError(f"buffer must be bytes-like, got {type(buffer).__name__}") from error
    sketch, arrays = _open(view, expected, verify_data=True)
    return sketch._adopt({name: array.copy() for name, array in arrays.items()})


def _map(path: str | PathLike[str]) -> memoryview:
    size = os.stat(path).st_size
    if size == 0:
        raise SketchFormatError(f"{os.fspath(path)}: expected a sketch file, got an empty file")
    # Copy-on-write: a mapped sketch can be updated, and the file never changes.
    return memoryview(np.memmap(path, dtype=np.uint8, mode="c"))  # type: ignore[arg-type]


def load(
    path: str | PathLike[str], *, mmap: bool = False, expected: type[MergeableSketch] | None = None
) -> MergeableSketch:
    """Open any saved sketch, whatever its class.

    Parameters
    ----------
    path : path
    mmap : bool
        Map the file instead of reading it; see `MergeableSketch.load`.
    expected : sketch class, optional
        Refuse other classes.

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
    try:
        sketch, arrays = _open(_map(path), expected or MergeableSketch, verify_data=not mmap)
    except SketchFormatError as error:
        message = str(error)
        shown = os.fspath(path)
        raise SketchFormatError(message if message.startswith(shown) else f"{shown}: {message}") from error
    if not mmap:
        arrays = {name: array.copy() for name, array in arrays.items()}
    return sketch._adopt(arrays)


def inspect(path: str | PathLike[str]) -> dict[str, Any]:
    """What a saved sketch is, without building it: class, configuration, arrays, size, checksum."""
    buffer = _map(path)
    header, metadata, start = _read_header(buffer)
    arrays = _read_arrays(buffer, header, start)
    if metadata.get("header_xxh3") != _header_checksum(metadata, arrays):
        raise SketchFormatError("the header's checksum does not match: the file is damaged")
    counted = arrays.get("n_updates")
    return {
        "class": metadata["class"],
        "config": json.loads(metadata["config"]),
        "n_updates": int(counted[0]) if counted is not None and counted.size else None,
        "arrays": {name: f"{a.dtype.name}{list(a.shape)}" for name, a in arrays.items()},
        "bytes": len(buffer),
        "format_version": metadata["format_version"],
        "intact": metadata.get("data_xxh3") == _data_checksum(arrays),
    }
