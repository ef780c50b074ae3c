"""Herding: against the naive twin, the bound of the errors on all kinds of atoms, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import InnerProductOracle, herding
from naive import max_inner_product as naive
from structured_rows import MAKERS

RNG = np.random.default_rng(0)
quickly = settings(max_examples=25, deadline=None)
KINDS = {name: maker(400, 16, 3) for name, maker in MAKERS.items()}
KINDS["normal"] = RNG.standard_normal((400, 16))
KINDS["zeros among them"] = np.concatenate([np.zeros((50, 16)), RNG.standard_normal((20, 16))])
KINDS["all equal"] = np.full((30, 16), 0.3)
kinds = pytest.mark.parametrize("atoms", KINDS.values(), ids=KINDS.keys())


@quickly
@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_samples_are_those_of_the_naive_twin(n: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Products of these numbers are exact, so that equal ones are equal in both.
    atoms = rng.integers(-4, 5, (n, d)).astype(np.float32)
    target = rng.integers(-8, 9, d) / 4.0
    found = herding(atoms, target, n_samples=20)
    assert found.ids.tolist() == naive.herd(atoms, target, 20)
    for t in (1, 7, 20):
        mean = atoms[found.ids[:t]].mean(axis=0, dtype=float)
        assert found.errors[t - 1] == pytest.approx(float(np.linalg.norm(mean - target)), abs=1e-12)
    np.testing.assert_allclose(found.mean, atoms[found.ids].mean(axis=0, dtype=float), atol=1e-12)
    np.testing.assert_array_equal(found.target, target)
    assert found.exact_scans == 20 and found.inner_products == 20 * n


@kinds
@pytest.mark.parametrize("tables", [None, 1, 8])
def test_errors_are_below_the_bound(atoms: np.ndarray, tables: int | None) -> None:
    index = tables and InnerProductOracle(atoms, n_groups=2, n_tables=tables, n_probes=1, seed=5)
    found = herding(atoms, n_samples=300, index=index or None, check_every=10)
    target = atoms.mean(axis=0)
    np.testing.assert_allclose(found.target, target, atol=1e-12)
    radius = np.linalg.norm(atoms - target, axis=1).max()
    assert (found.errors <= radius / np.sqrt(np.arange(1, 301)) + 1e-12).all()
    assert len(found.ratios) == 30 and (found.ratios <= 1.0).all()


@pytest.mark.parametrize("kind", ["mean", "weights", "given"])
def test_the_choice_does_not_depend_on_the_origin(kind: str) -> None:
    # Products of these numbers are exact, also after they are moved.
    atoms = RNG.integers(-64, 65, (512, 6)).astype(float)
    weights = np.arange(512) % 2
    given = np.array([3.0, -2.0, 0.5, 0.0, 1.0, 4.0])
    here = herding(atoms, given if kind == "given" else None, weights if kind == "weights" else None, 200)
    for origin in (16.0, 1024.0, 2.0**20):
        target = given + origin if kind == "given" else None
        there = herding(atoms + origin, target, weights if kind == "weights" else None, 200)
        np.testing.assert_array_equal(there.ids, here.ids)
        np.testing.assert_array_equal(there.errors, here.errors)
        np.testing.assert_allclose(there.mean, here.mean + origin, rtol=1e-14)


@pytest.mark.parametrize("tables", [None, 4])
@pytest.mark.parametrize("origin", [0.0, 10.0, 100.0, 1000.0])
def test_samples_beat_random_ones_wherever_the_origin_is(origin: float, tables: int | None) -> None:
    atoms = np.random.default_rng(1).standard_normal((5000, 8)) + origin
    index = InnerProductOracle(atoms, n_tables=tables, seed=1) if tables else None
    found = herding(atoms, n_samples=100, index=index)
    random = math.sqrt(8 / 100)  # the expected square of the distance of 100 random samples is 8 / 100
    assert found.errors[-1] < 0.3 * random
    assert len(set(found.ids.tolist())) > 60


def test_numbers_too_large_for_float64() -> None:
    far = np.array([[1.5e308], [-1.5e308]])
    with pytest.raises(ValueError, match=r"^atoms must have distances from the target"):
        herding(far, [-1.5e308])
    with pytest.raises(ValueError, match=r"^atoms must have finite products with their distance"):
        herding(far, n_samples=3)
    with pytest.raises(ValueError, match=r"^atoms must have finite products with their distance"):
        herding(np.eye(3) * 1e160, n_samples=3)
    # Squares of distances are too large, or too small, but the distances are not.
    for scale in (1e160, 1e-170):
        found = herding(np.array([[3.0, 4.0], [0.0, 0.0]]) * scale, [0.0, 0.0], n_samples=1)
        assert found.errors[0] == pytest.approx(5.0 * scale, rel=1e-12)


def test_the_target_with_weights() -> None:
    atoms = RNG.standard_normal((70, 5))
    weights = RNG.integers(0, 4, 70)
    found = herding(atoms, weights=weights, n_samples=50)
    np.testing.assert_allclose(found.target, np.average(atoms, axis=0, weights=weights), atol=1e-12)
    repeated = herding(np.repeat(atoms, weights, axis=0), n_samples=50)
    np.testing.assert_allclose(found.target, repeated.target, atol=1e-12)
    # Weights have no unit, however large or small they are.
    for scale in (1e300, 1e-300):
        np.testing.assert_allclose(herding(atoms, weights=weights * scale).target, found.target, atol=1e-12)


def test_without_replacement() -> None:
    atoms = np.repeat(RNG.standard_normal((20, 4)), 3, axis=0)
    oracle = InnerProductOracle(atoms, seed=1)
    for index in (None, oracle):
        every = herding(atoms, n_samples=60, index=index, replace=False)
        assert sorted(every.ids.tolist()) == list(range(60))
        assert every.errors[-1] == pytest.approx(0.0, abs=1e-12)
    mean = atoms[:5].mean(axis=0)
    assert len(set(herding(atoms, mean, n_samples=40, replace=False).ids.tolist())) == 40
    assert len(set(herding(atoms, mean, n_samples=40).ids.tolist())) < 40


def test_a_target_outside_of_the_hull() -> None:
    atoms = RNG.random((50, 3))
    oracle = InnerProductOracle(atoms, seed=1)
    found = herding(atoms, [5.0, 0.0, 0.0], n_samples=400, index=oracle)
    distance = 5.0 - atoms[:, 0].max()
    assert distance <= found.errors[-1] < distance + 0.5
    assert found.exact_scans > 0


def test_an_index_computes_fewer_products_and_beats_random_samples() -> None:
    atoms = RNG.standard_normal((20_000, 8)).astype(np.float32)
    found = herding(atoms, n_samples=200, index=InnerProductOracle(atoms, seed=1))
    random = np.linalg.norm(atoms[:200].mean(axis=0, dtype=float) - atoms.mean(axis=0, dtype=float))
    assert found.errors[-1] < 0.2 * random
    assert found.inner_products < 0.2 * 200 * 20_000


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "cannot both be given", {"mean": np.ones(3), "weights": np.ones(3)}),
        (ValueError, r"mean must have shape \(3,\)", {"mean": np.ones(2)}),
        (ValueError, "mean must be finite", {"mean": [math.inf, 0.0, 0.0]}),
        (ValueError, r"weights must have shape \(3,\)", {"weights": np.ones(2)}),
        (ValueError, r"weights must lie in \[0, inf\]", {"weights": [-1.0, 1.0, 1.0]}),
        (ValueError, "weights must be finite", {"weights": np.zeros(3)}),
        (ValueError, "weights must be finite", {"weights": [math.inf, 1.0, 1.0]}),
        (ValueError, "n_samples must be an integer from 1 to 3", {"n_samples": 4, "replace": False}),
        (TypeError, "replace must be True or False", {"replace": 1}),
        (TypeError, "n_samples must be", {"n_samples": 2.0}),
    ],
)
def test_refusals(error: type[Exception], message: str, arguments: dict) -> None:
    with pytest.raises(error, match=message):
        herding(np.eye(3), **arguments)
