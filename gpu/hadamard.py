"""Launchers of ``hadamard.cu``, the twins of ``lsh/kernels/hadamard.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array
from .rotation import check_rows, rotate

__all__ = [
    "hadamard_products_csr",
    "hadamard_products_dense",
    "hadamard_signs_csr",
    "hadamard_signs_dense",
]


def _signs(
    rows: tuple[Any, ...], masks: Any, n_hashes: int, power: int, start: int, stop: int, out: Any
) -> None:
    check_array("out", out, np.uint32, shape=(None, n_hashes))
    size = masks.shape[1] // 3 * 16
    room = 4 * (size + -(-n_hashes * power // 32))
    rotate("hadamard", "hadamard_signs", rows, masks, room, start, stop, n_hashes, power, start, stop, out)


def hadamard_signs_dense(
    X: Any, masks: Any, n_hashes: int, power: int, start: int, stop: int, out: Any
) -> None:
    _signs(check_rows(X), masks, n_hashes, power, start, stop, out)


def hadamard_signs_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    masks: Any,
    n_hashes: int,
    power: int,
    start: int,
    stop: int,
    out: Any,
) -> None:
    _signs(check_rows(indptr, indices, data), masks, n_hashes, power, start, stop, out)


def _products(rows: tuple[Any, ...], masks: Any, start: int, stop: int, out: Any) -> None:
    check_array("out", out, np.float32, shape=(stop - start, None))
    room = 4 * (masks.shape[1] // 3 * 16)
    rotate("hadamard", "hadamard_products", rows, masks, room, start, stop, out.shape[1], start, stop, out)


def hadamard_products_dense(X: Any, masks: Any, start: int, stop: int, out: Any) -> None:
    _products(check_rows(X), masks, start, stop, out)


def hadamard_products_csr(
    indptr: Any, indices: Any, data: Any, masks: Any, start: int, stop: int, out: Any
) -> None:
    _products(check_rows(indptr, indices, data), masks, start, stop, out)
