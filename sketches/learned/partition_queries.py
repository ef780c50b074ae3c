"""Queries of a learned partition: buckets are probed, candidates are collected and ranked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..kernels import learned_partition
from ..neighbours.index import Nearest
from ..neighbours.ranking import ALL_RANKED, vector_ranker
from .partition_models import ScaledRows, predict, scaled
from .partition_state import PartitionState

__all__ = ["Candidates", "PartitionQueries", "Retrieved"]

#: Queries that are worth a thread of their own, scores of buckets that are kept at a time, and candidates.
_QUERIES, _SCORES, _CANDIDATES = 16, 1 << 22, 1 << 22
#: The metrics that candidates are ranked by.
_RANKED_BY = ("euclidean", "angle", "cityblock", "inner_product")


class Candidates(NamedTuple):
    """Contain the candidates of n queries, one after the other."""

    #: int64, shape (n + 1,): the candidates of query i are ``ids[offsets[i]:offsets[i + 1]]``.
    offsets: NDArray[np.int64]
    #: int64: ids, rising within each query.
    ids: NDArray[np.int64]
    #: int32: the number of probed buckets that contain each candidate, at most one in each repetition.
    counts: NDArray[np.int32]


class Retrieved(NamedTuple):
    """Contain the answers to n queries for k items."""

    #: int64, shape (n, k): ids by falling score, at equal scores by rising id; -1 if there are fewer.
    ids: NDArray[np.int64]
    #: float64, shape (n, k): the sum of the probabilities of the probed buckets that contain the item; minus
    #: infinity where there is no id.
    scores: NDArray[np.float64]


class _Found(NamedTuple):
    """The candidates of some queries: numbers of items, which begin at places that leave room for others."""

    numbers: NDArray[np.int64]
    counts: NDArray[np.int32]
    scores: NDArray[np.float64]
    bounds: NDArray[np.int64]
    sizes: NDArray[np.int64]


class PartitionQueries(PartitionState):
    """Answer queries from buckets; `LearnedPartition` adds fits, and documents the parameters."""

    _internal = True

    # -- queries ----------------------------------------------------------------------------------

    def bucket_probabilities(self, Q: RowsLike) -> NDArray[np.float32]:
        """Return how probable the buckets of each repetition are for the right items of queries.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_repetitions, n_buckets), float32
            They add up to 1 in each repetition.

        Raises
        ------
        TypeError, ValueError
            If queries have another width or are not finite, or if there are no networks yet.
        """
        rows = self._read_queries(Q)
        return self._predict(rows, np.arange(rows.indptr.size - 1))

    def candidates(self, Q: RowsLike, *, n_probes: int = 1, min_count: int = 1) -> Candidates:
        """Return the items in the most probable buckets of queries.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n, n_features)
        n_probes : int, default 1
            Number m of buckets that are probed in each repetition; at most all are.
        min_count : int, default 1
            Number t of repetitions in which a candidate must be in a probed bucket, at most `n_repetitions`.

        Returns
        -------
        Candidates
            ``(offsets, ids, counts)``.

        Raises
        ------
        TypeError, ValueError
            If queries have another width or are not finite, if another argument is out of range, or if there
            are no networks yet.
        """
        n_probes, min_count = self._check_probes(n_probes, min_count)
        rows, ids = self._read_queries(Q), self._ids_of_numbers
        n = rows.indptr.size - 1
        sizes, all_numbers, all_counts = [np.zeros(1, np.int64)], [], []
        for first, last in cut_range(0, n, self._block(n_probes)):
            found = self._find_candidates(rows, first, last, n_probes, min_count)
            offsets, order = _in_order(found)
            sizes.append(np.diff(offsets))
            all_numbers.append(found.numbers[order])
            all_counts.append(found.counts[order])
        numbers = np.concatenate([np.zeros(0, np.int64), *all_numbers])
        counts = np.concatenate([np.zeros(0, np.int32), *all_counts])
        return Candidates(np.cumsum(np.concatenate(sizes)), ids[numbers], counts)

    def query(self, Q: RowsLike, k: int = 10, *, n_probes: int = 1, min_count: int = 1) -> Retrieved:
        """Return the k items in the most probable buckets of queries.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n, n_features)
        k : int
            At least 1.
        n_probes, min_count
            As in `candidates`.

        Returns
        -------
        Retrieved
            ``(ids, scores)``, both of shape (n, k). The score of an item is the sum, over repetitions, of the
            probability of its bucket, where that is probed.

        Raises
        ------
        TypeError, ValueError
            As `candidates` does, or if `k` is not a positive integer.
        """
        k = check_int("k", k, 1, 1 << 31)
        n_probes, min_count = self._check_probes(n_probes, min_count)
        rows, given = self._read_queries(Q), self._ids_of_numbers
        n, held = rows.indptr.size - 1, min(k, len(self))
        ids, scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf)
        for first, last in cut_range(0, n if held else 0, self._block(n_probes)):
            found = self._find_candidates(rows, first, last, n_probes, min_count)
            numbers, keys = np.empty((last - first, held), np.int64), np.empty((last - first, held))
            arguments = (found.numbers, found.scores, found.bounds, found.sizes, held)

            def take_best(a: int, b: int, given: Any = arguments, out: Any = (numbers, keys)) -> None:
                learned_partition.best_candidates(*given, a, b, *out)

            self._backend.map_blocks(take_best, last - first, _QUERIES)
            there = numbers >= 0
            ids[first:last, :held][there] = given[numbers[there]]
            scores[first:last, :held] = -keys
        return Retrieved(ids, scores)

    def search(
        self,
        Q: RowsLike,
        rows: RowsLike,
        k: int = 10,
        *,
        metric: str = "euclidean",
        n_probes: int = 1,
        min_count: int = 1,
    ) -> Nearest:
        """Return the k nearest of the candidates of queries, by exact distances.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n, n_features)
        rows : array_like of shape (m, n_features)
            Row i belongs to id i, so all ids must be less than m. Best is float32 or float64 in C order: it
            is not copied and may be an `np.memmap`, of which only the rows of candidates are read.
        k : int
            At least 1.
        metric : {"euclidean", "angle", "cityblock", "inner_product"}
        n_probes, min_count
            As in `candidates`.

        Returns
        -------
        Nearest
            ``(ids, distances)``, both of shape (n, k), the nearest first, at equal distances by rising id.
            The distances are products for "inner_product", the largest first.

        Raises
        ------
        TypeError, ValueError
            As `query` does, or if `rows` have another width, or the row of a candidate is missing or not
            finite.
        """
        k = check_int("k", k, 1, 1 << 31)
        n_probes, min_count = self._check_probes(n_probes, min_count)
        check_choice("metric", metric, _RANKED_BY)
        queries, given = self._read("Q", Q), self._ids_of_numbers
        asked = self._scaled_queries(queries)
        refuse_gpu(f"{type(self).__name__}.search", rows)
        by = vector_ranker(metric, queries, rows)
        dtype = np.uint32 if not given.size or int(given[-1]) < 2**32 - 1 else np.uint64
        ids, keys = np.empty((queries.n, k), np.int64), np.empty((queries.n, k))
        for first, last in cut_range(0, queries.n, self._block(n_probes)):
            found = self._find_candidates(asked, first, last, n_probes, min_count)
            offsets, order = _in_order(found)
            # The ranker takes ids plus one, in the dtypes in which an LSHIndex has them.
            wanted, sizes = (given[found.numbers[order]] + 1).astype(dtype), np.diff(offsets)

            def rank(a: int, b: int, of: Any = (wanted, offsets, sizes), at: int = first) -> int:
                return by.rank(of[0], of[1][a : b + 1], of[2][a:b], k, at + a, ids, keys)

            results = self._backend.map_blocks(rank, last - first, _QUERIES)
            if refused := [row for row in results if row != ALL_RANKED]:
                raise ValueError(by.refusal(refused[0]))
        return Nearest(ids, by.in_units(keys))

    # -- parts of queries -------------------------------------------------------------------------

    def _read(self, name: str, X: Any) -> VectorRows:
        refuse_gpu(type(self).__name__, X)
        return read_rows(X, self.n_features, name)

    def _read_queries(self, Q: Any) -> ScaledRows:
        return self._scaled_queries(self._read("Q", Q))

    def _scaled_queries(self, rows: VectorRows) -> ScaledRows:
        self._check_fitted()
        return scaled(rows, self._row_scale, "Q")

    def _check_probes(self, n_probes: int, min_count: int) -> tuple[int, int]:
        n_probes = min(check_int("n_probes", n_probes, 1, 1 << 31), self.n_buckets)
        return n_probes, check_int("min_count", min_count, 1, self.n_repetitions)

    @property
    def _ids_of_numbers(self) -> NDArray[np.int64]:
        ids = self._arrays["ids"]
        return ids if ids.size else np.arange(len(self), dtype=np.int64)

    def _block(self, n_probes: int) -> int:
        """Return the number of queries whose scores and candidates are kept at a time."""
        most = self.n_repetitions * n_probes * max(1, int(self._loads.max(initial=0)))
        scores = self.n_repetitions * self.n_buckets
        return max(1, min(_SCORES // scores, _CANDIDATES // most))

    def _predict(self, rows: ScaledRows, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = np.empty((numbers.size, self.n_repetitions, self.n_buckets), np.float32)
        for r in range(self.n_repetitions):
            scores[:, r] = predict(self._model(r).network, rows, numbers)
        return scores

    def _find_candidates(
        self, rows: ScaledRows, first: int, last: int, n_probes: int, min_count: int
    ) -> _Found:
        """Return the candidates of the queries [first, last)."""
        n, repetitions = last - first, self.n_repetitions
        scores = self._predict(rows, np.arange(first, last)).reshape(n * repetitions, self.n_buckets)
        probed = np.empty((n * repetitions, n_probes), np.int64)
        weights = np.empty((n * repetitions, n_probes))
        self._backend.map_blocks(
            lambda a, b: learned_partition.best_buckets(read_only(scores), n_probes, a, b, probed, weights),
            n * repetitions,
            _QUERIES,
        )
        shape = n, repetitions, n_probes
        asked = read_only(probed.reshape(shape)), read_only(weights.reshape(shape))
        lists, loads = self._lists, self._loads
        # An item is a candidate once, however many of its buckets are probed.
        most = loads[np.arange(repetitions)[:, None], asked[0]].sum(axis=(1, 2))
        bounds = np.zeros(n + 1, np.int64)
        np.cumsum(np.minimum(most, len(self)), out=bounds[1:])
        total = int(bounds[-1])
        found = np.empty(total, np.int64), np.empty(total, np.int32), np.empty(total)
        sizes, items = np.empty(n, np.int64), len(self)
        inputs = (*asked, *lists, read_only(bounds), min_count)
        self._backend.map_blocks(
            lambda a, b: learned_partition.find_candidates(
                *inputs, a, b, np.zeros(items, np.int64), *found, sizes
            ),
            n,
            _QUERIES,
        )
        return _Found(*found, bounds, sizes)


def _in_order(found: _Found) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the offsets of candidates without gaps, and their places by query and number."""
    offsets = np.zeros(found.sizes.size + 1, np.int64)
    np.cumsum(found.sizes, out=offsets[1:])
    places = np.arange(offsets[-1]) + np.repeat(found.bounds[:-1] - offsets[:-1], found.sizes)
    queries = np.repeat(np.arange(found.sizes.size), found.sizes)
    return offsets, places[np.lexsort((found.numbers[places], queries))]


publish("mergesketch", ["Candidates", "Retrieved"], globals())
