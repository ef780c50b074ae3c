"""Test RaceWindow: it equals one Race over the rows that are still in the window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import Race, RaceWindow
from toy_family import ToyFamily


def rows(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 4, (n, 5))


def slow_window(batches: list[tuple], n_panes: int, family: ToyFamily, dtype: str) -> Race:
    """Return a Race over the rows whose pane is among the last ones that have begun."""
    newest = max((int(np.max(panes)) for X, _, panes in batches if np.size(panes)), default=-1)
    race = Race(family, dtype=dtype)
    for X, weights, panes in batches:
        kept = np.broadcast_to(panes, len(X)) > newest - n_panes
        race.update(X[kept], weights[kept])
    return race


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 12), st.booleans()), max_size=8),
    st.integers(1, 5),
    st.sampled_from(["int", "float"]),
    st.integers(0, 2**32),
)
def test_a_window_is_a_race_over_its_rows(steps: list, n_panes: int, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    family = ToyFamily(5, 3, seed=seed)
    window, batches = RaceWindow(family, n_panes, dtype=dtype), []
    Q = rows(rng, 20)
    for n, pane, mixed in steps:
        panes = rng.integers(0, pane + 1, n) if mixed else pane
        batch = rows(rng, n), rng.integers(-3, 4, n), panes
        batches.append(batch)
        window.update(*batch)
        expected = slow_window(batches, n_panes, family, dtype)
        # The window is queried after every batch, so that sums are tested while they are updated.
        np.testing.assert_array_equal(window.query(Q), expected.query(Q))
        np.testing.assert_array_equal(window.race().state["counts"].array, expected.state["counts"].array)
        assert window.total == expected.total == window.race().total
    assert window.n_updates == sum(len(X) for X, _, _ in batches)


def test_a_window_that_lags_behind_gives_up_what_the_other_has_forgotten() -> None:
    rng = np.random.default_rng(0)
    family = ToyFamily(5, 40)
    early, late = rows(rng, 30), rows(rng, 20)
    behind = RaceWindow(family, 3).update(early, pane=np.arange(30) // 10)
    ahead = RaceWindow(family, 3).update(late, pane=4)
    both = behind | ahead
    assert (both.newest, both.total) == (4, 30)
    expected = Race(family).update(early[20:]).update(late)
    np.testing.assert_array_equal(both.query(early), expected.query(early))
    assert both == ahead | behind


def test_time_may_pass_without_rows() -> None:
    rng = np.random.default_rng(1)
    family = ToyFamily(5, 40)
    X = rows(rng, 10)
    window = RaceWindow(family, 3).update(X)
    assert (window.newest, window.total) == (0, 10)
    assert window.advance(2).total == 10
    assert window.advance(1).newest == 2
    assert window.advance(3).total == 0
    assert window.query(X).tolist() == [0.0] * 10
    assert window.advance(10**18).update(X).total == 10
    assert window.update(X, pane=10**18 - 3).total == 10
    with pytest.raises(ValueError, match="density needs a sketch of total weight above 0, got 0"):
        window.advance(10**18 + 3).density(X)


def test_a_batch_without_rows_advances_as_any_other() -> None:
    rng = np.random.default_rng(6)
    X, empty = rows(rng, 10), np.empty((0, 5), int)
    for pane in (3, np.int64(3)):
        window = RaceWindow(ToyFamily(5, 40), 3).update(X)
        assert window.update(empty, pane=pane) == RaceWindow(ToyFamily(5, 40), 3).update(X).advance(3)
        assert (window.newest, window.total, window.n_updates) == (3, 0, 10)
    # No pane was named, so none has begun.
    for none in (None, np.empty(0, int)):
        assert RaceWindow(ToyFamily(5, 40), 3).update(empty, pane=none).newest == -1
        assert window.update(empty, pane=none).newest == 3
    assert window.update(empty, pane=1).newest == 3
    before = window.copy()
    with pytest.raises(ValueError, match="X must have 5 columns"):
        window.update(np.empty((0, 4), int), pane=9)
    assert window == before


def test_a_refused_row_neither_counts_nor_advances() -> None:
    family = ToyFamily(5, 600)
    window = RaceWindow(family, 2).update(rows(np.random.default_rng(2), 50), pane=1)
    before = window.copy()
    X = rows(np.random.default_rng(3), 6000)
    X[5999, 0] = 99
    for pane in (0, 1, 2, 5):
        with pytest.raises(ValueError, match=r"X must lie in \[0, 4\)"):
            window.update(X, pane=pane)
        assert window == before


def test_the_standard_error_and_density_are_those_of_a_race() -> None:
    rng = np.random.default_rng(4)
    X, Q = rows(rng, 500), rows(rng, 30)
    window = RaceWindow(ToyFamily(5, 200), 4).update(X, pane=np.arange(500) % 4)
    race = Race(ToyFamily(5, 200)).update(X)
    for groups in (None, 9):
        for ours, theirs in zip(
            window.density(Q, groups=groups, return_std=True),
            race.density(Q, groups=groups, return_std=True),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_bad_arguments() -> None:
    family = ToyFamily(5, 10)
    with pytest.raises(ValueError, match="n_panes must be an integer from 1"):
        RaceWindow(family, 0)
    with pytest.raises(TypeError, match="family must be a HashFamily"):
        RaceWindow("srp", 3)
    window = RaceWindow(family, 3)
    X = rows(np.random.default_rng(5), 4)
    with pytest.raises(ValueError, match=r"pane must be an integer or of shape \(4,\), got shape \(3,\)"):
        window.update(X, pane=[1, 2, 3])
    with pytest.raises(TypeError, match="pane must hold integers, got dtype float64"):
        window.update(X, pane=np.zeros(4))
    with pytest.raises(ValueError, match=r"pane must lie from 0 to 2\*\*62, got -1 to 3"):
        window.update(X, pane=[-1, 0, 3, 3])
    with pytest.raises(ValueError, match="pane must be an integer from 0"):
        window.advance(-1)
    with pytest.raises(TypeError, match="RaceWindow cannot subtract"):
        window.subtract(window)
    assert window.n_updates == 0


def test_counters_widen_or_raise() -> None:
    family = ToyFamily(5, 4)
    X = rows(np.random.default_rng(6), 3)
    window = RaceWindow(family, 2).update(X, [2**31 - 1] * 3, pane=0)
    assert window.state["counts"].array.dtype == np.int64
    full = RaceWindow(family, 2).update(X[:1], [2**63 - 1], pane=0)
    before = full.copy()
    for other in (full, window):
        with pytest.raises(OverflowError, match=r"RaceWindow\.counts cannot count beyond"):
            full.merge(other)
        assert full == before
    with pytest.raises(OverflowError, match=r"RaceWindow\.counts cannot count beyond"):
        full.update(X[:1], pane=1)
    assert full == before


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_sum_of_panes_beyond_63_bits_is_refused_until_panes_leave(is_asked: bool) -> None:
    window = RaceWindow(ToyFamily(1, 1, n_buckets=2), n_panes=8).update([[1]], [3], pane=0)
    if is_asked:
        window.query([[1]])  # keeps the sum, to which updates add
    for pane in range(1, 5):
        window.update([[1]], [2**61], pane=pane)
    for ask in (lambda: window.query([[1]]), lambda: window.density([[1]]), window.race):
        with pytest.raises(OverflowError, match="panes of a RaceWindow together count beyond 63 bits"):
            ask()
    assert window.total == 3 + 4 * 2**61
    window.advance(12)
    assert window.query([[1]]).tolist() == [0] and window.race().total == 0
