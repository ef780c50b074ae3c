"""Launchers of ``index.cu``, the twins of ``sketches/kernels/index.py``.

`counters` is work space of the CPU only, and ids lie in any order in a bucket until `order_buckets`.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import check_array, constant, launch, launch_blocks

__all__ = [
    "bound_found",
    "frequent_ids",
    "insert_ids",
    "merge_buckets",
    "order_buckets",
    "query_buckets",
]

#: Capacity beyond which CuPy sorts the buckets, because a warp takes quadratic time.
_LONG = 1024
#: Slots that CuPy sorts together, with some 30 bytes of work space each.
_SORTED = 1 << 24


def _check(slots: Any) -> tuple[str, tuple[int, int, int]]:
    """Return the suffix of the kernels for such slots, and the shape of the slots."""
    check_array("slots", slots, np.uint32, np.uint64, shape=(None, None, None))
    return slots.dtype.name, slots.shape


def insert_ids(codes: Any, ids: Any, keys: Any, start: int, stop: int, slots: Any, seen: Any) -> int:
    name, (L, W, B) = _check(slots)
    check_array("seen", seen, np.int32, np.int64, shape=(L, W))
    check_array("codes", codes, np.uint32, shape=(None, L))
    n = codes.shape[0]
    check_array("ids", ids, slots.dtype, shape=(n,))
    how = (codes, ids, constant(keys), n, L, W, B, start, stop, slots, seen)
    before = cupy.minimum(seen[start:stop], B).sum()
    launch("index", f"insert_ids_{name}_{seen.dtype.name}", n * (stop - start), *how)
    return n * (stop - start) - int(cupy.minimum(seen[start:stop], B).sum() - before)


def merge_buckets(
    others: Any, others_seen: Any, keys: Any, start: int, stop: int, slots: Any, seen: Any
) -> None:
    name, (L, W, B) = _check(slots)
    check_array("others", others, slots.dtype, shape=slots.shape)
    check_array("seen", seen, np.int32, np.int64, shape=(L, W))
    check_array("others_seen", others_seen, seen.dtype, shape=(L, W))
    # Buckets from which ids were removed after they had dropped others do not come here: see `LSHIndex.to`.
    seen[start:stop] += others_seen[start:stop]
    how = (others, constant(keys), W, B, start, stop, slots)
    launch("index", f"merge_buckets_{name}", 32 * W * (stop - start), *how)


def order_buckets(keys: Any, start: int, stop: int, slots: Any) -> None:
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
    n = _check_codes(slots, codes)[0]
    check_array("out_ids", out_ids, np.int64, shape=(n, k))
    check_array("out_counts", out_counts, np.int32, shape=(n, k))
    _by_blocks("query_buckets", 4, slots, codes, k, start, stop, out_ids, out_counts)


def frequent_ids(
    slots: Any, codes: Any, offsets: Any, counters: Any, start: int, stop: int, out: Any, sizes: Any
) -> None:
    _check_codes(slots, codes)
    check_array("offsets", offsets, np.int64, shape=(stop - start + 1,))
    check_array("out", out, slots.dtype, shape=(None,))
    check_array("sizes", sizes, np.int64, shape=(stop - start,))
    _by_blocks("frequent_ids", 8, slots, codes, offsets, start, stop, out, sizes)


def bound_found(seen: Any, codes: Any, capacity: int, start: int, stop: int, out: Any) -> None:
    check_array("seen", seen, np.int32, np.int64, shape=(None, None))
    check_array("codes", codes, np.uint32, shape=(None, len(seen), None))
    check_array("out", out, np.int64, shape=(stop - start,))
    how = (seen, codes, capacity, *seen.shape, codes.shape[2], start, stop, out)
    launch("index", f"bound_found_{seen.dtype.name}", stop - start, *how)


def _check_codes(slots: Any, codes: Any) -> tuple[int, int]:
    """Return the numbers of queries and of probes."""
    _, (L, _, _) = _check(slots)
    check_array("codes", codes, np.uint32, shape=(None, L, None))
    return codes.shape[0], codes.shape[2]


def _by_blocks(
    kernel: str, of_a_place: int, slots: Any, codes: Any, most: Any, start: int, stop: int, *out: Any
) -> None:
    """Launch a block for each query, with a table of twice the number of ids that it may find.

    `most` is the number of ids that a query asks for, or the offsets of the room of each query. `of_a_place`
    is the number of bytes that a place of the table has besides its slot.
    """
    name, (L, W, B) = _check(slots)
    P = codes.shape[2]
    size = 1 << max(4, (2 * L * P * B - 1).bit_length())
    room = size * (slots.dtype.itemsize + of_a_place)
    before = (slots, codes, most, L, W, B, P, size)
    launch_blocks("index", f"{kernel}_{name}", stop - start, room, *before, after=(room, start, stop, *out))
