"""Launcher of ``frequent_rows.cu``, the twin of ``sketches/kernels/frequent_rows.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, constant, launch

__all__ = ["own_starts"]


def own_starts(
    words: Any,
    kept: Any,
    first: Any,
    shift: int,
    origin: int,
    n_columns: int,
    block: int,
    start: int,
    stop: int,
    starts: Any,
) -> None:
    check_array("words", words, np.uint64, shape=(None,))
    check_array("starts", starts, np.int64, shape=(None, None, None))
    given = (words, constant(kept), constant(first), shift, origin, n_columns, block)
    launch("frequent_rows", "own_starts", stop - start, *given, starts.shape[2], start, stop, starts)
