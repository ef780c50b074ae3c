"""Soft codes: the weight of a row in every bucket of a table, from the distances to random hyperplanes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.families.srp import SignedRandomProjection
from ...lsh.inputs.rows import VectorRows
from ...lsh.support.backend import read_only
from ...lsh.support.lazy import lazy
from ..kernels import soft_collisions

__all__ = ["SoftCodes"]

#: Rows that are worth a thread of their own.
_ROWS = 64
#: Weights are multiples of this, so that sums of them are exact.
_UNIT = 2.0**-24
#: Entries of rows that are longer are scaled down to it.
_LONG = 1e100


class SoftCodes:
    """Compute softmax over all codes v of ``beta tanh(W x) . v`` for the tables of a family.

    Parameters
    ----------
    family : SignedRandomProjection
        With ``projection="gaussian"`` and known `n_features`.
    beta : float
        Finite, above 0.
    """

    def __init__(self, family: SignedRandomProjection, beta: float) -> None:
        self.family = family
        self.beta = beta

    def weights(self, rows: VectorRows) -> NDArray[np.float32]:
        """Return the weights of rows.

        Parameters
        ----------
        rows : VectorRows
            n rows.

        Returns
        -------
        ndarray of shape (n, n_hashes, 2**power), float32
            Multiples of 2**-24 that add up to 1 in each table, but for their rounding.
        """
        family, backend, n = self.family, rows.backend, rows.n
        xp, kernels = backend.xp, backend.kernels(soft_collisions)
        X, vectors = rows.dense.astype(np.float64), backend.constant(self._vectors)
        # tanh does not tell such lengths apart, and sums of longer rows would overflow.
        X = read_only(X / xp.maximum(xp.abs(X).max(axis=1, keepdims=True) / _LONG, 1.0))
        products = xp.empty((n, self._vectors.shape[1]))
        backend.map_blocks(lambda a, b: kernels.project_queries(X, vectors, a, b, products), n, _ROWS)
        # The softmax is a product over the bits. The weight of a set bit is 1 / (1 + exp(-2 beta tanh(W x))).
        bits = 0.5 + 0.5 * xp.tanh(self.beta * xp.tanh(products))
        weights: NDArray[np.float32] = xp.empty((n, family.n_hashes, family.n_buckets), np.float32)
        backend.map_blocks(lambda a, b: kernels.fill_tables(bits, a, b, weights), n, _ROWS)
        return _rounded(weights, xp)

    @lazy
    def _vectors(self) -> NDArray[np.float32]:
        """Return the family's vectors as columns: column ``k * n_hashes + h`` decides bit k of hash h."""
        return np.ascontiguousarray(self.family.vectors.T)


def _rounded(weights: NDArray[np.float32], xp: Any) -> NDArray[np.float32]:
    """Round weights from 0 to 1 to multiples of the unit. Scaling by powers of two is exact."""
    rounded: NDArray[np.float32] = xp.rint(weights * np.float32(1.0 / _UNIT))
    return rounded * np.float32(_UNIT)
