"""Distinct counts: the naive twin, the theory of the estimate, and its bias and error.

`test_hyperloglog_tokens.py` tests sketches of few keys, and `test_hyperloglog_overlap.py` shared keys.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mergesketch import HyperLogLog
from mergesketch.errors import IncompatibleSketchError, SaturationWarning
from mergesketch.lsh import hash_keys
from mergesketch.sketches.counts import hyperloglog_theory as theory
from mergesketch.sketches.kernels.hyperloglog import add_keys, count_pairs, join_registers
from naive import hyperloglog as naive

HASHES = st.integers(0, 2**64 - 1) | st.integers(0, 63).map(lambda k: 1 << k) | st.just(0)
VALUES = st.sets(st.integers(1, 62), max_size=9) | st.sets(st.integers(1, 4))


def registers_of(hashes: list[int], n_registers: int) -> np.ndarray:
    registers = np.zeros(n_registers, np.uint8)
    add_keys(np.array(hashes, np.uint64), np.uint64(0), True, n_registers, 0, 0, len(hashes), registers)
    return registers


def dense(sketch: HyperLogLog) -> np.ndarray:
    """Return the registers of a sketch, which may still have a list."""
    return sketch._dense_registers()


# -- registers ------------------------------------------------------------------------------------


@given(
    st.lists(HASHES, max_size=60),
    st.integers(3, 9).map(lambda p: 1 << p) | st.integers(2, 128).map(lambda n: 4 * n),
)
def test_registers_equal_the_naive_twin(hashes: list[int], n_registers: int) -> None:
    registers = registers_of(hashes, n_registers)
    assert registers.tolist() == naive.registers(hashes, n_registers)
    assert theory.is_register(math.ceil(math.log2(n_registers)))[registers].all()


@given(st.lists(HASHES, max_size=60), st.integers(0, 2**64 - 1))
def test_integers_are_hashed_as_everywhere(keys: list[int], seed: int) -> None:
    expected = naive.registers(hash_keys(np.array(keys, np.uint64), seed).tolist(), 16)
    sketch = HyperLogLog(4, seed=seed).update(np.array(keys, np.uint64))
    assert dense(sketch).tolist() == expected


@given(st.lists(HASHES, max_size=30), st.integers(0, 16), st.integers(0, 16), st.integers(0, 30))
def test_a_range_of_registers_takes_its_own_hashes(hashes: list[int], a: int, b: int, start: int) -> None:
    first, last, start = min(a, b), max(a, b), min(start, len(hashes))
    registers = np.zeros(last - first, np.uint8)
    keys = np.array(hashes, np.uint64), np.uint64(0), True
    add_keys(*keys, 16, first, start, len(hashes), registers)
    assert registers.tolist() == naive.registers(hashes[start:], 16)[first:last]


@given(VALUES, VALUES)
def test_joined_registers_are_those_of_the_union(ours: set[int], theirs: set[int]) -> None:
    joined = np.array([naive.register(ours)], np.uint8)
    join_registers(np.array([naive.register(theirs)], np.uint8), 0, 1, joined)
    assert joined[0] == naive.register(ours | theirs)
    assert joined[0] == theory.JOINED[naive.register(ours), naive.register(theirs)]


@pytest.mark.parametrize("precision", [3, 7, 26])
def test_registers_are_possible_if_some_values_make_them(precision: int) -> None:
    largest = 65 - precision
    found = {naive.register({u, *below}) for u in range(1, largest + 1) for below in _below(u)} | {0}
    assert set(np.flatnonzero(theory.is_register(precision)).tolist()) == found


def _below(u: int) -> list[list[int]]:
    return [[k for k in kept if k >= 1] for kept in ([], [u - 1], [u - 2], [u - 1, u - 2])]


@given(st.lists(HASHES, max_size=40), st.integers(3, 9), st.integers(3, 9))
def test_downsized_registers_are_those_of_the_lower_precision(hashes: list[int], a: int, b: int) -> None:
    # Hashes whose last bits are zeros from within the number of the register on.
    hashes = [*hashes, *(h >> 55 << 55 for h in hashes)]
    low, high = min(a, b), max(a, b)
    sketch = HyperLogLog(high).update([0] * len(hashes))
    sketch._put_registers(registers_of(hashes, 1 << high))
    downsized = sketch.downsize(low)
    assert dense(downsized).tolist() == naive.registers(hashes, 1 << low)
    assert (downsized.precision, downsized.n_updates) == (low, len(hashes))
    assert dense(sketch).tolist() == naive.registers(hashes, 1 << high)


def test_downsized_sketches_are_those_of_the_keys() -> None:
    fine = HyperLogLog(9, seed=4).update(["a", "b", "c"])
    assert fine.downsize(5) == HyperLogLog(5, seed=4).update(["a", "b", "c"])
    assert fine.downsize(9) == fine and fine.downsize(9) is not fine
    assert HyperLogLog(9).downsize(3) == HyperLogLog(3)
    with pytest.raises(TypeError, match="keys must be strings"):
        fine.downsize(5).update([1])
    for precision in (10, 2, 5.0):
        with pytest.raises((TypeError, ValueError), match="precision must be"):
            fine.downsize(precision)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", [10, 19])
def test_threads_share_small_and_large_sketches(precision: int) -> None:
    keys = np.arange(400_000)
    whole = HyperLogLog(precision).update(keys)
    assert (
        whole.state["registers"].array.sum() == registers_of(hash_keys(keys).tolist(), 1 << precision).sum()
    )
    parts = [HyperLogLog(precision).update(part) for part in np.array_split(keys, 7)]
    assert reduce(lambda a, b: a | b, parts) == whole


def test_all_zeros_and_all_ones() -> None:
    assert registers_of([0], 8).tolist() == [4 * 62, *[0] * 7]
    assert registers_of([2**64 - 1], 8).tolist() == [*[0] * 7, 4]


@given(st.lists(st.tuples(VALUES, VALUES), max_size=20))
def test_pairs_are_counted(pairs: list[tuple[set[int], set[int]]]) -> None:
    ours, theirs = (np.array([naive.register(p[i]) for p in pairs], np.uint8) for i in (0, 1))
    counts, expected = np.zeros((256, 256), np.int64), np.zeros((256, 256), np.int64)
    count_pairs(ours, theirs, 0, len(pairs), counts)
    np.add.at(expected, (ours, theirs), 1)
    np.testing.assert_array_equal(counts, expected)


# -- theory ---------------------------------------------------------------------------------------


def likelihood(x: float, register: int, precision: int) -> float:
    """Return the probability of a register, value by value, from its definition."""
    u, a, b = register >> 2, register >> 1 & 1, register & 1
    chance = 1.0
    for k in range(1, 66 - precision):
        y = x * 2.0 ** -min(k, 64 - precision)
        seen = {u: True, u - 1: bool(a), u - 2: bool(b)}.get(k, False if k > u else None)
        chance *= 1.0 if seen is None else -math.expm1(-y) if seen else math.exp(-y)
    return chance


@pytest.mark.parametrize("precision", [3, 12, 26])
@pytest.mark.parametrize("x", [0.001, 0.7, 30.0, 1e6])
def test_probabilities_are_those_of_the_definition(precision: int, x: float) -> None:
    chances = theory.probabilities(x, precision)
    assert chances.sum() == pytest.approx(1.0, rel=1e-12)
    for register in np.flatnonzero(theory.is_register(precision)).tolist():
        assert chances[register] == pytest.approx(likelihood(x, register, precision), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("x", [0.01, 1.3, 50.0, 1e5])
def test_moments_are_derivatives_of_the_likelihood(x: float) -> None:
    chances, h = theory.probabilities(x, 8), 1e-3 * x
    near = {i: np.log(np.maximum(theory.probabilities(x + i * h, 8), 1e-300)) for i in range(-3, 4)}
    first = (near[1] - near[-1]) * 0.75 - (near[2] - near[-2]) * 0.15 + (near[3] - near[-3]) / 60.0
    second = (near[1] + near[-1]) * 1.5 - (near[2] + near[-2]) * 0.15 + (near[3] + near[-3]) / 90.0
    first, second = first / h, (second - near[0] * 49.0 / 18.0) / h**2
    found = theory.moments(x, 8)
    likely = chances > 1e-9
    np.testing.assert_allclose(
        found.influence[likely], first[likely] / found.information, rtol=1e-6, atol=1e-6 * x
    )
    # The information is also the expected curvature, which is another sum.
    assert -(chances[likely] @ second[likely]) == pytest.approx(found.information, rel=1e-4)


def test_the_error_for_many_keys_is_that_of_the_information() -> None:
    # It varies a little with the place of the largest values between two powers of two.
    errors = [theory.relative_error(2.0**i, 4096) * 64.0 for i in np.linspace(28, 32, 33)]
    assert np.mean(errors) == pytest.approx(theory.ERROR, abs=5e-6)
    assert np.ptp(errors) < 1e-3


def test_the_error_for_few_keys_is_that_of_keys_that_share_a_register() -> None:
    # Two keys of a register count as one if their values are equal (probability 1/3), or not near (1/6).
    pairs = 40 * 39 / 2 / 2**16
    assert theory.relative_error(40, 2**16) * 40 == pytest.approx(math.sqrt(pairs / 2), rel=1e-3)
    errors = [theory.relative_error(2.0**i, 4096) for i in range(40)]
    assert (np.diff(errors) > -1e-3 / 64.0).all()


@pytest.mark.parametrize("precision", [3, 8, 14])
@pytest.mark.parametrize("x", [0.5, 3.0, 1e4])
def test_the_estimate_maximises_the_likelihood(precision: int, x: float) -> None:
    chances = theory.probabilities(x, precision)
    counts = np.random.default_rng(precision).multinomial(1 << precision, chances / chances.sum())

    def log_likelihood(x: float) -> float:
        return float(counts @ np.log(np.maximum(theory.probabilities(x, precision), 1e-300)))

    best = theory.keys_a_register(counts, precision)
    assert log_likelihood(best) > max(log_likelihood(best * 1.001), log_likelihood(best * 0.999))


def _simulated(x: float, precision: int, n: int) -> np.ndarray:
    """Return estimates of x from registers that are drawn by their probabilities."""
    chances, m = theory.probabilities(x, precision), 1 << precision
    drawn = np.random.default_rng(7).multinomial(m, chances / chances.sum(), size=n)
    found = []
    for counts in drawn:
        estimate = theory.keys_a_register(counts, precision)
        found.append(estimate - theory.moments(estimate, precision).bias / m if estimate else 0.0)
    return np.array(found)


@pytest.mark.parametrize("x", [2.0, 100.0, 1e9, 1e15])
def test_simulated_registers_give_no_bias_and_the_error(x: float) -> None:
    errors = _simulated(x, 9, 2000) / x - 1.0
    m, n = 512.0, 512.0 * x
    # Terms of the second order are about 1 / m**2.
    assert abs(errors.mean()) < 6.0 * errors.std() / math.sqrt(errors.size) + 4.0 / m**2
    # The model has a Poisson number of keys; the variance of a variance of about normal numbers is 2 / size.
    variance = theory.relative_error(n, 512) ** 2 + 1.0 / n
    assert errors.var() / variance == pytest.approx(1.0, abs=6.0 * math.sqrt(2.0 / errors.size) + 8.0 / m)


# -- estimates ------------------------------------------------------------------------------------

KEYS: dict[str, Callable[[int, int], Any]] = {
    "consecutive": lambda n, seed: np.arange(seed, seed + n),
    "multiples": lambda n, seed: np.arange(n) * 2**40 + seed,
    "strings": lambda n, seed: [f"https://example.org/a/long/path/{i}" for i in range(n)],
    "random": lambda n, seed: np.random.default_rng(seed).integers(0, 2**63, n),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("n", [1, 10, 100, 300, 3000])
def test_the_mean_is_right_and_the_error_as_stated(kind: str, n: int) -> None:
    n_seeds, m = 300, 200
    found = np.array(
        [
            HyperLogLog(8, n_registers=m, seed=seed).update(KEYS[kind](n, seed)).cardinality()
            for seed in range(n_seeds)
        ]
    )
    errors, stated = found / n - 1.0, theory.relative_error(n, m)
    assert abs(errors.mean()) < 6.0 * stated / math.sqrt(n_seeds) + 4.0 / m**2 + 1.0 / (n * m)
    # Chebyshev's bound for the mean of squares; few keys collide rarely, so their fourth moment is large.
    kurtosis = 3.0 + 4.0 * m / n**2
    assert (errors**2).mean() < stated**2 * (1.0 + 6.0 * math.sqrt(kurtosis / n_seeds)) + 1e-4


def test_repeats_count_once() -> None:
    keys = np.arange(1000)
    once = HyperLogLog().update(keys)
    assert HyperLogLog().update(np.tile(keys, 50)).cardinality() == once.cardinality()
    assert HyperLogLog().update(["tea"] * 1000).cardinality() == pytest.approx(1.0, abs=1e-3)


def test_an_empty_sketch_has_no_keys() -> None:
    empty, other = HyperLogLog(), HyperLogLog().update([1, 2])
    assert (empty.cardinality(), empty.bounds(), empty.jaccard(empty)) == (0.0, (0, 0), 0.0)
    assert empty.intersection_cardinality(empty, return_std=True) == (0.0, 0.0)
    assert empty.union_cardinality(other) == other.cardinality()
    assert empty.intersection_cardinality(other) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize("n", [5, 40, 150, 1000, 20_000])
@pytest.mark.parametrize("precision", [6, 10])
def test_bounds_cover(precision: int, n: int, confidence: float) -> None:
    held = []
    for seed in range(400):
        low, high = HyperLogLog(precision, seed=seed).update(np.arange(n)).bounds(confidence)
        held.append(low <= n <= high)
    assert np.mean(held) > confidence - 6.0 * math.sqrt(confidence * (1.0 - confidence) / 400)


def test_bounds_lie_between_used_registers_and_updates() -> None:
    sketch = HyperLogLog(4).update(np.arange(7))
    low, high = sketch.bounds(1.0 - 1e-12)
    assert low == np.count_nonzero(sketch.state["registers"].array)
    assert high == 7
    assert type(low) is type(high) is int


@pytest.mark.parametrize("n", [100, 3000])
def test_bounds_of_confidences_next_to_one(n: int) -> None:
    sketch = HyperLogLog(8).update(np.arange(n))
    low, high = sketch.bounds(1.0 - 2.0**-53)
    assert low <= n <= high <= sketch.n_updates
    assert low <= sketch.bounds(0.999999)[0]


def test_full_registers_are_told() -> None:
    # The register of a hash of zeros does not change any more. Only keys chosen by their hashes fill all.
    full = HyperLogLog(4).update(np.arange(1000))
    full._put_registers(np.full(16, 4 * 61 + 3, np.uint8))
    with pytest.warns(SaturationWarning, match="no key can change the registers") as caught:
        assert full.bounds() == (16, 1000)
    assert caught[0].filename == __file__
    for ask in (full.cardinality, lambda: full.jaccard(full), lambda: full.union_cardinality(HyperLogLog(4))):
        with pytest.warns(SaturationWarning):
            ask()
    full.state["registers"].array[3] = 4 * 61 + 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        full.cardinality()


# -- arguments ------------------------------------------------------------------------------------


def test_for_error_is_the_smallest() -> None:
    for wanted in (0.3, 0.05, 0.02, 0.0119, 0.0015):
        sketch = HyperLogLog.for_error(wanted, seed=5)
        n = sketch.n_registers
        assert sketch.standard_error <= wanted and sketch.seed == 5
        assert n == 8 or theory.ERROR / math.sqrt(n - 4) > wanted
        assert HyperLogLog.from_bytes(sketch.update([1]).to_bytes()) == sketch
    assert HyperLogLog.for_error(0.02).nbytes < 1500
    for wanted in (0.001, 1e-4):
        sketch = HyperLogLog.for_error(wanted)
        assert sketch.n_registers == 1 << sketch.precision
        assert sketch.standard_error <= wanted < math.sqrt(2) * sketch.standard_error
    assert HyperLogLog.for_error(0.999).n_registers == 8
    with pytest.raises(ValueError, match=r"relative_error must be at least 9\.3e-05"):
        HyperLogLog.for_error(9e-5)


def test_numbers_of_registers_fit_their_precision() -> None:
    assert HyperLogLog(11, n_registers=2048) == HyperLogLog(11)
    assert HyperLogLog(18, n_registers=131_076).n_registers == 131_076
    for precision, n in (
        (11, 1024),
        (11, 2052),
        (11, 1501),
        (19, 300_000),
        (11, 1500.0),
        (11, "1500"),
        (11, True),
    ):
        with pytest.raises((TypeError, ValueError), match="n_registers must be"):
            HyperLogLog(precision, n_registers=n)  # type: ignore[arg-type]
    sketch = HyperLogLog(11, n_registers=1500)
    with pytest.raises(ValueError, match="n_registers must be a power of two for `downsize`, got 1500"):
        sketch.downsize(10)
    with pytest.raises(IncompatibleSketchError, match="n_registers: 1500 here, 2048 there"):
        sketch.merge(HyperLogLog(11))


@pytest.mark.parametrize("precision", [2, 27, 12.0, True, "12", None])
def test_precisions_are_refused(precision: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="precision must be"):
        HyperLogLog(precision)


def test_other_sketches_are_refused() -> None:
    a = HyperLogLog(5).update([1])
    for other in (HyperLogLog(6), HyperLogLog(5, seed=1), HyperLogLog(5).update(["tea"])):
        for call in (a.merge, a.union_cardinality, a.intersection_cardinality, a.jaccard):
            with pytest.raises(IncompatibleSketchError):
                call(other)
    with pytest.raises(ValueError, match="confidence must be"):
        a.bounds(1.0)
    with pytest.raises(TypeError, match="return_std must be"):
        a.intersection_cardinality(a, return_std=1)  # type: ignore[call-overload]


@pytest.mark.parametrize("register", [1, 2, 3, 5, 9, 252, 255])
def test_files_with_impossible_registers_are_refused(register: int) -> None:
    sketch = HyperLogLog(3).update(np.arange(100))
    assert sketch.state["is_dense"].array[0]
    registers = sketch.state["registers"].array.copy()
    registers[2] = register
    arrays = {name: state.array for name, state in sketch.state.items()}
    with pytest.raises(ValueError, match=f"registers must be those of hashes, got {register} "):
        sketch._check_state({**arrays, "registers": registers})


def test_files_with_more_registers_than_keys_are_refused() -> None:
    arrays = {name: state.array for name, state in HyperLogLog(3).update([1]).state.items()}
    with pytest.raises(ValueError, match="at most n_updates, 1, keys, got 8"):
        HyperLogLog(3)._check_state(
            {**arrays, "registers": np.full(8, 4, np.uint8), "is_dense": np.ones(1, np.uint8)}
        )
