"""Launchers of ``grid.cu``, the twins of ``sketches/kernels/grid.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, constant, launch

__all__ = ["grid_cells", "grid_keys"]


def grid_cells(X: Any, rotations: Any, shifts: Any, widths: Any, start: int, stop: int, cells: Any) -> None:
    check_array("X", X, np.float64, shape=(None, None))
    (n, d), R = X.shape, shifts.shape[0]
    check_array("cells", cells, np.int32, shape=(n, R, d))
    frames = (constant(rotations), np.bool_(rotations.size > 0), constant(shifts), constant(widths))
    launch("grid", "grid_cells", (stop - start) * R, X, d, *frames, R, start, stop, cells)


def grid_keys(cells: Any, words: Any, repetitions: Any, start: int, stop: int, keys: Any) -> None:
    check_array("cells", cells, np.int32, shape=(None, None))
    check_array("keys", keys, np.uint64, shape=(cells.shape[0],))
    given = repetitions.size > 0
    if given:
        check_array("repetitions", repetitions, np.int32, shape=keys.shape)
    how = (constant(words), words.size, constant(repetitions), np.bool_(given), start, stop, keys)
    launch("grid", "grid_keys", stop - start, cells, cells.shape[1], *how)
