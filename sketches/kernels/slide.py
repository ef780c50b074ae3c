"""Kernels of `SlideClassifier`: a network of one hidden layer of which only what a batch touches is computed.

A *pair* is a row of the batch and a label that is active for it, or a row and a feature that it has. Pairs
are grouped by label (or feature): label ``touched[u]`` has the pairs from ``offsets[u]`` to ``offsets[u +
1]``. So its weights are read once for all rows of the batch, one thread owns them, and sums over its rows
have one order. ``places`` lists the pairs row by row: row b has those from ``bounds[b]`` to ``bounds[b +
1]``, the targets before the others.

They have no twins on GPUs.
"""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch_read
from ...lsh.kernels.words import mix64
from .signed_lanes import address_of
from .slide_rows import add_scaled, dot, fetch_row, move_number, move_row, read_row, write_row

__all__ = [
    "activate",
    "group_pairs",
    "row_deltas",
    "row_maxima",
    "row_sums",
    "score_pairs",
    "shift_pairs",
    "update_features",
    "update_labels",
]

_SIZE = np.uint64(4)
#: Rows of weights that are fetched ahead: their places in memory are random.
_AHEAD = 4


@helper
def _rounding_word(seed, row):
    """Return the word of the random numbers that round a row, not 0; or 0 for the seed 0."""
    return seed if seed == 0 else mix64(seed ^ np.uint64(row)) | np.uint64(1)


@kernel
def group_pairs(ids, bounds, slots, touched, offsets, rows, places):
    """Group pairs by their ids, in the order in which ids occur first, and return the number of ids.

    Parameters
    ----------
    ids : array of int32
        The ids of row b are those from ``bounds[b]`` to ``bounds[b + 1]``.
    bounds : array of int64
    slots : array of int32
        All -1 here and on return; an entry for each id that there can be.
    touched : array of int32
        Receives the distinct ids.
    offsets : array of int64, with an entry more than `touched` has room for ids
        Receives where the pairs of each distinct id begin.
    rows : array of int32
        Receives the row of each pair, in the new order.
    places : array of int32
        Receives the new place of each pair.
    """
    n, first, last = 0, bounds[0], bounds[bounds.size - 1]
    for i in range(first, last):
        slot = slots[ids[i]]
        if slot < 0:
            slot = n
            slots[ids[i]] = n
            touched[n] = ids[i]
            offsets[n + 1] = 0
            n += 1
        offsets[slot + 1] += 1
    offsets[0] = 0
    for u in range(n):
        offsets[u + 1] += offsets[u]
    # Each offset moves to the end of its pairs, which is where the next id's pairs begin.
    for b in range(bounds.size - 1):
        for i in range(bounds[b], bounds[b + 1]):
            slot = slots[ids[i]]
            place = offsets[slot]
            rows[place] = b
            places[i - first] = place
            offsets[slot] = place + 1
    for u in range(n, 0, -1):
        offsets[u] = offsets[u - 1]
    offsets[0] = 0
    for u in range(n):
        slots[touched[u]] = -1
    return n


@kernel
def activate(indices, data, bounds, weights, halves, start, stop, hidden):
    """Set the rows [start, stop) of `hidden` to the activations: the positive parts of sums of weights."""
    bits = np.empty(hidden.shape[1], np.uint32)
    row = bits.view(np.float32)
    for b in range(start, stop):
        out = hidden[b]
        out[:] = 0.0
        for i in range(bounds[b], bounds[b + 1]):
            if i + _AHEAD < bounds[stop]:
                fetch_row(weights, indices[i + _AHEAD])
                fetch_row(halves, indices[i + _AHEAD])
            read_row(weights, halves, indices[i], bits)
            add_scaled(row, data[i], out)
        for j in range(out.size):
            out[j] = max(out[j], np.float32(0.0))


@kernel
def score_pairs(hidden, touched, offsets, rows, weights, halves, biases, start, stop, scores):
    """Set the scores of the pairs of the touched labels [start, stop): inner products and biases."""
    width = hidden.shape[1]
    bits = np.empty(width, np.uint32)
    row, base = address_of(bits), address_of(hidden)
    for u in range(start, stop):
        label = touched[u]
        if u + _AHEAD < stop:
            fetch_row(weights, touched[u + _AHEAD])
            fetch_row(halves, touched[u + _AHEAD])
        read_row(weights, halves, label, bits)
        bias = biases[label, 0]
        for i in range(offsets[u], offsets[u + 1]):
            scores[i] = dot(base + np.uint64(rows[i] * width) * _SIZE, row, width) + bias


@kernel
def shift_pairs(active, bounds, places, n_found, tails, shifts, start, stop, scores):
    """Add to the scores of random labels the logarithms of the numbers of labels that they stand for.

    Parameters
    ----------
    active : array of int32
        The labels of the pairs, row by row.
    n_found : array of int64
        The number of labels of each row that stand for themselves, which come first.
    tails : array of float32
        What is added in each row.
    shifts : array of float32
        What is added for each label; or it is empty.
    """
    for b in range(start, stop):
        for i in range(bounds[b] + n_found[b], bounds[b + 1]):
            shift = tails[b]
            if shifts.size > 0:
                shift += shifts[active[i]]
            scores[places[i]] += shift


@kernel
def row_maxima(bounds, places, scores, start, stop, maxima):
    """Set the largest score of each of the rows [start, stop); minus infinity where there is none."""
    for b in range(start, stop):
        largest = np.float32(-np.inf)
        for i in range(bounds[b], bounds[b + 1]):
            largest = max(largest, scores[places[i]])
        maxima[b] = largest


@kernel
def row_sums(bounds, places, scores, maxima, start, stop, sums):
    """Set the sum of ``exp(score - maximum)`` of each of the rows [start, stop)."""
    for b in range(start, stop):
        total = 0.0
        for i in range(bounds[b], bounds[b + 1]):
            total += math.exp(scores[places[i]] - maxima[b])
        sums[b] = total


@kernel
def row_deltas(bounds, places, n_own, n_targets, maxima, sums, scale, start, stop, scores, losses):
    """Replace the scores of the rows [start, stop) by derivatives of the loss, and set the losses of rows.

    The loss of a row is the cross-entropy of the softmax over its active labels. Its targets have equal
    shares of the probability.

    Parameters
    ----------
    n_own, n_targets : arrays of int32
        The number of targets among the pairs of each row, which come first, and the number of all its
        targets, which may have labels in other ranges. Rows without targets have no loss.
    scale : float
        The factor of the derivatives, such as 1 over the number of rows.
    """
    for b in range(start, stop):
        loss = 0.0
        share = 1.0 / n_targets[b] if n_targets[b] > 0 else 0.0
        factor = scale if n_targets[b] > 0 else 0.0
        constant = maxima[b] + math.log(sums[b]) if sums[b] > 0.0 else 0.0
        for i in range(bounds[b], bounds[b + 1]):
            place = places[i]
            delta = math.exp(scores[place] - constant)
            if i - bounds[b] < n_own[b]:
                loss -= share * (scores[place] - constant)
                delta -= share
            scores[place] = np.float32(factor * delta)
        losses[b] = loss


@kernel
def update_labels(
    hidden, touched, offsets, rows, deltas, rates, settings, seed, start, stop,
    weights, halves, first, second, biases, steps, gradients,
):  # fmt: skip
    """Move the weights of the touched labels [start, stop) by Adam, and add up the gradients of the rows.

    Parameters
    ----------
    deltas : array of float32
        The derivative of the loss by the score of each pair.
    rates : array of float32, shape (2, times)
        For the t-th step of a row, t = 0 being the first: the learning rate over 1 - beta_1^(t+1), and 1
        over the root of 1 - beta_2^(t+1). The last column is that of all later steps.
    settings : tuple of beta_1, beta_2, epsilon
    seed : uint64
        Selects random numbers that round bfloat16 weights; 0 rounds to the nearest.
    weights, halves, first, second : arrays of shape (labels, width)
    biases : array of shape (labels, 3)
        The bias, and its two moments.
    steps : array of int32
        The number of steps of each label.
    gradients : array of shape (rows, width)
        The gradients by the activations are added to it.
    """
    width = hidden.shape[1]
    bits, gradient = np.empty(width, np.uint32), np.empty(width, np.float32)
    row = bits.view(np.float32)
    for u in range(start, stop):
        label = touched[u]
        if u + _AHEAD < stop:
            following = touched[u + _AHEAD]
            for array in (weights, first, second):
                fetch_row(array, following)
            fetch_row(halves, following)
            prefetch_read(steps, following)
            prefetch_read(biases, 3 * np.int64(following))
        read_row(weights, halves, label, bits)
        gradient[:] = 0.0
        total = np.float32(0.0)
        for i in range(offsets[u], offsets[u + 1]):
            b, delta = rows[i], deltas[i]
            add_scaled(row, delta, gradients[b])
            add_scaled(hidden[b], delta, gradient)
            total += delta
        t = min(np.int64(steps[label]), rates.shape[1] - 1)
        move_row(gradient, first[label], second[label], rates[0, t], rates[1, t], settings, row)
        move_number(total, rates[0, t], rates[1, t], settings, biases[label])
        word = (
            seed
            if seed == 0
            else mix64(mix64(seed ^ np.uint64(label)) ^ np.uint64(steps[label])) | np.uint64(1)
        )
        write_row(bits, word, 0, weights, halves, label)
        steps[label] += 1


@kernel
def update_features(
    gradients, touched, offsets, rows, values, rates, settings, seed, column, start, stop,
    weights, halves, first, second, steps,
):  # fmt: skip
    """Move the weights of the touched features [start, stop) by Adam; arguments as for `update_labels`.

    `values` has the number of each pair of a row and a feature. `column` is the hidden unit of the first
    column, on which random roundings depend.
    """
    width = gradients.shape[1]
    bits, gradient = np.empty(width, np.uint32), np.empty(width, np.float32)
    row = bits.view(np.float32)
    for u in range(start, stop):
        feature = touched[u]
        if u + _AHEAD < stop:
            following = touched[u + _AHEAD]
            for array in (weights, first, second):
                fetch_row(array, following)
            fetch_row(halves, following)
            prefetch_read(steps, following)
        read_row(weights, halves, feature, bits)
        gradient[:] = 0.0
        for i in range(offsets[u], offsets[u + 1]):
            add_scaled(gradients[rows[i]], values[i], gradient)
        t = min(np.int64(steps[feature]), rates.shape[1] - 1)
        move_row(gradient, first[feature], second[feature], rates[0, t], rates[1, t], settings, row)
        word = (
            seed
            if seed == 0
            else mix64(mix64(seed ^ np.uint64(feature)) ^ np.uint64(steps[feature])) | np.uint64(1)
        )
        write_row(bits, word, column, weights, halves, feature)
        steps[feature] += 1
