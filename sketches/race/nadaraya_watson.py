"""Nadaraya-Watson regression from counters: kernel-weighted means of the targets of rows near a query."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self, overload

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily, refuse_given_functions
from ...lsh.inputs.answers import like
from ...lsh.inputs.arrays import check_array, check_numbers
from ...lsh.inputs.rows import Rows
from ...lsh.inputs.weights import check_real_weights
from ...lsh.support.aliases import alias
from ...lsh.support.backend import sum_rows
from ...lsh.support.checks import check_choice, check_flag, check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..core.hashed_rows import check_family, hash_block, row_blocks
from ..core.state import Arrays, StateSpec
from ..kernels import code_counters
from .code_counters import CODES_BLOCK, add_rows
from .decay import NEVER, merge_decaying, scale_by_age
from .kernel_sums import counter_range, standard_errors

__all__ = ["NadarayaWatsonSketch"]

#: Number of counters that are read together.
_COUNTERS_BLOCK = 1 << 20


class _Batch(NamedTuple):
    """Rows, and the columns that they add to their counters: a weight and weighted targets."""

    rows: Rows
    columns: NDArray[np.float64]
    totals: NDArray[np.float64]
    n_missing: int
    #: The arrays of a decaying sketch of these rows alone.
    decaying: Arrays | None = None

    @property
    def is_missing(self) -> bool:
        """True if all of the rows are left out."""
        return 0 < self.rows.n == self.n_missing


class NadarayaWatsonSketch(MergeableSketch):
    """Predict numbers by kernel regression in one pass: the kernel-weighted mean of the targets seen so far.

    Parameters
    ----------
    family : HashFamily
        Any family. Its `kernel` k weighs the targets, and its `n_hashes` R is the number of repetitions.
    n_outputs : int, optional
        Targets are of shape (n, n_outputs), and of shape (n,) if not given.
    half_life : float, optional
        The time after which a row counts half as much as a new one. `update` takes times in the same unit. By
        default all rows count equally.
    nan_policy : {"raise", "omit"}
        Treatment of rows that have a NaN among their targets: "raise" refuses the batch, "omit" leaves these
        rows out and counts them in `n_omitted`.

    Attributes
    ----------
    n_omitted : int
        Number of rows left out so far.

    Notes
    -----
    The sketch consists of two RACEs on the same hashes, one of them weighted by the targets:

        estimate(q) = sum over x of y(x) k(x, q) / sum over x of k(x, q)

    Each sum is estimated as by `Race`, without chance collisions (Nadaraya 1964; Watson 1964; Coleman and
    Shrivastava 2020 for the sums). The counters of a bucket are next to each other in memory, so one random
    read is enough for numerator, denominator and all outputs.

    The standard error of a prediction is, to first order, that of ``numerator - prediction * denominator``
    over the denominator. It is estimated as by `Race.query`, from the spread over repetitions, and includes
    rare events that no repetition showed: a bucket with the largest count of all buckets, and with the
    smallest or the largest mean of targets of all buckets. If the denominator is not above 0 with the
    requested confidence, no row like the query has been seen, and the prediction is `fill`.

    With `half_life`, weights are ``2**(time / half_life)``, relative to the newest period of one half-life.
    When a later period begins, all counters are multiplied by a power of two, which has no rounding error
    (forward decay: Cormode, Shkapenyuk, Srivastava and Xu 2009). So parts of a stream still merge, and the
    order of their rows does not matter.

    A row costs R hashes and ``R (1 + n_outputs)`` additions. A query costs R hashes and twice that number of
    reads. Memory is ``8 R W (1 + n_outputs)`` bytes.

    References
    ----------
    - Nadaraya. On estimating regression. Theory of Probability and Its Applications 9(1), 1964.
    - Watson. Smooth regression analysis. Sankhya A 26, 1964.
    - Coleman, Shrivastava. Sub-linear RACE sketches for approximate kernel density estimation on
      streaming data. WWW 2020.
    - Cormode, Shkapenyuk, Srivastava, Xu. Forward decay: a practical time decay model for streaming
      systems. ICDE 2009.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> from mergesketch.lsh import PStable
    >>> X = np.linspace(0.0, 6.0, 2000)[:, None]
    >>> family = PStable(n_features=1, n_hashes=300, power=4, n_buckets=1024, seed=1)
    >>> left = mergesketch.NadarayaWatsonSketch(family).update(X[:1000], np.sin(X[:1000, 0]))
    >>> right = mergesketch.NadarayaWatsonSketch(family).update(X[1000:], np.sin(X[1000:, 0]))
    >>> (left | right).predict([[1.5], [3.0], [4.5]]).round(1) + 0.0
    array([ 0.9,  0.1, -0.9])
    >>> (left | right).predict([[100.0]])
    array([nan])
    """

    _gpu = True
    _filled = ("sums", "counters used")
    _parameters = ("family", "n_outputs", "half_life", "nan_policy")

    def __init__(
        self,
        family: HashFamily,
        *,
        n_outputs: int | None = None,
        half_life: float | None = None,
        nan_policy: str = "raise",
    ) -> None:
        self.family = check_family(family)
        self.n_outputs = None if n_outputs is None else check_int("n_outputs", n_outputs, 1, 1 << 20)
        self.half_life = None if half_life is None else check_real("half_life", half_life, 0.0, math.inf)
        self.nan_policy: str = check_choice("nan_policy", nan_policy, ("raise", "omit"))

    def _layout(self) -> dict[str, StateSpec]:
        outputs = 1 + (self.n_outputs or 1)
        shape = (self.family.n_hashes, self.family.n_buckets, outputs)
        reduction = "sum" if self.half_life is None else "decaying sum"
        layout = {
            "sums": StateSpec(shape, "float64", reduction),
            "totals": StateSpec((outputs,), "float64", reduction),
            "n_omitted": StateSpec((1,), "int64", "sum"),
        }
        if self.half_life is not None:
            layout["period"] = StateSpec((1,), "int64", reduction, fill=NEVER)
        return layout

    @property
    def n_omitted(self) -> int:
        """Number of rows left out for a NaN among their targets."""
        return int(self._arrays["n_omitted"][0])

    # -- updates ----------------------------------------------------------------------------------

    def update(
        self, X: RowsLike, y: ArrayLike, weights: ArrayLike | None = None, time: ArrayLike | None = None
    ) -> Self:
        """Add a batch of rows and their targets.

        Parameters
        ----------
        X : n rows
            As ``family.hash`` takes them.
        y : array of shape (n,) or (n, n_outputs)
            Real numbers.
        weights : array of n numbers, optional
            1 by default. Negative weights remove rows again.
        time : float or array of n floats
            The times of the rows. They are required with `half_life`, and refused without it.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, targets, weights or times have another shape or type, are
            infinite, or NaN unless such rows are omitted. Nothing changes then.
        """
        return self._take_in({"X": X, "y": y, "weights": weights, "time": time})

    def _read(self, X: Any, y: Any, weights: Any, time: Any) -> _Batch:
        rows = self.family.read_rows(X)
        n = rows.n
        xp = self._backend.xp
        targets, missing = self._check_targets(y, n)
        weights = xp.ones(n) if weights is None else check_real_weights("weights", weights, n)
        with np.errstate(over="ignore"):  # 2**512 times 2**512 becomes infinity.
            columns = xp.concatenate([weights[:, None], weights[:, None] * targets], axis=1)
        wild = columns[~(xp.abs(columns) <= 2.0**512)]
        if wild.size:
            raise ValueError(f"y times weights must be at most 2**512 in magnitude, got {wild[0]}")
        columns[missing] = 0.0
        period = scale_by_age(columns, self._check_time(time, n))
        batch = _Batch(rows, columns, sum_rows(columns), int(missing.sum()))
        if batch.is_missing:
            # Rows are hashed although there is nothing to add, so that invalid rows are refused.
            for start, stop in row_blocks(n, self.family.n_hashes, self.device):
                hash_block(self.family, self.family.hash, rows, start, stop)
        elif period is not None:
            sums = xp.zeros_like(self._arrays["sums"])
            add_rows(self.family, rows, columns, sums)
            decaying = {"sums": sums, "totals": batch.totals, "period": xp.full(1, period)}
            return batch._replace(decaying=decaying)
        return batch

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return dict.fromkeys(self._state.counters, batch.rows.n)

    def _add(self, batch: _Batch) -> None:
        arrays = self._arrays
        if batch.decaying is not None:
            with self._state.restored_on_failure():
                merge_decaying(arrays, batch.decaying)
        elif not batch.is_missing:
            add_rows(self.family, batch.rows, batch.columns, arrays["sums"])
            arrays["totals"] += batch.totals
        arrays["n_omitted"] += batch.n_missing

    def _check_targets(self, y: Any, n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        array, xp = check_numbers("y", y), self._backend.xp
        missing = xp.zeros(n, np.bool_)
        if array.ndim and len(array) == n:
            holes = xp.isnan(array)
            if self.nan_policy == "omit":
                missing = holes.reshape(n, -1).any(axis=1) if n else missing
                array = xp.where(holes, 0.0, array)
            elif bool(holes.any()):
                raise ValueError('y must not be NaN, got NaN; nan_policy="omit" leaves such rows out')
        checked = check_real_weights("y", array, n, self.n_outputs)
        return checked.reshape(n, self.n_outputs or 1), missing

    def _check_time(self, time: Any, n: int) -> NDArray[np.float64] | None:
        if self.half_life is None:
            if time is not None:
                raise ValueError("time must be given only with half_life, got a sketch without")
            return None
        if time is None:
            raise ValueError("time must be given, for this sketch has a half_life, got None")
        xp = self._backend.xp
        times = check_array("time", time)
        if times.size and times.dtype.kind not in "fiu":
            raise TypeError(f"time must hold real numbers, got dtype {times.dtype}")
        if times.shape not in ((), (n,)):
            raise ValueError(f"time must be a number or of shape ({n},), got shape {times.shape}")
        periods: NDArray[np.float64] = xp.broadcast_to(times.astype(np.float64), (n,)) / self.half_life
        if not bool((xp.abs(periods) <= 2.0**52).all()):
            raise ValueError("time must be finite and within 2**52 half-lives of 0")
        return periods

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        merge_decaying(ours, theirs)

    # -- predictions ------------------------------------------------------------------------------

    @overload
    def predict(
        self, Q: RowsLike, *, confidence: float = ..., fill: float = ..., return_std: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def predict(
        self, Q: RowsLike, *, confidence: float = ..., fill: float = ..., return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def predict(
        self, Q: RowsLike, *, confidence: float = 0.975, fill: float = math.nan, return_std: bool = False
    ) -> Any:
        """Return kernel-weighted means of the targets.

        Parameters
        ----------
        Q : n rows
            As ``family.hash_query`` takes them.
        confidence : float, default 0.975
            In [0.5, 1). A prediction is made if the kernel sum at the query is above 0 with this confidence,
            by its normal approximation (0.975: above 1.96 standard errors). If the hash functions are given
            and not random, as those of `LearnedProjection`, and codes are not rehashed, kernel sums have no
            error, and it is made wherever they are above 0.
        fill : float, default NaN
            The result if no prediction is made: your own prior, such as the mean of all targets.
        return_std : bool
            Also return the standard errors, which are NaN where `fill` is returned.

        Returns
        -------
        predictions : ndarray of shape (n,) or (n, n_outputs), float64
        std : ndarray of the same shape
            Only with `return_std`. It is the error of the estimated kernel-weighted mean, not the spread of
            the targets around it.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, or an argument lies outside its range; with `return_std`, if the
            hash functions are given and not random.
        """
        confidence = check_real("confidence", confidence, math.nextafter(0.5, 0.0), 1.0)
        z = max(0.0, float(scipy.special.ndtri(confidence)))
        if isinstance(fill, bool) or not isinstance(fill, (int, float, np.number)):
            raise TypeError(f"fill must be a number, got {fill!r}")
        return_std = self._check_return_std(return_std)
        mass, mass_std, ratio, ratio_std = self._ratios(Q)
        known = mass > 0
        if self.family.is_drawn or self.family.chance_collision > 0.0:
            known &= ~(mass <= z * mass_std)
        ratio[~known], ratio_std[~known] = fill, math.nan
        if self.n_outputs is None:
            ratio, ratio_std = ratio[:, 0], ratio_std[:, 0]
        return like(Q, (ratio, ratio_std) if return_std else ratio)

    query = alias(predict)

    def kernel_sum(self, Q: RowsLike, *, return_std: bool = False) -> Any:
        """Return estimated kernel sums, the denominators, which measure how many rows lie near each query.

        Parameters
        ----------
        Q : n rows
        return_std : bool

        Returns
        -------
        ndarray of shape (n,), float64, or two of them
            With `half_life`, rows count as they do in the newest period.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows; with `return_std`, if the hash functions are given and not random.
        """
        return_std = self._check_return_std(return_std)
        mass, mass_std, _, _ = self._ratios(Q)
        return like(Q, (mass, mass_std) if return_std else mass)

    def _check_return_std(self, return_std: Any) -> bool:
        if check_flag("return_std", return_std):
            refuse_given_functions(self.family, "standard errors")
            return True
        return False

    def _ratios(self, Q: Any) -> tuple[NDArray[np.float64], ...]:
        queries = self.family.read_rows(Q, "Q")
        n = queries.n
        outputs = self.n_outputs or 1
        self._claim_device("Q", Q)
        backend = self._backend
        empty = backend.xp.empty
        mass, mass_std = empty(n), empty(n)
        ratio, ratio_std = empty((n, outputs)), empty((n, outputs))
        sums, totals, chance = self._arrays["sums"], self._arrays["totals"], self.family.chance_collision
        block = max(1, CODES_BLOCK // self.family.n_hashes)
        for start, stop in row_blocks(n, self.family.n_hashes, self.device):
            codes = hash_block(self.family, self.family.hash_query, queries, start, stop)
            gather, rows = backend.kernels(code_counters).gather_ratio, slice(start, stop)
            out = mass[rows], mass_std[rows], ratio[rows], ratio_std[rows]

            def ask(a: int, b: int, codes: Any = codes, gather: Any = gather, out: Any = out) -> None:
                gather(sums, codes, totals, chance, a, b, *out)

            backend.map_blocks(ask, len(codes), block)
        least, most = counter_range(sums[:, :, :1])
        counted = mass * (1.0 - chance) + chance * totals[0]
        reach = backend.xp.maximum(most - counted, counted - least) / (1.0 - chance)
        mass_std = standard_errors(self.family, mass_std, reach)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = self._ratio_reach(ratio) / backend.xp.abs(mass[:, None]) / (1.0 - chance)
        return mass, mass_std, ratio, standard_errors(self.family, ratio_std, reach)

    def _ratio_reach(self, ratio: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the most that a bucket could add to numerators less `ratio` times the denominator.

        That is the weight of the fullest bucket, times the largest distance of the mean target of a bucket
        from the ratio.
        """
        sums, xp = self._arrays["sums"], self._backend.xp
        heaviest = 0.0
        least, most = xp.full(ratio.shape[1], math.inf), xp.full(ratio.shape[1], -math.inf)
        block = max(1, _COUNTERS_BLOCK // (sums.shape[1] * sums.shape[2]))
        for start in range(0, len(sums), block):
            weights, targets = sums[start : start + block, :, :1], sums[start : start + block, :, 1:]
            heaviest += float(xp.abs(weights).max(axis=1).sum()) / len(sums)
            used = weights != 0.0
            means = targets / xp.where(used, weights, 1.0)
            least = xp.minimum(least, xp.where(used, means, math.inf).min(axis=(0, 1)))
            most = xp.maximum(most, xp.where(used, means, -math.inf).max(axis=(0, 1)))
        return xp.maximum(heaviest * xp.maximum(most - ratio, ratio - least), 0.0)

    # -- state ------------------------------------------------------------------------------------

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        if self.half_life is not None and not NEVER <= int(arrays["period"][0]) <= 1 << 53:
            raise ValueError(f"period must lie within 2**53, got {arrays['period'][0]}")


publish("mergesketch", __all__, globals())
