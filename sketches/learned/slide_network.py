"""The network of `SlideClassifier`: training steps of a hidden layer and of ranges of labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.family import HashFamily
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import map_blocks
from ..kernels import slide, slide_sampling
from .slide_batches import Batch, SparseRows
from .slide_layers import HiddenLayer, OutputLayer, Scored
from .slide_settings import SlideSettings
from .slide_sums import added
from .slide_tables import LabelTables
from .slide_weights import Adam, Weights

__all__ = ["Arrays", "LabelRange", "SlideNetwork"]

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


#: Computes an array for each range of labels that a network has.
Arrays = Callable[[], list[NDArray[Any]]]


class LabelRange:
    """A range of the labels: its output layer, its tables, and its random labels.

    Parameters
    ----------
    settings : SlideSettings
    first, stop : int
        The labels of the range. Its parts count them from `first` on.
    family : HashFamily, optional
        That of the tables.
    """

    def __init__(
        self, settings: SlideSettings, first: int, stop: int, family: HashFamily | None = None
    ) -> None:
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
            self.tables = LabelTables(family or settings.make_family())
        #: The step before which the tables are built again, and the interval after that.
        self.next_rebuild, self.interval = 0, float(settings.rebuild_interval)
        #: Distribution function of random labels by frequency, and minus the logarithms of their chances.
        self._frequencies: tuple[NDArray[np.float64], NDArray[np.float32]] | None = None

    def copy_from(self, other: LabelRange) -> None:
        """Take over what the same range of another network has learnt."""
        if self.tables is not None and other.tables is not None:
            self.tables.labels = np.empty_like(other.tables.labels)
        for ours, theirs in zip(self.arrays, other.arrays, strict=True):
            ours[...] = theirs
        self.next_rebuild, self.interval = other.next_rebuild, other.interval

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """The arrays of what was learnt: weights, moments, steps, biases and tables."""
        weights, tables = self.layer.weights, self.tables
        found = [*weights.matrices, weights.steps, self.layer.biases]
        return found if tables is None else [*found, tables.starts, tables.labels]

    def set_frequencies(self, counts: NDArray[np.int64]) -> None:
        """Draw random labels in proportion to the counts of the range's labels, plus 1."""
        shares = (counts + 1.0) / (counts + 1.0).sum()
        chances = -np.expm1(self._n_random * np.log1p(-np.minimum(shares, 1.0 - 1e-9)))
        self._frequencies = np.cumsum(shares), -np.log(np.maximum(chances, _LEAST_CHANCE)).astype(np.float32)

    def score(
        self,
        hidden: NDArray[np.float32],
        batch: Batch,
        step: int,
        codes: NDArray[np.uint32] | None = None,
    ) -> Scored:
        """Choose the active labels of a batch, and return their scores.

        Parameters
        ----------
        hidden : ndarray of shape (rows, padded width)
        batch : Batch
        step : int
            The number of batches before this one.
        codes : ndarray of shape (rows, tables), optional
            The codes of the activations, which ranges have in common. By default they are computed.
        """
        targets, bounds = self._own_targets(batch)
        n_own = np.diff(bounds).astype(np.int32)
        settings, n = self._settings, self.stop - self.first
        n_rows = len(n_own)
        starts, labels = np.empty((0, 2), np.int32), np.empty((0, n), np.int32)
        if self.tables is None:
            codes = np.empty((n_rows, 0), np.uint32)
        else:
            if step >= self.next_rebuild:
                self.tables.rebuild(self.layer.weights)
                self.next_rebuild = step + int(self.interval)
                self.interval *= _GROWTH
            starts, labels = self.tables.starts, self.tables.labels
            if codes is None:
                codes = self.tables.codes(np.ascontiguousarray(hidden[:, : settings.n_hidden]))
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
        The numbers of the ranges that this network has; by default all. Others may be on other ranks: the
        methods from `_activate` to `_gradients` bring together what the parts of a network compute.
    units : (int, int), optional
        The first of the hidden units that this network has, and the one after the last; by default all.
    """

    def __init__(
        self,
        settings: SlideSettings,
        ranges: Sequence[int] | None = None,
        units: tuple[int, int] | None = None,
    ) -> None:
        self.settings = settings
        n, n_hidden, seed = settings.n_features, settings.n_hidden, settings.seed
        weights = Weights(0, n + 1, n_hidden, 0.05, settings.weights, seed, "slide hidden", units)
        weights.set_rows(n, np.zeros((1, weights.width)))
        self.hidden = HiddenLayer(weights)
        self._family = settings.make_family() if settings.has_tables else None
        bounds = settings.ranges()
        self.ranges = [
            LabelRange(settings, *bounds[i], self._family)
            for i in (range(len(bounds)) if ranges is None else ranges)
        ]
        self.adam = Adam.of(settings.learning_rate)
        #: The number of batches that were learnt.
        self.step = 0

    def set_frequencies(self, counts: NDArray[np.int64]) -> None:
        """Draw random labels in proportion to the counts of all labels, plus 1."""
        for part in self.ranges:
            part.set_frequencies(counts[part.first : part.stop])

    def _activate(self, rows: SparseRows) -> NDArray[np.float32]:
        """Return the activations of all hidden units."""
        return self.hidden.activate(rows)

    def _hash(self, hidden: NDArray[np.float32]) -> NDArray[np.uint32]:
        """Return the codes of activations."""
        if self._family is None:
            return np.empty((len(hidden), 0), np.uint32)
        return np.asarray(self._family.hash(np.ascontiguousarray(hidden[:, : self.settings.n_hidden])))

    def _largest(self, compute: Arrays) -> NDArray[np.float32]:
        """Return the largest of the arrays of all ranges, of which `compute` returns this network's."""
        return np.asarray(np.max(compute(), axis=0))

    def _sum(self, compute: Arrays, n: int) -> NDArray[np.float64]:
        """Return the sum of the arrays of all ranges, which have n numbers each."""
        return added(compute())

    def _gradients(self, compute: Arrays) -> NDArray[np.float32]:
        """Return the sum of the arrays of all ranges, for the hidden units that this network has."""
        return added(compute())

    def _update_hidden(
        self, rows: SparseRows, hidden: NDArray[np.float32], gradients: NDArray[np.float32], seed: int
    ) -> None:
        """Move the weights of the hidden units that this network has."""
        self.hidden.update(rows, hidden, gradients, self.adam, seed)

    def train(self, batch: Batch) -> float:
        """Take a step of Adam, and return the mean loss of the rows with targets, before the step."""
        hidden, n_targets = self._activate(batch.rows), batch.n_targets
        codes = self._hash(hidden)
        parts: list[tuple[OutputLayer, Scored]] = []

        def score() -> list[NDArray[Any]]:
            parts.extend((part.layer, part.score(hidden, batch, self.step, codes)) for part in self.ranges)
            return [layer.maxima(scored) for layer, scored in parts]

        maxima = self._largest(score)
        sums = self._sum(lambda: [layer.sums(scored, maxima) for layer, scored in parts], batch.rows.n)
        scale = 1.0 / max(int(np.count_nonzero(n_targets)), 1)
        loss = self._sum(
            lambda: [
                layer.differentiate(scored, n_targets, maxima, sums, scale).sum(keepdims=True)
                for layer, scored in parts
            ],
            1,
        )
        seed = 0
        if self.settings.weights == "bfloat16" and self.settings.rounding == "stochastic":
            # The lowest bit is set, for 0 stands for rounding to the nearest.
            seed = int(random_uint64(self.settings.seed, f"slide rounding {self.step}", 1)[0]) | 1
        gradients = self._gradients(
            lambda: [layer.update(hidden, scored, self.adam, seed) for layer, scored in parts]
        )
        self._update_hidden(batch.rows, hidden, gradients, seed)
        self.step += 1
        return float(loss[0]) * scale
