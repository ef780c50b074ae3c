"""RACE: kernel sums and kernel densities from counters alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from ..lsh.backend import sum_rows
from ..lsh.family import HashFamily
from ..lsh.validation import check_choice, check_int, check_real, check_real_weights, check_weights
from .base import MergeableSketch, StateSpec
from .code_counters import add_rows, kernel_densities, kernel_sums
from .hashed_rows import check_family, count_rows

if TYPE_CHECKING:
    from .private import PrivateRace

__all__ = ["Race"]


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
    mean over r, or the median of the means of groups of repetitions.

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
        return cls(type(family)(**{**arguments, "n_hashes": n_hashes}), **parameters)

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
        }

    @property
    def total(self) -> Any:
        """The sum of the weights of all rows taken in; one number, or one for each output."""
        total = self._arrays["total"]
        return total[0].item() if self.n_outputs is None else total.copy()

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: Any, weights: Any = None) -> Self:
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
        X, n = count_rows(X, "X")
        self._settle("X", X)
        self._settle("weights", weights)
        checked, magnitude = self._check_weights(weights, n)

        def reserve() -> None:
            for name in self._integer_sums():
                self._reserve(name, n if name == "n_updates" else magnitude)

        total = sum_rows(checked) if checked.size else n

        def finish() -> None:
            self._arrays["total"] += total
            self._arrays["n_updates"] += n

        add_rows(self.family, X, n, checked, reserve, lambda: self._arrays["counts"], finish)
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
        sums : ndarray of shape (n,) or (n, n_outputs), float64
            May be slightly negative where the true sum is near 0.
        std : ndarray of the same shape
            Only with `return_std`: the standard deviation over repetitions, which are independent,
            over sqrt(R); with `groups`, that of the group means over sqrt(groups), times sqrt(pi / 2),
            as for the median of normal variables. NaN where there is only one to judge from.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, or `groups` is out of range.
        """
        self._settle("Q", Q)
        return kernel_sums(self.family, self._arrays["counts"], self.total, Q, groups, return_std)

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
        return kernel_densities(sums, self.total)

    def release(self, epsilon: float, *, record_weight: int = 1) -> PrivateRace:
        """A differentially private copy: noisy counters, and nothing exact.

        Parameters
        ----------
        epsilon : float
            The budget, above 0; rounded down to a multiple of 2**-24.
        record_weight : int, default 1
            The most that one record (a person, say, with all its rows) has added in magnitude of weights.
            A public bound that you vouch for: the sketch cannot tell which rows were whose.

        Returns
        -------
        PrivateRace
            Epsilon-differentially private under adding or removing a record; see there. Sketches without
            rows are released like any other: to refuse them would tell that they are empty.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of its range, or the counters are real.
        OverflowError
            If a counter and its noise may go beyond 63 bits.
        """
        from .private import PrivateRace

        if self.device == "gpu":
            raise NotImplementedError('noise is drawn on the CPU: move the sketch with .to("cpu")')
        return PrivateRace.of(self, epsilon, record_weight)
