"""Find the connected components of a graph whose edges are spread over ranks."""

from __future__ import annotations

import numpy as np

from ..ranks.comm import Communicator
from .banding import owner_of
from .places import Request, Rows, Words

__all__ = ["component_of", "connected_components", "distinct_pairs"]

#: Pairs of nodes: the first nodes, and the second nodes.
_Edges = tuple[Words, Words]


def distinct_pairs(left: Words, right: Words) -> Rows:
    """Return the rows of all distinct pairs, in the order of left and then right."""
    order = np.lexsort((right, left))
    left, right = left[order], right[order]
    fresh = np.ones(left.size, dtype=bool)
    fresh[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return order[fresh]


def _distinct_edges(nodes: Words, others: Words) -> _Edges:
    rows = distinct_pairs(nodes, others)
    return nodes[rows], others[rows]


def _least_neighbours(nodes: Words, others: Words) -> Words:
    """Return, for each edge of an ordered list, the least of its node and the node's neighbours."""
    if nodes.size == 0:
        return nodes
    first = np.ones(nodes.size, dtype=bool)
    first[1:] = nodes[1:] != nodes[:-1]
    least: Words = others[np.flatnonzero(first)[np.cumsum(first) - 1]]
    return np.minimum(nodes, least)


def connected_components(left: Words, right: Words, comm: Communicator) -> tuple[Words, Words]:
    """Return the component of every node that has an edge; a collective call.

    Parameters
    ----------
    left, right : ndarray of shape (m,), uint64
        This rank's edges.
    comm : Communicator

    Returns
    -------
    nodes, roots : ndarray of shape (k,), uint64
        The nodes that this rank owns, each with the least node of its component. The least nodes themselves
        are left out. The answers of all ranks together do not depend on the number of ranks.

    Notes
    -----
    The algorithm alternates large-star and small-star steps (Kiveris, Lattanzi, Mirrokni, Rastogi and
    Vassilvitskii 2014, "Connected components in MapReduce and beyond"). Both join the neighbours of a node
    to the least of them: large-star the larger neighbours, small-star the smaller ones. The algorithm ends
    when every component is a star, after O(log^2 n) rounds. Each round moves every edge once or twice.
    """
    large, small = _send_to_owners(comm.local(_without_loops, left, right), comm)
    while True:
        nodes, others = _send_to_owners(comm.local(_both_ways, large, small), comm)
        nodes, others = _send_to_owners(comm.local(_large_star, nodes, others), comm)
        nodes, others = _send_to_owners(comm.local(_small_star, nodes, others), comm)
        is_unchanged = np.array_equal(nodes, large) and np.array_equal(others, small)
        large, small = nodes, others
        if all(comm.allgather(is_unchanged)):
            return large, small


def _send_to_owners(edges: _Edges, comm: Communicator) -> _Edges:
    owners = comm.local(owner_of, edges[0], comm.size)
    nodes, others = comm.exchange(edges, owners)
    return comm.local(_distinct_edges, nodes, others)


def _without_loops(left: Words, right: Words) -> _Edges:
    different = left != right
    return np.maximum(left, right)[different], np.minimum(left, right)[different]


def _both_ways(large: Words, small: Words) -> _Edges:
    return np.concatenate([large, small]), np.concatenate([small, large])


def _large_star(nodes: Words, others: Words) -> _Edges:
    """Join, for every node, its larger neighbours to the least of all its neighbours."""
    larger = others > nodes
    return others[larger], _least_neighbours(nodes, others)[larger]


def _small_star(nodes: Words, others: Words) -> _Edges:
    """Join, for every node, the node and its smaller neighbours to the least of them."""
    least = _least_neighbours(nodes, others)
    inner = others != least
    return np.concatenate([nodes, others[inner]]), np.concatenate([least, least[inner]])


def component_of(ids: Words, left: Words, right: Words, comm: Communicator) -> Words:
    """Return the component of each of this rank's nodes, by its least node; a collective call.

    A node without an edge is its own component.
    """
    nodes, roots = connected_components(left, right, comm)
    request = Request(comm.local(owner_of, ids, comm.size), ids, comm)
    return request.answer(comm.local(_look_up, nodes, roots, request.words))


def _look_up(nodes: Words, roots: Words, asked: Words) -> Words:
    if not len(nodes):
        return asked
    at = np.minimum(np.searchsorted(nodes, asked), len(nodes) - 1)
    return np.where(nodes[at] == asked, roots[at], asked)
