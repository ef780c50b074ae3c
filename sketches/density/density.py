"""Probability densities from counted cells of random grids, and synthetic rows drawn from them."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.hashing.keys import hash_keys
from ...lsh.inputs.answers import like
from ...lsh.inputs.arrays import check_dense
from ...lsh.support.aliases import alias
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_flag, check_generator, check_int
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from .cell_counts import CellCounts
from .cell_sample import SAMPLE
from .grid_width import check_width, choose_widths

__all__ = ["DensitySketch"]

#: The largest error of an integral of which no warning is given.
_INTEGRAL_ERROR = 0.05


class DensitySketch(CellCounts):
    """Estimate the density of real vectors, and draw synthetic vectors that are distributed like them.

    Parameters
    ----------
    n_features : int
        d below.
    width : float or array of n_features floats
        Width of the cells, for all features or for each. It is a parameter, and is not learnt from the rows.
        `for_sample` chooses it from a sample.
    n_repetitions : int, default 8
        Number of grids R, each shifted at random. Densities are averaged over them.
    n_rows, n_buckets : int
        Size of the Count-Sketch table that counts the cells of all grids.
    max_bins : int
        H below: the number of cells that are kept by name: H of the heaviest cells, and a sample of H cells.
    rotate : bool, default False
        True to rotate each grid at random too, which makes the kernel nearly round. This needs one width for
        all features, and d times the time.
    seed : int, default 0
        In [0, 2**64). Only sketches of one seed merge.

    Attributes
    ----------
    total : int
        The sum of the weights of all rows, N below.

    Notes
    -----
    A bin is a cell of a grid, the vector of codes ``floor(x_j / width_j + shift_j)``. Its density is count /
    (N volume), averaged over grids (Desai, Coleman and Shrivastava 2021, "Density sketches for sampling and
    estimation"). The cells of general p-stable hashes are polytopes; their volumes must be estimated, and
    points in them are drawn by hit-and-run walks. The cells of grids are boxes, also in a rotated frame, so
    that volumes and points are exact.

    Over random shifts the estimate is unbiased for the kernel density of the rows x under the product of
    triangular kernels

        k(q - x) = prod over j of max(0, 1 - |q_j - x_j| / width_j) / width_j

    With B = 1 / volume its variance over the shifts is at most ``B density / R`` (a cell's density is between
    0 and B).

    **Cells by name.** A sample of H cells, those whose keys have the least hashes, is kept with exact counts.
    It does not depend on any order. While fewer than H cells have rows, the sample contains all of them, and
    densities are computed from its counts. Afterwards they are computed from the table. The table errs by c
    sqrt(F2 / n_buckets) or more only if half of its rows do, each with probability 1/c**2 (see
    `CountSketch`), where F2 is the sum of all squared counts, at most R N**2. These errors have mean 0, also
    in cells without rows. So half of the densities are below 0 if no row is near. They are not set to 0,
    because densities would then integrate to more than 1. `table_error` and `integral_error` estimate the
    errors.

    **Samples.** Cells whose estimated count exceeds ``R N / H`` are kept by name too; there are at most H of
    them. Synthetic rows are drawn in proportion to counts from the cells with more than ``2 R N / H`` (or 4
    times the table's error, if that is more). For all other cells they are drawn from the lighter cells of
    the sample, so that no part of the data is left out. If the data is split into two parts, a heavy cell has
    an equal or larger share in one of them. So this part keeps the cell, and the merge finds it. So the cells
    that rows are drawn from do not depend on order, batches or merges, unless the table errs by half the
    threshold. Two sketches compare equal if their tables and samples are equal and they have the same heavy
    cells.

    A row takes R d additions and R n_rows counters. Memory is ``4 n_rows n_buckets + 8 H (d + 4)`` bytes, and
    more if counters pass 2**31.

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
        self.width: float | list[float] = check_width(width, self.n_features)
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
        """Return an empty sketch whose widths suit rows like those of a sample.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            At least 8 rows. Up to 1,000 rows are used, and none is added to the sketch.
        n_expected : int, optional
            Number of rows that will be added to the sketch, by default the number of rows in the sample. More
            rows allow narrower cells.
        **parameters
            The other parameters of the class.

        Returns
        -------
        DensitySketch

        Raises
        ------
        TypeError, ValueError
            If `X` is no matrix of finite numbers, has too few rows, or a column without spread.

        Notes
        -----
        Widths are in proportion to the features' standard deviations. The factor is a fraction of the factor
        that is best for normal data (Scott 1992): the fraction with the least estimated integrated squared
        error of the triangular kernel density (least-squares cross-validation: Rudemo 1982, Bowman 1984). It
        is scaled to `n_expected` by the rate ``n**(-1 / (d + 4))``.

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

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike, weights: ArrayLike | None = None) -> Self:
        """Add a batch of rows.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Finite numbers within 2**30 widths of 0 (with `rotate` divided by sqrt(n_features)).
        weights : array of n integers, optional
            The number of times that each row counts, 0 or more; 1 by default.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the rows are no matrix of such numbers, or the weights are negative, no integers, or of another
            length.
        OverflowError
            If a 64-bit counter could wrap. Nothing changes if an exception is raised.
        """
        return self._take_in({"X": X, "weights": weights})

    # -- answers ----------------------------------------------------------------------------------

    def _mean_counts(self, X: Any) -> NDArray[np.float64]:
        """Return the count of each row's cell, on average over the grids."""
        self._check_seen("density")
        self._claim_device("X", X)
        rows, backend, grids = self._check_rows(X), self._backend, self._grids
        out = backend.xp.zeros(len(rows))
        # The density is 0 too far from 0, where no row can be.
        near = grids.rows_within_reach(backend, rows)
        for start, stop in cut_range(0, near.size, self._block_size):
            places = near[start:stop]
            _, keys = grids.find_cells(backend, read_only(backend.xp.ascontiguousarray(rows[places])))
            out[places] = self._count(keys).reshape(-1, self.n_repetitions).mean(axis=1)
        return out

    def _check_seen(self, name: str) -> None:
        if self.total == 0:
            raise ValueError(f"{name} needs a sketch of total weight above 0, got 0")

    @property
    def log_volume(self) -> float:
        """Logarithm of the volume of a cell."""
        return float(np.log(self._grids.widths).sum())

    def log_density(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the logarithm of `density`, which does not overflow in tiny cells.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64
            The logarithm is -inf where the estimate is not above 0.

        Raises
        ------
        TypeError, ValueError
            As `density` does.

        Warns
        -----
        UserWarning
            If the table errs by more than half of the mean count of a row's cells. The message names the
            sizes that are needed.
        """
        counts = self._mean_counts(X)
        self._warn_of_noise()
        with np.errstate(divide="ignore"):
            logarithms: NDArray[np.float64] = self._backend.xp.log(self._backend.xp.maximum(counts, 0.0))
        return like(X, logarithms - (math.log(self.total) + self.log_volume))

    def density(self, X: RowsLike) -> NDArray[np.float64]:
        """Return estimated densities without bias, which are below 0 where the table's error exceeds them.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64
            Densities in tiny cells may overflow to infinity: see `log_density`.

        Raises
        ------
        TypeError, ValueError
            If `X` is no matrix of finite numbers of the right width, or the sketch is empty.

        Warns
        -----
        UserWarning
            As `log_density` does, and if `integral_error` is above 0.05. Then the integral over the box of
            the rows, most of which may be empty, need not be close to 1.
        """
        counts, xp = self._mean_counts(X), self._backend.xp
        if not self._warn_of_noise() and (error := self.integral_error) > _INTEGRAL_ERROR:
            self._warn(
                f"the integral of the density over the box of the rows errs by {error:.2g}",
                (error / _INTEGRAL_ERROR) ** 2,
            )
        with np.errstate(divide="ignore", over="ignore"):
            size = xp.exp(xp.log(xp.abs(counts)) - (math.log(self.total) + self.log_volume))
        return like(X, xp.where(counts < 0, -size, size))

    query = alias(density)

    @property
    def table_error(self) -> float:
        """Standard error that the table adds to a `density`; 0 while `n_cells` is below `max_bins`.

        It is the same at all points, and the errors at points in different cells are independent.
        """
        self._check_seen("table_error")
        noise = self._table_noise() / math.sqrt(self.n_repetitions)
        with np.errstate(over="ignore"):
            return float(noise * np.exp(-(math.log(self.total) + self.log_volume))) if noise else 0.0

    @property
    def integral_error(self) -> float:
        """Standard error, from the table, of the integral of `density` over the box that contains the rows.

        Each of the V cells of that box adds the error of its count, so the error is ``table_error volume
        sqrt(V)``. This is far more than the error of a single density if most of the box is empty. It is 0
        while `n_cells` is below `max_bins`. The box is that of the sampled cells.
        """
        self._check_seen("integral_error")
        noise = self._table_noise()
        if not noise:
            return 0.0
        xp, cells = self._backend.xp, SAMPLE.used(self._arrays)[2]
        sides = (cells.max(axis=0) - cells.min(axis=0)).astype(np.float64) + 1.0
        # One box serves for all grids: unless they are rotated, their cells differ by one at most.
        n_cells = float(xp.exp(xp.minimum(xp.log(sides).sum(), 600.0)))
        return noise * math.sqrt(n_cells / self.n_repetitions) / self.total

    @property
    def n_bins(self) -> int:
        """Number of heavy cells in all grids, with more than ``2 R N / max_bins`` rows by the table."""
        return self._heavy()[0].size

    @property
    def coverage(self) -> float:
        """Estimated share of the rows that lie in heavy cells; NaN without rows.

        For the other rows, synthetic rows are drawn from the sample of cells: see the notes.
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
            The argument of `numpy.random.default_rng`. On a GPU the same seed gives other rows of the same
            distribution.

        Returns
        -------
        ndarray of shape (n, n_features), float64
            Each row is uniform in a cell, which is drawn in proportion to its count. While `n_cells` is below
            `max_bins` this is exact. Beyond, the sample of cells represents the light cells, and the result
            has the error of a random sample of that size.

        Raises
        ------
        TypeError, ValueError
            If `n` is out of range, or the sketch is empty.
        """
        n = check_int("n", n, 0, 1 << 48)
        xp = self._backend.xp
        generator = check_generator("random_state", random_state)
        self._check_seen("sample")
        grids, cells, counts = self._weighted_cells()
        if self.device == "cpu":
            drawn = generator.choice(counts.size, size=n, p=counts / counts.sum())
            inside = generator.random((n, self.n_features))
        else:
            # On a GPU the random numbers are hashes of their places, made there.
            seed = int(generator.integers(2**64, dtype=np.uint64))
            words = hash_keys(xp.arange(n * (1 + self.n_features), dtype=np.uint64), seed) >> np.uint64(11)
            uniform = words.astype(np.float64) * 2.0**-53
            drawn = xp.searchsorted(xp.cumsum(counts) / counts.sum(), uniform[:n], side="right")
            drawn = xp.minimum(drawn, counts.size - 1)
            inside = uniform[n:].reshape(n, self.n_features)
        return self._grids.points(self._backend, grids[drawn], cells[drawn] + inside)


publish("mergesketch", __all__, globals())
