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
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.lazy import lazy
from ...lsh.support.random import random_uint64
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..core.guard import changing, uninterrupted
from ..core.hashed_rows import check_codes
from ..core.state import StateSpec
from ..kernels import index

__all__ = ["IndexBatch", "IndexTables"]

R = TypeVar("R")

#: Share of insertions that an index may drop without a warning. Suggested indexes drop up to 1 %.
_TOLERATED = 0.02
#: A number above all ids, in place of a missing id.
_NO_ID = 2**63 - 1


class IndexBatch(NamedTuple):
    """The codes and ids of rows; `by_default` is True if the index has chosen the ids itself."""

    codes: NDArray[np.uint32]
    ids: NDArray[Any]
    by_default: bool = False


class IndexTables(MergeableSketch):
    """The tables of an `LSHIndex`; methods without an underscore are for other parts of the package too."""

    # An index whose rows were given ids equals one that has chosen the same ids itself.
    _not_compared = frozenset({"default_ids", "smallest_given_id"})

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
            "seen": StateSpec((tables, buckets), "int32", "sum", widens_to="int64"),
            # These three are for numbering rows. The index has chosen the ids in [0, default_ids) itself.
            "largest_id": StateSpec((1,), "int64", "max", fill=-1),
            "default_ids": StateSpec((1,), "int64", "max"),
            "smallest_given_id": StateSpec((1,), "int64", "min", fill=_NO_ID),
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

    @property
    def largest_id(self) -> int:
        """The largest id in the tables, -1 if there is none."""
        return int(self._arrays["largest_id"][0])

    @property
    def largest_allowed_id(self) -> int:
        """The largest id that fits into a slot."""
        return 2**63 - 2 if self.wide_ids else 2**32 - 2

    @property
    def _numbers_by_default(self) -> bool:
        """True as long as no id was given; ids that follow a given one count as given."""
        return int(self._arrays["smallest_given_id"][0]) == _NO_ID

    @property
    def _id_dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint64 if self.wide_ids else np.uint32)

    def number_rows(self, first: int, n: int) -> NDArray[Any]:
        """Return n ids from `first` on; raise ValueError if they do not fit into slots."""
        if n and first + n - 1 > self.largest_allowed_id:
            raise ValueError(f"ids must be at most {self.largest_allowed_id}, got {first + n - 1}")
        return self._backend.xp.arange(first, first + n, dtype=self._id_dtype)

    def check_ids(self, ids: ArrayLike, n: int) -> NDArray[Any]:
        """Return the ids given for n rows in the dtype of slots; raise TypeError or ValueError if invalid."""
        array = self._as_our_array("ids", ids)
        if array.size and array.dtype.kind not in "iu":
            raise TypeError(f"ids must be integers, got dtype {array.dtype}")
        refuse_flags("ids", ids)
        if array.shape != (n,):
            raise ValueError(f"ids must have shape ({n},), one for each row, got {array.shape}")
        largest = self.largest_allowed_id
        if n and (int(array.min()) < 0 or int(array.max()) > largest):
            raise ValueError(f"ids must lie from 0 to {largest}, got {array.min()} to {array.max()}")
        return array.astype(self._id_dtype)

    def count_ids_as_default(self) -> None:
        """Mark all ids as chosen by default, after ranks have numbered their rows one after the other."""
        with self._lock:
            arrays = self._arrays
            arrays["default_ids"][0] = int(arrays["largest_id"][0]) + 1
            arrays["smallest_given_id"][0] = _NO_ID

    # -- buckets ----------------------------------------------------------------------------------

    def buckets(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the slots, shape (L, W, B), with ids plus 1, and the number of insertions of each bucket."""
        return self._arrays["slots"], self._arrays["seen"]

    def reserve_rows(self, n: int) -> None:
        """Make sure that n more rows can be counted; raise OverflowError if not."""
        self._state.reserve("seen", n)
        self._state.reserve("n_updates", n)

    def add_codes(self, codes: NDArray[np.uint32], ids: NDArray[Any], *, by_default: bool = False) -> Self:
        """Add rows by their codes and ids, which `check_ids` or `number_rows` returned.

        `by_default` is True if the index has chosen the ids itself.
        """
        with self._lock, changing(self), self._without_trace():
            self._put(IndexBatch(codes, ids, by_default))
        self._warn_of_full_buckets()
        return self

    @property
    def overflow(self) -> float:
        """Share of all insertions whose ids full buckets have dropped; counts are exact while it is 0."""
        seen = self._arrays["seen"]
        total = int(seen.sum())
        return 1.0 - int(self._backend.xp.minimum(seen, self.capacity).sum()) / total if total else 0.0

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
        least, largest = (int(ids.min()), int(ids.max())) if len(ids) else (_NO_ID, -1)
        arrays, keys, kernel = self._arrays, self._keys, self._backend.kernels(index).insert_ids
        self._state.caches["is_ordered"] = False
        # Each table has one thread, so that no two threads fill one bucket.
        dropped = self._backend.map_blocks(
            lambda a, b: kernel(codes, ids, keys, a, b, arrays["slots"], arrays["seen"]),
            len(arrays["slots"]),
            1,
        )
        self._state.caches["is_dropping"] = any(dropped)
        arrays["largest_id"][0] = max(self.largest_id, largest)
        if batch.by_default:
            arrays["default_ids"][0] += len(ids)
        else:
            arrays["smallest_given_id"][0] = min(int(arrays["smallest_given_id"][0]), least)

    # -- the order within buckets -----------------------------------------------------------------

    def _over_tables(self, kernel: Any, slots: NDArray[Any], *others: NDArray[Any]) -> None:
        self._backend.map_blocks(
            lambda a, b: kernel(*others, self._keys, a, b, slots), self.family.n_hashes, 1
        )

    def _canonicalise(self) -> None:
        with self._lock:
            # Arrays from elsewhere may be in any order. Buckets that are in order take little time.
            if self._state.is_allocated and not self._state.caches.get("is_ordered", False):
                with changing(self), uninterrupted():
                    self._order_buckets()

    def _order_buckets(self) -> None:
        caches = self._state.caches
        caches["n_orderings"] = self._n_orderings + 1
        try:
            self._over_tables(self._backend.kernels(index).order_buckets, self._arrays["slots"])
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
        self._over_tables(self._backend.kernels(index).merge_buckets, ours["slots"], theirs["slots"])
        self._state.caches["is_ordered"] = False
        self._state.caches["is_dropping"] = True  # perhaps

    def _has_own_reduction(self) -> bool:
        # This reduction takes no memory, so merges need not be prepared for its failure.
        return False

    def part_numbers(self) -> tuple[int, ...]:
        if not self._state.is_allocated:
            return 0, _NO_ID
        return int(self._arrays["default_ids"][0]), int(self._arrays["smallest_given_id"][0])

    @classmethod
    def check_parts(cls, parts: Sequence[tuple[int, ...]]) -> None:
        # One part may have numbered its rows from 0 if the others contain no such ids.
        numbered = [(n, i) for i, (n, _) in enumerate(parts) if n]
        if not numbered:
            return
        n, i = max(numbered)
        if len(numbered) > 1:
            other = "others have done so too"
        else:
            least = min((first for j, (_, first) in enumerate(parts) if j != i), default=_NO_ID)
            if least >= n:
                return
            other = f"id {least} was given to a row of another one"
        raise IncompatibleSketchError(
            f"{cls.__name__} parts must have different ids, but one has numbered its rows from 0 to {n - 1} "
            f"by default, and {other}; build the parts with add(X, first_id=...), the number of rows before "
            "them, or with ids"
        )

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        seen = arrays["seen"]
        if seen.size and int(seen.min()) < 0:
            raise ValueError(f"seen must be at least 0, got {seen.min()}")
        largest, numbered = int(arrays["largest_id"][0]), int(arrays["default_ids"][0])
        given = int(arrays["smallest_given_id"][0])
        if not -1 <= largest <= self.largest_allowed_id:
            raise ValueError(f"largest_id must lie from -1 to {self.largest_allowed_id}, got {largest}")
        if not 0 <= numbered <= largest + 1:
            raise ValueError(f"default_ids must lie from 0 to {largest + 1}, got {numbered}")
        if not (0 <= given <= largest or given == _NO_ID):
            raise ValueError(f"smallest_given_id must lie from 0 to {largest}, got {given}")
