"""Kernels of graphs of near neighbours: best-first search, and lists of the nearest rows."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch_read
from .graph_distances import row_distance
from .heaps import keep_best, sort_nearest

__all__ = ["improve_lists", "list_nearest", "search_graph", "spread_over_rows"]

#: Floats of a row that are fetched before they are needed, and those of a cache line.
_AHEAD, _LINE = 256, 16


@helper(forceinline=True)
def _node(entry):
    """Return the node of an entry of a pool: entries of nodes that were expanded are complements."""
    return entry if entry >= 0 else ~entry


@helper(forceinline=True)
def _is_before(key, node, other_key, other):
    return key < other_key or (key == other_key and node < other)


@helper(forceinline=True)
def insert_near(key, node, most, size, keys, entries):
    """Put a node into a pool, ordered by keys and then by nodes; return its place, or `most` if it is last.

    The caller makes the pool one entry larger unless it is full.
    """
    if size == most and not _is_before(key, node, keys[size - 1], _node(entries[size - 1])):
        return most
    low, high = 0, size
    while low < high:
        middle = (low + high) >> 1
        if _is_before(keys[middle], _node(entries[middle]), key, node):
            low = middle + 1
        else:
            high = middle
    for at in range(min(size, most - 1), low, -1):
        keys[at], entries[at] = keys[at - 1], entries[at - 1]
    keys[low], entries[low] = key, node
    return low


@kernel
def search_graph(
    Q, rows, links, long_links, entries, own, metric, ef, start, stop, found, hops, evaluations, seen
):
    """Search the nearest nodes of the queries [start, stop), always going on from the nearest one.

    A pool has the `ef` nearest nodes so far. The nearest that was not expanded is expanded: the distances of
    all nodes that it has links to are computed. The search ends when all nodes of the pool are expanded.

    Parameters
    ----------
    Q : float32 queries
    rows : float32 rows of the nodes
    links, long_links : int32; the links of each node, of which -1 ends the list
    entries : int32 of shape (n, E): nodes at which each query begins, -1 for none
    own : int32: a node that is not among the answers of each query, or -1
    found : int32 of shape (n, k): the nearest nodes, -1 where there are fewer
    hops, evaluations : int64: numbers of nodes that were expanded, and of distances that were computed
    seen : uint32, a zero for each node; work space
    """
    width = rows.shape[1]
    flat, asked = rows.reshape(-1), Q.reshape(-1)
    keys, pool = np.empty(ef, np.float32), np.empty(ef, np.int32)
    near = np.empty(max(links.shape[1] + long_links.shape[1], entries.shape[1]), np.int32)
    for i in range(start, stop):
        mark, size, after = np.uint32(i - start + 1), 0, 0
        n_hops, n_evaluations = 0, 0
        here = -1
        while True:
            # The nodes to look at: at first the entries, and then the links of a node.
            n_near = 0
            if here < 0:
                for j in range(entries.shape[1]):
                    node = entries[i, j]
                    if node >= 0 and seen[node] != mark:
                        seen[node] = mark
                        near[n_near] = node
                        n_near += 1
            else:
                n_hops += 1
                for j in range(links.shape[1]):
                    node = links[here, j]
                    if node < 0:
                        break
                    if seen[node] != mark:
                        seen[node] = mark
                        near[n_near] = node
                        n_near += 1
                for j in range(long_links.shape[1]):
                    node = long_links[here, j]
                    if node < 0:
                        break
                    if seen[node] != mark:
                        seen[node] = mark
                        near[n_near] = node
                        n_near += 1
            for j in range(n_near):
                base = np.int64(near[j]) * width
                for at in range(base, base + min(width, _AHEAD), _LINE):
                    prefetch_read(flat, at)
            n_evaluations += n_near
            for j in range(n_near):
                node = near[j]
                key = row_distance(metric, asked, np.int64(i) * width, flat, np.int64(node) * width, width)
                place = insert_near(key, node, ef, size, keys, pool)
                if place < ef:
                    size = min(size + 1, ef)
                    after = min(after, place)
            while after < size and pool[after] < 0:
                after += 1
            if after == size:
                break
            here = pool[after]
            pool[after] = ~here
        n_found = 0
        for j in range(size):
            node = _node(pool[j])
            if node != own[i] and n_found < found.shape[1]:
                found[i, n_found] = node
                n_found += 1
        found[i, n_found:] = -1
        hops[i], evaluations[i] = n_hops, n_evaluations


@kernel
def list_nearest(rows, metric, start, stop, lists):
    """List the nearest of all other nodes for the nodes [start, stop)."""
    width, k, flat = rows.shape[1], lists.shape[1], rows.reshape(-1)
    keys = np.empty(k, np.float32)
    for i in range(start, stop):
        size = 0
        for node in range(rows.shape[0]):
            if node != i:
                key = row_distance(metric, flat, np.int64(i) * width, flat, np.int64(node) * width, width)
                if insert_near(key, np.int32(node), k, size, keys, lists[i]) < k:
                    size = min(size + 1, k)
        lists[i, size:] = -1


@kernel
def improve_lists(rows, offsets, offered, metric, start, stop, lists, changed):
    """Take nodes that are offered to the nodes [start, stop) into their lists, if they are near enough.

    Node i is offered ``offered[offsets[i]:offsets[i + 1]]``. Lists need not be in order before.
    """
    width, k, flat = rows.shape[1], lists.shape[1], rows.reshape(-1)
    keys, best = np.empty(k, np.float32), np.empty(k, np.int32)
    for i in range(start, stop):
        changed[i] = False
        if offsets[i] == offsets[i + 1]:
            continue
        size = 0
        for turn in range(2):
            first, last = (0, k) if turn == 0 else (offsets[i], offsets[i + 1])
            for j in range(first, last):
                node = lists[i, j] if turn == 0 else offered[j]
                if node < 0 or node == i:
                    continue
                is_there = False
                for at in range(size):
                    is_there |= best[at] == node
                if is_there:
                    continue
                key = row_distance(metric, flat, np.int64(i) * width, flat, np.int64(node) * width, width)
                if insert_near(key, node, k, size, keys, best) < k:
                    size = min(size + 1, k)
        for j in range(k):
            node = best[j] if j < size else np.int32(-1)
            changed[i] |= lists[i, j] != node
            lists[i, j] = node


@kernel
def spread_over_rows(nodes, distances, firsts, members, own, start, stop, numbers, out):
    """Write the nearest rows of queries, whose nearest nodes are known: a node stands for equal rows.

    Parameters
    ----------
    nodes, distances : the nearest nodes of each query, -1 for none, and their distances
    firsts, members : node i stands for the rows ``members[firsts[i]:firsts[i + 1]]``, rising
    own : a row that is not among the answers of each query, or -1
    """
    k = numbers.shape[1]
    flat_numbers, flat = numbers.reshape(-1), out.reshape(-1)
    for i in range(start, stop):
        size, place = 0, np.int64(i) * k
        for j in range(nodes.shape[1]):
            node = nodes[i, j]
            if node < 0:
                continue
            # No more than the first k are among the nearest, one of which may be the query's own.
            for at in range(firsts[node], min(firsts[node + 1], firsts[node] + k + 1)):
                if members[at] != own[i]:
                    size = keep_best(members[at], distances[i, j], k, place, size, flat_numbers, flat)
        sort_nearest(place, size, k, flat_numbers, flat)
