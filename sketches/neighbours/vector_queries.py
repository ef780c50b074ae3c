"""Queries of vector codes: rounded to planes of bits, with the terms of a metric."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows
from ...lsh.support.backend import Backend, read_only
from ..kernels import vector_codes

__all__ = ["METRICS", "QUERY_BITS", "Rotation", "RoundedQueries", "refuse_long", "round_queries"]

#: The metrics by name, as the kernels number them.
METRICS = {
    "inner_product": vector_codes.INNER_PRODUCT,
    "cosine": vector_codes.COSINE,
    "sqeuclidean": vector_codes.SQUARED_EUCLIDEAN,
}

#: Bits of a query's coordinate: whole multiples of those that a kernel takes together.
QUERY_BITS = (4, 8, 12, 16)

#: Number of queries that are worth a thread of their own.
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


def round_queries(
    rows: VectorRows,
    center: NDArray[np.float64],
    rotation: Rotation,
    n_words: int,
    query_bits: int,
    metric: str,
    backend: Backend,
) -> RoundedQueries:
    """Return queries that have been read, rotated and rounded to integers of `query_bits`.

    Raises
    ------
    ValueError
        If a query is longer than the largest float32.
    """
    xp, n = backend.xp, rows.n
    planes = xp.empty((n, query_bits, n_words), np.uint64)
    sums = xp.empty(n, np.int64)
    steps, radii, errors = (xp.empty(n, np.float64) for _ in range(3))
    Q, encode = read_only(rows.dense.astype(np.float64)), backend.kernels(vector_codes).encode_queries
    on_device = [backend.constant(array) for array in (center, *rotation)]
    found = backend.map_blocks(
        lambda a, b: encode(Q, *on_device, a, b, planes, sums, steps, radii, errors), n, _BLOCK
    )
    refuse_long("Q", found)
    constants: NDArray[np.float64] = xp.zeros(n)
    square, lengths = float(center @ center), radii
    if center.size:
        constants, lengths = Q @ on_device[0], xp.sqrt((Q * Q).sum(axis=1))
    if metric == "sqeuclidean":
        constants = radii * radii
    terms = xp.stack([sums.astype(np.float64), steps, constants, lengths, xp.full(n, square)], axis=1)
    return RoundedQueries(planes, xp.ascontiguousarray(terms), METRICS[metric], radii, errors)


def refuse_long(name: str, found: list[Any]) -> None:
    """Raise ValueError if a kernel has returned the number of a row that is too long for float32."""
    refused = [int(row) for row in found if row != vector_codes.ALL_ENCODED]
    if refused:
        raise ValueError(
            f"{name} must have rows whose lengths, and products with the centre, are below 3.4e38, "
            f"got a longer row at index {refused[0]}"
        )
