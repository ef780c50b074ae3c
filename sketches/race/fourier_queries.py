"""Kernel sums read from sums of random Fourier features, and the features themselves."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.answers import like
from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.support.backend import Backend
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..kernels.fourier import ONE
from .frequencies import Frequencies, frequencies_of, hadamard_size

__all__ = ["FourierQueries"]

_MAX_COMPONENTS = 1 << 24
#: Distance from 0, in widths, up to which rows are accepted: phases are exact to 2**-20 of a turn there.
_FARTHEST = 2.0**30
#: Widths of a sketch, and the largest over the least.
_MAX_WIDTHS, _MAX_RATIO = 64, 2.0**20
#: The most that the mean of a density over all seeds differs from the kernel of Hadamard frequencies.
_HADAMARD_BIAS = 2.0**-15
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
        width: float | Sequence[float] = 1.0,
        *,
        kernel: str = "gaussian",
        projection: str = "independent",
        seed: int = 0,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1)
        self.n_components = check_int("n_components", n_components, 2, _MAX_COMPONENTS)
        self.width: float | tuple[float, ...] = _check_width(width, self.n_components)
        self.kernel: str = check_choice("kernel", kernel, ("gaussian", "laplacian"))
        self.projection: str = check_choice(
            "projection", projection, ("independent", "orthogonal", "hadamard")
        )
        if self.projection != "independent" and self.kernel != "gaussian":
            raise ValueError(
                f'projection must be "independent" for the {self.kernel} kernel, got "{self.projection}": '
                "only the directions of the gaussian kernel can be made orthogonal"
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
        m, d, k = self.n_components, self.n_features, len(self._widths)
        weights = k * m if k > 1 else 0
        if self.projection == "hadamard":
            size = hadamard_size(d)
            return 4 * -(-m // size) * size + weights
        blocks = -(-m // d) * d
        return (m if self.projection == "independent" else 2 * blocks) * d + weights

    @property
    def _widths(self) -> tuple[float, ...]:
        """The widths, which rise."""
        return self.width if isinstance(self.width, tuple) else (self.width,)

    @lazy
    def _frequencies(self) -> Frequencies:
        return frequencies_of(
            self.n_features, self.n_components, self._widths, self.kernel, self.projection, self.seed
        )

    def _importance(self, width: Any) -> NDArray[np.float64] | None:
        """Return the weights of the components for a width that was asked for; None if all have one width."""
        if not isinstance(self.width, tuple):
            if width is not None and check_real("width", width, 0.0, math.inf) != self.width:
                raise ValueError(f"width must be that of the sketch, {self.width:g}, got {width!r}")
            return None
        if width is None or check_real("width", width, 0.0, math.inf) not in self.width:
            named = ", ".join(f"{w!r}" for w in self.width)
            raise ValueError(f"width must be one of those of the sketch, {named}, got {width!r}")
        return self._frequencies.importance[self.width.index(float(width))]

    def _read_rows(self, X: Any, name: str = "X") -> VectorRows:
        """Return checked rows, which lie within reach."""
        rows = read_rows(X, self.n_features, name)
        if rows.values.size:
            far = max(float(rows.values.max()), -float(rows.values.min())) / self._widths[0]
            if not far <= _FARTHEST:
                raise ValueError(
                    f"{name} must lie within {_FARTHEST:g} widths of 0, got a number {far:g} widths away; "
                    "centre the data, or choose a larger width"
                )
        return rows

    def _features(self, rows: VectorRows, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sums of the features of rows, shape (2, n_components)."""
        backend, frequencies = rows.backend, self._frequencies

        def add_range(start: int, stop: int) -> NDArray[np.int64]:
            sums: NDArray[np.int64] = backend.xp.zeros((2, self.n_components), np.int64)
            frequencies.add(rows.cut(start, stop), self._widths[0], weights[start:stop], sums)
            return sums

        block = max(1, _FEATURES_BLOCK // self.n_components, 16)
        parts = backend.map_blocks(add_range, rows.n, block)
        return sum(parts[1:], start=parts[0]) if parts else backend.xp.zeros((2, self.n_components), np.int64)

    # -- queries ----------------------------------------------------------------------------------

    @overload
    def query(
        self, Q: RowsLike, *, width: float | None = None, return_std: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def query(
        self, Q: RowsLike, *, width: float | None = None, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def query(self, Q: RowsLike, *, width: float | None = None, return_std: bool = False) -> Any:
        """Return estimated kernel sums.

        Parameters
        ----------
        Q : array_like or SciPy sparse matrix of shape (n, n_features)
        width : float, optional
            The width of the kernel, one of those of the sketch. It must be given if the sketch has several.
        return_std : bool
            Also return the estimated standard error of each estimate.

        Returns
        -------
        sums : ndarray of shape (n,), float64
            Unbiased for one width, except for "hadamard". They may be negative where the true sum is near 0.
        std : ndarray of shape (n,), float64
            Only with `return_std`. The interval of 1.96 standard errors on either side contains the kernel
            sum with a confidence of about 95 %, or more. For a `PrivateFourier` it covers the noise as well.

        Raises
        ------
        TypeError, ValueError
            If `Q` holds no real numbers, NaN or infinity, has another number of columns, or lies beyond 2**30
            widths; if `width` is none of the sketch's.

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
        less than the standard error says. For "hadamard" the second term is ``((2**-15 + 2**-20) N)**2``: the
        mean over all seeds differs from the kernel sum by at most about 2**-15 N.

        With several widths, an estimate is the mean of the terms weighted by the importance of their
        frequencies for the width asked: ``sum(v t) / sum(v)``, with v the density of a frequency for the
        width over its mean density for all widths, which is at most the number k of widths (Veach and Guibas
        1995, "Optimally combining sampling techniques for Monte Carlo rendering", the balance heuristic). s
        is then the standard deviation of ``m v (t - estimate) / sum(v)``, and `reach` is k times as large.
        Dividing by the sum of the weights adds a bias of at most about ``k N / m``.
        """
        return like(Q, self._sums(Q, width, return_std))

    @overload
    def density(
        self, Q: RowsLike, *, width: float | None = None, return_std: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def density(
        self, Q: RowsLike, *, width: float | None = None, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def density(self, Q: RowsLike, *, width: float | None = None, return_std: bool = False) -> Any:
        """Return estimated kernel densities: kernel sums over the total weight.

        Parameters
        ----------
        Q : array_like or SciPy sparse matrix of shape (n, n_features)
        width : float, optional
            As for `query`.
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
        found = self._sums(Q, width, return_std)
        if not total > 0:
            raise ValueError(f"density needs a sketch of total weight above 0, got {total}")
        if not return_std:
            return like(Q, found / total)
        sums, std = found
        xp = self._state.backend.xp
        return like(Q, (sums / total, xp.hypot(std, sums / total * self._total_std) / total))

    def _sums(self, Q: Any, width: Any, return_std: bool) -> Any:
        """Return what `query` returns, as arrays."""
        importance = self._importance(width)
        self._claim_device("Q", Q)
        rows = self._read_rows(Q, "Q")
        backend, m = rows.backend, self.n_components
        amplitudes, frequencies = self._arrays["sums"] / ONE, self._frequencies
        sums, std = backend.xp.empty(rows.n), backend.xp.empty(rows.n)
        # The weighted mean divides by the sum of the weights, whose mean is 1 only on average: so terms that
        # are all equal, as those of a query at all rows, have no error.
        weights = None if importance is None else backend.constant(importance / importance.sum())

        def ask(start: int, stop: int) -> None:
            for left, right in cut_range(start, stop, max(1, _TERMS_BLOCK[self.device] // m)):
                terms = backend.xp.empty((right - left, m))
                frequencies.tell(rows.cut(left, right), self._widths[0], amplitudes, terms)
                if weights is None:
                    sums[left:right] = terms.mean(axis=1)
                else:
                    sums[left:right] = means = terms @ weights
                    terms = (terms - means[:, None]) * (weights * m)
                std[left:right] = terms.std(axis=1, ddof=1)

        backend.map_blocks(ask, rows.n, max(1, _FEATURES_BLOCK // m))
        if not return_std:
            return sums
        return sums, self._standard_errors(backend, amplitudes, sums, std)

    def _standard_errors(
        self, backend: Backend, amplitudes: NDArray[np.float64], sums: NDArray[Any], spread: NDArray[Any]
    ) -> NDArray[np.float64]:
        xp, m = backend.xp, self.n_components
        bias = _HADAMARD_BIAS if self.projection == "hadamard" else 0.0
        std = xp.hypot(spread / math.sqrt(m), abs(float(self.total)) * (1.0 / ONE + bias))
        if self.kernel == "laplacian":
            reach = xp.hypot(amplitudes[0], amplitudes[1]).mean() + xp.abs(sums)
            std = xp.hypot(std, _UNSEEN * reach * len(self._widths) / m)
        errors: NDArray[np.float64] = std
        return errors


def _check_width(width: Any, n_components: int) -> float | tuple[float, ...]:
    """Return a width, or several ones in rising order."""
    if isinstance(width, np.ndarray) and width.ndim == 1:
        width = width.tolist()
    if not isinstance(width, (list, tuple)):
        return check_real("width", width, 0.0, math.inf)
    widths = tuple(sorted(check_real("width", each, 0.0, math.inf) for each in width))
    if not 1 <= len(widths) <= min(_MAX_WIDTHS, n_components // 2) or len(set(widths)) < len(widths):
        raise ValueError(
            f"width must be a number, or up to {_MAX_WIDTHS} different ones with two components for each of "
            f"them, got {width!r} and {n_components} components"
        )
    if not widths[-1] <= widths[0] * _MAX_RATIO:
        raise ValueError(f"width must hold numbers whose ratio is at most {_MAX_RATIO:g}, got {width!r}")
    return widths if len(widths) > 1 else widths[0]
