"""Classification among many labels by small classifiers of hashed labels (MACH, FedMLH)."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import scipy
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from .bucket_models import leaves_of
from .hashed_labels import CONFIDENCE, STANDARD_ERROR, HashedLabels
from .label_buckets import confused_labels, size_for
from .label_readout import is_crowded, label_estimates, label_lists, top_estimates
from .model_average import full_bytes, parameter_bytes

__all__ = ["LabelHash", "TopLabels"]

#: How close to 0 and 1 probabilities of rows of several labels may be.
_CLOSEST = 2.0**-52


class TopLabels(NamedTuple):
    """The labels with the largest estimated probabilities, for each row.

    Attributes
    ----------
    labels : ndarray of shape (n, k)
        The label with the largest estimate first.
    estimates : ndarray of shape (n, k), float64
        Estimates of their probabilities. Those of the read-out "mean" may be below 0 or above 1.
    """

    labels: NDArray[Any]
    estimates: NDArray[np.float64]


class LabelHash(HashedLabels):
    """Classify rows among very many labels, by a few small classifiers that learn hashed labels (MACH).

    Parameters
    ----------
    estimator : classifier of scikit-learn, optional
        Any that has `predict_proba` or `decision_function`; `LogisticRegression()` by default. A copy of it
        learns each repetition.
    n_repetitions : "auto" or int, default "auto"
        The number R of hash functions, and of classifiers.
    n_buckets : "auto" or int, default "auto"
        The number B of buckets of a hash function, from 2 to 65,536: the classes of each classifier. See
        Notes and `for_labels` for how both are chosen.
    targets : {"auto", "single", "indicator"}, default "auto"
        What a classifier learns. "single": one of B classes; a row of m labels is learnt m times with weight
        1/m. "indicator": for each bucket, whether the row has a label in it, by a classifier of several
        labels a row (`MLPClassifier`), or by one classifier for each bucket. "auto" is "single" for rows of
        one label, if the classifier can learn more than two classes, and "indicator" otherwise.
    readout : {"auto", "mean", "min"}, default "auto"
        How the probability of a label is estimated from those of its R buckets: from their mean, which is
        unbiased for "single", or as the least of them, which is never too low, as in a count-min sketch.
        "auto" is "mean" for "single" targets, and "min" for "indicator".
    n_jobs : int, optional
        The number of processes that learn repetitions at once, as in scikit-learn.
    random_state : int, RandomState or None, default 0
        The seed of the hash functions, and of the classifiers.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,)
        The labels; for matrices of labels the numbers of their columns.
    buckets_ : ndarray of shape (n_repetitions, n_labels), uint16
        The bucket of each label in each repetition.
    models_ : list
        The models of the repetitions.
    n_repetitions_, n_buckets_ : int
        The numbers in use.
    targets_ : {"single", "indicator"}
        The targets in use.
    readout_ : {"mean", "min"}
        The read-out in use.
    form_ : {"one", "dense", "sparse", "sets"}
        The form in which labels came: one label a row, a matrix, or sets.
    seed_ : int
        The seed of the hash functions.
    n_rows_ : int
        The number of rows learnt, which is the weight of the model when models are averaged.
    n_features_in_ : int
    feature_names_in_ : ndarray
        If `X` had names of columns.

    Notes
    -----
    Repetition r hashes each label y to a bucket h_r(y). Its classifier learns the buckets of the rows' labels
    and not the labels, so it has B outputs however many labels there are. With P_r(b) the probabilities of
    buckets for a row, and t the mean of their sums (1 for "single"), the estimate of a label is

        "mean":  (B m - t) / (B - 1)  with  m = mean over r of P_r(h_r(y))
        "min":   min over r of P_r(h_r(y))

    which are the read-outs of a count sketch without signs, and of a count-min sketch. If P_r(b) were the sum
    of the probabilities p of the labels in bucket b, as it is for "single" and a perfect classifier, the
    mean's estimate would have the expectation p(y) over hash functions, and the variance
    ``sum of p(z)**2 over z != y / (R (B - 1))`` where buckets of three labels are independent; the bound
    ``(t - p(y))**2 / (R (B - 1))`` needs no more than that those of two are. With "indicator", P_r(b) is the
    probability that the row has any label of the bucket. It is at least p(y), so the minimum of perfect
    classifiers is never below p(y). It finds the second and further labels of a row better than the mean,
    unless errors of single classifiers are large, which the mean averages out. The errors of the classifiers
    come on top.

    Two labels that share the buckets of all repetitions always get equal estimates: see `n_confused`. This
    happens to any of L labels with a probability of at most ``L (L - 1) / (2 B**R)``. "auto" makes it at most
    0.01, and the standard error at most 0.02, or 2 / sqrt(L) if that is more: for 7,000 labels, 4 repetitions
    of about 440 buckets, and so a quarter of the parameters.

    Probabilities of buckets are rounded to multiples of 2**-40, so that their sums are exact.

    Hashes are made of labels alone. So labels that come later fit into the buckets that there are, and models
    that have seen other labels merge.

    Learning costs R times what a classifier of B classes costs, and "indicator" with classifiers of two
    classes R B fits. Reading out costs R lookups for each label, or fewer: see `top_k`.

    References
    ----------
    - Medini, Huang, Wang, Mohan, Shrivastava. Extreme classification in log memory using count-min sketch: a
      case study of Amazon search with 50M products. NeurIPS 2019.
    - Dai, Dun, Tang, Kyrillidis, Shrivastava. Federated multiple label hashing (FedMLH): communication
      efficient federated learning on extreme classification tasks. arXiv 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import LabelHash
    >>> from sklearn.linear_model import SGDClassifier
    >>> rng = np.random.default_rng(0)
    >>> centres = rng.standard_normal((100, 200))
    >>> y = rng.integers(0, 100, 1000)
    >>> X = centres[y] + rng.standard_normal((1000, 200))
    >>> solver = SGDClassifier(loss="log_loss", max_iter=5, tol=None)
    >>> model = LabelHash(solver, n_repetitions=3, n_buckets=16).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    >>> model.full_nbytes / model.nbytes > 2
    True
    >>> model.top_k(centres[:2], 1).labels.ravel().tolist()
    [0, 1]
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_repetitions: Any = "auto",
        n_buckets: Any = "auto",
        targets: str = "auto",
        readout: str = "auto",
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.estimator = estimator
        self.n_repetitions = n_repetitions
        self.n_buckets = n_buckets
        self.targets = targets
        self.readout = readout
        self.n_jobs = n_jobs
        self.random_state = random_state

    @classmethod
    def for_labels(
        cls,
        n_labels: int,
        estimator: Any = None,
        *,
        standard_error: float = STANDARD_ERROR,
        confidence: float = CONFIDENCE,
        **parameters: Any,
    ) -> Self:
        """Return the model with the fewest outputs, R B, that suffices for a number of labels.

        Parameters
        ----------
        n_labels : int
        estimator : classifier of scikit-learn, optional
        standard_error : float, default 0.02
            The largest standard error of the estimate of a label's probability, in (0, 1], from hashing
            alone.
        confidence : float, default 0.99
            The probability that no two labels share all their buckets, in (0, 1).
        **parameters
            Other parameters of the class.

        Returns
        -------
        LabelHash

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Examples
        --------
        >>> from mergesketch import LabelHash
        >>> model = LabelHash.for_labels(1_000_000, standard_error=0.01)
        >>> model.n_repetitions, model.n_buckets
        (5, 2001)
        """
        n_labels = check_int("n_labels", n_labels, 1, 2**31 - 1)
        standard_error = check_real("standard_error", standard_error, 1e-9, 1.0, closed=True)
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        repetitions, buckets = size_for(n_labels, confidence, standard_error)
        return cls(estimator, n_repetitions=repetitions, n_buckets=buckets, **parameters)

    # -- answers ----------------------------------------------------------------------------------

    def _estimates(self, X: Any) -> NDArray[np.float64]:
        out = np.empty((X.shape[0], self.classes_.size))
        for part, probabilities in self._blocks(X, out.shape[1]):
            out[part] = label_estimates(probabilities, self.buckets_, self.readout_)
        return out

    def top_k(self, X: RowsLike, k: int = 1, *, n_probes: int | None = None) -> TopLabels:
        """Return the k labels with the largest estimated probabilities, for each row.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        k : int, default 1
            At most the number of labels.
        n_probes : int, optional
            If it is given, only labels are compared that lie in one of the `n_probes` most likely buckets of
            a repetition (in more, if these have fewer than k labels). By default the result is exact.

        Returns
        -------
        TopLabels
            Labels and their estimates, the largest first. Of equal estimates the label that comes
            first in `classes_` is the first.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If the estimator is not fitted, `X` is of another width, or a number is out of range.

        Notes
        -----
        A row costs R lookups for each label. If there are at least 32 labels a bucket, labels of the most
        likely buckets are compared first: a label outside of the best m buckets of every repetition has at
        most the mean (or minimum) of the m-th largest probabilities. If k labels have more, no other label is
        read.
        """
        rows = self._asked(X)
        k = check_int("k", k, 1, self.classes_.size)
        lists = None
        if n_probes is not None:
            n_probes = check_int("n_probes", n_probes, 1, self.n_buckets_)
        if n_probes is not None or is_crowded(self.buckets_, self.n_buckets_):
            if self._lists is None:
                self._lists = label_lists(self.buckets_, self.n_buckets_)
            lists = self._lists
        shape = rows.shape[0], k
        numbers, estimates = np.empty(shape, np.int64), np.empty(shape)
        for part, probabilities in self._blocks(rows, k):
            numbers[part], estimates[part] = top_estimates(
                probabilities, self.buckets_, k, lists, n_probes, self.readout_
            )
        return TopLabels(self.classes_[numbers], estimates)

    def decision_function(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the estimates of the labels' probabilities; those of "mean" may be below 0 or above 1.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_labels), float64
            The columns belong to `classes_`. For rows of one of two labels, shape (n,): the probability of
            the second label less that of the first, from `predict_proba`.

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` is of another width.
        """
        if self._is_binary():
            found = self.predict_proba(X)
            return found[:, 1] - found[:, 0]
        return self._estimates(self._asked(X))

    def predict_proba(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the estimated probability of each label, for each row.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_labels), float64
            The columns belong to `classes_`. Where rows have one label, estimates below 0 become 0, and
            all are scaled so that they add up to 1. Otherwise estimates are kept 2**-52 away from 0 and 1,
            so that their logarithms are finite.

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` is of another width.
        """
        found = self._estimates(self._asked(X))
        if self.form_ != "one":
            return np.clip(found, _CLOSEST, 1.0 - _CLOSEST, out=found)
        # Where no estimate is positive, the lowest one stands for 0.
        low = found.max(axis=1) <= 0.0
        found[low] -= found[low].min(axis=1, keepdims=True)
        np.maximum(found, 0.0, out=found)
        sums = found.sum(axis=1, keepdims=True)
        found[sums[:, 0] == 0.0] = 1.0
        sums[sums == 0.0] = found.shape[1]
        found /= sums
        return found

    def predict(self, X: RowsLike) -> Any:
        """Return the likeliest label of each row, or all labels with a probability above 1/2.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), or matrix of shape (n, n_labels)
            Labels if rows have one label each. Otherwise a matrix of zeros and ones: an array if the labels
            were one, and a CSR array if they were sparse or sets.

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` is of another width.
        """
        check_is_fitted(self, "models_")
        if self._is_binary():
            return self.classes_[(self.decision_function(X) > 0).astype(np.int64)]
        if self.form_ == "one":
            return self.top_k(X).labels[:, 0]
        X = self._asked(X)
        parts = [
            scipy.sparse.csr_array(label_estimates(probabilities, self.buckets_, self.readout_) > 0.5)
            for _, probabilities in self._blocks(X, self.classes_.size)
        ]
        found = scipy.sparse.vstack(parts, format="csr").astype(self._label_dtype)
        return found.toarray() if self.form_ == "dense" else found

    def precision(self, X: RowsLike, y: Any, k: int = 1) -> float:
        """Return the mean share of the top k labels that the rows have: precision at k.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        y : as for `fit`
            Labels that the model does not know count as labels that it has not found.
        k : int, default 1

        Returns
        -------
        float

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `top_k` does, and if `y` is invalid, or has strings where the model knows integers, or vice
            versa.
        """
        check_is_fitted(self, "models_")
        X, rows = self._read(X, y, reset=False)
        found = self.top_k(X, k).labels
        truth = rows.among(self.classes_)
        places = np.searchsorted(self.classes_, found)
        return float(truth[np.arange(rows.n_rows)[:, None], places].sum() / places.size)

    # -- memory -----------------------------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        """The bytes of the parameters and of the labels' buckets.

        Of classifiers that are neither linear nor neural networks, the bytes of their pickles count.
        """
        check_is_fitted(self, "models_")
        return self.buckets_.nbytes + sum(map(parameter_bytes, leaves_of(self.models_)))

    @property
    def full_nbytes(self) -> int | None:
        """The bytes of the parameters of one such classifier that has an output for each label.

        None for classifiers that are neither linear nor neural networks.
        """
        check_is_fitted(self, "models_")
        leaves = [leaf for leaf in leaves_of(self.models_) if leaf is not None]
        if not leaves:
            return None
        return full_bytes(leaves[0], self.classes_.size)

    @property
    def n_confused(self) -> int:
        """The number of labels that share all their buckets with another label, and always its estimates."""
        check_is_fitted(self, "models_")
        return confused_labels(self.buckets_)

    def _is_binary(self) -> bool:
        check_is_fitted(self, "models_")
        return self.form_ == "one" and self.classes_.size == 2


publish("mergesketch", __all__, globals())
