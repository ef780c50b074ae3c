"""The two layers of `SlideClassifier`: features to hidden units, and hidden units to a range of labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.threads import map_blocks, run_tasks
from ..kernels import slide
from .slide_batches import SparseRows
from .slide_pairs import PairGrouping, Pairs
from .slide_weights import Adam, Weights, padded

__all__ = ["HiddenLayer", "OutputLayer", "Scored"]

#: The most parts into which the labels of a batch are cut for threads. The gradients of the parts are added
#: in one order, so that results do not depend on the number of threads.
_MOST_PARTS = 16
#: Pairs that are worth a part.
_PAIRS_PART = 1 << 12
#: Rows of a batch that are worth a thread of their own.
_ROWS_BLOCK = 32
_NO_SHIFTS = np.empty(0, np.float32)


class Scored(NamedTuple):
    """The active labels of a batch in one range, and their scores.

    Attributes
    ----------
    pairs : Pairs
        Of rows and labels of the range, which are counted from its first one.
    n_own : ndarray of int32
        The number of targets of each row in the range. They come first in the row.
    scores : ndarray of float32
        The score of each pair; later the derivative of the loss by it.
    """

    pairs: Pairs
    n_own: NDArray[np.int32]
    scores: NDArray[np.float32]


class HiddenLayer:
    """A layer of rectified linear units over sparse rows: only the weights of features in a batch are read.

    Parameters
    ----------
    weights : Weights
        A row for each feature, and one for the bias.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._grouping = PairGrouping(weights.n_rows)

    def activate(self, rows: SparseRows) -> NDArray[np.float32]:
        """Return the activations of rows, of the padded width."""
        weights = self.weights
        hidden = np.empty((rows.n, padded(weights.width)), np.float32)
        if not weights.width:
            return hidden
        map_blocks(
            lambda a, b: slide.activate(
                rows.columns, rows.values, rows.bounds, weights.floats, weights.halves, a, b, hidden
            ),
            rows.n,
            _ROWS_BLOCK,
        )
        return hidden

    def update(
        self,
        rows: SparseRows,
        hidden: NDArray[np.float32],
        gradients: NDArray[np.float32],
        adam: Adam,
        seed: int,
    ) -> None:
        """Move the weights of the features of a batch.

        Parameters
        ----------
        rows : SparseRows
        hidden : ndarray of shape (rows, width)
            The activations of all hidden units.
        gradients : ndarray of shape (rows, width)
            The gradients by the activations of this layer's units.
        adam : Adam
        seed : int
        """
        column, width = self.weights.column, self.weights.width
        if width == 0:
            return
        is_active = hidden[:, column : column + width] > 0.0
        masked = np.zeros((rows.n, padded(width)), np.float32)
        masked[:, :width] = np.where(is_active, gradients[:, :width], np.float32(0.0))
        pairs = self._grouping.group(rows.columns, rows.bounds)
        values = np.empty_like(rows.values)
        values[pairs.places] = rows.values
        weights, n_parts = self.weights, _n_parts(pairs)
        cuts = pairs.chunks(n_parts)

        def update(part: int) -> None:
            slide.update_features(
                masked, pairs.touched, pairs.offsets, pairs.rows, values, adam.rates, adam.settings,
                np.uint64(seed), weights.column, cuts[part], cuts[part + 1],
                weights.floats, weights.halves, weights.first, weights.second, weights.steps,
            )  # fmt: skip

        run_tasks(update, n_parts)


class OutputLayer:
    """The scores of a range of labels, of which only those of active ones are computed.

    Parameters
    ----------
    weights : Weights
        A row for each label of the range.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        #: The bias of each label, and its two moments.
        self.biases = np.zeros((weights.n_rows, 3), np.float32)
        self._grouping = PairGrouping(weights.n_rows)

    def score(
        self,
        hidden: NDArray[np.float32],
        active: NDArray[np.int32],
        bounds: NDArray[np.int64],
        n_own: NDArray[np.int32],
    ) -> Scored:
        """Return the scores of active labels.

        Parameters
        ----------
        hidden : ndarray of shape (rows, padded width)
        active : ndarray of int32
            Row b has the labels from ``bounds[b]`` to ``bounds[b + 1]``, of which the first ``n_own[b]`` are
            its targets.
        """
        pairs = self._grouping.group(active, bounds)
        scores = np.empty(len(pairs.rows), np.float32)
        weights, n_parts = self.weights, _n_parts(pairs)
        cuts = pairs.chunks(n_parts)

        def score(part: int) -> None:
            slide.score_pairs(
                hidden, pairs.touched, pairs.offsets, pairs.rows, weights.floats, weights.halves, self.biases,
                cuts[part], cuts[part + 1], scores,
            )  # fmt: skip

        run_tasks(score, n_parts)
        return Scored(pairs, n_own, scores)

    def maxima(self, scored: Scored) -> NDArray[np.float32]:
        """Return the largest score of each row."""
        bounds, places = scored.pairs.bounds, scored.pairs.places
        out = np.empty(len(bounds) - 1, np.float32)
        map_blocks(
            lambda a, b: slide.row_maxima(bounds, places, scored.scores, a, b, out), len(out), _ROWS_BLOCK
        )
        return out

    def sums(self, scored: Scored, maxima: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the sums of the exponentials of each row's scores less its maximum over all ranges."""
        bounds, places = scored.pairs.bounds, scored.pairs.places
        out = np.empty(len(bounds) - 1)
        map_blocks(
            lambda a, b: slide.row_sums(bounds, places, scored.scores, maxima, a, b, out),
            len(out),
            _ROWS_BLOCK,
        )
        return out

    def differentiate(
        self,
        scored: Scored,
        n_targets: NDArray[np.int32],
        maxima: NDArray[np.float32],
        sums: NDArray[np.float64],
        scale: float,
    ) -> NDArray[np.float64]:
        """Replace the scores by derivatives of the loss, and return each row's loss over this range."""
        bounds, places = scored.pairs.bounds, scored.pairs.places
        losses = np.empty(len(bounds) - 1)
        map_blocks(
            lambda a, b: slide.row_deltas(
                bounds, places, scored.n_own, n_targets, maxima, sums, scale, a, b, scored.scores, losses
            ),
            len(losses),
            _ROWS_BLOCK,
        )
        return losses

    def update(
        self, hidden: NDArray[np.float32], scored: Scored, adam: Adam, seed: int
    ) -> NDArray[np.float32]:
        """Move the weights of the active labels, and return this range's gradients by the activations."""
        pairs, weights = scored.pairs, self.weights
        n_parts = _n_parts(pairs)
        cuts = pairs.chunks(n_parts)
        gradients = np.zeros((n_parts, *hidden.shape), np.float32)

        def update(part: int) -> None:
            slide.update_labels(
                hidden, pairs.touched, pairs.offsets, pairs.rows, scored.scores, adam.rates, adam.settings,
                np.uint64(seed), cuts[part], cuts[part + 1],
                weights.floats, weights.halves, weights.first, weights.second, self.biases, weights.steps,
                gradients[part],
            )  # fmt: skip

        run_tasks(update, n_parts)
        total = gradients[0]
        for part in gradients[1:]:
            total += part
        return total


def _n_parts(pairs: Pairs) -> int:
    """Return the number of parts of the work on some pairs, which does not depend on the threads."""
    return min(_MOST_PARTS, max(1, (len(pairs.rows) + 4 * len(pairs.touched)) // _PAIRS_PART))
