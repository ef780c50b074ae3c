"""Kernel of attention over a cache of few tokens, which counts how important each of them is."""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import kernel

__all__ = ["attend_and_count"]

#: Sums of a product that do not wait for each other.
_LANES = 32


@kernel
def attend_and_count(Q, K, V, first, scale, decay, by_weight, importances, weights, out, masses):
    """Attend to the tokens of a cache, one query after the other, and count the importance of tokens.

    The queries of token i see the rows up to ``first + i``. All products must be finite.

    Parameters
    ----------
    Q : ndarray of shape (n_tokens, n_queries, d), float32
        The queries of each token.
    K : ndarray of shape (n, d), float32
    V : ndarray of shape (n, m), float32
    first : int
        The number of rows before the row of the first query.
    scale, decay : float
        The factor of products, and that of importances for each token with queries.
    by_weight : bool
        True to add the softmax weight of a token, False to add 1 if it is above the mean of all weights.
    importances : ndarray of shape (n,), float64
        They are changed.
    weights : ndarray of shape (n,), float64
        Room for the weights of a query.
    out : ndarray of shape (n_tokens, n_queries, m), float64
        The outputs.
    masses : ndarray of shape (n_tokens, n_queries), float64
        The logarithms of the sums of exponentials.
    """
    d, m = Q.shape[2], V.shape[1]
    lanes, whole = np.empty(_LANES), d - d % _LANES
    for i in range(Q.shape[0]):
        n = first + i + 1
        for h in range(Q.shape[1]):
            q, output, largest = Q[i, h], out[i, h], -math.inf
            for t in range(n):
                # Feature j goes to sum j mod 32, and the sums are added up in their order.
                lanes[:] = 0.0
                for j in range(0, whole, _LANES):
                    for lane in range(_LANES):
                        lanes[lane] += np.float64(q[j + lane]) * np.float64(K[t, j + lane])
                for j in range(whole, d):
                    lanes[j - whole] += np.float64(q[j]) * np.float64(K[t, j])
                product = 0.0
                for lane in range(_LANES):
                    product += lanes[lane]
                weights[t] = scale * product
                largest = max(largest, weights[t])
            total = 0.0
            for t in range(n):
                weights[t] = math.exp(weights[t] - largest)
                total += weights[t]
            # Importances fade once a token, also if it has several queries.
            fading = decay if h == 0 else 1.0
            output[:] = 0.0
            for t in range(n):
                share = weights[t] / total
                # A weight of n equal ones is not above their mean, also after rounding.
                gain = share if by_weight else np.float64(weights[t] * n > total)
                importances[t] = fading * importances[t] + gain
                for j in range(m):
                    output[j] += share * np.float64(V[t, j])
            masses[i, h] = math.log(total) + largest
