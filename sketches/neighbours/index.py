"""An index for neighbour search by counting collisions, in memory that is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError
from ...lsh.family import HashFamily, check_same_family
from ...lsh.inputs.arrays import check_array, check_numbers, refuse_flags
from ...lsh.support.backend import as_array, backend_of, device_of
from ...lsh.support.checks import check_flag, check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.random import random_uint64
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch, StateSpec
from ..core.guard import changing, uninterrupted
from ..core.hashed_rows import check_codes
from ..kernels import index
from ..kernels.rank_vectors import RANKED
from .ranking import ranker

__all__ = ["LSHIndex", "Nearest", "Neighbours"]

R = TypeVar("R")

#: Queries that are worth a thread of their own, and of which candidates are held at once; on a GPU so many
#: candidates.
_QUERIES, _BLOCK, _CANDIDATES = 16, 256, 1 << 26
#: Ids counted with a counter each, where the largest id is not known and at most.
_FEW_IDS, _MANY_IDS = 1 << 16, 1 << 22
#: Above all ids.
_NO_ID = 2**63 - 1


class Neighbours(NamedTuple):
    """The answer to n queries for k neighbours."""

    #: int64, shape (n, k): ids, the most frequent first, equal ones by rising id; -1 where there are fewer.
    ids: NDArray[np.int64]
    #: int32, shape (n, k): in how many of the query's buckets each id stands; 0 where there is none.
    counts: NDArray[np.int32]


class Nearest(NamedTuple):
    """The answer to n queries for the k nearest rows."""

    #: int64, shape (n, k): ids, the nearest first, equally near ones by rising id; -1 where there are fewer.
    ids: NDArray[np.int64]
    #: float64, shape (n, k): distances in the units of the family's metric, infinite where there is none;
    #: for "inner_product" the products, the largest first, minus infinity where there is none.
    distances: NDArray[np.float64]


class LSHIndex(MergeableSketch):
    """Tables of buckets that find the rows most like a query by counting shared buckets.

    Parameters
    ----------
    family : HashFamily
        Its `n_hashes` L is the number of tables, its `n_buckets` W the number of buckets of each.
    capacity : int, default 64
        Ids that a bucket holds, B.
    wide_ids : bool, default False
        Whether ids may pass 2**32 - 2, up to 2**63 - 2; slots then take 8 bytes and not 4.
    seed : int, default 0
        Of the priorities, in [0, 2**64).

    Attributes
    ----------
    overflow : float
        Share of all insertions that full buckets have not kept.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    A row's id goes into one bucket of each table. A bucket that overflows keeps the B ids of least
    priority, a hash of id and table, so every id that fell into it has the same chance to be kept (a
    reservoir, as in FLASH: Wang, Shrivastava, Wang and Ryu 2018), and which ones are kept depends neither
    on order nor on threads, ranks and merges.

    A query counts how often each id stands in its L buckets and returns the k most frequent. No distance
    is computed and no row kept. Without overflow a count is binomial: L trials of the collision
    probability, ``kernel + (1 - kernel) chance_collision``; `kernel_estimate` inverts that.

    Memory is ``L W (4 B + 4)`` bytes (``8 B`` with `wide_ids`), taken by the system as buckets fill; an
    update takes ``4 L`` bytes a row for the time being. `MinHash` and others have 2**32 buckets
    unless they are given `n_buckets`: too many for a table. Updates cost L hashes and L random accesses a
    row, queries L B reads. Ids are meant to be different from each other: an id that is added twice counts
    twice.

    Rows without ids are numbered from 0. An index remembers which ids it has numbered so, and merging refuses
    another one that holds such an id too: parts are built with ``add(X, first_id=...)`` or with ids. Ids
    that were given are taken at their word.

    References
    ----------
    - Wang, Shrivastava, Wang, Ryu. Randomized algorithms accelerated over CPU-GPU for ultra-high
      dimensional similarity search. SIGMOD 2018.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> from mergesketch.lsh import SignedRandomProjection
    >>> family = SignedRandomProjection(n_features=16, n_hashes=40, power=9, seed=1)
    >>> X = np.random.default_rng(0).standard_normal((1000, 16))
    >>> monday = mergesketch.LSHIndex(family, capacity=128).add(X[:500])
    >>> tuesday = mergesketch.LSHIndex(family, capacity=128).add(X[500:], first_id=500)
    >>> ids, counts = (monday | tuesday).query(X[700:702], k=3)
    >>> ids[:, 0], counts[:, 0]
    (array([700, 701]), array([40, 40], dtype=int32))
    """

    _parameters = ("family", "capacity", "wide_ids", "seed")
    _gpu = True
    _remedy = "pass n_buckets to the family, or a smaller capacity"
    # Parts that were given their ids make the same whole as rows that were numbered.
    _not_compared = frozenset({"default_ids", "smallest_given_id"})

    def __init__(
        self, family: HashFamily, *, capacity: int = 64, wide_ids: bool = False, seed: int = 0
    ) -> None:
        if not isinstance(family, HashFamily):
            raise TypeError(f"family must be a HashFamily, got {type(family).__name__}")
        self.family = family
        self.capacity = check_int("capacity", capacity, 1, 1 << 20)
        self.wide_ids = check_flag("wide_ids", wide_ids)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    def _layout(self) -> dict[str, StateSpec]:
        tables, buckets = self.family.n_hashes, self.family.n_buckets
        dtype = "uint64" if self.wide_ids else "uint32"
        return {
            "slots": StateSpec((tables, buckets, self.capacity), dtype, "reservoir"),
            "seen": StateSpec((tables, buckets), "int32", "sum", widens_to="int64"),
            # What the numbering of rows needs: ids [0, default_ids) were given to rows by default.
            "largest_id": StateSpec((1,), "int64", "max", fill=-1),
            "default_ids": StateSpec((1,), "int64", "max"),
            "smallest_given_id": StateSpec((1,), "int64", "min", fill=_NO_ID),
        }

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "LSHIndex priorities", self.family.n_hashes)

    @property
    def overflow(self) -> float:
        """Share of all insertions that full buckets have not kept; counts are exact while it is 0."""
        seen = self._arrays["seen"]
        total = int(seen.sum())
        return 1.0 - int(self._backend.xp.minimum(seen, self.capacity).sum()) / total if total else 0.0

    # -- updates ----------------------------------------------------------------------------------

    def add(self, X: RowsLike, ids: ArrayLike | None = None, *, first_id: int | None = None) -> Self:
        """Add rows.

        Parameters
        ----------
        X : n rows
            As ``family.hash`` takes them.
        ids : array_like of n integers, optional
            By default rows are numbered: from `first_id` on, or else from the largest id held plus one, which
            is 0 in an empty index.
        first_id : int, optional
            Id of the first row, the others following. Give it, or `ids`, where indexes that are built apart
            will be merged: rows of both would be number 0 otherwise, and `merge` refuses that.

        Returns
        -------
        The index itself.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows; ids are no integers, not n, negative or too large; or both `ids`
            and `first_id` are given.
        OverflowError
            If a 64-bit counter could wrap. Nothing is changed when an exception is raised.

        Examples
        --------
        >>> import numpy as np, mergesketch
        >>> from mergesketch.lsh import PStable
        >>> X = np.arange(5.0)[:, None]
        >>> empty = mergesketch.LSHIndex(PStable(1, 10, width=2.0, n_buckets=64, seed=1))
        >>> parts = empty.copy().add(X[:3]) | empty.copy().add(X[3:], first_id=3)
        >>> parts == empty.copy().add(X)
        True
        """
        self._settle("X", X)
        if first_id is not None:
            if ids is not None:
                raise ValueError("ids and first_id cannot both be given")
            first_id = check_int("first_id", first_id, 0, self._largest_allowed_id)
        codes = self.family.hash(X)
        if ids is not None:
            return self._add_codes(codes, self._check_ids(ids, len(codes)))
        # Ids that run on from given ones, or from a given first one, are as good as given.
        by_default = first_id is None and int(self._arrays["smallest_given_id"][0]) == _NO_ID
        first = int(self._arrays["largest_id"][0]) + 1 if first_id is None else first_id
        return self._add_codes(codes, self._number(first, len(codes)), by_default=by_default)

    def update(self, X: RowsLike, ids: ArrayLike | None = None, *, first_id: int | None = None) -> Self:
        """The same as `add`.

        Parameters
        ----------
        X : n rows
        ids : array_like of n integers, optional
        first_id : int, optional
            As for `add`.

        Returns
        -------
        The index itself.

        Raises
        ------
        TypeError, ValueError, OverflowError
            As `add` does.
        """
        return self.add(X, ids, first_id=first_id)

    @property
    def _largest_allowed_id(self) -> int:
        return 2**63 - 2 if self.wide_ids else 2**32 - 2

    @property
    def _id_dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint64 if self.wide_ids else np.uint32)

    def _number(self, first: int, n: int) -> NDArray[Any]:
        if n and first + n - 1 > self._largest_allowed_id:
            raise ValueError(f"ids must be at most {self._largest_allowed_id}, got {first + n - 1}")
        numbers: NDArray[Any] = self._backend.xp.arange(first, first + n, dtype=self._id_dtype)
        return numbers

    def _check_ids(self, ids: ArrayLike, n: int) -> NDArray[Any]:
        array = self._bring("ids", ids)
        if array.size and array.dtype.kind not in "iu":
            raise TypeError(f"ids must be integers, got dtype {array.dtype}")
        refuse_flags("ids", ids)
        if array.shape != (n,):
            raise ValueError(f"ids must have shape ({n},), one for each row, got {array.shape}")
        largest = self._largest_allowed_id
        if n and (int(array.min()) < 0 or int(array.max()) > largest):
            raise ValueError(f"ids must lie from 0 to {largest}, got {array.min()} to {array.max()}")
        checked: NDArray[Any] = array.astype(self._id_dtype)
        return checked

    def _add_codes(self, codes: NDArray[np.uint32], ids: NDArray[Any], *, by_default: bool = False) -> Self:
        codes = check_codes(self.family, codes, len(ids))
        least, largest = (int(ids.min()), int(ids.max())) if len(ids) else (_NO_ID, -1)
        with self._lock, changing(self), uninterrupted():
            self._reserve("seen", len(codes))
            self._reserve("n_updates", len(codes))
            arrays, keys, kernel = self._arrays, self._keys, self._backend.kernels(index).insert_ids
            self.__dict__["_disordered"] = True
            # A thread owns whole tables, so that no two fill one bucket.
            self._backend.map_blocks(
                lambda a, b: kernel(codes, ids, keys, a, b, arrays["slots"], arrays["seen"]),
                len(arrays["slots"]),
                1,
            )
            arrays["largest_id"][0] = max(int(arrays["largest_id"][0]), largest)
            if by_default:
                arrays["default_ids"][0] += len(ids)
            else:
                arrays["smallest_given_id"][0] = min(int(arrays["smallest_given_id"][0]), least)
            arrays["n_updates"] += len(codes)
        return self

    def _count_ids_as_default(self) -> None:
        """Take all ids held for numbered by default, as those of ranks that number their rows in turn."""
        with self._lock:
            arrays = self._arrays
            arrays["default_ids"][0] = int(arrays["largest_id"][0]) + 1
            arrays["smallest_given_id"][0] = _NO_ID

    # -- queries ----------------------------------------------------------------------------------

    def query(self, Q: RowsLike, k: int = 10, *, n_probes: int = 1) -> Neighbours:
        """The k rows that share most buckets with each query.

        Parameters
        ----------
        Q : n rows
            As ``family.hash_query`` takes them.
        k : int
            At least 1.
        n_probes : int, default 1
            Buckets looked into per table, the likeliest of ``family.probe``. An id stands in one bucket of
            a table, so counts stay at most L; they are then no longer binomial in the kernel.

        Returns
        -------
        Neighbours
            ``(ids, counts)``, both of shape (n, k).

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows or so many probes, or `k` is no positive integer.
        """
        k = check_int("k", k, 1, 1 << 31)
        self._settle("Q", Q)
        return self.query_codes(self._probe(Q, n_probes), k)

    def query_codes(
        self, codes: NDArray[np.uint32], k: int, *, family: HashFamily | None = None
    ) -> Neighbours:
        """`query` for queries that are hashed already.

        Parameters
        ----------
        codes : uint32 array of shape (n, L) or (n, L, P)
            Codes of ``family.hash_query`` or of ``family.probe``. An array does not tell who made it: codes
            of another family find rows at random.
        k : int
            At least 1.
        family : HashFamily, optional
            The family that made the codes, if they come from elsewhere: it is checked to equal the index's.

        Returns
        -------
        Neighbours

        Raises
        ------
        TypeError, ValueError
            If codes are of another dtype or shape or out of range, or `k` is no positive integer.
        IncompatibleSketchError
            If `family` differs from the index's: names the first setting that does.
        """
        check_same_family("codes", self.family, family)
        k = check_int("k", k, 1, 1 << 31)
        codes = self._check_codes(codes)
        # No query finds more ids than its buckets hold: a larger k only pads.
        held, backend = min(k, self._most_found(codes)), self._backend
        xp, slots, kernel = backend.xp, self._arrays["slots"], backend.kernels(index).query_buckets
        near, shares = xp.empty((len(codes), held), np.int64), xp.empty((len(codes), held), np.int32)

        def run(a: int, b: int) -> None:
            kernel(slots, codes, held, self._counters(codes, b - a), a, b, near, shares)

        self._steadily(lambda: backend.map_blocks(run, len(codes), _QUERIES))
        if held == k:
            return Neighbours(near, shares)
        ids, counts = xp.full((len(codes), k), -1, np.int64), xp.zeros((len(codes), k), np.int32)
        ids[:, :held], counts[:, :held] = near, shares
        return Neighbours(ids, counts)

    def search(
        self, Q: RowsLike, rows: RowsLike, k: int = 10, *, n_candidates: int | None = None, n_probes: int = 1
    ) -> Nearest:
        """The k nearest rows of those that share most buckets with each query.

        Parameters
        ----------
        Q : n rows
            As ``family.hash_query`` takes them; dense or sparse for metrics of vectors.
        rows : array_like, sets or sparse matrix
            Row i is that of id i, so ids must lie below its length. For an angle, a Euclidean or city block
            distance or an inner product a dense matrix, best of float32 or float64 in C order, which is
            not copied and may be an `np.memmap`: only candidates' rows are read.
        k : int
            At least 1.
        n_candidates : int, optional
            Of each query the most frequent ids, as many as this, are compared; by default all that its
            buckets hold. Equally frequent ones are taken from likelier buckets first (first probes of
            all tables, then second ones), and of one bucket the lowest.
        n_probes : int, default 1
            As in `query`.

        Returns
        -------
        Nearest
            ``(ids, distances)``, both of shape (n, k): in the units of ``family.metric``, nearest first,
            equal ones by rising id.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the queries or so many probes, the metric has no exact distance, `rows`
            are of another form or width, a candidate has no row or one that is not finite, or `k` or
            `n_candidates` is no positive integer.

        Notes
        -----
        Distances are those of float64 and do not depend on threads or processor; on a GPU they may differ
        in the last bits. A vector of zeros is at an angle of pi / 2 to all others.
        """
        k = check_int("k", k, 1, 1 << 31)
        most = None if n_candidates is None else check_int("n_candidates", n_candidates, 1)
        queries = self.family.read_rows(Q, "Q")
        self._settle("Q", Q)
        Q = queries.cut(0, queries.n)
        codes = self._check_codes(self._probe(Q, n_probes))
        self._settle("rows", rows)
        metric, n_rows, rank = ranker(self.family, Q, rows)
        slots, seen, backend = self._arrays["slots"], self._arrays["seen"], self._backend
        xp, held = backend.xp, self._most_found(codes)
        ids, distances = xp.empty((len(codes), k), np.int64), xp.empty((len(codes), k), np.float64)
        block = _BLOCK if self.device == "cpu" else max(1, _CANDIDATES // held)

        def run(start: int, stop: int) -> int:
            counters = self._counters(codes, stop - start)
            for a in range(start, stop, block):
                b = min(a + block, stop)
                room = xp.full(b - a, held if most is None else min(most, held), np.int64)
                if most is None:
                    backend.kernels(index).bound_found(seen, codes, self.capacity, a, b, room)
                offsets = xp.zeros(b - a + 1, np.int64)
                offsets[1:] = xp.cumsum(room)
                candidates = xp.empty(int(offsets[-1]), slots.dtype)
                backend.kernels(index).frequent_ids(slots, codes, offsets, counters, a, b, candidates, room)
                refused = rank(candidates, offsets, room, k, a, ids, distances)
                if refused != RANKED:
                    return refused
            return RANKED

        found = self._steadily(lambda: backend.map_blocks(run, len(codes), _QUERIES))
        refused = [number for number in found if number != RANKED]
        if refused and refused[0] >= n_rows:
            raise ValueError(f"rows must have a row for each id found, got {n_rows} rows and id {refused[0]}")
        if refused:
            raise ValueError(f"rows must be finite, got NaN or infinity in row {refused[0]}")
        if metric.is_similarity:
            # Ranked by their negatives.
            distances *= -1.0
        return Nearest(ids, distances)

    def _probe(self, Q: Any, n_probes: int) -> NDArray[np.uint32]:
        if check_int("n_probes", n_probes, 1, 1 << 31) == 1:
            return self.family.hash_query(Q)
        return self.family.probe(Q, n_probes)

    def _check_codes(self, codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Codes of shape (n, L, P), C-contiguous."""
        codes = check_array("codes", codes)
        self._settle("codes", codes)
        tables = self.family.n_hashes
        if codes.ndim not in (2, 3) or codes.shape[1] != tables or codes.dtype != np.uint32:
            raise ValueError(
                f"codes must be uint32 of shape (n, {tables}) or (n, {tables}, n_probes), "
                f"got {codes.dtype} of {codes.shape}"
            )
        if codes.size and int(codes.max()) >= self.family.n_buckets:
            raise ValueError(f"codes must be below {self.family.n_buckets}, got {codes.max()}")
        probes = codes.shape[2] if codes.ndim == 3 else 1
        return self._backend.xp.ascontiguousarray(codes).reshape(len(codes), tables, probes)

    def _most_found(self, codes: NDArray[np.uint32]) -> int:
        return int(codes.shape[1] * codes.shape[2] * self.capacity)

    def _counters(self, codes: NDArray[np.uint32], n_queries: int) -> NDArray[Any]:
        """A zero for each of the smallest ids, or none if that is not worth it, or on a GPU."""
        if self.device == "gpu":
            return np.zeros(0, np.int32)
        found = self._most_found(codes)
        size = max(self.n_updates, _FEW_IDS) + 1
        if size > _MANY_IDS or size > found * n_queries:
            size = 0
        return np.zeros(size, np.uint16 if found < 1 << 16 else np.int32)

    def kernel_estimate(self, counts: ArrayLike) -> NDArray[np.float64]:
        """The family's kernel that collision counts imply, chance collisions taken off.

        Its standard error is at most ``0.5 sqrt(D / L)``, D the family's `design_effect`: 1 but where tables
        copy what others hashed. Overflowing buckets make it too low.

        Parameters
        ----------
        counts : array_like of int
            As `query` returns them, at least 0. Only an id that was added more than once is counted more
            often than there are tables: that is taken as a collision in every table.

        Returns
        -------
        ndarray of the shape of `counts`, float64

        Raises
        ------
        TypeError, ValueError
            If counts are no numbers or below 0.
        """
        chance = self.family.chance_collision
        checked = check_numbers("counts", counts)
        if not bool((checked >= 0).all()):
            raise ValueError(f"counts must be at least 0, got {counts!r}")
        share = backend_of(checked).xp.minimum(checked / self.family.n_hashes, 1.0)
        return (share - chance) / (1.0 - chance)

    def distance_estimate(self, counts: ArrayLike) -> NDArray[np.float64]:
        """The distance, of the family's `metric`, that collision counts imply.

        Parameters
        ----------
        counts : array_like of int
            As `query` returns them; one of all tables is distance 0.

        Returns
        -------
        ndarray of the shape of `counts`, float64
            For `InnerProduct` the inner product, for `SignedRandomProjection` the angle, and so on.

        Raises
        ------
        TypeError, ValueError
            If counts are no numbers or below 0.

        Notes
        -----
        A count errs by ``sqrt(p (1 - p) / L)`` of the tables at collision probability p, and the distance
        by that over the slope of `collision_probability` there. Estimates of the largest counts are too
        near, for those rows were picked out for their counts.
        """
        kernel = self.kernel_estimate(counts)
        if device_of(kernel) == "gpu":
            backend = backend_of(kernel)
            counts = backend.xp.minimum(as_array(counts), self.family.n_hashes).astype(np.int64)
            distances: NDArray[np.float64] = backend.constant(self._distances)[counts]
            return distances
        # Fewer collisions than chance alone would make are none.
        return self.family.distance(np.clip(kernel, 0.0, 1.0))

    @lazy
    def _distances(self) -> NDArray[np.float64]:
        """The distance of every count, for GPUs: families find distances by bisection, on the CPU."""
        return self.distance_estimate(np.arange(self.family.n_hashes + 1))

    # -- state ------------------------------------------------------------------------------------

    def _over_tables(self, kernel: Any, slots: NDArray[Any], *others: NDArray[Any]) -> None:
        self._backend.map_blocks(
            lambda a, b: kernel(*others, self._keys, a, b, slots), self.family.n_hashes, 1
        )

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        self._over_tables(self._backend.kernels(index).merge_buckets, ours["slots"], theirs["slots"])
        self.__dict__["_disordered"] = True

    def _part(self) -> tuple[int, ...]:
        if "_arrays" not in self.__dict__:
            return 0, _NO_ID
        return int(self._arrays["default_ids"][0]), int(self._arrays["smallest_given_id"][0])

    @classmethod
    def _check_parts(cls, parts: Sequence[tuple[int, ...]]) -> None:
        # One part may have numbered its rows from 0, and then the others hold no such ids.
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

    def _has_own_reduction(self) -> bool:
        # It takes no memory.
        return False

    def _canonicalise(self) -> None:
        with self._lock:
            if self.__dict__.get("_disordered", False):
                with changing(self), uninterrupted():
                    self._order_buckets()

    def _order_buckets(self) -> None:
        self.__dict__["_n_orderings"] = self._n_orderings + 1
        try:
            self._over_tables(self._backend.kernels(index).order_buckets, self._arrays["slots"])
            self.__dict__["_disordered"] = False
        finally:
            self.__dict__["_n_orderings"] = self._n_orderings + 1

    @property
    def _n_orderings(self) -> int:
        """Odd while buckets are brought into order, in place."""
        return int(self.__dict__.get("_n_orderings", 0))

    def _steadily(self, read: Callable[[], R]) -> R:
        """Return what `read` gives, called again if a bucket was brought into order meanwhile."""
        while True:
            before = self._n_orderings
            result = read()
            if before % 2 == 0 and before == self._n_orderings:
                return result
            with self._lock:
                pass

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        seen = arrays["seen"]
        if seen.size and int(seen.min()) < 0:
            raise ValueError(f"seen must be at least 0, got {seen.min()}")
        largest, numbered = int(arrays["largest_id"][0]), int(arrays["default_ids"][0])
        given = int(arrays["smallest_given_id"][0])
        if not -1 <= largest <= self._largest_allowed_id:
            raise ValueError(f"largest_id must lie from -1 to {self._largest_allowed_id}, got {largest}")
        if not 0 <= numbered <= largest + 1:
            raise ValueError(f"default_ids must lie from 0 to {largest + 1}, got {numbered}")
        if not (0 <= given <= largest or given == _NO_ID):
            raise ValueError(f"smallest_given_id must lie from 0 to {largest}, got {given}")

    def empty_like(self) -> Self:
        new = super().empty_like()
        new.__dict__.pop("_disordered", None)
        new.__dict__.pop("_n_orderings", None)
        return new

    def _adopt(self, arrays: dict[str, NDArray[Any]]) -> Self:
        # Whoever hands over arrays may have them in any order: what is in order is quickly found so.
        self.__dict__["_disordered"] = True
        return super()._adopt(arrays)
