"""Launchers of ``soft_collisions.cu``, the twins of ``sketches/kernels/soft_collisions.py``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import check_array, constant, launch

__all__ = ["fill_tables", "project_queries", "score_keys"]


def project_queries(Q: Any, vectors: Any, start: int, stop: int, out: Any) -> None:
    d, n_values = vectors.shape
    check_array("Q", Q, np.float64, shape=(None, d))
    check_array("out", out, np.float64, shape=(len(Q), n_values))
    given = (Q, constant(vectors), d, n_values, start, stop, out)
    launch("soft_collisions", "project_queries", n_values * (stop - start), *given)


def fill_tables(bits: Any, start: int, stop: int, tables: Any) -> None:
    check_array("tables", tables, np.float32, shape=(len(bits), None, None))
    n_tables, n_codes = tables.shape[1:]
    power = n_codes.bit_length() - 1
    check_array("bits", bits, np.float64, shape=(None, power * n_tables))
    given = (bits, n_tables, power, start, stop, tables)
    launch("soft_collisions", "fill_tables", n_tables * n_codes * (stop - start), *given)


def score_keys(codes: Any, norms: Any, tables: Any, numbers: Any, start: int, stop: int, out: Any) -> None:
    n_queries, n_tables, n_codes = tables.shape
    check_array("codes", codes, np.uint8, np.uint16, shape=(None, n_tables))
    check_array("tables", tables, np.float32)
    check_array("out", out, np.float64, shape=(n_queries, None))
    has_norms, has_numbers = norms.size > 0, numbers.size > 0
    if has_norms:
        check_array("norms", norms, np.float32, shape=(len(codes),))
    if has_numbers:
        check_array("numbers", numbers, np.int64, shape=out.shape)
    given = (
        *(codes, norms if has_norms else cupy.zeros(1, np.float32), np.bool_(has_norms)),
        *(tables, n_queries, n_tables, n_codes),
        *(numbers if has_numbers else cupy.zeros(1, np.int64), np.bool_(has_numbers)),
        *(start, stop, out.shape[1], out),
    )
    launch("soft_collisions", f"score_keys_{codes.dtype.name}", n_queries * (stop - start), *given)
