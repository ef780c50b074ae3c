"""Form the groups of similar documents, and choose the document of each group that is kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of
from ..kernels import banding, crowded
from ..ranks.comm import Communicator
from .banding import owner_of
from .candidates import Copies
from .comparing import BLOCK, Block, Comparer, Documents
from .components import component_of
from .crowded import ROUND_WORDS, cut_rounds
from .places import Request, Rows, Words, places_of_rank, split_places

__all__ = ["Groups", "Kept", "Priority", "group_documents"]


class Priority(NamedTuple):
    """The order in which the documents of a group are preferred: the largest score, then the first or last.

    Attributes
    ----------
    scores : ndarray of float64, shape (n,)
    last : bool
        If True, the largest id is preferred among equal scores; otherwise the smallest id.
    """

    scores: NDArray[np.float64]
    last: bool


class Kept(NamedTuple):
    """For each of this rank's documents with shingles, the document that is kept of its group.

    Attributes
    ----------
    ids : ndarray of uint64
        The kept document; its own id for a document that is kept.
    similarity : ndarray of float32
        The similarity to the kept document.
    is_copy : ndarray of bool
        True for documents that are not kept and have the same shingles as the kept one.
    """

    ids: Words
    similarity: NDArray[np.float32]
    is_copy: NDArray[np.bool_]


class Groups(NamedTuple):
    """All groups, on rank 0; without members on the other ranks. Attributes are those of `Deduplication`."""

    members: Words
    offsets: Rows
    kept: Words
    member_similarity: NDArray[np.float32]


class _Table(NamedTuple):
    """Documents of whole components, component after component, and the preferred ones first.

    Attributes
    ----------
    ids, places : ndarray of uint64
    originals : ndarray of uint64
        The places of the documents that stand for all with the same shingles.
    bounds : ndarray of int64
        Where each component begins, and the end of the last one.
    """

    ids: Words
    places: Words
    originals: Words
    bounds: Rows


def group_documents(
    ids: Words,
    copies: Copies,
    pairs: NDArray[np.uint64],
    priority: Priority,
    threshold: float,
    star: bool,
    comparer: Comparer,
    comm: Communicator,
) -> tuple[Kept, Groups]:
    """Form groups, and choose the document that is kept of each; a collective call.

    Parameters
    ----------
    ids : ndarray of uint64
        This rank's documents, in the order of rows.
    copies : Copies
    pairs : ndarray of shape (m, 2), uint64
        Similar pairs of originals.
    priority : Priority
    threshold : float
    star : bool
        If True, every document of a group is similar to the kept one. Otherwise a group is a component of the
        graph of similar pairs.
    comparer : Comparer
    comm : Communicator
    """
    edges = np.concatenate([copies.pairs, pairs])
    table = _gather_components(ids, copies, edges, priority, comm)
    heads = comm.local(_first_rows, table.bounds)
    if star:
        heads = _star_heads(table, threshold, comparer, comm)
    similarity = _similarity_to_heads(table, heads, comparer, comm)
    is_copy = (table.originals == table.originals[heads]) & (heads != np.arange(len(heads)))
    ranks, rows = split_places(table.places)
    columns = (rows, table.ids[heads], similarity, is_copy)
    rows, kept_ids, to_kept, copied = comm.exchange(columns, ranks)
    kept = Kept(ids.copy(), np.ones(len(ids), dtype=np.float32), np.zeros(len(ids), dtype=bool))
    kept.ids[rows], kept.similarity[rows], kept.is_copy[rows] = kept_ids, to_kept, copied
    return kept, _gather_groups(table, heads, similarity, comm)


def _gather_components(
    ids: Words, copies: Copies, edges: NDArray[np.uint64], priority: Priority, comm: Communicator
) -> _Table:
    """Bring each component of at least two documents to one rank."""
    labels = component_of(ids, edges[:, 0], edges[:, 1], comm)
    with comm.agree():
        is_member = labels != ids
        owners = owner_of(labels, comm.size)
        alone = np.flatnonzero(~is_member)
    (roots,) = comm.exchange((labels[is_member],), owners[is_member])
    request = Request(owners[alone], ids[alone], comm)
    is_member[alone] = request.answer(comm.local(np.isin, request.words, roots))
    with comm.agree():
        rows = np.flatnonzero(is_member)
        scores = np.nan_to_num(priority.scores[rows], nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        places = places_of_rank(comm.rank, len(ids))[rows]
    columns = labels[rows], ids[rows], places, copies.places[rows], scores
    labels, ids, places, originals, scores = comm.exchange(columns, owners[rows])
    with comm.agree():
        order = np.lexsort((~ids if priority.last else ids, -scores, labels))
        labels = labels[order]
        bounds = np.append(np.flatnonzero(np.diff(labels, prepend=~labels[:1])), len(labels))
    return _Table(ids[order], places[order], originals[order], bounds)


def _first_rows(bounds: Rows) -> Rows:
    """Return, for every row, the first row of its component."""
    return np.repeat(bounds[:-1], np.diff(bounds))


def _similarity_to_heads(
    table: _Table, heads: Rows, comparer: Comparer, comm: Communicator
) -> NDArray[np.float32]:
    """Compare every document with the kept one of its group, on the rank that has the document's shingles."""
    with comm.agree():
        differ = np.flatnonzero(table.originals != table.originals[heads])
        pairs = np.stack([table.originals[differ], table.originals[heads[differ]]], axis=1)
        pairs, which = np.unique(pairs, axis=0, return_inverse=True)
        ranks, rows = split_places(pairs[:, 0])
        words = np.stack([rows.view(np.uint64), pairs[:, 1]], axis=1)
    request = Request(ranks, words, comm)
    asked = np.ascontiguousarray(request.words.T)
    found = request.answer(comparer.compare(asked[0].view(np.int64), asked[1]).astype(np.float32))
    similarity = np.ones(len(heads), dtype=np.float32)
    similarity[differ] = found[which.ravel()]
    return similarity


def _gather_groups(table: _Table, heads: Rows, similarity: NDArray[np.float32], comm: Communicator) -> Groups:
    """Bring the groups of at least two documents to rank 0, in the order of their smallest ids."""
    with comm.agree():
        sizes = np.bincount(heads, minlength=len(heads))
        rows = np.flatnonzero(sizes[heads] > 1)
        smallest = np.full(len(heads), np.iinfo(np.uint64).max)
        np.minimum.at(smallest, heads[rows], table.ids[rows])
        columns = smallest[heads[rows]], table.ids[rows], table.ids[heads[rows]], similarity[rows]
    heads_of, members, kept, to_kept = comm.exchange(columns, np.zeros(len(rows), dtype=np.int64))
    with comm.agree():
        order = np.lexsort((members, heads_of))
        heads_of = heads_of[order]
        starts = np.flatnonzero(np.diff(heads_of, prepend=~heads_of[:1]))
        return Groups(members[order], np.append(starts, len(order)), kept[order][starts], to_kept[order])


# -- stars --------------------------------------------------------------------------------------------


def _star_heads(table: _Table, threshold: float, comparer: Comparer, comm: Communicator) -> Rows:
    """Return the kept document of each row, so that the two are similar.

    Documents are taken in the order of preference: a document that is similar to no kept one is kept. This is
    the greedy algorithm of Aslam, Pelekhov and Rus 2004, "The star clustering algorithm", with that order.
    """
    with comm.agree():
        # A unit is a set of shingles; its first row is its preferred document.
        _, first, unit = np.unique(table.originals, return_index=True, return_inverse=True)
        order = np.argsort(first)
        first, unit = first[order], np.argsort(order)[unit]
        places = table.originals[first]
        bounds = np.append(np.searchsorted(first, table.bounds[:-1]), len(first))
    # Of one unit or two, the first is the centre, because they are in one component.
    centres = comm.local(_first_rows, bounds)
    large = np.flatnonzero(np.diff(bounds) > 2)
    members = [np.arange(bounds[k], bounds[k + 1]) for k in large.tolist()]
    sizes = comparer.sizes(places[np.concatenate([np.empty(0, dtype=np.int64), *members])])
    words = np.split(sizes, np.cumsum([0, *map(len, members)])[1:-1])
    for start, stop in cut_rounds([int(n.sum()) for n in words[: len(members)]], ROUND_WORDS, comm):
        part = members[start:stop]
        units = np.concatenate([np.empty(0, dtype=np.int64), *part])
        documents = comparer.fetch(places[units])
        with comm.agree():
            lengths = np.array([len(group) for group in part], dtype=np.int64)
            centres[units] = units[_centres(documents, np.append(0, np.cumsum(lengths)), threshold)]
    return first[centres[unit]]


def _centres(documents: Documents, bounds: Rows, threshold: float) -> Rows:
    """Return the centre of each of the documents, which lie component after component."""
    sizes = np.diff(bounds)
    centres = _first_rows(bounds)
    small = np.flatnonzero(np.repeat(sizes <= BLOCK, sizes))
    left, right = _all_pairs(centres, small)
    near = documents.compare(left, right) >= threshold
    left, right = left[near], right[near]
    order = np.lexsort((left, right))
    # The neighbours of each document that are before it.
    ends = np.searchsorted(right[order], np.arange(len(centres) + 1))
    kernel = backend_of(centres).kernels(crowded).choose_centres
    kernel(bounds, ends, left[order], 0, len(sizes), centres)
    for k in np.flatnonzero(sizes > BLOCK).tolist():
        rows = np.arange(bounds[k], bounds[k + 1])
        centres[rows] = rows[_centres_of_block(documents.block(rows, threshold), len(rows))]
    return centres


def _all_pairs(labels: Rows, rows: Rows) -> tuple[Rows, Rows]:
    """Return all pairs of the given rows that have equal labels; equal labels are together."""
    find_pairs = backend_of(labels).kernels(banding).bucket_pairs
    keys, nothing = labels[rows].view(np.uint64), np.empty(0, dtype=np.int64)
    n = find_pairs(keys, BLOCK, nothing, nothing)
    left, right = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    if n:
        find_pairs(keys, BLOCK, left, right)
    return rows[left], rows[right]


def _centres_of_block(block: Block, n: int) -> Rows:
    """Return the centre of each of n documents, 64 candidates for centres at a time."""
    centres = np.arange(n)
    apart = np.arange(n)
    together = np.zeros(n, dtype=np.int64)
    todo = np.arange(n)
    while len(todo):
        chosen, todo = todo[:BLOCK], todo[BLOCK:]
        kept: list[int] = []
        for b, hits in enumerate(block.hits(chosen, apart, chosen).tolist()):
            near = [k for k in kept if hits >> k & 1]
            if near:
                centres[chosen[b]] = chosen[near[0]]
            else:
                kept.append(b)
        # A later document needs only the first centre that it is near to.
        together[todo] = 1
        hits_of_kept = block.hits(chosen[kept], together, todo)
        together[todo] = 0
        found = np.flatnonzero(hits_of_kept)
        first = np.log2((hits_of_kept[found] & -hits_of_kept[found]).astype(np.float64)).astype(np.int64)
        centres[todo[found]] = chosen[kept][first]
        todo = np.delete(todo, found)
    return centres
