"""Kernels of attention over selected tokens: their selection, and the softmax over them."""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import kernel
from ...lsh.kernels.prefetch import prefetch_read
from .heaps import keep_best

__all__ = ["attend_selected", "select_tokens"]

#: Sums of a product that do not wait for each other, tokens by which rows are prefetched, bytes of a line.
_LANES, _AHEAD, _LINE = 32, 8, 64


@kernel
def select_tokens(scores, positions, sinks, window, start, stop, out):
    """Write the first, the latest, and the best tokens of the queries [start, stop).

    Parameters
    ----------
    scores : ndarray of shape (n_queries, n), float64
        No NaN. Tokens with minus infinity are not selected.
    positions : ndarray of shape (n_queries,), int64
        From -1 to n - 1. Tokens after it are not selected.
    sinks, window : int
        Numbers of first and of latest tokens, at most k in all.
    out : ndarray of shape (n_queries, k), int64
        The tokens, rising, and -1 behind them where there are fewer than k.
    """
    k = out.shape[1]
    keys, numbers = np.empty(k), np.empty(k, np.int64)
    for q in range(start, stop):
        end = positions[q] + 1
        first = min(sinks, end)
        last = max(first, end - window)
        row, at, n_latest = out[q], 0, 0
        for i in range(first):
            if scores[q, i] > -math.inf:
                row[at] = i
                at += 1
        for i in range(last, end):
            n_latest += scores[q, i] > -math.inf
        size, room = 0, k - at - n_latest
        if room > 0:
            worst = math.inf
            for i in range(first, last):
                # Most tokens are refused here. Of equal scores, that of the earlier token is better.
                key = -scores[q, i]
                if key < worst or (size < room and key < math.inf):
                    size = keep_best(i, key, room, 0, size, numbers, keys)
                    worst = keys[0]
        row[at : at + size] = np.sort(numbers[:size])
        at += size
        for i in range(last, end):
            if scores[q, i] > -math.inf:
                row[at] = i
                at += 1
        row[at:] = -1


@kernel
def attend_selected(Q, K, V, tokens, scale, start, stop, out, masses):
    """Write the softmax-weighted means of the values of selected tokens, for the queries [start, stop).

    Parameters
    ----------
    Q : ndarray of shape (n_queries, d), float64
    K : ndarray of shape (n, d), float32 or float64
    V : ndarray of shape (n, m), float32 or float64
    tokens : ndarray of shape (n_queries, k), int64
        Below n; those below 0 are left out.
    scale : float
    out : ndarray of shape (n_queries, m), float64
        NaN for a query without tokens.
    masses : ndarray of shape (n_queries,), float64
        The logarithm of the sum of the exponentials of the selected tokens, minus infinity without tokens.
        NaN marks a query with a product that is not finite, for which nothing is written.
    """
    d, m, k = Q.shape[1], V.shape[1], tokens.shape[1]
    logits, query, lanes = np.empty(k), np.empty(d), np.empty(_LANES)
    whole, line = d - d % _LANES, _LINE // K.itemsize
    for q in range(start, stop):
        for j in range(d):
            query[j] = scale * Q[q, j]
        largest, is_finite = -math.inf, True
        for t in range(k):
            if t + _AHEAD < k and tokens[q, t + _AHEAD] >= 0:
                key, value = K[tokens[q, t + _AHEAD]], V[tokens[q, t + _AHEAD]]
                for j in range(0, d, line):
                    prefetch_read(key, j)
                for j in range(0, m, line):
                    prefetch_read(value, j)
            token = tokens[q, t]
            if token < 0:
                continue
            key = K[token]
            # Feature j goes to sum j mod 32, and the sums are added up in their order.
            lanes[:] = 0.0
            for j in range(0, whole, _LANES):
                for lane in range(_LANES):
                    lanes[lane] += query[j + lane] * np.float64(key[j + lane])
            for j in range(whole, d):
                lanes[j - whole] += query[j] * np.float64(key[j])
            logit = 0.0
            for lane in range(_LANES):
                logit += lanes[lane]
            logits[t] = logit
            is_finite = is_finite and math.isfinite(logit)
            largest = max(largest, logit)
        # Without tokens, it is finite.
        if not is_finite:
            masses[q] = math.nan
            continue
        total = 0.0
        for t in range(k):
            if tokens[q, t] >= 0:
                logits[t] = math.exp(logits[t] - largest)
                total += logits[t]
        sums = out[q]
        sums[:] = 0.0 if total > 0.0 else math.nan
        for t in range(k):
            token = tokens[q, t]
            if token < 0:
                continue
            # Shares add up to 1, so that no sum is larger than the largest value.
            weight, value = logits[t] / total, V[token]
            for j in range(m):
                sums[j] += weight * np.float64(value[j])
        masses[q] = math.log(total) + largest if total > 0.0 else -math.inf
