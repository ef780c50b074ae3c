"""Test private releases of Fourier sums: sensitivity, noise, budgets, accuracy, and an audit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from audit import proves_more_than
from mergesketch import FourierSketch, PrivacyBudget, PrivateFourier, PrivateRace
from mergesketch.errors import PrivacyBudgetError
from mergesketch.sketches.kernels.fourier import ONE
from mergesketch.sketches.race.noise import LARGEST_SCALE, discrete_laplace, round_epsilon
from mergesketch.sketches.race.private_fourier import fourier_sensitivity, total_unit
from mergesketch.sketches.race.release import _rounded_up
from naive import fourier as naive


def rows(seed: int, n: int, d: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
def test_no_row_changes_the_sums_by_more_than_the_sensitivity(kernel: str) -> None:
    empty, most = FourierSketch(3, 50, kernel=kernel), 0
    for x in rows(0, 300):
        for weight in (1, -3):
            state = empty.copy().update(x[None], [weight]).state
            moved = int(np.abs(state["sums"].array).sum())
            moved += total_unit(50) * abs(int(state["total"].array[0]))
            assert moved <= fourier_sensitivity(50, abs(weight))
            most = max(most, moved)
    assert most > 0.9 * fourier_sensitivity(50, 3)  # |cos| + |sin| is 4 / pi of sqrt(2) on average


def test_the_sum_of_both_magnitudes_reaches_the_bound_at_an_eighth_of_a_turn() -> None:
    sketch = FourierSketch(1, 2)
    sketch._frequencies.matrix = np.array([[0.125, 0.375]])
    moved = int(np.abs(sketch.update([[1.0]]).state["sums"].array).sum()) + ONE
    assert fourier_sensitivity(2, 1) - 4 <= moved <= fourier_sensitivity(2, 1)


@pytest.mark.parametrize("units", [1, 63, 64, 1677721, 1 << 24, LARGEST_SCALE])
@pytest.mark.parametrize("sensitivity", [1, 10**6 + 1, 10**9 + 7, 2**43 + 1])
def test_noise_is_never_smaller_than_the_ratio(sensitivity: int, units: int) -> None:
    larger, fewer = _rounded_up(sensitivity, units)
    assert larger * units >= sensitivity * fewer
    assert larger / fewer <= sensitivity / units * 1.04
    if sensitivity << 24 < LARGEST_SCALE // 2:
        assert (larger, fewer) == (sensitivity, units)
    shared = math.gcd(larger << 24, fewer)
    assert units < 1 << 20 or (larger << 24) // shared <= LARGEST_SCALE


def test_noise_has_its_standard_deviation() -> None:
    m, epsilon = 2000, 0.7
    sketch = FourierSketch(3, m).update(rows(1, 100))
    release = sketch.release(epsilon)
    noise = (release.state["sums"].array - sketch.state["sums"].array).ravel() / ONE
    scale = (math.sqrt(2.0) * m + m // 16) / epsilon
    assert release.noise_std / ONE == pytest.approx(math.sqrt(2.0) * scale, rel=1e-4)
    # The variance of the square of a Laplace number is 20 times that of its square's mean, 4 scale**4.
    assert (noise**2).mean() == pytest.approx(2 * scale**2, rel=6 * math.sqrt(20 / 4 / noise.size))
    assert abs(noise.mean()) < 6 * math.sqrt(2) * scale / math.sqrt(noise.size)
    assert release != sketch.release(epsilon)


def test_intervals_hold_the_kernel_sum_with_the_noise() -> None:
    X, Q, held, wider = rows(2, 200), rows(3, 5), [], []
    for seed in range(300):
        sketch = FourierSketch(3, 60, 1.5, seed=seed).update(X)
        release = sketch.release(1.0)
        sums, std = release.query(Q, return_std=True)
        held.append(np.abs(sums - naive.kernel(Q, X, 1.5, "gaussian").sum(axis=1)) <= 1.96 * std)
        wider.append(std / sketch.query(Q, return_std=True)[1])
        # A Laplace number lies beyond 16 deviations once in 10**9 times.
        assert abs(release.total - 200) < 16 * 34.0
    # Noise is not seeded: 1500 shares of 0.95 have a deviation below 0.02, however they depend.
    assert np.mean(held) >= 0.9
    # The noise, 2 sqrt(m), is as large as the most that the components may err by, N / sqrt(2 m).
    assert np.mean(wider) > 1.2


def test_one_release_answers_for_several_widths() -> None:
    X, Q, widths = rows(2, 200), rows(3, 5), (1.0, 3.0)
    held: dict[float, list[np.ndarray]] = {width: [] for width in widths}
    for seed in range(200):
        release = FourierSketch(3, 60, widths, seed=seed).update(X).release(1.0)
        for width in widths:
            sums, std = release.query(Q, width=width, return_std=True)
            exact = naive.kernel(Q, X, width, "gaussian").sum(axis=1)
            held[width].append(np.abs(sums - exact) <= 1.96 * std)
    assert release.epsilon == 1.0
    assert min(np.mean(found) for found in held.values()) >= 0.9


def test_densities_hold_the_noise_of_the_total() -> None:
    # A total of 600 rows with noise is below 0 once in 10**11 times.
    X, held = np.zeros((600, 1)), []
    for seed in range(300):
        release = FourierSketch(1, 64, seed=seed).update(X).release(1.0)
        density, std = release.density(X[:1], return_std=True)
        assert std[0] > release.query(X[:1], return_std=True)[1][0] / release.total
        held.append(abs(density[0] - 1.0) <= 1.96 * std[0])
    assert np.mean(held) >= 0.85  # a ratio is not quite normal


def test_releases_merge_and_add_their_budgets() -> None:
    parts = [FourierSketch(3, 20).update(rows(s, 500)).release(e) for s, e in ((1, 0.5), (2, 0.25))]
    both = parts[0] | parts[1]
    assert (both.epsilon, both.epsilon_if_disjoint, both.n_updates) == (0.75, 0.5, 2)
    assert both.noise_std == pytest.approx(np.hypot(*(part.noise_std for part in parts)))
    assert PrivateFourier.from_bytes(both.to_bytes()) == both
    assert both.total == pytest.approx(parts[0].total + parts[1].total)
    assert "epsilon 0.75 (0.5 if disjoint)" in repr(both) and "a sum" in repr(both)


def test_the_budget_is_spent_once_and_refused_beyond() -> None:
    budget, sketch = PrivacyBudget(1.0), FourierSketch(3, 20).update(rows(1, 5))
    sketch.release(0.75, budget=budget)
    with pytest.raises(PrivacyBudgetError):
        sketch.release(0.5, budget=budget)
    assert budget.spent == 0.75


def test_heavy_rows_and_wrong_arguments_are_refused() -> None:
    sketch = FourierSketch(3, 20).update(rows(1, 5), [1, -7, 2, 0, 1])
    with pytest.raises(ValueError, match="record_weight must be at least the largest weight of a row, 7"):
        sketch.release(1.0, record_weight=6)
    light, heavy = sketch.release(1.0, check_weights=False), sketch.release(1.0, record_weight=7)
    assert heavy.noise_std == pytest.approx(7 * light.noise_std)
    for arguments, message in (
        ({"epsilon": 0.0}, "epsilon must"),
        ({"epsilon": 1.0, "record_weight": 0}, "record_weight must"),
        ({"epsilon": 1e-7, "record_weight": 1 << 31}, r"sensitivity / epsilon|epsilon must"),
    ):
        with pytest.raises(ValueError, match=message):
            sketch.release(**arguments)
    with pytest.raises(TypeError, match="budget must be a PrivacyBudget"):
        sketch.release(1.0, record_weight=7, budget=1.0)
    with pytest.raises(TypeError, match="PrivateFourier takes no rows: update a FourierSketch"):
        heavy.update(rows(1, 5))
    with pytest.raises(TypeError, match="race must be a Race, got FourierSketch"):
        PrivateRace.from_race(sketch, 1.0)
    with pytest.raises(OverflowError, match="go beyond 63 bits"):
        FourierSketch(1, 2).update([[0.0]], [2**43 - 1]).release(1.0, check_weights=False)


# -- the audit ------------------------------------------------------------------------------------


def audited(release, epsilon: float = 1.0, n: int = 4000) -> bool:
    """Check if releases with and without one record prove that more than epsilon was spent.

    The numbers are added up with the signs that the record has: their likelihood ratio rises with each.
    """
    record, m = rows(9, 1), 2
    signs = np.sign(FourierSketch(3, m).update(record).state["sums"].array)
    sketches = [FourierSketch(3, m).update(rows(0, 30)) for _ in range(2)]
    sketches[0].update(record)
    samples = [
        np.array(
            [(signs * sums).sum() + total for sums, total in (release(sketch, epsilon) for _ in range(n))]
        )
        for sketch in sketches
    ]
    return proves_more_than(epsilon, *samples)


def released(sketch: FourierSketch, epsilon: float) -> tuple[np.ndarray, int]:
    state = sketch.release(epsilon).state
    return state["sums"].array, int(state["total"].array[0])


@pytest.mark.slow
def test_one_record_changes_no_likelihood_by_more_than_the_budget() -> None:
    assert not audited(released)


@pytest.mark.slow
def test_the_audit_catches_a_budget_for_each_component() -> None:
    def wrong(sketch: FourierSketch, epsilon: float) -> tuple[np.ndarray, int]:
        sums = sketch.state["sums"].array
        return sums + discrete_laplace(sums.shape, ONE // 2, round_epsilon(epsilon)), 0

    assert audited(wrong)
