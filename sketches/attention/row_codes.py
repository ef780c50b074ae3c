"""Rows of numbers in 4 or 8 bits each, between the smallest and the largest number of the row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST", "code_columns", "decode_rows", "encode_rows", "largest_step"]

#: The largest magnitude of numbers in rows, so that decoding stays within float32.
LARGEST = 1e38


def code_columns(width: int, bits: int) -> int:
    """Return the number of bytes of the codes of a row of `width` numbers."""
    return -(-width * bits // 8)


def largest_step(bits: int) -> float:
    """Return a bound of the step between two codes, for rows of magnitudes up to `LARGEST`."""
    return 2.001 * LARGEST / ((1 << bits) - 1)


def encode_rows(rows: NDArray[np.float32], bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return codes of rows, and the smallest number and the step of each row, shape (n, 2).

    Code c stands for the number ``smallest + c * step``. The error is half a step, and rounding in float32.
    """
    n, width = rows.shape
    exact, top = rows.astype(np.float64), (1 << bits) - 1
    low = exact.min(axis=1, keepdims=True)
    step = ((exact.max(axis=1, keepdims=True) - low) / top).astype(np.float32)
    # Equal numbers, and those so near to each other that the step is 0, have the code 0.
    shares = (exact - low) / np.where(step > 0.0, step, np.inf)
    codes = np.rint(np.minimum(shares, top)).astype(np.uint8)
    if bits == 4:
        pairs = np.zeros((n, 2 * code_columns(width, 4)), np.uint8)
        pairs[:, :width] = codes
        codes = pairs[:, ::2] | (pairs[:, 1::2] << 4)
    return codes, np.concatenate([low.astype(np.float32), step], axis=1)


def decode_rows(
    codes: NDArray[np.uint8], ranges: NDArray[np.float32], bits: int, width: int
) -> NDArray[np.float32]:
    """Return the rows that codes stand for."""
    rows = np.empty((len(codes), width), np.float32)
    if bits == 4:
        rows[:, ::2] = codes & 15
        rows[:, 1::2] = codes[:, : width // 2] >> 4
    else:
        rows[:] = codes
    rows *= ranges[:, 1:]
    rows += ranges[:, :1]
    return rows
