"""Kernel sums read from counters that codes of a hash family point to, and the queries that give them."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.family import HashFamily, refuse_given_functions
from ...lsh.inputs.answers import like
from ...lsh.support.backend import backend_of
from ...lsh.support.checks import check_int
from ...lsh.support.threads import cut_range, map_blocks
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..core.hashed_rows import hash_block, row_blocks
from ..kernels import code_counters
from .code_counters import CODES_BLOCK, GROUP_CODES

__all__ = [
    "KernelQueries",
    "counter_range",
    "fill_means",
    "kernel_sums",
    "mean_counts",
    "standard_errors",
    "without_chance",
]

#: In R repetitions an event of probability 3 / R goes unseen with probability 1/20 (the rule of three). This
#: is 3 in standard errors, of which 1.96 make a 95 % interval.
_UNSEEN = -math.log(0.05) / 1.96


class KernelQueries(MergeableSketch):
    """The queries of a sketch whose counters estimate kernel sums."""

    family: HashFamily

    @property
    @abstractmethod
    def total(self) -> Any:
        """The sum of the weights of all rows; one number, or one for each output."""

    def _kernel_counters(self) -> NDArray[Any]:
        """Return the counters, shape (R, W) or (R, W, outputs)."""
        return self._arrays["counts"]

    def _query_rows(self, Q: Any) -> Any:
        """Return queries in the form that the family hashes, checked to lie where the counters do."""
        self._claim_device("Q", Q)
        return Q

    @overload
    def query(
        self, Q: RowsLike, *, groups: int | None = None, return_std: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def query(
        self, Q: RowsLike, *, groups: int | None = None, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def query(self, Q: RowsLike, *, groups: int | None = None, return_std: bool = False) -> Any:
        """Return estimated kernel sums.

        Parameters
        ----------
        Q : n rows
            As ``family.hash_query`` takes them.
        groups : int, optional
            The number of groups of repetitions. If it is given, the estimate is the median of the groups'
            means; if not, it is the mean of all repetitions. The mean is unbiased and more accurate on
            average. The median has the stronger bound, and is too low if counters are skewed: see Notes.
        return_std : bool
            Also return the estimated standard error of each estimate.

        Returns
        -------
        sums : ndarray of shape (n,) or (n, n_outputs), float64
            May be slightly negative where the true sum is near 0.
        std : ndarray of the same shape
            Only with `return_std`. The interval of 1.96 standard errors on either side contains the kernel
            sum with a confidence of about 95 %, or more: see Notes. NaN if there is only one repetition, or
            one group. For a `PrivateRace` the standard error covers the noise as well.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, or `groups` is out of range; with `return_std`, if the hash
            functions are given and not random, as those of `LearnedProjection`.

        Notes
        -----
        With s the standard deviation over the R repetitions, the squared standard error is::

            D s**2 / R + (1.53 D reach / R)**2

        D is the family's `design_effect`, 1 for hashes that are independent given the rows. The second term
        stands for events that no repetition showed; it is the only term if repetitions do not differ. An
        event of probability 3 / R goes unseen in R repetitions with probability 1/20 (the rule of three;
        Hanley and Lippman-Hand 1983, "If nothing goes wrong, is everything all right?"), and 3 is 1.96 times
        1.53. The event would have moved a counter by `reach` at most: the distance from the estimate to the
        least or the largest counter of a repetition, on average over repetitions. One pass over the counters
        finds them.

        With `groups`, s**2 / R is multiplied by pi / 2, the factor for the median of many normal numbers (it
        is less for few), and the squared difference of the estimate and the mean is added. Counters are
        skewed if few buckets hold many rows, and then the median is too low by about that difference. For
        example, if a query's counter is 100 in one repetition of 20 and 5 in all others, with R = 200, then
        the median of 8 groups is 5 % lower on average than the kernel sum, and the median of 24 groups is 42
        % lower.
        """
        return like(Q, self._sums(Q, groups, return_std))

    def _sums(self, Q: Any, groups: int | None, return_std: bool) -> Any:
        """Return what `query` returns, as arrays."""
        rows = self._query_rows(Q)
        return kernel_sums(self.family, self._kernel_counters(), self.total, rows, groups, return_std)

    @overload
    def density(
        self, Q: RowsLike, *, groups: int | None = None, return_std: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def density(
        self, Q: RowsLike, *, groups: int | None = None, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def density(self, Q: RowsLike, *, groups: int | None = None, return_std: bool = False) -> Any:
        """Return estimated kernel densities: kernel sums over the total weight.

        Parameters
        ----------
        Q : n rows
            As ``family.hash_query`` takes them.
        groups : int, optional
            As for `query`.
        return_std : bool
            Also return the standard errors.

        Returns
        -------
        ndarray of shape (n,) or (n, n_outputs), float64, or two of them

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, `groups` is out of range, or the total weight is not above 0, as
            in a sketch without rows; with `return_std`, if the hash functions are given and not random.
        """
        total = self.total
        sums = self._sums(Q, groups, return_std)
        if np.any(total <= 0):
            raise ValueError(f"density needs a sketch of total weight above 0, got {total}")
        return like(Q, tuple(part / total for part in sums) if isinstance(sums, tuple) else sums / total)


def kernel_sums(
    family: HashFamily, counts: NDArray[Any], total: Any, Q: Any, groups: int | None, return_std: bool
) -> Any:
    """Return the kernel sums of queries from counters of shape (R, W) or (R, W, outputs), as `Race.query`."""
    repetitions = family.n_hashes
    if groups is not None:
        groups = check_int("groups", groups, 1, repetitions)
    if return_std:
        refuse_given_functions(family, "standard errors")
    rows = family.read_rows(Q, "Q")
    n, device = rows.n, rows.backend.device
    single = counts.ndim == 2
    counts = counts.reshape(*counts.shape[:2], -1)
    xp = backend_of(counts).xp
    sums, std = xp.empty((n, counts.shape[2])), xp.empty((n, counts.shape[2]))
    block = max(1, GROUP_CODES // repetitions)

    def ask(start: int, stop: int) -> None:
        for left, right in cut_range(start, stop, block):
            codes = hash_block(family, family.hash_query, rows, left, right)
            fill_means(counts, codes, groups, sums[left:right], std[left:right])

    if device == "cpu" and n * repetitions >= 2 * CODES_BLOCK:
        # A thread hashes and looks up its own rows, so that codes stay in the caches of one core. One row
        # comes first: it draws the family's random parameters, which every thread would draw otherwise.
        ask(0, 1)
        map_blocks(lambda start, stop: ask(start + 1, stop + 1), n - 1, max(1, CODES_BLOCK // repetitions))
    else:
        for start, stop in row_blocks(n, repetitions, device):
            codes = hash_block(family, family.hash_query, rows, start, stop)
            fill_means(counts, codes, groups, sums[start:stop], std[start:stop])
    if return_std:
        least, most = counter_range(counts)
        std = standard_errors(family, std, xp.maximum(most - sums, sums - least))
        std /= 1.0 - family.chance_collision
    sums = without_chance(family, sums, total)
    if single:
        sums, std = sums[:, 0], std[:, 0]
    return (sums, std) if return_std else sums


def without_chance(family: HashFamily, means: NDArray[np.float64], total: Any) -> NDArray[np.float64]:
    """Return kernel sums: mean counters of rows of that total weight, without the chance collisions."""
    chance = family.chance_collision
    return (means - total * chance) / (1.0 - chance)


def counter_range(counts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the largest counter of a repetition, on average over R, of shape (outputs,)."""
    least, most = counts.min(axis=1), counts.max(axis=1)
    return least.mean(axis=0, dtype=np.float64), most.mean(axis=0, dtype=np.float64)


def standard_errors(family: HashFamily, spread: NDArray[np.float64], reach: NDArray[Any]) -> Any:
    """Return the standard errors of means over repetitions.

    Parameters
    ----------
    spread : ndarray
        Standard errors by the standard deviation over repetitions.
    reach : ndarray
        The most that a counter can differ from the mean.

    Notes
    -----
    The spread misses events that no repetition showed: buckets that a query would have shared with other rows
    in one more repetition. Their probability is at most 3 / R, and they would move the mean by that share of
    `reach`. If repetitions depend on each other, the family's design effect stands for the loss.
    """
    effect = family.design_effect
    xp = backend_of(spread).xp
    return xp.hypot(math.sqrt(effect) * spread, _UNSEEN * effect / family.n_hashes * reach)


def fill_means(
    counts: NDArray[Any],
    codes: NDArray[np.uint32],
    groups: int | None,
    sums: NDArray[np.float64],
    std: NDArray[np.float64],
) -> None:
    """Write the mean, or median of means, of the counters of each row of codes, and its standard error."""
    backend, repetitions = backend_of(codes), codes.shape[1]
    block = max(1, CODES_BLOCK // repetitions)
    backend.map_blocks(
        lambda a, b: backend.kernels(code_counters).gather_mean(counts, codes, a, b, sums, std),
        len(codes),
        block,
    )
    std /= math.sqrt(repetitions)
    if groups is None:
        return
    edges = np.append(np.arange(groups) * repetitions // groups, repetitions)
    means = backend.xp.empty((len(codes), groups, counts.shape[2]))
    backend.map_blocks(
        lambda a, b: backend.kernels(code_counters).gather_groups(counts, codes, edges, a, b, means),
        len(codes),
        block,
    )
    medians = backend.xp.median(means, axis=1)
    if groups == 1:
        std[...] = np.nan
    else:
        # The spread is that of all repetitions, for that of few groups is inexact. The median of skewed
        # numbers is biased by its difference from their mean.
        std[...] = backend.xp.hypot(math.sqrt(math.pi / 2.0) * std, sums - medians)
    sums[...] = medians


def mean_counts(counts: NDArray[Any], codes: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return the mean over repetitions of the counters that each row of codes points to."""
    xp = backend_of(codes).xp
    sums, std = xp.empty((len(codes), 1)), xp.empty((len(codes), 1))
    fill_means(counts[..., None], codes, None, sums, std)
    return sums[:, 0]
