"""Test TopK against its naive twin, exact counts, and the bounds that hold for any order and merges."""

from __future__ import annotations

import datetime
import functools
import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mergesketch import TopK
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from mergesketch.lsh import hash_keys
from mergesketch.sketches.counts import top_k
from mergesketch.sketches.counts.space_saving import Counters
from naive.top_k import Summary, merge, update
from ranks import Ranks, needs_mpi

Batch = list[tuple[int, int]]
BATCHES = st.lists(st.lists(st.tuples(st.integers(-5, 20), st.integers(0, 9)), max_size=30), max_size=5)


def add(sketch: TopK, batch: Batch) -> TopK:
    return sketch.update([key for key, _ in batch], [count for _, count in batch])


def counters(sketch: TopK) -> Summary:
    """Return the counters that a sketch of integers keeps."""
    state = {name: array.array for name, array in sketch.state.items()}
    raw = np.ascontiguousarray(state["candidate_keys"][:, :8]).view("<i8")[:, 0].tolist()
    rows = zip(raw, state["candidate_counts"].tolist(), state["candidate_errors"].tolist(), strict=True)
    return {key: (count, error) for key, count, error in rows if count}, sketch.maximum_error


def assert_bounds(sketch: TopK, truth: Counter[Any], absent: Sequence[Any] = ()) -> None:
    """Assert what holds for any stream, order, batches and merges."""
    total, m = truth.total(), sketch.n_counters
    assert sketch.total == total
    falling = sorted(truth.values(), reverse=True)
    for j in range(min(m, len(falling)) + 1):
        assert sketch.maximum_error * (m + 1 - j) <= total - sum(falling[:j])
    keys = [*truth, *absent]
    found = [key for key, _ in sketch.top(m)]
    if keys:
        lowers, uppers = sketch.lower_bound(keys), sketch.upper_bound(keys)
        counts = np.array([truth[key] for key in keys])
        assert (lowers <= counts).all() and (counts <= uppers).all()
        assert (uppers - lowers <= sketch.maximum_error).all()
        np.testing.assert_array_equal(sketch.query(keys), uppers)
        assert {key for key, n in truth.items() if n > sketch.maximum_error} <= set(found)
    assert len(found) == min(m, len(+truth))
    for k in (1, 2, m):
        top = sketch.top(k)
        assert [count for _, count in top] == sorted((count for _, count in top), reverse=True)
        assert all(truth[key] <= count for key, count in top)
        # Those that are guaranteed are not less frequent than the k-th most frequent key.
        least = falling[k - 1] if k <= len(falling) else 0
        right = sum(truth[key] >= least for key, _ in top)
        assert sketch.n_guaranteed(k) <= right <= k


@given(BATCHES, st.integers(0, 5), st.integers(1, 8), st.integers(1, 12), st.integers(0, 99))
def test_counters_are_those_of_the_naive_twin(
    batches: list[Batch], cut: int, n_counters: int, n_new: int, seed: int
) -> None:
    n_new = max(n_new, n_counters)
    hashes = {key: hash_keys(key, seed) for key in range(-5, 21)}
    empty = TopK(1, n_counters=n_counters, max_key_bytes=8, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_k, "_NEW_KEYS", n_new)
        sketches, summaries = [], []
        for part in (batches[:cut], batches[cut:]):
            sketch, summary = empty.empty_like(), ({}, 0)
            for batch in part:
                add(sketch, batch)
                summary = update(summary, batch, n_counters, n_new, hashes)
                assert counters(sketch) == summary
            sketches.append(sketch)
            summaries.append(summary)
    both = sketches[0] | sketches[1]
    assert both == sketches[1] | sketches[0]
    assert counters(both) == merge(*summaries, n_counters, hashes)
    assert TopK.from_bytes(both.to_bytes()) == both


@pytest.mark.parametrize("largest", [2, 50, 2**61])
def test_the_largest_keys_are_those_of_a_sort(largest: int) -> None:
    """Few keys are dropped or few are kept, and many have equal bounds and equal counts."""
    rng = np.random.default_rng(largest)
    for size, n in ((2, 1), (900, 1), (900, 30), (900, 450), (900, 870), (900, 899)):
        counts, errors = rng.integers(1, largest + 1, size), rng.integers(0, largest, size)
        hashes = rng.integers(0, 2**64, size, dtype=np.uint64)
        counters = Counters(hashes, counts, errors, np.arange(size), 0)
        order, found = counters.falling(), counters.largest(n)
        np.testing.assert_array_equal(found.sources, np.sort(order[:n]))
        np.testing.assert_array_equal(found.hashes, hashes[found.sources])
        assert found.offset == counters.uppers[order[n]]
    assert counters.largest(size) is counters


@given(st.data(), BATCHES, st.integers(1, 8), st.integers(1, 12))
def test_bounds_hold_for_any_order_and_tree_of_merges(
    data: st.DataObject, batches: list[Batch], n_counters: int, n_new: int
) -> None:
    truth: Counter[int] = Counter()
    for key, count in (pair for batch in batches for pair in batch):
        truth[key] += count
    empty = TopK(1, n_counters=n_counters, max_key_bytes=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_k, "_NEW_KEYS", n_new)
        parts = [empty.empty_like()]
        for batch in batches:
            if data.draw(st.booleans()):
                parts.append(empty.empty_like())
            add(parts[data.draw(st.integers(0, len(parts) - 1))], batch)
    while len(parts) > 1:
        one = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts[data.draw(st.integers(0, len(parts) - 1))] |= one
    assert_bounds(parts[0], truth, absent=[77])


OVER_RANKS = """
import numpy as np
from mergesketch import TopK
from mergesketch.distributed import merge_over_ranks
from mpi4py import MPI

comm = MPI.COMM_WORLD
batches = [np.random.default_rng(rank).zipf(1.1, 5000) % 1000 for rank in range(comm.size)]
merged = merge_over_ranks(TopK(5, n_counters=50).update(batches[comm.rank]))
truth, keys = np.bincount(np.concatenate(batches), minlength=1000), np.arange(1000)
assert (merged.lower_bound(keys) <= truth).all() and (truth <= merged.upper_bound(keys)).all()
assert 0 < merged.maximum_error <= truth.sum() / 51
assert len(set(comm.allgather(merged.to_bytes()))) == 1, "ranks differ"
print("done")
"""


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [2, 3])
def test_ranks_have_the_same_counters_within_the_bounds(ranks: Ranks, n_ranks: int) -> None:
    ran = ranks.run(n_ranks, OVER_RANKS)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * n_ranks


def zipf(seed: int, n: int = 60_000, exponent: float = 1.3) -> np.ndarray:
    return np.random.default_rng(seed).zipf(exponent, n).astype(np.int64) % 1_000_000


@pytest.mark.parametrize("exponent", [1.05, 1.3, 2.0])
@pytest.mark.parametrize("n_counters", [40, 300])
def test_bounds_of_skewed_streams_in_the_worst_orders(exponent: float, n_counters: int) -> None:
    keys = zipf(3, 30_000, exponent)
    truth = Counter(keys.tolist())
    rising = np.array(sorted(keys.tolist(), key=lambda key: (truth[key], key)))
    for order in (keys, rising, rising[::-1]):
        parts = [TopK(10, n_counters=n_counters, max_key_bytes=8) for _ in range(3)]
        for i, batch in enumerate(np.array_split(order, 11)):
            parts[i % 3].update(batch)
        assert_bounds(functools.reduce(operator.or_, parts), truth, absent=[-1])


def test_crowds_of_single_keys_push_no_frequent_one_out() -> None:
    heavy, crowd = np.repeat(np.arange(10), 30_000), np.arange(100, 300_100)
    for batches in ([heavy, crowd], [crowd, heavy], [crowd[::2], heavy, crowd[1::2]]):
        sketch = TopK(10)
        for batch in batches:
            sketch.update(batch)
        assert {key for key, _ in sketch.top()} == set(range(10))
        assert sketch.n_guaranteed() == 10
        assert sketch.maximum_error <= 300_000 // (sketch.n_counters + 1 - 10)


def test_one_hot_and_constant_streams() -> None:
    constant = TopK(3, n_counters=3).update(np.full(50_000, 7))
    assert constant.top() == [(7, 50_000)] and constant.maximum_error == 0 and constant.n_guaranteed() == 1
    distinct = TopK(3, n_counters=3).update(np.arange(50_000))
    assert len(distinct.top()) == 3 and distinct.n_guaranteed() == 0
    assert 1 <= distinct.maximum_error <= 50_000 // 4
    alternating = TopK(1, n_counters=1).update(np.arange(50_000) % 2)
    assert_bounds(alternating, Counter({0: 25_000, 1: 25_000}))


def test_frequent_keys_are_counted_exactly() -> None:
    keys = zipf(0, 200_000, 1.2)
    truth = Counter(keys.tolist())
    sketch = TopK(20)
    for batch in np.array_split(keys, 10):
        sketch.update(batch)
    # A count is exact if the bounds are equal, so this can be known without the truth.
    assert sketch.n_guaranteed() == 20
    assert sketch.top() == sorted(truth.items(), key=lambda item: -item[1])[:20]
    names = [key for key, _ in sketch.top()]
    np.testing.assert_array_equal(sketch.lower_bound(names), sketch.upper_bound(names))


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    keys, before, found = zipf(1, 300_000, 1.1), mergesketch.get_num_threads(), []
    try:
        for n in (1, 2, 4):
            mergesketch.set_num_threads(n)
            found.append(TopK(10, n_counters=100).update(keys))
    finally:
        mergesketch.set_num_threads(before)
    assert found[0].maximum_error > 0
    assert found[0] == found[1] == found[2]


def test_small_examples() -> None:
    assert TopK().top() == [] and TopK().n_guaranteed() == 0 and TopK().maximum_error == 0
    assert TopK().update([]).top() == [] and TopK().query("tea") == 0
    assert sorted(TopK(5).update(["a", "b"]).top()) == [("a", 1), ("b", 1)]
    assert TopK(3).update("tea").update("tea", 4).top() == [("tea", 5)]
    zero = TopK(3).update(["a", "b"], [0, 2])
    assert zero.top() == [("b", 2)] and zero.n_updates == 2 and zero.total == 2
    # Of four keys two are kept. The third largest count bounds those of the others.
    full = TopK(2, n_counters=2).update(["a", "b", "c", "d"], [9, 7, 3, 1])
    assert full.top() == [("a", 9), ("b", 7)] and full.maximum_error == 3
    assert full.upper_bound(["a", "c", "z"]).tolist() == [9, 3, 3]
    assert full.lower_bound(["a", "c", "z"]).tolist() == [9, 0, 0]
    later = full.update(["c"], [6])
    assert later.top() == [("a", 9), ("c", 9)] and later.maximum_error == 7
    assert later.lower_bound(["a", "c"]).tolist() == [9, 6] and later.n_guaranteed() == 1
    assert later.n_guaranteed(1) == 1 and later.top(99) == later.top()
    assert later.top(0) == [] and later.n_guaranteed(0) == 0


def test_merging_adds_what_the_other_part_may_have_dropped() -> None:
    one = TopK(1, n_counters=1).update([1, 2], [10, 4])
    other = TopK(1, n_counters=1).update([2, 3], [9, 5])
    for both in (one | other, other | one):
        assert both.top() == [(1, 15)] and both.lower_bound(1) == 10 and both.maximum_error == 13
    assert_bounds(one | other, Counter({1: 10, 2: 13, 3: 5}))
    # A part from a file has dropped nothing as long as counters are free.
    parts = [TopK(2, n_counters=9).update(keys) for keys in ([1, 1, 1, 2, 4], [6, 6, 4], [4, 5])]
    merged = sum(TopK.from_bytes(part.to_bytes()) for part in parts)
    assert merged.maximum_error == 0 and merged.n_guaranteed() == 2 and set(merged.top()) == {(1, 3), (4, 3)}
    twice = one | one
    assert twice.top() == [(1, 20)] and twice.maximum_error == 8


def test_keys_come_back_in_their_form() -> None:
    noon = datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)
    for keys in (
        ["é", "é", "b"], [b"\xff", b"\xff", b"a"], [-1, -1, 7], [2**64 - 1, 2**64 - 1, 3], [noon, noon],
        [("/", 200), ("/", 200), ("/é", 404)], [datetime.date(2026, 1, 1)],
    ):  # fmt: skip
        sketch = TopK(3, n_counters=3).update(keys)
        assert dict(sketch.top()) == Counter(keys)
        assert TopK.from_bytes(sketch.to_bytes()).top() == sketch.top()
        # Names stay where others are dropped and merged.
        assert (sketch | sketch).top(1) == [(sketch.top()[0][0], 2 * sketch.top()[0][1])]
    long = "x" * 100
    [(name, count)] = TopK(1, n_counters=1, max_key_bytes=8).update([long, long]).top()
    assert name == f"xxxxxxxx…{hash_keys(long):016x}" and count == 2
    assert TopK(2, n_counters=2, max_key_bytes=8).update([long, long]).query(long) == 2
    assert TopK(2).update(["a", None, "a"], [2, 5, 1], nulls="skip").top() == [("a", 3)]
    with pytest.raises(TypeError, match="keys must be integers as before"):
        TopK(2).update([1]).update(["a"])
    with pytest.raises(IncompatibleSketchError, match="hold integers in one"):
        TopK(2).update([1]).merge(TopK(2).update(["a"]))


def test_kinds_that_meet_only_in_a_reduction_are_refused() -> None:
    """Over ranks the bits of the kinds of keys are joined first, and the names after them."""
    sketch, other = TopK().update([1]), TopK().update(["a"])
    arrays = {name: state.array for name, state in other.state.items()}
    sketch._arrays["key_forms"] |= arrays["key_forms"]
    with pytest.raises(IncompatibleSketchError, match="hold integers in one and strings or bytes in another"):
        sketch._reduce_custom("candidates", {}, arrays)


def test_an_update_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sketch = TopK(2, n_counters=2).update(["a", "b", "c"], [3, 2, 1])
    before = sketch.to_bytes()

    def fails(*_: Any) -> None:
        raise MemoryError

    for place, name in ((top_k, "pack_keys"), (Counters, "arrays"), (Counters, "largest")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, fails)
            with pytest.raises(MemoryError):
                sketch.update(["d"], [9])
            assert sketch.to_bytes() == before
            if place is Counters:
                with pytest.raises(MemoryError):
                    sketch.merge(sketch)
                assert sketch.to_bytes() == before
    with pytest.raises(OverflowError, match="total cannot count beyond"):
        sketch.update(["d"], [2**63 - 1])
    assert sketch.to_bytes() == before


def test_counts_near_the_largest_integers() -> None:
    half = 2**61
    sketch = TopK(1, n_counters=1).update([1, 2], [half, half - 1])
    both = sketch | sketch
    assert both.total == 4 * half - 2 and both.maximum_error == 2 * half - 2
    assert both.top() == [(1, 2 * half)] and both.upper_bound(2) == 2 * half - 2
    with pytest.raises(OverflowError):
        both.merge(sketch)


def test_for_error_sizes_the_counters() -> None:
    sketch = TopK.for_error(10, 0.01)
    assert (sketch.k, sketch.n_counters) == (10, 100)
    assert "relative_error=0.01" in repr(sketch)
    assert TopK.for_error(300, 0.01).n_counters == 300
    for error in (0.9, 0.3, 0.013):
        # Streams of different keys have the largest errors.
        sketch = TopK.for_error(1, error).update(np.arange(10_000))
        assert 0 < sketch.maximum_error <= error * 10_000


def test_bad_arguments() -> None:
    for bad in (0, -1, 2**24 + 1):
        with pytest.raises(ValueError, match="k must be an integer from 1 to 16777216"):
            TopK(bad)
        with pytest.raises(ValueError, match="n_counters must be an integer from 1 to 16777216"):
            TopK(1, n_counters=bad)
    with pytest.raises(ValueError, match=r"n_counters must be at least k = 10, got 9"):
        TopK(n_counters=9)
    with pytest.raises(ValueError, match="max_key_bytes must be an integer from 8 to 65535"):
        TopK(max_key_bytes=7)
    assert TopK(2**24).n_counters == 2**24 and TopK(100).n_counters == 1600 and TopK(1).n_counters == 1024
    for bad in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="relative_error must be a number in"):
            TopK.for_error(10, bad)
    with pytest.raises(ValueError, match=r"relative_error must be reached by 16777216 counters, got 1e-09"):
        TopK.for_error(10, 1e-9)
    for ask in (TopK().top, TopK().n_guaranteed):
        with pytest.raises(ValueError, match="k must be an integer of at least 0, got -1"):
            ask(-1)
        with pytest.raises(TypeError, match="k must be an integer"):
            ask(1.5)
    with pytest.raises(TypeError, match="cannot subtract"):
        TopK().subtract(TopK())


def test_keys_on_a_gpu_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="TopK has no GPU kernels"):
        TopK().to("gpu")


def test_hostile_states() -> None:
    sketch = TopK(2, n_counters=3, max_key_bytes=8).update(["a", "b", "c", "d"], [9, 7, 4, 3])
    free = TopK(2, n_counters=3, max_key_bytes=8).update(["a", "b"], [9, 7])

    def refused(given: TopK, name: str, place: Any, value: Any, match: str) -> None:
        twin = given.copy()
        twin._arrays[name][place] = value
        with pytest.raises(SketchFormatError, match=f"no state of a TopK: .*{match}"):
            TopK.from_bytes(twin.to_bytes())

    for value in (-1, 24, 2**63 - 1):
        refused(sketch, "maximum_error", 0, value, "maximum_error must be from 0 to total")
    refused(free, "maximum_error", 0, 1, "maximum_error must be from 0 to total, and 0 if counters are free")
    for value in (-1, 4):
        refused(sketch, "candidate_errors", 0, value, "candidate_errors must be from 0 to maximum_error")
    refused(free, "candidate_errors", 2, 1, "candidate_errors must be")
    refused(sketch, "candidate_counts", slice(None), 2, "must add up to maximum_error or more")
    refused(sketch, "candidate_counts", 0, 2**63 - 1, "must be at most total in all")
    refused(sketch, "total", 0, 22, "must be at most total in all")
    refused(sketch, "candidate_counts", 0, 0, "used records must come first")
    refused(sketch, "candidate_lengths", 0, 9, "lengths must be at most 8")
    refused(sketch, "candidate_hashes", 0, 1, "must be the hashes of candidate_keys")
    refused(sketch, "candidate_keys", (0, 7), 1, "records must be 0 after their keys")
    refused(free, "candidate_keys", (2, 0), 1, "free ones in all places")
    refused(free, "candidate_hashes", 2, 1, "free ones in all places")
    refused(sketch, "key_forms", 0, 1, "an integer key must have 8 bytes")
    refused(sketch, "key_forms", 0, 255, "key_forms must be those of")
    assert TopK.from_bytes(sketch.to_bytes()) == sketch
