"""The Frank-Wolfe method: against the naive twin, the theorem's bounds, line searches, and refusals."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import InnerProductOracle, frank_wolfe
from naive import max_inner_product as naive
from structured_rows import MAKERS

RNG = np.random.default_rng(0)
quickly = settings(max_examples=25, deadline=None)
#: Atoms of every kind, with a target in their hull.
KINDS = {name: maker(400, 16, 3) for name, maker in MAKERS.items()}
KINDS["normal"] = RNG.standard_normal((400, 16))
KINDS["zeros among them"] = np.concatenate([np.zeros((50, 16)), RNG.standard_normal((20, 16))])
kinds = pytest.mark.parametrize("atoms", KINDS.values(), ids=KINDS.keys())


def target_of(atoms: np.ndarray) -> np.ndarray:
    return np.random.default_rng(7).dirichlet(np.full(len(atoms), 0.1)) @ atoms


def half_squared(point: np.ndarray, target: np.ndarray) -> float:
    return 0.5 * float(np.square(point - target).sum())


def diameter_squared(atoms: np.ndarray) -> float:
    """Return the curvature of half a squared distance over the hull of atoms."""
    return float(scipy.spatial.distance.pdist(atoms, "sqeuclidean").max())


@quickly
@given(st.integers(1, 30), st.integers(1, 8), st.booleans(), st.integers(0, 2**32 - 1))
def test_exact_steps_are_those_of_the_naive_twin(n: int, d: int, search: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms, target = rng.standard_normal((n, d)), rng.standard_normal(d)
    step = "line-search" if search else "2/(t+2)"
    points = naive.nearest_point(atoms, target, 12, search)
    for n_steps in (1, 5, 12):
        found = frank_wolfe(lambda x: x - target, atoms, n_steps=n_steps, step=step)
        # Steps that end early are at the minimum, up to rounding.
        np.testing.assert_allclose(found.point, points[n_steps], atol=1e-7)
        np.testing.assert_allclose(found.weights @ atoms[found.ids], found.point, atol=1e-12)
        assert found.weights.sum() == pytest.approx(1.0) and (found.weights > 0).all()
        assert (np.diff(found.ids) > 0).all() and found.exact.all()
        best = naive.best(atoms, target - found.point, set())[1]
        assert found.gap == pytest.approx(best - (target - found.point) @ found.point, abs=1e-12)
        assert found.exact_scans >= len(found.gaps) and found.inner_products == n * found.exact_scans


@kinds
@pytest.mark.parametrize("step", ["line-search", "2/(t+2)"])
def test_exact_errors_are_below_the_bound_of_the_theorem(atoms: np.ndarray, step: str) -> None:
    target, curvature = target_of(atoms), diameter_squared(atoms)
    for n_steps in (1, 2, 3, 5, 10, 20, 50, 100):
        found = frank_wolfe(lambda x: x - target, atoms, n_steps=n_steps, step=step)
        error = half_squared(found.point, target)
        assert error <= 2.0 * curvature / (n_steps + 2.0)
        assert error <= found.gap + 1e-12


@kinds
@pytest.mark.parametrize("tables", [1, 3])
def test_errors_with_an_index_are_below_the_bound_for_its_ratio(atoms: np.ndarray, tables: int) -> None:
    target, curvature = target_of(atoms), diameter_squared(atoms)
    oracle = InnerProductOracle(atoms, n_groups=2, n_tables=tables, n_probes=1, seed=5)
    start = half_squared(atoms[0], target)
    last = start
    for n_steps in (1, 2, 3, 5, 10, 20, 50, 100):
        found = frank_wolfe(lambda x: x - target, atoms, oracle, n_steps=n_steps, check_every=1)
        error, ratio = half_squared(found.point, target), float(found.ratios.min())
        assert 0.0 < ratio <= 1.0
        assert error <= 2.0 * (curvature / ratio + start) / (ratio * n_steps + 2.0)
        assert error <= found.gap + 1e-12
        assert error <= last + 1e-12
        last = error
        assert (found.gaps > 0.0).all()
        assert found.weights.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(found.weights @ atoms[found.ids], found.point, atol=1e-12)


def test_an_index_whose_buckets_have_all_atoms_gives_the_exact_steps() -> None:
    atoms = RNG.standard_normal((120, 5))
    target = target_of(atoms)
    oracle = InnerProductOracle(atoms, n_groups=1, n_tables=1, n_probes=2, power=1)
    exact = frank_wolfe(lambda x: x - target, atoms, n_steps=40)
    found = frank_wolfe(lambda x: x - target, atoms, oracle, n_steps=40, check_every=2)
    for name in ("point", "ids", "weights", "gaps", "step_sizes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(exact, name))
    assert not found.exact.any() and found.exact_scans == 1 and (found.ratios == 1.0).all()


def test_an_index_computes_fewer_products() -> None:
    atoms = RNG.standard_normal((20_000, 16)).astype(np.float32)
    target = target_of(atoms[:500])
    oracle = InnerProductOracle(atoms, seed=1)
    exact = frank_wolfe(lambda x: x - target, atoms, n_steps=30)
    found = frank_wolfe(lambda x: x - target, atoms, oracle, n_steps=60)
    assert half_squared(found.point, target) < half_squared(exact.point, target)
    assert found.inner_products < 0.2 * exact.inner_products
    again = frank_wolfe(lambda x: x - target, atoms, oracle, n_steps=60)
    np.testing.assert_array_equal(found.point, again.point)


def test_the_minimum_is_found_and_certified_by_an_exact_scan() -> None:
    atoms = np.eye(50)
    oracle = InnerProductOracle(atoms, seed=1)
    # The point of the simplex that is nearest to a vertex is that vertex.
    found = frank_wolfe(lambda x: x - atoms[13], atoms, oracle, n_steps=50)
    assert found.converged and found.gap == 0.0 and found.ids.tolist() == [13]
    assert found.weights.tolist() == [1.0] and found.exact_scans >= 1
    # At the minimum from the start.
    found = frank_wolfe(lambda x: x - atoms[13], atoms, oracle, start=13)
    assert found.converged and len(found.gaps) == 0 and found.exact_scans == 1
    found = frank_wolfe(lambda x: x - np.full(50, 0.02), atoms, oracle, n_steps=400, tolerance=1e-3)
    assert found.converged and found.gap <= 1e-3 and len(found.gaps) < 400
    assert (found.gaps > 1e-3).all()


@pytest.mark.parametrize("atoms", [np.ones((1, 3)), np.zeros((6, 2)), np.full((9, 1), 2.5)])
def test_a_hull_of_one_point(atoms: np.ndarray) -> None:
    for index in (None, InnerProductOracle(atoms)):
        found = frank_wolfe(lambda x: x - 1.7, atoms, index, n_steps=5)
        np.testing.assert_allclose(found.point, atoms[0])
        assert found.gap == 0.0 and found.weights.sum() == 1.0


def test_line_searches_of_other_functions_end_where_the_derivative_is_small() -> None:
    atoms = RNG.standard_normal((60, 6))

    def slope(x: np.ndarray) -> np.ndarray:
        return np.exp(3.0 * x) - 0.5  # of a convex function that is far from quadratic

    for n_steps in range(1, 15):
        before = frank_wolfe(slope, atoms, n_steps=n_steps)
        after = frank_wolfe(slope, atoms, n_steps=n_steps + 1)
        move = (after.point - before.point) / after.step_sizes[-1]
        first = float(slope(before.point) @ move)
        assert first < 0.0
        last = float(slope(after.point) @ move)
        assert abs(last) <= -2e-6 * first or (after.step_sizes[-1] == 1.0 and last <= 0.0)


@pytest.mark.parametrize("rate", [3.0, 30.0, 50.0, 100.0, 500.0, -30.0, -500.0])
def test_line_searches_of_steep_functions(rate: float) -> None:
    zero = 3.0 / rate if rate > 0.0 else 1.0 + 3.0 / rate
    calls = 0

    def slope(x: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.sign(rate) * (np.exp(rate * (x - zero)) - 1.0)

    start, first = 0 if rate > 0.0 else 1, math.expm1(-3.0)
    found = frank_wolfe(slope, [[0.0], [1.0]], n_steps=1, start=start)
    assert calls <= 50
    assert abs(float(slope(found.point)[0])) <= 1.001e-6 * -first
    # A derivative of a millionth is so near to the minimum.
    assert found.point[0] == pytest.approx(zero, abs=1.1e-6 / abs(rate))


def test_steep_functions_of_several_numbers_have_the_bound_of_the_theorem() -> None:
    atoms = RNG.random((60, 4))
    target = RNG.dirichlet(np.ones(60)) @ atoms
    rate = 40.0

    def value(x: np.ndarray) -> float:
        return float((np.exp(rate * (x - target)) / rate - x + target - 1.0 / rate).sum())

    found = frank_wolfe(lambda x: np.exp(rate * (x - target)) - 1.0, atoms, n_steps=200)
    assert -1e-15 <= value(found.point) <= found.gap + 1e-15
    values = [
        value(frank_wolfe(lambda x: np.exp(rate * (x - target)) - 1.0, atoms, n_steps=n).point)
        for n in (1, 2, 4, 8, 16, 32, 64, 128)
    ]
    assert all(a >= b - 1e-12 for a, b in pairwise(values))
    assert values[-1] < 1e-3 * values[0]


def test_line_searches_where_the_gradient_jumps() -> None:
    calls = 0

    def slope(x: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.where(x > 0.3, 1.0, -1.0)

    found = frank_wolfe(slope, [[0.0], [1.0]], n_steps=1)
    assert found.point[0] == pytest.approx(0.3, abs=1e-15) and found.point[0] <= 0.3 and calls <= 200
    # The jump is at the point itself: there is no way down, and the search ends.
    found = frank_wolfe(lambda x: np.where(x > 0.0, 1.0, -1.0), [[0.0], [1.0]], n_steps=5)
    assert found.point[0] == 0.0 and len(found.gaps) == 0


def test_numbers_too_large_for_float64() -> None:
    normal = RNG.standard_normal((40, 6))
    products = r"^gradient\(point\) must have finite products with atoms"
    for index in (None, InnerProductOracle(normal)):
        with pytest.raises(ValueError, match=products):
            frank_wolfe(lambda x: np.full(6, 1e308), normal, index)
    with pytest.raises(ValueError, match=products):
        frank_wolfe(lambda x: x, np.eye(3) * 1e160)
    # Products are finite, but their difference is not.
    with pytest.raises(ValueError, match=products):
        frank_wolfe(lambda x: np.ones(1), [[1.5e308], [-1.5e308]])
    with pytest.raises(ValueError, match=r"^atoms must have differences"):
        frank_wolfe(lambda x: np.full(1, 1e-9), [[1.5e308], [-1.5e308]])
    # Only the derivative at the end of the segment is too large: it is above 0, which suffices.
    found = frank_wolfe(lambda x: np.where(x > 1.0, 1e308, x - 0.5), [[0.0], [100.0]], n_steps=3)
    assert found.point[0] == pytest.approx(0.5, abs=1e-6)


def test_own_step_sizes() -> None:
    atoms, target = RNG.standard_normal((30, 4)), np.zeros(4)
    given = frank_wolfe(lambda x: x - target, atoms, n_steps=10, step=lambda t: 2.0 / (t + 2.0))
    named = frank_wolfe(lambda x: x - target, atoms, n_steps=10, step="2/(t+2)")
    np.testing.assert_array_equal(given.point, named.point)
    assert named.step_sizes.tolist() == [2.0 / (t + 2.0) for t in range(10)]
    assert all(a >= b for a, b in pairwise(named.step_sizes))
    # Weights that shrink by a thousand each time do not vanish together.
    found = frank_wolfe(lambda x: x - target, atoms, n_steps=200, step=lambda t: 0.999)
    assert found.weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(found.weights @ atoms[found.ids], found.point, atol=1e-9)


def test_arguments_stay_and_results_are_ones_own() -> None:
    atoms = RNG.standard_normal((40, 3))
    before = atoms.copy()
    kept: list[np.ndarray] = []
    answer = np.zeros(3)

    def slope(x: np.ndarray) -> np.ndarray:
        np.copyto(answer, x)
        kept.append(x)
        x[:] = 7.0
        return answer  # the same array every time

    found = frank_wolfe(slope, atoms, n_steps=5)
    expected = frank_wolfe(lambda x: x, atoms, n_steps=5)
    np.testing.assert_array_equal(found.point, expected.point)
    np.testing.assert_array_equal(atoms, before)
    assert all((x == 7.0).all() for x in kept)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"gradient\(point\) must have shape \(3,\)", {"gradient": lambda x: x[:2]}),
        (ValueError, r"gradient\(point\) must be finite", {"gradient": lambda x: x * math.nan}),
        (TypeError, r"gradient\(point\) must hold real numbers", {"gradient": lambda x: ["a", "b", "c"]}),
        (TypeError, "gradient must be a function", {"gradient": np.ones(3)}),
        (ValueError, "n_steps must be", {"n_steps": 0}),
        (TypeError, "n_steps must be", {"n_steps": True}),
        (ValueError, "start must be", {"start": 3}),
        (ValueError, "step must be", {"step": "armijo"}),
        (ValueError, "step must be", {"step": np.array([1, 2])}),
        (ValueError, r"step\(0\) must be a number in \[0, 1\]", {"step": lambda t: 1.5}),
        (ValueError, "tolerance must be", {"tolerance": -1.0}),
        (ValueError, "check_every must be", {"check_every": 0}),
        (TypeError, "atoms must be a dense array", {"atoms": scipy.sparse.eye_array(3, format="csr")}),
    ],
)
def test_refusals(error: type[Exception], message: str, arguments: dict) -> None:
    plain = {"gradient": lambda x: x, "atoms": np.eye(3)}
    with pytest.raises(error, match=message):
        frank_wolfe(**{**plain, **arguments})
