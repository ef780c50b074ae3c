"""Kernels that train hyperplanes: pairs that share buckets or should, and the gradient of their loss."""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import mix64

__all__ = [
    "LEAST",
    "add_pair_gradients",
    "find_pairs",
    "relaxed_codes",
    "slopes_of_codes",
    "slopes_of_tables",
]

#: The least probability that two bits agree, and that two codes differ, so that losses are finite.
LEAST = 1e-3

_ONE = np.uint64(1)


@helper
def _keep_smallest(priority, item, size, priorities, items):
    """Put an item into a list of items with the smallest priorities, the largest last; return its size."""
    place = size
    if size == priorities.size:
        if size == 0 or priority >= priorities[size - 1]:
            return size
        place = size - 1
    else:
        size += 1
    while place > 0 and priorities[place - 1] > priority:
        priorities[place], items[place] = priorities[place - 1], items[place - 1]
        place -= 1
    priorities[place], items[place] = priority, item
    return size


@kernel
def find_pairs(codes, members, places, indptr, labels, key, start, stop, seen, found, wrong, sizes):
    """Tell which labels of the rows [start, stop) share a bucket with them, and which other neurons do.

    Parameters
    ----------
    codes : ndarray of shape (n, n_hashes), uint32
        Codes of rows.
    members : ndarray of shape (n_hashes, n_neurons), int32
        Neurons by table, in the order of their buckets.
    places : ndarray of shape (n_hashes, n_buckets + 1), int64
        The place in `members` where each bucket begins.
    indptr, labels : ndarray of int64 and int32
        The neurons for which each row should be active.
    key : uint64
        Decides which wrong neurons are kept, of those that there are too many of.
    seen : ndarray of shape (n_neurons,), int32
        Scratch, all smaller than start at the beginning.
    found : ndarray of shape (labels.size,), uint8
        Set to 1 for labels that share a bucket with their row, and to 0 for others.
    wrong : ndarray of shape (n, n_wrong), int32
        Neurons that share a bucket and are no labels, -1 where there are fewer.
    sizes : ndarray of shape (n,), int64
        The number of neurons that share a bucket with the row.
    """
    n_wrong = wrong.shape[1]
    priorities = np.empty(n_wrong, np.uint64)
    for i in range(start, stop):
        row_key = mix64(key ^ mix64(np.uint64(i) + _ONE))
        # Labels are marked twice: once as labels, by -2 - i, and by i where they are in a bucket.
        for j in range(indptr[i], indptr[i + 1]):
            found[j] = 0
            seen[labels[j]] = -2 - i
        size, n_kept = 0, 0
        for h in range(codes.shape[1]):
            code = codes[i, h]
            for at in range(places[h, code], places[h, code + 1]):
                neuron = members[h, at]
                if seen[neuron] == i:
                    continue
                is_label = seen[neuron] == -2 - i
                seen[neuron] = i
                size += 1
                if not is_label:
                    priority = mix64(row_key ^ np.uint64(neuron))
                    n_kept = _keep_smallest(priority, neuron, n_kept, priorities, wrong[i])
        for j in range(indptr[i], indptr[i + 1]):
            found[j] = seen[labels[j]] == i
            # A label that was not found would else count as that of a later row.
            seen[labels[j]] = i
        wrong[i, n_kept:] = -1
        sizes[i] = size


@kernel
def relaxed_codes(X, rows, planes, start, stop, out):
    """Set ``out[t]`` to the hyperbolic tangents of the products of row ``rows[t]`` with all planes.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
    rows : ndarray of int32
    planes : ndarray of shape (d, n_planes), float32
    out : ndarray of shape (m, n_planes), float32
    """
    for t in range(start, stop):
        sums, row = out[t], X[rows[t]]
        sums[:] = 0
        for k in range(row.size):
            x, column = row[k], planes[k]
            for p in range(sums.size):
                sums[p] += x * column[p]
        for p in range(sums.size):
            sums[p] = math.tanh(sums[p])


@kernel
def slopes_of_codes(left, right, signs, gain, start, stop, slopes, losses):
    """Set the losses of pairs by the products of their relaxed codes, and the slopes of the losses.

    The loss of a pair is ``-log(sigmoid(sign gain <left, right>))``.

    Parameters
    ----------
    left, right : ndarray of shape (m, n_planes), float32
        Relaxed codes of rows and of neurons.
    signs : ndarray of shape (m,), int8
        1 for pairs that should share a bucket, -1 for those that should not.
    slopes : ndarray of shape (m, n_planes), float32
        The derivative by ``left[t, p] * right[t, p]``.
    losses : ndarray of shape (m,), float64
    """
    for t in range(start, stop):
        product = 0.0
        for p in range(left.shape[1]):
            product += np.float64(left[t, p]) * np.float64(right[t, p])
        score = signs[t] * gain * product
        small = math.exp(-abs(score))
        losses[t] = max(-score, 0.0) + math.log1p(small)
        share = small / (1.0 + small) if score >= 0.0 else 1.0 / (1.0 + small)
        slopes[t, :] = np.float32(-signs[t] * gain * share)


@kernel
def slopes_of_tables(left, right, signs, power, weight, start, stop, slopes, losses):
    """Set the losses of pairs by the probability that they share a bucket, and the slopes of the losses.

    A relaxed bit a is 1 with probability (1 + a) / 2, and those of a pair agree with probability (1 + a b) /
    2. All `power` bits of a table agree with the product p of these, and some table agrees with q = 1 - prod
    (1 - p). The loss is ``-log(q)`` if the pair should share a bucket, and ``-weight log(1 - q)`` if not.
    Parameters are those of `slopes_of_codes`. Bit k of table h has the number ``k n_tables + h``.
    """
    n_tables = left.shape[1] // power
    agree = np.empty(n_tables)
    for t in range(start, stop):
        some, log_none = 0.0, 0.0
        for h in range(n_tables):
            product = 1.0
            for k in range(power):
                p = k * n_tables + h
                product *= max(0.5 + 0.5 * np.float64(left[t, p]) * np.float64(right[t, p]), LEAST)
            agree[h] = min(product, 1.0 - LEAST)
            some += agree[h] * (1.0 - some)
            log_none += math.log1p(-agree[h])
        losses[t] = -math.log(some) if signs[t] > 0 else -weight * log_none
        none = math.exp(log_none)
        for h in range(n_tables):
            slope = -(none / (1.0 - agree[h])) / some if signs[t] > 0 else weight / (1.0 - agree[h])
            for k in range(power):
                p = k * n_tables + h
                bit = max(0.5 + 0.5 * np.float64(left[t, p]) * np.float64(right[t, p]), LEAST)
                slopes[t, p] = np.float32(0.5 * slope * agree[h] / bit)


@kernel
def add_pair_gradients(X, rows, W, neurons, left, right, slopes, start, stop, gradients):
    """Add the gradient of the losses of all pairs to those of the planes [start, stop).

    Parameters
    ----------
    X, W : ndarray of shape (n, d), (n_neurons, d), float32
    rows, neurons : ndarray of shape (m,), int32
    left, right, slopes : ndarray of shape (m, n_planes), float32
    gradients : ndarray of shape (n_planes, d), float32
    """
    one = np.float32(1)
    for p in range(start, stop):
        out = gradients[p]
        for t in range(rows.size):
            a, b, slope = left[t, p], right[t, p], slopes[t, p]
            by_row, by_neuron = slope * b * (one - a * a), slope * a * (one - b * b)
            x, w = X[rows[t]], W[neurons[t]]
            for k in range(out.size):
                out[k] += by_row * x[k] + by_neuron * w[k]
