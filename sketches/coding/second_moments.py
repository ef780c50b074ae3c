"""Sums of the products of each two columns of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_dense, check_magnitude
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..core.state import StateSpec

__all__ = ["SecondMoments"]

#: The largest magnitude of a number; sums of 2**63 squares of such numbers do not overflow.
_LARGEST = 1e140
#: Rows that are converted to float64 at a time.
_ROWS = 4096


class _Batch(NamedTuple):
    """The products that a batch of rows adds, and the number of its rows."""

    n: int
    #: A matrix, or the number 0 if there are no rows.
    products: Any


class SecondMoments(MergeableSketch):
    """Sum the products of each two columns of rows: X.T @ X of all rows, in one pass.

    `LossAwareGrid` takes it as the calibration of a layer: the rows are inputs of the layer. Sketches of
    parts of the data merge, so that ranks can calibrate on different inputs.

    Parameters
    ----------
    n_features : int
        Number of columns d, from 1 to 65536. The state takes 8 d**2 bytes.

    Notes
    -----
    Sums are float64. So a merged sketch equals one of all rows up to rounding; for integers whose sums of
    products stay below 2**53 it is equal bit for bit.

    Examples
    --------
    >>> import mergesketch
    >>> moments = mergesketch.SecondMoments(2).update([[1.0, 2.0], [3.0, 0.0]])
    >>> moments.mean_products()
    array([[5., 1.],
           [1., 2.]])
    """

    _parameters = ("n_features",)

    def __init__(self, n_features: int) -> None:
        self.n_features = check_int("n_features", n_features, 1, 1 << 16)

    def _layout(self) -> dict[str, StateSpec]:
        shape = (self.n_features, self.n_features)
        return {"products": StateSpec(shape, "float64", "sum", remedy="choose fewer features")}

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if not np.isfinite(arrays["products"]).all():
            raise ValueError("products must be finite")

    def update(self, X: RowsLike) -> Self:
        """Add a batch of rows.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers of at most 1e140 in magnitude. A batch takes O(n d**2) time.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN, infinity or larger numbers, or has another width. Nothing
            changes then.
        """
        return self._take_in({"X": X})

    def _read(self, X: Any) -> _Batch:
        rows = read_rows(X, self.n_features)
        check_magnitude("X", rows.values, _LARGEST)
        products: Any = 0.0
        for start, stop in cut_range(0, rows.n, _ROWS):
            part = rows.cut(start, stop).dense.astype(np.float64, copy=False)
            products = products + part.T @ part
        return _Batch(rows.n, products)

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return {"n_updates": batch.n}

    def _add(self, batch: _Batch) -> None:
        self._arrays["products"] += batch.products

    def mean_products(self) -> NDArray[np.float64]:
        """Return the means of the products of each two columns: X.T @ X / n.

        Returns
        -------
        ndarray of shape (n_features, n_features), float64

        Raises
        ------
        ValueError
            If the sketch has no rows.
        """
        if self.n_updates <= 0:
            raise ValueError("mean_products needs a sketch with rows, got one without")
        means: NDArray[np.float64] = self._arrays["products"] / self.n_updates
        return means

    def relative_error(self, W: ArrayLike, approximation: ArrayLike) -> float:
        """Return the error of a layer's outputs if its weights are approximated, over the rows of the sketch.

        It is the sum of squares of ``X @ (W - approximation).T`` over the sum of squares of ``X @ W.T``. With
        a sketch of rows on which the layer was not calibrated it is the error that users will see.

        Parameters
        ----------
        W, approximation : array_like of shape (n_outputs, n_features)

        Returns
        -------
        float
            0 if the two are equal for these rows; infinity if `W` has no outputs but 0, and the approximation
            has others.

        Raises
        ------
        TypeError, ValueError
            If the matrices hold no finite numbers or differ in shape, or if the sketch has no rows.
        """
        refuse_gpu("relative_error", W, approximation)
        exact = check_dense(W, self.n_features, "W").astype(np.float64)
        other = check_dense(approximation, self.n_features, "approximation").astype(np.float64)
        if exact.shape != other.shape:
            raise ValueError(f"approximation must have shape {exact.shape}, got {other.shape}")
        # In units of the largest numbers, products neither overflow nor vanish; the units cancel.
        unit = _exponent(max(np.abs(exact).max(initial=0.0), np.abs(other).max(initial=0.0)))
        exact, other = np.ldexp(exact, -unit), np.ldexp(other, -unit)
        means = self.mean_products()
        means = np.ldexp(means, -_exponent(np.abs(means).max()))

        def squares(matrix: NDArray[np.float64]) -> float:
            return max(0.0, float(np.vdot(matrix @ means, matrix)))

        error, whole = squares(exact - other), squares(exact)
        if whole == 0.0:
            return math.inf if error else 0.0
        return error / whole


def _exponent(number: float) -> int:
    """Return the exponent of the power of two just above a number, and 0 for 0."""
    return math.frexp(number)[1]


publish("mergesketch", __all__, globals())
