"""Keys in records of fixed size, so that a sketch can return the keys that it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ...lsh.hashing.keys import Keys
from ...lsh.inputs.strings import byte_buffers
from ...lsh.support.backend import backend_of

__all__ = [
    "BYTES",
    "INTEGERS",
    "KINDS",
    "NEGATIVE",
    "STRINGS",
    "check_kinds",
    "check_records",
    "form_of",
    "kind_of",
    "kind_of_forms",
    "longest_key",
    "merge_records",
    "pack_keys",
    "unpack_key",
]

#: Bits for the forms of a sketch's keys. All of them together decide how a record is read, so that the order
#: of keys does not matter.
INTEGERS, NEGATIVE, STRINGS, BYTES = 1, 2, 4, 8
INTEGER_BYTES = 8
#: What forms of one kind have, in messages. A sketch takes keys of one kind.
KINDS = {INTEGERS: "integers", STRINGS | BYTES: "strings or bytes"}


def form_of(keys: Keys) -> int:
    """Return the bits for the form of a batch; strings that are not UTF-8, of a file, count as bytes too."""
    if len(keys) == 0:
        return 0
    if keys.form == "int":
        return INTEGERS | NEGATIVE * keys.has_negative
    if keys.form == "str":
        return STRINGS if keys.is_utf8() else STRINGS | BYTES
    return BYTES


def kind_of(keys: Keys) -> int:
    """Return the bits for the kind of a batch; 0 for no keys."""
    if len(keys) == 0:
        return 0
    return INTEGERS if keys.form == "int" else STRINGS | BYTES


def kind_of_forms(forms: int) -> int:
    """Return the bits for the kind of keys of some forms; 0 for no keys."""
    return INTEGERS if forms & INTEGERS else STRINGS | BYTES if forms else 0


def check_kinds(one: int, other: int) -> None:
    """Raise IncompatibleSketchError if two sketches hold keys of different kinds."""
    if one and other and one != other:
        raise IncompatibleSketchError(
            f"HeavyHitters sketches hold {KINDS[one]} in one and {KINDS[other]} in another"
        )


def longest_key(keys: Keys) -> int:
    """Return the number of bytes of the longest key in a record."""
    if len(keys) == 0:
        return 0
    if keys.words is not None:
        return INTEGER_BYTES
    if keys.fields is not None:
        return int(np.strings.str_len(keys.fields).max())
    return max(int((ends[1:] - ends[:-1]).max()) for _, ends in keys.buffers() if ends.size > 1)


def pack_keys(
    keys: Keys, places: NDArray[np.int64], width: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return records ``(lengths, contents)`` of the keys at `places`; contents have `width` bytes."""
    xp = backend_of(places).xp
    lengths, contents = xp.zeros(places.size, np.uint16), xp.zeros((places.size, width), np.uint8)
    if keys.words is not None:
        words = keys.words[places].astype("<u8")
        contents[:, :INTEGER_BYTES] = words.view(np.uint8).reshape(places.size, INTEGER_BYTES)
        lengths[:] = INTEGER_BYTES
        return lengths, contents
    buffers = keys.buffers() if keys.fields is None else byte_buffers(keys.fields[places])
    if keys.fields is not None:
        places = xp.arange(places.size)
    byte = xp.arange(width)
    for data, offsets in buffers:
        rows = xp.flatnonzero((places >= 0) & (places < offsets.size - 1))
        first = offsets[places[rows]]
        sizes = offsets[places[rows] + 1] - first
        inside = byte < sizes[:, None]
        some = xp.zeros((rows.size, width), np.uint8)
        some[inside] = data[(first[:, None] + byte)[inside]]
        lengths[rows], contents[rows] = sizes.astype(np.uint16), some
        places = places - (offsets.size - 1)
    return lengths, contents


def merge_records(
    one: list[NDArray[Any]],
    other: list[NDArray[Any]],
    n_places: int,
    is_frequent: Callable[[NDArray[np.uint64]], NDArray[np.bool_]],
) -> list[NDArray[Any]]:
    """Merge two parts of a Misra-Gries summary, ``[hashes, counts, lengths, contents]`` by rising hashes.

    Counts of equal keys are added, and keys that are not frequent are dropped. If more than `n_places` are
    left, the largest count without a place is subtracted from all, and keys whose count is not above 0 are
    dropped.
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
    kept = xp.flatnonzero(is_frequent(hashes))
    if kept.size > n_places:
        sums = sums - xp.sort(sums[kept])[-n_places - 1]
        kept = kept[sums[kept] > 0]
    return [hashes[kept], sums[kept], *(array[order[kept]] for array in records)]


def unpack_key(forms: int, length: int, content: NDArray[np.uint8]) -> int | str | bytes:
    """Return the key of one record: a str if any key was a str and the bytes are valid UTF-8."""
    raw = content[:length].tobytes()
    if forms & INTEGERS:
        return int.from_bytes(raw, "little", signed=bool(forms & NEGATIVE))
    if forms & STRINGS:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    return raw


def check_records(
    forms: int, counts: NDArray[np.int64], lengths: NDArray[np.uint16], contents: NDArray[np.uint8]
) -> list[bytes]:
    """Return the raw bytes of each used record; ValueError for a record that `pack_keys` does not make."""
    used = int(np.count_nonzero(counts))
    if forms > (INTEGERS | NEGATIVE | STRINGS | BYTES) or (forms & INTEGERS and forms & (STRINGS | BYTES)):
        raise ValueError(f"key_forms must be those of integers, or of strings and bytes, got {forms}")
    if (counts[:used] <= 0).any() or counts[used:].any():
        raise ValueError("used records must come first, and their counts be above 0")
    if lengths.size and int(lengths.max()) > contents.shape[1]:
        raise ValueError(f"lengths must be at most {contents.shape[1]}, got {lengths.max()}")
    raw = [contents[i, : lengths[i]].tobytes() for i in range(used)]
    if forms & INTEGERS and not all(len(content) == INTEGER_BYTES for content in raw):
        raise ValueError(f"an integer key must have {INTEGER_BYTES} bytes")
    if forms == STRINGS:
        for content in raw:
            content.decode()  # a UnicodeDecodeError is a ValueError
    return raw
