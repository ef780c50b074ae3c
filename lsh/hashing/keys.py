"""64-bit hashes of keys of every type: XXH3-64 of their bytes, the same on every machine and device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeGuard, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inputs.columns import arrow_chunks, describe, is_arrow, open_column, refuse_masked
from ..inputs.strings import (
    Buffer,
    arrow_strings,
    as_byte_buffer,
    byte_buffers,
    check_buffer,
    is_buffer,
    is_fixed_binary,
    kind_of,
)
from ..kernels import xxh3
from ..kernels.strings import first_binary
from ..support.backend import as_array, backend_named, backend_of, device_of, to_host
from ..support.checks import NO_INTEGERS, check_int
from ..support.threads import map_blocks
from ..support.types import Device, KeyLike, KeysLike

__all__ = [
    "HASH_COLLISION",
    "KEY_KINDS",
    "Keys",
    "as_byte_buffer",
    "hash_buffer",
    "hash_keys",
    "is_key",
    "read_key_list",
    "read_keys",
]

#: Number of keys that are worth a thread of their own: hashing takes 0.2 ms, handing a block over 0.1 ms.
_BLOCK = 1 << 16
_BLOCK_BYTES = 1 << 21

_MASK = (1 << 64) - 1
#: Kinds of keys that a structure tells apart, in messages.
KEY_KINDS = {"int": "integers", "bytes": "strings or bytes"}


@overload
def hash_keys(keys: KeyLike, seed: int = 0) -> int: ...  # type: ignore[overload-overlap]
@overload
def hash_keys(keys: KeysLike, seed: int = 0) -> NDArray[np.uint64]: ...
def hash_keys(keys: KeysLike, seed: int = 0) -> NDArray[np.uint64] | int:
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
        - text in a NumPy array of dtype ``S``: hashed without the NUL bytes at the end, which NumPy does not
          store there. Binary keys are refused if one is shorter than the array's width, because NumPy does
          not show whether it ended with NUL bytes;
        - a pair ``(data, offsets)``, the layout of an Arrow string array: key i is the bytes
          ``data[offsets[i]:offsets[i + 1]]``;
        - on a GPU, a 1-D array of integers, or such a pair of CuPy arrays;
        - one key: an int, a str or bytes, or an array of no dimensions. A str is one key, and never its
          characters.

        A column is a pandas Series or Index, a polars Series, an Arrow array or another object that exports
        one. Dictionaries, views and chunks are read as their values. Columns of pandas and polars do not
        need pyarrow. Arrow arrays of strings and ``S`` arrays are not copied.
    seed : int
        In [0, 2**64).

    Returns
    -------
    ndarray of shape (n,), uint64
        The hash as an int if `keys` is one key.

    Raises
    ------
    TypeError
        If keys are of mixed types, or neither integers nor strings. Booleans and floats are refused.
    ValueError
        If an integer is out of range, a string has a lone surrogate, a column has nulls, or an ``S`` array
        holds binary keys that may have lost NUL bytes.

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
    """
    seed = check_int("seed", seed, 0, _MASK)
    read = read_keys(keys)
    return read.answer(read.hashes(seed))


@dataclass(frozen=True)
class Keys:
    """Keys that have been read from any container, and checked.

    Attributes
    ----------
    form : str
        "int", "str" or "bytes"; "" for an empty list, whose type is not known.
    words : ndarray of uint64, or None
        Integers modulo 2**64, on the device that they lie on.
    is_signed : bool
        True if the integers were given in a form that can hold negative ones.
    fields : ndarray of dtype S, or None
        Keys of a NumPy array of dtype S, which are hashed without a copy.
    is_single : bool
        True if one key was given, and not a batch.
    """

    form: str
    words: NDArray[np.uint64] | None = None
    is_signed: bool = False
    fields: NDArray[Any] | None = None
    _buffers: tuple[Buffer, ...] = ()
    is_single: bool = False

    @classmethod
    def of_text(cls, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Self:
        """Return strings that lie in a buffer; a plain pair ``(data, offsets)`` holds bytes.

        They need not be UTF-8; see `is_utf8`.
        """
        return cls("str", _buffers=(check_buffer(data, offsets, "keys"),))

    def __len__(self) -> int:
        if self.words is not None:
            return int(self.words.size)
        if self.fields is not None:
            return int(self.fields.size)
        return sum(offsets.size - 1 for _, offsets in self._buffers)

    @property
    def kind(self) -> str:
        """The kind of keys that share hashes: "int", "bytes" (strings too), or "" where it is not known."""
        return "bytes" if self.form == "str" else self.form

    @property
    def has_negative(self) -> bool:
        """True if an integer is below 0."""
        if self.words is None or not self.is_signed or self.words.size == 0:
            return False
        return bool(self.words.view(np.int64).min() < 0)

    def buffers(self) -> tuple[Buffer, ...]:
        """Return the bytes of strings, in consecutive parts."""
        return self._buffers if self.fields is None else tuple(byte_buffers(self.fields))

    def hashes(self, seed: int) -> NDArray[np.uint64]:
        """Return the XXH3-64 of each key. `seed` is not checked."""
        if self.words is not None:
            return _hash_integers(self.words, seed)
        return _hash_buffers(self._buffers, seed) if self.fields is None else _hash_fields(self.fields, seed)

    def raw(self, place: int) -> int | bytes:
        """Return one key as an integer modulo 2**64, or as bytes."""
        if self.words is not None:
            return int(self.words[place])
        if self.fields is not None:
            return bytes(self.fields[place])
        for data, offsets in self._buffers:
            if place < offsets.size - 1:
                return to_host(data[int(offsets[place]) : int(offsets[place + 1])]).tobytes()
            place -= offsets.size - 1
        raise IndexError("no such key")

    def is_utf8(self) -> bool:
        """Return True if strings are UTF-8, which those of files and of Arrow arrays need not be."""
        return all(_is_utf8(data, offsets) for data, offsets in self._buffers)

    def answer(self, answers: Any) -> Any:
        """Return an array of the keys' answers; for a single key its answer, as a Python object."""
        return answers.item() if self.is_single else answers

    def item(self, place: int) -> int | str | bytes:
        """Return one key in the form in which it was given; as bytes if it is a string but not UTF-8."""
        raw = self.raw(place)
        if isinstance(raw, bytes):
            try:
                return raw.decode() if self.form == "str" else raw
            except UnicodeDecodeError:
                return raw
        return raw - (1 << 64) * (self.is_signed and raw >= 1 << 63)


def _is_utf8(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> bool:
    first, last = int(offsets[0]), int(offsets[-1])
    used = data[first:last]
    if last == first or int(used.max()) < 0x80:
        return True
    # Strings that are UTF-8 only together are cut within a character, before a byte that continues it.
    starts = offsets[:-1][offsets[:-1] < last]
    if bool(((data[starts] & 0xC0) == 0x80).any()):
        return False
    try:
        to_host(used).tobytes().decode()
    except UnicodeDecodeError:
        return False
    return True


def is_key(key: Any) -> TypeGuard[KeyLike]:
    """Tell whether an object is one key that lies on no device: an integer, a str or bytes."""
    return isinstance(key, (int, np.integer, str, bytes)) and not isinstance(key, NO_INTEGERS)


def read_keys(keys: Any, name: str = "keys", device: Device = "cpu") -> Keys:
    """Read one key, or keys of any container that `hash_keys` takes; messages call them `name`.

    An array stays where it is. An int, a str or bytes lies nowhere and is read to `device`. Keys that have
    been read already are returned as they are.
    """
    if isinstance(keys, Keys):
        return keys
    if is_key(keys):
        read, xp = _read_batch([keys], name), backend_named(device).xp
        if device == "cpu":
            return replace(read, is_single=True)
        words = None if read.words is None else xp.asarray(read.words)
        buffers = tuple((xp.asarray(data), xp.asarray(offsets)) for data, offsets in read.buffers())
        return replace(read, words=words, _buffers=buffers, is_single=True)
    if getattr(keys, "ndim", None) == 0 and hasattr(keys, "reshape"):
        return replace(_read_batch(keys.reshape(1), name), is_single=True)
    return _read_batch(keys, name)


def read_key_list(keys: Any, name: str = "keys") -> Keys:
    """Read keys as `read_keys` does, for a place where one key can only be a mistake."""
    read = read_keys(keys, name)
    if read.is_single:
        raise TypeError(f"{name} must be an array or a list, got {type(keys).__name__}")
    return read


def _read_batch(keys: Any, name: str) -> Keys:
    """Read keys of any container."""
    if is_buffer(keys):
        return Keys("bytes", _buffers=(check_buffer(keys[0], keys[1], name),))
    if device_of(keys) == "gpu":
        return _read_gpu(as_array(keys), name)
    given, keys = keys, open_column(keys, name)
    if is_arrow(keys):
        return _read_arrow(keys, name)
    keys = _as_keys(keys, name, given)
    if isinstance(keys, np.ndarray):
        if keys.dtype.kind in "iu":
            return _integer_keys(keys)
        if keys.dtype.kind == "S":
            _refuse_cut_fields(keys, name)
            return Keys("bytes", fields=keys)
        if keys.dtype.kind == "V":
            return Keys("bytes", _buffers=tuple(byte_buffers(keys, name)))
        if keys.size == 0 and keys.dtype.kind in "UT":
            return Keys("str", _buffers=tuple(byte_buffers(keys, name)))
        keys = keys.tolist()
    if len(keys) == 0:
        return Keys("", words=np.empty(0, dtype=np.uint64))
    form = kind_of(keys, name).__name__
    if form == "int":
        array = _integers(keys, name)
        return _integer_keys(array, is_signed=array.dtype.kind == "i" or min(keys) < 0)
    return Keys(form, _buffers=tuple(byte_buffers(list(keys), name)))


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
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise TypeError(f"{name} must be {describe(keys)} of integers, strings or bytes, got one of {kind}")
    buffers = tuple(arrow_strings(chunk, name, keys) for chunk in chunks)
    return Keys("str" if is_text else "bytes", _buffers=buffers)


def _as_keys(keys: Any, name: str, given: Any) -> Any:
    """Return keys as a list, tuple, range or 1-D array of integers, strings, or objects not checked yet."""
    if not isinstance(keys, (np.ndarray, list, tuple, range)):
        if isinstance(keys, bytearray) or not hasattr(keys, "__array__"):
            raise TypeError(
                f"{name} must be an array or a list of int, str or bytes, or one of them, got "
                f"{type(keys).__name__}"
            )
        keys = np.asarray(keys)
    if isinstance(keys, np.ndarray):
        refuse_masked(keys, name)
        if keys.ndim != 1:
            raise ValueError(f"{name} must be 1-D, got shape {keys.shape}")
        if keys.dtype.kind not in "iuSUTO" and not is_fixed_binary(keys):
            if not isinstance(given, np.ndarray):
                raise TypeError(
                    f"{name} must be {describe(given)} of integers, strings or bytes, got one of {keys.dtype}"
                )
            raise TypeError(f"{name} must be integers or strings, got dtype {keys.dtype}")
    return keys


def _refuse_cut_fields(keys: NDArray[Any], name: str) -> None:
    """Refuse binary keys in an ``S`` array: NumPy does not show whether they end with NUL bytes."""
    width = keys.dtype.itemsize
    if keys.size == 0 or width == 0:
        return
    data, block = _field_bytes(keys), max(1, min(_BLOCK, _BLOCK_BYTES // width))
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


def _field_bytes(keys: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the bytes of a NumPy ``S`` array, read-only like the data of other kernels."""
    data: NDArray[np.uint8] = np.ascontiguousarray(keys).view(np.uint8)
    data.flags.writeable = False
    return data


def hash_buffer(data: ArrayLike, offsets: ArrayLike, seed: int = 0) -> NDArray[np.uint64]:
    """Return the XXH3-64 of each slice ``data[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    data : ndarray of uint8, or bytes
    offsets : ndarray of shape (n + 1,), integers
        They do not fall and lie within [0, len(data)], as in an Arrow string array. Both may be CuPy arrays.
    seed : int
        In [0, 2**64).

    Returns
    -------
    ndarray of shape (n,), uint64

    Raises
    ------
    TypeError, ValueError
        If data or offsets have another dtype or shape, or an offset lies outside the data.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh.hashing.keys import hash_buffer, hash_keys
    >>> bool((hash_buffer(b"abc", np.array([0, 1, 3])) == hash_keys(["a", "bc"])).all())
    True
    """
    seed = check_int("seed", seed, 0, _MASK)
    return _hash_buffers([check_buffer(data, offsets, "buffer")], seed)


def _hash_buffers(buffers: Sequence[Buffer], seed: int) -> NDArray[np.uint64]:
    xp = backend_of(buffers[0][0]).xp if buffers else np
    out = xp.empty(sum(offsets.size - 1 for _, offsets in buffers), dtype=np.uint64)
    done = 0
    for data, offsets in buffers:
        n = offsets.size - 1
        _hash_slices(data, offsets, seed, out[done : done + n])
        done += n
    return out


def _hash_slices(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], seed: int, out: NDArray[np.uint64]
) -> None:
    backend = backend_of(data)
    kernel = backend.kernels(xxh3).hash_slices
    block = _BLOCK
    if device_of(data) == "cpu":
        # The time depends on bytes as well as on keys, so blocks of long strings are smaller.
        block = max(1, min(block, out.size * _BLOCK_BYTES // max(1, int(offsets[-1] - offsets[0]))))
    backend.map_blocks(lambda a, b: kernel(data, offsets, np.uint64(seed), a, b, out), out.size, block)


def _hash_integers(words: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    backend = backend_of(words)
    out, kernel = backend.xp.empty(words.size, dtype=np.uint64), backend.kernels(xxh3).hash_u64
    backend.map_blocks(lambda a, b: kernel(words, np.uint64(seed), a, b, out), words.size, _BLOCK)
    return out


def _hash_fields(keys: NDArray[Any], seed: int) -> NDArray[np.uint64]:
    """Return the hashes of a NumPy ``S`` array, which is not copied."""
    out = np.empty(keys.size, dtype=np.uint64)
    width = keys.dtype.itemsize
    data = _field_bytes(keys) if keys.size and width else np.empty(0, dtype=np.uint8)
    kernel = backend_of(data).kernels(xxh3).hash_fixed
    block = max(1, min(_BLOCK, _BLOCK_BYTES // max(1, width)))
    map_blocks(lambda a, b: kernel(data, width, np.uint64(seed), a, b, out), keys.size, block)
    return out


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


#: Probability that two keys have the same hash.
HASH_COLLISION = 2.0**-64
