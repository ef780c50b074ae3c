"""Kernels that bring hashed keys into the order of their hashes: first into shards, then within each.

Hashes are uniform, so a place in the order is known from the hash but for a few neighbours: counting into
buckets of about two keys and an insertion sort takes two passes, where a comparison sort takes 20.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel
from .ribbon import shard_of

__all__ = ["count_shards", "scatter_shards", "sort_shard"]


@kernel
def count_shards(keys, start, stop, counts):
    """``counts[s] +=`` keys [start, stop) in shard s of counts.size."""
    n_shards = np.uint64(counts.size)
    for i in range(start, stop):
        counts[shard_of(keys[i], n_shards)[0]] += 1


@kernel
def scatter_shards(keys, loads, start, stop, places, out_keys, out_loads):
    """Move keys [start, stop) and their loads to ``places[shard]``, which move on."""
    n_shards = np.uint64(places.size)
    for i in range(start, stop):
        shard = shard_of(keys[i], n_shards)[0]
        place = places[shard]
        out_keys[place] = keys[i]
        out_loads[place] = loads[i]
        places[shard] = place + 1


@kernel
def sort_shard(n_shards, bits, keys, loads, starts, room_keys, room_loads):
    """Sort the keys of one shard, and their loads with them; equal keys keep their order.

    `starts` has 2**bits + 1 zeros; `room_keys` and `room_loads` are as long as the keys.
    """
    shift = np.uint64(64 - bits)
    shards = np.uint64(n_shards)
    for i in range(keys.size):
        starts[np.int64(shard_of(keys[i], shards)[1] >> shift) + 1] += 1
    for b in range(1, starts.size):
        starts[b] += starts[b - 1]
    for i in range(keys.size):
        bucket = np.int64(shard_of(keys[i], shards)[1] >> shift)
        place = starts[bucket]
        starts[bucket] = place + 1
        room_keys[place] = keys[i]
        room_loads[place] = loads[i]
    for i in range(keys.size):
        key, load = room_keys[i], room_loads[i]
        j = i
        while j > 0 and keys[j - 1] > key:
            keys[j] = keys[j - 1]
            loads[j] = loads[j - 1]
            j -= 1
        keys[j] = key
        loads[j] = load
