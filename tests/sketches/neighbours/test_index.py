"""Test LSHIndex: buckets and answers against slow ones, what buckets keep, and true neighbours."""

from __future__ import annotations

import functools
import itertools
import operator
import pickle
import warnings
from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch import LSHIndex
from mergesketch.distributed import band_parameters
from mergesketch.errors import FullBucketsWarning, IncompatibleSketchError
from mergesketch.lsh import (
    BitSampling,
    CrossPolytope,
    HashFamily,
    InnerProduct,
    MinHash,
    PStable,
    SignedRandomProjection,
    WeightedMinHash,
    WinnerTakeAll,
)
from mergesketch.sketches.kernels import index as index_kernels
from naive import index as naive
from toy_family import ToyFamily

ROWS = hnp.arrays(np.int64, st.tuples(st.integers(0, 14), st.just(3)), elements=st.integers(0, 2))


def assert_holds(index: LSHIndex, codes: np.ndarray, ids: list[int]) -> naive.Buckets:
    """Assert that the state is, bit for bit, what the slow index keeps; return that."""
    expected = naive.kept_by(index, codes, ids)
    slots, seen = index.state["slots"].array, index.state["seen"].array
    want_slots, want_seen = np.zeros_like(slots), np.zeros_like(seen)
    for (table, code), numbers in expected.items():
        want_slots[table, code, : len(numbers)] = [number + 1 for number in numbers]
        want_seen[table, code] = (codes[:, table] == code).sum()
    np.testing.assert_array_equal(slots, want_slots)
    np.testing.assert_array_equal(seen, want_seen)
    assert index.n_updates == len(codes)
    return expected


def assert_answers(index: LSHIndex, expected: naive.Buckets, Q: Any, k: int) -> None:
    slow = [naive.index_query(expected, row, k) for row in index.family.hash_query(Q).tolist()]
    ids, counts = index.query(Q, k)
    assert ids.dtype == np.int64
    assert counts.dtype == np.int32
    assert ids.shape == counts.shape == (len(slow), k)
    assert ids.tolist() == [found for found, _ in slow]
    assert counts.tolist() == [often for _, often in slow]


def test_the_life_of_an_index(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    monday, tuesday = (rng.standard_normal((n, 24)).astype(np.float32) for n in (900, 600))
    index = LSHIndex(SignedRandomProjection(n_features=24, n_hashes=60, power=8, seed=4))
    week = index.empty_like().add(monday) | index.empty_like().add(tuesday, first_id=900)
    assert week.n_updates == 1500
    assert week.overflow == 0.0
    rows = np.vstack([monday, tuesday])
    noisy = rows[::10] + 0.1 * rng.standard_normal((150, 24)).astype(np.float32)
    ids, counts = week.query(noisy, k=5)
    # A row and its noisy copy are at an angle of about 0.1, so that most of 60 codes of 8 bits agree;
    # two rows of noise share 60 / 256 on average.
    np.testing.assert_array_equal(ids[:, 0], np.arange(0, 1500, 10))
    assert (counts[:, 0] > counts[:, 1]).all()
    week.save(tmp_path / "week.sketch")
    again = mergesketch.load(tmp_path / "week.sketch")
    assert again == week
    np.testing.assert_array_equal(again.query(noisy, k=5).ids, ids)
    again.add(noisy)
    np.testing.assert_array_equal(again.query(noisy, k=1).ids[:, 0], np.arange(1500, 1650))
    assert again == index.add(monday).add(tuesday).add(noisy)


# -- against the slow index -----------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(ROWS, min_size=1, max_size=5),
    Q=ROWS,
    n_hashes=st.integers(1, 6),
    capacity=st.integers(1, 7),
    wide=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
    k=st.integers(1, 9) | st.just(100),
    data=st.data(),
)
def test_buckets_and_answers_equal_the_slow_ones(
    batches: list[np.ndarray],
    Q: np.ndarray,
    n_hashes: int,
    capacity: int,
    wide: bool,
    seed: int,
    k: int,
    data: st.DataObject,
) -> None:
    empty = LSHIndex(ToyFamily(3, n_hashes, 3), capacity=capacity, wide_ids=wide, seed=seed)
    largest = 2**63 - 2 if wide else 2**32 - 2
    # Few different ids, so that some occur twice and counts are equal, and the largest ids.
    numbers = st.integers(0, 20) | st.integers(largest - 5, largest)
    given_ids = [data.draw(st.lists(numbers, min_size=len(X), max_size=len(X))) for X in batches]
    codes = empty.family.hash(np.concatenate(batches))
    ids = [number for batch in given_ids for number in batch]

    one = empty.empty_like()
    for X, some in zip(batches, given_ids, strict=True):
        one.add(X, np.array(some, dtype=np.uint64))
    expected = assert_holds(one, codes, ids)
    assert_answers(one, expected, Q, k)

    order = data.draw(st.permutations(range(len(batches))))
    parts = [empty.empty_like().add(batches[i], np.array(given_ids[i], dtype=np.int64)) for i in order]
    middle = data.draw(st.integers(0, len(parts)))
    left = functools.reduce(lambda a, b: a.merge(b), parts[:middle], empty.empty_like())
    right = functools.reduce(lambda a, b: b | a, parts[middle:], empty.empty_like())
    # Queries need no sorted buckets, and rows can be added whatever the order.
    assert_answers(left | right, expected, Q, k)
    assert (left | right) == one
    more = (left | right).add(Q, np.zeros(len(Q), dtype=np.int64))
    assert_holds(more, np.concatenate([codes, empty.family.hash(Q)]), ids + [0] * len(Q))


@pytest.mark.parametrize(
    ("n", "n_buckets", "capacity"), [(9_001, 5, 100), (4_096, 4_000, 2), (4_097, 1, 4_097)]
)
def test_batches_of_several_blocks(n: int, n_buckets: int, capacity: int) -> None:
    rng = np.random.default_rng(n)
    X, Q = rng.integers(0, n_buckets, (n, 4)), rng.integers(0, n_buckets, (40, 4))
    index = LSHIndex(ToyFamily(4, 7, n_buckets, seed=1), capacity=capacity).add(X)
    expected = assert_holds(index, index.family.hash(X), list(range(n)))
    assert_answers(index, expected, Q, 30)
    halves = index.empty_like().add(X[: n // 3]), index.empty_like().add(X[n // 3 :], np.arange(n // 3, n))
    assert halves[1] | halves[0] == index


def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(5)
    X, Q = rng.integers(0, 50, (20_000, 6)), rng.integers(0, 50, (3_000, 6))
    results = []
    before = mergesketch.get_num_threads()
    try:
        for threads in (1, 4):
            mergesketch.set_num_threads(threads)
            index = LSHIndex(ToyFamily(6, 13, 50), capacity=20)
            index.add(X[:9_000], first_id=0).add(X[9_000:], first_id=9_000)
            results.append((index, index.query(Q, 12), (index | index).query(Q, 12)))
    finally:
        mergesketch.set_num_threads(before)
    (one, found, doubled), (four, found_by_four, doubled_by_four) = results
    assert one == four
    assert 0.5 < one.overflow < 1
    for ours, theirs in ((found, found_by_four), (doubled, doubled_by_four)):
        np.testing.assert_array_equal(ours.ids, theirs.ids)
        np.testing.assert_array_equal(ours.counts, theirs.counts)


def test_equal_counts_rank_by_id_and_missing_neighbours_are_marked() -> None:
    index = LSHIndex(ToyFamily(2, 3), wide_ids=True).add(np.zeros((3, 2), int), [2**60 + 1, 7, 2**53 + 1])
    ids, counts = index.query([[0, 0], [1, 1]], k=4)
    assert ids.tolist() == [[7, 2**53 + 1, 2**60 + 1, -1], [-1] * 4]
    assert counts.tolist() == [[3, 3, 3, 0], [0] * 4]
    assert index.query(np.zeros((1, 2), int), k=2).ids.tolist() == [[7, 2**53 + 1]]
    assert index.query(np.zeros((0, 2), int), k=2).ids.shape == (0, 2)
    index.add(np.zeros((1, 2), int), [7])
    assert index.query([[0, 0]], k=1).counts.tolist() == [[6]]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data(), k=st.integers(1, 6), n=st.integers(0, 5))
def test_lists_merge_as_the_slow_ones(data: st.DataObject, k: int, n: int) -> None:
    pairs = st.lists(st.integers(0, 30), unique=True, max_size=2 * k)
    lists = [data.draw(pairs) for _ in range(n)]
    counts = [data.draw(st.lists(st.integers(1, 3), min_size=len(x), max_size=len(x))) for x in lists]
    sides: list[list[Any]] = [[], []]
    expected = []
    for numbers, often in zip(lists, counts, strict=True):
        found = sorted(zip(numbers, often, strict=True), key=lambda f: (-f[1], f[0]))
        for side in (0, 1):
            mine = [f for f in found if f[0] % 2 == side][:k]
            sides[side].append(mine + [(-1, 0)] * (k - len(mine)))
        both = sorted((f for side in sides for f in side[-1] if f[1]), key=lambda f: (-f[1], f[0]))[:k]
        expected.append(both + [(-1, 0)] * (k - len(both)))

    def arrays(rows: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        both = np.array(rows, dtype=np.int64).reshape(n, k, 2)
        return np.ascontiguousarray(both[..., 0]), both[..., 1].astype(np.int32)

    ours, theirs = arrays(sides[0]), arrays(sides[1])
    index_kernels.merge_top(*theirs, 0, n, *ours)
    want_ids, want_counts = arrays(expected)
    np.testing.assert_array_equal(ours[0], want_ids)
    np.testing.assert_array_equal(ours[1], want_counts)


def test_lists_of_parts_merge_into_those_of_the_whole() -> None:
    rng = np.random.default_rng(8)
    X, Q = rng.integers(0, 6, (600, 5)), rng.integers(0, 6, (80, 5))
    index = LSHIndex(ToyFamily(5, 20, 6), capacity=600)
    parts = [index.empty_like().add(X[i::3], np.arange(i, 600, 3)) for i in range(3)]
    merged = parts[2].query(Q, 15)
    for part in parts[:2]:
        index_kernels.merge_top(*part.query(Q, 15), 0, len(Q), *merged)
    whole = index.add(X).query(Q, 15)
    np.testing.assert_array_equal(merged.ids, whole.ids)
    np.testing.assert_array_equal(merged.counts, whole.counts)


# -- neighbours -----------------------------------------------------------------------------------


def _vectors(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return points around a few centres."""
    centres = np.random.default_rng(0).standard_normal((40, 10))
    return (centres[rng.integers(0, 40, n)] + 0.3 * rng.standard_normal((n, 10))).astype(np.float32)


def _sets(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Return sets that share most tokens with one of a few sets."""
    cores = np.random.default_rng(0).integers(0, 2**40, (40, 25))
    return [
        np.concatenate([core[rng.random(25) < 0.9], rng.integers(0, 2**40, 3)])
        for core in cores[rng.integers(0, 40, n)]
    ]


FAMILIES = [
    (SignedRandomProjection(n_features=10, n_hashes=50, power=6, seed=2), _vectors),
    (PStable(n_features=10, n_hashes=50, p=2, width=2.0, power=2, n_buckets=512, seed=2), _vectors),
    (PStable(n_features=10, n_hashes=50, p=1, width=9.0, n_buckets=256, seed=2), _vectors),
    (MinHash(50, power=2, n_buckets=1024, scheme="permutations", seed=2), _sets),
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "rows"), FAMILIES, ids=lambda f: type(f).__name__)
def test_without_overflow_answers_are_those_of_counting_every_pair(family: HashFamily, rows: Any) -> None:
    X, Q = rows(np.random.default_rng(1), 1500), rows(np.random.default_rng(2), 60)
    index = LSHIndex(family, capacity=len(X)).add(X)
    assert index.overflow == 0.0
    shares = (family.hash_query(Q)[:, None, :] == family.hash(X)[None, :, :]).sum(axis=2)
    ids, counts = index.query(Q, k=25)
    for i, often in enumerate(shares):
        # A stable sort of falling counts leaves equal ones by rising id.
        best = np.argsort(-often, kind="stable")[:25]
        found = often[best] > 0
        np.testing.assert_array_equal(ids[i], np.where(found, best, -1))
        np.testing.assert_array_equal(counts[i], often[best])
    # Every count is binomial: none lies where six standard errors of a normal one would leave it.
    kernel, chance = family.kernel(Q, X), family.chance_collision
    law = scipy.stats.binom(family.n_hashes, kernel * (1 - chance) + chance)
    assert min(law.cdf(shares).min(), law.sf(shares - 1).min()) > 1e-9
    # And estimates from them are unbiased: over all pairs of a query the tables err together, so each
    # table's mean error is one observation.
    tables = (family.hash_query(Q)[:, None, :] == family.hash(X)[None, :, :]).mean(axis=(0, 1))
    error = index.kernel_estimate(tables * family.n_hashes) - kernel.mean()
    assert abs(error.mean()) < 6 * error.std(ddof=1) / np.sqrt(error.size)
    np.testing.assert_allclose(index.kernel_estimate(shares).mean() - kernel.mean(), error.mean(), atol=1e-9)


def test_kernel_estimates_invert_the_expected_count() -> None:
    family = MinHash(200, n_buckets=5)
    index = LSHIndex(family)
    assert family.chance_collision == pytest.approx(0.2)
    estimates = index.kernel_estimate([[40, 200], [120, 0]])
    np.testing.assert_allclose(estimates, [[0.0, 1.0], [0.5, -0.25]], atol=1e-12)
    assert estimates.dtype == np.float64


# -- full buckets ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("merged", [False, True])
def test_every_id_has_the_same_chance_to_be_kept(merged: bool) -> None:
    """All rows are equal: each table is a fresh draw of 40 out of 400 ids."""
    tables, n, capacity = 2_000, 400, 40
    index = LSHIndex(ToyFamily(1, tables, 1), capacity=capacity, seed=11)
    rows = np.zeros((n, 1), dtype=int)
    if merged:
        index.add(rows[:350]).merge(index.empty_like().add(rows[350:], np.arange(350, n)))
    else:
        index.add(rows)
    slots = index.state["slots"].array.reshape(tables, capacity)
    assert all(len(set(bucket)) == capacity for bucket in slots.tolist())
    kept_in = np.bincount(slots.ravel() - 1, minlength=n)
    assert kept_in.size == n
    share = capacity / n
    assert (np.abs(kept_in - tables * share) < 6 * np.sqrt(tables * share * (1 - share))).all()
    # Pairs, too: two ids are kept together as often as in draws without replacement.
    first, last = ((slots == number).any(axis=1) for number in (1, n))
    together = share * (capacity - 1) / (n - 1)
    assert abs((first & last).sum() - tables * together) < 6 * np.sqrt(tables * together)
    assert index.overflow == pytest.approx(1 - share)


def test_overflow_is_the_share_not_kept() -> None:
    index = LSHIndex(ToyFamily(1, 2, 4), capacity=3)
    assert index.overflow == 0.0
    index.add([[0]] * 5 + [[1]] * 3 + [[2]], first_id=0)
    assert index.overflow == pytest.approx(2 / 9)
    assert (index | index).overflow == pytest.approx((7 + 3) / 18)


def full_index(capacity: int = 3) -> LSHIndex:
    return LSHIndex(ToyFamily(1, 2, 4), capacity=capacity)


@pytest.mark.parametrize("method", ["add", "update"])
def test_an_index_that_drops_entries_warns_once(method: str) -> None:
    index = full_index()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(index, method)([[0]] * 3)
    with pytest.warns(
        FullBucketsWarning, match=r"has dropped 40 % of its entries.* a capacity above 3"
    ) as told:
        getattr(index, method)([[0]] * 2)
    assert [warning.filename for warning in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            getattr(index, method)([[0]] * 100)
    assert index.overflow > 0.9


def test_merging_and_codes_warn_too_and_a_warning_that_raises_loses_nothing() -> None:
    parts = [full_index().add([[0]] * 3, first_id=3 * i) for i in range(2)]
    with pytest.warns(FullBucketsWarning, match="has dropped 50 %"):
        merged = parts[0] | parts[1]
    assert merged.n_updates == 6
    with pytest.warns(FullBucketsWarning, match="has dropped 25 %"):
        full_index().add_codes(np.zeros((4, 2), np.uint32), np.arange(4, dtype=np.uint32))
    index = full_index()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FullBucketsWarning)
        with pytest.raises(FullBucketsWarning):
            index.add([[0]] * 6, ids=np.arange(6))
    assert index == merged


def test_few_dropped_entries_are_no_reason_for_a_warning() -> None:
    index = full_index(capacity=200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index.add([[0]] * 203)
    assert 0 < index.overflow < 0.02
    with pytest.warns(FullBucketsWarning):
        index.add([[0]] * 3)


# -- state and files ------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("mmap", [False, True])
def test_files_keep_answers_and_take_more_rows(tmp_path: Any, wide: bool, mmap: bool) -> None:
    rng = np.random.default_rng(3)
    X, Q = rng.integers(0, 4, (500, 5)), rng.integers(0, 4, (30, 5))
    index = LSHIndex(ToyFamily(5, 8), capacity=9, wide_ids=wide).add(X)
    index.save(tmp_path / "index.sketch")
    loaded = LSHIndex.load(tmp_path / "index.sketch", mmap=mmap)
    assert loaded == index
    np.testing.assert_array_equal(loaded.query(Q, 20).ids, index.query(Q, 20).ids)
    loaded.add(Q).merge(index.empty_like().add(X, np.arange(1000, 1500)))
    assert loaded == index.copy().add(Q).add(X, np.arange(1000, 1500))
    # Only the needed parts of a mapped file are read, and it is never written.
    assert LSHIndex.load(tmp_path / "index.sketch") == index


def test_memory_is_what_the_configuration_says() -> None:
    for wide in (False, True):
        index = LSHIndex(ToyFamily(5, 8), capacity=9, wide_ids=wide).add(np.zeros((100, 5), int))
        # Slots and counts; the number of updates, and five numbers about ids.
        assert index.nbytes == 8 * 4 * (9 * (8 if wide else 4) + 4) + 6 * 8


def test_too_many_buckets_are_refused_before_memory_is_taken() -> None:
    index = LSHIndex(MinHash(2**18, n_buckets=2**20))
    told = r"needs 71,468,255,805,488 bytes, for slots alone 262144 x 1048576 x 64 x 4; pass n_buckets"
    with pytest.raises(MemoryError, match=told):
        index.add([[1, 2]])
    assert index.nbytes == 64 * 2**32 * (4 * 64 + 4) + 48
    assert not index._state.is_allocated
    with pytest.raises(MemoryError, match="choose a smaller configuration"):
        mergesketch.MinHashSketch(2**30, 2**20).update([1], [0])


def test_default_ids_run_on() -> None:
    index = LSHIndex(ToyFamily(1, 1)).add([[0], [1]]).add([[2]]).add([[3]], ids=[50]).add([[0]])
    assert index.query([[0], [1], [2], [3]], k=2).ids.tolist() == [[0, 51], [1, -1], [2, -1], [50, -1]]
    assert index.add(np.zeros((0, 1), int), ids=[]).n_updates == 5


# -- ids ------------------------------------------------------------------------------------------


def test_parts_numbered_on_are_the_whole() -> None:
    X = np.random.default_rng(2).integers(0, 4, (90, 5))
    empty = LSHIndex(ToyFamily(5, 8), capacity=9)
    whole = empty.copy().add(X)
    # A part may go on numbering after its first batch, and parts merge in any order.
    parts = [
        empty.copy().add(X[:30]).add(X[30:40]),
        empty.copy().add(X[40:50], first_id=40).add(X[50:80]),
        empty.copy().add(X[80:], range(80, 90)),
    ]
    for order in itertools.permutations(parts):
        assert functools.reduce(operator.or_, order) == whole
        assert order[0].copy().merge(*order[1:]) == whole
    assert parts[2] | parts[0] | empty == empty | parts[0] | parts[2]
    # Ids go on after the largest of all parts.
    more = (parts[0] | parts[2]).add(X[:1])
    assert 90 in more.query(X[:1], k=99).ids


def test_rows_that_were_numbered_alike_do_not_merge() -> None:
    X = np.random.default_rng(2).integers(0, 4, (90, 5))
    empty = LSHIndex(ToyFamily(5, 8), capacity=9)
    first = empty.copy().add(X[:50])
    here, there = empty.copy().add(X[50:], first_id=49), empty.copy().add(X[50:], first_id=50)
    for parts, told in [
        ((first, empty.copy().add(X[50:])), "others have done so too"),
        ((first, there, first.copy()), "others have done so too"),
        ((first, here), "id 49 was given to a row of another one"),
        ((here, first), "id 49 was given to a row of another one"),
        ((there, first, empty.copy().add(X[:2], [7, 99])), "id 7 was given"),
        ((first | there, here), "id 49 was given"),
        ((first, LSHIndex.from_bytes(here.to_bytes())), "id 49 was given"),
        ((first, pickle.loads(pickle.dumps(here))), "id 49 was given"),
    ]:
        before = [part.copy() for part in parts]
        with pytest.raises(
            IncompatibleSketchError, match=rf"numbered its rows from 0 to 49 .*{told}.*first_id"
        ):
            parts[0].merge(*parts[1:])
        assert list(parts) == before
    with pytest.raises(IncompatibleSketchError, match="others have done so too"):
        first.merge(first)
    # Ids are not checked for repetition: given twice, they count twice.
    twice = here | here
    assert twice.n_updates == 2 * here.n_updates
    # Batches without rows take no id.
    assert empty.copy().add(X[:0]) | first == first == first | empty.copy().add(X[:0], [])


def test_ranks_that_number_rows_in_turn_say_so() -> None:
    X = np.random.default_rng(2).integers(0, 4, (90, 5))
    empty = LSHIndex(ToyFamily(5, 8), capacity=9)
    ranks = empty.copy().add(X[:40], first_id=0) | empty.copy().add(X[40:], first_id=40)
    assert (ranks | ranks).n_updates == 180
    ranks.count_ids_as_default()
    assert ranks == empty.copy().add(X)
    with pytest.raises(IncompatibleSketchError, match="numbered its rows from 0 to 89"):
        ranks.merge(empty.copy().add(X[:1], first_id=89))
    assert ranks.merge(empty.copy().add(X[:1], first_id=90)).n_updates == 91


def test_an_id_in_more_rows_than_tables_is_the_same_in_all() -> None:
    index = LSHIndex(ToyFamily(2, 3), capacity=9).add([[1, 1]] * 4, [5, 5, 5, 6])
    counts = index.query([[1, 1]], k=2).counts
    assert counts.tolist() == [[9, 3]]
    assert index.kernel_estimate(counts).tolist() == [[1.0, 1.0]]
    assert index.distance_estimate(counts).tolist() == [[0.0, 0.0]]


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"family": 3}, TypeError, "family must be a HashFamily, got int"),
        ({"capacity": 0}, ValueError, "capacity .*0"),
        ({"capacity": 1.5}, TypeError, "capacity .*1.5"),
        ({"capacity": 2**21}, ValueError, "capacity .*2097152"),
        ({"wide_ids": 1}, TypeError, "wide_ids must be True or False, got 1"),
        ({"seed": -1}, ValueError, "seed .*-1"),
        ({"seed": "a"}, TypeError, "seed .*'a'"),
    ],
)
def test_constructor_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        LSHIndex(**{"family": ToyFamily(2, 3), **arguments})


@pytest.mark.parametrize(
    ("wide", "ids", "error", "message"),
    [
        (False, [0], ValueError, r"ids must have shape \(2,\)"),
        (False, [[0, 1]], ValueError, r"ids must have shape \(2,\)"),
        (False, [0.0, 1.0], TypeError, "ids must be integers, got dtype float64"),
        (False, ["a", "b"], TypeError, "ids must be integers"),
        (False, [True, False], TypeError, "ids must be integers, got dtype bool"),
        (False, [0, -1], ValueError, "ids must lie from 0 to 4294967294, got -1"),
        (False, [0, 2**32 - 1], ValueError, "ids must lie .* 4294967295"),
        (True, np.array([0, 2**63 - 1], np.uint64), ValueError, "ids must lie .* 9223372036854775807"),
    ],
)
def test_ids_are_refused_and_nothing_is_changed(
    wide: bool, ids: Any, error: type[Exception], message: str
) -> None:
    index = LSHIndex(ToyFamily(2, 3), wide_ids=wide).add([[1, 2]])
    before = index.copy()
    with pytest.raises(error, match=message):
        index.add([[0, 0], [1, 1]], ids=ids)
    with pytest.raises(ValueError, match="X must"):
        index.add([[0, 9]], ids=[1])
    assert index == before


def test_first_ids_are_refused() -> None:
    index = LSHIndex(ToyFamily(2, 3))
    for first_id, error in [(-1, ValueError), (0.0, TypeError), ("0", TypeError), (2**32 - 1, ValueError)]:
        with pytest.raises(error, match="first_id must"):
            index.add([[0, 0]], first_id=first_id)
    with pytest.raises(ValueError, match="ids and first_id cannot both be given"):
        index.add([[0, 0]], [1], first_id=1)
    with pytest.raises(ValueError, match="ids must be at most 4294967294, got 4294967295"):
        index.add([[0, 0]] * 2, first_id=2**32 - 2)
    assert index == index.empty_like()


def test_running_ids_that_pass_the_largest_are_refused() -> None:
    index = LSHIndex(ToyFamily(2, 1))
    index.add([[0, 0]], first_id=2**32 - 3).add([[0, 0]])
    assert index.query([[0, 0]], k=2).ids.tolist() == [[2**32 - 3, 2**32 - 2]]
    with pytest.raises(ValueError, match="ids must be at most 4294967294, got 4294967295"):
        index.add([[0, 0]])


@pytest.mark.parametrize(
    ("k", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (None, TypeError)]
)
def test_k_is_refused(k: Any, error: type[Exception]) -> None:
    index = LSHIndex(ToyFamily(2, 3)).add([[1, 2]])
    with pytest.raises(error, match="k must"):
        index.query([[1, 2]], k)
    with pytest.raises(error, match="k must"):
        index.query_codes(np.zeros((1, 3), np.uint32), k)


def test_codes_are_refused() -> None:
    index = LSHIndex(ToyFamily(2, 3)).add([[1, 2]])
    for codes in (np.zeros((1, 2), np.uint32), np.zeros(3, np.uint32), np.zeros((1, 3), np.int64)):
        with pytest.raises(ValueError, match=r"codes must be uint32 of shape \(n, 3\)"):
            index.query_codes(codes, 1)
    with pytest.raises(ValueError, match="codes must be below 4, got 4"):
        index.query_codes(np.full((1, 3), 4, np.uint32), 1)
    codes = np.asfortranarray(index.family.hash([[1, 2], [1, 1]]))
    assert index.query_codes(codes, 1).ids.tolist() == index.query([[1, 2], [1, 1]], 1).ids.tolist()


# -- families of many codes -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "rows"),
    [
        (MinHash(64), [[1, 2, 3], [4, 5, 6], [1, 2, 4]]),
        (WeightedMinHash(16, power=2), np.eye(3) + 0.1),
        (SignedRandomProjection(3, 4, power=32), np.eye(3)),
        (CrossPolytope(3, 4, power=16), np.eye(3)),
        (InnerProduct(3, 4, power=30, max_norm=1.0), np.eye(3)),
        (BitSampling(40, 4, power=40), np.eye(3, 40).astype(bool)),
        (WinnerTakeAll(3, 4, group_size=2, power=32), np.eye(3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_family_of_too_many_codes_gets_buckets_for_a_gibibyte(family: HashFamily, rows: Any) -> None:
    index = LSHIndex(family, capacity=8).update(rows)
    assert family.n_buckets > 2**28
    n_buckets = index.family.n_buckets
    assert index.family.config() == {**family.config(), "n_buckets": n_buckets}
    assert n_buckets == 1 << n_buckets.bit_length() - 1
    assert 2**29 < index.nbytes <= 2**30 + 48
    assert index.query(rows, k=1).ids.ravel().tolist() == [0, 1, 2]
    assert index.family.chance_collision == 1 / n_buckets
    # The family of an index stays as it is.
    assert LSHIndex(index.family, capacity=64).family == index.family
    assert pickle.loads(pickle.dumps(LSHIndex(family, capacity=8))).family == index.family


def test_many_tables_have_at_least_a_thousand_buckets() -> None:
    assert LSHIndex(MinHash(100_000), capacity=100).family.n_buckets == 1024


def test_an_index_of_an_earlier_version_keeps_its_many_buckets() -> None:
    # The array is never touched, so that the system provides no memory for it.
    config = {**LSHIndex(MinHash(1), capacity=1).config(), "family": MinHash(1, n_buckets=2**29).config()}
    assert LSHIndex._from_config(config).family.n_buckets == 2**29


@pytest.mark.slow
def test_near_duplicates_are_found_in_bands_for_a_threshold() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.integers(0, 10**6, 100) for _ in range(100)]
    # Of a hundred tokens ten are other ones, so that the similarity is about 90 / 110.
    near = [np.concatenate([tokens[10:], rng.integers(0, 10**6, 10)]) for tokens in sets]
    bands, rows = band_parameters(0.7, 128)
    for family in (MinHash(bands, power=rows), MinHash(64)):
        index = LSHIndex(family, capacity=8).update(sets)
        found = index.query(near, k=1).ids.ravel()
        likely = 1 - (1 - (90 / 110) ** family.power) ** family.n_hashes
        assert (found == np.arange(100)).mean() > likely - 6 * np.sqrt(likely * (1 - likely) / 100) - 0.01


def test_codes_of_the_family_before_it_got_fewer_buckets_are_refused() -> None:
    family = MinHash(8)
    index = LSHIndex(family).update([[1, 2]])
    with pytest.raises(ValueError, match=r"codes must be below 262144, got \d+; the attribute `family`"):
        index.query_codes(family.hash([[1, 2]]), 1)
    with pytest.raises(IncompatibleSketchError, match="n_buckets"):
        index.query_codes(index.family.hash([[1, 2]]), 1, family=family)
