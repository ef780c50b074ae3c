"""KLLSketch: the naive twin, the theorem on errors of ranks, and what is refused."""

from __future__ import annotations

import copy
import math
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import KLLSketch
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.core.file_format import pieces_of_file
from mergesketch.sketches.counts.kll_theory import largest_error
from naive.kll import Kll

NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1.0, 2.0, 5e-324])
PARTS = st.lists(st.lists(NUMBERS, max_size=60), min_size=1, max_size=4)


def levels_of(sketch: KLLSketch) -> list[list[float]]:
    """Return the values of each level that a sketch keeps."""
    items, sizes = sketch.state["items"].array, sketch.state["sizes"].array
    end, found = int(sizes.sum()), []
    for size in sizes.tolist():
        found.append(items[end - size : end].tolist())
        end -= size
    return found


def assert_like(sketch: KLLSketch, twin: Kll) -> None:
    n = len(twin.levels)
    found = levels_of(sketch)
    assert found[:n] == [sorted(level) for level in twin.levels] and not any(found[n:])
    assert sketch.state["compactions"].array[:n].tolist() == twin.compactions
    assert int(sketch.state["salt"].array[0]) == twin.salt
    assert float(sketch.state["joint"].array[0]) == pytest.approx(twin.joint)


# -- the naive twin -------------------------------------------------------------------------------


@given(PARTS, st.integers(8, 20), st.integers(0, 2**64 - 1))
def test_updates_and_merges_equal_those_of_the_naive_twin(
    parts: list[list[float]], k: int, seed: int
) -> None:
    whole, whole_twin = KLLSketch(k, seed=seed), Kll(k, seed)
    merged, merged_twin = KLLSketch(k, seed=seed), Kll(k, seed)
    for part in parts:
        whole.update(part)
        whole_twin.update(part)
        # Copies have the same random bits, and so may parts that begin with the same values.
        whole.merge(whole)
        whole_twin.merge(copy.deepcopy(whole_twin))
        one, one_twin = KLLSketch(k, seed=seed).update(part), Kll(k, seed)
        one_twin.update(part)
        merged.merge(one)
        merged_twin.merge(one_twin)
        assert_like(whole, whole_twin)
        assert_like(merged, merged_twin)


@pytest.mark.parametrize("k", [8, 9, 33, 200])
def test_long_streams_equal_those_of_the_naive_twin(k: int) -> None:
    rng = np.random.default_rng(k)
    for values in (rng.standard_normal(3000), rng.integers(0, 5, 3000), np.zeros(500), np.arange(3000)):
        sketch, twin = KLLSketch(k, seed=5).update(values), Kll(k, 5)
        twin.update(values.tolist())
        assert_like(sketch, twin)
        items = np.array([value for value, _ in twin.weighted()])
        ends = np.cumsum([weight for _, weight in twin.weighted()])
        for q in (0.1, 0.5, 0.99):
            rank = math.floor(q * (values.size - 1))
            assert sketch.quantile(q) == items[np.searchsorted(ends, rank, side="right")]


@settings(max_examples=50)
@given(st.lists(NUMBERS, min_size=1, max_size=40), st.floats(0, 1))
def test_few_values_are_answered_exactly(values: list[float], q: float) -> None:
    sketch = KLLSketch(41).update(values)
    assert sketch.rank_error() == 0.0
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    assert sketch.quantile(q) == exact and sketch.bounds(q) == (exact, exact)
    for x in (*values, 0.5):
        truth = sum(value <= x for value in values)
        assert sketch.rank(x) == truth
        assert sketch.cdf_bounds(x) == (truth / len(values), truth / len(values))


# -- the theorem ----------------------------------------------------------------------------------


def streams(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {
        "normal": rng.standard_normal(n),
        "sorted": np.arange(n),
        "backwards": np.arange(n)[::-1],
        "repeats": rng.integers(0, 4, n),
        "one-hot": (rng.random(n) < 0.01).astype(float),
        "constant": np.full(n, 7.0),
        "zigzag": np.where(np.arange(n) % 2, np.arange(n), -np.arange(n)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(streams(np.random.default_rng(0), 2)))
@pytest.mark.parametrize("n_parts", [1, 7])
def test_ranks_are_unbiased_and_err_as_the_theorem_says(kind: str, n_parts: int) -> None:
    n, trials, confidence = 2000, 150, 0.8
    values = streams(np.random.default_rng(1), n)[kind]
    asked = np.unique(np.quantile(values, [0.03, 0.2, 0.5, 0.8, 0.97], method="lower"))
    truth = (values[:, None] <= asked).sum(axis=0)
    errors, beyond = np.zeros((trials, asked.size)), 0
    for seed in range(trials):
        parts = [KLLSketch(16, seed=seed).update(part) for part in np.array_split(values, n_parts)]
        sketch = parts[0].merge(parts[1:])
        errors[seed] = sketch.rank(asked) - truth
        error = sketch.rank_error(confidence)
        beyond += (abs(errors[seed]) > error * n).sum()
        low, high = sketch.cdf_bounds(asked, confidence)
        assert ((low <= truth / n) & (truth / n <= high) == (abs(errors[seed]) <= error * n + 1e-9)).all()
    spread = errors.std(axis=0) / math.sqrt(trials)
    assert (abs(errors.mean(axis=0)) <= 6 * spread + 1e-9).all()
    share = 1 - confidence
    assert beyond / errors.size <= share + 6 * math.sqrt(share * confidence / trials)
    if kind == "constant":
        assert not errors.any()


def test_bounds_of_quantiles_contain_them() -> None:
    rng, trials, confidence = np.random.default_rng(2), 150, 0.8
    values, q = rng.lognormal(0, 2, 3000), np.array([0.05, 0.5, 0.9])
    exact = np.quantile(values, q, method="lower")
    missed = 0
    for seed in range(trials):
        low, high = KLLSketch(16, seed=seed).update(values).bounds(q, confidence)
        missed += ((exact < low) | (exact > high)).sum()
    share = 1 - confidence
    assert missed / (trials * q.size) <= share + 6 * math.sqrt(share * confidence / trials)


@pytest.mark.parametrize("k", [8, 15, 50, 200])
def test_the_largest_error_is_never_exceeded(k: int) -> None:
    for n in (1, 50, 333, 1000, 4096, 20_000):
        values = np.random.default_rng(n).standard_normal(n)
        sketch = KLLSketch(k).update(values)
        merged = KLLSketch(k).merge([KLLSketch(k).update(p) for p in np.array_split(values, 9)])
        for confidence in (0.5, 0.99):
            assert sketch.rank_error(confidence) <= largest_error(k, confidence)
            assert merged.rank_error(confidence) <= largest_error(k, confidence)


@pytest.mark.parametrize(("error", "confidence"), [(0.1, 0.9), (0.05, 0.99), (0.01, 0.99), (0.001, 0.999)])
def test_for_error_takes_the_smallest_k(error: float, confidence: float) -> None:
    k = KLLSketch.for_error(error, confidence).k
    assert largest_error(k, confidence) <= error < largest_error(k - 1, confidence)


def test_parts_of_one_seed_do_not_share_their_random_bits() -> None:
    # Errors of parts that were equal would add up, and those of independent parts do not.
    n_parts, trials = 20, 60
    errors = np.zeros(trials)
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        for _ in range(n_parts):
            values = rng.standard_normal(400)
            errors[trial] += KLLSketch(16).update(values).rank(0.0) - (values <= 0).sum()
    one = np.array(
        [
            KLLSketch(16).update(v).rank(0.0) - (v <= 0).sum()
            for v in np.random.default_rng(999).standard_normal((200, 400))
        ]
    )
    expected = n_parts * (one**2).mean()
    # The mean of 60 squares of nearly normal numbers has a relative standard error of sqrt(2 / 60).
    assert (errors**2).mean() < expected * (1 + 6 * math.sqrt(2 / trials))


def test_bounds_hold_for_a_sketch_that_is_merged_with_itself() -> None:
    sketch = KLLSketch(20).update(range(100))
    for _ in range(56):
        sketch |= sketch
    found, error = sketch.cdf(50.0), sketch.rank_error()
    assert 0.0 < abs(found - 0.51) < error
    low, high = sketch.cdf_bounds(50.0)
    assert low <= 0.51 <= high
    assert KLLSketch.from_bytes(sketch.to_bytes()) == sketch


@pytest.mark.parametrize("kind", ["copy", "later", "same beginning", "four copies"])
def test_bounds_hold_for_parts_of_the_same_random_bits(kind: str) -> None:
    trials, confidence, n_beyond = 150, 0.8, 0
    values = np.random.default_rng(5).standard_normal(1500)
    others = {"copy": values, "later": np.append(values, values[:100]), "same beginning": values.copy()}
    others["same beginning"][200:] += 1e-3
    others["four copies"] = values
    n = values.size + others[kind].size
    truth = (values <= 0).sum() + (others[kind] <= 0).sum()
    for seed in range(trials):
        one, other = KLLSketch(16, seed=seed).update(values), KLLSketch(16, seed=seed).update(others[kind])
        separate, both = one.rank_error(confidence), one | other
        if kind == "four copies":
            both.merge(one, other)
            assert both.rank_error(confidence) >= separate - 1e-12
            truth, n = 4 * (values <= 0).sum(), 4 * values.size
        n_beyond += abs(both.rank(0.0) - truth) > both.rank_error(confidence) * n
    share = 1 - confidence
    assert n_beyond / trials <= share + 6 * math.sqrt(share * confidence / trials)


def test_files_without_joint_errors_are_read() -> None:
    sketch = KLLSketch(8).update(np.arange(300.0))
    arrays = {name: array for name, array in sketch._arrays.items() if name != "joint"}
    assert KLLSketch.from_bytes(b"".join(pieces_of_file("KLLSketch", sketch.config(), arrays))) == sketch


def test_two_halvings_of_a_level_err_no_more_than_one() -> None:
    # Of the first 64 values one half is kept, and of the next 64 the other one: the ranks of pairs are exact.
    values = np.arange(64.0)
    for seed in range(8):
        one = KLLSketch(50, seed=seed).update(values)
        two = one.copy().update(values)
        assert [int(sketch.state["compactions"].array[0]) for sketch in (one, two)] == [1, 2]
        assert 0 < one.rank_error() * 64 == two.rank_error() * 128
        assert {abs(x) for x in one.rank(values) - np.arange(1, 65)} == {0.0, 1.0}
        assert (two.rank(values) == 2 * np.arange(1, 65)).all()


# -- small inputs, storage, refusals --------------------------------------------------------------


def test_an_empty_sketch_answers_nan() -> None:
    empty = KLLSketch()
    assert math.isnan(empty.quantile(0.5)) and math.isnan(empty.min) and math.isnan(empty.max)
    assert math.isnan(empty.cdf(1.0)) and empty.rank(1.0) == 0.0 and math.isnan(empty.rank_error())
    assert all(map(math.isnan, (*empty.bounds(0.5), *empty.cdf_bounds(1.0))))
    assert np.isnan(empty.quantile([0.1, 0.2])).all()


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).standard_normal(5000)
    whole = KLLSketch(20, seed=1).update(values)
    monkeypatch.setattr("mergesketch.sketches.counts.kll._BUFFER", 200)
    parts = KLLSketch(20, seed=1)
    for part in np.split(values, [1, 2, 50, 51, 64, 128, 1700]):
        parts.update(part)
    assert parts == whole != KLLSketch(20, seed=1).update(values[::-1])
    assert KLLSketch.from_bytes(whole.to_bytes()).update(values) == whole.update(values)


def test_nulls_and_single_numbers() -> None:
    expected = KLLSketch(8).update([1.5, 4.0])
    assert KLLSketch(8).update([1.5, None, 4.0], nulls="skip") == expected
    assert KLLSketch(8).update(1.5).update(np.float32(4.0)) == expected
    assert KLLSketch(8).update([math.nan], nulls="skip") == KLLSketch(8)
    assert type(expected.quantile(0.5)) is float and type(expected.cdf(2)) is float
    assert expected.quantile([[0.0, 1.0]]).tolist() == [[1.5, 4.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KLLSketch(7), "k must be"),
        (lambda: KLLSketch(2**21), "k must be"),
        (lambda: KLLSketch(seed=-1), "seed must be"),
        (lambda: KLLSketch.for_error(0.0), "rank_error must be"),
        (lambda: KLLSketch.for_error(1e-9), "rank_error must be reached by k = 1048576, got 1e-09"),
        (lambda: KLLSketch.for_error(0.1, 1.0), "confidence must be"),
        (lambda: KLLSketch().rank_error(1.0), "confidence must be"),
        (lambda: KLLSketch().update([1.0]).quantile(1.5), "q must lie"),
        (lambda: KLLSketch().update([1.0]).bounds(0.5, 0.0), "confidence must be"),
        (lambda: KLLSketch().update([1.0]).cdf([math.nan]), "values must be finite"),
    ],
)
def test_bad_arguments_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("sizes", 0, -1),
        ("sizes", 0, 9),
        ("sizes", 61, 1),
        ("compactions", 0, -1),
        ("compactions", 3, 99),
        ("joint", 0, -1.0),
        ("joint", 0, 1e3),
        ("joint", 0, math.nan),
        ("items", 0, math.nan),
        ("items", 0, 1e9),
        ("items", 0, 29.0),
        ("items", -1, 1.0),
        ("min", 0, 29.0),
        ("max", 0, math.inf),
        ("n_updates", 0, 31),
    ],
)
def test_files_that_contradict_themselves_are_refused(name: str, place: int, value: float) -> None:
    sketch = KLLSketch(8).update(np.arange(30.0))
    arrays = {name: array.copy() for name, array in sketch._arrays.items()}
    arrays[name][place] = value
    forged = b"".join(pieces_of_file("KLLSketch", sketch.config(), arrays))
    with pytest.raises(SketchFormatError, match="no state of a KLLSketch"):
        KLLSketch.from_bytes(forged)


def test_python_numbers_are_refused_with_advice() -> None:
    sketch = KLLSketch(8)
    for values in (np.array([1.0, 2], object), [Decimal("1.5")], Decimal("1.5")):
        for call in (sketch.update, sketch.cdf):
            with pytest.raises(TypeError, match=r"got dtype object; np\.asarray\(values, float\) converts"):
                call(values)
        sketch.update(np.asarray(values, float))
    with pytest.raises(TypeError, match=r"q must hold .* got dtype object; np\.asarray\(q, float\)"):
        sketch.quantile(np.array([0.5], object))
    with pytest.raises(TypeError, match=r"got dtype <U1$"):
        sketch.update(["a"])
    assert sketch.n_updates == 4


def test_queries_see_no_update_half_done() -> None:
    sketch, stop = KLLSketch(8).update(np.arange(100.0)), threading.Event()

    def update() -> None:
        while not stop.is_set():
            sketch.update(np.arange(100.0))

    writer = threading.Thread(target=update)
    writer.start()
    try:
        for _ in range(500):
            assert 0.0 <= sketch.quantile(0.5) <= 99.0
            assert 0.0 <= sketch.cdf(50.0) <= 1.0
    finally:
        stop.set()
        writer.join()
