"""Classification and regression from one private release each: noisy counters of classes and of targets."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.pstable import PStable
from ...lsh.families.srp import SignedRandomProjection
from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_array, check_dense, check_finite
from ...lsh.support.backend import CPU, refuse_gpu
from ...lsh.support.checks import check_flag, check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.types import RowsLike
from ..core.hashed_rows import check_symmetric_family, hash_block, row_blocks
from .bounds import check_bounds, count_beyond, scale_rows, told_shortly
from .private_race import PrivateRace
from .race import Race

__all__ = ["PrivateClassifier", "PrivateRegressor", "private_classifier", "private_regressor"]

#: Steps that targets are rounded to, within their bounds: a thousandth of them is below any noise.
_TARGET_STEPS = 1024
_FIT_ROWS = 1 << 16


class _PrivateTask(PrivateRace):
    """A release whose rows were scaled by public bounds, and what its fitted object is made of."""

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]

    def __init__(self, family: HashFamily, *, n_outputs: int, low: Any, high: Any) -> None:
        super().__init__(family, n_outputs=n_outputs)
        features = getattr(family, "n_features", None)
        if features is None:
            raise TypeError(f"family must be of dense rows of known width, got {family!r}")
        self.n_features = int(features)
        self.low, self.high = map(told_shortly, check_bounds(low, high, self.n_features))

    @abstractmethod
    def predict(self, X: Any) -> NDArray[Any]:
        """What the task predicts for rows."""

    def _rows(self, Q: Any) -> NDArray[np.float64]:
        refuse_gpu(type(self).__name__, Q)
        X = check_dense(Q, self.n_features)
        return scale_rows(X, *self._box)

    @lazy
    def _box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return check_bounds(self.low, self.high, self.n_features)

    def _fit(
        self, X: NDArray[Any], weights: Any, epsilon: float, record_weight: int, beyond: int, clip: bool
    ) -> Self:
        """Count rows under `weights(start, stop)` in a sketch of their own, and keep its release alone."""
        clip = check_flag("clip", clip)
        if beyond and not clip:
            raise ValueError(
                f"{beyond} of {len(X)} rows lie beyond the bounds low and high (their number is private); "
                "widen the bounds by what is publicly known, or pass clip=True"
            )
        race = Race(self.family, n_outputs=self.n_outputs)
        for start in range(0, max(1, len(X)), _FIT_ROWS):
            stop = min(len(X), start + _FIT_ROWS)
            race.update(scale_rows(X[start:stop], *self._box), weights(start, stop))
        return self._take_release(race, epsilon, record_weight)


class PrivateClassifier(_PrivateTask):
    """What `private_classifier` gives: noisy counters of the classes, and what predicts from them.

    Parameters
    ----------
    family : HashFamily
        Of dense rows, scaled to [-1, 1]; one that hashes queries as it hashes rows.
    low, high : float or sequence of float
        Public bounds of the features.
    classes : sequence of str or int
        Public: every class that a row can have.

    Notes
    -----
    A `PrivateRace` with an output for each class: it merges, saves and tells its `epsilon` as one does.
    Counters c_r[b, y] of repetition r, bucket b and class y estimate the probability of the bucket in
    the class, and prediction multiplies these over repetitions as naive Bayes does (random ferns: Ozuysal,
    Calonder, Lepetit and Fua 2010):

        argmax over y of  log N_y + sum over r of log((max(c_r[h_r(x), y], 0) + s) / (N_y + W s))

    with s = 1 + the standard deviation of a counter's noise, so that what noise alone can make counts for
    nothing. By `query`, the sums of kernels alone, are less accurate. As naive Bayes does,
    `predict_proba` is surer than it should be.

    References
    ----------
    - Ozuysal, Calonder, Lepetit, Fua. Fast keypoint recognition using random ferns. IEEE TPAMI 32(3),
      2010.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> X = np.repeat([[-1.0, -1.0], [1.0, 1.0]], 2000, axis=0)
    >>> y = np.repeat(["low", "high"], 2000)
    >>> model = mergesketch.private_classifier(
    ...     X, y, epsilon=1.0, classes=["low", "high"], low=-2.0, high=2.0
    ... )
    >>> model.predict([[1.0, 1.0], [-1.0, -1.0]]).tolist()
    ['high', 'low']
    """

    _parameters = ("family", "low", "high", "classes")

    def __init__(
        self, family: HashFamily, *, low: ArrayLike, high: ArrayLike, classes: Sequence[Any]
    ) -> None:
        self.classes = _check_classes(classes)
        super().__init__(check_symmetric_family(family), n_outputs=len(self.classes), low=low, high=high)

    @lazy
    def _classes_array(self) -> NDArray[Any]:
        return np.array(self.classes)

    def _logs(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Logarithms of shares of buckets, shape (R, W, classes), and of classes."""
        smoothing = 1.0 + self.noise_std
        totals = np.maximum(self.total, 1.0)
        shares = (np.maximum(self.counts, 0) + smoothing) / (totals + self.family.n_buckets * smoothing)
        return np.log(shares), np.log(totals / totals.sum())

    def decision_function(self, X: RowsLike) -> NDArray[np.float64]:
        """Log-likelihoods of classes, shape (n, classes), up to a number that a row's classes share.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, classes), float64

        Raises
        ------
        TypeError, ValueError
            If `X` is no matrix of finite numbers of that width.
        """
        scaled, (shares, prior) = self._rows(X), self._logs()
        scores = np.empty((len(scaled), len(self.classes)))
        repetitions = np.arange(self.family.n_hashes)
        rows = self.family.read_rows(scaled)
        for start, stop in row_blocks(rows.n, self.family.n_hashes * len(self.classes)):
            codes = hash_block(self.family, self.family.hash_query, rows, start, stop)
            scores[start:stop] = shares[repetitions, codes].sum(axis=1) + prior
        return scores

    def predict_proba(self, X: RowsLike) -> NDArray[np.float64]:
        """Probabilities of classes, shape (n, classes), in the order of `classes`.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, classes), float64

        Raises
        ------
        TypeError, ValueError
            If `X` is no matrix of finite numbers of that width.
        """
        scores = self.decision_function(X)
        return np.asarray(np.exp(scores - scipy.special.logsumexp(scores, axis=1, keepdims=True)))

    def predict(self, X: RowsLike) -> NDArray[Any]:
        """The likeliest class of each row, shape (n,).

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,)
            Of the dtype of the classes.

        Raises
        ------
        TypeError, ValueError
            If `X` is no matrix of finite numbers of that width.
        """
        return np.asarray(self._classes_array[self.decision_function(X).argmax(axis=1)])


class PrivateRegressor(_PrivateTask):
    """What `private_regressor` gives: noisy counters of the targets' two ends, and what predicts from them.

    Parameters
    ----------
    family : HashFamily
        Of dense rows, scaled to [-1, 1].
    low, high : float or sequence of float
        Public bounds of the features.
    target_low, target_high : float
        Public bounds of the target.

    Notes
    -----
    A row of target t, a share u of the way from `target_low` to `target_high`, adds 1 - u to the counters
    of the lower end and u to those of the upper end. So mass (their sum) and targets are known from one
    release, at the sensitivity of mass alone; two releases, of mass and of targets, would share the budget
    and give twice the noise or more. Counters are in units of 1/1024 row, to be integers, and so are
    `total` and the results of `query`.

    Prediction is the Nadaraya-Watson estimate, target sum over mass m, drawn towards the mean target of
    all rows by the share ``sigma**2 / (m**2 + sigma**2)``, with ``sigma`` the noise of m as a share of the
    quarter of the bounds that targets are taken to spread over: where there are no rows, it is the mean.

    References
    ----------
    - Nadaraya. On estimating regression. Theory of Probability and Its Applications 9(1), 1964.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> X = np.repeat([[-1.0, -1.0], [1.0, 1.0]], 4000, axis=0)
    >>> model = mergesketch.private_regressor(
    ...     X, X[:, 0], epsilon=1.0, low=-2.0, high=2.0, target_low=-1.0, target_high=1.0
    ... )
    >>> left, right = model.predict([[-1.0, -1.0], [1.0, 1.0]])
    >>> bool(left < 0 < right)
    True
    """

    _parameters = ("family", "low", "high", "target_low", "target_high")

    def __init__(
        self, family: HashFamily, *, low: ArrayLike, high: ArrayLike, target_low: float, target_high: float
    ) -> None:
        super().__init__(family, n_outputs=2, low=low, high=high)
        self.target_low = check_real("target_low", target_low, -math.inf, math.inf)
        self.target_high = check_real("target_high", target_high, self.target_low, math.inf)

    def predict(self, X: RowsLike) -> NDArray[np.float64]:
        """Estimated targets, shape (n,), within `target_low` and `target_high`.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        TypeError, ValueError
            If `X` is no matrix of finite numbers of that width.
        """
        totals = self.total
        mean = float(np.clip(totals[1] / max(float(totals.sum()), float(_TARGET_STEPS)), 0.0, 1.0))
        sums = self.query(X)
        mass = np.maximum(sums.sum(axis=1), 0.0)
        excess = sums[:, 1] - mean * sums.sum(axis=1)
        # Of the excess: (1 - mean)**2 + mean**2 of the variance of the mean of R counters.
        noise = self.noise_std**2 / self.family.n_hashes * ((1 - mean) ** 2 + mean**2)
        share = mean + excess * mass / (mass**2 + 16.0 * noise)
        return np.asarray(self.target_low + (self.target_high - self.target_low) * np.clip(share, 0.0, 1.0))


def private_classifier(
    X: RowsLike,
    y: ArrayLike,
    *,
    epsilon: float,
    classes: Sequence[Any],
    low: ArrayLike,
    high: ArrayLike,
    family: HashFamily | None = None,
    clip: bool = True,
    rows_per_record: int = 1,
    seed: int = 0,
) -> PrivateClassifier:
    """Train a classifier that is epsilon-differentially private, in one pass over the rows.

    Parameters
    ----------
    X : array of shape (n, features)
    y : array of shape (n,)
        Labels, each one of `classes`.
    epsilon : float
        The budget, above 0. All of it is spent.
    classes : sequence of str or int
        Every class that may occur. Must be public: the classes that do occur are the data's secret.
    low, high : float or array of shape (features,)
        Bounds of the features. Must be public, and not the data's own least and largest values.
    family : HashFamily, optional
        Over rows scaled to [-1, 1] by the bounds, and none that hashes queries otherwise, as `InnerProduct`
        does. By default `SignedRandomProjection` of ``power=4`` (16
        counters a class) and ``16 sqrt(epsilon)`` hashes, from 4 to 64.
    clip : bool, default True
        Move values beyond the bounds to them. Otherwise rows with such values are refused, by an error that
        tells their number; that is for the eyes of the data's owner.
    rows_per_record : int, default 1
        The most rows that one person has, for whom the guarantee is to hold.
    seed : int, default 0
        Of the default family. Public.

    Returns
    -------
    PrivateClassifier

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, or a label is none of `classes`.

    Notes
    -----
    A row touches one counter of each of R repetitions, in its own class: sensitivity R, however many
    classes. The noise of a kernel sum is then ``sqrt(2 R) / epsilon`` rows and grows with R, while the error
    of the sketch itself falls as ``1 / sqrt(R)``: they are equal where R is in proportion to
    epsilon times the rows a bucket gets. The default grows with the square root of epsilon, for counters
    of less noise are worth more, smaller buckets as well; it was chosen on digits (benchmarks/private.py).

    Parts fitted apart merge (``a | b``) if they have one family: pass it where budgets differ.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import private_classifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 4000)
    >>> X = rng.standard_normal((4000, 5)) + np.where(y, 1.0, -1.0)[:, None]
    >>> model = private_classifier(X, y, epsilon=1.0, classes=[0, 1], low=-4.0, high=4.0)
    >>> bool((model.predict(X) == y).mean() > 0.9), model.epsilon
    (True, 1.0)
    """
    refuse_gpu("a private model", X, y)
    X = check_dense(X)
    if family is None:
        family = SignedRandomProjection(X.shape[1], _default_hashes(epsilon), power=4, seed=seed)
    model = PrivateClassifier(family, low=low, high=high, classes=classes)
    check_dense(X, model.n_features)
    labels = _class_numbers(y, model.classes, len(X))
    one_hot = np.eye(len(model.classes), dtype=np.int64)
    return model._fit(
        X,
        lambda start, stop: one_hot[labels[start:stop]],
        epsilon,
        check_int("rows_per_record", rows_per_record, 1, 1 << 20),
        count_beyond(X, *model._box),
        clip,
    )


def private_regressor(
    X: RowsLike,
    y: ArrayLike,
    *,
    epsilon: float,
    low: ArrayLike,
    high: ArrayLike,
    target_low: float,
    target_high: float,
    family: HashFamily | None = None,
    clip: bool = True,
    rows_per_record: int = 1,
    seed: int = 0,
) -> PrivateRegressor:
    """Train a regressor that is epsilon-differentially private, in one pass over the rows.

    Parameters
    ----------
    X : array of shape (n, features)
    y : array of shape (n,)
        Targets.
    epsilon, low, high, clip, rows_per_record, seed
        As for `private_classifier`; targets beyond their bounds are clipped or refused as rows are.
    target_low, target_high : float
        Bounds of the targets. Must be public.
    family : HashFamily, optional
        Over rows scaled to [-1, 1] by the bounds. By default `PStable` of steps as wide as the root of the
        number of features, ``power=4``, 64 buckets and ``8 sqrt(epsilon)`` hashes, from 4 to 32.

    Returns
    -------
    PrivateRegressor

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import private_regressor
    >>> X = np.random.default_rng(0).uniform(-1, 1, (20_000, 2))
    >>> y = np.sin(3 * X[:, 0])
    >>> model = private_regressor(X, y, epsilon=1.0, low=-1.0, high=1.0, target_low=-1.0, target_high=1.0)
    >>> bool(np.sqrt(np.mean((model.predict(X) - y) ** 2)) < 0.5 * y.std())
    True
    """
    refuse_gpu("a private model", X, y)
    X = check_dense(X)
    if family is None:
        features = max(1, X.shape[1])
        family = PStable(
            features,
            max(4, _default_hashes(epsilon) // 2),
            width=math.sqrt(features),
            power=4,
            n_buckets=64,
            seed=seed,
        )
    model = PrivateRegressor(family, low=low, high=high, target_low=target_low, target_high=target_high)
    check_dense(X, model.n_features)
    targets = _check_targets(y, len(X))
    ends = model.target_low, model.target_high
    units = np.rint((np.clip(targets, *ends) - ends[0]) / (ends[1] - ends[0]) * _TARGET_STEPS).astype(
        np.int64
    )
    return model._fit(
        X,
        lambda start, stop: np.column_stack([_TARGET_STEPS - units[start:stop], units[start:stop]]),
        epsilon,
        _TARGET_STEPS * check_int("rows_per_record", rows_per_record, 1, 1 << 20),
        max(count_beyond(X, *model._box), count_beyond(targets, *ends)),
        clip,
    )


def _default_hashes(epsilon: Any) -> int:
    """Repetitions for a budget: fewer for a small one, for they share it."""
    epsilon = check_real("epsilon", epsilon, 0.0, math.inf)
    return max(4, round(16.0 * math.sqrt(min(epsilon, 16.0))))


def _check_classes(classes: Any) -> tuple[Any, ...]:
    wanted = "classes must be two or more distinct numbers or names, all integers or all str"
    if isinstance(classes, str) or not isinstance(classes, (Sequence, np.ndarray)):
        raise TypeError(f"{wanted}, got {classes!r}")
    if isinstance(classes, np.ndarray):
        classes = np.atleast_1d(check_array("classes", classes)).tolist()
    named = tuple(classes)
    named = tuple(int(value) if isinstance(value, np.integer) else value for value in named)
    if {type(value) for value in named} not in ({int}, {str}):
        raise TypeError(f"{wanted}, got {classes!r}")
    if len(named) < 2 or len(set(named)) < len(named):
        raise ValueError(f"{wanted}, got {classes!r}")
    return named


def _class_numbers(y: Any, classes: tuple[Any, ...], n: int) -> NDArray[np.int64]:
    """The place in `classes` of each label."""
    labels = check_array("y", y)
    if labels.shape != (n,):
        raise ValueError(f"y must have shape ({n},), one label a row, got {labels.shape}")
    known = np.array(classes)
    if n and (labels.dtype.kind in "iub") != (known.dtype.kind == "i"):
        raise TypeError(f"y must hold labels like classes, {classes!r}, got dtype {labels.dtype}")
    order = np.argsort(known)
    places = np.searchsorted(known, labels, sorter=order)
    numbers = order[np.minimum(places, len(known) - 1)]
    strange = known[numbers] != labels
    if strange.any():
        raise ValueError(
            f"y must hold classes alone, {classes!r}; {int(strange.sum())} of {n} labels are none of them"
        )
    return np.asarray(numbers, dtype=np.int64)


def _check_targets(y: Any, n: int) -> NDArray[np.float64]:
    targets = check_array("y", y)
    if targets.dtype.kind not in "fiub":
        raise TypeError(f"y must hold real numbers, got dtype {targets.dtype}")
    if targets.shape != (n,):
        raise ValueError(f"y must have shape ({n},), one target a row, got {targets.shape}")
    targets = np.ascontiguousarray(targets, dtype=np.float64)
    check_finite("y", targets, CPU)
    return targets
