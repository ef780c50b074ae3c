"""The best labels of rows among those of all ranges of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.threads import cut_range
from .slide_batches import SparseRows, cut_rows
from .slide_network import MOST_OF_BUCKET, LabelRange, SlideNetwork
from .slide_ranking import Ranking
from .slide_tables import LabelTables

__all__ = ["fresh_tables", "rank_hidden", "search_rows"]

#: Rows whose activations are computed together.
_ROWS_BLOCK = 1 << 12


def fresh_tables(ranges: Sequence[LabelRange]) -> list[LabelTables]:
    """Return tables of the weights of ranges as they are now; those for training may be older."""
    tables = []
    for part in ranges:
        if part.tables is None:
            raise ValueError(
                'search must be "exact" for a model that was trained without tables, got "tables"'
            )
        tables.append(LabelTables(part.tables.family))
        tables[-1].rebuild(part.layer.weights)
    return tables


def rank_hidden(
    network: SlideNetwork,
    hidden: NDArray[np.float32],
    k: int,
    tables: Sequence[LabelTables] | None,
    *,
    sums: bool,
) -> Ranking:
    """Return the k best labels of a network's ranges for some activations.

    Parameters
    ----------
    network : SlideNetwork
    hidden : ndarray of shape (n, padded width), float32
    k : int
    tables : sequence of LabelTables, or None
        The tables of the ranges, which find the labels to compare. None compares all labels.
    sums : bool
        Whether the sums of exponentials are needed.
    """
    ranking = Ranking(hidden, k)
    for i, part in enumerate(network.ranges):
        if tables is None:
            ranking.add_all(part.layer, part.first, sums=sums)
        else:
            ranking.add_found(part.layer, part.first, tables[i], MOST_OF_BUCKET)
    return ranking


def search_rows(
    network: SlideNetwork,
    rows: SparseRows,
    k: int,
    tables: Sequence[LabelTables] | None,
    *,
    probabilities: bool,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the k best labels of rows and their probabilities, if these are asked for.

    Rows for which the tables find fewer than k labels are compared with all labels.
    """
    best = np.empty((rows.n, k), np.int64)
    chances = np.empty((rows.n if probabilities else 0, k))
    for a, b in cut_range(0, rows.n, _ROWS_BLOCK):
        hidden = network.hidden.activate(cut_rows(rows, a, b))
        found = rank_hidden(network, hidden, k, tables, sums=probabilities)
        best[a:b], scores = found.best()
        if probabilities:
            chances[a:b] = found.probabilities(scores)
        few = np.flatnonzero(found.sizes < k)
        if few.size:
            exact = rank_hidden(network, hidden[few], k, None, sums=probabilities)
            best[a + few], scores = exact.best()
            if probabilities:
                chances[a + few] = exact.probabilities(scores)
    return best, chances
