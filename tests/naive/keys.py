"""The hash of one key, by its definition, from the xxhash package."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import xxhash

_EPOCH = dt.datetime(1970, 1, 1)


def bytes_of(key: Any) -> bytes:
    """Return the bytes of a key that has one part."""
    if isinstance(key, dt.datetime):
        letter, offset = (b"L", dt.timedelta(0)) if key.tzinfo is None else (b"T", key.utcoffset())
        microseconds = (key.replace(tzinfo=None) - offset - _EPOCH) // dt.timedelta(microseconds=1)
        seconds, rest = divmod(microseconds, 10**6)
        return letter + seconds.to_bytes(8, "little", signed=True) + (1000 * rest).to_bytes(4, "little")
    if isinstance(key, dt.date):
        days = key.toordinal() - dt.date(1970, 1, 1).toordinal()
        return b"D" + days.to_bytes(8, "little", signed=True)
    if isinstance(key, UUID):
        return key.bytes
    if isinstance(key, int):
        return (key % 2**64).to_bytes(8, "little")
    return key.encode() if isinstance(key, str) else key


def hash_of(key: Any, seed: int = 0) -> int:
    """Return the hash of a key; that of a tuple is the hash of the hashes of its parts."""
    if isinstance(key, tuple):
        parts = b"".join(hash_of(part, seed).to_bytes(8, "little") for part in key)
        return xxhash.xxh3_64_intdigest(parts, seed)
    return xxhash.xxh3_64_intdigest(bytes_of(key), seed)
