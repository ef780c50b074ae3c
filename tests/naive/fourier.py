"""Random Fourier features."""

from __future__ import annotations

import math

import numpy as np


def feature_sums(
    X: np.ndarray, weights: np.ndarray, frequencies: np.ndarray, width: float
) -> list[tuple[float, float]]:
    """Return, for each component, the weighted sums of cosines and of sines; frequencies are in turns."""
    sums = []
    for c in range(frequencies.shape[1]):
        cosines, sines = 0.0, 0.0
        for x, weight in zip(X, weights.tolist(), strict=True):
            turns = math.fsum(float(a) / width * float(w) for a, w in zip(x, frequencies[:, c], strict=True))
            cosines += weight * math.cos(2.0 * math.pi * (turns % 1.0))
            sines += weight * math.sin(2.0 * math.pi * (turns % 1.0))
        sums.append((cosines, sines))
    return sums


def hadamard_frequencies(signs: np.ndarray, scales: np.ndarray, d: int) -> np.ndarray:
    """Return the first d coordinates of the rows of H D3 H D2 H D1, times their scales, shape (d, m)."""
    size = signs.shape[2]
    numbers = np.arange(size)
    bits = [[bin(i & j).count("1") for j in numbers] for i in numbers]
    H = 1.0 - 2.0 * (np.array(bits) % 2)
    rows = [H @ np.diag(third) @ H @ np.diag(second) @ H @ np.diag(first) for first, second, third in signs]
    return (np.concatenate(rows)[: scales.size, :d] * scales[:, None]).T


def kernel(Q: np.ndarray, X: np.ndarray, width: float, kind: str) -> np.ndarray:
    """Return the kernel of every query and row."""
    differences = (Q[:, None, :] - X[None, :, :]) / width
    if kind == "gaussian":
        return np.exp(-(differences**2).sum(axis=2) / 2.0)
    return np.exp(-np.abs(differences).sum(axis=2))
