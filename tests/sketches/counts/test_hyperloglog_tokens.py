"""Sketches of few keys: their lists of tokens, what they answer, and how they become registers."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mergesketch import HyperLogLog
from mergesketch.lsh import hash_keys
from mergesketch.sketches.core.file_format import pieces_of_file
from mergesketch.sketches.counts import hyperloglog_tokens as lists
from mergesketch.sketches.kernels.hyperloglog import drop_repeats, find_tokens
from naive import hyperloglog as naive

HASHES = st.integers(0, 2**64 - 1) | st.integers(0, 63).map(lambda k: 1 << k) | st.just(0)


def tokens_of(hashes: Any) -> np.ndarray:
    tokens = np.zeros(len(hashes), np.uint32)
    find_tokens(np.array(hashes, np.uint64), np.uint64(0), True, 0, len(hashes), tokens)
    return tokens


@given(st.lists(HASHES, max_size=40), st.lists(HASHES, max_size=40))
def test_lists_equal_the_naive_twin(ours: list[int], theirs: list[int]) -> None:
    nothing = np.zeros(0, np.uint32)
    rising = lists.joined(nothing, tokens_of(ours), np)
    assert rising.dtype == np.uint32 and rising.tolist() == naive.tokens(ours)
    assert lists.joined(rising, tokens_of(theirs), np).tolist() == naive.tokens(ours + theirs)


@given(st.lists(HASHES, max_size=40), st.sampled_from([8, 500, 512, 1 << 26]))
def test_a_token_has_the_register_of_its_hashes(hashes: list[int], n_registers: int) -> None:
    found = lists.hashes_of(tokens_of(hashes), lists.ENDS).tolist()
    for hashed, other in zip(hashes, found, strict=True):
        assert naive.place_and_value(hashed, n_registers) == naive.place_and_value(other, n_registers)


@given(st.lists(st.integers(1, 40), max_size=300), st.sampled_from([2, 8, 4096]))
def test_a_cache_drops_only_repeats(values: list[int], size: int) -> None:
    tokens = np.array(values, np.uint32)
    kept = tokens[: drop_repeats(tokens, np.zeros(size, np.uint32))].tolist()
    assert set(kept) == set(values) and len(kept) <= len(values)
    if size == 4096:
        assert len(kept) == len(set(values))


@pytest.mark.parametrize(("precision", "longest"), [(3, 2), (6, 16), (12, 1024), (17, 1 << 14)])
def test_a_list_ends_where_its_room_ends(precision: int, longest: int) -> None:
    sketch = HyperLogLog(precision, seed=2).update(np.arange(longest))
    assert not sketch.state["is_dense"].array[0] and sketch.cardinality() == pytest.approx(longest, abs=1)
    more = sketch.copy().update([-1])
    assert more.state["is_dense"].array[0]
    hashes = hash_keys([*range(longest), -1], 2).tolist()
    for place, value in (naive.place_and_value(hashed, 1 << precision) for hashed in hashes):
        assert more.state["registers"].array[place] >> 2 >= value
    # The sketch depends only on the set of keys, however the parts are cut.
    for cut in (1, longest // 2 + 1, longest):
        left = HyperLogLog(precision, seed=2).update(np.arange(cut))
        right = HyperLogLog(precision, seed=2).update(np.append(np.arange(cut, longest), -1))
        assert (left | right) == (right | left) == more
        assert (left | sketch) == (sketch | left) and not (left | sketch).state["is_dense"].array[0]
        assert ((more | left) | right) == (left | (right | more))


def test_long_batches_of_few_keys_keep_the_list() -> None:
    keys = np.random.default_rng(0).integers(0, 900, 60_000)
    sketch = HyperLogLog().update(keys)
    assert sketch.cardinality() == pytest.approx(900, abs=0.01)
    np.testing.assert_array_equal(sketch._tokens(), naive.tokens(hash_keys(np.arange(900)).tolist()))


# -- answers --------------------------------------------------------------------------------------


def test_a_thousand_keys_are_counted_exactly() -> None:
    sketches = [HyperLogLog(seed=seed).update(np.arange(1000)) for seed in range(200)]
    # One of 400 sketches has a pair of keys of one token.
    for right in (
        [round(sketch.cardinality()) == 1000 for sketch in sketches],
        [sketch.bounds() == (1000, 1000) for sketch in sketches],
    ):
        assert np.mean(right) > 0.9975 - 6.0 * math.sqrt(0.0025 / 200)


def test_pairs_of_one_token_are_as_frequent_as_stated() -> None:
    n, n_trials, rng = 1 << 13, 400, np.random.default_rng(1)
    found, errors, nothing = [], [], np.zeros(0, np.uint32)
    for _ in range(n_trials):
        ours, theirs = (
            lists.joined(nothing, tokens_of(hashes), np)
            for hashes in rng.integers(0, 2**64, (2, n), np.uint64)
        )
        either = lists.joined(ours, theirs, np).size
        found.append(lists.count_of_tokens(either) - 2 * n)
        errors.append(ours.size + theirs.size - either)
    hidden, shared = 2 * n * (2 * n - 1) / 2 / 3 / 2**26, lists.shared_variance(n, 0, n)
    assert abs(np.mean(found)) < 6.0 * math.sqrt(hidden / n_trials) + 1e-3
    # A Poisson variable of mean m has a variance of m, and a fourth central moment of m + 3 m**2.
    assert np.var(found) == pytest.approx(hidden, abs=6.0 * math.sqrt((hidden + 2 * hidden**2) / n_trials))
    assert np.mean(errors) == pytest.approx(shared, abs=6.0 * math.sqrt(shared / n_trials))


@pytest.mark.parametrize("confidence", [0.5, 0.95, 1.0 - 1e-6, 1.0 - 1e-12])
@pytest.mark.parametrize("n", [0, 1, 1000, 1 << 14])
def test_bounds_hold_the_hidden_keys(n: int, confidence: float) -> None:
    mean = n * n / 6 / 2**26
    chances = [math.exp(-mean) * mean**k / math.factorial(k) for k in range(40)]
    most = lists.most_hidden(n, confidence)
    assert sum(chances[most + 1 :]) <= 1.0 - confidence
    assert most == 0 or sum(chances[most:]) > (1.0 - confidence) * (1 - 1e-3)


def test_few_shared_keys_are_counted() -> None:
    a, b = HyperLogLog().update(np.arange(700)), HyperLogLog().update(np.arange(690, 1400))
    shared, std = a.intersection_cardinality(b, return_std=True)
    assert shared == pytest.approx(10, abs=0.01) and 0 < std < 0.1
    assert a.union_cardinality(b) == pytest.approx(1400, abs=0.01)
    assert a.jaccard(b) == pytest.approx(10 / 1400, abs=1e-5)
    many = HyperLogLog().update(np.arange(690, 50_000))
    shared, std = a.intersection_cardinality(many, return_std=True)
    assert (shared, std) == pytest.approx(many.intersection_cardinality(a, return_std=True))
    assert abs(shared - 10) < 6 * std
    assert a.union_cardinality(many) == pytest.approx((a | many).cardinality(), rel=1e-12)


def test_lists_are_downsized() -> None:
    fine = HyperLogLog(12, seed=3).update(np.arange(300))
    for precision in (11, 10, 9, 3):
        assert fine.downsize(precision) == HyperLogLog(precision, seed=3).update(np.arange(300))


# -- files ----------------------------------------------------------------------------------------


def test_small_sketches_make_small_files() -> None:
    few, many = (HyperLogLog(14).update(np.arange(n)) for n in (10, 10_000))
    assert len(many.to_bytes()) - len(few.to_bytes()) == pytest.approx(2**14 - 40, abs=16)
    assert len(pickle.dumps(few)) < 1000
    assert pickle.loads(pickle.dumps(few)) == few == HyperLogLog.from_bytes(few.to_bytes())
    assert "bytes, a list of 10 keys>" in repr(few) and " of 16,384 registers used>" in repr(many)


def test_files_without_lists_have_registers() -> None:
    old = HyperLogLog(5, seed=1).update(np.arange(100))
    arrays = {name: array for name, array in old._arrays.items() if name != "is_dense"}
    assert HyperLogLog.from_bytes(b"".join(pieces_of_file("HyperLogLog", old.config(), arrays))) == old
    few = HyperLogLog(5, seed=1).update([3])
    arrays = {"registers": few._dense_registers(), "n_updates": few._arrays["n_updates"]}
    read = HyperLogLog.from_bytes(b"".join(pieces_of_file("HyperLogLog", few.config(), arrays)))
    assert (read.cardinality(), read.bounds()) == (pytest.approx(1, abs=0.02), (1, 1))
    assert (read | few).cardinality() == read.cardinality() and (few | read) == (read | few)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([64 + 5, 64 + 5], "rising tokens"),
        ([128 + 5, 64 + 5], "rising tokens"),
        ([64], "rising tokens"),
        ([64 + 40], "rising tokens"),
        ([0, 64 + 5], "rising tokens"),
        ([64 + 1, 64 + 2, 64 + 3], "at most n_updates, 2, keys, got 3"),
    ],
)
def test_files_with_impossible_lists_are_refused(tokens: list[int], message: str) -> None:
    arrays: dict[str, Any] = dict(HyperLogLog(5).update([1, 2])._arrays)
    arrays["registers"] = np.zeros(32, np.uint8)
    arrays["registers"][: 4 * len(tokens)] = np.array(tokens, "<u4").view(np.uint8)
    with pytest.raises(ValueError, match=message):
        HyperLogLog(5)._check_state(arrays)


def test_files_with_other_flags_are_refused() -> None:
    arrays: dict[str, Any] = dict(HyperLogLog(17).update([1, 2])._arrays)
    with pytest.raises(ValueError, match="is_dense must be 0 or 1, got 2"):
        HyperLogLog(17)._check_state({**arrays, "is_dense": np.full(1, 2, np.uint8)})
    arrays["registers"][-1] = 4
    with pytest.raises(ValueError, match="registers must have zeros behind"):
        HyperLogLog(17)._check_state(arrays)
