"""`SlideClassifier` over MPI ranks: each rank has some labels and some hidden units of one network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ...lsh.inputs.weights import check_real_weights
from ...lsh.support.checks import check_choice, check_flag, check_int
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ...sketches.core.estimator import restored_if_it_raises
from ...sketches.learned.slide_batches import Examples, SparseRows, take_batch
from ...sketches.learned.slide_classifier import SlideClassifier
from ...sketches.learned.slide_parameters import is_auto, settings_of
from ...sketches.learned.slide_reading import read_rows
from ...sketches.learned.slide_targets import MOST_LABELS
from ..ranks.comm import Communicator, communicator
from .rank_labels import Labelled, common_labels, describe_labels, has_no_rows
from .rank_network import RankNetwork
from .rank_parameters import common_features, refuse_other_parameters
from .rank_ranking import rank_rows, score_rows
from .rank_rows import RankRows, no_targets

__all__ = ["DistributedSlideClassifier"]

#: Ranges of labels by default. More ranks than this have as many ranges as the next power of two.
_RANGES = 8
#: Parameters of which each rank may have its own.
_OWN = ("comm", "random_state")
_NO_ROWS = SparseRows(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))


class DistributedSlideClassifier(SlideClassifier):
    """Train and use a `SlideClassifier` whose labels and hidden units are spread over MPI ranks.

    Every method is collective: all ranks call it, with the same parameters. Each rank passes its own rows,
    or None if it has none, and gets the answers for them. Without MPI, or on one rank, the class works as
    `SlideClassifier` does, and mpi4py is not needed.

    Parameters
    ----------
    n_hidden, sparsity, negatives, table_share, n_hashes, power, family, learning_rate, batch_size, \
n_epochs, weights, rounding, rebuild_interval
        As for `SlideClassifier`.
    n_ranges : int or "auto", default "auto"
        Number of ranges into which the labels are cut. Each rank has some consecutive ranges, so if there
        are more ranks than ranges, some ranks have no labels. "auto" is 8, and for more than 8 ranks the next
        power of two; or the number of labels, if that is less.
    random_state : int, RandomState or None, default 0
        As for `SlideClassifier`. With None or a RandomState all ranks take the seed of rank 0.
    comm : mpi4py communicator or Communicator, optional
        All ranks if MPI started this process, and this process alone otherwise.

    Attributes
    ----------
    classes_, is_multilabel_, loss_curve_, mean_labels_, n_features_in_, feature_names_in_
        As those of `SlideClassifier`, the same on every rank.
    network_ : SlideNetwork
        This rank's part of the network.
    bytes_sent_ : int
        Bytes of arrays that this rank has sent to others in `fit` and `partial_fit`.

    Notes
    -----
    **Models do not depend on the number of ranks**, bit for bit, as long as `n_ranges` does not: they are
    those of ``SlideClassifier(n_ranges=8)`` with the same seed, fitted to the rows of all ranks in the order
    of ranks. Each range has its own tables and random labels, and sums over ranges are added along a binary
    tree of the ranges, wherever these are. Probabilities of `top_k_proba` may differ in the last bits.

    In a step, ranks send what the batch has touched, and no weights. For each row of a batch, all p ranks
    together send ``p - 1`` times these bytes: 4 n_hidden for the activations, 4 n_hidden for the gradients by
    the activations, 2 n_hashes for the codes, of which each rank computes some rows, about 20 for the
    normaliser of the softmax, and 8 for each entry and 4 for each label of the row (none with `shared`). If p
    is no power of two, a rank may send two parts of the gradients, and more for other `n_ranges`. A hidden
    layer with a copy on each rank would send the same bytes, in an all-reduce of the gradients by the
    activations, and each rank would store and train all of it. Training on shares of the rows with an
    all-reduce of all gradients sends ``8 (p - 1)`` bytes for each weight of the network in every step.

    Memory of a rank: a share of that of `SlideClassifier`, and ``4 * n_hashes * 2**bits`` bytes for each of
    its ranges.

    Distributed SLIDE (Yan et al.) shards a layer in the same way, with tables on each rank.

    References
    ----------
    Yan, Meisburger, Medini, Shrivastava. Distributed SLIDE: enabling training large neural networks on low
    bandwidth and simple CPU-clusters via model parallelism and sparsity. arXiv:2201.12667, 2022.

    Examples
    --------
    Under ``mpiexec -n 4`` each rank passes its share of the rows:

    >>> import numpy as np
    >>> from mergesketch.distributed import DistributedSlideClassifier, communicator
    >>> comm = communicator()
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 600, 3000)
    >>> X = rng.standard_normal((600, 30))[y]
    >>> ours = np.arange(3000) % comm.size == comm.rank
    >>> model = DistributedSlideClassifier(n_hidden=32, n_epochs=20, comm=comm).fit(X[ours], y[ours])
    >>> model.precision_at_k(X[ours], y[ours]) > 0.5
    True
    >>> whole = model.gather()  # a SlideClassifier, on every rank
    """

    bytes_sent_: int

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
        n_ranges: int | str = "auto",
        random_state: Any = 0,
        comm: Any = None,
    ) -> None:
        super().__init__(
            n_hidden,
            sparsity=sparsity,
            negatives=negatives,
            table_share=table_share,
            n_hashes=n_hashes,
            power=power,
            family=family,
            learning_rate=learning_rate,
            batch_size=batch_size,
            n_epochs=n_epochs,
            weights=weights,
            rounding=rounding,
            rebuild_interval=rebuild_interval,
            random_state=random_state,
        )
        self.n_ranges = n_ranges  # type: ignore[assignment]
        self.comm = comm

    # -- training -------------------------------------------------------------------------------------

    def fit(self, X: RowsLike | None, Y: Any, *, n_labels: int | None = None, shared: bool = False) -> Self:
        """Learn from the rows of all ranks and their labels, and forget what was learnt before.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features), or None
            The rows of this rank, or None for no rows.
        Y : array_like of shape (n,), matrix of shape (n, n_labels), or list of n lists
            As for `SlideClassifier.fit`. Ranks need not have rows of all classes.
        n_labels : int, optional
            Number of labels, for lists of ids. By default the largest id of all ranks plus 1.
        shared : bool, default False
            True if every rank passes all rows, the same ones: then no rows are sent.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        DistributedError
            On every rank, if an argument or a parameter of one of them is refused, or if they differ in
            their parameters, in the number or the names of features, in the kind of labels, or with `shared`
            in the rows. An estimator that was fitted before stays as it was. With one rank TypeError or
            ValueError, as by `SlideClassifier.fit`.
        """
        with self._unchanged_if_refused():
            self._fit(self._read_all(X, Y, None, n_labels, first=True, partial=False, shared=shared))
        return self

    def partial_fit(
        self,
        X: RowsLike | None,
        Y: Any,
        classes: Any = None,
        *,
        n_labels: int | None = None,
        shared: bool = False,
    ) -> Self:
        """Learn from more rows of all ranks, in one pass: first those of rank 0, in their order.

        Parameters
        ----------
        X, Y, shared
            As for `fit`.
        classes : array_like, optional
            All classes of all calls, if `Y` is classes: in the first call, on the ranks that have rows.
        n_labels : int, optional
            Number of labels of all calls, if `Y` is lists of ids: in the first call.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        DistributedError
            As `fit`, and on every rank for a class or a label that is not among those of the first call.
            With one rank ValueError. If a rank fails while it learns, for example because it has too little
            memory, the ranks may have learnt different batches: then the model must be fitted anew.
        """
        first = "network_" not in vars(self)
        with self._unchanged_if_refused():
            examples = self._read_all(X, Y, classes, n_labels, first=first, partial=True, shared=shared)
            size = self._prepare(examples, first=first)
        self._learn_more(examples, size)
        return self

    @contextmanager
    def _unchanged_if_refused(self) -> Iterator[None]:
        """Find the ranks, and restore the estimator if the block raises."""
        with restored_if_it_raises(self):
            self._comm: Communicator = communicator(self.comm)
            yield

    def _read_all(
        self,
        X: Any,
        Y: Any,
        classes: Any,
        n_labels: int | None,
        *,
        first: bool,
        partial: bool,
        shared: bool,
    ) -> RankRows:
        """Return the rows of all ranks; the first ones decide on the classes."""
        comm = self._comm
        with comm.agree():
            shared = check_flag("shared", shared)
            if n_labels is not None:
                n_labels = check_int("n_labels", n_labels, 1, MOST_LABELS)
            is_empty = has_no_rows(X)
            described = None
            if first and not is_empty:
                described = describe_labels(Y, classes, n_labels, partial=partial)
        if comm.size > 1:
            comm.check_same("shared", shared)
        if first:
            every = comm.allgather(described)
            with comm.agree():
                known = common_labels(every)
            if known.classes is None:
                n_labels = known.n_labels
            else:
                classes = known.classes
        with comm.agree():
            if is_empty:
                own = Examples(_NO_ROWS, no_targets(0))
            else:
                own = self._read(X, Y, classes, n_labels, first=first, partial=partial)
        features = common_features(comm, None if is_empty else self)
        if first and is_empty:
            self._take_labels(known)
            self._take_features(*features)
        return RankRows(comm, own.rows, own.targets, shared=shared)

    def _take_labels(self, known: Labelled) -> None:
        """Set on a rank without rows what the others know of the labels."""
        self.is_multilabel_ = known.classes is None
        self.classes_ = np.arange(known.n_labels or 0) if known.classes is None else known.classes

    def _take_features(self, n: int, names: list[Any] | None) -> None:
        """Set on a rank without rows what the others know of the features."""
        self.n_features_in_ = n
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    def _agree(self) -> AbstractContextManager[None]:
        return self._comm.agree()

    def _start(self) -> None:
        super()._start()
        self.bytes_sent_ = 0

    def _make_network(self) -> RankNetwork:
        """Return this rank's part of a network; the ranks must have the same parameters."""
        comm = self._comm
        with comm.agree():
            n_ranges: Any = self.n_ranges
            if is_auto(n_ranges):
                n_ranges = min(max(_RANGES, 1 << (comm.size - 1).bit_length()), len(self.classes_))
            settings = settings_of(self, n_ranges)
            own = {name: value for name, value in self.get_params(deep=False).items() if name not in _OWN}
        if self.random_state is None or isinstance(self.random_state, np.random.RandomState):
            settings = settings._replace(seed=comm.bcast(settings.seed))
        refuse_other_parameters(comm, {**own, "random_state": settings.seed})
        with comm.agree():
            return RankNetwork(settings, comm)

    def _learn(self, examples: Examples, order: NDArray[np.int64], size: int) -> None:
        before = self._comm.bytes_sent
        super()._learn(examples, order, size)
        self.bytes_sent_ += self._comm.bytes_sent - before

    # -- predictions ----------------------------------------------------------------------------------

    def _read_queries(self, X: Any) -> SparseRows:
        """Return the rows of this rank, which may be none."""
        check_is_fitted(self, "network_")
        with self._comm.agree():
            rows = _NO_ROWS if has_no_rows(X) else read_rows(self, X, reset=False)
            self._check_steps(rows, 0)
            return rows

    def _scores(self, X: Any) -> NDArray[np.float32]:
        rows = self._read_queries(X)
        return score_rows(self._part, rows)

    def _ranked(
        self, X: Any, k: int, search: str, *, probabilities: bool
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        check_is_fitted(self, "network_")
        comm = self._comm
        with comm.agree():
            k = check_int("k", k, 1, len(self.classes_))
            check_choice("search", search, ("exact", "tables"))
        if comm.size > 1:
            comm.check_same("k, search and whether probabilities are asked for", (k, search, probabilities))
        with comm.agree():
            tables = self._fresh_tables() if search == "tables" else None
        rows = self._read_queries(X)
        found = rank_rows(self._part, rows, k, tables, sums=probabilities)
        labels, scores, totals = found.labels, found.scores, found.totals
        if tables is not None:
            # Rows that have fewer than k labels in their buckets are compared with all.
            few = np.flatnonzero(found.sizes < k)
            with comm.agree():
                rest = take_batch(rows, no_targets(rows.n), few).rows
            exact = rank_rows(self._part, rest, k, None, sums=probabilities)
            labels[few], scores[few], totals[few] = exact.labels, exact.scores, exact.totals
        with comm.agree():
            chances = np.exp(scores - totals[:, None]) if probabilities else np.empty((0, k))
            return self.classes_[labels], chances

    @property
    def _part(self) -> RankNetwork:
        return cast(RankNetwork, self.network_)

    def precision_at_k(self, X: RowsLike | None, Y: Any, k: int = 1) -> float:
        """Return the mean share of each row's k likeliest labels that the row has, over all ranks' rows.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features), or None
        Y
            As for `fit`.
        k : int, default 1

        Returns
        -------
        float
            The same on every rank.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        DistributedError
            On every rank, if an argument of one of them is refused. With one rank TypeError or ValueError.
        """
        check_is_fitted(self, "network_")
        comm = self._comm
        with comm.agree():
            targets = no_targets(0)
            if not has_no_rows(X):
                targets = self._read(X, Y, None, None, first=False).targets
        best = self.top_k(cast(Any, X), k)
        with comm.agree():
            places = np.searchsorted(self.classes_, best)
            hits = int(targets.has(places, len(self.classes_)).sum())
        return self._share(hits, best.size)

    def score(self, X: RowsLike | None, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy over all ranks' rows, or precision at 1 where they may have several labels.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features), or None
        y
            As for `fit`.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows, for classes only.

        Returns
        -------
        float
            The same on every rank.

        Raises
        ------
        NotFittedError, DistributedError
            As `precision_at_k`.
        """
        check_is_fitted(self, "network_")
        comm = self._comm
        with comm.agree():
            if sample_weight is not None and self.is_multilabel_:
                raise ValueError("sample_weight must be None where rows may have several labels")
        if not any(comm.allgather(sample_weight is not None)):
            return self.precision_at_k(X, y, 1)
        predicted = self.predict(cast(Any, X))
        with comm.agree():
            is_right = predicted == column_or_1d(y) if len(predicted) else np.empty(0, np.bool_)
            weights = np.ones(len(predicted))
            if sample_weight is not None:
                weights = check_real_weights("sample_weight", sample_weight, len(predicted))
        return self._share(float(weights[is_right].sum()), float(weights.sum()))

    def _share(self, amount: float, whole: float) -> float:
        """Return the share of all ranks' amounts in the whole."""
        every = self._comm.allgather((amount, whole))
        amount, whole = sum(a for a, _ in every), sum(b for _, b in every)
        with self._comm.agree():
            if not whole:
                raise ValueError("X must have at least one row on at least one rank, got 0 rows on all ranks")
        return amount / whole

    # -- the whole model ------------------------------------------------------------------------------

    def gather(self) -> SlideClassifier:
        """Return the model of all ranks, on every rank.

        Returns
        -------
        SlideClassifier
            With its own copy of all weights, moments and tables. It can be pickled, and trained further in
            one process as it would be over the ranks.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        DistributedError
            On every rank, if one has too little memory. With one rank MemoryError.
        """
        check_is_fitted(self, "network_")
        part = self._part
        with self._comm.agree():
            given = self.get_params(deep=False)
            del given["comm"]
            model = SlideClassifier(**{**given, "n_ranges": part.settings.n_ranges})
            left_out = {*self.get_params(deep=False), "network_", "bytes_sent_", "_comm", "_search_tables"}
            learnt = {name: value for name, value in vars(self).items() if name not in left_out}
            model.__dict__.update(deepcopy(learnt))
        model.network_ = part.gather()
        if self.negatives == "frequency":
            with self._comm.agree():
                model.network_.set_frequencies(self._counts)
        return model

    def __getstate__(self) -> Any:
        if "_comm" in vars(self) and self._comm.size > 1:
            raise TypeError(f"a {type(self).__name__} cannot be pickled: pickle what its gather() returns")
        return super().__getstate__()


publish("mergesketch.distributed", __all__, globals())
