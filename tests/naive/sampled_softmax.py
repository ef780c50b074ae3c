"""The cross-entropy of a row from sampled classes, and its gradient, term by term."""

from __future__ import annotations

import math

__all__ = ["loss_and_gradient"]


def loss_and_gradient(
    logits: list[float], ids: list[int], probabilities: list[float], targets: list[int]
) -> tuple[float, list[float]]:
    """Return the loss of a row and its gradient; places of -1 have no effect."""
    m, wanted = len(targets), [t for t in targets if t >= 0]
    if not wanted:
        return 0.0, [0.0] * len(logits)
    terms = [math.exp(logits[j]) if targets[j] >= 0 else 0.0 for j in range(m)]
    for j, (i, p) in enumerate(zip(ids, probabilities, strict=True)):
        terms.append(0.0 if i < 0 or i in wanted else math.exp(logits[m + j]) / p)
    total = math.fsum(terms)
    loss = math.log(total) - math.fsum(logits[j] for j in range(m) if targets[j] >= 0) / len(wanted)
    gradient = [term / total for term in terms]
    for j in range(m):
        if targets[j] >= 0:
            gradient[j] -= 1.0 / len(wanted)
    return loss, gradient
