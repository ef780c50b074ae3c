"""An index for neighbour search by counting collisions, in memory that the configuration fixes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily, check_same_family, family_from_config
from ...lsh.inputs.arrays import check_array
from ...lsh.support.aliases import alias
from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_flag, check_int
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..core.notebook import Share
from ..kernels import index
from .collision_estimates import CollisionEstimates
from .ranking import ALL_RANKED, Ranker, ranker
from .row_changes import ChangingRows
from .table_size import with_table_buckets
from .tables import IndexBatch

__all__ = ["LSHIndex", "Nearest", "Neighbours"]

#: Number of queries that are worth a thread of their own.
_QUERIES = 16
#: Number of queries whose candidates a thread stores at a time, and of candidates that a GPU stores.
_BLOCK, _CANDIDATES = 256, 1 << 26
#: Least and largest number of ids that get a counter each.
_FEW_IDS, _MANY_IDS = 1 << 16, 1 << 22


class Neighbours(NamedTuple):
    """Contain the answers to n queries for k neighbours."""

    #: int64, shape (n, k): ids by falling count, at equal counts by rising id; -1 if there are fewer.
    ids: NDArray[np.int64]
    #: int32, shape (n, k): the number of the query's buckets that contain each id; 0 where there is no id.
    counts: NDArray[np.int32]


class Nearest(NamedTuple):
    """Contain the answers to n queries for the k nearest rows."""

    #: int64, shape (n, k): ids, the nearest first, at equal distances by rising id; -1 if there are fewer.
    ids: NDArray[np.int64]
    #: float64, shape (n, k): distances in the units of the family's metric, infinite without an id. For
    #: "inner_product" these are the products, the largest first, and minus infinity without an id.
    distances: NDArray[np.float64]


class LSHIndex(CollisionEstimates, ChangingRows):
    """Find approximate nearest neighbours (ANN, nearest neighbors) with LSH tables, in known memory.

    Parameters
    ----------
    family : HashFamily
        Its `n_hashes` L is the number of tables, its `n_buckets` W the number of buckets of each. A family of
        more than 2**28 codes, such as `MinHash` by default, is replaced by one of fewer: see Notes.
    capacity : int, default 64
        Largest number of ids in a bucket, B.
    wide_ids : bool, default False
        True to allow ids up to 2**63 - 2 instead of 2**32 - 2; an id then takes 8 bytes instead of 4.
    seed : int, default 0
        Seed of the priorities, in [0, 2**64).

    Attributes
    ----------
    overflow : float
        Share of all insertions whose ids were dropped because a bucket was full.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    A row's id is inserted into one bucket of each table. A bucket that overflows keeps the B ids with the
    smallest priorities. A priority is a hash of id and table, so every id of the bucket is kept with the same
    probability (a reservoir, as in FLASH: Wang, Shrivastava, Wang and Ryu 2018). The ids that are kept do not
    depend on the order of rows, on threads, ranks or merges, as long as no row is removed. Merges are
    associative and commutative afterwards, too, and `remove` says what buckets keep. An index that has
    dropped more than 2 % of its entries warns once, by `mergesketch.errors.FullBucketsWarning`.

    A query counts the occurrences of each id in its L buckets and returns the k most frequent ids. It
    computes no distance, and no row is stored. Without overflow a count is binomial: L trials of the
    collision probability, ``kernel + (1 - kernel) chance_collision``; `kernel_estimate` inverts that.

    Memory is ``L W (4 B + 4)`` bytes (``L W (8 B + 4)`` with `wide_ids`). The system provides it when buckets
    are filled. An update takes ``4 L`` temporary bytes a row. Updates cost L hashes and L random accesses a
    row, queries L B reads. Ids should be distinct: an id that is added twice counts twice.

    `MinHash` and other families have up to 2**32 codes unless you pass `n_buckets`. If there are more than
    2**28, they are hashed to W buckets: W is the largest power of two for which the tables take at most one
    gibibyte, and at least 1,024. The attribute `family` has this W. Rows whose codes differ share a bucket
    with probability 1 / W, which `kernel_estimate` corrects. For pairs of sets above a similarity s, choose
    the tables by ``bands, rows = band_parameters(s, 128)`` and ``MinHash(bands, power=rows)``, or by
    `suggest`.

    Rows without ids are numbered from 0, or from the largest id that the index has had plus one. An index
    remembers the ids that it chose itself. `update` refuses ids of rows that the index has numbered, and
    merging refuses another index that has such an id. So build parts with ``update(X, first_id=...)`` or with
    ids. Ids that you pass are not checked against others that you passed.

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
    >>> monday = mergesketch.LSHIndex(family, capacity=128).update(X[:500])
    >>> tuesday = mergesketch.LSHIndex(family, capacity=128).update(X[500:], first_id=500)
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
        self.capacity = check_int("capacity", capacity, 1, 1 << 20)
        self.wide_ids = check_flag("wide_ids", wide_ids)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self.family = with_table_buckets(family, self.capacity, self.wide_ids)

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        # The family of a file or a pickle has the number of buckets that the arrays have.
        new = super()._from_config(config)
        vars(new)["family"] = family_from_config(config["family"])
        return new

    def _fullness(self) -> list[str]:
        seen = self._shown("seen")
        if seen is None:
            return []
        used = self.entries_kept()
        shown: list[str] = [Share(used / seen.size / self.capacity, "slots used")]
        overflow = self.overflow
        return [*shown, f"{100.0 * overflow:.3g}% of entries dropped"] if overflow else shown

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike, ids: ArrayLike | None = None, *, first_id: int | None = None) -> Self:
        """Add rows.

        Parameters
        ----------
        X : n rows
            Rows as ``family.hash`` accepts them.
        ids : array_like of n integers, optional
            By default rows are numbered from `first_id` on. Without `first_id` they follow the largest id
            that the index has ever had, so that ids of removed rows are not used again. They start from 0 if
            it is new.
        first_id : int, optional
            Id of the first row; the others follow. Set `first_id` or `ids` if you will merge indexes that are
            built separately. Otherwise both indexes have a row with id 0, and `merge` refuses them.

        Returns
        -------
        The index itself.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, if ids are not n integers, negative or too large, or those of rows
            that the index has numbered itself, or if both `ids` and `first_id` are given.
        OverflowError
            If a 64-bit counter could wrap. The index does not change if an exception is raised.

        Examples
        --------
        >>> import numpy as np, mergesketch
        >>> from mergesketch.lsh import PStable
        >>> X = np.arange(5.0)[:, None]
        >>> empty = mergesketch.LSHIndex(PStable(1, 10, width=2.0, n_buckets=64, seed=1))
        >>> parts = empty.copy().update(X[:3]) | empty.copy().update(X[3:], first_id=3)
        >>> parts == empty.copy().update(X)
        True
        """
        self._take_in({"X": X}, ids, first_id)
        self._warn_of_full_buckets()
        return self

    def _read(self, X: Any, ids: ArrayLike | None, first_id: int | None) -> IndexBatch:
        if first_id is not None:
            if ids is not None:
                raise ValueError("ids and first_id cannot both be given")
            first_id = check_int("first_id", first_id, 0, self.largest_allowed_id)
        codes = self.family.hash(X)
        if ids is not None:
            return IndexBatch(codes, self.check_new_ids(self.check_ids(ids, len(codes))))
        if first_id is not None:
            return IndexBatch(codes, self.check_new_ids(self.number_rows(first_id, len(codes))))
        numbers, by_default = self.number_rows(self.largest_id + 1, len(codes)), self._numbers_by_default
        return IndexBatch(codes, numbers, by_default, is_numbered=not by_default)

    add = alias(update)

    # -- queries ----------------------------------------------------------------------------------

    def query(self, Q: RowsLike, k: int = 10, *, n_probes: int = 1) -> Neighbours:
        """Return the k rows that share the most buckets with each query.

        Parameters
        ----------
        Q : n rows
            Queries as ``family.hash_query`` accepts them.
        k : int
            At least 1.
        n_probes : int, default 1
            Number of buckets that are read in each table, the likeliest first, from ``family.probe``. Counts
            are still at most L, because an id is in one bucket of a table. With more than one probe, counts
            are not binomial.

        Returns
        -------
        Neighbours
            ``(ids, counts)``, both of shape (n, k).

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows or the number of probes, or `k` is not a positive integer.
        """
        k = check_int("k", k, 1, 1 << 31)
        self._claim_device("Q", Q)
        return self.query_codes(self._probe(Q, n_probes), k)

    def query_codes(
        self, codes: NDArray[np.uint32], k: int, *, family: HashFamily | None = None
    ) -> Neighbours:
        """Return the k rows that share the most buckets with each query, from the codes of the queries.

        Parameters
        ----------
        codes : uint32 array of shape (n, L) or (n, L, P)
            Codes from ``family.hash_query`` or ``family.probe``. Codes from another family are not detected
            and find random rows.
        k : int
            At least 1.
        family : HashFamily, optional
            The family that made the codes. If it is given, the call checks that it equals the index's.

        Returns
        -------
        Neighbours

        Raises
        ------
        TypeError, ValueError
            If codes have another dtype or shape or are out of range, or `k` is not a positive integer.
        IncompatibleSketchError
            If `family` differs from the index's; the message names the first parameter that differs.
        """
        check_same_family("codes", self.family, family)
        k = check_int("k", k, 1, 1 << 31)
        codes = self._check_codes(codes)
        # No query finds more ids than there are in its buckets; a larger k only pads the result.
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
        """Return the k nearest of the rows that share the most buckets with each query.

        Parameters
        ----------
        Q : n rows
            Queries as ``family.hash_query`` accepts them; dense or sparse for metrics of vectors.
        rows : array_like, sets, sparse matrix or VectorCodes
            Row i belongs to id i, so all ids must be less than its length. An angle, a Euclidean or city
            block distance and an inner product need a dense matrix. Best is float32 or float64 in C order: it
            is not copied and may be an `np.memmap`, of which only the rows of candidates are read. Where the
            rows are not kept, pass a `VectorCodes` that has the ids of the index: angles, Euclidean distances
            and inner products are then estimated from its codes, in main memory.
        k : int
            At least 1.
        n_candidates : int, optional
            Number of ids that are compared with each query, the most frequent first; by default all ids in
            its buckets. Among equally frequent ids, those in likelier buckets are first (first probes of all
            tables, then second probes), and within a bucket the lowest.
        n_probes : int, default 1
            As in `query`.

        Returns
        -------
        Nearest
            ``(ids, distances)``, both of shape (n, k), the nearest first, at equal distances by rising id.
            Distances are in the units of ``family.metric``. Estimated ones come in the order of the estimates
            of ``VectorCodes.scores``, and an angle or a distance is 0 where the estimate lies below.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the queries or the number of probes, if the metric has no exact distance, if
            `rows` have another form or width, if the row of a candidate is missing or not finite, or if `k`
            or `n_candidates` is not a positive integer.

        Notes
        -----
        Distances are computed in float64 and do not depend on threads or processor. On a GPU they may differ
        in the last bits. The angle between a vector of zeros and any other is pi / 2.
        """
        ids, keys, by = self.rank_candidates(Q, rows, k, n_candidates=n_candidates, n_probes=n_probes)
        return Nearest(ids, by.in_units(keys))

    def rank_candidates(
        self, Q: RowsLike, rows: Any, k: int, *, n_candidates: int | None = None, n_probes: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], Ranker]:
        """Return what `search` ranks by, for searches over parts of the rows.

        Parameters
        ----------
        Q, rows, k, n_candidates, n_probes
            As in `search`.

        Returns
        -------
        ids : int64, shape (n, k)
        keys : float64, shape (n, k)
            The lowest first. Keys of other rows may be compared with these.
        ranker : Ranker
            Its `in_units` turns keys into distances.

        Raises
        ------
        TypeError, ValueError
            As in `search`.
        """
        k = check_int("k", k, 1, 1 << 31)
        most = None if n_candidates is None else check_int("n_candidates", n_candidates, 1)
        queries = self.family.read_rows(Q, "Q")
        self._claim_device("Q", Q)
        Q = queries.cut(0, queries.n)
        codes = self._check_codes(self._probe(Q, n_probes))
        self._claim_device("rows", rows)
        by, backend, n = ranker(self.family, Q, rows), self._backend, len(codes)
        ids, keys = backend.xp.empty((n, k), np.int64), backend.xp.empty((n, k), np.float64)
        search = partial(self._rank_queries, codes, most, k, by.rank, ids, keys)
        found = self._steadily(lambda: backend.map_blocks(search, n, _QUERIES))
        refused = [row for row in found if row != ALL_RANKED]
        if refused:
            raise ValueError(by.refusal(refused[0]))
        return ids, keys, by

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
        for a, b in cut_range(start, stop, block):
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
        """Return the codes as a C-contiguous array of shape (n, L, P)."""
        codes = check_array("codes", codes)
        self._claim_device("codes", codes)
        tables = self.family.n_hashes
        if codes.ndim not in (2, 3) or codes.shape[1] != tables or codes.dtype != np.uint32:
            raise ValueError(
                f"codes must be uint32 of shape (n, {tables}) or (n, {tables}, n_probes), "
                f"got {codes.dtype} of {codes.shape}"
            )
        if codes.size and int(codes.max()) >= self.family.n_buckets:
            raise ValueError(
                f"codes must be below {self.family.n_buckets}, got {codes.max()}; the attribute `family` of "
                "the index makes such codes"
            )
        probes = codes.shape[2] if codes.ndim == 3 else 1
        return read_only(self._backend.xp.ascontiguousarray(codes)).reshape(len(codes), tables, probes)

    def _most_found(self, codes: NDArray[np.uint32]) -> int:
        return int(codes.shape[1] * codes.shape[2] * self.capacity)

    def _counters(self, codes: NDArray[np.uint32], n_queries: int) -> NDArray[Any]:
        """Return a counter for each of the smallest ids; none on a GPU, or if they do not pay."""
        if self.device == "gpu":
            return np.zeros(0, np.int32)
        found = self._most_found(codes)
        size = max(self.n_updates, _FEW_IDS) + 1
        if size > _MANY_IDS or size > found * n_queries:
            size = 0
        return np.zeros(size, np.uint16 if found < 1 << 16 else np.int32)


publish("mergesketch", __all__, globals())
