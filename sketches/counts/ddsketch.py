"""Quantiles of numbers within a relative error: DDSketch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import SaturationWarning
from ...lsh.inputs.arrays import check_range
from ...lsh.inputs.finite_numbers import FiniteNumbers, read_finite_numbers
from ...lsh.inputs.weights import check_weights
from ...lsh.support.aliases import alias
from ...lsh.support.backend import device_of, read_only
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.checks import check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.state import StateSpec
from ..kernels import ddsketch
from .log_bins import LogBins, bins_per_octave, log_bins
from .quantile_sketch import QuantileSketch

__all__ = ["DDSketch"]

#: Number of values that are worth a thread of their own.
_VALUES_BLOCK = 1 << 16
_LARGEST = float(np.finfo(np.float64).max)
#: The largest float that int64 holds.
_LARGEST_RANK = float(2**63 - 1024)


class Batch(NamedTuple):
    """Values that are counted at least once each."""

    #: The bits of the values, of float64.
    words: NDArray[np.int64]
    #: How often each value counts; empty if each counts once.
    weights: NDArray[np.int64]
    #: The sum of the weights.
    total: int
    low: float
    high: float
    #: The number of values, with those that count 0 times.
    n: int


class DDSketch(QuantileSketch):
    """Estimate quantiles (percentiles, medians) of numbers within a relative error.

    Parameters
    ----------
    relative_error : float
        In [1e-5, 1). Every quantile is within this share of the true one: at 0.01, a 99th percentile
        of 250 ms is answered by a number from 247.5 to 252.5 ms.
    smallest : float
        At least 2**-1022. Magnitudes below it are counted as one bin around zero, so quantiles there have an
        absolute error of at most `smallest` instead.
    largest : float
        Above `smallest`. Magnitudes far above it are counted as one bin, so quantiles there are known only to
        lie between it and the maximum. `quantile`, `rank` and `cdf` warn there.

    Attributes
    ----------
    total : int
        The sum of all counts: the number of values.
    min, max : float
        The least and the largest value, exactly; NaN as long as there is none.

    Notes
    -----
    The q-quantile of n values is the one of rank floor(q (n - 1)) in their order, from rank 0, as in
    ``numpy.quantile(values, q, method="lower")``. It is never interpolated between two values.

    The bins of magnitudes are 2**(k/m) to 2**((k + 1)/m), where m is the least integer for which every number
    of a bin is within `relative_error` of its middle 2 l u / (l + u) (Masson, Rim and Lee 2019, lemma 2, with
    a base that is a root of two). Bins of negative numbers mirror those of positive ones. A bin is found by
    comparing integers, so that all machines find the same one.

    An update takes O(1) for each value, and a query O(bins). Memory is 8 bytes for each bin of positive
    numbers, and twice that after a counter could pass 2**31: ``8 m log2(largest / smallest)`` with m = 0.35 /
    relative_error, which are 25 KB for the defaults.

    Sketches merge by adding counters, so a merged sketch is exactly that of all values. Extremes cannot be
    taken out again, so sketches do not subtract: for a moving window, keep a sketch for each part of it, and
    merge them.

    References
    ----------
    - Masson, Rim, Lee. DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees.
      PVLDB 12(12), 2019.

    Examples
    --------
    >>> import mergesketch
    >>> monday = mergesketch.DDSketch(relative_error=0.01).update([12.0, 15.0, 11.0, 250.0])
    >>> tuesday = mergesketch.DDSketch(relative_error=0.01).update([13.0, 14.0])
    >>> week = monday | tuesday
    >>> week.quantile([0.5, 0.9]).round(1)
    array([13. , 14.9])
    >>> week.max
    250.0
    """

    _parameters = ("relative_error", "smallest", "largest")
    _gpu = True
    _filled = ("counts", "bins used")

    def __init__(
        self, relative_error: float = 0.01, *, smallest: float = 1e-9, largest: float = 1e18
    ) -> None:
        self.relative_error = check_real("relative_error", relative_error, 1e-5, 1.0 - 2.0**-53, closed=True)
        self.smallest = check_real("smallest", smallest, 2.0**-1022, _LARGEST, closed=True)
        self.largest = check_real("largest", largest, 2.0**-1022, _LARGEST, closed=True)
        if not self.smallest < self.largest:
            raise ValueError(f"largest must be above smallest = {self.smallest!r}, got {largest!r}")

    def _layout(self) -> dict[str, StateSpec]:
        remedy = "choose a larger relative_error, or a narrower range from smallest to largest"
        n_bins = 2 * self._shape[0] * (self._shape[2] - self._shape[1] + 1) + 3
        return {
            "counts": StateSpec((n_bins,), "int32", "sum", widens_to="int64", remedy=remedy),
            "total": StateSpec((1,), "int64", "sum", on_device=False),
            "min": StateSpec((1,), "float64", "min", fill=math.inf, on_device=False),
            "max": StateSpec((1,), "float64", "max", fill=-math.inf, on_device=False),
        }

    @property
    def _shape(self) -> tuple[int, int, int]:
        """The bins of an octave, and the exponents of the first and the last octave."""
        lowest, highest = (math.frexp(end)[1] - 1 for end in (self.smallest, self.largest))
        return bins_per_octave(self.relative_error), lowest, highest

    @lazy
    def _bins(self) -> LogBins:
        return log_bins(*self._shape)

    @property
    def total(self) -> int:
        """The sum of all counts: the number of values."""
        return int(self._arrays["total"][0])

    @property
    def _n_values(self) -> int:
        return self.total

    # -- updates ----------------------------------------------------------------------------------

    def update(
        self, values: RowsLike, counts: ArrayLike | None = None, *, nulls: Literal["raise", "skip"] = "raise"
    ) -> Self:
        """Add numbers.

        Parameters
        ----------
        values : array, list or column of n numbers, or one number
            Finite. Integers beyond 2**53 are rounded to float64.
        counts : array of n integers, optional
            The number of occurrences of each value, 0 or more, an integer for one value; 1 by default.
        nulls : {"raise", "skip"}, default "raise"
            What to do with None, NaN, masked values and nulls of columns: to refuse the batch, or to leave
            out these values and their counts.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the values are no real numbers, infinite, null, or of several dimensions; or if the counts are
            negative or of another length.
        OverflowError
            If a 64-bit counter could wrap. Nothing changes if an exception is raised.
        """
        return self._take_in({"values": values, "counts": counts}, nulls)

    def _read(self, values: Any, counts: Any, nulls: Any) -> Batch:
        numbers = self._read_numbers(values, nulls)
        if numbers.is_single and counts is not None and np.ndim(counts) == 0:
            counts = self._as_our_array("counts", counts).reshape(1)
        weights, total = check_weights("counts", counts, numbers.n_given, minimum=0)
        found, low, high = numbers.values, numbers.low, numbers.high
        n = found.size
        if counts is None:
            total = n
        else:
            if numbers.kept is not None:
                weights, total = check_weights("counts", weights[numbers.kept], n)
            is_used = weights > 0
            if not bool(is_used.all()):
                found, weights = found[is_used], weights[is_used]
                low, high = (float(found.min()), float(found.max())) if found.size else (math.inf, -math.inf)
        return Batch(found.view(np.int64), weights, total, low, high, n)

    def _read_numbers(self, values: Any, nulls: Literal["raise", "skip"] | None) -> FiniteNumbers:
        """Read numbers, and bring a single one to the device of the sketch."""
        numbers = read_finite_numbers("values", values, nulls)
        if device_of(numbers.values) == self.device:
            return numbers
        kept = None if numbers.kept is None else self._backend.xp.asarray(numbers.kept)
        return numbers._replace(values=self._backend.xp.asarray(numbers.values), kept=kept)

    def _amounts(self, batch: Batch) -> dict[str, int]:
        return {"counts": batch.total, "total": batch.total, "n_updates": batch.n}

    def _add(self, batch: Batch) -> None:
        counts, (words, weights, *_) = self._arrays["counts"], batch
        add, parameters = self._backend.kernels(ddsketch).add_to_bins, self._kernel_parameters
        words, weights = read_only(words), read_only(weights)

        def count(start: int, stop: int) -> NDArray[Any] | None:
            # Threads count into tables of their own. All of them are there before one is added.
            alone = stop - start == words.size
            table = counts if alone else np.zeros(counts.shape, counts.dtype)
            add(words, weights, *parameters, start, stop, table)
            return None if alone else table

        block = max(_VALUES_BLOCK, 8 * counts.size)
        for table in self._backend.map_blocks(count, words.size, block):
            if table is not None:
                counts += table
        # Queries do not wait for updates. They read the total first, so it changes last.
        # Adding 0.0 makes -0.0 to 0.0, so that the bits of a minimum do not depend on the order.
        np.minimum(self._arrays["min"], batch.low + 0.0, out=self._arrays["min"])
        np.maximum(self._arrays["max"], batch.high + 0.0, out=self._arrays["max"])
        self._arrays["total"] += batch.total

    @property
    def _kernel_parameters(self) -> tuple[Any, ...]:
        bins = self._bins
        # Exponents of floats are stored with 1023 added.
        return bins.firsts, bins.cell_edges, bins.shift, bins.per_octave, bins.lowest + 1023

    # -- queries ----------------------------------------------------------------------------------

    @overload
    def quantile(self, q: float) -> float: ...
    @overload
    def quantile(self, q: ArrayLike) -> Any: ...
    def quantile(self, q: ArrayLike) -> Any:
        """Return the q-quantile within `relative_error`: 0.5 is the median, 0.99 the 99th percentile.

        The answers to 0 and 1 are the least and the largest value, exactly.

        Parameters
        ----------
        q : float, or array of floats of any shape
            In [0, 1].

        Returns
        -------
        float, or ndarray of the shape of `q`, float64
            NaN as long as the sketch has no values.

        Raises
        ------
        TypeError, ValueError
            If `q` is no number, or outside of [0, 1].

        Warns
        -----
        SaturationWarning
            If an answer is beyond `largest`, and so known only as `bounds` says.
        """
        ranks, places = self._find(q)
        if places is None:
            return self._answer(q, ranks)
        xp, (low, high) = self._backend.xp, (self.min, self.max)
        bins = self._bins
        answers = self._backend.constant(bins.middles)[places]
        for place, end in ((0, bins.edges[1]), (bins.n_bins - 1, bins.edges[-2])):
            beyond = places == place
            if bool(beyond.any()):
                extreme = low if place == 0 else high
                answers = xp.where(beyond, 2.0 * end / (1.0 + end / extreme), answers)
                if bool((beyond & (ranks > 0) & (ranks < self.total - 1)).any()):
                    self._warn_beyond("a quantile", f": it lies between {end:g} and {extreme:g}")
        answers = xp.minimum(xp.maximum(answers, low), high)
        answers = xp.where(ranks == 0, low, xp.where(ranks == self.total - 1, high, answers))
        return self._answer(q, answers)

    query = alias(quantile)

    def bounds(self, q: ArrayLike) -> tuple[Any, Any]:
        """Return the ends of an interval that certainly contains the q-quantile.

        Parameters
        ----------
        q : float, or array of floats of any shape
            In [0, 1].

        Returns
        -------
        low, high : float, or ndarray of the shape of `q`, float64
            NaN as long as the sketch has no values.

        Raises
        ------
        TypeError, ValueError
            If `q` is no number, or outside of [0, 1].

        Examples
        --------
        >>> import mergesketch
        >>> sketch = mergesketch.DDSketch(relative_error=0.01).update([3.0, 4.0, 100.0])
        >>> low, high = sketch.bounds(0.5)
        >>> low <= 4.0 <= high, round(low, 2), round(high, 2)
        (True, 4.0, 4.08)
        """
        ranks, places = self._find(q)
        if places is None:
            return self._answer(q, ranks), self._answer(q, ranks)
        xp, edges = self._backend.xp, self._backend.constant(self._bins.edges)
        low, high = xp.maximum(edges[places], self.min), xp.minimum(edges[places + 1], self.max)
        # The first and the last value are known.
        low = xp.where(ranks == self.total - 1, self.max, low)
        high = xp.where(ranks == 0, self.min, high)
        return self._answer(q, low), self._answer(q, high)

    def _find(self, q: Any) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Return ranks and the places of their bins; NaN and None if the sketch has no values."""
        q = np.float64(q) if isinstance(q, float) else q
        shares, xp = check_range("q", self._as_our_array("q", q), 1.0), self._backend.xp
        n = self.total
        if n == 0:
            return xp.full(shares.shape, np.nan), None
        # Products are rounded if there are more than 2**53 values, perhaps to one beyond the last rank.
        products = xp.minimum(xp.floor(shares * float(n - 1)), _LARGEST_RANK)
        ranks = xp.minimum(products.astype(np.int64), n - 1)
        below = xp.cumsum(self._arrays["counts"], dtype=np.int64)
        return ranks, xp.searchsorted(below, ranks.reshape(-1), side="right").reshape(ranks.shape)

    def _ranks(self, x: NDArray[Any]) -> tuple[NDArray[Any], float]:
        """Return ranks of numbers, spreading the values of a bin evenly over it, and the number of values."""
        places, counts, before = self._locate(x)
        n, xp, bins, inside = self.total, self._backend.xp, self._bins, counts[places]
        if n == 0:
            return xp.zeros(x.shape), math.nan
        edges, last = self._backend.constant(bins.edges), bins.n_bins - 1
        low, high = xp.maximum(edges[places], self.min), xp.minimum(edges[places + 1], self.max)
        share = (x - low) / xp.where(high > low, high - low, 1.0)
        # A bin between two empty ones has one number, such as an integer, or few that are told apart by none.
        below, above = counts[xp.maximum(places - 1, 0)], counts[xp.minimum(places + 1, last)]
        is_alone = (below == 0) & (above == 0) & (places > 0) & (places < last)
        # The bin around zero has mostly zeros.
        share = xp.where(places == last // 2, x >= 0.0, xp.where(is_alone, 1.0, share))
        # An update that runs at the same time may have counted more values than the total.
        found = xp.minimum(before + xp.minimum(xp.maximum(share, 0.0), 1.0) * inside, float(n))
        is_beyond = ((places == 0) | (places == last)) & (x > self.min) & (x < self.max)
        if bool(is_beyond.any()):
            self._warn_beyond("a number")
        return xp.where(x < self.min, 0.0, xp.where(x >= self.max, float(n), found)), float(n)

    def _warn_beyond(self, what: str, where: str = "") -> None:
        warnings.warn(
            f"{what} is beyond the largest magnitude {self.largest:g} of this DDSketch{where}; choose a "
            "higher `largest`",
            SaturationWarning,
            stacklevel=stacklevel_of_caller(),
        )

    def cdf_bounds(self, values: RowsLike) -> tuple[Any, Any]:
        """Return the ends of an interval that certainly contains the share of values at most each value.

        Parameters
        ----------
        values : array, list or column of n numbers, or one number
            Finite.

        Returns
        -------
        low, high : ndarray of shape (n,), float64
            Floats for one number. NaN as long as the sketch has no values.

        Raises
        ------
        TypeError, ValueError
            If the values are no finite real numbers in one dimension.
        """
        numbers = self._numbers(values)
        places, counts, before = self._locate(numbers.values)
        xp, x, n = self._backend.xp, numbers.values, float(self.total or math.nan)
        ends = []
        for found in (before, before + counts[places]):
            found = xp.where(x < self.min, 0.0, xp.where(x >= self.max, n, xp.minimum(found, n)))
            ends.append(self._like(values, numbers, found / n))
        return ends[0], ends[1]

    def _numbers(self, values: Any) -> FiniteNumbers:
        self._claim_device("values", values)
        return self._read_numbers(values, None)

    def _locate(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return the places of the bins of numbers, the counts of bins, and their sums before the places."""
        xp, words = self._backend.xp, x.view(np.int64)
        places = xp.empty(x.size, np.int64)
        find, parameters = self._backend.kernels(ddsketch).find_bins, self._kernel_parameters
        last = self._bins.n_bins // 2
        self._backend.map_blocks(
            lambda a, b: find(words, *parameters, last, a, b, places), words.size, _VALUES_BLOCK
        )
        counts = self._arrays["counts"].astype(np.int64)
        return places, counts, (xp.cumsum(counts) - counts)[places]

    # -- storage ----------------------------------------------------------------------------------

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        counts, total = arrays["counts"].astype(np.int64), int(arrays["total"][0])
        low, high = float(arrays["min"][0]), float(arrays["max"][0])
        if int(counts.min()) < 0:
            raise ValueError(f"counts must be at least 0, got {counts.min()}")
        # A sum of 64-bit words may wrap, those of their halves do not.
        found = (int((counts >> 32).sum()) << 32) + int((counts & 0xFFFFFFFF).sum())
        if total != found:
            raise ValueError(f"total must be the sum of all counts, {found}, got {total}")
        if not total:
            if (low, high) != (math.inf, -math.inf):
                raise ValueError(f"min and max must be infinite without values, got {low} and {high}")
            return
        words, places = np.array([low, high]).view(np.int64), np.empty(2, np.int64)
        ddsketch.find_bins(words, *self._kernel_parameters, self._bins.n_bins // 2, 0, 2, places)
        used = np.flatnonzero(counts)
        if not (math.isfinite(low) and math.isfinite(high) and low <= high) or (
            (int(used[0]), int(used[-1])) != tuple(places.tolist())
        ):
            raise ValueError(f"min and max must lie in the first and the last used bin, got {low}, {high}")


publish("mergesketch", __all__, globals())
