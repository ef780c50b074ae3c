"""The exact probability that two rows share the winners of random groups of features."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.rows import VectorRows
from ..kernels import rank_agreement
from ..support.backend import refuse_gpu
from ..support.threads import map_blocks

__all__ = ["shared_winners", "shares_of_few"]

#: Number of features of two rows together up to which the number of their bins is taken to vary.
_FEW = 128
#: Number of steps of the kernel, about a nanosecond each, that are worth a thread of their own.
_STEPS_BLOCK = 1 << 18


def shares_of_few(n_features: int, group_size: int) -> NDArray[np.float64]:
    """Return weighted shares of groups for rows of few features, shape (few + 1, few + 1).

    Entry (u, m) is, for two rows of u features together, the weighted sum over groups with no more than m of
    them. A hash whose bin is empty takes another bin of the same permutation, so each of the F bins that are
    not empty counts 1 / F. A group with j of the features is weighted with the inverse of the F expected
    then, which is that of a permutation whose other bins share out the u - j other features. For more than
    `_FEW` features F varies little, the weights are nearly equal, and they are left out.
    """
    d, K = n_features, group_size
    few = min(_FEW, d)
    u, j = np.ogrid[: few + 1, : few + 1]
    # Probability that another group of K, among the d - K other features, has none of the t others.
    t = np.arange(few + 1)
    none = (t == 0).astype(np.float64)
    if d >= 2 * K:
        none = np.exp(_log_choose(d - K - t, K) - _log_choose(np.int64(d - K), K))
    full = 1.0 + (d - K) / K * (1.0 - none[np.maximum(u - j, 0)])
    groups = np.exp(_log_choose(d - u, K - j) - _log_choose(np.int64(d), K))
    weights = np.where((j >= 1) & (j <= u), groups / full, 0.0)
    m = np.arange(few + 1)[:, None]
    return np.asarray(weights @ np.exp(_log_choose(m, np.arange(few + 1))).T)


def shared_winners(
    X: VectorRows, Y: VectorRows, group_size: int, few: NDArray[np.float64], by_place: bool
) -> NDArray[np.float64]:
    """Return the probability that one group has the same winner in both rows, shape (X.n, Y.n).

    Parameters
    ----------
    X, Y : VectorRows
        Rows of equal width.
    group_size : int
    few : ndarray
        The result of `shares_of_few`.
    by_place : bool
        Winners are compared by their places in their groups, and not by their features.
    """
    d, K = X.width, group_size
    x, y = _ranked(X), _ranked(Y)
    n, m = x[0].size - 1, y[0].size - 1
    sizes = np.diff(x[0])[:, None], np.diff(y[0])[None, :]
    most = min(d, sum(int(size.max(initial=0)) for size in sizes))
    # Entry i is the share of all groups that lie within d - most + i given features.
    within = np.arange(d, d - most, -1, dtype=np.float64)
    shares = np.cumprod(np.append(1.0, np.maximum(within - K, 0.0) / within))[::-1].copy()
    agreements, unions = np.empty((n, m)), np.empty((n, m), np.int64)
    block = max(1, _STEPS_BLOCK // max(1, 30 * (x[1].size * m // max(1, n) + y[1].size)))
    kernel = rank_agreement.rank_agreements
    map_blocks(lambda a, b: kernel(x, y, shares, few, a, b, agreements, unions), n, block)
    is_few = unions < len(few)
    u = np.minimum(unions, len(few) - 1)
    either = np.where(is_few, few[u, u], 1.0 - shares[most - unions])
    # Share of groups without entries; `few` counts no such groups.
    neither = np.where(is_few, 0.0, shares[most - unions])
    # Shares of groups with entries of one row only.
    lone = [
        np.where(is_few, few[u, np.maximum(u - size, 0)], shares[most - size] - neither) for size in sizes
    ]
    either[unions == 0] = 1.0
    result = agreements / either
    if by_place:
        # Where a bin is empty in x or in y, the winners are of different bins and have random places.
        result += sum(lone) / either / K
    result[unions == 0] = 1.0
    return np.asarray(np.minimum(result, 1.0))


def _log_choose(n: Any, k: Any) -> NDArray[np.float64]:
    """Return logarithms of binomial coefficients, minus infinity where there is no such choice."""
    from scipy.special import gammaln

    possible = (k >= 0) & (k <= n)
    n, k = np.where(possible, n, 0), np.where(possible, k, 0)
    value = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return np.where(possible, value, -np.inf)


def _ranked(rows: VectorRows) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return rows as ``(indptr, indices, ranks)`` of their entries other than zeros, with ranks from 1."""
    indptr, indices, data = rows.csr
    refuse_gpu("kernel", data)
    stored = data != 0
    indptr = np.concatenate([[0], np.cumsum(stored)])[indptr]
    indices, data = indices[stored], data[stored]
    ranks = np.empty(data.size, np.int64)
    for start, stop in pairwise(indptr):
        ranks[start:stop] = np.unique(data[start:stop], return_inverse=True)[1] + 1
    return indptr, indices.astype(np.int64), ranks
