"""Test Count-Min and Count-Sketch: their tables against slow ones, their errors against the theorems."""

from __future__ import annotations

import contextlib
import statistics
import threading
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import CountMinSketch, CountSketch, MergeableSketch
from mergesketch.lsh.hashing.keys import hash_keys
from naive import counting as naive

KEYS = st.lists(st.integers(-5, 30), max_size=25)
SIZES = st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**64 - 1))


def zipf_stream(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keys of skewed frequency, the distinct ones and the count of each."""
    keys = np.random.default_rng(seed).zipf(1.2, n).astype(np.int64) % 100_000
    distinct, truth = np.unique(keys, return_counts=True)
    return keys, distinct, truth


# -- life stories ---------------------------------------------------------------------------------


def test_the_life_of_a_count_min_sketch(tmp_path: Any) -> None:
    sketch = CountMinSketch.for_error(0.001, confidence=0.99, seed=7)
    assert (sketch.n_rows, sketch.n_buckets) == (5, 2719)
    assert sketch.query(["tea"]).tolist() == [0]
    monday = sketch.empty_like().update(["tea", "cake", "tea"])
    tuesday = sketch.empty_like().update(["tea", "milk"], counts=[10, 0])
    week = monday | tuesday
    assert week.query(["tea", "cake", "milk", "jam"]).tolist() == [12, 1, 0, 0]
    assert week.total == 13
    assert week.n_updates == 5
    assert week.upper_bound(["tea"])[0] == 12
    assert 0 <= week.lower_bound(["tea"])[0] <= 12
    assert week.inner_product(monday) == 12 * 2 + 1
    week.save(tmp_path / "week.sketch")
    assert mergesketch.load(tmp_path / "week.sketch").subtract(tuesday) == monday


def test_the_life_of_a_count_sketch(tmp_path: Any) -> None:
    sketch = CountSketch.for_error(0.01, confidence=0.99, seed=7)
    assert sketch.n_rows % 2 == 1
    assert sketch.query([5]).tolist() == [0.0]
    monday = sketch.empty_like().update([1, 2, 1])
    tuesday = sketch.empty_like().update([1, 3], counts=[10, -4])
    week = monday | tuesday
    assert week.query([1, 2, 3, 4]).tolist() == [12.0, 1.0, -4.0, 0.0]
    assert week.total == 9
    assert week.norm() == pytest.approx(np.sqrt(12**2 + 1 + 4**2))
    assert week.inner_product(monday) == 12 * 2 + 1
    assert week.lower_bound([1])[0] < 12 < week.upper_bound([1])[0]
    week.save(tmp_path / "week.sketch")
    assert mergesketch.load(tmp_path / "week.sketch").subtract(tuesday) == monday


# -- against the slow tables ----------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(size=SIZES, keys=KEYS, data=st.data())
def test_tables_equal_the_slow_ones(size: tuple[int, int, int], keys: list[int], data: st.DataObject) -> None:
    n_rows, n_buckets, seed = size
    weights = data.draw(st.lists(st.integers(0, 9), min_size=len(keys), max_size=len(keys)))
    hashes = hash_keys(keys, seed).tolist()
    queries = [*keys, 77, -78]
    for sketch, signed, pick in (
        (CountMinSketch(n_rows, n_buckets, seed=seed), False, min),
        (CountSketch(n_rows, n_buckets, seed=seed), True, statistics.median),
    ):
        words = sketch._words.tolist()
        expected = naive.count_table(words, n_buckets, hashes, weights, signed=signed)
        assert sketch.update(keys, weights).state["counts"].array.tolist() == expected
        for key, estimate in zip(hash_keys(queries, seed).tolist(), sketch.query(queries), strict=True):
            assert estimate == pick(naive.table_estimates(words, expected, key, signed=signed))
    conservative = CountMinSketch(n_rows, n_buckets, conservative=True, seed=seed).update(keys, weights)
    slow = naive.conservative_table(conservative._words.tolist(), n_buckets, hashes, weights)
    assert conservative.state["counts"].array.tolist() == slow


@pytest.mark.parametrize("cls", [CountMinSketch, CountSketch])
def test_counts_of_one_are_the_default(cls: Any) -> None:
    keys = np.random.default_rng(0).integers(0, 50, 40_000)
    ones = cls(3, 20).update(keys, np.ones(keys.size, dtype=np.uint8))
    assert cls(3, 20).update(keys) == ones
    by_weight = cls(3, 20).update(*np.unique(keys, return_counts=True))
    np.testing.assert_array_equal(by_weight.query(np.arange(50)), ones.query(np.arange(50)))


# -- the theorems ---------------------------------------------------------------------------------


def test_rows_are_pairwise_independent() -> None:
    """Over random rows two keys share a bucket with probability 1/n_buckets, and signs are uncorrelated."""
    n_rows = 1 << 16
    for n_buckets in (64, 100):
        sketch = CountSketch(n_rows, n_buckets, seed=3)
        a, b = (sketch.empty_like().update([key]).state["counts"].array for key in (12, 13))
        where_a, where_b = np.abs(a).argmax(axis=1), np.abs(b).argmax(axis=1)
        p = 1 / n_buckets
        assert abs((where_a == where_b).mean() - p) < 6 * np.sqrt(p * (1 - p) / n_rows)
        signs = a.sum(axis=1), b.sum(axis=1)
        assert abs((signs[0] * signs[1]).mean()) < 6 / np.sqrt(n_rows)
        assert abs(signs[0].mean()) < 6 / np.sqrt(n_rows)
        uniform = np.bincount(where_a, minlength=n_buckets) / n_rows
        assert np.abs(uniform - p).max() < 6 * np.sqrt(p / n_rows)
        shared = where_a == where_b
        assert abs((signs[0] * signs[1])[shared].mean()) < 6 / np.sqrt(shared.sum())


@pytest.mark.parametrize("conservative", [False, True])
def test_count_min_errs_as_the_theorem_says(conservative: bool) -> None:
    over, under_bound, n = 0, 0, 0
    for seed in range(10):
        keys, distinct, truth = zipf_stream(seed, 20_000)
        sketch = CountMinSketch(3, 200, conservative=conservative, seed=seed).update(keys)
        estimates = sketch.query(distinct)
        assert (estimates >= truth).all()
        assert (sketch.upper_bound(distinct) == estimates).all()
        over += int((estimates - truth >= np.e * keys.size / 200).sum())
        under_bound += int((sketch.lower_bound(distinct, confidence=0.9) > truth).sum())
        n += distinct.size
    assert over <= np.exp(-3) * n
    assert under_bound <= 0.1 * n


def test_count_min_bounds_are_no_wider_than_the_theorem_asks() -> None:
    """At confidence 1 - exp(-n_rows) the lower bound lies e N / n_buckets below the estimate."""
    keys, distinct, _ = zipf_stream(0, 20_000)
    sketch = CountMinSketch(3, 2000).update(keys)
    gap = sketch.query(distinct) - sketch.lower_bound(distinct, confidence=1 - np.exp(-3))
    assert gap.max() == int(np.e * keys.size / 2000)


def test_conservative_update_errs_less() -> None:
    keys, distinct, truth = zipf_stream(1, 50_000)
    plain = CountMinSketch(4, 500).update(keys).query(distinct) - truth
    conservative = CountMinSketch(4, 500, conservative=True).update(keys).query(distinct) - truth
    assert (conservative <= plain).all()
    assert conservative.mean() < 0.7 * plain.mean()


def test_merged_conservative_sketches_stay_between_truth_and_plain() -> None:
    keys, distinct, truth = zipf_stream(2, 50_000)
    parts = [CountMinSketch(4, 500, conservative=True).update(part) for part in np.array_split(keys, 5)]
    merged = parts[0].copy().merge(*parts[1:])
    plain = CountMinSketch(4, 500).update(keys)
    assert (merged.query(distinct) >= truth).all()
    assert (merged.state["counts"].array <= plain.state["counts"].array).all()


def test_count_sketch_is_unbiased_with_the_variance_of_the_theorem() -> None:
    keys, distinct, truth = zipf_stream(3, 3000)
    some = distinct[:200]
    n_seeds, n_buckets = 300, 50
    errors = np.array(
        [CountSketch(1, n_buckets, seed=s).update(keys).query(some) - truth[:200] for s in range(n_seeds)]
    )
    variance = float((truth.astype(float) ** 2).sum()) / n_buckets
    assert np.abs(errors.mean(axis=0)).max() < 6 * np.sqrt(variance / n_seeds)
    # Fourth moments are not bounded by the theorem; the mean over keys of the measured variance is.
    assert errors.var(axis=0).mean() < 1.25 * variance


@pytest.mark.parametrize("n_rows", [1, 2, 5, 6])
def test_count_sketch_intervals_hold(n_rows: int) -> None:
    outside, n = 0, 0
    for seed in range(10):
        keys, distinct, truth = zipf_stream(seed, 20_000)
        sketch = CountSketch(n_rows, 1000, seed=seed).update(keys)
        low, high = sketch.lower_bound(distinct, 0.9), sketch.upper_bound(distinct, 0.9)
        np.testing.assert_allclose((low + high) / 2, sketch.query(distinct))
        outside += int(((truth < low) | (truth > high)).sum())
        n += distinct.size
        assert (sketch.upper_bound(distinct, 0.99) > high).all()
    assert outside <= 0.1 * n


def test_norms_and_inner_products() -> None:
    keys, _, truth = zipf_stream(4, 20_000)
    other, _, other_truth = zipf_stream(5, 10_000)
    norm, other_norm = (np.sqrt((t.astype(float) ** 2).sum()) for t in (truth, other_truth))
    product = float((np.bincount(keys, minlength=100_000) * np.bincount(other, minlength=100_000)).sum())
    for seed in range(5):
        a, b = (CountSketch(7, 3000, seed=seed).update(k) for k in (keys, other))
        assert abs(a.norm() - norm) < 6 * norm * np.sqrt(2 / 3000)
        assert abs(a.inner_product(b) - product) < 6 * norm * other_norm * np.sqrt(2 / 3000)
        c, d = (CountMinSketch(7, 3000, seed=seed).update(k) for k in (keys, other))
        assert product <= c.inner_product(d) <= product + np.e / 3000 * keys.size * other.size


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99, 0.999999])
@pytest.mark.parametrize("relative_error", [0.3, 0.01])
def test_sizes_for_an_error(relative_error: float, confidence: float) -> None:
    a = CountMinSketch.for_error(relative_error, confidence)
    assert np.exp(-a.n_rows) <= 1 - confidence + 1e-12
    assert np.e / a.n_buckets <= relative_error
    b = CountSketch.for_error(relative_error, confidence)
    assert b._error_share(confidence) <= relative_error * (1 + 1e-9)
    assert CountSketch(b.n_rows, b.n_buckets // 2)._error_share(confidence) > relative_error


def test_for_error_keeps_its_word() -> None:
    keys, distinct, truth = zipf_stream(6, 50_000)
    sketch = CountSketch.for_error(0.02, 0.99, seed=1).update(keys)
    norm = np.sqrt((truth.astype(float) ** 2).sum())
    assert (np.abs(sketch.query(distinct) - truth) > 0.02 * norm).mean() <= 0.01


# -- keys and counts ------------------------------------------------------------------------------


def test_keys_of_all_types() -> None:
    import pyarrow as pa

    words = ["tea", "cake", "", "日本", "tea"]
    expected = CountSketch(3, 100).update(words)
    for same in ([w.encode() for w in words], pa.array(words), pa.array(words, pa.large_string())):
        assert CountSketch(3, 100).update(same) == expected
    numbers = [1, 2, 3, 2]
    expected = CountSketch(3, 100).update(numbers)
    for dtype in (np.int8, np.uint16, np.int32, np.uint64, np.int64):
        assert CountSketch(3, 100).update(np.array(numbers, dtype=dtype)) == expected


def test_negative_counts() -> None:
    with pytest.raises(ValueError, match="counts must be at least 0, got -1"):
        CountMinSketch(3, 10).update(["a", "b"], [3, -1])
    sketch = CountSketch(3, 10).update(["a", "b"], [3, -1]).update(["a", "b"], [-3, 1])
    assert not sketch.state["counts"].array.any()


def test_counts_of_any_size() -> None:
    sketch = CountMinSketch(2, 10).update(["a"], [2**31 - 1])
    assert sketch.state["counts"].array.dtype == np.int32
    sketch.update(["a"])
    assert sketch.state["counts"].array.dtype == np.int64
    assert sketch.query(["a"])[0] == 2**31
    sketch.update(["a"], [2**63 - 1 - 2**31])
    assert sketch.query(["a"])[0] == 2**63 - 1
    with pytest.raises(OverflowError, match=r"CountMinSketch\.counts cannot count beyond"):
        sketch.update(["a"])
    with pytest.raises(OverflowError):
        CountSketch(2, 10).update(["a", "b", "c"], [2**62] * 3)
    assert CountSketch(2, 10).update(["a", "b"], [2**61, -(2**61)]).total == 0
    # NumPy makes floats or objects of some of these lists.
    for wide in ([-(2**63), 1], [2**63, 1], [2**64, 1], np.array([2**63, 1], np.uint64)):
        with pytest.raises(ValueError, match=rf"counts must lie within 63 bits and a sign, got {wide[0]}"):
            CountSketch(2, 10).update(["a", "b"], wide)
    with pytest.raises(ValueError, match="counts must lie within 63 bits"):
        CountSketch(2, 10).update("a", 2**70)


def test_subtracting_what_was_not_counted() -> None:
    a, b = CountMinSketch(3, 10).update(["a"]), CountMinSketch(3, 10).update(["b"])
    before = a.copy()
    with pytest.raises(ValueError, match="other must be a part of this sketch"):
        a.subtract(b)
    assert a == before
    empty = a.empty_like()
    with pytest.raises(ValueError, match="other must be a part of this sketch"):
        empty.subtract(b)
    assert not empty._state.is_allocated


def test_a_part_is_taken_out_once_where_threads_ask_for_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, part = CountMinSketch(3, 10), CountMinSketch(3, 10).update(["a"])
    both, subtract = threading.Barrier(2), MergeableSketch.subtract

    def late(self: Any, other: Any) -> Any:
        # Without a lock both threads come here, and each has found the part in the sketch.
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.3)
        return subtract(self, other)

    monkeypatch.setattr(MergeableSketch, "subtract", late)
    whole.update(["a"])
    refused: list[str] = []

    def run() -> None:
        try:
            whole.subtract(part)
        except ValueError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1 and whole.total == 0 and whole.query(["a"]).tolist() == [0]


@pytest.mark.parametrize("cls", [CountMinSketch, CountSketch])
def test_bad_arguments(cls: Any) -> None:
    for name, bad in (("n_rows", 0), ("n_rows", 2**17), ("n_buckets", 0), ("n_buckets", 2**29), ("seed", -1)):
        with pytest.raises(ValueError, match=f"{name} must be an integer from"):
            cls(**{"n_rows": 3, "n_buckets": 10, name: bad})
    for bad in (1.0, "3", None, True):
        with pytest.raises(TypeError, match="n_rows must be an integer"):
            cls(bad, 10)
    for bad in (0.0, 1.0, -1, float("nan")):
        with pytest.raises(ValueError, match="relative_error must be a number in"):
            cls.for_error(bad)
        with pytest.raises(ValueError, match="confidence must be a number in"):
            cls.for_error(0.1, bad)
        with pytest.raises(ValueError, match="confidence must be a number in"):
            cls(3, 10).lower_bound([1], bad)
    with pytest.raises(TypeError, match="conservative must be True or False, got 'no'"):
        CountMinSketch(3, 10, conservative="no")


def test_configurations_and_sizes_need_no_memory() -> None:
    huge = CountMinSketch(1 << 16, 1 << 28)
    # The total and the number of updates, and the kinds of keys.
    assert huge.nbytes == 4 * (1 << 44) + 16 + 9
    assert "updates" in repr(huge)
