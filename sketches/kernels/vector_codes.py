"""The kernels of vector codes: rows are rotated, encoded and scored. They have no twins on GPUs yet."""

from __future__ import annotations

from .vector_encoding import ALL_ROTATED, encode_rows, rotate_rows, round_queries
from .vector_rotation import draw_rotation
from .vector_scores import (
    COSINE,
    INNER_PRODUCT,
    SQUARED_EUCLIDEAN,
    best_rows,
    code_norms,
    score_rows,
    score_some_rows,
)

__all__ = [
    "ALL_ROTATED",
    "COSINE",
    "INNER_PRODUCT",
    "SQUARED_EUCLIDEAN",
    "best_rows",
    "code_norms",
    "draw_rotation",
    "encode_rows",
    "rotate_rows",
    "round_queries",
    "score_rows",
    "score_some_rows",
]
