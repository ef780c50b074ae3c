"""RACE: kernel sums and kernel densities from counters alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.weights import check_real_weights, check_weights
from ...lsh.support.backend import backend_of, sum_rows
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch, StateSpec
from ..core.hashed_rows import check_family
from .code_counters import add_rows, kernel_densities, kernel_sums
from .private_race import UNKNOWN_WEIGHT, PrivateRace

__all__ = ["UNKNOWN_WEIGHT", "Race", "largest_weight"]


class Race(MergeableSketch):
    """Sums of a hash family's kernel over all rows taken in, without keeping the rows.

    Parameters
    ----------
    family : HashFamily
        Any family of `mergesketch.lsh`; its `n_hashes` R is the number of repetitions, its `n_buckets`
        W the number of counters of each, its `kernel` k the function that is summed.
    dtype : {"int", "float"}
        Of weights and counters: "int" for integer weights in counters of 32 bits that widen to 64 and are
        exact, "float" for real weights in float64 counters, which merges agree on up to rounding.
    n_outputs : int, optional
        Kernel sums under so many weightings at once, for one hashing of each row: `weights` is then of
        shape (n, n_outputs), and so are the results of queries.

    Attributes
    ----------
    total : int, float or ndarray of shape (n_outputs,)
        The sum of the weights of all rows, N below.

    Notes
    -----
    Update: ``counts[r, h_r(x)] += weight`` for each repetition r. Query: with c_r the counter of the
    query's code in repetition r,

        (c_r - N chance) / (1 - chance)

    is an unbiased estimate of the kernel sum over x of ``weight(x) k(x, q)``, where `chance` is the
    probability that the family's rehashing sends two unlike codes to one counter. The estimate is the
    mean over r, which is as unbiased as the family's `kernel` is exact, or the median of the means of groups
    of repetitions, which is lower where counters are skewed (`query` says by how much).

    For weights of 1 the variance of c_r is at most (sum over x of sqrt(k(x, q)))**2, k with chance
    collisions counted in, so the mean's standard deviation is at most that sum over sqrt(R). With
    probability at least 1 - delta, the median of the means of 8 log(1/delta) groups errs by at most

        sqrt(32 log(1/delta) / R) * sum over x of sqrt(k(x, q))

    (Coleman and Shrivastava 2020, "Sub-linear RACE sketches for approximate kernel density estimation
    on streaming data", theorems 1 and 2).

    A row costs its R hashes and R additions for each output; a query R hashes and 2 R reads, whatever N.
    Memory is 4 R W bytes an output, or twice that for real counters and once a counter could pass 2**31.

    Weights may be negative: what was taken in can be taken out again, by its weight or by `subtract`.

    References
    ----------
    - Coleman, Shrivastava. Sub-linear RACE sketches for approximate kernel density estimation on
      streaming data. WWW 2020.

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

    _gpu = True
    _parameters = ("family", "dtype", "n_outputs")
    _not_compared = frozenset(["largest_weight"])

    def __init__(self, family: HashFamily, *, dtype: str = "int", n_outputs: int | None = None) -> None:
        self.family = check_family(family)
        self.dtype: str = check_choice("dtype", dtype, ("int", "float"))
        self.n_outputs = None if n_outputs is None else check_int("n_outputs", n_outputs, 1, 1 << 20)

    @classmethod
    def for_error(
        cls,
        family: HashFamily,
        relative_error: float,
        confidence: float = 0.95,
        density: float = 0.01,
        **parameters: Any,
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
        **parameters
            As the class takes them, all but `family`.

        Returns
        -------
        Race
            To be queried with ``groups=Race.n_groups(confidence)``.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Notes
        -----
        By the theorem above the median of the means of g = ceil(8 log(1/delta)) groups errs by at most
        ``2 sqrt(g / R) * sum sqrt(k') / (1 - chance)``, with k' = k + (1 - k) chance the probability that
        two rows share a counter, by `chance` or not. By Cauchy-Schwarz sum sqrt(k') <= N sqrt(density'),
        with density' = density + (1 - density) chance; hence, with D the family's `design_effect`::

            R = 4 g D density' / (relative_error (1 - chance) density)**2

        which is ``4 g / (relative_error**2 density)`` where chance collisions are rare. A family with few
        buckets, more than 1 / density of which it takes to make them so, needs many times as many hashes.
        The theorem is pessimistic: errors of a tenth of the bound are usual, and `query` returns its own
        standard error.

        Examples
        --------
        >>> from mergesketch import Race
        >>> from mergesketch.lsh import MinHash
        >>> race = Race.for_error(MinHash(n_buckets=256), relative_error=0.5, density=0.1)
        >>> race.family.n_hashes, Race.n_groups(0.95)
        (4008, 24)
        """
        if not isinstance(family, HashFamily):
            raise TypeError(f"family must be a HashFamily, got {type(family).__name__}")
        relative_error = check_real("relative_error", relative_error, 0.0, math.inf)
        density = check_real("density", density, 0.0, 1.0)
        groups = cls.n_groups(confidence)
        chance = family.chance_collision
        met = density + (1.0 - density) * chance
        error = relative_error * (1.0 - chance) * density
        allowed = error * error  # by a product, for powers of floats raise: 0 or infinity at the ends
        needed = 4.0 * family.design_effect * met / allowed if allowed else math.inf
        n_hashes = groups * needed
        arguments = {name: getattr(family, name) for name in family._parameters}
        try:
            n_hashes = groups * max(1, math.ceil(needed))
            larger = type(family)(**{**arguments, "n_hashes": n_hashes})
        except (ValueError, ArithmeticError):
            raise ValueError(
                f"relative_error must be reached by as many hashes as {type(family).__name__} can have, got "
                f"{relative_error:g}, which takes {n_hashes:.3g} at density {density:g}"
            ) from None
        return cls(larger, **parameters)

    @staticmethod
    def n_groups(confidence: float) -> int:
        """Groups whose median of means has the theorem's error bound with probability `confidence`.

        Parameters
        ----------
        confidence : float
            In (0, 1).

        Returns
        -------
        int

        Raises
        ------
        TypeError, ValueError
            If `confidence` lies outside its range.
        """
        return math.ceil(-8.0 * math.log1p(-check_real("confidence", confidence, 0.0, 1.0)))

    def _layout(self) -> dict[str, StateSpec]:
        outputs = () if self.n_outputs is None else (self.n_outputs,)
        shape, totals = (self.family.n_hashes, self.family.n_buckets, *outputs), outputs or (1,)
        if self.dtype == "float":
            return {
                "counts": StateSpec(shape, "float64", "sum"),
                "total": StateSpec(totals, "float64", "sum"),
            }
        return {
            "counts": StateSpec(shape, "int32", "sum", widens_to="int64"),
            "total": StateSpec(totals, "int64", "sum"),
            # A release must pay for it: noise hides a record as heavy as the heaviest row.
            "largest_weight": StateSpec((1,), "int64", "max"),
        }

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        return np.array([UNKNOWN_WEIGHT]) if name == "largest_weight" else None

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if "largest_weight" in arrays and int(arrays["largest_weight"][0]) < 0:
            raise ValueError(f"largest_weight must be at least 0, got {arrays['largest_weight'][0]}")

    @property
    def total(self) -> Any:
        """The sum of the weights of all rows taken in; one number, or one for each output."""
        total = self._arrays["total"]
        return total[0].item() if self.n_outputs is None else total.copy()

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike, weights: ArrayLike | None = None) -> Self:
        """Take in a batch of rows.

        Parameters
        ----------
        X : n rows
            As ``family.hash`` takes them: dense of shape (n, features), sparse, or sets.
        weights : array of n numbers, optional
            1 by default; negative ones take rows out again. Integers unless ``dtype="float"``; of shape
            (n, n_outputs), and required, where there are several outputs.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, or the weights are of another type or number, NaN or infinite.
        OverflowError
            If a 64-bit counter could wrap. Nothing is changed when an exception is raised.
        """
        rows = self.family.read_rows(X, "X")
        n = rows.n
        self._settle("X", X)
        self._settle("weights", weights)
        checked, magnitude = self._check_weights(weights, n)

        def reserve() -> None:
            for name in self._integer_sums():
                self._reserve(name, n if name == "n_updates" else magnitude)

        total = sum_rows(checked) if checked.size else n
        heaviest = largest_weight(checked, n) if self.dtype == "int" else None

        def finish() -> None:
            self._arrays["total"] += total
            self._arrays["n_updates"] += n
            if heaviest is not None:
                kept = self._arrays["largest_weight"]
                np.maximum(kept, heaviest, out=kept)

        add_rows(self.family, rows, checked, reserve, lambda: self._arrays["counts"], finish)
        return self

    def _check_weights(self, weights: Any, n: int) -> tuple[NDArray[Any], int]:
        """Weights for the kernels, empty for 1 each, and the sum of the magnitudes of integer ones."""
        if weights is None and self.n_outputs is not None:
            raise ValueError(f"weights must have shape ({n}, {self.n_outputs}), got None")
        if self.dtype == "float":
            return check_real_weights("weights", weights, n, self.n_outputs), 0
        return check_weights("weights", weights, n, n_outputs=self.n_outputs)

    # -- queries ----------------------------------------------------------------------------------

    @overload
    def query(
        self, Q: RowsLike, *, groups: int | None = None, return_std: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def query(
        self, Q: RowsLike, *, groups: int | None = None, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def query(
        self, Q: RowsLike, *, groups: int | None = None, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimated kernel sums.

        Parameters
        ----------
        Q : n rows
            As ``family.hash_query`` takes them.
        groups : int, optional
            Estimate by the median of the means of so many groups of repetitions; by the mean of all if
            not given. The mean is unbiased and the more accurate one on average; the median has the stronger
            bound, and is too low where counters are skewed: see Notes.
        return_std : bool
            Also return the estimated standard error of each estimate.

        Returns
        -------
        sums : ndarray of shape (n,) or (n, n_outputs), float64
            May be slightly negative where the true sum is near 0.
        std : ndarray of the same shape
            Only with `return_std`; 1.96 of them on either side hold the kernel sum with about 95 %
            confidence, or with more: see Notes. NaN where there is only one repetition, or group, to judge
            from.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, or `groups` is out of range.

        Notes
        -----
        With s the standard deviation over the R repetitions, the squared standard error is::

            D s**2 / R + (1.53 D reach / R)**2

        D is the family's `design_effect`, 1 for hashes that are independent given the rows. The second
        term stands for what no repetition showed, and is all there is where they do not differ: an event
        of probability 3 / R goes unseen in R repetitions with probability 1/20 (the rule of three; Hanley
        and Lippman-Hand 1983, "If nothing goes wrong, is everything all right?"), and 3 is 1.96 times 1.53.
        It would have moved a counter by `reach` at most: the distance from the estimate to the least or the
        largest counter of a repetition, on average over repetitions. One pass over the counters finds them.

        With `groups`, s**2 / R is taken pi / 2 times, as for the median of many normal numbers (of few it is
        less), and the squared difference of the estimate and the mean is added: counters are skewed where few
        buckets hold many rows, and their median is too low by about that. Of a query whose
        counter is 100 in one repetition of 20 and 5 in all others, with R = 200, the median of 8 groups is
        5 % lower on average than the kernel sum, of 24 groups 42 %.
        """
        self._settle("Q", Q)
        counts, total = self._arrays["counts"], self.total
        sums: NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]
        sums = kernel_sums(self.family, counts, total, Q, groups, return_std)
        return sums

    @overload
    def density(
        self, Q: RowsLike, *, groups: int | None = None, return_std: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def density(
        self, Q: RowsLike, *, groups: int | None = None, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def density(
        self, Q: RowsLike, *, groups: int | None = None, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimated kernel densities: kernel sums over the total weight; arguments as for `query`.

        Parameters
        ----------
        Q : n rows
            As ``family.hash_query`` takes them.
        groups : int, optional
            Take the median of the means of so many groups of repetitions.
        return_std : bool
            Also return the standard errors.

        Returns
        -------
        ndarray of shape (n,) or (n, n_outputs), float64, or two of them

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, `groups` is out of range, or the total weight is not above 0, as
            in a sketch without rows.
        """
        self._settle("Q", Q)
        sums = kernel_sums(self.family, self._arrays["counts"], self.total, Q, groups, return_std)
        densities: NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]
        densities = kernel_densities(sums, self.total)
        return densities

    def release(self, epsilon: float, *, record_weight: int = 1, check_weights: bool = True) -> PrivateRace:
        """A differentially private copy: noisy counters, and nothing exact.

        Parameters
        ----------
        epsilon : float
            The budget, above 0; rounded down to a multiple of 2**-24.
        record_weight : int, default 1
            The most that one record (a person, say, with all its rows) has added in magnitude of weights,
            over all outputs together. A public bound that you vouch for: the sketch cannot tell which rows
            were whose. Weights of a single row it knows, and refuses to release a heavier one than that.
        check_weights : bool, default True
            False releases whatever the weights of rows were: where the rows of a record took each other
            out again, say, or where they are not known, as in files from before they were kept.

        Returns
        -------
        PrivateRace
            Epsilon-differentially private under adding or removing a record; see there. Sketches without
            rows are released like any other: to refuse them would tell that they are empty.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of its range, or the counters are real, or a row taken in (or subtracted,
            or merged in) weighs more than `record_weight`, over all outputs together.
        OverflowError
            If a counter and its noise may go beyond 63 bits.

        Notes
        -----
        Exceptions are for the owner of the data, and part of no guarantee. The refusal of a weight tells
        that there is a row as heavy as that, and which weight it has: whoever sees it, or sees that a
        release did not come about, learns this of the data. So `record_weight` is to be chosen from what is
        publicly known of weights, and rows are to be clipped to it before they are taken in; to raise it to
        what the message asks for is to let the data choose, and the noise then tells the weight.
        """
        if self.device == "gpu":
            raise NotImplementedError('noise is drawn on the CPU: move the sketch with .to("cpu")')
        return PrivateRace.of(self, epsilon, record_weight, check_weights=check_weights)


def largest_weight(weights: NDArray[Any], n: int) -> int:
    """The largest weight of n rows, in magnitude and over all outputs; `weights` are empty for 1 each."""
    if not weights.size:
        return int(n > 0)
    xp = backend_of(weights).xp
    magnitudes = xp.abs(weights)
    largest = int(magnitudes.max())
    if weights.ndim == 1:
        return largest
    if largest * weights.shape[1] > UNKNOWN_WEIGHT:
        return UNKNOWN_WEIGHT
    return int(magnitudes.sum(axis=1).max())
