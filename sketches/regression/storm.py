"""STORM: the second moments of rows, for regression, from integer counters of signs."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.families.extended_rows import Extension, extended_blocks, relative_norms
from ...lsh.families.projection import RandomVectors, prepare_vectors
from ...lsh.inputs.rows import DenseRows, SparseRows, VectorRows, read_rows
from ...lsh.kernels import projection
from ...lsh.support.backend import Backend, backend_of
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.random import normal
from ...lsh.support.threads import cut_range, get_num_threads, map_blocks
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..core.guard import check_interrupt
from ..core.state import StateSpec
from ..kernels import storm

__all__ = ["StormSketch"]

_MAX_SIGNS = 32
#: The longest row that is split, in bounds. It has the square of that number of parts.
_LONGEST = 2.0**20
#: Share of the rows that may be clipped without a warning.
_MOST_CLIPPED = 0.1
#: Number of codes that are worked on at a time.
_BLOCK_CODES = {"cpu": 1 << 20, "gpu": 1 << 26}


class _Batch(NamedTuple):
    """Rows, and the parts that each is counted as: None for one each."""

    rows: VectorRows
    parts: NDArray[np.int64] | None
    n_parts: int
    n_clipped: int


class StormSketch(MergeableSketch):
    """Estimate the second moments of rows, for linear models, from integer counters that add.

    Parameters
    ----------
    n_features : int
        Number of columns d of the rows. For regression the targets are among them.
    n_frames : int
        Number of frames B of orthonormal directions.
    max_norm : float, default 1.0
        Public bound of the rows' Euclidean norms.
    oversize : {"clip", "split", "raise"}
        Treatment of rows beyond the bound. "clip" shortens them to the bound and counts them in `n_clipped`,
        which shrinks the moments. "split" counts a row of s bounds as ``ceil(s**2)`` parts of equal direction
        within the bound, whose second moments add up to its own. "raise" refuses the batch.
    seed : int, default 0
        In [0, 2**64).

    Attributes
    ----------
    n_clipped : int
        Number of rows that were shortened.
    n_parts : int
        Number of rows as they were counted; with "split" a long row counts as several.

    Notes
    -----
    A row is divided by the bound, and one more coordinate makes it a unit vector z of D = d + 1 coordinates.
    For each pair of directions a, b of a frame the sketch counts the sum over rows of
    sign(a . z) sign(b . z). These are the paired hashes of STORM (Coleman, Gupta, Chen and Shrivastava 2020);
    its regression surrogate with p = 2 needs nothing else. For random orthonormal a and b

        E[sign(a . z) sign(b . z) (a b' + b a') / 2] = alpha (D z z' - I) / (D - 1),  alpha = 2 / (pi D)

    (the trace is 0, because a and b are orthogonal; the part along z is E|a . z| |b . z|, that of two
    coordinates of a random unit vector). Solved for z z' and averaged over pairs, frames and rows, this is an
    unbiased estimate of the mean of z z'. Only the directions are random, so that the rows add no error.
    Directions of one frame share hashes, and their errors partly cancel: at equal memory the error is a third
    to a half of that of independent pairs of directions.

    The moments are those of the rows after clipping. If long rows have large targets, as with skewed targets,
    predictions from the moments are too low. "split" has no such bias at any bound. Its error of the
    directions is in proportion to the number of parts of a row. A single row moves a counter by its number of
    parts, so a sketch that is to be released with noise has to clip.

    A frame has q = min(D, 32) directions, and ``q (q - 1) / 2`` counters. Memory is ``2 B q (q - 1)`` bytes,
    and twice that after a counter could pass 2**31. A row costs ``B q`` products of D terms and ``B q**2 /
    128`` operations for the counters. The exact moments take only ``4 d**2`` bytes: docs/structures/storm.md
    says when to keep those instead.

    The sketch is linear: parts that were merged in can be subtracted again.

    References
    ----------
    - Coleman, Gupta, Chen, Shrivastava. STORM: foundations of end-to-end empirical risk minimization on the
      edge. arXiv 2006.14554, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.standard_normal((4000, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.3]]) / 4
    >>> here = mergesketch.StormSketch(3, n_frames=500, seed=1).update(Z[:1000])
    >>> there = mergesketch.StormSketch(3, n_frames=500, seed=1).update(Z[1000:])
    >>> bool(np.abs((here | there).second_moments() - Z.T @ Z / 4000).max() < 0.02)
    True
    """

    _filled = ("products", "counters used")
    _parameters = ("n_features", "n_frames", "max_norm", "oversize", "seed")
    _gpu = True

    def __init__(
        self,
        n_features: int,
        n_frames: int,
        *,
        max_norm: float = 1.0,
        oversize: str = "clip",
        seed: int = 0,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1, 1 << 20)
        self.n_frames = check_int("n_frames", n_frames, 1, 1 << 24)
        self.max_norm = check_real("max_norm", max_norm, 0.0, math.inf)
        self.oversize: str = check_choice("oversize", oversize, ("clip", "split", "raise"))
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    @property
    def n_signs(self) -> int:
        """Number of directions of a frame."""
        return min(self.n_features + 1, _MAX_SIGNS)

    def _layout(self) -> dict[str, StateSpec]:
        pairs = self.n_signs * (self.n_signs - 1) // 2
        return {
            "products": StateSpec((self.n_frames, pairs), "int32", "sum", widens_to="int64"),
            "n_clipped": StateSpec((1,), "int64", "sum"),
            "n_parts": StateSpec((1,), "int64", "sum"),
        }

    @property
    def n_clipped(self) -> int:
        """Number of rows that were longer than the bound and have been shortened."""
        return int(self._arrays["n_clipped"][0])

    @property
    def n_parts(self) -> int:
        """Number of rows as they were counted; with "split" a long row counts as several."""
        return int(self._arrays["n_parts"][0])

    # -- directions -------------------------------------------------------------------------------

    @property
    def _n_drawn(self) -> int:
        return self.n_frames * self.n_signs * (self.n_features + 1)

    @lazy
    def _frames(self) -> NDArray[np.float64]:
        """Orthonormal directions, shape (n_frames, n_signs, D)."""
        shape = (self.n_frames, self.n_signs, self.n_features + 1)
        frames = normal(self.seed, "storm frames", math.prod(shape)).astype(np.float64).reshape(shape)
        kernel = backend_of(frames).kernels(storm).orthonormalise
        map_blocks(lambda a, b: kernel(a, b, frames), self.n_frames, max(1, (1 << 16) // frames[0].size))
        return frames

    @lazy
    def _vectors(self) -> RandomVectors:
        # Product k * n_frames + b belongs to direction k of frame b, as projections number products.
        vectors = self._frames.transpose(1, 0, 2).reshape(-1, self.n_features + 1).astype(np.float32)
        return prepare_vectors(np.ascontiguousarray(vectors))

    @lazy
    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the two directions of each pair, in the order of the counters."""
        first, second = np.triu_indices(self.n_signs, 1)
        return first, second

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike) -> Self:
        """Add a batch of rows.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If `X` contains no real numbers, NaN or infinity, has another width, or has rows beyond the bound
            and these are refused. Nothing changes then.
        OverflowError
            If a 64-bit counter could wrap.
        """
        return self._take_in({"X": X})

    def _read(self, X: Any) -> _Batch:
        rows, backend = read_rows(X, self.n_features), self._backend
        lengths = relative_norms(rows, self.max_norm)
        # As for InnerProduct, a norm may exceed the bound by rounding errors.
        beyond = lengths > 1.0 + 1e-6
        if self.oversize == "raise" and bool(beyond.any()):
            row = int(backend.xp.flatnonzero(beyond)[0])
            raise ValueError(
                f"X must have rows of norm at most max_norm = {self.max_norm:g}, got norm "
                f"{float(lengths[row]) * self.max_norm:g} in row {row}"
            )
        parts = self._count_parts(backend, lengths)
        n_parts = rows.n if parts is None else int(parts.sum())
        n_clipped = int(beyond.sum()) if self.oversize == "clip" else 0
        return _Batch(rows, parts, n_parts, n_clipped)

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return {**dict.fromkeys(self._state.counters, batch.n_parts), "n_updates": batch.rows.n}

    def _add(self, batch: _Batch) -> None:
        rows, parts, backend = batch.rows, batch.parts, self._backend
        block = max(64, _BLOCK_CODES[self.device] // self.n_frames // 64 * 64)
        with self._state.restored_on_failure() if rows.n > block else nullcontext():
            for start, stop in cut_range(0, rows.n, block):
                if parts is None or bool((parts[start:stop] == 1).all()):
                    signs = self._signs(backend, rows, start, stop)
                    check_interrupt()
                    self._count(backend, signs)
                else:
                    short = _divided(rows, backend.xp.sqrt(parts), start, stop)
                    signs = self._signs(backend, short, 0, stop - start)
                    check_interrupt()
                    self._count_split(backend, signs, parts[start:stop])
        self._arrays["n_clipped"] += batch.n_clipped
        self._arrays["n_parts"] += batch.n_parts

    def _count_parts(self, backend: Backend, lengths: NDArray[np.float64]) -> NDArray[np.int64] | None:
        """Return the number of parts of each row, or None if each row is one part."""
        if self.oversize != "split" or not bool((lengths > 1.0 + 1e-6).any()):
            return None
        if not bool((lengths <= _LONGEST).all()):
            row = int(backend.xp.flatnonzero(~(lengths <= _LONGEST))[0])
            raise ValueError(
                f"X must have rows of norm at most {_LONGEST:g} max_norm = {_LONGEST * self.max_norm:g}, got "
                f"norm {float(lengths[row]) * self.max_norm:g} in row {row}; pass a larger max_norm"
            )
        parts: NDArray[np.int64] = -backend.xp.floor(-((lengths / (1.0 + 1e-6)) ** 2)).astype(np.int64)
        return backend.xp.maximum(parts, 1)

    def _count_split(self, backend: Backend, codes: NDArray[np.uint32], parts: NDArray[np.int64]) -> None:
        """Count each row as many times as it has parts, by the bits of that number."""
        products, xp = self._arrays["products"], backend.xp
        for bit in range(int(parts.max()).bit_length()):
            some = xp.flatnonzero(parts >> bit & 1)
            if some.size:
                once = xp.zeros_like(products)
                self._count(backend, codes[some], once)
                products += once << bit

    def _signs(self, backend: Backend, rows: VectorRows, start: int, stop: int) -> NDArray[np.uint32]:
        """Return the sign bits of the rows [start, stop), shape (stop - start, n_frames)."""
        extension = Extension(self.max_norm, self.n_features, self.n_features + 1)
        out = backend.xp.empty((stop - start, self.n_frames), np.uint32)
        arguments = (*self._vectors, self.n_frames)
        norms, kernels = backend.xp.empty(rows.n), backend.kernels(projection)

        def run(first: int, last: int) -> None:
            for left, right, part in extended_blocks(rows, extension, first + start, last + start, norms):
                kernel = kernels.project_signs_dense if part.form == "dense" else kernels.project_signs_csr
                kernel(*part.arrays, *arguments, 0, right - left, out[left - start : right - start])

        backend.map_blocks(run, stop - start, max(64, -(-(stop - start) // (4 * get_num_threads()))))
        return out

    def _count(self, backend: Backend, codes: NDArray[np.uint32], into: NDArray[Any] | None = None) -> None:
        products = self._arrays["products"] if into is None else into
        backend.map_blocks(
            lambda a, b: backend.kernels(storm).add_sign_products(codes, self.n_signs, a, b, products),
            self.n_frames,
            max(1, -(-self.n_frames // (4 * get_num_threads()))),
        )

    # -- read-out ---------------------------------------------------------------------------------

    def second_moments(self, *, return_std: bool = False) -> Any:
        """Estimate the mean of ``z z'`` over the rows, after clipping.

        Parameters
        ----------
        return_std : bool
            Also return the estimated standard error of each entry, from the spread over frames.

        Returns
        -------
        moments : ndarray of shape (n_features, n_features), float64
            The estimate is symmetric and unbiased, so that small eigenvalues may be below 0.
        std : ndarray of the same shape
            Only with `return_std`. NaN if there is one frame.

        Raises
        ------
        ValueError
            If the sketch has no rows, or all rows were removed again.

        Warns
        -----
        UserWarning
            If more than a tenth of the rows were clipped.
        """
        n, n_parts = self.n_updates, self.n_parts
        if min(n, n_parts) <= 0:
            raise ValueError(f"second moments need rows, got a sketch of {min(n, n_parts)}")
        if self.n_clipped > _MOST_CLIPPED * n:
            warnings.warn(
                f"{self.n_clipped} of {n} rows were longer than max_norm={self.max_norm:g} and have been "
                "shortened, and these are the moments of what they became; pass a larger max_norm or "
                'oversize="split"',
                stacklevel=stacklevel_of_caller(),
            )
        q, D, d = self.n_signs, self.n_features + 1, self.n_features
        backend = self._backend
        xp, frames = backend.xp, backend.constant(self._frames)
        first, second = (backend.constant(indices) for indices in self._pairs)
        means = self._arrays["products"] / n_parts
        signs = xp.zeros((self.n_frames, q, q))
        signs[:, first, second] = signs[:, second, first] = means
        # The mean over ordered pairs of m_ab a b', of each frame.
        each = xp.matmul(frames.transpose(0, 2, 1), xp.matmul(signs, frames)) / (q * (q - 1))
        alpha = 2.0 / (math.pi * D)
        each = (each * ((D - 1) / alpha) + xp.eye(D)) / D
        each = each[:, :d, :d] * (self.max_norm**2 * (n_parts / n))
        moments = each.mean(axis=0)
        if not return_std:
            return moments
        spread = xp.full_like(moments, np.nan)
        if self.n_frames > 1:
            spread = each.std(axis=0, ddof=1) / math.sqrt(self.n_frames)
        return moments, spread


def _divided(rows: VectorRows, divisors: NDArray[np.float64], start: int, stop: int) -> VectorRows:
    """Return the rows [start, stop), each divided by a number of its own."""
    part = rows.cut(start, stop)
    if part.form == "dense":
        dense = part.dense / divisors[start:stop, None]
        return DenseRows(dense, dense.dtype, part.backend)
    indptr, indices, data = part.csr
    xp = part.backend.xp
    row_of = xp.searchsorted(indptr, xp.arange(data.size), side="right") - 1
    return SparseRows((indptr, indices, data / divisors[start + row_of]), part.width, part.backend)


publish("mergesketch", __all__, globals())
