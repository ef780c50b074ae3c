"""Test Bloom filters that grow: their bits against slow ones, their error rate at any size, and merges."""

from __future__ import annotations

import copy
import functools
import itertools
import math
import operator
import pickle
import warnings
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import BloomFilter, ScalableBloomFilter
from mergesketch.errors import IncompatibleSketchError, SaturationWarning, SketchFormatError
from mergesketch.lsh.hashing.keys import hash_keys
from mergesketch.sketches.core.file_format import pieces_of_file
from mergesketch.sketches.sets import bloom_slices
from naive import bloom_filter as naive

quickly = settings(max_examples=60, deadline=None)


def numbers(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


def keys_of(held: ScalableBloomFilter) -> list[int]:
    return held._arrays["slices"][:, 3].tolist()


# -- a life story ---------------------------------------------------------------------------------


def test_the_life_of_a_growing_filter(tmp_path: Any) -> None:
    seen = ScalableBloomFilter(0.01, initial_capacity=100, seed=7)
    assert seen.contains(["tea"]).tolist() == [False] and "tea" not in seen
    assert (seen.n_updates, seen.n_slices, seen.nbytes, seen.cardinality()) == (0, 0, 17, 0.0)
    assert seen.false_positive_rate() == 0.0
    seen.update(["tea", "cake", "tea"]).update("milk")
    assert seen.contains(["cake", "jam", "milk"]).tolist() == [True, False, True]
    assert seen.contains("tea") is True and "milk" in seen and b"tea" in seen
    assert (seen.n_updates, seen.n_slices, seen.cardinality()) == (4, 1, 3.0)
    words = [f"word {i}" for i in range(1000)]
    seen.update(words)
    assert seen.n_slices == 4 and seen.contains(words).all() and "tea" in seen
    assert f"1,004 updates, 4 slices, about {seen.cardinality():,.0f} keys" in repr(seen)
    seen.save(tmp_path / "seen.sketch")
    for twin in (
        mergesketch.load(tmp_path / "seen.sketch"),
        ScalableBloomFilter.load(tmp_path / "seen.sketch", mmap=True),
        ScalableBloomFilter.from_bytes(seen.to_bytes()),
        pickle.loads(pickle.dumps(seen)),
        copy.copy(seen),
        copy.deepcopy(seen),
    ):
        assert twin == seen and twin.n_updates == 1004
        # All of them go on as the filter does.
        before = seen.to_bytes()
        twin.update(words[::-1] * 2).update("more")
        assert twin == seen.copy().update(words[::-1] * 2).update("more") and seen.to_bytes() == before
    assert seen.empty_like() == ScalableBloomFilter(0.01, initial_capacity=100, seed=7) != seen


# -- against the slow filter ----------------------------------------------------------------------


@quickly
@given(
    capacity=st.integers(1, 9),
    error_rate=st.sampled_from([0.9, 0.3, 0.01]),
    seed=st.integers(0, 2**64 - 1),
    keys=st.lists(st.integers(0, 60) | st.integers(0, 2**64 - 1), max_size=120),
    cuts=st.lists(st.integers(0, 120), max_size=4),
)
def test_bits_equal_the_slow_ones_however_keys_are_cut(
    capacity: int, error_rate: float, seed: int, keys: list[int], cuts: list[int]
) -> None:
    held = ScalableBloomFilter(error_rate, initial_capacity=capacity, seed=seed)
    sizes = [bloom_slices.slice_size(capacity, error_rate, level) for level in range(8)]
    slow = naive.ScalableFilter(capacity, sizes)
    for h in hash_keys(keys, seed).tolist():
        slow.add(h)
    bounds = [0, *sorted(cuts), len(keys)]
    for low, high in itertools.pairwise(bounds):
        held.update(keys[low:high])
    assert held == held.empty_like().update(keys)
    assert keys_of(held) == slow.n_keys and held.n_updates == len(keys)
    for part, places in zip(held._slices(), slow.slices, strict=True):
        assert part.blocks.tolist() == naive.bloom_blocks(places, part.n_blocks)
    asked = [*keys, *range(100, 150)]
    assert held.contains(asked).tolist() == [slow.has(h) for h in hash_keys(asked, seed).tolist()]
    assert held.contains(keys).all()


def test_threads_and_large_batches_change_nothing() -> None:
    keys = np.concatenate(
        [numbers(0, 60_000), np.full(20_000, 7, np.uint64), np.arange(50_000, dtype=np.uint64)]
    )
    before, filters = mergesketch.get_num_threads(), []
    try:
        for n in (1, 4):
            mergesketch.set_num_threads(n)
            filters.append(ScalableBloomFilter(0.01, initial_capacity=1000).update(keys))
    finally:
        mergesketch.set_num_threads(before)
    cut = ScalableBloomFilter(0.01, initial_capacity=1000)
    for part in np.array_split(keys, 37):
        cut.update(part)
    assert filters[0] == filters[1] == cut
    assert cut.contains(keys).all()


# -- the error rate -------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [0.3, 0.01, 1e-4])
def test_the_rates_of_slices_sum_to_the_error_rate(wanted: float) -> None:
    rates = [bloom_slices.slice_rate(1000, wanted, level) for level in range(29)]
    assert sum(rates) <= wanted
    for level in range(8):
        n_blocks, n_hashes = bloom_slices.slice_size(1000, wanted, level)
        exact = BloomFilter(n_blocks=n_blocks, n_hashes=n_hashes).expected_error_rate(1000 * 2**level)
        assert exact <= rates[level]
    # 64-bit hashes of very many keys do not allow a low rate.
    assert bloom_slices.slice_rate(1000, 1e-9, 29) == 4 * 1000 * 2**29 / 2**64
    with pytest.raises(OverflowError, match="more than 1,099,511,627,776 keys"):
        bloom_slices.slice_capacity(1000, 31)


@pytest.mark.parametrize("wanted", [0.2, 0.01])
@pytest.mark.parametrize("n_keys", [50, 100, 101, 5000, 60_000])
def test_absent_keys_pass_no_more_often_than_stated(wanted: float, n_keys: int) -> None:
    """The rate by the bits is below the stated one, and that of 200,000 keys within 6 standard errors."""
    asked = numbers(10**6, 200_000)
    for kept in (numbers(1, n_keys), np.arange(n_keys), np.arange(n_keys) << 40):
        held = ScalableBloomFilter(wanted, initial_capacity=100).update(kept)
        rate = held.false_positive_rate()
        assert held.contains(kept).all()
        assert rate <= wanted
        assert abs(held.contains(asked).mean() - rate) < 6 * math.sqrt(rate / asked.size) + 1e-9
        # Keys that passed by mistake are not counted.
        assert n_keys * (1 - wanted) - 6 * math.sqrt(n_keys * wanted) <= held.cardinality() <= n_keys


def test_memory_is_as_the_documentation_states() -> None:
    bits = n_keys = 0
    for level in range(13):
        bits += 512 * bloom_slices.slice_size(10_000, 0.01, level)[0]
        if level:
            assert 31.5 < bits / n_keys < 43
        n_keys += bloom_slices.slice_capacity(10_000, level)
        assert 13.5 < bits / n_keys < 21


def test_repeated_keys_take_no_room() -> None:
    held = ScalableBloomFilter(0.01, initial_capacity=10)
    for _ in range(50):
        held.update(list(range(10)) * 3)
    assert held.n_slices == 1 and keys_of(held) == [10] and held.n_updates == 1500


# -- merging --------------------------------------------------------------------------------------


@quickly
@given(
    st.lists(st.lists(st.integers(0, 99), max_size=70), min_size=3, max_size=3),
    st.integers(1, 8),
    st.sampled_from([0.9, 0.05]),
)
def test_merged_filters_have_all_keys_and_their_errors_add_up(
    batches: list[list[int]], capacity: int, error_rate: float
) -> None:
    empty = ScalableBloomFilter(error_rate, initial_capacity=capacity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        a, b, c = (empty.copy().update(keys) for keys in batches)
        before = [part.to_bytes() for part in (a, b, c)]
        assert a | b == b | a
        assert all(np.array_equal((a | a)._arrays[name], a._arrays[name]) for name in ("blocks", "slices"))
        assert a | empty == a == empty | a == a.copy().merge()
        every = [a | b | c, a | (b | c), a.copy().merge(b, c), sum([a, b, c])]
    keys = [key for batch in batches for key in batch]
    assert [part.to_bytes() for part in (a, b, c)] == before
    rates = [bloom_slices.slice_rate(capacity, error_rate, level) for level in range(8)]
    for merged in every:
        assert merged.n_updates == len(keys) and merged.contains(keys).all()
        slices = merged._arrays["slices"]
        # No slice has more keys than its capacity, so each keeps its rate.
        assert (slices[:, 3] <= capacity * 2 ** slices[:, 0]).all()
        bound = sum(rates[level] for level in slices[:, 0].tolist())
        assert bound <= sum(sum(rates[: part.n_slices]) for part in (a, b, c)) + 1e-12
        assert ScalableBloomFilter.from_bytes(merged.to_bytes()) == merged
        # It goes on growing, and keeps all keys.
        merged.update(range(1000, 1100))
        assert merged.contains([*keys, *range(1000, 1100)]).all()
        assert (merged._arrays["slices"][:, 3] <= capacity * 2 ** merged._arrays["slices"][:, 0]).all()
        assert ScalableBloomFilter.from_bytes(merged.to_bytes()) == merged


def test_slices_join_where_there_is_room() -> None:
    parts = [
        ScalableBloomFilter(0.01, initial_capacity=1000).update(np.arange(90) + 90 * i) for i in range(30)
    ]
    joined = functools.reduce(operator.or_, parts)
    assert joined.n_slices == 3 and joined.contains(np.arange(2700)).all()
    assert joined.false_positive_rate() < 0.01
    at_once = parts[0].copy().merge(parts[1:])
    assert at_once.n_slices == 3 and at_once.contains(np.arange(2700)).all()
    assert at_once == parts[-1].copy().merge(parts[-2::-1])


def test_a_merged_filter_above_its_error_rate_warns_once() -> None:
    parts = [ScalableBloomFilter(0.01, initial_capacity=1000).update(numbers(i, 15_000)) for i in range(4)]
    message = (
        r"the merged ScalableBloomFilter of 1\d slices passes an absent key .* above its error_rate of 0\.01"
    )
    with pytest.warns(SaturationWarning, match=message) as caught:
        merged = parts[0].copy().merge(parts[1:])
    assert [warning.filename for warning in caught] == [__file__]
    assert 0.01 < merged.false_positive_rate() < 4 * 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        merged.merge(parts[0])
        parts[0].copy().merge(parts[0])


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"error_rate must be a number in \(0, 1\)", {"error_rate": 0.0}),
        (TypeError, "error_rate", {"error_rate": "1%"}),
        (
            ValueError,
            "error_rate must be at least 1.08e-14 for an initial_capacity of 10,000",
            {"error_rate": 1e-15},
        ),
        (ValueError, "initial_capacity must be an integer from 1 to", {"initial_capacity": 0}),
        (ValueError, "initial_capacity", {"initial_capacity": 2**24 + 1}),
        (TypeError, "initial_capacity", {"initial_capacity": 5.0}),
        (ValueError, "seed", {"seed": -1}),
    ],
)
def test_bad_parameters_are_refused(error: type, message: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        ScalableBloomFilter(**arguments)


def test_bad_keys_and_partners_are_refused() -> None:
    held = ScalableBloomFilter(0.1, initial_capacity=2).update([1, 2, 3])
    before = held.to_bytes()
    bad: Any
    for bad in ([1, "a"], [1.5], np.array([1.0]), [True], None, 3.5, np.zeros((2, 2), int), [2**64]):
        for method in (held.update, held.contains):
            with pytest.raises((TypeError, ValueError), match="keys"):
                method(bad)
    for other in (ScalableBloomFilter(0.2, initial_capacity=2), ScalableBloomFilter(0.1), BloomFilter(10), 3):
        with pytest.raises(IncompatibleSketchError):
            held.merge(other)
    assert held.to_bytes() == before


def test_keys_of_another_kind_are_refused() -> None:
    numbers, words = (
        ScalableBloomFilter(0.1, initial_capacity=2).update(keys) for keys in ([17, 18], ["17"])
    )
    for held in (numbers, ScalableBloomFilter.from_bytes(numbers.to_bytes()), numbers | numbers.empty_like()):
        before = held.to_bytes()
        for call in (held.update, held.contains, held.__contains__):
            with pytest.raises(TypeError, match=r"keys must be integers as before, got strings .*remembers"):
                call(["17"] if call != held.__contains__ else "17")
        with pytest.raises(IncompatibleSketchError, match="sketches hold integers in one and strings"):
            held.merge(held.empty_like(), words)
        assert held.to_bytes() == before
    words.update(["tea", None], nulls="skip")
    assert words.n_updates == 2 and b"tea" in words
    with pytest.raises(TypeError, match="null"):
        words.update(["tea", None])


def test_memory_that_is_missing_changes_nothing(monkeypatch: Any) -> None:
    held = ScalableBloomFilter(0.1, initial_capacity=5).update(range(5))
    before = held.to_bytes()

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError("no memory")

    monkeypatch.setattr("mergesketch.sketches.sets.scalable_bloom_filter.np.zeros", fail)
    with pytest.raises(MemoryError):
        held.update(range(100))
    monkeypatch.undo()
    assert held.to_bytes() == before


def test_files_that_ask_for_more_than_they_have_are_refused() -> None:
    held = ScalableBloomFilter(0.1, initial_capacity=50).update(range(120))
    arrays = held._arrays
    assert held.n_slices == 2
    for row, column, value, message in (
        (1, 0, 20, "no slice of level 20 has"),
        (1, 0, 2**62, "slices must have levels"),
        (1, 0, -1, "slices must have levels"),
        (1, 1, 10**6, "slices must have"),
        (1, 1, -5, "no slice of level 1 has -5 blocks"),
        (0, 2, 0, "and 0 hashes"),
        (0, 2, 64, "and 64 hashes"),
        (0, 3, 51, "no slice of level 0 has 51 keys"),
        (0, 3, -1, "has -1 keys"),
    ):
        slices = arrays["slices"].copy()
        slices[row, column] = value
        forged = b"".join(
            bytes(piece)
            for piece in pieces_of_file("ScalableBloomFilter", held.config(), {**arrays, "slices": slices})
        )
        with pytest.raises(SketchFormatError, match=message):
            ScalableBloomFilter.from_bytes(forged)
    for name, array in (
        ("slices", arrays["slices"][::-1]),
        ("n_updates", np.array([-1])),
        ("key_forms", np.array([5], np.uint8)),
        ("key_forms", np.zeros(0, np.uint8)),
        ("part_forms", np.zeros(3, np.uint8)),
    ):
        forged = b"".join(
            bytes(piece)
            for piece in pieces_of_file(
                "ScalableBloomFilter", held.config(), {**arrays, name: np.ascontiguousarray(array)}
            )
        )
        with pytest.raises(SketchFormatError):
            ScalableBloomFilter.from_bytes(forged)
