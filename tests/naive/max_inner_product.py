"""Plain searches for the largest value, the Frank-Wolfe method for a squared distance, and herding."""

from __future__ import annotations

import numpy as np


def value(atom: np.ndarray, direction: np.ndarray, matrix: np.ndarray | None, bonus: float) -> float:
    """Return the inner product, plus ``bonus * sqrt(x' matrix x)`` if there is a matrix."""
    atom = atom.astype(float)
    product = float(atom @ direction)
    return product if matrix is None else product + bonus * float(np.sqrt(atom @ matrix @ atom))


def best(atoms: np.ndarray, direction: np.ndarray, excluded: set[int]) -> tuple[int, float]:
    """Return the first atom of the largest inner product, and that product; -1 if all are excluded."""
    found, largest = -1, -np.inf
    for i, atom in enumerate(atoms):
        here = float(sum(float(a) * float(b) for a, b in zip(atom, direction, strict=True)))
        if i not in excluded and here > largest:
            found, largest = i, here
    return found, largest


def candidates(slots: np.ndarray, codes: np.ndarray) -> set[int]:
    """Return the ids in the buckets of a query: slots contain ids plus one, codes one row for each table."""
    return {
        int(slot) - 1
        for table, buckets in zip(slots, codes, strict=True)
        for bucket in buckets
        for slot in table[bucket]
        if slot
    }


def nearest_point(atoms: np.ndarray, target: np.ndarray, n_steps: int, search: bool) -> list[np.ndarray]:
    """Return the points of the Frank-Wolfe method for half the squared distance to a target."""
    points = [atoms[0].astype(float)]
    for t in range(n_steps):
        x = points[-1]
        s = atoms[best(atoms, target - x, set())[0]].astype(float)
        size = 2.0 / (t + 2.0)
        if search:
            length = float((s - x) @ (s - x))
            size = min(max(float((target - x) @ (s - x)) / length, 0.0), 1.0) if length else 0.0
        points.append(x + size * (s - x))
    return points


def herd(atoms: np.ndarray, target: np.ndarray, n_samples: int) -> list[int]:
    """Return the samples of herding."""
    w, chosen = np.zeros(len(target)), []
    for _ in range(n_samples):
        chosen.append(best(atoms, w, set())[0])
        w = w + target - atoms[chosen[-1]]
    return chosen
