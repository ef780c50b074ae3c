"""Connected components of a graph whose edges are spread over ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .banding import owner_of
from .comm import Communicator

__all__ = ["connected_components"]


def _unique_edges(nodes: NDArray[np.uint64], others: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], ...]:
    order = np.lexsort((others, nodes))
    nodes, others = nodes[order], others[order]
    fresh = np.ones(nodes.size, dtype=bool)
    fresh[1:] = (nodes[1:] != nodes[:-1]) | (others[1:] != others[:-1])
    return nodes[fresh], others[fresh]


def _least_neighbours(nodes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """For each edge of a list in order, the least of its node and the node's neighbours."""
    if nodes.size == 0:
        return nodes
    first = np.ones(nodes.size, dtype=bool)
    first[1:] = nodes[1:] != nodes[:-1]
    return np.minimum(nodes, others[np.flatnonzero(first)[np.cumsum(first) - 1]])


def connected_components(
    left: NDArray[np.uint64], right: NDArray[np.uint64], comm: Communicator
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The component of every node that has an edge.

    Parameters
    ----------
    left, right : ndarray of shape (m,), uint64
        This rank's edges.
    comm : Communicator

    Returns
    -------
    nodes, roots : ndarray of shape (k,), uint64
        Nodes that this rank answers for, each with the least node of its component; the least nodes
        themselves are left out. A collective call; all ranks' answers together do not depend on the
        number of ranks.

    Notes
    -----
    Alternates large-star and small-star (Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii 2014,
    "Connected components in MapReduce and beyond"): each joins the neighbours of a node to the least of
    them, the first the larger neighbours, the second the smaller ones. Ends when every component is a
    star, after O(log^2 n) rounds, each moving every edge once or twice.
    """
    different = left != right
    large = np.maximum(left, right)[different]
    small = np.minimum(left, right)[different]
    large, small = comm.exchange((large, small), owner_of(large, comm.size))
    large, small = _unique_edges(large, small)
    while True:
        # Large-star: every node sees all its neighbours and joins the larger ones to the least.
        both = np.concatenate([large, small]), np.concatenate([small, large])
        nodes, others = _unique_edges(*comm.exchange(both, owner_of(both[0], comm.size)))
        least = _least_neighbours(nodes, others)
        larger = others > nodes
        nodes, others = others[larger], least[larger]
        nodes, others = _unique_edges(*comm.exchange((nodes, others), owner_of(nodes, comm.size)))
        # Small-star: every node joins itself and its smaller neighbours to the least of them.
        least = _least_neighbours(nodes, others)
        inner = others != least
        nodes, others = np.concatenate([nodes, others[inner]]), np.concatenate([least, least[inner]])
        nodes, others = _unique_edges(*comm.exchange((nodes, others), owner_of(nodes, comm.size)))
        settled = np.array_equal(nodes, large) and np.array_equal(others, small)
        large, small = nodes, others
        if all(comm.allgather(settled)):
            return large, small
