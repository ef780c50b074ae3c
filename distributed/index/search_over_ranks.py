"""Exact search among vector codes that are spread over ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DistributedError, IncompatibleSketchError
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int
from ...lsh.support.types import RowsLike
from ...sketches.neighbours.code_ranking import has_ids
from ...sketches.neighbours.index import Nearest
from ...sketches.neighbours.vector_codes import VectorCodes
from ..ranks.comm import Communicator, communicator
from ..ranks.merge import check_configurations
from .aggregate import answer_in_rounds
from .candidates import NearestLists

__all__ = ["check_codes", "check_codes_of_ranks", "nearest_over_ranks", "read_queries", "search_over_ranks"]

#: Bytes of queries and their answers that a rank has in memory at a time.
ROUND_BYTES = 64 << 20


def search_over_ranks(
    codes: VectorCodes,
    Q: RowsLike,
    k: int = 10,
    *,
    metric: str = "inner_product",
    query_bits: int = 8,
    comm: Any = None,
) -> Nearest:
    """Return the k rows with the best estimates for each query, among the codes of all MPI ranks.

    The call is collective: all ranks make it. Without MPI, or on one rank, it is ``codes.search``, and mpi4py
    is not needed.

    Parameters
    ----------
    codes : VectorCodes
        The codes of this rank's rows, of the same parameters and centre on every rank. Ids are distinct over
        all ranks. Where rows have no ids, they are numbered over the ranks, those of rank 0 first.
    Q : array_like or sparse matrix of shape (n_queries, n_features), or None
        This rank's queries, or None for no queries. If rank 0 has all queries, the other ranks pass None.
    k : int
        At least 1, the same on every rank.
    metric, query_bits
        As in `VectorCodes.search`, the same on every rank.
    comm : mpi4py communicator or Communicator, optional
        All ranks if MPI started this process, and this process alone otherwise.

    Returns
    -------
    Nearest
        ``(ids, distances)``, both of shape (n_queries, k): the answers to this rank's queries, in the form
        of `VectorCodes.search`.

    Raises
    ------
    DistributedError
        On every rank, if an argument of any rank is refused, if ranks differ in `k`, `metric` or
        `query_bits`, or if some ranks have rows with ids and others rows without. With one rank the exception
        itself: TypeError or ValueError.
    IncompatibleSketchError
        On every rank, if their codes have different parameters or centres.

    Notes
    -----
    Answers do not depend on the number of ranks or on the rank that has a row: a row's estimate is the same
    everywhere, and the lists of the k best are merged exactly, at equal estimates by rising id. Each rank
    scans its own rows for the queries of all ranks. Queries are gathered on every rank (``8 n_features``
    bytes a query), and lists of ``16 k`` bytes go up a binary tree to the rank that asked.

    Examples
    --------
    Under ``mpiexec -n 4`` each rank has a share of the rows, and rank 0 asks:

    >>> import numpy as np, mergesketch
    >>> from mergesketch.distributed import communicator, search_over_ranks
    >>> comm = communicator()
    >>> X = np.random.default_rng(0).standard_normal((1000, 64))
    >>> ours = np.array_split(X, comm.size)[comm.rank]
    >>> codes = mergesketch.VectorCodes(n_features=64, bits=4, seed=1).update(ours)
    >>> found = search_over_ranks(codes, X[:2] if comm.rank == 0 else None, k=1, metric="cosine")
    >>> found.ids.tolist() == ([[0], [1]] if comm.rank == 0 else [])
    True
    """
    comm = communicator(comm)
    how: dict[str, Any] = {"metric": metric, "query_bits": query_bits}
    with comm.agree():
        k = check_int("k", k, 1, 1 << 31)
        check_codes(codes)
        asked = read_queries(Q, codes)
        # A search for no queries refuses what another would refuse.
        codes.search(asked[:0], k, **how)
    comm.check_same("k, metric and query_bits", (k, metric, query_bits))
    check_codes_of_ranks(codes, comm)
    parts = comm.allgather((len(codes), has_ids(codes)))
    with_ids = {given for n, given in parts if n}
    if len(with_ids) > 1:
        raise DistributedError("codes must have ids on all ranks or on none, got both")
    first = 0 if True in with_ids else sum(n for n, _ in parts[: comm.rank])
    sign = 1.0 if metric == "sqeuclidean" else -1.0

    def search(every: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        ids, estimates = codes.search(every, k, **how)
        return np.where(ids >= 0, ids + first, ids), sign * estimates

    ids, keys = nearest_over_ranks(search, asked, k, comm)
    return Nearest(ids, keys if sign > 0.0 else 0.0 - keys)


def check_codes(codes: object) -> None:
    """Raise TypeError if they are no VectorCodes."""
    if not isinstance(codes, VectorCodes):
        raise TypeError(f"codes must be VectorCodes, got {type(codes).__name__}")


def read_queries(Q: Any, codes: VectorCodes) -> NDArray[np.float64]:
    """Return queries as a matrix, and no rows for None; refuse arrays of another width or on a GPU."""
    refuse_gpu("VectorCodes", Q)
    if Q is None:
        return np.empty((0, codes.n_features))
    return np.ascontiguousarray(read_rows(Q, codes.n_features, "Q").dense, np.float64)


def check_codes_of_ranks(codes: VectorCodes, comm: Communicator) -> None:
    """Raise IncompatibleSketchError on every rank if the codes of ranks do not merge."""
    check_configurations(comm.allgather(("VectorCodes", codes.config())))
    centers = comm.allgather(codes.center)
    if not all(np.array_equal(center, centers[0]) for center in centers):
        raise IncompatibleSketchError("VectorCodes differ in center")


def nearest_over_ranks(
    search: Callable[[NDArray[np.float64]], tuple[NDArray[Any], NDArray[Any]]],
    asked: NDArray[np.float64],
    k: int,
    comm: Communicator,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the ids and keys of the k best on all ranks; ``search(Q)`` returns those of this rank."""
    return answer_in_rounds(NearestLists(search, k), asked, ROUND_BYTES, comm)
