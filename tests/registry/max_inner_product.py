"""Searches for the largest inner product, and what is built on them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from argument_cases import FLAGS, ROWS, WEIGHTS, Case, D, N
from mergesketch import InnerProductOracle, LeastSquaresValueIteration, OracleRun, frank_wolfe, herding


def argument_cases() -> Iterator[Case]:
    direction, flags = ROWS[0].copy(), FLAGS.copy()
    flags[0] = False
    shares = WEIGHTS[:, 0] + 1.0

    @cache
    def made() -> InnerProductOracle:
        return InnerProductOracle(ROWS, seed=1)

    def find(atoms: Any) -> Any:
        return OracleRun(ROWS, InnerProductOracle(atoms, seed=1)).best(direction)

    def begin(atoms: Any) -> Any:
        return OracleRun(atoms, made()).best(direction)

    def exact(direction: Any) -> Any:
        return OracleRun(ROWS).exact(direction)

    def best(direction: Any, excluded: Any) -> Any:
        return OracleRun(ROWS, made()).best(direction, excluded=excluded)

    def best_with_bonus(direction: Any, matrix: Any) -> Any:
        return OracleRun(ROWS, made()).best_with_bonus(direction, matrix, 2.0)

    def learn(features: Any) -> Any:
        return LeastSquaresValueIteration(features, 2).update([0, 2], [1, 0], [0.5, 1.0]).coefficients

    def add(states: Any, actions: Any, rewards: Any) -> Any:
        agent = LeastSquaresValueIteration(ROWS.reshape(3, 3, D), len(states))
        return agent.update(states, actions, rewards).coefficients

    yield Case("InnerProductOracle", find, {"atoms": ROWS})
    yield Case("OracleRun", begin, {"atoms": ROWS})
    yield Case("OracleRun.best", best, {"direction": direction, "excluded": flags})
    yield Case("OracleRun.exact", exact, {"direction": direction})
    matrix = {"direction": direction, "matrix": np.diag(np.arange(1.0, D + 1.0))}
    yield Case("OracleRun.best_with_bonus", best_with_bonus, matrix)
    yield Case("frank_wolfe", lambda atoms: frank_wolfe(lambda x: x, atoms, n_steps=5), {"atoms": ROWS})
    yield Case("herding", lambda atoms, mean: herding(atoms, mean), {"atoms": ROWS, "mean": direction / N})
    yield Case("herding: weights", lambda weights: herding(ROWS, weights=weights), {"weights": shares})
    yield Case("LeastSquaresValueIteration", learn, {"features": ROWS.reshape(3, 3, D)})
    episode = {"states": np.arange(N) % 3, "actions": np.arange(N) // 3, "rewards": FLAGS.astype(float)}
    yield Case("LeastSquaresValueIteration.update", add, episode)
