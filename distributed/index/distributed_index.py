"""The index over many ranks: SLASH (Deng, Meisburger, Engels, Coleman, Shrivastava)."""

from __future__ import annotations

import os
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DistributedError
from ...lsh.family import HashFamily
from ...lsh.support.backend import to_host
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.types import RowsLike
from ...sketches.neighbours.index import LSHIndex, Neighbours
from ..ranks.comm import Communicator, communicator
from ..ranks.merge import check_configurations
from .aggregate import AGGREGATIONS, aggregate

__all__ = ["DistributedIndex"]

#: Bytes of candidates that a rank holds at once while it answers.
ROUND_BYTES = 64 << 20


class DistributedIndex:
    """An `LSHIndex` whose rows are spread over MPI ranks, and whose queries all ranks answer together.

    Every method is collective: all ranks call it. Without MPI, or on one rank, it is an `LSHIndex` with
    another face, and mpi4py is not needed.

    Parameters
    ----------
    family : HashFamily
    capacity : int
        Ids that a bucket holds, on each rank.
    wide_ids : bool
        Whether ids may pass 2**32 - 2.
    seed : int
        Of the buckets' priorities.
    comm : mpi4py communicator or Communicator, optional
        All ranks if MPI started this process, and this process alone otherwise.

    Attributes
    ----------
    local : LSHIndex
        The index of this rank's rows. ``merge_over_ranks(index.local.copy())`` is that of all rows.
    comm : Communicator
        Its `bytes_sent` tells what queries have cost.
    n_rows : int
        Rows added on all ranks.

    Raises
    ------
    TypeError, ValueError
        If an argument is refused; with several ranks DistributedError, on all of them.
    IncompatibleSketchError
        On every rank, if their arguments differ.

    Notes
    -----
    Each rank holds all tables, of its own rows. The codes of a batch of queries are gathered on every
    rank (``4 L`` bytes a query); each rank counts collisions in its own buckets; the candidates of a query
    go up a binary tree to the rank that asked, in ceil(log2(p)) rounds for p ranks.

    A row lives on one rank, so its count is complete there, and merging the ranks' k best is exact
    (``aggregation="exact"``). It is also smaller than the cells of an id and a majority counter that the
    paper merges (``aggregation="sketch"``), which are kept for comparison and are approximate.

    **Answers do not depend on the number of ranks** or on which rank holds a row as long as no bucket
    overflows (``index.local.overflow == 0`` on every rank) and no id is given twice. A bucket that
    overflows on one rank would have room for as many ids on each of two: what more ranks find holds what
    fewer would have kept, and more. Merging brings back exactly what fewer ranks would hold.

    Memory is that of one `LSHIndex` a rank, whatever the number of rows.

    A rank's tables lie where its first rows do, in main memory or on its GPU, and answers lie there too;
    codes and candidates travel through main memory. On GPUs the aggregation is "exact".

    Examples
    --------
    Under ``mpiexec -n 4`` each rank adds its share of the rows and asks its share of the queries:

    >>> import numpy as np
    >>> from mergesketch.distributed import DistributedIndex
    >>> from mergesketch.lsh import SignedRandomProjection
    >>> index = DistributedIndex(SignedRandomProjection(n_features=16, n_hashes=40, power=9, seed=1))
    >>> rank, size = index.comm.rank, index.comm.size
    >>> X = np.random.default_rng(0).standard_normal((1000, 16))
    >>> ours = np.array_split(np.arange(1000), size)[rank]
    >>> index = index.add(X[ours], ids=ours)
    >>> ids, counts = index.query(X[700 + rank : 702 + rank], k=3)
    >>> ids[:, 0], counts[:, 0]
    (array([700, 701]), array([40, 40], dtype=int32))
    """

    def __init__(
        self,
        family: HashFamily,
        *,
        capacity: int = 64,
        wide_ids: bool = False,
        seed: int = 0,
        comm: Any = None,
    ) -> None:
        self.comm: Communicator = communicator(comm)
        with self.comm.agree():
            local = LSHIndex(family, capacity=capacity, wide_ids=wide_ids, seed=seed)
        self._adopt(local, 0)

    def _adopt(self, local: LSHIndex, n_rows: int) -> None:
        check_configurations(self.comm.allgather(("LSHIndex", local.config())))
        self.local = local
        self.n_rows = n_rows

    @property
    def family(self) -> HashFamily:
        """The hash family."""
        return self.local.family

    @property
    def nbytes(self) -> int:
        """Bytes of this rank's tables; known from the configuration."""
        return self.local.nbytes

    def __repr__(self) -> str:
        return f"<DistributedIndex over {self.comm.size} ranks: {self.n_rows:,} rows, here {self.local!r}>"

    # -- updates ----------------------------------------------------------------------------------

    def add(self, X: RowsLike, ids: ArrayLike | None = None, *, first_id: int | None = None) -> Self:
        """Add rows, each rank its own.

        Parameters
        ----------
        X : n rows or None
            As ``family.hash`` takes them. None for no rows; ranks may have unequal numbers.
        ids : array_like of n integers, optional
            Different over all ranks. By default rows are numbered, those of rank 0 first: from `first_id`
            on, or else from the largest id on any rank plus one. So ranks that add consecutive parts of a
            table give its rows their places in it. On all ranks or none.
        first_id : int, optional
            Id of the first row of rank 0, the same on every rank. Give it, or `ids`, where indexes that are
            built apart will be merged.

        Returns
        -------
        The index itself.

        Raises
        ------
        DistributedError
            On every rank, if rows or ids of any are refused; nothing is added then. On one rank the
            exception itself: TypeError, ValueError or OverflowError.
        """
        index, comm = self.local, self.comm
        with comm.agree():
            codes = self._hash(X, index.family.hash)
            if first_id is not None:
                if ids is not None:
                    raise ValueError("ids and first_id cannot both be given")
                first_id = check_int("first_id", first_id, 0, index._largest_allowed_id)
            given = None if ids is None else index._check_ids(ids, len(codes))
            index._reserve("seen", len(codes))
            index._reserve("n_updates", len(codes))
        comm.check_same("first_id", first_id)
        largest = int(index._arrays["largest_id"][0])
        shares = comm.allgather((len(codes), given is not None, largest))
        self._check_given([(n, is_given) for n, is_given, _ in shares])
        n_new = sum(n for n, _, _ in shares)
        start = max(largest for _, _, largest in shares) + 1 if first_id is None else first_id
        first = start + sum(n for n, _, _ in shares[: comm.rank])
        # Rows of one rank alone can be numbered from 0: merging refuses others that are so too.
        by_default = given is None and first == 0 and first_id is None
        with comm.agree():
            if given is None:
                # Every rank refuses if the last id of all is too large.
                if start + n_new - 1 > index._largest_allowed_id:
                    raise ValueError(
                        f"ids must be at most {index._largest_allowed_id}, got {start + n_new - 1}"
                    )
                given = index._number(first, len(codes))
        with comm.agree():
            index._add_codes(codes, given, by_default=by_default)
        self.n_rows += n_new
        return self

    @staticmethod
    def _check_given(shares: list[tuple[int, bool]]) -> None:
        # A rank without rows has no ids to give.
        givers = [rank for rank, (n, given) in enumerate(shares) if n and given]
        others = [rank for rank, (n, given) in enumerate(shares) if n and not given]
        if givers and others:
            raise DistributedError(
                f"ids must be given on all ranks or on none, got some on rank {givers[0]} and none on "
                f"rank {others[0]}"
            )

    def _hash(self, X: Any, hash_rows: Any) -> NDArray[np.uint32]:
        self.local._settle("rows", X)
        xp = self.local._backend.xp
        return xp.empty((0, self.family.n_hashes), np.uint32) if X is None else hash_rows(X)

    # -- queries ----------------------------------------------------------------------------------

    def query(self, Q: RowsLike, k: int = 10, *, aggregation: str = "exact") -> Neighbours:
        """The k rows, of all ranks', that share most buckets with each query.

        Parameters
        ----------
        Q : n queries or None
            This rank's own queries, as ``family.hash_query`` takes them. None for none: a program whose
            queries are all on rank 0 passes None on the others. Equal shares are quickest.
        k : int
            At least 1, the same on every rank.
        aggregation : {"exact", "sketch"}
            "exact" merges the ranks' lists of the k best. "sketch" merges cells of an id and a majority
            counter, as the paper has it: it may miss neighbours, counts are lower bounds, and answers
            depend on the order in which rows were added.

        Returns
        -------
        Neighbours
            ``(ids, counts)``, both of shape (n, k): the answers to this rank's queries. The most
            frequent first, equal ones by rising id; -1 and 0 where there are fewer than k.

        Raises
        ------
        DistributedError
            On every rank, if an argument of any is refused or they differ in `k` or `aggregation`. On
            one rank the exception itself: TypeError or ValueError.

        Notes
        -----
        Queries are answered in rounds, so that candidates take at most 64 MiB a rank. A query's
        candidates take ``6 k`` bytes of message (more where ids or counts are wide), or as a sketch 64 KiB
        (more for k above 128), and cross p - 1 edges between p ranks.
        """
        comm = self.comm
        with comm.agree():
            k = check_int("k", k, 1, 1 << 31)
            check_choice("aggregation", aggregation, AGGREGATIONS)
            codes = self._hash(Q, self.family.hash_query)
            if aggregation == "sketch" and self.local.device == "gpu":
                raise NotImplementedError('aggregation="sketch" has no GPU kernels; take "exact"')
            xp, codes = self.local._backend.xp, to_host(codes)
        comm.check_same("k and aggregation", (k, aggregation))
        n_queries = np.array(comm.allgather(len(codes)), dtype=np.int64)
        way = AGGREGATIONS[aggregation](self.local, k)
        share = max(1, ROUND_BYTES // comm.size // way.bytes_per_query())
        answers = []
        for start in range(0, max(1, int(n_queries.max())), share):
            every = comm.allgather_rows(codes[start : start + share])
            answers.append(aggregate(way, every, np.clip(n_queries - start, 0, share).tolist(), comm))
        with comm.agree():
            columns = zip(*answers, strict=True)
            return Neighbours(*(xp.asarray(c[0] if len(c) == 1 else np.concatenate(c)) for c in columns))

    # -- storage ----------------------------------------------------------------------------------

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the index into a folder that all ranks share: one file a rank, and a list of them.

        The list is written last and atomically: readers see the old index or the whole new one.

        Parameters
        ----------
        folder : path

        Raises
        ------
        DistributedError
            On every rank, if one cannot write; on one rank OSError. The folder then holds what it held.
        """
        from .storage import save

        with self.comm.agree():
            path = os.fspath(folder)
        save(self.local, self.n_rows, path, self.comm)

    @classmethod
    def load(cls, folder: str | PathLike[str], comm: Any = None) -> Self:
        """Read an index that any number of ranks has written.

        On fewer ranks parts are merged, each rank's its consecutive share of them; on more, some hold
        no rows. Rows are not spread anew.

        Parameters
        ----------
        folder : path
        comm : communicator, optional
            As for the class.

        Returns
        -------
        DistributedIndex

        Raises
        ------
        DistributedError
            On every rank, if one cannot read its part; on one rank SketchFormatError or OSError.
        """
        from .storage import load

        index = object.__new__(cls)
        index.comm = communicator(comm)
        with index.comm.agree():
            path = os.fspath(folder)
        index._adopt(*load(path, index.comm))
        return index
