"""Features for link prediction from Bloom signatures, as a transformer of scikit-learn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ...lsh.support.checks import check_flag, check_int
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.estimator import SketchEstimator, seed_of, validated
from .bloom_signatures import BloomSignatures

__all__ = ["LinkFeatures"]

#: Number of bits for each neighbour, at this quantile of the degrees, and the fewest and the most bits.
_BITS_A_NEIGHBOUR, _QUANTILE, _FEWEST_BITS, _MOST_BITS = 4, 0.99, 256, 8192


class LinkFeatures(TransformerMixin, SketchEstimator):  # type: ignore[misc]
    """Turn pairs of nodes of a graph into features for link prediction, such as common neighbours.

    Parameters
    ----------
    n_nodes : int, optional
        Nodes are the numbers 0 to n_nodes - 1. By default the largest node in the edges determines it.
    n_bits : "auto" or int, default "auto"
        Number of bits of a signature, a multiple of 64. "auto" takes 4 bits for each neighbour of all but the
        largest hundredth of the nodes, from 256 to 8,192 bits.
    n_hops : {1, 2}, default 1
        2 to add the features of neighbourhoods of two hops. The edges are then kept.
    edges : array of shape (n, 2) of integers, optional
        The edges of the graph. By default they are the pairs that `fit` gets.
    columns : pair of int, default (0, 1)
        The columns of `X` that contain the nodes. Other columns are ignored.
    directed : bool, default False
        True if an edge (u, v) makes only v a neighbour of u.
    random_state : int, RandomState or None, default 0
        Seed of the signatures.

    Attributes
    ----------
    sketch_ : BloomSignatures
        The signatures of the graph.
    n_hops_ : int
        The `n_hops` that it was fitted with.
    n_features_in_ : int
    feature_names_in_ : ndarray
        If `X` had names of columns.

    Notes
    -----
    `BloomSignatures.link_features` explains the features, their errors and their cost. Before a classifier,
    pass the known graph as `edges`. The classifier is then fitted to pairs with and without a link. Without
    `edges`, pairs whose `y` is 0 are no edges. A pair that is an edge of the graph has larger neighbourhoods
    than it would have without that edge, most of all with ``n_hops=2``. Pairs to be predicted have no such
    edge. So leave the pairs of the classifier out of `edges`.

    Transformers that were fitted to parts of the edges merge into that of all edges, if they have the same
    `n_nodes` and `n_bits`. So pass both to them.

    References
    ----------
    - Zhang et al. Learning scalable structural representations for link prediction with Bloom signatures. WWW
      2024.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import LinkFeatures
    >>> edges = [[0, 2], [0, 3], [1, 2], [1, 3], [1, 4]]
    >>> features = LinkFeatures().fit(edges)
    >>> names = features.get_feature_names_out().tolist()
    >>> names[:4]
    ['smaller_size', 'larger_size', 'common', 'union']
    >>> features.transform([[0, 1]])[0, :4].round(1).tolist()
    [2.0, 3.0, 2.0, 3.0]
    """

    _must_agree = ("n_hops_",)

    sketch_: BloomSignatures
    n_hops_: int
    _wider: BloomSignatures | None
    _edges: NDArray[np.int64]

    def __init__(
        self,
        *,
        n_nodes: int | None = None,
        n_bits: Any = "auto",
        n_hops: int = 1,
        edges: Any = None,
        columns: tuple[int, int] = (0, 1),
        directed: bool = False,
        random_state: Any = 0,
    ) -> None:
        self.n_nodes = n_nodes
        self.n_bits = n_bits
        self.n_hops = n_hops
        self.edges = edges
        self.columns = columns
        self.directed = directed
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, X: RowsLike, y: Any = None) -> Self:
        """Add the edges of the graph to signatures.

        Parameters
        ----------
        X : array_like of shape (n, 2 or more)
            Pairs of nodes, as integers, in the two `columns`. They are the edges unless the parameter
            `edges` is given.
        y : array_like of shape (n,), optional
            Labels of the pairs. Pairs with the label 0 are no edges.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter is invalid or rows are not pairs of nodes. An estimator that was fitted before
            stays as it was.
        """
        hops, directed = check_int("n_hops", self.n_hops, 1, 2), check_flag("directed", self.directed)
        seed = seed_of(self.random_state)
        with self._restored_if_it_raises():
            pairs = self._pairs_of(validated(self, X, dtype=None, ensure_min_features=2))
            if self.edges is not None:
                edges = _pairs("edges", np.asarray(self.edges))
            elif y is not None:
                labels = np.asarray(y).reshape(-1)
                if labels.size != len(pairs):
                    raise ValueError(f"y must have {len(pairs)} labels, one a pair, got {labels.size}")
                edges = pairs[labels != 0]
            else:
                edges = pairs
            n_nodes = self.n_nodes
            if n_nodes is None:
                n_nodes = max(int(edges.max(initial=0)), int(pairs.max(initial=0))) + 1
            n_bits = _bits(edges) if isinstance(self.n_bits, str) and self.n_bits == "auto" else self.n_bits
            sketch = BloomSignatures(n_nodes, n_bits, directed=directed, seed=seed)
            self._learn(sketch.update(edges), hops, edges)
        return self

    def _pairs_of(self, X: NDArray[Any]) -> NDArray[np.int64]:
        """Return the pairs of nodes in rows."""
        columns = self.columns
        if not isinstance(columns, (tuple, list)) or len(columns) != 2:
            raise ValueError(f"columns must be two numbers of columns of X, got {columns!r}")
        chosen = [check_int("columns", column, 0, X.shape[1] - 1) for column in columns]
        return _pairs("X", X[:, chosen])

    def _learn(self, sketch: BloomSignatures, hops: int, edges: NDArray[np.int64]) -> None:
        """Set the fitted attributes."""
        self._wider = sketch.propagate(edges) if hops == 2 else None
        # Signatures of two hops of all edges do not follow from those of parts.
        self._edges = edges if hops == 2 else edges[:0]
        self.sketch_, self.n_hops_ = sketch, hops

    def _merge_parts(self, parts: tuple[Any, ...]) -> None:
        merged = self.sketch_.copy().merge(part.sketch_ for part in parts)
        self._learn(merged, self.n_hops_, np.concatenate([self._edges, *(part._edges for part in parts)]))

    def transform(self, X: RowsLike) -> Any:
        """Return the features of pairs of nodes.

        Parameters
        ----------
        X : array_like of shape (n, 2 or more)
            Pairs of nodes, as for `fit`.

        Returns
        -------
        ndarray of shape (n, 9), float32
            13 columns for ``n_hops=2``; see `get_feature_names_out`. The order of a pair makes no difference.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If the estimator is not fitted, or rows are not pairs of nodes of the graph.

        Warns
        -----
        SaturationWarning
            If signatures have all bits set.
        """
        check_is_fitted(self, "sketch_")
        pairs = self._pairs_of(validated(self, X, dtype=None, reset=False))
        return self.sketch_.link_features(pairs, self._wider)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str objects

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        check_is_fitted(self, "sketch_")
        wider = BloomSignatures.wider_feature_names if self.n_hops_ == 2 else ()
        return np.array([*BloomSignatures.feature_names, *wider], dtype=object)


def _pairs(name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    """Return pairs of nodes as integers; floats with integral values are accepted."""
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{name} must have shape (n, 2), pairs of nodes, got {array.shape}")
    if array.dtype.kind == "O":
        array = array.astype(np.float64)  # which is exact for all numbers of nodes
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold integers, the numbers of nodes, got dtype {array.dtype}")
    with np.errstate(invalid="ignore"):
        numbers = array.astype(np.int64)
    if not np.array_equal(numbers, array):
        raise ValueError(f"{name} must hold integers, the numbers of nodes")
    if numbers.size and int(numbers.min()) < 0:
        raise ValueError(
            f"{name} must hold numbers of nodes from 0 on, got {numbers.min()}: Negative values in data"
        )
    return numbers


def _bits(edges: NDArray[np.int64]) -> int:
    """Return a number of bits that suits the degrees of most nodes."""
    degrees = np.unique(edges, return_counts=True)[1]
    typical = float(np.quantile(degrees, _QUANTILE)) if degrees.size else 0.0
    bits = int(np.clip(_BITS_A_NEIGHBOUR * typical, _FEWEST_BITS, _MOST_BITS))
    return -(-bits // 64) * 64


publish("mergesketch", __all__, globals())
