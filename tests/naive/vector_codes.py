"""Codes of vectors: codewords of odd integers, their products, and the estimates that follow from them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def decode(code: NDArray[np.uint64], bits: int) -> list[int]:
    """Return the odd integers that the planes of a code stand for."""
    words = len(code) // bits
    found = []
    for i in range(64 * words):
        number = sum((int(code[b * words + i // 64]) >> (i % 64) & 1) << b for b in range(bits))
        found.append(2 * number - 2**bits + 1)
    return found


def decode_query(planes: NDArray[np.uint64]) -> list[int]:
    """Return the integers that the planes of a query stand for, in two's complement."""
    n_planes, words = planes.shape
    found = []
    for i in range(64 * words):
        number = sum((int(planes[p, i // 64]) >> (i % 64) & 1) << p for p in range(n_planes))
        found.append(number - 2**n_planes if number >> (n_planes - 1) else number)
    return found


def cosine(one: Numbers, other: Numbers) -> float:
    """Return the cosine of the angle between two vectors."""
    return float(one @ other) / math.sqrt(float(one @ one) * float(other @ other))


def best_cosine(rotated: Numbers, bits: int) -> float:
    """Return the largest cosine of a vector and its codewords at all scales.

    The codeword changes only where a coordinate passes from one number of the grid to the next.
    """
    sizes, top = np.abs(rotated), 2 ** (bits - 1) - 1
    critical = {level / size for size in sizes if size > 0.0 for level in range(1, top + 1)}
    best = 0.0
    for scale in [0.0, *critical]:
        levels = np.minimum(np.floor(sizes * scale * (1.0 + 1e-12)), top)
        best = max(best, cosine(sizes, 2.0 * levels + 1.0))
    return best


def rotation(matrix: NDArray[np.float32], masks: NDArray[np.uint16], size: int) -> Numbers:
    """Return the matrix that rotates rows, up to a factor."""
    if matrix.size:
        return matrix.T.astype(np.float64)
    part = masks.shape[1] // 3 * 16
    whole = np.eye(size)
    for turn, words in enumerate(masks):
        first = 0 if turn % 2 == 0 else size - part
        block = whole[first : first + part]
        for signs in words.reshape(3, -1):
            flips = np.array([1.0 - 2.0 * (int(signs[i // 16]) >> (i % 16) & 1) for i in range(part)])
            block = hadamard(part) @ (flips[:, None] * block) / math.sqrt(part)
        whole[first : first + part] = block
        if turn % 2 == 1:
            half = size // 2
            a, b = whole[:half].copy(), whole[half : 2 * half].copy()
            whole[:half], whole[half : 2 * half] = (a + b) / math.sqrt(2.0), (a - b) / math.sqrt(2.0)
    return whole


def hadamard(size: int) -> Numbers:
    """Return the Walsh-Hadamard matrix."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def estimate(row: Numbers, query: Numbers, codeword: list[int], rounded: Numbers) -> float:
    """Estimate the inner product of a query with a row, both rotated: r <q, c> / <o, c>.

    Parameters
    ----------
    row : ndarray
        The rotated row.
    query : ndarray
        The rotated query, for its length.
    codeword : list of int
    rounded : ndarray
        The query as it was rounded.
    """
    code, length = np.array(codeword, np.float64), math.sqrt(float(row @ row))
    if length == 0.0 or not query.any():
        return 0.0
    return length * float(rounded @ code) / float(row / length @ code)
