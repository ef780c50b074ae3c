"""ACE: anomaly detection by the number of rows that collide with a row."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.answers import like
from ...lsh.inputs.weights import check_weights
from ...lsh.support.aliases import alias
from ...lsh.support.backend import to_host
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.checks import check_int, check_real, renamed
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.random import random_uint64
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..core.hashed_rows import check_symmetric_family, hash_block, row_blocks
from ..core.records import Records, add_to_sample
from ..core.state import Arrays, StateSpec
from ..kernels import code_counters
from .ace_contamination import LARGEST_SAMPLE, ROUNDING, check_contamination, least_sample, place_of
from .code_counters import CODES_BLOCK, scatter
from .collisions import crowding_advice, different_codes_agree, mean_density
from .kernel_sums import kernel_sums, mean_counts, without_chance

__all__ = ["AceSketch"]

#: The table of the sampled rows, by rising keys.
_SAMPLE = Records(("sample_keys", "sample_codes", "sample_weights"), "sample_weights")
#: Rows of the sample that are compared with each other.
_COMPARED = 256


class _Batch(NamedTuple):
    """Rows that are hashed, and what they make of the sample."""

    #: The sum of the weights.
    n: int
    #: The codes of all rows, if they are not counted yet.
    codes: NDArray[np.uint32]
    #: Empty if each row counts once.
    weights: NDArray[np.int64]
    #: What the rows add to the counters, if they are.
    counts: NDArray[np.int64] | None
    sample: Arrays


class AceSketch(MergeableSketch):
    """Score rows by their density in one pass and fixed memory, with a threshold for outliers (anomalies).

    Parameters
    ----------
    family : HashFamily
        Any family that hashes rows and queries in the same way, so all families except `InnerProduct`. Rows
        are normal if their density under its kernel is high. The paper uses signed random projections of
        centred rows, with ``power`` 10 to 15 and 50 hashes.
    contamination : float or "auto", optional
        Share of new rows that is called anomalous, in (0, 0.5]. The threshold is this quantile of the scores
        of the rows seen, if each row does not count itself. The share is at least ``1 / (sample_size + 1)``,
        which is 6e-8 for the largest sample, of 2**24 rows.
    alpha : float, default 3.0
        Without `contamination`, the threshold is the mean of the scores of the rows seen minus `alpha`
        standard deviations, if each row does not count itself. With "auto" it is that of the logarithms of
        the scores. Scores often vary by factors, so that no score is 3 standard deviations below their mean.
    sample_size : int, default 1024
        Number of rows whose codes are kept, as a sample that shows the distribution of scores.
    seed : int, default 0
        Seed of the sample, in [0, 2**64).

    Notes
    -----
    The score of a row is a kernel density: the mean over the R repetitions of the number of rows that share
    its bucket, without chance collisions, over the number n of rows (Luo and Shrivastava 2018, "Arrays of
    (locality-sensitive) count estimators (ACE)"). Counters take ``4 R W`` bytes, and a row takes ``4 R``
    bytes during its update.

    **Threshold.** The mean of the scores of the rows seen is exactly the sum of the squares of all counters
    over ``R n**2``. Their spread and quantiles change as counters grow. So the codes of a sample of rows are
    kept, and their scores are computed again each time that the threshold is needed. The sample contains the
    distinct rows whose codes have the smallest hashes, each with its number of occurrences. So it does not
    depend on order, batches, ranks or merges. The share of new rows that are called anomalous differs from
    the requested p by about ``sqrt(p (1 - p) / m)``. Here m is `sample_size` if no row occurs twice, and
    otherwise ``(sum of w)**2 / sum of w**2``, the effective size of a sample of rows that occur w times each
    (Kish 1965, "Survey sampling"). The paper instead keeps running moments of the scores that rows had on
    arrival. Early rows bias these moments, and merges cannot reproduce them.

    The threshold is for new rows. A row that was seen counts itself, and a new row does not. So both
    thresholds are lowered by 1 / n, the count of a row itself. Otherwise rows that are similar to no other
    row would still have themselves as a neighbour, and all new rows would be called anomalous.

    With `contamination` c the threshold is the score at place c (N + 1) of the N scores of the sample in
    rising order, each repeated as often as its row occurred, with linear interpolation between places; then
    it is lowered as described. On average a share c of new rows like those seen have lower scores (Weibull
    1939; Hyndman and Fan 1996, definition 6), and fewer if scores are equal. Rows that were added still count
    themselves when they are scored, so fewer of them are below the threshold. While the sample contains all
    of them, this share is at most c.

    `AceDetector` is an outlier detector of scikit-learn over this sketch. It scales the columns and chooses
    the family.

    References
    ----------
    - Luo, Shrivastava. Arrays of (locality-sensitive) count estimators (ACE): anomaly detection on the
      edge. WWW 2018.
    - Hyndman, Fan. Sample quantiles in statistical packages. The American Statistician 50(4), 1996.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> from mergesketch.lsh import SignedRandomProjection
    >>> rng = np.random.default_rng(0)
    >>> normal = rng.standard_normal((5000, 8)) * 0.3 + 1.0
    >>> family = SignedRandomProjection(n_features=8, n_hashes=50, power=10, seed=1)
    >>> sketch = mergesketch.AceSketch(family, contamination=0.01).update(normal)
    >>> sketch.predict(np.vstack([np.full(8, 1.0), np.full(8, -1.0)]))
    array([ 1, -1])
    >>> bool(abs((sketch.predict(normal) == -1).mean() - 0.01) < 0.01)
    True
    """

    _parameters = ("family", "contamination", "alpha", "sample_size", "seed")
    _former_names = ("AceDetector",)
    _gpu = True
    _filled = ("counts", "counters used")
    _has_warned = False

    def __init__(
        self,
        family: HashFamily,
        *,
        contamination: float | str | None = None,
        alpha: float = 3.0,
        sample_size: int = 1024,
        seed: int = 0,
    ) -> None:
        self.family = check_symmetric_family(family)
        self.contamination = check_contamination(contamination)
        self.alpha = check_real("alpha", alpha, 0.0, math.inf)
        self.sample_size = check_int("sample_size", sample_size, 2, LARGEST_SAMPLE)
        share = self._share
        if share is not None and place_of(share, self.sample_size) < 1.0:
            raise ValueError(
                f"sample_size must be at least {least_sample(share)} to tell a contamination of {share:g}, "
                f"got {self.sample_size}"
            )
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    def _layout(self) -> dict[str, StateSpec]:
        tables, buckets = self.family.n_hashes, self.family.n_buckets
        return {
            "counts": StateSpec((tables, buckets), "int32", "sum", widens_to="int64"),
            # Places are filled from the left, in rising order of keys. Free places have a weight of 0.
            "sample_keys": StateSpec((self.sample_size,), "uint64", "sample"),
            "sample_weights": StateSpec((self.sample_size,), "int64", "sample"),
            "sample_codes": StateSpec((self.sample_size, tables), "uint32", "sample"),
        }

    @lazy
    def _key(self) -> np.uint64:
        return np.uint64(random_uint64(self.seed, "AceDetector sample", 1)[0])

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike, weights: ArrayLike | None = None) -> Self:
        """Add a batch of rows.

        Parameters
        ----------
        X : n rows
            As ``family.hash`` takes them.
        weights : array of n integers, optional
            How often each row occurs, 1 by default. The sketch is the same as if the rows were repeated.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError, OverflowError
            If the family refuses the rows, a weight is not an integer or below 0, or a counter could wrap.
            Nothing changes then.
        """
        return self._take_in({"X": X, "weights": weights})

    def _read(self, X: Any, weights: Any) -> _Batch:
        rows = self.family.read_rows(X)
        weights, total = check_weights("weights", weights, rows.n, 0)
        xp, shape = self._backend.xp, self._state.specs["counts"].shape
        blocks = list(row_blocks(rows.n, self.family.n_hashes, self.device))
        sample = {name: self._arrays[name] for name in _SAMPLE.names}
        # Several blocks are counted apart, so that nothing has changed if a later row is refused.
        counts = xp.zeros(shape, np.int64) if len(blocks) > 1 else None
        codes = xp.empty((0, self.family.n_hashes), np.uint32)
        for start, stop in blocks:
            codes = hash_block(self.family, self.family.hash, rows, start, stop)
            sample.update(self._sampled(sample, codes, weights[start:stop]))
            if counts is not None:
                scatter(counts, codes, weights[start:stop])
        return _Batch(total, codes, weights, counts, sample)

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return {"counts": batch.n, "n_updates": batch.n}

    def _add(self, batch: _Batch) -> None:
        if batch.counts is not None:
            self._arrays["counts"] += batch.counts
        else:
            scatter(self._arrays["counts"], batch.codes, batch.weights)
        self._arrays.update(batch.sample)

    def _sampled(
        self, sample: Mapping[str, NDArray[Any]], codes: NDArray[np.uint32], weights: NDArray[np.int64]
    ) -> Arrays:
        """Return the arrays of the sample that change as rows of these codes and weights are taken in."""
        backend = self._backend
        keys, kernel = backend.xp.empty(len(codes), np.uint64), backend.kernels(code_counters).code_keys
        block = max(1, CODES_BLOCK // codes.shape[1])
        backend.map_blocks(lambda a, b: kernel(codes, self._key, a, b, keys), len(codes), block)
        return add_to_sample(backend, _SAMPLE, sample, (keys, codes), weights)

    # -- scores -----------------------------------------------------------------------------------

    def score_samples(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the kernel densities of rows; anomalous rows have low ones.

        Parameters
        ----------
        X : n rows
            As ``family.hash_query`` takes them.

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        ValueError
            If the sketch has seen no row.
        """
        self._check_seen()
        self._claim_device("X", X)
        with renamed("Q", "X"):
            sums = kernel_sums(self.family, self._arrays["counts"], self.n_updates, X, None, False)
        return like(X, sums / self.n_updates)

    query = alias(score_samples)

    def _check_seen(self) -> None:
        if self.n_updates == 0:
            raise ValueError("AceSketch has seen no row; call update first")

    @property
    def mean_score(self) -> float:
        """The exact mean of the scores of the rows seen."""
        self._check_seen()
        return mean_density(self.family, self._arrays["counts"], self.n_updates)

    @property
    def threshold(self) -> float:
        """The score below which a row is called anomalous.

        Raises
        ------
        ValueError
            If no row was seen, or one row is more than the share `contamination` of the rows seen.
        """
        self._check_seen()
        xp = self._backend.xp
        _, codes, weights = _SAMPLE.used(self._arrays)
        counted = mean_counts(self._arrays["counts"], codes)
        scores = without_chance(self.family, counted, self.n_updates) / self.n_updates
        share = self._share
        if share is None:
            return self._without_itself(self._below_mean(scores, weights))
        n = int(weights.sum())
        place = place_of(share, n)
        if place < 1.0:
            raise ValueError(
                f"AceSketch has seen {n} rows, and a contamination of {share:g} takes at least "
                f"{least_sample(share)}"
            )
        order = xp.argsort(scores, kind="stable")
        ends = xp.cumsum(weights[order])
        below, above = (
            float(scores[order[int((ends < at).sum())]]) for at in (math.floor(place), math.ceil(place))
        )
        return self._without_itself(below + (place - math.floor(place)) * (above - below))

    @property
    def _share(self) -> float | None:
        """The contamination if it is a number."""
        return None if isinstance(self.contamination, str) else self.contamination

    def _below_mean(self, scores: NDArray[np.float64], weights: NDArray[np.int64]) -> float:
        """Return the score `alpha` deviations below the mean, of scores or, if "auto", of logarithms."""
        by_logarithms = self.contamination == "auto"
        if by_logarithms:
            # A row counts itself, and less is the noise of chance collisions.
            scores = self._backend.xp.log(self._backend.xp.maximum(scores, 1.0 / self.n_updates))
        sampled = float((scores * weights).sum() / weights.sum())
        spread = math.sqrt(float(((scores - sampled) ** 2 * weights).sum() / weights.sum()))
        if by_logarithms:
            return math.exp(sampled - self.alpha * spread)
        return self.mean_score - self.alpha * spread

    def _warn(self) -> None:
        """Warn once if no rows seen collide, or if all do."""
        if self._has_warned:
            return
        text, is_wide = crowding_advice(self.mean_score, self.n_updates)
        if is_wide:
            # One row that is far more frequent than others also leads to a high mean.
            _, codes, _ = _SAMPLE.used(self._arrays)
            if len(codes) > 1 and not different_codes_agree(to_host(codes[:_COMPARED])):
                return
        if text:
            self._has_warned = True
            warnings.warn(f"AceSketch: {text}", UserWarning, stacklevel=stacklevel_of_caller())

    def _without_itself(self, score: float) -> float:
        """Return the score of a seen row without its own count, and without possible rounding errors.

        New rows are not among those seen. Rows that resemble no other row would each be their own neighbour,
        and every new row would have a lower score than all of them.
        """
        chance = self.family.chance_collision
        score -= 1.0 / (1.0 - chance) / self.n_updates
        return score - ROUNDING * (abs(score) + 2.0 * chance / (1.0 - chance))

    def decision_function(self, X: RowsLike) -> NDArray[np.float64]:
        """Return scores less the threshold; anomalous rows have negative ones.

        Parameters
        ----------
        X : n rows
            As ``family.hash_query`` takes them.

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        TypeError, ValueError
            If the sketch has seen no row, or too few for `contamination`, or the family refuses the rows.

        Warns
        -----
        UserWarning
            Once, if no rows that were seen collide, or if all do, so that scores tell nothing. The warning
            says what to change. Equal rows all collide, under any family.
        """
        scores = self.score_samples(X) - self.threshold
        self._warn()
        return scores

    def predict(self, X: RowsLike) -> NDArray[np.int64]:
        """Return -1 for anomalous rows and 1 for others.

        Parameters
        ----------
        X : n rows
            As ``family.hash_query`` takes them.

        Returns
        -------
        ndarray of shape (n,), int64

        Raises
        ------
        TypeError, ValueError
            If the sketch has seen no row, or too few for `contamination`, or the family refuses the rows.

        Warns
        -----
        UserWarning
            Once, if no rows that were seen collide, or if all do, so that scores tell nothing. The warning
            says what to change. Equal rows all collide, under any family.
        """
        return like(X, self._backend.xp.where(self.decision_function(X) < 0, -1, 1))

    # -- state ------------------------------------------------------------------------------------

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        *columns, weights = _SAMPLE.used(theirs)
        for name, array in add_to_sample(self._backend, _SAMPLE, ours, columns, weights).items():
            ours[name][...] = array

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        weights, keys, codes = (arrays[f"sample_{name}"] for name in ("weights", "keys", "codes"))
        held = _SAMPLE.n_used(arrays)
        if int(weights.min()) < 0 or bool((weights[:held] == 0).any()):
            raise ValueError("sample_weights must be positive, and 0 from the first empty place on")
        n, counted = int(arrays["n_updates"][0]), sum(weights[:held].tolist())
        if counted > n:
            raise ValueError(f"sample_weights must not count more rows than n_updates, {n}, got {counted}")
        if held == 0 and n:
            raise ValueError("sample_weights must hold some of the rows that were seen, got none")
        if bool((keys[1:held] <= keys[: max(held - 1, 0)]).any()):
            raise ValueError("sample_keys must rise")
        if codes.size and int(codes.max()) >= self.family.n_buckets:
            raise ValueError(f"sample_codes must be below {self.family.n_buckets}, got {codes.max()}")


publish("mergesketch", __all__, globals())
