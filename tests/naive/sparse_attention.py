"""Attention over few tokens, written out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def top_tokens(scores: Numbers, k: int, sinks: int, window: int, positions: list[int]) -> list[list[int]]:
    """Return the tokens of each query: sort all that may be selected, the certain ones first.

    Minus infinity masks a token.
    """
    found = []
    for row, position in zip(scores.tolist(), positions, strict=True):
        seen = [i for i in range(position + 1) if row[i] > -math.inf]

        def rank(i: int, row: list[float] = row, position: int = position) -> tuple[bool, float, int]:
            return not (i < sinks or i > position - window), -row[i], i

        found.append(sorted(sorted(seen, key=rank)[:k]))
    return found


def attention(
    Q: Numbers, K: Numbers, V: Numbers, tokens: list[list[int]], scale: float
) -> tuple[Numbers, Numbers]:
    """Return outputs and logarithms of masses, with sums that do not round."""
    outputs, masses = np.full((len(Q), V.shape[1]), np.nan), np.full(len(Q), -np.inf)
    for i, chosen in enumerate(tokens):
        logits = [scale * math.fsum(Q[i] * K[t]) for t in chosen]
        if not chosen:
            continue
        weights = [math.exp(z - max(logits)) for z in logits]
        total = math.fsum(weights)
        for j in range(V.shape[1]):
            products = [w * V[t, j] for w, t in zip(weights, chosen, strict=True)]
            outputs[i, j] = math.fsum(products) / total
        masses[i] = math.log(total) + max(logits)
    return outputs, masses
