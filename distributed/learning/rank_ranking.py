"""Scores and best labels of rows, of which each rank computes those of its labels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...sketches.learned.slide_batches import SparseRows, take_batch
from ...sketches.learned.slide_ranking import all_scores
from ...sketches.learned.slide_search import rank_hidden
from ...sketches.learned.slide_tables import LabelTables
from ..ranks.comm import Communicator
from .rank_network import RankNetwork
from .rank_rows import gather_rows, no_targets
from .swapping import swap

__all__ = ["Ranked", "rank_rows", "score_rows"]

#: Rows of all ranks whose activations are computed together.
_ROWS_BLOCK = 1 << 12


class Ranked(NamedTuple):
    """The best labels of a rank's rows among those of all ranks.

    Attributes
    ----------
    labels : ndarray of shape (n, k), int64
        The best first, of equal scores the smallest first.
    scores : ndarray of shape (n, k), float32
    sizes : ndarray of shape (n,), int64
        Number of labels that were found, at most k; later ones are not valid.
    totals : ndarray of shape (n,), float64
        Logarithms of the sums of the exponentials of the scores of all labels that were taken in.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    sizes: NDArray[np.int64]
    totals: NDArray[np.float64]


def rank_rows(
    network: RankNetwork, rows: SparseRows, k: int, tables: list[LabelTables] | None, *, sums: bool
) -> Ranked:
    """Return the k best labels of this rank's rows: among all labels, or those that the tables find.

    Parameters
    ----------
    network : RankNetwork
    rows : SparseRows
        Those of this rank.
    k : int
    tables : list of LabelTables, or None
        The tables of this rank's ranges, or None to take in all labels.
    sums : bool
        Whether totals are needed.
    """
    comm, found = network.comm, [_nothing(k)]
    for counts, own_bounds, hidden in _rounds(network, rows):
        with comm.agree():
            ranking = rank_hidden(network, hidden, k, tables, sums=sums)
            labels, scores = ranking.best()
            words = np.hstack([ranking.sizes[:, None], labels, scores.view(np.int32)], dtype=np.int32)
            totals = ranking.totals if sums else np.empty(0)
        n = own_bounds[1] - own_bounds[0]
        every = _to_owners(comm, words, counts, [2 * k + 1] * comm.size)
        totals_of_ranks = _to_owners(comm, totals[:, None], counts, [1] * comm.size) if sums else []
        with comm.agree():
            all_totals = np.logaddexp.reduce(totals_of_ranks, axis=0)[:, 0] if sums else np.zeros(n)
            found.append(_merged(every, k)._replace(totals=all_totals))
    with comm.agree():
        return Ranked(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def score_rows(network: RankNetwork, rows: SparseRows) -> NDArray[np.float32]:
    """Return the scores of all labels for this rank's rows, shape (n, labels)."""
    comm, settings = network.comm, network.settings
    bounds = settings.ranges()
    edges = [bounds[i][0] if i < len(bounds) else settings.n_labels for i in network.shares]
    widths = [b - a for a, b in pairwise(edges)]
    found = [np.empty((0, settings.n_labels), np.float32)]
    for counts, _, hidden in _rounds(network, rows):
        with comm.agree():
            none = np.empty((len(hidden), 0), np.float32)
            scores = np.hstack([none, *(all_scores(hidden, part.layer) for part in network.ranges)])
        every = _to_owners(comm, scores, counts, widths)
        with comm.agree():
            found.append(np.hstack(every))
    with comm.agree():
        return np.concatenate(found)


def _rounds(
    network: RankNetwork, rows: SparseRows
) -> Iterator[tuple[list[int], tuple[int, int], NDArray[np.float32]]]:
    """Yield the rows of all ranks in blocks: the number of each rank's, this rank's, and the activations."""
    comm = network.comm
    every = comm.allgather(rows.n)
    step = max(1, _ROWS_BLOCK // comm.size)
    for start in range(0, max(every), step):
        counts = [min(max(n - start, 0), step) for n in every]
        own = min(start, rows.n), min(start, rows.n) + counts[comm.rank]
        with comm.agree():
            batch = take_batch(rows, no_targets(rows.n), np.arange(*own))
        yield counts, own, network.activate(gather_rows(comm, batch, counts).rows)


def _to_owners(
    comm: Communicator,
    rows: NDArray[Any],
    counts: list[int],
    widths: list[int],
) -> list[NDArray[Any]]:
    """Send rows to the ranks that asked, and return what each rank has sent for this rank's rows."""
    with comm.agree():
        rows = np.ascontiguousarray(rows)
        bounds = np.cumsum([0, *counts]).tolist()
        outgoing = [rows[a:b] for a, b in pairwise(bounds)]
        incoming = [np.empty((counts[comm.rank], width), rows.dtype) for width in widths]
    swap(comm, outgoing, incoming)
    return incoming


def _merged(every: list[NDArray[np.int32]], k: int) -> Ranked:
    """Merge the lists of ranks: each row has the number of its labels, the labels, and their scores."""
    labels = np.hstack([words[:, 1 : k + 1] for words in every]).astype(np.int64)
    scores = np.hstack([words[:, k + 1 :].view(np.float32) for words in every])
    is_valid = np.hstack([np.arange(k) < words[:, :1] for words in every])
    order = np.lexsort((labels, np.where(is_valid, -scores, np.inf), ~is_valid), axis=-1)[:, :k]
    sizes = np.minimum(is_valid.sum(axis=1), k)
    return Ranked(
        np.take_along_axis(labels, order, 1), np.take_along_axis(scores, order, 1), sizes, np.empty(0)
    )


def _nothing(k: int) -> Ranked:
    return Ranked(
        np.empty((0, k), np.int64), np.empty((0, k), np.float32), np.empty(0, np.int64), np.empty(0)
    )
