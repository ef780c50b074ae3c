"""Keys kept as fixed-size records, so that a sketch can give back the very keys that it was given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lsh.backend import as_array, backend_of, device_of
from ..lsh.strings import arrow_chunks, arrow_strings, check_buffer, is_arrow, is_buffer
from ..lsh.validation import check_array

__all__ = ["KINDS", "check_records", "key_list", "longest_key", "pack_keys", "unpack_key"]

#: What a record holds. An unused record has kind 0.
KINDS = {"int64": 1, "uint64": 2, "str": 3, "bytes": 4}
INTEGER_BYTES = 8


def key_list(keys: Any) -> Any:
    """`keys`, such as `hash_keys` takes, as what has a length and gives one key for an index."""
    if is_buffer(keys):
        return check_buffer(keys[0], keys[1], "keys")
    if is_arrow(keys):
        import pyarrow as pa

        chunks = arrow_chunks(keys, "keys")
        return pa.chunked_array(chunks) if chunks else []
    if device_of(keys) == "gpu":
        return as_array(keys)
    if not isinstance(keys, (np.ndarray, list, tuple, range)):
        keys = check_array("keys", keys)
    return keys.tolist() if isinstance(keys, np.ndarray) and keys.dtype.kind in "UTO" else keys


def longest_key(keys: Any) -> int:
    """Bytes that the longest of `keys`, which came from `key_list`, takes as a record."""
    if is_buffer(keys):
        lengths = keys[1][1:] - keys[1][:-1]
        return int(lengths.max()) if lengths.size else 0
    if len(keys) == 0:
        return 0
    if device_of(keys) == "gpu":
        return INTEGER_BYTES
    if is_arrow(keys):
        return max(_longest_in_chunk(chunk) for chunk in keys.chunks)
    if isinstance(keys, np.ndarray):
        return INTEGER_BYTES if keys.dtype.kind in "iu" else int(np.strings.str_len(keys).max())
    if isinstance(keys[0], str):
        return max(len(key) if key.isascii() else len(key.encode()) for key in keys)
    return max(map(len, keys)) if isinstance(keys[0], bytes) else INTEGER_BYTES


def _longest_in_chunk(chunk: Any) -> int:
    import pyarrow as pa

    if pa.types.is_integer(chunk.type):
        return INTEGER_BYTES
    return int(np.diff(arrow_strings(chunk, "keys")[1]).max(initial=0))


def _encode(key: Any) -> tuple[int, bytes]:
    if hasattr(key, "as_py"):
        key = key.as_py()
    if isinstance(key, str):
        return KINDS["str"], str(key).encode()
    if isinstance(key, bytes):
        return KINDS["bytes"], bytes(key)
    value = int(key)
    kind = KINDS["uint64"] if value >= 1 << 63 else KINDS["int64"]
    return kind, (value & (2**64 - 1)).to_bytes(INTEGER_BYTES, "little")


def pack_keys(
    keys: Any, places: NDArray[np.int64], width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint8]]:
    """Records ``(kinds, lengths, contents)`` of `keys[places]`; contents have `width` bytes.

    `keys` came from `key_list`.
    """
    if is_buffer(keys):
        return _pack_slices(keys[0], keys[1], places, width)
    if device_of(keys) == "gpu" or (isinstance(keys, np.ndarray) and keys.dtype.kind in "iu"):
        return _pack_integers(keys[places], width)
    kinds = np.zeros(places.size, dtype=np.uint8)
    lengths = np.zeros(places.size, dtype=np.uint16)
    contents = np.zeros((places.size, width), dtype=np.uint8)
    for record, place in enumerate(places.tolist()):
        kinds[record], content = _encode(keys[place])
        lengths[record] = len(content)
        contents[record, : len(content)] = np.frombuffer(content, dtype=np.uint8)
    return kinds, lengths, contents


def _pack_slices(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], places: NDArray[np.int64], width: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """`pack_keys` of some slices of a buffer, as bytes, where it lies."""
    xp = backend_of(data).xp
    first = offsets[places]
    lengths = offsets[places + 1] - first
    place = xp.arange(width)
    inside = place < lengths[:, None]
    contents = xp.zeros((places.size, width), np.uint8)
    contents[inside] = data[(first[:, None] + place)[inside]]
    return xp.full(places.size, KINDS["bytes"], np.uint8), lengths.astype(np.uint16), contents


def _pack_integers(keys: NDArray[Any], width: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """`pack_keys` of an array of integers, where it lies."""
    xp = backend_of(keys).xp
    large = keys >= np.uint64(1 << 63) if keys.dtype == np.uint64 else xp.zeros(keys.shape, np.bool_)
    kinds = xp.where(large, KINDS["uint64"], KINDS["int64"]).astype(np.uint8)
    contents = xp.zeros((keys.size, width), np.uint8)
    contents[:, :INTEGER_BYTES] = keys.astype(np.uint64).astype("<u8").view(np.uint8).reshape(keys.size, 8)
    return kinds, xp.full(keys.size, INTEGER_BYTES, np.uint16), contents


def unpack_key(kind: int, length: int, content: NDArray[np.uint8]) -> int | str | bytes:
    """The key of one record: an int, str or bytes, as it was given."""
    raw = content[:length].tobytes()
    if kind == KINDS["str"]:
        return raw.decode()
    if kind == KINDS["bytes"]:
        return raw
    return int.from_bytes(raw, "little", signed=kind == KINDS["int64"])


def check_records(
    kinds: NDArray[np.uint8], lengths: NDArray[np.uint16], contents: NDArray[np.uint8]
) -> list[bytes]:
    """The raw bytes of each used record; ValueError if one is no record that `pack_keys` makes."""
    used = int(np.count_nonzero(kinds))
    if kinds[:used].size and int(kinds[:used].min()) == 0:
        raise ValueError("used records must come first")
    if kinds.size and int(kinds.max()) > max(KINDS.values()):
        raise ValueError(f"kinds must be at most {max(KINDS.values())}, got {kinds.max()}")
    if lengths.size and int(lengths.max()) > contents.shape[1]:
        raise ValueError(f"lengths must be at most {contents.shape[1]}, got {lengths.max()}")
    raw = [contents[i, : lengths[i]].tobytes() for i in range(used)]
    for kind, content in zip(kinds[:used].tolist(), raw, strict=True):
        if kind in (KINDS["int64"], KINDS["uint64"]) and len(content) != INTEGER_BYTES:
            raise ValueError(f"an integer key must have {INTEGER_BYTES} bytes, got {len(content)}")
        if kind == KINDS["str"]:
            content.decode()  # a UnicodeDecodeError is a ValueError
    return raw
