"""The choice of the grids and codes of `LossAwareGrid`, given the inputs' second moments."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of
from ...lsh.support.threads import map_blocks
from ..kernels import grid_fitting as kernels

__all__ = [
    "GRIDS",
    "Feedback",
    "Fitted",
    "expand_grids",
    "feedback",
    "fit_rows",
    "importances_of",
    "pack_codes",
]

#: The kinds of grids.
GRIDS = ("free", "affine")
#: The share of the mean diagonal entry that is added to the diagonal of the moments.
_DAMPING = 0.01
#: The least importance of a weight, of which the largest is 1.
_LEAST = 2.0**-40
#: Weights that are worth a thread of their own.
_WEIGHTS_BLOCK = 1 << 15


class Fitted(NamedTuple):
    """The grids of rows and the code of each weight."""

    grids: NDArray[np.float32]
    codes: NDArray[np.uint8]


class Feedback(NamedTuple):
    """The importance and the correction of each column of the weights, from the moments of the inputs.

    Attributes
    ----------
    factor : ndarray of shape (d, d)
        Row i says by how much the columns after i move for each unit of error of column i: the upper Cholesky
        factor of the inverse of the moments, over its diagonal.
    inverse : ndarray of shape (d,)
        The diagonal of the inverse.
    """

    factor: NDArray[np.float64]
    inverse: NDArray[np.float64]


def feedback(moments: NDArray[np.float64]) -> Feedback:
    """Return the feedback of the damped moments; ValueError unless these are positive definite."""
    mean = float(np.trace(moments)) / len(moments)
    # If all inputs are 0, every column counts alike.
    scaled = moments / abs(mean) + _DAMPING * np.eye(len(moments)) if mean else np.eye(len(moments))
    try:
        # With H = R @ R.T and R upper triangular, the inverse of H is U.T @ U with U the inverse of R.
        reversed_factor = np.linalg.cholesky(scaled[::-1, ::-1])
    except np.linalg.LinAlgError:
        raise ValueError(
            "calibration must be sums of products of rows, got a sketch from which more was subtracted than "
            "was added"
        ) from None
    upper = np.triu(np.linalg.inv(reversed_factor[::-1, ::-1]))
    return Feedback(upper / np.diagonal(upper)[:, None], np.square(upper).sum(axis=0))


def importances_of(inverse: NDArray[np.float64], p: float) -> NDArray[np.float64]:
    """Return the importance of each column of weights, of which the largest is 1."""
    return np.maximum((inverse.min() / inverse) ** p, _LEAST)


def expand_grids(grids: NDArray[Any], grid: str, n_points: int) -> NDArray[np.float32]:
    """Return the table of the points of each grid, shape (n_rows, n_points)."""
    if grid == "free":
        return grids
    # Points are computed in float64 and rounded once, so that they are the same on every device.
    steps = backend_of(grids).xp.arange(n_points, dtype=np.float64)
    wide = grids.astype(np.float64)
    table: NDArray[np.float32] = (wide[:, :1] + wide[:, 1:] * steps).astype(np.float32)
    return table


def fit_rows(
    weights: NDArray[np.float64], moments: NDArray[np.float64], bits: int, p: float, grid: str
) -> Fitted:
    """Return the grids and codes of rows of weights, which are overwritten."""
    factor, inverse = feedback(moments)
    importances = importances_of(inverse, p)
    n_rows, n_columns = weights.shape
    n_points = 1 << bits
    grids = np.zeros((n_rows, n_points if grid == "free" else 2), np.float32)
    codes = np.zeros((n_rows, n_columns), np.uint8)

    def fit(start: int, stop: int) -> None:
        ours, our_grids = weights[start:stop], grids[start:stop]
        if grid == "free":
            order = np.argsort(ours, axis=1, kind="stable")
            ordered = np.take_along_axis(ours, order, axis=1)
            kernels.place_free_grids(ordered, importances[order], 0, stop - start, our_grids)
        else:
            kernels.place_affine_grids(ours, importances, n_points, 0, stop - start, our_grids)
        tables = expand_grids(our_grids, grid, n_points)
        kernels.quantize_rows(ours, factor, tables, 0, stop - start, codes[start:stop])

    map_blocks(fit, n_rows, max(1, _WEIGHTS_BLOCK // n_columns))
    return Fitted(grids, codes)


def pack_codes(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Return rows of codes in `bits` bits each, eight codes in `bits` bytes; rows are padded to eight."""
    n_rows, n_columns = codes.shape
    packed = np.zeros((n_rows, -(-n_columns // 8) * bits), np.uint8)

    def pack(start: int, stop: int) -> None:
        part = codes[start:stop]
        planes = np.zeros((stop - start, 8 * packed.shape[1] // bits, bits), np.uint8)
        for bit in range(bits):
            planes[:, :n_columns, bit] = part >> bit & 1
        packed[start:stop] = np.packbits(planes.reshape(stop - start, -1), axis=1, bitorder="little")

    map_blocks(pack, n_rows, max(1, _WEIGHTS_BLOCK // n_columns))
    return packed
