"""Fitting one product quantizer to the rows of all ranks."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
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
    X: ArrayLike | None,
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
    X : array_like of shape (n, n_features), or None
        The rows of this rank, or None for no rows.
    weights : array_like of shape (n,) or (n, n_groups), optional
        Importance of rows, or of the groups of rows, of one shape on all ranks with rows; see
        `ProductQuantizer.fit`.
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
        given = np.zeros((0, quantizer.n_features)) if X is None else X
        rows = read_fit_rows(given, weights, feature_weights, quantizer.n_features, quantizer.n_groups)
    n_rows, n_weights = len(rows.X), rows.row_weights.shape[1]
    described = (type(quantizer).__name__, quantizer.config())
    every = comm.allgather((described, n_weights if n_rows else 0, rows.channel_weights.tobytes()))
    check_configurations([each for each, _, _ in every])
    # Weights of a rank without rows count nowhere.
    widths = sorted({width for _, width, _ in every if width})
    if len(widths) > 1:
        raise IncompatibleSketchError(f"ranks have {widths[0]} and {widths[1]} weights a row")
    if len({channels for _, _, channels in every}) > 1:
        raise IncompatibleSketchError("ranks have different feature_weights")
    if widths and not n_rows:
        rows = rows._replace(row_weights=np.zeros((0, widths[0])))
    return quantizer.fit_rows(rows, comm)
