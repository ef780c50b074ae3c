"""Kernel sums read from sums of random Fourier features, and the features themselves."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.answers import like
from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.support.backend import Backend
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.random import normal, uniform
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..kernels import fourier
from ..kernels.fourier import ONE

__all__ = ["FourierQueries"]

_MAX_COMPONENTS = 1 << 24
#: Distance from 0, in widths, up to which rows are accepted: phases are exact to 2**-20 of a turn there.
_FARTHEST = 2.0**30
#: Features that are worth a thread of their own, and terms of queries that are kept at a time.
_FEATURES_BLOCK = 1 << 15
_TERMS_BLOCK = {"cpu": 1 << 16, "gpu": 1 << 26}
#: The rule of three, as for `Race`: an event of probability 3 / m goes unseen in m components with
#: probability 1/20. This is 3 in standard errors, of which 1.96 make a 95 % interval.
_UNSEEN = -math.log(0.05) / 1.96


class FourierQueries(MergeableSketch):
    """The configuration, the features and the queries of a sketch of sums of random Fourier features."""

    _parameters = ("n_features", "n_components", "width", "kernel", "projection", "seed")

    def __init__(
        self,
        n_features: int,
        n_components: int = 1024,
        width: float = 1.0,
        *,
        kernel: str = "gaussian",
        projection: str = "independent",
        seed: int = 0,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1)
        self.n_components = check_int("n_components", n_components, 2, _MAX_COMPONENTS)
        self.width = check_real("width", width, 0.0, math.inf)
        self.kernel: str = check_choice("kernel", kernel, ("gaussian", "laplacian"))
        self.projection: str = check_choice("projection", projection, ("independent", "orthogonal"))
        if self.projection == "orthogonal" and self.kernel != "gaussian":
            raise ValueError(
                f'projection must be "independent" for the {self.kernel} kernel, got "orthogonal": only the '
                "directions of the gaussian kernel can be made orthogonal"
            )
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    @property
    @abstractmethod
    def total(self) -> Any:
        """The sum of the weights of all rows."""

    @property
    def _total_std(self) -> float:
        """Standard deviation of the noise of the total."""
        return 0.0

    # -- features ---------------------------------------------------------------------------------

    @property
    def _n_drawn(self) -> int:
        blocks = -(-self.n_components // self.n_features) * self.n_features
        count = self.n_components if self.projection == "independent" else 2 * blocks
        return count * self.n_features

    @lazy
    def _frequencies(self) -> NDArray[np.float64]:
        """Return the frequencies of the components in turns a width, shape (n_features, n_components)."""
        m, d = self.n_components, self.n_features
        if self.kernel == "laplacian":
            angles = uniform(self.seed, "FourierSketch Cauchy frequencies", m * d) - 0.5
            matrix = np.tan(np.pi * angles).astype(np.float32).reshape(m, d)
        elif self.projection == "independent":
            matrix = normal(self.seed, "FourierSketch normal frequencies", m * d).reshape(m, d)
        else:
            matrix = self._orthogonal()
        return np.ascontiguousarray(matrix.T.astype(np.float64) / (2.0 * math.pi))

    def _orthogonal(self) -> NDArray[np.float32]:
        """Return frequencies in orthogonal directions, d at a time, each as long as a normal vector."""
        m, d = self.n_components, self.n_features
        blocks = -(-m // d)
        numbers = normal(self.seed, "FourierSketch directions", blocks * d * d).astype(np.float64)
        # As in `Grids`: signs make the directions uniform (Mezzadri 2007), and rounding removes the last
        # bits, in which LAPACKs may differ.
        q, r = np.linalg.qr(numbers.reshape(blocks, d, d))
        signed = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
        directions = (np.round(signed * 2.0**24) / 2.0**24).transpose(0, 2, 1).reshape(-1, d)[:m]
        lengths = normal(self.seed, "FourierSketch lengths", m * d).reshape(m, d).astype(np.float64)
        norms = np.sqrt((lengths * lengths).sum(axis=1)).astype(np.float32)
        return (directions * norms[:, None]).astype(np.float32)

    def _read_rows(self, X: Any, name: str = "X") -> VectorRows:
        """Return checked rows, which lie within reach."""
        rows = read_rows(X, self.n_features, name)
        if rows.values.size:
            far = max(float(rows.values.max()), -float(rows.values.min())) / self.width
            if not far <= _FARTHEST:
                raise ValueError(
                    f"{name} must lie within {_FARTHEST:g} widths of 0, got a number {far:g} widths away; "
                    "centre the data, or choose a larger width"
                )
        return rows

    def _features(self, rows: VectorRows, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sums of the features of rows, shape (2, n_components)."""
        backend, frequencies = rows.backend, self._frequencies
        kernels = backend.kernels(fourier)
        add = kernels.add_features_dense if rows.form == "dense" else kernels.add_features_csr

        def add_range(start: int, stop: int) -> NDArray[np.int64]:
            part = rows.cut(start, stop)
            sums: NDArray[np.int64] = backend.xp.zeros((2, self.n_components), np.int64)
            add(*part.arrays, self.width, frequencies, weights[start:stop], 0, stop - start, sums)
            return sums

        block = max(1, _FEATURES_BLOCK // self.n_components, 16)
        parts = backend.map_blocks(add_range, rows.n, block)
        return sum(parts[1:], start=parts[0]) if parts else backend.xp.zeros((2, self.n_components), np.int64)

    # -- queries ----------------------------------------------------------------------------------

    @overload
    def query(self, Q: RowsLike, *, return_std: Literal[False] = False) -> NDArray[np.float64]: ...
    @overload
    def query(
        self, Q: RowsLike, *, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def query(self, Q: RowsLike, *, return_std: bool = False) -> Any:
        """Return estimated kernel sums.

        Parameters
        ----------
        Q : array_like or SciPy sparse matrix of shape (n, n_features)
        return_std : bool
            Also return the estimated standard error of each estimate.

        Returns
        -------
        sums : ndarray of shape (n,), float64
            Unbiased. They may be negative where the true sum is near 0.
        std : ndarray of shape (n,), float64
            Only with `return_std`. The interval of 1.96 standard errors on either side contains the kernel
            sum with a confidence of about 95 %, or more. For a `PrivateFourier` it covers the noise as well.

        Raises
        ------
        TypeError, ValueError
            If `Q` holds no real numbers, NaN or infinity, has another width, or lies beyond 2**30 widths.

        Notes
        -----
        An estimate is the mean over the m components of ``S_cos cos(w . q) + S_sin sin(w . q)``. With s the
        standard deviation of these terms, the squared standard error is::

            s**2 / m + (2**-20 N)**2

        The second term stands for the rounding of features. For the Laplacian kernel there is a third one,
        ``(1.53 reach / m)**2``, because its frequencies have heavy tails: a few large ones move the mean, and
        the components may hold none of them (the rule of three, as for `Race.query`). A term would have moved
        by `reach` at most: the mean amplitude, plus the magnitude of the estimate.

        For orthogonal frequencies the terms of one block depend on each other, which mostly makes means vary
        less than the standard error says.
        """
        return like(Q, self._sums(Q, return_std))

    @overload
    def density(self, Q: RowsLike, *, return_std: Literal[False] = False) -> NDArray[np.float64]: ...
    @overload
    def density(
        self, Q: RowsLike, *, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def density(self, Q: RowsLike, *, return_std: bool = False) -> Any:
        """Return estimated kernel densities: kernel sums over the total weight.

        Parameters
        ----------
        Q : array_like or SciPy sparse matrix of shape (n, n_features)
        return_std : bool
            Also return the standard errors.

        Returns
        -------
        ndarray of shape (n,), float64, or two of them
            The kernel is 1 at distance 0, so this is no probability density.

        Raises
        ------
        TypeError, ValueError
            If `query` refuses the rows, or the total weight is not above 0, as in a sketch without rows.
        """
        total = self.total
        found = self._sums(Q, return_std)
        if not total > 0:
            raise ValueError(f"density needs a sketch of total weight above 0, got {total}")
        if not return_std:
            return like(Q, found / total)
        sums, std = found
        xp = self._state.backend.xp
        return like(Q, (sums / total, xp.hypot(std, sums / total * self._total_std) / total))

    def _sums(self, Q: Any, return_std: bool) -> Any:
        """Return what `query` returns, as arrays."""
        self._claim_device("Q", Q)
        rows = self._read_rows(Q, "Q")
        backend, m = rows.backend, self.n_components
        amplitudes, frequencies = self._arrays["sums"] / ONE, self._frequencies
        kernels = backend.kernels(fourier)
        tell = kernels.fourier_terms_dense if rows.form == "dense" else kernels.fourier_terms_csr
        sums, std = backend.xp.empty(rows.n), backend.xp.empty(rows.n)

        def ask(start: int, stop: int) -> None:
            for left, right in cut_range(start, stop, max(1, _TERMS_BLOCK[self.device] // m)):
                part, terms = rows.cut(left, right), backend.xp.empty((right - left, m))
                tell(*part.arrays, self.width, frequencies, amplitudes, 0, right - left, terms)
                sums[left:right] = terms.mean(axis=1)
                std[left:right] = terms.std(axis=1, ddof=1)

        backend.map_blocks(ask, rows.n, max(1, _FEATURES_BLOCK // m))
        if not return_std:
            return sums
        return sums, self._standard_errors(backend, amplitudes, sums, std)

    def _standard_errors(
        self, backend: Backend, amplitudes: NDArray[np.float64], sums: NDArray[Any], spread: NDArray[Any]
    ) -> NDArray[np.float64]:
        xp, m = backend.xp, self.n_components
        std = xp.hypot(spread / math.sqrt(m), abs(float(self.total)) / ONE)
        if self.kernel == "laplacian":
            reach = xp.hypot(amplitudes[0], amplitudes[1]).mean() + xp.abs(sums)
            std = xp.hypot(std, _UNSEEN * reach / m)
        errors: NDArray[np.float64] = std
        return errors
