"""Keys in records of fixed size, so that a sketch can return the keys that it was given.

The bytes of a key are those that are hashed. A tuple has those of its parts one after another, each after
their number in two bytes. Of a key that is longer than a record, the first bytes are kept.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Keys, read_keys
from ...lsh.inputs.dates import moment_of
from ...lsh.inputs.strings import byte_buffers
from ...lsh.support.backend import backend_of
from ..core.key_kinds import DATES, INSTANTS, INTEGERS, NEGATIVE, STRINGS, TIMES, TUPLES

__all__ = ["check_records", "merge_records", "pack_keys", "unpack_key"]

_INTEGER_BYTES = 8
#: The length that a record has whose key is longer than the record.
_SHORTENED = 65535
#: The number of bytes before each part of a tuple.
_HEAD = 2
_MOMENTS = DATES | TIMES | INSTANTS


def pack_keys(
    keys: Keys, places: NDArray[np.int64], width: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return records ``(lengths, contents)`` of the keys at `places`; contents have `width` bytes."""
    sizes, contents = _first_bytes(keys, places, width)
    sizes[sizes > min(width, _SHORTENED - 1)] = _SHORTENED
    return sizes.astype(np.uint16), contents


def _first_bytes(
    keys: Keys, places: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the number of bytes of the keys at `places`, and the first `width` of them."""
    xp = backend_of(places).xp
    sizes, contents = xp.zeros(places.size, np.int64), xp.zeros((places.size, width), np.uint8)
    if keys.words is not None:
        words = keys.words[places].astype("<u8")
        contents[:, :_INTEGER_BYTES] = words.view(np.uint8).reshape(places.size, _INTEGER_BYTES)
        sizes[:] = _INTEGER_BYTES
        return sizes, contents
    if keys.parts:
        return _first_bytes_of_tuples(keys, places, width)
    buffers = keys.buffers() if keys.fields is None else byte_buffers(keys.fields[places])
    if keys.fields is not None:
        places = xp.arange(places.size)
    for data, offsets in buffers:
        rows = xp.flatnonzero((places >= 0) & (places < offsets.size - 1))
        first = offsets[places[rows]]
        sizes[rows] = offsets[places[rows] + 1] - first
        contents[rows] = _cut(data, first, sizes[rows], width)
        places = places - (offsets.size - 1)
    return sizes, contents


def _cut(
    data: NDArray[np.uint8], first: NDArray[np.int64], sizes: NDArray[np.int64], width: int
) -> NDArray[np.uint8]:
    """Return the first `width` bytes of slices of a buffer, and zeros after them."""
    xp = backend_of(data).xp
    byte = xp.arange(width)
    inside = byte < sizes[:, None]
    out = xp.zeros((first.size, width), np.uint8)
    out[inside] = data[(first[:, None] + byte)[inside]]
    return out


def _first_bytes_of_tuples(
    keys: Keys, places: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    columns, used, total = [], [], np.zeros(places.size, np.int64)
    for part in keys.parts:
        sizes, some = _first_bytes(part, places, width)
        head = np.minimum(sizes, _SHORTENED).astype("<u2").view(np.uint8).reshape(-1, _HEAD)
        columns += [head, some]
        used += [np.ones(head.shape, np.bool_), np.arange(width) < sizes[:, None]]
        total += _HEAD + sizes
    is_used = np.hstack(used)
    lengths = is_used.sum(axis=1)
    return total, _cut(np.hstack(columns)[is_used], np.cumsum(lengths) - lengths, lengths, width)


def merge_records(
    one: list[NDArray[Any]],
    other: list[NDArray[Any]],
    n_places: int,
    n_filled: int,
    estimate: Callable[[NDArray[np.uint64]], NDArray[np.int64]],
    least: int,
) -> list[NDArray[Any]]:
    """Merge two parts of a Misra-Gries summary, ``[hashes, counts, lengths, contents]`` by rising hashes.

    Counts of equal keys are added. Keys that are estimated above `least` are frequent, and kept. If there are
    more than `n_places`, the largest count without a place is subtracted from all, and keys whose count is
    not above 0 are dropped. If there are fewer than `n_filled`, the other keys of the largest estimates are
    kept too, up to that number.
    """
    xp = backend_of(one[0]).xp
    hashes, counts, *records = (xp.concatenate(pair) for pair in zip(one, other, strict=True))
    order = xp.argsort(hashes, kind="stable")
    hashes = hashes[order]
    is_last = xp.ones(hashes.size, np.bool_)
    is_last[:-1] = hashes[1:] != hashes[:-1]
    sums = xp.cumsum(counts[order])[is_last]
    sums[1:] = sums[1:] - sums[:-1].copy()
    order, hashes = order[is_last], hashes[is_last]
    estimates = estimate(hashes)
    kept = xp.flatnonzero(estimates > least)
    if kept.size > n_places:
        sums = sums - xp.sort(sums[kept])[-n_places - 1]
        kept = kept[sums[kept] > 0]
    elif kept.size < n_filled:
        kept = xp.sort(xp.argsort(-estimates, kind="stable")[:n_filled])
    return [hashes[kept], sums[kept], *(array[order[kept]] for array in records)]


def unpack_key(forms: tuple[int, ...], length: int, content: NDArray[np.uint8], hashed: int) -> Any:
    """Return the key of one record, or a shortened name that ends with the hash of the key.

    Parameters
    ----------
    forms : tuple of int
        The bits of the forms of all keys, and then those of the places of tuples.
    length : int
    content : ndarray of uint8
        The record.
    hashed : int
        The hash of the key.

    Raises
    ------
    ValueError
        If `pack_keys` does not make such a record.
    """
    mark = f"\N{HORIZONTAL ELLIPSIS}{hashed:016x}" if length == _SHORTENED else ""
    raw = content.tobytes() if mark else content[:length].tobytes()
    form, *of_parts = forms
    if not form & TUPLES:
        return _shortened(form, raw, mark) if mark else _unpack(form, raw)
    parts: list[Any] = []
    for part in of_parts:
        size, start = int.from_bytes(raw[:_HEAD], "little"), _HEAD
        if len(raw) < start + size:
            if not mark:
                raise ValueError("a record of a tuple must have all bytes of its parts")
            # The number of parts stays the same: those that are missing have the mark only.
            cut = _shortened(part, raw[start:], mark)
            return (*parts, cut, *[mark] * (len(of_parts) - len(parts) - 1))
        parts.append(_unpack(part, raw[start : start + size]))
        raw = raw[start + size :]
    if raw or mark:
        raise ValueError("a record of a tuple must have no bytes after its parts")
    return tuple(parts)


def _unpack(form: int, raw: bytes) -> Any:
    """Return the key of some bytes: a str if any key was a str and the bytes are valid UTF-8."""
    if form & INTEGERS:
        if len(raw) != _INTEGER_BYTES:
            raise ValueError(f"an integer key must have {_INTEGER_BYTES} bytes")
        return int.from_bytes(raw, "little", signed=bool(form & NEGATIVE))
    if form & _MOMENTS:
        return moment_of(raw)
    if form & STRINGS:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            if form == STRINGS:
                raise  # a ValueError
    return raw


def _shortened(form: int, raw: bytes, mark: str) -> str | bytes:
    """Return the first bytes of a key that is cut, and a mark."""
    if form & (INTEGERS | _MOMENTS):
        return mark
    if form & STRINGS:
        try:
            return codecs.getincrementaldecoder("utf-8")().decode(raw) + mark
        except UnicodeDecodeError:
            if form == STRINGS:
                raise
    return raw + mark.encode()


def check_records(
    forms: tuple[int, ...],
    hashes: NDArray[np.uint64],
    counts: NDArray[np.int64],
    lengths: NDArray[np.uint16],
    contents: NDArray[np.uint8],
    seed: int,
) -> None:
    """Raise ValueError for records that `pack_keys` does not make, or that have hashes of other keys."""
    used, width = int(np.count_nonzero(counts)), contents.shape[1]
    if (counts[:used] <= 0).any() or counts[used:].any():
        raise ValueError("used records must come first, and their counts be above 0")
    is_whole = lengths != _SHORTENED
    if (lengths[is_whole] > width).any() or lengths[used:].any():
        raise ValueError(f"lengths must be at most {width}, and 0 in free records, got {lengths.max()}")
    # Equal keys have equal records: there is nothing after a key, nor in a free record.
    after = np.arange(width) >= np.where(is_whole, lengths, width)[:, None]
    if np.any(contents, where=after) or hashes[used:].any():
        raise ValueError("records must be 0 after their keys, and free ones in all places")
    if used and not forms[0]:
        raise ValueError("key_forms must be those of keys, got 0")
    for i in range(used):
        unpack_key(forms, int(lengths[i]), contents[i], int(hashes[i]))
    whole = np.flatnonzero(is_whole[:used])
    raw = [contents[i, : lengths[i]].tobytes() for i in whole]
    if raw and not np.array_equal(hashes[whole], _keys_of(raw, forms).hashes(seed)):
        raise ValueError("candidate_hashes must be the hashes of candidate_keys")
    if bool((hashes[1:used] <= hashes[: max(used - 1, 0)]).any()):
        raise ValueError("candidate_hashes must rise")


def _keys_of(raw: list[bytes], forms: tuple[int, ...]) -> Keys:
    """Return keys of the bytes of records, for their hashes."""
    if not forms[0] & TUPLES:
        return read_keys(raw)
    rows = []
    for key in raw:
        row = []
        while key:
            end = _HEAD + int.from_bytes(key[:_HEAD], "little")
            row.append(key[_HEAD:end])
            key = key[end:]
        rows.append(row)
    return Keys("tuple", parts=tuple(read_keys(list(column)) for column in zip(*rows, strict=True)))
