"""Searches for the largest inner product: kernels against the naive twin, groups in turn, checks, counts."""

from __future__ import annotations

import copy
import math
import pickle

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import InnerProductOracle, LSHIndex, OracleRun, frank_wolfe
from mergesketch.lsh import InnerProduct, SignedRandomProjection
from mergesketch.sketches.kernels import max_inner_product as kernels
from naive import max_inner_product as naive
from structured_rows import MAKERS

RNG = np.random.default_rng(0)
ATOMS = RNG.standard_normal((3000, 12)).astype(np.float32)
NO_MATRIX, NO_FLAGS = np.zeros(0), np.zeros(0, np.bool_)
quickly = settings(max_examples=30, deadline=None)


def whole_numbers(n: int, d: int, seed: int) -> np.ndarray:
    """Return numbers whose products are exact in any order, and often equal."""
    return np.random.default_rng(seed).integers(-2, 3, (n, d)).astype(np.float32)


def locked(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@quickly
@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_the_best_row_is_that_of_the_naive_twin(n: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms, direction = locked(whole_numbers(n, d, seed)), locked(rng.integers(-3, 4, d).astype(float))
    flags = locked(rng.random(n) < 0.3)
    start, stop = sorted(rng.integers(0, n + 1, 2).tolist())
    outside = {i for i in range(n) if not start <= i < stop}
    expected = naive.best(atoms, direction, outside)
    assert kernels.best_of_rows(atoms, direction, NO_MATRIX, 0.0, NO_FLAGS, start, stop) == expected
    expected = naive.best(atoms, direction, outside | set(np.flatnonzero(flags).tolist()))
    assert kernels.best_of_rows(atoms, direction, NO_MATRIX, 0.0, flags, start, stop) == expected
    ids = locked(rng.integers(0, n, 2 * n))
    expected = naive.best(atoms, direction, set(range(n)) - set(ids[start:stop].tolist()))
    assert kernels.best_of_ids(atoms, ids, direction, NO_MATRIX, 0.0, start, stop) == expected


@quickly
@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_values_with_a_bonus(n: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms, direction = locked(rng.standard_normal((n, d))), locked(rng.standard_normal(d))
    root = rng.standard_normal((d, d))
    matrix = root @ root.T
    values = [naive.value(atom, direction, matrix, 0.7) for atom in atoms]
    found, value = kernels.best_of_rows(atoms, direction, locked(matrix.ravel()), 0.7, NO_FLAGS, 0, n)
    assert value == pytest.approx(max(values), rel=1e-10, abs=1e-10)
    assert values[found] == pytest.approx(max(values), rel=1e-10, abs=1e-10)


@quickly
@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_candidates_are_those_of_the_buckets(n: int, tables: int, probes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    family = InnerProduct(5, tables, max_norm=10.0, power=3, oversize="clip", seed=seed)
    index = LSHIndex(family, capacity=4).update(rng.standard_normal((n, 5)))
    codes = family.probe(rng.standard_normal((1, 5)), probes)[0]
    slots, flags = index.buckets()[0], rng.random(n) < 0.3
    expected = naive.candidates(slots, codes)
    stamps, ids = np.zeros(n, np.int64), np.empty(n, np.int64)
    found = kernels.collect_ids(locked(slots), locked(codes), NO_FLAGS, 1, stamps, ids)
    assert sorted(ids[:found].tolist()) == sorted(expected)
    found = kernels.collect_ids(locked(slots), locked(codes), locked(flags), 2, stamps, ids)
    assert sorted(ids[:found].tolist()) == sorted(expected - set(np.flatnonzero(flags).tolist()))
    if expected:
        stamps = np.zeros(max(expected), np.int64)
        assert kernels.collect_ids(slots, codes, NO_FLAGS, 1, stamps, ids) == -1 - max(expected)


def test_ids_that_have_no_atom_are_found_out() -> None:
    for wrong in (8, 2**40, 2**63 - 2, 2**63, 2**64 - 2):
        slots = np.array([[[3, 0], [wrong + 1, 0]]], np.uint64)
        for bucket, expected in ((0, [2]), (1, None)):
            ids, codes = np.empty(2, np.int64), np.array([[bucket]], np.uint32)
            n = kernels.collect_ids(slots, codes, NO_FLAGS, 1, np.zeros(8, np.int64), ids)
            assert ids[:n].tolist() == expected if expected else n <= -9


def test_an_oracle_whose_buckets_have_all_atoms_is_exact() -> None:
    atoms = whole_numbers(100, 6, 1)
    oracle = InnerProductOracle(atoms, n_groups=2, n_tables=1, n_probes=2, power=1, seed=3)
    run = OracleRun(atoms, oracle)
    for direction in RNG.integers(-3, 4, (20, 6)):
        found = run.best(direction)
        assert (found.id, found.value) == naive.best(atoms, direction, set()) and not found.is_exact
    assert run.inner_products == 20 * 100 and run.exact_scans == 0


@pytest.mark.parametrize("projection", ["gaussian", "hadamard"])
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
def test_answers_are_above_the_value_asked_for_or_exact(maker, projection: str) -> None:
    atoms = maker(600, 20, 1)
    oracle = InnerProductOracle(atoms, n_groups=3, n_tables=2, n_probes=1, projection=projection, seed=2)
    assert {index.family.projection for index in oracle.indexes} == {projection}
    run = OracleRun(atoms, oracle, check_every=1)
    exact = 0
    for direction in np.random.default_rng(5).standard_normal((60, 20)):
        products = atoms @ direction
        above = float(np.quantile(products, 0.95))
        found = run.best(direction, above=above)
        assert found.value == pytest.approx(products[found.id], abs=1e-12)
        assert found.value > above or (found.is_exact and found.value >= products.max() - 1e-12)
        exact += found.is_exact
    assert run.exact_scans == exact
    assert len(run.ratios) == 60 and min(run.ratios) > 0.0 and max(run.ratios) <= 1.0
    assert run.inner_products >= 600 * exact


def test_groups_are_used_in_turn_and_drawn_anew() -> None:
    oracle = InnerProductOracle(ATOMS, n_groups=3, n_tables=2, n_probes=2, redraw_after=2, seed=1)
    assert len({index.family.seed for index in oracle.indexes}) == 3
    direction, answers = np.ones(12), []
    run = OracleRun(ATOMS, oracle)
    for t in range(12):
        answers.append(run.best(direction))
        # Each of three groups is drawn anew before its third use, and its fifth one.
        assert run.redrawn == max(0, min(t - 5, 3)) + max(0, min(t - 11, 3))
    assert answers[:3] == answers[3:6] and answers[:3] != answers[6:9]
    assert len({answer.id for answer in answers[:3]}) > 1
    again = OracleRun(ATOMS, oracle)
    assert [again.best(direction) for _ in range(12)] == answers


def test_a_group_without_candidates_passes_the_question_on() -> None:
    # All atoms but one are equal, so most codes have empty buckets.
    atoms = np.zeros((200, 4))
    atoms[7] = 1.0
    run = OracleRun(
        atoms, InnerProductOracle(atoms, n_groups=2, n_tables=1, n_probes=1, power=10, center=False)
    )
    found = [run.best(direction, above=0.0) for direction in np.eye(4)]
    assert all(answer.id == 7 for answer in found)
    assert run.exact_scans == sum(answer.is_exact for answer in found) > 0


def test_checks_change_no_answer() -> None:
    oracle = InnerProductOracle(ATOMS, n_tables=3, n_probes=2, seed=1)
    plain, checked = OracleRun(ATOMS, oracle), OracleRun(ATOMS, oracle, check_every=3)
    ratios = []
    for t, direction in enumerate(RNG.standard_normal((20, 12)), 1):
        answer = plain.best(direction, above=1.0)
        assert checked.best(direction, above=1.0) == answer
        if t % 3 == 0:
            ratios.append((answer.value - 1.0) / ((ATOMS.astype(float) @ direction).max() - 1.0))
    assert checked.ratios == pytest.approx(ratios, rel=1e-6) and not plain.ratios
    assert checked.inner_products == plain.inner_products


def test_the_value_with_a_bonus_is_not_above_the_best_one_and_is_checked_last() -> None:
    oracle = InnerProductOracle(ATOMS, n_groups=2, n_tables=2, n_probes=2, seed=1)
    run, root = OracleRun(ATOMS, oracle, check_every=1), RNG.standard_normal((12, 12))
    matrix = root @ root.T
    for t, direction in enumerate(RNG.standard_normal((20, 12))):
        found = run.best_with_bonus(direction, matrix, 0.5, n_axes=1)
        values = [naive.value(atom, direction, matrix, 0.5) for atom in ATOMS]
        assert found.value == pytest.approx(values[found.id], rel=1e-9)
        assert run.ratios[t] == pytest.approx(found.value / max(values), rel=1e-9)
    assert min(run.ratios) > 0.5
    for wrong, message in (
        ({"matrix": np.eye(11)}, "matrix must have"),
        ({"matrix": np.triu(np.ones((12, 12)))}, "matrix must be symmetric"),
        ({"matrix": -np.eye(12)}, "matrix must be positive semidefinite"),
        ({"matrix": np.diag([1e-300] * 11 + [-1e-302])}, "matrix must be positive semidefinite"),
        ({"matrix": 1.0 - np.eye(12)}, "matrix must be positive semidefinite"),
        ({"bonus": -1.0}, "bonus must be"),
        ({"bonus": math.inf}, "bonus must be finite"),
        ({"n_axes": -1}, "n_axes must be"),
    ):
        with pytest.raises(ValueError, match=message):
            run.best_with_bonus(**{"direction": direction, "matrix": matrix, "bonus": 1.0, **wrong})


def test_semidefinite_matrices_and_their_rounding_are_accepted() -> None:
    run, direction = OracleRun(ATOMS), np.ones(12)
    plain = run.best(direction)
    assert run.best_with_bonus(direction, np.zeros((12, 12)), 1.0) == plain
    thin = RNG.standard_normal((12, 2)).astype(np.float32)
    for matrix in (np.outer(direction, direction), thin @ thin.T, np.eye(12, dtype=int), 1e200 * np.eye(12)):
        found = run.best_with_bonus(direction, matrix, 0.5)
        values = [naive.value(atom, direction, np.asarray(matrix, float), 0.5) for atom in ATOMS]
        assert found.value == pytest.approx(max(values), rel=1e-6)


def test_ratios_of_values_whose_difference_float64_cannot_hold() -> None:
    # Hashed as if atom 0 were the best, so that the candidates are not the best atoms.
    index = LSHIndex(InnerProduct(1, 1, max_norm=1.0, power=1, seed=1), capacity=4).update([[1.0], [-1.0]])
    atoms = np.array([[0.5e308], [1.5e308]])
    run = OracleRun(atoms, index, check_every=1)
    for direction in ([1.0], [-1.0]):
        found = run.best(direction, above=-1.6e308)
        best = float((atoms[:, 0] * direction[0]).max())
        expected = (found.value / 4.0 + 0.4e308) / (best / 4.0 + 0.4e308)
        assert run.ratios[-1] == pytest.approx(expected, rel=1e-12)
    assert len(run.ratios) == 2 and min(run.ratios) < 0.9


def test_a_refused_search_counts_nothing() -> None:
    oracle = InnerProductOracle(ATOMS, n_groups=3, n_tables=2, n_probes=2, redraw_after=2, seed=1)
    large = np.full(12, 1.7e308)
    for index in (None, oracle):
        run, twin = (OracleRun(ATOMS, index, check_every=2) for _ in range(2))
        for t, direction in enumerate(RNG.standard_normal((12, 12))):
            with pytest.raises(ValueError, match="above must be"):
                run.best(direction, above=math.nan)
            with pytest.raises(ValueError, match="direction must have finite products"):
                run.best(large, above=0.0)
            with pytest.raises(ValueError, match="direction must have finite products"):
                run.exact(large)
            with pytest.raises(ValueError, match="direction must have finite products"):
                run.best_with_bonus(large, np.eye(12), 1.0)
            assert run.best(direction, above=1.0) == twin.best(direction, above=1.0)
            assert (run.inner_products, run.exact_scans, run.redrawn) == (
                twin.inner_products,
                twin.exact_scans,
                twin.redrawn,
            )
            assert run.ratios == twin.ratios and len(run.ratios) == (t + 1) // 2


def test_the_mean_is_taken_from_the_hashes_only() -> None:
    # Far from the origin, all atoms have nearly the same direction.
    far = ATOMS + 100.0
    direction = np.zeros(12)
    direction[3] = 1.0
    found = {
        center: OracleRun(far, InnerProductOracle(far, center=center, seed=1)).best(direction).value
        for center in (True, False)
    }
    assert found[True] > found[False]


def test_answers_do_not_depend_on_threads() -> None:
    atoms = RNG.standard_normal((70_000, 3))
    answers = []
    before = mergesketch.get_num_threads()
    try:
        for threads in (1, 3):
            mergesketch.set_num_threads(threads)
            run = OracleRun(atoms, InnerProductOracle(atoms, n_groups=1, seed=1))
            answers.append([run.best(d, above=above) for d in np.eye(3) for above in (-math.inf, 100.0)])
    finally:
        mergesketch.set_num_threads(before)
    assert answers[0] == answers[1] and {answer.is_exact for answer in answers[0]} == {True, False}


@pytest.mark.parametrize("atoms", [np.zeros((5, 3)), np.ones((1, 1)), np.full((300, 2), -4.0)])
def test_atoms_without_differences(atoms: np.ndarray) -> None:
    oracle = InnerProductOracle(atoms)
    direction = np.ones(atoms.shape[1])
    found = OracleRun(atoms, oracle).best(direction)
    assert found.value == atoms[0].sum()
    assert oracle.n_atoms == len(atoms) and oracle.nbytes > 0


def test_an_index_of_ones_own() -> None:
    family = InnerProduct(12, 20, max_norm=20.0, power=4, seed=1)
    index = LSHIndex(family).update(ATOMS)
    target = ATOMS[:50].mean(axis=0)
    found = frank_wolfe(lambda x: x - target, ATOMS, index, n_steps=100)
    assert found.gap < 0.01 and found.inner_products < 100 * 3000
    for wrong, message in (
        (LSHIndex(InnerProduct(13, 2, max_norm=1.0)), "index must hash 12 features"),
        (
            LSHIndex(InnerProduct(12, 40, max_norm=20.0)).update(ATOMS[:1], ids=[3000]),
            "index must have ids of the 3000 atoms, got id 3000",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            frank_wolfe(lambda x: x - target, ATOMS, wrong)
    for other in (LSHIndex(SignedRandomProjection(12, 2)), "faiss", 3):
        with pytest.raises(TypeError, match="index must"):
            frank_wolfe(lambda x: x - target, ATOMS, other)


def test_oracles_and_their_copies_answer_alike() -> None:
    oracle = InnerProductOracle(ATOMS, n_groups=2, n_tables=2, seed=1)
    for other in (pickle.loads(pickle.dumps(oracle)), copy.deepcopy(oracle)):
        runs = [OracleRun(ATOMS, index) for index in (oracle, other)]
        answers = [[run.best(direction) for direction in np.eye(12)] for run in runs]
        assert answers[0] == answers[1]
    assert "n_groups=2" in repr(oracle) and "seed=1" in repr(oracle)


def test_the_atoms_are_not_kept() -> None:
    atoms = ATOMS.copy()
    oracle = InnerProductOracle(atoms, seed=1)
    expected = OracleRun(ATOMS, oracle).best(np.ones(12))
    atoms[:] = np.nan
    assert OracleRun(ATOMS, oracle).best(np.ones(12)) == expected
    with pytest.raises(AttributeError, match="cannot change"):
        oracle.n_probes = 3


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "atoms must have at least one row", {"atoms": np.zeros((0, 3))}),
        (ValueError, "atoms must be finite", {"atoms": [[np.nan]]}),
        (ValueError, "atoms must be a matrix", {"atoms": [1.0, 2.0]}),
        (TypeError, "atoms must hold real numbers", {"atoms": [["a"]]}),
        (ValueError, "atoms must have squared lengths", {"atoms": [[1e200, 0.0], [0.0, 1e200]]}),
        (ValueError, "power must be an integer from 1 to 24", {"power": 25}),
        (TypeError, "n_tables must be an integer", {"n_tables": True}),
        (ValueError, "redraw_after must be", {"redraw_after": 0}),
        (TypeError, "center must be True or False", {"center": 1}),
        (ValueError, "projection must be one of", {"projection": "sparse"}),
        (ValueError, "seed must be", {"seed": -1}),
    ],
)
def test_refusals(error: type[Exception], message: str, arguments: dict) -> None:
    with pytest.raises(error, match=message):
        InnerProductOracle(**{"atoms": np.eye(3), **arguments})


def test_refusals_of_a_run() -> None:
    oracle = InnerProductOracle(np.eye(3))
    with pytest.raises(ValueError, match=r"of shape \(3, 3\), got shape \(2, 3\)"):
        OracleRun(np.eye(3)[:2], oracle)
    with pytest.raises(ValueError, match="check_every must be"):
        OracleRun(np.eye(3), oracle, check_every=0)
    run = OracleRun(np.eye(3), oracle)
    for wrong in ([1.0, 2.0], [[1.0, 2.0, 3.0]], [np.inf, 0.0, 0.0]):
        with pytest.raises(ValueError, match="direction must"):
            run.best(wrong)
    with pytest.raises(ValueError, match="excluded must be bool"):
        run.best(np.ones(3), excluded=np.zeros(3))
    assert run.best(np.ones(3), excluded=np.ones(3, bool)).id == -1
    huge = np.full((4, 2), 1e300)
    with pytest.raises(ValueError, match="finite products"):
        OracleRun(huge, InnerProductOracle(huge)).best([1e300, 1e300])


def test_ratios_are_at_most_one_where_all_values_are_negative() -> None:
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((20_000, 16)) - 5.0
    run = OracleRun(atoms, InnerProductOracle(atoms, seed=1), check_every=1)
    for direction in rng.standard_normal((20, 16)) + 2.0:
        found = run.best(direction)
        best = (atoms @ direction).max()
        assert run.ratios[-1] == pytest.approx(best / found.value)
    assert max(run.ratios) <= 1.0


def test_one_product_that_is_too_large_is_refused() -> None:
    run = OracleRun([[1e200, 0.0], [-1e200, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="finite products"):
        run.best([1e200, 1.0])
    for above in (math.nan, None, "x", [1.0], True):
        with pytest.raises((TypeError, ValueError), match="above must be a number"):
            run.best([1.0, 0.0], above=above)
