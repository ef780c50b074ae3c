"""Random projections, by exact products and by dense matrices."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from naive.words import mix13


def exact_product(vector: list[float], row: list[float]) -> Fraction:
    """Return the dot product without any rounding."""
    return sum((Fraction(w) * Fraction(x) for w, x in zip(vector, row, strict=True)), Fraction(0))


def sign_codes(
    vectors: list[list[float]], X: list[list[float]], n_hashes: int, power: int
) -> list[list[int]]:
    """Set bit k of code h where vector k n_hashes + h has a product of at least 0 with the row."""
    return [
        [
            sum(1 << k for k in range(power) if exact_product(vectors[k * n_hashes + h], row) >= 0)
            for h in range(n_hashes)
        ]
        for row in X
    ]


def step_codes(
    vectors: list[list[float]],
    offsets: list[float],
    width: float,
    keys: list[int],
    n_buckets: int,
    X: list[list[float]],
    power: int,
) -> list[list[int]]:
    """Mix and reduce the steps of exact products to p-stable codes."""
    codes = []
    for row in X:
        words = list(keys)
        for place, (vector, offset) in enumerate(zip(vectors, offsets, strict=True)):
            step = math.floor((float(exact_product(vector, row)) + offset) / width)
            h = place % len(keys)
            words[h] = mix13(words[h] ^ (step % 2**64))
        codes.append([(word >> 32) * n_buckets >> 32 for word in words])
    return codes


def hadamard_products(masks: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Multiply each row by H D3 H D2 H D1 of each block, by dense matrices; a set bit of `masks` is a -1."""
    bits = masks[:, :, None] >> np.arange(16, dtype=np.uint16) & 1
    signs = (1 - 2 * bits.astype(int)).reshape(len(masks), 3, -1)
    size = signs.shape[2]
    H = np.array([[(-1.0) ** bin(i & j).count("1") for j in range(size)] for i in range(size)])
    padded = np.zeros((len(X), size))
    padded[:, : X.shape[1]] = X
    products = []
    for first, second, third in signs.astype(float):
        products.append((((padded * first) @ H * second) @ H * third) @ H)
    return np.concatenate(products, axis=1) / size**1.5


def rounded_hadamard_products(masks: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return `hadamard_products` of one float32 row in float32, one level after another by growing span."""
    products = []
    for rounds in masks.reshape(len(masks), 3, -1):
        block = np.zeros(16 * rounds.shape[1], dtype=np.float32)
        block[: row.size] = row
        for words in rounds:
            flips = (words[:, None] >> np.arange(16, dtype=np.uint16) & 1).reshape(-1) == 1
            block[flips] *= -1
            span = 1
            while span < block.size:
                pairs = block.reshape(-1, 2, span)
                a, b = pairs[:, 0].copy(), pairs[:, 1].copy()
                pairs[:, 0], pairs[:, 1] = a + b, a - b
                span *= 2
        products.append(block)
    return np.concatenate(products)


def hashed_products(key: int, quantiles: list[float], X: list[list[float]], n_values: int) -> np.ndarray:
    """Multiply rows by vectors whose entries are hashed from the numbers of feature and vector."""
    n_words = -(-n_values // 5)
    products = np.zeros((len(X), 5 * n_words))
    for i, row in enumerate(X):
        for feature, x in enumerate(row):
            for g in range(n_words):
                word = mix13((mix13(feature ^ key) + g * 0x9E3779B97F4A7C15) % 2**64)
                for e in range(5):
                    products[i, e * n_words + g] += x * quantiles[word >> 12 * e & 4095]
    return products[:, :n_values]
