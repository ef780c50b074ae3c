"""Classification from one private release: noisy counters of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.srp import SignedRandomProjection
from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_array, check_dense
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.hashed_rows import check_symmetric_family, hash_block, row_blocks
from .bounds import count_beyond
from .privacy_budget import PrivacyBudget
from .private_tasks import PrivateTask, default_hashes

__all__ = ["ReleasedClassifier", "private_classifier"]


class ReleasedClassifier(PrivateTask):
    """Classify rows by noisy counters (differential privacy), as `private_classifier` makes them.

    Parameters
    ----------
    family : HashFamily
        Of dense rows, scaled to [-1, 1]; one that hashes queries as it hashes rows.
    low, high : float or sequence of float
        Public bounds of the features.
    classes : sequence of str or int
        Every class that a row can have. They are public.

    Notes
    -----
    A `PrivateRace` with an output for each class: it merges, is saved and has an `epsilon` in the same way.
    Counters c_r[b, y] of repetition r, bucket b and class y estimate the probability of the bucket in
    the class, and prediction multiplies these over repetitions as naive Bayes does (random ferns: Ozuysal,
    Calonder, Lepetit and Fua 2010):

        argmax over y of  log N_y + sum over r of log((max(c_r[h_r(x), y], 0) + s) / (N_y + W s))

    with s = 1 + the standard deviation of a counter's noise, so that counts that noise can explain have no
    effect. Predictions by the largest `query` would be less accurate. As with naive Bayes, the probabilities
    of `predict_proba` are too close to 0 and 1.

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

    _former_names = ("PrivateClassifier",)
    _parameters = ("family", "low", "high", "classes")

    def __init__(
        self, family: HashFamily, *, low: ArrayLike, high: ArrayLike, classes: Sequence[Any]
    ) -> None:
        self.classes = _check_classes(classes)
        super().__init__(check_symmetric_family(family), n_outputs=len(self.classes), low=low, high=high)

    def _logs(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the logarithms of the shares of buckets, shape (R, W, classes), and of classes."""
        smoothing = 1.0 + self.noise_std
        totals = np.maximum(self.total, 1.0)
        shares = (np.maximum(self.counts, 0) + smoothing) / (totals + self.family.n_buckets * smoothing)
        return np.log(shares), np.log(totals / totals.sum())

    def decision_function(self, X: RowsLike) -> NDArray[np.float64]:
        """Return log-likelihoods of the classes, up to a number that all classes of a row share.

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
        scaled, (shares, prior) = self._query_rows(X), self._logs()
        scores = np.empty((len(scaled), len(self.classes)))
        repetitions = np.arange(self.family.n_hashes)
        rows = self.family.read_rows(scaled)
        for start, stop in row_blocks(rows.n, self.family.n_hashes * len(self.classes)):
            codes = hash_block(self.family, self.family.hash_query, rows, start, stop)
            scores[start:stop] = shares[repetitions, codes].sum(axis=1) + prior
        return scores

    def predict_proba(self, X: RowsLike) -> NDArray[np.float64]:
        """Return probabilities of the classes, in the order of `classes`.

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
        """Return the most likely class of each row.

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
        return np.array(self.classes)[self.decision_function(X).argmax(axis=1)]


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
    budget: PrivacyBudget | None = None,
) -> ReleasedClassifier:
    """Train a classifier that is epsilon-differentially private, in one pass over the rows.

    Parameters
    ----------
    X : array of shape (n, features)
    y : array of shape (n,)
        Labels, each of them one of `classes`.
    epsilon : float
        The budget, above 0. The model spends all of it.
    classes : sequence of str or int
        Every class that may occur. The list must be public, because the classes that occur in the data are
        private.
    low, high : float or array of shape (features,)
        Bounds of the features. They must be public, and not the data's own least and largest values.
    family : HashFamily, optional
        A family over rows that are scaled to [-1, 1] by the bounds. It must hash queries as it hashes rows,
        which `InnerProduct` does not. By default `SignedRandomProjection` with ``power=4`` (16 counters for
        each class) and ``16 sqrt(epsilon)`` hashes, from 4 to 64.
    clip : bool, default True
        True to move values beyond the bounds to the bounds. Otherwise rows with such values are refused, and
        the error names their number, which only the data's owner may see.
    rows_per_record : int, default 1
        The most rows that one person has. The guarantee holds for all rows of a person together.
    seed : int, default 0
        Seed of the default family. It is public.
    budget : PrivacyBudget, optional
        The budget of all releases about the same people, from which `epsilon` is taken.

    Returns
    -------
    ReleasedClassifier

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, or a label is none of `classes`.
    PrivacyBudgetError
        If less than `epsilon` remains of the budget.

    Notes
    -----
    A row changes one counter of each of R repetitions, in its own class, so the sensitivity is R for any
    number of classes. The noise of a kernel sum is then ``sqrt(2 R) / epsilon`` rows and grows with R, while
    the error of the sketch itself falls as ``1 / sqrt(R)``. The two are equal if R is in proportion to
    epsilon times the number of rows in a bucket. The default grows with the square root of epsilon: counters
    with less noise are worth more, but so are smaller buckets. It was chosen on digits
    (benchmarks/private.py).

    Models of different data merge (``a | b``) if they have the same family; pass it if budgets differ.

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
        family = SignedRandomProjection(X.shape[1], default_hashes(epsilon), power=4, seed=seed)
    model = ReleasedClassifier(family, low=low, high=high, classes=classes)
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
        budget,
    )


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
    """Return the place of each label in `classes`."""
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


publish("mergesketch", __all__, globals())
