"""The building of a graph of near neighbours: lists of the nearest nodes, and links that searches follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import read_only
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import cut_range, map_blocks
from ..kernels import graph_links
from ..kernels import neighbour_graph as kernels
from ..kernels.rank_vectors import ANGLE, CITYBLOCK, EUCLIDEAN

__all__ = [
    "METRICS",
    "Found",
    "Links",
    "draw_long_links",
    "improve_graph",
    "link_nodes",
    "random_words",
    "search_links",
    "spread_nodes",
]

#: The metrics of rows as kernels number them.
METRICS = {"angle": ANGLE, "euclidean": EUCLIDEAN, "cityblock": CITYBLOCK}
#: Nodes, and queries, that are worth a thread of their own.
_NODES, _QUERIES = 256, 16
#: Numbers of nodes up to which all distances are computed.
_FEW = 1024
#: Nodes that are searched at a time, and neighbours of theirs.
_TOGETHER, _PAIRS = 1 << 16, 1 << 21
#: The largest number of random nodes, as a power of two, of which a long link goes to the nearest.
_LEVELS = 10


class Links(NamedTuple):
    """The rows of nodes and the links that searches follow; kernels take them as they are."""

    rows: NDArray[np.float32]
    links: NDArray[np.int32]
    long_links: NDArray[np.int32]
    metric: int


class Found(NamedTuple):
    """The nearest nodes of queries, and what the search cost."""

    #: int32, shape (n, k), -1 where there are fewer.
    nodes: NDArray[np.int32]
    #: int64, shape (n,): the number of nodes whose links were followed.
    hops: NDArray[np.int64]
    #: int64, shape (n,): the number of distances that were computed.
    evaluations: NDArray[np.int64]


def search_links(
    Q: NDArray[np.float32],
    graph: Links,
    entries: NDArray[np.int32],
    ef: int,
    k: int,
    own: NDArray[np.int32] | None = None,
) -> Found:
    """Return the k nearest of the `ef` nodes that a search from the entries has found for each query.

    Parameters
    ----------
    Q : float32, shape (n, d)
    graph : Links
    entries : int32, shape (n, E)
        Nodes where each query begins, -1 for none.
    ef, k : int
    own : int32, shape (n,), optional
        A node that is no answer, for each query.
    """
    n, n_nodes = len(Q), len(graph.rows)
    found = Found(np.empty((n, k), np.int32), np.empty(n, np.int64), np.empty(n, np.int64))
    asked, begin = read_only(Q), read_only(entries)
    omitted = read_only(np.full(n, -1, np.int32) if own is None else own)

    def search(a: int, b: int) -> None:
        seen = np.zeros(n_nodes, np.uint32)
        kernels.search_graph(
            asked, graph.rows, graph.links, graph.long_links, begin, omitted, graph.metric, ef, a, b,
            *found, seen,
        )  # fmt: skip

    map_blocks(search, n, _QUERIES)
    return found


def link_nodes(
    rows: NDArray[np.float32], lists: NDArray[np.int32], metric: int, n_links: int, diversify: bool
) -> NDArray[np.int32]:
    """Return the links of all nodes: those chosen from their lists, and reverse ones up to `n_links`."""
    m = len(rows)
    rows, lists = read_only(rows), read_only(lists)
    chosen = np.empty((m, min(n_links, lists.shape[1])), np.int32)
    map_blocks(lambda a, b: graph_links.choose_links(rows, lists, metric, diversify, a, b, chosen), m, _NODES)
    offsets, sources = _grouped(
        chosen.reshape(-1), np.repeat(np.arange(m, dtype=np.int32), chosen.shape[1]), m
    )
    links, taken = np.empty((m, n_links), np.int32), read_only(chosen)
    map_blocks(
        lambda a, b: graph_links.add_reverse_links(rows, taken, offsets, sources, metric, a, b, links),
        m,
        _NODES,
    )
    return links


def _grouped(
    targets: NDArray[np.int32], sources: NDArray[np.int32], n: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the sources of pairs by their targets, and where those of each target begin."""
    offsets = np.zeros(n + 2, np.int64)
    order = np.empty(int((targets >= 0).sum()), np.int64)
    graph_links.group_pairs(read_only(targets), offsets, order)
    return read_only(offsets[:-1]), read_only(sources[order])


def draw_long_links(
    rows: NDArray[np.float32],
    words: NDArray[np.uint64],
    origins: NDArray[np.int32],
    metric: int,
    long_links: NDArray[np.int32],
) -> None:
    """Draw the long links that are -1, and draw a share of the others anew.

    Links that are there were drawn among nodes of the same origin. About as many of them as if all were
    drawn now go over to nodes of other origins: somewhat fewer if this is done often, because links that
    have stayed are nearer than those drawn once, and somewhat more if there were less than 1,024 nodes, or
    if the words of nodes have changed.
    """
    m = len(rows)
    n_levels = min(_LEVELS, max(1, m.bit_length() - 1)) + 1
    given = read_only(rows), read_only(words), read_only(origins)
    if (origins[:1] == origins).all() and (long_links >= 0).all():
        return
    map_blocks(
        lambda a, b: graph_links.draw_long_links(*given, metric, n_levels, a, b, long_links), m, _NODES
    )


def spread_nodes(
    rows: NDArray[np.float32], some: NDArray[np.int32], metric: int, n: int
) -> NDArray[np.int32]:
    """Return the first of some nodes, and n - 1 others of them that are far from each other."""
    far = np.empty(min(n, some.size), np.int32)
    graph_links.spread_nodes(read_only(rows), read_only(some), metric, 0, far.size, far)
    return far


def improve_graph(
    rows: NDArray[np.float32],
    lists: NDArray[np.int32],
    fresh: NDArray[np.int64],
    pairs: NDArray[np.int32],
    metric: int,
    candidates: Callable[[NDArray[np.int64]], NDArray[Any]],
    link: Callable[[NDArray[np.int32]], Links],
    starts: NDArray[np.int32],
    ef: int,
    n_rounds: int,
) -> None:
    """Bring the lists of the nearest nodes up to date, in place.

    Parameters
    ----------
    rows : float32, shape (m, d)
    lists : int32, shape (m, k)
    fresh : int64
        Nodes that the others do not know.
    pairs : int32, shape (p, 2)
        Nodes, and neighbours that they are offered.
    metric : int
    candidates : callable
        Returns nodes near to those that it gets, some for each, -1 for none.
    link : callable
        Returns the links of lists.
    starts : int32
        Nodes where searches begin that have no other.
    ef, n_rounds : int
    """
    m, k = lists.shape
    if m <= _FEW:
        given = read_only(rows)
        map_blocks(lambda a, b: kernels.list_nearest(given, metric, a, b, lists), m, 16)
        return
    _offer(rows, lists, pairs[:, 0], pairs[:, 1], metric)
    if not fresh.size:
        return
    together = max(1, min(_TOGETHER, _PAIRS // k))
    for first, last in cut_range(0, fresh.size, together):
        _offer_both(rows, lists, fresh[first:last], candidates(fresh[first:last]), metric)
    for _ in range(n_rounds):
        graph, before = link(lists), lists.copy()
        for first, last in cut_range(0, fresh.size, together):
            some = fresh[first:last]
            # Lists that are not full are filled up by nodes at random, which may be in other parts.
            entries = np.where(before[some] < 0, np.resize(starts, k), before[some])
            own = some.astype(np.int32)
            found = search_links(rows[some], graph, entries, max(ef, k + 1), k, own).nodes
            _offer_both(rows, lists, some, found, metric)


def _offer_both(
    rows: NDArray[np.float32],
    lists: NDArray[np.int32],
    nodes: NDArray[np.int64],
    near: NDArray[Any],
    metric: int,
) -> None:
    """Offer near nodes to some nodes, and these to those."""
    ours, theirs = np.repeat(nodes.astype(np.int32), near.shape[1]), near.astype(np.int32).reshape(-1)
    there = theirs >= 0
    ours, theirs = ours[there], theirs[there]
    _offer(rows, lists, np.concatenate([ours, theirs]), np.concatenate([theirs, ours]), metric)


def _offer(
    rows: NDArray[np.float32],
    lists: NDArray[np.int32],
    targets: NDArray[np.int32],
    offered: NDArray[np.int32],
    metric: int,
) -> None:
    """Take nodes that are offered into the lists of the targets, where they are near enough."""
    if not targets.size:
        return
    m, given = len(rows), read_only(rows)
    offsets, sources = _grouped(np.ascontiguousarray(targets), np.ascontiguousarray(offered), m)
    changed = np.empty(m, np.bool_)
    map_blocks(
        lambda a, b: kernels.improve_lists(given, offsets, sources, metric, a, b, lists, changed), m, _NODES
    )


def random_words(seed: int, ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a random word for each id."""
    words: NDArray[np.uint64] = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    words += random_uint64(seed, "words of a neighbour graph", 1)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(31))
