"""From every rank's answers to one answer a query, along binary trees.

All ranks find candidates for the queries of all. The candidates of a query go up a binary tree of the
ranks, in ceil(log2(size)) rounds, to the rank that asked. The trees of the ranks are one tree with its
ranks shifted, so that in every round each rank sends to one other and receives from one, and all do
equal work; a candidate list crosses as many edges as one tree has: size - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of, to_host
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import map_blocks
from ...sketches.kernels import index as index_kernels
from ...sketches.neighbours.index import LSHIndex, Neighbours
from ..kernels import top_cells
from ..ranks.comm import Communicator

__all__ = ["AGGREGATIONS", "TopCells", "TopLists", "aggregate"]

_QUERIES = 64


class Aggregation(Protocol):
    """What a rank knows of queries: arrays whose first axis are the queries, and how two such merge."""

    def bytes_per_query(self) -> int: ...
    def find(self, codes: NDArray[np.uint32]) -> tuple[NDArray[Any], ...]: ...
    def merge(self, ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]]) -> None: ...
    def answer(self, found: Sequence[NDArray[Any]]) -> Neighbours: ...


class TopLists:
    """The k best of each rank: exact, since a row lives on one rank and is counted there in full."""

    def __init__(self, index: LSHIndex, k: int) -> None:
        self._index, self._k = index, k
        # As narrow as ids and counts may be; 0 stands for no id, so that it fits unsigned ones.
        self._dtype = np.dtype(np.uint64 if index.wide_ids else np.uint32)
        self._count_dtype = np.min_scalar_type(index.family.n_hashes * index.capacity)

    def bytes_per_query(self) -> int:
        """Bytes of one query's candidates."""
        return self._k * (self._dtype.itemsize + self._count_dtype.itemsize)

    def find(self, codes: NDArray[np.uint32]) -> tuple[NDArray[Any], ...]:
        """This rank's candidates, in main memory wherever the index is."""
        ids, counts = self._index.query_codes(self._index._backend.xp.asarray(codes), self._k)
        ids += 1
        return to_host(ids.astype(self._dtype)), to_host(counts.astype(self._count_dtype))

    def merge(self, ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]]) -> None:
        """Merge another rank's candidates into ours."""
        kernel = backend_of(ours[0]).kernels(index_kernels).merge_top
        map_blocks(lambda a, b: kernel(*theirs, a, b, *ours), len(ours[0]), _QUERIES)

    def answer(self, found: Sequence[NDArray[Any]]) -> Neighbours:
        """What the user gets."""
        ids = found[0].astype(np.int64)
        ids -= 1
        return Neighbours(ids, found[1].astype(np.int32))


class TopCells:
    """The paper's: cells of an id and its majority counter, asked for the k best at the root only."""

    #: Independent rows of cells; cells a row for each of the k wanted, and at least: 64 KiB a query.
    ROWS, CELLS_PER_NEIGHBOUR, LEAST_CELLS = 4, 16, 2048

    def __init__(self, index: LSHIndex, k: int) -> None:
        self._index, self._k = index, k
        self._dtype = np.dtype(np.uint64 if index.wide_ids else np.uint32)
        self._width = 1 << (max(self.LEAST_CELLS, self.CELLS_PER_NEIGHBOUR * k) - 1).bit_length()
        self._keys = random_uint64(index.seed, "DistributedIndex cells", self.ROWS)

    def bytes_per_query(self) -> int:
        """Bytes of one query's cells."""
        return self.ROWS * self._width * (self._dtype.itemsize + 4)

    def find(self, codes: NDArray[np.uint32]) -> tuple[NDArray[Any], ...]:
        """This rank's cells."""
        shape = (len(codes), self.ROWS, self._width)
        cells, votes = np.zeros(shape, self._dtype), np.zeros(shape, np.int32)
        slots, seen = self._index._arrays["slots"], self._index._arrays["seen"]
        kernel = backend_of(codes).kernels(top_cells).cells_of_buckets
        map_blocks(
            lambda a, b: kernel(slots, seen, codes, self._keys, a, b, cells, votes), len(codes), _QUERIES
        )
        return cells, votes

    def merge(self, ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]]) -> None:
        """Merge another rank's cells into ours."""
        kernel = backend_of(ours[0]).kernels(top_cells).merge_cells
        map_blocks(lambda a, b: kernel(*theirs, a, b, *ours), len(ours[0]), _QUERIES)

    def answer(self, found: Sequence[NDArray[Any]]) -> Neighbours:
        """What the user gets."""
        n = len(found[0])
        ids, counts = np.empty((n, self._k), np.int64), np.empty((n, self._k), np.int32)
        kernel = backend_of(ids).kernels(top_cells).top_of_cells
        map_blocks(lambda a, b: kernel(*found, self._keys, a, b, ids, counts), n, _QUERIES)
        return Neighbours(ids, counts)


AGGREGATIONS: dict[str, Callable[[LSHIndex, int], Aggregation]] = {"exact": TopLists, "sketch": TopCells}


class _Round(NamedTuple):
    """Whose queries' candidates a rank passes on in a round and takes in, and from and to whom."""

    destination: int
    sent: list[int]
    source: int
    received: list[int]


def tree_rounds(rank: int, size: int) -> Iterator[_Round]:
    """The rounds of `rank` in the trees of all owners; owner o's tree has rank (r - o) mod size for r."""
    distance = 1
    while distance < size:
        places = [((rank - owner) % size, owner) for owner in range(size)]
        yield _Round(
            (rank - distance) % size,
            [owner for place, owner in places if place % (2 * distance) == distance],
            (rank + distance) % size,
            [o for place, o in places if place % (2 * distance) == 0 and place + distance < size],
        )
        distance *= 2


def aggregate(
    way: Aggregation, codes: NDArray[np.uint32], n_queries: Sequence[int], comm: Communicator
) -> Neighbours:
    """The answers to this rank's queries, given the codes of all ranks' in the order of ranks.

    Parameters
    ----------
    way : Aggregation
    codes : ndarray of shape (sum of n_queries, n_hashes), uint32
        The same on every rank.
    n_queries : sequence of int
        Queries of each rank.
    """
    ends = np.cumsum(n_queries).tolist()
    spans = [slice(end - n, end) for end, n in zip(ends, n_queries, strict=True)]
    with comm.agree():
        found = way.find(codes)
    merge_received: Callable[[], None] | None = None
    for step in tree_rounds(comm.rank, comm.size):
        with comm.agree():
            # What came in the round before is merged here, so that a failure stops every rank.
            if merge_received is not None:
                merge_received()
            outgoing = [np.concatenate([a[:0], *(a[spans[o]] for o in step.sent)]) for a in found]
            n = sum(n_queries[o] for o in step.received)
            incoming = [np.empty((n, *a.shape[1:]), a.dtype) for a in found]
        for leaving, coming in zip(outgoing, incoming, strict=True):
            comm.send_receive(leaving, step.destination, coming, step.source)
        merge_received = _merging(way, found, incoming, [spans[o] for o in step.received])
    with comm.agree():
        if merge_received is not None:
            merge_received()
        return way.answer([a[spans[comm.rank]] for a in found])


def _merging(
    way: Aggregation, found: Sequence[NDArray[Any]], incoming: Sequence[NDArray[Any]], spans: list[slice]
) -> Callable[[], None]:
    def merge() -> None:
        start = 0
        for span in spans:
            stop = start + span.stop - span.start
            way.merge([a[span] for a in found], [a[start:stop] for a in incoming])
            start = stop

    return merge
