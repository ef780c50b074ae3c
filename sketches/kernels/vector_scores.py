"""Scores of encoded rows: all of them, some rows of each query, or the best rows of each query."""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import popcount
from .heaps import keep_best
from .vector_products import LANES, load_tile, tile_products

__all__ = [
    "COSINE",
    "INNER_PRODUCT",
    "SQUARED_EUCLIDEAN",
    "best_rows",
    "code_norms",
    "score_rows",
    "score_some_rows",
]

INNER_PRODUCT, COSINE, SQUARED_EUCLIDEAN = 0, 1, 2

#: Rows that are copied to a tile at a time, and then scored with all queries.
_ROWS = 256


@helper
def _score(metric, product, scale, radius, offset, constant, length, center_square):
    """Return the estimate of a metric from the product of a rounded query and a codeword, times the step."""
    estimate = product * scale
    if metric == SQUARED_EUCLIDEAN:
        return constant + radius * radius - 2.0 * estimate
    estimate += constant + offset
    if metric == COSINE:
        norm = math.sqrt(max(0.0, radius * radius + 2.0 * offset + center_square))
        return estimate / (length * norm) if length * norm > 0.0 else 0.0
    return estimate


@helper
def _score_tile(
    tile, at, n_rows, row, numbers, bits, scales, radii, offsets, planes, terms, query, metric, products, found
):
    """Write the scores of up to eight rows with a query to `found`."""
    total, step, constant, length, center_square = terms[query]
    n_planes, n_words = planes.shape[1], planes.shape[2]
    begin = query * n_planes * n_words
    tile_products(tile, at, bits, n_words, planes.reshape(-1), begin, n_planes, np.int64(total), products)
    for lane in range(n_rows):
        i = numbers[row + lane] if numbers.size else row + lane
        offset = np.float64(offsets[i]) if offsets.size else 0.0
        found[lane] = _score(
            metric,
            step * np.float64(products[lane]),
            np.float64(scales[i]),
            np.float64(radii[i]),
            offset,
            constant,
            length,
            center_square,
        )


@kernel
def score_rows(
    codes, scales, radii, offsets, planes, terms, metric, start, stop, out
):
    """Write the scores of the rows [start, stop) with all queries to ``out[query, row]``.

    Parameters
    ----------
    codes, scales, radii, offsets
        See `encode_rows`.
    planes
        See `encode_queries`.
    terms : ndarray of shape (n_queries, 5), float64
        Of each query the sum of its integers and the step; its product with the centre, or for the squared
        Euclidean distance the square of its distance from it; its length; the centre's length, squared.
    metric : int
    out : ndarray of shape (n_queries, n), float64
    """
    bits = codes.shape[1] // planes.shape[2]
    every, step = np.empty(0, np.int64), LANES * codes.shape[1]
    tile = np.zeros(_ROWS * codes.shape[1], np.uint64)
    products, found = np.empty(LANES, np.int64), np.empty(LANES)
    for first in range(start, stop, _ROWS):
        last = min(first + _ROWS, stop)
        for row in range(first, last, LANES):
            load_tile(codes, every, row, min(LANES, last - row), tile, (row - first) // LANES * step)
        for query in range(planes.shape[0]):
            for row in range(first, last, LANES):
                n_rows = min(LANES, last - row)
                _score_tile(
                    tile, (row - first) // LANES * step, n_rows, row, every, bits, scales, radii, offsets,
                    planes, terms, query, metric, products, found,
                )  # fmt: skip
                for lane in range(n_rows):
                    out[query, row + lane] = found[lane]


@kernel
def score_some_rows(
    codes, scales, radii, offsets, planes, terms, metric, numbers, bounds, start, stop, out
):
    """Write the scores of some rows of the queries [start, stop).

    Parameters
    ----------
    numbers : ndarray of shape (m,), int64
        The rows of query q are ``numbers[bounds[q] : bounds[q + 1]]``.
    bounds : ndarray of shape (n_queries + 1,), int64
    out : ndarray of shape (m,), float64
    """
    bits = codes.shape[1] // planes.shape[2]
    tile = np.zeros(LANES * codes.shape[1], np.uint64)
    products, found = np.empty(LANES, np.int64), np.empty(LANES)
    for query in range(start, stop):
        for at in range(bounds[query], bounds[query + 1], LANES):
            n_rows = min(LANES, bounds[query + 1] - at)
            load_tile(codes, numbers, at, n_rows, tile, 0)
            _score_tile(
                tile, 0, n_rows, at, numbers, bits, scales, radii, offsets, planes, terms, query, metric,
                products, found,
            )  # fmt: skip
            for lane in range(n_rows):
                out[at + lane] = found[lane]


@kernel
def best_rows(
    codes, scales, radii, offsets, planes, terms, metric, start, stop, sizes, numbers, keys
):
    """Collect the best of the rows [start, stop) for each query in heaps; see `heaps.keep_best`.

    Parameters
    ----------
    sizes : ndarray of shape (n_queries,), int64
        The sizes of the heaps, which change.
    numbers : ndarray of shape (n_queries, k), int64
    keys : ndarray of shape (n_queries, k), float64
        Distances, or similarities below 0.
    """
    bits, k = codes.shape[1] // planes.shape[2], numbers.shape[1]
    every, step = np.empty(0, np.int64), LANES * codes.shape[1]
    all_numbers, all_keys = numbers.reshape(-1), keys.reshape(-1)
    tile = np.zeros(_ROWS * codes.shape[1], np.uint64)
    products, found = np.empty(LANES, np.int64), np.empty(LANES)
    sign = 1.0 if metric == SQUARED_EUCLIDEAN else -1.0
    for first in range(start, stop, _ROWS):
        last = min(first + _ROWS, stop)
        for row in range(first, last, LANES):
            load_tile(codes, every, row, min(LANES, last - row), tile, (row - first) // LANES * step)
        for query in range(planes.shape[0]):
            size, heap = sizes[query], query * k
            for row in range(first, last, LANES):
                n_rows = min(LANES, last - row)
                _score_tile(
                    tile, (row - first) // LANES * step, n_rows, row, every, bits, scales, radii, offsets,
                    planes, terms, query, metric, products, found,
                )  # fmt: skip
                for lane in range(n_rows):
                    key = sign * found[lane]
                    # Rows come in their order, so an equal key is not better.
                    if size < k or key < all_keys[heap]:
                        size = keep_best(row + lane, key, k, heap, size, all_numbers, all_keys)
            sizes[query] = size


@kernel
def code_norms(codes, bits, start, stop, out):
    """Write the squared lengths of the codewords of odd integers of the rows [start, stop) as float64."""
    words = codes.shape[1] // bits
    top = np.float64((1 << bits) - 1)
    for i in range(start, stop):
        squares, total = np.int64(0), np.int64(0)
        for w in range(words):
            for b in range(bits):
                word = codes[i, b * words + w]
                total += np.int64(popcount(word)) << b
                for other in range(bits):
                    both = word & codes[i, other * words + w]
                    squares += np.int64(popcount(both)) << (b + other)
        # The sum of (2 u - top)**2 over all coordinates.
        out[i] = 4.0 * squares - 4.0 * top * total + top * top * (64.0 * words)
