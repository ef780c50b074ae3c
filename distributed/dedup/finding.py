"""Find the groups of similar documents among those whose signatures are there."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.wording import counted
from ..ranks.comm import Communicator
from .candidates import CandidatePairs, Copies, candidate_pairs, join_copies, join_pairs
from .comparing import Comparer
from .components import component_of
from .crowded import PairBudget, crowded_pairs
from .grouping import Groups, Kept, Priority, group_documents
from .places import Rows, split_places
from .signatures import SignatureStore

__all__ = ["Found", "Search", "Stages", "find_groups"]


class Stages:
    """Wall-clock seconds of consecutive stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, name: str) -> None:
        """End a stage; its seconds are added to those of earlier stages of the same name."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


class Search(NamedTuple):
    """The settings of a search for similar documents; those that are not described are in `deduplicate`.

    Attributes
    ----------
    bands, rows : int
        The banding: the number of bands, and the number of signature values in each.
    star, last : bool
        True for stars, and for the last of equally good documents.
    every_pair : bool
        True to find all pairs, False for as many as the groups need.
    """

    threshold: float
    bands: int
    rows: int
    seed: int
    star: bool
    last: bool
    every_pair: bool
    max_comparisons: int


class Found(NamedTuple):
    """The similar documents that were found.

    Attributes
    ----------
    copies : Copies
    pairs : ndarray of shape (m, 2), uint64
        Similar pairs of originals, on the ranks of the first ones.
    similarity : ndarray of shape (m,)
    kept : Kept
    groups : Groups
    n_uncompared : int
    """

    copies: Copies
    pairs: NDArray[np.uint64]
    similarity: NDArray[np.floating]
    kept: Kept
    groups: Groups
    n_uncompared: int


def find_groups(
    store: SignatureStore,
    scores: NDArray[np.float64],
    search: Search,
    make_comparer: Callable[[CandidatePairs, Rows], Comparer],
    stages: Stages,
    comm: Communicator,
) -> Found:
    """Find similar documents, and group them; a collective call.

    Parameters
    ----------
    store : SignatureStore
        This rank's documents.
    scores : ndarray of float64
        A number for each of them; of similar documents, the one with the largest is kept.
    search : Search
    make_comparer : callable
        A function that returns a comparer for candidate pairs, and for the rows of the documents that are in
        crowded buckets. It may make collective calls.
    stages : Stages
    comm : Communicator
    """
    threshold, bands, rows, seed = search[:4]
    copies = join_copies(store, comm)
    stages.end("copies")
    originals = np.flatnonzero(copies.originals == store.ids())
    candidates, crowded = candidate_pairs(store, originals, bands, rows, seed, comm)
    stages.end("banding")
    comparer = make_comparer(candidates, crowded)
    found, similarity = _similar(candidates, comparer, threshold, comm)
    if any(comm.allgather(len(crowded))):
        groups = store.ids()
        if not search.every_pair:
            groups = component_of(groups, found.left, found.right, comm)
        budget = PairBudget(search.max_comparisons) if search.every_pair else None
        more = crowded_pairs(
            store, crowded, groups[crowded], bands, rows, seed, threshold, comparer, budget, comm
        )
        found, similarity = _similar(join_pairs(found, more, comm), comparer, threshold, comm)
        n_uncompared = comm.sum(budget.n_uncompared if budget else 0)
        if n_uncompared:
            warnings.warn(
                f"{counted(n_uncompared, 'pair')} in large buckets were not compared, and similar ones may "
                f"be missing: max_comparisons is {search.max_comparisons:,}",
                stacklevel=stacklevel_of_caller(),
            )
    else:
        n_uncompared = 0
    stages.end("verifying")
    similar = np.stack([found.left, found.right], axis=1)
    kept, groups_found = group_documents(
        store.ids(), copies, similar, Priority(scores, search.last), threshold,
        search.star, comparer, comm,
    )  # fmt: skip
    stages.end("grouping")
    return Found(copies, similar, similarity, kept, groups_found, n_uncompared)


def _similar(
    pairs: CandidatePairs, comparer: Comparer, threshold: float, comm: Communicator
) -> tuple[CandidatePairs, NDArray[np.floating]]:
    """Return the pairs that are near-duplicates, and their similarities."""
    _, rows = split_places(pairs.left_places)
    similarity = comparer.compare(rows, pairs.right_places)
    with comm.agree():
        kept = np.isnan(similarity) | (similarity >= threshold)
        return CandidatePairs(*(column[kept] for column in pairs)), similarity[kept]
