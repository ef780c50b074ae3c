"""Rows that several families hash, and pairs of rows at a given distance."""

from __future__ import annotations

from typing import Any

import numpy as np

ANGLES = (0.1, 0.5, 1.0, np.pi / 2, 2.0)
JACCARD = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)


def dense_rows(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((n, 12)).astype(np.float32)


def token_sets(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 9, n))])
    return rng.integers(0, 40, int(offsets[-1])).astype(np.uint64), offsets.astype(np.int64)


def split_sets(tokens: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    return np.split(tokens, offsets[1:-1])


def unit(X: np.ndarray) -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def angle_pairs(rng: np.random.Generator, angle: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows of any length at that angle."""
    x = unit(rng.standard_normal((n, 12)))
    other = rng.standard_normal((n, 12))
    across = unit(other - (other * x).sum(axis=1, keepdims=True) * x)
    y = np.cos(angle) * x + np.sin(angle) * across
    return x * rng.uniform(0.1, 10, (n, 1)), y * rng.uniform(0.1, 10, (n, 1))


def set_pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[Any, Any]:
    """Return pairs of sets at that Jaccard distance as (tokens, offsets); each union has 24 tokens."""
    common = round(24 * (1.0 - distance))
    assert abs(24 * (1.0 - distance) - common) < 1e-9
    left = (24 - common) // 3
    tokens = rng.integers(0, 2**64, (n, 24), dtype=np.uint64)
    sides = tokens[:, : common + left], np.delete(tokens, np.s_[common : common + left], axis=1)
    x, y = ((side.reshape(-1), np.arange(n + 1) * side.shape[1]) for side in sides)
    return x, y
