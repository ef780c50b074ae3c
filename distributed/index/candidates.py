"""Find the candidates of queries on one rank, and merge the candidates of two ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import CPU, backend_named, to_host
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import map_blocks
from ...sketches.kernels import index as index_kernels
from ...sketches.neighbours.index import LSHIndex, Neighbours
from ..kernels import top_cells

__all__ = ["AGGREGATIONS", "Candidates", "NearestLists", "TopCells", "TopLists"]

#: Queries in one thread's task.
_QUERIES = 64

Arrays = Sequence[NDArray[Any]]


class Candidates(ABC):
    """The candidates of queries, as arrays in main memory whose first axis is the query."""

    #: The kernel that merges candidates of another rank into this rank's.
    _merge: Callable[..., None]

    @abstractmethod
    def bytes_per_query(self) -> int:
        """Return the bytes of one query's candidates."""

    @abstractmethod
    def find(self, asked: NDArray[Any]) -> Arrays:
        """Return this rank's candidates for queries: for their codes, or for the queries themselves."""

    def merge(self, ours: Arrays, theirs: Arrays) -> None:
        """Merge another rank's candidates into ours."""
        map_blocks(lambda start, stop: self._merge(*theirs, start, stop, *ours), len(ours[0]), _QUERIES)

    @abstractmethod
    def answer(self, found: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the answer to each query, given the merged candidates of all ranks."""


class _Counted(Candidates):
    """Candidates that are found by their counts.

    Parameters
    ----------
    index : LSHIndex
        This rank's index.
    k : int
        The number of neighbours of a query.
    """

    def __init__(self, index: LSHIndex, k: int) -> None:
        self._index, self._k = index, k
        # Ids are stored plus one. So 0 stands for no id, and unsigned numbers suffice.
        self._dtype = np.dtype(np.uint64 if index.wide_ids else np.uint32)


class TopLists(_Counted):
    """The k best ids of each rank, which are exact because a row is on one rank and counted there in full."""

    def __init__(self, index: LSHIndex, k: int) -> None:
        super().__init__(index, k)
        self._merge = CPU.kernels(index_kernels).merge_top
        self._count_dtype = np.min_scalar_type(index.family.n_hashes * index.capacity)

    def bytes_per_query(self) -> int:
        return self._k * (self._dtype.itemsize + self._count_dtype.itemsize)

    def find(self, asked: NDArray[Any]) -> Arrays:
        ids, counts = self._index.query_codes(backend_named(self._index.device).xp.asarray(asked), self._k)
        ids += 1
        return to_host(ids.astype(self._dtype)), to_host(counts.astype(self._count_dtype))

    def answer(self, found: Arrays) -> Neighbours:
        ids = found[0].astype(np.int64)
        ids -= 1
        return Neighbours(ids, found[1].astype(np.int32))


class TopCells(_Counted):
    """The paper's cells of an id and its majority counter, from which the k best are read in the end."""

    #: Independent rows of cells, cells of a row for each neighbour, and their least number: 64 KiB a query.
    ROWS, CELLS_PER_NEIGHBOUR, LEAST_CELLS = 4, 16, 2048

    def __init__(self, index: LSHIndex, k: int) -> None:
        super().__init__(index, k)
        self._kernels = CPU.kernels(top_cells)
        self._merge = self._kernels.merge_cells
        self._width = 1 << (max(self.LEAST_CELLS, self.CELLS_PER_NEIGHBOUR * k) - 1).bit_length()
        self._keys = random_uint64(index.seed, "DistributedIndex cells", self.ROWS)

    def bytes_per_query(self) -> int:
        return self.ROWS * self._width * (self._dtype.itemsize + 4)

    def find(self, asked: NDArray[Any]) -> Arrays:
        shape = (len(asked), self.ROWS, self._width)
        cells, votes = np.zeros(shape, self._dtype), np.zeros(shape, np.int32)
        slots, seen = self._index.buckets()
        kernel = self._kernels.cells_of_buckets
        map_blocks(
            lambda start, stop: kernel(slots, seen, asked, self._keys, start, stop, cells, votes),
            len(asked),
            _QUERIES,
        )
        return cells, votes

    def answer(self, found: Arrays) -> Neighbours:
        n, kernel = len(found[0]), self._kernels.top_of_cells
        ids, counts = np.empty((n, self._k), np.int64), np.empty((n, self._k), np.int32)
        map_blocks(lambda start, stop: kernel(*found, self._keys, start, stop, ids, counts), n, _QUERIES)
        return Neighbours(ids, counts)


class NearestLists(Candidates):
    """The k best ids of each rank by keys, which are exact because a row is on one rank and its key is there.

    Parameters
    ----------
    search : callable
        ``search(Q)`` returns this rank's ids and keys, the lowest keys first, with infinite ones where there
        is no id.
    k : int
    """

    def __init__(
        self, search: Callable[[NDArray[np.float64]], tuple[NDArray[Any], NDArray[Any]]], k: int
    ) -> None:
        self._search, self._k = search, k
        self._merge = CPU.kernels(index_kernels).merge_top

    def bytes_per_query(self) -> int:
        return self._k * 16

    def find(self, asked: NDArray[Any]) -> Arrays:
        ids, keys = self._search(asked)
        # The kernel takes the larger numbers first.
        return ids, -keys

    def answer(self, found: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
        return found[0], -found[1]


#: The classes of candidates by the names of aggregations.
AGGREGATIONS: dict[str, type[TopLists] | type[TopCells]] = {"exact": TopLists, "sketch": TopCells}
