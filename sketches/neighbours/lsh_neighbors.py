"""Approximate nearest neighbours as a transformer of scikit-learn: the graph of neighbours of rows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse, vstack
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ...lsh.family import HashFamily
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.estimator import SketchEstimator, seed_of, validated
from .index import LSHIndex, Nearest
from .row_search import RowSearch, plan_search

__all__ = ["LSHNeighbors"]

#: The metrics by the names of scikit-learn, and the names of the families' metrics.
_METRICS = {"euclidean": "euclidean", "manhattan": "cityblock", "cosine": "angle", "jaccard": "jaccard"}
_MODES = ("distance", "connectivity")

#: What a radius of angles is widened by, so that rows at that cosine distance are within it after rounding.
_ROUNDING = 1e-12


class LSHNeighbors(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SketchEstimator):  # type: ignore[misc]
    """Find approximate nearest neighbours of rows, and return their graph as a sparse matrix.

    It can replace `KNeighborsTransformer`, or with `radius` `RadiusNeighborsTransformer`, before estimators
    that take a precomputed graph of distances: `DBSCAN`, `TSNE`, `KNeighborsClassifier`, `Isomap`, UMAP.

    Parameters
    ----------
    n_neighbors : int, default 5
        Number of neighbours of a row.
    radius : float, optional
        If it is given, `transform` returns all neighbours within this distance, and not `n_neighbors` ones.
    mode : {"distance", "connectivity"}, default "distance"
        The values of the graph that `transform` returns: distances, or ones.
    metric : {"euclidean", "manhattan", "cosine", "jaccard"}, default "euclidean"
        "cosine" is 1 minus the cosine, as in scikit-learn. For "jaccard" a row is the set of the columns
        that are not 0, and rows may be sparse; the distance is 1 minus the Jaccard similarity.
    recall : float, default 0.9
        Share of the neighbours that is to be found, in (0, 1).
    family : "auto" or HashFamily, default "auto"
        The family of the index, of the same metric: `PStable`, for "cosine" `SignedRandomProjection` or
        `CrossPolytope`, for "jaccard" `MinHash`. "auto" chooses it and all numbers from the rows.
    random_state : int, RandomState or None, default 0
        Seed of the index and of the sample of rows.

    Attributes
    ----------
    sketch_ : LSHIndex
        The index of the rows. The id of a row is its number.
    n_probes_ : int
        Number of buckets that a query reads in each table of the index. 0 if queries are compared with all
        rows.
    n_samples_fit_ : int
        Number of rows.
    effective_metric_ : str
        The metric that the estimator was fitted for.
    n_features_in_ : int
    feature_names_in_ : ndarray
        If `X` had names of columns.

    Notes
    -----
    `fit` finds the neighbours of 256 rows exactly. Their distances determine the tables (`suggest`). Then
    the number of probes is doubled until the index finds a share `recall` of these neighbours, and a standard
    error more. If 256 probes do not suffice, queries are compared with all rows, which is exact. With
    ``family="auto"`` this is also done where it costs less: if there are fewer than 4,096 rows, or if a query
    would read half as many ids as there are rows. The recall holds for queries like the rows, and for
    `n_neighbors` (or `radius`) as it was when the estimator was fitted.

    Distances are exact. If the index finds fewer than `n_neighbors` rows, the query is compared with all
    rows. So every row of the graph has `n_neighbors` entries, in the order of distances. With `radius`,
    neighbours that the index does not find are left out.

    `fit` keeps a copy of `X`. A read-only array of floats in C order, such as an `np.memmap` that was opened
    with ``mode="r"``, is kept as it is. The index takes a few times the memory of the rows. Two estimators
    merge into the one that is fitted to the rows of both, at the cost of that fit.

    References
    ----------
    - Indyk, Motwani. Approximate nearest neighbors: towards removing the curse of dimensionality. STOC 1998.
    - Lv, Josephson, Wang, Charikar, Li. Multi-probe LSH: efficient indexing for high-dimensional similarity
      search. VLDB 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import LSHNeighbors
    >>> from sklearn.cluster import DBSCAN
    >>> from sklearn.pipeline import make_pipeline
    >>> X = np.random.default_rng(0).normal([[0.0, 0.0], [9.0, 9.0]], 1.0, (500, 2, 2)).reshape(-1, 2)
    >>> clusters = make_pipeline(LSHNeighbors(radius=1.5), DBSCAN(eps=1.5, metric="precomputed"))
    >>> labels = clusters.fit_predict(X)
    >>> bool((labels[0::2] == labels[0]).mean() > 0.95), bool((labels[1::2] == labels[1]).mean() > 0.95)
    (True, True)
    """

    _must_agree = ("effective_metric_",)

    sketch_: LSHIndex
    n_samples_fit_: int
    n_probes_: int
    effective_metric_: str
    _search: RowSearch

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        radius: float | None = None,
        mode: str = "distance",
        metric: str = "euclidean",
        recall: float = 0.9,
        family: Any = "auto",
        random_state: Any = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.mode = mode
        self.metric = metric
        self.recall = recall
        self.family = family
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.metric == "jaccard"
        return tags

    def fit(self, X: RowsLike, y: Any = None) -> Self:
        """Index rows, whose neighbours are found afterwards.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Sparse for metric="jaccard" only.
        y : ignored

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter or the rows are invalid. An estimator that was fitted before stays as it was.
        """
        k, radius, recall, metric = self._check_parameters()
        seed = seed_of(self.random_state)
        with self._restored_if_it_raises():
            # The caller may change a writable array later.
            is_fixed = isinstance(X, np.ndarray) and not X.flags.writeable
            rows = self._read_rows(X, metric, copy=not is_fixed, reset=True)
            self._plan(rows, k, radius, recall, metric, seed)
        return self

    def _check_parameters(self) -> tuple[int, float | None, float, str]:
        """Return `n_neighbors`, the radius in the units of the family, `recall` and the metric."""
        k = check_int("n_neighbors", self.n_neighbors, 1)
        metric = check_choice("metric", self.metric, _METRICS)
        radius = None if self.radius is None else self._check_radius(self.radius, metric)
        check_choice("mode", self.mode, _MODES)
        recall = check_real("recall", self.recall, 0.0, 1.0)
        family = self.family
        if isinstance(family, HashFamily):
            if family.metric != _METRICS[metric]:
                raise ValueError(
                    f"family must have the metric {_METRICS[metric]!r} for metric={metric!r}, got "
                    f"{family.metric!r}"
                )
        elif not (isinstance(family, str) and family == "auto"):
            raise TypeError(f'family must be "auto" or a HashFamily, got {family!r}')
        return k, radius, recall, metric

    def _plan(self, X: Any, k: int, radius: float | None, recall: float, metric: str, seed: int) -> None:
        """Set all fitted attributes."""
        family = None if isinstance(self.family, str) else self.family
        search = plan_search(X, _METRICS[metric], k=k, radius=radius, recall=recall, family=family, seed=seed)
        self._search, self.sketch_, self.n_probes_ = search, search.sketch, search.n_probes
        self.n_samples_fit_, self.effective_metric_ = X.shape[0], metric

    def _merge_parts(self, parts: tuple[Any, ...]) -> None:
        k, radius, recall, metric = self._check_parameters()
        rows = [self._search.rows, *(part._search.rows for part in parts)]
        X = vstack(rows, format="csr") if issparse(rows[0]) else np.vstack(rows)
        self._plan(X, k, radius, recall, metric, self.sketch_.seed)

    @property
    def _n_features_out(self) -> int:
        return self.n_samples_fit_

    # -- neighbours -----------------------------------------------------------------------------------

    @overload
    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: Literal[True] = True
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...
    @overload
    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, *, return_distance: Literal[False]
    ) -> NDArray[np.int64]: ...
    def kneighbors(self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True) -> Any:
        """Return the nearest of the fitted rows for each query.

        Parameters
        ----------
        X : array_like of shape (n, n_features), optional
            Queries, by default the fitted rows. A fitted row is then not its own neighbour.
        n_neighbors : int, optional
            By default that of the estimator.
        return_distance : bool, default True

        Returns
        -------
        distances : ndarray of shape (n, n_neighbors), float64
            Only with `return_distance`. In rising order.
        ids : ndarray of shape (n, n_neighbors), int64
            The numbers of the rows.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If the estimator is not fitted, the queries are invalid, or there are fewer rows than neighbours.
        """
        check_is_fitted(self, "sketch_")
        k = check_int("n_neighbors", self.n_neighbors if n_neighbors is None else n_neighbors, 1)
        queries, own = self._queries(X)
        most = self.n_samples_fit_ - own
        if k > most:
            raise ValueError(
                f"n_neighbors must be at most {most}, the number of rows that can be neighbours, got {k}; "
                f"n_samples_fit = {self.n_samples_fit_}, n_samples = {queries.shape[0]}"
            )
        found = self._search.nearest(queries, k + own)
        if own:
            found = _without_own(found)
        return (self._distances(found.distances), found.ids) if return_distance else found.ids

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> Any:
        """Return the graph of the nearest fitted rows of each query.

        Parameters
        ----------
        X : array_like of shape (n, n_features), optional
            As for `kneighbors`.
        n_neighbors : int, optional
            As for `kneighbors`.
        mode : {"connectivity", "distance"}, default "connectivity"
            The values of the graph: ones or distances.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, n_samples_fit), float64
            The entries of a row are in the order of distances.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `kneighbors` does.
        """
        check_choice("mode", mode, _MODES)
        distances, ids = self.kneighbors(X, n_neighbors)
        values = distances.ravel() if mode == "distance" else np.ones(ids.size)
        offsets = np.arange(len(ids) + 1) * ids.shape[1]
        return csr_matrix((values, ids.ravel(), offsets), shape=(len(ids), self.n_samples_fit_))

    @overload
    def radius_neighbors(
        self, X: Any = None, radius: float | None = None, return_distance: Literal[True] = True
    ) -> tuple[NDArray[Any], NDArray[Any]]: ...
    @overload
    def radius_neighbors(
        self, X: Any = None, radius: float | None = None, *, return_distance: Literal[False]
    ) -> NDArray[Any]: ...
    def radius_neighbors(
        self, X: Any = None, radius: float | None = None, return_distance: bool = True
    ) -> Any:
        """Return the fitted rows within a distance of each query.

        Parameters
        ----------
        X : array_like of shape (n, n_features), optional
            Queries, by default the fitted rows. A fitted row is then not its own neighbour.
        radius : float, optional
            By default that of the estimator.
        return_distance : bool, default True

        Returns
        -------
        distances : ndarray of shape (n,) of float64 arrays
            Only with `return_distance`. In rising order.
        ids : ndarray of shape (n,) of int64 arrays
            The numbers of the rows.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If the estimator is not fitted, the queries are invalid, or there is no radius.
        """
        offsets, ids, distances = self._within(X, radius)
        rows = [slice(a, b) for a, b in pairwise(offsets.tolist())]
        columns = []
        for values in (distances, ids) if return_distance else (ids,):
            column = np.empty(len(rows), dtype=object)
            column[:] = [values[row] for row in rows]
            columns.append(column)
        return tuple(columns) if return_distance else columns[0]

    def radius_neighbors_graph(
        self, X: Any = None, radius: float | None = None, mode: str = "connectivity"
    ) -> Any:
        """Return the graph of the fitted rows within a distance of each query.

        Parameters
        ----------
        X : array_like of shape (n, n_features), optional
            As for `radius_neighbors`.
        radius : float, optional
            As for `radius_neighbors`.
        mode : {"connectivity", "distance"}, default "connectivity"
            The values of the graph: ones or distances.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, n_samples_fit), float64
            The entries of a row are in the order of distances.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `radius_neighbors` does.
        """
        check_choice("mode", mode, _MODES)
        offsets, ids, distances = self._within(X, radius)
        values = distances if mode == "distance" else np.ones(ids.size)
        return csr_matrix((values, ids, offsets), shape=(offsets.size - 1, self.n_samples_fit_))

    def transform(self, X: RowsLike) -> Any:
        """Return the graph of neighbours of queries among the fitted rows.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, n_samples_fit), float64
            The entries of a row are in the order of distances. With ``mode="distance"`` and without `radius`
            there are `n_neighbors` + 1 entries, because a fitted row is its own nearest neighbour.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `kneighbors` does.
        """
        check_is_fitted(self, "sketch_")
        if self.radius is not None:
            return self.radius_neighbors_graph(X, mode=self.mode)
        k = check_int("n_neighbors", self.n_neighbors, 1)
        return self.kneighbors_graph(X, k + (self.mode == "distance"), self.mode)

    def fit_transform(self, X: RowsLike, y: Any = None) -> Any:
        """Fit, and return the graph of the rows; see `transform`.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        y : ignored

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, n), float64

        Raises
        ------
        TypeError, ValueError
            As `fit` and `transform` do.
        """
        return self.fit(X).transform(X)

    def _queries(self, X: Any) -> tuple[Any, int]:
        """Return checked queries, and 1 if they are the fitted rows, otherwise 0."""
        if X is None:
            return self._search.rows, 1
        return self._read_rows(X, self.effective_metric_, copy=False, reset=False), 0

    def _read_rows(self, X: Any, metric: str, *, copy: bool, reset: bool) -> Any:
        """Return checked rows: a dense matrix, or for "jaccard" a sparse one of ones."""
        options: dict[str, Any] = {"dtype": [np.float64, np.float32], "order": "C", "reset": reset}
        if metric != "jaccard":
            return validated(self, X, copy=copy, **options)
        sets = csr_matrix(validated(self, X, accept_sparse="csr", copy=issparse(X), **options))
        sets.sum_duplicates()
        sets.eliminate_zeros()
        sets.data = np.ones_like(sets.data)
        return sets

    def _within(
        self, X: Any, radius: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return where the neighbours of each query begin, their ids and their distances."""
        check_is_fitted(self, "sketch_")
        given = self.radius if radius is None else radius
        if given is None:
            raise ValueError("radius must be given to the estimator or to the call, got None")
        queries, own = self._queries(X)
        limits = np.full(queries.shape[0], self._check_radius(given, self.effective_metric_))
        counts, (ids, distances) = self._search.within(queries, limits)
        if own:
            owners = np.repeat(np.arange(queries.shape[0]), counts)
            others = ids != owners
            counts, ids, distances = (
                np.bincount(owners[others], minlength=queries.shape[0]),
                ids[others],
                distances[others],
            )
        return np.append(0, np.cumsum(counts)), ids, self._distances(distances)

    def _distances(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return distances in the metric of the estimator."""
        return 2.0 * np.sin(distances / 2.0) ** 2 if self.effective_metric_ == "cosine" else distances

    @staticmethod
    def _check_radius(radius: Any, metric: str) -> float:
        """Return the radius in the units of the family."""
        radius = check_real("radius", radius, 0.0, math.inf, closed=True)
        if metric != "cosine":
            return radius
        return 2.0 * math.asin(min(1.0, math.sqrt(radius / 2.0))) * (1.0 + _ROUNDING)


def _without_own(found: Nearest) -> Nearest:
    """Return the neighbours of the fitted rows without the rows themselves.

    Of rows that are equal, a row may not be among its own nearest. Then the farthest neighbour is left out.
    """
    own = found.ids == np.arange(len(found.ids))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = len(found.ids), found.ids.shape[1] - 1
    return Nearest(found.ids[~own].reshape(shape), found.distances[~own].reshape(shape))


publish("mergesketch", __all__, globals())
