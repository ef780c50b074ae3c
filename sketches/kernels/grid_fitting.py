"""Kernels that place the grid points of rows of weights, and that quantise the rows. They have no GPU twin.

The importance of a weight says how much an error of it counts.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["place_affine_grids", "place_free_grids", "quantize_rows"]

#: Rows that are quantised together, so that a row of the factor is read once for all of them.
_ROWS = 16
#: Affine grids whose ends are moved inwards by this many steps, of 1/40 of the range each, are tried.
_STEPS = 16
_STEP = 1.0 / 40.0
#: The most rounds that improve the best of them.
_ROUNDS = 20


@helper
def _spread(counts, sums, squares, first, last):
    """Return the weighted squared error of the values [first, last] about their weighted mean."""
    count = counts[last + 1] - counts[first]
    if count <= 0.0:
        return 0.0
    total = sums[last + 1] - sums[first]
    return max(0.0, squares[last + 1] - squares[first] - total * total / count)


@kernel
def place_free_grids(values, importances, start, stop, grids):
    """Set the grids of rows [start, stop) to the centres of the best weighted k-means of each row.

    `values` ascend in each row. The search is dynamic programming over the first values and the number of
    clusters. The best start of a cluster does not fall as its end rises, so that each start is searched
    between those of the neighbours that are known: O(k n log n) for a row of n values.
    """
    n, n_points = values.shape[1], grids.shape[1]
    n_clusters = min(n_points, n)
    counts, sums, squares = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1)
    errors, former = np.zeros(n), np.zeros(n)
    firsts = np.zeros((n_clusters, n), np.int32)
    for row in range(start, stop):
        # Sums of squares lose the least if values are measured from one of them.
        origin = values[row, n // 2]
        for i in range(n):
            value, importance = values[row, i] - origin, importances[row, i]
            counts[i + 1] = counts[i] + importance
            sums[i + 1] = sums[i] + importance * value
            squares[i + 1] = squares[i] + importance * value * value
        for i in range(n):
            errors[i] = _spread(counts, sums, squares, 0, i)
        for cluster in range(1, n_clusters):
            former[:] = errors
            for i in range(cluster):
                errors[i] = 0.0
                firsts[cluster, i] = i
            half = 1
            while 2 * half <= n:
                half *= 2
            while half > 0:
                for i in range(half - 1, n, 2 * half):
                    if i < cluster:
                        continue
                    low = cluster if i < half else max(cluster, firsts[cluster, i - half])
                    high = min(i, firsts[cluster, i + half]) if i + half < n else i
                    best, best_first = np.inf, low
                    for first in range(low, high + 1):
                        error = former[first - 1] + _spread(counts, sums, squares, first, i)
                        if error < best:
                            best, best_first = error, first
                    errors[i] = best
                    firsts[cluster, i] = best_first
                half //= 2
        last = n - 1
        for cluster in range(n_clusters - 1, -1, -1):
            first = firsts[cluster, last] if cluster else 0
            count = total = 0.0
            for i in range(first, last + 1):
                count += importances[row, i]
                total += importances[row, i] * (values[row, i] - origin)
            grids[row, cluster] = origin + total / count
            last = first - 1
        for point in range(n_clusters, n_points):
            grids[row, point] = grids[row, n_clusters - 1]


@helper
def _nearest_step(value, first, step, n_points):
    """Return the number of the nearest point of an affine grid."""
    if step == 0.0:
        return 0.0
    return min(max(np.floor((value - first) / step + 0.5), 0.0), n_points - 1.0)


@helper
def _affine_error(values, importances, first, step, n_points):
    """Return the weighted squared error of the values on an affine grid."""
    error = 0.0
    for i in range(values.size):
        distance = values[i] - first - step * _nearest_step(values[i], first, step, n_points)
        error += importances[i] * distance * distance
    return error


@kernel
def place_affine_grids(values, importances, n_points, start, stop, grids):
    """Set the grids of rows [start, stop), first point and step, to affine grids of a small weighted error.

    Grids whose two ends lie at or within the range of the row are tried. The best one is improved as long as
    that helps: each value is assigned to its nearest point, and first point and step are fitted by least
    squares.
    """
    n = values.shape[1]
    for row in range(start, stop):
        ours, low, high = values[row], values[row, 0], values[row, 0]
        for i in range(n):
            low, high = min(low, ours[i]), max(high, ours[i])
        best_first, best_step = low, (high - low) / (n_points - 1)
        best = _affine_error(ours, importances, best_first, best_step, n_points)
        for below in range(_STEPS):
            for above in range(_STEPS):
                first = low + (high - low) * _STEP * below
                step = (high - (high - low) * _STEP * above - first) / (n_points - 1)
                error = _affine_error(ours, importances, first, step, n_points)
                if error < best:
                    best, best_first, best_step = error, first, step
        for _ in range(_ROUNDS):
            count = total = sum_steps = sum_products = sum_squares = 0.0
            for i in range(n):
                at = _nearest_step(ours[i], best_first, best_step, n_points)
                count += importances[i]
                total += importances[i] * (ours[i] - low)
                sum_steps += importances[i] * at
                sum_products += importances[i] * at * (ours[i] - low)
                sum_squares += importances[i] * at * at
            determinant = count * sum_squares - sum_steps * sum_steps
            if not determinant > 1e-12 * count * sum_squares:
                break
            step = (count * sum_products - sum_steps * total) / determinant
            first = low + (total - step * sum_steps) / count
            error = _affine_error(ours, importances, first, step, n_points)
            if not error < best or step < 0.0:
                break
            best, best_first, best_step = error, first, step
        grids[row, 0], grids[row, 1] = best_first, best_step


@helper
def _nearest_point(value, table):
    """Return the number of the nearest point of an ascending table."""
    nearest = 0
    for point in range(1, table.size):
        if value > 0.5 * (np.float64(table[point - 1]) + np.float64(table[point])):
            nearest += 1
    return nearest


@kernel
def quantize_rows(weights, factor, tables, start, stop, codes):
    """Quantise rows [start, stop) column by column; later columns make up for the error of each column.

    After column i has the error e, the other weights of the row move by ``-e * factor[i]``; so `weights` is
    overwritten.
    """
    n_columns = weights.shape[1]
    for left in range(start, stop, _ROWS):
        right = min(stop, left + _ROWS)
        for i in range(n_columns):
            for row in range(left, right):
                code = _nearest_point(weights[row, i], tables[row])
                codes[row, i] = code
                error = weights[row, i] - np.float64(tables[row, code])
                for j in range(i + 1, n_columns):
                    weights[row, j] -= error * factor[i, j]
