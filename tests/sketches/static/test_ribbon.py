"""Test ribbons against their definition: integers in place of words, one bit of one key at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.sketches.kernels.ribbon import BUCKET, insert_all, window_of
from mergesketch.sketches.static.ribbon import Shard, lay_out, solve
from naive import ribbon as naive


def shard(n: int, seed: int) -> Shard:
    rng = np.random.default_rng(seed)
    keys = np.unique(rng.integers(0, 2**64, n, dtype=np.uint64))
    return Shard.of(keys, np.sort(rng.integers(0, 2**64, keys.size, dtype=np.uint64)))


def reads(found: Shard, solved, width: int, longest: int, lengths=None) -> list[int]:
    sizes = solved.sizes.tolist()
    parts = naive.ribbon_parts(sizes, width, longest, solved.words)
    return [
        naive.read_ribbon(
            sizes, solved.thresholds, parts, key, place, None if lengths is None else int(lengths[i])
        )
        for i, (key, place) in enumerate(zip(found.keys.tolist(), found.places.tolist(), strict=True))
    ]


@given(st.integers(0, 2**64 - 1))
def test_window_is_the_definitions(key: int) -> None:
    low, high = window_of(np.uint64(key))
    assert int(low) | int(high) << 64 == naive.ribbon_window(key)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([0, 1, 2, 300, 2500, 6000]), st.integers(1, 64), st.integers(0, 2**32))
def test_fixed_ribbons_hold_every_word(n: int, width: int, seed: int) -> None:
    some = shard(n, seed)
    words = np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)[: some.keys.size]
    words &= np.uint64(2**width - 1)
    solved = solve(some, words, None, width)
    assert reads(some, solved, width, 1) == words.tolist()


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([0, 1, 2, 300, 2000, 6000]), st.integers(1, 24), st.integers(0, 2**32))
def test_variable_ribbons_hold_every_code_word(n: int, longest: int, seed: int) -> None:
    some = shard(n, seed)
    rng = np.random.default_rng(seed)
    # Skewed as codes are: most are short.
    lengths = np.minimum(rng.geometric(0.4, some.keys.size), longest).astype(np.uint8)
    words = rng.integers(0, 2**64, some.keys.size, dtype=np.uint64)
    words &= (np.uint64(1) << lengths.astype(np.uint64)) - np.uint64(1)
    solved = solve(some, words, lengths, 1, longest)
    assert reads(some, solved, 1, longest, lengths) == words.tolist()


@pytest.mark.parametrize("crowd", [1, 40, 100])
def test_keys_of_one_place_are_bumped_not_lost(crowd: int) -> None:
    some = shard(5000, 1)
    places = some.places.copy()
    places[2000 : 2000 + crowd] = places[2000]
    crowded = Shard.of(some.keys, np.sort(places))
    words = np.arange(some.keys.size, dtype=np.uint64) & np.uint64(7)
    solved = solve(crowded, words, None, 3)
    assert reads(crowded, solved, 3, 1) == words.tolist()


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.data())
def test_rows_fit_exactly_if_the_system_has_a_solution(data: st.DataObject) -> None:
    """Elimination within windows agrees with elimination of the whole matrix."""
    n_slots = data.draw(st.integers(1, 8))
    n = data.draw(st.integers(1, 140))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    # Windows of few different rows, so that some depend on each other.
    lows = rng.integers(0, 2 ** data.draw(st.integers(1, 8)), n, dtype=np.uint64) | np.uint64(1)
    highs = rng.integers(0, 2 ** data.draw(st.integers(0, 2)), n, dtype=np.uint64)
    places = np.sort(rng.integers(0, 2**64, n, dtype=np.uint64))
    words = rng.integers(0, 2, n, dtype=np.uint64) * np.uint64(data.draw(st.booleans()))
    rows = [np.zeros(192, np.uint64), np.empty(192, np.uint64), np.zeros(192, np.uint64)]
    done = insert_all(places, lows, highs, words, np.ones(n, np.uint8), np.uint64(1), n_slots, *rows)
    dense = [
        (low | high << 64) << ((place >> 32) * n_slots >> 32)
        for low, high, place in zip(lows.tolist(), highs.tolist(), places.tolist(), strict=True)
    ]
    assert done == naive.is_consistent(dense, words.tolist())


def test_layout_counts_every_word() -> None:
    """The parts lie where the words that solving gives lie."""
    ribbons = [(1, 12), (5, 1)]
    solved = []
    for s in range(3):
        some = shard(3000 + 2000 * s, s)
        lengths = np.full(some.keys.size, 12, dtype=np.uint8)
        words = np.zeros(some.keys.size, dtype=np.uint64)
        solved.append([solve(some, words, lengths, 1, 12), solve(some, words, None, 5)])
    sizes = np.array([[s[r].sizes for s in solved] for r in range(2)], dtype=np.uint32)
    plan, n_words, n_buckets = lay_out(sizes, ribbons)
    assert n_words == sum(part.words.size for s in solved for part in s)
    assert n_buckets == sum(part.thresholds.size for s in solved for part in s)
    first = bucket = 0
    for s in range(3):
        for r in range(2):
            part = solved[s][r]
            assert plan[r, s, 0] == first and plan[r, s, 6] == bucket
            assert plan[r, s, 1] * BUCKET < 2**32
            first, bucket = first + part.words.size, bucket + part.thresholds.size
