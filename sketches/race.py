"""RACE: kernel sums and kernel densities from counters alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from ..lsh.backend import backend_of
from ..lsh.family import HashFamily
from ..lsh.threads import get_num_threads, map_blocks
from ..lsh.validation import check_int, check_real, check_sets, check_weights
from .base import MergeableSketch, StateSpec

__all__ = ["Race"]

#: Codes that are worked on at a time: as many rows as keep them in the processor's caches.
_BLOCK_CODES = 1 << 20
#: Codes that are worth a thread of their own.
_CODES_BLOCK = 1 << 16
_MAX_BUCKETS = 1 << 28


def _is_pair(X: Any) -> bool:
    return isinstance(X, tuple) and len(X) == 2 and np.ndim(X[1]) == 1


def _count_rows(X: Any, name: str) -> tuple[Any, int]:
    """`X` in a form whose rows can be cut out, and how many it has; the family checks the rest."""
    backend_of(X)
    if hasattr(X, "tocsr"):
        return X.tocsr(), X.shape[0]
    if _is_pair(X):
        tokens, offsets = check_sets(X, name)
        return (tokens, offsets), offsets.size - 1
    if hasattr(X, "__array__"):
        X = np.asarray(X)
        return X, X.shape[0] if X.ndim else 0
    if not isinstance(X, (list, tuple)):
        raise TypeError(f"{name} must be rows: a matrix, dense or sparse, or sets; got {type(X).__name__}")
    return X, len(X)


def _cut_rows(X: Any, start: int, stop: int) -> Any:
    if _is_pair(X):
        offsets = X[1][start : stop + 1]
        return X[0][offsets[0] : offsets[-1]], offsets - offsets[0]
    return X[start:stop]


class Race(MergeableSketch):
    """Sums of a hash family's kernel over all rows taken in, without keeping the rows.

    Parameters
    ----------
    family : HashFamily
        Any family of `mergesketch.lsh`; its `n_hashes` R is the number of repetitions, its `n_buckets`
        W the number of counters of each, its `kernel` k the function that is summed.

    Attributes
    ----------
    total : int
        The sum of the weights of all rows, N below.

    Notes
    -----
    Update: ``counts[r, h_r(x)] += weight`` for each repetition r. Query: with c_r the counter of the
    query's code in repetition r,

        (c_r - N chance) / (1 - chance)

    is an unbiased estimate of the kernel sum over x of ``weight(x) k(x, q)``, where `chance` is the
    probability that the family's rehashing sends two unlike codes to one counter. The estimate is the
    mean over r, or the median of the means of groups of repetitions.

    For weights of 1 the variance of c_r is at most (sum over x of sqrt(k(x, q)))**2, k with chance
    collisions counted in, so the mean's standard deviation is at most that sum over sqrt(R). With
    probability at least 1 - delta, the median of the means of 8 log(1/delta) groups errs by at most

        sqrt(32 log(1/delta) / R) * sum over x of sqrt(k(x, q))

    (Coleman and Shrivastava 2020, "Sub-linear RACE sketches for approximate kernel density estimation
    on streaming data", theorems 1 and 2).

    A row costs its R hashes and R additions; a query R hashes and R reads, whatever N. Memory is
    4 R W bytes, or twice that once a counter could pass 2**31.

    Weights may be negative: what was taken in can be taken out again.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> from mergesketch.lsh import MinHash
    >>> race = mergesketch.Race(MinHash(n_hashes=500, n_buckets=1024))
    >>> monday = race.empty_like().update([np.array([1, 2, 3]), np.array([1, 2, 4])])
    >>> tuesday = race.empty_like().update([np.array([8, 9])] * 2)
    >>> sums, std = (monday | tuesday).query([np.array([1, 2, 3])], return_std=True)
    >>> bool(abs(sums[0] - 1.5) < 4 * std[0])  # Jaccard 1, 1/2, 0 and 0
    True
    """

    _parameters = ("family",)

    def __init__(self, family: HashFamily) -> None:
        if not isinstance(family, HashFamily):
            raise TypeError(f"family must be a HashFamily, got {type(family).__name__}")
        if family.n_buckets > _MAX_BUCKETS:
            raise ValueError(
                f"family must have at most {_MAX_BUCKETS} buckets, for each has a counter, got "
                f"{family.n_buckets}; pass n_buckets to the family"
            )
        self.family = family

    @classmethod
    def for_error(
        cls, family: HashFamily, relative_error: float, confidence: float = 0.95, density: float = 0.01
    ) -> Self:
        """A sketch whose densities err by under ``relative_error`` of themselves where they are high enough.

        Parameters
        ----------
        family : HashFamily
            Tells the kernel and the seed; a copy of it with as many hashes as needed is used.
        relative_error : float
            Above 0.
        confidence : float
            Probability 1 - delta with which the bound holds, for any one query.
        density : float
            In (0, 1): the bound holds for queries of at least this kernel density (kernel sum / N).

        Returns
        -------
        Race
            To be queried with ``groups=Race.n_groups(confidence)``.

        Notes
        -----
        By the theorem above the median of the means of g = ceil(8 log(1/delta)) groups errs by at most
        ``2 sqrt(g / R) * sum sqrt(k)``. By Cauchy-Schwarz sum sqrt(k) <= N sqrt(density), so the
        relative error is at most ``2 sqrt(g / (R density))``; hence
        ``R = 4 g / (relative_error**2 density)``. The theorem is pessimistic: errors of a tenth of the
        bound are usual, and `query` returns its own standard error.

        Examples
        --------
        >>> from mergesketch import Race
        >>> from mergesketch.lsh import MinHash
        >>> race = Race.for_error(MinHash(n_buckets=256), relative_error=0.5, density=0.1)
        >>> race.family.n_hashes, Race.n_groups(0.95)
        (3840, 24)
        """
        if not isinstance(family, HashFamily):
            raise TypeError(f"family must be a HashFamily, got {type(family).__name__}")
        relative_error = check_real("relative_error", relative_error, 0.0, math.inf)
        density = check_real("density", density, 0.0, 1.0)
        groups = cls.n_groups(confidence)
        n_hashes = groups * math.ceil(4.0 / (relative_error**2 * density))
        arguments = {name: getattr(family, name) for name in family._parameters}
        return cls(type(family)(**{**arguments, "n_hashes": n_hashes}))

    @staticmethod
    def n_groups(confidence: float) -> int:
        """Groups whose median of means has the theorem's error bound with probability `confidence`."""
        return math.ceil(-8.0 * math.log1p(-check_real("confidence", confidence, 0.0, 1.0)))

    def _layout(self) -> dict[str, StateSpec]:
        shape = (self.family.n_hashes, self.family.n_buckets)
        return {
            "counts": StateSpec(shape, "int32", "sum", widens_to="int64"),
            "total": StateSpec((1,), "int64", "sum"),
        }

    @property
    def total(self) -> int:
        """The sum of the weights of all rows taken in."""
        return int(self._arrays["total"][0])

    # -- updates ----------------------------------------------------------------------------------

    def _blocks(self, n: int) -> Iterator[tuple[int, int]]:
        block = max(256, min(8192, _BLOCK_CODES // self.family.n_hashes))
        return ((start, min(n, start + block)) for start in range(0, n, block))

    def _codes(self, function: Any, X: Any, start: int, stop: int) -> NDArray[np.uint32]:
        codes: NDArray[np.uint32] = function(_cut_rows(X, start, stop))
        # A pair of two dense rows may be taken for sets, or the other way round.
        if codes.shape != (stop - start, self.family.n_hashes):
            raise ValueError(
                f"expected rows for {type(self.family).__name__}, got {stop - start} that it takes for "
                f"{codes.shape[0]}; pass dense rows as an array"
            )
        return codes

    def update(self, X: Any, weights: Any = None) -> Self:
        """Take in a batch of rows.

        Parameters
        ----------
        X : n rows
            As ``family.hash`` takes them: dense of shape (n, features), sparse, or sets.
        weights : array of n integers, optional
            1 by default; negative ones take rows out again.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, or the weights are no integers or not n.
        OverflowError
            If a 64-bit counter could wrap. Nothing is changed when an exception is raised.
        """
        X, n = _count_rows(X, "X")
        checked, magnitude = check_weights("weights", weights, n)
        # Hashed block by block, so a row that the family refuses may come after rows that were added.
        # The first block is refused before anything is reserved; later ones are taken back.
        done = 0
        try:
            for start, stop in self._blocks(n):
                codes = self._codes(self.family.hash, X, start, stop)
                if start == 0:
                    for name, amount in (("counts", magnitude), ("total", magnitude), ("n_updates", n)):
                        self._reserve(name, amount)
                self._scatter(codes, checked[start:stop])
                done = stop
        except BaseException:
            for start, stop in self._blocks(done):
                ones = np.ones(stop - start, dtype=np.int64)
                codes = self._codes(self.family.hash, X, start, stop)
                self._scatter(codes, -(checked[start:stop] if checked.size else ones))
            raise
        if n == 0:
            self._codes(self.family.hash, X, 0, 0)
        self._arrays["total"] += int(checked.sum()) if checked.size else n
        self._arrays["n_updates"] += n
        return self

    def _scatter(self, codes: NDArray[np.uint32], weights: NDArray[np.int64]) -> None:
        counts, kernel = self._arrays["counts"], backend_of(codes).scatter_add
        # A thread owns whole repetitions, so that no two add into one counter; as many as there are for
        # it, since each range of repetitions reads its part of every row of codes.
        block = max(-(-codes.shape[1] // get_num_threads()), _CODES_BLOCK // max(1, codes.shape[0]))
        map_blocks(lambda a, b: kernel(counts, codes, weights, a, b), codes.shape[1], block)

    # -- queries ----------------------------------------------------------------------------------

    @overload
    def query(
        self, Q: Any, *, groups: int | None = None, return_std: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def query(
        self, Q: Any, *, groups: int | None = None, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def query(
        self, Q: Any, *, groups: int | None = None, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimated kernel sums.

        Parameters
        ----------
        Q : n rows
            As ``family.hash_query`` takes them.
        groups : int, optional
            Estimate by the median of the means of so many groups of repetitions; by the mean of all if
            not given. The mean is the more accurate one on average, the median has the stronger bound.
        return_std : bool
            Also return the estimated standard error of each estimate.

        Returns
        -------
        sums : ndarray of shape (n,), float64
            May be slightly negative where the true sum is near 0.
        std : ndarray of shape (n,), float64
            Only with `return_std`: the standard deviation over repetitions, which are independent,
            over sqrt(R); with `groups`, that of the group means over sqrt(groups), times sqrt(pi / 2),
            as for the median of normal variables. NaN where there is only one to judge from.
        """
        repetitions = self.family.n_hashes
        if groups is not None:
            groups = check_int("groups", groups, 1, repetitions)
        Q, n = _count_rows(Q, "Q")
        sums, std = np.empty(n), np.full(n, np.nan)
        if n == 0:
            self._codes(self.family.hash_query, Q, 0, 0)
        for start, stop in self._blocks(n):
            codes = self._codes(self.family.hash_query, Q, start, stop)
            means = self._gather(codes)
            factor = 1.0
            if groups is not None:
                edges = np.arange(groups) * repetitions // groups
                sizes = np.diff(np.append(edges, repetitions))
                means = np.add.reduceat(means, edges, axis=1) / sizes
                factor = math.sqrt(math.pi / 2.0)
            sums[start:stop] = means.mean(axis=1) if groups is None else np.median(means, axis=1)
            if return_std and means.shape[1] > 1:
                std[start:stop] = factor * means.std(axis=1, ddof=1) / math.sqrt(means.shape[1])
        chance = self.family.chance_collision
        sums = (sums - self.total * chance) / (1.0 - chance)
        return (sums, std / (1.0 - chance)) if return_std else sums

    @overload
    def density(
        self, Q: Any, *, groups: int | None = None, return_std: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def density(
        self, Q: Any, *, groups: int | None = None, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def density(
        self, Q: Any, *, groups: int | None = None, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimated kernel densities: kernel sums over the total weight; arguments as for `query`.

        Raises
        ------
        ValueError
            If the total weight is not above 0, as in a sketch without rows.
        """
        total = self.total
        if total <= 0:
            raise ValueError(f"density needs a sketch of total weight above 0, got {total}")
        if return_std:
            sums, std = self.query(Q, groups=groups, return_std=True)
            return sums / total, std / total
        return self.query(Q, groups=groups) / total

    def _gather(self, codes: NDArray[np.uint32]) -> NDArray[np.float64]:
        counts, kernel = self._arrays["counts"], backend_of(codes).gather_counts
        out = np.empty(codes.shape, dtype=np.float64)
        block = max(1, _CODES_BLOCK // codes.shape[1])
        map_blocks(lambda a, b: kernel(counts, codes, out, a, b), codes.shape[0], block)
        return out
