"""The search of the nearest of stored rows: by an index if that pays, and otherwise among all rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import FullBucketsWarning
from ...lsh.families.minhash import MinHash
from ...lsh.families.pstable import PStable
from ...lsh.families.srp import SignedRandomProjection
from ...lsh.family import HashFamily
from ...lsh.support.random import uniform
from ...lsh.support.threads import map_blocks
from .index import LSHIndex, Nearest
from .ranking import ranker
from .suggestion import suggest

__all__ = ["RowSearch", "plan_search"]

#: Number of rows below which comparing with all costs less than an index.
_FEW_ROWS = 4096
#: Number of ids that a query reads from its buckets, as a share of the number of rows, above which comparing
#: with all rows costs less.
_TOO_MANY_FOUND = 0.5
#: Number of rows whose neighbours are known exactly, and of those from which tables are suggested.
_QUERIES, _SAMPLE = 256, 2048
#: Number of probes for which tables are suggested, and the most that are tried.
_PROBES, _MOST_PROBES = 8, 256
#: Share of the known neighbours that lie within the distance for which tables are suggested.
_NEAR_SHARE = 0.9
#: Number of queries that are worth a thread of their own.
_BLOCK = 16
#: Number of neighbours with which a radius is first tried, and of those that are kept at a time.
_FIRST_WITHIN, _WITHIN_BLOCK = 32, 1 << 22
#: The sizes of buckets for a given family, and the share of entries that a bucket may drop.
_CAPACITIES, _OVERFLOW = (16, 32, 64, 128, 256), 0.001


@dataclass(frozen=True)
class RowSearch:
    """Rows, an index of them, and how to find the nearest rows of queries with it."""

    sketch: LSHIndex
    rows: Any
    #: Number of buckets that a query reads in each table; 0 to compare queries with all rows.
    n_probes: int

    def nearest(self, Q: Any, k: int) -> Nearest:
        """Return k neighbours of each query; those that the index does not find come from all rows."""
        found = self._candidates(Q, k)
        lacking = np.flatnonzero(found.ids[:, -1] < 0) if k else np.empty(0, np.int64)
        if lacking.size:
            for ours, exact in zip(found, self._compare_all(Q[lacking], k), strict=True):
                ours[lacking] = exact
        return found

    def within(self, Q: Any, limits: NDArray[np.float64]) -> tuple[NDArray[np.int64], Nearest]:
        """Return the rows found within a distance of each query: their numbers, and all ids and distances.

        The numbers of neighbours differ much. So each search asks for more neighbours than the last, for
        those queries whose neighbours were all near.
        """
        k, counts = min(_FIRST_WITHIN, self.rows.shape[0]), np.zeros(Q.shape[0], np.int64)
        parts: list[tuple[NDArray[Any], ...]] = []
        left = np.arange(Q.shape[0])
        while left.size:
            more = []
            for some in np.array_split(left, -(-left.size * k // _WITHIN_BLOCK)):
                found = self._candidates(Q[some], k)
                near = (found.ids >= 0) & (found.distances <= limits[some, None])
                is_done = ~near[:, -1] | (k == self.rows.shape[0])
                more.append(some[~is_done])
                near &= is_done[:, None]
                counts[some] = near.sum(axis=1)
                parts.append((np.repeat(some, counts[some]), found.ids[near], found.distances[near]))
            left, k = np.concatenate(more), min(4 * k, self.rows.shape[0])
        if not parts:
            return counts, Nearest(np.empty(0, np.int64), np.empty(0))
        owners, ids, distances = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(owners, kind="stable")
        return counts, Nearest(ids[order], distances[order])

    def _candidates(self, Q: Any, k: int) -> Nearest:
        """Return the k nearest of the rows that the index finds, or of all rows."""
        if k == 0:
            return Nearest(np.empty((Q.shape[0], 0), np.int64), np.empty((Q.shape[0], 0)))
        if not self.n_probes:
            return self._compare_all(Q, k)
        return self.sketch.search(Q, self.rows, k, n_probes=self.n_probes)

    def _compare_all(self, Q: Any, k: int) -> Nearest:
        """Return the k nearest of all rows."""
        n = Q.shape[0]
        ids, distances = np.empty((n, k), np.int64), np.empty((n, k))
        rank = ranker(self.sketch.family, Q, self.rows).rank
        # Candidates are ids plus one, and all queries share them.
        candidates = np.arange(1, self.rows.shape[0] + 1, dtype=self.sketch.buckets()[0].dtype)
        offsets, sizes = np.zeros(n + 1, np.int64), np.full(n, self.rows.shape[0])
        map_blocks(
            lambda a, b: rank(candidates, offsets[: b - a + 1], sizes[a:b], k, a, ids, distances), n, _BLOCK
        )
        return Nearest(ids, distances)


def plan_search(
    rows: Any,
    metric: str,
    *,
    k: int,
    radius: float | None,
    recall: float,
    family: HashFamily | None,
    seed: int,
) -> RowSearch:
    """Return a search that finds a share `recall` of the neighbours of rows, as measured on a sample of them.

    Parameters
    ----------
    rows : float matrix in C order, or for "jaccard" a CSR matrix whose entries are the elements of sets
    metric : {"angle", "euclidean", "cityblock", "jaccard"}
    k : int
        Number of neighbours that are to be found.
    radius : float, optional
        The distance within which all neighbours are to be found instead.
    recall : float
    family : HashFamily, optional
        By default `suggest` chooses it, and all rows are compared where that costs less.
    seed : int
    """
    n = rows.shape[0]
    compare_all = RowSearch(LSHIndex(family or _any_family(rows, metric, seed), seed=seed), rows, 0)
    if family is None and n < _FEW_ROWS:
        return _filled(compare_all)
    order = uniform(seed, "rows of a plan", n).argsort()
    chosen = order[:_QUERIES]
    known = _neighbours_known(compare_all, chosen, min(k, n - 1), radius)
    if family is not None:
        # An index may have fewer buckets than its family has codes.
        family = LSHIndex(family).family
        index = LSHIndex(family, capacity=_capacity(family, rows), seed=seed)
    else:
        suggested = _suggested(rows, metric, known, recall, order[:_SAMPLE], seed)
        if suggested is None:
            return _filled(compare_all)
        index = suggested
    index.update(rows)
    n_probes = 1
    while n_probes <= _MOST_PROBES:
        search = RowSearch(index, rows, n_probes)
        try:
            found = _share_found(search, chosen, known)
        except (TypeError, ValueError):
            # The family cannot probe, or has fewer buckets than probes.
            break
        if found >= recall:
            return search
        n_probes *= 2
    return RowSearch(index, rows, 0)


class _Known(NamedTuple):
    """The neighbours of some rows: their distance, and their number."""

    limits: NDArray[np.float64]
    counts: NDArray[np.int64]


def _neighbours_known(
    compare_all: RowSearch, chosen: NDArray[np.int64], k: int, radius: float | None
) -> _Known:
    """Return the neighbours of chosen rows: the k nearest ones, or all within a radius."""
    Q, n = compare_all.rows[chosen], len(chosen)
    if radius is not None:
        limits = np.full(n, radius)
        return _Known(limits, compare_all.within(Q, limits)[0] - 1)
    # The row itself is among the nearest ones, at distance 0.
    return _Known(compare_all.nearest(Q, k + 1).distances[:, -1], np.full(n, k))


def _share_found(search: RowSearch, chosen: NDArray[np.int64], known: _Known) -> float:
    """Return the share of the known neighbours that a search finds, less its standard error."""
    counts, found = search.within(search.rows[chosen], known.limits)
    owners = np.repeat(np.arange(len(chosen)), counts)
    others = np.bincount(owners[found.ids != chosen[owners]], minlength=len(chosen))
    # Rows at the distance of the k-th neighbour are as good as that one.
    others = np.minimum(others, known.counts)
    total = int(known.counts.sum())
    if not total:
        return 1.0
    share = float(others.sum()) / total
    # The standard error of a ratio of sums over independent rows.
    return share - float(np.sqrt(((others - share * known.counts) ** 2).sum())) / total


def _suggested(
    rows: Any, metric: str, known: _Known, recall: float, sample: NDArray[np.int64], seed: int
) -> LSHIndex | None:
    """Return the empty index that `suggest` chooses, or None if comparing with all rows costs less."""
    near = float(np.quantile(known.limits, _NEAR_SHARE))
    asked: dict[str, Any] = {"max_distance": near, "n_probes": _PROBES}
    if metric == "angle":
        asked = {"min_cosine": float(np.cos(near)), "n_probes": _PROBES}
    elif metric == "jaccard":
        asked = {"min_jaccard": 1.0 - near}
    try:
        plan = suggest(metric, n_rows=rows.shape[0], sample=rows[sample], recall=recall, **asked)
    except ValueError:
        # Neighbours are not nearer than most rows, or no tables of this size find them.
        return None
    return None if plan.candidates > _TOO_MANY_FOUND * rows.shape[0] else plan.index(seed=seed)


def _any_family(rows: Any, metric: str, seed: int) -> HashFamily:
    """Return a family for an index that is not searched."""
    if metric == "angle":
        return SignedRandomProjection(rows.shape[1], 10, power=8, seed=seed)
    if metric == "jaccard":
        return MinHash(10, n_buckets=1024, seed=seed)
    p = 2 if metric == "euclidean" else 1
    steps = np.abs(np.diff(rows[:_SAMPLE].astype(np.float64), axis=0))
    with np.errstate(over="ignore"):
        typical = float(np.median((steps**p).sum(axis=1) ** (1 / p))) if len(steps) else 0.0
    width = typical if np.isfinite(typical) and typical > 0 else 1.0
    return PStable(rows.shape[1], 10, p=p, width=width, power=4, n_buckets=1024, seed=seed)


def _capacity(family: HashFamily, rows: Any) -> int:
    """Return a size of buckets that drops few entries of these rows."""
    loads = [np.unique(codes, return_counts=True)[1] for codes in family.hash(rows).T]
    for capacity in _CAPACITIES:
        dropped = sum(int(np.maximum(load - capacity, 0).sum()) for load in loads)
        if dropped <= _OVERFLOW * rows.shape[0] * len(loads):
            return capacity
    return _CAPACITIES[-1]


def _filled(search: RowSearch) -> RowSearch:
    """Return a search that compares all rows, with its index filled, for `sketch_`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FullBucketsWarning)
        search.sketch.update(search.rows)
    return search
