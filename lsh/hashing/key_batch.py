"""A batch of keys that has been read, and its XXH3-64 hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inputs.dates import moment_of
from ..inputs.strings import Buffer, byte_buffers, check_buffer
from ..kernels import xxh3
from ..support.backend import backend_of, device_of, read_only, to_host
from ..support.checks import check_int
from ..support.threads import map_blocks

__all__ = [
    "BYTES_BLOCK",
    "HASH_COLLISION",
    "KEYS_BLOCK",
    "KEY_KINDS",
    "Keys",
    "field_bytes",
    "hash_buffer",
]

#: Number of keys that are worth a thread of their own: hashing takes 0.2 ms, handing a block over 0.1 ms.
KEYS_BLOCK = 1 << 16
BYTES_BLOCK = 1 << 21

_MASK = (1 << 64) - 1
#: Kinds of keys that a structure tells apart, in messages.
KEY_KINDS = {
    "int": "integers",
    "bytes": "strings or bytes",
    "date": "dates",
    "datetime": "timestamps without a time zone",
    "timestamp": "timestamps with a time zone",
    "tuple": "tuples",
}


@dataclass(frozen=True)
class Keys:
    """Keys that have been read from any container, and checked.

    Attributes
    ----------
    form : str
        "int", "str", "bytes", "date", "datetime" (without a time zone), "timestamp" (with one) or "tuple"; ""
        for an empty list, whose type is not known.
    words : ndarray of uint64, or None
        Integers modulo 2**64, on the device that they lie on.
    is_signed : bool
        True if the integers were given in a form that can hold negative ones.
    fields : ndarray of dtype S, or None
        Keys of a NumPy array of dtype S, which are hashed without a copy.
    is_single : bool
        True if one key was given, and not a batch.
    parts : tuple of Keys
        For tuples: the keys at each place of the tuples.
    kept : ndarray of bool, or None
        Where nulls were skipped: for each key that was given, whether it is one of these.
    """

    form: str
    words: NDArray[np.uint64] | None = None
    is_signed: bool = False
    fields: NDArray[Any] | None = None
    _buffers: tuple[Buffer, ...] = ()
    is_single: bool = False
    parts: tuple[Keys, ...] = ()
    kept: NDArray[np.bool_] | None = None

    @classmethod
    def of_rows(cls, form: str, rows: NDArray[np.uint8]) -> Self:
        """Return keys that have the bytes of the rows of a 2-D array."""
        return cls(form, _buffers=(_buffer_of_rows(rows),))

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
        if self.parts:
            return len(self.parts[0])
        return sum(offsets.size - 1 for _, offsets in self._buffers)

    @property
    def kind(self) -> str:
        """The kind of keys that share hashes: that of `form`, but "bytes" for strings too."""
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
        if self.parts:
            return _hash_buffers([_buffer_of_rows(_part_hashes(self.parts, seed))], seed)
        return _hash_buffers(self._buffers, seed) if self.fields is None else _hash_fields(self.fields, seed)

    def raw(self, place: int) -> Any:
        """Return one key as an integer modulo 2**64, as bytes, or as a tuple of these."""
        if self.parts:
            return tuple(part.raw(place) for part in self.parts)
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

    def item(self, place: int) -> Any:
        """Return one key in the form in which it was given; as bytes if it is a string but not UTF-8."""
        if self.parts:
            return tuple(part.item(place) for part in self.parts)
        raw = self.raw(place)
        if self.form in ("date", "datetime", "timestamp"):
            return moment_of(raw)
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


def _part_hashes(parts: Sequence[Keys], seed: int) -> NDArray[np.uint8]:
    """Return the hashes of the parts of each tuple, one after another, in little-endian bytes."""
    hashes = np.column_stack([part.hashes(seed) for part in parts]).astype("<u8", copy=False)
    return np.ascontiguousarray(hashes).view(np.uint8)


def _buffer_of_rows(rows: NDArray[np.uint8]) -> Buffer:
    n, width = rows.shape
    return check_buffer(rows.reshape(-1), width * np.arange(n + 1, dtype=np.int64), "keys")


def field_bytes(keys: NDArray[Any]) -> NDArray[np.uint8]:
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
    block = KEYS_BLOCK
    if device_of(data) == "cpu":
        # The time depends on bytes as well as on keys, so blocks of long strings are smaller.
        block = max(1, min(block, out.size * BYTES_BLOCK // max(1, int(offsets[-1] - offsets[0]))))
    backend.map_blocks(lambda a, b: kernel(data, offsets, np.uint64(seed), a, b, out), out.size, block)


def _hash_integers(words: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    backend, words = backend_of(words), read_only(words)
    out, kernel = backend.xp.empty(words.size, dtype=np.uint64), backend.kernels(xxh3).hash_u64
    backend.map_blocks(lambda a, b: kernel(words, np.uint64(seed), a, b, out), words.size, KEYS_BLOCK)
    return out


def _hash_fields(keys: NDArray[Any], seed: int) -> NDArray[np.uint64]:
    """Return the hashes of a NumPy ``S`` array, which is not copied."""
    out = np.empty(keys.size, dtype=np.uint64)
    width = keys.dtype.itemsize
    data = field_bytes(keys) if keys.size and width else np.empty(0, dtype=np.uint8)
    kernel = backend_of(data).kernels(xxh3).hash_fixed
    block = max(1, min(KEYS_BLOCK, BYTES_BLOCK // max(1, width)))
    map_blocks(lambda a, b: kernel(data, width, np.uint64(seed), a, b, out), keys.size, block)
    return out


#: Probability that two keys have the same hash.
HASH_COLLISION = 2.0**-64
