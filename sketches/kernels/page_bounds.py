"""Kernel of page bounds: the largest products that boxes around keys allow."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel

__all__ = ["bound_products"]

#: Sums of a product that do not wait for each other, and pages that stay in caches while queries are scored.
_LANES, _PAGES = 32, 128
#: Twice the relative error of one rounding in float64.
_ROUNDING = 2.0**-52


@kernel
def bound_products(Q, lows, highs, start, stop, out):
    """Write upper bounds of the products of all queries with the keys of the pages [start, stop).

    Parameters
    ----------
    Q : ndarray of shape (n_queries, d), float64
    lows, highs : ndarray of shape (n_pages, d), float32
        The smallest and the largest value of each column in each page.
    out : ndarray of shape (n_queries, n_pages), float64
        The sum over the columns of the larger of q * low and q * high, plus a bound of the rounding errors.
    """
    d = Q.shape[1]
    whole = d - d % _LANES
    margin = (d + 2) * _ROUNDING
    sums, sizes = np.empty(_LANES), np.empty(_LANES)
    for first in range(start, stop, _PAGES):
        last = min(first + _PAGES, stop)
        for q in range(len(Q)):
            query = Q[q]
            for page in range(first, last):
                low, high = lows[page], highs[page]
                # Feature j goes to sum j mod 32, and the sums are added up in their order.
                sums[:] = 0.0
                sizes[:] = 0.0
                for j in range(0, whole, _LANES):
                    for lane in range(_LANES):
                        a = query[j + lane] * np.float64(low[j + lane])
                        b = query[j + lane] * np.float64(high[j + lane])
                        sums[lane] += max(a, b)
                        sizes[lane] += max(abs(a), abs(b))
                for j in range(whole, d):
                    a, b = query[j] * np.float64(low[j]), query[j] * np.float64(high[j])
                    sums[j - whole] += max(a, b)
                    sizes[j - whole] += max(abs(a), abs(b))
                total, size = 0.0, 0.0
                for lane in range(_LANES):
                    total += sums[lane]
                    size += sizes[lane]
                out[q, page] = total + margin * size
