"""The probability that the largest of K numbers is the same in both rows, under the normal copula."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial.chebyshev import chebpts1, chebvander
from numpy.typing import NDArray

__all__ = ["agreement_series"]


def agreement_at(angles: NDArray[np.float64], group_size: int) -> NDArray[np.float64]:
    """Return P[argmax of X = argmax of Y] for K = `group_size` independent pairs (X, Y), at rho = sin(angle).

    It is ``K E[F(X, Y) ** (K - 1)]``, where F is the bivariate normal distribution function, computed with
    Owen's T. The expectation is taken over the independent normal numbers (X + Y) / sqrt(2 + 2 rho) and
    (X - Y) / sqrt(2 - 2 rho) by the trapezoidal rule. The rule converges geometrically, because the integrand
    is equally smooth in these for every rho.
    """
    from scipy.special import ndtr, owens_t

    # Nodes lie half a step off 0, where the formula of F is singular. The maximum of many numbers is large.
    step = 0.1 if group_size < 256 else 0.05
    nodes = step * (np.arange(-round(9 / step), round(9 / step)) + 0.5)
    along, across = nodes[:, None], nodes[None, nodes > 0]
    weights = np.exp(-(along**2 + across**2) / 2) * (2 * step * step / (2 * np.pi))
    results = np.empty(angles.shape)
    for i, rho in enumerate(np.sin(angles)):
        a, b = np.sqrt((1 + rho) / 2) * along, np.sqrt((1 - rho) / 2) * across
        x, y = a + b, a - b
        root = np.sqrt((1 - rho) * (1 + rho))
        with np.errstate(divide="ignore"):  # zeros are positive, so their infinite ratios are right
            slopes = (y / x - rho) / root, (x / y - rho) / root
        F = 0.5 * (ndtr(x) + ndtr(y)) - owens_t(x, slopes[0]) - owens_t(y, slopes[1])
        F -= 0.5 * ((x < 0) != (y < 0))
        results[i] = group_size * np.sum(weights * np.maximum(F, 0.0) ** (group_size - 1))
    return results


# Families of one group size share the series, which takes longer to compute than all that is made with it.
@lru_cache(64)
def agreement_series(group_size: int) -> NDArray[np.float64]:
    """Return Chebyshev coefficients of the agreement, an analytic function of ``2 asin(rho) / pi``.

    For two numbers it is ``1/2 + asin(rho) / pi``.
    """
    degree = 48 if group_size < 256 else 72
    points = chebpts1(degree + 1)
    values = agreement_at(points * np.pi / 2, group_size)
    series = np.asarray(np.linalg.solve(chebvander(points, degree), values))
    series.flags.writeable = False
    return series
