"""Quantiles of numbers within a rank error: KLLSketch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, Literal, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_range
from ...lsh.inputs.finite_numbers import FiniteNumbers, read_finite_numbers
from ...lsh.support.aliases import alias
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.state import StateSpec
from ..kernels import kll
from .kll_theory import LEAST_CAPACITY, N_LEVELS, capacities, error_of, largest_error
from .quantile_sketch import QuantileSketch

__all__ = ["KLLSketch"]

#: Values that arrive on the lowest level before the levels are looked at again.
_BLOCK = 64
#: Values that are sorted block by block at a time: they stay in the cache.
_BUFFER = 1 << 14
_LEAST_K = 8
_NO_VALUES = np.empty(0)
_MAX_K = 1 << 20


class Batch(NamedTuple):
    """Finite values."""

    values: NDArray[np.float64]
    low: float
    high: float


class KLLSketch(QuantileSketch):
    """Estimate quantiles (percentiles, medians) of numbers within an error of their rank.

    Parameters
    ----------
    k : int
        The number of values in the highest level, from 8 to 2**20. The error of a rank is of the order of
        1 / k of the number of values; `for_error` chooses k by the error.
    seed : int
        In [0, 2**64). Only sketches of one seed merge.

    Attributes
    ----------
    min, max : float
        The least and the largest value, exactly; NaN as long as there is none.

    Notes
    -----
    A value on level h stands for 2**h values. When there is no room, the lowest full level is sorted, and
    every second of its values goes to the next level, from the first or the second on, as a random bit says
    (Karnin, Lang and Liberty 2016). The level of depth i below the highest has room for k (2/3)**i values,
    and at least 2. New values arrive on level 0 in blocks of 64.

    A halving of level h changes the rank of a given number by 2**h or by nothing, and by 0 on average. The
    next halving of the level keeps the other half, so that the errors of the two cancel or one of them is 0
    (Ivkin et al. 2022): together they err by at most 2**h, too. So with p(h) pairs of each level, the rank
    errs by more than t with probability at most ``2 exp(-t**2 / (2 sum of p(h) 4**h))`` (Azuma and
    Hoeffding), if the values do not depend on what the sketch answers. `rank_error` computes this from the
    halvings that were made. As long as there are fewer than k values, nothing was halved, and all answers
    are exact.

    The random bits are a hash of the seed, of the first values that are halved, of the level, and of the
    number of its pair. So the same values in the same order give the same sketch, in any batches. A merged
    sketch depends on the parts: it is not that of all values in one pass, but its errors have the same bound.
    A merge ends pairs that are half done.

    Merge each part once. Copies of a sketch have the same bits, and so have parts that begin with the same
    values, about k of them, in the same order. Their errors do not cancel: they may add up. When a sketch is
    merged with one that has the same bits, such as itself or an earlier copy, `rank_error` therefore takes
    the sum of both errors, which may be above that of `for_error`. It cannot see that two merged sketches
    have one of several parts in common: the error is then at most the sum of the errors of both.

    An update takes O(log k) for each value, on one thread. Memory is about 8 (3 k + 250) bytes.

    References
    ----------
    - Karnin, Lang, Liberty. Optimal quantile approximation in streams. FOCS 2016.
    - Ivkin, Liberty, Lang, Karnin, Braverman. Streaming quantiles algorithms with small space and update
      time. Sensors 22(24), 2022.

    Examples
    --------
    >>> import mergesketch
    >>> sketch = mergesketch.KLLSketch(k=200).update(range(100))
    >>> sketch.quantile([0.5, 1.0])
    array([49., 99.])
    >>> large = mergesketch.KLLSketch.for_error(0.01).update(range(1_000_000))
    >>> abs(large.quantile(0.5) - 500_000) < 0.01 * 1_000_000
    True
    """

    _parameters = ("k", "seed")

    def __init__(self, k: int = 200, *, seed: int = 0) -> None:
        self.k = check_int("k", k, _LEAST_K, _MAX_K)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    @classmethod
    def for_error(cls, rank_error: float, confidence: float = 0.99, *, seed: int = 0) -> Self:
        """Return the smallest sketch whose ranks err by at most `rank_error`, whatever the values are.

        Parameters
        ----------
        rank_error : float
            In (0, 1): a share of the number of values. At 0.01, a median lies between the 49 % and the 51 %
            quantile.
        confidence : float, default 0.99
            In (0, 1): the probability that the bound holds, for each number separately.
        seed : int, default 0

        Returns
        -------
        KLLSketch

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range, or no sketch is large enough.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.KLLSketch.for_error(0.01)
        <KLLSketch(k=795, seed=0) for rank_error=0.01, confidence=0.99: 0 updates, 21,144 bytes>
        """
        rank_error = check_real("rank_error", rank_error, 0.0, 1.0)
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        if largest_error(_MAX_K, confidence) > rank_error:
            raise ValueError(f"rank_error must be reached by k = {_MAX_K}, got {rank_error:g}")
        low, high = _LEAST_K, _MAX_K
        while low < high:
            middle = (low + high) // 2
            if largest_error(middle, confidence) <= rank_error:
                high = middle
            else:
                low = middle + 1
        return cls(low, seed=seed)._asked_for(rank_error=rank_error, confidence=confidence)

    def _layout(self) -> dict[str, StateSpec]:
        room = int(self._capacities.sum()) + _BLOCK
        return {
            "items": StateSpec((room,), "float64", "kll", remedy="choose a smaller k"),
            "sizes": StateSpec((N_LEVELS,), "int32", "kll"),
            "compactions": StateSpec((N_LEVELS,), "int64", "kll"),
            "salt": StateSpec((1,), "uint64", "kll"),
            "joint": StateSpec((1,), "float64", "kll"),
            "min": StateSpec((1,), "float64", "min", fill=math.inf),
            "max": StateSpec((1,), "float64", "max", fill=-math.inf),
        }

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        # Earlier versions did not count errors that two parts have in common.
        return np.zeros(1) if name == "joint" else super()._absent_array(name)

    @lazy
    def _capacities(self) -> NDArray[np.int64]:
        """Return the number of values at which a level is full, by its depth below the highest level."""
        return capacities(self.k)

    # -- updates ----------------------------------------------------------------------------------

    def update(self, values: RowsLike, *, nulls: Literal["raise", "skip"] = "raise") -> Self:
        """Add numbers.

        Parameters
        ----------
        values : array, list or column of n numbers, or one number
            Finite. Integers beyond 2**53 are rounded to float64.
        nulls : {"raise", "skip"}, default "raise"
            What to do with None, NaN, masked values and nulls of columns: to refuse the batch, or to leave
            out these values.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the values are no real numbers, infinite, null, or of several dimensions. Nothing changes then.
        """
        return self._take_in({"values": values}, nulls)

    def _read(self, values: Any, nulls: Any) -> Batch:
        numbers = read_finite_numbers("values", values, nulls)
        return Batch(numbers.values, numbers.low, numbers.high)

    def _amounts(self, batch: Batch) -> dict[str, int]:
        return {"n_updates": batch.values.size}

    def _add(self, batch: Batch) -> None:
        arrays, values = self._arrays, batch.values
        items, sizes = arrays["items"], arrays["sizes"]
        filled, done = int(sizes[0]), 0
        total = int(sizes.sum()) - filled
        buffer = np.empty(min(filled + values.size, max(_BUFFER, filled + _BLOCK)))
        how = self._kernel_parameters(items.size) if filled + values.size >= _BLOCK else ()
        # All memory is there. The values of the lowest level are added first, so that its blocks are whole.
        buffer[:filled] = items[total : total + filled]
        sizes[0] = 0
        while done < values.size:
            n = min(values.size - done, buffer.size - filled)
            buffer[filled : filled + n] = values[done : done + n]
            done, filled = done + n, filled + n
            whole = filled // _BLOCK * _BLOCK
            if whole:
                blocks = buffer[:whole]
                blocks.reshape(-1, _BLOCK).sort(axis=1)
                kll.add_blocks(blocks, *how, *_kernel_arrays(arrays))
                filled, total = filled - whole, int(sizes.sum())
                buffer[:filled] = buffer[whole : whole + filled]
        # Adding 0.0 makes -0.0 to 0.0, so that the bits do not depend on the order.
        np.add(buffer[:filled], 0.0, out=items[total : total + filled])
        sizes[0] += filled
        total += filled
        items[total - sizes[0] : total].sort()
        items[total:] = 0.0
        np.minimum(arrays["min"], batch.low + 0.0, out=arrays["min"])
        np.maximum(arrays["max"], batch.high + 0.0, out=arrays["max"])

    def _kernel_parameters(self, n_items: int) -> tuple[Any, ...]:
        return _BLOCK, self._capacities, np.uint64(self.seed), np.empty(n_items + 4, np.int64)

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        parts = [_levels(arrays["items"], arrays["sizes"]) for arrays in (ours, theirs)]
        levels = [np.sort(np.concatenate(pair)) for pair in zip_longest(*parts, fillvalue=_NO_VALUES)]
        joined = np.concatenate([_NO_VALUES, *levels[::-1]])
        ours["sizes"] += theirs["sizes"]
        compactions = [arrays["compactions"] for arrays in (ours, theirs)]
        salts = [int(arrays["salt"][0]) for arrays in (ours, theirs)]
        # If two parts have the same random bits, their standard errors add up, and not their variances.
        product = _squares(ours) * _squares(theirs) if salts[0] == salts[1] else 0.0
        ours["joint"] += theirs["joint"] + 2.0 * math.sqrt(product)
        if salts[0] and salts[1]:
            # The bits of a pair are those of its salt and number, so that a second halving is another pair's.
            compactions = [number + number % 2 for number in compactions]
        ours["compactions"][:] = compactions[0] + compactions[1]
        if salts[0] != salts[1]:
            ours["salt"] += theirs["salt"]
        arrays = {**ours, "items": joined}
        kll.compress_levels(*self._kernel_parameters(joined.size), *_kernel_arrays(arrays))
        n = int(ours["sizes"].sum())
        ours["items"][:n], ours["items"][n:] = joined[:n], 0.0

    # -- queries ----------------------------------------------------------------------------------

    def rank_error(self, confidence: float = 0.99) -> float:
        """Return the largest error of a rank, as a share of the number of values.

        Parameters
        ----------
        confidence : float, default 0.99
            In (0, 1): the probability that the bound holds, for each number separately.

        Returns
        -------
        float
            0 as long as all values are kept. NaN without values.

        Raises
        ------
        TypeError, ValueError
            If `confidence` lies outside its range.
        """
        n, squares = self.n_updates, _squares(self._arrays)
        return error_of(squares, confidence) / n if n else error_of(squares, confidence) + math.nan

    @overload
    def quantile(self, q: float) -> float: ...
    @overload
    def quantile(self, q: ArrayLike) -> Any: ...
    def quantile(self, q: ArrayLike) -> Any:
        """Return a value whose rank is near that of the q-quantile: 0.5 is the median.

        The answers to 0 and 1 are the least and the largest value, exactly.

        Parameters
        ----------
        q : float, or array of floats of any shape
            In [0, 1].

        Returns
        -------
        float, or ndarray of the shape of `q`, float64
            Values that were added; NaN as long as there are none.

        Raises
        ------
        TypeError, ValueError
            If `q` is no number, or outside of [0, 1].
        """
        return self._answer(q, self._at(_shares(q)))

    query = alias(quantile)

    def bounds(self, q: ArrayLike, confidence: float = 0.99) -> tuple[Any, Any]:
        """Return the ends of an interval that contains the q-quantile with probability `confidence`.

        Parameters
        ----------
        q : float, or array of floats of any shape
            In [0, 1].
        confidence : float, default 0.99
            In (0, 1).

        Returns
        -------
        low, high : float, or ndarray of the shape of `q`, float64
            NaN as long as the sketch has no values.

        Raises
        ------
        TypeError, ValueError
            If an argument is no number, or outside of its range.
        """
        shares, error = _shares(q), self.rank_error(confidence)
        if not self.n_updates:
            return self._answer(q, self._at(shares)), self._answer(q, self._at(shares))
        # The rank of a value is rounded down to a whole number.
        error += (1.0 / self.n_updates) if error else 0.0
        low, high = np.maximum(shares - error, 0.0), np.minimum(shares + error, 1.0)
        return self._answer(q, self._at(low)), self._answer(q, self._at(high))

    def _at(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the kept values of some ranks, which are shares of all."""
        items, below = self._weighted()
        if not below.size:
            return np.full(shares.shape, np.nan)
        n = int(below[-1])
        products = np.minimum(np.floor(shares * float(n - 1)), float(2**63 - 1024))
        ranks = np.minimum(products.astype(np.int64), n - 1)
        answers = items[np.searchsorted(below, ranks, side="right")]
        return np.where(ranks == 0, self.min, np.where(ranks == n - 1, self.max, answers))

    def _weighted(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the kept values in order, and the sums of what they and those before them stand for."""
        # An update moves values between levels, which a query must not see.
        with self._lock:
            levels = np.repeat(np.arange(N_LEVELS)[::-1], self._arrays["sizes"][::-1])
            items = self._arrays["items"][: levels.size].copy()
        order = np.argsort(items, kind="stable")
        return items[order], np.cumsum(np.int64(1) << levels[order])

    def _numbers(self, values: Any) -> FiniteNumbers:
        refuse_gpu("KLLSketch", values)
        return read_finite_numbers("values", values, None)

    def _ranks(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        items, below = self._weighted()
        if not below.size:
            return np.zeros(x.shape), math.nan
        n = float(below[-1])
        found = np.concatenate([[0], below])[np.searchsorted(items, x, side="right")].astype(np.float64)
        return np.where(x < self.min, 0.0, np.where(x >= self.max, n, found)), n

    def cdf_bounds(self, values: RowsLike, confidence: float = 0.99) -> tuple[Any, Any]:
        """Return the ends of an interval that contains each share with probability `confidence`.

        Parameters
        ----------
        values : array, list or column of n numbers, or one number
            Finite.
        confidence : float, default 0.99
            In (0, 1).

        Returns
        -------
        low, high : ndarray of shape (n,), float64
            Floats for one number. NaN as long as the sketch has no values.

        Raises
        ------
        TypeError, ValueError
            If the values are no finite real numbers in one dimension, or `confidence` is outside its range.
        """
        numbers, error = self._numbers(values), self.rank_error(confidence)
        x = numbers.values
        ranks, n = self._ranks(x)
        shares = ranks / n
        is_outside = (x < self.min) | (x >= self.max)
        low = np.where(is_outside, shares, np.maximum(shares - error, 0.0))
        high = np.where(is_outside, shares, np.minimum(shares + error, 1.0))
        return self._like(values, numbers, low), self._like(values, numbers, high)

    def _fullness(self) -> list[str]:
        return [f"{int(self._arrays['sizes'].sum()):,} values kept"]

    # -- storage ----------------------------------------------------------------------------------

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        sizes, n = arrays["sizes"].tolist(), int(arrays["n_updates"][0])
        low, high = float(arrays["min"][0]), float(arrays["max"][0])
        used = max((h for h, size in enumerate(sizes) if size), default=0)
        room = int(self._capacities[: used + 1].sum())
        fits = min(sizes) >= 0 and sum(sizes) - sizes[0] % _BLOCK < room
        if not fits or sum(size << h for h, size in enumerate(sizes)) != n:
            raise ValueError(f"sizes must be those of levels that stand for {n} values, got {sizes}")
        for h, number in enumerate(arrays["compactions"].tolist()):
            if number < 0 or (number + 1) // 2 * LEAST_CAPACITY << h > n:
                raise ValueError(f"compactions of level {h} must be possible for {n} values, got {number}")
        joint = float(arrays["joint"][0])
        if not 0.0 <= joint <= float(n) ** 2:
            raise ValueError(f"joint must be possible for {n} values, got {joint}")
        items = arrays["items"][: sum(sizes)]
        if arrays["items"][items.size :].any():
            raise ValueError("items must be 0 after those of the levels")
        if not n:
            if (low, high) != (math.inf, -math.inf):
                raise ValueError(f"min and max must be infinite without values, got {low} and {high}")
            return
        is_inside = bool(((items >= low) & (items <= high)).all())
        if not (is_inside and math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"items must lie between min and max, got {low} and {high}")
        if any((level[1:] < level[:-1]).any() for level in _levels(arrays["items"], arrays["sizes"])):
            raise ValueError("items must be sorted on each level")


def _kernel_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    return tuple(arrays[name] for name in ("items", "sizes", "compactions", "salt"))


def _squares(arrays: Mapping[str, NDArray[Any]]) -> float:
    """Return the sum of the squares of the errors of halvings, with twice the products of those alike."""
    pairs = (arrays["compactions"] + 1) // 2
    return float((pairs * 4.0 ** np.arange(N_LEVELS)).sum() + arrays["joint"][0])


def _levels(items: NDArray[np.float64], sizes: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    """Yield the values of each level, from the lowest to the highest one that has some."""
    end, h = int(sizes.sum()), 0
    while end:
        begin = end - int(sizes[h])
        yield items[begin:end]
        end, h = begin, h + 1


def _shares(q: Any) -> NDArray[np.float64]:
    """Return the shares of a query, which lie in main memory."""
    refuse_gpu("KLLSketch", q)
    return check_range("q", q, 1.0)


publish("mergesketch", __all__, globals())
