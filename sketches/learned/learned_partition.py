"""An index whose buckets are learned: items that the same queries ask for share buckets of equal size."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ...lsh.support.aliases import alias
from ...lsh.support.backend import read_only
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ...lsh.support.wording import counted
from ..core.guard import changing, uninterrupted
from ..core.state import Arrays
from .partition_fit import METRICS, assign, item_scores, learn_partition, nearest_of_sample
from .partition_models import RowScale, ScaledRows, draw_order, read_right_items, row_scale, scaled
from .partition_queries import PartitionQueries
from .partition_state import MODEL_ARRAYS

__all__ = ["LearnedPartition"]

#: Items for each bucket, and their share in the K fullest buckets, from which `fit` warns.
_ENOUGH, _COLLAPSED = 4, 0.95


class LearnedPartition(PartitionQueries):
    """Find items for queries in buckets that are learned from examples (learning to index, IRLI).

    Parameters
    ----------
    n_features : int
        Number of columns of queries.
    n_buckets : int
        Number B of buckets of each repetition. A query that probes m buckets of R repetitions reads about
        ``R m n_items / B`` entries.
    n_repetitions : int, default 4
        Number R of partitions, each of which has a network of its own.
    n_choices : int, default 2
        Number K of buckets that an item may go to: it goes to the least loaded of its K best. More choices
        give more equal loads, and buckets that predict items less well.
    n_hidden : int, default 128
        Hidden units of a network.
    n_rounds : int, default 8
        How often the items are put into buckets anew, each time after the networks were trained. At the end,
        they are trained once more.
    n_epochs : int, default 2
        Passes over the queries in each training.
    learning_rate : float, default 0.05
        Step of the gradient descent (Adagrad), in (0, 1000).
    seed : int, default 0
        Seed of the first partitions, the first networks and all orders, in [0, 2**64).

    Attributes
    ----------
    is_fitted : bool
    buckets : ndarray of shape (n_items, n_repetitions), int32
        The bucket of each item in each repetition, in the order of ids.
    ids : ndarray of shape (n_items,), int64
        The ids of items, rising.
    loads : ndarray of shape (n_repetitions, n_buckets), int64
        The number of items in each bucket.
    n_updates : int
        Number of items, which `len` returns, too.
    nbytes : int
        Bytes of the networks and of the buckets of items.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Every repetition begins with a random partition of the items. Then two steps alternate. First, a network
    with one hidden layer learns to predict, from a query, how its right items are distributed over the
    buckets (softmax and cross-entropy; the paper has a logistic loss for each bucket). Then each item goes to
    the least loaded of the K buckets with the largest scores. The score of a bucket is the sum of its
    probabilities over the queries that the item is right for, or, for near neighbours, its probability for
    the item's own row; divided by the mean of its probabilities over all queries. (The paper does not divide.
    Without it, buckets that contain very frequent labels are the best of nearly all items.) Items go one
    after the other, in a random order, and loads begin with 0 in each round.

    Networks see rows less the means of their columns in the fit, where a mean is larger than the standard
    deviation, and divided by the root mean square length of the rows then, or by twice their median length
    if that is less. Rows that are more than 8 long afterwards are shortened. So a common offset of rows, as
    of pixels or temperatures, changes nothing but rounding, and a few far rows matter little.

    A query probes the m most probable buckets of each repetition. Candidates are the items in them, or those
    that are there in at least `min_count` repetitions.

    **Cost**: a pass over the queries takes about ``2 H (s + 1.5 B)`` multiplications for a query of s
    numbers that are not 0, where H is `n_hidden`, for each repetition. A query takes ``R H (s + B)``, and
    reads its buckets. The networks take ``4 R H (n_features + B)`` bytes, and an item ``4 R``, and 8 more if
    you pass ids; queries keep inverted lists of ``8 R`` bytes an item. Results do not depend on the number
    of threads.

    **Laws.** Parts merge that have the same networks: those that begin with `empty_like` of one fitted
    partition, or with copies of its file. Merging takes the union of the buckets, so it is associative, and
    with ids commutative; an empty part is neutral; the candidates of the whole are those of the parts, and,
    with ids, remove undoes insert. (Items that have no ids have them after a removal.) Inserting items in
    several calls is the same as in one. But parts that are built apart do not know the loads of each other,
    so with K > 1 the merged partition may differ from one that has taken in all items: its loads are the
    sums of balanced loads. With K = 1 they are equal. Networks do not merge.

    Items that are inserted later find their buckets, but networks do not learn from them.

    References
    ----------
    - Gupta, Medini, Shrivastava, Smola. IRLI: Iterative re-partitioning for learning to index.
      arXiv:2103.09944, 2021.

    Examples
    --------
    Neighbours of rows:

    >>> import numpy as np, mergesketch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 8))[rng.integers(0, 50, 1000)] + 0.1 * rng.standard_normal((1000, 8))
    >>> index = mergesketch.LearnedPartition(n_features=8, n_buckets=20, n_repetitions=2, n_hidden=32)
    >>> index.fit_neighbors(X).search(X[:2], X, k=1, n_probes=3).ids
    array([[0],
           [1]])

    Labels of rows, which are items 0 to 4:

    >>> X, labels = np.eye(5)[np.arange(500) % 5], np.eye(5)[np.arange(500) % 5]
    >>> index = mergesketch.LearnedPartition(n_features=5, n_buckets=5, n_choices=1, seed=1).fit(X, labels)
    >>> index.query(X[:3], k=1).ids.T
    array([[0, 1, 2]])
    """

    # -- fitting ----------------------------------------------------------------------------------

    def fit(self, X: RowsLike, Y: Any, ids: ArrayLike | None = None) -> Self:
        """Learn networks and buckets from queries and their right items, in place of those that there were.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
            Queries, at least one.
        Y : array_like or sparse matrix of shape (n, n_items)
            An entry above 0 for each right item of a query, a label for instance. Its size does not matter.
        ids : array_like of n_items integers, optional
            The ids of items, distinct. By default they are the numbers of columns of `Y`.

        Returns
        -------
        The partition itself.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape or range. Nothing changes then.

        Notes
        -----
        An item that no query asks for goes to the least loaded of K random buckets.
        A UserWarning tells when nearly all items are in the same K buckets, as with a learning rate that is
        too large, or rows that are nearly equal but for a few.
        """
        rows = self._read("X", X)
        if not rows.n:
            raise ValueError("X must have at least one row, got 0")
        right = read_right_items(Y, rows.n)
        numbers = self._read_ids(ids, right.n_items)
        scale = row_scale(rows)
        given = scaled(rows, scale, "X")
        learned = learn_partition(given, right, None, self.n_repetitions, self._settings)
        return self._take_learned(learned, scale, numbers)

    def fit_neighbors(
        self,
        X: RowsLike,
        ids: ArrayLike | None = None,
        *,
        metric: str = "sqeuclidean",
        n_neighbors: int = 10,
        n_queries: int | None = None,
    ) -> Self:
        """Learn networks and buckets for the search of near neighbours, in place of those that there were.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
            The items, at least one. Sparse rows are converted to a matrix for the search of neighbours.
        ids : array_like of n integers, optional
            The ids of items, distinct. By default they are the numbers of rows.
        metric : {"sqeuclidean", "cosine", "inner_product"}
        n_neighbors : int, default 10
            The number of near neighbours that are right for a query; at most n are taken.
        n_queries : int, optional
            The number of rows that are drawn as queries. By default they are all rows.

        Returns
        -------
        The partition itself.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape or range. Nothing changes then.

        Notes
        -----
        Each query is compared with all rows, which takes ``n_queries n n_features`` operations. Offsets of
        columns are subtracted in float64, and products are float32: squared distances that differ by less
        than about 1e-6 times the largest squared length of the rows that are left may be taken for equal. A
        UserWarning is given as by `fit`.
        """
        rows = self._read("X", X)
        if not rows.n:
            raise ValueError("X must have at least one row, got 0")
        check_choice("metric", metric, METRICS)
        n_neighbors = min(check_int("n_neighbors", n_neighbors, 1, 1 << 20), rows.n)
        n_queries = rows.n if n_queries is None else check_int("n_queries", n_queries, 1, 1 << 40)
        numbers = self._read_ids(ids, rows.n)
        sample = np.sort(draw_order(self.seed, "LearnedPartition sample", rows.n)[:n_queries])
        near = nearest_of_sample(rows, metric, n_neighbors, sample)
        scale = row_scale(rows)
        own = scaled(rows, scale, "X")
        indicator = scipy.sparse.csr_array(
            (
                np.ones(near.size, np.float32),
                near.ravel(),
                np.arange(len(near) + 1) * n_neighbors,
            ),
            shape=(len(near), rows.n),
        )
        right = read_right_items(indicator, len(near))
        learned = learn_partition(_chosen(own, sample), right, own, self.n_repetitions, self._settings)
        return self._take_learned(learned, scale, numbers)

    def _take_learned(self, learned: list[Any], scale: RowScale, ids: NDArray[np.int64]) -> Self:
        models, places = zip(*learned, strict=True)
        parts = zip(*((*model.network, model.mean_probabilities) for model in models), strict=True)
        arrays: Arrays = {name: np.stack(part) for name, part in zip(MODEL_ARRAYS, parts, strict=True)}
        buckets = np.ascontiguousarray(np.stack(places, axis=1))
        new = self._without_arrays()
        arrays |= {"row_centre": scale.centre, "row_length": np.array([scale.length])}
        new._set_arrays({**new._arrays, **arrays})
        if len(buckets):
            # Rows are ordered by ids, and repeated ones are refused.
            new._append([{"buckets": buckets, "ids": ids}])
        with self._lock, changing(self), uninterrupted():
            self._set_arrays(dict(new._arrays))
        new._warn_if_collapsed()
        return self

    def _warn_if_collapsed(self) -> None:
        """Warn if nearly all items are in the buckets that one item may go to."""
        loads, n, n_choices = self._loads, len(self), self.n_choices
        if n_choices == self.n_buckets or n < _ENOUGH * self.n_buckets:
            return
        shares = np.sort(loads, axis=1)[:, -n_choices:].sum(axis=1) / n
        if (worst := int(shares.argmax())) >= 0 and shares[worst] >= _COLLAPSED:
            warnings.warn(
                f"LearnedPartition: {counted(n_choices, 'bucket')} of {self.n_buckets} in repetition {worst} "
                f"have {shares[worst]:.0%} of all items, so queries find everything or nothing there. The "
                "network has learned little: look for rows that are nearly all equal, and for a "
                "learning_rate that is too large",
                UserWarning,
                stacklevel=stacklevel_of_caller(),
            )

    # -- items ------------------------------------------------------------------------------------

    def update(self, X: RowsLike, Y: Any = None, *, ids: ArrayLike | None = None) -> Self:
        """Insert items into their buckets; the networks do not change.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
            The rows that items are; or, with `Y`, queries that they are right for.
        Y : array_like or sparse matrix of shape (n, n_items), optional
            An entry above 0 for each new item that is right for a query. Every item needs one.
        ids : array_like of integers, one for each item, optional
            Distinct, and not those of other items. Either all items have ids, or none. Without ids, items are
            numbered from 0 on.

        Returns
        -------
        The partition itself.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape or range, or if there are no networks yet. Nothing
            changes then.

        Notes
        -----
        Items go one after the other, in their order, to the least loaded of their K best buckets.
        """
        with self._lock, changing(self, beside_queries=True):
            self._check_fitted()
            rows = self._read("X", X)
            right = None if Y is None else read_right_items(Y, rows.n)
            n = rows.n if right is None else right.n_items
            if right is not None and (missing := np.bincount(right.items, minlength=n) == 0).any():
                raise ValueError(
                    f"Y must have a right item in each column, got none in column {int(missing.argmax())}"
                )
            numbers = self._read_ids(ids, n)
            scores_of = item_scores(scaled(rows, self._row_scale, "X"), right)
            buckets, loads = np.empty((n, self.n_repetitions), np.int32), self._loads
            for r in range(self.n_repetitions):
                places = np.empty(n, np.int32)
                assign(self._model(r), scores_of, np.arange(n), self.n_choices, loads[r].copy(), places)
                buckets[:, r] = places
            if n:
                self._append([{"buckets": buckets, "ids": numbers}])
        return self

    insert = alias(update)


def _chosen(rows: ScaledRows, numbers: NDArray[np.int64]) -> ScaledRows:
    """Return some of the rows."""
    indptr, indices, data = rows
    sizes = np.diff(indptr)[numbers]
    offsets = np.zeros(numbers.size + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    places = np.arange(offsets[-1]) + np.repeat(indptr[numbers] - offsets[:-1], sizes)
    return ScaledRows(read_only(offsets), read_only(indices[places]), read_only(data[places]))


publish("mergesketch", __all__, globals())
