"""Groups of keys by the blocks of a large Bloom filter, so that a block is fetched once for several keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import CPU
from ...lsh.support.threads import get_num_threads, map_blocks, run_tasks
from ..kernels import bloom

__all__ = [
    "KEYS_BLOCK",
    "LARGE",
    "KeyGroups",
    "group_keys",
    "is_worth_grouping",
    "keys_together",
    "over_groups",
]

#: Number of keys that are worth a thread of their own.
KEYS_BLOCK = 1 << 15
#: Number of blocks of a filter that the processor's caches cannot hold: 16 MiB.
LARGE = 1 << 18
#: Number of blocks of a group: 128 KiB, which the second-level cache holds.
_GROUP = 1 << 11
#: The most groups. Each is a place that is written to while keys are grouped.
_MAX_GROUPS = 512
#: The most keys that are grouped together. Their hashes take 64 MiB.
_MAX_TOGETHER = 1 << 23


class KeyGroups(NamedTuple):
    """A batch of keys whose hashes are grouped by block, in parts that threads have grouped on their own.

    Attributes
    ----------
    start, stop : int
        The keys of the batch are [start, stop) of all keys.
    shift : uint64
        The group of a block is ``block >> shift``.
    bounds : list of int
        Where the parts begin and end within the batch.
    hashes : ndarray of uint64
    ends : ndarray of shape (parts, groups + 1), int64
        Where the groups of a part end.
    """

    start: int
    stop: int
    shift: np.uint64
    bounds: list[int]
    hashes: NDArray[np.uint64]
    ends: NDArray[np.int64]


def keys_together(n_blocks: int) -> int:
    """Return the number of keys to group together: several for a block, so that few serve one key only."""
    return min(max(1 << 20, 8 * n_blocks), _MAX_TOGETHER)


def is_worth_grouping(n_blocks: int, n_keys: int) -> bool:
    """Tell whether the grouping of keys takes less time than it saves."""
    return n_blocks >= LARGE and n_keys >= 2 * min(n_blocks, _MAX_TOGETHER // 2)


def group_keys(values: NDArray[np.uint64], hashed: bool, seed: int, n_blocks: int) -> Iterator[KeyGroups]:
    """Group keys by ranges of blocks, a batch at a time.

    Parameters
    ----------
    values : ndarray of uint64
        Integer keys, or hashes if `hashed` is true.
    """
    kernel, n_threads = CPU.kernels(bloom).bloom_group, get_num_threads()
    # A group has as many blocks as fit into the cache, but there are several groups for each thread.
    wanted = max(n_blocks // _GROUP, 8 * n_threads)
    shift = (n_blocks // min(wanted, _MAX_GROUPS)).bit_length()
    n_groups = ((n_blocks - 1) >> shift) + 1
    sizes = np.uint64(seed), hashed, np.uint64(n_blocks), np.uint64(shift)
    # All memory is taken first: a batch must not fail when others are in.
    hashes = np.empty(min(values.size, keys_together(n_blocks)), dtype=np.uint64)
    all_ends = np.empty((n_threads, n_groups + 1), dtype=np.int64)
    for start in range(0, values.size, hashes.size):
        batch = values[start : start + hashes.size]
        n_parts = max(1, min(n_threads, batch.size // KEYS_BLOCK))
        bounds = [batch.size * p // n_parts for p in range(n_parts + 1)]
        ends = all_ends[:n_parts]
        ends[...] = 0

        def group(p: int, batch: Any = batch, bounds: Any = bounds, ends: Any = ends) -> None:
            kernel(batch, *sizes, bounds[p], bounds[p + 1], hashes, ends[p])

        run_tasks(group, n_parts)
        yield KeyGroups(start, start + batch.size, np.uint64(shift), bounds, hashes, ends)


def over_groups(kernel: Any, n_hashes: int, read: tuple[NDArray[Any], ...], out: NDArray[Any]) -> None:
    """Run a kernel over all groups; it reads some arrays, of which the last says where groups end.

    All parts' keys of a group go to one thread, and no two groups share a block.
    """
    n_groups = read[-1].shape[1] - 1
    map_blocks(lambda a, b: kernel(*read, n_hashes, a, b, out), n_groups, 1)
