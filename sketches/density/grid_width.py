"""Widths of grid cells from a sample, by least-squares cross-validation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_real
from ...lsh.support.moments import means_and_deviations

__all__ = ["check_width", "choose_widths", "cross_validation"]

_MOST_ROWS = 1000
#: The fractions of the width that is best for normal data which are tried.
_FACTORS = 2.0 ** np.arange(-3.0, 1.01, 0.25)
#: Canonical bandwidth of the triangular kernel over that of the normal one, 24**(1/5) (4 pi)**(1/10).
_TRIANGULAR = 2.432


def choose_widths(X: NDArray[Any], n_expected: int, *, one: bool) -> Any:
    """Return widths for `n_expected` rows like those of `X`, shape (n, d); one for all features if `one`."""
    n, d = X.shape
    if n < 8:
        raise ValueError(f"X must have at least 8 rows to choose widths from, got {n}")
    if d == 0:
        raise ValueError("X must have at least 1 column, got 0")
    if n > _MOST_ROWS:
        X = X[np.random.default_rng(0).choice(n, _MOST_ROWS, replace=False)]
    X = X.astype(np.float64)
    _, spread = means_and_deviations(X)
    flat = np.flatnonzero(~(spread > 1e-12 * np.abs(X).max(axis=0)))
    if flat.size:
        raise ValueError(f"X must vary in every column, got a constant column {flat[0]}; drop it")
    if one:
        _, exponent = np.frexp(spread.max())  # squares would overflow or vanish
        units = np.ldexp(spread, -exponent)
        spread = np.full(d, np.ldexp(np.sqrt((units**2).mean()), exponent))
    normal_best = _TRIANGULAR * (4.0 / ((d + 2) * len(X))) ** (1.0 / (d + 4))
    scores = cross_validation(X / spread, normal_best * _FACTORS)
    factor = normal_best * _FACTORS[np.argmin(scores)] * (n_expected / len(X)) ** (-1.0 / (d + 4))
    widths = factor * spread
    return float(widths[0]) if one else widths.tolist()


def cross_validation(X: NDArray[np.float64], widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the integrated squared error, up to a constant, of triangular kernel densities of each width.

    The error is ``integral f**2 - 2 mean_i f_without_i(x_i)`` for the product of triangular kernels. The
    convolution of a triangular kernel with itself is the cubic B-spline.
    """
    n, d = X.shape
    scores = np.empty(widths.size)
    for place, width in enumerate(widths.tolist()):
        squares, others = 0.0, 0.0
        for start in range(0, n, 250):
            rows = X[start : start + 250]
            spline, triangle = np.ones((len(rows), n)), np.ones((len(rows), n))
            for j in range(d):
                u = np.abs(rows[:, j, None] - X[None, :, j]) / width
                triangle *= np.maximum(0.0, 1.0 - u)
                far = np.maximum(0.0, 2.0 - u)
                near = np.maximum(0.0, 1.0 - u)
                spline *= far**3 / 6.0 - 4.0 * near**3 / 6.0
            squares += spline.sum()
            others += triangle.sum() - len(rows)  # without the row itself
        scores[place] = (squares / n**2 - 2.0 * others / (n * (n - 1))) / width**d
    return scores


def check_width(width: Any, n_features: int) -> float | list[float]:
    """Return the width of cells, one number or one for each feature."""
    refuse_gpu("a width", width)
    given = check_array("width", width)
    shape = given.shape
    if shape == ():
        return check_real("width", width, 0.0, math.inf)
    if shape != (n_features,):
        raise ValueError(f"width must be a number or of shape ({n_features},), got shape {shape}")
    return [check_real(f"width[{j}]", w, 0.0, math.inf) for j, w in enumerate(given)]
