"""HeavyHitters: what is found whatever the order, and how well against exact counts."""

from __future__ import annotations

import functools
import operator
from collections import Counter
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import CountMinSketch, HeavyHitters


def zipf_stream(seed: int, n: int = 60_000) -> np.ndarray:
    return np.random.default_rng(seed).zipf(1.3, n).astype(np.int64) % 1_000_000


def test_the_life_of_heavy_hitters(tmp_path: Any) -> None:
    sketch = HeavyHitters.for_error(0.1, relative_error=0.001, confidence=0.999, seed=7)
    assert sketch.top() == []
    assert sketch.query(["tea"]).tolist() == [0]
    monday = sketch.empty_like().update(["tea"] * 60 + ["cake"] * 30 + [f"dish {i}" for i in range(40)])
    assert monday.top() == [("tea", 60), ("cake", 30)]
    tuesday = sketch.empty_like().update(["Brötchen", "dish 3"], counts=[50, 1])
    week = monday | tuesday
    assert week.top() == [("tea", 60), ("Brötchen", 50), ("cake", 30)]
    assert week.top(1) == [("tea", 60)]
    assert week.total == 181
    assert week.n_updates == 132
    assert week.query(["dish 3", "dish 4", "nothing"]).tolist() == [2, 1, 0]
    assert week.upper_bound(["tea"])[0] == 60
    assert 55 <= week.lower_bound(["tea"])[0] <= 60
    week.save(tmp_path / "week.sketch")
    again = mergesketch.load(tmp_path / "week.sketch")
    assert again == week
    assert again.update(["jam"] * 100).top(2) == [("jam", 100), ("tea", 60)]


# -- keys come back as they were given ------------------------------------------------------------


def test_keys_come_back_in_their_type() -> None:
    import pyarrow as pa

    def top(keys: Any) -> list[Any]:
        return [key for key, _ in HeavyHitters(0.01).update(keys).top()]

    assert top(["a", "a", "日本語"]) == ["a", "日本語"]
    assert top(["", "", "x"]) == ["", "x"]
    assert top(pa.array(["a", "a", "b"])) == ["a", "b"]
    assert top(pa.array([b"a", b"a", b"\xff"])) == [b"a", b"\xff"]
    assert top([b"a\0b", b"a\0b", b""]) == [b"a\0b", b""]
    assert top(np.array([b"abc", b"abc", b"d"])) == [b"abc", b"d"]
    assert top([3, 3, -5]) == [3, -5]
    assert top([2**64 - 1]) == [2**64 - 1]
    for dtype in (np.int8, np.int64):
        assert top(np.array([-1, -1, 7], dtype=dtype)) == [-1, 7]
    assert top(np.array([200, 200, 7], dtype=np.uint8)) == [200, 7]
    assert top(np.array([2**63, 2**63, 7], dtype=np.uint64)) == [2**63, 7]
    assert top(range(3, 4)) == [3]
    assert top((3, 3)) == [3]
    for dtype in ("U5", object, np.dtypes.StringDType()):
        assert top(np.array(["é", "é", "b"], dtype=dtype)) == ["é", "b"]
    assert top(np.array([5, 5, -6], dtype=object)) == [5, -6]
    assert top(pa.array([5, 5, -6])) == [5, -6]
    assert top(pa.array([2**63, 2**63, 6], pa.uint64())) == [2**63, 6]
    assert top(pa.chunked_array([["x", "a"], [], ["a"]])) == ["a", "x"]
    assert top(pa.array(["a", "a", "b"]).dictionary_encode()) == ["a", "b"]
    assert top(pa.array(["skipped", "é", "é", "b"]).slice(1)) == ["é", "b"]
    for nothing in (
        [],
        (),
        range(0),
        np.array([], dtype=np.int8),
        pa.array([], pa.string()),
        pa.array([], pa.int8()),
    ):
        assert top(nothing) == []
    for key in top(np.array([200, 7])) + top(["a"]) + top([b"a"]):
        assert type(key) in (int, str, bytes)


def test_long_keys() -> None:
    import pyarrow as pa

    sketch = HeavyHitters(0.01, max_key_bytes=10).update(["x" * 10, "é" * 5])
    assert {key for key, _ in sketch.top()} == {"x" * 10, "é" * 5}
    before = sketch.copy()
    for long in (
        ["x" * 11],
        ["é" * 6],
        [b"x" * 11],
        ["short", "x" * 11],
        np.array([b"x" * 11]),
        pa.array(["x" * 11]),
    ):
        with pytest.raises(ValueError, match=r"keys must have at most max_key_bytes=10 bytes, got one of 1"):
            sketch.update(long)
        assert sketch == before
    assert sketch.query(["x" * 100]).shape == (1,)


def test_a_string_and_its_bytes_are_one_key() -> None:
    a, b = HeavyHitters(0.1).update(["tea"] * 2), HeavyHitters(0.1).update([b"tea"] * 3)
    assert (a | b).top() == (b | a).top() == [("tea", 5)]


# -- the guarantees -------------------------------------------------------------------------------

STREAMS = st.lists(st.lists(st.integers(0, 18), max_size=40), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    batches=STREAMS,
    frequency=st.sampled_from([0.03, 0.1]),
    n_rows=st.integers(1, 3),
    n_buckets=st.integers(1, 40),
    seed=st.integers(0, 2**64 - 1),
    data=st.data(),
)
def test_every_frequent_key_is_found(
    batches: list[list[int]], frequency: float, n_rows: int, n_buckets: int, seed: int, data: st.DataObject
) -> None:
    """However bad the table's estimates, in any order of merges; the keys are no more than candidates."""
    empty = HeavyHitters(frequency, n_rows=n_rows, n_buckets=n_buckets, max_key_bytes=8, seed=seed)
    assert empty.n_candidates >= 19
    parts = [empty.empty_like().update(batch) for batch in batches]
    while len(parts) > 1:
        i = data.draw(st.integers(0, len(parts) - 2))
        parts[i : i + 2] = [parts[i] | parts[i + 1]]
    truth = Counter(key for batch in batches for key in batch)
    found = dict(parts[0].top())
    for key, count in truth.items():
        if count > empty.frequency * truth.total():
            assert found[key] >= count
    one_pass = empty.empty_like().update([key for batch in batches for key in batch])
    np.testing.assert_array_equal(one_pass.state["counts"].array, parts[0].state["counts"].array)
    for sketch in (one_pass, parts[0]):
        reported = sketch.top()
        assert [count for _, count in reported] == sorted((c for _, c in reported), reverse=True)
        assert all(count > empty.frequency * truth.total() for _, count in reported)
        assert all(count == sketch.query([key])[0] for key, count in reported)


def test_results_do_not_depend_on_order_batches_or_merges() -> None:
    keys = zipf_stream(0)
    whole = HeavyHitters(0.002).update(keys)
    assert len(whole.top()) > 20
    rng = np.random.default_rng(1)
    for _ in range(5):
        parts = [HeavyHitters(0.002) for _ in range(4)]
        for batch in np.array_split(rng.permutation(keys), 23):
            parts[rng.integers(4)].update(batch)
        rng.shuffle(parts)
        merged = functools.reduce(operator.or_, parts)
        assert merged == whole
        assert merged.top() == whole.top()
    # Sorted by frequency, each way, too: the worst orders for summaries that forget.
    counts = Counter(keys.tolist())
    rising = np.array(sorted(keys.tolist(), key=lambda key: (counts[key], key)))
    for order in (rising, rising[::-1]):
        split = HeavyHitters(0.002)
        for batch in np.array_split(order, 50):
            split.update(batch)
        assert split == whole


@pytest.mark.parametrize("seed", range(5))
def test_answers_against_exact_counts(seed: int) -> None:
    keys = zipf_stream(seed)
    truth = Counter(keys.tolist())
    sketch = HeavyHitters(0.001, seed=seed).update(keys)
    found = dict(sketch.top())
    frequent = {key for key, count in truth.items() if count > 0.001 * keys.size}
    assert frequent <= found.keys()
    assert all(count >= truth[key] for key, count in found.items())
    # A key under half the share is reported with probability at most exp(-5).
    wrong = [key for key in found if truth[key] < 0.0005 * keys.size]
    assert len(wrong) <= np.exp(-5) * len(truth)
    errors = np.array([count - truth[key] for key, count in found.items()])
    assert (errors >= 0.0005 * keys.size).mean() <= np.exp(-5)
    exact = sorted(truth.items(), key=lambda item: -item[1])[:10]
    assert [key for key, _ in sketch.top(10)] == [key for key, _ in exact]


def test_the_table_is_a_count_min_table() -> None:
    keys = zipf_stream(1, 5000)
    sketch = HeavyHitters(0.05, n_rows=3, n_buckets=70, seed=9).update(keys)
    table = CountMinSketch(3, 70, seed=9).update(keys)
    np.testing.assert_array_equal(sketch.state["counts"].array, table.state["counts"].array)
    np.testing.assert_array_equal(sketch.lower_bound(keys, 0.9), table.lower_bound(keys, 0.9))


def test_more_candidates_than_room() -> None:
    """A table far too small makes every key look frequent: the largest estimates are kept."""
    keys = np.concatenate([np.arange(100), np.arange(40)])
    for n_buckets in (1, 3):
        sketch = HeavyHitters(0.5, n_rows=1, n_buckets=n_buckets, max_key_bytes=8).update(keys)
        assert sketch.n_candidates == 4
        other = HeavyHitters(0.5, n_rows=1, n_buckets=n_buckets, max_key_bytes=8)
        for part in np.array_split(keys[::-1], 3):
            other = other | other.empty_like().update(part)
        assert other.top() == sketch.top()
    # Where keys of three heavy buckets compete, those of the heaviest one stay.
    uneven = HeavyHitters(0.01, n_rows=1, n_buckets=3, max_key_bytes=8, seed=1)
    uneven.update(np.arange(1000))
    kept = [key for key, _ in uneven.top()]
    assert len(kept) == uneven.n_candidates == 200
    estimates = uneven.query(np.arange(1000))
    assert (estimates == estimates.max()).sum() > 200
    assert set(uneven.query(kept)) == {estimates.max()}


def test_weights_count_as_repetitions() -> None:
    keys = zipf_stream(2, 20_000)
    distinct, counts = np.unique(keys, return_counts=True)
    by_weight = HeavyHitters(0.01).update(distinct, counts)
    one_by_one = HeavyHitters(0.01).update(keys)
    assert by_weight.top() == one_by_one.top()
    assert by_weight.total == one_by_one.total


# -- arguments ------------------------------------------------------------------------------------


def test_bad_arguments() -> None:
    for bad in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="frequency must be a number in"):
            HeavyHitters(bad)
    with pytest.raises(ValueError, match="frequency must be at least 1e-07"):
        HeavyHitters(1e-9)
    with pytest.raises(TypeError, match="frequency must be a number"):
        HeavyHitters("often")
    for bad in (7, 65536):
        with pytest.raises(ValueError, match="max_key_bytes must be an integer from 8 to 65535"):
            HeavyHitters(0.1, max_key_bytes=bad)
    with pytest.raises(ValueError, match="relative_error must be a number in"):
        HeavyHitters.for_error(0.1, relative_error=0.06)
    with pytest.raises(ValueError, match="relative_error must be above 0"):
        HeavyHitters.for_error(0.1, relative_error=0.0)
    with pytest.raises(ValueError, match="k must be an integer of at least 0, got -1"):
        HeavyHitters(0.1).top(-1)
    with pytest.raises(TypeError, match="cannot subtract"):
        HeavyHitters(0.1).subtract(HeavyHitters(0.1))


def test_for_error_sizes_the_table() -> None:
    sketch = HeavyHitters.for_error(0.01)
    assert (sketch.n_rows, sketch.n_buckets) == (5, 544)
    assert HeavyHitters(0.01).n_buckets == 544
    assert HeavyHitters.for_error(0.01, relative_error=0.0001, confidence=0.999).n_buckets == 27183
