"""Launchers of ``inner_product.cu``, the twins of ``lsh/kernels/inner_product.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, check_csr, launch

__all__ = ["extend_rows_csr", "extend_rows_dense", "relative_norms_csr", "relative_norms_dense"]


def _check_dense(X: Any, norms: Any) -> None:
    check_array("X", X, np.float32, np.float64, shape=(None, None))
    check_array("norms", norms, np.float64, shape=(X.shape[0],))


def _check_csr(indptr: Any, indices: Any, data: Any, norms: Any) -> str:
    suffix = check_csr(indptr, indices, data)
    check_array("norms", norms, np.float64, shape=(indptr.size - 1,))
    return suffix


def relative_norms_dense(X: Any, bound: float, start: int, stop: int, norms: Any) -> None:
    _check_dense(X, norms)
    name = f"relative_norms_dense_{X.dtype.name}"
    launch("inner_product", name, 32 * (stop - start), X, X.shape[1], float(bound), start, stop, norms)


def relative_norms_csr(
    indptr: Any, indices: Any, data: Any, bound: float, start: int, stop: int, norms: Any
) -> None:
    name = f"relative_norms_csr_{_check_csr(indptr, indices, data, norms)}"
    how = (indptr, indices, data, float(bound), start, stop, norms)
    launch("inner_product", name, 32 * (stop - start), *how)


def extend_rows_dense(X: Any, bound: float, column: int, start: int, stop: int, out: Any, norms: Any) -> None:
    _check_dense(X, norms)
    check_array("out", out, np.float64, shape=(stop - start, None))
    name = f"extend_rows_dense_{X.dtype.name}"
    how = (X, X.shape[1], float(bound), column, start, stop, out.shape[1], out, norms)
    launch("inner_product", name, 32 * (stop - start), *how)


def extend_rows_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    bound: float,
    column: int,
    start: int,
    stop: int,
    out: Any,
    norms: Any,
) -> None:
    name = f"extend_rows_csr_{_check_csr(indptr, indices, data, norms)}"
    check_array("out[0]", out[0], np.int64, shape=(stop - start + 1,))
    check_array("out[1]", out[1], indices.dtype, shape=(None,))
    check_array("out[2]", out[2], np.float64, shape=out[1].shape)
    if stop == start:
        out[0][...] = 0
    how = (indptr, indices, data, float(bound), column, start, stop, *out, norms)
    launch("inner_product", name, 32 * (stop - start), *how)
