"""Test Race: counters against slow ones, estimates and their errors against the exact kernel."""

from __future__ import annotations

import itertools
from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch import Race
from mergesketch.lsh import HashFamily, MinHash, PStable, SignedRandomProjection
from mergesketch.lsh.inputs.sets import read_sets
from naive import race as naive
from toy_family import ToyFamily

ROWS = hnp.arrays(np.int64, st.tuples(st.integers(0, 12), st.just(5)), elements=st.integers(0, 3))


def clusters(seed: int, n: int, n_features: int = 5) -> np.ndarray:
    """Return rows of small integers around a few centres."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 4, (6, n_features))
    rows = centres[rng.integers(0, 6, n)]
    return np.where(rng.random(rows.shape) < 0.2, rng.integers(0, 4, rows.shape), rows)


class RehashedToyFamily(ToyFamily):
    """The toy family with its codes sent into fewer buckets, so that unlike features may collide."""

    _parameters = ("n_features", "n_hashes", "seed")
    chance_collision = 0.5

    def __init__(self, n_features: int, n_hashes: int, seed: int = 0) -> None:
        super().__init__(n_features, n_hashes, 4, seed)
        self.n_buckets = 2

    def hash(self, X: Any) -> np.ndarray:
        picked = ToyFamily(self.n_features, self.n_hashes, 4, self.seed).hash(X)
        # Each repetition has a random function of the four values; two unlike values collide half the time.
        bits = np.random.default_rng(self.seed).integers(0, 2, (self.n_hashes, 4), dtype=np.uint32)
        return bits[np.arange(self.n_hashes), picked]


def test_the_life_of_a_race(tmp_path: Any) -> None:
    family = ToyFamily(n_features=5, n_hashes=400, seed=3)
    race = Race(family)
    monday, tuesday = clusters(0, 500), clusters(1, 300)
    week = race.empty_like().update(monday) | race.empty_like().update(tuesday)
    assert week.total == week.n_updates == 800
    Q = clusters(2, 50)
    exact = family.kernel(Q, np.vstack([monday, tuesday])).sum(axis=1)
    sums, std = week.query(Q, return_std=True)
    assert (np.abs(sums - exact) < 6 * std).all()
    np.testing.assert_allclose(week.density(Q), sums / 800)
    np.testing.assert_allclose(week.density(Q, return_std=True)[1], std / 800)
    week.save(tmp_path / "week.sketch")
    again = mergesketch.load(tmp_path / "week.sketch")
    np.testing.assert_array_equal(again.query(Q), sums)
    assert again.update(tuesday, weights=np.full(300, -1)).total == 500
    np.testing.assert_array_equal(again.query(Q), race.update(monday).query(Q))
    assert again.n_updates == 1100


# -- against the slow counters --------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    X=ROWS,
    Q=ROWS,
    n_hashes=st.integers(1, 9),
    seed=st.integers(0, 2**64 - 1),
    rehash=st.booleans(),
    data=st.data(),
)
def test_counters_and_sums_equal_the_slow_ones(
    X: np.ndarray, Q: np.ndarray, n_hashes: int, seed: int, rehash: bool, data: st.DataObject
) -> None:
    family = (RehashedToyFamily if rehash else ToyFamily)(5, n_hashes, seed=seed)
    weights = data.draw(st.lists(st.integers(-4, 4), min_size=len(X), max_size=len(X)))
    groups = data.draw(st.none() | st.integers(1, n_hashes))
    race = Race(family).update(X, weights)
    counts = naive.race_counts(family.hash(X).tolist(), weights, n_hashes, family.n_buckets)
    assert race.state["counts"].array.tolist() == counts
    assert race.total == sum(weights)
    expected = naive.race_sums(counts, family.hash(Q).tolist(), family.chance_collision, groups)
    np.testing.assert_allclose(race.query(Q, groups=groups), expected, rtol=1e-12, atol=1e-12)
    sums, std = race.query(Q, groups=groups, return_std=True)
    np.testing.assert_allclose(sums, expected, rtol=1e-12, atol=1e-12)
    assert np.isnan(std).all() == ((groups or n_hashes) == 1 or len(Q) == 0)


def test_blocks_change_nothing() -> None:
    """Batches are larger than a block of rows, in updates with and without weights and in queries."""
    family = ToyFamily(5, 700, seed=1)
    X = clusters(3, 20_000)
    weights = np.random.default_rng(0).integers(-3, 4, len(X))
    whole = Race(family).update(X, weights).update(X)
    parts = Race(family)
    for part, some in zip(np.array_split(X, 40), np.array_split(weights, 40), strict=True):
        parts.update(part, some).update(part)
    assert whole == parts
    sums, std = whole.query(X, groups=7, return_std=True)
    for rows in (slice(0, 10), slice(9_990, 10_100), slice(19_990, None)):
        some, some_std = whole.query(X[rows], groups=7, return_std=True)
        np.testing.assert_array_equal(some, sums[rows])
        np.testing.assert_array_equal(some_std, std[rows])


# -- the theorems ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family_class", [ToyFamily, RehashedToyFamily])
def test_estimates_are_unbiased_and_err_as_the_theorem_says(family_class: type[HashFamily]) -> None:
    X, Q = clusters(4, 300), clusters(5, 40)
    chance = family_class.chance_collision
    n_seeds, n_hashes = 200, 20
    kernel = ToyFamily(5, 1).kernel(Q, X)
    exact = kernel.sum(axis=1)
    estimates = np.array(
        [Race(family_class(5, n_hashes=n_hashes, seed=s)).update(X).query(Q) for s in range(n_seeds)]
    )
    collision = kernel + (1 - kernel) * chance
    bound = np.sqrt(collision).sum(axis=1) / (1 - chance) / np.sqrt(n_hashes)
    errors = estimates - exact
    assert (np.abs(errors.mean(axis=0)) < 6 * bound / np.sqrt(n_seeds)).all()
    assert (errors.std(axis=0) <= bound).all()


def test_the_standard_error_is_that_of_repeated_sketches() -> None:
    X, Q = clusters(6, 300), clusters(7, 40)
    exact = ToyFamily(5, 1).kernel(Q, X).sum(axis=1)
    for groups in (None, 11):
        scores = []
        for seed in range(60):
            race = Race(ToyFamily(5, 220, seed=seed)).update(X)
            sums, std = race.query(Q, groups=groups, return_std=True)
            scores.append((sums - exact) / std)
        assert 0.8 < np.std(scores) < 1.25


@pytest.mark.parametrize(
    "family",
    [
        SignedRandomProjection(6, 2000, power=3, seed=1),
        SignedRandomProjection(6, 2000, power=9, n_buckets=40, seed=2),
        PStable(6, 2000, width=3.0, n_buckets=64, seed=3),
        PStable(6, 2000, p=1, width=6.0, n_buckets=64, seed=4),
    ],
    ids=repr,
)
def test_sums_of_the_kernels_of_vectors(family: HashFamily) -> None:
    rng = np.random.default_rng(0)
    X, Q = rng.standard_normal((400, 6)), rng.standard_normal((50, 6))
    weights = rng.integers(-2, 5, 400)
    exact = family.kernel(Q, X) @ weights
    sums, std = Race(family).update(X, weights).query(Q, return_std=True)
    assert (np.abs(sums - exact) < 6 * std).all()
    assert np.abs((sums - exact) / std).mean() > 0.3, "standard errors far above the errors seen"


def test_sums_of_the_kernel_of_sets() -> None:
    rng = np.random.default_rng(0)
    X = [rng.choice(30, 8, replace=False) for _ in range(300)]
    family = MinHash(2000, n_buckets=512, scheme="permutations", seed=5)
    sums, std = Race(family).update(X).query(X[:50], return_std=True)
    exact = family.kernel(X[:50], X).sum(axis=1)
    assert (np.abs(sums - exact) < 6 * std).all()


def test_median_of_means_keeps_the_bound_of_the_theorem() -> None:
    X, Q = clusters(8, 300), clusters(9, 60)
    family = ToyFamily(5, 24 * 20)
    kernel = family.kernel(Q, X)
    groups = Race.n_groups(0.95)
    assert groups == 24
    bound = np.sqrt(32 * np.log(1 / 0.05) / family.n_hashes) * np.sqrt(kernel).sum(axis=1)
    beyond = 0
    for seed in range(20):
        race = Race(ToyFamily(5, 24 * 20, seed=seed)).update(X)
        beyond += int((np.abs(race.query(Q, groups=groups) - kernel.sum(axis=1)) > bound).sum())
    assert beyond <= 0.05 * 20 * len(Q)


def test_for_error_sizes_by_the_theorem() -> None:
    family = ToyFamily(5, 1, seed=9)
    race = Race.for_error(family, relative_error=0.5, confidence=0.9, density=0.2)
    groups = Race.n_groups(0.9)
    assert race.family.n_hashes == groups * 80
    assert 2 * np.sqrt(groups / (race.family.n_hashes * 0.2)) <= 0.5
    assert race.family.seed == 9
    X, Q = clusters(10, 400), clusters(11, 100)
    density = family.kernel(Q, X).mean(axis=1)
    high = density >= 0.2
    assert high.sum() > 50
    errors = np.abs(race.update(X).density(Q, groups=groups) - density)[high] / density[high]
    assert (errors > 0.5).mean() <= 0.1


# -- what comes in --------------------------------------------------------------------------------


class SetFamily(ToyFamily):
    """One code a row from any form of rows: the least token, as a set of sparse or ragged input."""

    def hash(self, X: Any) -> np.ndarray:
        tokens, offsets = read_sets(X).words()
        least = [min(tokens[a:b].tolist(), default=0) % 4 for a, b in itertools.pairwise(offsets)]
        return np.repeat(np.array(least, dtype=np.uint32).reshape(-1, 1), self.n_hashes, axis=1)


def test_sparse_rows_and_sets_are_cut_into_blocks() -> None:
    matrix = scipy.sparse.random_array((9000, 30), density=0.1, rng=1, format="csr")
    family = SetFamily(1, 200)
    pair = Race(family).update((matrix.indices, matrix.indptr))
    assert pair.n_updates == 9000
    assert Race(family).update(matrix) == pair
    assert Race(family).update(matrix.tocoo()) == pair
    expected = np.bincount(family.hash(matrix)[:, 0], minlength=4)
    assert (pair.state["counts"].array == expected).all()
    np.testing.assert_array_equal(pair.query(matrix)[:10], expected[family.hash(matrix[:10])[:, 0]])


def test_a_bad_row_after_good_blocks_is_taken_back() -> None:
    """Rows are hashed in blocks; a late refusal must leave no trace of the early blocks."""
    family = ToyFamily(5, 600)
    race = Race(family).update(clusters(12, 100))
    before = race.copy()
    X = clusters(13, 6000)
    X[5999, 2] = 99
    for weights in (None, np.arange(6000) - 1000):
        with pytest.raises(ValueError, match=r"X must lie in \[0, 4\)"):
            race.update(X, weights)
        assert race == before
        assert race.total == 100


@pytest.mark.parametrize("n_outputs", [None, 2])
def test_threads_that_count_apart_make_one_table(
    monkeypatch: pytest.MonkeyPatch, n_outputs: int | None
) -> None:
    """Each thread counts integers in its own table, and the tables are added; nothing else may change."""
    rng = np.random.default_rng(5)
    X = clusters(13, 700)
    # The sums of the last weights leave int32.
    weights = rng.integers(-9, 9, (700,) if n_outputs is None else (700, n_outputs))
    weights[600:] *= 2**28
    family = ToyFamily(5, 30)
    threads = mergesketch.get_num_threads()
    try:
        mergesketch.set_num_threads(1)
        empty = Race(family, n_outputs=n_outputs)
        expected = empty.copy().update(X, weights)
        monkeypatch.setattr("mergesketch.sketches.race.code_counters.GROUP_CODES", 30 * 40)
        mergesketch.set_num_threads(3)
        sketch = empty.copy().update(X, weights)
        assert sketch == expected and sketch.to_bytes() == expected.to_bytes()
        if n_outputs is None:
            assert empty.copy().update(X) == empty.copy().update(X, np.ones(700, int))
        bad = X.copy()
        bad[690, 2] = 99
        with pytest.raises(ValueError, match=r"X must lie in \[0, 4\)"):
            sketch.update(bad, weights)
        assert sketch.to_bytes() == expected.to_bytes()
        heavy = np.full_like(weights, 2**53)
        before = sketch.update(X, heavy).to_bytes()
        with pytest.raises(OverflowError):
            sketch.update(X, heavy)
        assert sketch.to_bytes() == before
    finally:
        mergesketch.set_num_threads(threads)


@pytest.mark.parametrize("groups", [None, 3])
@pytest.mark.parametrize("n_outputs", [None, 2])
def test_threads_that_ask_apart_answer_alike(
    monkeypatch: pytest.MonkeyPatch, n_outputs: int | None, groups: int | None
) -> None:
    rng = np.random.default_rng(6)
    weights = rng.integers(-9, 9, (700,) if n_outputs is None else (700, n_outputs))
    race = Race(ToyFamily(5, 30), n_outputs=n_outputs).update(clusters(14, 700), weights)
    Q = clusters(15, 500)
    threads = mergesketch.get_num_threads()
    try:
        mergesketch.set_num_threads(1)
        expected = race.query(Q, groups=groups, return_std=True)
        # Blocks of 5 rows, in ranges of at least 10.
        monkeypatch.setattr("mergesketch.sketches.race.kernel_sums.GROUP_CODES", 5 * 5)
        monkeypatch.setattr("mergesketch.sketches.race.kernel_sums.CODES_BLOCK", 5 * 10)
        for n in (1, 3):
            mergesketch.set_num_threads(n)
            for got, wanted in zip(race.query(Q, groups=groups, return_std=True), expected, strict=True):
                np.testing.assert_array_equal(got, wanted)
        Q[499, 2] = 99
        with pytest.raises(ValueError, match=r"must lie in \[0, 4\)"):
            race.query(Q, groups=groups)
    finally:
        mergesketch.set_num_threads(threads)


def test_a_tuple_of_two_rows_is_not_taken_for_a_set() -> None:
    race = Race(ToyFamily(2, 10))
    with pytest.raises(ValueError, match="got 1 that it takes for 2; pass dense rows as an array"):
        race.update(((1, 2), (0, 2)))
    assert race.n_updates == 0
    assert race.update([(1, 2), (0, 2)]).n_updates == 2


def test_density_needs_rows() -> None:
    race = Race(ToyFamily(5, 10))
    assert race.query(clusters(0, 3)).tolist() == [0, 0, 0]
    for sketch in (race, race.copy().update(clusters(0, 3), [1, 1, -2])):
        with pytest.raises(ValueError, match="density needs a sketch of total weight above 0, got 0"):
            sketch.density(clusters(0, 3))


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="family must be a HashFamily, got int"):
        Race(5)
    with pytest.raises(TypeError, match="family must be a HashFamily, got str"):
        Race.for_error("srp", 0.1)
    with pytest.raises(ValueError, match=r"family must have at most \d+ buckets"):
        Race(ToyFamily(5, 10, n_buckets=2**32))
    family = ToyFamily(5, 10)
    for name, bad in (("relative_error", 0.0), ("confidence", 1.0), ("density", 0.0), ("density", 1.0)):
        arguments = {"relative_error": 0.1, name: bad}
        with pytest.raises(ValueError, match=f"{name} must be a number in"):
            Race.for_error(family, **arguments)
    race = Race(family).update(clusters(0, 3))
    for bad in (0, 11):
        with pytest.raises(ValueError, match="groups must be an integer from 1 to 10"):
            race.query(clusters(0, 3), groups=bad)
    with pytest.raises(ValueError, match=r"weights must have shape \(3,\)"):
        race.update(clusters(0, 3), weights=[1, 2])
    with pytest.raises(TypeError, match="weights must be integers, got dtype float64"):
        race.update(clusters(0, 3), weights=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="Q must have 5 columns"):
        race.query(np.zeros((3, 4), dtype=int))
    with pytest.raises(ValueError, match="Q must have 5 columns"):
        race.query(np.zeros((0, 4), dtype=int))
    with pytest.raises(ValueError, match="X must have 5 columns"):
        race.update(np.zeros((0, 4), dtype=int))


# -- real weights and several outputs -------------------------------------------------------------


def test_real_and_several_outputs_are_so_many_single_ones() -> None:
    family = ToyFamily(5, 300, seed=2)
    X, Q = clusters(14, 5000), clusters(15, 40)
    weights = np.random.default_rng(1).integers(-4, 9, (5000, 3))
    many = Race(family, n_outputs=3).update(X, weights)
    real = Race(family, dtype="float", n_outputs=3).update(X, weights / 8)
    for groups in (None, 7):
        sums, std = many.query(Q, groups=groups, return_std=True)
        assert sums.shape == std.shape == (40, 3)
        np.testing.assert_array_equal(real.query(Q, groups=groups), sums / 8)
        for k in range(3):
            single = Race(family).update(X, weights[:, k])
            alone, alone_std = single.query(Q, groups=groups, return_std=True)
            np.testing.assert_allclose(sums[:, k], alone, rtol=1e-12, atol=1e-9)
            np.testing.assert_allclose(std[:, k], alone_std, rtol=1e-12, atol=1e-9)
            assert many.total[k] == single.total == 8 * real.total[k]


def test_sums_with_real_weights_err_as_their_standard_error_says() -> None:
    family = SignedRandomProjection(6, 2000, power=3, seed=6)
    rng = np.random.default_rng(3)
    X, Q, weights = rng.standard_normal((400, 6)), rng.standard_normal((50, 6)), rng.standard_normal(400)
    sums, std = Race(family, dtype="float").update(X, weights).query(Q, return_std=True)
    assert (np.abs(sums - family.kernel(Q, X) @ weights) < 6 * std).all()


def test_a_bad_row_after_good_blocks_leaves_real_counters_as_they_were() -> None:
    race = Race(ToyFamily(5, 600), dtype="float").update(clusters(12, 100), np.full(100, 0.1))
    before = race.copy()
    X = clusters(13, 6000)
    X[5999, 2] = 99
    with pytest.raises(ValueError, match=r"X must lie in \[0, 4\)"):
        race.update(X, np.random.default_rng(0).standard_normal(6000))
    assert race == before


def test_bad_weights() -> None:
    X = clusters(0, 2)
    real = Race(ToyFamily(5, 10), dtype="float")
    for bad in (np.nan, -np.inf, 2.0**513):
        with pytest.raises(ValueError, match=r"weights must be finite and at most 2\*\*512 in magnitude"):
            real.update(X, [1.0, bad])
    with pytest.raises(TypeError, match="weights must be real numbers, got dtype"):
        real.update(X, ["a", "b"])
    many = Race(ToyFamily(5, 10), n_outputs=2)
    with pytest.raises(ValueError, match=r"weights must have shape \(2, 2\), got None"):
        many.update(X)
    with pytest.raises(ValueError, match=r"weights must have shape \(2, 2\), one weight a row and output"):
        many.update(X, [1, 2])
    with pytest.raises(ValueError, match="dtype must be one of 'int', 'float', got 'double'"):
        Race(ToyFamily(5, 10), dtype="double")
    with pytest.raises(ValueError, match="n_outputs must be an integer from 1"):
        Race(ToyFamily(5, 10), n_outputs=0)
    with pytest.raises(ValueError, match="density needs a sketch of total weight above 0"):
        many.update(X, [[1, 0], [1, 0]]).density(X)
