"""An index for neighbour search by counting collisions, in memory that is known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily, check_same_family
from ...lsh.inputs.arrays import check_array
from ...lsh.support.checks import check_flag, check_int
from ..kernels import index
from .collision_estimates import CollisionEstimates
from .ranking import ALL_RANKED, ranker
from .tables import IndexBatch, IndexTables

__all__ = ["LSHIndex", "Nearest", "Neighbours"]

#: Queries that are worth a thread of their own, and of which candidates are held at once; on a GPU so many
#: candidates.
_QUERIES, _BLOCK, _CANDIDATES = 16, 256, 1 << 26
#: Ids counted with a counter each, where the largest id is not known and at most.
_FEW_IDS, _MANY_IDS = 1 << 16, 1 << 22


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


class LSHIndex(CollisionEstimates, IndexTables):
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

    def __init__(
        self, family: HashFamily, *, capacity: int = 64, wide_ids: bool = False, seed: int = 0
    ) -> None:
        if not isinstance(family, HashFamily):
            raise TypeError(f"family must be a HashFamily, got {type(family).__name__}")
        self.family = family
        self.capacity = check_int("capacity", capacity, 1, 1 << 20)
        self.wide_ids = check_flag("wide_ids", wide_ids)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    @property
    def overflow(self) -> float:
        """Share of all insertions that full buckets have not kept; counts are exact while it is 0."""
        seen = self._arrays["seen"]
        total = int(seen.sum())
        return 1.0 - int(self._backend.xp.minimum(seen, self.capacity).sum()) / total if total else 0.0

    # -- updates ----------------------------------------------------------------------------------

    def add(self, X: Any, ids: ArrayLike | None = None, *, first_id: int | None = None) -> Self:
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
        return self._take_in({"X": X}, ids, first_id)

    def _read(self, X: Any, ids: ArrayLike | None, first_id: int | None) -> IndexBatch:
        if first_id is not None:
            if ids is not None:
                raise ValueError("ids and first_id cannot both be given")
            first_id = check_int("first_id", first_id, 0, self.largest_allowed_id)
        codes = self.family.hash(X)
        if ids is not None:
            return IndexBatch(codes, self.check_ids(ids, len(codes)))
        by_default = first_id is None and self._numbers_by_default
        first = self.largest_id + 1 if first_id is None else first_id
        return IndexBatch(codes, self.number_rows(first, len(codes)), by_default)

    def update(self, X: Any, ids: ArrayLike | None = None, *, first_id: int | None = None) -> Self:
        """Add rows, as `add` does.

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

    # -- queries ----------------------------------------------------------------------------------

    def query(self, Q: Any, k: int = 10, *, n_probes: int = 1) -> Neighbours:
        """Return the k rows that share most buckets with each query.

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
        self._claim_device("Q", Q)
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
        self, Q: Any, rows: Any, k: int = 10, *, n_candidates: int | None = None, n_probes: int = 1
    ) -> Nearest:
        """Return the k nearest of the rows that share most buckets with each query.

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
        self._claim_device("Q", Q)
        Q = queries.cut(0, queries.n)
        codes = self._check_codes(self._probe(Q, n_probes))
        self._claim_device("rows", rows)
        metric, n_rows, rank = ranker(self.family, Q, rows)
        backend, n = self._backend, len(codes)
        ids, distances = backend.xp.empty((n, k), np.int64), backend.xp.empty((n, k), np.float64)
        search = partial(self._rank_queries, codes, most, k, rank, ids, distances)
        found = self._steadily(lambda: backend.map_blocks(search, n, _QUERIES))
        refused = [row for row in found if row != ALL_RANKED]
        if refused and refused[0] >= n_rows:
            raise ValueError(f"rows must have a row for each id found, got {n_rows} rows and id {refused[0]}")
        if refused:
            raise ValueError(f"rows must be finite, got NaN or infinity in row {refused[0]}")
        if metric.is_similarity:
            # Ranked by their negatives.
            distances *= -1.0
        return Nearest(ids, distances)

    def _rank_queries(
        self,
        codes: NDArray[np.uint32],
        most: int | None,
        k: int,
        rank: Callable[..., int],
        ids: NDArray[np.int64],
        distances: NDArray[np.float64],
        start: int,
        stop: int,
    ) -> int:
        """Find and rank the candidates of the queries [start, stop); return the first row refused, if any."""
        kernels, xp, (slots, seen) = self._backend.kernels(index), self._backend.xp, self.buckets()
        held, counters = self._most_found(codes), self._counters(codes, stop - start)
        block = _BLOCK if self.device == "cpu" else max(1, _CANDIDATES // held)
        for a in range(start, stop, block):
            b = min(a + block, stop)
            room = xp.full(b - a, held if most is None else min(most, held), np.int64)
            if most is None:
                kernels.bound_found(seen, codes, self.capacity, a, b, room)
            offsets = xp.zeros(b - a + 1, np.int64)
            offsets[1:] = xp.cumsum(room)
            candidates = xp.empty(int(offsets[-1]), slots.dtype)
            kernels.frequent_ids(slots, codes, offsets, counters, a, b, candidates, room)
            refused = rank(candidates, offsets, room, k, a, ids, distances)
            if refused != ALL_RANKED:
                return refused
        return ALL_RANKED

    def _probe(self, Q: Any, n_probes: int) -> NDArray[np.uint32]:
        if check_int("n_probes", n_probes, 1, 1 << 31) == 1:
            return self.family.hash_query(Q)
        return self.family.probe(Q, n_probes)

    def _check_codes(self, codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Codes of shape (n, L, P), C-contiguous."""
        codes = check_array("codes", codes)
        self._claim_device("codes", codes)
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
        """Return a zero for each of the smallest ids, or none on a GPU and where it does not save time."""
        if self.device == "gpu":
            return np.zeros(0, np.int32)
        found = self._most_found(codes)
        size = max(self.n_updates, _FEW_IDS) + 1
        if size > _MANY_IDS or size > found * n_queries:
            size = 0
        return np.zeros(size, np.uint16 if found < 1 << 16 else np.int32)
