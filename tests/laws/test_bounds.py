"""Test that kernels which write where counts and codes point to stay within their arrays.

They are compiled with checks of every index, in their own process with their own cache. The calls are
unusual: ids added many times, more counts than tables, capacities at their limits.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mergesketch import LSHIndex, NadarayaWatsonSketch, Race
from mergesketch.lsh import SignedRandomProjection
from mergesketch.lsh.support.backend import read_only
from mergesketch.sketches.kernels.index_query import frequent_ids
from naive import index as naive
from toy_family import ToyFamily

GUARD = 2**32 - 1


def frequent(
    buckets: list[list[list[int]]], codes: list[list[list[int]]], room: list[int], direct: bool
) -> list[list[int]]:
    """Run `frequent_ids` into an array with guards before, between and after the ranges of the queries."""
    capacity = max(1, max(len(bucket) for table in buckets for bucket in table))
    slots = np.zeros((len(buckets), len(buckets[0]), capacity), np.uint32)
    for t, table in enumerate(buckets):
        for w, bucket in enumerate(table):
            slots[t, w, : len(bucket)] = np.array(bucket, np.uint32) + 1
    sizes = np.zeros(len(codes), np.int64)
    out = np.full(sum(room) + 64, GUARD, np.uint32)
    offsets = 32 + np.concatenate([[0], np.cumsum(room)]).astype(np.int64)
    counters = np.zeros(1000 if direct else 0, np.uint16)
    codes = read_only(np.array(codes, np.uint32))
    frequent_ids(slots, codes, offsets, counters, 0, len(codes), out, sizes)
    assert not counters.any()
    found = []
    for i, size in enumerate(sizes.tolist()):
        found.append(out[offsets[i] : offsets[i] + size].tolist())
        out[offsets[i] : offsets[i] + size] = GUARD
    assert (out == GUARD).all(), "written beside the rooms"
    return found


@given(st.data())
def test_ids_found_often_stay_in_their_room(data: Any) -> None:
    tables, width, probes = (data.draw(st.integers(1, n)) for n in (4, 3, 2))
    # There are few different ids, so that most occur in a bucket several times.
    bucket = st.lists(st.integers(0, 5), max_size=12)
    buckets = data.draw(
        st.lists(st.lists(bucket, min_size=width, max_size=width), min_size=tables, max_size=tables)
    )
    code = st.lists(st.integers(0, width - 1), min_size=probes, max_size=probes)
    codes = data.draw(st.lists(st.lists(code, min_size=tables, max_size=tables), min_size=1, max_size=4))
    room = data.draw(st.lists(st.integers(0, 8), min_size=len(codes), max_size=len(codes)))
    kept = {(t, w): ids for t, table in enumerate(buckets) for w, ids in enumerate(table)}
    for direct in (False, True):
        found = frequent(buckets, codes, room, direct)
        for query, most, ids in zip(codes, room, found, strict=True):
            # All have one distance, and the number asked for is the room, so all candidates are expected.
            expected, _ = naive.index_search(kept, query, most, [0.0] * 6, most)
            assert sorted(slot - 1 for slot in ids) == [number for number in expected if number >= 0]


@pytest.mark.parametrize("n_candidates", [1, 2, 3, 1999, 2000, 2001, None])
def test_every_row_added_twice(n_candidates: int | None) -> None:
    X = np.ones((2000, 4), np.float32)
    family = SignedRandomProjection(4, n_hashes=2, power=2, seed=1)
    index = LSHIndex(family, capacity=4096).add(X, np.arange(2000)).add(X, ids=np.arange(2000))
    for _ in range(2):
        ids, distances = index.search(X[:64], X, k=3, n_candidates=n_candidates)
        expected = [0, 1, 2][: n_candidates or 3]
        assert (ids[:, : len(expected)] == expected).all()
        assert (ids[:, len(expected) :] == -1).all()
        np.testing.assert_allclose(distances[:, : len(expected)], 0.0, atol=1e-7)


@pytest.mark.parametrize("capacity", [1, 2, 63, 64, 65, 4096, 4097])
def test_capacities_at_their_limits(capacity: int) -> None:
    # The rows of one bucket fill it, or are one fewer or one more, and all have one id.
    family = ToyFamily(1, 3, 2)
    for n in (capacity - 1, capacity, capacity + 1):
        index = LSHIndex(family, capacity=capacity).add(np.zeros((n, 1), int), [4] * n)
        index.merge(index.copy())
        found = min(2 * n, capacity)
        ids, counts = index.query([[0], [1]], k=2)
        assert ids.tolist() == [[4 if n else -1, -1], [-1, -1]]
        assert counts.tolist() == [[3 * found, 0], [0, 0]]
        assert LSHIndex.from_bytes(index.to_bytes()) == index


class Liar(ToyFamily):
    """A family of a user that breaks its promise."""

    def hash(self, X: Any) -> np.ndarray:
        codes = np.zeros((len(X), self.n_hashes), np.uint32)
        codes[-1:] = {"beyond": self.n_buckets}.get(self.lie, 0)
        return codes.astype(np.int64) - 1 if self.lie == "signed" else codes

    lie = ""


@pytest.mark.parametrize(
    ("lie", "error", "message"),
    [
        ("beyond", ValueError, "Liar must hash to codes below its n_buckets = 4, got 4"),
        ("signed", TypeError, "Liar must hash to codes of dtype uint32, got int64"),
    ],
)
def test_codes_of_a_users_family_are_looked_at(lie: str, error: type[Exception], message: str) -> None:
    family = Liar(1, 3)
    family.lie = lie
    X = np.zeros((9, 1))
    for update in (
        LSHIndex(family).add,
        Race(family).update,
        lambda X: NadarayaWatsonSketch(family).update(X, np.ones(9)),
        Race(family).query,
    ):
        with pytest.raises(error, match=message):
            update(X)


@pytest.mark.skipif("NUMBA_BOUNDSCHECK" in os.environ, reason="this is that run")
@pytest.mark.slow
def test_nothing_is_written_beside_an_array(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"]
    # Only tests that compile little are run, because compiling takes longest.
    arguments = ["-q", "-p", "no:cacheprovider", "-k", "found_often", __file__]
    run = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    assert "1 passed" in run.stdout
