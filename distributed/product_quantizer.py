"""Fitting one product quantizer to the rows of all ranks."""

from __future__ import annotations

from typing import Any, TypeVar

from numpy.typing import ArrayLike

from ..errors import IncompatibleSketchError
from ..sketches.coding.product_quantizer import ProductQuantizer
from ..sketches.coding.product_rows import read_fit_rows
from .ranks.comm import communicator
from .ranks.merge import check_configurations

__all__ = ["fit_over_ranks"]

Q = TypeVar("Q", bound=ProductQuantizer)


def fit_over_ranks(
    quantizer: Q,
    X: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    feature_weights: ArrayLike | None = None,
    comm: Any = None,
) -> Q:
    """Fit the product quantizers of all ranks to the rows of all ranks, in place.

    Parameters
    ----------
    quantizer : ProductQuantizer
        Of one configuration on all ranks.
    X : array_like of shape (n, n_features)
        The rows of this rank, which may be none.
    weights : array_like of shape (n,) or (n, n_groups), optional
        Importance of rows, or of the groups of rows, of one shape on all ranks; see `ProductQuantizer.fit`.
    feature_weights : array_like of shape (n_features,), optional
        Importance of channels, the same on all ranks.
    comm : mpi4py communicator or Communicator, optional
        By default all ranks, if MPI started this process, and this process alone otherwise.

    Returns
    -------
    ProductQuantizer
        The quantizer itself. All ranks have the same centroids, bit for bit, and ``quantizer.fit`` with the
        rows of all ranks in one array, in the order of ranks, finds them, too.

    Raises
    ------
    DistributedError
        On every rank, if the arguments of one of them are refused. With one rank the exception itself is
        raised.
    IncompatibleSketchError
        On every rank, if configurations or feature weights differ, or some ranks have a weight for each group
        and others have not.
    ValueError
        On every rank, if there are no rows, or all weights are 0.
    TypeError
        If `comm` is none of these.

    Notes
    -----
    Ranks exchange a sample of at most 8,192 rows each, and in every step the sums of the weights, of the rows
    and of the errors of all centroids: about ``8 n_codes (n_features + n_groups)`` bytes.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> X = np.random.default_rng(0).standard_normal((500, 8))
    >>> quantizer = mergesketch.ProductQuantizer(n_features=8, n_groups=4, n_codes=4)
    >>> mergesketch.fit_over_ranks(quantizer, X).is_fitted
    True
    """
    comm = communicator(comm)
    with comm.agree():
        if not isinstance(quantizer, ProductQuantizer):
            raise TypeError(f"quantizer must be a ProductQuantizer, got {type(quantizer).__name__}")
        shape = quantizer.n_features, quantizer.n_groups
        rows = read_fit_rows(X, weights, feature_weights, *shape)
    n_weights, channels = rows.row_weights.shape[1], rows.channel_weights.tobytes()
    described = (type(quantizer).__name__, quantizer.config(), n_weights, channels)
    every = comm.allgather(described)
    check_configurations([(name, config) for name, config, _, _ in every])
    for other in every:
        if other[2] != n_weights:
            raise IncompatibleSketchError(f"ranks have {n_weights} and {other[2]} weights a row")
        if other[3] != channels:
            raise IncompatibleSketchError("ranks have different feature_weights")
    return quantizer.fit_rows(rows, comm)
