"""Winner-take-all."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from argument_cases import ROWS, D
from entries import Family
from later import LaterSequence
from mergesketch.lsh import HashFamily, WinnerTakeAll
from row_data import dense_rows
from scipy.optimize import brentq
from stored_data import SMALL_ROWS

#: Orders of 12 features, from 0, 1, ..., 11 to its reverse.
_ORDERS = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
    (1, 0, 2, 3, 5, 4, 6, 7, 8, 9, 11, 10),
    (0, 2, 1, 4, 6, 3, 5, 9, 7, 8, 11, 10),
    (3, 0, 5, 1, 9, 2, 7, 4, 11, 6, 10, 8),
    (5, 8, 1, 11, 3, 9, 0, 6, 10, 2, 7, 4),
    (10, 11, 9, 6, 8, 7, 4, 5, 2, 3, 0, 1),
    (11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)


def _distance(order: tuple[int, ...], group_size: int) -> float:
    """Return the distance at which theory has the probability that winners agree in this order."""
    below = [sum(order[j] < order[i] for j in range(i)) for i in range(12)]
    agree = sum(math.comb(b, group_size - 1) for b in below) / math.comb(12, group_size)
    if not 0 < agree < 1:
        return 1 - math.sin((agree - 0.5) * math.pi)
    theory = WinnerTakeAll(12, 1, group_size=group_size)
    # The root is found in the angle, because the slope in the distance is not bounded.
    angle = brentq(
        lambda t: float(theory.collision_probability(1 - math.sin(t))) - agree,
        -math.pi / 2,
        math.pi / 2,
        xtol=1e-14,
    )
    return 1 - math.sin(angle)


def _winner_family(group_size: int, name: str, **arguments: Any) -> dict[str, Family]:
    """Return the family over rows in these orders, at the distances where theory has their probabilities."""

    def make(n_hashes: int, seed: int) -> WinnerTakeAll:
        return WinnerTakeAll(12, n_hashes, group_size=group_size, seed=seed, **arguments)

    @cache
    def orders() -> dict[float, np.ndarray]:
        return {_distance(order, group_size): np.array(order) for order in _ORDERS}

    def pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[np.ndarray, np.ndarray]:
        features = rng.permuted(np.tile(np.arange(12), (n, 1)), axis=1)
        low, high = np.sort(rng.standard_normal((2, n, 12)), axis=2)
        x, y = np.empty((2, n, 12))
        np.put_along_axis(x, features, low, axis=1)
        np.put_along_axis(y, features, high[:, orders()[distance]], axis=1)
        return x, y

    return {name: Family(make, dense_rows, LaterSequence(lambda: tuple(orders())), pairs)}


FAMILIES: dict[str, Family] = {
    **_winner_family(2, "WinnerTakeAll, pairs"),
    **_winner_family(4, "WinnerTakeAll", power=2),
    **_winner_family(3, "WinnerTakeAll, rehashed", power=2, n_buckets=50),
}


GPU_ROW_FAMILIES: dict[str, HashFamily] = {
    "winner take all": WinnerTakeAll(12, n_hashes=20, group_size=5, power=2, seed=1),
    "winner take all, reduced": WinnerTakeAll(12, n_hashes=20, group_size=5, n_buckets=50, seed=1),
}


ROW_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "winners": (WinnerTakeAll(D, 8), ROWS),
}


SMALL_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "winners": (WinnerTakeAll(4, 3, group_size=2, power=2, seed=1), SMALL_ROWS),
}
