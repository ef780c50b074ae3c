"""The kernels of vector codes: rows are rotated, encoded and scored.

On GPUs, `best_rows` has no twin, for CuPy sorts all scores, and `draw_rotation` has none, for
parameters are drawn on the CPU.
"""

from __future__ import annotations

from .vector_encoding import ALL_ROTATED, SCALE_RATIOS, encode_rows, rotate_rows, round_queries
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
    "SCALE_RATIOS",
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
