"""Keys that are hashed to buckets, scored by the probabilities that queries choose these buckets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.srp import SignedRandomProjection
from ...lsh.inputs.arrays import check_array, check_numbers
from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.support.aliases import alias
from ...lsh.support.backend import read_only, to_host
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..core.guard import changing
from ..core.hashed_rows import check_codes
from ..core.state import Arrays, ArraySpec, State
from ..kernels import soft_collisions
from .appended_rows import AppendedRows
from .index import Nearest

__all__ = ["SoftCollisions"]

#: Keys, and queries, that are worth a thread of their own.
_KEYS, _QUERIES = 1 << 12, 16
#: Entries of tables, and scores, that are kept at a time.
_ENTRIES, _SCORES = 1 << 23, 1 << 22
#: Entries of queries that are longer are scaled down to it.
_LONG = 1e100
#: The most bits of a code, for each of which tables double.
_MOST_BITS = 16
#: The most entries of the tables of a query, which take 256 MiB.
_MOST_ENTRIES = 1 << 26


class SoftCollisions(AppendedRows):
    """Keep keys as LSH codes, and score them by soft collisions with queries (SOCKET, sparse attention).

    Parameters
    ----------
    family : SignedRandomProjection
        With ``projection="gaussian"``, known `n_features`, `power` up to 16 and no `n_buckets`. Its
        `n_hashes` L is the number of tables, and its `power` P the number of bits of a code. ``L 2**P`` is at
        most 2**26.
    tau : float, default 0.3
        Temperature, above 0. The smaller it is, the more the scores are like numbers of hard collisions.

    Attributes
    ----------
    ids : ndarray of shape (n,), int64
        The ids of keys, rising.
    n_updates : int
        Number of keys, which `len` returns, too.
    nbytes : int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    A key has one code of P signs in each of L tables. A query q does not choose a code. With the random
    vectors W of a table, it has ``u = tanh(W q) / sqrt(d)``, and gives the code with signs v the probability
    softmax(u . v / tau) over all ``2**P`` codes, as in SOCKET. The probability is a product over the bits:
    that of a positive sign is ``(1 + tanh(u / tau)) / 2``. The score of a key is its norm times the sum over
    the tables of the probability of its code. So it is the expected number of collisions if the query draws
    the bits of its codes. It falls as the angle between key and query grows. Lengths of keys have no effect.
    Queries that are longer have sharper probabilities, until tanh saturates.

    Scores rank the keys of one query. They estimate no inner products, as those of `VectorCodes` do.

    **Memory** is ``L`` bytes a key, ``2 L`` if P exceeds 8; 4 more with norms, and 8 more if you pass ids.
    **Cost**: an update hashes, and a query takes ``O(L (P d + 2**P))`` for its tables and L additions a key.
    Sums are added up in one order, so scores depend on no thread and no batch.

    **Merging** appends the keys of the others in their order: the codes of parts are those of the whole, bit
    for bit. With ids, keys lie in the order of ids, so parts may merge in any order.

    References
    ----------
    - SOCKET: soft collision kernel estimator for sparse attention.
    - Charikar. Similarity estimation techniques from rounding algorithms. STOC 2002.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> from mergesketch.lsh import SignedRandomProjection
    >>> family = SignedRandomProjection(n_features=32, n_hashes=60, power=8, seed=1)
    >>> keys = np.random.default_rng(0).standard_normal((1000, 32))
    >>> soft = mergesketch.SoftCollisions(family).update(keys)
    >>> soft.nbytes
    60000
    >>> soft.search(keys[:2], k=1).ids
    array([[0],
           [1]])
    """

    _parameters = ("family", "tau")
    _row_arrays = ("codes", "norms", "ids")
    _optional_arrays = ("ids", "norms")

    def __init__(self, family: SignedRandomProjection, tau: float = 0.3) -> None:
        if not isinstance(family, SignedRandomProjection):
            raise TypeError(f"family must be a SignedRandomProjection, got {type(family).__name__}")
        if family.projection != "gaussian":
            raise ValueError(f'family must have projection="gaussian", got {family.projection!r}')
        if family.n_features is None:
            raise ValueError("family must have n_features, got None")
        if family.power > _MOST_BITS or family.n_buckets != 1 << family.power:
            raise ValueError(
                f"family must have power up to {_MOST_BITS} and 2**power buckets, got power={family.power} "
                f"and {family.n_buckets} buckets"
            )
        if family.n_hashes << family.power > _MOST_ENTRIES:
            raise ValueError(
                f"family must have n_hashes * 2**power up to {_MOST_ENTRIES:,}, "
                f"got n_hashes={family.n_hashes} and power={family.power}"
            )
        self.family = family
        self.tau = check_real("tau", tau, 1e-9, 1e9)

    @property
    def n_features(self) -> int:
        """The number of columns of keys and queries."""
        assert self.family.n_features is not None
        return self.family.n_features

    # -- state ------------------------------------------------------------------------------------

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {
            "codes": ArraySpec("uint8" if self.family.power <= 8 else "uint16", 2, on_device=True),
            # Without norms and ids these are empty.
            "norms": ArraySpec("float32", on_device=True),
            "ids": ArraySpec("int64"),
        }
        arrays: Arrays = {
            name: np.zeros((0,) if spec.n_dimensions == 1 else (0, self.family.n_hashes), spec.dtype)
            for name, spec in specs.items()
        }
        return State(type(self).__name__, specs, arrays)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        codes, norms = arrays["codes"], arrays["norms"]
        if codes.shape[1] != self.family.n_hashes:
            raise ValueError(f"codes must have {self.family.n_hashes} columns")
        if codes.size and int(codes.max()) >= self.family.n_buckets:
            raise ValueError(f"codes must be below {self.family.n_buckets}")
        if norms.size not in (0, len(codes)) or not np.isfinite(norms).all() or (norms < 0.0).any():
            raise ValueError(f"norms must be empty, or {len(codes)} finite numbers of at least 0")
        self._check_stored_ids(arrays["ids"], len(codes))

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike, ids: ArrayLike | None = None, *, norms: ArrayLike | None = None) -> Self:
        """Append keys.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        ids : array_like of n integers, optional
            Distinct, at least 0, and not those of other keys. Either all keys have ids, or none. Without ids,
            keys are numbered from 0 on.
        norms : array_like of n finite numbers of at least 0, optional
            Factors of the scores: in attention, the lengths of the keys' values. Either all keys have norms,
            or none, which means 1. They are kept as float32.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If the keys have another width or are not finite; if ids are not n distinct integers, or norms not
            n numbers as described; if some keys have ids or norms and others none. Nothing changes then.
        """
        with self._lock, changing(self, beside_queries=True):
            added = self._encode(X, ids, norms)
            if len(added["codes"]):
                self._append([added])
        return self

    def _encode(self, X: Any, ids: Any, norms: Any) -> Arrays:
        """Return the arrays of new keys."""
        self._check_place("X", X)
        dtype, xp = self._state.specs["codes"].dtype, self._backend.xp
        hashed = self.family.hash(X)
        codes = check_codes(self.family, hashed, len(hashed)).astype(dtype)
        factors = np.zeros(0, np.float32) if norms is None else self._read_norms(norms, len(codes))
        numbers = self._read_ids(None if ids is None else to_host(check_array("ids", ids)), len(codes))
        return {"codes": codes, "norms": xp.asarray(factors), "ids": numbers}

    @staticmethod
    def _read_norms(norms: Any, n: int) -> NDArray[np.float32]:
        array = to_host(check_numbers("norms", norms))
        if array.shape != (n,):
            raise ValueError(f"norms must have shape ({n},), got {array.shape}")
        with np.errstate(over="ignore"):
            factors = array.astype(np.float32)
        if n and not (np.isfinite(factors).all() and (factors >= 0.0).all()):
            raise ValueError(f"norms must be from 0 to 3.4e38, got {array.min()} to {array.max()}")
        return factors

    # -- queries ----------------------------------------------------------------------------------

    def scores(self, Q: RowsLike, rows: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the soft collisions of queries with keys, times the keys' norms.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n_queries, n_features)
        rows : array_like of integers, of shape (m,) or (n_queries, m), optional
            Numbers of the keys that are scored, from 0 to ``len(self) - 1`` in the order of ids: the same for
            all queries, or each query's own. By default these are all keys.

        Returns
        -------
        ndarray of shape (n_queries, n) or (n_queries, m), float64
            From 0 to L times the norm.

        Raises
        ------
        TypeError, ValueError
            If queries have another width or are not finite, or `rows` are no integers in the range.
        """
        queries, backend = self._read_queries(Q), self._backend
        numbers = backend.xp.zeros((0, 0), np.int64)
        if rows is not None:
            numbers = self._read_numbers(rows, queries.n)
        n = len(self) if rows is None else numbers.shape[1]
        out = backend.xp.empty((queries.n, n))
        for first, last in self._together(queries.n):
            self._score(queries.cut(first, last), numbers[first:last], out[first:last])
        return out

    def search(self, Q: RowsLike, k: int = 10) -> Nearest:
        """Return the k keys with the largest scores for each query.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n_queries, n_features)
        k : int
            At least 1.

        Returns
        -------
        Nearest
            ``(ids, distances)``, both of shape (n_queries, k): the best first, at equal scores by rising id.
            The distances are those of `scores`. Where there are fewer than k keys, the id is -1 and the score
            minus infinity.

        Raises
        ------
        TypeError, ValueError
            As `scores` does, or if `k` is not a positive integer.
        """
        k = check_int("k", k, 1, 1 << 31)
        queries, n, xp = self._read_queries(Q), len(self), self._backend.xp
        held, given = min(k, n), xp.asarray(self._arrays["ids"])
        ids, distances = xp.full((queries.n, k), -1, np.int64), xp.full((queries.n, k), -np.inf)
        for first, last in self._together(queries.n if n else 0):
            scores = xp.empty((last - first, n))
            self._score(queries.cut(first, last), xp.zeros((0, 0), np.int64), scores)
            best = self._largest(scores, held)
            ids[first:last, :held] = given[best] if given.size else best
            distances[first:last, :held] = xp.take_along_axis(scores, best, axis=1)
        return Nearest(ids, distances)

    query = alias(search)

    def _largest(self, scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
        """Return the columns of the k largest scores of each row, at equal scores by rising column."""
        if self.device == "gpu" or k == scores.shape[1]:
            order: NDArray[np.int64] = self._backend.xp.argsort(-scores, axis=1, kind="stable")
            return order[:, :k]
        best = np.empty((len(scores), k), np.int64)
        for row, chosen in zip(scores, best, strict=True):
            # Sorting those of at least the k-th score takes less time than sorting all.
            near = np.flatnonzero(row >= np.partition(row, row.size - k)[row.size - k])
            chosen[:] = near[np.argsort(-row[near], kind="stable")[:k]]
        return best

    def _together(self, n_queries: int) -> Any:
        """Return ranges of queries whose tables and scores fit a part of the memory."""
        entries = self.family.n_hashes * self.family.n_buckets
        return cut_range(0, n_queries, max(1, min(_ENTRIES // entries, _SCORES // max(1, len(self)))))

    def _score(self, queries: VectorRows, numbers: NDArray[np.int64], out: NDArray[np.float64]) -> None:
        """Write the scores of some queries with all keys, or with those of their numbers."""
        codes, norms = (read_only(self._arrays[name]) for name in ("codes", "norms"))
        kernels, tables = self._backend.kernels(soft_collisions), self._tables(queries)
        self._backend.map_blocks(
            lambda a, b: kernels.score_keys(codes, norms, tables, read_only(numbers), a, b, out),
            out.shape[1],
            _KEYS,
        )

    def _tables(self, queries: VectorRows) -> NDArray[np.float32]:
        """Return the probabilities of all codes: shape (n_queries, n_hashes, 2**power)."""
        backend, family, n = self._backend, self.family, queries.n
        xp, kernels = backend.xp, backend.kernels(soft_collisions)
        Q, vectors = queries.dense.astype(np.float64), backend.constant(self._vectors)
        # tanh does not tell such lengths apart, and sums of longer queries would overflow.
        Q = read_only(Q / xp.maximum(xp.abs(Q).max(axis=1, keepdims=True) / _LONG, 1.0))
        products = xp.empty((n, self._vectors.shape[1]))
        backend.map_blocks(lambda a, b: kernels.project_queries(Q, vectors, a, b, products), n, _QUERIES)
        # Softmax over the signs v of the product of u with v over tau, for one bit after another.
        bits = 0.5 + 0.5 * xp.tanh(xp.tanh(products) / (math.sqrt(self.n_features) * self.tau))
        tables = xp.empty((n, family.n_hashes, family.n_buckets), np.float32)
        backend.map_blocks(lambda a, b: kernels.fill_tables(bits, a, b, tables), n, _QUERIES)
        return tables

    @lazy
    def _vectors(self) -> NDArray[np.float32]:
        """Return the family's vectors as columns: column ``k * n_hashes + h`` decides bit k of hash h."""
        return np.ascontiguousarray(self.family.vectors.T)

    def _read_queries(self, Q: Any) -> VectorRows:
        self._check_place("Q", Q)
        return read_rows(Q, self.n_features, "Q")


publish("mergesketch", __all__, globals())
