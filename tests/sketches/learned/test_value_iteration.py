"""Value iteration with many actions: against the naive twin, optimism, learning, oracles, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import InnerProductOracle, LeastSquaresValueIteration
from naive import value_iteration as naive

quickly = settings(max_examples=15, deadline=None)


def play(agent: LeastSquaresValueIteration, process: naive.LinearProcess, n_episodes: int, seed: int) -> list:
    """Let an agent act, and return the episodes."""
    rng, episodes = np.random.default_rng(seed), []
    for _ in range(n_episodes):
        states, actions, rewards = [0], [], []
        for step in range(agent.horizon):
            actions.append(agent.act(step, states[-1]))
            x = process.features[states[-1], actions[-1]]
            rewards.append(float(rng.random() < x @ process.rewards))
            odds = x @ process.transitions
            states.append(int(rng.choice(len(odds), p=odds / odds.sum())))
        episodes.append((states[:-1], actions, rewards))
        agent.update(*episodes[-1])
    return episodes


def value_of(agent: LeastSquaresValueIteration, process: naive.LinearProcess) -> np.ndarray:
    """Return the expected sums of rewards of an agent that learns no more."""
    values = np.zeros(len(process.features))
    for step in reversed(range(agent.horizon)):
        actions = [agent.act(step, state) for state in range(len(values))]
        rows = process.features[np.arange(len(values)), actions]
        values = rows @ (process.rewards + process.transitions @ values)
    return values


@quickly
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_values_are_those_of_the_naive_twin(s: int, a: int, d: int, horizon: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((s, a, d))
    agent = LeastSquaresValueIteration(features, horizon, bonus=0.7, regularization=0.3)
    episodes = []
    for _ in range(5):
        chosen = rng.integers(0, s, horizon), rng.integers(0, a, horizon), rng.random(horizon)
        episodes.append(tuple(part.tolist() for part in chosen))
        agent.update(*chosen)
    coefficients, values = naive.fit(features, horizon, episodes, 0.7, 0.3)
    np.testing.assert_allclose(agent.coefficients, coefficients, rtol=1e-7, atol=1e-9)
    for step in range(horizon):
        for state in range(s):
            best = values[step, state].max()
            assert values[step, state, agent.act(step, state)] == pytest.approx(best, rel=1e-7)
            assert agent.value(step, state) == pytest.approx(min(best, horizon - step), rel=1e-7)
    assert agent.n_episodes == 5


@pytest.mark.parametrize("seed", range(4))
def test_values_are_optimistic_with_the_bonus_of_the_theorem(seed: int) -> None:
    process, horizon, d = naive.linear_process(4, 30, 5, seed), 3, 5
    # Jin and others, lemma B.5, with beta a multiple of d H.
    agent = LeastSquaresValueIteration(process.features, horizon, bonus=2.0 * d * horizon)
    for _ in range(10):
        play(agent, process, 3, seed)
        for h in range(horizon):
            best = naive.best_values(process, horizon - h)
            assert all(agent.value(h, s) >= best[s] for s in range(4))


def test_regret_falls_with_and_without_oracles() -> None:
    process, horizon = naive.linear_process(3, 3000, 4, 2), 3
    best = naive.best_values(process, horizon)[0]
    oracles = [
        InnerProductOracle(x, n_groups=2, n_tables=2, n_probes=2, seed=s)
        for s, x in enumerate(process.features)
    ]
    scored = {}
    for name, index in (("exact", None), ("oracles", oracles)):
        agent = LeastSquaresValueIteration(process.features, horizon, index, bonus=1.0, regularization=0.1)
        play(agent, process, 2, 0)
        early = best - value_of(agent, process)[0]
        play(agent, process, 60, 1)
        late = best - value_of(agent, process)[0]
        assert -1e-12 <= late < 0.25 * best and late <= early
        scored[name] = agent.actions_scored
    assert scored["oracles"] < 0.5 * scored["exact"]


def test_oracles_whose_buckets_have_all_actions_change_nothing() -> None:
    process = naive.linear_process(3, 60, 5, 1)
    oracles = [InnerProductOracle(x, n_groups=1, n_tables=1, n_probes=2, power=1) for x in process.features]
    exact = LeastSquaresValueIteration(process.features, 4, bonus=1.0)
    agent = LeastSquaresValueIteration(process.features, 4, oracles, bonus=1.0, check_every=1)
    assert play(exact, process, 20, 3) == play(agent, process, 20, 3)
    np.testing.assert_array_equal(agent.coefficients, exact.coefficients)
    assert len(agent.ratios) > 20 and (agent.ratios == 1.0).all() and len(exact.ratios) == 0


def test_axes_raise_the_ratio_where_bonuses_are_large() -> None:
    process = naive.linear_process(2, 2000, 8, 4)
    oracles = [
        InnerProductOracle(x, n_groups=2, n_tables=2, n_probes=2, seed=s)
        for s, x in enumerate(process.features)
    ]
    ratios = {}
    for n_axes in (0, 4):
        agent = LeastSquaresValueIteration(
            process.features, 3, oracles, bonus=5.0, n_axes=n_axes, check_every=1
        )
        play(agent, process, 25, 0)
        assert agent.ratios.min() > 0.0 and agent.ratios.max() <= 1.0
        ratios[n_axes] = agent.ratios.mean()
    assert ratios[4] > ratios[0]


def test_a_refused_episode_changes_nothing() -> None:
    process = naive.linear_process(3, 10, 4, 1)
    agent = LeastSquaresValueIteration(process.features, 2)
    play(agent, process, 3, 0)
    before = agent.coefficients
    good = ([0, 1], [2, 3], [0.5, 1.0])
    for place, wrong, error in (
        (0, [0, 3], ValueError),
        (0, [0, 1, 2], ValueError),
        (0, [0.0, 1.0], TypeError),
        (0, [True, False], TypeError),
        (1, [0, 10], ValueError),
        (1, [-1, 0], ValueError),
        (2, [0.5, 1.5], ValueError),
        (2, [0.5, math.nan], ValueError),
        (2, [0.5], ValueError),
    ):
        name = ("states", "actions", "rewards")[place]
        with pytest.raises(error, match=f"^{name} must"):
            agent.update(*(wrong if i == place else part for i, part in enumerate(good)))
        np.testing.assert_array_equal(agent.coefficients, before)
        assert agent.n_episodes == 3
    for step, state in ((2, 0), (-1, 0), (0, 3)):
        with pytest.raises(ValueError, match="must be an integer from 0"):
            agent.act(step, state)


def test_an_interrupted_update_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    process = naive.linear_process(3, 10, 4, 1)
    agent = LeastSquaresValueIteration(process.features, 2)
    play(agent, process, 3, 0)
    before = agent.coefficients, agent.act(0, 1), agent.value(1, 2)
    features = process.features.copy()
    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, "inv", lambda matrix: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            agent.update([0, 1], [2, 3], [0.5, 1.0])
    np.testing.assert_array_equal(agent.coefficients, before[0])
    assert (agent.act(0, 1), agent.value(1, 2), agent.n_episodes) == (*before[1:], 3)
    expected = LeastSquaresValueIteration(features, 2)
    play(expected, process, 3, 0)
    for other in (agent, expected):
        other.update([0, 1], [2, 3], [0.5, 1.0])
    np.testing.assert_array_equal(agent.coefficients, expected.coefficients)


def test_the_least_regularization_is_enough_and_a_singular_regression_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = np.array([[[1e6, 1e6], [1.0, 0.0]]])
    agent = LeastSquaresValueIteration(features, 1, regularization=2.0)
    for _ in range(20):
        agent.update([0], [0], [1.0])
    # The ridge regression of 1 on (a, a), 20 times, has two equal coefficients of 20 a / (40 a**2 + 2).
    expected = 20e6 / (40e12 + 2.0)
    found = agent.coefficients[0]
    # Their sum is well determined, and each of them as well as the condition number allows.
    assert found.sum() == pytest.approx(2.0 * expected, rel=1e-9)
    np.testing.assert_allclose(found, expected, rtol=np.finfo(float).eps * (40e12 + 2.0) / 2.0)
    before = agent.coefficients

    def refuse(matrix: np.ndarray) -> np.ndarray:
        raise np.linalg.LinAlgError("Singular matrix")

    for name in ("cholesky", "inv"):
        with monkeypatch.context() as patch:
            patch.setattr(np.linalg, name, refuse)
            with pytest.raises(ValueError, match=r"^regularization must be larger .*, got 2.0"):
                agent.update([0], [0], [1.0])
        np.testing.assert_array_equal(agent.coefficients, before)
        assert agent.n_episodes == 20


def test_the_features_are_ones_own() -> None:
    process = naive.linear_process(3, 10, 4, 1)
    features = process.features.copy()
    agent = LeastSquaresValueIteration(features, 2)
    features[:] = np.nan
    play(agent, process, 3, 0)
    assert np.isfinite(agent.coefficients).all()


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "features must have shape", {"features": np.eye(3)}),
        (ValueError, "features must have shape", {"features": np.zeros((2, 0, 3))}),
        (ValueError, "features must be finite", {"features": np.full((1, 1, 1), np.nan)}),
        (ValueError, "horizon must be", {"horizon": 0}),
        (ValueError, "bonus must be", {"bonus": -1.0}),
        (ValueError, "regularization must be", {"regularization": 0.0}),
        (ValueError, "regularization must lie from 1e-100", {"regularization": 1e-320}),
        (ValueError, "regularization must lie from 1e-100", {"regularization": 1e200}),
        (
            ValueError,
            "regularization must be at least 1e-12 times",
            {"features": [[[1e8, 1e8], [1, 0]]], "regularization": 1e-6},
        ),
        (ValueError, "features must have squared lengths", {"features": np.full((2, 4, 3), 1e200)}),
        (ValueError, "features must have squared lengths", {"features": np.full((2, 4, 3), 1e60)}),
        (ValueError, "oracles must be a list of 2", {"oracles": []}),
        (TypeError, r"oracles\[0\] must be an InnerProductOracle", {"oracles": [None, None]}),
        (ValueError, "atoms must be those", {"oracles": [InnerProductOracle(np.eye(3))] * 2}),
    ],
)
def test_refusals(error: type[Exception], message: str, arguments: dict) -> None:
    with pytest.raises(error, match=message):
        LeastSquaresValueIteration(**{"features": np.ones((2, 4, 3)), "horizon": 2, **arguments})
