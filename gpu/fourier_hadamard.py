"""Launchers of ``fourier_hadamard.cu``, the twins of ``sketches/kernels/fourier_hadamard.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .fourier import CHUNK, given_weights
from .launch import check_array, constant, launch_blocks

__all__ = ["add_hadamard", "hadamard_terms"]


def _launch(
    name: str, X: Any, width: float, signs: Any, scales: Any, rows: int, numbers: int, *after: Any
) -> None:
    """Launch a kernel with a block of threads for a matrix and some rows, and numbers for each coordinate."""
    check_array("X", X, np.float32, np.float64, shape=(None, None))
    blocks, _, size = signs.shape
    before = (X, X.shape[1], width, constant(signs), blocks, size, constant(scales), scales.size)
    name = f"{name}_{X.dtype.name}"
    launch_blocks("fourier_hadamard", name, blocks * rows, 8 * numbers * size, *before, after=after)


def add_hadamard(
    X: Any, width: float, signs: Any, scales: Any, weights: Any, start: int, stop: int, sums: Any
) -> None:
    check_array("sums", sums, np.int64, shape=(2, scales.size))
    chunks, after = -(-(stop - start) // CHUNK), (*given_weights(weights), start, stop, sums)
    _launch("add_hadamard", X, width, signs, scales, chunks, 3, *after)


def hadamard_terms(
    X: Any, width: float, signs: Any, scales: Any, sums: Any, start: int, stop: int, terms: Any
) -> None:
    check_array("sums", sums, np.float64, shape=(2, scales.size))
    check_array("terms", terms, np.float64, shape=(None, scales.size))
    _launch("hadamard_terms", X, width, signs, scales, stop - start, 1, sums, start, stop, terms)
