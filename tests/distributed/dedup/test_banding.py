"""Test banding and connected components against plain references and theory."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed import Communicator
from mergesketch.distributed.dedup.banding import matching_pairs, owner_of
from mergesketch.distributed.dedup.components import connected_components
from mergesketch.distributed.kernels.banding import bucket_pairs, sorted_overlap
from naive import dedup as naive
from naive.minhash import jaccard
from night import NUMBERS_OF_RANKS
from ranks import Ranks, needs_mpi

ALONE = Communicator(None)


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(st.integers(0, 5), max_size=40),
    limit=st.integers(0, 6),
)
def test_bucket_pairs(keys: list[int], limit: int) -> None:
    ordered = np.sort(np.array(keys, dtype=np.uint64))
    nothing = np.empty(0, dtype=np.int64)
    n = bucket_pairs(ordered, limit, nothing, nothing)
    left, right = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    if n:
        bucket_pairs(ordered, limit, left, right)
    found = list(zip(left.tolist(), right.tolist(), strict=True))
    assert len(set(found)) == len(found)
    assert set(found) == naive.bucket_pairs(ordered.tolist(), limit)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_matching_pairs(data: st.DataObject) -> None:
    """All pairs of equal keys are found in any order of input, the smaller id first, with their places."""
    n = data.draw(st.integers(0, 60))
    keys = data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    ids = data.draw(st.permutations(range(100, 100 + n)))
    pairs, places, crowded = matching_pairs(
        np.array(keys, dtype=np.uint64) << np.uint64(60),
        np.array(ids, dtype=np.uint64),
        np.array(ids, dtype=np.uint64) * np.uint64(7),
        ALONE,
    )
    expected = {
        (min(a, b), max(a, b))
        for i, (k, a) in enumerate(zip(keys, ids, strict=True))
        for m, b in zip(keys[:i], ids[:i], strict=True)
        if k == m
    }
    assert sorted(map(tuple, pairs.tolist())) == sorted(expected)
    np.testing.assert_array_equal(places, pairs * 7)
    assert not len(crowded)


def test_large_buckets_cost_in_proportion() -> None:
    n = 5000
    ids = np.random.default_rng(0).permutation(n).astype(np.uint64)
    # Two buckets: a crowded one, and one in which all are compared.
    keys = np.append(np.zeros(n, dtype=np.uint64), np.full(50, 7, dtype=np.uint64))
    every = np.append(ids, np.arange(n, n + 50, dtype=np.uint64))
    pairs, _, crowded = matching_pairs(keys, every, every, ALONE)
    assert sorted(crowded.tolist()) == list(range(n))
    expected = {(0, i) for i in range(1, n)} | set(combinations(range(n, n + 50), 2))
    assert sorted(map(tuple, pairs.tolist())) == sorted(expected)
    first, _, _ = matching_pairs(np.zeros(n, dtype=np.uint64), ids, ids, ALONE, only_first=True)
    assert sorted(map(tuple, first.tolist())) == [(0, i) for i in range(1, n)]


def test_owners_are_spread_evenly() -> None:
    """Ids in patterns, as files have them, spread within 6 standard errors of the binomial."""
    for words in (np.arange(40_000), np.arange(40_000) << 36):
        for size in (2, 3, 7):
            counts = np.bincount(owner_of(words.astype(np.uint64), size), minlength=size)
            assert len(counts) == size
            assert (np.abs(counts - 40_000 / size) < 6 * math.sqrt(40_000 / size)).all()


@settings(max_examples=60, deadline=None)
@given(
    a=st.lists(st.sets(st.integers(0, 12)), min_size=1, max_size=5),
    b=st.lists(st.sets(st.integers(0, 12)), min_size=1, max_size=5),
)
def test_sorted_overlap_is_jaccard(a: list[set[int]], b: list[set[int]]) -> None:
    packed = []
    for sets in (a, b):
        tokens = np.array([t for s in sets for t in sorted(s)], dtype=np.uint64)
        packed += [tokens, np.cumsum([0, *map(len, sets)])]
    rows = [(i, j) for i in range(len(a)) for j in range(len(b))]
    left, right = (np.array(side, dtype=np.int64) for side in zip(*rows, strict=True))
    out = np.empty(len(rows))
    sorted_overlap(packed[0], packed[1], left, packed[2], packed[3], right, 0, len(rows), out)
    assert out.tolist() == [jaccard(a[i], b[j]) for i, j in rows]


def components(edges: list[tuple[int, int]]) -> dict[int, int]:
    left, right = (np.array([e[side] for e in edges], dtype=np.uint64) for side in (0, 1))
    nodes, roots = connected_components(left, right, ALONE)
    assert len(set(nodes.tolist())) == len(nodes)
    return dict(zip(nodes.tolist(), roots.tolist(), strict=True))


@settings(max_examples=100, deadline=None)
@given(edges=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_components(edges: list[tuple[int, int]]) -> None:
    assert components(edges) == naive.components(edges)


def test_components_of_long_paths_and_stars() -> None:
    rng = np.random.default_rng(1)
    names = rng.permutation(3000).tolist()
    path = [(names[i], names[i + 1]) for i in range(1999)]
    star = [(names[2000], names[i]) for i in range(2001, 3000)]
    edges = [(path + star)[i] for i in rng.permutation(len(path) + len(star))]
    assert components(edges) == naive.components(edges)
    assert components([]) == {}


COMPONENTS = """
from naive import dedup as naive
import numpy as np
from mergesketch.distributed import communicator
from mergesketch.distributed.dedup.components import connected_components

comm = communicator()
rng = np.random.default_rng(2)
names = rng.permutation(2000) << 20
for edges in (
    np.stack([names[:-1], names[1:]], axis=1),
    np.stack([np.sort(names)[:-1], np.sort(names)[1:]], axis=1),
    np.stack([np.full(1999, names[0]), names[1:]], axis=1),
    rng.integers(0, 2000, (1200, 2)),
    np.empty((0, 2), dtype=np.int64),
):
    mine = edges[comm.rank :: comm.size].astype(np.uint64)
    nodes, roots = connected_components(mine[:, 0], mine[:, 1], comm)
    found = [pair for part in comm.allgather(list(zip(nodes.tolist(), roots.tolist()))) for pair in part]
    assert len(found) == len(dict(found)), "a node has two answers"
    assert dict(found) == naive.components([tuple(edge) for edge in edges.tolist()])
print("checked")
"""


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", NUMBERS_OF_RANKS)
def test_components_over_ranks(ranks: Ranks, n_ranks: int) -> None:
    ran = ranks.run(n_ranks, COMPONENTS)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["checked\n"] * n_ranks
