"""Exchange arrays whose shapes all ranks know, and add up what ranges of labels have computed.

No size is sent, and nothing is pickled. Every rank has made its arrays before the first one travels, because
no rank may fail while others wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...sketches.learned.slide_sums import nodes_of, sum_of_nodes, sums_of_nodes
from ..ranks.comm import Communicator

__all__ = ["add_ranges", "cuts_of", "join_columns", "swap"]


def cuts_of(n: int, size: int) -> list[int]:
    """Return the bounds that cut n things into shares of the ranks, some of which may be empty."""
    return [n * rank // size for rank in range(size + 1)]


def swap(comm: Communicator, outgoing: Sequence[NDArray[Any]], incoming: Sequence[NDArray[Any]]) -> None:
    """Send an array to each rank, and fill an array with what each rank sends.

    Parameters
    ----------
    comm : Communicator
    outgoing : sequence of arrays, C-contiguous
        What each rank gets.
    incoming : sequence of arrays, C-contiguous
        What is overwritten: each has the shape and dtype of the array that its rank sends.
    """
    incoming[comm.rank][...] = outgoing[comm.rank]
    for distance in range(1, comm.size):
        to, source = (comm.rank + distance) % comm.size, (comm.rank - distance) % comm.size
        comm.send_receive(outgoing[to], to, incoming[source], source)


def join_columns(
    comm: Communicator, compute: Callable[[], NDArray[Any]], n_rows: int, cuts: list[int], dtype: DTypeLike
) -> NDArray[Any]:
    """Return the ranks' arrays beside each other, on every rank.

    Parameters
    ----------
    comm : Communicator
    compute : callable
        Returns this rank's columns, of shape (n_rows, its share of the cuts).
    """
    with comm.agree():
        own = np.ascontiguousarray(compute(), dtype)
        incoming = [np.empty((n_rows, b - a), dtype) for a, b in pairwise(cuts)]
    swap(comm, [own] * comm.size, incoming)
    return np.hstack(incoming)


def add_ranges(
    comm: Communicator,
    compute: Callable[[], list[NDArray[Any]]],
    ranges: list[int],
    shape: tuple[int, ...],
    cuts: list[int],
    dtype: DTypeLike,
) -> NDArray[Any]:
    """Return the sum of the arrays of all ranges, for this rank's share of the last axis.

    Sums are added along the tree of `sums_of_nodes`, so they do not depend on the ranks.

    Parameters
    ----------
    comm : Communicator
    compute : callable
        Returns the arrays of this rank's ranges, which may be wider than the last cut.
    ranges : list of int
        The cuts of the ranges into the shares of the ranks.
    shape : tuple of int
        That of an array, without the last axis.
    cuts : list of int
        The cuts of the last axis.
    """
    n, rank = ranges[-1], comm.rank
    shares = [nodes_of(a, b, n) for a, b in pairwise(ranges)]
    with comm.agree():
        nodes = sums_of_nodes(compute(), ranges[rank], n)
        width = cuts[rank + 1] - cuts[rank]
        incoming = [np.empty((len(share), *shape, width), dtype) for share in shares]
        outgoing = []
        for a, b in pairwise(cuts):
            sent = np.empty((len(nodes), *shape, b - a), dtype)
            for i, node in enumerate(shares[rank]):
                sent[i] = nodes[node][..., a:b]
            outgoing.append(sent)
    swap(comm, outgoing, incoming)
    parts = zip(shares, incoming, strict=True)
    return sum_of_nodes({node: arrays[i] for share, arrays in parts for i, node in enumerate(share)}, n)
