"""One training step of a network of one hidden layer with given active labels: dense NumPy in float64."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Parameters:
    """A matrix of parameters with the moments of Adam, and the steps of each of its rows."""

    values: np.ndarray
    first: np.ndarray = field(init=False)
    second: np.ndarray = field(init=False)
    steps: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.second = np.zeros_like(self.values), np.zeros_like(self.values)
        self.steps = np.zeros(len(self.values), np.int64)

    def move(self, gradient: np.ndarray, rows: list[int], rate: float) -> None:
        """Take a step of Adam with some rows; the others stay as they are."""
        for row in rows:
            self.steps[row] += 1
            self.first[row] = 0.9 * self.first[row] + 0.1 * gradient[row]
            self.second[row] = 0.999 * self.second[row] + 0.001 * gradient[row] ** 2
            first = self.first[row] / (1 - 0.9 ** self.steps[row])
            second = self.second[row] / (1 - 0.999 ** self.steps[row])
            self.values[row] -= rate * first / (np.sqrt(second) + 1e-8)


def train_step(
    X: np.ndarray,
    targets: list[set[int]],
    active: list[list[int]],
    hidden: Parameters,
    output: Parameters,
    biases: Parameters,
    rate: float,
    shifts: np.ndarray | float = 0.0,
) -> float:
    """Take a step with rows `X`, whose last column is 1; return the mean loss of the rows with targets.

    `shifts`, of shape (rows, labels), is added to the scores.
    """
    before = X @ hidden.values
    activations = np.maximum(before, 0.0)
    scores = activations @ output.values.T + biases.values[:, 0] + shifts
    n, loss = sum(bool(own) for own in targets), 0.0
    deltas = np.zeros_like(scores)
    for b, (own, labels) in enumerate(zip(targets, active, strict=True)):
        if not own:
            continue
        exponentials = np.exp(scores[b, labels] - scores[b, labels].max())
        chances = exponentials / exponentials.sum()
        wanted = np.array([1 / len(own) if label in own else 0.0 for label in labels])
        loss -= float(wanted @ np.log(chances))
        deltas[b, labels] = (chances - wanted) / n
    gradients = (deltas @ output.values) * (before > 0)
    touched = sorted({label for labels in active for label in labels})
    output.move(deltas.T @ activations, touched, rate)
    biases.move(deltas.sum(axis=0)[:, None], touched, rate)
    hidden.move(X.T @ gradients, np.flatnonzero((X != 0).any(axis=0)).tolist(), rate)
    return loss / max(n, 1)


def found_labels(tables: list[dict[int, list[int]]], codes: list[int]) -> set[int]:
    """Return the labels in the buckets of a row, one bucket of each table."""
    return {label for table, code in zip(tables, codes, strict=True) for label in table.get(code, [])}


def bfloat16_neighbours(value: float) -> tuple[float, float]:
    """Return the two numbers of 8 significant bits next to a float32, the one nearer to 0 first."""
    if value == 0:
        return 0.0, 0.0
    step = 2.0 ** (np.frexp(np.float64(value))[1] - 8)
    low = np.trunc(value / step) * step
    return float(low), float(low if low == value else low + np.sign(value) * step)
