"""Kernels that fit the codebooks of ProductQuantizer: seeds by k-means++, and sums of Lloyd's steps.

The sums are integers: rows are multiplied by a power of two and rounded. So they do not depend on the order
in which rows, threads and ranks add them. The kernels take a range of groups. They run on the CPU only.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel
from .product_quantizer import nearest_centroid

__all__ = ["add_lloyd_sums", "draw_centroids"]


@kernel
def add_lloyd_sums(X, row_weights, channel_weights, centroids, units, start, stop, masses, sums, errors):
    """Add the rows to the sums of their nearest centroids, for the groups [start, stop).

    X (n, G c), row_weights (n, 1 or a divisor of G), channel_weights (G c), centroids (G, c, K) are float64.
    units are the numbers that weights, weighted rows and weighted squared distances are multiplied by.
    masses (G, K), sums (G, c, K) and errors (G) are int64.
    """
    n_groups, width, n_codes = centroids.shape
    share = n_groups // row_weights.shape[1]
    distances = np.empty(n_codes)
    for g in range(start, stop):
        for i in range(X.shape[0]):
            row_weight = row_weights[i, g // share]
            if row_weight == 0.0:
                continue
            best, least = nearest_centroid(X, i, channel_weights, centroids, g, distances)
            masses[g, best] += np.int64(np.rint(row_weight * units[0]))
            errors[g] += np.int64(np.rint(row_weight * least * units[2]))
            for j in range(width):
                sums[g, j, best] += np.int64(np.rint(row_weight * X[i, g * width + j] * units[1]))


@kernel
def draw_centroids(X, row_weights, channel_weights, draws, used, start, stop, centroids):
    """Put rows into the places of centroids that are not used, for the groups [start, stop).

    A row is drawn with odds of its weight times its squared distance from the nearest centroid that is used
    or drawn before (k-means++), or of its weight if there is none. draws (G, K) are numbers in [0, 1). used
    (G, K) is bool; the other arrays are those of `add_lloyd_sums`. Places stay as they are if all rows lie on
    centroids.
    """
    n_groups, width, n_codes = centroids.shape
    share = n_groups // row_weights.shape[1]
    nearest = np.empty(X.shape[0])
    for g in range(start, stop):
        nearest[:] = np.inf
        n_used = 0
        for turn in range(2 * n_codes):
            # The first turn takes the centroids that are used, the second one draws the others.
            k = turn % n_codes
            if (turn < n_codes) != used[g, k]:
                continue
            if turn >= n_codes:
                total = 0.0
                for i in range(X.shape[0]):
                    total += row_weights[i, g // share] * (nearest[i] if n_used else 1.0)
                if not total > 0.0:
                    break
                goal, chosen = draws[g, k] * total, 0
                total = 0.0
                for i in range(X.shape[0]):
                    odds = row_weights[i, g // share] * (nearest[i] if n_used else 1.0)
                    if odds > 0.0:
                        chosen = i
                        total += odds
                        if total > goal:
                            break
                for j in range(width):
                    centroids[g, j, k] = X[chosen, g * width + j]
            n_used += 1
            for i in range(X.shape[0]):
                distance = 0.0
                for j in range(width):
                    difference = X[i, g * width + j] - centroids[g, j, k]
                    distance += channel_weights[g * width + j] * (difference * difference)
                nearest[i] = min(nearest[i], distance)
