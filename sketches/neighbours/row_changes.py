"""Rows that leave an index, or that change: their ids are found in the tables, and taken out or moved."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_choice, renamed
from ...lsh.support.types import RowsLike
from ..core.guard import changing, uninterrupted
from ..kernels import index_removal
from .id_numbers import listed_ids
from .tables import IndexTables

__all__ = ["ChangingRows", "FoundRows", "refuse_missing_ids", "refuse_repeated_ids"]

#: More entries than a bucket has.
_ALL = 1 << 31


class FoundRows(NamedTuple):
    """Distinct ids, and where they are in the tables."""

    #: Shape (n,), in the dtype of slots.
    ids: NDArray[Any]
    #: int64, shape (n, L): the bucket of each id in each table, -1 if it is in none.
    buckets: NDArray[np.int64]
    #: bool, shape (n,): whether the index contains the row.
    is_there: NDArray[np.bool_]
    #: The number of entries in further buckets, for ids that were added several times.
    n_further: int = 0
    #: The largest number of entries of an id that leave a bucket: 1 if the rows themselves were given.
    most: int = _ALL

    def only(self, chosen: NDArray[np.bool_]) -> FoundRows:
        """Return some of the rows."""
        return self._replace(
            ids=self.ids[chosen], buckets=self.buckets[chosen], is_there=self.is_there[chosen]
        )


class ChangingRows(IndexTables):
    """The part of `LSHIndex` that removes and replaces rows."""

    _internal = True

    def remove(self, ids: ArrayLike, X: RowsLike | None = None, *, missing: str = "raise") -> Self:
        """Remove rows by their ids.

        Parameters
        ----------
        ids : array_like of n integers
            Distinct. An id that was added several times is removed completely, unless `X` is given.
        X : n rows, optional
            The rows, as they were added. With them only their own buckets are read, and an id that was added
            several times loses only the row that is given. Without them, all buckets are searched for the
            ids.
        missing : {"raise", "ignore"}
            What to do with ids that are not in the index.

        Returns
        -------
        The index itself.

        Raises
        ------
        TypeError, ValueError
            If ids are not distinct integers, are negative or too large, or are not in the index; or if the
            family refuses the rows. The index does not change then.
        NotImplementedError
            If the index lies on a GPU.

        Notes
        -----
        The index afterwards is that of the other rows, bit for bit, as long as no bucket has dropped ids.
        Otherwise a full bucket that loses a row has one id less, until it is known to have dropped none of
        the remaining rows. Each remaining row, and each row that is added later, has the same probability to
        be in the bucket, if rows are not chosen for removal by what the index returns. A row that comes back
        to a full bucket under its old id is kept less often than others, so give it a new id.

        Where rows come and go, a bucket that has dropped ids becomes emptier with time, so choose the
        capacity so that `overflow` stays 0. A bucket loses fewer ids for good if you pass `X`: the index then
        knows from which buckets an id was dropped before. An id that full buckets have dropped from all
        tables counts as missing without `X`. With `X`, wrong rows are detected as missing, unless their
        buckets have dropped ids.

        An index does not remember what was removed: merging it with one that contains such a row brings the
        row back. Remove rows after merging, or from all parts. Ids that the index chooses are never used
        again.

        Cost: a pass over the buckets that are not empty, or with `X` the hashes of the rows and ``n L``
        random accesses; and ``16 L`` temporary bytes a row.

        References
        ----------
        - Gemulla, Lehner, Haas. A dip in the reservoir: maintaining sample synopses of evolving datasets.
          VLDB 2006. Its random pairing keeps full samples, but needs the number of rows in each bucket.

        Examples
        --------
        >>> import numpy as np, mergesketch
        >>> from mergesketch.lsh import SignedRandomProjection
        >>> X = np.random.default_rng(0).standard_normal((100, 16))
        >>> index = mergesketch.LSHIndex(SignedRandomProjection(16, 40, power=6, seed=1)).update(X)
        >>> index.query(X[7:8], k=1).ids, index.remove([7, 8]).n_updates
        (array([[7]]), 98)
        >>> bool(index.query(X[7:8], k=1).ids == 7)
        False
        """
        check_choice("missing", missing, ("raise", "ignore"))
        with self._lock, changing(self, beside_queries=self._state.is_allocated):
            found = self.find_rows(ids, X)
            if missing == "raise":
                refuse_missing_ids(found.ids[~found.is_there])
            self.change_rows(found.only(found.is_there))
        self._warn_of_full_buckets()
        return self

    def replace(
        self, ids: ArrayLike, X: RowsLike, *, old: RowsLike | None = None, missing: str = "raise"
    ) -> Self:
        """Replace the rows of some ids by others.

        Parameters
        ----------
        ids : array_like of n integers
            Distinct.
        X : n rows
            The new rows, as `update` takes them.
        old : n rows, optional
            The rows until now, as they were added: see `X` of `remove`.
        missing : {"raise", "add"}
            What to do with ids that are not in the index, or not with the row of `old`. "add" adds their
            rows.

        Returns
        -------
        The index itself.

        Raises
        ------
        TypeError, ValueError
            As `remove` and `update` do. The index does not change then.
        NotImplementedError
            If the index lies on a GPU.

        Notes
        -----
        A row that stays in its bucket of a table changes nothing there. Otherwise it leaves one bucket and
        enters another one, as `remove` describes. An id that full buckets had dropped may come back.

        Examples
        --------
        >>> import numpy as np, mergesketch
        >>> from mergesketch.lsh import SignedRandomProjection
        >>> X = np.random.default_rng(0).standard_normal((100, 16))
        >>> index = mergesketch.LSHIndex(SignedRandomProjection(16, 40, power=6, seed=1)).update(X[:90])
        >>> index.replace([7], X[95:96]).query(X[95:96], k=1)
        Neighbours(ids=array([[7]]), counts=array([[40]], dtype=int32))
        """
        check_choice("missing", missing, ("raise", "add"))
        with self._lock, changing(self, beside_queries=self._state.is_allocated), self._without_trace():
            self._claim_device("X", X)
            self._fix_family(X)
            codes = self.family.hash(X)
            self.check_ids(ids, len(codes))
            with renamed("X", "old"):
                found = self.find_rows(ids, old)
            if missing == "raise":
                refuse_missing_ids(found.ids[~found.is_there])
            self.change_rows(found, codes)
        self._warn_of_full_buckets()
        return self

    # -- parts of a change, which indexes over ranks take one by one ---------------------------------

    def find_rows(self, ids: ArrayLike, X: RowsLike | None = None) -> FoundRows:
        """Return where rows are in the tables.

        Parameters
        ----------
        ids : array_like of n integers
        X : n rows, optional
            The rows, as they were added.

        Returns
        -------
        FoundRows

        Raises
        ------
        TypeError, ValueError
            If ids are no distinct integers in the range of ids, or the family refuses the rows.
        NotImplementedError
            If the index lies on a GPU.
        """
        refuse_gpu(f"{type(self).__name__}.remove", ids, X)
        if self.device == "gpu":
            raise NotImplementedError(
                f"{type(self).__name__} has no GPU kernels that remove rows, because full buckets would need "
                'slots that stay empty; move the index by .to("cpu")'
            )
        n_tables = self.family.n_hashes
        if X is None:
            codes = None
            numbers = self.check_ids(ids, None)
        else:
            codes = self.family.hash(X)
            numbers = self.check_ids(ids, len(codes))
        refuse_repeated_ids(numbers)
        buckets, n_further = np.full((numbers.size, n_tables), -1, np.int64), 0
        if self._state.is_allocated and codes is None:
            n_further = self._find(numbers, buckets)
        elif self._state.is_allocated and codes is not None:
            buckets[...] = codes
            places = self._read_only_buckets()
            self._backend.map_blocks(
                lambda a, b: index_removal.check_places(*places, numbers, a, b, buckets), n_tables, 1
            )
        # A row is in the buckets of all tables, of which full ones may have dropped it.
        is_there = (buckets >= 0).sum(axis=1) >= (1 if codes is None else n_tables)
        # Full buckets may have dropped any id, so that they do not tell which rows are missing. No bucket
        # counts one id less for a row that is missing.
        buckets[~is_there] = -1
        return FoundRows(numbers, buckets, is_there, n_further, _ALL if codes is None else 1)

    def change_rows(self, found: FoundRows, codes: NDArray[np.uint32] | None = None) -> None:
        """Take rows out of their buckets, and put them into those of new codes, if there are codes.

        Parameters
        ----------
        found : FoundRows
            The result of `find_rows`, or some of its rows. The buckets are overwritten.
        codes : uint32 array of shape (n, L), optional
            The codes of the new rows.
        """
        n, state = len(found.ids), self._state
        if not n:
            return
        added = found.ids[:0] if codes is None else found.ids[~found.is_there]
        amounts = {} if codes is None else {"seen": n, "n_updates": n}
        # All arrays are allocated before anything changes.
        counts, most = np.zeros_like(found.buckets), np.empty(n, np.int64)
        nowhere = np.zeros((0, self.family.n_hashes), np.uint32)
        with self._lock, changing(self), uninterrupted(), state.reserved(amounts):
            self._move(found, nowhere if codes is None or found.n_further else codes, counts)
            n_further = found.n_further
            while n_further:
                # These are entries of ids that were added several times, in other buckets.
                found.buckets[...] = -1
                n_further = self._find(found.ids, found.buckets)
                self._move(found, nowhere, counts)
            n_removed = int(counts.max(axis=1, out=most).sum())
            if codes is not None and found.n_further:
                found.buckets[...] = -1
                self._move(found, codes, counts)
            state.caches["is_ordered"] = False
            state.arrays["n_updates"] += (0 if codes is None else n) - n_removed
            self.note_ids(added)
            self._complete_tables()

    def _move(self, found: FoundRows, codes: NDArray[np.uint32], counts: NDArray[np.int64]) -> None:
        """Move the entries of ids in all tables, and add the number of those that were there to `counts`."""
        (slots, seen), keys, new = self.buckets(), self._keys, read_only(codes)
        ids, buckets, most = found.ids, found.buckets, found.most
        self._backend.map_blocks(
            lambda a, b: index_removal.move_ids(ids, buckets, new, keys, most, a, b, slots, seen),
            len(seen),
            1,
        )
        counts += buckets

    def _complete_tables(self) -> None:
        """Note that the buckets of a table have all their ids, where all rows are in its slots."""
        (slots, seen), caches = self.buckets(), self._state.caches
        if int(seen.max()) <= self.capacity:
            return
        # A larger share of the entries may have been dropped than when it was counted last.
        caches["is_dropping"], caches["counted_at"] = True, 0
        for table in range(len(seen)):
            if index_removal.count_entries(*self._read_only_buckets(), table, table + 1) == self.n_updates:
                index_removal.complete_buckets(slots, table, table + 1, seen)


def refuse_missing_ids(ids: NDArray[Any], rows: str = "rows in the index") -> None:
    """Raise ValueError if there are ids that no row has."""
    if ids.size:
        raise ValueError(f"ids must be those of {rows}, got {listed_ids(ids)}; pass missing to accept others")


def refuse_repeated_ids(ids: NDArray[Any]) -> None:
    """Raise ValueError if an id is among some ids more than once."""
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if repeated.size:
        raise ValueError(f"ids must be distinct, got {listed_ids(np.unique(repeated))} more than once")
