"""Launchers of ``fourier.cu``, the twins of ``sketches/kernels/fourier.py``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import check_array, check_csr, constant, launch

__all__ = ["add_features_csr", "add_features_dense", "fourier_terms_csr", "fourier_terms_dense"]

#: Rows that a thread adds up, as in ``features.cuh``.
CHUNK = 64
#: Numbers of rows in units of the width that are kept at a time.
_BLOCK = 1 << 26


def _dense(X: Any, width: float, start: int, stop: int) -> Any:
    """Yield rows in units of the width: where they begin and end, and the numbers."""
    check_array("X", X, np.float32, np.float64, shape=(None, None))
    block = max(1, _BLOCK // max(1, X.shape[1]))
    for left in range(start, stop, block):
        right = min(stop, left + block)
        yield left, right, X[left:right].astype(np.float64) / width


def _check_sums(sums: Any, frequencies: Any, dtype: Any) -> int:
    m = int(frequencies.shape[1])
    check_array("sums", sums, dtype, shape=(2, m))
    return m


def given_weights(weights: Any) -> tuple[Any, np.bool_]:
    """Return weights on the device, and whether there are any."""
    if weights.size:
        check_array("weights", weights, np.int64, shape=(None,))
        return weights, np.bool_(True)
    return cupy.zeros(1, np.int64), np.bool_(False)


def add_features_dense(
    X: Any, width: float, frequencies: Any, weights: Any, start: int, stop: int, sums: Any
) -> None:
    m, ours = _check_sums(sums, frequencies, np.int64), constant(frequencies)
    for left, right, rows in _dense(X, width, start, stop):
        work = m * -(-(right - left) // CHUNK)
        given = (*given_weights(weights[left:right]), 0, right - left, sums)
        launch("fourier", "add_features_dense", work, rows, rows.shape[1], ours, m, *given)


def add_features_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    width: float,
    frequencies: Any,
    weights: Any,
    start: int,
    stop: int,
    sums: Any,
) -> None:
    check_csr(indptr, indices, data)
    m, ours = _check_sums(sums, frequencies, np.int64), constant(frequencies)
    rows, work = data.astype(np.float64) / width, m * -(-(stop - start) // CHUNK)
    name = f"add_features_csr_{indices.dtype.name}"
    launch("fourier", name, work, indptr, indices, rows, ours, m, *given_weights(weights), start, stop, sums)


def fourier_terms_dense(
    X: Any, width: float, frequencies: Any, sums: Any, start: int, stop: int, terms: Any
) -> None:
    m, ours = _check_sums(sums, frequencies, np.float64), constant(frequencies)
    check_array("terms", terms, np.float64, shape=(None, m))
    for left, right, rows in _dense(X, width, start, stop):
        given = (sums, 0, right - left, terms[left:right])
        launch("fourier", "fourier_terms_dense", m * (right - left), rows, rows.shape[1], ours, m, *given)


def fourier_terms_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    width: float,
    frequencies: Any,
    sums: Any,
    start: int,
    stop: int,
    terms: Any,
) -> None:
    check_csr(indptr, indices, data)
    m, ours = _check_sums(sums, frequencies, np.float64), constant(frequencies)
    check_array("terms", terms, np.float64, shape=(None, m))
    rows, name = data.astype(np.float64) / width, f"fourier_terms_csr_{indices.dtype.name}"
    launch(
        "fourier", name, m * (stop - start), indptr, indices, rows, ours, m, sums, start, stop, terms[start:]
    )
