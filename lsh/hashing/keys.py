"""64-bit hashes of keys of every type: XXH3-64 of their bytes, the same on every machine and device."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeGuard, overload
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ..inputs.columns import (
    arrow_chunks,
    describe,
    import_arrow,
    is_arrow,
    open_column,
    refuse_masked,
    refuse_nulls,
)
from ..inputs.dates import arrow_times, is_time_dtype, list_times, numpy_times, polars_instants
from ..inputs.key_parts import key_parts, null_mask, rows_kept
from ..inputs.libraries import is_from
from ..inputs.strings import (
    arrow_strings,
    as_byte_buffer,
    byte_buffers,
    check_buffer,
    is_buffer,
    is_fixed_binary,
    kind_of,
    list_buffer,
)
from ..kernels.strings import first_binary
from ..support.backend import as_array, backend_named, backend_of, device_of
from ..support.checks import NO_INTEGERS, check_choice, check_int
from ..support.threads import map_blocks
from ..support.types import Device, KeyLike, KeysLike
from .key_batch import (
    BYTES_BLOCK,
    HASH_COLLISION,
    KEY_KINDS,
    KEYS_BLOCK,
    Keys,
    field_bytes,
    hash_buffer,
)

__all__ = [
    "HASH_COLLISION",
    "KEY_KINDS",
    "Keys",
    "Nulls",
    "as_byte_buffer",
    "hash_buffer",
    "hash_keys",
    "is_key",
    "read_key_list",
    "read_keys",
]

#: What is done about keys that are null.
Nulls = Literal["raise", "skip"]

_MASK = (1 << 64) - 1
#: What to do with keys that are refused.
_ADVICE = "convert booleans, floats and decimals to integers or strings first, and drop or fill nulls"


@overload
def hash_keys(keys: KeyLike, seed: int = ..., *, nulls: Nulls = ...) -> int: ...  # type: ignore[overload-overlap]
@overload
def hash_keys(keys: KeysLike, seed: int = ..., *, nulls: Nulls = ...) -> NDArray[np.uint64]: ...
def hash_keys(keys: KeysLike, seed: int = 0, *, nulls: Nulls = "raise") -> NDArray[np.uint64] | int:
    """Return the XXH3-64 of each key.

    Parameters
    ----------
    keys : array or list of n keys, or one key
        One of

        - integers, in a 1-D NumPy array or a column of any integer dtype or a list of int: hashed as the
          8 little-endian bytes of their value modulo 2**64, so that 7 has one hash in every dtype.
          A list may hold -2**63 to 2**64 - 1;
        - strings, as a list of str, a column of strings or categories, or a NumPy array of dtype ``U`` or
          ``T``: hashed as their UTF-8 bytes;
        - bytes, as a list of bytes, a column of bytes, or a NumPy array of dtype ``V``, whose items all have
          the same length: hashed as they are;
        - dates, in a list of `datetime.date`, a NumPy array of dtype ``datetime64[D]`` or a column: hashed as
          the letter D and the number of days since 1970;
        - timestamps, in a list of `datetime.datetime` or pandas Timestamps, a NumPy array of dtype
          ``datetime64`` or a column of any unit: hashed as a letter, the seconds since 1970, and the
          nanoseconds. Those with a time zone (T) are instants; those without one (L) are other keys;
        - UUIDs: hashed as their 16 bytes;
        - tuples of two or more of these, as a list of tuples, a data frame or table, a pandas MultiIndex, or
          a NumPy array with fields: hashed as the hashes of their parts;
        - text in a NumPy array of dtype ``S``: hashed without the NUL bytes at the end, which NumPy does not
          store there. Binary keys are refused if one is shorter than the array's width, because NumPy does
          not show whether it ended with NUL bytes;
        - a pair ``(data, offsets)``, the layout of an Arrow string array: key i is the bytes
          ``data[offsets[i]:offsets[i + 1]]``;
        - on a GPU, a 1-D array of integers, or such a pair of CuPy arrays;
        - one key: an int, a str, bytes, a date and so on, or an array of no dimensions. A str is one key, and
          never its characters. A tuple is a sequence of keys, so one key that is a tuple is passed in a list.

        A column is a pandas Series or Index, a polars Series, an Arrow array or another object that exports
        one. Dictionaries, views and chunks are read as their values. Columns of pandas and polars do not
        need pyarrow. Arrow arrays of strings and ``S`` arrays are not copied.
    seed : int
        In [0, 2**64).
    nulls : {"raise", "skip"}, default "raise"
        What to do with keys that are null (None, NaN, NaT, pandas' NA, nulls of columns, masked values, and
        tuples with such a part): to raise, or to leave them out. The result is shorter then.

    Returns
    -------
    ndarray of shape (n,), uint64
        The hash as an int if `keys` is one key.

    Raises
    ------
    TypeError
        If keys are of mixed types, or of another type. Booleans, floats, decimals, times of the day and
        time spans are refused.
    ValueError
        If an integer or a timestamp is out of range, a string has a lone surrogate, a column has nulls, or an
        ``S`` array holds binary keys that may have lost NUL bytes.

    Notes
    -----
    Time: about 2 ns for an integer and 5 to 10 ns for a short string on one thread. Converting a list of
    Python objects takes 50 to 90 ns for each key. Memory: the result, and for lists their bytes.

    The hash is that of the xxHash library's XXH3_64bits_withSeed.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh import hash_keys
    >>> [hex(h) for h in hash_keys(["a", "b"]).tolist()]
    ['0xe6c632b61e964e1f', '0x575a0b1c44d8843f']
    >>> hex(hash_keys("a"))
    '0xe6c632b61e964e1f'
    >>> bool(hash_keys([7])[0] == hash_keys(np.array([7], dtype=np.uint8))[0])
    True
    >>> from datetime import date
    >>> bool(hash_keys(date(2026, 11, 30)) == hash_keys(np.array(["2026-11-30"], "datetime64[D]"))[0])
    True
    >>> hash_keys([("tea", 3), None, ("cake", 1)], nulls="skip").shape
    (2,)
    """
    seed = check_int("seed", seed, 0, _MASK)
    read = read_keys(keys, nulls=nulls)
    return read.answer(read.hashes(seed))


def is_key(key: Any) -> TypeGuard[KeyLike]:
    """Tell whether an object is one key that lies on no device, such as an integer, a str or a date."""
    return isinstance(key, _KEY_TYPES) and not isinstance(key, NO_INTEGERS)


_KEY_TYPES = (int, np.integer, str, bytes, dt.date, np.datetime64, UUID)


def read_keys(keys: Any, name: str = "keys", device: Device = "cpu", nulls: Nulls = "raise") -> Keys:
    """Read one key, or keys of any container that `hash_keys` takes; messages call them `name`.

    An array stays where it is. An int, a str or bytes lies nowhere and is read to `device`. Keys that have
    been read already are returned as they are. With ``nulls="skip"``, nulls are left out, and `Keys.kept`
    tells which keys are not.
    """
    if isinstance(keys, Keys):
        return keys
    if check_choice("nulls", nulls, ("raise", "skip")) == "skip" and not _is_one(keys):
        return _read_batch(keys, name, skip_nulls=True)
    if is_key(keys):
        read, xp = _read_batch([keys], name), backend_named(device).xp
        if device == "cpu":
            return replace(read, is_single=True)
        words = None if read.words is None else xp.asarray(read.words)
        buffers = tuple((xp.asarray(data), xp.asarray(offsets)) for data, offsets in read.buffers())
        return replace(read, words=words, _buffers=buffers, is_single=True)
    if _is_one(keys):
        return replace(_read_batch(keys.reshape(1), name), is_single=True)
    return _read_batch(keys, name)


def _is_one(keys: Any) -> bool:
    return is_key(keys) or (getattr(keys, "ndim", None) == 0 and hasattr(keys, "reshape"))


def read_key_list(keys: Any, name: str = "keys") -> Keys:
    """Read keys as `read_keys` does, for a place where one key can only be a mistake."""
    read = read_keys(keys, name)
    if read.is_single:
        raise TypeError(f"{name} must be an array or a list, got {type(keys).__name__}")
    return read


def _read_batch(keys: Any, name: str, *, skip_nulls: bool = False) -> Keys:
    """Read keys of any container."""
    if type(keys) is np.ndarray and keys.dtype.kind in "iuSU":  # without parts and nulls
        return _read_column(keys, name)
    if is_buffer(keys):
        return Keys("bytes", _buffers=(check_buffer(keys[0], keys[1], name),))
    if device_of(keys) == "gpu":
        return _read_gpu(as_array(keys), name)
    keys = import_arrow(keys, name)
    parts = key_parts(keys, name)
    if not skip_nulls or not hasattr(keys, "__len__"):  # None, a generator: neither a key nor keys
        return _read_column(keys, name) if parts is None else _read_parts(parts, name)
    masks = [null_mask(part, label) for label, part in (parts or {name: keys}).items()]
    _check_lengths([mask.size for _, mask in masks], name)
    kept = ~np.logical_or.reduce([mask for _, mask in masks])
    columns = [column if kept.all() else rows_kept(column, kept) for column, _ in masks]
    if parts is None:
        return replace(_read_column(columns[0], name), kept=kept)
    return replace(_read_parts(dict(zip(parts, columns, strict=True)), name), kept=kept)


def _read_parts(columns: Mapping[str, Any], name: str) -> Keys:
    """Read keys of several parts from the columns of their parts."""
    parts = tuple(_read_column(column, label) for label, column in columns.items())
    _check_lengths([len(part) for part in parts], name)
    return Keys("tuple", parts=parts) if len(parts[0]) else Keys("", words=np.empty(0, dtype=np.uint64))


def _check_lengths(lengths: Sequence[int], name: str) -> None:
    if len(set(lengths)) > 1:
        raise ValueError(f"{name} must have parts of one length, got lengths {', '.join(map(str, lengths))}")


def _read_column(keys: Any, name: str) -> Keys:
    """Read keys of one part."""
    instants = polars_instants(keys)
    if instants is not None:
        return _time_keys(instants, name, "timestamp")
    given, keys = keys, open_column(keys, name)
    if is_arrow(keys):
        return _read_arrow(keys, name)
    keys = _as_keys(keys, name, given)
    if isinstance(keys, np.ndarray):
        if keys.dtype.kind in "iu":
            return _integer_keys(keys)
        if is_time_dtype(keys):
            return _time_keys(keys, name)
        if keys.dtype.kind == "S":
            _refuse_cut_fields(keys, name)
            return Keys("bytes", fields=keys)
        if keys.dtype.kind == "V":
            return Keys("bytes", _buffers=tuple(byte_buffers(keys, name)))
        if keys.dtype.kind == "U" or (keys.size == 0 and keys.dtype.kind == "T"):
            return Keys("str", _buffers=tuple(byte_buffers(keys, name)))
        keys = keys.tolist()
    if len(keys) == 0:
        return Keys("", words=np.empty(0, dtype=np.uint64))
    return _read_items(keys, name)


def _read_items(items: Sequence[Any], name: str) -> Keys:
    """Read a list of Python objects, which is not empty."""
    if isinstance(items[0], (dt.date, np.datetime64)):
        times = list_times(items, name)
        if times is not None:
            return Keys.of_rows(*times)
    if isinstance(items[0], UUID) and all(isinstance(item, UUID) for item in items):
        items = [item.bytes for item in items]
    try:
        kind = kind_of(items, name)
    except TypeError as error:
        raise TypeError(f"{error}; {_ADVICE}") from None
    if kind is int:
        array = _integers(items, name)
        return _integer_keys(array, is_signed=array.dtype.kind == "i" or min(items) < 0)
    return Keys(kind.__name__, _buffers=(list_buffer(items, kind, name),))


def _time_keys(array: NDArray[Any], name: str, kind: str = "") -> Keys:
    """Read a NumPy array of dates or timestamps."""
    refuse_nulls(np.isnat(array), name)
    return Keys.of_rows(*numpy_times(array, name, kind))


def _read_gpu(keys: Any, name: str) -> Keys:
    if keys.ndim != 1 or keys.dtype.kind not in "iu":
        raise TypeError(
            f"{name} on a GPU must be a 1-D array of integers, or (data, offsets) of strings, got dtype "
            f"{keys.dtype} and shape {keys.shape}"
        )
    return _integer_keys(keys)


def _integer_keys(array: Any, is_signed: bool | None = None) -> Keys:
    words = backend_of(array).xp.ascontiguousarray(array.astype(np.uint64, copy=False))
    return Keys("int", words=words, is_signed=array.dtype.kind == "i" if is_signed is None else is_signed)


def _read_arrow(keys: Any, name: str) -> Keys:
    import pyarrow as pa

    chunks = arrow_chunks(keys, name)
    if not chunks:
        return Keys("", words=np.empty(0, dtype=np.uint64))
    kind = chunks[0].type
    if pa.types.is_integer(kind):
        parts = [chunk.to_numpy(zero_copy_only=False) for chunk in chunks]
        return _integer_keys(np.concatenate(parts) if len(parts) > 1 else parts[0])
    times = [arrow_times(chunk, name) for chunk in chunks]
    if times[0] is not None:
        return Keys.of_rows(times[0][0], np.concatenate([part[1] for part in times if part is not None]))
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise TypeError(
            f"{name} must be {describe(keys)} of integers, strings or bytes, got one of {kind}; {_ADVICE}"
        )
    buffers = tuple(arrow_strings(chunk, name, keys) for chunk in chunks)
    return Keys("str" if is_text else "bytes", _buffers=buffers)


def _as_keys(keys: Any, name: str, given: Any) -> Any:
    """Return keys as a list, tuple, range or 1-D array of integers, strings, or objects not checked yet."""
    if not isinstance(keys, (np.ndarray, list, tuple, range)):
        if isinstance(keys, bytearray) or not hasattr(keys, "__array__"):
            raise TypeError(
                f"{name} must be an array or a list of int, str or bytes, or one of them, got "
                f"{type(keys).__name__}; {_advice_for(keys)}"
            )
        keys = np.asarray(keys)
    if isinstance(keys, np.ndarray):
        refuse_masked(keys, name)
        if keys.ndim != 1:
            raise ValueError(f"{name} must be 1-D, got shape {keys.shape}")
        if keys.dtype.kind not in "iuSUTOM" and not is_fixed_binary(keys):
            if not isinstance(given, np.ndarray):
                raise TypeError(
                    f"{name} must be {describe(given)} of integers, strings or bytes, got one of "
                    f"{keys.dtype}; {_ADVICE}"
                )
            raise TypeError(f"{name} must be integers or strings, got dtype {keys.dtype}; {_ADVICE}")
    return keys


def _advice_for(keys: Any) -> str:
    """Return what to do with an object of a type that is neither one key nor a container of keys."""
    if is_from(keys, "polars", "LazyFrame"):
        return "call collect() first"
    if isinstance(keys, bytearray):
        return "pass bytes(...) of it"
    return "pass a list of its keys" if isinstance(keys, Iterable) else _ADVICE


def _refuse_cut_fields(keys: NDArray[Any], name: str) -> None:
    """Refuse binary keys in an ``S`` array: NumPy does not show whether they end with NUL bytes."""
    width = keys.dtype.itemsize
    if keys.size == 0 or width == 0:
        return
    data, block = field_bytes(keys), max(1, min(KEYS_BLOCK, BYTES_BLOCK // width))
    binary = max(map_blocks(lambda a, b: first_binary(data, width, a, b), keys.size, block))
    if binary < 0:
        return
    lengths = np.strings.str_len(keys)
    if int(lengths.min()) < width:
        raise ValueError(
            f"{name} must be text where they are a NumPy S array, which does not store NUL bytes at the end: "
            f"key {binary} is binary and key {int(lengths.argmin())} shorter than {width} bytes; pass "
            f'{name}.view("V{width}") if each has {width} bytes, and {name}.tolist() if none ends with NUL'
        )


def _integers(keys: Any, name: str) -> NDArray[Any]:
    """Return a sequence of int as an array of the same values modulo 2**64."""
    for dtype in (np.int64, np.uint64):
        try:
            return np.array(keys, dtype=dtype)
        except OverflowError:
            continue
    low, high = min(map(int, keys)), max(map(int, keys))
    if low < -(1 << 63) or high > _MASK:
        bad = low if low < -(1 << 63) else high
        raise ValueError(f"{name} must be integers from -2**63 to 2**64 - 1, got {bad}")
    return np.array([int(key) & _MASK for key in keys], dtype=np.uint64)
