"""Strings of every container, read as one buffer of bytes and the offset of each string in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..kernels.strings import byte_offsets, first_bad_offset, never_falls, strip_fields
from ..support.backend import as_array, backend_of, device_of, read_only
from ..support.checks import NO_INTEGERS
from ..support.threads import map_blocks
from .columns import arrow_chunks, describe, is_arrow, is_null, open_column, refuse_masked

__all__ = [
    "Buffer",
    "as_byte_buffer",
    "byte_buffers",
    "check_buffer",
    "is_buffer",
    "is_fixed_binary",
    "kind_of",
    "list_buffer",
]

#: A pair ``(data, offsets)`` of uint8 and int64: string i is ``data[offsets[i]:offsets[i + 1]]``.
Buffer = tuple[NDArray[np.uint8], NDArray[np.int64]]


_EMPTY = np.empty(0, dtype=np.uint8)
#: Lists of strings that are shorter than this, in a sample of the first ones, are joined with NULs.
_SHORT, _SAMPLE = 64, 32
#: Number of offsets that are worth a thread of their own.
_OFFSETS_BLOCK = 1 << 17


def check_buffer(data: Any, offsets: Any, name: str) -> Buffer:
    """Return a caller's ``(data, offsets)``; ValueError unless every string lies within `data`.

    Offsets need not begin at 0 or end at the last byte: those of a slice do not.
    """
    refuse_masked((data, offsets), name)
    if isinstance(data, (bytes, bytearray, memoryview)):
        if isinstance(data, memoryview) and not data.c_contiguous:
            raise TypeError(f"{name} must have data in C order without gaps, got a memoryview with strides")
        data = np.frombuffer(data, dtype=np.uint8)
    if device_of(data) == "gpu" or device_of(offsets) == "gpu":
        return _check_gpu_buffer(data, offsets, name)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 1:
        raise TypeError(f"{name} must have 1-D uint8 data, got {_describe(data)}")
    if not isinstance(offsets, np.ndarray) or offsets.dtype.kind not in "iu" or offsets.ndim != 1:
        raise TypeError(f"{name} must have 1-D integer offsets, got {_describe(offsets)}")
    if offsets.size == 0:
        raise ValueError(f"{name} must have one offset more than strings, at least 1, got none")
    offsets, rising = _widened(offsets)
    if not rising or offsets[0] < 0 or offsets[-1] > data.size:
        bad = first_bad_offset(read_only(offsets), data.size)
        _refuse_offset(name, data.size, bad, int(offsets[bad]))
    return _read_only((np.ascontiguousarray(data), offsets))


def _widened(offsets: NDArray[Any]) -> tuple[NDArray[np.int64], bool]:
    """Return offsets as int64, and whether none falls; all threads work on it."""
    is_narrow = offsets.dtype == np.int32
    given: NDArray[Any] = np.ascontiguousarray(offsets, dtype=np.int32 if is_narrow else np.int64).view()
    given.flags.writeable = False  # as Arrow's are: one kernel is compiled for each width
    wide = np.empty(given.size, np.int64) if is_narrow else given

    def widen(start: int, stop: int) -> bool:
        if is_narrow:
            wide[start:stop] = given[start:stop]
        return bool(never_falls(given[max(start - 1, 0) : stop]))

    return wide, all(map_blocks(widen, given.size, _OFFSETS_BLOCK))


def _check_gpu_buffer(data: Any, offsets: Any, name: str) -> Buffer:
    if device_of(data) != device_of(offsets):
        raise TypeError(f"{name} must be data and offsets of one device, got one of each")
    data, offsets = as_array(data), as_array(offsets)
    if data.dtype != np.uint8 or data.ndim != 1 or offsets.dtype.kind not in "iu" or offsets.ndim != 1:
        raise TypeError(
            f"{name} must be 1-D uint8 data and 1-D integer offsets, got dtypes {data.dtype} and "
            f"{offsets.dtype}, shapes {data.shape} and {offsets.shape}"
        )
    if offsets.size == 0:
        raise ValueError(f"{name} must have one offset more than strings, at least 1, got none")
    xp = backend_of(data).xp
    offsets = xp.ascontiguousarray(offsets.astype(np.int64, copy=False))
    bad = (offsets < 0) | (offsets > data.size)
    bad[1:] |= offsets[1:] < offsets[:-1]
    if bool(bad.any()):
        first = int(xp.flatnonzero(bad)[0])
        _refuse_offset(name, data.size, first, int(offsets[first]))
    return xp.ascontiguousarray(data), offsets


def _refuse_offset(name: str, n_bytes: int, place: int, offset: int) -> NoReturn:
    raise ValueError(
        f"{name} must have offsets that do not fall and lie in [0, {n_bytes}], the bytes of the data; "
        f"offset {place} is {offset}"
    )


def is_buffer(strings: Any) -> bool:
    """Tell whether `strings` is a pair ``(data, offsets)`` and not a tuple of two strings."""
    return isinstance(strings, tuple) and len(strings) == 2 and getattr(strings[1], "ndim", 0) == 1


def _read_only(buffer: Buffer) -> Buffer:
    """Return views that cannot be written to. Those of Arrow and bytes cannot, so one kernel serves all."""
    return read_only(buffer[0]), read_only(buffer[1])


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of dtype {value.dtype} and shape {value.shape}"
    return type(value).__name__


def arrow_strings(chunk: Any, name: str, given: Any) -> Buffer:
    """Return the buffers of one of the `arrow_chunks` of the column `given`, without a copy."""
    import pyarrow as pa

    kind = chunk.type
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        dtype: Any = np.int64
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        dtype = np.int32
    else:
        raise TypeError(f"{name} must be {describe(given)} of strings or bytes, got one of {kind}")
    _, raw_offsets, raw_data = chunk.buffers()
    data = _EMPTY if raw_data is None else np.frombuffer(raw_data, dtype=np.uint8)
    if len(chunk) == 0:
        return _read_only((data, np.zeros(1, dtype=np.int64)))
    offsets = np.frombuffer(raw_offsets, dtype=dtype)[chunk.offset : chunk.offset + len(chunk) + 1]
    return check_buffer(data, offsets, name)


def join(buffers: Sequence[Buffer]) -> Buffer:
    """Return several buffers as one. A single one is returned as it is."""
    if len(buffers) == 1:
        return buffers[0]
    offsets, end = [np.zeros(1, dtype=np.int64)], 0
    for _, part in buffers:
        offsets.append(part[1:] + (end - part[0]))
        end += int(part[-1] - part[0])
    data = [data[part[0] : part[-1]] for data, part in buffers]
    return _read_only((np.concatenate([_EMPTY, *data]), np.concatenate(offsets)))


def kind_of(items: Sequence[Any], name: str) -> type:
    """Return the type of all items of a list: str, bytes or int.

    Raises
    ------
    TypeError
        If the items are of several types, or of a type other than these.
    """
    types = set(map(type, items))
    for kind in (str, bytes):
        if all(issubclass(t, kind) for t in types):
            return kind
    if all(issubclass(t, (int, np.integer)) and not issubclass(t, NO_INTEGERS) for t in types):
        return int
    found = ", ".join(sorted(t.__name__ for t in types))
    raise TypeError(f"{name} must be all str, all bytes or all int, got {found}")


def list_buffer(items: Sequence[Any], kind: type, name: str = "strings", errors: str = "strict") -> Buffer:
    """Return a list of items of one kind, str or bytes, as one read-only buffer.

    Strings are joined first and encoded once.
    """
    return _read_only(_joined(items, kind, name, errors))


def _joined(items: Sequence[Any], kind: type, name: str, errors: str) -> Buffer:
    if sum(map(len, items[:_SAMPLE])) < _SHORT * _SAMPLE <= _SHORT * len(items):
        found = _short_buffer(items, kind, errors)
        if found is not None:
            return found
    lengths = np.fromiter(map(len, items), dtype=np.int64, count=len(items))
    offsets = np.zeros(len(items) + 1, dtype=np.int64)
    if kind is bytes:
        np.cumsum(lengths, out=offsets[1:])
        return np.frombuffer(b"".join(items), dtype=np.uint8), offsets
    joined = "".join(items)
    try:
        data = np.frombuffer(joined.encode("utf-8", errors), dtype=np.uint8)
    except UnicodeEncodeError as error:
        bad = int(np.searchsorted(np.cumsum(lengths), error.start, side="right"))
        raise ValueError(
            f"{name} must be encodable as UTF-8, but string {bad} has the lone surrogate "
            f"U+{ord(joined[error.start]):04X}"
        ) from None
    if data.size == len(joined):  # all ASCII: code points are bytes
        np.cumsum(lengths, out=offsets[1:])
    else:
        byte_offsets(data, lengths, offsets)
    return data, offsets


def _short_buffer(items: Sequence[Any], kind: type, errors: str) -> Buffer | None:
    """Return a list of short strings as one buffer; None if one has a NUL or cannot be encoded.

    The strings are joined with NULs between them, which are found faster than n lengths are asked for.
    """
    try:
        joined = b"\0".join(items) if kind is bytes else "\0".join(items).encode("utf-8", errors)
    except UnicodeEncodeError:
        return None
    data = np.frombuffer(joined, dtype=np.uint8)
    ends = np.flatnonzero(data == 0)
    if ends.size != len(items) - 1:
        return None
    offsets = np.empty(len(items) + 1, dtype=np.int64)
    offsets[0], offsets[-1] = 0, data.size - ends.size
    offsets[1:-1] = ends - np.arange(ends.size)
    return data[data != 0], offsets


def _list_buffer(items: Sequence[Any], name: str, errors: str) -> Buffer:
    """Return a list of str or of bytes as one buffer."""
    if not items:
        return _EMPTY, np.zeros(1, dtype=np.int64)
    kind = kind_of(items, name)
    if kind is int:
        raise TypeError(f"{name} must be strings, got integers")
    return _joined(items, kind, name, errors)


def _ascii_fields(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return an array of dtype U as one of dtype S if all characters are ASCII, or else None."""
    codes = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False)).view(np.uint32)
    if not codes.size or codes.max() > 127:
        return None
    return codes.astype(np.uint8).view(f"S{codes.size // array.size}")


def _array_buffer(array: NDArray[Any], name: str, errors: str, *, nulls_as_empty: bool) -> Buffer:
    """Return a 1-D NumPy array of strings, of dtype S, U, T, V or object, as one buffer."""
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, got shape {array.shape}")
    fields = _ascii_fields(array) if array.dtype.kind == "U" else None
    if fields is not None:
        array = fields
    elif array.dtype.kind in "UTO":
        items = array.tolist()
        return _list_buffer(_without_nulls(items) if nulls_as_empty else items, name, errors)
    if array.dtype.kind != "S" and not is_fixed_binary(array):
        raise TypeError(f"{name} must be strings, got dtype {array.dtype}")
    width = array.dtype.itemsize
    offsets = width * np.arange(array.size + 1, dtype=np.int64)
    if array.size == 0 or width == 0:
        return _EMPTY, offsets
    fields = np.ascontiguousarray(array).view(np.uint8)
    if array.dtype.kind == "V":
        return fields, offsets
    data = np.empty(fields.size, dtype=np.uint8)
    strip_fields(fields, width, data, offsets)
    return data[: offsets[-1]], offsets


def is_fixed_binary(array: NDArray[Any]) -> bool:
    """Tell whether the dtype is V without fields: bytes of one length, with the NUL bytes at their end."""
    return array.dtype.kind == "V" and array.dtype.names is None and array.dtype.subdtype is None


def _without_nulls(items: Sequence[Any]) -> Sequence[Any]:
    """Return a list of texts with an empty one in place of each null."""
    types = set(map(type, items))
    if types <= {str} or types <= {bytes}:
        return items
    empty: str | bytes = b"" if any(issubclass(t, bytes) for t in types) else ""
    return [empty if is_null(item) else item for item in items]


def byte_buffers(
    strings: Any, name: str = "strings", errors: str = "strict", *, nulls_as_empty: bool = False
) -> list[Buffer]:
    """Return strings as one buffer, or as one for each chunk of a chunked Arrow array, without a copy.

    Nulls are refused, or with `nulls_as_empty` they are empty strings.
    """
    strings = open_column(strings, name, nulls_as_empty=nulls_as_empty)
    if is_arrow(strings):
        chunks = arrow_chunks(strings, name, nulls_as_empty=nulls_as_empty)
        return [arrow_strings(chunk, name, strings) for chunk in chunks]
    if isinstance(strings, np.ndarray):
        refuse_masked(strings, name)
        return [_read_only(_array_buffer(strings, name, errors, nulls_as_empty=nulls_as_empty))]
    if is_buffer(strings):
        return [check_buffer(strings[0], strings[1], name)]
    if isinstance(strings, (list, tuple)):
        items = _without_nulls(strings) if nulls_as_empty else strings
        return [_read_only(_list_buffer(items, name, errors))]
    if hasattr(strings, "__array__"):
        array = np.asarray(strings)
        return [_read_only(_array_buffer(array, name, errors, nulls_as_empty=nulls_as_empty))]
    raise TypeError(
        f"{name} must be a list of str or bytes, a NumPy or Arrow array of strings, or a pair "
        f"(data, offsets) of arrays, got {type(strings).__name__}"
    )


def as_byte_buffer(strings: Any, name: str = "strings", errors: str = "strict") -> Buffer:
    """Return strings as one buffer of bytes and offsets.

    Parameters
    ----------
    strings : list of str or bytes, NumPy array of strings, column, or (data, offsets)
        Text is encoded as UTF-8. Arrow buffers and pairs are not copied, except where an Arrow array has
        several chunks. NumPy's ``S`` arrays do not store trailing NUL bytes; ``V`` arrays do.
    name : str
        Name of the argument in messages.
    errors : str
        How lone surrogates in a str are encoded; ``"strict"`` refuses them.

    Returns
    -------
    data : ndarray of uint8
    offsets : ndarray of shape (n + 1,), int64
        String i is ``data[offsets[i]:offsets[i + 1]]``. The first offset need not be 0.

    Raises
    ------
    TypeError
        If the strings are of mixed types or not strings.
    ValueError
        If a string cannot be encoded, is null, or offsets do not fit the data.

    Examples
    --------
    >>> data, offsets = as_byte_buffer(["ab", "é"])
    >>> data.tobytes().decode(), offsets.tolist()
    ('abé', [0, 2, 4])
    """
    return join(byte_buffers(strings, name, errors))
