"""Classification with very many labels, of which a row trains only a few: as a scikit-learn estimator."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.public import publish
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..core.estimator import restored_if_it_raises
from .slide_batches import Examples, SparseRows
from .slide_bounds import check_rows
from .slide_network import SlideNetwork
from .slide_parameters import batch_size_of, n_epochs_of, settings_of
from .slide_ranking import all_scores
from .slide_reading import Known, read_rows, read_rows_and_labels
from .slide_search import fresh_tables, search_rows
from .slide_tables import LabelTables

__all__ = ["SlideClassifier"]

_SEARCHES = ("exact", "tables")


class SlideClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Learn rows of very many labels with a network of which each row computes a small part.

    The network has one hidden layer of rectified linear units, and an output for each label. A row computes
    only its own labels, and labels whose weights are similar to its activations, which hash tables find,
    forward and backward. The cost of a step does not grow with the number of labels.

    Parameters
    ----------
    n_hidden : int, default 128
        Number of hidden units, from 1 to 65,536.
    sparsity : float or "auto", default "auto"
        Share of the labels that a row computes beside its own, in (0, 1]. "auto" is 1 for up to 512 labels,
        and 256 labels of more. With 1 the network is trained with the full softmax.
    negatives : {"lsh", "uniform", "frequency"}, default "lsh"
        How these labels are chosen. "lsh": some are in the buckets of the row, the others are random, and all
        rows of a batch share them. "uniform": all are random. "frequency": all are random, and drawn in
        proportion to the number of rows that have them, plus 1.
    table_share : float or "auto", default "auto"
        Share of these labels that come from the tables, in [0, 1], for "lsh". "auto" is a half for up to
        32,768 labels, and an eighth for more.
    n_hashes, power : int or "auto", default "auto"
        Number of tables, and the power of their hash functions: for "signed_random_projection" the number of
        bits, and for "winner_take_all" the number of groups.
    family : {"signed_random_projection", "winner_take_all"}, default "signed_random_projection"
        The hash family of the tables.
    learning_rate : float, default 0.004
        That of Adam.
    batch_size : int or "auto", default "auto"
        Rows of a step. "auto" is 256, and in `fit` an eighth of the rows if that is fewer.
    n_epochs : int or "auto", default "auto"
        Passes over the rows of `fit`. "auto" is 5, and more if these have fewer than 1,000 steps.
    weights : {"float32", "bfloat16"}, default "float32"
        What weights are stored in. Moments are always in float32.
    rounding : {"stochastic", "nearest"}, default "stochastic"
        How a weight in bfloat16 is rounded after a step.
    rebuild_interval : int, default 50
        Steps before the tables are built for the second time. Each interval is 1.1 times as long as the one
        before.
    n_ranges : int, default 1
        Number of ranges into which the labels are cut, each with its own tables and its share of the active
        labels. Ranges may be trained on different ranks.
    random_state : int, RandomState or None, default 0
        Seed of the first weights, of the order of the rows, of tables and random labels.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,)
        The classes, or the numbers of the labels.
    is_multilabel_ : bool
        Whether a row may have several labels.
    loss_curve_ : list of float
        The mean loss of each epoch, and of each call of `partial_fit`.
    network_ : SlideNetwork
        The trained network.
    mean_labels_ : float
        Mean number of labels of the rows learnt.
    n_features_in_ : int
    feature_names_in_ : ndarray
        If `X` had names of columns.

    Notes
    -----
    The loss of a row is the cross-entropy of the softmax over its active labels; its own labels have equal
    shares of the probability. Random labels of "uniform" and "frequency" stand for all others: each counts
    as often as the inverse of its chance to be drawn. With "lsh" they do not, which learns faster to rank.

    Probabilities are only right if all labels are active (``sparsity=1``). Those of "uniform" are far too
    high for frequent labels, two to four times in a measurement; those of "frequency" were right for the
    most frequent label, but up to twice too high for rare ones; and those of "lsh" are far too low for
    frequent labels. The estimates of gradients are right in the mean, but Adam divides them by the root of
    their mean square, so rare and large gradients count for less than they should.

    Only the weights of active labels, and of the features in a batch, are read and changed. Adam's moments of
    other weights stay as they are: they do not decay. A label or a feature counts its own steps, and these
    correct the bias of its moments. If all labels are active, this is Adam as usual.

    Results do not depend on the number of threads. They may differ in the last bits between processors.

    Memory: 12 bytes for each weight, of (n_features + n_labels) n_hidden, or 10 with "bfloat16"; 4 bytes for
    each label in each table, and ``4 * n_hashes * 2**bits`` for the buckets. Time of a step: for each active
    label of a row 6 n_hidden operations; for each distinct label and feature of a batch its weights and
    moments are read and written once, 24 n_hidden bytes.

    Models do not merge: the hidden units of two networks do not correspond. `mergesketch.LSHNeighbors` and
    the sketches of this package do.

    References
    ----------
    - Chen, Medini, Farwell, Gobriel, Tai, Shrivastava. SLIDE: in defense of smart algorithms over hardware
      acceleration for large-scale deep learning systems. MLSys 2020.
    - Daghaghi, Meisburger, Zhao, Shrivastava. Accelerating SLIDE deep learning on modern CPUs: vectorization,
      quantizations, memory optimizations, and more. MLSys 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import SlideClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2000, 8000)
    >>> X = rng.standard_normal((2000, 30))[y] + 0.1 * rng.standard_normal((8000, 30))
    >>> model = SlideClassifier(n_hidden=64, n_epochs=30).fit(X[:7000], y[:7000])
    >>> bool(model.score(X[7000:], y[7000:]) > 0.8)
    True
    """

    classes_: NDArray[Any]
    is_multilabel_: bool
    loss_curve_: list[float]
    network_: SlideNetwork
    mean_labels_: float
    n_features_in_: int

    def __init__(
        self,
        n_hidden: int = 128,
        *,
        sparsity: float | str = "auto",
        negatives: str = "lsh",
        table_share: float | str = "auto",
        n_hashes: int | str = "auto",
        power: int | str = "auto",
        family: str = "signed_random_projection",
        learning_rate: float = 0.004,
        batch_size: int | str = "auto",
        n_epochs: int | str = "auto",
        weights: str = "float32",
        rounding: str = "stochastic",
        rebuild_interval: int = 50,
        n_ranges: int = 1,
        random_state: Any = 0,
    ) -> None:
        self.n_hidden = n_hidden
        self.sparsity = sparsity
        self.negatives = negatives
        self.table_share = table_share
        self.n_hashes = n_hashes
        self.power = power
        self.family = family
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.weights = weights
        self.rounding = rounding
        self.rebuild_interval = rebuild_interval
        self.n_ranges = n_ranges
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "_search_tables" in state:
            # They are built again when they are needed.
            state["_search_tables"] = (-1, [])
        return state

    # -- training -------------------------------------------------------------------------------------

    def fit(self, X: RowsLike, Y: Any, *, n_labels: int | None = None) -> Self:
        """Learn from rows and their labels, and forget what was learnt before.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
            Finite numbers. Rows of length 1 are learnt well; scale others.
        Y : array_like of shape (n,), matrix of shape (n, n_labels), or list of n lists
            Classes, one of each row; or a matrix, sparse or dense, with a one for each label of a row; or the
            ids of the labels of each row. Rows without labels are left out. A list of lists is read as ids,
            and so is a column of lists of pandas, polars or Arrow.
        n_labels : int, optional
            Number of labels, for lists of ids. By default the largest id plus 1.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter or an argument is invalid, no row has a label, or numbers are so large that the
            network might not be finite. An estimator that was fitted before stays as it was.
        """
        with restored_if_it_raises(self):
            self._fit(self._read(X, Y, None, n_labels, first=True))
        return self

    def partial_fit(self, X: RowsLike, Y: Any, classes: Any = None, *, n_labels: int | None = None) -> Self:
        """Learn from more rows, in one pass and in their order.

        The first call needs all `classes`, or for lists of ids `n_labels`. After a `fit`, it continues.

        Parameters
        ----------
        X, Y
            As for `fit`.
        classes : array_like, optional
            All classes of all calls, if `Y` is classes.
        n_labels : int, optional
            Number of labels of all calls, if `Y` is lists of ids.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As `fit`, and for a class or a label that is not among those of the first call. All of these are
            found before the first step, so the network stays as it was. Rows of which none has a label are
            accepted. If a call is interrupted from outside, the network keeps the steps until then.
        """
        first = "network_" not in vars(self)
        with restored_if_it_raises(self):
            examples = self._read(X, Y, classes, n_labels, first=first, partial=True)
            self._learn_more(examples, self._prepare(examples, first=first))
        return self

    def _read(
        self, X: Any, Y: Any, classes: Any, n_labels: int | None, *, first: bool, partial: bool = False
    ) -> Examples:
        """Return rows with their targets; the first ones decide on the classes."""
        known = None if first else Known(self.classes_, self.is_multilabel_)
        rows, targets, known = read_rows_and_labels(
            self, X, Y, classes, n_labels, known=known, partial=partial
        )
        if first:
            self.classes_, self.is_multilabel_ = known
        return Examples(rows, targets)

    def _agree(self) -> AbstractContextManager[None]:
        """Return a context that ends on all ranks alike, if the network is on several."""
        return nullcontext()

    def _fit(self, examples: Examples) -> None:
        """Make a network, and learn in several passes, each in another order."""
        self._start()
        with self._agree():
            size = batch_size_of(self, max(8, examples.n // 8))
            n_epochs = n_epochs_of(self, examples.n, size)
            if not examples.n_targets:
                raise ValueError("Y must have a label of at least one row, got none")
            self._check_steps(examples.rows, n_epochs * -(-examples.n // size))
        self._count(examples)
        for epoch in range(n_epochs):
            words = random_uint64(self.network_.settings.seed, f"slide epoch {epoch}", examples.n)
            self._learn(examples, np.argsort(words, kind="stable"), size)

    def _prepare(self, examples: Examples, *, first: bool) -> int:
        """Make a network for the first examples, check others, and return the rows of a step."""
        if first:
            self._start()
        with self._agree():
            size = batch_size_of(self, examples.n)
            self._check_steps(examples.rows, -(-examples.n // size))
        return size

    def _learn_more(self, examples: Examples, size: int) -> None:
        """Learn in one pass, in the order of the examples."""
        self._count(examples)
        self._learn(examples, np.arange(examples.n), size)

    def _start(self) -> None:
        """Make an untrained network for what `_read` has found."""
        network = self._make_network()
        with self._agree():
            self.network_ = network
            self.loss_curve_ = []
            self.mean_labels_ = 0.0
            self._n_learnt = 0
            self._search_tables: tuple[int, list[LabelTables]] = (-1, [])
            self._counts = np.zeros(len(self.classes_), np.int64)

    def _make_network(self) -> SlideNetwork:
        return SlideNetwork(settings_of(self, self.n_ranges))

    def _check_steps(self, rows: SparseRows, n: int) -> None:
        """Refuse rows with which the network might not be finite after n steps."""
        check_rows(self.network_.settings, rows, self.network_.step, n)

    def _count(self, examples: Examples) -> None:
        """Let random labels of "frequency" be as frequent as labels are in all rows so far."""
        if self.negatives == "frequency":
            self._counts = self._counts + examples.counts(len(self.classes_))
            with self._agree():
                self.network_.set_frequencies(self._counts)

    def _learn(self, examples: Examples, order: NDArray[np.int64], size: int) -> None:
        """Learn from the examples in an order, in one pass."""
        losses, n_rows = 0.0, 0
        for a, b in cut_range(0, len(order), size):
            batch = examples.take(order[a:b])
            n = int(np.count_nonzero(batch.n_targets))
            loss = self.network_.train(batch)
            if not math.isfinite(loss):
                with self._agree():
                    # The bound leaves out only roundings at random that all go the same way.
                    raise ValueError("X must be scaled, and learning_rate be low: the loss is not finite")
            losses, n_rows = losses + n * loss, n_rows + n
        self.loss_curve_ = [*self.loss_curve_, losses / max(n_rows, 1)]
        n_labels = self.mean_labels_ * self._n_learnt + examples.n_targets
        self._n_learnt += n_rows
        self.mean_labels_ = n_labels / max(self._n_learnt, 1)

    # -- predictions ----------------------------------------------------------------------------------

    def decision_function(self, X: RowsLike) -> NDArray[np.float32]:
        """Return the scores of all classes; for two classes, the second score less the first.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,) or (n, n_labels), float32

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If the estimator is not fitted, or the rows are invalid or so large that scores might not be
            finite.
        """
        scores = self._scores(X)
        is_binary = len(self.classes_) == 2 and not self.is_multilabel_
        return np.asarray(scores[:, 1] - scores[:, 0]) if is_binary else scores

    def _read_queries(self, X: Any) -> SparseRows:
        check_is_fitted(self, "network_")
        rows = read_rows(self, X, reset=False)
        self._check_steps(rows, 0)
        return rows

    def _scores(self, X: Any) -> NDArray[np.float32]:
        rows = self._read_queries(X)
        hidden = self.network_.hidden.activate(rows)
        return np.hstack([all_scores(hidden, part.layer) for part in self.network_.ranges])

    def predict_proba(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the probability of every class, by the softmax of all scores.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_labels), float64
            Rows add up to 1. For many labels `top_k_proba` takes less memory. If not all labels are active
            in training, use them to compare the labels of a row, not as probabilities: see the notes.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `decision_function`.
        """
        return np.asarray(softmax(self._scores(X).astype(np.float64), axis=1))

    def predict(self, X: RowsLike, k: int | None = None) -> Any:
        """Return the likeliest class of each row, or the likeliest labels.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        k : int, optional
            Number of labels of a row, where rows may have several. By default `mean_labels_`, rounded.

        Returns
        -------
        ndarray of shape (n,) or csr_matrix of shape (n, n_labels)
            Classes, or where rows may have several labels, a matrix with k ones in each row.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `decision_function`; or if `k` is given for classes.
        """
        check_is_fitted(self, "network_")
        if not self.is_multilabel_:
            if k is not None:
                raise ValueError(f"k must be None where each row has one class, got {k!r}")
            return self.top_k(X, 1)[:, 0]
        n_labels = len(self.classes_)
        if k is None:
            k = min(max(1, round(self.mean_labels_)), n_labels)
        best = np.sort(self.top_k(X, k), axis=1)
        bounds = np.arange(len(best) + 1) * k
        return csr_matrix((np.ones(best.size, np.int64), best.ravel(), bounds), shape=(len(best), n_labels))

    def top_k(self, X: RowsLike, k: int, *, search: str = "exact") -> NDArray[Any]:
        """Return the k likeliest classes of each row.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        k : int
            From 1 to the number of classes.
        search : {"exact", "tables"}, default "exact"
            "exact" computes all scores, in blocks of labels. "tables" only computes those of the labels in
            the buckets of a row. Rows that have fewer than k of these are compared with all.

        Returns
        -------
        ndarray of shape (n, k)
            Classes, the likeliest first. Of equal scores the first class comes first.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `decision_function`; or if there are fewer classes than `k`, or no tables.
        """
        return np.asarray(self._ranked(X, k, search, probabilities=False)[0])

    def top_k_proba(
        self, X: RowsLike, k: int, *, search: str = "exact"
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the k likeliest classes of each row, and their probabilities.

        Parameters
        ----------
        X, k, search
            As for `top_k`.

        Returns
        -------
        classes : ndarray of shape (n, k)
        probabilities : ndarray of shape (n, k), float64
            Among all classes, as by `predict_proba`; with ``search="tables"`` among those in the buckets.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `top_k`.
        """
        return self._ranked(X, k, search, probabilities=True)

    def _ranked(
        self, X: Any, k: int, search: str, *, probabilities: bool
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        check_is_fitted(self, "network_")
        k = check_int("k", k, 1, len(self.classes_))
        check_choice("search", search, _SEARCHES)
        tables = self._fresh_tables() if search == "tables" else None
        rows = self._read_queries(X)
        best, chances = search_rows(self.network_, rows, k, tables, probabilities=probabilities)
        return self.classes_[best], chances

    def _fresh_tables(self) -> list[LabelTables]:
        """Return tables of the weights as they are now, which are kept until the next step."""
        step, tables = self._search_tables
        if step != self.network_.step:
            tables = fresh_tables(self.network_.ranges)
            self._search_tables = self.network_.step, tables
        return list(tables)

    def precision_at_k(self, X: RowsLike, Y: Any, k: int = 1) -> float:
        """Return the mean share of each row's k likeliest labels that the row has.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        Y
            As for `fit`.
        k : int, default 1

        Returns
        -------
        float

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `top_k`, and as `fit` for `Y`.
        """
        check_is_fitted(self, "network_")
        targets = self._read(X, Y, None, None, first=False).targets
        best = np.searchsorted(self.classes_, self.top_k(X, k))
        if targets.n == 0:
            raise ValueError("X must have at least one row, got 0")
        return float(targets.has(best, len(self.classes_)).mean())

    def score(self, X: RowsLike, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, or precision at 1 where rows may have several labels.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        y
            As for `fit`.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows, for classes only.

        Returns
        -------
        float

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `precision_at_k`.
        """
        check_is_fitted(self, "network_")
        if not self.is_multilabel_:
            return float(super().score(X, y, sample_weight))
        if sample_weight is not None:
            raise ValueError("sample_weight must be None where rows may have several labels")
        return self.precision_at_k(X, y, 1)


publish("mergesketch", __all__, globals())
