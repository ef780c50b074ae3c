"""Kernels that rank labels by their scores: `SlideClassifier` predicts with them."""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import kernel
from .heaps import keep_best, sort_best
from .signed_lanes import address_of
from .slide_rows import dot, read_row

__all__ = ["add_exponentials", "rank_block", "rank_candidates", "sort_rows"]

_SIZE = np.uint64(4)


@kernel
def rank_block(values, biases, first, start, stop, labels, keys, sizes):
    """Take the labels from `first` on into the heaps of the best labels of the rows [start, stop).

    ``values[i - start, v]`` is the product of row i and label ``first + v``, and ``biases[v, 0]`` the bias
    of this label. The key of a label is its negative score.
    """
    k = labels.shape[1]
    for i in range(start, stop):
        row, size = values[i - start], sizes[i]
        for v in range(biases.shape[0]):
            size = keep_best(first + v, -(row[v] + biases[v, 0]), k, 0, size, labels[i], keys[i])
        sizes[i] = size


@kernel
def add_exponentials(values, biases, start, stop, maxima, sums):
    """Add the exponentials of the scores of a block of labels to the sums of the rows [start, stop).

    The sums are those of ``exp(score - maximum)``, and both change when a larger score comes.
    """
    for i in range(start, stop):
        row, largest = values[i - start], maxima[i]
        for v in range(biases.shape[0]):
            largest = max(largest, row[v] + biases[v, 0])
        total = sums[i] * math.exp(maxima[i] - largest) if sums[i] > 0.0 else 0.0
        for v in range(biases.shape[0]):
            total += math.exp(row[v] + biases[v, 0] - largest)
        maxima[i], sums[i] = largest, total


@kernel
def rank_candidates(
    hidden, active, counts, weights, halves, biases, first, start, stop, labels, keys, sizes, maxima, sums
):
    """Take the labels ``first + active[i, :counts[i]]`` of rows into heaps; see the two kernels above."""
    k, width = labels.shape[1], hidden.shape[1]
    bits, scores = np.empty(width, np.uint32), np.empty(active.shape[1], np.float32)
    row, base = address_of(bits), address_of(hidden)
    for i in range(start, stop):
        size, largest = sizes[i], maxima[i]
        for c in range(counts[i]):
            label = active[i, c]
            read_row(weights, halves, label, bits)
            score = dot(base + np.uint64(i * width) * _SIZE, row, width) + biases[label, 0]
            size = keep_best(first + label, -score, k, 0, size, labels[i], keys[i])
            largest = max(largest, score)
            scores[c] = score
        total = sums[i] * math.exp(maxima[i] - largest) if sums[i] > 0.0 else 0.0
        for c in range(counts[i]):
            total += math.exp(scores[c] - largest)
        sizes[i], maxima[i], sums[i] = size, largest, total


@kernel
def sort_rows(start, stop, labels, keys, sizes):
    """Bring the heaps of the rows [start, stop) into order, the best label first."""
    for i in range(start, stop):
        sort_best(0, sizes[i], labels[i], keys[i])
