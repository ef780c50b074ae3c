"""Queries of vector codes: rounded to planes of bits, with the terms of a metric."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows
from ...lsh.support.backend import read_only, sum_rows, to_host
from ..kernels import vector_codes

__all__ = ["METRICS", "QUERY_BITS", "Rotated", "Rotation", "RoundedQueries", "rotate_rows", "round_queries"]

#: The metrics by name, as the kernels number them.
METRICS = {
    "inner_product": vector_codes.INNER_PRODUCT,
    "cosine": vector_codes.COSINE,
    "sqeuclidean": vector_codes.SQUARED_EUCLIDEAN,
}

#: Bits of a query's coordinate: whole multiples of those that a kernel takes together.
QUERY_BITS = (4, 8, 12, 16)

#: Number of rows or queries that are worth a thread of their own.
_BLOCK = 16


class Rotation(NamedTuple):
    """The parameters of `rotate_row`, one of which is empty."""

    matrix: NDArray[np.float32]
    masks: NDArray[np.uint16]


class RoundedQueries(NamedTuple):
    """Queries as the kernels score rows with them."""

    #: uint64, shape (n, bits of a coordinate, words).
    planes: NDArray[np.uint64]
    #: float64, shape (n, 5): see `vector_scores.score_rows`.
    terms: NDArray[np.float64]
    #: The metric's number.
    metric: int
    #: Distances from the centre, and lengths of the errors of rounding.
    radii: NDArray[np.float64]
    errors: NDArray[np.float64]

    def cut(self, start: int, stop: int) -> RoundedQueries:
        """Return the queries [start, stop)."""
        part = slice(start, stop)
        return RoundedQueries(
            self.planes[part], self.terms[part], self.metric, self.radii[part], self.errors[part]
        )

    def without_terms(self) -> RoundedQueries:
        """Return the queries less the centre, whose scores are products with rows less the centre."""
        terms = self.terms.copy()
        terms[:, 2:] = 0.0
        return self._replace(terms=terms, metric=vector_codes.INNER_PRODUCT)


class Rotated(NamedTuple):
    """Rows after the rotation, as `rotate_rows` of the kernels writes them."""

    numbers: NDArray[np.int32]
    sizes: NDArray[np.float64]
    radii: NDArray[np.float64]
    offsets: NDArray[np.float64]


def rotate_rows(
    name: str, rows: VectorRows, first: int, center: NDArray[np.float64], rotation: Rotation, size: int
) -> Rotated:
    """Return rows that have been read less the centre, rotated; `first` is the first row's number.

    Raises
    ------
    ValueError
        If a row is longer than the largest float32.
    """
    backend, n, xp = rows.backend, rows.n, rows.backend.xp
    X = read_only(rows.dense.astype(np.float64))
    rotated = Rotated(xp.empty((n, size), np.int32), xp.empty(n), xp.empty(n), xp.empty(n))
    kernel = backend.kernels(vector_codes).rotate_rows
    found = backend.map_blocks(lambda a, b: kernel(X, center, *rotation, a, b, *rotated), n, _BLOCK)
    refused = [int(row) for row in found if row != vector_codes.ALL_ROTATED]
    if refused:
        raise ValueError(
            f"{name} must have rows whose lengths, and products with the centre, are below 3.4e38, "
            f"got a longer row at index {first + refused[0]}"
        )
    return rotated


def round_queries(
    rows: VectorRows,
    center: NDArray[np.float64],
    rotation: Rotation,
    n_words: int,
    query_bits: int,
    metric: str,
) -> RoundedQueries:
    """Return queries that have been read, rotated and rounded to integers of `query_bits`.

    Raises
    ------
    ValueError
        If a query is longer than the largest float32.
    """
    n, (numbers, sizes, radii, _) = rows.n, rotate_rows("Q", rows, 0, center, rotation, 64 * n_words)
    xp = rows.backend.xp
    planes, sums = xp.empty((n, query_bits, n_words), np.uint64), xp.empty(n, np.int64)
    steps, errors = xp.empty(n), xp.empty(n)
    kernel = rows.backend.kernels(vector_codes).round_queries
    rows.backend.map_blocks(
        lambda a, b: kernel(numbers, sizes, radii, a, b, planes, sums, steps, errors), n, _BLOCK
    )
    square, constants, lengths = float(sum_rows(center * center)), xp.zeros(n), radii
    if center.size or metric == "sqeuclidean":
        # Sums in one order: a product of matrices adds in another one on a GPU, and in another batch.
        Q = to_host(rows.dense).astype(np.float64)
        if metric == "sqeuclidean":
            constants = xp.asarray(sum_rows(np.square(Q - center if center.size else Q).T))
        else:
            constants = xp.asarray(sum_rows((Q * center).T))
            lengths = xp.asarray(np.sqrt(sum_rows(np.square(Q).T)))
    terms = xp.stack([sums.astype(np.float64), steps, constants, lengths, xp.full(n, square)], axis=1)
    return RoundedQueries(planes, xp.ascontiguousarray(terms), METRICS[metric], radii, errors)
