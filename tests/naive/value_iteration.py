"""Least-squares value iteration with upper confidence bounds, from all past episodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LinearProcess(NamedTuple):
    """A linear Markov decision process: features are weights of factors, which decide what happens."""

    #: Shape (n_states, n_actions, d): weights of d factors, at least 0, whose sum is 1.
    features: np.ndarray
    #: Shape (d, n_states): the distribution of the next state, for each factor.
    transitions: np.ndarray
    #: Shape (d,): the mean reward of each factor.
    rewards: np.ndarray


def linear_process(n_states: int, n_actions: int, d: int, seed: int) -> LinearProcess:
    """Return a random process."""
    rng = np.random.default_rng(seed)
    features = rng.dirichlet(np.full(d, 0.3), (n_states, n_actions))
    return LinearProcess(features, rng.dirichlet(np.full(n_states, 0.5), d), rng.random(d) ** 2)


def best_values(process: LinearProcess, horizon: int) -> np.ndarray:
    """Return the largest expected sum of rewards from each state on."""
    values = np.zeros(len(process.features))
    for _ in range(horizon):
        values = (process.features @ (process.rewards + process.transitions @ values)).max(axis=1)
    return values


def fit(
    features: np.ndarray,
    horizon: int,
    episodes: list[tuple[list[int], list[int], list[float]]],
    bonus: float,
    regularization: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients, and the values of all states and actions, of algorithm 1 of Jin and others."""
    n_states, n_actions, d = features.shape
    coefficients = np.zeros((horizon, d))
    values = np.zeros((horizon, n_states, n_actions))
    for h in reversed(range(horizon)):
        moments, total = regularization * np.eye(d), np.zeros(d)
        for states, actions, rewards in episodes:
            x = features[states[h], actions[h]]
            moments += np.outer(x, x)
            later = 0.0
            if h + 1 < horizon:
                later = min(values[h + 1, states[h + 1]].max(), horizon - (h + 1))
            total += x * (rewards[h] + later)
        inverse = np.linalg.inv(moments)
        coefficients[h] = inverse @ total
        for s in range(n_states):
            for a in range(n_actions):
                x = features[s, a]
                values[h, s, a] = coefficients[h] @ x + bonus * np.sqrt(x @ inverse @ x)
    return coefficients, values
