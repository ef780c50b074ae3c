"""Launchers of ``index.cu``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import SHARED, check_array, constant, launch

__all__ = [
    "bound_found",
    "frequent_ids",
    "insert_ids",
    "merge_buckets",
    "order_buckets",
    "query_buckets",
]

_SLOTS = (np.uint32, np.uint64)
#: Capacity beyond which buckets are sorted by CuPy: a warp's way is quadratic.
_LONG = 1024
#: Slots that CuPy sorts at a time, with some 30 bytes of room each.
_SORTED = 1 << 24
#: Bytes that blocks of queries get in all, where those of a block do not fit its shared memory.
_MEMORY, _MOST_BLOCKS = 1 << 30, 4096


def _check(slots: Any) -> tuple[str, tuple[int, int, int]]:
    """The kernels' suffix for the slots, and their shape."""
    check_array("slots", slots, *_SLOTS, shape=(None, None, None))
    return slots.dtype.name, slots.shape


def insert_ids(codes: Any, ids: Any, keys: Any, start: int, stop: int, slots: Any, seen: Any) -> None:
    """Put row i, of id ``ids[i]``, into bucket ``codes[i, t]`` of every table t in [start, stop).

    Which ids a bucket holds is the CPU's; their order in it is not, until `order_buckets`.
    """
    name, (L, W, B) = _check(slots)
    check_array("seen", seen, np.int32, np.int64, shape=(L, W))
    check_array("codes", codes, np.uint32, shape=(None, L))
    n = codes.shape[0]
    check_array("ids", ids, slots.dtype, shape=(n,))
    how = (codes, ids, constant(keys), n, L, W, B, start, stop, slots, seen)
    launch("index", f"insert_ids_{name}_{seen.dtype.name}", n * (stop - start), *how)


def merge_buckets(others: Any, keys: Any, start: int, stop: int, slots: Any) -> None:
    """Put the ids of the buckets of `others` into those of `slots`, for tables in [start, stop)."""
    name, (_, W, B) = _check(slots)
    check_array("others", others, slots.dtype, shape=slots.shape)
    how = (others, constant(keys), W, B, start, stop, slots)
    launch("index", f"merge_buckets_{name}", 32 * W * (stop - start), *how)


def order_buckets(keys: Any, start: int, stop: int, slots: Any) -> None:
    """Bring every bucket of the tables [start, stop) into falling order of priority."""
    name, (_, W, B) = _check(slots)
    for table in range(start, stop):
        old, key = slots[table], np.uint64(keys[table])
        ordered = cupy.empty_like(old)
        if B <= _LONG:
            launch("index", f"order_buckets_{name}", 32 * W, old, key, W, B, ordered)
        else:
            rows = max(1, _SORTED // B)
            for first in range(0, W, rows):
                part = old[first : first + rows]
                falling = cupy.empty(part.shape, np.uint64)
                launch("index", f"priorities_{name}", part.size, part, key, part.size, falling)
                order = cupy.argsort(falling, axis=1)
                ordered[first : first + rows] = cupy.take_along_axis(part, order, axis=1)
        old[...] = ordered


def query_buckets(
    slots: Any, codes: Any, k: int, counters: Any, start: int, stop: int, out_ids: Any, out_counts: Any
) -> None:
    """The k ids that stand in most of a query's buckets, for the queries [start, stop).

    The most frequent first, equal ones by rising id; -1 and 0 where there are fewer. `counters` is the
    CPU's work space.
    """
    n = _check_codes(slots, codes)[0]
    check_array("out_ids", out_ids, np.int64, shape=(n, k))
    check_array("out_counts", out_counts, np.int32, shape=(n, k))
    _by_blocks("query_buckets", 4, slots, codes, k, start, stop, out_ids, out_counts)


def frequent_ids(
    slots: Any, codes: Any, offsets: Any, counters: Any, start: int, stop: int, out: Any, sizes: Any
) -> None:
    """The ids that stand in most buckets of each query of [start, stop), as many as there is room for.

    Query i's go to ``out[offsets[i - start]:]``, ``sizes[i - start]`` of them, those that the CPU's
    kernel picks. `counters` is its work space.
    """
    _check_codes(slots, codes)
    check_array("offsets", offsets, np.int64, shape=(stop - start + 1,))
    check_array("out", out, slots.dtype, shape=(None,))
    check_array("sizes", sizes, np.int64, shape=(stop - start,))
    _by_blocks("frequent_ids", 8, slots, codes, offsets, start, stop, out, sizes)


def bound_found(seen: Any, codes: Any, capacity: int, start: int, stop: int, out: Any) -> None:
    """``out[i - start]``: ids in the buckets of query i, each as often as it stands there."""
    check_array("seen", seen, np.int32, np.int64, shape=(None, None))
    check_array("codes", codes, np.uint32, shape=(None, len(seen), None))
    check_array("out", out, np.int64, shape=(stop - start,))
    how = (seen, codes, capacity, *seen.shape, codes.shape[2], start, stop, out)
    launch("index", f"bound_found_{seen.dtype.name}", stop - start, *how)


def _check_codes(slots: Any, codes: Any) -> tuple[int, int]:
    """Number of queries and of probes."""
    _, (L, _, _) = _check(slots)
    check_array("codes", codes, np.uint32, shape=(None, L, None))
    return codes.shape[0], codes.shape[2]


def _by_blocks(
    kernel: str, of_a_place: int, slots: Any, codes: Any, most: Any, start: int, stop: int, *out: Any
) -> None:
    """Launch a block for each query, with a table of twice the ids that it may find.

    `most` is the number of ids that a query asks for, or the offsets of each query's room for them.
    `of_a_place` is the bytes that a place of the table has beside its slot.
    """
    name, (L, W, B) = _check(slots)
    P = codes.shape[2]
    size = 1 << max(4, (2 * L * P * B - 1).bit_length())
    room = size * (slots.dtype.itemsize + of_a_place)
    in_shared = room <= SHARED
    blocks = max(1, min(stop - start, _MOST_BLOCKS if in_shared else min(_MOST_BLOCKS, _MEMORY // room)))
    memory = cupy.empty(0 if in_shared else blocks * room, np.uint8)
    launch(
        "index",
        f"{kernel}_{name}",
        stop - start,
        *(slots, codes, most, L, W, B, P, size, np.bool_(in_shared), memory, room, start, stop, *out),
        blocks=blocks,
        shared=room if in_shared else 0,
    )
