"""Random codes of items, queries by the scores of buckets, and a network in float64 with its training."""

from __future__ import annotations

import numpy as np

from .words import mix13


def codes(ids: list[int], keys: list[int], n_buckets: int) -> list[list[int]]:
    """Return the bucket of each item in each chunk."""
    return [[(mix13(mix13(i) ^ key) >> 32) * n_buckets >> 32 for key in keys] for i in ids]


def candidates(scores: np.ndarray, item_codes: np.ndarray, n_probes: int, least: int) -> list[int]:
    """Return the items that are in the best buckets of some chunks; scores have shape (chunks, buckets)."""
    best = [
        set(sorted(range(len(row)), key=lambda b, row=row: (-row[b], b))[:n_probes])
        for row in scores.tolist()
    ]
    return [
        i
        for i, code in enumerate(item_codes)
        if sum(bucket in some for bucket, some in zip(code, best, strict=True)) >= least
    ]


def ranked(scores: np.ndarray, item_codes: np.ndarray, items: list[int]) -> list[int]:
    """Return items by falling sums of the scores of their buckets, at equal sums by rising number."""
    chunks = range(len(scores))
    sums = {i: -sum(float(scores[c, item_codes[i][c]]) for c in chunks) for i in items}
    return sorted(items, key=lambda i: (sums[i], i))


def log_probabilities(weights: dict[str, np.ndarray], X: np.ndarray, n_buckets: int) -> np.ndarray:
    """Return the logarithms of probabilities, shape (n, chunks, buckets)."""
    hidden = np.maximum(X @ weights["hidden"] + weights["hidden_bias"], 0.0)
    scores = hidden @ weights["output"].T + weights["output_bias"]
    scores = scores.reshape(len(X), -1, n_buckets)
    scores = scores - scores.max(axis=2, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))


def loss(
    weights: dict[str, np.ndarray],
    X: np.ndarray,
    items: list[list[int]],
    item_codes: np.ndarray,
    n_buckets: int,
) -> float:
    """Return the mean loss of rows."""
    logs = log_probabilities(weights, X, n_buckets)
    chunks = np.arange(item_codes.shape[1])
    return -float(
        np.mean(
            [np.mean([logs[i, chunks, item_codes[j]].sum() for j in some]) for i, some in enumerate(items)]
        )
    )


def adagrad_step(
    weights: dict[str, np.ndarray],
    squares: dict[str, np.ndarray],
    X: np.ndarray,
    items: list[list[int]],
    item_codes: np.ndarray,
    n_buckets: int,
    rate: float,
) -> None:
    """Change weights and squares by a step, whose gradients are differences of losses."""
    step, gradients = 1e-5, {}
    for name, array in weights.items():
        gradients[name] = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            both = []
            for sign in (1, -1):
                moved = array.copy()
                moved[at] += sign * step
                both.append(loss({**weights, name: moved}, X, items, item_codes, n_buckets))
            gradients[name][at] = (both[0] - both[1]) / (2 * step)
    for name, gradient in gradients.items():
        squares[name] += gradient**2
        weights[name] -= rate * gradient / (np.sqrt(squares[name]) + 1e-8)
