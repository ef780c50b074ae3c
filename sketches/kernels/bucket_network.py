"""Kernels of a network with one hidden layer that scores the buckets of several chunks."""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["bucket_slopes", "hidden_units", "log_probabilities", "step_of_features"]


@kernel
def hidden_units(indptr, indices, data, rows, weights, bias, start, stop, out):
    """Set ``out[t]`` to the hidden units of sparse row ``rows[t]``: products, plus the bias, or 0 if below.

    Parameters
    ----------
    indptr, indices, data : ndarray of int64, int32 and float32
    rows : ndarray of int64
    weights : ndarray of shape (n_features, n_hidden), float32
    bias : ndarray of shape (n_hidden,), float32
    out : ndarray of shape (at least stop, n_hidden), float32
    """
    for t in range(start, stop):
        sums = out[t]
        sums[:] = bias
        for j in range(indptr[rows[t]], indptr[rows[t] + 1]):
            x, column = data[j], weights[indices[j]]
            for k in range(sums.size):
                sums[k] += x * column[k]
        for k in range(sums.size):
            sums[k] = max(sums[k], np.float32(0))


@helper
def _add_bias(scores, bias):
    """Add the bias to the scores of a chunk; return the logarithm of the sum of their exponentials."""
    largest = -np.inf
    for b in range(bias.size):
        scores[b] += bias[b]
        largest = max(largest, np.float64(scores[b]))
    total = 0.0
    for b in range(bias.size):
        total += math.exp(np.float64(scores[b]) - largest)
    return largest + math.log(total)


@kernel
def log_probabilities(scores, bias, n_buckets, start, stop):
    """Replace the scores of rows by the logarithms of the probabilities of buckets, in each chunk.

    Parameters
    ----------
    scores : ndarray of shape (n, at least bias.size), float32
    bias : ndarray of shape (n_chunks * n_buckets,), float32
    """
    for t in range(start, stop):
        for a in range(0, bias.size, n_buckets):
            part = scores[t, a : a + n_buckets]
            total = _add_bias(part, bias[a : a + n_buckets])
            for b in range(n_buckets):
                part[b] = np.float32(np.float64(part[b]) - total)


@kernel
def bucket_slopes(scores, bias, rows, indptr, items, codes, n_buckets, start, stop, losses):
    """Replace the scores of rows by the slopes of the losses, and set the losses.

    The loss of a row is the mean over its items of ``-log(probability)`` of the item's bucket, summed over
    chunks.

    Parameters
    ----------
    scores, bias
        As for `log_probabilities`. Columns beyond the bias are set to 0.
    rows : ndarray of int64
        Row t of the scores has the items ``items[indptr[rows[t]] : indptr[rows[t] + 1]]``, at least one.
    codes : ndarray of shape (n_items, n_chunks), uint16
        The bucket of each item in each chunk.
    losses : ndarray of shape (n,), float64
    """
    for t in range(start, stop):
        first, last = indptr[rows[t]], indptr[rows[t] + 1]
        share, loss = 1.0 / (last - first), 0.0
        for chunk in range(bias.size // n_buckets):
            a = chunk * n_buckets
            part = scores[t, a : a + n_buckets]
            total = _add_bias(part, bias[a : a + n_buckets])
            for j in range(first, last):
                loss += share * (total - np.float64(part[codes[items[j], chunk]]))
            for b in range(n_buckets):
                part[b] = np.float32(math.exp(np.float64(part[b]) - total))
            for j in range(first, last):
                part[codes[items[j], chunk]] -= np.float32(share)
        scores[t, bias.size :] = 0
        losses[t] = loss


@kernel
def step_of_features(places, entry_rows, values, features, slopes, rate, start, stop, weights, squares):
    """Take a step of Adagrad with the weights of the features of a batch.

    Parameters
    ----------
    places : ndarray of shape (n_features + 1,), int64
        Where the entries of each feature of the batch begin.
    entry_rows, values : ndarray of int64 and float32
        The row of the batch and the value of each entry.
    features : ndarray of int64
        The features of the batch, of which the kernel steps those from start to stop.
    slopes : ndarray of shape (n, n_hidden), float32
        The slope of the batch's loss by each hidden unit.
    weights, squares : ndarray of shape (all features, n_hidden), float32
    """
    gradient = np.empty(slopes.shape[1], np.float32)
    for f in range(start, stop):
        gradient[:] = 0
        for j in range(places[f], places[f + 1]):
            x, row = values[j], slopes[entry_rows[j]]
            for k in range(gradient.size):
                gradient[k] += x * row[k]
        w, s = weights[features[f]], squares[features[f]]
        for k in range(gradient.size):
            s[k] += gradient[k] * gradient[k]
            w[k] -= rate * gradient[k] / (np.sqrt(s[k]) + np.float32(1e-8))
