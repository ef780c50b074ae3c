"""Probability densities from counted cells of random grids, and synthetic rows drawn from them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.hashing.keys import hash_keys
from ...lsh.inputs.arrays import check_array, check_dense
from ...lsh.inputs.weights import check_weights
from ...lsh.support.backend import backend_of, refuse_gpu
from ...lsh.support.checks import check_flag, check_generator, check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.random import normal, random_uint64, uniform
from ...lsh.support.types import RowsLike
from ..core.base import StateSpec
from ..core.guard import check_interrupt, uninterrupted
from ..counts.key_table import KeyTable
from ..kernels import counting, grid
from .cell_sample import (
    SAMPLE,
    add_cells,
    count_held,
    count_held_cells,
    estimate_n_cells,
    find_keys,
    sample_layout,
)
from .grid_width import choose_widths

__all__ = ["DensitySketch"]

#: Numbers of cells that are worked on at a time.
_BLOCK = {"cpu": 1 << 19, "gpu": 1 << 26}
#: Cells farther from 0 than this are refused: shifted and rounded they are still 32-bit integers.
_FARTHEST = 2.0**30
_BINS = ("bin_keys", "bin_repetitions", "bin_cells")
#: Cells without rows that the table is asked for, to know its errors.
_N_EMPTY = 1 << 13
#: Times the table's root mean square error, above which an estimate tells that a cell has rows.
_TOLD = 4.0
#: The largest error of an integral that is passed over in silence.
_INTEGRAL_ERROR = 0.05


class DensitySketch(KeyTable):
    """Density of real vectors and synthetic vectors like them, from counters alone.

    Parameters
    ----------
    n_features : int
        d below.
    width : float or array of n_features floats
        Of the cells, for all features or for each; a public choice, not learnt from the data that is
        taken in. `for_sample` finds it from a sample.
    n_repetitions : int, default 8
        Grids R, each shifted at random. Densities are averaged over them.
    n_rows, n_buckets : int
        Of the Count-Sketch table that counts the cells of all grids.
    max_bins : int
        H below: cells that are kept by name, H of the heaviest and H of all.
    rotate : bool, default False
        Rotate each grid at random too, which makes the kernel all but round. It needs one width for all
        features, and d times the time.
    seed : int, default 0
        In [0, 2**64). Only sketches of one seed merge.

    Attributes
    ----------
    total : int
        The sum of the weights of all rows, N below.

    Notes
    -----
    A bin is a cell of a grid, the vector of codes ``floor(x_j / width_j + shift_j)``; its density is
    count / (N volume), averaged over grids (Desai, Coleman and Shrivastava 2021, "Density sketches for
    sampling and estimation"). General p-stable hashes cut space into polytopes, whose volumes must be
    estimated and in which points are drawn by hit-and-run walks; cells of grids are boxes, also in a
    rotated frame, and both are exact.

    Over random shifts the estimate is unbiased for the kernel density of the rows x under the product of
    triangular kernels

        k(q - x) = prod over j of max(0, 1 - |q_j - x_j| / width_j) / width_j

    With B = 1 / volume its variance is at most ``B density / R`` from the shifts (a cell's density is
    between 0 and B).

    **Cells by name.** A sample of H cells, those whose keys hash to the least values, is kept with exact
    counts; it depends on no order. While fewer than H cells have rows in all, it holds every one of them:
    then densities are those of the counted cells and the table is not asked. Beyond, it errs: by
    c sqrt(F2 / n_buckets) or more only if half the rows of the table do, each with probability 1/c**2 (see
    `CountSketch`), where F2 is the sum of all squared counts, at most R N**2. These errors have mean 0,
    also in cells without rows, so densities come out below 0 as often as above where no row is near; they
    are not cut off, for what is left would integrate to more than 1. `table_error` and `integral_error`
    tell how large they are.

    **Samples.** Cells whose estimated count exceeds ``R N / H``, of which there are at most H, are kept by
    name too. Synthetic rows are drawn by their counts from the cells of more than ``2 R N / H`` (or 4 times
    the table's error, if that is more), and for the other cells from those of them in the sample of all:
    no part of the data is left out. A heavy cell has as large a share in one of any two parts, so it is
    kept in that part and found by the merge: what is drawn from does not depend on order, batches, or
    merges, save where the table errs by half the threshold. Two sketches compare equal if their tables and
    samples are equal and they have the same heavy cells.

    A row takes R d additions and R n_rows counters; memory is
    ``4 n_rows n_buckets + 8 H (d + 4)`` bytes, more if counters pass 2**31.

    References
    ----------
    - Desai, Coleman, Shrivastava. Density sketches for sampling and estimation. arXiv, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> X = np.random.default_rng(0).normal(size=(20_000, 2))
    >>> monday = mergesketch.DensitySketch(2, 0.5).update(X[:10_000])
    >>> tuesday = mergesketch.DensitySketch(2, 0.5).update(X[10_000:])
    >>> sketch = monday | tuesday
    >>> sketch.density([[0.0, 0.0], [9.0, 9.0]]).round(2)  # of the normal distribution, 0.16 and 0
    array([0.15, 0.  ])
    >>> sketch.sample(5000, random_state=0).std(axis=0).round(1)
    array([1., 1.])
    """

    _gpu = True
    _parameters = (
        "n_features",
        "width",
        "n_repetitions",
        "n_rows",
        "n_buckets",
        "max_bins",
        "rotate",
        "seed",
    )

    def __init__(
        self,
        n_features: int,
        width: ArrayLike,
        *,
        n_repetitions: int = 8,
        n_rows: int = 5,
        n_buckets: int = 1 << 16,
        max_bins: int = 1 << 16,
        rotate: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(n_rows, n_buckets, seed)
        self.n_features = check_int("n_features", n_features, 1, 1 << 16)
        self.n_repetitions = check_int("n_repetitions", n_repetitions, 1, 1 << 16)
        self.max_bins = check_int("max_bins", max_bins, 1, 1 << 28)
        self.rotate = check_flag("rotate", rotate)
        self.width: float | list[float] = _check_width(width, self.n_features)
        if self.rotate:
            if isinstance(self.width, list):
                raise ValueError("width must be one number with rotate=True, got one for each feature")
            if self.n_repetitions * self.n_features**2 > 1 << 24:
                raise ValueError(
                    f"rotations of n_repetitions * n_features**2 numbers must be at most {1 << 24}, got "
                    f"{self.n_repetitions * self.n_features**2}"
                )

    @classmethod
    def for_sample(cls, X: RowsLike, *, n_expected: int | None = None, **parameters: Any) -> Self:
        """A sketch, still empty, whose widths suit rows like those of a sample.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            At least 8 rows, of which up to 1,000 are used. They are not taken in.
        n_expected : int, optional
            Rows that the sketch will take in; as many as the sample has by default. More rows allow
            narrower cells.
        **parameters
            As the class takes them, all but `n_features` and `width`.

        Returns
        -------
        DensitySketch

        Raises
        ------
        TypeError, ValueError
            If `X` is no matrix of finite numbers, has too few rows or a column without spread.

        Notes
        -----
        Widths are in proportion to the features' standard deviations; the factor is the one with the least
        estimated integrated squared error of the triangular kernel density (least-squares
        cross-validation: Rudemo 1982, Bowman 1984), among fractions of the one that is best for
        normal data (Scott 1992), and scaled to `n_expected` by the rate ``n**(-1 / (d + 4))``.

        Examples
        --------
        >>> import numpy as np
        >>> import mergesketch
        >>> X = np.random.default_rng(0).normal(size=(1000, 2)) * [1, 100]
        >>> np.round(mergesketch.DensitySketch.for_sample(X, n_expected=100_000).width, 1)
        array([ 0.4, 41.6])
        """
        refuse_gpu("for_sample", X)
        sample = check_dense(X)
        rotate = parameters.get("rotate", False)
        n = len(sample) if n_expected is None else check_int("n_expected", n_expected, 1, 1 << 62)
        return cls(sample.shape[1], choose_widths(sample, n, one=bool(rotate)), **parameters)

    def _layout(self) -> dict[str, StateSpec]:
        n = self.max_bins
        return {
            **super()._layout(),
            "bin_keys": StateSpec((n,), "uint64", "bins"),
            # The number of the grid from 1 on; 0 for a place that is free.
            "bin_repetitions": StateSpec((n,), "int32", "bins"),
            "bin_cells": StateSpec((n, self.n_features), "int32", "bins"),
            **sample_layout(n, self.n_features),
        }

    @lazy
    def _widths(self) -> NDArray[np.float64]:
        return np.broadcast_to(np.asarray(self.width, dtype=np.float64), (self.n_features,)).copy()

    @property
    def _n_drawn(self) -> int:
        return self.n_repetitions * self.n_features * (self.n_features if self.rotate else 1)

    @lazy
    def _shifts(self) -> NDArray[np.float64]:
        shape = (self.n_repetitions, self.n_features)
        return uniform(self.seed, "DensitySketch shifts", math.prod(shape)).reshape(shape)

    @lazy
    def _rotations(self) -> NDArray[np.float64]:
        d = self.n_features
        if not self.rotate:
            return np.empty((0, d, d))
        numbers = normal(self.seed, "DensitySketch rotations", self.n_repetitions * d * d)
        # The signs of R's diagonal make the orthogonal matrix uniformly distributed (Mezzadri 2007). LAPACKs
        # may differ in their last bits, and so may cells by machines: rounding leaves no bit to differ
        # on, and a map this near to orthogonal keeps volumes to 1e-6.
        q, r = np.linalg.qr(numbers.astype(np.float64).reshape(-1, d, d))
        signed = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
        return np.ascontiguousarray(np.round(signed * 2.0**24) / 2.0**24)

    @lazy
    def _grid_words(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "DensitySketch grids", self.n_repetitions)

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike, weights: ArrayLike | None = None) -> Self:
        """Take in a batch of rows.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Finite, and within 2**30 widths of 0 (with `rotate`, over sqrt(n_features)).
        weights : array of n integers, optional
            How often each row counts, 0 or more; 1 by default.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the rows are no matrix of such numbers, or the weights negative, no integers or of another
            length.
        OverflowError
            If a 64-bit counter could wrap. Nothing is changed when an exception is raised.
        """
        X = self._check_rows(X, "X")
        backend = self._backend
        xp = backend.xp
        far = xp.abs(X).max(axis=0) / backend.constant(self._widths) if len(X) else xp.zeros(1)
        if not bool((far <= self._farthest).all()):
            j = int(far.argmax())
            raise ValueError(
                f"X must lie within {self._farthest:g} widths of 0, got {float(far[j]):g} in column {j}; "
                "use wider cells or centre the data"
            )
        self._settle("weights", weights)
        checked, magnitude = check_weights("weights", weights, len(X), minimum=0)
        with uninterrupted():
            self._reserve("counts", magnitude * self.n_repetitions)
            self._reserve("total", magnitude)
            self._reserve("n_updates", len(X))
            with self._restored_on_failure() if len(X) > self._block_size else nullcontext():
                for start, stop in self._blocks(len(X)):
                    part = checked[start:stop]
                    cells, keys = self._hash(X, start, stop)
                    check_interrupt()
                    repeated = xp.repeat(part, self.n_repetitions) if part.size else part
                    undo = -repeated if part.size else xp.full(keys.size, -1, np.int64)
                    numbers = (xp.arange(keys.size) % self.n_repetitions + 1).astype(np.int32)
                    sample = add_cells(backend, self._arrays, keys, numbers, cells, repeated)
                    self._add(backend.kernels(counting).count_sketch_add, keys, repeated)
                    self._record_batch(stop - start, part)
                    try:
                        self._note(cells, keys)
                    except BaseException:
                        # Of a single block there is no copy to go back to.
                        self._add(backend.kernels(counting).count_sketch_add, keys, undo)
                        self._record_batch(start - stop, -part)
                        raise
                    self._arrays.update(sample)
        return self

    def _check_rows(self, X: Any, name: str) -> NDArray[np.float64]:
        self._settle(name, X)
        return check_dense(X, self.n_features, name).astype(np.float64, copy=False)

    @property
    def _farthest(self) -> float:
        return _FARTHEST / (math.sqrt(self.n_features) if self.rotate else 1.0)

    @property
    def _block_size(self) -> int:
        return max(1, _BLOCK[self.device] // (self.n_repetitions * self.n_features))

    def _blocks(self, n: int) -> Iterator[tuple[int, int]]:
        block = self._block_size
        return ((start, min(n, start + block)) for start in range(0, n, block))

    def _hash(
        self, X: NDArray[np.float64], start: int, stop: int
    ) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        """Cells of the rows [start, stop) in each grid, a row's grids one after the other, and their keys."""
        backend, rows, n = self._backend, X[start:stop], stop - start
        cells = backend.xp.empty((n, self.n_repetitions, self.n_features), dtype=np.int32)
        keys = backend.xp.empty(n * self.n_repetitions, dtype=np.uint64)
        flat, own = cells.reshape(-1, self.n_features), np.empty(0, dtype=np.int32)
        frames = (self._rotations, self._shifts, self._widths)
        r, words = self.n_repetitions, self._grid_words

        def run(a: int, b: int) -> None:
            backend.kernels(grid).grid_cells(rows, *frames, a, b, cells)
            backend.kernels(grid).grid_keys(flat, words, own, a * r, b * r, keys)

        backend.map_blocks(run, n, max(1, (1 << 16) // (r * self.n_features)))
        return flat, keys

    def _add(self, kernel: Any, keys: NDArray[np.uint64], weights: NDArray[np.int64]) -> None:
        table, words = self._arrays["counts"], self._words
        # A thread owns whole rows of the table, so that no two add into one counter.
        block = 1 if self.device == "cpu" else self.n_rows
        self._backend.map_blocks(lambda a, b: kernel(keys, weights, words, a, b, table), self.n_rows, block)

    # -- the cells kept by name -------------------------------------------------------------------

    def _threshold(self, times: int) -> int:
        return times * self.n_repetitions * self.total // self.max_bins

    @staticmethod
    def _used(arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        used = int((arrays["bin_repetitions"] != 0).sum())
        return [arrays[name][:used] for name in _BINS]

    def _estimate(self, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
        keys = self._backend.xp.ascontiguousarray(keys)
        return self._ask(keys, self._backend.kernels(counting).count_sketch_query, np.float64)

    def _note(self, cells: NDArray[np.int32], keys: NDArray[np.uint64]) -> None:
        """Keep those cells of a batch that are heavy enough."""
        xp = self._backend.xp
        places = xp.flatnonzero(self._estimate(keys) > self._threshold(1))
        places = places[find_keys(self._backend, self._used(self._arrays)[0], keys[places]) < 0]
        _, first = xp.unique(keys[places], return_index=True)
        places = places[first]
        repetitions = (places % self.n_repetitions + 1).astype(np.int32)
        self._keep(keys[places], repetitions, cells[places])

    def _keep(self, *records: NDArray[Any]) -> None:
        """Add cells to those kept, drop the ones that are too light now, order by key."""
        xp = self._backend.xp
        joined = [xp.concatenate(pair) for pair in zip(self._used(self._arrays), records, strict=True)]
        # Of two cells with one key, which never is, the lexicographically smaller one stays.
        columns = [joined[2][:, j] for j in range(self.n_features - 1, -1, -1)]
        order = xp.argsort(joined[0], kind="stable")
        keys = joined[0][order]
        if bool((keys[1:] == keys[:-1]).any()):
            order = _lexsort(xp, *columns, joined[1], joined[0])
            keys = joined[0][order]
            order = order[xp.append(xp.ones(1, bool), keys[1:] != keys[:-1])]
        estimates = self._estimate(joined[0][order])
        heavy = estimates > self._threshold(1)
        order, estimates = order[heavy], estimates[heavy]
        if order.size > self.max_bins:
            largest = _lexsort(xp, joined[0][order], -estimates)[: self.max_bins]
            order = order[xp.sort(largest)]
        kept = [values[order] for values in joined]
        for name, values in zip(_BINS, kept, strict=True):
            array = self._arrays[name]
            array[: order.size] = values
            array[order.size :] = 0

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        if reduction == "bins":
            # The table is merged before: cells are kept by the merged counts.
            self._keep(*self._used(theirs))
            return
        held = count_held(theirs)
        joined = add_cells(self._backend, ours, *(theirs[name][:held] for name in SAMPLE))
        for name, array in joined.items():
            ours[name][...] = array

    def _heavy(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Grids, cells and counts of the heavy cells, in the order of their keys."""
        keys, repetitions, cells = (
            (self._arrays[name][: count_held(self._arrays)] for name in SAMPLE[:3])
            if self._all_named()
            else self._used(self._arrays)
        )
        counts = self._count(keys)
        heavy = counts > self._threshold(2)
        return repetitions[heavy] - np.int32(1), cells[heavy], counts[heavy]

    def _heavy_keys(self) -> NDArray[np.uint64]:
        keys = self._used(self._arrays)[0]
        return keys[self._estimate(keys) > self._threshold(2)]

    # -- what is known of cells -------------------------------------------------------------------

    def _all_named(self) -> bool:
        """Tell whether the sample holds every cell that has a row, so that the table is not needed."""
        return not self._arrays["sample_counts"][-1]

    def _count(self, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
        """The counts of cells: exact if all are known by name, and from the table if not."""
        if self._all_named():
            return count_held_cells(self._backend, self._arrays, keys)
        return self._estimate(keys)

    def _table_noise(self) -> float:
        """The root mean square of what the table says of cells without rows; 0 if it is not needed."""
        if self._all_named():
            return 0.0
        found = self._estimate(hash_keys(self._backend.xp.arange(_N_EMPTY, dtype=np.uint64), self.seed))
        # One more, for where none of these is hit others may be.
        return math.sqrt((float((found**2).sum()) + 1.0) / _N_EMPTY)

    def _drawn_from(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Grids, cells and weights of what samples are drawn from.

        All cells by their counts if all are known by name. If not, the cells that the table tells from
        its noise by their estimates, and the others by those of them in the sample of all cells.
        """
        held = count_held(self._arrays)
        keys, grids, cells, counts = (self._arrays[name][:held] for name in SAMPLE)
        weights, grids = counts.astype(np.float64), grids - np.int32(1)
        if self._all_named():
            return grids, cells, weights
        xp = self._backend.xp
        told = max(float(self._threshold(2)), _TOLD * self._table_noise())
        light = self._estimate(keys) <= told
        names, repetitions, boxes = self._used(self._arrays)
        estimates = self._estimate(names)
        heavy = estimates > told
        rest = max(0.0, float(self.total * self.n_repetitions) - float(estimates[heavy].sum()))
        weights = weights[light]
        if weights.size:
            weights *= rest / float(weights.sum())
        return (
            xp.concatenate([repetitions[heavy] - np.int32(1), grids[light]]),
            xp.concatenate([boxes[heavy], cells[light]]),
            xp.concatenate([estimates[heavy], weights]),
        )

    # -- answers ----------------------------------------------------------------------------------

    def _mean_counts(self, X: Any) -> NDArray[np.float64]:
        self._check_seen("density")
        X = self._check_rows(X, "X")
        backend = self._backend
        xp = backend.xp
        out = xp.zeros(len(X))
        # Where no row can be, the density is 0.
        near = xp.flatnonzero((xp.abs(X) / backend.constant(self._widths) <= self._farthest).all(axis=1))
        for start, stop in self._blocks(near.size):
            rows = near[start:stop]
            _, keys = self._hash(xp.ascontiguousarray(X[rows]), 0, rows.size)
            out[rows] = self._count(keys).reshape(-1, self.n_repetitions).mean(axis=1)
        return out

    def _check_seen(self, name: str) -> None:
        if self.total == 0:
            raise ValueError(f"{name} needs a sketch of total weight above 0, got 0")

    @property
    def log_volume(self) -> float:
        """Logarithm of the volume of a cell."""
        return float(np.log(self._widths).sum())

    def log_density(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the logarithm of `density`, which does not overflow in tiny cells.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64
            -inf where the estimate is not above 0.

        Raises
        ------
        TypeError, ValueError
            As `density` does.

        Warns
        -----
        UserWarning
            If the table errs by more than half of what a row's own cells hold on the average: the message
            names the sizes that it takes.
        """
        counts = self._mean_counts(X)
        self._warn_of_noise()
        with np.errstate(divide="ignore"):
            logarithms: NDArray[np.float64] = self._backend.xp.log(self._backend.xp.maximum(counts, 0.0))
        return logarithms - (math.log(self.total) + self.log_volume)

    def density(self, X: RowsLike) -> NDArray[np.float64]:
        """Return estimated densities, without bias: below 0 where the table errs by more than they are.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64
            Infinite where it overflows, in tiny cells: see `log_density`.

        Raises
        ------
        TypeError, ValueError
            If `X` is no matrix of finite numbers of the right width, or nothing was taken in.

        Warns
        -----
        UserWarning
            As `log_density` does, and if `integral_error` is above 0.05: then an integral over the whole box
            of the rows, empty as most of it may be, need not come near 1.
        """
        counts, xp = self._mean_counts(X), self._backend.xp
        if not self._warn_of_noise() and (error := self.integral_error) > _INTEGRAL_ERROR:
            self._warn(
                f"the integral of the density over the box of the rows errs by {error:.2g}",
                (error / _INTEGRAL_ERROR) ** 2,
                3,
            )
        with np.errstate(divide="ignore", over="ignore"):
            size = xp.exp(xp.log(xp.abs(counts)) - (math.log(self.total) + self.log_volume))
        return xp.where(counts < 0, -size, size)

    def _warn_of_noise(self) -> bool:
        """Say so if single densities are all but noise."""
        noise, held = self._table_noise() / math.sqrt(self.n_repetitions), self._arrays["sample_counts"]
        # A row's cell has the count c with a probability in proportion to c.
        typical = float((held.astype(np.float64) ** 2).sum()) / float(held.sum())
        told = noise <= 0.5 * typical
        if not told:
            self._warn(
                f"the table errs by {noise:.2g} rows a cell, where rows lie in cells of {typical:.2g}",
                (2.0 * noise / typical) ** 2,
                4,
            )
        return not told

    def _warn(self, what: str, times: float, level: int) -> None:
        """Say what the size of the table does not allow; `times` its buckets would."""
        warnings.warn(
            f"{what}: about {self.n_cells} cells have rows; max_bins={math.ceil(1.1 * self.n_cells)} keeps "
            f"all by name, without error, or n_buckets={math.ceil(self.n_buckets * times)} is enough for "
            f"the table, or wider cells; got max_bins={self.max_bins}, n_buckets={self.n_buckets}",
            stacklevel=level,
        )

    @property
    def n_cells(self) -> int:
        """Different cells that have rows, of all grids: exact up to `max_bins`, estimated beyond."""
        return estimate_n_cells(self._arrays)

    @property
    def table_error(self) -> float:
        """Standard error that the table adds to a `density`; 0 while `n_cells` is below `max_bins`.

        It is the same at all points, and independent from one to another that lie in different cells.
        """
        self._check_seen("table_error")
        noise = self._table_noise() / math.sqrt(self.n_repetitions)
        with np.errstate(over="ignore"):
            return float(noise * np.exp(-(math.log(self.total) + self.log_volume))) if noise else 0.0

    @property
    def integral_error(self) -> float:
        """Standard error, from the table, of the integral of `density` over the box that holds the rows.

        Each of the V cells of that box adds the error of its count, so the error is
        ``table_error volume sqrt(V)``: far more than that of a single density where most of the box is
        empty. 0 while `n_cells` is below `max_bins`. The box is that of the cells which are kept by name.
        """
        self._check_seen("integral_error")
        noise = self._table_noise()
        if not noise:
            return 0.0
        held, xp = count_held(self._arrays), self._backend.xp
        cells = self._arrays["sample_cells"][:held]
        sides = (cells.max(axis=0) - cells.min(axis=0)).astype(np.float64) + 1.0
        # One box for all grids: unless they are rotated, their cells differ by one at most.
        n_cells = float(xp.exp(xp.minimum(xp.log(sides).sum(), 600.0)))
        return noise * math.sqrt(n_cells / self.n_repetitions) / self.total

    @property
    def n_bins(self) -> int:
        """Heavy cells, of all grids: those of more than ``2 R N / max_bins`` rows, by the table."""
        return self._heavy()[0].size

    @property
    def coverage(self) -> float:
        """Estimated share of the rows that lie in the heavy cells; NaN without rows.

        Of the other rows samples are drawn from the sample of cells: see the notes.
        """
        if self.total == 0:
            return math.nan
        return float(min(1.0, self._heavy()[2].sum() / (self.total * self.n_repetitions)))

    def sample(self, n: int, *, random_state: Any = None) -> NDArray[np.float64]:
        """Draw synthetic rows.

        Parameters
        ----------
        n : int
        random_state : int, numpy.random.Generator or None
            For `numpy.random.default_rng`. On a GPU the same seed gives other rows, of the same
            distribution.

        Returns
        -------
        ndarray of shape (n, n_features), float64
            Each uniform in a cell, drawn in proportion to its count: exactly so while `n_cells` is below
            `max_bins`; beyond, light cells are represented by the sample of cells, and what is
            drawn errs as a random sample of so many cells does.

        Raises
        ------
        TypeError, ValueError
            If `n` is no such number, or nothing was taken in.
        """
        n = check_int("n", n, 0, 1 << 48)
        backend = self._backend
        xp, constant = backend.xp, backend.constant
        generator = check_generator("random_state", random_state)
        self._check_seen("sample")
        repetitions, cells, counts = self._drawn_from()
        if self.device == "cpu":
            drawn = generator.choice(counts.size, size=n, p=counts / counts.sum())
            inside = generator.random((n, self.n_features))
        else:
            # Random numbers are made where they are needed: hashes of their places.
            seed = int(generator.integers(2**64, dtype=np.uint64))
            words = hash_keys(xp.arange(n * (1 + self.n_features), dtype=np.uint64), seed) >> np.uint64(11)
            uniform = words.astype(np.float64) * 2.0**-53
            drawn = xp.searchsorted(xp.cumsum(counts) / counts.sum(), uniform[:n], side="right")
            drawn = xp.minimum(drawn, counts.size - 1)
            inside = uniform[n:].reshape(n, self.n_features)
        grids = repetitions[drawn]
        places = cells[drawn] + inside - constant(self._shifts)[grids]
        points: NDArray[np.float64] = places * constant(self._widths)
        if self.rotate:
            rotations = constant(self._rotations)
            for r in range(self.n_repetitions):
                here = grids == r
                points[here] = points[here] @ rotations[r]
        return points

    # -- state ------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DensitySketch):
            return False if isinstance(other, KeyTable) else NotImplemented
        if self.config() != other.config():
            return False
        ours, theirs = self._on_cpu(), other._on_cpu()
        exact = ("counts", "total", "n_updates", *SAMPLE)
        if not all(np.array_equal(ours._arrays[name], theirs._arrays[name]) for name in exact):
            return False
        # Keys tell grids and cells, and tables of equal counters their counts. With all cells in the sample
        # nothing asks for the heavy ones.
        return ours._all_named() or np.array_equal(ours._heavy_keys(), theirs._heavy_keys())

    __hash__ = None  # type: ignore[assignment]

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if arrays["total"][0] < 0:
            raise ValueError(f"total must be at least 0, got {arrays['total'][0]}")
        self._check_cells("bin", *self._used(arrays))
        held, counts = count_held(arrays), arrays["sample_counts"]
        most = self.n_repetitions * int(arrays["total"][0])
        if bool((counts < 0).any()) or bool((counts[:held] == 0).any()) or bool((counts > most).any()):
            raise ValueError(f"sample_counts must be from 1 to {most}, then 0")
        counted = sum(counts[:held].tolist())
        if counted > most or (held < counts.size and counted < most):
            # While there are places, every cell that has rows is held.
            raise ValueError(
                f"sample_counts must have a sum of {most}, or less if no place is empty, got {counted}"
            )
        self._check_cells("sample", *(arrays[name][:held] for name in SAMPLE[:3]))

    def _check_cells(self, name: str, keys: Any, repetitions: Any, cells: Any) -> None:
        if bool((repetitions <= 0).any()) or bool((repetitions > self.n_repetitions).any()):
            raise ValueError(f"{name}_repetitions must be from 1 to {self.n_repetitions}, then 0")
        expected = np.empty(keys.size, dtype=np.uint64)
        grids = repetitions - np.int32(1)
        backend_of(keys).kernels(grid).grid_keys(
            np.ascontiguousarray(cells), self._grid_words, grids, 0, keys.size, expected
        )
        if not np.array_equal(keys, expected):
            raise ValueError(f"{name}_keys must be the keys of {name}_cells")
        if bool((keys[1:] <= keys[:-1]).any()):
            raise ValueError(f"{name}_keys must rise")


def _lexsort(xp: Any, *columns: Any) -> Any:
    """As NumPy's, of which CuPy's takes columns of one dtype only: the last column counts most."""
    order = xp.argsort(columns[0], kind="stable")
    for column in columns[1:]:
        order = order[xp.argsort(column[order], kind="stable")]
    return order


def _check_width(width: Any, n_features: int) -> float | list[float]:
    refuse_gpu("a width", width)
    given = check_array("width", width)
    shape = given.shape
    if shape == ():
        return check_real("width", width, 0.0, math.inf)
    if shape != (n_features,):
        raise ValueError(f"width must be a number or of shape ({n_features},), got shape {shape}")
    return [check_real(f"width[{j}]", w, 0.0, math.inf) for j, w in enumerate(given)]
