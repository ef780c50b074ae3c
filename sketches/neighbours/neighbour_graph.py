"""A graph of near neighbours that is searched by following its links."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.support.aliases import alias
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range, map_blocks
from ...lsh.support.types import RowsLike
from ..kernels.neighbour_graph import spread_over_rows
from .graph_building import Found, search_links
from .graph_nodes import read_nodes
from .graph_rows import GraphRows
from .index import Nearest
from .ranking import ranker

__all__ = ["NeighbourGraph", "Visits"]

#: Queries that are worth a thread of their own, and nodes that are found at a time, over all queries.
_QUERIES, _FOUND = 16, 1 << 21
#: Nodes at which a search begins: those that the tables give, and the same ones always.
_ENTRIES, _ALWAYS = 8, 2


class Visits(NamedTuple):
    """Contain what the searches of n queries cost."""

    #: int64, shape (n,): the number of nodes whose links were followed.
    hops: NDArray[np.int64]
    #: int64, shape (n,): the number of distances that were computed, without those of the hash tables.
    distances: NDArray[np.int64]


class NeighbourGraph(GraphRows):
    """Build an approximate k-nearest-neighbour graph (k-NN graph, ANN), and search it by its links.

    Parameters
    ----------
    family : HashFamily
        Of the metric "angle", "euclidean" or "cityblock", with known `n_features`, such as
        `SignedRandomProjection` and `PStable`. It finds candidates for new rows, and the rows at which
        searches begin. A few tables suffice, with a bucket for every 10 to 100 rows.
    n_neighbors : int, default 32
        Number of nearest rows that are listed for each row, k, up to 4,096.
    n_links : int, optional
        The most links of a row, by default `n_neighbors`.
    n_long_links : int, default 0
        Number of further links of each row to rows that may be far away. They help where searches begin far
        from the query, as with ``entry="fixed"``, and where rows are in groups that no other link joins.
    diversify : bool, default True
        True to leave out links to rows that are nearer to another linked row than to the row itself.
    n_rounds : int, default 2
        How often new rows are searched in the graph to improve their lists.
    ef_build : int, default 64
        The `ef` of these searches.
    entry : {"hash", "fixed", "spread"}
        Where a search begins: at rows that share buckets with the query; always at the same row, from which
        only rows are found that links lead to; or at up to 64 rows far from each other, always the same.
        Queries whose buckets are empty begin at these 64 rows with "hash", too.
    seed : int, default 0
        Seed of what is drawn at random, in [0, 2**64).

    Attributes
    ----------
    ids : ndarray of shape (n,), int64
        The ids of rows, rising.
    n_updates : int
        Number of rows, which `len` returns, too.
    nbytes : int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    **Building.** Hash tables (`LSHIndex`) give candidates for each row, of which the nearest are listed. Then
    each row is searched in the graph of these lists, beginning at its own list, so that neighbours of
    neighbours are found (as in NN-descent, Dong, Moses and Li 2011, but by a search). A row offers itself to
    the lists of those that it has found. This is done `n_rounds` times. Up to 1,024 distinct rows, all
    distances are computed, and the lists are exact.

    **Links.** A row is linked to the rows of its list, the nearest first. A listed row is left out if it is
    nearer to one that is linked already than to the row itself (Malkov and Yashunin 2020, algorithm 4, but
    rows at equal distances are linked here). Links to the rows that have linked this one follow, up to
    `n_links` in all: first to those of which this row is the nearest one, and then to the nearest.

    **Searching.** A search keeps the `ef` nearest rows so far, and follows the links of the nearest of them
    that was not visited. It ends when all were visited. With ``ef=1`` it is the greedy search. Prokhorenkova
    and Shekhovtsov (2020) show that for rows uniform on a sphere of d dimensions, where d is far below log n,
    greedy search takes about ``n**(1 / d)`` hops, and about ``log(n)**2`` with long links whose probability
    falls with the rank of the row that they lead to, as that of `n_long_links` does.

    **Equal rows** are one node of the graph, so that thousands of them do not crowd out other neighbours.

    **Rows are kept** as float32; where angles are compared, they are scaled to length 1. Searches compare
    in float32. The distances that they return are computed anew in float64, from the rows that are kept.
    Distances below about 1e-19 count as equal on the way.

    **Memory** is ``4 d + 4 k + 4 n_long_links`` bytes a distinct row, 4 a row, and 8 more with ids. In use,
    it is ``4 n_links`` more a row for links, and ``132 n_hashes n_buckets`` for the tables. Neither is saved
    in a file: the first search after loading makes them. **Cost**: an update takes about
    ``n_rounds * ef_build * n_links / 2`` distances a new row, and a search about ``ef n_links / 2``.

    **Merging** searches the rows of the smaller graphs in the larger one. A merged graph has the same rows as
    one that was built at once, but not always the same lists. It does not depend on the order of graphs that
    have ids. The result of each update, merge and search depends on neither threads nor processors.

    References
    ----------
    - Prokhorenkova, Shekhovtsov. Graph-based nearest neighbor search: from practice to theory. ICML 2020.
    - Malkov, Yashunin. Efficient and robust approximate nearest neighbor search using hierarchical navigable
      small world graphs. IEEE Transactions on Pattern Analysis and Machine Intelligence 42(4), 2020.
    - Dong, Moses, Li. Efficient k-nearest neighbor graph construction for generic similarity measures. WWW
      2011.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> from mergesketch.lsh import SignedRandomProjection
    >>> X = np.random.default_rng(0).standard_normal((2000, 16))
    >>> family = SignedRandomProjection(n_features=16, n_hashes=8, power=6, seed=1)
    >>> graph = mergesketch.NeighbourGraph(family, n_neighbors=16).update(X)
    >>> graph.search(X[:2], k=3, ef=50).ids[:, 0]
    array([0, 1])
    >>> graph.to_csr().shape
    (2000, 2000)
    """

    # -- queries ------------------------------------------------------------------------------------

    def search(self, Q: RowsLike, k: int = 10, *, ef: int = 64) -> Nearest:
        """Return the k nearest rows that a search of the graph finds for each query.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n_queries, n_features)
        k : int
            At least 1.
        ef : int, default 64
            Number of rows that a search keeps; k if it is less. More find more, and take longer. With as many
            as there are distinct rows, the query is compared with all, and the result is exact.

        Returns
        -------
        Nearest
            ``(ids, distances)``, both of shape (n_queries, k), the nearest first, at equal distances by
            rising id. Distances are in the units of the family's metric. Where fewer rows are found, the id
            is -1 and the distance infinite.

        Raises
        ------
        TypeError, ValueError
            If queries have another width, are not finite, or are too long, or if `k` or `ef` is not a
            positive integer.
        """
        k, ef = check_int("k", k, 1, 1 << 31), check_int("ef", ef, 1, 1 << 31)
        refuse_gpu(type(self).__name__, Q)
        rows, n = read_rows(Q, self.n_features, "Q"), len(self)
        held = min(k, n)
        ids, distances = np.full((rows.n, k), -1, np.int64), np.full((rows.n, k), np.inf)
        for first, last in self._together(rows.n if n else 0, max(held, ef)):
            some = rows.cut(first, last)
            found, own = self._found(some, max(held, ef)), np.full(last - first, -1, np.int64)
            numbers, near = self._exact(some, found.nodes, own, held)
            ids[first:last, :held], distances[first:last, :held] = self._as_ids(numbers), near
        return Nearest(ids, distances)

    query = alias(search)

    def visits(self, Q: RowsLike, *, ef: int = 64) -> Visits:
        """Return what searches cost: how many rows they visit, and how many distances they compute.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n_queries, n_features)
        ef : int, default 64
            As in `search`.

        Returns
        -------
        Visits
            ``(hops, distances)``, both of shape (n_queries,). There are no hops where `ef` is at least the
            number of distinct rows, because the query is compared with all then.

        Raises
        ------
        TypeError, ValueError
            As `search` does.
        """
        ef = check_int("ef", ef, 1, 1 << 31)
        refuse_gpu(type(self).__name__, Q)
        rows = read_rows(Q, self.n_features, "Q")
        visits = Visits(np.zeros(rows.n, np.int64), np.zeros(rows.n, np.int64))
        for first, last in self._together(rows.n if len(self) else 0, ef):
            found = self._found(rows.cut(first, last), ef)
            visits.hops[first:last], visits.distances[first:last] = found.hops, found.evaluations
        return visits

    def _together(self, n: int, width: int) -> Iterator[tuple[int, int]]:
        """Return ranges of queries for which as many nodes are found at a time as fit in some memory."""
        return cut_range(0, n, max(1, _FOUND // max(1, min(width, len(self._arrays["rows"])))))

    def _found(self, rows: VectorRows, ef: int) -> Found:
        """Return the nodes that searches of some queries find."""
        queries, m = read_nodes(rows, self.metric, "Q"), len(self._arrays["rows"])
        if ef >= m:
            # No search is needed to find all nodes.
            nodes = np.broadcast_to(np.arange(m, dtype=np.int32), (rows.n, m))
            return Found(nodes, np.zeros(rows.n, np.int64), np.full(rows.n, m))
        return search_links(queries, self._graph, self._entries(queries), ef, ef)

    def _entries(self, queries: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return the nodes where queries begin."""
        fixed = self._fixed_entries
        if self.entry == "fixed":
            return np.broadcast_to(fixed[:1], (len(queries), 1)).copy()
        far = self._far_entries
        if self.entry == "spread":
            return np.broadcast_to(far, (len(queries), far.size)).copy()
        near = self._index.query(queries, _ENTRIES).ids
        # Nodes at random serve where few share buckets, and where what is linked with the others is little.
        always = np.broadcast_to(fixed[:_ALWAYS], (len(queries), fixed[:_ALWAYS].size))
        filled = np.where(near < 0, np.resize(fixed, _ENTRIES), near)
        entries = np.concatenate([filled.astype(np.int32), always], axis=1)
        is_alone = near.max(axis=1) < 0
        if not is_alone.any():
            return entries
        # The hash says nothing of where such a query is.
        return np.concatenate([entries, np.where(is_alone[:, None], far, np.int32(-1))], axis=1)

    def _exact(
        self, rows: VectorRows, nodes: NDArray[np.int32], own: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the numbers of the k nearest rows among those of some nodes, and their distances."""
        n, kept = rows.n, self._arrays["rows"]
        width = nodes.shape[1]
        sizes = (nodes >= 0).sum(axis=1)
        # Candidates are nodes plus one; -1 stands at the end only.
        candidates = nodes.astype(np.uint32) + np.uint32(1)
        near, distances = np.full((n, width), -1, np.int64), np.full((n, width), np.inf)
        offsets = np.arange(n + 1, dtype=np.int64) * width
        rank, flat = ranker(self.family, rows, kept).rank, candidates.reshape(-1)
        map_blocks(
            lambda a, b: rank(flat, offsets[a : b + 1], sizes[a:b], width, a, near, distances), n, _QUERIES
        )
        if len(self) == len(kept) and not (own >= 0).any():
            return near[:, :k], distances[:, :k]
        numbers, out = np.empty((n, k), np.int64), np.empty((n, k))
        firsts, members = self._members
        given = read_only(near), read_only(distances), firsts, members, read_only(own)
        map_blocks(lambda a, b: spread_over_rows(*given, a, b, numbers, out), n, _QUERIES)
        return numbers, out

    @property
    def _members(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of each node: where those of each begin, and all rows in the order of nodes."""
        nodes, m = self._arrays["nodes"], len(self._arrays["rows"])

        def make() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            firsts = np.zeros(m + 1, np.int64)
            firsts[1:] = np.cumsum(np.bincount(nodes, minlength=m))
            return read_only(firsts), read_only(np.argsort(nodes, kind="stable"))

        return self._state.cached("members", make)

    def _as_ids(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        ids = self._arrays["ids"]
        return np.where(numbers < 0, -1, ids[numbers]) if ids.size else numbers

    # -- the graph ----------------------------------------------------------------------------------

    def neighbors(self, k: int | None = None) -> Nearest:
        """Return the nearest other rows of each row, as far as the graph has them.

        Parameters
        ----------
        k : int, optional
            From 1 to `n_neighbors`, which is the default.

        Returns
        -------
        Nearest
            ``(ids, distances)``, both of shape (n, k), in the order of `ids`: the nearest first, at equal
            distances by rising id. Where there are fewer, the id is -1 and the distance infinite.

        Raises
        ------
        TypeError, ValueError
            If `k` is not such an integer.

        Notes
        -----
        UMAP takes such arrays as `precomputed_knn`, with the row itself in front.
        """
        numbers, distances = self._neighbours(self._check_k(k))
        return Nearest(self._as_ids(numbers), distances)

    def _check_k(self, k: int | None) -> int:
        return self.n_neighbors if k is None else check_int("k", k, 1, self.n_neighbors)

    def _neighbours(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        arrays, n = self._arrays, len(self)
        nodes, kept, lists = arrays["nodes"], arrays["rows"], arrays["neighbours"]
        numbers, distances = np.empty((n, k), np.int64), np.empty((n, k))
        for first, last in self._together(n, lists.shape[1] + 1):
            ours = nodes[first:last]
            near = np.concatenate([ours[:, None], lists[ours]], axis=1)
            own = np.arange(first, last)
            numbers[first:last], distances[first:last] = self._exact(read_rows(kept[ours]), near, own, k)
        return numbers, distances

    def to_csr(self, k: int | None = None, *, mode: str = "distance") -> scipy.sparse.csr_array:
        """Return the k-nearest-neighbour graph as a sparse matrix, as scikit-learn's `kneighbors_graph`.

        Parameters
        ----------
        k : int, optional
            From 1 to `n_neighbors`, which is the default.
        mode : {"distance", "connectivity"}
            The values: distances, or ones.

        Returns
        -------
        csr_array of shape (n, n), float64
            Rows and columns are in the order of `ids`. Row i has an entry for each of the neighbours that
            `neighbors` returns, the nearest first, also where the distance is 0.

        Raises
        ------
        TypeError, ValueError
            If `k` is not such an integer, or `mode` is another one.
        """
        check_choice("mode", mode, ("distance", "connectivity"))
        numbers, distances = self._neighbours(self._check_k(k))
        there, n = numbers >= 0, len(self)
        indptr = np.zeros(n + 1, np.int64)
        indptr[1:] = np.cumsum(there.sum(axis=1))
        values: Any = distances[there] if mode == "distance" else np.ones(int(indptr[-1]))
        return scipy.sparse.csr_array((values, numbers[there], indptr), shape=(n, n))


publish("mergesketch", __all__, globals())
