"""Keys of every kind to 64-bit hashes: XXH3-64 of their bytes, the same on every machine and device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import as_array, backend_of, device_of
from .strings import (
    Buffer,
    arrow_chunks,
    arrow_strings,
    as_byte_buffer,
    byte_buffers,
    check_buffer,
    is_arrow,
    is_buffer,
    kind_of,
)
from .threads import map_blocks
from .validation import check_int, refuse_masked

__all__ = ["as_byte_buffer", "hash_buffer", "hash_keys", "hash_strings", "integer_words"]

# Keys worth a thread's while: about 0.2 ms of hashing, against 0.1 ms to hand a block over.
_BLOCK = 1 << 16
_BLOCK_BYTES = 1 << 21

_MASK = (1 << 64) - 1


def hash_keys(keys: Any, seed: int = 0) -> NDArray[np.uint64]:
    """XXH3-64 of each key.

    Parameters
    ----------
    keys : array or list of n keys
        One of

        - integers, in a 1-D NumPy or Arrow array of any integer dtype or a list of int: hashed as the
          8 little-endian bytes of their value modulo 2**64, so that 7 hashes alike in every dtype.
          A list may hold -2**63 to 2**64 - 1;
        - strings, as a list of str, an Arrow string array, or a NumPy array of dtype ``U`` or ``T``:
          hashed as their UTF-8 bytes;
        - bytes, as a list of bytes, an Arrow binary array or a NumPy array of dtype ``S``: hashed as
          they are. NumPy does not store trailing NUL bytes in ``S`` arrays, so they are not hashed
          there: ``b"a\\0"`` hashes as ``b"a"``;
        - a pair ``(data, offsets)``, the layout of an Arrow string array: key i is the bytes
          ``data[offsets[i]:offsets[i + 1]]``;
        - on a GPU, a 1-D array of integers, or such a pair of CuPy arrays.

        Arrow arrays (chunked and sliced ones too) and ``S`` arrays are hashed where they lie.
    seed : int
        In [0, 2**64).

    Returns
    -------
    ndarray of shape (n,), uint64

    Raises
    ------
    TypeError
        If keys are of mixed types, or neither integers nor strings; booleans and floats are refused.
    ValueError
        If an integer is out of range, a string has a lone surrogate, or an Arrow array has nulls.

    Notes
    -----
    Time: about 2 ns for an integer and 5 to 10 ns for a short string on one thread; a list of Python
    objects costs 50 to 90 ns a key for its conversion. Memory: the result, and for lists their bytes.

    The hash is that of the xxHash library's XXH3_64bits_withSeed.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh import hash_keys
    >>> [hex(h) for h in hash_keys(["a", "b"]).tolist()]
    ['0xe6c632b61e964e1f', '0x575a0b1c44d8843f']
    >>> bool(hash_keys([7])[0] == hash_keys(np.array([7], dtype=np.uint8))[0])
    True
    """
    seed = check_int("seed", seed, 0, _MASK)
    words = integer_words(keys, "keys")
    return hash_strings(keys, "keys", seed) if words is None else _hash_integers(words, seed)


def integer_words(keys: Any, name: str) -> NDArray[np.uint64] | None:
    """Integer keys of any container modulo 2**64, None if they are strings or bytes; see `hash_keys`."""
    if is_buffer(keys):
        return None
    if device_of(keys) == "gpu":
        keys = as_array(keys)
        if keys.ndim != 1 or keys.dtype.kind not in "iu":
            raise TypeError(
                f"{name} on a GPU must be a 1-D array of integers, or (data, offsets) of strings, got dtype "
                f"{keys.dtype} and shape {keys.shape}"
            )
        return backend_of(keys).xp.ascontiguousarray(keys.astype(np.uint64, copy=False))
    if is_arrow(keys):
        chunks = arrow_chunks(keys, name)
        if not chunks or not _is_integer(chunks[0]):
            return None
        parts = [chunk.to_numpy(zero_copy_only=False).astype(np.uint64, copy=False) for chunk in chunks]
        return np.ascontiguousarray(np.concatenate(parts) if len(parts) > 1 else parts[0])
    keys = _as_keys(keys, name)
    if isinstance(keys, np.ndarray):
        if keys.dtype.kind in "iu":
            return np.ascontiguousarray(keys.astype(np.uint64, copy=False))
        if keys.dtype.kind != "O":
            return None
        keys = keys.tolist()
    if len(keys) == 0:
        return np.empty(0, dtype=np.uint64)
    return _integers(keys, name).astype(np.uint64, copy=False) if kind_of(keys, name) is int else None


def hash_strings(keys: Any, name: str, seed: int) -> NDArray[np.uint64]:
    """The hashes of keys of which `integer_words` said None."""
    if is_arrow(keys):
        return _hash_buffers([arrow_strings(chunk, name) for chunk in arrow_chunks(keys, name)], seed)
    if is_buffer(keys):
        return _hash_buffers([check_buffer(keys[0], keys[1], name)], seed)
    keys = _as_keys(keys, name)
    if isinstance(keys, np.ndarray):
        if keys.dtype.kind == "S":
            return _hash_fields(keys, seed)
        keys = keys.tolist()
    return _hash_buffers(byte_buffers(list(keys), name), seed)


def _as_keys(keys: Any, name: str) -> Any:
    """A list, tuple, range or 1-D array of integers or strings, or of objects that are yet to be seen."""
    if not isinstance(keys, (np.ndarray, list, tuple, range)):
        if isinstance(keys, (str, bytes, bytearray)) or not hasattr(keys, "__array__"):
            raise TypeError(
                f"{name} must be a list of int, str or bytes, or a NumPy or Arrow array of integers or "
                f"strings, got {type(keys).__name__}"
            )
        keys = np.asarray(keys)
    if isinstance(keys, np.ndarray):
        refuse_masked(keys, name)
        if keys.ndim != 1:
            raise ValueError(f"{name} must be 1-D, got shape {keys.shape}")
        if keys.dtype.kind not in "iuSUTO":
            raise TypeError(f"{name} must be integers or strings, got dtype {keys.dtype}")
    return keys


def hash_buffer(data: Any, offsets: Any, seed: int = 0) -> NDArray[np.uint64]:
    """XXH3-64 of each slice ``data[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    data : ndarray of uint8, or bytes
    offsets : ndarray of shape (n + 1,), integers
        Not falling, within [0, len(data)]; the layout of an Arrow string array. Both may be CuPy arrays.
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
    >>> from mergesketch.lsh.hashing import hash_buffer, hash_keys
    >>> bool((hash_buffer(b"abc", np.array([0, 1, 3])) == hash_keys(["a", "bc"])).all())
    True
    """
    seed = check_int("seed", seed, 0, _MASK)
    return _hash_buffers([check_buffer(data, offsets, "buffer")], seed)


def _hash_buffers(buffers: list[Buffer], seed: int) -> NDArray[np.uint64]:
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
    kernels = backend_of(data)
    kernel = kernels.hash_slices
    block = _BLOCK
    if device_of(data) == "cpu":
        # Threads pay by the byte as well as by the key, so long strings are cut into smaller blocks.
        block = max(1, min(block, out.size * _BLOCK_BYTES // max(1, int(offsets[-1] - offsets[0]))))
    kernels.map_blocks(lambda a, b: kernel(data, offsets, np.uint64(seed), out, a, b), out.size, block)


def _hash_integers(words: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    kernels = backend_of(words)
    out, kernel = kernels.xp.empty(words.size, dtype=np.uint64), kernels.hash_u64
    kernels.map_blocks(lambda a, b: kernel(words, np.uint64(seed), out, a, b), words.size, _BLOCK)
    return out


def _hash_fields(keys: NDArray[Any], seed: int) -> NDArray[np.uint64]:
    """A NumPy ``S`` array, read where it lies."""
    out = np.empty(keys.size, dtype=np.uint64)
    width = keys.dtype.itemsize
    if keys.size == 0 or width == 0:
        data = np.empty(0, dtype=np.uint8)
    else:
        data = np.ascontiguousarray(keys).view(np.uint8)
        data.flags.writeable = False  # as the other kernels' data, so that there is one kernel
    kernel = backend_of(data).hash_fixed
    block = max(1, min(_BLOCK, _BLOCK_BYTES // max(1, width)))
    map_blocks(lambda a, b: kernel(data, width, np.uint64(seed), out, a, b), keys.size, block)
    return out


def _is_integer(chunk: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(chunk.type))


def _integers(keys: Any, name: str) -> NDArray[Any]:
    """A sequence of int as an array whose values modulo 2**64 are theirs."""
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
