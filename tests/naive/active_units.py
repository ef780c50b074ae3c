"""Layers of which only some units are computed, written out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def activate(z: float, activation: str) -> float:
    """Return the activation of one number."""
    if activation == "relu":
        return max(z, 0.0)
    if activation == "gelu":
        return z * 0.5 * (1.0 + math.erf(z / math.sqrt(2.0)))
    return z / (1.0 + math.exp(-z)) if z > -700.0 else 0.0


def strongest(scores: Numbers, k: int, activation: str) -> list[list[int]]:
    """Return the k units of each row with the largest scores, or activations: sort them all."""
    found = []
    for row in scores.tolist():
        keys = row if activation == "relu" else [abs(activate(z, activation)) for z in row]
        order = sorted(range(len(row)), key=lambda i, keys=keys: (-keys[i], i))  # type: ignore[misc]
        found.append(sorted(order[:k]))
    return found


def layer(
    X: Numbers,
    W: Numbers,
    V: Numbers,
    units: list[list[int]],
    bias: Numbers,
    output_bias: Numbers,
    activation: str,
    up: Numbers | None = None,
) -> Numbers:
    """Return the sums of the rows of V times the activations of the units, with sums that do not round.

    With `up`, an activation is multiplied by the product of the input and the unit's row of `up`.
    """
    outputs = np.empty((len(X), V.shape[1]))
    for i, chosen in enumerate(units):
        active = [activate(math.fsum(X[i] * W[u]) + bias[u], activation) for u in chosen]
        if up is not None:
            active = [a * math.fsum(X[i] * up[u]) for a, u in zip(active, chosen, strict=True)]
        for j in range(V.shape[1]):
            products = [a * V[u, j] for a, u in zip(active, chosen, strict=True)]
            outputs[i, j] = math.fsum([*products, output_bias[j]])
    return outputs


def best_output_error(W: Numbers, X: Numbers, rank: int) -> float:
    """Return the least squared error of X W^T by a matrix of the rank instead of W (Eckart and Young)."""
    singular = np.linalg.svd(X @ W.T, compute_uv=False)
    return float((singular[rank:] ** 2).sum())
