"""Scores of encoded rows: all of them, some rows of each query, or the best rows of each query."""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import popcount
from .heaps import keep_best
from .vector_products import load_tile, tile_products

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

#: Rows that are copied to a tile at a time, and then scored with all queries; a multiple of `LANES`.
_ROWS = 256


@helper
def _load_rows(codes, scales, radii, offsets, metric, numbers, first, n_rows, tile, of_rows):
    """Copy the codes of rows to a tile, and of their scales, radii and offsets what is used to `of_rows`."""
    load_tile(codes, numbers, first, n_rows, tile)
    if numbers.size:
        for i in range(n_rows):
            row = numbers[first + i]
            of_rows[0, i], of_rows[1, i] = scales[row], radii[row]
            of_rows[2, i] = offsets[row] if offsets.size else 0.0
        return
    # Parts of arrays, whose places begin at 0, are copied by registers of several numbers.
    _widen(scales[first : first + n_rows], of_rows[0])
    if metric != INNER_PRODUCT:
        _widen(radii[first : first + n_rows], of_rows[1])
    if offsets.size:
        _widen(offsets[first : first + n_rows], of_rows[2])


@helper
def _widen(numbers, out):
    for i in range(numbers.size):
        out[i] = numbers[i]


@helper
def _score_tile(tile, of_rows, n_rows, bits, planes, terms, query, metric, products, scores):
    """Write the scores of the rows of a tile with a query."""
    n_planes, n_words = planes.shape[1], planes.shape[2]
    at = query * n_planes * n_words
    tile_products(tile, n_rows, bits, n_words, planes.reshape(-1), at, n_planes, products)
    # Codewords consist of the odd integers 2 u - 2**bits + 1.
    shift = np.int64((1 << bits) - 1) * np.int64(terms[query, 0])
    step, constant = terms[query, 1], terms[query, 2]
    if metric == SQUARED_EUCLIDEAN:
        for i in range(n_rows):
            product = step * np.float64(2 * products[i] - shift) * of_rows[0, i]
            scores[i] = constant + of_rows[1, i] * of_rows[1, i] - 2.0 * product
        return
    for i in range(n_rows):
        product = step * np.float64(2 * products[i] - shift) * of_rows[0, i]
        scores[i] = product + (constant + of_rows[2, i])
    if metric == COSINE:
        length, center_square = terms[query, 3], terms[query, 4]
        for i in range(n_rows):
            square = max(0.0, of_rows[1, i] * of_rows[1, i] + 2.0 * of_rows[2, i] + center_square)
            norm = length * math.sqrt(square)
            scores[i] = scores[i] / norm if norm > 0.0 else 0.0


@kernel
def score_rows(codes, scales, radii, offsets, planes, terms, metric, start, stop, out):
    """Write the scores of the rows [start, stop) with all queries to ``out[query, row]``.

    Parameters
    ----------
    codes, scales, radii, offsets
        See `encode_rows` and `rotate_rows`; there are offsets only with a centre.
    planes
        See `round_queries`.
    terms : ndarray of shape (n_queries, 5), float64
        Of each query the sum of its integers and the step; its product with the centre, or for the squared
        Euclidean distance the square of its distance from it; its length; the centre's length, squared.
    metric : int
    out : ndarray of shape (n_queries, n), float64
    """
    bits, every = codes.shape[1] // planes.shape[2], np.empty(0, np.int64)
    tile, of_rows = np.zeros(_ROWS * codes.shape[1], np.uint64), np.zeros((3, _ROWS))
    products = np.empty(_ROWS, np.int64)
    for first in range(start, stop, _ROWS):
        n_rows = min(_ROWS, stop - first)
        _load_rows(codes, scales, radii, offsets, metric, every, first, n_rows, tile, of_rows)
        for query in range(planes.shape[0]):
            scores = out[query, first : first + n_rows]
            _score_tile(tile, of_rows, n_rows, bits, planes, terms, query, metric, products, scores)


@kernel
def score_some_rows(
    codes, scales, radii, offsets, planes, terms, metric, numbers, bounds, start, stop, out
):  # fmt: skip
    """Write the scores of some rows of the queries [start, stop).

    Parameters
    ----------
    numbers : ndarray of shape (m,), int64
        The rows of query q are ``numbers[bounds[q] : bounds[q + 1]]``.
    bounds : ndarray of shape (n_queries + 1,), int64
    out : ndarray of shape (m,), float64
    """
    bits = codes.shape[1] // planes.shape[2]
    tile, of_rows = np.zeros(_ROWS * codes.shape[1], np.uint64), np.zeros((3, _ROWS))
    products = np.empty(_ROWS, np.int64)
    for query in range(start, stop):
        for first in range(bounds[query], bounds[query + 1], _ROWS):
            n_rows = min(_ROWS, bounds[query + 1] - first)
            _load_rows(codes, scales, radii, offsets, metric, numbers, first, n_rows, tile, of_rows)
            scores = out[first : first + n_rows]
            _score_tile(tile, of_rows, n_rows, bits, planes, terms, query, metric, products, scores)


@kernel
def best_rows(
    codes, scales, radii, offsets, planes, terms, metric, start, stop, sizes, numbers, keys
):  # fmt: skip
    """Collect the best of the rows [start, stop) for each query in heaps; see `heaps.keep_best`.

    Parameters
    ----------
    sizes : ndarray of shape (n_queries,), int64
        The sizes of the heaps, which change.
    numbers : ndarray of shape (n_queries, k), int64
    keys : ndarray of shape (n_queries, k), float64
        Distances, or similarities below 0.
    """
    bits, k, every = codes.shape[1] // planes.shape[2], numbers.shape[1], np.empty(0, np.int64)
    all_numbers, all_keys = numbers.reshape(-1), keys.reshape(-1)
    tile, of_rows = np.zeros(_ROWS * codes.shape[1], np.uint64), np.zeros((3, _ROWS))
    products, scores = np.empty(_ROWS, np.int64), np.empty(_ROWS)
    sign = 1.0 if metric == SQUARED_EUCLIDEAN else -1.0
    for first in range(start, stop, _ROWS):
        n_rows = min(_ROWS, stop - first)
        _load_rows(codes, scales, radii, offsets, metric, every, first, n_rows, tile, of_rows)
        for query in range(planes.shape[0]):
            _score_tile(tile, of_rows, n_rows, bits, planes, terms, query, metric, products, scores)
            heap = query * k
            size = sizes[query]
            worst = all_keys[heap] if size == k else np.inf
            # Rows come in their order, so an equal key is not better. Most tiles have no better key at all,
            # which registers of several numbers find out.
            n_better = np.int64(0)
            for i in range(n_rows):
                n_better += np.int64(sign * scores[i] < worst)
            if n_better == 0:
                continue
            for i in range(n_rows):
                key = sign * scores[i]
                if size < k or key < all_keys[heap]:
                    size = keep_best(first + i, key, k, heap, size, all_numbers, all_keys)
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
