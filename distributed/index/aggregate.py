"""Merge the candidates that all ranks find for a query into one answer, along binary trees.

All ranks find candidates for the queries of all ranks. The candidates of a query go up a binary tree of the
ranks, in ceil(log2(size)) rounds, to the rank that asked. The trees of the ranks are one tree with shifted
ranks. So in every round each rank sends to one other rank and receives from one, and all ranks do equal work.
A list of candidates crosses size - 1 edges, which is the number of edges of a tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..ranks.buffers import row_bytes
from ..ranks.comm import Communicator
from .candidates import Candidates

__all__ = ["aggregate", "answer_in_rounds", "tree_rounds"]


class _Round(NamedTuple):
    """A rank's part in a round: two other ranks, and the owners of the queries that it sends and gets."""

    destination: int
    sent: list[int]
    source: int
    received: list[int]


def tree_rounds(rank: int, size: int) -> Iterator[_Round]:
    """Yield the rounds of `rank` in the trees of all owners of queries.

    The tree of the owner o is a tree in which rank r has the place (r - o) mod size.
    """
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
    candidates: Candidates, asked: NDArray[Any], n_queries: Sequence[int], comm: Communicator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the answers to this rank's queries, given all ranks' queries in the order of ranks.

    Parameters
    ----------
    candidates : Candidates
    asked : ndarray of shape (sum of n_queries, m)
        The queries in the form that `candidates` takes, the same on every rank.
    n_queries : sequence of int
        The number of queries of each rank.
    """
    ends = np.cumsum(n_queries).tolist()
    spans = [slice(end - n, end) for end, n in zip(ends, n_queries, strict=True)]
    with comm.agree():
        found = candidates.find(asked)
    received: list[slice] = []
    incoming: list[NDArray[Any]] = []
    for step in tree_rounds(comm.rank, comm.size):
        with comm.agree():
            # The candidates of the round before are merged here, so that a failure stops every rank.
            _merge_received(candidates, found, received, incoming)
            outgoing = [np.concatenate([a[:0], *(a[spans[o]] for o in step.sent)]) for a in found]
            received = [spans[owner] for owner in step.received]
            n = sum(n_queries[owner] for owner in step.received)
            incoming = [np.empty((n, *a.shape[1:]), a.dtype) for a in found]
        for leaving, arriving in zip(outgoing, incoming, strict=True):
            comm.send_receive(leaving, step.destination, arriving, step.source)
    with comm.agree():
        _merge_received(candidates, found, received, incoming)
        return candidates.answer([a[spans[comm.rank]] for a in found])


def _merge_received(
    candidates: Candidates,
    found: Sequence[NDArray[Any]],
    spans: list[slice],
    incoming: Sequence[NDArray[Any]],
) -> None:
    """Merge the received candidates, which lie one span of queries after another, into those found here."""
    start = 0
    for span in spans:
        stop = start + span.stop - span.start
        candidates.merge([a[span] for a in found], [a[start:stop] for a in incoming])
        start = stop


def answer_in_rounds(
    candidates: Candidates, asked: NDArray[Any], round_bytes: int, comm: Communicator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the answers to this rank's queries, in rounds of about `round_bytes` a rank."""
    n_queries = np.array(comm.allgather(len(asked)), dtype=np.int64)
    share = max(1, round_bytes // comm.size // (candidates.bytes_per_query() + row_bytes(asked)))
    answers = []
    for start in range(0, max(1, int(n_queries.max())), share):
        every = comm.allgather_rows(asked[start : start + share])
        answers.append(aggregate(candidates, every, np.clip(n_queries - start, 0, share).tolist(), comm))
    with comm.agree():
        first, second = zip(*answers, strict=True)
        return (first[0], second[0]) if len(first) == 1 else (np.concatenate(first), np.concatenate(second))
