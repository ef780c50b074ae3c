"""Vectors in few bits a coordinate, whose inner products and distances are estimated without decoding."""

from __future__ import annotations

import math
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.rows import read_rows
from ...lsh.support.aliases import alias
from ...lsh.support.backend import read_only, sum_rows, to_host
from ...lsh.support.checks import check_choice, check_flag, check_int
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..kernels import vector_codes
from .index import Nearest
from .vector_queries import METRICS, QUERY_BITS, RoundedQueries, round_queries
from .vector_rows import VectorRows

__all__ = ["VectorCodes"]

#: Rows that are worth a thread of their own, queries that are searched at a time, and queries that are worth
#: a thread if each has rows of its own.
_ROWS, _QUERIES, _FEW_QUERIES = 1 << 13, 256, 16
#: Scores that a search on a GPU keeps at a time.
_SCORES = 1 << 27
#: Standard errors that an estimated product may be wrong by.
_SURE = 3.0
#: Error of the square of a row's length, as a share of it, and of the product of a row with the centre, as a
#: share of both lengths: coordinates are rounded to 2**-23 of a power of two, and what is kept to float32.
_ROUNDED = 2.0**-22


class VectorCodes(VectorRows):
    """Keep vectors in 1 to 8 bits a coordinate, and estimate products with queries (RaBitQ, quantization).

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
    and the standard error ``r |p| sqrt((1 - a**2) / (a**2 (D - 1)))``, where p is the part of q at a right
    angle to the row, and D is `n_features` rounded up to a multiple of 64 (Gao and Long 2024, theorem 3.2;
    Gao and others 2025 for several bits). A query is rounded to integers of `query_bits`, and scored by
    counting bits, so that all processors find the same scores. Rounding adds ``r |e| / (a sqrt(D))`` to the
    error, in squares, where e is the query's error. It also makes products smaller by up to
    ``s**2 D / (24 |q|**2)`` of their size, where s is the step from one integer to the next: by about 1 %
    with 4 bits, and by less than 0.01 % with 8. The standard errors that `scores` returns include this.

    Lengths of rows, and products of rows with the centre, are kept as float32. So squares of lengths err by
    up to ``2**-22`` of their size, and these products by as much of the product of both lengths. The standard
    errors include this, too.

    The length of p follows from the product itself, which is only estimated. So the standard errors that
    `scores` returns take the shortest product that is within three of them.

    **Memory** is ``bits D / 8`` bytes a row for the code and 8 for the row's scale and distance from the
    centre; 4 more with a centre, and 8 more if you pass ids. **Cost**: an update takes O(D log D) a row,
    O(D**2) if D is below 256, and 30 D more for several bits. A query reads all codes once.

    Rows and queries whose lengths exceed float32 are refused, and those closer to the centre than about 1e-33
    are taken for the centre.

    **Merging** appends the rows of the other codes in their order: the codes of parts are those of the whole,
    bit for bit. With ids, rows lie in the order of ids, so parts may merge in any order.

    **On a GPU** (`to`), codes and scores are those of the CPU. `search` computes and sorts all scores there.

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
    40000
    >>> estimates, std = codes.scores(X[:2], return_std=True)
    >>> bool((np.abs(estimates - X[:2] @ X.T) < 6 * std).all())
    True
    >>> codes.search(X[:2], k=1).ids
    array([[0],
           [1]])
    """

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
        query_bits : {4, 8, 12, 16}, default 8
            Bits of a query's coordinate. More bits take more time, and give a smaller error: 4 are enough for
            rows of one bit, 8 for rows of four.
        return_std : bool
            True to return standard errors, too.

        Returns
        -------
        scores : ndarray of shape (n_queries, n) or (n_queries, m), float64
        std : ndarray of the same shape, float64
            Only with `return_std`. The standard error, or somewhat more.

        Raises
        ------
        TypeError, ValueError
            If queries have another width, are not finite or are too long for float32, if `rows` are no
            integers in the range, or if another argument is not as described.
        """
        check_flag("return_std", return_std)
        queries = self._round(Q, metric, query_bits)
        numbers = None if rows is None else self._read_numbers(rows, len(queries.planes))
        scores = self._score(self._of_rows, queries, numbers)
        return (scores, self._std(queries, numbers, scores)) if return_std else scores

    def _score(
        self, of_rows: list[NDArray[Any]], queries: RoundedQueries, numbers: NDArray[np.int64] | None
    ) -> NDArray[np.float64]:
        """Return the scores of all rows, or of some for each query."""
        backend, n_queries, asked = self._backend, len(queries.planes), queries[:3]
        xp, kernels = backend.xp, backend.kernels(vector_codes)
        if numbers is None:
            n = len(of_rows[0])
            scores = xp.empty((n_queries, n))
            backend.map_blocks(lambda a, b: kernels.score_rows(*of_rows, *asked, a, b, scores), n, _ROWS)
            return scores
        scores = xp.empty(numbers.shape)
        bounds, flat = xp.arange(n_queries + 1) * numbers.shape[1], scores.reshape(-1)
        arguments = (*of_rows, *asked, numbers.reshape(-1), bounds)
        backend.map_blocks(
            lambda a, b: kernels.score_some_rows(*arguments, a, b, flat), n_queries, _FEW_QUERIES
        )
        return scores

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
        query_bits : {4, 8, 12, 16}, default 8
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
        on_cpu = self.device == "cpu"
        best = self._best if on_cpu else self._best_of_all_scores
        at_once = _QUERIES if on_cpu else max(1, _SCORES // max(n, 1))
        for first, last in cut_range(0, n_queries if n else 0, at_once):
            numbers, keys = best(queries.cut(first, last), held)
            given = self._arrays["ids"]
            ids[first:last, :held] = given[numbers] if given.size else numbers
            # Similarities are ranked by their negatives; 0.0 takes the sign from a negative zero.
            distances[first:last, :held] = keys if is_distance else 0.0 - keys
        xp = self._backend.xp
        return Nearest(xp.asarray(ids), xp.asarray(distances))

    query = alias(search)

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
        order += np.arange(n_queries)[:, None] * numbers.shape[1]
        return numbers.take(order), keys.take(order)

    def _best_of_all_scores(
        self, queries: RoundedQueries, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Do what `_best` does on a GPU, where all scores are computed and sorted."""
        xp, scores = self._backend.xp, self._score(self._of_rows, queries, None)
        keys = scores if queries.metric == vector_codes.SQUARED_EUCLIDEAN else -scores
        order = xp.argsort(keys, axis=1, kind="stable")[:, :k]
        return to_host(order), to_host(xp.take_along_axis(keys, order, axis=1))

    @property
    def _of_rows(self) -> list[NDArray[Any]]:
        return [read_only(self._arrays[name]) for name in ("codes", "scales", "radii", "offsets")]

    def _round(self, Q: Any, metric: str, query_bits: int) -> RoundedQueries:
        check_choice("metric", metric, tuple(METRICS))
        check_choice("query_bits", query_bits, QUERY_BITS)
        self._check_place("Q", Q)
        rows, center = read_rows(Q, self.n_features, "Q"), read_only(self._arrays["center"])
        return round_queries(rows, center, self._rotation, self._n_words, query_bits, metric)

    def _std(
        self, queries: RoundedQueries, numbers: NDArray[np.int64] | None, scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the standard errors of scores with all rows, or with some for each query."""
        (codes, scales, radii, offsets), xp = self._of_rows, self._backend.xp
        norms, size = xp.empty(len(codes)), 64 * self._n_words
        code_norms = self._backend.kernels(vector_codes).code_norms
        self._backend.map_blocks(lambda a, b: code_norms(codes, self.bits, a, b, norms), len(codes), _ROWS)
        squares, ours = scales.astype(np.float64) ** 2 * norms, radii.astype(np.float64) ** 2
        # The errors of codewords and queries, of which the first are a share of the row's length here.
        shares = xp.maximum(squares - ours, 0.0) / xp.where(ours > 0.0, ours, 1.0) / (size - 1)
        at = slice(None) if numbers is None else numbers
        shares, lengths = shares[at], xp.sqrt(ours)[at]
        rounding = queries.errors[:, None] ** 2 * squares[at] / size
        products = self._score([codes, scales, radii, offsets[:0]], queries.without_terms(), numbers)
        # Integers of coordinates below half a step are 0, so that a codeword of signs misses a part of its
        # product: step**2 / 24 of it if coordinates are normal with variance 1.
        spreads = xp.where(queries.radii > 0.0, queries.radii**2, 1.0)[:, None] / size
        rounding = rounding + (products * queries.terms[:, 1:2] ** 2 / (24.0 * spreads)) ** 2
        whole = (queries.radii[:, None] * lengths) ** 2
        variances = shares * whole + rounding
        for _ in range(2):
            # The error is that of the query's part at a right angle to the row, which is shorter than the
            # query by the product with the row's direction. Of the estimated product, as much counts as is
            # left if it errs by three times the bound.
            sure = xp.maximum(xp.abs(products) - _SURE * xp.sqrt(variances), 0.0)
            variances = shares * xp.maximum(whole - sure * sure, 0.0) + rounding
        if queries.metric == vector_codes.SQUARED_EUCLIDEAN:
            std: NDArray[np.float64] = xp.sqrt(4.0 * variances + (_ROUNDED * lengths**2) ** 2)
            return std
        by_offsets = _ROUNDED * lengths * self._center_length
        if queries.metric == vector_codes.COSINE:
            # The same offset is in the length of the row, by which the product is divided.
            ours, theirs = self._lengths(ours, offsets)[at], queries.terms[:, 3:4]
            norms = ours * theirs
            by_offsets = by_offsets * (1.0 - scores * theirs / xp.where(ours > 0.0, ours, 1.0))
            variances = xp.where(norms > 0.0, variances + by_offsets**2, 0.0)
            return xp.sqrt(variances) / xp.where(norms > 0.0, norms, 1.0)
        return xp.sqrt(variances + by_offsets**2)

    def _lengths(self, squares: NDArray[np.float64], offsets: NDArray[np.float32]) -> NDArray[np.float64]:
        xp = self._backend.xp
        if not offsets.size:
            return xp.sqrt(squares)
        whole: NDArray[np.float64] = squares + 2.0 * offsets.astype(np.float64) + self._center_length**2
        return xp.sqrt(xp.maximum(whole, 0.0))

    @property
    def _center_length(self) -> float:
        center = self._arrays["center"]
        return math.sqrt(sum_rows(center * center))


publish("mergesketch", __all__, globals())
