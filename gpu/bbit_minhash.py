"""Launchers of ``bbit_minhash.cu``, the twins of ``lsh/kernels/bbit_minhash.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, launch

__all__ = ["count_equal_fields", "pack_fields"]


def pack_fields(codes: Any, bits: int, start: int, stop: int, out: Any) -> None:
    check_array("codes", codes, np.uint32, shape=(None, None))
    check_array("out", out, np.uint64, shape=(len(codes), None))
    (n_fields, W), n = (codes.shape[1], out.shape[1]), stop - start
    launch("bbit_minhash", "pack_fields", n * W, codes[start:stop], n_fields, bits, n, W, out[start:stop])


def count_equal_fields(A: Any, B: Any, bits: int, n_fields: int, start: int, stop: int, out: Any) -> None:
    check_array("A", A, np.uint64, shape=(None, None))
    check_array("B", B, np.uint64, shape=A.shape)
    check_array("out", out, np.int64, shape=(len(A),))
    how = (A, B, bits, n_fields, start, stop, A.shape[1], out)
    launch("bbit_minhash", "count_equal_fields", 32 * (stop - start), *how)
