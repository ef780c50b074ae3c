"""The network of `SlideClassifier`: training steps of a hidden layer and of ranges of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.random import random_uint64
from ...lsh.support.threads import map_blocks
from ..kernels import slide, slide_sampling
from .slide_batches import Batch
from .slide_layers import HiddenLayer, OutputLayer, Scored
from .slide_settings import SlideSettings
from .slide_tables import LabelTables
from .slide_weights import Adam, Weights

__all__ = ["LabelRange", "SlideNetwork"]

#: The most labels that are read from a bucket.
MOST_OF_BUCKET = 128
#: The factor by which the interval between two rebuilds of the tables grows.
_GROWTH = 1.1
#: Rows that are worth a thread of their own.
_ROWS_BLOCK = 32
#: The chance of a label where no random labels are drawn at all; it has a logarithm.
_LEAST_CHANCE = 1e-30
_NO_LABELS = np.empty(0, np.int32)
_NO_SHIFTS = np.empty(0, np.float32)


class LabelRange:
    """A range of the labels: its output layer, its tables, and its random labels.

    Parameters
    ----------
    settings : SlideSettings
    first, stop : int
        The labels of the range. Its parts count them from `first` on.
    """

    def __init__(self, settings: SlideSettings, first: int, stop: int) -> None:
        self.first, self.stop, self._settings = first, stop, settings
        weights = Weights(
            first, stop, settings.n_hidden, settings.n_hidden**-0.5, settings.weights, settings.seed,
            "slide output",
        )  # fmt: skip
        self.layer = OutputLayer(weights)
        n_active = settings.share(settings.n_active, first, stop)
        self._n_found = round(settings.table_share * n_active) if settings.negatives == "lsh" else 0
        self._n_random = n_active - self._n_found
        self.tables: LabelTables | None = None
        if self._n_found and not settings.is_full:
            self.tables = LabelTables(settings.make_family(first))
        self._next_rebuild, self._interval = 0, float(settings.rebuild_interval)
        #: Distribution function of random labels by frequency, and minus the logarithms of their chances.
        self._frequencies: tuple[NDArray[np.float64], NDArray[np.float32]] | None = None

    def set_frequencies(self, counts: NDArray[np.int64]) -> None:
        """Draw random labels in proportion to the counts of the range's labels, plus 1."""
        shares = (counts + 1.0) / (counts + 1.0).sum()
        chances = -np.expm1(self._n_random * np.log1p(-np.minimum(shares, 1.0 - 1e-9)))
        self._frequencies = np.cumsum(shares), -np.log(np.maximum(chances, _LEAST_CHANCE)).astype(np.float32)

    def score(self, hidden: NDArray[np.float32], batch: Batch, step: int) -> Scored:
        """Choose the active labels of a batch, and return their scores."""
        targets, bounds = self._own_targets(batch)
        n_own = np.diff(bounds).astype(np.int32)
        settings, n = self._settings, self.stop - self.first
        n_rows, codes = len(n_own), np.empty((len(n_own), 0), np.uint32)
        starts, labels = np.empty((0, 2), np.int32), np.empty((0, n), np.int32)
        if self.tables is not None:
            if step >= self._next_rebuild:
                self.tables.rebuild(self.layer.weights)
                self._next_rebuild = step + int(self._interval)
                self._interval *= _GROWTH
            codes = self.tables.codes(np.ascontiguousarray(hidden[:, : settings.n_hidden]))
            starts, labels = self.tables.starts, self.tables.labels
        shared = self._random_labels(step)
        room = int(n_own.max(initial=0)) + self._n_found + len(shared)
        active = np.empty((n_rows, min(room, n) + 1), np.int32)
        n_found, counts = np.empty(n_rows, np.int64), np.empty(n_rows, np.int64)
        word = random_uint64(settings.seed, f"slide buckets {self.first} {step}", 1)[0] | np.uint64(1)

        def choose(start: int, stop: int) -> None:
            slide_sampling.choose_labels(
                targets, bounds, shared, codes, starts, labels, self._n_found, MOST_OF_BUCKET, word,
                start, stop, active, n_found, counts,
            )  # fmt: skip

        map_blocks(choose, n_rows, _ROWS_BLOCK)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        chosen = active[np.arange(active.shape[1]) < counts[:, None]]
        scored = self.layer.score(hidden, chosen, ends, n_own)
        if settings.negatives != "lsh" and not settings.is_full:
            self._shift(scored, chosen, n_found, counts)
        return scored

    def _own_targets(self, batch: Batch) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the targets of a batch that lie in the range, counted from its first label."""
        if self.stop - self.first == self._settings.n_labels:
            return batch.targets, batch.bounds
        own = (batch.targets >= self.first) & (batch.targets < self.stop)
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(own)])
        return batch.targets[own] - np.int32(self.first), before[batch.bounds]

    def _random_labels(self, step: int) -> NDArray[np.int32]:
        """Return distinct labels that all rows of a batch share."""
        settings, n = self._settings, self.stop - self.first
        if settings.is_full:
            return np.arange(n, dtype=np.int32)
        words = random_uint64(settings.seed, f"slide labels {self.first} {step}", self._n_random)
        if self._frequencies is None:
            drawn = (words >> np.uint64(32)) * np.uint64(n) >> np.uint64(32)
        else:
            numbers = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
            drawn = np.minimum(np.searchsorted(self._frequencies[0], numbers, side="right"), n - 1)
        return np.unique(drawn).astype(np.int32)

    def _shift(
        self,
        scored: Scored,
        chosen: NDArray[np.int32],
        n_found: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> None:
        """Let the random labels stand for all labels of the range that a row has not found."""
        others = self.stop - self.first - n_found
        shifts = _NO_SHIFTS
        if self._frequencies is None:
            tails = np.log(np.maximum(others, 1) / np.maximum(counts - n_found, 1)).astype(np.float32)
        else:
            tails, shifts = np.zeros(len(counts), np.float32), self._frequencies[1]
        pairs = scored.pairs
        map_blocks(
            lambda a, b: slide.shift_pairs(
                chosen, pairs.bounds, pairs.places, n_found, tails, shifts, a, b, scored.scores
            ),
            len(counts),
            _ROWS_BLOCK,
        )


class SlideNetwork:
    """A hidden layer and ranges of labels, which are trained together.

    Parameters
    ----------
    settings : SlideSettings
    ranges : sequence of int, optional
        The numbers of the ranges that this network has; by default all. Others may be on other ranks: what
        the ranges of a step compute for each row is brought together by `_of_all_ranges`.
    """

    def __init__(self, settings: SlideSettings, ranges: Sequence[int] | None = None) -> None:
        self.settings = settings
        n_features, n_hidden, seed = settings.n_features, settings.n_hidden, settings.seed
        weights = Weights(0, n_features + 1, n_hidden, 0.05, settings.weights, seed, "slide hidden")
        weights.set_rows(n_features, np.zeros((1, n_hidden)))
        self.hidden = HiddenLayer(weights)
        bounds = settings.ranges()
        self.ranges = [
            LabelRange(settings, *bounds[i]) for i in (range(len(bounds)) if ranges is None else ranges)
        ]
        self.adam = Adam.of(settings.learning_rate)
        #: The number of batches that were learnt.
        self.step = 0

    def _of_all_ranges(self, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return an array for each of all ranges, in their order, from the arrays of this network's."""
        return arrays

    def train(self, batch: Batch) -> float:
        """Take a step of Adam, and return the mean loss of the rows with targets, before the step."""
        hidden, n_targets = self.hidden.activate(batch.rows), batch.n_targets
        n_rows = int(np.count_nonzero(n_targets))
        scored = [part.score(hidden, batch, self.step) for part in self.ranges]
        layers = [part.layer for part in self.ranges]
        parts = list(zip(layers, scored, strict=True))
        maxima = np.max(self._of_all_ranges([layer.maxima(s) for layer, s in parts]), axis=0)
        sums = _added(self._of_all_ranges([layer.sums(s, maxima) for layer, s in parts]))
        scale = 1.0 / max(n_rows, 1)
        losses = _added(
            self._of_all_ranges(
                [layer.differentiate(s, n_targets, maxima, sums, scale) for layer, s in parts]
            )
        )
        seed = 0
        if self.settings.weights == "bfloat16" and self.settings.rounding == "stochastic":
            # The lowest bit is set, for 0 stands for rounding to the nearest.
            seed = int(random_uint64(self.settings.seed, f"slide rounding {self.step}", 1)[0]) | 1
        gradients = _added(
            self._of_all_ranges([layer.update(hidden, s, self.adam, seed) for layer, s in parts])
        )
        self.hidden.update(batch.rows, hidden, gradients, self.adam, seed)
        self.step += 1
        return float(losses.sum()) * scale


def _added(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the sum of arrays, added in their order."""
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total
