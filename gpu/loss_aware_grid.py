"""Launcher of ``loss_aware_grid.cu``, the twin of ``sketches/kernels/loss_aware_grid.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, launch

__all__ = ["decode_rows"]


def decode_rows(codes: Any, tables: Any, bits: int, start: int, stop: int, out: Any) -> None:
    check_array("codes", codes, np.uint8, shape=(None, None))
    check_array("tables", tables, np.float32, shape=(None, None))
    check_array("out", out, np.float32, shape=(None, None))
    n_columns, row_bytes = int(out.shape[1]), int(codes.shape[1])
    work = (stop - start) * (-(-n_columns // 8))
    given = (codes, row_bytes, tables, bits, n_columns, start, stop, out)
    launch("loss_aware_grid", "decode_rows", work, *given)
