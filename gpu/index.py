"""Launchers of ``index.cu``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import SHARED, check_array, constant, launch

__all__ = ["insert_ids", "merge_buckets", "order_buckets", "query_buckets"]

_SLOTS = (np.uint32, np.uint64)
#: Capacity beyond which buckets are sorted by CuPy: a warp's way is quadratic.
_LONG = 1024
#: Bytes that blocks of queries get in all, where those of a block do not fit its shared memory.
_MEMORY, _MOST_BLOCKS = 1 << 30, 4096


def _check(slots: Any) -> tuple[str, tuple[int, int, int]]:
    """The kernels' suffix for the slots, and their shape."""
    check_array("slots", slots, *_SLOTS, shape=(None, None, None))
    return slots.dtype.name, slots.shape


def insert_ids(slots: Any, seen: Any, codes: Any, ids: Any, keys: Any, start: int, stop: int) -> None:
    """Put row i, of id ``ids[i]``, into bucket ``codes[i, t]`` of every table t in [start, stop).

    Which ids a bucket holds is the CPU's; their order in it is not, until `order_buckets`.
    """
    name, (L, W, B) = _check(slots)
    check_array("seen", seen, np.int32, np.int64, shape=(L, W))
    check_array("codes", codes, np.uint32, shape=(None, L))
    n = codes.shape[0]
    check_array("ids", ids, slots.dtype, shape=(n,))
    how = (slots, seen, codes, ids, constant(keys), n, L, W, B, start, stop)
    launch("index", f"insert_ids_{name}_{seen.dtype.name}", n * (stop - start), *how)


def merge_buckets(slots: Any, others: Any, keys: Any, start: int, stop: int) -> None:
    """Put the ids of the buckets of `others` into those of `slots`, for tables in [start, stop)."""
    name, (_, W, B) = _check(slots)
    check_array("others", others, slots.dtype, shape=slots.shape)
    how = (slots, others, constant(keys), W, B, start, stop)
    launch("index", f"merge_buckets_{name}", 32 * W * (stop - start), *how)


def order_buckets(slots: Any, keys: Any, start: int, stop: int) -> None:
    """Bring every bucket of the tables [start, stop) into falling order of priority."""
    name, (_, W, B) = _check(slots)
    for table in range(start, stop):
        old, key = slots[table], np.uint64(keys[table])
        ordered = cupy.empty_like(old)
        if B <= _LONG:
            launch("index", f"order_buckets_{name}", 32 * W, old, key, W, B, ordered)
        else:
            for bucket in range(W):
                falling = cupy.empty(B, np.uint64)
                launch("index", f"priorities_{name}", B, old[bucket], key, B, falling)
                ordered[bucket] = old[bucket][cupy.argsort(falling)]
        old[...] = ordered


def query_buckets(
    slots: Any, codes: Any, k: int, counters: Any, start: int, stop: int, out_ids: Any, out_counts: Any
) -> None:
    """The k ids that stand in most of a query's buckets, for the queries [start, stop).

    The most frequent first, equal ones by rising id; -1 and 0 where there are fewer. `counters` is the
    CPU's work space.
    """
    name, (L, W, B) = _check(slots)
    check_array("codes", codes, np.uint32, shape=(None, L, None))
    n, _, P = codes.shape
    check_array("out_ids", out_ids, np.int64, shape=(n, k))
    check_array("out_counts", out_counts, np.int32, shape=(n, k))
    size = 1 << max(4, (2 * L * P * B - 1).bit_length())
    room = size * (slots.dtype.itemsize + 4)
    in_shared = room <= SHARED
    blocks = max(1, min(stop - start, _MOST_BLOCKS if in_shared else min(_MOST_BLOCKS, _MEMORY // room)))
    memory = cupy.empty(0 if in_shared else blocks * room, np.uint8)
    launch(
        "index",
        f"query_buckets_{name}",
        stop - start,
        *(slots, codes, L, W, B, P, k, start, stop, size, np.bool_(in_shared), memory, out_ids, out_counts),
        blocks=blocks,
        shared=room if in_shared else 0,
    )
