"""The LSH index over many ranks, as in SLASH (Deng, Meisburger, Engels, Coleman and Shrivastava)."""

from __future__ import annotations

import os
from os import PathLike
from typing import Any, Self

from numpy.typing import ArrayLike

from ...errors import DistributedError
from ...lsh.family import HashFamily, family_from_config, with_known_widths
from ...lsh.support.aliases import alias
from ...lsh.support.backend import backend_named, to_host
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ...lsh.support.wording import counted
from ...sketches.neighbours.code_ranking import has_ids
from ...sketches.neighbours.index import LSHIndex, Nearest, Neighbours
from ...sketches.neighbours.vector_codes import VectorCodes
from ..ranks.comm import Communicator, communicator
from ..ranks.merge import check_configurations
from .aggregate import answer_in_rounds
from .candidates import AGGREGATIONS
from .changes_over_ranks import ChangesOverRanks
from .search_over_ranks import check_codes, check_codes_of_ranks, nearest_over_ranks, read_queries

__all__ = ["DistributedIndex"]

#: Bytes of candidates that a rank has in memory at a time while it answers queries.
ROUND_BYTES = 64 << 20


class DistributedIndex(ChangesOverRanks):
    """Find approximate nearest neighbours (ANN) among rows that are spread over MPI ranks.

    Every method is collective: all ranks call it. Without MPI, or on one rank, the class works as an
    `LSHIndex` does, and mpi4py is not needed.

    Parameters
    ----------
    family : HashFamily
    capacity : int
        The number of ids that a bucket has room for, on each rank.
    wide_ids : bool
        True if ids may exceed 2**32 - 2.
    seed : int
        The seed of the buckets' priorities.
    comm : mpi4py communicator or Communicator, optional
        All ranks if MPI started this process, and this process alone otherwise.

    Attributes
    ----------
    local : LSHIndex
        The index of this rank's rows. ``merge_over_ranks(index.local.copy())`` is the index of all rows.
    comm : Communicator
        The ranks. Its `bytes_sent` includes what queries have sent.
    n_rows : int
        The number of rows added on all ranks.

    Raises
    ------
    TypeError, ValueError
        If an argument is refused; with several ranks DistributedError, on all of them.
    IncompatibleSketchError
        On every rank, if their arguments differ.

    Notes
    -----
    Each rank has all tables, with its own rows in them. The codes of a batch of queries are gathered on
    every rank (``4 L`` bytes a query for L tables). Each rank counts collisions in its own buckets. The
    candidates of a query go up a binary tree to the rank that asked, in ceil(log2(p)) rounds for p ranks.

    A row is on one rank, so its count is complete there, and merging the ranks' k best rows is exact
    (``aggregation="exact"``). These lists are also smaller than the cells of an id and a majority counter
    that the paper merges (``aggregation="sketch"``). The cells are there for comparison and are approximate.

    **Answers do not depend on the number of ranks**, or on the rank that has a row, as long as no bucket
    overflows (``index.local.overflow == 0`` on every rank) and no id is given twice. A bucket that overflows
    on one rank would have twice the room on two ranks. So with more ranks, queries find all rows that fewer
    ranks would have kept, and further rows. Merging gives exactly the index of fewer ranks.

    The memory of a rank is that of one `LSHIndex`, for any number of rows.

    A rank's tables lie where its first rows do, in main memory or on its GPU, and so do the answers. Codes
    and candidates travel through main memory. On GPUs the aggregation is "exact".

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
    >>> index = index.update(X[ours], ids=ours)
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
        self._take_index(local, 0)

    def _take_index(self, local: LSHIndex, n_rows: int) -> None:
        check_configurations(self.comm.allgather(("LSHIndex", local.config())))
        self.local = local
        self.n_rows = n_rows

    @property
    def family(self) -> HashFamily:
        """The hash family."""
        return self.local.family

    @property
    def nbytes(self) -> int:
        """The bytes of this rank's tables, which depend on the configuration alone."""
        return self.local.nbytes

    def __repr__(self) -> str:
        ranks, rows = counted(self.comm.size, "rank"), counted(self.n_rows, "row")
        return f"<DistributedIndex over {ranks}: {rows}, here {self.local!r}>"

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike, ids: ArrayLike | None = None, *, first_id: int | None = None) -> Self:
        """Add rows; each rank adds its own.

        Parameters
        ----------
        X : n rows or None
            Rows in the form that ``family.hash`` takes, or None for no rows. Ranks may have unequal numbers.
        ids : array_like of n integers, optional
            Ids that are different over all ranks. Give them on all ranks or on none. By default rows are
            numbered, those of rank 0 first, from `first_id` on, or from the largest id on any rank plus one.
            So if ranks add consecutive parts of a table, the id of a row is its place in the table.
        first_id : int, optional
            The id of the first row of rank 0, the same on every rank. Give it, or `ids`, if indexes that are
            built apart will be merged.

        Returns
        -------
        DistributedIndex
            The index itself.

        Raises
        ------
        DistributedError
            On every rank, if rows or ids of any rank are refused; nothing is added then. With one rank the
            exception itself: TypeError, ValueError or OverflowError.
        """
        index, comm = self.local, self.comm
        with comm.agree():
            family = index.family if X is None else index.family.for_rows(X)
            codes = index.hash_rows(X)
            if first_id is not None:
                if ids is not None:
                    raise ValueError("ids and first_id cannot both be given")
                first_id = check_int("first_id", first_id, 0, index.largest_allowed_id)
            given = None if ids is None else index.check_ids(ids, len(codes))
            index.reserve_rows(len(codes))
        comm.check_same("first_id", first_id)
        if not index.family.is_fixed:
            family = self._agree_on_family(family)
        largest = index.largest_id
        shares = comm.allgather((len(codes), given is not None, largest))
        self._check_given([(n, is_given) for n, is_given, _ in shares])
        n_new = sum(n for n, _, _ in shares)
        start = max(largest for _, _, largest in shares) + 1 if first_id is None else first_id
        first = start + sum(n for n, _, _ in shares[: comm.rank])
        # Only the rows of one rank can be numbered from 0. Merging refuses other indexes with such rows.
        is_numbered = not any(is_given for _, is_given, _ in shares) and first_id is None
        by_default = is_numbered and first == 0
        with comm.agree():
            if given is None:
                # Every rank raises the error if the last id of all is too large.
                if start + n_new - 1 > index.largest_allowed_id:
                    raise ValueError(
                        f"ids must be at most {index.largest_allowed_id}, got {start + n_new - 1}"
                    )
                given = index.number_rows(first, len(codes))
        if not is_numbered:
            self._check_new_ids(given)
        with comm.agree():
            index.add_codes(codes, given, by_default=by_default, is_numbered=is_numbered and not by_default)
        vars(index)["family"] = family
        self.n_rows += n_new
        return self

    add = alias(update)

    def _agree_on_family(self, family: HashFamily) -> HashFamily:
        """Return the family with the number of features that the rows of all ranks have."""
        config = {"family": family.config()}
        configs = with_known_widths(self.comm.allgather(config))
        check_configurations([("LSHIndex", config) for config in configs])
        return family if configs[self.comm.rank] == config else family_from_config(configs[0]["family"])

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

    # -- queries ----------------------------------------------------------------------------------

    def query(self, Q: RowsLike, k: int = 10, *, aggregation: str = "exact") -> Neighbours:
        """Return the k rows on all ranks that share the most buckets with each query.

        Parameters
        ----------
        Q : n queries or None
            This rank's queries in the form that ``family.hash_query`` takes, or None for no queries. If
            rank 0 has all queries, the other ranks pass None. Equal shares are fastest.
        k : int
            The number of rows, at least 1, the same on every rank.
        aggregation : {"exact", "sketch"}
            "exact" merges the ranks' lists of the k best rows. "sketch" merges cells of an id and a majority
            counter, as in the paper: it may miss neighbours, its counts are lower bounds, and answers depend
            on the order in which rows were added.

        Returns
        -------
        Neighbours
            ``(ids, counts)``, both of shape (n, k): the answers to this rank's queries. The most frequent
            rows come first, and rows of equal counts by rising id. If there are fewer than k, -1 and 0 fill
            the rest.

        Raises
        ------
        DistributedError
            On every rank, if an argument of any rank is refused or ranks differ in `k` or `aggregation`.
            With one rank the exception itself: TypeError or ValueError.
        NotImplementedError
            For ``aggregation="sketch"`` on a GPU.

        Notes
        -----
        Queries are answered in rounds, so that candidates take at most 64 MiB a rank. A query's candidates
        take ``6 k`` bytes of message (more for wide ids or counts), or 64 KiB as a sketch (more for k above
        128). They cross p - 1 edges between p ranks.
        """
        comm = self.comm
        with comm.agree():
            k = check_int("k", k, 1, 1 << 31)
            check_choice("aggregation", aggregation, AGGREGATIONS)
            codes = self.local.hash_queries(Q)
            if aggregation == "sketch" and self.local.device == "gpu":
                raise NotImplementedError('aggregation="sketch" has no GPU kernels; take "exact"')
            xp, codes = backend_named(self.local.device).xp, to_host(codes)
        comm.check_same("k and aggregation", (k, aggregation))
        found = answer_in_rounds(AGGREGATIONS[aggregation](self.local, k), codes, ROUND_BYTES, comm)
        with comm.agree():
            return Neighbours(*map(xp.asarray, found))

    def search(
        self,
        Q: RowsLike,
        codes: VectorCodes,
        k: int = 10,
        *,
        n_candidates: int | None = None,
        n_probes: int = 1,
    ) -> Nearest:
        """Return the k nearest of the rows on all ranks that share a bucket with each query, by their codes.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n, n_features), or None
            This rank's queries, or None for no queries.
        codes : VectorCodes
            The codes of this rank's rows, which were given the ids that they have in the index, of the same
            parameters and centre on every rank.
        k : int
            At least 1, the same on every rank.
        n_candidates, n_probes
            As in `LSHIndex.search`, the same on every rank. `n_candidates` is the number that each rank
            compares.

        Returns
        -------
        Nearest
            ``(ids, distances)``, both of shape (n, k): the answers to this rank's queries, in the form of
            `LSHIndex.search` with codes.

        Raises
        ------
        DistributedError
            On every rank, if an argument of any rank is refused, or ranks differ in `k`, `n_candidates` or
            `n_probes`. With one rank the exception itself: TypeError or ValueError.
        IncompatibleSketchError
            On every rank, if their codes have different parameters or centres.
        NotImplementedError
            If the index or the queries lie on a GPU.

        Notes
        -----
        As those of `query`, answers do not depend on the number of ranks, if `n_candidates` is None. With
        `n_candidates`, more ranks compare more candidates, so that they find no fewer neighbours. Queries are
        gathered on every rank (``8 n_features`` bytes a query), and lists of ``16 k`` bytes are merged.
        """
        comm, local = self.comm, self.local
        how: dict[str, Any] = {"n_candidates": n_candidates, "n_probes": n_probes}
        with comm.agree():
            k = check_int("k", k, 1, 1 << 31)
            check_codes(codes)
            if local.device == "gpu":
                raise NotImplementedError('ranking by codes has no GPU kernels; move the index by .to("cpu")')
            if comm.size > 1 and len(codes) and not has_ids(codes):
                raise ValueError("codes must have the ids of the index: codes.update(X, ids)")
            asked = read_queries(Q, codes)
            # A search for no queries refuses what another would refuse.
            in_units = local.rank_candidates(asked[:0], codes, k, **how)[2].in_units
        comm.check_same("k, n_candidates and n_probes", (k, n_candidates, n_probes))
        check_codes_of_ranks(codes, comm)
        ids, keys = nearest_over_ranks(
            lambda every: local.rank_candidates(every, codes, k, **how)[:2], asked, k, comm
        )
        return Nearest(ids, in_units(keys))

    # -- storage ----------------------------------------------------------------------------------

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the index into a folder that all ranks share: one file a rank, and a list of the files.

        The list is written last and atomically, so readers see either the old index or the new one.

        Parameters
        ----------
        folder : path

        Raises
        ------
        DistributedError
            On every rank, if one rank cannot write; the folder then keeps the old index. With one rank
            OSError.
        """
        from .storage import save

        with self.comm.agree():
            path = os.fspath(folder)
        save(self.local, self.n_rows, path, self.comm)

    @classmethod
    def load(cls, folder: str | PathLike[str], comm: Any = None) -> Self:
        """Read an index that any number of ranks has written.

        On fewer ranks, each rank merges a consecutive share of the parts. On more ranks, some have no rows.
        Rows do not move between parts.

        Parameters
        ----------
        folder : path
        comm : communicator, optional
            The ranks, as for the class.

        Returns
        -------
        DistributedIndex

        Raises
        ------
        DistributedError
            On every rank, if one rank cannot read its part. With one rank SketchFormatError or OSError.
        """
        from .storage import load

        index = cls.__new__(cls)
        index.comm = communicator(comm)
        with index.comm.agree():
            path = os.fspath(folder)
        index._take_index(*load(path, index.comm))
        return index


publish("mergesketch.distributed", __all__, globals())
