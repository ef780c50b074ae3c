"""Vectors in few bits a coordinate, whose inner products and distances are estimated without decoding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError
from ...lsh.inputs.answers import like
from ...lsh.inputs.arrays import check_array, check_numbers
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_flag, check_int
from ...lsh.support.configured import differing_field
from ...lsh.support.lazy import lazy
from ...lsh.support.random import normal, random_uint64
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ...lsh.support.wording import counted
from ..core.guard import changing, locked, uninterrupted
from ..core.merging import StoredMergeable, parts_of
from ..core.state import Arrays, ArraySpec, State
from ..core.stored import Stored
from ..kernels import vector_codes
from .index import Nearest
from .vector_queries import METRICS, RoundedQueries, Rotation, refuse_long, round_queries

__all__ = ["VectorCodes"]

#: Coordinates from which rows are rotated by Hadamard transforms, and not by a matrix.
_MANY = 256
#: The most coordinates, whose products and sums of integers fit 64 bits.
_MOST_FEATURES = 1 << 16
#: Rows that are converted and encoded at a time, and rows and queries that are worth a thread of their own.
_ENCODED, _ROWS, _QUERIES = 1 << 14, 1 << 13, 256
#: Arrays with an entry for each row.
_OF_ROWS = ("codes", "scales", "radii", "offsets", "ids")


class VectorCodes(StoredMergeable):
    """Keep vectors in 1 to 8 bits a coordinate, and estimate their products with queries (RaBitQ, quantization).

    Parameters
    ----------
    n_features : int
        Number of columns of rows, at most 65,536.
    bits : int, default 1
        Bits of a coordinate, from 1 to 8.
    center : array_like of shape (n_features,), optional
        A point that rows are taken relative to, the mean of some of them for instance; the origin by default.
        Estimates are better by as much as rows are nearer to it. Only codes with equal centres merge.
    seed : int, default 0
        Seed of the rotation, in [0, 2**64).

    Attributes
    ----------
    center : ndarray of shape (n_features,), float64
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
    A row less the centre is rotated at random and rounded to a grid of 2**bits numbers a coordinate, which
    are the odd multiples of a unit. Of all units that are tried (128 ratios), the row takes that for which
    the cosine a between the row and its codeword is largest. With one bit, the codeword has the signs of the
    rotated row. If r is the row's length and o its direction, both after centring, and c the codeword's
    direction, then ``r <q, c> / a`` estimates the inner product of a query q with the row. It has no bias,
    and the standard error ``r |q| sqrt((1 - a**2) / (a**2 (D - 1)))`` at most, where D is `n_features`
    rounded up to a multiple of 64 (Gao and Long 2024, theorem 3.2; Gao and others 2025 for several bits). A
    query is rounded to integers of `query_bits`, and scored by counting bits, so that all processors find
    the same scores. Rounding adds ``r |e| / (a sqrt(D))`` to the error, in squares, where e is the query's
    error.

    **Memory** is ``bits D / 8`` bytes a row for the code and 8 for the row's scale and distance from the
    centre; 4 more with a centre, and 8 more if you pass ids. **Cost**: an update takes O(D log D) a row,
    O(D**2) if D is below 256, and 30 D more for several bits. A query reads all codes once.

    Lengths are kept as float32: longer rows are refused, and rows closer to the centre than about 1e-37 are
    taken for the centre.

    **Merging** appends the rows of the other codes in their order: the codes of parts are those of the whole,
    bit for bit. With ids, rows lie in the order of ids, so parts may merge in any order.

    References
    ----------
    - Gao, Long. RaBitQ: quantizing high-dimensional vectors with a theoretical error bound for approximate
      nearest neighbor search. SIGMOD 2024.
    - Gao, Gou, Xu, Yang, Long, Wong. Practical and asymptotically optimal quantization of high-dimensional
      vectors in Euclidean space for approximate nearest neighbor search. SIGMOD 2025.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> X = np.random.default_rng(0).standard_normal((1000, 64))
    >>> codes = mergesketch.VectorCodes(n_features=64, bits=4, seed=1).update(X)
    >>> codes.nbytes
    40008
    >>> estimates, std = codes.scores(X[:2], return_std=True)
    >>> bool((np.abs(estimates - X[:2] @ X.T) < 6 * std).all())
    True
    >>> codes.search(X[:2], k=1).ids
    array([[0],
           [1]])
    """

    _parameters = ("n_features", "bits", "seed")

    def __init__(
        self, n_features: int, bits: int = 1, *, center: ArrayLike | None = None, seed: int = 0
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1, _MOST_FEATURES)
        self.bits = check_int("bits", bits, 1, 8)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        if center is not None:
            self._set_arrays({**self._arrays, "center": self._read_center(center)})

    def _read_center(self, center: ArrayLike) -> NDArray[np.float64]:
        refuse_gpu("VectorCodes", center)
        point = check_numbers("center", center)
        if point.shape != (self.n_features,):
            raise ValueError(f"center must have shape ({self.n_features},), got {point.shape}")
        if not np.isfinite(point).all():
            raise ValueError("center must be finite, got NaN or infinity")
        if not np.linalg.norm(point / max(1.0, float(np.abs(point).max()))) * np.abs(point).max() < 1e38:
            raise ValueError("center must have a length below 1e38")
        return point.copy() if point.any() else np.zeros(0)

    # -- state ------------------------------------------------------------------------------------

    @property
    def _n_words(self) -> int:
        """The number of words of a plane."""
        return -(-self.n_features // 64)

    @property
    def _n_drawn(self) -> int:
        size = 64 * self._n_words
        return size * size if size < _MANY else size

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {
            "codes": ArraySpec("uint64", 2),
            "scales": ArraySpec("float32"),
            "radii": ArraySpec("float32"),
            # Products of the centre with rows less the centre. Without a centre there are none.
            "offsets": ArraySpec("float32"),
            # Without ids, rows have the numbers from 0 on.
            "ids": ArraySpec("int64"),
            "center": ArraySpec("float64"),
        }
        arrays: Arrays = {
            name: np.zeros((0,) if spec.n_dimensions == 1 else (0, self.bits * self._n_words), spec.dtype)
            for name, spec in specs.items()
        }
        return State(type(self).__name__, specs, arrays)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        n, center, ids = len(arrays["codes"]), arrays["center"], arrays["ids"]
        if arrays["codes"].shape[1] != self.bits * self._n_words:
            raise ValueError(f"codes must have {self.bits * self._n_words} columns")
        if center.size and (center.size != self.n_features or not np.isfinite(center).all()):
            raise ValueError(f"center must be empty, or {self.n_features} finite numbers")
        sizes = {"scales": n, "radii": n, "offsets": n if center.size else 0}
        for name, size in sizes.items():
            if arrays[name].size != size or not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} must be {size} finite numbers")
        if min(arrays["scales"].min(initial=0.0), arrays["radii"].min(initial=0.0)) < 0.0:
            raise ValueError("scales and radii must be at least 0")
        if ids.size not in (0, n) or (ids.size and (ids[0] < 0 or (np.diff(ids) <= 0).any())):
            raise ValueError("ids must be empty, or rise from row to row")

    def _check_device(self, device: str) -> None:
        if device == "gpu":
            raise NotImplementedError("VectorCodes has no GPU kernels; pass arrays in main memory: array.get()")

    @lazy
    def _rotation(self) -> Rotation:
        size = 64 * self._n_words
        if size < _MANY:
            matrix, normals = np.eye(size), normal(self.seed, "vector codes matrix", size * (size + 1) // 2)
            vector_codes.draw_rotation(normals.astype(np.float64), matrix)
            return Rotation(np.ascontiguousarray(matrix.T, np.float32), np.zeros((0, 48), np.uint16))
        part = 1 << (size.bit_length() - 1)
        turns = 1 if part == size else 4
        words = random_uint64(self.seed, "vector codes signs", turns * 3 * part // 64)
        masks = words.astype("<u8").view("<u2").astype(np.uint16).reshape(turns, 3 * part // 16)
        return Rotation(np.zeros((0, 0), np.float32), masks)

    def __len__(self) -> int:
        return len(self._arrays["codes"])

    @property
    def n_updates(self) -> int:
        """The number of rows."""
        return len(self._arrays["codes"])

    @property
    def center(self) -> NDArray[np.float64]:
        """The point that rows are taken relative to."""
        center = self._arrays["center"]
        return center.copy() if center.size else np.zeros(self.n_features)

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of rows, rising: those that were given, or else the numbers from 0 on."""
        ids = self._arrays["ids"]
        return ids.copy() if ids.size else np.arange(len(self), dtype=np.int64)

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike, ids: ArrayLike | None = None) -> Self:
        """Append rows.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        ids : array_like of n integers, optional
            Distinct, at least 0, and not those of other rows. Either all rows have ids, or none. Without ids,
            rows are numbered from 0 on.

        Returns
        -------
        The codes themselves.

        Raises
        ------
        TypeError, ValueError
            If the rows have another width, are not finite, or are too long for float32; if ids are not n
            distinct integers, or some rows have ids and others none. Nothing changes then.
        """
        refuse_gpu("VectorCodes", X, ids)
        with self._lock, changing(self, beside_queries=True):
            added = self._encode(X, ids)
            if len(added["codes"]):
                self._append([added])
        return self

    def _encode(self, X: Any, ids: Any) -> Arrays:
        """Return the arrays of new rows."""
        rows, center = read_rows(X, self.n_features), read_only(self._arrays["center"])
        n, width = rows.n, self.bits * self._n_words
        codes, scales, radii = np.empty((n, width), np.uint64), np.empty(n, np.float32), np.empty(n, np.float32)
        offsets, rotation = np.empty(n if center.size else 0, np.float32), self._rotation
        for first, last in cut_range(0, n, _ENCODED):
            part = slice(first, last)
            given, out = read_only(rows.cut(first, last).dense), (codes[part], scales[part], radii[part])
            at = offsets[part] if center.size else offsets

            def encode(a: int, b: int, given: Any = given, out: Any = out, at: Any = at) -> int:
                found: int = vector_codes.encode_rows(given, center, *rotation, self.bits, a, b, *out, at)
                return found

            found = self._backend.map_blocks(encode, last - first, _QUERIES)
            refuse_long("X", [row if row < 0 else first + row for row in found])
        arrays = {"codes": codes, "scales": scales, "radii": radii, "offsets": offsets}
        return {**arrays, "ids": self._read_ids(ids, n)}

    def _read_ids(self, ids: Any, n: int) -> NDArray[np.int64]:
        if ids is None:
            return np.zeros(0, np.int64)
        array = check_array("ids", ids)
        if array.shape != (n,) or (n and array.dtype.kind not in "iu"):
            raise ValueError(f"ids must be {counted(n, 'integer')}, got {array.dtype} of {array.shape}")
        if n and (int(array.min()) < 0 or int(array.max()) >= 2**63):
            raise ValueError(f"ids must be from 0 to 2**63 - 1, got {array.min()} to {array.max()}")
        return array.astype(np.int64)

    def _append(self, parts: list[Arrays]) -> None:
        """Append the rows of parts, which are not empty, and order all rows by ids if they have ids."""
        ours, n = self._arrays, len(self)
        with_ids = {part["ids"].size > 0 for part in ([ours, *parts] if n else parts)}
        if len(with_ids) > 1:
            raise ValueError("ids must be given for all rows or for none, got some rows with ids")
        more = sum(len(part["codes"]) for part in parts)
        room: Arrays = self._state.caches.get("room", {})
        if len(room.get("codes", ())) < n + more:
            room = {
                name: self._wider(ours[name], parts[0][name], n + more)
                for name in _OF_ROWS
                if ours[name].size or parts[0][name].size
            }
        at = n
        for part in parts:
            stop = at + len(part["codes"])
            for name, array in room.items():
                array[at:stop] = part[name]
            at = stop
        arrays = {**ours, **{name: array[:at] for name, array in room.items()}}
        if True in with_ids:
            ids = arrays["ids"]
            if (np.diff(ids) <= 0).any():
                order = np.argsort(ids, kind="stable")
                repeated = ids[order][1:][np.diff(ids[order]) == 0]
                if repeated.size:
                    raise ValueError(f"ids must be distinct, got {repeated[0]} twice")
                room = {name: array[:at][order] for name, array in room.items()}
                arrays = {**ours, **room}
        with changing(self), uninterrupted():
            self._set_arrays(arrays)
            # Rows that are appended next go into the rest of these arrays.
            self._state.caches["room"] = room

    @staticmethod
    def _wider(ours: NDArray[Any], given: NDArray[Any], size: int) -> NDArray[Any]:
        wider = np.empty((max(size, 3 * len(ours) // 2), *given.shape[1:]), given.dtype)
        wider[: len(ours)] = ours
        return wider

    # -- queries ----------------------------------------------------------------------------------

    @overload
    def scores(
        self, Q: RowsLike, rows: ArrayLike | None = ..., *, metric: str = ..., query_bits: int = ...,
        return_std: Literal[False] = ...,
    ) -> Any: ...  # fmt: skip
    @overload
    def scores(
        self, Q: RowsLike, rows: ArrayLike | None = ..., *, metric: str = ..., query_bits: int = ...,
        return_std: Literal[True],
    ) -> tuple[Any, Any]: ...  # fmt: skip
    def scores(
        self,
        Q: RowsLike,
        rows: ArrayLike | None = None,
        *,
        metric: str = "inner_product",
        query_bits: int = 8,
        return_std: bool = False,
    ) -> Any:
        """Estimate the products of queries with rows, or their distances.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n_queries, n_features)
        rows : array_like of integers, of shape (m,) or (n_queries, m), optional
            Numbers of the rows that are scored, from 0 to ``len(self) - 1`` in the order of ids: the same for
            all queries, or each query's own. By default these are all rows.
        metric : {"inner_product", "cosine", "sqeuclidean"}
            "cosine" is 0 where a row or query is 0. "sqeuclidean" is the square of the Euclidean distance,
            whose estimate may be below 0.
        query_bits : {8, 4}
            Bits of a query's coordinate. 4 take half the time of 8, and give a larger error.
        return_std : bool
            True to return standard errors, too.

        Returns
        -------
        scores : ndarray of shape (n_queries, n) or (n_queries, m), float64
        std : ndarray of the same shape, float64
            Only with `return_std`. The standard error, or more: that of rows which point nearly in the
            direction of the query is smaller.

        Raises
        ------
        TypeError, ValueError
            If queries have another width, are not finite or are too long for float32, if `rows` are no
            integers in the range, or if another argument is not as described.
        """
        check_flag("return_std", return_std)
        queries = self._round(Q, metric, query_bits)
        n_queries = len(queries.planes)
        if rows is None:
            scores = np.empty((n_queries, len(self)))
            self._backend.map_blocks(
                lambda a, b: vector_codes.score_rows(*self._of_rows, *queries[:3], a, b, scores), len(self), _ROWS
            )
            numbers = None
        else:
            numbers = self._read_numbers(rows, n_queries)
            scores = np.empty(numbers.shape)
            bounds, flat = np.arange(n_queries + 1) * numbers.shape[1], scores.reshape(-1)
            arguments = (*self._of_rows, *queries[:3], numbers.reshape(-1), bounds)
            self._backend.map_blocks(
                lambda a, b: vector_codes.score_some_rows(*arguments, a, b, flat), n_queries, _QUERIES // 16
            )
        if return_std:
            return like(Q, (scores, self._std(queries, numbers)))
        return like(Q, scores)

    def search(
        self, Q: RowsLike, k: int = 10, *, metric: str = "inner_product", query_bits: int = 8
    ) -> Nearest:
        """Return the k rows with the best estimates for each query.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n_queries, n_features)
        k : int
            At least 1.
        metric : {"inner_product", "cosine", "sqeuclidean"}
            As in `scores`.
        query_bits : {8, 4}
            As in `scores`.

        Returns
        -------
        Nearest
            ``(ids, distances)``, both of shape (n_queries, k): the best first, at equal estimates by rising
            id. The distances are the estimates of `scores`. Where there are fewer than k rows, the id is -1
            and the estimate infinite, or minus infinity for the products.

        Raises
        ------
        TypeError, ValueError
            As `scores` does, or if `k` is not a positive integer.
        """
        k = check_int("k", k, 1, 1 << 31)
        queries, n = self._round(Q, metric, query_bits), len(self)
        n_queries, held = len(queries.planes), min(k, n)
        is_distance = metric == "sqeuclidean"
        ids = np.full((n_queries, k), -1, np.int64)
        distances = np.full((n_queries, k), np.inf if is_distance else -np.inf)
        for first, last in cut_range(0, n_queries if n else 0, _QUERIES):
            numbers, keys = self._best(queries.cut(first, last), held)
            given = self._arrays["ids"]
            ids[first:last, :held] = given[numbers] if given.size else numbers
            # Similarities are ranked by their negatives; 0.0 takes the sign from a negative zero.
            distances[first:last, :held] = keys if is_distance else 0.0 - keys
        return Nearest(ids, distances)

    def _best(self, queries: RoundedQueries, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the numbers of the k best rows of each query and their keys, the lowest first."""
        n_queries = len(queries.planes)

        def best(start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            shape, sizes = (n_queries, min(k, stop - start)), np.zeros(n_queries, np.int64)
            numbers, keys = np.empty(shape, np.int64), np.empty(shape)
            vector_codes.best_rows(*self._of_rows, *queries[:3], start, stop, sizes, numbers, keys)
            return numbers, keys

        found = self._backend.map_blocks(best, len(self), _ROWS)
        numbers, keys = (np.concatenate(arrays, axis=1) for arrays in zip(*found, strict=True))
        order = np.lexsort((numbers, keys), axis=1)[:, :k]
        return np.take_along_axis(numbers, order, 1), np.take_along_axis(keys, order, 1)

    @property
    def _of_rows(self) -> list[NDArray[Any]]:
        return [read_only(self._arrays[name]) for name in ("codes", "scales", "radii", "offsets")]

    def _round(self, Q: Any, metric: str, query_bits: int) -> RoundedQueries:
        check_choice("metric", metric, tuple(METRICS))
        check_choice("query_bits", query_bits, (4, 8))
        refuse_gpu("VectorCodes", Q)
        rows, center = read_rows(Q, self.n_features, "Q"), read_only(self._arrays["center"])
        return round_queries(
            rows, center, self._rotation, self._n_words, query_bits, metric, self._backend
        )

    def _read_numbers(self, rows: Any, n_queries: int) -> NDArray[np.int64]:
        numbers, n = check_array("rows", rows), len(self)
        if numbers.ndim == 1:
            numbers = np.broadcast_to(numbers, (n_queries, numbers.size))
        if numbers.ndim != 2 or len(numbers) != n_queries or (numbers.size and numbers.dtype.kind not in "iu"):
            raise ValueError(
                f"rows must be integers of shape (m,) or ({n_queries}, m), got {numbers.dtype} of {numbers.shape}"
            )
        if numbers.size and (int(numbers.min()) < 0 or int(numbers.max()) >= n):
            raise ValueError(f"rows must be from 0 to {n - 1}, got {numbers.min()} to {numbers.max()}")
        return np.ascontiguousarray(numbers, np.int64)

    def _std(self, queries: RoundedQueries, numbers: NDArray[np.int64] | None) -> NDArray[np.float64]:
        """Return the standard errors of scores with all rows, or with some for each query."""
        codes, scales, radii, offsets = self._of_rows
        norms, size = np.empty(len(codes)), 64 * self._n_words
        self._backend.map_blocks(
            lambda a, b: vector_codes.code_norms(codes, self.bits, a, b, norms), len(codes), _ROWS
        )
        squares, ours = scales.astype(np.float64) ** 2 * norms, radii.astype(np.float64) ** 2
        spread = np.maximum(squares - ours, 0.0) / (size - 1)
        at = slice(None) if numbers is None else numbers
        variances = queries.radii[:, None] ** 2 * spread[at] + queries.errors[:, None] ** 2 * squares[at] / size
        std = np.sqrt(variances)
        if queries.metric == vector_codes.SQUARED_EUCLIDEAN:
            std *= 2.0
        elif queries.metric == vector_codes.COSINE:
            lengths = queries.terms[:, 3:4] * self._lengths(ours, offsets)[at]
            np.divide(std, lengths, out=std, where=lengths > 0.0)
            std[lengths == 0.0] = 0.0
        return std

    def _lengths(self, squares: NDArray[np.float64], offsets: NDArray[np.float32]) -> NDArray[np.float64]:
        center = self._arrays["center"]
        if not center.size:
            return np.sqrt(squares)
        whole: NDArray[np.float64] = squares + 2.0 * offsets.astype(np.float64) + float(center @ center)
        return np.sqrt(np.maximum(whole, 0.0))

    # -- merging ----------------------------------------------------------------------------------

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Append the rows of other codes of the same parameters and centre, in place.

        Parameters
        ----------
        *others : VectorCodes, or iterables of them
            They are not changed.

        Returns
        -------
        The codes themselves.

        Raises
        ------
        IncompatibleSketchError
            If parameters or centres differ, or some rows have ids and others none, or two have the same id.
            Nothing changes then.
        """
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self._check_compatible(part)
        with locked(self, *parts), changing(self):
            added = [dict(part._arrays) for part in parts if len(part)]
            try:
                if added:
                    self._append(added)
            except ValueError as error:
                raise IncompatibleSketchError(f"VectorCodes cannot merge: {error}") from None
        return self

    def _check_compatible(self, other: object) -> None:
        if not isinstance(other, VectorCodes):
            raise IncompatibleSketchError(f"expected VectorCodes to merge, got {type(other).__name__}")
        difference = differing_field(self.config(), other.config())
        if difference is not None:
            raise IncompatibleSketchError(f"VectorCodes differ in {difference}")
        if not np.array_equal(self._arrays["center"], other._arrays["center"]):
            raise IncompatibleSketchError("VectorCodes differ in center")

    def _merged(self, *others: Self) -> Self:
        return self.copy().merge(*others)

    def empty_like(self) -> Self:
        """Return codes of the same parameters and centre without rows.

        Returns
        -------
        VectorCodes
        """
        new = self._without_arrays()
        new._set_arrays({**new._arrays, "center": self._arrays["center"].copy()})
        return new

    def copy(self) -> Self:
        """Return equal codes, which share no memory with these.

        Returns
        -------
        VectorCodes
        """
        new = self._without_arrays()
        with self._lock:
            new._state = self._state.copy()
        return new

    def __copy__(self) -> Self:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return Stored.__reduce__(self.copy())

    def _facts(self) -> list[tuple[str, str]]:
        return [("rows", f"{len(self):,}"), *super()._facts()]

    def __repr__(self) -> str:
        return f"<{Stored.__repr__(self)}: {counted(len(self), 'row')}, {self.nbytes:,} bytes>"
