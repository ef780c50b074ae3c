"""RACE: kernel sums and kernel densities from counters alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily, refuse_given_functions
from ...lsh.inputs.rows import Rows
from ...lsh.inputs.weights import check_real_weights, check_weights
from ...lsh.support.backend import backend_of, sum_rows
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.configured import arguments_of
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.hashed_rows import check_family
from ..core.state import StateSpec
from .code_counters import add_rows, count_apart
from .kernel_sums import KernelQueries
from .privacy_budget import PrivacyBudget
from .private_race import PrivateRace
from .release import UNKNOWN_WEIGHT

__all__ = ["UNKNOWN_WEIGHT", "Race", "largest_weight", "weights_for"]


class _Batch(NamedTuple):
    """Rows and their weights."""

    rows: Rows
    #: Empty if each row counts once.
    weights: NDArray[Any]
    #: The sum of the magnitudes of integer weights.
    magnitude: int
    total: Any
    heaviest: int = 0
    #: What the rows add to the counters, if threads have counted them already.
    apart: NDArray[np.int64] | None = None


class Race(KernelQueries):
    """Estimate kernel sums and kernel densities (KDE) over all rows seen, without keeping the rows.

    Parameters
    ----------
    family : HashFamily
        Any family of `mergesketch.lsh`. Its `n_hashes` R is the number of repetitions, its `n_buckets` W the
        number of counters of each repetition, and its `kernel` k the function that is summed.
    dtype : {"int", "float"}
        Kind of the weights and counters: "int" for integer weights in counters of 32 bits, which are exact
        and widen to 64 bits; "float" for real weights in float64 counters, which are equal after merges up to
        rounding.
    n_outputs : int, optional
        Number of weights of a row. Each weight gives one more kernel sum, and a row is still hashed only
        once. `weights` then has shape (n, n_outputs), and so have the results of queries.

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
    probability that the family's rehashing sends two different codes to one counter. The estimate is the mean
    over r, which is unbiased if the family's `kernel` is exact, or the median of the means of groups of
    repetitions, which is lower if counters are skewed (see `query`).

    For weights of 1 the variance of c_r is at most (sum over x of sqrt(k(x, q)))**2, k with chance
    collisions counted in, so the mean's standard deviation is at most that sum over sqrt(R). With
    probability at least 1 - delta, the median of the means of 8 log(1/delta) groups errs by at most

        sqrt(32 log(1/delta) / R) * sum over x of sqrt(k(x, q))

    (Coleman and Shrivastava 2020, "Sub-linear RACE sketches for approximate kernel density estimation
    on streaming data", theorems 1 and 2).

    A row costs R hashes, and R additions for each output. A query costs R hashes and 2 R reads for any N.
    Memory is 4 R W bytes for each output, and twice that for real counters, or after a counter could pass
    2**31.

    Weights may be negative. So rows can be removed again, by their negative weights or by `subtract`.

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
    _filled = ("counts", "counters used")
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
        """Return a sketch whose densities, if they are high enough, have a relative error of at most a bound.

        Parameters
        ----------
        family : HashFamily
            The family of the kernel and the seed; its hash functions must be random. The sketch has a copy of
            it with the hashes that are needed.
        relative_error : float
            Above 0.
        confidence : float
            Probability 1 - delta with which the bound holds, for each query by itself.
        density : float
            In (0, 1). The bound holds for queries of at least this kernel density (kernel sum / N).
        **parameters
            The other parameters of the class.

        Returns
        -------
        Race
            The bound holds for queries with ``groups=Race.n_groups(confidence)``.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Notes
        -----
        By the theorem above the median of the means of g = ceil(8 log(1/delta)) groups errs by at most
        ``2 sqrt(g / R) * sum sqrt(k') / (1 - chance)``. Here k' = k + (1 - k) chance is the probability that
        two rows share a counter, with chance collisions. By Cauchy-Schwarz sum sqrt(k') <= N sqrt(density'),
        with density' = density + (1 - density) chance. Therefore, with D the family's `design_effect`::

            R = 4 g D density' / (relative_error (1 - chance) density)**2

        which is ``4 g / (relative_error**2 density)`` if chance collisions are rare. They are rare if there
        are many more than 1 / density buckets; a family with fewer needs many times more hashes. The theorem
        is pessimistic: errors of a tenth of the bound are usual, and `query` returns its own standard error.

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
        refuse_given_functions(family, "errors that hold with a probability")
        relative_error = check_real("relative_error", relative_error, 0.0, math.inf)
        density = check_real("density", density, 0.0, 1.0)
        groups = cls.n_groups(confidence)
        chance = family.chance_collision
        met = density + (1.0 - density) * chance
        error = relative_error * (1.0 - chance) * density
        allowed = error * error  # by a product, for powers of floats raise: 0 or infinity at the ends
        needed = 4.0 * family.design_effect * met / allowed if allowed else math.inf
        n_hashes = groups * needed
        try:
            n_hashes = groups * max(1, math.ceil(needed))
            larger = type(family)(**{**arguments_of(family), "n_hashes": n_hashes})
        except (ValueError, ArithmeticError):
            raise ValueError(
                f"relative_error must be reached by as many hashes as {type(family).__name__} can have, got "
                f"{relative_error:g}, which takes {n_hashes:.3g} at density {density:g}"
            ) from None
        asked = {"relative_error": relative_error, "confidence": confidence, "density": density}
        return cls(larger, **parameters)._asked_for(**asked)

    @staticmethod
    def n_groups(confidence: float) -> int:
        """Return the number of groups whose median of means has the theorem's bound with some probability.

        Parameters
        ----------
        confidence : float
            The probability, in (0, 1).

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
            # The noise of a release must hide a record as heavy as the heaviest row.
            "largest_weight": StateSpec((1,), "int64", "max"),
        }

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        return np.array([UNKNOWN_WEIGHT]) if name == "largest_weight" else None

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        if "largest_weight" in arrays and int(arrays["largest_weight"][0]) < 0:
            raise ValueError(f"largest_weight must be at least 0, got {arrays['largest_weight'][0]}")

    @property
    def total(self) -> Any:
        """The sum of the weights of all rows; one number, or one for each output."""
        total = self._arrays["total"]
        return total[0].item() if self.n_outputs is None else total.copy()

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike, weights: ArrayLike | None = None) -> Self:
        """Add a batch of rows.

        Parameters
        ----------
        X : n rows
            As ``family.hash`` takes them: dense of shape (n, features), sparse, or sets.
        weights : array of n numbers, optional
            1 by default. Negative weights remove rows again. They are integers unless ``dtype="float"``. With
            `n_outputs` they are required, and of shape (n, n_outputs).

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, or the weights are of another type or number, NaN or infinite.
        OverflowError
            If a 64-bit counter could wrap. Nothing changes if an exception is raised.
        """
        return self._take_in({"X": X, "weights": weights})

    def _read(self, X: Any, weights: Any) -> _Batch:
        rows = self.family.read_rows(X)
        n = rows.n
        if weights is None and self.n_outputs is not None:
            raise ValueError(f"weights must have shape ({n}, {self.n_outputs}), got None")
        checked, magnitude = weights_for(self.dtype, weights, n, self.n_outputs)
        total = sum_rows(checked) if checked.size else n
        if self.dtype == "float":
            return _Batch(rows, checked, magnitude, total)
        apart = count_apart(self.family, rows, checked, self._state.specs["counts"].shape)
        return _Batch(rows, checked, magnitude, total, largest_weight(checked, n), apart)

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        amounts = dict.fromkeys(self._state.counters, batch.magnitude)
        amounts["n_updates"] = batch.rows.n
        return amounts

    def _add(self, batch: _Batch) -> None:
        arrays = self._arrays
        if batch.apart is not None:
            arrays["counts"][...] += batch.apart.astype(arrays["counts"].dtype)
        else:
            add_rows(self.family, batch.rows, batch.weights, arrays["counts"])
        arrays["total"] += batch.total
        if "largest_weight" in arrays:
            np.maximum(arrays["largest_weight"], batch.heaviest, out=arrays["largest_weight"])

    # -- queries ----------------------------------------------------------------------------------

    def release(
        self,
        epsilon: float,
        *,
        record_weight: int = 1,
        check_weights: bool = True,
        budget: PrivacyBudget | None = None,
    ) -> PrivateRace:
        """Return a differentially private copy, which contains noisy counters and no exact ones.

        Parameters
        ----------
        epsilon : float
            The budget, above 0. It is rounded down to a multiple of 2**-24.
        record_weight : int, default 1
            The largest sum of magnitudes of weights, over all outputs, that one record has added; a record
            is, for example, a person with all its rows. It is a public bound that you guarantee: the sketch
            does not know which rows belong to a record. It knows the largest weight of a row, and refuses a
            release if that is larger.
        check_weights : bool, default True
            False to release the sketch for any weights of rows. This is needed if the rows of a record
            cancelled each other, or if weights are not known, as in files of versions that did not store
            them.
        budget : PrivacyBudget, optional
            The budget of all releases about the same people, from which this release takes `epsilon`.

        Returns
        -------
        PrivateRace
            It is epsilon-differentially private under adding or removing a record. A sketch without rows is
            released like any other, because a refusal would show that it is empty.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of its range, or the counters are real, or a row that was added, subtracted
            or merged has a larger weight over all outputs than `record_weight`.
        OverflowError
            If a counter and its noise may go beyond 63 bits.
        PrivacyBudgetError
            If less than `epsilon` remains of the budget. Nothing is released then.

        Notes
        -----
        Exceptions are for the owner of the data, and no guarantee covers them. If a weight is refused,
        everyone who sees the message, or sees that there is no release, learns that there is a row of this
        weight. So choose `record_weight` from public knowledge about weights, and clip rows to it before you
        add them. If you raise it to the number in the message, it depends on the data, and the noise shows
        the weight.
        """
        if self.device == "gpu":
            raise NotImplementedError('noise is drawn on the CPU: move the sketch with .to("cpu")')
        return PrivateRace.from_race(self, epsilon, record_weight, check_weights=check_weights, budget=budget)


def weights_for(dtype: str, weights: Any, n: int, n_outputs: int | None = None) -> tuple[NDArray[Any], int]:
    """Return weights for counters of `dtype`, empty for 1 each, and the sum of magnitudes of integers."""
    if dtype == "float":
        return check_real_weights("weights", weights, n, n_outputs), 0
    return check_weights("weights", weights, n, n_outputs=n_outputs)


def largest_weight(weights: NDArray[Any], n: int) -> int:
    """Return the largest magnitude of a row's weights, over all outputs; `weights` are empty for 1 each."""
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


publish("mergesketch", __all__, globals())
