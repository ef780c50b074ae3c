"""Kernels of a network with one hidden layer that predicts in which buckets the right items of a row lie.

A row x has the hidden units ``h = max(0, x W + b)`` and gives bucket c the probability p_c, the softmax of
``h V + d``. The loss of a row is the cross-entropy of p and of the shares of the row's right items that lie
in each bucket. Sums have one order, and products are rounded before they are added, so that results do not
depend on threads and processors.
"""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["BATCH", "add_item_scores", "score_buckets", "train_rows"]

#: Rows whose gradients are added up before the weights change.
BATCH = 32
#: What is added to roots of sums of squares that divide.
_LEAST = np.float32(1e-6)


@helper
def _add_rows(factors, numbers, n, matrix, total):
    """Add ``factors[j]`` times row ``numbers[j]`` of a matrix to a row, for j < n, four rows at a time."""
    width = np.uint64(total.size)
    for j in range(0, n - 3, 4):
        a, b, c, d = factors[j], factors[j + 1], factors[j + 2], factors[j + 3]
        of_a, of_b = matrix[numbers[j]], matrix[numbers[j + 1]]
        of_c, of_d = matrix[numbers[j + 2]], matrix[numbers[j + 3]]
        for v in range(np.uint64(0), width):
            total[v] += (a * of_a[v] + b * of_b[v]) + (c * of_c[v] + d * of_d[v])
    for j in range(n - n % 4, n):
        a, of_a = factors[j], matrix[numbers[j]]
        for v in range(np.uint64(0), width):
            total[v] += a * of_a[v]


@helper
def _gather_nonzero(row, factors, numbers):
    """List the numbers of a row that are not 0, and their places; return how many there are."""
    n = 0
    for j in range(row.size):
        if row[j] != 0:
            factors[n], numbers[n] = row[j], j
            n += 1
    return n


@helper
def _predict(indices, data, W, b, V, d, factors, numbers, hidden, odds):
    """Compute the hidden units of a row and the probabilities of buckets."""
    hidden[:] = b
    _add_rows(data, indices, data.size, W, hidden)
    for h in range(hidden.size):
        hidden[h] = max(hidden[h], np.float32(0))
    odds[:] = d
    _add_rows(factors, numbers, _gather_nonzero(hidden, factors, numbers), V, odds)
    largest = odds[0]
    for c in range(odds.size):
        largest = max(largest, odds[c])
    total = 0.0
    for c in range(odds.size):
        odds[c] = math.exp(np.float64(odds[c] - largest))
        total += odds[c]
    share = np.float32(1.0 / total)
    for c in range(odds.size):
        odds[c] *= share


@kernel
def score_buckets(indptr, indices, data, order, W, b, V, d, start, stop, scores):
    """Set ``scores[i]`` to the probabilities of all buckets for row ``order[i]``, from start to stop."""
    most = max(W.shape[1], V.shape[1])
    factors, numbers = np.empty(most, np.float32), np.empty(most, np.int64)
    hidden = np.empty(W.shape[1], np.float32)
    for i in range(start, stop):
        here = slice(indptr[order[i]], indptr[order[i] + 1])
        _predict(indices[here], data[here], W, b, V, d, factors, numbers, hidden, scores[i])


@kernel
def add_item_scores(
    indptr, indices, data, right_offsets, right_items, W, b, V, d, first, last, start, stop, scores
):
    """Add the probabilities of buckets for the rows [start, stop) to those of their right items.

    Item y has ``scores[y - first]``, and only the items [first, last) count.
    """
    most = max(W.shape[1], V.shape[1])
    factors, numbers = np.empty(most, np.float32), np.empty(most, np.int64)
    hidden, odds = np.empty(W.shape[1], np.float32), np.empty(V.shape[1], np.float32)
    for i in range(start, stop):
        known = False
        for j in range(right_offsets[i], right_offsets[i + 1]):
            item = right_items[j]
            if not first <= item < last:
                continue
            if not known:
                here = slice(indptr[i], indptr[i + 1])
                _predict(indices[here], data[here], W, b, V, d, factors, numbers, hidden, odds)
                known = True
            total = scores[item - first]
            for c in range(odds.size):
                total[c] += odds[c]


@helper
def _step(gradient, rate, sums, weights):
    """Take a step of Adagrad along a row of gradients."""
    for v in range(np.uint64(0), np.uint64(gradient.size)):
        sums[v] += gradient[v] * gradient[v]
        weights[v] -= rate * gradient[v] / (np.sqrt(sums[v]) + _LEAST)


@kernel
def train_rows(
    indptr, indices, data, right_offsets, right_items, places, order, rate, start, stop,
    W, b, V, d, squares_W, squares_b, squares_V, squares_d,
):  # fmt: skip
    """Take steps of stochastic gradient descent along the rows ``order[start:stop]``, BATCH at a time.

    Steps are divided by the roots of sums of squared gradients (Adagrad): of each parameter, but one sum for
    each row of W, which has the mean square of the row's gradients.

    Parameters
    ----------
    right_offsets, right_items : the right items of row i are ``right_items[right_offsets[i]:][:...]``
    places : the bucket of each item
    squares_W : ndarray of shape (n_features,)
    squares_b, squares_V, squares_d : as b, V and d
    """
    n_hidden, n_buckets = V.shape
    hidden, slopes = np.empty((BATCH, n_hidden), np.float32), np.empty((BATCH, n_hidden), np.float32)
    errors, back = np.empty((BATCH, n_buckets), np.float32), np.empty((n_buckets, n_hidden), np.float32)
    most = max(n_hidden, n_buckets, BATCH)
    factors, numbers = np.empty(most, np.float32), np.empty(most, np.int64)
    column, gradient = np.empty(BATCH, np.float32), np.empty(most, np.float32)
    for first in range(start, stop, BATCH):
        n = min(BATCH, stop - first)
        for h in range(n_hidden):
            for c in range(n_buckets):
                back[c, h] = V[h, c]
        for i in range(n):
            row = order[first + i]
            here = slice(indptr[row], indptr[row + 1])
            _predict(indices[here], data[here], W, b, V, d, factors, numbers, hidden[i], errors[i])
            right = right_items[right_offsets[row] : right_offsets[row + 1]]
            if right.size == 0:
                errors[i] = 0.0
            for item in right:
                errors[i, places[item]] -= np.float32(1.0 / right.size)
            slopes[i] = 0.0
            _add_rows(errors[i], np.arange(n_buckets), n_buckets, back, slopes[i])
            for h in range(n_hidden):
                if hidden[i, h] == 0:
                    slopes[i, h] = 0.0
        for h in range(n_hidden):
            for i in range(n):
                column[i] = hidden[i, h]
            active = _gather_nonzero(column[:n], factors, numbers)
            if active:
                sums = gradient[:n_buckets]
                sums[:] = 0.0
                _add_rows(factors, numbers, active, errors, sums)
                _step(sums, rate, squares_V[h], V[h])
        ones = factors[:n]
        ones[:] = 1.0
        rows = np.arange(n)
        sums = gradient[:n_buckets]
        sums[:] = 0.0
        _add_rows(ones, rows, n, errors, sums)
        _step(sums, rate, squares_d, d)
        sums = gradient[:n_hidden]
        sums[:] = 0.0
        _add_rows(ones, rows, n, slopes, sums)
        _step(sums, rate, squares_b, b)
        for i in range(n):
            row, slope = order[first + i], slopes[i]
            square = np.float32(0.0)
            for h in range(n_hidden):
                square += slope[h] * slope[h]
            if square == 0:
                continue
            square /= np.float32(n_hidden)
            for j in range(indptr[row], indptr[row + 1]):
                f, x = indices[j], data[j]
                squares_W[f] += x * x * square
                by = rate * x / (np.sqrt(squares_W[f]) + _LEAST)
                of_f = W[f]
                for h in range(np.uint64(0), np.uint64(n_hidden)):
                    of_f[h] -= by * slope[h]
