"""ACE: anomaly detection by how few of the rows seen so far collide with a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.family import HashFamily
from ...lsh.support.backend import add_at
from ...lsh.support.checks import check_int, check_real, renamed
from ...lsh.support.lazy import lazy
from ...lsh.support.random import random_uint64
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch, StateSpec
from ..core.guard import uninterrupted
from ..core.hashed_rows import check_symmetric_family, hash_block, row_blocks
from ..kernels import code_counters
from .code_counters import kernel_sums, mean_counts, scatter, without_chance

__all__ = ["AceDetector"]

_CODES_BLOCK = 1 << 16
#: What sums of many floats may be off by, of themselves.
_ROUNDING = 1e-12
#: Rows that a sample may hold.
_LARGEST_SAMPLE = 1 << 24


class AceDetector(MergeableSketch):
    """Anomaly detection in one pass and fixed memory, with a threshold that keeps up with the stream.

    Parameters
    ----------
    family : HashFamily
        Any family that hashes rows and queries alike, all but `InnerProduct`; rows are normal where its
        kernel density is high. Signed random projections of centred rows with ``power`` 10 to 15 and 50
        hashes are what the paper uses.
    contamination : float, optional
        Share of new rows that is called anomalous, in (0, 0.5]: the threshold is that quantile of the
        scores of the rows seen, less their own count. The sample must be able to tell it:
        ``1 / (sample_size + 1)`` is the least, and 6e-8 for the largest sample, of 2**24.
    alpha : float, default 3.0
        Without `contamination`: the threshold is the mean of the scores of the rows seen less `alpha`
        standard deviations, and their own count.
    sample_size : int, default 1024
        Rows that are kept, by their codes, to know the distribution of scores from.
    seed : int, default 0
        Of the sample, in [0, 2**64).

    Notes
    -----
    The score of a row is the mean over the R repetitions of the number of rows that share its bucket,
    chance collisions taken off, over the number n of rows: a kernel density (Luo and Shrivastava 2018,
    "Arrays of (locality-sensitive) count estimators (ACE)"). Rows take ``4 R`` bytes for the time of their
    batch, counters ``4 R W``.

    **Threshold.** The mean of the scores of the rows seen needs no row: it is the sum of the squares of
    all counters over ``R n**2``, exactly. For their spread and their quantiles, which drift as counters
    grow, the codes of a sample of rows are kept and scored anew whenever the threshold is asked for. The
    sample holds the distinct rows of codes of least hash, each with how often it came, so it depends
    neither on order nor on batches, ranks and merges. The share of new rows that are called anomalous differs
    from the p asked for by about ``sqrt(p (1 - p) / m)``, m being `sample_size` if no row comes twice, and
    less where some come often: ``(sum of w)**2 / sum of w**2``, the effective size of a sample of rows that
    came w times each (Kish 1965, "Survey sampling"). The paper keeps running moments instead, of scores as
    they were when each row came, which early rows bias and merges cannot reproduce.

    New rows are what a threshold is for, and they are not among the rows seen, each of which counts itself.
    So both thresholds are lowered by that count, 1 / n: otherwise rows that resemble nobody would each be
    their own neighbour, and all new ones would be called anomalous.

    With `contamination` c the threshold is the score at place c (N + 1) of the N of the sample in rising
    order, each as often as its row came, and between places on the line that joins them, so lowered: a share
    c of new rows like those seen has lower scores, on average (Weibull 1939; Hyndman and Fan 1996, definition
    6), and less where equal scores leave no choice. Rows that were taken in still count themselves when they
    are asked about, and fewer of them are below; never more than the share c while the sample holds them all.

    Methods are named as scikit-learn's outlier detectors name them; `update` is `partial_fit`.

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
    >>> detector = mergesketch.AceDetector(family, contamination=0.01).partial_fit(normal)
    >>> detector.predict(np.vstack([np.full(8, 1.0), np.full(8, -1.0)]))
    array([ 1, -1])
    >>> bool(abs((detector.predict(normal) == -1).mean() - 0.01) < 0.01)
    True
    """

    _parameters = ("family", "contamination", "alpha", "sample_size", "seed")
    _gpu = True

    def __init__(
        self,
        family: HashFamily,
        *,
        contamination: float | None = None,
        alpha: float = 3.0,
        sample_size: int = 1024,
        seed: int = 0,
    ) -> None:
        self.family = check_symmetric_family(family)
        self.contamination = (
            None
            if contamination is None
            else check_real(
                "contamination", contamination, 1.0 / (_LARGEST_SAMPLE + 2), math.nextafter(0.5, 1.0)
            )
        )
        self.alpha = check_real("alpha", alpha, 0.0, math.inf)
        self.sample_size = check_int("sample_size", sample_size, 2, _LARGEST_SAMPLE)
        if self.contamination is not None and _place(self.contamination, self.sample_size) < 1.0:
            raise ValueError(
                f"sample_size must be at least {_least_sample(self.contamination)} to tell a contamination "
                f"of {self.contamination:g}, got {self.sample_size}"
            )
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    def _layout(self) -> dict[str, StateSpec]:
        tables, buckets = self.family.n_hashes, self.family.n_buckets
        return {
            "counts": StateSpec((tables, buckets), "int32", "sum", widens_to="int64"),
            # Places are filled from the left, in rising order of keys; a weight of 0 is an empty one.
            "sample_keys": StateSpec((self.sample_size,), "uint64", "sample"),
            "sample_weights": StateSpec((self.sample_size,), "int64", "sample"),
            "sample_codes": StateSpec((self.sample_size, tables), "uint32", "sample"),
        }

    @lazy
    def _key(self) -> np.uint64:
        return np.uint64(random_uint64(self.seed, "AceDetector sample", 1)[0])

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike) -> Self:
        """Take in a batch of rows.

        Parameters
        ----------
        X : n rows
            As ``family.hash`` takes them.

        Returns
        -------
        The detector itself.

        Raises
        ------
        TypeError, ValueError, OverflowError
            If the family refuses the rows or a counter could wrap; nothing is changed then.
        """
        rows = self.family.read_rows(X, "X")
        n = rows.n
        self._settle("X", X)
        xp = self._backend.xp
        blocks = list(row_blocks(n, self.family.n_hashes, self.device))
        one, counts = xp.empty(0, np.int64), xp.zeros(0, np.int64)
        taken = {name: self._arrays[name] for name in ("sample_keys", "sample_weights", "sample_codes")}
        if len(blocks) > 1:
            # Counted apart, so that nothing has changed if a later row is refused.
            counts = xp.zeros(self._arrays["counts"].shape, np.int64)
        codes = xp.empty((0, self.family.n_hashes), np.uint32)
        for start, stop in blocks:
            codes = hash_block(self.family, self.family.hash, rows, start, stop)
            taken = self._sampled(taken, codes)
            if counts.size:
                scatter(counts, codes, one)
        with uninterrupted():
            self._reserve("counts", n)
            self._reserve("n_updates", n)
            if counts.size:
                self._arrays["counts"] += counts
            else:
                scatter(self._arrays["counts"], codes, one)
            self._arrays.update(taken)
            self._arrays["n_updates"] += n
        return self

    def partial_fit(self, X: RowsLike, y: None = None) -> Self:
        """The same as `update`; `y` is ignored.

        Parameters
        ----------
        X : n rows
            As ``family.hash`` takes them.
        y : None

        Returns
        -------
        The detector itself.

        Raises
        ------
        TypeError, ValueError
            As `update` does.
        """
        return self.update(X)

    def _sampled(
        self, sample: Mapping[str, NDArray[Any]], codes: NDArray[np.uint32]
    ) -> dict[str, NDArray[Any]]:
        """The sample with those of new rows of codes that belong to it."""
        backend = self._backend
        keys, kernel = backend.xp.empty(len(codes), np.uint64), backend.kernels(code_counters).code_keys
        block = max(1, _CODES_BLOCK // codes.shape[1])
        backend.map_blocks(lambda a, b: kernel(codes, self._key, a, b, keys), len(codes), block)
        if sample["sample_weights"][-1]:
            chosen = backend.xp.flatnonzero(keys <= sample["sample_keys"][-1])
            keys, codes = keys[chosen], codes[chosen]
        return self._joined(sample, keys, backend.xp.ones(len(keys), np.int64), codes)

    def _joined(
        self,
        sample: Mapping[str, NDArray[Any]],
        keys: NDArray[np.uint64],
        weights: NDArray[np.int64],
        codes: NDArray[np.uint32],
    ) -> dict[str, NDArray[Any]]:
        """The rows of least key of a sample and others, equal ones together."""
        if not len(keys):
            return dict(sample)
        xp, held = self._backend.xp, _count_held(sample)
        keys = xp.concatenate([sample["sample_keys"][:held], keys])
        weights = xp.concatenate([sample["sample_weights"][:held], weights])
        distinct, first, which = xp.unique(keys, return_index=True, return_inverse=True)
        size = min(len(distinct), self.sample_size)
        totals = xp.zeros(len(distinct), np.int64)
        add_at(totals, which, weights)
        out = {
            name: xp.zeros_like(sample[name]) for name in ("sample_keys", "sample_weights", "sample_codes")
        }
        out["sample_keys"][:size] = distinct[:size]
        out["sample_weights"][:size] = totals[:size]
        old = first[:size] < held
        out["sample_codes"][:size][old] = sample["sample_codes"][first[:size][old]]
        out["sample_codes"][:size][~old] = codes[first[:size][~old] - held]
        return out

    # -- scores -----------------------------------------------------------------------------------

    def score_samples(self, X: RowsLike) -> NDArray[np.float64]:
        """Kernel densities of rows: low ones are anomalous.

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
            If the detector has seen no row.
        """
        self._check_seen()
        self._settle("X", X)
        with renamed("Q", "X"):
            sums = kernel_sums(self.family, self._arrays["counts"], self.n_updates, X, None, False)
        scores: NDArray[np.float64] = sums / self.n_updates
        return scores

    def _check_seen(self) -> None:
        if self.n_updates == 0:
            raise ValueError("AceDetector has seen no row; call partial_fit first")

    @property
    def mean_score(self) -> float:
        """The exact mean of the scores of the rows seen."""
        self._check_seen()
        counts, n, chance = self._arrays["counts"], self.n_updates, self.family.chance_collision
        wide = counts.astype(np.float64, copy=False)
        # Row by row, for long sums of squares lose digits; at once where each would have to be waited for.
        parts = wide if self.device == "cpu" else wide.reshape(1, -1)
        squares = sum(float(row.dot(row)) for row in parts)
        return float((squares / counts.shape[0] / n / n - chance) / (1.0 - chance))

    @property
    def threshold(self) -> float:
        """The score below which a row is called anomalous.

        Raises
        ------
        ValueError
            If no row was seen, or so few that one of them is more than the share `contamination`.
        """
        self._check_seen()
        held, xp = _count_held(self._arrays), self._backend.xp
        weights = self._arrays["sample_weights"][:held]
        counted = mean_counts(self._arrays["counts"], self._arrays["sample_codes"][:held])
        scores = without_chance(self.family, counted, self.n_updates) / self.n_updates
        if self.contamination is None:
            mean = (scores * weights).sum() / weights.sum()
            spread = math.sqrt(float(((scores - mean) ** 2 * weights).sum() / weights.sum()))
            return self._without_itself(self.mean_score - self.alpha * spread)
        n = int(weights.sum())
        place = _place(self.contamination, n)
        if place < 1.0:
            raise ValueError(
                f"AceDetector has seen {n} rows, and a contamination of {self.contamination:g} takes at "
                f"least {_least_sample(self.contamination)}"
            )
        order = xp.argsort(scores, kind="stable")
        ends = xp.cumsum(weights[order])
        below, above = (
            float(scores[order[int((ends < at).sum())]]) for at in (math.floor(place), math.ceil(place))
        )
        return self._without_itself(below + (place - math.floor(place)) * (above - below))

    def _without_itself(self, score: float) -> float:
        """Return what is left of a seen row's score without itself, and without what rounding may have added.

        New rows are not among those seen. Of rows that resemble nobody each would be its own one neighbour,
        and every new row below them all.
        """
        chance = self.family.chance_collision
        score -= 1.0 / (1.0 - chance) / self.n_updates
        return score - _ROUNDING * (abs(score) + 2.0 * chance / (1.0 - chance))

    def decision_function(self, X: RowsLike) -> NDArray[np.float64]:
        """Scores less the threshold: negative ones are anomalous.

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
            If the detector has seen no row, or too few for `contamination`, or the family refuses the rows.
        """
        return self.score_samples(X) - self.threshold

    def predict(self, X: RowsLike) -> NDArray[np.int64]:
        """-1 for anomalous rows, 1 for others.

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
            If the detector has seen no row, or too few for `contamination`, or the family refuses the rows.
        """
        return self._backend.xp.where(self.decision_function(X) < 0, -1, 1)

    # -- state ------------------------------------------------------------------------------------

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        held = _count_held(theirs)
        parts = (theirs[name][:held] for name in ("sample_keys", "sample_weights", "sample_codes"))
        for name, joined in self._joined(ours, *parts).items():
            ours[name][...] = joined

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        weights, keys, codes = (arrays[f"sample_{name}"] for name in ("weights", "keys", "codes"))
        held = _count_held(arrays)
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


def _place(share: float, n: int) -> float:
    """Return the place in n ordered scores below which a share of new ones lies, and no more of these."""
    return min(share * (n + 1), math.floor(share * n * (1.0 + _ROUNDING)) + 1.0)


def _least_sample(share: float) -> int:
    """The fewest scores of which one lies at a share from below."""
    n = max(1, math.ceil(1.0 / share) - 2)
    while _place(share, n) < 1.0:
        n += 1
    return n


def _count_held(arrays: Mapping[str, NDArray[Any]]) -> int:
    """Places of the sample that are taken."""
    return int((arrays["sample_weights"] != 0).sum())
