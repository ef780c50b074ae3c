"""The tables of an index: buckets of ids, whose contents do not depend on threads, ranks and merges."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import FullBucketsWarning, IncompatibleSketchError
from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import refuse_flags
from ...lsh.support.backend import read_only, to_host
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.lazy import lazy
from ...lsh.support.random import random_uint64
from ...lsh.support.types import Device, RowsLike
from ..core.base import MergeableSketch
from ..core.guard import changing, uninterrupted
from ..core.hashed_rows import check_codes
from ..core.state import StateSpec
from ..kernels import index, index_removal
from .id_numbers import ID_NUMBERS, NO_ID, IdNumbers, ids_within, listed_ids, refuse_ids_there

__all__ = ["IndexBatch", "IndexTables"]

R = TypeVar("R")

#: Share of insertions that an index may drop without a warning. Suggested indexes drop up to 1 %.
_TOLERATED = 0.02


class IndexBatch(NamedTuple):
    """The codes and ids of rows."""

    codes: NDArray[np.uint32]
    ids: NDArray[Any]
    #: True if the index has chosen the ids itself, from 0 on.
    by_default: bool = False
    #: True if the index has chosen the ids itself, after others that were given.
    is_numbered: bool = False


class IndexTables(MergeableSketch):
    """The tables of an `LSHIndex`; methods without an underscore are for other parts of the package too."""

    # An index whose rows were given ids equals one that has chosen the same ids itself.
    # An index whose rows were removed equals one that never had them.
    _not_compared = frozenset(ID_NUMBERS)

    family: HashFamily
    capacity: int
    wide_ids: bool
    seed: int

    def _layout(self) -> dict[str, StateSpec]:
        tables, buckets = self.family.n_hashes, self.family.n_buckets
        return {
            "slots": StateSpec(
                (tables, buckets, self.capacity),
                "uint64" if self.wide_ids else "uint32",
                "reservoir",
                remedy="pass n_buckets to the family, or a smaller capacity",
            ),
            "seen": StateSpec((tables, buckets), "int32", "reservoir", widens_to="int64", counts=True),
            **ID_NUMBERS,
        }

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "LSHIndex priorities", self.family.n_hashes)

    # -- hashing ----------------------------------------------------------------------------------

    def hash_rows(self, X: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of rows, or of no rows for None; the rows must lie on the index's device."""
        self._claim_device("X", X)
        return self._no_codes() if X is None else self.family.hash(X)

    def hash_queries(self, Q: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of queries, or of no queries for None; they must lie on the index's device."""
        self._claim_device("Q", Q)
        return self._no_codes() if Q is None else self.family.hash_query(Q)

    def _no_codes(self) -> NDArray[np.uint32]:
        return self._backend.xp.empty((0, self.family.n_hashes), np.uint32)

    # -- ids --------------------------------------------------------------------------------------

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        # Indexes of earlier versions do not know these two, and say nothing of the ids that they chose.
        if name in ("first_numbered_id", "last_numbered_id"):
            return np.full(1, ID_NUMBERS[name].fill, np.int64)
        return super()._absent_array(name)

    @property
    def _numbers(self) -> IdNumbers:
        return IdNumbers(self._arrays)

    @property
    def largest_id(self) -> int:
        """The largest id that the tables have ever had, -1 if there was none."""
        return self._numbers["largest_id"]

    @property
    def largest_allowed_id(self) -> int:
        """The largest id that fits into a slot."""
        return 2**63 - 2 if self.wide_ids else 2**32 - 2

    @property
    def _numbers_by_default(self) -> bool:
        """True as long as no id was given; ids that follow a given one count as given."""
        return self._numbers["smallest_given_id"] == NO_ID

    @property
    def _id_dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint64 if self.wide_ids else np.uint32)

    def number_rows(self, first: int, n: int) -> NDArray[Any]:
        """Return n ids from `first` on; raise ValueError if they do not fit into slots."""
        if n and first + n - 1 > self.largest_allowed_id:
            raise ValueError(f"ids must be at most {self.largest_allowed_id}, got {first + n - 1}")
        return self._backend.xp.arange(first, first + n, dtype=self._id_dtype)

    def check_ids(self, ids: ArrayLike, n: int | None) -> NDArray[Any]:
        """Return the ids given for n rows in the dtype of slots; raise TypeError or ValueError if invalid.

        If n is None, there may be any number of them.
        """
        array = self._as_our_array("ids", ids)
        if array.size and array.dtype.kind not in "iu":
            raise TypeError(f"ids must be integers, got dtype {array.dtype}")
        refuse_flags("ids", ids)
        if array.ndim != 1 or n not in (None, array.size):
            raise ValueError(
                f"ids must have shape ({'n' if n is None else n},), one for each row, got {array.shape}"
            )
        largest = self.largest_allowed_id
        if array.size and (int(array.min()) < 0 or int(array.max()) > largest):
            raise ValueError(f"ids must lie from 0 to {largest}, got {array.min()} to {array.max()}")
        return array.astype(self._id_dtype)

    def numbered_ranges(self) -> list[tuple[int, int]]:
        """Return the first and last ids of ranges that contain all ids which the index has chosen itself."""
        return self._numbers.ranges() if self._state.is_allocated else []

    def ids_there(self, ids: NDArray[Any]) -> NDArray[Any]:
        """Return those of distinct ids in main memory that are in the tables.

        An index on a GPU, from which nothing has been removed, returns all.
        """
        if not ids.size or self.device == "gpu":
            return ids
        buckets = np.full((ids.size, self.family.n_hashes), -1, np.int64)
        self._find(ids, buckets)
        return ids[(buckets >= 0).any(axis=1)]

    def ordered_ids(self) -> NDArray[Any]:
        """Bring all buckets into order, and return the distinct ids in the tables, rising, in main memory.

        Afterwards the places of ids in buckets depend on the contents of the index alone.
        """
        with self._lock:
            self._arrays  # noqa: B018 - an index without rows gets its buckets
            self._canonicalise()
            return self._state.cached("ids", self._distinct_ids)

    @property
    def known_ids(self) -> NDArray[Any] | None:
        """The last result of `ordered_ids`, or None if the buckets have changed since."""
        caches = self._state.caches
        ids: NDArray[Any] | None = caches.get("ids") if caches.get("is_ordered", False) else None
        return ids

    def _distinct_ids(self) -> NDArray[Any]:
        # One table has all ids, unless entries were dropped.
        slots = self._arrays["slots"] if self.overflow > 0.0 else self._arrays["slots"][:1]
        is_there, others = np.zeros(slots[0].size + 1, bool), [np.empty(0, self._id_dtype)]
        for table in map(to_host, slots):
            # Most ids are small. Those of a file from elsewhere may be any.
            is_small = table < is_there.size
            is_there[table[is_small]] = True
            others.append(np.unique(table[~is_small]))
        small = np.flatnonzero(is_there[1:]).astype(self._id_dtype)
        large = np.unique(np.concatenate(others))
        return read_only(np.concatenate([small, large - np.ones(1, large.dtype)]))

    def check_new_ids(self, ids: NDArray[Any]) -> NDArray[Any]:
        """Return ids that were given for new rows; ValueError if they are those of rows numbered here."""
        refuse_ids_there(self.ids_there(ids_within(ids, self.numbered_ranges())))
        return ids

    def _find(self, ids: NDArray[Any], buckets: NDArray[np.int64]) -> int:
        """Write the buckets of distinct ids to `buckets`, and return the number of entries elsewhere."""
        places = self._read_only_buckets()
        further = self._backend.map_blocks(
            lambda a, b: index_removal.find_ids(*places, ids, a, b, buckets), self.family.n_hashes, 1
        )
        return sum(further)

    def note_ids(self, ids: NDArray[Any], *, by_default: bool = False, is_numbered: bool = False) -> None:
        """Remember the ids of new rows for the numbering of others; see `IndexBatch`."""
        if len(ids):
            self._numbers.note(ids, by_default=by_default, is_numbered=is_numbered)

    def count_ids_as_default(self) -> None:
        """Mark all ids as chosen by default, after ranks have numbered their rows one after the other."""
        with self._lock:
            self._numbers.count_all_as_default()

    def count_default_ids_as_numbered(self) -> None:
        """Let merges compare the ids that were numbered from 0 one by one, and not all below the largest.

        This is for ids that have left for another part of the same index.
        """
        with self._lock:
            if self._state.is_allocated:
                self._numbers.count_default_as_numbered()

    # -- buckets ----------------------------------------------------------------------------------

    def buckets(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the slots, shape (L, W, B), with ids plus 1, and the number of insertions of each bucket.

        Where rows were removed from a bucket that has dropped ids, the number is the capacity plus the number
        of ids dropped, and more than the slots that are filled.
        """
        return self._arrays["slots"], self._arrays["seen"]

    def _read_only_buckets(self) -> tuple[NDArray[Any], NDArray[Any]]:
        slots, seen = self.buckets()
        return read_only(slots), read_only(seen)

    def entries_kept(self) -> int:
        """Return the number of ids in the slots of all tables."""
        seen = self._arrays["seen"]
        if self.device == "gpu":
            return int(self._backend.xp.minimum(seen, self.capacity).sum())
        # No array is allocated, because updates ask after they have added rows.
        places = self._read_only_buckets()
        return sum(
            self._backend.map_blocks(lambda a, b: index_removal.count_entries(*places, a, b), len(seen), 1)
        )

    def _moved(self, device: Device) -> Self:
        if device == "gpu" and self.device == "cpu" and self._state.is_allocated:
            seen = self._arrays["seen"]
            if self.entries_kept() < int(np.minimum(seen, self.capacity).sum(dtype=np.int64)):
                raise NotImplementedError(
                    f"{type(self).__name__} cannot move to a GPU after rows were removed from full buckets, "
                    "because kernels there would fill the slots that must stay empty; build it anew"
                )
        return super()._moved(device)

    def reserve_rows(self, n: int) -> None:
        """Make sure that n more rows can be counted; raise OverflowError if not."""
        self._state.reserve("seen", n)
        self._state.reserve("n_updates", n)

    def add_codes(
        self,
        codes: NDArray[np.uint32],
        ids: NDArray[Any],
        *,
        by_default: bool = False,
        is_numbered: bool = False,
    ) -> Self:
        """Add rows by their codes and ids, which `check_ids` or `number_rows` returned; see `IndexBatch`."""
        with self._lock, changing(self), self._without_trace():
            self._put(IndexBatch(codes, ids, by_default, is_numbered))
        self._warn_of_full_buckets()
        return self

    @property
    def overflow(self) -> float:
        """Share of the entries of rows, one a table, that full buckets dropped; 0 if counts are exact."""
        total = self.n_updates * self.family.n_hashes
        return max(0.0, 1.0 - self.entries_kept() / total) if total else 0.0

    def _warn_of_full_buckets(self) -> None:
        """Warn once that entries are being dropped, if their share is large; call it after each change."""
        caches, n = self._state.caches, self.n_updates
        # Counting takes a pass over all buckets. It is left out unless the last change dropped entries, and
        # until the index has grown by a hundredth since the last pass.
        if not caches.pop("is_dropping", False) or "has_warned" in caches or n < caches.get("counted_at", 0):
            return
        caches["counted_at"] = n + n // 100
        share = self.overflow
        if share > _TOLERATED:
            caches["has_warned"] = True
            warnings.warn(
                f"{type(self).__name__} has dropped {100 * share:.2g} % of its entries, because buckets are "
                f"full, so neighbours are lost: give it a capacity above {self.capacity}, or its family more "
                "buckets (power, n_buckets); mergesketch.suggest chooses them from a sample",
                FullBucketsWarning,
                stacklevel=stacklevel_of_caller(),
            )

    def after_merge(self) -> None:
        self._warn_of_full_buckets()

    def _amounts(self, batch: IndexBatch) -> dict[str, int]:
        return {"seen": len(batch.codes), "n_updates": len(batch.codes)}

    def _add(self, batch: IndexBatch) -> None:
        ids = batch.ids
        codes = check_codes(self.family, batch.codes, len(ids))
        arrays, keys, kernel = self._arrays, self._keys, self._backend.kernels(index).insert_ids
        self._state.caches["is_ordered"] = False
        # Each table has one thread, so that no two threads fill one bucket.
        dropped = self._backend.map_blocks(
            lambda a, b: kernel(codes, ids, keys, a, b, arrays["slots"], arrays["seen"]),
            len(arrays["slots"]),
            1,
        )
        self._state.caches["is_dropping"] = any(dropped)
        self.note_ids(ids, by_default=batch.by_default, is_numbered=batch.is_numbered)

    # -- the order within buckets -----------------------------------------------------------------

    def _canonicalise(self) -> None:
        with self._lock:
            # Arrays from elsewhere may be in any order. Buckets that are in order take little time.
            if self._state.is_allocated and not self._state.caches.get("is_ordered", False):
                with changing(self), uninterrupted():
                    self._order_buckets()

    def _order_buckets(self) -> None:
        caches = self._state.caches
        caches["n_orderings"] = self._n_orderings + 1
        caches.pop("ids", None)  # Buckets that are out of order have changed.
        try:
            kernel, slots = self._backend.kernels(index).order_buckets, self._arrays["slots"]
            self._backend.map_blocks(lambda a, b: kernel(self._keys, a, b, slots), self.family.n_hashes, 1)
            caches["is_ordered"] = True
        finally:
            caches["n_orderings"] = self._n_orderings + 1

    @property
    def _n_orderings(self) -> int:
        """A count that is odd while buckets are being ordered in place."""
        return int(self._state.caches.get("n_orderings", 0))

    def _steadily(self, read: Callable[[], R]) -> R:
        """Return the result of `read`, which is called again if buckets were being ordered meanwhile."""
        while True:
            before = self._n_orderings
            result = read()
            if before % 2 == 0 and before == self._n_orderings:
                return result
            with self._lock:
                pass

    # -- merging ----------------------------------------------------------------------------------

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        kernel, seen = self._backend.kernels(index).merge_buckets, ours["seen"]
        slots, others = ours["slots"], (theirs["slots"], theirs["seen"].astype(seen.dtype, copy=False))
        self._backend.map_blocks(
            lambda a, b: kernel(*others, self._keys, a, b, slots, seen), self.family.n_hashes, 1
        )
        self._state.caches["is_ordered"] = False
        self._state.caches["is_dropping"] = True  # perhaps

    def _has_own_reduction(self) -> bool:
        # This reduction takes no memory, so merges need not be prepared for its failure.
        return False

    def part_numbers(self) -> tuple[int, ...]:
        if not self._state.is_allocated:
            return 0, NO_ID
        return self._numbers["default_ids"], self._numbers["smallest_given_id"]

    @classmethod
    def check_parts(cls, parts: Sequence[tuple[int, ...]]) -> None:
        IdNumbers.check_parts(cls.__name__, parts)

    def check_merge(self, parts: Sequence[Self]) -> None:
        every = [part for part in (self, *parts) if part._state.is_allocated]
        for i, part in enumerate(every):
            first, last = (part._numbers[name] for name in ("first_numbered_id", "last_numbered_id"))
            for other in every[:i] + every[i + 1 :]:
                if first > last or other.largest_id < first:
                    continue
                # Both may have ids of this range, so that the ids themselves must be compared.
                common = np.intersect1d(part._ids_between(first, last), other._ids_between(first, last))
                if common.size:
                    raise IncompatibleSketchError(
                        f"{type(self).__name__} parts must have different ids, but two have a row of id "
                        f"{listed_ids(common)}, which one of them has chosen itself; build the parts with "
                        "add(X, first_id=...) or with ids"
                    )

    def _ids_between(self, first: int, last: int) -> NDArray[Any]:
        """Return the ids in the tables that lie from `first` to `last`."""
        xp, found, tables = self._backend.xp, np.empty(0, self._id_dtype), self._arrays["slots"]
        # One table has all ids, unless entries were dropped.
        for slots in tables if self.overflow > 0.0 else tables[:1]:
            here = xp.unique(slots[(slots > first) & (slots <= last + 1)])
            found = np.union1d(found, to_host(here) - np.ones(1, here.dtype))
        return found

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        seen = arrays["seen"]
        if seen.size and int(seen.min()) < 0:
            raise ValueError(f"seen must be at least 0, got {seen.min()}")
        IdNumbers(arrays).check(self.largest_allowed_id)
