"""The best labels of rows: exact, in blocks of labels, or from the tables."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.kernels.multiply import PANEL, ROWS, make_panels, multiply_panels
from ...lsh.support.threads import cut_range, map_blocks
from ..kernels import slide_ranking, slide_sampling
from .slide_layers import OutputLayer
from .slide_tables import LabelTables

__all__ = ["Ranking", "all_scores"]

#: Labels and rows that are multiplied together: their products stay in the caches.
_LABELS, _ROWS = 1 << 11, 96
#: Rows that are worth a thread of their own.
_ROWS_BLOCK = 16
_NO_LABELS = np.empty(0, np.int32)


class _Block(NamedTuple):
    """Some labels: the first one, their weights in panels, and their biases with moments."""

    low: int
    panels: NDArray[np.float32]
    biases: NDArray[np.float32]


class Ranking:
    """The best k labels of rows so far, and the sums that their probabilities need.

    Parameters
    ----------
    hidden : ndarray of shape (n, padded width), float32
        Activations.
    k : int
    """

    def __init__(self, hidden: NDArray[np.float32], k: int) -> None:
        n = len(hidden)
        self._hidden = hidden
        self._labels, self._keys = np.zeros((n, k), np.int64), np.full((n, k), np.inf, np.float32)
        self.sizes = np.zeros(n, np.int64)
        self._maxima, self._sums = np.full(n, -np.inf), np.zeros(n)

    def add_all(self, layer: OutputLayer, first: int, *, sums: bool) -> None:
        """Take in all labels of a layer, the first of which has the number `first`.

        With `sums` the exponentials of all scores are added up, which takes most of the time.
        """
        hidden, n = _padded_rows(self._hidden, layer), len(self._hidden)
        for block in _blocks(layer):
            map_blocks(partial(self._add_block, hidden, block, first, sums), n, _ROWS_BLOCK)

    def _add_block(
        self, hidden: NDArray[np.float32], block: _Block, first: int, sums: bool, start: int, stop: int
    ) -> None:
        """Take in a block of labels for the rows [start, stop)."""
        number, biases = first + block.low, block.biases
        for a, b in cut_range(start, stop, _ROWS):
            values = _products(hidden, block.panels, a, b)
            slide_ranking.rank_block(values, biases, number, a, b, self._labels, self._keys, self.sizes)
            if sums:
                slide_ranking.add_exponentials(values, biases, a, b, self._maxima, self._sums)

    def add_found(self, layer: OutputLayer, first: int, tables: LabelTables, most: int) -> None:
        """Take in the labels that the tables have in the buckets of each row, at most `most` of a bucket."""
        hidden, n, weights = self._hidden, len(self._hidden), layer.weights
        none, bounds = _NO_LABELS, np.zeros(n + 1, np.int64)
        room = min(weights.n_rows, tables.family.n_hashes * most)

        def rank(start: int, stop: int) -> None:
            for a, b in cut_range(start, stop, _ROWS):
                codes = tables.codes(np.ascontiguousarray(hidden[a:b, : weights.width]))
                active, counts = np.empty((b - a, room), np.int32), np.empty(b - a, np.int64)
                slide_sampling.choose_labels(
                    none, bounds[a : b + 1], none, codes, tables.starts, tables.labels, room, most,
                    np.uint64(0), 0, b - a, active, np.empty(b - a, np.int64), counts,
                )  # fmt: skip
                some = slice(a, b)
                slide_ranking.rank_candidates(
                    hidden[some], active, counts, weights.floats, weights.halves, layer.biases, first,
                    0, b - a, self._labels[some], self._keys[some], self.sizes[some],
                    self._maxima[some], self._sums[some],
                )  # fmt: skip

        map_blocks(rank, n, _ROWS_BLOCK)

    def best(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the labels of each row and their scores, the best first."""
        slide_ranking.sort_rows(0, len(self._labels), self._labels, self._keys, self.sizes)
        return self._labels, -self._keys

    def probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probabilities of scores that `best` has returned, among all labels taken in."""
        return np.asarray(np.exp(scores - self.totals[:, None]))

    @property
    def totals(self) -> NDArray[np.float64]:
        """The logarithms of the sums of the exponentials of each row's scores."""
        with np.errstate(divide="ignore"):
            return np.asarray(self._maxima + np.log(self._sums))


def all_scores(hidden: NDArray[np.float32], layer: OutputLayer) -> NDArray[np.float32]:
    """Return the scores of all labels of a layer, shape (n, labels)."""
    n = len(hidden)
    rows, out = _padded_rows(hidden, layer), np.empty((n, layer.weights.n_rows), np.float32)
    for block in _blocks(layer):
        map_blocks(partial(_score_block, rows, block, out), n, _ROWS_BLOCK)
    return out


def _score_block(
    rows: NDArray[np.float32], block: _Block, out: NDArray[np.float32], start: int, stop: int
) -> None:
    """Set the scores of a block of labels for the rows [start, stop)."""
    n = len(block.biases)
    for a, b in cut_range(start, stop, _ROWS):
        values = _products(rows, block.panels, a, b)
        np.add(values[: b - a, :n], block.biases[:, 0], out=out[a:b, block.low : block.low + n])


def _padded_rows(hidden: NDArray[np.float32], layer: OutputLayer) -> NDArray[np.float32]:
    """Return the rows without padding of their width, and with rows of zeros that products may read."""
    rows = np.zeros((len(hidden) + ROWS, layer.weights.width), np.float32)
    rows[: len(hidden)] = hidden[:, : layer.weights.width]
    return rows


def _blocks(layer: OutputLayer) -> Iterator[_Block]:
    """Yield the labels of a layer in blocks."""
    for low, high in cut_range(0, layer.weights.n_rows, _LABELS):
        yield _Block(low, make_panels(layer.weights.rows(low, high)), layer.biases[low:high])


def _products(
    rows: NDArray[np.float32], panels: NDArray[np.float32], start: int, stop: int
) -> NDArray[np.float32]:
    """Return the products of the rows [start, stop) and the vectors of panels.

    Each is added up in one order, which does not depend on the other rows.
    """
    values = np.empty((stop - start + ROWS, PANEL * len(panels)), np.float32)
    multiply_panels(rows[start:], panels, stop - start, 0, len(panels), values)
    return values
