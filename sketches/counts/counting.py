"""Counting keys in little memory: Count-Min and Count-Sketch.

Both keep a table of counters, ``n_rows`` x ``n_buckets``. A key has one bucket in every row; other keys in
the same bucket add noise. The noise of Count-Min is never negative, so the estimate is the least of a key's
counters. Count-Sketch gives every key a random sign, so that noise cancels, and the estimate is the median.
"""

from __future__ import annotations

import math
from typing import Any, Self, overload

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ...lsh.hashing.keys import Nulls
from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_flag, check_real
from ...lsh.support.public import publish
from ...lsh.support.types import KeyLike, KeysLike
from ..core.guard import locked
from ..kernels import counting
from .key_table import (
    MAX_BUCKETS,
    CountMinTable,
    CountSketchTable,
    KeyCounts,
    buckets_for,
    count_min_size,
)

__all__ = ["CountMinSketch", "CountSketch"]


class CountMinSketch(CountMinTable):
    """Estimate counts of keys (frequencies) that are never too low, and rarely much too high.

    Parameters
    ----------
    n_rows : int
        Number of rows of the table. More rows make a bad estimate less likely.
    n_buckets : int
        Number of counters in a row, at most 2**28. More counters make the error smaller.
    conservative : bool
        True for conservative update (Estan and Varghese 2002): a key's counters are raised only as far as its
        new estimate. Estimates stay upper bounds and are closer to the truth, but the table then depends on
        the order of the keys. So a merge of two parts differs from the table of one pass over both: it is
        never lower than the truth, and never higher than the table without conservative update. Updates run
        on one thread, and `subtract` is refused.
    seed : int
        In [0, 2**64). Only sketches of one seed merge.

    Attributes
    ----------
    total : int
        The sum of all counts taken in, N below.

    Notes
    -----
    An estimate is at least the true count, and exceeds it by e N / n_buckets or more with probability
    at most exp(-n_rows) (Cormode and Muthukrishnan 2005, theorem 1). `for_error` chooses sizes by this bound.

    Time is O(n_rows) for each key of an update or query. Memory is 4 n_rows n_buckets bytes, and twice that
    after a counter could pass 2**31.

    Keys are of any type that `mergesketch.lsh.hash_keys` takes: integers, strings, dates, tuples and others,
    in lists, arrays and columns. A sketch remembers the kind of its keys and refuses another: 17 and "17" are
    two keys. Two keys with the same 64-bit hash count as one.

    References
    ----------
    - Cormode, Muthukrishnan. An improved data stream summary: the count-min sketch and its applications.
      Journal of Algorithms 55(1), 2005.
    - Estan, Varghese. New directions in traffic measurement and accounting. SIGCOMM 2002.

    Examples
    --------
    >>> import mergesketch
    >>> monday = mergesketch.CountMinSketch(n_rows=4, n_buckets=1000).update(["tea", "cake", "tea"])
    >>> tuesday = monday.empty_like().update(["tea"], counts=[10])
    >>> (monday | tuesday).query(["tea", "cake", "milk"])
    array([12,  1,  0])
    >>> sum([monday, tuesday]).query("tea")
    12
    """

    _parameters = ("n_rows", "n_buckets", "conservative", "seed")

    def __init__(self, n_rows: int, n_buckets: int, *, conservative: bool = False, seed: int = 0) -> None:
        super().__init__(n_rows, n_buckets, seed)
        self.conservative = check_flag("conservative", conservative)

    @classmethod
    def for_error(
        cls, relative_error: float, confidence: float = 0.99, *, conservative: bool = False, seed: int = 0
    ) -> Self:
        """Return the sketch whose estimates exceed the truth by less than ``relative_error * total``.

        Parameters
        ----------
        relative_error : float
            In (0, 1): a share of the total of all counts, and not of the count of the key.
        confidence : float, default 0.99
            In (0, 1): the probability that the bound holds, for each key separately.
        conservative : bool, default False
        seed : int, default 0
            As for the class.

        Returns
        -------
        CountMinSketch

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.CountMinSketch.for_error(0.001, confidence=0.99)
        <CountMinSketch(n_rows=5, n_buckets=2719, conservative=False, seed=0) for relative_error=0.001,
        confidence=0.99: 0 updates, 54,405 bytes>
        """
        relative_error = check_real("relative_error", relative_error, 0.0, 1.0)
        n_rows, n_buckets = count_min_size(relative_error, confidence)
        new = cls(n_rows, n_buckets, conservative=conservative, seed=seed)
        return new._asked_for(relative_error=relative_error, confidence=confidence)

    def update(self, keys: KeysLike, counts: ArrayLike | None = None, *, nulls: Nulls = "raise") -> Self:
        """Count a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            May repeat.
        counts : array of n integers, optional
            The number of occurrences of each key, 0 or more, an integer for one key; 1 by default.
        nulls : {"raise", "skip"}, default "raise"
            What to do with keys that are null: to refuse the batch, or to leave out these keys and their
            counts.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or of mixed type, or of another kind than those of earlier batches, or
            null; or if the counts are negative or of another length.
        OverflowError
            If a 64-bit counter could wrap. Nothing changes if an exception is raised.
        """
        return super().update(keys, counts, nulls=nulls)

    def _add_to_table(self, hashes: NDArray[np.uint64], weights: NDArray[np.int64]) -> None:
        if not self.conservative:
            super()._add_to_table(hashes, weights)
            return
        kernel = self._backend.kernels(counting).count_min_add_conservative
        kernel(hashes, read_only(weights), self._words, self._arrays["counts"])

    def inner_product(self, other: Self) -> float:
        """Estimate the sum over keys of ``count here * count there``; the result is never below the truth.

        It exceeds the truth by e / n_buckets times the product of both totals or more with probability
        at most exp(-n_rows) (Cormode and Muthukrishnan 2005, theorem 3). Both sketches must have the
        same configuration.

        Parameters
        ----------
        other : CountMinSketch
            A sketch of the same configuration. It is not changed.

        Returns
        -------
        float

        Raises
        ------
        IncompatibleSketchError
            Naming the first field in which the configurations differ.
        """
        return float(self._row_products(other).min())

    def subtract(self, other: Self) -> Self:
        """Subtract a part that was merged before; see `MergeableSketch.subtract`.

        Parameters
        ----------
        other : CountMinSketch
            A sketch of the same configuration. It is not changed.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError
            With conservative update, because its counters are not sums over keys.
        ValueError
            If `other` has counted keys that this sketch has not counted. Nothing changes then.
        """
        if self.conservative:
            raise TypeError("CountMinSketch cannot subtract with conservative=True: counters are not sums")
        self._check_compatible(other)
        # Another thread must not subtract between the check and the change.
        with locked(self, other), self._without_trace():
            theirs = self._on_our_device(other)._arrays
            if bool((self._arrays["counts"] < theirs["counts"]).any()):
                raise ValueError(
                    "other must be a part of this sketch, got counters that are larger than its own"
                )
            return super().subtract(other)


class CountSketch(KeyCounts, CountSketchTable):
    """Estimate counts of keys (frequencies) without bias; errors cancel on average.

    Parameters
    ----------
    n_rows : int
        Number of rows of the table. More rows make a bad estimate less likely. Odd numbers are best.
    n_buckets : int
        Number of counters in a row, at most 2**28. More counters make the error smaller.
    seed : int
        In [0, 2**64). Only sketches of one seed merge.

    Attributes
    ----------
    total : int
        The sum of all counts taken in.

    Notes
    -----
    Counts may be negative, so keys can be removed again. The table is linear: it is the sum of its keys'
    contributions, in any order.

    A row's estimate is unbiased with variance at most F2 / n_buckets, where F2 is the sum of all squared
    counts. The median of the rows errs by c sqrt(F2 / n_buckets) or more only if half of the rows do, each
    with probability at most 1/c**2 (Charikar, Chen and Farach-Colton 2002, lemmas 1 to 4). `for_error` and
    the bounds use the exact binomial tail of that event.

    If counts are skewed, sqrt(F2) is far below the total. Then this sketch is better than Count-Min, except
    for the rarest keys. Time is O(n_rows) for each key. Memory is 4 n_rows n_buckets bytes, and twice that
    after a counter could pass 2**31.

    References
    ----------
    - Charikar, Chen, Farach-Colton. Finding frequent items in data streams. ICALP 2002.

    Examples
    --------
    >>> import mergesketch
    >>> sketch = mergesketch.CountSketch(n_rows=5, n_buckets=1000).update([7, 7, 8])
    >>> sketch.update([8], counts=[-1]).query([7, 8])
    array([2., 0.])
    """

    _parameters = ("n_rows", "n_buckets", "seed")

    def __init__(self, n_rows: int, n_buckets: int, *, seed: int = 0) -> None:
        super().__init__(n_rows, n_buckets, seed)

    @classmethod
    def for_error(cls, relative_error: float, confidence: float = 0.99, *, seed: int = 0) -> Self:
        """Return the smallest sketch whose estimates err by less than ``relative_error * sqrt(F2)``.

        Parameters
        ----------
        relative_error : float
            In (0, 1): a share of the Euclidean norm of all counts.
        confidence : float, default 0.99
            In (0, 1): the probability that the bound holds, for each key separately.
        seed : int, default 0
            As for the class.

        Returns
        -------
        CountSketch

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.CountSketch.for_error(0.01, confidence=0.99)
        <CountSketch(n_rows=5, n_buckets=94662, seed=0) for relative_error=0.01, confidence=0.99:
        0 updates, 1,893,265 bytes>
        """
        relative_error = check_real("relative_error", relative_error, 0.0, 1.0)
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        factors = ((n_rows, _norm_factor(n_rows, confidence) / relative_error) for n_rows in range(1, 128, 2))
        sizes = [(n_rows, factor * factor) for n_rows, factor in factors]
        fitting = [size for size in sizes if size[1] <= MAX_BUCKETS] or sizes
        n_rows, wanted = min(fitting, key=lambda size: size[0] * np.ceil(size[1]))
        n_buckets = buckets_for(relative_error, wanted)
        new = cls(n_rows, n_buckets, seed=seed)
        return new._asked_for(relative_error=relative_error, confidence=confidence)

    @overload
    def query(self, keys: KeyLike) -> float: ...  # type: ignore[overload-overlap]
    @overload
    def query(self, keys: KeysLike) -> NDArray[np.float64]: ...
    def query(self, keys: KeysLike) -> Any:
        """Return the estimated count of each key, unbiased for odd `n_rows` up to the skew of medians.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Of any type that `mergesketch.lsh.hash_keys` takes.

        Returns
        -------
        ndarray of shape (n,), float64
            A float if `keys` is one key.

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or mixed type, of another kind than those that were counted, or null.
        """
        return self._answer(keys, self._estimate)

    def norm(self) -> float:
        """Estimate sqrt(F2), the Euclidean norm of all counts (Alon, Matias and Szegedy 1996).

        Returns
        -------
        float
        """
        return math.sqrt(self.inner_product(self))

    def inner_product(self, other: Self) -> float:
        """Estimate the sum over keys of ``count here * count there``.

        The result is the median over rows of unbiased estimates, whose standard deviation is at most ``sqrt(2
        / n_buckets)`` times the product of both norms. Both sketches must have the same configuration.

        Parameters
        ----------
        other : CountSketch
            A sketch of the same configuration. It is not changed.

        Returns
        -------
        float

        Raises
        ------
        IncompatibleSketchError
            Naming the first field in which the configurations differ.
        """
        return float(np.median(self._row_products(other)))

    @overload
    def lower_bound(self, keys: KeyLike, confidence: float = ...) -> float: ...  # type: ignore[overload-overlap]
    @overload
    def lower_bound(self, keys: KeysLike, confidence: float = ...) -> NDArray[np.float64]: ...
    def lower_bound(self, keys: KeysLike, confidence: float = 0.99) -> Any:
        """Return the lower end of the interval that contains a key's count with probability `confidence`.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Of any type that `mergesketch.lsh.hash_keys` takes.
        confidence : float, default 0.99
            In (0, 1).

        Returns
        -------
        ndarray of shape (n,), float64
            A float if `keys` is one key.

        Raises
        ------
        TypeError, ValueError
            As `query` does, or if `confidence` lies outside its range.
        """
        return self.query(keys) - self._error(confidence)

    @overload
    def upper_bound(self, keys: KeyLike, confidence: float = ...) -> float: ...  # type: ignore[overload-overlap]
    @overload
    def upper_bound(self, keys: KeysLike, confidence: float = ...) -> NDArray[np.float64]: ...
    def upper_bound(self, keys: KeysLike, confidence: float = 0.99) -> Any:
        """Return the upper end of the interval that contains a key's count with probability `confidence`.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Of any type that `mergesketch.lsh.hash_keys` takes.
        confidence : float, default 0.99
            In (0, 1).

        Returns
        -------
        ndarray of shape (n,), float64
            A float if `keys` is one key.

        Raises
        ------
        TypeError, ValueError
            As `query` does, or if `confidence` lies outside its range.
        """
        return self.query(keys) + self._error(confidence)

    def _error(self, confidence: float) -> float:
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        return self._error_share(confidence) * self.norm()

    def _error_share(self, confidence: float) -> float:
        return _norm_factor(self.n_rows, confidence) / math.sqrt(self.n_buckets)


def _norm_factor(n_rows: int, confidence: float) -> float:
    """Return the factor c of the error bound: half of the rows err by c or more with 1 - confidence at most.

    The rows err independently, each with probability 1/c**2.
    """
    half = (n_rows + 1) // 2
    # P(Binomial(n, p) >= m) is the regularised incomplete beta function I_p(m, n - m + 1).
    return float(1.0 / math.sqrt(scipy.special.betaincinv(half, n_rows - half + 1, 1.0 - confidence)))


publish("mergesketch", __all__, globals())
