"""Least-squares value iteration for linear Markov decision processes with many actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_array, check_dense, check_numbers, refuse_flags
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.configured import Configured
from ...lsh.support.public import publish
from .inner_product_oracle import InnerProductOracle
from .oracle_run import FoundAtom, OracleRun

__all__ = ["LeastSquaresValueIteration"]

#: The largest squared length of features.
_LONGEST = 1e100
#: The least regularization, and the least one relative to the largest squared length of features. Below it,
#: float64 cannot tell a regression from one that has no unique answer.
_LEAST, _LEAST_SHARE = 1e-100, 1e-12


class LeastSquaresValueIteration(Configured):
    """Learn which actions to take, with upper confidence bounds (LSVI-UCB) and many actions in each state.

    In a linear Markov decision process the mean reward and the distribution of the next state are linear in
    features of state and action. States are numbered, and an episode has a fixed number of steps.

    Parameters
    ----------
    features : array_like of shape (n_states, n_actions, n_features)
        The features of each action in each state. Finite numbers, which are copied. Squared lengths are at
        most 1e100.
    horizon : int
        Number of steps H of an episode.
    oracles : sequence of n_states InnerProductOracle, optional
        What finds the actions: oracle s was made from ``features[s]``. By default all actions are scored.
    bonus : float, default 1.0
        The factor beta of the upper confidence bounds, at least 0. Theory asks for a multiple of
        ``n_features H``; in practice much less explores enough.
    regularization : float, default 1.0
        The factor lambda of the ridge regression, from 1e-100 to 1e100, and at least 1e-12 of the largest
        squared length of features: with less, float64 cannot solve the regression. It pulls values towards 0
        as much as that many rewards of 0 would, so choose it well below 1 with a small bonus.
    n_axes : int, default 2
        Number of axes of a confidence ellipsoid along which an oracle is asked; see
        `OracleRun.best_with_bonus`.
    check_every : int, optional
        Compare every such search in a state with the best action, for `ratios`. This changes no action.

    Attributes
    ----------
    coefficients : ndarray of shape (horizon, n_features)
        The coefficients of the values of actions, without bonuses.
    n_episodes : int
        Number of episodes that were added.
    actions_scored : int
        Number of actions whose values were computed, without those of checks.
    ratios : ndarray
        The value of the action found over that of the best action, for every checked search.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.

    Notes
    -----
    With the features x of step h of all episodes, ``L = lambda I + sum x x'``, the values of actions are

        Q_h(s, a) = w_h . x + beta sqrt(x' L**-1 x),    V_h(s) = max over a of Q_h(s, a), at most H - h,

    where w_h is the ridge regression of ``reward + V_{h+1}(next state)`` on x, and steps count from 0 (Jin,
    Yang, Wang and Jordan 2020, algorithm 1, with H - h in place of H). Rewards must lie in [0, 1] for the
    limit H - h.

    The state consists of sums over episodes: of x x', of reward times x, and of x for each next state. So
    regressions need no past episodes, and an update takes ``H n_states`` searches at most, one for each next
    state that was seen, and ``O(H n_features**3)``. A search without oracles takes
    ``O(n_actions n_features**2)``.

    With oracles, values are those of the best candidates, so V may be too small. Shrivastava, Song and Xu
    (2021) bound the regret for oracles of a sufficient ratio. `ratios` measures it. They write the squared
    value as an inner product of ``n_features**2`` numbers; here candidates come from inner products of
    `n_features` numbers.

    References
    ----------
    - Jin, Yang, Wang, Jordan. Provably efficient reinforcement learning with linear function approximation.
      COLT 2020.
    - Shrivastava, Song, Xu. Sublinear least-squares value iteration via locality sensitive hashing.
      arXiv:2105.08285, 2021.

    Examples
    --------
    Two states. Action 0 stays, action 1 changes the state, and only state 1 has rewards:

    >>> import numpy as np, mergesketch
    >>> features = np.eye(4).reshape(2, 2, 4)
    >>> agent = mergesketch.LeastSquaresValueIteration(features, 3, bonus=0.5, regularization=0.1)
    >>> for _ in range(50):
    ...     states, actions, rewards = [0], [], []
    ...     for step in range(3):
    ...         actions.append(agent.act(step, states[-1]))
    ...         rewards.append(float(states[-1] == 1))
    ...         states.append(states[-1] ^ actions[-1])
    ...     agent = agent.update(states[:-1], actions, rewards)
    >>> sum(rewards), actions[:2]
    (2.0, [1, 0])
    """

    _parameters = ("horizon", "bonus", "regularization", "n_axes")

    def __init__(
        self,
        features: ArrayLike,
        horizon: int,
        oracles: Sequence[InnerProductOracle] | None = None,
        *,
        bonus: float = 1.0,
        regularization: float = 1.0,
        n_axes: int = 2,
        check_every: int | None = None,
    ) -> None:
        self._features = _read_features(features)
        self.horizon = check_int("horizon", horizon, 1, 1 << 20)
        self.bonus = check_real("bonus", bonus, 0.0, 1e100, closed=True)
        self.regularization = _read_regularization(regularization, self._features)
        self.n_axes = check_int("n_axes", n_axes, 0)
        n_states, _, width = self._features.shape
        if oracles is not None:
            if not isinstance(oracles, Sequence) or len(oracles) != n_states:
                raise ValueError(f"oracles must be a list of {n_states}, one for each state, got {oracles!r}")
            for s, oracle in enumerate(oracles):
                if not isinstance(oracle, InnerProductOracle):
                    raise TypeError(
                        f"oracles[{s}] must be an InnerProductOracle, got {type(oracle).__name__}"
                    )
        # One run for each state, because its counts and its groups go on from search to search.
        self._runs: list[OracleRun] = [
            OracleRun(self._features[s], None if oracles is None else oracles[s], check_every=check_every)
            for s in range(n_states)
        ]
        self._products = np.zeros((self.horizon, width, width))
        self._rewards = np.zeros((self.horizon, width))
        #: The sum of features before each next state, and how often each came next.
        self._before = np.zeros((self.horizon, n_states, width))
        self._visits = np.zeros((self.horizon, n_states), np.int64)
        self._n_episodes = 0
        self._regress()

    @property
    def n_episodes(self) -> int:
        """The number of episodes that were added."""
        return self._n_episodes

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """The coefficients of the values of actions, shape (horizon, n_features)."""
        return self._coefficients.copy()

    @property
    def actions_scored(self) -> int:
        """The number of actions whose values were computed, without those of checks."""
        return sum(run.inner_products for run in self._runs)

    @property
    def ratios(self) -> NDArray[np.float64]:
        """The value of the action found over that of the best one, for every checked search."""
        return np.array([ratio for run in self._runs for ratio in run.ratios])

    def act(self, step: int, state: int) -> int:
        """Return the action of the largest upper confidence bound.

        Parameters
        ----------
        step : int
            The step of the episode, from 0.
        state : int

        Returns
        -------
        int

        Raises
        ------
        TypeError, ValueError
            If there is no such step or state.
        """
        return self._best(*self._place(step, state)).id

    def value(self, step: int, state: int) -> float:
        """Return the upper confidence bound of the rewards from a step on, at most the number of steps left.

        Parameters
        ----------
        step : int
            The step of the episode, from 0.
        state : int

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If there is no such step or state.
        """
        step, state = self._place(step, state)
        return min(self._best(step, state).value, float(self.horizon - step))

    def update(self, states: ArrayLike, actions: ArrayLike, rewards: ArrayLike) -> Self:
        """Add an episode, and compute the values of actions anew.

        Parameters
        ----------
        states : array_like of `horizon` integers
            The state before each action.
        actions : array_like of `horizon` integers
        rewards : array_like of `horizon` numbers
            In [0, 1].

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If an argument has another shape or lies outside its range, or if the regularization is too small
            to solve the regression of so similar features. Nothing changes then.
        """
        n_states, n_actions, _ = self._features.shape
        at = _read_numbers("states", states, self.horizon, n_states)
        chosen = _read_numbers("actions", actions, self.horizon, n_actions)
        refuse_gpu("rewards", rewards)
        gained = check_numbers("rewards", rewards)
        if gained.shape != (self.horizon,):
            raise ValueError(f"rewards must have shape ({self.horizon},), got {gained.shape}")
        if not bool(((gained >= 0.0) & (gained <= 1.0)).all()):
            raise ValueError(f"rewards must lie in [0, 1], got {gained.min()} to {gained.max()}")
        rows = self._features[at, chosen].astype(np.float64)
        kept, steps = dict(vars(self)), np.arange(self.horizon - 1)
        self._products = self._products + rows[:, :, None] * rows[:, None, :]
        self._rewards = self._rewards + rows * gained[:, None]
        self._before, self._visits = self._before.copy(), self._visits.copy()
        self._before[steps, at[1:]] += rows[:-1]
        self._visits[steps, at[1:]] += 1
        self._n_episodes += 1
        try:
            self._regress()
        except BaseException:
            vars(self).update(kept)
            raise
        return self

    def _regress(self) -> None:
        """Compute the coefficients of all steps, from the last to the first."""
        width = self._features.shape[2]
        self._found: dict[tuple[int, int], FoundAtom] = {}
        self._coefficients = np.zeros((self.horizon, width))
        moments = self.regularization * np.eye(width) + self._products
        try:
            # Regressions take Cholesky factors. All are tried before the first search.
            np.linalg.cholesky(moments)
            inverses = np.linalg.inv(moments)
        except np.linalg.LinAlgError:
            raise ValueError(
                f"regularization must be larger for these features and episodes, got {self.regularization}"
            ) from None
        # An inverse is symmetric up to rounding, and searches need it to be exactly so.
        self._inverses = (inverses + inverses.transpose(0, 2, 1)) / 2.0
        for step in reversed(range(self.horizon)):
            total = self._rewards[step].copy()
            for state in np.flatnonzero(self._visits[step]).tolist():
                total += self._before[step, state] * self.value(step + 1, state)
            self._coefficients[step] = scipy.linalg.solve(moments[step], total, assume_a="pos")

    def _best(self, step: int, state: int) -> FoundAtom:
        """Return the best action that a search finds; it is remembered until the next update."""
        key = step, state
        if key not in self._found:
            self._found[key] = self._runs[state].best_with_bonus(
                self._coefficients[step], self._inverses[step], self.bonus, n_axes=self.n_axes
            )
        return self._found[key]

    def _place(self, step: Any, state: Any) -> tuple[int, int]:
        step = check_int("step", step, 0, self.horizon - 1)
        return step, check_int("state", state, 0, len(self._features) - 1)


def _read_features(features: Any) -> NDArray[Any]:
    """Return features as a finite float32 or float64 array of three axes in C order."""
    refuse_gpu("features", features)
    array = check_array("features", features)
    if array.ndim != 3 or not array.size:
        raise ValueError(
            f"features must have shape (n_states, n_actions, n_features) without a 0, got {array.shape}"
        )
    rows = check_dense(array.reshape(-1, array.shape[2]), name="features")
    return read_only(rows.copy().reshape(array.shape))


def _read_regularization(regularization: Any, features: NDArray[Any]) -> float:
    """Return the regularization; ValueError if features are too long, or if it is too small for them."""
    given = check_real("regularization", regularization, 0.0, math.inf)
    if not _LEAST <= given <= 1.0 / _LEAST:
        raise ValueError(f"regularization must lie from {_LEAST} to {1.0 / _LEAST}, got {given}")
    with np.errstate(over="ignore"):
        longest = max(float(np.square(part, dtype=np.float64).sum(axis=-1).max()) for part in features)
    if longest > _LONGEST:
        raise ValueError(f"features must have squared lengths of at most {_LONGEST}, got {longest}")
    if given < _LEAST_SHARE * longest:
        raise ValueError(
            f"regularization must be at least {_LEAST_SHARE} times the largest squared length of features, "
            f"{_LEAST_SHARE * longest}, got {given}"
        )
    return given


def _read_numbers(name: str, numbers: Any, horizon: int, n: int) -> NDArray[np.int64]:
    """Return `horizon` integers from 0 to n - 1."""
    refuse_gpu(name, numbers)
    array = check_array(name, numbers)
    refuse_flags(name, numbers)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    if array.shape != (horizon,):
        raise ValueError(f"{name} must have shape ({horizon},), got {array.shape}")
    if int(array.min()) < 0 or int(array.max()) >= n:
        raise ValueError(f"{name} must lie from 0 to {n - 1}, got {array.min()} to {array.max()}")
    return array.astype(np.int64)


publish("mergesketch", __all__, globals())
