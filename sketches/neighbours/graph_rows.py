"""Rows of a graph of near neighbours: they are taken in, linked, merged and removed."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import FullBucketsWarning, IncompatibleSketchError
from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_array
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_flag, check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.types import Device, RowsLike
from ..core.guard import changing, locked, uninterrupted
from ..core.merging import parts_of
from ..core.state import Arrays, ArraySpec, State
from .appended_rows import AppendedRows
from .graph_building import (
    METRICS,
    Links,
    draw_long_links,
    improve_graph,
    link_nodes,
    random_words,
    spread_nodes,
)
from .graph_checks import check_nodes
from .graph_nodes import MOST_ROWS, Nodes, join_nodes, read_nodes
from .index import LSHIndex

__all__ = ["GraphRows"]

#: Ids in a bucket of the tables, and the most bytes of the tables.
_CAPACITY, _MOST_BYTES = 32, 1 << 30
#: Candidates of a row that are compared with it, for each neighbour that is listed.
_CANDIDATES = 4
#: Nodes at random at which a search begins; and nodes far from each other, and of how many they are.
_ENTRIES, _FAR, _SAMPLE = 8, 64, 1024


class GraphRows(AppendedRows):
    """Keep rows and link them; `NeighbourGraph` adds the queries, and documents the parameters."""

    _internal = True
    _parameters = (
        "family", "n_neighbors", "n_links", "n_long_links", "diversify", "n_rounds", "ef_build", "entry",
        "seed",
    )  # fmt: skip
    _row_arrays = ("nodes", "ids")

    def __init__(
        self,
        family: HashFamily,
        n_neighbors: int = 32,
        *,
        n_links: int | None = None,
        n_long_links: int = 0,
        diversify: bool = True,
        n_rounds: int = 2,
        ef_build: int = 64,
        entry: str = "hash",
        seed: int = 0,
    ) -> None:
        if not isinstance(family, HashFamily):
            raise TypeError(f"family must be a HashFamily, got {type(family).__name__}")
        if getattr(family, "metric", None) not in METRICS:
            raise TypeError(
                f"family must be one for a distance of vectors, {', '.join(METRICS)}, got "
                f"{type(family).__name__} for {getattr(family, 'metric', None)!r}"
            )
        if getattr(family, "n_features", None) is None:
            raise ValueError("family must have n_features, got None")
        size = family.n_hashes * family.n_buckets * (4 * _CAPACITY + 4)
        if size > _MOST_BYTES:
            raise ValueError(
                f"family must have n_hashes * n_buckets up to {_MOST_BYTES // (4 * _CAPACITY + 4):,}, whose "
                f"tables take one gibibyte, got {family.n_hashes:,} * {family.n_buckets:,}"
            )
        self.family = family
        self.n_neighbors = check_int("n_neighbors", n_neighbors, 1, 1 << 12)
        self.n_links = self.n_neighbors if n_links is None else check_int("n_links", n_links, 1, 1 << 12)
        self.n_long_links = check_int("n_long_links", n_long_links, 0, 1 << 8)
        self.diversify = check_flag("diversify", diversify)
        self.n_rounds = check_int("n_rounds", n_rounds, 0, 100)
        self.ef_build = check_int("ef_build", ef_build, 1, 1 << 16)
        self.entry = check_choice("entry", entry, ("hash", "fixed", "spread"))
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    @property
    def n_features(self) -> int:
        """The number of columns of rows and queries."""
        width: int = vars(self.family)["n_features"]
        return width

    @property
    def metric(self) -> str:
        """The distance by which rows are compared: that of the family."""
        name: str = self.family.metric
        return name

    # -- state ------------------------------------------------------------------------------------

    @lazy
    def _state(self) -> State[ArraySpec]:
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            # Distinct rows, which are the nodes, and the node of each row.
            "rows": ("float32", (0, self.n_features)),
            "nodes": ("int32", (0,)),
            "neighbours": ("int32", (0, self.n_neighbors)),
            "long_links": ("int32", (0, self.n_long_links)),
            # Without ids, rows have the numbers from 0 on.
            "ids": ("int64", (0,)),
        }
        specs = {name: ArraySpec(dtype, len(shape)) for name, (dtype, shape) in shapes.items()}
        arrays: Arrays = {name: np.zeros(shape, dtype) for name, (dtype, shape) in shapes.items()}
        return State(type(self).__name__, specs, arrays)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        widths = {"rows": self.n_features, "neighbours": self.n_neighbors, "long_links": self.n_long_links}
        check_nodes(arrays, widths, self.metric)
        self._check_stored_ids(arrays["ids"], len(arrays["nodes"]))

    def _check_device(self, device: str) -> None:
        if device != "cpu":
            raise NotImplementedError(f"{type(self).__name__} has no GPU kernels")

    # -- what derives from the state ----------------------------------------------------------------

    @property
    def _metric_number(self) -> int:
        return METRICS[self.metric]

    @property
    def _graph(self) -> Links:
        """The rows of nodes and their links, which the first search after a change makes."""
        arrays = self._arrays
        return self._state.cached(
            "graph", lambda: self._linked(arrays["rows"], arrays["neighbours"], arrays["long_links"])
        )

    def _linked(
        self, rows: NDArray[np.float32], lists: NDArray[np.int32], long_links: NDArray[np.int32]
    ) -> Links:
        number = self._metric_number
        links = link_nodes(rows, lists, number, self.n_links, self.diversify)
        return Links(read_only(rows), read_only(links), read_only(long_links), number)

    @property
    def _index(self) -> LSHIndex:
        """The nodes in hash tables."""
        return self._state.cached("index", lambda: self._indexed(None, self._arrays["rows"], 0))

    def _indexed(self, index: LSHIndex | None, rows: NDArray[np.float32], first: int) -> LSHIndex:
        """Return an index of the nodes from `first` on, and of those of another index."""
        index = LSHIndex(self.family, capacity=_CAPACITY, seed=self.seed) if index is None else index.copy()
        if first < len(rows):
            with warnings.catch_warnings():
                # Buckets that are full give a sample of their nodes, which suffices here.
                warnings.simplefilter("ignore", FullBucketsWarning)
                index.update(rows[first:], first_id=first)
        return index

    def _starts(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return nodes at random, of which nodes have these ids: the same whatever the order of updates."""
        return self._some(ids, _ENTRIES)

    def _some(self, ids: NDArray[np.int64], count: int) -> NDArray[np.int32]:
        words = random_words(self.seed, ids)
        n = min(count, ids.size)
        some = np.argpartition(words, n - 1)[:n] if n else np.empty(0, np.int64)
        return some[np.argsort(words[some])].astype(np.int32)

    @property
    def _fixed_entries(self) -> NDArray[np.int32]:
        return self._state.cached("starts", lambda: self._starts(self._ids_of_nodes(self._arrays)))

    @property
    def _far_entries(self) -> NDArray[np.int32]:
        """Nodes that are far from each other, among some at random."""

        def make() -> NDArray[np.int32]:
            some = self._some(self._ids_of_nodes(self._arrays), _SAMPLE)
            return spread_nodes(self._arrays["rows"], some, self._metric_number, _FAR)

        return self._state.cached("far", make)

    @staticmethod
    def _ids_of_nodes(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Return the smallest id of each node."""
        firsts = np.unique(arrays["nodes"], return_index=True)[1]
        ids: NDArray[np.int64] = arrays["ids"][firsts] if arrays["ids"].size else firsts.astype(np.int64)
        return ids

    # -- updates ------------------------------------------------------------------------------------

    def update(self, X: RowsLike, ids: ArrayLike | None = None) -> Self:
        """Take in rows, and link them.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        ids : array_like of n integers, optional
            Distinct, at least 0, and not those of other rows. Either all rows have ids, or none. Without ids,
            rows are numbered from 0 on.

        Returns
        -------
        The graph itself.

        Raises
        ------
        TypeError, ValueError
            If the rows have another width, are not finite, or are longer than 4e18 where their lengths count;
            if ids are not n distinct integers, or some rows have ids and others none. Nothing changes then.

        Notes
        -----
        Each new row is linked to old and new ones, so that few large batches give better links than many
        small ones. A batch also takes time for a copy of all arrays, for the choice of all links, and for
        long links, of which a share is drawn anew: about as many as if all were drawn now lead to new rows.
        Beside the arrays, it takes two copies of them, about ``40 n_links`` bytes a distinct row, and up to
        250 MB.
        """
        refuse_gpu(type(self).__name__, X, ids)
        with self._lock, changing(self, beside_queries=True):
            rows = read_rows(X, self.n_features)
            numbers = self._read_ids(None if ids is None else check_array("ids", ids), rows.n)
            if rows.n:
                nodes = read_nodes(rows, self.metric, "X")
                part = self._unlinked(nodes)
                self._take([(self._nodes_of(self._arrays), self._arrays["ids"]), (part, numbers)], [1])
        return self

    def _unlinked(self, rows: NDArray[np.float32]) -> Nodes:
        n = len(rows)
        return Nodes(
            rows,
            np.arange(n, dtype=np.int32),
            np.full((n, self.n_neighbors), -1, np.int32),
            np.full((n, self.n_long_links), -1, np.int32),
        )

    @staticmethod
    def _nodes_of(arrays: Mapping[str, NDArray[Any]]) -> Nodes:
        return Nodes(*(arrays[name] for name in Nodes._fields))

    def _take(self, parts: list[tuple[Nodes, NDArray[np.int64]]], fresh: list[int]) -> None:
        """Take over the rows of parts, of which those that are `fresh` are searched in all others."""
        sizes = [len(part.nodes) for part, _ in parts]
        total = sum(sizes)
        if total > MOST_ROWS:
            raise OverflowError(f"{type(self).__name__} cannot have more than {MOST_ROWS:,} rows")
        with_ids = {ids.size > 0 for (_, ids), size in zip(parts, sizes, strict=True) if size}
        if len(with_ids) > 1:
            raise ValueError("ids must be given for all rows or for none, got some rows with ids")
        ids, order = np.concatenate([ids for _, ids in parts]), None
        if (np.diff(ids) <= 0).any():
            order = np.argsort(ids, kind="stable")
            ids = ids[order]
            if (repeated := ids[1:][np.diff(ids) == 0]).size:
                raise ValueError(f"ids must be distinct, got {repeated[0]} twice")
        joined, numbers, pairs, origins = join_nodes([part for part, _ in parts], order)
        is_old = np.ones(len(joined.rows), np.bool_)
        for i in fresh:
            is_old[numbers[i]] = False
        for i in set(range(len(parts))) - set(fresh):
            is_old[numbers[i]] = True
        ours = numbers[0]
        in_place = np.array_equal(ours, np.arange(ours.size))
        index = self._index if in_place and ours.size else None
        self._link(joined, ids, np.flatnonzero(~is_old), pairs, origins, index, ours.size if index else 0)

    def _link(
        self,
        joined: Nodes,
        ids: NDArray[np.int64],
        fresh: NDArray[np.int64],
        pairs: NDArray[np.int32],
        origins: NDArray[np.int32],
        index: LSHIndex | None,
        n_indexed: int,
    ) -> None:
        """Link the fresh ones of nodes, and take over all."""
        rows, lists, number = joined.rows, joined.neighbours, self._metric_number
        index = self._indexed(index, rows, n_indexed)
        arrays: Arrays = {**joined._asdict(), "ids": ids}
        of_nodes = self._ids_of_nodes(arrays)
        starts = self._starts(of_nodes)
        k = self.n_neighbors
        no_links = np.full((len(rows), 0), -1, np.int32)

        def candidates(some: NDArray[np.int64]) -> NDArray[Any]:
            found: NDArray[Any] = index.search(rows[some], rows, k + 1, n_candidates=_CANDIDATES * k).ids
            return np.where(found == some[:, None], -1, found)

        improve_graph(
            rows, lists, fresh, pairs, number, candidates, lambda made: self._linked(rows, made, no_links),
            starts, self.ef_build, self.n_rounds,
        )  # fmt: skip
        if self.n_long_links:
            draw_long_links(rows, random_words(self.seed, of_nodes), origins, number, joined.long_links)
        graph = self._linked(rows, lists, joined.long_links)
        with changing(self), uninterrupted():
            self._set_arrays(arrays)
            self._state.caches.update(graph=graph, index=index, starts=starts)

    def remove(self, ids: ArrayLike, *, missing: str = "raise") -> Self:
        """Remove rows by their ids, and link the rows that were near to them anew.

        Parameters
        ----------
        ids : array_like of n integers
            Distinct. Rows to which no ids were given have the numbers from 0 on.
        missing : {"raise", "ignore"}
            What to do with ids that no row has.

        Returns
        -------
        The graph itself.

        Raises
        ------
        TypeError, ValueError
            If ids are not distinct integers, or no rows have them. Nothing changes then.

        Notes
        -----
        The other rows keep their ids, so that they have ids afterwards, and rows that are appended need ids,
        too. If no row is left, the graph is as new. If no row is removed, nothing changes.
        """
        check_choice("missing", missing, ("raise", "ignore"))
        with self._lock, changing(self, beside_queries=True):
            _, gone = self._find(ids, missing == "raise")
            gone = gone[gone >= 0]
            if not gone.size:
                return self
            ours = self._nodes_of(self._arrays)
            stay = np.delete(np.arange(len(self)), gone)
            if not stay.size:
                with changing(self), uninterrupted():
                    self._set_arrays(dict(self.empty_like()._arrays))
                return self
            kept, firsts = np.unique(ours.nodes[stay], return_index=True)
            kept = kept[np.argsort(firsts)]
            new_of_old = np.full(len(ours.rows) + 1, -1, np.int32)
            new_of_old[kept] = np.arange(kept.size, dtype=np.int32)
            # The last place is that of -1.
            lists, long_links = new_of_old[ours.neighbours[kept]], new_of_old[ours.long_links[kept]]
            lost = ((lists < 0) & (ours.neighbours[kept] >= 0)).any(axis=1)
            lists = np.take_along_axis(lists, np.argsort(lists < 0, axis=1, kind="stable"), axis=1)
            left = Nodes(ours.rows[kept], new_of_old[ours.nodes[stay]], lists, long_links)
            no_pairs, origins = np.zeros((0, 2), np.int32), np.zeros(kept.size, np.int32)
            self._link(left, self.ids[stay], np.flatnonzero(lost), no_pairs, origins, None, 0)
        return self

    # -- merging ------------------------------------------------------------------------------------

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Take in the rows and links of other graphs of the same parameters, in place.

        Parameters
        ----------
        *others : graphs, or iterables of them
            They are not changed.

        Returns
        -------
        The graph itself.

        Raises
        ------
        IncompatibleSketchError
            If parameters differ, or some rows have ids and others none, or two have the same id. Nothing
            changes then.

        Notes
        -----
        The rows of all graphs but the largest are searched in all graphs, and linked with what is found.
        Those of several graphs of the same size are all searched. With ids, the order of graphs does not
        matter, but it matters which graphs merge first. Up to 1,024 distinct rows, merged graphs are exact.
        """
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self._check_compatible(part)
        with locked(self, *parts), changing(self, beside_queries=True):
            given = [self, *(part for part in parts if len(part))]
            sizes = [len(part._arrays["rows"]) for part in given]
            fresh = [i for i, size in enumerate(sizes) if size < max(sizes) or sizes.count(size) > 1]
            try:
                if len(given) > 1:
                    arrays = [part._arrays for part in given]
                    self._take([(self._nodes_of(part), part["ids"]) for part in arrays], fresh)
            except ValueError as error:
                raise IncompatibleSketchError(f"{type(self).__name__} cannot merge: {error}") from None
        return self

    def to(self, device: Device) -> Self:
        """Return a copy; there are no GPU kernels.

        Parameters
        ----------
        device : {"cpu"}

        Returns
        -------
        A graph that shares no memory with this one.

        Raises
        ------
        NotImplementedError
            For "gpu".
        """
        return super().to(device)
