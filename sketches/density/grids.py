"""Random grids of cells, each shifted and perhaps rotated at random."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import CPU, Backend
from ...lsh.support.lazy import lazy
from ...lsh.support.random import normal, random_uint64, uniform
from ..kernels import grid

__all__ = ["Grids"]

#: Distance from 0, in cells, up to which rows are accepted. Beyond it a cell may not fit 32-bit integers.
_FARTHEST = 2.0**30
#: Numbers that are worth a thread of their own.
_THREAD_BLOCK = 1 << 16


class Grids:
    """Grids of cells of one size. A cell is the vector of codes ``floor(x_j / width_j + shift_j)``.

    Parameters
    ----------
    n_features, n_grids : int
    width : float or list of n_features floats
        Width of the cells, for all features or for each.
    rotate : bool
        True to rotate each grid at random.
    seed : int
    """

    def __init__(
        self, n_features: int, width: float | list[float], n_grids: int, *, rotate: bool, seed: int
    ) -> None:
        self.n_features, self.width, self.n_grids = n_features, width, n_grids
        self.rotate, self.seed = rotate, seed

    @property
    def n_drawn(self) -> int:
        """The number of random parameters."""
        return self.n_grids * self.n_features * (self.n_features if self.rotate else 1)

    @lazy
    def widths(self) -> NDArray[np.float64]:
        """Return the width of a cell in each feature."""
        return np.broadcast_to(np.asarray(self.width, dtype=np.float64), (self.n_features,)).copy()

    @lazy
    def shifts(self) -> NDArray[np.float64]:
        """Return the shift of each grid, shape (n_grids, n_features), in cells."""
        shape = (self.n_grids, self.n_features)
        return uniform(self.seed, "DensitySketch shifts", math.prod(shape)).reshape(shape)

    @lazy
    def rotations(self) -> NDArray[np.float64]:
        """Return the rotation of each grid, shape (n_grids, n_features, n_features), or none."""
        d = self.n_features
        if not self.rotate:
            return np.empty((0, d, d))
        numbers = normal(self.seed, "DensitySketch rotations", self.n_grids * d * d)
        # The signs of R's diagonal make the orthogonal matrix uniformly distributed (Mezzadri 2007). LAPACKs
        # may differ in their last bits, and then cells would differ between machines. Rounding removes these
        # bits, and a map this near to orthogonal keeps volumes to 1e-6.
        q, r = np.linalg.qr(numbers.astype(np.float64).reshape(-1, d, d))
        signed = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
        return np.ascontiguousarray(np.round(signed * 2.0**24) / 2.0**24)

    @lazy
    def words(self) -> NDArray[np.uint64]:
        """Return the random word of each grid, with which the keys of its cells are hashed."""
        return random_uint64(self.seed, "DensitySketch grids", self.n_grids)

    @property
    def farthest(self) -> float:
        """The number of widths from 0 within which rows must lie."""
        return _FARTHEST / (math.sqrt(self.n_features) if self.rotate else 1.0)

    def check_reach(self, backend: Backend, rows: NDArray[np.float64]) -> None:
        """Raise ValueError if a row lies too far from 0."""
        xp = backend.xp
        far = xp.abs(rows).max(axis=0) / backend.constant(self.widths) if len(rows) else xp.zeros(1)
        if not bool((far <= self.farthest).all()):
            j = int(far.argmax())
            raise ValueError(
                f"X must lie within {self.farthest:g} widths of 0, got {float(far[j]):g} in column {j}; "
                "use wider cells or centre the data"
            )

    def rows_within_reach(self, backend: Backend, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the places of the rows that do not lie too far from 0."""
        widths = backend.xp.abs(rows) / backend.constant(self.widths)
        return backend.xp.flatnonzero((widths <= self.farthest).all(axis=1))

    def find_cells(
        self, backend: Backend, rows: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        """Return the cells of rows, and their keys: those of one row in all grids, then those of the next.

        Returns
        -------
        cells : ndarray of shape (n n_grids, n_features), int32
        keys : ndarray of shape (n n_grids,), uint64
        """
        n, r, d = len(rows), self.n_grids, self.n_features
        cells, keys = backend.xp.empty((n, r, d), np.int32), backend.xp.empty(n * r, np.uint64)
        flat, grids = cells.reshape(-1, d), np.empty(0, dtype=np.int32)
        frames, words, kernels = (self.rotations, self.shifts, self.widths), self.words, backend.kernels(grid)

        def find(a: int, b: int) -> None:
            kernels.grid_cells(rows, *frames, a, b, cells)
            kernels.grid_keys(flat, words, grids, a * r, b * r, keys)

        backend.map_blocks(find, n, max(1, _THREAD_BLOCK // (r * d)))
        return flat, keys

    def check_cells(self, name: str, keys: NDArray[np.uint64], numbers: Any, cells: Any) -> None:
        """Raise ValueError if arrays of stored cells do not fit together; `numbers` count grids from 1."""
        if bool((numbers <= 0).any()) or bool((numbers > self.n_grids).any()):
            raise ValueError(f"{name}_repetitions must be from 1 to {self.n_grids}, then 0")
        expected, grids = np.empty(keys.size, dtype=np.uint64), numbers - np.int32(1)
        CPU.kernels(grid).grid_keys(np.ascontiguousarray(cells), self.words, grids, 0, keys.size, expected)
        if not np.array_equal(keys, expected):
            raise ValueError(f"{name}_keys must be the keys of {name}_cells")
        if bool((keys[1:] <= keys[:-1]).any()):
            raise ValueError(f"{name}_keys must rise")

    def points(
        self, backend: Backend, grids: NDArray[np.int32], places: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return points, shape (n, n_features), at places in grids: cells plus shares of a cell."""
        constant = backend.constant
        points: NDArray[np.float64] = (places - constant(self.shifts)[grids]) * constant(self.widths)
        if self.rotate:
            rotations = constant(self.rotations)
            for r in range(self.n_grids):
                here = grids == r
                points[here] = points[here] @ rotations[r]
        return points
