"""Kernels of randomly shifted (and rotated) grids: the cells of rows, and the 64-bit keys of cells."""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import kernel
from ...lsh.kernels.words import mix64

__all__ = ["grid_cells", "grid_keys"]


@kernel
def grid_cells(X, rotations, shifts, widths, start, stop, cells):
    """Set ``cells[i, r, j] = floor(y_j / widths[j] + shifts[r, j])``, where y is X[i] in frame r.

    Parameters
    ----------
    X : ndarray of shape (n, d), float64
        Small enough that every cell is a 32-bit integer.
    rotations : ndarray of shape (R, d, d) or (0, d, d), float64
        In the frame of grid r, y = rotations[r] @ x; without rotations y = x.
    shifts : ndarray of shape (R, d), float64
        In widths.
    widths : ndarray of shape (d,), float64
    cells : ndarray of shape (n, R, d), int32

    Notes
    -----
    Products are added up in the order of the features, whatever the number of rows. A BLAS does not promise
    this, and a row on the edge of a cell must not change its cell with the size of its batch.
    """
    d = X.shape[1]
    for i in range(start, stop):
        for r in range(shifts.shape[0]):
            for j in range(d):
                y = X[i, j]
                if rotations.shape[0]:
                    y = 0.0
                    for k in range(d):
                        y += rotations[r, j, k] * X[i, k]
                cells[i, r, j] = np.int32(math.floor(y / widths[j] + shifts[r, j]))


@kernel
def grid_keys(cells, words, repetitions, start, stop, keys):
    """Set ``keys[i]`` to the key of cell ``cells[i]`` of grid ``repetitions[i]``, for i in [start, stop).

    Parameters
    ----------
    cells : ndarray of shape (n, d), int32
    words : ndarray of shape (R,), uint64
    repetitions : ndarray of shape (n,) or (0,), int32
        Below R; if empty, i modulo R.
    keys : ndarray of shape (n,), uint64
    """
    for i in range(start, stop):
        r = repetitions[i] if repetitions.size else np.int32(i % words.size)
        key = words[r]
        for j in range(cells.shape[1]):
            key = mix64(key ^ np.uint64(np.uint32(cells[i, j])))
        keys[i] = key
