"""Launchers of ``storm.cu``, the twins of ``sketches/kernels/storm.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, launch

__all__ = ["add_sign_products"]

#: Rows that a warp takes, as in ``storm.cu``.
_CHUNK = 2048


def add_sign_products(codes: Any, n_signs: int, start: int, stop: int, counts: Any) -> None:
    check_array("codes", codes, np.uint32, shape=(None, None))
    n, B = codes.shape
    check_array("counts", counts, np.int32, np.int64, shape=(B, n_signs * (n_signs - 1) // 2))
    work = 32 * (stop - start) * -(-n // _CHUNK)
    name = f"add_sign_products_{counts.dtype.name}"
    launch("storm", name, work, codes, n, B, n_signs, start, stop, counts)
